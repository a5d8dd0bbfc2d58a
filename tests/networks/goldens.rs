//! Whole networks and single operations against PyTorch in float64 (tests/goldens/README.md), on every device.
//!
//! `INKGRAD_MARGINS=1 cargo test --test networks goldens -- --nocapture` prints how far each value is off.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use inkgrad::data::mnist;
use inkgrad::device::{Device, PlanId};
use inkgrad::grad::grad;
use inkgrad::graph::{BufferId, Graph, GraphError, Place, Store, Value};
use inkgrad::models::{Architecture, BUILTINS, Mode, Parameters};
use inkgrad::ops::activation::{Act, Activation};
use inkgrad::ops::batch_norm::batch_norm;
use inkgrad::ops::conv2d::{Padding, conv2d, conv2d_transposed};
use inkgrad::ops::elementwise::Mul;
use inkgrad::ops::loss::{Correct, CrossEntropy, Pairwise};
use inkgrad::ops::optimizer::{Optimizer, Update, optimize};
use inkgrad::ops::pool::{AvgPool, MaxPool};
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::transpose::Transpose;
use inkgrad::ops::updates::{Record, Tick};
use inkgrad::plan::Plan;
use inkgrad::tensor::{Shape, Tensor};

use crate::golden::{Golden, check, check_gradient, check_near, devices, initial};

const BATCH: usize = 16;
const STEPS: usize = 10;

/// What f32 may be off by, relative to a tensor's largest element. PyTorch's own f32 is off by up to 2e-6 in logits and
/// gradients; other orders of summation are allowed a few times that, and no error of substance hides in it.
const OF_THE_LARGEST: f64 = 1e-5;
/// The same for each loss, where PyTorch's f32 is off by 5e-6; convolutions by tiles round twice as much as plain sums,
/// and ten steps add up. A small loss is a difference of logits around ten, with their rounding, so less than `SMALL`
/// counts as `SMALL`.
const OF_A_LOSS: f64 = 4e-5;
const SMALL: f64 = 0.1;
/// From its fifth loss on, `avgcnn` under SGD is unsteady: each step multiplies its previous error. PyTorch's f32 is
/// off by 3e-4 at the ninth, and convolutions by tiles by 1e-2. These losses only have to be near.
const UNSTEADY_FROM: usize = 4;
const UNSTEADY: f64 = 3e-2;

/// The first 16 training digits.
fn batch() -> &'static (Vec<f32>, Vec<u32>) {
    static BATCH_OF_DIGITS: OnceLock<(Vec<f32>, Vec<u32>)> = OnceLock::new();
    BATCH_OF_DIGITS.get_or_init(|| {
        let set = mnist::embedded().unwrap().train.select(&(0..BATCH).collect::<Vec<_>>());
        (set.images.iter().map(|byte| f32::from(*byte) / 255.0).collect(), set.labels)
    })
}

/// A built-in network's training step on one batch.
struct Training {
    device: Box<dyn Device>,
    parameters: Parameters,
    logits: BufferId,
    ring: BufferId,
    plan: PlanId,
}

impl Training {
    fn new(mut device: Box<dyn Device>, model: &str, optimizer: Optimizer, rate: f64) -> Training {
        let (_, text) = BUILTINS.iter().find(|(name, _)| *name == model).unwrap();
        let without_dropout: String =
            text.lines().filter(|line| !line.contains("dropout")).flat_map(|line| [line, "\n"]).collect();
        let architecture = Architecture::parse(&without_dropout, model).unwrap();

        let mut store = Store::default();
        let (network, parameters) = architecture.declare([28, 28, 1], 10, &mut store, model).unwrap();
        let words = parameters.total();
        let images = store.place("images", Tensor::f32([BATCH, 28, 28, 1]));
        let labels = store.place("labels", Tensor::u32([BATCH]));
        let table = store.place("table", Tensor::f32([STEPS, 4]));
        let clock = store.place("clock", Tensor::u32([2]));
        let ring = store.place("ring", Tensor::f32([STEPS, 2]));
        let logits = store.place("logits", Tensor::f32([BATCH, 10]));
        let whole = |buffer| Place::whole(buffer, Tensor::f32([words]));
        let mut targets = vec![whole(parameters.weights)];
        targets.extend((0..optimizer.moments()).map(|_| store.place("moment", Tensor::f32([words]))));

        let mut graph = Graph::new();
        let [x, truth, now] = [&images, &labels, &clock].map(|place| graph.read(place));
        let forward =
            network.forward(&mut graph, &parameters, x, Mode::Train { clock: now, pass: 0, passes: 1 }).unwrap();
        let loss = graph.apply(CrossEntropy { smoothing: 0.0 }, &[forward.out, truth]).unwrap();
        let correct = graph.apply(Correct, &[forward.out, truth]).unwrap();
        graph.assign(forward.out, logits.clone()).unwrap();
        graph.update(Record { slots: STEPS }, &[now, loss, correct], vec![ring.clone()]).unwrap();
        forward.update_running(&mut graph).unwrap();
        for (i, gradient) in grad(&mut graph, loss, &forward.weights).unwrap().into_iter().enumerate() {
            graph.assign(gradient, parameters.grad_place(i)).unwrap();
        }
        let inputs = [&whole(parameters.grads), &table, &clock].map(|place| graph.read(place));
        let update = Update { optimizer, decay: 0.0, factor: 1.0, average: 0.0 };
        optimize(&mut graph, update, inputs, None, targets).unwrap();
        graph.update(Tick(1), &[], vec![clock]).unwrap();

        device.allocate(&store).unwrap();
        let (pixels, digits) = batch();
        device.write_f32(images.buffer, 0, pixels).unwrap();
        device.write(labels.buffer, 0, digits).unwrap();
        device.write(table.buffer, 0, bytemuck::cast_slice(&optimizer.table(&[rate; STEPS]))).unwrap();
        for (t, parameter) in parameters.trainable().iter().enumerate() {
            device.write_f32(parameters.weights, parameter.offset, &initial(parameter, t as u32)).unwrap();
        }
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        Training { device, parameters, logits: logits.buffer, ring: ring.buffer, plan }
    }

