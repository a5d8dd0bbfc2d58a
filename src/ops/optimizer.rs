//! The optimizers: one update over all weights at once.
//!
//! Formulas are PyTorch's. What depends on the step alone, namely the learning rate and bias corrections, is computed
//! on the host in f64 and stored in a table with a row for each step, so that nothing is sent to the device while it
//! trains.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::{Exact, In, Kernel, Op, Out, Target};
use crate::graph::{ALIGNMENT, Graph, GraphError, Place, Value};
use crate::parallel::{each, part, vectorized};
use crate::tensor::Tensor;

/// Which optimizer. Below, `g` is the gradient, `w` a weight, `m` and `v` its moments, which start at 0, and `t`
/// the step, from 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Optimizer {
    /// `m = momentum * m + g; w -= rate * m`, and with `nesterov` `w -= rate * (g + momentum * m)`.
    Sgd { momentum: f32, nesterov: bool },
    /// `m = rho * m + (1 - rho) * g^2; w -= rate * g / (sqrt(m) + eps)` (Tieleman and Hinton, 2012).
    RmsProp { rho: f32, eps: f32 },
    /// `m += g^2; w -= rate * g / (sqrt(m) + eps)` (Duchi et al., 2011).
    Adagrad { eps: f32 },
    /// `m = rho * m + (1 - rho) * g^2; d = g * sqrt(v + eps) / sqrt(m + eps); v = rho * v + (1 - rho) * d^2;
    /// w -= rate * d` (Zeiler, 2012).
    Adadelta { rho: f32, eps: f32 },
    /// `m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
    /// w -= rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)` (Kingma and Ba, 2015).
    Adam { beta1: f32, beta2: f32, eps: f32 },
    /// Adam with Nesterov's momentum, whose `beta1` warms up by `1 - 0.96^(t * momentum_decay) / 2` (Dozat, 2016).
    Nadam { beta1: f32, beta2: f32, eps: f32, momentum_decay: f32 },
    /// [`Optimizer::Adam`], meant to go with weight decay (Loshchilov and Hutter, 2019).
    AdamW { beta1: f32, beta2: f32, eps: f32 },
}

impl Optimizer {
    /// How many moments it keeps of each weight: 0, 1 or 2.
    pub fn moments(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Optimizer::RmsProp { .. } | Optimizer::Adagrad { .. } => 1,
            _ => 2,
        }
    }

    /// A row for each step: the learning rate and three corrections, as the op's `table` input wants them.
    pub fn table(&self, learning_rates: &[f64]) -> Vec<[f32; 4]> {
        // Nadam's warmed-up momentum of step t, and the product of those up to the last step.
        let mut product = 1.0;
        let row = |(i, rate): (usize, &f64)| {
            let t = (i + 1) as f64;
            let unbiased = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(t));
            let corrections = match *self {
                Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => {
                    [unbiased(beta1), unbiased(beta2), 0.0]
                }
                Optimizer::Nadam { beta1, beta2, momentum_decay, .. } => {
                    let (beta1, decay) = (f64::from(beta1), f64::from(momentum_decay));
                    let momentum = |t: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t * decay));
                    let (now, next) = (momentum(t), momentum(t + 1.0));
                    product *= now;
                    [(1.0 - now) / (1.0 - product), unbiased(beta2), next / (1.0 - product * next)]
                }
                _ => [0.0; 3],
            };
            [*rate as f32, corrections[0] as f32, corrections[1] as f32, corrections[2] as f32]
        };
        learning_rates.iter().enumerate().map(row).collect()
    }

    fn entry(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::RmsProp { .. } => "rmsprop",
            Optimizer::Adagrad { .. } => "adagrad",
            Optimizer::Adadelta { .. } => "adadelta",
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => "adam",
            Optimizer::Nadam { .. } => "nadam",
        }
    }

    /// Its first and second factor of decay, and epsilon.
    fn factors(&self) -> (f32, f32, f32) {
        match *self {
            Optimizer::Sgd { momentum, .. } => (momentum, 0.0, 0.0),
            Optimizer::RmsProp { rho, eps } | Optimizer::Adadelta { rho, eps } => (rho, 0.0, eps),
            Optimizer::Adagrad { eps } => (0.0, 0.0, eps),
            Optimizer::Adam { beta1, beta2, eps }
            | Optimizer::AdamW { beta1, beta2, eps }
            | Optimizer::Nadam { beta1, beta2, eps, .. } => (beta1, beta2, eps),
        }
    }

    /// Updates some weights and their moments; moments that it does not keep are empty.
    #[inline(always)]
    fn step(&self, row: &[f32], g: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let (rate, (a, b, eps)) = (row[0], self.factors());
        match self {
            Optimizer::Sgd { .. } if m.is_empty() => w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * g),
            Optimizer::Sgd { nesterov, .. } => {
                let (of_g, of_m) = if *nesterov { (1.0, a) } else { (0.0, 1.0) };
                for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
                    *m = normal(a * *m + g);
                    *w -= rate * (of_g * g + of_m * *m);
                }
            }
            Optimizer::RmsProp { .. } => {
                for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
                    *m = normal(a * *m + (1.0 - a) * g * g);
                    *w -= rate * g / (m.sqrt() + eps);
                }
            }
            Optimizer::Adagrad { .. } => {
                for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
                    *m += g * g;
                    *w -= rate * g / (m.sqrt() + eps);
                }
            }
            Optimizer::Adadelta { .. } => {
                for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
                    *m = normal(a * *m + (1.0 - a) * g * g);
                    let d = g * (*v + eps).sqrt() / (*m + eps).sqrt();
                    *v = normal(a * *v + (1.0 - a) * d * d);
                    *w -= rate * d;
                }
            }
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::Nadam { .. } => {
                let (of_g, of_m) = if let Optimizer::Nadam { .. } = self { (row[1], row[3]) } else { (0.0, row[1]) };
                let of_v = row[2];
                for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
                    *m = normal(a * *m + (1.0 - a) * g);
                    *v = normal(b * *v + (1.0 - b) * g * g);
                    *w -= rate * (of_g * g + of_m * *m) / ((of_v * *v).sqrt() + eps);
                }
            }
        }
    }
}

