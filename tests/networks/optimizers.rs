//! The optimizers against PyTorch's, on each device, and weight decay's mask.

use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::graph::{Graph, Place, Store};
use inkgrad::ops::optimizer::{Optimizer, Update, optimize};
use inkgrad::ops::updates::Tick;
use inkgrad::plan::Plan;
use inkgrad::tensor::Tensor;

use crate::golden::{Golden, assert_near, devices, gpu};

/// An optimizer as a program: its weights, its gradients and how to take a step.
struct Program {
    device: Box<dyn Device>,
    weights: Place,
    /// The weights' averages, if they are kept.
    averaged: Place,
    gradients: Place,
    plan: inkgrad::device::PlanId,
}

impl Program {
    fn new(mut device: Box<dyn Device>, update: Update, start: &[f32], rates: &[f64], mask: &[f32]) -> Program {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let n = start.len();
        let gradients = store.place("gradients", Tensor::f32([n]));
        let table = store.place("table", Tensor::f32([rates.len(), 4]));
        let clock = store.place("clock", Tensor::u32([2]));
        let decays = store.place("mask", Tensor::f32([n.div_ceil(64)]));
        let weights = store.place("weights", Tensor::f32([n]));
        let mut targets = vec![weights.clone()];
        targets.extend((0..update.optimizer.moments()).map(|_| store.place("moment", Tensor::f32([n]))));
        let averaged = store.place("averaged", Tensor::f32([n]));
        if update.average > 0.0 {
            targets.push(averaged.clone());
        }
        let inputs = [&gradients, &table, &clock].map(|place| graph.read(place));
        let mask_value = graph.read(&decays);
        optimize(&mut graph, update, inputs, Some(mask_value), targets).unwrap();
        graph.update(Tick(1), &[], vec![clock]).unwrap();

        device.allocate(&store).unwrap();
        device.write(weights.buffer, 0, bytemuck::cast_slice(start)).unwrap();
        device.write(table.buffer, 0, bytemuck::cast_slice(&update.optimizer.table(rates))).unwrap();
        device.write(decays.buffer, 0, bytemuck::cast_slice(mask)).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        Program { device, weights, averaged, gradients, plan }
    }
    fn weights(&mut self) -> Vec<f32> {
        self.device.read_f32(self.weights.buffer, 0, self.weights.tensor.len()).unwrap()
    }
    fn averaged(&mut self) -> Vec<f32> {
        self.device.read_f32(self.averaged.buffer, 0, self.averaged.tensor.len()).unwrap()
    }
    fn step(&mut self, gradients: &[f32]) {
        self.device.write(self.gradients.buffer, 0, bytemuck::cast_slice(gradients)).unwrap();
        self.device.run(&[self.plan], 1).unwrap();
    }
}

/// The first weights of tests/goldens/README.md: 37 elements of stream 99.
fn start() -> Vec<f32> {
    (0..37u32).map(|i| crate::golden::stream(i, 99) as f32).collect()
}

