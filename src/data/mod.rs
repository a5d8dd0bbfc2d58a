//! Labelled image sets in memory: what they are, and where they come from.
//!
//! [`mnist::embedded`] gives the set built into the program, [`load`] what lies at a path: IDX files, CSV tables, or
//! pictures in folders. Both end in a [`DataSet`] that has passed every check. One that is made in memory passes them
//! where it is trained on: [`DataSet::check`].

mod assemble;
mod beside;
pub mod cache;
mod classes;
mod columns;
pub mod csv;
mod digest;
mod error;
mod folder;
pub mod idx;
pub mod mnist;
mod numbered;
mod packed;
mod parts;
mod pixels;
mod source;
mod split;
pub mod statistics;
mod table;
#[cfg(test)]
mod testing;
pub mod write;

pub(crate) use classes::UNSURE;
pub(crate) use digest::digest;
pub(crate) use folder::listed;

pub use error::DataError;
pub use folder::load_folder;
pub use numbered::Numbered;
pub use packed::{pack, send_packed};
pub use pixels::Pixels;
pub use source::{HoldOut, ImageSize, Kind, Pictures, Reading, load};

use std::collections::HashMap;
use std::fmt;

use crate::ops::Window;
use numbered::{all_numbers, are_words};

/// The most classes a data set may have.
pub const MAX_CLASSES: usize = 65_536;
/// The most channels an image may have: red, green, blue and alpha.
pub const MAX_CHANNELS: usize = 4;
/// The most classes that a message lists.
pub(crate) const LISTED: usize = 12;

/// A training set, its test set, and the names of their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// What to call the set in reports.
    pub name: String,
    /// The images to learn from.
    pub train: ImageSet,
    /// The images to test on; same image size and classes as `train`.
    pub test: ImageSet,
    /// One name per class, in label order.
    pub class_names: Vec<String>,
    /// What a person should know about how the set was read.
    pub remarks: Vec<String>,
    /// How its pictures became images, if it was made from pictures; [`Pictures::Raw`] if it was made from images that
    /// do not look like prepared ones. A model remembers this, so that what it is asked later is treated the same way.
    pub pictures: Option<Pictures>,
    /// Whether the test images were set aside from those to learn from, and have no source of their own.
    pub held_out: bool,
}

impl DataSet {
    /// A set that was made in memory, not read. What does not fit together in it is found by [`DataSet::check`].
    pub fn new(name: impl Into<String>, train: ImageSet, test: ImageSet, class_names: Vec<String>) -> DataSet {
        let (name, remarks) = (name.into(), Vec::new());
        DataSet { name, train, test, class_names, remarks, pictures: None, held_out: false }
    }

    /// Refuses a set that cannot be trained on because its parts do not fit each other. There may be no images to test
    /// on. Everything that trains begins with this; it looks at every label and at no pixel.
    ///
    /// # Errors
    /// [`DataError::Unfit`], with what is wrong.
    pub fn check(&self) -> Result<(), DataError> {
        let (train, test, names) = (&self.train, &self.test, self.class_names.len());
        let refuse = |problem: String| Err(DataError::Unfit { set: self.name.clone(), problem });
        if train.is_empty() {
            return refuse("there are no images to train on".into());
        }
        if let Some(problem) = train.problem() {
            return refuse(format!("its training images: {problem}"));
        }
        if names != train.classes {
            return refuse(format!("{names} names were given for {} classes; give one for each", train.classes));
        }
        // A set without images needs no size either.
        if test.is_empty() && test.images.is_empty() {
            return Ok(());
        }
        if (test.size(), test.classes) != (train.size(), train.classes) {
            let of = |set: &ImageSet| format!("{} of {} classes", set.size(), set.classes);
            return refuse(format!("its test images are {}, its training images {}", of(test), of(train)));
        }
        match test.problem() {
            Some(problem) => refuse(format!("its test images: {problem}")),
            None => Ok(()),
        }
    }

