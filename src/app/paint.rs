//! Numbers as pictures for the window: grey for brightness, two colours for values above and below zero.

use eframe::egui::{self, Color32, ColorImage, TextureHandle, TextureOptions};

/// Keeps pixels sharp when they are enlarged.
pub const SHARP: TextureOptions = TextureOptions::NEAREST;

/// Colours of numbers above and below zero: most people who cannot tell red from green can tell these apart.
pub const ABOVE: Color32 = Color32::from_rgb(0xe6, 0x7e, 0x22);
pub const BELOW: Color32 = Color32::from_rgb(0x2e, 0x86, 0xde);

/// A grey picture from brightness values between 0 and 1.
pub fn gray(size: [usize; 2], values: &[f32]) -> ColorImage {
    ColorImage::from_gray_iter([size[1], size[0]], values.iter().map(|x| (x * 255.0 + 0.5) as u8))
}

/// A picture of numbers relative to `most`: black for zero, orange above, blue below.
pub fn signed(size: [usize; 2], values: impl Iterator<Item = f32>, most: f32) -> ColorImage {
    let most = if most > 0.0 { most } else { 1.0 };
    let pixels = values.map(|x| {
        let share = (x / most).clamp(-1.0, 1.0);
        scaled(if share < 0.0 { BELOW } else { ABOVE }, share.abs())
    });
    ColorImage::new([size[1], size[0]], pixels.collect())
}

/// The same, to be laid over a picture: zero is transparent.
pub fn overlay(size: [usize; 2], values: &[f32]) -> ColorImage {
    let most = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let most = if most > 0.0 { most } else { 1.0 };
    let pixels = values.iter().map(|x| {
        let share = (x / most).clamp(-1.0, 1.0);
        let colour = if share < 0.0 { BELOW } else { ABOVE };
        // Faint values would only grey the picture.
        let alpha = ((share.abs() - 0.05).max(0.0) * 230.0) as u8;
        Color32::from_rgba_unmultiplied(colour.r(), colour.g(), colour.b(), alpha)
    });
    ColorImage::new([size[1], size[0]], pixels.collect())
}

fn scaled(colour: Color32, share: f32) -> Color32 {
    let scale = |channel: u8| (f32::from(channel) * share) as u8;
    Color32::from_rgb(scale(colour.r()), scale(colour.g()), scale(colour.b()))
}

/// How small pictures of one size are laid out in one texture: row by row, the whole about as wide as high.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiles {
    count: usize,
    columns: usize,
    rows: usize,
    /// Height and width of each.
    picture: [usize; 2],
    /// If the whole would exceed the largest side of a texture, only every second pixel is kept, or every third.
    skip: usize,
}

impl Tiles {
    /// Lays out `count` pictures of `[height, width]` in a texture whose sides are `most` pixels at most.
    pub fn new(count: usize, picture: [usize; 2], most: usize) -> Tiles {
        let ([height, width], some) = (picture.map(|side| side.max(1)), count.max(1));
        let is_wide = |columns: &usize| columns * width >= some.div_ceil(*columns) * height;
        let columns = (1..=some).find(is_wide).unwrap_or(some);
        let rows = some.div_ceil(columns);
        let skip = (rows * height).max(columns * width).div_ceil(most.max(1)).max(1);
        Tiles { count, columns, rows, picture: [height, width], skip }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Height and width of a picture in the texture.
    fn tile(&self) -> [usize; 2] {
        self.picture.map(|side| side.div_ceil(self.skip))
    }

    /// Height and width of the whole.
    pub fn size(&self) -> [usize; 2] {
        let [height, width] = self.tile();
        [self.rows * height, self.columns * width]
    }

    /// The pixels of the whole: `value` gives them by picture, row and column; `nothing` fills what has no picture.
    pub fn lay_out<T: Copy>(&self, nothing: T, value: impl Fn(usize, [usize; 2]) -> T) -> Vec<T> {
        let ([height, width], [rows, columns]) = (self.tile(), self.size());
        let pixel = |at: usize| {
            let (y, x) = (at / columns, at % columns);
            let i = y / height * self.columns + x / width;
            if i < self.count { value(i, [y % height * self.skip, x % width * self.skip]) } else { nothing }
        };
        (0..rows * columns).map(pixel).collect()
    }

    /// Where in the texture a picture is.
    pub fn part(&self, i: usize) -> egui::Rect {
        let size = egui::vec2(1.0 / self.columns as f32, 1.0 / self.rows as f32);
        let corner = egui::pos2((i % self.columns) as f32 * size.x, (i / self.columns) as f32 * size.y);
        egui::Rect::from_min_size(corner, size)
    }
}

/// Thins out a picture that is too large for a texture to every second pixel, or every third.
fn within(image: ColorImage, most: usize) -> ColorImage {
    let [width, height] = image.size;
    let skip = width.max(height).div_ceil(most.max(1)).max(1);
    if skip == 1 {
        return image;
    }
    let (w, h) = (width.div_ceil(skip), height.div_ceil(skip));
    let pixel = |at: usize| image.pixels[at / w * skip * width + at % w * skip];
    ColorImage::new([w, h], (0..w * h).map(pixel).collect())
}

/// The largest side that a texture may have here.
pub fn most(ctx: &egui::Context) -> usize {
    ctx.input(|input| input.max_texture_side).max(1)
}

/// A texture that is made again only when its picture changes.
#[derive(Default)]
pub struct Picture {
    texture: Option<TextureHandle>,
    is_smooth: bool,
}

impl Picture {
    /// For a picture whose pixels are too small to be seen singly.
    pub fn smooth() -> Picture {
        Picture { is_smooth: true, ..Picture::default() }
    }

