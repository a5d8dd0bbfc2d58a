//! The transposed convolution as the convolution's own tiles the other way round: each tile of `(7 - taps)^2` derivatives
//! by results gives 6 x 6 derivatives by the image, and where tiles overlap those are added.
//!
//! [`Correlation`](super::Correlation) makes the larger image of the two by tiles of results. These are tiles of the smaller
//! one, of which there are fewer: 4 instead of 9 from 8 x 8 to 10 x 10 pixels with a 3x3 kernel.

use pulp::{Simd, WithSimd};

use super::correlate::{Multiply, panels, place};
use super::gradient::ReadBack;
use super::transform::{self, PLANES, SIDE};
use super::{GAP, SLACK, Tiling, padded, split};
use crate::lines::Lines;
use crate::ops::tile::{MOST_PIXELS, load, store};
use crate::ops::{Epilogue, In};
use crate::parallel::{block, parallel_chunks, scratch, vectorized};

/// A convolution's transpose by the convolution's tiles, its weights transformed.
pub struct Scatter {
    tiling: Tiling,
    panels: Lines,
}

impl Scatter {
    /// The convolution's tiling; `weight` is `[r, s, k, c]`, its last axis the channels of what the convolution reads.
    pub fn new(tiling: Tiling, weight: &[f32]) -> Scatter {
        let panels = panels(&tiling, weight, [tiling.result[2], tiling.source[2]], true);
        Scatter { tiling, panels }
    }

    /// `d_out [n, p, q, k]` to `out [n, h, w, c]`.
    pub fn run(&self, d_out: &[f32], out: &mut [f32], epilogue: Epilogue, extra: &[In]) {
        let t = &self.tiling;
        let (image_in, image_out) = (t.result.iter().product::<usize>(), t.source.iter().product::<usize>());
        let panels = &self.panels.f32s()[..PLANES * t.result[2] * padded(t.channels_in())];
        let block = block(out.len() / image_out);
        parallel_chunks(out, block * image_out, |b, out| {
            let d_out = &d_out[b * block * image_in..][..out.len() / image_out * image_in];
            images_of_a_thread(t, panels, d_out, out, |image, out| {
                if epilogue != Epilogue::NONE {
                    let first = (b * block + image) * image_out;
                    vectorized(
                        #[inline(always)]
                        || epilogue.apply(out, first, t.source[2], extra),
                    );
                }
            });
        });
    }
}

/// `finish` is done to each image when all of it is there.
fn images_of_a_thread(t: &Tiling, panels: &[f32], d_out: &[f32], out: &mut [f32], finish: impl Fn(usize, &mut [f32])) {
    let (image_in, image_out) = (t.result.iter().product::<usize>(), t.source.iter().product::<usize>());
    let (channels, row_out) = (t.result[2], padded(t.channels_in()));
    let (of_image, images) = (t.rows * t.columns, out.len() / image_out);
    let total = images * of_image;
    let group = total.div_ceil(total.div_ceil(t.group()));
    let slots = t.images_at_once(group);
    let around = t.whole_tiles();
    let (frame_in, frame_out) = (around.len(channels), t.frame.len(t.source[2]));
    // A tile of registers may read and write rows behind the last.
    let rows = group + MOST_PIXELS;
    let (plane_in, plane_out) = (rows * channels + GAP, rows * row_out + GAP);
    let lengths = [slots * frame_in, slots * frame_out, PLANES * plane_in, PLANES * plane_out + SLACK];
    scratch(lengths.iter().sum(), |memory| {
        let [frames, sums, factors, products] = split(memory, lengths);
        frames.chunks_exact_mut(frame_in).for_each(|frame| around.clear(t.result, frame));
        let (mut framed, mut finished) = (0, 0);
        for first in (0..total).step_by(group) {
            let tiles = first..(first + group).min(total);
            while framed * of_image < tiles.end {
                let slot = framed % slots;
                let image = &d_out[framed * image_in..][..image_in];
                around.fill(image, t.result, &mut frames[slot * frame_in..][..frame_in]);
                sums[slot * frame_out..][..frame_out].fill(0.0);
                framed += 1;
            }
            pulp::Arch::new().dispatch(ReadBack {
                t,
                width: around.width,
                frames,
                frame: frame_in,
                tiles: tiles.clone(),
                row: channels,
                plane: plane_in,
                out: factors,
            });
            pulp::Arch::new().dispatch(Multiply {
                factors,
                plane_in,
                channels,
                panels,
                tiles: tiles.len(),
                products,
                plane_out,
                row_out,
                outputs: t.channels_in(),
            });
            let task = Add { t, products, plane: plane_out, row: row_out, tiles: tiles.clone(), frames: sums };
            pulp::Arch::new().dispatch(task);
            while (finished + 1) * of_image <= tiles.end {
                let out = &mut out[finished * image_out..][..image_out];
                t.frame.take(&sums[finished % slots * frame_out..][..frame_out], t.source, out);
                finish(finished, out);
                finished += 1;
            }
        }
    });
}

/// The 36 products of each tile to what they owe to its 6 x 6 pixels, `[plane][tile][phase][channel]` to framed images,
/// taken by turns.
struct Add<'a> {
    t: &'a Tiling,
    products: &'a [f32],
    plane: usize,
    row: usize,
    tiles: std::ops::Range<usize>,
    frames: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let t = self.t;
        let (channels, frame) = (t.source[2], t.frame.len(t.source[2]));
        let slots = self.frames.len() / frame;
        let [row, column] = [t.inner.row, t.inner.column];
        for (i, index) in self.tiles.enumerate() {
            let (image, y, x) = place(index, [t.rows, t.columns], t.results());
            let frame = &mut self.frames[image % slots * frame..][..frame];
            for (p, phase) in t.inner.phases.iter().enumerate() {
                let from = &self.products[i * self.row + p * channels..];
                let to = &mut frame[phase.first + y * row + x * column..];
                for channel in (0..channels).step_by(S::F32_LANES) {
                    transform::square::<S, SIDE, SIDE>(
                        simd,
                        #[inline(always)]
                        |i, j| load::<S>(&from[(i * SIDE + j) * self.plane + channel..]),
                        #[inline(always)]
                        |m| transform::image_side_back(simd, m),
                        #[inline(always)]
                        |i, j, owed| {
                            let to = &mut to[i * row + j * column..][channel..channels];
                            let before = match to.len() >= S::F32_LANES {
                                true => load::<S>(to),
                                false => simd.partial_load_f32s(to),
                            };
                            store(simd, to, simd.add_f32s(before, owed));
                        },
                    );
                }
            }
        }
    }
}
