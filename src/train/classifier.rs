//! The classifier's training step as one graph, and the stored buffers it lives on.
//!
//! Everything a step needs is resident: the images, the labels, the learning rates of all steps, the clock. So a
//! step takes nothing from the host and gives nothing back; its loss goes into a ring that is read now and then.

use super::augmented::Seen;
use super::learner::{Learned, Learner, learn};
use super::{Settings, TrainError};
use crate::data::ImageSet;
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Graph, Place, Store};
use crate::infer::evaluate::{Normalization, pack};
use crate::models::{Mode, Network, Parameters};
use crate::ops::loss::{Correct, CrossEntropy};
use crate::ops::sample::{Record, Tick};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Steps that the ring of losses holds: the most that may run before the host looks.
pub const RING: usize = 1024;

/// A network with all that its training keeps on a device.
pub struct Classifier {
    pub learner: Learner,
    pub plan: Plan,
    clock: BufferId,
    images: BufferId,
    labels: BufferId,
    ring: BufferId,
    batch: usize,
    ready: Option<PlanId>,
}

/// All that decides how a run goes on, as it is on the device.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub step: u32,
    pub seed: u32,
    pub learned: Learned,
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
        let (count, batch) = (set.len(), settings.batch);
        let clock = store.add("clock", 2);
        let images = store.add("images", set.images.len().div_ceil(4));
        let labels = store.add("labels", count);
        let ring = store.add("ring", RING * 2);
        let learner = Learner::declare(store, parameters, settings.method(settings.epoch(count)));

        let place = |buffer, tensor| Place { buffer, offset: 0, tensor };
        let clock_place = place(clock, Tensor::u32([2]));
        let mut graph = Graph::new();
        let now = graph.read(&clock_place);
        let bytes = graph.read(&place(images, Tensor::u32([set.images.len().div_ceil(4)])));
        let all_labels = graph.read(&place(labels, Tensor::u32([count])));
        let image = [set.height, set.width, set.channels];
        let seen = Seen { count, batch, image, normalization, augment: settings.augment };
        let x = seen.images(&mut graph, bytes, now)?;
        let truth = seen.labels(&mut graph, all_labels, now)?;
        let forward = network.forward(&mut graph, &learner.parameters, x, Mode::Train { clock: now, pass: 0 })?;
        let loss = graph.apply(CrossEntropy { smoothing: settings.label_smoothing }, &[forward.out, truth])?;
        let correct = graph.apply(Correct, &[forward.out, truth])?;
        graph.update(Record { slots: RING }, &[now, loss, correct], vec![place(ring, Tensor::f32([RING, 2]))]);

        forward.update_running(&mut graph);

        learn(&mut graph, &learner, loss, &forward.weights, now)?;
        graph.update(Tick, &[], vec![clock_place]);
        let plan = Plan::new(&graph);
        Ok(Classifier { learner, plan, clock, images, labels, ring, batch, ready: None })
    }

    /// A run's beginning.
    pub fn initial(&self, seed: u32) -> State {
        State { step: 0, seed, learned: self.learner.initial(seed) }
    }

    /// Sends the set and the tables to the device and makes the step ready; once, after the store was allocated.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        device.write(self.images, 0, &pack(&set.images))?;
        device.write(self.labels, 0, &set.labels)?;
        self.learner.upload(device)?;
        self.ready = Some(device.prepare(&self.plan)?);
        Ok(())
    }

    pub fn load(&self, device: &mut dyn Device, state: &State) -> Result<(), DeviceError> {
        device.write(self.clock, 0, &[state.step, state.seed])?;
        self.learner.load(device, &state.learned)
    }

    pub fn save(&self, device: &mut dyn Device) -> Result<State, DeviceError> {
        let mut clock = [0; 2];
        device.read(self.clock, 0, &mut clock)?;
        Ok(State { step: clock[0], seed: clock[1], learned: self.learner.save(device)? })
    }

    /// Runs `count` steps, at most [`RING`], from step `first` on, and returns each one's loss and accuracy.
    pub fn run(&self, device: &mut dyn Device, first: usize, count: usize) -> Result<Vec<[f32; 2]>, DeviceError> {
        let count = count.min(RING);
        if let Some(plan) = self.ready {
            device.run(&[plan], count)?;
        }
        let ring = device.read_f32(self.ring, 0, RING * 2)?;
        let slot = |step: usize| [ring[step % RING * 2], ring[step % RING * 2 + 1] / self.batch as f32];
        Ok((first..first + count).map(slot).collect())
    }
}
