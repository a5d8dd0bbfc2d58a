//! What an op can do to its result before writing it: add a bias, normalise, apply an activation, or multiply by an
//! activation's derivative. Each saves a pass over memory.

use std::borrow::Cow;

use pulp::Simd;

use super::activation::Act;
use super::kernel::Kernel;
use super::{In, floats};
use crate::parallel::vectorized;
use crate::tensor::{Shape, Tensor};

/// The steps are applied in this order. The extra inputs follow the op's own: `[bias]`, then `[stats, affine]`, then
/// `[activated]`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Epilogue {
    /// Adds an extra input of one value per channel (the innermost size).
    pub bias: bool,
    /// Batch normalisation by given statistics, with this epsilon. Extra inputs `[2, C]`: each channel's mean and
    /// variance, and its gamma and beta.
    pub norm: Option<f32>,
    pub act: Option<Act>,
    /// Multiplies by the derivative of an activation, computed from the activation's own result, an extra input of the
    /// output's shape.
    pub act_grad: Option<Act>,
}

/// A step of an [`Epilogue`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    Bias,
    Norm,
    Act,
    ActGrad,
}

impl Epilogue {
    pub const NONE: Epilogue = Epilogue { bias: false, norm: None, act: None, act_grad: None };

    /// Which of the steps it has, in their order.
    fn steps(self) -> [bool; 4] {
        [self.bias, self.norm.is_some(), self.act.is_some(), self.act_grad.is_some()]
    }

    /// Whether it has no steps other than these.
    pub fn is_of(self, steps: &[Step]) -> bool {
        let all = [Step::Bias, Step::Norm, Step::Act, Step::ActGrad].iter().zip(self.steps());
        all.filter(|(_, is_there)| *is_there).all(|(step, _)| steps.contains(step))
    }

    /// For each of its inputs, whether it is cut like the output where that is cut to some images.
    pub fn cut(self) -> impl Iterator<Item = bool> {
        let [bias, norm, _, act_grad] = self.steps();
        [(bias, false), (norm, false), (norm, false), (act_grad, true)]
            .into_iter()
            .filter_map(|(is_there, is_cut)| is_there.then_some(is_cut))
    }

    /// This epilogue followed by `next`, if one epilogue can do both.
    pub fn then(self, next: Epilogue) -> Option<Epilogue> {
        let last = self.steps().iter().rposition(|is_there| *is_there);
        let first = next.steps().iter().position(|is_there| *is_there);
        let order_holds = last.zip(first).is_none_or(|(last, first)| last < first);
        (order_holds && one_slope(&[self.act, next.act, next.act_grad])).then(|| Epilogue {
            bias: self.bias || next.bias,
            norm: self.norm.or(next.norm),
            act: self.act.or(next.act),
            act_grad: self.act_grad.or(next.act_grad),
        })
    }

    /// [`Epilogue::check`], for ops whose kernels know only these steps.
    pub fn check_of(self, steps: &[Step], extra: &[Tensor], out: &Shape) -> Result<(), String> {
        if !self.is_of(steps) {
            return Err(format!("its epilogue may have {steps:?}, not {self:?}"));
        }
        self.check(extra, out)
    }

    /// Checks the extra inputs' kinds, and their sizes against the output, for shape rules.
    pub fn check(self, extra: &[Tensor], out: &Shape) -> Result<(), String> {
        if !one_slope(&[self.act, self.act_grad]) {
            return Err("the activations of an epilogue have one slope".into());
        }
        floats(extra).map_err(|problem| format!("its epilogue {problem}"))?;
        let [bias, norm, _, act_grad] = self.steps();
        let channels = out.last();
        let wanted = [(bias, channels), (norm, 2 * channels), (norm, 2 * channels), (act_grad, out.len())];
        let wanted: Vec<usize> =
            wanted.into_iter().filter_map(|(is_there, elements)| is_there.then_some(elements)).collect();
        if extra.len() != wanted.len() {
            return Err(format!("epilogue takes {} inputs, was given {}", wanted.len(), extra.len()));
        }
        match extra.iter().zip(&wanted).find(|(tensor, n)| tensor.len() != **n) {
            Some((tensor, n)) => Err(format!("epilogue input {} should have {n} elements", tensor.shape)),
            None => Ok(()),
        }
    }

