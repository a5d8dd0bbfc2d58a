//! Maxima over windows, and their derivative.

use std::sync::Arc;

use super::{Windows, act_grad_only, exact_act_grad, windows, zip_lanes};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::ops::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

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
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
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
        let epilogue = act_grad_only(self.epilogue, epilogue)?;
        Some(Arc::new(MaxPoolGrad { epilogue, ..*self }))
    }
}
