//! Winograd's convolution: fewer multiplications for sums along both sides of an image.
//!
//! A tile of `side x side` image values and a kernel of `taps x taps` give `(side + 1 - taps)^2` results from `side^2`
//! products for each pair of channels, where the plain sum takes `taps^2` for each result. With six values that is a
//! quarter for 3x3 kernels; with five, which overshoot an image of 7 x 7 by less, it is half for 2x2 kernels. The
//! products of many tiles are `side^2` matrix products over the channels, called planes. A stride, or a transposed
//! convolution with one, is the same with phases: an image of every second row and column is a channel of its own. A
//! kernel too long for a tile is cut into several parts that are treated likewise: each part sees the image shifted by
//! those before it.

use super::direct;
use super::frame::{Frame, SLACK};
use crate::ops::conv2d::Geometry;
use crate::ops::tile::width;

mod correlate;
mod gradient;
mod panels;
mod scatter;
mod transform;

pub use correlate::Tiles;
pub use gradient::gradient;
pub use scatter::Scatter;
use transform::Tile;

/// Words between the planes of a buffer, so that the planes do not all begin at the same place in the cache.
const GAP: usize = 32;

/// The cost of the transforms for each tile of six by six and each channel, in vector multiply-adds (two a cycle).
/// Measured, not counted: the transforms wait for memory.
const READ: usize = 420;
const WRITE: usize = 320;
/// As `READ`, where values are added to pixels.
const ADD: usize = 520;
/// The cost of the kernel's matrices, which are made once for a batch and are more than caches hold, in quarters of a
/// tile's products: for about a hundred images.
const MATRICES: usize = 3;

/// How an image is cut into tiles.
#[derive(Clone, Debug)]
pub struct Tiling {
    tile: Tile,
    /// Tiles of one image.
    rows: usize,
    columns: usize,
    /// The source with its borders, its `[height, width, channels]` without them, and how its tiles lie in the frame.
    frame: Frame,
    source: [usize; 3],
    inner: Lattice,
    /// The result, `[height, width, channels]`.
    result: [usize; 3],
    outer: Lattice,
    /// Which tap of the kernel each phase meets at each place, along both sides; the kernel's columns; and whether the
    /// result has the phases, or the source.
    kernel: [Vec<Vec<Option<usize>>>; 2],
    kernel_columns: usize,
    phases_of_result: bool,
}

/// Tiles of a transposed convolution: of its result, for [`Tiles`], or of its source, for [`Scatter`].
pub enum Transposed {
    OfResult(Tiling),
    OfSource(Tiling),
}

/// Pixels of one or more phases: where each phase begins, and the words from pixel to pixel.
#[derive(Clone, Debug)]
struct Lattice {
    phases: Vec<Phase>,
    row: usize,
    column: usize,
}

/// The first pixel in words, and how many rows and columns there are.
#[derive(Clone, Copy, Debug)]
struct Phase {
    first: usize,
    rows: usize,
    columns: usize,
}

/// One side of an image under a kernel.
struct Axis {
    tile: Tile,
    /// For each phase, the kernel's tap at each place of the tile's kernel.
    phases: Vec<Vec<Option<usize>>>,
    /// Rows of the frame before the first of each phase of the source.
    starts: Vec<usize>,
    /// Rows of the frame before the source.
    before: usize,
    /// Which rows of the result each phase makes: the first, and how many.
    makes: Vec<(usize, usize)>,
}

impl Axis {
    fn forward(kernel: usize, stride: usize, pad: usize, results: usize, tile: Tile) -> Axis {
        let taps = tile.taps;
        let parts = kernel.div_ceil(stride).div_ceil(taps);
        let (mut phases, mut starts) = (Vec::new(), Vec::new());
        for (part, phase) in (0..parts).flat_map(|part| (0..stride.min(kernel)).map(move |phase| (part, phase))) {
            let start = part * taps * stride + phase;
            phases.push((0..taps).map(|place| Some(start + place * stride).filter(|tap| *tap < kernel)).collect());
            starts.push(start);
        }
        Axis { tile, phases, starts, before: pad, makes: vec![(0, results)] }
    }

    /// `None` where the kernel begins inside the source, or is too long for a tile and also has a stride.
    fn transposed(kernel: usize, stride: usize, pad: usize, results: usize, tile: Tile) -> Option<Axis> {
        let taps = tile.taps;
        let residues = direct::Axis::all(results, kernel, stride, pad);
        let reached = || residues.iter().filter(|axis| !axis.taps.is_empty());
        let start = reached().map(|axis| axis.start).min()?;
        let end = reached().map(|axis| axis.start + axis.taps.len() as isize).max()?;
        let long = (end - start) as usize;
        if long > taps && residues.len() > 1 {
            return None;
        }
        let phase = |axis: &direct::Axis| {
            let mut places = vec![None; long.next_multiple_of(taps)];
            let first = (axis.start - start).max(0) as usize;
            places.iter_mut().skip(first).zip(&axis.taps).for_each(|(place, tap)| *place = Some(*tap));
            places
        };
        let phases: Vec<_> = residues.iter().map(phase).collect();
        Some(Axis {
            tile,
            // Phases of the result, or parts of the only phase.
            phases: phases.iter().flat_map(|places| places.chunks(taps)).map(<[_]>::to_vec).collect(),
            starts: (0..long).step_by(taps).collect(),
            before: usize::try_from(-start).ok()?,
            makes: residues.iter().map(|axis| (axis.residue, axis.count)).collect(),
        })
    }

