//! Puts files into a folder for each class, never over another file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::table::unsure;
use crate::files::{Existing, Unfinished};
use crate::hash::hash;
use crate::pictures::numbered;
use crate::pictures::source::is_name;

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum How {
    Copy,
    /// A symbolic link to the file (on Windows, a hard link).
    Link,
    Move,
}

pub struct Sorting {
    pub folder: PathBuf,
    pub how: How,
    /// A folder for each class, and one for the unsure files.
    pub folders: Vec<PathBuf>,
    /// The next number to append to a name in a folder, by the hash of the path without a number: there may be
    /// millions. This run has put files under the earlier numbers, or found other files there.
    next: HashMap<u64, u64>,
}

impl Sorting {
    pub fn new(folder: PathBuf, how: How, class_names: &[String]) -> Sorting {
        let folders = folder_names(class_names).iter().map(|name| folder.join(name)).collect();
        Sorting { folder, how, folders, next: HashMap::new() }
    }

    /// Puts a file into the folder of a class, or that of the unsure files, unless an earlier run has put it there.
    pub fn put(&mut self, file: &Path, class: Option<usize>) -> anyhow::Result<()> {
        let folder = self.folders[class.unwrap_or(self.folders.len() - 1)].clone();
        let put = std::fs::create_dir_all(&folder).and_then(|()| self.put_into(file, &folder));
        put.with_context(|| format!("--sort-into: cannot put {} into {}", file.display(), folder.display()))
    }

    fn put_into(&mut self, file: &Path, folder: &Path) -> io::Result<()> {
        let named = |number: u64| folder.join(numbered(file, number));
        let next = self.next.entry(hash(named(1).as_os_str().as_encoded_bytes())).or_insert(1);
        loop {
            let target = named(*next);
            *next += 1;
            let put = match self.how {
                How::Copy => copy(file, &target),
                How::Link => link(file, &target),
                How::Move => move_to(file, &target),
            };
            match put {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                put => return put,
            }
            let is_put = match self.how {
                How::Copy => is_same(file, &target),
                How::Link => is_linked(file, &target),
                // The file would be gone, and nobody would know which of the two it was.
                How::Move => Ok(false),
            };
            // A file that cannot be compared counts as another file.
            if is_put.unwrap_or(false) {
                return Ok(());
            }
        }
    }
}

/// The name of each class's folder: the class's own, if a folder can have it and no other class has it; and then that
/// for the unsure files. Many file systems take `a` and `A` for the same.
fn folder_names(class_names: &[String]) -> Vec<String> {
    let unsure = unsure(class_names);
    let mut taken: HashMap<String, u32> = HashMap::new();
    for name in class_names.iter().chain([&unsure]) {
        *taken.entry(name.to_lowercase()).or_default() += 1;
    }
    let folder_name = |(class, name): (usize, &String)| {
        let is_name = is_name(name);
        if is_name && taken.get(&name.to_lowercase()) == Some(&1) {
            return name.clone();
        }
        let mut other = if is_name { format!("{name}-{class}") } else { class.to_string() };
        while taken.contains_key(&other.to_lowercase()) {
            other += &format!("-{class}");
        }
        taken.insert(other.to_lowercase(), 1);
        other
    };
    class_names.iter().enumerate().map(folder_name).chain([unsure]).collect()
}

/// Whether `target` is a file, not a link, with the same bytes as `file`.
fn is_same(file: &Path, target: &Path) -> io::Result<bool> {
    let there = target.symlink_metadata()?;
    if !there.is_file() || there.len() != file.metadata()?.len() {
        return Ok(false);
    }
    let [mut one, mut other] = [BufReader::new(File::open(file)?), BufReader::new(File::open(target)?)];
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let both = left.len().min(right.len());
        if left[..both] != right[..both] {
            return Ok(false);
        }
        if both == 0 {
            return Ok(left.len() == right.len());
        }
        one.consume(both);
        other.consume(both);
    }
}

fn copy(file: &Path, target: &Path) -> io::Result<()> {
    // Before anything is copied in vain.
    if target.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut copy = Unfinished::create(target)?;
    io::copy(&mut File::open(file)?, &mut copy)?;
    copy.finish_soon(Existing::Keep)
}

#[cfg(unix)]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(file)?, target)
}

