//! Images as training sees them: gathered in shuffled order, extended and augmented; and the same pictures for people
//! to look at.

use crate::data::pack;
use crate::device::{Device, Lazy};
use crate::graph::{BufferId, Graph, GraphError, Store, Value};
use crate::infer::InferError;
use crate::models::{Augmentation, Normalization};
use crate::ops::random::streams;
use crate::ops::sample::{GatherImages, GatherLabels, Order, Staged};
use crate::tensor::Tensor;

/// A batch of a training set.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Images in the set, as they are stored.
    pub count: usize,
    pub batch: usize,
    /// Height, width and channels.
    pub image: [usize; 3],
    pub normalization: Normalization,
    pub augment: Augmentation,
    /// See [`GatherImages::staged`].
    pub staged: Option<Staged>,
}

impl Batch {
    /// The batch's images, `f32 [batch, h, w, c]`, normalised, from all images as packed bytes and the clock.
    ///
    /// # Errors
    /// Where the ops refuse: the augmentation is out of bounds or does not suit images of this size.
    pub fn images(&self, graph: &mut Graph, bytes: Value, clock: Value) -> Result<Value, GraphError> {
        let Normalization { mean, std, .. } = self.normalization;
        let (window, staged) = (self.augment.window(), self.staged);
        let whole = GatherImages::new(self.count, self.batch, self.image, [mean, std], Order::Shuffled);
        let gather = GatherImages { window, staged, ..whole };
        let images = graph.apply(gather, &[bytes, clock])?;
        match self.augment.op(self.normalization, streams::AUGMENT) {
            Some(augment) => graph.apply(augment, &[images, clock]),
            None => Ok(images),
        }
    }

    /// The batch's labels, `u32 [batch]`, from all labels and the clock.
    ///
    /// # Errors
    /// Where the op refuses.
    pub fn labels(&self, graph: &mut Graph, labels: Value, clock: Value) -> Result<Value, GraphError> {
        let (count, copies, batch) = (self.count, self.augment.copies(), self.batch);
        let gather = GatherLabels { count, copies, batch, order: Order::Shuffled };
        graph.apply(gather, &[labels, clock])
    }
}

/// What training would see of single images, drawn by the ops that a step begins with.
pub struct Preview {
    image: BufferId,
    clock: BufferId,
    seen: BufferId,
    batch: usize,
    size: usize,
    normalization: Normalization,
    plan: Lazy,
}

impl Preview {
    /// For images `[h, w, c]`, `batch` variations at a time.
    ///
    /// # Errors
    /// As [`Batch::images`].
    pub fn declare(
        store: &mut Store,
        image: [usize; 3],
        batch: usize,
        normalization: Normalization,
        augment: Augmentation,
    ) -> Result<Preview, GraphError> {
        let size = image.iter().product::<usize>();
        let bytes = store.place("preview.image", Tensor::u32([size.div_ceil(4)]));
        let clock = store.place("preview.clock", Tensor::u32([2]));
        let pictures = store.place("preview.seen", Tensor::f32([batch, image[0], image[1], image[2]]));
        let mut graph = Graph::new();
        let (all, now) = (graph.read(&bytes), graph.read(&clock));
        // A set of one image, gone through again and again.
        let seen =
            Batch { count: 1, batch, image, normalization, augment, staged: None }.images(&mut graph, all, now)?;
        graph.assign(seen, pictures.clone())?;
        let (image, clock, seen) = (bytes.buffer, clock.buffer, pictures.buffer);
        Ok(Preview { image, clock, seen, batch, size, normalization, plan: Lazy::new(&graph) })
    }

