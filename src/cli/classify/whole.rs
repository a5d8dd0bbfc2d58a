//! Whether a table that is there whole is the one that a run with `--resume` is to make. It may have other pictures, or
//! another model's answers, and says itself neither what it was made of nor by what.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use super::Member;
use super::table::{Columns, Format, KAGGLE, harmless};
use crate::infer::evaluate::softmax;
use crate::pictures::source::{Source, Task};
use crate::pictures::stream::{BATCH, Work};
use crate::pictures::visible;

/// What is said where it cannot be known.
pub const NOT_COMPARED: &str = "with which pictures and by which model was not looked at";
const COMPARED: &str = "it has these pictures, and the first answers are this model's";

/// A probability may be so much another on another device.
const NEAR: f64 = 0.01;

/// Compares the pictures of a table with those of the source, in their order, and its first answers with the network's.
/// Gives what is to be said of it.
///
/// # Errors
/// Where it is another table: in what, and what to do.
pub fn compare(
    out: &Path,
    format: Format,
    columns: &Columns,
    source: Source,
    work: &Work,
    team: &mut [Member],
) -> anyhow::Result<&'static str> {
    let other = |how: String| {
        let out = out.display();
        anyhow!("{out} is there, and is another table: {how}. Name another place, or make it anew with --force")
    };
    let Some(mut rows) = rows(out, format, columns)? else { return Ok(NOT_COMPARED) };
    let mut next_row = || rows.next().transpose().map_err(|error| other(format!("{error:#}")));
    let mut row = next_row()?;
    let (mut first, mut images) = (Vec::new(), Vec::new());
    for task in source.tasks(Some(work.input)) {
        let Some(name) = name(&task, format) else { continue };
        match row.take_if(|row| row.name == name) {
            Some(found) => {
                row = next_row()?;
                let pixels = if first.len() < BATCH { seen(&task, work) } else { None };
                if let Some(pixels) = pixels {
                    first.push(found);
                    images.extend(pixels);
                }
            }
            // What cannot be read is not in the table.
            None if seen(&task, work).is_none() => {}
            None => {
                let name = visible(&name);
                return Err(other(match &row {
                    Some(row) => format!("it has {} where {name} would be", visible(&row.name)),
                    None => format!("it lacks {name}"),
                }));
            }
        }
    }
    if let Some(row) = row {
        return Err(other(format!("it has {}, which would not be in it", visible(&row.name))));
    }
    let Some((classifier, device)) = team.first_mut() else { bail!("no device") };
    let logits = if images.is_empty() { Vec::new() } else { classifier.logits(device.as_mut(), &images)? };
    let names = if format == Format::Kaggle { columns.numbers() } else { columns.class_names.clone() };
    for (row, logits) in first.iter().zip(logits.chunks_exact(names.len().max(1))) {
        let probabilities = softmax(logits);
        let all = names.iter().zip(&probabilities);
        let Some((best, p)) = all.max_by(|(_, p), (_, q)| p.total_cmp(q)) else { continue };
        let is_same = match row.confidence {
            Some(confidence) => (confidence - p).abs() < NEAR,
            // Of two that are as likely, another device may name the other.
            None => row.label == *best || *p < 0.5 + NEAR,
        };
        if !is_same {
            let name = visible(&row.name);
            let how = format!("its answer for {name} is not this model's, or was made with other flags");
            return Err(other(how));
        }
    }
    Ok(COMPARED)
}

/// What a table calls the picture of a task; `None` of what has no place in one.
fn name(task: &Task, format: Format) -> Option<String> {
    match task {
        Task::Row { row, .. } if format == Format::Kaggle => Some(row.to_string()),
        Task::File { name, .. } | Task::Row { name, .. } => Some(name.clone()),
        Task::Failed { .. } | Task::OtherFile | Task::FolderLink => None,
    }
}

/// What the network sees of it, where it can be read.
fn seen(task: &Task, work: &Work) -> Option<Vec<u8>> {
    match task {
        Task::File { place, .. } => Some(work.file(&place.path).ok()?.prepared.pixels),
        Task::Row { pixels, .. } => Some(work.row(pixels.clone()).ok()?.pixels),
        Task::Failed { .. } | Task::OtherFile | Task::FolderLink => None,
    }
}

/// What is compared of a table's row.
struct Row {
    name: String,
    label: String,
    /// Kaggle gets none.
    confidence: Option<f64>,
}

type Rows = Box<dyn Iterator<Item = anyhow::Result<Row>>>;

/// The rows of a table; `None` of a format that is not read here.
fn rows(path: &Path, format: Format, columns: &Columns) -> anyhow::Result<Option<Rows>> {
    let names: Vec<String> = match format {
        Format::Parquet => return Ok(None),
        Format::Kaggle => KAGGLE.map(String::from).into(),
        Format::Csv => columns.names().iter().map(|(name, _)| harmless(name).into_owned()).collect(),
        Format::Jsonl => columns.names().into_iter().map(|(name, _)| name).collect(),
    };
    let file = BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?);
    let rows: Rows = match format {
        Format::Jsonl => Box::new(file.lines().map(move |line| object(&line?, &names))),
        _ => Box::new(records(file, &names)),
    };
    Ok(Some(rows))
}

/// The rows of a CSV file, or that its columns are others.
fn records(file: BufReader<File>, names: &[String]) -> impl Iterator<Item = anyhow::Result<Row>> + use<> {
    let confidence = names.iter().position(|name| name == "confidence");
    let mut records = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(file).into_records();
    let is_header = |record: csv::StringRecord| record.iter().eq(names.iter().map(String::as_str));
    let has_header = records.next().and_then(Result::ok).is_some_and(is_header);
    let wrong = (!has_header).then(|| Err(anyhow!(OTHER_COLUMNS)));
    let rows = records.map(move |record| {
        let record = record?;
        let cell = |i: usize| record.get(i).unwrap_or_default().to_owned();
        let confidence = confidence.map(|i| cell(i).parse().unwrap_or(f64::NAN));
        anyhow::Ok(Row { name: cell(0), label: cell(1), confidence })
    });
    wrong.into_iter().chain(rows)
}

const OTHER_COLUMNS: &str = "its columns are not those of this command";

/// A line of JSON.
fn object(line: &str, names: &[String]) -> anyhow::Result<Row> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).map_err(|_| anyhow!(OTHER_COLUMNS))?;
    let has_all = object.len() == names.len() && names.iter().all(|name| object.contains_key(name));
    let text = |name: &str| object.get(name)?.as_str().map(String::from);
    match (has_all, text("path"), text("label"), object.get("confidence").and_then(|p| p.as_f64())) {
        (true, Some(name), Some(label), confidence @ Some(_)) => Ok(Row { name, label, confidence }),
        _ => Err(anyhow!(OTHER_COLUMNS)),
    }
}
