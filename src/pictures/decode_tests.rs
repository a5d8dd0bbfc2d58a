use image::{GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage};
use proptest::prelude::*;

use super::*;
use crate::pictures::gray;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn stripes() -> GrayImage {
    GrayImage::from_fn(40, 30, |x, y| Luma([(x * 6 + y / 10) as u8]))
}

fn reason(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

const LOSSLESS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Pnm];

#[test]
fn each_format_is_known_by_its_bytes_and_gives_the_pixels_that_went_in() {
    for format in LOSSLESS {
        let colour = matches!(format, ImageFormat::WebP | ImageFormat::Bmp);
        let grey = DynamicImage::from(stripes());
        let image: DynamicImage = if colour { grey.to_rgb8().into() } else { grey };
        let picture = decode(&encoded(image, format)).unwrap();
        assert_eq!(picture.format, format);
        assert_eq!(gray(&picture.image), stripes(), "{format:?}");
    }
    for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
        let picture = decode(&encoded(DynamicImage::from(stripes()).to_rgb8(), format)).unwrap();
        assert_eq!((picture.format, picture.image.width(), picture.image.height()), (format, 40, 30));
    }
}

/// What four samples of 16 bits, from black to `white`, become, whether they are grey or coloured, with alpha or not.
fn greys(white: u32) -> Vec<u8> {
    let sample = |x: u32| Luma([(x * white / 3) as u16]);
    let deep = DynamicImage::from(ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(4, 1, |x, _| sample(x)));
    let all = [deep.clone(), deep.to_luma_alpha16().into(), deep.to_rgb16().into(), deep.to_rgba16().into()];
    let all = all.map(|image| gray(&decode(&encoded(image, ImageFormat::Png)).unwrap().image).into_raw());
    assert!(all.iter().all(|greys| *greys == all[0]), "{all:?}");
    all[0].clone()
}

#[test]
fn samples_of_10_and_12_bits_in_files_of_16_are_as_bright_as_those_that_fill_them() {
    for white in [1023, 4095, 65535] {
        assert_eq!(greys(white), [0, 85, 170, 255], "{white}");
    }
    // Nothing need be quite white.
    assert!((238..=240).contains(&greys(960)[3]), "{:?}", greys(960));
    // More than 12 bits, however little more, are 16.
    assert!(greys(4098)[3] < 20);
}

#[test]
fn black_ink_of_16_bits_on_a_transparent_ground_stays_black() {
    let pixel = |x: u32| LumaA([2000, if x < 2 { u16::MAX } else { 0 }]);
    let ink = ImageBuffer::<LumaA<u16>, Vec<u16>>::from_fn(4, 1, |x, _| pixel(x));
    let seen = gray(&decode(&encoded(ink, ImageFormat::Png)).unwrap().image).into_raw();
    assert!(seen[0] < 10 && seen[3] == 255, "{seen:?}");
}

#[test]
fn a_dim_picture_of_12_bits_and_the_noise_of_a_black_frame_are_not_taken_for_10_bits() {
    for (white, grey) in [(510, 31..=32), (900, 55..=57), (1026, 63..=64), (200, 12..=13)] {
        assert!(grey.contains(&greys(white)[3]), "{white}");
    }
}

#[test]
fn files_cut_off_anywhere_are_refused_and_never_filled_up_with_grey() {
    let colours = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8 * 4, y as u8 * 5, (x * y) as u8]));
    for format in [LOSSLESS.as_slice(), &[ImageFormat::Jpeg, ImageFormat::Gif]].concat() {
        let bytes = encoded(colours.clone(), format);
        for share in [0.1, 0.3, 0.6, 0.9] {
            let cut = &bytes[..(bytes.len() as f64 * share) as usize];
            assert!(decode(cut).is_err(), "{format:?} cut to {share}");
        }
    }
}

#[test]
fn pictures_that_say_they_have_no_rows_or_no_columns_are_refused() {
    for side in [1, 40, MAX_SIDE + 1] {
        assert_eq!(reason(format!("P5\n{side} 0\n255\n").as_bytes()), format!("has no pixels: it is {side} x 0"));
        let mut narrow = encoded(DynamicImage::from(stripes()).to_rgb8(), ImageFormat::Gif);
        narrow[6..8].copy_from_slice(&[0; 2]);
        narrow[8..10].copy_from_slice(&(side as u16).to_le_bytes());
        assert_eq!(reason(&narrow), format!("has no pixels: it is 0 x {side}"));
    }
}

#[test]
fn a_thumbnail_inside_does_not_hide_that_a_jpeg_is_cut_off() {
    let whole = encoded(stripes(), ImageFormat::Jpeg);
    // An application segment whose content is a whole JPEG, right after the first marker.
    let mut nested = vec![0xff, 0xd8, 0xff, 0xe5];
    nested.extend(((whole.len() + 2) as u16).to_be_bytes());
    nested.extend(&whole);
    nested.extend(&whole[2..]);
    assert!(decode(&nested).is_ok());
    assert_eq!(reason(&nested[..nested.len() - 20]), PictureError::CutOff.to_string());
    nested.extend(b"what some cameras write after the end");
    assert!(decode(&nested).is_ok());
}

#[test]
fn a_jpeg_is_cut_off_at_each_byte_before_its_end_and_nowhere_behind_it() {
    let whole = encoded(stripes(), ImageFormat::Jpeg);
    for length in 0..whole.len() {
        assert!(jpeg_is_cut_off(&whole[..length]), "{length} of {} bytes", whole.len());
    }
    assert!(!jpeg_is_cut_off(&whole));
    // A phone's moving picture is followed by a video of any bytes: here an end, and then a scan without one.
    let mut moving = whole.clone();
    moving.extend([0xff_u8, 0xd9, 0xff, 0xda, 0x00, 0x17].repeat(250_000));
    assert!(!jpeg_is_cut_off(&moving));
    assert_eq!(gray(&decode(&moving).unwrap().image), gray(&decode(&whole).unwrap().image));
}

