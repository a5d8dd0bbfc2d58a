//! The convolutions on the CPU: each shape uses the method that takes the fewest cycles for it.

use crate::ops::conv2d::Geometry;
use crate::ops::epilogue::{Finish, Ready};

mod direct;
mod frame;
mod winograd;

use winograd::Transposed;

/// A convolution, or the transpose of one, with its weights arranged for the method.
pub enum Correlation {
    Tiles(winograd::Tiles),
    Scatter(winograd::Scatter),
    Spread(direct::Spread),
    Walks(direct::Walks),
}

impl Correlation {
    /// `weight` is `[r, s, c, k]`.
    pub fn forward(g: &Geometry, weight: &[f32]) -> Correlation {
        match winograd::Tiling::forward(g) {
            Some(tiling) => Correlation::Tiles(winograd::Tiles::new(tiling, weight)),
            None => Correlation::Walks(direct::Walks::forward(g, weight)),
        }
    }

    /// From derivatives with respect to the result to those with respect to the image; `weight` is `[r, s, k, c]`.
    pub fn transposed(g: &Geometry, weight: &[f32]) -> Correlation {
        match winograd::Tiling::transposed(g) {
            Some(Transposed::OfResult(tiling)) => Correlation::Tiles(winograd::Tiles::new(tiling, weight)),
            Some(Transposed::OfSource(tiling)) => Correlation::Scatter(winograd::Scatter::new(tiling, weight)),
            None => match direct::Spread::new(g, weight) {
                Some(spread) => Correlation::Spread(spread),
                None => Correlation::Walks(direct::Walks::transposed(g, weight)),
            },
        }
    }

    /// Runs on as many images as `out` has room for.
    pub fn run(&self, source: &[f32], out: &mut [f32], end: &Ready) {
        match self {
            Correlation::Tiles(tiles) => tiles.run(source, out, end),
            Correlation::Scatter(tiles) => tiles.run(source, out, end),
            Correlation::Spread(spread) => spread.run(source, out, end),
            Correlation::Walks(walks) => walks.run(source, out, end),
        }
    }

    /// Whether a convolution can pool its result on the way.
    pub fn can_pool(g: &Geometry) -> bool {
        winograd::Tiling::forward(g).is_none_or(|tiling| winograd::Tiles::can_pool(&tiling))
    }

    /// Max-pools what `end` makes of the convolution over windows of two by two, `out [n, p / 2, q / 2, k]`, where
    /// [`Correlation::can_pool`]; `then` is applied to the maxima. Channels are whole vectors.
    pub fn run_pooled(&self, source: &[f32], out: &mut [f32], end: Finish, then: Finish) {
        match self {
            Correlation::Tiles(tiles) => tiles.run_pooled(source, out, end, then),
            Correlation::Walks(walks) => walks.run_pooled(source, out, end, then),
            _ => unreachable!("not without `can_pool`"),
        }
    }
}

