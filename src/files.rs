//! Files that are there whole or not at all.

use std::io::{self, Write};
use std::path::Path;

/// What the names of unfinished files begin with, in the folder of the file they will become.
pub const UNFINISHED: &str = ".inkgrad-";

/// Writes `bytes` to `path`, replacing a file already there: under a temporary name in the same folder, synced,
/// renamed. Whoever reads sees the old file or the whole new one, whenever the program or the machine stops.
///
/// # Errors
/// Whatever the system says: the folder is missing or read-only, the disk is full, `path` is a folder.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED).suffix(".tmp");
    // Temporary files are private by default; these are for everyone the umask lets in.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    // The new name itself is on disk only when its folder is.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
