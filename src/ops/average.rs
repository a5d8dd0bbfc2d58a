//! An exponential moving average of the weights: often better than the last ones.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::kernel::WORKGROUP;
use super::{Exact, In, Kernel, Op, Out, Target, expect};
use crate::parallel::parallel_zip;
use crate::tensor::Tensor;

/// An update: `averaged = d * averaged + (1 - d) * weights`, both `[n]`, with `d = min(decay, (1 + step) / (10 +
/// step))`, so that the first steps are soon forgotten. Inputs: the weights and the clock `u32 [step, seed]`.
#[derive(Clone, Copy, Debug)]
pub struct Average {
    pub decay: f32,
}

impl Op for Average {
    fn name(&self) -> &'static str {
        "average"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [weights, clock] = expect::<2>(inputs)?;
        is_clock(clock).map(|()| weights.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let step = inputs[1].data[0];
        let d = f64::from(self.decay).min((1.0 + step) / (10.0 + step));
        out.data.iter_mut().zip(&inputs[0].data).for_each(|(out, w)| *out = d * *out + (1.0 - d) * w);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let step = clock(&inputs[1])[0] as f32;
        let d = self.decay.min((1.0 + step) / (10.0 + step));
        parallel_zip(outputs[0].data, inputs[0].data, |out, w| {
            out.iter_mut().zip(w).for_each(|(out, w)| *out = d * *out + (1.0 - d) * w);
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let count = inputs[0].len().div_ceil(4);
        Kernel::flat("average", "forward", count)
            .with("COUNT", count)
            .with("DECAY", self.decay)
            .with("WORKGROUP", WORKGROUP)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        3 * inputs[0].len() as u64
    }
}

pub fn cases() -> Vec<Case> {
    // An update's case starts from a target of zeros.
    let case = |(n, step): (usize, &'static [u32])| {
        let case = Case::new(format!("[{n}] step {}", step[0]), Arc::new(Average { decay: 0.99 }));
        let case = case.input(Tensor::f32([n]), Fill::Uniform).input(Tensor::u32([2]), Fill::Words(step));
        case.no_derivative()
    };
    [(1, &[0, 0]), (37, &[5, 0]), (40_007, &[100_000, 0])].map(|(n, s): (usize, &'static [u32; 2])| case((n, s))).into()
}
