//! Whether a picture is still the one that was classified. A stopped run's answers are kept under the pictures' names,
//! and must not pass for those of other pictures that have these names now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::data::cache::identity;
use crate::hash::hash;
use crate::pictures::source::{Source, Task, is_csv, table_of};
use crate::pictures::stream::{BATCH, Item, Work};
use crate::pictures::{Prepared, text_path, visible};

/// Stamp of what is no file: nothing is there, or a pipe or a folder, which is not read again.
const NO_FILE: u32 = 0;
/// Stamp of a file that has changed since the run began, perhaps after it was read. It is compared by its digest.
const UNSETTLED: u32 = 1;
/// Digest of what cannot be read.
const UNREADABLE: u32 = 0;

/// What tells a picture from another one of the same name: a stamp of the file that holds it, which is known without
/// reading it, and a digest of what the network saw, which stays the same in a copy of the file. Two numbers in JSON, as
/// a journal may hold millions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fingerprint(u32, u32);

impl Fingerprint {
    /// Those of a batch's pictures, for a run that began at `began`.
    pub fn all(items: &[Item], began: SystemTime) -> Vec<Fingerprint> {
        let file = |item: &Item| file_of(&item.name, item.row);
        let stamps = stamps(items.iter().map(file), began);
        let fingerprint = |item: &Item| {
            let label = item.truth.filter(|_| item.row.is_some());
            Fingerprint(stamp_in(&stamps, &file(item)), digest(item.prepared.as_ref().ok(), label))
        };
        items.par_iter().map(fingerprint).collect()
    }
}

/// The file that holds a picture: its own, or the table of its row.
fn file_of(name: &str, row: Option<u64>) -> PathBuf {
    row.and_then(|row| table_of(name, row)).unwrap_or_else(|| text_path(name))
}

/// The stamps of some files, each looked at once: all rows of a batch may be of one table.
fn stamps(files: impl Iterator<Item = PathBuf>, began: SystemTime) -> HashMap<PathBuf, u32> {
    let files: HashSet<PathBuf> = files.collect();
    files.into_par_iter().map(|file| (stamp(&file, began), file)).map(|(stamp, file)| (file, stamp)).collect()
}

fn stamp_in(stamps: &HashMap<PathBuf, u32>, file: &Path) -> u32 {
    stamps.get(file).copied().unwrap_or(UNSETTLED)
}

/// Of a file's length, times and number on the disk: a renamed file keeps its length and time of writing.
fn stamp(file: &Path, began: SystemTime) -> u32 {
    let Ok(about) = file.metadata() else { return NO_FILE };
    if !about.is_file() {
        return NO_FILE;
    }
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let (written, [which, named]) = (about.modified().map_or(u64::MAX, nanos), identity(&about));
    if written.max(named) >= nanos(began) {
        return UNSETTLED;
    }
    let bytes = [about.len(), written, which, named].map(u64::to_le_bytes).concat();
    short(hash(&bytes)).max(UNSETTLED + 1)
}

