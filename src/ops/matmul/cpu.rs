//! The matrix product on the CPU: tiles of the result stay in registers while their sums accumulate.
//!
//! One broadcast of an element of `a` serves all vectors of a tile, and one load of `b` serves all its rows. `b` is
//! read in place where its rows are one tile wide, and is packed into panels of that width otherwise; `a` is read in
//! place in either layout. Where a row of `b` is several tiles wide, the words that one tile reads are so far apart
//! that they share few sets of the first-level cache, and are evicted before the next tile down reads them again.
//!
//! How threads share a product depends on what each of them has in its own cache. Reading what another core has written
//! is cheap, since caches prefetch, but writing what another core has read means waiting for it line by line. So a
//! matrix that every step changes, such as a layer's weights, stays with the threads that change it. Each thread
//! computes the rows of the derivative ([`Layout::TN`]) that it will then update, and reads the same rows of the
//! weights, which are terms of the sums in [`Layout::NN`] and columns of the result in [`Layout::NT`].

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Layout, MatMul, Sizes};
use crate::ops::epilogue::Ready;
use crate::ops::tile::{MOST_PIXELS, store, tile, vectors, width, with_tile};
use crate::parallel::{Lent, each, scratch, shares_of_parts, threads, vectorized};

/// Multiply-adds from which it pays to start a second thread.
const PARALLEL: usize = 1 << 18;
/// Multiply-adds from which it pays to have more blocks than threads.
const LONG: usize = 1 << 24;
/// The most terms that are summed before their sum is added to those of other terms: this many rows of a panel stay in
/// the second-level cache, and parts of a long sum can be made separately.
const TERMS: usize = 512;

/// Terms that are packed at a time.
const BAND: usize = 64;
/// Rows of a result from which packing a matrix that could be read in place costs less than it saves.
const PACKED: usize = 64;

/// How many parts a sum of `k` terms has. The order of additions depends on `k` alone, so that a row gives the same
/// result alone or among others, and with any number of threads.
pub fn parts_of(k: usize) -> usize {
    k.div_ceil(TERMS).max(1)
}

/// What all shares of a product have in common.
#[derive(Clone, Copy)]
struct Task<'a> {
    layout: Layout,
    sizes: Sizes,
    a: &'a [f32],
    /// How many parts the columns of `a` are in, as in [`MatMul::parts`].
    parts: usize,
    b: &'a [f32],
    end: &'a Ready<'a>,
}

/// `out = end(a * b)`
pub fn product(op: &MatMul, sizes: Sizes, [a, b]: [&[f32]; 2], out: &mut [f32], end: &Ready) {
    let Sizes { m, n, k } = sizes;
    let task = Task { layout: op.layout, sizes, a, parts: op.parts, b, end };
    // A tile that reads `a` downwards needs this many rows.
    if op.layout == Layout::TN && m / op.parts < MOST_PIXELS {
        return scratch(m * k, |turned| {
            let rows = turned.chunks_exact_mut(k).enumerate();
            rows.for_each(|(i, row)| row.iter_mut().enumerate().for_each(|(j, to)| *to = a[j * m + i]));
            Task { layout: Layout::NN, a: turned, ..task }.by_rows(out);
        });
    }
    let parallel = m * n * k >= PARALLEL && threads() > 1;
    // Otherwise a wide matrix would be read again for every few rows.
    let wide = op.layout == Layout::NN && op.parts == 1 && m >= MOST_PIXELS && n >= 4 * threads() * width(n);
    if parallel && (wide || op.layout == Layout::NT && n >= threads() * width(n)) {
        task.by_columns(out);
    } else if parallel && op.layout == Layout::NN && op.changing && parts_of(k) > 1 {
        task.by_terms(out);
    } else {
        task.by_rows(out);
    }
}

