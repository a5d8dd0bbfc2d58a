//! A network's logits for every image of a set, and what they are worth against its labels.

use std::path::Path;

use crate::data::{ImageSet, Pixels, pack};
use crate::device::{Device, DeviceError, Lazy};
use crate::graph::{BufferId, Graph, GraphError, Place, Store, Value};
use crate::infer::measures::MeasureError;
use crate::models::{Augmentation, Forward, Mode, ModelError, ModelFile, Network, Normalization, Parameters};
use crate::ops::augment::Augment;
use crate::ops::random::streams;
use crate::ops::sample::{GatherImages, Order};
use crate::ops::updates::{StoreRows, Tick};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Why nothing comes of a network's work.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error("{judge} {problem}")]
    Judge { judge: String, problem: String },
    #[error("{model}: {problem}")]
    Look { model: String, problem: String },
    #[error(
        "{given} bytes were given to a classifier that takes up to {capacity} images at once, whole ones of {size} \
         bytes each"
    )]
    Images { given: usize, size: usize, capacity: usize },
}

/// How an image's other views differ from it.
pub const VIEWS: Augmentation = Augmentation {
    rotate: 8.0,
    shift: 0.04,
    zoom: 0.06,
    shear: 0.0,
    elastic: 0.0,
    erase: 0.0,
    noise: 0.0,
    quarter_turns: false,
    extend: false,
};

/// Images that one dispatch of the evaluation handles, fewer where they are large ([`Network::images_at_once`]); accuracy
/// does not depend on it.
pub const BATCH: usize = 256;

/// Bytes of images, and of their logits, that lie on a device at once. A larger set goes through in pieces: it need not
/// fit a buffer.
const PIECE: usize = 64 << 20;

/// The stored buffers and the plan that classify image sets, resident on the device.
pub struct Evaluation {
    images: BufferId,
    clock: BufferId,
    logits: Rows,
    features: Option<Rows>,
    /// Images that there is room for.
    count: usize,
    /// Images of the set that is asked about.
    held: usize,
    batch: usize,
    plan: Lazy,
    /// The images of a set that is larger than that, and the bytes in one.
    pieces: Option<(Pixels, usize)>,
    /// The pass over images that were changed a little.
    views: Option<Lazy>,
}

/// A row of numbers for each image.
#[derive(Clone, Copy)]
struct Rows {
    buffer: BufferId,
    width: usize,
}

/// Room for images of one size, and how many are handled at once.
#[derive(Clone, Copy)]
struct Room {
    count: usize,
    image: [usize; 3],
    batch: usize,
}

/// What is asked for besides the logits of images as they are: nobody else pays for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Besides {
    Nothing,
    Features,
    Views,
}

impl Rows {
    fn place(self, count: usize) -> Place {
        Place { buffer: self.buffer, offset: 0, tensor: Tensor::f32([count, self.width]) }
    }
}

/// What a plan is asked for.
struct Asked<'a> {
    network: &'a Network,
    parameters: &'a Parameters,
    normalization: Normalization,
    images: Place,
    clock: Place,
    count: usize,
    batch: usize,
    image: [usize; 3],
}

impl Asked<'_> {
    /// A graph of the network's pass over the next batch, as it is or changed; with the clock.
    fn forward(&self, augment: Option<Augment>) -> Result<(Graph, Value, Forward), InferError> {
        let mut graph = Graph::new();
        let (now, bytes) = (graph.read(&self.clock), graph.read(&self.images));
        let Normalization { mean, std } = self.normalization;
        let gather = GatherImages::new(self.count, self.batch, self.image, [mean, std], Order::InTurn);
        let mut x = graph.apply(gather, &[bytes, now])?;
        if let Some(augment) = augment {
            x = graph.apply(augment, &[x, now])?;
        }
        let forward = self.network.forward(&mut graph, self.parameters, x, Mode::Infer)?;
        Ok((graph, now, forward))
    }
}

impl Evaluation {
    /// Adds its buffers to the store, for `batch` images of the set a dispatch. Weights and running statistics are
    /// read from the buffers that `parameters` names.
    ///
    /// # Errors
    /// Where the network does not fit the images.
    pub fn declare(
        batch: usize,
        store: &mut Store,
        network: &Network,
        parameters: &Parameters,
        set: &ImageSet,
        normalization: Normalization,
    ) -> Result<Evaluation, InferError> {
        let image = [set.height, set.width, set.channels];
        let room = Room { count: at_once(set, batch, PIECE), image, batch };
        Evaluation::write_down(store, network, parameters, room, normalization, Besides::Nothing)
    }

    /// For at most `count` images of the network's own size at once, one set after another, and for fewer where they or
    /// what is kept of them would be large ([`Evaluation::room`]); keeps what stands before the last dense layer as well,
    /// [`Evaluation::features`].
    pub fn declare_with_features(
        store: &mut Store,
        network: &Network,
        parameters: &Parameters,
        count: usize,
        normalization: Normalization,
    ) -> Result<Evaluation, InferError> {
        let image = network.image()?;
        let widest = [network.output().iter().product(), network.features()].into_iter().fold(0, usize::max);
        let count = count.min(PIECE / image.iter().product::<usize>().max(4 * widest).max(1)).max(1);
        let room = Room { count, image, batch: network.images_at_once(BATCH) };
        Evaluation::write_down(store, network, parameters, room, normalization, Besides::Features)
    }

