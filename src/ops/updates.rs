//! What a step leaves behind on the device: the clock, its loss, and rows of its results.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::{Exact, In, Kernel, Op, Out, Target, expect};
use crate::tensor::{Kind, Tensor};

fn kernel(entry: &'static str, count: usize) -> Kernel {
    Kernel::flat("updates", entry, count)
}

/// An update: the clock `u32 [step, seed]` advances by this many steps.
#[derive(Clone, Copy, Debug)]
pub struct Tick(pub u32);

impl Op for Tick {
    fn name(&self) -> &'static str {
        "tick"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<0>(inputs).map(|_| Tensor::u32([2]))
    }
    fn reference(&self, _: &[Exact], out: &mut Exact) -> bool {
        out.data[0] += f64::from(self.0);
        true
    }
    fn cpu(&self, _: &[In], outputs: &mut [Out]) {
        let step = &mut outputs[0].u32s()[0];
        *step = step.wrapping_add(self.0);
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("tick", 1).with("BY", self.0 as usize)
    }
}

/// An update: `ring [slots, 2]` gets the loss and the correct answers of this step in the slot `step % slots`.
/// Inputs: the clock, the loss `[1]` and the count `[1]`.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub slots: usize,
}

impl Op for Record {
    fn name(&self) -> &'static str {
        "record"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [clock, loss, correct] = expect::<3>(inputs)?;
        is_clock(clock)?;
        if loss.len() != 1 || correct.len() != 1 || self.slots == 0 {
            return Err("takes a loss and a count of one element each, and at least one slot".into());
        }
        Ok(Tensor::f32([self.slots, 2]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let slot = inputs[0].data[0] as usize % self.slots;
        out.data[2 * slot] = inputs[1].data[0];
        out.data[2 * slot + 1] = inputs[2].data[0];
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let slot = clock(&inputs[0])[0] as usize % self.slots;
        outputs[0].data[2 * slot] = inputs[1].data[0];
        outputs[0].data[2 * slot + 1] = inputs[2].data[0];
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("record", 1).with("SLOTS", self.slots)
    }
}

/// An update: rows of a batch go to their places among all, row `step * batch + i` of `[count, width]`; those past
/// the end are dropped. Inputs: the clock and `x [batch, ..]`.
#[derive(Clone, Copy, Debug)]
pub struct StoreRows {
    pub count: usize,
}

/// Batch and width of a tensor whose outermost size is the batch.
fn batch_and_width(dims: &[usize]) -> (usize, usize) {
    dims.split_first().map_or((1, 1), |(batch, rest)| (*batch, rest.iter().product()))
}

impl Op for StoreRows {
    fn name(&self) -> &'static str {
        "store_rows"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [clock, x] = expect::<2>(inputs)?;
        is_clock(clock)?;
        if x.is_empty() || x.kind != Kind::F32 {
            return Err("takes rows of f32".into());
        }
        Ok(Tensor::f32([self.count, batch_and_width(x.dims()).1]))
    }
    fn bytes(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs[1].len() as u64 * 8
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (batch, width) = batch_and_width(inputs[1].dims());
        for (i, row) in inputs[1].data.chunks(width).enumerate() {
            let at = inputs[0].data[0] as usize * batch + i;
            if at < self.count {
                out.data[at * width..][..width].copy_from_slice(row);
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (batch, width) = batch_and_width(inputs[1].dims());
        let first = clock(&inputs[0])[0] as usize * batch;
        let rows = batch.min(self.count.saturating_sub(first));
        if rows > 0 {
            outputs[0].data[first * width..][..rows * width].copy_from_slice(&inputs[1].data[..rows * width]);
        }
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let (batch, width) = batch_and_width(inputs[1].dims());
        kernel("store_rows", batch * width).with("BATCH", batch).with("WIDTH", width).with("ROWS", self.count)
    }
}

pub fn cases() -> Vec<Case> {
    // An update's case starts from a target of zeros.
    let mut cases = Vec::from([1, 3].map(|by| Case::new(format!("by {by}"), Arc::new(Tick(by))).no_derivative()));
    for (slots, step) in [(1, &[9, 0]), (7, &[9, 0])] {
        let case = Case::new(format!("{slots} slots"), Arc::new(Record { slots })).no_derivative();
        let case = case.input(Tensor::u32([2]), Fill::Words(step)).input(Tensor::f32([1]), Fill::Positive);
        cases.push(case.input(Tensor::f32([1]), Fill::Uniform));
    }
    for (count, step) in [(37, &[1, 0]), (18, &[1, 0]), (5, &[1, 0])] {
        let case = Case::new(format!("13 of {count}"), Arc::new(StoreRows { count })).no_derivative();
        cases.push(case.input(Tensor::u32([2]), Fill::Words(step)).input(Tensor::f32([13, 7]), Fill::Uniform));
    }
    cases
}
