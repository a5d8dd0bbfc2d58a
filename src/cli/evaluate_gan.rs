//! `inkgrad evaluate` of a generator: how a judge rates its pictures, and how well they train a classifier.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::evaluate::trained_elsewhere;
use super::reading::to_test;
use super::{interrupt, note, open_device, say, say_json, thousands};
use crate::data::{DataError, DataSet, Reading};
use crate::infer::judge::{BUILT_IN_SHA256, Judge};
use crate::infer::sample::{Generator, Sampler, Source, labelled};
use crate::infer::{Measures, Quality};
use crate::models::{ModelFile, by};
use crate::train::classifier_from_generated;

/// The heading of flags that only generators have.
pub const HEADING: &str = "Generator options";

#[derive(clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct Flags {
    /// Classifier to measure with, as made by `train` [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    judge: Option<PathBuf>,
    /// Train a classifier on generated pictures only, as many as there are real ones, and test it on real ones
    #[arg(long)]
    teach: bool,
    /// Seed of the pictures to measure [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::seed)]
    seed: Option<u32>,
    /// Factor by which latents are scaled, as in `generate` [default: 1]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, value_parser = super::generate::factor)]
    truncation: Option<f32>,
}

/// What `--json` prints of a generator.
#[derive(Serialize)]
struct Results<'a> {
    model: String,
    kind: &'static str,
    device: String,
    data: &'a str,
    judge: &'a str,
    /// Of the built-in judge.
    judge_sha256: Option<&'static str>,
    /// Generated pictures, and as many test images.
    count: usize,
    seed: u32,
    truncation: f32,
    frechet: f64,
    floor: Option<f64>,
    times_floor: Option<f64>,
    recovered: f64,
    precision: f64,
    recall: f64,
    classes: Vec<Class<'a>>,
    /// Names of classes that hardly vary.
    collapsed: Vec<&'a str>,
    /// With `--teach`.
    taught_accuracy: Option<f64>,
}

#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    recovered: Option<f64>,
    diversity: Option<f64>,
}

