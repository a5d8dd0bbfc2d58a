//! `inkgrad ensemble`: several classifiers joined into one model that answers with their mean.

use std::path::PathBuf;
use std::process::ExitCode;

use super::outputs::{ensure_free, ensure_safetensors};
use super::{say, thousands};
use crate::models::ModelFile;
use crate::words::shell;

#[derive(clap::Args)]
pub struct Args {
    /// Two or more classifiers: names of shipped models, model files, or runs' folders
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Model file to write: .safetensors
    #[arg(long, short, value_name = "FILE", default_value = "ensemble.safetensors")]
    out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let out = &args.out;
    ensure_safetensors(out)?;
    ensure_free(out, args.force)?;
    let members = args.models.iter().map(|wanted| ModelFile::open(wanted)).collect::<Result<Vec<_>, _>>()?;
    for (i, member) in members.iter().enumerate() {
        if let Some(twin) = members[..i].iter().find(|other| *other == member) {
            let (own, other) = (member.name.display(), twin.name.display());
            anyhow::bail!("{own} is the same model as {other}, and a mean gains nothing from it; leave one out");
        }
    }
    let file = ModelFile::ensemble(&members)?;
    file.save(out)?;
    let weights: usize = file.tensors.iter().map(|tensor| tensor.shape.len()).sum();
    say(format_args!("{}: {} members, {} numbers", out.display(), members.len(), thousands(weights as u64)));
    let data = data_of(&members).map(|place| format!(" --data {}", shell(&place))).unwrap_or_default();
    say(format_args!("test it: inkgrad evaluate {}{data}", shell(&out.to_string_lossy())));
    Ok(ExitCode::SUCCESS)
}

/// Where all members have learned last, if that is one place and not the built-in MNIST.
fn data_of(members: &[ModelFile]) -> Option<String> {
    let mut places = members.iter().map(|member| member.learned().into_iter().next()?.place);
    let first = places.next()?;
    places.all(|place| place == first).then_some(first)?
}
