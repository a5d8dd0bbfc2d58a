//! The transposed convolution to few channels: each pixel of the source is multiplied by the whole kernel, a run of
//! taps and channels, and the products are added where the kernel lies in the result.
//!
//! Vectors across few channels would be mostly empty, and sums along a run would end in a sum across a vector for each
//! result. Here vectors lie across taps and channels, `r * s * c` in all.

use pulp::{Simd, WithSimd};

use super::{Walks, few};
use crate::ops::conv2d::Geometry;
use crate::ops::conv2d::cpu::frame::Frame;
use crate::ops::epilogue::Ready;
use crate::ops::tile::{lanes, load, store};
use crate::parallel::{block, parallel_chunks, scratch};

pub struct Spread {
    g: Geometry,
    /// From each pixel of the source to its products with the kernel, `[r, s, c]`.
    products: Walks,
    frame: Frame,
}

impl Spread {
    /// `weight` is `[r, s, k, c]`. `None` where there are enough channels, or a pixel has few taps.
    pub fn new(g: &Geometry, weight: &[f32]) -> Option<Spread> {
        (few(g.c, g.k) && 2 * g.r * g.s * g.c >= lanes()).then(|| Spread::of(g, weight))
    }

    pub fn of(g: &Geometry, weight: &[f32]) -> Spread {
        let taps = g.r * g.s * g.c;
        let mut kernel = vec![0.0; g.k * taps];
        for (i, weights) in weight.chunks_exact(g.c).enumerate() {
            let (tap, k) = (i / g.k, i % g.k);
            kernel[k * taps + tap * g.c..][..g.c].copy_from_slice(weights);
        }
        let alone = Geometry::new([1, g.p, g.q, g.k], [1, 1], [g.p, g.q, taps], [1, 0, 0]);
        let reach = |pixels: usize, kernel: usize| (pixels - 1) * g.stride + kernel;
        Spread {
            g: *g,
            products: Walks::forward(&alone, &kernel),
            frame: Frame {
                height: reach(g.p, g.r).max(g.pad_top + g.h),
                width: reach(g.q, g.s).max(g.pad_left + g.w),
                top: g.pad_top,
                left: g.pad_left,
            },
        }
    }

    /// `d_out [n, p, q, k]` to `out [n, h, w, c]`.
    pub fn run(&self, d_out: &[f32], out: &mut [f32], end: &Ready) {
        let Spread { g, products, frame } = self;
        let (image_in, image_out, pixels) = (g.p * g.q * g.k, g.h * g.w * g.c, g.p * g.q);
        let (framed, made) = (frame.len(g.c), pixels * g.r * g.s * g.c);
        let block = block(out.len() / image_out);
        parallel_chunks(out, block * image_out, |b, out| {
            scratch(framed + made, |memory| {
                let (sums, made) = memory.split_at_mut(framed);
                for (i, out) in out.chunks_mut(image_out).enumerate() {
                    let n = b * block + i;
                    products.run(&d_out[n * image_in..][..image_in], made, &Ready::default());
                    sums.fill(0.0);
                    pulp::Arch::new().dispatch(Add { g, width: frame.width, products: made, sums });
                    frame.take(sums, [g.h, g.w, g.c], out);
                    end.run(out, n * image_out, g.c);
                }
            });
        });
    }
}

/// Adds an image's products, `[p, q, r, s, c]`, to sums in a frame of `width` columns.
struct Add<'a> {
    g: &'a Geometry,
    width: usize,
    products: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Add { g, width, products, sums } = self;
        let run = g.s * g.c;
        for (pixel, products) in products.chunks_exact(g.r * run).enumerate() {
            let (p, q) = (pixel / g.q, pixel % g.q);
            let first = (p * width + q) * g.stride * g.c;
            for (r, products) in products.chunks_exact(run).enumerate() {
                let sums = &mut sums[first + r * width * g.c..];
                for (products, at) in products.chunks(S::F32_LANES).zip((0..).step_by(S::F32_LANES)) {
                    // After the run, zeros are added.
                    let sum = simd.add_f32s(load::<S>(&sums[at..]), simd.partial_load_f32s(products));
                    store(simd, &mut sums[at..], sum);
                }
            }
        }
    }
}
