//! Columns that are taken out of a result, computed without the others.

use std::sync::Arc;

use super::{changes_between, through_reshapes, uses};
use crate::graph::{Graph, Node, Origin};
use crate::ops::concat::Slice;
use crate::ops::{Epilogue, Op};

/// Takes columns out of an input of the op that makes a result, instead of out of the result, if nothing else of it is
/// wanted: a convolution's derivative with respect to the pictures need not compute that of the labels beside them.
pub(super) fn make_only_those(graph: &mut Graph) {
    let uses = uses(graph);
    for i in 0..graph.nodes.len() {
        let Origin::Op { op, inputs } = &graph.nodes[i].origin else { continue };
        let slice = op.as_ref().downcast::<Slice>().copied().filter(|slice| slice.epilogue == Epilogue::NONE);
        let (Some(slice), Some(&whole)) = (slice, inputs.first()) else { continue };
        // Reshapes may have moved the columns.
        if uses[i] == 0 || through_reshapes(graph, &uses, whole) != Some(whole) {
            continue;
        }
        let Origin::Op { op: maker, inputs } = graph.nodes[whole.0].origin.clone() else { continue };
        let Some(at) = maker.columns_of() else { continue };
        if changes_between(graph, [whole.0, i], &inputs) {
            continue;
        }
        let taken = Arc::new(slice);
        let Ok(tensor) = taken.shape(&[graph.tensor(inputs[at]).clone()]) else { continue };
        let mut made_of = inputs.clone();
        made_of[at] = whole;
        graph.nodes[whole.0] = Node { origin: Origin::Op { op: taken, inputs: vec![inputs[at]] }, tensor };
        graph.nodes[i].origin = Origin::Op { op: maker, inputs: made_of };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::graph::{Graph, Store};
    use crate::ops::concat::{Concat, Slice};
    use crate::ops::conv2d::{Padding, conv2d, conv2d_transposed};
    use crate::plan::Plan;
    use crate::tensor::Tensor;

    #[test]
    fn columns_of_a_convolution_are_made_of_those_of_its_weights() {
        let mut store = Store::default();
        let x = store.place("x", Tensor::f32([2, 3, 3, 4]));
        let weight = store.place("weight", Tensor::f32([2, 2, 4, 5]));
        let whole = store.place("whole", Tensor::f32([2, 6, 6, 5]));
        let part = store.place("part", Tensor::f32([2, 6, 6, 2]));
        let mut graphs = [Graph::new(), Graph::new()];
        for (graph, all) in graphs.iter_mut().zip([true, false]) {
            let values = [graph.read(&x), graph.read(&weight)];
            let made = conv2d_transposed(graph, values[0], values[1], 2, Padding::Same).unwrap();
            match all {
                true => graph.assign(made, whole.clone()).unwrap(),
                false => {
                    let two = graph.apply(Slice::new(1, 2), &[made]).unwrap();
                    graph.assign(two, part.clone()).unwrap();
                }
            }
        }
        let [whole_graph, part_graph] = &graphs;
        assert_eq!(ops(part_graph), ["slice", "conv2d.grad_x"]);

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        let numbers = |n: usize| (0..n).map(|i| (1.7 * i as f32).sin()).collect::<Vec<f32>>();
        device.write_f32(x.buffer, 0, &numbers(72)).unwrap();
        device.write_f32(weight.buffer, 0, &numbers(80)).unwrap();
        let plans = [whole_graph, part_graph].map(|graph| device.prepare(&Plan::new(graph)).unwrap());
        device.run(&plans, 1).unwrap();
        let all = device.read_f32(whole.buffer, 0, 360).unwrap();
        let two = device.read_f32(part.buffer, 0, 144).unwrap();
        for (i, value) in two.iter().enumerate() {
            let wanted = all[i / 2 * 5 + 1 + i % 2];
            assert!((value - wanted).abs() < 1e-6, "{i}: {value} is not {wanted}");
        }
    }

    #[test]
    fn a_result_that_is_wanted_whole_too_is_made_once() {
        let mut store = Store::default();
        let x = store.place("x", Tensor::f32([1, 3, 3, 2]));
        let weight = store.place("weight", Tensor::f32([1, 1, 2, 3]));
        let out = store.place("out", Tensor::f32([1, 3, 3, 4]));
        let mut graph = Graph::new();
        let values = [graph.read(&x), graph.read(&weight)];
        let made = conv2d(&mut graph, values[0], values[1], 1, Padding::Same).unwrap();
        let first = graph.apply(Slice::new(0, 1), &[made]).unwrap();
        let both = graph.apply(Concat, &[made, first]).unwrap();
        graph.assign(both, out).unwrap();
        assert_eq!(ops(&graph), ["conv2d", "slice", "concat"]);
    }
}