    fn run(&mut self, steps: usize) {
        self.device.run(&[self.plan], steps).unwrap();
    }
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Vec<f32> {
        self.device.read_f32(buffer, offset, len).unwrap()
    }
    fn losses(&mut self) -> Vec<f32> {
        let ring = self.read(self.ring, 0, STEPS * 2);
        ring.chunks(2).map(|slot| slot[0]).collect()
    }
}

/// Logits, loss and gradients of the first step.
fn check_first_step(what: &str, training: &mut Training, golden: &Golden) {
    let logits = training.read(training.logits, 0, BATCH * 10);
    check_near(&format!("{what} logits"), &logits, &golden.get("logits"), OF_THE_LARGEST);
    check_near(&format!("{what} loss"), &training.losses()[..1], &golden.get("loss"), OF_THE_LARGEST);
    for (t, parameter) in training.parameters.trainable().to_vec().iter().enumerate() {
        let what = format!("{what} gradient of {}", parameter.name);
        let gradient = training.read(training.parameters.grads, parameter.offset, parameter.shape.len());
        check_gradient(&what, &gradient, parameter.shape.dims(), golden, &format!("grad.{t}"), OF_THE_LARGEST);
    }
}

fn check_losses(what: &str, got: &[f32], wanted: &[f32], steady: usize) {
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let tolerance = if i < steady { OF_A_LOSS } else { UNSTEADY };
        let (got, wanted) = (f64::from(*got), f64::from(*wanted));
        check(&format!("{what} loss {i}"), (got - wanted).abs() / wanted.max(SMALL), tolerance);
    }
}

fn trains_as_in_pytorch(model: &'static str) {
    let golden = Golden::open(model);
    for (device, open) in devices(&format!("{model} against PyTorch")) {
        let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: false };
        let mut training = Training::new(open(), model, sgd, 0.05);
        training.run(1);
        check_first_step(&format!("{model} on the {device}:"), &mut training, &golden);
        training.run(STEPS - 1);
        let steady = if model == "avgcnn" { UNSTEADY_FROM } else { STEPS };
        check_losses(&format!("{model} on the {device}, sgd:"), &training.losses(), &golden.get("losses.sgd"), steady);

        let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-7 };
        let mut training = Training::new(open(), model, adam, 0.001);
        training.run(STEPS);
        check_losses(&format!("{model} on the {device}, adam:"), &training.losses(), &golden.get("losses.adam"), STEPS);
    }
}

#[test]
fn dense_trains_as_in_pytorch() {
    trains_as_in_pytorch("dense");
}

#[test]
fn cnn_trains_as_in_pytorch() {
    trains_as_in_pytorch("cnn");
}

#[test]
fn avgcnn_trains_as_in_pytorch() {
    trains_as_in_pytorch("avgcnn");
}

// --- single operations ---

