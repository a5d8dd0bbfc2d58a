//! Writes a model that was trained in the window to a file with a name of its own.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, Existing};
use crate::hash::hash;
use crate::models::ModelFile;

/// Writes `live-NETWORK-0001.safetensors`, or the next number, into a folder, which is created if there is none. An
/// existing file is never overwritten.
///
/// # Errors
/// The system's error, as a message.
pub fn keep(file: &ModelFile, folder: &Path, network: &str) -> Result<PathBuf, String> {
    let failed = |error: io::Error| not_kept(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut number = next(folder, network).map_err(failed)?;
    loop {
        let path = folder.join(format!("live-{network}-{number:04}.safetensors"));
        let bytes = file.to_bytes(&path).map_err(|error| error.to_string())?;
        match files::write(&path, &bytes, Existing::Keep) {
            Ok(()) => return Ok(path),
            // Another program was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed(error)),
        }
    }
}

/// A run's model that nobody asked to keep, but that may be missed.
#[derive(Default)]
pub struct Spare {
    /// The hash of the file that the run wrote last.
    written: Option<u64>,
}

impl Spare {
    /// Writes `live-NETWORK-latest.safetensors` into a folder, which is created if there is none. The run's own old file
    /// is overwritten; that of an earlier run, or of another window's, becomes `live-NETWORK-before.safetensors`, since
    /// this run may be the worse one. At this run's first write the second path returned is that: whoever has read with
    /// the model before then finds it there. Later it is another window's model, with which nobody here has read.
    ///
    /// # Errors
    /// As [`keep`].
    pub fn write(
        &mut self,
        file: &ModelFile,
        folder: &Path,
        network: &str,
    ) -> Result<(PathBuf, Option<PathBuf>), String> {
        let failed = |error: io::Error| not_kept(folder, &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let named = |name: &str| folder.join(format!("live-{network}-{name}.safetensors"));
        let path = named("latest");
        let bytes = file.to_bytes(&path).map_err(|error| error.to_string())?;
        let before = (path.exists() && !self.is_own(&path)).then(|| named("before"));
        // On a full disk the old file stays where it is.
        let written = match &before {
            Some(before) => files::write_keeping(&path, before, &bytes),
            None => files::write_whole(&path, &bytes),
        };
        written.map_err(failed)?;
        let is_first = self.written.replace(hash(&bytes)).is_none();
        Ok((path, before.filter(|_| is_first)))
    }

    /// Whether a file is what this run has written, and nobody else since.
    fn is_own(&self, path: &Path) -> bool {
        self.written.is_some() && self.written == std::fs::read(path).ok().map(|bytes| hash(&bytes))
    }
}

fn not_kept(folder: &Path, error: &io::Error) -> String {
    let folder = folder.display();
    format!("the model is not kept: {folder}: {error}. To use another folder: inkgrad app --models DIR")
}

/// One more than the highest number there is.
fn next(folder: &Path, network: &str) -> io::Result<u64> {
    let start = format!("live-{network}-");
    let mut highest = 0;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(&start)?.strip_suffix(".safetensors"));
        // So large a number is not one of ours, and may have none after it.
        let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number < 1 << 32);
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_from_the_highest_and_nothing_is_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("not/yet");
        let file = ModelFile::shipped("fast").unwrap();
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(name(keep(&file, &folder, "fast").unwrap()), "live-fast-0001.safetensors");
        for other in ["live-fast-0041.safetensors", "live-fast-99999999999.safetensors", "live-dense-0099.safetensors"]
        {
            std::fs::write(folder.join(other), b"mine").unwrap();
        }
        let path = keep(&file, &folder, "fast").unwrap();
        assert!(ModelFile::load(&path).is_ok());
        assert_eq!(name(path), "live-fast-0042.safetensors");
        let mut spare = Spare::default();
        for _ in 0..2 {
            let (path, _) = spare.write(&file, &folder, "fast").unwrap();
            assert!(ModelFile::load(&path).is_ok());
            assert_eq!(name(path), "live-fast-latest.safetensors", "it alone is written over");
        }
        assert_eq!(name(keep(&file, &folder, "fast").unwrap()), "live-fast-0043.safetensors");
        assert_eq!(std::fs::read(folder.join("live-fast-0041.safetensors")).unwrap(), b"mine");
    }

    #[test]
    fn another_run_leaves_what_the_one_before_has_learned_and_writes_over_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (ModelFile::shipped("fast").unwrap(), ModelFile::shipped("dense").unwrap());
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).ok();
        let first = Spare::default().write(&good, folder.path(), "fast").unwrap();
        assert_eq!(first, (folder.path().join("live-fast-latest.safetensors"), None));
        let of_good = bytes("live-fast-latest.safetensors");
        assert!(of_good.is_some() && bytes("live-fast-before.safetensors").is_none());
        let mut second = Spare::default();
        for is_own in [false, true] {
            let (_, before) = second.write(&bad, folder.path(), "fast").unwrap();
            assert_eq!(before, (!is_own).then(|| folder.path().join("live-fast-before.safetensors")));
            assert!(bytes("live-fast-before.safetensors") == of_good);
            assert!(bytes("live-fast-latest.safetensors") != of_good);
        }
    }

    #[test]
    fn a_run_does_not_write_over_what_a_run_in_another_window_has_written_and_leads_nobody_to_that() {
        let folder = tempfile::tempdir().unwrap();
        let models = ["fast", "dense", "cnn"].map(|name| ModelFile::shipped(name).unwrap());
        let [latest, before] =
            ["latest", "before"].map(|name| folder.path().join(format!("live-fast-{name}.safetensors")));
        let (mut one, mut other) = (Spare::default(), Spare::default());
        one.write(&models[0], folder.path(), "fast").unwrap();
        other.write(&models[1], folder.path(), "fast").unwrap();
        let of_other = std::fs::read(&latest).unwrap();
        assert_eq!(one.write(&models[2], folder.path(), "fast"), Ok((latest.clone(), None)));
        assert!(std::fs::read(&before).unwrap() == of_other);
        // The file is the first run's own again.
        assert_eq!(one.write(&models[0], folder.path(), "fast"), Ok((latest, None)));
        assert!(std::fs::read(&before).unwrap() == of_other);
    }

    #[cfg(unix)]
    #[test]
    fn where_the_latest_model_is_a_link_the_file_it_leads_to_is_replaced_and_kept_as_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let [target, latest, before] = ["target", "live-fast-latest.safetensors", "live-fast-before.safetensors"]
            .map(|name| folder.path().join(name));
        std::fs::write(&target, b"old").unwrap();
        std::os::unix::fs::symlink(&target, &latest).unwrap();
        Spare::default().write(&ModelFile::shipped("fast").unwrap(), folder.path(), "fast").unwrap();
        assert!(latest.is_symlink() && ModelFile::load(&target).is_ok());
        assert_eq!(std::fs::read(&before).unwrap(), b"old");
    }

    #[test]
    fn a_folder_that_cannot_be_is_said_with_a_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("file");
        std::fs::write(&folder, b"").unwrap();
        let model = ModelFile::shipped("fast").unwrap();
        let spare = Spare::default().write(&model, &folder, "fast").map(|(path, _)| path);
        let problems = [keep(&model, &folder, "fast"), spare];
        for problem in problems.map(Result::unwrap_err) {
            assert!(problem.contains("--models DIR") && problem.contains("file"), "{problem}");
        }
    }
}
