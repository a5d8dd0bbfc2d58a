//! Inference: the logits of a whole image set, batch by batch, on any device; and how good generated pictures are in
//! the eyes of a judge, a network trained on real ones.

pub mod classify;
pub mod evaluate;
pub mod in_order;
pub mod judge;
pub mod lettering;
pub mod look;
pub mod measures;
pub mod quality;
pub mod sample;
pub mod scene;
pub mod scores;
pub use classify::Classifier;
pub use evaluate::Evaluation;
pub use judge::{Judge, Looked};
pub use look::Look;
pub use measures::Measures;
pub use quality::Quality;
pub use sample::{Generator, Sampler};
pub use scores::Scores;

use crate::device::DeviceError;
use crate::graph::GraphError;
use crate::models::ModelError;
use measures::MeasureError;

/// Why inference failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error("{judge} {problem}")]
    Judge { judge: String, problem: String },
    #[error("{model}: {problem}")]
    Look { model: String, problem: String },
    #[error(
        "{given} bytes of images were given; up to {capacity} images are taken at once, whole ones of {size} bytes each"
    )]
    Images { given: usize, size: usize, capacity: usize },
    /// Something else that does not fit what it was given to.
    #[error("{what} {problem}")]
    Input { what: &'static str, problem: String },
}
