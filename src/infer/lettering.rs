//! Text as classes: the cells of a sheet of text.

use crate::data::Numbered;

/// Rows, columns, and the class of every cell; cells of spaces and punctuation have none.
pub type Lettering = (u32, u32, Vec<Option<u32>>);

/// More than anyone writes, and few enough to lay out at once.
const MAX_CELLS: u64 = 10_000_000;

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
        named.or_else(|| numbered.named(c.to_digit(10)?))
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
