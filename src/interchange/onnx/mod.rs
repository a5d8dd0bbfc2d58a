//! ONNX, out and in. Images have their channels first there.

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

/// What files of this program call the program that made them.
const PRODUCER: &str = "inkgrad";
