//! Why a file is no picture that can be used, in a few words for the list of what went wrong.

use std::io;

use image::ImageFormat;

/// Says nothing of the path, which whoever read it knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is no file but a {0}")]
    NotAFile(&'static str),
    #[error("is empty: 0 bytes")]
    Empty,
    #[error("is too large: {bytes} bytes, at most {limit} are read")]
    FileTooLarge { bytes: u64, limit: u64 },
    #[error("is no picture: its first bytes are those of no format known here (PNG, JPEG, BMP, TIFF, WebP, GIF, PNM)")]
    Unknown,
    #[error("is no picture but a zip archive. Unpack it first")]
    Zip,
    #[error("is too large: {width} x {height} pixels, at most {limit} are decoded")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("is cut off: a JPEG without its end")]
    CutOff,
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
