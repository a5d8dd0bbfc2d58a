//! A model's tensors as a PyTorch module of the same layers would have them.

use super::{CLASS_NAMES, MEAN, STD, channels_in, order_of, orders_of};
use crate::data::Pictures;
use crate::graph::Store;
use crate::interchange::layout::{kernel_to_torch, permute, transposed_to_torch};
use crate::interchange::order::{rows_to_theirs, to_theirs};
use crate::models::{Kind, ModelError, ModelFile, Normalization, SavedTensor, Values, Words};
use crate::tensor::Shape;

/// The bytes of a safetensors file: kernels `[k, c, r, s]`, dense weights `[out, in]`, batch norm's `weight`, `bias`,
/// `running_mean` and `running_var`, each under its layer's name. A flattened image has its channels first, so that a
/// module with the same layers gives the same answers. The metadata say what no tensor does: `mean` and `std`, by which
/// pixels of 0 to 1 are normalized, the `class_names`, how `pictures` became images, the images' `background` if it is not
/// black, and each batch norm's epsilon, as `bn1.eps`.
///
/// # Errors
/// Errors from reading the model, a generator, and layers whose order of numbers PyTorch cannot have.
pub fn export(model: &ModelFile) -> Result<Vec<u8>, ModelError> {
    if model.is_gan() {
        return Err(model.refuse("is a generator, which cannot be written as plain safetensors; export it as .onnx"));
    }
    let mut store = Store::default();
    let (network, parameters) = model.network(&mut store, "classifier")?;
    let Values { weights, running } = model.values("", &parameters)?;
    let orders = orders_of(&network).map_err(|problem| model.refuse(problem))?;

    let mut file = ModelFile::default();
    for key in [MEAN, STD, CLASS_NAMES, Pictures::KEY, Normalization::BACKGROUND] {
        if let Some(value) = model.metadata.get(key) {
            file.set(key, value);
        }
    }
    for (at, layer) in network.layers.iter().enumerate() {
        let given = order_of(layer.inputs.first(), &orders);
        let weight = layer.weight.map(|index| &parameters.trainable()[index]);
        let Some(weight) = weight.map(|p| &weights[p.offset..][..p.shape.len()]) else { continue };
        let (c, k) = (channels_in(&network, layer), layer.output.last().copied().unwrap_or(1));
        let mut add = |suffix: &str, dims: &[usize], data: Vec<f32>| {
            let (name, shape) = (format!("{}.{suffix}", layer.name), Shape::new(dims));
            file.tensors.push(SavedTensor { name, shape, words: Words::F32(data) });
        };
        match &layer.spec.kind {
            Kind::Conv(conv) => {
                let [r, s] = conv.kernel;
                add("weight", &[k, c, r, s], kernel_to_torch(weight, [r, s, c, k]));
            }
            Kind::ConvTransposed(conv) => {
                let [r, s] = conv.kernel;
                add("weight", &[c, k, r, s], transposed_to_torch(weight, [r, s, c, k]));
            }
            Kind::Dense { .. } => {
                let theirs = rows_to_theirs(given, &to_theirs(&orders[at], weight), k);
                add("weight", &[k, c], permute(&theirs, [c, k], [1, 0]));
            }
            Kind::BatchNorm { scale, epsilon, .. } => {
                let (gamma, beta) = if *scale { weight.split_at(c) } else { (&[][..], weight) };
                let gamma = if *scale { to_theirs(given, gamma) } else { vec![1.0; c] };
                add("weight", &[c], gamma);
                add("bias", &[c], to_theirs(given, beta));
                let statistics = layer.running.map(|index| &parameters.statistics()[index]);
                if let Some(p) = statistics {
                    let (mean, variance) = running[p.offset..][..p.shape.len()].split_at(c);
                    add("running_mean", &[c], to_theirs(given, mean));
                    add("running_var", &[c], to_theirs(given, variance));
                }
                file.metadata.insert(format!("{}.eps", layer.name), epsilon.to_string());
            }
            _ => {}
        }
        if let Some(p) = layer.bias.map(|index| &parameters.trainable()[index]) {
            add("bias", &[k], to_theirs(&orders[at], &weights[p.offset..][..p.shape.len()]));
        }
    }
    file.to_bytes(&model.name)
}
