use super::*;
use crate::tensor::Shape;

fn derivatives(op: impl Op, prediction: &[f32], truth: &[f32], rows: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; prediction.len()];
    let [shape, of_truth, one] =
        [Shape::new([rows, prediction.len() / rows]), Shape::new([truth.len()]), Shape::new([1])];
    let inputs = [
        In { data: prediction, shape: &shape },
        In { data: truth, shape: &of_truth },
        In { data: &[1.0], shape: &one },
    ];
    op.cpu(&inputs, &mut [Out { data: &mut out, shape: &shape }]);
    out
}

#[test]
fn of_equal_largest_the_first_counts_and_what_is_no_number_never_does() {
    let nan = f32::NAN;
    let rows = [[1.0, 2.0, 2.0], [1.0, 2.0, 2.0], [nan, 0.0, -1.0], [nan, 0.0, -1.0], [nan; 3]];
    let labels: [u32; 5] = [1, 2, 1, 0, 0];
    let labels: Vec<f32> = labels.into_iter().map(f32::from_bits).collect();
    let (of_rows, of_labels, one) = (Shape::new([5, 3]), Shape::new([5]), Shape::new([1]));
    let inputs = [In { data: rows.as_flattened(), shape: &of_rows }, In { data: &labels, shape: &of_labels }];
    let mut count = [nan];
    Correct.cpu(&inputs, &mut [Out { data: &mut count, shape: &one }]);
    assert_eq!(count, [2.0]);
}

#[test]
fn usual_batches_of_many_classes_go_through_loops_no_longer_than_drivers_on_the_cpu_let_them() {
    use crate::ops::kernel::MOST_ROUNDS;
    use crate::ops::record::{RecordLoss, Told};
    let ops: [Arc<dyn Op>; 3] = [
        Arc::new(CrossEntropy { smoothing: 0.1 }),
        Arc::new(CrossEntropyGrad { smoothing: 0.1, d_out: Some(1.0) }),
        Arc::new(RecordLoss { slots: 4, told: Told::Classes { smoothing: 0.1 }, ticks: true }),
    ];
    for op in ops {
        let rounds = |rows, classes| {
            let inputs = [Tensor::f32([rows, classes]), Tensor::u32([rows])];
            op.gpu(&inputs, &op.targets(&inputs).unwrap(), Target::SOFTWARE).rounds
        };
        for [rows, classes] in [[8192, 1000], [256, 65_536]] {
            let rounds = rounds(rows, classes);
            assert!((1..=MOST_ROUNDS).contains(&rounds), "{op:?} {rows}x{classes}: {rounds}");
        }
        // What is longer is refused by the device.
        assert!(rounds(65_536, 65_536) > MOST_ROUNDS || op.name() == "cross_entropy.grad", "{op:?}");
    }
}

#[test]
fn a_network_that_is_sure_passes_on_no_number_that_slows_processors_down() {
    let labels = [f32::from_bits(0), f32::from_bits(1)];
    let sure = [100.0, 10.0, 5.0, -300.0, -215.0, -250.0];
    let grad = CrossEntropyGrad { smoothing: 0.0, d_out: None };
    let found = derivatives(grad, &sure, &labels, 2);
    assert_eq!(found[..3], [0.0; 3]);
    assert!(found.iter().all(|x| *x == 0.0 || x.abs() >= LEAST), "{found:?}");
    let grad = PairwiseGrad { loss: Pairwise::Bce, d_out: None };
    let found = derivatives(grad, &[95.0, -95.0, 0.0], &[1.0, 0.0, 1.0], 1);
    assert_eq!(found[..2], [0.0; 2]);
    assert!((found[2] + 0.5 / 3.0).abs() < 1e-6, "{found:?}");
    // NaN is not hidden.
    let found = derivatives(grad, &[f32::NAN, 0.0, 1.0], &labels[..1], 1);
    assert!(found.iter().all(|x| x.is_nan()), "{found:?}");
}

#[test]
fn a_network_that_is_nearly_sure_still_learns() {
    let found = derivatives(CrossEntropyGrad { smoothing: 0.0, d_out: None }, &[0.0, -20.0, -50.0], &[0.0], 1);
    for (found, logit) in found[1..].iter().zip([-20f32, -50.0]) {
        assert!((found / logit.exp() - 1.0).abs() < 1e-4, "{found} at {logit}");
    }
}

#[test]
fn labels_are_not_smoothed_by_what_is_no_share() {
    use crate::ops::record::{RecordLoss, Told};
    let inputs = [Tensor::f32([2, 3]), Tensor::u32([2])];
    let refused = |smoothing| {
        let told = Told::Classes { smoothing };
        [
            CrossEntropy { smoothing }.shape(&inputs).is_err(),
            CrossEntropyGrad { smoothing, d_out: Some(1.0) }.shape(&inputs).is_err(),
            RecordLoss { slots: 1, told, ticks: true }.shape(&inputs).is_err(),
        ]
    };
    for smoothing in [f32::NAN, f32::INFINITY, -1.0, 7.0] {
        assert_eq!(refused(smoothing), [true; 3], "{smoothing}");
    }
    assert_eq!([refused(0.0), refused(0.1), refused(1.0)], [[false; 3]; 3]);
}

#[test]
fn the_derivative_with_respect_to_a_loss_is_one_number() {
    for [len, accepted] in [[0, 0], [1, 1], [2, 0]] {
        let d_out = Tensor::f32([len]);
        let labelled = [Tensor::f32([2, 3]), Tensor::u32([2]), d_out.clone()];
        let result = CrossEntropyGrad { smoothing: 0.0, d_out: None }.shape(&labelled);
        assert_eq!(result.is_ok(), accepted == 1, "{len}");
        let alike = [Tensor::f32([2, 3]), Tensor::f32([2, 3]), d_out];
        assert_eq!(PairwiseGrad { loss: Pairwise::Mse, d_out: None }.shape(&alike).is_ok(), accepted == 1, "{len}");
    }
}
