//! Which of a data set's classes is which of a model's: by their names or numbers, or by their order alone.

use std::collections::HashMap;

use super::folder::listed;
use super::numbered::{all_numbers, are_words};
use super::{DataError, DataSet, LISTED};

impl DataSet {
    /// The same images under a model's classes, some of which the set may lack: labels become those of the model's
    /// classes of the same name, or number. They stay as they are where one side only numbers its classes and the other
    /// calls none after a number, which [`DataSet::matched_in_order`] reports.
    ///
    /// # Errors
    /// [`DataError::OtherClasses`] where the set has images of a class that the model lacks.
    ///
    /// # Panics
    /// When a label has no name, like indexing a slice.
    pub fn with_classes(mut self, names: Vec<String>) -> Result<DataSet, DataError> {
        if let Some(labels) = self.labels_by_name(&names) {
            let all = self.train.labels.iter_mut().chain(&mut self.test.labels);
            all.for_each(|label| *label = labels[*label as usize]);
        } else if !self.is_numbered(&names) {
            let shown = self.shown_classes();
            let own = self.class_names.iter().zip(&shown).filter(|(_, shown)| **shown);
            let own: Vec<String> = own.map(|(name, _)| name.clone()).collect();
            let is_unnamed = numbers(&names) && own.len() == names.len();
            let hint =
                if is_unnamed { "; a model of unnamed classes gets names by `import --class-names`" } else { "" };
            return Err(DataError::OtherClasses { data: listed(&own, LISTED), model: listed(&names, LISTED), hint });
        }
        (self.train.classes, self.test.classes) = (names.len(), names.len());
        self.class_names = names;
        Ok(self)
    }

    /// How [`DataSet::with_classes`] matches these classes with a model's where one side only numbers its own: by their
    /// order. Only a person can tell whether that is right.
    ///
    /// # Panics
    /// As [`DataSet::with_classes`].
    pub fn matched_in_order(&self, names: &[String]) -> Option<String> {
        (self.labels_by_name(names).is_none() && self.is_numbered(names)).then(|| self.pairs(names))
    }

    /// For each class, which of a model's it is by name, or number, where the model has as many, as a generator and its
    /// judge must: each is another one's.
    ///
    /// # Errors
    /// A warning, where the classes of both are not called the same: they are matched in their order, which only a
    /// person can tell to be right.
    ///
    /// # Panics
    /// As [`DataSet::with_classes`].
    pub fn order_among(&self, names: &[String]) -> Result<Vec<usize>, String> {
        let labels = self.labels_by_name(names);
        labels.and_then(|labels| self.each_its_own(&labels, names.len())).ok_or_else(|| self.pairs(names))
    }

    /// The labels among `len` classes, where no two classes that images show have the same one. The other classes get
    /// what is left.
    fn each_its_own(&self, labels: &[u32], len: usize) -> Option<Vec<usize>> {
        let (shown, mut is_free) = (self.shown_classes(), vec![true; len]);
        for (label, _) in labels.iter().zip(&shown).filter(|(_, shown)| **shown) {
            if !std::mem::take(&mut is_free[*label as usize]) {
                return None;
            }
        }
        let mut left = (0..len).filter(|label| is_free[*label]);
        let own = |(label, shown): (&u32, &bool)| if *shown { Some(*label as usize) } else { left.next() };
        labels.iter().zip(&shown).map(own).collect()
    }

    /// Which class is which of a model's where they are matched in order.
    fn pairs(&self, names: &[String]) -> String {
        let (set, own) = (&self.name, &self.class_names[..]);
        let (whose, [left, right]) = match (are_words(own), are_words(names)) {
            (true, false) if numbers(names) => {
                (format!("the model's classes are numbers and those of {set} are names"), [names, own])
            }
            (false, true) if numbers(own) => {
                (format!("the classes of {set} are numbers and the model's are names"), [own, names])
            }
            _ => (format!("the classes of {set} are not called as the model's are"), [own, names]),
        };
        let pairs: Vec<String> = left.iter().zip(right).map(|(left, right)| format!("{left}={right}")).collect();
        let pairs = listed(&pairs, LISTED);
        format!(
            "{whose}: matched in order, {pairs}. If that is wrong, so is what follows: call the classes of both the same"
        )
    }

    /// For each class, its label among a model's, by name; `None` where a class that images show is not among the
    /// model's. Where all classes of both are numbers, `07` is `7`, as IDX files have no zeros before theirs.
    fn labels_by_name(&self, names: &[String]) -> Option<Vec<u32>> {
        let plain = |names| Some(all_numbers(names)?.iter().map(u32::to_string).collect::<Vec<_>>());
        let as_named = self.labels_among(&self.class_names, names);
        as_named.or_else(|| self.labels_among(&plain(&self.class_names)?, &plain(names)?))
    }

