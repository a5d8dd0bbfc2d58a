//! What each operating system does in its own way, where the standard library leaves it to us.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Has the system write a file to its disk. Network disks may not support this, or only a weaker form: macOS has two
/// such calls, and these disks refuse the stronger.
///
/// # Errors
/// Whatever the system reports for a disk that supports it.
pub fn sync(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        let unknown = |error: &io::Error| matches!(error.raw_os_error(), Some(code) if [libc::ENOTSUP, libc::EINVAL, libc::ENOTTY].contains(&code));
        match file.sync_all() {
            Err(error) if unknown(&error) => {}
            done => return done,
        }
        // SAFETY: the file is open for as long as it is borrowed.
        match unsafe { libc::fsync(file.as_raw_fd()) } {
            0 => Ok(()),
            _ => Some(io::Error::last_os_error()).filter(|error| !unknown(error)).map_or(Ok(()), Err),
        }
    }
    #[cfg(not(unix))]
    file.sync_all()
}

/// Whether a file could not be given this name because another program has the file of that name, or the new one, open.
/// This happens only on Windows: virus scanners and indexers let go within a moment, a spreadsheet when it is closed.
pub fn is_held(error: &io::Error, name: &Path) -> bool {
    let is_file = || name.metadata().is_ok_and(|there| there.is_file() && !there.permissions().readonly());
    match error.raw_os_error() {
        _ if !cfg!(windows) => false,
        // ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE
        Some(32 | 33 | 1224) => true,
        // ERROR_ACCESS_DENIED: older systems and other makers' disks report this instead, but folders give it too.
        Some(5) => is_file(),
        _ => false,
    }
}

/// Ends the process at once, without any clean-up: neither the standard library's nor the drivers'.
pub fn end(code: u8) -> ! {
    #[cfg(unix)]
    // SAFETY: it takes a number and does not return.
    unsafe {
        libc::_exit(code.into())
    }
    #[cfg(windows)]
    // SAFETY: it takes this process and a number; should it return, the line below ends the process.
    unsafe {
        use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
        TerminateProcess(GetCurrentProcess(), code.into());
    }
    #[cfg(not(unix))]
    std::process::exit(code.into())
}

/// Runs what sets handlers for signals, and has those ignored again that the process was started to ignore.
pub fn keeping_ignored<T>(listen: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    let ignored = {
        let mut signals = vec![libc::SIGHUP, libc::SIGINT, libc::SIGTERM];
        signals.retain(|signal| is_ignored(*signal));
        signals
    };
    let done = listen();
    #[cfg(unix)]
    for signal in ignored {
        // SAFETY: it takes numbers, and the handler that it replaces is not waited for.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    done
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: each of its fields may be zero.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: given no new action, it only writes the present one, which there is room for.
    let failed = unsafe { libc::sigaction(signal, std::ptr::null(), &mut now) };
    failed == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Sets the flag when the console is closed or the user logs off, and keeps the process alive for as long as Windows
/// then grants it, about five seconds. Elsewhere these events are signals like others.
pub fn on_close(flag: &Arc<AtomicBool>) {
    #[cfg(windows)]
    {
        use std::sync::OnceLock;
        use std::sync::atomic::Ordering;
        use std::time::Duration;

        use windows_sys::Win32::System::Console::{
            CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
        };
        use windows_sys::core::BOOL;

        static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        /// Longer than the system waits.
        const WAIT: Duration = Duration::from_secs(60);

        unsafe extern "system" fn closing(event: u32) -> BOOL {
            if let (CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT, Some(flag)) = (event, FLAG.get()) {
                flag.store(true, Ordering::Relaxed);
                // The process ends when this returns.
                std::thread::sleep(WAIT);
            }
            // Ctrl-C is left to whoever listens for it.
            0
        }
        if FLAG.set(Arc::clone(flag)).is_ok() {
            // SAFETY: the function lives as long as the program, and any thread may touch what it touches.
            unsafe { SetConsoleCtrlHandler(Some(closing), 1) };
        }
    }
    #[cfg(not(windows))]
    let _ = flag;
}

/// Whether the console was opened for this program alone, as by a double click: it then closes when the program ends.
pub fn has_own_console() -> bool {
    #[cfg(windows)]
    {
        use windows_sys::Win32::System::Console::GetConsoleProcessList;
        let mut ids = [0; 2];
        // SAFETY: it writes as many numbers as there is room for.
        unsafe { GetConsoleProcessList(ids.as_mut_ptr(), 2) == 1 }
    }
    #[cfg(not(windows))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_and_a_thing_that_cannot_be_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        sync(file.as_file()).unwrap();
        #[cfg(unix)]
        {
            sync(&File::open(std::env::temp_dir()).unwrap()).unwrap();
            // A pipe cannot be synced.
            let (reader, _writer) = io::pipe().unwrap();
            sync(&File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
        }
    }
}