    /// Whether all of it can be done while a kernel has a vector of its result in registers.
    pub fn is_for_registers(self) -> bool {
        self.act_grad.is_none() && !self.act.is_some_and(is_long)
    }

    /// The epilogue with its inputs, for the CPU.
    pub fn with<'a>(self, extra: &[In<'a>]) -> Ready<'a> {
        let mut extra = extra.iter().map(|input| input.data);
        let mut next = || extra.next().expect("the shape rule has seen the epilogue's inputs");
        let bias = self.bias.then(&mut next);
        let (mut scale, mut shift) = (None, None);
        if let Some(eps) = self.norm {
            let (stats, affine) = (next(), next());
            let c = affine.len() / 2;
            let factor = tiled(c, |k| affine[k] / (stats[c + k] + eps).sqrt());
            let term = |k: usize| (bias.map_or(0.0, |bias| bias[k]) - stats[k]) * factor[k] + affine[c + k];
            shift = Some(Cow::Owned(tiled(c, term)));
            scale = Some(Cow::Owned(factor));
        } else if let Some(bias) = bias {
            let is_long = bias.len() >= LONG;
            shift = Some(if is_long { bias.into() } else { tiled(bias.len(), |k| bias[k]).into() });
        }
        Ready { scale, shift, act: self.act, act_grad: self.act_grad.map(|act| (act, next())) }
    }

    /// The definition in f64, for references; applies to a whole output.
    pub fn exact(self, out: &mut super::Exact, extra: &[super::Exact]) {
        let mut extra = extra.iter();
        let bias = if self.bias { extra.next() } else { None };
        let norm = self.norm.and_then(|eps| Some((f64::from(eps), extra.next()?, extra.next()?)));
        let activated = if self.act_grad.is_some() { extra.next() } else { None };
        let channels = out.shape.last();
        for (i, v) in out.data.iter_mut().enumerate() {
            let k = i % channels;
            *v += bias.map_or(0.0, |bias| bias.data[k]);
            if let Some((eps, stats, affine)) = norm {
                let deviation = (stats.data[channels + k] + eps).sqrt();
                *v = (*v - stats.data[k]) / deviation * affine.data[k] + affine.data[channels + k];
            }
            *v = self.act.map_or(*v, |act| act.exact(*v));
            if let (Some(act), Some(activated)) = (self.act_grad, activated) {
                *v *= act.exact_derivative(activated.data[i]);
            }
        }
    }

    /// The constants that `epilogue.wgsl` needs.
    pub fn constants(self, kernel: Kernel) -> Kernel {
        let code = |act: Option<Act>| act.map_or(0, Act::code);
        let slope = [self.act, self.act_grad].into_iter().flatten().find_map(Act::slope).unwrap_or(0.0);
        kernel
            .with("HAS_BIAS", self.bias)
            .with("HAS_NORM", self.norm.is_some())
            .with("NORM_EPS", self.norm.unwrap_or(1.0))
            .with("HAS_ACT_GRAD", self.act_grad.is_some())
            .with("ACT", code(self.act))
            .with("ACT_GRAD", code(self.act_grad))
            .with("SLOPE", slope)
    }
}

/// Whether the activations have at most one slope between them: kernels know only one.
fn one_slope(acts: &[Option<Act>]) -> bool {
    let mut slopes = acts.iter().flatten().filter_map(|act| act.slope());
    slopes.next().is_none_or(|first| slopes.all(|slope| slope == first))
}

/// Whether it is a library function or takes several steps: too long to go between two instructions of a kernel.
fn is_long(act: Act) -> bool {
    matches!(act, Act::Sigmoid | Act::Tanh | Act::ScaledRelu(_))
}

/// Elements that make a loop long enough for vector code.
const LONG: usize = 128;

/// A value for each of the channels in turn, repeated from the first until there are enough for a loop.
pub(super) fn tiled(channels: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..channels).map(value).collect::<Vec<f32>>().repeat(LONG.div_ceil(channels))
}

