//! Every setting of a run, resolved: what `config.toml` in a run's folder holds, defaults included.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::learner::Method;
use super::schedule::Schedule;
use super::{Epochs, TrainError};
use crate::data::{DataError, ImageSet, Reading};
use crate::models::{Augmentation, OptimizerName, Recipe, ScheduleName};
use crate::ops::optimizer::Optimizer;

/// The most classifiers in an ensemble.
pub const MAX_MEMBERS: usize = 100;

/// What derivatives are multiplied by in 16-bit floats. The smallest of these is 6e-8, and derivatives of a mean over a
/// batch are as small. The scaled ones stay far from the largest, 65,504: the largest derivative with respect to a
/// logit is this scale divided by the images in a batch.
const LOSS_SCALE: f32 = 1024.0;

/// In how many bits a training step on a GPU keeps what it computes from its images: results of layers and the
/// derivatives with respect to them. Weights and sums have 32. `F16` halves the memory traffic; `Mixed` also runs
/// convolutions on units that multiply matrices of 16-bit numbers. (`--help` would show comments on the variants, with
/// a line for each.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    F16,
    Mixed,
}

impl Precision {
    fn is_f32(&self) -> bool {
        *self == Precision::F32
    }
    /// Whether what is computed from images has 16 bits.
    pub fn is_halved(&self) -> bool {
        !self.is_f32()
    }
}

impl Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Mixed => "mixed",
        })
    }
}

/// `model`, `data`, `from`, `members`, `device` and `reading` say what whoever makes a run was asked for. A
/// [`Run`](super::Run) is given the architecture, the images, the device and, in its folder, the model that it starts
/// from. It only records these settings, for `--resume` and for readers of its model files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The architecture's name; its text is in the model file.
    pub model: String,
    /// Where its images are: IDX files, a table or pictures; the built-in MNIST if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The trained model that the run starts from, if any; a copy of it is in the run's folder, without which the run
    /// is refused ([`Folder::begin`](super::Folder::begin) writes it). [`Live`](super::Live) refuses any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Classifiers that are trained one after another, each with its own seed, and joined; 1 is no ensemble. `inkgrad
    /// train` makes a run for each: a [`Run`](super::Run) trains one, [`Live`](super::Live) refuses more.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub members: usize,
    /// A device's name, or `auto`.
    pub device: String,
    pub seed: u32,
    pub epochs: usize,
    /// Images in a step.
    pub batch: usize,
    #[serde(serialize_with = "word", deserialize_with = "parse")]
    pub optimizer: OptimizerName,
    pub learning_rate: f32,
    #[serde(serialize_with = "word", deserialize_with = "parse")]
    pub schedule: ScheduleName,
    /// Epochs over which the learning rate rises from 0.
    pub warmup: f32,
    /// Momentum of `sgd`, where 0 is plain descent; for `adam` and its kin, the decay of the first moment, beta1; the
    /// others have none. From 0 to below 1.
    pub momentum: f32,
    pub weight_decay: f32,
    pub label_smoothing: f32,
    /// Decay of the averaged weights; 0 for none.
    pub average: f32,
    /// Precision of what a step keeps on the device for each image.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Training images set aside to choose the best epoch by; 0 for none.
    pub validation: usize,
    /// The seed by which those images are drawn; the run's own if absent. For a run that starts from a model of the same
    /// images it should be the one by which that drew them, as `inkgrad train` has it: the model has learned from the
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_seed: Option<u32>,
    /// Epochs without a better validation accuracy before the run stops; 0 for never.
    pub patience: usize,
    /// How many models of every epoch are kept in the run's folder, besides the one before the first step; 0 for none
    /// at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snapshots: usize,
    /// What is done to training images. A table in TOML, so it comes after all plain values.
    #[serde(default, skip_serializing_if = "Augmentation::is_none")]
    pub augment: Augmentation,
    /// How the data are read.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub reading: Reading,
}

fn one() -> usize {
    1
}

