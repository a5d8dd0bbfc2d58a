//! All pictures of an answer in one texture.

use eframe::egui::{self, Color32, ColorImage, Rect, TextureHandle, pos2};

use crate::app::paint::Picture;

#[derive(Default)]
pub struct Atlas {
    picture: Picture,
    count: usize,
    columns: usize,
    rows: usize,
}

impl Atlas {
    pub fn clear(&mut self) {
        self.picture.clear();
        self.count = 0;
    }

    /// Pictures of `[height, width, channels]`, one after another.
    pub fn set(&mut self, ctx: &egui::Context, pictures: &[u8], image: [usize; 3]) {
        let size: usize = image.iter().product();
        if size == 0 || pictures.len() < size {
            return self.clear();
        }
        self.count = pictures.len() / size;
        self.columns = (self.count as f64).sqrt().ceil() as usize;
        self.rows = self.count.div_ceil(self.columns);
        let most = ctx.input(|input| input.max_texture_side).max(1);
        let image = lay_out(pictures, image, [self.rows, self.columns], most);
        self.picture.set(ctx, "dream", image);
    }

    /// The texture, and where in it a picture is.
    pub fn get(&self, index: usize) -> Option<(&TextureHandle, Rect)> {
        let texture = self.picture.texture().filter(|_| index < self.count)?;
        let at = |column: usize, row: usize| pos2(column as f32 / self.columns as f32, row as f32 / self.rows as f32);
        let (column, row) = (index % self.columns, index / self.columns);
        Some((texture, Rect::from_min_max(at(column, row), at(column + 1, row + 1))))
    }
}

/// Side by side; where that is more than a texture may have a side, only every second pixel, or third.
fn lay_out(
    pictures: &[u8],
    [height, width, channels]: [usize; 3],
    [rows, columns]: [usize; 2],
    most: usize,
) -> ColorImage {
    let skip = (rows * height).max(columns * width).div_ceil(most).max(1);
    let (h, w) = (height.div_ceil(skip), width.div_ceil(skip));
    let mut image = ColorImage::filled([columns * w, rows * h], Color32::BLACK);
    for (i, picture) in pictures.chunks_exact(height * width * channels).enumerate() {
        for (y, line) in picture.chunks_exact(width * channels).step_by(skip).enumerate() {
            let place = (i / columns * h + y) * columns * w + i % columns * w;
            for (x, pixel) in line.chunks_exact(channels).step_by(skip).enumerate() {
                image.pixels[place + x] = match *pixel {
                    [r, g, b] => Color32::from_rgb(r, g, b),
                    [gray, ..] => Color32::from_gray(gray),
                    [] => Color32::BLACK,
                };
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_side_by_side_grey_or_coloured_and_within_what_a_texture_may_have() {
        let image = lay_out(&[1, 2, 3, 4, 5, 6], [1, 2, 1], [2, 2], 4096);
        let grey: Vec<u8> = image.pixels.iter().map(|pixel| pixel.r()).collect();
        assert_eq!((image.size, &grey[..]), ([4, 2], &[1, 2, 3, 4, 5, 6, 0, 0][..]));
        let image = lay_out(&[1, 2, 3], [1, 1, 3], [1, 1], 4096);
        assert_eq!(image.pixels, [Color32::from_rgb(1, 2, 3)]);
        let image = lay_out(&[7; 4 * 25], [5, 5, 1], [2, 2], 4);
        assert!(image.size == [4, 4] && image.pixels.iter().all(|pixel| pixel.r() == 7), "{:?}", image.size);
    }
}
