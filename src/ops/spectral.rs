//! Spectral normalisation: a matrix divided by its largest singular value, which is tracked by one step of power
//! iteration per training step (Miyato et al. 2018, arXiv 1802.05957).
//!
//! `vectors` are the estimates of the two singular vectors in one tensor, `v [m]` and then `u [k]`; they count as
//! constants, and the singular value is `v^T w u`. Matrices are `[m, k]`: a convolution's weights `[r, s, c, k]`
//! already lie in memory as one.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::kernel::MOST_INVOCATIONS;
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect_floats};
use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::parallel::{parallel_rows, parallel_zip};
use crate::tensor::{Shape, Tensor};

/// Keeps a matrix of zeros from becoming NaN.
const TINY: f32 = 1e-12;

/// `w [m, k]` divided by its largest singular value, as estimated by `vectors [m + k]`.
pub fn spectral_norm(graph: &mut Graph, w: Value, vectors: Value) -> Result<Value, GraphError> {
    let sigma = graph.apply(Sigma, &[w, vectors])?;
    graph.apply(Divide, &[w, sigma])
}

fn matrix(w: &Tensor) -> Result<[usize; 2], String> {
    let dims: [usize; 2] = w.dims().try_into().map_err(|_| String::from("takes a matrix"))?;
    if w.is_empty() { Err("the matrix is empty".into()) } else { Ok(dims) }
}

fn matrix_and_vectors(w: &Tensor, vectors: &Tensor) -> Result<[usize; 2], String> {
    let [m, k] = matrix(w)?;
    if vectors.len() != m + k { Err(format!("takes vectors of {m} + {k} numbers")) } else { Ok([m, k]) }
}

fn sized(kernel: Kernel, [m, k]: [usize; 2]) -> Kernel {
    kernel.with("M", m).with("K", k).with("TINY", TINY)
}

fn one_group(entry: &'static str, dims: [usize; 2]) -> Kernel {
    let kernel = Kernel::groups("spectral", entry, 1).with("WORKGROUP", MOST_INVOCATIONS);
    sized(kernel, dims).rounds(rounds(entry, dims))
}

/// Rounds of a workgroup's loops: its sums take four numbers a round.
fn rounds(entry: &str, [m, k]: [usize; 2]) -> usize {
    let (rows, columns) = (m.div_ceil(MOST_INVOCATIONS), k.div_ceil(MOST_INVOCATIONS));
    match entry {
        "iterate" => rows * (k.div_ceil(4) + 2) + columns * (m.div_ceil(4) + 2),
        _ => (m * k).div_ceil(4 * MOST_INVOCATIONS),
    }
}

/// One step: `v = w u / |w u|`, `u = w^T v / |w^T v|`, from `w [m, k]` and the vectors so far `[m + k]`.
#[derive(Clone, Copy, Debug)]
pub struct PowerIteration;

