//! Keras models, version 2 and 3: `.h5` and `.keras`, sequential and functional.
//!
//! Keras has the same order of axes as this program: images `[h, w, c]`, kernels `[r, s, c, k]`. A layer that is called
//! in several places becomes several layers with the same weights.

mod archive;
mod config;
mod hdf5;
mod layers;

use std::collections::HashMap;

use archive::Archive;
use config::{Call, KerasModel};
use layers::Reader;

use super::draft::{Draft, Flow, From};
use super::finish::{Imported, Wishes, image};
use crate::data::MAX_CHANNELS;
use crate::models::Kind;

/// Whether bytes begin like an HDF5 file or a zip archive.
pub fn is_meant(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89HDF\r\n\x1a\n") || bytes.starts_with(b"PK")
}

/// The model in the bytes of a `.h5` or `.keras` file.
///
/// # Errors
/// A message that says what is wrong with the file, or which layer this program does not have.
pub fn import(bytes: Vec<u8>, wishes: &Wishes) -> Result<Imported, String> {
    let archive = Archive::open(bytes)?;
    let model = KerasModel::read(&archive.config)?;
    let mut draft = Draft::new(input(&model, wishes)?, false);
    // The first layer's input has the file's sizes.
    let kind = match model.input.len() {
        1 => Some(Kind::Flatten),
        2 => Some(Kind::Reshape { shape: draft.input[..2].to_vec() }),
        _ => None,
    };
    if let Some(kind) = kind {
        draft.entry = draft.push(kind, &[From::Input], None, Vec::new())?;
    }

    let mut reader = Reader::new(&archive, &model.layers);
    let mut flows: HashMap<Call, Flow> = HashMap::new();
    if let Some(entry) = model.entry {
        flows.insert((entry, 0), Flow::of(draft.entry));
    }
    let calls =
        model.layers.iter().enumerate().flat_map(|(i, layer)| (0..layer.calls.len()).map(move |node| (i, node)));
    let mut waiting: Vec<Call> = calls.filter(|call| !flows.contains_key(call)).collect();
    // A configuration may list layers in any order: each is read once all of its inputs have been.
    while !waiting.is_empty() {
        let mut left = Vec::new();
        for call in &waiting {
            let layer = &model.layers[call.0];
            let inputs = &layer.calls[call.1];
            let given: Option<Vec<Flow>> = match inputs.is_empty() {
                // The first layer of a sequential model takes the image.
                true => (model.entry.is_none() && call.0 == 0).then(|| vec![Flow::of(draft.entry)]),
                false => inputs.iter().map(|input| flows.get(input).copied()).collect(),
            };
            match given {
                Some(given) => {
                    let flow = reader.read(&mut draft, call.0, &given).map_err(|problem| match layer.class {
                        class if class == layer.name => format!("layer {class}: {problem}"),
                        class => format!("layer {:?} ({class}): {problem}", layer.name),
                    })?;
                    flows.insert(*call, flow);
                }
                None => left.push(*call),
            }
        }
        if left.len() == waiting.len() {
            break;
        }
        waiting = left;
    }
    let Some(output) = flows.get(&model.output).copied() else {
        let name = model.layers.get(model.output.0).map_or("", |layer| layer.name);
        return Err(format!("its output {name:?} depends on layers that form a cycle or are missing"));
    };
    let output = draft.settle(output)?;
    draft.finish(output, model.name, "a Keras model", wishes)
}

/// Height, width and channels of the images that a model takes.
fn input(model: &KerasModel, wishes: &Wishes) -> Result<[usize; 3], String> {
    image(&model.input, wishes.input).map_err(|problem| match model.input[..] {
        [Some(c), Some(h), Some(w)] if c <= MAX_CHANNELS && w > MAX_CHANNELS => {
            format!("{problem}. It has its channels first; expected them last, as in Input(({h}, {w}, {c}))")
        }
        _ => problem,
    })
}
