//! Batch normalisation: per channel, minus the batch's mean, over its standard deviation, times gamma, plus beta.
//!
//! It is several ops, since a reduction over all rows needs every one of them before it is used. `affine` is one
//! tensor `[2, C]` of gamma and beta, statistics are `[2, C]` of mean and biased variance.
//!
//! Variances survive means that are large against them: each part of the rows sums distances from its own first
//! row, giving the part's mean and its squared distances from that, and parts are merged by Chan, Golub and
//! LeVeque's rule ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).

use std::sync::Arc;

use super::case::{Case, Fill};
use super::kernel::WORKGROUP;
use super::reduce::{Sum, Team};
use super::{Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect};
use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// Rows of one part, about; there are at most [`MAX_PARTS`] parts.
const PART: usize = 128;
const MAX_PARTS: usize = 1024;

/// Normalises `x [.., C]` by its own statistics, for training; returns the result and the statistics `[2, C]`
/// for [`Running`]. Derivatives by `x` and `affine [2, C]` are exact: they go through the statistics.
pub fn batch_norm(graph: &mut Graph, x: Value, affine: Value, eps: f32) -> Result<(Value, Value), GraphError> {
    let rows = graph.shape(x).rows();
    let rows_per_part = rows_per_part(rows);
    let sums = graph.apply(Sums { rows_per_part }, &[x])?;
    let stats = graph.apply(Stats { rows, rows_per_part }, &[sums])?;
    let y = graph.apply(Apply { eps, training: true, epilogue: Epilogue::NONE }, &[x, stats, affine])?;
    Ok((y, stats))
}

/// Normalises `x [.., C]` by given statistics `[2, C]`, which count as constants.
pub fn batch_norm_fixed(
    graph: &mut Graph,
    x: Value,
    stats: Value,
    affine: Value,
    eps: f32,
) -> Result<Value, GraphError> {
    graph.apply(Apply { eps, training: false, epilogue: Epilogue::NONE }, &[x, stats, affine])
}

/// `x [.., C]` times what [`batch_norm_fixed`] multiplies by: `gamma / sqrt(var + eps)`, which is also its derivative.
pub fn batch_norm_factor(
    graph: &mut Graph,
    x: Value,
    stats: Value,
    affine: Value,
    eps: f32,
) -> Result<Value, GraphError> {
    graph.apply(GradX { eps, training: false }, &[x, stats, affine])
}

fn rows_per_part(rows: usize) -> usize {
    rows.div_ceil(MAX_PARTS).max(PART).min(rows.max(1))
}

/// Whether a tensor holds two values for each channel of `x`.
fn two_per_channel(what: &str, tensor: &Tensor, x: &Tensor) -> Result<(), String> {
    let c = x.shape.last();
    if tensor.dims() == [2, c] { Ok(()) } else { Err(format!("{what} {} should be [2, {c}]", tensor.shape)) }
}

/// A kernel whose invocations each take `lanes` channels.
fn kernel(entry: &'static str, count: usize, c: usize, lanes: usize) -> Kernel {
    let kernel = Kernel::flat("batch_norm", entry, count);
    kernel
        .with("PARTIAL", false)
        .with("BY_FOUR", lanes == 4)
        .with("COUNT", count)
        .with("C", c / lanes)
        .with("WORKGROUP", WORKGROUP)
}

/// A kernel that sums over the rows of each part.
fn partial_kernel(entry: &'static str, rows: usize, rows_per_part: usize, c: usize, target: Target) -> Kernel {
    let parts = rows.div_ceil(rows_per_part);
    let kernel = Team::new(c, rows_per_part, target).kernel("batch_norm", entry, parts, c);
    let kernel = kernel.with("PARTIAL", true).with("BY_FOUR", false).with("C", c).with("PARTS", parts);
    Epilogue::NONE.constants(kernel).with("ROWS", rows).with("ROWS_PER_PART", rows_per_part)
}

fn lanes(c: usize) -> usize {
    if c.is_multiple_of(4) { 4 } else { 1 }
}

