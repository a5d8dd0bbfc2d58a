//! Answers as CSV, JSON lines, Parquet, or in Kaggle's format: the first three have the same columns.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::record::{Kept, Record};
use crate::data::UNSURE;
use crate::pictures::visible;

/// The format of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    Csv,
    Jsonl,
    Parquet,
    Kaggle,
}

/// The columns of Kaggle's format.
pub const KAGGLE: [&str; 2] = ["ImageId", "Label"];

/// The columns, and how a record fills them.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub class_names: Vec<String>,
    /// The word for pictures without an answer, which no class is called by.
    pub unsure: String,
    /// Below this probability a picture has no answer.
    pub threshold: Option<f64>,
    pub kept: Kept,
}

#[derive(Clone, PartialEq, Debug)]
enum Cell<'a> {
    Text(Option<Cow<'a, str>>),
    Number(f64),
}

impl<'a> Cell<'a> {
    fn text(text: Option<&'a str>) -> Cell<'a> {
        Cell::Text(text.map(Cow::Borrowed))
    }
}

impl Columns {
    pub fn new(class_names: &[String], threshold: Option<f64>, kept: Kept) -> Columns {
        Columns { class_names: class_names.into(), unsure: unsure(class_names), threshold, kept }
    }

    /// The names of the columns, and whether each holds text.
    pub fn names(&self) -> Vec<(String, bool)> {
        let mut names = vec![("path".to_owned(), true), ("label".to_owned(), true)];
        if self.threshold.is_some() {
            names.push(("best".into(), true));
        }
        names.push(("confidence".into(), false));
        for place in 2..=self.kept.top {
            let (label, confidence) = match place {
                2 => ("runner_up".into(), "runner_up_confidence".into()),
                _ => (format!("label_{place}"), format!("confidence_{place}")),
            };
            names.extend([(label, true), (confidence, false)]);
        }
        names.extend([("truth".into(), true), ("note".into(), true)]);
        if self.kept.all {
            names.extend(self.class_names.iter().map(|name| (format!("p_{name}"), false)));
        }
        names
    }

    fn name(&self, class: usize) -> Option<&str> {
        self.class_names.get(class).map(String::as_str)
    }

    /// What Kaggle, which wants numbers, gets for each class: the names if they are all numbers, else their positions.
    fn numbers(&self) -> Vec<String> {
        // Whoever reads a number takes +1 for 1.
        match self.class_names.iter().all(|name| !name.starts_with('+') && name.parse::<i64>().is_ok()) {
            true => self.class_names.clone(),
            false => (0..self.class_names.len()).map(|class| class.to_string()).collect(),
        }
    }

    /// Which number stands for which class in Kaggle's format, if it is not the class's name.
    pub fn numbering(&self) -> Option<String> {
        let numbers = self.numbers();
        let named =
            numbers.iter().zip(&self.class_names).map(|(number, name)| format!("{number} is {}", visible(name)));
        (numbers != self.class_names).then(|| named.collect::<Vec<_>>().join(", "))
    }

    /// The label that a record gets.
    pub fn label(&self, record: &Record) -> &str {
        record.answer(self.threshold.unwrap_or(0.0)).and_then(|class| self.name(class)).unwrap_or(&self.unsure)
    }

