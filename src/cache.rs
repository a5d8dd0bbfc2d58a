//! The user's cache folder: what is kept there can be made again.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::write_whole;
use crate::hash::digest_of;

/// The folder that `INKGRAD_CACHE` names, or `inkgrad` in the user's cache folder. `None` where there is neither.
pub fn folder() -> Option<PathBuf> {
    let wanted = std::env::var_os("INKGRAD_CACHE").filter(|wanted| !wanted.is_empty()).map(Into::into);
    wanted.or_else(|| Some(dirs::cache_dir()?.join("inkgrad")))
}

/// The file for what is remembered about something, such as an adapter, that the text `about` identifies.
pub fn entry(cache: &Path, kind: &str, about: &str, ending: &str) -> PathBuf {
    cache.join(kind).join(format!("{:016x}.{ending}", digest_of(about)))
}

/// Writes a file that [`entry`] names, and makes its folder.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    write_whole(path, bytes)
}
