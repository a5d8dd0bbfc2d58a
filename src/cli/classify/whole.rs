//! Whether a complete table is the one that a run with `--resume` is to make. It may hold other pictures, or another
//! model's answers, and does not record what it was made from, or by which model.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};

use super::Member;
use super::record::{Kept, Record};
use super::table::{Columns, Format, KAGGLE, Table, harmless};
use crate::cli::outputs::{OVERWRITE, already_there};
use crate::pictures::source::{Source, Task};
use crate::pictures::stream::{BATCH, Item, Work};
use crate::pictures::visible;

/// What is known of a complete table.
pub struct Whole {
    /// The message for the user.
    pub found: &'static str,
    /// What of the source cannot be read, and so is not in the table.
    pub unreadable: u64,
    /// Whether it is known to have no rows.
    pub is_empty: bool,
}

/// A table of which it is not known.
pub const NOT_COMPARED: Whole =
    Whole { found: "its pictures and its model were not checked", unreadable: 0, is_empty: false };
const COMPARED: &str = "it has these pictures, and its first answers are this model's";

/// Why a table may lack a picture.
const SINCE: &str = "which may have been added or mended since";

/// How much a probability may differ on another device.
const NEAR: f64 = 0.01;

/// Compares the pictures of a table with those of the source, in their order, and its first answers with the network's.
///
/// # Errors
/// If it is another table: how it differs, and what to do.
pub fn compare(
    out: &Path,
    format: Format,
    columns: &Columns,
    source: Source,
    work: &Work,
    team: &mut [Member],
) -> anyhow::Result<Whole> {
    let other = |how: String| already_there(out, &format!(", and is a different table: {how}"), OVERWRITE);
    let table = File::open(out).with_context(|| format!("cannot read {}", out.display()))?;
    let Some(mut rows) = rows(table, format, columns) else { return Ok(NOT_COMPARED) };
    let mut next_row = || rows.next().transpose().map_err(|error| other(format!("{error:#}")));
    let mut row = next_row()?;
    let is_empty = row.is_none();
    // The run that made the table has already shown what the network sees.
    let work = Work { show: None, ..work.clone() };
    let item = |task| work.item(task).map_err(anyhow::Error::msg);
    let (mut first, mut images, mut unreadable) = (Vec::new(), Vec::new(), 0);
    for task in source.tasks(Some(work.input)) {
        let Some(name) = name(&task, format) else {
            unreadable += u64::from(matches!(task, Task::Failed { .. }));
            continue;
        };
        match row.take_if(|row| row.name == name) {
            Some(found) => {
                row = next_row()?;
                if first.len() < BATCH {
                    let item = item(task)?;
                    if let Ok(prepared) = &item.prepared {
                        images.extend_from_slice(&prepared.pixels);
                        first.push((found, item));
                    }
                }
            }
            None => {
                // Pictures that cannot be read are not in the table.
                if item(task)?.prepared.is_err() {
                    unreadable += 1;
                    continue;
                }
                let name = visible(&name);
                return Err(other(match &row {
                    Some(row) => format!("it has {} where {name} should be, {SINCE}", visible(&row.name)),
                    None => format!("it lacks {name}, {SINCE}"),
                }));
            }
        }
    }
    if let Some(row) = row {
        return Err(other(format!("it has {}, which does not belong there", visible(&row.name))));
    }
    let Some((classifier, device)) = team.first_mut() else { bail!("no device") };
    let logits = if images.is_empty() { Vec::new() } else { classifier.logits(device.as_mut(), &images)? };
    for ((row, item), logits) in first.iter().zip(logits.chunks_exact(columns.class_names.len().max(1))) {
        if !is_same(row, item, logits, format, columns)? {
            let name = visible(&row.name);
            let how = format!("its answer for {name} is not this model's, or was made with other flags");
            return Err(other(how));
        }
    }
    Ok(Whole { found: COMPARED, unreadable, is_empty })
}

/// The name of a task's picture in a table; `None` for tasks that have no place in one.
fn name(task: &Task, format: Format) -> Option<String> {
    match task {
        Task::Row { row, .. } if format == Format::Kaggle => Some(row.to_string()),
        Task::File { name, .. } | Task::Row { name, .. } => Some(name.clone()),
        Task::Failed { .. } | Task::NotRead(_) | Task::OtherFile | Task::FolderLink => None,
    }
}

/// Whether a row is the one that a run would write for a picture, as far as devices agree.
fn is_same(row: &Row, item: &Item, logits: &[f32], format: Format, columns: &Columns) -> anyhow::Result<bool> {
    let mut record = Record::new(item, Some(logits), Kept { top: usize::MAX, ..columns.kept });
    let ranked: Vec<f64> = record.top.iter().map(|(_, p)| *p).collect();
    record.top.truncate(columns.kept.top);
    let Some(wanted) = written(&record, format, columns)? else { return Ok(false) };
    let is_near = |p: f64, q: f64| (p - q).abs() < NEAR;
    // Of two equally likely classes, another device may name the other.
    let in_doubt = |place: usize| {
        let others = ranked.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, q)| *q);
        let mut others = others.chain(columns.threshold);
        place < columns.kept.top && ranked.get(place).is_some_and(|p| others.any(|q| is_near(*p, q)))
    };
    let number = |cell: &String| cell.parse().unwrap_or(f64::NAN);
    // Each of the likeliest classes stands before its probability.
    let mut place = 0;
    let cells = row.cells.iter().zip(&wanted.cells);
    for ((_, is_text), (cell, expected)) in columns.names().iter().skip(1).zip(cells) {
        let agrees = match is_text {
            true => cell == expected || in_doubt(place),
            false => is_near(number(cell), number(expected)),
        };
        if !agrees {
            return Ok(false);
        }
        place += usize::from(!is_text);
    }
    Ok(row.cells.len() == wanted.cells.len())
}

