//! The classifier's training step as one graph, and the stored buffers that it uses.
//!
//! Everything a step needs is resident: the images (if the set is too large, those of the next steps), the labels, the
//! learning rates of all steps, the clock. So a step takes nothing from the host and gives nothing back; its loss goes
//! into a ring that is read now and then.
//!
//! Where several devices share a batch, a step is two plans. The first ends with the derivatives, whose mean the
//! devices then take; the second is the update by that mean, the same on each.

use super::augmented::Batch;
use super::calibration::Calibration;
use super::learner::{Learned, Learner};
use super::supply::{Share, Supply};
use super::{Settings, TrainError};
use crate::data::ImageSet;
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{ALIGNMENT, BufferId, Graph, Place, Store};
use crate::models::{Mode, Network, Normalization, Parameters};
use crate::ops::loss::{Correct, CrossEntropy};
use crate::ops::record::{RecordLoss, Told};
use crate::ops::updates::{Record, Tick};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Steps that the ring of losses holds: the most that may run before the host reads it.
pub const RING: usize = 1024;

/// A network with all that its training keeps on a device.
pub struct ClassifierSteps {
    pub learner: Learner,
    /// The step, or the part of it that each of several devices does on its share of the batch.
    pub plan: Plan,
    /// What follows once the devices have exchanged what is shared.
    update: Option<Plan>,
    /// For averaged weights with running statistics.
    calibration: Option<Calibration>,
    clock: BufferId,
    /// The clock by which each of several devices finds its images and draws: device `i` of `n` is at `step * n + i`.
    own_clock: Option<BufferId>,
    supply: Supply,
    labels: BufferId,
    ring: BufferId,
    batch: usize,
    parts: usize,
    ready: Vec<PlanId>,
}

/// Everything that decides how a run continues, as it is on the device.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub step: u32,
    pub seed: u32,
    pub learned: Learned,
}

impl ClassifierSteps {
    /// Declares the step for a set of this size, and for the devices that share it. `parameters` are the network's,
    /// declared in `store`.
    ///
    /// # Errors
    /// A network or an augmentation that does not fit the images, and a batch that the devices cannot share.
    pub fn declare(
        store: &mut Store,
        network: &Network,
        parameters: Parameters,
        settings: &Settings,
        set: &ImageSet,
        normalization: Normalization,
        share: Share,
    ) -> Result<ClassifierSteps, TrainError> {
        settings.check_parts(share.parts)?;
        settings.check_image([set.height, set.width])?;
        let parts = share.parts;
        let (count, batch) = (set.len(), settings.batch / parts);
        let clock = store.place("clock", Tensor::u32([2]));
        let own_clock = (parts > 1).then(|| store.place("own clock", Tensor::u32([2])));
        let image = [set.height, set.width, set.channels];
        let mut seen = Batch { count, batch, image, normalization, augment: settings.augment, staged: None };
        let supply = Supply::declare(store, set, batch, settings.augment.copies(), share);
        seen.staged = supply.staged();
        let labels = store.place("labels", Tensor::u32([count]));
        let ring = store.place("ring", Tensor::f32([RING, 2]));
        let learner = Learner::declare(store, parameters, settings.method(settings.epoch(count)));

        let own = own_clock.as_ref().unwrap_or(&clock);
        let mut graph = Graph::new();
        let now = graph.read(own);
        let bytes = graph.read(&supply.place());
        let all_labels = graph.read(&labels);
        let x = seen.images(&mut graph, bytes, now)?;
        let truth = seen.labels(&mut graph, all_labels, now)?;
        let forward =
            network.forward(&mut graph, &learner.parameters, x, Mode::Train { clock: now, pass: 0, passes: 1 })?;
        let loss = graph.apply(CrossEntropy { smoothing: settings.label_smoothing }, &[forward.out, truth])?;
        forward.update_running(&mut graph)?;
        learner.collect(&mut graph, loss, &forward.weights)?;

        let calibration =
            Calibration::declare(store, &learner, [settings.epoch(count), batch], parts, |graph, now| {
                let bytes = graph.read(&supply.place());
                let x = seen.images(graph, bytes, now)?;
                let mode = Mode::Train { clock: now, pass: 0, passes: 1 };
                Ok(network.forward(graph, &learner.inference_parameters(), x, mode)?)
            })?;

        let (mut shared, mut update) = (Vec::new(), None);
        if parts == 1 {
            learner.update(&mut graph, now)?;
            let told = Told::Classes { smoothing: settings.label_smoothing };
            let record = RecordLoss { slots: RING, told, ticks: true };
            graph.update(record, &[forward.out, truth], vec![ring.clone(), clock.clone()])?;
        } else {
            let both = store.place("loss and correct", Tensor::f32([2 * ALIGNMENT]));
            let [of_loss, of_correct] =
                [0, ALIGNMENT].map(|offset| Place { offset, tensor: Tensor::f32([1]), ..both.clone() });
            graph.assign(loss, of_loss.clone())?;
            let correct = graph.apply(Correct, &[forward.out, truth])?;
            graph.assign(correct, of_correct.clone())?;
            graph.update(Tick(parts as u32), &[], vec![own.clone()])?;
            let mut after = Graph::new();
            let now = after.read(&clock);
            let [loss, correct] = [&of_loss, &of_correct].map(|place| after.read(place));
            after.update(Record { slots: RING }, &[now, loss, correct], vec![ring.clone()])?;
            learner.update(&mut after, now)?;
            after.update(Tick(1), &[], vec![clock.clone()])?;
            update = Some(Plan::new(&after));
            shared = vec![learner.gradients(), both];
        }
        let mut plan = Plan { shared, ..Plan::new(&graph) };
        if settings.precision.is_halved() {
            plan.halve(batch, &[supply.place().buffer, labels.buffer]);
        }
        let ready = Vec::new();
        Ok(ClassifierSteps {
            learner,
            plan,
            update,
            calibration,
            clock: clock.buffer,
            own_clock: own_clock.map(|clock| clock.buffer),
            supply,
            labels: labels.buffer,
            ring: ring.buffer,
            batch,
            parts,
            ready,
        })
    }

