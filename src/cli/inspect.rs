//! `inkgrad inspect`: a model's layers, and with `--plan` what a training step does on the device.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use super::numbers::{input_size, whole};
use super::terminal::{table, wrapped};
use super::{POOLED, counted, say, thousands};
use crate::data::{ImageSet, MAX_CLASSES};
use crate::graph::Store;
use crate::models::{self, Architecture, Gan, Model, ModelFile, Network, Normalization, Parameters, by};
use crate::plan::Plan;
use crate::train::gan::{GanSteps, grouped};
use crate::train::{ClassifierSteps, GanSettings, Settings, Share};

/// The largest batch that a step is planned for.
const MOST_BATCH: u32 = 1 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network or GAN, an architecture in TOML, a model file or a run's folder
    model: String,
    /// Image size, if the model leaves it open: height x width, or height x width x channels [default: 28x28x1, of the
    /// front pool 448x448x1, of a GAN what it draws]
    #[arg(long, value_name = "HxW[xC]", allow_hyphen_values = true, value_parser = input_size)]
    input: Option<[usize; 3]>,
    /// Number of classes, if the model leaves it open [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=MAX_CLASSES as u32))]
    classes: Option<usize>,
    /// Show every dispatch of a training step
    #[arg(long)]
    plan: bool,
    /// Images per step
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1..=MOST_BATCH),
        requires = "plan")]
    batch: Option<usize>,
}

