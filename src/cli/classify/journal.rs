//! What has been done so far, on disk: what the table was begun with, and a line for each picture. The table is made from
//! it once all are there, and a run that was stopped or killed continues from it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::begun::Begun;
use super::record::Record;
use crate::cli::outputs::already_there;
use crate::files::{self, WriteError};

pub struct Journal {
    path: PathBuf,
    out: BufWriter<File>,
    /// Bytes up to the end of what was there when the journal was opened.
    kept: u64,
}

/// A line of a journal after its first.
enum Line {
    Record(Record),
    /// What a run was given that continued the table and was to make other files at the end.
    Begun(Begun),
}

impl Line {
    fn read(text: &[u8]) -> serde_json::Result<Line> {
        let begun = |error| serde_json::from_slice(text).map(Line::Begun).map_err(|_| error);
        serde_json::from_slice(text).map(Line::Record).or_else(begun)
    }
}

/// The path of a table's journal.
pub fn path_of(table: &Path) -> PathBuf {
    let mut name = table.to_owned().into_os_string();
    name.push(".partial");
    name.into()
}

impl Journal {
    /// Starts a new journal, which replaces an existing one.
    pub fn start(path: &Path, begun: &Begun) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(WriteError::of(path))?;
        lock(&file, path)?;
        file.set_len(0).map_err(WriteError::of(path))?;
        let mut journal = Journal { path: path.to_owned(), out: BufWriter::new(file), kept: 0 };
        journal.begin(begun)?;
        Ok(journal)
    }

    /// Continues a journal, after passing every record in it to `tell`. An incomplete last line is dropped.
    ///
    /// # Errors
    /// If it was begun with something else, or if a file that is made at the end would replace one that is none of this
    /// table's: no record is passed then.
    pub fn resume(
        path: &Path,
        begun: &Begun,
        tell: impl FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot continue {}", path.display()))?;
        lock(&file, path)?;
        let mut lines = Lines::new(&file, path, |text| serde_json::from_slice(text));
        let found =
            lines.next().transpose()?.map(Begun::read).transpose().with_context(|| path.display().to_string())?;
        if let Some(difference) = found.as_ref().and_then(|found| found.difference(begun)) {
            bail!("{}: was begun {difference}. Continue with the same, or start over with --force", path.display());
        }
        let mut earlier = Vec::from_iter(found);
        let mut lines = lines.then(Line::read);
        for line in lines.by_ref() {
            if let Line::Begun(begun) = line? {
                earlier.push(begun);
            }
        }
        let end = lines.end;
        if let Some(file) = begun.would_overwrite(&earlier) {
            return Err(already_there(&file, ", and the table was not begun with it", "move it away"));
        }
        file.set_len(end).map_err(WriteError::of(path))?;
        let mut journal = Journal { path: path.to_owned(), out: BufWriter::new(file), kept: end };
        journal.read(tell)?;
        if !earlier.iter().any(|one| one.made_last().eq(begun.made_last())) {
            journal.begin(begun)?;
        }
        Ok(journal)
    }

    fn begin(&mut self, begun: &Begun) -> anyhow::Result<()> {
        self.line(begun)?;
        self.flush()?;
        self.kept = self.out.get_ref().stream_position().map_err(|error| self.refused(error))?;
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn push(&mut self, record: &Record) -> anyhow::Result<()> {
        self.line(record)
    }

    fn line(&mut self, line: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(line)?;
        Ok(writeln!(self.out, "{text}").map_err(|error| self.refused(error))?)
    }

    /// Makes sure that what was pushed is kept whatever happens to the program.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush().map_err(|error| self.refused(error))?)
    }

    /// Takes back every record pushed since the journal was opened.
    pub fn take_back(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let mut file = self.out.get_ref();
        let cut = file.set_len(self.kept).and_then(|()| file.seek(SeekFrom::End(0)));
        Ok(cut.map(drop).map_err(|error| self.refused(error))?)
    }

    fn refused(&self, source: io::Error) -> WriteError {
        WriteError { path: self.path.clone(), source }
    }

    /// Passes every record to `tell`, from the first on.
    pub fn read(&mut self, mut tell: impl FnMut(Record) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.flush()?;
        // Reads through the locked handle: on Windows, a lock keeps out everyone else who opens the file, even this
        // program.
        let mut file = self.out.get_ref();
        let cannot = || format!("cannot read {}", self.path.display());
        file.seek(SeekFrom::Start(0)).with_context(cannot)?;
        let mut lines = Lines::new(file, &self.path, |_| Ok(()));
        lines.next().transpose()?;
        for line in lines.then(Line::read) {
            if let Line::Record(record) = line? {
                tell(record)?;
            }
        }
        file.seek(SeekFrom::End(0)).with_context(cannot)?;
        Ok(())
    }

    /// Removes the journal, once the table is written.
    pub fn remove(self) -> anyhow::Result<()> {
        let Journal { path, out, .. } = self;
        drop(out);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Refuses a journal that another run is writing, whatever else is to be said of one that is there.
pub fn ensure_left(path: &Path) -> anyhow::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => lock(&file, path),
        Err(_) => Ok(()),
    }
}

