//! Prints a [`Confusion`] as aligned text for a terminal.

use std::fmt::Write;

use crate::report::Confusion;

/// Above this many classes a matrix no longer fits a terminal.
const WIDEST_MATRIX: usize = 20;
/// Longest class name printed in front of a row, and above a column, in characters.
const ROW_NAME: usize = 24;
const COLUMN_NAME: usize = 8;

impl Confusion {
    /// Precision, recall, F1 and number of examples of each class, then the means and the
    /// accuracy; undefined values show as "-".
    ///
    /// Classes without a name in `class_names` show as their number.
    pub fn fmt_table<N: AsRef<str>>(&self, class_names: &[N]) -> String {
        let means = self.macro_means();
        let mut rows = vec![["class", "precision", "recall", "F1", "count"].map(String::from)];
        for class in self.per_class() {
            rows.push([
                clipped(&class_name(class_names, class.class), ROW_NAME),
                percent(class.precision),
                percent(class.recall),
                percent(class.f1),
                class.support.to_string(),
            ]);
        }
        rows.push([
            "mean".to_owned(),
            percent(means.precision),
            percent(means.recall),
            percent(means.f1),
            self.total().to_string(),
        ]);
        let mut text = aligned(&rows);
        text.push('\n');
        text.push_str(&self.fmt_accuracy());
        text.push('\n');
        text
    }

    /// One line such as "accuracy 98.51 % ± 0.12 (95 % interval 98.25 to 98.73 %), 9851 of 10000 right"; the ± is one
    /// standard error, left out if all or none are right, where it says nothing.
    pub fn fmt_accuracy(&self) -> String {
        let (accuracy, error) = (self.accuracy(), self.standard_error());
        let (Some(accuracy), Some(error), Some((low, high))) = (accuracy, error, self.accuracy_interval()) else {
            return "accuracy -, no examples".to_owned();
        };
        let error = if error > 0.0 { format!(" ± {:.2}", 100.0 * error) } else { String::new() };
        format!(
            "accuracy {:.2} %{error} (95 % interval {:.2} to {:.2} %), {} of {} right",
            100.0 * accuracy,
            100.0 * low,
            100.0 * high,
            self.correct(),
            self.total(),
        )
    }

    /// The matrix of counts, truth down and prediction across, zeros as "."; above 20 classes, the 20 most common
    /// mistakes instead.
    ///
    /// Classes without a name in `class_names` show as their number.
    pub fn fmt_matrix<N: AsRef<str>>(&self, class_names: &[N]) -> String {
        if self.classes() > WIDEST_MATRIX {
            return self.fmt_mistakes(class_names, WIDEST_MATRIX);
        }
        let mut rows = vec![vec!["truth".to_owned()]];
        for class in 0..self.classes() {
            let name = class_name(class_names, class);
            rows[0].push(clipped(&name, COLUMN_NAME));
            let mut row = vec![clipped(&name, ROW_NAME)];
            row.extend((0..self.classes()).map(|p| match self.count(class, p) {
                0 => ".".to_owned(),
                count => count.to_string(),
            }));
            rows.push(row);
        }
        let text = aligned(&rows);
        let head = rows.iter().map(|row| length(&row[0])).max().unwrap_or(0);
        format!("{:head$}  predicted\n{text}", "")
    }

    /// The most common mistakes, at most `n`, one per line: "4 taken for 9: 12 times".
    ///
    /// Classes without a name in `class_names` show as their number.
    pub fn fmt_mistakes<N: AsRef<str>>(&self, class_names: &[N], n: usize) -> String {
        let mistakes = self.most_confused(n);
        if mistakes.is_empty() {
            return "no class was taken for another\n".to_owned();
        }
        let mut text = String::new();
        for mistake in mistakes {
            let truth = clipped(&class_name(class_names, mistake.truth), ROW_NAME);
            let predicted = clipped(&class_name(class_names, mistake.predicted), ROW_NAME);
            let _ = match mistake.count {
                1 => writeln!(text, "{truth} taken for {predicted}: once"),
                count => writeln!(text, "{truth} taken for {predicted}: {count} times"),
            };
        }
        text
    }
}

/// Name of a class on one line, or its number where it has none. A line break or a tab in it is shown as `\n` or `\t`.
pub(crate) fn class_name<N: AsRef<str>>(names: &[N], class: usize) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    match names.get(class).map(|name| name.as_ref().trim()) {
        Some(name) if !name.is_empty() => name.chars().map(shown).collect(),
        _ => class.to_string(),
    }
}

