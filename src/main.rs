//! The command line: parses, runs one command, prints its error and ends with its code.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_device_selection();
    #[cfg(unix)]
    outlive_file_limits();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    inkgrad::device::stuck::leave(inkgrad::cli::main())
}

/// Where there is no desktop session, as in containers, Mesa's layer that puts the desktop's GPU first reports that as
/// an error each time that GPUs are enumerated. It is disabled there, unless a person uses it to choose a GPU.
#[allow(unsafe_code)]
fn quiet_device_selection() {
    let unset = |name: &str| std::env::var_os(name).is_none();
    let choices = ["NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT", "DRI_PRIME"];
    if cfg!(target_os = "linux") && unset("XDG_RUNTIME_DIR") && choices.into_iter().all(unset) {
        // SAFETY: `main` calls it first, when there is no other thread that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// A file that outgrows a limit, as batch systems set them, becomes a write error, like a full disk, rather than the
/// program's sudden end.
#[cfg(unix)]
#[allow(unsafe_code)]
fn outlive_file_limits() {
    // SAFETY: no handler is installed that could run at the wrong time, and `main` has started no thread yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
