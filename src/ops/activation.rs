//! relu, leaky relu, sigmoid and tanh, and their derivatives, which are computed from the result, not the input.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect_floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::{parallel_zip, parallel_zip2};
use crate::tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Act {
    Relu,
    /// `x` above zero, `slope * x` below; the slope is not negative, so that a result tells its input's sign.
    Leaky(f32),
    Sigmoid,
    Tanh,
    /// `factor * x` above zero, 0 below. Where a relu's result has gone through dropout, the derivative of this
    /// function at the outcome is that of both: what is above zero was kept and positive.
    ScaledRelu(f32),
}

/// The exponential without a branch or a call, so that loops over it vectorise; within 2 units in the last place, and
/// exp(87) for anything above 87. By S. Moshier's polynomial (Cephes, `expf`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Added to a number below 2^22, it leaves the nearest integer in the lowest bits.
    const ROUNDS: f32 = 12_582_912.0;
    // Written so that NaN stays NaN.
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUNDS;
    let n = rounded - ROUNDS;
    // The logarithm of 2 in two parts, so that the first product is exact.
    let r = x - n * (355.0 / 512.0) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_2e-4;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + factor;
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

/// The hyperbolic tangent in the same way (Cephes, `tanhf`).
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    for factor in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * z + factor;
    }
    let near = p * z * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    (if x.abs() < 0.625 { near } else { far }).copysign(x)
}

impl Act {
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            // Not `max`, which would turn NaN into 0 and hide a run that went wrong.
            Act::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Act::Leaky(slope) => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Act::Sigmoid => 1.0 / (1.0 + exp(-x)),
            Act::Tanh => tanh(x),
            Act::ScaledRelu(factor) => {
                if x < 0.0 {
                    0.0
                } else {
                    factor * x
                }
            }
        }
    }

    /// The derivative where the result is `y`.
    #[inline(always)]
    pub fn derivative(self, y: f32) -> f32 {
        match self {
            Act::Relu => {
                if y > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            Act::Leaky(slope) => {
                if y > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Act::Sigmoid => y * (1.0 - y),
            Act::Tanh => 1.0 - y * y,
            Act::ScaledRelu(factor) => {
                if y > 0.0 {
                    factor
                } else {
                    0.0
                }
            }
        }
    }

    /// The match stands outside the loops, so that each is vectorised on its own.
    #[inline(always)]
    pub fn apply_slice(self, values: &mut [f32]) {
        match self {
            Act::Relu => values.iter_mut().for_each(|v| *v = Act::Relu.apply(*v)),
            Act::Leaky(slope) => values.iter_mut().for_each(|v| *v = if *v < 0.0 { slope * *v } else { *v }),
            Act::ScaledRelu(factor) => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { factor * *v }),
            Act::Sigmoid => values.iter_mut().for_each(|v| *v = Act::Sigmoid.apply(*v)),
            Act::Tanh => values.iter_mut().for_each(|v| *v = Act::Tanh.apply(*v)),
        }
    }

    /// `values *= derivative(activated)`.
    #[inline(always)]
    pub fn grad_slice(self, values: &mut [f32], activated: &[f32]) {
        let each = values.iter_mut().zip(activated);
        match self {
            Act::Relu => each.for_each(|(v, y)| *v = if *y > 0.0 { *v } else { 0.0 }),
            Act::ScaledRelu(factor) => each.for_each(|(v, y)| *v = if *y > 0.0 { factor * *v } else { 0.0 }),
            Act::Leaky(slope) => each.for_each(|(v, y)| *v = if *y > 0.0 { *v } else { slope * *v }),
            Act::Sigmoid => each.for_each(|(v, y)| *v *= Act::Sigmoid.derivative(*y)),
            Act::Tanh => each.for_each(|(v, y)| *v *= Act::Tanh.derivative(*y)),
        }
    }

    /// The definition, in f64.
    pub(super) fn exact(self, x: f64) -> f64 {
        match self {
            Act::Relu => x.max(0.0),
            Act::Leaky(slope) => {
                if x < 0.0 {
                    f64::from(slope) * x
                } else {
                    x
                }
            }
            Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Act::Tanh => x.tanh(),
            Act::ScaledRelu(factor) => f64::from(factor) * x.max(0.0),
        }
    }

    /// The definition of [`Act::derivative`], in f64.
    pub(super) fn exact_derivative(self, y: f64) -> f64 {
        match self {
            Act::Sigmoid => y * (1.0 - y),
            Act::Tanh => 1.0 - y * y,
            Act::Relu | Act::Leaky(_) if y > 0.0 => 1.0,
            Act::ScaledRelu(factor) if y > 0.0 => f64::from(factor),
            Act::Relu | Act::ScaledRelu(_) => 0.0,
            Act::Leaky(slope) => f64::from(slope),
        }
    }

    /// Its number in `act.wgsl`; 0 is none.
    pub fn code(self) -> u32 {
        match self {
            Act::Relu => 1,
            Act::Leaky(_) => 2,
            Act::Sigmoid => 3,
            Act::Tanh => 4,
            Act::ScaledRelu(_) => 5,
        }
    }

    /// The number that goes with it, `SLOPE` in `act.wgsl`.
    pub fn slope(self) -> Option<f32> {
        if let Act::Leaky(slope) | Act::ScaledRelu(slope) = self { Some(slope) } else { None }
    }
}

