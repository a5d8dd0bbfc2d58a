//! The two steps of a conditional GAN as graphs, over one store: the discriminator's and the generator's.
//!
//! ```text
//! discriminator: real, label <- the set;  fake = G(noise, label);  loss = (L(D(real), 1) + L(D(fake), 0)) / 2
//! generator:     label <- the set;        loss = L(D(G(noise, label)), 1)
//! ```
//!
//! The discriminator sees real and generated pictures in one batch, one half behind the other, each half normalised by
//! its own statistics: that is half as much to dispatch as a pass for each, and the same numbers.
//!
//! Each has a clock of its own, so that the discriminator may take several steps a round. Only the paths to the
//! weights that a step changes are differentiated. Everything is resident, as in the classifier's step.

use super::TrainError;
use super::gan_settings::GanSettings;
use super::learner::{Learned, Learner, learn};
use crate::data::ImageSet;
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Graph, GraphError, Place, Store, Value};
use crate::infer::evaluate::send_packed;
use crate::models::{Gan, GanLoss, Init, Inputs, Mode, Network, Parameters};
use crate::ops::concat::Concat;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Fill, Scale};
use crate::ops::loss::{BinaryCrossEntropy, Hinge, Mse, Pairwise};
use crate::ops::noise::Normal;
use crate::ops::one_hot::OneHot;
use crate::ops::random;
use crate::ops::record::{RecordLoss, Told};
use crate::ops::reduce::Sum;
use crate::ops::sample::{GatherImages, GatherLabels, Order, Record, Tick};
use crate::ops::spectral::{PowerIteration, spectral_norm};
use crate::ops::transpose::Transpose;
use crate::plan::Plan;
use crate::tensor::{Shape, Tensor};

/// Steps of the discriminator that the ring of losses holds: the most that may run before the host looks.
pub const RING: usize = 1024;

/// Streams of random numbers, beside those of the layers.
const NOISE: u32 = 0x6A41_0000;
const FLIP: u32 = 0x6A42_0000;
/// Rounds of the shuffle that makes groups, beside those of the batches.
const GROUPS: u32 = 0x6A43_0000;

/// Both networks with all that their training keeps on a device.
pub struct GanSteps {
    pub generator: Learner,
    pub discriminator: Learner,
    pub generator_network: Network,
    pub discriminator_network: Network,
    /// Real pictures in an epoch.
    pub images: usize,
    pub discriminator_plan: Plan,
    pub generator_plan: Plan,
    /// Re-estimates the generator's running statistics under its averaged weights, where both are.
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

/// The plan that takes statistics of the averaged generator, and where it leaves them.
struct Calibration {
    plan: Plan,
    clock: BufferId,
    state: BufferId,
    ready: Option<PlanId>,
}

/// Batches that statistics are taken of, and the share that the newest has in them.
const CALIBRATION: (usize, f32) = (100, 0.04);

/// All that decides how a run goes on.
#[derive(Clone, PartialEq, Debug)]
pub struct GanState {
    /// Steps of the generator.
    pub round: u32,
    pub seed: u32,
    pub generator: Learned,
    pub discriminator: Learned,
}

/// What one round told. Losses of the discriminator are means over its steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RoundLoss {
    pub real: f32,
    pub fake: f32,
    pub generator: f32,
    /// The discriminator's mean answer to the generator's pictures.
    pub answer: f32,
}

/// What both steps are built from.
struct Build<'a> {
    settings: &'a GanSettings,
    gan: &'a Gan,
    generator: (&'a Network, &'a Parameters),
    discriminator: (&'a Network, &'a Parameters),
    /// Indices of the discriminator's power-iteration vectors among its running statistics, by weight.
    vectors: &'a [Option<usize>],
    bytes: Place,
    labels: Place,
    /// Ones and then as many zeros, `[2 * groups of a batch, 1]`.
    targets: Place,
    /// `[height, width, channels]` of a picture, and how many groups of them the set has.
    image: [usize; 3],
    groups: usize,
    classes: usize,
}

impl GanSteps {
    /// Writes both steps down. The set is as [`grouped`] makes it of the real pictures.
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
        let mut parameters = Parameters::new(store, "generator");
        let network = gan.declare_generator(image, classes, store, &mut parameters)?;
        let mut critic = Parameters::new(store, "discriminator");
        let seen = [image[0], image[1], image[2] * settings.pack];
        let critic_network = gan.declare_discriminator(seen, classes, store, &mut critic)?;
        let vectors = spectral_vectors(store, &mut critic, settings.spectral_norm);

