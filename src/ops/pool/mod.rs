//! Averages and maxima over square windows of an image, and their derivatives.
//!
//! Padding is `valid`: what the last whole window leaves over is dropped. Derivatives are gathered: each pixel
//! sums over the windows that hold it, so overlapping windows need no atomics. NaN in a window makes its maximum
//! NaN; where its derivative then goes is not defined.

use std::ops::Range;
use std::sync::Arc;

use super::case::{Case, Fill};
use super::epilogue::{Ready, Step};
use super::tile::MOST_LANES;
use super::{Epilogue, Kernel, floats};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

mod average;
mod max;

pub use average::{AvgPool, AvgPoolGrad};
pub use max::{MaxPool, MaxPoolGrad, largest, largest_of_four};

/// How windows lie on an image `[h, w, c]`: `p` down and `q` across.
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
        floats(std::slice::from_ref(x))?;
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
    /// Offsets of a window's pixels from its first, in row-major order.
    fn cells(&self) -> Vec<usize> {
        let row = self.w * self.c;
        (0..self.window).flat_map(|r| (0..self.window).map(move |s| r * row + s * self.c)).collect()
    }
    /// Whether windows are two by two and adjacent, with whole vectors of channels.
    fn are_four(&self) -> bool {
        self.window == 2 && self.stride == 2 && self.c.is_multiple_of(MOST_LANES)
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

    /// A kernel of `shaders/pool.wgsl`; `entry` is `average`, `maximum`, or their derivative: `grad_avg`, `grad_max`.
    pub fn kernel(&self, entry: &'static str, out: &Tensor, scale: f32, epilogue: Epilogue) -> Kernel {
        let by_four = self.c.is_multiple_of(4);
        let lanes = if by_four { 4 } else { 1 };
        let [down, across] = [self.h, self.w].map(|size| size.div_ceil(self.window));
        let is_grad = entry.starts_with("grad");
        // Such windows, and the comparisons within them, fit into registers.
        let tiles = is_grad && self.window == self.stride && self.window <= 3;
        let windows = out.len() / self.image().max(1) * down * across * self.c;
        let count = if tiles { windows } else { out.len() };
        let kernel = Kernel::flat("pool", entry, count / lanes);
        // The shader normalises in vectors, not number by number.
        Epilogue { norm: None, ..epilogue }
            .constants(kernel)
            .with("NORMALIZES", epilogue.norm.is_some())
            .with("EPS", epilogue.norm.unwrap_or(1.0))
            .with("BY_FOUR", by_four)
            .with("IS_GRAD", is_grad)
            .with("WINDOW", self.window)
            .with("STRIDE", self.stride)
            .with("H", self.h)
            .with("W", self.w)
            .with("P", self.p)
            .with("Q", self.q)
            .with("C", self.c / lanes)
            .with("SCALE", scale)
            .with("HAS_IMAGE", entry == "grad_max")
            .with("TILES", tiles)
            .with("CELLS", self.window * self.window)
            .with("DOWN", down)
            .with("ACROSS", across)
            .rounds(self.rounds(entry))
    }

    /// Rounds of the shader's loops: over the elements of a window, or over the windows that contain a pixel, where the
    /// derivative of a maximum goes through each of these.
    fn rounds(&self, entry: &str) -> usize {
        let (window, around) = (self.window, self.window.div_ceil(self.stride));
        match entry {
            "grad_max" => around * (around * (window * (window + 1) + 1) + 1),
            "grad_avg" => around * (around + 1),
            _ => window * (window + 1),
        }
    }

    /// `out = scale * fold of each window`. First the window's rows are folded, in loops that are long and contiguous
    /// whatever the number of channels, then its columns.
    pub fn fold(self, x: &[f32], out: &mut [f32], scale: f32, end: &Ready, fold: impl Fn(f32, f32) -> f32 + Sync) {
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
                    end.apply(out, i * self.pooled() + p * self.q * c, c);
                }
            },
        );
    }

    /// `out = scale * sum of d_out over the windows that hold a pixel`, and the epilogue row by row.
    pub fn spread(self, d_out: &[f32], out: &mut [f32], scale: f32, end: &Ready) {
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
                    end.apply(out, i * self.image() + y * row, c);
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

/// The steps that the epilogue of an image's derivative may have.
pub(super) const OF_DERIVATIVES: [Step; 1] = [Step::ActGrad];

/// The windows on images that a shape rule has already accepted.
fn windows(window: usize, stride: usize, images: &[usize]) -> Windows {
    let &[_, h, w, c] = images else { panic!("images are [n, h, w, c]") };
    Windows { window, stride, h, w, c, p: (h - window) / stride + 1, q: (w - window) / stride + 1 }
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    // Tiled, overlapping, with gaps, with a remainder, the whole image; channels of one, few, four, many.
    let shapes = [
        ([1, 1, 1, 1], 1, 1),
        ([2, 4, 6, 3], 2, 2),
        ([3, 7, 5, 4], 2, 2),
        ([2, 7, 8, 5], 3, 2),
        ([1, 9, 7, 8], 2, 3),
        ([2, 5, 5, 29], 3, 1),
        ([1, 33, 32, 1], 16, 16),
        ([2, 6, 6, 20], 6, 1),
        // Two by two over whole vectors of channels.
        ([2, 7, 9, 32], 2, 2),
    ];
    let mut cases = Vec::new();
    for (shape, window, stride) in shapes {
        let name = format!("{shape:?} {window}/{stride}");
        let image = Tensor::f32(shape);
        let [n, h, w, c] = shape;
        let pooled = Tensor::f32([n, (h - window) / stride + 1, (w - window) / stride + 1, c]);
        let (avg, max) = (AvgPool { window, stride }, MaxPool::new(window, stride));
        cases.push(Case::new(name.clone(), Arc::new(avg)).input(image.clone(), Fill::Uniform));
        cases.push(Case::new(name.clone(), Arc::new(max)).input(image.clone(), Fill::Distinct));
        let epilogue = Epilogue { norm: Some(1e-3), act: Some(Act::Leaky(0.2)), ..Epilogue::NONE };
        // Where the result is one number alone, it may be the difference of two nearly equal ones.
        let case = Case::new(format!("{name} {epilogue:?}"), Arc::new(MaxPool { epilogue, ..max }));
        cases.push(case.tolerance(1e-4).input(image.clone(), Fill::Distinct).of_epilogue(epilogue, &pooled));
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
