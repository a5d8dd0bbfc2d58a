//! A white canvas with the marks that pictures need: filled boxes and blended masks.
//!
//! Lines, dots and letters are first gathered in a [`Mask`] of coverage and then blended
//! once, so that a pale line crossing itself does not darken at the crossings.

use image::{Rgb as Pixel, RgbImage};

use crate::report::palette::{PAPER, Rgb};
use crate::report::{MAX_SIDE, ReportError};

/// A box in pixels; parts outside the canvas are not drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub x: i64,
    pub y: i64,
    pub w: i64,
    pub h: i64,
}

pub(crate) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    /// A white canvas; `what` names the picture in the error.
    pub(crate) fn new(what: &'static str, width: u64, height: u64) -> Result<Self, ReportError> {
        let too_large = ReportError::TooLarge { what, width, height };
        if width.max(height) > MAX_SIDE {
            return Err(too_large);
        }
        let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
            return Err(too_large);
        };
        Ok(Self { image: RgbImage::from_pixel(w.max(1), h.max(1), Pixel(PAPER)) })
    }

    pub(crate) fn into_image(self) -> RgbImage {
        self.image
    }

    pub(crate) fn fill(&mut self, area: Area, colour: Rgb) {
        let (width, height) = (i64::from(self.image.width()), i64::from(self.image.height()));
        for y in area.y.max(0)..area.y.saturating_add(area.h).min(height) {
            for x in area.x.max(0)..area.x.saturating_add(area.w).min(width) {
                self.image.put_pixel(x as u32, y as u32, Pixel(colour));
            }
        }
    }

    /// A one-pixel frame just inside `area`.
    pub(crate) fn frame(&mut self, area: Area, colour: Rgb) {
        let Area { x, y, w, h } = area;
        self.fill(Area { x, y, w, h: 1 }, colour);
        self.fill(Area { x, y, w: 1, h }, colour);
        let (bottom, right) = (y + h - 1, x + w - 1);
        self.fill(Area { x, y: bottom, w, h: 1 }, colour);
        self.fill(Area { x: right, y, w: 1, h }, colour);
    }

    /// Blends in `colour` where `mask` covers, with the mask's top left corner at (`x`, `y`).
    pub(crate) fn stamp(&mut self, mask: &Mask, x: i64, y: i64, colour: Rgb, alpha: f32) {
        for row in 0..mask.height {
            for column in 0..mask.width {
                let cover = mask.cover[row * mask.width + column] * alpha;
                let (x, y) = (x + column as i64, y + row as i64);
                let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                    continue;
                };
                if cover <= 0.0 {
                    continue;
                }
                if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
                    pixel.0 = crate::report::palette::mix(colour, pixel.0, cover);
                }
            }
        }
    }
}

/// How much of each pixel is covered, from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    width: usize,
    height: usize,
    cover: Vec<f32>,
}

impl Mask {
    /// An empty mask; sides are limited to [`MAX_SIDE`], as nothing larger can be stamped.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let limit = MAX_SIDE as usize;
        let (width, height) = (width.min(limit), height.min(limit));
        Self { width, height, cover: vec![0.0; width * height] }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// Raises the coverage of a pixel to at least `cover`; outside pixels are ignored.
    pub(crate) fn raise(&mut self, x: i64, y: i64, cover: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x < self.width && y < self.height {
            let here = &mut self.cover[y * self.width + x];
            *here = here.max(cover.min(1.0));
        }
    }

    /// A line with round ends; `radius` is half its width in pixels.
    pub(crate) fn line(&mut self, from: (f32, f32), to: (f32, f32), radius: f32) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length2 = dx * dx + dy * dy;
        let reach = radius + 1.0;
        let steep = dy.abs() > dx.abs();
        // Walking along the longer direction keeps the cost in proportion to the length of the line.
        let (start, end, limit) = if steep {
            (from.1.min(to.1), from.1.max(to.1), self.height)
        } else {
            (from.0.min(to.0), from.0.max(to.0), self.width)
        };
        let first = (start - reach).floor().max(0.0) as i64;
        let last = ((end + reach).ceil() as i64).min(limit as i64 - 1);
        for along in first..=last {
            let (origin, slope) = match (steep, length2 > 0.0) {
                (true, _) => (from.0 - from.1 * (dx / dy), dx / dy),
                (false, true) => (from.1 - from.0 * (dy / dx), dy / dx),
                (false, false) => (from.1, 0.0),
            };
            let centre = origin + slope * (along as f32 + 0.5);
            let half = reach * (1.0 + slope * slope).sqrt() + 1.0;
            for across in (centre - half).floor() as i64..=(centre + half).ceil() as i64 {
                let (x, y) = if steep { (across, along) } else { (along, across) };
                let (px, py) = (x as f32 + 0.5 - from.0, y as f32 + 0.5 - from.1);
                let t = if length2 > 0.0 { ((px * dx + py * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - t * dx).hypot(py - t * dy);
                self.raise(x, y, radius + 0.5 - distance);
            }
        }
    }

    /// Clears every second stretch of columns, which turns lines into dashes.
    pub(crate) fn dash(&mut self) {
        for (i, cover) in self.cover.iter_mut().enumerate() {
            if i % self.width % 13 >= 8 {
                *cover = 0.0;
            }
        }
    }

    /// The mask turned a quarter to the left, for text that reads upwards.
    pub(crate) fn turned(&self) -> Self {
        let mut turned = Self::new(self.height, self.width);
        for y in 0..self.height {
            for x in 0..self.width {
                turned.cover[(self.width - 1 - x) * self.height + y] = self.cover[y * self.width + x];
            }
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::palette::INK;

    #[test]
    fn a_level_line_covers_whole_pixels_where_it_lies_and_none_elsewhere() {
        let mut mask = Mask::new(20, 9);
        mask.line((4.5, 4.5), (15.5, 4.5), 1.5);
        let mut canvas = Canvas::new("test", 20, 9).unwrap();
        canvas.stamp(&mask, 0, 0, INK, 1.0);
        let image = canvas.into_image();
        for y in 3..=5 {
            assert_eq!(image.get_pixel(10, y).0, INK);
        }
        assert_eq!(image.get_pixel(10, 1).0, PAPER);
        assert_eq!(image.get_pixel(18, 4).0, PAPER);
    }

    #[test]
    fn lines_far_outside_and_lines_of_no_length_do_no_harm() {
        let mut mask = Mask::new(8, 8);
        mask.line((-1e4, -1e4), (1e4, 1e4), 1.0);
        mask.line((3.0, 3.0), (3.0, 3.0), 1.0);
        mask.line((-50.0, 2.0), (-40.0, 2.0), 1.0);
        mask.line((2.0, 900.0), (2.0, 800.0), 1.0);
        assert!(mask.cover.iter().all(|c| (0.0..=1.0).contains(c)));
        assert_eq!(mask.cover[0], 1.0);
        assert_eq!(mask.cover[7], 0.0);
    }

    #[test]
    fn turning_a_mask_puts_its_right_end_on_top() {
        let mut mask = Mask::new(3, 2);
        mask.raise(2, 0, 1.0);
        let turned = mask.turned();
        assert_eq!((turned.width(), turned.height()), (2, 3));
        assert_eq!(turned.cover, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_canvas_beyond_the_limit_is_refused_with_its_size() {
        let error = Canvas::new("sheet", MAX_SIDE + 1, 5).err().unwrap();
        assert_eq!(error.to_string(), "the sheet would be 16385 x 5 pixels; at most 16384 a side are drawn");
    }
}
