//! Learning rates over a run, worked out before it starts: a table with a row for each step, resident on the device.

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

/// One-cycle after Smith and Topin (2017, arXiv 1708.07120), in the form of PyTorch's `OneCycleLR`: a cosine rise
/// from peak / 25 over the first 30 % of the steps, a cosine fall to peak / 250,000 over the rest.
const RISE: f64 = 0.3;
const FIRST: f64 = 25.0;
const LAST: f64 = 250_000.0;
/// A step schedule divides the rate by ten after each third of the run.
const DROP: f64 = 0.1;

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
