//! How one value was computed, down to the products.

use std::iter::once;

use super::Pass;
use super::anatomy::{Anatomy, above, image};
use crate::models::{Built, Conv, Kind, Nonlinearity, Source};

/// A value that was read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Seen {
    /// The layer whose output it is; `None` is the picture, normalized.
    pub layer: Option<usize>,
    /// Row and column; in a flattened image, those that the pixel had; `[0, 0]` in any other row of numbers.
    pub at: [usize; 2],
    /// Channel, or place in a row of numbers.
    pub channel: usize,
    pub value: f32,
}

/// A value times a weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Term {
    pub seen: Seen,
    /// Row and column in the kernel; `[0, 0]` if there is none.
    pub tap: [usize; 2],
    pub weight: f32,
    pub product: f32,
}

/// What a layer did before its activation.
#[derive(Clone, PartialEq, Debug)]
pub enum How {
    /// Convolutions, dense layers, inner products: a sum of terms, the largest products first, and a bias. What a
    /// kernel reads beyond the edge is zero and not a term.
    Weighted { terms: Vec<Term>, bias: Option<f32> },
    /// `(value - mean) / sqrt(variance + epsilon) * gamma + beta`
    Normalized { seen: Seen, mean: f32, variance: f32, epsilon: f32, gamma: f32, beta: f32 },
    /// The mean of a window.
    Average(Vec<Seen>),
    /// The largest of a window.
    Largest(Vec<Seen>),
    /// One value of each of the layers that are added.
    Added(Vec<Seen>),
    /// A value as it is: from dropout, which drops nothing here, reshapes, copies, and layers that only activate.
    Taken(Seen),
}

/// How a value came about.
#[derive(Clone, PartialEq, Debug)]
pub struct Arithmetic {
    pub how: How,
    /// What `how` comes to.
    pub sum: f32,
    /// What is applied to `sum`.
    pub activation: Option<Nonlinearity>,
    /// The outcome: the value in [`Pass::activations`], up to rounding.
    pub result: f32,
}

impl Anatomy {
    /// How the value of a unit (an output channel, or a place in a row of numbers) at row and column `at` of a layer
    /// was computed; `at` is ignored if the layer's output is a row of numbers. Recomputed in f64, from the activations
    /// of the layers before.
    ///
    /// `None` if there is no such value, or the pass holds no activations of this network.
    pub fn arithmetic(&self, pass: &Pass, layer: usize, unit: usize, at: [usize; 2]) -> Option<Arithmetic> {
        let layers = &self.network.layers;
        let built = layers.get(layer)?;
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        let whole = layers.len() == pass.activations.len()
            && layers.iter().zip(&pass.activations).all(|(layer, values)| size(&layer.output) == values.len())
            && pass.input.len() == size(&self.input());
        let [h, w, c] = image(&built.output);
        let [y, x] = if built.output.len() == 1 { [0, 0] } else { at };
        if !whole || y >= h || x >= w || unit >= c {
            return None;
        }
        let one = One { anatomy: self, pass, layer, built, at: [y, x] };
        let (how, sum) = one.before_activation(unit)?;
        let activation = built.spec.activation;
        let result = match activation.map(Nonlinearity::act) {
            None => sum as f32,
            Some(Some(act)) => act.apply(sum as f32),
            // Softmax depends on all channels.
            Some(None) => {
                let sums = (0..c).map(|unit| one.before_activation(unit).map(|(_, sum)| sum));
                let sums: Vec<f64> = sums.collect::<Option<_>>()?;
                (1.0 / sums.iter().map(|other| (other - sum).exp()).sum::<f64>()) as f32
            }
        };
        Some(Arithmetic { how, sum: sum as f32, activation, result })
    }
}

/// A place in a layer's output.
struct One<'a> {
    anatomy: &'a Anatomy,
    pass: &'a Pass,
    layer: usize,
    built: &'a Built,
    at: [usize; 2],
}

