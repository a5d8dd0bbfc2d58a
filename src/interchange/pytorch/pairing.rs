//! Which of a file's tensors belong to which layer.

use super::Theirs;
use crate::models::{Built, Kind, Network, Source};

/// Tensors whose names begin alike: `conv1.weight` and `conv1.bias`.
#[derive(Clone, PartialEq, Debug)]
pub struct Group {
    pub name: String,
    pub tensors: Vec<(String, Theirs)>,
}

impl Group {
    pub fn get(&self, suffix: &str) -> Option<&Theirs> {
        self.tensors.iter().find(|(own, _)| own == suffix).map(|(_, tensor)| tensor)
    }
}

/// A name in parts that compare as people count: numbers as numbers.
pub fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| text + at);
        parts.push((0, rest[..text].to_string()));
        parts.push((rest[text..digits].parse().unwrap_or(u64::MAX), String::new()));
        rest = &rest[digits..];
    }
    parts
}

/// Each layer with tensors, by number, and its group.
///
/// # Errors
/// Layers without tensors, and tensors without a layer.
pub fn pair(network: &Network, mut groups: Vec<Group>) -> Result<Vec<(usize, Group)>, String> {
    let mut pairs: Vec<(usize, Group)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (at, layer) in network.layers.iter().enumerate().filter(|(_, layer)| layer.weight.is_some()) {
        // Architectures have no dots in names.
        match groups.iter().position(|group| group.name.replace('.', "_") == layer.name) {
            Some(found) => pairs.push((at, groups.remove(found))),
            None => open.push(at),
        }
    }
    for at in open {
        let layer = &network.layers[at];
        let wanted = wanted(network, layer);
        let Some(found) = groups.iter().position(|group| fits(layer, &wanted, group)) else {
            let left: Vec<String> = groups.iter().map(describe).collect();
            let left = if left.is_empty() { "nothing".into() } else { left.join(", ") };
            return Err(format!(
                "has no tensors for layer {:?} ({}), which needs a weight of {wanted:?}; left over: {left}",
                layer.name, layer.spec
            ));
        };
        pairs.push((at, groups.remove(found)));
    }
    if !groups.is_empty() {
        let left: Vec<String> = groups.iter().map(describe).collect();
        return Err(format!("has tensors that no layer of the architecture takes: {}", left.join(", ")));
    }
    pairs.sort_by_key(|(at, _)| *at);
    Ok(pairs)
}

fn describe(group: &Group) -> String {
    let sizes = group.tensors.iter().map(|(suffix, tensor)| format!("{suffix} {:?}", tensor.dims));
    format!("{} ({})", group.name, sizes.collect::<Vec<_>>().join(", "))
}

/// The sizes of a layer's weight, as PyTorch has them.
fn wanted(network: &Network, layer: &Built) -> Vec<usize> {
    let from = match layer.inputs.first() {
        Some(Source::Layer(at)) => &network.layers[*at].output,
        _ => &network.input,
    };
    let (c, k) = (from.last().copied().unwrap_or(1), layer.output.last().copied().unwrap_or(1));
    match &layer.spec.kind {
        Kind::Conv(conv) => vec![k, c, conv.kernel[0], conv.kernel[1]],
        Kind::ConvTransposed(conv) => vec![c, k, conv.kernel[0], conv.kernel[1]],
        Kind::BatchNorm { .. } => vec![c],
        _ => vec![k, c],
    }
}

fn fits(layer: &Built, wanted: &[usize], group: &Group) -> bool {
    let is_norm = matches!(layer.spec.kind, Kind::BatchNorm { .. });
    let of = if is_norm { group.get("running_mean") } else { group.get("weight") };
    let has_bias = group.get("bias").is_some();
    of.is_some_and(|tensor| tensor.dims == wanted) && (is_norm || has_bias == layer.bias.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["conv10", "conv2", "conv2.1", "bn1", "features.10", "features.9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["bn1", "conv2", "conv2.1", "conv10", "features.9", "features.10"]);
    }
}
