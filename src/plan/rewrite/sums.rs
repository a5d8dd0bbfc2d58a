//! The last sums of gradients, in one update.

use std::sync::Arc;

use super::{assigned, behind_reshapes, through_reshapes, uses};
use crate::graph::{Effect, Graph, Origin, Place, Value};
use crate::ops::Sum;
use crate::ops::sums::{Summed, Sums};
use crate::plan::meet;
use crate::tensor::Tensor;

/// A sum over all rows whose only use is its assignment to a place.
#[derive(Clone)]
struct PlacedSum {
    sum: Value,
    /// What is summed.
    of: Value,
    part: Summed,
    place: Place,
}

/// Joins sums that are only assigned to places in one buffer into one update: the last step of derivatives with respect
/// to weights.
pub(super) fn sum_into_places(graph: &mut Graph) {
    let (uses, assigned) = (uses(graph), assigned(graph));
    let all = std::mem::take(&mut graph.effects);
    let mut sums: Vec<PlacedSum> = Vec::new();
    for (i, (at, effect)) in all.iter().enumerate() {
        match placed_sum(graph, &uses, effect) {
            // If what is summed is in a stored buffer, it may have changed by the time of the assignment.
            Some(sum) if !assigned[behind_reshapes(graph, sum.of).0] => sums.push(sum),
            _ => graph.effects.push((*at, effect.clone())),
        }
        let goes_on = all.get(i + 1).is_some_and(|(next, effect)| next == at && is_apart(graph, &sums, effect));
        if !goes_on {
            graph.effects.extend(updates(std::mem::take(&mut sums)).into_iter().map(|update| (*at, update)));
        }
    }
}

/// Whether the sums may be assigned after the `next` effect: it reads none of their places, and assigns to none.
fn is_apart(graph: &Graph, sums: &[PlacedSum], next: &Effect) -> bool {
    let Effect::Assign { value, place } = next else { return false };
    is_made(graph, *value) && !sums.iter().any(|sum| meet(&sum.place, place))
}

/// Whether a value was made by an op, in whatever shape.
fn is_made(graph: &Graph, value: Value) -> bool {
    matches!(graph.nodes[behind_reshapes(graph, value).0].origin, Origin::Op { .. })
}

fn placed_sum(graph: &Graph, uses: &[usize], effect: &Effect) -> Option<PlacedSum> {
    let Effect::Assign { value, place } = effect else { return None };
    let node = &graph.nodes[through_reshapes(graph, uses, *value)?.0];
    let Origin::Op { op, inputs } = &node.origin else { return None };
    let (&Sum { width, factor, .. }, of) = (op.as_ref().downcast::<Sum>()?, inputs[0]);
    let part = Summed { offset: place.offset, width, factor };
    let is_one_row = node.tensor.len() == width;
    (is_one_row && is_made(graph, of)).then(|| PlacedSum { sum: *value, of, part, place: place.clone() })
}

fn updates(mut sums: Vec<PlacedSum>) -> Vec<Effect> {
    sums.sort_by_key(|sum| (sum.place.buffer, sum.place.offset));
    let of_buffers = sums.chunk_by(|a, b| a.place.buffer == b.place.buffer);
    let together = |sums: &[PlacedSum]| {
        let place = sums[0].place.clone();
        if sums.len() == 1 {
            return Effect::Assign { value: sums[0].sum, place };
        }
        let part = |sum: &PlacedSum| Summed { offset: sum.part.offset - place.offset, ..sum.part };
        let parts: Vec<Summed> = sums.iter().map(part).collect();
        let words = parts.iter().map(|part| part.offset + part.width).max().unwrap_or(0);
        let targets = vec![Place { tensor: Tensor::f32([words]), ..place }];
        Effect::Update { op: Arc::new(Sums { parts }), inputs: sums.iter().map(|sum| sum.of).collect(), targets }
    };
    of_buffers.flat_map(|sums| sums.chunks(Sums::MOST)).map(together).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::graph::Store;
    use crate::ops::elementwise::Scale;
    use crate::plan::Plan;

    #[test]
    fn sums_that_nobody_wants_but_one_buffer_are_one_update() {
        let mut store = Store::default();
        let grads = store.add("grads", 192);
        let x = store.place("x", Tensor::f32([3, 4]));
        let mut graph = Graph::new();
        let rows = graph.read(&x);
        let rows = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[rows]).unwrap();
        let to = |i: usize, tensor| Place { buffer: grads, offset: 64 * i, tensor };
        let mut sum = |width: usize, factor: f32| {
            let sum = graph.apply(Sum { width, rows: Sum::ALL, factor }, &[rows]).unwrap();
            graph.reshape(sum, [width]).unwrap()
        };
        let (of_columns, of_pairs, both) = (sum(4, 1.0), sum(2, 0.5), sum(6, 1.0));
        let twice = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[both]).unwrap();
        graph.assign(of_pairs, to(2, Tensor::f32([2]))).unwrap();
        graph.assign(twice, to(1, Tensor::f32([6]))).unwrap();
        graph.assign(of_columns, to(0, Tensor::f32([4]))).unwrap();
        assert_eq!(ops(&graph), ["scale", "sum", "scale", "sums"]);

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        let numbers: Vec<f32> = (0..12).map(|i| 0.5 * i as f32).collect();
        device.write_f32(x.buffer, 0, &numbers).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        assert_eq!(device.read_f32(grads, 0, 4).unwrap(), [12.0, 15.0, 18.0, 21.0]);
        assert_eq!(device.read_f32(grads, 64, 6).unwrap(), [12.0, 16.0, 20.0, 24.0, 28.0, 32.0]);
        assert_eq!(device.read_f32(grads, 128, 2).unwrap(), [15.0, 18.0]);
    }

    #[test]
    fn sums_do_not_wait_for_what_reads_them_or_takes_their_place() {
        let mut store = Store::default();
        let x = store.place("x", Tensor::f32([2, 3]));
        let copied = store.place("copied", Tensor::f32([1, 3]));
        let buffer = store.add("sums", 192);
        let [first, second, third] = [0, 64, 128].map(|offset| Place { buffer, offset, tensor: Tensor::f32([1, 3]) });
        let mut graph = Graph::new();
        let [rows, there] = [graph.read(&x), graph.read(&third)];
        let rows = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[rows]).unwrap();
        let mut sum = |factor| graph.apply(Sum { width: 3, rows: Sum::ALL, factor }, &[rows]).unwrap();
        let [one, two, three, four] = [sum(1.0), sum(2.0), sum(3.0), sum(4.0)];
        let ten = graph.apply(Scale { factor: 10.0, offset: 0.0 }, &[one]).unwrap();
        graph.assign(two, second.clone()).unwrap();
        graph.assign(three, third.clone()).unwrap();
        graph.assign(four, first.clone()).unwrap();
        graph.assign(there, copied.clone()).unwrap();
        graph.assign(ten, second.clone()).unwrap();

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        device.write_f32(x.buffer, 0, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        let wanted = [24.0, 40.0, 56.0, 60.0, 100.0, 140.0, 18.0, 30.0, 42.0, 18.0, 30.0, 42.0];
        for (place, wanted) in [first, second, third, copied].iter().zip(wanted.chunks(3)) {
            assert_eq!(device.read_f32(place.buffer, place.offset, 3).unwrap(), wanted);
        }
    }
}
