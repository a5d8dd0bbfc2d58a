//! A run's folder: settings, metrics, checkpoint, best model and pictures, each written whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TrainError;
use super::keeping::EPOCH;
use crate::data::{ImageSet, digest};
use crate::files::{self, write_keeping, write_whole};
use crate::infer::Scores;
use crate::models::{Model, ModelFile};
use crate::run_files::{ANIMATION, ARCHITECTURE, BEST, CONFIG, LAST, ORIGIN, PREVIOUS, RESULT, SNAPSHOTS};

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
        let number = |entry: fs::DirEntry| run_number(&entry.file_name().to_string_lossy());
        let mut last = entries.flatten().filter_map(number).max().unwrap_or(0);
        loop {
            last += 1;
            let path = parent.join(name(last));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Folder { path }),
                // Another process may take a number first: then the next one is tried.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
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
        run.join(BEST)
    }
    /// The checkpoint that a run resumes from.
    pub fn last(&self) -> PathBuf {
        self.path.join(LAST)
    }

    /// The checkpoint before the last, which exists until the run is finished.
    pub(super) fn previous(&self) -> PathBuf {
        self.path.join(PREVIOUS)
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
        usize::try_from(result_of(run)?.get("best_epoch")?.as_integer()?).ok()
    }

    /// A warning where the run in this folder was tested before, and not on these images. Results of older versions do
    /// not say on which.
    pub fn tested_on_others(&self, test: &ImageSet) -> Option<String> {
        let result = result_of(&self.path)?;
        let [was, then] = [TEST_DIGEST, TEST_IMAGES].map(|key| result.get(key));
        let (was, then, now) = (was?.as_str()?, then?.as_integer()?, test.len());
        (was != digest(test)).then(|| {
            let (run, images) = (self.path.display(), if now == 1 { "image" } else { "images" });
            format!("the test images are not those that {run} was tested on before: {now} {images}, {then} then")
        })
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

    /// The copy of the model that the run started from, if any.
    pub fn origin(&self) -> Result<Option<ModelFile>, TrainError> {
        let path = self.path.join(ORIGIN);
        Ok(if path.exists() { Some(ModelFile::load(&path)?) } else { None })
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

    /// Removes files that a killed process left half written; none has a name that is ever read.
    pub(super) fn clean(&self) {
        files::clean(&self.path);
        files::clean(&self.path.join(SNAPSHOTS));
    }

    /// Writes the best model, directly before the checkpoint, and returns its epoch.
    pub(super) fn save_best(&self, file: &ModelFile) -> Result<usize, TrainError> {
        file.save(self.best())?;
        Ok(file.number(EPOCH)?)
    }

    /// Writes a checkpoint, and keeps the one before it. It comes last: it is never ahead of metrics and models.
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

    /// Writes what the test set is, which is used once, and a classifier's scores on it.
    pub fn save_result(&self, best_epoch: usize, test: &ImageSet, scores: Option<&Scores>) -> Result<(), TrainError> {
        let mut text = format!("best_epoch = {best_epoch}\n{TEST_IMAGES} = {}\n", test.len());
        if !test.is_empty() {
            text += &format!("{TEST_DIGEST} = \"{}\"\n", digest(test));
        }
        if let Some(scores) = scores {
            let (correct, accuracy, loss) = (scores.correct, scores.accuracy(), scores.loss);
            text += &format!("test_correct = {correct}\ntest_accuracy = {accuracy:.5}\ntest_loss = {loss:.6}\n");
        }
        self.write(RESULT, text.as_bytes())
    }

    /// Writes a file under a temporary name in the same folder, syncs it and renames it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        write_whole(&path, bytes).map_err(|error| failed(&path, &error))
    }
}

/// An empty file that a process holds locked while it trains.
const LOCK: &str = ".lock";

/// Keys of a result.
const TEST_IMAGES: &str = "test_images";
const TEST_DIGEST: &str = "test_digest";

/// The result of the run in a folder, if it has been tested.
fn result_of(run: &Path) -> Option<toml::Table> {
    fs::read_to_string(run.join(RESULT)).ok()?.parse().ok()
}

/// The number that a run's folder is called by: four to six digits, which a date of eight is not. One that is written
/// `2024-01-01` counts as 2024.
fn run_number(name: &str) -> Option<u32> {
    let (digits, _) = name.split_once('-')?;
    let number = digits.parse::<u32>().ok().filter(|number| *number < 1_000_000)?;
    (digits == format!("{number:04}")).then_some(number)
}

fn snapshot_name(step: usize) -> String {
    format!("{step:06}.safetensors")
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> TrainError {
    if error.kind() == std::io::ErrorKind::ResourceBusy {
        return TrainError::Held { path: path.into() };
    }
    TrainError::Folder { path: path.into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_run_has_the_number_after_the_last_run_whatever_else_lies_there() {
        let parent = tempfile::tempdir().unwrap();
        let next = || {
            let folder = Folder::create(parent.path(), "net").unwrap();
            folder.path().file_name().unwrap().to_string_lossy().into_owned()
        };
        for name in ["20240101-notes", "4294967295-x", "99999999999-x", "+123-x", "77-x", "00077-x", "0077", "-x"] {
            fs::write(parent.path().join(name), "").unwrap();
        }
        assert_eq!([next(), next()], ["0001-net", "0002-net"]);
        fs::create_dir(parent.path().join("9999-fast")).unwrap();
        assert_eq!([next(), next()], ["10000-net", "10001-net"]);
        fs::create_dir(parent.path().join("999999-notes")).unwrap();
        assert_eq!([next(), next()], ["1000000-net", "1000001-net"]);
    }
}
