//! Numbers and classes as given on the command line: `3`, `1,4,7`, `0-4`, `cat,dog`, and the size of a grid.

use std::str::FromStr;

use crate::data::{LISTED, Numbered, listed};

/// Numbers in the order they were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List(pub Vec<u32>);

const MAX_LENGTH: usize = 1_000_000;

impl FromStr for List {
    type Err = String;

    /// Numbers and inclusive ranges, `0-4` or `4-0`, separated by commas.
    fn from_str(text: &str) -> Result<List, String> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let ends = ends(part).ok_or("expected numbers like 3, 1,4,7 or 0-4")?;
            numbers.extend(between(ends, numbers.len())?);
        }
        Ok(List(numbers))
    }
}

/// The first and the last number of `3` or `0-4`.
fn ends(part: &str) -> Option<(u32, u32)> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// All numbers from the first to the last, for a list that has so many already.
fn between((first, last): (u32, u32), already: usize) -> Result<Vec<u32>, String> {
    if first.abs_diff(last) as usize >= MAX_LENGTH.saturating_sub(already) {
        return Err(format!("that is more than {MAX_LENGTH} numbers"));
    }
    Ok(if first <= last { (first..=last).collect() } else { (last..=first).rev().collect() })
}

/// Classes in the order they were given. Which ones they are is known once there is a model: its classes may be called
/// `0-4`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classes(Vec<String>);

impl FromStr for Classes {
    type Err = String;

    /// Numbers, inclusive ranges of them, and names, separated by commas.
    fn from_str(text: &str) -> Result<Classes, String> {
        let parts: Vec<String> = text.split(',').map(|part| part.trim().into()).collect();
        match parts.iter().any(String::is_empty) {
            true => Err("expected classes like 3, 1,4,7, 0-4 or cat,dog".into()),
            false => Ok(Classes(parts)),
        }
    }
}

impl Classes {
    /// The classes that are meant among a model's.
    ///
    /// # Errors
    /// A message that names the first that is none of them, or says that there are too many.
    pub fn among(&self, class_names: &[String]) -> Result<Vec<u32>, String> {
        let numbered = Numbered::of(class_names);
        let mut classes = Vec::new();
        for part in &self.0 {
            match (called(part, class_names), ends(part)) {
                (Some(class), _) => classes.push(class),
                (None, Some(ends)) => {
                    for number in between(ends, classes.len())? {
                        classes.push(numbered.class(number)?);
                    }
                }
                (None, None) => return Err(unknown(part, class_names)),
            }
        }
        Ok(classes)
    }

    /// The same for a path, which leads from one class to the next.
    ///
    /// # Errors
    /// The same, and where there are fewer than two classes.
    pub fn way_among(&self, class_names: &[String]) -> Result<Vec<u32>, String> {
        let classes = self.among(class_names)?;
        if classes.len() < 2 { Err("expected at least two classes, like 3,8".into()) } else { Ok(classes) }
    }
}

/// The class of a name.
fn called(name: &str, class_names: &[String]) -> Option<u32> {
    class_names.iter().zip(0..).find(|(known, _)| *known == name).map(|(_, class)| class)
}

fn unknown(name: &str, class_names: &[String]) -> String {
    let (count, some) = (class_names.len(), listed(class_names, LISTED));
    let expected = "expected names, or numbers like 3, 1,4,7 or 0-4";
    format!("{name:?} is not one of the model's {count} classes, which are {some}; {expected}")
}

/// A list of at least two numbers, for paths from one to the next.
pub fn way(text: &str) -> Result<List, String> {
    let given: List = text.parse()?;
    if given.0.len() < 2 { Err("expected at least two numbers, like 3,17".into()) } else { Ok(given) }
}

