//! `inkgrad curves`: loss and accuracy of runs, in one picture.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{ensure_png, say};
use crate::report;
use crate::train::metrics::{Curves, Metrics};
use crate::train::{Folder, Settings};
use crate::words::shell;

#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs, each optionally with a name for the legend: `CPU=runs/0001-fast`
    #[arg(required = true, value_name = "[NAME=]RUN")]
    runs: Vec<String>,
    /// The picture to write; one that is there is replaced
    #[arg(long, short, value_name = "FILE", default_value = "curves.png")]
    out: PathBuf,
    /// Heading of the picture
    #[arg(long, default_value = "Training")]
    title: String,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure_png("--out", &args.out)?;
    let mut runs = Vec::new();
    for run in &args.runs {
        // A path may have a `=` in it; then it exists as it is.
        let (name, path) = match run.split_once('=') {
            Some((name, path)) if !PathBuf::from(run).exists() => {
                anyhow::ensure!(!name.trim().is_empty(), "{run}: expected a name before the =, or the folder alone");
                (name.to_string(), PathBuf::from(path))
            }
            _ => {
                let path = PathBuf::from(run);
                (path.file_name().map_or(run.clone(), |name| name.to_string_lossy().into_owned()), path)
            }
        };
        let file = path.join("metrics.csv");
        anyhow::ensure!(
            !path.join("losses.csv").exists(),
            "{0}: a GAN's run, whose curves are in {0}/curves.png",
            path.display()
        );
        let members = members(&path);
        anyhow::ensure!(
            members.is_empty() || file.exists(),
            "{}: an ensemble's run, whose members have curves: inkgrad curves {}",
            path.display(),
            members.join(" ")
        );
        let bytes = std::fs::read(&file).with_context(|| {
            format!(
                "{}: no run's metrics; expected a folder that `inkgrad train` made, like runs/0001-fast",
                file.display()
            )
        })?;
        // Bytes that are no text are part of a line that is named.
        let text = String::from_utf8_lossy(&bytes);
        let metrics = Metrics::parse(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
        // Metrics are drawn without settings too.
        let settings = Folder::open(&path).and_then(|folder| folder.settings::<Settings>());
        runs.push((name, metrics, settings.map_or(0.0, |settings| settings.label_smoothing)));
    }
    let curves = runs.iter().map(|(name, metrics, smoothing)| Curves { name, metrics, label_smoothing: *smoothing });
    report::save_png(&Metrics::picture(&args.title, &curves.collect::<Vec<_>>())?, &args.out)?;
    say(args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The folders of an ensemble's members that have curves, as a shell takes them.
fn members(run: &Path) -> Vec<String> {
    let members = (1..).map(|number| run.join(number.to_string())).take_while(|member| member.is_dir());
    let drawn = members.filter(|member| member.join("metrics.csv").exists());
    drawn.map(|member| shell(&member.to_string_lossy())).collect()
}
