//! A convolution and max pooling of its result, in one pass on the CPU: the convolution's result, the largest thing
//! that a classifier makes, never leaves the first-level cache.

use super::{Conv2d, cpu, sizes};
use crate::ops::pool::MaxPool;
use crate::ops::{ByImage, In, Kernel, Op, Out, Target, Twin};
use crate::tensor::Tensor;

/// [`Conv2d`] and then [`MaxPool`] over adjacent windows of two by two. Inputs are the convolution's, followed by those
/// of the pooling's epilogue.
#[derive(Debug)]
pub(super) struct Pooled {
    conv: Conv2d,
    pool: MaxPool,
}

impl Pooled {
    /// For these inputs of the convolution, if the CPU can do it.
    pub fn new(conv: Conv2d, inputs: &[Tensor], pool: MaxPool) -> Option<Pooled> {
        let g = conv.geometry(inputs[0].dims(), inputs[1].dims());
        let in_registers = conv.epilogue.is_for_registers() && pool.epilogue.is_for_registers();
        let fits = in_registers && cpu::Correlation::can_pool(&g);
        fits.then_some(Pooled { conv, pool })
    }

    /// How many inputs are the convolution's.
    fn of_conv(&self) -> usize {
        2 + self.conv.epilogue.cut().count()
    }
}

impl Op for Pooled {
    fn name(&self) -> &'static str {
        "conv2d.max_pool"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let ([n, ..], [.., k]) = sizes(inputs)?;
        let (of_conv, of_pool) = inputs.split_at(self.of_conv().min(inputs.len()));
        self.conv.shape(of_conv)?;
        let [p, q] = self.conv.out.map(|size| size / 2);
        let out = Tensor::f32([n, p, q, k]);
        self.pool.epilogue.check(of_pool, &out.shape).map(|()| out)
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.twin(inputs)(0, inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        self.conv.by_image(inputs).map(|by_image| by_image.with(self.pool.epilogue))
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let g = self.conv.geometry(inputs[0].dims(), inputs[1].dims());
        let correlation = cpu::Correlation::forward(&g, inputs[1].data);
        Box::new(move |_, inputs, outputs| {
            let (of_conv, of_pool) = inputs.split_at(self.of_conv());
            let (end, then) = (self.conv.epilogue.with(&of_conv[2..]), self.pool.epilogue.with(of_pool));
            correlation.run_pooled(inputs[0].data, outputs[0].data, end.in_registers().0, then.in_registers().0);
        })
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        unreachable!("the CPU's schedule makes it, for itself")
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        self.conv.geometry(inputs[0].dims(), inputs[1].dims()).flops()
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

    const POOL: MaxPool = MaxPool::new(2, 2);

    /// A convolution's inputs: images, weights and what its epilogue takes.
    fn inputs([n, h, w, c]: [usize; 4], [r, k]: [usize; 2], epilogue: Epilogue) -> Vec<Tensor> {
        [Tensor::f32([n, h, w, c]), Tensor::f32([r, r, c, k])].into_iter().chain(extra(epilogue, k)).collect()
    }

    /// Inputs of an epilogue for this many channels.
    fn extra(epilogue: Epilogue, channels: usize) -> impl Iterator<Item = Tensor> {
        let bias = epilogue.bias.then(|| Tensor::f32([channels]));
        let norm = epilogue.norm.map(|_| [(); 2].map(|()| Tensor::f32([2, channels])));
        bias.into_iter().chain(norm.into_iter().flatten())
    }

    fn conv(inputs: &[Tensor], padding: Padding, epilogue: Epilogue) -> Conv2d {
        let (image, r) = (inputs[0].dims(), inputs[1].dims()[0]);
        let [rows, columns] = [image[1], image[2]].map(|size| padding.resolve(size, r, 1).unwrap());
        let out = [rows.0, columns.0];
        Conv2d { stride: 1, pad_top: rows.1, pad_left: columns.1, out, transposed: false, epilogue }
    }

    fn result(op: &dyn Op, inputs: &[Tensor], words: &[Vec<f32>]) -> (Tensor, Vec<f32>) {
        let tensor = op.shape(inputs).unwrap();
        let inputs: Vec<In> =
            inputs.iter().zip(words).map(|(tensor, data)| In { data, shape: &tensor.shape }).collect();
        // What the output held before must not matter.
        let mut data = vec![f32::NAN; tensor.len()];
        op.cpu(&inputs, &mut [Out { data: &mut data, shape: &tensor.shape }]);
        (tensor, data)
    }

    #[test]
    fn a_convolution_that_pools_on_the_way_leaves_the_same_bits_as_two_ops() {
        let relu = Epilogue { bias: true, act: Some(Act::Relu), ..Epilogue::NONE };
        // Variances are from -1 to 1 here.
        let norm = Epilogue { norm: Some(2.0), act: Some(Act::Leaky(0.2)), ..Epilogue::NONE };
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
            for (padding, epilogue, of_pool) in [
                (Padding::Valid, Epilogue::NONE, Epilogue::NONE),
                (Padding::Same, relu, Epilogue::NONE),
                (Padding::Valid, Epilogue::NONE, norm),
                (Padding::Same, Epilogue { bias: true, ..norm }, norm),
            ] {
                let pool = MaxPool { epilogue: of_pool, ..POOL };
                let of_conv = inputs(image, kernel, epilogue);
                let conv = conv(&of_conv, padding, epilogue);
                let inputs: Vec<Tensor> = of_conv.iter().cloned().chain(extra(of_pool, kernel[1])).collect();
                let (of_pool, of_conv) = (of_conv.len().., &of_conv[..]);
                let mut words: Vec<Vec<f32>> =
                    inputs.iter().enumerate().map(|(i, t)| numbers(t.len(), i as u32)).collect();
                // The last pixel of the first image is NaN.
                words[0][image[1] * image[2] * image[3] - 1] = f32::NAN;
                let Some(pooled) = conv.with_max_pool(of_conv, pool) else { panic!("{conv:?} {inputs:?}") };
                let (whole, made) = result(&conv, of_conv, &words);
                let behind = |whole: Tensor| [&[whole], &inputs[of_pool.clone()]].concat();
                let (_, two) = result(&pool, &behind(whole), &[&[made], &words[of_pool.clone()]].concat());
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
        // Windows of three, windows that overlap, channels that are not whole vectors, a library function.
        assert_eq!(pooled([3, 16], Epilogue::NONE, MaxPool::new(3, 3)), None);
        assert_eq!(pooled([3, 16], Epilogue::NONE, MaxPool::new(2, 1)), None);
        assert_eq!(pooled([3, 20], Epilogue::NONE, POOL), None);
        let tanh = Epilogue { act: Some(Act::Tanh), ..Epilogue::NONE };
        assert_eq!(pooled([3, 16], tanh, POOL), None);
        assert_eq!(pooled([3, 16], Epilogue::NONE, MaxPool { epilogue: tanh, ..POOL }), None);
    }
}
