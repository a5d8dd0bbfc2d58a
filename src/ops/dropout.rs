//! Dropout: zeros a random share of the elements and scales the rest up, so that the mean stays the same.

use std::sync::Arc;

use super::by_image::pieces;
use super::case::{Case, Fill};
use super::{ByImage, Derivatives, Exact, In, Kernel, Op, Out, Target, Twin, expect, floats, random};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::parallel::parallel_rows;
use crate::tensor::{Kind, Tensor};

/// `out = x * mask / (1 - rate)`, each element kept with probability `1 - rate`; inputs `x` and the clock
/// `u32 [step, seed]`. The derivative is the same op on `d_out`, which draws the same mask.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropout {
    /// In 0..1.
    pub rate: f32,
    /// Tells layers apart.
    pub stream: u32,
    /// How many equal parts the elements have, one after another. Each part draws from a stream of its own, from
    /// `stream` on, as that many separate ops would.
    pub groups: usize,
}

impl Dropout {
    /// What the elements that are kept are multiplied by.
    pub fn factor(self) -> f32 {
        1.0 / (1.0 - self.rate)
    }
}

/// Checks that an input is the clock, for shape rules.
pub(super) fn is_clock(tensor: &Tensor) -> Result<(), String> {
    let fits = tensor.kind == Kind::U32 && tensor.len() == 2;
    if fits { Ok(()) } else { Err("the clock is two whole numbers, step and seed".into()) }
}

/// The clock's words.
pub(super) fn clock(input: &In) -> random::Clock {
    let words = input.u32s();
    [words[0], words[1]]
}

/// Elements that a thread takes at a time.
const BLOCK: usize = 1024;

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, clock] = expect::<2>(inputs)?;
        floats(std::slice::from_ref(x))?;
        is_clock(clock)?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!("the rate {} is not in 0..1", self.rate));
        }
        if self.groups == 0 || !x.len().is_multiple_of(self.groups) {
            return Err(format!("{} elements are not {} groups", x.len(), self.groups));
        }
        Ok(x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        Ok(vec![Some(graph.apply(*self, &[node.d_out, node.inputs[1]])?), None])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let clock = [inputs[1].data[0] as u32, inputs[1].data[1] as u32];
        let of_group = out.data.len() / self.groups;
        for (i, (out, x)) in out.data.iter_mut().zip(&inputs[0].data).enumerate() {
            let (stream, i) = (self.stream.wrapping_add((i / of_group) as u32), i % of_group);
            let kept = random::unit(random::bits(clock, stream, i as u32)) >= self.rate;
            *out = if kept { x / (1.0 - f64::from(self.rate)) } else { 0.0 };
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.from(0, inputs[0].data.len(), inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], 2)
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let (all, images) = (inputs[0].shape.len(), inputs[0].dims()[0]);
        Box::new(move |first, inputs, outputs| self.from(first * (all / images), all, inputs, outputs))
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        let count = outputs[0].len().div_ceil(4);
        self.constants(Kernel::flat("dropout", "forward", count), outputs[0].len())
    }
}

impl Dropout {
    /// The elements from `start` on, out of `all` in the whole output.
    fn from(&self, start: usize, all: usize, inputs: &[In], outputs: &mut [Out]) {
        let (clock, x) = (clock(&inputs[1]), inputs[0].data);
        // The hash costs as much as some eight additions.
        parallel_rows(
            outputs[0].data,
            BLOCK.min(x.len()),
            8 * BLOCK,
            #[inline(always)]
            |block, out| {
                out.copy_from_slice(&x[block * BLOCK..][..out.len()]);
                self.drop(clock, start + block * BLOCK, all, out);
            },
        );
    }

    /// Drops some of `values`, the first of which is element `start` of `all`.
    #[inline(always)]
    pub(super) fn drop(&self, clock: random::Clock, start: usize, all: usize, values: &mut [f32]) {
        let factor = self.factor();
        // `unit(bits) >= rate` in whole numbers; both sides are exact multiples of 2^-24, or lie between two.
        let threshold = (self.rate * 16_777_216.0).ceil() as u32;
        let of_group = all / self.groups;
        for (group, piece) in pieces(start, values.len(), of_group) {
            let key = random::key(clock, self.stream.wrapping_add(group as u32));
            let first = (start + piece.start - group * of_group) as u32;
            for (i, v) in values[piece].iter_mut().enumerate() {
                let kept = random::draw(key, first.wrapping_add(i as u32)) >> 8 >= threshold;
                // A mask: no branch predictor foresees a coin toss.
                *v = f32::from_bits((*v * factor).to_bits() & 0u32.wrapping_sub(u32::from(kept)));
            }
        }
    }

    /// The constants that its draws need in a shader, for an output of `len` elements.
    pub(super) fn constants(&self, kernel: Kernel, len: usize) -> Kernel {
        kernel
            .with("RATE", self.rate)
            .with("FACTOR", self.factor())
            .with("STREAM", self.stream)
            .with("OF_STREAM", len / self.groups)
            .with("SEVERAL_STREAMS", self.groups > 1)
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, rate, groups) in [
        ([1, 1], 0.5, 1),
        ([7, 13], 0.25, 1),
        ([33, 257], 0.5, 1),
        ([5, 5], 0.0, 1),
        ([6, 35], 0.5, 2),
        ([4, 600], 0.5, 2),
    ] {
        let op = Dropout { rate, stream: 3, groups };
        let case = Case::new(format!("{shape:?} rate {rate} groups {groups}"), Arc::new(op));
        cases.push(case.input(Tensor::f32(shape), Fill::Uniform).input(Tensor::u32([2]), Fill::Words(&[41, 9])));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn groups_draw_what_ops_of_their_own_would() {
        let draw = |op: Dropout, n: usize| {
            let (shape, of_clock) = (Shape::new([n / 7, 7]), Shape::new([2]));
            let (x, clock) = (vec![1.0; n], [41, 9].map(f32::from_bits));
            let inputs = [In { data: &x, shape: &shape }, In { data: &clock, shape: &of_clock }];
            let mut out = vec![f32::NAN; n];
            op.cpu(&inputs, &mut [Out { data: &mut out, shape: &shape }]);
            out
        };
        let (n, one) = (700, Dropout { rate: 0.4, stream: u32::MAX, groups: 1 });
        let both = draw(Dropout { groups: 2, ..one }, 2 * n);
        assert_eq!(both, [draw(one, n), draw(Dropout { stream: 0, ..one }, n)].concat());
    }

    #[test]
    fn some_images_of_a_batch_lose_what_they_lose_among_all() {
        let (shape, few, of_clock) = (Shape::new([10, 70]), Shape::new([3, 70]), Shape::new([2]));
        let (x, clock) = (vec![1.0; 700], [41, 9].map(f32::from_bits));
        let clock = In { data: &clock, shape: &of_clock };
        let op = Dropout { rate: 0.4, stream: 3, groups: 2 };
        let inputs = [In { data: &x, shape: &shape }, clock];
        let mut all = vec![f32::NAN; 700];
        op.cpu(&inputs, &mut [Out { data: &mut all, shape: &shape }]);
        // From the second of them on they are in the other group.
        let mut some = vec![f32::NAN; 210];
        let given = [In { data: &x[..210], shape: &few }, clock];
        op.twin(&inputs)(4, &given, &mut [Out { data: &mut some, shape: &few }]);
        assert_eq!(some, all[280..490]);
    }
}
