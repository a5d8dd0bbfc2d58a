//! Numbers as given on the command line: `3`, `1,4,7`, `0-4`, and the size of a grid.

use std::str::FromStr;

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
            let ends = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (ends.0.trim().parse::<u32>(), ends.1.trim().parse::<u32>()) else {
                return Err("expected numbers like 3, 1,4,7 or 0-4".into());
            };
            if first.abs_diff(last) as usize >= MAX_LENGTH - numbers.len() {
                return Err(format!("that is more than {MAX_LENGTH} numbers"));
            }
            if first <= last {
                numbers.extend(first..=last);
            } else {
                numbers.extend((last..=first).rev());
            }
        }
        Ok(List(numbers))
    }
}

/// A list of at least two numbers, for paths from one to the next.
pub fn way(text: &str) -> Result<List, String> {
    match text.parse::<List>()? {
        List(keys) if keys.len() < 2 => Err("expected at least two numbers, like 3,17".into()),
        list => Ok(list),
    }
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
            let _ = (text.parse::<List>(), text.parse::<Size>());
        }
    }
}
