//! Cases at sizes of real work, none of them even: many workgroups in two dimensions, long sums, large offsets.
//! Drivers that pass small cases fail at these. The definition would not be worth the time here; the twin is enough.

use std::sync::Arc;

use crate::ops::case::Fill;
use crate::ops::conv2d::{Conv2d, Conv2dGradW};
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::Scale;
use crate::ops::loss::CrossEntropy;
use crate::ops::matmul::{Layout, MatMul};
use crate::ops::pool::MaxPool;
use crate::ops::reduce::Sum;
use crate::ops::softmax::Softmax;
use crate::ops::{Case, Epilogue, Op, batch_norm};
use crate::tensor::Tensor;

/// Large cases, forward only: their tensors stay below the 128 MiB that every adapter binds.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, op: Arc<dyn Op>| Case::new(format!("large, {name}"), op).no_derivative();
    let f32s = |case: Case, shape: &[usize]| case.input(Tensor::f32(crate::tensor::Shape::new(shape)), Fill::Uniform);
    let epilogue = Epilogue::NONE;
    let matmul = |layout| -> Arc<dyn Op> { Arc::new(MatMul { epilogue, ..MatMul::new(layout) }) };
    let conv = Conv2d { stride: 1, pad_top: 1, pad_left: 1, out: [29, 27], transposed: false, epilogue };
    let images_per_part = 5;
    let grad_w = Conv2dGradW { stride: 1, pad_top: 1, pad_left: 1, r: 3, s: 3, images_per_part };
    let rows = 100_003;
    let rows_per_part = 509;
    // More invocations than workgroups are allowed in one dimension.
    let many = [65_539, 257];
    let mut cases = vec![
        f32s(f32s(case("1031x517x259", matmul(Layout::NN)), &[1031, 259]), &[259, 517]),
        f32s(f32s(case("1031x517x259", matmul(Layout::NT)), &[1031, 259]), &[517, 259]),
        // Longer than lavapipe lets a loop be.
        f32s(f32s(case("5x7x66,037", matmul(Layout::NN)), &[5, 66_037]), &[66_037, 7]),
        f32s(f32s(case("67x131x20011", matmul(Layout::TN)), &[20_011, 67]), &[20_011, 131]),
        f32s(f32s(case("61x29x27x33 by 3x3x65", Arc::new(conv)), &[61, 29, 27, 33]), &[3, 3, 33, 65]),
        f32s(f32s(case("61x29x27x33 by 3x3x65", Arc::new(grad_w)), &[61, 29, 27, 33]), &[61, 29, 27, 65]),
        f32s(case("100,003x33", Arc::new(batch_norm::Sums { rows_per_part })), &[rows, 33]),
        f32s(case("61x57x55x33", Arc::new(MaxPool::new(2, 2))), &[61, 57, 55, 33]),
        f32s(case("4099x1001", Arc::new(Softmax)), &[4099, 1001]),
        f32s(case("2,097,169 in 257", Arc::new(Sum { width: 1, rows: 8161, factor: 1.0 })), &[2_097_169]),
        f32s(case("65,539x257", Arc::new(Scale { factor: -2.5, offset: 0.25 })), &many),
        f32s(case("65,539x257", Arc::new(Dropout { rate: 0.5, stream: 3, groups: 1 })), &many)
            .input(Tensor::u32([2]), Fill::Words(&[41, 9])),
        f32s(case("65,539x10", Arc::new(CrossEntropy { smoothing: 0.1 })), &[65_539, 10])
            .input(Tensor::u32([65_539]), Fill::Below(10)),
    ];
    for case in &mut cases {
        // Sums of up to 50,000 products, each rounded to 6e-8 of the sum so far.
        case.tolerance = 1e-4;
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_is_large_uneven_and_bound_by_every_adapter() {
        for case in cases() {
            let inputs = case.tensors();
            let out = case.op.shape(&inputs).unwrap_or_else(|problem| panic!("{}: {problem}", case.name));
            let most = inputs.iter().chain([&out]).map(Tensor::len).max().unwrap_or(0);
            assert!((1 << 18..(128 << 20) / 4).contains(&most), "{}: {most} elements", case.name);
            assert!(inputs.iter().any(|tensor| tensor.len() % 4 != 0), "{}", case.name);
        }
    }
}
