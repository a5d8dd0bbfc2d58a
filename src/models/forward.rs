//! A network as a graph: each layer becomes the ops that compute it, for training or for inference.

use super::build::{Built, Network, Source};
use super::error::{At, ModelError};
use super::layer::{Kind, by};
use super::parameters::Parameters;
use crate::graph::{Graph, GraphError, Place, Value};
use crate::ops::activation::Activation;
use crate::ops::batch_norm::{Running, RunningPart, batch_norm_fixed, batch_norm_of_groups};
use crate::ops::concat::Concat;
use crate::ops::conv2d::{conv2d, conv2d_transposed};
use crate::ops::dot::RowDot;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Add, AddBias, Fill};
use crate::ops::matmul::{Layout, MatMul};
use crate::ops::pool::{AvgPool, MaxPool};
use crate::ops::softmax::Softmax;
use crate::ops::upsample::Upsample;
use crate::tensor::{Shape, Tensor};

/// What the graph is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    /// Dropout is active, with draws by the clock (`[step, seed]`), and batch normalisation uses the batch's
    /// statistics. If a network occurs twice in a step, `pass` makes its draws differ. A batch may combine several
    /// `passes`, as equal parts one after another: each part has its own statistics, and draws what it would have drawn
    /// as a separate pass.
    Train { clock: Value, pass: u32, passes: usize },
    /// Nothing is random, and batch normalisation uses the running statistics.
    Infer,
}

/// What a network is given: `x`, and the label of each row, `[n, classes]`, if its layers take it.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    pub x: Value,
    pub label: Option<Value>,
}

impl From<Value> for Inputs {
    fn from(x: Value) -> Inputs {
        Inputs { x, label: None }
    }
}

/// What a network makes of its input.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The last layer's output: `[n, classes]` for a classifier, before any softmax in the loss.
    pub out: Value,
    /// The trainable tensors that were read, parallel to [`Parameters::trainable`]: what to differentiate by.
    pub weights: Vec<Value>,
    /// The last dense layer's input: the features by which it tells classes apart. The network's input if there is no
    /// such layer.
    pub penultimate: Value,
    /// Each layer's output, in order.
    pub outputs: Vec<Value>,
    /// The updates of the running statistics in training; empty in inference.
    pub running: Vec<RunningUpdate>,
}

/// Moves a layer's running mean and variance towards those of the batch.
#[derive(Clone, Debug)]
pub struct RunningUpdate {
    /// `[2, c]`: the batch's mean and variance. With several passes, those of the first come first.
    pub stats: Value,
    pub place: Place,
    pub momentum: f32,
}

impl Forward {
    /// Adds the updates of the running statistics to the step.
    ///
    /// # Errors
    /// Those of [`Graph::update`].
    pub fn update_running(&self, graph: &mut Graph) -> Result<(), GraphError> {
        for some in self.running.chunks(Running::MOST) {
            // The layers' places follow one another in one buffer, and count as one place here.
            let start = some.iter().map(|update| update.place.offset).min().unwrap_or(0);
            let part = |update: &RunningUpdate| RunningPart {
                offset: update.place.offset - start,
                len: update.place.tensor.len(),
                momentum: update.momentum,
            };
            let parts: Vec<RunningPart> = some.iter().map(part).collect();
            let words = parts.iter().map(|part| part.offset + part.len).max().unwrap_or(0);
            let place = Place { offset: start, tensor: Tensor::f32([words]), ..some[0].place.clone() };
            let stats: Vec<Value> = some.iter().map(|update| update.stats).collect();
            graph.update(Running { parts }, &stats, vec![place])?;
        }
        Ok(())
    }
}

impl Network {
    /// Reads every trainable tensor once.
    pub fn read_weights(&self, graph: &mut Graph, parameters: &Parameters) -> Vec<Value> {
        (0..parameters.trainable().len()).map(|i| graph.read(&parameters.place(i))).collect()
    }

