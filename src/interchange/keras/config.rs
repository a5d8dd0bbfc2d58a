//! A Keras model's configuration: which layers there are, and which takes the result of which.
//!
//! Keras 2 and 3 write the same things in two ways: an input's sizes as `batch_input_shape` or `batch_shape`, and what
//! a layer takes as `[[["conv2d", 0, 0, {}]]]` or as a tensor with a `keras_history`.

use std::collections::HashMap;

use serde_json::Value;

use crate::models::{MAX_LAYERS, MAX_SIZE};

/// A call of a layer: the layer's number, and which of its calls it is.
pub type Call = (usize, usize);

/// A layer of the configuration.
pub struct KerasLayer<'a> {
    /// `Conv2D`
    pub class: &'a str,
    pub name: &'a str,
    pub settings: Settings<'a>,
    /// The inputs of each of its calls.
    pub calls: Vec<Vec<Call>>,
}

/// A whole model.
pub struct KerasModel<'a> {
    pub name: &'a str,
    pub layers: Vec<KerasLayer<'a>>,
    /// The sizes of one input, without the batch; `None` for one that is left open.
    pub input: Vec<Option<usize>>,
    /// The input layer, if there is one.
    pub entry: Option<usize>,
    pub output: Call,
}

/// A layer's settings by name.
#[derive(Clone, Copy)]
pub struct Settings<'a>(pub &'a Value);

impl<'a> Settings<'a> {
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }
    pub fn text(self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }
    pub fn flag(self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }
    /// A number, which Keras may have written as an array of one.
    pub fn number(self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        let stored = value.get("config").and_then(|config| config.get("value")).unwrap_or(value);
        stored.as_f64().or_else(|| stored.as_array().filter(|list| list.len() == 1)?.first()?.as_f64())
    }
    /// The same, or `default` if the setting is absent.
    pub fn number_or(self, key: &str, default: f64) -> Result<f64, String> {
        match self.get(key) {
            Some(_) => self.number(key).ok_or_else(|| self.wrong(key, "a number")),
            None => Ok(default),
        }
    }
    pub fn size(self, key: &str) -> Result<usize, String> {
        self.get(key).and_then(size).ok_or_else(|| self.wrong(key, "a whole number from 1 on"))
    }
    /// One number for rows and one for columns; a single one stands for both.
    pub fn pair(self, key: &str) -> Result<[usize; 2], String> {
        let pair = |value: &Value| match value.as_array() {
            Some(list) => <[usize; 2]>::try_from(list.iter().filter_map(size).collect::<Vec<_>>()).ok(),
            None => size(value).map(|n| [n, n]),
        };
        self.get(key).and_then(pair).ok_or_else(|| self.wrong(key, "one or two whole numbers from 1 on"))
    }
    pub fn wrong(self, key: &str, expected: &str) -> String {
        let found =
            self.0.get(key).map_or("nothing".into(), |value| value.to_string().chars().take(80).collect::<String>());
        format!("has {key} {found}; expected {expected}")
    }
}

/// A size that a tensor may have.
pub fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX_SIZE).contains(n))
}

