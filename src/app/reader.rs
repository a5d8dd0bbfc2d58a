//! A classifier that reads what is drawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use image::{DynamicImage, GrayImage};

use super::field::is_black;
use super::worker::{File, Model, Opener, Worker};
use crate::infer::InferError;
use crate::infer::look::{Anatomy, FIELD, Look, Pass, Wanted};
use crate::models::ModelFile;
use crate::pictures::prepare::{Invert, Mode, Preparation, Prepared, prepare};

/// What is to be read.
#[derive(Clone)]
pub struct Question {
    /// `FIELD` x `FIELD` bytes.
    pub field: Arc<Vec<u8>>,
    /// The picture that the field shows, if it does: it is read itself, exactly as `classify` reads it.
    pub picture: Option<Arc<DynamicImage>>,
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
    /// The field, average-pooled to the network's size; or, where the network takes pictures as they are, the picture
    /// that it shows.
    pub drawn: Pass,
    /// Cropped, scaled and centred as MNIST was; absent where there is nothing to prepare, or the network takes pictures
    /// as they are.
    pub prepared: Option<Pass>,
    /// Whether there was nothing to read: a black field, or a picture in which no ink was found by a network that looks
    /// for it.
    pub blank: bool,
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

    /// Whether the pass that counts is of the field, pixel by pixel; `about` is the network's.
    pub fn is_of_field(&self, about: &About) -> bool {
        let is_picture = about.takes_pictures_as_they_are && self.question.picture.is_some();
        let is_prepared = self.question.prepared && self.prepared.is_some();
        !is_picture && !is_prepared
    }
}

/// What is known of a classifier once it is open.
#[derive(Clone)]
pub struct About {
    pub path: PathBuf,
    pub class_names: Vec<String>,
    /// Height, width, channels.
    pub input: [usize; 3],
    /// Whether it has learned from pictures that were not prepared, so that what it reads is not prepared either.
    pub takes_pictures_as_they_are: bool,
    /// Whether those were light, as ink on paper is.
    pub knows_light_pictures: bool,
    /// Its layers and weights.
    pub anatomy: Arc<Anatomy>,
    pub device: String,
}

/// A classifier at work.
pub struct Reading {
    pub look: Look,
    /// What is done to pictures: what `classify` does for this model.
    how: Preparation,
    /// The picture that was prepared last: one question is often followed by another about the same.
    last: Option<(Arc<DynamicImage>, Prepared)>,
}

impl Reading {
    /// What the network is to see of a picture.
    fn prepared(&mut self, picture: &Arc<DynamicImage>) -> Prepared {
        if let Some((_, prepared)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, picture)) {
            return prepared.clone();
        }
        let prepared = prepare(picture, self.look.input(), &self.how);
        self.last = Some((Arc::clone(picture), prepared.clone()));
        prepared
    }

    /// Whether a question shows nothing to the network; what is read of it in place of the field, and what of it as
    /// prepared, if anything is.
    fn pictures(&mut self, question: &Question) -> (bool, [Option<Vec<u8>>; 2]) {
        let input = self.look.input();
        let as_they_are = self.how.only_fits(input[2]);
        match &question.picture {
            None => {
                let prepared = if as_they_are { None } else { prepared(&question.field, input) };
                (is_black(&question.field), [None, prepared])
            }
            Some(picture) => {
                let Prepared { pixels, blank, .. } = self.prepared(picture);
                let seen = (!blank).then_some(pixels);
                (blank, if as_they_are { [seen, None] } else { [None, seen] })
            }
        }
    }
}

/// Reads drawings, in a thread of its own.
pub type Reader = Worker<Reading>;

impl Model for Reading {
    type About = About;
    type Question = Question;
    type Answer = Answer;

    const KIND: &'static str = "model";

    fn load(chosen: &Path) -> Result<ModelFile, String> {
        super::menu::load(chosen)
    }

    fn open(file: &File, opener: &Opener) -> Result<(Reading, About), String> {
        let device = opener().map_err(|error| error.to_string())?;
        let look = Look::open(device, &file.file).map_err(|error| error.to_string())?;
        let takes_pictures_as_they_are = file.file.takes_pictures_as_they_are();
        let mode = if takes_pictures_as_they_are { Mode::Never } else { Mode::Auto };
        let about = About {
            path: file.chosen.clone(),
            class_names: look.class_names().to_vec(),
            input: look.input(),
            takes_pictures_as_they_are,
            knows_light_pictures: file.file.knows_light_pictures(),
            anatomy: look.anatomy(),
            device: look.device_name(),
        };
        let how = Preparation { mode, ..Preparation::default() };
        Ok((Reading { look, how, last: None }, about))
    }

    fn answer(&mut self, question: &Question) -> Result<Answer, InferError> {
        let (blank, [picture, prepared]) = self.pictures(question);
        let (look, none) = (&mut self.look, Wanted::default());
        let into_prepared = question.prepared && prepared.is_some();
        let [of_drawn, of_prepared] = if into_prepared { [none, question.wanted] } else { [question.wanted, none] };
        let drawn = match picture {
            Some(picture) => look.picture(&picture, of_drawn)?,
            None => look.field(&question.field, of_drawn)?,
        };
        let prepared = prepared.map(|picture| look.picture(&picture, of_prepared)).transpose()?;
        Ok(Answer { drawn, prepared, blank, question: question.clone() })
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
