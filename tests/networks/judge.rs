//! The judge beside another network in one store, on both devices.

use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::graph::Store;
use inkgrad::infer::{Judge, Looked};
use inkgrad::models::builtin;

use crate::golden::{assert_near, gpu};

/// What the judge sees in a store that it shares, after another set that was longer.
fn look(device: &mut dyn Device, digits: &ImageSet) -> Looked {
    let mut store = Store::default();
    let (_, other) = builtin("dense").unwrap().declare([28, 28, 1], 10, &mut store, "other").unwrap();
    let mut judge = Judge::declare(&mut store, None).unwrap();
    device.allocate(&store).unwrap();
    let weights = other.initial(0).weights;
    device.write_f32(other.weights, 0, &weights).unwrap();
    judge.upload(device).unwrap();
    judge.look(device, digits).unwrap();
    let few: Vec<usize> = (0..digits.len() / 2).rev().collect();
    let looked = judge.look(device, &digits.select(&few)).unwrap();
    assert_eq!(device.read_f32(other.weights, 0, other.total()).unwrap(), weights, "the other's weights");
    looked
}

#[test]
fn both_devices_give_the_same_logits_and_features() {
    let digits = mnist::embedded().unwrap().test.select(&(0..600).collect::<Vec<_>>());
    let cpu = look(&mut Cpu::new(), &digits);
    assert_eq!((cpu.logits.len(), cpu.features.len(), cpu.width), (3000, 300 * 128, 128));
    let Some(mut gpu) = gpu("both_devices_give_the_same_logits_and_features") else { return };
    let gpu = look(&mut gpu, &digits);
    // Sums of 1,600 products, in another order.
    assert_near("logits", &gpu.logits, &cpu.logits, 1e-4);
    assert_near("features", &gpu.features, &cpu.features, 1e-4);
}
