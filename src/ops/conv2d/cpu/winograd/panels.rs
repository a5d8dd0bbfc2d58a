//! A kernel's matrices, one for each plane of products.

use pulp::{Simd, WithSimd};

use super::{Tiling, padded, transform};
use crate::ops::tile::{store, width};
use crate::parallel::{Lent, each};

/// `[plane][block of results][channel][width]`, made from `weight [r, s, c, k]`. The kernel's phases count as
/// additional results, or else as additional channels.
pub fn panels(t: &Tiling, weight: &[f32], [c, k]: [usize; 2], phases_of_result: bool) -> Lent {
    let [rows, columns] = &t.kernel;
    let phases = rows.len() * columns.len();
    let (channels, results) = if phases_of_result { (c, phases * k) } else { (phases * c, k) };
    let plane = channels * padded(results);
    let side = transform::kernel_side(t.tile);
    let mut lines = Lent::new(t.tile.planes() * plane);
    let planes = lines.f32s_mut().chunks_exact_mut(plane).enumerate();
    each(planes, |(number, panels)| {
        // The last block may have room for more results than there are.
        if results < padded(results) {
            panels.fill(0.0);
        }
        let (down, across) = (&side[number / t.tile.side], &side[number % t.tile.side]);
        for (phase, (taps, others)) in rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))).enumerate() {
            // A plane's weights are a sum over the phase's taps; the points 0 and infinity use few of them.
            let mut terms = Vec::new();
            for (tap, down) in taps.iter().zip(down) {
                for (other, across) in others.iter().zip(across) {
                    let factor = (f64::from(*down) * f64::from(*across)) as f32;
                    if let (Some(tap), Some(other), true) = (tap, other, factor != 0.0) {
                        terms.push((factor, (tap * t.kernel_columns + other) * c * k));
                    }
                }
            }
            let first = if phases_of_result { [0, phase * k] } else { [phase * c, 0] };
            let sizes = [c, k, channels];
            pulp::Arch::new().dispatch(Sum { terms: &terms, weight, sizes, width: width(results), first, panels });
        }
    });
    lines
}

/// The weights of one plane and phase.
struct Sum<'a> {
    /// Factors, and where in `weight` the values that they multiply begin.
    terms: &'a [(f32, usize)],
    weight: &'a [f32],
    /// The weights' channels and results, and the channels of all phases.
    sizes: [usize; 3],
    /// Results in a block.
    width: usize,
    /// The phase's first channel and result.
    first: [usize; 2],
    panels: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sum { terms, weight, sizes: [c, k, channels], width, first, panels } = self;
        let mut at = 0;
        while at < k {
            // As many as are in one block, and one vector.
            let (block, place) = ((first[1] + at) / width, (first[1] + at) % width);
            let lanes = (k - at).min(width - place).min(S::F32_LANES);
            for channel in 0..c {
                let mut sum = simd.splat_f32s(0.0);
                for (factor, begin) in terms {
                    let from = &weight[begin + channel * k + at..][..lanes];
                    let from = match lanes == S::F32_LANES {
                        true => S::as_simd_f32s(from).0[0],
                        false => simd.partial_load_f32s(from),
                    };
                    sum = simd.mul_add_e_f32s(simd.splat_f32s(*factor), from, sum);
                }
                let to = (block * channels + first[0] + channel) * width + place;
                store(simd, &mut panels[to..][..lanes], sum);
            }
            at += lanes;
        }
    }
}
