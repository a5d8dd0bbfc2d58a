//! Puts files into a folder for each class, and never over another file.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::record::UNSURE;
use crate::files::{Existing, Unfinished};
use crate::pictures::numbered;
use crate::pictures::source::is_name;

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum How {
    Copy,
    /// A symbolic link to the file (on Windows a hard one).
    Link,
    Move,
}

pub struct Sorting {
    pub folder: PathBuf,
    pub how: How,
}

impl Sorting {
    /// All folders that it may put a file into.
    pub fn folders(&self, class_names: &[String]) -> Vec<PathBuf> {
        let classes = class_names.iter().enumerate().map(|(class, name)| Some((class, name.as_str())));
        classes.chain([None]).map(|class| self.folder_of(class)).collect()
    }

    /// The folder of a class, or that of the unsure ones.
    fn folder_of(&self, class: Option<(usize, &str)>) -> PathBuf {
        match class {
            None => self.folder.join(UNSURE),
            Some((_, name)) if is_name(name) => self.folder.join(name),
            Some((class, _)) => self.folder.join(class.to_string()),
        }
    }

    /// Puts a file into such a folder.
    pub fn put(&self, file: &Path, class: Option<(usize, &str)>) -> anyhow::Result<()> {
        let folder = self.folder_of(class);
        let put = std::fs::create_dir_all(&folder).and_then(|()| self.put_into(file, &folder));
        put.with_context(|| format!("--sort-into: cannot put {} into {}", file.display(), folder.display()))
    }

    fn put_into(&self, file: &Path, folder: &Path) -> io::Result<()> {
        for number in 1u64.. {
            let target = folder.join(numbered(file, number));
            let done = match self.how {
                How::Copy => copy(file, &target),
                How::Link => link(file, &target),
                How::Move => move_to(file, &target),
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
        Ok(())
    }
}

fn copy(file: &Path, target: &Path) -> io::Result<()> {
    // Before a byte is copied for nothing.
    if target.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut copy = Unfinished::create(target)?;
    io::copy(&mut std::fs::File::open(file)?, &mut copy)?;
    copy.finish_soon(Existing::Keep)
}

#[cfg(unix)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(file)?, target)
}

#[cfg(not(unix))]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::fs::hard_link(file, target)
}

/// Renaming would replace a file that is there; a second name for the file does not.
fn move_to(file: &Path, target: &Path) -> io::Result<()> {
    match std::fs::hard_link(file, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // On another disk, or where files have but one name.
        Err(_) => copy(file, target)?,
    }
    std::fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_of_one_name_get_numbers_and_none_is_overwritten() {
        for how in [How::Copy, How::Link, How::Move] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let sorting = Sorting { folder: at("sorted"), how };
            for from in ["x", "y", "z"] {
                std::fs::create_dir(at(from)).unwrap();
                std::fs::write(at(from).join("a.png"), from).unwrap();
                sorting.put(&at(from).join("a.png"), Some((3, "3"))).unwrap();
            }
            assert_eq!(names(&at("sorted/3")), ["a-2.png", "a-3.png", "a.png"], "{how:?}");
            assert_eq!(std::fs::read_to_string(at("sorted/3/a-2.png")).unwrap(), "y");
            assert_eq!(at("x/a.png").exists(), how != How::Move);
        }
    }

    #[test]
    fn a_class_whose_name_leads_elsewhere_has_its_number_for_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.png"), "").unwrap();
        let sorting = Sorting { folder: at("sorted"), how: How::Copy };
        sorting.put(&at("a.png"), Some((7, "../.."))).unwrap();
        sorting.put(&at("a.png"), None).unwrap();
        assert_eq!(names(&at("sorted")), ["7", "unsure"]);
        let wanted = ["sorted/3", "sorted/1", "sorted/unsure"].map(at);
        assert_eq!(sorting.folders(&["3", "../.."].map(String::from)), wanted);
    }
}