#[test]
fn fill_bytes_and_restarts_belong_to_a_jpeg_and_lengths_lead_nowhere() {
    let start = [0xff_u8, 0xd8, 0xff, 0xda, 0x00, 0x02];
    let after = |scan: &[u8]| jpeg_is_cut_off(&[&start[..], scan].concat());
    assert!(!after(&[7, 0xff, 0x00, 0xff, 0xd3, 9, 0xff, 0xff, 0xff, 0xd9]));
    // A comment between two scans contains what looks like an end.
    assert!(after(&[7, 0xff, 0xfe, 0x00, 0x04, 0xff, 0xd9, 5]));
    assert!(!after(&[7, 0xff, 0xfe, 0x00, 0x04, 0xff, 0xd9, 5, 0xff, 0xd9]));
    // Lengths that are invalid, and lengths that lead beyond the end.
    assert!(!after(&[0xff, 0xfe, 0x00, 0x00, 0xff, 0xd9]));
    for scan in [&[0xff_u8, 0xfe, 0xff, 0xff, 0xff, 0xd9][..], &[0xff, 0xfe, 0x00], &[0xff, 0x00], &[0xff]] {
        assert!(after(scan), "{scan:?}");
    }
}

#[test]
fn what_is_no_picture_is_told_from_what_is_a_damaged_one() {
    assert_eq!(reason(b""), "is empty: 0 bytes");
    assert!(reason(b"name,label\n").contains("is no picture"));
    for (bytes, words) in [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1".as_slice(), "is a HEIC picture, which is not read. Convert it to JPEG"),
        (b"\0\0\0\x20ftypavif\0\0\0\0".as_slice(), "is an AVIF picture"),
        (b"%PDF-1.7\n".as_slice(), "is a PDF document"),
        (b"PK\x03\x04".as_slice(), "Unpack it first"),
        (b"qoif\0\0\0\x01".as_slice(), "Convert it to an 8-bit PNG"),
    ] {
        assert!(reason(bytes).contains(words), "{}", reason(bytes));
    }
    let mut png = encoded(stripes(), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    assert!(reason(&png).contains("is damaged") && reason(&png).contains("PNG"), "{}", reason(&png));
}

#[test]
fn a_header_that_promises_billions_of_pixels_is_refused_before_anything_is_made_for_them() {
    assert!(reason(b"P5\n60000 60000\n255\n").contains("60000 x 60000 pixels"));
    assert!(reason(b"P5\n4294967295 4294967295\n255\n").starts_with("is"));
    let mut bmp = encoded(stripes(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&50_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&50_000u32.to_le_bytes());
    assert!(reason(&bmp).contains("too large"), "{}", reason(&bmp));
}

#[test]
fn large_pictures_are_reduced_with_their_aspect() {
    let picture = decode(&encoded(GrayImage::from_pixel(6000, 300, Luma([200])), ImageFormat::Png)).unwrap();
    assert_eq!((picture.image.width(), picture.image.height()), (2048, 102));
    assert!(gray(&picture.image).pixels().all(|p| p.0 == [200]));
}

#[test]
fn folders_missing_files_and_files_beyond_the_limit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap_err().to_string().contains("folder"));
    assert!(read(&folder.path().join("none.png")).unwrap_err().to_string().contains("cannot be read"));
    // A sparse file: its bytes take no room on the disk.
    let path = folder.path().join("huge.png");
    File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("is too large"));
}

proptest! {
    #[test]
    fn the_end_of_a_jpeg_is_looked_for_in_bytes_of_any_kind(
        bytes in prop::collection::vec(prop_oneof![Just(0xff_u8), Just(0x00), Just(0xda), any::<u8>()], 0..200),
    ) {
        let cut_off = jpeg_is_cut_off(&bytes);
        prop_assert!(cut_off || bytes.windows(2).any(|pair| pair == [0xff, 0xd9]));
    }

    #[test]
    fn bytes_of_any_kind_are_decoded_or_refused(
        format in prop::sample::select(vec![
            ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Pnm,
            ImageFormat::Jpeg, ImageFormat::Gif,
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(DynamicImage::from(stripes()).to_rgb8(), format);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = decode(&bytes);
        let _ = decode(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn large_pictures_of_every_kind_are_reduced_and_have_nothing_of_those_before_them() {
    let [width, height] = [MAX_SIDE + 52, 40];
    for shift in [0, 90] {
        let of = |x: u32, y: u32| ((x / 9 + y * 5 + shift) % 256) as u8;
        let rgba = image::RgbaImage::from_fn(width, height, |x, y| {
            image::Rgba([of(x, y), of(y, x), of(x + 40, y), of(x, y + 40).max(1)])
        });
        let rgba = DynamicImage::from(rgba);
        let kinds: [DynamicImage; 5] = [
            rgba.to_luma8().into(),
            rgba.to_rgb8().into(),
            rgba.to_luma_alpha8().into(),
            rgba.to_rgb16().into(),
            rgba.clone(),
        ];
        for image in kinds {
            let found = decode(&encoded(image.clone(), ImageFormat::Png)).unwrap().image;
            assert!(found == image.thumbnail_exact(MAX_SIDE, 39), "{:?}", image.color());
        }
    }
}
