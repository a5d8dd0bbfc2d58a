//! What the tests of all rewrites have in common.

use crate::graph::{Graph, Place, Store};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// A stored buffer that is one tensor.
pub fn place(store: &mut Store, name: &str, tensor: Tensor) -> Place {
    Place { buffer: store.add(name, tensor.len()), offset: 0, tensor }
}

/// Names of the ops that are dispatched, in their order.
pub fn ops(graph: &Graph) -> Vec<&'static str> {
    Plan::new(graph).dispatches.iter().map(|dispatch| dispatch.op.name()).collect()
}
