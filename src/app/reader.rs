//! A classifier that reads what is drawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use image::{DynamicImage, GrayImage};

use super::worker::{File, Model, Opener, Worker};
use crate::infer::InferError;
use crate::infer::look::{Anatomy, FIELD, Look, Pass, Wanted};
use crate::models::ModelFile;
use crate::pictures::prepare::{Invert, Mode, Preparation, prepare};

/// What is to be read.
#[derive(Clone)]
pub struct Question {
    /// `FIELD` x `FIELD` bytes.
    pub field: Arc<Vec<u8>>,
    /// Which of the two passes is looked into: the drawing as MNIST's makers would have prepared it, or as it is.
    pub prepared: bool,
    /// What is wanted of that pass besides the probabilities.
    pub wanted: Wanted,
    /// When the drawing changed.
    pub asked: Instant,
    /// Whether the pen changed it: then the time until the answer is measured.
    pub by_pen: bool,
}

impl Question {
    /// Whether the answer would be the same.
    pub fn is_like(&self, other: &Question) -> bool {
        Arc::ptr_eq(&self.field, &other.field) && self.prepared == other.prepared && self.wanted == other.wanted
    }
}

/// What the network makes of a drawing.
pub struct Answer {
    /// Average-pooled to the network's size.
    pub drawn: Pass,
    /// Cropped, scaled and centred as MNIST was; absent where that is the same for this network.
    pub prepared: Option<Pass>,
    pub question: Question,
}

impl Answer {
    /// The pass that counts.
    pub fn pass(&self) -> &Pass {
        match &self.prepared {
            Some(prepared) if self.question.prepared => prepared,
            _ => &self.drawn,
        }
    }
}

/// What is known of a classifier once it is open.
#[derive(Clone)]
pub struct About {
    pub path: PathBuf,
    pub class_names: Vec<String>,
    /// Height, width, channels.
    pub input: [usize; 3],
    /// Its layers and weights.
    pub anatomy: Arc<Anatomy>,
    pub device: String,
}

/// A classifier at work.
pub struct Reading {
    pub look: Look,
}

/// Reads drawings, in a thread of its own.
pub type Reader = Worker<Reading>;

impl Model for Reading {
    type About = About;
    type Question = Question;
    type Answer = Answer;

    const KIND: &'static str = "model";

    fn load(chosen: &Path) -> Result<(ModelFile, PathBuf), String> {
        super::menu::load(chosen)
    }

    fn open(file: &File, opener: &Opener) -> Result<(Reading, About), String> {
        let device = opener().map_err(|error| error.to_string())?;
        let look = Look::open(device, &file.file, &file.path).map_err(|error| error.to_string())?;
        let about = About {
            path: file.chosen.clone(),
            class_names: look.class_names().to_vec(),
            input: look.input(),
            anatomy: look.anatomy(),
            device: look.device_name(),
        };
        Ok((Reading { look }, about))
    }

    fn answer(&mut self, question: &Question) -> Result<Answer, InferError> {
        let (look, none) = (&mut self.look, Wanted::default());
        let prepared = prepared(&question.field, look.input());
        let into_prepared = question.prepared && prepared.is_some();
        let [of_drawn, of_prepared] = if into_prepared { [none, question.wanted] } else { [question.wanted, none] };
        let drawn = look.field(&question.field, of_drawn)?;
        let prepared = prepared.map(|picture| look.picture(&picture, of_prepared)).transpose()?;
        Ok(Answer { drawn, prepared, question: question.clone() })
    }

    fn device(about: &About) -> &str {
        &about.device
    }
}

/// A drawing as MNIST's makers would have prepared it, as bytes of the network's size; `None` for a blank one.
fn prepared(field: &[u8], input: [usize; 3]) -> Option<Vec<u8>> {
    let side = FIELD as u32;
    let field = DynamicImage::ImageLuma8(GrayImage::from_raw(side, side, field.to_vec())?);
    let how = Preparation { mode: Mode::Always, invert: Invert::Never, ..Preparation::default() };
    let prepared = prepare(&field, input, &how);
    (!prepared.blank && input[2] == 1).then_some(prepared.pixels)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
