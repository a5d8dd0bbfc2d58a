//! What a run has found, in numbers, for the user at the terminal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::record::Record;
use super::table::{Columns, harmless};
use crate::cli::thousands;
use crate::data::write::legend;
use crate::data::{LISTED, Numbered};
use crate::files::{Existing, Unfinished, WriteError};
use crate::pictures::visible;
use crate::report::{Confusion, MAX_CLASSES, aligned, class_name, clipped};

/// Failures that are listed one by one; a file takes all of them.
const TOLD: usize = 20;
/// Characters of the longest name that is shown whole: a list may contain other text by mistake, like the rows of a
/// table.
const LONGEST_NAME: usize = 160;
/// Most classes with a line of their own.
const LINES: usize = 30;

#[derive(Default)]
pub struct Summary {
    columns: Columns,
    /// Whether pictures are only brought to the network's size.
    only_fitted: bool,
    /// Pictures and the sum of their confidences, for each class and then for the unsure ones.
    classes: Vec<(u64, f64)>,
    confusion: Option<Confusion>,
    /// Of the pictures whose class is known: how many have an answer, and how many of these answers are right.
    answered: (u64, u64),
    unknown_truth: u64,
    /// Whether rows have labels that are classes.
    labels: bool,
    pub pictures: u64,
    pub failed: u64,
    /// How many of those are rows of CSV files.
    pub failed_rows: u64,
    /// Tables that break off, and the first of them with the row at which it does.
    broken_off: u64,
    breaks_off: Option<(String, u64)>,
    told: Vec<String>,
    errors: Option<csv::Writer<Unfinished>>,
    blank: u64,
    as_is: u64,
    inverted: u64,
    cropped: u64,
    misnamed: u64,
    with_further_pages: u64,
    /// Of the pictures that this run has given, as they are, to a model that has learned from light ones: how many are
    /// dark, and how many there are.
    pub dark: (u64, u64),
    /// How many pictures in formats that are not read have each ending.
    pub not_read: BTreeMap<&'static str, u64>,
    pub other_files: u64,
    pub folder_links: u64,
}

impl Summary {
    /// Writes all failures to a CSV file of paths and reasons, if one is named.
    pub fn new(columns: Columns, only_fitted: bool, errors: Option<&Path>) -> anyhow::Result<Summary> {
        let classes = columns.class_names.len();
        let errors = errors.map(|path| {
            let file = Unfinished::create(path).map_err(WriteError::of(path))?;
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record(["path", "reason"])?;
            anyhow::Ok(csv)
        });
        Ok(Summary {
            columns,
            only_fitted,
            classes: vec![(0, 0.0); classes + 1],
            confusion: (classes <= MAX_CLASSES).then(|| Confusion::new(classes)).transpose()?,
            errors: errors.transpose()?,
            ..Summary::default()
        })
    }

