//! The data set stays on the device between steps; each step gathers its batch from it.
//!
//! Position `step * batch + i` counts through all epochs one after another, so batches may straddle two epochs and
//! every image comes exactly once in each. With a [`Window`], a set counts as `places` times as large: row `v` of it is
//! image `v / places` with the window at place `v % places`.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::{Exact, Kernel, Window, random};
use crate::tensor::{Shape, Tensor};

mod gather;

pub use gather::{GatherImages, GatherLabels, Staged};

/// In which order a data set is gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Each epoch in another shuffle, named by the seed. Positions must stay below 2^32.
    Shuffled,
    /// First to last, once; past the end there are images of zeros with labels that are no class.
    InTurn,
}

impl Order {
    /// The row at place `i` of the batch, if the data set has one there.
    #[inline(always)]
    pub fn row(self, [step, seed]: random::Clock, batch: usize, i: usize, count: usize) -> Option<usize> {
        match self {
            Order::Shuffled => {
                let (position, count) = (step.wrapping_mul(batch as u32).wrapping_add(i as u32), count as u32);
                Some(random::Shuffle::new(count, seed, position / count).at(position % count) as usize)
            }
            Order::InTurn => Some(step as usize * batch + i).filter(|row| *row < count),
        }
    }

    /// The rows at place `first` of the batch and the places after it: as [`Order::row`] gives them, but many at once.
    #[inline(always)]
    fn rows(self, [step, seed]: random::Clock, batch: usize, first: usize, count: usize, out: &mut [Option<usize>]) {
        if self == Order::InTurn {
            return out.iter_mut().zip(first..).for_each(|(out, i)| *out = self.row([step, seed], batch, i, count));
        }
        let count = count as u32;
        let mut position = step.wrapping_mul(batch as u32).wrapping_add(first as u32);
        let mut found = [0; 64];
        let mut rest = out;
        while !rest.is_empty() {
            // Another epoch has another shuffle.
            let left = (count - position % count) as usize;
            let (out, after) = rest.split_at_mut(rest.len().min(left).min(found.len()));
            let found = &mut found[..out.len()];
            random::Shuffle::new(count, seed, position / count).from(position % count, found);
            out.iter_mut().zip(&*found).for_each(|(out, row)| *out = Some(*row as usize));
            position = position.wrapping_add(out.len() as u32);
            rest = after;
        }
    }

    fn constants(self, kernel: Kernel, count: usize, batch: usize) -> Kernel {
        kernel
            .with("SHUFFLED", self == Order::Shuffled)
            .with("ROWS", count)
            .with("BATCH", batch)
            .with("HALF_BITS", random::half_bits(count.max(2) as u32))
    }
}

fn exact_clock(input: &Exact) -> random::Clock {
    [input.data[0] as u32, input.data[1] as u32]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Steps in the first epoch, across two, and past the end.
    for (count, batch, sizes, step) in [
        (1, 1, [1, 1, 1], &[0, 1]),
        (10, 4, [3, 3, 1], &[2, 5]),
        (37, 16, [4, 4, 1], &[2, 6]),
        (7, 3, [36, 37, 3], &[9, 7]),
    ] {
        for order in [Order::Shuffled, Order::InTurn] {
            let name = format!("{batch} of {count} {sizes:?} {order:?}");
            let clock = |case: Case| case.input(Tensor::u32([2]), Fill::Words(step)).no_derivative();
            let image = Shape::from(sizes);
            let words = Tensor::u32([(count * image.len()).div_ceil(4)]);
            // The whole image: one place. Nothing else fits the smallest.
            let window = Window { top: 0, left: 0, height: image.dims()[0], width: image.dims()[1] };
            let inner = Window { top: 1, left: 2, height: window.height / 2, width: window.width / 2 };
            let fits = inner.is_within([window.height, window.width]);
            for window in [None, Some(if fits { inner } else { window })] {
                let op = GatherImages { window, ..GatherImages::new(count, batch, sizes, [0.13, 0.31], order) };
                let (copies, name) = (op.copies(), format!("{name}{}", if window.is_some() { " windows" } else { "" }));
                let case = Case::new(name.clone(), Arc::new(op.clone()));
                cases.push(clock(case.input(words.clone(), Fill::Below(u32::MAX))));
                let words = Tensor::u32([(2 * batch * image.len()).div_ceil(4)]);
                let case = Case::new(
                    format!("{name} staged"),
                    Arc::new(GatherImages { staged: Some(Staged { steps: 2, ticks: 3 }), ..op }),
                );
                cases.push(clock(case.input(words, Fill::Below(u32::MAX))));
                let op = GatherLabels { count, copies, batch, order };
                cases.push(clock(Case::new(name, Arc::new(op)).input(Tensor::u32([count]), Fill::Below(10))));
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;

    #[test]
    fn a_batch_of_nothing_and_pixels_that_cannot_be_normalised_are_refused() {
        let order = Order::InTurn;
        let clock = || Tensor::u32([2]);
        let images = |count, batch, mean, std| {
            let op = GatherImages::new(count, batch, [2, 2, 1], [mean, std], order);
            op.shape(&[Tensor::u32([5]), clock()]).is_ok()
        };
        assert!(images(5, 3, 0.1, 0.3));
        assert!(!images(5, 0, 0.1, 0.3) && !images(0, 3, 0.1, 0.3));
        for [mean, std] in [[0.1, 0.0], [0.1, f32::NAN], [0.1, 1e-45], [f32::NAN, 0.3], [f32::INFINITY, 0.3]] {
            assert!(!images(5, 3, mean, std), "{mean} {std}");
        }
        let labels =
            |copies, batch| GatherLabels { count: 5, copies, batch, order }.shape(&[Tensor::u32([5]), clock()]);
        assert!(labels(1, 3).is_ok() && labels(0, 3).is_err() && labels(1, 0).is_err());
    }
}
