//! Tensors with PyTorch's names and axes, in safetensors: what `save_file(model.state_dict(), ...)` writes.
//!
//! Such a file has no layers; an architecture says what they are. In PyTorch, kernels are `[k, c, r, s]`, dense weights
//! `[out, in]`, and an image is flattened with its channels first.

mod differences;
mod export;
mod pairing;

use std::collections::HashMap;
use std::io::Cursor;

use safetensors::tensor::Dtype;
use safetensors::{SafeTensorError, SafeTensors};
use zip::ZipArchive;

pub use differences::differences;
pub use export::export;

use super::finish::{Imported, Wishes, class_names, keep_pictures, store_normalization};
use super::layout::{kernel_from_torch, permute, transposed_from_torch};
use super::order::{Order, Piece, orders, rows_to_own, to_own};
use super::scale::Scale;
use crate::data::MAX_CLASSES;
use crate::graph::Store;
use crate::models::{Architecture, Built, Kind, ModelFile, Network, Source, by};
use pairing::{Group, both, pair};

/// How pixels of 0 to 1 are normalized, in the metadata of files that this program writes.
const MEAN: &str = "mean";
const STD: &str = "std";
/// The same as in a model file under this key.
const CLASS_NAMES: &str = "class_names";

/// Whether bytes begin like a safetensors file: a length, and JSON.
pub fn is_meant(bytes: &[u8]) -> bool {
    bytes.first_chunk::<8>().is_some_and(|length| u64::from_le_bytes(*length) <= 100_000_000)
        && bytes.get(8) == Some(&b'{')
}

/// What bytes are that only Python can read, and what to do there: what `torch.save` writes, which is a pickle or a zip
/// archive with one in it, and what `torch.export.save` writes.
pub fn only_for_python(bytes: &[u8]) -> Option<&'static str> {
    let zip = if bytes.starts_with(b"PK") { ZipArchive::new(Cursor::new(bytes)).ok() } else { None };
    let has = |ending: &str| zip.iter().any(|zip| zip.file_names().flatten().any(|name| name.ends_with(ending)));
    // A pickle of version 2 or later begins with that.
    if matches!(bytes, [0x80, 2..=5, ..]) || has("data.pkl") {
        return Some(
            "is a pickle, as torch.save writes it, which only Python can read; there, run \
             `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`, and import that with \
             --architecture",
        );
    }
    (has("/models/model.json") || has("serialized_exported_program.json")).then_some(
        "is a program of torch.export, which only Python can read; there, run \
         `safetensors.torch.save_file(torch.export.load(\"model.pt2\").state_dict, \"model.safetensors\")`, and import \
         that with --architecture",
    )
}

/// A tensor as PyTorch stores it.
#[derive(Clone, PartialEq, Debug)]
pub struct Theirs {
    pub dims: Vec<usize>,
    pub data: Vec<f32>,
}

