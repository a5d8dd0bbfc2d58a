//! `inkgrad train gan`: from a GAN's architecture and images to a generator, its pictures and its measures.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::numbers::number;
use super::outputs::begin_run;
use super::progress::{Progress, from};
use super::reading::{check_begun_with, check_measured};
use super::train::Args;
use super::{absolute, count, counted, going_on, interrupt, note, say, thousands};
use crate::data::digest;
use crate::device;
use crate::graph::Store;
use crate::infer::{Judge, Measures};
use crate::models::{Gan, GanLoss, lasting};
use crate::train::gan::check_room;
use crate::train::gan::run::MEASURE_SEED;
use crate::train::{Folder, GanEvent, GanOutcome, GanRun, GanSettings, Start};
use crate::words::shell;

/// The heading of flags that only GANs have.
pub const HEADING: &str = "GAN options";

#[derive(clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct GanFlags {
    /// mse (least squares), bce (binary cross entropy), hinge
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    loss: Option<GanLoss>,
    /// Peak learning rate of the generator
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number, conflicts_with = "resume")]
    generator_rate: Option<f32>,
    /// Peak learning rate of the discriminator
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number, conflicts_with = "resume")]
    discriminator_rate: Option<f32>,
    /// Decay of Adam's second moment
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number, conflicts_with = "resume")]
    beta2: Option<f32>,
    /// Discriminator steps per generator step
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, conflicts_with = "resume")]
    discriminator_steps: Option<usize>,
    /// Pictures of one class shown to the discriminator at a time
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, conflicts_with = "resume")]
    pack: Option<usize>,
    /// Share of the discriminator's targets flipped at random
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number, conflicts_with = "resume")]
    label_noise: Option<f32>,
    /// Whether to divide the discriminator's weights by their largest singular value
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        conflicts_with = "resume")]
    spectral_norm: Option<bool>,
    /// Width of the noise branch where it joins the label
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, conflicts_with = "resume")]
    noise_width: Option<usize>,
    /// Width of the label branch where it joins the noise
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count, conflicts_with = "resume")]
    label_width: Option<usize>,
    /// Epochs between measurements of the pictures, which choose the best model; 0 for never [default: 1]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true, value_parser = count, conflicts_with = "resume")]
    measure: Option<usize>,
    /// Classifier to measure with, as made by `train`; with --resume, where the same one is now [default: the built-in
    /// one]
    #[arg(long, value_name = "FILE")]
    pub(super) judge: Option<PathBuf>,
}

impl GanFlags {
    fn widened(&self, gan: Gan) -> anyhow::Result<Gan> {
        if self.noise_width.is_none() && self.label_width.is_none() {
            return Ok(gan);
        }
        for (flag, width) in [("--noise-width", self.noise_width), ("--label-width", self.label_width)] {
            anyhow::ensure!(width != Some(0), "{flag} is 0; it must be a number from 1 on");
        }
        let (noise, label) = (self.noise_width.unwrap_or(gan.noise_width), self.label_width.unwrap_or(gan.label_width));
        Ok(gan.with_widths(noise, label)?)
    }
}

fn settings(args: &Args, gan: &Gan) -> GanSettings {
    let (mut recipe, flags) = (gan.recipe.clone(), &args.gan);
    macro_rules! take {
        ($from:expr, $($flag:ident),*) => { $(recipe.$flag = $from.$flag.or(recipe.$flag);)* };
    }
    take!(args, epochs, batch, schedule, momentum, average);
    take!(
        flags,
        loss,
        generator_rate,
        discriminator_rate,
        beta2,
        discriminator_steps,
        pack,
        label_noise,
        spectral_norm
    );
    let mut settings = GanSettings::from_recipe(&gan.name, &recipe);
    settings.data = args.data.as_deref().map(absolute);
    settings.reading = args.reading.reading();
    settings.device = args.device.clone().unwrap_or_else(|| "auto".into());
    settings.seed = args.seed.unwrap_or(0);
    settings.measure = flags.measure.unwrap_or(settings.measure);
    settings
}

