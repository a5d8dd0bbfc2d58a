//! Lays out many small images, enlarged and captioned, on one contact sheet.

use image::RgbImage;

use crate::report::canvas::{Area, Canvas};
use crate::report::palette::{self, FRAME, INK, PAPER, QUIET, Rgb};
use crate::report::text::{self, Align, label};
use crate::report::{MAX_SIDE, ReportError};

/// All in pixels.
const MARGIN: u64 = 24;
const GAP: u64 = 16;
const TITLE_ROW: u64 = 46;
const TITLE: f32 = 22.0;
/// A title has at least this much room, however narrow its sheet would be.
const TITLE_ROOM: f32 = 900.0;
const CAPTION: f32 = 15.0;
const CAPTION_ROW: u64 = 20;
/// Cells grow to hold their captions, but not beyond this or the image itself.
const WIDEST_CAPTION: u64 = 220;
/// No more than this many characters of a caption are looked at.
const LONGEST_CAPTION: usize = 200;

/// One image of a sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetItem<'a> {
    /// Height x width x channels bytes, row by row, channels last.
    pub pixels: &'a [u8],
    /// Up to two lines; a long one is broken in two at a breakable space, and what does not fit is cut.
    pub caption: String,
}

/// Contact sheet of images of one `(height, width, channels)`, `columns` in a row.
///
/// Each pixel becomes a square of `scale` x `scale` pixels. 1 channel is grey, 2 grey with
/// alpha, 3 RGB, 4 RGBA (on white). A `columns` or `scale` of 0 counts as 1.
///
/// # Errors
/// [`ReportError::WrongChannels`] and [`ReportError::WrongPixels`] for images that are not
/// what `shape` says, [`ReportError::TooLarge`] for a sheet beyond the largest side.
pub fn titled_sheet(
    title: &str,
    items: &[SheetItem<'_>],
    shape: (usize, usize, usize),
    columns: usize,
    scale: usize,
) -> Result<RgbImage, ReportError> {
    check(items, shape)?;
    let (h, w, _) = shape;
    let scale = scale.max(1) as u64;
    let (image_w, image_h) = (scaled(w, scale), scaled(h, scale));
    let columns = columns.clamp(1, items.len().max(1)) as u64;
    let rows = (items.len() as u64).div_ceil(columns);
    let ((cell_w, cell_h), captions) = cell(items.iter().map(|item| item.caption.as_str()), (image_w, image_h));

    let top = MARGIN + if title.trim().is_empty() { 0 } else { TITLE_ROW };
    let across = (columns * (cell_w + GAP)).saturating_sub(GAP);
    let title_room = (MAX_SIDE - 2 * MARGIN) as f32;
    let title = text::fit(title, TITLE, (across as f32).max(TITLE_ROOM).min(title_room));
    let title_w = text::width(&title, TITLE).ceil() as u64;
    let width = across.max(title_w).max(160) + 2 * MARGIN;
    let down = (rows.saturating_mul(cell_h + GAP)).saturating_sub(GAP);
    let height = top.saturating_add(down.max(40)).saturating_add(MARGIN);
    let mut canvas = Canvas::new("contact sheet", width, height)?;

    let start = (MARGIN as i64, MARGIN as i64 + 12);
    text::write(&mut canvas, start, &title, label(TITLE, INK, Align::Start));
    if items.is_empty() {
        let middle = (width as i64 / 2, (top + 20) as i64);
        let quiet = label(CAPTION, QUIET, Align::Middle);
        text::write(&mut canvas, middle, "nothing to show", quiet);
    }
    for (i, (item, caption)) in items.iter().zip(&captions).enumerate() {
        let (column, row) = (i as u64 % columns, i as u64 / columns);
        let x = (MARGIN + column * (cell_w + GAP)) as i64;
        let y = (top + row * (cell_h + GAP)) as i64;
        let area = Area { x: x + (cell_w - image_w) as i64 / 2, y, w: image_w as i64, h: image_h as i64 };
        enlarge(&mut canvas, item.pixels, shape, area, scale as i64);
        for (line, text) in caption.iter().enumerate() {
            let y = y + (image_h + 6 + line as u64 * CAPTION_ROW + CAPTION_ROW / 2) as i64;
            let centred = label(CAPTION, INK, Align::Middle);
            text::write(&mut canvas, (x + cell_w as i64 / 2, y), text, centred);
        }
    }
    Ok(canvas.into_image())
}

/// How many rows and columns of images of `(height, width)`, enlarged and with these captions, a titled sheet has room
/// for. At least one of each: [`titled_sheet`] refuses whatever is too large by itself.
pub fn sheet_room<'a>(
    captions: impl Iterator<Item = &'a str> + Clone,
    (h, w): (usize, usize),
    scale: usize,
) -> (usize, usize) {
    let scale = scale.max(1) as u64;
    let ((cell_w, cell_h), _) = cell(captions, (scaled(w, scale), scaled(h, scale)));
    let fit = |side: u64, cell: u64| ((side + GAP) / (cell + GAP)).max(1) as usize;
    let side = MAX_SIDE - 2 * MARGIN;
    (fit(side - TITLE_ROW, cell_h), fit(side, cell_w))
}

