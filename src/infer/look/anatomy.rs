//! A classifier's layers and numbers, as shown to a person: nothing here needs a device.

use super::{FIELD, InferError};
use crate::graph::Store;
use crate::models::{
    Built, Kind, ModelFile, Network, Nonlinearity, Parameter, Parameters, Source, Values, by, is_foreign_name,
};

/// One layer.
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    pub name: String,
    /// `conv 3x3x32 same relu`
    pub describe: String,
    /// For one image: `[h, w, c]` or `[k]`.
    pub shape: Vec<usize>,
    /// The layers whose output it takes; `None` is the picture.
    pub inputs: Vec<Option<usize>>,
    pub kind: Kind,
    /// What is applied to the layer's result.
    pub activation: Option<Nonlinearity>,
    /// Numbers that were learned by gradients.
    pub parameters: u64,
    /// Floating-point operations for one image, a multiply-add counted as two.
    pub flops: u64,
}

/// What a unit looks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    /// `[r, s, c]` of a convolution; `[h, w, c]` of a dense layer after a flattened image, else `[inputs]`.
    pub shape: Vec<usize>,
    /// Row-major.
    pub weights: Vec<f32>,
    pub bias: Option<f32>,
}

/// The layers of a classifier with their weights.
#[derive(Clone, Debug)]
pub struct Anatomy {
    pub(super) network: Network,
    parameters: Parameters,
    values: Values,
    layers: Vec<Layer>,
    input: [usize; 3],
}

/// The network of a file, for drawings. A final softmax is removed: the network gives logits, and probabilities are
/// computed separately.
pub(super) fn network(
    file: &ModelFile,
    classes: usize,
    store: &mut Store,
) -> Result<(Network, Parameters), InferError> {
    let mut architecture = file.architecture()?;
    let input = file.input()?;
    if let Some(last) = architecture.layers.last_mut().filter(|l| l.activation == Some(Nonlinearity::Softmax)) {
        last.activation = None;
    }
    let (network, parameters) = architecture.declare(input, classes, store, "classifier")?;
    let [h, w, c] = input;
    if h != w || c != 1 || h == 0 || !FIELD.is_multiple_of(h) {
        let problem = format!("takes images of {}, but a drawing is {FIELD}x{FIELD}x1", by(&input));
        let takes = "drawing works for networks that take square images of one channel, 14, 28, 56 or another \
                     divisor of 448 wide";
        let remedy = match is_foreign_name(&file.name) {
            true => "`inkgrad import` makes a file of this one with which `inkgrad classify` reads picture files",
            false => "`inkgrad classify` reads picture files with this one",
        };
        return Err(file.refuse(format!("{problem}; {takes}. {remedy}")).into());
    }
    Ok((network, parameters))
}

/// Whether a layer returns its input unchanged, perhaps in another shape.
pub(super) fn hands_on(layer: &Built) -> bool {
    let kind = &layer.spec.kind;
    let same = matches!(kind, Kind::Dropout { .. } | Kind::Flatten | Kind::Reshape { .. } | Kind::Activation);
    same && layer.spec.activation.is_none()
}

/// Any shape as rows, columns and channels; `[k]` is one pixel of `k` channels.
pub(super) fn image(shape: &[usize]) -> [usize; 3] {
    match shape {
        [] => [1, 1, 1],
        [c] => [1, 1, *c],
        [rows @ .., w, c] => [rows.iter().product(), *w, *c],
    }
}

impl Anatomy {
    pub(super) fn new(network: Network, parameters: Parameters, values: Values) -> Result<Anatomy, InferError> {
        let layer = |(info, built): (crate::models::LayerInfo, &Built)| Layer {
            // An activation layer without an activation is where a softmax was.
            describe: if info.describe.is_empty() { "softmax, shown apart".into() } else { info.describe },
            name: info.name,
            shape: info.shape,
            inputs: built.inputs.iter().map(|source| above(*source)).collect(),
            kind: built.spec.kind.clone(),
            activation: built.spec.activation,
            parameters: info.parameters,
            flops: info.flops,
        };
        let layers = network.layers().into_iter().zip(&network.layers).map(layer).collect();
        let input = network.image()?;
        Ok(Anatomy { network, parameters, values, layers, input })
    }

    /// Height, width and channels of the images that the network takes.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// In order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The weights by which a unit (an output channel) of a layer multiplies its input; `None` for layers that have
    /// none, and for units that do not exist.
    pub fn kernel(&self, layer: usize, unit: usize) -> Option<Kernel> {
        let built = self.network.layers.get(layer)?;
        if !matches!(built.spec.kind, Kind::Conv(_) | Kind::ConvTransposed(_) | Kind::Dense { .. }) {
            return None;
        }
        let (parameter, weights) = self.trained(built.weight)?;
        let (units, inputs) = parameter.shape.dims().split_last()?;
        if unit >= *units {
            return None;
        }
        let shape = match built.spec.kind {
            Kind::Dense { .. } => self.flattened(layer).unwrap_or_else(|| inputs.to_vec()),
            _ => inputs.to_vec(),
        };
        let weights = weights.iter().skip(unit).step_by(*units).copied().collect();
        Some(Kernel { shape, weights, bias: self.bias(built, unit) })
    }

    pub(super) fn bias(&self, built: &Built, unit: usize) -> Option<f32> {
        self.trained(built.bias).and_then(|(_, bias)| bias.get(unit).copied())
    }

    /// A trained tensor.
    pub(super) fn trained(&self, index: Option<usize>) -> Option<(&Parameter, &[f32])> {
        let parameter = self.parameters.trainable().get(index?)?;
        Some((parameter, &self.values.weights[parameter.offset..][..parameter.shape.len()]))
    }

    /// Running statistics `[2, c]`.
    pub(super) fn statistics(&self, index: Option<usize>) -> Option<&[f32]> {
        let parameter = self.parameters.statistics().get(index?)?;
        Some(&self.values.running[parameter.offset..][..parameter.shape.len()])
    }

    /// The shape `[h, w, c]` of the image whose flattened pixels are a layer's input.
    pub fn flattened(&self, layer: usize) -> Option<Vec<usize>> {
        let mut at = above(*self.network.layers.get(layer)?.inputs.first()?)?;
        loop {
            let built = &self.network.layers[at];
            let source = *built.inputs.first()?;
            match built.spec.kind {
                Kind::Dropout { .. } | Kind::Activation | Kind::BatchNorm { .. } => at = above(source)?,
                Kind::Flatten => return Some(self.shape(source).to_vec()).filter(|shape| shape.len() == 3),
                _ => return None,
            }
        }
    }

    /// The shape of what a layer takes from `source`, for one image.
    pub(super) fn shape(&self, source: Source) -> &[usize] {
        match source {
            Source::Layer(at) => &self.network.layers[at].output,
            _ => &self.input,
        }
    }
}

/// The layer that a source refers to, if it is one.
pub(super) fn above(source: Source) -> Option<usize> {
    match source {
        Source::Layer(at) => Some(at),
        Source::Input | Source::Label => None,
    }
}
