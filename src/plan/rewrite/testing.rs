//! What the tests of all rewrites have in common.

use crate::graph::Graph;
use crate::plan::Plan;

/// Names of the ops that are dispatched, in their order.
pub fn ops(graph: &Graph) -> Vec<&'static str> {
    Plan::new(graph).dispatches.iter().map(|dispatch| dispatch.op.name()).collect()
}
