//! Pictures that are dropped on the window, read in a thread of their own: a large scan takes a while, and a disk on
//! the network may take longer.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use eframe::egui;
use image::DynamicImage;

use crate::pictures;

type Read = Result<DynamicImage, String>;

/// What was dropped last, until it is there.
#[derive(Default)]
pub struct Dropped {
    coming: Option<Receiver<Read>>,
}

impl Dropped {
    /// Begins to read the first of these files that is a picture; `ctx` is woken when it is there. What was dropped
    /// before and is not there yet is forgotten.
    ///
    /// # Errors
    /// In words, where the system has no thread left.
    pub fn read(&mut self, files: Vec<PathBuf>, ctx: egui::Context) -> Result<(), String> {
        let (send, coming) = mpsc::channel();
        let work = move || {
            // Nobody listens where others were dropped since.
            let _ = send.send(first(&files));
            ctx.request_repaint();
        };
        let started = std::thread::Builder::new().name("dropped".into()).spawn(work);
        started.map_err(|error| format!("no thread to read with: {error}. Close other programs and drop it again"))?;
        self.coming = Some(coming);
        Ok(())
    }

    /// The picture, or why there is none; once.
    pub fn take(&mut self) -> Option<Read> {
        let read = match self.coming.as_ref()?.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("what was dropped could not be read".into()),
        };
        self.coming = None;
        Some(read)
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
}
