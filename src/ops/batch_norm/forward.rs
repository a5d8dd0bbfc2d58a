//! Statistics of a batch in parts, normalisation by them, and their running means.

use std::sync::Arc;

use super::{
    BLOCK, GradSums, GradX, grouped, groups, groups_of, inverse, kernel, lanes, of_groups, partial_kernel, parts,
    two_per_channel,
};
use crate::grad::Backward;
use crate::graph::Graph;
use crate::ops::by_image::pieces;
use crate::ops::dropout::{clock, is_clock};
use crate::ops::epilogue::{Step, tiled};
use crate::ops::kernel::MOST_BINDINGS;
use crate::ops::reduce::{Slices, Sum};
use crate::ops::{
    ByImage, Derivatives, Dropout, Epilogue, Exact, In, Kernel, Op, Out, Target, Twin, expect_floats, floats,
};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

/// `x [rows, C]` to `[parts, 2, C]`: for each part of the rows, its mean and the sum of squared distances from it.
/// Derivatives stop here; [`Apply`] in training accounts for the statistics.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    pub rows_per_part: usize,
}

impl Op for Sums {
    fn name(&self) -> &'static str {
        "batch_norm.sums"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x] = expect_floats::<1>(inputs)?;
        if x.is_empty() || self.rows_per_part == 0 {
            return Err("has no rows to take statistics of".into());
        }
        Ok(Tensor::f32([x.shape.rows().div_ceil(self.rows_per_part), 2, x.shape.last()]))
    }
    fn constant(&self) -> bool {
        true
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let c = inputs[0].shape.last();
        for (part, x) in inputs[0].data.chunks(self.rows_per_part * c).enumerate() {
            let n = (x.len() / c) as f64;
            for k in 0..c {
                let column = || x.iter().skip(k).step_by(c);
                let mean = column().sum::<f64>() / n;
                out.data[2 * part * c + k] = mean;
                out.data[(2 * part + 1) * c + k] = column().map(|x| (x - mean).powi(2)).sum();
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (x, c) = (inputs[0].data, inputs[0].shape.last());
        let per_part = self.rows_per_part * c;
        parallel_rows(
            outputs[0].data,
            2 * c,
            per_part,
            #[inline(always)]
            |part, out| {
                let end = ((part + 1) * per_part).min(x.len());
                let x = &x[part * per_part..end];
                let mut k = 0;
                while k + 16 <= c {
                    moments::<16>(x, c, k, out);
                    k += 16;
                }
                while k + 4 <= c {
                    moments::<4>(x, c, k, out);
                    k += 4;
                }
                while k < c {
                    moments::<1>(x, c, k, out);
                    k += 1;
                }
            },
        );
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], 1)?.parts(&inputs[0], self.rows_per_part)
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let c = inputs[0].shape.last();
        partial_kernel("sums", inputs[0].shape.rows(), self.rows_per_part, c, target)
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        4 * inputs[0].len() as u64
    }
}

/// Mean and squared distances of `L` channels from `k` on, over the rows of one part.
#[inline(always)]
fn moments<const L: usize>(x: &[f32], c: usize, k: usize, out: &mut [f32]) {
    let base: [f32; L] = *x[k..].first_chunk().expect("L channels");
    let (mut sum, mut squares) = ([0.0f32; L], [0.0f32; L]);
    for row in x.chunks_exact(c) {
        let x: &[f32; L] = row[k..].first_chunk().expect("L channels");
        for l in 0..L {
            let v = x[l] - base[l];
            sum[l] += v;
            squares[l] += v * v;
        }
    }
    let n = (x.len() / c) as f32;
    for l in 0..L {
        let mean = sum[l] / n;
        out[k + l] = base[l] + mean;
        // `max` would turn NaN into 0.
        let left = squares[l] - sum[l] * mean;
        out[c + k + l] = if left < 0.0 { 0.0 } else { left };
    }
}

/// Merges `[parts, 2, C]` of [`Sums`] into mean and biased variance over all rows of each group, `[2, C]` or
/// `[groups, 2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    pub rows: usize,
    pub rows_per_part: usize,
    pub groups: usize,
}

/// How often [`Stats`] goes through its parts: for means, and for variances.
const PASSES: usize = 2;

impl Stats {
    fn rows_of_group(&self) -> usize {
        self.rows / self.groups
    }
    /// Rows of a group's part.
    fn rows_of(&self, part: usize) -> usize {
        self.rows_per_part.min(self.rows_of_group() - part * self.rows_per_part)
    }
}

