//! Why a file is not a usable picture, in a few words for the list of what went wrong.

use std::io;

use image::ImageFormat;

/// Does not name the path, which the caller knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is a {0}, not a file")]
    NotAFile(&'static str),
    #[error("is empty: 0 bytes")]
    Empty,
    #[error("is too large: {bytes} bytes, at most {limit} are read. Save it smaller")]
    FileTooLarge { bytes: u64, limit: u64 },
    #[error("is no picture: its first bytes match no known format (PNG, JPEG, BMP, TIFF, WebP, GIF, PNM)")]
    Unknown,
    #[error("is no picture but a zip archive. Unpack it first")]
    Zip,
    /// Including its article.
    #[error("is {0}, which is not read. Convert it to JPEG or PNG")]
    OtherFormat(&'static str),
    #[error("has no pixels: it is {width} x {height}")]
    NoPixels { width: u32, height: u32 },
    #[error("is too large: {width} x {height} pixels, at most {limit} are decoded. Save it smaller")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("is cut off: a JPEG without its end")]
    CutOff,
    #[error("is a {} of a kind that is not read: {reason}. Convert it to an 8-bit PNG", name(*.format))]
    OtherKind { format: ImageFormat, reason: String },
    #[error("is damaged, or of a kind that is not read: {} decoding: {reason}", name(*.format))]
    Damaged { format: ImageFormat, reason: String },
}

/// What people call a format.
pub(crate) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Pnm => "PNM",
        _ => "picture",
    }
}
