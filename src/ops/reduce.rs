//! Sums over an axis, and their derivative, which spreads a tensor along an axis.
//!
//! A tall sum (a bias's derivative: a hundred thousand rows of sixteen) is done in two nodes: partial sums over
//! parts of the rows, then their sum. No atomics, so the order of additions never changes.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::by_image::rows_per_part;
use super::case::{Case, Fill};
use super::elementwise::finite;
use super::kernel::{MOST_INVOCATIONS, MOST_ROUNDS};
use super::tile::{load, store};
use super::{ByImage, Derivatives, Exact, In, Kernel, Op, Out, Target, expect_floats};
use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::parallel::{each, is_worth_splitting, parallel_rows, shares_of_parts, vectorized};
use crate::tensor::{Shape, Tensor};

/// `out[part, c] = factor * sum of x[row, c]` over the rows of each part; `x` is seen as `[rows, width]`.
/// The result has shape `[parts, width]`, or `shape` where there is one part.
#[derive(Clone, Debug)]
pub struct Sum {
    pub width: usize,
    /// Rows of each part; the last may have fewer.
    pub rows: usize,
    pub factor: f32,
}

/// How a workgroup shares a sum over rows: `lanes` columns side by side, `slices` invocations for each.
pub(super) struct Slices {
    lanes: usize,
    slices: usize,
}

/// Rows that are worth an invocation of their own.
const ROWS: usize = 8;

impl Slices {
    pub(super) fn new(columns: usize, rows: usize, target: Target) -> Slices {
        let columns = columns.next_power_of_two();
        // Eight adjacent numbers are the least that memory delivers.
        let slices = (rows / ROWS).next_power_of_two().min(MOST_INVOCATIONS / columns.min(8));
        Slices::of(columns, slices.min(wanted(rows, target)))
    }

    /// As many invocations for each column as there are rows, which they go through so many times, where columns alone
    /// would not keep a device busy.
    pub(super) fn tall(columns: usize, rows: usize, passes: usize, target: Target) -> Slices {
        Slices::of(columns, rows.next_power_of_two().min(MOST_INVOCATIONS).min(wanted(passes * rows, target)))
    }

    fn of(columns: usize, slices: usize) -> Slices {
        Slices { lanes: columns.next_power_of_two().min(MOST_INVOCATIONS / slices).min(64), slices }
    }

    /// A kernel whose workgroups each take `lanes` columns of one of `parts`.
    pub(super) fn kernel(&self, file: &'static str, entry: &'static str, parts: usize, columns: usize) -> Kernel {
        let groups = self.groups(columns);
        self.constants(Kernel::groups(file, entry, parts * groups)).with("COLUMN_GROUPS", groups)
    }

    /// Workgroups for this many columns.
    pub(super) fn groups(&self, columns: usize) -> usize {
        columns.div_ceil(self.lanes)
    }

    /// How often an invocation goes through a loop over so many rows, of which it takes `together` a round.
    pub(super) fn rounds(&self, rows: usize, together: usize) -> usize {
        rows.div_ceil(self.slices * together)
    }

    /// What `slices.wgsl` needs.
    pub(super) fn constants(&self, kernel: Kernel) -> Kernel {
        kernel.with("LANES", self.lanes).with("SLICES", self.slices).with("SLICED", self.slices > 1)
    }
}

/// The most slices that a target has a use for. A driver that runs on the CPU is busy with one, but leaves loops that
/// are too long.
fn wanted(rows: usize, target: Target) -> usize {
    target.busy.max(rows.div_ceil(MOST_ROUNDS).next_power_of_two())
}

/// Rows that an invocation of `reduce.wgsl` sums in one round; what is left over takes a round each.
pub(super) const FOUR: usize = 4;

/// About how many rows one part of a tall sum takes; there are at most [`MAX_PARTS`] parts, so that the second sum is
/// short as well.
const PART: usize = 1024;
const MAX_PARTS: usize = 256;

impl Sum {
    /// All rows in one part.
    pub const ALL: usize = usize::MAX;

    /// Sums a value over all rows, as a tensor of `shape`, whose size is that of a row.
    pub fn over_rows(graph: &mut Graph, x: Value, shape: Shape) -> Result<Value, GraphError> {
        let width = shape.len();
        let all = graph.shape(x).len() / width.max(1);
        if all == 1 {
            return graph.reshape(x, shape);
        }
        let rows = match graph.shape(x).last() == width {
            true => rows_per_part(graph.tensor(x), PART, MAX_PARTS),
            false => all.div_ceil(all.div_ceil(PART).clamp(1, MAX_PARTS)),
        };
        let mut sum = x;
        if rows < all {
            sum = graph.apply(Sum { width, rows, factor: 1.0 }, &[sum])?;
        }
        let sum = graph.apply(Sum { width, rows: Sum::ALL, factor: 1.0 }, &[sum])?;
        graph.reshape(sum, shape)
    }