pub fn run(
    file: ModelFile,
    device: &str,
    folder: Option<&Path>,
    reading: Reading,
    json: bool,
    flags: &Flags,
) -> anyhow::Result<ExitCode> {
    let generator = Generator::new(file)?;
    let (file, called) = (generator.file(), generator.file().name.display());
    let set = to_test(folder, &reading, file)?;
    let elsewhere = trained_elsewhere(file, folder);
    let advice = elsewhere.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
    let (name, image) = (&set.name, generator.image());
    let (draws, has) = (by(&image), by(&[set.test.height, set.test.width, set.test.channels]));
    anyhow::ensure!(draws == has, "{called} draws images of {draws}, but {name} has {has}{advice}");
    let (draws, has) = (generator.classes(), set.test.classes);
    anyhow::ensure!(draws == has, "{called} draws {draws} classes, {name} has {has}{advice}");
    if let Some(advice) = &elsewhere {
        note(format_args!("note: {advice}"));
    }
    let set = with_classes_of(&generator, set)?;
    let DataSet { name, train, test, class_names, .. } = &set;
    let stop = interrupt::listen()?;
    let mut device = open_device(device)?;
    let device = device.as_mut();
    let (seed, truncation) = (flags.seed.unwrap_or(0), flags.truncation.unwrap_or(1.0));
    // First pictures for the test set's labels, then those that teach, with another seed.
    let mut sampler = Sampler::open(&generator, device)?;
    let mut drawn = |labels: &[u32], seed: u32| {
        let source = Source { seed, len: generator.latent(), truncation };
        labelled(labels, test.classes, image, source, |latents, labels| sampler.draw(device, latents, labels))
    };
    let generated = drawn(&test.labels, seed)?;
    let lessons = if flags.teach { Some(drawn(&train.labels, seed.wrapping_add(1))?) } else { None };

    let mut judge = Judge::open(device, flags.judge.as_deref())?;
    judge.check(test)?;
    if let Some(matched) = judge.match_classes(&set) {
        note(format_args!("warning: {matched}"));
    }
    let tell = |text: String| {
        if !json {
            say(text);
        }
    };
    let judge_sha256 = flags.judge.is_none().then_some(BUILT_IN_SHA256);
    let hash = judge_sha256.map_or(String::new(), |hash| format!(" ({})", &hash[..12]));
    tell(format!(
        "{} generated pictures of {called} against the {} test images of {name}, by {}{hash}, with {}\n",
        thousands(generated.len() as u64),
        thousands(test.len() as u64),
        judge.name,
        device.name()
    ));
    let mut quality = Quality::new(judge, device, test)?;
    if let Some(doubt) = quality.doubt() {
        note(format_args!("warning: {doubt}"));
    }
    let floor = quality.find_floor(device, train)?;
    let measures = quality.measure(device, &generated)?;
    tell(measures.fmt_table(class_names));
    let times_floor = times(measures.frechet, floor);
    if let Some(times) = times_floor {
        tell(format!("Fréchet distance / that of real pictures: {times:.2}"));
    }

    let (mut taught_accuracy, mut code) = (None, ExitCode::SUCCESS);
    if let Some(lessons) = lessons {
        note(format_args!("training a classifier on {} generated pictures", thousands(lessons.len() as u64)));
        match classifier_from_generated(&lessons, test, device, &stop, &mut |_| {})? {
            Some(scores) => {
                let accuracy = scores.accuracy();
                tell(format!(
                    "a classifier that has seen nothing but these pictures: {:.2} % of the real test images",
                    accuracy * 100.0
                ));
                taught_accuracy = Some(accuracy);
            }
            None => code = ExitCode::from(130),
        }
    }
    if json {
        say_json(&Results {
            model: called.to_string(),
            kind: "generator",
            device: device.name(),
            data: name,
            judge: &quality.judge.name,
            judge_sha256,
            count: generated.len(),
            seed,
            truncation,
            frechet: measures.frechet,
            floor: measures.floor,
            times_floor,
            recovered: measures.recovered,
            precision: measures.precision,
            recall: measures.recall,
            classes: classes(&measures, class_names),
            collapsed: measures.collapsed().into_iter().map(|class| class_names[class].as_str()).collect(),
            taught_accuracy,
        })?;
    }
    Ok(code)
}

fn classes<'a>(measures: &Measures, names: &'a [String]) -> Vec<Class<'a>> {
    let both = measures.recovered_by_class.iter().zip(&measures.diversity_by_class);
    let class = |(name, (recovered, diversity)): (&'a String, (&Option<f64>, &Option<f64>))| Class {
        name,
        recovered: *recovered,
        diversity: *diversity,
    };
    names.iter().zip(both).map(class).collect()
}

/// How many times the distance of real pictures a distance is. `None` if real pictures are at none but for rounding, as
/// where the same ones are trained on and tested with, or a distance is not known.
fn times(distance: f64, floor: f64) -> Option<f64> {
    Some(distance / floor).filter(|times| floor > 1e-5 && times.is_finite())
}

/// The same data with a generator's classes, which are found by their names. A warning says where they are matched in
/// their order alone.
fn with_classes_of(generator: &Generator, set: DataSet) -> Result<DataSet, DataError> {
    match set.order_among(generator.class_names()) {
        Ok(_) => set.with_classes(generator.class_names().to_vec()),
        Err(matched) => {
            note(format_args!("warning: {matched}"));
            Ok(set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_not_compared_with_none() {
        assert_eq!(times(3.0, 0.5), Some(6.0));
        for (distance, floor) in [(3.0, 0.0), (0.0, 0.0), (3.0, 1e-9), (3.0, f64::NAN), (f64::NAN, 0.5)] {
            assert_eq!(times(distance, floor), None, "{distance} / {floor}");
        }
    }
}
