//! A graph as it is dispatched: what an op can do for the next one folded in, and what is the same computed once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{BufferId, Effect, Graph, Node, Origin, Place, Value};
use crate::ops::activation::{Act, ActivationGrad};
use crate::ops::sums::{Summed, Sums};
use crate::ops::transpose::Transposes;
use crate::ops::{Dropout, Epilogue, Op, Sum};
use crate::tensor::Tensor;

/// The same step in fewer dispatches.
pub(super) fn rewritten(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    take_constants(&mut graph);
    join_dropped_relus(&mut graph);
    fuse(&mut graph);
    // Last, so that nothing that could have been folded into its only user has two.
    share(&mut graph);
    sum_into_places(&mut graph);
    put_together(&graph)
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

/// Takes inputs that are one value throughout into the ops that can do without them as tensors: the derivative of a loss
/// by itself, and what is made of it.
fn take_constants(graph: &mut Graph) {
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
        op.with_constant(at, maker.filled()?, &node.tensor).map(|op| (at, op))
    });
    let (at, op) = taken?;
    let mut inputs = inputs.clone();
    inputs.remove(at);
    Some(Origin::Op { op, inputs })
}

/// What a value is another shape of.
fn behind_reshapes(graph: &Graph, mut value: Value) -> Value {
    while let Origin::Reshape(inner) = graph.nodes[value.0].origin {
        value = inner;
    }
    value
}

/// Makes one derivative of those of a relu and of the dropout behind it, which the dropout's result tells. So nobody needs
/// the relu's result any more, and the dropout can be folded into what makes it.
fn join_dropped_relus(graph: &mut Graph) {
    let uses = uses(graph);
    // What dropout is of, the dropout, its clock, its result.
    let mut dropped: Vec<(Value, Dropout, Value, Value)> = Vec::new();
    for i in 0..graph.nodes.len() {
        let Origin::Op { op, inputs } = &graph.nodes[i].origin else { continue };
        if uses[i] == 0 {
            continue;
        }
        if let Some(dropout) = op.as_dropout() {
            dropped.push((behind_reshapes(graph, inputs[0]), dropout, inputs[1], Value(i)));
        }
        let (of_relu, inputs) = (Epilogue { act_grad: Some(Act::Relu), ..Epilogue::NONE }, inputs.clone());
        if op.as_epilogue() != Some(of_relu) {
            continue;
        }
        let Some(of_dropout) = through_reshapes(graph, &uses, inputs[0]) else { continue };
        let Origin::Op { op, inputs: of } = &graph.nodes[of_dropout.0].origin else { continue };
        let &[d_out, clock] = of.as_slice() else { continue };
        let relu = behind_reshapes(graph, inputs[1]);
        let same = |(of, dropout, at, _): &&(Value, Dropout, Value, Value)| {
            *of == relu && *at == clock && op.as_dropout() == Some(*dropout)
        };
        let Some((_, dropout, _, result)) = dropped.iter().find(same).copied() else { continue };
        // Both are cut into images alike.
        if graph.dims(result).first() != graph.dims(inputs[1]).first() {
            continue;
        }
        let op = Arc::new(ActivationGrad(Act::ScaledRelu(dropout.factor())));
        graph.nodes[of_dropout.0].origin = Origin::Reshape(d_out);
        graph.nodes[i].origin = Origin::Op { op, inputs: vec![inputs[0], result] };
    }
}

