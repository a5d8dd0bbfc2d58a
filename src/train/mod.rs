//! Training a classifier: settings, the step's graph, the loop around it, and the folder that keeps a run; or an
//! interactive run without a folder.

pub mod augmented;
pub mod calibration;
mod course;
mod difference;
pub mod epochs;
pub mod folder;
mod from_generated;
pub mod gan;
mod keeping;
pub mod learner;
pub mod live;
pub mod metrics;
mod pacing;
mod provenance;
pub mod resume;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod steps;
mod supply;

pub use augmented::Preview;
pub use difference::difference;
pub use epochs::Epochs;
pub use folder::Folder;
pub use from_generated::classifier_from_generated;
pub use gan::{GanEvent, GanOutcome, GanRun, GanSettings, GanSteps};
pub use live::{Glance, Live, Mistake};
pub use resume::{PLACES, Start};
pub use run::{Event, Outcome, Run};
pub use settings::{Precision, Settings};
pub use steps::ClassifierSteps;
pub use supply::Share;

use std::fmt::Display;
use std::path::PathBuf;

use crate::data::DataError;
use crate::device::DeviceError;
use crate::graph::GraphError;
use crate::infer::InferError;
use crate::models::ModelError;
use crate::report::ReportError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    #[error("--{setting} is {value}; it must be {wanted}")]
    Setting { setting: String, value: String, wanted: String },
    /// `weight_decay` is given where it alone flips the signs of weights with every step.
    #[error(
        "the loss is not a number from step {step} on (epoch {epoch}); try a smaller {}--learning-rate than {rate:?}",
        weight_decay.map_or(String::new(), |decay| format!("--weight-decay than {decay:?}, or a smaller "))
    )]
    NotFinite { step: usize, epoch: usize, rate: f32, weight_decay: Option<f32> },
    #[error(
        "the {network}'s loss is not a number from round {round} on (epoch {epoch}); try smaller rates than \
         --generator-rate {generator_rate:?} and --discriminator-rate {discriminator_rate:?}"
    )]
    GanNotFinite { network: &'static str, round: usize, epoch: usize, generator_rate: f32, discriminator_rate: f32 },
    #[error("{path}: {reason}")]
    Folder { path: PathBuf, reason: String },
    #[error("{path}: another program has it open; close it there")]
    Held { path: PathBuf },
    #[error("{path}: another process is training in it; wait for its end, or stop it")]
    InUse { path: PathBuf },
    #[error("{path}: cannot be resumed: {reason}")]
    Resume { path: PathBuf, reason: String },
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Model(ModelError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Report(ReportError),
}

impl TrainError {
    /// An error for a setting whose value will not do, with what would.
    pub(crate) fn setting(setting: impl Into<String>, value: impl Display, wanted: impl Into<String>) -> TrainError {
        TrainError::Setting { setting: setting.into(), value: value.to_string(), wanted: wanted.into() }
    }

    /// The device's error, if it is one of the device.
    pub fn device(&self) -> Option<&DeviceError> {
        match self {
            TrainError::Device(error) | TrainError::Infer(InferError::Device(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<ModelError> for TrainError {
    fn from(error: ModelError) -> TrainError {
        match error {
            ModelError::Write(error) if error.is_held() => TrainError::Held { path: error.path },
            error => TrainError::Model(error),
        }
    }
}

impl From<ReportError> for TrainError {
    fn from(error: ReportError) -> TrainError {
        match error {
            ReportError::Write(error) if error.is_held() => TrainError::Held { path: error.path },
            error => TrainError::Report(error),
        }
    }
}
