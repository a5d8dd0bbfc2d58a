//! What tests of models that travel share: the files of this folder, what their own programs answered, and what a model
//! answers here.
#![allow(dead_code)]

use std::path::PathBuf;

use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::Device;
use inkgrad::graph::Store;
use inkgrad::infer::evaluate::{Evaluation, Normalization, softmax};
use inkgrad::interchange::{self, Imported, Wishes};
use inkgrad::models::{ModelFile, Parameters};
use safetensors::SafeTensors;

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/travel/{name}", env!("CARGO_MANIFEST_DIR")))
}

/// What `name.safetensors` of this folder keeps under `key`.
pub fn answers(name: &str, key: &str) -> Vec<f32> {
    let bytes = std::fs::read(file(&format!("{name}.safetensors"))).unwrap();
    bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&bytes).unwrap().tensor(key).unwrap().data())
}

pub fn imported(name: &str) -> Imported {
    interchange::import(&file(name), None, &Wishes::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The first test digits, each pixel as often as `times` says along and down.
pub fn digits(count: usize, times: usize) -> ImageSet {
    let set = mnist::embedded().unwrap().test.select(&(0..count).collect::<Vec<_>>());
    let (height, width) = (set.height * times, set.width * times);
    let pixel = |i: usize| {
        let (n, y, x) = (i / (height * width), i / width % height, i % width);
        set.images[(n * set.height + y / times) * set.width + x / times]
    };
    let images = (0..count * height * width).map(pixel).collect();
    ImageSet { height, width, images, ..set }
}

/// A model's probabilities for each image of a set.
pub fn probabilities(device: &mut dyn Device, model: &ModelFile, set: &ImageSet) -> Vec<f32> {
    let path = PathBuf::from("imported");
    let mut store = Store::default();
    let mut parameters = Parameters::new(&mut store, "classifier");
    let network = model.network(&path, &mut store, &mut parameters).unwrap();
    let (weights, state) = model.values(&parameters, &path).unwrap();
    let [mean, std] = ["mean", "std"].map(|key| model.number(key, &path).unwrap());
    let source = parameters.weights;
    let normalization = Normalization { mean, std };
    let mut evaluation = Evaluation::declare(&mut store, &network, &parameters, source, set, normalization).unwrap();
    device.allocate(&store).unwrap();
    device.write_f32(parameters.weights, 0, &weights).unwrap();
    device.write_f32(parameters.state, 0, &state).unwrap();
    evaluation.upload(device, set).unwrap();
    let classes = network.output()[0];
    let logits = evaluation.logits(device).unwrap();
    logits.chunks_exact(classes).flat_map(softmax).map(|p| p as f32).collect()
}

/// The largest difference.
pub fn apart(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let apart = got.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // `max` would drop NaN.
    apart.fold(0.0, |most, x| if x <= most { most } else { x })
}
