//! Maxima over windows, and their derivative.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::{OF_DERIVATIVES, Windows, windows};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::ops::epilogue::{Finish, Ready, Step};
use crate::ops::tile::{load, store};
use crate::ops::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, floats};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// `out[n, p, q, c] = max of x over the window`; `x` is `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    pub window: usize,
    pub stride: usize,
    /// Only steps of [`MaxPool::STEPS`].
    pub epilogue: Epilogue,
}

impl MaxPool {
    pub const STEPS: [Step; 2] = [Step::Norm, Step::Act];

    pub const fn new(window: usize, stride: usize) -> MaxPool {
        MaxPool { window, stride, epilogue: Epilogue::NONE }
    }

    /// Whether its windows on `x` are two by two and adjacent, with whole vectors of channels, for [`largest_of_four`].
    pub fn is_of_four(&self, x: &Tensor) -> bool {
        Windows::on(self.window, self.stride, x).is_ok_and(|(_, windows)| windows.are_four())
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, extra @ ..] = inputs else { return Err("takes images".into()) };
        let (n, g) = Windows::on(self.window, self.stride, x)?;
        let out = Tensor::f32([n, g.p, g.q, g.c]);
        self.epilogue.check_of(&MaxPool::STEPS, extra, &out.shape).map(|()| out)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        let grad = MaxPoolGrad { pool: *self, epilogue: Epilogue::NONE };
        Ok(vec![Some(graph.apply(grad, &[node.d_out, node.inputs[0]])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let x = Tensor::f32(inputs[0].shape.clone());
        let Ok((n, g)) = Windows::on(self.window, self.stride, &x) else { return false };
        for (to, pixels) in g.each(n) {
            for c in 0..g.c {
                let values = pixels.iter().map(|pixel| inputs[0].data[pixel + c]);
                out.data[to + c] = values.fold(f64::NEG_INFINITY, f64::max);
            }
        }
        self.epilogue.exact(out, &inputs[1..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.window, self.stride, inputs[0].dims());
        let (x, row, end) = (inputs[0].data, g.w * g.c, self.epilogue.with(&inputs[1..]));
        if g.c < FEW {
            let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
            return g.fold(x, outputs[0].data, 1.0, &end, larger);
        }
        let cells = g.cells();
        let (now, later) = if g.are_four() { end.in_registers() } else { (Finish::default(), end) };
        parallel_rows(
            outputs[0].data,
            g.pooled(),
            g.image(),
            #[inline(always)]
            |i, out| {
                let x = &x[i * g.image()..][..g.image()];
                for (p, out) in out.chunks_exact_mut(g.q * g.c).enumerate() {
                    let x = &x[p * g.stride * row..];
                    if g.are_four() {
                        largest_of_four(&x[..2 * row], g.c, now, out);
                    } else {
                        pulp::Arch::new().dispatch(Largest { cells: &cells, step: g.stride * g.c, x, c: g.c, out });
                    }
                }
                later.apply(out, 0, g.c);
            },
        );
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], 1).map(|by_image| by_image.with(self.epilogue))
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&MaxPool::STEPS))?;
        Some(Arc::new(MaxPool { epilogue, ..*self }))
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        windows(self.window, self.stride, inputs[0].dims()).kernel("maximum", &outputs[0], 1.0, self.epilogue)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        (outputs[0].len() * self.window * self.window) as u64
    }
}

/// Fewer channels than this are too few for a vector.
const FEW: usize = 4;

/// The maxima of a row of windows; NaN where a window holds one. A vector of channels stays in registers throughout a
/// window.
struct Largest<'a> {
    /// Offsets of a window's pixels from its first; words from window to window.
    cells: &'a [usize],
    step: usize,
    x: &'a [f32],
    c: usize,
    out: &'a mut [f32],
}

impl WithSimd for Largest<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Largest { cells, step, x, c, out } = self;
        for (q, out) in out.chunks_exact_mut(c).enumerate() {
            let x = &x[q * step..];
            for (v, out) in out.chunks_mut(S::F32_LANES).enumerate() {
                let at = v * S::F32_LANES;
                let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                for cell in cells {
                    largest = larger(simd, largest, simd.partial_load_f32s(&x[cell + at..][..out.len()]));
                }
                store::<S>(simd, out, largest);
            }
        }
    }
}

