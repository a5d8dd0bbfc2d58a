//! A round of a conditional GAN as a graph: the discriminator's step and then the generator's, on the same pictures.
//!
//! ```text
//!                real, label <- the set;  fake = G(noise, label)
//! discriminator: loss = (L(D(real), 1) + L(D(fake), 0)) / 2
//! generator:     loss = L(D(fake), 1), by the discriminator as just updated
//! ```
//!
//! The discriminator sees real and generated pictures in one batch, the generated half after the real one. Each half is
//! normalised by its own statistics. This takes half as many dispatches as a pass for each, and gives the same numbers.
//!
//! Where the discriminator takes several steps a round, all but the last have a graph of their own. Each network has
//! its own clock. Only the paths to the weights that a step changes are differentiated: in the discriminator's step,
//! derivatives go no further back than the pictures. Everything is resident, as in the classifier's step.

use super::settings::GanSettings;
use super::steps::RING;
use crate::graph::{Graph, GraphError, Place, Store, Value};
use crate::models::{Forward, Gan, GanLoss, Init, Inputs, Mode, Network, Parameters};
use crate::ops::concat::Concat;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Fill, Scale};
use crate::ops::loss::Pairwise;
use crate::ops::noise::Normal;
use crate::ops::one_hot::OneHot;
use crate::ops::random::streams;
use crate::ops::record::{RecordLoss, Told};
use crate::ops::reduce::Sum;
use crate::ops::sample::{GatherImages, GatherLabels, Order};
use crate::ops::spectral::{PowerIteration, spectral_norm};
use crate::ops::transpose::Transpose;
use crate::ops::updates::{Record, Tick};
use crate::plan::Plan;
use crate::tensor::Shape;
use crate::train::TrainError;
use crate::train::calibration::Calibration;
use crate::train::learner::{Learner, learn};

/// What both steps are built from.
pub(super) struct Build<'a> {
    pub settings: &'a GanSettings,
    pub gan: &'a Gan,
    pub generator: (&'a Network, &'a Parameters),
    pub discriminator: (&'a Network, &'a Parameters),
    /// Indices of the discriminator's power-iteration vectors among its running statistics, by weight.
    pub vectors: &'a [Option<usize>],
    pub bytes: Place,
    pub labels: Place,
    /// Ones and then as many zeros, `[2 * groups of a batch, 1]`.
    pub targets: Place,
    /// `[height, width, channels]` of a picture, and how many groups of them the set has.
    pub image: [usize; 3],
    pub groups: usize,
    pub classes: usize,
}

/// What a network's step changes besides weights: its clock, and the ring of its losses.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub learner: &'a Learner,
    pub clock: &'a Place,
    pub ring: &'a Place,
}

