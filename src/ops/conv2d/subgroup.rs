//! How a convolution is laid out on a driver that runs on the CPU: the constants of `shaders/conv2d_subgroup.wgsl`.
//! `None` where there are too few channels for a subgroup, or there is no subgroup.

// The numbers below were chosen on lavapipe with registers of eight numbers, using the ops of `avgcnn`.

use super::Geometry;
use super::gpu::{images, sizes, window};
use crate::ops::subgroup::{Channels, PRODUCTS, share};
use crate::ops::{Epilogue, Kernel};

/// The most pixels that a workgroup takes.
const PIXELS: usize = 28;

/// The pixels that a workgroup takes of a result of `rows` and `columns`.
struct Tile {
    rows: usize,
    pixels: usize,
    tiles: [usize; 2],
}

impl Tile {
    fn of(rows: usize, columns: usize, products_of_one: usize) -> Tile {
        let most = (PRODUCTS / products_of_one).clamp(1, PIXELS);
        let pixels = share(columns, most.min(PIXELS / 2));
        let tile_rows = share(rows, most / pixels);
        Tile { rows: tile_rows, pixels, tiles: [rows.div_ceil(tile_rows), columns.div_ceil(pixels)] }
    }
    fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }
    /// For `taps` in a row, where neighbouring pixels meet the source `step` apart.
    fn constants(&self, kernel: Kernel, taps: usize, step: usize, lanes: usize) -> Kernel {
        let line = (self.pixels - 1) * step + taps;
        window(kernel, taps, step, 0)
            .with("ROWS", self.rows)
            .with("PIXELS", self.pixels)
            .with("TILES_Y", self.tiles[0])
            .with("TILES_X", self.tiles[1])
            .with("LINE", line)
            .with("LOADS", (self.rows * line).div_ceil(lanes))
    }
}

pub fn forward(g: &Geometry, epilogue: Epilogue, lanes: usize) -> Option<Kernel> {
    let channels = Channels::of(g.k, lanes)?;
    let tile = Tile::of(g.p, g.q, g.s * channels.held());
    let kernel = channels
        .kernel("conv2d_subgroup", "forward", g.n * tile.count())
        .with("HAS_ADDEND", false)
        .with("APART", 1usize)
        .with("PHASES_Y", 1usize)
        .with("PHASES_X", 1usize)
        .with("RAGGED", false)
        .rounds(g.r * (g.c + 1));
    let kernel = images(tile.constants(kernel, g.s, g.stride, lanes), g, [g.h, g.w, g.c], [g.p, g.q, g.k]);
    Some(epilogue.constants(kernel))
}

pub fn grad_x(g: &Geometry, epilogue: Epilogue, lanes: usize) -> Option<Kernel> {
    let channels = Channels::of(g.c, lanes)?;
    let taps = g.s.div_ceil(g.stride);
    let phases = [g.stride.min(g.h), g.stride.min(g.w)];
    let tile = Tile::of(g.h.div_ceil(g.stride), g.w.div_ceil(g.stride), taps * channels.held());
    let kernel = channels
        .kernel("conv2d_subgroup", "grad_x", g.n * tile.count() * phases[0] * phases[1])
        .with("HAS_ADDEND", false)
        .with("APART", g.stride)
        .with("PHASES_Y", phases[0])
        .with("PHASES_X", phases[1])
        .with("RAGGED", !g.s.is_multiple_of(g.stride))
        .rounds(g.r * (g.k + 1));
    let kernel = images(tile.constants(kernel, taps, 1, lanes), g, [g.p, g.q, g.k], [g.h, g.w, g.c]);
    Some(epilogue.constants(kernel))
}

pub fn grad_w(g: &Geometry, images_per_part: usize, lanes: usize) -> Option<Kernel> {
    let channels = Channels::of(g.k, lanes)?;
    let pairs = g.r * g.c;
    let held = pairs.min(lanes);
    let pixels = share(g.q, (2 * PRODUCTS / (g.s * held * channels.held())).clamp(1, lanes));
    let (parts, pair_groups) = (g.n.div_ceil(images_per_part), pairs.div_ceil(held));
    let kernel = channels
        .kernel("conv2d_subgroup", "grad_w", parts * pair_groups)
        .with("HAS_ADDEND", false)
        .with("HELD", held)
        .with("PAIR_GROUPS", pair_groups)
        .with("PARTS", parts)
        .with("IMAGES_PER_PART", images_per_part)
        .with("PIXELS", pixels)
        .with("LINE", (pixels - 1) * g.stride + g.s)
        .rounds(images_per_part * (g.p * (g.q.div_ceil(pixels) + 1) + 1));
    Some(Epilogue::NONE.constants(sizes(kernel, g)))
}