/// The optimizers that the goldens have, with their rate and their decay.
fn table() -> [(&'static str, f64, Optimizer, f32); 7] {
    let (beta1, beta2, eps) = (0.9, 0.999, 1e-7);
    [
        ("sgd", 0.05, Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.0),
        ("rmsprop", 0.001, Optimizer::RmsProp { rho: 0.9, eps }, 0.0),
        ("adagrad", 0.01, Optimizer::Adagrad { eps }, 0.0),
        ("adadelta", 1.0, Optimizer::Adadelta { rho: 0.95, eps: 1e-6 }, 0.0),
        ("adam", 0.001, Optimizer::Adam { beta1, beta2, eps }, 0.0),
        ("nadam", 0.002, Optimizer::Nadam { beta1, beta2, eps, momentum_decay: 0.004 }, 0.0),
        ("adamw", 0.001, Optimizer::AdamW { beta1, beta2, eps }, 0.01),
    ]
}

fn agrees_with_pytorch(device: impl Fn() -> Box<dyn Device>) {
    let golden = Golden::open("optimizers");
    // Gradients as they are, and of a loss that was scaled up.
    for ((name, rate, optimizer, decay), scale) in table().iter().flat_map(|row| [(*row, 1.0), (*row, 1024.0)]) {
        let update = Update { optimizer, decay, factor: 1.0 / scale, average: 0.0 };
        let mut program = Program::new(device(), update, &start(), &[rate; 12], &[1.0]);
        for step in 0..12 {
            let gradient = |w: &f32| (f64::from(*w) * 3.0 + f64::from(step)).sin() as f32;
            let gradients: Vec<f32> = program.weights().iter().map(|w| scale * gradient(w)).collect();
            program.step(&gradients);
            if [1, 2, 12].contains(&(step + 1)) {
                // Twelve steps, each rounded once or twice at weights of up to one.
                let wanted = golden.get(&format!("{name}.{}", step + 1));
                assert_near(&format!("{name} after {} steps", step + 1), &program.weights(), &wanted, 2e-6);
            }
        }
    }
}

#[test]
fn every_optimizer_takes_the_steps_of_pytorch() {
    agrees_with_pytorch(|| Box::new(Cpu::new()));
}

#[test]
fn every_optimizer_takes_the_steps_of_pytorch_on_the_gpu() {
    if gpu("every_optimizer_takes_the_steps_of_pytorch_on_the_gpu").is_some() {
        agrees_with_pytorch(|| Box::new(gpu("").unwrap()));
    }
}

#[test]
fn a_weight_whose_gradient_has_always_been_0_stays_as_it_is() {
    // As that of a pixel that is never inked: no moment may be divided by.
    for (device, open) in devices("a_weight_whose_gradient_has_always_been_0_stays_as_it_is") {
        for (name, rate, optimizer, _) in table() {
            let update = Update { optimizer, decay: 0.0, factor: 1.0, average: 0.0 };
            let mut program = Program::new(open(), update, &start(), &[rate], &[1.0]);
            for _ in 0..2 {
                program.step(&[0.0; 37]);
            }
            assert_eq!(program.weights(), start(), "{name} on the {device}");
        }
    }
}

/// Nesterov, gradients of a loss that was scaled up, decay on some blocks, a size that is no multiple of anything and
/// splits over threads, and more steps than the table has rows: against the formulas in f64.
fn holds_on_many_weights(device: Box<dyn Device>) {
    let n = 100_003;
    let start: Vec<f32> = (0..n).map(|i| crate::golden::stream(i, 1) as f32).collect();
    let mask: Vec<f32> = (0..n.div_ceil(64)).map(|block| f32::from(block % 3 == 0)).collect();
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    let update = Update { optimizer, decay: 0.1, factor: 1.0 / 1024.0, average: 0.0 };
    let mut program = Program::new(device, update, &start, &[0.1, 0.05], &mask);
    let mut wanted: Vec<f64> = start.iter().map(|w| f64::from(*w)).collect();
    let mut moments = vec![0.0; wanted.len()];
    for step in 0..3 {
        let gradients: Vec<f32> = (0..n).map(|i| crate::golden::stream(i, 2 + step) as f32).collect();
        program.step(&gradients.iter().map(|g| 1024.0 * g).collect::<Vec<f32>>());
        let rate = [0.1, 0.05, 0.05][step as usize];
        for (i, g) in gradients.iter().map(|g| f64::from(*g)).enumerate() {
            wanted[i] *= 1.0 - rate * 0.1 * f64::from(mask[i / 64]);
            moments[i] = 0.9 * moments[i] + g;
            wanted[i] -= rate * (g + 0.9 * moments[i]);
        }
    }
    let wanted: Vec<f32> = wanted.iter().map(|w| *w as f32).collect();
    assert_near("nesterov with decay", &program.weights(), &wanted, 2e-6);
}

#[test]
fn decay_and_momentum_hold_on_many_weights() {
    holds_on_many_weights(Box::new(Cpu::new()));
    if let Some(gpu) = gpu("decay_and_momentum_hold_on_many_weights") {
        holds_on_many_weights(Box::new(gpu));
    }
}

/// With every number of moments, with decay and without: the average follows the weights, and does not affect them.
fn averages_follow_the_weights(device: impl Fn() -> Box<dyn Device>) {
    let n = 100_003;
    let start: Vec<f32> = (0..n).map(|i| crate::golden::stream(i, 1) as f32).collect();
    let mask = vec![1.0; (n as usize).div_ceil(64)];
    let optimizers = [
        Optimizer::Sgd { momentum: 0.0, nesterov: false },
        Optimizer::RmsProp { rho: 0.9, eps: 1e-7 },
        Optimizer::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-7 },
    ];
    for (optimizer, decay) in optimizers.into_iter().flat_map(|optimizer| [(optimizer, 0.0), (optimizer, 0.1)]) {
        let program = |average| {
            let update = Update { optimizer, decay, factor: 1.0, average };
            Program::new(device(), update, &start, &[0.01; 3], &mask)
        };
        let (mut alone, mut averaging) = (program(0.0), program(0.15));
        let mut wanted = vec![0.0; start.len()];
        for step in 0..3u32 {
            let gradients: Vec<f32> = (0..n).map(|i| crate::golden::stream(i, 2 + step) as f32).collect();
            alone.step(&gradients);
            averaging.step(&gradients);
            let d = 0.15f64.min(f64::from(1 + step) / f64::from(10 + step));
            let weights = alone.weights();
            wanted.iter_mut().zip(&weights).for_each(|(mean, w)| *mean = d * *mean + (1.0 - d) * f64::from(*w));
            assert_near(&format!("{optimizer:?} decay {decay}"), &averaging.weights(), &weights, 1e-6);
        }
        let wanted: Vec<f32> = wanted.iter().map(|w| *w as f32).collect();
        assert_near(&format!("averages of {optimizer:?}"), &averaging.averaged(), &wanted, 2e-6);
    }
}

#[test]
fn averages_follow_the_weights_that_an_optimizer_makes() {
    averages_follow_the_weights(|| Box::new(Cpu::new()));
    if gpu("averages_follow_the_weights_that_an_optimizer_makes").is_some() {
        averages_follow_the_weights(|| Box::new(gpu("").unwrap()));
    }
}