        let stored = |store: &mut Store, name: &str, tensor: Tensor| {
            let buffer = store.add(name, tensor.len());
            Place { buffer, offset: 0, tensor }
        };
        let clocks = ["discriminator.clock", "generator.clock"].map(|name| stored(store, name, Tensor::u32([2])));
        let rings = ["discriminator.ring", "generator.ring"].map(|name| stored(store, name, Tensor::f32([RING, 2])));
        let bytes = stored(store, "images", Tensor::u32([set.images.len().div_ceil(4)]));
        let labels = stored(store, "labels", Tensor::u32([groups]));
        let targets = stored(store, "targets", Tensor::f32([settings.batch / settings.pack * 2, 1]));
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
        let discriminator_plan = build.discriminator_step(&discriminator, &clocks[0], &rings[0])?;
        let generator_plan = build.generator_step(&generator, &clocks[1], &rings[1])?;
        let calibration = match generator.parameters.total_state() > 0 && settings.average > 0.0 {
            true => Some(build.calibration(store, &generator)?),
            false => None,
        };
        Ok(GanSteps {
            generator_network: network,
            discriminator_network: critic_network,
            images,
            discriminator_plan,
            generator_plan,
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

    /// The generator's parameters as inference reads them: averaged weights, and the statistics that go with them.
    pub fn drawing_parameters(&self) -> Parameters {
        let own = &self.generator.parameters;
        let state = self.calibration.as_ref().map_or(own.state, |calibration| calibration.state);
        own.reading(self.generator.inference_weights(), state)
    }

    /// Rounds that may run before the host looks.
    pub fn most_rounds(&self) -> usize {
        (RING / self.ratio).max(1)
    }

    /// Floating-point operations of a round.
    pub fn flops(&self) -> u64 {
        self.discriminator_plan.flops() * self.ratio as u64 + self.generator_plan.flops()
    }

    /// Dispatches of a round.
    pub fn dispatches(&self) -> usize {
        self.discriminator_plan.dispatches.len() * self.ratio + self.generator_plan.dispatches.len()
    }

    pub fn initial(&self, seed: u32) -> GanState {
        // Layers of one name in both networks would begin alike.
        let other = seed ^ 0x5EED_0D15;
        GanState {
            round: 0,
            seed,
            generator: self.generator.initial(seed),
            discriminator: self.discriminator.initial(other),
        }
    }

    /// Sends the set and the tables to the device and makes the steps ready; once, after the store was allocated.
    ///
    /// # Errors
    /// Those of the device.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        self.send(device, set)?;
        let half = self.targets.tensor.len() / 2;
        device.write_f32(self.targets.buffer, 0, &[vec![1.0; half], vec![0.0; half]].concat())?;
        self.generator.upload(device)?;
        self.discriminator.upload(device)?;
        let discriminator = device.prepare(&self.discriminator_plan)?;
        self.ready = vec![discriminator; self.ratio];
        self.ready.push(device.prepare(&self.generator_plan)?);
        if let Some(calibration) = &mut self.calibration {
            calibration.ready = Some(device.prepare(&calibration.plan)?);
        }
        Ok(())
    }

    /// Sends the set alone: grouped anew, or at the beginning.
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

    /// Runs rounds `first..first + count`, at most [`GanSteps::most_rounds`], and returns what each told.
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

    /// Makes what [`GanSteps::drawing_parameters`] names agree with the weights of now. The same weights and seed
    /// give the same statistics.
    ///
    /// # Errors
    /// Those of the device.
    pub fn calibrate(&self, device: &mut dyn Device, seed: u32) -> Result<(), DeviceError> {
        let Some((calibration, plan)) = self.calibration.as_ref().and_then(|c| Some((c, c.ready?))) else {
            return Ok(());
        };
        device.write(calibration.clock, 0, &[0, seed])?;
        device.write_f32(calibration.state, 0, &self.generator.parameters.initial_state())?;
        device.run(&[plan], CALIBRATION.0)
    }

    /// The statistics that go with the generator's weights of inference, as [`GanSteps::calibrate`] left them.
    ///
    /// # Errors
    /// Those of the device.
    pub fn drawing_state(&self, device: &mut dyn Device) -> Result<Vec<f32>, DeviceError> {
        let words = self.generator.parameters.total_state();
        device.read_f32(self.drawing_parameters().state, 0, words)
    }
}

/// For each weight of the discriminator that decays (matrices and kernels), room for its power iteration's vectors.
fn spectral_vectors(store: &mut Store, critic: &mut Parameters, wanted: bool) -> Vec<Option<usize>> {
    let weights: Vec<_> = critic.trainable().iter().map(|p| (p.name.clone(), p.shape.clone(), p.decays)).collect();
    let mut vectors = Vec::with_capacity(weights.len());
    for (name, shape, decays) in weights {
        vectors.push((wanted && decays).then(|| {
            let both = Shape::new([shape.rows() + shape.last()]);
            critic.add_running(store, format!("{name}.vectors"), both, Init::Uniform { limit: 1.0 })
        }));
    }
    vectors
}

impl Build<'_> {
    /// A batch's labels, one for each group: `[groups, classes]`.
    fn labels(&self, graph: &mut Graph, clock: Value) -> Result<Value, GraphError> {
        let (count, batch) = (self.groups, self.settings.batch / self.settings.pack);
        let all = graph.read(&self.labels);
        let labels = graph.apply(GatherLabels { count, copies: 1, batch, order: Order::Shuffled }, &[all, clock])?;
        graph.apply(OneHot { classes: self.classes }, &[labels])
    }

