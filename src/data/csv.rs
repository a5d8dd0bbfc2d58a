//! Images as rows of a CSV file with a column for each pixel, as Kaggle distributes MNIST.
//!
//! A row is read when it is asked for, so that a file of any length takes the memory of one row.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};
use flate2::read::MultiGzDecoder;

use super::columns::{first_numbered, number_columns, order};
use crate::data::{DataError, MAX_CLASSES};

/// The most columns that a row may have: an image of 4096 x 4096 bytes.
const MAX_COLUMNS: usize = 1 << 24;
/// What to do with pixels from 0 to 1.
pub(super) const WHITE_IS_255: &str = "255 is white: if 1 is meant to be white, multiply all pixels by 255";

/// One image of a CSV file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PixelRow {
    /// Its line, counted from 1.
    pub line: u64,
    /// Present where the file has labels.
    pub label: Option<u32>,
    /// As many as [`PixelRows::pixels`], row by row of the image.
    pub pixels: Vec<u8>,
}

/// The images of a CSV file, one after another.
///
/// With a header, a column named `label` holds labels, wherever it stands, and all others are pixels. They are in the
/// order of the numbers in their names (`pixel0`, `pixel1`, `pixel10`; `1x1`, `1x2`, `10x1`), and in column order where
/// the names tell none. Without a header, the first column holds labels if the other columns make a square image but
/// all columns together do not, or if the images' size says so ([`PixelRows::of_pixels`]). The same applies below a
/// header that only numbers its columns, two or more, from 0 or 1 on, which is what pandas writes over columns without
/// names; where these, 16 or more, stand in another order, the column of the least number counts as the first. Pixels
/// are whole numbers from 0 to 255, labels whole numbers. A wrong row is an error, after which the next row can be read;
/// a failure of the file itself ends the rows.
pub struct PixelRows<R = Box<dyn Read + Send>> {
    path: PathBuf,
    reader: csv::Reader<R>,
    record: ByteRecord,
    /// Whether the first row, which was no header, is still to be returned.
    first: bool,
    line: u64,
    columns: usize,
    label: Option<Labels>,
    /// The column that may hold labels where none has a name.
    unnamed: Option<usize>,
    /// Indices of a row's pixels, counted without the label, in the order of an image, where the columns are in another
    /// order.
    order: Option<Vec<usize>>,
    /// A remark on names that tell no such order, though they have numbers.
    doubt: Option<String>,
    ended: bool,
}

/// Where the labels of a CSV file stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Labels {
    /// Counted from 0.
    pub column: usize,
    /// Whether a header says so; otherwise it was guessed.
    pub named: bool,
}

impl PixelRows {
    /// The rows of a file, which is unpacked if it begins as gzip does, whatever its name.
    ///
    /// # Errors
    /// [`DataError::CannotRead`] and those of [`PixelRows::new`].
    pub fn open(path: &Path) -> Result<PixelRows, DataError> {
        let cannot_read = |reason| DataError::CannotRead { path: path.into(), reason };
        let mut file = BufReader::new(File::open(path).map_err(cannot_read)?);
        let packed = file.fill_buf().map_err(cannot_read)?.starts_with(&[0x1f, 0x8b]);
        let text: Box<dyn Read + Send> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        PixelRows::new(text, path)
    }

    /// The rows of a file of images whose height, width and channels may be known ([`PixelRows::of_pixels`]).
    ///
    /// # Errors
    /// As [`PixelRows::open`].
    pub fn open_for(path: &Path, image: Option<[usize; 3]>) -> Result<PixelRows, DataError> {
        let rows = PixelRows::open(path)?;
        Ok(match image {
            Some(sides) => rows.of_pixels(sides.into_iter().fold(1, usize::saturating_mul)),
            None => rows,
        })
    }
}

