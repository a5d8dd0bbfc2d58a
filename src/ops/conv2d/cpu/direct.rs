//! Convolution on the CPU: no patch matrix is built, tiles of the result stay in registers.
//!
//! In `[h, w, c]` order the taps of one kernel row over all channels are one contiguous run of the image. So an output
//! pixel is a sum over kernel rows of `run . weights`, and a tile of PIXELS x VECTORS x lanes results is kept in
//! registers while the run is walked once: one broadcast of an image value serves VECTORS multiply-adds, and one load
//! of weights serves PIXELS. The transposed convolution is the same walk over flipped weights, one walk for each
//! residue of the stride; the derivative with respect to the weights swaps which of the three is kept in registers.

use pulp::{Simd, WithSimd};

mod along;
mod gradient;
mod rows;
mod spread;

pub use gradient::grad_w;
pub use spread::Spread;

use super::frame::Frame;
use crate::lines::LINE;
use crate::ops::conv2d::Geometry;
use crate::ops::epilogue::{Finish, Ready};
use crate::ops::pool::largest_of_four;
use crate::ops::tile::{lanes, store_tile, vectors, width, with_tile};
use crate::parallel::{block, parallel_chunks, scratch};

/// Words of a result that are pooled at once: a third of a first-level cache, the rest of which holds images and
/// weights.
const BAND: usize = 1 << 12;

/// Where a walk goes: pixel `(i, j)` of `rows x columns` reads taps of the frame from `(i * stride, j * stride)` on and
/// writes to pixel `(i * spread, j * spread)` of the result.
struct Walk {
    /// Offset of the first tap in the frame, in words.
    first: usize,
    /// Kernel rows; words of one row's run; words from one frame row to the next.
    taps: usize,
    run: usize,
    frame_row: usize,
    rows: usize,
    columns: usize,
    step_row: usize,
    step_column: usize,
    /// Offsets in the result, in words: of the first pixel, from row to row, from pixel to pixel.
    out_first: usize,
    out_row: usize,
    out_column: usize,
    /// Channels of the result and the weights for them, in the order the walk needs.
    channels: usize,
    weights: Weights,
}

/// How a walk's vectors lie, with its weights in that order.
enum Weights {
    /// Across channels of the result: [`pack`]'s panels.
    Across(Vec<f32>),
    /// Along the run, for channels too few to fill a vector: `[channel][tap row][run]`, runs padded with zeros.
    Along(Vec<f32>),
}

/// Whether channels would leave most of a vector empty, while a run would fill it.
fn few(channels: usize, run: usize) -> bool {
    channels * 4 <= lanes() && run >= lanes()
}

/// The weights of a walk; `row` gives the channels of one tap of a run.
fn weights<'a>(taps: usize, run: usize, channels: usize, row: impl Fn(usize, usize) -> &'a [f32]) -> Weights {
    if !few(channels, run) {
        return Weights::Across(pack(taps, run, channels, row));
    }
    let padded = run.next_multiple_of(lanes());
    let mut weights = vec![0.0; channels * taps * padded];
    for (tap, j) in (0..taps).flat_map(|t| (0..run).map(move |j| (t, j))) {
        for (channel, weight) in row(tap, j)[..channels].iter().enumerate() {
            weights[(channel * taps + tap) * padded + j] = *weight;
        }
    }
    Weights::Along(weights)
}

/// Weights as `[block of channels][tap row][run][vectors * lanes]`, channels padded by zeros; `row` gives the
/// channels of one tap of a run.
fn pack<'a>(taps: usize, run: usize, channels: usize, row: impl Fn(usize, usize) -> &'a [f32]) -> Vec<f32> {
    let width = width(channels);
    let mut panels = vec![0.0; channels.div_ceil(width) * taps * run * width];
    let block_len = (taps * run * width).max(1);
    for (tap, j) in (0..taps).flat_map(|t| (0..run).map(move |j| (t, j))) {
        for (block, from) in row(tap, j)[..channels].chunks(width).enumerate() {
            panels[block * block_len + (tap * run + j) * width..][..from.len()].copy_from_slice(from);
        }
    }
    panels
}

