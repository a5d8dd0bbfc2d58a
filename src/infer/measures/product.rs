//! Matrix products in f64, for when f32 would lose too much precision.

/// A matrix `[rows, columns]` in row-major words, or its transpose.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    words: &'a [f64],
    size: [usize; 2],
    /// Words from row to row, and from column to column.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Rows of `width` numbers.
    pub fn rows(words: &'a [f64], width: usize) -> Matrix<'a> {
        let rows = words.len() / width.max(1);
        assert_eq!(rows * width, words.len(), "rows are whole");
        Matrix { words, size: [rows, width], strides: [width, 1] }
    }

    pub fn transposed(self) -> Matrix<'a> {
        let ([rows, columns], [down, across]) = (self.size, self.strides);
        Matrix { size: [columns, rows], strides: [across, down], ..self }
    }
}

/// `out = a b`, row-major.
///
/// # Panics
/// If the sizes do not match.
pub fn multiply(out: &mut [f64], a: Matrix, b: Matrix) {
    let ([m, k], [inner, n]) = (a.size, b.size);
    assert!(k == inner && out.len() == m * n, "matrices fit each other");
    let [[a_row, a_column], [b_row, b_column]] = [a.strides, b.strides].map(|strides| strides.map(|s| s as isize));
    // SAFETY: `Matrix::rows` has checked that these sizes and strides, or those of the transpose, stay within the
    // words; `out` holds m rows of n.
    unsafe {
        matrixmultiply::dgemm(
            m,
            k,
            n,
            1.0,
            a.words.as_ptr(),
            a_row,
            a_column,
            b.words.as_ptr(),
            b_row,
            b_column,
            0.0,
            out.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_that_of_rows_by_columns_transposed_or_not() {
        for (m, n, k) in [(1, 1, 1), (2, 3, 4), (7, 9, 2), (33, 17, 129)] {
            let numbers =
                |count: usize, of: usize| (0..count).map(|i| ((i * of) % 17) as f64 - 8.0).collect::<Vec<_>>();
            let (a, b) = (numbers(m * k, 5), numbers(n * k, 7));
            let mut out = vec![f64::NAN; m * n];
            multiply(&mut out, Matrix::rows(&a, k), Matrix::rows(&b, k).transposed());
            for (i, row) in out.chunks(n).enumerate() {
                for (j, x) in row.iter().enumerate() {
                    let sum: f64 = a[i * k..][..k].iter().zip(&b[j * k..]).map(|(a, b)| a * b).sum();
                    assert_eq!(*x, sum);
                }
            }
        }
    }
}