/// An epilogue with its inputs, prepared for the CPU: bias and normalisation are one factor and one term per channel.
#[derive(Default)]
pub struct Ready<'a> {
    /// For all channels, possibly repeated. Only where there is a `shift`.
    scale: Option<Cow<'a, [f32]>>,
    shift: Option<Cow<'a, [f32]>>,
    act: Option<Act>,
    act_grad: Option<(Act, &'a [f32])>,
}

impl Ready<'_> {
    /// Applies the epilogue to whole rows of a result; `first` is the index of `values[0]` in the output. `values`
    /// starts at a channel boundary.
    #[inline(always)]
    pub fn apply(&self, values: &mut [f32], first: usize, channels: usize) {
        if let Some(shift) = &self.shift {
            let rows = if shift.len().is_multiple_of(channels) { shift.len() } else { channels };
            for row in values.chunks_mut(rows) {
                match &self.scale {
                    Some(scale) => {
                        let each = row.iter_mut().zip(&scale[..]).zip(&shift[..]);
                        each.for_each(|((v, scale), shift)| *v = *v * scale + shift);
                    }
                    None => row.iter_mut().zip(&shift[..]).for_each(|(v, shift)| *v += shift),
                }
            }
        }
        if let Some(act) = self.act {
            act.apply_slice(values);
        }
        if let Some((act, activated)) = self.act_grad {
            act.grad_slice(values, &activated[first..first + values.len()]);
        }
    }

    /// [`Ready::apply`] with the processor's vectors, for callers that are not in vector code already.
    pub fn run(&self, values: &mut [f32], first: usize, channels: usize) {
        if self.shift.is_some() || self.act.is_some() || self.act_grad.is_some() {
            vectorized(
                #[inline(always)]
                || self.apply(values, first, channels),
            );
        }
    }

    /// The epilogue for the columns from `first` on.
    pub fn of_columns(&self, first: usize) -> Ready<'_> {
        let [scale, shift] =
            [&self.scale, &self.shift].map(|values| values.as_deref().map(|values| Cow::Borrowed(&values[first..])));
        Ready { scale, shift, act: self.act, act_grad: self.act_grad }
    }

    /// Splits the epilogue: what a kernel does while it has a vector of its result in registers, and what is left to do
    /// afterwards, namely activations that are library functions, and derivatives, whose second operand is better read
    /// sequentially.
    pub fn in_registers(&self) -> (Finish<'_>, Ready<'_>) {
        let (now, later) = if self.act.is_some_and(is_long) { (None, self.act) } else { (self.act, None) };
        let finish = Finish { scale: self.scale.as_deref(), shift: self.shift.as_deref(), act: now };
        (finish, Ready { act: later, act_grad: self.act_grad, ..Ready::default() })
    }
}

/// What an epilogue does to vectors of a result.
#[derive(Clone, Copy, Default)]
pub struct Finish<'a> {
    /// Only where there is a `shift`.
    scale: Option<&'a [f32]>,
    shift: Option<&'a [f32]>,
    act: Option<Act>,
}

