use std::sync::Arc;

use super::testing::{AVERAGES, EVERYTHING, digits, enlarged, look, noise, shipped, untrained};
use super::*;
use crate::data::ImageSet;
use crate::device::rigged::Rigged;
use crate::infer::Classifier;

const ALL: Wanted = Wanted { activations: true, saliency: Some(3) };

fn close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "off by {worst}");
}

fn refused(result: Result<impl Sized, InferError>, word: &str) {
    let error = result.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(word), "{error}");
}

#[test]
fn an_enlarged_digit_is_answered_as_the_classifier_answers_the_digit() {
    let set = digits(4);
    for name in ["best", "cnn", "dense", "fast"] {
        let (file, mut device) = (ModelFile::shipped(name).unwrap(), Cpu::new());
        let mut classifier = Classifier::open(&mut device, &file, 4, 1).unwrap();
        let logits = classifier.logits(&mut device, &set.images).unwrap();
        let mut look = shipped(name);
        for (i, logits) in logits.chunks(10).enumerate() {
            let wanted: Vec<f32> = softmax(logits).into_iter().map(|p| p as f32).collect();
            let drawn = look.field(&enlarged(set.image(i), 28, 16), Wanted::default()).unwrap();
            close(&drawn.probabilities, &wanted, 1e-5);
            let bytes: Vec<f32> = set.image(i).iter().map(|byte| f32::from(*byte) / 255.0).collect();
            close(&drawn.picture, &bytes, 1e-6);
            let given = look.picture(set.image(i), Wanted::default()).unwrap();
            close(&given.probabilities, &wanted, 1e-5);
            assert!(given.activations.is_empty() && given.saliency.is_empty());
        }
    }
}

#[test]
fn every_layer_is_shown_and_the_last_one_gives_the_logits() {
    for mut look in [shipped("best"), shipped("fast"), look(&untrained(EVERYTHING, 28, 1))] {
        let digit = digits(1).images;
        let (quick, deep) = (look.picture(&digit, Wanted::default()).unwrap(), look.picture(&digit, ALL).unwrap());
        close(&quick.logits, &deep.logits, 1e-5);
        close(&quick.features, &deep.features, 1e-5);
        assert_eq!(deep.activations.last(), Some(&deep.logits));
        let anatomy = look.anatomy();
        for (layer, values) in anatomy.layers().iter().zip(&deep.activations) {
            assert_eq!(values.len(), layer.shape.iter().product::<usize>(), "{}", layer.name);
            assert!(values.iter().all(|x| x.is_finite()), "{}", layer.name);
        }
        assert_eq!(anatomy.layers().len(), deep.activations.len());
        assert_eq!(deep.saliency.len(), 784);
        let sum: f32 = deep.probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5);
        // Earlier requests leave nothing behind.
        assert_eq!(look.picture(&digit, Wanted::default()).unwrap().logits, quick.logits);
    }
}

#[test]
fn networks_that_pool_a_large_picture_themselves_take_the_field_as_it_is() {
    let mut small = look(&untrained("\"flatten\", { dense = \"classes\" }", 28, 5));
    let mut large = look(&untrained("{ avg_pool = 16 }, \"flatten\", { dense = \"classes\" }", 448, 5));
    let field = noise(2, FIELD * FIELD);
    let (a, b) = (small.field(&field, ALL).unwrap(), large.field(&field, ALL).unwrap());
    close(&a.logits, &b.logits, 1e-4);
    let bytes: Vec<f32> = field.iter().map(|byte| f32::from(*byte) / 255.0).collect();
    close(&b.picture, &bytes, 1e-6);
    let means: Vec<f32> = (0..784)
        .map(|i| (0..256).map(|j| bytes[(i / 28 * 16 + j / 16) * 448 + i % 28 * 16 + j % 16]).sum::<f32>() / 256.0)
        .collect();
    close(&a.picture, &means, 1e-5);
    // A pixel of the large picture counts for a 256th of one of the small picture.
    close(&[b.saliency[0], b.saliency[447]], &[a.saliency[0] / 256.0, a.saliency[27] / 256.0], 1e-5);
}

/// A logit of the network for these inputs, which are finer than bytes.
fn logit_of(look: &mut Look, input: &[f32], class: usize) -> f32 {
    let (device, plans) = (&mut *look.device, &mut look.plans);
    device.write_f32(plans.places.x.buffer, 0, input).unwrap();
    let plan = plans.reading.ready(device).unwrap();
    device.run(&[plan], 1).unwrap();
    device.read_f32(plans.places.logits.buffer, class, 1).unwrap()[0]
}