pub fn grad_w(g: &Geometry, images_per_part: usize, input: &[f32], d_out: &[f32], out: &mut [f32]) {
    match winograd::Tiling::gradient(g, images_per_part) {
        Some(tiling) => winograd::gradient(&tiling, images_per_part, input, d_out, out),
        None => direct::grad_w(g, images_per_part, input, d_out, out),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::ops::conv2d::Padding;
    use crate::ops::random;

    /// Numbers from -1 to 1, the same every time.
    pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32).map(|i| 2.0 * random::unit(random::draw(seed, i)) - 1.0).collect()
    }

    fn geometries() -> Vec<Geometry> {
        let mut all = Vec::new();
        for (r, stride) in
            [(2, 1), (3, 1), (4, 1), (5, 1), (3, 2), (4, 2), (5, 2), (5, 3), (6, 1), (7, 1), (7, 2), (12, 2)]
        {
            // The last has whole tiles for 3x3 kernels.
            let sizes = [
                (7, 12, 8, 8),
                (13, 9, 17, 33),
                (8, 8, 40, 64),
                (6, 5, 3, 100),
                (5, 29, 1, 20),
                (4, 24, 1, 40),
                (6, 10, 16, 32),
            ];
            for (h, w, c, k) in sizes {
                for padding in [Padding::Same, Padding::Valid, Padding::Explicit(1)] {
                    let (rows, columns) = (padding.resolve(h, r, stride), padding.resolve(w, r, stride));
                    let (Some((p, top)), Some((q, left))) = (rows, columns) else { continue };
                    all.push(Geometry::new([5, h, w, c], [r, r], [p, q, k], [stride, top, left]));
                }
            }
        }
        all
    }

    /// Checks that results are within a few roundings of the plain sums of `terms` numbers.
    fn agree(what: &str, g: &Geometry, tiles: &[f32], plain: &[f32], terms: usize) {
        let allowed = 7e-6 * (terms as f32).sqrt().max(4.0);
        for (i, (a, b)) in tiles.iter().zip(plain).enumerate() {
            assert!((a - b).abs() <= allowed, "{what} of {g:?} at {i}: {a} by tiles, {b} by plain sums");
        }
    }

    #[test]
    fn tiles_and_plain_sums_agree_on_every_kind_of_kernel_stride_and_border() {
        let mut seen = [0; 3];
        for g in geometries() {
            let (x, d_out) = (numbers(g.n * g.h * g.w * g.c, 1), numbers(g.n * g.p * g.q * g.k, 2));
            let weight = numbers(g.r * g.s * g.c * g.k, 3);
            let run = |len: usize, f: &dyn Fn(&mut [f32])| {
                // What the output held before must not matter.
                let mut out = vec![f32::NAN; len];
                f(&mut out);
                out
            };
            for t in winograd::Tiling::of_forward(&g) {
                let tiles =
                    run(d_out.len(), &|out| winograd::Tiles::new(t.clone(), &weight).run(&x, out, &Ready::default()));
                let plain =
                    run(d_out.len(), &|out| direct::Walks::forward(&g, &weight).run(&x, out, &Ready::default()));
                agree("the convolution", &g, &tiles, &plain, g.r * g.s * g.c);
                for images in [1, 2, 5] {
                    let len = weight.len() * g.n.div_ceil(images);
                    let tiles = run(len, &|out| winograd::gradient(&t, images, &x, &d_out, out));
                    let plain = run(len, &|out| direct::grad_w(&g, images, &x, &d_out, out));
                    agree("the derivative by the weights", &g, &tiles, &plain, 5 * g.p * g.q);
                }
                let tiles =
                    run(x.len(), &|out| winograd::Scatter::new(t.clone(), &weight).run(&d_out, out, &Ready::default()));
                let plain =
                    run(x.len(), &|out| direct::Walks::transposed(&g, &weight).run(&d_out, out, &Ready::default()));
                agree("the derivative by the image, scattered", &g, &tiles, &plain, g.r * g.s * g.k);
                seen[0] += 1;
            }
            for t in winograd::Tiling::of_transposed(&g) {
                let tiles =
                    run(x.len(), &|out| winograd::Tiles::new(t.clone(), &weight).run(&d_out, out, &Ready::default()));
                let plain =
                    run(x.len(), &|out| direct::Walks::transposed(&g, &weight).run(&d_out, out, &Ready::default()));
                agree("the derivative by the image", &g, &tiles, &plain, g.r * g.s * g.k);
                seen[1] += 1;
            }
            let run = |of: &dyn Fn(&mut [f32])| run(x.len(), of);
            let spread = run(&|out| direct::Spread::of(&g, &weight).run(&d_out, out, &Ready::default()));
            let plain = run(&|out| direct::Walks::transposed(&g, &weight).run(&d_out, out, &Ready::default()));
            agree("the derivative by the image, spread", &g, &spread, &plain, g.r * g.s * g.k);
            seen[2] += 1;
        }
        assert!(
            seen[0] > 320 && seen[1] > 320,
            "{} and {} ways to cut {} shapes into tiles",
            seen[0],
            seen[1],
            seen[2]
        );
    }

    #[test]
    fn images_too_large_for_a_cache_together_all_count_in_the_derivative_by_the_weights() {
        let g = Geometry::new([3, 24, 24, 33], [3, 3], [24, 24, 40], [1, 1, 1]);
        let (x, d_out) = (numbers(g.n * g.h * g.w * g.c, 1), numbers(g.n * g.p * g.q * g.k, 2));
        let len = g.r * g.s * g.c * g.k;
        let sums = |images_per_part: usize| {
            let mut out = vec![f32::NAN; len * g.n.div_ceil(images_per_part)];
            direct::grad_w(&g, images_per_part, &x, &d_out, &mut out);
            out
        };
        let each = sums(1);
        let wanted: Vec<f32> = (0..len).map(|i| each.iter().skip(i).step_by(len).sum()).collect();
        agree("the derivative by the weights, of all together", &g, &sums(3), &wanted, g.n * g.p * g.q);
    }

    #[test]
    fn an_image_has_the_same_result_alone_as_among_others() {
        // With borders it goes by tiles of the result, without them by tiles of the source.
        for (pad, p) in [(1, 10), (0, 8)] {
            let g = Geometry::new([7, 10, 10, 16], [3, 3], [p, p, 32], [1, pad, pad]);
            let one = Geometry { n: 1, ..g };
            let (x, d_out) = (numbers(g.n * g.h * g.w * g.c, 1), numbers(g.n * g.p * g.q * g.k, 3));
            let weight = numbers(9 * g.c * g.k, 2);
            let alike = |all: Correlation, alone: Correlation, from: &[f32], into: usize| {
                let mut among = vec![0.0; g.n * into];
                all.run(from, &mut among, &Ready::default());
                let mut by_itself = vec![0.0; into];
                alone.run(&from[4 * from.len() / g.n..][..from.len() / g.n], &mut by_itself, &Ready::default());
                assert_eq!(by_itself, among[4 * into..][..into]);
            };
            let forward = |g| Correlation::forward(g, &weight);
            alike(forward(&g), forward(&one), &x, g.p * g.q * g.k);
            let transposed = |g| Correlation::transposed(g, &weight);
            assert_eq!(matches!(transposed(&g), Correlation::Scatter(_)), pad == 0);
            alike(transposed(&g), transposed(&one), &d_out, g.h * g.w * g.c);
        }
    }
}
