//! Draws a [`Confusion`] as a heat map whose colours follow the logarithm of the counts.
//!
//! Right answers are blue and mistakes orange, so that a single mistake among thousands of
//! right answers still shows.

use image::RgbImage;

use crate::report::canvas::{Area, Canvas};
use crate::report::palette::{self, BLUE, FRAME, GRID, INK, ORANGE, PAPER, QUIET, Rgb};
use crate::report::table::class_name;
use crate::report::text::{self, Align, label};
use crate::report::{Confusion, ReportError};

/// All in pixels.
const MARGIN: i64 = 28;
const TITLE_ROW: i64 = 50;
const TITLE: f32 = 22.0;
const NORMAL: f32 = 18.0;
/// Limits of a cell's side, and the side that the whole matrix should have within these.
const SMALLEST_CELL: i64 = 1;
const LARGEST_CELL: i64 = 84;
const MATRIX: i64 = 860;
/// Width of the longest class name beside the matrix.
const LONGEST_NAME: f32 = 170.0;
const SMALLEST_COUNT: f32 = 10.0;
const BAR: i64 = 18;
const SHORTEST_BAR: i64 = 150;
const LONGEST_BAR: i64 = 300;
/// Room right of the matrix for the two colour bars.
const BARS: i64 = 212;

/// Draws the matrix with counts in the cells, truth down and prediction across.
///
/// Counts are left out where the cells are too small for them, and names are thinned out where they would overlap.
/// Classes without a name in `class_names` show as their number.
///
/// # Errors
/// [`ReportError::TooLarge`] if the picture would exceed the largest side.
pub fn confusion_picture<N: AsRef<str>>(confusion: &Confusion, class_names: &[N]) -> Result<RgbImage, ReportError> {
    let names = (0..confusion.classes()).map(|class| class_name(class_names, class)).collect();
    Heat::new(confusion, names).draw()
}

struct Heat<'a> {
    confusion: &'a Confusion,
    names: Vec<String>,
    title: String,
    cell: i64,
    name_size: f32,
    /// One class in this many has room for its name.
    every: usize,
    names_upwards: bool,
    most_right: u64,
    most_wrong: u64,
    /// Where the matrix is in the picture.
    area: Area,
    width: i64,
    height: i64,
    predicted_at: i64,
}

impl<'a> Heat<'a> {
    fn new(confusion: &'a Confusion, mut names: Vec<String>) -> Self {
        let n = names.len() as i64;
        let cell = (MATRIX / n.max(1)).clamp(SMALLEST_CELL, LARGEST_CELL);
        let name_size = if cell < 24 { 13.0 } else { NORMAL };
        for name in &mut names {
            *name = text::fit_name(name, name_size, LONGEST_NAME);
        }
        let widths = names.iter().map(|name| text::width(name, name_size));
        let longest = widths.fold(10.0, f32::max).ceil() as i64;
        let names_upwards = longest + 8 > cell;
        let title = match confusion.accuracy() {
            Some(accuracy) => format!(
                "{:.2} % right: {} of {}, {} mistaken",
                100.0 * accuracy,
                confusion.correct(),
                confusion.total(),
                confusion.total() - confusion.correct(),
            ),
            None => "no examples".to_owned(),
        };
        let area = Area { x: MARGIN + 34 + longest + 12, y: MARGIN + TITLE_ROW, w: n * cell, h: n * cell };
        let title_end = area.x + text::width(&title, TITLE).ceil() as i64 + MARGIN;
        let under = if names_upwards { longest + 14 } else { 34 } + 38;
        Self {
            every: (name_size as u64 + 3).div_ceil(cell.max(1) as u64) as usize,
            name_size,
            cell,
            names_upwards,
            most_right: (0..names.len()).map(|class| confusion.count(class, class)).max().unwrap_or(0),
            most_wrong: confusion.most_confused(1).first().map_or(0, |m| m.count),
            width: title_end.max(area.x + area.w + BARS + MARGIN),
            height: area.y + (area.h + under).max(26 + SHORTEST_BAR + 10) + MARGIN,
            predicted_at: area.y + area.h + under - 10,
            area,
            title,
            names,
            confusion,
        }
    }

    fn draw(&self) -> Result<RgbImage, ReportError> {
        let size = (self.width as u64, self.height as u64);
        let mut canvas = Canvas::new("confusion matrix", size.0, size.1)?;
        let start = (self.area.x, MARGIN + 14);
        text::write(&mut canvas, start, &self.title, label(TITLE, INK, Align::Start));
        if self.names.is_empty() {
            let middle = (self.width / 2, self.height / 2);
            let quiet = label(NORMAL, QUIET, Align::Middle);
            text::write(&mut canvas, middle, "no classes", quiet);
            return Ok(canvas.into_image());
        }
        self.draw_cells(&mut canvas);
        self.draw_names(&mut canvas);
        let x = self.area.x + self.area.w + 36;
        self.draw_bar(&mut canvas, x, ("right", BLUE, self.most_right));
        self.draw_bar(&mut canvas, x + 96, ("mistaken", ORANGE, self.most_wrong));
        Ok(canvas.into_image())
    }