/// The caption of an image that was taken for a class other than its own: `4 → 9`. Names that do not fit the widest
/// caption keep their start and their end.
pub(crate) fn mistake_caption(truth: &str, answer: &str) -> String {
    const ARROW: &str = " \u{2192} ";
    let width = |text: &str| text::width(text, CAPTION);
    let room = WIDEST_CAPTION as f32 - 1.0 - width(ARROW);
    // The room that a short name leaves goes to the other one.
    let beside = |other: &str| (room - width(other)).max(room / 2.0);
    let [truth, answer] =
        [(truth, answer), (answer, truth)].map(|(name, other)| text::fit_name(name, CAPTION, beside(other)));
    format!("{truth}{ARROW}{answer}")
}

/// Width and height of a cell with an image of this width and height, and the lines of each caption below it.
fn cell<'a>(
    captions: impl Iterator<Item = &'a str> + Clone,
    (image_w, image_h): (u64, u64),
) -> ((u64, u64), Vec<Vec<String>>) {
    let widest = captions.clone().map(|caption| needed(caption, image_w)).max().unwrap_or(0);
    let width = image_w.max(widest.min(WIDEST_CAPTION));
    let captions: Vec<Vec<String>> = captions.map(|caption| caption_lines(caption, width as f32)).collect();
    let lines = captions.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let height = image_h + lines * CAPTION_ROW + if lines > 0 { 6 } else { 0 };
    ((width, height), captions)
}

/// A side after enlarging, capped so that later sums cannot overflow; the cap is far beyond the limit.
fn scaled(side: usize, scale: u64) -> u64 {
    (side as u64).saturating_mul(scale).min(u64::from(u32::MAX))
}

fn check(items: &[SheetItem<'_>], (h, w, c): (usize, usize, usize)) -> Result<(), ReportError> {
    if !(1..=4).contains(&c) {
        return Err(ReportError::WrongChannels(c));
    }
    let expected = (h as u64).saturating_mul(w as u64).saturating_mul(c as u64);
    for (item, found) in items.iter().map(|item| item.pixels.len() as u64).enumerate() {
        if found != expected {
            return Err(ReportError::WrongPixels { item, expected, found });
        }
    }
    Ok(())
}

fn shortened(caption: &str) -> String {
    caption.chars().take(LONGEST_CAPTION).collect()
}

/// Pixels that a caption needs: on one line if the image is that wide, else on two.
fn needed(caption: &str, image_w: u64) -> u64 {
    let caption = shortened(caption);
    let width = |line: &str| text::width(line.trim(), CAPTION).ceil() as u64 + 1;
    let mut lines = caption.lines();
    match (lines.next(), lines.next()) {
        (None, _) => 0,
        (Some(first), Some(second)) => width(first).max(width(second)),
        (Some(only), None) if width(only) <= image_w => width(only),
        (Some(only), None) => {
            let halves = only.match_indices(' ').map(|(at, _)| only.split_at(at));
            let widths = halves.map(|(a, b)| width(a).max(width(b)));
            widths.min().unwrap_or_else(|| width(only))
        }
    }
}

/// At most four lines that fit `room` pixels.
fn caption_lines(caption: &str, room: f32) -> Vec<String> {
    let caption = shortened(caption);
    let lines = caption.lines().take(2).flat_map(|line| broken(line.trim(), room));
    lines.map(|line| text::fit_name(line, CAPTION, room)).collect()
}

/// A line that is wider than `room` in two, if the first of them can fit.
fn broken(line: &str, room: f32) -> Vec<&str> {
    if text::width(line, CAPTION) <= room {
        return vec![line];
    }
    let breaks = line.match_indices(' ').map(|(at, _)| at);
    let mut fitting = breaks.filter(|at| text::width(&line[..*at], CAPTION) <= room);
    fitting.next_back().map_or(vec![line], |at| vec![&line[..at], &line[at..]])
}

fn enlarge(canvas: &mut Canvas, pixels: &[u8], (_, w, c): (usize, usize, usize), area: Area, scale: i64) {
    for (i, pixel) in pixels.chunks_exact(c).enumerate() {
        let square =
            Area { x: area.x + (i % w) as i64 * scale, y: area.y + (i / w) as i64 * scale, w: scale, h: scale };
        canvas.fill(square, colour(pixel));
    }
    // Outside the image, so that no pixel of it is hidden.
    let around = Area { x: area.x - 1, y: area.y - 1, w: area.w + 2, h: area.h + 2 };
    canvas.frame(around, FRAME);
}

fn colour(pixel: &[u8]) -> Rgb {
    let over_paper = |colour, alpha: u8| palette::mix(colour, PAPER, f32::from(alpha) / 255.0);
    match *pixel {
        [grey] => [grey; 3],
        [grey, alpha] => over_paper([grey; 3], alpha),
        [r, g, b] => [r, g, b],
        [r, g, b, alpha] => over_paper([r, g, b], alpha),
        _ => PAPER,
    }
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;
