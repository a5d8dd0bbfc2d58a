//! ONNX, out and in. Images have their channels first there.

mod export;
mod import;
mod nodes;
mod proto;
mod tensor;

pub use export::export;
pub use import::import;
