//! MNIST, the handwritten digits, compiled into the program so that it works offline.
//!
//! Where the files come from and under what licence is in `data/mnist/README.md`.

use crate::data::assemble::{Part, assemble};
use crate::data::idx::{parse_images, parse_labels};
use crate::data::{DataError, DataSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

/// What the set is called.
pub const NAME: &str = "MNIST";
/// What identifies the training images. It tells a model that has learned from them without unpacking them.
pub const DIGEST: &str = "9e2d40e13fe8fccc";
const CLASSES: usize = 10;
/// Height, width and channels of an image.
pub const IMAGE: [usize; 3] = [28, 28, 1];

macro_rules! file {
    ($name:literal) => {
        File {
            name: concat!("built-in ", $name),
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist/", $name)),
        }
    };
}

struct File {
    name: &'static str,
    bytes: &'static [u8],
}

static TRAIN_IMAGES: File = file!("train-images-idx3-ubyte.gz");
static TRAIN_LABELS: File = file!("train-labels-idx1-ubyte.gz");
static TEST_IMAGES: File = file!("t10k-images-idx3-ubyte.gz");
static TEST_LABELS: File = file!("t10k-labels-idx1-ubyte.gz");

/// Unpacks the built-in MNIST: 60,000 training and 10,000 test images of 28 x 28 x 1, 10 classes.
///
/// Takes about a tenth of a second, as long as the training images need: they are one gzip stream, which cannot be
/// divided, and everything else goes on in parallel. Errors only when the files were damaged before the program was
/// compiled.
pub fn embedded() -> Result<DataSet, DataError> {
    let (train, test) = thread::scope(|scope| {
        let test = scope.spawn(|| part(&TEST_IMAGES, &TEST_LABELS));
        let train = part(&TRAIN_IMAGES, &TRAIN_LABELS);
        (train, test.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    assemble(NAME.into(), train?, test?, Some(CLASSES))
}

fn part(images: &File, labels: &File) -> Result<Part, DataError> {
    Ok(Part {
        images_path: images.name.into(),
        images: parse_images(images.bytes, Path::new(images.name))?,
        labels_path: labels.name.into(),
        labels: parse_labels(labels.bytes, Path::new(labels.name))?,
    })
}

#[cfg(test)]
mod tests {
    use super::embedded;
    use crate::data::{ImageSet, digest};

    fn per_class(set: &ImageSet) -> Vec<usize> {
        let mut counts = vec![0; set.classes];
        for &label in &set.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    #[test]
    fn the_built_in_set_is_mnist_as_it_was_published() {
        let set = embedded().unwrap();
        assert_eq!((set.train.len(), set.test.len()), (60_000, 10_000));
        for part in [&set.train, &set.test] {
            assert_eq!((part.height, part.width, part.channels), (28, 28, 1));
            assert_eq!(part.images.len(), part.len() * 784);
        }
        assert_eq!(set.class_names.len(), 10);
        assert_eq!(digest(&set.train), super::DIGEST);
        assert_eq!(set.train.labels[..5], [5, 0, 4, 1, 9]);
        assert_eq!(set.test.labels[..5], [7, 2, 1, 0, 4]);
        let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
        let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
        assert_eq!(per_class(&set.train), train);
        assert_eq!(per_class(&set.test), test);
        let (mean, std) = set.train.mean_std();
        assert!((mean - 0.130_660_5).abs() < 1e-6, "{mean}");
        assert!((std - 0.308_107_8).abs() < 1e-6, "{std}");
    }
}