    fn write_down(
        store: &mut Store,
        network: &Network,
        parameters: &Parameters,
        Room { count, image, batch }: Room,
        normalization: Normalization,
        besides: Besides,
    ) -> Result<Evaluation, InferError> {
        let words = (count * image.iter().product::<usize>()).div_ceil(4);
        let place = |buffer, tensor| Place { buffer, offset: 0, tensor };
        let asked = Asked {
            network,
            parameters,
            normalization,
            images: place(store.add("evaluation.images", words), Tensor::u32([words])),
            clock: place(store.add("evaluation.clock", 2), Tensor::u32([2])),
            count,
            batch: batch.min(count).max(1),
            image,
        };
        let (mut graph, now, forward) = asked.forward(None)?;
        let mut keep = |name: &str, value| -> Result<Rows, GraphError> {
            let width = graph.shape(value).len() / asked.batch;
            let rows = Rows { buffer: store.add(name, count * width), width };
            graph.update(StoreRows { count }, &[now, value], vec![rows.place(count)])?;
            Ok(rows)
        };
        let logits = keep("evaluation.logits", forward.out)?;
        let features = (besides == Besides::Features).then(|| keep("evaluation.features", forward.penultimate));
        let features = features.transpose()?;
        graph.update(Tick(1), &[], vec![asked.clock.clone()])?;

        let Normalization { mean, std } = normalization;
        let views = match VIEWS.op(mean, std, streams::VIEWS) {
            Some(augment) if besides == Besides::Views => {
                let (mut graph, now, forward) = asked.forward(Some(augment))?;
                graph.update(StoreRows { count }, &[now, forward.out], vec![logits.place(count)])?;
                graph.update(Tick(1), &[], vec![asked.clock.clone()])?;
                Some(Lazy::new(&graph))
            }
            _ => None,
        };
        let Asked { images, clock, batch, .. } = asked;
        Ok(Evaluation {
            images: images.buffer,
            clock: clock.buffer,
            logits,
            features,
            count,
            held: count,
            batch,
            plan: Lazy::new(&graph),
            pieces: None,
            views,
        })
    }

    /// A classifier of a file alone on a device, whose buffers are made anew, with the images it is to classify;
    /// `path` is for errors.
    ///
    /// # Errors
    /// A file that holds no classifier, images of another size, and those of the device.
    pub fn open(
        file: &ModelFile,
        path: &Path,
        set: &ImageSet,
        device: &mut dyn Device,
    ) -> Result<Evaluation, InferError> {
        let image = [set.height, set.width, set.channels];
        let mut evaluation = Evaluation::open_for(file, path, (at_once(set, BATCH, PIECE), image), device)?;
        evaluation.hold(device, set)?;
        Ok(evaluation)
    }

    /// The same for at most `count` images at once, which come later.
    ///
    /// # Errors
    /// As [`Evaluation::open`].
    pub fn open_for(
        file: &ModelFile,
        path: &Path,
        images: (usize, [usize; 3]),
        device: &mut dyn Device,
    ) -> Result<Evaluation, InferError> {
        let mut store = Store::default();
        let (network, parameters) = file.network(path, &mut store, "classifier")?;
        let (weights, running) = file.values(&parameters, path)?;
        let normalization = Normalization::read(file, path)?;
        let room = Room { count: images.0, image: images.1, batch: network.images_at_once(BATCH) };
        let views = Besides::Views;
        let mut evaluation = Evaluation::write_down(&mut store, &network, &parameters, room, normalization, views)?;
        device.allocate(&store)?;
        parameters.send(device, &weights, &running)?;
        evaluation.prepare(device)?;
        Ok(evaluation)
    }

    pub fn plan(&self) -> &Plan {
        self.plan.plan()
    }

    /// Images that there is room for at once.
    pub fn room(&self) -> usize {
        self.count
    }

