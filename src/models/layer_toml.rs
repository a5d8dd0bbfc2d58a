//! A layer in TOML: reads its entry in `layers`, and writes it back.

use std::fmt;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{At, ModelError};
use super::layer::{ACTIVATIONS, Conv, Kind, Layer, Nonlinearity, Units, Width};
use super::reader::{Fields, Source};
use super::recipe::{SHARE, is_share};
use crate::ops::conv2d::Padding;
use crate::words::{nearest, quoted};

/// The words that say what a layer is.
const KINDS: &[&str] = &[
    "conv",
    "conv_transposed",
    "dense",
    "avg_pool",
    "max_pool",
    "upsample",
    "batch_norm",
    "dropout",
    "flatten",
    "reshape",
    "concat",
    "add",
    "dot",
    "activation",
];

/// The keys of a layer that is only an activation.
const OF_ACTIVATION: &[&str] = &["activation", "slope", "from", "name"];

impl Layer {
    pub(super) fn read<'a>(
        source: Source<'a>,
        number: usize,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<Layer, ModelError> {
        let line = source.line(value.span());
        let at = |part: String| At { file: source.file.into(), line: Some(line), part: Some(part) };
        let refuse = |problem: String| source.error(Some(line), Some(format!("layer {number}")), problem);
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            DeValue::String(word) => {
                let (kind, activation) = short_form(word).map_err(refuse)?;
                return Ok(Layer {
                    kind,
                    activation,
                    name: None,
                    from: None,
                    at: at(format!("layer {number} ({word})")),
                });
            }
            other => {
                let problem = format!("must be a table like {{ conv = 16, kernel = 3 }}, not a {}", other.type_str());
                return Err(refuse(problem));
            }
        };
        let keys = Fields::new(source, None, line, table).keys();
        let mut kinds: Vec<&str> = KINDS.iter().copied().filter(|kind| keys.contains(kind)).collect();
        // Beside other keys it belongs to a layer that these are to describe.
        let strange = keys.iter().find(|key| nearest(key, OF_ACTIVATION).is_none());
        let alone = strange.filter(|_| kinds == ["activation"]);
        if kinds.len() > 1 || strange.is_some() {
            kinds.retain(|kind| *kind != "activation");
        }
        let &[word] = &kinds[..] else {
            let hint = keys.iter().filter(|key| **key != "activation").find_map(|key| nearest(key, KINDS));
            let hint = hint.map_or(String::new(), |word| format!("; did you mean `{word}`?"));
            return Err(refuse(match (kinds.len(), alone) {
                (0, Some(key)) => format!(
                    "has `{key}`, which a mere activation has not (it has {}), and does not say what else it is: one of \
                     {}{hint}",
                    quoted(OF_ACTIVATION),
                    quoted(KINDS)
                ),
                (0, None) => format!("does not say what it is: one of {}{hint}", quoted(KINDS)),
                _ => format!("is both `{}` and `{}`; make it two layers", kinds[0], kinds[1]),
            }));
        };
        let part = format!("layer {number} ({word})");
        let mut fields = Fields::new(source, Some(part.clone()), line, table);
        let kind = read_kind(&mut fields, word)?;
        let joins = matches!(kind, Kind::Concat { .. } | Kind::Add { .. } | Kind::Dot { .. });
        let layer = Layer {
            activation: read_activation(&mut fields)?,
            name: fields.name("name")?,
            from: if joins { None } else { fields.text("from")? },
            kind,
            at: at(part),
        };
        fields.finish()?;
        Ok(layer)
    }

    /// Its line in an architecture's `layers`.
    pub(super) fn to_toml(&self) -> String {
        let mut fields: Vec<String> = Vec::new();
        let mut field = |key: &str, value: &dyn fmt::Display| fields.push(format!("{key} = {value}"));
        match &self.kind {
            Kind::Conv(c) | Kind::ConvTransposed(c) => {
                field(self.prefix(), &c.channels);
                field("kernel", &format!("{:?}", c.kernel));
                field("stride", &c.stride);
                match c.padding {
                    Padding::Valid => field("padding", &"\"valid\""),
                    Padding::Same => field("padding", &"\"same\""),
                    Padding::Explicit(n) => field("padding", &n),
                }
                field("bias", &c.bias);
            }
            Kind::Dense { units, bias } => {
                match units {
                    Units::Count(n) => field("dense", n),
                    Units::Classes => field("dense", &"\"classes\""),
                    Units::Width(width) => field("dense", &format!("\"{}\"", width.word())),
                }
                field("bias", bias);
            }
            Kind::AvgPool { window, stride } | Kind::MaxPool { window, stride } => {
                field(self.prefix(), window);
                field("stride", stride);
            }
            Kind::Upsample { factor } => field("upsample", factor),
            Kind::BatchNorm { epsilon, momentum, scale } => {
                field("batch_norm", &true);
                field("epsilon", epsilon);
                field("momentum", momentum);
                field("scale", scale);
            }
            Kind::Activation => {}
            Kind::Dropout { rate } => field("dropout", rate),
            Kind::Flatten => field("flatten", &true),
            Kind::Reshape { shape } => field("reshape", &format!("{shape:?}")),
            Kind::Concat { from } => field("concat", &format!("[{}]", quoted(from))),
            Kind::Add { from } => field("add", &format!("[{}]", quoted(from))),
            Kind::Dot { from } => field("dot", &format!("[{}]", quoted(from))),
        }
        if let Some(activation) = self.activation {
            field("activation", &format!("\"{}\"", activation.word()));
            if let Nonlinearity::LeakyRelu(slope) = activation {
                field("slope", &slope);
            }
        }
        if let Some(from) = &self.from {
            field("from", &format!("\"{from}\""));
        }
        if let Some(name) = &self.name {
            field("name", &format!("\"{name}\""));
        }
        format!("{{ {} }}", fields.join(", "))
    }
}