    pub fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        if let Some(reason) = &record.failed {
            self.failed += 1;
            self.failed_rows += u64::from(record.row.is_some());
            if let Some((table, row)) = record.breaks_off() {
                self.broken_off += 1;
                self.breaks_off.get_or_insert_with(|| (visible(&clipped(table, LONGEST_NAME)), row));
            }
            if self.told.len() < TOLD {
                self.told.push(format!("{}: {}", visible(&clipped(&record.path, LONGEST_NAME)), visible(reason)));
            }
            if let Some(errors) = &mut self.errors {
                let written = errors.write_record([harmless(&record.path), harmless(reason)].map(Cow::into_owned));
                written.map_err(|error| WriteError::of(errors.get_ref().path())(error.into()))?;
            }
        }
        let Some((best, confidence)) = record.best() else { return Ok(()) };
        self.pictures += 1;
        let answer = record.answer(self.columns.threshold.unwrap_or(0.0));
        let line = &mut self.classes[answer.unwrap_or(self.columns.class_names.len())];
        *line = (line.0 + 1, line.1 + confidence);
        if let Some(truth) = record.truth {
            self.labels |= record.row.is_some();
            if let Some(confusion) = &mut self.confusion {
                confusion.add(truth, best)?;
            }
            self.answered.0 += u64::from(answer.is_some());
            self.answered.1 += u64::from(answer == Some(truth));
        }
        for (is, count) in [
            (record.unknown_truth, &mut self.unknown_truth),
            (record.blank, &mut self.blank),
            (record.as_is, &mut self.as_is),
            (record.inverted, &mut self.inverted),
            (record.cropped, &mut self.cropped),
            (record.misnamed, &mut self.misnamed),
            (record.further_pages > 0, &mut self.with_further_pages),
        ] {
            *count += u64::from(is);
        }
        Ok(())
    }

    /// Gives the file of failures its final name.
    pub fn finish_errors(&mut self) -> anyhow::Result<()> {
        if let Some(errors) = self.errors.take() {
            let refused = WriteError::of(errors.get_ref().path());
            let file = errors.into_inner().map_err(|error| refused(error.into_error()))?;
            file.finish(Existing::Replace).map_err(refused)?;
        }
        Ok(())
    }

    /// Which label was taken for which class, if any was and classes are not called by numbers.
    pub fn labels_by_place(&self) -> Option<String> {
        let class_names = &self.columns.class_names;
        let by_place = self.labels && Numbered::of(class_names).is_by_place();
        by_place.then(|| legend(class_names, 0..class_names.len() as u32, LISTED)).flatten()
    }

    /// The first files that could not be read, and why.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        for line in &self.told {
            let _ = writeln!(text, "{line}");
        }
        if self.failed > self.told.len() as u64 {
            let more = thousands(self.failed - self.told.len() as u64);
            let _ = writeln!(text, "... and {more} more; --errors FILE lists all of them");
        }
        let kinds = [(self.failed - self.failed_rows, "file", "files"), (self.failed_rows, "row", "rows")];
        let met = kinds.into_iter().filter(|(number, ..)| *number > 0);
        let met: Vec<String> = met.map(|(number, one, many)| count(number, one, many)).collect();
        let _ = write!(text, "{} could not be read", met.join(" and "));
        let _ = match &self.breaks_off {
            Some((table, row)) if self.broken_off == 1 => {
                write!(text, ", nor anything after row {} of {table}", thousands(*row))
            }
            Some(_) => write!(text, ", nor anything after those at which {} tables break off", self.broken_off),
            None => Ok(()),
        };
        text
    }

    /// What could not be read first, and why, where there is no answer.
    pub fn without_answers(&self) -> Option<&str> {
        self.told.first().filter(|_| self.pictures == 0).map(String::as_str)
    }

    /// What a table made of one CSV file lacks: `1 of 30 rows`.
    pub fn lacking(&self) -> String {
        let of = |number: u64, all: u64| format!("{} of {} rows", thousands(number), thousands(all));
        match &self.breaks_off {
            Some((table, row)) => {
                let before = match self.failed_rows - 1 {
                    0 => String::new(),
                    number => format!("{}, and ", of(number, row - 1)),
                };
                format!("{before}everything from row {} on, where {table} breaks off", thousands(*row))
            }
            None => of(self.failed_rows, self.pictures + self.failed_rows),
        }
    }

    /// Which pictures are in formats that are not read, and what to do: `2 .heic files are not read: convert them to JPEG
    /// or PNG`.
    pub fn not_read(&self) -> Option<String> {
        let kinds: Vec<String> =
            self.not_read.iter().map(|(ending, n)| format!("{} .{ending}", thousands(*n))).collect();
        let (are, them) =
            if self.not_read.values().sum::<u64>() == 1 { ("file is", "it") } else { ("files are", "them") };
        (!kinds.is_empty()).then(|| format!("{} {are} not read: convert {them} to JPEG or PNG", kinds.join(", ")))
    }

    /// The table of classes, the accuracy where classes are known, what was done to the pictures, and how long it took;
    /// `earlier` files were done by an earlier run.
    pub fn text(&self, earlier: u64, took: Duration, device: &str) -> String {
        let mut text = if self.pictures > 0 { self.of_pictures() } else { String::new() };
        for (number, one, many) in [
            (
                self.unknown_truth,
                "row has a label that is not a class of the network",
                "rows have labels that are not classes of the network",
            ),
            (self.blank, "picture is blank, and so unsure", "pictures are blank, and so unsure"),
            (self.misnamed, "picture has the ending of another format", "pictures have the ending of another format"),
            (
                self.with_further_pages,
                "picture is the first page of several, and the others were not looked at",
                "pictures are the first page of several, and the others were not looked at",
            ),
            (
                self.other_files,
                "file was skipped, as its name is not that of a picture",
                "files were skipped, as their names are not those of pictures",
            ),
            (self.folder_links, "link to a folder was not followed", "links to folders were not followed"),
        ] {
            if number > 0 {
                let _ = writeln!(text, "{}", count(number, one, many));
            }
        }
        if let Some(not_read) = self.not_read() {
            let _ = writeln!(text, "{not_read}");
        }
        if self.pictures > 1 && self.blank == self.pictures {
            let _ = writeln!(text, "all of them are: if pixels are from 0 to 1, multiply them by 255, which is white");
        }
        let seconds = took.as_secs_f64();
        // The rate counts only what this run has done, or it would be too high.
        let now = (self.pictures + self.failed).saturating_sub(earlier);
        let rate = match self.pictures.min(now) {
            0 => String::new(),
            _ => format!(", {} a second", thousands((now as f64 / seconds.max(1e-9)) as u64)),
        };
        let all = count(self.pictures, "picture", "pictures");
        let here = if earlier > 0 { format!(", {} of them now", thousands(now)) } else { String::new() };
        let _ = write!(text, "{all}{here} in {seconds:.1} s{rate}, with {device}");
        text
    }

    /// The answers for pictures whose class is known, if there are any: they make the accuracy.
    pub fn of_known(&self) -> Option<&Confusion> {
        self.confusion.as_ref().filter(|confusion| confusion.total() > 0)
    }

    /// The table of classes, how many answers are right, and how pictures were brought to the network's size.
    fn of_pictures(&self) -> String {
        let mut text = self.table();
        if let Some(confusion) = self.of_known() {
            let _ = writeln!(text, "\n{}", confusion.fmt_accuracy());
            let of = confusion.total();
            if of < self.pictures {
                let _ = writeln!(
                    text,
                    "  of those whose class is known, {} of {}",
                    thousands(of),
                    thousands(self.pictures)
                );
            }
            let (answered, right) = self.answered;
            if answered < of && answered > 0 {
                let share = 100.0 * right as f64 / answered as f64;
                let unsure = count(of - answered, "unsure one", "unsure ones");
                let _ =
                    writeln!(text, "  without {unsure}: {share:.2} %, {} of {}", thousands(right), thousands(answered));
            }
            let _ = write!(text, "\n{}", confusion.fmt_matrix(&self.columns.class_names));
        }
        let (as_is, changed) = (thousands(self.as_is), thousands(self.pictures - self.as_is));
        let _ = match self.only_fitted {
            true => writeln!(text, "\ntaken as they are {as_is}, brought to the network's size {changed}"),
            false => writeln!(
                text,
                "\ntaken as they are {as_is}, prepared {changed} (inverted {}, cropped {})",
                thousands(self.inverted),
                thousands(self.cropped)
            ),
        };
        text
    }

    fn table(&self) -> String {
        let mut rows = vec![["class", "pictures", "mean confidence"].map(String::from)];
        let mut met: Vec<usize> = (0..self.classes.len()).filter(|class| self.classes[*class].0 > 0).collect();
        if met.len() > LINES {
            met.sort_by_key(|class| std::cmp::Reverse(self.classes[*class].0));
        }
        for class in met.iter().take(LINES) {
            let (number, sum) = self.classes[*class];
            let name = match *class == self.columns.class_names.len() {
                true => self.columns.unsure.clone(),
                false => visible(&class_name(&self.columns.class_names, *class)),
            };
            rows.push([name, thousands(number), format!("{:.2} %", 100.0 * sum / number as f64)]);
        }
        let mut text = aligned(&rows);
        if met.len() > LINES {
            let more = count((met.len() - LINES) as u64, "more class", "more classes");
            let _ = writeln!(text, "... and {more}");
        }
        text
    }
}

