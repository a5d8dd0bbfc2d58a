//! `inkgrad import`: a model of another program.

use std::path::PathBuf;
use std::process::ExitCode;

use super::numbers::{input_size, number};
use super::outputs::{ensure_free, ensure_safetensors, write_out};
use super::{note, say, thousands};
use crate::interchange::{self, Scale, Wishes};
use crate::models;
use crate::words::shell;

#[derive(clap::Args)]
pub struct Args {
    /// A Keras model (.h5, .keras), an ONNX model or, with --architecture, safetensors with PyTorch's names
    file: PathBuf,
    /// The model file to write, which every other command takes: .safetensors
    out: PathBuf,
    /// Layers for a file that holds only tensors: a built-in network, an architecture in TOML, or those of a model file
    /// or a run's folder. A layer with a name (`name = "up"`) takes the tensors of that name; the others are matched by
    /// size and by the numbers in names
    #[arg(long, value_name = "MODEL")]
    architecture: Option<String>,
    /// Class names in the order of the outputs, separated by commas [default: what the file's metadata say, else 0, 1,
    /// 2, ...]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    class_names: Option<Vec<String>>,
    /// Range of pixel values that the network takes [default: 0..255 where it divides by itself, else 0..1]
    #[arg(long, value_name = "RANGE", value_parser = range, conflicts_with_all = ["mean", "std"])]
    scale: Option<Scale>,
    /// Mean subtracted from pixels of 0..1 before the network saw them [default: what the metadata of safetensors say]
    #[arg(long, value_name = "X", requires = "std", allow_negative_numbers = true, value_parser = one_for_all)]
    mean: Option<f32>,
    /// Standard deviation by which they were then divided
    #[arg(long, value_name = "X", requires = "mean", allow_negative_numbers = true, value_parser = one_for_all)]
    std: Option<f32>,
    /// Image size, if the file does not say: height x width, or height x width x channels
    #[arg(long, value_name = "HxW[xC]", allow_hyphen_values = true, value_parser = input_size)]
    input: Option<[usize; 3]>,
    /// Overwrite OUT if it exists
    #[arg(long)]
    force: bool,
}

fn range(text: &str) -> Result<Scale, String> {
    match text {
        "0..1" => Ok(Scale::UNIT),
        "0..255" => Ok(Scale::BYTES),
        _ => Err("expected 0..1 or 0..255; for anything else there are --mean and --std".into()),
    }
}

/// A number that holds for all channels.
fn one_for_all(text: &str) -> Result<f32, String> {
    if text.contains(',') {
        return Err("expected one number, like 0.5: all channels have the same mean and deviation here".into());
    }
    number(text)
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let out = args.out.display();
    ensure_safetensors(&args.out)?;
    ensure_free(&args.out, args.force)?;
    // People write blanks after commas.
    let class_names: Option<Vec<String>> =
        args.class_names.map(|names| names.iter().map(|name| name.trim().to_owned()).collect());
    if let Some(empty) = class_names.as_ref().and_then(|names| names.iter().position(String::is_empty)) {
        anyhow::bail!("--class-names: name {} is empty; every class needs one", empty + 1);
    }
    let architecture = args.architecture.as_deref().map(models::load_with_models).transpose()?;
    let given = args.mean.zip(args.std).map(|(mean, std)| Scale { mean: mean.into(), std: std.into() });
    let wishes = Wishes { class_names, scale: args.scale.or(given), input: args.input };
    let imported = interchange::import(&args.file, architecture.as_ref(), &wishes)?;

    let bytes = imported.file.to_bytes(&args.out)?;
    write_out(&args.out, &bytes, args.force)?;
    imported.notes.iter().for_each(note);
    let count = imported.file.tensors.iter().map(|tensor| tensor.words.len() as u64).sum();
    let quoted = shell(&args.out.to_string_lossy());
    say(format_args!("{out}: {} numbers; `inkgrad inspect {quoted}` shows its layers", thousands(count)));
    Ok(ExitCode::SUCCESS)
}