/// Folds biases, activations, activation derivatives and dropout into the ops that make their input, where nobody else
/// wants that input.
fn fuse(graph: &mut Graph) {
    let mut uses = uses(graph);
    for i in 0..graph.nodes.len() {
        if uses[i] == 0 {
            continue;
        }
        let Origin::Op { op, inputs } = &graph.nodes[i].origin else { continue };
        if op.is_add() {
            add_in_maker(graph, &mut uses, i);
            continue;
        }
        let (epilogue, dropout) = (op.as_epilogue(), op.as_dropout());
        let Some(source) = inputs.first().copied().filter(|_| epilogue.is_some() || dropout.is_some()) else {
            continue;
        };
        let Some(maker) = through_reshapes(graph, &uses, source) else { continue };
        let Origin::Op { op: maker_op, inputs: maker_inputs } = &graph.nodes[maker.0].origin else { continue };
        // A bias per channel fits only where the innermost size is that of the maker's own result.
        if epilogue.is_some_and(|epilogue| epilogue.bias)
            && graph.nodes[maker.0].tensor.shape.last() != graph.nodes[i].tensor.shape.last()
        {
            continue;
        }
        let fused = epilogue.and_then(|epilogue| maker_op.with_epilogue(epilogue));
        let Some(fused) = fused.or_else(|| maker_op.with_dropout(dropout?)) else { continue };
        let inputs: Vec<Value> = maker_inputs.iter().chain(&inputs[1..]).copied().collect();
        // The node keeps its own shape only if the maker's is the same; else the maker moves here under a reshape.
        let made = graph.nodes[maker.0].tensor.clone();
        if made.shape == graph.nodes[i].tensor.shape {
            graph.nodes[i].origin = Origin::Op { op: fused, inputs };
            uses[maker.0] = 0;
        } else if source == maker || last_input_before(&inputs, source) {
            // Between maker and node there is a reshape node, which can hold the fused op if its inputs stand before it.
            let holder = source;
            graph.nodes[holder.0] = Node { origin: Origin::Op { op: fused, inputs }, tensor: made };
            graph.nodes[i].origin = Origin::Reshape(holder);
            uses[maker.0] = 0;
        }
    }
}

