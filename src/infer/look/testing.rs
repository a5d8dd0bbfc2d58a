//! Classifiers and digits for the tests of a look.

use super::Look;
use crate::data::{ImageSet, mnist};
use crate::device::cpu::Cpu;
use crate::graph::Store;
use crate::models::{Architecture, ModelFile};
use crate::ops::random;

/// The first images of the test set.
pub fn digits(count: usize) -> ImageSet {
    mnist::embedded().unwrap().test.select(&(0..count).collect::<Vec<_>>())
}

/// Grey noise, always the same for a seed.
pub fn noise(seed: u32, pixels: usize) -> Vec<u8> {
    let key = random::key([0, seed], 7);
    (0..pixels).map(|i| (random::unit(random::draw(key, i as u32)) * 255.0) as u8).collect()
}

/// A picture with each pixel enlarged to a square.
pub fn enlarged(picture: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let side = width * factor;
    (0..side * side).map(|i| picture[i / side / factor * width + i % side / factor]).collect()
}

pub fn shipped(name: &str) -> Look {
    Look::open(Box::new(Cpu::new()), &ModelFile::shipped(name).unwrap()).unwrap()
}

pub fn look(file: &ModelFile) -> Look {
    Look::open(Box::new(Cpu::new()), file).unwrap()
}

/// A classifier of these layers with random weights, and running statistics other than the initial ones.
pub fn untrained(layers: &str, side: usize, seed: u32) -> ModelFile {
    let architecture = Architecture::parse(&format!("layers = [{layers}]"), "test.toml").unwrap();
    let mut store = Store::default();
    let (network, parameters) = architecture.declare([side, side, 1], 10, &mut store, "classifier").unwrap();
    let key = random::key([1, seed], 8);
    let unit = |i: usize| random::unit(random::draw(key, i as u32));
    let mut values = parameters.initial(seed);
    // Biases start at zero, which would hide that one is forgotten.
    values.weights.iter_mut().enumerate().filter(|(_, w)| **w == 0.0).for_each(|(i, w)| *w = 0.2 * (unit(i) - 0.5));
    values.running = (0..parameters.total_running()).map(|i| 0.5 + unit(i)).collect();
    let mut file = ModelFile::new(&network, &parameters, &values);
    file.set("mean", 0.13);
    file.set("std", 0.31);
    file
}

/// Convolutions like those of `avgcnn`, but smaller.
pub const AVERAGES: &str = r#"
{ conv = 6, kernel = 3, padding = "same", bias = false }, { batch_norm = true, activation = "relu" },
{ conv = 5, kernel = 3, padding = "same", stride = 2 }, { batch_norm = true, scale = false, activation = "tanh" },
{ avg_pool = 2 }, "flatten", { dropout = 0.3 }, { dense = 12, activation = "sigmoid" }, { dense = "classes" }"#;

/// One of every other kind of layer, in branches.
pub const EVERYTHING: &str = r#"
{ conv = 3, kernel = 2, padding = "same", activation = "leaky_relu", name = "a" },
{ conv_transposed = 4, kernel = 4, stride = 2, padding = "same", activation = "tanh", from = "a" },
{ max_pool = 3, stride = 2 },
{ conv = 4, kernel = 3, padding = 2, activation = "softmax", name = "b" },
{ avg_pool = 4, stride = 4, from = "input" },
{ upsample = 5 },
{ conv_transposed = 3, kernel = 3, padding = 2 },
{ conv_transposed = 2, kernel = 2, stride = 3, padding = "valid" },
{ max_pool = 3, stride = 3, name = "c" },
{ conv = 4, kernel = 1, padding = "valid", from = "b" }, { batch_norm = true, name = "d" },
{ add = ["b", "d"] }, { activation = "leaky_relu", name = "e" },
{ max_pool = 2, from = "e" }, { reshape = [196, 4] }, "flatten", { dense = 8, name = "f" },
{ flatten = true, from = "c" }, { dense = 8, activation = "tanh", name = "g" },
{ dot = ["f", "g"], name = "h" },
{ concat = ["f", "h", "g"] }, { dense = "classes" }"#;