struct Correlate<'a> {
    walk: &'a Walk,
    /// All rows of the walk, or the first of them.
    rows: usize,
    frame: &'a [f32],
    out: &'a mut [f32],
    finish: Finish<'a>,
}

impl WithSimd for Correlate<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match &self.walk.weights {
            Weights::Across(panels) => {
                let mut task = self;
                if !rows::by_rows(simd, &mut task, panels) {
                    let vectors = vectors(task.walk.channels, S::F32_LANES);
                    with_tile!(S, vectors, correlate, simd, task, panels);
                }
            }
            Weights::Along(weights) => along::along(simd, self, weights),
        }
    }
}

#[inline(always)]
fn correlate<S: Simd, const PIXELS: usize, const VECTORS: usize>(simd: S, mut task: Correlate, panels: &[f32]) {
    let walk = task.walk;
    let (width, count) = (VECTORS * S::F32_LANES, task.rows * walk.columns);
    for (block, panel) in panels.chunks_exact((walk.taps * walk.run * width).max(1)).enumerate() {
        let panel = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>().0;
        let mut first = 0;
        while first < count {
            // What is left at the end is finished with the smallest tile that holds it.
            first += match count - first {
                0..=3 => pixels::<S, 3, VECTORS>(simd, &mut task, panel, block, first),
                4..=6 => pixels::<S, 6, VECTORS>(simd, &mut task, panel, block, first),
                7..=8 if PIXELS > 8 => pixels::<S, 8, VECTORS>(simd, &mut task, panel, block, first),
                _ => pixels::<S, PIXELS, VECTORS>(simd, &mut task, panel, block, first),
            };
        }
    }
}

/// What the sums of a block of channels start from.
#[inline(always)]
fn begin<S: Simd, const VECTORS: usize>(simd: S, finish: &Finish, block: usize) -> [S::f32s; VECTORS] {
    let mut begin = [simd.splat_f32s(0.0); VECTORS];
    for (v, begin) in begin.iter_mut().enumerate() {
        *begin = finish.begin::<S>(simd, (block * VECTORS + v) * S::F32_LANES);
    }
    begin
}

/// Sums a tile of pixels, from number `first` on, in one block of channels; returns how many pixels it has room for.
#[inline(always)]
fn pixels<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    simd: S,
    task: &mut Correlate,
    panel: &[[S::f32s; VECTORS]],
    block: usize,
    first: usize,
) -> usize {
    let Correlate { walk, rows, frame, out, finish } = task;
    let (taps, run, width) = (walk.taps, walk.run, VECTORS * S::F32_LANES);
    let pixels = PIXELS.min(*rows * walk.columns - first);
    // Where each pixel of the tile reads and writes; a short tile repeats its last pixel.
    let (mut from, mut to) = ([0usize; PIXELS], [0usize; PIXELS]);
    let (row, mut column) = (first / walk.columns, first % walk.columns);
    let mut row = [walk.first + row * walk.step_row, walk.out_first + row * walk.out_row + block * width];
    let mut at = [row[0] + column * walk.step_column, row[1] + column * walk.out_column];
    for i in 0..PIXELS {
        [from[i], to[i]] = at;
        if i + 1 < pixels {
            column += 1;
            at = [at[0] + walk.step_column, at[1] + walk.out_column];
            if column == walk.columns {
                column = 0;
                row = [row[0] + walk.step_row, row[1] + walk.out_row];
                at = row;
            }
        }
    }
    let mut sums = [begin::<S, VECTORS>(simd, finish, block); PIXELS];
    for tap in 0..taps {
        let weights = &panel[tap * run..][..run];
        let runs: [&[f32]; PIXELS] = std::array::from_fn(|i| &frame[from[i] + tap * walk.frame_row..][..run]);
        for j in 0..run {
            for i in 0..PIXELS {
                let x = simd.splat_f32s(runs[i][j]);
                for v in 0..VECTORS {
                    sums[i][v] = simd.mul_add_e_f32s(x, weights[j][v], sums[i][v]);
                }
            }
        }
    }
    let channels = (walk.channels - block * width).min(width);
    store_tile::<S, PIXELS, VECTORS>(
        simd,
        out,
        #[inline(always)]
        |i| to[i],
        [pixels, channels],
        finish.end_tile::<S, PIXELS, VECTORS>(simd, block * width, sums),
    );
    PIXELS
}

