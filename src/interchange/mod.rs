//! Models that come from other programs, and models that go to them.
//!
//! Coming in, a file becomes a draft: layers in this program's terms, with their tensors, whatever the file's own
//! order of axes, its padding and its way to spell things. When it is finished, a model file comes of it. What this
//! program cannot say exactly is an error that names the layer; nothing is approximated.
//!
//! Going out, a network's layers are walked once and written down in the other program's terms.
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

pub use error::InterchangeError;
pub use finish::{Imported, Wishes};
pub use scale::Scale;

use crate::models::Architecture;

/// The model in a file of another program: Keras's `.h5` and `.keras`, ONNX, or safetensors with PyTorch's names, for
/// which `architecture` says what the tensors belong to. What a file is, its first bytes tell.
///
/// # Errors
/// [`InterchangeError`], which names the file, and the layer that cannot be said in this program's terms.
pub fn import(path: &Path, architecture: Option<&Architecture>, wishes: &Wishes) -> Result<Imported, InterchangeError> {
    let bytes = error::read(path)?;
    let is_pytorch = pytorch::is_meant(&bytes);
    let imported = match architecture {
        _ if pytorch::is_pickled(&bytes) => Err("is a file of torch.save, which only Python reads; write \
             `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`, and import that with \
             --architecture"
            .into()),
        Some(_) if !is_pytorch => {
            Err("--architecture is for safetensors; this file says itself what its layers are".into())
        }
        Some(architecture) => pytorch::import(&bytes, architecture, wishes),
        None if is_pytorch => {
            Err("holds tensors and no layers; say what they belong to with --architecture FILE.toml, \
                                   whose layers have the names that the tensors begin with, or their order"
                .into())
        }
        None if keras::is_meant(&bytes) => keras::import(bytes, wishes),
        None => onnx::import(&bytes, wishes),
    };
    imported.map_err(|problem| InterchangeError::file(path, problem))
}
