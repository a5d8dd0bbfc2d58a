//! A foreign network in this program's terms, while it is read.

use super::scale::Scale;
use crate::models::{Conv, Kind, Layer, MAX_LAYERS, MAX_SIZE, Nonlinearity, by};

/// Where a layer's input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The image.
    Input,
    /// An earlier layer, by its index.
    Step(usize),
}

/// A value that flows between layers, with what is still to be done to it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flow {
    pub from: From,
    /// Rows and columns of zeros around an image, `[[top, bottom], [left, right]]`, which the next convolution absorbs.
    pub pad: [[usize; 2]; 2],
    /// The scaling done to the network's input, and to nothing else.
    pub front: Scale,
}

impl Flow {
    pub fn of(from: From) -> Flow {
        Flow { from, pad: [[0; 2]; 2], front: Scale::UNIT }
    }
}

/// A layer with its tensors, whose axes are in this program's order.
#[derive(Clone, Debug)]
pub struct Step {
    pub kind: Kind,
    pub activation: Option<Nonlinearity>,
    pub inputs: Vec<From>,
    /// What the file calls it.
    pub label: Option<String>,
    /// By the last part of their name: `weight`, `bias`, `affine` (gamma, then beta), `running` (mean, variance).
    pub tensors: Vec<(&'static str, Vec<f32>)>,
    /// The shape of its result for one image.
    pub shape: Vec<usize>,
    /// Whether the other program has an image's channels first where this layer flattens or unflattens one.
    pub channels_first: bool,
}

impl Step {
    pub fn tensor(&mut self, suffix: &str) -> Option<&mut Vec<f32>> {
        self.tensors.iter_mut().find(|(own, _)| *own == suffix).map(|(_, data)| data)
    }
}

/// Layers in the order they run, each of which takes the image or earlier layers.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Height, width and channels.
    pub input: [usize; 3],
    pub steps: Vec<Step>,
    /// What represents the image in a flow: the input itself, or the layer that gives it the file's shape.
    pub entry: From,
    /// The scaling that the network itself does to its input before its first layer; `None` while there is none.
    pub front: Option<Scale>,
    /// Whether new layers have an image's channels first, which decides the order of flattened ones.
    pub channels_first: bool,
    /// What the person who imports it should know.
    pub notes: Vec<String>,
    /// How many numbers all tensors have together.
    numbers: usize,
}

impl Draft {
    pub fn new(input: [usize; 3], channels_first: bool) -> Draft {
        Draft {
            input,
            steps: Vec::new(),
            entry: From::Input,
            front: None,
            channels_first,
            notes: Vec::new(),
            numbers: 0,
        }
    }

    pub fn shape(&self, from: From) -> &[usize] {
        match from {
            From::Input => &self.input,
            From::Step(at) => &self.steps[at].shape,
        }
    }

    /// Height, width and channels of a layer's input.
    ///
    /// # Errors
    /// If that is not an image.
    pub fn image(&self, from: From) -> Result<[usize; 3], String> {
        let shape = self.shape(from);
        shape.try_into().map_err(|_| format!("works on images, but is given {shape:?}"))
    }

    /// Succeeds if there is no padding around a value.
    pub fn check_unpadded(&self, flow: Flow) -> Result<(), String> {
        if flow.pad != [[0; 2]; 2] {
            return Err("is given an image with zeros around it, which only a convolution can take on here: let the \
                        one before or after it pad the image"
                .into());
        }
        Ok(())
    }

    /// The input of a layer that does not handle padding.
    ///
    /// # Errors
    /// If there is padding around it, or the image is used both scaled and unscaled.
    pub fn settle(&mut self, flow: Flow) -> Result<From, String> {
        self.check_unpadded(flow)?;
        self.settle_padded(flow)
    }

    /// The same for a convolution, which handles the padding.
    pub fn settle_padded(&mut self, flow: Flow) -> Result<From, String> {
        if self.is_entry(flow.from) {
            match self.front {
                Some(front) if front != flow.front => {
                    return Err("takes the image at a different scale from a layer before it".into());
                }
                _ => self.front = Some(flow.front),
            }
        }
        Ok(flow.from)
    }

