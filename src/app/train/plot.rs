//! Curves over the steps of a run, painted by hand: axes with numbers, a legend with the newest values.

use std::sync::Arc;

use eframe::egui::{
    self, Align2, Color32, FontId, Galley, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

pub enum Marks {
    /// A thin line that stays behind the others.
    Faint(Vec<[f64; 2]>),
    Line(Vec<[f64; 2]>),
    /// Dots, joined by a thin line.
    Dots(Vec<[f64; 2]>),
}

pub struct Series {
    /// The name in the legend.
    pub name: String,
    pub colour: Color32,
    pub marks: Marks,
    /// Shown in the legend.
    pub newest: Option<f64>,
}

pub struct Plot<'a> {
    pub title: &'a str,
    /// Where the axes end; they begin at zero.
    pub most: [f64; 2],
    /// Whether values are shares of a whole.
    pub percent: bool,
    pub series: &'a [Series],
}

/// Height of each row of the title and legend.
const HEADER: f32 = 22.0;
/// Distance from the middle of a legend's mark to its words, and to the words before it.
const MARK: f32 = 12.0;
const GAP: f32 = 18.0;
/// Size of the title, and the margin to its left, in points.
const TITLE: f32 = 14.0;
const MARGIN: f32 = 2.0;
const LEFT: f32 = 46.0;
const RIGHT: f32 = 10.0;
const BELOW: f32 = 20.0;

/// Shows the plots one after another, each with as much room for title and legend as the one that needs most.
pub fn show<const N: usize>(ui: &mut Ui, size: Vec2, plots: [&Plot<'_>; N]) -> [Response; N] {
    let legends = plots.map(|plot| Legend::of(ui, size.x, plot));
    let rows = legends.iter().map(Legend::height).max().unwrap_or(0);
    let mut legends = legends.into_iter();
    plots.map(|plot| show_one(ui, size, plot, legends.next().unwrap_or_default(), rows as f32 * HEADER))
}

/// Shows one plot, under an accessible name that says the newest values.
fn show_one(ui: &mut Ui, size: Vec2, plot: &Plot<'_>, legend: Legend, header: f32) -> Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, plot.sentence()));
    if !ui.is_rect_visible(rect) {
        return response;
    }
    let mut inner = rect;
    legend.paint(ui, rect, plot);
    inner.min += vec2(LEFT, header);
    inner.max -= vec2(RIGHT, BELOW);
    if !inner.is_positive() {
        return response;
    }
    let frame = Frame { inner, most: plot.most.map(|most| if most > 0.0 && most.is_finite() { most } else { 1.0 }) };
    axes(ui, &frame, plot);
    let painter = ui.painter().with_clip_rect(inner.expand(1.0));
    for series in plot.series {
        let line = |points: &[[f64; 2]], stroke: Stroke| {
            let points: Vec<Pos2> = points.iter().map(|point| frame.at(*point)).collect();
            painter.add(Shape::line(points, stroke));
        };
        match &series.marks {
            Marks::Faint(points) => line(points, Stroke::new(1.0, series.colour)),
            Marks::Line(points) => line(points, Stroke::new(2.0, series.colour)),
            Marks::Dots(points) => {
                line(points, Stroke::new(1.0, series.colour));
                // Where so many dots would hide the line, only the newest is drawn.
                let few = points.len() as f32 * 4.0 < inner.width();
                for point in points.iter().skip(if few { 0 } else { points.len().saturating_sub(1) }) {
                    painter.circle_filled(frame.at(*point), 3.0, series.colour);
                }
            }
        }
    }
    response
}

impl Plot<'_> {
    /// `Loss: mean 0.123, watched 0.145`
    fn sentence(&self) -> String {
        let said = |series: &Series| series.newest.map(|newest| format!("{} {}", series.name, self.value(newest)));
        let values: Vec<String> = self.series.iter().filter_map(said).collect();
        match values[..] {
            [] => format!("{}: nothing yet", self.title),
            _ => format!("{}: {}", self.title, values.join(", ")),
        }
    }

    fn value(&self, value: f64) -> String {
        match self.percent {
            true => format!("{:.1} %", value * 100.0),
            false if value.abs() >= 1e4 => format!("{value:.1e}"),
            false => format!("{value:.3}"),
        }
    }
}

