//! How a convolution is laid out on a GPU: the constants and workgroups of `shaders/conv2d.wgsl`.

use super::{Geometry, matrix, subgroup};
use crate::ops::kernel::MOST_INVOCATIONS;
use crate::ops::subgroup::share;
use crate::ops::{Epilogue, Kernel, Target};

// The numbers below were chosen on an NVIDIA H200, using the ops of `avgcnn`, `best`, `gan` and `gan-classic`.

/// Pixels of a row that an invocation holds, or those of each phase.
const PIXELS: usize = 16;
/// The most sums that an invocation holds.
const SUMS: usize = 64;
/// The most phases of a strided convolution's derivative that an invocation takes: what it reads of the image serves all
/// of them.
const PHASES: usize = 4;

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

    /// A kernel over `units` tiles, each for all channels and a sum of `terms`; an invocation holds partial results of
    /// `held` numbers.
    fn kernel(&self, entry: &'static str, units: usize, terms: usize, held: usize, target: Target) -> Kernel {
        let split = self.split(units, terms, held, target);
        Kernel::groups("conv2d", entry, units.div_ceil(self.height) * self.groups)
            .with("LANES", self.width)
            .with("HEIGHT", self.height)
            .with("CHANNEL_GROUPS", self.groups)
            .with("SPLIT", split)
            .with("DIVIDED", split > 1)
    }

    /// How many invocations, a power of two, share each tile.
    fn split(&self, units: usize, terms: usize, held: usize, target: Target) -> usize {
        let one = self.width * self.height;
        // The workgroup memory that every adapter has: it must hold the results of half a workgroup.
        let memory = 2 * 16_384 / (4 * held * one);
        let wanted = target.busy / (units * self.groups * one).max(1);
        let most = wanted.min(terms / 2).min(MOST_INVOCATIONS / one).min(memory).min(16);
        if most < 2 { 1 } else { 1 << most.ilog2() }
    }
}

/// Constants for the taps of one row, which meet the same stretch of input: as that stretch slides over the pixels of a
/// tile by `step`, each input is read once. `reach`: how much longer the stretch is, for what lies further on.
pub(super) fn window(kernel: Kernel, taps: usize, step: usize, reach: usize) -> Kernel {
    let fresh = taps.min(step);
    kernel.with("TAPS", taps).with("STEP", step).with("FRESH", fresh).with("KEPT", taps - fresh + reach)
}

/// Constants for which inputs of a window may lie outside a row of `width`: those before `LEFT` and from `RIGHT` on.
/// `begins`: at the least and at the most, the column where a window of `length` inputs begins.
fn sides(kernel: Kernel, begins: [isize; 2], length: usize, width: usize) -> Kernel {
    let [left, right] = [-begins[0], width as isize - begins[1]].map(|n| n.clamp(0, length as isize) as usize);
    kernel.with("LEFT", left).with("RIGHT", right)
}

/// How many channels an invocation takes, out of `outer` for each of `units` tiles. What it reads of the image serves
/// all of them, at the price of fewer invocations: 32 numbers that return to a workgroup cost as much as 128 sums. With
/// so many channels it holds `held` numbers, which must fit in registers.
fn channels(outer: usize, units: usize, same_taps: bool, target: Target, held: impl Fn(usize) -> usize) -> usize {
    let mut channels = match outer {
        _ if target.is_software() => 1,
        0..32 => 1,
        32..64 if same_taps && units * outer >= 3 << 14 => 4,
        32..64 => 1,
        64..128 => 2,
        _ => 4,
    };
    while channels > 1 && held(channels) > target.registers {
        channels /= 2;
    }
    channels
}

/// Numbers that are read for each inner channel: with a vector of four, all four are held.
fn wide(inner: usize) -> usize {
    if inner.is_multiple_of(4) { 4 } else { 1 }
}

/// Input `[n, h, w, c]`, weight `[r, s, c, k]`, then the epilogue's inputs; out `[n, p, q, k]`.
pub fn forward(g: &Geometry, epilogue: Epilogue, target: Target) -> Kernel {
    if let Some(kernel) =
        matrix::forward(g, epilogue, target).or_else(|| subgroup::forward(g, epilogue, target.subgroup))
    {
        return kernel;
    }
    let pixels = share(g.q, PIXELS);
    let tiles = g.q.div_ceil(pixels);
    let units = g.n * g.p * tiles;
    let wide = wide(g.c);
    // Sums; weights, and the inputs that they meet.
    let held = |channels| pixels * channels + wide * g.s * (channels + 1);
    let channels = channels(g.k, units, true, target, held);
    let terms = g.c / wide;
    let kernel = Lanes::over(g.k.div_ceil(channels))
        .kernel("forward", units, terms, pixels * channels, target)
        .with("CHANNELS", channels)
        .with("PIXELS", pixels)
        .with("HELD", pixels)
        .with("TILES", tiles)
        .with("PHASES", 1usize)
        .with("PHASE_GROUPS", 1usize)
        .with("APART", 1usize)
        .with("REST", 0usize)
        .with("RAGGED", false)
        .with("PADDED", g.padded())
        .rounds(g.r * (terms + 1));
    let back = g.pad_left as isize;
    let begins = [-back, ((tiles - 1) * pixels * g.stride) as isize - back];
    let kernel = sides(kernel, begins, (pixels - 1) * g.stride + g.s, g.w);
    let kernel = images(window(kernel, g.s, g.stride, 0), g, [g.h, g.w, g.c], [g.p, g.q, g.k]);
    epilogue.constants(kernel).with("HAS_ADDEND", false)
}