    /// Whether a value is the image, in whatever shape: each of its numbers is one of the image's.
    pub fn is_entry(&self, from: From) -> bool {
        let mut from = from;
        while from != self.entry
            && let From::Step(at) = from
            && let Step { kind: Kind::Flatten | Kind::Reshape { .. }, inputs, .. } = &self.steps[at]
            && let [before] = inputs[..]
        {
            from = before;
        }
        from == self.entry
    }

    /// The flow after `(x - mean) / std`, which can be expressed for the image only.
    pub fn rescale(&self, flow: Flow, by: Scale) -> Result<Flow, String> {
        if !self.is_entry(flow.from) || flow.pad != [[0; 2]; 2] {
            let problem = "scales something other than the network's input, which no layer of this program does";
            return Err(format!("{problem}; expected scaling before all other layers"));
        }
        by.normalization()?;
        Ok(Flow { front: flow.front.then(by), ..flow })
    }

    /// Adds a layer, whose tensors must have as many numbers as it needs.
    ///
    /// # Errors
    /// What does not fit, without the layer's name.
    pub fn push(
        &mut self,
        kind: Kind,
        inputs: &[From],
        label: Option<&str>,
        tensors: Vec<(&'static str, Vec<f32>)>,
    ) -> Result<From, String> {
        if self.steps.len() == MAX_LAYERS {
            return Err(format!("is one of more than {MAX_LAYERS} layers, which are the most"));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|from| self.shape(*from)).collect();
        let shape = Layer::new(kind.clone()).output(&shapes, None)?;
        if shape.contains(&0) {
            return Err(format!("gives {}, which is nothing", by(&shape)));
        }
        let channels = |shape: &[usize]| shape.last().copied().unwrap_or(1);
        let (c, k) = (channels(shapes[0]), channels(&shape));
        for (suffix, data) in &tensors {
            let wanted = match (*suffix, &kind) {
                ("weight", Kind::Conv(conv) | Kind::ConvTransposed(conv)) => vec![conv.kernel[0], conv.kernel[1], c, k],
                ("weight", _) => vec![c, k],
                ("bias", _) => vec![k],
                _ => vec![2, c],
            };
            if wanted.iter().try_fold(1usize, |product, n| product.checked_mul(*n)) != Some(data.len()) {
                return Err(format!("its {suffix} has {} numbers, where {wanted:?} are needed", data.len()));
            }
        }
        // A file may name the same tensor many times.
        self.numbers = tensors.iter().fold(self.numbers, |sum, (_, data)| sum.saturating_add(data.len()));
        if self.numbers > MAX_SIZE {
            return Err(format!("with it the tensors have {} numbers; {MAX_SIZE} are the most", self.numbers));
        }
        let (label, inputs, channels_first) = (label.map(str::to_owned), inputs.to_vec(), self.channels_first);
        self.steps.push(Step { kind, activation: None, inputs, label, tensors, shape, channels_first });
        Ok(From::Step(self.steps.len() - 1))
    }

    /// Adds a layer of kind `flatten` or `reshape`. The image stays the image: it may be scaled before and after.
    pub fn reshape(&mut self, kind: Kind, flow: Flow, label: Option<&str>) -> Result<Flow, String> {
        self.check_unpadded(flow)?;
        Ok(Flow { from: self.push(kind, &[flow.from], label, Vec::new())?, ..flow })
    }

    /// Adds an activation after a layer; `finish` makes it part of the layer if nothing else takes the bare result.
    pub fn activate(&mut self, from: From, activation: Option<Nonlinearity>) -> Result<From, String> {
        let Some(activation) = activation else { return Ok(from) };
        let out = self.push(Kind::Activation, &[from], None, Vec::new())?;
        if let Some(step) = self.steps.last_mut() {
            step.activation = Some(activation);
        }
        Ok(out)
    }

    /// Adds a convolution whose kernel `[r, s, c, k]` may have to grow by zeros to express its padding.
    pub fn push_conv(
        &mut self,
        transposed: bool,
        conv: Conv,
        growth: [[usize; 2]; 2],
        from: From,
        label: Option<&str>,
        [weight, bias]: [Option<Vec<f32>>; 2],
    ) -> Result<From, String> {
        let c = self.image(from)?[2];
        let [r, s] = conv.kernel;
        let weight = weight.ok_or("has no weights")?;
        let needed = [r, s, c, conv.channels].iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        if needed != Some(weight.len()) {
            let wanted = [r, s, c, conv.channels];
            return Err(format!("its kernel has {} numbers, where {wanted:?} are needed", weight.len()));
        }
        let kernel = [r + growth[0][0] + growth[0][1], s + growth[1][0] + growth[1][1]];
        let grown = [kernel[0], kernel[1], c, conv.channels];
        if grown.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).is_none_or(|n| n > MAX_SIZE) {
            return Err(format!("its kernel would have to grow to {grown:?}; {MAX_SIZE} numbers are the most"));
        }
        let weight = if kernel == conv.kernel {
            weight
        } else {
            self.notes.push(format!(
                "{}: its padding is expressed by a kernel of {}x{}, to which zeros were added",
                label.unwrap_or("a convolution"),
                kernel[0],
                kernel[1]
            ));
            super::layout::grow_kernel(&weight, [r, s, c, conv.channels], growth)
        };
        let conv = Conv { kernel, bias: bias.is_some(), ..conv };
        let kind = if transposed { Kind::ConvTransposed(conv) } else { Kind::Conv(conv) };
        let mut tensors = vec![("weight", weight)];
        tensors.extend(bias.map(|bias| ("bias", bias)));
        self.push(kind, &[from], label, tensors)
    }

