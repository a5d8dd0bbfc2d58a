//! Other programs' padding, any number of rows on each side, in this program's terms.
//!
//! Where no term fits, the kernel gets rows of zeros, which do not change the result: a row at its beginning reads one
//! more row of padding before the image, a row at its end one more after it.

use crate::ops::conv2d::Padding;

/// One axis of a convolution or of a transposed one.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// The size of the image that the layer is given.
    pub size: usize,
    pub kernel: usize,
    /// Rows of padding before the image; for a transposed convolution, rows of the result that are cut off.
    pub before: usize,
    /// The size of the result.
    pub out: usize,
}

/// A padding, and the rows of zeros that the kernel gets before and after, for each axis.
pub type Fit = (Padding, [[usize; 2]; 2]);

/// The most that a kernel may grow on each side.
const MOST: usize = 8;

/// How to express a convolution with these axes, with the smallest possible kernel.
pub fn conv(axes: [Axis; 2], stride: usize) -> Option<Fit> {
    fit(axes, |padding, axis, kernel| padding.resolve(axis.size, kernel, stride))
}

/// The same for a transposed convolution.
pub fn transposed(axes: [Axis; 2], stride: usize) -> Option<Fit> {
    fit(axes, |padding, axis, kernel| padding.resolve_transposed(axis.size, kernel, stride))
}

fn fit(axes: [Axis; 2], resolve: impl Fn(Padding, &Axis, usize) -> Option<(usize, usize)>) -> Option<Fit> {
    let most = axes[0].before.max(axes[1].before).saturating_add(MOST).min(1 << 10);
    let words = [Padding::Valid, Padding::Same].into_iter().chain((1..=most).map(Padding::Explicit));
    let grown = |padding: Padding, axis: &Axis| {
        let sizes = (0..=2 * MOST).flat_map(|sum| (0..=sum.min(MOST)).map(move |after| [sum - after, after]));
        sizes.filter(|[before, _]| *before <= MOST).find(|[before, after]| {
            let kernel = axis.kernel + before + after;
            let leaves = !matches!(padding, Padding::Explicit(n) if n >= kernel);
            leaves && resolve(padding, axis, kernel) == Some((axis.out, axis.before + before))
        })
    };
    let area = |[rows, columns]: &[[usize; 2]; 2]| {
        (axes[0].kernel + rows[0] + rows[1]) * (axes[1].kernel + columns[0] + columns[1])
    };
    words
        .filter_map(|padding| Some((padding, [grown(padding, &axes[0])?, grown(padding, &axes[1])?])))
        .min_by_key(|(_, growth)| area(growth))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(size: usize, kernel: usize, before: usize, out: usize) -> [Axis; 2] {
        [Axis { size, kernel, before, out }; 2]
    }

    #[test]
    fn what_has_a_word_is_said_with_it() {
        assert_eq!(conv(square(28, 3, 0, 26), 1), Some((Padding::Valid, [[0, 0]; 2])));
        // An even kernel whose odd row of padding comes after, as in TensorFlow.
        assert_eq!(conv(square(28, 4, 1, 28), 1), Some((Padding::Same, [[0, 0]; 2])));
        // As in a residual network: none before, one after, stride 2.
        assert_eq!(conv(square(28, 3, 0, 14), 2), Some((Padding::Same, [[0, 0]; 2])));
        // PyTorch's padding of 1 with stride 2, which is not `same`.
        assert_eq!(conv(square(28, 3, 1, 14), 2), Some((Padding::Explicit(1), [[0, 0]; 2])));
        assert_eq!(transposed(square(7, 4, 1, 14), 2), Some((Padding::Same, [[0, 0]; 2])));
    }

    #[test]
    fn what_has_none_is_said_with_a_larger_kernel() {
        // Two rows before and none after: the kernel ends in zeros that read the rows after.
        assert_eq!(conv(square(10, 3, 2, 10), 1), Some((Padding::Same, [[0, 2]; 2])));
        assert_eq!(conv(square(10, 3, 2, 11), 1), Some((Padding::Explicit(2), [[0, 1]; 2])));
        // PyTorch's output_padding.
        assert_eq!(transposed(square(3, 3, 1, 6), 2), Some((Padding::Same, [[0, 1]; 2])));
        assert_eq!(conv(square(10, 3, 100, 100), 1), None);
    }
}
