//! A run's folder: settings, metrics, checkpoint, best model and pictures, each written whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::difference::{between, difference};
use super::metrics::{Curves, Metrics, Set};
use super::run::Best;
use super::steps::State;
use super::{ClassifierSteps, Settings, TrainError};
use crate::data::{DataSet, digest};
use crate::files::{self, write_keeping, write_whole};
use crate::infer::evaluate::Scores;
use crate::models::{DATA_DIGEST, Model, ModelError, ModelFile};
use crate::report;

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new numbered folder, from `0001-fast` on, in `parent`, which is made where it is missing.
    ///
    /// # Errors
    /// The system's, and for a model whose name holds other folders.
    pub fn create(parent: &Path, model: &str) -> Result<Folder, TrainError> {
        let name = |number: u32| format!("{number:04}-{model}");
        let first = name(1);
        if Path::new(&first).file_name() != Some(OsStr::new(&first)) {
            let reason = "no name for a run's folder; give the model's name alone, not a path to it".into();
            return Err(TrainError::Folder { path: parent.join(first), reason });
        }
        fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
        let entries = fs::read_dir(parent).map_err(|e| failed(parent, &e))?;
        let number = |name: &str| name.split('-').next()?.parse::<u32>().ok();
        let last = entries.flatten().filter_map(|e| number(&e.file_name().to_string_lossy())).max().unwrap_or(0);
        // Another process may take a number first: then the next one is tried.
        for number in last.saturating_add(1)..last.saturating_add(1000) {
            let path = parent.join(name(number));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Folder { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(TrainError::Folder { path: parent.into(), reason: "no free number for a run".into() })
    }

    /// A new folder of a given name.
    pub fn create_at(path: &Path) -> Result<Folder, TrainError> {
        fs::create_dir_all(path).map_err(|e| failed(path, &e))?;
        Ok(Folder { path: path.into() })
    }

    /// A run that was begun.
    pub fn open(path: &Path) -> Result<Folder, TrainError> {
        let folder = Folder { path: path.into() };
        folder.config()?;
        Ok(folder)
    }

    /// The settings that the run was begun with: a classifier's or a GAN's, depending on its model.
    pub fn settings<S: DeserializeOwned>(&self) -> Result<S, TrainError> {
        let refuse = |reason: String| TrainError::Resume { path: self.path.join(CONFIG), reason };
        toml::from_str(&self.config()?).map_err(|e| refuse(e.to_string()))
    }

    fn config(&self) -> Result<String, TrainError> {
        let path = self.path.join(CONFIG);
        fs::read_to_string(&path).map_err(|e| {
            let reason = format!("{e}. Give a run's folder, like runs/0001-fast");
            TrainError::Resume { path, reason }
        })
    }

    /// The contents of a file in the folder, if it exists.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, TrainError> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(None);
        }
        fs::read_to_string(&path).map(Some).map_err(|e| failed(&path, &e))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The folder of the run of an ensemble's member; members are counted from 0.
    pub fn member(&self, index: usize) -> PathBuf {
        self.path.join((index + 1).to_string())
    }
    /// The model of the best epoch.
    pub fn best(&self) -> PathBuf {
        Folder::best_of(&self.path)
    }
    /// The model of the best epoch of the run in a folder, which may be none.
    pub fn best_of(run: &Path) -> PathBuf {
        run.join("best.safetensors")
    }
    /// The checkpoint that a run resumes from.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// The checkpoint before the last, which exists until the run is finished.
    fn previous(&self) -> PathBuf {
        self.path.join("previous.safetensors")
    }

    /// The snapshots that a classifier's run in this folder has kept, each with its step, in the order of steps; other
    /// files there are left out. Empty where there are no snapshots, or no run.
    pub fn snapshots(run: &Path) -> Vec<(usize, PathBuf)> {
        let entries = fs::read_dir(run.join(SNAPSHOTS)).into_iter().flatten().flatten();
        let known = |path: PathBuf| {
            let step = path.file_stem()?.to_str()?.parse().ok()?;
            let own = path.file_name()?.to_str()? == snapshot_name(step) && path.is_file();
            own.then_some((step, path))
        };
        let mut snapshots: Vec<(usize, PathBuf)> = entries.filter_map(|entry| known(entry.path())).collect();
        snapshots.sort();
        snapshots
    }

    /// The epoch whose model is the best of the run in this folder; `None` until the run is finished.
    pub fn best_epoch(run: &Path) -> Option<usize> {
        let result: toml::Table = fs::read_to_string(run.join(RESULT)).ok()?.parse().ok()?;
        usize::try_from(result.get("best_epoch")?.as_integer()?).ok()
    }

    /// Keeps a model as the snapshot of a step.
    pub(super) fn save_snapshot(&self, step: usize, file: &ModelFile) -> Result<(), TrainError> {
        let folder = self.path.join(SNAPSHOTS);
        fs::create_dir_all(&folder).map_err(|e| failed(&folder, &e))?;
        Ok(file.save(folder.join(snapshot_name(step)))?)
    }

    /// Writes what a run begins with, which is all that `--resume` needs: its architecture's text, so that it can
    /// resume after that file was changed or removed; the model that it starts from, if any, for the same reason; and
    /// its settings, a classifier's or a GAN's. The settings come last: a folder that has settings can be resumed.
    ///
    /// # Errors
    /// Those of writing.
    pub fn begin(
        &self,
        architecture: &str,
        origin: Option<&ModelFile>,
        settings: &impl Serialize,
    ) -> Result<(), TrainError> {
        self.write(ARCHITECTURE, architecture.as_bytes())?;
        if let Some(file) = origin {
            file.save(self.path.join(ORIGIN))?;
        }
        self.save_settings(settings)
    }

    fn save_settings(&self, settings: &impl Serialize) -> Result<(), TrainError> {
        let text = toml::to_string(settings).map_err(|e| {
            let reason = format!("the settings cannot be written: {e}");
            TrainError::Folder { path: self.path.join(CONFIG), reason }
        })?;
        self.write(CONFIG, text.as_bytes())
    }

    /// Writes the settings anew if `change` makes others of them, as where the data of a run have moved. A folder that a
    /// program has made may have none. Call it with the folder locked.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn change_settings<S>(&self, change: impl FnOnce(S) -> S) -> Result<(), TrainError>
    where
        S: Serialize + DeserializeOwned + Clone + PartialEq,
    {
        if !self.path.join(CONFIG).exists() {
            return Ok(());
        }
        let was: S = self.settings()?;
        let is = change(was.clone());
        if is == was { Ok(()) } else { self.save_settings(&is) }
    }

    /// The model that the run started from, if any, and the path of its copy.
    pub fn origin(&self) -> Result<Option<(ModelFile, PathBuf)>, TrainError> {
        let path = self.path.join(ORIGIN);
        Ok(if path.exists() { Some((ModelFile::load(&path)?, path)) } else { None })
    }

    /// Whether the run was trained to its end and tested: it has the file that a run of its kind writes last.
    pub fn is_finished(&self) -> bool {
        let last = if matches!(self.load_model(), Ok(Model::Gan(_))) { ANIMATION } else { RESULT };
        self.path.join(last).exists() && self.best().exists()
    }

    pub fn load_model(&self) -> Result<Model, TrainError> {
        let path = self.path.join(ARCHITECTURE);
        let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
        Ok(Model::parse(&text, &path.display().to_string())?)
    }

    /// The checkpoint to resume from, if there is one: the last that was written, or the one before it if that is
    /// damaged. A checkpoint that the system does not let us read may be intact: that is an error, and the file stays.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, TrainError> {
        let mut damaged = None;
        for path in [self.last(), self.previous()].into_iter().filter(|path| path.exists()) {
            match ModelFile::load(&path) {
                Ok(file) => return Ok(Some(Checkpoint { file, path, is_over: false, damaged })),
                Err(error @ ModelError::Read { .. }) => return Err(error.into()),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        match damaged {
            Some(error) => {
                let remedy = match self.is_finished() {
                    true => "Remove it: the run is finished, and its model is best.safetensors".into(),
                    false => format!("There is no other checkpoint; remove it, {REMAINS}, and --resume starts over"),
                };
                let reason = format!("{error}. {remedy}");
                Err(TrainError::Resume { path: self.path.clone(), reason })
            }
            None => Ok(None),
        }
    }

    /// The step or round of the checkpoint that `--resume` continues from.
    pub fn saved_step(&self) -> Option<u32> {
        let Checkpoint { file, path, .. } = self.checkpoint().ok()??;
        file.u32s("clock", &path).ok()?.first().copied()
    }

    /// Puts the checkpoint before in the place of a damaged one, and returns a warning that says so.
    pub(super) fn mend(&self, checkpoint: &Checkpoint) -> Result<Option<String>, TrainError> {
        let Some(error) = &checkpoint.damaged else { return Ok(None) };
        let last = self.last();
        fs::rename(&checkpoint.path, &last).map_err(|e| failed(&last, &e))?;
        Ok(Some(format!("{error}. Continuing from the checkpoint before it")))
    }

    /// Keeps other processes out of the folder as long as the returned file is open.
    ///
    /// # Errors
    /// [`TrainError::InUse`] where another process does so, and the system's.
    pub fn lock(&self) -> Result<fs::File, TrainError> {
        let path = self.path.join(LOCK);
        let options = || fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options().map_err(|e| failed(&path, &e))?;
        if files::lock(&file) { Ok(file) } else { Err(TrainError::InUse { path: self.path.clone() }) }
    }

    /// The checkpoint or, of a finished run whose checkpoint was removed, the model: both say what they were trained
    /// with.
    pub(super) fn kept(&self) -> Result<Option<Checkpoint>, TrainError> {
        match self.checkpoint()? {
            None if self.is_finished() => {
                Ok(Some(Checkpoint { file: self.load_best()?, path: self.best(), is_over: true, damaged: None }))
            }
            kept => Ok(kept),
        }
    }

    /// Refuses to resume with training data other than what the run has learned from, or with classes of other names.
    pub fn check_data(&self, data: &DataSet) -> Result<(), TrainError> {
        self.kept()?.map_or(Ok(()), |kept| kept.same_data(&digest(&data.train), &data.class_names))
    }

    /// The classifier's run in this folder or, in that of an ensemble, those of its members, finished ones too: what an
    /// ensemble has learned is in their folders.
    ///
    /// # Errors
    /// Settings of an ensemble that were changed since it began.
    pub fn runs(&self) -> Result<Vec<Folder>, TrainError> {
        let own: Settings = self.settings()?;
        if self.member(own.members).exists() {
            return Err(self.changed(CONFIG, &format!("with more members than {}", own.members)));
        }
        if own.members == 1 {
            return Ok(vec![self.clone()]);
        }
        let runs: Vec<Folder> =
            (0..own.members).map(|i| Folder::open(&self.member(i))).collect::<Result<_, TrainError>>()?;
        if let Some(first) = runs.first() {
            let aside = [&["members"][..], &PLACES[..]].concat();
            if let Some(changed) = difference(&first.settings()?, &own, &aside) {
                return Err(self.changed(CONFIG, &changed));
            }
        }
        Ok(runs)
    }

    /// The error for a file that was changed since the run began; `changed` follows "was begun".
    fn changed(&self, name: &str, changed: &str) -> TrainError {
        let reason = format!("the run was begun {changed}. Put back what it was, or start a new run");
        TrainError::Resume { path: self.path.join(name), reason }
    }

    /// Refuses to resume with settings or an architecture that were changed since the run began. Devices change from
    /// run to run, and what lies elsewhere now is known by its digest or was copied.
    pub fn check_settings<S: Serialize + DeserializeOwned>(&self) -> Result<(), TrainError> {
        let Some(kept) = self.kept()? else { return Ok(()) };
        let settings: S = self.settings()?;
        // Settings of a version that had others are not compared.
        let was = kept.file.metadata.get("trained").and_then(|text| toml::from_str::<S>(text).ok());
        if let Some(changed) = was.and_then(|was| difference(&was, &settings, &PLACES)) {
            return Err(self.changed(CONFIG, &changed));
        }
        let architecture = self.read(ARCHITECTURE)?.unwrap_or_default();
        let texts = [kept.file.get("architecture", &kept.path)?, architecture.as_str()];
        between(texts, &REMARKS).map_or(Ok(()), |changed| Err(self.changed(ARCHITECTURE, &changed)))
    }

    /// Removes files that a killed process left half written; none has a name that is ever read.
    pub(super) fn clean(&self) {
        files::clean(&self.path);
        files::clean(&self.path.join(SNAPSHOTS));
    }

    /// All metrics that the folder has.
    pub(super) fn metrics(&self) -> Result<Metrics, TrainError> {
        let Some(text) = self.read(METRICS)? else { return Ok(Metrics::default()) };
        Metrics::parse(&text).map_err(|reason| TrainError::Resume { path: self.path.join(METRICS), reason })
    }

    /// The metrics up to a checkpoint's step, and the best epoch in them. Rows after the checkpoint belong to steps that
    /// are done again.
    ///
    /// # Errors
    /// Metrics that are missing, or end before that step.
    pub(super) fn history(&self, step: usize) -> Result<(Metrics, Best), TrainError> {
        let mut metrics = self.metrics()?;
        metrics.rows.retain(|row| row.step <= step);
        self.check_reach(METRICS, "step", metrics.rows.last().map_or(0, |row| row.step), step)?;
        let mut best = Best::default();
        for row in metrics.rows.iter().filter(|row| row.set == Set::Validation) {
            if best.epoch == 0 || row.accuracy > best.accuracy {
                best = Best { epoch: row.epoch.round() as usize, accuracy: row.accuracy };
            }
        }
        Ok((metrics, best))
    }

    /// Refuses metrics that end at a step or round (`unit` names which) before the checkpoint's.
    pub(super) fn check_reach(&self, name: &str, unit: &str, reached: usize, at: usize) -> Result<(), TrainError> {
        if reached == at {
            return Ok(());
        }
        let path = self.path.join(name);
        let problem = if path.exists() { format!("it ends at {unit} {reached}") } else { "it is missing".into() };
        let reason = format!(
            "{problem}, but the checkpoint is at {unit} {at}, and the best epoch is chosen by what came before. Put \
             back the file that belongs to it, or start a new run"
        );
        Err(TrainError::Resume { path, reason })
    }

    /// The epoch of the best model that the folder has; 0 if it has none.
    fn epoch_of_best(&self) -> Result<usize, TrainError> {
        let path = self.best();
        Ok(if path.exists() { ModelFile::load(&path)?.number(EPOCH, &path)? } else { 0 })
    }

    /// Refuses a best model that does not belong to a checkpoint, and metrics (the file `records`) that do not know of it:
    /// `known` is the best epoch by them, 0 if there is none. Returns the epoch of the best model.
    pub(super) fn check_best(&self, checkpoint: &Checkpoint, known: usize, records: &str) -> Result<usize, TrainError> {
        let (done, found) = (checkpoint.epoch()?, self.epoch_of_best()?);
        // The model of a run that was killed before its checkpoint: the epoch is done again.
        if found > done {
            return Ok(found);
        }
        let said = checkpoint.best_epoch()?;
        if found > 0 && known == 0 && said.is_none_or(|best| best == found) {
            let reason = format!(
                "it has no best epoch, but best.safetensors is of epoch {found}, and the checkpoint of epoch {done}. Put \
                 back the file that belongs to them, or start a new run"
            );
            return Err(TrainError::Resume { path: self.path.join(records), reason });
        }
        // The metrics may know of a better one: an epoch that was done again, on another device, need not be the best
        // again.
        let best = said.unwrap_or(known);
        if found == best { Ok(found) } else { Err(self.other_best(found, best)) }
    }

    /// Refuses a finished run's model if it is older than the one that was tested. Older versions took the epoch of that
    /// from the metrics, which may know of an earlier one.
    ///
    /// # Errors
    /// [`TrainError::Resume`], and those of reading it.
    pub fn check_finished(&self) -> Result<(), TrainError> {
        let found = self.epoch_of_best()?;
        match Folder::best_epoch(&self.path) {
            Some(tested) if found < tested => Err(self.other_best(found, tested)),
            _ => Ok(()),
        }
    }

    /// The error for a best model that is of epoch `found`, 0 if it is missing, and not of epoch `best`.
    fn other_best(&self, found: usize, best: usize) -> TrainError {
        let problem = if found > 0 { format!("it is of epoch {found}") } else { "it is missing".into() };
        let wanted =
            if best > 0 { format!("the best epoch so far is {best}") } else { "no epoch is the best yet".into() };
        let reason = format!("{problem}, but {wanted}. Put back the file that belongs to this run, or start a new run");
        TrainError::Resume { path: self.best(), reason }
    }

    /// Refuses to start over where a checkpoint has been: a killed run can have up to `first` epochs in its metrics, or
    /// in a best model, before it has one. Returns the epoch of the best model.
    pub(super) fn check_lost(&self, recorded: f64, first: usize) -> Result<usize, TrainError> {
        let found = self.epoch_of_best()?;
        let epochs = recorded.max(found as f64);
        if epochs <= first as f64 {
            return Ok(found);
        }
        let reason = format!(
            "it has results of {epochs} epochs, but no checkpoint to continue from. Put last.safetensors back, or \
             remove {REMAINS}, and --resume starts over"
        );
        Err(TrainError::Resume { path: self.path.clone(), reason })
    }

    /// Writes the curves and then the metrics. Of all that a run saves, the curves come first: while another program has
    /// them open, nothing else gets ahead of the checkpoint.
    pub(super) fn save_metrics(&self, metrics: &Metrics, settings: &Settings) -> Result<(), TrainError> {
        let curves = Curves { name: &settings.model, metrics, label_smoothing: settings.label_smoothing };
        let picture = Metrics::picture(&settings.model, &[curves])?;
        report::save_png(&picture, self.path.join("curves.png"))?;
        self.write(METRICS, metrics.csv().as_bytes())
    }

    /// Writes the best model, directly before the checkpoint, and returns its epoch.
    pub(super) fn save_best(&self, file: &ModelFile) -> Result<usize, TrainError> {
        let path = self.best();
        file.save(&path)?;
        Ok(file.number(EPOCH, &path)?)
    }

    /// Writes a checkpoint, and keeps the one before it. It comes last: it is never ahead of the other files.
    pub(super) fn save_checkpoint(&self, file: &ModelFile) -> Result<(), TrainError> {
        let last = self.last();
        let bytes = file.to_bytes(&last)?;
        write_keeping(&last, &self.previous(), &bytes).map_err(|error| failed(&last, &error))
    }

    /// A finished run needs no checkpoint but the last.
    pub(super) fn forget_previous(&self) {
        // A file that cannot be removed does no harm.
        let _ = fs::remove_file(self.previous());
    }

    pub fn load_best(&self) -> Result<ModelFile, TrainError> {
        Ok(ModelFile::load(self.best())?)
    }

    /// Writes the scores on the test set, which is used once.
    pub fn save_result(&self, test: Option<&Scores>, best_epoch: usize) -> Result<(), TrainError> {
        let mut text = format!("best_epoch = {best_epoch}\ntest_images = {}\n", test.map_or(0, |t| t.predicted.len()));
        if let Some(test) = test {
            let (accuracy, loss) = (test.accuracy(), test.loss);
            text += &format!("test_correct = {}\ntest_accuracy = {accuracy:.5}\ntest_loss = {loss:.6}\n", test.correct);
        }
        self.write(RESULT, text.as_bytes())
    }

    /// Writes a file under a temporary name in the same folder, syncs it and renames it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        write_whole(&path, bytes).map_err(|error| failed(&path, &error))
    }
}

