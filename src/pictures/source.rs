//! What there is to classify: files, folders, patterns, CSV files and lists of them, one thing after another, in an
//! order that does not depend on timing.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::pattern::Pattern;
use super::stream::sides;
use super::walk::{Found, Place, not_read, walk};
use super::{numbered, of_bytes, path_text, text_path};
use crate::data::csv::PixelRows;
use crate::data::{DataError, Numbered};
use crate::files::DASH;
use crate::hash::hash;

/// One item that a source has found.
#[derive(Clone, PartialEq, Debug)]
pub enum Task {
    File {
        /// As tables write it.
        name: String,
        place: Place,
        /// The class that its folder is named after.
        truth: Option<usize>,
        /// The name of the given folder among several inputs.
        input: Option<Arc<Path>>,
    },
    /// A row of a CSV file, counted from 1, with as many bytes as it has pixels.
    Row {
        name: String,
        row: u64,
        pixels: Vec<u8>,
        truth: Option<usize>,
        /// The name of the CSV file among several inputs.
        input: Option<Arc<Path>>,
    },
    /// What cannot be read, and why.
    Failed {
        name: String,
        /// The row of a CSV file, counted from 1.
        row: Option<u64>,
        reason: String,
    },
    /// A picture below a folder in a format that is not read: the ending of its name.
    NotRead(&'static str),
    OtherFile,
    FolderLink,
}

impl Task {
    /// The name, if the task will have a place in the result.
    pub fn name(&self) -> Option<&str> {
        match self {
            Task::File { name, .. } | Task::Row { name, .. } | Task::Failed { name, .. } => Some(name),
            Task::NotRead(_) | Task::OtherFile | Task::FolderLink => None,
        }
    }
}

/// One of `of` parts, counted from 1, that together hold every item once.
///
/// An item's part is a hash of its path below the given folder (of the path itself if it was named directly), so it is
/// the same wherever the folder is and whatever else is in it.
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

/// How many items with each name's hash are done already. What is left of it after the last task was not found.
pub type Done = Arc<Mutex<HashMap<u64, u32>>>;

/// What was given, and what of it is to be left out.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Files, folders, patterns, CSV files; `-` is a list of these on standard input.
    pub given: Vec<PathBuf>,
    /// Names on standard input end with a zero byte instead of a line break.
    pub null_data: bool,
    pub shard: Option<Shard>,
    pub done: Done,
    pub class_names: Vec<String>,
}

