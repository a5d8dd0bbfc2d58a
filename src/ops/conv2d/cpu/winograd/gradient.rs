//! The derivative with respect to the weights, by tiles: the products of factors are summed over tiles instead of
//! channels.

use pulp::{Simd, WithSimd};

use super::correlate::{Read, place};
use super::transform::{self, Half};
use super::{GAP, SLACK, Tiling, split};
use crate::ops::conv2d::cpu::frame::Frames;
use crate::ops::strided::{Strided, StridedMut};
use crate::ops::tile::{MOST_PIXELS, vectors, with_tile};
use crate::parallel::{parallel_chunks, scratch, vectorized};

/// `input [n, h, w, c]` and `d_out [n, p, q, k]` to partial sums `[parts, r, s, c, k]`.
pub fn gradient(t: &Tiling, images_per_part: usize, input: &[f32], d_out: &[f32], out: &mut [f32]) {
    let ([rows, columns], c, k) = (&t.kernel, t.source[2], t.result[2]);
    let taps = |phases: &[Vec<Option<usize>>]| phases.iter().flatten().flatten().count();
    let part = taps(rows) * taps(columns) * c * k;
    let (image_in, image_out) = (t.source.iter().product::<usize>(), t.result.iter().product::<usize>());
    let images = input.len() / image_in;
    parallel_chunks(out, part, |i, out| {
        let images = i * images_per_part..((i + 1) * images_per_part).min(images);
        let input = &input[images.start * image_in..images.end * image_in];
        let d_out = &d_out[images.start * image_out..images.end * image_out];
        sums_of_a_part(t, input, d_out, |sums, plane, row| {
            vectorized(
                #[inline(always)]
                || finish(t, sums, plane, row, out),
            )
        });
    });
}

fn sums_of_a_part(t: &Tiling, input: &[f32], d_out: &[f32], finish: impl FnOnce(&[f32], usize, usize)) {
    let images = input.len() / t.source.iter().product::<usize>();
    let (channels, row_out, of_image) = (t.channels_in(), t.row_out(), t.rows * t.columns);
    let total = images * of_image;
    let group = total.div_ceil(total.div_ceil(t.group()));
    let (slots, frame_out) = (t.images_at_once(group), t.whole_tiles());
    let [inputs, results] = [(t.frame, t.source), (frame_out, t.result)].map(|(f, image)| Frames::new(f, image, slots));
    let (plane_in, plane_out) = (group * channels + GAP, group * row_out + GAP);
    // A register tile may go past the last channel.
    let plane = (channels + MOST_PIXELS) * row_out + GAP;
    let planes = t.tile.planes();
    let lengths = [inputs.len(), results.len(), planes * plane_in + SLACK, planes * plane_out + SLACK, planes * plane];
    scratch(lengths.iter().sum(), |memory| {
        let [frames, frames_out, factors, owed, sums] = split(memory, lengths);
        inputs.clear(frames);
        results.clear(frames_out);
        sums.fill(0.0);
        let mut framed = 0;
        for first in (0..total).step_by(group) {
            let tiles = first..(first + group).min(total);
            while framed * of_image < tiles.end {
                inputs.fill(framed, input, frames);
                results.fill(framed, d_out, frames_out);
                framed += 1;
            }
            pulp::Arch::new().dispatch(Read {
                lattice: &t.inner,
                tile: t.tile,
                grid: [t.rows, t.columns],
                channels: t.source[2],
                frames: inputs.of(input, frames),
                frame: inputs.step(),
                tiles: tiles.clone(),
                row: channels,
                plane: plane_in,
                out: factors,
            });
            pulp::Arch::new().dispatch(ReadBack {
                t,
                width: frame_out.width,
                frames: results.of(d_out, frames_out),
                frame: results.step(),
                tiles: tiles.clone(),
                row: row_out,
                plane: plane_out,
                out: owed,
            });
            let outputs = t.channels_out();
            pulp::Arch::new().dispatch(Multiply {
                factors,
                owed,
                sums,
                count: planes,
                planes: [plane_in, plane_out, plane],
                tiles: tiles.len(),
                channels,
                row_out,
                outputs,
            });
        }
        finish(sums, plane, row_out);
    });
}

/// From the sums of each weight's tile to the weights themselves.
#[inline(always)]
fn finish(t: &Tiling, sums: &[f32], plane: usize, row: usize, out: &mut [f32]) {
    let (c, k) = (t.source[2], t.result[2]);
    let side = transform::kernel_side(t.tile);
    let [rows, columns] = &t.kernel;
    let mut half = vec![0.0; t.tile.side * k];
    for (phase, (down, across)) in rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))).enumerate() {
        for channel in 0..c {
            let line = (phase * c + channel) * row;
            for (u, tap) in down.iter().enumerate() {
                let Some(tap) = tap else { continue };
                half.fill(0.0);
                for (j, half) in half.chunks_exact_mut(k).enumerate() {
                    for (i, factor) in side.iter().enumerate() {
                        let from = &sums[(i * t.tile.side + j) * plane + line..][..k];
                        half.iter_mut().zip(from).for_each(|(half, sum)| *half += factor[u] * sum);
                    }
                }
                for (v, column) in across.iter().enumerate() {
                    let Some(column) = column else { continue };
                    let to = &mut out[((tap * t.kernel_columns + column) * c + channel) * k..][..k];
                    to.fill(0.0);
                    for (half, factor) in half.chunks_exact(k).zip(&side) {
                        to.iter_mut().zip(half).for_each(|(to, half)| *to += factor[v] * half);
                    }
                }
            }
        }
    }
}

