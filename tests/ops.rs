//! The op table on every device: each op's twin against its f64 definition, each derivative against central
//! differences of that definition, each shader against its twin.

use inkgrad::device::{self, Choice, Device, cpu::Cpu, gpu::Gpu};
use inkgrad::grad::grad;
use inkgrad::graph::{Graph, Place, Store, Value};
use inkgrad::ops::case::Fill;
use inkgrad::ops::elementwise::{Fill as FillWith, Mul, Scale};
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::{Case, Exact, cases};
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
        device.run(&[plan], 1).unwrap();
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

/// A case with its derivatives by all inputs of floats, of loss = sum of out * weight; the weights, which differ
/// from element to element, are one more input.
struct Differentiated {
    program: Program,
    case: Case,
    out: Tensor,
    derivatives: Vec<Place>,
}

impl Differentiated {
    fn new(case: &Case) -> Differentiated {
        let mut program = Program::new(case);
        let inputs = program.values();
        let graph = &mut program.graph;
        let out = graph.apply_arc(case.op.clone(), &inputs).unwrap();
        let tensor = graph.tensor(out).clone();
        let weight_place = stored(&mut program.store, "weight", tensor.clone());
        let weight = graph.read(&weight_place);
        let product = graph.apply(Mul, &[out, weight]).unwrap();
        let loss = graph.apply(Sum { width: 1, parts: 1, factor: 1.0 }, &[product]).unwrap();
        let by: Vec<Value> = inputs.iter().copied().filter(|v| graph.kind(*v) == Kind::F32).collect();
        let derivatives = grad(graph, loss, &by).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let derivatives = derivatives.into_iter().map(|d| program.output(d)).collect();
        program.inputs.push((weight_place, weight));
        let case = case.clone().input(tensor.clone(), Fill::Uniform);
        Differentiated { program, case, out: tensor, derivatives }
    }
    fn run(&self, device: &mut dyn Device) -> Vec<Exact> {
        let words = self.program.run(device, &self.case, &self.derivatives);
        words.iter().zip(&self.derivatives).map(|(words, place)| exact(words, &place.tensor)).collect()
    }
}

