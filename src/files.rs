//! Files that are there whole or not at all.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempPath;

use crate::{faults, system};

/// What the names of unfinished files begin with and end in, in the folder of the file that they will become.
const UNFINISHED: [&str; 2] = [".inkgrad-", ".tmp"];

/// Bytes that are buffered before the system is asked to write them.
const BUFFER: usize = 1 << 16;

/// How long a chain of links may be: as many as systems follow.
const MOST_LINKS: usize = 40;

/// How long to wait for a file that another program has open.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name that stands for standard output.
pub const STDOUT: &str = "/dev/stdout";

/// What programs take for standard input or output instead of a file's name.
pub const DASH: &str = "-";

/// Whether a file that is already there is replaced or kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    Replace,
    Keep,
}

/// The temporary names of all files that are being written, since nothing is dropped when the process ends.
static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn begun() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every file that is being written, for a process that ends without waiting for them. Whoever begins another
/// file waits for as long as the returned value is held.
#[must_use]
pub(crate) fn remove_unfinished() -> impl Sized {
    let names = begun();
    for name in &*names {
        // A file that already has its own name is not found under this one.
        let _ = std::fs::remove_file(name);
    }
    names
}

/// A name in [`BEGUN`], for as long as a file has it.
struct Listed(PathBuf);

impl Listed {
    fn new(name: &Path) -> Listed {
        begun().insert(name.to_owned());
        Listed(name.to_owned())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        begun().remove(&self.0);
    }
}

/// A file that is being written. It has a temporary name in the folder it is meant for, and takes its own name when it
/// is finished; if dropped before, it leaves nothing. If its own name is a link, the link's target is written; a pipe
/// or a device is handed everything at the end. It is locked, which tells it from what a killed process has left.
pub struct Unfinished {
    file: BufWriter<std::fs::File>,
    temporary: TempPath,
    _listed: Listed,
    path: PathBuf,
    goal: Goal,
}

/// Where a file's bytes go in the end.
enum Goal {
    /// They become the file of this name, and are first written beside it.
    Name(PathBuf),
    /// What is there is not a file that another could replace: the bytes are copied into it.
    Stream(PathBuf),
}

