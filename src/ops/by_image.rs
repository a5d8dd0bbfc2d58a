//! Ops that work on one image of a batch after another.

use std::ops::Range;

use super::Epilogue;
use crate::tensor::Tensor;

/// Which images a share of an op's output is made of. The output is the same however the batch is cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByImage {
    /// Images in the batch: the outermost size of every input that is cut.
    pub images: usize,
    /// Images that make one row of the output: more than one in sums over parts of a batch.
    pub together: usize,
    /// For each input, whether it is cut like the output; otherwise every image needs all of it.
    pub cut: Vec<bool>,
}

impl ByImage {
    /// Each image of `x [n, .., c]` by itself; the other inputs are for all images. A tensor of one axis has no images:
    /// it is one number for each channel.
    pub fn of(x: &Tensor, inputs: usize) -> Option<ByImage> {
        let [images, .., _] = *x.dims() else { return None };
        let mut cut = vec![false; inputs];
        *cut.first_mut()? = true;
        Some(ByImage { images, together: 1, cut })
    }

    /// Where all inputs are cut.
    pub fn all(inputs: &[Tensor]) -> Option<ByImage> {
        let images = *inputs.first()?.dims().first()?;
        Some(ByImage { images, together: 1, cut: vec![true; inputs.len()] })
    }

    /// With an epilogue's inputs after the op's own.
    pub fn with(mut self, epilogue: Epilogue) -> ByImage {
        self.cut.extend(epilogue.cut());
        self
    }

    /// Sums over parts of this many rows of `x [n, h, w, c]`, if no part holds a piece of an image and more.
    pub fn parts(mut self, x: &Tensor, rows_per_part: usize) -> Option<ByImage> {
        let pixels = x.shape.rows() / self.images;
        if rows_per_part.is_multiple_of(pixels) {
            self.together = rows_per_part / pixels;
        } else if !pixels.is_multiple_of(rows_per_part) {
            return None;
        }
        Some(self)
    }
}

/// Cuts `len` elements, the first of which is element `first` of all, where one group of `of_group` elements ends and
/// the next begins. Gives each group's number, and where its piece lies among the `len`.
pub fn pieces(first: usize, len: usize, of_group: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let of_group = of_group.max(1);
    let end = first + len;
    (first / of_group..end.div_ceil(of_group)).map(move |group| {
        let start = (group * of_group).max(first);
        (group, start - first..((group + 1) * of_group).min(end) - first)
    })
}

/// The most images that one part of a sum holds, unless that makes too many parts: fewer images fit a cache.
const TOGETHER: usize = 4;

/// Rows of `x [.., c]` that a part of a sum should take, about `about` in at most `most` parts. With images, a part
/// takes several of them, or an even share of one.
pub fn rows_per_part(x: &Tensor, about: usize, most: usize) -> usize {
    let rows = x.shape.rows().max(1);
    let plain = rows.div_ceil(most).max(about).min(rows);
    let &[n, h, w, _] = x.dims() else { return plain };
    let pixels = h * w;
    let aligned = if pixels == 0 || n == 0 {
        return plain;
    } else if pixels <= about {
        pixels << (about / pixels).min(TOGETHER).ilog2()
    } else {
        (1..=about).rev().find(|rows| pixels.is_multiple_of(*rows)).unwrap_or(1)
    };
    if rows.div_ceil(aligned) > most {
        n.div_ceil(most) * pixels
    } else if aligned < about.min(pixels) / 4 {
        // Sizes without divisors would make very short parts.
        plain
    } else {
        aligned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_groups_do() {
        let found = |first, len, of_group| pieces(first, len, of_group).collect::<Vec<_>>();
        assert_eq!(found(0, 6, 6), [(0, 0..6)]);
        assert_eq!(found(2, 6, 3), [(0, 0..1), (1, 1..4), (2, 4..6)]);
        assert_eq!(found(3, 2, 3), [(1, 0..2)]);
        assert_eq!(found(5, 0, 5), []);
    }

    #[test]
    fn sums_whose_parts_hold_a_piece_of_an_image_and_more_are_not_made_image_by_image() {
        let images = Tensor::f32([8, 31, 31, 4]);
        let together = |rows| ByImage::of(&images, 1)?.parts(&images, rows).map(|by_image| by_image.together);
        assert_eq!([31, 961, 2 * 961].map(together), [Some(1), Some(1), Some(2)]);
        assert_eq!([128, 62, 962].map(together), [None; 3]);
    }

    #[test]
    fn parts_of_a_sum_hold_whole_images_or_even_shares_of_one() {
        let rows = |dims: [usize; 4], about, most| rows_per_part(&Tensor::f32(dims), about, most);
        assert_eq!(rows([128, 28, 28, 16], 1024, 256), 784);
        assert_eq!(rows([128, 14, 14, 32], 1024, 256), 4 * 196);
        assert_eq!(rows([128, 7, 7, 64], 1024, 256), 4 * 49);
        assert_eq!(rows([128, 28, 28, 32], 128, 1024), 112);
        assert_eq!(rows([128, 14, 14, 32], 128, 1024), 98);
        assert_eq!(rows([128, 7, 7, 32], 128, 1024), 98);
        // A prime number of rows and columns, too many parts, no images.
        assert_eq!(rows([8, 31, 31, 4], 128, 1024), 128);
        assert_eq!(rows([5000, 28, 28, 4], 128, 1024), 5 * 784);
        assert_eq!(rows_per_part(&Tensor::f32([128, 64]), 1024, 256), 128);
    }
}
