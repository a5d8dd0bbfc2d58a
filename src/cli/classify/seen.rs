//! Whether a picture is still the one that was classified. A stopped run's answers are kept under the pictures' names,
//! and must not pass for those of other pictures that have these names now.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::pictures::source::{Source, hash, is_csv, table_of};
use crate::pictures::stream::{Item, Work};
use crate::pictures::{Prepared, text_path, visible};

/// Stamp of what is no file: nothing is there, or a pipe or a folder, which is not read again.
const NO_FILE: u32 = 0;
/// Stamp of a file that has changed since the run began, perhaps after it was read. It is compared by its digest.
const UNSETTLED: u32 = 1;
/// Digest of what cannot be read.
const UNREADABLE: u32 = 0;

/// What tells a picture from another one of the same name. Short, as a journal may hold millions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Of the file's length and time, which are known without reading it.
    stamp: u32,
    /// Of what the network saw, which stays the same in a copy of the file; with the label of a table's row.
    digest: u32,
}

impl Seen {
    /// Those of a batch's pictures, for a run that began at `began`.
    pub fn all(items: &[Item], began: SystemTime) -> Vec<Seen> {
        let seen = |item: &Item| Seen {
            stamp: stamp(&file_of(&item.name, item.row), began),
            digest: digest(item.prepared.as_ref().ok(), item.truth.filter(|_| item.row.is_some())),
        };
        items.par_iter().map(seen).collect()
    }
}

/// The file that holds a picture: its own, or the table of its row.
fn file_of(name: &str, row: Option<u64>) -> PathBuf {
    row.and_then(|row| table_of(name, row)).unwrap_or_else(|| text_path(name))
}

fn stamp(file: &Path, began: SystemTime) -> u32 {
    let Ok(about) = file.metadata() else { return NO_FILE };
    if !about.is_file() {
        return NO_FILE;
    }
    let Some(changed) = about.modified().ok().filter(|changed| *changed < began) else { return UNSETTLED };
    let since = match changed.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    let bytes = [about.len().to_le_bytes().as_slice(), &since.to_le_bytes()].concat();
    short(hash(&bytes)).max(UNSETTLED + 1)
}

fn digest(prepared: Option<&Prepared>, label: Option<usize>) -> u32 {
    let Some(prepared) = prepared else { return UNREADABLE };
    let label = label.map_or(0, |label| label as u64 + 1);
    let bytes = [hash(&prepared.pixels), label].map(u64::to_le_bytes).concat();
    short(hash(&bytes)).max(UNREADABLE + 1)
}