#[test]
fn saliency_is_the_slope_of_the_logit_by_a_pixels_brightness() {
    let digit = digits(1).images;
    let smooth = AVERAGES.replace("relu", "tanh");
    // Steps are short where rectifiers have their kink.
    for (name, mut look, step, tolerance) in [
        ("smooth", look(&untrained(&smooth, 28, 3)), 0.02, 0.01),
        ("averages", look(&untrained(AVERAGES, 28, 3)), 0.002, 0.03),
        ("dense", shipped("dense"), 0.002, 0.03),
        ("best", shipped("best"), 0.002, 0.05),
    ] {
        for class in [0, 7] {
            let pass = look.picture(&digit, Wanted { saliency: Some(class), ..Wanted::default() }).unwrap();
            let largest = pass.saliency.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(largest > 0.0);
            for pixel in [0, 205, 260, 349, 378, 406, 490, 546, 601, 783] {
                let mut moved = pass.input.clone();
                let mut logit = |by: f32| {
                    moved[pixel] = pass.input[pixel] + by;
                    logit_of(&mut look, &moved, class)
                };
                let slope = (logit(step) - logit(-step)) / (2.0 * step * look.normalization.std);
                let apart = (slope - pass.saliency[pixel]).abs() / largest;
                assert!(
                    apart < tolerance,
                    "{name}, pixel {pixel}: {slope} against {}, of {largest}",
                    pass.saliency[pixel]
                );
            }
        }
    }
}

#[test]
fn a_kernel_is_the_units_own_column_of_the_weights() {
    let file = ModelFile::shipped("cnn").unwrap();
    let anatomy = shipped("cnn").anatomy();
    let tensor = |name: &str| {
        let tensor = file.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        let crate::models::Words::F32(words) = &tensor.words else { panic!("{name}") };
        words.clone()
    };
    let (conv, bias) = (tensor("conv2.weight"), tensor("conv2.bias"));
    let kernel = anatomy.kernel(2, 9).unwrap();
    assert_eq!((kernel.shape, kernel.bias), (vec![2, 2, 16], Some(bias[9])));
    assert!(kernel.weights.iter().enumerate().all(|(i, weight)| *weight == conv[i * 32 + 9]));
    let [_, _, _, .., last] = anatomy.layers() else { panic!() };
    assert_eq!(last.shape, [10]);
    // The hidden layer comes after a flattened image and dropout, the last one after a row of numbers.
    let hidden = anatomy.kernel(anatomy.layers().len() - 2, 0).unwrap();
    assert_eq!(hidden.shape, [7, 7, 64]);
    assert_eq!(anatomy.kernel(anatomy.layers().len() - 1, 0).unwrap().shape, [64]);
    assert_eq!(anatomy.kernel(1, 0), None, "pooling has no weights");
    assert_eq!((anatomy.kernel(2, 32), anatomy.kernel(99, 0)), (None, None));
}

/// Changes every pixel in turn, and compares which values changed with the receptive fields.
fn by_brute_force(mut look: Look, tight: bool) {
    let [side, ..] = look.input();
    let picture = noise(4, side * side);
    let wanted = Wanted { activations: true, saliency: None };
    let before = look.picture(&picture, wanted).unwrap();
    let anatomy = look.anatomy();
    let layers = anatomy.layers();
    let images: Vec<[usize; 3]> = layers.iter().map(|layer| anatomy::image(&layer.shape)).collect();
    // For each place of each layer, the rectangle around all pixels that changed it.
    let none = [usize::MAX, usize::MAX, 0, 0];
    let mut found: Vec<Vec<[usize; 4]>> = images.iter().map(|[h, w, _]| vec![none; h * w]).collect();
    for pixel in 0..side * side {
        let mut moved = picture.clone();
        moved[pixel] = if moved[pixel] < 128 { 255 } else { 0 };
        let after = look.picture(&moved, wanted).unwrap();
        let (y, x) = (pixel / side, pixel % side);
        for (layer, found) in found.iter_mut().enumerate() {
            let c = images[layer][2];
            // Tiled convolutions round a value differently when another value of its tile changes.
            let rounding = 1e-5 * before.activations[layer].iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let cells = before.activations[layer].chunks(c).zip(after.activations[layer].chunks(c));
            for (area, (before, after)) in found.iter_mut().zip(cells) {
                if before.iter().zip(after).any(|(before, after)| (before - after).abs() > rounding) {
                    *area = [area[0].min(y), area[1].min(x), area[2].max(y + 1), area[3].max(x + 1)];
                }
            }
        }
    }
    for (layer, found) in found.iter().enumerate() {
        let (w, name) = (images[layer][1], &layers[layer].name);
        let mut changed = 0;
        for (i, area) in found.iter().enumerate() {
            let said = anatomy.receptive_field(layer, [i / w, i % w]);
            if *area == none {
                assert!(!tight || said == [0; 4], "{name} {i}: nothing changes it, but {said:?} should");
                continue;
            }
            changed += 1;
            let inside = said[0] <= area[0] && said[1] <= area[1] && said[2] >= area[2] && said[3] >= area[3];
            assert!(inside, "{name} {i}: {area:?} change it, only {said:?} should");
            let row = layers[layer].shape.len() != 3;
            assert!(!tight || row || said == *area, "{name} {i}: {area:?} change it, {said:?} should");
        }
        assert!(changed > 0, "{name}: no pixel changes anything");
    }
}