/// Rows per share, for this many shares, or for half or a quarter as many: the last tile of each share may sum rows
/// that nobody needs.
fn rows_of_a_share(rows: usize, shares: usize, tile: usize) -> usize {
    let sizes = [1, 2, 4].map(|of| rows.div_ceil((shares / of).max(1)));
    let summed = |size: usize| rows / size * size.next_multiple_of(tile) + (rows % size).next_multiple_of(tile);
    let least = sizes.map(summed).into_iter().min().unwrap_or(0);
    sizes.into_iter().find(|size| summed(*size) <= least + least / 20).unwrap_or(rows)
}

impl Task<'_> {
    /// Shares to cut the product into: a few for each thread, so that a slower core does not hold up the rest; only one
    /// for a short product.
    fn shares(&self) -> usize {
        let Sizes { m, n, k } = self.sizes;
        match m * n * k {
            ..PARALLEL => 1,
            PARALLEL..LONG => threads(),
            _ => 4 * threads(),
        }
    }

    /// Each share takes some rows of the result and all of `b`.
    fn by_rows(&self, out: &mut [f32]) {
        let Sizes { m, n, k } = self.sizes;
        let shares = self.shares();
        let mut panels = Lent::new(self.packed());
        let b = self.panels(panels.f32s_mut(), shares > 1);
        // Where the columns of `a` are the rows of the result, a share has rows of one part of `a` only.
        let of_part = if self.layout == Layout::TN { m / self.parts } else { m };
        let at_a_time = rows_of_a_share(of_part, shares.div_ceil(m / of_part), tile(n));
        each(shares_of_parts(out, of_part * n, at_a_time * n).into_iter(), |(part, begin, out)| {
            let first = part * of_part + begin / n;
            let mut rows: Vec<&mut [f32]> = out.chunks_mut(n).collect();
            pulp::Arch::new().dispatch(Share { task: self, b, first, terms: 0..k, out: &mut rows });
            self.end.run(out, first * n, n);
        });
    }

    /// Each share takes some columns of the result, and so of `b`, which it packs itself.
    fn by_columns(&self, out: &mut [f32]) {
        let Sizes { m, n, k } = self.sizes;
        let width = width(n);
        let at_a_time = n.div_ceil(width).div_ceil(2 * self.shares()) * width;
        let mut shares: Vec<Vec<&mut [f32]>> = Vec::new();
        shares.resize_with(n.div_ceil(at_a_time), || Vec::with_capacity(m));
        for row in out.chunks_mut(n) {
            shares.iter_mut().zip(row.chunks_mut(at_a_time)).for_each(|(share, columns)| share.push(columns));
        }
        each(shares.into_iter().enumerate(), |(i, mut share)| {
            let first = i * at_a_time;
            scratch(width * k, |panel| {
                for start in (first..n.min(first + at_a_time)).step_by(width) {
                    self.pack(start / width, 0, panel);
                    let from = start - first;
                    let mut rows: Vec<&mut [f32]> = share
                        .iter_mut()
                        .map(|columns| {
                            let end = columns.len().min(from + width);
                            &mut columns[from..end]
                        })
                        .collect();
                    let b = Panels { words: panel, row: width, apart: false };
                    pulp::Arch::new().dispatch(Share { task: self, b, first: 0, terms: 0..k, out: &mut rows });
                }
            });
            let end = self.end.of_columns(first);
            for (row, columns) in share.into_iter().enumerate() {
                end.run(columns, row * n + first, columns.len());
            }
        });
    }

    /// Each share takes some terms of all sums, and so some rows of `b`; these partial sums are added afterwards.
    fn by_terms(&self, out: &mut [f32]) {
        let Sizes { m, n, k } = self.sizes;
        let parts = parts_of(k);
        let at_a_time = m.div_ceil(self.shares().div_ceil(parts));
        let mut panels = Lent::new(self.packed());
        let b = self.panels(panels.f32s_mut(), true);
        scratch(parts * m * n, |sums| {
            each(shares_of_parts(sums, m * n, at_a_time * n).into_iter(), |(part, begin, sums)| {
                let first = begin / n;
                let of_part = k.div_ceil(parts);
                let terms = part * of_part..k.min((part + 1) * of_part);
                let mut rows: Vec<&mut [f32]> = sums.chunks_mut(n).collect();
                pulp::Arch::new().dispatch(Share { task: self, b, first, terms, out: &mut rows });
            });
            let rows = m.div_ceil(threads());
            each(out.chunks_mut(rows * n).enumerate(), |(i, out)| {
                let first = i * rows * n;
                vectorized(
                    #[inline(always)]
                    || {
                        out.copy_from_slice(&sums[first..][..out.len()]);
                        for sums in sums.chunks_exact(m * n).skip(1) {
                            out.iter_mut().zip(&sums[first..]).for_each(|(out, sum)| *out += sum);
                        }
                    },
                );
                self.end.run(out, first, n);
            });
        });
    }

    /// Words that `b` is packed into, or 0 if it is read in place.
    fn packed(&self) -> usize {
        let Sizes { m, n, k } = self.sizes;
        let width = width(n);
        let lies_well = match self.layout {
            Layout::NN => n == width || n.is_multiple_of(width) && m < PACKED,
            Layout::TN => n == width,
            Layout::NT => false,
        };
        if lies_well { 0 } else { n.next_multiple_of(width) * k }
    }

    /// All of `b`, packed if there are [`Task::packed`] words of memory.
    fn panels<'b>(&'b self, memory: &'b mut [f32], parallel: bool) -> Panels<'b> {
        let Sizes { n, k, .. } = self.sizes;
        let width = width(n);
        if memory.is_empty() {
            return Panels { words: self.b, row: n, apart: n > width };
        }
        let (row, of_part) = (n.next_multiple_of(width), k.div_ceil(parts_of(k)));
        // The thread that sums a part's terms also packs them, where threads share a product in that way.
        let parts = memory.chunks_mut(of_part * row).enumerate();
        let pieces = parts.flat_map(|(part, panels)| {
            let terms = panels.len() / row;
            panels.chunks_mut(terms * width).enumerate().map(move |(block, panel)| (block, part * of_part, panel))
        });
        let pack = |(block, term, panel)| self.pack(block, term, panel);
        if parallel {
            each(pieces.collect::<Vec<_>>().into_iter(), pack);
        } else {
            pieces.for_each(pack);
        }
        Panels { words: memory, row, apart: false }
    }

    /// Packs the columns of a block of `b` from a term on, `[terms][width]`, padded with zeros.
    fn pack(&self, block: usize, term: usize, panel: &mut [f32]) {
        let Sizes { n, k, .. } = self.sizes;
        let (layout, b, width) = (self.layout, self.b, width(n));
        let first = block * width;
        let columns = (n - first).min(width);
        if layout == Layout::NT {
            // Few enough terms at a time that what they are written to stays in the first-level cache.
            for (terms, panel) in panel.chunks_mut(BAND * width).enumerate() {
                for (i, row) in b[first * k..].chunks_exact(k).take(columns).enumerate() {
                    let row = &row[term + terms * BAND..][..panel.len() / width];
                    row.iter().zip(panel[i..].iter_mut().step_by(width)).for_each(|(from, to)| *to = *from);
                }
                if columns < width {
                    panel.chunks_exact_mut(width).for_each(|to| to[columns..].fill(0.0));
                }
            }
        } else {
            for (j, to) in panel.chunks_exact_mut(width).enumerate() {
                let (to, rest) = to.split_at_mut(columns);
                to.copy_from_slice(&b[(term + j) * n + first..][..columns]);
                rest.fill(0.0);
            }
        }
    }
}

