//! Architectures as text, and the networks, parameters and files they become.
//!
//! An [`Architecture`] is read from a short TOML file, [`Architecture::declare`] fits it to an image's size and a
//! number of classes, and [`Network::forward`] writes it into a graph. A [`ModelFile`] keeps it on disk.
//!
//! ```toml
//! layers = [
//!   { conv = 16, kernel = 3, padding = "same", activation = "relu" },
//!   { max_pool = 2 },
//!   "flatten",
//!   { dense = "classes" },
//! ]
//! ```

mod build;
#[cfg(test)]
mod build_tests;
mod container;
mod error;
mod file;
mod forward;
mod layer;
mod layer_toml;
mod parameters;
mod reader;
mod recipe;
mod shapes;
mod spec;
#[cfg(test)]
mod spec_tests;

use std::io::Read;
use std::path::Path;

pub use build::{LayerInfo, Network};
pub use container::{SavedTensor, Words};
pub use error::{At, ModelError};
pub use file::ModelFile;
pub use forward::{Forward, Mode, RunningUpdate};
pub use layer::{Conv, Kind, Layer, Nonlinearity, Units};
pub use parameters::{Init, Parameter, Parameters};
pub use reader::MAX_SIZE;
pub use recipe::{OptimizerName, Recipe, ScheduleName};
pub use spec::{Architecture, INPUT, MAX_LAYERS, MAX_TEXT};

/// The architectures that are part of the program: name and text.
pub const BUILTINS: &[(&str, &str)] = &[
    ("fast", include_str!("../../models/fast.toml")),
    ("dense", include_str!("../../models/dense.toml")),
    ("cnn", include_str!("../../models/cnn.toml")),
    ("avgcnn", include_str!("../../models/avgcnn.toml")),
    ("pool", include_str!("../../models/pool.toml")),
];

/// A built-in architecture.
///
/// # Errors
/// [`ModelError::Unknown`] for a name that is none of them.
pub fn builtin(name: &str) -> Result<Architecture, ModelError> {
    match BUILTINS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Architecture::parse(text, &format!("models/{name}.toml")),
        None => {
            let builtins = BUILTINS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(ModelError::Unknown { name: name.into(), builtins })
        }
    }
}

/// A built-in architecture by name, or one from a TOML file by its path.
///
/// # Errors
/// [`ModelError::Unknown`] for what is neither, [`ModelError::Read`] for a file that cannot be read, and all that
/// [`Architecture::parse`] has against its text.
pub fn load(name_or_path: &str) -> Result<Architecture, ModelError> {
    let path = Path::new(name_or_path);
    let is_name = BUILTINS.iter().any(|(name, _)| *name == name_or_path);
    let is_path = path.extension().is_some_and(|e| e == "toml") || path.components().count() > 1 || path.is_file();
    if is_name || !is_path {
        return builtin(name_or_path);
    }
    let failed = |reason| ModelError::Read { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let problem = "not an architecture: expected a TOML text in UTF-8; `layers = [ ... ]` is its heart".into();
        ModelError::File { path: path.to_owned(), problem }
    })?;
    Architecture::parse(&text, name_or_path)
}