impl Op for Stats {
    fn name(&self) -> &'static str {
        "batch_norm.stats"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [sums] = expect_floats::<1>(inputs)?;
        let &[parts, 2, c] = sums.dims() else { return Err("takes [parts, 2, channels]".into()) };
        if self.rows_per_part == 0 || parts != self.rows.div_ceil(self.rows_per_part) || parts == 0 {
            return Err(format!("{} rows in parts of {} are not {parts} parts", self.rows, self.rows_per_part));
        }
        let whole = self.rows.is_multiple_of(self.groups) && self.rows_of_group().is_multiple_of(self.rows_per_part);
        if self.groups == 0 || (self.groups > 1 && !whole) {
            return Err(format!(
                "{} rows in parts of {} are not {} groups",
                self.rows, self.rows_per_part, self.groups
            ));
        }
        Ok(of_groups(self.groups, c))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let c = inputs[0].shape.last();
        let n = self.rows_of_group() as f64;
        let of_group = inputs[0].data.len() / self.groups;
        for (sums, out) in inputs[0].data.chunks(of_group).zip(out.data.chunks_mut(2 * c)) {
            for k in 0..c {
                let parts = || sums.chunks(2 * c).enumerate();
                let rows = |part: usize| self.rows_of(part) as f64;
                let mean = parts().map(|(i, part)| rows(i) * part[k]).sum::<f64>() / n;
                out[k] = mean;
                out[c + k] = parts().map(|(i, p)| p[c + k] + rows(i) * (p[k] - mean).powi(2)).sum::<f64>() / n;
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let c = inputs[0].shape.last();
        let of_group = inputs[0].data.len() / self.groups;
        for (parts, out) in inputs[0].data.chunks_exact(of_group).zip(outputs[0].data.chunks_exact_mut(2 * c)) {
            self.merge(parts, out);
        }
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        let (c, parts) = (inputs[0].shape.last(), inputs[0].dims()[0] / self.groups);
        let slices = Slices::tall(c, parts, PASSES, target);
        let kernel = slices.kernel("batch_norm", "stats", self.groups, c).with("C", c);
        Epilogue::NONE
            .constants(kernel)
            .rounds(PASSES * slices.rounds(parts, 1))
            .with("BY_FOUR", false)
            .with("GROUPS", self.groups)
            .with("ROWS", self.rows_of_group())
            .with("ROWS_PER_PART", self.rows_per_part)
            .with("PARTS", parts)
    }
}

impl Stats {
    /// Mean and variance of one group.
    fn merge(&self, parts: &[f32], out: &mut [f32]) {
        let c = out.len() / 2;
        let (means, variances) = out.split_at_mut(c);
        // f64: it is a few thousand additions.
        let mut sums = vec![0.0f64; c];
        let parts = || parts.chunks_exact(2 * c).enumerate();
        for (i, part) in parts() {
            let n = self.rows_of(i) as f64;
            sums.iter_mut().zip(part).for_each(|(sum, mean)| *sum += n * f64::from(*mean));
        }
        let rows = self.rows_of_group() as f64;
        let exact: Vec<f64> = sums.iter().map(|sum| sum / rows).collect();
        sums.fill(0.0);
        for (i, part) in parts() {
            let n = self.rows_of(i) as f64;
            let (part_means, squares) = part.split_at(c);
            for k in 0..c {
                let off = f64::from(part_means[k]) - exact[k];
                sums[k] += f64::from(squares[k]) + n * off * off;
            }
        }
        for k in 0..c {
            means[k] = exact[k] as f32;
            variances[k] = (sums[k] / rows) as f32;
        }
    }
}

/// `out = (x - mean) / sqrt(var + eps) * gamma + beta`, of `x [.., C]`, `stats [2, C]` or `[groups, 2, C]`,
/// and `affine [2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    pub eps: f32,
    /// Whether `stats` are those of `x` itself, so that the derivative with respect to `x` goes through them; otherwise
    /// they are constants.
    pub training: bool,
    /// Only steps of [`Apply::STEPS`].
    pub epilogue: Epilogue,
    /// After the activation; the clock is then a fourth input.
    pub dropout: Option<Dropout>,
}

