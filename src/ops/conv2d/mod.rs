//! Convolution, its transpose (which is also its derivative with respect to the input), and its derivative with respect
//! to the weights.
//!
//! Images are `[n, h, w, c]`, weights `[r, s, c, k]`, results `[n, p, q, k]`. A convolution's derivative with respect to
//! its input is the transposed convolution with the weights' last two axes swapped, and vice versa: one op is both.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::pool::MaxPool;
use super::reduce::Sum;
use super::transpose::Transpose;
use super::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, Twin, expect, floats};
use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::tensor::{Kind, Tensor};

mod cpu;
mod geometry;
mod gpu;
mod matrix;
mod pooled;
mod subgroup;

pub use geometry::{Geometry, Padding};

/// `x [n,h,w,c]` with `weight [r,s,c,k]` to `[n,p,q,k]`.
pub fn conv2d(
    graph: &mut Graph,
    x: Value,
    weight: Value,
    stride: usize,
    padding: Padding,
) -> Result<Value, GraphError> {
    let error = |graph: &Graph, problem: &str| GraphError {
        op: "conv2d".into(),
        inputs: vec![graph.tensor(x).clone(), graph.tensor(weight).clone()],
        problem: problem.into(),
    };
    let ([_, h, w, _], [r, s, _, _]) = rank4(graph, x, weight)?;
    if [h, w, r, s, stride].contains(&0) {
        return Err(error(graph, "sizes and stride must be positive"));
    }
    let (rows, columns) = (padding.resolve(h, r, stride), padding.resolve(w, s, stride));
    let (Some((p, pad_top)), Some((q, pad_left))) = (rows, columns) else {
        return Err(error(graph, &format!("a kernel of {r}x{s} does not fit an image of {h}x{w}")));
    };
    let op = Conv2d { stride, pad_top, pad_left, out: [p, q], transposed: false, epilogue: Epilogue::NONE };
    graph.apply(op, &[x, weight])
}

/// `x [n,p,q,k]` with `weight [r,s,k,c]` to `[n,h,w,c]`, where `h` is `p * stride` for `Same` and
/// `(p - 1) * stride + r - 2 * padding` otherwise: the input shape that a convolution of this kind would have had.
pub fn conv2d_transposed(
    graph: &mut Graph,
    x: Value,
    weight: Value,
    stride: usize,
    padding: Padding,
) -> Result<Value, GraphError> {
    let ([_, p, q, _], [r, s, _, _]) = rank4(graph, x, weight)?;
    let (rows, columns) = (padding.resolve_transposed(p, r, stride), padding.resolve_transposed(q, s, stride));
    let (Some((h, pad_top)), Some((w, pad_left))) = (rows, columns) else {
        return Err(GraphError {
            op: "conv2d_transposed".into(),
            inputs: vec![graph.tensor(x).clone(), graph.tensor(weight).clone()],
            problem: format!("a kernel of {r}x{s} with this padding leaves nothing"),
        });
    };
    let op = Conv2d { stride, pad_top, pad_left, out: [h, w], transposed: true, epilogue: Epilogue::NONE };
    graph.apply(op, &[x, weight])
}

fn rank4(graph: &Graph, x: Value, weight: Value) -> Result<([usize; 4], [usize; 4]), GraphError> {
    let dims = |v: Value| graph.dims(v).try_into().ok();
    dims(x).zip(dims(weight)).ok_or_else(|| GraphError {
        op: "conv2d".into(),
        inputs: vec![graph.tensor(x).clone(), graph.tensor(weight).clone()],
        problem: "takes images [n, h, w, c] and weights [r, s, c, k]".into(),
    })
}

/// The four sizes of the first two inputs.
fn sizes(inputs: &[Tensor]) -> Result<([usize; 4], [usize; 4]), String> {
    let dims = |i: usize| inputs.get(i).and_then(|t| <[usize; 4]>::try_from(t.dims()).ok());
    let both = dims(0).zip(dims(1)).ok_or("takes two inputs of rank 4")?;
    floats(&inputs[..2]).map(|()| both)
}

