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

/// Classes in the order they were given. Which ones they are is known once there is a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classes(Vec<Class>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Class {
    Number(u32),
    Name(String),
}

impl FromStr for Classes {
    type Err = String;

    /// Numbers, inclusive ranges of them, and names, separated by commas.
    fn from_str(text: &str) -> Result<Classes, String> {
        let mut classes = Vec::new();
        for part in text.split(',') {
            match ends(part) {
                Some(ends) => classes.extend(between(ends, classes.len())?.into_iter().map(Class::Number)),
                None if part.trim().is_empty() => return Err("expected classes like 3, 1,4,7, 0-4 or cat,dog".into()),
                None => classes.push(Class::Name(part.trim().into())),
            }
        }
        Ok(Classes(classes))
    }
}

impl Classes {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The classes that are meant among a model's.
    ///
    /// # Errors
    /// A message that names the first that is none of them.
    pub fn among(&self, class_names: &[String]) -> Result<Vec<u32>, String> {
        let numbered = Numbered::of(class_names);
        let class = |class: &Class| match class {
            Class::Number(number) => numbered.class(*number),
            Class::Name(name) => called(name, class_names),
        };
        self.0.iter().map(class).collect()
    }
}

/// The class of a name.
fn called(name: &str, class_names: &[String]) -> Result<u32, String> {
    let class = class_names.iter().zip(0..).find(|(known, _)| *known == name).map(|(_, class)| class);
    class.ok_or_else(|| {
        let (count, some) = (class_names.len(), listed(class_names, LISTED));
        let expected = "expected names, or numbers like 3, 1,4,7 or 0-4";
        format!("{name:?} is not one of the model's {count} classes, which are {some}; {expected}")
    })
}

/// At least two classes, for paths from one to the next.
pub fn way_of_classes(text: &str) -> Result<Classes, String> {
    two_or_more(text, Classes::len, "two classes, like 3,8")
}

/// A list of at least two numbers, for paths from one to the next.
pub fn way(text: &str) -> Result<List, String> {
    two_or_more(text, |list: &List| list.0.len(), "two numbers, like 3,17")
}

fn two_or_more<T: FromStr<Err = String>>(text: &str, len: impl Fn(&T) -> usize, least: &str) -> Result<T, String> {
    let given: T = text.parse()?;
    if len(&given) < 2 { Err(format!("expected at least {least}")) } else { Ok(given) }
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
        assert_eq!(way_of_classes("cat,3").unwrap().len(), 2);
        assert!(way_of_classes("cat").unwrap_err().contains("at least two"));
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
        assert!("cat,0-999999".parse::<Classes>().unwrap_err().contains("more than 1000000"));
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
