//! Learning rates over a run, worked out before it starts: a table with a row for each step, resident on the device.

use super::TrainError;
use crate::models::ScheduleName;

/// What a schedule is made from.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub name: ScheduleName,
    /// The highest rate it reaches.
    pub peak: f64,
    /// All steps of the run.
    pub steps: usize,
    /// Steps over which the rate first rises from zero; one-cycle has its own rise and adds none.
    pub warmup: usize,
}

/// The most steps of a run: their rates, four numbers each, then take no more than the 128 MiB that WebGPU guarantees
/// for a buffer.
const MOST_STEPS: usize = 1 << 23;

/// One-cycle after Smith and Topin (2017, arXiv 1708.07120), in the form of PyTorch's `OneCycleLR`: a cosine rise
/// from peak / 25 over the first 30 % of the steps, a cosine fall to peak / 250,000 over the rest.
const RISE: f64 = 0.3;
const FIRST: f64 = 25.0;
const LAST: f64 = 250_000.0;
/// A step schedule divides the rate by ten after each third of the run.
const DROP: f64 = 0.1;

/// Epochs of `images` images done after so many batches, with their fraction. The batch that ends an epoch may contain
/// images of the next one. It still counts as the epoch's end, where the epoch is validated, so that nothing is
/// recorded beyond the last epoch.
///
/// # Panics
/// If there are no images.
pub fn epochs_behind(batches: usize, batch: usize, images: usize) -> f64 {
    let seen = batches * batch;
    let into = seen % images;
    if into < batch { (seen / images) as f64 } else { seen as f64 / images as f64 }
}

/// Refuses a run of so many epochs of `images` images in batches that is longer than a device can count or has rates
/// for.
///
/// # Errors
/// [`TrainError::Setting`], with the most epochs that would do.
///
/// # Panics
/// If a batch has no images.
pub fn check_length(epochs: usize, images: usize, batch: usize) -> Result<(), TrainError> {
    let wrong = |wanted: String| Err(TrainError::setting("epochs", epochs, wanted));
    // Positions in the shuffled stream of all epochs are 32-bit on the device.
    let positions = (epochs as u64).saturating_add(1).saturating_mul(images as u64);
    if positions >= u64::from(u32::MAX) {
        // The last batch may go on into one more epoch, which is counted too.
        return wrong(match (u64::from(u32::MAX) / images as u64).saturating_sub(1) {
            0 => {
                format!("0 for {images} images, which are too many for even one: train on fewer, or do not extend them")
            }
            most => format!("at most {most} for {images} images"),
        });
    }
    if (epochs * images).div_ceil(batch) > MOST_STEPS {
        let most = MOST_STEPS * batch / images;
        return wrong(format!(
            "at most {most}, which is {MOST_STEPS} steps of {batch} images, unless --batch is larger"
        ));
    }
    Ok(())
}

impl Schedule {
    /// The rate of every step, in order.
    pub fn rates(&self) -> Vec<f64> {
        (0..self.steps).map(|step| self.rate(step)).collect()
    }

    fn rate(&self, step: usize) -> f64 {
        if self.name == ScheduleName::OneCycle {
            return self.one_cycle(step);
        }
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        // From 0 at the first step after the warm-up to 1 at the last.
        let left = self.steps - self.warmup;
        let progress = (step - self.warmup) as f64 / left.saturating_sub(1).max(1) as f64;
        match self.name {
            ScheduleName::Constant | ScheduleName::OneCycle => self.peak,
            ScheduleName::Step => self.peak * DROP.powi(((step - self.warmup) * 3 / left.max(1)) as i32),
            ScheduleName::Cosine => between(self.peak, 0.0, progress),
        }
    }

    fn one_cycle(&self, step: usize) -> f64 {
        let last = self.steps.saturating_sub(1).max(1) as f64;
        let (at, top) = (step as f64, (RISE * self.steps as f64 - 1.0).clamp(0.0, last));
        if at <= top && top > 0.0 {
            between(self.peak / FIRST, self.peak, at / top)
        } else {
            between(self.peak, self.peak / LAST, (at - top) / (last - top).max(1.0))
        }
    }
}

/// Half a cosine from one value to another.
fn between(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(name: ScheduleName, steps: usize, warmup: usize) -> Vec<f64> {
        Schedule { name, peak: 0.01, steps, warmup }.rates()
    }

    #[test]
    fn the_batch_that_an_epoch_ends_with_is_its_end_and_others_are_within_it() {
        let epochs = |batches: std::ops::RangeInclusive<usize>, batch, images| -> Vec<f64> {
            batches.map(|n| epochs_behind(n, batch, images)).collect()
        };
        assert_eq!(epochs(0..=4, 128, 154), [0.0, 128.0 / 154.0, 1.0, 2.0, 3.0]);
        assert_eq!(epochs(0..=4, 50, 100), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(epochs(1..=2, 100, 40), [2.0, 5.0], "batches of more images than an epoch has");
    }

    #[test]
    fn a_set_of_which_not_even_one_epoch_can_be_counted_is_refused_with_what_to_do() {
        let refused = |epochs, images| check_length(epochs, images, 1 << 20).unwrap_err().to_string();
        let said = refused(3, 2_000_000_000);
        assert_eq!(said, "--epochs is 3; it must be at most 1 for 2000000000 images");
        for images in [3_000_000_000, 60_000_000 * 77, usize::MAX] {
            let said = refused(1, images);
            assert!(said.contains("too many for even one: train on fewer"), "{said}");
        }
        assert!(check_length(1, 2_000_000_000, 1 << 20).is_ok());
    }

    #[test]
    fn every_schedule_is_finite_and_never_above_its_peak_for_any_length() {
        for (_, name) in ScheduleName::ALL {
            for steps in [0, 1, 2, 3, 7, 469] {
                for warmup in [0, 1, steps / 2, steps] {
                    let rates = rates(*name, steps, warmup);
                    assert_eq!(rates.len(), steps);
                    assert!(rates.iter().all(|r| (0.0..=0.01 + 1e-12).contains(r)), "{name} {steps} {warmup}");
                }
            }
        }
    }

    #[test]
    fn warm_up_rises_to_the_peak_in_equal_steps() {
        assert_eq!(rates(ScheduleName::Constant, 6, 4), [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01]);
    }

    #[test]
    fn a_step_schedule_falls_by_ten_twice() {
        let rates = rates(ScheduleName::Step, 9, 0);
        assert!(
            rates
                .iter()
                .zip([1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }

    #[test]
    fn a_cosine_falls_from_the_peak_to_zero_at_the_last_step() {
        for (i, rate) in rates(ScheduleName::Cosine, 9, 0).into_iter().enumerate() {
            // Half of a circle, in eight steps.
            let wanted = 0.005 + 0.005 * (i as f64 * std::f64::consts::FRAC_PI_8).cos();
            assert!((rate - wanted).abs() < 1e-12, "{i}: {rate}");
        }
    }

    #[test]
    fn after_a_warm_up_a_schedule_is_that_of_the_steps_that_are_left() {
        for name in [ScheduleName::Constant, ScheduleName::Step, ScheduleName::Cosine] {
            assert_eq!(rates(name, 13, 4)[4..], rates(name, 9, 0), "{name}");
        }
    }

    #[test]
    fn one_cycle_starts_low_peaks_at_a_third_and_ends_near_zero() {
        let rates = rates(ScheduleName::OneCycle, 100, 0);
        let peak = rates.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
        assert_eq!(peak, Some(29));
        assert!((rates[0] - 0.01 / 25.0).abs() < 1e-12);
        assert!(rates[99] < 1e-6);
    }
}
