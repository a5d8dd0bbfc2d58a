//! `inkgrad inspect`: a model's layers, and with `--plan` what a training step is on the device.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use super::{say, thousands};
use crate::data::{ImageSet, MAX_CLASSES};
use crate::graph::Store;
use crate::models::{self, Architecture, Gan, Model, ModelFile, Network, Normalization, Parameters, by};
use crate::plan::Plan;
use crate::train::gan::{GanSteps, grouped};
use crate::train::{ClassifierSteps, GanSettings, Settings, Share};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network or GAN, an architecture in TOML, a model file or a run's folder
    model: String,
    /// Size of an image, where the model leaves it open: height x width x channels [default: 28x28x1]
    #[arg(long, value_name = "HxWxC", value_parser = size)]
    input: Option<[usize; 3]>,
    /// Classes, where the model leaves them open [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = classes)]
    classes: Option<usize>,
    /// Show every dispatch of a training step
    #[arg(long)]
    plan: bool,
    /// Images in the step
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = super::count, requires = "plan")]
    batch: Option<usize>,
}

impl Args {
    /// Refuses flags for what the model does not leave open.
    fn check_open(&self, input: bool, classes: bool) -> anyhow::Result<()> {
        for (flag, given, open) in
            [("--input", self.input.is_some(), input), ("--classes", self.classes.is_some(), classes)]
        {
            anyhow::ensure!(open || !given, "{flag} is for what a model leaves open, which {} does not", self.model);
        }
        Ok(())
    }
}

pub(super) fn size(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> =
        text.split('x').map(|n| n.parse().ok().filter(|n| (1..=1 << 16).contains(n))).collect();
    sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| "expected a size like 28x28x1".into())
}

