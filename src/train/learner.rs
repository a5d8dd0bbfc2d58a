//! What an optimizer keeps for one network: its moments, its averaged weights, its learning rates; and the update that
//! ends a step.

use super::TrainError;
use super::schedule::Schedule;
use crate::device::{Device, DeviceError};
use crate::grad::grad_times;
use crate::graph::{ALIGNMENT, BufferId, Graph, GraphError, Place, Store, Value};
use crate::models::{ModelFile, Parameter, Parameters, Values};
use crate::ops::optimizer::{Optimizer, Update, optimize};
use crate::tensor::Tensor;

/// How a network learns.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    pub weight_decay: f32,
    /// Decay of the averaged weights; 0 for none.
    pub average: f32,
    /// What derivatives are multiplied by in the backward pass, so that 16-bit floats hold the small ones as well.
    pub loss_scale: f32,
}

/// A network's parameters with all that their training keeps on a device.
pub struct Learner {
    pub parameters: Parameters,
    method: Method,
    table: BufferId,
    decay: Option<BufferId>,
    moments: Vec<BufferId>,
    averaged: Option<BufferId>,
    /// Running statistics that go with the averaged weights, where there are both;
    /// [`Calibration`](super::calibration::Calibration) computes them.
    calibrated: Option<BufferId>,
    rows: Vec<[f32; 4]>,
}

/// What a learner keeps on the device, except for what never changes.
#[derive(Clone, PartialEq, Debug)]
pub struct Learned {
    pub values: Values,
    pub moments: Vec<Vec<f32>>,
    pub averaged: Option<Vec<f32>>,
}

impl Learner {
    /// `parameters` are a network's, completely declared in `store`.
    pub fn declare(store: &mut Store, parameters: Parameters, method: Method) -> Learner {
        let (words, name) = (store.words(parameters.weights), parameters.name.clone());
        let table = store.add(format!("{name}.table"), method.schedule.steps * 4);
        let moments = 0..method.optimizer.moments();
        let moments = moments.map(|i| store.add(format!("{name}.moment{i}"), words)).collect();
        let averaged = (method.average > 0.0).then(|| store.add(format!("{name}.averaged"), words));
        let calibrated = averaged.filter(|_| parameters.total_running() > 0);
        let calibrated = calibrated.map(|_| store.add(format!("{name}.calibrated"), parameters.total_running()));
        let decay = (method.weight_decay > 0.0).then(|| store.add(format!("{name}.decay"), words / ALIGNMENT));
        let rows = method.optimizer.table(&method.schedule.rates());
        Learner { parameters, method, table, decay, moments, averaged, calibrated, rows }
    }

    /// Where the derivatives with respect to all weights are stored for the update.
    pub fn gradients(&self) -> Place {
        Place::whole(self.parameters.grads, Tensor::f32([self.parameters.total()]))
    }

    /// Adds the derivatives of a loss to a step; `weights` are in the order of the trainable tensors.
    ///
    /// # Errors
    /// Where the loss has no derivative with respect to a weight.
    pub fn collect(&self, graph: &mut Graph, loss: Value, weights: &[Value]) -> Result<(), GraphError> {
        for (i, gradient) in grad_times(graph, loss, self.method.loss_scale, weights)?.into_iter().enumerate() {
            graph.assign(gradient, self.parameters.grad_place(i))?;
        }
        Ok(())
    }

    /// Adds the update by the collected derivatives; `clock` is the step's.
    ///
    /// # Errors
    /// Those of [`Graph::update`].
    pub fn update(&self, graph: &mut Graph, clock: Value) -> Result<(), GraphError> {
        let words = self.parameters.total();
        let gradients = graph.read(&self.gradients());
        let rates = graph.read(&Place::whole(self.table, Tensor::f32([self.rows.len(), 4])));
        let mask = self.decay.map(|decay| graph.read(&Place::whole(decay, Tensor::f32([words / ALIGNMENT]))));
        let targets = std::iter::once(self.parameters.weights).chain(self.moments.iter().copied()).chain(self.averaged);
        let targets = targets.map(|buffer| Place::whole(buffer, Tensor::f32([words]))).collect();
        let Method { optimizer, weight_decay: decay, loss_scale, average, .. } = self.method;
        let update = Update { optimizer, decay, factor: 1.0 / loss_scale, average };
        optimize(graph, update, [gradients, rates, clock], mask, targets)
    }

    /// The parameters as inference should read them: averaged weights and their statistics, where those are kept.
    pub fn inference_parameters(&self) -> Parameters {
        let Parameters { weights, running, .. } = self.parameters;
        self.parameters.reading(self.averaged.unwrap_or(weights), self.calibrated.unwrap_or(running))
    }

    /// Where the statistics of averaged weights are stored, if there are any.
    pub fn calibrated(&self) -> Option<BufferId> {
        self.calibrated
    }

