//! How good generated pictures are, in numbers: pure functions of features and logits that a judge gave.
//!
//! No single number says it. The Fréchet distance mixes quality and variety; precision and recall separate them; the
//! recovered labels say whether a conditional generator draws what it is asked for, and diversity whether each class is
//! more than one picture. All depend on the judge and on the number of pictures, so they compare generators only if
//! both are equal; [`Measures::floor`] says what a perfect one would get.

mod diversity;
mod features;
mod frechet;
mod neighbours;
// Needed to call a matrix product with strides.
#[allow(unsafe_code)]
mod product;
#[cfg(test)]
mod testing;

pub use diversity::{diversity_by_class, spread_by_class};
pub use features::{Features, MeasureError};
pub use frechet::{Gaussian, frechet};
pub use neighbours::{Balls, NEIGHBOUR, PrecisionRecall, precision_recall};

use std::fmt::Write;

use crate::infer::Scores;
use crate::pictures::visible;
use crate::report::{aligned, class_name, percent};

/// Below this diversity a class counts as collapsed: its pictures are less than a third as far from each other as real
/// ones are. A reason to look twice, not a test of significance.
pub const COLLAPSED: f64 = 0.3;

/// How a set of generated pictures compares with a real one.
#[derive(Clone, PartialEq, Debug)]
pub struct Measures {
    /// Fréchet distance between the features of both sets; lower is better.
    pub frechet: f64,
    /// The same between two sets of real pictures, if known.
    pub floor: Option<f64>,
    /// Share of the pictures that the judge takes for the requested class.
    pub recovered: f64,
    /// `None` for a class that was not requested.
    pub recovered_by_class: Vec<Option<f64>>,
    /// 1 is as varied as real; see [`diversity_by_class`].
    pub diversity_by_class: Vec<Option<f64>>,
    pub precision: f64,
    pub recall: f64,
}

/// The share of pictures whose label the judge finds most likely: overall, and for each class.
pub fn recovered(scores: &Scores, labels: &[u32], classes: usize) -> Result<(f64, Vec<Option<f64>>), MeasureError> {
    let pictures = scores.predicted.len();
    if labels.len() != pictures || labels.iter().any(|label| *label as usize >= classes) {
        return Err(MeasureError::Labels { pictures, labels: labels.len(), classes });
    }
    let (mut right, mut asked) = (vec![0usize; classes], vec![0usize; classes]);
    for (label, predicted) in scores.answers(labels) {
        asked[label] += 1;
        right[label] += usize::from(predicted == Some(label));
    }
    let share = |(right, asked): (&usize, &usize)| (*asked > 0).then(|| *right as f64 / *asked as f64);
    let all = share((&right.iter().sum(), &pictures)).ok_or(MeasureError::TooFew { count: 0, needed: 1 })?;
    Ok((all, right.iter().zip(&asked).map(share).collect()))
}

impl Measures {
    /// Classes with hardly any variety: diversity below [`COLLAPSED`].
    pub fn collapsed(&self) -> Vec<usize> {
        let diversity = self.diversity_by_class.iter().enumerate();
        diversity.filter(|(_, part)| part.is_some_and(|part| part < COLLAPSED)).map(|(class, _)| class).collect()
    }

    /// Diversity of the least varied class; infinite if it is known for no class.
    pub fn least_diversity(&self) -> f64 {
        self.diversity_by_class.iter().flatten().fold(f64::INFINITY, |least, part| least.min(*part))
    }

