//! In which order the columns of a table make an image, judged by the numbers in their names.

use std::cmp::Ordering;
use std::collections::HashSet;

/// From so many columns on, the first row of a table may number its columns in any order: an image of as many pixels
/// has equal ones.
const MIXED: usize = 16;
/// Names with more numbers than this tell no order.
const MOST_NUMBERS: usize = 8;

/// Whether the cells of a first row only number their columns, from 0 or 1 on, each number once: an image whose pixels
/// do that is far less likely.
pub(super) fn number_columns(cells: &[u32]) -> bool {
    let Some(from) = cells.iter().min().filter(|from| **from <= 1 && cells.len() > 1) else { return false };
    let mut met = vec![false; cells.len()];
    let is_new = |cell: &u32| met.get_mut((cell - from) as usize).is_some_and(|met| !std::mem::replace(met, true));
    (cells.is_sorted() || cells.len() >= MIXED) && cells.iter().all(is_new)
}

/// The column of the least number.
pub(super) fn first_numbered(cells: &[u32]) -> usize {
    cells.iter().enumerate().min_by_key(|(_, cell)| **cell).map_or(0, |(column, _)| column)
}

/// The order in which the pixels of `count` columns make an image, by the numbers in the columns' names, where the
/// columns stand in another one: in alphabetical order, `pixel10` comes before `pixel2`, and `10x1` before `2x1`. Where
/// the names have two numbers, the first is the row, unless the two are called x and y, or column and row.
///
/// # Errors
/// A remark on numbers that tell no order, or another one than the columns seem to be meant in: there are two with the
/// same numbers, or they make no rectangle. Such columns are best left as they stand.
pub(super) fn order<'a>(count: usize, name: impl Fn(usize) -> &'a [u8]) -> Result<Option<Vec<usize>>, String> {
    let numbered = || (0..count).map(&name).filter(|name| numbers(name).next().is_some());
    let descent = |way| numbered().zip(numbered().skip(1)).find(|(a, b)| compare(a, b, way).is_gt());
    let (way, is_certain) = if count > 0 { by_words(name(0)) } else { (Way::RowFirst, false) };
    let Some((before, after)) = descent(way) else { return Ok(None) };
    let is_alike = (1..count).all(|pixel| shape(name(pixel)).eq(shape(name(0))));
    if is_alike && !is_certain && descent(way.other()).is_none() {
        // Some write x before y, others the columns of an image one after the other: such names fit both.
        return Err(format!(
            "the columns are taken as they stand, as the rows of an image one after the other, but by their names ({}, \
             {}, ...) they may be its columns. If so, the images are read with rows and columns swapped: put the \
             columns of the table in order",
            shown(name(0)),
            shown(name(1))
        ));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(name(*a), name(*b), way));
    let is_distinct = order.windows(2).all(|pair| compare(name(pair[0]), name(pair[1]), way).is_lt());
    if is_alike && is_distinct && fills_a_rectangle(count, &name) {
        return Ok(Some(order));
    }
    Err(format!(
        "the columns are taken as they stand, though the numbers in their names are in no order (first {}, then {}), \
         because the names do not say which pixel is where. Put the columns in order, or call them pixel0, pixel1 and \
         so on",
        shown(before),
        shown(after)
    ))
}

/// Which of two numbers in a name is the row of a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The first.
    RowFirst,
    /// The last.
    ColumnFirst,
}

impl Way {
    fn other(self) -> Way {
        if self == Way::RowFirst { Way::ColumnFirst } else { Way::RowFirst }
    }
}

fn compare(a: &[u8], b: &[u8], way: Way) -> Ordering {
    match way {
        Way::RowFirst => numbers(a).cmp(numbers(b)),
        Way::ColumnFirst => numbers(a).rev().cmp(numbers(b).rev()),
    }
}

