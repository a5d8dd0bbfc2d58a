//! A generator that draws, and the judge that reads what it has drawn.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::wish::Wish;
use crate::app::worker::{File, Model, Opener, Worker};
use crate::device::Device;
use crate::infer::scores::{most_likely, softmax};
use crate::infer::{Classifier, Generator, InferError, Sampler, classify};
use crate::models::{ModelFile, by};

/// How many pictures are drawn, and read, at a time: few, so that a single one comes quickly.
const BATCH: usize = 32;

/// What is known of a generator once it is open.
#[derive(Clone, Debug)]
pub struct About {
    /// As it was asked for.
    pub path: PathBuf,
    pub class_names: Vec<String>,
    /// Height, width, channels.
    pub image: [usize; 3],
    /// Numbers in a latent.
    pub numbers: usize,
    pub judge: Judged,
    pub device: String,
}

/// Whether the judge reads what a generator draws.
#[derive(Clone, PartialEq, Debug)]
pub enum Judged {
    /// It does, under these class names.
    As(Vec<String>),
    /// It does not, for this reason.
    Not(String),
}

/// What the judge makes of a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// One of the judge's classes.
    pub class: usize,
    /// The judge's probability.
    pub share: f32,
    /// Whether it is the class that was asked for; `None` if none was.
    pub as_asked: Option<bool>,
}

/// The pictures of a wish.
pub struct Answer {
    pub wish: Wish,
    /// The current digit and those of the view, one after another, as bytes.
    pub pictures: Vec<u8>,
    /// One for each picture, or none at all.
    pub readings: Vec<Reading>,
    pub seconds: f64,
}

/// A generator and the judge, each on a device of its own.
pub struct Atelier {
    about: About,
    device: Box<dyn Device>,
    sampler: Sampler,
    judge: Option<(Classifier, Box<dyn Device>)>,
}

/// Draws what is wished for, in a thread of its own.
pub type Engine = Worker<Atelier>;

impl Model for Atelier {
    type About = About;
    type Question = Wish;
    type Answer = Answer;

    const KIND: &'static str = "generator";

    fn load(chosen: &Path) -> Result<ModelFile, String> {
        let file = ModelFile::open(chosen).map_err(|error| error.to_string())?;
        if !file.is_gan() {
            let name = file.name.display();
            return Err(format!("{name} holds a classifier, which cannot draw; choose a generator, such as gan"));
        }
        Ok(file)
    }

    fn open(file: &File, opener: &Opener) -> Result<(Atelier, About), String> {
        let generator = Generator::new(file.file.clone()).map_err(|error| error.to_string())?;
        let mut device = opener().map_err(|error| error.to_string())?;
        let sampler = Sampler::open_for(BATCH, &generator, device.as_mut()).map_err(|error| error.to_string())?;
        let judge = judge(opener, &generator);
        let about = About {
            path: file.chosen.clone(),
            class_names: generator.class_names().to_vec(),
            image: generator.image(),
            numbers: generator.latent(),
            judge: match &judge {
                Ok((judge, _)) => Judged::As(judge.class_names().to_vec()),
                Err(problem) => Judged::Not(problem.clone()),
            },
            device: device.name(),
        };
        Ok((Atelier { about: about.clone(), device, sampler, judge: judge.ok() }, about))
    }

    fn answer(&mut self, wish: &Wish) -> Result<Answer, InferError> {
        let begun = Instant::now();
        let digits = wish.digits();
        let (latents, labels) = wish.inputs(&digits);
        let pictures = self.sampler.draw(self.device.as_mut(), &latents, &labels)?;
        let mut readings = Vec::with_capacity(digits.len());
        if let Some((judge, device)) = &mut self.judge {
            let size: usize = self.about.image.iter().product();
            let names = judge.class_names().to_vec();
            for (pictures, digits) in pictures.chunks(BATCH * size).zip(digits.chunks(BATCH)) {
                let logits = judge.logits(device.as_mut(), pictures)?;
                for (row, digit) in logits.chunks_exact(names.len()).zip(digits) {
                    let asked = wish.asked(readings.len(), digit);
                    let asked = asked.and_then(|class| self.about.class_names.get(class));
                    let (class, share) = verdict(row);
                    readings.push(Reading {
                        class,
                        share,
                        as_asked: asked.map(|asked| names.get(class) == Some(asked)),
                    });
                }
            }
        }
        Ok(Answer { wish: wish.clone(), pictures, readings, seconds: begun.elapsed().as_secs_f64() })
    }

    fn device(about: &About) -> &str {
        &about.device
    }
}

/// The class that the judge takes a picture for, and its probability.
fn verdict(logits: &[f32]) -> (usize, f32) {
    let best = most_likely(logits);
    (best, softmax(logits).get(best).copied().unwrap_or(0.0) as f32)
}

/// The judge shipped with the program, if it can read this generator's pictures at all; otherwise why not.
fn judge(opener: &Opener, generator: &Generator) -> Result<(Classifier, Box<dyn Device>), String> {
    let file = classify::default_model().map_err(|error| error.to_string())?;
    let names = file.class_names().map_err(|error| error.to_string())?;
    let reads = file.input().map_err(|error| error.to_string())?;
    if reads != generator.image() {
        let (reads, drawn) = (by(&reads), by(&generator.image()));
        return Err(format!("the judge reads {reads} pictures, and these are {drawn}"));
    }
    if let Some(foreign) = generator.class_names().iter().find(|name| !names.contains(name)) {
        return Err(format!("the judge knows only digits, not the class {foreign:?}"));
    }
    let mut device = opener().map_err(|error| error.to_string())?;
    let judge = Classifier::open(device.as_mut(), &file, BATCH, 1).map_err(|error| error.to_string())?;
    Ok((judge, device))
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
