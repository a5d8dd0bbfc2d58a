//! Turns a file or its bytes into pixels, in any format and within limits: no file makes the program run out of memory.

use std::cell::Cell;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::error::{ParameterError, ParameterErrorKind};
use image::{ColorType, DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::PictureError;
use super::pages::pages;
use super::reduce::reduced;

/// The most bytes a file may have.
pub const MAX_FILE: u64 = 512 << 20;
/// The most pixels a picture may have: an A3 page at 600 dots per inch, and a third more.
pub const MAX_PIXELS: u64 = 100_000_000;
/// The longest side of a decoded picture; larger ones are reduced to it.
pub const MAX_SIDE: u32 = 2048;
/// Bytes by which a format is recognised.
const HEAD: u64 = 64;
/// Bytes of a file that room is made for before anything is known about it.
const SMALL: u64 = 1 << 14;
/// Bytes that a decoder may take for itself and its pixels.
const MAX_MEMORY: u64 = 1 << 30;
/// Pictures with more pixels, and files with more bytes, are decoded one at a time across all threads.
const LARGE: u64 = 16 << 20;
/// White in 10 and in 12 bits, which scanners, cameras and microscopes put into files of 16.
const WHITE_IN_10_BITS: u16 = 1023;
const WHITE_IN_12_BITS: u16 = 4095;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// The most bytes of pixels that a thread keeps room for.
const MAX_ROOM: u64 = 64 << 20;

thread_local! {
    /// Room for a photograph until it is reduced: to get it from the system anew for each, page by page, takes a fifth of
    /// the time.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A decoded picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Upright, and at most [`MAX_SIDE`] pixels per side. The colour type is the file's: grey or RGB, with or without
    /// alpha, 8 or 16 bits.
    pub image: DynamicImage,
    /// What the file really holds, whatever its name says.
    pub format: ImageFormat,
    /// Pages of a TIFF file after this one, which is its first.
    pub further_pages: u32,
}

/// Reads and decodes a file.
///
/// # Errors
/// [`PictureError`] if it cannot be read, is not a file or is larger than [`MAX_FILE`], and all errors of [`decode`].
pub fn read(path: &Path) -> Result<Picture, PictureError> {
    // Opening a pipe would wait for its writer.
    let kind = path.metadata()?;
    if !kind.is_file() {
        return Err(PictureError::NotAFile(if kind.is_dir() { "folder" } else { "pipe or device" }));
    }
    let length = kind.len();
    if length > MAX_FILE {
        return Err(PictureError::FileTooLarge { bytes: length, limit: MAX_FILE });
    }
    let _turn = turn(length);
    // The file may grow while it is read.
    let mut file = File::open(path)?.take(MAX_FILE);
    // Room for all of a small file, and to see that it ends.
    let mut bytes = Vec::with_capacity((length.min(SMALL) + HEAD) as usize);
    // A file that is not a picture is not read to its end.
    file.by_ref().take(HEAD).read_to_end(&mut bytes)?;
    if let Some(other) = other(&bytes) {
        return Err(other);
    }
    if !bytes.is_empty() && image::guess_format(&bytes).is_err() {
        return Err(PictureError::Unknown);
    }
    bytes.reserve_exact(length.saturating_sub(HEAD) as usize);
    file.read_to_end(&mut bytes)?;
    decode_in_turn(&bytes, length > LARGE)
}

/// Decodes the bytes of a file; the first frame of an animation, the first page of a TIFF file.
///
/// # Errors
/// [`PictureError`] if it is empty, of no known format, of no pixel or of more than [`MAX_PIXELS`], cut off or damaged.
pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    decode_in_turn(bytes, false)
}

/// What kind of file this is, by its first bytes, if it is of a known kind that is not read.
fn other(head: &[u8]) -> Option<PictureError> {
    if head.starts_with(b"PK\x03\x04") {
        return Some(PictureError::Zip);
    }
    if head.starts_with(b"%PDF-") {
        return Some(PictureError::OtherFormat("a PDF document"));
    }
    // All of these share a container, whose brand says what is in it.
    let brand: &[u8] = head.get(4..12)?.strip_prefix(b"ftyp")?;
    match brand {
        b"avif" | b"avis" => Some(PictureError::OtherFormat("an AVIF picture")),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some(PictureError::OtherFormat("a HEIC picture")),
        b"mif1" | b"msf1" => Some(PictureError::OtherFormat("a HEIF picture")),
        _ => None,
    }
}

/// For a large size, waits until nothing else large is being decoded.
fn turn(size: u64) -> Option<std::sync::MutexGuard<'static, ()>> {
    (size > LARGE).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