fn classes(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_CLASSES).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MAX_CLASSES}"))
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut store = Store::default();
    let path = Path::new(&args.model);
    // A name that is both means the architecture: its trained weights are not looked at here.
    let named = |list: &[&str]| list.contains(&args.model.as_str());
    let is_architecture =
        named(&models::BUILTINS.iter().chain(models::BUILTIN_GANS).map(|(name, _)| *name).collect::<Vec<_>>());
    let is_shipped = models::SHIPPED.iter().any(|(name, _)| *name == args.model);
    let is_model = path.extension().is_some_and(|e| e == "safetensors") || models::is_foreign_name(path);
    let is_file = !is_architecture && (is_shipped || path.is_dir() || is_model || is_no_text(path));
    let (network, parameters) = if is_file {
        let (file, path) = ModelFile::open(path)?;
        args.check_open(false, false)?;
        for (key, value) in file.metadata.iter().filter(|(key, _)| *key != "architecture" && *key != "trained") {
            say(format_args!("{key:20} {value}"));
        }
        say("");
        if file.is_gan() {
            let (image, classes) = (file.image(&path)?, file.class_names(&path)?.len());
            return gan(&file.gan(&path)?, image, classes, &args);
        }
        file.network(&path, &mut store, "classifier")?
    } else {
        let (input, classes) = (args.input.unwrap_or([28, 28, 1]), args.classes.unwrap_or(10));
        let architecture = match models::load_any(&args.model)? {
            Model::Classifier(architecture) => *architecture,
            Model::Gan(wanted) => return gan(&wanted, input, classes, &args),
        };
        args.check_open(architecture.input.is_none(), architecture.is_classifier())?;
        let input = architecture.input.unwrap_or(input);
        // A part that ends in an image, such as `pool`, has no classes.
        let classes = architecture.is_classifier().then_some(classes);
        architecture.declare(input, classes, &mut store, "classifier")?
    };
    layers(&network, &parameters);
    if args.plan {
        anyhow::ensure!(
            network.output().len() == 1,
            "{} is no classifier: it has no training step of its own",
            args.model
        );
        plan(&network.architecture, network.image()?, network.output()[0], args.batch)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a file is a model whatever its name: it begins with bytes that no text has, as those of all programs do.
fn is_no_text(path: &Path) -> bool {
    // Of a pipe they could not be read again, and what is called an architecture is answered as one.
    if !path.is_file() || path.extension().is_some_and(|ending| ending == "toml") {
        return false;
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(8).read_to_end(&mut head));
    read.is_ok() && head.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

/// Both networks, and with `--plan` both steps.
fn gan(gan: &Gan, image: [usize; 3], classes: usize, args: &Args) -> anyhow::Result<ExitCode> {
    let mut settings = GanSettings::from_recipe(&gan.name, &gan.recipe);
    settings.batch = args.batch.unwrap_or(settings.batch);
    settings.epochs = 1;
    // A set of one batch: its size changes nothing that is shown.
    let [height, width, channels] = image;
    let labels = (0..settings.batch).map(|i| (i / settings.pack % classes.max(1)) as u32).collect();
    let bytes = settings.batch.saturating_mul(height * width * channels);
    anyhow::ensure!(
        (1..1 << 32).contains(&bytes) && classes <= MAX_CLASSES && classes > 0,
        "a batch of {} images of {height}x{width}x{channels} in {classes} classes cannot be planned",
        settings.batch
    );
    let set = ImageSet { height, width, channels, classes, images: vec![0; bytes].into(), labels };
    settings.check(set.len())?;
    let mut store = Store::default();
    let steps = GanSteps::declare(&mut store, gan, &settings, &grouped(&set, settings.pack, 0, 0)?)?;
    for (what, network, learner) in [
        ("generator", &steps.generator_network, &steps.generator),
        ("discriminator", &steps.discriminator_network, &steps.discriminator),
    ] {
        say(format_args!("{what}:"));
        layers(network, &learner.parameters);
        say("");
    }
    if args.plan {
        for (what, plan, _) in steps.plans() {
            say(format_args!("\nThe {what}"));
            dispatches(plan, settings.batch);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn layers(network: &Network, parameters: &Parameters) {
    say(format_args!("{:<18} {:<38} {:>12} {:>12} {:>14}", "layer", "", "output", "parameters", "FLOPs/image"));
    say(format_args!("{:<18} {:<38} {:>12}", "input", "", by(&network.input)));
    for layer in network.layers() {
        say(format_args!(
            "{:<18} {:<38} {:>12} {:>12} {:>14}",
            layer.name,
            layer.describe,
            by(&layer.shape),
            thousands(layer.parameters),
            thousands(layer.flops)
        ));
    }
    let total = parameters.count_trainable();
    say(format_args!(
        "{:<18} {:<38} {:>12} {:>12} {:>14}",
        "total",
        "",
        "",
        thousands(total),
        thousands(network.flops())
    ));
}

/// The step that `train` replays, for a set of one batch: its size does not change the step.
fn plan(architecture: &Architecture, input: [usize; 3], classes: usize, batch: Option<usize>) -> anyhow::Result<()> {
    let mut settings = Settings::from_recipe(&architecture.name, &architecture.recipe);
    settings.batch = batch.unwrap_or(settings.batch);
    settings.epochs = 1;
    anyhow::ensure!(
        (1..=1 << 20).contains(&settings.batch),
        "--batch {} is not a number from 1 to 1,048,576",
        settings.batch
    );
    let (mut store, [height, width, channels]) = (Store::default(), input);
    let (network, parameters) = architecture.declare(input, classes, &mut store, "classifier")?;
    let bytes = settings.batch.saturating_mul(height * width * channels);
    anyhow::ensure!(bytes < 1 << 32, "a batch of {} such images is too large to plan", settings.batch);
    let (images, labels) = (vec![0; bytes].into(), vec![0; settings.batch]);
    let set = ImageSet { height, width, channels, classes, images, labels };
    let normalization = Normalization { mean: 0.0, std: 1.0 };
    let classifier =
        ClassifierSteps::declare(&mut store, &network, parameters, &settings, &set, normalization, Share::WHOLE)?;
    dispatches(&classifier.plan, settings.batch);
    let stored: u64 = store
        .buffers()
        .filter(|(_, name, _)| !["images", "labels", "classifier.table"].contains(name))
        .map(|(_, _, words)| words as u64 * 4)
        .sum();
    say(format_args!("stored on the device besides the data set: {}", size_text(stored)));
    say(
        "a step reads nothing from the host and returns nothing to it; up to 1,024 steps run between two looks at the loss,\nand go to a GPU in submissions of about 100 ms",
    );
    Ok(())
}

fn dispatches(plan: &Plan, batch: usize) {
    say(format_args!(
        "\na training step of {batch} images:\n{:>4}  {:<22} {:<28} {:>10} {:>10}",
        "", "op", "output", "MFLOP", "KiB"
    ));
    for (i, dispatch) in plan.dispatches.iter().enumerate() {
        let output = dispatch.outputs.first().map(|view| view.tensor.shape.to_string()).unwrap_or_default();
        let (flops, bytes) = (dispatch.flops() as f64 / 1e6, dispatch.bytes() as f64 / 1024.0);
        say(format_args!("{i:>4}  {:<22} {output:<28} {flops:>10.2} {bytes:>10.1}", dispatch.op.name()));
    }
    let flops = plan.flops() as f64 / 1e6;
    say(format_args!("\n{} dispatches, {flops:.1} MFLOP, {} touched", plan.dispatches.len(), size_text(plan.bytes())));
    say(format_args!(
        "intermediate results: {} in {} buffers, shared by lifetime",
        size_text(plan.scratch_bytes()),
        plan.scratch.len()
    ));
}

fn size_text(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e6 { format!("{:.1} KiB", bytes / 1024.0) } else { format!("{:.1} MiB", bytes / 1024.0 / 1024.0) }
}
