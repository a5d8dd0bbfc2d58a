use image::{GrayImage, Luma, Rgb, RgbImage, imageops};
use proptest::prelude::*;

use super::*;
use crate::data::mnist;

const INPUT: [usize; 3] = [28, 28, 1];

fn digits(count: usize) -> Vec<GrayImage> {
    let set = mnist::embedded().unwrap().test;
    (0..count).map(|i| GrayImage::from_raw(28, 28, set.image(i).to_vec()).unwrap()).collect()
}

fn all(image: impl Into<DynamicImage>) -> Prepared {
    prepare(&image.into(), INPUT, &Preparation::default())
}

/// The mean difference between two digits, in grey levels, at the best of the nine shifts of at most a pixel.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let at = |pixels: &[u8], x: i32, y: i32| {
        let inside = (0..28).contains(&x) && (0..28).contains(&y);
        if inside { i32::from(pixels[(y * 28 + x) as usize]) } else { 0 }
    };
    let shifts = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (dx, dy)));
    let sums = shifts.map(|(dx, dy)| {
        let places = (0..28).flat_map(|y| (0..28).map(move |x| (x, y)));
        places.map(|(x, y)| (at(a, x, y) - at(b, x + dx, y + dy)).abs()).sum::<i32>()
    });
    f64::from(sums.min().unwrap()) / 784.0
}

/// Ink of one colour on paper of another, of the given size, with a margin of its own on each side.
fn drawn(digit: &GrayImage, side: u32, [left, top]: [u32; 2], size: [u32; 2]) -> RgbImage {
    let large = imageops::resize(digit, side, side, imageops::FilterType::CatmullRom);
    let (paper, ink) = ([246.0, 238.0, 214.0], [40.0, 44.0, 110.0]);
    RgbImage::from_fn(size[0], size[1], |x, y| {
        let inside = x.checked_sub(left).zip(y.checked_sub(top)).filter(|(x, y)| *x < side && *y < side);
        let share = inside.map_or(0.0, |(x, y)| f64::from(large.get_pixel(x, y).0[0]) / 255.0);
        Rgb(std::array::from_fn(|c| (paper[c] + (ink[c] - paper[c]) * share) as u8))
    })
}

#[test]
fn a_digit_as_mnist_has_it_is_left_untouched() {
    for digit in digits(300) {
        let prepared = all(digit.clone());
        assert_eq!(prepared.pixels, digit.into_raw());
        assert!(prepared.as_is && !prepared.inverted && !prepared.cropped && !prepared.blank);
    }
}

#[test]
fn bytes_are_prepared_where_a_picture_of_them_is_taken_as_it_is() {
    for digit in digits(20) {
        let mut inverted = digit.clone();
        imageops::invert(&mut inverted);
        for picture in [digit, inverted] {
            let taken = all(picture.clone()).as_is;
            assert_eq!(is_prepared(picture.as_raw(), [28, 28]), taken);
        }
    }
    // Ink that reaches the border all round.
    assert!(!is_prepared(&[255, 255, 255, 255, 0, 255, 255, 255, 255], [3, 3]));
    assert!(is_prepared(&[0, 255, 0, 0], [1, 4]));
}

#[test]
fn a_picture_is_dark_where_its_border_is_and_what_it_shows_does_not_fill_it_with_light() {
    let framed = |inside: u8| {
        let pixel = |i: usize| if (1..9).contains(&(i / 10)) && (1..9).contains(&(i % 10)) { inside } else { 0 };
        (0..100).map(pixel).collect::<Vec<u8>>()
    };
    // 64 pixels of 199 are 127.4 of 255 on average, and of 201 they are 128.6.
    assert!(is_dark(&framed(199), [10, 10]) && is_prepared(&framed(201), [10, 10]));
    assert!(!is_dark(&framed(201), [10, 10]));
    assert!(!is_dark(&[200, 200, 200, 200, 0, 200, 200, 200, 200], [3, 3]));
}

