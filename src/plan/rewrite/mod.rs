//! A graph as it is dispatched: ops folded into those that make their input, and equal nodes computed once.

use super::{changed, meet};
use crate::graph::{Effect, Graph, Origin, Place, Value};

mod columns;
mod constants;
mod dropped_relus;
mod fold;
mod share;
mod sums;
#[cfg(test)]
mod testing;
mod together;

/// The same step in fewer dispatches.
pub(super) fn rewritten(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    constants::take_constants(&mut graph);
    columns::make_only_those(&mut graph);
    dropped_relus::join_dropped_relus(&mut graph);
    fold::fuse(&mut graph);
    // After folding: a shared node has several users, and then nothing can be folded into it.
    share::share(&mut graph);
    sums::sum_into_places(&mut graph);
    together::put_together(&graph)
}

/// How often each node is used by live nodes and effects; 0 for dead ones.
pub(super) fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    for (_, effect) in &graph.effects {
        match effect {
            Effect::Assign { value, .. } => uses[value.0] += 1,
            Effect::Update { inputs, .. } => inputs.iter().for_each(|v| uses[v.0] += 1),
        }
    }
    for i in (0..graph.nodes.len()).rev() {
        if uses[i] == 0 {
            continue;
        }
        match &graph.nodes[i].origin {
            Origin::Stored { .. } => {}
            Origin::Op { inputs, .. } => inputs.iter().for_each(|v| uses[v.0] += 1),
            Origin::Reshape(v) | Origin::Part { of: v, .. } => uses[v.0] += 1,
        }
    }
    uses
}

/// The value of which this one is a reshape, or the value itself.
fn behind_reshapes(graph: &Graph, mut value: Value) -> Value {
    while let Origin::Reshape(inner) = graph.nodes[value.0].origin {
        value = inner;
    }
    value
}

/// Whether an effect between two nodes changes what an op with these inputs reads from stored buffers: then it would
/// read something else at one than at the other, and cannot move.
fn changes_between(graph: &Graph, [first, last]: [usize; 2], inputs: &[Value]) -> bool {
    let read: Vec<Place> = inputs.iter().filter_map(|value| graph.stored(behind_reshapes(graph, *value))).collect();
    let between = graph.effects.iter().filter(|(at, _)| (first + 1..=last).contains(at));
    between.flat_map(|(_, effect)| changed(effect)).any(|place| read.iter().any(|read| meet(read, place)))
}

/// The op behind a value, through reshapes, if it and everything between have one user each.
fn through_reshapes(graph: &Graph, uses: &[usize], mut value: Value) -> Option<Value> {
    loop {
        if uses[value.0] != 1 {
            return None;
        }
        match &graph.nodes[value.0].origin {
            Origin::Reshape(inner) => value = *inner,
            Origin::Op { .. } => return Some(value),
            Origin::Stored { .. } | Origin::Part { .. } => return None,
        }
    }
}

/// Which nodes hold what is assigned to a place: they may be computed there.
fn assigned(graph: &Graph) -> Vec<bool> {
    let mut assigned = vec![false; graph.nodes.len()];
    for (_, effect) in &graph.effects {
        let Effect::Assign { value, .. } = effect else { continue };
        assigned[behind_reshapes(graph, *value).0] = true;
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::testing::ops;
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::graph::Store;
    use crate::ops::concat::Slice;
    use crate::ops::conv2d::{Padding, conv2d};
    use crate::ops::elementwise::{Add, AddBias};
    use crate::ops::matmul::{Layout, MatMul};
    use crate::plan::Plan;
    use crate::tensor::Tensor;

    /// The product of two matrices `[4, 4]`.
    fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
        (0..16).map(|i| (0..4).map(|k| a[i / 4 * 4 + k] * b[k * 4 + i % 4]).sum()).collect()
    }

    #[test]
    fn an_op_is_not_moved_to_where_what_it_reads_has_changed() {
        let numbers = |step: usize| (0..16).map(|i| (i * step % 7) as f32).collect::<Vec<_>>();
        let given = [numbers(3), numbers(5), numbers(2), numbers(4)];
        let (before, after) = (product(&given[0], &given[1]), product(&given[0], &given[2]));
        let added = |at: fn(usize) -> usize| (0..16).map(|i| before[i] + given[3][at(i)]).collect::<Vec<_>>();
        let columns = (0..8).map(|i| before[i / 2 * 4 + 1 + i % 2]).collect();
        let cases = [
            (vec!["matmul.nn", "copy", "add_bias", "matmul.nn"], added(|i| i % 4)),
            (vec!["matmul.nn", "copy", "add", "matmul.nn"], added(|i| i)),
            (vec!["conv2d", "copy", "slice", "matmul.nn"], columns),
        ];
        for (names, wanted) in cases {
            let mut store = Store::default();
            let places = ["a", "b", "next", "c", "again"].map(|name| store.place(name, Tensor::f32([4, 4])));
            let [a, b, next, c, again] = &places;
            let out = store.place("out", Tensor::f32([wanted.len()]));
            let mut graph = Graph::new();
            let [of_a, of_b, of_next, of_c] = [a, b, next, c].map(|place| graph.read(place));
            let made = if names[0] == "conv2d" {
                let image = graph.reshape(of_a, [1, 2, 2, 4]).unwrap();
                let weight = graph.reshape(of_b, [1, 1, 4, 4]).unwrap();
                conv2d(&mut graph, image, weight, 1, Padding::Valid).unwrap()
            } else {
                graph.apply(MatMul::new(Layout::NN), &[of_a, of_b]).unwrap()
            };
            graph.assign(of_next, b.clone()).unwrap();
            let made = match names[2] {
                "add_bias" => {
                    let bias = graph.read(&Place { tensor: Tensor::f32([4]), ..c.clone() });
                    graph.apply(AddBias, &[made, bias])
                }
                "add" => graph.apply(Add, &[of_c, made]),
                _ => graph.apply(Slice::new(1, 2), &[made]),
            };
            graph.assign(made.unwrap(), out.clone()).unwrap();
            let changed = graph.read(b);
            let product = graph.apply(MatMul::new(Layout::NN), &[of_a, changed]).unwrap();
            graph.assign(product, again.clone()).unwrap();
            assert_eq!(ops(&graph), names);

            let device: &mut dyn Device = &mut Cpu::new();
            device.allocate(&store).unwrap();
            for (place, numbers) in places.iter().zip(&given) {
                device.write_f32(place.buffer, 0, numbers).unwrap();
            }
            let plan = device.prepare(&Plan::new(&graph)).unwrap();
            device.run(&[plan], 1).unwrap();
            assert_eq!(device.read_f32(out.buffer, 0, wanted.len()).unwrap(), wanted, "{names:?}");
            assert_eq!(device.read_f32(again.buffer, 0, 16).unwrap(), after, "{names:?}");
        }
    }
}
