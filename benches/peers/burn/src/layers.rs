//! Reads a network out of models/*.toml, with every size worked out. Sizes are `[h, w, c]` or `[k]`.

use std::collections::HashMap;

use anyhow::{Context, bail};
use toml::{Table, Value};

pub const CLASSES: usize = 10;

#[derive(Clone, Debug)]
pub enum Kind {
    Conv { kernel: usize, stride: usize, same: bool, bias: bool },
    Dense { bias: bool },
    MaxPool(usize),
    AvgPool(usize),
    BatchNorm { epsilon: f64, momentum: f64, scale: bool },
    Dropout(f64),
    Flatten,
    Reshape,
    Concat,
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub kind: Kind,
    /// Numbers of the values it takes: 0 is the input, 1 the label, 2 the first layer's result.
    pub sources: Vec<usize>,
    pub input: Vec<usize>,
    pub output: Vec<usize>,
    pub activation: Option<String>,
    pub slope: f64,
}

/// `words` gives the sizes that are written as words.
pub fn read(entries: &[Value], input: &[usize], words: &Table) -> anyhow::Result<Vec<Layer>> {
    let mut names = HashMap::from([("input".to_owned(), 0), ("label".to_owned(), 1)]);
    let (mut sizes, mut layers) = (vec![input.to_vec(), vec![CLASSES]], Vec::new());
    for entry in entries {
        let table = match entry {
            Value::String(word) => Table::from_iter([(word.clone(), Value::Boolean(true))]),
            Value::Table(table) => table.clone(),
            _ => bail!("a layer is a word or a table"),
        };
        let number = |key: &str| match table.get(key) {
            Some(Value::String(word)) if word == "classes" => Some(CLASSES),
            Some(Value::String(word)) => words.get(word)?.as_integer().map(|n| n as usize),
            other => other?.as_integer().map(|n| n as usize),
        };
        let share = |key: &str| table.get(key).and_then(|value| value.as_float());
        let flag = |key: &str, default| table.get(key).and_then(Value::as_bool).unwrap_or(default);
        let word = |key: &str| table.get(key).and_then(Value::as_str);

        let mut sources = vec![if layers.is_empty() { 0 } else { sizes.len() - 1 }];
        if let Some(from) = word("from") {
            sources = vec![names[from]];
        }
        if let Some(from) = table.get("concat").and_then(Value::as_array) {
            sources = from.iter().filter_map(|name| Some(names[name.as_str()?])).collect();
        }
        let input = sizes[sources[0]].clone();
        let (kind, output) = if let Some(channels) = number("conv") {
            let (kernel, stride) = (number("kernel").context("kernel")?, number("stride").unwrap_or(1));
            let same = word("padding") == Some("same");
            let out = |n: usize| if same { n.div_ceil(stride) } else { (n - kernel) / stride + 1 };
            let output = vec![out(input[0]), out(input[1]), channels];
            (Kind::Conv { kernel, stride, same, bias: flag("bias", true) }, output)
        } else if let Some(units) = number("dense") {
            (Kind::Dense { bias: flag("bias", true) }, vec![units])
        } else if let Some(window) = number("max_pool") {
            (Kind::MaxPool(window), vec![input[0] / window, input[1] / window, input[2]])
        } else if let Some(window) = number("avg_pool") {
            (Kind::AvgPool(window), vec![input[0] / window, input[1] / window, input[2]])
        } else if table.contains_key("batch_norm") {
            let (epsilon, momentum) = (share("epsilon").unwrap_or(1e-3), share("momentum").unwrap_or(0.99));
            (Kind::BatchNorm { epsilon, momentum, scale: flag("scale", true) }, input.clone())
        } else if let Some(rate) = share("dropout") {
            (Kind::Dropout(rate), input.clone())
        } else if table.contains_key("flatten") {
            (Kind::Flatten, vec![input.iter().product()])
        } else if let Some(shape) = table.get("reshape").and_then(Value::as_array) {
            (Kind::Reshape, shape.iter().filter_map(|n| Some(n.as_integer()? as usize)).collect())
        } else if table.contains_key("concat") {
            let mut output = input.clone();
            let channels = sources.iter().filter_map(|source| sizes[*source].last()).sum();
            *output.last_mut().context("a size")? = channels;
            (Kind::Concat, output)
        } else {
            let words: Vec<&str> = table.keys().map(String::as_str).collect();
            crate::cannot(&format!("a layer of {} has no peer yet; add it to benches/peers/burn", words.join(", ")));
        };
        sizes.push(output.clone());
        if let Some(name) = word("name") {
            names.insert(name.to_owned(), sizes.len() - 1);
        }
        let (activation, slope) = (word("activation").map(str::to_owned), share("slope").unwrap_or(0.2));
        layers.push(Layer { kind, sources, input, output, activation, slope });
    }
    Ok(layers)
}
