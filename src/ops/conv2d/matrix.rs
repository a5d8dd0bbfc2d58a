//! How a convolution is laid out for matrix units: the constants of `shaders/conv2d_matrix.wgsl`. `None` where there
//! are no such units, channels do not fill their matrices, or a workgroup does not have the memory.

use super::Geometry;
use crate::ops::kernel::MOST_INVOCATIONS;
use crate::ops::{Epilogue, Kernel, MatrixUnits, Target};

// The numbers below were chosen on an NVIDIA H200, using the ops of `best` and of networks with 5x5 and 7x7 kernels.

/// Subgroups in a workgroup.
const TEAMS: usize = 8;
/// Tiles of a result that a subgroup holds.
const HELD: usize = 16;
/// Tiles of channels side by side.
const COLUMN_TILES: usize = 5;

/// What the kernels have in common.
struct Layout {
    units: MatrixUnits,
    teams: usize,
    /// Tiles of the result's channels that a workgroup takes, and how many workgroups take all of them.
    column_tiles: usize,
    column_groups: usize,
    grid: [usize; 2],
}

impl Layout {
    /// `most`: the most tiles of channels that a subgroup may hold.
    fn new(g: &Geometry, target: Target, inner: usize, outer: usize, most: usize) -> Option<Layout> {
        let units = target.matrices?;
        if !inner.is_multiple_of(units.edge) || !outer.is_multiple_of(units.edge) {
            return None;
        }
        let tiles = outer / units.edge;
        let column_tiles = (1..=most.min(COLUMN_TILES)).rev().find(|n| tiles.is_multiple_of(*n))?;
        let teams = TEAMS.min(MOST_INVOCATIONS / units.subgroup).max(1);
        // Wide enough for the last pixel's last tap.
        let grid = [g.p + g.r.div_ceil(g.stride) - 1, g.q + g.s.div_ceil(g.stride) - 1];
        Some(Layout { units, teams, column_tiles, column_groups: tiles / column_tiles, grid })
    }
    /// Vectors of four in a stored row of this many channels: rows begin an odd multiple of 4 banks apart.
    fn pitch(&self, channels: usize) -> usize {
        channels / 4 + if channels.is_multiple_of(16) { 2 } else { 0 }
    }
    fn column_pitch(&self) -> usize {
        self.pitch(self.column_tiles * self.units.edge)
    }
    /// Whether a workgroup can keep this many vectors of four, and a tile for each team.
    fn fits(&self, vectors: usize) -> bool {
        8 * vectors + 4 * self.teams * self.units.edge * self.units.edge <= self.units.memory
    }
    fn constants(&self, kernel: Kernel, window: usize) -> Kernel {
        kernel
            .with("EDGE", self.units.edge)
            .with("QUADS", self.units.edge / 4)
            .with("LANES", self.units.subgroup)
            .with("TEAMS", self.teams)
            .with("COLUMN_TILES", self.column_tiles)
            .with("COLUMN_GROUPS", self.column_groups)
            .with("GRID_H", self.grid[0])
            .with("GRID_W", self.grid[1])
            .with("WINDOW", window)
            .with("PITCH", self.pitch(self.units.edge))
            .with("COLUMN_PITCH", self.column_pitch())
    }
}

/// As `super::gpu::forward`, for 16-bit input.
pub fn forward(g: &Geometry, epilogue: Epilogue, target: Target) -> Option<Kernel> {
    let layout = Layout::new(g, target, g.c, g.k, HELD)?;
    let kernel = over_positions(g, layout, "forward", target, 1)?;
    Some(epilogue.constants(sizes(kernel, g, [g.h, g.w, g.c], [g.p, g.q, g.k])).with("HAS_ADDEND", false))
}

