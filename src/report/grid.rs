//! Pictures of one size side by side, turned into lines of pixels as they come: a grid of any length is written with
//! no more than one row of pictures in memory.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report::ReportError;

/// Bytes that a row of pictures may take while it is drawn.
const MAX_ROW: u64 = 1 << 30;

/// Never set: for a grid that is written to its end.
static NEVER: AtomicBool = AtomicBool::new(false);

/// The most columns of a sheet with a column for each class, and the pixels that they may take together.
const MOST_CLASSES: usize = 26;
const WIDEST: usize = 4096;

/// How many classes a sheet has a column for, each of `width` pixels: all of them, as long as the sheet can be taken
/// in. There is room for ten of any width.
pub fn class_columns(classes: usize, width: usize) -> usize {
    classes.min((WIDEST / width.max(1)).clamp(10, MOST_CLASSES))
}

/// How pictures are laid out. A byte of 0 is paper: gaps and cells without a picture consist of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    pub rows: u64,
    pub columns: u64,
    /// Height, width and channels of a picture, none of them 0.
    pub picture: [usize; 3],
    /// Each pixel becomes a square with sides of this many pixels; at least 1.
    pub scale: u32,
    /// Pixels between neighbours, as they are in the result.
    pub gap: u32,
}

impl Grid {
    /// Width and height in pixels; what does not fit 64 bits saturates.
    pub fn size(&self) -> [u64; 2] {
        let [height, width, _] = self.picture.map(|n| n as u64);
        let side = |cells: u64, pixels: u64| {
            let cell = pixels.saturating_mul(self.scale.into());
            cells.saturating_mul(cell).saturating_add(cells.saturating_sub(1).saturating_mul(self.gap.into()))
        };
        [side(self.columns, width), side(self.rows, height)]
    }

    /// How many rows and columns of such pictures fit into sides of `limit` pixels.
    fn most(&self, limit: u64) -> [u64; 2] {
        let [height, width, _] = self.picture.map(|n| n as u64);
        let gap = u64::from(self.gap);
        [height, width].map(|pixels| {
            let cell = pixels.saturating_mul(self.scale.into()).saturating_add(gap);
            limit.saturating_add(gap) / cell.max(1)
        })
    }

    /// [`Grid::size`], if both sides are from 1 to `limit`.
    ///
    /// # Errors
    /// [`ReportError::BeyondFormat`] otherwise.
    pub fn size_within(&self, format: &'static str, limit: u32) -> Result<[u32; 2], ReportError> {
        let [width, height] = self.size();
        let fits = |side: u64| u32::try_from(side).ok().filter(|side| (1..=limit).contains(side));
        match (fits(width), fits(height)) {
            (Some(width), Some(height)) => Ok([width, height]),
            _ => {
                let [rows, columns] = self.most(limit.into());
                let remedy = format!("take fewer pictures, at most {rows} x {columns}, or a smaller scale or gap");
                Err(ReportError::BeyondFormat { format, width, height, limit: limit.into(), remedy })
            }
        }
    }
}

/// Takes pictures from left to right and from top to bottom, and writes lines of pixels.
pub struct Cells<W> {
    grid: Grid,
    out: W,
    /// One row of pictures, neither enlarged nor with gaps.
    row: Vec<u8>,
    /// One line of the result.
    line: Vec<u8>,
    /// Pictures taken so far: whole rows, and those of the next row.
    rows: u64,
    column: usize,
}

impl<W: Write> Cells<W> {
    /// # Errors
    /// [`ReportError::RowTooLong`] if a row of pictures takes more memory than a grid may use.
    pub fn new(grid: Grid, out: W) -> Result<Cells<W>, ReportError> {
        let channels = grid.picture[2] as u64;
        let picture = grid.picture.iter().fold(1u64, |product, n| product.saturating_mul(*n as u64));
        let (bytes, line) = (grid.columns.saturating_mul(picture), grid.size()[0].saturating_mul(channels));
        if bytes.max(line) > MAX_ROW {
            let [_, lines] = grid.most(MAX_ROW / channels.max(1));
            let (columns, bytes, most) = (grid.columns, bytes.max(line), lines.min(MAX_ROW / picture.max(1)));
            return Err(ReportError::RowTooLong { columns, bytes, limit: MAX_ROW, most });
        }
        let (row, line) = (vec![0; bytes as usize], vec![0; line as usize]);
        Ok(Cells { grid, out, row, line, rows: 0, column: 0 })
    }

