//! The data of a curve picture, and a moving mean to draw through noisy data.

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A thin pale line, for raw values behind a smoothed line.
    Thin,
    /// A strong line.
    Strong,
    /// One dot per point, for rare values such as a test after each epoch.
    Dots,
}

/// Points under one name.
///
/// Series of the same name share a colour, in all panels of a picture, and one entry in the
/// legend: give a raw and a smoothed line the same name. An empty name has no entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// What follows the name in the legend of this panel.
    pub remark: String,
    /// (x, y) in any order; drawn in order of x. Points that are not finite interrupt a line.
    pub points: Vec<(f64, f64)>,
    /// How to draw them.
    pub style: Style,
}

impl Series {
    /// A series of `points` drawn as `style`.
    pub fn new(name: impl Into<String>, style: Style, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), remark: String::new(), points, style }
    }

    /// The same series with a remark for this panel alone.
    pub fn remarked(self, remark: impl Into<String>) -> Self {
        Self { remark: remark.into(), ..self }
    }
}

/// One chart of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading of the chart.
    pub title: String,
    /// Under the x axis.
    pub x_label: String,
    /// Beside the y axis.
    pub y_label: String,
    /// Whether the y axis is logarithmic; points at or below 0 are then left out.
    pub log_y: bool,
    /// What to draw.
    pub series: Vec<Series>,
}

/// Replaces each y by the mean of the `window` points around it (fewer at the ends).
///
/// Points that are not finite are left out of the means and of the result; a window of 0 or 1 changes nothing else.
/// Takes time in proportion to the number of points, whatever the window.
pub fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = points.to_vec();
    kept.retain(|(x, y)| x.is_finite() && y.is_finite());
    let n = kept.len();
    if window < 2 || n < 2 {
        return kept;
    }
    let (before, after) = ((window - 1) / 2, window / 2);
    let (before, after) = (before.min(n), after.min(n));
    let window = before + after + 1;
    // A running sum that subtracts would carry a spike's rounding error along; sums from
    // both ends of window-sized blocks need additions only.
    let padded: Vec<f64> = std::iter::repeat_n(0.0, before)
        .chain(kept.iter().map(|point| point.1))
        .chain(std::iter::repeat_n(0.0, after))
        .collect();
    let mut to_the_left = padded.clone();
    let mut to_the_right = padded;
    for block in to_the_left.chunks_mut(window) {
        for i in 1..block.len() {
            block[i] += block[i - 1];
        }
    }
    for block in to_the_right.chunks_mut(window) {
        for i in (1..block.len()).rev() {
            block[i - 1] += block[i];
        }
    }
    for (i, point) in kept.iter_mut().enumerate() {
        let last = i + window - 1;
        let sum = if i % window == 0 { to_the_left[last] } else { to_the_right[i] + to_the_left[last] };
        let present = (i + after + 1).min(n) - i.saturating_sub(before);
        point.1 = sum / present as f64;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ys: &[f64]) -> Vec<(f64, f64)> {
        ys.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect()
    }

    #[test]
    fn a_window_of_three_averages_the_neighbours() {
        let smoothed = smooth(&at(&[1.0, 2.0, 3.0, 7.0]), 3);
        assert_eq!(smoothed, at(&[1.5, 2.0, 4.0, 5.0]));
    }

    #[test]
    fn a_spike_leaves_no_trace_beyond_its_window() {
        let mut ys = vec![0.1; 100];
        ys[10] = 1e300;
        let smoothed = smooth(&at(&ys), 5);
        assert!((smoothed[13].1 - 0.1).abs() < 1e-12);
    }

    #[test]
    fn points_that_are_not_finite_are_left_out() {
        let smoothed = smooth(&at(&[1.0, f64::NAN, 3.0, f64::INFINITY]), 9);
        assert_eq!(smoothed, [(0.0, 2.0), (2.0, 2.0)]);
        assert_eq!(smooth(&[], 5), []);
    }

    proptest! {
        #[test]
        fn the_fast_mean_equals_the_plain_one(
            ys in prop::collection::vec(-10.0f64..10.0, 0..60),
            window in 0usize..80,
        ) {
            let smoothed = smooth(&at(&ys), window);
            prop_assert_eq!(smoothed.len(), ys.len());
            for i in 0..ys.len() {
                let from = i.saturating_sub(window.saturating_sub(1) / 2);
                let around = &ys[from..(i + window / 2 + 1).min(ys.len())];
                let mean = around.iter().sum::<f64>() / around.len() as f64;
                let mean = if window < 2 { ys[i] } else { mean };
                prop_assert!((smoothed[i].1 - mean).abs() < 1e-9);
            }
        }

        #[test]
        fn any_window_is_accepted(window in any::<usize>()) {
            prop_assert_eq!(smooth(&at(&[1.0, 2.0, 3.0]), window).len(), 3);
        }
    }
}
