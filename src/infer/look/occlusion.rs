//! What the network no longer believes when a part of the picture is covered.

use std::ops::Range;

use super::{InferError, Look, softmax};

/// The most patches that a picture is covered with, one after another: some seconds of work.
const MAX_PATCHES: usize = 4096;

/// A picture whose parts are covered one after another; a [`Look`] asks its network about a few copies at a time.
pub struct Occlusion {
    picture: Vec<u8>,
    /// Pixels along a side of the picture, and of a patch.
    side: usize,
    patch: usize,
    class: usize,
    /// Row and column where patches begin, and of which the network is asked: black over black changes nothing.
    patches: Vec<[usize; 2]>,
    telling: Vec<[usize; 2]>,
    /// Of the class, for the picture itself and then for its copies, as far as they are known.
    probabilities: Vec<f64>,
}

impl Occlusion {
    /// A square of `patch` pixels a side is to cover the picture with black. Patches are `stride` pixels apart, the
    /// last ones against the lower and right edges.
    ///
    /// # Errors
    /// A picture of another size, a class that does not exist, patches that do not fit, leave pixels out or number more
    /// than a few thousand.
    pub fn begin(
        look: &Look,
        picture: &[u8],
        class: usize,
        patch: usize,
        stride: usize,
    ) -> Result<Occlusion, InferError> {
        let [side, ..] = look.input();
        look.check_bytes(picture, side)?;
        look.check_class(class)?;
        if patch == 0 || patch > side || stride == 0 || stride > patch {
            let problem = format!("is to be covered by patches of {patch}, {stride} apart");
            return Err(look.refuse(format!("{problem}; take a patch of 1 to {side} and a stride of 1 to the patch")));
        }
        let places: Vec<usize> = (0..side - patch).step_by(stride).chain([side - patch]).collect();
        let count = places.len() * places.len();
        if count > MAX_PATCHES {
            let problem = format!("would be covered {count} times, more than {MAX_PATCHES}");
            return Err(look.refuse(format!("{problem}; take a larger stride than {stride}")));
        }
        let patches: Vec<[usize; 2]> = places.iter().flat_map(|top| places.iter().map(|left| [*top, *left])).collect();
        let is_telling = |at: &[usize; 2]| rows(*at, patch, side).any(|row| picture[row].iter().any(|byte| *byte > 0));
        let telling = patches.iter().copied().filter(is_telling).collect();
        Ok(Occlusion { picture: picture.to_vec(), side, patch, class, patches, telling, probabilities: Vec::new() })
    }

    /// Asks about the next few copies, a batch of some milliseconds, the network that the pass was begun for. Returns
    /// whether there are more to come.
    ///
    /// # Errors
    /// If `look` has another network, as far as its sizes tell, and device errors.
    pub fn advance(&mut self, look: &mut Look) -> Result<bool, InferError> {
        look.check_bytes(&self.picture, look.input()[0])?;
        look.check_class(self.class)?;
        let done = self.probabilities.len();
        // The picture itself comes first.
        let count = (self.telling.len() + 1 - done).min(look.plans.batch);
        let mut pictures = self.picture.repeat(count);
        for (copy, job) in pictures.chunks_exact_mut(self.picture.len()).zip(done..) {
            let covered = job.checked_sub(1).map(|i| rows(self.telling[i], self.patch, self.side));
            covered.into_iter().flatten().for_each(|row| copy[row].fill(0));
        }
        if count > 0 {
            let (logits, _) = look.many(&pictures)?;
            let rows = logits.chunks_exact(look.class_names.len());
            self.probabilities.extend(rows.map(|row| softmax(row)[self.class]));
        }
        Ok(self.probabilities.len() <= self.telling.len())
    }

    /// By how much the probability of the class falls: for each pixel, `[h * w]`, the mean over the patches that covered
    /// it. Pixels whose patches held nothing but black are zero. Negative where the class gains.
    /// Only whole once [`Occlusion::advance`] has returned false.
    pub fn falls(&self) -> Vec<f32> {
        let (mut falls, mut covered) = (vec![0.0f64; self.picture.len()], vec![0u32; self.picture.len()]);
        let rows = |at: &[usize; 2]| rows(*at, self.patch, self.side);
        self.patches.iter().flat_map(rows).for_each(|row| covered[row].iter_mut().for_each(|n| *n += 1));
        if let Some((whole, others)) = self.probabilities.split_first() {
            for (at, left) in self.telling.iter().zip(others) {
                rows(at).for_each(|row| falls[row].iter_mut().for_each(|fall| *fall += whole - left));
            }
        }
        falls.iter().zip(&covered).map(|(fall, n)| (fall / f64::from((*n).max(1))) as f32).collect()
    }
}

impl Look {
    /// [`Occlusion::falls`] of the whole picture.
    ///
    /// # Errors
    /// Those of [`Occlusion::begin`], and device errors.
    pub fn occlusion(
        &mut self,
        picture: &[u8],
        class: usize,
        patch: usize,
        stride: usize,
    ) -> Result<Vec<f32>, InferError> {
        let mut pass = Occlusion::begin(self, picture, class, patch, stride)?;
        while pass.advance(self)? {}
        Ok(pass.falls())
    }
}

/// The pixels of a patch, row by row.
fn rows([top, left]: [usize; 2], patch: usize, side: usize) -> impl Iterator<Item = Range<usize>> {
    (top..top + patch).map(move |y| y * side + left..y * side + left + patch)
}
