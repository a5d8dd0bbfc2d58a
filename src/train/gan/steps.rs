//! What training a GAN keeps on a device: both networks, both steps' plans, and the state that a run continues from.

use super::graphs::{Build, Side, spectral_vectors};
use super::settings::GanSettings;
use crate::data::{ImageSet, send_packed};
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Place, Store};
use crate::models::{Gan, Network};
use crate::plan::Plan;
use crate::tensor::Tensor;
use crate::train::calibration::Calibration;
use crate::train::learner::{Learned, Learner};
use crate::train::{Epochs, TrainError};

/// Steps of the discriminator that the ring of losses holds: the most that may run before the host reads it.
pub const RING: usize = 1024;

/// Both networks with all that their training keeps on a device.
pub struct GanSteps {
    pub generator: Learner,
    pub discriminator: Learner,
    pub generator_network: Network,
    pub discriminator_network: Network,
    /// Where rounds lie in the run's epochs.
    pub epochs: Epochs,
    /// The discriminator's step alone, where it takes more than one a round.
    discriminator_plan: Option<Plan>,
    /// The discriminator's last step and the generator's.
    round_plan: Plan,
    /// Re-estimates the generator's running statistics under its averaged weights, where it has both.
    calibration: Option<Calibration>,
    clocks: [BufferId; 2],
    rings: [BufferId; 2],
    bytes: BufferId,
    labels: BufferId,
    /// What the discriminator should answer to a batch.
    targets: Place,
    /// Steps of the discriminator for each of the generator.
    ratio: usize,
    ready: Vec<PlanId>,
}

/// Everything that decides how a run continues.
#[derive(Clone, PartialEq, Debug)]
pub struct GanState {
    /// Steps of the generator.
    pub round: u32,
    pub seed: u32,
    pub generator: Learned,
    pub discriminator: Learned,
}

/// What one round recorded. Losses of the discriminator are means over its steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RoundLoss {
    pub real: f32,
    pub fake: f32,
    pub generator: f32,
    /// The discriminator's mean answer to the generator's pictures.
    pub answer: f32,
}

impl GanSteps {
    /// Declares both steps. The set is what [`grouped`](super::grouped) makes of the real pictures.
    ///
    /// # Errors
    /// Where the networks do not fit the pictures or each other.
    pub fn declare(
        store: &mut Store,
        gan: &Gan,
        settings: &GanSettings,
        set: &ImageSet,
    ) -> Result<GanSteps, TrainError> {
        let (classes, groups) = (set.classes, set.len());
        let images = groups * settings.pack;
        let image = [set.height / settings.pack, set.width, set.channels];
        let (network, parameters) = gan.declare_generator(image, classes, store)?;
        let seen = [image[0], image[1], image[2] * settings.pack];
        let (critic_network, mut critic) = gan.declare_discriminator(seen, classes, store)?;
        let vectors = spectral_vectors(store, &mut critic, settings.spectral_norm);

        let clocks = ["discriminator.clock", "generator.clock"].map(|name| store.place(name, Tensor::u32([2])));
        let rings = ["discriminator.ring", "generator.ring"].map(|name| store.place(name, Tensor::f32([RING, 2])));
        let bytes = store.place("images", Tensor::u32([set.images.len().div_ceil(4)]));
        let labels = store.place("labels", Tensor::u32([groups]));
        let targets = store.place("targets", Tensor::f32([settings.batch / settings.pack * 2, 1]));
        let generator = Learner::declare(store, parameters, settings.generator_method(images));
        let discriminator = Learner::declare(store, critic, settings.discriminator_method(images));

        let build = Build {
            settings,
            gan,
            generator: (&network, &generator.parameters),
            discriminator: (&critic_network, &discriminator.parameters),
            vectors: &vectors,
            bytes: bytes.clone(),
            labels: labels.clone(),
            targets: targets.clone(),
            image,
            groups,
            classes,
        };
        let [critic, own] = [(&discriminator, 0), (&generator, 1)].map(|(learner, i)| Side {
            learner,
            clock: &clocks[i],
            ring: &rings[i],
        });
        let discriminator_plan = match settings.discriminator_steps {
            1 => None,
            _ => Some(build.discriminator_step(critic)?),
        };
        let round_plan = build.round(critic, own)?;
        let calibration = build.calibration(store, &generator)?;
        Ok(GanSteps {
            generator_network: network,
            discriminator_network: critic_network,
            epochs: settings.epochs_of(images),
            discriminator_plan,
            round_plan,
            calibration,
            clocks: clocks.map(|place| place.buffer),
            rings: rings.map(|place| place.buffer),
            bytes: bytes.buffer,
            labels: labels.buffer,
            targets,
            ratio: settings.discriminator_steps,
            ready: Vec::new(),
            generator,
            discriminator,
        })
    }

    /// The most rounds that may run before the host reads the rings.
    pub fn most_rounds(&self) -> usize {
        (RING / self.ratio).max(1)
    }

    /// The plans that a round dispatches, in their order, each with a description and how often it runs.
    pub fn plans(&self) -> Vec<(&'static str, &Plan, usize)> {
        let alone = self.discriminator_plan.as_ref().map(|plan| ("discriminator's step alone", plan, self.ratio - 1));
        alone.into_iter().chain([("discriminator's step and generator's", &self.round_plan, 1)]).collect()
    }

    /// Floating-point operations of a round.
    pub fn flops(&self) -> u64 {
        self.plans().into_iter().map(|(_, plan, times)| plan.flops() * times as u64).sum()
    }