    /// A batch of real pictures, in the generator's range, as the discriminator sees them.
    fn real(&self, graph: &mut Graph, clock: Value) -> Result<Value, TrainError> {
        let [h, w, c] = self.image;
        let p = self.settings.pack;
        let (mean, std) = self.gan.range()?;
        let gather = GatherImages {
            count: self.groups,
            batch: self.settings.batch / p,
            image: [h * p, w, c].into(),
            mean,
            std,
            window: None,
            order: Order::Shuffled,
            staged: None,
            parts: 1,
        };
        let bytes = graph.read(&self.bytes);
        let images = graph.apply(gather, &[bytes, clock])?;
        Ok(self.packed(graph, images)?)
    }

    /// The generator on fresh noise; `[batch, h, w, c]`, and what it did on the way. `use_` tells draws apart.
    fn fake(
        &self,
        graph: &mut Graph,
        weights: Vec<Value>,
        labels: Value,
        clock: Value,
        use_: u32,
    ) -> Result<crate::models::Forward, TrainError> {
        let (network, parameters) = self.generator;
        let (batch, p) = (self.settings.batch, self.settings.pack);
        let noise = Normal { shape: [batch, self.gan.noise].into(), stream: NOISE + use_ };
        let x = graph.apply(noise, &[clock])?;
        let label = match p {
            1 => labels,
            _ => {
                // Pictures of a group share their label.
                let repeated = graph.apply(Concat, &vec![labels; p])?;
                graph.reshape(repeated, [batch, self.classes])?
            }
        };
        let inputs = Inputs { x, label: Some(label) };
        Ok(network.forward_with(graph, parameters, weights, inputs, Mode::Train { clock, pass: use_, passes: 1 })?)
    }

    /// Pictures of a group side by side as channels of one: `[n / pack, h, w, c * pack]`.
    fn packed(&self, graph: &mut Graph, pictures: Value) -> Result<Value, GraphError> {
        let ([h, w, c], p) = (self.image, self.settings.pack);
        let groups = graph.shape(pictures).len() / (h * w * c * p);
        if p == 1 {
            return graph.reshape(pictures, [groups, h, w, c]);
        }
        let rows = graph.reshape(pictures, [groups, p, h * w * c])?;
        let columns = graph.apply(Transpose, &[rows])?;
        graph.reshape(columns, [groups, h, w, c * p])
    }

    /// The discriminator's weights as the forward pass takes them.
    fn critic_weights(&self, graph: &mut Graph, raw: &[Value], iterate: bool) -> Result<Vec<Value>, GraphError> {
        let (_, parameters) = self.discriminator;
        let mut weights = Vec::with_capacity(raw.len());
        for (weight, vectors) in raw.iter().zip(self.vectors) {
            let Some(index) = vectors else {
                weights.push(*weight);
                continue;
            };
            let shape = graph.shape(*weight).clone();
            let matrix = graph.reshape(*weight, [shape.rows(), shape.last()])?;
            let place = parameters.state_place(*index);
            let mut vectors = graph.read(&place);
            if iterate {
                vectors = graph.apply(PowerIteration, &[matrix, vectors])?;
                graph.assign(vectors, place);
            }
            let normalized = spectral_norm(graph, matrix, vectors)?;
            weights.push(graph.reshape(normalized, shape)?);
        }
        Ok(weights)
    }