impl<R: Read> PixelRows<R> {
    /// Reads the header, or the first row; `path` is for errors.
    ///
    /// # Errors
    /// [`DataError::Csv`] where there is no row at all, for a first row that cannot be one of pixels or whose columns
    /// are not separated by commas, for a submission to Kaggle, and for what is no such text: a zip archive, UTF-16,
    /// lines that end in carriage returns.
    pub fn new(reader: R, path: &Path) -> Result<PixelRows<R>, DataError> {
        // Rows of another length are refused here, with a better message.
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // Lines end, and are counted, at line feeds; carriage returns are white space around a number.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(reader);
        let mut rows = PixelRows {
            path: path.into(),
            reader,
            record: ByteRecord::new(),
            first: true,
            line: 1,
            columns: 0,
            label: None,
            unnamed: None,
            order: None,
            doubt: None,
            ended: false,
        };
        if !rows.advance()? {
            return Err(rows.wrong(1, "expected rows of pixels, found nothing. Write the file again".into()));
        }
        rows.columns = rows.record.len();
        if let Some(problem) = other_text(&rows.record) {
            return Err(rows.wrong(1, problem.into()));
        }
        if rows.columns > MAX_COLUMNS {
            let problem = format!("expected at most {MAX_COLUMNS} columns, found {}", rows.columns);
            return Err(rows.wrong(1, problem));
        }
        let others = [(b';', "semicolons"), (b'\t', "tabs")];
        let other = others.iter().find(|(other, _)| rows.columns == 1 && rows.record[0].trim_ascii().contains(other));
        if let Some((_, found)) = other {
            let problem = format!("expected columns separated by commas, found {found}. Write the file with commas");
            return Err(rows.wrong(1, problem));
        }
        let numbers: Option<Vec<u32>> = rows.record.iter().map(number).collect();
        rows.label = if let Some(cells) = &numbers {
            rows.first = !number_columns(cells);
            let column = if rows.first { 0 } else { first_numbered(cells) };
            rows.unnamed = Some(column);
            let is_first = is_square(rows.columns - 1) && !is_square(rows.columns);
            is_first.then_some(Labels { column, named: false })
        } else {
            rows.first = false;
            let column = rows.record.iter().position(|name| name.trim_ascii().eq_ignore_ascii_case(b"label"));
            column.map(|column| Labels { column, named: true })
        };
        if is_submission(&rows.record) {
            let problem = "looks like a submission: numbered answers, but no pixels. Kaggle's pictures are in \
                           train.csv and test.csv";
            return Err(rows.wrong(1, problem.into()));
        }
        if rows.pixels() == 0 {
            return Err(rows.wrong(1, "expected columns of pixels, found only labels".into()));
        }
        rows.find_order();
        Ok(rows)
    }

    /// The rows of a table whose images have so many pixels: where no column has a name, this decides, and not whether
    /// the columns make a square, if the first holds labels. Call this before asking for the first row.
    pub fn of_pixels(mut self, pixels: usize) -> PixelRows<R> {
        if let Some(column) = self.unnamed
            && let Some(others @ 0..=1) = self.columns.checked_sub(pixels)
        {
            self.label = (others == 1).then_some(Labels { column, named: false });
            self.find_order();
        }
        self
    }

    /// Whether labels were looked for without a name that says where they are.
    pub fn is_unnamed(&self) -> bool {
        self.unnamed.is_some()
    }

    /// Finds the order of the pixels by the names in the header, if there is one: the row that was read last.
    fn find_order(&mut self) {
        if self.first {
            return;
        }
        let column = |pixel: usize| pixel + usize::from(self.label.is_some_and(|label| label.column <= pixel));
        let name = |pixel: usize| self.record[column(pixel)].trim_ascii();
        (self.order, self.doubt) = match order(self.pixels(), name) {
            Ok(order) => (order, None),
            Err(doubt) => (None, Some(doubt)),
        };
    }

    /// Pixels of each image: all columns but that of the labels.
    pub fn pixels(&self) -> usize {
        self.columns - usize::from(self.label.is_some())
    }

    /// Where the labels stand, if the file has any.
    pub fn labels(&self) -> Option<Labels> {
        self.label
    }

