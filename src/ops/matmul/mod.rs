//! The product of two matrices, either of which may be transposed: dense layers and their derivatives.

use std::sync::Arc;

use super::activation::Act;
use super::case::{Case, Fill};
use super::epilogue::Ready;
use super::kernel::{MOST_INVOCATIONS, MOST_ROUNDS};
use super::tile::MOST_PIXELS;
use super::{Derivatives, Epilogue, Exact, In, Kernel, Op, Out, Target, expect, floats};
use crate::grad::Backward;
use crate::graph::{Graph, GraphError, Value};
use crate::parallel::parallel_rows;
use crate::tensor::Tensor;

pub(crate) use cpu::parts_of;

mod cpu;
mod subgroup;

/// Which of the two matrices is stored transposed. The result is always `[m, n]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// `a [m, k]`, `b [k, n]`
    NN,
    /// `a [m, k]`, `b [n, k]`
    NT,
    /// `a [k, m]`, `b [k, n]`
    TN,
}

/// `out[m, n] = epilogue(sum over k of a * b)`
#[derive(Clone, Copy, Debug)]
pub struct MatMul {
    pub layout: Layout,
    pub epilogue: Epilogue,
    /// Whether a tensor of the output's shape, the input after the bias, is added after the bias; not together with
    /// normalisation.
    pub addend: bool,
    /// Whether every step changes `b`: a hint for the CPU.
    pub changing: bool,
    /// In how many parts, one after another, the columns of `a` lie on the CPU. Each part has all rows.
    pub(crate) parts: usize,
}

/// The sizes of a product.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl MatMul {
    pub const fn new(layout: Layout) -> MatMul {
        MatMul { layout, epilogue: Epilogue::NONE, addend: false, changing: false, parts: 1 }
    }

    fn sizes(&self, a: &[usize], b: &[usize]) -> Result<Sizes, String> {
        let ([a0, a1], [b0, b1]) = (pair(a)?, pair(b)?);
        let (m, k, inner, n) = match self.layout {
            Layout::NN => (a0, a1, b0, b1),
            Layout::NT => (a0, a1, b1, b0),
            Layout::TN => (a1, a0, b0, b1),
        };
        if k != inner {
            return Err(format!("the inner sizes differ: {k} and {inner}"));
        }
        if m * n * k == 0 { Err("a matrix is empty".into()) } else { Ok(Sizes { m, n, k }) }
    }
}

