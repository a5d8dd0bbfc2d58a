//! Data sets from CSV tables: a row for each image, a column for its label and one for each pixel.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::assemble::{Part, assemble};
use super::csv::PixelRows;
use super::idx::{IdxImages, MAX_BYTES};
use super::source::Reading;
use super::{DataError, DataSet};

/// Loads a table with labels, and another as its test set where that has labels too.
///
/// Images are square where `reading` does not say otherwise.
///
/// # Errors
/// [`DataError::Csv`] with the line for whatever is no such table, and what [`assemble`] has against the two.
pub fn load(train: &Path, test: Option<&Path>, reading: &Reading) -> Result<DataSet, DataError> {
    let name = train.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(part) = labelled(train, reading)? else {
        let problem = "expected a column named `label` to learn from, like label,pixel0,pixel1; found none".into();
        return Err(DataError::Csv { path: train.into(), line: 1, problem });
    };
    let beside = test.map(|path| labelled(path, reading)).transpose()?.flatten();
    let unlabelled = test.filter(|_| beside.is_none());
    let test = beside.unwrap_or_else(|| Part {
        images: IdxImages { count: 0, pixels: Vec::new().into(), ..part.images },
        labels: Vec::new(),
        images_path: part.images_path.clone(),
        labels_path: part.labels_path.clone(),
    });
    let mut set = assemble(name, part, test, None)?;
    set.remarks.extend(unlabelled.map(|path| format!("{} has no labels and takes no part", path.display())));
    Ok(set)
}

/// The images of a table, or `None` where it has no labels.
fn labelled(path: &Path, reading: &Reading) -> Result<Option<Part>, DataError> {
    let wrong = |line, problem| Err(DataError::Csv { path: path.into(), line, problem });
    let rows = PixelRows::new(open(path)?, path)?;
    if !rows.has_labels() {
        return Ok(None);
    }
    let side = rows.pixels().isqrt();
    let (height, width, channels) = match reading.image_size {
        Some(size) => (size.height, size.width, size.channels.unwrap_or(1)),
        None => (side, side, 1),
    };
    if height.saturating_mul(width).saturating_mul(channels) != rows.pixels() {
        let found = rows.pixels();
        return wrong(
            1,
            match reading.image_size {
                Some(_) => {
                    format!("{found} pixels make no image of {height}x{width}x{channels}; give another --image-size")
                }
                None => {
                    format!("{found} pixels make no square image; say what they make with --image-size, like 20x30")
                }
            },
        );
    }
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for row in rows {
        let row = row?;
        if pixels.len() as u64 + row.pixels.len() as u64 > MAX_BYTES {
            return wrong(row.line, format!("expected at most {MAX_BYTES} pixels in all, found more"));
        }
        pixels.extend_from_slice(&row.pixels);
        labels.extend(row.label);
    }
    if labels.is_empty() {
        return wrong(2, "expected rows of images, found none".into());
    }
    let images = IdxImages { count: labels.len(), height, width, channels, pixels: pixels.into() };
    Ok(Some(Part { images_path: path.into(), images, labels_path: path.into(), labels }))
}

/// The table's text, unpacked where its name says that it is packed.
fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let file = File::open(path).map_err(|reason| DataError::CannotRead { path: path.into(), reason })?;
    let zipped = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    Ok(if zipped { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load;
    use crate::data::testing::gzip;

    fn place(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
        folder
    }

    fn rows(count: usize) -> String {
        let row = |i: usize| format!("{},{},0,255,{}\n", i % 2, i, i * 3 % 256);
        "label,pixel0,pixel1,pixel2,pixel3\n".to_owned() + &(0..count).map(row).collect::<String>()
    }

    #[test]
    fn a_table_gives_a_tenth_of_each_class_to_test_with_and_says_so() {
        let text = rows(40);
        let folder = place(&[("train.csv", text.as_bytes()), ("train.csv.gz", &gzip(text.as_bytes()))]);
        let set = load(&folder.path().join("train.csv"), &Reading::default()).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.train.height, set.train.width), (36, 4, 2, 2));
        assert_eq!(set.test.labels.iter().filter(|label| **label == 0).count(), 2);
        assert!(set.remarks[0].contains("4 of its 40 are set aside"), "{:?}", set.remarks);
        assert_eq!(set.class_names, ["0", "1"]);
        assert_eq!(load(&folder.path().join("train.csv.gz"), &Reading::default()).unwrap().train, set.train);
        assert_eq!(load(folder.path(), &Reading::default()).unwrap().train, set.train);
    }

    #[test]
    fn a_table_beside_it_is_the_test_set_where_it_has_labels() {
        let (train, test) = (rows(40), rows(6));
        let folder = place(&[("train.csv", train.as_bytes()), ("test.csv", test.as_bytes())]);
        let set = load(folder.path(), &Reading::default()).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.remarks.len()), (40, 6, 0));
        std::fs::write(folder.path().join("test.csv"), "pixel0,pixel1,pixel2,pixel3\n1,2,3,4\n").unwrap();
        let set = load(folder.path(), &Reading::default()).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (36, 4));
        assert!(set.remarks[0].contains("test.csv has no labels"), "{:?}", set.remarks);
    }

    #[test]
    fn nothing_is_held_out_on_request_and_never_everything() {
        let folder = place(&[("a.csv", rows(20).as_bytes())]);
        let load =
            |hold_out| load(&folder.path().join("a.csv"), &Reading { hold_out: Some(hold_out), ..Reading::default() });
        let set = load(0).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (20, 0));
        assert!(set.remarks[0].contains("nothing will be tested"));
        assert_eq!(load(7).unwrap().test.len(), 7);
        assert!(load(20).unwrap_err().to_string().contains("--hold-out"));
    }

    #[test]
    fn what_is_no_table_of_images_is_refused_with_its_line() {
        for (text, words) in [
            ("pixel0,pixel1\n1,2\n", "line 1: expected a column named `label`"),
            ("label,a,b,c\n1,2,3,4\n", "3 pixels make no square image; say what they make with --image-size"),
            ("label,a\n", "line 2: expected rows"),
            ("label,a\n1,2\n1,x\n", "line 3: column 2"),
            ("label,a\n1,2\n1\n", "line 3: expected 2 columns"),
        ] {
            let folder = place(&[("a.csv", text.as_bytes())]);
            let message = load(&folder.path().join("a.csv"), &Reading::default()).unwrap_err().to_string();
            assert!(message.contains(words), "{text:?}: {message}");
        }
    }
}