/// What a run resumes from.
#[derive(Debug)]
pub struct Checkpoint {
    pub file: ModelFile,
    pub path: PathBuf,
    /// Whether it is a finished run's model, in the place of a checkpoint that was removed.
    pub(super) is_over: bool,
    /// What is wrong with a newer checkpoint, if there is one.
    damaged: Option<ModelError>,
}

impl Checkpoint {
    /// Refuses training data with a digest other than that of the data it was trained on, or with other class names.
    pub(super) fn same_data(&self, now: &str, class_names: &[String]) -> Result<(), TrainError> {
        let was = self.file.get(DATA_DIGEST, &self.path)?;
        let names = self.file.class_names(&self.path)?;
        let renamed = names.iter().zip(class_names).find(|(was, now)| was != now);
        let reason = match renamed {
            _ if was != now => format!(
                "the training images or labels are not those it began with (digest {was}, now {now}). Give the \
                 original folder with --data, or start a new run"
            ),
            Some((was, now)) => format!(
                "the class {was:?} of the images that it began with is called {now:?} now. Give it its old name, or \
                 start a new run"
            ),
            None => return Ok(()),
        };
        Err(TrainError::Resume { path: self.path.clone(), reason })
    }

    /// Epochs that were done.
    pub(super) fn epoch(&self) -> Result<usize, TrainError> {
        Ok(self.file.number(EPOCH, &self.path)?)
    }

