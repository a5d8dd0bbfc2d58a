//! Reads TOML tables so that every mistake is answered with its line, what was expected, and the nearest right word.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, ModelError};
use super::layer::Units;
use crate::ops::conv2d::Padding;
use crate::words::{nearest, quoted};

/// The largest size anything may have: elements of a tensor, units of a layer.
pub const MAX_SIZE: usize = 1 << 28;
/// The most letters in a name.
pub const MAX_NAME: usize = 64;

type Found<T> = Result<Option<T>, ModelError>;

/// A text and what to call it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// The line, counted from 1, in which a span starts.
    pub fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub fn error(&self, line: Option<usize>, part: Option<String>, problem: impl Into<String>) -> ModelError {
        ModelError::Architecture { at: At { file: self.file.into(), line, part }, problem: problem.into() }
    }

    pub fn parse(&self) -> Result<DeTable<'a>, ModelError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map(|span| self.line(span));
            self.error(line, None, format!("not TOML: {}", error.message().replace('\n', "; ")))
        })?;
        Ok(table.into_inner())
    }
}

/// The entries of one table. Keys that have been asked for are known; [`Fields::finish`] refuses the rest.
pub struct Fields<'a> {
    source: Source<'a>,
    part: Option<String>,
    /// The line of the table itself.
    pub line: usize,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn new(source: Source<'a>, part: Option<String>, line: usize, table: &'a DeTable<'a>) -> Fields<'a> {
        Fields { source, part, line, table, known: Vec::new() }
    }

    pub fn table(&self) -> &'a DeTable<'a> {
        self.table
    }

    /// A mistake in the table as a whole.
    pub fn error(&self, problem: impl Into<String>) -> ModelError {
        self.source.error(Some(self.line), self.part.clone(), problem)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue>, expected: &str) -> ModelError {
        let text = self.source.text.get(value.span());
        let found = match value.get_ref() {
            // It may span several lines.
            DeValue::Array(list) => match text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")) {
                Some(text) if text.starts_with('[') && text.chars().count() <= 40 => text,
                _ => format!("a list of {}", list.len()),
            },
            DeValue::Table(_) => "a table".to_string(),
            _ => text.and_then(|text| text.lines().next()).unwrap_or("something else").chars().take(40).collect(),
        };
        let line = self.source.line(value.span());
        self.source.error(Some(line), self.part.clone(), format!("`{key}` must be {expected}, not {found}"))
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn read<T>(&mut self, key: &'static str, expected: &str, read: impl Fn(&DeValue<'a>) -> Option<T>) -> Found<T> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value.get_ref()).map(Some).ok_or_else(|| self.wrong(key, value, expected))
    }

    /// A whole number from 1 on.
    pub fn size(&mut self, key: &'static str) -> Found<usize> {
        self.read(key, &format!("a whole number from 1 to {MAX_SIZE}"), size)
    }

    /// A whole number from 0 on.
    pub fn count(&mut self, key: &'static str) -> Found<usize> {
        self.read(key, &format!("a whole number from 0 to {MAX_SIZE}"), |v| whole(v, 0))
    }

    /// A number of units: a whole number from 1 on, or one of the words that stand for one.
    pub fn size_or_word(&mut self, key: &'static str, words: &[(&str, Units)]) -> Found<Units> {
        let word = |v: &DeValue| words.iter().find(|(word, _)| v.as_str() == Some(word)).map(|(_, units)| *units);
        // The message names the first word, which is the one that everybody needs.
        let expected = format!("a whole number from 1 to {MAX_SIZE}, or \"{}\"", words[0].0);
        self.read(key, &expected, |v| word(v).or_else(|| size(v).map(Units::Count)))
    }

    /// `padding`: a word, or how many zeros to add on each side.
    pub fn padding(&mut self) -> Found<Padding> {
        self.read("padding", "\"valid\", \"same\" or a whole number", |value| match value.as_str() {
            Some("valid") => Some(Padding::Valid),
            Some("same") => Some(Padding::Same),
            _ => whole(value, 0).map(Padding::Explicit),
        })
    }

    /// `3` or `[3, 2]`.
    pub fn pair(&mut self, key: &'static str) -> Found<[usize; 2]> {
        self.read(key, "a whole number from 1 on, or two of them: 3 or [3, 2]", |value| match value {
            DeValue::Array(list) => match list.iter().map(|v| size(v.get_ref())).collect::<Vec<_>>()[..] {
                [Some(a), Some(b)] => Some([a, b]),
                _ => None,
            },
            value => size(value).map(|a| [a, a]),
        })
    }

    /// A list of whole numbers from 1 on.
    pub fn sizes(&mut self, key: &'static str) -> Found<Vec<usize>> {
        self.read(key, "one to four whole numbers from 1 on: [7, 7, 16]", |value| {
            let list: Option<Vec<usize>> = value.as_array()?.iter().map(|v| size(v.get_ref())).collect();
            list.filter(|list| (1..=4).contains(&list.len()))
        })
    }

    /// A list of at least two names.
    pub fn names(&mut self, key: &'static str) -> Found<Vec<String>> {
        self.read(key, "the names of two or more layers above: [\"a\", \"b\"]", |value| {
            let name = |v: &Spanned<DeValue>| v.get_ref().as_str().map(String::from);
            let list: Option<Vec<String>> = value.as_array()?.iter().map(name).collect();
            list.filter(|list| list.len() >= 2)
        })
    }

    /// A number for which `fits` holds; `expected` says so in words.
    pub fn number(&mut self, key: &'static str, expected: &str, fits: impl Fn(f32) -> bool) -> Found<f32> {
        self.read(key, expected, |value| {
            let number = match value {
                DeValue::Float(float) => float.as_str().parse::<f32>().ok()?,
                // Of any size: what this program writes has a point only where there is a fraction.
                DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse::<f32>().ok()?,
                DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f32,
                _ => return None,
            };
            (number.is_finite() && fits(number)).then_some(number)
        })
    }

    pub fn flag(&mut self, key: &'static str) -> Found<bool> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    pub fn text(&mut self, key: &'static str) -> Found<String> {
        self.read(key, "a text in quotes", |v| v.as_str().map(String::from))
    }

    /// A short name: letters, digits, `_` and `-`.
    pub fn name(&mut self, key: &'static str) -> Found<String> {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        self.read(key, &format!("a name of 1 to {MAX_NAME} letters, digits, _ or -, in quotes"), |value| {
            let name = value.as_str()?;
            (1..=MAX_NAME).contains(&name.len()).then_some(())?;
            name.chars().all(letter).then(|| name.to_string())
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Found<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let Some(value) = self.get(key) else { return Ok(None) };
        let chosen = value.get_ref().as_str().map(|word| (word, choices.iter().find(|(name, _)| *name == word)));
        match chosen {
            Some((_, Some((_, choice)))) => Ok(Some(*choice)),
            Some((word, None)) => {
                let expected = format!("one of {}", quoted(&words));
                let hint = nearest(word, &words).map_or(String::new(), |w| format!("; did you mean \"{w}\"?"));
                Err(self.wrong(key, value, &expected).and(hint))
            }
            None => Err(self.wrong(key, value, &format!("one of {}", quoted(&words)))),
        }
    }

    /// A table within this one.
    pub fn table_of(&mut self, key: &'static str) -> Found<Fields<'a>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => {
                let part = self.part.as_ref().map_or(key.into(), |part| format!("{part}, {key}"));
                Ok(Some(Fields::new(self.source, Some(part), self.source.line(value.span()), table)))
            }
            _ => Err(self.wrong(key, value, "a table, like { rotate = 10, shift = 0.1 }")),
        }
    }

    /// Keys that are read elsewhere.
    pub fn known(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// The table's keys, in the order of the text.
    pub fn keys(&self) -> Vec<&'a str> {
        let mut keys: Vec<_> = self.table.keys().map(|key| (key.span().start, key.get_ref().as_ref())).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Refuses the first key that nothing asked for.
    pub fn finish(&self) -> Result<(), ModelError> {
        let mut known = self.known.clone();
        known.sort_unstable();
        known.dedup();
        let unknown = self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let word = key.get_ref();
        let remedy = match nearest(word, &known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("there are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
        };
        let line = self.source.line(key.span());
        Err(self.source.error(Some(line), self.part.clone(), format!("`{word}` is not known here; {remedy}")))
    }
}

impl ModelError {
    /// The same error, with `more` at the end of its message.
    fn and(self, more: String) -> ModelError {
        match self {
            ModelError::Architecture { at, problem } => ModelError::Architecture { at, problem: problem + &more },
            other => other,
        }
    }
}

fn whole(value: &DeValue, least: usize) -> Option<usize> {
    let integer = value.as_integer()?;
    let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (least..=MAX_SIZE).contains(&number).then_some(number)
}

fn size(value: &DeValue) -> Option<usize> {
    whole(value, 1)
}
