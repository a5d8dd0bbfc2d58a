//! `inkgrad bench`: how fast a network trains here, and how fast it classifies or draws.

mod peak;
mod subject;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::numbers::positive;
use super::precision::{asked_for, fit};
use super::{ensure_network, say, say_json, trusted};
use crate::data::mnist;
use crate::device::{self, Choice, Device};
use crate::models::{self, Model};
use crate::train::Precision;
pub use subject::Subject;

/// Seconds of steps that are not measured: caches fill, clocks rise.
const WARM_UP: f64 = 1.0;

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network or GAN, or an architecture in TOML
    #[arg(default_value = "cnn")]
    model: String,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Images per step [default: 128, of a GAN what its recipe says; with --infer 256, of a GAN 250]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = positive)]
    batch: Option<usize>,
    /// Seconds to measure, after one of warm-up; 0 measures only the first step, without warm-up
    #[arg(long, value_name = "S", default_value_t = 5.0, allow_negative_numbers = true, value_parser = seconds)]
    seconds: f64,
    /// Classify images already on the device, or draw them with a GAN, instead of training
    #[arg(long)]
    infer: bool,
    /// Precision of the activations and their gradients in a classifier's training step on a GPU
    #[arg(long, value_name = "BITS", value_enum, default_value = "f32")]
    precision: Precision,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Time every dispatch of a step by itself, and compare it with the device's peak arithmetic speed and with a copy
    /// too large for any cache
    #[arg(long)]
    ops: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected a number from 0 to 3600".into())
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure_network(&args.model)?;
    let model = models::load_any(&args.model)?;
    let precision = args.precision;
    if precision.is_halved() {
        anyhow::ensure!(!args.infer, "--precision {precision} is for training; leave it or --infer out");
        anyhow::ensure!(matches!(model, Model::Classifier(_)), "--precision {precision} does not apply to a GAN");
    }
    let choice = fit(device::find(&args.device)?, precision)?;
    let mut subject = Subject::new(&model, mnist::embedded()?.train, args.batch, args.infer, args.precision)?;
    if args.ops {
        return ops(&args, choice, &mut subject);
    }
    let wanted = asked_for(&args.device, precision, std::slice::from_ref(&choice));
    let (_, mut device) = trusted(choice, &wanted)?;
    subject.start(device.as_mut())?;
    let Measured { steps, seconds, first_loss, last_loss } =
        measure_warm(&mut subject, device.as_mut(), WARM_UP, args.seconds)?;
    let images = (steps * subject.images) as f64 / seconds;
    if args.json {
        let mut result = about(&args, &subject);
        result["device"] = json!(device.name());
        result["images_per_second"] = json!(images);
        result["steps"] = json!(steps);
        result["seconds"] = json!(seconds);
        if !args.infer {
            result["first_loss"] = json!(first_loss);
            result["last_loss"] = json!(last_loss);
        }
        say_json(&result)?;
    } else {
        say(format_args!(
            "{}{} on {}, batch {}: {images:.0} images/s, {:.2} ms a step, {:.1} GFLOP/s",
            args.model,
            if args.infer { ", inference" } else { "" },
            device.name(),
            subject.images,
            seconds / steps as f64 * 1e3,
            subject.flops() as f64 * steps as f64 / seconds / 1e9
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known about a step before it runs.
fn about(args: &Args, subject: &Subject) -> serde_json::Value {
    json!({
        "model": args.model, "mode": if args.infer { "infer" } else { "train" }, "batch": subject.images,
        "precision": args.precision.to_string(),
        "parameters": subject.parameters, "flops_per_step": subject.flops(), "bytes_per_step": subject.bytes(),
        "dispatches_per_step": subject.dispatches(), "version": env!("CARGO_PKG_VERSION"),
    })
}

struct Measured {
    steps: usize,
    seconds: f64,
    /// The loss of the first step, and the mean over the last steps that were run together; 0 in inference.
    first_loss: f32,
    last_loss: f32,
}

/// Runs for about `warm_up` seconds and measures the `seconds` after that; with 0 of these, the first step alone. The
/// first loss is that of the first step of all.
fn measure_warm(
    subject: &mut Subject,
    device: &mut dyn Device,
    warm_up: f64,
    seconds: f64,
) -> anyhow::Result<Measured> {
    if seconds == 0.0 {
        return measure(subject, device, seconds);
    }
    let Measured { first_loss, .. } = measure(subject, device, warm_up)?;
    Ok(Measured { first_loss, ..measure(subject, device, seconds)? })
}

/// Runs for about `seconds`, the last step's end included.
fn measure(subject: &mut Subject, device: &mut dyn Device, seconds: f64) -> anyhow::Result<Measured> {
    let (mut steps, mut chunk, mut first_loss, mut last_loss) = (0, 1, None, 0.0);
    let began = Instant::now();
    while steps == 0 || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        let losses = subject.run(device, chunk)?;
        first_loss = first_loss.or(losses.first().copied());
        last_loss = losses.iter().sum::<f32>() / losses.len().max(1) as f32;
        steps += chunk;
        // Chunks as in training: a quarter of a second between reads of the result.
        if start.elapsed() < Duration::from_millis(250) {
            chunk = (chunk * 2).min(subject.most_steps);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measured { steps, seconds, first_loss: first_loss.unwrap_or_default(), last_loss })
}

/// Lists every dispatch of a step with the shortest time that it took.
fn ops(args: &Args, choice: Choice, subject: &mut Subject) -> anyhow::Result<ExitCode> {
    let (_, mut device) = trusted(choice, &args.device)?;
    let is_cpu = device.name().starts_with("CPU (");
    let peak = peak::measure(device.as_mut(), is_cpu)?;
    if !args.json {
        let what = if is_cpu { "multiply-adds in registers" } else { "a product of matrices" };
        let (flops, bytes) = (peak.flops / 1e9, peak.bytes / 1e9);
        say(format_args!("{}: {what} {flops:.0} GFLOP/s, a copy {bytes:.1} GB/s", device.name()));
        say(
            "share: of that, in sums or in memory, whichever is more. It may be above 100 %: an op's numbers may fit\n\
             in a cache, which the copy is too large for, and tiles make some convolutions do with fewer sums\n",
        );
    }
    subject.start(device.as_mut())?;
    let mut rows = Vec::new();
    for (name, plan, runs) in &subject.plans {
        if !name.is_empty() && !args.json {
            say(format_args!("{name}:"));
        }
        let prepared = device.prepare(plan)?;
        // Long steps vary little.
        let times = if plan.flops() > 10_000_000_000 { 3 } else { 20 };
        let times = device.profile(prepared, times)?;
        for (dispatch, time) in plan.dispatches.iter().zip(&times) {
            let output = dispatch.outputs.first().map(|view| view.tensor.shape.to_string()).unwrap_or_default();
            let (seconds, op) = (time.as_secs_f64(), dispatch.op.name());
            let (flops, bytes) = (dispatch.flops(), dispatch.bytes());
            let share = peak.share(flops, bytes, seconds.max(1e-9));
            if args.json {
                rows.push(json!({
                    "plan": name, "runs": runs, "op": op, "output": output, "seconds": seconds, "flops": flops,
                    "bytes": bytes, "share": share,
                }));
                continue;
            }
            say(format_args!(
                "{op:<22} {output:<24} {:>9.1} us {:>8.1} GFLOP/s {:>7.1} GB/s {:>4.0} %",
                seconds * 1e6,
                flops as f64 / seconds / 1e9,
                bytes as f64 / seconds / 1e9,
                share * 100.0
            ));
        }
        let total: Duration = times.iter().sum();
        if !args.json {
            say(format_args!("{:<22} {:<24} {:>9.1} us", "all", "", total.as_secs_f64() * 1e6));
        }
    }
    if args.json {
        let mut result = about(args, subject);
        result["device"] = json!(device.name());
        result["peak_flops"] = json!(peak.flops);
        result["peak_bytes"] = json!(peak.bytes);
        result["ops"] = json!(rows);
        say_json(&result)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;

    #[test]
    fn the_first_loss_is_that_of_the_first_step_of_all_also_after_a_warm_up() {
        let model = models::load_any("dense").unwrap();
        let few = mnist::embedded().unwrap().train.select(&(0..64).collect::<Vec<_>>());
        // Each measurement ends with its first step.
        let losses = |seconds: f64| {
            let mut subject = Subject::new(&model, few.clone(), Some(16), false, Precision::F32).unwrap();
            let mut device = Cpu::new();
            subject.start(&mut device).unwrap();
            let Measured { steps, first_loss, last_loss, .. } =
                measure_warm(&mut subject, &mut device, 0.0, seconds).unwrap();
            assert_eq!(steps, 1);
            [first_loss, last_loss]
        };
        let ([first, only], [warm, second]) = (losses(0.0), losses(1e-9));
        assert_eq!([only, warm], [first; 2]);
        assert_ne!(second, first);
    }
}