    /// Mean diversity over the classes; 0 if it is known for no class.
    pub fn mean_diversity(&self) -> f64 {
        let known: Vec<f64> = self.diversity_by_class.iter().flatten().copied().collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// Everything as text for a terminal; classes without a name show as their number.
    pub fn fmt_table<N: AsRef<str>>(&self, class_names: &[N]) -> String {
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
        let rows = [
            ["Fréchet distance".to_owned(), number(Some(self.frechet))],
            ["  of real pictures".to_owned(), number(self.floor)],
            ["labels recovered".to_owned(), percent(Some(self.recovered))],
            ["precision".to_owned(), percent(Some(self.precision))],
            ["recall".to_owned(), percent(Some(self.recall))],
        ];
        let mut classes = vec![["class", "recovered", "diversity"].map(String::from)];
        for (class, both) in self.recovered_by_class.iter().zip(&self.diversity_by_class).enumerate() {
            classes.push([class_name(class_names, class), percent(*both.0), number(*both.1)]);
        }
        let mut text = format!("{}\n{}", aligned(&rows), aligned(&classes));
        let collapsed: Vec<String> = self.collapsed().iter().map(|class| class_name(class_names, *class)).collect();
        if !collapsed.is_empty() {
            let _ = writeln!(text, "\nhardly varied, below {COLLAPSED} of real: {}", collapsed.join(", "));
        }
        text
    }

    /// The names of [`Measures::csv`]'s fields.
    pub fn csv_header<N: AsRef<str>>(class_names: &[N]) -> String {
        let mut names: Vec<String> = ["frechet", "floor", "recovered", "precision", "recall"].map(String::from).into();
        for of in ["recovered", "diversity"] {
            names.extend(class_names.iter().map(|name| csv_field(&format!("{of}_{}", name.as_ref()))));
        }
        names.join(",")
    }

    /// One row without a line ending; unknown values are empty fields.
    pub fn csv(&self) -> String {
        let [frechet, recovered, precision, recall] =
            [self.frechet, self.recovered, self.precision, self.recall].map(Some);
        let whole = [frechet, self.floor, recovered, precision, recall];
        let fields = whole.iter().chain(&self.recovered_by_class).chain(&self.diversity_by_class);
        let texts: Vec<String> = fields.map(|x| x.map_or_else(String::new, |x| format!("{x:.6}"))).collect();
        texts.join(",")
    }
}

/// A name as a field of a CSV file's header, which is one line whatever is in the name.
fn csv_field(name: &str) -> String {
    let name = visible(name);
    if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Measures {
        Measures {
            frechet: 12.3456,
            floor: Some(0.5),
            recovered: 0.975,
            recovered_by_class: vec![Some(1.0), Some(0.95), None],
            diversity_by_class: vec![Some(0.98), Some(0.12), None],
            precision: 0.8,
            recall: 0.25,
        }
    }

    #[test]
    fn a_label_is_recovered_where_the_judge_finds_it_most_likely() {
        let logits = [[3.0, 0.0, 1.0], [3.0, 0.0, 1.0], [0.0, 9.0, 1.0], [f32::NAN, 0.0, 0.0]].concat();
        let labels = [0, 2, 1, 0];
        let (all, by_class) = recovered(&Scores::new(&logits, &labels), &labels, 4).unwrap();
        assert_eq!((all, by_class), (0.5, vec![Some(0.5), Some(1.0), Some(0.0), None]));
    }

    #[test]
    fn no_pictures_and_labels_that_do_not_fit_are_refused() {
        let error = recovered(&Scores::new(&[], &[]), &[], 3).unwrap_err();
        assert_eq!(error, MeasureError::TooFew { count: 0, needed: 1 });
        let scores = Scores::new(&[1.0, 0.0], &[0]);
        let error = recovered(&scores, &[5], 2).unwrap_err();
        assert_eq!(error, MeasureError::Labels { pictures: 1, labels: 1, classes: 2 });
    }

    #[test]
    fn the_table_shows_everything_and_names_classes_that_hardly_vary() {
        let expected = "\
Fréchet distance     12.35
  of real pictures    0.50
labels recovered    97.50%
precision           80.00%
recall              25.00%

class  recovered  diversity
zero     100.00%       0.98
one       95.00%       0.12
2              -          -

hardly varied, below 0.3 of real: one
";
        assert_eq!(measures().fmt_table(&["zero", "one"]), expected);
        let varied = Measures { diversity_by_class: vec![Some(1.0); 3], floor: None, ..measures() };
        assert_eq!(varied.collapsed(), [0usize; 0]);
        assert!(!varied.fmt_table(&["zero"]).contains("hardly"));
    }

    #[test]
    fn a_row_has_a_field_for_every_name_of_the_header() {
        let names = "frechet,floor,recovered,precision,recall,recovered_3,recovered_5,recovered_7,\
                     diversity_3,diversity_5,diversity_7";
        assert_eq!(Measures::csv_header(&["3", "5", "7"]), names);
        let row = "12.345600,0.500000,0.975000,0.800000,0.250000,1.000000,0.950000,,0.980000,0.120000,";
        assert_eq!(measures().csv(), row);
    }

    #[test]
    fn a_header_names_classes_as_they_are_called_on_one_line() {
        let header = Measures::csv_header(&["cat, big", "so \"called\"", "two\nlines"]);
        assert_eq!(header.lines().count(), 1, "{header}");
        let mut csv = csv::Reader::from_reader(header.as_bytes());
        let names: Vec<String> = csv.headers().unwrap().iter().skip(5).map(String::from).collect();
        let wanted = ["cat, big", "so \"called\"", "two\\nlines"];
        let wanted = ["recovered", "diversity"].map(|of| wanted.map(|name| format!("{of}_{name}"))).concat();
        assert_eq!(names, wanted);
    }
}