    /// A remark on the order of the pixels, where the numbers in the columns' names leave it open.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Advice on the first column that is no label and that the header names differently from the pixels: `id`, where
    /// others are `pixel0`, `pixel1` and so on. Where no column is called `label`, it may hold the labels if it stands
    /// first, or alone and last, like `class` in OpenML's tables. Call this before asking for the first row.
    pub fn misfit(&self) -> Option<String> {
        let word = |name: &[u8]| -> Vec<u8> {
            name.trim_ascii().iter().copied().filter(|byte| !byte.is_ascii_digit()).collect()
        };
        // Pixels outnumber whatever other columns there are.
        let pixel = word(self.record.get(self.columns / 2)?);
        let is_label = |column: usize| self.label.is_some_and(|label| label.column == column);
        let misfits = self.record.iter().enumerate().filter(|(column, name)| !is_label(*column) && word(name) != pixel);
        let (first, count) = misfits.fold((None, 0), |(first, count), misfit| (first.or(Some(misfit)), count + 1));
        // Where many columns misfit, their names tell nothing.
        let (column, told) = first.filter(|_| !self.first && count * 4 < self.columns)?;
        let name: String = String::from_utf8_lossy(told.trim_ascii()).chars().take(40).collect();
        let place = match column {
            _ if self.label.is_some() => None,
            0 => Some("first"),
            _ if count == 1 && column + 1 == self.columns => Some("last"),
            _ => None,
        };
        Some(match place {
            Some(place) => format!(
                "the {place} column is named {name:?}: if it holds the labels, name it `label`; if not, leave it out"
            ),
            None => {
                format!("the column {name:?} counts as a pixel. Remove columns that are neither `label` nor pixels")
            }
        })
    }

    fn advance(&mut self) -> Result<bool, DataError> {
        let begun = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.record);
        // The reader now stands on the line after the row, or still on it where the file ends without a line feed.
        self.line = (self.reader.position().line() - 1).max(begun);
        read.map_err(|error| {
            self.ended = true;
            self.wrong(begun, format!("cannot be read: {error}"))
        })
    }

    fn row(&self) -> Result<PixelRow, DataError> {
        let line = self.line;
        if self.record.len() != self.columns {
            let found = self.record.len();
            return Err(
                self.wrong(line, format!("expected {} columns as in the first line, found {found}", self.columns))
            );
        }
        let mut row = PixelRow { line, label: None, pixels: Vec::with_capacity(self.pixels()) };
        for (column, cell) in self.record.iter().enumerate() {
            let is_label = self.label.is_some_and(|label| label.column == column);
            let (what, least_wrong) = if is_label { ("a label", MAX_CLASSES) } else { ("a pixel", 256) };
            let value = number(cell).filter(|value| (*value as usize) < least_wrong).ok_or_else(|| {
                let found = String::from_utf8_lossy(cell.trim_ascii()).chars().take(40).collect::<String>();
                let expected = format!("{what}, a whole number from 0 to {}", least_wrong - 1);
                let is_share = !is_label && found.parse::<f64>().is_ok_and(|value| 0.0 < value && value < 1.0);
                let advice = if is_share { format!(". {WHITE_IS_255}") } else { String::new() };
                self.wrong(line, format!("column {}: expected {expected}, found {found:?}{advice}", column + 1))
            })?;
            if is_label {
                row.label = Some(value);
            } else {
                row.pixels.push(value as u8);
            }
        }
        if let Some(order) = &self.order {
            row.pixels = order.iter().map(|pixel| row.pixels[*pixel]).collect();
        }
        Ok(row)
    }

    fn wrong(&self, line: u64, problem: String) -> DataError {
        DataError::Csv { path: self.path.clone(), line, problem }
    }
}

