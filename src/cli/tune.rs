//! `inkgrad tune`: finds the fastest layout of each op on a GPU, and remembers it for later runs.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::bench::Subject;
use super::numbers::positive;
use super::{counted, ensure_network, say};
use crate::cache;
use crate::check;
use crate::data::mnist;
use crate::device::gpu::{Gpu, Tuned};
use crate::device::{self, Choice};
use crate::models::{self, BUILTIN_GANS, BUILTINS, FRONT, Model};
use crate::plan::Plan;
use crate::train::{Precision, Settings};

#[derive(clap::Args)]
pub struct Args {
    /// Networks and GANs to take the ops from, built-in or in TOML [default: all that are built in]
    #[arg(value_name = "NETWORK")]
    networks: Vec<String>,
    /// auto, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Images per training step [default: what each network's recipe says]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    batch: Option<usize>,
    /// Forget the layouts found on this device, and measure nothing
    #[arg(long, conflicts_with_all = ["networks", "batch"])]
    forget: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.networks.iter().try_for_each(|network| ensure_network(network))?;
    let mut gpu = open(&args.device)?;
    let name = gpu.info().to_string();
    if args.forget {
        let layouts = counted(gpu.layouts() as u64, "layout");
        gpu.forget_layouts().with_context(|| format!("{name}: nothing can be forgotten in {}", place()))?;
        say(format_args!("{name}: {layouts} forgotten"));
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::ensure!(gpu.info().timestamps, "{name} has no clock that shaders' times can be read from");
    let builtin = BUILTINS.iter().chain(BUILTIN_GANS).map(|(name, _)| *name).filter(|name| *name != FRONT);
    let networks = if args.networks.is_empty() { builtin.map(str::to_owned).collect() } else { args.networks };
    let models = networks.iter().map(|name| models::load_any(name)).collect::<Result<Vec<_>, _>>()?;
    let set = mnist::embedded()?.train;
    // Before measuring for minutes.
    keep(&gpu)?;
    say(format_args!("{name}, driver {}", gpu.info().driver));
    for (network, model) in networks.iter().zip(&models) {
        for infer in [false, true] {
            let batch = if infer { None } else { args.batch.or(recipe_batch(model)) };
            let mut subject = Subject::new(model, set.clone(), batch, infer, Precision::F32)?;
            subject.start(&mut gpu)?;
            let mut found = Vec::new();
            for (_, plan, _) in &subject.plans {
                found.extend(gpu.tune(plan)?.into_iter().map(|tuned| (plan, tuned)));
            }
            report(network, infer, subject.images, &found);
        }
        // Whoever stops it keeps what was found until then.
        keep(&gpu)?;
    }
    let layouts = counted(gpu.layouts() as u64, "layout");
    say(format_args!("{layouts} found to be faster here: {}", keep(&gpu)?.display()));
    Ok(ExitCode::SUCCESS)
}

fn keep(gpu: &Gpu) -> anyhow::Result<&Path> {
    let refused = || format!("the results cannot be kept in {} (INKGRAD_CACHE names another folder)", place());
    let kept = gpu.keep_layouts().with_context(refused)?;
    kept.context("there is no cache folder to keep the results in; name one with INKGRAD_CACHE")
}

/// The folder where layouts are remembered.
fn place() -> String {
    cache::folder().map_or("no cache folder".into(), |cache| cache.display().to_string())
}

/// The GPU that is meant, after checking that it computes correctly.
fn open(wanted: &str) -> anyhow::Result<Gpu> {
    let choice = check::start::open(device::find(wanted)?, wanted, &mut |text| super::note(text))?.0;
    match choice {
        Choice::Gpu(adapter) => Ok(Gpu::open(&adapter)?),
        Choice::Cpu => anyhow::bail!("the CPU device has one layout of each op; name a GPU from `inkgrad devices`"),
    }
}

/// The batch that a recipe sets; a GAN's settings hold their own.
fn recipe_batch(model: &Model) -> Option<usize> {
    match model {
        Model::Classifier(network) => Some(Settings::from_recipe(&network.name, &network.recipe).batch),
        Model::Gan(_) => None,
    }
}

/// Prints a line for the network, and one for each kernel with a new layout.
fn report(network: &str, infer: bool, images: usize, found: &[(&Plan, Tuned)]) {
    let total = |time: fn(&Tuned) -> Duration| -> f64 {
        found.iter().map(|(_, tuned)| time(tuned).as_secs_f64() * 1e3 * tuned.dispatches as f64).sum()
    };
    let mode = if infer { "inference" } else { "training" };
    say(format_args!(
        "{network}, {mode}, batch {images}: {} of {} kernels made faster, all dispatches {:.3} ms, were {:.3} ms",
        found.iter().filter(|(_, tuned)| tuned.changed()).count(),
        found.len(),
        total(|tuned| tuned.taken),
        total(|tuned| tuned.own),
    ));
    for (plan, tuned) in found {
        let dispatch = &plan.dispatches[tuned.dispatch];
        let shape = dispatch.outputs.first().map(|view| view.tensor.shape.to_string()).unwrap_or_default();
        let (op, own, taken) = (dispatch.op.name(), tuned.own.as_secs_f64() * 1e6, tuned.taken.as_secs_f64() * 1e6);
        if tuned.changed() {
            say(format_args!("  {op:<22} {shape:<24} {taken:>9.1} us, was {own:.1}: {:.2} times as fast", own / taken));
        }
        if tuned.wrong > 0 {
            super::note(format_args!(
                "warning: wrong results on this device, so not used: {} of {op} {shape}",
                counted(tuned.wrong as u64, "faster layout")
            ));
        }
    }
}