#[test]
fn no_pixel_outside_a_receptive_field_changes_the_value_and_some_inside_do() {
    by_brute_force(look(&untrained(EVERYTHING, 28, 6)), false);
    by_brute_force(shipped("best"), false);
}

#[test]
fn a_receptive_field_is_no_larger_than_it_must_be() {
    // Without rectifiers every pixel that is read matters.
    let linear = r#"{ conv = 2, kernel = 3, padding = "same", stride = 2, name = "a" },
        { avg_pool = 3, stride = 2 }, { upsample = 2 }, { conv = 2, kernel = 2, padding = 1 },
        { conv_transposed = 2, kernel = 3, stride = 2, padding = "same" },
        { conv_transposed = 2, kernel = 2, stride = 3, padding = "valid" },
        { conv = 2, kernel = 1, padding = "valid", activation = "tanh" },
        { dropout = 0.5 }, { batch_norm = true }, "flatten", { dense = "classes" }"#;
    by_brute_force(look(&untrained(linear, 14, 7)), true);
}

#[test]
fn places_that_there_are_not_depend_on_nothing() {
    let anatomy = shipped("fast").anatomy();
    assert_eq!(anatomy.receptive_field(0, [24, 0]), [0; 4]);
    assert_eq!(anatomy.receptive_field(99, [0, 0]), [0; 4]);
    assert_eq!(anatomy.receptive_field(0, [0, 3]), [0, 3, 5, 8]);
    assert_eq!(anatomy.receptive_field(anatomy.layers().len() - 1, [5, 5]), [0, 0, 28, 28]);
}

#[test]
fn covering_what_is_black_takes_nothing_away_and_covering_the_digit_does() {
    let digit = digits(1).images;
    let mut look = shipped("fast");
    let whole = look.picture(&digit, Wanted::default()).unwrap();
    let falls = look.occlusion(&digit, 7, 6, 2).unwrap();
    let black = |y: usize, x: usize| {
        // All patches that hold the pixel.
        let near = |at: usize| at.saturating_sub(5)..(at + 6).min(28);
        near(y).all(|y| near(x).all(|x| digit[y * 28 + x] == 0))
    };
    let blank: Vec<usize> = (0..784).filter(|i| black(i / 28, i % 28)).collect();
    assert!(blank.len() > 30 && blank.iter().all(|i| falls[*i] == 0.0));
    let most = falls.iter().copied().fold(0.0, f32::max);
    assert!(most > 0.01 && most <= whole.probabilities[7], "{most}");
    // One patch over all of it leaves an empty picture.
    let empty = look.picture(&[0; 784], Wanted::default()).unwrap();
    let all = look.occlusion(&digit, 7, 28, 1).unwrap();
    close(&all, &[whole.probabilities[7] - empty.probabilities[7]; 784], 1e-5);
    assert_eq!(look.occlusion(&[0; 784], 1, 4, 4).unwrap(), [0.0; 784]);
}