fn pair(dims: &[usize]) -> Result<[usize; 2], String> {
    dims.try_into().map_err(|_| "takes two matrices".into())
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        match self.layout {
            Layout::NN => "matmul.nn",
            Layout::NT => "matmul.nt",
            Layout::TN => "matmul.tn",
        }
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let (own, extra) = inputs.split_at(inputs.len().min(2));
        floats(inputs)?;
        let [a, b] = expect::<2>(own)?;
        let Sizes { m, n, .. } = self.sizes(a.dims(), b.dims())?;
        let out = Tensor::f32([m, n]);
        let mut extra = extra.to_vec();
        if self.addend {
            if self.epilogue.norm.is_some() {
                return Err("adds a tensor or normalises, not both".into());
            }
            let at = usize::from(self.epilogue.bias);
            if extra.get(at).is_none_or(|addend| addend.len() != out.len()) {
                return Err(format!("what is added should have {} elements", out.len()));
            }
            extra.remove(at);
        }
        self.epilogue.check(&extra, &out.shape)?;
        Ok(out)
    }
    fn grad(&self, graph: &mut Graph, node: &Backward) -> Derivatives {
        if self.epilogue != Epilogue::NONE || self.addend {
            return Ok(vec![None; node.inputs.len()]);
        }
        let (a, b, d_out) = (node.inputs[0], node.inputs[1], node.d_out);
        let (d_a, d_b) = match self.layout {
            Layout::NN => ((Layout::NT, d_out, b), (Layout::TN, a, d_out)),
            Layout::NT => ((Layout::NN, d_out, b), (Layout::TN, d_out, a)),
            Layout::TN => ((Layout::NT, b, d_out), (Layout::NN, a, d_out)),
        };
        let mut product = |wanted: bool, (layout, x, y): (Layout, Value, Value)| -> Result<Option<Value>, GraphError> {
            if wanted { graph.apply(MatMul::new(layout), &[x, y]).map(Some) } else { Ok(None) }
        };
        Ok(vec![product(node.wanted[0], d_a)?, product(node.wanted[1], d_b)?])
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (a, b) = (&inputs[0], &inputs[1]);
        let Ok(Sizes { m, n, k }) = self.sizes(a.dims(), b.dims()) else { return false };
        for row in 0..m {
            for column in 0..n {
                let product = |i: usize| match self.layout {
                    Layout::NN => a.data[row * k + i] * b.data[i * n + column],
                    Layout::NT => a.data[row * k + i] * b.data[column * k + i],
                    Layout::TN => a.data[i * m + row] * b.data[i * n + column],
                };
                out.data[row * n + column] = (0..k).map(product).sum();
            }
        }
        let mut extra = inputs[2..].to_vec();
        if self.addend {
            // Before the bias: the sum is the same.
            let addend = extra.remove(usize::from(self.epilogue.bias));
            out.data.iter_mut().zip(&addend.data).for_each(|(out, addend)| *out += addend);
        }
        self.epilogue.exact(out, &extra);
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (a, b) = (&inputs[0], &inputs[1]);
        let sizes = self.sizes(a.dims(), b.dims()).expect("the shape rule has accepted these");
        let mut product = |end: &Ready| cpu::product(self, sizes, [a.data, b.data], outputs[0].data, end);
        if !self.addend {
            return product(&self.epilogue.with(&inputs[2..]));
        }
        let (first, rest) = inputs[2..].split_at(usize::from(self.epilogue.bias));
        product(&Epilogue { bias: self.epilogue.bias, ..Epilogue::NONE }.with(first));
        let (addend, extra) = (rest[0].data, &rest[1..]);
        let then = Epilogue { bias: false, ..self.epilogue }.with(extra);
        parallel_rows(outputs[0].data, sizes.n, sizes.n, |row, out| {
            out.iter_mut().zip(&addend[row * sizes.n..]).for_each(|(out, addend)| *out += addend);
            then.apply(out, row * sizes.n, sizes.n);
        });
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], target: Target) -> Kernel {
        assert_eq!(self.parts, 1, "only the CPU takes a matrix in parts");
        let sizes = self.sizes(inputs[0].dims(), inputs[1].dims()).expect("the shape rule has accepted these");
        kernel(self, sizes, target)
    }
    fn flops(&self, inputs: &[Tensor], outputs: &[Tensor]) -> u64 {
        let k = inputs[0].len() / outputs[0].dims()[0].max(1);
        2 * outputs[0].len() as u64 * k as u64
    }
    fn with_epilogue(&self, epilogue: Epilogue) -> Option<Arc<dyn Op>> {
        // It goes after the addend, whose input follows the bias's: no room for a further step per channel.
        let per_channel = epilogue.bias || epilogue.norm.is_some();
        let epilogue = self.epilogue.then(epilogue).filter(|_| !(self.addend && per_channel))?;
        Some(Arc::new(MatMul { epilogue, ..*self }))
    }
    fn with_changing(&self, input: usize) -> Option<Arc<dyn Op>> {
        (input == 1).then(|| Arc::new(MatMul { changing: true, ..*self }) as Arc<dyn Op>)
    }
    fn taking_parts(&self, inputs: &[Tensor], parts: usize) -> Option<Arc<dyn Op>> {
        let Sizes { m, k, .. } = self.sizes(inputs.first()?.dims(), inputs.get(1)?.dims()).ok()?;
        let fits = match self.layout {
            // Where threads share the result by rows, they want whole rows of `a`.
            Layout::NN => self.changing && k.is_multiple_of(parts) && parts == parts_of(k),
            Layout::TN => m.is_multiple_of(parts) && m / parts >= MOST_PIXELS,
            Layout::NT => false,
        };
        fits.then(|| Arc::new(MatMul { parts, ..*self }) as Arc<dyn Op>)
    }
    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        let Epilogue { norm, act, act_grad, .. } = self.epilogue;
        let free = !self.addend && norm.is_none() && act.is_none() && act_grad.is_none();
        free.then(|| Arc::new(MatMul { addend: true, ..*self }) as Arc<dyn Op>)
    }
}