    /// Adds pooling over the whole of a square image; its result is a row of numbers unless `keep` is set.
    pub fn push_global_pool(
        &mut self,
        average: bool,
        keep: bool,
        from: From,
        label: Option<&str>,
    ) -> Result<From, String> {
        let [h, w, _] = self.image(from)?;
        if h != w {
            return Err(format!(
                "pools the whole of an image of {h}x{w}; this program's windows are square: give the network square \
                 images"
            ));
        }
        let kind =
            if average { Kind::AvgPool { window: h, stride: h } } else { Kind::MaxPool { window: h, stride: h } };
        let pooled = self.push(kind, &[from], label, Vec::new())?;
        if keep { Ok(pooled) } else { self.push(Kind::Flatten, &[pooled], None, Vec::new()) }
    }

    /// Adds batch normalisation; a missing gamma is 1, a missing beta 0.
    pub fn push_batch_norm(
        &mut self,
        epsilon: f32,
        momentum: f32,
        from: From,
        label: Option<&str>,
        [gamma, beta, mean, variance]: [Option<Vec<f32>>; 4],
    ) -> Result<From, String> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(format!("has an epsilon of {epsilon}; expected one above 0"));
        }
        let c = self.shape(from).last().copied().unwrap_or(1);
        let rows = |first: Option<Vec<f32>>, second: Option<Vec<f32>>| -> Result<Vec<f32>, String> {
            let mut both = first.unwrap_or_else(|| vec![1.0; c]);
            let second = second.unwrap_or_else(|| vec![0.0; c]);
            if both.len() != c || second.len() != c {
                let found = [both.len(), second.len()];
                return Err(format!("has {found:?} numbers, where one for each of {c} channels is needed"));
            }
            both.extend(second);
            Ok(both)
        };
        let (Some(mean), Some(variance)) = (mean, variance) else {
            return Err("has no moving mean and variance".into());
        };
        let tensors = vec![("affine", rows(gamma, beta)?), ("running", rows(Some(mean), Some(variance))?)];
        // The other program's momentum may lie outside the range of a share here; inference does not use it.
        let momentum = if (0.0..1.0).contains(&momentum) { momentum } else { 0.99 };
        self.push(Kind::BatchNorm { epsilon, momentum, scale: true }, &[from], label, tensors)
    }
}
