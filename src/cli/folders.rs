//! Folders that are made for a file to be written, and removed again if they stay empty.

use std::io;
use std::path::{Path, PathBuf};

use super::cannot_write;
use crate::files::Unfinished;
use crate::train::{Folder, TrainError};

/// Folders that were made, each after its parent. When this is dropped, the empty ones are removed.
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes the folder that a file is to be written into, and its parents, if they are missing.
    ///
    /// # Errors
    /// The system's error.
    pub fn of(file: &Path) -> io::Result<NewFolders> {
        let is_named = |folder: &&Path| !folder.as_os_str().is_empty();
        let Some(folder) = file.parent().filter(is_named) else { return Ok(NewFolders(Vec::new())) };
        let missing = folder.ancestors().take_while(|folder| is_named(folder) && !folder.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        // Before the attempt, which may make only the outer ones.
        let new = NewFolders(missing.into_iter().rev().collect());
        std::fs::create_dir_all(folder)?;
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
    anyhow::ensure!(!file.is_dir(), "{} is a folder; name a file", file.display());
    let new = NewFolders::of(file).map_err(|error| cannot_write(file, &error))?;
    Unfinished::create(file).map_err(|error| cannot_write(file, &error))?;
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
        anyhow::anyhow!("{error}\nthe run has not begun; once it can be written, give the same command again")
    })?;
    Ok(folder)
}

fn new_run(out: &Path, model: &str) -> anyhow::Result<Folder> {
    Folder::create(out, model).map_err(|error| match error {
        TrainError::Folder { path, reason } => {
            let advice = if out.is_dir() { "" } else { ". Expected a folder, or a name for a new one" };
            anyhow::anyhow!("--out {}: {reason}{advice}", path.display())
        }
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
