//! Nearest-neighbour upsampling by a whole factor, and its derivative: the sum over each square that a pixel became.
//!
//! Both do what `pool` does where windows tile the image, but without the division, and share its kernels.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::epilogue::Ready;
use super::pool::{OF_DERIVATIVES, Windows};
use super::{Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect_floats, floats};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::tensor::Tensor;

/// `out[n, y, x, c] = x[n, y / factor, x / factor, c]`
#[derive(Clone, Copy, Debug)]
pub struct Upsample {
    pub factor: usize,
}

/// The windows on the large image, given the small one's sizes.
fn windows(factor: usize, small: &[usize]) -> Windows {
    let &[_, h, w, c] = small else { panic!("images are [n, h, w, c]") };
    Windows { window: factor, stride: factor, h: h * factor, w: w * factor, c, p: h, q: w }
}

/// Index into the small image for each element of the large one.
fn sources(g: Windows, len: usize) -> impl Iterator<Item = usize> {
    (0..len).map(move |i| {
        let (n, y, x, c) = (i / g.image(), i / (g.w * g.c) % g.h, i / g.c % g.w, i % g.c);
        ((n * g.p + y / g.window) * g.q + x / g.window) * g.c + c
    })
}

impl Op for Upsample {
    fn name(&self) -> &'static str {
        "upsample"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        let &[n, h, w, c] = x.dims() else { return Err("takes images [n, h, w, c]".into()) };
        if self.factor == 0 {
            return Err("the factor must be at least 1".into());
        }
        Ok(Tensor::f32([n, h * self.factor, w * self.factor, c]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let grad = UpsampleGrad { factor: self.factor, epilogue: Epilogue::NONE };
        Ok(vec![Some(graph.apply(grad, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let from = sources(windows(self.factor, inputs[0].dims()), out.data.len());
        out.data.iter_mut().zip(from).for_each(|(out, from)| *out = inputs[0].data[from]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.factor, inputs[0].dims());
        g.spread(inputs[0].data, outputs[0].data, 1.0, &Ready::default());
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        windows(self.factor, inputs[0].dims()).kernel("grad_avg", &outputs[0], 1.0, Epilogue::NONE)
    }
}

/// The derivative of [`Upsample`]: `d_out [n, h * factor, w * factor, c]` to `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct UpsampleGrad {
    pub factor: usize,
    /// Only an activation's derivative.
    pub epilogue: Epilogue,
}

impl Op for UpsampleGrad {
    fn name(&self) -> &'static str {
        "upsample.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, extra @ ..] = inputs else { return Err("takes the derivative of its output".into()) };
        floats(inputs)?;
        let &[n, h, w, c] = d_out.dims() else { return Err("takes images [n, h, w, c]".into()) };
        if self.factor == 0 || !h.is_multiple_of(self.factor) || !w.is_multiple_of(self.factor) {
            return Err(format!("an image of {h}x{w} is not one upsampled by {}", self.factor));
        }
        let image = Tensor::f32([n, h / self.factor, w / self.factor, c]);
        self.epilogue.check_of(&OF_DERIVATIVES, extra, &image.shape)?;
        Ok(image)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        Ok(vec![Some(graph.apply(Upsample { factor: self.factor }, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let to = sources(windows(self.factor, out.dims()), inputs[0].data.len());
        out.data.fill(0.0);
        to.zip(&inputs[0].data).for_each(|(to, d)| out.data[to] += d);
        self.epilogue.exact(out, &inputs[1..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.factor, outputs[0].dims());
        g.fold(inputs[0].data, outputs[0].data, 1.0, &self.epilogue.with(&inputs[1..]), |a, b| a + b);
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        windows(self.factor, outputs[0].dims()).kernel("average", &outputs[0], 1.0, self.epilogue)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs[0].len() as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&OF_DERIVATIVES))?;
        Some(Arc::new(UpsampleGrad { epilogue, ..*self }))
    }
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    let mut cases = Vec::new();
    for ([n, h, w, c], factor) in [([1, 1, 1, 1], 1), ([2, 3, 5, 4], 2), ([1, 4, 3, 7], 3), ([3, 2, 2, 1], 2)] {
        let name = format!("{:?} by {factor}", [n, h, w, c]);
        let (small, large) = (Tensor::f32([n, h, w, c]), Tensor::f32([n, h * factor, w * factor, c]));
        cases.push(Case::new(name.clone(), Arc::new(Upsample { factor })).input(small.clone(), Fill::Uniform));
        let grad = UpsampleGrad { factor, epilogue: Epilogue::NONE };
        cases.push(Case::new(name.clone(), Arc::new(grad)).input(large.clone(), Fill::Uniform));
        let fused = UpsampleGrad { epilogue: Epilogue { act_grad: Some(Act::Relu), ..Epilogue::NONE }, ..grad };
        cases.push(
            Case::new(format!("{name} and relu's"), Arc::new(fused))
                .input(large, Fill::Uniform)
                .input(small, Fill::AwayFromZero)
                .no_derivative(),
        );
    }
    cases
}
