//! The product on the CPU: tiles of the result stay in registers while their sums run.
//!
//! One broadcast of a number of `a` serves all vectors of a tile, one load of `b` serves all its rows. `b` is read as
//! it lies where its rows are whole tiles wide, and is packed into panels of that width otherwise; `a` is read as it
//! lies in either layout.

use pulp::{Simd, WithSimd};

use super::{Layout, Sizes};
use crate::ops::tile::{MOST_PIXELS, store, vectors, width, with_tile};
use crate::ops::{Epilogue, In};
use crate::parallel::{each, scratch, threads, vectorized};

/// Multiply-adds from which a second thread is worth its start.
const PARALLEL: usize = 1 << 18;
/// And from which it is worth more blocks than threads.
const LONG: usize = 1 << 24;
/// Terms that are summed before the next column of tiles: so many rows of a panel stay in the second-level cache.
const TERMS: usize = 1024;

/// Terms that are packed at a time.
const BAND: usize = 64;

/// `out = epilogue(a * b)`. The order of a sum depends on `k` alone, so that a row has the same result alone as among
/// others.
pub fn product(layout: Layout, sizes: Sizes, [a, b]: [&[f32]; 2], out: &mut [f32], epilogue: Epilogue, extra: &[In]) {
    let Sizes { m, n, k } = sizes;
    let width = width(n);
    let parallel = m * n * k >= PARALLEL && threads() > 1;
    let lies_well = layout != Layout::NT && n.is_multiple_of(width);
    let packed = if lies_well { 0 } else { n.next_multiple_of(width) * k };
    // A tile down needs as many rows.
    let few = layout == Layout::TN && m < MOST_PIXELS;
    scratch(packed + if few { m * k } else { 0 }, |memory| {
        let (panels, turned) = memory.split_at_mut(packed);
        let (layout, a) = if few {
            let rows = turned.chunks_exact_mut(k).enumerate();
            rows.for_each(|(i, row)| row.iter_mut().enumerate().for_each(|(j, to)| *to = a[j * m + i]));
            (Layout::NN, &*turned)
        } else {
            (layout, a)
        };
        let b = if lies_well {
            Panels { words: b, block: width, row: n }
        } else {
            let pack = |(block, panel): (usize, &mut [f32])| pack(layout, sizes, b, block * width, width, panel);
            if parallel {
                each(panels.chunks_mut(width * k).enumerate(), pack);
            } else {
                panels.chunks_mut(width * k).enumerate().for_each(pack);
            }
            Panels { words: panels, block: width * k, row: width }
        };
        let rows = |(first, out): (usize, &mut [f32])| {
            pulp::Arch::new().dispatch(Rows { layout, sizes, a, b, first, out });
            if epilogue != Epilogue::NONE {
                vectorized(
                    #[inline(always)]
                    || epilogue.apply(out, first * n, n, extra),
                );
            }
        };
        if parallel {
            // A few blocks a thread, so that a slower core does not hold up the rest; of a short product one.
            let blocks = if m * n * k < LONG { threads() } else { 4 * threads() };
            let block = m.div_ceil(blocks);
            each(out.chunks_mut(block * n).enumerate(), |(i, out)| rows((i * block, out)));
        } else {
            rows((0, out));
        }
    });
}

/// `b` as columns of tiles: words from one to the next, and from term to term of a sum.
#[derive(Clone, Copy)]
struct Panels<'a> {
    words: &'a [f32],
    block: usize,
    row: usize,
}

/// The columns of `b` from `first` on, `[k][width]`, filled up with zeros.
fn pack(layout: Layout, Sizes { n, k, .. }: Sizes, b: &[f32], first: usize, width: usize, panel: &mut [f32]) {
    let columns = (n - first).min(width);
    if layout == Layout::NT {
        // So many terms at a time that what they are written to stays in the first-level cache.
        for (terms, panel) in panel.chunks_mut(BAND * width).enumerate() {
            for (i, row) in b[first * k..].chunks_exact(k).take(columns).enumerate() {
                let row = &row[terms * BAND..][..panel.len() / width];
                row.iter().zip(panel[i..].iter_mut().step_by(width)).for_each(|(from, to)| *to = *from);
            }
            panel.chunks_exact_mut(width).for_each(|to| to[columns..].fill(0.0));
        }
    } else {
        for (j, to) in panel.chunks_exact_mut(width).enumerate() {
            let (to, rest) = to.split_at_mut(columns);
            to.copy_from_slice(&b[j * n + first..][..columns]);
            rest.fill(0.0);
        }
    }
}

