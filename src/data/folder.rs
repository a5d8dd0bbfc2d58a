//! Loads any folder of IDX files: training images and, where there are any, test images, each with labels.
//!
//! The file names are those under which MNIST and its successors are distributed; see [`load_folder`].

use crate::data::assemble::{Part, assemble, empty_classes};
use crate::data::idx::{read_images, read_labels};
use crate::data::{DataError, DataSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

const LISTED: usize = 20;
/// What the names of test files begin with.
const TEST: [&str; 2] = ["t10k", "test"];

/// Loads the data set in the folder at `path`.
///
/// Files are named `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`; the test files may begin with `test` instead of `t10k`, the `idx` may follow a dot instead
/// of a hyphen, image files may say `idx4`, and each file may be gzipped with `.gz` after its name. Where a file exists
/// both raw and gzipped, the raw one is read. Without any of the test files the test set is empty.
///
/// Images are `(n, height, width)` or `(n, height, width, channels)` with 1 to 4 channels. The
/// number of classes is the largest training label plus one, and at least 2; class names are the numbers.
///
/// Errors when a file is missing, ambiguous, unreadable or not a proper IDX file, and when the
/// files do not belong together.
pub fn load_folder(path: impl AsRef<Path>) -> Result<DataSet, DataError> {
    let folder = path.as_ref();
    let mut set = load_files(folder, &list(folder)?)?;
    set.remarks.extend(empty_classes(&set.train));
    Ok(set)
}

/// The same for a folder that is only tested on, which may hold the test files alone.
pub(super) fn load_tested(folder: &Path) -> Result<DataSet, DataError> {
    let files = list(folder)?;
    let [train, test] = [&["train"][..], &TEST].map(|prefixes| [image_names(prefixes), label_names(prefixes)]);
    if any_of(&files, &train.concat()) || !any_of(&files, &test.concat()) {
        return load_files(folder, &files);
    }
    let [images, labels] = test;
    let images = find(folder, &files, "test images", &images)?;
    let test = read_part(images, find(folder, &files, "test labels", &labels)?)?;
    assemble(display_name(folder), test.none(), test, None)
}

/// Loads those of a folder's files that make a data set.
fn load_files(folder: &Path, files: &[String]) -> Result<DataSet, DataError> {
    let find = |what, names: Vec<String>| find(folder, files, what, &names);
    let train_images = find("training images", image_names(&["train"]))?;
    let train_labels = find("training labels", label_names(&["train"]))?;
    let names = [image_names(&TEST), label_names(&TEST)];
    // One file without the other is a mistake, which `find` names.
    let test_files = match any_of(files, &names.concat()) {
        true => {
            let [images, labels] = names;
            Some((find("test images", images)?, find("test labels", labels)?))
        }
        false => None,
    };

    let (train, test) = thread::scope(|scope| {
        let test = test_files.map(|(images, labels)| scope.spawn(move || read_part(images, labels)));
        let train = read_part(train_images, train_labels);
        (train, test.map(|test| test.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let train = train?;
    let test = test.transpose()?.unwrap_or_else(|| train.none());
    assemble(display_name(folder), train, test, None)
}

fn read_part(images_path: PathBuf, labels_path: PathBuf) -> Result<Part, DataError> {
    Ok(Part {
        // Labels first: small, so that a mistake in them shows before the long wait.
        labels: read_labels(&labels_path)?,
        images: read_images(&images_path)?,
        images_path,
        labels_path,
    })
}

/// Whether a folder has any of the files that [`load_folder`] asks for: if so, a missing one is an error.
pub(super) fn is_idx_folder(folder: &Path) -> Result<bool, DataError> {
    let known = [image_names(&["train", "t10k", "test"]), label_names(&["train", "t10k", "test"])].concat();
    Ok(any_of(&list(folder)?, &known))
}

/// Whether any of the files has one of the names, gzipped or not.
fn any_of(files: &[String], names: &[String]) -> bool {
    files
        .iter()
        .any(|file| names.iter().any(|name| file.strip_prefix(name).is_some_and(|end| ["", ".gz"].contains(&end))))
}

/// The names of all files in the folder, sorted; names that are not Unicode cannot be ours.
fn list(folder: &Path) -> Result<Vec<String>, DataError> {
    let cannot_read = |reason| DataError::CannotRead { path: folder.into(), reason };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        // Through `path`, since a symbolic link to a file will do.
        if entry.path().is_file() {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn image_names(prefixes: &[&str]) -> Vec<String> {
    names(prefixes, "images", &["idx3", "idx4"])
}

fn label_names(prefixes: &[&str]) -> Vec<String> {
    names(prefixes, "labels", &["idx1"])
}

fn names(prefixes: &[&str], kind: &str, formats: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for prefix in prefixes {
        for format in formats {
            for separator in ['-', '.'] {
                names.push(format!("{prefix}-{kind}{separator}{format}-ubyte"));
            }
        }
    }
    names
}

fn find(folder: &Path, files: &[String], what: &'static str, names: &[String]) -> Result<PathBuf, DataError> {
    let present: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let zipped = format!("{name}.gz");
            [name, &zipped].into_iter().find(|name| files.contains(name)).cloned()
        })
        .collect();
    match present.as_slice() {
        [name] => Ok(folder.join(name)),
        [] => {
            Err(DataError::Missing { folder: folder.into(), what, looked_for: names.join(", "), found: summary(files) })
        }
        _ => Err(DataError::Ambiguous { folder: folder.into(), what, found: present.join(", ") }),
    }
}

/// The names of files, separated by commas; of many, only the first.
pub(super) fn summary(files: &[String]) -> String {
    if files.is_empty() { "no files".into() } else { listed(files, LISTED) }
}

/// The names, separated by commas; of more than `most`, only the first.
pub(crate) fn listed(names: &[String], most: usize) -> String {
    match names.get(most..) {
        None | Some([]) => names.join(", "),
        Some(rest) => format!("{} and {} more", names[..most].join(", "), rest.len()),
    }
}

pub(super) fn display_name(folder: &Path) -> String {
    let own = folder.file_name().map(|name| name.to_owned());
    // "." and ".." have no name of their own, but the folder that they stand for has.
    let name = own.or_else(|| Some(folder.canonicalize().ok()?.file_name()?.to_owned()));
    let name = name.unwrap_or_else(|| folder.into());
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{display_name, load_folder, summary};
    use crate::data::DataError;
    use crate::data::testing::{gzip, idx};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    const CANONICAL: [&str; 4] =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

    fn contents() -> [Vec<u8>; 4] {
        [idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]), idx(&[2], &[0, 3]), idx(&[1, 1, 3], &[7, 8, 9]), idx(&[1], &[1])]
    }

    fn folder(names: [&str; 4]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in names.iter().zip(contents()) {
            let zipped = name.ends_with(".gz");
            let bytes = if zipped { gzip(&bytes) } else { bytes };
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_with_the_canonical_names_is_loaded() {
        let folder = folder(CANONICAL);
        let set = load_folder(folder.path()).unwrap();
        assert_eq!(*set.train.images, [1, 2, 3, 4, 5, 6]);
        assert_eq!(set.train.labels, [0, 3]);
        assert_eq!(*set.test.images, [7, 8, 9]);
        assert_eq!(set.test.labels, [1]);
        assert_eq!(set.class_names, ["0", "1", "2", "3"]);
        assert_eq!((set.test.height, set.test.width, set.test.channels), (1, 3, 1));
        let name = folder.path().file_name().unwrap();
        assert_eq!(set.name, name.to_str().unwrap());
    }

    #[test]
    fn dots_test_prefixes_idx4_and_gzip_give_the_same_set() {
        let plain = load_folder(folder(CANONICAL).path()).unwrap();
        for names in [
            CANONICAL.map(|name| name.replace("-idx", ".idx")),
            CANONICAL.map(|name| name.replace("t10k", "test")),
            CANONICAL.map(|name| name.replace("idx3", "idx4")),
            CANONICAL.map(|name| format!("{name}.gz")),
            CANONICAL.map(|name| format!("{}.gz", name.replace("-idx", ".idx"))),
        ] {
            let folder = folder(names.each_ref().map(String::as_str));
            let mut set = load_folder(folder.path()).unwrap();
            set.name.clone_from(&plain.name);
            assert_eq!(set, plain, "{names:?}");
        }
    }

    #[test]
    fn images_with_channels_are_loaded() {
        let folder = folder(CANONICAL);
        let write = |name, bytes| fs::write(folder.path().join(name), bytes).unwrap();
        write(CANONICAL[0], idx(&[2, 1, 1, 3], &[1, 2, 3, 4, 5, 6]));
        write(CANONICAL[2], idx(&[1, 1, 1, 3], &[7, 8, 9]));
        let set = load_folder(folder.path()).unwrap();
        assert_eq!((set.train.height, set.train.width, set.train.channels), (1, 1, 3));
        assert_eq!(set.train.image(1), [4, 5, 6]);
    }

    #[test]
    fn a_raw_file_is_preferred_to_a_gzipped_one() {
        let folder = folder(CANONICAL);
        for name in CANONICAL {
            fs::write(folder.path().join(format!("{name}.gz")), "rubbish").unwrap();
        }
        assert!(load_folder(folder.path()).is_ok());
    }

    #[test]
    fn a_missing_file_is_named_with_the_folder_and_what_was_found() {
        let folder = folder(CANONICAL);
        fs::remove_file(folder.path().join(CANONICAL[3])).unwrap();
        let message = load_folder(folder.path()).unwrap_err().to_string();
        for part in [
            "no test labels",
            folder.path().to_str().unwrap(),
            "looked for t10k-labels-idx1-ubyte, t10k-labels.idx1-ubyte, test-labels-idx1-ubyte",
            "found t10k-images-idx3-ubyte, train-images-idx3-ubyte, train-labels-idx1-ubyte.",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn a_folder_without_test_files_is_loaded_with_an_empty_test_set() {
        let folder = folder(CANONICAL);
        CANONICAL[2..].iter().for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
        let set = load_folder(folder.path()).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (2, 0));
        assert_eq!((set.test.height, set.test.width, set.test.channels), (1, 3, 1));
    }

    #[test]
    fn a_directory_under_the_right_name_is_not_taken_for_the_file() {
        let folder = folder(CANONICAL);
        fs::remove_file(folder.path().join(CANONICAL[0])).unwrap();
        fs::create_dir(folder.path().join(CANONICAL[0])).unwrap();
        let error = load_folder(folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Missing { .. }), "{error}");
    }

    #[test]
    fn an_empty_folder_is_said_to_hold_no_files() {
        let folder = TempDir::new().unwrap();
        let message = load_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("found no files"), "{message}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let message = load_folder("/nowhere/at all").unwrap_err().to_string();
        assert!(message.starts_with("cannot read /nowhere/at all: "), "{message}");
    }

    #[test]
    fn two_different_test_sets_are_refused_as_ambiguous() {
        let folder = folder(CANONICAL);
        fs::write(folder.path().join("test-images.idx3-ubyte.gz"), "").unwrap();
        let message = load_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("found t10k-images-idx3-ubyte, test-images.idx3-ubyte.gz"), "{message}");
    }

    #[test]
    fn a_damaged_file_is_named_with_its_whole_path() {
        let folder = folder(CANONICAL);
        let path = folder.path().join(CANONICAL[2]);
        fs::write(&path, idx(&[1, 1, 3], &[7])).unwrap();
        let message = load_folder(folder.path()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}: truncated", path.display())), "{message}");
    }

    #[test]
    fn a_folder_given_as_a_dot_goes_by_its_real_name() {
        assert_eq!(display_name(Path::new("some/fashion")), "fashion");
        assert!(![".", ""].contains(&display_name(Path::new(".")).as_str()));
    }

    #[test]
    fn a_long_listing_is_cut_short() {
        let files: Vec<String> = (0..25).map(|i| format!("f{i}")).collect();
        assert!(summary(&files).ends_with("f19 and 5 more"));
        assert!(summary(&files[..20]).ends_with("f19"));
    }
}
