//! Turns pictures that are dropped on the window or pasted into drawings, in a thread of its own: a large scan takes a
//! while, and a network disk may take longer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use eframe::egui::{self, ColorImage};
use image::{DynamicImage, RgbaImage};

use super::field::Field;
use crate::pictures::decode::{MAX_PIXELS, MAX_SIDE};
use crate::pictures::reduce::reduced;
use crate::pictures::{self, PictureError};

type Read = Result<DynamicImage, String>;

/// Where a picture comes from.
pub enum Source {
    /// The first of these that is a picture.
    Files(Vec<PathBuf>),
    Clipboard(Arc<ColorImage>),
}

/// What was dropped or pasted last, until it is there.
#[derive(Default)]
pub struct Dropped {
    coming: Option<Receiver<Result<Vec<u8>, String>>>,
}

impl Dropped {
    /// Begins to read a picture, and wakes `ctx` when it is there. An earlier one that is not there yet is dropped.
    ///
    /// # Errors
    /// A message, if the system has no thread left.
    pub fn read(&mut self, source: Source, ctx: egui::Context) -> Result<(), String> {
        let (send, coming) = mpsc::channel();
        let work = move || {
            let read = match source {
                Source::Files(files) => first(&files),
                Source::Clipboard(image) => pasted(&image),
            };
            // Nobody listens if another picture has come since.
            let _ = send.send(read.map(|picture| Field::of(&picture)));
            ctx.request_repaint();
        };
        let started = std::thread::Builder::new().name("dropped".into()).spawn(work);
        started.map_err(|error| {
            format!("cannot start a thread to read the picture: {error}. Close other programs and try again")
        })?;
        self.coming = Some(coming);
        Ok(())
    }

    /// The picture as a field's pixels, or why there is none; once.
    pub fn take(&mut self) -> Option<Result<Vec<u8>, String>> {
        let read = match self.coming.as_ref()?.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the picture could not be read".into()),
        };
        self.coming = None;
        Some(read)
    }
}

/// A pasted picture, within the same limits as one from a file.
fn pasted(image: &ColorImage) -> Read {
    let [width, height] = image.size.map(|side| side as u32);
    if image.pixels.len() as u64 > MAX_PIXELS {
        let error = PictureError::TooManyPixels { width, height, limit: MAX_PIXELS };
        return Err(format!("the picture on the clipboard {error}"));
    }
    let bytes = image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
    match RgbaImage::from_raw(width, height, bytes).map(DynamicImage::from) {
        Some(large) if width.max(height) > MAX_SIDE => Ok(reduced(&large, MAX_SIDE)),
        Some(picture) => Ok(picture),
        None => Err("the picture on the clipboard is damaged".into()),
    }
}

fn first(files: &[PathBuf]) -> Read {
    let mut problem = None;
    for path in files {
        match pictures::read(path) {
            Ok(picture) => return Ok(picture.image),
            Err(error) => {
                let said = || format!("{}: {error}", pictures::visible(&path.to_string_lossy()));
                problem.get_or_insert_with(said);
            }
        }
    }
    let problem = problem.unwrap_or_else(|| "no file was dropped".into());
    Err(if files.len() > 1 { format!("{problem}; none of the {} files is a picture", files.len()) } else { problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_picture_among_the_files_is_taken_and_where_there_is_none_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let [notes, gone, picture] = ["notes.txt", "gone.png", "one.png"].map(|name| folder.path().join(name));
        std::fs::write(&notes, "no picture").unwrap();
        image::GrayImage::new(3, 2).save(&picture).unwrap();
        assert_eq!(first(&[notes.clone(), gone.clone(), picture]).unwrap().width(), 3);
        let problem = first(&[notes, gone]).unwrap_err();
        assert!(problem.contains("notes.txt") && problem.contains("none of the 2 files"), "{problem}");
        assert!(first(&[folder.path().to_owned()]).unwrap_err().contains("folder"));
    }

    #[test]
    fn a_picture_of_the_clipboard_is_made_smaller_where_it_is_huge_and_refused_where_it_is_not_whole() {
        let whole = ColorImage::from_gray([3, 2], &[0, 50, 100, 150, 200, 250]);
        assert_eq!(pasted(&whole).unwrap().to_luma8().into_raw(), [0, 50, 100, 150, 200, 250]);
        assert!(pasted(&ColorImage { size: [3, 4], ..whole }).unwrap_err().contains("damaged"));
        let huge = ColorImage::from_gray([5000, 2], &[200; 10_000]);
        assert_eq!(pasted(&huge).unwrap().width(), MAX_SIDE);
    }
}