/// A moment, or 0 where it has decayed to a subnormal number: processors add such numbers a hundred times more slowly,
/// and the weight of a pixel that is seldom inked has one after a few hundred steps. GPUs flush them to 0 by
/// themselves.
#[inline(always)]
fn normal(moment: f32) -> f32 {
    if moment.abs() < f32::MIN_POSITIVE { 0.0 } else { moment }
}

/// An update: one step of an optimizer. Inputs: gradients `[n]`, the table `[steps, 4]` of [`Optimizer::table`], the
/// clock `u32 [step, seed]`, and where `decay` is above 0 a mask `[ceil(n / 64)]` with 1 for each block of 64 weights
/// that decays. Targets: weights `[n]`, then as many moments `[n]` as the optimizer keeps, then, where `average` is
/// above 0, the weights' averages `[n]`. Steps beyond the table take its last row.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub optimizer: Optimizer,
    /// Decoupled weight decay: `w *= 1 - rate * decay` before the step.
    pub decay: f32,
    /// What gradients are first multiplied by: 1, or what undoes the scaling of their loss.
    pub factor: f32,
    /// Decay of the averaged weights: `averaged = d * averaged + (1 - d) * w` with `d = min(average, (1 + step) / (10 +
    /// step))`, so that the first steps are soon forgotten; 0 for none.
    pub average: f32,
}

/// Adds the update to a graph; `mask` is required where there is decay, and ignored where there is none.
///
/// # Errors
/// Those of [`Graph::update`].
pub fn optimize(
    graph: &mut Graph,
    update: Update,
    [gradients, table, clock]: [Value; 3],
    mask: Option<Value>,
    targets: Vec<Place>,
) -> Result<(), GraphError> {
    let mut inputs = vec![gradients, table, clock];
    inputs.extend(mask.filter(|_| update.decay > 0.0));
    graph.update(update, &inputs, targets)
}

/// Weights that go through decay and step while they are in the fastest cache; whole blocks of the mask.
const BLOCK: usize = 1024;

impl Update {
    /// Updates a part of the weights and of the other targets, from weight `first` on.
    #[inline(always)]
    fn run(&self, inputs: &[In], first: usize, mut targets: Vec<&mut [f32]>) {
        let (table, step) = (inputs[1].data, clock(&inputs[2])[0]);
        let row = &table[4 * (step as usize).min(table.len() / 4 - 1)..][..4];
        let decay = self.average.min((1.0 + step as f32) / (10.0 + step as f32));
        let mut averaged = if self.average > 0.0 { targets.pop() } else { None };
        let mut targets = targets.into_iter();
        let [w, m, v] = std::array::from_fn(|_| targets.next().unwrap_or_default());
        for start in (0..w.len()).step_by(BLOCK) {
            let end = (start + BLOCK).min(w.len());
            let w = &mut w[start..end];
            let at = first + start;
            if self.decay > 0.0 {
                let mask = &inputs[3].data[at / ALIGNMENT..];
                for (w, mask) in w.chunks_mut(ALIGNMENT).zip(mask) {
                    let factor = 1.0 - row[0] * self.decay * mask;
                    w.iter_mut().for_each(|w| *w *= factor);
                }
            }
            let mut scaled: [f32; BLOCK];
            let mut g = &inputs[0].data[at..][..w.len()];
            if self.factor != 1.0 {
                scaled = [0.0; BLOCK];
                scaled.iter_mut().zip(g).for_each(|(scaled, g)| *scaled = self.factor * g);
                g = &scaled[..g.len()];
            }
            let m = if m.is_empty() { &mut [] } else { &mut m[start..end] };
            let v = if v.is_empty() { &mut [] } else { &mut v[start..end] };
            self.optimizer.step(row, g, w, m, v);
            if let Some(averaged) = &mut averaged {
                let each = averaged[start..end].iter_mut().zip(&*w);
                each.for_each(|(averaged, w)| *averaged = decay * *averaged + (1.0 - decay) * w);
            }
        }
    }
}

