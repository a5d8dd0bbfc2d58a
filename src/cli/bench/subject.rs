//! What `bench` measures: a network's training steps or its inference, ready to run and to inspect.

use crate::data::ImageSet;
use crate::device::Device;
use crate::graph::Store;
use crate::infer::evaluate::{self, Evaluation};
use crate::infer::sample::{self, Sampler, latent, one_hot};
use crate::models::{Architecture, Gan, Model, Normalization, Parameters, ScheduleName};
use crate::plan::Plan;
use crate::train::{ClassifierSteps, GanSettings, GanSteps, Precision, Settings, Share, gan};

/// The most steps that run between reads of the results.
const CHUNK: usize = 64;

pub struct Subject {
    store: Store,
    set: ImageSet,
    work: Work,
    done: usize,
    /// Images that a step takes or makes.
    pub images: usize,
    /// Weights of all networks involved.
    pub parameters: u64,
    /// Steps that [`Subject::run`] may do at once.
    pub most_steps: usize,
    /// The parts of a step: name, plan, and how often a step runs it.
    pub plans: Vec<(&'static str, Plan, usize)>,
}

enum Work {
    Classifier(Box<ClassifierSteps>),
    Gan(Box<GanSteps>),
    Evaluation(Box<Evaluation>, Parameters),
    Drawing(Box<Sampler>, Parameters, Box<Gan>),
}

impl Subject {
    /// `precision` is that of a classifier's training.
    pub fn new(
        model: &Model,
        set: ImageSet,
        batch: Option<usize>,
        infer: bool,
        precision: Precision,
    ) -> anyhow::Result<Subject> {
        match (model, infer) {
            (Model::Classifier(architecture), false) => classifier(architecture, set, batch.unwrap_or(128), precision),
            (Model::Classifier(architecture), true) => evaluation(architecture, set, batch.unwrap_or(evaluate::BATCH)),
            (Model::Gan(gan), false) => gan_steps(gan, set, batch),
            (Model::Gan(gan), true) => drawing(gan, set, batch.unwrap_or(sample::BATCH)),
        }
    }

    /// Floating-point operations of a step.
    pub fn flops(&self) -> u64 {
        self.plans.iter().map(|(_, plan, runs)| plan.flops() * *runs as u64).sum()
    }

    /// Bytes that a step's dispatches read and write, each tensor touched once.
    pub fn bytes(&self) -> u64 {
        self.plans.iter().map(|(_, plan, runs)| plan.bytes() * *runs as u64).sum()
    }

    pub fn dispatches(&self) -> usize {
        self.plans.iter().map(|(_, plan, runs)| plan.dispatches.len() * runs).sum()
    }

    /// Makes everything resident on a device, with the weights that training would start from.
    pub fn start(&mut self, device: &mut dyn Device) -> anyhow::Result<()> {
        device.allocate(&self.store)?;
        let weights =
            |device: &mut dyn Device, parameters: &Parameters| parameters.send(device, &parameters.initial(0));
        match &mut self.work {
            Work::Classifier(classifier) => {
                classifier.upload(device, &self.set)?;
                classifier.load(device, &classifier.initial(0))?;
            }
            Work::Gan(steps) => {
                steps.upload(device, &self.set)?;
                steps.load(device, &steps.initial(0))?;
            }
            Work::Evaluation(evaluation, parameters) => {
                evaluation.upload(device, &self.set)?;
                weights(device, parameters)?;
            }
            Work::Drawing(_, parameters, _) => weights(device, parameters)?,
        }
        Ok(())
    }