    /// The state before the first step.
    pub fn initial(&self, seed: u32) -> Learned {
        self.starting_from(self.parameters.initial(seed))
    }

    /// The state before the first step of a network that was trained before.
    pub fn starting_from(&self, values: Values) -> Learned {
        Learned {
            moments: vec![vec![0.0; values.weights.len()]; self.moments.len()],
            averaged: self.averaged.map(|_| values.weights.clone()),
            values,
        }
    }

    /// Sends what never changes. Call it once, after the store was allocated.
    pub fn upload(&self, device: &mut dyn Device) -> Result<(), DeviceError> {
        device.write(self.table, 0, bytemuck::cast_slice(&self.rows))?;
        if let Some(decay) = self.decay {
            device.write_f32(decay, 0, &self.parameters.decay_mask())?;
        }
        Ok(())
    }

    pub fn load(&self, device: &mut dyn Device, learned: &Learned) -> Result<(), DeviceError> {
        self.parameters.send(device, &learned.values)?;
        for (buffer, moment) in self.moments.iter().zip(&learned.moments) {
            device.write_f32(*buffer, 0, moment)?;
        }
        if let Some((buffer, averaged)) = self.averaged.zip(learned.averaged.as_ref()) {
            device.write_f32(buffer, 0, averaged)?;
        }
        if let Some(buffer) = self.calibrated {
            // Used until they are computed: the averages begin as the weights that these statistics belong to.
            device.write_f32(buffer, 0, &learned.values.running)?;
        }
        Ok(())
    }

    pub fn save(&self, device: &mut dyn Device) -> Result<Learned, DeviceError> {
        let p = &self.parameters;
        let mut read = |buffer| read(device, buffer, p.total(), p.trainable());
        let moments = self.moments.iter().map(|moment| read(*moment)).collect::<Result<_, _>>()?;
        let averaged = self.averaged.map(read).transpose()?;
        Ok(Learned { values: values(device, p)?, moments, averaged })
    }

    /// The weights that inference uses, and their running statistics; those of averaged weights are as last computed.
    pub fn inference(&self, device: &mut dyn Device) -> Result<Values, DeviceError> {
        values(device, &self.inference_parameters())
    }

    /// Adds to a checkpoint what it needs besides weights and running statistics; names begin with `prefix`.
    pub fn add_to(&self, file: &mut ModelFile, prefix: &str, learned: &Learned) {
        let trainable = self.parameters.trainable();
        for (i, moment) in learned.moments.iter().enumerate() {
            file.add_flat(&format!("{prefix}moment{i}/"), trainable, moment);
        }
        if let Some(averaged) = &learned.averaged {
            file.add_flat(&format!("{prefix}averaged/"), trainable, averaged);
        }
    }

    /// What a checkpoint holds under `prefix`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or not finite.
    pub fn learned(&self, file: &ModelFile, prefix: &str) -> Result<Learned, TrainError> {
        let p = &self.parameters;
        let flat = |what: &str| file.flat(&format!("{prefix}{what}"), p.trainable(), p.total());
        Ok(Learned {
            values: file.values(prefix, p)?,
            moments: (0..self.moments.len()).map(|i| flat(&format!("moment{i}/"))).collect::<Result<_, _>>()?,
            averaged: self.averaged.map(|_| flat("averaged/")).transpose()?,
        })
    }
}

/// Weights and running statistics as they are on the device.
fn values(device: &mut dyn Device, p: &Parameters) -> Result<Values, DeviceError> {
    let weights = read(device, p.weights, p.total(), p.trainable())?;
    Ok(Values { weights, running: read(device, p.running, p.total_running(), p.statistics())? })
}

/// A flat buffer with zeros between its tensors: shaders that write in vectors of four leave values there that belong
/// to no tensor.
fn read(
    device: &mut dyn Device,
    buffer: BufferId,
    total: usize,
    tensors: &[Parameter],
) -> Result<Vec<f32>, DeviceError> {
    let mut words = device.read_f32(buffer, 0, total)?;
    let ends = tensors.iter().map(|p| p.offset + p.shape.len());
    let starts = tensors.iter().skip(1).map(|p| p.offset).chain([words.len()]);
    ends.zip(starts).for_each(|(end, start)| words[end..start].fill(0.0));
    Ok(words)
}

impl Learned {
    /// Whether it is worth keeping. No run can continue from moments that overflowed either, though weights survive
    /// them.
    pub fn is_finite(&self) -> bool {
        let more = self.moments.iter().chain(&self.averaged).flatten();
        self.values.numbers().chain(more).all(|x| x.is_finite())
    }
}

/// Adds the derivatives of a loss and the update by them, in one call.
///
/// # Errors
/// Where the loss has no derivative with respect to a weight.
pub fn learn(
    graph: &mut Graph,
    learner: &Learner,
    loss: Value,
    weights: &[Value],
    clock: Value,
) -> Result<(), GraphError> {
    learner.collect(graph, loss, weights)?;
    learner.update(graph, clock)
}
