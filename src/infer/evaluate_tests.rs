//! Sets that are evaluated in pieces, views, and what is refused.

use std::path::Path;

use super::*;

/// Test digits, and the file of a digit classifier.
fn digits(count: usize) -> (ImageSet, ModelFile) {
    let set = crate::data::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist")), &Default::default());
    (set.unwrap().test.sample(count, 0), ModelFile::shipped("dense").unwrap())
}

#[test]
fn a_set_that_is_too_large_to_lie_on_a_device_has_the_same_answers_in_pieces() {
    let ((set, file), mut device) = (digits(1_000), crate::device::cpu::Cpu::new());
    let mut whole = Evaluation::open(&file, &set, &mut device).unwrap();
    let wanted = whole.logits(&mut device).unwrap();
    assert_eq!(at_once(&set, BATCH, PIECE), 1_000);
    let (room, image) = (at_once(&set, BATCH, 300 * 784), [28, 28, 1]);
    assert_eq!(room, 300);
    let mut pieces = Evaluation::open_for(&file, (room, image), &mut device).unwrap();
    pieces.hold(&mut device, &set).unwrap();
    assert_eq!(pieces.logits(&mut device).unwrap(), wanted);
    assert_eq!(pieces.mean_logits(&mut device, 700, 2).unwrap().len(), 7_000);
}

#[test]
fn answers_with_views_are_the_same_alone_in_another_order_and_with_another_batch_size() {
    let ((set, file), mut device) = (digits(300), crate::device::cpu::Cpu::new());
    let mut views = |set: &ImageSet, room: usize| {
        let mut evaluation = Evaluation::open_for(&file, (room, [28, 28, 1]), &mut device).unwrap();
        evaluation.hold(&mut device, set).unwrap();
        evaluation.mean_logits(&mut device, set.len(), 4).unwrap()
    };
    // More than a batch, so that there is a second step.
    let wanted = views(&set, 300);
    let of = |row: usize| &wanted[10 * row..][..10];
    assert!(views(&set, 70) == wanted, "batches of 70");
    let others: Vec<usize> = (0..300).rev().collect();
    let reversed: Vec<f32> = others.iter().flat_map(|row| of(*row)).copied().collect();
    assert!(views(&set.select(&others), 300) == reversed, "in another order");
    for row in [0, 7, 299] {
        assert!(views(&set.select(&[row]), 1) == of(row), "image {row} alone");
    }
}

#[test]
fn every_view_of_an_image_is_another_one() {
    let ((set, file), mut device) = (digits(20), crate::device::cpu::Cpu::new());
    let mut evaluation = Evaluation::open(&file, &set, &mut device).unwrap();
    let sums = [1, 2, 3].map(|views| {
        let mean = evaluation.mean_logits(&mut device, 20, views).unwrap();
        mean.into_iter().map(|logit| logit * views as f32).collect::<Vec<f32>>()
    });
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f32>>();
    let [second, third] = [apart(&sums[1], &sums[0]), apart(&sums[2], &sums[1])];
    for (one, other) in [(&sums[0], &second), (&second, &third)] {
        assert!(apart(one, other).iter().any(|logit| logit.abs() > 0.1));
    }
}

#[test]
fn the_set_that_was_held_last_is_answered_for_whether_it_goes_through_in_pieces_or_not() {
    let ((set, file), mut device) = (digits(500), crate::device::cpu::Cpu::new());
    let wanted = Evaluation::open(&file, &set, &mut device).unwrap().logits(&mut device).unwrap();
    let mut evaluation = Evaluation::open_for(&file, (300, [28, 28, 1]), &mut device).unwrap();
    let (few, all): (Vec<usize>, Vec<usize>) = ((200..350).collect(), (0..500).collect());
    let others: Vec<usize> = (0..450).rev().collect();
    for rows in [&others, &few, &all, &others, &few] {
        evaluation.hold(&mut device, &set.select(rows)).unwrap();
        let wanted: Vec<f32> = rows.iter().flat_map(|row| &wanted[row * 10..][..10]).copied().collect();
        assert!(evaluation.logits(&mut device).unwrap() == wanted, "{} images", rows.len());
        assert_eq!(evaluation.mean_logits(&mut device, rows.len(), 1).unwrap(), wanted);
    }
}