    /// The epoch of the best model that was there when this was written. Versions before do not say it.
    fn best_epoch(&self) -> Result<Option<usize>, TrainError> {
        let is_said = self.file.metadata.contains_key(BEST_EPOCH);
        Ok(is_said.then(|| self.file.number(BEST_EPOCH, &self.path)).transpose()?)
    }

    /// The state that it holds, fitted to a classifier.
    pub(super) fn state(&self, classifier: &ClassifierSteps) -> Result<State, TrainError> {
        let learner = &classifier.learner;
        let [step, seed] = self.clock("step", learner.steps())?;
        Ok(State { step, seed, learned: learner.learned(&self.file, "", &self.path)? })
    }

    /// Its step or round (`unit` names which), at most `most` by the settings; and its seed.
    pub(super) fn clock(&self, unit: &str, most: usize) -> Result<[u32; 2], TrainError> {
        let refuse = |reason: String| TrainError::Resume { path: self.path.clone(), reason };
        let [at, seed] = *self.file.u32s("clock", &self.path)? else {
            return Err(refuse(format!("its clock is not [{unit}, seed]")));
        };
        if at as usize > most {
            return Err(refuse(format!("it is at {unit} {at}, but its settings end at {unit} {most}")));
        }
        Ok([at, seed])
    }
}

