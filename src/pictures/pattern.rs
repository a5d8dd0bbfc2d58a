//! Path patterns: `*`, `?`, `[a-z]`, and `**` for any folders.
//!
//! Names that begin with a dot are skipped, as they are in a walk, unless the pattern begins with a dot at that place.
//! `**` does not follow links to folders, which may lead back.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, PatternError};
use walkdir::{DirEntry, WalkDir};

use super::walk::{Found, leads_to_a_folder, unreadable};

/// What a pattern matches, and what is left out along the way.
pub type Matches = Box<dyn Iterator<Item = Result<PathBuf, Found>> + Send>;

const SPECIAL: [char; 3] = ['*', '?', '['];
const OPTIONS: MatchOptions =
    MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..NAMES };
/// How names are compared: on Windows `*.jpg` also matches `IMG_0001.JPG`.
const NAMES: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

pub struct Pattern {
    /// As it was given.
    text: String,
    /// The folder that contains all matches; empty if it is the working folder.
    root: PathBuf,
    /// The names below it, level by level, up to `**`.
    levels: Vec<glob::Pattern>,
    /// The whole pattern, if it has `**`.
    deep: Option<glob::Pattern>,
    /// Whether a name after `**` begins with a dot.
    hidden: bool,
}

impl Pattern {
    /// `None` for a path without pattern characters, and for one that exists, which stands for itself. The error is
    /// what a source reports about an invalid pattern.
    pub fn of(path: &Path) -> Option<Result<Pattern, Found>> {
        let text = path.to_str().filter(|text| text.contains(SPECIAL) && path.symlink_metadata().is_err())?;
        Some(Pattern::parse(text).map_err(|error| wrong(text, &error)))
    }

    fn parse(text: &str) -> Result<Pattern, PatternError> {
        let parts = Path::new(text).components().filter(|part| *part != Component::CurDir);
        let mut parts: Vec<&str> = parts.filter_map(|part| part.as_os_str().to_str()).collect();
        // Repeated `**` are the same as one.
        parts.dedup_by(|part, before| *part == "**" && *before == "**");
        let (root, rest) = parts.split_at(parts.iter().take_while(|part| !part.contains(SPECIAL)).count());
        let any_folders = rest.iter().position(|part| *part == "**");
        let (levels, behind) = rest.split_at(any_folders.unwrap_or(rest.len()));
        let whole: PathBuf = parts.iter().collect();
        Ok(Pattern {
            text: text.to_owned(),
            root: root.iter().collect(),
            levels: levels.iter().map(|level| glob::Pattern::new(level)).collect::<Result<_, _>>()?,
            deep: any_folders.map(|_| glob::Pattern::new(&whole.to_string_lossy())).transpose()?,
            hidden: behind.iter().any(|part| part.starts_with('.')),
        })
    }

    /// The folder that contains all matches.
    pub fn root(&self) -> &Path {
        if self.root.as_os_str().is_empty() { Path::new(".") } else { &self.root }
    }

    /// Whether pictures directly in `folder`, a path below the root, are found: by their own names, which are assumed
    /// to match, through `**`, or because the folder or one above it is matched, and so is walked.
    pub fn finds_in(&self, folder: &Path) -> bool {
        let is_reached = self.deep.is_some() || folder.components().count() + 1 >= self.levels.len();
        is_reached && self.passes_all(folder.components())
    }

    /// Whether pictures deeper below `folder` are found, in folders of any name.
    pub fn finds_below(&self, folder: &Path) -> bool {
        // A pattern that asks for an ending does not mean folders.
        let matches_folders = self.levels.last().is_some_and(|last| Path::new(last.as_str()).extension().is_none());
        let is_reached = self.deep.is_some() || matches_folders || folder.components().count() >= self.levels.len();
        is_reached && self.passes_all(folder.components())
    }

    /// What it matches, in the order of names. This includes folders, to be walked, unless the pattern itself says how
    /// deep to go, by `**`.
    pub fn matches(mut self) -> Matches {
        match self.deep.take() {
            Some(whole) => self.walked(whole),
            None => self.listed(),
        }
    }

    fn walked(self, whole: glob::Pattern) -> Matches {
        let root = self.root().to_owned();
        // A missing folder has no matches, as with every other pattern.
        if !root.is_dir() {
            return Box::new(std::iter::empty());
        }
        let entries = WalkDir::new(&root).sort_by_file_name().into_iter();
        let entries = entries.filter_entry(move |entry| match entry.depth().checked_sub(1) {
            Some(level) => self.passes(level, entry.file_name()),
            None => true,
        });
        Box::new(entries.filter_map(move |entry| matched(entry, &whole, &root)))
    }

