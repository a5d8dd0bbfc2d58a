//! Files that are there whole or not at all.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What the names of unfinished files begin with, in the folder of the file they will become.
pub const UNFINISHED: &str = ".inkgrad-";

/// Bytes that are gathered before the system is asked to write them.
const BUFFER: usize = 1 << 16;

/// Where things may be kept that can be made again: the folder that `INKGRAD_CACHE` names, or the user's cache folder.
/// `None` where there is neither.
pub fn cache_dir() -> Option<std::path::PathBuf> {
    let wanted = std::env::var_os("INKGRAD_CACHE").filter(|wanted| !wanted.is_empty()).map(Into::into);
    wanted.or_else(|| Some(dirs::cache_dir()?.join("inkgrad")))
}

/// Whether a file that is already there gives way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    Replace,
    Keep,
}

/// A file that is being written. It stands under a temporary name in the folder it is meant for, and takes its own
/// name when it is finished; dropped before, it leaves nothing.
pub struct Unfinished {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Unfinished {
    /// # Errors
    /// Whatever the system says: the folder is missing or read-only.
    pub fn create(path: &Path) -> io::Result<Unfinished> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED).suffix(".tmp");
        // Temporary files are private by default; these are for everyone the umask lets in.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder(path))?;
        Ok(Unfinished { file: BufWriter::with_capacity(BUFFER, file), path: path.to_owned() })
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and gives it its name. Whoever reads sees the old file or the whole new one, whenever the
    /// program or the machine stops.
    ///
    /// # Errors
    /// Whatever the system says: the disk is full, the path is a folder, or a file is there and is to be kept
    /// ([`io::ErrorKind::AlreadyExists`]).
    pub fn finish(mut self, existing: Existing) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().as_file().sync_all()?;
        let folder = folder(&self.path).to_owned();
        self.name(existing)?;
        // The new name itself is on disk only when its folder is.
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    }

    /// Gives the file its name without waiting for the disk: whole whenever the program stops, though not if the
    /// machine does. For many small files, where a wait for each would take minutes.
    ///
    /// # Errors
    /// As [`Unfinished::finish`].
    pub fn finish_soon(mut self, existing: Existing) -> io::Result<()> {
        self.file.flush()?;
        self.name(existing)
    }

    /// [`Unfinished::finish`], after which the file that was there stands at `before`. At every moment there is a whole
    /// one under its own name.
    ///
    /// # Errors
    /// As [`Unfinished::finish`].
    fn finish_keeping(mut self, before: &Path) -> io::Result<()> {
        // All that can fail for want of room fails here, while nothing has changed.
        self.file.flush()?;
        self.file.get_ref().as_file().sync_all()?;
        if self.path.exists() {
            if before.exists() {
                std::fs::remove_file(before)?;
            }
            // Where a file system has no second names, there is a moment without the file.
            std::fs::hard_link(&self.path, before).or_else(|_| std::fs::rename(&self.path, before))?;
        }
        self.finish(Existing::Replace)
    }

    fn name(self, existing: Existing) -> io::Result<()> {
        let (file, _) = self.file.into_parts();
        let named = match existing {
            Existing::Replace => file.persist(&self.path),
            Existing::Keep => file.persist_noclobber(&self.path),
        };
        named.map(drop).map_err(|failed| failed.error)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crate::faults::disk_takes(&self.path)?;
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `bytes` to `path`, replacing a file already there, as [`Unfinished::finish`] does.
///
/// # Errors
/// Whatever the system says: the folder is missing or read-only, the disk is full, `path` is a folder.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, Existing::Replace)
}

/// [`write_whole`], where a file already there may be one to keep: that is [`io::ErrorKind::AlreadyExists`] then.
///
/// # Errors
/// As [`write_whole`].
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish(existing)
}

/// [`write_whole`], after which the file that was there stands at `before`.
///
/// # Errors
/// As [`write_whole`].
pub fn write_keeping(path: &Path, before: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish_keeping(before)
}

/// Keeps a file for this process until it is closed or the process ends, however it ends; `false` where another process
/// has it. Where a file system knows no locks, nobody is kept out.
pub fn lock(file: &std::fs::File) -> bool {
    !matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_once_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = Unfinished::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        file.finish(Existing::Keep).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_file_never_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Unfinished::create(&folder.path().join("a")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_file_that_was_there_is_kept_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [path, before] = ["a", "b"].map(|name| folder.path().join(name));
        for (text, kept) in [("1", None), ("2", Some("1")), ("3", Some("2"))] {
            write_keeping(&path, &before, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::read_to_string(&before).ok().as_deref(), kept);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_is_had_by_one_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [one, two] = [(), ()].map(|()| std::fs::File::open(file.path()).unwrap());
        assert!(lock(&one) && !lock(&two));
        drop(one);
        assert!(lock(&two));
    }

    #[test]
    fn a_file_already_there_is_replaced_or_kept_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"old").unwrap();
        let new = || {
            let mut file = Unfinished::create(&path).unwrap();
            file.write_all(b"new").unwrap();
            file
        };
        for refused in [new().finish(Existing::Keep), new().finish_soon(Existing::Keep)] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        new().finish_soon(Existing::Replace).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