impl Op for PowerIteration {
    fn name(&self) -> &'static str {
        "spectral.iterate"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [w, vectors] = expect_floats::<2>(inputs)?;
        matrix_and_vectors(w, vectors).map(|[m, k]| Tensor::f32([m + k]))
    }
    fn constant(&self) -> bool {
        true
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let &[m, k] = inputs[0].dims() else { return false };
        let (w, u) = (&inputs[0].data, &inputs[1].data[m..]);
        let unit = |x: Vec<f64>| {
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::from(TINY));
            x.into_iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        let v = unit((0..m).map(|i| (0..k).map(|j| w[i * k + j] * u[j]).sum()).collect());
        let u = unit((0..k).map(|j| (0..m).map(|i| w[i * k + j] * v[i]).sum()).collect());
        out.data = [v, u].concat();
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (w, k) = (inputs[0].data, inputs[0].shape.last());
        let (v, u) = outputs[0].data.split_at_mut(inputs[0].shape.rows());
        let old = &inputs[1].data[v.len()..];
        parallel_rows(v, 1, k, |i, v| v[0] = w[i * k..][..k].iter().zip(old).map(|(w, u)| w * u).sum());
        unit(v);
        u.fill(0.0);
        for (row, v) in w.chunks_exact(k).zip(v.iter()) {
            u.iter_mut().zip(row).for_each(|(u, w)| *u += w * v);
        }
        unit(u);
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        one_group("iterate", matrix(&inputs[0]).expect("the shape rule has accepted these"))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

fn unit(x: &mut [f32]) {
    let norm = (x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32).max(TINY);
    x.iter_mut().for_each(|x| *x /= norm);
}

/// `out[0] = v^T w u`, from `w [m, k]` and the vectors `[m + k]`.
#[derive(Clone, Copy, Debug)]
pub struct Sigma;

impl Op for Sigma {
    fn name(&self) -> &'static str {
        "spectral.sigma"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [w, vectors] = expect_floats::<2>(inputs)?;
        matrix_and_vectors(w, vectors).map(|_| Tensor::f32([1]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let shape = graph.shape(node.inputs[0]).clone();
        Ok(vec![Some(graph.apply(Outer { shape }, &[node.d_out, node.inputs[1]])?), None])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let &[m, k] = inputs[0].dims() else { return false };
        let (v, u) = inputs[1].data.split_at(m);
        out.data[0] = inputs[0].data.iter().enumerate().map(|(i, w)| w * v[i / k] * u[i % k]).sum();
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (v, u) = inputs[1].data.split_at(inputs[0].shape.rows());
        let rows = inputs[0].data.chunks_exact(u.len()).zip(v);
        let row = |(w, v): (&[f32], &f32)| f64::from(*v) * f64::from(w.iter().zip(u).map(|(w, u)| w * u).sum::<f32>());
        outputs[0].data[0] = rows.map(row).sum::<f64>() as f32;
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        one_group("sigma", matrix(&inputs[0]).expect("the shape rule has accepted these"))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        3 * inputs[0].len() as u64
    }
}

/// `out[i, j] = d[0] * v[i] * u[j]`, from `d [1]` and the vectors `[m + k]`: the derivative of [`Sigma`].
#[derive(Clone, Debug)]
pub struct Outer {
    /// `[m, k]`
    pub shape: Shape,
}

impl Op for Outer {
    fn name(&self) -> &'static str {
        "spectral.outer"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d, vectors] = expect_floats::<2>(inputs)?;
        let out = Tensor::f32(self.shape.clone());
        matrix_and_vectors(&out, vectors)?;
        if d.len() == 1 { Ok(out) } else { Err("takes one factor".into()) }
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (v, u) = inputs[1].data.split_at(self.shape.rows());
        let k = u.len();
        out.data.iter_mut().enumerate().for_each(|(i, out)| *out = inputs[0].data[0] * v[i / k] * u[i % k]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (d, (v, u)) = (inputs[0].data[0], inputs[1].data.split_at(self.shape.rows()));
        parallel_rows(outputs[0].data, u.len(), u.len(), |i, out| {
            let factor = d * v[i];
            out.iter_mut().zip(u).for_each(|(out, u)| *out = factor * u);
        });
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let dims = matrix(&outputs[0]).expect("the shape rule has accepted these");
        elements("outer", dims)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        2 * outputs[0].len() as u64
    }
}

fn elements(entry: &'static str, [m, k]: [usize; 2]) -> Kernel {
    sized(Kernel::flat("spectral", entry, m * k), [m, k])
}

/// `out = x / divisor[0]`
#[derive(Clone, Copy, Debug)]
pub struct Divide;

impl Op for Divide {
    fn name(&self) -> &'static str {
        "divide"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, divisor] = expect_floats::<2>(inputs)?;
        matrix(x)?;
        if divisor.len() == 1 { Ok(x.clone()) } else { Err("takes one divisor".into()) }
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let divisor = node.inputs[1];
        let d_x = graph.apply(Divide, &[node.d_out, divisor])?;
        if !node.wanted[1] {
            return Ok(vec![Some(d_x), None]);
        }
        let (d_divisor, shape) = (graph.apply(DivideGrad, &[d_x, node.out])?, graph.shape(divisor).clone());
        Ok(vec![Some(d_x), Some(graph.reshape(d_divisor, shape)?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data.iter_mut().zip(&inputs[0].data).for_each(|(out, x)| *out = x / inputs[1].data[0]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let divisor = inputs[1].data[0];
        let divisor = if divisor == 0.0 { TINY } else { divisor };
        parallel_zip(outputs[0].data, inputs[0].data, |out, x| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x / divisor);
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        elements("divide", matrix(&inputs[0]).expect("the shape rule has accepted these"))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs[0].len() as u64
    }
}

/// The derivative of [`Divide`] with respect to its divisor, `[1]`: `-sum of d_x * out`, from its other derivative and
/// its result.
#[derive(Clone, Copy, Debug)]
pub struct DivideGrad;

impl Op for DivideGrad {
    fn name(&self) -> &'static str {
        "divide.grad"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_x, out] = expect_floats::<2>(inputs)?;
        matrix(out)?;
        if d_x.len() == out.len() { Ok(Tensor::f32([1])) } else { Err("both inputs must have the same size".into()) }
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data[0] = -inputs[0].data.iter().zip(&inputs[1].data).map(|(d, y)| d * y).sum::<f64>();
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let pairs = inputs[0].data.iter().zip(inputs[1].data);
        outputs[0].data[0] = -pairs.map(|(d, y)| f64::from(d * y)).sum::<f64>() as f32;
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        one_group("grad_divide", matrix(&inputs[1]).expect("the shape rule has accepted these"))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        2 * inputs[0].len() as u64
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [m, k] in [[1, 1], [7, 5], [130, 33], [3, 301], [301, 3]] {
        let name = format!("{m}x{k}");
        let (w, vectors, one) = (Tensor::f32([m, k]), Tensor::f32([m + k]), Tensor::f32([1]));
        let case = |op: Arc<dyn Op>| Case::new(name.clone(), op);
        let iterate = case(Arc::new(PowerIteration)).input(w.clone(), Fill::Uniform);
        cases.push(iterate.input(vectors.clone(), Fill::Positive).no_derivative());
        // Its vectors count as constants; tests/networks/layers.rs checks the derivative of the whole.
        let sigma = case(Arc::new(Sigma)).input(w.clone(), Fill::Uniform);
        cases.push(sigma.input(vectors.clone(), Fill::Positive).no_derivative());
        let outer = case(Arc::new(Outer { shape: [m, k].into() })).input(one.clone(), Fill::Uniform);
        cases.push(outer.input(vectors, Fill::Uniform).no_derivative());
        cases.push(case(Arc::new(Divide)).input(w.clone(), Fill::Uniform).input(one.clone(), Fill::Positive));
        let grad = case(Arc::new(DivideGrad)).input(w.clone(), Fill::Uniform);
        cases.push(grad.input(w, Fill::Uniform).no_derivative());
    }
    let zeros = Case::new("7x5 of zeros", Arc::new(PowerIteration)).input(Tensor::f32([7, 5]), Fill::Words(&[0]));
    cases.push(zeros.input(Tensor::f32([12]), Fill::Positive).no_derivative());
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_matrix_goes_through_loops_no_longer_than_drivers_on_the_cpu_let_it() {
        use crate::ops::kernel::MOST_ROUNDS;
        for entry in ["iterate", "sigma", "grad_divide"] {
            let rounds = one_group(entry, [9000, 2000]).rounds;
            assert!((1..=MOST_ROUNDS).contains(&rounds), "{entry}: {rounds}");
        }
    }

    #[test]
    fn power_iteration_finds_the_largest_singular_value() {
        // diag(3, 1) rotated on both sides: singular values 3 and 1.
        let (s, c) = (0.6f32, 0.8f32);
        let w = [3.0 * c * c + s * s, 3.0 * c * s - s * c, 3.0 * s * c - c * s, 3.0 * s * s + c * c];
        let shapes = [Shape::from([2, 2]), Shape::from([4]), Shape::from([1])];
        let mut vectors = vec![0.0, 0.0, 1.0, 0.3];
        let w = In { data: &w, shape: &shapes[0] };
        for _ in 0..20 {
            let old = vectors.clone();
            let old = In { data: &old, shape: &shapes[1] };
            PowerIteration.cpu(&[w, old], &mut [Out { data: &mut vectors, shape: &shapes[1] }]);
        }
        let mut sigma = [0.0];
        let vectors = In { data: &vectors, shape: &shapes[1] };
        Sigma.cpu(&[w, vectors], &mut [Out { data: &mut sigma, shape: &shapes[2] }]);
        assert!((sigma[0] - 3.0).abs() < 1e-5, "{sigma:?}");
    }
}