impl Finish<'_> {
    pub fn is_nothing(&self) -> bool {
        self.shift.is_none() && self.act.is_none()
    }

    /// What the sum for a vector of channels starts from, if [`Finish::end_tile`] ends it.
    #[inline(always)]
    pub fn begin<S: Simd>(&self, simd: S, channel: usize) -> S::f32s {
        match self.scale {
            Some(_) => simd.splat_f32s(0.0),
            None => of_channels(simd, self.shift, channel),
        }
    }

    /// The finished value of a sum that started from 0.
    #[inline(always)]
    pub fn one(&self, sum: f32, channel: usize) -> f32 {
        let of = |values: Option<&[f32]>| values.and_then(|values| values.get(channel)).copied();
        let v = of(self.scale).map_or(sum, |scale| sum * scale) + of(self.shift).unwrap_or(0.0);
        self.act.map_or(v, |act| act.apply(v))
    }

    /// What [`Finish::end`] multiplies a vector of channels by, and what it then adds.
    #[inline(always)]
    pub fn affine<S: Simd>(&self, simd: S, channel: usize) -> [S::f32s; 2] {
        let scale = match self.scale {
            Some(_) => of_channels(simd, self.scale, channel),
            None => simd.splat_f32s(1.0),
        };
        [scale, of_channels(simd, self.shift, channel)]
    }

    /// The finished values of sums that started from 0.
    #[inline(always)]
    pub fn end<S: Simd>(&self, simd: S, sums: S::f32s, [scale, shift]: [S::f32s; 2]) -> S::f32s {
        let v = simd.mul_add_e_f32s(sums, scale, shift);
        match self.act {
            Some(Act::Relu) => relu(simd, v),
            Some(Act::Leaky(slope)) => leaky(simd, simd.splat_f32s(slope), v),
            _ => v,
        }
    }

    /// Finishes the sums of a tile, whose first channel this is. The activation is matched outside the loops over the
    /// sums, so that they stay in registers.
    #[inline(always)]
    pub fn end_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        channel: usize,
        mut sums: [[S::f32s; VECTORS]; ROWS],
    ) -> [[S::f32s; VECTORS]; ROWS] {
        if self.scale.is_some() {
            let mut affine = [[simd.splat_f32s(0.0); 2]; VECTORS];
            for (v, affine) in affine.iter_mut().enumerate() {
                *affine = self.affine(simd, channel + v * S::F32_LANES);
            }
            for i in 0..ROWS * VECTORS {
                let [scale, shift] = affine[i % VECTORS];
                sums[i / VECTORS][i % VECTORS] = simd.mul_add_e_f32s(sums[i / VECTORS][i % VECTORS], scale, shift);
            }
        }
        match self.act {
            Some(Act::Relu) => {
                for i in 0..ROWS * VECTORS {
                    sums[i / VECTORS][i % VECTORS] = relu(simd, sums[i / VECTORS][i % VECTORS]);
                }
            }
            Some(Act::Leaky(slope)) => {
                let slope = simd.splat_f32s(slope);
                for i in 0..ROWS * VECTORS {
                    sums[i / VECTORS][i % VECTORS] = leaky(simd, slope, sums[i / VECTORS][i % VECTORS]);
                }
            }
            _ => {}
        }
        sums
    }
}

/// The values for a vector of channels from this one on, 0 where there are none.
#[inline(always)]
fn of_channels<S: Simd>(simd: S, values: Option<&[f32]>, channel: usize) -> S::f32s {
    let values = values.and_then(|values| values.get(channel..)).unwrap_or(&[]);
    simd.partial_load_f32s(&values[..values.len().min(S::F32_LANES)])
}

#[inline(always)]
fn leaky<S: Simd>(simd: S, slope: S::f32s, v: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(v, simd.splat_f32s(0.0)), simd.mul_f32s(slope, v), v)
}

