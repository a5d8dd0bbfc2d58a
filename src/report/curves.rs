//! Draws the curves of one or several runs, with panels side by side and legends above the data.

use image::RgbImage;

use crate::report::axis::Axis;
use crate::report::canvas::{Area, Canvas};
use crate::report::palette::{self, FRAME, GRID, INK, QUIET, Rgb};
use crate::report::plot::{self, Hidden, Plot};
use crate::report::text::{self, Align, label};
use crate::report::{Panel, ReportError, Style};

/// All in pixels.
const MARGIN: i64 = 28;
const PANEL_WIDTH: i64 = 800;
const PLOT_HEIGHT: i64 = 430;
const PICTURE_TITLE: i64 = 52;
const PANEL_TITLE: i64 = 36;
const LEGEND_ROW: i64 = 28;
/// Room under the plot for the tick labels and the axis label.
const UNDER: i64 = 64;
const NOTE: i64 = 26;
/// Room between a panel's right edge and its plot, for the last tick label.
const RIGHT: i64 = 40;
const SWATCH: i64 = 44;
const LEGEND_GAP: i64 = 26;
/// Most legend entries; the last then says how many more there are.
const LEGEND_MOST: usize = 24;

const SMALL: f32 = 16.0;
const NORMAL: f32 = 18.0;
const HEADING: f32 = 20.0;
const TITLE: f32 = 26.0;

struct Entry {
    name: String,
    styles: Vec<Style>,
    line: (Rgb, bool),
}

/// Legend of one panel: its entries and how they are laid out.
struct Legend {
    entries: Vec<Entry>,
    columns: i64,
    column_width: i64,
}

impl Legend {
    fn rows(&self) -> i64 {
        (self.entries.len() as i64 + self.columns - 1) / self.columns
    }
}

/// Draws `panels` side by side under `title`; each is 800 pixels wide.
///
/// Series of the same name have the same colour in all panels. The y range follows the later part of the run and leaves
/// out outliers; a note under the panel counts the points that are not shown and says why.
///
/// # Errors
/// [`ReportError::TooLarge`] for more than about 20 panels.
pub fn curves_picture(title: &str, panels: &[Panel]) -> Result<RgbImage, ReportError> {
    let names = names_in_order(panels);
    let lefts: Vec<i64> = panels.iter().map(left_room).collect();
    let legends: Vec<Legend> =
        panels.iter().zip(&lefts).map(|(panel, left)| legend(panel, &names, PANEL_WIDTH - left - RIGHT)).collect();
    let notes: Vec<String> = panels.iter().map(note).collect();

    let filled = |rows: i64, here: bool| if here { rows } else { 0 };
    let rows = legends.iter().map(Legend::rows).max().unwrap_or(0);
    let titles_at = MARGIN + filled(PICTURE_TITLE, !title.trim().is_empty());
    let titled = panels.iter().any(|panel| !panel.title.trim().is_empty());
    let legends_at = titles_at + filled(PANEL_TITLE, titled);
    let plots_at = legends_at + rows * LEGEND_ROW + filled(8, rows > 0);
    let noted = notes.iter().any(|note| !note.is_empty());
    let height = plots_at + PLOT_HEIGHT + UNDER + filled(NOTE, noted) + MARGIN;
    let count = panels.len().max(1) as u64;
    let width = count.saturating_mul(PANEL_WIDTH as u64) + 2 * MARGIN as u64;
    let mut canvas = Canvas::new("picture of curves", width, height as u64)?;

    let room = (width as i64 - 2 * MARGIN) as f32;
    let heading = label(TITLE, INK, Align::Start);
    let title = text::fit(title, TITLE, room);
    text::write(&mut canvas, (MARGIN, MARGIN + 14), &title, heading);
    if panels.is_empty() {
        let middle = (width as i64 / 2, plots_at + PLOT_HEIGHT / 2);
        let quiet = label(NORMAL, QUIET, Align::Middle);
        text::write(&mut canvas, middle, "nothing to show", quiet);
    }
    for (i, panel) in panels.iter().enumerate() {
        let x = MARGIN + i as i64 * PANEL_WIDTH;
        let area = Area { x: x + lefts[i], y: plots_at, w: PANEL_WIDTH - lefts[i] - RIGHT, h: PLOT_HEIGHT };
        let small_heading = label(HEADING, INK, Align::Start);
        let name = text::fit(&panel.title, HEADING, area.w as f32);
        text::write(&mut canvas, (area.x, titles_at + 10), &name, small_heading);
        draw_legend(&mut canvas, &legends[i], (area.x, legends_at));
        draw_axes(&mut canvas, panel, area, x);
        draw_data(&mut canvas, panel, &names, area);
        let below = (area.x, area.y + area.h + UNDER + NOTE / 2);
        let note = text::fit(&notes[i], SMALL, area.w as f32);
        text::write(&mut canvas, below, &note, label(SMALL, QUIET, Align::Start));
    }
    Ok(canvas.into_image())
}

/// Each name once, in the order of first appearance: its place decides its colour.
fn names_in_order(panels: &[Panel]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    names
}

fn line_of(name: &str, names: &[&str]) -> (Rgb, bool) {
    palette::line(names.iter().position(|n| *n == name).unwrap_or(0))
}

fn y_axis(panel: &Panel) -> Option<Axis> {
    Axis::upright(&panel.series, panel.log_y)
}

