//! The derivatives of [`Apply`](super::Apply) with respect to gamma, beta and the images.

use std::ops::Range;

use super::{BLOCK, grouped, groups, groups_of, inverse, kernel, lanes, partial_kernel, two_per_channel};
use crate::ops::by_image::pieces;
use crate::ops::epilogue::tiled;
use crate::ops::{ByImage, Epilogue, Exact, In, Kernel, Op, Out, Target, Twin, expect_floats};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// `d_out`, `x [rows, C]` and `stats` to `[parts, 2, C]`: sums over each part's rows of `d_out * xhat` (gamma's
/// derivative) and of `d_out` (beta's), where `xhat = (x - mean) / sqrt(var + eps)`.
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
        let [d_out, x, stats] = expect_floats::<3>(inputs)?;
        groups("the statistics", stats, x)?;
        if d_out.len() != x.len() || self.rows_per_part == 0 {
            return Err("the derivative and the input differ in size".into());
        }
        Ok(Tensor::f32([x.shape.rows().div_ceil(self.rows_per_part), 2, x.shape.last()]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (d_out, x) = (&inputs[0].data, &inputs[1].data);
        let c = inputs[1].shape.last();
        let of_group = x.len() / groups_of(&inputs[2].shape);
        out.data.fill(0.0);
        for (i, (d, x)) in d_out.iter().zip(x).enumerate() {
            let stats = &inputs[2].data[i / of_group * 2 * c..];
            let (part, k) = (i / c / self.rows_per_part, i % c);
            let xhat = (x - stats[k]) / (stats[c + k] + f64::from(self.eps)).sqrt();
            out.data[2 * part * c + k] += d * xhat;
            out.data[(2 * part + 1) * c + k] += d;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.from(0, inputs[1].data.len(), inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        let mut by_image = ByImage::of(&inputs[1], inputs.len())?;
        by_image.cut[1] = true;
        by_image.parts(&inputs[1], self.rows_per_part)
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let (all, images) = (inputs[1].shape.len(), inputs[1].dims()[0]);
        Box::new(move |first, inputs, outputs| self.from(first * (all / images), all, inputs, outputs))
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let x = &inputs[1].shape;
        let kernel = partial_kernel("grad_sums", x.rows(), self.rows_per_part, x.last(), target);
        grouped(kernel, &inputs[2], x.rows()).with("EPS", self.eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

impl GradSums {
    /// Sums the parts of the elements from `first` on, out of `all` in the whole batch. No part has rows of two groups.
    fn from(&self, first: usize, all: usize, inputs: &[In], outputs: &mut [Out]) {
        let (d_out, x) = (inputs[0].data, inputs[1].data);
        let c = inputs[1].shape.last();
        let of_group = (all / groups_of(inputs[2].shape)).max(1);
        let per_part = self.rows_per_part * c;
        let eps = self.eps;
        parallel_rows(
            outputs[0].data,
            2 * c,
            per_part,
            #[inline(always)]
            |part, out| {
                let stats = &inputs[2].data[(first + part * per_part) / of_group * 2 * c..][..2 * c];
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

/// The derivative of [`Apply`](super::Apply) with respect to `x`. In training it takes `d_out, x, stats, affine` and
/// the summed [`GradSums`], in the statistics' shape; otherwise `d_out, stats, affine`.
#[derive(Clone, Copy, Debug)]
pub struct GradX {
    pub eps: f32,
    /// In training: how many rows of the batch, or of one of its groups, the sums are over.
    pub batch: Option<usize>,
}

impl Op for GradX {
    fn name(&self) -> &'static str {
        "batch_norm.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let d_out = inputs.first().ok_or("takes the derivative of its output")?;
        let (stats, affine) = if self.batch.is_some() {
            let [_, x, stats, affine, sums] = expect_floats::<5>(inputs)?;
            if x.len() != d_out.len() || sums.shape != stats.shape {
                return Err("the derivative and the input differ in size, or the sums and the statistics".into());
            }
            (stats, affine)
        } else {
            let [_, stats, affine] = expect_floats::<3>(inputs)?;
            (stats, affine)
        };
        groups("the statistics", stats, d_out)?;
        two_per_channel("gamma and beta", affine, d_out)?;
        Ok(d_out.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let d_out = &inputs[0].data;
        let c = inputs[0].shape.last();
        let first = if self.batch.is_some() { 2 } else { 1 };
        let affine = &inputs[first + 1].data;
        let of_group = d_out.len() / groups_of(&inputs[first].shape);
        for (i, out) in out.data.iter_mut().enumerate() {
            let (group, k) = (i / of_group * 2 * c, i % c);
            let stats = &inputs[first].data[group..];
            let inverse = 1.0 / (stats[c + k] + f64::from(self.eps)).sqrt();
            let mut d = d_out[i];
            if let Some(rows) = self.batch {
                let (x, sums) = (&inputs[1].data, &inputs[4].data[group..]);
                d -= (sums[c + k] + (x[i] - stats[k]) * inverse * sums[k]) / rows as f64;
            }
            *out = affine[k] * inverse * d;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.from(0, inputs[0].data.len(), inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        let mut by_image = ByImage::of(&inputs[0], inputs.len())?;
        by_image.cut[1] = self.batch.is_some();
        Some(by_image)
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let (all, images) = (inputs[0].shape.len(), inputs[0].dims()[0]);
        Box::new(move |first, inputs, outputs| self.from(first * (all / images), all, inputs, outputs))
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let c = inputs[0].shape.last();
        let (entry, stats) = if self.batch.is_some() { ("grad_x", 2) } else { ("grad_x_fixed", 1) };
        let count = inputs[0].len() / lanes(c);
        let kernel = grouped(kernel(entry, count, c, lanes(c)), &inputs[stats], count);
        let rows = self.batch.unwrap_or(inputs[0].shape.rows());
        Epilogue::NONE.constants(kernel).with("ROWS", rows).with("EPS", self.eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        (if self.batch.is_some() { 5 } else { 1 }) * inputs[0].len() as u64
    }
}

impl GradX {
    /// The elements from `first` on, out of `all` in the whole batch.
    fn from(&self, first: usize, all: usize, inputs: &[In], outputs: &mut [Out]) {
        let at = if self.batch.is_some() { 2 } else { 1 };
        for (group, piece) in pieces(first, inputs[0].data.len(), all / groups_of(inputs[at].shape)) {
            self.of_group(group, piece.clone(), inputs, &mut outputs[0].data[piece]);
        }
    }

    fn of_group(&self, group: usize, piece: Range<usize>, inputs: &[In], out: &mut [f32]) {
        let d_out = &inputs[0].data[piece.clone()];
        let c = inputs[0].shape.last();
        let own = |i: usize| &inputs[i].data[2 * c * group..][..2 * c];
        let first = if self.batch.is_some() { 2 } else { 1 };
        let (stats, affine) = (own(first), inputs[first + 1].data);
        let scale = tiled(c, |k| affine[k] * inverse(stats, c, k, self.eps));
        let block = BLOCK * c;
        let Some(rows) = self.batch else {
            return parallel_rows(
                out,
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
        };
        let rows = rows as f32;
        let (x, sums) = (&inputs[1].data[piece], own(4));
        // scale * (d - shift - (x - mean) * slope)
        let mean = tiled(c, |k| stats[k]);
        let shift = tiled(c, |k| sums[c + k] / rows);
        let slope = tiled(c, |k| sums[k] / rows * inverse(stats, c, k, self.eps));
        parallel_rows(
            out,
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
}
