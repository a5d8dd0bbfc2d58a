//! What has been done so far, on disk: a line for each picture. The table is made from it once all are there, and a run
//! that was stopped or killed continues from it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::de::IgnoredAny;

use super::begun::Begun;
use super::record::Record;
use crate::files;

pub struct Journal {
    path: PathBuf,
    out: BufWriter<File>,
    /// Bytes up to the end of what was there when the journal was opened.
    kept: u64,
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
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        lock(&file, path)?;
        file.set_len(0)?;
        let mut journal = Journal { path: path.to_owned(), out: BufWriter::new(file), kept: 0 };
        journal.begin(begun)?;
        Ok(journal)
    }

    /// Continues a journal, after passing every record in it to `tell`. An incomplete last line is dropped.
    pub fn resume(
        path: &Path,
        begun: &Begun,
        mut tell: impl FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.with_context(|| format!("cannot continue {}", path.display()))?;
        lock(&file, path)?;
        let mut lines = Lines::new(&file, path);
        let found =
            lines.next().transpose()?.map(Begun::read).transpose().with_context(|| path.display().to_string())?;
        if let Some(difference) = found.as_ref().and_then(|found| found.difference(begun)) {
            bail!("{}: was begun {difference}. Continue with the same, or start over with --force", path.display());
        }
        let mut end = lines.end;
        let mut records = lines.retyped::<Record>();
        while let Some(record) = records.next().transpose()? {
            tell(record)?;
            end = records.end;
        }
        drop(records);
        file.set_len(end)?;
        file.seek(SeekFrom::End(0))?;
        let mut journal = Journal { path: path.to_owned(), out: BufWriter::new(file), kept: end };
        if found.is_none() {
            journal.begin(begun)?;
        }
        Ok(journal)
    }

    fn begin(&mut self, begun: &Begun) -> anyhow::Result<()> {
        self.line(begun)?;
        self.flush()?;
        self.kept = self.out.get_ref().stream_position().with_context(|| self.cannot())?;
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
        writeln!(self.out, "{text}").with_context(|| self.cannot())
    }

    /// Makes sure that what was pushed is kept whatever happens to the program.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().with_context(|| self.cannot())
    }

    /// Takes back every record pushed since the journal was opened.
    pub fn take_back(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let mut file = self.out.get_ref();
        let cut = file.set_len(self.kept).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.map(drop).with_context(|| self.cannot())
    }

    fn cannot(&self) -> String {
        format!("cannot write {}", self.path.display())
    }

    /// Passes every record to `tell`, from the first on.
    pub fn read(&mut self, mut tell: impl FnMut(Record) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.flush()?;
        // Reads through the locked handle: on Windows, a lock keeps out everyone else who opens the file, even this
        // program.
        let mut file = self.out.get_ref();
        let cannot = || format!("cannot read {}", self.path.display());
        file.seek(SeekFrom::Start(0)).with_context(cannot)?;
        let mut lines = Lines::<IgnoredAny>::new(file, &self.path);
        lines.next().transpose()?;
        for record in lines.retyped::<Record>() {
            tell(record?)?;
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

/// Locks a journal, as two runs that write it would spoil it.
fn lock(file: &File, path: &Path) -> anyhow::Result<()> {
    let remedy = "wait for its end, or name another --out";
    ensure!(files::lock(file), "{}: another run is writing it; {remedy}", path.display());
    Ok(())
}

/// Values of one type, one per line, up to the first incomplete one.
struct Lines<'a, T> {
    reader: BufReader<&'a File>,
    path: &'a Path,
    line: u64,
    /// Bytes up to the end of the last value read.
    end: u64,
    kind: std::marker::PhantomData<T>,
}

impl<'a, T> Lines<'a, T> {
    fn new(file: &'a File, path: &'a Path) -> Lines<'a, T> {
        Lines { reader: BufReader::new(file), path, line: 0, end: 0, kind: std::marker::PhantomData }
    }

    fn retyped<U>(self) -> Lines<'a, U> {
        let Lines { reader, path, line, end, .. } = self;
        Lines { reader, path, line, end, kind: std::marker::PhantomData }
    }
}

impl<T: serde::de::DeserializeOwned> Iterator for Lines<'_, T> {
    type Item = anyhow::Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = Vec::new();
        let read = self.reader.read_until(b'\n', &mut text).map_err(anyhow::Error::from);
        self.line += 1;
        let value = read.and_then(|_| match text.ends_with(b"\n") {
            true => {
                self.end += text.len() as u64;
                Ok(Some(serde_json::from_slice(&text)?))
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
    fn a_journal_that_is_being_written_is_left_to_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        let _journal = Journal::start(&path, &begun("in --top 2")).unwrap();
        assert!(resumed(&path).unwrap_err().to_string().contains("another run"));
    }
}
