//! How a kernel lies on an image: how far it reaches over the edge, and all sizes of a convolution.

/// How far a kernel may reach over an image's edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Padding {
    /// Not at all.
    Valid,
    /// So far that the result has `ceil(size / stride)` rows; an odd row or column of padding goes at the end, as in
    /// TensorFlow.
    Same,
    /// By this many rows and columns on every side.
    Explicit(usize),
}

impl Padding {
    /// The result's size and the rows of padding before the image, for an image of `size` rows and a kernel of `r`.
    pub(crate) fn resolve(self, size: usize, r: usize, stride: usize) -> Option<(usize, usize)> {
        let fitted = |before: usize| ((size + 2 * before).checked_sub(r)? / stride).checked_add(1).map(|p| (p, before));
        match self {
            Padding::Valid => fitted(0),
            Padding::Explicit(before) => fitted(before),
            Padding::Same => {
                let p = size.div_ceil(stride);
                Some((p, ((p - 1) * stride + r).saturating_sub(size) / 2))
            }
        }
    }

    /// The same for a transposed convolution: the size of its result, and how many rows are cut off before it.
    pub(crate) fn resolve_transposed(self, p: usize, r: usize, stride: usize) -> Option<(usize, usize)> {
        let full = (p.checked_sub(1)? * stride).checked_add(r)?;
        match self {
            Padding::Same => Some((p * stride, r.saturating_sub(stride) / 2)),
            Padding::Valid => Some((full, 0)),
            Padding::Explicit(cut) => Some((full.checked_sub(2 * cut).filter(|size| *size > 0)?, cut)),
        }
    }
}

/// All sizes of a convolution from `[n, h, w, c]` to `[n, p, q, k]`: output row `i` reads input rows
/// `i * stride - top ..`, and what lies outside the image is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Geometry {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub k: usize,
    pub r: usize,
    pub s: usize,
    pub p: usize,
    pub q: usize,
    pub stride: usize,
    pub pad_top: usize,
    pub pad_left: usize,
}

impl Geometry {
    /// `reach`: stride, rows of padding above, columns of padding to the left.
    pub(super) fn new(
        [n, h, w, c]: [usize; 4],
        [r, s]: [usize; 2],
        [p, q, k]: [usize; 3],
        reach: [usize; 3],
    ) -> Geometry {
        let [stride, pad_top, pad_left] = reach;
        Geometry { n, h, w, c, k, r, s, p, q, stride, pad_top, pad_left }
    }
    /// Whether any tap of any output pixel falls outside the image.
    pub fn padded(&self) -> bool {
        self.pad_top > 0
            || self.pad_left > 0
            || (self.p - 1) * self.stride + self.r > self.h
            || (self.q - 1) * self.stride + self.s > self.w
    }
    pub(super) fn flops(&self) -> u64 {
        2 * [self.n, self.p, self.q, self.k, self.r, self.s, self.c].iter().map(|x| *x as u64).product::<u64>()
    }
}