/// A convolution, or the transpose of one, as walks over each image.
pub struct Walks {
    walks: Vec<Walk>,
    frame: Option<Frame>,
    /// The source's size, the words of a result, and its channels.
    image: [usize; 3],
    image_out: usize,
    channels: usize,
}

impl Walks {
    /// `weight` is `[r, s, c, k]`.
    pub fn forward(g: &Geometry, weight: &[f32]) -> Walks {
        let frame = g.padded().then(|| frame(g));
        let width = frame.map_or(g.w, |f| f.width);
        let run = g.s * g.c;
        let walk = Walk {
            first: 0,
            taps: g.r,
            run,
            frame_row: width * g.c,
            rows: g.p,
            columns: g.q,
            step_row: g.stride * width * g.c,
            step_column: g.stride * g.c,
            out_first: 0,
            out_row: g.q * g.k,
            out_column: g.k,
            channels: g.k,
            weights: weights(g.r, run, g.k, |r, j| &weight[(r * run + j) * g.k..]),
        };
        Walks { walks: vec![walk], frame, image: [g.h, g.w, g.c], image_out: g.p * g.q * g.k, channels: g.k }
    }

    /// `weight` is `[r, s, k, c]`.
    pub fn transposed(g: &Geometry, weight: &[f32]) -> Walks {
        let rows = Axis::all(g.h, g.r, g.stride, g.pad_top);
        let columns = Axis::all(g.w, g.s, g.stride, g.pad_left);
        let ((top, bottom), (left, right)) = (Axis::room(&rows, g.p), Axis::room(&columns, g.q));
        let frame = Frame { height: top + g.p + bottom, width: left + g.q + right, top, left };
        let mut walks = Vec::new();
        for (row, column) in rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))) {
            if row.taps.is_empty() || column.taps.is_empty() {
                continue;
            }
            let run = column.taps.len() * g.k;
            let at = |start: isize, before: usize| (start + before as isize) as usize;
            walks.push(Walk {
                first: (at(row.start, top) * frame.width + at(column.start, left)) * g.k,
                taps: row.taps.len(),
                run,
                frame_row: frame.width * g.k,
                rows: row.count,
                columns: column.count,
                step_row: frame.width * g.k,
                step_column: g.k,
                out_first: (row.residue * g.w + column.residue) * g.c,
                out_row: g.stride * g.w * g.c,
                out_column: g.stride * g.c,
                channels: g.c,
                weights: weights(row.taps.len(), run, g.c, |tap, j| {
                    let (s, k) = (column.taps[j / g.k], j % g.k);
                    &weight[((row.taps[tap] * g.s + s) * g.k + k) * g.c..]
                }),
            });
        }
        let needs_frame = top + bottom + left + right > 0;
        Walks {
            walks,
            frame: needs_frame.then_some(frame),
            image: [g.p, g.q, g.k],
            image_out: g.h * g.w * g.c,
            channels: g.c,
        }
    }

    pub fn run(&self, source: &[f32], out: &mut [f32], end: &Ready) {
        let Walks { walks, image_out, channels, .. } = self;
        // Pixels that no walk covers stay zero.
        let covered: usize = walks.iter().map(|walk| walk.rows * walk.columns * walk.channels).sum();
        let (finish, later) = match covered < *image_out {
            true => (Finish::default(), end.of_columns(0)),
            false => end.in_registers(),
        };
        self.each_image(source, out, *image_out, 0, |n, frame, out, _| {
            if covered < *image_out {
                out.fill(0.0);
            }
            for walk in walks {
                pulp::Arch::new().dispatch(Correlate { walk, rows: walk.rows, frame, out: &mut *out, finish });
            }
            later.run(out, n * image_out, *channels);
        });
    }

    /// Max-pools the result of a convolution over windows of two by two, `out [n, p / 2, q / 2, k]`. Channels are whole
    /// vectors and the epilogue is for registers; `then` is applied to the maxima. Each band of rows is pooled while it
    /// is in the first-level cache.
    pub fn run_pooled(&self, source: &[f32], out: &mut [f32], end: Finish, then: Finish) {
        let Walks { walks, channels, .. } = self;
        let walk = &walks[0];
        // Pairs of rows in a band, and words of the pooled result that a pair makes.
        let pairs = (BAND / (2 * walk.out_row)).clamp(1, (walk.rows / 2).max(1));
        let pooled_row = walk.columns / 2 * channels;
        let band = pairs * 2 * walk.out_row;
        self.each_image(source, out, walk.rows / 2 * pooled_row, band, |_, frame, out, band| {
            for (i, out) in out.chunks_mut(pairs * pooled_row).enumerate() {
                let frame = &frame[i * pairs * 2 * walk.step_row..];
                let rows = out.len() / pooled_row * 2;
                let band = &mut band[..rows * walk.out_row];
                pulp::Arch::new().dispatch(Correlate { walk, rows, frame, out: &mut *band, finish: end });
                for (pair, out) in band.chunks_exact(2 * walk.out_row).zip(out.chunks_exact_mut(pooled_row)) {
                    largest_of_four(pair, *channels, then, out);
                }
            }
        });
    }

    /// Calls `f` with each image's number, its frame or the image itself, its part of the result, `image_out` words,
    /// and `memory` words to use, with arbitrary contents.
    fn each_image(
        &self,
        source: &[f32],
        out: &mut [f32],
        image_out: usize,
        memory: usize,
        f: impl Fn(usize, &[f32], &mut [f32], &mut [f32]) + Sync + Send,
    ) {
        let Walks { frame, image, .. } = self;
        let image_len = image.iter().product::<usize>();
        let block = block(out.len() / image_out);
        // Whole cache lines: a vector that crosses two of them is read twice.
        let framed = frame.map_or(0, |frame| frame.len(image[2]).next_multiple_of(LINE));
        parallel_chunks(out, block * image_out, |b, out| {
            scratch(framed + memory, |scratch| {
                let (scratch, memory) = scratch.split_at_mut(framed);
                if let Some(frame) = frame {
                    frame.clear(*image, scratch);
                }
                for (i, out) in out.chunks_mut(image_out).enumerate() {
                    let n = b * block + i;
                    let mut from = &source[n * image_len..][..image_len];
                    if let Some(frame) = frame {
                        frame.fill(from, *image, scratch);
                        from = scratch;
                    }
                    f(n, from, out, memory);
                }
            });
        });
    }
}

