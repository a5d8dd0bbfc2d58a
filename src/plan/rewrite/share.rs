//! What would be computed twice, computed once.

use std::collections::HashMap;

use super::{assigned, uses};
use crate::graph::{Effect, Graph, Node, Origin, Value};
use crate::tensor::Tensor;

/// What makes a node the same as another.
#[derive(PartialEq, Eq, Hash)]
enum Sameness {
    Stored(usize, usize),
    /// An op's `Debug` text says all there is about it; the name tells ops of different modules apart.
    Op(&'static str, String, Vec<Value>),
    Reshape(Value),
    Part(Value, usize),
}

/// Gives the users of a node that computes the same as an earlier one the earlier one's result. What may be in a stored
/// buffer is left alone, and so are ops on the other side of an effect: they may have read something else.
pub(super) fn share(graph: &mut Graph) {
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

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use super::*;
    use crate::graph::{Place, Store};
    use crate::ops::elementwise::{Add, Mul, Scale};
    use crate::ops::transpose::Transpose;
    use crate::ops::{Dropout, Target, cases};

    #[test]
    fn what_is_computed_twice_is_computed_once() {
        let mut store = Store::default();
        let [x, out] = ["x", "out"].map(|name| store.place(name, Tensor::f32([4, 4])));
        let clock = store.place("clock", Tensor::u32([2]));
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
        graph.assign(sum, out).unwrap();
        assert_eq!(ops(&graph), ["transpose", "dropout", "dropout", "mul", "add"]);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_taken_for_what_is_read_after_it() {
        let mut store = Store::default();
        let [x, a, b] = ["x", "a", "b"].map(|name| store.place(name, Tensor::f32([4, 4])));
        let mut graph = Graph::new();
        let twice = |graph: &mut Graph, into: &Place| {
            let x = graph.read(&x);
            let double = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[x]).unwrap();
            let more = graph.apply(Mul, &[double, double]).unwrap();
            graph.assign(more, into.clone()).unwrap();
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