/// A convolution or its transpose; either takes images of `c` channels and `weight [r,s,c,k]`, and gives images of `k`.
/// Size and padding are already resolved, so that derivatives can ask for any.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    pub stride: usize,
    pub pad_top: usize,
    pub pad_left: usize,
    /// Height and width of the result.
    pub out: [usize; 2],
    pub transposed: bool,
    pub epilogue: Epilogue,
}

impl Conv2d {
    /// The sizes of the convolution that this is, or that this is the transpose of.
    fn geometry(&self, x: &[usize], weight: &[usize]) -> Geometry {
        let (taken, given) = ([x[1], x[2], x[3]], [self.out[0], self.out[1], weight[3]]);
        let ([h, w, c], result) = if self.transposed { (given, taken) } else { (taken, given) };
        let reach = [self.stride, self.pad_top, self.pad_left];
        Geometry::new([x[0], h, w, c], [weight[0], weight[1]], result, reach)
    }

    /// The derivative with respect to the weights, as a split reduction: partial results over groups of images, then
    /// their sum.
    fn grad_w(&self, graph: &mut Graph, node: &Backward) -> Result<Value, GraphError> {
        let [x, weight] = [node.inputs[0], node.inputs[1]];
        let (image, result) = if self.transposed { (node.d_out, x) } else { (x, node.d_out) };
        let shape = graph.shape(weight).clone();
        let (n, [r, s]) = (graph.dims(x)[0], [shape.dims()[0], shape.dims()[1]]);
        // Enough parts to fill a device, few enough that their sum stays cheap: about two megabytes of partial results.
        // A power of two, so that threads get equal shares.
        let parts = 1 << (PARTIAL_RESULTS / shape.len()).clamp(1, 64).ilog2();
        let Conv2d { stride, pad_top, pad_left, .. } = *self;
        let op = Conv2dGradW { stride, pad_top, pad_left, r, s, images_per_part: n.div_ceil(parts) };
        let partial = graph.apply(op, &[image, result])?;
        let parts = graph.dims(partial)[0];
        let sum = match parts {
            1 => partial,
            _ => graph.apply(Sum { width: shape.len(), rows: Sum::ALL, factor: 1.0 }, &[partial])?,
        };
        if self.transposed {
            let [c, k] = [shape.dims()[2], shape.dims()[3]];
            let swapped = graph.reshape(sum, [r, s, k, c])?;
            return graph.apply(Transpose, &[swapped]);
        }
        graph.reshape(sum, shape)
    }
}

const PARTIAL_RESULTS: usize = 1 << 19;

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        if self.transposed { "conv2d.grad_x" } else { "conv2d" }
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let ([n, _, _, c], [_, _, weight_c, k]) = sizes(inputs)?;
        if c != weight_c {
            return Err(format!("the image has {c} channels, the weights are for {weight_c}"));
        }
        if self.out.contains(&0) || self.stride == 0 {
            return Err("sizes and stride must be positive".into());
        }
        let out = Tensor::f32([n, self.out[0], self.out[1], k]);
        self.epilogue.check(&inputs[2..], &out.shape).map(|()| out)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        let [x, weight] = [node.inputs[0], node.inputs[1]];
        let d_x = match node.wanted[0] {
            true => {
                let swapped = graph.apply(Transpose, &[weight])?;
                let out = [graph.dims(x)[1], graph.dims(x)[2]];
                let op = Conv2d { out, transposed: !self.transposed, ..*self };
                Some(graph.apply(op, &[node.d_out, swapped])?)
            }
            false => None,
        };
        let d_weight = match node.wanted[1] {
            true => Some(self.grad_w(graph, node)?),
            false => None,
        };
        Ok(vec![d_x, d_weight])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let g = self.geometry(inputs[0].dims(), inputs[1].dims());
        let (x, weights) = (&inputs[0].data, &inputs[1].data);
        each_product(&g, |image, weight, result| match self.transposed {
            false => out.data[result] += x[image] * weights[weight],
            true => {
                let (tap, c, k) = (weight / (g.c * g.k), weight / g.k % g.c, weight % g.k);
                out.data[image] += x[result] * weights[(tap * g.k + k) * g.c + c];
            }
        });
        self.epilogue.exact(out, &inputs[2..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.twin(inputs)(0, inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], 2).map(|by_image| by_image.with(self.epilogue))
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let correlate = if self.transposed { cpu::Correlation::transposed } else { cpu::Correlation::forward };
        let correlation = correlate(&self.geometry(inputs[0].dims(), inputs[1].dims()), inputs[1].data);
        Box::new(move |_, inputs, outputs| {
            correlation.run(inputs[0].data, outputs[0].data, &self.epilogue.with(&inputs[2..]));
        })
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let lay_out = if self.transposed { gpu::grad_x } else { gpu::forward };
        let g = self.geometry(inputs[0].dims(), inputs[1].dims());
        lay_out(&g, self.epilogue, matrices_for(&inputs[..1], target))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        self.geometry(inputs[0].dims(), inputs[1].dims()).flops()
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Conv2d { epilogue: self.epilogue.then(epilogue)?, ..*self }))
    }
    fn with_max_pool(&self, inputs: &[Tensor], pool: MaxPool) -> Option<Arc<dyn Op>> {
        let of_four = !self.transposed && pool.is_of_four(&self.shape(inputs).ok()?);
        let pooled = of_four.then(|| pooled::Pooled::new(*self, inputs, pool)).flatten()?;
        Some(Arc::new(pooled))
    }
    fn columns_of(&self) -> Option<usize> {
        (self.epilogue == Epilogue::NONE).then_some(1)
    }
}

