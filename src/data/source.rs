//! Finds out what kind of data lies at a path, and loads it: IDX files, CSV tables, or pictures in folders.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::folder::{is_idx_folder, load_folder};
use super::{DataError, DataSet, classes, table};

/// The longest side of an image.
const LARGEST: usize = 4096;

/// How data are read that leave something open.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// Images that are set aside as a test set, where the data have none: a tenth where absent. The same ones every
    /// time, whatever a run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<usize>,
    /// Height and width of the images, and their channels: of pictures, which are brought to it, and of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// Pictures are prepared as MNIST was (see [`crate::pictures::prepare()`]) and not merely brought to their size.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prepare: bool,
}

/// Height and width of an image, and its channels where they are known: `28x28`, `32x32x3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSize {
    pub height: usize,
    pub width: usize,
    pub channels: Option<usize>,
}

impl From<[usize; 3]> for ImageSize {
    fn from([height, width, channels]: [usize; 3]) -> ImageSize {
        ImageSize { height, width, channels: Some(channels) }
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageSize, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)?;
        self.channels.map_or(Ok(()), |channels| write!(f, "x{channels}"))
    }
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ImageSize, String> {
        let sizes: Option<Vec<usize>> =
            text.split('x').map(|n| n.parse().ok().filter(|n| (1..=LARGEST).contains(n))).collect();
        match sizes.as_deref() {
            Some(&[height, width]) => Ok(ImageSize { height, width, channels: None }),
            Some(&[height, width, channels]) if channels <= 4 => Ok([height, width, channels].into()),
            _ => Err("expected height x width, like 28x28, or with 1 to 4 channels, like 32x32x3".into()),
        }
    }
}

impl Reading {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Reading::default()
    }
}

/// Loads what lies at `path`.
///
/// - A folder of IDX files: see [`load_folder`].
/// - A `.csv` or `.csv.gz` table of pixels with labels, as Kaggle hands out MNIST, or a folder with a `train.csv`. A
///   `test.csv` beside it is the test set, if it has labels.
/// - A folder with a folder of pictures for each class, or with two such folders, `train` and `test`.
///
/// Data without a test set give a tenth of each class to be one ([`Reading::hold_out`]). What a person should know of
/// how they were read is in [`DataSet::remarks`].
///
/// # Errors
/// Data that are none of these, and what each kind has against its own.
pub fn load(path: &Path, reading: &Reading) -> Result<DataSet, DataError> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_table = name.ends_with(".csv") || name.ends_with(".csv.gz");
        if path.exists() && !is_table {
            return Err(DataError::UnknownSource { path: path.into(), found: "a file of another kind".into() });
        }
        return hold_out(table::load(path, None, reading)?, reading);
    }
    if is_idx_folder(path)? {
        let mut set = load_folder(path)?;
        if reading.hold_out.is_some() {
            set.remarks.push(format!("{} has test images: --hold-out changes nothing", set.name));
        }
        return Ok(set);
    }
    let tables = ["train.csv", "train.csv.gz"].map(|name| path.join(name));
    if let Some(train) = tables.iter().find(|table| table.is_file()) {
        let tests = ["test.csv", "test.csv.gz"].map(|name| path.join(name));
        let test = tests.iter().find(|table| table.is_file());
        return hold_out(table::load(train, test.map(|test| test.as_path()), reading)?, reading);
    }
    hold_out(classes::load(path, reading)?, reading)
}

/// Sets the test images aside, always the same ones.
const HOLD_OUT_SEED: u64 = 0;

fn hold_out(mut set: DataSet, reading: &Reading) -> Result<DataSet, DataError> {
    if !set.test.is_empty() {
        if reading.hold_out.is_some() {
            set.remarks.push(format!("{} has test images: --hold-out changes nothing", set.name));
        }
        return Ok(set);
    }
    let (all, wanted) = (set.train.len(), reading.hold_out.unwrap_or(set.train.len() / 10));
    if wanted >= all {
        return Err(DataError::HoldOut { wanted, len: all });
    }
    if wanted > 0 {
        (set.train, set.test) = set.train.split(wanted, HOLD_OUT_SEED)?;
        set.remarks.push(format!("{} has no test images; {wanted} of its {all} are set aside as such", set.name));
    } else {
        set.remarks.push(format!("{} has no test images, and none are set aside: nothing will be tested", set.name));
    }
    Ok(set)
}