    pub fn set(&mut self, ctx: &egui::Context, name: &str, image: ColorImage) {
        let options = if self.is_smooth { TextureOptions::LINEAR } else { SHARP };
        // A picture that is too large would end the program.
        let image = within(image, most(ctx));
        match &mut self.texture {
            Some(texture) => texture.set(image, options),
            none => *none = Some(ctx.load_texture(name, image, options)),
        }
    }
    pub fn clear(&mut self) {
        self.texture = None;
    }
    pub fn texture(&self) -> Option<&TextureHandle> {
        self.texture.as_ref()
    }

    /// Paints the picture into a rectangle; nothing if there is none.
    pub fn paint(&self, painter: &egui::Painter, rect: egui::Rect) {
        let uv = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
        if let Some(texture) = &self.texture {
            painter.image(texture.id(), rect, uv, Color32::WHITE);
        }
    }

    /// Shows the picture, or a black one of the same size, under an accessible name.
    pub fn show(&self, ui: &mut egui::Ui, size: egui::Vec2, name: &str, sense: egui::Sense) -> egui::Response {
        let (rect, response) = ui.allocate_exact_size(size, sense);
        if self.texture.is_none() {
            ui.painter().rect_filled(rect, 0.0, Color32::BLACK);
        }
        self.paint(ui.painter(), rect);
        let role = if sense.senses_click() { egui::Role::Button } else { egui::Role::Image };
        response.widget_info(|| egui::WidgetInfo::labeled(role, true, name));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_row_by_row_and_are_found_again() {
        for (count, picture) in [(18, [2, 3]), (1, [4, 4]), (16, [1, 784]), (7, [30, 1])] {
            let tiles = Tiles::new(count, picture, 4096);
            let [height, width] = tiles.size();
            let pixels = tiles.lay_out(usize::MAX, |i, _| i);
            assert_eq!(pixels.len(), height * width);
            for i in 0..count {
                let at = tiles.part(i).center();
                let (x, y) = ((at.x * width as f32) as usize, (at.y * height as f32) as usize);
                assert_eq!(pixels[y * width + x], i, "{count} of {picture:?}");
            }
        }
    }

    #[test]
    fn no_tiles_and_no_picture_are_larger_than_a_texture_may_be() {
        for (count, picture) in [(256, [224, 224]), (256, [1, 784]), (16, [1, 50_000]), (64, [3000, 2]), (0, [0, 0])] {
            let size = Tiles::new(count, picture, 2048).size();
            assert!(size.iter().all(|side| (1..=2048).contains(side)), "{count} of {picture:?}: {size:?}");
        }
        // Rows stand below each other, where there is room for them.
        assert_eq!(Tiles::new(16, [1, 784], 8192).size(), [16, 784]);
        let ctx = egui::Context::default();
        let mut picture = Picture::default();
        picture.set(&ctx, "wide", gray([1, 12_544], &[0.5; 12_544]));
        assert!(picture.texture().is_some_and(|texture| texture.size()[0] <= most(&ctx)));
    }

    #[test]
    fn a_picture_that_is_too_large_keeps_every_second_pixel() {
        let image = within(gray([2, 5], &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), 3);
        let grey: Vec<u8> = image.pixels.iter().map(|pixel| pixel.r()).collect();
        assert_eq!((image.size, grey), ([3, 1], vec![0, 51, 102]));
    }
}