/// Which number is the row by the words before the last two numbers of a name, and whether these leave no doubt.
fn by_words(name: &[u8]) -> (Way, bool) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let parts: Vec<&[u8]> = parts(name.as_bytes()).collect();
    let word =
        |text: &[u8]| text.rsplit(|byte| !byte.is_ascii_alphabetic()).find(|word| !word.is_empty()).map(Vec::from);
    let words = parts.windows(2).filter(|pair| is_number(pair[1])).map(|pair| word(pair[0]).unwrap_or_default());
    let words: Vec<Vec<u8>> = words.collect();
    let [.., first, last] = &words[..] else { return (Way::RowFirst, false) };
    let is = |own: &[u8], known: &[&str]| known.iter().any(|known| known.as_bytes() == own);
    let (is_row, is_column) = (|own: &[u8]| is(own, &["r", "row"]), |own: &[u8]| is(own, &["c", "col", "column"]));
    if is_row(first) && is_column(last) {
        (Way::RowFirst, true)
    } else if is_column(first) && is_row(last) {
        (Way::ColumnFirst, true)
    } else {
        (if is(first, &["x"]) && is(last, &["y"]) { Way::ColumnFirst } else { Way::RowFirst }, false)
    }
}

/// Whether the numbers that differ from name to name, of which there are one or two, are all those of a rectangle.
/// Names are alike, and no two have the same numbers.
fn fills_a_rectangle<'a>(count: usize, name: &impl Fn(usize) -> &'a [u8]) -> bool {
    let in_each = if count > 0 { numbers(name(0)).count() } else { 0 };
    if in_each > MOST_NUMBERS {
        return false;
    }
    let different = |at| (0..count).filter_map(|pixel| numbers(name(pixel)).nth(at)).collect::<HashSet<_>>().len();
    let sides: Vec<usize> = (0..in_each).map(different).filter(|side| *side > 1).collect();
    sides.len() <= 2 && sides.iter().product::<usize>() == count
}

/// The numbers in a name and the texts around them, as they follow each other.
fn parts(name: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    name.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
}

fn is_number(part: &[u8]) -> bool {
    part.first().is_some_and(u8::is_ascii_digit)
}

/// The numbers in a name; the largest stands for all beyond it.
fn numbers(name: &[u8]) -> impl DoubleEndedIterator<Item = u32> {
    let value = |number: u32, digit: &u8| number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    parts(name).filter(|part| is_number(part)).map(move |digits| digits.iter().fold(0, value))
}