/// For two rows of pixels `x [2, w, c]` with whole vectors of channels: what `end` makes of the maxima of the windows
/// of two by two.
pub fn largest_of_four(x: &[f32], c: usize, end: Finish, out: &mut [f32]) {
    pulp::Arch::new().dispatch(LargestOfFour { x, c, end, out });
}

/// [`Largest`] where windows are two by two.
struct LargestOfFour<'a> {
    x: &'a [f32],
    c: usize,
    end: Finish<'a>,
    out: &'a mut [f32],
}

impl WithSimd for LargestOfFour<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Pixels of few vectors, known at compile time: counting them would take longer than their maxima.
        match self.c / S::F32_LANES {
            1 => largest_of_known::<S, 1>(simd, self),
            2 => largest_of_known::<S, 2>(simd, self),
            4 => largest_of_known::<S, 4>(simd, self),
            n => {
                let end = (!self.end.is_nothing()).then_some(self.end);
                for (x, out) in fours::<S>(self.x, self.c).zip(S::as_mut_simd_f32s(self.out).0.chunks_exact_mut(n)) {
                    let [x0, x1, x2, x3] = x;
                    let (x0, x1, x2, x3) = (&x0[..n], &x1[..n], &x2[..n], &x3[..n]);
                    for (v, out) in out.iter_mut().enumerate() {
                        *out = largest(simd, [x0[v], x1[v], x2[v], x3[v]]);
                        if let Some(end) = end {
                            *out = end.end::<S>(simd, *out, end.affine::<S>(simd, v * S::F32_LANES));
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn largest_of_known<S: Simd, const VECTORS: usize>(simd: S, task: LargestOfFour) {
    match task.end.is_nothing() {
        true => largest_then::<S, VECTORS, true>(simd, task),
        false => largest_then::<S, VECTORS, false>(simd, task),
    }
}

#[inline(always)]
fn largest_then<S: Simd, const VECTORS: usize, const PLAIN: bool>(simd: S, task: LargestOfFour) {
    let end = task.end;
    let mut affine = [[simd.splat_f32s(0.0); 2]; VECTORS];
    for (v, affine) in affine.iter_mut().enumerate() {
        *affine = end.affine::<S>(simd, v * S::F32_LANES);
    }
    let (top, bottom) = task.x.split_at(task.x.len() / 2);
    let out = S::as_mut_simd_f32s(task.out).0.as_chunks_mut::<VECTORS>().0;
    for (([x0, x1], [x2, x3]), out) in pairs::<S, VECTORS>(top).iter().zip(pairs::<S, VECTORS>(bottom)).zip(out) {
        for v in 0..VECTORS {
            let largest = largest(simd, [x0[v], x1[v], x2[v], x3[v]]);
            out[v] = if PLAIN { largest } else { end.end::<S>(simd, largest, affine[v]) };
        }
    }
}

/// A row of pixels of whole vectors, in pairs.
#[inline(always)]
fn pairs<S: Simd, const VECTORS: usize>(row: &[f32]) -> &[[[S::f32s; VECTORS]; 2]] {
    S::as_simd_f32s(row).0.as_chunks::<VECTORS>().0.as_chunks::<2>().0
}

/// The largest of four, or NaN if one of them is.
#[inline(always)]
pub fn largest<S: Simd>(simd: S, [x0, x1, x2, x3]: [S::f32s; 4]) -> S::f32s {
    larger(simd, larger(simd, x0, x1), larger(simd, x2, x3))
}

/// The larger of two, or the second if it is NaN, or the first if that is.
#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    // If the second of two is NaN, x86 and NEON take it; without vectors the maximum would be the other.
    let larger = match S::IS_SCALAR {
        true => simd.select_f32s(simd.less_than_or_equal_f32s(b, a), a, b),
        false => simd.max_f32s(a, b),
    };
    simd.select_f32s(simd.equal_f32s(a, a), larger, a)
}

/// The derivative of [`MaxPool`] with respect to its input, from `d_out [n, p, q, c]` and that input `[n, h, w, c]`. Of
/// equal maxima in a window, the first in row-major order takes all.
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolGrad {
    pub pool: MaxPool,
    /// Only an activation's derivative.
    pub epilogue: Epilogue,
}

impl MaxPoolGrad {
    /// One image. Pixels that no window holds get zero.
    #[inline(always)]
    fn image(g: Windows, d_out: &[f32], x: &[f32], out: &mut [f32], first: usize, end: &Ready) {
        let (row, c, window) = (g.w * g.c, g.c, g.window);
        // Where windows tile the image, each pixel is written once, and rows are finished while they are in cache.
        let (tiles, cells) = (g.window == g.stride, g.cells());
        if !tiles {
            out.fill(0.0);
        }
        for p in 0..g.p {
            let d_out = &d_out[p * g.q * c..][..g.q * c];
            let corner = p * g.stride * row;
            if g.are_four() {
                let (x, out) = (&x[corner..][..2 * row], &mut out[corner..][..2 * row]);
                pulp::Arch::new().dispatch(ShareOfFour { x, d_out, c, out });
            } else {
                let (x, out) = (&x[corner..], &mut out[corner..]);
                pulp::Arch::new().dispatch(Share {
                    cells: &cells,
                    step: g.stride * c,
                    overwrite: tiles,
                    x,
                    d_out,
                    c,
                    out,
                });
            }
            if tiles {
                let band = &mut out[p * window * row..][..window * row];
                if g.q * window < g.w {
                    band.chunks_exact_mut(row).for_each(|row| row[g.q * window * c..].fill(0.0));
                }
                end.apply(band, first + p * window * row, c);
            }
        }
        if tiles {
            out[g.p * window * row..].fill(0.0);
        } else {
            end.apply(out, first, c);
        }
    }
}

/// Hands the derivatives of a row of windows to their largest pixels; a vector of channels stays in registers
/// throughout a window.
struct Share<'a> {
    /// Offsets of a window's pixels from its first; words from window to window.
    cells: &'a [usize],
    step: usize,
    /// Whether to overwrite `out`, or else to add to it.
    overwrite: bool,
    x: &'a [f32],
    d_out: &'a [f32],
    c: usize,
    out: &'a mut [f32],
}

impl WithSimd for Share<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Share { cells, step, overwrite, x, d_out, c, out } = self;
        let vectors = c / S::F32_LANES;
        for (q, d_out) in d_out.chunks_exact(c).enumerate() {
            let (x, out) = (&x[q * step..], &mut out[q * step..]);
            for at in (0..vectors).map(|v| v * S::F32_LANES) {
                let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                for cell in cells {
                    largest = simd.max_f32s(load::<S>(&x[cell + at..]), largest);
                }
                let mut left = load::<S>(&d_out[at..]);
                for cell in cells {
                    let mut mine = taken(simd, load::<S>(&x[cell + at..]), largest, &mut left);
                    let to = &mut out[cell + at..];
                    if !overwrite {
                        mine = simd.add_f32s(mine, load::<S>(to));
                    }
                    store::<S>(simd, to, mine);
                }
            }
            for at in vectors * S::F32_LANES..c {
                let largest = cells.iter().map(|cell| x[cell + at]).fold(f32::NEG_INFINITY, f32::max);
                let mut left = d_out[at];
                for cell in cells {
                    let is_largest = x[cell + at] == largest;
                    let mine = if is_largest { std::mem::take(&mut left) } else { 0.0 };
                    let to = &mut out[cell + at];
                    *to = if overwrite { mine } else { *to + mine };
                }
            }
        }
    }
}

/// What a pixel takes of what is left of its window's derivative: all of it, if the pixel is the largest.
#[inline(always)]
fn taken<S: Simd>(simd: S, x: S::f32s, largest: S::f32s, left: &mut S::f32s) -> S::f32s {
    let (zero, is_largest) = (simd.splat_f32s(0.0), simd.equal_f32s(x, largest));
    let mine = simd.select_f32s(is_largest, *left, zero);
    // What a maximum has taken is no longer there for the next.
    *left = simd.select_f32s(is_largest, zero, *left);
    mine
}

/// The same for adjacent windows of two by two: most are, and what is known at compile time need not be looked up.
struct ShareOfFour<'a> {
    /// Two rows of pixels, as in the result.
    x: &'a [f32],
    d_out: &'a [f32],
    c: usize,
    out: &'a mut [f32],
}

