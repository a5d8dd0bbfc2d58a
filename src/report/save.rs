//! Saves a picture as PNG so that a reader sees the old file or the whole new one.

use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::files::{WriteError, write_whole};
use crate::report::ReportError;

/// Writes `picture` to `path` as PNG, replacing a file already there.
///
/// The bytes go to a temporary file in the same folder, are synced to disk and then
/// renamed, so that an interrupted run leaves no half-written picture. Equal pictures give
/// equal bytes.
///
/// # Errors
/// [`ReportError::Encode`] for a picture without pixels, [`ReportError::Write`] when the
/// folder is missing or read-only, the disk is full, or `path` is a folder.
pub fn save_png(picture: &RgbImage, path: impl AsRef<Path>) -> Result<(), ReportError> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(|source| ReportError::Encode { path: path.to_owned(), source })?;
    Ok(write_whole(path, &bytes).map_err(WriteError::of(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8 * 40, y as u8 * 70, 9]))
    }

    #[test]
    fn a_saved_picture_reads_back_the_same_and_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, b"old").unwrap();
        save_png(&picture(), &path).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), picture());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn equal_pictures_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.png"), folder.path().join("b.png"));
        save_png(&picture(), &a).unwrap();
        save_png(&picture(), &b).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }

    #[test]
    fn errors_name_the_path_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere").join("a.png");
        let message = save_png(&picture(), &missing).unwrap_err().to_string();
        assert!(message.contains("nowhere"), "{message}");
        let message = save_png(&picture(), folder.path()).unwrap_err().to_string();
        assert!(message.starts_with("cannot write"), "{message}");
        let empty = save_png(&RgbImage::new(0, 0), folder.path().join("e.png"));
        assert!(matches!(empty, Err(ReportError::Encode { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_saved_picture_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (plain, saved) = (folder.path().join("plain"), folder.path().join("a.png"));
        std::fs::write(&plain, b"").unwrap();
        save_png(&picture(), &saved).unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(plain), mode(saved));
    }
}
