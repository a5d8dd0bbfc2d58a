//! `inkgrad data`: a look at a data set before training.

use std::process::ExitCode;

mod extend;
mod preview;
mod stats;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Draw a sheet of what training sees: originals, with augmented versions beside each
    Preview(preview::Args),
    /// Count images by class, measure pixels and ink, and draw the mean picture of each class
    Stats(stats::Args),
    /// Write the training set out 77-fold: the inner 22 x 18 pixels of each image at all 7 x 11 places
    Extend(extend::Args),
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Preview(args) => preview::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Extend(args) => extend::run(args),
    }
}
