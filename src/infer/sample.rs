//! A trained generator in use: pictures from latents and labels, batch by batch, on any device.

use std::path::Path;

use super::InferError;
use crate::data::ImageSet;
use crate::device::{Device, DeviceError, Lazy};
use crate::graph::{BufferId, Graph, Store};
use crate::models::{Gan, Inputs, Mode, ModelError, ModelFile, Network, Parameters, Values};
use crate::ops::random::{self, streams};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Pictures that one dispatch draws; no picture depends on it.
pub const BATCH: usize = 250;

/// The most pictures drawn at once if there are many to draw: few enough to be negligible.
const MOST: u64 = 1000;
/// Operations that a batch of more than [`BATCH`] may take: drivers give up on a GPU that is busy for seconds, and in
/// that time a small one does a hundred times as many.
const LIGHT: u64 = 20_000_000_000;

/// What precedes the names of a generator's tensors in a model file.
pub const PREFIX: &str = "generator/";

/// A generator on a device: the plan that draws, and the stored buffers between it and the host.
pub struct Sampler {
    latents: BufferId,
    labels: BufferId,
    pictures: BufferId,
    latent: usize,
    classes: usize,
    image: usize,
    batch: usize,
    /// `byte / 255 = number * scale + mean`
    range: (f32, f32),
    plan: Lazy,
}

impl Sampler {
    /// Adds its buffers to the store, for `batch` pictures per dispatch: if only a few are drawn at a time, a small
    /// batch wastes less. Weights and running statistics are read from the buffers that `parameters` names; `range` is
    /// [`Gan::range`].
    ///
    /// # Errors
    /// If the network is not a generator of these sizes.
    pub fn declare(
        batch: usize,
        store: &mut Store,
        network: &Network,
        parameters: &Parameters,
        range: (f32, f32),
    ) -> Result<Sampler, InferError> {
        let batch = batch.max(1);
        let (latent, classes) = (network.input.iter().product(), network.classes.unwrap_or(0));
        let image: usize = network.output().iter().product();
        let latents = store.place("drawing.latents", Tensor::f32([batch, latent]));
        let labels = store.place("drawing.labels", Tensor::f32([batch, classes]));
        let pictures = store.place("drawing.pictures", Tensor::f32([batch, image]));

        let mut graph = Graph::new();
        let (x, label) = (graph.read(&latents), graph.read(&labels));
        let inputs = Inputs { x, label: Some(label) };
        let forward = network.forward(&mut graph, parameters, inputs, Mode::Infer)?;
        graph.assign(forward.out, pictures.clone())?;
        Ok(Sampler {
            latents: latents.buffer,
            labels: labels.buffer,
            pictures: pictures.buffer,
            latent,
            classes,
            image,
            batch,
            range,
            plan: Lazy::new(&graph),
        })
    }

    /// Allocates the device's store for this generator alone.
    ///
    /// # Errors
    /// Device errors.
    pub fn open(generator: &Generator, device: &mut dyn Device) -> Result<Sampler, InferError> {
        Sampler::open_for(BATCH, generator, device)
    }

    /// As [`Sampler::open`], with [`Sampler::declare`]'s `batch`, or as much of it as the device has room for.
    ///
    /// # Errors
    /// Device errors.
    pub fn open_for(mut batch: usize, generator: &Generator, device: &mut dyn Device) -> Result<Sampler, InferError> {
        loop {
            match Sampler::open_at(batch, generator, device) {
                Err(InferError::Device(DeviceError::Limit { .. } | DeviceError::OutOfMemory { .. })) if batch > 1 => {
                    batch /= 2;
                }
                opened => return opened,
            }
        }
    }

    fn open_at(batch: usize, generator: &Generator, device: &mut dyn Device) -> Result<Sampler, InferError> {
        let (mut store, network, parameters) = generator.declare()?;
        let values = generator.values(&parameters)?;
        let mut sampler = Sampler::declare(batch, &mut store, &network, &parameters, generator.gan.range()?)?;
        device.allocate(&store)?;
        parameters.send(device, &values)?;
        sampler.plan.prepare(device)?;
        Ok(sampler)
    }

    pub fn plan(&self) -> &Plan {
        self.plan.plan()
    }

