//! From an architecture to a network: every shape inferred, every parameter declared.

use super::error::{At, ModelError};
use super::layer::{Kind, Layer, Nonlinearity, by};
use super::parameters::{Init, Parameters};
use super::reader::MAX_SIZE;
use super::shapes;
use super::spec::{Architecture, LABEL};
use crate::graph::Store;
use crate::tensor::Shape;

/// An architecture for images of a known size, with its parameters declared: ready to become graphs.
#[derive(Clone, Debug)]
pub struct Network {
    pub architecture: Architecture,
    /// One input's sizes: height, width and channels of an image, or the length of a generator's noise.
    pub input: Vec<usize>,
    /// As given to [`Architecture::declare`]; `None` if the output is not a choice between classes.
    pub classes: Option<usize>,
    pub(crate) layers: Vec<Built>,
}

/// Where a layer's input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The network's input.
    Input,
    /// The label, one-hot, `[classes]`.
    Label,
    Layer(usize),
}

/// A layer with everything that depends on the data.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub spec: Layer,
    pub name: String,
    pub inputs: Vec<Source>,
    /// The shape of its output for one image.
    pub output: Vec<usize>,
    pub flops: u64,
    /// Indices into the parameters' trainable tensors: weight or affine, then bias.
    pub weight: Option<usize>,
    pub bias: Option<usize>,
    /// Index into the running statistics.
    pub running: Option<usize>,
    pub parameters: u64,
}

/// A row in the output of `inspect`.
#[derive(Clone, PartialEq, Debug)]
pub struct LayerInfo {
    pub name: String,
    /// `conv 3x3x32 same relu`
    pub describe: String,
    /// For one image: `[h, w, c]` or `[k]`.
    pub shape: Vec<usize>,
    /// Trainable numbers.
    pub parameters: u64,
    /// Floating-point operations of the forward pass of one image, a multiply-add counted as two.
    pub flops: u64,
}

/// A tensor that a layer needs.
struct Need {
    suffix: &'static str,
    shape: Vec<usize>,
    init: Init,
    decays: bool,
}

impl Architecture {
    /// Infers all shapes for inputs of the sizes `input` (height, width and channels of an image) and declares the
    /// parameters under `name`. Declares nothing if it fails.
    ///
    /// With `classes`, a classifier must output one number per class; with `None` (for a part of a network) it may
    /// output anything. A GAN's networks may end in anything, and `classes` is the length of their label.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with layer, line and shapes, for anything that does not fit.
    pub fn declare(
        &self,
        input: impl AsRef<[usize]>,
        classes: impl Into<Option<usize>>,
        store: &mut Store,
        name: &str,
    ) -> Result<(Network, Parameters), ModelError> {
        let (input, classes) = (input.as_ref(), classes.into());
        self.check_input(input)?;
        let label = [classes.unwrap_or(0)];
        let mut layers: Vec<Built> = Vec::with_capacity(self.layers.len());
        let mut needs: Vec<Vec<Need>> = Vec::with_capacity(self.layers.len());
        let mut total = 0u64;
        for (i, spec) in self.layers.iter().enumerate() {
            let inputs = self.inputs_of(i);
            let shapes: Vec<&[usize]> = inputs
                .iter()
                .map(|source| match source {
                    Source::Input => input,
                    Source::Label => &label[..],
                    Source::Layer(at) => &layers[*at].output[..],
                })
                .collect();
            let output = shapes::output(spec, &shapes, classes).map_err(|problem| spec.error(problem))?;
            let need = self.needs(i, shapes[0], &output);
            if let Some(large) = need.iter().find(|need| shapes::count(&need.shape) > MAX_SIZE as u128) {
                let count = shapes::count(&large.shape);
                return Err(spec.error(format!(
                    "its {} {} has {count} numbers; {MAX_SIZE} is the most. Pool before it, or make it smaller",
                    large.suffix,
                    by(&large.shape)
                )));
            }
            let count: u64 = need.iter().filter(|n| n.suffix != RUNNING).map(|n| shapes::count(&n.shape) as u64).sum();
            total += count;
            if total > MAX_SIZE as u64 {
                return Err(spec.error(format!("up to here there are {total} parameters; {MAX_SIZE} is the most")));
            }
            let flops = shapes::flops(spec, &shapes, &output);
            layers.push(Built {
                spec: spec.clone(),
                name: self.layer_name(i),
                inputs,
                output,
                flops,
                weight: None,
                bias: None,
                running: None,
                parameters: count,
            });
            needs.push(need);
        }
        if !self.conditional {
            self.check_output(&layers, classes)?;
        }

        let mut parameters = Parameters::new(store, name);
        for (layer, needs) in layers.iter_mut().zip(needs) {
            for need in needs {
                let name = format!("{}.{}", layer.name, need.suffix);
                let shape = Shape::new(need.shape);
                match need.suffix {
                    RUNNING => layer.running = Some(parameters.add_running(store, name, shape, need.init)),
                    BIAS => layer.bias = Some(parameters.add(store, name, shape, need.init, need.decays)),
                    _ => layer.weight = Some(parameters.add(store, name, shape, need.init, need.decays)),
                }
            }
        }
        Ok((Network { architecture: self.clone(), input: input.to_vec(), classes, layers }, parameters))
    }

