//! Ctrl-C, and the closing of the console, which ask a long command to stop where it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{files, system};

/// A signal that comes sooner after the first one is the same request: `timeout` and job schedulers signal a process
/// and then its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// The flag that is set by the first signal, and by closing the console on Windows; a signal that comes a second or
/// more later ends the program at once. Signals that the program was started to ignore are still ignored: `nohup` has it
/// outlive its terminal, and a script's `&` has Ctrl-C end the script alone.
pub fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first = None;
    let heed = move || {
        flag.store(true, Ordering::Relaxed);
        if is_impatient(&mut first, Instant::now()) {
            // This does not run in a signal handler, but in a thread that one has woken.
            let _held = files::remove_unfinished();
            std::process::exit(130);
        }
    };
    system::keeping_ignored(|| ctrlc::set_handler(heed)).context("cannot listen for Ctrl-C")?;
    system::on_close(&stop);
    Ok(stop)
}

/// Whether a signal that comes now is more than the request to stop; `first` is when the first one came.
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
