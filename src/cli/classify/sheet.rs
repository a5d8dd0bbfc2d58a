//! A contact sheet by class, the least certain pictures of each class first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops;

use super::record::Record;
use super::table::Columns;
use crate::files::{Unfinished, WriteError};
use crate::pictures::source::{numbered_pixels, table_of};
use crate::pictures::stream::Work;
use crate::pictures::{text_path, visible};
use crate::report::{MAX_SIDE, ReportError, SheetItem, titled_sheet};

/// The most pictures per class.
const MOST: usize = 100;
const COLUMNS: usize = 20;
/// The approximate size at which a picture is shown, in pixels, whatever its own size.
const SHOWN_AT: usize = 56;
/// The gap between two classes, in pixels.
const GAP: u32 = 8;

/// # Errors
/// If a sheet cannot be written, which is better reported before all pictures are looked at than after.
pub fn can_be_written(path: &Path) -> anyhow::Result<()> {
    Ok(Unfinished::create(path).map(drop).map_err(WriteError::of(path))?)
}

/// The least certain pictures of each class so far.
pub struct Least {
    input: [usize; 3],
    columns: Columns,
    /// One for each class, and then one for the unsure pictures.
    classes: Vec<Class>,
}

#[derive(Default)]
struct Class {
    met: u64,
    /// The least certain first.
    pictures: Vec<Picture>,
}

struct Picture {
    confidence: f64,
    record: Record,
    /// What the network saw; `None` as yet for a picture that an earlier run has looked at.
    pixels: Option<Vec<u8>>,
}

impl Least {
    pub fn new(input: [usize; 3], columns: Columns) -> Least {
        let classes = (0..=columns.class_names.len()).map(|_| Class::default()).collect();
        Least { input, columns, classes }
    }

    pub fn add(&mut self, record: &Record, pixels: Option<&[u8]>) {
        let Some((_, confidence)) = record.best() else { return };
        let unsure = self.classes.len() - 1;
        let class = record.answer(self.columns.threshold.unwrap_or(0.0)).unwrap_or(unsure).min(unsure);
        let Some(Class { met, pictures }) = self.classes.get_mut(class) else { return };
        *met += 1;
        let place = pictures.partition_point(|picture| picture.confidence <= confidence);
        if place < MOST {
            pictures.truncate(MOST - 1);
            pictures.insert(place, Picture { confidence, record: record.clone(), pixels: pixels.map(<[u8]>::to_vec) });
        }
    }

    /// Draws the sheet, and returns how many pictures it lacks, because they are no longer where they were or because
    /// there was no room for their class.
    pub fn draw(mut self, work: &Work) -> Result<(RgbImage, u64), ReportError> {
        // With many classes each gets fewer rows, of about 100 pixels beside a title of 100.
        let mut rows = MOST.div_ceil(COLUMNS);
        let shown = self.classes.iter().filter(|class| class.met > 0).count();
        while rows > 1 && shown as u64 * (rows as u64 * 100 + 100) > MAX_SIDE {
            rows -= 1;
        }
        self.classes.iter_mut().for_each(|class| class.pictures.truncate(rows * COLUMNS));
        self.read(work);
        let (mut strips, mut height, mut missing): (Vec<RgbImage>, _, _) = (Vec::new(), 0, 0);
        for (i, class) in self.classes.iter().enumerate().filter(|(_, class)| class.met > 0) {
            let strip = self.strip(i, class)?;
            if u64::from(height + strip.height() + GAP) > MAX_SIDE {
                missing += class.pictures.len() as u64;
                continue;
            }
            missing += class.pictures.iter().filter(|picture| picture.pixels.is_none()).count() as u64;
            height += strip.height() + GAP;
            strips.push(strip);
        }
        let width = strips.iter().map(RgbImage::width).max().unwrap_or(1);
        let mut sheet = RgbImage::from_pixel(width, height.max(1), image::Rgb([255; 3]));
        let mut top = 0;
        for strip in strips {
            imageops::replace(&mut sheet, &strip, 0, top);
            top += i64::from(strip.height() + GAP);
        }
        Ok((sheet, missing))
    }

    /// Rereads what an earlier run has looked at.
    fn read(&mut self, work: &Work) {
        self.read_rows(work);
        for picture in self.classes.iter_mut().flat_map(|class| &mut class.pictures) {
            if picture.pixels.is_none() && picture.record.row.is_none() {
                picture.pixels = work.file(&text_path(&picture.record.path)).ok().map(|seen| seen.prepared.pixels);
            }
        }
    }