    /// Applies the network to images `x`, `[n, h, w, c]` or any shape with as many elements and `n` first; with their
    /// labels if it is one of a GAN's networks.
    ///
    /// # Errors
    /// [`ModelError`] if the size of `x` is not the one that was declared.
    pub fn forward(
        &self,
        graph: &mut Graph,
        parameters: &Parameters,
        inputs: impl Into<Inputs>,
        mode: Mode,
    ) -> Result<Forward, ModelError> {
        let weights = self.read_weights(graph, parameters);
        self.forward_with(graph, parameters, weights, inputs, mode)
    }

    /// [`Network::forward`] with weights that have already been read: for weights that were changed since, and for a
    /// network that occurs twice in a step.
    pub fn forward_with(
        &self,
        graph: &mut Graph,
        parameters: &Parameters,
        weights: Vec<Value>,
        inputs: impl Into<Inputs>,
        mode: Mode,
    ) -> Result<Forward, ModelError> {
        let Inputs { x, label } = inputs.into();
        let input = self.enter(graph, x)?;
        let n = graph.dims(input)[0];
        if let Some(label) = label
            && graph.dims(label) != [n, self.classes.unwrap_or(0)]
        {
            let problem =
                format!("is for labels of {} classes, but is given {}", self.classes.unwrap_or(0), graph.shape(label));
            return Err(self.refuse(problem));
        }
        let mut build = Build { graph, parameters, weights: &weights, mode, running: Vec::new() };
        let mut outputs: Vec<Value> = Vec::with_capacity(self.layers.len());
        let mut penultimate = input;
        for layer in &self.layers {
            let values = |of: &Built| -> Result<Vec<Value>, ModelError> {
                let value = |source: &Source| match source {
                    Source::Input => Ok(input),
                    Source::Label => label.ok_or_else(|| of.spec.error("takes the label, which is not given here")),
                    Source::Layer(at) => Ok(outputs[*at]),
                };
                of.inputs.iter().map(value).collect()
            };
            let inputs = values(layer)?;
            if matches!(layer.spec.kind, Kind::Dense { .. }) {
                penultimate = inputs[0];
            }
            let mut wanted = vec![n];
            wanted.extend(&layer.output);
            let value =
                build.layer(layer, &inputs, &wanted).map_err(|problem| fault(layer.spec.at.clone(), problem))?;
            if build.graph.dims(value) != wanted {
                let found = by(build.graph.dims(value));
                return Err(layer
                    .spec
                    .error(format!("gives {found} where {} was inferred: a fault here", by(&wanted))));
            }
            outputs.push(value);
        }
        let running = build.running;
        let out = outputs.last().copied().unwrap_or(input);
        Ok(Forward { out, weights, penultimate, outputs, running })
    }

    fn enter(&self, graph: &mut Graph, x: Value) -> Result<Value, ModelError> {
        let n = graph.dims(x).first().copied().unwrap_or(0);
        let sizes = [&[n], &self.input[..]].concat();
        if n == 0 || graph.shape(x).len() != sizes.iter().product::<usize>() {
            return Err(self.refuse(format!("is for batches of {}, but is given {}", by(&self.input), graph.shape(x))));
        }
        graph.reshape(x, Shape::new(sizes)).map_err(|problem| fault(self.at(), problem))
    }

    fn at(&self) -> At {
        At { file: self.architecture.name.clone(), ..At::default() }
    }

    fn refuse(&self, problem: String) -> ModelError {
        ModelError::Architecture { at: self.at(), problem }
    }
}

fn fault(at: At, problem: GraphError) -> ModelError {
    ModelError::Graph { at, problem: Box::new(problem) }
}

struct Build<'a> {
    graph: &'a mut Graph,
    parameters: &'a Parameters,
    weights: &'a [Value],
    mode: Mode,
    running: Vec<RunningUpdate>,
}