/// The tensors of a safetensors file as the weights of `architecture`.
///
/// The part of a tensor's name before its last dot names its layer. A layer takes the tensors with the name that the
/// architecture gives it; the other layers take what is left, by kind and sizes. If several have the same sizes, the
/// numbers in their names say which comes first (`conv2` before `conv10`).
///
/// # Errors
/// A message that says what is wrong with the file, what does not fit the architecture, or which names do not tell
/// which of several layers of the same sizes comes first.
pub fn import(bytes: &[u8], architecture: &Architecture, wishes: &Wishes) -> Result<Imported, String> {
    let groups = read(bytes)?;
    if groups.is_empty() {
        return Err("holds no tensors of a layer".into());
    }
    let image = wishes.input.or(architecture.input).unwrap_or([28, 28, 1]);
    super::finish::check_channels(image)?;
    let metadata = metadata(bytes);
    let told: Option<Vec<String>> = metadata.get(CLASS_NAMES).and_then(|names| serde_json::from_str(names).ok());
    let classes = classes(architecture, image, &groups)?;
    if !(2..=MAX_CLASSES).contains(&classes) {
        return Err(format!("its last layer gives {classes} numbers; expected 2 to {MAX_CLASSES} classes"));
    }
    let mut store = Store::default();
    let (network, parameters) =
        architecture.declare(image, classes, &mut store, "classifier").map_err(|e| e.to_string())?;
    let orders = orders_of(&network)?;

    let pairs = pair(&network, groups)?;
    let mut values = parameters.zeros();
    let mut notes = Vec::new();
    for (at, group) in pairs {
        let layer = &network.layers[at];
        let given = order_of(layer.inputs.first(), &orders);
        let c = channels_in(&network, layer);
        let tensors = check(layer, &group, &metadata)
            .and_then(|()| convert(layer, c, &group, given, &orders[at]))
            .map_err(|problem| format!("layer {:?}: {problem}", layer.name))?;
        for (index, is_weight, data) in tensors {
            let (p, flat) = match is_weight {
                true => (&parameters.trainable()[index], &mut values.weights),
                false => (&parameters.statistics()[index], &mut values.running),
            };
            if data.len() != p.shape.len() {
                return Err(format!("{} has {} numbers, {} needs {}", group.name, data.len(), p.name, p.shape));
            }
            flat[p.offset..][..data.len()].copy_from_slice(&data);
        }
        notes.push(format!("{} takes {}", layer.name, group.name));
    }
    notes.extend(differences(&network).iter().map(|told| format!("expected in the PyTorch module: {told}")));
    let class_names = class_names(wishes.class_names.clone().or(told), classes)?;
    let scale = wishes.scale.or_else(|| told_scale(&metadata, &mut notes)).unwrap_or_else(|| {
        notes.push(format!(
            "assumed that the network takes pixels from {}; if it was trained on something else, give --scale or \
             --mean and --std",
            Scale::UNIT.describe()
        ));
        Scale::UNIT
    });
    let normalization = scale.of_model()?;
    let mut file = ModelFile::new(&network, &parameters, &values);
    file.set_class_names(&class_names);
    store_normalization(&mut file, normalization);
    file.set("imported", "tensors of PyTorch");
    keep_pictures(&mut file, |key| metadata.get(key).map(String::as_str));
    Ok(Imported { file, notes })
}

/// The file's metadata; empty if it has none.
fn metadata(bytes: &[u8]) -> HashMap<String, String> {
    let header = SafeTensors::read_metadata(bytes).ok();
    header.and_then(|(_, header)| header.metadata().clone()).unwrap_or_default()
}

/// What the metadata say about the pixels that the network takes.
fn told_scale(metadata: &HashMap<String, String>, notes: &mut Vec<String>) -> Option<Scale> {
    let number = |key: &str| metadata.get(key)?.parse::<f32>().ok();
    let (mean, std) = (number(MEAN)?, number(STD)?);
    notes.push(format!(
        "takes pixels as (byte / 255 - {mean}) / {std}, as the file's metadata says; --scale, or --mean and --std, \
         change that"
    ));
    Some(Scale { mean: mean.into(), std: std.into() })
}

/// The file's tensors, grouped by the part of their names before the last dot.
fn read(bytes: &[u8]) -> Result<Vec<Group>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| match error {
        SafeTensorError::MetadataIncompleteBuffer | SafeTensorError::InvalidHeaderLength => {
            "is cut short or damaged: its size is not what its header says. Copy or save it again".to_string()
        }
        error => format!("cannot be read as safetensors: {error}"),
    })?;
    let mut groups: Vec<Group> = Vec::new();
    for (full, view) in file.tensors() {
        let (name, suffix) = full.rsplit_once('.').unwrap_or(("", &full));
        // The number of batches it has seen matters to no one here.
        if suffix == "num_batches_tracked" {
            continue;
        }
        let (words, _) = view.data().as_chunks::<4>();
        let data = match view.dtype() {
            Dtype::F32 => words.iter().map(|word| f32::from_le_bytes(*word)).collect::<Vec<f32>>(),
            other => {
                return Err(format!("tensor {full:?} is {other:?}; expected F32: call model.float() before saving"));
            }
        };
        if let Some(bad) = data.iter().find(|x| !x.is_finite()) {
            return Err(format!("tensor {full:?} holds {bad}; a network with such weights answers nothing"));
        }
        let tensor = (suffix.to_string(), Theirs { dims: view.shape().to_vec(), data });
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.tensors.push(tensor),
            None => groups.push(Group { name: name.into(), tensors: vec![tensor] }),
        }
    }
    // The library's order differs each time.
    for group in &mut groups {
        group.tensors.sort_by(|(a, _), (b, _)| (a != "weight", a).cmp(&(b != "weight", b)));
    }
    groups.sort_by_key(|group| (pairing::natural(&group.name), group.name.clone()));
    Ok(groups)
}