#[test]
fn a_digit_prepared_a_second_time_stays_nearly_what_it_was() {
    for (i, digit) in digits(100).into_iter().enumerate() {
        let mut inverted = digit.clone();
        imageops::invert(&mut inverted);
        let prepared = all(inverted);
        assert!(prepared.inverted && !prepared.as_is);
        let far = difference(&prepared.pixels, digit.as_raw());
        assert!(far < 8.0, "digit {i}: {far}");
    }
}

#[test]
fn dark_ink_on_tinted_paper_becomes_the_digit_it_was() {
    for (i, digit) in digits(60).into_iter().enumerate() {
        let prepared = all(drawn(&digit, 150, [5 + i as u32 % 40, 120], [200, 300]));
        assert!(prepared.inverted && prepared.cropped);
        let far = difference(&prepared.pixels, digit.as_raw());
        assert!(far < 14.0, "digit {i}: {far}");
    }
}

#[test]
fn shade_across_the_paper_specks_and_noise_are_no_ink() {
    let digit = &digits(1)[0];
    let clean = all(drawn(digit, 150, [20, 60], [200, 300])).pixels;
    let mut scan = drawn(digit, 150, [20, 60], [200, 300]);
    let mut random = 1u32;
    for (x, y, pixel) in scan.enumerate_pixels_mut() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let light = 1.0 - f64::from(x) / 500.0 - f64::from(y) / 1500.0;
        pixel.0 = pixel.0.map(|value| (f64::from(value) * light) as u8 - (random >> 30) as u8);
    }
    for (x, y) in [(3, 280), (190, 10), (191, 10)] {
        scan.put_pixel(x, y, Rgb([20, 20, 20]));
    }
    let far = difference(&all(scan).pixels, &clean);
    assert!(far < 6.0, "{far}");
}

#[test]
fn the_centre_of_mass_is_the_middle_and_the_longer_side_20_of_28() {
    let mut page = GrayImage::from_pixel(90, 70, Luma([255]));
    for (x, y) in (10..50).flat_map(|x| (20..30).map(move |y| (x, y))) {
        page.put_pixel(x, y, Luma([0]));
    }
    let pixels = all(page.clone()).pixels;
    let inked: Vec<(usize, usize)> = (0..784).filter(|i| pixels[*i] > 127).map(|i| (i % 28, i / 28)).collect();
    let (xs, ys) = (inked.iter().map(|p| p.0), inked.iter().map(|p| p.1));
    assert_eq!((xs.clone().min(), xs.max()), (Some(5), Some(24)));
    let (top, bottom) = (ys.clone().min().unwrap(), ys.max().unwrap());
    assert!(bottom - top == 4 && (11..=12).contains(&top), "{top} to {bottom}");
    let pixels = prepare(&page.into(), [56, 56, 1], &Preparation::default()).pixels;
    assert_eq!(pixels.chunks(56).map(|row| row.iter().filter(|value| **value > 127).count()).max(), Some(40));
}

#[test]
fn a_hair_of_a_line_on_a_large_drawing_is_still_seen() {
    let page = GrayImage::from_fn(1500, 1500, |x, y| Luma([if x.abs_diff(y) < 2 { 0 } else { 255 }]));
    let inked = |prepared: &Prepared| prepared.pixels.iter().filter(|value| **value > 150).count();
    assert!(inked(&all(page.clone())) >= 20);
    let thin = prepare(&page.into(), INPUT, &Preparation { thicken: false, contrast: false, ..Preparation::default() });
    assert_eq!(inked(&thin), 0);
}

#[test]
fn ink_in_many_pieces_is_no_dust_however_small_each_is() {
    let is_inked = |at: u32| (20..180).contains(&at) && at % 20 < 6;
    let dots = all(GrayImage::from_fn(200, 200, |x, y| Luma([if is_inked(x) && is_inked(y) { 0 } else { 255 }])));
    assert!(!dots.blank && dots.cropped && dots.pixels.iter().any(|value| *value > 200));
}

