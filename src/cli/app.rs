//! `inkgrad app`: the window.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::{self, Memory, Options};
use crate::device;

#[derive(clap::Args)]
pub struct Args {
    /// The classifier that reads the digits, or a generator that draws them: a trained model's name, a file or a run's
    /// folder [default: the last ones used, initially best and gan]
    model: Option<PathBuf>,
    /// Folder whose models are listed: model files, runs, and Keras and ONNX models
    #[arg(long, value_name = "DIR", default_value = "runs")]
    models: PathBuf,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(model) = &args.model {
        // A wrong name is reported where it was typed.
        app::menu::load_any(model).map_err(anyhow::Error::msg)?;
    }
    // The window opens the device again, in a thread for each network that reads.
    let (choice, _) = super::trusted(device::find(&args.device)?, &args.device)?;
    let options = Options { choice, model: args.model, models: args.models, memory: Memory::of_user() };
    let closed = app::run(options, super::interrupt::listen()?).map_err(|problem| {
        log::info!("no window: {problem}");
        let problem = match (SCREEN_IS_NAMED, has_display()) {
            (true, false) => "there is no display, as neither DISPLAY nor WAYLAND_DISPLAY is set",
            // The message of the window's libraries then names files of the machine that they were built on.
            (true, true) if problem.contains(".rs:") => {
                "the display that DISPLAY or WAYLAND_DISPLAY names does not open; RUST_LOG=info tells more"
            }
            _ => problem.trim_end_matches('.'),
        };
        let remote = if SCREEN_IS_NAMED { "; over ssh, `ssh -X` brings the window to you" } else { "" };
        anyhow::anyhow!(
            "no window can be opened: {problem}. These work without one: `inkgrad classify FILES`, `inkgrad inspect \
             MODEL` and `inkgrad generate`{remote}"
        )
    })?;
    if let Some(problem) = closed.settings {
        super::note(format_args!("warning: the window's settings were not saved: {problem}"));
    }
    anyhow::ensure!(closed.lost.is_empty(), closed.lost.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// Whether a variable names the screen that a window opens on, as with X11 and Wayland. Other systems have just one.
const SCREEN_IS_NAMED: bool = !cfg!(any(windows, target_os = "macos"));

/// Whether such a variable is set.
fn has_display() -> bool {
    let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"].into_iter().any(given)
}