/// As `super::gpu::grad_x`, for 16-bit `d_out`.
pub fn grad_x(g: &Geometry, epilogue: Epilogue, target: Target) -> Option<Kernel> {
    let mut layout = Layout::new(g, target, g.k, g.c, HELD)?;
    // Pixels that no tap meets are written as well.
    let reach = [(g.h - 1 + g.pad_top) / g.stride + 1, (g.w - 1 + g.pad_left) / g.stride + 1];
    layout.grid = [layout.grid[0].max(reach[0]), layout.grid[1].max(reach[1])];
    let kernel = over_positions(g, layout, "grad_x", target, g.stride * g.stride)?;
    Some(epilogue.constants(sizes(kernel, g, [g.p, g.q, g.k], [g.h, g.w, g.c])).with("HAS_ADDEND", false))
}

/// `grids`: how many the result has.
fn over_positions(
    g: &Geometry,
    mut layout: Layout,
    entry: &'static str,
    target: Target,
    grids: usize,
) -> Option<Kernel> {
    let [lines, taps] = [g.r.div_ceil(g.stride), g.s.div_ceil(g.stride)];
    let halo = (lines - 1) * layout.grid[1] + taps - 1;
    let edge = layout.units.edge;
    let positions = g.n * layout.grid[0] * layout.grid[1];
    // Fewer positions at a time where more would leave a device without work.
    let wanted = target.busy / (MOST_INVOCATIONS * TEAMS);
    let most_teams = layout.teams;
    let ways = [(2, most_teams), (1, most_teams), (1, most_teams.div_ceil(2))];
    let groups = |(row_tiles, teams): (usize, usize)| {
        positions.div_ceil(row_tiles * teams * edge) * layout.column_groups * grids
    };
    let way = ways.into_iter().find(|way| groups(*way) >= wanted).unwrap_or(ways[2]);
    let ((row_tiles, teams), groups) = (way, groups(way));
    layout.teams = teams;
    let block = row_tiles * teams * edge;
    let window = block + halo;
    if !layout.fits(window * layout.pitch(edge) + taps * edge * layout.column_pitch()) {
        return None;
    }
    let kernel = Kernel::groups("conv2d_matrix", entry, groups)
        .with("ROW_TILES", row_tiles)
        .with("BLOCK", block)
        .with("HALO", halo)
        .with("LINES", lines)
        .with("TAPS", taps)
        .with("PHASES", g.stride)
        .with("RAGGED", !g.r.is_multiple_of(g.stride) || !g.s.is_multiple_of(g.stride));
    Some(layout.constants(kernel, window))
}

/// As `super::gpu::grad_w`, for 16-bit input and `d_out`.
pub fn grad_w(g: &Geometry, images_per_part: usize, target: Target) -> Option<Kernel> {
    let layout = Layout::new(g, target, g.c, g.k, HELD / g.s)?;
    let edge = layout.units.edge;
    let phases = g.stride.min(g.s);
    let block = layout.teams * edge;
    let window = block + (g.s - 1) / g.stride;
    if !layout.fits(phases * window * layout.pitch(edge) + block * layout.column_pitch()) {
        return None;
    }
    let parts = g.n.div_ceil(images_per_part);
    let kernel = Kernel::groups("conv2d_matrix", "grad_w", parts * g.r * (g.c / edge) * layout.column_groups)
        .with("BLOCK", block)
        .with("PHASES", phases)
        .with("PARTS", parts)
        .with("IMAGES_PER_PART", images_per_part);
    Some(sizes(layout.constants(kernel, window), g, [g.h, g.w, g.c], [g.p, g.q, g.k]))
}

/// Names of its own, since A, B and C are the kinds of matrices in the shader.
fn sizes(kernel: Kernel, g: &Geometry, source: [usize; 3], out: [usize; 3]) -> Kernel {
    let named = [
        ("N", g.n),
        ("R", g.r),
        ("S", g.s),
        ("STRIDE", g.stride),
        ("PAD_TOP", g.pad_top),
        ("PAD_LEFT", g.pad_left),
        ("SOURCE_H", source[0]),
        ("SOURCE_W", source[1]),
        ("INNER", source[2]),
        ("OUT_H", out[0]),
        ("OUT_W", out[1]),
        ("OUTER", out[2]),
    ];
    named.into_iter().fold(kernel, |kernel, (name, value)| kernel.with(name, value))
}