fn short(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// How a record's picture compares with what is there now.
enum Now {
    Same,
    Gone,
    Changed,
    /// Its table has another stamp, and is to be read again.
    InTable(PathBuf, u32),
}

/// Compares the records of a stopped run with the pictures that are there now.
pub struct Check {
    work: Work,
    class_names: Vec<String>,
    /// Whether pictures that have an answer have been moved away.
    moves: bool,
    now: SystemTime,
    /// The digest of each row that is to be compared, by the hash of its name; for each table.
    tables: BTreeMap<PathBuf, HashMap<u64, u32>>,
}

impl Check {
    pub fn new(work: &Work, class_names: &[String], moves: bool) -> Check {
        // The stopped run has already shown what the network sees.
        let work = Work { show: None, ..work.clone() };
        Check { work, class_names: class_names.into(), moves, now: SystemTime::now(), tables: BTreeMap::new() }
    }

    /// Compares the files of some records. Rows of a table that may have changed are left to [`Check::finish`].
    ///
    /// # Errors
    /// If a picture is no longer there, or has changed: which, and what to do.
    pub fn files(&mut self, records: &[Record]) -> anyhow::Result<()> {
        let compared: Vec<Now> = records.par_iter().map(|record| self.compared(record)).collect();
        for (record, now) in records.iter().zip(compared) {
            match now {
                Now::Same => {}
                Now::Gone => return Err(gone(&record.path)),
                Now::Changed => return Err(changed(&record.path)),
                Now::InTable(table, digest) => {
                    self.tables.entry(table).or_default().insert(hash(record.path.as_bytes()), digest);
                }
            }
        }
        Ok(())
    }

    /// Reads the tables that may have changed, and compares their rows.
    ///
    /// # Errors
    /// As for [`Check::files`].
    pub fn finish(self) -> anyhow::Result<()> {
        for (table, mut rows) in self.tables {
            let (given, class_names) = (vec![table.clone()], self.class_names.clone());
            let source = Source { given, class_names, ..Source::default() };
            for task in source.tasks(Some(self.work.input)) {
                let Some(name) = task.name().map(str::to_owned) else { continue };
                let Some(kept) = rows.remove(&hash(name.as_bytes())) else { continue };
                let item = self.work.item(task).map_err(anyhow::Error::msg)?;
                ensure!(digest(item.prepared.as_ref().ok(), item.truth) == kept, changed(&name));
            }
            ensure!(rows.is_empty(), changed(&table.to_string_lossy()));
        }
        Ok(())
    }

    fn compared(&self, record: &Record) -> Now {
        // Journals of older versions say nothing about it.
        let Some(kept) = record.seen else { return Now::Same };
        let file = file_of(&record.path, record.row);
        match stamp(&file, self.now) {
            NO_FILE if kept.stamp == NO_FILE || self.moves && record.best().is_some() => Now::Same,
            NO_FILE => Now::Gone,
            stamp if stamp == kept.stamp && stamp != UNSETTLED => Now::Same,
            _ if is_csv(&file) => Now::InTable(file, kept.digest),
            _ => {
                let seen = self.work.file(&file).ok();
                let is_same = digest(seen.as_ref().map(|seen| &seen.prepared), None) == kept.digest;
                if is_same { Now::Same } else { Now::Changed }
            }
        }
    }
}

fn gone(name: &str) -> anyhow::Error {
    let name = visible(name);
    anyhow!("{name} has been classified and is no longer there. Put it back, or start over with --force")
}

fn changed(name: &str) -> anyhow::Error {
    let name = visible(name);
    anyhow!("{name} has changed since it was classified. Put it back as it was, or start over with --force")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use image::{GrayImage, Luma};

    use super::*;
    use crate::cli::classify::record::Kept;
    use crate::pictures::Preparation;
    use crate::pictures::prepare::Mode;

    fn work() -> Work {
        let preparation = Preparation { mode: Mode::Never, ..Preparation::default() };
        Work { input: [4, 4, 1], preparation, show: None }
    }

    fn draw(path: &Path, grey: u8) {
        GrayImage::from_fn(4, 4, |x, y| Luma([if (x, y) == (1, 2) { grey } else { 0 }])).save(path).unwrap();
    }

    /// The records of everything that is given, by a run that began so many seconds from now.
    fn records(given: &[PathBuf], began: i64) -> Vec<Record> {
        let source = Source { given: given.into(), ..Source::default() };
        let items: Vec<Item> = source.tasks(Some([4, 4, 1])).map(|task| work().item(task).unwrap()).collect();
        let now = SystemTime::now();
        let by = Duration::from_secs(began.unsigned_abs());
        let seen = Seen::all(&items, if began < 0 { now - by } else { now + by });
        let record = |item| Record::new(item, Some(&[1.0]), Kept { top: 1, all: false });
        items.iter().zip(seen).map(|(item, seen)| Record { seen: Some(seen), ..record(item) }).collect()
    }

    /// What the check says, in a while.
    fn said(records: &[Record], moves: bool) -> String {
        let mut check = Check::new(&work(), &[], moves);
        check.now += Duration::from_secs(3600);
        let checked = check.files(records).and_then(|()| check.finish());
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    fn touch(path: &Path) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    }

    #[test]
    fn a_picture_is_the_same_if_its_file_was_copied_but_not_if_it_shows_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        for began in [3600, -3600] {
            draw(&path, 200);
            let kept = records(std::slice::from_ref(&path), began);
            assert_eq!(said(&kept, false), "");
            touch(&path);
            assert_eq!(said(&kept, false), "", "only its time has changed");
            draw(&path, 201);
            touch(&path);
            assert!(said(&kept, true).contains("a.bmp has changed since it was classified"));
            let unknown: Vec<Record> = kept.iter().map(|record| Record { seen: None, ..record.clone() }).collect();
            assert_eq!(said(&unknown, false), "", "an older version's journal");
        }
    }

    #[test]
    fn a_file_that_changed_while_the_run_went_on_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        draw(&path, 200);
        // What is read is replaced before its time is looked at.
        let source = Source { given: vec![path.clone()], ..Source::default() };
        let items: Vec<Item> = source.tasks(None).map(|task| work().item(task).unwrap()).collect();
        draw(&path, 90);
        let seen = Seen::all(&items, SystemTime::now() - Duration::from_secs(3600));
        let record = Record { path: items[0].name.clone(), seen: Some(seen[0]), ..Record::default() };
        assert!(said(&[record], false).contains("has changed"));
    }

    #[test]
    fn a_picture_that_is_gone_is_missed_unless_the_run_has_moved_it() {
        let folder = tempfile::tempdir().unwrap();
        let [picture, text] = ["a.png", "text.png"].map(|name| folder.path().join(name));
        draw(&picture, 200);
        std::fs::write(&text, "no picture").unwrap();
        let kept = records(&[picture.clone(), text.clone(), folder.path().join("none.png")], 3600);
        assert_eq!(said(&kept, false), "");
        std::fs::remove_file(&picture).unwrap();
        assert!(said(&kept, false).contains("a.png has been classified and is no longer there"));
        assert_eq!(said(&kept, true), "");
        // What cannot be read is not moved.
        std::fs::remove_file(&text).unwrap();
        assert!(said(&kept, true).contains("text.png has been classified and is no longer there"));
    }

    #[test]
    fn rows_are_compared_by_their_pixels_and_labels_where_their_table_has_another_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let row = |label: u32, grey: u32| format!("{label},{grey}{}\n", ",0".repeat(15));
        let write = |rows: &[String]| std::fs::write(&path, rows.concat()).unwrap();
        let rows = [row(3, 200), "wrong\n".to_owned(), row(4, 90)];
        write(&rows);
        touch(&path);
        let kept = records(std::slice::from_ref(&path), 3600);
        assert_eq!(kept.len(), 3);
        write(&rows);
        assert_eq!(said(&kept, false), "", "the same rows");
        write(&[rows.as_slice(), &[row(5, 7)]].concat());
        assert_eq!(said(&kept, false), "", "a further row is still to be classified");
        for (place, other) in [(0, row(3, 201)), (0, row(5, 200)), (1, row(3, 7)), (2, "wrong\n".into())] {
            let mut rows = rows.clone();
            rows[place] = other;
            write(&rows);
            let said = said(&kept, false);
            assert!(said.contains(&format!("a.csv#{} has changed", place + 1)), "{said}");
        }
        write(&rows[..2]);
        assert!(said(&kept, false).contains("a.csv has changed"));
        std::fs::remove_file(&path).unwrap();
        assert!(said(&kept, false).contains("a.csv#1 has been classified and is no longer there"));
    }
}