fn decode_in_turn(bytes: &[u8], has_turn: bool) -> Result<Picture, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    if let Some(other) = other(bytes) {
        return Err(other);
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let format = reader.format().ok_or(PictureError::Unknown)?;
    let damaged = |error: ImageError| match error {
        ImageError::Unsupported(_) => PictureError::OtherKind { format, reason: error.to_string() },
        _ => PictureError::Damaged { format, reason: error.to_string() },
    };
    // The decoder silently fills what is missing with grey.
    if format == ImageFormat::Jpeg && jpeg_is_cut_off(bytes) {
        return Err(PictureError::CutOff);
    }
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(PictureError::NoPixels { width, height });
    }
    if pixels > MAX_PIXELS {
        return Err(PictureError::TooManyPixels { width, height, limit: MAX_PIXELS });
    }
    let _turn = if has_turn { None } else { turn(pixels) };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = decoded(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let further_pages = if format == ImageFormat::Tiff { pages(bytes).saturating_sub(1) } else { 0 };
    Ok(Picture { image, format, further_pages })
}

/// A picture's pixels, reduced if they are many, with samples of 16 bits over their whole range.
fn decoded(decoder: impl ImageDecoder) -> Result<DynamicImage, ImageError> {
    let (width, height) = decoder.dimensions();
    let is_large = width.max(height) > MAX_SIDE;
    let is_of_bytes =
        matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8);
    if is_large && is_of_bytes && decoder.total_bytes() <= MAX_ROOM {
        return decoded_in_room(decoder);
    }
    let mut image = DynamicImage::from_decoder(decoder)?;
    match &mut image {
        DynamicImage::ImageLuma16(image) => fill_range(image, [1, 1]),
        DynamicImage::ImageLumaA16(image) => fill_range(image, [1, 2]),
        DynamicImage::ImageRgb16(image) => fill_range(image, [3, 3]),
        DynamicImage::ImageRgba16(image) => fill_range(image, [3, 4]),
        _ => {}
    }
    Ok(if is_large { reduced(&image, MAX_SIDE) } else { image })
}

/// The same for one of 8 bits that is reduced, and of which the pixels fit into the room that the thread keeps.
fn decoded_in_room(decoder: impl ImageDecoder) -> Result<DynamicImage, ImageError> {
    let ((width, height), colours) = (decoder.dimensions(), decoder.color_type());
    let mut pixels = ROOM.take();
    // What a damaged file leaves open is black, and not what the picture before has there.
    pixels.clear();
    pixels.resize(decoder.total_bytes() as usize, 0);
    decoder.read_image(&mut pixels)?;
    let whole = match colours {
        ColorType::L8 => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        ColorType::La8 => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageLumaA8),
        ColorType::Rgb8 => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        _ => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageRgba8),
    };
    let mismatch = || ParameterError::from_kind(ParameterErrorKind::DimensionMismatch);
    let whole = whole.ok_or_else(|| ImageError::Parameter(mismatch()))?;
    let image = reduced(&whole, MAX_SIDE);
    ROOM.set(whole.into_bytes());
    Ok(image)
}

/// Stretches samples of 16 bits that fill only 10 or 12 of them over the whole range: a picture with such a white would be
/// all but black. A pixel has `colours` samples and then, if it has more, alpha; what is on a transparent ground stays, as
/// it may be black ink.
///
/// The brightest sample tells how many bits there are: near the white of 10, they are 10. Others are taken for dim
/// pictures of 12, and so is a black frame with noise.
fn fill_range(samples: &mut [u16], [colours, channels]: [usize; 2]) {
    let is_transparent = |pixel: &[u16]| pixel[colours..].iter().any(|alpha| *alpha < u16::MAX);
    let brightest = samples.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]).max().copied().unwrap_or(0);
    if brightest > WHITE_IN_12_BITS || samples.chunks_exact(channels).any(is_transparent) {
        return;
    }
    let is_of_10 = (WHITE_IN_10_BITS / 16 * 15..=WHITE_IN_10_BITS).contains(&brightest);
    let white = u32::from(if is_of_10 { WHITE_IN_10_BITS } else { WHITE_IN_12_BITS });
    for sample in samples.chunks_exact_mut(channels).flat_map(|pixel| &mut pixel[..colours]) {
        *sample = (u32::from(*sample) * u32::from(u16::MAX) / white) as u16;
    }
}

/// Whether a JPEG lacks its end, the marker FF D9.
///
/// The search goes marker by marker from the start: a segment states its length, so a thumbnail inside one is skipped.
/// What follows the end, like the video of a phone's moving picture, is not looked at.
fn jpeg_is_cut_off(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            0xd9 => return false,
            // Restarts of a scan, and codes without a meaning, which damaged bytes may look like.
            0x01..=0xbf | 0xd0..=0xd8 => after,
            _ => match segment_end(after) {
                Some(behind) => behind,
                None => return true,
            },
        };
    }
    true
}

/// The next marker and what follows it. A scan's own data are skipped: in them a zero follows each FF.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        let start = rest.iter().position(|byte| *byte == 0xff)?;
        rest = &rest[start + 1..];
        match rest {
            [] => return None,
            // Any number of FF may precede a marker.
            [0x00 | 0xff, ..] => {}
            [marker, after @ ..] => return Some((*marker, after)),
        }
    }
}

/// What follows a segment, whose first two bytes are its length, themselves included.
fn segment_end(segment: &[u8]) -> Option<&[u8]> {
    let [high, low, ..] = segment else { return None };
    segment.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
