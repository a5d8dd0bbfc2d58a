//! Why a model cannot be imported.

use std::io;
use std::path::{Path, PathBuf};

use crate::models::ModelError;

/// Messages are complete in themselves: which file, which layer, what was expected, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterchangeError {
    /// The operating system would not give us the file.
    #[error("cannot read {}: {reason}. Check that the path exists and that you may read it", path.display())]
    Read { path: PathBuf, reason: io::Error },

    /// The file does not hold what was expected, or it cannot be expressed in this program's terms.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },

    /// The result is not a model of this program.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl InterchangeError {
    pub(super) fn file(path: &Path, problem: impl Into<String>) -> InterchangeError {
        InterchangeError::File { path: path.to_owned(), problem: problem.into() }
    }
}

/// A larger file is not read: four bytes per possible parameter, and as many for each of an optimizer's two moments.
const MAX_FILE: u64 = 4 << 30;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, InterchangeError> {
    use std::io::Read;
    let failed = |reason| InterchangeError::Read { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        let problem = format!("larger than {MAX_FILE} bytes, the most a model to import may have");
        return Err(InterchangeError::file(path, problem));
    }
    Ok(bytes)
}
