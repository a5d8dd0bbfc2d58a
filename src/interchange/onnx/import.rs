//! An ONNX graph as a draft: its nodes in order, each of which becomes a layer or part of one.

use std::collections::HashMap;

use prost::Message;

use super::PRODUCER;
use super::proto::{Dimension, GraphProto, ModelProto, NodeProto, UINT8, ValueInfoProto, attribute, is_float};
use super::tensor::{Constant, Data};
use crate::data::MAX_CHANNELS;
use crate::interchange::EXPECTED;
use crate::interchange::draft::{Draft, Flow, From};
use crate::interchange::finish::{Imported, Wishes, image, keep_pictures};
use crate::interchange::scale::Scale;
use crate::models::{Kind, MAX_SIZE, by};

/// A graph with more nodes is not read.
const MAX_NODES: usize = 20_000;

/// What a name in the graph stands for.
#[derive(Clone, Debug)]
pub enum Value {
    /// A value that each image has.
    Flow(Flow, Axes),
    Constant(Constant),
    /// Sizes that the graph computes itself; `None` is the free number of images.
    Sizes(Vec<Option<i64>>),
    /// An elementwise product of two rows of numbers: half of an inner product.
    Product(From, From),
}

/// Where the file has an image's channels; meaningless for a row of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axes {
    ChannelsFirst,
    ChannelsLast,
}

impl Axes {
    pub fn other(self) -> Axes {
        match self {
            Axes::ChannelsFirst => Axes::ChannelsLast,
            Axes::ChannelsLast => Axes::ChannelsFirst,
        }
    }
}

/// The graph while it is read.
pub struct Reader<'a> {
    pub draft: Draft,
    pub values: HashMap<&'a str, Value>,
    /// How often each value is used.
    pub uses: HashMap<&'a str, usize>,
    pub nodes: &'a [NodeProto],
    /// The number of images, if the graph fixes it.
    pub batch: Option<i64>,
    /// The version of the operators.
    pub opset: i64,
}

/// The model in the bytes of an ONNX file.
///
/// # Errors
/// A message that says what is wrong with the file, or which node this program cannot express.
pub fn import(bytes: &[u8], wishes: &Wishes) -> Result<Imported, String> {
    let model = ModelProto::decode(bytes).map_err(|error| format!("cannot be read as ONNX: {error}; {EXPECTED}"))?;
    let Some(graph) = &model.graph else { return Err(format!("holds no graph; {EXPECTED}")) };
    if graph.node.len() > MAX_NODES {
        return Err(format!("has {} nodes; {MAX_NODES} are the most", graph.node.len()));
    }
    let mut constants = HashMap::new();
    for tensor in &graph.initializer {
        constants.insert(tensor.name.as_str(), Value::Constant(Constant::read(tensor)?));
    }
    let mut inputs = graph.input.iter().filter(|input| !constants.contains_key(input.name.as_str()));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        let count = graph.input.len() - graph.input.iter().filter(|i| constants.contains_key(i.name.as_str())).count();
        return Err(format!("has {count} inputs; this program's networks have one, the image"));
    };

    let is_bytes = is_bytes(input)?;
    let (sizes, axes) = sizes(input)?;
    let image = image(&sizes, wishes.input)?;
    let mut draft = Draft::new(image, true);
    let mut reader = Reader {
        batch: dims(input).and_then(|dims| *dims.first()?),
        opset: opset(&model),
        values: constants,
        uses: uses(graph),
        nodes: &graph.node,
        draft: {
            // The first node's input has the file's sizes.
            let kind = match sizes.len() {
                1 => Some(Kind::Flatten),
                2 => Some(Kind::Reshape { shape: image[..2].to_vec() }),
                _ => None,
            };
            if let Some(kind) = kind {
                let [h, w, c] = image;
                if sizes.len() == 1 && c > 1 && h * w > 1 {
                    draft.notes.push(format!(
                        "assumed that its {} numbers are an image of {}, one channel after the other; if it was \
                         trained on one pixel after the other, export it with an input of [N, {h}, {w}, {c}]",
                        h * w * c,
                        by(&image)
                    ));
                }
                draft.channels_first = sizes.len() == 1;
                draft.entry = draft.push(kind, &[From::Input], None, Vec::new())?;
                draft.channels_first = true;
            }
            draft
        },
    };
    let entry = Flow::of(reader.draft.entry);
    reader.values.insert(&input.name, Value::Flow(entry, axes));
    for node in &graph.node {
        reader.node(node).map_err(|problem| {
            let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
            format!("node {:?} ({}): {problem}", name.map_or("", String::as_str), node.op_type)
        })?;
    }

    let output = output(graph)?;
    let Some(Value::Flow(flow, _)) = reader.values.get(output).cloned() else {
        return Err(format!("its output {output:?} is given by no node that depends on the image"));
    };
    let output = reader.draft.settle(flow)?;
    let producer =
        if model.producer_name.is_empty() { "ONNX".into() } else { format!("ONNX, {}", model.producer_name) };
    let stored = |key: &str| {
        let entry = model.metadata_props.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.as_str())
    };
    let mut wishes = wishes.clone();
    if is_bytes && wishes.scale.is_none() {
        let note = format!("its input is uint8: the network takes pixels from {}", Scale::BYTES.describe());
        reader.draft.notes.push(note);
        wishes.scale = Some(Scale::BYTES);
    }
    if model.producer_name == PRODUCER {
        // The graph normalizes the pixels itself.
        wishes.scale = wishes.scale.or(Some(Scale::UNIT));
    }
    if wishes.class_names.is_none() {
        wishes.class_names = stored("class_names").and_then(|names| serde_json::from_str(names).ok());
    }
    let name = if graph.name.is_empty() { "onnx" } else { &graph.name };
    let mut imported = reader.draft.finish(output, name, &format!("a model in {producer}"), &wishes)?;
    keep_pictures(&mut imported.file, stored);
    Ok(imported)
}