impl Goal {
    /// What `path` stands for: links are followed, so that they stay links and lead to what was written.
    fn of(path: &Path) -> io::Result<Goal> {
        // Who types it does not want a file of that name.
        if path.as_os_str() == DASH {
            let problem = "this cannot go to standard output; name a file, or write ./- for one that is called -";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let mut at = path.to_owned();
        for _ in 0..MOST_LINKS {
            if takes_bytes(&at) {
                return Ok(Goal::Stream(at));
            }
            match std::fs::read_link(&at) {
                // Relative to the folder of the link.
                Ok(target) => at = folder(&at).join(target),
                Err(_) => return Ok(Goal::Name(at)),
            }
        }
        Err(io::Error::other(format!("more than {MOST_LINKS} links lead from one to the next")))
    }
}

/// Whether something is there that takes bytes as they come: a pipe, a device, or whatever a process already has open.
fn takes_bytes(path: &Path) -> bool {
    let open = ["/proc", "/dev/fd", STDOUT].iter().any(|place| path.starts_with(place));
    std::fs::metadata(path).is_ok_and(|there| !there.is_dir() && (open || !there.is_file()))
}

/// What `path`, perhaps through links, leads to, if that takes bytes as they come: a pipe, a device, standard output,
/// which is also called `-`. `None` where it is a file, or will be one.
pub fn stream(path: &Path) -> Option<PathBuf> {
    if path.as_os_str() == DASH {
        return Some(STDOUT.into());
    }
    match Goal::of(path) {
        Ok(Goal::Stream(stream)) => Some(stream),
        _ => None,
    }
}

/// Opens what [`stream`] has found.
///
/// # Errors
/// Whatever the system says.
pub fn open_stream(stream: &Path) -> io::Result<Box<dyn Write + Send>> {
    if stream == Path::new(STDOUT) {
        // If opened anew, it would begin at the start of a file that it is redirected to.
        return Ok(Box::new(io::stdout()));
    }
    Ok(Box::new(std::fs::File::options().append(true).open(stream)?))
}

/// Whether something is there that would be lost. Nothing is lost where bytes are taken as they come.
pub fn in_the_way(path: &Path) -> bool {
    path.exists() && stream(path).is_none()
}

impl Unfinished {
    /// # Errors
    /// Whatever the system says: the folder is missing or read-only.
    pub fn create(path: &Path) -> io::Result<Unfinished> {
        let goal = Goal::of(path)?;
        let mut options = std::fs::File::options();
        options.read(true).write(true).create_new(true);
        let place = match &goal {
            // For everyone the umask lets in.
            Goal::Name(name) => folder(name).to_owned(),
            Goal::Stream(_) => {
                // Others are in that folder too.
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                std::env::temp_dir()
            }
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED[0]).suffix(UNFINISHED[1]);
        // The system's own file, whose errors do not contain the temporary name: it means nothing to whoever asked for
        // a file of another name.
        let (file, temporary) = locked(|| Ok(builder.make_in(&place, |path| options.open(path))?.into_parts()))?;
        let (file, listed) = (BufWriter::with_capacity(BUFFER, file), Listed::new(&temporary));
        Ok(Unfinished { file, temporary, _listed: listed, path: path.to_owned(), goal })
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and gives it its name. Readers see the old file or the whole new one, whenever the program or the
    /// machine stops.
    ///
    /// # Errors
    /// Whatever the system says: the disk is full, the path is a folder, a file is there and is to be kept
    /// ([`io::ErrorKind::AlreadyExists`]), or on Windows another program has that file open
    /// ([`io::ErrorKind::ResourceBusy`]).
    pub fn finish(mut self, existing: Existing) -> io::Result<()> {
        self.flush()?;
        let folder = match &self.goal {
            Goal::Name(name) => folder(name).to_owned(),
            Goal::Stream(_) => return self.name(existing),
        };
        system::sync(self.file.get_ref())?;
        self.name(existing)?;
        // The new name itself is on disk only when its folder is. Windows does not open folders as files.
        if cfg!(unix) {
            system::sync(&std::fs::File::open(folder)?)?;
        }
        Ok(())
    }

    /// Gives the file its name without waiting for the disk: it is whole whenever the program stops, though not if the
    /// machine does. For many small files, where waiting for each would take minutes.
    ///
    /// # Errors
    /// As [`Unfinished::finish`].
    pub fn finish_soon(mut self, existing: Existing) -> io::Result<()> {
        self.flush()?;
        self.name(existing)
    }

    /// [`Unfinished::finish`], after which the file that was there is at `before`. At every moment there is a whole
    /// file under its own name.
    ///
    /// # Errors
    /// As [`Unfinished::finish`].
    fn finish_keeping(mut self, before: &Path) -> io::Result<()> {
        // Everything that can fail for lack of room fails here, before anything has changed.
        self.flush()?;
        system::sync(self.file.get_ref())?;
        if let Goal::Name(name) = &self.goal
            && name.exists()
        {
            if before.exists() {
                patiently(before, || std::fs::remove_file(before))?;
            }
            // Where a file system has no hard links, there is a moment without the file.
            let named = std::fs::hard_link(name, before).or_else(|_| std::fs::rename(name, before));
            // A link may have led to another file system.
            named.or_else(|_| std::fs::copy(name, before).map(drop))?;
        }
        self.finish(Existing::Replace)
    }

    fn name(self, existing: Existing) -> io::Result<()> {
        if cfg!(windows) {
            // There nobody can read what another process has locked. Without the lock it is named all the same.
            let _ = self.file.get_ref().unlock();
        }
        match self.goal {
            // This loses nothing that was there.
            Goal::Stream(stream) => pour(self.file.get_ref(), &stream),
            Goal::Name(name) => take_name(self.temporary, &name, existing),
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        faults::disk_takes(&self.path)?;
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gives a finished file its name; waits a while for that if another program has a file of that name open.
fn take_name(temporary: TempPath, name: &Path, existing: Existing) -> io::Result<()> {
    let mut temporary = Some(temporary);
    patiently(name, || {
        faults::hold(name)?;
        let Some(unnamed) = temporary.take() else { return Ok(()) };
        let failed = match existing {
            // Not `tempfile`'s own way, which on Windows does not replace a file that is being read.
            Existing::Replace => match std::fs::rename(&unnamed, name) {
                Ok(()) => {
                    // There is nothing left to remove.
                    let _ = unnamed.keep();
                    return Ok(());
                }
                Err(error) => tempfile::PathPersistError { error, path: unnamed },
            },
            Existing::Keep => match unnamed.persist_noclobber(name) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            },
        };
        temporary = Some(failed.path);
        Err(failed.error)
    })
}

/// Repeats an action for a while, as long as another program that has the file of this name open is in the way.
fn patiently(name: &Path, mut act: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match act() {
            Err(error) if system::is_held(&error, name) => {}
            done => return done,
        }
        if began.elapsed() > PATIENCE {
            return Err(held());
        }
        std::thread::sleep(PATIENCE / 100);
    }
}

/// The error for a file that another program has open.
pub fn held() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "another program has it open; close it there")
}

/// A file that the system does not take.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}{}", path.display(), advice(source))]
pub struct WriteError {
    /// The file that was asked for.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl WriteError {
    /// Makes one of what the system said about the file at `path`.
    pub fn of(path: &Path) -> impl Fn(io::Error) -> WriteError + use<> {
        let path = path.to_owned();
        move |source| WriteError { path: path.clone(), source }
    }

