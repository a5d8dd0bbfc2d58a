//! How a convolution is laid out on a GPU: the constants and workgroups of `shaders/conv2d.wgsl`.

use super::Geometry;
use crate::ops::{Epilogue, Kernel};

/// Invocations side by side, over the innermost size.
struct Lanes {
    width: usize,
    height: usize,
    groups: usize,
}

impl Lanes {
    fn over(channels: usize) -> Lanes {
        if channels < 16 {
            // Too few to fill a workgroup: several tiles share one.
            let width = channels.next_power_of_two();
            Lanes { width, height: 64 / width, groups: 1 }
        } else {
            let groups = channels.div_ceil(64);
            let width = channels.div_ceil(groups).next_multiple_of(8);
            Lanes { width, height: 1, groups }
        }
    }

    /// A kernel over `units` tiles, each for all channels.
    fn kernel(&self, entry: &'static str, units: usize) -> Kernel {
        Kernel::groups("conv2d", entry, units.div_ceil(self.height) * self.groups)
            .with("LANES", self.width)
            .with("HEIGHT", self.height)
            .with("CHANNEL_GROUPS", self.groups)
    }
}

/// How many of `count` pieces of work one invocation takes, at most 16: more share more, but few are left over.
fn share(count: usize) -> usize {
    (1..=16).rev().min_by_key(|share| count.div_ceil(*share) * (share + 2)).unwrap_or(1)
}

/// Taps of one row that meet the same stretch of input: while it slides over the pixels of a tile by `step`, each
/// input is read once.
fn window(kernel: Kernel, taps: usize, step: usize) -> Kernel {
    let fresh = taps.min(step);
    kernel.with("TAPS", taps).with("STEP", step).with("FRESH", fresh).with("KEPT", taps - fresh)
}

/// Input `[n, h, w, c]`, weight `[r, s, c, k]`, then the epilogue's inputs; out `[n, p, q, k]`.
pub fn forward(g: &Geometry, epilogue: Epilogue) -> Kernel {
    let pixels = share(g.q);
    let tiles = g.q.div_ceil(pixels);
    let kernel = Lanes::over(g.k)
        .kernel("forward", g.n * g.p * tiles)
        .with("PIXELS", pixels)
        .with("TILES", tiles)
        .with("PHASES", 1usize)
        .with("RAGGED", false)
        .with("PADDED", g.padded());
    let kernel = images(window(kernel, g.s, g.stride), g, [g.h, g.w, g.c], [g.p, g.q, g.k]);
    epilogue.constants(kernel)
}

/// `d_out [n, p, q, k]`, weight `[r, s, k, c]`, then the epilogue's inputs; out `[n, h, w, c]`. Also the transposed
/// convolution.
pub fn grad_x(g: &Geometry, epilogue: Epilogue) -> Kernel {
    let phases = g.stride.min(g.w);
    let row = g.w.div_ceil(g.stride);
    let pixels = share(row);
    let tiles = row.div_ceil(pixels);
    let taps = g.s.div_ceil(g.stride);
    // The leftmost pixel meets d_out at or after its start, and the rightmost before its end, only without a border.
    let padded = taps > 1 || g.pad_left > 0 || (g.w - 1) / g.stride >= g.q;
    let kernel = Lanes::over(g.c)
        .kernel("grad_x", g.n * g.h * phases * tiles)
        .with("PIXELS", pixels)
        .with("TILES", tiles)
        .with("PHASES", phases)
        .with("RAGGED", !g.s.is_multiple_of(g.stride))
        .with("PADDED", padded);
    let kernel = images(window(kernel, taps, 1), g, [g.p, g.q, g.k], [g.h, g.w, g.c]);
    epilogue.constants(kernel)
}

/// Input `[n, h, w, c]`, `d_out [n, p, q, k]`; out `[parts, r, s, c, k]`, where `parts` is `n / images_per_part`,
/// rounded up.
pub fn grad_w(g: &Geometry, images_per_part: usize) -> Kernel {
    let tiles = grad_w_tiles(g);
    let parts = g.n.div_ceil(images_per_part);
    let pixels = share(g.q);
    let whole = g.q.is_multiple_of(pixels);
    let kernel = Lanes::over(g.k)
        .kernel("grad_w", parts * tiles)
        .with("PIXELS", pixels)
        .with("TILES", tiles)
        .with("PARTS", parts)
        .with("IMAGES_PER_PART", images_per_part)
        .with("VECTOR", g.c.is_multiple_of(4))
        // A last tile past the row's end reads past the image's as well.
        .with("PADDED", g.padded() || !whole)
        .with("WHOLE", whole);
    sizes(window(kernel, g.s, g.stride), g)
}

/// An invocation of [`grad_w`] takes the taps of one row of the kernel, for one or four input channels.
fn grad_w_tiles(g: &Geometry) -> usize {
    g.r * if g.c.is_multiple_of(4) { g.c / 4 } else { g.c }
}

fn images(kernel: Kernel, g: &Geometry, source: [usize; 3], out: [usize; 3]) -> Kernel {
    sizes(kernel, g)
        .with("SOURCE_H", source[0])
        .with("SOURCE_W", source[1])
        .with("INNER", source[2])
        .with("OUT_H", out[0])
        .with("OUT_W", out[1])
        .with("OUTER", out[2])
        .with("VECTOR", source[2].is_multiple_of(4))
}

fn sizes(kernel: Kernel, g: &Geometry) -> Kernel {
    let named = [
        ("N", g.n),
        ("H", g.h),
        ("W", g.w),
        ("C", g.c),
        ("K", g.k),
        ("R", g.r),
        ("S", g.s),
        ("P", g.p),
        ("Q", g.q),
        ("STRIDE", g.stride),
        ("PAD_TOP", g.pad_top),
        ("PAD_LEFT", g.pad_left),
    ];
    named.into_iter().fold(kernel, |kernel, (name, value)| kernel.with(name, value))
}
