//! A grid of pictures written to a PNG while it is drawn.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use crate::files::{Existing, Unfinished, WriteError};
use crate::report::grid::{Cells, Grid};
use crate::report::{Colours, ReportError};

/// The longest side that the format allows.
const MAX_SIDE: u32 = i32::MAX as u32;

/// A PNG that takes a grid's cells one by one. Its file gets its name once it is complete.
pub struct PngGrid {
    cells: Cells<png::StreamWriter<'static, Shared>>,
    file: Shared,
}

impl PngGrid {
    /// Grey pictures (1 channel) are shown in the two colours, pictures of 3 channels as they are.
    ///
    /// # Errors
    /// For other numbers of channels, for a grid that is too large, and whatever the system says about the file.
    pub fn create(path: &Path, grid: Grid, colours: Colours) -> Result<PngGrid, ReportError> {
        let size = grid.size_within("PNG", MAX_SIDE)?;
        let file = Shared::new(Unfinished::create(path).map_err(WriteError::of(path))?);
        let stream = start(file.clone(), size, &grid, colours)?;
        Ok(PngGrid { cells: Cells::new(grid, stream)?, file })
    }

    /// Adds the next cell, like [`Cells::push`].
    ///
    /// # Errors
    /// Whatever the system says about the file.
    pub fn push(&mut self, picture: Option<&[u8]>) -> Result<(), ReportError> {
        self.cells.push(picture).map_err(|source| self.file.failed(source))
    }

    /// The same until `stop` is set, like [`Cells::push_until`]. A picture that is not complete then can only be
    /// dropped.
    ///
    /// # Errors
    /// Whatever the system says about the file.
    pub fn push_until(&mut self, picture: Option<&[u8]>, stop: &AtomicBool) -> Result<bool, ReportError> {
        self.cells.push_until(picture, stop).map_err(|source| self.file.failed(source))
    }

    /// Ends the picture and gives its file its name.
    ///
    /// # Errors
    /// Whatever the system says about the file.
    pub fn finish(self, existing: Existing) -> Result<(), ReportError> {
        self.end(|file| file.finish(existing))
    }

    fn end(self, name: impl FnOnce(Unfinished) -> io::Result<()>) -> Result<(), ReportError> {
        let PngGrid { cells, file } = self;
        let ended = cells.finish().and_then(|stream| Ok(stream.finish()?));
        ended.and_then(|()| file.close(name)).map_err(|source| file.failed(source))
    }
}

/// Writes one of many pictures, each as a PNG of its own: see [`Unfinished::finish_soon`]. Returns `false`, and leaves
/// nothing behind, if `stop` was set before it was complete.
///
/// # Errors
/// As [`PngGrid::create`].
pub fn write_picture(
    picture: &[u8],
    path: &Path,
    grid: Grid,
    colours: Colours,
    existing: Existing,
    stop: &AtomicBool,
) -> Result<bool, ReportError> {
    let mut png = PngGrid::create(path, grid, colours)?;
    if !png.push_until(Some(picture), stop)? {
        return Ok(false);
    }
    png.end(|file| file.finish_soon(existing))?;
    Ok(true)
}

fn start(
    out: Shared,
    [width, height]: [u32; 2],
    grid: &Grid,
    colours: Colours,
) -> Result<png::StreamWriter<'static, Shared>, ReportError> {
    let path = out.path();
    let mut encoder = png::Encoder::new(out, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    let channels = grid.picture[2];
    match channels {
        1 if colours == Colours::default() => encoder.set_color(png::ColorType::Grayscale),
        1 => {
            encoder.set_color(png::ColorType::Indexed);
            encoder.set_palette(colours.palette());
        }
        3 => encoder.set_color(png::ColorType::Rgb),
        other => return Err(ReportError::WrongChannels(other)),
    }
    // Takes a fifth of the time of `Balanced`, so that one core keeps up with a GPU that draws. It packs zeros and
    // single bytes well: grey digits as they are, and pixels that repeat their neighbours as differences from them.
    encoder.set_compression(png::Compression::Fast);
    let is_plain = channels == 1 && grid.scale == 1;
    encoder.set_filter(if is_plain { png::Filter::NoFilter } else { png::Filter::Adaptive });
    encoder.write_header().and_then(|writer| writer.into_stream_writer()).map_err(|error| match error {
        png::EncodingError::IoError(source) => WriteError { path, source }.into(),
        other => ReportError::Encoder { path, reason: other.to_string() },
    })
}