    /// Pictures drawn at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Draws pictures, as bytes `[n, h, w, c]`, from `latents [n, latent]` and `labels [n, classes]`, whose rows say
    /// how much of each class is wanted. Uses the current weights.
    ///
    /// # Errors
    /// [`InferError::Input`] for other than whole rows, as many of latents as of labels; and device errors.
    pub fn draw(&mut self, device: &mut dyn Device, latents: &[f32], labels: &[f32]) -> Result<Vec<u8>, InferError> {
        let (latent, classes, count) = (self.latent, self.classes, latents.len() / self.latent.max(1));
        if latents.len() != count * latent || labels.len() != count * classes {
            let problem = format!(
                "takes rows of {latent} numbers and as many rows of {classes} classes; it was given {} and {} numbers",
                latents.len(),
                labels.len()
            );
            return Err(InferError::Input { what: "a generator", problem });
        }
        let plan = self.plan.ready(device)?;
        let mut bytes = Vec::with_capacity(count * self.image);
        let (mean, scale) = self.range;
        for (latents, labels) in latents.chunks(self.batch * self.latent).zip(labels.chunks(self.batch * self.classes))
        {
            // The rest of the last batch is drawn from leftover inputs, and is not read.
            device.write_f32(self.latents, 0, latents)?;
            device.write_f32(self.labels, 0, labels)?;
            device.run(&[plan], 1)?;
            let numbers = device.read_f32(self.pictures, 0, latents.len() / self.latent * self.image)?;
            // `as` takes NaN to 0 and clamps the rest.
            bytes.extend(numbers.iter().map(|x| ((x * scale + mean) * 255.0 + 0.5) as u8));
        }
        Ok(bytes)
    }
}

/// A trained generator: what its file holds.
#[derive(Clone, Debug)]
pub struct Generator {
    gan: Gan,
    image: [usize; 3],
    class_names: Vec<String>,
    file: ModelFile,
}

impl Generator {
    /// Reads a generator that GAN training wrote; [`ModelFile::open`] finds the file.
    ///
    /// # Errors
    /// [`ModelError`] if it is not such a file.
    pub fn load(path: &Path) -> Result<Generator, ModelError> {
        Generator::new(ModelFile::open(path)?)
    }

    /// The generator that ships with the program; `models/gan.md` describes it.
    ///
    /// # Errors
    /// Only if the program was built with a file that is not a generator.
    pub fn builtin() -> Result<Generator, ModelError> {
        Generator::new(ModelFile { name: "the built-in generator".into(), ..ModelFile::shipped("gan")? })
    }

    /// A generator from a file in memory.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn new(file: ModelFile) -> Result<Generator, ModelError> {
        let gan = file.gan()?;
        let image = file.image()?;
        let class_names = file.class_names()?;
        let generator = Generator { gan, image, class_names, file };
        // A mismatch is reported now, not when it draws.
        let (_, network, parameters) = generator.declare()?;
        drop(network);
        generator.values(&parameters)?;
        Ok(generator)
    }

    /// Numbers in a latent.
    pub fn latent(&self) -> usize {
        self.gan.noise
    }
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }
    /// Height, width and channels of a picture.
    pub fn image(&self) -> [usize; 3] {
        self.image
    }
    /// Its metadata say how it was trained, and on what.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// How many of `pictures` pictures a [`Sampler`] should draw at once. A GPU is busier the more there are; every
    /// device draws whole batches, so all batches should be about equally full.
    ///
    /// # Errors
    /// Only for a generator that could not be loaded either.
    pub fn batch(&self, pictures: u64) -> Result<usize, InferError> {
        let times = pictures.div_ceil(MOST).max(1);
        let batch = (pictures.div_ceil(times) as usize).next_multiple_of(BATCH);
        if batch <= BATCH {
            return Ok(BATCH);
        }
        let (mut store, network, parameters) = self.declare()?;
        let few = Sampler::declare(BATCH, &mut store, &network, &parameters, self.gan.range()?)?;
        let is_light = few.plan().flops() * (batch / BATCH) as u64 <= LIGHT;
        Ok(if is_light { batch } else { BATCH })
    }

    fn declare(&self) -> Result<(Store, Network, Parameters), ModelError> {
        let mut store = Store::default();
        let (network, parameters) = self.gan.declare_generator(self.image, self.classes(), &mut store)?;
        Ok((store, network, parameters))
    }

    fn values(&self, parameters: &Parameters) -> Result<Values, ModelError> {
        self.file.values(PREFIX, parameters)
    }
}

/// The latent of picture `index` under `seed`: standard normal, by Box-Muller in f64, the same on every machine.
pub fn latent(seed: u32, index: u32, len: usize) -> Vec<f32> {
    let key = random::key([index, seed], streams::LATENTS);
    let draw = |i: usize| f64::from(random::unit(random::draw(key, i as u32)));
    let pair = |i: usize| {
        let radius = (-2.0 * (1.0 - draw(2 * i)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * draw(2 * i + 1)).sin_cos();
        [(radius * cos) as f32, (radius * sin) as f32]
    };
    (0..len.div_ceil(2)).flat_map(pair).take(len).collect()
}

/// Where the latents of a set of pictures come from: picture `i` has latent `i` of the seed, scaled.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Source {
    pub seed: u32,
    /// Numbers in a latent.
    pub len: usize,
    pub truncation: f32,
}