/// How often each value is used, by nodes and as an output.
fn uses(graph: &GraphProto) -> HashMap<&str, usize> {
    let mut uses = HashMap::new();
    let taken = graph.node.iter().flat_map(|node| &node.input).chain(graph.output.iter().map(|output| &output.name));
    taken.for_each(|name| *uses.entry(name.as_str()).or_default() += 1);
    uses
}

/// The output that gives the classes: the only one, or the one with the name that this program gives it.
fn output(graph: &GraphProto) -> Result<&str, String> {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    match names[..] {
        [only] => Ok(only),
        _ => names.iter().find(|name| **name == "probabilities").copied().ok_or_else(|| {
            format!("has {} outputs ({}); expected one, or one named \"probabilities\"", names.len(), names.join(", "))
        }),
    }
}

/// The version of the operators that a file uses; the first where it names none, as the oldest files do.
fn opset(model: &ModelProto) -> i64 {
    let own = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    own.map_or(1, |set| set.version)
}

/// Whether the input is made of bytes rather than of floats.
fn is_bytes(input: &ValueInfoProto) -> Result<bool, String> {
    match input.r#type.as_ref().and_then(|of| of.tensor_type.as_ref()).map(|tensor| tensor.elem_type) {
        Some(UINT8) => Ok(true),
        Some(other) if !is_float(other) => {
            let expected = "expected float32 (1), or uint8 (2) for bytes";
            Err(format!("its input {:?} has ONNX's type {other}; {expected}", input.name))
        }
        _ => Ok(false),
    }
}

/// The input's sizes, the batch's first; `None` for a free one.
fn dims(input: &ValueInfoProto) -> Option<Vec<Option<i64>>> {
    let shape = input.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    let size = |dim: &super::proto::DimensionProto| match dim.value {
        Some(Dimension::Value(n)) if n > 0 => Some(n),
        _ => None,
    };
    Some(shape.dim.iter().map(size).collect())
}

/// The sizes of one input, in this program's order if it is an image, and where the file has its channels.
fn sizes(input: &ValueInfoProto) -> Result<(Vec<Option<usize>>, Axes), String> {
    let unknown = || format!("does not say the sizes of its input {:?}", input.name);
    let dims = dims(input).ok_or_else(unknown)?;
    let size = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_SIZE);
    let sizes: Vec<Option<usize>> = dims.iter().skip(1).map(|n| size(*n)).collect();
    match sizes[..] {
        // In 28x28x1, what comes first does not look like a number of channels.
        [Some(h), w, Some(c)] if c <= MAX_CHANNELS && h > MAX_CHANNELS => {
            Ok((vec![Some(h), w, Some(c)], Axes::ChannelsLast))
        }
        [c, h, w] => Ok((vec![h, w, c], Axes::ChannelsFirst)),
        [_] | [_, _] => Ok((sizes, Axes::ChannelsFirst)),
        _ => Err(format!("its input {:?} has {} sizes for each image; expected 1 to 3", input.name, sizes.len())),
    }
}

/// A node's attributes by name.
impl NodeProto {
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute.iter().find(|a| a.name == name).map(|a| a.i)
    }
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute.iter().find(|a| a.name == name).map(|a| a.f)
    }
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.attribute.iter().find(|a| a.name == name)?.s).ok()
    }
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute.iter().find(|a| a.name == name).map(|a| &a.ints[..])
    }
    /// The tensor of a `Constant`.
    pub fn constant(&self) -> Result<Constant, String> {
        let Some(a) = self.attribute.first() else { return Err("has no value".into()) };
        match (&a.t, a.r#type) {
            (Some(tensor), _) => Constant::read(tensor),
            (None, attribute::FLOAT) => Ok(Constant { dims: vec![], data: Data::Floats(vec![a.f]) }),
            (None, attribute::INT) => Ok(Constant { dims: vec![], data: Data::Ints(vec![a.i]) }),
            (None, attribute::INTS) => Ok(Constant { dims: vec![a.ints.len()], data: Data::Ints(a.ints.clone()) }),
            _ => Err(format!("has a value in {:?}, which is not read", a.name)),
        }
    }
}

/// The sizes of a value for one image, as they are in the file.
pub fn foreign(shape: &[usize], axes: Axes) -> Vec<usize> {
    match (shape, axes) {
        (&[h, w, c], Axes::ChannelsFirst) => vec![c, h, w],
        _ => shape.to_vec(),
    }
}

/// The same in words, for errors.
pub fn spelled(shape: &[usize], axes: Axes) -> String {
    by(&foreign(shape, axes))
}