/// Below this many invocations, tiles have four rows instead of eight: a GPU wants more invocations.
const FEW: usize = 1 << 13;
/// Terms of a sum that are worth an invocation of their own.
const TERMS: usize = 16;

/// The fewest tiles that a workgroup has side by side, however many invocations share their sums: what neighbouring
/// invocations load of b is then contiguous, 64 bytes of a row. With one tile's columns alone, each invocation would
/// load a cache line of its own for 16 bytes.
const SIDE_BY_SIDE: usize = 4;

/// The fewest invocations that share the sums of a tile in nt, where rows of both matrices lie along the sums: they read
/// 64 bytes of a row together. Alone, an invocation would load a cache line of each row for 16 bytes.
const ALONG: usize = 4;

/// How many invocations, a power of two, share the sums of each tile; a workgroup has some tiles side by side. An
/// invocation holds a whole tile, so it counts for four. A driver that runs on the CPU is busy with one tile, but leaves
/// loops that are too long.
fn split(layout: Layout, tiles: usize, side_by_side: usize, k: usize, target: Target) -> usize {
    let least = match layout {
        _ if target.is_software() => k.div_ceil(MOST_ROUNDS),
        Layout::NT => ALONG,
        Layout::NN | Layout::TN => 1,
    };
    let wanted = (target.busy / 4 / tiles.max(1)).max(least);
    wanted.min(k / TERMS).clamp(1, MOST_INVOCATIONS / side_by_side).next_power_of_two()
}

