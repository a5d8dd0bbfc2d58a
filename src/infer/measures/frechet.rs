//! The Fréchet distance between two sets of features, each modelled as a Gaussian: Heusel et al. 2017, GANs Trained by
//! a Two Time-Scale Update Rule, arXiv 1706.08500.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::features::{Features, MeasureError};
use super::product::{Matrix, multiply};

/// Mean `[d]` and covariance `[d, d]` of a set of features.
#[derive(Clone, PartialEq, Debug)]
pub struct Gaussian {
    pub mean: DVector<f64>,
    pub covariance: DMatrix<f64>,
}

impl Gaussian {
    /// With the unbiased covariance, like `numpy.cov`.
    pub fn of(features: Features) -> Gaussian {
        let (n, d) = (features.count(), features.width());
        let mean = features.mean();
        let centred: Vec<f64> =
            features.rows().flat_map(|row| row.iter().zip(&mean).map(|(x, m)| f64::from(*x) - m)).collect();
        let (mut scatter, centred) = (vec![0.0; d * d], Matrix::rows(&centred, d));
        multiply(&mut scatter, centred.transposed(), centred);
        let covariance = DMatrix::from_vec(d, d, scatter) / (n - 1) as f64;
        // After rounding, the product is symmetric except in its last bits.
        let covariance = (&covariance + covariance.transpose()) * 0.5;
        Gaussian { mean: DVector::from_vec(mean), covariance }
    }
}

/// `|mean1 - mean2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`, 0 for equal Gaussians and never negative; NaN if a number of
/// either is not finite.
///
/// The root has the same trace as `(C1^(1/2) C2 C1^(1/2))^(1/2)`, which is symmetric.
pub fn frechet(a: &Gaussian, b: &Gaussian) -> Result<f64, MeasureError> {
    if a.mean.len() != b.mean.len() {
        return Err(MeasureError::Widths { left: a.mean.len(), right: b.mean.len() });
    }
    let apart = (&a.mean - &b.mean).norm_squared();
    let traces = a.covariance.trace() + b.covariance.trace();
    let common = root(&a.covariance)
        .and_then(|root_a| eigen(&root_a * &b.covariance * &root_a))
        .map_or(f64::NAN, |product| product.eigenvalues.iter().map(|x| x.max(0.0).sqrt()).sum());
    let distance = apart + traces - 2.0 * common;
    Ok(if distance < 0.0 { 0.0 } else { distance })
}

/// The square root of a covariance; eigenvalues that rounding made negative count as zero.
fn root(covariance: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let SymmetricEigen { eigenvectors, eigenvalues } = eigen(covariance.clone())?;
    let roots = DMatrix::from_diagonal(&eigenvalues.map(|x| x.max(0.0).sqrt()));
    Some(&eigenvectors * roots * eigenvectors.transpose())
}

/// `None` if there is no answer, instead of an endless search.
fn eigen(matrix: DMatrix<f64>) -> Option<SymmetricEigen<f64, nalgebra::Dyn>> {
    /// A few dozen iterations per eigenvalue are already many.
    const ITERATIONS: usize = 64;
    let most = ITERATIONS * matrix.nrows();
    let finite = matrix.iter().all(|x| x.is_finite());
    finite.then(|| SymmetricEigen::try_new(matrix, f64::EPSILON, most)).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;

    fn diagonal(mean: &[f64], variances: &[f64]) -> Gaussian {
        let covariance = DMatrix::from_diagonal(&DVector::from_row_slice(variances));
        Gaussian { mean: DVector::from_row_slice(mean), covariance }
    }

    fn close(found: f64, wanted: f64, relative: f64) {
        assert!((found - wanted).abs() <= relative * wanted.abs().max(1.0), "{found} against {wanted}");
    }

    #[test]
    fn mean_and_covariance_of_three_points_are_those_by_hand() {
        let points = [0.0, 1.0, 2.0, 1.0, 4.0, 4.0];
        let found = Gaussian::of(Features::new(&points, 2).unwrap());
        assert_eq!(found.mean.as_slice(), [2.0, 2.0]);
        assert_eq!(found.covariance.as_slice(), [4.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn gaussians_along_the_axes_are_as_far_apart_as_the_closed_form_says() {
        let a = diagonal(&[1.0, 2.0, 0.0], &[4.0, 0.25, 1.0]);
        let b = diagonal(&[0.0, 2.0, 3.0], &[1.0, 9.0, 0.0]);
        // |mean|^2 is 1 + 9; each axis adds (sd1 - sd2)^2: 1, 6.25, 1.
        close(frechet(&a, &b).unwrap(), 18.25, 1e-12);
    }

    #[test]
    fn the_distance_is_the_same_both_ways_and_after_a_rotation() {
        let d = 7;
        let [mut a, mut b] = [(1, 0.0), (2, 0.5)].map(|(seed, shift)| {
            let points: Vec<f32> = normal(seed, 200 * d).iter().map(|x| x * (1.0 + shift) + shift).collect();
            Gaussian::of(Features::new(&points, d).unwrap())
        });
        let there = frechet(&a, &b).unwrap();
        close(frechet(&b, &a).unwrap(), there, 1e-10);
        let noise = DMatrix::from_iterator(d, d, normal(3, d * d).into_iter().map(f64::from));
        let turn = noise.qr().q();
        for gaussian in [&mut a, &mut b] {
            gaussian.mean = &turn * &gaussian.mean;
            gaussian.covariance = &turn * &gaussian.covariance * turn.transpose();
        }
        close(frechet(&a, &b).unwrap(), there, 1e-10);
    }

    #[test]
    fn a_set_is_no_way_from_itself_even_where_features_are_dead_or_equal() {
        let d = 9;
        let mut points = normal(4, 50 * d);
        points.chunks_mut(d).for_each(|row| (row[3], row[4]) = (0.0, row[5]));
        for points in [points, vec![2.5; 50 * d], vec![0.0; 50 * d]] {
            let gaussian = Gaussian::of(Features::new(&points, d).unwrap());
            close(frechet(&gaussian, &gaussian).unwrap(), 0.0, 1e-6);
        }
    }

    #[test]
    fn fewer_points_than_features_and_huge_ones_have_a_finite_distance() {
        let (a, b) = (normal(5, 2 * 30), normal(6, 2 * 30));
        let of = |points: &[f32]| Gaussian::of(Features::new(points, 30).unwrap());
        assert!(frechet(&of(&a), &of(&b)).unwrap() > 0.0);
        let huge: Vec<f32> = a.iter().map(|x| x * 1e37).collect();
        assert!(frechet(&of(&huge), &of(&b)).unwrap().is_finite());
    }

    #[test]
    fn what_is_not_a_number_gives_what_is_not_a_number() {
        let good = diagonal(&[0.0, 0.0], &[1.0, 1.0]);
        for bad in [diagonal(&[f64::NAN, 0.0], &[1.0, 1.0]), diagonal(&[0.0, 0.0], &[f64::INFINITY, 1.0])] {
            assert!(frechet(&good, &bad).unwrap().is_nan());
            assert!(frechet(&bad, &good).unwrap().is_nan());
        }
    }

    #[test]
    fn features_of_two_judges_are_not_compared() {
        let error = frechet(&diagonal(&[0.0], &[1.0]), &diagonal(&[0.0; 2], &[1.0; 2])).unwrap_err();
        assert_eq!(error, MeasureError::Widths { left: 1, right: 2 });
    }
}