impl WithSimd for ShareOfFour<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ShareOfFour { x, d_out, c, out } = self;
        let n = c / S::F32_LANES;
        let half = out.len() / 2;
        let (top, bottom) = out.split_at_mut(half);
        let out = top.chunks_exact_mut(2 * c).zip(bottom.chunks_exact_mut(2 * c));
        for ((x, (top, bottom)), d_out) in fours::<S>(x, c).zip(out).zip(d_out.chunks_exact(c)) {
            let (top, bottom) = (S::as_mut_simd_f32s(top).0, S::as_mut_simd_f32s(bottom).0);
            let ((to0, to1), (to2, to3)) = (top.split_at_mut(n), bottom.split_at_mut(n));
            let (to0, to1, to2, to3) = (&mut to0[..n], &mut to1[..n], &mut to2[..n], &mut to3[..n]);
            let [x0, x1, x2, x3] = x;
            let (x0, x1, x2, x3) = (&x0[..n], &x1[..n], &x2[..n], &x3[..n]);
            let d_out = &S::as_simd_f32s(d_out).0[..n];
            for v in 0..n {
                let largest = simd.max_f32s(simd.max_f32s(x0[v], x1[v]), simd.max_f32s(x2[v], x3[v]));
                let mut left = d_out[v];
                for (x, to) in [(x0[v], &mut to0[v]), (x1[v], &mut to1[v]), (x2[v], &mut to2[v]), (x3[v], &mut to3[v])]
                {
                    *to = taken(simd, x, largest, &mut left);
                }
            }
        }
    }
}