fn is_one(members: &usize) -> bool {
    *members == 1
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

pub(super) fn word<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn parse<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A classifier's settings or a GAN's, as `config.toml` has them.
pub(super) fn text_of(settings: &impl Serialize) -> String {
    // Settings are plain words and numbers, which TOML always has a form for.
    toml::to_string(settings).unwrap_or_default()
}

/// The error for a setting, with its value and what it must be, if there is a problem with one.
fn refuse(problem: Option<(&str, String, String)>) -> Result<(), TrainError> {
    problem.map_or(Ok(()), |(setting, value, wanted)| Err(TrainError::setting(setting, value, wanted)))
}

impl Settings {
    /// The recipe's settings, and a plain choice for whatever it leaves open.
    pub fn from_recipe(model: &str, recipe: &Recipe) -> Settings {
        let optimizer = recipe.optimizer.unwrap_or_default();
        let learning_rate = match optimizer {
            OptimizerName::Sgd => 0.05,
            OptimizerName::AdaGrad => 0.01,
            OptimizerName::AdaDelta => 1.0,
            _ => 1e-3,
        };
        Settings {
            model: model.into(),
            data: None,
            from: None,
            members: 1,
            device: "auto".into(),
            seed: 0,
            epochs: recipe.epochs.unwrap_or(5),
            batch: recipe.batch.unwrap_or(128),
            optimizer,
            learning_rate: recipe.learning_rate.unwrap_or(learning_rate),
            schedule: recipe.schedule.unwrap_or(ScheduleName::Constant),
            warmup: recipe.warmup.unwrap_or(0.0),
            momentum: recipe.momentum.unwrap_or(0.9),
            weight_decay: recipe.weight_decay.unwrap_or(if optimizer == OptimizerName::AdamW { 0.01 } else { 0.0 }),
            label_smoothing: recipe.label_smoothing.unwrap_or(0.0),
            average: recipe.average.unwrap_or(0.0),
            precision: Precision::F32,
            validation: recipe.validation.unwrap_or(0),
            validation_seed: None,
            patience: recipe.patience.unwrap_or(0),
            snapshots: 0,
            augment: recipe.augment.unwrap_or_default(),
            reading: Reading::default(),
        }
    }

    /// The settings as `config.toml` has them.
    pub fn text(&self) -> String {
        text_of(self)
    }

    /// Refuses settings that cannot be trained with on so many training images, naming the setting, its value and what
    /// would do.
    pub fn check(&self, images: usize) -> Result<(), TrainError> {
        let share = "a number from 0 to below 1";
        let in_share = |x: f32| (0.0..1.0).contains(&x);
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(TrainError::setting(
                "learning-rate",
                self.learning_rate,
                "a finite number above 0, like 0.001",
            ));
        }
        for (name, value) in [("warmup", self.warmup), ("weight-decay", self.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(TrainError::setting(name, value, "a finite number from 0 on"));
            }
        }
        let shares =
            [("momentum", self.momentum), ("label-smoothing", self.label_smoothing), ("average", self.average)];
        if let Some((name, value)) = shares.into_iter().find(|(_, x)| !in_share(*x)) {
            return Err(TrainError::setting(name, value, share));
        }
        if !(1..=MAX_MEMBERS).contains(&self.members) {
            return Err(TrainError::setting("members", self.members, format!("a number from 1 to {MAX_MEMBERS}")));
        }
        refuse(self.augment.problem(None))?;
        let images = self.epoch(images);
        if self.epochs == 0 {
            return Err(TrainError::setting("epochs", self.epochs, "a number from 1 on"));
        }
        if self.batch == 0 || self.batch > images {
            let wanted = format!("a number from 1 to {images}, the images to train on");
            return Err(TrainError::setting("batch", self.batch, wanted));
        }
        if self.patience > 0 && self.validation == 0 {
            let wanted = "0 if --validation is 0, as nothing then shows which epoch is better; set some images aside";
            return Err(TrainError::setting("patience", self.patience, wanted));
        }
        self.epochs_of(images).check()
    }

    /// Refuses a batch that so many devices cannot share.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where the batch is not a multiple of `parts`.
    pub fn check_parts(&self, parts: usize) -> Result<(), TrainError> {
        match self.batch.is_multiple_of(parts) {
            true => Ok(()),
            false => {
                let wanted = format!("a multiple of {parts}, the devices that share it");
                Err(TrainError::setting("batch", self.batch, wanted))
            }
        }
    }

    /// Refuses an augmentation that images of `[height, width]` cannot have.
    pub fn check_image(&self, image: [usize; 2]) -> Result<(), TrainError> {
        refuse(self.augment.problem(Some(image)))
    }

    /// Refuses an augmentation that a new run on the images of a set cannot have.
    pub fn check_images(&self, set: &ImageSet) -> Result<(), TrainError> {
        refuse(self.augment.problem_with(set))
    }

    /// The seed by which the images to validate on are drawn.
    pub(crate) fn drawn_by(&self) -> u64 {
        u64::from(self.validation_seed.unwrap_or(self.seed))
    }

    /// Splits a run's images into those to train with and those to validate on.
    ///
    /// # Errors
    /// As [`ImageSet::split`].
    pub fn split(&self, set: &ImageSet) -> Result<(ImageSet, ImageSet), DataError> {
        set.split(self.validation, self.drawn_by())
    }

    /// Images in an epoch of a set of so many: all of them, and in an extended set each at all of its places.
    pub fn epoch(&self, set: usize) -> usize {
        set * self.augment.copies()
    }

    /// Where steps lie in the run's epochs, of `images` images each.
    pub fn epochs_of(&self, images: usize) -> Epochs {
        Epochs { images, batch: self.batch, count: self.epochs }
    }

    /// How a run with `images` images in an epoch learns.
    pub fn method(&self, images: usize) -> Method {
        let steps = self.epochs_of(images).total();
        let warmup = (f64::from(self.warmup) * images as f64 / self.batch as f64).round() as usize;
        let peak = f64::from(self.learning_rate);
        Method {
            optimizer: self.optimizer(),
            schedule: Schedule { name: self.schedule, peak, steps, warmup: warmup.min(steps) },
            weight_decay: self.weight_decay,
            average: self.average,
            loss_scale: if self.precision.is_halved() { LOSS_SCALE } else { 1.0 },
        }
    }

    fn optimizer(&self) -> Optimizer {
        let momentum = self.momentum;
        let (beta1, beta2, eps) = (momentum, 0.999, 1e-7);
        match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd { momentum, nesterov: false },
            OptimizerName::RmsProp => Optimizer::RmsProp { rho: 0.9, eps },
            OptimizerName::AdaGrad => Optimizer::Adagrad { eps },
            OptimizerName::AdaDelta => Optimizer::Adadelta { rho: 0.95, eps: 1e-6 },
            OptimizerName::Adam => Optimizer::Adam { beta1, beta2, eps },
            OptimizerName::Nadam => Optimizer::Nadam { beta1, beta2, eps, momentum_decay: 4e-3 },
            OptimizerName::AdamW => Optimizer::AdamW { beta1, beta2, eps },
        }
    }
}