    /// The same images under a model's classes, some of which the set may lack: labels become those of the model's
    /// classes of the same name, or number. They stay as they are where one side only numbers its classes and the other
    /// calls none after a number, which [`DataSet::matched_in_order`] reports.
    ///
    /// # Errors
    /// [`DataError::OtherClasses`] where the set has images of a class that the model lacks.
    ///
    /// # Panics
    /// When a label has no name, like indexing a slice.
    pub fn with_classes(mut self, names: Vec<String>) -> Result<DataSet, DataError> {
        if let Some(labels) = self.labels_by_name(&names) {
            let all = self.train.labels.iter_mut().chain(&mut self.test.labels);
            all.for_each(|label| *label = labels[*label as usize]);
        } else if !self.is_numbered(&names) {
            let shown = self.shown_classes();
            let own = self.class_names.iter().zip(&shown).filter(|(_, shown)| **shown);
            let own: Vec<String> = own.map(|(name, _)| name.clone()).collect();
            let is_unnamed = numbers(&names) && own.len() == names.len();
            let hint =
                if is_unnamed { "; a model of unnamed classes gets names by `import --class-names`" } else { "" };
            return Err(DataError::OtherClasses { data: listed(&own, LISTED), model: listed(&names, LISTED), hint });
        }
        (self.train.classes, self.test.classes) = (names.len(), names.len());
        self.class_names = names;
        Ok(self)
    }

    /// How [`DataSet::with_classes`] matches these classes with a model's where one side only numbers its own: by their
    /// order. Only a person can tell whether that is right.
    ///
    /// # Panics
    /// As [`DataSet::with_classes`].
    pub fn matched_in_order(&self, names: &[String]) -> Option<String> {
        (self.labels_by_name(names).is_none() && self.is_numbered(names)).then(|| self.pairs(names))
    }

    /// The same for a model that takes labels as they are, such as a generator or its judge: `None` where the classes
    /// that images show have the same names in the same order.
    ///
    /// # Panics
    /// As [`DataSet::with_classes`].
    pub fn in_order(&self, names: &[String]) -> Option<String> {
        let shown = self.shown_classes();
        let is_own = |((label, own), shown): ((&u32, u32), &bool)| *label == own || !shown;
        match self.labels_by_name(names) {
            Some(labels) if labels.iter().zip(0..).zip(&shown).all(is_own) => None,
            _ => Some(self.pairs(names)),
        }
    }

    /// Which class is which of a model's where they are matched in order.
    fn pairs(&self, names: &[String]) -> String {
        let (set, own) = (&self.name, &self.class_names[..]);
        let (whose, [left, right]) = match (are_words(own), are_words(names)) {
            (true, false) if numbers(names) => {
                (format!("the model's classes are numbers and those of {set} are names"), [names, own])
            }
            (false, true) if numbers(own) => {
                (format!("the classes of {set} are numbers and the model's are names"), [own, names])
            }
            _ => (format!("the classes of {set} are not called as the model's are"), [own, names]),
        };
        let pairs: Vec<String> = left.iter().zip(right).map(|(left, right)| format!("{left}={right}")).collect();
        let pairs = listed(&pairs, LISTED);
        format!(
            "{whose}: matched in order, {pairs}. If that is wrong, so is what follows: call the classes of both the same"
        )
    }

    /// For each class, its label among a model's, by name; `None` where a class that images show is not among the
    /// model's. Where all classes of both are numbers, `07` is `7`, as IDX files have no zeros before theirs.
    fn labels_by_name(&self, names: &[String]) -> Option<Vec<u32>> {
        let plain = |names| Some(all_numbers(names)?.iter().map(u32::to_string).collect::<Vec<_>>());
        let as_named = self.labels_among(&self.class_names, names);
        as_named.or_else(|| self.labels_among(&plain(&self.class_names)?, &plain(names)?))
    }

    /// The same for classes that are called `own`.
    fn labels_among(&self, own: &[String], names: &[String]) -> Option<Vec<u32>> {
        // Of classes with the same name, the first one counts.
        let classes = names.iter().enumerate().rev();
        let labels: HashMap<&String, u32> = classes.map(|(label, name)| (name, label as u32)).collect();
        // Numbers begin with 0 whether or not any image is a 0, and a class that no image shows needs no label.
        let label = |(own, shown): (&String, &bool)| labels.get(own).copied().or((!*shown).then_some(0));
        own.iter().zip(&self.shown_classes()).map(label).collect()
    }

    /// Whether one side only numbers its classes and the other has words for its own. Where both have numbers, these
    /// say which class is meant.
    fn is_numbered(&self, names: &[String]) -> bool {
        let (own, len) = (&self.class_names, names.len());
        // Data without class names may lack the last of a model's classes; a model has all classes of its data.
        let fits = numbers(own) && own.len() <= len && are_words(names);
        fits || numbers(names) && own.len() == len && are_words(own)
    }

    /// For each class, whether any image of either part belongs to it.
    fn shown_classes(&self) -> Vec<bool> {
        let mut shown = vec![false; self.class_names.len()];
        for label in self.train.labels.iter().chain(&self.test.labels) {
            shown[*label as usize] = true;
        }
        shown
    }
}

