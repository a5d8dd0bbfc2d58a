//! Text and numbers as classes: the cells of a sheet of text, and the class that a number names.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::data::listed;
use crate::data::write::legend;

/// Rows, columns, and the class of every cell; cells of spaces and punctuation have none.
pub type Lettering = (u32, u32, Vec<Option<u32>>);

/// More than anyone writes, and few enough to lay out at once.
const MAX_CELLS: u64 = 10_000_000;

/// The most classes that a message lists.
const LISTED: usize = 12;

/// The classes that numbers stand for: those named after them, or if no class is named after a number, those in these
/// places, counted from 0.
pub struct Numbered<'a> {
    class_names: &'a [String],
    named: HashMap<u32, u32>,
}

impl Numbered<'_> {
    pub fn of(class_names: &[String]) -> Numbered<'_> {
        let mut named: Vec<(u32, u32, &String)> = Vec::new();
        for (name, class) in class_names.iter().zip(0..) {
            named.extend(name.parse().ok().map(|number| (number, class, name)));
        }
        // `7` is meant before `07`, and of equal names the first: what comes later replaces what came earlier.
        named.sort_by_key(|(number, class, name)| (**name == number.to_string(), Reverse(*class)));
        Numbered { class_names, named: named.into_iter().map(|(number, class, _)| (number, class)).collect() }
    }

    /// The class of a number.
    ///
    /// # Errors
    /// A message that says which numbers stand for classes.
    pub fn class(&self, number: u32) -> Result<u32, String> {
        let class = match self.named.is_empty() {
            true => Some(number).filter(|place| (*place as usize) < self.class_names.len()),
            false => self.named.get(&number).copied(),
        };
        class.ok_or_else(|| {
            let count = self.class_names.len();
            format!("{number} is not one of the model's {count} classes, which are {}", self.known())
        })
    }

    fn known(&self) -> String {
        if self.named.is_empty() {
            let places = 0..self.class_names.len() as u32;
            return format!("counted from 0: {}", legend(self.class_names, places).unwrap_or_default());
        }
        let numbers: Vec<Option<u32>> = self.class_names.iter().map(|name| name.parse().ok()).collect();
        let follow = |pair: &[Option<u32>]| pair[0].is_some_and(|number| number.checked_add(1) == pair[1]);
        match numbers[..] {
            [Some(first), .., Some(last)] if numbers.windows(2).all(follow) => format!("{first} to {last}"),
            _ => listed(self.class_names, LISTED),
        }
    }
}

/// Lays out a text, one row per line. A character stands for the class with that name; classes without a one-character
/// name, and letters and digits that no class is named after, cannot be written.
///
/// # Errors
/// A message that says what cannot be written, and what can.
pub fn lettering(text: &str, class_names: &[String]) -> Result<Lettering, String> {
    let numbered = Numbered::of(class_names);
    let class = |c: char| {
        let name = c.to_string();
        let named = class_names.iter().position(|known| *known == name).map(|class| class as u32);
        // `07` is a seven as well.
        named.or_else(|| numbered.named.get(&c.to_digit(10)?).copied())
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let cells = line.chars().map(|c| match class(c) {
            None if c.is_alphanumeric() => Err(format!(
                "the model cannot write {c:?}: it knows {}; spaces and punctuation become empty cells",
                class_names.join(" ")
            )),
            class => Ok(class),
        });
        lines.push(cells.collect::<Result<Vec<_>, _>>()?);
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    if !lines.iter().flatten().any(Option::is_some) {
        return Err(format!("there is nothing to write in {text:?}; give it some of {}", class_names.join(" ")));
    }
    let size = u32::try_from(lines.len()).ok().zip(u32::try_from(columns).ok());
    let Some((rows, width)) = size.filter(|(rows, width)| u64::from(*rows) * u64::from(*width) <= MAX_CELLS) else {
        return Err(format!("{} lines of up to {columns} characters are too many", lines.len()));
    };
    lines.iter_mut().for_each(|line| line.resize(columns, None));
    Ok((rows, width, lines.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digits() -> Vec<String> {
        (0..10).map(|digit| digit.to_string()).collect()
    }

    #[test]
    fn a_phone_number_leaves_its_spaces_and_dashes_empty() {
        let (rows, columns, cells) = lettering("(0)5-1 2", &digits()).unwrap();
        assert_eq!((rows, columns), (1, 8));
        assert_eq!(cells, [None, Some(0), None, Some(5), None, Some(1), None, Some(2)]);
    }

    #[test]
    fn lines_stand_below_each_other_and_short_ones_are_filled() {
        let (rows, columns, cells) = lettering("12\n\n3", &digits()).unwrap();
        assert_eq!((rows, columns), (3, 2));
        assert_eq!(cells, [Some(1), Some(2), None, None, Some(3), None]);
    }

    #[test]
    fn a_number_stands_for_the_class_that_is_named_after_it_or_else_for_a_place() {
        let class = |names: &[&str], number| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            Numbered::of(&names).class(number)
        };
        let (odd, words) = (["3", "5", "7"], ["cls0", "cls1", "cls10"]);
        assert_eq!(odd.map(|name| class(&odd, name.parse().unwrap()).unwrap()), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|place| class(&words, place).unwrap()), [0, 1, 2]);
        assert_eq!((class(&["1", "ten", "0"], 0), class(&["1", "ten", "0"], 1)), (Ok(2), Ok(0)));
        assert_eq!((class(&["01", "02"], 2), class(&["07", "7", "7"], 7)), (Ok(1), Ok(1)));
        for (names, number, known) in [
            (&["0", "1", "2"][..], 3, "the model's 3 classes, which are 0 to 2"),
            (&["08", "09", "10"], 0, "which are 8 to 10"),
            (&odd, 4, "which are 3, 5, 7"),
            (&["1", "ten", "0"], 2, "which are 1, ten, 0"),
            (&words, 3, "which are counted from 0: 0 is cls0, 1 is cls1, 2 is cls10"),
        ] {
            let refused = class(names, number).unwrap_err();
            assert!(refused.starts_with(&format!("{number} is not one of")) && refused.contains(known), "{refused}");
        }
    }

    #[test]
    fn the_digits_of_a_text_are_the_classes_that_are_named_after_them() {
        let names = ["3", "05", "7"].map(String::from);
        assert_eq!(lettering("753", &names).unwrap().2, [Some(2), Some(1), Some(0)]);
        assert!(lettering("0", &names).is_err());
        assert!(lettering("0", &["cat", "dog"].map(String::from)).is_err(), "a place is no name");
    }

    #[test]
    fn a_model_of_letters_writes_letters() {
        let names = ["a", "b", "sneaker"].map(String::from);
        assert_eq!(lettering("b a", &names).unwrap().2, [Some(1), None, Some(0)]);
    }

    #[test]
    fn what_cannot_be_written_is_named_with_what_can() {
        let message = lettering("5 apples", &digits()).unwrap_err();
        assert!(message.contains("'a'") && message.contains("0 1 2"), "{message}");
        for text in ["", "  - ", "\n"] {
            assert!(lettering(text, &digits()).unwrap_err().contains("nothing to write"), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_or_refused_and_fills_its_rows(text in "[0-9 .\\-\n]{0,40}|\\PC{0,20}") {
            if let Ok((rows, columns, cells)) = lettering(&text, &digits()) {
                prop_assert_eq!(cells.len(), rows as usize * columns as usize);
                let written = text.chars().filter(char::is_ascii_digit).count();
                prop_assert_eq!(cells.iter().flatten().count(), written);
            }
        }
    }
}
