//! Tensors side by side along the innermost axis, slices of it, and zeros around a slice.

use std::sync::Arc;

use super::activation::Act;
use super::case::{Case, Fill};
use super::epilogue::Step;
use super::{Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect_floats, floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::parallel_rows;
use crate::tensor::{Kind, Shape, Tensor};

/// The shape with another innermost size.
fn with_last(shape: &Shape, last: usize) -> Tensor {
    let mut dims = shape.dims().to_vec();
    if let Some(c) = dims.last_mut() {
        *c = last;
    }
    Tensor::f32(Shape::new(dims))
}

fn kernel(entry: &'static str, widths: &[usize], start: usize, out: &Tensor) -> Kernel {
    let kernel = Kernel::flat("concat", entry, out.len())
        .with("INPUTS", widths.len())
        .with("WIDTH", out.shape.last())
        .with("START", start);
    widths.iter().enumerate().fold(kernel, |kernel, (k, width)| kernel.with(format!("WIDTH_{k}"), *width))
}

/// Two to six tensors side by side: `[.., a]` and `[.., b]` to `[.., a + b]`.
#[derive(Clone, Copy, Debug)]
pub struct Concat;

impl Concat {
    /// The most tensors that it takes. With its result, they are no more than any adapter binds.
    pub const MOST: usize = 6;
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        if !(2..=Concat::MOST).contains(&inputs.len()) {
            return Err(format!("takes 2 to {} inputs, was given {}", Concat::MOST, inputs.len()));
        }
        let outer = |tensor: &Tensor| tensor.dims().split_last().map(|(_, rest)| rest.to_vec());
        if inputs.iter().any(|x| outer(x).is_none() || outer(x) != outer(&inputs[0]) || x.kind != Kind::F32) {
            return Err("inputs may differ in the last size only".into());
        }
        Ok(with_last(&inputs[0].shape, inputs.iter().map(|x| x.shape.last()).sum()))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let mut start = 0;
        let mut derivatives = Vec::new();
        for (input, wanted) in node.inputs.iter().zip(node.wanted) {
            let len = graph.shape(*input).last();
            derivatives.push(if *wanted { Some(graph.apply(Slice::new(start, len), &[node.d_out])?) } else { None });
            start += len;
        }
        Ok(derivatives)
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let width = out.shape.last();
        for (row, out) in out.data.chunks_mut(width).enumerate() {
            let parts = inputs.iter().flat_map(|x| &x.data[row * x.shape.last()..][..x.shape.last()]);
            out.iter_mut().zip(parts).for_each(|(out, x)| *out = *x);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let width = outputs[0].shape.last();
        parallel_rows(outputs[0].data, width, width, |row, mut out| {
            for x in inputs {
                let (part, rest) = std::mem::take(&mut out).split_at_mut(x.shape.last());
                part.copy_from_slice(&x.data[row * part.len()..][..part.len()]);
                out = rest;
            }
        });
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let widths: Vec<usize> = inputs.iter().map(|x| x.shape.last()).collect();
        kernel("forward", &widths, 0, &outputs[0])
    }
}

/// `out[.., c] = epilogue(x[.., start + c])` for `len` columns.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub start: usize,
    pub len: usize,
    /// Only steps of [`Slice::STEPS`].
    pub epilogue: Epilogue,
}

impl Slice {
    pub const STEPS: [Step; 2] = [Step::Act, Step::ActGrad];

