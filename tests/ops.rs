//! The op table on every device: each op's twin against its f64 definition, each derivative against central
//! differences of that definition, each shader against its twin.

use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::grad::grad;
use inkgrad::graph::{Graph, Place, Store, Value};
use inkgrad::ops::elementwise::Mul;
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::{Case, Exact, cases, random};
use inkgrad::plan::Plan;
use inkgrad::tensor::{Kind, Tensor};

/// A case as a graph whose inputs are stored buffers.
struct Program {
    store: Store,
    graph: Graph,
    inputs: Vec<(Place, Value)>,
}

impl Program {
    fn new(case: &Case) -> Program {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut inputs = Vec::new();
        for tensor in case.tensors() {
            let place = stored(&mut store, "input", tensor);
            inputs.push((place.clone(), graph.read(&place)));
        }
        Program { store, graph, inputs }
    }
    fn values(&self) -> Vec<Value> {
        self.inputs.iter().map(|(_, value)| *value).collect()
    }
    fn output(&mut self, value: Value) -> Place {
        let place = stored(&mut self.store, "output", self.graph.tensor(value).clone());
        self.graph.assign(value, place.clone());
        place
    }
    /// Runs the plan once and reads the given places, with the words behind each, which must stay zero.
    fn run(&self, device: &mut dyn Device, case: &Case, read: &[Place]) -> Vec<Vec<u32>> {
        device.allocate(&self.store).unwrap();
        for ((place, _), words) in self.inputs.iter().zip(case.words()) {
            device.write(place.buffer, 0, &words).unwrap();
        }
        let plan = device.prepare(&Plan::new(&self.graph)).unwrap();
        device.run(plan, 1).unwrap();
        read.iter()
            .map(|place| {
                let mut out = vec![0; place.tensor.len() + GUARD];
                device.read(place.buffer, 0, &mut out).unwrap();
                let written_to = place.tensor.len().next_multiple_of(4);
                assert!(out[written_to..].iter().all(|w| *w == 0), "{}: wrote past its output", case.name);
                out.truncate(place.tensor.len());
                out
            })
            .collect()
    }
}

/// Words behind every buffer that no kernel may touch.
const GUARD: usize = 64;

fn stored(store: &mut Store, name: &str, tensor: Tensor) -> Place {
    let buffer = store.add(name, tensor.len().next_multiple_of(4) + GUARD);
    Place { buffer, offset: 0, tensor }
}

fn exact(words: &[u32], tensor: &Tensor) -> Exact {
    let value = |w: &u32| match tensor.kind {
        Kind::F32 => f64::from(f32::from_bits(*w)),
        Kind::U32 => f64::from(*w),
    };
    Exact { data: words.iter().map(value).collect(), shape: tensor.shape.clone() }
}

fn assert_close(what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(0.0f64, |m, x| m.max(x.abs())).max(1e-3);
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (got - wanted).abs() / scale;
        assert!(error <= tolerance, "{what}: element {i} is {got}, should be {wanted} (scale {scale})");
    }
}

fn forward(case: &Case, device: &mut dyn Device) -> (Exact, Tensor) {
    let mut program = Program::new(case);
    let inputs = program.values();
    let value = program.graph.apply_arc(case.op.clone(), &inputs).unwrap();
    let tensor = program.graph.tensor(value).clone();
    let place = program.output(value);
    (exact(&program.run(device, case, &[place])[0], &tensor), tensor)
}

fn reference(case: &Case, inputs: &[Exact], tensor: &Tensor) -> Option<Exact> {
    let mut out = Exact { data: vec![0.0; tensor.len()], shape: tensor.shape.clone() };
    case.op.reference(inputs, &mut out).then_some(out)
}

fn exact_inputs(case: &Case) -> Vec<Exact> {
    case.words().iter().zip(case.tensors()).map(|(words, tensor)| exact(words, &tensor)).collect()
}

#[test]
fn every_cpu_twin_agrees_with_its_definition() {
    for case in cases() {
        let (out, tensor) = forward(&case, &mut Cpu::new());
        if let Some(wanted) = reference(&case, &exact_inputs(&case), &tensor) {
            assert_close(&case.name, &out.data, &wanted.data, case.tolerance);
        }
    }
}

/// Elements of an input that the derivative is checked at; all of a small one.
const PROBES: usize = 40;

#[test]
fn every_derivative_agrees_with_central_differences() {
    for case in cases().into_iter().filter(|case| case.derivative) {
        // loss = sum of out * weight, with weights that differ from element to element.
        let mut program = Program::new(&case);
        let inputs = program.values();
        let graph = &mut program.graph;
        let out = graph.apply_arc(case.op.clone(), &inputs).unwrap();
        let tensor = graph.tensor(out).clone();
        let weights: Vec<f32> = (0..tensor.len()).map(|i| random::unit(random::mix(i as u32)) - 0.5).collect();
        let weight_place = stored(&mut program.store, "weight", tensor.clone());
        let weight = graph.read(&weight_place);
        let product = graph.apply(Mul, &[out, weight]).unwrap();
        let loss = graph.apply(Sum { width: 1, parts: 1, factor: 1.0 }, &[product]).unwrap();
        let by: Vec<Value> = inputs.iter().copied().filter(|v| graph.kind(*v) == Kind::F32).collect();
        let derivatives = grad(graph, loss, &by).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let places: Vec<Place> = derivatives.into_iter().map(|d| program.output(d)).collect();

        // The weights are one more input of the program.
        let mut with_weights = case.clone();
        with_weights.inputs.push((tensor.clone(), inkgrad::ops::case::Fill::Uniform));
        program.inputs.push((weight_place, weight));
        let mut device = Cpu::new();
        device.allocate(&program.store).unwrap();
        for ((place, _), words) in program.inputs.iter().zip(case.words()) {
            device.write(place.buffer, 0, &words).unwrap();
        }
        device.write(program.inputs.last().unwrap().0.buffer, 0, bytemuck::cast_slice(&weights)).unwrap();
        let plan = device.prepare(&Plan::new(&program.graph)).unwrap();
        device.run(plan, 1).unwrap();

        let exact_loss = |inputs: &[Exact]| -> f64 {
            let out = reference(&case, inputs, &tensor)
                .unwrap_or_else(|| panic!("{} has a derivative but no definition", case.name));
            out.data.iter().zip(&weights).map(|(x, w)| x * f64::from(*w)).sum()
        };
        let at = exact_inputs(&case);
        let floats = (0..at.len()).filter(|i| case.inputs[*i].0.kind == Kind::F32);
        for (input, place) in floats.zip(&places) {
            let n = at[input].data.len();
            let mut words = vec![0; n];
            device.read(place.buffer, 0, &mut words).unwrap();
            let got = exact(&words, &place.tensor);
            let probes: Vec<usize> =
                if n <= PROBES { (0..n).collect() } else { (0..PROBES).map(|i| i * (n - 1) / (PROBES - 1)).collect() };
            let step = 1e-6;
            let differences: Vec<f64> = probes
                .iter()
                .map(|i| {
                    let shifted = |by: f64| {
                        let mut inputs = at.clone();
                        inputs[input].data[*i] += by;
                        exact_loss(&inputs)
                    };
                    (shifted(step) - shifted(-step)) / (2.0 * step)
                })
                .collect();
            let got: Vec<f64> = probes.iter().map(|i| got.data[*i]).collect();
            // f32 against f64, and a difference's own error of step^2 and 1e-16 / step.
            assert_close(&format!("{} by input {input}", case.name), &got, &differences, case.tolerance.max(2e-5));
        }
    }
}
