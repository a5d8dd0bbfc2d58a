//! Networks at work: the logits of a whole image set, batch by batch, on any device.

pub mod evaluate;
pub mod lettering;
pub mod sample;
pub mod scene;
pub use evaluate::{Evaluation, InferError, Scores};
