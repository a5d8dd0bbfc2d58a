//! Turns any picture grey, or into given channels and size, regardless of what it shows.

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba};

use crate::data::MAX_CHANNELS;

/// The share of full alpha below which a pixel is not seen.
const SEEN: f32 = 0.1;
/// A picture with no luminance below this is light all over.
const LIGHT: f32 = 0.7;
/// Ink that is this much darker at its edge than inside was blended with dark paper there.
const FRINGE: f64 = 0.1;

/// Luminance (Rec. 709) of every pixel. Transparent parts are paper: white, or black under light ink.
pub fn gray(image: &DynamicImage) -> GrayImage {
    flattened(image).map_or_else(|| image.to_luma8(), |flat| DynamicImage::from(flat).to_luma8())
}

/// [`gray`] with 16-bit precision, from 0 to 255.
pub(super) fn luminance(image: &DynamicImage) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let gray = |image: &DynamicImage| match image {
        // Whole numbers of 8 bits stay whole.
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => widen(&image.to_luma8(), 1.0),
        _ => widen(&image.to_luma16(), 255.0 / 65535.0),
    };
    flattened(image).map_or_else(|| gray(image), |flat| gray(&DynamicImage::from(flat)))
}

fn widen<T: image::Primitive>(from: &ImageBuffer<Luma<T>, Vec<T>>, scale: f32) -> ImageBuffer<Luma<f32>, Vec<f32>>
where
    f32: From<T>,
{
    let mut map = ImageBuffer::new(from.width(), from.height());
    // Not by place: this way the compiler makes vectors of it.
    map.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = f32::from(*from) * scale);
    map
}

/// The picture at `height` x `width`, as bytes of 1 to [`MAX_CHANNELS`] channels: grey, grey with alpha, RGB or RGBA.
/// Each pixel is an average of what it covers; the aspect ratio is not kept. A picture that has this size keeps its
/// pixels.
///
/// Without an alpha channel, transparent parts become paper, as in [`gray`].
pub fn fit(image: &DynamicImage, [height, width, channels]: [usize; 3]) -> Vec<u8> {
    // Whoever takes sizes from a file has refused others.
    debug_assert!((1..=MAX_CHANNELS).contains(&channels));
    let flat = if channels.is_multiple_of(2) { None } else { flattened(image).map(DynamicImage::from) };
    let image = flat.as_ref().unwrap_or(image);
    let (width, height) = (width as u32, height as u32);
    let resized = |image: &DynamicImage| match (image.width(), image.height()) == (width, height) {
        true => image.clone(),
        // Neither bright nor dark parts ring, as they do with sharper filters.
        false => image.resize_exact(width, height, FilterType::Triangle),
    };
    match channels {
        1 => resized(&image.to_luma8().into()).into_luma8().into_raw(),
        2 => resized(&image.to_luma_alpha8().into()).into_luma_alpha8().into_raw(),
        3 => resized(&image.to_rgb8().into()).into_rgb8().into_raw(),
        _ => resized(&image.to_rgba8().into()).into_rgba8().into_raw(),
    }
}

/// The picture on its paper; `None` if nothing is transparent.
fn flattened(image: &DynamicImage) -> Option<ImageBuffer<Rgba<u16>, Vec<u16>>> {
    if !image.color().has_alpha() {
        return None;
    }
    let mut image = image.to_rgba16();
    if image.pixels().all(|pixel| pixel.0[3] == u16::MAX) {
        return None;
    }
    // White ink on a transparent ground would be lost on white paper.
    let paper = if is_light(&image) { 0.0 } else { 1.0 };
    for pixel in image.pixels_mut() {
        let alpha = full(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            *value = ((full(*value) * alpha + paper * (1.0 - alpha)) * 65535.0).round() as u16;
        }
        pixel.0[3] = u16::MAX;
    }
    Some(image)
}

/// Whether the visible part is light ink: light all over, or light but for a dark fringe, which remains where the one
/// colour of black paper was made transparent. A light card with dark ink has a light edge.
fn is_light(image: &ImageBuffer<Rgba<u16>, Vec<u16>>) -> bool {
    let (width, height) = image.dimensions();
    let ends_at = |(x, y): (u32, u32)| x < width && y < height && full(image.get_pixel(x, y).0[3]) < SEEN;
    let mut is_light_all_over = true;
    // Alpha and luminance times alpha, summed over pixels next to invisible ones and over all others.
    let mut sums = [[0.0f64; 2]; 2];
    for (x, y, pixel) in image.enumerate_pixels() {
        let [r, g, b, alpha] = pixel.0.map(full);
        if alpha < SEEN {
            continue;
        }
        let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        is_light_all_over &= luminance > LIGHT;
        let beside = [(x + 1, y), (x, y + 1), (x.wrapping_sub(1), y), (x, y.wrapping_sub(1))];
        let [alphas, luminances] = &mut sums[usize::from(!beside.into_iter().any(ends_at))];
        *alphas += f64::from(alpha);
        *luminances += f64::from(luminance * alpha);
    }
    let [fringe, within] = sums.map(|[alphas, luminances]| luminances / alphas);
    is_light_all_over || (within > 0.5 && fringe < within - FRINGE)
}

fn full(value: u16) -> f32 {
    f32::from(value) / 65535.0
}

