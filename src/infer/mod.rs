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
pub use classify::Classifier;
pub use evaluate::{Evaluation, InferError, Scores};
pub use judge::{Judge, Looked};
pub use look::Look;
pub use measures::Measures;
pub use quality::Quality;
pub use sample::{Generator, Sampler};
