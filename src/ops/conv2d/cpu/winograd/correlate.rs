//! Convolution and its transpose by tiles.

use pulp::{Simd, WithSimd};

use super::panels::panels;
use super::transform::{self, Half, Tile};
use super::{GAP, Lattice, SLACK, Tiling, split};
use crate::ops::conv2d::cpu::frame::Frames;
use crate::ops::epilogue::{Finish, Ready};
use crate::ops::pool::largest;
use crate::ops::strided::{Strided, StridedMut};
use crate::ops::tile::{MOST_PIXELS, store, vectors, with_tile};
use crate::parallel::{Lent, block, parallel_chunks, scratch};

/// A convolution by tiles, with its weights transformed.
pub struct Tiles {
    tiling: Tiling,
    panels: Lent,
}

impl Tiles {
    /// `weight` is `[r, s, c, k]`, its last axis the result's channels.
    pub fn new(tiling: Tiling, weight: &[f32]) -> Tiles {
        let panels = panels(&tiling, weight, [tiling.source[2], tiling.result[2]], tiling.phases_of_result);
        Tiles { tiling, panels }
    }

    /// `source [n, h, w, c]` to `out [n, p, q, k]`.
    pub fn run(&self, source: &[f32], out: &mut [f32], end: &Ready) {
        let [p, q, k] = self.tiling.result;
        let image_out = p * q * k;
        let (end, later) = end.in_registers();
        let write = |task: Write| pulp::Arch::new().dispatch(task);
        self.each_block(source, out, image_out, end, write, |image, out| later.run(out, image * image_out, k));
    }

    /// Whether a tile's results are whole windows of two by two.
    pub fn can_pool(tiling: &Tiling) -> bool {
        tiling.results() == POOLED
    }

    /// Max-pools the result over windows of two by two, `out [n, p / 2, q / 2, k]`, after an epilogue for registers;
    /// `then` is applied to the maxima.
    pub fn run_pooled(&self, source: &[f32], out: &mut [f32], end: Finish, then: Finish) {
        let [p, q, k] = self.tiling.result;
        let image_out = (p / 2) * (q / 2) * k;
        let write = |task: Write| pulp::Arch::new().dispatch(Pool { task, then });
        self.each_block(source, out, image_out, end, write, |_, _| {});
    }

    /// Applies `end` to each vector of results, which `write` puts in its place, and `finish` to each image, by its
    /// number, once all of it is there.
    fn each_block(
        &self,
        source: &[f32],
        out: &mut [f32],
        image_out: usize,
        end: Finish,
        write: impl Fn(Write) + Sync,
        finish: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let t = &self.tiling;
        let panels = self.panels.f32s();
        let image_in = t.source.iter().product::<usize>();
        let block = block(out.len() / image_out);
        parallel_chunks(out, block * image_out, |b, out| {
            let source = &source[b * block * image_in..][..out.len() / image_out * image_in];
            images_of_a_thread(t, panels, source, out, end, &write, |image, out| finish(b * block + image, out));
        });
    }
}

