//! What a run goes on from, and whether the rest of its folder belongs to that.

use std::fs;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::difference::{between, difference};
use super::folder::failed;
use super::keeping::{BEST_EPOCH, EPOCH};
use super::{Folder, Settings, TrainError};
use crate::models::{DATA_DIGEST, ModelError, ModelFile};
use crate::run_files::{ARCHITECTURE, CONFIG};

/// Settings that say where something is. What lies elsewhere now is known by its digest or was copied, and devices
/// change from run to run.
pub const PLACES: [&str; 4] = ["data", "device", "from", "judge"];
/// What an architecture says that training does not depend on: its recipe has become settings.
const REMARKS: [&str; 3] = ["about", "name", "recipe"];
/// What is left of a run without its checkpoints.
const REMAINS: &str = "best.safetensors and the .csv files";

/// Where a run starts.
#[derive(Debug)]
pub enum Start {
    /// At its first step: there is no checkpoint.
    Anew,
    /// Behind its checkpoint.
    From(Checkpoint),
    /// At its end: it is finished, and its checkpoint was removed. Its model says what it was trained with, too.
    Over(Checkpoint),
}

/// A checkpoint, or a finished run's model in the place of one.
#[derive(Debug)]
pub struct Checkpoint {
    pub file: ModelFile,
    /// What is wrong with a newer checkpoint, if there is one.
    damaged: Option<ModelError>,
}

impl Start {
    /// What says with what the run was trained, if anything does.
    pub(super) fn kept(&self) -> Option<&Checkpoint> {
        match self {
            Start::Anew => None,
            Start::From(kept) | Start::Over(kept) => Some(kept),
        }
    }

    /// The checkpoint that the run continues from, if it does.
    pub(super) fn checkpoint(&self) -> Option<&ModelFile> {
        match self {
            Start::From(checkpoint) => Some(&checkpoint.file),
            Start::Anew | Start::Over(_) => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Start::Over(_))
    }

    /// Refuses to resume with training data other than those that the run has learned from (`digest` is that of the ones
    /// at hand), or with classes of other names.
    ///
    /// # Errors
    /// [`TrainError::Resume`].
    pub fn check_data(&self, digest: &str, class_names: &[String]) -> Result<(), TrainError> {
        let Some(Checkpoint { file, .. }) = self.kept() else { return Ok(()) };
        let was = file.get(DATA_DIGEST)?;
        let names = file.class_names()?;
        let renamed = names.iter().zip(class_names).find(|(was, now)| was != now);
        let reason = match renamed {
            _ if was != digest => format!(
                "the training images or labels are not those it began with (digest {was}, now {digest}). Give the \
                 original folder with --data, or start a new run"
            ),
            Some((was, now)) => format!(
                "the class {was:?} of the images that it began with is called {now:?} now. Give it its old name, or \
                 start a new run"
            ),
            None => return Ok(()),
        };
        Err(TrainError::Resume { path: file.name.clone(), reason })
    }
}

impl Checkpoint {
    /// Epochs that were done.
    pub(super) fn epoch(&self) -> Result<usize, TrainError> {
        Ok(self.file.number(EPOCH)?)
    }

    /// The epoch of the best model that was there when this was written. Versions before do not say it.
    fn best_epoch(&self) -> Result<Option<usize>, TrainError> {
        let is_said = self.file.metadata.contains_key(BEST_EPOCH);
        Ok(is_said.then(|| self.file.number(BEST_EPOCH)).transpose()?)
    }

    /// Its step or round (`unit` names which), at most `most` by the settings; and its seed.
    pub(super) fn clock(&self, unit: &str, most: usize) -> Result<[u32; 2], TrainError> {
        let refuse = |reason: String| TrainError::Resume { path: self.file.name.clone(), reason };
        let [at, seed] = *self.file.u32s("clock")? else {
            return Err(refuse(format!("its clock is not [{unit}, seed]")));
        };
        if at as usize > most {
            return Err(refuse(format!("it is at {unit} {at}, but its settings end at {unit} {most}")));
        }
        Ok([at, seed])
    }
}

impl Folder {
    /// Where the run in this folder starts. A checkpoint is read and checked as a whole.
    ///
    /// # Errors
    /// Those of reading, and of a checkpoint that is damaged where there is none before it.
    pub fn start(&self) -> Result<Start, TrainError> {
        match self.checkpoint()? {
            Some(checkpoint) => Ok(Start::From(checkpoint)),
            None if self.is_finished() => Ok(Start::Over(Checkpoint { file: self.load_best()?, damaged: None })),
            None => Ok(Start::Anew),
        }
    }