/// The encoder never gives its file back, so both hold it. It also writes its last bytes where it cannot report a
/// failure, so the first failure is kept here.
#[derive(Clone)]
struct Shared(Rc<RefCell<State>>);

struct State {
    file: Option<Unfinished>,
    failure: Option<io::ErrorKind>,
    path: PathBuf,
}

impl Shared {
    fn new(file: Unfinished) -> Shared {
        let path = file.path().to_owned();
        Shared(Rc::new(RefCell::new(State { file: Some(file), failure: None, path })))
    }

    fn close(&self, name: impl FnOnce(Unfinished) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        match (state.failure, state.file.take()) {
            (Some(kind), _) => Err(kind.into()),
            (None, Some(file)) => name(file),
            (None, None) => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> ReportError {
        WriteError { path: self.path(), source }.into()
    }

    fn path(&self) -> PathBuf {
        self.0.borrow().path.clone()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Unfinished) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        let result = state.file.as_mut().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), act);
        if let Err(error) = &result {
            state.failure.get_or_insert(error.kind());
        }
        result
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.with(|file| file.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Colour;

    const GRID: Grid = Grid { rows: 3, columns: 2, picture: [2, 2, 1], scale: 1, gap: 1 };

    fn write(path: &Path, colours: Colours) {
        let mut png = PngGrid::create(path, GRID, colours).unwrap();
        (0..5u8).for_each(|i| png.push((i != 2).then_some(&[i, 10 + i, 20 + i, 30 + i])).unwrap());
        assert!(!path.exists());
        png.finish(Existing::Keep).unwrap();
    }

    #[test]
    fn a_grid_reads_back_as_it_was_given_in_grey_and_in_colours() {
        let folder = tempfile::tempdir().unwrap();
        let [grey, coloured] = ["a.png", "b.png"].map(|name| folder.path().join(name));
        write(&grey, Colours::default());
        let colours = Colours { ink: Colour([0, 0, 255]), paper: Colour([255, 255, 0]) };
        write(&coloured, colours);
        let (grey, coloured) = (image::open(grey).unwrap(), image::open(coloured).unwrap().to_rgb8());
        let image::DynamicImage::ImageLuma8(grey) = grey else { panic!("not grey: {grey:?}") };
        assert_eq!(grey.dimensions(), (5, 8));
        assert_eq!(grey.get_pixel(4, 1).0, [31], "picture 1, at the lower right");
        assert_eq!(grey.get_pixel(1, 4).0, [0], "no picture 2");
        assert_eq!(grey.get_pixel(0, 6).0, [4], "picture 4");
        let palette = colours.palette();
        for (value, shown) in grey.pixels().zip(coloured.pixels()) {
            assert_eq!(shown.0, palette[usize::from(value.0[0]) * 3..][..3]);
        }
    }

    #[test]
    fn a_picture_never_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut png = PngGrid::create(&folder.path().join("a.png"), GRID, Colours::default()).unwrap();
        png.push(None).unwrap();
        drop(png);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_picture_of_its_own_holds_its_pixels_and_replaces_nothing_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let grid = Grid { rows: 1, columns: 1, picture: [1, 2, 3], scale: 1, gap: 0 };
        let stop = AtomicBool::new(false);
        let save = |existing| write_picture(&[1, 2, 3, 4, 5, 6], &path, grid, Colours::default(), existing, &stop);
        assert!(save(Existing::Keep).unwrap());
        assert_eq!(image::open(&path).unwrap().to_rgb8().into_raw(), [1, 2, 3, 4, 5, 6]);
        assert!(save(Existing::Keep).unwrap_err().to_string().contains("a.png"));
        assert!(save(Existing::Replace).unwrap());
    }

    #[test]
    fn a_picture_that_is_told_to_stop_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let (grid, stop) = (Grid { rows: 1, columns: 1, ..GRID }, AtomicBool::new(true));
        assert!(!write_picture(&[1, 2, 3, 4], &path, grid, Colours::default(), Existing::Keep, &stop).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_picture_that_a_png_cannot_hold_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = |grid| PngGrid::create(&folder.path().join("a.png"), grid, Colours::default()).err().unwrap();
        let message = create(Grid { rows: 1 << 40, ..GRID }).to_string();
        assert!(message.contains("a PNG has at most 2147483647 a side"), "{message}");
        assert!(matches!(create(Grid { picture: [2, 2, 2], ..GRID }), ReportError::WrongChannels(2)));
    }
}
