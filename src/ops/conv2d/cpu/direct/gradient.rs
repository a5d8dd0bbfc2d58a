//! The derivative with respect to the weights, by plain sums: tiles of weights stay in registers while images pass by.

use pulp::{Simd, WithSimd};

use super::few;
use crate::ops::conv2d::Geometry;
use crate::ops::tile::{MOST_LANES, store, vectors, width, with_tile};
use crate::parallel::{parallel_chunks, scratch};

/// `input [n, h, w, c]` and `d_out [n, p, q, k]` to partial sums `[parts, r, s, c, k]`.
pub fn grad_w(g: &Geometry, images_per_part: usize, input: &[f32], d_out: &[f32], out: &mut [f32]) {
    let part_len = g.r * g.s * g.c * g.k;
    let (image, result) = (g.h * g.w * g.c, g.p * g.q * g.k);
    // Channels padded to whole register tiles.
    let row = if few(g.k, g.s * g.c) { g.k } else { g.k.next_multiple_of(width(g.k)) };
    let frame = super::frame(g).len(g.c);
    // Where the channels fill whole tiles as they are, `d_out` is not copied.
    let padded = if row == g.k { 0 } else { g.p * g.q * row };
    // Few enough images at a time that their copies stay in the second-level cache: sums are read and written once for
    // all.
    let at_once = ((1 << 16) / (frame + padded)).clamp(1, images_per_part);
    parallel_chunks(out, part_len, |i, out| {
        let images = (i * images_per_part..((i + 1) * images_per_part).min(g.n)).collect::<Vec<_>>();
        scratch(at_once * (frame + padded), |memory| {
            let (frames, results) = memory.split_at_mut(at_once * frame);
            frames.chunks_exact_mut(frame).for_each(|to| super::frame(g).clear([g.h, g.w, g.c], to));
            // For the channels past the last.
            results.fill(0.0);
            for (begun, images) in images.chunks(at_once).enumerate() {
                for (&n, frame) in images.iter().zip(frames.chunks_exact_mut(frame)) {
                    super::frame(g).fill(&input[n * image..][..image], [g.h, g.w, g.c], frame);
                }
                let input = &frames[..images.len() * frame];
                let mut d_out = &d_out[images[0] * result..][..images.len() * result];
                if padded > 0 {
                    let rows = results.chunks_exact_mut(row).zip(d_out.chunks_exact(g.k));
                    rows.for_each(|(to, from)| to[..g.k].copy_from_slice(from));
                    d_out = &results[..images.len() * padded];
                }
                let (images, add) = (images.len(), begun > 0);
                pulp::Arch::new().dispatch(WeightGradient { g, images, input, d_out, row, add, out });
            }
        });
    });
}

/// The products of a few images. Only the innermost loops touch the sums, and no exit from those loops is a panic:
/// otherwise the sums would be written to memory with every pixel.
/// `out[r, j, k] = sum over n, p, q of input[n, p * stride + r, q * stride * c + j] * d_out[n, p, q, k]`.
struct WeightGradient<'a> {
    g: &'a Geometry,
    images: usize,
    /// Framed images.
    input: &'a [f32],
    d_out: &'a [f32],
    /// Words from pixel to pixel of `d_out`.
    row: usize,
    /// Whether to add to what earlier images left in `out`, or else to overwrite it.
    add: bool,
    out: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if few(self.g.k, self.g.s * self.g.c) {
            return weights_along(simd, self);
        }
        let vectors = vectors(self.g.k, S::F32_LANES);
        with_tile!(S, vectors, weight_gradient, simd, self);
    }
}

/// Vectors lie along a run of taps, where channels are too few to fill one.
#[inline(always)]
fn weights_along<S: Simd>(simd: S, mut task: WeightGradient) {
    let run = task.g.s * task.g.c;
    for (r, channel) in (0..task.g.r).flat_map(|r| (0..task.g.k).map(move |k| (r, k))) {
        let mut j = 0;
        while j < run {
            j += match (run - j).div_ceil(S::F32_LANES) {
                1 => weights_of_a_stretch::<S, 1>(simd, &mut task, r, channel, j),
                2 => weights_of_a_stretch::<S, 2>(simd, &mut task, r, channel, j),
                3 => weights_of_a_stretch::<S, 3>(simd, &mut task, r, channel, j),
                _ => weights_of_a_stretch::<S, 4>(simd, &mut task, r, channel, j),
            };
        }
    }
}

