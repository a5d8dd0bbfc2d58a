//! The walk over a one-channel image: its pixels are contiguous, so that a stretch of a row is one run of numbers, and
//! its few taps are done before the places of a tile of arbitrary pixels would have been found.

use pulp::Simd;

use super::{Correlate, begin};
use crate::ops::tile::{store_tile, vectors};

/// Does the walk, if it is one of these. Of two tile sizes it takes the one that covers fewer pixels twice. For larger
/// tiles the sums alone would fit the registers, but not together with everything around them.
#[inline(always)]
pub(super) fn by_rows<S: Simd>(simd: S, task: &mut Correlate, panels: &[f32]) -> bool {
    let covered = |pixels: usize| task.walk.columns.next_multiple_of(pixels);
    match (S::F32_LANES == 8, vectors(task.walk.channels, S::F32_LANES)) {
        (true, 1) if covered(7) < covered(8) => with_run::<S, 7, 1>(simd, task, panels),
        (true, 1) => with_run::<S, 8, 1>(simd, task, panels),
        (true, _) => with_run::<S, 4, 2>(simd, task, panels),
        (false, 1) if covered(12) < covered(14) => with_run::<S, 12, 1>(simd, task, panels),
        (false, 1) => with_run::<S, 14, 1>(simd, task, panels),
        (false, 2) if covered(7) < covered(8) => with_run::<S, 7, 2>(simd, task, panels),
        (false, 2) => with_run::<S, 8, 2>(simd, task, panels),
        _ => false,
    }
}

#[inline(always)]
fn with_run<S: Simd, const PIXELS: usize, const VECTORS: usize>(simd: S, task: &mut Correlate, panels: &[f32]) -> bool {
    let walk = task.walk;
    let is_one = walk.step_column == 1 && walk.columns >= PIXELS;
    match walk.run {
        2 if is_one => rows::<S, 2, PIXELS, VECTORS>(simd, task, panels),
        3 if is_one => rows::<S, 3, PIXELS, VECTORS>(simd, task, panels),
        5 if is_one => rows::<S, 5, PIXELS, VECTORS>(simd, task, panels),
        _ => return false,
    }
    true
}

/// Tiles of PIXELS pixels of one row. The last one of a row overlaps the one before it where the row does not divide
/// evenly.
#[inline(always)]
fn rows<S: Simd, const RUN: usize, const PIXELS: usize, const VECTORS: usize>(
    simd: S,
    task: &mut Correlate,
    panels: &[f32],
) {
    let Correlate { walk, rows, frame, out, finish } = task;
    let width = VECTORS * S::F32_LANES;
    for (block, panel) in panels.chunks_exact((walk.taps * RUN * width).max(1)).enumerate() {
        let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>();
        let (panel, _) = panel.as_chunks::<RUN>();
        let channels = (walk.channels - block * width).min(width);
        let begin = begin::<S, VECTORS>(simd, finish, block);
        for row in 0..*rows {
            for first in (0..walk.columns).step_by(PIXELS) {
                let first = first.min(walk.columns - PIXELS);
                let from = &frame[walk.first + row * walk.step_row + first..];
                // One check for all that the tile reads: the loop has no place for a check that fails.
                let from = &from[..(walk.taps - 1) * walk.frame_row + PIXELS + RUN - 1];
                let mut sums = [begin; PIXELS];
                for (tap, weights) in panel.iter().enumerate() {
                    let x = from.get(tap * walk.frame_row..).and_then(|x| x.get(..PIXELS + RUN - 1));
                    let Some(x) = x else { break };
                    // Pixels innermost: the other way round, more of them are needed at once than registers hold.
                    for j in 0..RUN {
                        for i in 0..PIXELS {
                            let x = simd.splat_f32s(x[i + j]);
                            for v in 0..VECTORS {
                                sums[i][v] = simd.mul_add_e_f32s(x, weights[j][v], sums[i][v]);
                            }
                        }
                    }
                }
                let to = walk.out_first + row * walk.out_row + first * walk.out_column + block * width;
                store_tile::<S, PIXELS, VECTORS>(
                    simd,
                    out,
                    #[inline(always)]
                    |i| to + i * walk.out_column,
                    [PIXELS, channels],
                    finish.end_tile::<S, PIXELS, VECTORS>(simd, block * width, sums),
                );
            }
        }
    }
}
