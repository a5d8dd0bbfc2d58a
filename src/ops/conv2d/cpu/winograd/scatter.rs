//! The transposed convolution by the convolution's own tiles in reverse: each tile of derivatives with respect to
//! results gives `side x side` derivatives with respect to the image, which are added where tiles overlap.
//!
//! [`Tiles`](super::Tiles) makes the larger of the two images by tiles of results. The tiles here are of the smaller
//! image, so there are fewer: 4 instead of 9 from 8 x 8 to 10 x 10 pixels with a 3x3 kernel.

use pulp::{Simd, WithSimd};

use super::correlate::{Multiply, place};
use super::gradient::ReadBack;
use super::panels::panels;
use super::transform::{self, Half};
use super::{GAP, SLACK, Tiling, padded, split};
use crate::ops::conv2d::cpu::frame::Frames;
use crate::ops::epilogue::Ready;
use crate::ops::strided::{Strided, StridedMut};
use crate::ops::tile::{MOST_PIXELS, load, store};
use crate::parallel::{Lent, block, parallel_chunks, scratch};

/// A convolution's transpose by the convolution's tiles, with its weights transformed.
pub struct Scatter {
    tiling: Tiling,
    panels: Lent,
}

impl Scatter {
    /// The convolution's tiling; `weight` is `[r, s, k, c]`, its last axis the channels of what the convolution reads.
    pub fn new(tiling: Tiling, weight: &[f32]) -> Scatter {
        let panels = panels(&tiling, weight, [tiling.result[2], tiling.source[2]], true);
        Scatter { tiling, panels }
    }

    /// `d_out [n, p, q, k]` to `out [n, h, w, c]`.
    pub fn run(&self, d_out: &[f32], out: &mut [f32], end: &Ready) {
        let t = &self.tiling;
        let (image_in, image_out) = (t.result.iter().product::<usize>(), t.source.iter().product::<usize>());
        let panels = self.panels.f32s();
        let block = block(out.len() / image_out);
        parallel_chunks(out, block * image_out, |b, out| {
            let d_out = &d_out[b * block * image_in..][..out.len() / image_out * image_in];
            images_of_a_thread(t, panels, d_out, out, |image, out| {
                end.run(out, (b * block + image) * image_out, t.source[2]);
            });
        });
    }
}

/// Applies `finish` to each image once all of it is there.
fn images_of_a_thread(t: &Tiling, panels: &[f32], d_out: &[f32], out: &mut [f32], finish: impl Fn(usize, &mut [f32])) {
    let image_out = t.source.iter().product::<usize>();
    let (channels, row_out) = (t.result[2], padded(t.channels_in()));
    let (of_image, images) = (t.rows * t.columns, out.len() / image_out);
    let total = images * of_image;
    let group = total.div_ceil(total.div_ceil(t.group()));
    let around = t.whole_tiles();
    let results = Frames::new(around, t.result, t.images_at_once(group));
    // A register tile may read and write rows past the last.
    let rows = group + MOST_PIXELS;
    let (plane_in, plane_out) = (rows * channels + GAP, rows * row_out + GAP);
    let planes = t.tile.planes();
    let lengths = [results.len(), planes * plane_in, planes * plane_out + SLACK];
    scratch(lengths.iter().sum(), |memory| {
        let [frames, factors, products] = split(memory, lengths);
        results.clear(frames);
        let (mut framed, mut finished) = (0, 0);
        for first in (0..total).step_by(group) {
            let tiles = first..(first + group).min(total);
            while framed * of_image < tiles.end {
                results.fill(framed, d_out, frames);
                out[framed * image_out..][..image_out].fill(0.0);
                framed += 1;
            }
            pulp::Arch::new().dispatch(ReadBack {
                t,
                width: around.width,
                frames: results.of(d_out, frames),
                frame: results.step(),
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
            let task = Add { t, products, plane: plane_out, row: row_out, tiles: tiles.clone(), out };
            pulp::Arch::new().dispatch(task);
            while (finished + 1) * of_image <= tiles.end {
                finish(finished, &mut out[finished * image_out..][..image_out]);
                finished += 1;
            }
        }
    });
}

/// From each tile's products to what they owe to its pixels, `[plane][tile][phase][channel]` to images.
struct Add<'a> {
    t: &'a Tiling,
    products: &'a [f32],
    plane: usize,
    row: usize,
    tiles: std::ops::Range<usize>,
    out: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.t.tile.side {
            5 => self.add::<S, 5>(simd),
            _ => self.add::<S, 6>(simd),
        }
    }
}

impl Add<'_> {
    #[inline(always)]
    fn add<S: Simd, const SIDE: usize>(self, simd: S) {
        let t = self.t;
        let ([height, width, channels], stride) = (t.source, t.inner.column / t.source[2]);
        let steps = [stride * width * channels, stride * channels];
        let mut half = Half::new(simd);
        for (i, index) in self.tiles.enumerate() {
            let (image, y, x) = place(index, [t.rows, t.columns], t.results());
            let out = &mut self.out[image * height * width * channels..][..height * width * channels];
            for (p, phase) in t.inner.phases.iter().enumerate() {
                let from = &self.products[i * self.row + p * channels..];
                let pixel = phase.first / channels;
                let (row, column) = (pixel / t.frame.width + y * stride, pixel % t.frame.width + x * stride);
                // What is owed to the borders is dropped.
                let (top, left) = (t.frame.top, t.frame.left);
                let rows = inside(top, height, row, stride);
                let columns = inside(left, width, column, stride);
                let is_inside = [&rows, &columns].iter().all(|lies| lies.start == 0 && lies.end >= SIDE);
                for channel in (0..channels).step_by(S::F32_LANES) {
                    let from = Strided::<S, SIDE, SIDE>::new(&from[channel..], [SIDE * self.plane, self.plane]);
                    let mut to = match is_inside && channel + S::F32_LANES <= channels {
                        true => {
                            let first = ((row - top) * width + column - left) * channels + channel;
                            Ok(StridedMut::<S, SIDE, SIDE>::new(&mut out[first..], steps))
                        }
                        false => Err(&mut *out),
                    };
                    transform::square(
                        &mut half,
                        #[inline(always)]
                        |i, j| from.load(i, j),
                        #[inline(always)]
                        |m| transform::image_side_back::<S, SIDE>(simd, m),
                        #[inline(always)]
                        |i, j, owed| match &mut to {
                            Ok(to) => *to.at(i, j) = simd.add_f32s(*to.at(i, j), owed),
                            Err(out) if rows.contains(&i) && columns.contains(&j) => {
                                let (row, column) = (row + i * stride - top, column + j * stride - left);
                                let to = &mut out[(row * width + column) * channels..][channel..channels];
                                let before = match to.len() >= S::F32_LANES {
                                    true => load::<S>(to),
                                    false => simd.partial_load_f32s(to),
                                };
                                store(simd, to, simd.add_f32s(before, owed));
                            }
                            Err(_) => {}
                        },
                    );
                }
            }
        }
    }
}

/// Which values along a tile's side lie on an image of `size` that follows a border. The first value is at `first`,
/// counted from the border's start, and they are `stride` apart.
fn inside(border: usize, size: usize, first: usize, stride: usize) -> std::ops::Range<usize> {
    let before = |end: usize| end.saturating_sub(first).div_ceil(stride);
    before(border)..before(border + size)
}
