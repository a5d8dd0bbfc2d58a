//! The layers as a burn module.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2dConfig, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, DropoutConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};

use crate::layers::{Kind, Layer};

#[derive(Module, Debug)]
pub struct Network {
    convs: Vec<Conv2d>,
    denses: Vec<Linear>,
    norms: Vec<BatchNorm>,
    #[module(skip)]
    layers: Vec<Layer>,
}

/// What passes between layers: rows of numbers, or images with channels first.
#[derive(Clone)]
pub enum Value {
    Rows(Tensor<2>),
    Images(Tensor<4>),
}

impl Value {
    pub fn rows(self) -> Tensor<2> {
        match self {
            Value::Rows(rows) => rows,
            Value::Images(images) => images.flatten(1, 3),
        }
    }
    pub fn images(self) -> Tensor<4> {
        match self {
            Value::Images(images) => images,
            Value::Rows(_) => unreachable!("layers.rs lets no row of numbers pass for an image"),
        }
    }
}

impl Network {
    pub fn new(layers: &[Layer], device: &Device) -> Network {
        let mut network = Network { convs: vec![], denses: vec![], norms: vec![], layers: layers.to_vec() };
        let initializer = Initializer::KaimingUniform { gain: 2f64.sqrt(), fan_out_only: false };
        for layer in layers {
            let (from, to) = (layer.input[layer.input.len() - 1], layer.output[layer.output.len() - 1]);
            match layer.kind {
                Kind::Conv { kernel, stride, same, bias } => {
                    let padding = if same { PaddingConfig2d::Same } else { PaddingConfig2d::Valid };
                    let config = Conv2dConfig::new([from, to], [kernel; 2]).with_stride([stride; 2]);
                    let config = config.with_padding(padding).with_bias(bias).with_initializer(initializer.clone());
                    network.convs.push(config.init(device));
                }
                Kind::Dense { bias } => {
                    let config = LinearConfig::new(from, to).with_bias(bias).with_initializer(initializer.clone());
                    network.denses.push(config.init(device));
                }
                Kind::BatchNorm { epsilon, momentum, scale } => {
                    let config = BatchNormConfig::new(from).with_epsilon(epsilon).with_momentum(1.0 - momentum);
                    let mut norm = config.init(device);
                    norm.gamma = norm.gamma.set_require_grad(scale);
                    network.norms.push(norm);
                }
                _ => {}
            }
        }
        network
    }

    /// What is learned: a batch norm that only shifts has a scale here that is never changed.
    pub fn parameters(&self) -> usize {
        let fixed = self.layers.iter().filter(|layer| matches!(layer.kind, Kind::BatchNorm { scale: false, .. }));
        self.num_params() - fixed.map(|layer| layer.output[layer.output.len() - 1]).sum::<usize>()
    }

    pub fn forward(&self, x: Value, label: Option<Tensor<2>>) -> Value {
        let label = label.map_or_else(|| x.clone(), Value::Rows);
        let mut values = vec![x, label];
        let (mut convs, mut denses, mut norms) = (self.convs.iter(), self.denses.iter(), self.norms.iter());
        for layer in &self.layers {
            let x = values[layer.sources[0]].clone();
            let out = match &layer.kind {
                Kind::Conv { .. } => Value::Images(convs.next().expect("one for each").forward(x.images())),
                Kind::Dense { .. } => Value::Rows(denses.next().expect("one for each").forward(x.rows())),
                Kind::BatchNorm { .. } => {
                    let norm = norms.next().expect("one for each");
                    each(x, |x| norm.forward(x), |x| norm.forward(x))
                }
                Kind::MaxPool(window) => {
                    let pool = MaxPool2dConfig::new([*window; 2]).with_strides([*window; 2]).init();
                    Value::Images(pool.forward(x.images()))
                }
                Kind::AvgPool(window) => {
                    let pool = AvgPool2dConfig::new([*window; 2]).with_strides([*window; 2]).init();
                    Value::Images(pool.forward(x.images()))
                }
                Kind::Dropout(rate) => {
                    let dropout = DropoutConfig::new(*rate).init();
                    each(x, |x| dropout.forward(x), |x| dropout.forward(x))
                }
                Kind::Flatten => Value::Rows(x.rows()),
                Kind::Reshape => {
                    let rows = x.rows();
                    let (n, [h, w, c]) = (rows.dims()[0], [layer.output[0], layer.output[1], layer.output[2]]);
                    Value::Images(rows.reshape([n, h, w, c]).permute([0, 3, 1, 2]))
                }
                Kind::Concat => {
                    let taken = layer.sources.iter().map(|source| values[*source].clone());
                    match x {
                        Value::Rows(_) => Value::Rows(Tensor::cat(taken.map(Value::rows).collect(), 1)),
                        Value::Images(_) => Value::Images(Tensor::cat(taken.map(Value::images).collect(), 1)),
                    }
                }
            };
            values.push(match layer.activation.as_deref() {
                None => out,
                Some("relu") => each(out, activation::relu, activation::relu),
                Some("sigmoid") => each(out, activation::sigmoid, activation::sigmoid),
                Some("leaky_relu") => {
                    let slope = layer.slope;
                    each(out, |x| activation::leaky_relu(x, slope), |x| activation::leaky_relu(x, slope))
                }
                Some(other) => crate::cannot(&format!("the activation {other} has no peer yet")),
            });
        }
        values.pop().expect("the input at least")
    }
}

fn each(value: Value, rows: impl FnOnce(Tensor<2>) -> Tensor<2>, images: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Value {
    match value {
        Value::Rows(x) => Value::Rows(rows(x)),
        Value::Images(x) => Value::Images(images(x)),
    }
}
