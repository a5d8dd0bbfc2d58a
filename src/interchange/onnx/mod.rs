//! ONNX, export and import. In ONNX, images have their channels first.

mod arithmetic;
mod axes;
mod export;
mod import;
#[cfg(test)]
mod import_tests;
mod nodes;
mod proto;
mod tensor;
mod weights;
mod writer;

pub use export::export;
pub use import::import;

/// The name of this program as the producer of ONNX files.
const PRODUCER: &str = "inkgrad";