/// Matrix units are used only for images that are already 16-bit: nothing but weights is rounded for them.
fn matrices_for(images: &[Tensor], target: Target) -> Target {
    let matrices = target.matrices.filter(|_| images.iter().all(|image| image.kind == Kind::F16));
    Target { matrices, ..target }
}

/// `input [n,h,w,c]` and `d_out [n,p,q,k]` to partial sums `[parts,r,s,c,k]`, part `i` over its own images.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dGradW {
    pub stride: usize,
    pub pad_top: usize,
    pub pad_left: usize,
    pub r: usize,
    pub s: usize,
    pub images_per_part: usize,
}

impl Conv2dGradW {
    fn geometry(&self, input: &[usize], d_out: &[usize]) -> Geometry {
        let reach = [self.stride, self.pad_top, self.pad_left];
        Geometry::new([input[0], input[1], input[2], input[3]], [self.r, self.s], [d_out[1], d_out[2], d_out[3]], reach)
    }
}

impl Op for Conv2dGradW {
    fn name(&self) -> &'static str {
        "conv2d.grad_w"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let ([n, _, _, c], [d_n, _, _, k]) = sizes(expect::<2>(inputs)?)?;
        if n != d_n || self.images_per_part == 0 {
            return Err("both inputs must be of one batch".into());
        }
        Ok(Tensor::f32([n.div_ceil(self.images_per_part), self.r, self.s, c, k]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let g = self.geometry(inputs[0].dims(), inputs[1].dims());
        let (image, size) = (g.h * g.w * g.c, g.r * g.s * g.c * g.k);
        each_product(&g, |input, weight, output| {
            let part = input / image / self.images_per_part;
            out.data[part * size + weight] += inputs[0].data[input] * inputs[1].data[output];
        });
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = self.geometry(inputs[0].dims(), inputs[1].dims());
        cpu::grad_w(&g, self.images_per_part, inputs[0].data, inputs[1].data, outputs[0].data);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        Some(ByImage { together: self.images_per_part, ..ByImage::all(inputs)? })
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let g = self.geometry(inputs[0].dims(), inputs[1].dims());
        gpu::grad_w(&g, self.images_per_part, matrices_for(inputs, target))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        self.geometry(inputs[0].dims(), inputs[1].dims()).flops()
    }
}

/// The definition that all three share: every product of an input element and a weight that lands in an output
/// element, as flat indices `(input, weight, output)`.
fn each_product(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    for n in 0..g.n {
        for (p, q) in (0..g.p).flat_map(|p| (0..g.q).map(move |q| (p, q))) {
            for (r, s) in (0..g.r).flat_map(|r| (0..g.s).map(move |s| (r, s))) {
                let (h, w) = ((p * g.stride + r).wrapping_sub(g.pad_top), (q * g.stride + s).wrapping_sub(g.pad_left));
                if h >= g.h || w >= g.w {
                    continue;
                }
                for (c, k) in (0..g.c).flat_map(|c| (0..g.k).map(move |k| (c, k))) {
                    let input = ((n * g.h + h) * g.w + w) * g.c + c;
                    let weight = ((r * g.s + s) * g.c + c) * g.k + k;
                    f(input, weight, ((n * g.p + p) * g.q + q) * g.k + k);
                }
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    // n, h, w, c, k, r, s, stride, padding
    let shapes = [
        (1, 1, 1, 1, 1, 1, 1, 1, Padding::Valid),
        (2, 7, 5, 3, 5, 3, 3, 1, Padding::Same),
        (3, 9, 8, 1, 24, 5, 5, 1, Padding::Valid),
        (2, 6, 6, 16, 32, 2, 2, 1, Padding::Same),
        (2, 9, 7, 5, 50, 4, 4, 2, Padding::Same),
        (1, 8, 8, 33, 17, 3, 3, 2, Padding::Explicit(1)),
        (5, 5, 5, 64, 64, 3, 3, 1, Padding::Same),
        (2, 7, 7, 4, 6, 2, 3, 3, Padding::Valid),
        (2, 4, 4, 2, 3, 1, 1, 2, Padding::Valid),
        // Strides whose phases a GPU's invocation takes all at once, and one after another.
        (1, 9, 13, 4, 6, 3, 5, 4, Padding::Same),
        (1, 8, 23, 2, 4, 3, 7, 5, Padding::Explicit(2)),
        // Few enough channels for the CPU's vectors to lie along the taps.
        (1, 6, 9, 11, 1, 3, 2, 1, Padding::Valid),
        (3, 9, 8, 12, 3, 3, 3, 1, Padding::Same),
        (2, 8, 7, 1, 20, 4, 4, 2, Padding::Same),
        // Stretches of a row: in a one-channel image, and where a pixel is one CPU vector.
        (2, 4, 29, 1, 20, 3, 3, 1, Padding::Same),
        (2, 4, 31, 16, 1, 3, 3, 1, Padding::Same),
        // Large enough for tiles on the CPU.
        (2, 13, 12, 40, 48, 3, 3, 1, Padding::Same),
        (1, 24, 24, 16, 16, 5, 5, 2, Padding::Same),
        // Enough channels for a GPU's invocation to take four: of the result, and of the image.
        (1, 3, 17, 6, 130, 3, 3, 1, Padding::Same),
        (1, 3, 18, 130, 5, 3, 3, 1, Padding::Same),
    ];
    let mut cases = Vec::new();
    for (n, h, w, c, k, r, s, stride, padding) in shapes {
        let rows = padding.resolve(h, r, stride).unwrap_or((1, 0));
        let columns = padding.resolve(w, s, stride).unwrap_or((1, 0));
        let ((p, pad_top), (q, pad_left)) = (rows, columns);
        let name = format!("{n}x{h}x{w}x{c} by {r}x{s}x{k} stride {stride} {padding:?}");
        let image = || Tensor::f32([n, h, w, c]);
        let result = || Tensor::f32([n, p, q, k]);
        let epilogue = Epilogue::NONE;
        let forward = Conv2d { stride, pad_top, pad_left, out: [p, q], transposed: false, epilogue };
        let weight = Tensor::f32([r, s, c, k]);
        let case = Case::new(name.clone(), Arc::new(forward));
        cases.push(case.input(image(), Fill::Uniform).input(weight.clone(), Fill::Uniform));
        let leaky = Some(Act::Leaky(0.1));
        for (what, norm) in [("bias, leaky", None), ("bias, norm, leaky", Some(1e-3))] {
            let epilogue = Epilogue { bias: true, norm, act: leaky, act_grad: None };
            let case = Case::new(format!("{name} + {what}"), Arc::new(Conv2d { epilogue, ..forward }));
            let case = case.input(image(), Fill::Uniform).input(weight.clone(), Fill::Uniform);
            cases.push(case.of_epilogue(epilogue, &result()));
        }
        let backward = Conv2d { out: [h, w], transposed: true, ..forward };
        let swapped = Tensor::f32([r, s, k, c]);
        let case = Case::new(name.clone(), Arc::new(backward));
        cases.push(case.input(result(), Fill::Uniform).input(swapped.clone(), Fill::Uniform));
        let act_grad = Epilogue { act_grad: Some(Act::Relu), ..epilogue };
        let norm = Epilogue { norm: Some(1e-3), act: Some(Act::Relu), ..epilogue };
        for (what, epilogue) in [("* relu'", act_grad), ("+ norm, relu", norm)] {
            let case = Case::new(format!("{name} {what}"), Arc::new(Conv2d { epilogue, ..backward }));
            let case = case.input(result(), Fill::Uniform).input(swapped.clone(), Fill::Uniform);
            cases.push(case.of_epilogue(epilogue, &image()));
        }
        for images_per_part in [1, 2] {
            let op = Conv2dGradW { stride, pad_top, pad_left, r, s, images_per_part };
            let case = Case::new(format!("{name} by {images_per_part}"), Arc::new(op)).no_derivative();
            cases.push(case.input(image(), Fill::Uniform).input(result(), Fill::Uniform));
        }
    }
    // Enough tiles for an invocation to take four channels even of 32.
    let many = Conv2d { stride: 1, pad_top: 1, pad_left: 1, out: [24, 3], transposed: false, epilogue: Epilogue::NONE };
    let case = Case::new("64x24x3x1 by 3x3x32", Arc::new(many)).no_derivative();
    cases.push(case.input(Tensor::f32([64, 24, 3, 1]), Fill::Uniform).input(Tensor::f32([3, 3, 1, 32]), Fill::Uniform));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These kernels take most of the time on a card, and no network that a test trains is as wide or as large.
    #[test]
    fn the_cases_hold_each_number_of_channels_that_an_invocation_takes_on_a_card() {
        for op in ["conv2d", "conv2d.grad_x"] {
            let mut found = std::collections::BTreeSet::new();
            for case in cases().into_iter().filter(|case| case.op.name() == op) {
                let inputs: Vec<Tensor> = case.inputs.iter().map(|(tensor, _)| tensor.clone()).collect();
                let out = case.op.shape(&inputs).unwrap();
                let kernel = case.op.gpu(&inputs, &[out], Target::DISCRETE);
                let channels = kernel.constants.into_iter().filter(|(name, _)| name == "CHANNELS");
                found.extend(channels.map(|(_, constant)| format!("{constant:?}")));
            }
            assert_eq!(Vec::from_iter(found), ["U32(1)", "U32(2)", "U32(4)"], "{op}");
        }
    }

    #[test]
    fn an_invocation_takes_fewer_channels_where_more_would_not_fit_in_its_registers() {
        let channels = |taps: usize, outer: usize, registers: usize| {
            let inputs = [Tensor::f32([128, 28, 28, 32]), Tensor::f32([taps, taps, 32, outer])];
            let (pad, out) = (taps / 2, [Tensor::f32([128, 28, 28, outer])]);
            let epilogue = Epilogue::NONE;
            let forward = Conv2d { stride: 1, pad_top: pad, pad_left: pad, out: [28; 2], transposed: false, epilogue };
            let kernel = forward.gpu(&inputs, &out, Target { registers, ..Target::DISCRETE });
            kernel.constants.into_iter().find(|(name, _)| name == "CHANNELS").map(|(_, channels)| channels)
        };
        for (taps, outer, registers, wanted) in [
            (3, 32, Target::REGISTERS, 4usize),
            (3, 32, Target::FEW_REGISTERS, 2),
            (3, 64, Target::FEW_REGISTERS, 2),
            (1, 32, Target::FEW_REGISTERS, 4),
            (5, 128, Target::REGISTERS, 4),
            (5, 128, Target::FEW_REGISTERS, 2),
            (5, 128, 64, 1),
        ] {
            assert_eq!(channels(taps, outer, registers), Some(wanted.into()), "{taps} taps, {outer} channels");
        }
    }
}
