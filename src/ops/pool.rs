//! Averages and maxima over square windows of an image, and their derivatives.
//!
//! Padding is `valid`: what the last whole window leaves over is dropped. Derivatives are gathered: each pixel
//! sums over the windows that hold it, so overlapping windows need no atomics. NaN in a window makes its maximum
//! NaN; where its derivative then goes is not defined.

use std::ops::Range;
use std::sync::Arc;

use super::case::{Case, Fill};
use super::kernel::WORKGROUP;
use super::{Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// How windows lie on an image `[h, w, c]`: `p` down and `q` along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub window: usize,
    pub stride: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub p: usize,
    pub q: usize,
}

impl Windows {
    /// The windows on the images `x`, and how many images there are.
    pub fn on(window: usize, stride: usize, x: &Tensor) -> Result<(usize, Windows), String> {
        let &[n, h, w, c] = x.dims() else { return Err("takes images [n, h, w, c]".into()) };
        if window == 0 || stride == 0 {
            return Err("the window and its stride must be at least 1".into());
        }
        if window > h.min(w) {
            return Err(format!("a window of {window} does not fit an image of {h}x{w}"));
        }
        let (p, q) = ((h - window) / stride + 1, (w - window) / stride + 1);
        Ok((n, Windows { window, stride, h, w, c, p, q }))
    }
    pub fn image(&self) -> usize {
        self.h * self.w * self.c
    }
    pub fn pooled(&self) -> usize {
        self.p * self.q * self.c
    }
    /// The windows of an axis that hold a pixel.
    fn holding(&self, place: usize, count: usize) -> Range<usize> {
        let end = (place / self.stride + 1).min(count);
        (place + 1).saturating_sub(self.window).div_ceil(self.stride).min(end)..end
    }
    /// Each window's place `[n, p, q]` with each of its pixels' indices for channel 0, in row-major order.
    fn each(self, images: usize) -> impl Iterator<Item = (usize, Vec<usize>)> {
        (0..images * self.p * self.q).map(move |i| {
            let (n, p, q) = (i / (self.p * self.q), i / self.q % self.p, i % self.q);
            let pixel = |t: usize| {
                let (y, x) = (p * self.stride + t / self.window, q * self.stride + t % self.window);
                ((n * self.h + y) * self.w + x) * self.c
            };
            (i * self.c, (0..self.window * self.window).map(pixel).collect())
        })
    }

    pub fn kernel(&self, entry: &'static str, out: &Tensor, scale: f32, epilogue: Epilogue) -> Kernel {
        let by_four = self.c.is_multiple_of(4);
        let lanes = if by_four { 4 } else { 1 };
        let kernel = Kernel::flat("pool", entry, out.len() / lanes);
        epilogue
            .constants(kernel)
            .with("BY_FOUR", by_four)
            .with("IS_GRAD", entry.starts_with("grad"))
            .with("COUNT", out.len() / lanes)
            .with("WINDOW", self.window)
            .with("STRIDE", self.stride)
            .with("H", self.h)
            .with("W", self.w)
            .with("P", self.p)
            .with("Q", self.q)
            .with("C", self.c / lanes)
            .with("SCALE", scale)
            .with("WORKGROUP", WORKGROUP)
    }