    /// Adds the next cell: a picture's bytes `[height, width, channels]`, or nothing but paper.
    ///
    /// # Errors
    /// Those of the writer; [`io::ErrorKind::InvalidInput`] for a picture of another size, or one cell too many.
    pub fn push(&mut self, picture: Option<&[u8]>) -> io::Result<()> {
        self.push_until(picture, &NEVER).map(drop)
    }

    /// Like [`Cells::push`], until `stop` is set. It is checked before every line of the result, since a row of
    /// pictures may be many gigabytes. Returns `false` if it was set; nothing more can be added then.
    ///
    /// # Errors
    /// As [`Cells::push`].
    pub fn push_until(&mut self, picture: Option<&[u8]>, stop: &AtomicBool) -> io::Result<bool> {
        if self.rows == self.grid.rows {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the grid is full"));
        }
        let [height, width, channels] = self.grid.picture;
        let (run, columns) = (width * channels, self.grid.columns as usize);
        if let Some(picture) = picture {
            if picture.len() != height * run {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a picture of another size than the grid's"));
            }
            let places = self.row.chunks_exact_mut(columns * run);
            for (place, pixels) in places.zip(picture.chunks_exact(run)) {
                place[self.column * run..][..run].copy_from_slice(pixels);
            }
        }
        self.column += 1;
        if self.column != columns {
            return Ok(true);
        }
        let written = self.write_row(stop)?;
        if !written {
            self.rows = self.grid.rows;
        }
        Ok(written)
    }

    /// Returns whether the row was written to its end.
    fn write_row(&mut self, stop: &AtomicBool) -> io::Result<bool> {
        let [_, width, channels] = self.grid.picture;
        let (scale, run) = (self.grid.scale as usize, width * channels);
        let step = run * scale + self.grid.gap as usize * channels;
        if self.rows > 0 {
            self.line.fill(0);
            if !repeat(&mut self.out, &self.line, self.grid.gap, stop)? {
                return Ok(false);
            }
        }
        for pixels in self.row.chunks_exact(self.grid.columns as usize * run) {
            for (cell, pixels) in self.line.chunks_mut(step).zip(pixels.chunks_exact(run)) {
                let squares = cell.chunks_exact_mut(channels * scale);
                for (square, pixel) in squares.zip(pixels.chunks_exact(channels)) {
                    square.chunks_exact_mut(channels).for_each(|place| place.copy_from_slice(pixel));
                }
            }
            if !repeat(&mut self.out, &self.line, self.grid.scale, stop)? {
                return Ok(false);
            }
        }
        self.row.fill(0);
        (self.rows, self.column) = (self.rows + 1, 0);
        Ok(true)
    }

    /// Fills the rest with paper, and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        while self.rows < self.grid.rows {
            self.write_row(&NEVER)?;
        }
        Ok(self.out)
    }
}