/// Whether classes have no names but their numbers.
fn numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(label, name)| *name == label.to_string())
}

/// Images of one size, each with a label.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ImageSet {
    /// Rows of pixels in an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Bytes in a pixel.
    pub channels: usize,
    /// Number of classes; every label is below it.
    pub classes: usize,
    /// All pixels, shape `(len, height, width, channels)`, row-major.
    pub images: Pixels,
    /// One label per image, shape `(len)`.
    pub labels: Vec<u32>,
}

impl ImageSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images at all.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// What is wrong with the set, if anything is: pixels that are not those of its images, a label that is no class,
    /// more classes or channels than a model takes.
    pub(crate) fn problem(&self) -> Option<String> {
        let (size, count, classes) = (self.size(), self.len(), self.classes);
        if self.height == 0 || self.width == 0 || !(1..=MAX_CHANNELS).contains(&self.channels) {
            return Some(format!("{size} is no size; expected pixels of 1 to {MAX_CHANNELS} channels"));
        }
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Some(format!("there are {classes} classes; expected 1 to {MAX_CLASSES}"));
        }
        let sides = [self.height, self.width, self.channels];
        let bytes = sides.iter().try_fold(count, |bytes, side| bytes.checked_mul(*side));
        if bytes != Some(self.images.len()) {
            let found = self.images.len();
            return Some(format!(
                "{found} bytes are not those of {count} images of {size}, as many as there are labels"
            ));
        }
        let (i, label) = self.labels.iter().enumerate().find(|(_, label)| **label as usize >= classes)?;
        Some(format!("label {i} is {label}; expected one below {classes}, the number of classes"))
    }

    /// Height, width and channels, for messages.
    fn size(&self) -> ImageSize {
        [self.height, self.width, self.channels].into()
    }

    /// How many images there are of each class.
    ///
    /// # Panics
    /// When a label is not below `classes`, like indexing a slice.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        self.labels.iter().for_each(|label| counts[*label as usize] += 1);
        counts
    }

    /// Bytes in one image: `height * width * channels`.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The pixels of image `i`, shape `(height, width, channels)`.
    ///
    /// # Panics
    ///
    /// When `i >= len()`, like indexing a slice.
    pub fn image(&self, i: usize) -> &[u8] {
        self.images.image(i, self.image_len())
    }

    /// The images at `indices`, in that order; an index may occur more than once. Pixels that are mapped from a file
    /// are shared, others copied.
    ///
    /// # Panics
    ///
    /// When an index is not below `len()`, like indexing a slice.
    pub fn select(&self, indices: &[usize]) -> ImageSet {
        let images = self.images.pick(indices, self.image_len());
        ImageSet { images, labels: indices.iter().map(|&i| self.labels[i]).collect(), ..*self }
    }

    /// Mean and (population) standard deviation of all pixels, scaled to 0..1.
    ///
    /// The deviation is 0 when all pixels are equal, and both are 0 for an empty set: guard
    /// before dividing by it.
    pub fn mean_std(&self) -> (f32, f32) {
        // 65,536 * 255^2 still fits a u32, and u32 sums are what the compiler vectorises well.
        const CHUNK: usize = 65_536;
        let (sum, squares) = sums(self.images.chunks(CHUNK));
        mean_std(self.images.len() as u128, sum, squares)
    }

    /// [`ImageSet::mean_std`] of the extended set, in which each image occurs with its window at every place, and black
    /// around it.
    ///
    /// # Panics
    /// When the window is not within the images.
    pub fn mean_std_extended(&self, window: Window) -> (f32, f32) {
        assert!(window.is_within([self.height, self.width]), "the window is not within the images");
        let line = self.width * self.channels;
        let rows = self.images.chunks(line).enumerate().filter(|(row, _)| {
            let row = row % self.height;
            (window.top..window.top + window.height).contains(&row)
        });
        let run = window.left * self.channels..(window.left + window.width) * self.channels;
        let (sum, squares) = sums(rows.map(|(_, row)| &row[run.clone()]));
        // These are whole numbers, so this is exactly what sums over all copies would be.
        let places = window.places([self.height, self.width]) as u64;
        mean_std(self.images.len() as u128 * u128::from(places), sum * places, squares * places)
    }

    /// Writes image `i`, with its window at `place`, over `out`, which is as large as the image.
    ///
    /// # Panics
    ///
    /// When `i >= len()`, the window is not within the images, or it has no such place.
    pub fn placed(&self, i: usize, window: Window, place: usize, out: &mut [u8]) {
        out.fill(0);
        window.put([self.height, self.width, self.channels], place, self.image(i), out, |byte| byte);
    }
}