    /// `out = scale * fold of each window`. First the window's rows are folded, which is long and contiguous
    /// whatever the number of channels, then its columns.
    pub fn fold(
        self,
        x: &[f32],
        out: &mut [f32],
        scale: f32,
        (epilogue, extra): (Epilogue, &[In]),
        fold: impl Fn(f32, f32) -> f32 + Sync,
    ) {
        let Windows { window, stride, w, c, .. } = self;
        let row = w * c;
        parallel_rows(
            out,
            self.pooled(),
            self.image(),
            #[inline(always)]
            |i, out| {
                let x = &x[i * self.image()..][..self.image()];
                let mut folded = vec![0.0f32; row];
                for (p, out) in out.chunks_exact_mut(self.q * c).enumerate() {
                    let x = &x[p * stride * row..];
                    folded.copy_from_slice(&x[..row]);
                    for r in 1..window {
                        folded.iter_mut().zip(&x[r * row..][..row]).for_each(|(a, b)| *a = fold(*a, *b));
                    }
                    if c == 1 {
                        for (q, out) in out.iter_mut().enumerate() {
                            let cells = &folded[q * stride..][..window];
                            *out = cells[1..].iter().fold(cells[0], |a, b| fold(a, *b));
                        }
                    } else {
                        for (q, out) in out.chunks_exact_mut(c).enumerate() {
                            let cells = &folded[q * stride * c..][..window * c];
                            out.copy_from_slice(&cells[..c]);
                            for s in 1..window {
                                zip_lanes(out, &cells[s * c..][..c], &fold);
                            }
                        }
                    }
                    if scale != 1.0 {
                        out.iter_mut().for_each(|out| *out *= scale);
                    }
                    epilogue.apply(out, i * self.pooled() + p * self.q * c, c, extra);
                }
            },
        );
    }

    /// `out = scale * sum of d_out over the windows that hold a pixel`, and the epilogue row by row.
    pub fn spread(self, d_out: &[f32], out: &mut [f32], scale: f32, epilogue: Epilogue, extra: &[In]) {
        let Windows { window, stride, w, c, .. } = self;
        let row = w * c;
        parallel_rows(
            out,
            self.image(),
            self.image(),
            #[inline(always)]
            |i, out| {
                let d_out = &d_out[i * self.pooled()..][..self.pooled()];
                let (mut sums, mut spread) = (vec![0.0f32; self.q * c], vec![0.0f32; row]);
                let mut done = None;
                for (y, out) in out.chunks_exact_mut(row).enumerate() {
                    let holding = self.holding(y, self.p);
                    // Neighbouring rows in the same windows are equal.
                    if done.as_ref() != Some(&holding) {
                        sums.fill(0.0);
                        for p in holding.clone() {
                            let d_out = &d_out[p * self.q * c..][..self.q * c];
                            sums.iter_mut().zip(d_out).for_each(|(sum, d)| *sum += scale * d);
                        }
                        spread.fill(0.0);
                        for (q, sum) in sums.chunks_exact(c).enumerate() {
                            let cells = &mut spread[q * stride * c..][..window * c];
                            if let [sum] = sum {
                                cells.iter_mut().for_each(|cell| *cell += sum);
                            } else {
                                cells.chunks_exact_mut(c).for_each(|cell| zip_lanes(cell, sum, &|a, b| a + b));
                            }
                        }
                        done = Some(holding);
                    }
                    out.copy_from_slice(&spread);
                    epilogue.apply(out, i * self.image() + y * row, c, extra);
                }
            },
        );
    }
}

/// `out[i] = f(out[i], x[i])`, eight at a time: channels are too few for the compiler's own blocks of 32.
#[inline(always)]
fn zip_lanes(out: &mut [f32], x: &[f32], f: &impl Fn(f32, f32) -> f32) {
    let (out, out_rest) = out.as_chunks_mut::<8>();
    let (x, x_rest) = x.as_chunks::<8>();
    for (out, x) in out.iter_mut().zip(x) {
        (0..8).for_each(|i| out[i] = f(out[i], x[i]));
    }
    out_rest.iter_mut().zip(x_rest).for_each(|(out, x)| *out = f(*out, *x));
}

/// An epilogue that an image's derivative can end on, after one it has.
pub(super) fn act_grad_only(before: Epilogue, next: Epilogue) -> Option<Epilogue> {
    before.then(next).filter(|both| !both.bias && both.act.is_none())
}

/// Multiplies a reference by the activation's derivative, where the epilogue asks for it.
pub(super) fn exact_act_grad(epilogue: Epilogue, extra: &[Exact], out: &mut Exact) {
    if let (Some(act), Some(activated)) = (epilogue.act_grad, extra.first()) {
        let each = out.data.iter_mut().zip(&activated.data);
        each.for_each(|(out, y)| *out *= f64::from(act.derivative(*y as f32)));
    }
}