impl One<'_> {
    fn before_activation(&self, unit: usize) -> Option<(How, f64)> {
        let first = *self.built.inputs.first()?;
        let [y, x] = self.at;
        let here = |source: Source| self.seen(source, self.at, unit);
        Some(match &self.built.spec.kind {
            Kind::Conv(conv) => self.weighted(unit, self.convolved(conv, first, unit, false)?),
            Kind::ConvTransposed(conv) => self.weighted(unit, self.convolved(conv, first, unit, true)?),
            Kind::Dense { .. } => self.weighted(unit, self.dense(first, unit)?),
            Kind::Dot { .. } => {
                let (a, b) = (self.row(first), self.row(*self.built.inputs.get(1)?));
                self.weighted(unit, a.into_iter().zip(b).map(|(seen, b)| term(seen, [0, 0], b.value)).collect())
            }
            Kind::BatchNorm { epsilon, scale, .. } => {
                let (statistics, affine) = (
                    self.anatomy.statistics(self.built.running)?,
                    self.anatomy.trained(self.built.weight).map(|(_, affine)| affine)?,
                );
                let [_, _, c] = image(&self.built.output);
                let (mean, variance) = (*statistics.get(unit)?, *statistics.get(c + unit)?);
                let (gamma, beta) =
                    if *scale { (*affine.get(unit)?, *affine.get(c + unit)?) } else { (1.0, *affine.get(unit)?) };
                let (seen, epsilon) = (here(first)?, *epsilon);
                let wide = f64::from;
                let normal = (wide(seen.value) - wide(mean)) / (wide(variance) + wide(epsilon)).sqrt();
                let sum = normal * wide(gamma) + wide(beta);
                (How::Normalized { seen, mean, variance, epsilon, gamma, beta }, sum)
            }
            Kind::AvgPool { window, stride } => {
                let seen = self.window(first, unit, *window, *stride)?;
                let sum = seen.iter().map(|seen| f64::from(seen.value)).sum::<f64>() / seen.len() as f64;
                (How::Average(seen), sum)
            }
            Kind::MaxPool { window, stride } => {
                let seen = self.window(first, unit, *window, *stride)?;
                let largest = seen.iter().map(|seen| f64::from(seen.value)).fold(f64::NEG_INFINITY, f64::max);
                (How::Largest(seen), largest)
            }
            Kind::Add { .. } => {
                let seen: Vec<Seen> = self.built.inputs.iter().map(|source| here(*source)).collect::<Option<_>>()?;
                let sum = seen.iter().map(|seen| f64::from(seen.value)).sum();
                (How::Added(seen), sum)
            }
            Kind::Upsample { factor } => taken(self.seen(first, [y / factor, x / factor], unit)?),
            Kind::Activation | Kind::Dropout { .. } => taken(here(first)?),
            Kind::Flatten | Kind::Reshape { .. } => {
                // The number at the same flat index, located in the layer's input.
                let ([_, w, c], [_, from_w, from_c]) = (image(&self.built.output), image(self.anatomy.shape(first)));
                let flat = (y * w + x) * c + unit;
                taken(self.seen(first, [flat / (from_w * from_c), flat / from_c % from_w], flat % from_c)?)
            }
            Kind::Concat { .. } => {
                let mut channel = unit;
                let mut part = None;
                for source in &self.built.inputs {
                    let [_, _, c] = image(self.anatomy.shape(*source));
                    if channel < c {
                        part = Some(*source);
                        break;
                    }
                    channel -= c;
                }
                taken(self.seen(part?, self.at, channel)?)
            }
        })
    }

    fn values(&self, source: Source) -> &[f32] {
        above(source).map_or(&self.pass.input[..], |at| &self.pass.activations[at])
    }

    fn seen(&self, source: Source, [y, x]: [usize; 2], channel: usize) -> Option<Seen> {
        let [h, w, c] = image(self.anatomy.shape(source));
        if y >= h || x >= w || channel >= c {
            return None;
        }
        let value = *self.values(source).get((y * w + x) * c + channel)?;
        Some(Seen { layer: above(source), at: [y, x], channel, value })
    }

    /// All values of a row of numbers.
    fn row(&self, source: Source) -> Vec<Seen> {
        let values = self.values(source).iter().enumerate();
        values.map(|(channel, value)| Seen { layer: above(source), at: [0, 0], channel, value: *value }).collect()
    }

    fn window(&self, source: Source, channel: usize, side: usize, stride: usize) -> Option<Vec<Seen>> {
        let [y, x] = self.at;
        let places = (0..side * side).map(|i| [y * stride + i / side, x * stride + i % side]);
        places.map(|at| self.seen(source, at, channel)).collect()
    }

    fn dense(&self, source: Source, unit: usize) -> Option<Vec<Term>> {
        let (parameter, weights) = self.anatomy.trained(self.built.weight)?;
        let units = parameter.shape.last();
        let mut row = self.row(source);
        if let Some(shape) = self.anatomy.flattened(self.layer) {
            let [_, w, c] = image(&shape);
            for seen in &mut row {
                let flat = seen.channel;
                (seen.at, seen.channel) = ([flat / (w * c), flat / c % w], flat % c);
            }
        }
        let weights = weights.iter().skip(unit).step_by(units);
        Some(row.into_iter().zip(weights).map(|(seen, weight)| term(seen, [0, 0], *weight)).collect())
    }

    /// The terms of a convolution or of a transposed one.
    fn convolved(&self, conv: &Conv, source: Source, unit: usize, transposed: bool) -> Option<Vec<Term>> {
        let (parameter, weights) = self.anatomy.trained(self.built.weight)?;
        let &[r, s, c, k] = parameter.shape.dims() else { return None };
        let [h, w, _] = image(self.anatomy.shape(source));
        let rows = taps(self.at[0], h, r, conv, transposed)?;
        let columns = taps(self.at[1], w, s, conv, transposed)?;
        let mut terms = Vec::with_capacity(rows.len() * columns.len() * c);
        for (t, y) in &rows {
            for (u, x) in &columns {
                for channel in 0..c {
                    let weight = *weights.get(((t * s + u) * c + channel) * k + unit)?;
                    terms.push(term(self.seen(source, [*y, *x], channel)?, [*t, *u], weight));
                }
            }
        }
        Some(terms)
    }

    fn weighted(&self, unit: usize, mut terms: Vec<Term>) -> (How, f64) {
        let bias = self.anatomy.bias(self.built, unit);
        // A product of two f32 is exact in f64.
        let products = terms.iter().map(|term| f64::from(term.seen.value) * f64::from(term.weight));
        let sum = products.chain(once(f64::from(bias.unwrap_or(0.0)))).sum();
        terms.sort_by(|a, b| b.product.abs().total_cmp(&a.product.abs()));
        (How::Weighted { terms, bias }, sum)
    }
}

fn term(seen: Seen, tap: [usize; 2], weight: f32) -> Term {
    Term { seen, tap, weight, product: seen.value * weight }
}

fn taken(seen: Seen) -> (How, f64) {
    (How::Taken(seen), f64::from(seen.value))
}

/// Along one axis: each row of the kernel that meets the image, with the row of the image that it meets.
fn taps(to: usize, size: usize, kernel: usize, conv: &Conv, transposed: bool) -> Option<Vec<(usize, usize)>> {
    let (_, off) = if transposed {
        conv.padding.resolve_transposed(size, kernel, conv.stride)?
    } else {
        conv.padding.resolve(size, kernel, conv.stride)?
    };
    let meets = |tap: usize| {
        if transposed {
            let place = (to + off).checked_sub(tap)?;
            place.is_multiple_of(conv.stride).then_some(place / conv.stride)
        } else {
            (to * conv.stride + tap).checked_sub(off)
        }
    };
    let each = (0..kernel).filter_map(|tap| meets(tap).filter(|from| *from < size).map(|from| (tap, from)));
    Some(each.collect())
}
