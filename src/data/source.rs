//! Finds out what kind of data lies at a path, and loads it: IDX files, CSV tables, or pictures in folders.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::beside::other_data;
use super::folder::{is_idx_folder, load_folder, load_tested};
use super::{DataError, DataSet, ImageSet, MAX_CHANNELS, classes, table};
use crate::pictures::source::is_csv;
use crate::pictures::{is_dark, is_prepared};
use crate::words::words;

/// The longest side of an image.
const LARGEST: usize = 4096;
/// How many of a hundred images may look different where a set looks like MNIST's.
const OTHERS: usize = 2;

/// Names of a table to train with in a folder.
pub(super) const TABLES: [&str; 2] = ["train.csv", "train.csv.gz"];

/// How to read data where the data themselves leave something open.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// Images to set aside as a test set where the data have none; a tenth if absent. They are the same every time,
    /// whatever a run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOut>,
    /// Height and width of the images, and their channels: pictures are resized to it, and rows of tables are read as
    /// images of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// Whether pictures are prepared as MNIST was (see [`crate::pictures::prepare()`]) and not merely resized.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prepare: bool,
}

/// Images to test with, for data that have no test set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "usize", untagged)]
pub enum HoldOut {
    Count(usize),
    /// All of them, which leaves nothing to train with: never a run's setting.
    #[serde(skip)]
    All,
}

impl From<usize> for HoldOut {
    fn from(count: usize) -> HoldOut {
        HoldOut::Count(count)
    }
}

words!(
    /// How the images of a set came about.
    Pictures {
        /// Pictures were resized.
        Fitted = "fitted",
        /// Pictures were prepared as MNIST was.
        Prepared = "prepared",
        /// The images were not made from pictures here, and do not look like prepared ones.
        Raw = "raw",
    }
);

impl Pictures {
    /// Its key in the metadata of files.
    pub(crate) const KEY: &str = "pictures";
}

/// Height and width of an image, and its channels where they are known: `28x28`, `32x32x3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSize {
    pub height: usize,
    pub width: usize,
    pub channels: Option<usize>,
}

impl ImageSize {
    /// Parses a size whose sides are at most `most`.
    pub(crate) fn parse(text: &str, most: usize, most_channels: usize) -> Result<ImageSize, String> {
        let sizes: Option<Vec<usize>> =
            text.split(['x', 'X']).map(|n| n.parse().ok().filter(|n: &usize| *n > 0)).collect();
        let fits = |height: usize, width: usize| height.max(width) <= most;
        match sizes.as_deref() {
            Some(&[height, width]) if fits(height, width) => Ok(ImageSize { height, width, channels: None }),
            Some(&[height, width, channels]) if fits(height, width) && channels <= most_channels => {
                Ok([height, width, channels].into())
            }
            _ => Err(format!(
                "expected height x width, each from 1 to {most}, like 28x28, or with 1 to {most_channels} channels, \
                 like 28x28x1"
            )),
        }
    }
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
        ImageSize::parse(text, LARGEST, MAX_CHANNELS)
    }
}

impl Reading {
    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Reading::default()
    }

    /// Whether nothing is learned from the data: they may then show a single class, and have no images to train with.
    pub(super) fn tests_on_all(&self) -> bool {
        self.hold_out == Some(HoldOut::All)
    }
}

/// The kind of data, judged by what lies at their path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A folder of IDX files.
    Idx,
    /// Rows of pixels: the table to train with.
    Table(PathBuf),
    /// Pictures in folders.
    Pictures,
}

impl Kind {
    /// Judged by names alone; it is for [`load`] to tell whether the data are any good.
    ///
    /// # Errors
    /// A file that is no table, and a folder that cannot be read.
    pub fn of(path: &Path) -> Result<Kind, DataError> {
        if !path.is_dir() {
            if path.exists() && !is_csv(path) {
                return Err(DataError::UnknownSource { path: path.into(), found: other_file(path).into() });
            }
            return Ok(Kind::Table(path.into()));
        }
        if is_idx_folder(path)? {
            return Ok(Kind::Idx);
        }
        let table = TABLES.map(|name| path.join(name)).into_iter().find(|table| table.is_file());
        Ok(table.map_or(Kind::Pictures, Kind::Table))
    }
}

