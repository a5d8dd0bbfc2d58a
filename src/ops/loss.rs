//! Losses: cross entropy on logits, mean squared error, binary cross entropy on logits, hinge; and the count of rows
//! classified correctly.
//!
//! Each forward pass gives one number from one workgroup. A label that is no class (what the data set gives past its
//! end) adds nothing to a loss, a derivative or a count; means still divide by all rows.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::elementwise::finite;
use super::kernel::MOST_INVOCATIONS;
use super::softmax::{exponentials, largest};
use super::{Derivatives, Exact, In, Kernel, Op, Out, Target, expect, floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::{each, parallel_zip2, rows_at_a_time, scratch, vectorized};
use crate::tensor::{Kind, Tensor};

/// The shader's number for the count of rows that are right; each loss has its own too.
const CORRECT: u32 = 1;

/// A kernel over rows `[n, classes]` with labels, or over single elements with targets.
pub(super) fn kernel(entry: &'static str, loss: u32, x: &Tensor) -> Kernel {
    let is_grad = entry == "grad";
    let of_labels = matches!(loss, CrossEntropy::CODE | CORRECT);
    let (rows, width) = if of_labels { (x.shape.rows(), x.shape.last()) } else { (x.len(), 1) };
    let (kernel, rows_each) = match is_grad {
        true => (Kernel::flat("loss", entry, rows), 1),
        false => {
            let group = Kernel::groups("loss", entry, 1).with("WORKGROUP", MOST_INVOCATIONS);
            (group, rows.div_ceil(MOST_INVOCATIONS))
        }
    };
    // How often the shader goes through a row, four elements a round.
    let passes = match (entry, loss) {
        _ if !of_labels => 0,
        ("grad" | "record", _) => 3,
        (_, CORRECT) => 1,
        _ => 2,
    };
    kernel
        .rounds(rows_each * (passes * width.div_ceil(4) + 1))
        .with("LOSS", loss)
        .with("OF_LABELS", of_labels)
        .with("IS_GRAD", is_grad)
        .with("ROWS", rows)
        .with("WIDTH", width)
}

/// The derivative's kernel with the incoming derivative: an input of one number, or a number that is known.
fn with_d_out(kernel: Kernel, d_out: Option<f32>) -> Kernel {
    kernel.with("HAS_D_OUT", d_out.is_none()).with("D_OUT", d_out.unwrap_or(0.0))
}

/// Checks the number of a derivative's inputs: the two that the loss has, and the derivative with respect to the loss,
/// one float, unless it is known.
fn expect_d_out(inputs: &[Tensor], d_out: Option<f32>) -> Result<(), String> {
    if let Some(d_out) = d_out {
        finite(&[d_out])?;
        return expect::<2>(inputs).map(drop);
    }
    let [_, _, d_out] = expect::<3>(inputs)?;
    let is_one = d_out.len() == 1 && d_out.kind != Kind::U32;
    if is_one { Ok(()) } else { Err("the derivative with respect to a loss is one float".into()) }
}

pub(super) fn labelled(inputs: &[Tensor]) -> Result<(), String> {
    let [x, labels, ..] = inputs else { return Err("takes logits and labels".into()) };
    if x.shape.rank() != 2 || x.is_empty() || x.kind == Kind::U32 {
        return Err("logits are floats [n, classes]".into());
    }
    if labels.kind != Kind::U32 || labels.len() != x.shape.rows() {
        return Err(format!("takes {} labels, as whole numbers", x.shape.rows()));
    }
    Ok(())
}

pub(super) fn alike(inputs: &[Tensor]) -> Result<(), String> {
    let [x, target, ..] = inputs else { return Err("takes a prediction and a target".into()) };
    if x.len() != target.len() || x.is_empty() {
        return Err("the prediction and the target must have the same size".into());
    }
    floats(&inputs[..2])
}

/// Whether labels can be smoothed so much: a share of each goes to all classes.
pub(super) fn is_smoothing(smoothing: f32) -> Result<(), String> {
    let is_share = (0.0..=1.0).contains(&smoothing);
    if is_share { Ok(()) } else { Err(format!("labels are smoothed by 0 to 1, not by {smoothing}")) }
}

fn one() -> Tensor {
    Tensor::f32([1])
}

/// Mean over rows of the cross entropy of softmax(`logits [n, classes]`) against `labels u32 [n]`, of shape `[1]`.
///
/// With smoothing a label is `1 - smoothing` of its class and `smoothing / classes` of every class (Szegedy et
/// al., "Rethinking the Inception architecture", 2016).
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    pub smoothing: f32,
}

