//! Inside a classifier while it looks at one picture: what each layer makes of it, which parts of the picture decided,
//! and how any single value came about.
//!
//! A [`Look`] holds a device and replays plans on it. Its [`Anatomy`] needs no device and may be shared with whoever
//! shows it.

mod anatomy;
mod arithmetic;
#[cfg(test)]
mod arithmetic_tests;
mod neighbours;
mod occlusion;
mod plans;
mod receptive;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

pub use anatomy::{Anatomy, Kernel, Layer};
pub use arithmetic::{Arithmetic, How, Seen, Term};
pub use neighbours::Neighbours;
pub use occlusion::Occlusion;

use super::InferError;
use super::scores::softmax;
use crate::data::pack;
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::graph::{Place, Store};
use crate::models::{ModelFile, Normalization};
use plans::Plans;

/// Side of the field that a person draws on, in pixels.
pub const FIELD: usize = 448;

/// The most pictures that go through the network at once: whoever draws meanwhile waits for them. A CPU is no faster with
/// more than a few; a GPU does these in a few milliseconds, and every batch is a round trip.
const BATCH_ON_CPU: usize = 16;
const BATCH: usize = 64;

/// A classifier on a device, to be looked into.
pub struct Look {
    device: Box<dyn Device>,
    /// What errors call the model.
    model: String,
    class_names: Vec<String>,
    normalization: Normalization,
    anatomy: Arc<Anatomy>,
    plans: Plans,
}

/// What is asked of a pass besides the answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Wanted {
    /// The output of each layer.
    pub activations: bool,
    /// The class whose logit's derivative is wanted.
    pub saliency: Option<usize>,
}

/// What a network makes of one picture.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Pass {
    /// `[h * w]`, 0 black to 1 white: what the network is given, before normalization.
    pub picture: Vec<f32>,
    /// `[h * w]`: the same after normalization, bit for bit what the first layers take.
    pub input: Vec<f32>,
    /// One for each class; their sum is 1.
    pub probabilities: Vec<f32>,
    /// One for each class, before softmax.
    pub logits: Vec<f32>,
    /// The input of the last dense layer: the features that [`Neighbours`] compares.
    pub features: Vec<f32>,
    /// Each layer's output, laid out as its [`Layer::shape`]; empty unless asked for.
    pub activations: Vec<Vec<f32>>,
    /// `[h * w]`: the derivative of the wanted class's logit with respect to the picture's brightness (0 to 1); empty
    /// unless asked for.
    pub saliency: Vec<f32>,
    /// Time from the picture's bytes to all of this.
    pub seconds: f64,
}

/// The form in which a picture is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Field,
    Picture,
}

impl Look {
    /// Opens a classifier on a device of its own, whose buffers are allocated afresh. Plans are prepared when they are
    /// first needed, so the first pass of each kind takes longer.
    ///
    /// # Errors
    /// If the file is not a complete classifier, its network takes anything but square images of one channel whose side
    /// divides [`FIELD`], or the device refuses it.
    pub fn open(mut device: Box<dyn Device>, file: &ModelFile) -> Result<Look, InferError> {
        let mut store = Store::default();
        let class_names = file.class_names()?;
        let (network, parameters) = anatomy::network(file, class_names.len(), &mut store)?;
        let values = file.values("", &parameters)?;
        let normalization = Normalization::read(file)?;
        let most = if device.origin() == Cpu::new().origin() { BATCH_ON_CPU } else { BATCH };
        let plans = Plans::declare(&mut store, &network, &parameters, normalization, most)?;
        device.allocate(&store)?;
        parameters.send(device.as_mut(), &values)?;
        let anatomy = Arc::new(Anatomy::new(network, parameters, values)?);
        let model = file.name.display().to_string();
        Ok(Look { device, model, class_names, normalization, anatomy, plans })
    }

    pub fn device_name(&self) -> String {
        self.device.name()
    }

    /// Height, width and channels of the images that the network takes.
    pub fn input(&self) -> [usize; 3] {
        self.anatomy.input()
    }

    /// In label order.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Everything that is known of the network without the device, to be shared with another thread. A final softmax is
    /// removed, so the last layer's output is the logits.
    pub fn anatomy(&self) -> Arc<Anatomy> {
        Arc::clone(&self.anatomy)
    }

