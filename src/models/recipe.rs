//! How a model is trained unless told otherwise: the `[recipe]` table of an architecture.

use std::fmt;

use super::augmentation::Augmentation;
use super::error::ModelError;
use super::reader::Fields;
use crate::words::words;

words!(
    /// What turns gradients into steps.
    #[derive(Default)]
    OptimizerName {
        Sgd = "sgd",
        RmsProp = "rmsprop",
        AdaGrad = "adagrad",
        AdaDelta = "adadelta",
        #[default]
        Adam = "adam",
        Nadam = "nadam",
        AdamW = "adamw",
    }
);

impl OptimizerName {
    /// Whether it uses a momentum.
    pub fn has_momentum(self) -> bool {
        !matches!(self, OptimizerName::RmsProp | OptimizerName::AdaGrad | OptimizerName::AdaDelta)
    }
}

words!(
    /// What a discriminator's answers are measured by.
    GanLoss {
        /// Least squares (Mao et al. 2017, arXiv 1611.04076): 1 for real, 0 for generated.
        Mse = "mse",
        /// Binary cross entropy, the generator's in its non-saturating form (Goodfellow et al. 2014).
        Bce = "bce",
        /// Hinge (Lim and Ye 2017, arXiv 1705.02894).
        Hinge = "hinge",
    }
);

words!(
    /// How the learning rate changes over a run.
    ScheduleName { Constant = "constant", Step = "step", Cosine = "cosine", OneCycle = "one-cycle" }
);

/// Settings of a run; whatever is absent is the trainer's to choose.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recipe {
    pub epochs: Option<usize>,
    /// Images in a step.
    pub batch: Option<usize>,
    /// The highest learning rate that the schedule reaches.
    pub learning_rate: Option<f32>,
    pub optimizer: Option<OptimizerName>,
    pub schedule: Option<ScheduleName>,
    /// Epochs, or a part of one, over which the learning rate rises from 0.
    pub warmup: Option<f32>,
    /// SGD's momentum, or the decay of the first moment in the Adam family.
    pub momentum: Option<f32>,
    pub weight_decay: Option<f32>,
    pub label_smoothing: Option<f32>,
    /// Decay of the averaged weights, 0 for none.
    pub average: Option<f32>,
    /// Training images set aside to choose the best epoch by, 0 for none.
    pub validation: Option<usize>,
    /// Epochs without a better validation accuracy before the run stops, 0 for never.
    pub patience: Option<usize>,
    /// What is done to training images.
    pub augment: Option<Augmentation>,
}

impl Recipe {
    pub(super) fn read(mut fields: Fields) -> Result<Recipe, ModelError> {
        let recipe = Recipe {
            epochs: fields.size("epochs")?,
            batch: fields.size("batch")?,
            learning_rate: fields.number("learning_rate", "a number above 0, like 1e-3", |x| x > 0.0)?,
            optimizer: fields.choice("optimizer", OptimizerName::ALL)?,
            schedule: fields.choice("schedule", ScheduleName::ALL)?,
            warmup: fields.number("warmup", "a number of epochs from 0 on, like 0.5", |x| x >= 0.0)?,
            momentum: fields.number("momentum", SHARE, is_share)?,
            weight_decay: fields.number("weight_decay", "a number from 0 on, like 0.01", |x| x >= 0.0)?,
            label_smoothing: fields.number("label_smoothing", SHARE, is_share)?,
            average: fields.number("average", SHARE, is_share)?,
            validation: fields.count("validation")?,
            patience: fields.count("patience")?,
            augment: fields.table_of("augment")?.map(Augmentation::read).transpose()?,
        };
        fields.finish()?;
        Ok(recipe)
    }

    /// The same recipe with this optimizer. If it is not the recipe's own, the learning rate and momentum are unset,
    /// since it has its own.
    pub fn with_optimizer(self, optimizer: OptimizerName) -> Recipe {
        let recipe = match self.optimizer.unwrap_or_default() == optimizer {
            true => self,
            false => Recipe { learning_rate: None, momentum: None, ..self },
        };
        Recipe { optimizer: Some(optimizer), ..recipe }
    }
}

pub(super) const SHARE: &str = "a number from 0 to below 1";

pub(super) fn is_share(x: f32) -> bool {
    (0.0..1.0).contains(&x)
}

/// The lines of its table, without the heading; empty if nothing is set.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: Option<String>| match value {
            Some(value) => writeln!(f, "{key} = {value}"),
            None => Ok(()),
        };
        let number = |x: Option<f32>| x.map(|x| x.to_string());
        let count = |x: Option<usize>| x.map(|x| x.to_string());
        line("epochs", count(self.epochs))?;
        line("batch", count(self.batch))?;
        line("learning_rate", number(self.learning_rate))?;
        line("optimizer", self.optimizer.map(|x| format!("\"{x}\"")))?;
        line("schedule", self.schedule.map(|x| format!("\"{x}\"")))?;
        line("warmup", number(self.warmup))?;
        line("momentum", number(self.momentum))?;
        line("weight_decay", number(self.weight_decay))?;
        line("label_smoothing", number(self.label_smoothing))?;
        line("average", number(self.average))?;
        line("validation", count(self.validation))?;
        line("patience", count(self.patience))?;
        line("augment", self.augment.map(|x| x.to_string()))
    }
}
