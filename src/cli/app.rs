//! `inkgrad app`: the window.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::{self, Memory, Options};
use crate::device;

#[derive(clap::Args)]
pub struct Args {
    /// The classifier that reads: a trained model's name, a file or a run's folder [default: the one that was open
    /// last, at first best]
    model: Option<PathBuf>,
    /// Folder whose models are listed: files, runs, and models of Keras and ONNX
    #[arg(long, value_name = "DIR", default_value = "runs")]
    models: PathBuf,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(model) = &args.model {
        // A wrong name is said where it was typed.
        app::menu::load(model).map_err(anyhow::Error::msg)?;
    }
    // The window opens it again, in a thread for each network that reads.
    let (choice, _) = super::trusted(device::find(&args.device)?, &args.device)?;
    let options = Options { choice, model: args.model, models: args.models, memory: Memory::of_user() };
    app::run(options).map_err(|problem| {
        anyhow::anyhow!(
            "no window can be opened: {problem}. Without one there are `inkgrad classify FILES`, `inkgrad inspect MODEL` \
             and `inkgrad generate`; over ssh, `ssh -X` brings the window to you"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
