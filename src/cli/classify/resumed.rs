//! What a stopped run has left for the run that continues it: its records, once it is known that their pictures are
//! still there.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};

use super::Results;
use super::journal::{Journal, Settings};
use super::record::Record;
use super::seen::Check;
use super::sorting::How;
use crate::pictures::source::hash;
use crate::pictures::stream::Work;
use crate::pictures::{text_path, visible};

/// Records that are compared with their pictures at a time, on all cores.
const TOGETHER: usize = 4096;

/// Continues the journal at `path`: adds its records to `results`, and counts them in `done`.
///
/// # Errors
/// If it was begun with other settings, or if pictures have changed or are gone.
pub fn resumed(
    path: &Path,
    settings: &Settings,
    work: &Work,
    done: &mut HashMap<u64, u32>,
    results: &mut Results,
) -> anyhow::Result<Journal> {
    let classes = results.class_names.len();
    let mut check = Check::new(work, &results.class_names, results.moves());
    let mut take = |check: &mut Check, records: Vec<Record>| -> anyhow::Result<()> {
        check.files(&records).with_context(|| path.display().to_string())?;
        records.iter().try_for_each(|record| {
            *done.entry(hash(record.path.as_bytes())).or_default() += 1;
            results.add_earlier(record)
        })
    };
    let mut records = Vec::new();
    let journal = Journal::resume(path, settings, |record| {
        record.check(classes).with_context(|| path.display().to_string())?;
        records.push(record.without_unknown_truth(classes));
        match records.len() {
            TOGETHER => take(&mut check, std::mem::take(&mut records)),
            _ => Ok(()),
        }
    })?;
    take(&mut check, records)?;
    check.finish().with_context(|| path.display().to_string())?;
    Ok(journal)
}

impl Results {
    /// Whether pictures are moved away once they have an answer.
    pub fn moves(&self) -> bool {
        self.sorting.as_ref().is_some_and(|sorting| sorting.how == How::Move)
    }

    fn add_earlier(&mut self, record: &Record) -> anyhow::Result<()> {
        self.summary.add(record)?;
        if let Some(least) = &mut self.least {
            least.add(record, None);
        }
        // A killed run may have left a file that it was about to move.
        let file = text_path(&record.path);
        if self.moves() && file.symlink_metadata().is_ok() {
            self.sort(record, &file)?;
        }
        Ok(())
    }
}

/// Refuses a journal with pictures that are no longer among those given, as in another list on standard input. `left`
/// counts them by the hash of their names.
pub fn ensure_asked_for(journal: &mut Journal, left: &HashMap<u64, u32>) -> anyhow::Result<()> {
    if left.values().all(|count| *count == 0) {
        return Ok(());
    }
    let path = journal.path().display().to_string();
    journal.read(|record| {
        if left.get(&hash(record.path.as_bytes())).is_some_and(|count| *count > 0) {
            let name = visible(&record.path);
            bail!(
                "{path}: was begun with {name}, which is not among the pictures now. Continue with the same, or start \
                 over with --force"
            );
        }
        Ok(())
    })
}
