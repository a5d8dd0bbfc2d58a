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
mod image_set;
mod matching;
pub mod mnist;
mod numbered;
mod packed;
mod parts;
mod pixels;
mod repeats;
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
pub(crate) use parts::to_train_with;
pub(crate) use source::{are_dark, looks_prepared};

pub use error::DataError;
pub use folder::load_folder;
pub use image_set::ImageSet;
pub use numbered::Numbered;
pub use packed::{pack, send_packed};
pub use pixels::Pixels;
pub use source::{HoldOut, ImageSize, Kind, Pictures, Reading, Watch, load, load_watched};

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::image_set;

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
}
