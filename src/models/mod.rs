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

mod augmentation;
mod build;
#[cfg(test)]
mod build_tests;
mod container;
mod ensemble;
mod error;
mod file;
mod filters;
mod forward;
mod gan;
#[cfg(test)]
mod gan_tests;
mod layer;
mod layer_toml;
mod learned;
mod normalization;
mod parameters;
mod reader;
mod recipe;
mod shapes;
mod shipped;
mod spec;
#[cfg(test)]
mod spec_tests;

use std::io::Read;
use std::path::Path;

pub use augmentation::Augmentation;
pub(crate) use build::{Built, Source};
pub use build::{LayerInfo, Network};
pub(crate) use container::peek;
pub use container::{SavedTensor, Words};
pub use error::{At, ModelError};
pub(crate) use file::DATA_DIGEST;
pub use file::{ModelFile, is_foreign_name};
pub use filters::Filters;
pub use forward::{Forward, Inputs, Mode, RunningUpdate};
pub use gan::{Gan, GanRecipe};
pub use layer::{Conv, Kind, Layer, Nonlinearity, Units, Width, by};
pub use learned::{Aside, Learned};
pub use normalization::Normalization;
pub use parameters::{Init, Parameter, Parameters, Values};
pub use reader::MAX_SIZE;
pub use recipe::{GanLoss, OptimizerName, Recipe, ScheduleName};
pub use shipped::{SHIPPED, lasting};
pub use spec::{Architecture, INPUT, LABEL, MAX_LAYERS, MAX_TEXT};

use crate::run_files::{self, is_run};
use crate::words::{nearest, shell};

/// The built-in architectures: name and text.
pub const BUILTINS: &[(&str, &str)] = &[
    ("fast", include_str!("../../models/fast.toml")),
    ("standard", include_str!("../../models/standard.toml")),
    ("best", include_str!("../../models/best.toml")),
    ("dense", include_str!("../../models/dense.toml")),
    ("cnn", include_str!("../../models/cnn.toml")),
    ("avgcnn", include_str!("../../models/avgcnn.toml")),
    ("avgpool", include_str!("../../models/avgpool.toml")),
    ("maxpool", include_str!("../../models/maxpool.toml")),
    ("pool", include_str!("../../models/pool.toml")),
];

/// The one built-in architecture that is not a network by itself: it goes in front of another.
pub const FRONT: &str = "pool";

/// The built-in GANs: name and text.
pub const BUILTIN_GANS: &[(&str, &str)] =
    &[("gan", include_str!("../../models/gan.toml")), ("gan-classic", include_str!("../../models/gan-classic.toml"))];

/// What a text describes.
#[derive(Clone, PartialEq, Debug)]
pub enum Model {
    Classifier(Box<Architecture>),
    Gan(Box<Gan>),
}

impl Model {
    /// Reads a text of either kind. One with `[generator]` or `[discriminator]` is a GAN.
    ///
    /// # Errors
    /// Those of [`Architecture::parse`] and [`Gan::parse`].
    pub fn parse(text: &str, file: &str) -> Result<Model, ModelError> {
        if Gan::is_meant(text) {
            Gan::parse(text, file).map(|gan| Model::Gan(Box::new(gan)))
        } else {
            Architecture::parse(text, file).map(|network| Model::Classifier(Box::new(network)))
        }
    }
}

/// A built-in classifier's architecture.
///
/// # Errors
/// [`ModelError::Unknown`] for any other name.
pub fn builtin(name: &str) -> Result<Architecture, ModelError> {
    match BUILTINS.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => Ok(Architecture::parse(text, name)?.without_lines()),
        None => Err(unknown(name)),
    }
}

