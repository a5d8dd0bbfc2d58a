//! What is timed: steps of training, and batches of inference.

use anyhow::Context;
use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use toml::{Table, Value as Toml};

use crate::digits::Digits;
use crate::layers::{self, CLASSES};
use crate::network::{Network, Value};

const IMAGE: [usize; 3] = [28, 28, 1];
/// Mean and standard deviation of MNIST's training pixels, from 0 to 1.
const MEAN_STD: (f32, f32) = (0.1307, 0.3081);

/// A network ready to work.
pub trait Work {
    /// Does so many steps, waits for them, and gives the last one's loss; any number in inference.
    fn run(&mut self, count: usize) -> f32;
    fn parameters(&self) -> usize;
    /// Images that a step takes or makes.
    fn images(&self) -> usize;
    /// The share of images that are taken for what they are.
    fn accuracy(&self, _test: &Digits) -> Option<f64> {
        None
    }
}

/// Batches of resident digits, as floats, through a permutation that is drawn anew for every epoch.
struct Feed {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
    one_hot: Tensor<2>,
    order: Tensor<1, Int>,
    at: usize,
    batch: usize,
    device: Device,
}

fn images_on(digits: &Digits, (mean, std): (f32, f32), device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> = digits.images.iter().map(|byte| (f32::from(*byte) / 255.0 - mean) / std).collect();
    Tensor::from_data(TensorData::new(pixels, [digits.len(), 1, 28, 28]), device)
}

impl Feed {
    fn new(digits: &Digits, batch: usize, range: (f32, f32), device: &Device) -> Feed {
        let labels: Vec<i32> = digits.labels.iter().map(|label| i32::from(*label)).collect();
        let mut one_hot = vec![0f32; labels.len() * CLASSES];
        for (row, label) in one_hot.chunks_exact_mut(CLASSES).zip(&labels) {
            row[*label as usize] = 1.0;
        }
        let count = digits.len();
        Feed {
            images: images_on(digits, range, device),
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
            one_hot: Tensor::from_data(TensorData::new(one_hot, [count, CLASSES]), device),
            order: Tensor::from_data(TensorData::new((0..count as i32).collect(), [count]), device),
            at: count,
            batch,
            device: device.clone(),
        }
    }

    /// The numbers of the next batch's digits.
    fn next(&mut self) -> Tensor<1, Int> {
        let count = self.order.dims()[0];
        if self.at + self.batch > count {
            let mut order: Vec<i32> = (0..count as i32).collect();
            fastrand::shuffle(&mut order);
            self.order = Tensor::from_data(TensorData::new(order, [count]), &self.device);
            self.at = 0;
        }
        self.at += self.batch;
        self.order.clone().slice([self.at - self.batch..self.at])
    }

    fn images(&self, chosen: Tensor<1, Int>) -> Value {
        Value::Images(self.images.clone().select(0, chosen))
    }
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-7).init()
}

fn learn(network: &mut Option<Network>, optimizer: &mut ModuleOptimizer, loss: &Tensor<1>, rate: f64) {
    if let Some(module) = network.take() {
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        *network = Some(optimizer.step(rate, module, gradients));
    }
}

/// PyTorch's OneCycleLR with its defaults, which inkgrad's `one-cycle` is.
fn one_cycle(peak: f64, steps: usize) -> Vec<f64> {
    let between = |a: f64, b: f64, at: f64| b + (a - b) * (1.0 + (std::f64::consts::PI * at).cos()) / 2.0;
    let (top, last) = (0.3 * steps as f64 - 1.0, steps as f64 - 1.0);
    let rate = |step: f64| match step <= top {
        true => between(peak / 25.0, peak, step / top),
        false => between(peak, peak / 250_000.0, (step - top) / (last - top)),
    };
    (0..steps).map(|step| rate(step as f64)).collect()
}

pub struct Classifier {
    network: Option<Network>,
    optimizer: ModuleOptimizer,
    loss: CrossEntropyLoss,
    feed: Feed,
    rates: Vec<f64>,
    done: usize,
    /// Steps of the whole recipe.
    pub steps: usize,
}

