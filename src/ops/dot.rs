//! The inner product of each pair of rows, and its derivatives: a row scaled by one number. Each is the other's
//! derivative, so that the two are closed under differentiation.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect_floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// `out[n, 0] = sum over k of a[n, k] * b[n, k]`
#[derive(Clone, Copy, Debug)]
pub struct RowDot;

/// `out[n, k] = factor[n, 0] * x[n, k]`
#[derive(Clone, Copy, Debug)]
pub struct RowScale;

impl Op for RowDot {
    fn name(&self) -> &'static str {
        "row_dot"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [a, b] = expect_floats::<2>(inputs)?;
        if a.shape.rank() != 2 || a.shape != b.shape || a.is_empty() {
            return Err("multiplies the rows of two matrices of one shape".into());
        }
        Ok(Tensor::f32([a.dims()[0], 1]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let mut scaled = |wanted: bool, x| match wanted {
            true => graph.apply(RowScale, &[node.d_out, x]).map(Some),
            false => Ok(None),
        };
        Ok(vec![scaled(node.wanted[0], b)?, scaled(node.wanted[1], a)?])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let width = inputs[0].shape.last();
        let rows = inputs[0].data.chunks(width).zip(inputs[1].data.chunks(width));
        for (out, (a, b)) in out.data.iter_mut().zip(rows) {
            *out = a.iter().zip(b).map(|(a, b)| a * b).sum();
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let width = inputs[0].shape.last();
        parallel_rows(outputs[0].data, 1, width, |row, out| {
            let (a, b) = (&inputs[0].data[row * width..][..width], &inputs[1].data[row * width..][..width]);
            out[0] = a.iter().zip(b).map(|(a, b)| a * b).sum();
        });
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        kernel("row_dot", outputs[0].len(), inputs[0].shape.last())
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        2 * inputs[0].len() as u64
    }
}

impl Op for RowScale {
    fn name(&self) -> &'static str {
        "row_scale"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [factor, x] = expect_floats::<2>(inputs)?;
        if x.shape.rank() != 2 || x.is_empty() || factor.dims() != [x.dims()[0], 1] {
            return Err("takes one factor for each row of a matrix".into());
        }
        Ok(x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let (factor, x) = (node.inputs[0], node.inputs[1]);
        let d_factor = if node.wanted[0] { Some(graph.apply(RowDot, &[node.d_out, x])?) } else { None };
        let d_x = if node.wanted[1] { Some(graph.apply(RowScale, &[factor, node.d_out])?) } else { None };
        Ok(vec![d_factor, d_x])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let width = out.shape.last();
        (0..out.data.len()).for_each(|i| out.data[i] = inputs[0].data[i / width] * inputs[1].data[i]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let width = outputs[0].shape.last();
        parallel_rows(outputs[0].data, width, width, |row, out| {
            let factor = inputs[0].data[row];
            out.iter_mut().zip(&inputs[1].data[row * width..]).for_each(|(out, x)| *out = factor * x);
        });
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        kernel("row_scale", outputs[0].len(), outputs[0].shape.last())
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        outputs[0].len() as u64
    }
}

fn kernel(entry: &'static str, count: usize, width: usize) -> Kernel {
    let rounds = if entry == "row_dot" { width } else { 0 };
    Kernel::flat("dot", entry, count).with("WIDTH", width).rounds(rounds)
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [n, k] in [[1, 1], [7, 13], [130, 10], [3, 301]] {
        let (name, x) = (format!("{:?}", [n, k]), Tensor::f32([n, k]));
        cases.push(
            Case::new(name.clone(), Arc::new(RowDot)).input(x.clone(), Fill::Uniform).input(x.clone(), Fill::Uniform),
        );
        let case = Case::new(name, Arc::new(RowScale)).input(Tensor::f32([n, 1]), Fill::Uniform);
        cases.push(case.input(x, Fill::Uniform));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_added_up_in_a_loop_as_long_as_it_is_and_scaled_without_one() {
        let (one, row) = (Tensor::f32([1, 1]), Tensor::f32([1, 100_000]));
        let dot = RowDot.gpu(&[row.clone(), row.clone()], std::slice::from_ref(&one), Target::SOFTWARE);
        let scale = RowScale.gpu(&[one, row.clone()], &[row], Target::SOFTWARE);
        assert_eq!([dot.rounds, scale.rounds], [100_000, 0]);
    }
}