/// Room left of the plot for the axis label and the widest tick label.
fn left_room(panel: &Panel) -> i64 {
    let ticks = y_axis(panel).map_or_else(Vec::new, |axis| axis.ticks(6));
    let widths = ticks.iter().map(|tick| text::width(&tick.label, NORMAL));
    34 + widths.fold(20.0, f32::max).ceil() as i64 + 12
}

fn legend(panel: &Panel, names: &[&str], room: i64) -> Legend {
    let mut entries: Vec<Entry> = Vec::new();
    for series in panel.series.iter().filter(|s| !s.name.trim().is_empty()) {
        let name = text::fit_name(&format!("{}{}", series.name, series.remark), NORMAL, (room - SWATCH) as f32);
        let line = line_of(&series.name, names);
        match entries.iter_mut().find(|e| e.name == name && e.line == line) {
            Some(entry) => entry.styles.push(series.style),
            None => entries.push(Entry { name, styles: vec![series.style], line }),
        }
    }
    if entries.len() > LEGEND_MOST {
        let more = entries.len() - (LEGEND_MOST - 1);
        entries.truncate(LEGEND_MOST - 1);
        entries.push(Entry { name: format!("and {more} more"), styles: Vec::new(), line: (QUIET, false) });
    }
    for entry in &mut entries {
        // A pale line under a strong one of the same name needs no swatch of its own.
        if entry.styles.iter().any(|s| *s != Style::Thin) {
            entry.styles.retain(|s| *s != Style::Thin);
        }
    }
    let widest = entries.iter().map(|entry| text::width(&entry.name, NORMAL).ceil() as i64).max().unwrap_or(0);
    let column_width = SWATCH + widest + LEGEND_GAP;
    let fitting = ((room + LEGEND_GAP) / column_width).max(1);
    let count = entries.len() as i64;
    let rows = ((count + fitting - 1) / fitting).max(1);
    Legend {
        entries,
        // As few columns as these rows need, so that the last row is not nearly empty.
        columns: ((count + rows - 1) / rows).max(1),
        column_width,
    }
}

fn draw_legend(canvas: &mut Canvas, legend: &Legend, (x, y): (i64, i64)) {
    for (i, entry) in legend.entries.iter().enumerate() {
        let x = x + i as i64 % legend.columns * legend.column_width;
        let y = y + i as i64 / legend.columns * LEGEND_ROW + LEGEND_ROW / 2;
        for style in &entry.styles {
            plot::swatch(canvas, (x + 17, y), *style, entry.line);
        }
        let ink = label(NORMAL, INK, Align::Start);
        text::write(canvas, (x + SWATCH, y), &entry.name, ink);
    }
}

fn draw_axes(canvas: &mut Canvas, panel: &Panel, area: Area, left: i64) {
    let below = area.y + area.h;
    let across = Axis::across(&panel.series).map_or_else(Vec::new, |axis| axis.ticks(6));
    for tick in across {
        let x = area.x + (tick.at * (area.w - 1) as f64).round() as i64;
        canvas.fill(Area { x, w: 1, ..area }, GRID);
        let ink = label(NORMAL, INK, Align::Middle);
        text::write(canvas, (x, below + 18), &tick.label, ink);
    }
    let up = y_axis(panel).map_or_else(Vec::new, |axis| axis.ticks(6));
    for tick in up {
        let y = area.y + ((1.0 - tick.at) * (area.h - 1) as f64).round() as i64;
        canvas.fill(Area { y, h: 1, ..area }, GRID);
        let ink = label(NORMAL, INK, Align::End);
        text::write(canvas, (area.x - 10, y), &tick.label, ink);
    }
    let ink = label(NORMAL, INK, Align::Middle);
    let name = text::fit(&panel.x_label, NORMAL, area.w as f32);
    text::write(canvas, (area.x + area.w / 2, below + 48), &name, ink);
    let name = text::fit(&panel.y_label, NORMAL, area.h as f32);
    let middle = area.y + area.h / 2;
    text::write_upwards(canvas, (left + 12, middle), &name, ink);
}

fn draw_data(canvas: &mut Canvas, panel: &Panel, names: &[&str], area: Area) {
    let axes = Axis::across(&panel.series).zip(y_axis(panel));
    if let Some((x, y)) = axes {
        let plot = Plot { area, x, y };
        // Pale lines are under the strong ones, whatever order they are given in.
        for style in [Style::Thin, Style::Strong, Style::Dots] {
            for series in panel.series.iter().filter(|s| s.style == style) {
                plot.draw(canvas, series, line_of(&series.name, names));
            }
        }
    } else {
        let middle = (area.x + area.w / 2, area.y + area.h / 2);
        let quiet = label(NORMAL, QUIET, Align::Middle);
        text::write(canvas, middle, "no points", quiet);
    }
    canvas.frame(area, FRAME);
}

/// Says which points the panel does not show; empty if it shows all.
fn note(panel: &Panel) -> String {
    let hidden = plot::hidden(&panel.series, y_axis(panel).as_ref(), panel.log_y);
    let Hidden { not_finite, not_positive, outside } = hidden;
    let reasons = [(not_finite, "not finite"), (not_positive, "not above 0"), (outside, "outside the range shown")];
    let parts: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| {
            let points = if *count == 1 { "point" } else { "points" };
            format!("{count} {points} {reason}")
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
#[path = "curves_tests.rs"]
mod tests;