    /// Draws variations of an image's bytes, `[batch, h, w, c]`, as bytes again; other steps and seeds give others.
    ///
    /// # Errors
    /// [`InferError::Images`] for other than one image, and those of the device.
    pub fn draw(
        &mut self,
        device: &mut dyn Device,
        image: &[u8],
        [step, seed]: [u32; 2],
    ) -> Result<Vec<u8>, InferError> {
        if image.len() != self.size {
            return Err(InferError::Images { given: image.len(), size: self.size, capacity: 1 });
        }
        let plan = self.plan.ready(device)?;
        device.write(self.image, 0, &pack(image))?;
        device.write(self.clock, 0, &[step, seed])?;
        device.run(&[plan], 1)?;
        let Normalization { mean, std, .. } = self.normalization;
        let seen = device.read_f32(self.seen, 0, self.batch * self.size)?;
        // `as` clamps values that noise took beyond black or white.
        Ok(seen.iter().map(|x| ((x * std + mean) * 255.0 + 0.5) as u8).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageSet, mnist};
    use crate::device::cpu::Cpu;
    use crate::ops::Window;
    use crate::plan::Plan;

    /// The set with every image at each of its places, one after another.
    fn written_out(set: &ImageSet) -> ImageSet {
        let mut images = vec![0; set.len() * 77 * 784];
        for (at, placed) in images.chunks_mut(784).enumerate() {
            set.placed(at / 77, Window::DIGIT, at % 77, placed);
        }
        let labels = set.labels.iter().flat_map(|label| [*label; 77]).collect();
        ImageSet { images: images.into(), labels, ..*set }
    }

    /// The first batch of a set, as floats and labels.
    fn first(set: &ImageSet, seen: Batch) -> (Vec<f32>, Vec<u32>) {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let words = pack(&set.images);
        let bytes = store.place("images", Tensor::u32([words.len()]));
        let clock = store.place("clock", Tensor::u32([2]));
        let labels = store.place("labels", Tensor::u32([set.len()]));
        let out = store.place("out", Tensor::f32([seen.batch, 28, 28, 1]));
        let truth = store.place("truth", Tensor::u32([seen.batch]));
        let [all, now, given] = [&bytes, &clock, &labels].map(|place| graph.read(place));
        let images = seen.images(&mut graph, all, now).unwrap();
        graph.assign(images, out.clone()).unwrap();
        let gathered = seen.labels(&mut graph, given, now).unwrap();
        graph.assign(gathered, truth.clone()).unwrap();
        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        device.write(bytes.buffer, 0, &words).unwrap();
        device.write(labels.buffer, 0, &set.labels).unwrap();
        device.write(clock.buffer, 0, &[3, 5]).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        let mut found = vec![0; seen.batch];
        device.read(truth.buffer, 0, &mut found).unwrap();
        (device.read_f32(out.buffer, 0, seen.batch * 784).unwrap(), found)
    }

    fn digits() -> ImageSet {
        mnist::embedded().unwrap().train.select(&[3, 1, 4, 15, 9])
    }

    #[test]
    fn the_sampler_of_the_extended_set_and_the_written_out_set_are_the_same_to_the_bit() {
        let set = digits();
        let all = written_out(&set);
        let extended = Augmentation { extend: true, ..Augmentation::default() };
        let normalization = Normalization::of_extended(&set, extended.window());
        assert_eq!(normalization, Normalization::of(&all));
        // Many more than there are, so that every image occurs, in one epoch and the next.
        let batch = 1000;
        let sampled =
            Batch { count: set.len(), batch, image: [28, 28, 1], normalization, augment: extended, staged: None };
        let plain = Batch { count: all.len(), augment: Augmentation::default(), ..sampled };
        assert!(first(&set, sampled) == first(&all, plain));
    }

    #[test]
    fn labels_stay_with_their_images_and_black_stays_black() {
        let set = digits();
        let normalization = Normalization::of(&set);
        let augment = Augmentation { rotate: 20.0, shift: 0.3, erase: 0.3, ..Augmentation::default() };
        let plain = Augmentation::default();
        let seen = Batch { count: set.len(), batch: 20, image: [28, 28, 1], normalization, augment, staged: None };
        let (images, labels) = first(&set, seen);
        let (originals, same) = first(&set, Batch { augment: plain, ..seen });
        assert_eq!(labels, same);
        let black = originals.iter().copied().fold(f32::INFINITY, f32::min);
        for image in images.chunks(784) {
            assert!(image.iter().all(|x| *x >= black - 1e-6));
            assert!(image.iter().filter(|x| **x < black + 1e-6).count() > 300, "most of a digit is black");
        }
    }

    #[test]
    fn what_comes_in_beside_light_images_is_their_paper() {
        let mut set = digits();
        set.images.iter_mut().for_each(|byte| *byte = 250 - (*byte).min(250));
        let normalization = Normalization::of(&set);
        assert_eq!(normalization.background, 250);
        let augment = Augmentation { rotate: 20.0, shift: 0.3, zoom: 0.2, ..Augmentation::default() };
        let seen = Batch { count: set.len(), batch: 20, image: [28, 28, 1], normalization, augment, staged: None };
        let (images, _) = first(&set, seen);
        let paper = normalization.of_byte(250);
        for image in images.chunks(784) {
            assert!(image.iter().all(|x| *x < paper + 1e-5));
            assert!(image.iter().filter(|x| **x > paper - 1e-5).count() > 300, "most of it is paper");
        }
    }

    #[test]
    fn a_preview_of_half_an_image_or_of_two_is_refused() {
        let (mut store, set) = (Store::default(), digits());
        let normalization = Normalization::of(&set);
        let declared = Preview::declare(&mut store, [28, 28, 1], 2, normalization, Augmentation::default());
        let (mut preview, mut device) = (declared.unwrap(), Cpu::new());
        device.allocate(&store).unwrap();
        assert_eq!(preview.draw(&mut device, set.image(0), [0, 0]).unwrap().len(), 2 * 784);
        for wrong in [&set.images[..392], &set.images[..2 * 784], &[]] {
            assert!(matches!(preview.draw(&mut device, wrong, [0, 0]), Err(InferError::Images { size: 784, .. })));
        }
    }

    #[test]
    fn a_preview_of_nothing_is_the_image_and_of_an_extension_its_places() {
        let set = digits();
        let normalization = Normalization::of(&set);
        let draw = |augment: Augmentation| {
            let mut store = Store::default();
            let mut preview = Preview::declare(&mut store, [28, 28, 1], 77, normalization, augment).unwrap();
            let device: &mut dyn Device = &mut Cpu::new();
            device.allocate(&store).unwrap();
            preview.draw(device, set.image(2), [0, 8]).unwrap()
        };
        assert!(draw(Augmentation::default()) == set.image(2).repeat(77));
        let drawn = draw(Augmentation { extend: true, ..Augmentation::default() });
        let mut seen: Vec<&[u8]> = drawn.chunks(784).collect();
        let all = written_out(&set.select(&[2]));
        let mut wanted: Vec<&[u8]> = all.images.chunks(784).collect();
        seen.sort();
        wanted.sort();
        assert!(seen == wanted, "77 draws of one epoch are the 77 places");
    }
}
