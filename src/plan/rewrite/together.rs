//! Small ops of the same kind on one stored buffer, in one op.

use std::sync::Arc;

use super::{assigned, behind_reshapes, uses};
use crate::graph::{BufferId, Effect, Graph, Node, Origin, Value};
use crate::ops::Op;
use crate::ops::transpose::Transposes;
use crate::tensor::Tensor;

/// Ops on several parts of one stored buffer, joined into one.
struct Together {
    buffer: BufferId,
    /// The part of the buffer that contains them all: where it begins, and its number of words.
    start: usize,
    words: usize,
    op: Arc<dyn Op>,
    /// The nodes, and where in the result each one's elements begin.
    nodes: Vec<(usize, usize)>,
}

/// Joins ops that do the same to parts of one stored buffer, with no effect between them, into one: the weights that
/// convolutions' derivatives need transposed.
pub(super) fn put_together(graph: &Graph) -> Graph {
    let found = together(graph);
    let mut out = Graph::new();
    let mut now: Vec<Value> = Vec::with_capacity(graph.nodes.len());
    // Each joined op's value in the new graph.
    let mut results: Vec<Option<Value>> = vec![None; found.len()];
    let mut effects = graph.effects.iter().cloned().peekable();
    let mut moved = |out: &mut Graph, now: &[Value], until: usize| {
        while let Some((_, mut effect)) = effects.next_if(|(at, _)| *at <= until) {
            match &mut effect {
                Effect::Assign { value, .. } => *value = now[value.0],
                Effect::Update { inputs, .. } => inputs.iter_mut().for_each(|input| *input = now[input.0]),
            }
            out.effects.push((out.nodes.len(), effect));
        }
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        moved(&mut out, &now, i);
        let mut node = node.clone();
        let part = found.iter().enumerate().find_map(|(which, one)| {
            one.nodes.iter().find(|(at, _)| *at == i).map(|(_, offset)| (which, one, *offset))
        });
        if let Some((which, Together { buffer, start, words, op, .. }, offset)) = part {
            let of = *results[which].get_or_insert_with(|| {
                let (origin, tensor) = (Origin::Stored { buffer: *buffer, offset: *start }, Tensor::f32([*words]));
                let all = out.push(Node { origin, tensor: tensor.clone() });
                let tensor = op.shape(&[tensor]).expect("the op was made for these parts");
                out.push(Node { origin: Origin::Op { op: op.clone(), inputs: vec![all] }, tensor })
            });
            node.origin = Origin::Part { of, offset };
        } else {
            match &mut node.origin {
                Origin::Stored { .. } => {}
                Origin::Op { inputs, .. } => inputs.iter_mut().for_each(|input| *input = now[input.0]),
                Origin::Reshape(of) | Origin::Part { of, .. } => *of = now[of.0],
            }
        }
        now.push(out.push(node));
    }
    moved(&mut out, &now, usize::MAX);
    out
}

fn together(graph: &Graph) -> Vec<Together> {
    /// Equal ops on one buffer, with the same number of effects before them.
    struct Alike {
        op: Arc<dyn Op>,
        text: String,
        buffer: BufferId,
        effects: usize,
        nodes: Vec<usize>,
        /// What each reads: where it begins in the buffer, and its shape.
        parts: Vec<(usize, Tensor)>,
    }
    let (uses, assigned) = (uses(graph), assigned(graph));
    let mut all: Vec<Alike> = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let Origin::Op { op, inputs } = &node.origin else { continue };
        let &[input] = inputs.as_slice() else { continue };
        let Origin::Stored { buffer, offset } = graph.nodes[behind_reshapes(graph, input).0].origin else { continue };
        let part = (offset, graph.tensor(input).clone());
        if uses[i] == 0 || assigned[i] || op.together(std::slice::from_ref(&part)).is_none() {
            continue;
        }
        let (text, effects) =
            (format!("{} {op:?}", op.name()), graph.effects.iter().filter(|(at, _)| *at <= i).count());
        let same = |alike: &&mut Alike| {
            alike.text == text
                && alike.buffer == buffer
                && alike.effects == effects
                && alike.parts.len() < MOST_TOGETHER
        };
        if let Some(alike) = all.iter_mut().find(same) {
            alike.nodes.push(i);
            alike.parts.push(part);
        } else {
            all.push(Alike { op: op.clone(), text, buffer, effects, nodes: vec![i], parts: vec![part] });
        }
    }
    let one = |alike: Alike| {
        let Alike { op, buffer, nodes, mut parts, .. } = alike;
        let start = parts.iter().map(|(offset, _)| *offset).min()?;
        parts.iter_mut().for_each(|(offset, _)| *offset -= start);
        let words = parts.iter().map(|(offset, tensor)| offset + tensor.len()).max()?;
        let (op, offsets) = op.together(&parts).filter(|_| parts.len() > 1)?;
        Some(Together { buffer, start, words, op, nodes: nodes.into_iter().zip(offsets).collect() })
    };
    all.into_iter().filter_map(one).collect()
}

/// The most ops that are put together.
const MOST_TOGETHER: usize = Transposes::MOST;

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::graph::{Place, Store};
    use crate::ops::elementwise::Scale;
    use crate::ops::transpose::Transpose;
    use crate::plan::Plan;

    #[test]
    fn weights_that_are_transposed_are_transposed_together_until_they_change() {
        let mut store = Store::default();
        let buffer = store.add("weights", 192);
        let sizes = [[2, 3], [4, 5], [7, 2]];
        let mut places = (0..3).map(|i| Place { buffer, offset: 64 * i, tensor: Tensor::f32(sizes[i]) });
        let [a, b, c] = std::array::from_fn(|_| places.next().unwrap());
        let outs = [&c, &a, &b].map(|of| store.place("out", of.tensor.clone()));
        let mut graph = Graph::new();
        let turned = [&c, &a, &b].map(|of| {
            let x = graph.read(of);
            graph.apply(Transpose, &[x]).unwrap()
        });
        for (turned, out) in turned.into_iter().zip(&outs) {
            let twice = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[turned]).unwrap();
            graph.assign(twice, out.clone()).unwrap();
        }
        let again = graph.read(&a);
        let again = graph.apply(Transpose, &[again]).unwrap();
        let again = graph.apply(Scale { factor: 3.0, offset: 0.0 }, &[again]).unwrap();
        graph.assign(again, store.place("again", Tensor::f32([3, 2]))).unwrap();
        assert_eq!(ops(&graph), ["transposes", "scale", "scale", "scale", "transpose", "scale"]);

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        let weights: Vec<f32> = (0..192).map(|i| i as f32).collect();
        device.write_f32(buffer, 0, &weights).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        for (of, out) in [&c, &a, &b].into_iter().zip(&outs) {
            let &[m, n] = of.tensor.dims() else { panic!() };
            let wanted: Vec<f32> = (0..m * n).map(|e| 2.0 * (of.offset + e % m * n + e / m) as f32).collect();
            assert_eq!(device.read_f32(out.buffer, 0, m * n).unwrap(), wanted);
        }
    }
}