impl Classifier {
    pub fn new(
        text: &Table,
        batch: Option<usize>,
        whole: bool,
        digits: &Digits,
        device: &Device,
    ) -> anyhow::Result<Classifier> {
        let device = &device.clone().autodiff();
        let recipe = text["recipe"].as_table().context("[recipe]")?;
        let number = |key: &str| recipe.get(key).and_then(|value| value.as_float());
        let count = |key: &str| recipe.get(key).and_then(|value| value.as_integer()).map(|n| n as usize);
        let batch = batch.or(count("batch")).context("batch")?;
        let steps = (count("epochs").context("epochs")? * digits.len()).div_ceil(batch);
        let peak = number("learning_rate").context("learning_rate")?;
        let cycles = whole && recipe.get("schedule").and_then(Toml::as_str) == Some("one-cycle");
        let smoothing = number("label_smoothing").filter(|share| *share > 0.0).map(|share| share as f32);
        let entries = text["layers"].as_array().context("layers")?;
        Ok(Classifier {
            network: Some(Network::new(&layers::read(entries, &IMAGE, text)?, device)),
            optimizer: adam(),
            loss: CrossEntropyLossConfig::new().with_smoothing(smoothing).init(device),
            feed: Feed::new(digits, batch, MEAN_STD, device),
            rates: if cycles { one_cycle(peak, steps) } else { vec![peak] },
            done: 0,
            steps,
        })
    }
}

impl Work for Classifier {
    fn run(&mut self, count: usize) -> f32 {
        let mut last = None;
        for _ in 0..count {
            let chosen = self.feed.next();
            let labels = self.feed.labels.clone().select(0, chosen.clone());
            let Some(network) = &self.network else { break };
            let logits = network.forward(self.feed.images(chosen), None).rows();
            let loss = self.loss.forward(logits, labels);
            let rate = self.rates[self.done.min(self.rates.len() - 1)];
            learn(&mut self.network, &mut self.optimizer, &loss, rate);
            self.done += 1;
            last = Some(loss);
        }
        last.map_or(f32::NAN, |loss| loss.into_scalar())
    }
    fn parameters(&self) -> usize {
        self.network.as_ref().map_or(0, Network::parameters)
    }
    fn images(&self) -> usize {
        self.feed.batch
    }
    fn accuracy(&self, test: &Digits) -> Option<f64> {
        let network = self.network.as_ref()?.valid();
        let images = images_on(test, MEAN_STD, &self.feed.device.clone().inner());
        let mut right = 0;
        for begin in (0..test.len()).step_by(250) {
            let end = (begin + 250).min(test.len());
            let logits = network.forward(Value::Images(images.clone().slice([begin..end])), None).rows();
            let found = logits.argmax(1).into_data().convert::<i64>().try_into_vec::<i64>().ok()?;
            right += found.iter().zip(&test.labels[begin..end]).filter(|(a, b)| **a == i64::from(**b)).count();
        }
        Some(right as f64 / test.len() as f64)
    }
}

pub struct Gan {
    generator: Option<Network>,
    discriminator: Option<Network>,
    optimizers: [ModuleOptimizer; 2],
    rates: [f64; 2],
    noise: usize,
    feed: Feed,
}

/// The generator's layers, and how many numbers it takes.
fn generator(text: &Table, device: &Device) -> anyhow::Result<(Network, usize)> {
    let table = text["generator"].as_table().context("[generator]")?;
    let noise = table["noise"].as_integer().context("noise")? as usize;
    let layers = layers::read(table["layers"].as_array().context("layers")?, &[noise], table)?;
    Ok((Network::new(&layers, device), noise))
}

impl Gan {
    pub fn new(text: &Table, batch: Option<usize>, digits: &Digits, device: &Device) -> anyhow::Result<Gan> {
        let device = &device.clone().autodiff();
        let (generator, noise) = generator(text, device)?;
        let entries = text["discriminator"]["layers"].as_array().context("layers")?;
        let discriminator = Network::new(&layers::read(entries, &IMAGE, text)?, device);
        let recipe = text["recipe"].as_table().context("[recipe]")?;
        let rate = |key: &str| recipe[key].as_float().context(key.to_owned());
        let batch = batch.or(recipe["batch"].as_integer().map(|n| n as usize)).context("batch")?;
        Ok(Gan {
            generator: Some(generator),
            discriminator: Some(discriminator),
            optimizers: [adam(), adam()],
            rates: [rate("generator_rate")?, rate("discriminator_rate")?],
            noise,
            feed: Feed::new(digits, batch, (0.0, 1.0), device),
        })
    }

