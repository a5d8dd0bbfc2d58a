//! What is known of one picture: a line of the journal, from which every table is made.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use crate::infer::scores::softmax;
use crate::pictures::stream::Item;

/// A picture's answer, or why it has none.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Row of a CSV file, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The likeliest classes with their probabilities, to six decimals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(usize, f64)>,
    /// The probabilities of all classes, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<usize>,
    /// A CSV file gives it a label that is not a class of the network.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unknown_truth: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub blank: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub as_is: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub inverted: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub cropped: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub misnamed: bool,
    /// Pages of a TIFF file that were not looked at.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub further_pages: u32,
    /// What tells a stopped run that continues whether the picture is still the same. Without a journal, nothing does.
    #[serde(rename = "seen")]
    pub fingerprint: Fingerprint,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// How much of an answer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Number of likeliest classes, at least 1.
    pub top: usize,
    /// Whether all probabilities are kept.
    pub all: bool,
}

impl Record {
    /// The record of a row of logits, which is `None` if the picture could not be read.
    pub fn new(item: &Item, logits: Option<&[f32]>, kept: Kept) -> Record {
        let mut record = Record { path: item.name.clone(), row: item.row, ..Record::default() };
        let (prepared, logits) = match (&item.prepared, logits) {
            (Ok(prepared), Some(logits)) => (prepared, logits),
            (Err(reason), _) => return Record { failed: Some(reason.clone()), ..record },
            (Ok(_), None) => return Record { failed: Some("was not looked at".into()), ..record },
        };
        let probabilities: Vec<f64> = softmax(logits).iter().map(|p| (p * 1e6).round() / 1e6).collect();
        if probabilities.iter().any(|p| p.is_nan()) {
            return Record { failed: Some("the network's answer is not a number".into()), ..record };
        }
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        // By logits, which tell classes with equal probabilities apart; of equal ones, the first wins.
        order.sort_by(|a, b| logits[*b].partial_cmp(&logits[*a]).unwrap_or(Ordering::Equal));
        record.top = order.iter().take(kept.top).map(|class| (*class, probabilities[*class])).collect();
        record.all = if kept.all { probabilities } else { Vec::new() };
        (record.blank, record.as_is) = (prepared.blank, prepared.as_is);
        (record.inverted, record.cropped) = (prepared.inverted, prepared.cropped);
        (record.misnamed, record.further_pages) = (item.misnamed, item.further_pages);
        record.truth = item.truth.filter(|truth| *truth < logits.len());
        record.unknown_truth = record.truth != item.truth;
        record
    }

    /// # Errors
    /// If it names classes that do not exist: then it is not what was written.
    pub fn check(&self, classes: usize) -> anyhow::Result<()> {
        let known = self.top.iter().map(|(class, _)| class).chain(&self.truth).all(|class| *class < classes);
        let counts = self.all.is_empty() || self.all.len() == classes;
        anyhow::ensure!(
            known && counts,
            "the answer kept for {:?} does not fit the network; start over with --force",
            self.path
        );
        Ok(())
    }

    /// What a table says of the picture besides its answer.
    pub fn note(&self) -> Option<String> {
        let blank = self.blank.then(|| "blank".to_owned());
        let pages =
            (self.further_pages > 0).then(|| format!("first of {} pages", self.further_pages.saturating_add(1)));
        let notes: Vec<String> = blank.into_iter().chain(pages).collect();
        (!notes.is_empty()).then(|| notes.join(", "))
    }

    /// The table and the row at which reading it ended, as the file is damaged or cut off there. Nobody knows what, or
    /// how much, would follow.
    pub fn breaks_off(&self) -> Option<(&str, u64)> {
        let row = self.row?;
        let (_line, reason) = self.failed.as_ref()?.split_once(": ")?;
        // Other rows are refused for what they hold.
        let table = self.path.strip_suffix(format!("#{row}").as_str()).filter(|_| reason.starts_with("cannot be read"));
        Some((table?, row))
    }

