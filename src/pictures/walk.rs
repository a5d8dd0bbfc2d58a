//! Picture files in folders, in an order that is the same on every system and every time.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

/// The endings that a picture's name may have, in any case.
pub const ENDINGS: [&str; 15] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp", "gif", "pgm", "pbm", "ppm", "pnm"];

/// Endings of pictures in formats that are not read, as phones, cameras and drawing programs write them.
const NOT_READ: [&str; 15] =
    ["heic", "heif", "hif", "avif", "jxl", "jp2", "dng", "cr2", "cr3", "nef", "arw", "svg", "psd", "tga", "pdf"];
/// Files that Windows leaves in folders of pictures.
const OF_WINDOWS: [&str; 2] = ["Thumbs.db", "desktop.ini"];

/// One thing that a walk has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A file that was named directly, or a file below a folder, if it is named like a picture.
    File(Place),
    /// A folder or a link that cannot be read, and why.
    Failed(PathBuf, String),
    /// Any other file below a folder: it is not named like a picture.
    OtherFile(PathBuf),
    /// A link below a folder to another folder: it may lead back, and is not followed.
    FolderLink,
}

/// A file, and how it came to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub path: PathBuf,
    /// The folder it was found below; `None` if it was named directly.
    pub root: Option<Arc<Path>>,
}

impl Place {
    /// The path below the given folder; the whole path of a file that was named directly.
    pub fn within(&self) -> &Path {
        self.root.as_ref().and_then(|root| self.path.strip_prefix(root).ok()).unwrap_or(&self.path)
    }
}

/// What is at a path: the file itself, or all pictures below a folder, however deep, in the order of their names.
/// What is hidden is skipped, and so is what Windows leaves. Memory holds one path of folders, with all names in them.
pub fn walk(input: &Path) -> impl Iterator<Item = Found> + Send + use<> {
    let root: Option<Arc<Path>> = input.is_dir().then(|| input.into());
    let named = root.is_none().then(|| Found::File(Place { path: input.to_owned(), root: None }));
    let below = root.into_iter().flat_map(|root| {
        let entries = WalkDir::new(&root).sort_by_file_name().into_iter();
        entries.filter_entry(is_looked_at).filter_map(move |entry| found(entry, &root))
    });
    named.into_iter().chain(below)
}

/// Everything but what is hidden, where programs keep copies of their own, and what Windows leaves; the given folder may
/// be hidden.
fn is_looked_at(entry: &DirEntry) -> bool {
    let is_of_windows = || OF_WINDOWS.iter().any(|own| entry.file_name().eq_ignore_ascii_case(own));
    entry.depth() == 0 || !is_hidden(entry.file_name()) && !is_of_windows()
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn found(entry: walkdir::Result<DirEntry>, root: &Arc<Path>) -> Option<Found> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => return Some(unreadable(&error, root)),
    };
    // The given folder may be a link, which is followed.
    if entry.depth() == 0 || entry.file_type().is_dir() {
        return None;
    }
    if leads_to_a_folder(&entry) {
        return Some(Found::FolderLink);
    }
    if !is_named_like_a_picture(entry.path()) {
        return Some(Found::OtherFile(entry.into_path()));
    }
    Some(Found::File(Place { path: entry.into_path(), root: Some(Arc::clone(root)) }))
}

/// What a walk below `root` could not read.
pub(super) fn unreadable(error: &walkdir::Error, root: &Path) -> Found {
    let path = error.path().unwrap_or(root).to_owned();
    let reason = error.io_error().map_or_else(|| error.to_string(), |reason| reason.to_string());
    Found::Failed(path, format!("cannot be read: {reason}"))
}

/// Whether it is a link to a folder.
pub(super) fn leads_to_a_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_symlink() && entry.path().is_dir()
}

/// Whether a file below a folder is taken for a picture.
pub(crate) fn is_named_like_a_picture(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(is_hidden);
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The format that a file's ending names, in lower case, if it is one of pictures that are not read.
pub(crate) fn not_read(ending: &str) -> Option<&'static str> {
    NOT_READ.into_iter().find(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let places = walk(root).filter_map(|found| match found {
            Found::File(place) => Some(place.within().to_string_lossy().replace('\\', "/")),
            _ => None,
        });
        places.collect()
    }

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn pictures_are_found_however_deep_in_the_order_of_their_names() {
        let pictures = ["a/x/y.jpeg", "b/10.PNG", "b/2.png", "c.tif", "d.jfif", "e.jpe", "f.DIB"];
        let folder = tree(&[&pictures[..], &["notes.txt", ".hidden.png", "b/none", "desktop.ini"]].concat());
        assert_eq!(names(folder.path()), pictures);
        let others = walk(folder.path()).filter(|found| matches!(found, Found::OtherFile(_))).count();
        assert_eq!(others, 2, "neither what is hidden nor what Windows leaves");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_named_with_the_reason() {
        let root: Arc<Path> = Path::new("/nowhere/at all").into();
        let entry = WalkDir::new(&root).into_iter().next().unwrap();
        let Some(Found::Failed(path, reason)) = found(entry, &root) else { panic!("passed over") };
        assert!(path == *root && reason.starts_with("cannot be read: "), "{path:?}: {reason}");
    }

    #[test]
    fn hidden_folders_are_passed_over_unless_they_are_given() {
        let folder = tree(&["a/1.png", ".ipynb_checkpoints/1.png", "a/.x/y/2.png"]);
        assert_eq!(names(folder.path()), ["a/1.png"]);
        assert_eq!(names(&folder.path().join("a/.x")), ["y/2.png"]);
    }

    #[test]
    fn a_file_that_is_named_is_taken_whatever_its_name() {
        let folder = tree(&["scan"]);
        let path = folder.path().join("scan");
        let place = Place { path: path.clone(), root: None };
        assert_eq!(walk(&path).collect::<Vec<_>>(), [Found::File(place)]);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_links_to_folders_are_not() {
        use std::os::unix::fs::symlink;
        let folder = tree(&["a/1.png"]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("a/1.png"), at("link.png")).unwrap();
        symlink(folder.path(), at("a/loop")).unwrap();
        symlink(at("self.png"), at("self.png")).unwrap();
        assert_eq!(names(folder.path()), ["a/1.png", "link.png", "self.png"]);
        assert!(walk(folder.path()).any(|found| found == Found::FolderLink));
        symlink(at("a"), at("given")).unwrap();
        assert_eq!(names(&at("given")), ["1.png"]);
        assert_eq!(walk(&at("given")).filter(|found| *found == Found::FolderLink).count(), 1);
        assert!(crate::pictures::read(&at("self.png")).is_err());
    }
}
