//! How varied the pictures of each class are, compared with the real ones of that class.

use super::features::{Features, MeasureError};

/// The mean squared distance between two pictures of a class, for each class with at least two.
///
/// Over all pairs it equals twice the sum of the features' variances, so the pairs need not be visited.
pub fn spread_by_class(features: Features, labels: &[u32], classes: usize) -> Result<Vec<Option<f64>>, MeasureError> {
    if labels.len() != features.count() || labels.iter().any(|label| *label as usize >= classes) {
        return Err(MeasureError::Labels { pictures: features.count(), labels: labels.len(), classes });
    }
    let width = features.width();
    let mut counts = vec![0usize; classes];
    let mut means = vec![0.0; classes * width];
    for (row, label) in features.rows().zip(labels) {
        counts[*label as usize] += 1;
        let mean = &mut means[*label as usize * width..][..width];
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
    }
    for (mean, count) in means.chunks_exact_mut(width).zip(&counts) {
        mean.iter_mut().for_each(|mean| *mean /= (*count).max(1) as f64);
    }
    let mut squares = vec![0.0; classes];
    for (row, label) in features.rows().zip(labels) {
        let mean = &means[*label as usize * width..][..width];
        squares[*label as usize] += row.iter().zip(mean).map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    }
    let spread = |(squares, count): (f64, usize)| (count > 1).then(|| 2.0 * squares / (count - 1) as f64);
    Ok(squares.into_iter().zip(counts).map(spread).collect())
}

/// The root mean square distance between two generated pictures of a class, as a fraction of that between two real
/// ones: 1 is as varied as real, 0 the same picture again and again. `None` if a class lacks two pictures, or all its
/// real ones are equal.
pub fn diversity_by_class(real: &[Option<f64>], generated: &[Option<f64>]) -> Vec<Option<f64>> {
    let part = |(real, generated): (&Option<f64>, &Option<f64>)| match (real, generated) {
        (Some(real), Some(generated)) if *real > 0.0 => Some((generated / real).sqrt()),
        _ => None,
    };
    real.iter().zip(generated).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;

    #[test]
    fn the_closed_form_is_the_mean_over_all_pairs_of_a_class() {
        let (width, classes) = (5, 3);
        let points = normal(1, 40 * width);
        let labels: Vec<u32> = (0..40).map(|i| i * i % 3).collect();
        let found = spread_by_class(Features::new(&points, width).unwrap(), &labels, classes).unwrap();
        for (class, found) in found.into_iter().enumerate() {
            let own: Vec<&[f32]> =
                points.chunks(width).zip(&labels).filter(|(_, l)| **l as usize == class).map(|(row, _)| row).collect();
            if own.is_empty() {
                assert_eq!(found, None);
                continue;
            }
            let mut sum = 0.0;
            for a in &own {
                for b in &own {
                    sum += a.iter().zip(*b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                }
            }
            let wanted = sum / (own.len() * (own.len() - 1)) as f64;
            assert!((found.unwrap() / wanted - 1.0).abs() < 1e-5, "class {class}: {found:?} against {wanted}");
        }
    }

    #[test]
    fn half_as_wide_is_half_as_varied_and_one_picture_not_at_all() {
        let points = normal(2, 60 * 4);
        let labels: Vec<u32> = (0..60).map(|i| i % 2).collect();
        let spread = |scale: [f32; 2]| {
            let rows = points.chunks(4).zip(&labels);
            let points: Vec<f32> = rows.flat_map(|(row, l)| row.iter().map(|x| 9.0 + x * scale[*l as usize])).collect();
            spread_by_class(Features::new(&points, 4).unwrap(), &labels, 2).unwrap()
        };
        let found = diversity_by_class(&spread([1.0, 1.0]), &spread([0.5, 0.0]));
        assert!((found[0].unwrap() - 0.5).abs() < 1e-5, "{found:?}");
        assert!(found[1].unwrap() < 1e-6, "{found:?}");
    }

    #[test]
    fn a_class_without_two_pictures_and_a_real_one_without_variety_say_nothing() {
        let points = [0.0, 1.0, 2.0, 5.0, 5.0];
        let features = Features::new(&points, 1).unwrap();
        let found = spread_by_class(features, &[0, 0, 1, 2, 2], 4).unwrap();
        assert_eq!(found, [Some(1.0), None, Some(0.0), None]);
        assert_eq!(diversity_by_class(&found, &[Some(4.0); 4]), [Some(2.0), None, None, None]);
    }

    #[test]
    fn labels_that_do_not_fit_are_refused() {
        let features = Features::new(&[0.0, 1.0], 1).unwrap();
        for labels in [&[0, 2][..], &[0], &[0, 1, 1]] {
            let error = spread_by_class(features, labels, 2).unwrap_err();
            assert_eq!(error, MeasureError::Labels { pictures: 2, labels: labels.len(), classes: 2 });
        }
    }
}