impl Op for Apply {
    fn name(&self) -> &'static str {
        "batch_norm.apply"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, stats, affine, clock @ ..] = inputs else { return Err("takes 3 inputs or more".into()) };
        floats(&inputs[..3])?;
        if groups("the statistics", stats, x)? > 1 && !self.training {
            return Err("given statistics are for all rows".into());
        }
        two_per_channel("gamma and beta", affine, x)?;
        self.epilogue.check_of(&Apply::STEPS, &[], &x.shape)?;
        match (self.dropout, clock) {
            (None, []) => {}
            (Some(_), [clock]) => is_clock(clock)?,
            _ => return Err("takes a clock with dropout, and only then".into()),
        }
        Ok(x.clone())
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE || self.dropout.is_some() {
            return Ok(vec![None; node.inputs.len()]);
        }
        let (d_out, x, stats, affine) = (node.d_out, node.inputs[0], node.inputs[1], node.inputs[2]);
        let groups = groups_of(graph.shape(stats));
        let (mut of_groups, mut of_all) = (None, None);
        if node.wanted[2] || (node.wanted[0] && self.training) {
            let rows_per_part = parts(graph.tensor(x), groups);
            let mut sums = graph.apply(GradSums { rows_per_part, eps: self.eps }, &[d_out, x, stats])?;
            let shape = graph.shape(affine).clone();
            if groups > 1 {
                let rows = graph.dims(sums)[0] / groups;
                if rows > 1 {
                    sums = graph.apply(Sum { width: shape.len(), rows, factor: 1.0 }, &[sums])?;
                }
                let shape = graph.shape(stats).clone();
                of_groups = Some(graph.reshape(sums, shape)?);
            }
            of_all = Some(Sum::over_rows(graph, sums, shape)?);
        }
        let d_x = match (node.wanted[0], of_groups.or(of_all), self.training) {
            (false, ..) => None,
            (true, Some(sums), true) => {
                let batch = Some(graph.shape(x).rows() / groups);
                Some(graph.apply(GradX { eps: self.eps, batch }, &[d_out, x, stats, affine, sums])?)
            }
            _ => Some(graph.apply(GradX { eps: self.eps, batch: None }, &[d_out, stats, affine])?),
        };
        Ok(vec![d_x, None, of_all])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (x, affine) = (&inputs[0].data, &inputs[2].data);
        let c = inputs[0].shape.last();
        for (group, piece) in pieces(0, x.len(), x.len() / groups_of(&inputs[1].shape)) {
            let stats = &inputs[1].data[2 * c * group..];
            for i in piece {
                let k = i % c;
                let deviation = (stats[c + k] + f64::from(self.eps)).sqrt();
                out.data[i] = (x[i] - stats[k]) / deviation * affine[k] + affine[c + k];
            }
        }
        self.epilogue.exact(out, &[]);
        if let Some(dropout) = self.dropout {
            let whole = Exact { data: out.data.clone(), shape: out.shape.clone() };
            dropout.reference(&[whole, inputs[3].clone()], out);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        self.from(0, inputs[0].data.len(), inputs, outputs);
    }
    fn by_image(&self, inputs: &[Tensor]) -> Option<ByImage> {
        ByImage::of(&inputs[0], inputs.len())
    }
    fn twin<'a>(&'a self, inputs: &[In<'a>]) -> Twin<'a> {
        let (all, images) = (inputs[0].shape.len(), inputs[0].dims()[0]);
        Box::new(move |first, inputs, outputs| self.from(first * (all / images), all, inputs, outputs))
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let c = inputs[0].shape.last();
        let count = inputs[0].len() / lanes(c);
        let kernel = grouped(kernel("apply", count, c, lanes(c)), &inputs[1], count);
        let kernel = self.epilogue.constants(kernel).with("EPS", self.eps).with("DROPS", self.dropout.is_some());
        self.dropout.map_or(kernel.clone(), |dropout| dropout.constants(kernel, inputs[0].len()))
    }
    fn flops(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        3 * inputs[0].len() as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        let epilogue = self.epilogue.then(epilogue).filter(|both| both.is_of(&Apply::STEPS))?;
        self.dropout.is_none().then(|| Arc::new(Apply { epilogue, ..*self }) as Arc<dyn Op>)
    }
    fn as_epilogue(&self) -> Option<Epilogue> {
        let is_fixed = !self.training && self.dropout.is_none();
        is_fixed.then_some(Epilogue { norm: Some(self.eps), ..self.epilogue })
    }
    fn with_dropout(&self, dropout: Dropout) -> Option<Arc<dyn Op>> {
        self.dropout.is_none().then(|| Arc::new(Apply { dropout: Some(dropout), ..*self }) as Arc<dyn Op>)
    }
}