#[test]
fn a_pixel_shows_the_mean_over_all_patches_that_cover_it_at_the_edges_too() {
    let mut look = look(&untrained("\"flatten\", { dense = \"classes\" }", 28, 5));
    let mut picture = noise(3, 784);
    // The patches at the left cover nothing but black.
    picture.chunks_exact_mut(28).for_each(|row| row[..14].fill(0));
    let before = look.picture(&picture, Wanted::default()).unwrap().probabilities;
    let class = (0..10usize).max_by(|a, b| before[*a].total_cmp(&before[*b])).unwrap();
    let (mut sums, mut counts) = (vec![0.0; 784], vec![0.0; 784]);
    // Patches of 12 fit at 0 to 16, which is no multiple of 9.
    for (top, left) in [0, 9, 16].into_iter().flat_map(|top| [0, 9, 16].map(|left| (top, left))) {
        let is_covered = |i: usize| (top..top + 12).contains(&(i / 28)) && (left..left + 12).contains(&(i % 28));
        let mut copy = picture.clone();
        (0..784).filter(|i| is_covered(*i)).for_each(|i| copy[i] = 0);
        let fall = before[class] - look.picture(&copy, Wanted::default()).unwrap().probabilities[class];
        for i in (0..784).filter(|i| is_covered(*i)) {
            sums[i] += fall;
            counts[i] += 1.0;
        }
    }
    let wanted: Vec<f32> = sums.iter().zip(&counts).map(|(sum, count): (&f32, &f32)| sum / count).collect();
    assert!(wanted[783].abs() > 1e-4, "the last corner tells nothing");
    close(&look.occlusion(&picture, class, 12, 9).unwrap(), &wanted, 1e-5);
}

#[test]
fn a_picture_is_covered_in_turns_and_only_for_the_network_that_it_was_begun_for() {
    let digit = digits(1).images;
    let mut look = shipped("fast");
    let mut pass = Occlusion::begin(&look, &digit, 7, 6, 2).unwrap();
    for _ in 0..2 {
        assert!(pass.advance(&mut look).unwrap(), "there are too few turns to answer anything between them");
    }
    refused(pass.advance(&mut testing::look(&untrained("\"flatten\", { dense = \"classes\" }", 14, 5))), "give 14x14");
    while pass.advance(&mut look).unwrap() {}
    assert!(!pass.advance(&mut look).unwrap());
    assert_eq!(pass.falls(), look.occlusion(&digit, 7, 6, 2).unwrap());
}

#[test]
fn a_cpu_is_given_fewer_pictures_at_once_than_a_gpu() {
    let gpu = Look::open(Rigged::open("a GPU", |_, _| Ok(())), &ModelFile::shipped("dense").unwrap()).unwrap();
    assert_eq!([shipped("dense").plans.batch, gpu.plans.batch], [16, 64]);
}

