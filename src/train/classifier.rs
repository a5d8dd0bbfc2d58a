//! The classifier's training step as one graph, and the stored buffers it lives on.
//!
//! Everything a step needs is resident: the images, the labels, the learning rates of all steps, the clock. So a
//! step takes nothing from the host and gives nothing back; its loss goes into a ring that is read now and then.

use super::schedule::Schedule;
use super::{Settings, TrainError};
use crate::data::ImageSet;
use crate::device::{Device, DeviceError, PlanId};
use crate::grad::grad;
use crate::graph::{BufferId, Graph, Place, Store};
use crate::infer::evaluate::{Normalization, pack};
use crate::models::{Mode, Network, Parameters};
use crate::ops::average::Average;
use crate::ops::loss::{Correct, CrossEntropy};
use crate::ops::optimizer::{Optimizer, Update};
use crate::ops::sample::{GatherImages, GatherLabels, Order, Record, Tick};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Steps that the ring of losses holds: the most that may run before the host looks.
pub const RING: usize = 1024;

/// A network with all that its training keeps on a device.
pub struct Classifier {
    pub parameters: Parameters,
    pub plan: Plan,
    optimizer: Optimizer,
    clock: BufferId,
    images: BufferId,
    labels: BufferId,
    table: BufferId,
    ring: BufferId,
    decay: Option<BufferId>,
    moments: Vec<BufferId>,
    averaged: Option<BufferId>,
    rows: Vec<[f32; 4]>,
    batch: usize,
    ready: Option<PlanId>,
}

/// All that decides how a run goes on, as it is on the device.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub step: u32,
    pub seed: u32,
    pub weights: Vec<f32>,
    pub running: Vec<f32>,
    pub moments: Vec<Vec<f32>>,
    pub averaged: Option<Vec<f32>>,
}

impl Classifier {
    /// Writes the step down for a set of this size. `parameters` are the network's, declared in `store`.
    pub fn declare(
        store: &mut Store,
        network: &Network,
        parameters: Parameters,
        settings: &Settings,
        set: &ImageSet,
        normalization: Normalization,
    ) -> Result<Classifier, TrainError> {
        let (count, batch, words) = (set.len(), settings.batch, store.words(parameters.weights));
        let steps = settings.steps(settings.epochs, count);
        let optimizer = settings.optimizer();
        let clock = store.add("clock", 2);
        let images = store.add("images", set.images.len().div_ceil(4));
        let labels = store.add("labels", count);
        let table = store.add("table", steps * 4);
        let ring = store.add("ring", RING * 2);
        let moments: Vec<_> = (0..optimizer.moments()).map(|i| store.add(format!("moment{i}"), words)).collect();
        let averaged = (settings.average > 0.0).then(|| store.add("averaged", words));
        let decay = (settings.weight_decay > 0.0).then(|| store.add("decay", words / crate::graph::ALIGNMENT));

        let place = |buffer, tensor| Place { buffer, offset: 0, tensor };
        let whole = |buffer| place(buffer, Tensor::f32([words]));
        let clock_place = place(clock, Tensor::u32([2]));
        let mut graph = Graph::new();
        let now = graph.read(&clock_place);
        let bytes = graph.read(&place(images, Tensor::u32([set.images.len().div_ceil(4)])));
        let all_labels = graph.read(&place(labels, Tensor::u32([count])));
        let gather = GatherImages {
            count,
            batch,
            image: [set.height, set.width, set.channels].into(),
            mean: normalization.mean,
            std: normalization.std,
            order: Order::Shuffled,
        };
        let x = graph.apply(gather, &[bytes, now])?;
        let truth = graph.apply(GatherLabels { count, batch, order: Order::Shuffled }, &[all_labels, now])?;
        let forward = network.forward(&mut graph, &parameters, x, Mode::Train { clock: now })?;
        let loss = graph.apply(CrossEntropy { smoothing: settings.label_smoothing }, &[forward.logits, truth])?;
        let correct = graph.apply(Correct, &[forward.logits, truth])?;
        graph.update(Record { slots: RING }, &[now, loss, correct], vec![place(ring, Tensor::f32([RING, 2]))]);

        forward.update_running(&mut graph);

        let gradients = grad(&mut graph, loss, &forward.weights)?;
        for (gradient, place) in gradients.into_iter().zip((0..).map(|i| parameters.grad_place(i))) {
            graph.assign(gradient, place);
        }
        let gradients = graph.read(&whole(parameters.grads));
        let rates = graph.read(&place(table, Tensor::f32([steps, 4])));
        let mut inputs = vec![gradients, rates, now];
        if let Some(decay) = decay {
            inputs.push(graph.read(&place(decay, Tensor::f32([words / crate::graph::ALIGNMENT]))));
        }
        let targets = std::iter::once(parameters.weights).chain(moments.iter().copied()).map(whole).collect();
        graph.update(Update { optimizer, decay: settings.weight_decay }, &inputs, targets);
        if let Some(averaged) = averaged {
            let weights = graph.read(&whole(parameters.weights));
            graph.update(Average { decay: settings.average }, &[weights, now], vec![whole(averaged)]);
        }
        graph.update(Tick, &[], vec![clock_place]);

        let warmup = (f64::from(settings.warmup) * count as f64 / batch as f64).round() as usize;
        let schedule = Schedule {
            name: settings.schedule,
            peak: f64::from(settings.learning_rate),
            steps,
            warmup: warmup.min(steps),
        };
        let rows = optimizer.table(&schedule.rates());
        let plan = Plan::new(&graph);
        Ok(Classifier {
            parameters,
            plan,
            optimizer,
            clock,
            images,
            labels,
            table,
            ring,
            decay,
            moments,
            averaged,
            rows,
            batch,
            ready: None,
        })
    }