    /// The discriminator's answers, `[groups, 1]`.
    fn answers(
        &self,
        graph: &mut Graph,
        weights: &[Value],
        (pictures, labels): (Value, Value),
        mode: Mode,
    ) -> Result<crate::models::Forward, TrainError> {
        let (network, parameters) = self.discriminator;
        let inputs = Inputs { x: pictures, label: Some(labels) };
        Ok(network.forward_with(graph, parameters, weights.to_vec(), inputs, mode)?)
    }

    /// What the discriminator should answer to a real batch and a generated one behind it: 1 and 0, and the opposite to a
    /// few.
    fn targets(&self, graph: &mut Graph, clock: Value) -> Result<Value, GraphError> {
        let (targets, noise) = (graph.read(&self.targets), self.settings.label_noise);
        if noise == 0.0 {
            return Ok(targets);
        }
        let shape = Shape::new([self.targets.tensor.len() / 2, 1]);
        let mut half = |real: bool| {
            let ones = graph.apply(Fill { shape: shape.clone(), value: 1.0 }, &[])?;
            let stream = FLIP + u32::from(real);
            let kept = graph.apply(Dropout { rate: noise, stream, groups: 1 }, &[ones, clock])?;
            let side = if real { 1.0 } else { -1.0 };
            let offset = if real { 0.0 } else { 1.0 };
            graph.apply(Scale { factor: (1.0 - noise) * side, offset }, &[kept])
        };
        let (real, fake) = (half(true)?, half(false)?);
        behind(graph, real, fake)
    }

    fn pairwise(&self) -> Pairwise {
        match self.settings.loss {
            GanLoss::Mse => Pairwise::Mse,
            GanLoss::Bce => Pairwise::Bce,
            GanLoss::Hinge => Pairwise::Hinge,
        }
    }

    fn loss(&self, graph: &mut Graph, answers: Value, target: Value) -> Result<Value, GraphError> {
        match self.settings.loss {
            GanLoss::Mse => graph.apply(Mse, &[answers, target]),
            GanLoss::Bce => graph.apply(BinaryCrossEntropy, &[answers, target]),
            GanLoss::Hinge => graph.apply(Hinge, &[answers, target]),
        }
    }

    fn discriminator_step(&self, learner: &Learner, clock: &Place, ring: &Place) -> Result<Plan, TrainError> {
        let mut graph = Graph::new();
        let graph = &mut graph;
        let now = graph.read(clock);
        let labels = self.labels(graph, now)?;
        let real = self.real(graph, now)?;
        let (network, parameters) = self.generator;
        let weights = network.read_weights(graph, parameters, parameters.weights);
        let fake = self.fake(graph, weights, labels, now, 0)?.out;
        let fake = self.packed(graph, fake)?;

        let (network, parameters) = self.discriminator;
        let raw = network.read_weights(graph, parameters, parameters.weights);
        let weights = self.critic_weights(graph, &raw, true)?;
        let (pictures, labels) = (behind(graph, real, fake)?, behind(graph, labels, labels)?);
        let mode = Mode::Train { clock: now, pass: 0, passes: 2 };
        let forward = self.answers(graph, &weights, (pictures, labels), mode)?;
        let targets = self.targets(graph, now)?;
        let loss = self.loss(graph, forward.out, targets)?;

        forward.update_running(graph);
        learn(graph, learner, loss, &raw, now)?;
        let record = RecordLoss { slots: RING, told: Told::Halves(self.pairwise()), ticks: true };
        graph.update(record, &[forward.out, targets], vec![ring.clone(), clock.clone()]);
        Ok(Plan::new(graph))
    }