/// How many classes the tensors are for.
fn classes(architecture: &Architecture, image: [usize; 3], groups: &[Group]) -> Result<usize, String> {
    let network = |classes: Option<usize>| {
        let declared = architecture.declare(image, classes, &mut Store::default(), "classifier");
        declared.map(|(network, _)| network).map_err(|error| error.to_string())
    };
    if !architecture.is_classifier() {
        return match network(None)?.output() {
            [classes] => Ok(*classes),
            shape => {
                let remedy = "end it with { dense = \"classes\" }";
                Err(format!("the architecture gives {} instead of a number for each class; {remedy}", by(shape)))
            }
        };
    }
    // Sizes that do not depend on this number are the same with any; one of the tensors' fits those that do.
    let widths = groups.iter().rev().filter_map(Group::dense).map(|[k, _]| k);
    let mut refused = String::new();
    for guess in widths.filter(|k| (2..=MAX_CLASSES).contains(k)).chain([2]) {
        match network(Some(guess)) {
            Ok(network) => return Ok(pairing::classes(&network, groups).unwrap_or(guess)),
            Err(problem) if refused.is_empty() => refused = problem,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// The order of each layer's numbers when channels come first.
pub(super) fn orders_of(network: &Network) -> Result<Vec<Order>, String> {
    let number = |source: &Source| match source {
        Source::Layer(at) => Some(*at),
        _ => None,
    };
    let pieces: Vec<Piece> = network
        .layers
        .iter()
        .map(|layer| Piece {
            kind: &layer.spec.kind,
            inputs: layer.inputs.iter().map(number).collect(),
            shape: &layer.output,
            channels_first: true,
        })
        .collect();
    let told = |(at, problem): (usize, String)| format!("layer {:?}: {problem}", network.layers[at].name);
    orders(&network.input, &pieces).map_err(told)
}

fn order_of<'a>(source: Option<&Source>, orders: &'a [Order]) -> &'a Order {
    match source {
        Some(Source::Layer(at)) => &orders[*at],
        _ => &None,
    }
}

/// The sizes of a layer's first input.
fn input_of<'a>(network: &'a Network, layer: &Built) -> &'a [usize] {
    match layer.inputs.first() {
        Some(Source::Layer(at)) => &network.layers[*at].output,
        _ => &network.input,
    }
}

/// Channels of a layer's input.
fn channels_in(network: &Network, layer: &Built) -> usize {
    input_of(network, layer).last().copied().unwrap_or(1)
}

