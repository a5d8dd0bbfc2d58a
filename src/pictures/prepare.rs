//! Does to any picture what MNIST's makers did to their scans: light ink on black, cropped, scaled into the middle 20
//! of 28 pixels with its aspect ratio kept, and centred by its centre of mass.
//!
//! Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": "size normalized to fit in a 20x20
//! pixel box while preserving their aspect ratio [...] centered in a 28x28 image by computing the center of mass".

use image::DynamicImage;

use super::fit::{area, fit, luminance};
use super::ink::{self, Ink, Map};

/// When pictures are prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Unless a picture has the network's own size and a dark border: then it is taken as prepared.
    #[default]
    Auto,
    Always,
    /// Only brought to the network's size.
    Never,
}

/// Whether ink is darker than paper, and so has to be inverted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Invert {
    /// If most of what differs from the border is darker than it.
    #[default]
    Auto,
    Always,
    Never,
}

/// What is done to a picture. The default is everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preparation {
    pub mode: Mode,
    pub invert: Invert,
    /// Paper becomes black, however it is tinted or shaded, and ink becomes white.
    pub contrast: bool,
    /// Strokes too thin to be seen at the network's size are made thicker.
    pub thicken: bool,
    /// Crop to the inked region.
    pub crop: bool,
    /// Scale into the middle 20 of 28 pixels; otherwise into all of them.
    pub margin: bool,
    /// Centre by the centre of mass; otherwise by the middle.
    pub center: bool,
}

impl Default for Preparation {
    fn default() -> Preparation {
        let (mode, invert) = (Mode::Auto, Invert::Auto);
        Preparation { mode, invert, contrast: true, thicken: true, crop: true, margin: true, center: true }
    }
}

impl Preparation {
    /// Whether pictures are only brought to the size of inputs with this many channels: colour has no ink and no paper.
    pub fn only_fits(&self, channels: usize) -> bool {
        channels != 1 || self.mode == Mode::Never
    }
}

/// What a network is to see of a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Height x width x channels bytes, as the network's input.
    pub pixels: Vec<u8>,
    /// Not a pixel was changed.
    pub as_is: bool,
    pub inverted: bool,
    pub cropped: bool,
    /// There is nothing on it.
    pub blank: bool,
}

/// Whether [`Mode::Auto`] takes a grey picture of the network's own size, bytes of `[height, width]`, as prepared:
/// whether its border is dark.
pub fn is_prepared(pixels: &[u8], [height, width]: [usize; 2]) -> bool {
    let values = pixels.iter().map(|value| f32::from(*value)).collect();
    Map::from_raw(width as u32, height as u32, values).is_some_and(|gray| ink::border_is_dark(&gray))
}

/// Whether a grey picture, bytes of `[height, width]`, is dark, as light ink on black is: its border, and most of its
/// light all in all. What fills a picture on black may be as light as paper.
pub fn is_dark(pixels: &[u8], size: [usize; 2]) -> bool {
    let sum: u64 = pixels.iter().map(|value| u64::from(*value)).sum();
    sum < 128 * pixels.len() as u64 && is_prepared(pixels, size)
}

/// Turns a picture into what a network with inputs of `[height, width, channels]` is to see. Networks with several
/// channels get it at their size and otherwise as it is.
pub fn prepare(image: &DynamicImage, input: [usize; 3], how: &Preparation) -> Prepared {
    let [height, width, channels] = input;
    let own_size = (image.width() as usize, image.height() as usize) == (width, height);
    if how.only_fits(channels) {
        let pixels = fit(image, input);
        return Prepared { pixels, as_is: own_size, inverted: false, cropped: false, blank: false };
    }
    let gray = luminance(image);
    if how.mode == Mode::Auto && own_size && ink::border_is_dark(&gray) {
        // The network sees all of it, also what would be lost among the noise if it were prepared.
        let blank = ink::is_even(&gray);
        return Prepared { pixels: fit(image, input), as_is: true, inverted: false, cropped: false, blank };
    }
    let Some(found) = ink::find(&gray, how.invert) else {
        // What blank paper becomes.
        let pixels = vec![0; height * width];
        return Prepared { pixels, as_is: false, inverted: false, cropped: false, blank: true };
    };
    let inverted = found.dark;
    let Ink { map, region, .. } = if how.contrast { found } else { found.without_contrast(&gray) };
    let whole = [0, 0, map.width(), map.height()];
    let region = if how.crop { region } else { whole };
    let (bh, bw) = if how.margin { (boxed(height), boxed(width)) } else { (height as u32, width as u32) };
    let mut map = image::imageops::crop_imm(&map, region[0], region[1], region[2], region[3]).to_image();
    let scale = (f64::from(bw) / f64::from(map.width())).min(f64::from(bh) / f64::from(map.height()));
    if how.thicken {
        map = ink::thickened(map, scale);
    }
    let scale = (f64::from(bw) / f64::from(map.width())).min(f64::from(bh) / f64::from(map.height()));
    let side = |from: u32, most: u32| ((f64::from(from) * scale).round() as u32).clamp(1, most);
    let map = area(&map, side(map.width(), bw), side(map.height(), bh));
    let pixels = placed(&map, [height, width], how);
    Prepared { pixels, as_is: false, inverted, cropped: region != whole, blank: false }
}

/// The side of the box that ink is scaled into.
fn boxed(side: usize) -> u32 {
    ((side as f64 * 20.0 / 28.0).round() as u32).max(1)
}

/// The map on black, with its centre of mass (or its middle) in the middle, as far as all of it stays inside.
fn placed(map: &Map, [height, width]: [usize; 2], how: &Preparation) -> Vec<u8> {
    let (w, h) = (map.width() as usize, map.height() as usize);
    let peak = map.pixels().fold(0.0f32, |peak, pixel| peak.max(pixel.0[0]));
    // Scaling down has blended strokes with the paper beside them and lowered their peak.
    let gain = if how.contrast && peak > 0.0 { (1.0 / peak).clamp(1.0, 4.0) } else { 1.0 };
    let (mut mass, mut x_mass, mut y_mass) = (0.0, 0.0, 0.0);
    for (x, y, pixel) in map.enumerate_pixels() {
        let ink = f64::from(pixel.0[0]);
        mass += ink;
        x_mass += ink * f64::from(x);
        y_mass += ink * f64::from(y);
    }
    let offset = |side: usize, length: usize, moment: f64| {
        // As in MNIST, pixel 14 of 0 to 27 is the middle for a centre of mass.
        let centre = if how.center && mass > 0.0 { moment / mass } else { length as f64 / 2.0 };
        (side as f64 / 2.0 - centre).round().clamp(0.0, (side - length) as f64) as usize
    };
    let (left, top) = (offset(width, w, x_mass), offset(height, h, y_mass));
    let mut pixels = vec![0; height * width];
    for (x, y, pixel) in map.enumerate_pixels() {
        let value = (pixel.0[0] * gain * 255.0).round().clamp(0.0, 255.0) as u8;
        pixels[(top + y as usize) * width + left + x as usize] = value;
    }
    pixels
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