impl CrossEntropy {
    /// Its number in the shader.
    pub(super) const CODE: u32 = 0;
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<2>(inputs)?;
        is_smoothing(self.smoothing)?;
        labelled(inputs).map(|()| one())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let grad = CrossEntropyGrad { smoothing: self.smoothing, d_out: None };
        let d_logits = graph.apply(grad, &[node.inputs[0], node.inputs[1], node.d_out])?;
        Ok(vec![Some(d_logits), None])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (x, smoothing) = (&inputs[0], f64::from(self.smoothing));
        let classes = x.shape.last();
        let row = |(x, label): (&[f64], &f64)| {
            let Some(wanted) = x.get(*label as usize) else { return 0.0 };
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let norm = largest + x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
            norm - (1.0 - smoothing) * wanted - smoothing / classes as f64 * x.iter().sum::<f64>()
        };
        let sum: f64 = x.data.chunks(classes).zip(&inputs[1].data).map(row).sum();
        out.data[0] = sum / inputs[1].data.len() as f64;
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (labels, classes) = (inputs[1].u32s(), inputs[0].shape.last());
        let x = inputs[0].data;
        scratch(x.len(), |exps| {
            vectorized(
                #[inline(always)]
                || {
                    exponentials(x, classes, exps);
                    let row = |((x, exps), label): ((&[f32], &[f32]), &u32)| {
                        let Some(wanted) = x.get(*label as usize) else { return 0.0 };
                        let (largest, log) = (largest(x), exps.iter().sum::<f32>().ln());
                        let rest: f32 = x.iter().map(|x| x - largest).sum();
                        log - (1.0 - self.smoothing) * (wanted - largest) - self.smoothing / classes as f32 * rest
                    };
                    let rows = x.chunks_exact(classes).zip(exps.chunks_exact(classes)).zip(labels);
                    let sum: f64 = rows.map(row).map(f64::from).sum();
                    outputs[0].data[0] = (sum / labels.len() as f64) as f32;
                },
            );
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("forward", CrossEntropy::CODE, &inputs[0])
            .with("SMOOTHING", self.smoothing)
            .with("FACTOR", 1.0 / inputs[1].len() as f32)
    }
}

/// The smallest derivative with respect to a prediction that is passed on; smaller ones become 0. A network that is
/// sure of its answers has some of 1e-38 and less, which are subnormal in f32, and processors work on such numbers a
/// hundred times more slowly: a dense network that had memorised its images took four times as long for a step.
/// Products of weights and this number are still normal numbers.
const LEAST: f32 = 1e-30;

#[inline(always)]
fn passed_on(derivative: f32) -> f32 {
    if derivative.abs() < LEAST { 0.0 } else { derivative }
}

/// The derivative of [`CrossEntropy`] with respect to the logits, from `logits`, `labels` and `d_out [1]`.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyGrad {
    pub smoothing: f32,
    /// Replaces the third input where it is known beforehand.
    pub d_out: Option<f32>,
}

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy.grad"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect_d_out(inputs, self.d_out)?;
        is_smoothing(self.smoothing)?;
        labelled(inputs).map(|()| inputs[0].clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (x, smoothing) = (&inputs[0], f64::from(self.smoothing));
        let (rows, classes) = (x.shape.rows() as f64, x.shape.last());
        let d_out = self.d_out.map_or_else(|| inputs[2].data[0], f64::from);
        let each = out.data.chunks_mut(classes).zip(x.data.chunks(classes)).zip(&inputs[1].data);
        for ((out, x), label) in each {
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
            for c in 0..classes {
                let hit = if c == *label as usize { 1.0 - smoothing } else { 0.0 };
                let slope = (x[c] - largest).exp() / sum - hit - smoothing / classes as f64;
                out[c] = if (*label as usize) < classes { d_out / rows * slope } else { 0.0 };
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, labels, classes) = (inputs[0].data, inputs[1].u32s(), inputs[0].shape.last());
        let d = self.d_out.unwrap_or_else(|| inputs[2].data[0]) / labels.len() as f32;
        let rows = rows_at_a_time(labels.len(), 10 * classes);
        each(outputs[0].data.chunks_mut(rows * classes).enumerate(), |(share, out)| {
            vectorized(
                #[inline(always)]
                || {
                    exponentials(&x[share * rows * classes..], classes, out);
                    let even = d * self.smoothing / classes as f32;
                    for (out, label) in out.chunks_exact_mut(classes).zip(&labels[share * rows..]) {
                        let scale = d / out.iter().sum::<f32>();
                        out.iter_mut().for_each(|out| *out = *out * scale - even);
                        match out.get_mut(*label as usize) {
                            Some(wanted) => *wanted -= d * (1.0 - self.smoothing),
                            None => out.fill(0.0),
                        }
                    }
                    out.iter_mut().for_each(|out| *out = passed_on(*out));
                },
            );
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        with_d_out(kernel("grad", CrossEntropy::CODE, &inputs[0]), self.d_out).with("SMOOTHING", self.smoothing)
    }
    fn with_constant(&self, input: usize, value: f32, _: &Tensor) -> Option<Arc<dyn Op>> {
        let known = input == 2 && self.d_out.is_none() && value.is_finite();
        known.then(|| Arc::new(CrossEntropyGrad { d_out: Some(value), ..*self }) as Arc<dyn Op>)
    }
}

/// How many rows of `logits [n, classes]` are largest at their label, as one f32. Of equal maxima the first counts; NaN
/// is never the largest.
#[derive(Clone, Copy, Debug)]
pub struct Correct;

impl Op for Correct {
    fn name(&self) -> &'static str {
        "correct"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<2>(inputs)?;
        labelled(inputs).map(|()| one())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let rows = inputs[0].data.chunks(inputs[0].shape.last()).zip(&inputs[1].data);
        let right = rows.filter(|(x, label)| {
            let largest = x.iter().copied().fold(f64::NAN, f64::max);
            x.iter().position(|x| *x == largest) == Some(**label as usize)
        });
        out.data[0] = right.count() as f64;
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let rows = inputs[0].data.chunks_exact(inputs[0].shape.last()).zip(inputs[1].u32s());
        let right = rows.filter(|(x, label)| {
            let label = **label as usize;
            let Some(wanted) = x.get(label).filter(|wanted| !wanted.is_nan()) else { return false };
            !x[..label].iter().any(|x| x >= wanted) && !x[label..].iter().any(|x| x > wanted)
        });
        outputs[0].data[0] = right.count() as f32;
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("forward", CORRECT, &inputs[0]).with("SMOOTHING", 0.0).with("FACTOR", 1.0)
    }
}

/// A loss of a prediction and a target of the same size: the mean over all elements, of shape `[1]`. The target gets no
/// derivative.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pairwise {
    /// `(prediction - target)^2`
    Mse,
    /// The cross entropy of sigmoid(`prediction`) against a target in 0..=1.
    Bce,
    /// `max(0, 1 - side * prediction)`, where a target of 1 is the side 1 and a target of 0 the side -1.
    Hinge,
}

