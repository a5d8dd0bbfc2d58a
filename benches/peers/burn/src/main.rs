//! inkgrad's networks in burn: on its CPU backend `flex`, or on its wgpu backend. See compare.py beside this folder.
//!
//!     cargo build --release
//!     target/release/peer-burn cnn --seconds 10

mod digits;
mod layers;
mod network;
mod work;

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use digits::Digits;
use serde_json::json;
use work::{Classifier, Gan, Inference, Work};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Train,
    Infer,
    Finish,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Variant {
    Flex,
    Wgpu,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum On {
    Cpu,
    Gpu,
    /// A driver in software: lavapipe.
    Software,
}

#[derive(Parser)]
struct Args {
    network: String,
    #[arg(long, value_enum, default_value = "train")]
    mode: Mode,
    #[arg(long, value_enum, default_value = "flex")]
    variant: Variant,
    #[arg(long)]
    batch: Option<usize>,
    /// 0: the first step alone, as it comes
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Of `flex`; RAYON_NUM_THREADS says it to the backend
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, value_enum, default_value = "cpu")]
    device: On,
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../data/mnist"))]
    data: PathBuf,
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../models"))]
    models: PathBuf,
    /// For the other peers' sake
    #[arg(long)]
    inkgrad: Option<PathBuf>,
}

/// Ends where there is nothing to measure, with the status by which compare.py knows it.
fn cannot(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(77);
}

/// Steps, seconds and the last loss of about `seconds` of work, as `inkgrad bench` measures.
fn measure(work: &mut dyn Work, seconds: f64) -> (usize, f64, f32) {
    let (mut steps, mut chunk, mut loss, began) = (0, 1, f32::NAN, Instant::now());
    while steps == 0 || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        loss = work.run(chunk);
        steps += chunk;
        if start.elapsed().as_millis() < 250 {
            chunk = (chunk * 2).min(64);
        }
    }
    (steps, began.elapsed().as_secs_f64(), loss)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let device = match (args.variant, args.device) {
        (Variant::Flex, _) => Device::flex(),
        #[cfg(feature = "wgpu")]
        (Variant::Wgpu, On::Software | On::Cpu) => Device::wgpu(burn::tensor::DeviceKind::Cpu),
        #[cfg(feature = "wgpu")]
        (Variant::Wgpu, On::Gpu) => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(not(feature = "wgpu"))]
        (Variant::Wgpu, _) => cannot("peer-burn was built without its wgpu backend"),
    };
    device.seed(1);
    let text: toml::Table = std::fs::read_to_string(args.models.join(format!("{}.toml", args.network)))?.parse()?;
    let mut train = Digits::read(&args.data, "train")?;
    if args.device == On::Software {
        // lavapipe binds 128 MiB at most; as f32 all digits are more. A step costs the same.
        train.shorten(40_000);
    }
    let whole = args.mode == Mode::Finish;
    let mut steps = 0;
    let mut work: Box<dyn Work> = if args.mode == Mode::Infer {
        Box::new(Inference::new(&text, args.batch, &train, &device)?)
    } else if text.contains_key("generator") {
        Box::new(Gan::new(&text, args.batch, &train, &device)?)
    } else {
        let classifier = Classifier::new(&text, args.batch, whole, &train, &device)?;
        steps = classifier.steps;
        Box::new(classifier)
    };
    drop(train);
    let (variant, mode) = (args.variant.to_possible_value(), args.mode.to_possible_value());
    let mut report = json!({
        "peer": "burn", "version": "0.22.1", "variant": variant.as_ref().map(|v| v.get_name()),
        "network": args.network, "mode": mode.as_ref().map(|m| m.get_name()), "batch": work.images(),
        "threads": args.threads, "parameters": work.parameters(),
    });
    if whole {
        work.run(steps);
        report["accuracy"] = json!(work.accuracy(&Digits::read(&args.data, "t10k")?));
    } else {
        let first = work.run(1);
        let mut last = first;
        if args.seconds > 0.0 {
            measure(work.as_mut(), 1.0);
            let (steps, seconds, loss) = measure(work.as_mut(), args.seconds);
            last = loss;
            report["images_per_second"] = json!((steps * work.images()) as f64 / seconds);
            report["steps"] = json!(steps);
            report["seconds"] = json!(seconds);
        }
        if args.mode == Mode::Train {
            report["first_loss"] = json!(first);
            report["last_loss"] = json!(last);
        }
    }
    println!("{report}");
    Ok(())
}
