//! Turns a series into marks on a plot: places its points, thins them out, draws them.

use crate::report::axis::{Axis, scaled};
use crate::report::canvas::{Area, Canvas, Mask};
use crate::report::palette::Rgb;
use crate::report::{Series, Style};

/// Half widths in pixels.
const THIN: f32 = 0.6;
const STRONG: f32 = 1.5;
const DOT: f32 = 4.5;

/// Places farther out than this, in pixels, are drawn as if this far.
const FAR: f64 = 20_000.0;

/// Points that a panel cannot show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// NaN or infinite.
    pub not_finite: usize,
    /// At or below zero on a log axis.
    pub not_positive: usize,
    /// Above or below the range shown.
    pub outside: usize,
}

/// Counts the points of `series` that `y` cannot show.
pub(crate) fn hidden(series: &[Series], y: Option<&Axis>, log: bool) -> Hidden {
    let mut hidden = Hidden::default();
    for &(px, py) in series.iter().flat_map(|s| &s.points) {
        if !px.is_finite() || !py.is_finite() {
            hidden.not_finite += 1;
        } else if log && py <= 0.0 {
            hidden.not_positive += 1;
        } else {
            let at = y.and_then(|axis| axis.place(py));
            let inside = at.is_some_and(|at| (0.0..=1.0).contains(&at));
            hidden.outside += usize::from(!inside);
        }
    }
    hidden
}

/// The drawn part of a panel and what its sides mean.
pub(crate) struct Plot {
    pub area: Area,
    pub x: Axis,
    pub y: Axis,
}

impl Plot {
    /// Draws one series, cut off at the sides of the plot.
    pub(crate) fn draw(&self, canvas: &mut Canvas, series: &Series, (colour, dashed): (Rgb, bool)) {
        let (w, h) = (self.area.w.max(1) as usize, self.area.h.max(1) as usize);
        let mut mask = Mask::new(w, h);
        for run in self.runs(series) {
            mark(&mut mask, &run, series.style);
        }
        if dashed && series.style != Style::Dots {
            mask.dash();
        }
        canvas.stamp(&mask, self.area.x, self.area.y, colour, alpha(series.style));
    }

    /// Pixel places of the points, one list for each stretch without gaps.
    fn runs(&self, series: &Series) -> Vec<Vec<(f32, f32)>> {
        let mut points = series.points.clone();
        points.retain(|point| scaled(point.0, false).is_some());
        if !points.is_sorted_by(|a, b| a.0 <= b.0) {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let place = |&(x, y): &(f64, f64)| {
            let (x, y) = (self.x.place(x)?, 1.0 - self.y.place(y)?);
            let (w, h) = (self.area.w as f64, self.area.h as f64);
            let (x, y) = ((x * w).clamp(-FAR, FAR), (y * h).clamp(-FAR, FAR));
            Some((x as f32, y as f32))
        };
        let mut runs = vec![Vec::new()];
        for point in &points {
            match (place(point), runs.last_mut()) {
                (Some(at), Some(run)) => run.push(at),
                (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
                _ => {}
            }
        }
        runs
    }
}

/// How dark a style is drawn.
fn alpha(style: Style) -> f32 {
    match style {
        Style::Thin => 0.35,
        Style::Strong | Style::Dots => 1.0,
    }
}

/// A short piece of the style for the legend, centred on (`x`, `y`).
pub(crate) fn swatch(canvas: &mut Canvas, (x, y): (i64, i64), style: Style, (colour, dashed): (Rgb, bool)) {
    let mut mask = Mask::new(34, 12);
    match style {
        Style::Dots => mark(&mut mask, &[(17.0, 6.0)], style),
        _ => mark(&mut mask, &[(2.0, 6.0), (32.0, 6.0)], style),
    }
    if dashed && style != Style::Dots {
        mask.dash();
    }
    canvas.stamp(&mask, x - 17, y - 6, colour, alpha(style));
}

fn mark(mask: &mut Mask, run: &[(f32, f32)], style: Style) {
    let radius = match style {
        Style::Thin => THIN,
        Style::Strong => STRONG,
        Style::Dots => DOT,
    };
    if style == Style::Dots {
        for &at in run {
            mask.line(at, at, radius);
        }
    } else if let [at] = run {
        // A lone point between gaps would vanish as a line.
        mask.line(*at, *at, radius + 2.0);
    } else {
        for pair in thinned(run).windows(2) {
            mask.line(pair[0], pair[1], radius);
        }
    }
}

/// Keeps the first, lowest, highest and last point of each pixel column, which draws the
/// same line from far fewer points.
fn thinned(run: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let mut kept = Vec::new();
    for column in run.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_y = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let low = (0..column.len()).min_by(by_y).unwrap_or(0);
        let high = (0..column.len()).max_by(by_y).unwrap_or(0);
        let mut wanted = [0, low, high, column.len() - 1];
        wanted.sort_unstable();
        for (i, &at) in wanted.iter().enumerate() {
            if i == 0 || wanted[i - 1] != at {
                kept.push(column[at]);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_ends_and_extremes_of_each_column() {
        let run = [(0.1, 5.0), (0.2, 9.0), (0.3, 1.0), (0.4, 4.0), (0.5, 6.0), (1.5, 2.0)];
        let expected = [(0.1, 5.0), (0.2, 9.0), (0.3, 1.0), (0.5, 6.0), (1.5, 2.0)];
        assert_eq!(thinned(&run), expected);
        assert_eq!(thinned(&[]), []);
    }

    #[test]
    fn a_line_ends_before_what_cannot_be_placed_and_another_begins_after_it() {
        let ys = [1.0, 2.0, f64::NAN, 3.0, 0.0, 2.0];
        let points = ys.into_iter().enumerate().map(|(x, y)| (x as f64, y)).collect();
        let series = Series::new("a", Style::Strong, points);
        let all = std::slice::from_ref(&series);
        let (x, y) = (Axis::across(all).unwrap(), Axis::upright(all, true).unwrap());
        let plot = Plot { area: Area { x: 0, y: 0, w: 100, h: 100 }, x, y };
        let lengths: Vec<usize> = plot.runs(&series).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
    }

    #[test]
    fn hidden_points_are_counted_by_reason() {
        let ys = [1.0, f64::NAN, 0.5, 0.0, -3.0, f64::INFINITY, 0.7];
        let points = ys.iter().map(|y| (0.0, *y)).collect();
        let series = [Series::new("a", Style::Strong, points)];
        let axis = Axis::upright(&series, true);
        let found = hidden(&series, axis.as_ref(), true);
        let expected = Hidden { not_finite: 2, not_positive: 2, outside: 0 };
        assert_eq!(found, expected);
    }
}