/// Succeeds if nothing in the file says that it computes something else in this layer.
///
/// # Errors
/// Tensors that the layer has no use for, and a batch norm with another epsilon than the metadata state.
fn check(layer: &Built, group: &Group, metadata: &HashMap<String, String>) -> Result<(), String> {
    let used: &[&str] = match &layer.spec.kind {
        Kind::BatchNorm { .. } => &["weight", "bias", "running_mean", "running_var"],
        _ => &["weight", "bias"],
    };
    let suffixes = group.tensors.iter().map(|(suffix, _)| suffix.as_str());
    let more: Vec<&str> = suffixes.filter(|suffix| !used.contains(suffix)).collect();
    if !more.is_empty() {
        return Err(format!(
            "{} has {} besides {}, which would change what it computes. Merge them into the weight before it is saved \
             (LoRA: merge_and_unload(), pruning: torch.nn.utils.prune.remove), or leave out what changes nothing",
            group.name,
            both(&more),
            both(used)
        ));
    }
    let key = format!("{}.eps", group.name);
    let told = metadata.get(&key).and_then(|epsilon| epsilon.parse::<f32>().ok());
    match (&layer.spec.kind, told) {
        (Kind::BatchNorm { epsilon, .. }, Some(told)) if told != *epsilon => Err(format!(
            "has an epsilon of {epsilon} in the architecture, but {key} in the file's metadata is {told}; write \
             epsilon = {told} in the architecture"
        )),
        _ => Ok(()),
    }
}

/// A layer's tensors: index among the trainable or the running ones, whether it is trainable, and the numbers.
type Own = Vec<(usize, bool, Vec<f32>)>;

fn convert(layer: &Built, c: usize, group: &Group, given: &Order, made: &Order) -> Result<Own, String> {
    let k = layer.output.last().copied().unwrap_or(1);
    let sized = |suffix: &str, dims: &[usize]| match group.get(suffix) {
        Some(tensor) if tensor.dims == dims => Ok(Some(&tensor.data[..])),
        Some(tensor) => Err(format!("{}.{suffix} is {}, it needs {}", group.name, by(&tensor.dims), by(dims))),
        None => Ok(None),
    };
    let missing = |suffix: &str| format!("{}.{suffix} is missing", group.name);
    let needed = |suffix: &str, dims: &[usize]| sized(suffix, dims)?.ok_or_else(|| missing(suffix));
    let mut own: Own = Vec::new();
    let (weight, bias) = (layer.weight.unwrap_or_default(), layer.bias);
    match &layer.spec.kind {
        Kind::Conv(conv) => {
            let dims = [k, c, conv.kernel[0], conv.kernel[1]];
            own.push((weight, true, kernel_from_torch(needed("weight", &dims)?, dims)));
        }
        Kind::ConvTransposed(conv) => {
            let dims = [c, k, conv.kernel[0], conv.kernel[1]];
            own.push((weight, true, transposed_from_torch(needed("weight", &dims)?, dims)));
        }
        Kind::Dense { .. } => {
            let data = permute(needed("weight", &[k, c])?, [k, c], [1, 0]);
            own.push((weight, true, to_own(made, &rows_to_own(given, &data, k))));
        }
        Kind::BatchNorm { scale, .. } => {
            let row = |suffix: &str| needed(suffix, &[c]).map(|data| to_own(given, data));
            let or = |suffix: &str, x: f32| {
                sized(suffix, &[c]).map(|data| data.map_or(vec![x; c], |data| to_own(given, data)))
            };
            let (gamma, beta) = (or("weight", 1.0)?, or("bias", 0.0)?);
            if !scale && gamma.iter().any(|x| *x != 1.0) {
                return Err(format!("{}.weight scales, the architecture says scale = false", group.name));
            }
            own.push((weight, true, if *scale { [gamma, beta].concat() } else { beta }));
            let (mean, variance) = (row("running_mean")?, row("running_var")?);
            if let Some(bad) = variance.iter().find(|x| **x < 0.0) {
                return Err(format!("{}.running_var holds {bad}; no variance is below 0", group.name));
            }
            own.push((layer.running.unwrap_or_default(), false, [mean, variance].concat()));
            return Ok(own);
        }
        _ => return Ok(own),
    }
    match (bias, sized("bias", &[k])?) {
        (Some(index), Some(data)) => own.push((index, true, to_own(made, data))),
        (Some(_), None) => return Err(format!("{}; or say bias = false in the architecture", missing("bias"))),
        (None, Some(_)) => return Err(format!("{}.bias is there; the architecture says bias = false", group.name)),
        (None, None) => {}
    }
    Ok(own)
}