/// `b` in blocks of columns as wide as a tile, with blocks of its own for each part of a sum:
/// `[part][block][term][width]`.
#[derive(Clone, Copy)]
struct Panels<'a> {
    words: &'a [f32],
    /// Words of one term over all blocks.
    row: usize,
    /// Whether `b` is read in place instead, in rows that are several blocks wide.
    apart: bool,
}

/// Some rows of the result, from row `first` on, in the columns that `b` has, summed over some of the terms.
struct Share<'a, 'b> {
    task: &'a Task<'a>,
    b: Panels<'a>,
    first: usize,
    terms: Range<usize>,
    out: &'a mut [&'b mut [f32]],
}

impl WithSimd for Share<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = vectors(self.task.sizes.n, S::F32_LANES);
        // Separate functions, since loops that share their sums would keep them in memory.
        match (self.task.layout, self.b.apart) {
            (Layout::TN, _) => with_tile!(S, vectors, down, simd, self),
            (_, false) => with_tile!(S, vectors, across, simd, self),
            (_, true) => with_tile!(S, vectors, across_apart, simd, self),
        }
    }
}

#[inline(always)]
fn down<S: Simd, const TILE: usize, const VECTORS: usize>(simd: S, share: Share) {
    tiles::<S, TILE, VECTORS, true, false>(simd, share);
}

