//! How much work goes into one submission: enough to be worth it, but never so much that a desktop's watchdog
//! (about two seconds) resets the GPU.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wgpu::SubmissionIndex;

/// How many seconds a submission should take.
const AIM: f64 = 0.1;
/// The speeds assumed for a device that nothing is known about yet: those of a slow one, a software adapter.
const SLOW_FLOPS: f64 = 5e9;
const SLOW_BYTES: f64 = 3e9;
const SLOW_DISPATCH: f64 = 30e-6;

/// A dispatch's time on a slow device, in seconds. Once something has been measured, only the proportions matter.
pub fn cost(flops: u64, bytes: u64) -> f64 {
    SLOW_DISPATCH + flops as f64 / SLOW_FLOPS + bytes as f64 / SLOW_BYTES
}

/// How much faster than [`cost`] a plan runs here, as measured.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    speed: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { speed: 1.0 }
    }
}

impl Pace {
    /// The cost that fills a submission.
    pub fn budget(self) -> f64 {
        AIM * self.speed
    }

    fn learn(&mut self, cost: f64, took: Duration, exact: bool) {
        let speed = cost / took.as_secs_f64().max(1e-6);
        // If nobody waited for the end, the time is only an upper bound.
        if exact || speed > self.speed {
            // At most four times as much at once: one lucky measurement must not lead to a reset.
            self.speed = speed.clamp(1e-3, self.speed * 4.0);
        }
    }
}

/// A submission that may still be running.
pub struct Flight {
    pub index: SubmissionIndex,
    plan: usize,
    cost: f64,
    started: Instant,
}

/// The submissions in flight, at most [`Flights::MOST`], so that the host neither starves nor floods the device.
#[derive(Default)]
pub struct Flights {
    under_way: VecDeque<Flight>,
    landings: Landings,
}

impl Flights {
    pub const MOST: usize = 2;

    pub fn start(&mut self, index: SubmissionIndex, plan: usize, cost: f64) {
        self.under_way.push_back(Flight { index, plan, cost, started: Instant::now() });
    }
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= Flights::MOST
    }
    pub fn oldest(&self) -> Option<&Flight> {
        self.under_way.front()
    }
    pub fn clear(&mut self) {
        self.under_way.clear();
    }

    /// Notes that the oldest submission is done, after a wait that began at `waited_from`.
    pub fn landed(&mut self, waited_from: Instant) -> Option<Landing> {
        let flight = self.under_way.pop_front()?;
        let (took, exact) = self.landings.note(flight.started, waited_from, Instant::now());
        Some(Landing { plan: flight.plan, cost: flight.cost, took, exact })
    }
}

/// When the last submission was done, and whether its end was waited for: otherwise it was done by then at the latest.
#[derive(Default)]
struct Landings(Option<(Instant, bool)>);

impl Landings {
    /// How long a submission took, and whether that is exact rather than only an upper bound.
    fn note(&mut self, started: Instant, waited_from: Instant, now: Instant) -> (Duration, bool) {
        let waited = now - waited_from > Duration::from_micros(500);
        // It began when it was submitted, or when the one before it was done. Where that time is not known, it took at
        // most the time since it was submitted.
        let (began, known) = match self.0 {
            Some((landed, known)) if landed > started => (if known { landed } else { started }, known),
            _ => (started, true),
        };
        self.0 = Some((now, waited));
        (now - began, waited && known)
    }
}

/// What a finished submission tells about its plan.
pub struct Landing {
    pub plan: usize,
    cost: f64,
    took: Duration,
    exact: bool,
}

impl Landing {
    pub fn teach(&self, pace: &mut Pace) {
        pace.learn(self.cost, self.took, self.exact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_grow_on_a_fast_device_by_steps_and_shrink_on_a_slow_one_at_once() {
        let mut pace = Pace::default();
        pace.learn(0.1, Duration::from_micros(100), true);
        assert_eq!(pace.budget(), 0.4);
        pace.learn(0.4, Duration::from_micros(400), true);
        assert_eq!(pace.budget(), 1.6);
        pace.learn(1.6, Duration::from_secs(16), true);
        assert!((pace.budget() - 0.01).abs() < 1e-9);
    }

    #[test]
    fn what_came_behind_a_submission_that_nobody_waited_for_is_not_taken_for_fast() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let mut landings = Landings::default();
        // One that was waited for from its start, and then the one after it.
        assert_eq!(landings.note(at(0), at(1), at(10)), (ms(10), true));
        assert_eq!(landings.note(at(1), at(10), at(20)), (ms(10), true));
        // The host was away: both were done long before it asked.
        assert_eq!(landings.note(at(21), at(500), at(500)), (ms(479), false));
        assert_eq!(landings.note(at(22), at(500), at(500)), (ms(478), false));
        // One that was submitted after everything before it was known to be done.
        assert_eq!(landings.note(at(501), at(502), at(511)), (ms(10), true));
    }

    #[test]
    fn a_wait_that_came_late_never_slows_a_plan_down() {
        let mut pace = Pace::default();
        pace.learn(0.1, Duration::from_secs(60), false);
        assert_eq!(pace.budget(), 0.1);
    }
}
