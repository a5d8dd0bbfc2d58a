//! A network's logits for every image of a set.

use super::InferError;
use crate::data::{ImageSet, Pixels, pack};
use crate::device::{Device, DeviceError, Lazy};
use crate::graph::{BufferId, Graph, GraphError, Place, Store, Value};
use crate::models::{Augmentation, Forward, Mode, ModelFile, Network, Normalization, Parameters, by};
use crate::ops::augment::Augment;
use crate::ops::random::streams;
use crate::ops::sample::{GatherImages, Order};
use crate::ops::updates::{StoreRows, Tick};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// How an image's other views differ from it at most.
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

/// Images that one dispatch of the evaluation handles, fewer if they are large ([`Network::images_at_once`]); accuracy
/// does not depend on it.
pub const BATCH: usize = 256;

/// Bytes of images, and of their logits, that are on a device at once. A larger set is processed in pieces, so it need
/// not fit into a buffer.
const PIECE: usize = 64 << 20;

/// The stored buffers and the plan that classify image sets, resident on the device.
pub struct Evaluation {
    images: BufferId,
    clock: BufferId,
    logits: Rows,
    features: Option<Rows>,
    /// Images that the buffers have room for.
    count: usize,
    /// Height, width and channels of an image.
    image: [usize; 3],
    /// Images in the current set.
    held: usize,
    batch: usize,
    plan: Lazy,
    /// The images of the current set if there are more than `count`.
    pieces: Option<Pixels>,
    /// The pass over slightly altered images.
    views: Option<Lazy>,
    background: u8,
}

/// A row of numbers for each image.
#[derive(Clone, Copy)]
struct Rows {
    buffer: BufferId,
    width: usize,
}

/// Room for images of one size, and how many are processed at once.
#[derive(Clone, Copy)]
struct Room {
    count: usize,
    image: [usize; 3],
    batch: usize,
}

/// What is computed besides the logits of unaltered images: only those who ask for it pay for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Besides {
    Nothing,
    Features,
    Views,
}

impl Rows {
    fn place(self, count: usize) -> Place {
        Place::whole(self.buffer, Tensor::f32([count, self.width]))
    }
}

