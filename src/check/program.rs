//! Cases of ops as a graph that any device can run.

use super::{Finding, Reading};
use crate::device::Device;
use crate::grad::grad;
use crate::graph::{ALIGNMENT, Graph, Place, Store, Value};
use crate::ops::case::Fill;
use crate::ops::elementwise::Mul;
use crate::ops::reduce::Sum;
use crate::ops::{Case, Exact};
use crate::plan::Plan;
use crate::tensor::{Kind, Tensor};

/// Words on either side of every tensor that no kernel may touch. So no tensor begins where its buffer does, and
/// bindings have offsets, like those of weights.
const GUARD: usize = ALIGNMENT;

/// A graph whose inputs and outputs each have their own stored buffer.
#[derive(Default)]
pub struct Program {
    store: Store,
    graph: Graph,
    inputs: Vec<(Place, Vec<u32>)>,
    outputs: Vec<Output>,
}

struct Output {
    what: String,
    place: Place,
    tolerance: f64,
}

impl Program {
    /// Adds a case's output.
    ///
    /// # Errors
    /// A case that does not fit its op.
    pub fn forward(&mut self, case: &Case) -> Result<(), Finding> {
        let inputs = self.inputs(case);
        let out = self.graph.apply_arc(case.op.clone(), &inputs)?;
        self.output(case.name.clone(), out, case.tolerance)
    }

    /// Adds the derivatives of loss = sum of out * weight with respect to all float inputs of a case; the weights,
    /// which differ from element to element, are one more input, whose words are returned.
    ///
    /// # Errors
    /// A case that does not fit its op, and one that has no derivative.
    pub fn derivatives(&mut self, case: &Case) -> Result<Vec<u32>, Finding> {
        let inputs = self.inputs(case);
        let out = self.graph.apply_arc(case.op.clone(), &inputs)?;
        let weight = self.graph.tensor(out).clone();
        // As one more input, it has its own words.
        let words = case.clone().input(weight.clone(), Fill::Uniform).words().pop().unwrap_or_default();
        let weight = self.input(weight, words.clone());
        let product = self.graph.apply(Mul, &[out, weight])?;
        let loss = self.graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product])?;
        let by: Vec<usize> = (0..inputs.len()).filter(|i| self.graph.kind(inputs[*i]) == Kind::F32).collect();
        let values: Vec<Value> = by.iter().map(|i| inputs[*i]).collect();
        let derivatives = grad(&mut self.graph, loss, &values)?;
        for (i, derivative) in by.into_iter().zip(derivatives) {
            // A derivative is itself a sum, usually a longer one.
            self.output(format!("{}, derivative by input {i}", case.name), derivative, case.tolerance.max(2e-5))?;
        }
        Ok(words)
    }

    /// Runs everything once.
    ///
    /// # Errors
    /// The device's own, and [`Finding::Outside`] where a kernel wrote next to its output.
    pub fn run(&self, device: &mut dyn Device) -> Result<Vec<Reading>, Finding> {
        device.allocate(&self.store)?;
        for (place, words) in &self.inputs {
            device.write(place.buffer, place.offset, words)?;
        }
        let plan = device.prepare(&Plan::new(&self.graph))?;
        device.run(&[plan], 1)?;
        self.outputs.iter().map(|output| read(device, output)).collect()
    }

    fn inputs(&mut self, case: &Case) -> Vec<Value> {
        case.tensors().into_iter().zip(case.words()).map(|(tensor, words)| self.input(tensor, words)).collect()
    }

    fn input(&mut self, tensor: Tensor, words: Vec<u32>) -> Value {
        let place = self.stored("input", tensor);
        let value = self.graph.read(&place);
        self.inputs.push((place, words));
        value
    }

    fn output(&mut self, what: String, value: Value, tolerance: f64) -> Result<(), Finding> {
        let place = self.stored("output", self.graph.tensor(value).clone());
        self.graph.assign(value, place.clone())?;
        self.outputs.push(Output { what, place, tolerance });
        Ok(())
    }

    fn stored(&mut self, name: &str, tensor: Tensor) -> Place {
        let buffer = self.store.add(name, GUARD + tensor.len().next_multiple_of(4) + GUARD);
        Place { buffer, offset: GUARD, tensor }
    }
}

fn read(device: &mut dyn Device, output: &Output) -> Result<Reading, Finding> {
    let Output { what, place, tolerance } = output;
    let len = place.tensor.len();
    let mut words = vec![0; GUARD + len.next_multiple_of(4) + GUARD];
    device.read(place.buffer, 0, &mut words)?;
    let (before, rest) = words.split_at(GUARD);
    // Whole vectors of four may be written.
    let (inside, after) = rest.split_at(len.next_multiple_of(4));
    if before.iter().chain(after).any(|word| *word != 0) {
        return Err(Finding::Outside { what: what.clone() });
    }
    Ok(Reading { what: what.clone(), values: exact(&inside[..len], &place.tensor), tolerance: *tolerance })
}

/// Words as the numbers that they represent.
pub(super) fn exact(words: &[u32], tensor: &Tensor) -> Exact {
    let value = |word: &u32| match tensor.kind {
        Kind::F32 | Kind::F16 => f64::from(f32::from_bits(*word)),
        Kind::U32 => f64::from(*word),
    };
    Exact { data: words.iter().map(value).collect(), shape: tensor.shape.clone() }
}