impl Source {
    /// The latents of the first `count` pictures, `[count, len]`.
    pub fn latents(self, count: usize) -> Vec<f32> {
        let each = (0..count as u32).flat_map(|i| latent(self.seed, i, self.len));
        each.map(|x| x * self.truncation).collect()
    }
}

/// Latents and labels of a sheet in which each row has one latent of the seed and each column one class, for a
/// generator of `len` numbers and `classes` classes.
pub fn rows_by_class(seed: u32, [rows, columns]: [usize; 2], len: usize, classes: usize) -> (Vec<f32>, Vec<f32>) {
    let latents = (0..rows * columns).flat_map(|i| latent(seed, (i / columns) as u32, len)).collect();
    let labels: Vec<u32> = (0..rows * columns).map(|i| (i % columns) as u32).collect();
    (latents, one_hot(&labels, classes))
}

/// A labelled set of pictures that `draw` makes, one for each of `labels`.
///
/// # Errors
/// Errors from `draw`.
pub fn labelled<E>(
    labels: &[u32],
    classes: usize,
    image: [usize; 3],
    source: Source,
    draw: impl FnOnce(&[f32], &[f32]) -> Result<Vec<u8>, E>,
) -> Result<ImageSet, E> {
    let images = draw(&source.latents(labels.len()), &one_hot(labels, classes))?;
    let [height, width, channels] = image;
    Ok(ImageSet { height, width, channels, classes, images: images.into(), labels: labels.to_vec() })
}

/// Rows of `classes` numbers: 1 at the label, 0 elsewhere.
pub fn one_hot(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut rows = vec![0.0; labels.len() * classes];
    for (row, label) in rows.chunks_exact_mut(classes.max(1)).zip(labels) {
        if let Some(own) = row.get_mut(*label as usize) {
            *own = 1.0;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;

    #[test]
    fn latents_and_labels_that_are_not_as_many_whole_rows_are_refused() {
        let (generator, mut device) = (Generator::builtin().unwrap(), Cpu::new());
        let mut sampler = Sampler::open_for(2, &generator, &mut device).unwrap();
        let len = generator.latent();
        let latents = Source { seed: 0, len, truncation: 1.0 }.latents(3);
        let pictures = sampler.draw(&mut device, &latents, &one_hot(&[1, 2, 3], 10)).unwrap();
        assert_eq!(pictures.len(), 3 * generator.image().iter().product::<usize>());
        for (latents, labels) in
            [(&latents[..], &[1, 2][..]), (&latents[..2 * len], &[1, 2, 3]), (&latents[1..], &[1, 2])]
        {
            let refused = sampler.draw(&mut device, latents, &one_hot(labels, 10)).unwrap_err().to_string();
            assert!(refused.contains(&format!("it was given {} and", latents.len())), "{refused}");
        }
    }

    #[test]
    fn a_sampler_whose_device_another_has_taken_is_refused_and_changes_nothing_of_the_others() {
        let (generator, mut device) = (Generator::builtin().unwrap(), Cpu::new());
        let mut open = || Sampler::open_for(2, &generator, &mut device).unwrap();
        let (mut old, mut new) = (open(), open());
        let read = |device: &mut dyn Device, buffer| device.read_f32(buffer, 0, generator.latent()).unwrap();
        let (latents, labels) = rows_by_class(1, [1, 2], generator.latent(), 10);
        new.draw(&mut device, &latents, &labels).unwrap();
        let before = read(&mut device, new.latents);
        let (others, labels) = rows_by_class(2, [1, 2], generator.latent(), 10);
        assert!(matches!(old.draw(&mut device, &others, &labels), Err(InferError::Device(_))));
        assert_eq!(read(&mut device, new.latents), before);
    }

    #[test]
    fn truncation_scales_the_latents_of_a_whole_set() {
        let latents = |truncation: f32| Source { seed: 3, len: 5, truncation }.latents(4);
        assert_eq!(latents(1.0)[5..10], latent(3, 1, 5));
        assert_eq!(latents(0.5), latents(1.0).iter().map(|x| x * 0.5).collect::<Vec<f32>>());
    }

    #[test]
    fn rows_of_no_class_are_empty() {
        assert!(one_hot(&[1, 2], 0).is_empty());
    }

    #[test]
    fn many_pictures_are_drawn_in_large_batches_of_about_one_size() {
        let generator = Generator::builtin().unwrap();
        let batch = |pictures| generator.batch(pictures).unwrap();
        let found = [0, 1, 250, 251, 1000, 1001, 2250, 1_000_000].map(batch);
        assert_eq!(found, [250, 250, 250, 500, 1000, 750, 750, 1000]);
    }
}