    /// Sends the images to the device and makes the plan ready; once, after the store was allocated.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        self.prepare(device)?;
        self.hold(device, set)
    }

    /// Takes a set of images of the same size to be the one that is asked about from now on, of however many images:
    /// where there is no room for all of them, they go through in pieces.
    ///
    /// # Errors
    /// Those of the device.
    pub fn hold(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        self.held = set.len();
        let fits = set.len() <= self.count;
        self.pieces = (!fits).then(|| (set.images.clone(), set.image_len()));
        if fits { self.send(device, &set.images) } else { Ok(()) }
    }

    /// Makes the plan ready, for images that come later; once, after the store was allocated.
    pub fn prepare(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.plan.prepare(device).map(|_| ())
    }

    /// Images in the place of the first ones, no more than there is room for; fewer leave the rest as they were. Of a
    /// set that goes through in pieces nothing is replaced so: [`Evaluation::hold`] another.
    pub fn send(&self, device: &mut dyn Device, images: &[u8]) -> Result<(), DeviceError> {
        device.write(self.images, 0, &pack(images))
    }

    /// The logits of all images, `[count, classes]`, with the weights as they are now.
    pub fn logits(&mut self, device: &mut dyn Device) -> Result<Vec<f32>, DeviceError> {
        self.mean_logits(device, self.held, 1)
    }

    /// The same of the first `count` images only, without work for the others.
    pub fn first_logits(&mut self, device: &mut dyn Device, count: usize) -> Result<Vec<f32>, DeviceError> {
        let plan = self.plan.ready(device)?;
        device.write(self.clock, 0, &[0, 0])?;
        device.run(&[plan], count.div_ceil(self.batch))?;
        device.read_f32(self.logits.buffer, 0, count * self.logits.width)
    }

    /// The mean logits of `views` views of each of the first `count` images: the image itself, and others that are
    /// turned, moved and enlarged a little, each in its own way ([`VIEWS`]); always the same ones.
    ///
    /// # Errors
    /// Those of the device.
    pub fn mean_logits(
        &mut self,
        device: &mut dyn Device,
        count: usize,
        views: usize,
    ) -> Result<Vec<f32>, DeviceError> {
        let Some((images, size)) = self.pieces.clone() else { return self.mean_of_first(device, count, views) };
        let mut logits = Vec::new();
        for first in (0..count).step_by(self.count) {
            let piece = first..count.min(first + self.count);
            let bytes: Vec<u8> = piece.clone().flat_map(|i| images.image(i, size)).copied().collect();
            self.send(device, &bytes)?;
            logits.extend(self.mean_of_first(device, piece.len(), views)?);
        }
        Ok(logits)
    }

    /// The same where all of them are on the device.
    fn mean_of_first(&mut self, device: &mut dyn Device, count: usize, views: usize) -> Result<Vec<f32>, DeviceError> {
        let mut sum = self.first_logits(device, count)?;
        let Some(plan) = self.views.as_mut().filter(|_| views > 1) else { return Ok(sum) };
        let plan = plan.ready(device)?;
        for view in 1..views {
            device.write(self.clock, 0, &[0, view as u32])?;
            device.run(&[plan], count.div_ceil(self.batch))?;
            let logits = device.read_f32(self.logits.buffer, 0, count * self.logits.width)?;
            sum.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit);
        }
        sum.iter_mut().for_each(|sum| *sum /= views as f32);
        Ok(sum)
    }

    /// The features of the first `count` images, `[count, feature_width]`, as the newest logits were made of;
    /// empty where none are kept.
    pub fn features(&self, device: &mut dyn Device, count: usize) -> Result<Vec<f32>, DeviceError> {
        match self.features {
            Some(Rows { buffer, width }) => device.read_f32(buffer, 0, count * width),
            None => Ok(Vec::new()),
        }
    }

    /// Numbers in a row of [`Evaluation::features`].
    pub fn feature_width(&self) -> usize {
        self.features.map_or(0, |rows| rows.width)
    }
}

/// Images of a set that go to a device at once, where as many bytes may.
fn at_once(set: &ImageSet, batch: usize, bytes: usize) -> usize {
    let most = bytes / set.image_len().max(4 * set.classes).max(1);
    set.len().min(most.max(batch))
}

/// Logits against labels, worked out in f64 on the host.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Mean cross-entropy, natural logarithm.
    pub loss: f64,
    pub correct: usize,
    /// The most likely class of each image, and its probability.
    pub predicted: Vec<(usize, f64)>,
    /// The probability that each image's label was given.
    pub truth: Vec<f64>,
}

impl Scores {
    pub fn new(logits: &[f32], labels: &[u32]) -> Scores {
        let classes = if labels.is_empty() { 1 } else { logits.len() / labels.len() };
        let mut scores = Scores { loss: 0.0, correct: 0, predicted: Vec::new(), truth: Vec::new() };
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            let probabilities = softmax(row);
            // A row with NaN predicts nothing: its first class with probability NaN, counted wrong.
            let best = most_likely(row);
            let truth = probabilities.get(*label as usize).copied().unwrap_or(f64::NAN);
            scores.loss -= truth.max(f64::MIN_POSITIVE).ln() + if truth.is_nan() { f64::NAN } else { 0.0 };
            scores.correct += usize::from(best == *label as usize && !truth.is_nan());
            scores.predicted.push((best, probabilities[best]));
            scores.truth.push(truth);
        }
        scores.loss /= labels.len().max(1) as f64;
        scores
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.predicted.len().max(1) as f64
    }

    /// Each image's label, and what it was taken for.
    pub fn answers(&self, labels: &[u32]) -> impl Iterator<Item = (usize, usize)> {
        labels.iter().zip(&self.predicted).map(|(label, (predicted, _))| (*label as usize, *predicted))
    }
}

/// The class with the largest of a row of logits, the first of equal ones.
pub fn most_likely(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Probabilities of a row of logits.
pub fn softmax(row: &[f32]) -> Vec<f64> {
    let top = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
    let powers: Vec<f64> = row.iter().map(|x| (f64::from(*x) - top).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
