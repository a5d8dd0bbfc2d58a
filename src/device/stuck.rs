//! The end of a process in which a device never answers. The driver's own clean-up at exit would meet threads that are
//! still at work, and crash.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::system;

static STUCK: AtomicBool = AtomicBool::new(false);

/// Notes that a device was given up.
pub(super) fn give_up() {
    STUCK.store(true, Ordering::Relaxed);
}

/// The code to end with. If a device was given up, the process ends here, without any clean-up.
pub fn leave(code: ExitCode) -> ExitCode {
    if !STUCK.load(Ordering::Relaxed) {
        return code;
    }
    let _ = std::io::stdout().flush();
    system::end(number(code))
}

/// What a code is made of, which it does not tell.
fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_device_is_stuck_ends_with_the_code_that_it_would_have_ended_with() {
        for code in 0..=u8::MAX {
            assert_eq!(number(ExitCode::from(code)), code);
        }
    }
}
