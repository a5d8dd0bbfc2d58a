//! Labels as rows of ones and zeros: how a network is told a class.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{Exact, In, Kernel, Op, Out, Target, expect};
use crate::tensor::{Kind, Tensor};

/// `out[n, c] = 1 where labels[n] == c, else 0`, of `labels u32 [n]`. A label that is no class gives a row of zeros.
#[derive(Clone, Copy, Debug)]
pub struct OneHot {
    pub classes: usize,
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [labels] = expect::<1>(inputs)?;
        if labels.kind != Kind::U32 || labels.is_empty() || self.classes == 0 {
            return Err("takes labels, as whole numbers, of one class or more".into());
        }
        Ok(Tensor::f32([labels.len(), self.classes]))
    }
    fn constant(&self) -> bool {
        true
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        for (row, label) in out.data.chunks_mut(self.classes).zip(&inputs[0].data) {
            (0..self.classes).for_each(|c| row[c] = if *label == c as f64 { 1.0 } else { 0.0 });
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        outputs[0].data.fill(0.0);
        for (row, label) in outputs[0].data.chunks_exact_mut(self.classes).zip(inputs[0].u32s()) {
            if let Some(own) = row.get_mut(*label as usize) {
                *own = 1.0;
            }
        }
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        Kernel::flat("one_hot", "forward", outputs[0].len()).with("CLASSES", self.classes)
    }
}

pub fn cases() -> Vec<Case> {
    let case = |(n, classes): (usize, usize)| {
        Case::new(format!("{n} of {classes}"), Arc::new(OneHot { classes }))
            .input(Tensor::u32([n]), Fill::Below(classes as u32 + 1))
            .no_derivative()
    };
    [(1, 1), (7, 10), (130, 3)].into_iter().map(case).collect()
}
