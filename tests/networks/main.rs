//! Whole networks on every device: against PyTorch, Keras and onnxruntime, and against themselves.

#[path = "../golden/mod.rs"]
mod golden;

#[path = "../travel/mod.rs"]
mod travel;

mod gan_goldens;
mod gan_training;
mod goldens;
mod judge;
mod keras;
mod layers;
mod live;
mod look;
mod matrices;
mod onnx;
mod optimizers;
mod remainders;
mod training;