impl<'a> KerasModel<'a> {
    /// # Errors
    /// If it is not a model with one input and one output, or not written as Keras writes them.
    pub fn read(config: &'a Value) -> Result<KerasModel<'a>, String> {
        let class = config.get("class_name").and_then(Value::as_str).unwrap_or("nothing");
        let inner = config.get("config").ok_or("its configuration describes no model: it has no `config`")?;
        // The oldest Sequential models are a bare list.
        let list = inner.as_array().or_else(|| inner.get("layers")?.as_array());
        let list = list.ok_or("its configuration lists no layers")?;
        if list.is_empty() || list.len() > MAX_LAYERS {
            return Err(format!("has {} layers; expected 1 to {MAX_LAYERS}", list.len()));
        }
        let mut layers: Vec<KerasLayer> = list.iter().map(layer).collect::<Result<_, _>>()?;
        let name = inner.get("name").and_then(Value::as_str).unwrap_or("keras");
        match class {
            "Sequential" => sequential(name, layers, config, inner),
            "Functional" | "Model" => {
                let by_name: HashMap<&str, usize> = layers.iter().enumerate().map(|(i, l)| (l.name, i)).collect();
                for (layer, value) in layers.iter_mut().zip(list) {
                    let nodes = value.get("inbound_nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let calls = nodes.iter().map(|node| {
                        let mut found = Vec::new();
                        histories(node, &mut found);
                        let number = |(name, node): &(&str, usize)| by_name.get(name).map(|layer| (*layer, *node));
                        let unknown = || format!("{}: takes a layer that the configuration does not have", layer.name);
                        found.iter().map(|call| number(call).ok_or_else(unknown)).collect()
                    });
                    layer.calls = calls.collect::<Result<_, String>>()?;
                    // An input is created, not called.
                    if layer.calls.is_empty() {
                        layer.calls.push(Vec::new());
                    }
                }
                let only = |key: &str, what: &str| {
                    let mut found = Vec::new();
                    inner.get(key).inspect(|value| histories(value, &mut found));
                    let (&[(name, node)], what) = (&found[..], what) else {
                        return Err(format!("has {} {what}s; this program's networks have one", found.len()));
                    };
                    by_name.get(name).map(|at| (*at, node)).ok_or_else(|| format!("its {what} {name:?} is not a layer"))
                };
                let ((entry, _), output) = (only("input_layers", "input")?, only("output_layers", "output")?);
                let input = shape_of(layers[entry].settings).ok_or("its input has no sizes")?;
                Ok(KerasModel { name, layers, input, entry: Some(entry), output })
            }
            other => {
                let problem = "is not built of named layers; expected Sequential or Functional";
                Err(format!("a model of class {other:?} {problem}"))
            }
        }
    }
}

fn sequential<'a>(
    name: &'a str,
    mut layers: Vec<KerasLayer<'a>>,
    config: &'a Value,
    inner: &'a Value,
) -> Result<KerasModel<'a>, String> {
    let built = inner.get("build_input_shape").or_else(|| config.get("build_config")?.get("input_shape"));
    let input = layers.first().and_then(|first| shape_of(first.settings)).or_else(|| built.and_then(sizes));
    let input = input.ok_or("its input has no sizes: call the model once before it is saved, or give it an Input")?;
    for (i, layer) in layers.iter_mut().enumerate() {
        layer.calls = vec![i.checked_sub(1).map(|before| (before, 0)).into_iter().collect()];
    }
    let entry = layers.first().is_some_and(|layer| layer.class == "InputLayer").then_some(0);
    let output = (layers.len() - 1, 0);
    Ok(KerasModel { name, layers, input, entry, output })
}

fn layer(value: &Value) -> Result<KerasLayer<'_>, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let class = text("class_name").ok_or("a layer of its configuration has no class_name")?;
    let settings = Settings(value.get("config").unwrap_or(&Value::Null));
    let name = settings.text("name").or_else(|| text("name")).unwrap_or(class);
    Ok(KerasLayer { class, name, settings, calls: Vec::new() })
}

/// The sizes of a layer's input, if it states them.
fn shape_of(settings: Settings) -> Option<Vec<Option<usize>>> {
    ["batch_input_shape", "batch_shape", "input_shape"].iter().find_map(|key| sizes(settings.get(key)?))
}

/// `[null, 28, 28]` without its batch.
fn sizes(value: &Value) -> Option<Vec<Option<usize>>> {
    let (_, sizes) = value.as_array()?.split_first()?;
    (sizes.len() <= 4).then(|| sizes.iter().map(size).collect())
}

/// What a value takes, in order: every `keras_history` of Keras 3, or every `["conv2d", 0, 0]` of Keras 2.
fn histories<'a>(value: &'a Value, found: &mut Vec<(&'a str, usize)>) {
    match value {
        Value::Array(list) => match (list.first().and_then(Value::as_str), list.get(1).and_then(Value::as_u64)) {
            (Some(name), Some(node)) if list.len() >= 3 => found.push((name, node as usize)),
            _ => list.iter().for_each(|value| histories(value, found)),
        },
        Value::Object(map) => match map.get("keras_history") {
            Some(history) => histories(history, found),
            None => map.values().for_each(|value| histories(value, found)),
        },
        _ => {}
    }
}