fn kernel(op: &MatMul, Sizes { m, n, k }: Sizes, target: Target) -> Kernel {
    let MatMul { layout, epilogue, addend, .. } = *op;
    let entry = match layout {
        Layout::NN => "nn",
        Layout::NT => "nt",
        Layout::TN => "tn",
    };
    if let Some(kernel) = subgroup::kernel(op, entry, [m, n, k], target.subgroup) {
        return kernel;
    }
    let columns = n.div_ceil(4);
    let row_groups = if m.div_ceil(8) * columns < FEW { 1usize } else { 2 };
    // A workgroup is as wide as the result: where it is one tile high, all its invocations read the same rows of a from
    // the same address, which is fast on every kind of device.
    let tiles = m.div_ceil(4 * row_groups) * columns;
    let split = split(layout, tiles, columns.next_power_of_two().min(SIDE_BY_SIDE), k, target);
    let (width, height) = if split > 1 {
        let width = columns.next_power_of_two().min(MOST_INVOCATIONS / split).min(8);
        (width, 1)
    } else {
        let width = columns.next_power_of_two().min(32);
        (width, if width >= 32 { 1 } else { 64 / width })
    };
    let column_groups = columns.div_ceil(width);
    let row_tiles = m.div_ceil(4 * row_groups * height);
    // Along which axis each matrix is read in vectors.
    let (a_inner, b_inner) = match layout {
        Layout::NN => (k, n),
        Layout::NT => (k, k),
        Layout::TN => (m, n),
    };
    // nn takes four k at once if a is read in vectors, nt only where both are.
    let vector_a = a_inner.is_multiple_of(4);
    let kernel = Kernel::groups("matmul", entry, row_tiles * column_groups)
        .with("M", m)
        .with("N", n)
        .with("K", k)
        .with("ROW_GROUPS", row_groups)
        .with("WIDTH", width)
        .with("HEIGHT", height)
        .with("ROW_TILES", row_tiles)
        .with("SPLIT", split)
        .with("DIVIDED", split > 1)
        .with("VECTOR_A", vector_a)
        .with("VECTOR_B", b_inner.is_multiple_of(4))
        .with("VECTOR_OUT", n.is_multiple_of(4))
        .with("HAS_ADDEND", addend)
        .rounds(k.div_ceil(split));
    epilogue.constants(kernel)
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let bias = Epilogue { bias: true, ..Epilogue::NONE };
    let epilogues = [
        Epilogue::NONE,
        Epilogue { act: Some(Act::Relu), ..bias },
        Epilogue { act_grad: Some(Act::Leaky(0.2)), ..Epilogue::NONE },
        Epilogue { act_grad: Some(Act::Tanh), ..bias },
    ];
    let norm = Epilogue { norm: Some(1e-3), act: Some(Act::Relu), ..Epilogue::NONE };
    let shapes = [
        (1, 1, 1),
        (3, 5, 7),
        (17, 4, 13),
        (8, 8, 4),
        (33, 64, 12),
        (65, 31, 40),
        (130, 36, 9),
        (1030, 72, 20),
        (5, 10, 1037),
        (31, 33, 640),
    ];
    for layout in [Layout::NN, Layout::NT, Layout::TN] {
        let operands = |m, n, k| match layout {
            Layout::NN => ([m, k], [k, n]),
            Layout::NT => ([m, k], [n, k]),
            Layout::TN => ([k, m], [k, n]),
        };
        for (i, (m, n, k)) in shapes.into_iter().enumerate() {
            let (a, b) = operands(m, n, k);
            // Each shape plain, with one of the epilogues, and with normalisation.
            for epilogue in [Epilogue::NONE, epilogues[1 + i % 3], [norm, Epilogue { bias: true, ..norm }][i % 2]] {
                let op = Arc::new(MatMul { epilogue, ..MatMul::new(layout) });
                let name = format!("{m}x{n}x{k} {}", describe(epilogue));
                let case =
                    Case::new(name, op).input(Tensor::f32(a), Fill::Uniform).input(Tensor::f32(b), Fill::Uniform);
                let is_plain = epilogue == Epilogue::NONE;
                cases.push(if is_plain { case } else { case.of_epilogue(epilogue, &Tensor::f32([m, n])) });
            }
            let epilogue = [Epilogue::NONE, bias, epilogues[2], epilogues[3]][i % 4];
            let op = Arc::new(MatMul { epilogue, addend: true, ..MatMul::new(layout) });
            let case = Case::new(format!("{m}x{n}x{k} with an addend {}", describe(epilogue)), op).no_derivative();
            let mut case = case.input(Tensor::f32(a), Fill::Uniform).input(Tensor::f32(b), Fill::Uniform);
            if epilogue.bias {
                case = case.input(Tensor::f32([n]), Fill::Uniform);
            }
            case = case.input(Tensor::f32([m, n]), Fill::Uniform);
            if epilogue.act_grad.is_some() {
                case = case.input(Tensor::f32([m, n]), Fill::AwayFromZero);
            }
            cases.push(case);
        }
        // Large enough for a GPU's invocation to take eight rows.
        let (a, b) = operands(729, 361, 5);
        let case = Case::new("729x361x5 plain", Arc::new(MatMul::new(layout))).no_derivative();
        cases.push(case.input(Tensor::f32(a), Fill::Uniform).input(Tensor::f32(b), Fill::Uniform));
    }
    cases
}

fn describe(epilogue: Epilogue) -> String {
    if epilogue == Epilogue::NONE { "plain".into() } else { format!("{epilogue:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_invocation_goes_through_a_loop_more_often_than_drivers_on_the_cpu_let_it() {
        for subgroup in [0, 4, 8] {
            let target = Target { subgroup, ..Target::SOFTWARE };
            for k in [60_001, 66_001, 195_075, 270_000, 1_000_003] {
                for layout in [Layout::NN, Layout::NT, Layout::TN] {
                    for [m, n] in [[1, 1], [3, 10], [128, 64], [1000, 130]] {
                        let kernel = kernel(&MatMul::new(layout), Sizes { m, n, k }, target);
                        assert!(
                            (1..=MOST_ROUNDS).contains(&kernel.rounds),
                            "{layout:?} {m}x{n}x{k}: {}",
                            kernel.rounds
                        );
                    }
                }
            }
        }
    }
}
