//! Which of a file's tensors belong to which layer, and how many classes they are for.

use super::{Theirs, channels_in};
use crate::models::{Built, Kind, Network, Source, Units, by};

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

    /// How many numbers a dense layer with these tensors gives, and how many it takes.
    pub fn dense(&self) -> Option<[usize; 2]> {
        match self.get("weight")?.dims[..] {
            [k, c] => Some([k, c]),
            _ => None,
        }
    }

    /// Its name in a form that a layer may have: architectures allow no dots in names.
    fn layer(&self) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        self.name.chars().map(letter).collect()
    }

    /// `weight [10, 64], bias [10]`
    fn sizes(&self) -> String {
        let sizes = self.tensors.iter().map(|(suffix, tensor)| format!("{suffix} {:?}", tensor.dims));
        sizes.collect::<Vec<_>>().join(", ")
    }
}

/// Letters, and the number after them.
type Part = (String, Option<u64>);

/// A name in parts that compare naturally: numbers as numbers.
pub fn natural(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| text + at);
        let number = (digits > text).then(|| rest[text..digits].parse().unwrap_or(u64::MAX));
        parts.push((rest[..text].to_string(), number));
        rest = &rest[digits..];
    }
    parts
}

/// Whether the names themselves show that they are in order: they are alike but for numbers, and these count up.
fn count_up(names: &[&str]) -> bool {
    names.windows(2).all(|pair| {
        let (first, second) = (natural(pair[0]), natural(pair[1]));
        let mut parts = first.iter().zip(&second);
        let is_alike = parts.all(|((a, m), (b, n))| a == b && m.is_some() == n.is_some());
        is_alike && first.len() == second.len() && first < second
    })
}

/// What a layer needs. Layers that need the same could have each other's tensors.
#[derive(PartialEq)]
struct Need {
    /// The sizes of its weight, or of each of its running statistics, as PyTorch has them.
    dims: Vec<usize>,
    /// Whether it is a batch norm, which may lack weight and bias.
    norm: bool,
    bias: bool,
}

impl Need {
    fn of(network: &Network, layer: &Built) -> Need {
        let (c, k) = (channels_in(network, layer), layer.output.last().copied().unwrap_or(1));
        let (dims, norm) = match &layer.spec.kind {
            Kind::Conv(conv) => (vec![k, c, conv.kernel[0], conv.kernel[1]], false),
            Kind::ConvTransposed(conv) => (vec![c, k, conv.kernel[0], conv.kernel[1]], false),
            Kind::BatchNorm { .. } => (vec![c], true),
            _ => (vec![k, c], false),
        };
        Need { dims, norm, bias: !norm && layer.bias.is_some() }
    }

    fn fits(&self, group: &Group) -> bool {
        let of = group.get(if self.norm { "running_mean" } else { "weight" });
        of.is_some_and(|tensor| tensor.dims == self.dims) && (self.norm || group.get("bias").is_some() == self.bias)
    }

    /// In words, for a layer that found no tensors: what it needs, and which of the groups that are `left` lacks only
    /// part of it, or has too much.
    fn describe(&self, layer: &Built, left: &[&Group]) -> String {
        let sizes = match self.dims[..] {
            // Without its tensors nothing says how many classes there are.
            [_, c] if is_head(layer) => format!("[classes, {c}]"),
            _ => format!("{:?}", self.dims),
        };
        let near = left.iter().find(|group| group.get("weight").is_some_and(|tensor| tensor.dims == self.dims));
        match near.map(|group| &group.name) {
            Some(name) if self.norm => format!("a running_mean and a running_var of {sizes}, which {name} lacks"),
            None if self.norm => format!("a running_mean and a running_var of {sizes}"),
            Some(name) if self.bias => {
                format!("a weight of {sizes} and a bias, which {name} lacks (or bias = false in the architecture)")
            }
            Some(name) => {
                format!("a weight of {sizes} and no bias, which {name} has (or bias = true in the architecture)")
            }
            None => format!("a weight of {sizes} and {} bias", if self.bias { "a" } else { "no" }),
        }
    }
}

/// Layers with tensors, by number.
fn with_tensors(network: &Network) -> impl Iterator<Item = (usize, &Built)> {
    network.layers.iter().enumerate().filter(|(_, layer)| layer.weight.is_some())
}