impl Build<'_> {
    fn layer(&mut self, layer: &Built, inputs: &[Value], shape: &[usize]) -> Result<Value, GraphError> {
        let x = inputs[0];
        let weight = |of: &Self| of.weights[layer.weight.unwrap_or_default()];
        let out = match &layer.spec.kind {
            Kind::Conv(_) | Kind::ConvTransposed(_) | Kind::Dense { .. } => self.product(layer, x, weight(self))?,
            Kind::AvgPool { window, stride } => self.graph.apply(AvgPool { window: *window, stride: *stride }, &[x])?,
            Kind::MaxPool { window, stride } => self.graph.apply(MaxPool::new(*window, *stride), &[x])?,
            Kind::Upsample { factor } => self.graph.apply(Upsample { factor: *factor }, &[x])?,
            Kind::BatchNorm { epsilon, momentum, scale } => {
                let affine = self.affine(layer, *scale)?;
                self.batch_norm(layer, x, affine, *epsilon, *momentum)?
            }
            Kind::Activation => x,
            Kind::Dropout { rate } => match self.mode {
                Mode::Train { clock, pass, passes } if *rate > 0.0 => {
                    let stream = self.parameters.stream(&layer.name).wrapping_add(pass);
                    self.graph.apply(Dropout { rate: *rate, stream, groups: passes }, &[x, clock])?
                }
                _ => x,
            },
            Kind::Flatten | Kind::Reshape { .. } => self.graph.reshape(x, Shape::new(shape))?,
            Kind::Concat { .. } => {
                let mut parts = inputs.to_vec();
                while parts.len() > Concat::MOST {
                    let first = self.graph.apply(Concat, &parts[..Concat::MOST])?;
                    parts.splice(..Concat::MOST, [first]);
                }
                self.graph.apply(Concat, &parts)?
            }
            Kind::Dot { .. } => self.graph.apply(RowDot, inputs)?,
            Kind::Add { .. } => {
                let mut sum = x;
                for more in &inputs[1..] {
                    sum = self.graph.apply(Add, &[sum, *more])?;
                }
                sum
            }
        };
        let out = match layer.bias {
            Some(bias) => self.graph.apply(AddBias, &[out, self.weights[bias]])?,
            None => out,
        };
        self.activated(layer, out)
    }

    /// A convolution, a transposed one or a dense layer, without its bias. In each, the last axis of the weights is the
    /// result's channels.
    fn product(&mut self, layer: &Built, x: Value, weight: Value) -> Result<Value, GraphError> {
        match &layer.spec.kind {
            Kind::Conv(c) => conv2d(self.graph, x, weight, c.stride, c.padding),
            Kind::ConvTransposed(c) => conv2d_transposed(self.graph, x, weight, c.stride, c.padding),
            _ => self.graph.apply(MatMul::new(Layout::NN), &[x, weight]),
        }
    }

    fn activated(&mut self, layer: &Built, out: Value) -> Result<Value, GraphError> {
        let Some(activation) = layer.spec.activation else { return Ok(out) };
        match activation.act() {
            Some(act) => self.graph.apply(Activation(act), &[out]),
            None => self.graph.apply(Softmax, &[out]),
        }
    }

    /// Gamma and beta, `[2, c]`; gamma is 1 where the layer only shifts.
    fn affine(&mut self, layer: &Built, scale: bool) -> Result<Value, GraphError> {
        let weight = self.weights[layer.weight.unwrap_or_default()];
        if scale {
            return Ok(weight);
        }
        let c = self.graph.shape(weight).len();
        let gamma = self.graph.apply(Fill { shape: [1, c].into(), value: 1.0 }, &[])?;
        let beta = self.graph.reshape(weight, [1, c])?;
        let both = self.graph.apply(Concat, &[gamma, beta])?;
        self.graph.reshape(both, [2, c])
    }

    fn batch_norm(
        &mut self,
        layer: &Built,
        x: Value,
        affine: Value,
        epsilon: f32,
        momentum: f32,
    ) -> Result<Value, GraphError> {
        let place = self.parameters.running_place(layer.running.unwrap_or_default());
        match self.mode {
            Mode::Train { passes, .. } => {
                let (out, stats) = batch_norm_of_groups(self.graph, x, affine, epsilon, passes)?;
                self.running.push(RunningUpdate { stats, place, momentum });
                Ok(out)
            }
            Mode::Infer => {
                let running = self.graph.read(&place);
                batch_norm_fixed(self.graph, x, running, affine, epsilon)
            }
        }
    }
}