/// The sums of pixels and of their squares, over pieces of at most 65,536 pixels.
fn sums<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (u64, u64) {
    let (mut sum, mut squares) = (0u64, 0u64);
    for piece in pieces {
        let (mut s, mut q) = (0u32, 0u32);
        for &pixel in piece {
            let pixel = u32::from(pixel);
            s += pixel;
            q += pixel * pixel;
        }
        sum += u64::from(s);
        squares += u64::from(q);
    }
    (sum, squares)
}

fn mean_std(n: u128, sum: u64, squares: u64) -> (f32, f32) {
    if n == 0 {
        return (0.0, 0.0);
    }
    // Integers until here, so that no cancellation can make the variance negative or inexact.
    let variance_n2 = n * u128::from(squares) - u128::from(sum) * u128::from(sum);
    let scale = n as f64 * 255.0;
    ((sum as f64 / scale) as f32, ((variance_n2 as f64).sqrt() / scale) as f32)
}

impl fmt::Debug for ImageSet {
    // Derived, it would print every pixel when a test fails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSet")
            .field("len", &self.len())
            .field("height", &self.height)
            .field("width", &self.width)
            .field("channels", &self.channels)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::image_set;
    use proptest::prelude::*;

    #[test]
    fn an_image_is_its_own_slice_of_the_pixels() {
        let set = image_set(2, 3, 2, &[0, 1, 0]);
        assert_eq!((set.len(), set.image_len()), (3, 12));
        assert_eq!(set.image(1), &set.images[12..24]);
    }

    #[test]
    fn select_copies_images_and_labels_in_the_order_asked_for() {
        let set = image_set(2, 2, 1, &[0, 1, 2]);
        let picked = set.select(&[2, 0, 2]);
        assert_eq!(picked.labels, [2, 0, 2]);
        assert_eq!(picked.classes, set.classes);
        for (i, j) in [2, 0, 2].into_iter().enumerate() {
            assert_eq!(picked.image(i), set.image(j));
        }
        assert!(set.select(&[]).is_empty());
    }

