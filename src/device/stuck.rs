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
    let number = [0, 2, 3, 130].into_iter().find(|number| ExitCode::from(*number) == code).unwrap_or(1);
    system::end(number)
}
