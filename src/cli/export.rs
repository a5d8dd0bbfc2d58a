//! `inkgrad export`: a model for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::outputs::{ensure_free, format_of, write_out};
use super::{say, thousands};
use crate::graph::Store;
use crate::interchange::{onnx, pytorch};
use crate::models::ModelFile;

#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A classifier or generator: a shipped model's name, a model file, or a run's folder, for its best model
    model: PathBuf,
    /// The file to write: .onnx, or .safetensors for a classifier's plain tensors; a generator goes to ONNX only
    out: PathBuf,
    /// Format to write, if the file's ending does not say
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Overwrite OUT if it exists
    #[arg(long)]
    force: bool,
}

const ABOUT: &str = "\
ONNX: a classifier takes `image` [N, channels, height, width], float32 pixels from 0 to 1, not normalized, and returns \
`logits` and `probabilities` [N, classes]. A generator takes `noise` [N, width] and `label` [N], int64, and returns \
`image`. N can be any number. Colours are in the order red, green, blue. The classes' names are in the metadata, as \
`class_names`.

Plain safetensors: tensors as in a PyTorch module of the same layers, kernels [out, in, height, width], dense weights \
[out, in]. No tensor normalizes pixels: feed the module (x - mean) / std, where x is pixel / 255. Both numbers are \
printed, and stored in the file's metadata as `mean` and `std`, beside `class_names`; `inkgrad import` finds them \
there. What PyTorch's layers do otherwise by default is printed too: the epsilon of batch norm (in the metadata as \
well, as `bn1.eps`), the slope of a leaky relu, and padding that differs between the sides.";

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Onnx,
    Safetensors,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let model = ModelFile::open(&args.model)?;
    let endings = [("onnx", Format::Onnx), ("safetensors", Format::Safetensors)];
    let format = format_of(&args.out, args.format, &endings)?.with_context(|| {
        let out = args.out.display();
        format!("{out}: its ending does not say what to write; expected .onnx or .safetensors, or --format")
    })?;
    let is_same =
        std::fs::canonicalize(&args.out).is_ok_and(|out| std::fs::canonicalize(&model.name).is_ok_and(|p| p == out));
    anyhow::ensure!(!is_same, "{}: is the model itself; export to another file", args.out.display());
    ensure_free(&args.out, args.force)?;
    let bytes = match format {
        Format::Onnx => onnx::export(&model)?,
        Format::Safetensors => pytorch::export(&model)?,
    };
    let (out, size) = (args.out.display(), thousands(bytes.len() as u64));
    write_out(&args.out, &bytes, args.force)?;
    say(format_args!("{out}: {size} bytes"));
    if let (Format::Safetensors, Some(mean), Some(std)) =
        (format, model.metadata.get("mean"), model.metadata.get("std"))
    {
        say(format_args!(
            "the network takes what it was trained on: pixel / 255 is normalized by (x - mean) / std, with mean {mean} \
             and std {std}"
        ));
    }
    if format == Format::Safetensors {
        let (network, _) = model.network(&mut Store::default(), "classifier")?;
        for told in pytorch::differences(&network) {
            say(format_args!("needed in the PyTorch module: {told}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