/// `x [rows, C]` to `[parts, 2, C]`: of each part of the rows its mean and the sum of squared distances from it.
/// Derivatives stop here; [`Apply`] in training accounts for the statistics.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    pub rows_per_part: usize,
}

impl Op for Sums {
    fn name(&self) -> &'static str {
        "batch_norm.sums"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect::<1>(inputs)?;
        if x.is_empty() || self.rows_per_part == 0 {
            return Err("has no rows to take statistics of".into());
        }
        Ok(Tensor::f32([x.shape.rows().div_ceil(self.rows_per_part), 2, x.shape.last()]))
    }
    fn constant(&self) -> bool {
        true
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let c = inputs[0].shape.last();
        for (part, x) in inputs[0].data.chunks(self.rows_per_part * c).enumerate() {
            let n = (x.len() / c) as f64;
            for k in 0..c {
                let column = || x.iter().skip(k).step_by(c);
                let mean = column().sum::<f64>() / n;
                out.data[2 * part * c + k] = mean;
                out.data[(2 * part + 1) * c + k] = column().map(|x| (x - mean).powi(2)).sum();
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, c) = (inputs[0].data, inputs[0].shape.last());
        let per_part = self.rows_per_part * c;
        parallel_rows(
            outputs[0].data,
            2 * c,
            per_part,
            #[inline(always)]
            |part, out| {
                let end = ((part + 1) * per_part).min(x.len());
                let x = &x[part * per_part..end];
                let mut k = 0;
                while k + 16 <= c {
                    moments::<16>(x, c, k, out);
                    k += 16;
                }
                while k + 4 <= c {
                    moments::<4>(x, c, k, out);
                    k += 4;
                }
                while k < c {
                    moments::<1>(x, c, k, out);
                    k += 1;
                }
            },
        );
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let c = inputs[0].shape.last();
        partial_kernel("sums", inputs[0].shape.rows(), self.rows_per_part, c, target)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

/// Mean and squared distances of `L` channels from `k` on, over the rows of one part.
#[inline(always)]
fn moments<const L: usize>(x: &[f32], c: usize, k: usize, out: &mut [f32]) {
    let base: [f32; L] = *x[k..].first_chunk().expect("L channels");
    let (mut sum, mut squares) = ([0.0f32; L], [0.0f32; L]);
    for row in x.chunks_exact(c) {
        let x: &[f32; L] = row[k..].first_chunk().expect("L channels");
        for l in 0..L {
            let v = x[l] - base[l];
            sum[l] += v;
            squares[l] += v * v;
        }
    }
    let n = (x.len() / c) as f32;
    for l in 0..L {
        let mean = sum[l] / n;
        out[k + l] = base[l] + mean;
        // `max` would turn NaN into 0.
        let left = squares[l] - sum[l] * mean;
        out[c + k + l] = if left < 0.0 { 0.0 } else { left };
    }
}

/// Merges `[parts, 2, C]` of [`Sums`] into mean and biased variance over all rows, `[2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    pub rows: usize,
    pub rows_per_part: usize,
}

impl Stats {
    fn rows_of(&self, part: usize) -> usize {
        self.rows_per_part.min(self.rows - part * self.rows_per_part)
    }
}

impl Op for Stats {
    fn name(&self) -> &'static str {
        "batch_norm.stats"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [sums] = expect::<1>(inputs)?;
        let &[parts, 2, c] = sums.dims() else { return Err("takes [parts, 2, channels]".into()) };
        if self.rows_per_part == 0 || parts != self.rows.div_ceil(self.rows_per_part) || parts == 0 {
            return Err(format!("{} rows in parts of {} are not {parts} parts", self.rows, self.rows_per_part));
        }
        Ok(Tensor::f32([2, c]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let c = inputs[0].shape.last();
        let n = self.rows as f64;
        for k in 0..c {
            let parts = || inputs[0].data.chunks(2 * c).enumerate();
            let rows = |part: usize| self.rows_of(part) as f64;
            let mean = parts().map(|(i, part)| rows(i) * part[k]).sum::<f64>() / n;
            out.data[k] = mean;
            out.data[c + k] = parts().map(|(i, p)| p[c + k] + rows(i) * (p[k] - mean).powi(2)).sum::<f64>() / n;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let c = inputs[0].shape.last();
        let (means, variances) = outputs[0].data.split_at_mut(c);
        // f64: it is a few thousand additions.
        let mut sums = vec![0.0f64; c];
        let parts = || inputs[0].data.chunks_exact(2 * c).enumerate();
        for (i, part) in parts() {
            let n = self.rows_of(i) as f64;
            sums.iter_mut().zip(part).for_each(|(sum, mean)| *sum += n * f64::from(*mean));
        }
        let rows = self.rows as f64;
        let exact: Vec<f64> = sums.iter().map(|sum| sum / rows).collect();
        sums.fill(0.0);
        for (i, part) in parts() {
            let n = self.rows_of(i) as f64;
            let (part_means, squares) = part.split_at(c);
            for k in 0..c {
                let off = f64::from(part_means[k]) - exact[k];
                sums[k] += f64::from(squares[k]) + n * off * off;
            }
        }
        for k in 0..c {
            means[k] = exact[k] as f32;
            variances[k] = (sums[k] / rows) as f32;
        }
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let c = inputs[0].shape.last();
        let kernel = Kernel::groups("batch_norm", "stats", c).with("C", c).with("WORKGROUP", 4 * WORKGROUP);
        Epilogue::NONE
            .constants(kernel)
            .with("BY_FOUR", false)
            .with("ROWS", self.rows)
            .with("ROWS_PER_PART", self.rows_per_part)
            .with("PARTS", inputs[0].dims()[0])
    }
}

/// `out = (x - mean) / sqrt(var + eps) * gamma + beta`, of `x [.., C]`, `stats [2, C]` and `affine [2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    pub eps: f32,
    /// Whether `stats` are those of `x` itself, so that the derivative by `x` goes through them; else they are
    /// constants.
    pub training: bool,
    /// Only an activation.
    pub epilogue: Epilogue,
}

/// Per-channel values repeated to some hundred elements, so that loops over channels are long enough for vectors.
fn tiled(c: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let times = 128usize.div_ceil(c);
    (0..times * c).map(|i| value(i % c)).collect()
}

/// Rows that a thread takes at a time.
const BLOCK: usize = 64;

/// `1 / sqrt(var + eps)` of a channel.
fn inverse(stats: &[f32], c: usize, k: usize, eps: f32) -> f32 {
    1.0 / (stats[c + k] + eps).sqrt()
}

impl Op for Apply {
    fn name(&self) -> &'static str {
        "batch_norm.apply"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, stats, affine] = expect::<3>(inputs)?;
        two_per_channel("the statistics", stats, x)?;
        two_per_channel("gamma and beta", affine, x)?;
        Ok(x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let (d_out, x, stats, affine) = (node.d_out, node.inputs[0], node.inputs[1], node.inputs[2]);
        let mut sums = None;
        if node.wanted[2] || (node.wanted[0] && self.training) {
            let rows_per_part = rows_per_part(graph.shape(x).rows());
            let parts = graph.apply(GradSums { rows_per_part, eps: self.eps }, &[d_out, x, stats])?;
            let shape = graph.shape(affine).clone();
            sums = Some(Sum::over_rows(graph, parts, shape)?);
        }
        let d_x = match (node.wanted[0], sums, self.training) {
            (false, ..) => None,
            (true, Some(sums), true) => {
                Some(graph.apply(GradX { eps: self.eps, training: true }, &[d_out, x, stats, affine, sums])?)
            }
            _ => Some(graph.apply(GradX { eps: self.eps, training: false }, &[d_out, stats, affine])?),
        };
        Ok(vec![d_x, None, sums])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (x, stats, affine) = (&inputs[0].data, &inputs[1].data, &inputs[2].data);
        let c = inputs[0].shape.last();
        for (i, out) in out.data.iter_mut().enumerate() {
            let k = i % c;
            let y = (x[i] - stats[k]) / (stats[c + k] + f64::from(self.eps)).sqrt() * affine[k] + affine[c + k];
            *out = self.epilogue.act.map_or(y, |act| f64::from(act.apply(y as f32)));
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, stats, affine) = (inputs[0].data, inputs[1].data, inputs[2].data);
        let c = inputs[0].shape.last();
        let mean = tiled(c, |k| stats[k]);
        let scale = tiled(c, |k| affine[k] * inverse(stats, c, k, self.eps));
        let beta = tiled(c, |k| affine[c + k]);
        let block = BLOCK * c;
        parallel_rows(
            outputs[0].data,
            block.min(x.len()),
            block,
            #[inline(always)]
            |i, out| {
                let x = &x[i * block..][..out.len()];
                for (out, x) in out.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
                    let each = out.iter_mut().zip(x).zip(mean.iter().zip(&scale).zip(&beta));
                    each.for_each(|((out, x), ((mean, scale), beta))| *out = (x - mean) * scale + beta);
                }
                self.epilogue.apply(out, i * block, c, &[]);
            },
        );
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let c = inputs[0].shape.last();
        let kernel = kernel("apply", inputs[0].len() / lanes(c), c, lanes(c));
        self.epilogue.constants(kernel).with("EPS", self.eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        3 * inputs[0].len() as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|e| !e.bias && e.act_grad.is_none())?;
        Some(Arc::new(Apply { epilogue, ..*self }))
    }
}

