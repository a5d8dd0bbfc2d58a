//! A classifier in the course of training: where it stands, its next steps, and the model files made from it.
//! Unattended and interactive runs have this in common.

use super::keeping::EPOCH;
use super::provenance::Provenance;
use super::resume::Checkpoint;
use super::steps::{RING, State};
use super::{ClassifierSteps, Epochs, Settings, Share, TrainError};
use crate::data::{DataSet, ImageSet, digest};
use crate::device::Device;
use crate::faults::{self, Fault};
use crate::graph::Store;
use crate::infer::InferError;
use crate::infer::evaluate::{BATCH, Evaluation};
use crate::models::{Architecture, Learned, ModelFile, Network, Normalization, Values};

pub(super) struct Course {
    pub settings: Settings,
    pub classifier: ClassifierSteps,
    pub network: Network,
    /// Where steps lie in the run's epochs.
    pub epochs: Epochs,
    /// Steps done.
    pub step: usize,
    /// Digest of the training data, including images for validation.
    pub digest: String,
    normalization: Normalization,
    /// What the model that training starts from has learned from.
    learned_before: Vec<Learned>,
    provenance: Provenance,
    /// The data set without its images.
    described: DataSet,
}

/// What was before a course begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Before<'a> {
    /// The model that training starts from.
    pub origin: Option<&'a ModelFile>,
    /// What the run is resumed from.
    pub kept: Option<&'a Checkpoint>,
}

impl Course {
    /// Declares everything for training on `train`, which is `data.train` or a part of it. The normalization is the one
    /// that a resumed run began with, or that of the model that training starts from. Without either, it is that of all of
    /// `data.train`: members of an ensemble, each with other images set aside, have it in common. `share` is what the
    /// device has to do.
    ///
    /// # Errors
    /// Settings that cannot be trained with on so many images of this size, an architecture that does not fit them, and
    /// an origin without a normalization.
    pub fn declare(
        store: &mut Store,
        architecture: &Architecture,
        data: &DataSet,
        train: &ImageSet,
        settings: Settings,
        before: Before,
        share: Share,
    ) -> Result<Course, TrainError> {
        settings.check(train.len())?;
        // Checked here already, before pixels are read through a window that the images might not have.
        match before.kept {
            // What it began with it goes on with.
            Some(_) => settings.check_image([data.train.height, data.train.width])?,
            None => settings.check_images(&data.train)?,
        }
        let normalization = match before {
            // A run of a version that knew no paper goes on without.
            Before { kept: Some(kept), .. } => Normalization::read(&kept.file)?,
            // What lies outside the images is theirs, and not that of the images that the model knows.
            Before { origin: Some(file), .. } => {
                Normalization { background: data.train.background(), ..Normalization::read(file)? }
            }
            Before { .. } => Normalization::of_extended(&data.train, settings.augment.window()),
        };
        let input = [train.height, train.width, train.channels];
        let (network, parameters) = architecture.declare(input, train.classes, store, "classifier")?;
        let classifier = ClassifierSteps::declare(store, &network, parameters, &settings, train, normalization, share)?;
        let described = DataSet {
            pictures: data.pictures,
            ..DataSet::new(&data.name, ImageSet::default(), ImageSet::default(), data.class_names.clone())
        };
        let epochs = settings.epochs_of(settings.epoch(train.len()));
        let digest = digest(&data.train);
        Ok(Course {
            settings,
            classifier,
            network,
            epochs,
            step: 0,
            digest,
            normalization,
            learned_before: before.origin.map(ModelFile::learned).unwrap_or_default(),
            provenance: Provenance::default(),
            described,
        })
    }

    /// How well the weights that inference would use do on a set, after [`Course::calibrate`].
    pub fn evaluation(&self, store: &mut Store, set: &ImageSet) -> Result<Evaluation, InferError> {
        let parameters = self.classifier.learner.inference_parameters();
        let batch = self.network.images_at_once(BATCH);
        Evaluation::declare(batch, store, &self.network, &parameters, set, self.normalization)
    }

