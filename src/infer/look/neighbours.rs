//! The images of a set that look most like a picture to the network: nearest in the input of its last dense layer.

use std::sync::Arc;

use super::{InferError, Look};
use crate::data::ImageSet;
use crate::models::by;
use crate::parallel::parallel_rows;

/// The most bytes of features: more would be a good part of a computer's memory for a few pictures on a screen.
const MOST: usize = 512 << 20;

/// Features of a set's images, which a [`Look`] fills in little by little.
#[derive(Clone, Debug)]
pub struct Neighbours {
    set: Arc<ImageSet>,
    /// How many pixels of the network's input a pixel of the set becomes, along each side.
    factor: usize,
    width: usize,
    /// `[done, width]`
    features: Vec<f32>,
}

impl Neighbours {
    /// An index of the set, without any images yet. Images that are smaller than the network's input by a whole factor
    /// are enlarged.
    ///
    /// # Errors
    /// If the images have any other size (the error names sizes that would do), or the features of all images would
    /// take more than 512 MB.
    pub fn begin(look: &Look, set: Arc<ImageSet>) -> Result<Neighbours, InferError> {
        let ([h, ..], sizes) = (look.input(), [set.height, set.width, set.channels]);
        if set.height != set.width || set.channels != 1 || set.height == 0 || !h.is_multiple_of(set.height) {
            let (wanted, found) = (by(&look.input()), by(&sizes));
            let problem = format!("takes images of {wanted}, but is to be compared on images of {found}");
            let remedy = "take a set of that size, or of one that divides it (`--data`)";
            return Err(look.refuse(format!("{problem}; {remedy}")));
        }
        let factor = h / set.height;
        let width = look.plans.places.features.tensor.len();
        let bytes = width.saturating_mul(set.len()).saturating_mul(size_of::<f32>());
        if bytes > MOST {
            let (megabytes, count) = (bytes >> 20, set.len());
            let problem = format!("has {width} features per image, {megabytes} MB for {count} images");
            let remedy = format!("{} MB at most are kept; choose a network whose last layer takes fewer", MOST >> 20);
            return Err(look.refuse(format!("{problem}; {remedy}")));
        }
        Ok(Neighbours { factor, width, features: Vec::new(), set })
    }

    /// Images whose features are known.
    pub fn done(&self) -> usize {
        self.features.len() / self.width.max(1)
    }

    /// Images in the set.
    pub fn total(&self) -> usize {
        self.set.len()
    }

    pub fn is_complete(&self) -> bool {
        self.done() >= self.total()
    }

    /// Adds the features of the next few images, a batch of some milliseconds, with the network that the index was
    /// begun for. Returns whether there are more to come.
    ///
    /// # Errors
    /// If `look` has another network, as far as its sizes tell, and device errors.
    pub fn advance(&mut self, look: &mut Look) -> Result<bool, InferError> {
        let [h, w, _] = look.input();
        if h != self.factor * self.set.height || look.plans.places.features.tensor.len() != self.width {
            let problem = "is not the network that this index was begun for; begin another one".into();
            return Err(look.refuse(problem));
        }
        let first = self.done();
        let end = (first + look.plans.batch).min(self.total());
        if first < end {
            let mut pictures = Vec::with_capacity((end - first) * h * w);
            (first..end).for_each(|i| enlarge(self.set.image(i), self.set.width, self.factor, &mut pictures));
            let (_, features) = look.many(&pictures)?;
            self.features.extend(features);
        }
        Ok(!self.is_complete())
    }

    /// Of the images indexed so far, the `k` whose features are nearest to the given ones (a pass's
    /// [`features`](super::Pass::features)), with their Euclidean distances, nearest first. Empty if the features have
    /// another network's width.
    pub fn nearest(&self, features: &[f32], k: usize) -> Vec<(usize, f32)> {
        let k = k.min(self.done());
        if features.len() != self.width || k == 0 {
            return Vec::new();
        }
        let mut distances = vec![0.0f32; self.done()];
        parallel_rows(
            &mut distances,
            1,
            self.width,
            #[inline(always)]
            |i, out| out[0] = squared_distance(&self.features[i * self.width..][..self.width], features),
        );
        let mut order: Vec<usize> = (0..distances.len()).collect();
        // Equal distances go in the order of the set, so that the answer is always the same.
        let nearer = |a: &usize, b: &usize| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b));
        order.select_nth_unstable_by(k - 1, nearer);
        order.truncate(k);
        order.sort_by(nearer);
        order.into_iter().map(|i| (i, distances[i].sqrt())).collect()
    }
}

/// Sixteen sums side by side, which compile to vector lanes.
#[inline(always)]
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        (0..16).for_each(|i| sums[i] += (a[i] - b[i]) * (a[i] - b[i]));
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// Appends a picture with rows of `width` pixels, each pixel enlarged to a square of side `factor`.
fn enlarge(picture: &[u8], width: usize, factor: usize, out: &mut Vec<u8>) {
    for row in picture.chunks_exact(width) {
        let start = out.len();
        out.extend(row.iter().flat_map(|byte| std::iter::repeat_n(*byte, factor)));
        let end = out.len();
        (1..factor).for_each(|_| out.extend_from_within(start..end));
    }
}