impl Apply {
    pub const STEPS: [Step; 1] = [Step::Act];

    pub const fn new(eps: f32, training: bool) -> Apply {
        Apply { eps, training, epilogue: Epilogue::NONE, dropout: None }
    }

    /// The elements from `first` on, out of `all` in the whole batch.
    fn from(&self, first: usize, all: usize, inputs: &[In], outputs: &mut [Out]) {
        let (affine, c) = (inputs[2].data, inputs[0].shape.last());
        let dropout = self.dropout.map(|dropout| (dropout, clock(&inputs[3])));
        let (beta, end) = (tiled(c, |k| affine[c + k]), self.epilogue.with(&[]));
        let block = BLOCK * c;
        for (group, piece) in pieces(first, inputs[0].data.len(), all / groups_of(inputs[1].shape)) {
            let stats = &inputs[1].data[2 * c * group..][..2 * c];
            let mean = tiled(c, |k| stats[k]);
            let scale = tiled(c, |k| affine[k] * inverse(stats, c, k, self.eps));
            let (x, first) = (&inputs[0].data[piece.clone()], first + piece.start);
            parallel_rows(
                &mut outputs[0].data[piece],
                block.min(x.len()),
                block,
                #[inline(always)]
                |i, out| {
                    let x = &x[i * block..][..out.len()];
                    for (out, x) in out.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
                        let each = out.iter_mut().zip(x).zip(mean.iter().zip(&scale).zip(&beta));
                        each.for_each(|((out, x), ((mean, scale), beta))| *out = (x - mean) * scale + beta);
                    }
                    end.apply(out, i * block, c);
                    if let Some((dropout, clock)) = dropout {
                        dropout.drop(clock, first + i * block, all, out);
                    }
                },
            );
        }
    }
}

/// One layer's running statistics among those of other layers.
#[derive(Clone, Copy, Debug)]
pub struct RunningPart {
    /// Where they begin.
    pub offset: usize,
    pub len: usize,
    pub momentum: f32,
}

/// An update: `running = momentum * running + (1 - momentum) * stats` in each part of `[n]`, from one input `[2, C]`
/// per part, which may hold more after what is used. The variance stays biased.
#[derive(Clone, Debug)]
pub struct Running {
    /// At most [`Running::MOST`].
    pub parts: Vec<RunningPart>,
}

impl Running {
    /// All bindings but the result's.
    pub const MOST: usize = MOST_BINDINGS - 1;

    fn mixed(&self) -> impl Iterator<Item = (std::ops::Range<usize>, f32)> {
        self.parts.iter().map(|part| (part.offset..part.offset + part.len, part.momentum))
    }
}

impl Op for Running {
    fn name(&self) -> &'static str {
        "batch_norm.running"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        if inputs.len() != self.parts.len() || !(1..=Running::MOST).contains(&inputs.len()) {
            return Err(format!("takes statistics of 1 to {} layers", Running::MOST));
        }
        floats(inputs)?;
        if self.parts.iter().zip(inputs).any(|(part, stats)| stats.len() < part.len) {
            return Err("a layer has fewer statistics than are kept of it".into());
        }
        Ok(Tensor::f32([self.mixed().map(|(range, _)| range.end).max().unwrap_or(0)]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        for ((range, momentum), stats) in self.mixed().zip(inputs) {
            let momentum = f64::from(momentum);
            let each = out.data[range].iter_mut().zip(&stats.data);
            each.for_each(|(running, stats)| *running = momentum * *running + (1.0 - momentum) * stats);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        for ((range, momentum), stats) in self.mixed().zip(inputs) {
            let each = outputs[0].data[range].iter_mut().zip(stats.data);
            each.for_each(|(running, stats)| *running = momentum * *running + (1.0 - momentum) * stats);
        }
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let n = self.parts.iter().map(|part| part.len).sum();
        let kernel = Epilogue::NONE.constants(kernel("running", n, n, 1)).with("PARTS", self.parts.len());
        self.parts.iter().enumerate().fold(kernel, |kernel, (k, part)| {
            kernel
                .with(format!("OFFSET_{k}"), part.offset)
                .with(format!("LEN_{k}"), part.len)
                .with(format!("MOMENTUM_{k}"), part.momentum)
        })
    }
}
