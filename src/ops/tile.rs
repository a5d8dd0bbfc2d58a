//! Register tiles: how many results are summed at once, and how.

use pulp::{Simd, WithSimd};

struct Lanes;
impl WithSimd for Lanes {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Numbers in a vector of this processor.
pub fn lanes() -> usize {
    pulp::Arch::new().dispatch(Lanes)
}

/// Vectors of channels in a register tile: few enough that the rest of the registers hold pixels.
pub fn vectors(channels: usize, lanes: usize) -> usize {
    let needed = channels.div_ceil(lanes);
    // 16 registers with AVX2, 32 with AVX-512 and NEON.
    let most = if lanes == 8 { 2 } else { 4 };
    let tiles = needed.div_ceil(most);
    needed.div_ceil(tiles)
}

/// Words of channels in a register tile.
pub fn width(channels: usize) -> usize {
    let lanes = lanes();
    vectors(channels, lanes) * lanes
}

/// Numbers in the widest vector that there is.
pub const MOST_LANES: usize = 16;

/// The most pixels that [`with_tile`] takes at once.
pub const MOST_PIXELS: usize = 14;

/// Calls `$f::<S, TILE, VECTORS>` with the tile that fills the registers for this many vectors.
macro_rules! with_tile {
    ($s:ty, $vectors:expr, $f:ident, $($arg:expr),*) => {
        match (<$s>::F32_LANES == 8, $vectors) {
            (true, 1) => $f::<$s, 10, 1>($($arg),*),
            (true, _) => $f::<$s, 6, 2>($($arg),*),
            (false, 1) => $f::<$s, 14, 1>($($arg),*),
            (false, 2) => $f::<$s, 12, 2>($($arg),*),
            (false, 3) => $f::<$s, 8, 3>($($arg),*),
            (false, _) => $f::<$s, 6, 4>($($arg),*),
        }
    };
}
pub(crate) use with_tile;

struct Tile(usize);
impl WithSimd for Tile {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        with_tile!(S, vectors(self.0, S::F32_LANES), pixels, simd)
    }
}

fn pixels<S: Simd, const PIXELS: usize, const VECTORS: usize>(_: S) -> usize {
    PIXELS
}

/// Pixels, or rows, that [`with_tile`] takes at once for this many channels.
pub fn tile(channels: usize) -> usize {
    pulp::Arch::new().dispatch(Tile(channels))
}

/// The first vector of `from`.
#[inline(always)]
pub fn load<S: Simd>(from: &[f32]) -> S::f32s {
    S::as_simd_f32s(&from[..S::F32_LANES]).0[0]
}

/// Writes a vector, or as much of it as `to` has room for.
#[inline(always)]
pub fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s) {
    if to.len() >= S::F32_LANES {
        S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = value;
    } else {
        simd.partial_store_f32s(to, value);
    }
}

/// Writes the first `rows` of a tile, `channels` numbers of each, to their places, which lie one after another.
#[inline(always)]
pub fn store_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    out: &mut [f32],
    place: impl Fn(usize) -> usize,
    [rows, channels]: [usize; 2],
    tile: [[S::f32s; VECTORS]; ROWS],
) {
    let width = VECTORS * S::F32_LANES;
    let first = place(0);
    // No vector is indexed by a number that is unknown at compile time: for that, all of them would have to be in
    // memory.
    if rows == ROWS && channels == width && place(ROWS - 1) == first + (ROWS - 1) * width {
        let out = S::as_mut_simd_f32s(&mut out[first..][..ROWS * width]).0;
        for i in 0..ROWS * VECTORS {
            out[i] = tile[i / VECTORS][i % VECTORS];
        }
        return;
    }
    if channels == width {
        for at in 0..ROWS * VECTORS {
            let (i, v) = (at / VECTORS, at % VECTORS);
            if i < rows {
                store::<S>(simd, &mut out[place(i) + v * S::F32_LANES..][..S::F32_LANES], tile[i][v]);
            }
        }
        return;
    }
    for at in 0..ROWS * VECTORS {
        let (i, v) = (at / VECTORS, at % VECTORS);
        let (begin, end) = (v * S::F32_LANES, channels.min((v + 1) * S::F32_LANES));
        if i < rows && begin < end {
            store::<S>(simd, &mut out[place(i)..][begin..end], tile[i][v]);
        }
    }
}