    /// The mean of all elements, of shape `[1]`.
    pub fn mean(graph: &mut Graph, x: Value) -> Result<Value, GraphError> {
        let n = graph.shape(x).len();
        let rows = n.div_ceil(n.div_ceil(PART).clamp(1, MAX_PARTS));
        let mut sum = x;
        if rows < n {
            sum = graph.apply(Sum { width: 1, rows, factor: 1.0 }, &[sum])?;
        }
        let mean = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 / n as f32 }, &[sum])?;
        graph.reshape(mean, [1])
    }

    fn rows_per_part(&self, len: usize) -> usize {
        self.rows.min(len / self.width)
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        if self.width == 0 || self.rows == 0 || !x.len().is_multiple_of(self.width) || x.is_empty() {
            return Err(format!("cannot be summed in parts of {} rows of {}", self.rows, self.width));
        }
        finite(&[self.factor])?;
        Ok(Tensor::f32([(x.len() / self.width).div_ceil(self.rows), self.width]))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let shape = graph.shape(node.inputs[0]).clone();
        let rows = self.rows_per_part(shape.len());
        let spread = Spread { shape, width: self.width, rows, factor: self.factor };
        Ok(vec![Some(graph.apply(spread, &[node.d_out])?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let x = &inputs[0].data;
        let per_part = self.rows_per_part(x.len());
        out.data.fill(0.0);
        for (i, x) in x.iter().enumerate() {
            let (row, column) = (i / self.width, i % self.width);
            out.data[row / per_part * self.width + column] += x * f64::from(self.factor);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, width) = (inputs[0].data, self.width);
        let per_part = self.rows_per_part(x.len()) * width;
        if width > NARROW {
            // Rows are added one after another, few enough columns at a time that their sums stay in the first-level
            // cache.
            let columns = if is_worth_splitting(x.len()) { COLUMNS } else { width };
            return each(shares_of_parts(outputs[0].data, width, columns).into_iter(), |(part, first, out)| {
                vectorized(
                    #[inline(always)]
                    || {
                        let end = ((part + 1) * per_part).min(x.len());
                        out.fill(0.0);
                        for row in x[(part * per_part).min(end)..end].chunks_exact(width) {
                            out.iter_mut().zip(&row[first..]).for_each(|(out, x)| *out += x);
                        }
                        out.iter_mut().for_each(|out| *out *= self.factor);
                    },
                );
            });
        }
        parallel_rows(
            outputs[0].data,
            width,
            per_part,
            #[inline(always)]
            |part, out| {
                out.fill(0.0);
                let end = ((part + 1) * per_part).min(x.len());
                let x = &x[(part * per_part).min(end)..end];
                if width == 1 {
                    // Eight running sums, so that additions need not wait for each other.
                    let mut lanes = [0.0f32; 8];
                    let (whole, rest) = x.as_chunks::<8>();
                    whole.iter().for_each(|x| (0..8).for_each(|i| lanes[i] += x[i]));
                    out[0] = lanes.iter().chain(rest).sum();
                } else {
                    pulp::Arch::new().dispatch(Rows { x, out });
                }
                out.iter_mut().for_each(|out| *out *= self.factor);
            },
        );
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        let x = &inputs[0];
        let of_images = x.shape.rank() == 4 && x.shape.last() == self.width;
        if of_images { ByImage::of(x, 1)?.parts(x, self.rows_per_part(x.len())) } else { None }
    }
    fn gpu(&self, inputs: &[Tensor], outputs: &[Tensor], target: Target) -> Kernel {
        let (rows_per_part, parts) = (self.rows_per_part(inputs[0].len()), outputs[0].dims()[0]);
        let slices = Slices::new(self.width, rows_per_part, target);
        slices
            .kernel("reduce", "sum", parts, self.width)
            .rounds(slices.rounds(rows_per_part, FOUR) + FOUR)
            .with("WIDTH", self.width)
            .with("ROWS", inputs[0].len() / self.width)
            .with("ROWS_PER_PART", rows_per_part)
            .with("PARTS", parts)
            .with("FACTOR", self.factor)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs[0].len() as u64
    }
}

/// The most columns of rows that are summed a few columns at a time; longer rows are added one after another.
const NARROW: usize = 512;
/// Columns of longer rows that a thread takes at a time.
const COLUMNS: usize = 2048;

/// Adds rows as long as `out` to `out`, a vector of columns at a time. The sums stay in registers, four for each
/// column, so that additions need not wait for each other.
struct Rows<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { x, out } = self;
        let (width, lanes) = (out.len(), S::F32_LANES);
        let whole = width / lanes * lanes;
        let (fours, last) = x.split_at(x.len() / (4 * width) * 4 * width);
        for at in (0..whole).step_by(lanes) {
            let mut sums = [simd.splat_f32s(0.0); 4];
            for rows in fours.chunks_exact(4 * width) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.add_f32s(*sum, load::<S>(&rows[i * width + at..]));
                }
            }
            for row in last.chunks_exact(width) {
                sums[0] = simd.add_f32s(sums[0], load::<S>(&row[at..]));
            }
            let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
            let out = &mut out[at..];
            store::<S>(simd, out, simd.add_f32s(sum, load::<S>(out)));
        }
        if whole < width {
            for row in x.chunks_exact(width) {
                out[whole..].iter_mut().zip(&row[whole..]).for_each(|(out, x)| *out += x);
            }
        }
    }
}