/// Lets what makes one input of an addition add the other.
fn add_in_maker(graph: &mut Graph, uses: &mut [usize], i: usize) {
    let Origin::Op { inputs, .. } = &graph.nodes[i].origin else { return };
    let [first, second] = [inputs[0], inputs[1]];
    // The later one is the less likely to be waited for.
    for (made, other) in [(second, first), (first, second)] {
        let Some(maker) = through_reshapes(graph, uses, made) else { continue };
        let Origin::Op { op, inputs } = &graph.nodes[maker.0].origin else { continue };
        let Some(op) = op.with_addend() else { continue };
        if graph.nodes[maker.0].tensor.shape != graph.nodes[i].tensor.shape {
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

/// The op behind a value, if everything between has one user.
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

/// What makes a node the same as another.
#[derive(PartialEq, Eq, Hash)]
enum Sameness {
    Stored(usize, usize),
    /// An op's text says all there is about it; the name tells ops of different modules apart.
    Op(&'static str, String, Vec<Value>),
    Reshape(Value),
    Part(Value, usize),
}

/// Lets the users of a node that computes what an earlier one did have that one's result. What may lie in a stored
/// buffer is left alone, and so is all that stands on the other side of an effect: it may have read something else.
fn share(graph: &mut Graph) {
    let uses = uses(graph);
    let assigned = assigned(graph);
    let mut instead: Vec<Value> = (0..graph.nodes.len()).map(Value).collect();
    let (mut places, mut results) = (HashMap::new(), HashMap::new());
    let mut effects = graph.effects.iter().map(|(at, _)| *at).peekable();
    for i in 0..graph.nodes.len() {
        while effects.next_if(|at| *at <= i).is_some() {
            results.clear();
        }
        let Node { origin, tensor } = &mut graph.nodes[i];
        let same = match origin {
            Origin::Stored { buffer, offset } => Sameness::Stored(buffer.0, *offset),
            Origin::Reshape(of) => {
                *of = instead[of.0];
                Sameness::Reshape(*of)
            }
            Origin::Part { of, offset } => {
                *of = instead[of.0];
                Sameness::Part(*of, *offset)
            }
            Origin::Op { op, inputs } => {
                inputs.iter_mut().for_each(|input| *input = instead[input.0]);
                Sameness::Op(op.name(), format!("{op:?}"), inputs.clone())
            }
        };
        if uses[i] == 0 || assigned[i] {
            continue;
        }
        let known: &mut HashMap<(Sameness, Tensor), Value> =
            if let Sameness::Op(..) = same { &mut results } else { &mut places };
        instead[i] = *known.entry((same, tensor.clone())).or_insert(Value(i));
    }
    for (_, effect) in &mut graph.effects {
        match effect {
            Effect::Assign { value, .. } => *value = instead[value.0],
            Effect::Update { inputs, .. } => inputs.iter_mut().for_each(|input| *input = instead[input.0]),
        }
    }
}

/// A sum over all rows that nobody wants but a place.
#[derive(Clone)]
struct PlacedSum {
    sum: Value,
    /// What is summed.
    of: Value,
    part: Summed,
    place: Place,
}

/// Makes one update of sums that nobody wants but places in one buffer: the last step of derivatives by weights.
fn sum_into_places(graph: &mut Graph) {
    let (uses, assigned) = (uses(graph), assigned(graph));
    let all = std::mem::take(&mut graph.effects);
    let mut sums: Vec<PlacedSum> = Vec::new();
    for (i, (at, effect)) in all.iter().enumerate() {
        match placed_sum(graph, &uses, effect) {
            // Where what is summed is in a stored buffer, that may have changed when it is assigned.
            Some(sum) if !assigned[behind_reshapes(graph, sum.of).0] => sums.push(sum),
            _ => graph.effects.push((*at, effect.clone())),
        }
        // What follows may read what is assigned here, unless it only assigns too.
        let goes_on =
            all.get(i + 1).is_some_and(|(next, effect)| next == at && matches!(effect, Effect::Assign { .. }));
        if !goes_on {
            graph.effects.extend(updates(std::mem::take(&mut sums)).into_iter().map(|update| (*at, update)));
        }
    }
}

fn placed_sum(graph: &Graph, uses: &[usize], effect: &Effect) -> Option<PlacedSum> {
    let Effect::Assign { value, place } = effect else { return None };
    let node = &graph.nodes[through_reshapes(graph, uses, *value)?.0];
    let Origin::Op { op, inputs } = &node.origin else { return None };
    let (&Sum { width, factor, .. }, of) = (op.as_sum()?, inputs[0]);
    let is_made_here = matches!(graph.nodes[behind_reshapes(graph, of).0].origin, Origin::Op { .. });
    let part = Summed { offset: place.offset, width, factor };
    let is_one_row = node.tensor.len() == width;
    (is_one_row && is_made_here).then(|| PlacedSum { sum: *value, of, part, place: place.clone() })
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

/// Ops of several parts of one stored buffer that are one.
struct Together {
    buffer: BufferId,
    /// The part of the buffer that all are in: where it begins, and its words.
    start: usize,
    words: usize,
    op: Arc<dyn Op>,
    /// The nodes, and where in the result each one's begins.
    nodes: Vec<(usize, usize)>,
}

/// Makes one op of those that do the same to parts of one stored buffer, with no effect between them: the weights that
/// convolutions' derivatives want transposed.
fn put_together(graph: &Graph) -> Graph {
    let found = together(graph);
    let mut out = Graph::new();
    let mut now: Vec<Value> = Vec::with_capacity(graph.nodes.len());
    // Of each op that was found, where it stands now.
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
    /// Equal ops on one buffer, with so many effects before them.
    struct Alike {
        op: Arc<dyn Op>,
        text: String,
        buffer: BufferId,
        effects: usize,
        nodes: Vec<usize>,
        /// What each reads: where that begins in the buffer, and its shape.
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

/// Ops that are put together at most.
const MOST_TOGETHER: usize = Transposes::MOST;

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
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::grad::grad;
    use crate::graph::Store;
    use crate::ops::activation::Activation;
    use crate::ops::batch_norm::batch_norm_fixed;
    use crate::ops::elementwise::{Add, AddBias, Fill, Mul, Scale};
    use crate::ops::loss::{Mse, MseGrad};
    use crate::ops::matmul::{Layout, MatMul};
    use crate::ops::transpose::Transpose;
    use crate::ops::{Target, cases, random};
    use crate::plan::Plan;
    use crate::tensor::Tensor;

    fn place(store: &mut Store, name: &str, tensor: Tensor) -> Place {
        Place { buffer: store.add(name, tensor.len()), offset: 0, tensor }
    }

    fn ops(graph: &Graph) -> Vec<&'static str> {
        Plan::new(graph).dispatches.iter().map(|dispatch| dispatch.op.name()).collect()
    }

    #[test]
    fn what_is_computed_twice_is_computed_once() {
        let mut store = Store::default();
        let [x, out] = ["x", "out"].map(|name| place(&mut store, name, Tensor::f32([4, 4])));
        let clock = place(&mut store, "clock", Tensor::u32([2]));
        let mut graph = Graph::new();
        let mut drawn = |stream| {
            let (x, clock) = (graph.read(&x), graph.read(&clock));
            let x = graph.reshape(x, [2, 8]).unwrap();
            let turned = graph.apply(Transpose, &[x]).unwrap();
            let dropped = graph.apply(Dropout { rate: 0.5, stream, groups: 1 }, &[turned, clock]).unwrap();
            graph.reshape(dropped, [4, 4]).unwrap()
        };
        let (a, b, other) = (drawn(1), drawn(1), drawn(2));
        let product = graph.apply(Mul, &[a, b]).unwrap();
        let sum = graph.apply(Add, &[product, other]).unwrap();
        graph.assign(sum, out);
        assert_eq!(ops(&graph), ["transpose", "dropout", "dropout", "mul", "add"]);
    }

    #[test]
    fn the_derivative_of_a_mean_loss_needs_no_tensor_of_ones() {
        let mut store = Store::default();
        let [x, target, out] = ["x", "target", "out"].map(|name| place(&mut store, name, Tensor::f32([4, 4])));
        let mut graph = Graph::new();
        let values = [graph.read(&x), graph.read(&target)];
        let loss = graph.apply(Mse, &values).unwrap();
        let loss = graph.apply(Scale { factor: 0.5, offset: 1.0 }, &[loss]).unwrap();
        let loss = Sum::mean(&mut graph, loss).unwrap();
        let d_x = grad(&mut graph, loss, &values[..1]).unwrap()[0];
        graph.assign(d_x, out);
        assert_eq!(ops(&graph), ["mse.grad"]);
        let op = &Plan::new(&graph).dispatches[0].op;
        assert_eq!(format!("{op:?}"), format!("{:?}", MseGrad { d_out: Some(0.5) }));
    }

    #[test]
    fn the_derivative_of_a_relu_and_of_dropout_behind_it_is_one_and_the_dropout_goes_into_what_makes_the_relu() {
        let mut store = Store::default();
        let [x, w, y, d] = ["x", "w", "y", "d"].map(|name| place(&mut store, name, Tensor::f32([16, 4])));
        let affine = place(&mut store, "affine", Tensor::f32([2, 4]));
        let clock = place(&mut store, "clock", Tensor::u32([2]));
        let mut graph = Graph::new();
        let [of_x, of_w, of_affine, of_clock] = [&x, &w, &affine, &clock].map(|place| graph.read(place));
        // x itself, as the statistics are of none and one.
        let none = graph.apply(Fill { shape: [2, 4].into(), value: 0.0 }, &[]).unwrap();
        let dropout = Dropout { rate: 0.4, stream: 1, groups: 1 };
        let made = batch_norm_fixed(&mut graph, of_x, none, of_affine, 1.0).unwrap();
        let relu = graph.apply(Activation(Act::Relu), &[made]).unwrap();
        let flat = graph.reshape(relu, [16, 2, 2]).unwrap();
        let dropped = graph.apply(dropout, &[flat, of_clock]).unwrap();
        let rows = graph.reshape(dropped, [16, 4]).unwrap();
        graph.assign(rows, y.clone());
        let product = graph.apply(Mul, &[rows, of_w]).unwrap();
        let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product]).unwrap();
        let d_x = grad(&mut graph, loss, &[of_x]).unwrap()[0];
        graph.assign(d_x, d.clone());
        let names = ops(&graph);
        for name in ["dropout", "activation"] {
            assert!(!names.contains(&name), "{names:?}");
        }
        assert_eq!(names.iter().filter(|name| **name == "activation.grad_x").count(), 1, "{names:?}");

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        let numbers = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
        let (at, weight) = (numbers(64, 1.7), numbers(64, 0.9));
        device.write_f32(x.buffer, 0, &at).unwrap();
        device.write_f32(w.buffer, 0, &weight).unwrap();
        device.write_f32(affine.buffer, 0, &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        device.write(clock.buffer, 0, &[3, 7]).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        let (y, d) = (device.read_f32(y.buffer, 0, 64).unwrap(), device.read_f32(d.buffer, 0, 64).unwrap());
        let key = random::key([3, 7], 1);
        for i in 0..64 {
            let kept = random::unit(random::draw(key, i as u32)) >= 0.4 && at[i] > 0.0;
            let [wanted, slope] = if kept { [at[i] / 0.6, weight[i] / 0.6] } else { [0.0; 2] };
            assert!((y[i] - wanted).abs() < 1e-6 && (d[i] - slope).abs() < 1e-6, "{i}: {} {}", y[i], d[i]);
        }
    }

    #[test]
    fn weights_that_are_transposed_are_transposed_together_until_they_change() {
        let mut store = Store::default();
        let buffer = store.add("weights", 192);
        let sizes = [[2, 3], [4, 5], [7, 2]];
        let mut places = (0..3).map(|i| Place { buffer, offset: 64 * i, tensor: Tensor::f32(sizes[i]) });
        let [a, b, c] = std::array::from_fn(|_| places.next().unwrap());
        let outs = [&c, &a, &b].map(|of| place(&mut store, "out", of.tensor.clone()));
        let mut graph = Graph::new();
        let turned = [&c, &a, &b].map(|of| {
            let x = graph.read(of);
            graph.apply(Transpose, &[x]).unwrap()
        });
        for (turned, out) in turned.into_iter().zip(&outs) {
            let twice = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[turned]).unwrap();
            graph.assign(twice, out.clone());
        }
        let again = graph.read(&a);
        let again = graph.apply(Transpose, &[again]).unwrap();
        let again = graph.apply(Scale { factor: 3.0, offset: 0.0 }, &[again]).unwrap();
        graph.assign(again, place(&mut store, "again", Tensor::f32([3, 2])));
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

    #[test]
    fn sums_that_nobody_wants_but_one_buffer_are_one_update() {
        let mut store = Store::default();
        let grads = store.add("grads", 192);
        let x = place(&mut store, "x", Tensor::f32([3, 4]));
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
        graph.assign(of_pairs, to(2, Tensor::f32([2])));
        graph.assign(twice, to(1, Tensor::f32([6])));
        graph.assign(of_columns, to(0, Tensor::f32([4])));
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
    fn a_product_adds_what_is_added_to_it_before_its_activation() {
        let mut store = Store::default();
        let [a, b, out] = ["a", "b", "out"].map(|name| place(&mut store, name, Tensor::f32([4, 4])));
        let bias = place(&mut store, "bias", Tensor::f32([4]));
        let mut graph = Graph::new();
        let [a, b, bias] = [&a, &b, &bias].map(|place| graph.read(place));
        let first = graph.apply(MatMul::new(Layout::NN), &[a, b]).unwrap();
        let second = graph.apply(MatMul::new(Layout::NT), &[a, b]).unwrap();
        let second = graph.apply(AddBias, &[second, bias]).unwrap();
        let sum = graph.apply(Add, &[first, second]).unwrap();
        let sum = graph.apply(Activation(Act::Tanh), &[sum]).unwrap();
        graph.assign(sum, out);
        assert_eq!(ops(&graph), ["matmul.nn", "matmul.nt"]);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_taken_for_what_is_read_after_it() {
        let mut store = Store::default();
        let [x, a, b] = ["x", "a", "b"].map(|name| place(&mut store, name, Tensor::f32([4, 4])));
        let mut graph = Graph::new();
        let twice = |graph: &mut Graph, into: &Place| {
            let x = graph.read(&x);
            let double = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[x]).unwrap();
            let more = graph.apply(Mul, &[double, double]).unwrap();
            graph.assign(more, into.clone());
        };
        twice(&mut graph, &a);
        twice(&mut graph, &x);
        twice(&mut graph, &b);
        assert_eq!(ops(&graph), ["scale", "mul", "scale", "mul", "scale", "mul"]);
    }

    #[test]
    fn ops_of_one_name_and_text_are_one_op() {
        let mut known = HashMap::new();
        for case in cases() {
            let tensors = case.tensors();
            let out = case.op.shape(&tensors).unwrap();
            let kernel = case.op.gpu(&tensors, std::slice::from_ref(&out), Target::DISCRETE);
            let key = (case.op.name(), format!("{:?}", case.op), tensors);
            let before = known.entry(key).or_insert((out.clone(), kernel.clone()));
            assert_eq!(*before, (out, kernel), "{}", case.name);
        }
    }
}
