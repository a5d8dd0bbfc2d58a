//! What there is to classify: files, folders, patterns, CSV files and lists of them, one thing after another, in an
//! order that does not depend on timing.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::paths::of_bytes;
use super::walk::{Found, Place, walk};
use super::{path_text, visible};
use crate::data::csv::PixelRows;

/// One thing that a source has come upon.
#[derive(Clone, PartialEq, Debug)]
pub enum Task {
    File {
        /// As tables write it.
        name: String,
        place: Place,
        /// The class whose name the folder has.
        truth: Option<usize>,
    },
    /// A row of a CSV file, counted from 1, with as many bytes as it has pixels.
    Row {
        name: String,
        row: u64,
        pixels: Vec<u8>,
        truth: Option<usize>,
    },
    /// What cannot be read, and why.
    Failed {
        name: String,
        reason: String,
    },
    OtherFile,
    FolderLink,
}

impl Task {
    /// The name of what will have a place in the result.
    pub fn name(&self) -> Option<&str> {
        match self {
            Task::File { name, .. } | Task::Row { name, .. } | Task::Failed { name, .. } => Some(name),
            Task::OtherFile | Task::FolderLink => None,
        }
    }
}

/// One of `of` parts, counted from 1, that together hold everything once.
///
/// A thing's part is a hash of its path below the folder that was given (of the path itself where it was named), so
/// that it is the same wherever the folder stands and whatever else is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    pub index: u64,
    pub of: u64,
}

impl Shard {
    fn holds(&self, within: &str) -> bool {
        hash(within.as_bytes()) % self.of == self.index - 1
    }
}

/// FNV-1a, which is the same everywhere and always.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What was given, and what of it is to be left out.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Files, folders, patterns, CSV files; `-` is a list of these on standard input.
    pub given: Vec<PathBuf>,
    /// Names on standard input end with a zero byte and not with a line.
    pub null_data: bool,
    pub shard: Option<Shard>,
    /// How often each name's hash is done already.
    pub done: HashMap<u64, u32>,
    pub class_names: Vec<String>,
}

impl Source {
    /// All of it, one after another.
    pub fn tasks(self) -> impl Iterator<Item = Task> + Send {
        let Source { given, null_data, shard, mut done, class_names } = self;
        let mut folders = ClassFolders { class_names, of: None };
        let paths = given.into_iter().flat_map(move |path| match path.as_os_str() == "-" {
            true => Box::new(listed(null_data)),
            false => expanded(path),
        });
        let found = paths.flat_map(|path| match path {
            Err(reason) => one(Found::Failed(PathBuf::from("-"), reason)),
            Ok(path) if is_csv(&path) => one(Found::File(Place { path, root: None })),
            Ok(path) => Box::new(walk(&path)),
        });
        let tasks = found.flat_map(move |found| match found {
            Found::File(place) if is_csv(&place.path) => rows(&place.path),
            Found::File(place) => {
                let (within, name) = (path_text(place.within()), path_text(&place.path));
                let truth = folders.truth(&place);
                Box::new(std::iter::once((within, Task::File { name, place, truth })))
            }
            Found::Failed(path, reason) => {
                let name = path_text(&path);
                Box::new(std::iter::once((name.clone(), Task::Failed { name, reason })))
            }
            // Whose they are does not matter: each shard counts what it has come by.
            Found::OtherFile => Box::new(std::iter::once((String::new(), Task::OtherFile))),
            Found::FolderLink => Box::new(std::iter::once((String::new(), Task::FolderLink))),
        });
        tasks.filter_map(move |(within, task)| {
            let Some(name) = task.name() else { return Some(task) };
            if shard.is_some_and(|shard| !shard.holds(&within)) {
                return None;
            }
            match done.get_mut(&hash(name.as_bytes())).filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    None
                }
                None => Some(task),
            }
        })
    }
}

type Items<T> = Box<dyn Iterator<Item = T> + Send>;

fn one(found: Found) -> Items<Found> {
    Box::new(std::iter::once(found))
}

/// Whether a path is to be read as rows of pixels.
pub fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}

/// A path that is there stands for itself, another one may be a pattern: `*`, `?`, `[a-z]`, and `**` for any folders.
/// Folders that a pattern matches are walked, unless it says itself how deep they go.
fn expanded(path: PathBuf) -> Items<Result<PathBuf, String>> {
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']) && path.symlink_metadata().is_err());
    let Some(pattern) = pattern else { return Box::new(std::iter::once(Ok(path))) };
    let deep = pattern.contains("**");
    match glob::glob(pattern) {
        Err(error) => Box::new(std::iter::once(Err(format!("{:?} is no pattern: {error}", visible(pattern))))),
        Ok(matches) => Box::new(matches.filter_map(move |path| match path {
            Ok(path) if deep && path.is_dir() => None,
            Ok(path) => Some(Ok(path)),
            Err(error) => Some(Err(error.to_string())),
        })),
    }
}

/// The paths on standard input, as they come.
fn listed(null_data: bool) -> impl Iterator<Item = Result<PathBuf, String>> + Send {
    let end = if null_data { 0 } else { b'\n' };
    let mut input = io::BufReader::new(io::stdin());
    std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            match input.read_until(end, &mut line) {
                Err(error) => return Some(Err(format!("standard input cannot be read: {error}"))),
                Ok(0) => return None,
                Ok(_) => {}
            }
            line.pop_if(|last| *last == end);
            if !null_data {
                line.pop_if(|last| *last == b'\r');
            }
            if !line.is_empty() {
                return Some(Ok(of_bytes(line)));
            }
        }
    })
}

/// The rows of a CSV file, each named like `test.csv#1`.
fn rows(path: &Path) -> Items<(String, Task)> {
    let name = path_text(path);
    let failed = |name: String, reason: String| (name.clone(), Task::Failed { name, reason });
    match PixelRows::open(path) {
        Err(error) => Box::new(std::iter::once(failed(name, error.to_string()))),
        Ok(rows) => Box::new(rows.enumerate().map(move |(i, row)| {
            let (row_name, number) = (format!("{name}#{}", i + 1), i as u64 + 1);
            match row {
                Err(error) => failed(row_name, error.to_string()),
                Ok(row) => {
                    let truth = row.label.map(|label| label as usize);
                    (row_name.clone(), Task::Row { name: row_name, row: number, pixels: row.pixels, truth })
                }
            }
        })),
    }
}

/// Which folders say of what class their pictures are: those right below a folder that was given, where at least two
/// of them are named after classes.
struct ClassFolders {
    class_names: Vec<String>,
    /// The newest root, and whether it is such a folder.
    of: Option<(Arc<Path>, bool)>,
}

impl ClassFolders {
    fn truth(&mut self, place: &Place) -> Option<usize> {
        let root = place.root.as_ref()?;
        let known = self.of.as_ref().filter(|(of, _)| Arc::ptr_eq(of, root)).map(|(_, sorted)| *sorted);
        let sorted = match known {
            Some(sorted) => sorted,
            None => {
                let sorted = self.class_names.iter().filter(|name| is_name(name) && root.join(name).is_dir());
                let sorted = sorted.take(2).count() == 2;
                self.of = Some((Arc::clone(root), sorted));
                sorted
            }
        };
        let mut parts = place.within().components();
        let (folder, _) = (parts.next().filter(|_| sorted)?, parts.next()?);
        let folder = folder.as_os_str().to_str()?;
        self.class_names.iter().position(|name| name == folder)
    }
}

/// Whether a class's name can be that of a folder, and nothing else.
pub fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(part)), None) if part == name)
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