/// Whether a layer has as many units as there are classes.
fn is_head(layer: &Built) -> bool {
    matches!(layer.spec.kind, Kind::Dense { units: Units::Classes, .. })
}

/// The group with the name that the architecture gives a layer.
fn named(groups: &[Group], layer: &Built) -> Option<usize> {
    let name = layer.spec.name.as_ref()?;
    groups.iter().position(|group| group.layer() == *name)
}

/// Which layers give a number of channels that depends on the number of classes.
fn classes_decide(network: &Network) -> Vec<bool> {
    let mut decide: Vec<bool> = Vec::with_capacity(network.layers.len());
    for layer in &network.layers {
        let given = layer.inputs.iter().any(|source| matches!(source, Source::Layer(at) if decide[*at]));
        decide.push(match &layer.spec.kind {
            Kind::Dense { units: Units::Classes, .. } => true,
            Kind::Conv(_) | Kind::ConvTransposed(_) | Kind::Dense { .. } | Kind::Reshape { .. } | Kind::Dot { .. } => {
                false
            }
            _ => given,
        });
    }
    decide
}

/// How many classes the tensors are for: the number of outputs of the group that is left for the layer with one unit
/// per class, once all layers whose sizes are known have theirs. `network` may be for any number of classes.
pub fn classes(network: &Network, groups: &[Group]) -> Option<usize> {
    let decide = classes_decide(network);
    let is_given = |layer: &Built| matches!(layer.inputs.first(), Some(Source::Layer(at)) if decide[*at]);
    let mut taken = vec![false; groups.len()];
    let mut unnamed = Vec::new();
    for (at, layer) in with_tensors(network) {
        match named(groups, layer) {
            Some(own) if is_head(layer) => return groups[own].dense().map(|[k, _]| k),
            Some(own) => taken[own] = true,
            None => unnamed.push((at, layer)),
        }
    }
    for (_, layer) in unnamed.iter().filter(|(at, layer)| !decide[*at] && !is_given(layer)) {
        let need = Need::of(network, layer);
        if let Some(found) = (0..groups.len()).find(|i| !taken[*i] && need.fits(&groups[*i])) {
            taken[found] = true;
        }
    }
    let (_, head) = unnamed.iter().find(|(_, layer)| is_head(layer) && !is_given(layer))?;
    let inputs = channels_in(network, head);
    let takes_them = |group: &&Group| group.dense().is_some_and(|[_, c]| c == inputs);
    let left = groups.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(group, _)| group);
    let left: Vec<&Group> = left.filter(takes_them).collect();
    let whole = left.iter().find(|group| group.get("bias").is_some() == head.bias.is_some());
    whole.or(left.first())?.dense().map(|[k, _]| k)
}