    /// Whether another program has the file open.
    pub fn is_held(&self) -> bool {
        self.source.kind() == io::ErrorKind::ResourceBusy
    }
}

/// What a person can do, to be appended to what the system says.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        // These say it themselves.
        io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidInput => "",
        _ => ". Check that the folder exists, that you may write there, and that there is room",
    }
}

/// Copies what was written into the stream that is there.
fn pour(mut written: &std::fs::File, stream: &Path) -> io::Result<()> {
    written.rewind()?;
    let mut stream = open_stream(stream)?;
    io::copy(&mut written, &mut stream)?;
    stream.flush()
}

/// Writes `bytes` to `path`, replacing a file already there, as [`Unfinished::finish`] does.
///
/// # Errors
/// Whatever the system says: the folder is missing or read-only, the disk is full, `path` is a folder.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, Existing::Replace)
}

/// [`write_whole`], where a file already there may be one to keep: the error is then [`io::ErrorKind::AlreadyExists`].
///
/// # Errors
/// As [`write_whole`].
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish(existing)
}

/// [`write_whole`], after which the file that was there is at `before`.
///
/// # Errors
/// As [`write_whole`].
pub fn write_keeping(path: &Path, before: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    file.finish_keeping(before)
}

/// Locks a file for this process until it is closed or the process ends, however it ends; `false` where another process
/// holds it. Where a file system has no locks, nobody is kept out.
pub fn lock(file: &std::fs::File) -> bool {
    !matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// Makes a file and locks it. One that [`clean`] has found before it was locked is made again, a few times.
fn locked(mut make: impl FnMut() -> io::Result<(std::fs::File, TempPath)>) -> io::Result<(std::fs::File, TempPath)> {
    let mut made = make()?;
    for _ in 0..9 {
        if lock(&made.0) && made.1.exists() {
            break;
        }
        made = make()?;
    }
    Ok(made)
}

/// Removes what killed processes have left unfinished in a folder, and leaves alone what is still being written.
pub(crate) fn clean(folder: &Path) {
    let [begin, end] = UNFINISHED;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if !(name.starts_with(begin) && name.ends_with(end)) {
            continue;
        }
        // Held until the file is gone: whoever has just made it sees one or the other.
        if let Ok(file) = std::fs::File::options().write(true).open(&path)
            && lock(&file)
        {
            // A file that cannot be removed does no harm.
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
