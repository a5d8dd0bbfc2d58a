//! Data sets from CSV tables: a row for each image, a column for its label and one for each pixel.

use std::path::Path;

use super::assemble::{Part, assemble, empty_classes};
use super::csv::{Labels, PixelRows, WHITE_IS_255};
use super::idx::{IdxImages, MAX_BYTES};
use super::source::{ImageSize, Reading};
use super::{DataError, DataSet};

/// Loads a table with labels, and another as its test set where that has labels too.
///
/// Images are square unless `reading` says otherwise. Remarks say where no pixel is above 1, and where the names of the
/// columns leave the order of the pixels open.
///
/// # Errors
/// [`DataError::Csv`] with the line for whatever is not such a table, and for a training table that shows a single
/// class, unless it is only tested on and names the column of its labels; and the errors of [`assemble`] for the two.
pub fn load(train: &Path, test: Option<&Path>, reading: &Reading) -> Result<DataSet, DataError> {
    let name = train.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let rows = open(train, reading)?;
    let is_unnamed = rows.is_unnamed();
    let (advice, mut doubts) = (rows.misfit(), Vec::from_iter(doubt(&rows, train)));
    let Some((part, labels)) = labelled(rows, train, reading)? else {
        let expected = "expected a column named `label` to learn from, like label,pixel0,pixel1; found none";
        let unnamed = "where no column has a name, the first counts as the label if the others make a square image, or \
                       one of --image-size";
        let advice = advice.or_else(|| is_unnamed.then(|| unnamed.into()));
        let problem = advice.map_or_else(|| expected.into(), |advice| format!("{expected}; {advice}"));
        return Err(DataError::Csv { path: train.into(), line: 1, problem });
    };
    // A column that was guessed is more likely the wrong one.
    let may_be_one = reading.tests_on_all() && labels.named;
    if let Some(problem) = one_class(&part.labels, labels).filter(|_| !may_be_one) {
        return Err(DataError::Csv { path: train.into(), line: 1, problem });
    }
    let beside = test.map(|path| {
        let rows = open(path, reading)?;
        let doubt = doubt(&rows, path);
        let part = labelled(rows, path, reading)?;
        doubts.extend(doubt.filter(|_| part.is_some()));
        Ok::<_, DataError>(part)
    });
    let beside = beside.transpose()?.flatten();
    let unlabelled = test.filter(|_| beside.is_none());
    let test = beside.map_or_else(|| part.none(), |(test, _)| test);
    let mut set = assemble(name, part, test, None)?;
    if !reading.tests_on_all() {
        set.remarks.extend(empty_classes(&set.train));
    }
    if set.train.images.iter().all(|pixel| *pixel <= 1) {
        set.remarks.push(format!("no pixel of {} is above 1, and {WHITE_IS_255}", set.name));
    }
    set.remarks.extend(doubts);
    set.remarks.extend(unlabelled.map(|path| format!("{} has no labels and is ignored", path.display())));
    Ok(set)
}

/// The rows of a table, in which images have the size that is asked for.
fn open(path: &Path, reading: &Reading) -> Result<PixelRows, DataError> {
    PixelRows::open_for(path, reading.image_size.map(sides))
}

/// Height, width and channels of a row's image.
fn sides(size: ImageSize) -> [usize; 3] {
    [size.height, size.width, size.channels.unwrap_or(1)]
}

/// A remark on the order of a table's pixels, where the names of its columns leave it open.
fn doubt(rows: &PixelRows, path: &Path) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    rows.doubt().map(|doubt| format!("{name}: {doubt}"))
}

/// What is wrong with labels that are all the same, from which nothing can be learned: if their column was guessed,
/// another column may be the label.
fn one_class(labels: &[u32], Labels { column, named }: Labels) -> Option<String> {
    let label = labels.first().filter(|first| labels.iter().all(|label| label == *first))?;
    let column = column + 1;
    Some(match named {
        true => format!(
            "the column `label`, column {column}, is {label} in every row: expected at least two classes. Add rows of \
             other classes"
        ),
        false => format!(
            "column {column} was taken as the label, and is {label} in every row: expected at least two classes. If \
             the label is another column, add a first line with the columns' names and call that one `label`"
        ),
    })
}

