//! Where the parts of a Keras model are in its file.
//!
//! A `.h5` file holds the configuration as a text in an attribute and each layer's tensors under that layer's name. A
//! `.keras` file is a zip archive: `config.json`, and `model.weights.h5`, where layers are numbered by kind (`dense`,
//! `dense_1`) and a layer's tensors are numbered too.

use std::io::{Cursor, Read};

use serde_json::Value;
use zip::ZipArchive;
use zip::result::ZipError;

use super::hdf5::{Hdf5, Stored};
use crate::models::MAX_SIZE;

/// The longest configuration that is read.
const MAX_CONFIG: u64 = 64 << 20;
/// The largest file of weights that is read out of an archive.
const MAX_WEIGHTS: u64 = 4 * MAX_SIZE as u64 + (64 << 20);

/// A model's configuration and its weights.
pub struct Archive {
    pub config: Value,
    weights: Hdf5,
    numbered: bool,
}

/// The layer whose tensors are wanted: its name, its kind in Keras's lower-case spelling, and how many of that kind
/// precede it.
pub struct Which<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub above: usize,
}

impl Archive {
    /// # Errors
    /// If it is not a complete Keras model; the message says what it is instead.
    pub fn open(bytes: Vec<u8>) -> Result<Archive, String> {
        if bytes.starts_with(b"PK") { Archive::from_zip(bytes) } else { Archive::from_hdf5(bytes) }
    }

    fn from_hdf5(bytes: Vec<u8>) -> Result<Archive, String> {
        let weights = Hdf5::open(bytes)?;
        let Some(config) = weights.text("", "model_config") else {
            let remedy = "save the whole model, `model.save(...)`, rather than `model.save_weights(...)`";
            return Err(format!("holds no model: its attributes have no model_config; {remedy}"));
        };
        Ok(Archive { config: parse(&config)?, weights, numbered: false })
    }

    fn from_zip(bytes: Vec<u8>) -> Result<Archive, String> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| match error {
            // The list of its files is at its end.
            ZipError::InvalidArchive(_) => {
                "is cut short or not a .keras file: it lacks the end of a zip archive. Copy or save it again"
                    .to_string()
            }
            error => format!("cannot be read as a zip archive: {error}. Copy or save it again"),
        })?;
        let config = member(&mut zip, "config.json", MAX_CONFIG)?;
        let config = String::from_utf8(config).map_err(|_| "config.json is not text in UTF-8".to_string())?;
        let weights = Hdf5::open(member(&mut zip, "model.weights.h5", MAX_WEIGHTS)?)
            .map_err(|problem| format!("model.weights.h5 {problem}"))?;
        Ok(Archive { config: parse(&config)?, weights, numbered: true })
    }

    /// A layer's tensors, by Keras's `names` and in that order.
    ///
    /// # Errors
    /// If one is missing or cannot be read, and if the layer has more of them, which would change what it computes.
    pub fn tensors(&self, which: &Which, names: &[&str]) -> Result<Vec<Stored>, String> {
        if self.numbered { self.by_number(which, names.len()) } else { self.by_name(which.name, names) }
    }

    fn by_number(&self, which: &Which, count: usize) -> Result<Vec<Stored>, String> {
        let number = if which.above == 0 { String::new() } else { format!("_{}", which.above) };
        let folders = ["layers", "_layer_checkpoint_dependencies"];
        let folder = folders.iter().map(|folder| format!("{folder}/{}{number}/vars", which.kind));
        let Some(folder) = folder.into_iter().find(|folder| self.weights.has(&format!("{folder}/0"))) else {
            return Err(format!("has no weights: model.weights.h5 has no layers/{}{number}/vars/0", which.kind));
        };
        let found: Vec<Stored> =
            (0..count).map(|i| self.weights.tensor(&format!("{folder}/{i}"))).collect::<Result<_, _>>()?;
        // Behind its own, Keras 2 keeps the two by which batch renormalization trains.
        let known = if which.kind == "batch_normalization" { count + 2 } else { count };
        if self.weights.has(&format!("{folder}/{known}")) {
            return Err(format!(
                "has more weights than its {count}, which would change what it computes: {folder}/{known}"
            ));
        }
        Ok(found)
    }

    fn by_name(&self, layer: &str, names: &[&str]) -> Result<Vec<Stored>, String> {
        let folder = format!("model_weights/{layer}");
        let stored = self.weights.texts(&folder, "weight_names").unwrap_or_default();
        if stored.is_empty() {
            return Err(format!(
                "has no weights in the file: {folder} names none. The file is damaged, or was not saved whole; copy or \
                 save it again"
            ));
        }
        // `conv2d/kernel:0` of Keras 2, `model/conv2d/kernel` of Keras 3.
        let last = |path: &str| path.rsplit('/').next().and_then(|name| name.split(':').next()).map(str::to_owned);
        let path = |name: &str| {
            let found = stored.iter().find(|path| last(path).as_deref() == Some(name));
            found.ok_or_else(|| format!("has no {name} among its weights, which are {stored:?}"))
        };
        let paths: Vec<&String> = names.iter().map(|name| path(name)).collect::<Result<_, _>>()?;
        let found: Vec<Stored> =
            paths.iter().map(|path| self.weights.tensor(&format!("{folder}/{path}"))).collect::<Result<_, _>>()?;
        // Batch renormalization of Keras 2 trains by numbers of its own, but answers as batch normalization does.
        let trains = |path: &str| last(path).is_some_and(|name| name.starts_with("renorm_"));
        let more: Vec<&String> = stored.iter().filter(|path| !paths.contains(path) && !trains(path)).collect();
        if more.is_empty() {
            return Ok(found);
        }
        Err(format!(
            "has weights besides {}: {more:?}, which would change what it computes. If they are LoRA's, save the model \
             as .keras, which merges them into the kernel",
            names.join(", ")
        ))
    }
}

