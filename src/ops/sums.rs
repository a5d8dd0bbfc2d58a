//! Sums over all rows of several tensors, each into its place in one buffer: what is left to do for the derivatives
//! with respect to many weights.

use std::ops::Range;
use std::sync::Arc;

use super::case::{Case, Fill};
use super::elementwise::finite;
use super::kernel::MOST_BINDINGS;
use super::reduce::{FOUR, Slices, Sum};
use super::{Exact, In, Kernel, Op, Out, Target, floats};
use crate::tensor::Tensor;

/// One part of [`Sums`].
#[derive(Clone, Copy, Debug)]
pub struct Summed {
    /// Where the sum goes.
    pub offset: usize,
    pub width: usize,
    pub factor: f32,
}

/// An update: `out[offset + c] = factor * sum of x[row, c]` over all rows of each input `x`, seen as `[rows, width]`;
/// what lies between these places in `[n]` stays as it is.
#[derive(Clone, Debug)]
pub struct Sums {
    /// At most [`Sums::MOST`].
    pub parts: Vec<Summed>,
}

impl Sums {
    /// All bindings but the result's.
    pub const MOST: usize = MOST_BINDINGS - 1;

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.parts.iter().map(|part| part.offset..part.offset + part.width)
    }
}

impl Op for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        if inputs.len() != self.parts.len() || !(1..=Sums::MOST).contains(&inputs.len()) {
            return Err(format!("takes 1 to {} tensors", Sums::MOST));
        }
        floats(inputs)?;
        let fits =
            |(part, x): (&Summed, &Tensor)| part.width > 0 && !x.is_empty() && x.len().is_multiple_of(part.width);
        if !self.parts.iter().zip(inputs).all(fits) {
            return Err("a tensor has no whole rows to sum".into());
        }
        self.parts.iter().try_for_each(|part| finite(&[part.factor]))?;
        Ok(Tensor::f32([self.ranges().map(|range| range.end).max().unwrap_or(0)]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        for ((part, range), x) in self.parts.iter().zip(self.ranges()).zip(inputs) {
            for (c, out) in out.data[range].iter_mut().enumerate() {
                *out = f64::from(part.factor) * x.data.iter().skip(c).step_by(part.width).sum::<f64>();
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        for ((part, range), x) in self.parts.iter().zip(self.ranges()).zip(inputs) {
            let sum = Sum { width: part.width, rows: Sum::ALL, factor: part.factor };
            let shape = [1, part.width].into();
            sum.cpu(&[*x], &mut [Out { data: &mut outputs[0].data[range], shape: &shape }]);
        }
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let rows: Vec<usize> = self.parts.iter().zip(inputs).map(|(part, x)| x.len() / part.width).collect();
        let widest = self.parts.iter().map(|part| part.width).max().unwrap_or(1);
        let longest = rows.iter().copied().max().unwrap_or(1);
        // Most columns are those of a few partial results; more invocations for each would have nothing to add. On a
        // driver that runs on the CPU there are more than one only where a loop would be too long.
        let sliced = if target.is_software() { longest } else { longest.min(MOST_ROWS) };
        let slices = Slices::new(widest, sliced, target);
        let groups: Vec<usize> = self.parts.iter().map(|part| slices.groups(part.width)).collect();
        let kernel = slices.constants(Kernel::groups("reduce", "sums", groups.iter().sum()));
        // A workgroup belongs to one part.
        let kernel = kernel.with("PARTS", self.parts.len()).rounds(slices.rounds(longest, FOUR) + FOUR);
        self.parts.iter().enumerate().fold(kernel, |kernel, (k, part)| {
            kernel
                .with(format!("FIRST_{k}"), groups[..k].iter().sum::<usize>())
                .with(format!("GROUPS_{k}"), groups[k])
                .with(format!("ROWS_{k}"), rows[k])
                .with(format!("WIDTH_{k}"), part.width)
                .with(format!("OFFSET_{k}"), part.offset)
                .with(format!("FACTOR_{k}"), part.factor)
        })
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs.iter().map(|x| x.len() as u64).sum()
    }
    fn bytes(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs.iter().map(Tensor::bytes).sum::<u64>() + self.parts.iter().map(|part| 4 * part.width as u64).sum::<u64>()
    }
}

/// The most rows that slices are made for, except where loops have to be short.
const MOST_ROWS: usize = 128;

pub fn cases() -> Vec<Case> {
    // An update's case starts from a target of zeros. Places need not be in order.
    let case = |sizes: &[(usize, usize)]| {
        let mut end = 64 * sizes.len();
        let mut parts = Vec::new();
        for (i, (_, width)) in sizes.iter().enumerate() {
            end -= 64;
            let offset = if i == 0 { 64 * sizes.len() } else { end };
            parts.push(Summed { offset, width: *width, factor: 1.0 - 0.5 * i as f32 });
        }
        let mut case = Case::new(format!("{sizes:?}"), Arc::new(Sums { parts })).no_derivative();
        for (rows, width) in sizes {
            case = case.input(Tensor::f32([*rows, *width]), Fill::Uniform);
        }
        case
    };
    vec![
        case(&[(1, 1)]),
        case(&[(8, 3000), (64, 10)]),
        case(&[(130, 5), (7, 33), (1000, 1)]),
        case(&[(3, 257), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::kernel::MOST_ROUNDS;

    #[test]
    fn invocations_share_sums_that_are_too_long_for_one_on_drivers_on_the_cpu_but_not_those_of_other_workgroups() {
        let kernel = |rows: usize, width: usize, count: usize| {
            let part = |i| Summed { offset: i * width.next_multiple_of(64), width, factor: 1.0 };
            let sums = Sums { parts: (0..count).map(part).collect() };
            sums.gpu(&vec![Tensor::f32([rows, width]); count], &[], Target::SOFTWARE)
        };
        for (rows, width, count) in [(60_000, 1, 7), (600_000, 1, 2), (1_000_003, 7, 1), (2_000_000, 64, 1)] {
            let rounds = kernel(rows, width, count).rounds;
            assert!((1..=MOST_ROUNDS).contains(&rounds), "{count} of {rows}x{width}: {rounds}");
        }
        assert_eq!(kernel(60_000, 1, 7).rounds, kernel(60_000, 1, 1).rounds);
    }
}