#[test]
fn a_page_with_nothing_on_it_is_blank_whatever_its_colour() {
    for value in [0, 90, 255] {
        for size in [28, 200] {
            assert!(all(GrayImage::from_pixel(size, size, Luma([value]))).blank, "{value} at {size}");
        }
    }
    let shaded = GrayImage::from_fn(300, 200, |x, y| Luma([(150 + x / 4 + y / 10) as u8]));
    assert!(all(shaded).blank);
}

#[test]
fn a_picture_that_is_taken_as_it_is_is_blank_only_if_all_of_it_is_alike() {
    let (digit, mut random) = (&digits(1)[0], 1u32);
    // Noise that such ink would be lost in if the picture were prepared.
    let noisy = GrayImage::from_fn(28, 28, |x, y| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let ink = digit.get_pixel(x, y).0[0] / 2;
        Luma([ink.max((random >> 24) as u8 / 2)])
    });
    let prepared = all(noisy);
    assert!(prepared.as_is && !prepared.blank);
    let faint = GrayImage::from_fn(28, 28, |x, _| Luma([(x % 9) as u8]));
    assert!(all(faint).blank);
}

#[test]
fn each_step_can_be_left_out() {
    let page = drawn(&digits(1)[0], 100, [10, 10], [300, 200]);
    let with = |change: fn(&mut Preparation)| {
        let mut how = Preparation::default();
        change(&mut how);
        prepare(&page.clone().into(), INPUT, &how)
    };
    let whole = with(|_| {});
    for change in [
        |how: &mut Preparation| how.contrast = false,
        |how: &mut Preparation| how.crop = false,
        |how: &mut Preparation| how.margin = false,
        |how: &mut Preparation| how.center = false,
        |how: &mut Preparation| how.invert = Invert::Never,
        |how: &mut Preparation| how.mode = Mode::Never,
    ] {
        assert_ne!(with(change).pixels, whole.pixels);
    }
    assert_eq!(with(|how| how.invert = Invert::Always).pixels, whole.pixels);
    assert!(!with(|how| how.crop = false).cropped);
    // This ink is 208 levels darker than white, and stays so.
    assert!(with(|how| how.contrast = false).pixels.iter().all(|value| *value < 210));
    let unprepared = with(|how| how.mode = Mode::Never);
    assert_eq!(unprepared.pixels, fit(&page.clone().into(), INPUT));
}

#[test]
fn networks_of_other_sizes_get_their_own_and_coloured_ones_their_colours() {
    let page = drawn(&digits(1)[0], 100, [10, 10], [300, 200]);
    for input in [[56, 56, 1], [9, 30, 1], [1, 1, 1], [32, 32, 3]] {
        let prepared = prepare(&page.clone().into(), input, &Preparation::default());
        assert_eq!(prepared.pixels.len(), input.iter().product::<usize>());
    }
    let colour = prepare(&page.clone().into(), [200, 300, 3], &Preparation::default());
    assert!(colour.as_is && colour.pixels == page.into_raw());
}

proptest! {
    #[test]
    fn any_picture_of_any_size_is_prepared(
        (width, height, pixels) in (1u32..40, 1u32..40)
            .prop_flat_map(|(w, h)| (Just(w), Just(h), prop::collection::vec(any::<u8>(), (w * h) as usize))),
        steps in any::<[bool; 5]>(),
        always in any::<bool>(),
    ) {
        let [contrast, thicken, crop, margin, center] = steps;
        let mode = if always { Mode::Always } else { Mode::Auto };
        let how = Preparation { mode, invert: Invert::Auto, contrast, thicken, crop, margin, center };
        let image = DynamicImage::from(GrayImage::from_raw(width, height, pixels).unwrap());
        for input in [[28, 28, 1], [5, 11, 1]] {
            prop_assert_eq!(prepare(&image, input, &how).pixels.len(), input[0] * input[1]);
        }
    }
}
