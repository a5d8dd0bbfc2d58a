//! Where a step lies in the epochs of its run.

use super::TrainError;

/// Epochs that are passed through in batches, one a step. Batches run on from epoch to epoch: the one that ends an epoch
/// may contain images of the next. It still counts as the epoch's end, where the epoch is validated, so that nothing is
/// recorded beyond the last one. A GAN's steps are its rounds, each with the batches of all steps of its discriminator.
#[derive(Clone, Copy, Debug)]
pub struct Epochs {
    /// Images in an epoch, above 0.
    pub images: usize,
    /// Images in a step, above 0.
    pub batch: usize,
    /// Epochs in the run.
    pub count: usize,
}

/// The most steps of a run: their rates, four numbers each, then take no more than the 128 MiB that WebGPU guarantees
/// for a buffer.
const MOST_STEPS: usize = 1 << 23;

impl Epochs {
    /// Steps until so many epochs are done, which is also the first step of the next one.
    pub fn start(&self, epoch: usize) -> usize {
        (epoch * self.images).div_ceil(self.batch)
    }

    /// Steps of the whole run.
    pub fn total(&self) -> usize {
        self.start(self.count)
    }

    /// The first step of an epoch, counted from 0, and that of the next one.
    pub fn bounds(&self, epoch: usize) -> (usize, usize) {
        (self.start(epoch), self.start(epoch + 1).min(self.total()))
    }

    /// Whole epochs done after `step` steps. The last step may extend into an epoch that does not exist.
    pub fn done(&self, step: usize) -> usize {
        (step * self.batch / self.images).min(self.count)
    }

    /// The epoch, counted from 1, of the step that follows `step` steps; after the last, the last epoch.
    pub fn next(&self, step: usize) -> usize {
        (step * self.batch / self.images + 1).min(self.count)
    }

    /// Epochs done after `step` steps, with their fraction.
    pub fn at(&self, step: usize) -> f64 {
        let seen = step * self.batch;
        let whole = seen % self.images < self.batch;
        let epoch = if whole { (seen / self.images) as f64 } else { seen as f64 / self.images as f64 };
        epoch.min(self.count as f64)
    }

    /// Refuses a run that is longer than a device can count or has rates for.
    ///
    /// # Errors
    /// [`TrainError::Setting`], with the most epochs that would do.
    pub fn check(&self) -> Result<(), TrainError> {
        let &Epochs { images, batch, count } = self;
        let wrong = |wanted: String| Err(TrainError::setting("epochs", count, wanted));
        // Positions in the shuffled stream of all epochs are 32-bit on the device.
        let positions = (count as u64).saturating_add(1).saturating_mul(images as u64);
        if positions >= u64::from(u32::MAX) {
            // The last batch may go on into one more epoch, which is counted too.
            return wrong(match (u64::from(u32::MAX) / images as u64).saturating_sub(1) {
                0 => format!(
                    "0 for {images} images, which are too many for even one: train on fewer, or do not extend them"
                ),
                most => format!("at most {most} for {images} images"),
            });
        }
        if self.total() > MOST_STEPS {
            let most = MOST_STEPS * batch / images;
            return wrong(format!(
                "at most {most}, which is {MOST_STEPS} steps of {batch} images, unless --batch is larger"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_that_an_epoch_ends_with_is_its_end_and_others_are_within_it() {
        let at = |images, batch, count| {
            let epochs = Epochs { images, batch, count };
            (0..=epochs.total()).map(|step| epochs.at(step)).collect::<Vec<_>>()
        };
        assert_eq!(at(154, 128, 3), [0.0, 128.0 / 154.0, 1.0, 2.0, 3.0]);
        assert_eq!(at(100, 50, 2), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(at(40, 100, 6), [0.0, 2.0, 5.0, 6.0], "steps of more images than an epoch has");
    }

    #[test]
    fn every_step_lies_within_the_bounds_of_its_epoch_and_the_last_epoch_ends_with_the_run() {
        for (images, batch, count) in [(154, 128, 3), (100, 50, 2), (7, 7, 1), (10, 3, 4)] {
            let epochs = Epochs { images, batch, count };
            for step in 0..epochs.total() {
                let epoch = epochs.done(step);
                let (from, to) = epochs.bounds(epoch);
                assert!((from..to).contains(&step), "{epochs:?} {step}");
                assert_eq!(epochs.next(step), epoch + 1);
                assert_eq!(epochs.at(step).floor(), epoch as f64);
            }
            assert_eq!((epochs.done(epochs.total()), epochs.next(epochs.total())), (count, count));
            assert_eq!(epochs.bounds(count - 1).1, epochs.total());
        }
    }

    #[test]
    fn a_step_that_takes_more_images_than_an_epoch_has_ends_several_at_once() {
        let epochs = Epochs { images: 40, batch: 100, count: 6 };
        assert_eq!((0..=3).map(|step| epochs.done(step)).collect::<Vec<_>>(), [0, 2, 5, 6]);
    }

    #[test]
    fn a_set_of_which_not_even_one_epoch_can_be_counted_is_refused_with_what_to_do() {
        let check = |count, images| Epochs { images, batch: 1 << 20, count }.check();
        let refused = |count, images| check(count, images).unwrap_err().to_string();
        let said = refused(3, 2_000_000_000);
        assert_eq!(said, "--epochs is 3; it must be at most 1 for 2000000000 images");
        for images in [3_000_000_000, 60_000_000 * 77, usize::MAX] {
            let said = refused(1, images);
            assert!(said.contains("too many for even one: train on fewer"), "{said}");
        }
        assert!(check(1, 2_000_000_000).is_ok());
    }
}