impl Pairwise {
    pub const ALL: [Pairwise; 3] = [Pairwise::Mse, Pairwise::Bce, Pairwise::Hinge];

    /// The mean over all pairs.
    pub(super) fn mean(self, x: &[f32], targets: &[f32]) -> f32 {
        let sum: f64 = x.iter().zip(targets).map(|(x, t)| f64::from(self.value(*x, *t))).sum();
        (sum / x.len() as f64) as f32
    }
    pub(super) fn exact_mean(self, x: &[f64], targets: &[f64]) -> f64 {
        x.iter().zip(targets).map(|(x, t)| self.exact(*x, *t)).sum::<f64>() / x.len() as f64
    }
    pub(super) fn code(self) -> u32 {
        match self {
            Pairwise::Mse => 2,
            Pairwise::Hinge => 3,
            Pairwise::Bce => 4,
        }
    }
    fn exact(self, x: f64, t: f64) -> f64 {
        match self {
            Pairwise::Mse => (x - t) * (x - t),
            Pairwise::Bce => x.max(0.0) - x * t + (-x.abs()).exp().ln_1p(),
            Pairwise::Hinge => (1.0 - (2.0 * t - 1.0) * x).max(0.0),
        }
    }
    #[inline(always)]
    fn value(self, x: f32, t: f32) -> f32 {
        match self {
            Pairwise::Mse => (x - t) * (x - t),
            Pairwise::Bce => x.max(0.0) - x * t + (-x.abs()).exp().ln_1p(),
            // `max` would turn NaN into 0.
            Pairwise::Hinge => {
                let short = 1.0 - (2.0 * t - 1.0) * x;
                if short < 0.0 { 0.0 } else { short }
            }
        }
    }
    fn exact_slope(self, x: f64, t: f64) -> f64 {
        match self {
            Pairwise::Mse => 2.0 * (x - t),
            Pairwise::Bce => 1.0 / (1.0 + (-x).exp()) - t,
            Pairwise::Hinge if (2.0 * t - 1.0) * x < 1.0 => 1.0 - 2.0 * t,
            Pairwise::Hinge => 0.0,
        }
    }
    #[inline(always)]
    fn slope(self, x: f32, t: f32) -> f32 {
        match self {
            Pairwise::Mse => 2.0 * (x - t),
            Pairwise::Bce => 1.0 / (1.0 + (-x).exp()) - t,
            Pairwise::Hinge if (2.0 * t - 1.0) * x < 1.0 => 1.0 - 2.0 * t,
            Pairwise::Hinge => 0.0,
        }
    }
}