    /// The checkpoint to resume from, if there is one: the last that was written, or the one before it if that is
    /// damaged. A checkpoint that the system does not let us read may be intact: that is an error, and the file stays.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, TrainError> {
        let mut damaged = None;
        for path in [self.last(), self.previous()].into_iter().filter(|path| path.exists()) {
            match ModelFile::load(&path) {
                Ok(file) => return Ok(Some(Checkpoint { file, damaged })),
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
                Err(TrainError::Resume { path: self.path().into(), reason })
            }
            None => Ok(None),
        }
    }

    /// The step or round of the checkpoint that `--resume` continues from.
    pub fn saved_step(&self) -> Option<u32> {
        let Checkpoint { file, .. } = self.checkpoint().ok()??;
        file.u32s("clock").ok()?.first().copied()
    }

    /// Puts the checkpoint before in the place of a damaged one, and returns a warning that says so.
    pub(super) fn mend(&self, start: &Start) -> Result<Option<String>, TrainError> {
        let Start::From(Checkpoint { file, damaged: Some(error) }) = start else { return Ok(None) };
        let last = self.last();
        fs::rename(&file.name, &last).map_err(|e| failed(&last, &e))?;
        Ok(Some(format!("{error}. Continuing from the checkpoint before it")))
    }

    /// The classifier's run in this folder or, in that of an ensemble, those of its members, finished ones too: what an
    /// ensemble has learned is in their folders.
    ///
    /// # Errors
    /// Settings of an ensemble that were changed since it began, and those of [`Folder::open`].
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
        TrainError::Resume { path: self.path().join(name), reason }
    }

    /// Refuses to resume with settings, [`PLACES`] aside, or an architecture that were changed since the run began.
    pub fn check_settings<S: Serialize + DeserializeOwned>(&self, start: &Start) -> Result<(), TrainError> {
        let Some(kept) = start.kept() else { return Ok(()) };
        let settings: S = self.settings()?;
        // Settings of a version that had others are not compared.
        let was = kept.file.metadata.get("trained").and_then(|text| toml::from_str::<S>(text).ok());
        if let Some(changed) = was.and_then(|was| difference(&was, &settings, &PLACES)) {
            return Err(self.changed(CONFIG, &changed));
        }
        let architecture = self.read(ARCHITECTURE)?.unwrap_or_default();
        let texts = [kept.file.get("architecture")?, architecture.as_str()];
        between(texts, &REMARKS).map_or(Ok(()), |changed| Err(self.changed(ARCHITECTURE, &changed)))
    }

    /// Refuses metrics that end at a step or round (`unit` names which) before the checkpoint's.
    pub(super) fn check_reach(&self, name: &str, unit: &str, reached: usize, at: usize) -> Result<(), TrainError> {
        if reached == at {
            return Ok(());
        }
        let path = self.path().join(name);
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
        Ok(if path.exists() { ModelFile::load(&path)?.number(EPOCH)? } else { 0 })
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
            return Err(TrainError::Resume { path: self.path().join(records), reason });
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
        match Folder::best_epoch(self.path()) {
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
        Err(TrainError::Resume { path: self.path().into(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ImageSet;
    use crate::run_files::{ANIMATION, METRICS};

    #[test]
    fn a_checkpoint_of_other_images_or_of_classes_with_other_names_is_not_gone_on_from() {
        let mut file = ModelFile { name: "last.safetensors".into(), ..ModelFile::default() };
        file.set(DATA_DIGEST, "1");
        file.set("classes", 2);
        file.set_class_names(&["a", "b"].map(String::from));
        let start = Start::From(Checkpoint { file, damaged: None });
        let refused = |digest: &str, names: [&str; 2]| {
            start.check_data(digest, &names.map(String::from)).unwrap_err().to_string()
        };
        start.check_data("1", &["a", "b"].map(String::from)).unwrap();
        assert!(refused("2", ["a", "b"]).contains("are not those it began with (digest 1, now 2)"));
        let renamed = refused("1", ["a", "xb"]);
        let words =
            "last.safetensors: cannot be resumed: the class \"b\" of the images that it began with is called \"xb\"";
        assert!(renamed.starts_with(words), "{renamed}");
    }

    /// A checkpoint of epoch `done`; `best` is the epoch of the best model, if it says that.
    fn checkpoint(done: usize, best: Option<usize>) -> Checkpoint {
        let mut file = ModelFile { name: "last.safetensors".into(), ..ModelFile::default() };
        file.set(EPOCH, done);
        if let Some(best) = best {
            file.set(BEST_EPOCH, best);
        }
        Checkpoint { file, damaged: None }
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
        let advice = || folder.start().unwrap_err().to_string();
        assert!(advice().ends_with("remove it, best.safetensors and the .csv files, and --resume starts over"));
        // The last file of a GAN says nothing of a classifier.
        folder.write(ANIMATION, b"").unwrap();
        assert!(!folder.is_finished());
        folder.save_result(3, &ImageSet::default(), None).unwrap();
        assert!(advice().ends_with("Remove it: the run is finished, and its model is best.safetensors"));
        folder.check_finished().unwrap();
        folder.save_result(4, &ImageSet::default(), None).unwrap();
        let refused = folder.check_finished().unwrap_err().to_string();
        assert!(refused.contains("it is of epoch 3, but the best epoch so far is 4"), "{refused}");
    }
}
