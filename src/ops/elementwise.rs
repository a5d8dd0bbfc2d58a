//! Add, multiply, scale, a bias per channel, a constant, a copy.

use std::sync::Arc;

use super::case::{Case, Fill as Words};
use super::reduce::Sum;
use super::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect, expect_floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::{parallel_rows, parallel_zip, parallel_zip2};
use crate::tensor::{Shape, Tensor};

fn same_size(inputs: &[Tensor]) -> Result<Tensor, String> {
    let [a, b] = expect_floats::<2>(inputs)?;
    if a.shape != b.shape { Err("both inputs must have the same shape".into()) } else { Ok(a.clone()) }
}

/// Refuses NaN and infinity: a shader's text cannot hold them.
pub(super) fn finite(constants: &[f32]) -> Result<(), String> {
    let other = constants.iter().find(|x| !x.is_finite());
    other.map_or(Ok(()), |x| Err(format!("takes finite numbers, not {x}")))
}

/// Kernels that handle four elements per invocation; buffers are padded to whole cache lines.
fn by_four(entry: &'static str, out: &Tensor) -> Kernel {
    Kernel::flat("elementwise", entry, out.len().div_ceil(4))
}

/// `out = a + b`
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        same_size(inputs)
    }
    fn grad(&self, _: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(node.d_out); 2])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        (0..out.data.len()).for_each(|i| out.data[i] = inputs[0].data[i] + inputs[1].data[i]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip2(outputs[0].data, inputs[0].data, inputs[1].data, |out, a, b| {
            out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = a + b);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("add", &outputs[0])
    }
}

/// `out = a * b`
#[derive(Clone, Copy, Debug)]
pub struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        same_size(inputs)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let d_a = graph.apply(Mul, &[node.d_out, node.inputs[1]])?;
        let d_b = graph.apply(Mul, &[node.d_out, node.inputs[0]])?;
        Ok(vec![Some(d_a), Some(d_b)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        (0..out.data.len()).for_each(|i| out.data[i] = inputs[0].data[i] * inputs[1].data[i]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip2(outputs[0].data, inputs[0].data, inputs[1].data, |out, a, b| {
            out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = a * b);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("mul", &outputs[0])
    }
}

/// `out = factor * x + offset`
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub factor: f32,
    pub offset: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        finite(&[self.factor, self.offset]).map(|()| x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(graph.apply(Scale { offset: 0.0, ..*self }, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (factor, offset) = (f64::from(self.factor), f64::from(self.offset));
        (0..out.data.len()).for_each(|i| out.data[i] = factor * inputs[0].data[i] + offset);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip(outputs[0].data, inputs[0].data, |out, x| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = self.factor * x + self.offset);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("scale", &outputs[0]).with("FACTOR", self.factor).with("OFFSET", self.offset)
    }
    fn with_constant(&self, _: usize, value: f32, out: &Tensor) -> Option<Arc<dyn Op>> {
        Fill::of(&out.shape, self.factor * value + self.offset)
    }
}

/// `out[.., c] = x[.., c] + bias[c]`
#[derive(Clone, Copy, Debug)]
pub struct AddBias;

impl Op for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, bias] = expect_floats::<2>(inputs)?;
        if bias.len() != x.shape.last() {
            return Err(format!("a bias for {} channels is needed", x.shape.last()));
        }
        Ok(x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let shape = graph.shape(node.inputs[1]).clone();
        let d_bias = if node.wanted[1] { Some(Sum::over_rows(graph, node.d_out, shape)?) } else { None };
        Ok(vec![Some(node.d_out), d_bias])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let channels = inputs[1].data.len();
        (0..out.data.len()).for_each(|i| out.data[i] = inputs[0].data[i] + inputs[1].data[i % channels]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, bias) = (inputs[0].data, inputs[1].data);
        let channels = bias.len();
        parallel_rows(outputs[0].data, channels, channels, |i, out| {
            let x = &x[i * channels..][..channels];
            out.iter_mut().zip(x).zip(bias).for_each(|((out, x), b)| *out = x + b);
        });
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], 2)
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("add_bias", &outputs[0]).with("CHANNELS", inputs[1].len())
    }
    fn as_epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue { bias: true, ..Epilogue::NONE })
    }
}

/// A tensor of one value.
#[derive(Clone, Debug)]
pub struct Fill {
    pub shape: Shape,
    pub value: f32,
}

