//! Images as training sees them: gathered in a shuffle, extended and augmented; and the same pictures for the eye.

use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Graph, GraphError, Place, Store, Value};
use crate::infer::evaluate::{Normalization, pack};
use crate::models::Augmentation;
use crate::ops::augment::Augment;
use crate::ops::sample::{GatherImages, GatherLabels, Order};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Keeps the draws apart from those of layers, which count from 0.
const STREAM: u32 = 0x4155_474d;

/// A batch of a training set.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Images in the set, as they are stored.
    pub count: usize,
    pub batch: usize,
    /// Height, width and channels.
    pub image: [usize; 3],
    pub normalization: Normalization,
    pub augment: Augmentation,
}

impl Seen {
    /// `f32 [batch, h, w, c]`, normalised, of all images as packed bytes and the clock.
    ///
    /// # Errors
    /// Where the ops refuse: the augmentation is out of bounds or not for images of this size.
    pub fn images(&self, graph: &mut Graph, bytes: Value, clock: Value) -> Result<Value, GraphError> {
        let Normalization { mean, std } = self.normalization;
        let gather = GatherImages {
            count: self.count,
            batch: self.batch,
            image: self.image.into(),
            mean,
            std,
            window: self.augment.window(),
            order: Order::Shuffled,
        };
        let images = graph.apply(gather, &[bytes, clock])?;
        match augment(&self.augment, self.normalization) {
            Some(augment) => graph.apply(augment, &[images, clock]),
            None => Ok(images),
        }
    }

    /// Their labels, `u32 [batch]`, of all labels and the clock.
    ///
    /// # Errors
    /// Where the op refuses.
    pub fn labels(&self, graph: &mut Graph, labels: Value, clock: Value) -> Result<Value, GraphError> {
        let [h, w, _] = self.image;
        let copies = self.augment.window().filter(|window| window.is_within([h, w]));
        let copies = copies.map_or(1, |window| window.places([h, w]));
        let gather = GatherLabels { count: self.count, copies, batch: self.batch, order: Order::Shuffled };
        graph.apply(gather, &[labels, clock])
    }
}

/// The op for images of this normalization, if there is anything for it to do.
fn augment(augmentation: &Augmentation, Normalization { mean, std }: Normalization) -> Option<Augment> {
    let Augmentation { rotate, shift, zoom, shear, elastic, erase, noise, quarter_turns, extend: _ } = *augmentation;
    let op = Augment {
        rotate,
        shift,
        zoom,
        shear,
        quarter_turns,
        elastic,
        erase,
        noise: noise / std,
        black: -mean / std,
        stream: STREAM,
    };
    let only_extended = Augmentation { extend: augmentation.extend, ..Augmentation::default() };
    (*augmentation != only_extended).then_some(op)
}

/// What training would see of single images, drawn by the plan that a step begins with.
pub struct Preview {
    image: BufferId,
    clock: BufferId,
    seen: BufferId,
    batch: usize,
    size: usize,
    normalization: Normalization,
    plan: Plan,
    ready: Option<PlanId>,
}

impl Preview {
    /// For images `[h, w, c]`, `batch` variations at a time.
    ///
    /// # Errors
    /// As [`Seen::images`].
    pub fn declare(
        store: &mut Store,
        image: [usize; 3],
        batch: usize,
        normalization: Normalization,
        augment: Augmentation,
    ) -> Result<Preview, GraphError> {
        let size = image.iter().product::<usize>();
        let mut stored = |name: &str, tensor: Tensor| {
            let buffer = store.add(format!("preview.{name}"), tensor.len());
            Place { buffer, offset: 0, tensor }
        };
        let bytes = stored("image", Tensor::u32([size.div_ceil(4)]));
        let clock = stored("clock", Tensor::u32([2]));
        let pictures = stored("seen", Tensor::f32([batch, image[0], image[1], image[2]]));
        let mut graph = Graph::new();
        let (all, now) = (graph.read(&bytes), graph.read(&clock));
        // A set of one image, gone through again and again.
        let seen = Seen { count: 1, batch, image, normalization, augment }.images(&mut graph, all, now)?;
        graph.assign(seen, pictures.clone());
        let (image, clock, seen) = (bytes.buffer, clock.buffer, pictures.buffer);
        Ok(Preview { image, clock, seen, batch, size, normalization, plan: Plan::new(&graph), ready: None })
    }

    /// Variations of an image's bytes, `[batch, h, w, c]`, as bytes again; other steps and seeds draw others.
    ///
    /// # Errors
    /// Those of the device.
    pub fn draw(
        &mut self,
        device: &mut dyn Device,
        image: &[u8],
        [step, seed]: [u32; 2],
    ) -> Result<Vec<u8>, DeviceError> {
        let plan = match self.ready {
            Some(plan) => plan,
            None => *self.ready.insert(device.prepare(&self.plan)?),
        };
        device.write(self.image, 0, &pack(image))?;
        device.write(self.clock, 0, &[step, seed])?;
        device.run(&[plan], 1)?;
        let Normalization { mean, std } = self.normalization;
        let seen = device.read_f32(self.seen, 0, self.batch * self.size)?;
        // `as` holds what noise took beyond black and white to them.
        Ok(seen.iter().map(|x| ((x * std + mean) * 255.0 + 0.5) as u8).collect())
    }
}