/// Rows and columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    pub rows: u32,
    pub columns: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let sides = text.split_once(['x', 'X', '×']);
        let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| *side > 0);
        match sides.and_then(|(rows, columns)| Some((side(rows)?, side(columns)?))) {
            // Cells are counted in 32 bits, as each has a latent of its own.
            Some((rows, columns)) if u64::from(rows) * u64::from(columns) > u64::from(u32::MAX) => {
                Err(format!("{rows} x {columns} are more than {} cells", u32::MAX))
            }
            Some((rows, columns)) => Ok(Size { rows, columns }),
            None => Err("expected rows x columns, like 10x20, each at least 1".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_ranges_are_listed_in_the_order_they_are_given() {
        for (text, wanted) in [
            ("3", &[3][..]),
            ("1,4,7", &[1, 4, 7]),
            ("0-4", &[0, 1, 2, 3, 4]),
            ("9-7,1, 1 - 2", &[9, 8, 7, 1, 1, 2]),
            ("4294967295", &[u32::MAX]),
        ] {
            assert_eq!(text.parse(), Ok(List(wanted.to_vec())), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_answered_with_examples() {
        for text in ["", ",", "1,", "-", "-3", "3-", "1-2-3", "a", "1.5", "4294967296", "0x3"] {
            assert!(text.parse::<List>().unwrap_err().contains("like 3, 1,4,7 or 0-4"), "{text:?}");
        }
        for text in ["0-4294967295", "0-999999,1", "0-600000,0-600000"] {
            assert!(text.parse::<List>().unwrap_err().contains("more than 1000000"), "{text}");
        }
        assert_eq!("0-999999".parse::<List>().unwrap().0.len(), MAX_LENGTH);
    }

    #[test]
    fn a_way_leads_somewhere() {
        assert_eq!(way("3,17"), Ok(List(vec![3, 17])));
        assert!(way("3").unwrap_err().contains("at least two"));
        let of_classes = |text: &str| text.parse::<Classes>().unwrap().way_among(&["cat", "dog"].map(String::from));
        assert_eq!(of_classes("cat,1"), Ok(vec![0, 1]));
        assert!(of_classes("cat").unwrap_err().contains("at least two"));
    }

    #[test]
    fn a_class_is_given_by_its_number_or_its_name() {
        let class_names = ["t-shirt", "cat", "-1", "7"].map(String::from);
        let among = |text: &str| text.parse::<Classes>().and_then(|classes| classes.among(&class_names));
        assert_eq!(among("cat, t-shirt,7,-1,07"), Ok(vec![1, 0, 3, 2, 3]));
        assert!(among("0-1").unwrap_err().starts_with("0 is not one of"), "a number is no place beside other numbers");
        let refused = among("cat,cow").unwrap_err();
        assert!(refused.starts_with("\"cow\" is not one of the model's 4 classes, which are t-shirt,"), "{refused}");
        assert_eq!("1-0,cat".parse::<Classes>().unwrap().among(&["cat", "dog"].map(String::from)), Ok(vec![1, 0, 0]));
        for text in ["", "cat,", ",3"] {
            assert!(text.parse::<Classes>().unwrap_err().contains("like 3, 1,4,7, 0-4 or cat,dog"), "{text:?}");
        }
        assert!(among("cat,0-999999").unwrap_err().contains("more than 1000000"));
    }

    #[test]
    fn a_class_that_is_called_like_a_range_is_not_taken_for_one() {
        let ages = ["0-4", "5-9", "10-14", "07", "7"].map(String::from);
        let among = |text: &str| text.parse::<Classes>().and_then(|classes| classes.among(&ages));
        assert_eq!(among("5-9, 0-4,7,07"), Ok(vec![1, 0, 4, 3]));
        assert!(among("0-9").unwrap_err().starts_with("0 is not one of the model's 5 classes"));
        let way = |text: &str| text.parse::<Classes>().and_then(|classes| classes.way_among(&ages));
        assert_eq!(way("10-14,5-9"), Ok(vec![2, 1]));
        assert!(way("0-4").unwrap_err().contains("at least two classes"));
    }

    #[test]
    fn a_size_has_rows_and_columns() {
        for text in ["10x20", "10X20", " 10 × 20 "] {
            assert_eq!(text.parse(), Ok(Size { rows: 10, columns: 20 }));
        }
        for text in ["", "x", "10", "0x5", "5x0", "-1x5", "1x2x3", "axb", "4294967296x1"] {
            assert!(text.parse::<Size>().unwrap_err().contains("like 10x20"), "{text:?}");
        }
        assert!("65536x65536".parse::<Size>().unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn any_list_that_is_written_is_read(numbers in prop::collection::vec(any::<u32>(), 1..20)) {
            let text = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            prop_assert_eq!(text.parse(), Ok(List(numbers)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9,x ]{0,30}|\\PC{0,20}") {
            let _ = (text.parse::<List>(), text.parse::<Classes>(), text.parse::<Size>());
        }
    }
}