#[inline(always)]
fn across<S: Simd, const TILE: usize, const VECTORS: usize>(simd: S, share: Share) {
    tiles::<S, TILE, VECTORS, false, false>(simd, share);
}

#[inline(always)]
fn across_apart<S: Simd, const TILE: usize, const VECTORS: usize>(simd: S, share: Share) {
    tiles::<S, TILE, VECTORS, false, true>(simd, share);
}

/// `DOWN`: the terms of a sum are in a column of `a`, not in a row. `APART`: as [`Panels::apart`].
///
/// No exit from the innermost loop may be a panic, and no other code may touch the sums; otherwise they would be
/// written to memory with every term.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "a term is a place in several rows")]
fn tiles<S: Simd, const TILE: usize, const VECTORS: usize, const DOWN: bool, const APART: bool>(simd: S, share: Share) {
    let Share { task, b: panels, terms, out, .. } = share;
    let Sizes { m, k, .. } = task.sizes;
    let width = VECTORS * S::F32_LANES;
    let (count, columns) = (out.len(), out.first().map_or(0, |row| row.len()));
    let of_part = k.div_ceil(parts_of(k));
    // Words from row to row of `a`, and where the part begins that this share's rows are in, or its first terms.
    let (row, rows_begin) = match (DOWN, task.parts) {
        (true, parts) => (m / parts, share.first / (m / parts) * (m / parts)),
        (false, 1) => (k, 0),
        (false, _) => (of_part, 0),
    };
    // The distance from term to term of `b`.
    let step = if APART { panels.row / width } else { 1 };
    for term in terms.clone().step_by(of_part) {
        let count_of_terms = (terms.end - term).min(of_part);
        for block in 0..columns.div_ceil(width) {
            let from = term * panels.row + block * width * if APART { 1 } else { count_of_terms };
            let b = S::as_simd_f32s(&panels.words[from..]).0.as_chunks::<VECTORS>().0;
            // Tells the compiler that the loop goes through all of it.
            let b = if APART { b } else { &b[..count_of_terms] };
            for start in (0..count).step_by(TILE) {
                let rows = (count - start).min(TILE);
                let first = share.first + start;
                // The last tile sums rows before its own as well if `DOWN`, and its own last row again if not.
                let at = if DOWN { first.min(rows_begin + row - TILE) } else { first };
                let below = &task.a[if DOWN { rows_begin * k + term * row + at - rows_begin } else { 0 }..];
                let begin = if task.parts > 1 { term * m } else { term };
                let beside: [&[f32]; TILE] = std::array::from_fn(|i| {
                    if DOWN { &[][..] } else { &task.a[begin + (first + i.min(rows - 1)) * row..][..count_of_terms] }
                });
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TILE];
                'terms: for j in 0..count_of_terms {
                    let Some(b) = b.get(j * step) else { break };
                    if DOWN {
                        let Some(a) = below.get(j * row..).and_then(|a| a.first_chunk::<TILE>()) else { break };
                        for i in 0..TILE {
                            let x = simd.splat_f32s(a[i]);
                            for v in 0..VECTORS {
                                sums[i][v] = simd.mul_add_e_f32s(x, b[v], sums[i][v]);
                            }
                        }
                    } else {
                        for i in 0..TILE {
                            let Some(x) = beside[i].get(j) else { break 'terms };
                            let x = simd.splat_f32s(*x);
                            for v in 0..VECTORS {
                                sums[i][v] = simd.mul_add_e_f32s(x, b[v], sums[i][v]);
                            }
                        }
                    }
                }
                let columns = width.min(columns - block * width);
                for i in 0..rows {
                    let row = &mut out[start + i][block * width..][..columns];
                    for (v, to) in row.chunks_mut(S::F32_LANES).enumerate() {
                        let mut sum = sums[first - at + i][v];
                        if term > terms.start {
                            sum = simd.add_f32s(simd.partial_load_f32s(to), sum);
                        }
                        store::<S>(simd, to, sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::activation::Act;
    use crate::ops::{Epilogue, In};
    use crate::tensor::Shape;

    fn numbers(count: usize, stream: u32) -> Vec<f32> {
        let draw = |i: usize| crate::ops::random::unit(crate::ops::random::bits([3, 1], stream, i as u32)) - 0.5;
        (0..count).map(draw).collect()
    }

    /// The columns of a matrix `[rows, columns]` in this many parts, one after another.
    fn in_parts(x: &[f32], columns: usize, parts: usize) -> Vec<f32> {
        let of_part = columns / parts;
        (0..parts)
            .flat_map(|part| x.chunks(columns).flat_map(move |row| &row[part * of_part..][..of_part]))
            .copied()
            .collect()
    }

    #[test]
    fn a_product_has_the_same_bits_however_threads_share_it_and_however_its_columns_lie() {
        // Long, short, narrow, wide, one row; sums of one part and of several, where the last part may be shorter.
        let sizes = [[128, 64, 784], [60, 300, 1300], [1, 64, 3136], [300, 10, 1025], [64, 2048, 40], [784, 64, 128]];
        for ([m, n, k], layout) in sizes.into_iter().flat_map(|s| [Layout::NN, Layout::NT, Layout::TN].map(|l| (s, l)))
        {
            let (a, b) = (numbers(m * k, 0), numbers(k * n, 1));
            let shape = Shape::new([m, n]);
            let extra = [numbers(n, 2), numbers(2 * n, 4), numbers(2 * n, 5), numbers(m * n, 3)];
            let extra = extra.each_ref().map(|data| In { data, shape: &shape });
            let act = Some(Act::Relu);
            let end = Epilogue { bias: true, norm: Some(1.0), act, act_grad: act }.with(&extra);
            let run = |threads: usize, changing: bool, parts: usize| {
                let columns = if layout == Layout::TN { m } else { k };
                let a = if parts > 1 { in_parts(&a, columns, parts) } else { a.clone() };
                let op = MatMul { changing, parts, ..MatMul::new(layout) };
                let mut out = vec![f32::NAN; m * n];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| product(&op, Sizes { m, n, k }, [&a, &b], &mut out, &end));
                out.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            };
            let alone = run(1, false, 1);
            let parts = match layout {
                Layout::NN if k.is_multiple_of(parts_of(k)) => parts_of(k),
                Layout::TN if m.is_multiple_of(2) && m >= 2 * MOST_PIXELS => 2,
                _ => 1,
            };
            for threads in [1, 2, 3, 8] {
                for (changing, parts) in [(false, 1), (true, 1), (false, parts), (true, parts)] {
                    let found = run(threads, changing, parts);
                    assert!(found == alone, "{layout:?} {m} {n} {k}: {threads} threads, {changing}, {parts} parts");
                }
            }
        }
    }
}
