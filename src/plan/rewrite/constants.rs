//! Constants that ops can take as numbers instead of tensors.

use super::behind_reshapes;
use crate::graph::{Graph, Node, Origin};
use crate::ops::elementwise::Fill;

/// Moves inputs that are one value throughout into the ops that can take it as a number: the derivative of a loss with
/// respect to itself, and what is made of it.
pub(super) fn take_constants(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        while let Some(origin) = without_constant(graph, &graph.nodes[i]) {
            graph.nodes[i].origin = origin;
        }
    }
}

fn without_constant(graph: &Graph, node: &Node) -> Option<Origin> {
    let Origin::Op { op, inputs } = &node.origin else { return None };
    let taken = inputs.iter().enumerate().find_map(|(at, value)| {
        let Origin::Op { op: maker, .. } = &graph.nodes[behind_reshapes(graph, *value).0].origin else { return None };
        let filled = maker.as_ref().downcast::<Fill>()?;
        op.with_constant(at, filled.value, &node.tensor).map(|op| (at, op))
    });
    let (at, op) = taken?;
    let mut inputs = inputs.clone();
    inputs.remove(at);
    Some(Origin::Op { op, inputs })
}

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use crate::grad::grad;
    use crate::graph::{Graph, Store};
    use crate::ops::Sum;
    use crate::ops::elementwise::Scale;
    use crate::ops::loss::{Pairwise, PairwiseGrad};
    use crate::plan::Plan;
    use crate::tensor::Tensor;

    #[test]
    fn the_derivative_of_a_mean_loss_needs_no_tensor_of_ones() {
        let mut store = Store::default();
        let [x, target, out] = ["x", "target", "out"].map(|name| store.place(name, Tensor::f32([4, 4])));
        let mut graph = Graph::new();
        let values = [graph.read(&x), graph.read(&target)];
        let loss = graph.apply(Pairwise::Mse, &values).unwrap();
        let loss = graph.apply(Scale { factor: 0.5, offset: 1.0 }, &[loss]).unwrap();
        let loss = Sum::mean(&mut graph, loss).unwrap();
        let d_x = grad(&mut graph, loss, &values[..1]).unwrap()[0];
        graph.assign(d_x, out).unwrap();
        assert_eq!(ops(&graph), ["mse.grad"]);
        let op = &Plan::new(&graph).dispatches[0].op;
        let known = PairwiseGrad { loss: Pairwise::Mse, d_out: Some(0.5) };
        assert_eq!(format!("{op:?}"), format!("{known:?}"));
    }
}