#[test]
fn every_derivative_agrees_with_central_differences() {
    for case in cases().into_iter().filter(|case| case.derivative) {
        let differentiated = Differentiated::new(&case);
        let derivatives = differentiated.run(&mut Cpu::new());
        let mut at = exact_inputs(&differentiated.case);
        let weights = at.pop().unwrap();
        let exact_loss = |inputs: &[Exact]| -> f64 {
            let out = reference(&case, inputs, &differentiated.out)
                .unwrap_or_else(|| panic!("{} has a derivative but no definition", case.name));
            out.data.iter().zip(&weights.data).map(|(x, w)| x * w).sum()
        };
        let floats = (0..at.len()).filter(|i| case.inputs[*i].0.kind == Kind::F32);
        for (input, got) in floats.zip(&derivatives) {
            let n = at[input].data.len();
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

/// The GPU that tests run on: the one that INKGRAD_DEVICE names, else the first that there is, be it software.
/// Without any, says so, and fails where INKGRAD_REQUIRE_GPU is 1.
fn gpu(test: &str) -> Option<Gpu> {
    let named = std::env::var("INKGRAD_DEVICE").ok().map(|name| device::find(&name).unwrap());
    let choices = named.into_iter().chain(device::list().into_iter().map(|listed| listed.choice));
    let usable = |choice: Choice| match choice {
        Choice::Gpu(adapter) if adapter.info.problem.is_none() => Some(adapter),
        _ => None,
    };
    match choices.filter_map(usable).next() {
        Some(adapter) => {
            eprintln!("{test}: on {}", adapter.info);
            Some(Gpu::open(&adapter).unwrap())
        }
        None => {
            eprintln!("SKIPPED {test}: no GPU and no software adapter (lavapipe is one) was found");
            assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
            None
        }
    }
}

#[test]
fn every_shader_agrees_with_its_twin() {
    let Some(mut gpu) = gpu("every_shader_agrees_with_its_twin") else { return };
    for case in cases() {
        let (wanted, _) = forward(&case, &mut Cpu::new());
        let (got, _) = forward(&case, &mut gpu);
        assert_close(&format!("{} on {}", case.name, gpu.name()), &got.data, &wanted.data, case.tolerance);
        if case.derivative {
            let differentiated = Differentiated::new(&case);
            let wanted = differentiated.run(&mut Cpu::new());
            for (i, (got, wanted)) in differentiated.run(&mut gpu).iter().zip(&wanted).enumerate() {
                let what = format!("{} by input {i} on {}", case.name, gpu.name());
                assert_close(&what, &got.data, &wanted.data, case.tolerance.max(2e-5));
            }
        }
    }
}

#[test]
fn many_steps_go_into_few_submissions_without_a_read() {
    let Some(mut gpu) = gpu("many_steps_go_into_few_submissions_without_a_read") else { return };
    // x = x + 1, five hundred times.
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let place = stored(&mut store, "x", Tensor::f32([3]));
    let x = graph.read(&place);
    let more = graph.apply(Scale { factor: 1.0, offset: 1.0 }, &[x]).unwrap();
    graph.assign(more, place.clone());
    gpu.allocate(&store).unwrap();
    let plan = gpu.prepare(&Plan::new(&graph)).unwrap();
    gpu.run(&[plan], 500).unwrap();
    gpu.wait().unwrap();
    let counters = gpu.counters();
    assert!(counters.submissions <= 10 && counters.reads == 0, "{counters:?}");
    let device: &mut dyn Device = &mut gpu;
    assert_eq!(device.read_f32(place.buffer, 0, 3).unwrap(), [500.0; 3]);
}

#[test]
fn a_plan_still_runs_after_another_one_asked_for_more_scratch() {
    let Some(mut gpu) = gpu("a_plan_still_runs_after_another_one_asked_for_more_scratch") else { return };
    let mut store = Store::default();
    let plans: Vec<(Plan, Place)> = [5, 5000]
        .map(|n| {
            let (x, out) = (stored(&mut store, "x", Tensor::f32([n])), stored(&mut store, "out", Tensor::f32([n])));
            let mut graph = Graph::new();
            let x = graph.read(&x);
            let twice = graph.apply(Scale { factor: 2.0, offset: 3.0 }, &[x]).unwrap();
            let sum = graph.apply(Mul, &[twice, twice]).unwrap();
            graph.assign(sum, out.clone());
            (Plan::new(&graph), out)
        })
        .into();
    gpu.allocate(&store).unwrap();
    let ids: Vec<_> = plans.iter().map(|(plan, _)| gpu.prepare(plan).unwrap()).collect();
    for (id, (_, out)) in ids.iter().zip(&plans) {
        gpu.run(&[*id], 1).unwrap();
        let n = out.tensor.len();
        let device: &mut dyn Device = &mut gpu;
        assert_eq!(device.read_f32(out.buffer, 0, n).unwrap(), vec![9.0; n]);
    }
}

#[test]
fn what_does_not_fit_a_device_is_an_error_that_names_the_op_or_the_buffer() {
    let Some(mut gpu) = gpu("what_does_not_fit_a_device_is_an_error_that_names_the_op_or_the_buffer") else { return };
    let mut store = Store::default();
    store.add("moments", usize::MAX / 8);
    let error = gpu.allocate(&store).unwrap_err().to_string();
    assert!(error.contains("moments"), "{error}");
    // The device goes on.
    let mut graph = Graph::new();
    let mut store = Store::default();
    let n = (gpu.info().limits.binding / 4) as usize + 64;
    let place = stored(&mut store, "x", Tensor::f32([4]));
    let wide = graph.apply(FillWith { shape: [n].into(), value: 1.0 }, &[]).unwrap();
    let sum = graph.apply(Sum { width: 1, parts: 1, factor: 1.0 }, &[wide]).unwrap();
    graph.assign(sum, Place { tensor: Tensor::f32([1]), ..place });
    gpu.allocate(&store).unwrap();
    let error = gpu.prepare(&Plan::new(&graph)).unwrap_err().to_string();
    assert!(error.contains("fill") && error.contains("smaller batch"), "{error}");
}
