//! A convolution and the maxima of its result, in one go on the CPU: the result, the largest thing that a classifier
//! makes, never leaves the first-level cache.

use super::{Conv2d, cpu, sizes};
use crate::ops::{ByImage, In, Kernel, Op, Out, Target, Twin};
use crate::tensor::Tensor;

/// [`Conv2d`] and then [`MaxPool`](crate::ops::pool::MaxPool) over windows of two by two, side by side.
#[derive(Debug)]
pub(super) struct Pooled(Conv2d);

impl Pooled {
    /// Of these inputs, if there is a way.
    pub fn new(conv: Conv2d, inputs: &[Tensor]) -> Option<Pooled> {
        let g = conv.geometry(inputs[0].dims(), inputs[1].dims());
        let fits = conv.epilogue.is_for_registers() && cpu::Correlation::can_pool(&g);
        fits.then_some(Pooled(conv))
    }
}

impl Op for Pooled {
    fn name(&self) -> &'static str {
        "conv2d.max_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let ([n, ..], [.., k]) = sizes(inputs)?;
        self.0.shape(inputs)?;
        Ok(Tensor::f32([n, self.0.p / 2, self.0.q / 2, k]))
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.twin(inputs)(0, inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        self.0.by_image(inputs)
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let g = self.0.geometry(inputs[0].dims(), inputs[1].dims());
        let correlation = cpu::Correlation::forward(&g, inputs[1].data);
        Box::new(move |_, inputs, outputs| {
            correlation.run_pooled(inputs[0].data, outputs[0].data, self.0.epilogue, &inputs[2..]);
        })
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        unreachable!("the CPU's schedule makes it, for itself")
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        self.0.geometry(inputs[0].dims(), inputs[1].dims()).flops()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ops::Epilogue;
    use crate::ops::activation::Act;
    use crate::ops::conv2d::Padding;
    use crate::ops::conv2d::cpu::tests::numbers;
    use crate::ops::pool::MaxPool;

    const POOL: MaxPool = MaxPool { window: 2, stride: 2 };

    /// A convolution's inputs: images, weights and, if there is one, a bias.
    fn inputs([n, h, w, c]: [usize; 4], [r, k]: [usize; 2], epilogue: Epilogue) -> Vec<Tensor> {
        let bias = epilogue.bias.then(|| Tensor::f32([k]));
        [Tensor::f32([n, h, w, c]), Tensor::f32([r, r, c, k])].into_iter().chain(bias).collect()
    }

    fn conv(inputs: &[Tensor], padding: Padding, epilogue: Epilogue) -> Conv2d {
        let (image, r) = (inputs[0].dims(), inputs[1].dims()[0]);
        let [rows, columns] = [image[1], image[2]].map(|size| padding.resolve(size, r, 1).unwrap());
        Conv2d { stride: 1, pad_top: rows.1, pad_left: columns.1, p: rows.0, q: columns.0, epilogue }
    }

    fn result(op: &dyn Op, inputs: &[Tensor], words: &[Vec<f32>]) -> (Tensor, Vec<f32>) {
        let tensor = op.shape(inputs).unwrap();
        let inputs: Vec<In> =
            inputs.iter().zip(words).map(|(tensor, data)| In { data, shape: &tensor.shape }).collect();
        // What lies in a result beforehand must not matter.
        let mut data = vec![f32::NAN; tensor.len()];
        op.cpu(&inputs, &mut [Out { data: &mut data, shape: &tensor.shape }]);
        (tensor, data)
    }

    #[test]
    fn a_convolution_that_pools_on_the_way_leaves_the_same_bits_as_two_ops() {
        let relu = Epilogue { bias: true, act: Some(Act::Relu), act_grad: None };
        let mut ways = std::collections::BTreeSet::new();
        // By rows, by pixels from anywhere, by tiles of four by four; sizes odd and even, one band and several.
        for (image, kernel) in [
            ([3, 28, 28, 1], [2, 16]),
            ([2, 24, 23, 1], [5, 32]),
            ([2, 61, 30, 1], [3, 48]),
            ([2, 9, 8, 3], [3, 16]),
            ([2, 40, 29, 1], [4, 80]),
            ([5, 12, 12, 32], [3, 64]),
            ([2, 15, 17, 40], [3, 48]),
            ([3, 3, 2, 5], [1, 16]),
        ] {
            for (padding, epilogue) in [(Padding::Valid, Epilogue::NONE), (Padding::Same, relu)] {
                let inputs = inputs(image, kernel, epilogue);
                let conv = conv(&inputs, padding, epilogue);
                let mut words: Vec<Vec<f32>> =
                    inputs.iter().enumerate().map(|(i, t)| numbers(t.len(), i as u32)).collect();
                // The last pixel of the first image is not a number.
                words[0][image[1] * image[2] * image[3] - 1] = f32::NAN;
                let Some(pooled) = conv.with_max_pool(&inputs, POOL) else { panic!("{conv:?} {inputs:?}") };
                let (whole, of_conv) = result(&conv, &inputs, &words);
                let (_, two) = result(&POOL, &[whole], &[of_conv]);
                let (_, one) = result(pooled.as_ref(), &inputs, &words);
                let bits = |of: &[f32]| of.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert!(bits(&one) == bits(&two), "{conv:?} of {inputs:?}");
                let g = conv.geometry(inputs[0].dims(), inputs[1].dims());
                ways.insert(match cpu::Correlation::forward(&g, &words[1]) {
                    cpu::Correlation::Tiles(_) => "tiles",
                    _ => "sums",
                });
            }
        }
        assert_eq!(ways.into_iter().collect::<Vec<_>>(), ["sums", "tiles"]);
    }

    #[test]
    fn what_needs_the_whole_result_or_other_windows_is_not_pooled_on_the_way() {
        let pooled = |kernel, epilogue, pool: MaxPool| {
            let inputs = inputs([2, 12, 12, 3], kernel, epilogue);
            conv(&inputs, Padding::Same, epilogue).with_max_pool(&inputs, pool).map(|op: Arc<dyn Op>| op.name())
        };
        assert_eq!(pooled([3, 16], Epilogue::NONE, POOL), Some("conv2d.max_pool"));
        // Windows of three, windows that overlap, channels that are no whole vectors, a function of a library.
        assert_eq!(pooled([3, 16], Epilogue::NONE, MaxPool { window: 3, stride: 3 }), None);
        assert_eq!(pooled([3, 16], Epilogue::NONE, MaxPool { window: 2, stride: 1 }), None);
        assert_eq!(pooled([3, 20], Epilogue::NONE, POOL), None);
        assert_eq!(pooled([3, 16], Epilogue { act: Some(Act::Tanh), ..Epilogue::NONE }, POOL), None);
    }
}
