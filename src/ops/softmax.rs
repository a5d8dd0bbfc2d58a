//! Softmax over the innermost axis, and its derivative, computed from the result.

use std::sync::Arc;

use super::activation::exp;
use super::case::{Case, Fill};
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect_floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::{each, parallel_rows, rows_at_a_time, vectorized};
use crate::tensor::Tensor;

/// The largest number of a row.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |largest, x| if *x > largest { *x } else { largest })
}

/// Puts `exp(x - largest)` for each number of a row into `out`, with `x - largest` at least -80, so that results are
/// normal numbers: processors are a hundred times slower with subnormal ones. NaN stays NaN.
#[inline(always)]
pub(super) fn exponentials(x: &[f32], width: usize, out: &mut [f32]) {
    for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let largest = largest(x);
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x - largest);
    }
    // For all rows at once: a row of ten is less than a vector.
    out.iter_mut().for_each(|out| *out = exp(if *out < -80.0 { -80.0 } else { *out }));
}

/// `out[.., c] = exp(x[.., c]) / sum of exp(x[.., ..])`
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

/// A kernel that goes through each row so many times, four elements a round.
fn kernel(entry: &'static str, x: &Tensor, passes: usize) -> Kernel {
    let (rows, width) = (x.shape.rows(), x.shape.last());
    Kernel::flat("softmax", entry, rows).with("WIDTH", width).rounds(passes * width.div_ceil(4))
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        if x.is_empty() { Err("has no classes".into()) } else { Ok(x.clone()) }
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(graph.apply(SoftmaxGrad, &[node.out, node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let width = out.shape.last();
        for (out, x) in out.data.chunks_mut(width).zip(inputs[0].data.chunks(width)) {
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
            out.iter_mut().zip(x).for_each(|(out, x)| *out = (x - largest).exp() / sum);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let width = inputs[0].shape.last();
        // An exponential costs as much as some ten additions.
        let together = rows_at_a_time(inputs[0].shape.rows(), 10 * width) * width;
        each(outputs[0].data.chunks_mut(together).zip(inputs[0].data.chunks(together)), |(out, x)| {
            vectorized(
                #[inline(always)]
                || {
                    exponentials(x, width, out);
                    for out in out.chunks_exact_mut(width) {
                        let sum: f32 = out.iter().sum();
                        out.iter_mut().for_each(|out| *out /= sum);
                    }
                },
            );
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("forward", &inputs[0], 3)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

/// `out = y * (d_out - sum of y * d_out)` row by row, from the softmax `y` and `d_out`.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxGrad;

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [y, d_out] = expect_floats::<2>(inputs)?;
        if y.len() != d_out.len() || y.is_empty() {
            return Err("the softmax and the derivative differ in size".into());
        }
        Ok(y.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let width = out.shape.last();
        let rows = inputs[0].data.chunks(width).zip(inputs[1].data.chunks(width));
        for (out, (y, d)) in out.data.chunks_mut(width).zip(rows) {
            let sum: f64 = y.iter().zip(d).map(|(y, d)| y * d).sum();
            out.iter_mut().zip(y.iter().zip(d)).for_each(|(out, (y, d))| *out = y * (d - sum));
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let width = inputs[0].shape.last();
        parallel_rows(outputs[0].data, width, width, |row, out| {
            let (y, d) = (&inputs[0].data[row * width..][..width], &inputs[1].data[row * width..][..width]);
            let sum: f32 = y.iter().zip(d).map(|(y, d)| y * d).sum();
            out.iter_mut().zip(y.iter().zip(d)).for_each(|(out, (y, d))| *out = y * (d - sum));
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("grad_x", &inputs[0], 2)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [[1, 1], [5, 7], [130, 10], [3, 101]] {
        let (name, x) = (format!("{shape:?}"), Tensor::f32(shape));
        cases.push(Case::new(name.clone(), Arc::new(Softmax)).input(x.clone(), Fill::Uniform));
        // Exponentials that would overflow.
        cases.push(
            Case::new(format!("{name} of large numbers"), Arc::new(Softmax))
                .input(x.clone(), Fill::Words(&[0x447a_0000, 0x4479_c000, 0xc47a_0000, 0x4479_e000, 0x447a_2000])),
        );
        let grad = Case::new(name, Arc::new(SoftmaxGrad)).input(x.clone(), Fill::Positive);
        cases.push(grad.input(x, Fill::Uniform).no_derivative());
    }
    cases
}