/// `out[n, p, q, c] = mean of x over the window`; `x` is `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool {
    pub window: usize,
    pub stride: usize,
}

impl AvgPool {
    fn scale(self) -> f32 {
        1.0 / (self.window * self.window) as f32
    }
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let (n, g) = Windows::on(self.window, self.stride, &expect::<1>(inputs)?[0])?;
        Ok(Tensor::f32([n, g.p, g.q, g.c]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let image = graph.dims(node.inputs[0]);
        let grad = AvgPoolGrad { pool: *self, image: [image[1], image[2]], epilogue: Epilogue::NONE };
        Ok(vec![Some(graph.apply(grad, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let x = Tensor::f32(inputs[0].shape.clone());
        let Ok((n, g)) = Windows::on(self.window, self.stride, &x) else { return false };
        for (to, pixels) in g.each(n) {
            for c in 0..g.c {
                let sum: f64 = pixels.iter().map(|pixel| inputs[0].data[pixel + c]).sum();
                out.data[to + c] = sum / pixels.len() as f64;
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.window, self.stride, inputs[0].dims());
        g.fold(inputs[0].data, outputs[0].data, self.scale(), (Epilogue::NONE, &[]), |a, b| a + b);
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.window, self.stride, inputs[0].dims());
        g.kernel("average", &outputs[0], self.scale(), Epilogue::NONE)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        (outputs[0].len() * self.window * self.window) as u64
    }
}

/// The windows on images that a shape rule has already let through.
fn windows(window: usize, stride: usize, images: &[usize]) -> Windows {
    let &[_, h, w, c] = images else { panic!("images are [n, h, w, c]") };
    Windows { window, stride, h, w, c, p: (h - window) / stride + 1, q: (w - window) / stride + 1 }
}

/// The derivative of [`AvgPool`] by its input: `d_out [n, p, q, c]` to `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct AvgPoolGrad {
    pub pool: AvgPool,
    /// Height and width of the image.
    pub image: [usize; 2],
    /// Only an activation's derivative.
    pub epilogue: Epilogue,
}

impl Op for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, extra @ ..] = inputs else { return Err("takes the derivative of its output".into()) };
        let &[n, p, q, c] = d_out.dims() else { return Err("takes images [n, h, w, c]".into()) };
        let image = Tensor::f32([n, self.image[0], self.image[1], c]);
        let (_, g) = Windows::on(self.pool.window, self.pool.stride, &image)?;
        if [g.p, g.q] != [p, q] {
            return Err(format!("should have {}x{} windows", g.p, g.q));
        }
        self.epilogue.check(extra, &image.shape)?;
        Ok(image)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        Ok(vec![Some(graph.apply(self.pool, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let Ok((n, g)) = Windows::on(self.pool.window, self.pool.stride, &Tensor::f32(out.shape.clone())) else {
            return false;
        };
        out.data.fill(0.0);
        for (from, pixels) in g.each(n) {
            for (pixel, c) in pixels.iter().flat_map(|pixel| (0..g.c).map(move |c| (pixel, c))) {
                out.data[pixel + c] += inputs[0].data[from + c] / pixels.len() as f64;
            }
        }
        exact_act_grad(self.epilogue, &inputs[1..], out);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.pool.window, self.pool.stride, outputs[0].dims());
        g.spread(inputs[0].data, outputs[0].data, self.pool.scale(), self.epilogue, &inputs[1..]);
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.pool.window, self.pool.stride, outputs[0].dims());
        g.kernel("grad_avg", &outputs[0], self.pool.scale(), self.epilogue)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        outputs[0].len() as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = act_grad_only(self.epilogue, epilogue)?;
        Some(Arc::new(AvgPoolGrad { epilogue, ..*self }))
    }
}

/// `out[n, p, q, c] = max of x over the window`; `x` is `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    pub window: usize,
    pub stride: usize,
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let (n, g) = Windows::on(self.window, self.stride, &expect::<1>(inputs)?[0])?;
        Ok(Tensor::f32([n, g.p, g.q, g.c]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
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
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.window, self.stride, inputs[0].dims());
        g.fold(
            inputs[0].data,
            outputs[0].data,
            1.0,
            (Epilogue::NONE, &[]),
            |a, b| if b > a || b.is_nan() { b } else { a },
        );
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        windows(self.window, self.stride, inputs[0].dims()).kernel("maximum", &outputs[0], 1.0, Epilogue::NONE)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        (outputs[0].len() * self.window * self.window) as u64
    }
}

/// The derivative of [`MaxPool`] by its input, from `d_out [n, p, q, c]` and that input `[n, h, w, c]`. Of equal
/// maxima in a window the first, in row-major order, takes all.
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolGrad {
    pub pool: MaxPool,
    /// Only an activation's derivative.
    pub epilogue: Epilogue,
}

impl MaxPoolGrad {
    /// One image. What no window holds gets zero.
    #[inline(always)]
    fn image(&self, g: Windows, d_out: &[f32], x: &[f32], out: &mut [f32], first: usize, extra: &[In]) {
        let (row, c, window) = (g.w * g.c, g.c, g.window);
        // Where windows tile the image each pixel is written once, and rows are finished while they are in cache.
        let tiles = g.window == g.stride;
        if !tiles {
            out.fill(0.0);
        }
        let (mut largest, mut left) = (vec![0.0f32; c], vec![0.0f32; c]);
        for p in 0..g.p {
            for q in 0..g.q {
                let corner = p * g.stride * row + q * g.stride * c;
                let cells = || (0..window * window).map(|t| corner + t / window * row + t % window * c);
                largest.fill(f32::NEG_INFINITY);
                cells().for_each(|cell| zip_lanes(&mut largest, &x[cell..][..c], &|a, b| if b > a { b } else { a }));
                // What a maximum has taken is not there for the next.
                left.copy_from_slice(&d_out[(p * g.q + q) * c..][..c]);
                for cell in cells() {
                    let (x, out) = (&x[cell..][..c], &mut out[cell..][..c]);
                    if tiles {
                        share::<false>(x, &largest, &mut left, out);
                    } else {
                        share::<true>(x, &largest, &mut left, out);
                    }
                }
            }
            if tiles {
                let band = &mut out[p * window * row..][..window * row];
                if g.q * window < g.w {
                    band.chunks_exact_mut(row).for_each(|row| row[g.q * window * c..].fill(0.0));
                }
                self.epilogue.apply(band, first + p * window * row, c, extra);
            }
        }
        if tiles {
            out[g.p * window * row..].fill(0.0);
        } else {
            self.epilogue.apply(out, first, c, extra);
        }
    }
}

/// Where `x` is the largest of its window it takes what is left of the derivative. Adds to `out` or overwrites it.
#[inline(always)]
fn share<const ADD: bool>(x: &[f32], largest: &[f32], left: &mut [f32], out: &mut [f32]) {
    let one = |x: f32, largest: f32, left: &mut f32, out: &mut f32| {
        let mine = if x == largest { *left } else { 0.0 };
        *left = if x == largest { 0.0 } else { *left };
        *out = if ADD { *out + mine } else { mine };
    };
    let (x, x_rest) = x.as_chunks::<8>();
    let (largest, largest_rest) = largest.as_chunks::<8>();
    let (left, left_rest) = left.as_chunks_mut::<8>();
    let (out, out_rest) = out.as_chunks_mut::<8>();
    for (((x, largest), left), out) in x.iter().zip(largest).zip(left).zip(out) {
        // Copies, so that no store may change what the next element reads.
        let (x, largest, mut l, mut o) = (*x, *largest, *left, *out);
        (0..8).for_each(|i| one(x[i], largest[i], &mut l[i], &mut o[i]));
        (*left, *out) = (l, o);
    }
    for (((x, largest), left), out) in x_rest.iter().zip(largest_rest).zip(left_rest).zip(out_rest) {
        one(*x, *largest, left, out);
    }
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, x, extra @ ..] = inputs else { return Err("takes d_out and the input".into()) };
        let (n, g) = Windows::on(self.pool.window, self.pool.stride, x)?;
        if d_out.dims() != [n, g.p, g.q, g.c] {
            return Err(format!("d_out should be [{n}, {}, {}, {}]", g.p, g.q, g.c));
        }
        self.epilogue.check(extra, &x.shape)?;
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
        exact_act_grad(self.epilogue, &inputs[2..], out);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.pool.window, self.pool.stride, inputs[1].dims());
        let (d_out, x) = (inputs[0].data, inputs[1].data);
        parallel_rows(
            outputs[0].data,
            g.image(),
            g.image(),
            #[inline(always)]
            |i, out| {
                let d_out = &d_out[i * g.pooled()..][..g.pooled()];
                let x = &x[i * g.image()..][..g.image()];
                self.image(g, d_out, x, out, i * g.image(), &inputs[2..]);
            },
        );
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.pool.window, self.pool.stride, inputs[1].dims());
        g.kernel("grad_max", &outputs[0], 1.0, self.epilogue)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        (inputs[0].len() * self.pool.window * self.pool.window) as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = act_grad_only(self.epilogue, epilogue)?;
        Some(Arc::new(MaxPoolGrad { epilogue, ..*self }))
    }
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    // Tiled, overlapping, with gaps, with a rest, the whole image; channels of one, few, four, many.
    let shapes = [
        ([1, 1, 1, 1], 1, 1),
        ([2, 4, 6, 3], 2, 2),
        ([3, 7, 5, 4], 2, 2),
        ([2, 7, 8, 5], 3, 2),
        ([1, 9, 7, 8], 2, 3),
        ([2, 5, 5, 29], 3, 1),
        ([1, 33, 32, 1], 16, 16),
        ([2, 6, 6, 20], 6, 1),
    ];
    let mut cases = Vec::new();
    for (shape, window, stride) in shapes {
        let name = format!("{shape:?} {window}/{stride}");
        let image = Tensor::f32(shape);
        let [n, h, w, c] = shape;
        let pooled = Tensor::f32([n, (h - window) / stride + 1, (w - window) / stride + 1, c]);
        let (avg, max) = (AvgPool { window, stride }, MaxPool { window, stride });
        cases.push(Case::new(name.clone(), Arc::new(avg)).input(image.clone(), Fill::Uniform));
        cases.push(Case::new(name.clone(), Arc::new(max)).input(image.clone(), Fill::Distinct));
        let none = Epilogue::NONE;
        let act_grad = Epilogue { act_grad: Some(Act::Leaky(0.2)), ..none };
        let avg_grad = AvgPoolGrad { pool: avg, image: [h, w], epilogue: none };
        cases.push(Case::new(name.clone(), Arc::new(avg_grad)).input(pooled.clone(), Fill::Uniform));
        let fused = AvgPoolGrad { epilogue: act_grad, ..avg_grad };
        cases.push(
            Case::new(format!("{name} and leaky relu's"), Arc::new(fused))
                .input(pooled.clone(), Fill::Uniform)
                .input(image.clone(), Fill::AwayFromZero)
                .no_derivative(),
        );
        let max_grad = MaxPoolGrad { pool: max, epilogue: none };
        for (what, fill) in [("", Fill::Distinct), (" with equals", Fill::Words(&EQUALS))] {
            cases.push(
                Case::new(format!("{name}{what}"), Arc::new(max_grad))
                    .input(pooled.clone(), Fill::Uniform)
                    .input(image.clone(), fill)
                    .no_derivative(),
            );
        }
        let fused = MaxPoolGrad { epilogue: act_grad, ..max_grad };
        cases.push(
            Case::new(format!("{name} and leaky relu's"), Arc::new(fused))
                .input(pooled, Fill::Uniform)
                .input(image.clone(), Fill::Distinct)
                .input(image, Fill::AwayFromZero)
                .no_derivative(),
        );
    }
    cases
}

/// 0, 1 and 2 as f32, repeating after seven words.
const EQUALS: [u32; 7] = [0x3f80_0000, 0, 0x4000_0000, 0x4000_0000, 0, 0x3f80_0000, 0x4000_0000];