#[test]
fn images_that_are_not_of_the_size_or_number_that_was_told_are_refused() {
    let ((set, file), mut device) = (digits(4), crate::device::cpu::Cpu::new());
    let mut evaluation = Evaluation::open(&file, &set, &mut device).unwrap();
    let wanted = evaluation.logits(&mut device).unwrap();
    let flat = ImageSet { height: 14, width: 56, ..set.clone() };
    let cut_off = ImageSet { images: vec![0; 784].into(), ..set.clone() };
    for (wrong, said) in [(flat, "is for images of 28x28x1, not of 14x56x1"), (cut_off, "784 bytes, not those of 4")] {
        let refused = evaluation.hold(&mut device, &wrong).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    for bytes in [1, 5 * 784] {
        let refused = evaluation.send(&mut device, &vec![0; bytes]).unwrap_err();
        assert!(matches!(refused, InferError::Images { given, .. } if given == bytes), "{refused}");
    }
    assert_eq!(evaluation.logits(&mut device).unwrap(), wanted);
    for (size, count, said) in
        [([14, 56, 1], 4, "takes images of 28x28x1, not of 14x56x1"), ([28, 28, 1], 0, "at least one")]
    {
        let refused = Evaluation::open_for(&file, (count, size), &mut device).map(drop).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn more_logits_than_there_are_images_are_refused_whether_or_not_the_set_goes_through_in_pieces() {
    let ((set, file), mut device) = (digits(9), crate::device::cpu::Cpu::new());
    let mut evaluation = Evaluation::open_for(&file, (4, [28, 28, 1]), &mut device).unwrap();
    for count in [3, 9] {
        evaluation.hold(&mut device, &set.select(&(0..count).collect::<Vec<_>>())).unwrap();
        assert_eq!(evaluation.mean_logits(&mut device, count, 1).unwrap().len(), 10 * count);
        let refused = evaluation.mean_logits(&mut device, count + 1, 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("has {count} images")), "{refused}");
        assert!(evaluation.first_logits(&mut device, count.min(4) + 1).is_err());
    }
}

#[test]
fn views_of_blank_paper_show_paper_alone_if_the_model_knows_it() {
    let ((set, mut file), mut device) = (digits(1), crate::device::cpu::Cpu::new());
    let paper = ImageSet { images: vec![243; 784].into(), ..set };
    let mut apart = |file: &ModelFile| {
        let mut evaluation = Evaluation::open(file, &paper, &mut device).unwrap();
        let [one, five] = [1, 5].map(|views| evaluation.mean_logits(&mut device, 1, views).unwrap());
        one.iter().zip(&five).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(apart(&file) > 0.01, "black comes in");
    file.set("background", 243);
    assert!(apart(&file) < 1e-3);
}

#[test]
fn several_views_are_refused_where_only_one_is_known() {
    let ((set, file), mut device, mut store) = (digits(4), crate::device::cpu::Cpu::new(), Store::default());
    let (network, parameters) = file.network(&mut store, "classifier").unwrap();
    let normalization = Normalization::read(&file).unwrap();
    let declared = Evaluation::declare(4, &mut store, &network, &parameters, &set, normalization);
    let mut evaluation = declared.unwrap();
    device.allocate(&store).unwrap();
    evaluation.upload(&mut device, &set).unwrap();
    assert_eq!(evaluation.mean_logits(&mut device, 4, 1).unwrap().len(), 40);
    let refused = evaluation.mean_logits(&mut device, 4, 5).unwrap_err().to_string();
    assert!(refused.contains("has one view of an image and not 5"), "{refused}");
}
