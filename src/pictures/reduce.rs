//! Reduces a picture as `image`'s `thumbnail` does: each pixel is the mean of a block of whole ones. Here rows are
//! added to each other first, with vector instructions, which takes a fraction of the time.

use std::ops::Range;

use image::{DynamicImage, GenericImageView, ImageBuffer, Pixel};

use crate::parallel::vectorized;

/// The picture with its aspect ratio kept and its longer side reduced to `side`, which is less than it was.
pub(crate) fn reduced(image: &DynamicImage, side: u32) -> DynamicImage {
    let scale = f64::from(side) / f64::from(image.width().max(image.height()));
    let [width, height] =
        [image.width(), image.height()].map(|length| ((f64::from(length) * scale).round() as u32).max(1));
    match image {
        DynamicImage::ImageLuma8(image) => DynamicImage::ImageLuma8(means(image, width, height)),
        DynamicImage::ImageLumaA8(image) => DynamicImage::ImageLumaA8(means(image, width, height)),
        DynamicImage::ImageRgb8(image) => DynamicImage::ImageRgb8(means(image, width, height)),
        DynamicImage::ImageRgba8(image) => DynamicImage::ImageRgba8(means(image, width, height)),
        image => image.thumbnail_exact(width, height),
    }
}

fn means<P: Pixel<Subpixel = u8>>(image: &ImageBuffer<P, Vec<u8>>, width: u32, height: u32) -> ImageBuffer<P, Vec<u8>> {
    let channels = usize::from(P::CHANNEL_COUNT);
    let stride = image.width() as usize * channels;
    let columns = blocks(image.width(), width);
    // 32 bits are enough: with the longer side reduced to 2048, a block is at most 1/2048 of 100 million pixels.
    let mut sums = vec![0u32; stride];
    let mut divisor = Divisor::new(1);
    let mut result = image.buffer_with_dimensions(width, height);
    let lines = result.chunks_exact_mut(width as usize * channels);
    for (rows, line) in blocks(image.height(), height).into_iter().zip(lines) {
        let band = &image.as_raw()[rows.start * stride..rows.end * stride];
        vectorized(
            #[inline(always)]
            || {
                sums.fill(0);
                for row in band.chunks_exact(stride) {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += u32::from(*value));
                }
            },
        );
        for (columns, pixel) in columns.iter().zip(line.chunks_exact_mut(channels)) {
            let count = (columns.len() * rows.len()) as u32;
            if divisor.count != count {
                divisor = Divisor::new(count);
            }
            let mut block = [count / 2; 4];
            for column in sums[columns.start * channels..columns.end * channels].chunks_exact(channels) {
                for (all, sum) in block.iter_mut().zip(column) {
                    *all += sum;
                }
            }
            for (value, sum) in pixel.iter_mut().zip(block) {
                *value = divisor.divide(sum);
            }
        }
    }
    result
}

/// Divides sums of bytes by their number, as a product: a division takes ten times as long.
struct Divisor {
    count: u32,
    factor: u64,
}

impl Divisor {
    /// A quotient is exact for up to 2^16 bytes: their sum, with half of their number for rounding, is below 2^24, and the
    /// factor is by less than one too large.
    fn new(count: u32) -> Divisor {
        Divisor { count, factor: (1u64 << 40).div_ceil(u64::from(count)) }
    }

    fn divide(&self, sum: u32) -> u8 {
        ((u64::from(sum) * self.factor) >> 40) as u8
    }
}

/// Which of the `from` pixels each of the `to` pixels is made of, with the rounding of `thumbnail`.
fn blocks(from: u32, to: u32) -> Vec<Range<usize>> {
    let step = from as f32 / to as f32;
    let block = |i: u32| {
        let begin = i as f32 * step;
        let first = (begin.ceil() as u32).min(from - 1);
        let end = ((begin + step).ceil() as u32).clamp(first + 1, from);
        first as usize..end as usize
    };
    (0..to).map(block).collect()
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    #[test]
    fn sums_are_divided_exactly() {
        for count in (1..300).chain([4095, 4096, 48_828, 65_535, 65_536]) {
            let divisor = Divisor::new(count);
            for quotient in 0..=255 {
                for sum in [quotient * count, quotient * count + count / 2, quotient * count + count - 1] {
                    assert_eq!(u32::from(divisor.divide(sum)), quotient, "{sum} / {count}");
                }
            }
        }
    }

    #[test]
    fn pictures_are_reduced_to_the_bytes_that_thumbnail_has() {
        let mut random = 1u32;
        for (width, height) in [(61, 40), (40, 61), (99, 1), (1, 99), (97, 96), (400, 33), (33, 32)] {
            let noise = RgbaImage::from_fn(width, height, |_, _| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Rgba(random.to_be_bytes())
            });
            let noise = DynamicImage::from(noise);
            let kinds: [DynamicImage; 5] = [
                noise.to_luma8().into(),
                noise.to_luma_alpha8().into(),
                noise.to_rgb8().into(),
                noise.to_rgb16().into(),
                noise,
            ];
            for image in kinds {
                assert!(reduced(&image, 32) == image.thumbnail(32, 32), "{width}x{height} {:?}", image.color());
            }
        }
    }
}
