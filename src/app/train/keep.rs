//! Writes a model that was trained in the window to a file with a name of its own.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, Existing};
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

/// Writes `live-NETWORK-latest.safetensors` into a folder, which is created if there is none: a model that nobody asked
/// to keep, but that may be missed. If the old file `is_own`, of the same run, it is overwritten; one of an earlier run
/// becomes `live-NETWORK-before.safetensors`, since this run may be the worse one, and the second path returned is
/// that.
///
/// # Errors
/// As [`keep`].
pub fn spare(
    file: &ModelFile,
    folder: &Path,
    network: &str,
    is_own: bool,
) -> Result<(PathBuf, Option<PathBuf>), String> {
    let failed = |error: io::Error| not_kept(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let named = |name: &str| folder.join(format!("live-{network}-{name}.safetensors"));
    let path = named("latest");
    let bytes = file.to_bytes(&path).map_err(|error| error.to_string())?;
    let before = (!is_own && path.exists()).then(|| named("before"));
    // On a full disk the old file stays where it is.
    let written = match &before {
        Some(before) => files::write_keeping(&path, before, &bytes),
        None => files::write_whole(&path, &bytes),
    };
    written.map_err(failed)?;
    Ok((path, before))
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
        for is_own in [false, true] {
            let (path, _) = spare(&file, &folder, "fast", is_own).unwrap();
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
        let first = spare(&good, folder.path(), "fast", false).unwrap();
        assert_eq!(first, (folder.path().join("live-fast-latest.safetensors"), None));
        let of_good = bytes("live-fast-latest.safetensors");
        assert!(of_good.is_some() && bytes("live-fast-before.safetensors").is_none());
        for is_own in [false, true] {
            let (_, before) = spare(&bad, folder.path(), "fast", is_own).unwrap();
            assert_eq!(before, (!is_own).then(|| folder.path().join("live-fast-before.safetensors")));
            assert!(bytes("live-fast-before.safetensors") == of_good);
            assert!(bytes("live-fast-latest.safetensors") != of_good);
        }
    }

    #[cfg(unix)]
    #[test]
    fn where_the_latest_model_is_a_link_the_file_it_leads_to_is_replaced_and_kept_as_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let [target, latest, before] = ["target", "live-fast-latest.safetensors", "live-fast-before.safetensors"]
            .map(|name| folder.path().join(name));
        std::fs::write(&target, b"old").unwrap();
        std::os::unix::fs::symlink(&target, &latest).unwrap();
        spare(&ModelFile::shipped("fast").unwrap(), folder.path(), "fast", false).unwrap();
        assert!(latest.is_symlink() && ModelFile::load(&target).is_ok());
        assert_eq!(std::fs::read(&before).unwrap(), b"old");
    }

    #[test]
    fn a_folder_that_cannot_be_is_said_with_a_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("file");
        std::fs::write(&folder, b"").unwrap();
        let model = ModelFile::shipped("fast").unwrap();
        let spare = spare(&model, &folder, "fast", false).map(|(path, _)| path);
        let problems = [keep(&model, &folder, "fast"), spare];
        for problem in problems.map(Result::unwrap_err) {
            assert!(problem.contains("--models DIR") && problem.contains("file"), "{problem}");
        }
    }
}