    /// Sends everything to the device, to continue from `state`, which is that of `checkpoint` if there is one. Call it
    /// once, after the store was allocated.
    pub fn begin(
        &mut self,
        device: &mut dyn Device,
        train: &ImageSet,
        state: &State,
        checkpoint: Option<&ModelFile>,
    ) -> Result<(), TrainError> {
        self.provenance = Provenance::new(device, checkpoint, self.settings.seed, self.settings.precision);
        self.classifier.upload(device, train)?;
        self.classifier.load(device, state)?;
        self.step = state.step as usize;
        Ok(())
    }

    /// Runs `count` steps, at most [`RING`], and returns each one's loss and accuracy.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], after which training cannot continue.
    pub fn run(&mut self, device: &mut dyn Device, count: usize) -> Result<Vec<[f32; 2]>, TrainError> {
        let (first, count) = (self.step, count.min(RING));
        let mut steps = self.classifier.run(device, first, count)?;
        if faults::happens(Fault::NotFinite) {
            steps[0][0] = f32::NAN;
        }
        // The device's clock has advanced, whatever the result.
        self.step += count;
        match steps.iter().position(|[loss, _]| !loss.is_finite()) {
            Some(bad) => Err(self.not_finite(first + bad)),
            None => Ok(steps),
        }
    }

    /// Whole epochs done at the current step.
    pub fn epochs_done(&self) -> usize {
        self.epochs.done(self.step)
    }

    /// The next step after which a snapshot is kept: `snapshots` in each epoch, the last at its end, and no more than
    /// there are steps. It depends only on the settings and the step, so that a resumed run keeps the same snapshots.
    pub fn next_snapshot(&self) -> Option<usize> {
        let (from, to) = self.epochs.bounds(self.epochs_done());
        let (length, done) = (to - from, self.step - from);
        match self.settings.snapshots.min(length) {
            0 => None,
            wanted => Some(from + length * ((done + 1) * wanted).div_ceil(length) / wanted),
        }
    }

    /// The error where the loss is not finite after `good` good steps.
    pub fn not_finite(&self, good: usize) -> TrainError {
        let epoch = self.epochs.next(good);
        let Settings { learning_rate: rate, weight_decay: decay, .. } = self.settings;
        // A step subtracts this product times each weight from the weight: beyond 1, its sign flips.
        let weight_decay = (rate * decay > 1.0).then_some(decay);
        TrainError::NotFinite { step: good + 1, epoch, rate, weight_decay }
    }

    /// The state on the device, if it is worth keeping: the newest update may have gone wrong, which only the loss of
    /// the next step would show.
    pub fn state(&self, device: &mut dyn Device) -> Result<State, TrainError> {
        let state = self.classifier.save(device)?;
        if state.learned.is_finite() { Ok(state) } else { Err(self.not_finite(self.step)) }
    }

    /// Makes sure that averaged weights have their own statistics, before these are read.
    ///
    /// # Errors
    /// Those of the device.
    pub fn calibrate(&mut self, device: &mut dyn Device) -> Result<(), TrainError> {
        Ok(self.classifier.calibrate(device)?)
    }

    /// The weights that inference uses and their running statistics, likewise if worth keeping; call it after
    /// [`Course::calibrate`].
    pub fn inference(&self, device: &mut dyn Device) -> Result<Values, TrainError> {
        let values = self.classifier.learner.inference(device)?;
        if values.numbers().all(|x| x.is_finite()) { Ok(values) } else { Err(self.not_finite(self.step)) }
    }

    /// A model file of given values, with everything that inference and a reader need to know.
    pub fn model_file(&self, values: &Values) -> ModelFile {
        let mut file = ModelFile::new(&self.network, &self.classifier.learner.parameters, values);
        file.set_class_names(&self.described.class_names);
        self.normalization.store(&mut file);
        file.set_learned_before(&self.learned_before);
        self.provenance.describe(&mut file, &self.described, &self.digest, &self.settings.reading);
        file.set("trained", self.settings.text());
        file.set(EPOCH, self.epochs_done());
        file
    }

    /// The model as it is now, wherever in an epoch that is.
    pub fn model_now(&mut self, device: &mut dyn Device) -> Result<ModelFile, TrainError> {
        self.calibrate(device)?;
        let mut file = self.model_file(&self.inference(device)?);
        file.set("step", self.step);
        file.set(EPOCH, format!("{:.4}", self.epochs.at(self.step)));
        Ok(file)
    }
}