/// `out = act(x)`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct Activation(pub Act);

impl Op for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect_floats::<1>(inputs).map(|[x]| x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(graph.apply(ActivationGrad(self.0), &[node.d_out, node.out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data.iter_mut().zip(&inputs[0].data).for_each(|(out, x)| *out = self.0.exact(*x));
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip(outputs[0].data, inputs[0].data, |out, x| {
            out.copy_from_slice(x);
            self.0.apply_slice(out);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let kernel = Kernel::flat("activation", "forward", inputs[0].len().div_ceil(4));
        Epilogue { act: Some(self.0), ..Epilogue::NONE }.constants(kernel)
    }
    fn as_epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue { act: Some(self.0), ..Epilogue::NONE })
    }
}

/// `out = d_out * act'(x)`, from `d_out` and the activation's result.
#[derive(Clone, Copy, Debug)]
pub struct ActivationGrad(pub Act);

impl Op for ActivationGrad {
    fn name(&self) -> &'static str {
        "activation.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, activated] = expect_floats::<2>(inputs)?;
        if d_out.len() != activated.len() {
            return Err("the derivative and the activation's result differ in size".into());
        }
        Ok(d_out.clone())
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip2(outputs[0].data, inputs[0].data, inputs[1].data, |out, d_out, activated| {
            out.copy_from_slice(d_out);
            self.0.grad_slice(out, activated);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let kernel = Kernel::flat("activation", "grad_x", inputs[0].len().div_ceil(4));
        Epilogue { act_grad: Some(self.0), ..Epilogue::NONE }.constants(kernel)
    }
    fn as_epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue { act_grad: Some(self.0), ..Epilogue::NONE })
    }
}

pub fn cases() -> Vec<Case> {
    let acts = [Act::Relu, Act::Leaky(0.2), Act::Sigmoid, Act::Tanh, Act::ScaledRelu(2.5)];
    let each = |act| {
        [[1, 1], [7, 13], [33, 64]].map(|shape| {
            Case::new(format!("{act:?} {shape:?}"), Arc::new(Activation(act)))
                .input(Tensor::f32(shape), Fill::AwayFromZero)
        })
    };
    acts.into_iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_and_the_tangent_are_within_two_units_of_the_last_place() {
        for i in -870_000..=870_000 {
            let x = i as f32 * 1e-4;
            let near = |what: &str, got: f32, wanted: f64| {
                let apart = (f64::from(got) - wanted).abs() / wanted.abs().max(1e-37);
                assert!(apart <= 2.5e-7, "{what}({x}) is {got} instead of {wanted}");
            };
            near("exp", exp(x), f64::from(x).exp());
            near("tanh", tanh(x * 0.2), f64::from(x * 0.2).tanh());
        }
    }

    #[test]
    fn what_is_no_number_stays_none_and_the_infinite_has_its_limits() {
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && Act::Sigmoid.apply(f32::NAN).is_nan());
        let limits = |act: Act| [f32::NEG_INFINITY, -1e30, 0.0, 1e30, f32::INFINITY].map(|x| act.apply(x));
        assert_eq!(limits(Act::Tanh), [-1.0, -1.0, 0.0, 1.0, 1.0]);
        let [least, small, half, large, most] = limits(Act::Sigmoid);
        assert!(least < 2e-38 && small < 2e-38 && half == 0.5 && large == 1.0 && most == 1.0);
        assert!(tanh(-1e-30) == -1e-30 && tanh(-0.0).is_sign_negative());
    }
}