    fn check_input(&self, input: &[usize]) -> Result<(), ModelError> {
        let refuse = |at: &At, problem| Err(ModelError::Architecture { at: at.clone(), problem });
        let file = At { file: self.file.clone(), ..At::default() };
        match self.input {
            Some(wanted) if wanted != input => {
                let problem = format!("is for images of {}, but the data has {}", by(&wanted), by(input));
                refuse(&self.input_at, format!("{problem}; remove the table to take what the data has"))
            }
            _ if input.contains(&0) || shapes::count(input) > MAX_SIZE as u128 => refuse(
                &file,
                format!("images of {} cannot be learned from; an image must have 1 to {MAX_SIZE} numbers", by(input)),
            ),
            _ => Ok(()),
        }
    }

    fn check_output(&self, layers: &[Built], classes: Option<usize>) -> Result<(), ModelError> {
        let (Some(last), Some(classes)) = (layers.last(), classes) else { return Ok(()) };
        if last.output != [classes] {
            let shape: Vec<String> = last.output.iter().map(usize::to_string).collect();
            let remedy = "end with { dense = \"classes\" }";
            let problem = format!("gives [n, {}] but the data has {classes} classes; {remedy}", shape.join(", "));
            return Err(last.spec.error(problem));
        }
        // Layers that leave the numbers as they are may follow the activation.
        let mut at = last;
        while at.spec.activation.is_none()
            && matches!(at.spec.kind, Kind::Flatten | Kind::Reshape { .. } | Kind::Dropout { .. } | Kind::Activation)
            && let [Source::Layer(before)] = at.inputs[..]
        {
            at = &layers[before];
        }
        if at.spec.activation == Some(Nonlinearity::Softmax) {
            return Err(at.spec.error("the loss applies softmax itself; remove this one"));
        }
        Ok(())
    }

    fn inputs_of(&self, i: usize) -> Vec<Source> {
        let sources = self.layers[i].sources();
        if sources.is_empty() {
            return vec![i.checked_sub(1).map_or(Source::Input, Source::Layer)];
        }
        let named = |name: &&str| self.layers[..i].iter().position(|layer| layer.name.as_deref() == Some(*name));
        // Names were checked when the text was read.
        let source = |name: &&str| match *name {
            LABEL if self.conditional => Source::Label,
            _ => named(name).map_or(Source::Input, Source::Layer),
        };
        sources.iter().map(source).collect()
    }

    /// The name it was given, or its kind and its number among the unnamed layers of that kind.
    fn layer_name(&self, i: usize) -> String {
        let layer = &self.layers[i];
        if let Some(name) = &layer.name {
            return name.clone();
        }
        let same = self.layers[..=i].iter().filter(|other| other.name.is_none() && other.prefix() == layer.prefix());
        let mut name = format!("{}{}", layer.prefix(), same.count());
        // A name that was given to another layer is taken.
        while self.layers.iter().any(|other| other.name.as_ref() == Some(&name)) {
            name.push('_');
        }
        name
    }

