//! Everything that can go wrong while making or saving a report.

use std::path::PathBuf;

use crate::files::WriteError;

/// Longest picture side in pixels; larger pictures are refused rather than attempted.
pub const MAX_SIDE: u64 = 16_384;

/// Why a report could not be made or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The picture would have a side above [`MAX_SIDE`] pixels.
    #[error("the {what} would be {width} x {height} pixels; at most {MAX_SIDE} a side are drawn")]
    TooLarge {
        /// Which picture.
        what: &'static str,
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// The picture has a longer side than its format allows.
    #[error("the picture would be {width} x {height} pixels; a {format} has at most {limit} a side: {remedy}")]
    BeyondFormat {
        /// The format.
        format: &'static str,
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The longest side.
        limit: u64,
        /// What to do.
        remedy: String,
    },
    /// A frame of an animation, which is held in memory until it is written, is too large.
    #[error(
        "a frame takes {bytes} bytes of memory; at most {limit} are used: \
         take fewer pictures in a frame, or a smaller scale"
    )]
    FrameTooLarge {
        /// Bytes it needs.
        bytes: u64,
        /// Bytes it may need.
        limit: u64,
    },
    /// A row of a grid, which is held in memory while it is drawn, is too large.
    #[error(
        "a row of {columns} pictures takes {bytes} bytes of memory; at most {limit} are used: \
         take fewer columns, at most {most}, and more rows"
    )]
    RowTooLong {
        /// Pictures in the row.
        columns: u64,
        /// Bytes they need.
        bytes: u64,
        /// Bytes they may need.
        limit: u64,
        /// The most pictures that fit.
        most: u64,
    },
    /// A confusion matrix of this many classes would not fit in memory comfortably.
    #[error("{classes} classes are too many for a confusion matrix (at most {limit})")]
    TooManyClasses {
        /// Classes asked for.
        classes: usize,
        /// Most classes allowed.
        limit: usize,
    },
    /// A label or a prediction names a class that does not exist.
    #[error("truth {truth}, predicted {predicted}: only classes below {classes} exist")]
    NoSuchClass {
        /// True class.
        truth: usize,
        /// Predicted class.
        predicted: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The pixels of a sheet item do not match the stated image size.
    #[error("image {item} has {found} bytes where height x width x channels asks for {expected}")]
    WrongPixels {
        /// Position of the item in the sheet, from 0.
        item: usize,
        /// Bytes that the stated size needs.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// An animation without a frame, which no program shows.
    #[error("{}: there are no frames; give at least one", path.display())]
    NoFrames {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// A picture's bytes could not be encoded in its format.
    #[error("cannot encode {}: {reason}", path.display())]
    Encoder {
        /// The file that was asked for.
        path: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// Only grey (1), grey + alpha (2), RGB (3) and RGBA (4) images can be shown.
    #[error("images of {0} channels cannot be shown (1, 2, 3 or 4 can)")]
    WrongChannels(usize),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The picture could not be turned into a PNG.
    #[error("cannot encode {}: {source}", path.display())]
    Encode {
        /// The file that was asked for.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
}