    /// Rereads the rows of CSV files, those of each file in one go.
    fn read_rows(&mut self, work: &Work) {
        let mut tables: HashMap<PathBuf, HashMap<u64, Vec<&mut Picture>>> = HashMap::new();
        for picture in self.classes.iter_mut().flat_map(|class| &mut class.pictures) {
            let row = picture.record.row.filter(|_| picture.pixels.is_none());
            let place = row.and_then(|row| Some((table_of(&picture.record.path, row)?, row)));
            if let Some((table, row)) = place {
                tables.entry(table).or_default().entry(row).or_default().push(picture);
            }
        }
        for (table, mut wanted) in tables {
            for (row, pixels) in numbered_pixels(&table, Some(work.input)) {
                let Some(pictures) = wanted.remove(&row) else { continue };
                if let Ok(prepared) = work.row(pixels) {
                    pictures.into_iter().for_each(|picture| picture.pixels = Some(prepared.pixels.clone()));
                }
                if wanted.is_empty() {
                    break;
                }
            }
        }
    }

    fn strip(&self, class: usize, Class { met, pictures }: &Class) -> Result<RgbImage, ReportError> {
        let name = |class: usize| self.columns.class_names.get(class).unwrap_or(&self.columns.unsure).as_str();
        let items: Vec<SheetItem> = pictures
            .iter()
            .filter_map(|picture| {
                let (best, confidence) = picture.record.best()?;
                // On one line, whatever the picture's width.
                let mut caption = format!("{:.1}\u{a0}%", confidence * 100.0);
                if let Some(truth) = picture.record.truth.filter(|truth| *truth != class) {
                    caption += &format!("\nis {}", visible(name(truth)));
                } else if class >= self.columns.class_names.len() {
                    caption += &format!("\n{}?", visible(name(best)));
                }
                Some(SheetItem { pixels: picture.pixels.as_deref()?, caption })
            })
            .collect();
        let title = match items.len() as u64 == *met {
            true => format!("{}: {met}", visible(name(class))),
            false => format!("{}: the {} least certain of {met}", visible(name(class)), items.len()),
        };
        let [height, width, channels] = self.input;
        let scale = (SHOWN_AT / height.max(width).max(1)).max(1);
        titled_sheet(&title, &items, (height, width, channels), COLUMNS, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::classify::record::Kept;
    use crate::pictures::Preparation;

    #[test]
    fn of_each_class_the_least_certain_pictures_are_kept_in_the_order_of_their_certainty() {
        let columns = Columns::new(&["a", "b"].map(String::from), None, Kept { top: 1, all: false });
        let mut least = Least::new([1, 1, 1], columns);
        for i in 0..150 {
            let confidence = f64::from(i * 7 % 150) / 150.0;
            least.add(&Record { top: vec![(1, confidence)], ..Record::default() }, None);
        }
        let Class { met, pictures } = &least.classes[1];
        let kept: Vec<f64> = pictures.iter().map(|picture| picture.confidence).collect();
        let wanted: Vec<f64> = (0..100).map(|i| f64::from(i) / 150.0).collect();
        assert_eq!((*met, kept), (150, wanted));
    }

    /// What a sheet of so many classes lacks, each of which has so many pictures with pixels and so many that are gone.
    fn lacking(classes: usize, there: usize, gone: usize) -> u64 {
        let input = [28, 28, 1];
        let class_names = (0..classes).map(|class| class.to_string()).collect();
        let kept = Kept { top: 1, all: false };
        let mut least = Least::new(input, Columns { class_names, unsure: "unsure".into(), threshold: None, kept });
        for class in 0..classes {
            let record = |p| Record { path: "gone.png".into(), top: vec![(class, p)], ..Record::default() };
            (0..there).for_each(|_| least.add(&record(0.5), Some(&[0; 784])));
            (0..gone).for_each(|_| least.add(&record(0.9), None));
        }
        least.draw(&Work { input, preparation: Preparation::default(), show: None }).unwrap().1
    }

    #[test]
    fn a_sheet_lacks_each_picture_once_that_is_gone_or_whose_class_has_no_room() {
        assert_eq!(lacking(2, 3, 0), 0);
        assert_eq!(lacking(2, 3, 2), 4);
        // Each class is at least a title, and 1,000 titles have no room.
        assert_eq!(lacking(1000, 0, 1), 1000);
    }

    #[test]
    fn a_sheet_does_not_lack_pictures_beyond_the_rows_that_its_classes_get() {
        // 100 classes get one row each.
        let (with, without) = (lacking(100, COLUMNS, 1), lacking(100, COLUMNS, 0));
        assert_eq!(with, without, "a picture in a second row");
    }
}