    /// The same for classes that are called `own`.
    fn labels_among(&self, own: &[String], names: &[String]) -> Option<Vec<u32>> {
        // Of classes with the same name, the first one counts.
        let classes = names.iter().enumerate().rev();
        let labels: HashMap<&String, u32> = classes.map(|(label, name)| (name, label as u32)).collect();
        // Numbers begin with 0 whether or not any image is a 0, and a class that no image shows needs no label.
        let label = |(own, shown): (&String, &bool)| labels.get(own).copied().or((!*shown).then_some(0));
        own.iter().zip(&self.shown_classes()).map(label).collect()
    }

    /// Whether one side only numbers its classes and the other has words for its own. Where both have numbers, these
    /// say which class is meant.
    fn is_numbered(&self, names: &[String]) -> bool {
        let (own, len) = (&self.class_names, names.len());
        // Data without class names may lack the last of a model's classes; a model has all classes of its data.
        let fits = numbers(own) && own.len() <= len && are_words(names);
        fits || numbers(names) && own.len() == len && are_words(own)
    }

    /// For each class, whether any image of either part belongs to it.
    fn shown_classes(&self) -> Vec<bool> {
        let mut shown = vec![false; self.class_names.len()];
        for label in self.train.labels.iter().chain(&self.test.labels) {
            shown[*label as usize] = true;
        }
        shown
    }
}

