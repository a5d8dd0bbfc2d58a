//! A row of the op table: an op, inputs to run it on, and how close is close enough.

use std::sync::Arc;

use super::{Epilogue, Op, random};
use crate::tensor::{Kind, Tensor};

/// What an input holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fill {
    /// Uniform in -1..1.
    Uniform,
    /// Uniform in 0.1..1.1: divisors, variances.
    Positive,
    /// Uniform in -1.05..1.05 with 0.05 on either side of zero left out: for functions with a kink there.
    AwayFromZero,
    /// All different by at least 1e-3, shuffled: for functions with a kink where two inputs meet.
    Distinct,
    /// Whole numbers below a bound.
    Below(u32),
    /// Given words, repeated as needed.
    Words(&'static [u32]),
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub op: Arc<dyn Op>,
    pub inputs: Vec<(Tensor, Fill)>,
    /// Whether the derivative with respect to each float input is checked.
    pub derivative: bool,
    /// How far a device may be from the f64 reference, relative to the largest value in the output. f32
    /// keeps 24 bits (6e-8); sums of a few hundred products in any order stay within 1e-5.
    pub tolerance: f64,
}

impl Case {
    pub fn new(name: impl Into<String>, op: Arc<dyn Op>) -> Case {
        let name = format!("{} {}", op.name(), name.into());
        Case { name, op, inputs: Vec::new(), derivative: true, tolerance: 1e-5 }
    }
    pub fn input(mut self, tensor: Tensor, fill: Fill) -> Case {
        self.inputs.push((tensor, fill));
        self
    }
    /// Adds the inputs of an epilogue for a result like `out`, and leaves the derivative check out.
    pub fn of_epilogue(mut self, epilogue: Epilogue, out: &Tensor) -> Case {
        let c = out.shape.last();
        if epilogue.bias {
            self = self.input(Tensor::f32([c]), Fill::Uniform);
        }
        if epilogue.norm.is_some() {
            self = self.input(Tensor::f32([2, c]), Fill::Positive).input(Tensor::f32([2, c]), Fill::Uniform);
        }
        if epilogue.act_grad.is_some() {
            self = self.input(out.clone(), Fill::AwayFromZero);
        }
        self.no_derivative()
    }
    /// Leaves the derivative check out: the op has none, or is itself a derivative of another case's op.
    pub fn no_derivative(mut self) -> Case {
        self.derivative = false;
        self
    }
    pub fn tolerance(mut self, tolerance: f64) -> Case {
        self.tolerance = tolerance;
        self
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        self.inputs.iter().map(|(tensor, _)| tensor.clone()).collect()
    }

    /// The inputs' words, the same at every call.
    pub fn words(&self) -> Vec<Vec<u32>> {
        self.inputs.iter().enumerate().map(|(i, (tensor, fill))| words(tensor, *fill, i as u32)).collect()
    }
}

fn words(tensor: &Tensor, fill: Fill, stream: u32) -> Vec<u32> {
    let n = tensor.len();
    let unit = |i: usize| random::unit(random::bits([7, 0], stream, i as u32));
    let value = |i: usize| match fill {
        Fill::Uniform => unit(i) * 2.0 - 1.0,
        Fill::Positive => unit(i) + 0.1,
        Fill::AwayFromZero => {
            let x = unit(i) * 2.0 - 1.0;
            x + 0.05 * x.signum()
        }
        Fill::Distinct => {
            let place = random::Shuffle::new(n as u32, 7, stream).at(i as u32);
            (place as f32 - n as f32 / 2.0) * 2e-3
        }
        Fill::Below(_) | Fill::Words(_) => 0.0,
    };
    (0..n)
        .map(|i| match (fill, tensor.kind) {
            (Fill::Below(bound), _) => random::bits([7, 0], stream, i as u32) % bound,
            (Fill::Words(words), _) => words[i % words.len()],
            (_, Kind::F32 | Kind::F16) => value(i).to_bits(),
            (_, Kind::U32) => value(i) as u32,
        })
        .collect()
}
