//! Normally distributed random numbers: latents.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::{Exact, In, Kernel, Op, Out, Target, expect, random};
use crate::parallel::parallel_rows;
use crate::tensor::{Shape, Tensor};

/// A tensor of standard normal numbers by the Box-Muller transform, drawn anew each step; the input is the clock
/// `u32 [step, seed]`. No number is further from zero than 5.77, since draws have 24 bits.
#[derive(Clone, Debug)]
pub struct Normal {
    pub shape: Shape,
    /// Tells uses apart.
    pub stream: u32,
}

/// Elements that a thread takes at a time; even, so that pairs stay together.
const BLOCK: usize = 256;

impl Op for Normal {
    fn name(&self) -> &'static str {
        "normal"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        is_clock(&expect::<1>(inputs)?[0])?;
        Ok(Tensor::f32(self.shape.clone()))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let key = random::key([inputs[0].data[0] as u32, inputs[0].data[1] as u32], self.stream);
        let draw = |i: usize| f64::from(random::unit(random::draw(key, i as u32)));
        for (i, pair) in out.data.chunks_mut(2).enumerate() {
            let radius = (-2.0 * (1.0 - draw(2 * i)).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * (draw(2 * i + 1) - 0.5)).sin_cos();
            pair.iter_mut().zip([cos, sin]).for_each(|(out, side)| *out = radius * side);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let key = random::key(clock(&inputs[0]), self.stream);
        let len = outputs[0].data.len();
        // Logarithm, sine and cosine cost as much as some forty additions.
        parallel_rows(outputs[0].data, BLOCK.min(len), 40 * BLOCK, |block, out| {
            for (pair, i) in out.chunks_mut(2).zip((block * BLOCK..).step_by(2)) {
                let draw = |i: usize| random::unit(random::draw(key, i as u32));
                let radius = (-2.0 * (1.0 - draw(i)).ln()).sqrt();
                let (sin, cos) = (std::f32::consts::TAU * (draw(i + 1) - 0.5)).sin_cos();
                pair.iter_mut().zip([cos, sin]).for_each(|(out, side)| *out = radius * side);
            }
        });
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let len = outputs[0].len();
        Kernel::flat("noise", "normal", len.div_ceil(2)).with("LEN", len).with("STREAM", self.stream)
    }
}

pub fn cases() -> Vec<Case> {
    let case = |shape: [usize; 2]| {
        let op = Normal { shape: shape.into(), stream: 5 };
        // WGSL only asks for an absolute error of 2^-11 for cos and sin, and of 2^-21 for log, whose square root near
        // zero is 1e-3: for results up to 3 or more.
        let case = Case::new(format!("{shape:?}"), Arc::new(op)).tolerance(1e-3);
        case.input(Tensor::u32([2]), Fill::Words(&[3, 8])).no_derivative()
    };
    [[1, 1], [7, 13], [64, 101]].map(case).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_moments_of_a_normal_distribution() {
        let n = 100_001;
        let (shape, mut data) = (Shape::from([n]), vec![0.0; n]);
        let words = [bytemuck::cast::<u32, f32>(3), bytemuck::cast::<u32, f32>(1)];
        let input = In { data: &words, shape: &Shape::from([2]) };
        Normal { shape: shape.clone(), stream: 0 }.cpu(&[input], &mut [Out { data: &mut data, shape: &shape }]);
        let moment = |p: i32| data.iter().map(|x| f64::from(*x).powi(p)).sum::<f64>() / n as f64;
        // Four standard errors: sqrt of 1, 2, 15, 96 over n.
        for (p, wanted, spread) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (moment(p) - wanted).abs();
            assert!(error < 4.0 * (spread / n as f64).sqrt(), "moment {p} is {}", moment(p));
        }
    }
}
