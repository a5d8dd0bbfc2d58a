//! What an op can do to its result before it is written: add a bias, apply an activation, or multiply by an
//! activation's derivative. It saves a pass over memory for each.

use pulp::Simd;

use super::In;
use super::activation::Act;
use super::kernel::Kernel;

/// Applied in this order. The extra inputs follow the op's own: `[bias]`, then `[activated]`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Epilogue {
    /// Adds an extra input of one value per channel (the innermost size).
    pub bias: bool,
    pub act: Option<Act>,
    /// Multiplies by the derivative of an activation, taken from the activation's own result: an extra input
    /// of the output's shape.
    pub act_grad: Option<Act>,
}

impl Epilogue {
    pub const NONE: Epilogue = Epilogue { bias: false, act: None, act_grad: None };

    /// How many inputs it adds.
    pub fn inputs(self) -> usize {
        usize::from(self.bias) + usize::from(self.act_grad.is_some())
    }

    /// Whether each of its inputs is cut as the output is, where that is cut to some images.
    pub fn cut(self) -> impl Iterator<Item = bool> {
        self.bias.then_some(false).into_iter().chain(self.act_grad.map(|_| true))
    }

    /// This and then `next`, if that is one epilogue.
    pub fn then(self, next: Epilogue) -> Option<Epilogue> {
        let free = |taken: bool, wanted: bool| !(taken && wanted);
        let order_holds = (!next.bias || self.act.is_none()) && (next.act.is_none() || self.act_grad.is_none());
        let fits =
            free(self.bias, next.bias) && free(self.act.is_some(), next.act.is_some()) && self.act_grad.is_none();
        // Kernels know one slope.
        let slopes = [self.act, next.act, next.act_grad].map(|act| act.and_then(Act::slope));
        let mut slopes = slopes.into_iter().flatten();
        let one_slope = slopes.next().is_none_or(|first| slopes.all(|slope| slope == first));
        (order_holds && fits && one_slope).then(|| Epilogue {
            bias: self.bias || next.bias,
            act: self.act.or(next.act),
            act_grad: next.act_grad,
        })
    }

    /// Checks the extra inputs' sizes against the output, for shape rules.
    pub fn check(self, extra: &[crate::tensor::Tensor], out: &crate::tensor::Shape) -> Result<(), String> {
        let wanted = [self.bias.then_some(out.last()), self.act_grad.map(|_| out.len())];
        let wanted: Vec<usize> = wanted.into_iter().flatten().collect();
        if extra.len() != wanted.len() {
            return Err(format!("epilogue takes {} inputs, was given {}", wanted.len(), extra.len()));
        }
        match extra.iter().zip(&wanted).find(|(tensor, n)| tensor.len() != **n) {
            Some((tensor, n)) => Err(format!("epilogue input {} should have {n} elements", tensor.shape)),
            None => Ok(()),
        }
    }

    /// Applies itself to whole rows of a result; `first` is the index of `values[0]` in the output.
    /// `extra` are its inputs; `values` starts at a channel boundary.
    #[inline(always)]
    pub fn apply(self, values: &mut [f32], first: usize, channels: usize, extra: &[In]) {
        let mut extra = extra.iter();
        if self.bias
            && let Some(bias) = extra.next()
        {
            for row in values.chunks_mut(channels) {
                row.iter_mut().zip(bias.data).for_each(|(v, b)| *v += b);
            }
        }
        if let Some(act) = self.act {
            act.apply_slice(values);
        }
        if let (Some(act), Some(activated)) = (self.act_grad, extra.next()) {
            act.grad_slice(values, &activated.data[first..first + values.len()]);
        }
    }

    /// Whether it is all done where a kernel has a vector of its result in registers.
    pub fn is_for_registers(self) -> bool {
        self.act_grad.is_none() && !self.act.is_some_and(is_long)
    }

