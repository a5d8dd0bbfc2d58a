//! Which class a number names.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::write::legend;
use super::{LISTED, listed};

/// The numbers that classes are named after, if all are, each after another one: `7` and `07` are the same.
pub(super) fn all_numbers(class_names: &[String]) -> Option<Vec<u32>> {
    let numbers: Vec<u32> = class_names.iter().map(|name| number(name)).collect::<Option<_>>()?;
    (numbers.iter().collect::<HashSet<_>>().len() == numbers.len()).then_some(numbers)
}

/// The number that a class is named after: `+7`, like `-7`, is a name of its own.
pub(super) fn number(name: &str) -> Option<u32> {
    if name.starts_with('+') { None } else { name.parse().ok() }
}

/// Whether no class is named after a number, so that their places may be counted instead. Beside a class called -1 or
/// +1, places would be taken for names.
pub(super) fn are_words(class_names: &[String]) -> bool {
    class_names.iter().all(|name| name.parse::<i64>().is_err())
}

/// The classes that numbers stand for: those named after them, or if no class is named after a number, those in these
/// places, counted from 0.
pub struct Numbered {
    class_names: Vec<String>,
    named: HashMap<u32, u32>,
    by_place: bool,
    /// Whether each class is named after another number.
    are_numbers: bool,
}

impl Numbered {
    pub fn of(class_names: &[String]) -> Numbered {
        let mut named: Vec<(u32, u32, &String)> = Vec::new();
        for (name, class) in class_names.iter().zip(0..) {
            named.extend(number(name).map(|number| (number, class, name)));
        }
        // `7` is meant before `07`, and of equal names the first: what comes later replaces what came earlier.
        named.sort_by_key(|(number, class, name)| (**name == number.to_string(), Reverse(*class)));
        let named = named.into_iter().map(|(number, class, _)| (number, class)).collect();
        let are_numbers = all_numbers(class_names).is_some();
        Numbered { class_names: class_names.into(), named, by_place: are_words(class_names), are_numbers }
    }

    /// Whether numbers stand for places, as no class is named after one.
    pub fn is_by_place(&self) -> bool {
        self.by_place
    }

    /// The class that is named after a number.
    pub fn named(&self, number: u32) -> Option<u32> {
        self.named.get(&number).copied()
    }

    /// The class that the number in a name means where all classes are numbers: `07` is `7`.
    pub(crate) fn meant(&self, name: &str) -> Option<u32> {
        self.named(number(name).filter(|_| self.are_numbers)?)
    }

    /// The class that a number stands for.
    pub fn find(&self, number: u32) -> Option<u32> {
        match self.by_place {
            true => Some(number).filter(|place| (*place as usize) < self.class_names.len()),
            false => self.named(number),
        }
    }

    /// The class that a number stands for.
    ///
    /// # Errors
    /// A message that says which numbers stand for classes.
    pub fn class(&self, number: u32) -> Result<u32, String> {
        self.find(number).ok_or_else(|| {
            let count = self.class_names.len();
            format!("{number} is not one of the model's {count} classes, which are {}", self.known())
        })
    }

    fn known(&self) -> String {
        if self.by_place {
            let places = 0..self.class_names.len() as u32;
            return format!("counted from 0: {}", legend(&self.class_names, places, LISTED).unwrap_or_default());
        }
        let numbers: Vec<Option<u32>> = self.class_names.iter().map(|name| number(name)).collect();
        let follow = |pair: &[Option<u32>]| pair[0].is_some_and(|number| number.checked_add(1) == pair[1]);
        match numbers[..] {
            [Some(first), .., Some(last)] if numbers.windows(2).all(follow) => format!("{first} to {last}"),
            _ => listed(&self.class_names, LISTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_number_stands_for_the_class_that_is_named_after_it_or_else_for_a_place() {
        let class = |own: &[&str], number| Numbered::of(&names(own)).class(number);
        let (odd, words) = (["3", "5", "7"], ["cls0", "cls1", "cls10"]);
        assert_eq!(odd.map(|name| class(&odd, name.parse().unwrap()).unwrap()), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|place| class(&words, place).unwrap()), [0, 1, 2]);
        assert_eq!((class(&["1", "ten", "0"], 0), class(&["1", "ten", "0"], 1)), (Ok(2), Ok(0)));
        assert_eq!((class(&["01", "02"], 2), class(&["07", "7", "7"], 7)), (Ok(1), Ok(1)));
        assert_eq!(class(&["+7", "07"], 7), Ok(1));
        for (names, number, known) in [
            (&["0", "1", "2"][..], 3, "the model's 3 classes, which are 0 to 2"),
            (&["08", "09", "10"], 0, "which are 8 to 10"),
            (&odd, 4, "which are 3, 5, 7"),
            (&["1", "ten", "0"], 2, "which are 1, ten, 0"),
            (&["-2", "-1"], 0, "which are -2, -1"),
            (&["+1", "+2"], 1, "which are +1, +2"),
            (&words, 3, "which are counted from 0: 0 is cls0, 1 is cls1, 2 is cls10"),
        ] {
            let refused = class(names, number).unwrap_err();
            assert!(refused.starts_with(&format!("{number} is not one of")) && refused.contains(known), "{refused}");
        }
    }

    #[test]
    fn a_number_that_is_none_of_many_named_classes_is_told_the_first_of_them() {
        let many: Vec<String> = (0..40).map(|class| format!("c{class}")).collect();
        let refused = Numbered::of(&many).class(40).unwrap_err();
        assert!(refused.contains("counted from 0: 0 is c0, 1 is c1, 2 is c2"), "{refused}");
        assert!(refused.ends_with("10 is c10, 11 is c11 and 28 more"), "{refused}");
    }

    #[test]
    fn a_name_means_the_class_of_its_number_where_all_classes_are_numbers() {
        let meant = |own: &[&str], name: &str| Numbered::of(&names(own)).meant(name);
        assert_eq!((meant(&["7", "8"], "08"), meant(&["07", "08"], "8")), (Some(1), Some(1)));
        for (own, name) in [(&["7", "8"][..], "9"), (&["7", "8"], "+8"), (&["7", "8"], "x"), (&["7", "07"], "007")] {
            assert_eq!(meant(own, name), None, "{own:?}, {name}");
        }
        assert_eq!(meant(&["7", "eight"], "07"), None, "where some are words, names count");
    }

    #[test]
    fn classes_are_all_numbers_where_each_is_named_after_another_one() {
        assert_eq!(all_numbers(&names(&["07", "1", "300"])), Some(vec![7, 1, 300]));
        for other in [&["7", "07"][..], &["1", "two"], &["1", "-1"], &["1", "+2"]] {
            assert_eq!(all_numbers(&names(other)), None, "{other:?}");
        }
    }
}