/// NaN stays NaN: if one of two operands is NaN, the maximum on x86 is the second operand and on NEON it is NaN, but
/// without vectors it would be the other operand.
#[inline(always)]
fn relu<S: Simd>(simd: S, v: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    if S::IS_SCALAR { simd.select_f32s(simd.less_than_f32s(v, zero), zero, v) } else { simd.max_f32s(zero, v) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ops::Op;
    use crate::ops::batch_norm::Apply;
    use crate::ops::case::{Case, Fill};
    use crate::ops::concat::Slice;
    use crate::ops::matmul::{Layout, MatMul};
    use crate::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
    use crate::ops::upsample::UpsampleGrad;
    use pulp::{Scalar, WithSimd};

    /// Checks that an op on `inputs` accepts exactly the epilogues that have no steps other than these.
    fn knows(steps: &[Step], inputs: &[&Tensor], out: &Tensor, op: impl Fn(Epilogue) -> Arc<dyn Op>) {
        for bits in 0..16 {
            let has = |bit: i32| (bits >> bit) & 1 == 1;
            let epilogue = Epilogue {
                bias: has(0),
                norm: has(1).then_some(1e-3),
                act: has(2).then_some(Act::Relu),
                act_grad: has(3).then_some(Act::Relu),
            };
            let own = |case: Case, x: &&Tensor| case.input((*x).clone(), Fill::Uniform);
            let case = inputs.iter().fold(Case::new("", op(epilogue)), own).of_epilogue(epilogue, out);
            assert_eq!(case.op.shape(&case.tensors()).is_ok(), epilogue.is_of(steps), "{:?}", case.op);
        }
    }

    #[test]
    fn an_op_takes_no_epilogue_that_its_shader_does_not_know() {
        let (image, pooled) = (Tensor::f32([2, 4, 4, 8]), Tensor::f32([2, 2, 2, 8]));
        let [rows, part] = [Tensor::f32([4, 8]), Tensor::f32([4, 3])];
        knows(&[Step::Act, Step::ActGrad], &[&rows], &part, |epilogue| {
            Arc::new(Slice { epilogue, ..Slice::new(1, 3) })
        });
        knows(&[Step::Norm, Step::Act], &[&image], &pooled, |epilogue| {
            Arc::new(MaxPool { epilogue, ..MaxPool::new(2, 2) })
        });
        knows(&[Step::ActGrad], &[&pooled, &image], &image, |epilogue| {
            Arc::new(MaxPoolGrad { pool: MaxPool::new(2, 2), epilogue })
        });
        knows(&[Step::ActGrad], &[&pooled], &image, |epilogue| {
            Arc::new(AvgPoolGrad { pool: AvgPool { window: 2, stride: 2 }, image: [4, 4], epilogue })
        });
        knows(&[Step::ActGrad], &[&image], &pooled, |epilogue| Arc::new(UpsampleGrad { factor: 2, epilogue }));

        let per_channel = Tensor::f32([2, 8]);
        let norm = Epilogue { norm: Some(1e-3), ..Epilogue::NONE };
        let apply = Apply { epilogue: norm, ..Apply::new(1e-3, false) };
        assert!(apply.shape(&[rows.clone(), per_channel.clone(), per_channel.clone()]).is_err());
        // Statistics would use the addend's binding.
        let product = MatMul { epilogue: norm, addend: true, ..MatMul::new(Layout::NN) };
        let square = Tensor::f32([8, 8]);
        assert!(product.shape(&[rows.clone(), square, rows, per_channel.clone(), per_channel]).is_err());
    }

    #[test]
    fn two_slopes_in_one_epilogue_are_refused() {
        let epilogue = |act_grad| Epilogue { act: Some(Act::Leaky(0.1)), act_grad: Some(act_grad), ..Epilogue::NONE };
        let out = Tensor::f32([2, 3]);
        for (act_grad, fits) in [(Act::Leaky(0.1), true), (Act::Relu, true), (Act::Leaky(0.2), false)] {
            let checked = epilogue(act_grad).check(std::slice::from_ref(&out), &out.shape);
            assert_eq!(checked.is_ok(), fits, "{act_grad:?}");
        }
    }

    /// A tile of one vector, finished.
    struct Finished<'a>(&'a [f32], Finish<'a>);

    impl WithSimd for Finished<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let Finished(numbers, finish) = self;
            let vector = simd.partial_load_f32s(&numbers[..S::F32_LANES.min(numbers.len())]);
            let [[vector]] = finish.end_tile::<S, 1, 1>(simd, 0, [[vector]]);
            bytemuck::cast_slice(&[vector]).to_vec()
        }
    }

    #[test]
    fn nan_stays_nan_through_an_activation_with_vectors_and_without() {
        for act in [None, Some(Act::Relu), Some(Act::Leaky(0.2))] {
            let finish = Finish { act, ..Finish::default() };
            for number in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.5, 0.0, 2.0] {
                let wanted = act.map_or(number, |act| act.apply(number));
                let is_wanted = |found: f32| found == wanted || found.is_nan() && wanted.is_nan();
                let with = pulp::Arch::new().dispatch(Finished(&[number; 16], finish));
                let without = Finished(&[number], finish).with_simd(Scalar);
                assert!(
                    with.iter().chain(&without).all(|found| is_wanted(*found)),
                    "{act:?} {number}: {with:?} {without:?}"
                );
            }
        }
    }
}
