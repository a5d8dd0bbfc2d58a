//! Small ops (a bias, an activation, dropout), folded into the op that makes their input.

use super::{changes_between, through_reshapes, uses};
use crate::graph::{Graph, Node, Origin, Value};
use crate::ops::Dropout;
use crate::ops::elementwise::Add;

/// Folds biases, normalisation by given statistics, activations, activation derivatives and dropout into the ops that
/// make their input, where nothing else uses that input.
pub(super) fn fuse(graph: &mut Graph) {
    let mut uses = uses(graph);
    for i in 0..graph.nodes.len() {
        if uses[i] == 0 {
            continue;
        }
        let Origin::Op { op, inputs } = &graph.nodes[i].origin else { continue };
        if op.as_ref().downcast::<Add>().is_some() {
            add_in_maker(graph, &mut uses, i);
            continue;
        }
        let (epilogue, dropout) = (op.as_epilogue(), op.as_ref().downcast::<Dropout>().copied());
        let Some(source) = inputs.first().copied().filter(|_| epilogue.is_some() || dropout.is_some()) else {
            continue;
        };
        let Some(maker) = through_reshapes(graph, &uses, source) else { continue };
        let Origin::Op { op: maker_op, inputs: maker_inputs } = &graph.nodes[maker.0].origin else { continue };
        // What differs from channel to channel fits only where the maker's own result has the same innermost size.
        if epilogue.is_some_and(|epilogue| epilogue.bias || epilogue.norm.is_some())
            && graph.nodes[maker.0].tensor.shape.last() != graph.nodes[i].tensor.shape.last()
        {
            continue;
        }
        let fused = epilogue.and_then(|epilogue| maker_op.with_epilogue(epilogue));
        let Some(fused) = fused.or_else(|| maker_op.with_dropout(dropout?)) else { continue };
        let inputs: Vec<Value> = maker_inputs.iter().chain(&inputs[1..]).copied().collect();
        if changes_between(graph, [maker.0, i], &inputs) {
            continue;
        }
        // The node keeps its own shape only if the maker's is the same; else the maker moves here under a reshape.
        let made = graph.nodes[maker.0].tensor.clone();
        if made.shape == graph.nodes[i].tensor.shape {
            graph.nodes[i].origin = Origin::Op { op: fused, inputs };
            uses[maker.0] = 0;
        } else if last_input_before(&inputs, source) {
            // Between maker and node there is a reshape node, which can hold the fused op if its inputs come before it.
            let holder = source;
            graph.nodes[holder.0] = Node { origin: Origin::Op { op: fused, inputs }, tensor: made };
            graph.nodes[i].origin = Origin::Reshape(holder);
            uses[maker.0] = 0;
        }
    }
}

/// Lets the op that makes one input of an addition add the other input.
fn add_in_maker(graph: &mut Graph, uses: &mut [usize], i: usize) {
    let Origin::Op { inputs, .. } = &graph.nodes[i].origin else { return };
    let [first, second] = [inputs[0], inputs[1]];
    // The later one is the less likely to be waited for.
    for (made, other) in [(second, first), (first, second)] {
        let Some(maker) = through_reshapes(graph, uses, made) else { continue };
        let Origin::Op { op, inputs } = &graph.nodes[maker.0].origin else { continue };
        let Some(op) = op.with_addend() else { continue };
        let is_reshaped = graph.nodes[maker.0].tensor.shape != graph.nodes[i].tensor.shape;
        if is_reshaped || changes_between(graph, [maker.0, i], inputs) {
            continue;
        }
        let inputs = inputs.iter().copied().chain([other]).collect();
        graph.nodes[i].origin = Origin::Op { op, inputs };
        uses[maker.0] = 0;
        return;
    }
}

