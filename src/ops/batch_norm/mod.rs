//! Batch normalisation: per channel, subtract the batch's mean, divide by its standard deviation, multiply by gamma and
//! add beta.
//!
//! It is several ops, since a reduction over all rows must be complete before its result is used. `affine` is one
//! tensor `[2, C]` of gamma and beta; statistics are `[2, C]` of mean and biased variance. Where a batch is several
//! groups of rows, one after another, that are normalised separately, statistics are `[groups, 2, C]`.
//!
//! Variances survive means that are large compared with them: each part of the rows sums distances from its own first
//! row, which gives the part's mean and the squared distances from that mean, and parts are merged by Chan, Golub and
//! LeVeque's rule ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).

use std::sync::Arc;

use super::by_image::rows_per_part;
use super::case::{Case, Fill};
use super::reduce::Slices;
use super::{Dropout, Epilogue, Kernel, Op, Target};
use crate::graph::{Graph, GraphError, Value};
use crate::tensor::{Shape, Tensor};

mod backward;
mod forward;

pub use backward::{GradSums, GradX};
pub use forward::{Apply, Running, RunningPart, Stats, Sums};

/// About how many rows one part has; there are at most [`MAX_PARTS`] parts.
const PART: usize = 128;
const MAX_PARTS: usize = 1024;

/// Normalises `x [.., C]` by its own statistics, for training; returns the result and the statistics `[2, C]` for
/// [`Running`]. Derivatives with respect to `x` and `affine [2, C]` are exact: they go through the statistics.
pub fn batch_norm(graph: &mut Graph, x: Value, affine: Value, eps: f32) -> Result<(Value, Value), GraphError> {
    batch_norm_of_groups(graph, x, affine, eps, 1)
}

/// [`batch_norm`] of a batch that is made of this many groups, each by the group's own statistics.
pub fn batch_norm_of_groups(
    graph: &mut Graph,
    x: Value,
    affine: Value,
    eps: f32,
    groups: usize,
) -> Result<(Value, Value), GraphError> {
    let rows = graph.shape(x).rows();
    let rows_per_part = parts(graph.tensor(x), groups);
    let sums = graph.apply(Sums { rows_per_part }, &[x])?;
    let stats = graph.apply(Stats { rows, rows_per_part, groups }, &[sums])?;
    let y = graph.apply(Apply::new(eps, true), &[x, stats, affine])?;
    Ok((y, stats))
}

/// Normalises `x [.., C]` by given statistics `[2, C]`, which count as constants.
pub fn batch_norm_fixed(
    graph: &mut Graph,
    x: Value,
    stats: Value,
    affine: Value,
    eps: f32,
) -> Result<Value, GraphError> {
    graph.apply(Apply::new(eps, false), &[x, stats, affine])
}

/// Rows of each part. No part has rows of two groups.
fn parts(x: &Tensor, groups: usize) -> usize {
    if groups < 2 {
        return rows_per_part(x, PART, MAX_PARTS);
    }
    let mut dims = x.dims().to_vec();
    dims[0] /= groups;
    let group = Tensor::f32(Shape::new(dims));
    let (rows, about) = (group.shape.rows(), rows_per_part(&group, PART, MAX_PARTS / groups));
    // A group whose size has no suitable divisor is one part.
    (about / 4..=about).rev().find(|n| *n > 0 && rows.is_multiple_of(*n)).unwrap_or(rows).max(1)
}

/// Whether a tensor holds two values for each channel of `x`.
fn two_per_channel(what: &str, tensor: &Tensor, x: &Tensor) -> Result<(), String> {
    let c = x.shape.last();
    if tensor.dims() == [2, c] { Ok(()) } else { Err(format!("{what} {} should be [2, {c}]", tensor.shape)) }
}

/// How many groups of the rows of `x` have statistics of their own in a tensor of `[2, C]`, or of `[groups, 2, C]`.
fn groups(what: &str, tensor: &Tensor, x: &Tensor) -> Result<usize, String> {
    let c = x.shape.last();
    match *tensor.dims() {
        [2, n] if n == c => Ok(1),
        [groups, 2, n] if n == c && groups > 0 && x.shape.rows().is_multiple_of(groups) => Ok(groups),
        _ => Err(format!("{what} {} should be [2, {c}], or that for each group of the rows", tensor.shape)),
    }
}

/// How many groups such a tensor is for; it has been checked before.
fn groups_of(tensor: &Shape) -> usize {
    if tensor.rank() == 3 { tensor.dims()[0] } else { 1 }
}

/// The shape of such a tensor.
fn of_groups(groups: usize, c: usize) -> Tensor {
    if groups == 1 { Tensor::f32([2, c]) } else { Tensor::f32([groups, 2, c]) }
}

/// Tells a kernel which group's statistics to use, where there are several groups; `count` is all rows in the kernel's
/// own units.
fn grouped(kernel: Kernel, stats: &Tensor, count: usize) -> Kernel {
    let groups = groups_of(&stats.shape);
    kernel.with("GROUPED", groups > 1).with("OF_GROUP", count / groups)
}

/// A kernel whose invocations each take `lanes` channels.
fn kernel(entry: &'static str, count: usize, c: usize, lanes: usize) -> Kernel {
    Kernel::flat("batch_norm", entry, count).with("PARTIAL", false).with("BY_FOUR", lanes == 4).with("C", c / lanes)
}