impl Op for Pairwise {
    fn name(&self) -> &'static str {
        match self {
            Pairwise::Mse => "mse",
            Pairwise::Bce => "binary_cross_entropy",
            Pairwise::Hinge => "hinge",
        }
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<2>(inputs)?;
        alike(inputs).map(|()| one())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let grad = PairwiseGrad { loss: *self, d_out: None };
        let d_x = graph.apply(grad, &[node.inputs[0], node.inputs[1], node.d_out])?;
        Ok(vec![Some(d_x), None])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data[0] = self.exact_mean(&inputs[0].data, &inputs[1].data);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        outputs[0].data[0] = self.mean(inputs[0].data, inputs[1].data);
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        kernel("forward", self.code(), &inputs[0]).with("FACTOR", 1.0 / inputs[0].len() as f32)
    }
}

/// The derivative of a [`Pairwise`] loss with respect to the prediction, from prediction, target and `d_out [1]`.
#[derive(Clone, Copy, Debug)]
pub struct PairwiseGrad {
    pub loss: Pairwise,
    /// Replaces the third input where it is known beforehand.
    pub d_out: Option<f32>,
}

impl Op for PairwiseGrad {
    fn name(&self) -> &'static str {
        match self.loss {
            Pairwise::Mse => "mse.grad",
            Pairwise::Bce => "binary_cross_entropy.grad",
            Pairwise::Hinge => "hinge.grad",
        }
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect_d_out(inputs, self.d_out)?;
        alike(inputs).map(|()| inputs[0].clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let d = self.d_out.map_or_else(|| inputs[2].data[0], f64::from) / inputs[0].data.len() as f64;
        let each = out.data.iter_mut().zip(inputs[0].data.iter().zip(&inputs[1].data));
        each.for_each(|(out, (x, t))| *out = d * self.loss.exact_slope(*x, *t));
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let d = self.d_out.unwrap_or_else(|| inputs[2].data[0]) / inputs[0].data.len() as f32;
        parallel_zip2(outputs[0].data, inputs[0].data, inputs[1].data, |out, x, t| {
            out.iter_mut().zip(x).zip(t).for_each(|((out, x), t)| *out = passed_on(d * self.loss.slope(*x, *t)));
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        with_d_out(kernel("grad", self.loss.code(), &inputs[0]), self.d_out)
    }
    fn with_constant(&self, input: usize, value: f32, _: &Tensor) -> Option<Arc<dyn Op>> {
        let known = input == 2 && self.d_out.is_none() && value.is_finite();
        known.then(|| Arc::new(PairwiseGrad { d_out: Some(value), ..*self }) as Arc<dyn Op>)
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // 1000, 999, -1000, 3, NaN-free: exponentials of these overflow.
    let large = Fill::Words(&[0x447a_0000, 0x4479_c000, 0xc47a_0000, 0x4040_0000, 0x447a_0000]);
    for (n, classes) in [(1, 1), (5, 7), (128, 10), (301, 3)] {
        let logits = Tensor::f32([n, classes]);
        let labels = || Tensor::u32([n]);
        for (what, fill, derivative) in [("", Fill::Uniform, true), (" of large numbers", large, false)] {
            // One label more than there are classes: rows past the data set's end.
            let label = Fill::Below(classes as u32 + 1);
            let name = format!("{:?}{what}", [n, classes]);
            for smoothing in [0.0, 0.1] {
                let name = format!("{name} smoothing {smoothing}");
                let mut case = Case::new(name.clone(), Arc::new(CrossEntropy { smoothing }));
                if !derivative {
                    // Differences of 1e-6 drown in losses of 1000.
                    case = case.no_derivative();
                }
                cases.push(case.input(logits.clone(), fill).input(labels(), label));
                for d_out in [None, Some(0.5)] {
                    let name = format!("{name} d_out {d_out:?}");
                    let grad = Case::new(name, Arc::new(CrossEntropyGrad { smoothing, d_out })).no_derivative();
                    let grad = grad.input(logits.clone(), fill).input(labels(), label);
                    cases.push(if d_out.is_none() { grad.input(one(), Fill::Positive) } else { grad });
                }
            }
            let correct = Case::new(name, Arc::new(Correct)).input(logits.clone(), fill);
            cases.push(correct.input(labels(), label).no_derivative());
        }
    }
    for shape in [[1, 1], [7, 13], [37, 101]] {
        let (x, name) = (Tensor::f32(shape), format!("{shape:?}"));
        for loss in Pairwise::ALL {
            for (what, fill) in [("", Fill::Uniform), (" of large numbers", large)] {
                let name = format!("{name}{what}");
                // The target has no derivative, so tests/networks/layers.rs checks the prediction's.
                let pair = |op: Arc<dyn Op>| {
                    let case = Case::new(name.clone(), op).no_derivative();
                    case.input(x.clone(), fill).input(x.clone(), Fill::Positive)
                };
                cases.push(pair(Arc::new(loss)));
                let grad = |d_out| pair(Arc::new(PairwiseGrad { loss, d_out }));
                cases.push(grad(None).input(one(), Fill::Positive));
                cases.push(grad(Some(0.5)));
            }
        }
    }
    cases
}

#[cfg(test)]
#[path = "loss_tests.rs"]
mod tests;
