//! The current step on the way from A to B, and how it plays there and back.

/// Steps per second.
const PACE: f64 = 12.0;

#[derive(Default)]
pub struct Way {
    step: usize,
    /// While it plays: the time at which it would have been at A.
    since: Option<f64>,
}

impl Way {
    /// The step, of `steps`, that is shown at time `now`.
    pub fn step(&mut self, now: f64, steps: usize) -> usize {
        let last = steps.saturating_sub(1);
        if let Some(since) = self.since {
            // There and back again; `as` turns a negative value into 0.
            let passed = ((now - since) * PACE) as usize % (2 * last).max(1);
            self.step = if passed > last { 2 * last - passed } else { passed };
        }
        self.step = self.step.min(last);
        self.step
    }

    pub fn plays(&self) -> bool {
        self.since.is_some()
    }

    /// Seconds until the next step.
    pub fn pause(&self) -> f64 {
        1.0 / PACE
    }

    pub fn play(&mut self, now: f64) {
        self.since = Some(now - self.step as f64 / PACE);
    }

    pub fn stop(&mut self) {
        self.since = None;
    }

    pub fn go(&mut self, step: usize) {
        self.stop();
        self.step = step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_there_and_back_and_stays_where_it_is_stopped() {
        let mut way = Way::default();
        way.go(1);
        way.play(100.0);
        let shown: Vec<usize> = (0..8).map(|i| way.step(100.01 + f64::from(i) / PACE, 4)).collect();
        assert_eq!(shown, [1, 2, 3, 2, 1, 0, 1, 2]);
        way.stop();
        assert_eq!((way.step(200.0, 4), way.step(200.0, 2), way.step(0.0, 0)), (2, 1, 0));
        way.play(5.0);
        assert_eq!(way.step(5.0, 1), 0);
    }
}