/// From framed derivatives to what they owe to each of a tile's sums, `[plane][tile][channel]`.
pub(super) struct ReadBack<'a> {
    pub t: &'a Tiling,
    /// Pixels of a frame's row.
    pub width: usize,
    /// Framed images, in frames that are used in turn.
    pub frames: &'a [f32],
    pub frame: usize,
    pub tiles: std::ops::Range<usize>,
    /// Words from tile to tile and from plane to plane of `out`.
    pub row: usize,
    pub plane: usize,
    pub out: &'a mut [f32],
}

impl WithSimd for ReadBack<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.t.tile.side, self.t.results()) {
            (5, _) => read_back::<S, 5, 4>(simd, self),
            (_, 2) => read_back::<S, 6, 2>(simd, self),
            (_, 3) => read_back::<S, 6, 3>(simd, self),
            (_, 4) => read_back::<S, 6, 4>(simd, self),
            (_, _) => read_back::<S, 6, 5>(simd, self),
        }
    }
}

#[inline(always)]
fn read_back<S: Simd, const SIDE: usize, const RESULTS: usize>(simd: S, task: ReadBack) {
    let slots = task.frames.len() / task.frame;
    let channels = task.t.result[2];
    let steps = [task.width * channels, channels];
    let mut half = Half::new(simd);
    for (i, index) in task.tiles.enumerate() {
        let (image, y, x) = place(index, [task.t.rows, task.t.columns], RESULTS);
        let from = &task.frames[image % slots * task.frame..][..task.frame][y * steps[0] + x * steps[1]..];
        let to = &mut task.out[i * task.row..];
        for channel in (0..channels).step_by(S::F32_LANES) {
            let from = Strided::<S, RESULTS, RESULTS>::new(&from[channel..], steps);
            let mut to = StridedMut::<S, SIDE, SIDE>::new(&mut to[channel..], [SIDE * task.plane, task.plane]);
            transform::square(
                &mut half,
                #[inline(always)]
                |i, j| from.load(i, j),
                #[inline(always)]
                |y| transform::result_side_back::<S, SIDE, RESULTS>(simd, y),
                #[inline(always)]
                |i, j, owed| *to.at(i, j) = owed,
            );
        }
    }
}

/// Adds matrix products, one for each plane: channels by tiles, tiles by results.
struct Multiply<'a> {
    factors: &'a [f32],
    owed: &'a [f32],
    sums: &'a mut [f32],
    count: usize,
    /// Words from plane to plane of `factors`, `owed` and `sums`.
    planes: [usize; 3],
    tiles: usize,
    channels: usize,
    row_out: usize,
    outputs: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = vectors(self.outputs, S::F32_LANES);
        with_tile!(S, vectors, multiply, simd, self);
    }
}

#[inline(always)]
fn multiply<S: Simd, const CHANNELS: usize, const VECTORS: usize>(simd: S, task: Multiply) {
    let width = VECTORS * S::F32_LANES;
    for plane in 0..task.count {
        let factors = &task.factors[plane * task.planes[0]..][..task.planes[0] + SLACK];
        let owed = &task.owed[plane * task.planes[1]..][..task.planes[1]];
        let sums = &mut task.sums[plane * task.planes[2]..][..task.planes[2]];
        for block in 0..task.row_out / width {
            let mut first = 0;
            while first < task.channels {
                let size = [task.tiles, task.channels, task.row_out];
                let at = [first, block * width];
                // What is left is done by the smallest tile that holds it.
                first += match task.channels - first {
                    0..=4 => add::<S, 4, VECTORS>(simd, factors, owed, sums, size, at),
                    5..=6 => add::<S, 6, VECTORS>(simd, factors, owed, sums, size, at),
                    7..=8 if CHANNELS > 8 => add::<S, 8, VECTORS>(simd, factors, owed, sums, size, at),
                    _ => add::<S, CHANNELS, VECTORS>(simd, factors, owed, sums, size, at),
                };
            }
        }
    }
}

/// One register tile, over all tiles of the image; returns how many channels it covered.
#[inline(always)]
fn add<S: Simd, const CHANNELS: usize, const VECTORS: usize>(
    simd: S,
    factors: &[f32],
    owed: &[f32],
    sums: &mut [f32],
    [tiles, channels, row_out]: [usize; 3],
    [channel, result]: [usize; 2],
) -> usize {
    let width = VECTORS * S::F32_LANES;
    let mut tile = [[simd.splat_f32s(0.0); VECTORS]; CHANNELS];
    for i in 0..tiles {
        let x = &factors[i * channels + channel..][..CHANNELS];
        let (owed, _) = S::as_simd_f32s(&owed[i * row_out + result..][..width]).0.as_chunks::<VECTORS>();
        for c in 0..CHANNELS {
            let x = simd.splat_f32s(x[c]);
            for v in 0..VECTORS {
                tile[c][v] = simd.mul_add_e_f32s(x, owed[0][v], tile[c][v]);
            }
        }
    }
    for (c, tile) in tile.iter().enumerate() {
        let to = &mut sums[(channel + c) * row_out + result..][..width];
        let to = S::as_mut_simd_f32s(to).0;
        for v in 0..VECTORS {
            to[v] = simd.add_f32s(to[v], tile[v]);
        }
    }
    CHANNELS
}