/// Writes a line `times` times, or until `stop` is set. Returns whether it was written that often.
fn repeat(out: &mut impl Write, line: &[u8], times: u32, stop: &AtomicBool) -> io::Result<bool> {
    for _ in 0..times {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        out.write_all(line)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(grid: Grid, pictures: &[Option<&[u8]>]) -> Vec<u8> {
        let mut cells = Cells::new(grid, Vec::new()).unwrap();
        pictures.iter().for_each(|picture| cells.push(*picture).unwrap());
        cells.finish().unwrap()
    }

    #[test]
    fn pictures_stand_side_by_side_with_paper_between_them() {
        let grid = Grid { rows: 2, columns: 2, picture: [1, 2, 1], scale: 1, gap: 1 };
        assert_eq!(grid.size(), [5, 3]);
        let wanted = [[1, 2, 0, 3, 4], [0; 5], [0, 0, 0, 5, 6]].concat();
        assert_eq!(lines(grid, &[Some(&[1, 2]), Some(&[3, 4]), None, Some(&[5, 6])]), wanted);
    }

    #[test]
    fn a_sheet_has_a_column_for_each_class_as_long_as_it_can_be_taken_in() {
        for (classes, width, columns) in
            [(3, 56, 3), (26, 56, 26), (40, 56, 26), (40, 256, 16), (40, 1000, 10), (9, 0, 9)]
        {
            assert_eq!(class_columns(classes, width), columns, "{classes} of {width} pixels");
        }
    }

    #[test]
    fn a_scale_makes_squares_of_pixels_and_keeps_their_channels_together() {
        let grid = Grid { rows: 1, columns: 1, picture: [1, 2, 3], scale: 2, gap: 9 };
        let line = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
        assert_eq!(lines(grid, &[Some(&[1, 2, 3, 4, 5, 6])]), [line, line].concat());
    }

    #[test]
    fn cells_that_never_come_are_paper_and_too_many_are_refused() {
        let grid = Grid { rows: 2, columns: 1, picture: [1, 1, 1], scale: 1, gap: 0 };
        assert_eq!(lines(grid, &[Some(&[7])]), [7, 0]);
        let mut cells = Cells::new(grid, Vec::new()).unwrap();
        assert!(cells.push(Some(&[1, 2])).is_err(), "a picture of another size");
        cells.push(Some(&[1])).unwrap();
        cells.push(None).unwrap();
        assert!(cells.push(None).is_err(), "one too many");
    }

    #[test]
    fn a_grid_that_is_told_to_stop_leaves_off_after_the_line_it_is_at_and_takes_no_more() {
        /// Sets `stop` at its third line.
        struct Third<'a> {
            lines: usize,
            stop: &'a AtomicBool,
        }
        impl Write for Third<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.lines += 1;
                self.stop.store(self.lines == 3, Ordering::Relaxed);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let stop = AtomicBool::new(false);
        let grid = Grid { rows: 2, columns: 1, picture: [1, 1, 1], scale: 100, gap: 0 };
        let mut cells = Cells::new(grid, Third { lines: 0, stop: &stop }).unwrap();
        assert!(!cells.push_until(Some(&[7]), &stop).unwrap());
        assert_eq!(cells.out.lines, 3);
        assert!(cells.push(Some(&[7])).is_err());
    }

    #[test]
    fn sizes_beyond_all_bounds_are_refused_and_not_tried() {
        let grid = Grid { rows: u64::MAX, columns: u64::MAX, picture: [28, 28, 1], scale: u32::MAX, gap: u32::MAX };
        assert_eq!(grid.size(), [u64::MAX; 2]);
        let message = grid.size_within("PNG", 1000).unwrap_err().to_string();
        assert!(message.contains("at most 1000 a side"), "{message}");
        let message = Cells::new(grid, Vec::new()).err().unwrap().to_string();
        assert!(message.contains("take fewer columns"), "{message}");
    }

    #[test]
    fn what_is_too_large_is_answered_with_the_largest_that_would_do() {
        // Enlarged pictures of 20 by 40 pixels, with gaps of 5.
        let grid = Grid { rows: 50, columns: 50, picture: [10, 20, 1], scale: 2, gap: 5 };
        let message = grid.size_within("PNG", 1000).unwrap_err().to_string();
        assert!(message.contains("at most 40 x 22,"), "{message}");
        assert!(Grid { rows: 40, columns: 22, ..grid }.size_within("PNG", 1000).is_ok());
        // A row takes 200 bytes per picture, unless an enlarged line of it takes more.
        for (scale, most) in [(1, MAX_ROW / 200), (20, (MAX_ROW + 5) / 405)] {
            let fits = |columns| Cells::new(Grid { columns, scale, ..grid }, Vec::new()).err();
            let message = fits(most + 1).unwrap().to_string();
            assert!(message.contains(&format!("at most {most}, and more rows")), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_grid_has_the_size_it_says_and_every_pixel_in_its_place(
            (rows, columns) in (1u64..4, 1u64..4), picture in prop::array::uniform3(1usize..4),
            scale in 1u32..4, gap in 0u32..3,
        ) {
            let grid = Grid { rows, columns, picture, scale, gap };
            let [height, width, channels] = picture;
            let bytes = height * width * channels;
            let all: Vec<u8> = (0..rows as usize * columns as usize * bytes).map(|i| (i % 255) as u8 + 1).collect();
            let pictures: Vec<Option<&[u8]>> = all.chunks(bytes).map(Some).collect();
            let got = lines(grid, &pictures);
            let [across, down] = grid.size().map(|n| n as usize);
            prop_assert_eq!(got.len(), across * down * channels);
            let (scale, gap) = (scale as usize, gap as usize);
            for (i, value) in got.iter().enumerate() {
                let (channel, x, y) = (i % channels, i / channels % across, i / channels / across);
                let (column, row) = (x / (width * scale + gap), y / (height * scale + gap));
                let (x, y) = (x % (width * scale + gap) / scale, y % (height * scale + gap) / scale);
                let wanted = if x < width && y < height {
                    all[(row * columns as usize + column) * bytes + (y * width + x) * channels + channel]
                } else {
                    0
                };
                prop_assert_eq!(*value, wanted);
            }
        }
    }
}