    /// The crate's own option to skip hidden names panics at names that are not Unicode, so it is done here instead.
    fn listed(self) -> Matches {
        match glob::glob_with(&self.text, NAMES) {
            Err(error) => Box::new(std::iter::once(Err(wrong(&self.text, &error)))),
            Ok(found) => Box::new(found.filter_map(move |found| match found {
                Ok(path) => self.asks_for(&path).then_some(Ok(path)),
                Err(error) => {
                    let reason = format!("cannot be read: {}", error.error());
                    self.asks_for(error.path()).then(|| Err(Found::Failed(error.path().to_owned(), reason)))
                }
            })),
        }
    }

    /// Whether a path that was found has no hidden names except those asked for.
    fn asks_for(&self, path: &Path) -> bool {
        let names = path.components().filter(|name| *name != Component::CurDir);
        self.passes_all(names.skip(self.root.components().count()))
    }

    fn passes_all<'a>(&self, names: impl Iterator<Item = Component<'a>>) -> bool {
        names.enumerate().all(|(level, name)| self.passes(level, name.as_os_str()))
    }

    /// Whether a name at this level, 0 being directly in the root, may be on the way to a match.
    fn passes(&self, level: usize, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        match self.levels.get(level) {
            Some(pattern) => pattern.matches_with(&name, OPTIONS),
            None => self.hidden || !name.starts_with('.'),
        }
    }
}

fn wrong(text: &str, error: &PatternError) -> Found {
    Found::Failed(text.into(), format!("is no pattern: {error}"))
}

/// An entry of the walk below `root`, if it is a file that the whole pattern matches; or what is left out, as an error.
fn matched(entry: walkdir::Result<DirEntry>, whole: &glob::Pattern, root: &Path) -> Option<Result<PathBuf, Found>> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => return Some(Err(unreadable(&error, root))),
    };
    if entry.depth() == 0 || entry.file_type().is_dir() {
        return None;
    }
    if leads_to_a_folder(&entry) {
        return Some(Err(Found::FolderLink));
    }
    // A walk that begins in the working folder puts `./` in front, which no pattern has.
    let path = entry.path().strip_prefix(".").unwrap_or(entry.path());
    whole.matches_with(&path.to_string_lossy(), OPTIONS).then(|| Ok(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_below_where_the_pattern_reaches_it() {
        let finds = |pattern: &str, folder: &str| Pattern::parse(pattern).unwrap().finds_below(Path::new(folder));
        for folder in ["", "sorted", "x/sorted"] {
            assert!(finds("in/**/*.png", folder), "{folder}");
        }
        assert!(!finds("in/**/*.png", ".sorted") && finds("in/**/.sorted/*.png", ".sorted"));
        assert!(finds("in/[a-z]*/**/*.png", "sorted") && !finds("in/[0-9]/**/*.png", "sorted"));
        assert!(finds("in/*", "sorted") && finds("in/*", "sorted/seen") && !finds("in/*", "sorted/.seen"));
        assert!(!finds("in/*", ".sorted") && finds("in/.*", ".sorted"));
        assert!(!finds("in/*.png", "sorted") && !finds("in/*/*.png", "sorted") && !finds("in/*.png", ""));
        // `sorted` may contain a folder that is matched.
        assert!(finds("in/*/*", "sorted") && finds("in/*", ""));
    }

    #[test]
    fn what_lies_in_a_folder_is_found_where_the_pattern_goes_as_deep() {
        let finds = |pattern: &str, folder: &str| Pattern::parse(pattern).unwrap().finds_in(Path::new(folder));
        assert!(finds("in/*/*.png", "7") && finds("in/*/*", "7") && finds("in/*", "7") && finds("in/**/*.png", "7"));
        assert!(!finds("in/*/*.png", "sorted/7") && !finds("in/*/*/*.png", "7") && !finds("in/[a-z]/*.png", "7"));
    }

    #[test]
    fn what_stands_before_a_patterns_first_special_character_is_its_root() {
        let root = |text: &str| Pattern::parse(text).unwrap().root().to_owned();
        assert_eq!(root("a/b/**/*.png"), Path::new("a/b"));
        assert_eq!(root("./a//b?/c"), Path::new("a"));
        assert_eq!(root("**/**/*.png"), Path::new("."));
        assert_eq!(root("../x*"), Path::new(".."));
    }

    #[test]
    fn a_pattern_that_is_none_says_where_it_is_wrong() {
        for text in ["a[", "a/**b", "***", "a/**/b["] {
            match Pattern::of(Path::new(text)) {
                Some(Err(Found::Failed(path, reason))) => {
                    assert!(path == Path::new(text) && reason.contains("is no pattern"), "{reason}");
                }
                _ => panic!("{text}"),
            }
        }
        assert!(Pattern::of(Path::new("a/b.png")).is_none());
    }
}