    #[test]
    fn labels_become_those_of_a_models_classes_of_the_same_name() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let set = |classes: &[&str]| {
            DataSet::new("set", image_set(2, 2, 1, &[0, 1]), image_set(2, 2, 1, &[1, 1, 0]), names(classes))
        };
        let known = set(&["8", "3"]).with_classes(names(&["0", "3", "5", "8"])).unwrap();
        assert_eq!((known.train.labels, known.test.labels), (vec![3, 1], vec![1, 1, 3]));
        assert_eq!((known.train.classes, known.test.classes, known.class_names.len()), (4, 4, 4));
        // Classes that are only numbered keep their labels.
        let numbered = set(&["0", "1"]).with_classes(names(&["cat", "dog", "eel"])).unwrap();
        assert_eq!(numbered.test.labels, [1, 1, 0]);
        let named = set(&["cat", "dog"]).with_classes(names(&["0", "1"])).unwrap();
        assert_eq!(named.test.labels, [1, 1, 0]);
        assert!(set(&["cat", "dog"]).with_classes(names(&["0", "1", "2"])).is_err());
        for (data, model) in [(["3", "9"], ["3", "8"]), (["0", "1"], ["1", "2"]), (["cat", "dog"], ["cat", "eel"])] {
            let refused = set(&data).with_classes(names(&model)).err().unwrap().to_string();
            assert!(refused.contains(&format!("{}, {}, but the model knows", data[0], data[1])), "{refused}");
        }
    }

    #[test]
    fn classes_are_not_matched_in_their_order_where_both_sides_call_them_by_numbers() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let refused = |data: &[&str], model: &[&str]| {
            let set = DataSet::new("set", image_set(1, 1, 1, &[0, 1]), image_set(1, 1, 1, &[1]), names(data));
            assert_eq!(set.matched_in_order(&names(model)), None, "{data:?}, {model:?}");
            set.with_classes(names(model)).unwrap_err().to_string()
        };
        // Whether or not some numbers are the same, and where some classes have words.
        for model in [&["3", "5", "7"][..], &["1", "3", "5"], &["one", "two", "7"], &["-1", "minus two"]] {
            let said = refused(&["0", "1"], model);
            assert!(said.contains("has the classes 0, 1, but the model knows"), "{said}");
            assert!(said.ends_with("or with some of them"), "{said}");
        }
        let said = refused(&["3", "5"], &["0", "1"]);
        assert!(said.ends_with("; a model of unnamed classes gets names by `import --class-names`"), "{said}");
        refused(&["eight", "1"], &["0", "1"]);
    }

    #[test]
    fn classes_that_are_taken_as_they_are_have_the_same_names_in_the_same_order_or_are_told_one_by_one() {
        let names = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
        let told = |classes: &str, model: &str| {
            DataSet::new("w", image_set(1, 1, 1, &[0, 1]), image_set(1, 1, 1, &[]), names(classes))
                .in_order(&names(model))
        };
        for (data, model) in [("a b", "a b"), ("0 1 2", "0 1"), ("01 02", "1 2")] {
            assert_eq!(told(data, model), None, "{data}, {model}");
        }
        for (data, model) in [("a b", "b a"), ("3 5", "0 1"), ("0 1", "3 5"), ("a b", "b c")] {
            let (said, pair) = (told(data, model).unwrap(), format!("{}={}", &data[..1], &model[..1]));
            assert!(said.starts_with("the classes of w are not called as the model's are: matched in order"), "{said}");
            assert!(said.contains(&pair), "{said}");
        }
        assert!(told("eight five", "0 1").unwrap().starts_with("the model's classes are numbers and those of w are"));
    }

    #[test]
    fn classes_that_are_matched_in_their_order_are_told_one_by_one() {
        let names = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
        let told = |classes: &str, model: &str| {
            let classes = names(classes);
            let labels: Vec<u32> = (0..classes.len() as u32).collect();
            DataSet::new("w", image_set(1, 1, 1, &labels), image_set(1, 1, 1, &[]), classes)
                .matched_in_order(&names(model))
        };
        let by_words = told("eight five four", "0 1 2").unwrap();
        assert!(by_words.starts_with("the model's classes are numbers and those of w are names"), "{by_words}");
        assert!(by_words.contains("matched in order, 0=eight, 1=five, 2=four. If"), "{by_words}");
        let by_numbers = told("0 1", "cat dog eel").unwrap();
        assert!(by_numbers.starts_with("the classes of w are numbers and the model's are names"), "{by_numbers}");
        assert!(by_numbers.contains("matched in order, 0=cat, 1=dog. If"), "{by_numbers}");
        let many: Vec<String> = ('a'..='p').map(String::from).collect();
        let numbers: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        assert!(told(&many.join(" "), &numbers.join(" ")).unwrap().contains("10=k, 11=l and 4 more. If"));
        // Matched by name, or not at all.
        for (data, model) in [("0 1", "0 1 2"), ("b a", "a b"), ("cat dog", "0 1 2"), ("cat dog", "eel fox")] {
            assert_eq!(told(data, model), None, "{data}, {model}");
        }
    }

    #[test]
    fn classes_that_no_image_shows_need_no_class_of_the_model() {
        let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        let set = |train: &[u32], test: &[u32]| {
            DataSet::new("set", image_set(1, 1, 1, train), image_set(1, 1, 1, test), numbers(0..4))
        };
        // Labels from 1 on in a table make a class 0 without images.
        let known = set(&[1, 2, 3], &[3, 1]).with_classes(numbers(1..4)).unwrap();
        assert_eq!((known.train.labels, known.test.labels), (vec![0, 1, 2], vec![2, 0]));
        assert_eq!((known.train.classes, known.class_names), (3, numbers(1..4)));
        let refused = set(&[1, 3], &[2]).with_classes(numbers(2..5)).unwrap_err().to_string();
        assert!(refused.contains("the data has the classes 1, 2, 3, but the model knows 2, 3, 4"), "{refused}");
        assert!(set(&[1, 2, 3], &[0]).with_classes(numbers(1..4)).is_err(), "one that only a test image shows");
    }

    #[test]
    fn classes_of_equal_numbers_are_the_same_with_or_without_zeros_before_them() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let labels = |own: &[&str], model: &[&str]| {
            let set = DataSet::new("set", image_set(1, 1, 1, &[1, 2]), image_set(1, 1, 1, &[2]), names(own));
            assert_eq!(set.matched_in_order(&names(model)), None, "{own:?}, {model:?}");
            set.with_classes(names(model)).ok().map(|set| set.train.labels)
        };
        // Folders 01 and 02, and what IDX files say of them: there is a class 0 without images.
        assert_eq!(labels(&["0", "1", "2"], &["01", "02"]), Some(vec![0, 1]));
        assert_eq!(labels(&["08", "09", "10"], &["8", "10", "9"]), Some(vec![2, 1]));
        // Which of the two classes would it be?
        assert_eq!(labels(&["0", "1", "2"], &["02", "2", "1"]), Some(vec![2, 1]), "as they are called");
        assert_eq!(labels(&["0", "1", "2"], &["01", "1", "02"]), None);
        assert_eq!(labels(&["0", "01", "2"], &["1", "2", "ten"]), None, "where some are words, names count");
    }

    #[test]
    fn a_set_made_in_memory_whose_parts_do_not_fit_each_other_is_refused_with_what_is_wrong() {
        let names = |count: usize| (0..count).map(|class| class.to_string()).collect::<Vec<_>>();
        let (train, test) = (image_set(2, 3, 1, &[0, 1, 2]), image_set(2, 3, 1, &[2]));
        let set = |train: &ImageSet, test: &ImageSet| DataSet::new("made", train.clone(), test.clone(), names(3));
        let wide = |set: &ImageSet, channels| ImageSet {
            channels,
            images: vec![0; set.len() * 6 * channels].into(),
            ..set.clone()
        };
        let of = |set: &ImageSet, labels: &[u32]| ImageSet { labels: labels.to_vec(), ..set.clone() };
        let many = |set: &ImageSet| ImageSet { classes: MAX_CLASSES + 1, ..set.clone() };
        let all = ImageSet { classes: 3, ..test.clone() };
        for fits in [set(&train, &all), set(&train, &ImageSet::default()), set(&train, &all.select(&[]))] {
            assert!(fits.check().is_ok(), "{fits:?}");
        }
        let tall = ImageSet { height: 3, width: 2, ..all.clone() };
        for (wrong, said) in [
            (set(&train.select(&[]), &all), "no images to train on"),
            (set(&of(&train, &[0, 1]), &all), "training images: 18 bytes are not those of 2 images of 2x3x1"),
            (set(&of(&train, &[0, 1, 2, 0]), &all), "training images: 18 bytes are not those of 4 images"),
            (set(&of(&train, &[0, 3, 2]), &all), "training images: label 1 is 3; expected one below 3"),
            (set(&wide(&train, 5), &wide(&all, 5)), "training images: 2x3x5 is no size"),
            (set(&many(&train), &all), "training images: there are 65537 classes"),
            (set(&train, &of(&all, &[0, 1])), "test images: 6 bytes are not those of 2 images"),
            (set(&train, &of(&all, &[7])), "test images: label 0 is 7"),
            (set(&train, &tall), "test images are 3x2x1 of 3 classes, its training images 2x3x1 of 3 classes"),
            (set(&train, &many(&all)), "test images are 2x3x1 of 65537 classes"),
            (DataSet { class_names: names(2), ..set(&train, &all) }, "2 names were given for 3 classes"),
        ] {
            let refused = wrong.check().unwrap_err().to_string();
            assert!(refused.starts_with("made: ") && refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn half_black_half_white_has_mean_and_deviation_one_half() {
        let mut set = image_set(1, 2, 1, &[0, 0]);
        set.images = vec![0, 255, 255, 0].into();
        assert_eq!(set.mean_std(), (0.5, 0.5));
    }

    #[test]
    fn white_images_beyond_one_chunk_do_not_overflow_the_sums() {
        let mut set = image_set(300, 300, 1, &[0, 1]);
        set.images.fill(255);
        assert_eq!(set.mean_std(), (1.0, 0.0));
    }

    #[test]
    fn an_empty_set_has_mean_and_deviation_zero() {
        assert_eq!(image_set(2, 2, 1, &[]).mean_std(), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn mean_and_deviation_agree_with_two_passes_in_f64(
            pixels in prop::collection::vec(any::<u8>(), 1..2000),
        ) {
            let mut set = image_set(1, 1, 1, &vec![0; pixels.len()]);
            let scaled: Vec<f64> = pixels.iter().map(|&p| f64::from(p) / 255.0).collect();
            set.images = pixels.into();
            let n = scaled.len() as f64;
            let mean = scaled.iter().sum::<f64>() / n;
            let std = (scaled.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            let (m, s) = set.mean_std();
            prop_assert!((f64::from(m) - mean).abs() < 1e-6);
            prop_assert!((f64::from(s) - std).abs() < 1e-6);
        }
    }
}
