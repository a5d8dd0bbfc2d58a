//! Convolutions of images in 16 bits, forward and both derivatives, compared with the CPU's: the work of
//! matrix-multiply units, where a GPU has them and they are in use.

use super::{Finding, Reading};
use crate::device::{Device, cpu::Cpu};
use crate::grad::grad;
use crate::graph::{Graph, Place, Store};
use crate::ops::Exact;
use crate::ops::activation::{Act, Activation};
use crate::ops::conv2d::{Padding, conv2d, conv2d_transposed};
use crate::ops::elementwise::{Copy, Mul};
use crate::ops::reduce::Sum;
use crate::plan::Plan;
use crate::tensor::Tensor;

/// As a fraction of the largest: results are rounded to 11 bits, and so are their inputs.
const TOLERANCE: f64 = 2e-3;

/// A convolution of images `[n, h, w, c]` with a kernel `[r, s]` to `k` channels, or a transposed one.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    image: [usize; 4],
    kernel: [usize; 3],
    stride: usize,
    padding: Padding,
    transposed: bool,
}

/// Convolutions of every kind, the quick ones first.
pub fn convolutions() -> Vec<Convolution> {
    let shapes = [
        ([2, 12, 12, 32], [3, 3, 32], 1, Padding::Valid),
        ([2, 10, 11, 32], [5, 5, 16], 2, Padding::Same),
        ([3, 9, 7, 16], [3, 3, 48], 1, Padding::Same),
        ([4, 8, 8, 48], [5, 5, 80], 1, Padding::Valid),
        ([1, 13, 11, 16], [7, 7, 32], 1, Padding::Valid),
        ([2, 9, 9, 16], [4, 4, 16], 2, Padding::Explicit(1)),
        ([2, 9, 9, 16], [2, 3, 16], 3, Padding::Valid),
        ([2, 7, 7, 64], [1, 1, 128], 1, Padding::Valid),
        ([2, 8, 8, 32], [1, 1, 16], 2, Padding::Valid),
        // More positions than one workgroup takes, and more than one part.
        ([130, 12, 12, 32], [3, 3, 64], 1, Padding::Valid),
    ];
    let of = |transposed| {
        shapes.map(|(image, kernel, stride, padding)| Convolution { image, kernel, stride, padding, transposed })
    };
    let [forward, transposed] = [false, true].map(of);
    forward.into_iter().zip(transposed).flat_map(|(a, b)| [a, b]).collect()
}

struct HalvedProgram {
    store: Store,
    plan: Plan,
    inputs: [Place; 2],
    /// The result, and its derivatives with respect to the images and the weights.
    outputs: [Place; 3],
}

impl Convolution {
    /// What a device is asked to compute: the result, and the derivatives of half the sum of its squares.
    ///
    /// # Errors
    /// A convolution that is not possible.
    pub fn plan(&self) -> Result<Plan, Finding> {
        self.program().map(|program| program.plan)
    }

    fn program(&self) -> Result<HalvedProgram, Finding> {
        let ([n, h, w, c], [r, s, k]) = (self.image, self.kernel);
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let inputs = [Tensor::f32([n, h, w, c]), Tensor::f32([r, s, c, k])].map(&mut stored);
        let [image, weight] = [graph.read(&inputs[0]), graph.read(&inputs[1])];
        // Stored values are 32-bit; what a step makes of them can be halved. Halving keeps these exact, and the
        // activation's derivative is folded into the convolution's.
        let x = graph.apply(Activation(Act::Leaky(0.5)), &[image])?;
        let convolve = if self.transposed { conv2d_transposed } else { conv2d };
        let made = convolve(&mut graph, x, weight, self.stride, self.padding)?;
        let y = graph.apply(Copy, &[made])?;
        let square = graph.apply(Mul, &[y, y])?;
        let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 0.5 }, &[square])?;
        let derivatives = grad(&mut graph, loss, &[image, weight])?;
        let results = [y, derivatives[0], derivatives[1]];
        let outputs = results.map(|value| stored(graph.tensor(value).clone()));
        for (value, place) in results.into_iter().zip(&outputs) {
            let copy = graph.apply(Copy, &[value])?;
            graph.assign(copy, place.clone())?;
        }
        let mut plan = Plan::new(&graph);
        plan.halve(n, &[inputs[0].buffer]);
        Ok(HalvedProgram { store, plan, inputs, outputs })
    }

    /// # Errors
    /// The first result that is off, and the device's own errors.
    pub fn check(&self, device: &mut dyn Device) -> Result<(), Finding> {
        let program = self.program()?;
        let wanted = self.run(&program, &mut Cpu::new())?;
        let got = self.run(&program, device)?;
        got.iter().zip(&wanted).try_for_each(|(got, wanted)| got.hold_against(&wanted.values.data))
    }

    fn run(&self, program: &HalvedProgram, device: &mut dyn Device) -> Result<Vec<Reading>, Finding> {
        device.allocate(&program.store)?;
        for (seed, place) in program.inputs.iter().enumerate() {
            device.write(place.buffer, place.offset, &words(seed as u32 + 1, place.tensor.len()))?;
        }
        let plan = device.prepare(&program.plan)?;
        device.run(&[plan], 1)?;
        let names = ["result", "derivative by the images", "derivative by the weights"];
        let readings = program.outputs.iter().zip(names).map(|(place, name)| {
            let mut words = vec![0; place.tensor.len()];
            device.read(place.buffer, place.offset, &mut words)?;
            let data = words.into_iter().map(|word| f64::from(f32::from_bits(word))).collect();
            let values = Exact { data, shape: place.tensor.shape.clone() };
            Ok(Reading { what: format!("{self:?} in 16 bits, {name}"), values, tolerance: TOLERANCE })
        });
        readings.collect()
    }
}

/// Numbers from -1 to 1 that 16-bit floats hold exactly.
fn words(seed: u32, count: usize) -> Vec<u32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) as f32 / 128.0 - 1.0).to_bits()
    };
    (0..count).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_activations_derivative_is_made_by_the_convolution_that_makes_its_input() {
        for convolution in convolutions() {
            let plan = convolution.plan().unwrap();
            let mut names = plan.dispatches.iter().map(|dispatch| dispatch.op.name());
            assert!(names.all(|name| name != "activation.grad_x"), "{convolution:?}");
        }
    }
}
