//! How a picture is classified does not depend on how many others are classified with it.

use inkgrad::device::Device;
use inkgrad::graph::Store;
use inkgrad::infer::evaluate::Evaluation;
use inkgrad::models::{Architecture, ModelFile};

use crate::golden::devices;

/// A bit of everything that a classifier is made of.
const NETWORK: &str = r#"
layers = [
  { conv = 5, kernel = 3, padding = "same", bias = false },
  { batch_norm = true, activation = "relu" },
  { max_pool = 2 },
  { conv = 6, kernel = 3, padding = "valid", activation = "leaky_relu" },
  { avg_pool = 2 },
  "flatten",
  { dropout = 0.3 },
  { dense = 19, activation = "tanh" },
  { dense = "classes" },
]
"#;

/// Images that a classification step takes.
const BATCH: usize = 256;
const SIDE: usize = 12;
const CLASSES: usize = 7;

fn images(count: usize) -> Vec<u8> {
    let pixel = |i: usize| (crate::golden::stream(i as u32, 1) * 127.0 + 128.0) as u8;
    (0..count * SIDE * SIDE).map(pixel).collect()
}

/// The network with weights from a stream.
fn model() -> ModelFile {
    let architecture = Architecture::parse(NETWORK, "net.toml").unwrap();
    let mut store = Store::default();
    let (network, parameters) = architecture.declare([SIDE, SIDE, 1], CLASSES, &mut store, "classifier").unwrap();
    let mut file = ModelFile::new(&network, &parameters, &parameters.initial(3));
    file.set("mean", 0.5);
    file.set("std", 0.3);
    file
}

/// The logits of the first `count` images by a plan with room for `room` images.
fn logits(device: &mut dyn Device, room: usize, count: usize) -> Vec<f32> {
    let mut evaluation = Evaluation::open_for(&model(), (room, [SIDE, SIDE, 1]), device).unwrap();
    evaluation.send(device, &images(count)).unwrap();
    evaluation.first_logits(device, count).unwrap()
}

/// The class of each row.
fn classes(logits: &[f32]) -> Vec<usize> {
    let class = |row: &[f32]| (0..CLASSES).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    logits.chunks(CLASSES).map(class).collect()
}

#[test]
fn every_remainder_of_a_batch_gives_the_same_bits_whatever_lies_in_the_rows_behind_it() {
    for (name, open) in devices("every_remainder_of_a_batch") {
        let mut device = open();
        let device = device.as_mut();
        let all = logits(device, 2 * BATCH, 2 * BATCH);
        let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for room in [BATCH, 2 * BATCH] {
            let mut evaluation = Evaluation::open_for(&model(), (room, [SIDE, SIDE, 1]), device).unwrap();
            let bright = vec![255; room * SIDE * SIDE];
            for count in room - BATCH + 1..=room {
                evaluation.send(device, &bright).unwrap();
                evaluation.send(device, &images(count)).unwrap();
                let got = evaluation.first_logits(device, count).unwrap();
                assert!(bits(&got) == bits(&all[..count * CLASSES]), "{count} of {room} on the {name}");
            }
        }
    }
}

#[test]
fn a_set_of_any_size_is_classified_as_its_images_are_one_by_one() {
    for (name, open) in devices("a_set_of_any_size") {
        let mut device = open();
        let device = device.as_mut();
        let mut single = Evaluation::open_for(&model(), (1, [SIDE, SIDE, 1]), device).unwrap();
        let pixels = images(BATCH);
        let mut wanted = Vec::new();
        for image in pixels.chunks(SIDE * SIDE) {
            single.send(device, image).unwrap();
            wanted.extend(single.first_logits(device, 1).unwrap());
        }
        let taken_for = classes(&wanted);
        assert!((0..CLASSES).filter(|class| taken_for.contains(class)).count() > 2, "one class shows nothing");
        // Each size is a plan of its own. A GPU's driver compiles every one of them, so only some are tried there.
        let sizes = (1..=BATCH).filter(|n| name == "CPU" || *n <= 9 || n.is_power_of_two() || *n % 41 == 0);
        for count in sizes {
            let got = logits(device, count, count);
            crate::golden::assert_near(&format!("{count} on the {name}"), &got, &wanted[..count * CLASSES], 1e-5);
            assert_eq!(classes(&got), taken_for[..count], "{count} on the {name}");
        }
    }
}
