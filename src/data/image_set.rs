//! Images of one size with their labels, and what can be told of their pixels.

use std::fmt;

use super::{ImageSize, MAX_CHANNELS, MAX_CLASSES, Pixels};
use crate::ops::Window;

/// The most images that are looked at to learn what all are like.
const LOOKED_AT: usize = 1000;

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
    pub(super) fn size(&self) -> ImageSize {
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

    /// Some of the images, spread over the set: all of a small one.
    pub(super) fn spread(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let count = self.len().min(LOOKED_AT);
        (0..count).map(move |i| self.image(i * self.len() / count))
    }

    /// The grey level of the paper that the images are on: the median of the outermost pixels of a sample of them, if
    /// that is light, else 0, which is black. Coloured images count as on black.
    pub fn background(&self) -> u8 {
        // Where light begins, as `pictures::is_prepared` has it.
        const LIGHT: u8 = 128;
        if self.channels != 1 {
            return 0;
        }
        let mut counts = [0usize; 256];
        for image in self.spread() {
            for (row, line) in image.chunks(self.width.max(1)).enumerate() {
                let is_whole = row == 0 || row + 1 == self.height;
                let step = if is_whole { 1 } else { (self.width - 1).max(1) };
                line.iter().step_by(step).for_each(|byte| counts[usize::from(*byte)] += 1);
            }
        }
        let (all, mut below) = (counts.iter().sum::<usize>(), 0);
        let median = (0..=u8::MAX).find(|level| {
            below += counts[usize::from(*level)];
            2 * below >= all
        });
        median.filter(|level| *level >= LIGHT).unwrap_or(0)
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

    #[test]
    fn the_background_of_light_images_is_the_median_of_their_borders_and_of_others_black() {
        let background = |images: &[u8], channels: usize| {
            let labels = vec![0; images.len() / 9 / channels];
            ImageSet { images: images.to_vec().into(), ..image_set(3, 3, channels, &labels) }.background()
        };
        // Ink that touches the border, and a middle that does not count.
        let paper = [240, 243, 243, 243, 0, 9, 255, 243, 243];
        assert_eq!(background(&paper, 1), 243);
        assert_eq!(background(&[&[0; 18][..], &paper].concat(), 1), 0, "most are dark");
        assert_eq!(background(&[&[0; 9][..], &[255; 18]].concat(), 1), 255, "most are light");
        assert_eq!(background(&[127; 9], 1), 0, "as dark as prepared pictures may be");
        assert_eq!(background(&[], 1), 0);
        assert_eq!(background(&[255; 27], 3), 0, "colours");
        let row = ImageSet { images: vec![200, 0, 210].into(), ..image_set(1, 3, 1, &[0]) };
        assert_eq!(row.background(), 200, "all of one row is border");
        let column = ImageSet { images: vec![200, 0, 210].into(), ..image_set(3, 1, 1, &[0]) };
        assert_eq!(column.background(), 200, "all of one column is border");
    }

    #[test]
    fn mean_and_deviation_of_an_extended_set_are_those_of_all_its_images() {
        let window = Window { top: 1, left: 2, height: 2, width: 2 };
        for channels in [1, 3] {
            let mut set = image_set(4, 5, channels, &[0, 1]);
            set.images.iter_mut().enumerate().for_each(|(i, pixel)| *pixel = (i * i % 251) as u8);
            let mut images = Vec::new();
            for (i, place) in (0..2).flat_map(|i| (0..window.places([4, 5])).map(move |place| (i, place))) {
                let mut image = vec![0; set.image_len()];
                set.placed(i, window, place, &mut image);
                images.extend(image);
            }
            let labels = vec![0; images.len() / set.image_len()];
            let extended = ImageSet { images: images.into(), labels, ..set };
            assert_eq!(set.mean_std_extended(window), extended.mean_std(), "{channels} channels");
        }
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