    /// Runs `count` steps, and returns the loss of each, if there is one.
    pub fn run(&mut self, device: &mut dyn Device, count: usize) -> anyhow::Result<Vec<f32>> {
        let first = self.done;
        self.done += count;
        Ok(match &mut self.work {
            Work::Classifier(classifier) => {
                classifier.run(device, first, count)?.into_iter().map(|[loss, _]| loss).collect()
            }
            Work::Gan(steps) => {
                steps.run(device, first, count)?.into_iter().map(|round| (round.real + round.fake) / 2.0).collect()
            }
            Work::Evaluation(evaluation, _) => {
                evaluation.first_logits(device, count * self.images)?;
                Vec::new()
            }
            Work::Drawing(sampler, _, gan) => {
                let numbers = first * self.images..self.done * self.images;
                let latents: Vec<f32> = numbers.clone().flat_map(|i| latent(0, i as u32, gan.noise)).collect();
                let labels: Vec<u32> = numbers.map(|i| (i % self.set.classes) as u32).collect();
                sampler.draw(device, &latents, &one_hot(&labels, self.set.classes))?;
                Vec::new()
            }
        })
    }
}

fn classifier(
    architecture: &Architecture,
    set: ImageSet,
    batch: usize,
    precision: Precision,
) -> anyhow::Result<Subject> {
    let mut settings = Settings { precision, ..Settings::from_recipe(&architecture.name, &architecture.recipe) };
    (settings.batch, settings.epochs, settings.schedule) = (batch, 1, ScheduleName::Constant);
    settings.check(set.len())?;
    let mut store = Store::default();
    let input = [set.height, set.width, set.channels];
    let (network, parameters) = architecture.declare(input, set.classes, &mut store, "classifier")?;
    let normalization = Normalization::of(&set);
    let classifier =
        ClassifierSteps::declare(&mut store, &network, parameters, &settings, &set, normalization, Share::WHOLE)?;
    Ok(Subject {
        images: batch,
        parameters: classifier.learner.parameters.count_trainable(),
        most_steps: CHUNK,
        plans: vec![("", classifier.plan.clone(), 1)],
        work: Work::Classifier(Box::new(classifier)),
        done: 0,
        store,
        set,
    })
}

/// A step is a round: the discriminator's steps and one generator step.
fn gan_steps(gan: &Gan, digits: ImageSet, batch: Option<usize>) -> anyhow::Result<Subject> {
    let mut settings = GanSettings::from_recipe(&gan.name, &gan.recipe);
    settings.batch = batch.unwrap_or(settings.batch);
    (settings.epochs, settings.schedule) = (1, ScheduleName::Constant);
    let image = gan.image(digits.classes)?;
    let train = resized(digits, image, settings.batch);
    settings.check(train.len())?;
    let (set, mut store) = (gan::grouped(&train, settings.pack, 0, 0)?, Store::default());
    let steps = GanSteps::declare(&mut store, gan, &settings, &set)?;
    let networks = [&steps.generator, &steps.discriminator];
    Ok(Subject {
        images: settings.batch * settings.discriminator_steps,
        parameters: networks.iter().map(|learner| learner.parameters.count_trainable()).sum(),
        most_steps: CHUNK.min(steps.most_rounds()),
        plans: steps.plans().into_iter().map(|(what, plan, times)| (what, plan.clone(), times)).collect(),
        work: Work::Gan(Box::new(steps)),
        done: 0,
        store,
        set,
    })
}

fn evaluation(architecture: &Architecture, set: ImageSet, batch: usize) -> anyhow::Result<Subject> {
    anyhow::ensure!(batch <= set.len(), "--batch {batch} is more than the {} images there are", set.len());
    let mut store = Store::default();
    let input = [set.height, set.width, set.channels];
    let (network, parameters) = architecture.declare(input, set.classes, &mut store, "classifier")?;
    let normalization = Normalization::of(&set);
    let evaluation = Evaluation::declare(batch, &mut store, &network, &parameters, &set, normalization)?;
    Ok(Subject {
        images: batch,
        parameters: parameters.count_trainable(),
        most_steps: CHUNK.min(evaluation.room() / batch),
        plans: vec![("", evaluation.plan().clone(), 1)],
        work: Work::Evaluation(Box::new(evaluation), parameters),
        done: 0,
        store,
        set,
    })
}

fn drawing(gan: &Gan, set: ImageSet, batch: usize) -> anyhow::Result<Subject> {
    anyhow::ensure!(batch <= 1 << 20, "--batch {batch} is more than 1,048,576");
    let mut store = Store::default();
    let image = gan.image(set.classes)?;
    let (network, parameters) = gan.declare_generator(image, set.classes, &mut store)?;
    let sampler = Sampler::declare(batch, &mut store, &network, &parameters, gan.range()?)?;
    Ok(Subject {
        images: batch,
        parameters: parameters.count_trainable(),
        most_steps: CHUNK,
        plans: vec![("", sampler.plan().clone(), 1)],
        work: Work::Drawing(Box::new(sampler), parameters, Box::new(gan.clone())),
        done: 0,
        store,
        set,
    })
}

/// Digits as images of the size that a GAN draws, each pixel that of its place in the digit: as many as take no more
/// memory than the digits do, but enough for a step of `batch`.
fn resized(digits: ImageSet, image: [usize; 3], batch: usize) -> ImageSet {
    if image == [digits.height, digits.width, digits.channels] {
        return digits;
    }
    let [height, width, channels] = image;
    let size = height * width * channels;
    let count = (digits.images.len() / size).max(2 * batch).min(digits.len());
    let mut images = Vec::with_capacity(count * size);
    for i in 0..count {
        let digit = digits.image(i);
        for place in 0..height * width {
            let (y, x) = (place / width * digits.height / height, place % width * digits.width / width);
            let pixel = digit[(y * digits.width + x) * digits.channels];
            images.extend(std::iter::repeat_n(pixel, channels));
        }
    }
    let labels = digits.labels[..count].to_vec();
    ImageSet { height, width, channels, classes: digits.classes, images: images.into(), labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_images_of_any_size_and_are_as_many_as_fit_or_a_step_needs() {
        let digits = |count: usize| {
            let images = [1u8, 2, 3, 4].repeat(count).into();
            ImageSet { height: 2, width: 2, channels: 1, classes: 2, images, labels: vec![1; count] }
        };
        let large = resized(digits(20), [4, 2, 2], 1);
        assert_eq!(large.image(4), [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!((large.height, large.width, large.channels, large.len()), (4, 2, 2, 5));
        assert_eq!(large.images.len(), 5 * large.image_len());
        assert_eq!(resized(digits(20), [4, 2, 2], 6).len(), 12, "two steps");
        let small = resized(digits(20), [1, 2, 1], 64);
        assert_eq!((small.image(19), small.len()), (&[1, 2][..], 20));
        assert_eq!(resized(digits(3), [2, 2, 1], 64), digits(3));
    }
}
