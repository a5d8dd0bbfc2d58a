//! Means over windows, and their derivative.

use std::sync::Arc;

use super::{OF_DERIVATIVES, Windows, windows};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::ops::epilogue::Ready;
use crate::ops::{ByImage, Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect_floats, floats};
use crate::tensor::Tensor;

/// `out[n, p, q, c] = mean of x over the window`; `x` is `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool {
    pub window: usize,
    pub stride: usize,
}

impl AvgPool {
    fn scale(self) -> f32 {
        1.0 / (self.window * self.window) as f32
    }
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let (n, g) = Windows::on(self.window, self.stride, &expect_floats::<1>(inputs)?[0])?;
        Ok(Tensor::f32([n, g.p, g.q, g.c]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let image = graph.dims(node.inputs[0]);
        let grad = AvgPoolGrad { pool: *self, image: [image[1], image[2]], epilogue: Epilogue::NONE };
        Ok(vec![Some(graph.apply(grad, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let x = Tensor::f32(inputs[0].shape.clone());
        let Ok((n, g)) = Windows::on(self.window, self.stride, &x) else { return false };
        for (to, pixels) in g.each(n) {
            for c in 0..g.c {
                let sum: f64 = pixels.iter().map(|pixel| inputs[0].data[pixel + c]).sum();
                out.data[to + c] = sum / pixels.len() as f64;
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.window, self.stride, inputs[0].dims());
        g.fold(inputs[0].data, outputs[0].data, self.scale(), &Ready::default(), |a, b| a + b);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.window, self.stride, inputs[0].dims());
        g.kernel("average", &outputs[0], self.scale(), Epilogue::NONE)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        (outputs[0].len() * self.window * self.window) as u64
    }
}

/// The derivative of [`AvgPool`] with respect to its input: `d_out [n, p, q, c]` to `[n, h, w, c]`.
#[derive(Clone, Copy, Debug)]
pub struct AvgPoolGrad {
    pub pool: AvgPool,
    /// Height and width of the image.
    pub image: [usize; 2],
    /// Only an activation's derivative.
    pub epilogue: Epilogue,
}

impl Op for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool.grad_x"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [d_out, extra @ ..] = inputs else { return Err("takes the derivative of its output".into()) };
        floats(inputs)?;
        let &[n, p, q, c] = d_out.dims() else { return Err("takes images [n, h, w, c]".into()) };
        let image = Tensor::f32([n, self.image[0], self.image[1], c]);
        let (_, g) = Windows::on(self.pool.window, self.pool.stride, &image)?;
        if [g.p, g.q] != [p, q] {
            return Err(format!("should have {}x{} windows", g.p, g.q));
        }
        self.epilogue.check_of(&OF_DERIVATIVES, extra, &image.shape)?;
        Ok(image)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE {
            return Ok(vec![None; node.inputs.len()]);
        }
        Ok(vec![Some(graph.apply(self.pool, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let Ok((n, g)) = Windows::on(self.pool.window, self.pool.stride, &Tensor::f32(out.shape.clone())) else {
            return false;
        };
        out.data.fill(0.0);
        for (from, pixels) in g.each(n) {
            for (pixel, c) in pixels.iter().flat_map(|pixel| (0..g.c).map(move |c| (pixel, c))) {
                out.data[pixel + c] += inputs[0].data[from + c] / pixels.len() as f64;
            }
        }
        self.epilogue.exact(out, &inputs[1..]);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let g = windows(self.pool.window, self.pool.stride, outputs[0].dims());
        g.spread(inputs[0].data, outputs[0].data, self.pool.scale(), &self.epilogue.with(&inputs[1..]));
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::all(inputs)
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let g = windows(self.pool.window, self.pool.stride, outputs[0].dims());
        g.kernel("grad_avg", &outputs[0], self.pool.scale(), self.epilogue)
    }
    fn flops(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        outputs[0].len() as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&OF_DERIVATIVES))?;
        Some(Arc::new(AvgPoolGrad { epilogue, ..*self }))
    }
}