#[test]
fn the_nearest_image_of_a_digit_is_the_digit_itself() {
    let set = Arc::new(digits(150));
    let mut look = shipped("dense");
    let mut index = Neighbours::begin(&look, Arc::clone(&set)).unwrap();
    let pass = look.picture(set.image(77), Wanted::default()).unwrap();
    assert!(index.nearest(&pass.features, 3).is_empty(), "nothing is known yet");
    assert!(index.advance(&mut look).unwrap());
    let half = index.done();
    assert!(half > 0 && half < 150 && index.nearest(&pass.features, 500).len() == half);
    while index.advance(&mut look).unwrap() {}
    assert!(index.is_complete() && index.done() == 150 && !index.advance(&mut look).unwrap());

    for i in [0, 63, 64, 77, 149] {
        let pass = look.picture(set.image(i), Wanted::default()).unwrap();
        let found = index.nearest(&pass.features, 8);
        assert_eq!((found[0].0, found.len()), (i, 8));
        assert!(found[0].1 < 1e-3 && found.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{found:?}");
        // Against the definition.
        let other = look.picture(set.image(found[3].0), Wanted::default()).unwrap();
        let squares = pass.features.iter().zip(&other.features).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        assert!((squares.sqrt() as f32 - found[3].1).abs() < 1e-3);
    }
    assert!(index.nearest(&[1.0; 3], 5).is_empty());
    refused(index.advance(&mut shipped("best")), "begin another");
}

#[test]
fn a_set_of_smaller_images_is_enlarged_for_a_network_that_takes_large_ones() {
    let set = Arc::new(digits(12));
    let mut look = look(&untrained("{ avg_pool = 16 }, \"flatten\", { dense = 8 }, { dense = \"classes\" }", 448, 5));
    let mut index = Neighbours::begin(&look, Arc::clone(&set)).unwrap();
    while index.advance(&mut look).unwrap() {}
    let pass = look.field(&enlarged(set.image(5), 28, 16), Wanted::default()).unwrap();
    let (nearest, distance) = index.nearest(&pass.features, 1)[0];
    assert!(nearest == 5 && distance < 1e-3);
    let odd = ImageSet { height: 9, width: 9, images: vec![0; 81].into(), labels: vec![0], ..*set };
    refused(Neighbours::begin(&look, Arc::new(odd)), "divides it");
}

#[test]
fn features_that_would_fill_the_memory_are_refused() {
    let look = look(&untrained("{ upsample = 4 }, \"flatten\", { dense = \"classes\" }", 28, 5));
    let set = Arc::new(crate::data::mnist::embedded().unwrap().train);
    refused(Neighbours::begin(&look, set), "512 MB at most");
    assert!(Neighbours::begin(&look, Arc::new(digits(100))).is_ok());
}

#[test]
fn a_softmax_at_the_end_is_taken_off_and_shown_as_probabilities() {
    let plain = "\"flatten\", { dense = 8, activation = \"relu\" }, { dense = \"classes\" }";
    let file = untrained(plain, 28, 9);
    let digit = digits(1).images;
    let wanted = look(&file).picture(&digit, ALL).unwrap();
    let with_softmax = [
        plain.replace("{ dense = \"classes\" }", "{ dense = \"classes\", activation = \"softmax\" }"),
        format!("{plain}, {{ activation = \"softmax\" }}"),
    ];
    for layers in with_softmax {
        let mut file = file.clone();
        file.set("architecture", format!("layers = [{layers}]"));
        let mut look = look(&file);
        let found = look.picture(&digit, ALL).unwrap();
        assert_eq!((&found.logits, &found.saliency), (&wanted.logits, &wanted.saliency));
        assert_eq!(found.activations.last(), Some(&found.logits));
        assert!(look.anatomy().layers().iter().all(|layer| !layer.describe.is_empty()));
    }
}

#[test]
fn pictures_of_other_sizes_and_classes_that_are_not_there_are_refused_with_the_remedy() {
    let mut look = shipped("dense");
    refused(look.field(&[0; 784], Wanted::default()), "give 448x448");
    refused(look.picture(&[0; 785], Wanted::default()), "give 28x28");
    refused(look.picture(&[], Wanted::default()), "give 28x28");
    refused(look.picture(&[0; 784], Wanted { saliency: Some(10), ..Wanted::default() }), "knows 10");
    refused(look.occlusion(&[0; 3], 0, 4, 2), "give 28x28");
    refused(look.occlusion(&[0; 784], 10, 4, 2), "knows 10");
    for (patch, stride) in [(0, 1), (29, 1), (4, 0), (4, 5)] {
        refused(look.occlusion(&[0; 784], 0, patch, stride), "1 to 28");
    }
    let mut large = testing::look(&untrained("{ avg_pool = 16 }, \"flatten\", { dense = \"classes\" }", 448, 5));
    refused(large.occlusion(&[0; FIELD * FIELD], 0, 4, 2), "larger stride");
}

#[test]
fn files_that_hold_no_classifier_for_drawings_are_refused_with_the_reason() {
    let open = |file: &ModelFile| Look::open(Box::new(Cpu::new()), file);
    refused(open(&ModelFile::shipped("gan").unwrap()), "generator");
    let dense = "\"flatten\", { dense = \"classes\" }";
    refused(open(&untrained(dense, 30, 1)), "divisor of 448");
    for (name, remedy) in
        [("a.safetensors", "wide. `inkgrad classify` reads"), ("a.onnx", "wide. `inkgrad import` makes")]
    {
        refused(open(&ModelFile { name: name.into(), ..untrained(dense, 30, 1) }), remedy);
    }
    let mut colours = untrained(dense, 28, 1);
    colours.set("input", "28x28x3");
    refused(open(&colours), "28x28x3");
    let mut damaged = ModelFile::shipped("best").unwrap();
    damaged.tensors.truncate(3);
    refused(open(&damaged), "missing");
    for (key, value) in
        [("std", "0"), ("std", "nan"), ("mean", "inf"), ("classes", "7"), ("input", "28"), ("input", "0x0x1")]
    {
        let mut damaged = ModelFile::shipped("dense").unwrap();
        damaged.set(key, value);
        refused(open(&damaged), if key == "classes" { "dense: " } else { "" });
    }
    let mut damaged = ModelFile::shipped("dense").unwrap();
    damaged.metadata.remove("mean");
    refused(open(&damaged), "mean");
}

#[test]
fn a_movement_of_the_pen_is_two_dispatches_and_those_of_the_network() {
    let look = shipped("dense");
    // Bytes to numbers, and their average; then two dense layers, the first of which gives the features as well.
    assert_eq!([&look.plans.field, &look.plans.reading].map(|lazy| lazy.plan().dispatches.len()), [2, 2]);
}