/// The frame that a forward walk needs: every tap of every output pixel.
fn frame(g: &Geometry) -> Frame {
    let height = ((g.p - 1) * g.stride + g.r).max(1);
    let width = ((g.q - 1) * g.stride + g.s).max(1);
    Frame { height, width, top: g.pad_top, left: g.pad_left }
}

/// One axis of a transposed convolution for the outputs `residue, residue + stride, ...`.
pub struct Axis {
    pub residue: usize,
    /// How many outputs, and which kernel taps reach them: `taps[u]` reads source row `i + start + u`.
    pub count: usize,
    pub taps: Vec<usize>,
    pub start: isize,
}

impl Axis {
    pub fn all(size: usize, kernel: usize, stride: usize, pad: usize) -> Vec<Axis> {
        (0..stride.min(size))
            .map(|residue| {
                // Output i * stride + residue meets tap t where i * stride + residue + pad - t divides evenly.
                let first = (residue + pad) % stride;
                let mut taps: Vec<usize> = (first..kernel).step_by(stride).collect();
                let start = ((residue + pad) / stride) as isize - taps.len() as isize + 1;
                taps.reverse();
                Axis { residue, count: (size - residue).div_ceil(stride), taps, start }
            })
            .collect()
    }
    /// Rows that the frame needs before and after the source of `source` rows.
    fn room(axes: &[Axis], source: usize) -> (usize, usize) {
        let before = axes.iter().map(|a| (-a.start).max(0)).max().unwrap_or(0) as usize;
        let end = |a: &Axis| a.start + (a.count + a.taps.len()) as isize - 1;
        let after = axes.iter().map(|a| (end(a) - source as isize).max(0)).max().unwrap_or(0) as usize;
        (before, after)
    }
}
