//! What the tests of imported and exported models share: the files of this folder, what the programs they come from
//! answered, and what a model answers here.
#![allow(dead_code)]

use std::path::PathBuf;

use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::Device;
use inkgrad::graph::Store;
use inkgrad::infer::evaluate::{BATCH, Evaluation};
use inkgrad::infer::scores::softmax;
use inkgrad::interchange::{self, Imported, Wishes};
use inkgrad::models::{ModelFile, Normalization};
use safetensors::SafeTensors;

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/travel/{name}", env!("CARGO_MANIFEST_DIR")))
}

/// What `name.safetensors` of this folder keeps under `key`.
pub fn answers(name: &str, key: &str) -> Vec<f32> {
    read(&file(&format!("{name}.safetensors")), key)
}

/// The numbers of a tensor in a file.
pub fn read(path: &std::path::Path, key: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&bytes).unwrap().tensor(key).unwrap().data())
}

pub fn imported(name: &str) -> Imported {
    interchange::import(&file(name), None, &Wishes::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The first test digits, each pixel repeated `times` times along and down.
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
    let mut store = Store::default();
    let (network, parameters) = model.network(&mut store, "classifier").unwrap();
    let values = model.values("", &parameters).unwrap();
    let [mean, std] = ["mean", "std"].map(|key| model.number(key).unwrap());
    let normalization = Normalization { mean, std, background: 0 };
    let mut evaluation = Evaluation::declare(BATCH, &mut store, &network, &parameters, set, normalization).unwrap();
    device.allocate(&store).unwrap();
    parameters.send(device, &values).unwrap();
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

/// A Python that has onnxruntime: the one that INKGRAD_PYTHON names, else python3. If there is none, says so, and fails
/// if INKGRAD_REQUIRE_ONNXRUNTIME is 1.
pub fn python(test: &str) -> Option<String> {
    let python = std::env::var("INKGRAD_PYTHON").unwrap_or_else(|_| "python3".into());
    let asked = std::process::Command::new(&python).args(["-c", "import onnx, onnxruntime, safetensors"]).output();
    let found = asked.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED {test}: {python} has no onnx, onnxruntime and safetensors; INKGRAD_PYTHON names another");
        let required = std::env::var("INKGRAD_REQUIRE_ONNXRUNTIME").as_deref() == Ok("1");
        assert!(!required, "INKGRAD_REQUIRE_ONNXRUNTIME is set");
    }
    found.then_some(python)
}

/// What a script of this folder prints.
pub fn script(python: &str, name: &str, args: &[&std::path::Path]) -> String {
    let output = std::process::Command::new(python).arg(file(name)).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A built-in network with the weights from before training, but with other running statistics than those.
pub fn untrained(name: &str) -> ModelFile {
    let mut store = Store::default();
    let architecture = inkgrad::models::builtin(name).unwrap();
    let (network, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
    let mut initial = parameters.initial(7);
    for p in parameters.statistics() {
        let rows = &mut initial.running[p.offset..][..p.shape.len()];
        let (mean, variance) = rows.split_at_mut(p.shape.last());
        mean.iter_mut().enumerate().for_each(|(i, x)| *x = 0.1 * (i as f32).cos());
        variance.iter_mut().enumerate().for_each(|(i, x)| *x = 0.35 + 0.1 * (i as f32).sin());
    }
    // Biases too should be seen to arrive.
    for p in parameters.trainable().iter().filter(|p| p.name.ends_with("bias")) {
        let values = &mut initial.weights[p.offset..][..p.shape.len()];
        values.iter_mut().enumerate().for_each(|(i, x)| *x = 0.1 * (i as f32).cos());
    }
    let mut file = ModelFile::new(&network, &parameters, &initial);
    file.set("mean", 0.1307f32);
    file.set("std", 0.3081f32);
    file
}
