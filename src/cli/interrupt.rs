//! Ctrl-C, and the end of the console, which ask a long command to stop where it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{files, system};

/// What comes sooner after the first signal is the same wish: `timeout` and job schedulers signal a process and then
/// its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// The flag that the first signal sets, and the closing of a console on Windows; one that comes a second or more after
/// it ends the program at once.
pub fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first = None;
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        if is_impatient(&mut first, Instant::now()) {
            // It is no signal's handler that runs here, but a thread that was woken by one.
            let _held = files::remove_unfinished();
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    system::on_close(&stop);
    Ok(stop)
}

/// Whether a signal that comes now is more than the wish to stop; `first` is when the first one came.
fn is_impatient(first: &mut Option<Instant>, now: Instant) -> bool {
    now.duration_since(*first.get_or_insert(now)) >= ONE_WISH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_signal_that_comes_a_second_after_the_first_ends_the_program_at_once() {
        let (mut first, began) = (None, Instant::now());
        for (milliseconds, impatient) in [(0, false), (0, false), (3, false), (999, false), (1000, true), (5000, true)]
        {
            let now = began + Duration::from_millis(milliseconds);
            assert_eq!(is_impatient(&mut first, now), impatient, "after {milliseconds} ms");
        }
    }
}