/// Of what the network sees of a picture, and of the label that a table gives it.
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
    /// It could not be read, and is looked at again: now it can be, or is a table that has another stamp.
    Mended,
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

    /// Compares the files of some records, and says for each whether it could not be read and perhaps now can: then it is
    /// still to be classified. Rows of a table that may have changed are left to [`Check::finish`].
    ///
    /// # Errors
    /// If a picture is no longer there, or has changed: which, and what to do.
    pub fn files(&mut self, records: &[Record]) -> anyhow::Result<Vec<bool>> {
        let stamps = stamps(records.iter().map(|record| file_of(&record.path, record.row)), self.now);
        let compared: Vec<Now> = records.par_iter().map(|record| self.compared(record, &stamps)).collect();
        let mended = compared.iter().map(|now| matches!(now, Now::Mended)).collect();
        for (record, now) in records.iter().zip(compared) {
            match now {
                Now::Same | Now::Mended => {}
                Now::Gone => return Err(gone(&record.path)),
                Now::Changed => return Err(changed(&record.path)),
                Now::InTable(table, digest) => {
                    self.tables.entry(table).or_default().insert(hash(record.path.as_bytes()), digest);
                }
            }
        }
        Ok(mended)
    }

    /// Reads the tables that may have changed, and compares their rows.
    ///
    /// # Errors
    /// As for [`Check::files`].
    pub fn finish(self) -> anyhow::Result<()> {
        let Check { tables, work, class_names, .. } = self;
        for (table, mut rows) in tables {
            let (given, class_names) = (vec![table.clone()], class_names.clone());
            let mut tasks = Source { given, class_names, ..Source::default() }.tasks(Some(work.input));
            // Up to the last row that is known, a batch at a time.
            while !rows.is_empty() {
                let most = BATCH.min(rows.len());
                let mut kept = |task: &Task| rows.remove(&hash(task.name()?.as_bytes()));
                let known = tasks.by_ref().filter_map(|task| Some((kept(&task)?, task)));
                let known: Vec<(u32, Task)> = known.take(most).collect();
                ensure!(!known.is_empty(), changed(&table.to_string_lossy()));
                let items = known.into_par_iter().map(|(kept, task)| Ok((kept, work.item(task)?)));
                for (kept, item) in items.collect::<Result<Vec<_>, String>>().map_err(anyhow::Error::msg)? {
                    ensure!(digest(item.prepared.as_ref().ok(), item.truth) == kept, changed(&item.name));
                }
            }
        }
        Ok(())
    }

    fn compared(&self, record: &Record, stamps: &HashMap<PathBuf, u32>) -> Now {
        let Fingerprint(kept, seen) = record.fingerprint;
        let file = file_of(&record.path, record.row);
        match stamp_in(stamps, &file) {
            // What could not be read is not missed.
            NO_FILE if kept == NO_FILE || self.moves || record.best().is_none() => Now::Same,
            NO_FILE => Now::Gone,
            stamp if stamp == kept && stamp != UNSETTLED => Now::Same,
            _ if is_csv(&file) && record.row.is_none() => Now::Mended,
            _ if is_csv(&file) => Now::InTable(file, seen),
            _ => {
                let now = self.work.file(&file).ok();
                match digest(now.as_ref().map(|now| &now.prepared), None) == seen {
                    true => Now::Same,
                    false if seen == UNREADABLE => Now::Mended,
                    false => Now::Changed,
                }
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
    anyhow!(
        "{name} is not what it was when the stopped run looked at it. Put it back as it was, or start over with --force"
    )
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
        let fingerprints = Fingerprint::all(&items, if began < 0 { now - by } else { now + by });
        let record = |item| Record::new(item, Some(&[1.0]), Kept { top: 1, all: false });
        let of = |(item, fingerprint)| Record { fingerprint, ..record(item) };
        items.iter().zip(fingerprints).map(of).collect()
    }

    /// What the check says, in a while.
    fn said(records: &[Record], moves: bool) -> String {
        let mut check = Check::new(&work(), &[], moves);
        check.now += Duration::from_secs(3600);
        let checked = check.files(records).and_then(|_| check.finish());
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
            assert!(said(&kept, true).contains("a.bmp is not what it was when the stopped run looked at it"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_of_one_length_and_time_that_have_changed_names_are_others() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, between] = ["a.bmp", "b.bmp", "between"].map(|name| folder.path().join(name));
        let time = SystemTime::now() - Duration::from_secs(100);
        for (path, grey) in [(&one, 200), (&other, 90)] {
            draw(path, grey);
            std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        let kept = records(&[one.clone(), other.clone()], 3600);
        assert_eq!(said(&kept, false), "");
        for (from, to) in [(&one, &between), (&other, &one), (&between, &other)] {
            std::fs::rename(from, to).unwrap();
        }
        assert!(said(&kept, false).contains("a.bmp is not what it was"));
    }

    #[test]
    fn a_table_is_looked_at_once_for_all_of_its_rows() {
        let files = [1, 2, 3].map(|row| file_of(&format!("a.csv#{row}"), Some(row)));
        let found = stamps(files.into_iter().chain([file_of("b.png", None)]), SystemTime::now());
        let [table, picture] = ["a.csv", "b.png"].map(PathBuf::from);
        assert_eq!(found, HashMap::from([(table, NO_FILE), (picture, NO_FILE)]));
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
        let fingerprints = Fingerprint::all(&items, SystemTime::now() - Duration::from_secs(3600));
        let (path, fingerprint) = (items[0].name.clone(), fingerprints[0]);
        let record = Record { path, fingerprint, ..Record::default() };
        assert!(said(&[record], false).contains("is not what it was"));
    }

    #[test]
    fn a_picture_that_could_not_be_read_is_mended_once_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let [picture, broken] = ["a.png", "b.png"].map(|name| folder.path().join(name));
        draw(&picture, 200);
        std::fs::write(&broken, "no picture").unwrap();
        let kept = records(&[picture, broken.clone()], 3600);
        let mended = || Check::new(&work(), &[], false).files(&kept).unwrap();
        std::fs::write(&broken, "still none").unwrap();
        assert_eq!(mended(), [false, false]);
        draw(&broken, 90);
        assert_eq!(mended(), [false, true]);
    }

    #[test]
    fn a_table_that_could_not_be_read_is_looked_at_again_once_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "no table").unwrap();
        let kept = records(std::slice::from_ref(&path), 3600);
        assert!(kept.len() == 1 && kept[0].row.is_none() && kept[0].failed.is_some(), "{kept:?}");
        let mended = || {
            let mut check = Check::new(&work(), &[], false);
            check.now += Duration::from_secs(3600);
            let mended = check.files(&kept).unwrap();
            check.finish().unwrap();
            mended
        };
        assert_eq!(mended(), [false]);
        std::fs::write(&path, format!("3,200{}\n", ",0".repeat(15))).unwrap();
        assert_eq!(mended(), [true]);
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
        std::fs::remove_file(&text).unwrap();
        assert_eq!(said(&kept, true), "", "what could not be read is not missed");
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
            assert!(said.contains(&format!("a.csv#{} is not what it was", place + 1)), "{said}");
        }
        write(&rows[..2]);
        assert!(said(&kept, false).contains("a.csv is not what it was"));
        std::fs::remove_file(&path).unwrap();
        assert!(said(&kept, false).contains("a.csv#1 has been classified and is no longer there"));
    }

    #[test]
    fn rows_of_a_table_of_several_batches_are_compared_one_and_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let count = 2 * BATCH + 40;
        let mut rows: Vec<String> = (0..count).map(|i| format!("{}{}\n", i % 251, ",0".repeat(15))).collect();
        let write = |rows: &[String]| std::fs::write(&path, rows.concat()).unwrap();
        write(&rows);
        let mut kept = records(std::slice::from_ref(&path), 3600);
        assert_eq!(kept.len(), count);
        // As where an earlier run was to do only some of them.
        kept.remove(BATCH);
        touch(&path);
        assert_eq!(said(&kept, false), "");
        rows[BATCH] = "wrong\n".into();
        write(&rows);
        assert_eq!(said(&kept, false), "", "that row is not known");
        rows[count - 1] = "wrong\n".into();
        write(&rows);
        assert!(said(&kept, false).contains(&format!("a.csv#{count} is not what it was")));
        write(&rows[..count - 1]);
        assert!(said(&kept, false).contains("a.csv is not what it was"));
    }

    #[test]
    fn a_journal_holds_a_fingerprint_as_two_numbers() {
        let record = Record { fingerprint: Fingerprint(3, 4), ..Record::default() };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(line, r#"{"path":"","seen":[3,4]}"#);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }
}