/// A name without the values of its numbers.
fn shape(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(name).map(|part| if is_number(part) { &b"0"[..] } else { part })
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::csv::tests::{row, rows};

    fn ordered(names: &[&str]) -> Result<Option<Vec<usize>>, String> {
        order(names.len(), |pixel| names[pixel].as_bytes())
    }

    /// All names of `rows` x `columns` pixels, in alphabetical order, and the place of each in an image.
    fn alphabetical(rows: usize, columns: usize, name: impl Fn(usize, usize) -> String) -> (Vec<String>, Vec<usize>) {
        let mut all: Vec<(String, usize)> =
            (0..rows * columns).map(|at| (name(at / columns, at % columns), at)).collect();
        all.sort();
        all.into_iter().unzip()
    }

    #[test]
    fn a_first_row_that_numbers_the_columns_is_a_header() {
        for header in ["0,1,2,3,4", "1,2,3,4,5", "\"0\",\"1\",\"2\",\"3\",\"4\""] {
            let found = rows(&format!("{header}\n7,1,2,3,9\n")).unwrap();
            assert_eq!(found, [row(2, Some(7), &[1, 2, 3, 9])], "{header}");
        }
        assert_eq!(rows("0,1,2,3\n4,5,6,7\n").unwrap(), [row(2, None, &[4, 5, 6, 7])]);
        // More columns than a pixel has values: such numbers were once refused as pixels.
        let header = (0..785).map(|column| column.to_string()).collect::<Vec<_>>().join(",");
        let found = rows(&format!("{header}\n7{}\n", ",5".repeat(784))).unwrap();
        assert_eq!(found, [row(2, Some(7), &[5; 784])]);
        // A small image may have these pixels.
        for image in ["0\n", "0,1,2,4\n", "2,3,4,5\n", "3,1,0,2\n"] {
            assert_eq!(rows(image).unwrap()[0].as_ref().unwrap().line, 1, "{image}");
        }
    }

    #[test]
    fn numbers_of_columns_in_any_order_are_a_header_and_the_label_is_the_first_of_them() {
        for (count, from) in [(784, 0), (784, 1), (785, 0), (785, 1)] {
            // 13 has no divisor in common with either.
            let numbers: Vec<u32> = (0..count).map(|column| column * 13 % count).collect();
            let cells = |value: &dyn Fn(u32) -> u32| {
                numbers.iter().map(|number| value(*number).to_string()).collect::<Vec<_>>().join(",")
            };
            let text = format!("{}\n{}\n", cells(&|number| number + from), cells(&|number| number % 251));
            let mut pixels: Vec<u8> = (0..count).map(|number| (number % 251) as u8).collect();
            let label = (count == 785).then(|| u32::from(pixels.remove(0)));
            assert_eq!(rows(&text).unwrap(), [row(2, label, &pixels)], "{count} columns from {from} on");
        }
    }

    #[test]
    fn names_of_one_number_or_of_a_row_and_a_column_give_the_pixels_their_places() {
        let names: [fn(usize, usize) -> String; 11] = [
            |row, column| format!("pixel{}", row * 12 + column),
            |row, column| format!("img[{}]", row * 12 + column),
            |row, column| format!("v2_f.{}", row * 12 + column),
            |row, column| format!("{}x{}", row + 1, column + 1),
            |row, column| format!("r{row}c{column}"),
            |row, column| format!("pixel_{row}_{column}"),
            |row, column| format!("({row}, {column})"),
            |row, column| format!("img2[{row}][{column}]"),
            |row, column| format!("x{column}y{row}"),
            |row, column| format!("px_Col{column}_Row{row}"),
            |row, column| format!("row {row:03}, column {column}"),
        ];
        for name in names {
            let (names, places) = alphabetical(11, 12, name);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let order = ordered(&names).unwrap().unwrap_or_else(|| (0..names.len()).collect());
            let found: Vec<usize> = order.into_iter().map(|column| places[column]).collect();
            assert!(found.is_sorted(), "{:?}: {found:?}", &names[..3]);
        }
    }

    #[test]
    fn rows_and_columns_that_are_called_so_are_believed() {
        assert_eq!(ordered(&["r0c0", "r1c0", "r0c1", "r1c1"]), Ok(Some(vec![0, 2, 1, 3])));
        for (column, row) in [("c", "r"), ("col", "row"), ("Column", "Row")] {
            let names = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[x, y]| format!("{column}{x}_{row}{y}"));
            assert_eq!(ordered(&names.each_ref().map(String::as_str)), Ok(Some(vec![0, 2, 1, 3])), "{names:?}");
        }
        assert_eq!(ordered(&["col0_row0", "col1_row0", "col0_row1", "col1_row1"]), Ok(None));
    }

    #[test]
    fn columns_in_order_stay_as_they_are() {
        for names in [
            &["p0", "p1", "p2", "p10"][..],
            &["1x1", "1x2", "2x1", "2x2"],
            &["x0y0", "x1y0", "x0y1", "x1y1"],
            &["r0", "g0", "b0", "r1", "g1", "b1"],
            &["c", "b", "a"],
            &["p0", "p1", "file"],
        ] {
            assert_eq!(ordered(names), Ok(None), "{names:?}");
        }
    }

    #[test]
    fn numbers_that_tell_no_order_leave_the_columns_and_are_told() {
        for (names, words) in [
            (&["a2", "a1", "a1"][..], "first a2, then a1"),
            (&["a0", "b2", "a1"], "first b2, then a1"),
            (&["a2", "a1", "b"], "first a2, then a1"),
            (&["r0", "r1", "g0", "g1"], "first r1, then g0"),
            (&["2x1", "1x2", "1x1"], "first 2x1, then 1x2"),
            (&["1x0x0", "0x0x0", "0x0x1", "0x1x0", "0x1x1", "1x0x1", "1x1x0", "1x1x1"], "first 1x0x0, then 0x0x0"),
        ] {
            let told = ordered(names).unwrap_err();
            assert!(told.contains("are taken as they stand") && told.contains(words), "{names:?}: {told}");
        }
        // Either is common.
        for names in [["1x1", "2x1", "1x2", "2x2"], ["x0y0", "x0y1", "x1y0", "x1y1"]] {
            let told = ordered(&names).unwrap_err();
            assert!(told.contains(&format!("({}, {}, ...) they may be its columns", names[0], names[1])), "{told}");
        }
    }

    #[test]
    fn a_name_of_very_many_numbers_is_compared_but_not_taken_apart() {
        let names = ["2", "1"].map(|last| "7-".repeat(200_000) + last);
        assert!(ordered(&[&names[0], &names[1]]).is_err());
    }
}