    /// The buffer that inference should read: the averaged weights where they are kept.
    pub fn inference_weights(&self) -> BufferId {
        self.averaged.unwrap_or(self.parameters.weights)
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> usize {
        self.rows.len()
    }

    /// A run's beginning.
    pub fn initial(&self, seed: u32) -> State {
        let weights = self.parameters.initial(seed);
        State {
            step: 0,
            seed,
            running: self.parameters.initial_state(),
            moments: vec![vec![0.0; weights.len()]; self.optimizer.moments()],
            averaged: self.averaged.map(|_| weights.clone()),
            weights,
        }
    }

    /// Sends the set and the tables to the device and makes the step ready; once, after the store was allocated.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        device.write(self.images, 0, &pack(&set.images))?;
        device.write(self.labels, 0, &set.labels)?;
        device.write(self.table, 0, bytemuck::cast_slice(&self.rows))?;
        if let Some(decay) = self.decay {
            device.write_f32(decay, 0, &self.parameters.decay_mask())?;
        }
        self.ready = Some(device.prepare(&self.plan)?);
        Ok(())
    }

    pub fn load(&self, device: &mut dyn Device, state: &State) -> Result<(), DeviceError> {
        device.write(self.clock, 0, &[state.step, state.seed])?;
        device.write_f32(self.parameters.weights, 0, &state.weights)?;
        device.write_f32(self.parameters.state, 0, &state.running)?;
        for (buffer, moment) in self.moments.iter().zip(&state.moments) {
            device.write_f32(*buffer, 0, moment)?;
        }
        if let Some((buffer, averaged)) = self.averaged.zip(state.averaged.as_ref()) {
            device.write_f32(buffer, 0, averaged)?;
        }
        Ok(())
    }

    pub fn save(&self, device: &mut dyn Device) -> Result<State, DeviceError> {
        let mut clock = [0; 2];
        device.read(self.clock, 0, &mut clock)?;
        let weights = device.read_f32(self.parameters.weights, 0, self.parameters.total())?;
        let read = |device: &mut dyn Device, buffer| device.read_f32(buffer, 0, weights.len());
        Ok(State {
            step: clock[0],
            seed: clock[1],
            running: device.read_f32(self.parameters.state, 0, self.parameters.total_state())?,
            moments: self.moments.iter().map(|m| read(device, *m)).collect::<Result<_, _>>()?,
            averaged: self.averaged.map(|buffer| read(device, buffer)).transpose()?,
            weights,
        })
    }

    /// Runs `count` steps, at most [`RING`], from step `first` on, and returns each one's loss and accuracy.
    pub fn run(&self, device: &mut dyn Device, first: usize, count: usize) -> Result<Vec<[f32; 2]>, DeviceError> {
        let count = count.min(RING);
        if let Some(plan) = self.ready {
            device.run(plan, count)?;
        }
        let ring = device.read_f32(self.ring, 0, RING * 2)?;
        let slot = |step: usize| [ring[step % RING * 2], ring[step % RING * 2 + 1] / self.batch as f32];
        Ok((first..first + count).map(slot).collect())
    }
}
