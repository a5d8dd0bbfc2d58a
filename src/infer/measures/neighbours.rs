//! Improved precision and recall: Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing
//! Generative Models, arXiv 1904.06991.
//!
//! Each point of a set has a ball that reaches to its third nearest neighbour in that set. Precision is the share of
//! generated points in any ball of the real ones: how much of what is generated is right. Recall is the share of real
//! points in any ball of the generated ones: how much of what is real gets generated. An outlier's ball is wide and may
//! hold points that resemble no picture at all, so neither number says much without the others.

use rayon::prelude::*;

use super::features::{Features, MeasureError};
use super::product::{Matrix, multiply};

/// Which neighbour a ball reaches to: the paper's choice.
pub const NEIGHBOUR: usize = 3;

/// Rows of a tile of distances, and columns, for the other set: with its factors, a tile stays in a core's cache.
const TILE: [usize; 2] = [128, 512];

/// A set of points, and the squared radius of each one's ball.
#[derive(Clone, Debug)]
pub struct Balls {
    width: usize,
    /// In f64: distances are differences of squares, which would lose too much precision in f32.
    points: Vec<f64>,
    /// `|point|^2`
    norms: Vec<f64>,
    radii: Vec<f64>,
}

impl Balls {
    pub fn of(features: Features) -> Result<Balls, MeasureError> {
        features.at_least(NEIGHBOUR + 1)?;
        let points: Vec<f64> = features.rows().flatten().map(|x| f64::from(*x)).collect();
        let norms = points.chunks_exact(features.width()).map(|row| row.iter().map(|x| x * x).sum()).collect();
        let mut balls = Balls { width: features.width(), points, norms, radii: Vec::new() };
        balls.radii = balls.radii();
        Ok(balls)
    }

    fn radii(&self) -> Vec<f64> {
        let mut radii = vec![0.0; self.norms.len()];
        radii.par_chunks_mut(TILE[0]).enumerate().for_each(|(tile, radii)| {
            let mut nearest = vec![[f64::INFINITY; NEIGHBOUR]; radii.len()];
            let first = tile * TILE[0];
            self.distances(first, radii.len(), self, |i, start, distances| {
                // No point is its own neighbour.
                let own = (first + i).wrapping_sub(start);
                for (j, distance) in distances.iter().enumerate() {
                    if *distance < nearest[i][NEIGHBOUR - 1] && j != own {
                        insert(&mut nearest[i], *distance);
                    }
                }
            });
            radii.iter_mut().zip(nearest).for_each(|(radius, nearest)| *radius = nearest[NEIGHBOUR - 1]);
        });
        radii
    }

    /// Calls `each(i, start, distances)` with the squared distances of point `first + i` to the other set's points from
    /// `start` on, a tile at a time, for `count` points.
    fn distances(&self, first: usize, count: usize, other: &Balls, mut each: impl FnMut(usize, usize, &[f64])) {
        let d = self.width;
        let rows = &self.points[first * d..][..count * d];
        let mut tile = vec![0.0; count * TILE[1]];
        for (start, columns) in (0..).step_by(TILE[1]).zip(other.points.chunks(TILE[1] * d)) {
            let width = columns.len() / d;
            let tile = &mut tile[..count * width];
            multiply(tile, Matrix::rows(rows, d), Matrix::rows(columns, d).transposed());
            let norms = &other.norms[start..][..width];
            for (i, row) in tile.chunks_exact_mut(width).enumerate() {
                let own = self.norms[first + i];
                for (x, norm) in row.iter_mut().zip(norms) {
                    let (squares, distance) = (own + norm, own + norm - 2.0 * *x);
                    // Two points closer than the rounding of these sums count as the same point.
                    *x = if distance > squares * 1e-12 { distance } else { 0.0 };
                }
                each(i, start, row);
            }
        }
    }
}