/// `d_out [n, p, q, k]`, weight `[r, s, k, c]`, then the epilogue's inputs; out `[n, h, w, c]`. Also the transposed
/// convolution.
pub fn grad_x(g: &Geometry, epilogue: Epilogue, target: Target) -> Kernel {
    if let Some(kernel) = matrix::grad_x(g, epilogue, target).or_else(|| subgroup::grad_x(g, epilogue, target.subgroup))
    {
        return kernel;
    }
    let phases = g.stride.min(g.w);
    let together = if phases <= PHASES { phases } else { 1 };
    let row = g.w.div_ceil(g.stride);
    let rows = g.n * g.h * (phases / together);
    let taps = g.s.div_ceil(g.stride);
    // How far the first phase's window begins after a whole stride, and the last phase's after that.
    let rest = if together > 1 { g.pad_left % g.stride } else { 0 };
    let reach = (together - 1 + rest) / g.stride;
    let wide = wide(g.k);
    let pixels = |channels| share(row, PIXELS.min(SUMS / (together * channels)));
    let held = |channels| together * pixels(channels) * channels + wide * (taps * (together * channels + 1) + reach);
    let channels = channels(g.c, rows * row.div_ceil(share(row, PIXELS)), phases == 1, target, held);
    let pixels = pixels(channels);
    let tiles = row.div_ceil(pixels);
    let units = rows * tiles;
    let terms = g.k / wide;
    let held = together * pixels;
    let kernel = Lanes::over(g.c.div_ceil(channels))
        .kernel("grad_x", units, terms, held * channels, target)
        .with("CHANNELS", channels)
        .with("PIXELS", pixels)
        .with("HELD", held)
        .with("TILES", tiles)
        .with("PHASES", together)
        .with("PHASE_GROUPS", phases / together)
        .with("APART", g.stride)
        .with("REST", rest)
        .with("RAGGED", !g.s.is_multiple_of(g.stride))
        .with("PADDED", true)
        .rounds(g.r.div_ceil(g.stride) * (terms + 1));
    let begins = [g.pad_left / g.stride, (phases - together + g.pad_left) / g.stride + (tiles - 1) * pixels];
    let kernel = sides(kernel, begins.map(|at| at as isize - (taps as isize - 1)), pixels - 1 + taps + reach, g.q);
    let kernel = images(window(kernel, taps, 1, reach), g, [g.p, g.q, g.k], [g.h, g.w, g.c]);
    epilogue.constants(kernel).with("HAS_ADDEND", false)
}

/// Input `[n, h, w, c]`, `d_out [n, p, q, k]`; out `[parts, r, s, c, k]`, where `parts` is `n / images_per_part`,
/// rounded up.
pub fn grad_w(g: &Geometry, images_per_part: usize, target: Target) -> Kernel {
    if let Some(kernel) =
        matrix::grad_w(g, images_per_part, target).or_else(|| subgroup::grad_w(g, images_per_part, target.subgroup))
    {
        return kernel;
    }
    // An invocation takes the taps of one row of the kernel, for this many input channels.
    let wide = if g.c >= 4 { 4 } else { 1 };
    let groups = g.c.div_ceil(wide);
    let tiles = g.r * groups;
    let parts = g.n.div_ceil(images_per_part);
    // For short rows, half as many pixels at a time: holding less leaves room for more invocations.
    let pixels = share(g.q, if g.q < 28 && !target.is_software() { PIXELS / 2 } else { PIXELS });
    let whole = g.q.is_multiple_of(pixels);
    let channels = if g.k >= 32 && wide == 4 && !target.is_software() { 2 } else { 1 };
    let kernel = Lanes::over(g.k.div_ceil(channels))
        .kernel("grad_w", parts * tiles, images_per_part * g.p, g.s * wide * channels, target)
        .with("CHANNELS", channels)
        .with("PIXELS", pixels)
        .with("HELD", g.s)
        .with("TILES", tiles)
        .with("INNER_GROUPS", groups)
        .with("PARTS", parts)
        .with("IMAGES_PER_PART", images_per_part)
        .with("VECTOR", g.c.is_multiple_of(4))
        .with("LOOSE", wide == 4 && !g.c.is_multiple_of(4))
        .with("WHOLE", whole)
        .with("PADDED", g.padded())
        .rounds(images_per_part * g.p * (g.q.div_ceil(pixels) + 1));
    let back = g.pad_left as isize;
    let begins = [-back, ((g.q.div_ceil(pixels) - 1) * pixels * g.stride) as isize - back];
    let kernel = sides(kernel, begins, (pixels - 1) * g.stride + g.s, g.w);
    sizes(window(kernel, g.s, g.stride, 0), g)
}

pub(super) fn images(kernel: Kernel, g: &Geometry, source: [usize; 3], out: [usize; 3]) -> Kernel {
    sizes(kernel, g)
        .with("SOURCE_H", source[0])
        .with("SOURCE_W", source[1])
        .with("INNER", source[2])
        .with("OUT_H", out[0])
        .with("OUT_W", out[1])
        .with("OUTER", out[2])
        .with("VECTOR", source[2].is_multiple_of(4))
}

pub(super) fn sizes(kernel: Kernel, g: &Geometry) -> Kernel {
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