impl Source {
    /// All tasks, one after another. `image` is the height, width and channels of a network's images, which also say
    /// whether a CSV file without names has labels; one whose rows do not make an image is a single task that cannot be
    /// read.
    pub fn tasks(self, image: Option<[usize; 3]>) -> impl Iterator<Item = Task> + Send {
        let Source { given, null_data, shard, done, class_names } = self;
        let numbered = Arc::new(Numbered::of(&class_names));
        let labels = LabelledClasses { numbered: Arc::clone(&numbered), classes: class_names.len() };
        let mut folders = ClassFolders::new(class_names, numbered);
        let mut inputs = Inputs::of(&given);
        let paths = given.into_iter().flat_map(move |path| match path.as_os_str() == DASH {
            true => Box::new(listed(null_data)),
            false => expanded(path),
        });
        let found = paths.flat_map(move |path| {
            let input = path.as_ref().ok().and_then(|path| inputs.name(path));
            let found: Items<Found> = match path {
                Err(found) => one(found),
                Ok(path) if is_csv(&path) => one(Found::File(Place { path, root: None })),
                Ok(path) => Box::new(walk(&path)),
            };
            found.map(move |found| (found, input.clone()))
        });
        let tasks = found.flat_map(move |(found, input)| match found {
            Found::File(place) if is_csv(&place.path) => rows(&place.path, image, input, &labels),
            Found::File(place) => {
                let (within, name) = (path_text(place.within()), path_text(&place.path));
                let truth = folders.truth(&place);
                Box::new(std::iter::once((within, Task::File { name, place, truth, input })))
            }
            Found::Failed(path, reason) => {
                let name = path_text(&path);
                Box::new(std::iter::once((name.clone(), Task::Failed { name, row: None, reason })))
            }
            // These belong to no shard: each shard counts those it comes across.
            Found::OtherFile(path) => {
                let ending = path.extension().and_then(OsStr::to_str).and_then(not_read);
                Box::new(std::iter::once((String::new(), ending.map_or(Task::OtherFile, Task::NotRead))))
            }
            Found::FolderLink => Box::new(std::iter::once((String::new(), Task::FolderLink))),
        });
        tasks.filter_map(move |(within, task)| {
            let Some(name) = task.name() else { return Some(task) };
            if shard.is_some_and(|shard| !shard.holds(&within)) {
                return None;
            }
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Whether a path is to be read as rows of pixels: a CSV file, compressed or not.
pub fn is_csv(path: &Path) -> bool {
    has_ending(unpacked(path), "csv")
}

/// The name without the ending that marks it as compressed.
fn unpacked(path: &Path) -> &Path {
    path.file_stem().filter(|_| has_ending(path, "gz")).map_or(path, Path::new)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

/// A path that exists stands for itself, any other may be a pattern. Folders that a pattern matches are walked, unless
/// the pattern itself says how deep to go.
fn expanded(path: PathBuf) -> Items<Result<PathBuf, Found>> {
    match Pattern::of(&path) {
        None => Box::new(std::iter::once(Ok(path))),
        Some(Err(wrong)) => Box::new(std::iter::once(Err(wrong))),
        Some(Ok(pattern)) => pattern.matches(),
    }
}

/// The paths on standard input, as they arrive.
fn listed(null_data: bool) -> impl Iterator<Item = Result<PathBuf, Found>> + Send {
    let end = if null_data { 0 } else { b'\n' };
    let mut input = io::BufReader::new(io::stdin());
    let mut picture = input.fill_buf().is_ok_and(begins_a_picture);
    // On the first line, Windows editors put three bytes that say that a file is UTF-8.
    let mut is_first = true;
    std::iter::from_fn(move || {
        loop {
            if std::mem::take(&mut picture) {
                let _ = io::copy(&mut input, &mut io::sink());
                let reason =
                    "stands for a list of names, but what comes on standard input is a picture. Give its name instead";
                return Some(Err(Found::Failed(PathBuf::from(DASH), reason.into())));
            }
            let mut line = Vec::new();
            match input.read_until(end, &mut line) {
                Err(error) => {
                    let reason = format!("standard input cannot be read: {error}");
                    return Some(Err(Found::Failed(PathBuf::from(DASH), reason)));
                }
                Ok(0) => return None,
                Ok(_) => {}
            }
            line.pop_if(|last| *last == end);
            if !null_data {
                line.pop_if(|last| *last == b'\r');
                if std::mem::take(&mut is_first) {
                    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
                        // The rest is UTF-16, too.
                        let _ = io::copy(&mut input, &mut io::sink());
                        let reason = "is UTF-16, as PowerShell writes lists; names are taken in UTF-8: \
                                      `dir -Name | Out-File -Encoding utf8 list.txt`";
                        return Some(Err(Found::Failed(PathBuf::from(DASH), reason.into())));
                    }
                    if line.starts_with(b"\xef\xbb\xbf") {
                        line.drain(..3);
                    }
                }
                if line.contains(&0) {
                    let reason = "names that end with zero bytes, as find -print0 writes them, take --null-data (-0)";
                    return Some(Err(Found::Failed(PathBuf::from(DASH), reason.into())));
                }
            }
            if !line.is_empty() {
                return Some(Ok(of_bytes(line)));
            }
        }
    })
}

/// Whether bytes begin a picture. Formats that begin as a name may, like `BM` or `P5`, are not looked for.
fn begins_a_picture(bytes: &[u8]) -> bool {
    use image::ImageFormat::{Gif, Jpeg, Png, Tiff, WebP};
    image::guess_format(bytes).is_ok_and(|format| matches!(format, Gif | Jpeg | Png | Tiff | WebP))
}

/// What is wrong with a CSV file or a row of it, without the file's name, which is put in front anyway.
fn told(error: DataError) -> String {
    match error {
        DataError::CannotRead { reason, .. } => format!("cannot be read: {reason}"),
        DataError::Csv { line, problem, .. } => format!("line {line}: {problem}"),
        error => error.to_string(),
    }
}

/// The rows of a CSV file, each named like `test.csv#1`.
fn rows(
    path: &Path,
    image: Option<[usize; 3]>,
    input: Option<Arc<Path>>,
    labels: &LabelledClasses,
) -> Items<(String, Task)> {
    let name = path_text(path);
    let failed = |name: String, row, reason| (name.clone(), Task::Failed { name, row, reason });
    let mut rows = match PixelRows::open_for(path, image) {
        Err(error) => return Box::new(std::iter::once(failed(name, None, told(error)))),
        Ok(rows) => rows,
    };
    if let Some(Err(reason)) = image.map(|image| sides(rows.pixels(), image)) {
        let reason = match (rows.misfit(), rows.next()) {
            (Some(advice), _) => format!("{reason}; {advice}"),
            (None, Some(Err(error))) => format!("is no table of pixels: {}", told(error)),
            (None, _) => reason,
        };
        return Box::new(std::iter::once(failed(name, None, reason)));
    }
    let mut rows = rows.zip(1u64..).peekable();
    if rows.peek().is_none() {
        let reason = "is a table without rows: it has only a header. Write it again with its images";
        return Box::new(std::iter::once(failed(name, None, reason.into())));
    }
    let labels = labels.clone();
    Box::new(rows.map(move |(row, number)| {
        let row_name = format!("{name}#{number}");
        match row {
            Err(error) => failed(row_name, Some(number), told(error)),
            Ok(row) => {
                let (truth, input) = (row.label.map(|label| labels.class(label)), input.clone());
                (row_name.clone(), Task::Row { name: row_name, row: number, pixels: row.pixels, truth, input })
            }
        }
    }))
}

/// The CSV file that has a row of this name and number.
pub fn table_of(name: &str, row: u64) -> Option<PathBuf> {
    name.strip_suffix(format!("#{row}").as_str()).map(text_path)
}

/// The pixels of all readable rows of a CSV file, with the rows' numbers; none if the file no longer exists. `image` is
/// that of [`Source::tasks`].
pub fn numbered_pixels(table: &Path, image: Option<[usize; 3]>) -> impl Iterator<Item = (u64, Vec<u8>)> {
    // Opening a pipe would wait for its writer.
    let rows = table.is_file().then(|| PixelRows::open_for(table, image).ok()).flatten();
    rows.into_iter().flatten().zip(1..).filter_map(|(row, number)| Some((number, row.ok()?.pixels)))
}

/// Which class a row's label stands for.
#[derive(Clone)]
struct LabelledClasses {
    numbered: Arc<Numbered>,
    classes: usize,
}

impl LabelledClasses {
    /// An index beyond all classes for a label that is none of them.
    fn class(&self, label: u32) -> usize {
        self.numbered.find(label).map_or(self.classes.max(label as usize), |class| class as usize)
    }
}

/// Names of folders and CSV files where there are several, so that equal names in two of them can be told apart. They
/// depend on the order of the inputs, not on their contents, so that a shard or a resumed run has the same ones.
struct Inputs {
    /// A list or a pattern counts as several: it may be any number of inputs.
    several: bool,
    /// How often each name was asked for.
    asked: HashMap<String, u64>,
}

impl Inputs {
    fn of(given: &[PathBuf]) -> Inputs {
        let several = !matches!(given, [path] if path.as_os_str() != DASH && path.exists());
        Inputs { several, asked: HashMap::new() }
    }

    /// The input's own name, with a number if another one has it. `None` for a picture that is named directly, and for
    /// a single input.
    fn name(&mut self, path: &Path) -> Option<Arc<Path>> {
        let csv = is_csv(path);
        if !self.several || !(csv || path.is_dir()) {
            return None;
        }
        let own = if csv { unpacked(path).file_stem() } else { path.file_name() };
        // `.` is not a folder's name, nor is what precedes the ending of `...csv`.
        let own = own.filter(|own| Path::new(own).file_name().is_some()).map(OsStr::to_owned);
        let own = own.or_else(|| Some(path.canonicalize().ok()?.file_name()?.to_owned()));
        let own = PathBuf::from(own.unwrap_or_else(|| "input".into()));
        loop {
            let number = self.times(&own);
            let name = numbered(&own, number);
            if number == 1 || self.times(&name) == 1 {
                return Some(name.into());
            }
        }
    }

    fn times(&mut self, name: &Path) -> u64 {
        // Many file systems take `a` and `A` for the same name.
        let times = self.asked.entry(name.to_string_lossy().to_lowercase()).or_default();
        *times += 1;
        *times
    }
}

/// Which folders tell the class of their pictures: those directly below a given folder that are named after classes, if
/// there are at least two classes.
struct ClassFolders {
    /// The class of each name.
    classes: HashMap<String, usize>,
    numbered: Arc<Numbered>,
    /// The most recent root, and such folders of it.
    root: Option<Arc<Path>>,
    folders: HashMap<OsString, usize>,
}

impl ClassFolders {
    fn new(class_names: Vec<String>, numbered: Arc<Numbered>) -> ClassFolders {
        // Of classes with the same name, the first one counts.
        let classes = class_names.into_iter().enumerate().rev().map(|(class, name)| (name, class)).collect();
        ClassFolders { classes, numbered, root: None, folders: HashMap::new() }
    }

    fn truth(&mut self, place: &Place) -> Option<usize> {
        let root = place.root.as_ref()?;
        let mut parts = place.within().components();
        let (folder, _) = (parts.next()?, parts.next()?);
        if self.root.as_ref().is_none_or(|last| !Arc::ptr_eq(last, root)) {
            self.folders = self.below(root);
            self.root = Some(Arc::clone(root));
        }
        self.folders.get(folder.as_os_str()).copied()
    }

    /// The classes of the folders directly below a root, by their names; of none if they are all of one class.
    ///
    /// A number names a class that is written with other zeros before it only where all folders that are called by
    /// numbers are classes: folders 001 to 200 are numbered for another reason.
    fn below(&self, root: &Path) -> HashMap<OsString, usize> {
        let names = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
        // The others may be a million pictures.
        let candidates = names.filter(|name| self.named(name).is_some() || is_number(name));
        let folders: Vec<OsString> = candidates.filter(|name| root.join(name).is_dir()).collect();
        let class = |name: &OsString| self.named(name).or_else(|| self.meant(name));
        let by_number = folders.iter().all(|name| class(name).is_some());
        let classes = folders.into_iter().filter_map(|name| {
            let class = if by_number { class(&name) } else { self.named(&name) };
            Some((name, class?))
        });
        let classes: HashMap<OsString, usize> = classes.collect();
        let first = classes.values().next();
        if classes.values().all(|class| Some(class) == first) { HashMap::new() } else { classes }
    }

    /// The class of exactly this name.
    fn named(&self, folder: &OsStr) -> Option<usize> {
        self.classes.get(folder.to_str()?).copied()
    }

    /// The class of this number.
    fn meant(&self, folder: &OsStr) -> Option<usize> {
        self.numbered.meant(folder.to_str()?).map(|class| class as usize)
    }
}

fn is_number(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether a class's name can be the name of a folder, and nothing else.
pub fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(part)), None) if part == name)
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