/// Describes a file that data are not read from, judged by its name, and says what to do about it.
fn other_file(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".zip"]) {
        "a zip archive. Unpack it first"
    } else if ends(&["-ubyte", "-ubyte.gz"]) {
        "a single IDX file. Give the folder that it lies in"
    } else if ends(&[".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"]) {
        "an archive. Unpack it first"
    } else {
        "a file of another kind"
    }
}

/// Is told, from any thread, how many pictures have been decoded, and of how many.
pub type Watch<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Loads what lies at `path`.
///
/// - A folder of IDX files: see [`load_folder`].
/// - A `.csv` or `.csv.gz` table of pixels with labels, as Kaggle distributes MNIST, or a folder with a `train.csv`. A
///   `test.csv` beside it is the test set, if it has labels.
/// - A folder with a folder of pictures for each class, or with two such folders, for training and for testing.
///
/// The first of these that exists is read, and a remark names the others.
///
/// If the data have no test set, a tenth of each class is set aside as one ([`Reading::hold_out`]), or less where a
/// class would be left without an image. What a person should know about how the data were read is in
/// [`DataSet::remarks`].
///
/// # Errors
/// Data that are none of these, and the errors of each kind; training images that are all of one class; a hold-out that
/// leaves no image of a class to train with. Data of which all images are to be tested on ([`HoldOut::All`]) may show
/// one class, and IDX files may be those of a test set alone.
pub fn load(path: &Path, reading: &Reading) -> Result<DataSet, DataError> {
    load_watched(path, reading, &|_, _| ())
}

/// The same for somebody who waits for it: ten thousand photographs take minutes.
///
/// # Errors
/// As for [`load`].
pub fn load_watched(path: &Path, reading: &Reading, watch: Watch) -> Result<DataSet, DataError> {
    let kind = Kind::of(path)?;
    let mut set = match &kind {
        Kind::Idx => {
            let mut set = if reading.tests_on_all() { load_tested(path)? } else { load_folder(path)? };
            if let [label, rest @ ..] = &set.train.labels[..]
                && !reading.tests_on_all()
                && rest.iter().all(|other| other == label)
            {
                return Err(DataError::OneClass { path: path.into(), label: *label });
            }
            set.remarks.extend(other_data(path, "IDX files", &TABLES)?);
            set
        }
        Kind::Table(train) => {
            let tests = ["test.csv", "test.csv.gz"].map(|name| path.join(name));
            let test = tests.iter().find(|table| table.is_file());
            let mut set = table::load(train, test.map(PathBuf::as_path), reading)?;
            if path.is_dir() {
                set.remarks.extend(other_data(path, "tables", &[])?);
            }
            set
        }
        Kind::Pictures => return hold_out(classes::load(path, reading, watch)?, reading),
    };
    let sized = kind == Kind::Idx && reading.image_size.is_some();
    for (flag, unheeded) in [("--image-size", sized), ("--prepare", reading.prepare)] {
        if unheeded {
            set.remarks.push(format!("{} has no files of pictures: {flag} changes nothing", set.name));
        }
    }
    hold_out(set, reading).map(marked)
}

/// The seed by which test images are set aside, so that they are always the same ones.
const HOLD_OUT_SEED: u64 = 0;