/// The derivative of [`Sum`]: `out[row, c] = factor * x[row / rows, c]`.
#[derive(Clone, Debug)]
pub struct Spread {
    pub shape: Shape,
    pub width: usize,
    /// Rows that share one row of the input.
    pub rows: usize,
    pub factor: f32,
}

impl Op for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        finite(&[self.factor])?;
        let is_whole = self.width > 0 && self.rows > 0 && self.shape.len().is_multiple_of(self.width);
        if !is_whole || x.len() < (self.shape.len() / self.width).div_ceil(self.rows) * self.width {
            return Err(format!("cannot be spread to {} over {} rows each", self.shape, self.rows));
        }
        Ok(Tensor::f32(self.shape.clone()))
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        let shape = graph.shape(node.inputs[0]).clone();
        let sum = graph.apply(Sum { width: self.width, rows: self.rows, factor: self.factor }, &[node.d_out])?;
        Ok(vec![Some(graph.reshape(sum, shape)?)])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        for i in 0..out.data.len() {
            let (row, column) = (i / self.width, i % self.width);
            out.data[i] = f64::from(self.factor) * inputs[0].data[row / self.rows * self.width + column];
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let x = inputs[0].data;
        parallel_rows(outputs[0].data, self.width, self.width, |row, out| {
            let x = &x[row / self.rows * self.width..][..self.width];
            out.iter_mut().zip(x).for_each(|(out, x)| *out = self.factor * x);
        });
    }
    fn gpu(&self, _: &[Tensor], outputs: &[Tensor], _: Target) -> Kernel {
        Kernel::flat("reduce", "spread", outputs[0].len())
            .with("WIDTH", self.width)
            .with("ROWS_PER_PART", self.rows)
            .with("FACTOR", self.factor)
    }
    fn with_constant(&self, _: usize, value: f32, _: &Tensor) -> Option<Arc<dyn Op>> {
        super::elementwise::Fill::of(&self.shape, self.factor * value)
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, parts) in
        [(1usize, 1, 1), (7, 5, 1), (1000, 16, 7), (77, 1, 4), (130, 33, 13), (5000, 1, 2), (900, 9, 1), (9, 300, 2)]
    {
        let name = format!("{rows}x{width} in {parts}");
        let of_part = rows.div_ceil(parts);
        let sum = Sum { width, rows: of_part, factor: 0.5 };
        let x = Tensor::f32([rows, width]);
        cases.push(Case::new(name.clone(), Arc::new(sum)).input(x, Fill::Uniform));
        let spread = Spread { shape: [rows, width].into(), width, rows: of_part, factor: 2.0 };
        let x = Tensor::f32([rows.div_ceil(of_part), width]);
        cases.push(Case::new(name, Arc::new(spread)).input(x, Fill::Uniform));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invocations_share_a_sum_that_is_too_long_for_one_on_drivers_on_the_cpu() {
        for (rows, width) in [(60_000, 1), (600_000, 1), (1_000_003, 7), (2_000_000, 64)] {
            let sum = Sum { width, rows: Sum::ALL, factor: 1.0 };
            let inputs = [Tensor::f32([rows, width])];
            let kernel = sum.gpu(&inputs, &[sum.shape(&inputs).unwrap()], Target::SOFTWARE);
            assert!((1..=MOST_ROUNDS).contains(&kernel.rounds), "{rows}x{width}: {}", kernel.rounds);
        }
    }
}