fn short_form(word: &str) -> Result<(Kind, Option<Nonlinearity>), String> {
    if let Some((_, activation)) = ACTIVATIONS.iter().find(|(name, _)| *name == word) {
        return Ok((Kind::Activation, Some(*activation)));
    }
    match word {
        "flatten" => Ok((Kind::Flatten, None)),
        "batch_norm" => Ok((BATCH_NORM, None)),
        _ if KINDS.contains(&word) => Err(format!("needs more than its name: {{ {word} = ... }}")),
        _ => {
            let words: Vec<&str> =
                ["flatten", "batch_norm"].into_iter().chain(ACTIVATIONS.iter().map(|a| a.0)).collect();
            let hint = nearest(word, &words).map_or(String::new(), |word| format!("; did you mean \"{word}\"?"));
            Err(format!("\"{word}\" is not a layer; by name alone there are {}{hint}", quoted(&words)))
        }
    }
}

/// The words that may stand for a number of units.
const UNITS: &[(&str, Units)] = &[
    ("classes", Units::Classes),
    ("noise_width", Units::Width(Width::Noise)),
    ("label_width", Units::Width(Width::Label)),
];

/// Keras' defaults.
const BATCH_NORM: Kind = Kind::BatchNorm { epsilon: 1e-3, momentum: 0.99, scale: true };

fn read_kind(fields: &mut Fields, word: &str) -> Result<Kind, ModelError> {
    let missing = |fields: &Fields, what: &str| {
        let hint = nearest(what, &fields.keys()).map_or(String::new(), |key| format!("; did you mean it by `{key}`?"));
        fields.error(format!("`{what}` is missing{hint}"))
    };
    // A layer whose key only says what it is: `flatten = true`.
    let only_true = |fields: &mut Fields, key: &'static str| match fields.flag(key)? {
        Some(true) => Ok(()),
        _ => Err(fields.error(format!("`{key}` must be true; to have no such layer, remove the line"))),
    };
    Ok(match word {
        "conv" | "conv_transposed" => {
            let transposed = word == "conv_transposed";
            let channels = fields.size(if transposed { "conv_transposed" } else { "conv" })?.unwrap_or(1);
            let kernel = fields.pair("kernel")?.ok_or_else(|| missing(fields, "kernel"))?;
            let stride = fields.size("stride")?.unwrap_or(1);
            let padding = fields.padding()?.unwrap_or(Padding::Valid);
            let bias = fields.flag("bias")?.unwrap_or(true);
            let conv = Conv { channels, kernel, stride, padding, bias };
            if transposed { Kind::ConvTransposed(conv) } else { Kind::Conv(conv) }
        }
        "dense" => Kind::Dense {
            units: fields.size_or_word("dense", UNITS)?.unwrap_or(Units::Classes),
            bias: fields.flag("bias")?.unwrap_or(true),
        },
        "avg_pool" => {
            let window = fields.size("avg_pool")?.unwrap_or(1);
            Kind::AvgPool { window, stride: fields.size("stride")?.unwrap_or(window) }
        }
        "max_pool" => {
            let window = fields.size("max_pool")?.unwrap_or(1);
            Kind::MaxPool { window, stride: fields.size("stride")?.unwrap_or(window) }
        }
        "upsample" => Kind::Upsample { factor: fields.size("upsample")?.unwrap_or(1) },
        "batch_norm" => {
            only_true(fields, "batch_norm")?;
            let epsilon = fields.number("epsilon", "a number above 0, like 1e-3", |x| x > 0.0)?.unwrap_or(1e-3);
            Kind::BatchNorm {
                epsilon,
                momentum: fields.number("momentum", SHARE, is_share)?.unwrap_or(0.99),
                scale: fields.flag("scale")?.unwrap_or(true),
            }
        }
        "dropout" => Kind::Dropout { rate: fields.number("dropout", SHARE, is_share)?.unwrap_or(0.0) },
        "flatten" => only_true(fields, "flatten").map(|()| Kind::Flatten)?,
        "reshape" => Kind::Reshape { shape: fields.sizes("reshape")?.unwrap_or_default() },
        "concat" => Kind::Concat { from: fields.names("concat")?.unwrap_or_default() },
        "add" => Kind::Add { from: fields.names("add")?.unwrap_or_default() },
        "dot" => Kind::Dot { from: fields.names("dot")?.unwrap_or_default() },
        _ => Kind::Activation,
    })
}

fn read_activation(fields: &mut Fields) -> Result<Option<Nonlinearity>, ModelError> {
    let activation = fields.choice("activation", ACTIVATIONS)?;
    if let Some(Nonlinearity::LeakyRelu(default)) = activation {
        let slope = fields.number("slope", "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?;
        return Ok(Some(Nonlinearity::LeakyRelu(slope.unwrap_or(default))));
    }
    Ok(activation)
}