fn images_of_a_thread(
    t: &Tiling,
    panels: &[f32],
    source: &[f32],
    out: &mut [f32],
    end: Finish,
    write: impl Fn(Write),
    finish: impl Fn(usize, &mut [f32]),
) {
    let images = source.len() / t.source.iter().product::<usize>();
    let image_out = out.len() / images;
    let (channels, row_out) = (t.channels_in(), t.row_out());
    let of_image = t.rows * t.columns;
    let total = images * of_image;
    let group = total.div_ceil(total.div_ceil(t.group()));
    let sources = Frames::new(t.frame, t.source, t.images_at_once(group));
    // A register tile may read and write rows past the last.
    let rows = group + MOST_PIXELS;
    let (plane_in, plane_out) = (rows * channels + GAP, rows * row_out + GAP);
    let planes = t.tile.planes();
    let lengths = [sources.len(), planes * plane_in, planes * plane_out + SLACK];
    scratch(lengths.iter().sum(), |memory| {
        let [frames, factors, products] = split(memory, lengths);
        sources.clear(frames);
        let (mut framed, mut finished) = (0, 0);
        for first in (0..total).step_by(group) {
            let tiles = group.min(total - first);
            while framed * of_image < first + tiles {
                sources.fill(framed, source, frames);
                framed += 1;
            }
            pulp::Arch::new().dispatch(Read {
                lattice: &t.inner,
                tile: t.tile,
                grid: [t.rows, t.columns],
                channels: t.source[2],
                frames: sources.of(source, frames),
                frame: sources.step(),
                tiles: first..first + tiles,
                row: channels,
                plane: plane_in,
                out: factors,
            });
            pulp::Arch::new().dispatch(Multiply {
                factors,
                plane_in,
                channels,
                panels,
                tiles,
                products,
                plane_out,
                row_out,
                outputs: t.channels_out(),
            });
            let tiles_now = first..first + tiles;
            write(Write { t, products, plane: plane_out, row: row_out, tiles: tiles_now, out, image_out, end });
            while (finished + 1) * of_image <= first + tiles {
                finish(finished, &mut out[finished * image_out..][..image_out]);
                finished += 1;
            }
        }
    });
}

/// From tiles of framed images to each tile's factors, `[plane][tile][phase][channel]`.
pub(super) struct Read<'a> {
    pub lattice: &'a Lattice,
    pub tile: Tile,
    /// Tiles down and across an image.
    pub grid: [usize; 2],
    pub channels: usize,
    /// Framed images, in frames that are used in turn.
    pub frames: &'a [f32],
    pub frame: usize,
    pub tiles: std::ops::Range<usize>,
    /// Words from tile to tile and from plane to plane of `out`.
    pub row: usize,
    pub plane: usize,
    pub out: &'a mut [f32],
}

/// Where tile `index` of a row of images lies: its image, and its first pixel.
#[inline(always)]
pub(super) fn place(index: usize, [rows, columns]: [usize; 2], side: usize) -> (usize, usize, usize) {
    let (image, tile) = (index / (rows * columns), index % (rows * columns));
    (image, tile / columns * side, tile % columns * side)
}

impl WithSimd for Read<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.tile.side {
            5 => self.read::<S, 5>(simd),
            _ => self.read::<S, 6>(simd),
        }
    }
}

impl Read<'_> {
    #[inline(always)]
    fn read<S: Simd, const SIDE: usize>(self, simd: S) {
        let slots = self.frames.len() / self.frame;
        let steps = [self.lattice.row, self.lattice.column];
        let mut half = Half::new(simd);
        for (i, index) in self.tiles.enumerate() {
            let (image, y, x) = place(index, self.grid, self.tile.results());
            let frame = &self.frames[image % slots * self.frame..][..self.frame];
            for (p, phase) in self.lattice.phases.iter().enumerate() {
                let from = &frame[phase.first + y * steps[0] + x * steps[1]..];
                let to = &mut self.out[i * self.row + p * self.channels..];
                for channel in (0..self.channels).step_by(S::F32_LANES) {
                    let from = Strided::<S, SIDE, SIDE>::new(&from[channel..], steps);
                    // A last vector that holds more than the channels left overwrites what follows, which is written
                    // later.
                    let mut to = StridedMut::<S, SIDE, SIDE>::new(&mut to[channel..], [SIDE * self.plane, self.plane]);
                    transform::square(
                        &mut half,
                        #[inline(always)]
                        |i, j| from.load(i, j),
                        #[inline(always)]
                        |x| transform::image_side::<S, SIDE>(simd, x),
                        #[inline(always)]
                        |i, j, y| *to.at(i, j) = y,
                    );
                }
            }
        }
    }
}