/// Generated pictures, and what they were made from.
struct Drawn {
    /// One for each group, `[groups, classes]`.
    labels: Value,
    weights: Vec<Value>,
    forward: Forward,
    /// As the discriminator sees them.
    pictures: Value,
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
        let batch = self.settings.batch / p;
        let gather = GatherImages::new(self.groups, batch, [h * p, w, c], [mean, std], Order::Shuffled);
        let bytes = graph.read(&self.bytes);
        let images = graph.apply(gather, &[bytes, clock])?;
        Ok(self.packed(graph, images)?)
    }

    /// The generator's forward pass on fresh noise; its output is `[batch, h, w, c]`. `use_` tells draws apart.
    fn fake(
        &self,
        graph: &mut Graph,
        weights: Vec<Value>,
        labels: Value,
        clock: Value,
        use_: u32,
    ) -> Result<Forward, TrainError> {
        let (network, parameters) = self.generator;
        let (batch, p) = (self.settings.batch, self.settings.pack);
        let noise = Normal { shape: [batch, self.gan.noise].into(), stream: streams::NOISE + use_ };
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

    /// Joins the pictures of a group as the channels of one: `[n / pack, h, w, c * pack]`.
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
            let place = parameters.running_place(*index);
            let mut vectors = graph.read(&place);
            if iterate {
                vectors = graph.apply(PowerIteration, &[matrix, vectors])?;
                graph.assign(vectors, place)?;
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
    ) -> Result<Forward, TrainError> {
        let (network, parameters) = self.discriminator;
        let inputs = Inputs { x: pictures, label: Some(labels) };
        Ok(network.forward_with(graph, parameters, weights.to_vec(), inputs, mode)?)
    }

    /// What the discriminator should answer to a real batch followed by a generated one: 1 and 0, and the opposite for
    /// a few.
    fn targets(&self, graph: &mut Graph, clock: Value) -> Result<Value, GraphError> {
        let (targets, noise) = (graph.read(&self.targets), self.settings.label_noise);
        if noise == 0.0 {
            return Ok(targets);
        }
        let shape = Shape::new([self.targets.tensor.len() / 2, 1]);
        let mut half = |real: bool| {
            let ones = graph.apply(Fill { shape: shape.clone(), value: 1.0 }, &[])?;
            let stream = streams::FLIP + u32::from(real);
            let kept = graph.apply(Dropout { rate: noise, stream, groups: 1 }, &[ones, clock])?;
            let side = if real { 1.0 } else { -1.0 };
            let offset = if real { 0.0 } else { 1.0 };
            graph.apply(Scale { factor: (1.0 - noise) * side, offset }, &[kept])
        };
        let (real, fake) = (half(true)?, half(false)?);
        behind(graph, real, fake)
    }

    /// The loss of the discriminator's answers.
    fn loss(&self) -> Pairwise {
        match self.settings.loss {
            GanLoss::Mse => Pairwise::Mse,
            GanLoss::Bce => Pairwise::Bce,
            GanLoss::Hinge => Pairwise::Hinge,
        }
    }

    /// What is drawn at one tick of the discriminator's clock.
    fn drawn(&self, graph: &mut Graph, clock: Value) -> Result<Drawn, TrainError> {
        let labels = self.labels(graph, clock)?;
        let (network, parameters) = self.generator;
        let weights = network.read_weights(graph, parameters);
        let forward = self.fake(graph, weights.clone(), labels, clock, 0)?;
        let pictures = self.packed(graph, forward.out)?;
        Ok(Drawn { labels, weights, forward, pictures })
    }

    /// The discriminator's step alone.
    pub(super) fn discriminator_step(&self, side: Side) -> Result<Plan, TrainError> {
        let mut graph = Graph::new();
        let clock = graph.read(side.clock);
        let drawn = self.drawn(&mut graph, clock)?;
        let said = self.teach_discriminator(&mut graph, side, &drawn)?;
        self.record(&mut graph, side, Told::Halves(self.loss()), said)?;
        Ok(Plan::new(&graph))
    }

    /// The discriminator's step, and the generator's on the same pictures.
    pub(super) fn round(&self, discriminator: Side, generator: Side) -> Result<Plan, TrainError> {
        let mut graph = Graph::new();
        let clock = graph.read(discriminator.clock);
        let drawn = self.drawn(&mut graph, clock)?;
        let said = self.teach_discriminator(&mut graph, discriminator, &drawn)?;
        self.teach_generator(&mut graph, generator, drawn)?;
        // Not earlier, as it advances the clock by which the generator's derivatives know what dropout dropped.
        self.record(&mut graph, discriminator, Told::Halves(self.loss()), said)?;
        Ok(Plan::new(&graph))
    }

    /// Writes a loss of `[answers, targets]` into the ring, and advances the clock.
    fn record(&self, graph: &mut Graph, side: Side, told: Told, said: [Value; 2]) -> Result<(), GraphError> {
        let record = RecordLoss { slots: RING, told, ticks: true };
        graph.update(record, &said, vec![side.ring.clone(), side.clock.clone()])
    }

    /// Adds the discriminator's step. Returns what it answered, and what it should have answered.
    fn teach_discriminator(&self, graph: &mut Graph, side: Side, drawn: &Drawn) -> Result<[Value; 2], TrainError> {
        let now = graph.read(side.clock);
        let real = self.real(graph, now)?;
        let (network, parameters) = self.discriminator;
        let raw = network.read_weights(graph, parameters);
        let weights = self.critic_weights(graph, &raw, true)?;
        let both = (behind(graph, real, drawn.pictures)?, behind(graph, drawn.labels, drawn.labels)?);
        let mode = Mode::Train { clock: now, pass: 0, passes: 2 };
        let forward = self.answers(graph, &weights, both, mode)?;
        let targets = self.targets(graph, now)?;
        let loss = graph.apply(self.loss(), &[forward.out, targets])?;

        forward.update_running(graph)?;
        learn(graph, side.learner, loss, &raw, now)?;
        Ok([forward.out, targets])
    }

    /// Adds the generator's step. It reads the discriminator's weights as the ops before it in the graph left them.
    fn teach_generator(&self, graph: &mut Graph, side: Side, drawn: Drawn) -> Result<(), TrainError> {
        let now = graph.read(side.clock);
        let (network, parameters) = self.discriminator;
        let critic = network.read_weights(graph, parameters);
        let critic = self.critic_weights(graph, &critic, false)?;
        let seen = (drawn.pictures, drawn.labels);
        let answers = self.answers(graph, &critic, seen, Mode::Train { clock: now, pass: 2, passes: 1 })?.out;
        drawn.forward.update_running(graph)?;
        if self.settings.loss == GanLoss::Hinge {
            let mean = Sum::mean(graph, answers)?;
            let loss = graph.apply(Scale { factor: -1.0, offset: 0.0 }, &[mean])?;
            graph.update(Record { slots: RING }, &[now, loss, mean], vec![side.ring.clone()])?;
            learn(graph, side.learner, loss, &drawn.weights, now)?;
            graph.update(Tick(1), &[], vec![side.clock.clone()])?;
        } else {
            let tensor = graph.tensor(answers).clone();
            let ones = graph.read(&Place { tensor, ..self.targets.clone() });
            let loss = graph.apply(self.loss(), &[answers, ones])?;
            learn(graph, side.learner, loss, &drawn.weights, now)?;
            self.record(graph, side, Told::Whole(self.loss()), [answers, ones])?;
        }
        Ok(())
    }

    /// Statistics of the averaged generator, which can draw any number of pictures, on labels from the set.
    pub(super) fn calibration(&self, store: &mut Store, learner: &Learner) -> Result<Option<Calibration>, TrainError> {
        Calibration::declare(store, learner, [usize::MAX, self.settings.batch], 1, |graph, now| {
            let labels = self.labels(graph, now)?;
            let (network, _) = self.generator;
            let parameters = learner.inference_parameters();
            let weights = network.read_weights(graph, &parameters);
            self.fake(graph, weights, labels, now, 1)
        })
    }
}

/// For each weight of the discriminator that decays (matrices and kernels), room for its power iteration's vectors.
pub(super) fn spectral_vectors(store: &mut Store, critic: &mut Parameters, wanted: bool) -> Vec<Option<usize>> {
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

/// Joins two values of the same shape into one with twice as many rows.
fn behind(graph: &mut Graph, first: Value, second: Value) -> Result<Value, GraphError> {
    let mut dims = graph.dims(first).to_vec();
    let len = graph.shape(first).len();
    let flat = [graph.reshape(first, [1, len])?, graph.reshape(second, [1, len])?];
    let both = graph.apply(Concat, &flat)?;
    dims[0] *= 2;
    graph.reshape(both, Shape::new(dims))
}
