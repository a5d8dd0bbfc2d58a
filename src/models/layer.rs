//! One layer of an architecture: what it is, and how it reads in words.

use std::fmt;

use super::error::{At, ModelError};
use super::shapes;
use crate::ops::activation::Act;
use crate::ops::conv2d::Padding;

/// The function that is applied to a layer's result.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Nonlinearity {
    Relu,
    /// The slope below zero, from 0 to 1.
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
    Softmax,
}

/// How many units a dense layer has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Units {
    Count(usize),
    /// As many as the data has classes.
    Classes,
    /// One of a generator's two widths, which become counts when its text is read.
    Width(Width),
}

/// How wide the two parts of a generator's first joint layer are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// The part that is made of the noise.
    Noise,
    /// The part that is made of the label.
    Label,
}

impl Width {
    pub fn word(self) -> &'static str {
        match self {
            Width::Noise => "noise_width",
            Width::Label => "label_width",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conv {
    pub channels: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: Padding,
    pub bias: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    Conv(Conv),
    ConvTransposed(Conv),
    Dense {
        units: Units,
        bias: bool,
    },
    AvgPool {
        window: usize,
        stride: usize,
    },
    MaxPool {
        window: usize,
        stride: usize,
    },
    Upsample {
        factor: usize,
    },
    /// Without `scale` it only shifts.
    BatchNorm {
        epsilon: f32,
        momentum: f32,
        scale: bool,
    },
    Activation,
    Dropout {
        rate: f32,
    },
    Flatten,
    Reshape {
        shape: Vec<usize>,
    },
    Concat {
        from: Vec<String>,
    },
    Add {
        from: Vec<String>,
    },
    /// The inner product of two vectors: one number.
    Dot {
        from: Vec<String>,
    },
}

pub(super) const ACTIVATIONS: &[(&str, Nonlinearity)] = &[
    ("relu", Nonlinearity::Relu),
    ("leaky_relu", Nonlinearity::LeakyRelu(0.2)),
    ("sigmoid", Nonlinearity::Sigmoid),
    ("tanh", Nonlinearity::Tanh),
    ("softmax", Nonlinearity::Softmax),
];

#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    pub kind: Kind,
    pub activation: Option<Nonlinearity>,
    /// The name given to it, for `from`, `concat`, `add` and `dot`.
    pub name: Option<String>,
    /// The layer whose output it takes, if that is not the one before.
    pub from: Option<String>,
    /// Where it is in the text: `my.toml:12: layer 3 (conv)`.
    pub at: At,
}

impl Layer {
    /// A layer that does not come from a text: without activation or name, after the one before.
    pub fn new(kind: Kind) -> Layer {
        Layer { kind, activation: None, name: None, from: None, at: At::default() }
    }

    /// The output's sizes for one image, given its inputs' sizes: `[h, w, c]`, or `[k]` for a row of numbers. `classes`
    /// is for a dense layer that asks for as many units.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn output(&self, inputs: &[&[usize]], classes: Option<usize>) -> Result<Vec<usize>, String> {
        shapes::output(self, inputs, classes)
    }

    /// The names of the layers it takes, if it names them.
    pub fn sources(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Concat { from } | Kind::Add { from } | Kind::Dot { from } => {
                from.iter().map(String::as_str).collect()
            }
            _ => self.from.as_deref().into_iter().collect(),
        }
    }

    pub(super) fn sources_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let (joined, from) = match &mut self.kind {
            Kind::Concat { from } | Kind::Add { from } | Kind::Dot { from } => (Some(from), None),
            _ => (None, self.from.as_mut()),
        };
        joined.into_iter().flatten().chain(from)
    }

    /// What its automatic name begins with: `conv` in `conv1`.
    pub fn prefix(&self) -> &'static str {
        match self.kind {
            Kind::Conv(_) => "conv",
            Kind::ConvTransposed(_) => "conv_transposed",
            Kind::Dense { .. } => "dense",
            Kind::AvgPool { .. } => "avg_pool",
            Kind::MaxPool { .. } => "max_pool",
            Kind::Upsample { .. } => "upsample",
            Kind::BatchNorm { .. } => "bn",
            Kind::Activation => "activation",
            Kind::Dropout { .. } => "dropout",
            Kind::Flatten => "flatten",
            Kind::Reshape { .. } => "reshape",
            Kind::Concat { .. } => "concat",
            Kind::Add { .. } => "add",
            Kind::Dot { .. } => "dot",
        }
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> ModelError {
        ModelError::Architecture { at: self.at.clone(), problem: problem.into() }
    }
}