    /// Itself for a kernel that has a vector of its result in registers, and what is left to [`Epilogue::apply`] then, with
    /// its inputs: activations that are functions of a library, and derivatives, whose second operand is better read in a
    /// row.
    pub fn in_registers<'a>(self, extra: &'a [In<'a>]) -> (Finish<'a>, Epilogue, &'a [In<'a>]) {
        let (bias, extra) = if self.bias { (extra.first().map(|bias| bias.data), &extra[1..]) } else { (None, extra) };
        let (now, later) = if self.act.is_some_and(is_long) { (None, self.act) } else { (self.act, None) };
        (Finish { bias, act: now }, Epilogue { bias: false, act: later, ..self }, extra)
    }

    /// The definition, in f64, for references: applied to a whole output.
    pub fn exact(self, out: &mut super::Exact, extra: &[super::Exact]) {
        let mut extra = extra.iter();
        let bias = if self.bias { extra.next() } else { None };
        let activated = if self.act_grad.is_some() { extra.next() } else { None };
        let channels = out.shape.last();
        for (i, v) in out.data.iter_mut().enumerate() {
            *v += bias.map_or(0.0, |bias| bias.data[i % channels]);
            *v = self.act.map_or(*v, |act| act.exact(*v));
            if let (Some(act), Some(activated)) = (self.act_grad, activated) {
                *v *= act.exact_derivative(activated.data[i]);
            }
        }
    }

    /// The constants that `epilogue.wgsl` asks for.
    pub fn constants(self, kernel: Kernel) -> Kernel {
        let code = |act: Option<Act>| act.map_or(0, Act::code);
        let slope = [self.act, self.act_grad].into_iter().flatten().find_map(Act::slope).unwrap_or(0.0);
        kernel
            .with("HAS_BIAS", self.bias)
            .with("HAS_ACT_GRAD", self.act_grad.is_some())
            .with("ACT", code(self.act))
            .with("ACT_GRAD", code(self.act_grad))
            .with("SLOPE", slope)
    }
}

/// Functions of a library, or several steps: too long for between two instructions of a kernel.
fn is_long(act: Act) -> bool {
    matches!(act, Act::Sigmoid | Act::Tanh | Act::ScaledRelu(_))
}

/// What an epilogue does to vectors of a result.
#[derive(Clone, Copy, Default)]
pub struct Finish<'a> {
    bias: Option<&'a [f32]>,
    act: Option<Act>,
}

impl Finish<'_> {
    pub fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.act.is_none()
    }

    /// The bias of a vector of channels, where a sum begins.
    #[inline(always)]
    pub fn begin<S: Simd>(&self, simd: S, channel: usize) -> S::f32s {
        let bias = self.bias.and_then(|bias| bias.get(channel..)).unwrap_or(&[]);
        simd.partial_load_f32s(&bias[..bias.len().min(S::F32_LANES)])
    }

    /// What becomes of a sum that began with 0.
    #[inline(always)]
    pub fn one(&self, sum: f32, channel: usize) -> f32 {
        let v = sum + self.bias.and_then(|bias| bias.get(channel)).unwrap_or(&0.0);
        self.act.map_or(v, |act| act.apply(v))
    }

    /// What becomes of sums.
    #[inline(always)]
    pub fn end<S: Simd>(&self, simd: S, v: S::f32s) -> S::f32s {
        match self.act {
            Some(Act::Relu) => relu(simd, v),
            Some(Act::Leaky(slope)) => leaky(simd, simd.splat_f32s(slope), v),
            _ => v,
        }
    }

    /// What becomes of the sums of a tile. Which it is, is asked before them, so that they stay in registers.
    #[inline(always)]
    pub fn end_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        mut sums: [[S::f32s; VECTORS]; ROWS],
    ) -> [[S::f32s; VECTORS]; ROWS] {
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

#[inline(always)]
fn leaky<S: Simd>(simd: S, slope: S::f32s, v: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(v, simd.splat_f32s(0.0)), simd.mul_f32s(slope, v), v)
}

/// NaN stays NaN: where one of two is that, x86 takes the second for the larger and NEON that one, but without vectors
/// it would be the other.
#[inline(always)]
fn relu<S: Simd>(simd: S, v: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    if S::IS_SCALAR { simd.select_f32s(simd.less_than_f32s(v, zero), zero, v) } else { simd.max_f32s(zero, v) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Scalar, WithSimd};

    /// A tile of one vector, finished.
    struct Finished<'a>(&'a [f32], Finish<'a>);

    impl WithSimd for Finished<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let Finished(numbers, finish) = self;
            let vector = simd.partial_load_f32s(&numbers[..S::F32_LANES.min(numbers.len())]);
            let [[vector]] = finish.end_tile::<S, 1, 1>(simd, [[vector]]);
            bytemuck::cast_slice(&[vector]).to_vec()
        }
    }

    #[test]
    fn nan_stays_nan_through_an_activation_with_vectors_and_without() {
        for act in [None, Some(Act::Relu), Some(Act::Leaky(0.2))] {
            let finish = Finish { bias: None, act };
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