/// Refuses to resume a run whose judge cannot be read where it was, or is another one. `is_given` says whether it was
/// named anew.
fn check_judge(start: &Start, settings: &GanSettings, is_given: bool) -> anyhow::Result<()> {
    let Some(path) = settings.judge.as_deref().filter(|_| settings.measure > 0) else { return Ok(()) };
    let judge = Judge::declare(&mut Store::default(), Some(path)).with_context(|| {
        let path = path.display();
        format!("the judge of this run, {path}, cannot be used; if it is elsewhere now, say where with --judge FILE")
    })?;
    Ok(GanRun::check_judge(start, &judge, is_given)?)
}

pub fn run(args: Args, gan: Gan, folder: Option<Folder>) -> anyhow::Result<ExitCode> {
    let (gan, mut settings) = match &folder {
        Some(folder) => (gan, folder.settings::<GanSettings>()?),
        None => {
            let gan = args.gan.widened(gan)?;
            let settings = settings(&args, &gan);
            (gan, settings)
        }
    };
    if let Some(device) = &args.device {
        settings.device = device.clone();
    }
    if let Some(judge) = &args.gan.judge {
        anyhow::ensure!(settings.measure > 0, "--judge is for measuring, and --measure 0 does without: leave it out");
        settings.judge = Some(lasting(judge));
    }
    let data = args.read_data(settings.data.as_deref(), &settings.reading)?;
    if let Some(place) = args.moved_data() {
        settings.data = Some(place);
    }
    if settings.measure > 0 {
        check_measured(&data, &settings.reading).context("--measure 0 does without test images")?;
    }
    if folder.is_none() && args.batch.is_none() {
        settings.fit_batch(&data.train);
    }
    // Everything that can be refused is refused before anything is written.
    match &folder {
        Some(folder) => {
            let start = folder.start()?;
            let place = args.data.as_deref().or(settings.data.as_deref());
            check_begun_with(&start, &data, &digest(&data.train), place, &settings.reading)?;
            folder.check_settings::<GanSettings>(&start)?;
            check_judge(&start, &settings, args.gan.judge.is_some())?;
        }
        None => GanRun::check(&gan, &settings, &data.train)?,
    }
    let choice = device::find(&settings.device)?;
    check_room(&data.train, &choice.name(), choice.largest_tensor())?;
    if args.dry_run {
        say(format_args!("would train {} on {} with {}:\n", settings.model, data.name, choice.name()));
        say(toml::to_string(&settings)?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let mut device = going_on::open(choice, &settings.device, args.fallback)?;
    let folder = match folder {
        Some(folder) => folder,
        None => begin_run(&args.out, &settings.model, |folder| folder.begin(gan.text(), None, &settings))?,
    };
    let is_complete = folder.is_finished();
    let path = folder.path().to_owned();
    if !args.quiet {
        note(format_args!("{} on {} with {}, in {}", settings.model, data.name, device.name(), path.display()));
    }
    let stop = interrupt::listen()?;
    let mut progress = Progress::new("rounds", None, args.quiet);
    let class_names = data.class_names.clone();
    let outcome = going_on::train(&mut device, args.fallback, &folder, |device| {
        let run = GanRun {
            settings: settings.clone(),
            gan: gan.clone(),
            data: data.clone(),
            folder: folder.clone(),
            device,
            stop: &stop,
            report: &mut |event| show(&mut progress, event),
        };
        run.train()
    });
    progress.finish();
    match outcome.map_err(|error| going_on::ended(error, &folder, &folder))? {
        GanOutcome::Finished { test, best_epoch, epochs, seconds } => {
            if let Some(test) = test {
                // Measured with the latents that chose the epoch; without a seed, `evaluate` uses others.
                let by = format!("what `evaluate --seed {MEASURE_SEED}` finds against the test set");
                say(format_args!("epoch {best_epoch} of {epochs} is the best; {by}:\n"));
                say(test.fmt_table(&class_names));
            }
            let took = if is_complete { ", complete already".into() } else { progress.took(seconds) };
            let epochs = counted(epochs as u64, "epoch");
            say(format_args!("{epochs}{took}; generator: {}", folder.best().display()));
            say(format_args!("draw with it: inkgrad generate --model {}", shell(&path.to_string_lossy())));
            Ok(ExitCode::SUCCESS)
        }
        GanOutcome::Stopped { round } => {
            note(format_args!(
                "stopped at round {round}; saved. Continue with: inkgrad train --resume {}",
                shell(&path.to_string_lossy())
            ));
            Ok(ExitCode::from(130))
        }
    }
}

fn show(progress: &mut Progress, event: GanEvent) {
    match event {
        GanEvent::Started { rounds, first, images, classes, shown, generator, discriminator } => {
            progress.line(format!(
                "{} in the generator, {} in the discriminator, {}, {}{}",
                counted(generator, "parameter"),
                thousands(discriminator),
                counted(images as u64, "image"),
                counted(rounds as u64, "round"),
                from(first, rounds, "round")
            ));
            if let Some(part) = first_of(shown, classes) {
                progress.line(format!("snapshots show {part}"));
            }
            progress.begin(first as u64, Some(rounds as u64));
        }
        GanEvent::Trained { round, epoch, discriminator, generator, images_per_second } => {
            let speed = thousands(images_per_second as u64);
            let losses = format!("losses: discriminator {discriminator:.4}, generator {generator:.4}");
            let short = format!("epoch {epoch:.2}  D {discriminator:.4}  G {generator:.4}  {speed}/s");
            let text = format!("epoch {epoch:.2}  {losses}  {speed} images/s");
            progress.at_figures(round as u64, text, short);
        }
        GanEvent::Measured { epoch, measures, best } => progress.line(measured(epoch, measures, best)),
        GanEvent::Warning(text) => progress.warning(&text),
    }
}

/// What part of the classes a picture shows, if that is not all of them: `the first 26 of 40 classes`.
pub(super) fn first_of(shown: usize, classes: usize) -> Option<String> {
    (shown < classes).then(|| format!("the first {shown} of {} classes", thousands(classes as u64)))
}

fn measured(epoch: usize, measures: &Measures, best: bool) -> String {
    let least = measures.least_diversity();
    let mark = match best {
        true if measures.frechet.is_finite() => "  (best so far)",
        true => "  (kept as the last, for want of a finite distance)",
        false => "",
    };
    format!(
        "epoch {epoch}: Fréchet distance {:.2}, label recovered {:.2} %, precision {:.1} %, recall {:.1} %, least \
         varied class {least:.2} of real{mark}",
        measures.frechet,
        measures.recovered * 100.0,
        measures.precision * 100.0,
        measures.recall * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_said_to_show_the_first_classes_only_if_there_are_more() {
        assert_eq!(first_of(26, 26), None);
        assert_eq!(first_of(26, 1040).unwrap(), "the first 26 of 1,040 classes");
    }

    #[test]
    fn an_epoch_that_is_kept_only_as_the_last_is_not_called_the_best() {
        let said = |frechet: f64, best: bool| {
            let measures = Measures {
                frechet,
                floor: None,
                recovered: 0.5,
                recovered_by_class: vec![Some(0.5)],
                diversity_by_class: vec![Some(0.5)],
                precision: 0.5,
                recall: 0.5,
            };
            measured(2, &measures, best)
        };
        assert!(said(1.5, true).ends_with("least varied class 0.50 of real  (best so far)"));
        assert!(said(1.5, false).ends_with(" of real"));
        assert!(said(f64::NAN, true).ends_with(" of real  (kept as the last, for want of a finite distance)"));
    }
}