/// The row that a run would write for a record; `None` for one without an answer.
fn written(record: &Record, format: Format, columns: &Columns) -> anyhow::Result<Option<Row>> {
    let mut table = Table::start(format, columns.clone(), Vec::<u8>::new())?;
    table.push(record)?;
    let table = Cursor::new(table.finish()?);
    rows(table, format, columns).and_then(|mut rows| rows.next()).transpose()
}

/// A table's row.
struct Row {
    name: String,
    /// The cells after the name, in the order of the columns.
    cells: Vec<String>,
}

impl Row {
    fn of(mut cells: impl Iterator<Item = String>) -> Row {
        Row { name: cells.next().unwrap_or_default(), cells: cells.collect() }
    }
}

type Rows = Box<dyn Iterator<Item = anyhow::Result<Row>>>;

/// The rows of a table; `None` for a format that is not read here.
fn rows(table: impl Read + 'static, format: Format, columns: &Columns) -> Option<Rows> {
    let names: Vec<String> = match format {
        Format::Parquet => return None,
        Format::Kaggle => KAGGLE.map(String::from).into(),
        Format::Csv => columns.names().iter().map(|(name, _)| harmless(name).into_owned()).collect(),
        Format::Jsonl => columns.names().into_iter().map(|(name, _)| name).collect(),
    };
    let table = BufReader::new(table);
    let rows: Rows = match format {
        Format::Jsonl => Box::new(table.lines().map(move |line| object(&line?, &names))),
        _ => Box::new(records(table, &names)),
    };
    Some(rows)
}

/// The rows of a CSV file, or an error if its columns are others.
fn records<R: Read>(table: R, names: &[String]) -> impl Iterator<Item = anyhow::Result<Row>> + use<R> {
    let mut records = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(table).into_records();
    let is_header = |record: csv::StringRecord| record.iter().eq(names.iter().map(String::as_str));
    let has_header = records.next().and_then(Result::ok).is_some_and(is_header);
    let wrong = (!has_header).then(|| Err(anyhow!(OTHER_COLUMNS)));
    let rows = records.map(|record| anyhow::Ok(Row::of(record?.iter().map(String::from))));
    wrong.into_iter().chain(rows)
}

const OTHER_COLUMNS: &str = "its columns are not the ones that this command writes";

/// The row of a line of JSON.
fn object(line: &str, names: &[String]) -> anyhow::Result<Row> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).map_err(|_| anyhow!(OTHER_COLUMNS))?;
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    let cells: Option<Vec<String>> = names.iter().map(|name| object.get(name).map(text)).collect();
    ensure!(object.len() == names.len(), OTHER_COLUMNS);
    Ok(Row::of(cells.context(OTHER_COLUMNS)?.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::Prepared;

    /// Whether the row written for one answer passes for that of another, each with its threshold.
    fn agree(format: Format, was: ([f32; 2], f64), is: ([f32; 2], f64), blank: bool) -> bool {
        let prepared = Ok(Prepared { pixels: Vec::new(), as_is: true, inverted: false, cropped: false, blank });
        let (name, misnamed, further_pages) = ("a.csv#1".into(), false, 0);
        let item = Item { name, path: None, row: Some(1), truth: None, misnamed, further_pages, prepared };
        let columns = |threshold| {
            let threshold = (format != Format::Kaggle).then_some(threshold);
            Columns::new(&["=3", "8"].map(String::from), threshold, Kept { top: 1, all: false })
        };
        let before = columns(was.1);
        let row = written(&Record::new(&item, Some(&was.0), before.kept), format, &before).unwrap().unwrap();
        is_same(&row, &item, &is.0, format, &columns(is.1)).unwrap()
    }

    #[test]
    fn another_label_is_another_answer_unless_devices_may_differ_about_it() {
        for format in [Format::Csv, Format::Jsonl, Format::Kaggle] {
            let agree = |was, is| agree(format, (was, 0.0), (is, 0.0), false);
            assert!(agree([30.0, 0.0], [30.0, 0.0]), "{format:?}");
            assert!(agree([0.01, 0.0], [0.0, 0.01]), "{format:?}");
            // As sure, but of another class.
            assert!(!agree([30.0, 0.0], [0.0, 30.0]), "{format:?}");
        }
    }

    #[test]
    fn the_threshold_decides_labels_and_blank_pictures_are_unsure_whatever_it_is() {
        for format in [Format::Csv, Format::Jsonl] {
            // 0.88.
            assert!(!agree(format, ([2.0, 0.0], 0.5), ([2.0, 0.0], 0.95), false), "{format:?}");
            assert!(agree(format, ([2.0, 0.0], 0.5), ([2.0, 0.0], 0.95), true), "{format:?}");
            // 0.8993 and 0.9002.
            assert!(agree(format, ([2.19, 0.0], 0.9), ([2.2, 0.0], 0.9), false), "{format:?}");
        }
    }
}
