//! Closes the window on a signal that asks the program to end, as its button does, so that all that is due is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eframe::egui::{Context, ViewportCommand, ViewportId};

/// Time between two looks at the flag, which do not wake an idle window.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at the flag in a thread of its own and closes the window once it is set.
///
/// # Errors
/// The system's error, if it has no thread left.
pub fn close_once_set(stop: Arc<AtomicBool>, ctx: Context) -> std::io::Result<()> {
    let work = move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        ctx.send_viewport_cmd_to(ViewportId::ROOT, ViewportCommand::Close);
        // The frame that the command itself asks for may have begun before the command was there.
        ctx.request_repaint_of(ViewportId::ROOT);
    };
    std::thread::Builder::new().name("stop".into()).spawn(work).map(|_| ())
}

#[cfg(test)]
mod tests {
    use eframe::egui::RawInput;

    use super::*;

    #[test]
    fn the_window_is_asked_to_close_once_the_flag_is_set_and_not_before() {
        let (ctx, stop) = (Context::default(), Arc::new(AtomicBool::new(false)));
        close_once_set(Arc::clone(&stop), ctx.clone()).unwrap();
        let closes = || {
            let seen = ctx.run_ui(RawInput::default(), |_| {});
            seen.viewport_output[&ViewportId::ROOT].commands.contains(&ViewportCommand::Close)
        };
        assert!(!closes());
        stop.store(true, Ordering::Relaxed);
        let comes = (0..600).any(|_| {
            std::thread::sleep(LOOK / 10);
            closes()
        });
        assert!(comes);
    }
}