/// A map of numbers at another size, each the mean of exactly what it covers: filters that reach farther blur strokes a
/// pixel or two wide, and the network was trained on sharp ones.
pub(super) fn area(
    map: &ImageBuffer<Luma<f32>, Vec<f32>>,
    width: u32,
    height: u32,
) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let shares = |from: u32, to: u32| -> Vec<(u32, Vec<f32>)> {
        let step = f64::from(from) / f64::from(to);
        let one = |i: u32| {
            let (begin, end) = (f64::from(i) * step, (f64::from(i) + 1.0) * step);
            let last = (end.ceil() as u32).min(from);
            let first = (begin as u32).min(last - 1);
            let covered = |j: u32| ((f64::from(j) + 1.0).min(end) - f64::from(j).max(begin)).max(0.0) / step;
            (first, (first..last).map(|j| covered(j) as f32).collect())
        };
        (0..to).map(one).collect()
    };
    let (columns, rows) = (shares(map.width(), width), shares(map.height(), height));
    let across = ImageBuffer::from_fn(width, map.height(), |x, y| {
        let (first, shares) = &columns[x as usize];
        Luma([(*first..).zip(shares).map(|(x, share)| map.get_pixel(x, y).0[0] * share).sum::<f32>()])
    });
    ImageBuffer::from_fn(width, height, |x, y| {
        let (first, shares) = &rows[y as usize];
        Luma([(*first..).zip(shares).map(|(y, share)| across.get_pixel(x, y).0[0] * share).sum::<f32>()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_the_size_asked_for_keeps_its_bytes() {
        let bytes: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let grey = DynamicImage::from(GrayImage::from_raw(4, 3, bytes.clone()).unwrap());
        assert_eq!(fit(&grey, [3, 4, 1]), bytes);
        let rgb = grey.to_rgb8();
        assert_eq!(fit(&rgb.clone().into(), [3, 4, 3]), rgb.clone().into_raw());
        assert_eq!(fit(&rgb.into(), [3, 4, 1]), bytes, "grey stays what it was in RGB");
        let clear = image::RgbaImage::from_fn(4, 3, |x, y| Rgba([200, 10, 10, (y * 4 + x) as u8 * 20]));
        assert_eq!(fit(&clear.clone().into(), [3, 4, 4]), clear.clone().into_raw());
        let grey = fit(&clear.into(), [3, 4, 2]);
        assert!(grey.into_iter().skip(1).step_by(2).eq(bytes), "what is transparent stays so");
    }

    #[test]
    fn a_smaller_picture_is_the_average_of_what_it_covers() {
        let checks = GrayImage::from_fn(64, 64, |x, y| Luma([if (x + y) % 2 == 0 { 0 } else { 200 }]));
        for value in fit(&checks.into(), [8, 8, 1]) {
            assert!(value.abs_diff(100) < 4, "{value}");
        }
    }

    #[test]
    fn ink_on_nothing_is_seen_whether_it_is_black_or_white() {
        for ink in [0, 255] {
            let drawing = image::RgbaImage::from_fn(8, 8, |x, _| Rgba([ink, ink, ink, if x < 4 { 255 } else { 0 }]));
            let gray = gray(&drawing.into());
            assert_eq!((gray.get_pixel(0, 0).0, gray.get_pixel(7, 0).0), ([ink], [255 - ink]));
        }
    }

    #[test]
    fn a_white_card_with_black_ink_stays_on_white() {
        let card = image::RgbaImage::from_fn(8, 8, |x, y| match (x, y) {
            (0, _) => Rgba([255, 255, 255, 0]),
            (4, _) => Rgba([0, 0, 0, 255]),
            _ => Rgba([255, 255, 255, 255]),
        });
        assert_eq!(gray(&card.into()).get_pixel(0, 0).0, [255]);
    }

    /// How much of a pixel of a 21x21 picture a disc with a soft edge covers.
    fn disc(x: u32, y: u32) -> f64 {
        (8.0 - (f64::from(x) - 10.0).hypot(f64::from(y) - 10.0)).clamp(0.0, 2.0) / 2.0
    }

    #[test]
    fn ink_whose_paper_was_made_transparent_gets_that_paper_again() {
        for (ink, paper) in [(255u8, 0u8), (0, 255)] {
            let keyed = image::RgbaImage::from_fn(21, 21, |x, y| {
                let value = f64::from(paper) + (f64::from(ink) - f64::from(paper)) * disc(x, y);
                let value = value.round() as u8;
                Rgba([value, value, value, if value == paper { 0 } else { 255 }])
            });
            let gray = gray(&keyed.into());
            assert_eq!((gray.get_pixel(0, 0).0, gray.get_pixel(10, 10).0), ([paper], [ink]));
        }
    }

    #[test]
    fn white_ink_that_keeps_some_of_the_dark_around_it_is_on_black() {
        let cut = image::RgbaImage::from_fn(21, 21, |x, y| {
            let value = if disc(x, y) < 0.9 { 120 } else { 255 };
            Rgba([value, value, value, (disc(x, y) * 255.0) as u8])
        });
        assert_eq!(gray(&cut.into()).get_pixel(0, 0).0, [0]);
    }

    #[test]
    fn sixteen_bits_are_not_cut_to_eight_on_the_way() {
        let deep = ImageBuffer::<Luma<u16>, _>::from_pixel(1, 1, Luma([300u16]));
        let value = luminance(&deep.into()).get_pixel(0, 0).0[0];
        assert!((value - 300.0 * 255.0 / 65535.0).abs() < 1e-4, "{value}");
    }
}
