//! What a command writes: names that are refused, files with the folders that are made for them, and runs' folders.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Error, anyhow, bail, ensure};

use crate::files::{self, Existing, Unfinished, WriteError};
use crate::report;
use crate::train::{Folder, TrainError};

fn ends_in(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|has| has.eq_ignore_ascii_case(ending))
}

/// Refuses a picture's name with another ending: a file of that name is probably something else, and would be replaced.
pub fn ensure_png(flag: &str, path: &Path) -> anyhow::Result<()> {
    ensure!(ends_in(path, "png"), "{flag} {}: expected a name that ends in .png", path.display());
    Ok(())
}

/// Refuses a model file's name with another ending.
pub fn ensure_safetensors(path: &Path) -> anyhow::Result<()> {
    ensure!(
        ends_in(path, "safetensors"),
        "{}: a model file of this program ends in .safetensors; `inkgrad export` makes ONNX of it",
        path.display()
    );
    Ok(())
}

/// The format that is given or, if none is, the one that the name's ending says. `None` if neither says.
///
/// # Errors
/// If they contradict each other.
pub fn format_of<F: Copy + PartialEq>(
    out: &Path,
    given: Option<F>,
    endings: &[(&str, F)],
) -> anyhow::Result<Option<F>> {
    let by_ending = endings.iter().find(|(ending, _)| ends_in(out, ending)).map(|(_, format)| *format);
    if given.zip(by_ending).is_some_and(|(given, other)| given != other) {
        bail!("{} does not match --format; leave --format out, or choose another name", out.display());
    }
    Ok(given.or(by_ending))
}

/// Refuses a name whose existing file would be lost, unless `force` is set.
pub fn ensure_free(out: &Path, force: bool) -> anyhow::Result<()> {
    if force || !files::in_the_way(out) { Ok(()) } else { Err(is_there(out)) }
}

/// The error for a file that would be lost, and that `--force` overwrites.
pub fn is_there(out: &Path) -> Error {
    already_there(out, "", OVERWRITE)
}

/// What can be done other than to name another place, where a command has `--force`.
pub const OVERWRITE: &str = "overwrite it with --force";

/// The error for a file that would be lost: what else is known of it, and what can be done other than to name another
/// place.
pub fn already_there(out: &Path, what: &str, instead: &str) -> Error {
    anyhow!("{} is already there{what}; name another place, or {instead}", out.display())
}

/// Writes a whole file under a name that [`ensure_free`] has accepted, and makes its folder if that is missing.
pub fn write_out(out: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    let _new = NewFolders::of(out)?;
    let existing = if force { Existing::Replace } else { Existing::Keep };
    files::write(out, bytes, existing).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => is_there(out),
        _ => WriteError::of(out)(error).into(),
    })
}

/// Writes a picture under a name that [`ensure_png`] has accepted, and makes its folder if that is missing.
pub fn write_picture(picture: &image::RgbImage, out: &Path) -> anyhow::Result<()> {
    let _new = NewFolders::of(out)?;
    Ok(report::save_png(picture, out)?)
}

/// Folders that were made, each after its parent. When this is dropped, the empty ones are removed.
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes the folder that a file is to be written into, and its parents, if they are missing.
    ///
    /// # Errors
    /// The system's error, with the file.
    pub fn of(file: &Path) -> Result<NewFolders, WriteError> {
        let is_named = |folder: &&Path| !folder.as_os_str().is_empty();
        let Some(folder) = file.parent().filter(is_named) else { return Ok(NewFolders(Vec::new())) };
        let missing = folder.ancestors().take_while(|folder| is_named(folder) && !folder.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        // Before the attempt, which may make only the outer ones.
        let new = NewFolders(missing.into_iter().rev().collect());
        std::fs::create_dir_all(folder).map_err(WriteError::of(file))?;
        Ok(new)
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // A folder that is not empty cannot be removed in this way.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Makes the folder of a file, and starts a file there: what cannot be written in the end is refused before the work
/// whose results it is to hold.
///
/// # Errors
/// The system's error, with the file.
pub fn ensure_writable(file: &Path) -> anyhow::Result<NewFolders> {
    ensure!(!file.is_dir(), "{} is a folder; name a file", file.display());
    let new = NewFolders::of(file)?;
    Unfinished::create(file).map_err(WriteError::of(file))?;
    Ok(new)
}

/// Makes the folder of a run of `model` in the one of `--out`, for `begin` to write what the run begins with.
///
/// # Errors
/// The system's error, with what `--out` takes, and those of `begin`, after which nothing is left of the run.
pub fn begin_run(
    out: &Path,
    model: &str,
    begin: impl FnOnce(&Folder) -> Result<(), TrainError>,
) -> anyhow::Result<Folder> {
    let folder = new_run(out, model)?;
    begin(&folder).map_err(|error| {
        // It is a new one, with nothing in it but what this has written. If it stays, it does no harm.
        let _ = std::fs::remove_dir_all(folder.path());
        anyhow!("{error}\nthe run has not begun; once it can be written, give the same command again")
    })?;
    Ok(folder)
}

fn new_run(out: &Path, model: &str) -> anyhow::Result<Folder> {
    Folder::create(out, model).map_err(|error| match error {
        TrainError::Folder { path, reason } => {
            let advice = if out.is_dir() { "" } else { ". Expected a folder, or a name for a new one" };
            anyhow!("--out {}: {reason}{advice}", path.display())
        }
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_the_one_given_or_that_of_the_ending_and_both_only_if_they_are_the_same() {
        let endings = [("csv", 1), ("jsonl", 2), ("ndjson", 2)];
        let format = |out: &str, given| format_of(Path::new(out), given, &endings);
        for (out, given, wanted) in [
            ("a.csv", None, Some(1)),
            ("a.NDJSON", None, Some(2)),
            ("a.jsonl", Some(2), Some(2)),
            ("a.txt", Some(1), Some(1)),
            ("a", None, None),
        ] {
            assert_eq!(format(out, given).unwrap(), wanted, "{out}");
        }
        let refused = format("a.csv", Some(2)).unwrap_err().to_string();
        assert!(refused.starts_with("a.csv does not match --format"), "{refused}");
    }

    #[test]
    fn folders_are_made_for_a_file_and_go_again_where_nothing_came_into_them() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a").join("b").join("c.txt");
        let new = NewFolders::of(&file).unwrap();
        assert!(file.parent().unwrap().is_dir());
        drop(new);
        assert!(!place.path().join("a").exists());

        let new = ensure_writable(&file).unwrap();
        std::fs::write(place.path().join("a").join("mine"), "").unwrap();
        drop(new);
        assert!(place.path().join("a").is_dir() && !place.path().join("a").join("b").exists());
        drop(NewFolders::of(&place.path().join("a").join("c.txt")).unwrap());
        assert!(place.path().join("a").is_dir(), "it was there before");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("text"), "").unwrap();
        for file in ["text/c.txt", "text/b/c.txt"].map(|name| place.path().join(name)) {
            let refused = ensure_writable(&file).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(&format!("cannot write {}: ", file.display())), "{refused}");
        }
        let refused = ensure_writable(place.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("is a folder; name a file"), "{refused}");
    }
}
