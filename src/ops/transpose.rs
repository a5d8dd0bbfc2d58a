//! The last two axes swapped: `[.., m, n]` to `[.., n, m]`, for one tensor or for several that are stored in one.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect};
use crate::grad::Backward;
use crate::graph::{ALIGNMENT, Graph};
use crate::parallel::parallel_rows;
use crate::tensor::{Kind, Shape, Tensor};

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
        turn(inputs[0].data, outputs[0].data, m, n);
    }
    fn together(&self, parts: &[(usize, Tensor)]) -> Option<(Arc<dyn Op>, Vec<usize>)> {
        if parts.len() > Transposes::MOST || parts.iter().any(|(_, x)| x.kind != Kind::F32) {
            return None;
        }
        let mut end = 0;
        let part = |(from, x): &(usize, Tensor)| {
            let (m, n) = sizes(x.dims());
            let to = end;
            end = (to + x.len()).next_multiple_of(ALIGNMENT);
            Turned { from: *from, to, len: x.len(), m, n }
        };
        let parts: Vec<Turned> = parts.iter().map(part).collect();
        let starts = parts.iter().map(|part| part.to).collect();
        Some((Arc::new(Transposes { parts }), starts))
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let (m, n) = sizes(inputs[0].dims());
        Kernel::flat("transpose", "forward", outputs[0].len()).with("M", m).with("N", n)
    }
}

/// Matrices `[m, n]` of `x`, one after another, to `[n, m]`.
fn turn(x: &[f32], out: &mut [f32], m: usize, n: usize) {
    parallel_rows(out, m * n, m * n, |b, out| {
        let x = &x[b * m * n..][..m * n];
        // Blocks of 16 columns: the cache lines that are written stay in the cache until they are full.
        for first in (0..m).step_by(16) {
            let width = 16.min(m - first);
            for (j, out) in out.chunks_exact_mut(m).enumerate() {
                let out = &mut out[first..][..width];
                out.iter_mut().enumerate().for_each(|(i, out)| *out = x[(first + i) * n + j]);
            }
        }
    });
}

/// One tensor of [`Transposes`], of matrices `[m, n]`.
#[derive(Clone, Copy, Debug)]
pub struct Turned {
    /// Where it begins in the input.
    pub from: usize,
    /// Where its result begins.
    pub to: usize,
    pub len: usize,
    pub m: usize,
    pub n: usize,
}

/// [`Transpose`] of several parts of one tensor, in the order of their results, with zeros between the results: the
/// plan combines the transposes of all weights into one.
#[derive(Clone, Debug)]
pub struct Transposes {
    /// At most [`Transposes::MOST`].
    pub parts: Vec<Turned>,
}

impl Transposes {
    /// As many as its shader has named constants for.
    pub const MOST: usize = 8;
}

impl Op for Transposes {
    fn name(&self) -> &'static str {
        "transposes"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect::<1>(inputs)?;
        let fits = |part: &Turned| {
            part.from + part.len <= x.len() && part.m * part.n > 0 && part.len.is_multiple_of(part.m * part.n)
        };
        let ordered = self.parts.windows(2).all(|two| two[0].to + two[0].len <= two[1].to);
        if !((1..=Transposes::MOST).contains(&self.parts.len()) && self.parts.iter().all(fits) && ordered) {
            return Err(format!("takes 1 to {} parts of matrices, one behind the other", Transposes::MOST));
        }
        Ok(Tensor::f32([self.parts.iter().map(|part| part.to + part.len).max().unwrap_or(0)]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data.fill(0.0);
        for Turned { from, to, len, m, n } in self.parts.iter().copied() {
            for e in 0..len {
                let (b, j, i) = (e / (m * n), e / m % n, e % m);
                out.data[to + e] = inputs[0].data[from + (b * m + i) * n + j];
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let mut end = 0;
        for part in &self.parts {
            outputs[0].data[end..part.to].fill(0.0);
            end = part.to + part.len;
            turn(&inputs[0].data[part.from..][..part.len], &mut outputs[0].data[part.to..end], part.m, part.n);
        }
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let kernel = Kernel::flat("transpose", "several", outputs[0].len()).with("PARTS", self.parts.len());
        self.parts.iter().enumerate().fold(kernel, |kernel, (k, part)| {
            kernel
                .with(format!("FROM_{k}"), part.from)
                .with(format!("TO_{k}"), part.to)
                .with(format!("LEN_{k}"), part.len)
                .with(format!("M_{k}"), part.m)
                .with(format!("N_{k}"), part.n)
        })
    }
    fn bytes(&self, _: &[Tensor], _: &[Tensor]) -> u64 {
        self.parts.iter().map(|part| 8 * part.len as u64).sum()
    }
}

pub fn cases() -> Vec<Case> {
    let several = |sizes: &[(usize, usize, usize)]| {
        let mut end = 0;
        let mut parts = Vec::new();
        for (b, m, n) in sizes {
            end += 64;
            parts.push((end, Tensor::f32([*b, *m, *n])));
            end += b * m * n;
        }
        let (op, _) = Transpose.together(&parts).expect("a few parts");
        Case::new(format!("{sizes:?}"), op).input(Tensor::f32([end + 3]), Fill::Uniform).no_derivative()
    };
    let mut cases = vec![
        several(&[(1, 1, 1)]),
        several(&[(9, 17, 33), (2, 64, 3), (1, 5, 7)]),
        several(&[(1, 2, 3), (2, 2, 3), (3, 2, 3), (4, 2, 3), (5, 2, 3), (6, 2, 3), (7, 2, 3), (8, 2, 3)]),
    ];
    cases.extend([vec![1, 1], vec![7, 5], vec![3, 3, 17, 33], vec![2, 64, 3]].map(|shape| {
        let x = Tensor::f32(Shape::new(shape));
        Case::new(x.shape.to_string(), Arc::new(Transpose)).input(x, Fill::Uniform)
    }));
    cases
}