impl Fill {
    /// In place of an op whose result is all `value`, if a shader's text can hold it.
    pub(super) fn of(shape: &Shape, value: f32) -> Option<Arc<dyn Op>> {
        value.is_finite().then(|| Arc::new(Fill { shape: shape.clone(), value }) as Arc<dyn Op>)
    }
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<0>(inputs)?;
        finite(&[self.value]).map(|()| Tensor::f32(self.shape.clone()))
    }
    fn reference(&self, _: &[Exact], out: &mut Exact) -> bool {
        out.data.fill(f64::from(self.value));
        true
    }
    fn cpu(&self, _: &[In], outputs: &mut [Out]) {
        outputs[0].data.fill(self.value);
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("fill", &outputs[0]).with("FACTOR", self.value)
    }
}

/// `out = x`, word for word: the plan adds it where a value has to end up in two places.
#[derive(Clone, Copy, Debug)]
pub struct Copy;

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<1>(inputs).map(|[x]| x.clone())
    }
    fn grad(&self, _: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(node.d_out)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        out.data.copy_from_slice(&inputs[0].data);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        parallel_zip(outputs[0].data, inputs[0].data, |out, x| out.copy_from_slice(x));
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        by_four("copy", &outputs[0])
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [[1, 1], [5, 7], [129, 67]] {
        let x = || Tensor::f32(shape);
        let name = || format!("{shape:?}");
        let bias = Tensor::f32([shape[1]]);
        cases.push(Case::new(name(), Arc::new(Add)).input(x(), Words::Uniform).input(x(), Words::Uniform));
        cases.push(Case::new(name(), Arc::new(Mul)).input(x(), Words::Uniform).input(x(), Words::Uniform));
        cases.push(Case::new(name(), Arc::new(AddBias)).input(x(), Words::Uniform).input(bias, Words::Uniform));
        cases.push(Case::new(name(), Arc::new(Scale { factor: -2.5, offset: 0.25 })).input(x(), Words::Uniform));
        cases.push(Case::new(name(), Arc::new(Copy)).input(x(), Words::Uniform));
        cases.push(Case::new(name(), Arc::new(Fill { shape: shape.into(), value: 0.5 })).no_derivative());
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::augment::Augment;
    use crate::ops::loss::{CrossEntropyGrad, Pairwise, PairwiseGrad};
    use crate::ops::reduce::Spread;
    use crate::ops::sums::{Summed, Sums};

    #[test]
    fn constants_that_no_shader_can_hold_are_refused() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let input = [Tensor::f32([3])];
            assert!(Scale { factor: x, offset: 0.0 }.shape(&input).is_err());
            assert!(Scale { factor: 1.0, offset: x }.shape(&input).is_err());
            assert!(Fill { shape: [3].into(), value: x }.shape(&[]).is_err());
            assert!(Sum { width: 1, rows: 1, factor: x }.shape(&input).is_err());
            assert!(Spread { shape: [3].into(), width: 1, rows: 1, factor: x }.shape(&input).is_err());
            assert!(Sums { parts: vec![Summed { offset: 0, width: 1, factor: x }] }.shape(&input).is_err());
            let grad = PairwiseGrad { loss: Pairwise::Mse, d_out: Some(x) };
            assert!(grad.shape(&[Tensor::f32([3]), Tensor::f32([3])]).is_err());
            let images = [Tensor::f32([1, 2, 2, 1]), Tensor::u32([2])];
            assert!(Augment { black: x, ..Augment::NOTHING }.shape(&images).is_err());
            assert!(Augment { background: x, ..Augment::NOTHING }.shape(&images).is_err());
        }
    }

    #[test]
    fn an_op_takes_no_constant_that_no_shader_can_hold() {
        let out = Tensor::f32([3]);
        let ops: [Arc<dyn Op>; 4] = [
            Arc::new(Scale { factor: 1e30, offset: 0.0 }),
            Arc::new(Spread { shape: [3].into(), width: 1, rows: 1, factor: 1e30 }),
            Arc::new(PairwiseGrad { loss: Pairwise::Mse, d_out: None }),
            Arc::new(CrossEntropyGrad { smoothing: 0.0, d_out: None }),
        ];
        for (op, input) in ops.iter().zip([0, 0, 2, 2]) {
            assert!(op.with_constant(input, 2.0, &out).is_some(), "{op:?}");
            assert!(op.with_constant(input, f32::INFINITY, &out).is_none(), "{op:?}");
        }
        // Finite by themselves, but not their product.
        assert!(ops[..2].iter().all(|op| op.with_constant(0, 1e30, &out).is_none()));
    }

    #[test]
    fn whole_numbers_are_not_computed_with_as_floats() {
        let [floats, whole] = [Tensor::f32([3]), Tensor::u32([3])];
        let problem = Add.shape(&[floats, whole.clone()]).unwrap_err();
        assert!(problem.contains("input 1"), "{problem}");
        assert!(Scale { factor: 1.0, offset: 0.0 }.shape(std::slice::from_ref(&whole)).is_err());
        // Copied word for word.
        assert_eq!(Copy.shape(std::slice::from_ref(&whole)), Ok(whole));
    }
}
