//! A curve with one number for each step, stored in as few places as a screen can show, however many steps there are.

/// Places along the axis at most: more than any plot has pixels.
const MOST: usize = 2048;

/// One number for each step of a run, thinned.
#[derive(Clone, Default)]
pub struct Curve {
    total: usize,
    count: usize,
    first: Option<f64>,
    places: Vec<Place>,
    /// The share of a new number in the running mean.
    share: f64,
    sum: f64,
    weight: f64,
}

#[derive(Clone, Copy)]
struct Place {
    least: f64,
    most: f64,
    mean: f64,
}

impl Curve {
    /// For a run of `total` steps.
    pub fn new(total: usize) -> Curve {
        // A mean over a fortieth of the run: smooth, and quick to follow.
        Curve { total, share: 1.0 / (total as f64 / 40.0).clamp(5.0, 200.0), ..Curve::default() }
    }

    pub fn push(&mut self, value: f64) {
        self.first.get_or_insert(value);
        self.sum += (value - self.sum) * self.share;
        self.weight += (1.0 - self.weight) * self.share;
        let mean = self.sum / self.weight;
        let places = self.total.clamp(1, MOST);
        let at = (self.count as u128 * places as u128 / self.total.max(1) as u128) as usize;
        match self.places.get_mut(at) {
            Some(place) => {
                *place = Place { least: place.least.min(value), most: place.most.max(value), mean };
            }
            None => self.places.push(Place { least: value, most: value, mean }),
        }
        self.count += 1;
    }

    /// The step that a place stands for.
    fn step(&self, place: usize) -> f64 {
        let places = self.total.clamp(1, MOST) as f64;
        ((place + 1) as f64 / places * self.total as f64).min(self.count as f64)
    }

    /// Points through the least and the greatest number of every place.
    pub fn every(&self) -> Vec<[f64; 2]> {
        let points = self.places.iter().enumerate().flat_map(|(i, place)| {
            let x = self.step(i);
            let both = (place.most > place.least).then_some([x, place.most]);
            [Some([x, place.least]), both].into_iter().flatten()
        });
        points.collect()
    }

    /// The running mean.
    pub fn means(&self) -> Vec<[f64; 2]> {
        self.places.iter().enumerate().map(|(i, place)| [self.step(i), place.mean]).collect()
    }

    pub fn mean(&self) -> Option<f64> {
        self.places.last().map(|place| place.mean)
    }

    /// The first number.
    pub fn first(&self) -> Option<f64> {
        self.first
    }

    /// The highest value of the running mean.
    pub fn highest_mean(&self) -> f64 {
        self.places.iter().map(|place| place.mean).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_is_shown_step_by_step() {
        let mut curve = Curve::new(4);
        for value in [4.0, 2.0, 3.0] {
            curve.push(value);
        }
        assert_eq!(curve.every(), [[1.0, 4.0], [2.0, 2.0], [3.0, 3.0]]);
        assert_eq!(curve.means()[0], [1.0, 4.0]);
        assert!(curve.mean().is_some_and(|mean| mean > 2.0 && mean < 4.0));
    }

    #[test]
    fn a_long_run_takes_no_more_room_and_loses_no_outlier() {
        let mut curve = Curve::new(1_000_000);
        for step in 0..1_000_000 {
            curve.push(if step == 500_500 { 9.0 } else { 1.0 });
        }
        let points = curve.every();
        assert!(points.len() <= 2 * MOST && curve.means().len() == MOST);
        assert_eq!(points.iter().filter(|[_, y]| *y == 9.0).count(), 1);
        assert_eq!(points[points.len() - 1][0], 1_000_000.0);
        assert!((curve.mean().unwrap() - 1.0).abs() < 1e-6 && curve.highest_mean() < 1.1);
    }

    #[test]
    fn more_than_was_announced_harms_nothing() {
        for total in [0, 1, 3] {
            let mut curve = Curve::new(total);
            for _ in 0..10 {
                curve.push(1.0);
            }
            assert_eq!(curve.mean(), Some(1.0));
        }
    }
}