    pub fn initial(&self, seed: u32) -> GanState {
        // With one seed, layers of the same name in both networks would begin alike.
        let other = seed ^ 0x5EED_0D15;
        GanState {
            round: 0,
            seed,
            generator: self.generator.initial(seed),
            discriminator: self.discriminator.initial(other),
        }
    }

    /// Sends the set and the tables to the device and prepares the steps. Call it once, after the store was allocated.
    ///
    /// # Errors
    /// Those of the device.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        self.send(device, set)?;
        let half = self.targets.tensor.len() / 2;
        device.write_f32(self.targets.buffer, 0, &[vec![1.0; half], vec![0.0; half]].concat())?;
        self.generator.upload(device)?;
        self.discriminator.upload(device)?;
        let mut ready = Vec::new();
        for (_, plan, times) in self.plans() {
            ready.extend(vec![device.prepare(plan)?; times]);
        }
        self.ready = ready;
        if let Some(calibration) = &mut self.calibration {
            calibration.prepare(device)?;
        }
        Ok(())
    }

    /// Sends only the set: at the beginning, or when it was grouped anew.
    ///
    /// # Errors
    /// Those of the device.
    pub fn send(&self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        send_packed(device, self.bytes, &set.images)?;
        device.write(self.labels, 0, &set.labels)
    }

    /// # Errors
    /// Those of the device.
    pub fn load(&self, device: &mut dyn Device, state: &GanState) -> Result<(), DeviceError> {
        let steps = state.round * self.ratio as u32;
        device.write(self.clocks[0], 0, &[steps, state.seed])?;
        device.write(self.clocks[1], 0, &[state.round, state.seed])?;
        self.generator.load(device, &state.generator)?;
        self.discriminator.load(device, &state.discriminator)
    }

    /// # Errors
    /// Those of the device.
    pub fn save(&self, device: &mut dyn Device) -> Result<GanState, DeviceError> {
        let mut clock = [0; 2];
        device.read(self.clocks[1], 0, &mut clock)?;
        let [round, seed] = clock;
        let (generator, discriminator) = (self.generator.save(device)?, self.discriminator.save(device)?);
        Ok(GanState { round, seed, generator, discriminator })
    }

    /// Runs rounds `first..first + count`, at most [`GanSteps::most_rounds`], and returns what each recorded.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, device: &mut dyn Device, first: usize, count: usize) -> Result<Vec<RoundLoss>, DeviceError> {
        let count = count.min(self.most_rounds());
        device.run(&self.ready, count)?;
        let critic = device.read_f32(self.rings[0], 0, RING * 2)?;
        let generator = device.read_f32(self.rings[1], 0, RING * 2)?;
        let round = |round: usize| {
            let mean = |i: usize| {
                let steps = round * self.ratio..(round + 1) * self.ratio;
                steps.map(|step| critic[step % RING * 2 + i]).sum::<f32>() / self.ratio as f32
            };
            let slot = round % RING * 2;
            RoundLoss { real: mean(0), fake: mean(1), generator: generator[slot], answer: generator[slot + 1] }
        };
        Ok((first..first + count).map(round).collect())
    }

    /// Updates the statistics that the generator's [`Learner::inference_parameters`] refer to, so that they agree with
    /// its current weights. The same weights and seed give the same statistics.
    ///
    /// # Errors
    /// Those of the device.
    pub fn calibrate(&self, device: &mut dyn Device, seed: u32) -> Result<(), DeviceError> {
        let Some(calibration) = &self.calibration else { return Ok(()) };
        calibration.take(device, [0, seed], |device, pass, times| device.run(&[pass], times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Dropout;
    use crate::plan::{Buffer, View};

    const DROPS: &str = r#"
        [generator]
        noise = 8
        layers = [
          { dense = 32, activation = "tanh" },
          { dropout = 0.5 },
          { dense = 784, activation = "tanh" },
          { reshape = [28, 28, 1] },
        ]
        [discriminator]
        layers = ["flatten", { dense = 1 }]
    "#;

    #[test]
    fn the_clock_that_a_round_draws_by_goes_on_when_nothing_draws_by_it_any_more() {
        let gan = Gan::parse(DROPS, "drops.toml").unwrap();
        let labels = vec![0; 64];
        let images = vec![0; 64 * 784].into();
        let set = ImageSet { height: 28, width: 28, channels: 1, classes: 1, images, labels };
        let settings =
            GanSettings { batch: 8, discriminator_steps: 2, ..GanSettings::from_recipe("drops", &gan.recipe) };
        let steps = GanSteps::declare(&mut Store::default(), &gan, &settings, &set).unwrap();
        let clock = Buffer::Stored(steps.clocks[0]);
        let has = |views: &[View]| views.iter().any(|view| view.buffer == clock);
        for ((what, plan, _), drops) in steps.plans().into_iter().zip([1, 2]) {
            let ticks = plan.dispatches.iter().position(|dispatch| has(&dispatch.outputs)).unwrap();
            let (before, after) = plan.dispatches.split_at(ticks);
            let dropouts = before.iter().filter(|dispatch| dispatch.op.as_ref().downcast::<Dropout>().is_some());
            let dropouts = dropouts.filter(|dispatch| has(&dispatch.inputs));
            // In the forward pass and, where the generator learns, in the backward pass too.
            assert_eq!(dropouts.count(), drops, "{what}");
            assert!(!after[1..].iter().any(|dispatch| has(&dispatch.inputs)), "{what}");
        }
    }
}