/// Matrix products, one for each plane: tiles by channels, channels by results.
pub(super) struct Multiply<'a> {
    pub factors: &'a [f32],
    pub plane_in: usize,
    pub channels: usize,
    pub panels: &'a [f32],
    pub tiles: usize,
    pub products: &'a mut [f32],
    pub plane_out: usize,
    pub row_out: usize,
    pub outputs: usize,
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
fn multiply<S: Simd, const PIXELS: usize, const VECTORS: usize>(simd: S, task: Multiply) {
    let width = VECTORS * S::F32_LANES;
    let channels = task.channels;
    let planes = task.factors.chunks_exact(task.plane_in).zip(task.products.chunks_exact_mut(task.plane_out));
    for ((factors, products), panels) in planes.zip(task.panels.chunks_exact(channels * task.row_out)) {
        for (block, panel) in panels.chunks_exact(channels * width).enumerate() {
            let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>();
            let panel = &panel[..channels];
            for first in (0..task.tiles).step_by(PIXELS) {
                let rows: [&[f32]; PIXELS] = std::array::from_fn(|i| &factors[(first + i) * channels..][..channels]);
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; PIXELS];
                for j in 0..channels {
                    for i in 0..PIXELS {
                        let x = simd.splat_f32s(rows[i][j]);
                        for v in 0..VECTORS {
                            sums[i][v] = simd.mul_add_e_f32s(x, panel[j][v], sums[i][v]);
                        }
                    }
                }
                for i in 0..PIXELS {
                    let to = &mut products[(first + i) * task.row_out + block * width..][..width];
                    S::as_mut_simd_f32s(to).0.copy_from_slice(&sums[i]);
                }
            }
        }
    }
}

/// From each tile's sums to its results, `[plane][tile][phase][channel]` to images.
struct Write<'a> {
    t: &'a Tiling,
    products: &'a [f32],
    plane: usize,
    row: usize,
    tiles: std::ops::Range<usize>,
    out: &'a mut [f32],
    /// Words from image to image of `out`.
    image_out: usize,
    end: Finish<'a>,
}

impl WithSimd for Write<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.end.is_nothing() {
            true => self.with::<S, true>(simd),
            false => self.with::<S, false>(simd),
        }
    }
}

impl Write<'_> {
    #[inline(always)]
    fn with<S: Simd, const PLAIN: bool>(self, simd: S) {
        match (self.t.tile.side, self.t.results()) {
            (5, _) => write::<S, 5, 4, PLAIN>(simd, self),
            (_, 2) => write::<S, 6, 2, PLAIN>(simd, self),
            (_, 3) => write::<S, 6, 3, PLAIN>(simd, self),
            (_, 4) => write::<S, 6, 4, PLAIN>(simd, self),
            (_, _) => write::<S, 6, 5, PLAIN>(simd, self),
        }
    }
}

#[inline(always)]
fn write<S: Simd, const SIDE: usize, const RESULTS: usize, const PLAIN: bool>(simd: S, task: Write) {
    let t = task.t;
    let channels = t.result[2];
    let steps = [t.outer.row, t.outer.column];
    let mut half = Half::new(simd);
    for (i, index) in task.tiles.enumerate() {
        let (image, y, x) = place(index, [t.rows, t.columns], RESULTS);
        let out = &mut task.out[image * task.image_out..][..task.image_out];
        for (p, phase) in t.outer.phases.iter().enumerate() {
            // A tile at the edge makes fewer results, and for some phases it may make none.
            let rows = phase.rows.saturating_sub(y).min(RESULTS);
            let columns = phase.columns.saturating_sub(x).min(RESULTS);
            if rows == 0 || columns == 0 {
                continue;
            }
            let from = &task.products[i * task.row + p * channels..];
            let out = &mut out[phase.first + y * steps[0] + x * steps[1]..];
            for channel in (0..channels).step_by(S::F32_LANES) {
                let from = Strided::<S, SIDE, SIDE>::new(&from[channel..], [SIDE * task.plane, task.plane]);
                let is_whole = rows == RESULTS && columns == RESULTS && channel + S::F32_LANES <= channels;
                let affine = if PLAIN { [simd.splat_f32s(0.0); 2] } else { task.end.affine::<S>(simd, channel) };
                let out = &mut out[channel..];
                let mut to = match is_whole {
                    true => Ok(StridedMut::<S, RESULTS, RESULTS>::new(out, steps)),
                    false => Err(out),
                };
                transform::square(
                    &mut half,
                    #[inline(always)]
                    |i, j| from.load(i, j),
                    #[inline(always)]
                    |m| transform::result_side::<S, SIDE, RESULTS>(simd, m),
                    #[inline(always)]
                    |i, j, mut result| {
                        if !PLAIN {
                            result = task.end.end::<S>(simd, result, affine);
                        }
                        match &mut to {
                            Ok(to) => *to.at(i, j) = result,
                            Err(out) if i < rows && j < columns => {
                                let out = &mut out[i * steps[0] + j * steps[1]..];
                                store(simd, &mut out[..(channels - channel).min(S::F32_LANES)], result);
                            }
                            Err(_) => {}
                        }
                    },
                );
            }
        }
    }
}