/// A kernel that sums over the rows of each part.
fn partial_kernel(entry: &'static str, rows: usize, rows_per_part: usize, c: usize, target: Target) -> Kernel {
    let parts = rows.div_ceil(rows_per_part);
    let slices = Slices::new(c, rows_per_part, target);
    let kernel = slices.kernel("batch_norm", entry, parts, c).rounds(slices.rounds(rows_per_part, 1));
    let kernel = kernel.with("PARTIAL", true).with("BY_FOUR", false).with("C", c).with("PARTS", parts);
    Epilogue::NONE.constants(kernel).with("ROWS", rows).with("ROWS_PER_PART", rows_per_part)
}

fn lanes(c: usize) -> usize {
    if c.is_multiple_of(4) { 4 } else { 1 }
}

/// Rows that a thread takes at a time.
const BLOCK: usize = 64;

/// `1 / sqrt(var + eps)` of a channel.
fn inverse(stats: &[f32], c: usize, k: usize, eps: f32) -> f32 {
    1.0 / (stats[c + k] + eps).sqrt()
}

pub fn cases() -> Vec<Case> {
    use super::activation::Act;
    let mut cases = Vec::new();
    let eps = 1e-3;
    let shapes = [vec![1, 1], vec![7, 5], vec![3, 5, 7, 4], vec![2, 11, 13, 23], vec![5, 8, 8, 40], vec![4097, 3]];
    let alone = shapes.into_iter().map(|shape| (shape, 1));
    for (shape, groups) in alone.chain([(vec![6, 5], 2), (vec![4, 14, 14, 12], 2), (vec![6, 7, 5, 3], 3)]) {
        let x = Tensor::f32(Shape::new(shape));
        let (rows, c) = (x.shape.rows(), x.shape.last());
        let name = if groups == 1 { x.shape.to_string() } else { format!("{} in {groups} groups", x.shape) };
        let (affine, stats) = (Tensor::f32([2, c]), of_groups(groups, c));
        let rows_per_part = parts(&x, groups);
        let parts = rows.div_ceil(rows_per_part);
        let case = |op: Arc<dyn Op>| Case::new(name.clone(), op).no_derivative();
        cases.push(case(Arc::new(Sums { rows_per_part })).input(x.clone(), Fill::Uniform));
        let sums = Tensor::f32([parts, 2, c]);
        cases.push(case(Arc::new(Stats { rows, rows_per_part, groups })).input(sums, Fill::Positive));
        for (training, act) in [(true, None), (false, None), (true, Some(Act::Relu))] {
            if groups > 1 && !training {
                continue;
            }
            let apply = Apply { epilogue: Epilogue { act, ..Epilogue::NONE }, ..Apply::new(eps, training) };
            let inputs = |case: Case| {
                case.input(x.clone(), Fill::Uniform)
                    .input(stats.clone(), Fill::Positive)
                    .input(affine.clone(), Fill::Uniform)
            };
            cases.push(inputs(case(Arc::new(apply))));
            if act.is_some() {
                let dropout = Some(Dropout { rate: 0.4, stream: 5, groups });
                let dropping = inputs(case(Arc::new(Apply { dropout, ..apply })));
                cases.push(dropping.input(Tensor::u32([2]), Fill::Words(&[41, 9])));
            }
        }
        cases.push(
            case(Arc::new(GradSums { rows_per_part, eps }))
                .input(x.clone(), Fill::Uniform)
                .input(x.clone(), Fill::Uniform)
                .input(stats.clone(), Fill::Positive),
        );
        cases.push(
            case(Arc::new(GradX { eps, batch: Some(rows / groups) }))
                .input(x.clone(), Fill::Uniform)
                .input(x.clone(), Fill::Uniform)
                .input(stats.clone(), Fill::Positive)
                .input(affine.clone(), Fill::Uniform)
                .input(stats.clone(), Fill::Uniform),
        );
        cases.push(
            case(Arc::new(GradX { eps, batch: None }))
                .input(x.clone(), Fill::Uniform)
                .input(stats, Fill::Positive)
                .input(affine, Fill::Uniform),
        );
    }
    // An update's case starts from a target of zeros. Parts need not be in order, nor adjacent.
    for lens in [vec![2], vec![64, 10, 46], vec![2, 4, 6, 8, 10, 12, 14]] {
        let part = |(i, len): (usize, &usize)| RunningPart {
            offset: 64 * ((i + 1) % lens.len()),
            len: *len,
            momentum: 0.9 - 0.1 * i as f32,
        };
        let parts = lens.iter().enumerate().map(part).collect();
        let mut case = Case::new(format!("{lens:?}"), Arc::new(Running { parts })).no_derivative();
        for len in &lens {
            case = case.input(Tensor::f32([2, *len]), Fill::Positive);
        }
        cases.push(case);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::kernel::MOST_ROUNDS;

    #[test]
    fn both_loops_over_many_parts_are_together_no_longer_than_drivers_on_the_cpu_let_them() {
        for parts in [40_000, 66_000, 300_000, 2_000_000] {
            let stats = Stats { rows: parts, rows_per_part: 1, groups: 1 };
            let rounds = stats.gpu(&[Tensor::f32([parts, 2, 3])], &[], Target::SOFTWARE).rounds;
            assert!((1..=MOST_ROUNDS).contains(&rounds), "{parts} parts: {rounds}");
        }
    }
}
