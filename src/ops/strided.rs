//! Rows and columns of vectors at fixed distances in a slice. One check covers all of them: checking vector by vector
//! would take longer than reading them.

use std::marker::PhantomData;

use pulp::Simd;

/// Vectors to be read.
pub struct Strided<'a, S, const ROWS: usize, const COLUMNS: usize> {
    data: &'a [f32],
    /// Words from row to row and from column to column.
    steps: [usize; 2],
    simd: PhantomData<S>,
}

/// Vectors to be written.
pub struct StridedMut<'a, S, const ROWS: usize, const COLUMNS: usize> {
    data: &'a mut [f32],
    steps: [usize; 2],
    simd: PhantomData<S>,
}

impl<'a, S: Simd, const ROWS: usize, const COLUMNS: usize> Strided<'a, S, ROWS, COLUMNS> {
    /// # Panics
    /// If the last vector is not inside.
    #[inline(always)]
    pub fn new(data: &'a [f32], steps: [usize; 2]) -> Self {
        assert!(reaches([ROWS, COLUMNS], steps, S::F32_LANES) <= data.len());
        Strided { data, steps, simd: PhantomData }
    }

    #[inline(always)]
    pub fn load(&self, i: usize, j: usize) -> S::f32s {
        assert!(i < ROWS && j < COLUMNS);
        let at = i * self.steps[0] + j * self.steps[1];
        // SAFETY: `new` has checked that the last vector of the last row is inside, and none ends after it.
        S::as_simd_f32s(unsafe { self.data.get_unchecked(at..at + S::F32_LANES) }).0[0]
    }
}

impl<'a, S: Simd, const ROWS: usize, const COLUMNS: usize> StridedMut<'a, S, ROWS, COLUMNS> {
    /// # Panics
    /// If the last vector is not inside.
    #[inline(always)]
    pub fn new(data: &'a mut [f32], steps: [usize; 2]) -> Self {
        assert!(reaches([ROWS, COLUMNS], steps, S::F32_LANES) <= data.len());
        StridedMut { data, steps, simd: PhantomData }
    }

    #[inline(always)]
    pub fn at(&mut self, i: usize, j: usize) -> &mut S::f32s {
        assert!(i < ROWS && j < COLUMNS);
        let at = i * self.steps[0] + j * self.steps[1];
        // SAFETY: as in `Strided::load`.
        &mut S::as_mut_simd_f32s(unsafe { self.data.get_unchecked_mut(at..at + S::F32_LANES) }).0[0]
    }
}

/// The end of the last vector, or more than any slice is long.
#[inline(always)]
fn reaches(count: [usize; 2], steps: [usize; 2], lanes: usize) -> usize {
    let [down, across] = [0, 1].map(|i| (count[i] - 1).saturating_mul(steps[i]));
    down.saturating_add(across).saturating_add(lanes)
}

#[cfg(test)]
mod tests {
    use pulp::{Scalar, Simd};

    use super::*;

    #[test]
    fn vectors_of_which_the_last_is_not_inside_are_refused() {
        let mut data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(Scalar::F32_LANES, 1);
        let strided = Strided::<Scalar, 2, 3>::new(&data, [7, 2]);
        assert_eq!([strided.load(0, 0), strided.load(0, 2), strided.load(1, 2)], [0.0, 4.0, 11.0]);
        *StridedMut::<Scalar, 2, 3>::new(&mut data, [7, 2]).at(1, 2) = -1.0;
        assert_eq!(data[11], -1.0);
        for steps in [[8, 2], [7, 3], [usize::MAX, 2], [7, usize::MAX]] {
            let refused = std::panic::catch_unwind(|| Strided::<Scalar, 2, 3>::new(&data, steps).load(0, 0));
            assert!(refused.is_err(), "{steps:?}");
        }
        let outside = std::panic::catch_unwind(|| Strided::<Scalar, 2, 3>::new(&data, [7, 2]).load(0, 3));
        assert!(outside.is_err());
    }
}
