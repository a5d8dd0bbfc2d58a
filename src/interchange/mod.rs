//! Models that come from other programs, and models that go to them.
//!
//! On import, a file becomes a draft: layers in this program's terms, with their tensors, whatever the file's own order
//! of axes, padding and spelling. Finishing the draft makes a model file of it. What this program cannot express
//! exactly is an error that names the layer; nothing is approximated.
//!
//! On export, a network's layers are visited once and written down in the other program's terms.
//!
//! | file | in | out |
//! |---|---|---|
//! | Keras `.h5` and `.keras` | [`keras`] | |
//! | ONNX | [`onnx`] | [`onnx`] |
//! | safetensors with PyTorch's names and axes | [`pytorch`] | [`pytorch`] |

mod draft;
mod error;
mod finish;
#[cfg(test)]
mod finish_tests;
mod fit;
pub mod keras;
mod layout;
pub mod onnx;
mod order;
pub mod pytorch;
mod scale;

use std::path::Path;

use safetensors::SafeTensors;

pub use error::InterchangeError;
pub use finish::{Imported, Wishes};
pub use scale::Scale;

use crate::models::{self, Architecture, Model};
use crate::run_files::is_run;
use crate::words::shell;

/// What can be imported, for errors.
const EXPECTED: &str = "expected a model of Keras (.h5, .keras), ONNX, or safetensors with --architecture";

/// The model in a file of another program: Keras's `.h5` and `.keras`, ONNX, or safetensors with PyTorch's names, for
/// which `architecture` says what the tensors belong to. The first bytes tell what a file is.
///
/// # Errors
/// [`InterchangeError`], which names the file, and the layer that cannot be expressed in this program's terms. A model
/// of this program is an error too, as there is nothing to import.
pub fn import(path: &Path, architecture: Option<&Architecture>, wishes: &Wishes) -> Result<Imported, InterchangeError> {
    let bytes = error::read(path)?;
    if let Some(problem) = own(path, &bytes) {
        return Err(InterchangeError::file(path, problem));
    }
    // Asked first: the length at the beginning of safetensors may look like that of a pickle.
    let is_pytorch = pytorch::is_meant(&bytes);
    let imported = match architecture {
        Some(architecture) if is_pytorch => pytorch::import(&bytes, architecture, wishes),
        None if is_pytorch => Err("holds tensors but no layers; describe these with --architecture FILE.toml, in \
                                   layers named as the tensors are (`conv1` for conv1.weight) or in their order"
            .into()),
        Some(_) => with_layers(path, bytes, wishes)
            .and_then(|_| Err("--architecture is for safetensors; this file describes its layers itself".into())),
        None => with_layers(path, bytes, wishes),
    };
    imported.map_err(|problem| InterchangeError::file(path, problem))
}

/// The model in a file that describes its layers itself.
fn with_layers(path: &Path, bytes: Vec<u8>, wishes: &Wishes) -> Result<Imported, String> {
    if let Some(problem) = pytorch::only_for_python(&bytes) {
        return Err(problem.into());
    }
    if keras::is_meant(&bytes) {
        return keras::import(bytes, wishes);
    }
    onnx::import(&bytes, wishes).map_err(|problem| misnamed(path, &bytes).unwrap_or(problem))
}

/// The message for a model that is already this program's.
fn own(path: &Path, bytes: &[u8]) -> Option<String> {
    // Other programs may store something of their own under this key.
    Model::parse(models::peek(bytes)?.get("architecture")?, "").ok()?;
    let is_checkpoint = SafeTensors::read_metadata(bytes).is_ok_and(|(_, header)| header.info("clock").is_some());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = if is_checkpoint { "checkpoint" } else { "model" };
    let remedy = if is_checkpoint && is_run(folder) {
        format!("`inkgrad train --resume {}` resumes its run", shell(&folder.to_string_lossy()))
    } else {
        format!("`inkgrad inspect {}` shows its layers", shell(&path.to_string_lossy()))
    };
    Some(format!("is a {what} of this program already, and used as it is: {remedy}"))
}

/// The message for a file that could not be read, if it is empty or its first bytes are not those of the format in its
/// name.
fn misnamed(path: &Path, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some(format!("is empty; {EXPECTED}"));
    }
    let format = match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "h5" | "hdf5" => "HDF5 file",
        "keras" => ".keras file",
        "onnx" => "ONNX model",
        "safetensors" => "safetensors file",
        _ => return None,
    };
    // An ONNX file begins with its version.
    if keras::is_meant(bytes) || bytes[0] == 0x08 {
        return None;
    }
    let begins = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]);
    Some(format!("is no {format} though its name says so: it begins with {begins:?}; {EXPECTED}"))
}