    fn step(&mut self) -> Option<Tensor<1>> {
        let chosen = self.feed.next();
        let label = self.feed.one_hot.clone().select(0, chosen.clone());
        let real = self.feed.images(chosen);
        let sizes = [self.feed.batch, self.noise];
        let noise = Tensor::random(sizes, Distribution::Normal(0.0, 1.0), &self.feed.device);
        // Both steps are on the same pictures.
        let fake = self.generator.as_ref()?.forward(Value::Rows(noise), Some(label.clone())).images();
        let judge = self.discriminator.as_ref()?;
        let real_loss = (judge.forward(real, Some(label.clone())).rows() - 1.0).square().mean();
        let fake_loss = judge.forward(Value::Images(fake.clone().detach()), Some(label.clone())).rows().square().mean();
        let loss = (real_loss + fake_loss) / 2.0;
        learn(&mut self.discriminator, &mut self.optimizers[1], &loss, self.rates[1]);

        // No derivatives by the discriminator's weights are asked for.
        let judge = self.discriminator.clone()?.no_grad();
        let answer = judge.forward(Value::Images(fake), Some(label)).rows();
        let generator_loss = (answer - 1.0).square().mean();
        learn(&mut self.generator, &mut self.optimizers[0], &generator_loss, self.rates[0]);
        Some(loss)
    }
}

impl Work for Gan {
    fn run(&mut self, count: usize) -> f32 {
        let last = (0..count).filter_map(|_| self.step()).last();
        last.map_or(f32::NAN, |loss| loss.into_scalar())
    }
    fn parameters(&self) -> usize {
        [&self.generator, &self.discriminator].into_iter().flatten().map(Network::parameters).sum()
    }
    fn images(&self) -> usize {
        self.feed.batch
    }
}

/// Logits of resident digits, or pictures of a generator.
pub struct Inference {
    network: Network,
    parameters: usize,
    /// Numbers that the generator takes, of one.
    noise: Option<usize>,
    feed: Feed,
    done: usize,
}

impl Inference {
    pub fn new(text: &Table, batch: Option<usize>, digits: &Digits, device: &Device) -> anyhow::Result<Inference> {
        let (network, noise) = if text.contains_key("generator") {
            let (network, noise) = generator(text, device)?;
            (network, Some(noise))
        } else {
            let entries = text["layers"].as_array().context("layers")?;
            (Network::new(&layers::read(entries, &IMAGE, text)?, device), None)
        };
        let batch = batch.unwrap_or(if noise.is_some() { 250 } else { 256 });
        let feed = Feed::new(digits, batch, MEAN_STD, device);
        Ok(Inference { parameters: network.parameters(), network: network.valid(), noise, feed, done: 0 })
    }
}

impl Work for Inference {
    fn run(&mut self, count: usize) -> f32 {
        let batch = self.feed.batch;
        let mut last = None;
        for _ in 0..count {
            let begin = self.done * batch % (self.feed.order.dims()[0] - batch + 1);
            self.done += 1;
            let label = || self.feed.one_hot.clone().slice([begin..begin + batch]);
            let out = match self.noise {
                Some(noise) => {
                    let latents = Tensor::random([batch, noise], Distribution::Normal(0.0, 1.0), &self.feed.device);
                    self.network.forward(Value::Rows(latents), Some(label()))
                }
                None => {
                    let images = self.feed.images.clone().slice([begin..begin + batch]);
                    self.network.forward(Value::Images(images), None)
                }
            };
            // All answers come to the host, as inkgrad's do.
            last = Some(out.rows().into_data());
        }
        let answers = last.and_then(|data| data.try_into_vec::<f32>().ok());
        answers.and_then(|answers| answers.first().copied()).unwrap_or(f32::NAN)
    }
    fn parameters(&self) -> usize {
        self.parameters
    }
    fn images(&self) -> usize {
        self.feed.batch
    }
}
