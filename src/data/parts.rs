//! A folder that is divided into one to train with and one to test with.

use std::path::{Path, PathBuf};

use super::DataError;
use super::classes::{classes_in, folders, has_pictures};
use super::folder::display_name;
use super::source::TABLES;

/// Names of a folder to train with, in any letter case.
const TRAIN: [&str; 2] = ["train", "training"];
/// Names of a folder to test with, likewise.
const TEST: [&str; 2] = ["test", "testing"];
/// Names of a folder that is tested with where there is none of `TEST`, likewise.
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// Where in a folder the images to train with may be, if it has others too.
pub(crate) fn to_train_with(folder: &Path) -> Vec<PathBuf> {
    // What cannot be looked into, like a table, has nothing below it.
    let below = folders(folder).unwrap_or_default();
    let parts = named(&below, &TRAIN).into_iter().map(|(_, path)| path.clone());
    parts.chain(TABLES.map(|name| folder.join(name))).collect()
}

/// The training and test parts of a folder that is divided into them.
pub(super) struct Parts {
    pub train: PathBuf,
    /// `None` where there is nothing to test with.
    pub test: Option<PathBuf>,
    /// Folders with pictures that are neither.
    others: Vec<String>,
}

impl Parts {
    /// `None` for a folder that is not divided.
    ///
    /// # Errors
    /// A folder that cannot be read, and several folders that may be the same part.
    pub fn of(folder: &Path) -> Result<Option<Parts>, DataError> {
        let below = folders(folder)?;
        let (mut train, mut test) = (named(&below, &TRAIN), named(&below, &TEST));
        if test.is_empty() {
            test = named(&below, &VALIDATION);
        }
        if test.is_empty() && !train.is_empty() {
            // A folder `train` may be a class of trains beside other classes.
            let with_pictures = below.iter().filter(|(_, path)| has_pictures(path)).count();
            let least = if with_pictures > 1 { 2 } else { 1 };
            train.retain(|(_, path)| classes_in(path) >= least);
        }
        if train.is_empty() {
            return Ok(None);
        }
        let train = only(folder, "folder to train with", &train)?;
        let test = if test.is_empty() { None } else { Some(only(folder, "folder to test with", &test)?) };
        let others = below.iter().filter(|(_, path)| path != train && Some(path) != test && has_pictures(path));
        let others = others.map(|(name, _)| name.clone()).collect();
        Ok(Some(Parts { train: train.clone(), test: test.cloned(), others }))
    }

    /// A remark on the folders that are ignored.
    pub fn left_out(&self) -> Option<String> {
        let (train, others) = (display_name(&self.train), self.others.join(", "));
        let test = self.test.as_ref().map(|test| format!(" and {} for testing", display_name(test)));
        let test = test.unwrap_or_default();
        (!self.others.is_empty())
            .then(|| format!("pictures in {others} are ignored: {train} is used for training{test}"))
    }
}

/// The folders, by name and path, that have one of `names`, in any letter case.
fn named<'a>(folders: &'a [(String, PathBuf)], names: &[&str]) -> Vec<&'a (String, PathBuf)> {
    let is_named = |own: &str| names.iter().any(|name| own.eq_ignore_ascii_case(name));
    folders.iter().filter(|(own, _)| is_named(own)).collect()
}

/// The path of the only folder that was found; several are an error.
fn only<'a>(folder: &Path, what: &'static str, found: &[&'a (String, PathBuf)]) -> Result<&'a PathBuf, DataError> {
    match found {
        [(_, path)] => Ok(path),
        _ => {
            let found: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            Err(DataError::Ambiguous { folder: folder.into(), what, found: found.join(", ") })
        }
    }
}