/// A built-in GAN.
///
/// # Errors
/// [`ModelError::Unknown`] for any other name.
pub fn builtin_gan(name: &str) -> Result<Gan, ModelError> {
    match BUILTIN_GANS.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => Ok(Gan::parse(text, name)?.without_lines()),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> ModelError {
    let names: Vec<&str> = BUILTINS.iter().chain(BUILTIN_GANS).map(|(name, _)| *name).collect();
    let told = |name: &&str| if *name == FRONT { format!("{name} (for --front)") } else { name.to_string() };
    let builtins = names.iter().map(told).collect::<Vec<_>>().join(", ");
    ModelError::Unknown { name: name.into(), builtins, hint: hint(name, &names) }
}

/// The end of a message about a name that is not in `names`: which of them it resembles, if any.
fn hint(name: &str, names: &[&str]) -> String {
    nearest(name, names).map_or(String::new(), |near| format!("; did you mean {near:?}?"))
}

/// A built-in classifier by name, or one from a TOML file by its path.
///
/// # Errors
/// Those of [`load_any`], and [`ModelError::Architecture`] if it is a GAN.
pub fn load(name_or_path: &str) -> Result<Architecture, ModelError> {
    match load_any(name_or_path)? {
        Model::Classifier(architecture) => Ok(*architecture),
        Model::Gan(_) => {
            let at = At { file: name_or_path.into(), ..At::default() };
            Err(ModelError::Architecture { at, problem: "is a GAN, where a classifier is expected".into() })
        }
    }
}

/// A classifier's architecture from anything that has one: whatever [`load`] takes, or a trained model (a shipped one's
/// name, a file, or a run's folder). A model's architecture is for images of the size that the model takes.
///
/// # Errors
/// Those of [`load`], and for a model those of [`ModelFile::open`] and [`ModelFile::architecture`].
pub fn load_with_models(wanted: &str) -> Result<Architecture, ModelError> {
    let path = Path::new(wanted);
    let is_builtin = BUILTINS.iter().chain(BUILTIN_GANS).any(|(name, _)| *name == wanted);
    let is_shipped = SHIPPED.iter().any(|(name, _)| *name == wanted);
    // Anything but a regular file, such as a pipe, can only be read once.
    let begins_so = || path.is_file() && std::fs::File::open(path).ok().and_then(peek).is_some();
    if is_builtin || !(is_shipped || path.is_dir() || is_called_model(path) || begins_so()) {
        return load(wanted);
    }
    let file = ModelFile::open(path)?;
    Ok(Architecture { input: Some(file.input()?), ..file.architecture()? })
}

fn is_called_model(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"))
}

/// A built-in model by name, or one from a TOML file by its path.
///
/// # Errors
/// [`ModelError::Unknown`] if it is neither, [`ModelError::File`] for a run's folder or a trained model, naming what
/// takes it, [`ModelError::Read`] for a file that cannot be read, and the errors of [`Model::parse`] for its text.
pub fn load_any(name_or_path: &str) -> Result<Model, ModelError> {
    let path = Path::new(name_or_path);
    if BUILTINS.iter().any(|(name, _)| *name == name_or_path) {
        return builtin(name_or_path).map(|network| Model::Classifier(Box::new(network)));
    }
    if BUILTIN_GANS.iter().any(|(name, _)| *name == name_or_path) {
        return builtin_gan(name_or_path).map(|gan| Model::Gan(Box::new(gan)));
    }
    let is_path = path.extension().is_some_and(|e| e == "toml") || path.components().count() > 1 || path.exists();
    if !is_path {
        return Err(unknown(name_or_path));
    }
    let failed = |reason| ModelError::Read { path: path.to_owned(), reason };
    let refuse = |problem: String| ModelError::File { path: path.to_owned(), problem };
    let quoted = shell(name_or_path);
    if path.is_dir() {
        return Err(refuse(match is_run(path) {
            true => runs_folder(path, &quoted),
            false => "is a folder, where an architecture is expected: a built-in name or a .toml file".into(),
        }));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let metadata = peek(&bytes[..]);
    if is_called_model(path) || metadata.is_some() {
        let is_gan = ModelFile { metadata: metadata.unwrap_or_default(), ..ModelFile::default() }.is_gan();
        let taken = match is_gan {
            true => format!("`inkgrad generate --model {quoted}` draws with it"),
            false => format!("`inkgrad train --from {quoted}` trains it further"),
        };
        let remedy = "elsewhere a built-in name or a .toml file is expected";
        return Err(refuse(format!("is a trained model and no architecture; {taken}, {remedy}")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| refuse("not an architecture: expected TOML in UTF-8 with `layers = [ ... ]`".into()))?;
    Model::parse(&text, name_or_path)
}

/// What to do with a run's folder that is given as an architecture. A GAN's run cannot be trained further.
fn runs_folder(path: &Path, quoted: &str) -> String {
    let own = path.join(run_files::ARCHITECTURE);
    let text = own.is_file().then(|| std::fs::read_to_string(&own).unwrap_or_default());
    let own = if text.is_some() { format!("; its own is {}", own.display()) } else { String::new() };
    let further = match text.is_some_and(|text| Gan::is_meant(&text)) {
        true => String::new(),
        false => format!(", `inkgrad train --from {quoted}` trains its model further"),
    };
    format!(
        "is a run's folder, where an architecture is expected{own}. `inkgrad train --resume {quoted}` resumes the \
         run{further}"
    )
}
