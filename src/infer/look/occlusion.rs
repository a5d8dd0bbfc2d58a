//! What the network no longer believes when a part of the picture is covered.

use super::{InferError, Look, softmax};

/// The most patches that a picture is covered with, one after another: some seconds of work.
const MAX_PATCHES: usize = 4096;

impl Look {
    /// By how much the probability of `class` falls when a square of `patch` pixels a side is covered with black: for
    /// each pixel, `[h * w]`, the mean over the patches that covered it. Patches are `stride` pixels apart, the last
    /// ones against the lower and right edges. Pixels whose patches held nothing but black are zero. Negative where the
    /// class gains.
    ///
    /// # Errors
    /// A picture of another size, a class that does not exist, patches that do not fit, leave pixels out or number more
    /// than a few thousand, and device errors.
    pub fn occlusion(
        &mut self,
        picture: &[u8],
        class: usize,
        patch: usize,
        stride: usize,
    ) -> Result<Vec<f32>, InferError> {
        let [h, w, _] = self.input();
        self.check_bytes(picture, h)?;
        self.check_class(class)?;
        if patch == 0 || patch > h || stride == 0 || stride > patch {
            let problem = format!("is to be covered by patches of {patch}, {stride} apart");
            return Err(self.refuse(format!("{problem}; take a patch of 1 to {h} and a stride of 1 to the patch")));
        }
        let places: Vec<usize> = (0..h - patch).step_by(stride).chain([h - patch]).collect();
        let count = places.len() * places.len();
        if count > MAX_PATCHES {
            let problem = format!("would be covered {count} times, more than {MAX_PATCHES}");
            return Err(self.refuse(format!("{problem}; take a larger stride than {stride}")));
        }
        let rows = |[top, left]: [usize; 2]| (top..top + patch).map(move |y| y * w + left..y * w + left + patch);
        let patches = places.iter().flat_map(|top| places.iter().map(|left| [*top, *left]));
        // Black over black changes nothing, so the network need not be asked.
        let telling: Vec<[usize; 2]> =
            patches.clone().filter(|at| rows(*at).any(|row| picture[row].iter().any(|byte| *byte > 0))).collect();

        // The picture itself, then each of its covered copies.
        let mut probabilities = Vec::with_capacity(telling.len() + 1);
        let jobs: Vec<Option<[usize; 2]>> = [None].into_iter().chain(telling.iter().copied().map(Some)).collect();
        for jobs in jobs.chunks(self.plans.batch) {
            let mut pictures = picture.repeat(jobs.len());
            for (copy, job) in pictures.chunks_exact_mut(h * w).zip(jobs) {
                job.iter().flat_map(|at| rows(*at)).for_each(|row| copy[row].fill(0));
            }
            let (logits, _) = self.many(&pictures)?;
            probabilities.extend(logits.chunks_exact(self.class_names.len()).map(|row| softmax(row)[class]));
        }

        let (mut falls, mut covered) = (vec![0.0f64; h * w], vec![0u32; h * w]);
        patches.for_each(|at| rows(at).for_each(|row| covered[row].iter_mut().for_each(|n| *n += 1)));
        if let Some((whole, others)) = probabilities.split_first() {
            for (at, left) in telling.iter().zip(others) {
                rows(*at).for_each(|row| falls[row].iter_mut().for_each(|fall| *fall += whole - left));
            }
        }
        Ok(falls.iter().zip(&covered).map(|(fall, n)| (fall / f64::from((*n).max(1))) as f32).collect())
    }
}