const CONFIG: &str = "config.toml";
const ARCHITECTURE: &str = "architecture.toml";
/// An empty file that a process holds locked while it trains.
const LOCK: &str = ".lock";
pub(super) const METRICS: &str = "metrics.csv";
const ORIGIN: &str = "from.safetensors";
/// A classifier's last file.
const RESULT: &str = "result.toml";
/// A GAN's last file.
pub(super) const ANIMATION: &str = "snapshots.gif";
/// Metadata: the epochs that a checkpoint or a best model has behind it.
pub(super) const EPOCH: &str = "epoch";
/// Metadata of a checkpoint: the epoch of the best model, 0 if there is none yet.
pub(super) const BEST_EPOCH: &str = "best_epoch";
/// What is left of a run without its checkpoints.
const REMAINS: &str = "best.safetensors and the .csv files";
/// Settings that say where something is.
const PLACES: [&str; 4] = ["data", "device", "from", "judge"];
/// What an architecture says that training does not depend on: its recipe has become settings.
const REMARKS: [&str; 3] = ["about", "name", "recipe"];
/// The folder of snapshots in a run's folder: a classifier's models or a GAN's pictures.
pub(super) const SNAPSHOTS: &str = "snapshots";

fn snapshot_name(step: usize) -> String {
    format!("{step:06}.safetensors")
}

