//! The backward pass of a relu and the dropout after it, in one op.

use std::sync::Arc;

use super::{behind_reshapes, through_reshapes, uses};
use crate::graph::{Graph, Origin, Value};
use crate::ops::activation::{Act, ActivationGrad};
use crate::ops::{Dropout, Epilogue};

/// Joins the derivatives of a relu and of the dropout after it into one, which needs only the dropout's result. So
/// nothing needs the relu's result any more, and the dropout can be folded into what makes it.
pub(super) fn join_dropped_relus(graph: &mut Graph) {
    let uses = uses(graph);
    // The dropout's input, the dropout, its clock, its result.
    let mut dropped: Vec<(Value, Dropout, Value, Value)> = Vec::new();
    for i in 0..graph.nodes.len() {
        let Origin::Op { op, inputs } = &graph.nodes[i].origin else { continue };
        if uses[i] == 0 {
            continue;
        }
        if let Some(dropout) = op.as_ref().downcast::<Dropout>() {
            dropped.push((behind_reshapes(graph, inputs[0]), *dropout, inputs[1], Value(i)));
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
            *of == relu && *at == clock && op.as_ref().downcast::<Dropout>() == Some(dropout)
        };
        let Some((_, dropout, _, result)) = dropped.iter().find(same).copied() else { continue };
        // Both must be divided into images alike.
        if graph.dims(result).first() != graph.dims(inputs[1]).first() {
            continue;
        }
        let op = Arc::new(ActivationGrad(Act::ScaledRelu(dropout.factor())));
        graph.nodes[of_dropout.0].origin = Origin::Reshape(d_out);
        graph.nodes[i].origin = Origin::Op { op, inputs: vec![inputs[0], result] };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::ops;
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::grad::grad;
    use crate::graph::Store;
    use crate::ops::activation::Activation;
    use crate::ops::batch_norm::batch_norm_fixed;
    use crate::ops::elementwise::{Fill, Mul};
    use crate::ops::{Sum, random};
    use crate::plan::Plan;
    use crate::tensor::Tensor;

    #[test]
    fn the_derivative_of_a_relu_and_of_dropout_behind_it_is_one_and_the_dropout_goes_into_what_makes_the_relu() {
        let mut store = Store::default();
        let [x, w, y, d] = ["x", "w", "y", "d"].map(|name| store.place(name, Tensor::f32([16, 4])));
        let affine = store.place("affine", Tensor::f32([2, 4]));
        let clock = store.place("clock", Tensor::u32([2]));
        let mut graph = Graph::new();
        let [of_x, of_w, of_affine, of_clock] = [&x, &w, &affine, &clock].map(|place| graph.read(place));
        // x itself, since the statistics are zeros and eps is 1.
        let none = graph.apply(Fill { shape: [2, 4].into(), value: 0.0 }, &[]).unwrap();
        let dropout = Dropout { rate: 0.4, stream: 1, groups: 1 };
        let made = batch_norm_fixed(&mut graph, of_x, none, of_affine, 1.0).unwrap();
        let relu = graph.apply(Activation(Act::Relu), &[made]).unwrap();
        let flat = graph.reshape(relu, [16, 2, 2]).unwrap();
        let dropped = graph.apply(dropout, &[flat, of_clock]).unwrap();
        let rows = graph.reshape(dropped, [16, 4]).unwrap();
        graph.assign(rows, y.clone()).unwrap();
        let product = graph.apply(Mul, &[rows, of_w]).unwrap();
        let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product]).unwrap();
        let d_x = grad(&mut graph, loss, &[of_x]).unwrap()[0];
        graph.assign(d_x, d.clone()).unwrap();
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
}
