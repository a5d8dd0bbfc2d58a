//! Everything that can be wrong with an architecture or a model file, in words for the person who has to fix it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::files::WriteError;
use crate::graph::GraphError;

/// A place in an architecture: `my.toml:12: layer 3 (conv)`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct At {
    pub file: String,
    pub line: Option<usize>,
    /// What the line belongs to: a layer, a table.
    pub part: Option<String>,
}

impl At {
    /// Whether it is in a built-in text. Nobody has that file, so a line number would lead nowhere, and there is none.
    pub(super) fn is_built_in(&self) -> bool {
        self.part.is_some() && self.line.is_none()
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.part {
            Some(part) => write!(f, ": {part}"),
            None => Ok(()),
        }
    }
}

/// Why there is no network. Messages are complete in themselves: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A mistake in the text of an architecture, or one that does not fit the data.
    #[error("{at}: {problem}")]
    Architecture { at: At, problem: String },

    /// Neither a built-in name nor a file.
    #[error(
        "no model {name:?}; built-in models are {builtins}; for one of your own, give the path of its .toml file{hint}"
    )]
    Unknown { name: String, builtins: String, hint: String },

    /// The operating system would not give us the file.
    #[error("cannot read {}: {reason}. Check that the path exists and that you may read it", path.display())]
    Read { path: PathBuf, reason: io::Error },

    /// The operating system would not take the file.
    #[error(transparent)]
    Write(#[from] WriteError),

    /// A file that is not what is expected there.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },

    /// An op refused what a layer asked of it.
    #[error("{at}: {problem}")]
    Graph { at: At, problem: Box<GraphError> },
}