#[cfg(unix)]
fn is_linked(file: &Path, target: &Path) -> io::Result<bool> {
    let file = std::path::absolute(file)?;
    Ok(std::fs::read_link(target).is_ok_and(|leads_to| leads_to == file))
}

/// A hard link to a file has the file's bytes.
#[cfg(not(unix))]
fn is_linked(file: &Path, target: &Path) -> io::Result<bool> {
    is_same(file, target)
}

#[cfg(not(unix))]
fn link(file: &Path, target: &Path) -> io::Result<()> {
    std::fs::hard_link(file, target)
}

/// Renaming would replace an existing file; giving the file a second name does not.
fn move_to(file: &Path, target: &Path) -> io::Result<()> {
    match std::fs::hard_link(file, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // On another disk, or on a file system without hard links.
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
            let mut sorting = Sorting::new(at("sorted"), how, &["3".into()]);
            for from in ["x", "y", "z"] {
                std::fs::create_dir(at(from)).unwrap();
                std::fs::write(at(from).join("a.png"), from).unwrap();
                sorting.put(&at(from).join("a.png"), Some(0)).unwrap();
            }
            assert_eq!(names(&at("sorted/3")), ["a-2.png", "a-3.png", "a.png"], "{how:?}");
            assert_eq!(std::fs::read_to_string(at("sorted/3/a-2.png")).unwrap(), "y");
            assert_eq!(at("x/a.png").exists(), how != How::Move);
        }
    }

    #[test]
    fn what_an_earlier_run_has_put_there_is_not_put_there_again() {
        for (how, times) in [(How::Copy, 1), (How::Link, 1), (How::Move, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            // They differ only after more than is read at a time.
            for end in ["same", "same", "some"] {
                std::fs::write(at("a.png"), "-".repeat(20_000) + end).unwrap();
                let mut sorting = Sorting::new(at("sorted"), how, &["3".into()]);
                sorting.put(&at("a.png"), Some(0)).unwrap();
            }
            // A file with other content is another file; a link leads to it all the same.
            let others = usize::from(how != How::Link);
            assert_eq!(names(&at("sorted/3")).len(), times + others, "{how:?}");
        }
    }

    #[test]
    fn files_of_one_run_are_all_there_whatever_their_bytes_and_the_same_run_again_adds_none() {
        for how in [How::Copy, How::Link] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            for _ in 0..2 {
                let mut sorting = Sorting::new(at("sorted"), how, &["3".into()]);
                for (from, text) in [("x", "same"), ("y", "same"), ("z", "some")] {
                    std::fs::create_dir_all(at(from)).unwrap();
                    std::fs::write(at(from).join("a.png"), text).unwrap();
                    sorting.put(&at(from).join("a.png"), Some(0)).unwrap();
                }
                assert_eq!(names(&at("sorted/3")), ["a-2.png", "a-3.png", "a.png"], "{how:?}");
            }
        }
    }

    #[test]
    fn a_class_whose_name_leads_elsewhere_has_its_number_for_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.png"), "").unwrap();
        let mut sorting = Sorting::new(at("sorted"), How::Copy, &["3", "../.."].map(String::from));
        sorting.put(&at("a.png"), Some(1)).unwrap();
        sorting.put(&at("a.png"), None).unwrap();
        assert_eq!(names(&at("sorted")), ["1", "unsure"]);
        assert_eq!(sorting.folders, ["sorted/3", "sorted/1", "sorted/unsure"].map(at));
    }

    #[test]
    fn no_two_classes_have_one_folder_where_case_does_not_count() {
        for (classes, wanted) in [
            ("a b A", "a-0 b A-2 unsure"),
            ("1 2 3 4 5 6 7 8 9 A a", "1 2 3 4 5 6 7 8 9 A-9 a-10 unsure"),
            ("Unsure x", "Unsure x unsure-2"),
            // The name that they would get is another class's name.
            ("a A a-0 1-1 ..", "a-0-0 A-1 a-0 1-1 4 unsure"),
            ("1 ..", "1 1-1 unsure"),
        ] {
            let classes: Vec<String> = classes.split(' ').map(String::from).collect();
            let sorting = Sorting::new("sorted".into(), How::Copy, &classes);
            let wanted: Vec<PathBuf> = wanted.split(' ').map(|name| Path::new("sorted").join(name)).collect();
            assert_eq!(sorting.folders, wanted);
        }
    }
}