    fn draw_cells(&self, canvas: &mut Canvas) {
        let largest = self.most_right.max(self.most_wrong).to_string();
        let room = self.cell as f32 - 6.0;
        let fitting = NORMAL * room / text::width(&largest, NORMAL).max(1.0);
        let size = fitting.min(room * 0.75).min(20.0);
        let line = i64::from(self.cell >= 12);
        for truth in 0..self.names.len() {
            for predicted in 0..self.names.len() {
                let count = self.confusion.count(truth, predicted);
                let (colour, most) =
                    if truth == predicted { (BLUE, self.most_right) } else { (ORANGE, self.most_wrong) };
                let ground = shade(colour, count, most);
                let cell = Area {
                    x: self.area.x + predicted as i64 * self.cell,
                    y: self.area.y + truth as i64 * self.cell,
                    w: self.cell,
                    h: self.cell,
                };
                canvas.fill(cell, if line > 0 { GRID } else { ground });
                let (w, h) = (self.cell - line, self.cell - line);
                canvas.fill(Area { w, h, ..cell }, ground);
                if count > 0 && size >= SMALLEST_COUNT {
                    let middle = (cell.x + self.cell / 2, cell.y + self.cell / 2);
                    let ink = label(size, palette::ink_on(ground), Align::Middle);
                    text::write(canvas, middle, &count.to_string(), ink);
                }
            }
        }
        let Area { x, y, w, h } = self.area;
        let around = Area { x: x - 1, y: y - 1, w: w + 2 - line, h: h + 2 - line };
        canvas.frame(around, FRAME);
    }

    fn draw_names(&self, canvas: &mut Canvas) {
        let Area { x, y, w, h } = self.area;
        for (class, name) in self.names.iter().enumerate().step_by(self.every) {
            let middle = class as i64 * self.cell + self.cell / 2;
            let end = label(self.name_size, INK, Align::End);
            text::write(canvas, (x - 10, y + middle), name, end);
            if self.names_upwards {
                text::write_upwards(canvas, (x + middle, y + h + 10), name, end);
            } else {
                let centred = label(self.name_size, INK, Align::Middle);
                text::write(canvas, (x + middle, y + h + 20), name, centred);
            }
        }
        let quiet = label(NORMAL, QUIET, Align::Middle);
        text::write(canvas, (x + w / 2, self.predicted_at), "predicted", quiet);
        text::write_upwards(canvas, (MARGIN + 10, y + h / 2), "truth", quiet);
    }

    /// A scale of one colour, from one example at the bottom to the most at the top.
    fn draw_bar(&self, canvas: &mut Canvas, x: i64, (name, colour, most): (&str, Rgb, u64)) {
        let top = self.area.y + 26;
        let height = (self.area.h - 26).clamp(SHORTEST_BAR, LONGEST_BAR);
        let start = label(15.0, QUIET, Align::Start);
        text::write(canvas, (x, self.area.y + 6), name, start);
        if most == 0 {
            text::write(canvas, (x, top + 10), "none", start);
            return;
        }
        let count_at = |share: f64| ((most as f64).ln() * share).exp();
        for row in 0..height {
            let share = 1.0 - row as f64 / (height - 1) as f64;
            let colour = palette::mix(colour, PAPER, darkness(count_at(share), most));
            let line = Area { x, y: top + row, w: BAR, h: 1 };
            canvas.fill(line, colour);
        }
        let decades = (0..20).map_while(|power| 10u64.checked_pow(power));
        let offset = |count: u64| {
            let share = if most > 1 { (count as f64).ln() / (most as f64).ln() } else { 1.0 };
            ((1.0 - share) * (height - 1) as f64).round() as i64
        };
        // The label of a decade right under the maximum would overlap it.
        let clear = |count: &u64| *count < most && offset(*count) >= 20;
        for count in decades.take_while(clear).chain([most]) {
            let y = top + offset(count);
            let text = text::fit(&count.to_string(), 15.0, 66.0);
            text::write(canvas, (x + BAR + 6, y), &text, label(15.0, INK, Align::Start));
        }
    }
}

/// From 0.18, so that a single example is visible, to 1 for the largest count; logarithmic.
fn darkness(count: f64, most: u64) -> f32 {
    let share = (count.max(1.0).ln() + 0.01) / ((most.max(1) as f64).ln() + 0.01);
    0.18 + 0.82 * share as f32
}

fn shade(colour: Rgb, count: u64, most: u64) -> Rgb {
    if count == 0 {
        return PAPER;
    }
    palette::mix(colour, PAPER, darkness(count as f64, most))
}

#[cfg(test)]
#[path = "heat_tests.rs"]
mod tests;