/// Sums the products of this many vectors of a run; returns how many numbers they hold.
#[inline(always)]
fn weights_of_a_stretch<S: Simd, const VECTORS: usize>(
    simd: S,
    task: &mut WeightGradient,
    r: usize,
    channel: usize,
    j: usize,
) -> usize {
    let g = task.g;
    let (run, step, width) = (g.s * g.c, g.stride * g.c, VECTORS * S::F32_LANES);
    let frame_row = super::frame(g).width * g.c;
    let images = task.input.chunks_exact(super::frame(g).len(g.c)).zip(task.d_out.chunks_exact(g.p * g.q * g.k));
    let mut sums = [simd.splat_f32s(0.0); VECTORS];
    for (input, d_out) in images.take(task.images) {
        for (p, d_out) in d_out.chunks_exact(g.q * g.k).enumerate() {
            let input = &input[(p * g.stride + r) * frame_row + j..];
            for (q, d_out) in d_out.chunks_exact(g.k).enumerate() {
                let (Some(d), Some(x)) = (d_out.get(channel), input.get(q * step..).and_then(|x| x.get(..width)))
                else {
                    break;
                };
                let d = simd.splat_f32s(*d);
                // What follows the run adds to sums that nobody reads.
                let Some(x) = S::as_simd_f32s(x).0.first_chunk::<VECTORS>() else { break };
                for v in 0..VECTORS {
                    sums[v] = simd.mul_add_e_f32s(x[v], d, sums[v]);
                }
            }
        }
    }
    let mut numbers = [0.0; 4 * MOST_LANES];
    for (sum, to) in sums.iter().zip(numbers.chunks_exact_mut(S::F32_LANES)) {
        store::<S>(simd, to, *sum);
    }
    for (i, sum) in numbers.iter().enumerate().take(width.min(run - j)) {
        let to = &mut task.out[(r * run + j + i) * g.k + channel];
        *to = if task.add { *to + sum } else { *sum };
    }
    width
}

#[inline(always)]
fn weight_gradient<S: Simd, const TAPS: usize, const VECTORS: usize>(simd: S, mut task: WeightGradient) {
    let run = task.g.s * task.g.c;
    let blocks = task.row / (VECTORS * S::F32_LANES);
    for (r, block) in (0..task.g.r).flat_map(|r| (0..blocks).map(move |b| (r, b))) {
        let mut j = 0;
        while j < run {
            // A run that ends within a tile is finished with the smallest one that holds the rest.
            j += match run - j {
                0..=3 => weight_tile::<S, 3, VECTORS>(simd, &mut task, r, block, j),
                4..=6 => weight_tile::<S, 6, VECTORS>(simd, &mut task, r, block, j),
                7..=8 if TAPS > 8 => weight_tile::<S, 8, VECTORS>(simd, &mut task, r, block, j),
                _ => weight_tile::<S, TAPS, VECTORS>(simd, &mut task, r, block, j),
            };
        }
    }
}

/// Sums one tile's products; returns how many of the run's elements it covered.
#[inline(always)]
fn weight_tile<S: Simd, const TAPS: usize, const VECTORS: usize>(
    simd: S,
    task: &mut WeightGradient,
    r: usize,
    block: usize,
    j: usize,
) -> usize {
    let g = task.g;
    let width = VECTORS * S::F32_LANES;
    let (run, step) = (g.s * g.c, g.stride * g.c);
    let frame_row = super::frame(g).width * g.c;
    let images = task.input.chunks_exact(super::frame(g).len(g.c)).zip(task.d_out.chunks_exact(g.p * g.q * task.row));
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TAPS];
    let vectors = task.row / S::F32_LANES;
    for (input, d_out) in images.take(task.images) {
        for (p, d_out) in d_out.chunks_exact(g.q * task.row).enumerate() {
            let input = &input[(p * g.stride + r) * frame_row + j..];
            let d_out = &S::as_simd_f32s(d_out).0[block * VECTORS..];
            for q in 0..g.q {
                let Some(x) = input.get(q * step..).and_then(|x| x.first_chunk::<TAPS>()) else { break };
                let Some(d_out) = d_out.get(q * vectors..).and_then(|d_out| d_out.first_chunk::<VECTORS>()) else {
                    break;
                };
                for i in 0..TAPS {
                    let x = simd.splat_f32s(x[i]);
                    for v in 0..VECTORS {
                        sums[i][v] = simd.mul_add_e_f32s(x, d_out[v], sums[i][v]);
                    }
                }
            }
        }
    }
    let channels = (g.k - block * width).min(width);
    for (i, sums) in sums.iter().enumerate().take(run - j) {
        let out = &mut task.out[(r * run + j + i) * g.k + block * width..][..channels];
        for (out, sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
            let mut sum = *sum;
            if task.add {
                sum = simd.add_f32s(simd.partial_load_f32s(out), sum);
            }
            store::<S>(simd, out, sum);
        }
    }
    TAPS
}
