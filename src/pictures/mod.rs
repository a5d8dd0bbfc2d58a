//! Pictures as people have them: found in folders, decoded whatever their format, and prepared as networks know them.
//!
//! [`walk()`] finds picture files, [`decode()`] turns one into pixels within limits, [`prepare()`] turns a scan or a
//! drawing into what MNIST's makers would have made of it, and [`fit`] brings any picture to a size regardless of what
//! it shows.

pub mod decode;
mod error;
mod fit;
mod ink;
mod pages;
mod paths;
pub mod pattern;
pub mod prepare;
pub(crate) mod reduce;
pub mod source;
pub mod stream;
pub mod walk;

pub use decode::{Picture, decode, read};
pub use error::PictureError;
pub use fit::{fit, gray};
pub(crate) use paths::of_bytes;
pub use paths::{numbered, path_text, text_path, visible, visible_json, visible_lines};
pub use prepare::{Preparation, Prepared, is_dark, is_prepared, prepare};
pub use walk::{Found, walk};