    /// The tensors of layer `i`, given the shapes of its first input and of its output.
    fn needs(&self, i: usize, input: &[usize], output: &[usize]) -> Vec<Need> {
        let channels = |shape: &[usize]| shape.last().copied().unwrap_or(1);
        let (c, k) = (channels(input), channels(output));
        let weight = |shape: Vec<usize>, receptive: usize| {
            let (fan_in, fan_out) = (receptive.saturating_mul(c), receptive.saturating_mul(k));
            let init = if self.rectified(i) { Init::he(fan_in) } else { Init::glorot(fan_in, fan_out) };
            Need { suffix: "weight", shape, init, decays: true }
        };
        let bias = |wanted: bool| {
            let need = Need { suffix: BIAS, shape: vec![k], init: Init::Zero, decays: false };
            wanted.then_some(need)
        };
        match &self.layers[i].kind {
            Kind::Conv(conv) | Kind::ConvTransposed(conv) => {
                let [r, s] = conv.kernel;
                let weight = weight(vec![r, s, c, k], r.saturating_mul(s));
                [Some(weight), bias(conv.bias)].into_iter().flatten().collect()
            }
            Kind::Dense { bias: wanted, .. } => {
                [Some(weight(vec![c, k], 1)), bias(*wanted)].into_iter().flatten().collect()
            }
            Kind::BatchNorm { scale, .. } => {
                let rows = |suffix, first, second| Need {
                    suffix,
                    shape: vec![2, c],
                    init: Init::Rows { first, second },
                    decays: false,
                };
                let shift = Need { suffix: "shift", shape: vec![c], init: Init::Zero, decays: false };
                vec![if *scale { rows("affine", 1.0, 0.0) } else { shift }, rows(RUNNING, 0.0, 1.0)]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the next activation is a rectifier, with no other convolution or dense layer before it.
    fn rectified(&self, i: usize) -> bool {
        for layer in &self.layers[i..] {
            if let Some(activation) = layer.activation {
                return activation.is_rectifier();
            }
            let own = std::ptr::eq(layer, &self.layers[i]);
            if !own && matches!(layer.kind, Kind::Conv(_) | Kind::ConvTransposed(_) | Kind::Dense { .. }) {
                return false;
            }
        }
        false
    }
}

/// The most numbers in a layer's output for a batch: 64 MiB of float32, half of what WebGPU lets every adapter bind.
const LAYER: usize = 1 << 24;

const BIAS: &str = "bias";
pub(super) const RUNNING: &str = "running";

impl Network {
    /// Height, width and channels of the images it takes.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] where it takes something else.
    pub fn image(&self) -> Result<[usize; 3], ModelError> {
        self.input.as_slice().try_into().map_err(|_| {
            let at = At { file: self.architecture.name.clone(), ..At::default() };
            ModelError::Architecture { at, problem: format!("takes {} and no images", by(&self.input)) }
        })
    }

    /// One row for each layer, in order.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let info = |layer: &Built| LayerInfo {
            name: layer.name.clone(),
            describe: match (&layer.spec.kind, &layer.output[..]) {
                // "classes" is a number by now.
                (Kind::Dense { .. }, [k]) => layer.spec.to_string().replacen("classes", &k.to_string(), 1),
                _ => layer.spec.to_string(),
            },
            shape: layer.output.clone(),
            parameters: layer.parameters,
            flops: layer.flops,
        };
        self.layers.iter().map(info).collect()
    }

    /// The shape of the network's output for one image: `[classes]`, or an image's `[h, w, c]`.
    pub fn output(&self) -> &[usize] {
        self.layers.last().map_or(&self.input[..], |layer| &layer.output)
    }

    /// How many images, at most `most`, can go through it at once without any layer's output becoming larger than a
    /// tensor that every adapter can bind.
    pub fn images_at_once(&self, most: usize) -> usize {
        let sizes = self.layers.iter().map(|layer| layer.output.iter().product());
        let largest = sizes.fold(self.input.iter().product(), usize::max);
        (LAYER / largest.max(1)).clamp(1, most.max(1))
    }

    /// How many numbers the last dense layer takes for an image: its features.
    pub(crate) fn features(&self) -> usize {
        let last = self.layers.iter().rfind(|layer| matches!(layer.spec.kind, Kind::Dense { .. }));
        match last.and_then(|layer| layer.inputs.first()) {
            Some(Source::Layer(at)) => self.layers[*at].output.iter().product(),
            _ => self.input.iter().product(),
        }
    }

    /// Floating-point operations of the forward pass of one image.
    pub fn flops(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.flops))
    }
}
