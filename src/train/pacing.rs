//! When a run pauses: how many steps, or rounds of a GAN, lie between two pauses, and when the run is saved. Wall-clock
//! time decides both, and neither affects what becomes of the run.

use std::time::{Duration, Instant};

use super::TrainError;

pub(super) struct Pacing {
    /// Steps that a row of the metrics is the mean of.
    pub window: usize,
    /// The most steps that may run at once.
    most: usize,
    /// How long a chunk of steps should take.
    aim: Duration,
    /// The longest time between checkpoints, besides those at the end of every epoch.
    between: Duration,
    /// Length of the next chunk, in windows.
    chunk: usize,
    saved: Instant,
    /// The step of the newest checkpoint, if there is one.
    pub saved_at: Option<usize>,
    /// Whether the last checkpoint is still to be written.
    is_held: bool,
}

impl Pacing {
    /// Begins with a single window, of 1 to `most` steps, and as if just saved.
    pub fn new(window: usize, most: usize, aim: Duration, between: Duration) -> Pacing {
        let (window, saved) = (window.clamp(1, most), Instant::now());
        Pacing { window, most, aim, between, chunk: 1, saved, saved_at: None, is_held: false }
    }

    /// Where the next chunk, which starts at step `at`, ends within an epoch of steps `from..to`. It is made of whole
    /// windows, so that no row of the metrics depends on where a run was stopped.
    pub fn until(&self, at: usize, from: usize, to: usize) -> usize {
        let windows_done = (at - from) / self.window;
        (from + (windows_done + self.chunk) * self.window).min(to)
    }

    /// Chooses the length of the next chunk by the time that the last one took.
    pub fn took(&mut self, time: Duration) {
        let aim = self.aim.as_secs_f64() / time.as_secs_f64().max(1e-6);
        self.chunk = ((self.chunk as f64 * aim.clamp(0.5, 2.0)) as usize).clamp(1, self.most / self.window);
    }

    /// Whether it is time for a checkpoint: when an epoch ends, and when the last one is too old.
    pub fn is_due(&self, ends: bool) -> bool {
        ends || self.saved.elapsed() > self.between
    }

    /// Notes that the checkpoint of step `at` was written, or will be the next time: where another program has one of
    /// its files open, as a spreadsheet does on Windows, the run goes on, and `say` is told once until the file is
    /// closed. A run that ends waits for that; a second Ctrl-C ends the program, and the wait.
    pub fn saved(
        &mut self,
        at: usize,
        saving: Result<(), TrainError>,
        say: impl FnOnce(String),
    ) -> Result<(), TrainError> {
        self.saved = Instant::now();
        match saving {
            Err(error @ TrainError::Held { .. }) => {
                if !std::mem::replace(&mut self.is_held, true) {
                    say(format!("{error}. Until then nothing more of the run is saved"));
                }
                Ok(())
            }
            saving => {
                saving?;
                self.is_held = false;
                self.saved_at = Some(at);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Duration = Duration::from_millis(250);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_chunk_is_whole_windows_of_its_epoch_and_ends_with_that() {
        let mut pacing = Pacing::new(10, 1024, AIM, HOUR);
        assert_eq!(pacing.until(100, 100, 145), 110);
        assert_eq!(pacing.until(103, 100, 145), 110, "a run that stopped within a window");
        assert_eq!(pacing.until(140, 100, 145), 145);
        pacing.took(Duration::ZERO);
        assert_eq!(pacing.until(100, 100, 145), 120);
        assert_eq!(pacing.until(130, 100, 145), 145);
    }

    #[test]
    fn chunks_become_twice_or_half_as_long_at_most_until_they_take_as_long_as_they_should() {
        let mut pacing = Pacing::new(10, 1024, AIM, HOUR);
        let mut next = |time: Duration| {
            pacing.took(time);
            pacing.until(0, 0, usize::MAX) / 10
        };
        assert_eq!([(); 8].map(|()| next(Duration::ZERO)), [2, 4, 8, 16, 32, 64, 102, 102], "no more than go at once");
        assert_eq!(next(AIM), 102);
        assert_eq!(next(2 * AIM), 51);
        assert_eq!([(); 7].map(|()| next(HOUR)), [25, 12, 6, 3, 1, 1, 1]);
    }

    #[test]
    fn a_window_has_a_step_at_least_and_no_more_than_go_at_once() {
        assert_eq!(Pacing::new(0, 1024, AIM, HOUR).window, 1);
        assert_eq!(Pacing::new(2000, 1024, AIM, HOUR).window, 1024);
    }

    #[test]
    fn a_checkpoint_is_due_at_the_end_of_an_epoch_and_where_the_last_is_too_old() {
        let calm = Pacing::new(1, 1, AIM, HOUR);
        assert!(!calm.is_due(false) && calm.is_due(true));
        let mut hasty = Pacing::new(1, 1, AIM, Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        assert!(hasty.is_due(false));
        hasty.between = HOUR;
        hasty.saved(7, Ok(()), |_| panic!("nobody held it")).unwrap();
        assert!(!hasty.is_due(false) && hasty.saved_at == Some(7));
    }

    #[test]
    fn a_file_that_another_program_has_open_is_told_of_and_any_other_error_ends_the_run() {
        let mut pacing = Pacing::new(1, 1, AIM, HOUR);
        let mut said = String::new();
        let held = TrainError::Held { path: "metrics.csv".into() };
        pacing.saved(1, Err(held), |text| said = text).unwrap();
        assert!(pacing.is_held && pacing.saved_at.is_none());
        assert!(said.contains("metrics.csv: another program has it open") && said.contains("Until then"), "{said}");
        let held = TrainError::Held { path: "metrics.csv".into() };
        pacing.saved(2, Err(held), |_| panic!("it was told already")).unwrap();
        let full = TrainError::Folder { path: "runs".into(), reason: "no room".into() };
        assert!(pacing.saved(3, Err(full), |_| panic!("nobody held it")).is_err());
    }
}