/// Results along one side of a tile that is pooled: each window of two by two lies in one tile.
const POOLED: usize = 4;

/// As [`Write`], for a convolution, but it writes what `then` makes of the maxima of windows of two by two.
struct Pool<'a> {
    task: Write<'a>,
    then: Finish<'a>,
}

impl WithSimd for Pool<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.task.t.tile.side, self.task.end.is_nothing()) {
            (5, true) => pool::<S, 5, true>(simd, self),
            (5, false) => pool::<S, 5, false>(simd, self),
            (_, true) => pool::<S, 6, true>(simd, self),
            (_, false) => pool::<S, 6, false>(simd, self),
        }
    }
}

#[inline(always)]
fn pool<S: Simd, const SIDE: usize, const PLAIN: bool>(simd: S, Pool { task, then }: Pool) {
    let t = task.t;
    let then = (!then.is_nothing()).then_some(then);
    let [p, q, channels] = t.result;
    let mut half = Half::new(simd);
    for (i, index) in task.tiles.enumerate() {
        let (image, y, x) = place(index, [t.rows, t.columns], POOLED);
        // Windows of the tile: at the edge there are fewer, or none.
        let (rows, columns) =
            ((p / 2).saturating_sub(y / 2).min(POOLED / 2), (q / 2).saturating_sub(x / 2).min(POOLED / 2));
        let at = image * task.image_out + ((y / 2) * (q / 2) + x / 2) * channels;
        for channel in (0..channels).step_by(S::F32_LANES) {
            let from = &task.products[i * task.row + channel..];
            let from = Strided::<S, SIDE, SIDE>::new(from, [SIDE * task.plane, task.plane]);
            let affine = if PLAIN { [simd.splat_f32s(0.0); 2] } else { task.end.affine::<S>(simd, channel) };
            let affine_then = then.map(|then| then.affine::<S>(simd, channel));
            // The row above, and the result to the left.
            let (mut above, mut left) = ([simd.splat_f32s(0.0); POOLED], simd.splat_f32s(0.0));
            transform::square(
                &mut half,
                #[inline(always)]
                |i, j| from.load(i, j),
                #[inline(always)]
                |m| transform::result_side::<S, SIDE, POOLED>(simd, m),
                #[inline(always)]
                |i, j, mut result| {
                    if !PLAIN {
                        result = task.end.end::<S>(simd, result, affine);
                    }
                    if i % 2 == 0 {
                        above[j] = result;
                    } else if j % 2 == 0 {
                        left = result;
                    } else if i / 2 < rows && j / 2 < columns {
                        let to = at + (i / 2 * (q / 2) + j / 2) * channels + channel;
                        let mut largest = largest(simd, [above[j - 1], above[j], left, result]);
                        if let (Some(then), Some(affine)) = (then, affine_then) {
                            largest = then.end::<S>(simd, largest, affine);
                        }
                        store(simd, &mut task.out[to..][..S::F32_LANES.min(channels - channel)], largest);
                    }
                },
            );
        }
    }
}