fn failed(path: &Path, error: &std::io::Error) -> TrainError {
    if error.kind() == std::io::ErrorKind::ResourceBusy {
        return TrainError::Held { path: path.into() };
    }
    TrainError::Folder { path: path.into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_other_images_or_of_classes_with_other_names_is_not_gone_on_from() {
        let mut file = ModelFile::default();
        file.set(DATA_DIGEST, "1");
        file.set("classes", 2);
        file.set_class_names(&["a", "b"].map(String::from));
        let checkpoint = Checkpoint { file, path: "last.safetensors".into(), is_over: false, damaged: None };
        let refused = |digest: &str, names: [&str; 2]| {
            checkpoint.same_data(digest, &names.map(String::from)).unwrap_err().to_string()
        };
        checkpoint.same_data("1", &["a", "b"].map(String::from)).unwrap();
        assert!(refused("2", ["a", "b"]).contains("are not those it began with (digest 1, now 2)"));
        let renamed = refused("1", ["a", "xb"]);
        let words =
            "last.safetensors: cannot be resumed: the class \"b\" of the images that it began with is called \"xb\"";
        assert!(renamed.starts_with(words), "{renamed}");
    }

    /// A checkpoint of epoch `done`; `best` is the epoch of the best model, if it says that.
    fn checkpoint(done: usize, best: Option<usize>) -> Checkpoint {
        let mut file = ModelFile::default();
        file.set(EPOCH, done);
        if let Some(best) = best {
            file.set(BEST_EPOCH, best);
        }
        Checkpoint { file, path: "last.safetensors".into(), is_over: false, damaged: None }
    }

    /// A folder whose best model is of epoch 3.
    fn with_best() -> (tempfile::TempDir, Folder) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(parent.path(), "net").unwrap();
        let mut file = ModelFile::default();
        file.set("architecture", "none");
        file.set(EPOCH, 3);
        file.save(folder.best()).unwrap();
        (parent, folder)
    }

    #[test]
    fn a_best_model_is_that_of_the_checkpoint_or_a_newer_one_of_a_run_killed_while_it_saved() {
        let (_parent, folder) = with_best();
        let check = |done, best, known| folder.check_best(&checkpoint(done, best), known, METRICS);
        for (done, best, known) in [(2, Some(1), 1), (2, Some(0), 0), (3, Some(3), 3), (3, None, 3)] {
            assert_eq!(check(done, best, known).unwrap(), 3, "{done} {best:?} {known}");
        }
        // Done again on another device, the third epoch was not the best.
        assert_eq!(check(3, Some(3), 2).unwrap(), 3);
        for (done, best, known) in [(3, Some(2), 2), (4, Some(4), 4), (3, None, 1)] {
            let refused = check(done, best, known).unwrap_err().to_string();
            let words =
                format!("best.safetensors: cannot be resumed: it is of epoch 3, but the best epoch so far is {known}");
            assert!(refused.contains(&words), "{refused}");
        }
        for best in [Some(3), None] {
            let refused = check(3, best, 0).unwrap_err().to_string();
            let words = "metrics.csv: cannot be resumed: it has no best epoch, but best.safetensors is of epoch 3";
            assert!(refused.contains(words), "{refused}");
        }
        // Without validation there is none before the end, and the metrics are right.
        let refused = check(3, Some(0), 0).unwrap_err().to_string();
        assert!(
            refused.contains("best.safetensors: cannot be resumed: it is of epoch 3, but no epoch is"),
            "{refused}"
        );
        std::fs::remove_file(folder.best()).unwrap();
        assert_eq!(check(2, Some(0), 0).unwrap(), 0);
        assert!(
            check(2, Some(1), 1).unwrap_err().to_string().contains("it is missing, but the best epoch so far is 1")
        );
    }

    #[test]
    fn a_run_without_a_checkpoint_starts_over_only_if_it_was_in_its_first_epoch() {
        let (_parent, folder) = with_best();
        assert!(folder.check_lost(0.0, 2).is_err());
        assert_eq!(folder.check_lost(3.0, 3).unwrap(), 3);
        assert!(folder.check_lost(3.5, 3).is_err());
    }

    #[test]
    fn a_damaged_checkpoint_of_a_finished_run_is_to_be_removed_and_the_model_stays() {
        let (_parent, folder) = with_best();
        std::fs::write(folder.last(), "half").unwrap();
        let advice = || folder.checkpoint().unwrap_err().to_string();
        assert!(advice().ends_with("remove it, best.safetensors and the .csv files, and --resume starts over"));
        // The last file of a GAN says nothing of a classifier.
        folder.write(ANIMATION, b"").unwrap();
        assert!(!folder.is_finished());
        folder.save_result(None, 3).unwrap();
        assert!(advice().ends_with("Remove it: the run is finished, and its model is best.safetensors"));
        folder.check_finished().unwrap();
        folder.save_result(None, 4).unwrap();
        let refused = folder.check_finished().unwrap_err().to_string();
        assert!(refused.contains("it is of epoch 3, but the best epoch so far is 4"), "{refused}");
    }
}
