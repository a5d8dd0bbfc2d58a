//! Walks whose vectors lie along the run: for results with so few channels that vectors across them would be mostly
//! empty.

use pulp::Simd;

use super::Correlate;
use crate::ops::tile::load;

/// Pixels whose sums along the run are interleaved, since each sum waits for its previous product.
const SIDE_BY_SIDE: usize = 4;
/// The same where pixels are a vector each, so that one reads what its neighbours read.
const STRETCH: usize = 14;

/// `weights` are `[channel][tap row][run]`, runs padded with zeros.
#[inline(always)]
pub(super) fn along<S: Simd>(simd: S, mut task: Correlate, weights: &[f32]) {
    let walk = task.walk;
    let padded = walk.run.next_multiple_of(S::F32_LANES);
    let vectors = walk.step_column == S::F32_LANES && walk.run == padded;
    for (channel, weights) in weights.chunks_exact(walk.taps * padded).enumerate() {
        for row in 0..task.rows {
            if vectors && walk.columns >= STRETCH {
                // The last stretch overlaps the one before it where the row does not divide evenly.
                for first in (0..walk.columns).step_by(STRETCH) {
                    stretch(simd, &mut task, weights, channel, row, first.min(walk.columns - STRETCH));
                }
            } else {
                for first in (0..walk.columns).step_by(SIDE_BY_SIDE) {
                    side_by_side(simd, &mut task, weights, channel, row, first);
                }
            }
        }
    }
}

#[inline(always)]
fn stretch<S: Simd>(simd: S, task: &mut Correlate, weights: &[f32], channel: usize, row: usize, first: usize) {
    let walk = task.walk;
    let mut sums = [simd.splat_f32s(0.0); STRETCH];
    let from = &task.frame[walk.first + row * walk.step_row + first * walk.step_column..];
    for (tap, weights) in weights.chunks_exact(walk.run).enumerate() {
        let x = &from[tap * walk.frame_row..][..(STRETCH - 1) * walk.step_column + walk.run];
        for (x, weight) in S::as_simd_f32s(x).0.windows(STRETCH).zip(S::as_simd_f32s(weights).0) {
            let Some(x) = x.first_chunk::<STRETCH>() else { break };
            for i in 0..STRETCH {
                sums[i] = simd.mul_add_e_f32s(x[i], *weight, sums[i]);
            }
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        let to = walk.out_first + row * walk.out_row + (first + i) * walk.out_column + channel;
        task.out[to] = task.finish.one(simd.reduce_sum_f32s(sum), channel);
    }
}

#[inline(always)]
fn side_by_side<S: Simd>(simd: S, task: &mut Correlate, weights: &[f32], channel: usize, row: usize, first: usize) {
    let Correlate { walk, frame, out, finish, .. } = task;
    let (run, padded) = (walk.run, walk.run.next_multiple_of(S::F32_LANES));
    let columns = SIDE_BY_SIDE.min(walk.columns - first);
    let mut from = [0usize; SIDE_BY_SIDE];
    for (i, from) in from.iter_mut().enumerate() {
        *from = walk.first + row * walk.step_row + (first + i.min(columns - 1)) * walk.step_column;
    }
    let mut sums = [simd.splat_f32s(0.0); SIDE_BY_SIDE];
    for (tap, weights) in weights.chunks_exact(padded).enumerate() {
        let weights = S::as_simd_f32s(weights).0;
        let runs: [&[f32]; SIDE_BY_SIDE] = std::array::from_fn(|i| &frame[from[i] + tap * walk.frame_row..][..run]);
        for (v, weights) in weights[..run / S::F32_LANES].iter().enumerate() {
            for i in 0..SIDE_BY_SIDE {
                let x = load::<S>(&runs[i][v * S::F32_LANES..]);
                sums[i] = simd.mul_add_e_f32s(x, *weights, sums[i]);
            }
        }
        let rest = run / S::F32_LANES * S::F32_LANES;
        if rest < run {
            let weights = weights[run / S::F32_LANES];
            for i in 0..SIDE_BY_SIDE {
                let x = simd.partial_load_f32s(&runs[i][rest..]);
                sums[i] = simd.mul_add_e_f32s(x, weights, sums[i]);
            }
        }
    }
    for (i, sum) in sums.into_iter().enumerate().take(columns) {
        let to = walk.out_first + row * walk.out_row + (first + i) * walk.out_column + channel;
        out[to] = finish.one(simd.reduce_sum_f32s(sum), channel);
    }
}