fn parse(text: &str) -> Result<Value, String> {
    if text.len() as u64 > MAX_CONFIG {
        return Err(format!("its configuration has {} bytes; {MAX_CONFIG} are the most", text.len()));
    }
    serde_json::from_str(text).map_err(|error| format!("its configuration is no JSON: {error}"))
}

/// A file of the archive, by its exact name; nothing is ever written to disk.
fn member(zip: &mut ZipArchive<Cursor<Vec<u8>>>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = zip.by_name(name).map_err(|error| {
        format!("has no {name} that can be read ({error}); expected a model that Keras saved as .keras")
    })?;
    let mut bytes = Vec::new();
    // Its header may state any size: only what comes out counts.
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| format!("{name} cannot be unpacked: {error}"))?;
    if bytes.len() as u64 > most {
        return Err(format!("{name} is larger than {most} bytes, the most it may have"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_that_nobody_asks_for_is_refused_and_named() {
        for (file, more) in [("dense-keras2.h5", "[\"dense/bias:0\"]"), ("dense-keras3.keras", "layers/dense/vars/1")] {
            let path = format!("{}/tests/travel/{file}", env!("CARGO_MANIFEST_DIR"));
            let archive = Archive::open(std::fs::read(path).unwrap()).unwrap();
            let which = Which { name: "dense", kind: "dense", above: 0 };
            assert_eq!(archive.tensors(&which, &["kernel", "bias"]).unwrap().len(), 2, "{file}");
            let error = archive.tensors(&which, &["kernel"]).unwrap_err();
            assert!(error.contains(more), "{file}: {error}");
        }
    }

    #[test]
    fn a_batch_norm_with_too_many_weights_is_said_to_have_more_than_those_asked_for() {
        let path = format!("{}/tests/travel/conv-keras3.keras", env!("CARGO_MANIFEST_DIR"));
        let archive = Archive::open(std::fs::read(path).unwrap()).unwrap();
        let which = Which { name: "batch_normalization", kind: "batch_normalization", above: 0 };
        let error = archive.tensors(&which, &["gamma"]).unwrap_err();
        let words = "has more weights than its 1, which would change what it computes";
        assert!(error.starts_with(words) && error.ends_with("layers/batch_normalization/vars/3"), "{error}");
    }
}
