//! What a stopped run has left for the run that continues it: its records, once it is known that their pictures are
//! still there.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, bail};

use super::Results;
use super::args::Args;
use super::begun::Begun;
use super::fingerprint::Check;
use super::journal::{self, Journal};
use super::record::Record;
use super::sorting::How;
use crate::cli::outputs::is_there;
use crate::files::Existing;
use crate::hash::hash;
use crate::pictures::stream::Work;
use crate::pictures::{text_path, visible};

/// Records that are compared with their pictures at a time, on all cores.
const TOGETHER: usize = 4096;

/// A table's journal, ready for more records.
pub struct Opened {
    pub journal: Journal,
    /// Whether an existing table is replaced.
    pub existing: Existing,
    pub earlier: Earlier,
}

/// What a stopped run has left in a journal, by the hashes of names.
#[derive(Default)]
pub struct Earlier {
    /// How many records of each name stand.
    pub done: HashMap<u64, u32>,
    /// Those that could not be read and that have been mended: they are classified after all others, and pictures in
    /// files of their own have their old places in the table.
    pub mended: HashSet<u64>,
}

/// The journal of a table: a new one, or that of a stopped run, whose records are added to the results. `None` if the
/// table is complete and the run is only resumed.
pub fn opened(
    out: &Path,
    args: &Args,
    begun: &Begun,
    work: &Work,
    results: &mut Results,
) -> anyhow::Result<Option<Opened>> {
    let path = journal::path_of(out);
    if args.resume && path.exists() {
        let mut earlier = Earlier::default();
        let journal = resumed(&path, begun, work, &mut earlier, results)?;
        // A table beside the journal is one that the stopped run was to replace, or its own, just written.
        return Ok(Some(Opened { journal, existing: Existing::Replace, earlier }));
    }
    if path.exists() && !args.force {
        journal::ensure_left(&path)?;
        bail!(
            "{} was left by a run that was stopped; continue it with --resume, or start over with --force",
            path.display()
        );
    }
    if out.exists() && !args.force {
        if args.resume {
            return Ok(None);
        }
        return Err(is_there(out));
    }
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    Ok(Some(Opened { journal: Journal::start(&path, begun)?, existing, earlier: Earlier::default() }))
}

/// Continues the journal at `path`: adds its records to `results`, and notes them in `earlier`.
///
/// # Errors
/// If it was begun with something else, or if pictures have changed or are gone.
fn resumed(
    path: &Path,
    begun: &Begun,
    work: &Work,
    earlier: &mut Earlier,
    results: &mut Results,
) -> anyhow::Result<Journal> {
    let classes = results.class_names.len();
    let mut check = Check::new(work, &results.class_names, results.moves());
    let (mut failures, mut failed) = (Vec::new(), HashSet::new());
    let mut take = |check: &mut Check, records: Vec<Record>| -> anyhow::Result<()> {
        let mended = check.files(&records).with_context(|| path.display().to_string())?;
        for (record, is_mended) in records.into_iter().zip(mended) {
            let name = hash(record.path.as_bytes());
            let is_answer = record.best().is_some();
            // An answer after a failure is that of a run which continued this one and was stopped in turn.
            if is_mended || is_answer && failed.contains(&name) {
                earlier.mended.insert(name);
            }
            if is_answer {
                *earlier.done.entry(name).or_default() += 1;
                results.add_earlier(&record)?;
            } else {
                failed.insert(name);
                failures.push((name, record));
            }
        }
        Ok(())
    };
    let mut records = Vec::new();
    let journal = Journal::resume(path, begun, |record| {
        record.check(classes).with_context(|| path.display().to_string())?;
        records.push(record);
        match records.len() {
            TOGETHER => take(&mut check, std::mem::take(&mut records)),
            _ => Ok(()),
        }
    })?;
    take(&mut check, records)?;
    check.finish().with_context(|| path.display().to_string())?;
    // Only now is it known which of them are mended.
    for (name, record) in failures {
        if !earlier.mended.contains(&name) {
            *earlier.done.entry(name).or_default() += 1;
            results.add_earlier(&record)?;
        }
    }
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

/// Refuses a journal with answers for pictures that are no longer among those given, as in another list on standard
/// input, and leaves it as it was. `left` counts records by the hash of their names.
pub fn ensure_asked_for(journal: &mut Journal, left: &HashMap<u64, u32>) -> anyhow::Result<()> {
    if left.values().all(|count| *count == 0) {
        return Ok(());
    }
    let mut missing = None;
    journal.read(|record| {
        let is_left = left.get(&hash(record.path.as_bytes())).is_some_and(|count| *count > 0);
        // What could not be read may have been mended or deleted.
        if is_left && record.best().is_some() && missing.is_none() {
            missing = Some(visible(&record.path));
        }
        Ok(())
    })?;
    let Some(name) = missing else { return Ok(()) };
    journal.take_back()?;
    let path = journal.path().display();
    bail!(
        "{path}: was begun with {name}, which is not among the pictures now. The answers of this run are dropped: \
         continue with the same pictures, or start over with --force"
    )
}

#[cfg(test)]
mod tests {
    use super::super::begun::tests::begun;
    use super::*;

    #[test]
    fn an_answer_for_what_is_not_given_is_refused_but_not_a_picture_that_could_not_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        let mut journal = Journal::start(&path, &begun("in")).unwrap();
        let named = |path: &str| Record { path: path.into(), ..Record::default() };
        // A folder that has been made readable, a list that broke off, and a row of a table that was cut off.
        for name in ["in/sub", "-", "a.csv#7"] {
            journal.push(&Record { failed: Some("cannot be read".into()), ..named(name) }).unwrap();
        }
        journal.push(&Record { top: vec![(0, 1.0)], ..named("in/1.png") }).unwrap();
        let left = |names: &[&str]| names.iter().map(|name| (hash(name.as_bytes()), 1)).collect::<HashMap<_, _>>();
        ensure_asked_for(&mut journal, &left(&["in/sub", "-", "a.csv#7"])).unwrap();
        let refused = ensure_asked_for(&mut journal, &left(&["in/sub", "in/1.png"])).unwrap_err().to_string();
        assert!(refused.contains("a.partial: was begun with in/1.png, which is not among"), "{refused}");
        let mut kept = 0;
        let mut count = |_| {
            kept += 1;
            Ok(())
        };
        journal.read(&mut count).unwrap();
        assert_eq!(kept, 0, "what this run did is taken back");
    }
}