/// `d_out`, `x [rows, C]` and `stats` to `[parts, 2, C]`: sums over each part's rows of `d_out * xhat` (the
/// derivative by gamma) and of `d_out` (by beta), where `xhat = (x - mean) / sqrt(var + eps)`.
#[derive(Clone, Copy, Debug)]
pub struct GradSums {
    pub rows_per_part: usize,
    pub eps: f32,
}

impl Op for GradSums {
    fn name(&self) -> &'static str {
        "batch_norm.grad_sums"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, x, stats] = expect::<3>(inputs)?;
        two_per_channel("the statistics", stats, x)?;
        if d_out.len() != x.len() || self.rows_per_part == 0 {
            return Err("the derivative and the input differ in size".into());
        }
        Ok(Tensor::f32([x.shape.rows().div_ceil(self.rows_per_part), 2, x.shape.last()]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (d_out, x, stats) = (&inputs[0].data, &inputs[1].data, &inputs[2].data);
        let c = inputs[1].shape.last();
        out.data.fill(0.0);
        for (i, (d, x)) in d_out.iter().zip(x).enumerate() {
            let (part, k) = (i / c / self.rows_per_part, i % c);
            let xhat = (x - stats[k]) / (stats[c + k] + f64::from(self.eps)).sqrt();
            out.data[2 * part * c + k] += d * xhat;
            out.data[(2 * part + 1) * c + k] += d;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (d_out, x, stats) = (inputs[0].data, inputs[1].data, inputs[2].data);
        let c = inputs[1].shape.last();
        let per_part = self.rows_per_part * c;
        let eps = self.eps;
        parallel_rows(
            outputs[0].data,
            2 * c,
            per_part,
            #[inline(always)]
            |part, out| {
                let range = part * per_part..((part + 1) * per_part).min(x.len());
                let (d_out, x) = (&d_out[range.clone()], &x[range]);
                let mut k = 0;
                while k + 16 <= c {
                    grad_moments::<16>(d_out, x, stats, c, k, eps, out);
                    k += 16;
                }
                while k + 4 <= c {
                    grad_moments::<4>(d_out, x, stats, c, k, eps, out);
                    k += 4;
                }
                while k < c {
                    grad_moments::<1>(d_out, x, stats, c, k, eps, out);
                    k += 1;
                }
            },
        );
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let x = &inputs[1].shape;
        partial_kernel("grad_sums", x.rows(), self.rows_per_part, x.last(), target).with("EPS", self.eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

/// Both sums of `L` channels from `k` on, over the rows of one part.
#[inline(always)]
fn grad_moments<const L: usize>(
    d_out: &[f32],
    x: &[f32],
    stats: &[f32],
    c: usize,
    k: usize,
    eps: f32,
    out: &mut [f32],
) {
    let mean: [f32; L] = *stats[k..].first_chunk().expect("L channels");
    let (mut by_gamma, mut by_beta) = ([0.0f32; L], [0.0f32; L]);
    for (d, x) in d_out.chunks_exact(c).zip(x.chunks_exact(c)) {
        let d: &[f32; L] = d[k..].first_chunk().expect("L channels");
        let x: &[f32; L] = x[k..].first_chunk().expect("L channels");
        for l in 0..L {
            by_gamma[l] += d[l] * (x[l] - mean[l]);
            by_beta[l] += d[l];
        }
    }
    for l in 0..L {
        out[k + l] = by_gamma[l] * inverse(stats, c, k + l, eps);
        out[c + k + l] = by_beta[l];
    }
}

/// The derivative of [`Apply`] by `x`. In training from `d_out, x, stats, affine` and the summed [`GradSums`]
/// `[2, C]`; else from `d_out, stats, affine`.
#[derive(Clone, Copy, Debug)]
pub struct GradX {
    pub eps: f32,
    pub training: bool,
}

impl Op for GradX {
    fn name(&self) -> &'static str {
        "batch_norm.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let d_out = inputs.first().ok_or("takes the derivative of its output")?;
        let per_channel = if self.training {
            let [_, x, rest @ ..] = expect::<5>(inputs)?;
            if x.len() != d_out.len() {
                return Err("the derivative and the input differ in size".into());
            }
            rest.as_slice()
        } else {
            &expect::<3>(inputs)?[1..]
        };
        per_channel.iter().try_for_each(|tensor| two_per_channel("values per channel", tensor, d_out))?;
        Ok(d_out.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let d_out = &inputs[0].data;
        let c = inputs[0].shape.last();
        let rows = (d_out.len() / c) as f64;
        let first = if self.training { 2 } else { 1 };
        let (stats, affine) = (&inputs[first].data, &inputs[first + 1].data);
        for (i, out) in out.data.iter_mut().enumerate() {
            let k = i % c;
            let inverse = 1.0 / (stats[c + k] + f64::from(self.eps)).sqrt();
            let mut d = d_out[i];
            if self.training {
                let (x, sums) = (&inputs[1].data, &inputs[4].data);
                d -= (sums[c + k] + (x[i] - stats[k]) * inverse * sums[k]) / rows;
            }
            *out = affine[k] * inverse * d;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let d_out = inputs[0].data;
        let c = inputs[0].shape.last();
        let rows = (d_out.len() / c) as f32;
        let first = if self.training { 2 } else { 1 };
        let (stats, affine) = (inputs[first].data, inputs[first + 1].data);
        let scale = tiled(c, |k| affine[k] * inverse(stats, c, k, self.eps));
        let block = BLOCK * c;
        if !self.training {
            return parallel_rows(
                outputs[0].data,
                block.min(d_out.len()),
                block,
                #[inline(always)]
                |i, out| {
                    let d_out = &d_out[i * block..][..out.len()];
                    for (out, d) in out.chunks_mut(scale.len()).zip(d_out.chunks(scale.len())) {
                        out.iter_mut().zip(d).zip(&scale).for_each(|((out, d), scale)| *out = d * scale);
                    }
                },
            );
        }
        let (x, sums) = (inputs[1].data, inputs[4].data);
        // scale * (d - shift - (x - mean) * slope)
        let mean = tiled(c, |k| stats[k]);
        let shift = tiled(c, |k| sums[c + k] / rows);
        let slope = tiled(c, |k| sums[k] / rows * inverse(stats, c, k, self.eps));
        parallel_rows(
            outputs[0].data,
            block.min(x.len()),
            block,
            #[inline(always)]
            |i, out| {
                let n = mean.len();
                let (d_out, x) = (&d_out[i * block..][..out.len()], &x[i * block..][..out.len()]);
                for ((out, d), x) in out.chunks_mut(n).zip(d_out.chunks(n)).zip(x.chunks(n)) {
                    let per_channel = mean.iter().zip(&shift).zip(slope.iter().zip(&scale));
                    let each = out.iter_mut().zip(d).zip(x).zip(per_channel);
                    each.for_each(|(((out, d), x), ((mean, shift), (slope, scale)))| {
                        *out = scale * (d - shift - (x - mean) * slope);
                    });
                }
            },
        );
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let c = inputs[0].shape.last();
        let entry = if self.training { "grad_x" } else { "grad_x_fixed" };
        let kernel = kernel(entry, inputs[0].len() / lanes(c), c, lanes(c));
        Epilogue::NONE.constants(kernel).with("ROWS", inputs[0].shape.rows()).with("EPS", self.eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        (if self.training { 5 } else { 1 }) * inputs[0].len() as u64
    }
}

/// An update: `running = momentum * running + (1 - momentum) * stats`, both `[2, C]`. The variance stays biased.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub momentum: f32,
}

impl Op for Running {
    fn name(&self) -> &'static str {
        "batch_norm.running"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<1>(inputs).map(|[stats]| stats.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let momentum = f64::from(self.momentum);
        let each = out.data.iter_mut().zip(&inputs[0].data);
        each.for_each(|(running, stats)| *running = momentum * *running + (1.0 - momentum) * stats);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let each = outputs[0].data.iter_mut().zip(inputs[0].data);
        each.for_each(|(running, stats)| *running = self.momentum * *running + (1.0 - self.momentum) * stats);
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let n = inputs[0].len();
        Epilogue::NONE.constants(kernel("running", n, n, 1)).with("MOMENTUM", self.momentum)
    }
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    let mut cases = Vec::new();
    let eps = 1e-3;
    for shape in [vec![1, 1], vec![7, 5], vec![3, 5, 7, 4], vec![2, 11, 13, 23], vec![5, 8, 8, 40], vec![4097, 3]] {
        let x = Tensor::f32(crate::tensor::Shape::new(shape));
        let (rows, c) = (x.shape.rows(), x.shape.last());
        let name = x.shape.to_string();
        let pair = Tensor::f32([2, c]);
        let rows_per_part = rows_per_part(rows);
        let parts = rows.div_ceil(rows_per_part);
        let case = |op: Arc<dyn Op>| Case::new(name.clone(), op).no_derivative();
        cases.push(case(Arc::new(Sums { rows_per_part })).input(x.clone(), Fill::Uniform));
        let sums = Tensor::f32([parts, 2, c]);
        cases.push(case(Arc::new(Stats { rows, rows_per_part })).input(sums, Fill::Positive));
        for (training, act) in [(true, None), (false, None), (true, Some(Act::Relu))] {
            let apply = Apply { eps, training, epilogue: Epilogue { act, ..Epilogue::NONE } };
            cases.push(
                case(Arc::new(apply))
                    .input(x.clone(), Fill::Uniform)
                    .input(pair.clone(), Fill::Positive)
                    .input(pair.clone(), Fill::Uniform),
            );
        }
        cases.push(
            case(Arc::new(GradSums { rows_per_part, eps }))
                .input(x.clone(), Fill::Uniform)
                .input(x.clone(), Fill::Uniform)
                .input(pair.clone(), Fill::Positive),
        );
        cases.push(
            case(Arc::new(GradX { eps, training: true }))
                .input(x.clone(), Fill::Uniform)
                .input(x.clone(), Fill::Uniform)
                .input(pair.clone(), Fill::Positive)
                .input(pair.clone(), Fill::Uniform)
                .input(pair.clone(), Fill::Uniform),
        );
        cases.push(
            case(Arc::new(GradX { eps, training: false }))
                .input(x.clone(), Fill::Uniform)
                .input(pair.clone(), Fill::Positive)
                .input(pair.clone(), Fill::Uniform),
        );
        // An update's case starts from a target of zeros.
        cases.push(case(Arc::new(Running { momentum: 0.9 })).input(pair, Fill::Positive));
    }
    cases
}
