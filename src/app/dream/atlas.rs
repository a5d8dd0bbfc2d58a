//! All pictures of an answer in one texture.

use eframe::egui::{self, Color32, ColorImage, Rect, TextureHandle};

use crate::app::paint::{self, Picture, Tiles};

#[derive(Default)]
pub struct Atlas {
    picture: Picture,
    tiles: Option<Tiles>,
}

impl Atlas {
    pub fn clear(&mut self) {
        self.picture.clear();
        self.tiles = None;
    }

    /// Pictures of `[height, width, channels]`, one after another.
    pub fn set(&mut self, ctx: &egui::Context, pictures: &[u8], image: [usize; 3]) {
        let size: usize = image.iter().product();
        if size == 0 || pictures.len() < size {
            return self.clear();
        }
        let [height, width, _] = image;
        let tiles = Tiles::new(pictures.len() / size, [height, width], paint::most(ctx));
        self.picture.set(ctx, "dream", lay_out(pictures, image, &tiles));
        self.tiles = Some(tiles);
    }

    /// The texture, and where in it a picture is.
    pub fn get(&self, index: usize) -> Option<(&TextureHandle, Rect)> {
        let tiles = self.tiles.filter(|tiles| index < tiles.count())?;
        Some((self.picture.texture()?, tiles.part(index)))
    }
}

fn lay_out(pictures: &[u8], [height, width, channels]: [usize; 3], tiles: &Tiles) -> ColorImage {
    let pixel = |i: usize, [y, x]: [usize; 2]| {
        let at = ((i * height + y) * width + x) * channels;
        match pictures.get(at..at + channels) {
            Some(&[r, g, b]) => Color32::from_rgb(r, g, b),
            Some(&[gray, ..]) => Color32::from_gray(gray),
            _ => Color32::BLACK,
        }
    };
    let [rows, columns] = tiles.size();
    ColorImage::new([columns, rows], tiles.lay_out(Color32::BLACK, pixel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_side_by_side_grey_or_coloured_and_within_what_a_texture_may_have() {
        let of = |pictures: &[u8], image: [usize; 3], count, most| {
            lay_out(pictures, image, &Tiles::new(count, [image[0], image[1]], most))
        };
        let image = of(&[1, 2, 3, 4, 5, 6], [2, 1, 1], 3, 4096);
        let grey: Vec<u8> = image.pixels.iter().map(|pixel| pixel.r()).collect();
        assert_eq!((image.size, &grey[..]), ([3, 2], &[1, 3, 5, 2, 4, 6][..]));
        let image = of(&[1, 2, 3], [1, 1, 3], 1, 4096);
        assert_eq!(image.pixels, [Color32::from_rgb(1, 2, 3)]);
        let image = of(&[7; 4 * 25], [5, 5, 1], 4, 4);
        assert!(image.size == [4, 4] && image.pixels.iter().all(|pixel| pixel.r() == 7), "{:?}", image.size);
    }
}