/// The operation of a case. Inputs: the image, then the weight or the target if the case has one.
fn operation(case: &str, graph: &mut Graph, inputs: &[Value]) -> Result<Value, GraphError> {
    let x = inputs[0];
    let words: Vec<&str> = case.split('_').collect();
    let number = |word: &str| word.trim_start_matches('s').parse::<usize>().unwrap();
    let padding = |word: &str| match word {
        "same" => Padding::Same,
        "valid" => Padding::Valid,
        "pad1" => Padding::Explicit(1),
        _ => panic!("{case}: {word} is no padding"),
    };
    let stride = |words: &[&str]| words.first().map_or(1, |word| number(word));
    match &words[..] {
        ["conv", "transposed", pad, _, rest @ ..] => {
            // A transposed convolution here has the last two axes of its weight swapped.
            let weight = graph.apply(Transpose, &[inputs[1]])?;
            conv2d_transposed(graph, x, weight, stride(rest), padding(pad))
        }
        ["conv", pad, _, rest @ ..] => conv2d(graph, x, inputs[1], stride(rest), padding(pad)),
        ["average", "pool", window, s] => graph.apply(AvgPool { window: number(window), stride: number(s) }, &[x]),
        ["max", "pool", window, s] => graph.apply(MaxPool::new(number(window), number(s)), &[x]),
        ["batch", "norm"] => Ok(batch_norm(graph, x, inputs[1], 1e-3)?.0),
        ["leaky", "relu"] => graph.apply(Activation(Act::Leaky(0.2)), &[x]),
        ["softmax", ..] => graph.apply(CrossEntropy { smoothing: 0.1 }, inputs),
        ["binary", ..] => graph.apply(Pairwise::Bce, inputs),
        _ => panic!("no test knows the case {case}"),
    }
}

/// Runs a case with its derivatives: the loss is the sum of `out * d_out`, or `out` itself.
fn run_case(case: &str, golden: &Golden, device: &mut dyn Device) -> Vec<(String, Vec<f32>)> {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut stored = |tensor: Tensor| store.place(case, tensor);
    let mut written: Vec<(Place, Vec<u32>)> = Vec::new();
    let mut values = Vec::new();
    for name in ["in", "weight", "target"].map(|part| format!("{case}.{part}")) {
        if golden.has(&name) {
            let (shape, data) = (Shape::new(golden.shape(&name)), golden.get(&name));
            let classes = case.starts_with("softmax") && name.ends_with("target");
            let place = stored(if classes { Tensor::u32(shape) } else { Tensor::f32(shape) });
            values.push(graph.read(&place));
            let words = data.iter().map(|x| if classes { *x as u32 } else { x.to_bits() });
            written.push((place, words.collect()));
        }
    }
    let out = operation(case, &mut graph, &values).unwrap_or_else(|e| panic!("{case}: {e}"));
    let upstream = format!("{case}.d_out");
    let loss = if golden.has(&upstream) {
        let place = stored(graph.tensor(out).clone());
        let d_out = graph.read(&place);
        written.push((place, golden.get(&upstream).iter().map(|x| x.to_bits()).collect()));
        let product = graph.apply(Mul, &[out, d_out]).unwrap();
        graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product]).unwrap()
    } else {
        out
    };
    let wanted: Vec<_> = ["d_in", "d_weight"].into_iter().filter(|d| golden.has(&format!("{case}.{d}"))).collect();
    let derivatives = grad(&mut graph, loss, &values[..wanted.len()]).unwrap();
    let results = std::iter::once(("out", out)).chain(wanted.into_iter().zip(derivatives));
    let places: Vec<(String, Place)> = results
        .map(|(part, value)| {
            let (name, place) = (format!("{case}.{part}"), stored(graph.tensor(value).clone()));
            assert_eq!(golden.shape(&name), place.tensor.dims(), "{name}");
            graph.assign(value, place.clone()).unwrap();
            (name, place)
        })
        .collect();

    device.allocate(&store).unwrap();
    for (place, words) in &written {
        device.write(place.buffer, 0, words).unwrap();
    }
    let plan = device.prepare(&Plan::new(&graph)).unwrap();
    device.run(&[plan], 1).unwrap();
    let read = |(name, place): (String, Place)| (name, device.read_f32(place.buffer, 0, place.tensor.len()).unwrap());
    places.into_iter().map(read).collect()
}

#[test]
fn every_operation_and_its_derivatives_are_those_of_pytorch() {
    let golden = Golden::open("ops");
    let names = golden.names();
    let cases: BTreeSet<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
    assert_eq!(cases.len(), 17, "{cases:?}");
    for (device, open) in devices("every_operation_and_its_derivatives_are_those_of_pytorch") {
        let mut opened = open();
        let mut left: BTreeSet<&str> = names.iter().map(String::as_str).filter(|n| !n.ends_with(".d_out")).collect();
        for case in &cases {
            for (name, got) in run_case(case, &golden, opened.as_mut()) {
                // Sums of a hundred products at most.
                check_near(&format!("{name} on the {device}"), &got, &golden.get(&name), 5e-6);
                left.remove(name.as_str());
            }
        }
        left.retain(|name| ![".in", ".weight", ".target"].iter().any(|part| name.ends_with(part)));
        assert!(left.is_empty(), "not looked at: {left:?}");
    }
}