/// Some rows of the result, from row `first` on.
struct Rows<'a> {
    layout: Layout,
    sizes: Sizes,
    a: &'a [f32],
    b: Panels<'a>,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = vectors(self.sizes.n, S::F32_LANES);
        // Two loops that share their sums would keep them in memory.
        if self.layout == Layout::TN {
            with_tile!(S, vectors, down, simd, self);
        } else {
            with_tile!(S, vectors, across, simd, self);
        }
    }
}

#[inline(always)]
fn down<S: Simd, const TILE: usize, const VECTORS: usize>(simd: S, task: Rows) {
    tiles::<S, TILE, VECTORS, true>(simd, task);
}

#[inline(always)]
fn across<S: Simd, const TILE: usize, const VECTORS: usize>(simd: S, task: Rows) {
    tiles::<S, TILE, VECTORS, false>(simd, task);
}

/// `DOWN`: the terms of a sum lie below each other in `a`, not side by side.
///
/// No way out of the innermost loop may be a panic, and the sums are touched by it alone, or they would be written to
/// memory with every term.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "a term is a place in several rows")]
fn tiles<S: Simd, const TILE: usize, const VECTORS: usize, const DOWN: bool>(simd: S, task: Rows) {
    let Sizes { m, n, k } = task.sizes;
    let width = VECTORS * S::F32_LANES;
    let step = task.b.row / S::F32_LANES;
    let count = task.out.len() / n;
    for term in (0..k).step_by(TERMS) {
        let terms = (k - term).min(TERMS);
        for block in 0..n.div_ceil(width) {
            let b = S::as_simd_f32s(&task.b.words[block * task.b.block + term * task.b.row..]).0;
            for start in (0..count).step_by(TILE) {
                let rows = (count - start).min(TILE);
                let first = task.first + start;
                // The last tile down sums rows before its own as well, the last one across its own last row again.
                let at = if DOWN { first.min(m - TILE) } else { first };
                let below = &task.a[if DOWN { term * m + at } else { 0 }..];
                let beside: [&[f32]; TILE] = std::array::from_fn(|i| {
                    if DOWN { &[][..] } else { &task.a[(first + i.min(rows - 1)) * k + term..][..terms] }
                });
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TILE];
                for j in 0..terms {
                    let Some(b) = b.get(j * step..).and_then(|b| b.first_chunk::<VECTORS>()) else { break };
                    if DOWN {
                        let Some(a) = below.get(j * m..).and_then(|a| a.first_chunk::<TILE>()) else { break };
                        for i in 0..TILE {
                            let x = simd.splat_f32s(a[i]);
                            for v in 0..VECTORS {
                                sums[i][v] = simd.mul_add_e_f32s(x, b[v], sums[i][v]);
                            }
                        }
                    } else {
                        for i in 0..TILE {
                            let x = simd.splat_f32s(beside[i][j]);
                            for v in 0..VECTORS {
                                sums[i][v] = simd.mul_add_e_f32s(x, b[v], sums[i][v]);
                            }
                        }
                    }
                }
                let columns = width.min(n - block * width);
                for i in 0..rows {
                    let row = &mut task.out[(start + i) * n + block * width..][..columns];
                    for (v, to) in row.chunks_mut(S::F32_LANES).enumerate() {
                        let mut sum = sums[first - at + i][v];
                        if term > 0 {
                            sum = simd.add_f32s(simd.partial_load_f32s(to), sum);
                        }
                        store::<S>(simd, to, sum);
                    }
                }
            }
        }
    }
}