fn hold_out(mut set: DataSet, reading: &Reading) -> Result<DataSet, DataError> {
    if !set.test.is_empty() {
        if reading.hold_out.is_some() && !set.train.is_empty() {
            set.remarks.push(format!("{} has test images: --hold-out changes nothing", set.name));
        }
        return Ok(set);
    }
    let all = set.train.len();
    let wanted = match reading.hold_out {
        None => set.train.spare().min(all / 10),
        Some(HoldOut::Count(count)) => count,
        Some(HoldOut::All) => {
            std::mem::swap(&mut set.train, &mut set.test);
            set.remarks.push(format!(
                "{} has no test images of its own: all {all} of its images are used for testing",
                set.name
            ));
            return Ok(set);
        }
    };
    if wanted >= all {
        return Err(DataError::HoldOut { wanted, len: all });
    }
    if wanted > 0 {
        let (left, set_aside) = set.train.split(wanted, HOLD_OUT_SEED)?;
        if let Some(gone) = set.train.emptied(&left) {
            let class = set.class_names[gone].clone();
            return Err(DataError::ClassSetAside { class, flag: "hold-out", wanted });
        }
        (set.train, set.test, set.held_out) = (left, set_aside, true);
        let are = if wanted == 1 { "is" } else { "are" };
        let is_less = reading.hold_out.is_none() && wanted < all / 10;
        let why = if is_less { " (no more, so that each class keeps one)" } else { "" };
        set.remarks
            .push(format!("{} has no test images; {wanted} of its {all} {are} set aside as such{why}", set.name));
    } else {
        set.remarks.push(format!("{} has no test images, and none are set aside: nothing will be tested", set.name));
    }
    Ok(set)
}

/// The set, marked as [`Pictures::Raw`] if its images do not look like prepared pictures.
fn marked(mut set: DataSet) -> DataSet {
    let images = if set.train.is_empty() { &set.test } else { &set.train };
    if !looks_prepared(images) {
        set.pictures = Some(Pictures::Raw);
    }
    set
}

/// Whether nearly all images of a sample, spread over the set, would be left as they are when pictures are prepared.
pub(crate) fn looks_prepared(set: &ImageSet) -> bool {
    // Images with several channels are never prepared.
    if set.channels != 1 {
        return true;
    }
    let (prepared, count) = sampled(set, is_prepared);
    (count - prepared) * 100 <= count * OTHERS
}

/// Whether most images of a sample are grey and dark, as light ink on black is.
pub(crate) fn are_dark(set: &ImageSet) -> bool {
    if set.channels != 1 {
        return false;
    }
    let (dark, count) = sampled(set, is_dark);
    dark * 2 > count
}