    /// The likeliest class and its probability; `None` for a picture that could not be read.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.top.first().copied()
    }

    /// The class that is the answer; `None` if the network is unsure, or has nothing to look at.
    pub fn answer(&self, threshold: f64) -> Option<usize> {
        self.best().filter(|(_, confidence)| *confidence >= threshold && !self.blank).map(|(class, _)| class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::Prepared;

    fn item(prepared: Result<Prepared, String>) -> Item {
        let (name, misnamed, further_pages) = ("a.png".into(), false, 0);
        Item { name, path: None, row: None, truth: Some(1), misnamed, further_pages, prepared }
    }

    fn prepared(blank: bool) -> Prepared {
        Prepared { pixels: vec![0], as_is: false, inverted: true, cropped: false, blank }
    }

    const KEPT: Kept = Kept { top: 2, all: false };

    #[test]
    fn an_answer_is_ranked_and_survives_the_journal() {
        let record = Record::new(&item(Ok(prepared(false))), Some(&[0.0, 3.0, 1.0]), KEPT);
        assert_eq!(record.top.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(record.top[0].1, 0.843795);
        // Probabilities that are 0 to six decimals are ranked all the same.
        let certain = Record::new(&item(Ok(prepared(false))), Some(&[0.0, 60.0, 10.0, 20.0]), KEPT);
        assert_eq!(certain.top, [(1, 1.0), (3, 0.0)]);
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn what_is_below_the_threshold_or_blank_has_no_answer() {
        let record = Record::new(&item(Ok(prepared(false))), Some(&[0.0, 3.0, 1.0]), KEPT);
        assert_eq!((record.answer(0.8), record.answer(0.9)), (Some(1), None));
        let blank = Record::new(&item(Ok(prepared(true))), Some(&[0.0, 30.0, 1.0]), KEPT);
        assert_eq!(blank.answer(0.0), None);
    }

    #[test]
    fn a_note_says_what_is_blank_and_which_pages_were_not_looked_at() {
        let note = |blank, further_pages| Record { blank, further_pages, ..Record::default() }.note();
        assert_eq!((note(false, 0), note(true, 0)), (None, Some("blank".into())));
        assert_eq!(note(false, 2).as_deref(), Some("first of 3 pages"));
        assert_eq!(note(true, 1).as_deref(), Some("blank, first of 2 pages"));
    }

    #[test]
    fn a_table_breaks_off_at_a_row_that_could_not_be_read_and_not_at_one_that_was_refused() {
        let (path, row) = ("a#7.csv#7".to_owned(), Some(7));
        let record = |reason: &str| {
            let failed = Some(reason.to_owned());
            Record { path: path.clone(), row, failed, ..Record::default() }
        };
        assert_eq!(record("line 8: cannot be read: corrupt deflate stream").breaks_off(), Some(("a#7.csv", 7)));
        assert_eq!(record("line 8: expected 784 columns as in the first line, found 3").breaks_off(), None);
        let file = Record { row: None, ..record("cannot be read: Permission denied") };
        assert_eq!(file.breaks_off(), None);
    }

    #[test]
    fn a_journal_that_names_other_classes_is_refused() {
        let record = Record::new(&item(Ok(prepared(false))), Some(&[0.0, 3.0, 1.0]), KEPT);
        assert!(record.check(3).is_ok());
        for altered in [r#""top":[[3,1.0]]"#, r#""all":[1.0]"#, r#""truth":3"#] {
            let line = format!(r#"{{"path":"a","seen":[3,4],{altered}}}"#);
            assert!(serde_json::from_str::<Record>(&line).unwrap().check(3).is_err(), "{altered}");
        }
    }

    #[test]
    fn a_truth_that_is_no_class_is_none() {
        let record = Record::new(&item(Ok(prepared(false))), Some(&[3.0]), KEPT);
        assert_eq!((record.truth, record.unknown_truth), (None, true));
        assert!(record.check(1).is_ok());
        let known = Record::new(&item(Ok(prepared(false))), Some(&[3.0, 0.0]), KEPT);
        assert_eq!((known.truth, known.unknown_truth), (Some(1), false));
    }

    #[test]
    fn no_number_is_made_of_what_is_none() {
        let record = Record::new(&item(Ok(prepared(false))), Some(&[f32::NAN, 0.0]), KEPT);
        assert!(record.failed.is_some() && record.top.is_empty());
        let record = Record::new(&item(Err("is empty".into())), None, KEPT);
        assert_eq!(record.failed.as_deref(), Some("is empty"));
    }
}