/// The images of a table and where their labels stand, or `None` where it has no labels.
fn labelled(rows: PixelRows, path: &Path, reading: &Reading) -> Result<Option<(Part, Labels)>, DataError> {
    let wrong = |line, problem| Err(DataError::Csv { path: path.into(), line, problem });
    let Some(column) = rows.labels() else { return Ok(None) };
    let side = rows.pixels().isqrt();
    let [height, width, channels] = reading.image_size.map_or([side, side, 1], sides);
    if height.saturating_mul(width).saturating_mul(channels) != rows.pixels() {
        let found = rows.pixels();
        let (what, remedy) = match reading.image_size {
            Some(_) => (format!("image of {height}x{width}x{channels}"), "give another --image-size"),
            None => ("square image".into(), "give the images' size with --image-size, like 20x30"),
        };
        let remedy = rows.misfit().unwrap_or_else(|| remedy.into());
        return wrong(1, format!("{found} pixels make no {what}; {remedy}"));
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
    Ok(Some((Part { images_path: path.into(), images, labels_path: path.into(), labels }, column)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::gzip;
    use crate::data::{HoldOut, load};

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
        let packed = place(&[("train.csv", train.as_bytes()), ("test.csv.gz", &gzip(test.as_bytes()))]);
        let set = load(packed.path(), &Reading::default()).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.remarks.len()), (40, 6, 0));
    }

    #[test]
    fn nothing_is_held_out_on_request_and_never_everything() {
        let folder = place(&[("a.csv", rows(20).as_bytes())]);
        let asked = |count| Reading { hold_out: Some(HoldOut::Count(count)), ..Reading::default() };
        let load = |count| load(&folder.path().join("a.csv"), &asked(count));
        let set = load(0).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (20, 0));
        assert!(set.remarks[0].contains("nothing will be tested"));
        assert_eq!(load(7).unwrap().test.len(), 7);
        assert!(load(20).unwrap_err().to_string().contains("--hold-out"));
    }

    #[test]
    fn a_table_to_train_with_that_shows_one_class_is_refused_with_the_column_of_its_labels() {
        let refused = |text: &str, words: &[&str]| {
            let folder = place(&[("a.csv", text.as_bytes())]);
            let message = load(&folder.path().join("a.csv"), &Reading::default()).unwrap_err().to_string();
            words.iter().for_each(|word| assert!(message.contains(word), "{word:?} is not in {message}"));
        };
        // The label stands last, and the first pixel is black in every row.
        let rows = (0..20).map(|i| format!("0,255,{i},9,{}\n", i % 2)).collect::<String>();
        refused(&rows, &["column 1 was taken as the label, and is 0 in every row", "that one `label`"]);
        refused("a,label\n1,7\n3,7\n", &["the column `label`, column 2, is 7 in every row", "two classes"]);
        // Settled by a header.
        let folder = place(&[("a.csv", format!("a,b,c,d,label\n{rows}").as_bytes())]);
        let set = load(&folder.path().join("a.csv"), &Reading::default()).unwrap();
        assert_eq!((set.class_names.len(), set.train.len() + set.test.len()), (2, 20));
    }

    #[test]
    fn a_table_that_is_only_tested_on_may_show_one_class_if_its_labels_are_named() {
        let all = Reading { hold_out: Some(HoldOut::All), ..Reading::default() };
        let folder = place(&[("a.csv", &b"a,label\n1,7\n3,7\n"[..]), ("b.csv", b"7,1\n7,3\n")]);
        let set = load(&folder.path().join("a.csv"), &all).unwrap();
        assert_eq!((set.train.len(), &set.test.labels[..], set.class_names.len()), (0, &[7, 7][..], 8));
        assert!(!set.remarks.iter().any(|remark| remark.contains("to train with")), "{:?}", set.remarks);
        let refused = load(&folder.path().join("b.csv"), &all).unwrap_err().to_string();
        assert!(refused.contains("column 1 was taken as the label"), "{refused}");
    }

    #[test]
    fn tables_without_a_header_are_read_as_images_of_the_size_that_is_asked_for() {
        let rows = |labels: usize| (0..20).map(|i| format!("{},9,{i},3,4,5,6\n", i % labels)).collect::<String>();
        let folder = place(&[("train.csv", rows(2).as_bytes()), ("test.csv", rows(1).as_bytes())]);
        let refused = load(folder.path(), &Reading::default()).unwrap_err().to_string();
        assert!(refused.contains("the first counts as the label if the others make a square image, or one of --image"));
        let reading = Reading { image_size: Some("2x3".parse().unwrap()), ..Reading::default() };
        let set = load(folder.path(), &reading).unwrap();
        assert_eq!((set.train.height, set.train.width, set.train.len(), set.test.len()), (2, 3, 20, 20));
        assert_eq!((set.train.image(1), set.train.labels[1]), (&[9, 1, 3, 4, 5, 6][..], 1));
    }

    #[test]
    fn a_table_to_test_with_may_show_one_class() {
        let one = "label,pixel0,pixel1,pixel2,pixel3\n1,1,2,3,4\n1,5,6,7,8\n";
        let folder = place(&[("train.csv", rows(40).as_bytes()), ("test.csv", one.as_bytes())]);
        assert_eq!(load(folder.path(), &Reading::default()).unwrap().test.labels, [1, 1]);
    }

    #[test]
    fn a_table_of_pixels_from_0_to_1_is_read_and_said_to_be_all_but_black() {
        let remarks = |white: usize| {
            let row = |i: usize| format!("{},0,{white},0,{}\n", i % 2, white * (i / 2 % 2));
            let text = format!("label,a,b,c,d\n{}", (0..40).map(row).collect::<String>());
            let folder = place(&[("a.csv", text.as_bytes())]);
            load(&folder.path().join("a.csv"), &Reading::default()).unwrap().remarks
        };
        assert!(remarks(1)[0].starts_with("no pixel of a.csv is above 1, and 255 is white"), "{:?}", remarks(1));
        assert!(!remarks(255)[0].contains("no pixel"), "{:?}", remarks(255));
    }

    #[test]
    fn columns_whose_names_tell_no_order_are_told_of_the_tables_that_are_read() {
        let text = |names: &str| format!("label,{names}\n{}", "0,1,2,3,4\n1,5,6,7,8\n".repeat(20));
        let remarks = |train: &str, test: &str| {
            let folder = place(&[("train.csv", text(train).as_bytes()), ("test.csv", text(test).as_bytes())]);
            load(folder.path(), &Reading::default()).unwrap().remarks
        };
        assert_eq!(remarks("1x1,2x2,2x1,1x2", "a,b,c,d"), [""; 0]);
        let told = remarks("1x1,2x1,1x2,2x2", "p1,p3,p2,p2");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("train.csv: ") && told[0].contains("rows and columns swapped"), "{told:?}");
        assert!(told[1].starts_with("test.csv: ") && told[1].contains("first p3, then p2"), "{told:?}");
    }

    #[test]
    fn what_is_no_table_of_images_is_refused_with_its_line() {
        for (text, words) in [
            ("pixel0,pixel1\n1,2\n", "line 1: expected a column named `label`"),
            ("digit,p0,p1,p2,p3\n1,2,3,4,5\n", "found none; the first column is named \"digit\": if it holds"),
            ("ImageId,Label\n1,2\n", "line 1: looks like a submission"),
            ("label,a,b,c\n1,2,3,4\n", "3 pixels make no square image; give the images' size with --image-size"),
            (
                "id,label,p0,p1,p2,p3\n1,1,2,3,4,5\n",
                "5 pixels make no square image; the column \"id\" counts as a pixel",
            ),
            ("label,0,1,2,3,file\n1,2,3,4,5,a\n", "the column \"file\" counts as a pixel"),
            ("label;a;b\n1;2;3\n", "line 1: expected columns separated by commas, found semicolons"),
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
