//! `inkgrad bench`: how fast a network trains here.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{data, open_device, say};
use crate::data::ImageSet;
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::graph::Store;
use crate::infer::evaluate::Normalization;
use crate::models::{self, Architecture, Gan, Model, Parameters};
use crate::plan::Plan;
use crate::train::{Classifier, GanSettings, GanSteps, Settings, gan};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network or GAN, or an architecture in TOML
    #[arg(default_value = "cnn")]
    model: String,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Images in a step [default: 128; of a GAN what its recipe says]
    #[arg(long, short, value_name = "N")]
    batch: Option<usize>,
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

/// What is measured: steps that can be run and looked into.
struct Subject {
    store: Store,
    /// Real images that a step takes.
    images: usize,
    flops: u64,
    dispatches: usize,
    plans: Vec<(&'static str, Plan)>,
    training: Training,
}

enum Training {
    Classifier(Box<Classifier>),
    Gan(Box<GanSteps>),
}

impl Training {
    fn start(&mut self, device: &mut dyn Device, set: &ImageSet) -> anyhow::Result<()> {
        match self {
            Training::Classifier(classifier) => {
                classifier.upload(device, set)?;
                classifier.load(device, &classifier.initial(0))?;
            }
            Training::Gan(steps) => {
                steps.upload(device, set)?;
                steps.load(device, &steps.initial(0))?;
            }
        }
        Ok(())
    }

    fn run(&self, device: &mut dyn Device, first: usize, count: usize) -> anyhow::Result<()> {
        match self {
            Training::Classifier(classifier) => classifier.run(device, first, count).map(drop)?,
            Training::Gan(steps) => steps.run(device, first, count).map(drop)?,
        }
        Ok(())
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!((0.0..=3600.0).contains(&args.seconds), "--seconds {} is not from 0 to 3600", args.seconds);
    let train = data(None)?.train;
    let (set, mut subject) = match models::load_any(&args.model)? {
        Model::Classifier(architecture) => {
            let subject = of_classifier(&architecture, &train, args.batch.unwrap_or(128))?;
            (train, subject)
        }
        Model::Gan(gan) => of_gan(&gan, &train, args.batch)?,
    };
    if args.ops {
        return ops(&mut subject, &set);
    }
    let mut device = open_device(&args.device)?;
    device.allocate(&subject.store)?;
    subject.training.start(device.as_mut(), &set)?;
    measure(&subject.training, device.as_mut(), 1.0)?;
    let (steps, seconds) = measure(&subject.training, device.as_mut(), args.seconds)?;
    let images = (steps * subject.images) as f64 / seconds;
    if args.json {
        let result = serde_json::json!({
            "model": args.model, "device": device.name(), "batch": subject.images, "images_per_second": images,
            "steps": steps, "seconds": seconds, "flops_per_step": subject.flops,
            "dispatches_per_step": subject.dispatches, "version": env!("CARGO_PKG_VERSION"),
        });
        say(result);
    } else {
        say(format_args!(
            "{} on {}, batch {}: {images:.0} images/s, {:.2} ms a step, {:.1} GFLOP/s",
            args.model,
            device.name(),
            subject.images,
            seconds / steps as f64 * 1e3,
            subject.flops as f64 * steps as f64 / seconds / 1e9
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn of_classifier(architecture: &Architecture, set: &ImageSet, batch: usize) -> anyhow::Result<Subject> {
    let mut settings = Settings::from_recipe(&architecture.name, &architecture.recipe);
    (settings.batch, settings.epochs, settings.schedule) = (batch, 1, models::ScheduleName::Constant);
    settings.check(set.len())?;
    let mut store = Store::default();
    let mut parameters = Parameters::new(&mut store, "classifier");
    let input = [set.height, set.width, set.channels];
    let network = architecture.declare(input, set.classes, &mut store, &mut parameters)?;
    let normalization = Normalization::of(set);
    let classifier = Classifier::declare(&mut store, &network, parameters, &settings, set, normalization)?;
    let plan = classifier.plan.clone();
    Ok(Subject {
        store,
        images: batch,
        flops: plan.flops(),
        dispatches: plan.dispatches.len(),
        plans: vec![("", plan)],
        training: Training::Classifier(Box::new(classifier)),
    })
}

/// A step is a round: the discriminator's steps and one of the generator's.
fn of_gan(gan: &Gan, train: &ImageSet, batch: Option<usize>) -> anyhow::Result<(ImageSet, Subject)> {
    let mut settings = GanSettings::from_recipe(&gan.name, &gan.recipe);
    settings.batch = batch.unwrap_or(settings.batch);
    (settings.epochs, settings.schedule) = (1, models::ScheduleName::Constant);
    settings.check(train.len())?;
    let (set, mut store) = (gan::grouped(train, settings.pack, 0, 0)?, Store::default());
    let steps = GanSteps::declare(&mut store, gan, &settings, &set)?;
    let plans = vec![
        ("discriminator's step", steps.discriminator_plan.clone()),
        ("generator's step", steps.generator_plan.clone()),
    ];
    let subject = Subject {
        store,
        images: settings.batch * settings.discriminator_steps,
        flops: steps.flops(),
        dispatches: steps.dispatches(),
        plans,
        training: Training::Gan(Box::new(steps)),
    };
    Ok((set, subject))
}

/// Trains for about `seconds`; steps done and the time they took, the last one's end included.
fn measure(training: &Training, device: &mut dyn Device, seconds: f64) -> anyhow::Result<(usize, f64)> {
    let (began, mut steps, mut chunk) = (Instant::now(), 0, 1);
    while steps == 0 || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        training.run(device, steps, chunk)?;
        steps += chunk;
        // Chunks as in training: a quarter of a second between two looks.
        if start.elapsed() < Duration::from_millis(250) {
            chunk = (chunk * 2).min(64);
        }
    }
    Ok((steps, began.elapsed().as_secs_f64()))
}

fn ops(subject: &mut Subject, set: &ImageSet) -> anyhow::Result<ExitCode> {
    let mut device = Cpu::new();
    device.allocate(&subject.store)?;
    subject.training.start(&mut device, set)?;
    for (name, plan) in &subject.plans {
        if !name.is_empty() {
            say(format_args!("{name}:"));
        }
        let prepared = device.prepare(plan)?;
        // Long steps are steady enough.
        let times = if plan.flops() > 10_000_000_000 { 3 } else { 20 };
        let times = device.profile(prepared, times);
        for (dispatch, time) in plan.dispatches.iter().zip(&times) {
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
    }
    Ok(ExitCode::SUCCESS)
}