    fn generator_step(&self, learner: &Learner, clock: &Place, ring: &Place) -> Result<Plan, TrainError> {
        let mut graph = Graph::new();
        let graph = &mut graph;
        let now = graph.read(clock);
        let labels = self.labels(graph, now)?;
        let (network, parameters) = self.generator;
        let raw = network.read_weights(graph, parameters, parameters.weights);
        let forward = self.fake(graph, raw.clone(), labels, now, 1)?;
        let fake = self.packed(graph, forward.out)?;

        let (network, parameters) = self.discriminator;
        let critic = network.read_weights(graph, parameters, parameters.weights);
        let critic = self.critic_weights(graph, &critic, false)?;
        let answers = self.answers(graph, &critic, (fake, labels), Mode::Train { clock: now, pass: 2, passes: 1 })?.out;
        forward.update_running(graph);
        if self.settings.loss == GanLoss::Hinge {
            let mean = Sum::mean(graph, answers)?;
            let loss = graph.apply(Scale { factor: -1.0, offset: 0.0 }, &[mean])?;
            graph.update(Record { slots: RING }, &[now, loss, mean], vec![ring.clone()]);
            learn(graph, learner, loss, &raw, now)?;
            graph.update(Tick(1), &[], vec![clock.clone()]);
        } else {
            let tensor = graph.tensor(answers).clone();
            let ones = graph.read(&Place { tensor, ..self.targets.clone() });
            let loss = self.loss(graph, answers, ones)?;
            learn(graph, learner, loss, &raw, now)?;
            let record = RecordLoss { slots: RING, told: Told::Whole(self.pairwise()), ticks: true };
            graph.update(record, &[answers, ones], vec![ring.clone(), clock.clone()]);
        }
        Ok(Plan::new(graph))
    }

    fn calibration(&self, store: &mut Store, learner: &Learner) -> Result<Calibration, TrainError> {
        let state = store.add("generator.calibrated", learner.parameters.total_state());
        let clock = store.add("generator.calibration", 2);
        let place = Place { buffer: clock, offset: 0, tensor: Tensor::u32([2]) };
        let mut graph = Graph::new();
        let now = graph.read(&place);
        let labels = self.labels(&mut graph, now)?;
        let (network, _) = self.generator;
        let weights = network.read_weights(&mut graph, &learner.parameters, learner.inference_weights());
        let mut forward = self.fake(&mut graph, weights, labels, now, 2)?;
        for update in &mut forward.running {
            (update.place.buffer, update.momentum) = (state, 1.0 - CALIBRATION.1);
        }
        forward.update_running(&mut graph);
        graph.update(Tick(1), &[], vec![place]);
        Ok(Calibration { plan: Plan::new(&graph), clock, state, ready: None })
    }
}

/// Two values of one shape as one of twice as many rows.
fn behind(graph: &mut Graph, first: Value, second: Value) -> Result<Value, GraphError> {
    let mut dims = graph.dims(first).to_vec();
    let len = graph.shape(first).len();
    let flat = [graph.reshape(first, [1, len])?, graph.reshape(second, [1, len])?];
    let both = graph.apply(Concat, &flat)?;
    dims[0] *= 2;
    graph.reshape(both, Shape::new(dims))
}

/// The set in groups of `pack` pictures of one class, each as one picture `pack` times as high; up to `pack - 1` of
/// a class are left out. Which pictures share a group is decided by `seed` and `epoch`; how many groups there are of
/// a class, and where they stand, is always the same.
///
/// # Errors
/// [`TrainError::Setting`] where no class has as many.
pub fn grouped(set: &ImageSet, pack: usize, seed: u32, epoch: usize) -> Result<ImageSet, TrainError> {
    if pack == 1 {
        return Ok(set.clone());
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); set.classes];
    for (row, label) in set.labels.iter().enumerate() {
        rows[*label as usize].push(row);
    }
    for rows in &mut rows {
        let count = rows.len() as u32;
        let shuffle = random::Shuffle::new(count, seed, GROUPS ^ epoch as u32);
        *rows = (0..count).map(|i| rows[shuffle.at(i) as usize]).collect();
    }
    let groups: Vec<&[usize]> = rows.iter().flat_map(|rows| rows.chunks_exact(pack)).collect();
    if groups.is_empty() {
        return Err(TrainError::Setting {
            setting: "pack".into(),
            value: pack.to_string(),
            wanted: "at most the pictures of a class".into(),
        });
    }
    let labels = groups.iter().map(|group| set.labels[group[0]]).collect();
    let images = set.select(&groups.concat()).images;
    Ok(ImageSet { height: set.height * pack, width: set.width, images, labels, ..*set })
}