/// Inserts a distance in its place among the nearest and drops the last of them.
fn insert(nearest: &mut [f64; NEIGHBOUR], distance: f64) {
    let place = nearest.partition_point(|x| *x <= distance);
    nearest[place..].rotate_right(1);
    nearest[place] = distance;
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PrecisionRecall {
    pub precision: f64,
    pub recall: f64,
}

pub fn precision_recall(real: &Balls, generated: &Balls) -> Result<PrecisionRecall, MeasureError> {
    if real.width != generated.width {
        return Err(MeasureError::Widths { left: real.width, right: generated.width });
    }
    let reals = real.norms.len();
    let tiles = generated.radii.par_chunks(TILE[0]).enumerate().map(|(tile, radii)| {
        // Which of these generated points are in a real ball, and which real points are in one of theirs.
        let (mut hit, mut reached) = (vec![false; radii.len()], vec![false; reals]);
        generated.distances(tile * TILE[0], radii.len(), real, |i, start, distances| {
            for ((distance, radius), reached) in distances.iter().zip(&real.radii[start..]).zip(&mut reached[start..]) {
                hit[i] |= distance <= radius;
                *reached |= *distance <= radii[i];
            }
        });
        (count(&hit), reached)
    });
    let nothing = || (0, vec![false; reals]);
    let (hits, reached) = tiles.reduce(nothing, |(hits, mut reached), (more, also)| {
        reached.iter_mut().zip(also).for_each(|(reached, also)| *reached |= also);
        (hits + more, reached)
    });
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    Ok(PrecisionRecall { precision: share(hits, generated.norms.len()), recall: share(count(&reached), reals) })
}

fn count(flags: &[bool]) -> usize {
    flags.iter().filter(|flag| **flag).count()
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;

    fn measured(real: &[f32], generated: &[f32], width: usize) -> PrecisionRecall {
        let balls = |points| Balls::of(Features::new(points, width).unwrap()).unwrap();
        precision_recall(&balls(real), &balls(generated)).unwrap()
    }

    fn shifted(points: &[f32], by: f32) -> Vec<f32> {
        points.iter().map(|x| x + by).collect()
    }

    /// Straight from the paper, over all pairs.
    fn by_the_definition(real: &[f32], generated: &[f32], width: usize) -> PrecisionRecall {
        let distance = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        };
        let covered = |points: &[f32], by: &[f32]| {
            let balls: Vec<(&[f32], f64)> = by
                .chunks(width)
                .enumerate()
                .map(|(i, a)| {
                    let others = by.chunks(width).enumerate().filter(|(j, _)| *j != i);
                    let mut distances: Vec<f64> = others.map(|(_, b)| distance(a, b)).collect();
                    distances.sort_by(f64::total_cmp);
                    (a, distances[NEIGHBOUR - 1])
                })
                .collect();
            let inside = |point: &&[f32]| balls.iter().any(|(centre, radius)| distance(point, centre) <= *radius);
            let points = points.chunks(width);
            points.clone().filter(inside).count() as f64 / points.len() as f64
        };
        PrecisionRecall { precision: covered(generated, real), recall: covered(real, generated) }
    }

    #[test]
    fn tiles_and_threads_find_what_the_definition_finds() {
        // More than a tile each way, with partial tiles; wide sets, in which few points are in a ball, and narrow ones.
        for (width, shift) in [(1, 0.3), (3, 0.5), (40, 0.1)] {
            let real = normal(1, 700 * width);
            let generated = shifted(&normal(2, 530 * width), shift);
            let found = measured(&real, &generated, width);
            assert_eq!(found, by_the_definition(&real, &generated, width), "{width} wide");
            assert!((0.05..1.0).contains(&found.precision), "{width} wide: {found:?} tells nothing");
        }
    }

    #[test]
    fn a_set_covers_itself_and_nothing_far_away() {
        let points = normal(3, 300 * 8);
        assert_eq!(measured(&points, &points, 8), PrecisionRecall { precision: 1.0, recall: 1.0 });
        let far = shifted(&points, 100.0);
        assert_eq!(measured(&points, &far, 8), PrecisionRecall { precision: 0.0, recall: 0.0 });
    }

    #[test]
    fn a_missing_mode_costs_recall_and_a_wrong_one_precision() {
        let one = normal(4, 300 * 4);
        let both = [&one[..], &shifted(&normal(5, 300 * 4), 50.0)].concat();
        let missing = measured(&both, &one, 4);
        assert_eq!(missing, PrecisionRecall { precision: 1.0, recall: 0.5 });
        let wrong = measured(&one, &both, 4);
        assert_eq!(wrong, PrecisionRecall { precision: 0.5, recall: 1.0 });
    }

    #[test]
    fn equal_points_are_at_no_distance_whatever_their_size() {
        for size in [1e-6, 0.0, 1.0, 12345.678, 1e30] {
            let points: Vec<f32> = [0.1, 0.7, 1.3].repeat(40).iter().map(|x| x * size).collect();
            assert_eq!(measured(&points, &points, 3), PrecisionRecall { precision: 1.0, recall: 1.0 }, "size {size}");
        }
    }

    #[test]
    fn a_single_point_repeated_recalls_only_itself() {
        let real = normal(6, 100 * 5);
        let collapsed = real[..5].repeat(100);
        let found = measured(&real, &collapsed, 5);
        assert_eq!(found, PrecisionRecall { precision: 1.0, recall: 0.01 });
    }

    #[test]
    fn sets_without_a_third_neighbour_and_sets_of_two_judges_are_refused() {
        let points = normal(7, 12);
        let of = |width| Balls::of(Features::new(&points, width).unwrap());
        assert_eq!(of(4).unwrap_err(), MeasureError::TooFew { count: 3, needed: 4 });
        let error = precision_recall(&of(3).unwrap(), &of(2).unwrap()).unwrap_err();
        assert_eq!(error, MeasureError::Widths { left: 3, right: 2 });
    }
}