/// The four pixels of each window of two by two in two rows of whole vectors of channels.
#[inline(always)]
fn fours<S: Simd>(rows: &[f32], c: usize) -> impl Iterator<Item = [&[S::f32s]; 4]> {
    let (top, bottom) = rows.split_at(rows.len() / 2);
    let windows = top.chunks_exact(2 * c).zip(bottom.chunks_exact(2 * c));
    windows.map(
        #[inline(always)]
        move |(top, bottom)| {
            let (top, bottom) = (S::as_simd_f32s(top).0, S::as_simd_f32s(bottom).0);
            let ((first, second), (third, fourth)) = (top.split_at(top.len() / 2), bottom.split_at(bottom.len() / 2));
            [first, second, third, fourth]
        },
    )
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, x, extra @ ..] = inputs else { return Err("takes d_out and the input".into()) };
        floats(inputs)?;
        let (n, g) = Windows::on(self.pool.window, self.pool.stride, x)?;
        if d_out.dims() != [n, g.p, g.q, g.c] {
            return Err(format!("d_out should be [{n}, {}, {}, {}]", g.p, g.q, g.c));
        }
        self.epilogue.check_of(&OF_DERIVATIVES, extra, &x.shape)?;
        Ok(x.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let Ok((n, g)) = Windows::on(self.pool.window, self.pool.stride, &Tensor::f32(out.shape.clone())) else {
            return false;
        };
        out.data.fill(0.0);
        for (from, pixels) in g.each(n) {
            for c in 0..g.c {
                let value = |pixel: &usize| inputs[1].data[pixel + c];
                let largest = pixels.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
                if let Some(first) = pixels.iter().find(|pixel| value(pixel) == largest) {
                    out.data[first + c] += inputs[0].data[from + c];
                }
            }
        }
        self.epilogue.exact(out, &inputs[2..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.pool.window, self.pool.stride, inputs[1].dims());
        let (d_out, x) = (inputs[0].data, inputs[1].data);
        let end = self.epilogue.with(&inputs[2..]);
        parallel_rows(
            outputs[0].data,
            g.image(),
            g.image(),
            #[inline(always)]
            |i, out| {
                let d_out = &d_out[i * g.pooled()..][..g.pooled()];
                let x = &x[i * g.image()..][..g.image()];
                MaxPoolGrad::image(g, d_out, x, out, i * g.image(), &end);
            },
        );
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.pool.window, self.pool.stride, inputs[1].dims());
        g.kernel("grad_max", &outputs[0], 1.0, self.epilogue)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        (inputs[0].len() * self.pool.window * self.pool.window) as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&OF_DERIVATIVES))?;
        Some(Arc::new(MaxPoolGrad { epilogue, ..*self }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn nan_is_the_maximum_of_its_window_wherever_in_it_it_stands() {
        for (c, window) in [(1, 2), (5, 2), (32, 2), (32, 3)] {
            for place in 0..window * window {
                let mut x = vec![1.0; window * window * c];
                x[place * c + c - 1] = f32::NAN;
                let mut out = vec![0.0; c];
                let (shape, pooled) = (Shape::new([1, window, window, c]), Shape::new([1, 1, 1, c]));
                let input = In { data: &x, shape: &shape };
                MaxPool::new(window, window).cpu(&[input], &mut [Out { data: &mut out, shape: &pooled }]);
                let (last, others) = out.split_last().unwrap();
                assert!(last.is_nan() && others.iter().all(|v| *v == 1.0), "{c} channels, pixel {place}: {out:?}");
            }
        }
    }
}
