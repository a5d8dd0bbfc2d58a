//! `inkgrad bench`: how fast a network trains here.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{data, say};
use crate::device::cpu::Cpu;
use crate::device::{self, Device};
use crate::graph::Store;
use crate::infer::evaluate::Normalization;
use crate::models::{self, Parameters};
use crate::train::{Classifier, Settings};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network or an architecture in TOML
    #[arg(default_value = "cnn")]
    model: String,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Images in a step
    #[arg(long, short, value_name = "N", default_value_t = 128)]
    batch: usize,
    /// How long to measure, after a second to warm up
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// Time every dispatch of a step, on the CPU device
    #[arg(long)]
    ops: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!((0.0..=3600.0).contains(&args.seconds), "--seconds {} is not from 0 to 3600", args.seconds);
    let set = data(None)?.train;
    let architecture = models::load(&args.model)?;
    let mut settings = Settings::from_recipe(&architecture.name, &architecture.recipe);
    (settings.batch, settings.epochs, settings.schedule) = (args.batch, 1, models::ScheduleName::Constant);
    settings.check(set.len())?;
    let mut store = Store::default();
    let mut parameters = Parameters::new(&mut store, "classifier");
    let input = [set.height, set.width, set.channels];
    let network = architecture.declare(input, set.classes, &mut store, &mut parameters)?;
    let normalization = Normalization::of(&set);
    let mut classifier = Classifier::declare(&mut store, &network, parameters, &settings, &set, normalization)?;
    if args.ops {
        return ops(&classifier, &store);
    }
    let mut device = device::open(&args.device)?;
    device.allocate(&store)?;
    classifier.upload(device.as_mut(), &set)?;
    classifier.load(device.as_mut(), &classifier.initial(0))?;
    measure(&classifier, device.as_mut(), 1.0)?;
    let (steps, seconds) = measure(&classifier, device.as_mut(), args.seconds)?;
    let images = steps as f64 * args.batch as f64 / seconds;
    if args.json {
        let result = serde_json::json!({
            "model": args.model, "device": device.name(), "batch": args.batch, "images_per_second": images,
            "steps": steps, "seconds": seconds, "flops_per_step": classifier.plan.flops(),
            "dispatches_per_step": classifier.plan.dispatches.len(), "version": env!("CARGO_PKG_VERSION"),
        });
        say(result);
    } else {
        say(format_args!(
            "{} on {}, batch {}: {images:.0} images/s, {:.2} ms a step, {:.1} GFLOP/s",
            args.model,
            device.name(),
            args.batch,
            seconds / steps as f64 * 1e3,
            classifier.plan.flops() as f64 * steps as f64 / seconds / 1e9
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Trains for about `seconds`; steps done and the time they took, the last one's end included.
fn measure(classifier: &Classifier, device: &mut dyn Device, seconds: f64) -> anyhow::Result<(usize, f64)> {
    let (began, mut steps, mut chunk) = (Instant::now(), 0, 1);
    while steps == 0 || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        classifier.run(device, steps, chunk)?;
        steps += chunk;
        // Chunks as in training: a quarter of a second between two looks.
        if start.elapsed() < Duration::from_millis(250) {
            chunk = (chunk * 2).min(crate::train::classifier::RING);
        }
    }
    Ok((steps, began.elapsed().as_secs_f64()))
}

fn ops(classifier: &Classifier, store: &Store) -> anyhow::Result<ExitCode> {
    let mut device = Cpu::new();
    device.allocate(store)?;
    classifier.load(&mut device, &classifier.initial(0))?;
    let plan = device.prepare(&classifier.plan)?;
    let times = device.profile(plan, 20);
    for (dispatch, time) in classifier.plan.dispatches.iter().zip(&times) {
        let output = dispatch.outputs.first().map(|view| view.tensor.shape.to_string()).unwrap_or_default();
        let seconds = time.as_secs_f64();
        say(format_args!(
            "{:<22} {output:<24} {:>9.1} us {:>8.1} GFLOP/s {:>7.1} GB/s",
            dispatch.op.name(),
            seconds * 1e6,
            dispatch.flops() as f64 / seconds / 1e9,
            dispatch.bytes() as f64 / seconds / 1e9
        ));
    }
    let total: Duration = times.iter().sum();
    say(format_args!("{:<22} {:<24} {:>9.1} us", "all", "", total.as_secs_f64() * 1e6));
    Ok(ExitCode::SUCCESS)
}
