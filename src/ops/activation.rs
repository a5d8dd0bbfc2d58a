//! relu, leaky relu, sigmoid and tanh, and their derivatives, which are taken from the result, not the input.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect, kernel::WORKGROUP};
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
            Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Act::Tanh => x.tanh(),
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
        }
    }

    /// The match stands outside the loops, so that each is vectorised on its own.
    #[inline(always)]
    pub fn apply_slice(self, values: &mut [f32]) {
        match self {
            Act::Relu => values.iter_mut().for_each(|v| *v = Act::Relu.apply(*v)),
            Act::Leaky(_) => values.iter_mut().for_each(|v| *v = self.apply(*v)),
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
            _ => each.for_each(|(v, y)| *v *= self.derivative(*y)),
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
        }
    }

    /// The definition of [`Act::derivative`], in f64.
    pub(super) fn exact_derivative(self, y: f64) -> f64 {
        match self {
            Act::Sigmoid => y * (1.0 - y),
            Act::Tanh => 1.0 - y * y,
            Act::Relu | Act::Leaky(_) if y > 0.0 => 1.0,
            Act::Relu => 0.0,
            Act::Leaky(slope) => f64::from(slope),
        }
    }

    /// Its number in `epilogue.wgsl`; 0 is none.
    pub fn code(self) -> u32 {
        match self {
            Act::Relu => 1,
            Act::Leaky(_) => 2,
            Act::Sigmoid => 3,
            Act::Tanh => 4,
        }
    }

    pub fn slope(self) -> Option<f32> {
        if let Act::Leaky(slope) = self { Some(slope) } else { None }
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
        expect::<1>(inputs).map(|[x]| x.clone())
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
        Epilogue { act: Some(self.0), ..Epilogue::NONE }
            .constants(kernel)
            .with("COUNT", inputs[0].len().div_ceil(4))
            .with("WORKGROUP", WORKGROUP)
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
        let [d_out, activated] = expect::<2>(inputs)?;
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
        Epilogue { act_grad: Some(self.0), ..Epilogue::NONE }
            .constants(kernel)
            .with("COUNT", inputs[0].len().div_ceil(4))
            .with("WORKGROUP", WORKGROUP)
    }
    fn as_epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue { act_grad: Some(self.0), ..Epilogue::NONE })
    }
}

pub fn cases() -> Vec<Case> {
    let acts = [Act::Relu, Act::Leaky(0.2), Act::Sigmoid, Act::Tanh];
    let each = |act| {
        [[1, 1], [7, 13], [33, 64]].map(|shape| {
            Case::new(format!("{act:?} {shape:?}"), Arc::new(Activation(act)))
                .input(Tensor::f32(shape), Fill::AwayFromZero)
        })
    };
    acts.into_iter().flat_map(each).collect()
}
