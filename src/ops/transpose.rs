//! The last two axes swapped: `[.., m, n]` to `[.., n, m]`.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::kernel::WORKGROUP;
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::parallel_rows;
use crate::tensor::{Shape, Tensor};

/// `out[.., j, i] = x[.., i, j]`
#[derive(Clone, Copy, Debug)]
pub struct Transpose;

/// The last two sizes of a shape that has them.
fn sizes(dims: &[usize]) -> (usize, usize) {
    (dims[dims.len() - 2], dims[dims.len() - 1])
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect::<1>(inputs)?;
        let mut dims = x.dims().to_vec();
        let rank = dims.len();
        if rank < 2 {
            return Err("takes at least two axes".into());
        }
        dims.swap(rank - 1, rank - 2);
        Ok(Tensor { shape: Shape::new(dims), kind: x.kind })
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(graph.apply(Transpose, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (m, n) = sizes(inputs[0].dims());
        for e in 0..out.data.len() {
            let (b, j, i) = (e / (m * n), e / m % n, e % m);
            out.data[e] = inputs[0].data[(b * m + i) * n + j];
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (m, n) = sizes(inputs[0].dims());
        parallel_rows(outputs[0].data, m * n, m * n, |b, out| {
            let x = &inputs[0].data[b * m * n..][..m * n];
            // Blocks of 16 columns: the cache lines that are written stay at hand until they are full.
            for first in (0..m).step_by(16) {
                let width = 16.min(m - first);
                for (j, out) in out.chunks_exact_mut(m).enumerate() {
                    let out = &mut out[first..][..width];
                    out.iter_mut().enumerate().for_each(|(i, out)| *out = x[(first + i) * n + j]);
                }
            }
        });
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let (m, n) = sizes(inputs[0].dims());
        Kernel::flat("transpose", "forward", outputs[0].len())
            .with("COUNT", outputs[0].len())
            .with("M", m)
            .with("N", n)
            .with("WORKGROUP", WORKGROUP)
    }
}

pub fn cases() -> Vec<Case> {
    [vec![1, 1], vec![7, 5], vec![3, 3, 17, 33], vec![2, 64, 3]]
        .map(|shape| {
            let x = Tensor::f32(Shape::new(shape));
            Case::new(x.shape.to_string(), Arc::new(Transpose)).input(x, Fill::Uniform)
        })
        .into()
}