impl Op for Update {
    fn name(&self) -> &'static str {
        "optimizer"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [gradients, table, clock, mask @ ..] = inputs else { return Err("takes gradients, table, clock".into()) };
        is_clock(clock)?;
        if table.shape.last() != 4 || table.is_empty() {
            return Err("the table should be [steps, 4]".into());
        }
        let wanted: &[usize] = if self.decay > 0.0 { &[gradients.len().div_ceil(ALIGNMENT)] } else { &[] };
        if mask.iter().map(Tensor::len).ne(wanted.iter().copied()) {
            return Err(format!("should have masks of {wanted:?} blocks"));
        }
        Ok(gradients.clone())
    }
    fn targets(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let count = 1 + self.optimizer.moments() + usize::from(self.average > 0.0);
        self.shape(inputs).map(|weights| vec![weights; count])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        // For plain gradient descent only; tests/networks/optimizers.rs checks the rest against PyTorch.
        if self.optimizer.moments() > 0 || self.average > 0.0 {
            return false;
        }
        let table = &inputs[1].data;
        let rate = table[4 * (inputs[2].data[0] as usize).min(table.len() / 4 - 1)];
        for (i, (w, g)) in out.data.iter_mut().zip(&inputs[0].data).enumerate() {
            let mask = inputs.get(3).map_or(0.0, |mask| mask.data[i / ALIGNMENT]);
            *w = *w * (1.0 - rate * f64::from(self.decay) * mask) - rate * f64::from(self.factor) * g;
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let part = part(outputs[0].data.len()).next_multiple_of(BLOCK);
        let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
        for target in outputs {
            parts.resize_with(target.data.len().div_ceil(part), Vec::new);
            parts.iter_mut().zip(target.data.chunks_mut(part)).for_each(|(part, of_target)| part.push(of_target));
        }
        each(parts.into_iter().enumerate(), |(i, targets)| {
            vectorized(
                #[inline(always)]
                || self.run(inputs, i * part, targets),
            );
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let count = inputs[0].len().div_ceil(4);
        let (a, b, eps) = self.optimizer.factors();
        Kernel::flat("optimizer", self.optimizer.entry(), count)
            .with("STEPS", inputs[1].len() / 4)
            .with("MOMENTS", self.optimizer.moments())
            .with("HAS_M", self.optimizer.moments() > 0)
            .with("HAS_V", self.optimizer.moments() > 1)
            .with("AVERAGES", self.average > 0.0)
            .with("AVERAGE", self.average)
            .with("HAS_DECAY", self.decay > 0.0)
            .with("DECAY", self.decay)
            .with("FACTOR", self.factor)
            .with("NESTEROV", matches!(self.optimizer, Optimizer::Sgd { nesterov: true, .. }))
            .with("A", a)
            .with("B", b)
            .with("EPS", eps)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        // Between 2 and about 15 a weight.
        5 * (1 + self.optimizer.moments() as u64) * inputs[0].len() as u64
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // An update's case starts from weights of zero; only updates with one target fit the table of cases.
    for (n, decay, factor) in [(1, 0.0, 1.0), (131, 0.1, 0.25), (40_007, 0.0, 1.0)] {
        let update =
            Update { optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false }, decay, factor, average: 0.0 };
        let mut case = Case::new(format!("sgd [{n}] decay {decay} factor {factor}"), Arc::new(update))
            .input(Tensor::f32([n]), Fill::Uniform)
            .input(Tensor::f32([3, 4]), Fill::Positive)
            .input(Tensor::u32([2]), Fill::Words(&[7, 0]));
        if decay > 0.0 {
            case = case.input(Tensor::f32([n.div_ceil(ALIGNMENT)]), Fill::Words(&[0x3f80_0000, 0]));
        }
        cases.push(case.no_derivative());
    }
    cases
}