/// Each layer with tensors, by index, and its group. `groups` are in the order of their names.
///
/// # Errors
/// Layers without tensors, tensors without a layer, and groups of the same sizes whose names do not say which comes
/// first.
pub fn pair(network: &Network, groups: Vec<Group>) -> Result<Vec<(usize, Group)>, String> {
    let mut owners: Vec<Option<usize>> = vec![None; groups.len()];
    let mut sets: Vec<(Need, Vec<usize>)> = Vec::new();
    for (at, layer) in with_tensors(network) {
        if let Some(own) = named(&groups, layer) {
            owners[own] = Some(at);
            continue;
        }
        let need = Need::of(network, layer);
        match sets.iter_mut().find(|(other, _)| *other == need) {
            Some((_, layers)) => layers.push(at),
            None => sets.push((need, vec![at])),
        }
    }
    let mut lacking: Vec<(usize, &Need)> = Vec::new();
    let mut unclear: Vec<String> = Vec::new();
    let mut example = String::new();
    for (need, layers) in &sets {
        let is_free = |i: &usize| owners[*i].is_none() && need.fits(&groups[*i]);
        let fitting: Vec<usize> = (0..groups.len()).filter(is_free).collect();
        // Default names of layers count if all of them are present, as in files of this program.
        let called = |at: &usize| fitting.iter().copied().find(|i| groups[*i].layer() == network.layers[*at].name);
        let by_name: Option<Vec<usize>> = layers.iter().map(called).collect();
        let is_said = by_name.is_some();
        let found = by_name.unwrap_or(fitting);
        let names: Vec<&str> = found.iter().take(layers.len()).map(|i| groups[*i].name.as_str()).collect();
        if !is_said && !count_up(&names) {
            let first = &groups[found[0]];
            let fit: Vec<&str> = layers.iter().map(|at| network.layers[*at].name.as_str()).collect();
            unclear.push(format!("{} ({}) fit the layers {}", both(&names), first.sizes(), both(&fit)));
            example = first.layer();
        }
        for (at, group) in layers.iter().zip(&found) {
            owners[*group] = Some(*at);
        }
        lacking.extend(layers.iter().skip(found.len()).map(|at| (*at, need)));
    }

    let left = groups.iter().zip(&owners).filter(|(_, owner)| owner.is_none()).map(|(group, _)| group);
    let left: Vec<&Group> = left.collect();
    let described: Vec<String> = left.iter().map(|group| format!("{} ({})", group.name, group.sizes())).collect();
    if let Some((at, need)) = lacking.into_iter().min_by_key(|(at, _)| *at) {
        let layer = &network.layers[at];
        let needed = need.describe(layer, &left);
        let left = if described.is_empty() { "nothing".into() } else { described.join(", ") };
        return Err(format!(
            "has no tensors for layer {:?} ({}), which for images of {} (others: --input HxWxC) needs {needed}; left \
             over: {left}",
            layer.name,
            layer.spec,
            by(&network.input)
        ));
    }
    if !described.is_empty() {
        return Err(format!("has tensors that no layer of the architecture takes: {}", described.join(", ")));
    }
    if !unclear.is_empty() {
        return Err(format!(
            "does not say which of its tensors of the same sizes come first: {}. In the architecture, give each of \
             these layers the name of its tensors, as in name = \"{example}\"",
            unclear.join("; ")
        ));
    }
    let owned = owners.into_iter().zip(groups).filter_map(|(owner, group)| Some((owner?, group)));
    let mut pairs: Vec<(usize, Group)> = owned.collect();
    pairs.sort_by_key(|(at, _)| *at);
    Ok(pairs)
}

