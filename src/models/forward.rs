//! A network as a graph: each layer becomes the ops that compute it, for training or for inference.

use super::build::{Built, Network};
use super::error::{At, ModelError};
use super::layer::{Kind, Nonlinearity, by};
use super::parameters::Parameters;
use crate::graph::{BufferId, Graph, GraphError, Place, Value};
use crate::ops::Epilogue;
use crate::ops::activation::{Act, Activation};
use crate::ops::batch_norm::{Running, batch_norm, batch_norm_fixed};
use crate::ops::concat::Concat;
use crate::ops::conv2d::{conv2d, conv2d_transposed};
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Add, AddBias};
use crate::ops::matmul::{Layout, MatMul};
use crate::ops::pool::{AvgPool, MaxPool};
use crate::ops::softmax::Softmax;
use crate::ops::upsample::Upsample;
use crate::tensor::Shape;

/// What the graph is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    /// Dropout drops, by the clock (`[step, seed]`), and batch normalisation takes the batch's statistics.
    Train { clock: Value },
    /// Nothing is random, batch normalisation takes the running statistics.
    Infer,
}

/// What a network makes of its input.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[n, classes]`, or whatever the last layer gives; before any softmax of the loss.
    pub logits: Value,
    /// The trainable tensors that were read, parallel to [`Parameters::trainable`]: what to ask derivatives by.
    pub weights: Vec<Value>,
    /// What the last dense layer is given: the features that it tells classes by. The input, without such a layer.
    pub penultimate: Value,
    /// What training makes of the running statistics; nothing in inference.
    pub running: Vec<RunningUpdate>,
}

/// Moves a layer's running mean and variance towards those of the batch.
#[derive(Clone, Debug)]
pub struct RunningUpdate {
    /// `[2, c]`: the batch's mean and variance.
    pub stats: Value,
    pub place: Place,
    pub momentum: f32,
}

impl Forward {
    /// Adds the updates of the running statistics to the step.
    pub fn update_running(&self, graph: &mut Graph) {
        for update in &self.running {
            graph.update(Running { momentum: update.momentum }, &[update.stats], vec![update.place.clone()]);
        }
    }
}

impl Network {
    /// Reads every trainable tensor once, from `parameters.weights` or another buffer of the same layout
    /// (averaged weights).
    pub fn read_weights(&self, graph: &mut Graph, parameters: &Parameters, from: BufferId) -> Vec<Value> {
        (0..parameters.trainable().len()).map(|i| graph.read(&parameters.place_in(i, from))).collect()
    }

    /// The network on images `x`, `[n, h, w, c]` or anything with as many elements and `n` first.
    ///
    /// # Errors
    /// [`ModelError`] where `x` has another size than was declared.
    pub fn forward(
        &self,
        graph: &mut Graph,
        parameters: &Parameters,
        x: Value,
        mode: Mode,
    ) -> Result<Forward, ModelError> {
        let weights = self.read_weights(graph, parameters, parameters.weights);
        self.forward_with(graph, parameters, weights, x, mode)
    }

    /// [`Network::forward`] with weights that are read already: for averaged ones, and for a network that
    /// stands in a step twice.
    pub fn forward_with(
        &self,
        graph: &mut Graph,
        parameters: &Parameters,
        weights: Vec<Value>,
        x: Value,
        mode: Mode,
    ) -> Result<Forward, ModelError> {
        let input = self.enter(graph, x)?;
        let n = graph.dims(input)[0];
        let mut build = Build { graph, parameters, weights: &weights, mode, running: Vec::new() };
        let mut outputs: Vec<Value> = Vec::with_capacity(self.layers.len());
        let mut penultimate = input;
        for layer in &self.layers {
            let inputs: Vec<Value> = layer.inputs.iter().map(|at| at.map_or(input, |at| outputs[at])).collect();
            if matches!(layer.spec.kind, Kind::Dense { .. }) {
                penultimate = inputs[0];
            }
            let mut wanted = vec![n];
            wanted.extend(&layer.output);
            let value = build.layer(layer, &inputs, &wanted);
            let value = value.map_err(|problem| fault(layer.spec.at.clone(), problem))?;
            if build.graph.dims(value) != wanted {
                let found = by(build.graph.dims(value));
                return Err(layer
                    .spec
                    .error(format!("gives {found} where {} was inferred: a fault here", by(&wanted))));
            }
            outputs.push(value);
        }
        let running = build.running;
        Ok(Forward { logits: outputs.last().copied().unwrap_or(input), weights, penultimate, running })
    }

    fn enter(&self, graph: &mut Graph, x: Value) -> Result<Value, ModelError> {
        let at = || At { file: self.architecture.name.clone(), ..At::default() };
        let [h, w, c] = self.input;
        let n = graph.dims(x).first().copied().unwrap_or(0);
        if n == 0 || graph.shape(x).len() != n * h * w * c {
            let problem = format!("is for batches of {h}x{w}x{c}, but is given {}", graph.shape(x));
            return Err(ModelError::Architecture { at: at(), problem });
        }
        graph.reshape(x, [n, h, w, c]).map_err(|problem| fault(at(), problem))
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
            Kind::Conv(c) => conv2d(self.graph, x, weight(self), c.stride, c.padding)?,
            Kind::ConvTransposed(c) => conv2d_transposed(self.graph, x, weight(self), c.stride, c.padding)?,
            Kind::Dense { .. } => {
                let product = MatMul { layout: Layout::NN, epilogue: Epilogue::NONE };
                self.graph.apply(product, &[x, weight(self)])?
            }
            Kind::AvgPool { window, stride } => self.graph.apply(AvgPool { window: *window, stride: *stride }, &[x])?,
            Kind::MaxPool { window, stride } => self.graph.apply(MaxPool { window: *window, stride: *stride }, &[x])?,
            Kind::Upsample { factor } => self.graph.apply(Upsample { factor: *factor }, &[x])?,
            Kind::BatchNorm { epsilon, momentum } => self.batch_norm(layer, x, *epsilon, *momentum)?,
            Kind::Activation => x,
            Kind::Dropout { rate } => match self.mode {
                Mode::Train { clock } if *rate > 0.0 => {
                    let stream = self.parameters.stream(&layer.name);
                    self.graph.apply(Dropout { rate: *rate, stream }, &[x, clock])?
                }
                _ => x,
            },
            Kind::Flatten | Kind::Reshape { .. } => self.graph.reshape(x, Shape::new(shape))?,
            Kind::Concat { .. } => self.graph.apply(Concat, inputs)?,
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
        let act = match layer.spec.activation {
            None => return Ok(out),
            Some(Nonlinearity::Softmax) => return self.graph.apply(Softmax, &[out]),
            Some(Nonlinearity::Relu) => Act::Relu,
            Some(Nonlinearity::LeakyRelu(slope)) => Act::Leaky(slope),
            Some(Nonlinearity::Sigmoid) => Act::Sigmoid,
            Some(Nonlinearity::Tanh) => Act::Tanh,
        };
        self.graph.apply(Activation(act), &[out])
    }

    fn batch_norm(&mut self, layer: &Built, x: Value, epsilon: f32, momentum: f32) -> Result<Value, GraphError> {
        let affine = self.weights[layer.weight.unwrap_or_default()];
        let place = self.parameters.state_place(layer.running.unwrap_or_default());
        match self.mode {
            Mode::Train { .. } => {
                let (out, stats) = batch_norm(self.graph, x, affine, epsilon)?;
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