/// `1 file`, `1,234 files`.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::classify::record::Kept;

    #[test]
    fn the_row_at_which_a_table_breaks_off_is_written_as_all_numbers_are() {
        let breaks_off = Some(("a.csv".to_owned(), 12_345));
        let summary = Summary { failed: 1, failed_rows: 1, broken_off: 1, breaks_off, ..Summary::default() };
        let told = summary.failures();
        assert!(told.ends_with("1 row could not be read, nor anything after row 12,345 of a.csv"), "{told}");
        assert!(summary.lacking().contains("from row 12,345 on, where a.csv breaks off"));
    }

    #[test]
    fn the_share_without_unsure_answers_counts_none_of_them_though_it_be_right() {
        let columns = Columns::new(&["a", "b"].map(String::from), Some(0.5), Kept { top: 1, all: false });
        let mut summary = Summary::new(columns, false, None).unwrap();
        for (best, confidence, truth) in [(0, 0.9, 0), (0, 0.8, 1), (1, 0.7, 1), (1, 0.4, 1), (0, 0.3, 1)] {
            let (top, truth) = (vec![(best, confidence)], Some(truth));
            summary.add(&Record { top, truth, ..Record::default() }).unwrap();
        }
        let text = summary.text(0, Duration::from_secs(1), "CPU");
        assert!(text.contains("  without 2 unsure ones: 66.67 %, 2 of 3\n"), "{text}");
    }
}