/// A share as a percentage with two decimals.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2}%", 100.0 * share))
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// At most `most` characters of a name, from its start and its end: names that begin alike often end differently.
pub(crate) fn clipped(name: &str, most: usize) -> String {
    let count = length(name);
    if count <= most {
        return name.to_owned();
    }
    let (start, end) = (most / 2, most.saturating_sub(1) / 2);
    name.chars().take(start).chain(['…']).chain(name.chars().skip(count - end)).collect()
}

/// Columns two spaces apart: the first aligned left, the others right.
pub(crate) fn aligned<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let widths: Vec<usize> = (0..columns)
        .map(|i| rows.iter().map(|row| length(&row.as_ref()[i])).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in rows {
        for (i, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let _ = match i {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: [&str; 0] = [];

    fn small() -> Confusion {
        let pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (2, 0)];
        Confusion::from_pairs(3, pairs).unwrap()
    }

    #[test]
    fn the_table_is_aligned_and_shows_undefined_values_as_a_dash() {
        let expected = "\
class  precision   recall      F1  count
cat       66.67%   66.67%  66.67%      3
dog       75.00%  100.00%  85.71%      3
2              -    0.00%   0.00%      1
mean      47.22%   55.56%  50.79%      7

accuracy 71.43 % ± 17.07 (95 % interval 35.89 to 91.78 %), 5 of 7 right
";
        assert_eq!(small().fmt_table(&["cat", "dog"]), expected);
    }

    #[test]
    fn all_right_is_not_said_to_be_certain() {
        let text = Confusion::from_pairs(2, [(1, 1); 200]).unwrap().fmt_accuracy();
        assert_eq!(text, "accuracy 100.00 % (95 % interval 98.12 to 100.00 %), 200 of 200 right");
    }

    #[test]
    fn the_matrix_has_truth_down_and_prediction_across() {
        let expected = "       predicted
truth  cat  dog  2
cat      2    1  .
dog      .    3  .
2        1    .  .
";
        assert_eq!(small().fmt_matrix(&["cat", "dog"]), expected);
    }

    #[test]
    fn many_classes_give_the_commonest_mistakes_instead_of_a_matrix() {
        let pairs = [(4, 9), (4, 9), (24, 3), (1, 1)];
        let confusion = Confusion::from_pairs(25, pairs).unwrap();
        assert_eq!(confusion.fmt_matrix(&NONE), "4 taken for 9: 2 times\n24 taken for 3: once\n");
        let perfect = Confusion::from_pairs(25, [(1, 1)]).unwrap();
        assert_eq!(perfect.fmt_matrix(&NONE), "no class was taken for another\n");
    }

    #[test]
    fn without_classes_or_examples_the_texts_say_so() {
        let empty = Confusion::new(0).unwrap();
        assert!(empty.fmt_table(&NONE).ends_with("accuracy -, no examples\n"));
        assert_eq!(empty.fmt_matrix(&NONE), "       predicted\ntruth\n");
        assert!(!Confusion::new(4).unwrap().fmt_table(&NONE).contains("NaN"));
    }

    #[test]
    fn names_with_lines_and_tabs_are_told_from_others() {
        let text = small().fmt_table(&["a\nb", "a b", "a\tb"]);
        for name in ["a\\nb", "a b", "a\\tb"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {text}");
        }
    }

    #[test]
    fn long_names_that_begin_alike_are_told_apart_by_their_ends() {
        let names = [1, 2].map(|i| format!("a really rather long name of class {i}"));
        let text = small().fmt_table(&names) + &small().fmt_matrix(&names);
        for shown in ["a really rat… of class 1", "a really rat… of class 2", " a re…s 1", " a re…s 2"] {
            assert!(text.contains(shown), "no {shown} in {text}");
        }
    }

    proptest! {
        #[test]
        fn any_names_keep_one_line_a_class(names in prop::collection::vec(any::<String>(), 0..5)) {
            let text = small().fmt_table(&names);
            prop_assert_eq!(text.matches('\n').count(), 1 + 3 + 1 + 1 + 1);
            prop_assert_eq!(small().fmt_matrix(&names).matches('\n').count(), 5);
        }
    }
}