impl<R: Read> Iterator for PixelRows<R> {
    type Item = Result<PixelRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::take(&mut self.first) {
            return Some(self.row());
        }
        match (!self.ended).then(|| self.advance())? {
            Ok(true) => Some(self.row()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Parses a whole number; `12.0` is one, as tables of decimals write it.
fn number(cell: &[u8]) -> Option<u32> {
    let cell = std::str::from_utf8(cell.trim_ascii()).ok()?;
    let whole = match cell.split_once('.') {
        Some((whole, rest)) if !rest.is_empty() && rest.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => cell,
    };
    if whole.starts_with('+') { None } else { whole.parse().ok() }
}

/// What a file is instead of lines of text with commas, judged by its first row, and what to do about it.
fn other_text(first: &ByteRecord) -> Option<&'static str> {
    let start = first.get(0)?;
    if start.starts_with(b"PK\x03\x04") {
        return Some("expected text, found a zip archive. Unpack it first");
    }
    if start.contains(&0) {
        return Some("expected text, found zero bytes, as UTF-16 has them. Save it as UTF-8");
    }
    let is_one_line = first.iter().any(|cell| cell.trim_ascii().contains(&b'\r'));
    is_one_line.then_some(
        "expected lines that end in a line feed, found carriage returns alone. Save it with Unix or Windows line endings",
    )
}

/// Whether a first row is that of a submission to Kaggle, `ImageId,Label`, whose one column besides the labels would be
/// taken for pictures of one pixel.
fn is_submission(first: &ByteRecord) -> bool {
    let is = |column: usize, names: &[&str]| {
        let name = first.get(column).map(|cell| cell.trim_ascii().to_ascii_lowercase());
        name.is_some_and(|name| names.iter().any(|known| known.as_bytes() == name))
    };
    first.len() == 2 && is(0, &["imageid", "id"]) && is(1, &["label"])
}

fn is_square(count: usize) -> bool {
    count > 0 && count.isqrt().pow(2) == count
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::testing::gzip;

    pub fn rows(text: &str) -> Result<Vec<Result<PixelRow, String>>, String> {
        let rows = PixelRows::new(text.as_bytes(), Path::new("a.csv")).map_err(|error| error.to_string())?;
        Ok(rows.map(|row| row.map_err(|error| error.to_string())).collect())
    }

    pub fn row(line: u64, label: Option<u32>, pixels: &[u8]) -> Result<PixelRow, String> {
        Ok(PixelRow { line, label, pixels: pixels.into() })
    }

    #[test]
    fn the_header_says_which_column_is_the_label() {
        let kaggle = "label,pixel0,pixel1\n7,0,255\n";
        assert_eq!(rows(kaggle).unwrap(), [row(2, Some(7), &[0, 255])]);
        assert_eq!(rows("pixel0,Label\r\n3,1\r\n").unwrap(), [row(2, Some(1), &[3])]);
        assert_eq!(rows("pixel0,pixel1\n0,255\n").unwrap(), [row(2, None, &[0, 255])]);
    }

    #[test]
    fn without_a_header_the_first_column_is_a_label_where_the_rest_is_a_square() {
        assert_eq!(rows("7,1,2,3,4\n").unwrap(), [row(1, Some(7), &[1, 2, 3, 4])]);
        assert_eq!(rows("9,2,3,4\n5,6,7,8").unwrap(), [row(1, None, &[9, 2, 3, 4]), row(2, None, &[5, 6, 7, 8])]);
    }

    #[test]
    fn without_a_header_the_size_of_the_images_says_whether_the_first_column_is_a_label() {
        let of_pixels = |pixels: usize, text: &str| {
            let rows = PixelRows::new(text.as_bytes(), Path::new("a.csv")).unwrap().of_pixels(pixels);
            rows.map(|row| row.map(|row| (row.label, row.pixels)).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of_pixels(6, "7,1,2,3,4,5,9\n"), [(Some(7), vec![1, 2, 3, 4, 5, 9])]);
        assert_eq!(of_pixels(5, "7,1,2,3,4\n"), [(None, vec![7, 1, 2, 3, 4])], "though four would be a square");
        assert_eq!(of_pixels(9, "7,1,2,3,4\n"), [(Some(7), vec![1, 2, 3, 4])], "another size");
        // Columns that are only numbered.
        assert_eq!(of_pixels(2, "0,1,2\n7,8,9\n"), [(Some(7), vec![8, 9])]);
        assert_eq!(of_pixels(2, "a,b,label\n7,8,9\n"), [(Some(9), vec![7, 8])], "a name says where the label is");
        assert_eq!(of_pixels(2, "a,b,c\n7,8,9\n"), [(None, vec![7, 8, 9])]);
    }

    #[test]
    fn pixels_are_put_into_the_order_of_the_numbers_in_their_names() {
        let found = rows("pixel0,pixel1,pixel10,pixel2,label\n1,2,9,3,7\n4,x,5,6,7\n").unwrap();
        assert_eq!(found[0], row(2, Some(7), &[1, 2, 3, 9]));
        let refused = found[1].as_ref().unwrap_err();
        assert!(refused.contains("line 3: column 2"), "columns are counted as they stand: {refused}");
        assert_eq!(rows("p3,p2,label,p1,p0\n3,2,7,1,0\n").unwrap(), [row(2, Some(7), &[0, 1, 2, 3])]);
        assert_eq!(rows("label,1,3,2\n7,1,3,2\n").unwrap(), [row(2, Some(7), &[1, 2, 3])]);
        assert_eq!(rows("2x2,label,1x2,2x1,1x1\n4,7,2,3,1\n").unwrap(), [row(2, Some(7), &[1, 2, 3, 4])]);
        // Names that tell no order: with several words, a number twice, a place left out, or no numbers.
        for (names, is_told) in
            [("a0,b2,a1", true), ("a2,a1,a1", true), ("2x1,1x2,1x1", true), ("c,b,a", false), ("a2,a1,b", true)]
        {
            let text = format!("{names}\n1,3,2\n");
            assert_eq!(rows(&text).unwrap(), [row(2, None, &[1, 3, 2])], "{names}");
            let told = PixelRows::new(text.as_bytes(), Path::new("a.csv")).unwrap().doubt().is_some();
            assert_eq!(told, is_told, "{names}");
        }
        // Without a header there are no names.
        assert_eq!(rows("0,2,1,3\n4,5,6,7\n").unwrap()[1], row(2, None, &[4, 5, 6, 7]));
    }

    #[test]
    fn a_wrong_row_names_its_line_and_column_and_the_next_one_is_read() {
        let found = rows("label,a,b\n1,2\n1,2,256\n1,,3\n\n-1,2,3\n9,1.0,2\n").unwrap();
        let errors: Vec<&str> = found.iter().filter_map(|row| row.as_ref().err().map(String::as_str)).collect();
        assert!(errors[0].contains("a.csv, line 2: expected 3 columns as in the first line, found 2"), "{errors:?}");
        assert!(errors[1].contains("line 3: column 3: expected a pixel, a whole number from 0 to 255, found \"256\""));
        assert!(errors[2].contains("line 4: column 2") && errors[3].contains("line 6: column 1: expected a label"));
        assert_eq!(found[4], row(7, Some(9), &[1, 2]));
    }

    #[test]
    fn other_separators_are_named() {
        for (text, found) in [("label;a\n1;2\n", "semicolons"), ("7;0\n", "semicolons"), ("a\tb\n1\t2\n", "tabs")] {
            let refused = rows(text).unwrap_err();
            let wanted = format!("line 1: expected columns separated by commas, found {found}");
            assert!(refused.contains(&wanted), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_of_lines_is_named_with_what_to_do() {
        let utf16: String = "label,a\r\n3,1\r\n".chars().flat_map(|c| [c, '\0']).collect();
        for (text, words) in [
            ("PK\x03\x04\x14\0\0\0,\n,", "a zip archive. Unpack it first"),
            (utf16.as_str(), "UTF-16 has them. Save it as UTF-8"),
            ("label,a\r3,1\r4,2\r", "carriage returns alone"),
        ] {
            let refused = rows(text).unwrap_err();
            assert!(refused.contains("a.csv, line 1: expected") && refused.contains(words), "{refused}");
        }
        assert_eq!(rows("label,a\r\n3,1\r\n").unwrap(), [row(2, Some(3), &[1])]);
    }

    #[test]
    fn a_pixel_from_0_to_1_is_refused_with_what_white_is() {
        let found = rows("label,a\n1,0.3373\n0.5,1\n1,1.5\n").unwrap();
        let says =
            found.iter().map(|row| row.as_ref().unwrap_err().contains("255 is white: if 1 is meant to be white"));
        assert_eq!(says.collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn a_first_or_last_column_with_a_name_of_its_own_may_be_the_label_where_no_other_is() {
        let advice = |text: &str| PixelRows::new(text.as_bytes(), Path::new("a.csv")).unwrap().misfit();
        for (text, place) in [("digit,p0,p1,p2,p3\n7,1,2,3,4\n", "first"), ("p1,p2,p3,p4,digit\n", "last")] {
            let named = format!("the {place} column is named \"digit\": if it holds the labels, name it `label`");
            assert!(advice(text).unwrap().starts_with(&named), "{text}");
        }
        let counted = "counts as a pixel. Remove columns that are neither `label` nor pixels";
        for text in ["digit,label,p0,p1,p2,p3\n", "label,p0,p1,p2,p3,digit\n", "p0,digit,p1,p2,p3\n"] {
            assert_eq!(advice(text).unwrap(), format!("the column \"digit\" {counted}"), "{text}");
        }
        assert_eq!(advice("p0,p1,p2,p3\n"), None);
    }

    #[test]
    fn a_carriage_return_at_the_end_of_a_line_is_no_part_of_a_name_or_a_value() {
        let misfit = |text: &str| PixelRows::new(text.as_bytes(), Path::new("a.csv")).unwrap().misfit();
        assert_eq!(misfit("p0,p1,p2,p3,p4\r\n"), None);
        assert!(misfit("p0,p1,p2,p3,digit\r\n").unwrap().starts_with("the last column is named \"digit\": "));
        assert!(misfit("label,p0,p1,p2,p3,extra\r\n").unwrap().starts_with("the column \"extra\" counts as a pixel"));
        let found = rows("a,label\r\n1,x\r\n").unwrap().remove(0).unwrap_err();
        assert!(found.ends_with("found \"x\""), "{found}");
    }

    #[test]
    fn a_submission_is_told_where_its_pictures_are() {
        for text in ["ImageId,Label\n1,7\n2,3\n", "id, label\r\n1,7\r\n"] {
            let refused = rows(text).unwrap_err();
            assert!(refused.contains("a.csv, line 1: looks like a submission"), "{refused}");
            assert!(refused.ends_with("are in train.csv and test.csv"), "{refused}");
        }
        assert_eq!(rows("pixel,label\n1,7\n").unwrap(), [row(2, Some(7), &[1])]);
    }

    #[test]
    fn a_file_is_unpacked_where_it_is_packed_whatever_its_name() {
        let (folder, text) = (tempfile::tempdir().unwrap(), b"label,a\n3,1\n");
        // Packers that work in parallel write several members one after another.
        let members = [gzip(&text[..8]), gzip(&text[8..])].concat();
        for (name, bytes) in
            [("a.csv", gzip(text)), ("b.csv.gz", gzip(text)), ("c.csv.gz", text.to_vec()), ("d.csv.gz", members)]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let found: Vec<PixelRow> = PixelRows::open(&path).unwrap().map(Result::unwrap).collect();
            assert_eq!(found, [row(2, Some(3), &[1]).unwrap()], "{name}");
        }
    }

    #[test]
    fn nothing_and_labels_alone_are_refused() {
        for text in ["", "label\n3\n"] {
            assert!(rows(text).unwrap_err().contains("a.csv, line 1"), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(rows) = PixelRows::new(bytes.as_slice(), Path::new("a.csv")) {
                let pixels = rows.pixels();
                for row in rows.flatten() {
                    prop_assert_eq!(row.pixels.len(), pixels);
                }
            }
        }

        #[test]
        fn rows_that_were_written_are_read_as_they_were(
            images in prop::collection::vec((0u32..10, prop::collection::vec(any::<u8>(), 9)), 1..10),
        ) {
            let mut text = "label,0,1,2,3,4,5,6,7,8\n".to_owned();
            for (label, pixels) in &images {
                let cells: Vec<String> = pixels.iter().map(u8::to_string).collect();
                text += &format!("{label},{}\n", cells.join(","));
            }
            let found = rows(&text).unwrap();
            prop_assert_eq!(found.len(), images.len());
            for (found, (label, pixels)) in found.into_iter().zip(&images) {
                let found = found.unwrap();
                prop_assert_eq!((found.label, &found.pixels), (Some(*label), pixels));
            }
        }
    }
}
