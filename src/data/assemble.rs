//! Puts parsed files together into a data set, and checks that they belong together.

use crate::data::idx::IdxImages;
use crate::data::{DataError, DataSet, ImageSet, MAX_CLASSES, Pixels};
use std::path::PathBuf;

/// One image file and its label file, parsed but not yet compared.
pub struct Part {
    pub images_path: PathBuf,
    pub images: IdxImages,
    pub labels_path: PathBuf,
    pub labels: Vec<u32>,
}

impl Part {
    /// An empty part with images of the same size: the test set where there is nothing to test on.
    pub fn none(&self) -> Part {
        Part {
            images: IdxImages { count: 0, pixels: Pixels::default(), ..self.images },
            labels: Vec::new(),
            images_path: self.images_path.clone(),
            labels_path: self.labels_path.clone(),
        }
    }
}

/// The most empty classes that a remark names one by one.
const NAMED: usize = 10;

/// Makes a data set of two parts; class names are the numbers. Classes below the largest label stay even if no training
/// image shows them, which [`empty_classes`] tells.
///
/// `classes`, where given, is the number of classes; otherwise it is the largest training label plus one, and at least
/// 2. Without any training images, which is enough to test on, it is the largest test label plus one, likewise. Errors
/// when images and labels differ in number, when the two parts have images of different sizes, or when a label is not
/// below `classes` or [`MAX_CLASSES`].
pub fn assemble(name: String, train: Part, test: Part, classes: Option<usize>) -> Result<DataSet, DataError> {
    check_counts(&train)?;
    check_counts(&test)?;
    if size(&train) != size(&test) {
        let text = |part| {
            let (height, width, channels) = size(part);
            format!("{height} x {width} x {channels}")
        };
        return Err(DataError::SizeMismatch {
            expected: text(&train),
            found: text(&test),
            train_path: train.images_path,
            test_path: test.images_path,
        });
    }
    let limit = classes.unwrap_or(MAX_CLASSES);
    let numbered = if train.labels.is_empty() { &test } else { &train };
    let largest = largest_label(numbered, limit)?;
    let classes = classes.unwrap_or((largest + 1).max(2));
    // Nothing can learn a class that no training image shows: such a label is a mistake.
    largest_label(&test, classes)?;
    let class_names = (0..classes).map(|class| class.to_string()).collect();
    Ok(DataSet::new(name, image_set(train, classes), image_set(test, classes), class_names))
}

/// A remark on classes without an image in a set to train with. One wrong label makes many of these; labels from 1 on
/// make one.
pub fn empty_classes(set: &ImageSet) -> Option<String> {
    let counts = set.counts();
    let empty: Vec<String> =
        (0..set.classes).filter(|class| counts[*class] == 0).map(|class| class.to_string()).collect();
    let last = set.classes - 1;
    let named = match empty.len() {
        0 => return None,
        1..=NAMED => format!(": {}", empty.join(", ")),
        _ => String::new(),
    };
    let alone = set.labels.iter().position(|label| *label as usize == last).filter(|_| counts[last] == 1);
    let alone = alone.map_or(String::new(), |i| format!("; only image {} has the label {last}", i + 1));
    let (count, have) = (empty.len(), if empty.len() == 1 { "has" } else { "have" });
    Some(format!("{count} of the {} classes, 0 to {last}, {have} no image to train with{named}{alone}", set.classes))
}

fn size(part: &Part) -> (usize, usize, usize) {
    let images = &part.images;
    (images.height, images.width, images.channels)
}

fn check_counts(part: &Part) -> Result<(), DataError> {
    if part.images.count == part.labels.len() {
        return Ok(());
    }
    Err(DataError::CountMismatch {
        images_path: part.images_path.clone(),
        images: part.images.count,
        labels_path: part.labels_path.clone(),
        labels: part.labels.len(),
    })
}

fn largest_label(part: &Part, classes: usize) -> Result<usize, DataError> {
    let mut largest = 0;
    for (index, &label) in part.labels.iter().enumerate() {
        if label as usize >= classes {
            return Err(DataError::LabelOutOfRange { path: part.labels_path.clone(), index, label, classes });
        }
        largest = largest.max(label as usize);
    }
    Ok(largest)
}