struct Frame {
    inner: Rect,
    most: [f64; 2],
}

impl Frame {
    fn at(&self, [x, y]: [f64; 2]) -> Pos2 {
        let share = |value: f64, most: f64| (value / most).clamp(-1.0, 2.0) as f32;
        pos2(
            self.inner.left() + share(x, self.most[0]) * self.inner.width(),
            self.inner.bottom() - share(y, self.most[1]) * self.inner.height(),
        )
    }
}

/// The title, and what the colours mean: to its right, and below it where there is no more room.
#[derive(Default)]
struct Legend {
    texts: Vec<Arc<Galley>>,
    /// The row of each text.
    rows: Vec<usize>,
}

impl Legend {
    fn of(ui: &Ui, width: f32, plot: &Plot<'_>) -> Legend {
        let colour = ui.visuals().text_color();
        let lay_out = |text: String, size| ui.painter().layout_no_wrap(text, FontId::proportional(size), colour);
        let said = |series: &Series| match series.newest {
            Some(newest) => format!("{} {}", series.name, plot.value(newest)),
            None => series.name.clone(),
        };
        let texts: Vec<_> = plot.series.iter().map(|series| lay_out(said(series), 12.0)).collect();
        let widths: Vec<f32> = texts.iter().map(|text| text.size().x + MARK + GAP).collect();
        let end = width - RIGHT;
        let title = MARGIN + lay_out(plot.title.into(), TITLE).size().x;
        Legend { texts, rows: rows(&widths, [end - title, end]) }
    }

    /// Height in rows.
    fn height(&self) -> usize {
        self.rows.last().map_or(1, |last| last + 1)
    }

    fn paint(self, ui: &Ui, rect: Rect, plot: &Plot<'_>) {
        let (painter, visuals) = (ui.painter().with_clip_rect(rect), ui.visuals());
        let middle = |row: usize| rect.top() + (row as f32 + 0.5) * HEADER - 2.0;
        let title = (pos2(rect.left() + MARGIN, middle(0)), Align2::LEFT_CENTER, FontId::proportional(TITLE));
        painter.text(title.0, title.1, plot.title, title.2, visuals.strong_text_color());
        let end = rect.right() - RIGHT;
        let (mut in_row, mut right) = (0, end);
        for ((series, text), row) in plot.series.iter().zip(self.texts).zip(self.rows).rev() {
            if row != in_row {
                (in_row, right) = (row, end);
            }
            let place = Align2::RIGHT_CENTER.anchor_size(pos2(right, middle(row)), text.size());
            painter.galley(place.min, text, visuals.text_color());
            let mark = pos2(place.left() - MARK, middle(row));
            match series.marks {
                Marks::Dots(_) => {
                    painter.circle_filled(mark, 3.5, series.colour);
                }
                Marks::Line(_) | Marks::Faint(_) => {
                    let width = if matches!(series.marks, Marks::Line(_)) { 2.5 } else { 1.0 };
                    let stroke = Stroke::new(width, series.colour);
                    painter.line_segment([mark - vec2(7.0, 0.0), mark + vec2(7.0, 0.0)], stroke);
                }
            }
            right = mark.x - GAP;
        }
    }
}

/// The row of each of a legend's entries; the first row has a different width from those below.
fn rows(widths: &[f32], [first, below]: [f32; 2]) -> Vec<usize> {
    let (mut row, mut left) = (0, first);
    let place = |width: &f32| {
        if *width > left {
            (row, left) = (row + 1, below);
        }
        left -= width;
        row
    };
    widths.iter().map(place).collect()
}

