//! Every setting of a GAN's run, resolved: what `config.toml` in a run's folder holds, defaults included.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{ImageSet, Reading};
use crate::models::{GanLoss, GanRecipe, ScheduleName};
use crate::ops::concat::Concat;
use crate::ops::optimizer::Optimizer;
use crate::train::learner::Method;
use crate::train::schedule::Schedule;
use crate::train::settings::{parse, word};
use crate::train::{Epochs, TrainError};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanSettings {
    /// The architecture's name; its text is in the model file.
    pub model: String,
    /// Where its images are: IDX files, a table or pictures; the built-in MNIST if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    pub device: String,
    pub seed: u32,
    pub epochs: usize,
    /// Real pictures in a step of the discriminator; generated pictures in every step.
    pub batch: usize,
    #[serde(serialize_with = "word", deserialize_with = "parse")]
    pub loss: GanLoss,
    pub generator_rate: f32,
    pub discriminator_rate: f32,
    /// Decay of Adam's first moment.
    pub momentum: f32,
    /// Decay of Adam's second moment.
    pub beta2: f32,
    #[serde(serialize_with = "word", deserialize_with = "parse")]
    pub schedule: ScheduleName,
    /// Steps of the discriminator for each one of the generator.
    pub discriminator_steps: usize,
    /// Pictures of one class that the discriminator sees at a time, as the channels of one picture.
    pub pack: usize,
    /// Share of the discriminator's targets that are flipped.
    pub label_noise: f32,
    /// Whether the discriminator's weights are divided by their largest singular value.
    pub spectral_norm: bool,
    /// Decay of the averaged generator; 0 for none.
    pub average: f32,
    /// Epochs between two measurements, which choose the best; 0 for none at all.
    pub measure: usize,
    /// A classifier to measure by; the built-in one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// How the data are read.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub reading: Reading,
}

impl GanSettings {
    /// The recipe's settings, and a plain choice for whatever it leaves open.
    pub fn from_recipe(model: &str, recipe: &GanRecipe) -> GanSettings {
        GanSettings {
            model: model.into(),
            data: None,
            device: "auto".into(),
            seed: 0,
            epochs: recipe.epochs.unwrap_or(10),
            batch: recipe.batch.unwrap_or(64),
            loss: recipe.loss.unwrap_or(GanLoss::Mse),
            generator_rate: recipe.generator_rate.unwrap_or(2e-4),
            discriminator_rate: recipe.discriminator_rate.unwrap_or(2e-4),
            momentum: recipe.momentum.unwrap_or(0.5),
            beta2: recipe.beta2.unwrap_or(0.999),
            schedule: recipe.schedule.unwrap_or(ScheduleName::Constant),
            discriminator_steps: recipe.discriminator_steps.unwrap_or(1),
            pack: recipe.pack.unwrap_or(1),
            label_noise: recipe.label_noise.unwrap_or(0.0),
            spectral_norm: recipe.spectral_norm.unwrap_or(false),
            average: recipe.average.unwrap_or(0.0),
            measure: 1,
            judge: None,
            reading: Reading::default(),
        }
    }

    /// Recipes are written with MNIST in mind. A batch that the recipe proposes and nobody asked for is adjusted to
    /// smaller sets, and to a multiple of the group size.
    pub fn fit_batch(&mut self, train: &ImageSet) {
        let pack = self.pack.max(1);
        let groups: usize = train.counts().iter().map(|pictures| pictures / pack).sum();
        self.batch = (self.batch / pack).min(groups).max(1) * pack;
    }

    /// Refuses settings that cannot be trained with, naming the setting, its value and what would do.
    ///
    /// # Errors
    /// [`TrainError::Setting`].
    pub fn check(&self, images: usize) -> Result<(), TrainError> {
        for (name, rate) in [("generator-rate", self.generator_rate), ("discriminator-rate", self.discriminator_rate)] {
            if !(rate > 0.0 && rate.is_finite()) {
                return Err(TrainError::setting(name, rate, "a finite number above 0, like 0.0002"));
            }
        }
        let shares = [
            ("momentum", self.momentum),
            ("beta2", self.beta2),
            ("average", self.average),
            ("label-noise", self.label_noise),
        ];
        if let Some((name, value)) = shares.into_iter().find(|(_, x)| !(0.0..1.0).contains(x)) {
            return Err(TrainError::setting(name, value, "a number from 0 to below 1"));
        }
        if self.label_noise >= 0.5 {
            let wanted = "below 0.5; from there on, targets would be meaningless or reversed";
            return Err(TrainError::setting("label-noise", self.label_noise, wanted));
        }
        if self.epochs == 0 {
            return Err(TrainError::setting("epochs", self.epochs, "a number from 1 on"));
        }
        // A group's labels are stored side by side, and no more than this many are joined at once.
        if !(1..=Concat::MOST).contains(&self.pack) {
            return Err(TrainError::setting("pack", self.pack, format!("a number from 1 to {}", Concat::MOST)));
        }
        if !(1..=64).contains(&self.discriminator_steps) {
            return Err(TrainError::setting("discriminator-steps", self.discriminator_steps, "a number from 1 to 64"));
        }
        if !self.batch.is_multiple_of(self.pack) {
            return Err(TrainError::setting("batch", self.batch, format!("a multiple of --pack {}", self.pack)));
        }
        if self.batch == 0 || self.batch > images {
            let multiple = if self.pack > 1 { format!(", a multiple of --pack {}", self.pack) } else { String::new() };
            let wanted = format!("a number from 1 to {images}, the images to train on{multiple}");
            return Err(TrainError::setting("batch", self.batch, wanted));
        }
        // The discriminator takes the most steps.
        Epochs { images, batch: self.batch, count: self.epochs }.check()
    }

    /// Where rounds, each of the discriminator's steps and one of the generator's, lie in the run's epochs, of `images`
    /// real pictures each.
    pub fn epochs_of(&self, images: usize) -> Epochs {
        Epochs { images, batch: self.batch * self.discriminator_steps, count: self.epochs }
    }

    fn method(&self, peak: f32, steps: usize, average: f32) -> Method {
        Method {
            optimizer: Optimizer::Adam { beta1: self.momentum, beta2: self.beta2, eps: 1e-7 },
            schedule: Schedule { name: self.schedule, peak: f64::from(peak), steps, warmup: 0 },
            weight_decay: 0.0,
            average,
            loss_scale: 1.0,
        }
    }

    /// How the generator learns, with one step a round.
    pub fn generator_method(&self, images: usize) -> Method {
        self.method(self.generator_rate, self.epochs_of(images).total(), self.average)
    }

    /// How the discriminator learns.
    pub fn discriminator_method(&self, images: usize) -> Method {
        let steps = self.epochs_of(images).total() * self.discriminator_steps;
        self.method(self.discriminator_rate, steps, 0.0)
    }
}