/// `a, b and c`
pub fn both(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Store;
    use crate::models::Architecture;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["conv10", "conv2", "conv2.1", "bn1", "features.10", "features.9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["bn1", "conv2", "conv2.1", "conv10", "features.9", "features.10"]);
        assert!(count_up(&["features.9", "features.10"]) && count_up(&["a0.1", "a0.2", "a1.0"]));
        for names in [["mix", "up"], ["fc", "fc2"], ["a.1", "b.2"], ["fc01", "fc1"], ["fc2", "fc2.1"]] {
            assert!(!count_up(&names), "{names:?}");
        }
    }

    fn network(layers: &str, classes: usize) -> Network {
        let text = format!("layers = [\"flatten\", {layers}, {{ dense = \"classes\" }}]");
        let architecture = Architecture::parse(&text, "net.toml").unwrap();
        architecture.declare([28, 28, 1], classes, &mut Store::default(), "classifier").unwrap().0
    }

    fn group(name: &str, tensors: &[(&str, &[usize])]) -> Group {
        let tensor =
            |(suffix, dims): &(&str, &[usize])| (suffix.to_string(), Theirs { dims: dims.to_vec(), data: Vec::new() });
        Group { name: name.into(), tensors: tensors.iter().map(tensor).collect() }
    }

    fn dense(name: &str, k: usize, c: usize) -> Group {
        group(name, &[("weight", &[k, c]), ("bias", &[k])])
    }

    /// Dense layers 784 -> 64 -> 64 -> 64 -> 10, in the order of their names.
    fn deep(names: [&str; 4]) -> Vec<Group> {
        let [first, second, third, last] = names;
        let mut all = vec![dense(first, 64, 784), dense(second, 64, 64), dense(third, 64, 64), dense(last, 10, 64)];
        all.sort_by_key(|group| natural(&group.name));
        all
    }

    const DEEP: &str = "{ dense = 64 }, { dense = 64 }, { dense = 64 }";

    fn names(pairs: &[(usize, Group)]) -> Vec<&str> {
        pairs.iter().map(|(_, group)| group.name.as_str()).collect()
    }

    #[test]
    fn layers_of_the_same_sizes_are_paired_in_the_order_of_the_numbers_in_names() {
        let layers = network(DEEP, 10);
        for own in [["fc1", "fc2", "fc10", "head"], ["0", "3", "5", "11"], ["dense0", "dense1", "dense2", "dense3"]] {
            assert_eq!(names(&pair(&layers, deep(own)).unwrap()), own);
        }
        let nested = ["in", "layers.0.linear", "layers.1.linear", "out"];
        assert_eq!(names(&pair(&layers, deep(nested)).unwrap()), nested);
    }

    #[test]
    fn layers_of_the_same_sizes_whose_names_do_not_count_are_refused() {
        let layers = network(DEEP, 10);
        let error = pair(&layers, deep(["embed", "up", "mix", "vote"])).unwrap_err();
        let fit = "mix and up (weight [64, 64], bias [64]) fit the layers dense2 and dense3";
        assert!(error.contains(fit) && error.ends_with("name = \"mix\""), "{error}");
        for own in [["in", "a", "dense3", "out"], ["in", "fc", "fc2", "out"], ["in", "body.2", "head.0", "out"]] {
            assert!(pair(&layers, deep(own)).unwrap_err().contains("does not say which"), "{own:?}");
        }
    }

    #[test]
    fn a_layers_own_name_decides() {
        let layers = "{ dense = 64 }, { dense = 64, name = \"body_up\" }, { dense = 64, name = \"body_mix\" }";
        let own = ["embed", "body.up", "body.mix", "vote"];
        assert_eq!(names(&pair(&network(layers, 10), deep(own)).unwrap()), own);
        // One of the two is enough.
        let layers = "{ dense = 64 }, { dense = 64, name = \"body_up\" }, { dense = 64 }";
        assert_eq!(names(&pair(&network(layers, 10), deep(own)).unwrap()), own);
    }

    #[test]
    fn classes_are_counted_by_the_tensors_that_are_left_for_the_last_layer() {
        for own in [["embed", "up", "mix", "vote"], ["z", "y", "x", "a"], ["fc1", "fc2", "fc3", "fc4"]] {
            assert_eq!(classes(&network(DEEP, 2), &deep(own)), Some(10), "{own:?}");
        }
        let named = "{ dense = 64 }, { dense = 64, name = \"a\" }, { dense = 64, name = \"b\" }";
        assert_eq!(classes(&network(named, 64), &deep(["z", "b", "a", "c"])), Some(10));
        // As many classes as hidden units.
        let mut square = deep(["fc1", "fc2", "fc3", "fc4"]);
        square[3] = dense("fc4", 64, 64);
        assert_eq!(classes(&network(DEEP, 2), &square), Some(64));
        // Those of another network tell nothing.
        assert_eq!(classes(&network("{ dense = 5 }", 2), &deep(["a", "b", "c", "d"])), None);
        // Nor does a layer that the architecture lacks.
        let more = [deep(["fc1", "fc2", "fc3", "fc4"]), vec![dense("more", 3, 3)]].concat();
        assert_eq!(classes(&network(DEEP, 2), &more), Some(10));
    }

    #[test]
    fn what_a_layer_lacks_is_named() {
        let refused = |layers: &str, groups: Vec<Group>| pair(&network(layers, 10), groups).unwrap_err();
        let bare = group("in", &[("weight", &[64, 784])]);
        let head = || dense("out", 10, 64);
        let error = refused("{ dense = 64 }", vec![bare.clone(), head()]);
        assert!(error.contains("a weight of [64, 784] and a bias, which in lacks (or bias = false"), "{error}");
        assert!(error.ends_with("left over: in (weight [64, 784])"), "{error}");
        let error = refused("{ dense = 64, bias = false }", vec![dense("in", 64, 784), head()]);
        assert!(error.contains("a weight of [64, 784] and no bias, which in has (or bias = true"), "{error}");
        let norm = group("norm", &[("weight", &[64]), ("bias", &[64])]);
        let error = refused("{ dense = 64, bias = false }, \"batch_norm\"", vec![bare.clone(), norm, head()]);
        assert!(error.contains("a running_mean and a running_var of [64], which norm lacks"), "{error}");
        let error = refused("{ dense = 64, bias = false }", vec![bare]);
        assert!(error.contains("which for images of 28x28x1 (others: --input HxWxC) needs a weight"), "{error}");
        assert!(error.contains("needs a weight of [classes, 64] and a bias; left over: nothing"), "{error}");
        let error = refused("{ dense = 64 }", vec![dense("in", 64, 784), head(), dense("more", 3, 3)]);
        assert!(error.ends_with("no layer of the architecture takes: more (weight [3, 3], bias [3])"), "{error}");
    }
}