fn image_set(part: Part, classes: usize) -> ImageSet {
    ImageSet {
        height: part.images.height,
        width: part.images.width,
        channels: part.images.channels,
        classes,
        images: part.images.pixels,
        labels: part.labels,
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, assemble, empty_classes};
    use crate::data::idx::IdxImages;
    use crate::data::{DataError, DataSet};

    fn part(name: &str, side: usize, count: usize, labels: &[u32]) -> Part {
        Part {
            images_path: format!("{name}-images").into(),
            images: IdxImages {
                count,
                height: side,
                width: side,
                channels: 1,
                pixels: vec![0; count * side * side].into(),
            },
            labels_path: format!("{name}-labels").into(),
            labels: labels.to_vec(),
        }
    }

    fn with_labels(train: &[u32], test: &[u32], classes: Option<usize>) -> Result<DataSet, DataError> {
        let train = part("train", 2, train.len(), train);
        let test = part("test", 2, test.len(), test);
        assemble("x".into(), train, test, classes)
    }

    #[test]
    fn the_largest_training_label_gives_the_number_of_classes() {
        let set = with_labels(&[0, 4], &[1], None).unwrap();
        assert_eq!((set.train.classes, set.test.classes), (5, 5));
        assert_eq!(set.class_names, ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_test_label_above_every_training_label_is_refused() {
        let message = with_labels(&[0, 1, 2], &[0, 200], None).unwrap_err().to_string();
        assert!(
            message.starts_with("test-labels: label out of range at index 1: expected a label below 3, found 200"),
            "{message}"
        );
    }

    #[test]
    fn classes_that_no_training_image_is_of_are_told() {
        let remark = |train: &[u32]| empty_classes(&with_labels(train, &[1], None).unwrap().train);
        assert_eq!(remark(&[0, 1, 2]), None);
        assert_eq!(remark(&[1, 2, 2]).unwrap(), "1 of the 3 classes, 0 to 2, has no image to train with: 0");
        let mistyped = "298 of the 301 classes, 0 to 300, have no image to train with; only image 3 has the label 300";
        assert_eq!(remark(&[0, 1, 300, 1]).unwrap(), mistyped);
        assert_eq!(remark(&[0, 3, 3]).unwrap(), "2 of the 4 classes, 0 to 3, have no image to train with: 1, 2");
    }

    #[test]
    fn without_training_images_the_largest_test_label_gives_the_number_of_classes() {
        let set = with_labels(&[], &[7, 7], None).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.train.classes, set.test.classes), (0, 2, 8, 8));
    }

    #[test]
    fn there_are_at_least_two_classes() {
        assert_eq!(with_labels(&[0], &[0], None).unwrap().class_names.len(), 2);
    }

    #[test]
    fn a_label_beyond_the_given_classes_is_refused_with_its_index() {
        let message = with_labels(&[0, 9], &[3, 10], Some(10)).unwrap_err().to_string();
        assert!(
            message.starts_with("test-labels: label out of range at index 1: expected a label below 10, found 10"),
            "{message}"
        );
    }

    #[test]
    fn a_label_beyond_the_most_classes_is_refused() {
        assert!(with_labels(&[65_535], &[0], None).is_ok());
        assert!(with_labels(&[65_536], &[0], None).is_err());
    }

    #[test]
    fn images_and_labels_of_different_number_are_refused_with_both_counts() {
        for (counts, which) in [([3, 2], "train"), ([2, 3], "test")] {
            let [train, test] = [("train", counts[0]), ("test", counts[1])].map(|(name, n)| part(name, 2, n, &[0, 1]));
            let message = assemble("x".into(), train, test, None).unwrap_err().to_string();
            let words = format!("in {which}-labels as there are images in {which}-images (3), found 2");
            assert!(message.contains(&words), "{message}");
        }
    }

    #[test]
    fn test_images_of_another_size_are_refused_with_both_sizes() {
        let train = part("train", 2, 1, &[0]);
        let test = part("test", 3, 1, &[0]);
        let message = assemble("x".into(), train, test, None).unwrap_err().to_string();
        assert!(message.contains("2 x 2 x 1") && message.contains("3 x 3 x 1"), "{message}");
    }
}