/// Locks a journal, as two runs that write it would spoil it.
fn lock(file: &File, path: &Path) -> anyhow::Result<()> {
    let remedy = "wait for its end, or name another --out";
    ensure!(files::lock(file), "{}: another run is writing it; {remedy}", path.display());
    Ok(())
}

/// What each line says, up to the first incomplete one.
struct Lines<'a, T> {
    reader: BufReader<&'a File>,
    path: &'a Path,
    line: u64,
    /// Bytes up to the end of the last line read.
    end: u64,
    read: fn(&[u8]) -> serde_json::Result<T>,
}

impl<'a, T> Lines<'a, T> {
    fn new(file: &'a File, path: &'a Path, read: fn(&[u8]) -> serde_json::Result<T>) -> Lines<'a, T> {
        Lines { reader: BufReader::new(file), path, line: 0, end: 0, read }
    }

    /// The lines that are left, read in another way.
    fn then<U>(self, read: fn(&[u8]) -> serde_json::Result<U>) -> Lines<'a, U> {
        let Lines { reader, path, line, end, .. } = self;
        Lines { reader, path, line, end, read }
    }
}

impl<T> Iterator for Lines<'_, T> {
    type Item = anyhow::Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = Vec::new();
        let read = self.reader.read_until(b'\n', &mut text).map_err(anyhow::Error::from);
        self.line += 1;
        let value = read.and_then(|_| match text.ends_with(b"\n") {
            true => {
                self.end += text.len() as u64;
                Ok(Some((self.read)(&text)?))
            }
            false => Ok(None),
        });
        let place = || format!("{}, line {}: has been altered or damaged", self.path.display(), self.line);
        value.with_context(place).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::begun::tests::begun;
    use super::*;

    fn record(path: &str) -> Record {
        Record { path: path.into(), top: vec![(1, 0.5)], ..Record::default() }
    }

    fn resumed(path: &Path) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        Journal::resume(path, &begun("in --top 2"), |record| {
            told.push(record.path);
            Ok(())
        })?;
        Ok(told)
    }

    #[test]
    fn a_journal_cut_off_anywhere_goes_on_with_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        let mut journal = Journal::start(&path, &begun("in --top 2")).unwrap();
        ["a", "b\n", "c"].iter().for_each(|path| journal.push(&record(path)).unwrap());
        journal.flush().unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let told = resumed(&path).unwrap();
            assert_eq!(told, ["a", "b\n", "c"][..told.len()]);
            let kept = std::fs::read(&path).unwrap();
            let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            assert!(whole.starts_with(&kept) && kept.ends_with(b"\n") && kept.len() >= header, "cut to {length}");
        }
        assert_eq!(resumed(&path).unwrap().len(), 3);
    }

    #[test]
    fn what_was_pushed_since_the_journal_was_opened_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        // A new journal, a resumed one, and one that was cut off in its first line.
        let start = || Journal::start(&path, &begun("in --top 2")).unwrap();
        let resume = || Journal::resume(&path, &begun("in --top 2"), |_| Ok(())).unwrap();
        let cut = || {
            std::fs::write(&path, "{").unwrap();
            resume()
        };
        for (open, left) in [(&start as &dyn Fn() -> Journal, &["c"][..]), (&resume, &["c", "c"]), (&cut, &["c"])] {
            let mut journal = open();
            ["a", "b"].iter().for_each(|path| journal.push(&record(path)).unwrap());
            journal.take_back().unwrap();
            journal.push(&record("c")).unwrap();
            journal.flush().unwrap();
            drop(journal);
            assert_eq!(resumed(&path).unwrap(), left);
        }
    }

    #[test]
    fn a_journal_begun_with_something_else_or_in_another_form_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        drop(Journal::start(&path, &begun("in --top 5")).unwrap());
        let error = resumed(&path).unwrap_err().to_string();
        assert!(error.contains("was begun with --top 5, not with --top 2. Continue"), "{error}");
        // A first line that does not say its form.
        std::fs::write(&path, "{\"--top\":\"2\"}\n").unwrap();
        let error = format!("{:#}", resumed(&path).unwrap_err());
        assert!(error.contains("a.partial: was begun by another version of this program"), "{error}");
        std::fs::write(&path, "path,label\n").unwrap();
        assert!(format!("{:#}", resumed(&path).unwrap_err()).contains("line 1"));
    }

    #[test]
    fn only_what_a_run_is_to_make_at_the_end_is_noted_when_it_goes_on_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        drop(Journal::start(&path, &begun("in --model copy")).unwrap());
        let lines = |flags: &str| {
            drop(Journal::resume(&path, &begun(&format!("in --model {flags}")), |_| Ok(())).unwrap());
            std::fs::read_to_string(&path).unwrap().lines().count()
        };
        assert_eq!(["judge", "judge --errors no-such.csv", "copy --errors no-such.csv"].map(lines), [1, 2, 2]);
    }

    #[test]
    fn a_journal_that_is_being_written_is_left_to_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        let _journal = Journal::start(&path, &begun("in --top 2")).unwrap();
        assert!(resumed(&path).unwrap_err().to_string().contains("another run"));
    }
}