    pub const fn new(start: usize, len: usize) -> Slice {
        Slice { start, len, epilogue: Epilogue::NONE }
    }
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, extra @ ..] = inputs else { return Err("takes a tensor".into()) };
        floats(inputs)?;
        let end = self.start.saturating_add(self.len);
        if self.len == 0 || x.shape.rank() == 0 || end > x.shape.last() {
            return Err(format!("has no columns {}..{end}", self.start));
        }
        let out = with_last(&x.shape, self.len);
        self.epilogue.check_of(&Slice::STEPS, extra, &out.shape).map(|()| out)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        let grad = SliceGrad { start: self.start, width: graph.shape(node.inputs[0]).last() };
        Ok(vec![Some(graph.apply(grad, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let rows = out.data.chunks_mut(self.len).zip(inputs[0].data.chunks(inputs[0].shape.last()));
        rows.for_each(|(out, x)| out.copy_from_slice(&x[self.start..][..self.len]));
        self.epilogue.exact(out, &inputs[1..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, width, end) = (inputs[0].data, inputs[0].shape.last(), self.epilogue.with(&inputs[1..]));
        parallel_rows(outputs[0].data, self.len, self.len, |row, out| {
            out.copy_from_slice(&x[row * width + self.start..][..out.len()]);
            end.apply(out, row * self.len, self.len);
        });
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        self.epilogue.constants(kernel("slice", &[inputs[0].shape.last()], self.start, &outputs[0]))
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&Slice::STEPS))?;
        Some(Arc::new(Slice { epilogue, ..*self }))
    }
}

/// The derivative of [`Slice`]: its `d_out` in a row of `width`, zeros around it.
#[derive(Clone, Copy, Debug)]
pub struct SliceGrad {
    pub start: usize,
    pub width: usize,
}

impl Op for SliceGrad {
    fn name(&self) -> &'static str {
        "slice.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out] = expect_floats::<1>(inputs)?;
        if self.start + d_out.shape.last() > self.width || d_out.shape.rank() == 0 {
            return Err(format!("does not fit a row of {} from {} on", self.width, self.start));
        }
        Ok(with_last(&d_out.shape, self.width))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let len = graph.shape(node.inputs[0]).last();
        Ok(vec![Some(graph.apply(Slice::new(self.start, len), &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let len = inputs[0].shape.last();
        out.data.fill(0.0);
        let rows = out.data.chunks_mut(self.width).zip(inputs[0].data.chunks(len));
        rows.for_each(|(out, d)| out[self.start..][..len].copy_from_slice(d));
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (d_out, len) = (inputs[0].data, inputs[0].shape.last());
        parallel_rows(outputs[0].data, self.width, self.width, |row, out| {
            out.fill(0.0);
            out[self.start..][..len].copy_from_slice(&d_out[row * len..][..len]);
        });
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        kernel("pad", &[inputs[0].shape.last()], self.start, &outputs[0])
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (outer, widths) in [
        (vec![1], vec![1, 1]),
        (vec![7], vec![5, 3, 1]),
        (vec![2, 3, 5], vec![4, 8]),
        (vec![13], vec![1, 2, 3, 4, 5, 6]),
    ] {
        let tensor = |width: usize| Tensor::f32(Shape::new([outer.as_slice(), &[width]].concat()));
        let mut case = Case::new(format!("{outer:?} of {widths:?}"), Arc::new(Concat));
        for width in &widths {
            case = case.input(tensor(*width), Fill::Uniform);
        }
        cases.push(case);
        let (start, len, width) = (widths[0] - 1, widths[1], widths.iter().sum::<usize>());
        let name = format!("{outer:?} {start}+{len} of {width}");
        cases.push(Case::new(name.clone(), Arc::new(Slice::new(start, len))).input(tensor(width), Fill::Uniform));
        let epilogue = Epilogue { act_grad: Some(Act::Leaky(0.2)), ..Epilogue::NONE };
        let case = Case::new(format!("{name} {epilogue:?}"), Arc::new(Slice { epilogue, ..Slice::new(start, len) }));
        let case = case.input(tensor(width), Fill::Uniform).input(tensor(len), Fill::AwayFromZero);
        cases.push(case.no_derivative());
        cases.push(Case::new(name, Arc::new(SliceGrad { start, width })).input(tensor(len), Fill::Uniform));
    }
    // Numbers of inputs that are not among those above.
    for inputs in [4, 5] {
        let mut case = Case::new(format!("{inputs} of width 2"), Arc::new(Concat));
        for _ in 0..inputs {
            case = case.input(Tensor::f32([3, 2]), Fill::Uniform);
        }
        cases.push(case);
    }
    cases
}
