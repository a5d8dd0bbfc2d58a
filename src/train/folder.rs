//! A run's folder: settings, metrics, checkpoint, best model and pictures, each written whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::metrics::{Curves, Metrics, Set};
use super::run::Best;
use super::steps::State;
use super::{ClassifierSteps, Settings, TrainError};
use crate::data::ImageSet;
use crate::data::digest;
use crate::files::{self, UNFINISHED, write_keeping, write_whole};
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
    pub fn settings<S: serde::de::DeserializeOwned>(&self) -> Result<S, TrainError> {
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
        settings: &impl serde::Serialize,
    ) -> Result<(), TrainError> {
        self.write(ARCHITECTURE, architecture.as_bytes())?;
        if let Some(file) = origin {
            file.save(self.path.join(ORIGIN))?;
        }
        let text = toml::to_string(settings).map_err(|e| {
            let reason = format!("the settings cannot be written: {e}");
            TrainError::Folder { path: self.path.join(CONFIG), reason }
        })?;
        self.write(CONFIG, text.as_bytes())
    }

    /// The model that the run started from, if any, and the path of its copy.
    pub fn origin(&self) -> Result<Option<(ModelFile, PathBuf)>, TrainError> {
        let path = self.path.join(ORIGIN);
        Ok(if path.exists() { Some((ModelFile::load(&path)?, path)) } else { None })
    }

    /// Whether the run was trained to its end and tested.
    pub fn is_finished(&self) -> bool {
        self.path.join(RESULT).exists() && self.best().exists()
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
                Ok(file) => return Ok(Some(Checkpoint { file, path, damaged })),
                Err(error @ ModelError::Read { .. }) => return Err(error.into()),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        match damaged {
            Some(error) => {
                let remedy = "There is no other checkpoint; remove it, and --resume starts over";
                Err(TrainError::Resume { path: self.path.clone(), reason: format!("{error}. {remedy}") })
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
    pub(super) fn lock(&self) -> Result<fs::File, TrainError> {
        let path = self.path.join(LOCK);
        let options = || fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options().map_err(|e| failed(&path, &e))?;
        if files::lock(&file) { Ok(file) } else { Err(TrainError::InUse { path: self.path.clone() }) }
    }

    /// Refuses to resume with training data other than what the checkpoint was trained on, or the model of a finished
    /// run whose checkpoint was removed.
    pub fn check_data(&self, train: &ImageSet) -> Result<(), TrainError> {
        let kept = match self.checkpoint()? {
            None if self.is_finished() => {
                Some(Checkpoint { file: self.load_best()?, path: self.best(), damaged: None })
            }
            kept => kept,
        };
        kept.map_or(Ok(()), |kept| kept.same_data(&digest(train)))
    }

    /// Removes files that a killed process left half written; none has a name that is ever read.
    pub(super) fn clean(&self) {
        let left_over = |name: &str| name.starts_with(UNFINISHED) && name.ends_with(".tmp");
        let folders = [self.path.clone(), self.path.join(SNAPSHOTS)];
        let entries = folders.into_iter().flat_map(fs::read_dir).flatten().flatten();
        for entry in entries.filter(|entry| left_over(&entry.file_name().to_string_lossy())) {
            // A file that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }

    /// The metrics up to a step, and the best epoch in them. Rows after the checkpoint belong to steps that are done
    /// again.
    pub(super) fn history(&self, step: usize) -> Result<(Metrics, Best), TrainError> {
        let path = self.path.join(METRICS);
        if step == 0 || !path.exists() {
            return Ok((Metrics::default(), Best::default()));
        }
        let text = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
        let mut metrics = Metrics::parse(&text).map_err(|reason| TrainError::Resume { path, reason })?;
        metrics.rows.retain(|row| row.step <= step);
        let mut best = Best::default();
        for row in metrics.rows.iter().filter(|row| row.set == Set::Validation) {
            if best.epoch == 0 || row.accuracy > best.accuracy {
                best = Best { epoch: row.epoch.round() as usize, accuracy: row.accuracy };
            }
        }
        Ok((metrics, best))
    }

    /// Writes metrics and curves first, the checkpoint last: the checkpoint is never ahead of them.
    pub fn save(&self, checkpoint: &ModelFile, metrics: &Metrics, settings: &Settings) -> Result<(), TrainError> {
        self.write(METRICS, metrics.csv().as_bytes())?;
        let curves = Curves { name: &settings.model, metrics, label_smoothing: settings.label_smoothing };
        let picture = Metrics::picture(&settings.model, &[curves])?;
        report::save_png(&picture, self.path.join("curves.png"))?;
        self.save_checkpoint(checkpoint)
    }

    /// Writes a checkpoint, and keeps the one before it.
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
    /// What is wrong with a newer checkpoint, if there is one.
    damaged: Option<ModelError>,
}

impl Checkpoint {
    /// Refuses training data with a digest other than that of the data it was trained on.
    pub(super) fn same_data(&self, now: &str) -> Result<(), TrainError> {
        let was = self.file.get(DATA_DIGEST, &self.path)?;
        if was == now {
            return Ok(());
        }
        let reason = format!(
            "the training images or labels are not those it began with (digest {was}, now {now}). Give the original \
             folder with --data, or start a new run"
        );
        Err(TrainError::Resume { path: self.path.clone(), reason })
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
const METRICS: &str = "metrics.csv";
const ORIGIN: &str = "from.safetensors";
const RESULT: &str = "result.toml";
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