impl Nonlinearity {
    pub(super) fn word(self) -> &'static str {
        let same = |other: &Nonlinearity| std::mem::discriminant(other) == std::mem::discriminant(&self);
        ACTIVATIONS.iter().find(|(_, a)| same(a)).map_or("", |(word, _)| word)
    }
    /// Whether it passes values above zero unchanged. This decides how the weights before it are initialised.
    pub fn is_rectifier(self) -> bool {
        matches!(self, Nonlinearity::Relu | Nonlinearity::LeakyRelu(_))
    }
    /// The function of single numbers that it is; `None` for softmax, which depends on all channels.
    pub(crate) fn act(self) -> Option<Act> {
        match self {
            Nonlinearity::Relu => Some(Act::Relu),
            Nonlinearity::LeakyRelu(slope) => Some(Act::Leaky(slope)),
            Nonlinearity::Sigmoid => Some(Act::Sigmoid),
            Nonlinearity::Tanh => Some(Act::Tanh),
            Nonlinearity::Softmax => None,
        }
    }
}

impl fmt::Display for Nonlinearity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nonlinearity::LeakyRelu(slope) => write!(f, "leaky relu {slope}"),
            other => f.write_str(other.word()),
        }
    }
}

/// In words: `conv 3x3x32 same relu`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = |f: &mut fmt::Formatter<'_>, word: &str, c: &Conv| {
            write!(f, "{word} {}x{}x{} ", c.kernel[0], c.kernel[1], c.channels)?;
            match c.padding {
                Padding::Valid => write!(f, "valid")?,
                Padding::Same => write!(f, "same")?,
                Padding::Explicit(n) => write!(f, "padding {n}")?,
            }
            if c.stride == 1 { Ok(()) } else { write!(f, " stride {}", c.stride) }
        };
        let pool = |f: &mut fmt::Formatter<'_>, word: &str, window: usize, stride: usize| {
            write!(f, "{word} pool {window}")?;
            if stride == window { Ok(()) } else { write!(f, " stride {stride}") }
        };
        match &self.kind {
            Kind::Conv(c) => conv(f, "conv", c)?,
            Kind::ConvTransposed(c) => conv(f, "conv transposed", c)?,
            Kind::Dense { units: Units::Count(n), .. } => write!(f, "dense {n}")?,
            Kind::Dense { units: Units::Classes, .. } => write!(f, "dense classes")?,
            Kind::Dense { units: Units::Width(width), .. } => write!(f, "dense {}", width.word())?,
            Kind::AvgPool { window, stride } => pool(f, "avg", *window, *stride)?,
            Kind::MaxPool { window, stride } => pool(f, "max", *window, *stride)?,
            Kind::Upsample { factor } => write!(f, "upsample {factor}")?,
            Kind::BatchNorm { scale, .. } => write!(f, "batch norm{}", if *scale { "" } else { " without scale" })?,
            Kind::Activation => return self.activation.map_or(Ok(()), |a| write!(f, "{a}")),
            Kind::Dropout { rate } => write!(f, "dropout {rate}")?,
            Kind::Flatten => write!(f, "flatten")?,
            Kind::Reshape { shape } => write!(f, "reshape {}", by(shape))?,
            Kind::Concat { from } => write!(f, "concat {}", from.join(", "))?,
            Kind::Add { from } => write!(f, "add {}", from.join(", "))?,
            Kind::Dot { from } => write!(f, "dot {}", from.join(", "))?,
        }
        self.activation.map_or(Ok(()), |a| write!(f, " {a}"))
    }
}

/// `28x28x1`
pub fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