/// Whether classes have no names but their numbers.
fn numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(label, name)| *name == label.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::image_set;

    #[test]
    fn labels_become_those_of_a_models_classes_of_the_same_name() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let set = |classes: &[&str]| {
            DataSet::new("set", image_set(2, 2, 1, &[0, 1]), image_set(2, 2, 1, &[1, 1, 0]), names(classes))
        };
        let known = set(&["8", "3"]).with_classes(names(&["0", "3", "5", "8"])).unwrap();
        assert_eq!((known.train.labels, known.test.labels), (vec![3, 1], vec![1, 1, 3]));
        assert_eq!((known.train.classes, known.test.classes, known.class_names.len()), (4, 4, 4));
        // Classes that are only numbered keep their labels.
        let numbered = set(&["0", "1"]).with_classes(names(&["cat", "dog", "eel"])).unwrap();
        assert_eq!(numbered.test.labels, [1, 1, 0]);
        let named = set(&["cat", "dog"]).with_classes(names(&["0", "1"])).unwrap();
        assert_eq!(named.test.labels, [1, 1, 0]);
        assert!(set(&["cat", "dog"]).with_classes(names(&["0", "1", "2"])).is_err());
        for (data, model) in [(["3", "9"], ["3", "8"]), (["0", "1"], ["1", "2"]), (["cat", "dog"], ["cat", "eel"])] {
            let refused = set(&data).with_classes(names(&model)).err().unwrap().to_string();
            assert!(refused.contains(&format!("{}, {}, but the model knows", data[0], data[1])), "{refused}");
        }
    }

    #[test]
    fn classes_are_not_matched_in_their_order_where_both_sides_call_them_by_numbers() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let refused = |data: &[&str], model: &[&str]| {
            let set = DataSet::new("set", image_set(1, 1, 1, &[0, 1]), image_set(1, 1, 1, &[1]), names(data));
            assert_eq!(set.matched_in_order(&names(model)), None, "{data:?}, {model:?}");
            set.with_classes(names(model)).unwrap_err().to_string()
        };
        // Whether or not some numbers are the same, and where some classes have words.
        for model in [&["3", "5", "7"][..], &["1", "3", "5"], &["one", "two", "7"], &["-1", "minus two"]] {
            let said = refused(&["0", "1"], model);
            assert!(said.contains("has the classes 0, 1, but the model knows"), "{said}");
            assert!(said.ends_with("or with some of them"), "{said}");
        }
        let said = refused(&["3", "5"], &["0", "1"]);
        assert!(said.ends_with("; a model of unnamed classes gets names by `import --class-names`"), "{said}");
        refused(&["eight", "1"], &["0", "1"]);
    }

    #[test]
    fn classes_of_a_model_that_has_as_many_are_found_by_their_names_or_are_told_one_by_one() {
        let names = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
        let order = |classes: &str, model: &str| {
            DataSet::new("w", image_set(1, 1, 1, &[0, 1]), image_set(1, 1, 1, &[]), names(classes))
                .order_among(&names(model))
        };
        for (data, model, found) in [
            ("a b", "a b", &[0, 1][..]),
            ("a b", "b a", &[1, 0]),
            ("01 02", "2 1", &[1, 0]),
            ("a b c d", "c a d b", &[1, 3, 0, 2]),
            // No image shows the last.
            ("a b x", "y b a", &[2, 1, 0]),
        ] {
            assert_eq!(order(data, model), Ok(found.to_vec()), "{data}, {model}");
        }
        for (data, model) in [("a a", "a b"), ("3 5", "0 1"), ("0 1", "3 5"), ("a b", "b c")] {
            let (said, pair) = (order(data, model).unwrap_err(), format!("{}={}", &data[..1], &model[..1]));
            assert!(said.starts_with("the classes of w are not called as the model's are: matched in order"), "{said}");
            assert!(said.contains(&pair), "{said}");
        }
        let by_words = order("eight five", "0 1").unwrap_err();
        assert!(by_words.starts_with("the model's classes are numbers and those of w are"), "{by_words}");
    }

    #[test]
    fn classes_that_are_matched_in_their_order_are_told_one_by_one() {
        let names = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
        let told = |classes: &str, model: &str| {
            let classes = names(classes);
            let labels: Vec<u32> = (0..classes.len() as u32).collect();
            DataSet::new("w", image_set(1, 1, 1, &labels), image_set(1, 1, 1, &[]), classes)
                .matched_in_order(&names(model))
        };
        let by_words = told("eight five four", "0 1 2").unwrap();
        assert!(by_words.starts_with("the model's classes are numbers and those of w are names"), "{by_words}");
        assert!(by_words.contains("matched in order, 0=eight, 1=five, 2=four. If"), "{by_words}");
        let by_numbers = told("0 1", "cat dog eel").unwrap();
        assert!(by_numbers.starts_with("the classes of w are numbers and the model's are names"), "{by_numbers}");
        assert!(by_numbers.contains("matched in order, 0=cat, 1=dog. If"), "{by_numbers}");
        let many: Vec<String> = ('a'..='p').map(String::from).collect();
        let numbers: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        assert!(told(&many.join(" "), &numbers.join(" ")).unwrap().contains("10=k, 11=l and 4 more. If"));
        // Matched by name, or not at all.
        for (data, model) in [("0 1", "0 1 2"), ("b a", "a b"), ("cat dog", "0 1 2"), ("cat dog", "eel fox")] {
            assert_eq!(told(data, model), None, "{data}, {model}");
        }
    }

    #[test]
    fn classes_that_no_image_shows_need_no_class_of_the_model() {
        let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        let set = |train: &[u32], test: &[u32]| {
            DataSet::new("set", image_set(1, 1, 1, train), image_set(1, 1, 1, test), numbers(0..4))
        };
        // Labels from 1 on in a table make a class 0 without images.
        let known = set(&[1, 2, 3], &[3, 1]).with_classes(numbers(1..4)).unwrap();
        assert_eq!((known.train.labels, known.test.labels), (vec![0, 1, 2], vec![2, 0]));
        assert_eq!((known.train.classes, known.class_names), (3, numbers(1..4)));
        let refused = set(&[1, 3], &[2]).with_classes(numbers(2..5)).unwrap_err().to_string();
        assert!(refused.contains("the data has the classes 1, 2, 3, but the model knows 2, 3, 4"), "{refused}");
        assert!(set(&[1, 2, 3], &[0]).with_classes(numbers(1..4)).is_err(), "one that only a test image shows");
    }

    #[test]
    fn classes_of_equal_numbers_are_the_same_with_or_without_zeros_before_them() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let labels = |own: &[&str], model: &[&str]| {
            let set = DataSet::new("set", image_set(1, 1, 1, &[1, 2]), image_set(1, 1, 1, &[2]), names(own));
            assert_eq!(set.matched_in_order(&names(model)), None, "{own:?}, {model:?}");
            set.with_classes(names(model)).ok().map(|set| set.train.labels)
        };
        // Folders 01 and 02, and what IDX files say of them: there is a class 0 without images.
        assert_eq!(labels(&["0", "1", "2"], &["01", "02"]), Some(vec![0, 1]));
        assert_eq!(labels(&["08", "09", "10"], &["8", "10", "9"]), Some(vec![2, 1]));
        // Which of the two classes would it be?
        assert_eq!(labels(&["0", "1", "2"], &["02", "2", "1"]), Some(vec![2, 1]), "as they are called");
        assert_eq!(labels(&["0", "1", "2"], &["01", "1", "02"]), None);
        assert_eq!(labels(&["0", "01", "2"], &["1", "2", "ten"]), None, "where some are words, names count");
    }
}
