//! What a step reports, straight into the ring that the host reads now and then: its loss, and one more number.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::loss::{Correct, CrossEntropy, Pairwise, alike, is_smoothing, kernel, labelled};
use super::{Exact, In, Kernel, Op, Out, Target};
use crate::tensor::Tensor;

/// Two numbers computed from `x` and what it should have been.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Told {
    /// For logits and labels: the [`CrossEntropy`], and how many rows are [`Correct`].
    Classes { smoothing: f32 },
    /// For predictions and targets: the loss over the first half of them, and over the second.
    Halves(Pairwise),
    /// The loss over all, and the mean prediction.
    Whole(Pairwise),
}

/// An update: `ring [slots, 2]` gets the two numbers for `x` and its labels or targets, the first two inputs, in the
/// slot `step % slots` of the clock `u32 [step, seed]`. The clock is the third input, or, where the op ends a step, the
/// second target, which it then advances by one step.
#[derive(Clone, Copy, Debug)]
pub struct RecordLoss {
    pub slots: usize,
    pub told: Told,
    pub ticks: bool,
}

impl Op for RecordLoss {
    fn name(&self) -> &'static str {
        "record_loss"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, _, clock @ ..] = inputs else { return Err("takes 2 inputs or 3".into()) };
        match (self.ticks, clock) {
            (true, []) => {}
            (false, [clock]) => is_clock(clock)?,
            _ => return Err("takes a clock where it does not tick, and only there".into()),
        }
        match self.told {
            Told::Classes { smoothing } => is_smoothing(smoothing).and_then(|()| labelled(inputs))?,
            Told::Halves(_) if !x.len().is_multiple_of(2) => return Err("an odd number has no halves".into()),
            Told::Halves(_) | Told::Whole(_) => alike(inputs)?,
        }
        if self.slots == 0 { Err("takes at least one slot".into()) } else { Ok(Tensor::f32([self.slots, 2])) }
    }
    fn targets(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let clock = self.ticks.then(|| Tensor::u32([2]));
        self.shape(inputs).map(|ring| std::iter::once(ring).chain(clock).collect())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        // There is no definition for what it does to two targets; tests/ops.rs has it.
        if self.ticks {
            return false;
        }
        let (x, targets) = (&inputs[0].data, &inputs[1].data);
        let half = x.len() / 2;
        let one = |op: &dyn Op| {
            let mut out = Exact { data: vec![0.0], shape: [1].into() };
            op.reference(&inputs[..2], &mut out);
            out.data[0]
        };
        let told = match self.told {
            Told::Classes { smoothing } => [one(&CrossEntropy { smoothing }), one(&Correct)],
            Told::Halves(loss) => {
                [loss.exact_mean(&x[..half], &targets[..half]), loss.exact_mean(&x[half..], &targets[half..])]
            }
            Told::Whole(loss) => [loss.exact_mean(x, targets), x.iter().sum::<f64>() / x.len() as f64],
        };
        let slot = inputs[2].data[0] as usize % self.slots;
        out.data[2 * slot..][..2].copy_from_slice(&told);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, targets) = (inputs[0].data, inputs[1].data);
        let half = x.len() / 2;
        let one = |op: &dyn Op| {
            let mut out = [0.0];
            op.cpu(&inputs[..2], &mut [Out { data: &mut out, shape: &[1].into() }]);
            out[0]
        };
        let told = match self.told {
            Told::Classes { smoothing } => [one(&CrossEntropy { smoothing }), one(&Correct)],
            Told::Halves(loss) => [loss.mean(&x[..half], &targets[..half]), loss.mean(&x[half..], &targets[half..])],
            Told::Whole(loss) => {
                let sum: f64 = x.iter().map(|x| f64::from(*x)).sum();
                [loss.mean(x, targets), (sum / x.len() as f64) as f32]
            }
        };
        let step = match outputs {
            [_, clock] if self.ticks => {
                let step = &mut clock.u32s()[0];
                std::mem::replace(step, step.wrapping_add(1))
            }
            _ => clock(&inputs[2])[0],
        };
        let slot = step as usize % self.slots;
        outputs[0].data[2 * slot..][..2].copy_from_slice(&told);
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let x = &inputs[0];
        let n = x.len() as f32;
        let (code, smoothing, halves, factors) = match self.told {
            Told::Classes { smoothing } => (CrossEntropy::CODE, smoothing, false, [1.0 / inputs[1].len() as f32, 1.0]),
            Told::Halves(loss) => (loss.code(), 0.0, true, [2.0 / n; 2]),
            Told::Whole(loss) => (loss.code(), 0.0, false, [1.0 / n; 2]),
        };
        kernel("record", code, x)
            .with("SMOOTHING", smoothing)
            .with("HALVES", halves)
            .with("FACTOR", factors[0])
            .with("SECOND_FACTOR", factors[1])
            .with("SLOTS", self.slots)
            .with("TICKS", self.ticks)
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // An update's case starts from a target of zeros.
    let case = |name: String, told: Told| {
        Case::new(name, Arc::new(RecordLoss { slots: 7, told, ticks: false })).no_derivative()
    };
    let at = |case: Case| case.input(Tensor::u32([2]), Fill::Words(&[9, 0]));
    for (n, classes) in [(1, 1), (5, 7), (301, 3)] {
        let case = case(format!("{:?}", [n, classes]), Told::Classes { smoothing: 0.1 });
        let case = case.input(Tensor::f32([n, classes]), Fill::Uniform);
        cases.push(at(case.input(Tensor::u32([n]), Fill::Below(classes as u32 + 1))));
    }
    for n in [2, 6, 590] {
        for loss in Pairwise::ALL {
            for told in [Told::Halves(loss), Told::Whole(loss)] {
                let x = Tensor::f32([n, 1]);
                let case = case(format!("{told:?} {n}"), told).input(x.clone(), Fill::Uniform);
                cases.push(at(case.input(x, Fill::Positive)));
            }
        }
    }
    cases
}