    fn cells<'a>(&'a self, record: &'a Record) -> Vec<Cell<'a>> {
        let mut cells = vec![Cell::text(Some(&record.path)), Cell::text(Some(self.label(record)))];
        for (place, (class, confidence)) in record.top.iter().enumerate() {
            if place > 0 || self.threshold.is_some() {
                cells.push(Cell::text(self.name(*class)));
            }
            cells.push(Cell::Number(*confidence));
        }
        let truth = record.truth.and_then(|class| self.name(class));
        cells.extend([Cell::text(truth), Cell::Text(record.note().map(Cow::Owned))]);
        cells.extend(record.all.iter().map(|p| Cell::Number(*p)));
        cells
    }
}

/// `unsure`, or with the first number that makes it a word of its own: case does not count in the names of folders.
pub fn unsure(class_names: &[String]) -> String {
    let taken: HashSet<String> = class_names.iter().map(|name| name.to_lowercase()).collect();
    let (mut word, mut number) = (UNSURE.to_owned(), 1);
    while taken.contains(&word) {
        number += 1;
        word = format!("{UNSURE}-{number}");
    }
    word
}

/// A table that is being written.
pub enum Table<W: Write + Send> {
    Csv(Columns, Box<csv::Writer<W>>),
    /// With the number of each class.
    Kaggle(Vec<String>, Box<csv::Writer<W>>),
    Lines(Columns, W),
    Parquet(Columns, Box<Parquet<W>>),
}

impl<W: Write + Send> Table<W> {
    /// Writes what comes before the first row.
    pub fn start(format: Format, columns: Columns, out: W) -> io::Result<Table<W>> {
        Ok(match format {
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(columns.names().iter().map(|(name, _)| harmless(name).into_owned()))?;
                Table::Csv(columns, Box::new(csv))
            }
            Format::Kaggle => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(KAGGLE)?;
                Table::Kaggle(columns.numbers(), Box::new(csv))
            }
            Format::Jsonl => Table::Lines(columns, out),
            Format::Parquet => {
                let parquet = Parquet::start(&columns.names(), out).map_err(io::Error::other)?;
                Table::Parquet(columns, Box::new(parquet))
            }
        })
    }

    /// Writes the next row; a record without an answer has none.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let Some((best, _)) = record.best() else { return Ok(()) };
        match self {
            Table::Csv(columns, csv) => {
                for cell in columns.cells(record) {
                    match cell {
                        Cell::Text(text) => csv.write_field(harmless(&text.unwrap_or_default()).as_ref())?,
                        Cell::Number(number) => csv.write_field(format!("{number:.6}"))?,
                    }
                }
                csv.write_record(None::<&[u8]>)?;
            }
            Table::Kaggle(numbers, csv) => {
                let number = numbers.get(best).map_or("", String::as_str);
                csv.write_record([record.row.unwrap_or(0).to_string().as_str(), number])?;
            }
            Table::Lines(columns, out) => {
                let mut line = String::from("{");
                for ((name, _), cell) in columns.names().iter().zip(columns.cells(record)) {
                    let value = match cell {
                        Cell::Text(text) => serde_json::Value::from(text).to_string(),
                        Cell::Number(number) => format!("{number:.6}"),
                    };
                    let comma = if line.len() > 1 { "," } else { "" };
                    line += &format!("{comma}{}:{value}", serde_json::Value::from(name.as_str()));
                }
                writeln!(out, "{line}}}")?;
            }
            Table::Parquet(columns, parquet) => parquet.push(&columns.cells(record)).map_err(io::Error::other)?,
        }
        Ok(())
    }

    /// Flushes the rows so far to the output, as far as the format allows.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Table::Csv(_, csv) | Table::Kaggle(_, csv) => csv.flush(),
            Table::Lines(_, out) => out.flush(),
            Table::Parquet(..) => Ok(()),
        }
    }

    /// Writes what comes after the last row.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Table::Csv(_, csv) | Table::Kaggle(_, csv) => csv.into_inner().map_err(|error| error.into_error()),
            Table::Lines(_, out) => Ok(out),
            Table::Parquet(_, parquet) => parquet.finish().map_err(io::Error::other),
        }
    }
}

/// A spreadsheet runs text that begins like a formula; a leading quote prevents that. Paths never begin like that, and
/// numbers are not formulas.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

/// Rows that are collected before they are written as a group.
const GROUP: usize = 65_536;

/// Rows as columns, a group of them at a time.
pub struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
}

enum Column {
    Text { values: Vec<ByteArray>, present: Vec<i16> },
    Numbers(Vec<f64>),
}

impl<W: Write + Send> Parquet<W> {
    fn start(names: &[(String, bool)], out: W) -> Result<Parquet<W>, ParquetError> {
        let fields = names.iter().map(|(name, is_text)| {
            let (physical, logical, repetition) = match is_text {
                true => (Physical::BYTE_ARRAY, ConvertedType::UTF8, Repetition::OPTIONAL),
                false => (Physical::DOUBLE, ConvertedType::NONE, Repetition::REQUIRED),
            };
            let field = Type::primitive_type_builder(name, physical);
            field.with_converted_type(logical).with_repetition(repetition).build().map(Arc::new)
        });
        let schema = Type::group_type_builder("pictures").with_fields(fields.collect::<Result<_, _>>()?).build()?;
        let properties =
            WriterProperties::builder().set_created_by(concat!("inkgrad ", env!("CARGO_PKG_VERSION")).into());
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties.build()))?;
        let columns = names.iter().map(|(_, is_text)| match is_text {
            true => Column::Text { values: Vec::new(), present: Vec::new() },
            false => Column::Numbers(Vec::new()),
        });
        Ok(Parquet { file, columns: columns.collect(), rows: 0 })
    }

    fn push(&mut self, cells: &[Cell]) -> Result<(), ParquetError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            match (column, cell) {
                (Column::Text { values, present }, Cell::Text(text)) => {
                    values.extend(text.as_deref().map(ByteArray::from));
                    present.push(i16::from(text.is_some()));
                }
                (Column::Numbers(values), Cell::Number(number)) => values.push(*number),
                _ => {
                    return Err(ParquetError::General(
                        "a column of text has got a number, or the other way round".into(),
                    ));
                }
            }
        }
        self.rows += 1;
        if self.rows == GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            match column {
                Column::Text { values, present } => {
                    writer.typed::<ByteArrayType>().write_batch(values, Some(present), None)?;
                    values.clear();
                    present.clear();
                }
                Column::Numbers(values) => {
                    writer.typed::<DoubleType>().write_batch(values, None, None)?;
                    values.clear();
                }
            }
            writer.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<W, ParquetError> {
        if self.rows > 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
