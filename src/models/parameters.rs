//! The trainable tensors and running statistics of a network, side by side in a few stored buffers.
//!
//! `weights` and `grads` have the same layout, and so does every buffer that an optimizer adds (moments, averages), so
//! that one dispatch updates everything. `running` holds what is learned without gradients.

use crate::device::{Device, DeviceError};
use crate::graph::{ALIGNMENT, BufferId, Place, Store};
use crate::ops::random;
use crate::tensor::{Shape, Tensor};

/// A parameter's values before training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Init {
    Zero,
    /// Uniform in `-limit..limit`.
    Uniform {
        limit: f32,
    },
    /// The two rows of batch normalisation, `gamma` and `beta` or `mean` and `variance`.
    Rows {
        first: f32,
        second: f32,
    },
}

impl Init {
    /// For weights before a rectifier: He et al. 2015, Delving Deep into Rectifiers.
    pub fn he(fan_in: usize) -> Init {
        Init::Uniform { limit: (6.0 / fan_in.max(1) as f64).sqrt() as f32 }
    }
    /// For other weights: Glorot and Bengio 2010.
    pub fn glorot(fan_in: usize, fan_out: usize) -> Init {
        Init::Uniform { limit: (6.0 / (fan_in + fan_out).max(1) as f64).sqrt() as f32 }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// `conv1.weight`, `conv1.bias`, `bn1.affine` (`[2, c]`: gamma, beta), `bn1.running` (`[2, c]`: mean, variance).
    pub name: String,
    pub shape: Shape,
    /// In words from the start of its buffer; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    pub init: Init,
    /// Whether weight decay applies: to matrices and kernels only.
    pub decays: bool,
}

#[derive(Clone, Debug)]
pub struct Parameters {
    pub name: String,
    pub weights: BufferId,
    /// The same layout as `weights`.
    pub grads: BufferId,
    /// Running statistics; empty if no layer has any.
    pub running: BufferId,
    trainable: Vec<Parameter>,
    statistics: Vec<Parameter>,
    total: usize,
    total_running: usize,
}

/// A network's weights and the running statistics that belong to them, laid out as in the buffers of its [`Parameters`].
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Values {
    pub weights: Vec<f32>,
    /// Empty if no layer has any.
    pub running: Vec<f32>,
}

impl Values {
    /// All numbers, the weights first; padding included.
    pub fn numbers(&self) -> impl Iterator<Item = &f32> {
        self.weights.iter().chain(&self.running)
    }
}

impl Parameters {
    /// Adds the empty buffers `name.weights`, `name.grads` and `name.running` to the store.
    pub(super) fn new(store: &mut Store, name: &str) -> Parameters {
        Parameters {
            name: name.into(),
            weights: store.add(format!("{name}.weights"), 0),
            grads: store.add(format!("{name}.grads"), 0),
            running: store.add(format!("{name}.running"), 0),
            trainable: Vec::new(),
            statistics: Vec::new(),
            total: 0,
            total_running: 0,
        }
    }

    /// Makes room for a trainable tensor; returns its index.
    pub fn add(&mut self, store: &mut Store, name: String, shape: Shape, init: Init, decays: bool) -> usize {
        let offset = store.extend(self.weights, shape.len());
        store.extend(self.grads, shape.len());
        self.total = store.words(self.weights);
        self.trainable.push(Parameter { name, shape, offset, init, decays });
        self.trainable.len() - 1
    }

    /// Makes room for a tensor that is learned without gradients; returns its index among those tensors.
    pub fn add_running(&mut self, store: &mut Store, name: String, shape: Shape, init: Init) -> usize {
        let offset = store.extend(self.running, shape.len());
        self.total_running = store.words(self.running);
        self.statistics.push(Parameter { name, shape, offset, init, decays: false });
        self.statistics.len() - 1
    }

    /// The same tensors, read from other buffers of the same layouts: averaged weights, and the statistics that go with
    /// them.
    pub fn reading(&self, weights: BufferId, running: BufferId) -> Parameters {
        Parameters { weights, running, ..self.clone() }
    }

    pub fn trainable(&self) -> &[Parameter] {
        &self.trainable
    }
    pub fn statistics(&self) -> &[Parameter] {
        &self.statistics
    }

    /// Where trainable tensor `index` is in `weights`.
    pub fn place(&self, index: usize) -> Place {
        place(&self.trainable[index], self.weights)
    }
    /// Where its gradient is in `grads`.
    pub fn grad_place(&self, index: usize) -> Place {
        place(&self.trainable[index], self.grads)
    }
    /// Where running statistic `index` is in `running`.
    pub fn running_place(&self, index: usize) -> Place {
        place(&self.statistics[index], self.running)
    }

    /// Words in `weights`, padding included.
    pub fn total(&self) -> usize {
        self.total
    }
    /// Words in `running`, padding included.
    pub fn total_running(&self) -> usize {
        self.total_running
    }
    /// Trainable numbers, padding left out.
    pub fn count_trainable(&self) -> u64 {
        self.trainable.iter().map(|p| p.shape.len() as u64).sum()
    }

    /// All values before training; padding is 0. The weights of a tensor depend only on the seed and its name, so that a
    /// change elsewhere in the network does not affect them. The running statistics are a mean of 0 and a variance of 1.
    pub fn initial(&self, seed: u32) -> Values {
        let weights = fill(&self.trainable, self.total, seed);
        Values { weights, running: fill(&self.statistics, self.total_running, 0) }
    }
    /// Zeros everywhere, to be filled.
    pub fn zeros(&self) -> Values {
        Values { weights: vec![0.0; self.total], running: vec![0.0; self.total_running] }
    }

    /// Writes weights and running statistics to the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn send(&self, device: &mut dyn Device, values: &Values) -> Result<(), DeviceError> {
        device.write_f32(self.weights, 0, &values.weights)?;
        device.write_f32(self.running, 0, &values.running)
    }

    /// For each block of [`ALIGNMENT`] words of `weights`, 1 where weight decay applies, else 0.
    pub fn decay_mask(&self) -> Vec<f32> {
        let mut mask = vec![0.0; self.total / ALIGNMENT];
        for p in self.trainable.iter().filter(|p| p.decays) {
            mask[p.offset / ALIGNMENT..(p.offset + p.shape.len()).div_ceil(ALIGNMENT)].fill(1.0);
        }
        mask
    }

    /// The stream of one layer's random draws. Its highest bit is set, unlike in any constant of [`random::streams`].
    pub fn stream(&self, layer: &str) -> u32 {
        random::streams::of_layer(hash(&format!("{}/{layer}", self.name)))
    }
}

fn place(p: &Parameter, buffer: BufferId) -> Place {
    Place { buffer, offset: p.offset, tensor: Tensor::f32(p.shape.clone()) }
}

fn fill(parameters: &[Parameter], total: usize, seed: u32) -> Vec<f32> {
    let mut values = vec![0.0; total];
    for p in parameters {
        let values = &mut values[p.offset..][..p.shape.len()];
        match p.init {
            Init::Zero => {}
            Init::Uniform { limit } => {
                let key = random::key([0, seed], hash(&p.name));
                let draw = |i: usize| (random::unit(random::draw(key, i as u32)) * 2.0 - 1.0) * limit;
                values.iter_mut().enumerate().for_each(|(i, value)| *value = draw(i));
            }
            Init::Rows { first, second } => {
                let (a, b) = values.split_at_mut(p.shape.len() / 2);
                a.fill(first);
                b.fill(second);
            }
        }
    }
    values
}

/// FNV-1a, 32 bits: the same on every machine and in every version.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
