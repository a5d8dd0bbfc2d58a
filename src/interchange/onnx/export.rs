//! A network as an ONNX graph: channels first, padding in numbers, any number of images at once.

use prost::Message;

use super::PRODUCER;
use super::proto::{
    Dimension, DimensionProto, FLOAT, GraphProto, INT64, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::writer::{Writer, int};
use crate::data::Pictures;
use crate::graph::Store;
use crate::infer::sample::PREFIX;
use crate::models::{ModelError, ModelFile, Normalization};

/// Version 17 of the operators (2022), which every runtime of recent years supports.
const OPSET: i64 = 17;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// The name of a batch's free size.
const BATCH: &str = "N";

/// The bytes of an ONNX file of a model: of a classifier, from `image` to `logits` and `probabilities`; of a generator,
/// from `noise` and `label` to `image`.
///
/// # Errors
/// Errors from reading the model, and a layer that ONNX has no operator for.
pub fn export(model: &ModelFile) -> Result<Vec<u8>, ModelError> {
    let graph = if model.is_gan() { generator(model)? } else { classifier(model)? };
    let mut metadata_props = vec![entry("class_names", &serde_json::Value::from(model.class_names()?).to_string())];
    for key in ["architecture", "mean", "std", "data", "test_accuracy", Pictures::KEY, Normalization::BACKGROUND] {
        if let Some(value) = model.metadata.get(key) {
            metadata_props.push(entry(key, value));
        }
    }
    let doc_string = graph.doc_string.clone();
    let file = ModelProto {
        ir_version: IR_VERSION,
        producer_name: PRODUCER.into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props,
    };
    Ok(file.encode_to_vec())
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: key.into(), value: value.into() }
}

fn classifier(model: &ModelFile) -> Result<GraphProto, ModelError> {
    let mut store = Store::default();
    let (network, parameters) = model.network(&mut store, "classifier")?;
    let values = model.values("", &parameters)?;
    let [mean, std] = [model.number::<f32>("mean")?, model.number::<f32>("std")?];
    let image = network.image()?;
    let mut writer = Writer { parameters: &parameters, values: &values, graph: GraphProto::default() };

    let mean = writer.float("mean", mean);
    let std = writer.float("std", std);
    writer.node("Sub", &["image", &mean], "shifted", vec![]);
    writer.node("Div", &["shifted", &std], "normalized", vec![]);
    let out = writer.network(&network, model, "normalized", "")?;
    writer.rename(&out, "logits");
    writer.node("Softmax", &["logits"], "probabilities", vec![int("axis", 1)]);

    let [h, w, c] = image;
    let classes = network.output()[0];
    let mut graph = writer.graph;
    graph.name = network.architecture.name.clone();
    graph.doc_string = format!(
        "{}: `image` [{BATCH}, {c}, {h}, {w}], float32 pixels from 0 to 1 (byte / 255), channels first, not normalized \
         (the graph does that); gives `logits` and `probabilities` [{BATCH}, {classes}] in the order of the metadata's \
         class_names",
        network.architecture.name
    );
    graph.input = vec![value("image", FLOAT, &[c, h, w], "pixels from 0 to 1 (byte / 255), channels first")];
    graph.output = vec![
        value("logits", FLOAT, &[classes], "before the softmax"),
        value("probabilities", FLOAT, &[classes], "of each class, in the order of class_names"),
    ];
    Ok(graph)
}

fn generator(model: &ModelFile) -> Result<GraphProto, ModelError> {
    let (gan, image) = (model.gan()?, model.image()?);
    let classes = model.class_names()?.len();
    let mut store = Store::default();
    let (network, parameters) = gan.declare_generator(image, classes, &mut store)?;
    let values = model.values(PREFIX, &parameters)?;
    let (mean, std) = gan.range()?;
    let mut writer = Writer { parameters: &parameters, values: &values, graph: GraphProto::default() };

    let depth = writer.ints("classes", &[classes as i64]);
    let off_on = writer.floats("off_on", &[2], &[0.0, 1.0]);
    writer.node("OneHot", &["label", &depth, &off_on], "label_one_hot", vec![int("axis", -1)]);
    let out = writer.network(&network, model, "noise", "label_one_hot")?;
    let (mean, std) = (writer.float("mean", mean), writer.float("std", std));
    writer.node("Mul", &[&out, &std], "scaled", vec![]);
    writer.node("Add", &["scaled", &mean], "image", vec![]);

    let [h, w, c] = image;
    let mut graph = writer.graph;
    graph.name.clone_from(&gan.name);
    graph.doc_string = format!(
        "{}: `noise` [{BATCH}, {}], float32 from a normal distribution, and `label` [{BATCH}], int64 from 0 to {}, the \
         place of the class in the metadata's class_names; gives `image` [{BATCH}, {c}, {h}, {w}], pixels from 0 to 1",
        gan.name,
        gan.noise,
        classes.saturating_sub(1)
    );
    graph.input = vec![
        value("noise", FLOAT, &[gan.noise], "numbers from a normal distribution"),
        value("label", INT64, &[], "the class, from 0 on"),
    ];
    graph.output = vec![value("image", FLOAT, &[c, h, w], "pixels from 0 to 1, channels first")];
    Ok(graph)
}

fn value(name: &str, elem_type: i32, sizes: &[usize], doc: &str) -> ValueInfoProto {
    let batch = DimensionProto { value: Some(Dimension::Param(BATCH.into())) };
    let sizes = sizes.iter().map(|n| DimensionProto { value: Some(Dimension::Value(*n as i64)) });
    let shape = Some(TensorShapeProto { dim: std::iter::once(batch).chain(sizes).collect() });
    let r#type = Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type, shape }) });
    ValueInfoProto { name: name.into(), r#type, doc_string: doc.into() }
}
