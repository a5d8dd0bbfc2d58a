//! How a matrix product is laid out on a driver that runs on the CPU: the constants of `shaders/matmul_subgroup.wgsl`.

use super::{Layout, MatMul};
use crate::ops::Kernel;
use crate::ops::kernel::MOST_ROUNDS;
use crate::ops::subgroup::{Channels, PRODUCTS, share};

/// Rows of the result that a lane holds.
const ROWS: usize = 24;

/// `None` where the result is narrower than a subgroup of this many lanes, or there is no subgroup.
pub fn kernel(op: &MatMul, entry: &'static str, [m, n, k]: [usize; 3], lanes: usize) -> Option<Kernel> {
    let MatMul { layout, epilogue, addend, .. } = *op;
    let channels = match layout {
        // Lanes read rows of b along k, so columns of the result are not adjacent.
        Layout::NT if Channels::of(n, lanes).is_some() => Channels::by(1, n, lanes),
        Layout::NT => return None,
        Layout::NN | Layout::TN => Channels::of(n, lanes)?,
    };
    // Four terms at once, where rows are read along k.
    let terms = if layout != Layout::TN && k.is_multiple_of(4) { 4 } else { 1 };
    let rounds = k / terms;
    if rounds > MOST_ROUNDS {
        // Invocations can share such sums in the other kernel.
        return None;
    }
    let rows = share(m, (PRODUCTS / (terms * channels.held())).min(ROWS));
    let row_tiles = m.div_ceil(rows);
    let kernel = channels
        .kernel("matmul_subgroup", entry, row_tiles)
        .with("M", m)
        .with("N", n)
        .with("K", k)
        .with("ROWS", rows)
        .with("ROW_TILES", row_tiles)
        .with("LOADS", rows.div_ceil(lanes))
        .with("TERMS", terms)
        .with("HAS_ADDEND", addend)
        .rounds(rounds);
    Some(epilogue.constants(kernel))
}