fn last_input_before(inputs: &[Value], node: Value) -> bool {
    inputs.iter().all(|v| *v < node)
}

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use crate::graph::{Graph, GraphError, Store, Value};
    use crate::ops::Dropout;
    use crate::ops::activation::{Act, Activation};
    use crate::ops::batch_norm::Apply;
    use crate::ops::conv2d::{Padding, conv2d};
    use crate::ops::elementwise::{Add, AddBias, Fill};
    use crate::ops::matmul::{Layout, MatMul};
    use crate::ops::pool::MaxPool;
    use crate::tensor::Tensor;

    #[test]
    fn a_product_adds_what_is_added_to_it_before_its_activation() {
        let mut store = Store::default();
        let [a, b, out] = ["a", "b", "out"].map(|name| store.place(name, Tensor::f32([4, 4])));
        let bias = store.place("bias", Tensor::f32([4]));
        let mut graph = Graph::new();
        let [a, b, bias] = [&a, &b, &bias].map(|place| graph.read(place));
        let first = graph.apply(MatMul::new(Layout::NN), &[a, b]).unwrap();
        let second = graph.apply(MatMul::new(Layout::NT), &[a, b]).unwrap();
        let second = graph.apply(AddBias, &[second, bias]).unwrap();
        let sum = graph.apply(Add, &[first, second]).unwrap();
        let sum = graph.apply(Activation(Act::Tanh), &[sum]).unwrap();
        graph.assign(sum, out).unwrap();
        assert_eq!(ops(&graph), ["matmul.nn", "matmul.nt"]);
    }

    #[test]
    fn batch_normalisation_by_given_statistics_is_done_by_what_makes_its_input() {
        let folded = |made: fn(&mut Graph, Value) -> Result<Value, GraphError>, training: bool| {
            let mut store = Store::default();
            let [image, out] = [[2, 8, 8, 4], [2, 4, 4, 4]].map(|dims| store.place("image", Tensor::f32(dims)));
            let [stats, affine] = ["stats", "affine"].map(|name| store.place(name, Tensor::f32([2, 4])));
            let mut graph = Graph::new();
            let [x, stats, affine] = [&image, &stats, &affine].map(|place| graph.read(place));
            let x = made(&mut graph, x).unwrap();
            let x = graph.apply(Apply::new(1e-3, training), &[x, stats, affine]).unwrap();
            let x = graph.apply(Activation(Act::Relu), &[x]).unwrap();
            graph.assign(x, out).unwrap();
            ops(&graph)
        };
        let pooled = |graph: &mut Graph, x| graph.apply(MaxPool::new(2, 2), &[x]);
        assert_eq!(folded(pooled, false), ["max_pool"]);
        // Statistics of the batch itself are known only when all of it is there.
        assert_eq!(folded(pooled, true), ["max_pool", "batch_norm.apply"]);
        let convolved = |graph: &mut Graph, x| {
            let weight = graph.apply(Fill { shape: [2, 2, 4, 4].into(), value: 0.5 }, &[])?;
            conv2d(graph, x, weight, 2, Padding::Valid)
        };
        assert_eq!(folded(convolved, false), ["fill", "conv2d"]);
        let activated = |graph: &mut Graph, x| {
            let x = graph.apply(MaxPool::new(2, 2), &[x])?;
            graph.apply(Activation(Act::Tanh), &[x])
        };
        assert_eq!(folded(activated, false), ["max_pool", "batch_norm.apply"]);
    }

    #[test]
    fn nothing_is_folded_into_an_op_that_would_then_do_it_too_early_or_for_other_channels() {
        type Make = dyn Fn(&mut Graph, [Value; 6]) -> Result<Value, GraphError>;
        let mut store = Store::default();
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let [a, b, out] = [(); 3].map(|()| stored(Tensor::f32([4, 4])));
        let [stats, affine] = [(); 2].map(|()| stored(Tensor::f32([2, 4])));
        let (bias, clock) = (stored(Tensor::f32([8])), stored(Tensor::u32([2])));
        let made = |make: &Make| {
            let mut graph = Graph::new();
            let given = [&a, &b, &stats, &affine, &bias, &clock].map(|place| graph.read(place));
            let made = make(&mut graph, given).unwrap();
            let made = graph.reshape(made, [4, 4]).unwrap();
            graph.assign(made, out.clone()).unwrap();
            ops(&graph)
        };
        let added_behind_an_activation = made(&|graph, [a, b, ..]| {
            let x = graph.apply(MatMul::new(Layout::NN), &[a, b])?;
            let x = graph.apply(Activation(Act::Relu), &[x])?;
            graph.apply(Add, &[x, a])
        });
        assert_eq!(added_behind_an_activation, ["matmul.nn", "add"]);
        let activated_behind_dropout = made(&|graph, [a, _, stats, affine, _, clock]| {
            let x = graph.apply(Apply::new(1e-3, true), &[a, stats, affine])?;
            let x = graph.apply(Dropout { rate: 0.5, stream: 0, groups: 1 }, &[x, clock])?;
            graph.apply(Activation(Act::Tanh), &[x])
        });
        assert_eq!(activated_behind_dropout, ["batch_norm.apply", "activation"]);
        let biased_in_another_shape = made(&|graph, [a, b, _, _, bias, _]| {
            let x = graph.apply(MatMul::new(Layout::NN), &[a, b])?;
            let x = graph.reshape(x, [2, 8])?;
            graph.apply(AddBias, &[x, bias])
        });
        assert_eq!(biased_in_another_shape, ["matmul.nn", "add_bias"]);
    }
}