    /// What the network makes of a drawing of [`FIELD`] x [`FIELD`] bytes, 0 black to 255 white ink, which the device
    /// averages down to the network's input.
    ///
    /// # Errors
    /// A wrong number of bytes, a class that does not exist, and device errors.
    pub fn field(&mut self, field: &[u8], wanted: Wanted) -> Result<Pass, InferError> {
        self.pass(Given::Field, field, wanted)
    }

    /// What the network makes of a picture of the network's own size, one byte per pixel.
    ///
    /// # Errors
    /// As [`Look::field`].
    pub fn picture(&mut self, picture: &[u8], wanted: Wanted) -> Result<Pass, InferError> {
        self.pass(Given::Picture, picture, wanted)
    }

    fn pass(&mut self, given: Given, bytes: &[u8], wanted: Wanted) -> Result<Pass, InferError> {
        let began = Instant::now();
        let side = match given {
            Given::Field => FIELD,
            Given::Picture => self.input()[0],
        };
        self.check_bytes(bytes, side)?;
        if let Some(class) = wanted.saliency {
            self.check_class(class)?;
        }
        let (device, plans) = (&mut *self.device, &mut self.plans);
        let (source, enter) = match given {
            Given::Field => (&plans.places.field, &mut plans.field),
            Given::Picture => (&plans.places.picture, &mut plans.picture),
        };
        device.write(source.buffer, 0, &pack(bytes))?;
        if let Some(class) = wanted.saliency {
            let row: Vec<f32> = (0..self.class_names.len()).map(|i| f32::from(u8::from(i == class))).collect();
            device.write_f32(plans.places.class.buffer, 0, &row)?;
        }
        let deep = wanted.activations || wanted.saliency.is_some();
        let look = if deep { &mut plans.deep } else { &mut plans.reading };
        let both = [enter.ready(device)?, look.ready(device)?];
        device.run(&both, 1)?;

        let places = &plans.places;
        let mut read = |place: &Place| device.read_f32(place.buffer, place.offset, place.tensor.len());
        let (input, logits) = (read(&places.x)?, read(&places.logits)?);
        let Normalization { mean, std, .. } = self.normalization;
        let mut pass = Pass {
            picture: input.iter().map(|x| (x * std + mean).clamp(0.0, 1.0)).collect(),
            input,
            probabilities: softmax(&logits).into_iter().map(|p| p as f32).collect(),
            logits,
            features: read(&places.features)?,
            ..Pass::default()
        };
        if wanted.activations {
            pass.activations = places.layers.iter().map(&mut read).collect::<Result<_, _>>()?;
        }
        if wanted.saliency.is_some() {
            // The derivative by brightness is the one by the normalized value, divided by the standard deviation.
            pass.saliency = read(&places.saliency)?.into_iter().map(|d| d / std).collect();
        }
        pass.seconds = began.elapsed().as_secs_f64();
        Ok(pass)
    }

    /// Logits and features of pictures of the network's size, one after another, at most [`Plans::batch`] of them.
    fn many(&mut self, pictures: &[u8]) -> Result<(Vec<f32>, Vec<f32>), InferError> {
        let count = pictures.len() / self.input().iter().product::<usize>().max(1);
        let (device, plans) = (&mut *self.device, &mut self.plans);
        device.write(plans.places.many_pictures.buffer, 0, &pack(pictures))?;
        let plan = plans.many.ready(device)?;
        device.run(&[plan], 1)?;
        let mut rows = |place: &Place| {
            let width = place.tensor.len() / plans.batch;
            device.read_f32(place.buffer, 0, count.min(plans.batch) * width)
        };
        Ok((rows(&plans.places.many_logits)?, rows(&plans.places.many_features)?))
    }

    fn refuse(&self, problem: String) -> InferError {
        InferError::Look { model: self.model.clone(), problem }
    }

    fn check_bytes(&self, bytes: &[u8], side: usize) -> Result<(), InferError> {
        if bytes.len() == side * side {
            return Ok(());
        }
        let wanted = format!("give {side}x{side} pixels of one byte each, {} in all", side * side);
        Err(self.refuse(format!("is given a picture of {} bytes; {wanted}", bytes.len())))
    }

    fn check_class(&self, class: usize) -> Result<(), InferError> {
        let classes = self.class_names.len();
        if class < classes {
            return Ok(());
        }
        Err(self.refuse(format!("is asked about class {class}; it knows {classes}, counted from 0")))
    }
}