/// How many grey images of a sample, spread over the set, `are` so, and how many the sample has.
fn sampled(set: &ImageSet, are: fn(&[u8], [usize; 2]) -> bool) -> (usize, usize) {
    let (sample, size) = (set.spread(), [set.height, set.width]);
    let count = sample.len();
    (sample.filter(|image| are(image, size)).count(), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{idx, image_set};

    /// A folder of IDX files to train with, and none to test with.
    fn place(images: &[u8], labels: &[u8], [height, width]: [u32; 2]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", idx(&[labels.len() as u32, height, width], images));
        write("train-labels-idx1-ubyte", idx(&[labels.len() as u32], labels));
        folder
    }

    #[test]
    fn a_size_has_two_numbers_or_three_with_either_x_between_them() {
        for text in ["28x20", "28X20"] {
            assert_eq!(text.parse::<ImageSize>(), Ok(ImageSize { height: 28, width: 20, channels: None }));
        }
        for (text, size) in [("448X448x3", [448, 448, 3]), ("1x4096x4", [1, 4096, 4])] {
            assert_eq!(text.parse::<ImageSize>(), Ok(size.into()));
        }
        for text in ["4097x28", "1x4097", "28x0", "28x28x0", "28x28x5", "-1x3", "28", "28x28x1x1", "28by28", "x", ""] {
            let refused = text.parse::<ImageSize>().unwrap_err();
            assert!(refused.contains("each from 1 to 4096") && refused.contains("1 to 4 channels"), "{text:?}");
        }
    }

    #[test]
    fn idx_files_without_test_files_give_a_tenth_to_test_with() {
        let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
        let folder = place(&[0; 40 * 4], &labels, [2, 2]);
        let set = load(folder.path(), &Reading::default()).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (36, 4));
        assert!(set.remarks[0].contains("no test images; 4 of its 40 are set aside"), "{:?}", set.remarks);
        let few = place(&[0; 14 * 4], &labels[..14], [2, 2]);
        let set = load(few.path(), &Reading::default()).unwrap();
        assert!(set.remarks[0].contains("1 of its 14 is set aside"), "{:?}", set.remarks);
        let all = Reading { hold_out: Some(HoldOut::Count(0)), ..Reading::default() };
        assert_eq!(load(folder.path(), &all).unwrap().train.len(), 40);
    }

    #[test]
    fn a_class_is_never_set_aside_as_a_whole() {
        let labels = [vec![0u8], vec![1; 9]].concat();
        let folder = place(&[0; 10 * 4], &labels, [2, 2]);
        let asked = |count| Reading { hold_out: Some(HoldOut::Count(count)), ..Reading::default() };
        let load = |count| load(folder.path(), &asked(count));
        assert_eq!(load(6).unwrap().train.counts(), [1, 3]);
        let refused = load(9).unwrap_err().to_string();
        let words = "the class \"0\" has no image left to train on when --hold-out sets 9 aside";
        assert!(refused.contains(words) && refused.contains("--hold-out 0"), "{refused}");
    }

    #[test]
    fn fewer_than_a_tenth_are_set_aside_where_each_class_has_but_one() {
        let remarks = |labels: &[u8], test: usize| {
            let folder = place(&vec![0; labels.len() * 4], labels, [2, 2]);
            let set = load(folder.path(), &Reading::default()).unwrap();
            assert_eq!((set.test.len(), set.held_out), (test, test > 0));
            assert!(set.train.counts().iter().all(|count| *count > 0));
            set.remarks.join("; ")
        };
        let alone: Vec<u8> = (0..38).collect();
        assert!(remarks(&alone, 0).contains("none are set aside"));
        // A tenth is four, and there are two to spare.
        let two = remarks(&[&alone[..], &[0, 1]].concat(), 2);
        assert!(two.contains("2 of its 40 are set aside as such (no more, so that each class keeps one)"), "{two}");
        // A class whose share is exact gives more before another gives its only image.
        let many = [[0u8; 40], [1; 40]].concat();
        assert!(!remarks(&[&many[..], &alone[2..12]].concat(), 9).contains("no more"));
    }

    #[test]
    fn all_images_are_tested_on_where_that_is_asked_for() {
        let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
        let folder = place(&[255; 40 * 4], &labels, [2, 2]);
        let all = Reading { hold_out: Some(HoldOut::All), ..Reading::default() };
        let set = load(folder.path(), &all).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.held_out), (0, 40, false));
        assert_eq!((set.train.height, set.train.classes, set.pictures), (2, 2, Some(Pictures::Raw)));
        assert!(set.remarks[0].contains("all 40 of its images are used for testing"), "{:?}", set.remarks);
        // Data with test images of their own are tested on those.
        let path = folder.path();
        std::fs::copy(path.join("train-images-idx3-ubyte"), path.join("t10k-images-idx3-ubyte")).unwrap();
        std::fs::copy(path.join("train-labels-idx1-ubyte"), path.join("t10k-labels-idx1-ubyte")).unwrap();
        let set = load(path, &all).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (40, 40));
        assert!(set.remarks[0].contains("has test images: --hold-out changes nothing"), "{:?}", set.remarks);
    }

    #[test]
    fn idx_files_that_are_only_tested_on_may_show_one_class_and_be_test_files_alone() {
        let folder = place(&[0; 20 * 4], &[3; 20], [2, 2]);
        let all = Reading { hold_out: Some(HoldOut::All), ..Reading::default() };
        let tested = |remarks: usize| {
            let set = load(folder.path(), &all).unwrap();
            assert_eq!((set.train.len(), &set.test.labels[..], set.class_names.len()), (0, &[3; 20][..], 4));
            assert_eq!(set.remarks.len(), remarks, "{:?}", set.remarks);
        };
        tested(1);
        for file in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
            let [from, to] = ["train", "t10k"].map(|part| folder.path().join(format!("{part}-{file}")));
            std::fs::rename(from, to).unwrap();
        }
        tested(0);
        assert!(load(folder.path(), &Reading::default()).unwrap_err().to_string().contains("no training images"));
    }

    #[test]
    fn idx_files_of_one_class_are_refused_as_tables_and_folders_are() {
        let folder = place(&[0; 20 * 4], &[3; 20], [2, 2]);
        let refused = load(folder.path(), &Reading::default()).unwrap_err().to_string();
        assert!(refused.contains("have the label 3: expected at least two classes"), "{refused}");
    }

    #[test]
    fn what_is_asked_of_pictures_and_changes_nothing_is_said() {
        let folder = place(&[0; 40 * 4], &[[0u8, 1]; 20].concat(), [2, 2]);
        let asked = Reading { image_size: Some([4, 1, 1].into()), prepare: true, ..Reading::default() };
        let set = load(folder.path(), &asked).unwrap();
        assert_eq!((set.train.height, set.train.width), (2, 2));
        for (remark, flag) in set.remarks.iter().zip(["--image-size", "--prepare"]) {
            assert!(remark.contains(&format!("no files of pictures: {flag} changes nothing")), "{remark}");
        }
        // The rows of a table make images of any size.
        let path = folder.path().join("a.csv");
        std::fs::write(&path, format!("label,a,b,c,d\n{}", "0,1,2,3,4\n1,5,6,7,8\n".repeat(20))).unwrap();
        let set = load(&path, &asked).unwrap();
        assert_eq!((set.train.height, set.train.width, set.remarks.len()), (4, 1, 2));
        assert!(set.remarks[0].contains("--prepare changes nothing"), "{:?}", set.remarks);
    }

    #[test]
    fn a_file_is_a_table_by_the_ending_that_classify_knows_it_by() {
        let folder = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "label,a\n0,1\n1,2\n").unwrap();
            load(&path, &Reading { hold_out: Some(HoldOut::Count(0)), ..Reading::default() })
        };
        assert_eq!(load("A.CSV").unwrap().train.len(), 2);
        for name in [".csv", "csv", "a.txt"] {
            assert!(load(name).unwrap_err().to_string().contains("a file of another kind"), "{name}");
        }
        for (name, words) in [
            ("a.csv.zip", "found a zip archive. Unpack it first"),
            ("a.tar.gz", "found an archive. Unpack it first"),
            ("a.TGZ", "found an archive. Unpack it first"),
            ("train-images-idx3-ubyte.gz", "found a single IDX file. Give the folder"),
            ("train-labels.idx1-ubyte", "found a single IDX file. Give the folder"),
        ] {
            let refused = load(name).unwrap_err().to_string();
            assert!(refused.contains(words), "{name}: {refused}");
        }
    }

    #[test]
    fn images_that_do_not_look_as_mnists_do_are_raw() {
        let pictures = |images: &[u8]| {
            let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
            load(place(images, &labels, [3, 3]).path(), &Reading::default()).unwrap().pictures
        };
        let dark = [[0u8, 0, 0, 0, 255, 0, 0, 0, 0]; 40].concat();
        let light = [[255u8, 255, 255, 255, 0, 255, 255, 255, 255]; 40].concat();
        assert_eq!(pictures(&dark), None);
        assert_eq!(pictures(&light), Some(Pictures::Raw));
        assert_eq!(pictures(&[&dark[..30 * 9], &light[30 * 9..]].concat()), Some(Pictures::Raw));
    }

    #[test]
    fn a_few_that_look_otherwise_and_colours_change_nothing() {
        // Every fiftieth of 3,000 images is light; every third image is looked at.
        let mut set = image_set(1, 1, 1, &[0; 3000]);
        for (i, pixel) in set.images.iter_mut().enumerate() {
            *pixel = if i % 50 == 0 { 255 } else { 0 };
        }
        assert!(looks_prepared(&set));
        set.images.iter_mut().step_by(30).for_each(|pixel| *pixel = 255);
        assert!(!looks_prepared(&set));
        // Sorted, with the dark ones first.
        set.images[..2000].fill(0);
        set.images[2000..].fill(255);
        assert!(!looks_prepared(&set));
        let mut coloured = image_set(2, 2, 3, &[0, 1]);
        coloured.images.fill(255);
        assert!(looks_prepared(&coloured));
        assert!(looks_prepared(&crate::data::mnist::embedded().unwrap().train), "MNIST itself");
    }
}