/// The plot area, lines across it, and the numbers beside them.
fn axes(ui: &Ui, frame: &Frame, plot: &Plot<'_>) {
    let (painter, visuals, inner) = (ui.painter(), ui.visuals(), frame.inner);
    painter.rect_filled(inner, 0.0, visuals.extreme_bg_color);
    let (grid, text) = (Stroke::new(1.0, visuals.weak_text_color().gamma_multiply(0.25)), visuals.text_color());
    let font = FontId::proportional(11.0);
    let down = ticks(frame.most[1], (inner.height() / 34.0) as usize);
    for y in &down {
        let at = painter.round_to_pixel_center(frame.at([0.0, *y]).y);
        painter.hline(inner.x_range(), at, grid);
        let said = if plot.percent { format!("{:.0} %", y * 100.0) } else { number(*y, &down) };
        painter.text(pos2(inner.left() - 6.0, at), Align2::RIGHT_CENTER, said, font.clone(), text);
    }
    let mut across = ticks(frame.most[0], (inner.width() / 75.0) as usize);
    // There are no halves of steps.
    across.retain(|x| x.fract() == 0.0);
    for x in &across {
        let at = painter.round_to_pixel_center(frame.at([*x, 0.0]).x);
        painter.vline(at, inner.y_range(), grid);
        // The last number stays inside, and the axis says what it counts.
        let (align, x_at) =
            if inner.right() - at < 24.0 { (Align2::RIGHT_TOP, inner.right()) } else { (Align2::CENTER_TOP, at) };
        let said = if *x == 0.0 { "step 0".into() } else { number(*x, &across) };
        painter.text(pos2(x_at, inner.bottom() + 4.0), align, said, font.clone(), text);
    }
    painter.rect_stroke(inner, 0.0, Stroke::new(1.0, visuals.weak_text_color()), egui::StrokeKind::Outside);
}

/// Round numbers from 0 to `most`, in about `intervals` intervals and no more.
fn ticks(most: f64, intervals: usize) -> Vec<f64> {
    let least = most / intervals.max(1) as f64;
    let ten = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * ten).into_iter().find(|step| *step >= least * 0.999_999);
    let step = step.unwrap_or(10.0 * ten);
    if !(step.is_finite() && step > 0.0) {
        return vec![0.0];
    }
    (0..=(most / step * 1.000_001) as usize).map(|i| i as f64 * step).collect()
}

/// A tick's number, with as many decimal places as the distance to the next tick requires.
fn number(value: f64, ticks: &[f64]) -> String {
    let step = ticks.get(1).copied().unwrap_or(1.0);
    if step >= 1e5 || (step < 1e-3 && step > 0.0) {
        return if value == 0.0 { "0".into() } else { format!("{value:.0e}") };
    }
    let places = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(most: f64, intervals: usize) -> Vec<String> {
        let ticks = ticks(most, intervals);
        ticks.iter().map(|tick| number(*tick, &ticks)).collect()
    }

    #[test]
    fn ticks_are_round_numbers_that_reach_the_end() {
        assert_eq!(said(2.4, 5), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(said(1.0, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(said(395.0, 4), ["0", "100", "200", "300"]);
        assert_eq!(said(5.0, 1), ["0", "5"]);
        assert_eq!(said(2e20, 2), ["0", "1e20", "2e20"]);
    }

    #[test]
    fn a_legend_that_is_wider_than_its_row_goes_on_in_the_next() {
        assert_eq!(rows(&[80.0, 90.0, 110.0], [300.0, 350.0]), [0, 0, 0]);
        assert_eq!(rows(&[80.0, 215.0, 110.0], [300.0, 350.0]), [0, 0, 1]);
        assert_eq!(rows(&[80.0, 215.0, 110.0], [70.0, 200.0]), [1, 2, 3]);
        assert!(rows(&[], [0.0; 2]).is_empty());
    }

    #[test]
    fn no_number_is_too_odd_for_an_axis() {
        for most in [1e-30, 1e-3, 7.0, 1e9, 3e38] {
            for intervals in [0, 1, 7, 100] {
                let ticks = ticks(most, intervals);
                assert!((1..=intervals.max(1) + 1).contains(&ticks.len()), "{most} in {intervals}: {ticks:?}");
                assert!(ticks.iter().all(|tick| tick.is_finite() && *tick <= most * 1.001));
            }
        }
    }
}