impl Args {
    /// Refuses flags for what the model does not leave open.
    fn check_open(&self, input: bool, classes: bool) -> anyhow::Result<()> {
        for (flag, given, open) in
            [("--input", self.input.is_some(), input), ("--classes", self.classes.is_some(), classes)]
        {
            anyhow::ensure!(open || !given, "{flag} is for models that leave it open, and {} does not", self.model);
        }
        Ok(())
    }
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
    // What a file says about itself; shown once nothing can be refused any more.
    let mut about: Vec<String> = Vec::new();
    let (network, parameters) = if is_file {
        let file = ModelFile::open(path)?;
        args.check_open(false, false)?;
        let shown = file.metadata.iter().filter(|(key, _)| *key != "architecture" && *key != "trained");
        about.extend(shown.map(|(key, value)| wrapped(&format!("{key:20} {value}"), 21)));
        about.push(String::new());
        if file.is_gan() {
            let (image, classes) = (file.image()?, file.class_names()?.len());
            return gan(&file.gan()?, image, classes, about, &args);
        }
        file.network(&mut store, "classifier")?
    } else {
        let classes = args.classes.unwrap_or(10);
        let architecture = match models::load_any(&args.model)? {
            Model::Classifier(architecture) => *architecture,
            Model::Gan(wanted) => {
                let image = args.input.map_or_else(|| wanted.image(classes), Ok)?;
                return gan(&wanted, image, classes, about, &args);
            }
        };
        args.check_open(architecture.input.is_none(), architecture.is_classifier())?;
        let [height, width] = if args.model == models::FRONT { POOLED } else { [28, 28] };
        let input = architecture.input.or(args.input).unwrap_or([height, width, 1]);
        // A part that ends in an image, such as `pool`, has no classes.
        let classes = architecture.is_classifier().then_some(classes);
        architecture.declare(input, classes, &mut store, "classifier")?
    };
    anyhow::ensure!(
        !args.plan || network.output().len() == 1,
        "{} is not a classifier: it has no training step of its own",
        args.model
    );
    let step = match args.plan {
        true => Some(Step::plan(&network.architecture, network.image()?, network.output()[0], args.batch)?),
        false => None,
    };
    about.into_iter().for_each(say);
    layers(&network, &parameters);
    if let Some(step) = step {
        step.show();
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a file is a model whatever its name: it begins with bytes that no text has, as those of all programs do.
fn is_no_text(path: &Path) -> bool {
    // A pipe's bytes could not be read again, and a file that is named like an architecture is treated as one.
    if !path.is_file() || path.extension().is_some_and(|ending| ending == "toml") {
        return false;
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(8).read_to_end(&mut head));
    read.is_ok() && head.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

/// Both networks, below what the file says, and with `--plan` both steps.
fn gan(gan: &Gan, image: [usize; 3], classes: usize, about: Vec<String>, args: &Args) -> anyhow::Result<ExitCode> {
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
    about.into_iter().for_each(say);
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
    let mut rows = vec![
        ["layer", "", "output", "parameters", "FLOPs/image"].map(String::from),
        ["input".into(), String::new(), by(&network.input), String::new(), String::new()],
    ];
    rows.extend(network.layers().into_iter().map(|layer| {
        let [parameters, flops] = [layer.parameters, layer.flops].map(thousands);
        [layer.name, layer.describe, by(&layer.shape), parameters, flops]
    }));
    let [total, flops] = [parameters.count_trainable(), network.flops()].map(thousands);
    rows.push(["total".into(), String::new(), String::new(), total, flops]);
    say(table(&rows, [18, 38, 12, 12, 14]));
}

/// The step that `train` replays, for a set of one batch: its size does not change the step.
struct Step {
    plan: Plan,
    images: usize,
    /// Bytes on the device besides the data set.
    stored: u64,
}

impl Step {
    fn plan(
        architecture: &Architecture,
        input: [usize; 3],
        classes: usize,
        batch: Option<usize>,
    ) -> anyhow::Result<Step> {
        let mut settings = Settings::from_recipe(&architecture.name, &architecture.recipe);
        settings.batch = batch.unwrap_or(settings.batch);
        settings.epochs = 1;
        // A recipe's own may be larger.
        anyhow::ensure!(
            (1..=MOST_BATCH as usize).contains(&settings.batch),
            "--batch {} is not a number from 1 to {}",
            settings.batch,
            thousands(MOST_BATCH.into())
        );
        let (mut store, [height, width, channels]) = (Store::default(), input);
        let (network, parameters) = architecture.declare(input, classes, &mut store, "classifier")?;
        let bytes = settings.batch.saturating_mul(height * width * channels);
        anyhow::ensure!(bytes < 1 << 32, "a batch of {} such images is too large to plan", settings.batch);
        let (images, labels) = (vec![0; bytes].into(), vec![0; settings.batch]);
        let set = ImageSet { height, width, channels, classes, images, labels };
        let normalization = Normalization::UNIT;
        let classifier =
            ClassifierSteps::declare(&mut store, &network, parameters, &settings, &set, normalization, Share::WHOLE)?;
        let stored: u64 = store
            .buffers()
            .filter(|(_, name, _)| !["images", "labels", "classifier.table"].contains(name))
            .map(|(_, _, words)| words as u64 * 4)
            .sum();
        Ok(Step { plan: classifier.plan, images: settings.batch, stored })
    }

    fn show(&self) {
        dispatches(&self.plan, self.images);
        say(format_args!("stored on the device besides the data set: {}", size_text(self.stored)));
        say(wrapped(
            "a step reads nothing from the host and returns nothing to it; up to 1,024 steps run between two looks at \
             the loss,",
            0,
        ));
        say("and go to a GPU in submissions of about 100 ms");
    }
}

fn dispatches(plan: &Plan, batch: usize) {
    say(format_args!("\na training step of {}:", counted(batch as u64, "image")));
    let mut rows = vec![["      op", "output", "MFLOP", "KiB"].map(String::from)];
    rows.extend(plan.dispatches.iter().enumerate().map(|(i, dispatch)| {
        let output = dispatch.outputs.first().map(|view| view.tensor.shape.to_string()).unwrap_or_default();
        let (flops, bytes) = (dispatch.flops() as f64 / 1e6, dispatch.bytes() as f64 / 1024.0);
        [format!("{i:>4}  {}", dispatch.op.name()), output, format!("{flops:.2}"), format!("{bytes:.1}")]
    }));
    say(table(&rows, [28, 28, 10, 10]));
    let flops = plan.flops() as f64 / 1e6;
    say(format_args!("\n{} dispatches, {flops:.1} MFLOP, {} touched", plan.dispatches.len(), size_text(plan.bytes())));
    let (bytes, buffers) = (size_text(plan.scratch_bytes()), plan.scratch.len());
    say(wrapped(&format!("intermediate results: {bytes} in {buffers} buffers, shared by lifetime"), 0));
}

fn size_text(bytes: u64) -> String {
    let of = |power| bytes as f64 / 1024f64.powi(power);
    match bytes {
        ..0x10_0000 => format!("{:.1} KiB", of(1)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", of(2)),
        _ => format!("{:.1} GiB", of(3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_largest_unit_that_it_fills() {
        for (bytes, text) in [(512, "0.5 KiB"), (1_000_000, "976.6 KiB"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