    fn tiles(&self) -> usize {
        self.makes.iter().map(|(_, count)| count.div_ceil(self.tile.results())).max().unwrap_or(0)
    }
    /// Rows that the tiles of one phase read.
    fn reads(&self) -> usize {
        self.tiles() * self.tile.results() + self.tile.taps - 1
    }
}

impl Tiling {
    /// For a convolution, if tiles are faster.
    pub fn forward(g: &Geometry) -> Option<Tiling> {
        cheapest(Tiling::of_forward(g), Tiling::cost, plain(g)).map(|(_, tiling)| tiling)
    }

    /// For a convolution's derivative with respect to the input, which is the transposed convolution.
    pub fn transposed(g: &Geometry) -> Option<Transposed> {
        // Borders are summed as well.
        let sums = |size, kernel, pad| -> usize {
            direct::Axis::all(size, kernel, g.stride, pad).iter().map(|axis| axis.count * axis.taps.len()).sum()
        };
        let plain = sums(g.h, g.r, g.pad_top) * sums(g.w, g.s, g.pad_left) * g.c * g.k;
        let made = cheapest(Tiling::of_transposed(g), Tiling::cost, plain);
        let read = cheapest(Tiling::of_forward(g), Tiling::cost_scattered, plain);
        match (made, read) {
            (Some((cost, made)), Some((other, _))) if cost <= other => Some(Transposed::OfResult(made)),
            (_, Some((_, read))) => Some(Transposed::OfSource(read)),
            (made, None) => made.map(|(_, made)| Transposed::OfResult(made)),
        }
    }

    /// For a convolution's derivative with respect to the weights.
    pub fn gradient(g: &Geometry, images_per_part: usize) -> Option<Tiling> {
        // The sums of a part are transformed once.
        let once = |t: &Tiling| t.tile.planes() * t.channels_in() * t.channels_out() * 8 / images_per_part.max(1);
        cheapest(Tiling::of_forward(g), |tiling| tiling.cost_of_images([READ, WRITE]) + once(tiling), plain(g))
            .map(|(_, tiling)| tiling)
    }

    /// All tilings for a transposed convolution.
    pub(super) fn of_transposed(g: &Geometry) -> impl Iterator<Item = Tiling> {
        let tiling = |tile| {
            let rows = Axis::transposed(g.r, g.stride, g.pad_top, g.h, tile)?;
            let columns = Axis::transposed(g.s, g.stride, g.pad_left, g.w, tile)?;
            Some(Tiling::new([rows, columns], 1, g.s, [g.p, g.q, g.k], [g.h, g.w, g.c]))
        };
        Tile::ALL.into_iter().filter_map(tiling)
    }

    /// All tilings for a convolution.
    pub(super) fn of_forward(g: &Geometry) -> impl Iterator<Item = Tiling> {
        let tiling = |tile| {
            let rows = Axis::forward(g.r, g.stride, g.pad_top, g.p, tile);
            let columns = Axis::forward(g.s, g.stride, g.pad_left, g.q, tile);
            Tiling::new([rows, columns], g.stride, g.s, [g.h, g.w, g.c], [g.p, g.q, g.k])
        };
        Tile::ALL.into_iter().map(tiling)
    }

    fn new(
        [rows, columns]: [Axis; 2],
        stride: usize,
        kernel_columns: usize,
        source: [usize; 3],
        result: [usize; 3],
    ) -> Tiling {
        let [last_row, last_column] = [&rows, &columns].map(|axis| axis.starts.last().copied().unwrap_or(0));
        let frame = Frame {
            height: stride * rows.reads() + last_row,
            width: stride * columns.reads() + last_column,
            top: rows.before,
            left: columns.before,
        };
        let phases_of_result = rows.makes.len() * columns.makes.len() > 1;
        let ([_, _, c], [_, w, k]) = (source, result);
        let mut inner = Vec::new();
        for (i, j) in rows.starts.iter().flat_map(|i| columns.starts.iter().map(move |j| (i, j))) {
            inner.push(Phase { first: (i * frame.width + j) * c, rows: rows.reads(), columns: columns.reads() });
        }
        let mut outer = Vec::new();
        for (row, column) in rows.makes.iter().flat_map(|r| columns.makes.iter().map(move |c| (r, c))) {
            outer.push(Phase { first: (row.0 * w + column.0) * k, rows: row.1, columns: column.1 });
        }
        let step = [rows.makes.len(), columns.makes.len()];
        Tiling {
            tile: rows.tile,
            rows: rows.tiles(),
            columns: columns.tiles(),
            frame,
            source,
            inner: Lattice { phases: inner, row: stride * frame.width * c, column: stride * c },
            result,
            outer: Lattice { phases: outer, row: step[0] * w * k, column: step[1] * k },
            kernel: [rows.phases, columns.phases],
            kernel_columns,
            phases_of_result,
        }
    }