    /// The state at a run's beginning.
    pub fn initial(&self, seed: u32) -> State {
        State { step: 0, seed, learned: self.learner.initial(seed) }
    }

    /// Sends the set and the tables to the device and prepares the step. Call it once, after the store was allocated.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        self.supply.upload(device, set)?;
        device.write(self.labels, 0, &set.labels)?;
        self.learner.upload(device)?;
        self.ready = vec![device.prepare(&self.plan)?];
        if let Some(update) = &self.update {
            self.ready.push(device.prepare(update)?);
        }
        if let Some(calibration) = &mut self.calibration {
            calibration.prepare(device)?;
        }
        Ok(())
    }

    pub fn load(&mut self, device: &mut dyn Device, state: &State) -> Result<(), DeviceError> {
        self.supply.begin(state.seed);
        device.write(self.clock, 0, &[state.step, state.seed])?;
        if let Some(clock) = self.own_clock {
            for (i, part) in device.parts().into_iter().enumerate() {
                part.write(clock, 0, &[state.step.wrapping_mul(self.parts as u32) + i as u32, state.seed])?;
            }
        }
        self.learner.load(device, &state.learned)
    }

    pub fn save(&self, device: &mut dyn Device) -> Result<State, DeviceError> {
        let mut clock = [0; 2];
        device.read(self.clock, 0, &mut clock)?;
        Ok(State { step: clock[0], seed: clock[1], learned: self.learner.save(device)? })
    }

    /// Runs `count` steps, at most [`RING`], from step `first` on, and returns each one's loss and accuracy.
    pub fn run(&mut self, device: &mut dyn Device, first: usize, count: usize) -> Result<Vec<[f32; 2]>, DeviceError> {
        let count = count.min(RING);
        self.supply.run(device, &self.ready, first, count)?;
        let ring = device.read_f32(self.ring, 0, RING * 2)?;
        let slot = |step: usize| [ring[step % RING * 2], ring[step % RING * 2 + 1] / self.batch as f32];
        Ok((first..first + count).map(slot).collect())
    }

    /// Updates the statistics that [`Learner::inference_parameters`] refers to, so that they agree with the current
    /// weights: on the images of the newest steps, or early in a run on those of the first. The statistics follow from
    /// the state alone, and change nothing in it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn calibrate(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        let Some(calibration) = &self.calibration else { return Ok(()) };
        let mut clock = [0; 2];
        device.read(self.clock, 0, &mut clock)?;
        let [step, seed] = clock;
        if step == 0 {
            return Ok(());
        }
        let first = step.saturating_sub(calibration.passes() as u32);
        let clock = [first.wrapping_mul(self.parts as u32), seed];
        let supply = &mut self.supply;
        calibration.take(device, clock, |device, pass, times| supply.run(device, &[pass], first as usize, times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Augmentation, builtin};

    #[test]
    fn a_set_whose_images_have_no_window_is_not_extended() {
        let architecture = builtin("dense").unwrap();
        let augment = Augmentation { extend: true, ..Augmentation::default() };
        let settings = Settings { batch: 2, augment, ..Settings::from_recipe("dense", &architecture.recipe) };
        let images = vec![0; 4 * 32 * 32].into();
        let set = ImageSet { height: 32, width: 32, channels: 1, classes: 2, images, labels: vec![0, 1, 0, 1] };
        let mut store = Store::default();
        let (network, parameters) = architecture.declare([32, 32, 1], 2, &mut store, "classifier").unwrap();
        let (normalization, share) = (Normalization::of(&set), Share::WHOLE);
        let declared =
            ClassifierSteps::declare(&mut store, &network, parameters, &settings, &set, normalization, share);
        let refused = declared.err().unwrap();
        assert!(matches!(&refused, TrainError::Setting { setting, .. } if setting == "extend"), "{refused}");
    }
}
