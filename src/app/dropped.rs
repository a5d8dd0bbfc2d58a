//! Finds the model, or the picture, in what is dropped on the window or pasted, in a thread of its own: a large scan takes
//! a while, and a network disk may take longer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use eframe::egui::{self, ColorImage};
use image::{DynamicImage, RgbaImage};

use super::field::Drawing;
use super::menu;
use crate::pictures::decode::{MAX_PIXELS, MAX_SIDE};
use crate::pictures::reduce::reduced;
use crate::pictures::{self, PictureError};

/// How many lines of a pasted text are taken for files.
const MOST_FILES: usize = 100;

type Read = Result<DynamicImage, String>;

/// What was dropped or pasted.
pub enum Source {
    Files(Vec<PathBuf>),
    /// The names of files.
    Text(String),
    Picture(Arc<ColorImage>),
}

/// What has come of it.
pub enum Came {
    Drawing(Drawing),
    Model {
        path: PathBuf,
        /// Whether it is a generator.
        draws: bool,
    },
}

/// What was dropped or pasted last, until it is there.
#[derive(Default)]
pub struct Dropped {
    coming: Option<Receiver<Result<Came, String>>>,
}

impl Dropped {
    /// Begins to look into it, and wakes `ctx` when that is done. What came before and is not there yet is forgotten.
    ///
    /// # Errors
    /// A message, if the system has no thread left.
    pub fn read(&mut self, source: Source, ctx: egui::Context) -> Result<(), String> {
        let (send, coming) = mpsc::channel();
        let work = move || {
            // Nobody listens if something else has come since.
            let _ = send.send(found(source));
            ctx.request_repaint();
        };
        let started = std::thread::Builder::new().name("dropped".into()).spawn(work);
        started.map_err(|error| {
            format!("cannot start a thread to read what came: {error}. Close other programs and try again")
        })?;
        self.coming = Some(coming);
        Ok(())
    }

    /// What has come, or why nothing has; once.
    pub fn take(&mut self) -> Option<Result<Came, String>> {
        let read = match self.coming.as_ref()?.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("what was dropped or pasted could not be read".into()),
        };
        self.coming = None;
        Some(read)
    }
}

fn found(source: Source) -> Result<Came, String> {
    match source {
        Source::Files(files) => in_files(&files),
        Source::Text(text) => in_files(&files(&text)?),
        Source::Picture(image) => pasted(&image).map(|picture| Came::Drawing(Drawing::of(picture))),
    }
}

/// The first model, or the first picture where there is none.
fn in_files(files: &[PathBuf]) -> Result<Came, String> {
    match files.iter().find(|file| menu::is_model(file)) {
        Some(model) => Ok(Came::Model { path: model.clone(), draws: menu::is_generator(model) }),
        None => first(files).map(|picture| Came::Drawing(Drawing::of(picture))),
    }
}

/// The files and runs that a pasted text names: file managers copy files as their paths or `file://` addresses, one a
/// line.
fn files(text: &str) -> Result<Vec<PathBuf>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_any = |path: &PathBuf| path.is_file() || menu::is_model(path);
    let files: Vec<PathBuf> = lines.take(MOST_FILES).filter_map(path).filter(is_any).collect();
    if files.is_empty() {
        let remedy = "copy a picture, or the file of a picture or a model";
        return Err(format!("the clipboard holds text and no picture; {remedy}"));
    }
    Ok(files)
}

/// The path in a line: as it is, or in a `file://` address.
fn path(line: &str) -> Option<PathBuf> {
    // Windows copies a path with quotes around it.
    let line = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line);
    let Some(address) = line.strip_prefix("file://") else {
        let path = PathBuf::from(line);
        return path.is_absolute().then_some(path);
    };
    // An address may name this computer; on Windows a slash comes before the drive.
    let rest = &address[address.find('/')?..];
    let rest = if cfg!(windows) { rest.trim_start_matches('/') } else { rest };
    String::from_utf8(decoded(rest)?).ok().map(PathBuf::from)
}

/// The bytes of an address, where %20 is a space.
fn decoded(address: &str) -> Option<Vec<u8>> {
    let mut bytes = address.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    Some(decoded)
}

/// A pasted picture, within the same limits as one from a file.
fn pasted(image: &ColorImage) -> Read {
    let [width, height] = image.size.map(|side| side as u32);
    let error = match image.pixels.len() as u64 {
        0 => Some(PictureError::NoPixels { width, height }),
        1..=MAX_PIXELS => None,
        _ => Some(PictureError::TooManyPixels { width, height, limit: MAX_PIXELS }),
    };
    if let Some(error) = error {
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
    use crate::models::ModelFile;

    #[test]
    fn a_picture_without_pixels_is_not_pasted() {
        let empty = ColorImage::new([MAX_SIDE as usize + 1, 0], Vec::new());
        assert!(pasted(&empty).unwrap_err().ends_with("has no pixels: it is 2049 x 0"));
    }

    #[test]
    fn what_comes_next_takes_the_place_of_what_is_not_read_yet() {
        let folder = tempfile::tempdir().unwrap();
        let generator = folder.path().join("mine.safetensors");
        ModelFile::shipped("gan").unwrap().save(&generator).unwrap();
        let picture = Source::Picture(Arc::new(ColorImage::from_gray([2, 2], &[9; 4])));
        let mut dropped = Dropped::default();
        for source in [picture, Source::Files(vec![generator.clone()])] {
            dropped.read(source, egui::Context::default()).unwrap();
        }
        let came = loop {
            match dropped.take() {
                Some(came) => break came.unwrap(),
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        };
        assert!(matches!(came, Came::Model { path, draws: true } if path == generator));
        assert!(dropped.take().is_none());
    }

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
    fn a_copied_file_is_found_by_its_path_and_by_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a 5 %.png");
        std::fs::write(&picture, b"").unwrap();
        let address = super::super::guide::url(&picture);
        assert!(address.starts_with("file://") && address.contains("a%205%20%25.png"), "{address}");
        let quoted = format!("\"{}\"\r\n", picture.display());
        let [run, empty] = ["0001-fast", "empty"].map(|name| folder.path().join(name));
        for folder in [&run, &empty] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(run.join("best.safetensors"), b"").unwrap();
        assert_eq!(files(&format!("{}\n{}", empty.display(), run.display())).unwrap(), [run]);
        for text in [address, format!("  {}\nno such file\n", picture.display()), quoted] {
            assert_eq!(files(&text).unwrap(), [picture.as_path()], "{text}");
        }
        let none =
            ["a line", "five.png", "\"", "\"\"", "file://", "file:///%", "file:///%zz", "file:///no/such", "/", "%é"];
        for text in none {
            assert!(files(text).unwrap_err().contains("no picture"), "{text}");
        }
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