    fn channels_in(&self) -> usize {
        self.inner.phases.len() * self.source[2]
    }
    fn channels_out(&self) -> usize {
        self.outer.phases.len() * self.result[2]
    }
    /// Results along one side of a tile.
    fn results(&self) -> usize {
        self.tile.results()
    }
    /// The result with room for whole tiles of it.
    fn whole_tiles(&self) -> Frame {
        let side = self.results();
        Frame { height: self.rows * side, width: self.columns * side, top: 0, left: 0 }
    }

    /// The cost of one image, in vector multiply-adds.
    fn cost(&self) -> usize {
        self.cost_of_images([READ, WRITE]) + self.cost_of_matrices()
    }

    /// The same where the tiles are used in reverse, which swaps the transforms.
    fn cost_scattered(&self) -> usize {
        self.cost_of_images([ADD, WRITE]) + self.cost_of_matrices()
    }

    fn cost_of_matrices(&self) -> usize {
        self.tile.planes() * self.channels_in() * self.channels_out() * MATRICES / 4
    }

    fn cost_of_images(&self, [of_source, of_result]: [usize; 2]) -> usize {
        let (c, k, planes) = (self.channels_in(), self.channels_out(), self.tile.planes());
        self.rows * self.columns * (planes * c * k + (of_source * c + of_result * k) * planes / 36)
    }

    /// Whether `cost` is less than plain sums take. Only sizes decide, not the batch, so that an image has the same
    /// result alone or among others.
    fn pays(&self, cost: usize, plain: usize) -> bool {
        // Few channels leave vectors empty.
        self.channels_in() >= 8 && self.channels_out() >= 8 && cost < plain * 5 / 6
    }

    /// Words of a tile's row of results, padded to whole register tiles.
    fn row_out(&self) -> usize {
        padded(self.channels_out())
    }

    /// Tiles that are worked on at once: enough that a matrix of weights is read from memory for many rows, few enough
    /// that what lies between the transforms stays in the second-level cache.
    fn group(&self) -> usize {
        const CACHE: usize = 1 << 18;
        (CACHE / (self.tile.planes() * (self.channels_in() + self.row_out()))).clamp(24, 48)
    }

    fn images_at_once(&self, group: usize) -> usize {
        group.div_ceil(self.rows * self.columns) + 1
    }
}

/// The least cost and its tiling, if that is less than plain sums take.
fn cheapest(
    tilings: impl Iterator<Item = Tiling>,
    cost: impl Fn(&Tiling) -> usize,
    plain: usize,
) -> Option<(usize, Tiling)> {
    let tilings = tilings.map(|tiling| (cost(&tiling), tiling)).filter(|(cost, tiling)| tiling.pays(*cost, plain));
    tilings.min_by_key(|(cost, _)| *cost)
}

/// Multiply-adds of one image.
fn plain(g: &Geometry) -> usize {
    g.p * g.q * g.r * g.s * g.c * g.k
}

/// Channels padded to whole register tiles.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(width(channels))
}

/// Splits `memory` into parts of these lengths.
fn split<const N: usize>(mut memory: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|length| {
        let (part, rest) = std::mem::take(&mut memory).split_at_mut(length);
        memory = rest;
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_seven_pixels_leave_of_larger_tiles_is_not_summed() {
        // `gan`'s first and second transposed convolutions, and the second of its discriminator.
        let side = |image, kernel: [usize; 2], result, reach| {
            let g = Geometry::new(image, kernel, result, reach);
            match Tiling::transposed(&g) {
                Some(Transposed::OfResult(tiling) | Transposed::OfSource(tiling)) => Some(tiling.tile.side),
                None => None,
            }
        };
        assert_eq!(side([1, 14, 14, 32], [4, 4], [7, 7, 64], [2, 1, 1]), Some(5));
        assert_eq!(side([1, 28, 28, 16], [4, 4], [14, 14, 32], [2, 1, 1]), Some(6));
        let g = Geometry::new([1, 14, 14, 32], [4, 4], [7, 7, 64], [2, 1, 1]);
        assert_eq!(Tiling::forward(&g).map(|tiling| tiling.tile.side), Some(5));
        // Too few pixels for that many weights, each of which is in a tile's matrices nearly twice.
        let g = Geometry::new([1, 7, 7, 64], [3, 3], [4, 4, 128], [2, 1, 1]);
        assert!(Tiling::forward(&g).is_none());
    }
}