/// What a plan is built from.
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
    /// A graph of the network's pass over the next batch, augmented or not; also returns the clock's value.
    fn forward(&self, augment: Option<Augment>) -> Result<(Graph, Value, Forward), InferError> {
        let mut graph = Graph::new();
        let (now, bytes) = (graph.read(&self.clock), graph.read(&self.images));
        let Normalization { mean, std, .. } = self.normalization;
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
    /// Adds its buffers to the store, for `batch` images of the set per dispatch. Weights and running statistics are
    /// read from the buffers that `parameters` names.
    ///
    /// # Errors
    /// If the network does not fit the images.
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

    /// For one set after another, of images of the network's own size: at most `count` at once, or fewer if the images
    /// or what is kept of them would be large ([`Evaluation::room`]). Also keeps the input of the last dense layer,
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
        if count == 0 {
            return Err(unfit("needs at least one image to look at".into()));
        }
        // A network takes whatever has as many numbers as its images.
        let takes = network.image()?;
        if image != takes {
            return Err(unfit(format!(
                "of {} takes images of {}, not of {}",
                network.architecture.name,
                by(&takes),
                by(&image)
            )));
        }
        let words = (count * image.iter().product::<usize>()).div_ceil(4);
        let asked = Asked {
            network,
            parameters,
            normalization,
            images: store.place("evaluation.images", Tensor::u32([words])),
            clock: store.place("evaluation.clock", Tensor::u32([2])),
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

        let views = match VIEWS.op(normalization, streams::VIEWS) {
            Some(augment) if besides == Besides::Views => {
                // An image's answer must not depend on the images beside it.
                let (mut graph, now, forward) = asked.forward(Some(Augment { alike: true, ..augment }))?;
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
            image,
            held: count,
            batch,
            plan: Lazy::new(&graph),
            pieces: None,
            views,
            background: normalization.background,
        })
    }

    /// Opens a file's classifier on a device of its own, whose buffers are allocated afresh, with the images it is to
    /// classify.
    ///
    /// # Errors
    /// If the file holds no classifier or the images have another size; device errors.
    pub fn open(file: &ModelFile, set: &ImageSet, device: &mut dyn Device) -> Result<Evaluation, InferError> {
        let image = [set.height, set.width, set.channels];
        let mut evaluation = Evaluation::open_for(file, (at_once(set, BATCH, PIECE), image), device)?;
        evaluation.hold(device, set)?;
        Ok(evaluation)
    }

    /// The same for images that are sent later: `images` is the most at once, and their size.
    ///
    /// # Errors
    /// As [`Evaluation::open`].
    pub fn open_for(
        file: &ModelFile,
        images: (usize, [usize; 3]),
        device: &mut dyn Device,
    ) -> Result<Evaluation, InferError> {
        let mut store = Store::default();
        let (network, parameters) = file.network(&mut store, "classifier")?;
        let values = file.values("", &parameters)?;
        let normalization = Normalization::read(file)?;
        let room = Room { count: images.0, image: images.1, batch: network.images_at_once(BATCH) };
        let views = Besides::Views;
        let mut evaluation = Evaluation::write_down(&mut store, &network, &parameters, room, normalization, views)?;
        device.allocate(&store)?;
        parameters.send(device, &values)?;
        evaluation.prepare(device)?;
        Ok(evaluation)
    }

    pub fn plan(&self) -> &Plan {
        self.plan.plan()
    }

    /// The byte that stands for what lies outside the model's images.
    pub fn background(&self) -> u8 {
        self.background
    }

    /// Images that there is room for at once.
    pub fn room(&self) -> usize {
        self.count
    }

    /// Prepares the plan and sends the images to the device. Call it once, after the store is allocated.
    ///
    /// # Errors
    /// As [`Evaluation::hold`].
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), InferError> {
        self.prepare(device)?;
        self.hold(device, set)
    }

    /// Makes a set of images of the same size the current one. It may have any number of images: if there is no room
    /// for all of them, they are processed in pieces.
    ///
    /// # Errors
    /// [`InferError::Input`] for images of another size or bytes that are not those of the images, and device errors.
    pub fn hold(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), InferError> {
        let size = [set.height, set.width, set.channels];
        if size != self.image {
            return Err(unfit(format!("is for images of {}, not of {}", by(&self.image), by(&size))));
        }
        if set.images.len() != set.len() * set.image_len() {
            let (found, count) = (set.images.len(), set.len());
            return Err(unfit(format!("was given {found} bytes, not those of {count} images of {}", by(&size))));
        }
        self.held = set.len();
        let fits = set.len() <= self.count;
        self.pieces = (!fits).then(|| set.images.clone());
        if fits { self.send(device, &set.images) } else { Ok(()) }
    }

    /// Prepares the plan, for images that are sent later. Call it once, after the store is allocated.
    pub fn prepare(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.plan.prepare(device).map(|_| ())
    }

    /// Replaces the first images on the device with these, at most as many as there is room for; the rest stay as they
    /// were. This does not replace anything in a set that is processed in pieces: [`Evaluation::hold`] another instead.
    ///
    /// # Errors
    /// [`InferError::Images`] for more images than that or for a partial image, and device errors.
    pub fn send(&mut self, device: &mut dyn Device, images: &[u8]) -> Result<(), InferError> {
        let (given, size, capacity) = (images.len(), self.image_len(), self.count);
        if !given.is_multiple_of(size) || given / size > capacity {
            return Err(InferError::Images { given, size, capacity });
        }
        // If another has taken the device, this is refused before it overwrites what is the other's.
        self.plan.ready(device)?;
        Ok(device.write(self.images, 0, &pack(images))?)
    }

    /// The logits of all images, `[count, classes]`, with the current weights.
    ///
    /// # Errors
    /// Device errors.
    pub fn logits(&mut self, device: &mut dyn Device) -> Result<Vec<f32>, InferError> {
        self.mean_logits(device, self.held, 1)
    }

    /// The same for the first `count` images on the device only, without work for the others.
    ///
    /// # Errors
    /// [`InferError::Input`] for more images than there are, and device errors.
    pub fn first_logits(&mut self, device: &mut dyn Device, count: usize) -> Result<Vec<f32>, InferError> {
        refuse_more_than(self.held.min(self.count), count)?;
        let plan = self.plan.ready(device)?;
        device.write(self.clock, 0, &[0, 0])?;
        device.run(&[plan], count.div_ceil(self.batch))?;
        Ok(device.read_f32(self.logits.buffer, 0, count * self.logits.width)?)
    }

    /// Bytes of an image.
    fn image_len(&self) -> usize {
        self.image.iter().product::<usize>().max(1)
    }

    /// The mean logits of `views` views of each of the first `count` images: the image itself, and others that are
    /// slightly rotated, shifted and zoomed ([`VIEWS`]) on the model's background, each in its own way, which is the
    /// same for all images.
    ///
    /// # Errors
    /// [`InferError::Input`] for more images than there are, and for several views from what was only declared, not
    /// opened; device errors.
    pub fn mean_logits(&mut self, device: &mut dyn Device, count: usize, views: usize) -> Result<Vec<f32>, InferError> {
        refuse_more_than(self.held, count)?;
        if views > 1 && self.views.is_none() {
            return Err(unfit(format!("has one view of an image and not {views}; open it from a model's file")));
        }
        let Some(images) = self.pieces.clone() else { return self.mean_of_first(device, count, views) };
        let (size, mut logits) = (self.image_len(), Vec::new());
        for first in (0..count).step_by(self.count) {
            let piece = first..count.min(first + self.count);
            let bytes: Vec<u8> = piece.clone().flat_map(|i| images.image(i, size)).copied().collect();
            self.send(device, &bytes)?;
            logits.extend(self.mean_of_first(device, piece.len(), views)?);
        }
        Ok(logits)
    }

    /// The same if all of these images are on the device.
    fn mean_of_first(&mut self, device: &mut dyn Device, count: usize, views: usize) -> Result<Vec<f32>, InferError> {
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

    /// The features of the first `count` images, `[count, feature_width]`, from which the latest logits were computed;
    /// empty if none are kept.
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

/// An evaluation's error for what does not fit it.
fn unfit(problem: String) -> InferError {
    InferError::Input { what: "an evaluation", problem }
}

fn refuse_more_than(there: usize, count: usize) -> Result<(), InferError> {
    match count <= there {
        true => Ok(()),
        false => Err(unfit(format!("has {there} images and was asked for the logits of {count}"))),
    }
}

/// How many images of a set go to a device at once, if `bytes` bytes may.
fn at_once(set: &ImageSet, batch: usize, bytes: usize) -> usize {
    let most = bytes / set.image_len().max(4 * set.classes).max(1);
    set.len().min(most.max(batch))
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
