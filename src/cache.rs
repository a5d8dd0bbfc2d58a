//! The user's cache folder: what is kept there can be made again.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::write_whole;
use crate::hash::digest_of;

/// The folder that `INKGRAD_CACHE` names, or `inkgrad` in the user's cache folder. `None` where there is neither.
pub fn folder() -> Option<PathBuf> {
    folder_of(std::env::var_os("INKGRAD_CACHE"), dirs::cache_dir())
}

/// The folder that is asked for, unless its name is empty; else one in the user's cache folder.
fn folder_of(wanted: Option<OsString>, users: Option<PathBuf>) -> Option<PathBuf> {
    let wanted = wanted.filter(|wanted| !wanted.is_empty()).map(Into::into);
    wanted.or_else(|| Some(users?.join("inkgrad")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_of_the_folder_means_the_users_own() {
        let users = || Some("home".into());
        assert_eq!(folder_of(Some("mine".into()), users()), Some("mine".into()));
        for nothing in [None, Some("".into())] {
            assert_eq!(folder_of(nothing.clone(), users()), Some(Path::new("home").join("inkgrad")));
            assert_eq!(folder_of(nothing, None), None);
        }
    }
}
