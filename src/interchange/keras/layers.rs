//! Each of Keras's layers in this program's terms.

use serde_json::Value;

use super::archive::{Archive, Which};
use super::config::{KerasLayer, Settings, size};
use crate::interchange::draft::{Draft, Flow, From};
use crate::interchange::fit::{self, Axis};
use crate::interchange::scale::Scale;
use crate::models::{Conv, Kind, Nonlinearity, Units};
use crate::ops::conv2d::Padding;

/// The layers that are read, for the error about one that is not.
const KNOWN: &str = "InputLayer, Conv2D, Conv2DTranspose, Dense, AveragePooling2D, MaxPooling2D, \
    GlobalAveragePooling2D, GlobalMaxPooling2D, UpSampling2D, ZeroPadding2D, BatchNormalization, Activation, ReLU, \
    LeakyReLU, Softmax, Flatten, Reshape, Concatenate, Add, Dot, Dropout, Rescaling";

/// Layers that do nothing once training is over, and that this program does not have.
const IDLE: &[&str] = &[
    "SpatialDropout2D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
];

/// Reads layers with their tensors.
pub struct Reader<'a> {
    archive: &'a Archive,
    layers: &'a [KerasLayer<'a>],
    /// How many layers of the same kind precede each layer.
    above: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub fn new(archive: &'a Archive, layers: &'a [KerasLayer<'a>]) -> Reader<'a> {
        let above =
            (0..layers.len()).map(|i| layers[..i].iter().filter(|other| other.class == layers[i].class).count());
        Reader { archive, above: above.collect(), layers }
    }

    /// Reads one call of layer `at` with the inputs that it is given.
    ///
    /// # Errors
    /// What this program cannot express, without the layer's name.
    pub fn read(&mut self, draft: &mut Draft, at: usize, given: &[Flow]) -> Result<Flow, String> {
        let layer = &self.layers[at];
        let settings = layer.settings;
        let [flow, ..] = given else { return Err("takes nothing".into()) };
        let joins = matches!(layer.class, "Concatenate" | "Add" | "Dot");
        let is_read = IDLE.contains(&layer.class) || KNOWN.split(", ").any(|known| known == layer.class);
        if given.len() > 1 && is_read && !joins {
            return Err(format!("takes {} inputs; expected one", given.len()));
        }
        if settings.text("data_format") == Some("channels_first") {
            return Err("has its channels first; expected data_format \"channels_last\", Keras's own".into());
        }
        let name = Some(layer.name);
        match layer.class {
            "InputLayer" => return Ok(*flow),
            "ZeroPadding2D" => {
                draft.image(flow.from)?;
                return zero_padding(*flow, settings);
            }
            "Rescaling" => return draft.rescale(*flow, rescaling(settings)?),
            "Conv2D" => return self.conv(draft, at, *flow).map(Flow::of),
            "Flatten" => return draft.reshape(Kind::Flatten, *flow, name),
            "Reshape" => {
                let shape = target(settings, draft.shape(flow.from))?;
                return draft.reshape(Kind::Reshape { shape }, *flow, name);
            }
            // A linear one leaves its input as it is, and unused.
            "Activation" if activation(settings, draft.shape(flow.from).len())?.is_none() => return Ok(*flow),
            idle if IDLE.contains(&idle) => {
                draft.notes.push(format!("{}: left out; a {idle} does nothing once training is over", layer.name));
                return Ok(*flow);
            }
            _ => {}
        }
        let inputs: Vec<From> = given.iter().map(|flow| draft.settle(*flow)).collect::<Result<_, _>>()?;
        let from = inputs[0];
        let out = match layer.class {
            "Conv2DTranspose" => self.conv_transposed(draft, at, from)?,
            "Dense" => self.dense(draft, at, from)?,
            "AveragePooling2D" | "MaxPooling2D" => {
                let (window, stride) = windows(draft.image(from)?, settings)?;
                let average = layer.class == "AveragePooling2D";
                let kind = if average { Kind::AvgPool { window, stride } } else { Kind::MaxPool { window, stride } };
                draft.push(kind, &[from], name, Vec::new())?
            }
            "GlobalAveragePooling2D" | "GlobalMaxPooling2D" => {
                let average = layer.class == "GlobalAveragePooling2D";
                draft.push_global_pool(average, settings.flag("keepdims", false), from, name)?
            }
            "UpSampling2D" => {
                let [rows, columns] = settings.pair("size")?;
                match settings.text("interpolation") {
                    None | Some("nearest") => {}
                    Some(other) => return Err(format!("interpolates with {other:?}; expected \"nearest\"")),
                }
                if rows != columns {
                    return Err(format!(
                        "makes images {rows} times as high and {columns} times as wide; expected one factor"
                    ));
                }
                draft.push(Kind::Upsample { factor: rows }, &[from], name, Vec::new())?
            }
            "BatchNormalization" => self.batch_norm(draft, at, from)?,
            "Activation" => draft.activate(from, activation(settings, draft.shape(from).len())?)?,
            "ReLU" => draft.activate(from, Some(relu(settings)?))?,
            "LeakyReLU" => draft.activate(from, Some(leaky_relu(settings)?))?,
            "Softmax" => draft.activate(from, Some(softmax(settings, draft.shape(from).len())?))?,
            "Dropout" => {
                let rate = settings.number("rate").filter(|rate| (0.0..1.0).contains(rate));
                let rate = rate.ok_or_else(|| settings.wrong("rate", "a number from 0 to below 1"))? as f32;
                draft.push(Kind::Dropout { rate }, &[from], name, Vec::new())?
            }
            "Concatenate" => {
                last_axis(settings, draft.shape(from).len(), -1)?;
                draft.push(Kind::Concat { from: Vec::new() }, &inputs, name, Vec::new())?
            }
            "Add" => draft.push(Kind::Add { from: Vec::new() }, &inputs, name, Vec::new())?,
            "Dot" => {
                if settings.flag("normalize", false) {
                    return Err("normalizes its inputs; expected normalize=False".into());
                }
                let axes = settings.get("axes").map_or(String::new(), Value::to_string);
                if !matches!(axes.as_str(), "1" | "-1" | "[1,1]" | "[-1,-1]") {
                    return Err(settings.wrong("axes", "1, for two rows of numbers"));
                }
                draft.push(Kind::Dot { from: Vec::new() }, &inputs, name, Vec::new())?
            }
            "Sequential" | "Functional" | "Model" => {
                return Err("is a model inside the model; build one model of its layers and save that".into());
            }
            _ => return Err(format!("this program has no such layer; the Keras layers it reads are {KNOWN}")),
        };
        Ok(Flow::of(out))
    }

    /// The numbers of a layer's tensors, by Keras's names; their sizes must be as `wanted`.
    fn tensors(&self, at: usize, kind: &str, wanted: &[(&str, Vec<usize>)]) -> Result<Vec<Option<Vec<f32>>>, String> {
        let which = Which { name: self.layers[at].name, kind, above: self.above[at] };
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let found = self.archive.tensors(&which, &names)?;
        let checked = found.into_iter().zip(wanted).map(|(stored, (name, dims))| match stored.dims == *dims {
            true => Ok(Some(stored.data)),
            false => Err(format!("its {name} is {:?}, but its settings make it {dims:?}", stored.dims)),
        });
        checked.collect()
    }

    /// Kernel and bias.
    fn kernel(&self, at: usize, kind: &str, kernel: Vec<usize>, k: usize) -> Result<[Option<Vec<f32>>; 2], String> {
        let mut wanted = vec![("kernel", kernel)];
        if self.layers[at].settings.flag("use_bias", true) {
            wanted.push(("bias", vec![k]));
        }
        let mut found = self.tensors(at, kind, &wanted)?.into_iter();
        Ok([found.next().flatten(), found.next().flatten()])
    }

    fn conv(&self, draft: &mut Draft, at: usize, flow: Flow) -> Result<From, String> {
        let layer = &self.layers[at];
        let (conv, padding) = conv_settings(layer.settings)?;
        let from = draft.settle_padded(flow)?;
        let [h, w, c] = draft.image(from)?;
        let axis = |size: usize, kernel: usize, [before, after]: [usize; 2]| {
            let (out, more) = padding
                .resolve(size + before + after, kernel, conv.stride)
                .ok_or_else(|| format!("its kernel of {:?} does not fit an image of {h}x{w}", conv.kernel))?;
            Ok::<Axis, String>(Axis { size, kernel, before: before + more, out })
        };
        let axes = [axis(h, conv.kernel[0], flow.pad[0])?, axis(w, conv.kernel[1], flow.pad[1])?];
        let (padding, growth) = fit::conv(axes, conv.stride).ok_or("has more padding than this program can express")?;
        let tensors =
            self.kernel(at, "conv2d", vec![conv.kernel[0], conv.kernel[1], c, conv.channels], conv.channels)?;
        let out = draft.push_conv(false, Conv { padding, ..conv }, growth, from, Some(layer.name), tensors)?;
        draft.activate(out, activation(layer.settings, 3)?)
    }

    fn conv_transposed(&self, draft: &mut Draft, at: usize, from: From) -> Result<From, String> {
        let layer = &self.layers[at];
        let (conv, padding) = conv_settings(layer.settings)?;
        if layer.settings.get("output_padding").is_some() {
            return Err("has an output_padding; expected none".into());
        }
        let [h, w, c] = draft.image(from)?;
        // The result is as large as Keras makes it; TensorFlow cuts off what `same` would have padded before.
        let axis = |size: usize, kernel: usize| {
            let full = (size - 1) * conv.stride + kernel;
            let out = match padding {
                Padding::Same => size * conv.stride,
                _ => (size - 1) * conv.stride + kernel.max(conv.stride),
            };
            let before = if padding == Padding::Same { full.saturating_sub(out) / 2 } else { 0 };
            Axis { size, kernel, before, out }
        };
        let axes = [axis(h, conv.kernel[0]), axis(w, conv.kernel[1])];
        let fitted = fit::transposed(axes, conv.stride);
        let (padding, growth) = fitted.ok_or("has a padding that this program cannot express")?;
        let [r, s] = conv.kernel;
        let [kernel, bias] = self.kernel(at, "conv2d_transpose", vec![r, s, conv.channels, c], conv.channels)?;
        // Keras stores the result's channels before the image's.
        let kernel =
            kernel.map(|kernel| super::super::layout::permute(&kernel, [r, s, conv.channels, c], [0, 1, 3, 2]));
        let out = draft.push_conv(true, Conv { padding, ..conv }, growth, from, Some(layer.name), [kernel, bias])?;
        draft.activate(out, activation(layer.settings, 3)?)
    }

    fn dense(&self, draft: &mut Draft, at: usize, from: From) -> Result<From, String> {
        let layer = &self.layers[at];
        let units = layer.settings.size("units")?;
        let shape = draft.shape(from).to_vec();
        let c = shape.last().copied().unwrap_or(1);
        let [kernel, bias] = self.kernel(at, "dense", vec![c, units], units)?;
        let out = if shape.len() == 3 {
            // On an image, a dense layer is a convolution of each pixel.
            let bare =
                Conv { channels: units, kernel: [1, 1], stride: 1, padding: Padding::Valid, bias: bias.is_some() };
            draft.push_conv(false, bare, [[0; 2]; 2], from, Some(layer.name), [kernel, bias])?
        } else {
            let kind = Kind::Dense { units: Units::Count(units), bias: bias.is_some() };
            let mut tensors = vec![("weight", kernel.unwrap_or_default())];
            tensors.extend(bias.map(|bias| ("bias", bias)));
            draft.push(kind, &[from], Some(layer.name), tensors)?
        };
        draft.activate(out, activation(layer.settings, shape.len())?)
    }

    fn batch_norm(&self, draft: &mut Draft, at: usize, from: From) -> Result<From, String> {
        let layer = &self.layers[at];
        let settings = layer.settings;
        let shape = draft.shape(from).to_vec();
        last_axis(settings, shape.len(), -1)?;
        let c = shape.last().copied().unwrap_or(1);
        let (scale, center) = (settings.flag("scale", true), settings.flag("center", true));
        let mut wanted = Vec::new();
        for (name, there) in [("gamma", scale), ("beta", center), ("moving_mean", true), ("moving_variance", true)] {
            if there {
                wanted.push((name, vec![c]));
            }
        }
        let mut found = self.tensors(at, "batch_normalization", &wanted)?.into_iter();
        let mut next = |there: bool| if there { found.next().flatten() } else { None };
        let tensors = [next(scale), next(center), next(true), next(true)];
        let epsilon = settings.number_or("epsilon", 1e-3)? as f32;
        let momentum = settings.number_or("momentum", 0.99)? as f32;
        draft.push_batch_norm(epsilon, momentum, from, Some(layer.name), tensors)
    }
}

fn conv_settings(settings: Settings) -> Result<(Conv, Padding), String> {
    let padding = match settings.text("padding") {
        Some("valid") | None => Padding::Valid,
        Some("same") => Padding::Same,
        Some(_) => return Err(settings.wrong("padding", "\"valid\" or \"same\"")),
    };
    let strides = settings.pair("strides")?;
    if strides[0] != strides[1] {
        return Err(settings.wrong("strides", "the same for rows and columns"));
    }
    if settings.get("dilation_rate").is_some() && settings.pair("dilation_rate")? != [1, 1] {
        return Err(settings.wrong("dilation_rate", "1"));
    }
    if settings.get("groups").is_some() && settings.size("groups")? != 1 {
        return Err(settings.wrong("groups", "1"));
    }
    let (channels, kernel) = (settings.size("filters")?, settings.pair("kernel_size")?);
    Ok((Conv { channels, kernel, stride: strides[0], padding, bias: true }, padding))
}

/// `x * scale + offset` as `(x - mean) / std`.
fn rescaling(settings: Settings) -> Result<Scale, String> {
    let scale = settings.number("scale").ok_or_else(|| settings.wrong("scale", "a number"))?;
    let offset = settings.number_or("offset", 0.0)?;
    Ok(Scale { mean: -offset / scale, std: 1.0 / scale })
}

fn zero_padding(flow: Flow, settings: Settings) -> Result<Flow, String> {
    let expected = "a number, two of them, or two pairs";
    // Zero is fine here, and nobody pads by more than a thousand.
    let count = |value: &Value| value.as_u64().filter(|n| *n <= 1 << 10).map(|n| n as usize);
    let side = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([before, after]) => Some([count(before)?, count(after)?]),
        Some(_) => None,
        None => count(value).map(|n| [n, n]),
    };
    let both = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([rows, columns]) => Some([side(rows)?, side(columns)?]),
        Some(_) => None,
        None => side(value).map(|n| [n, n]),
    };
    let more = settings.get("padding").and_then(both).ok_or_else(|| settings.wrong("padding", expected))?;
    let sum = |axis: usize| [flow.pad[axis][0] + more[axis][0], flow.pad[axis][1] + more[axis][1]];
    Ok(Flow { pad: [sum(0), sum(1)], ..flow })
}

/// Window and stride of a pooling layer, whose `same` padding must add nothing.
fn windows([h, w, _]: [usize; 3], settings: Settings) -> Result<(usize, usize), String> {
    let window = settings.pair("pool_size")?;
    let stride = if settings.get("strides").is_some() { settings.pair("strides")? } else { window };
    if window[0] != window[1] || stride[0] != stride[1] {
        return Err(format!("has windows of {window:?} at strides of {stride:?}; expected squares"));
    }
    let (window, stride) = (window[0], stride[0]);
    if settings.text("padding") == Some("same") {
        // As many windows as fit without padding need none.
        let fits =
            |size: usize| Padding::Same.resolve(size, window, stride) == Padding::Valid.resolve(size, window, stride);
        if !fits(h) || !fits(w) {
            let problem = format!("pads an image of {h}x{w} under windows of {window} at strides of {stride}");
            return Err(format!("{problem}; expected padding \"valid\", or windows that fit"));
        }
    }
    Ok((window, stride))
}

/// The sizes that a reshape asks for, one of which may be -1.
fn target(settings: Settings, from: &[usize]) -> Result<Vec<usize>, String> {
    let expected = "a list of one to four sizes";
    let list = settings.get("target_shape").and_then(Value::as_array).filter(|list| (1..=4).contains(&list.len()));
    let list = list.ok_or_else(|| settings.wrong("target_shape", expected))?;
    let known = list.iter().filter_map(size).try_fold(1usize, |product, n| product.checked_mul(n)).unwrap_or(0);
    let total: usize = from.iter().product();
    let mut open = 0;
    let sizes = list.iter().map(|value| match size(value) {
        Some(n) => Some(n),
        None if value.as_i64() == Some(-1) && known > 0 && total.is_multiple_of(known) => {
            open += 1;
            Some(total / known)
        }
        None => None,
    });
    let sizes: Option<Vec<usize>> = sizes.collect();
    sizes.filter(|_| open <= 1).ok_or_else(|| settings.wrong("target_shape", expected))
}

/// Succeeds if a layer works on the last of `rank` axes, not counting the batch's.
fn last_axis(settings: Settings, rank: usize, default: i64) -> Result<(), String> {
    let axis = match settings.get("axis") {
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_i64(),
        Some(value) => value.as_i64(),
        None => Some(default),
    };
    match axis {
        Some(axis) if axis == -1 || axis == rank as i64 => Ok(()),
        _ => Err(settings.wrong("axis", "-1, the last")),
    }
}

fn leaky(slope: f32) -> Result<Nonlinearity, String> {
    match slope {
        0.0 => Ok(Nonlinearity::Relu),
        slope if (0.0..=1.0).contains(&slope) => Ok(Nonlinearity::LeakyRelu(slope)),
        slope => Err(format!("has a slope of {slope} below zero; expected one from 0 to 1")),
    }
}

fn relu(settings: Settings) -> Result<Nonlinearity, String> {
    if settings.get("max_value").is_some() || settings.number_or("threshold", 0.0)? != 0.0 {
        return Err("has a max_value or a threshold, which this program's relu lacks".into());
    }
    leaky(settings.number_or("negative_slope", 0.0)? as f32)
}

fn leaky_relu(settings: Settings) -> Result<Nonlinearity, String> {
    // Keras 2 calls it alpha.
    let alpha = settings.number_or("alpha", 0.3)?;
    leaky(settings.number_or("negative_slope", alpha)? as f32)
}

fn softmax(settings: Settings, rank: usize) -> Result<Nonlinearity, String> {
    last_axis(settings, rank, -1)?;
    Ok(Nonlinearity::Softmax)
}

/// What a layer's `activation` stands for, on `rank` axes, not counting the batch's; `None` for linear.
fn activation(settings: Settings, rank: usize) -> Result<Option<Nonlinearity>, String> {
    let Some(value) = settings.get("activation") else { return Ok(None) };
    let class = value.get("class_name").and_then(Value::as_str);
    let inner = value.get("config");
    // It may be a whole layer.
    let own = Settings(inner.unwrap_or(&Value::Null));
    match class {
        Some("ReLU") => return relu(own).map(Some),
        Some("LeakyReLU") => return leaky_relu(own).map(Some),
        Some("Softmax") => return softmax(own, rank).map(Some),
        _ => {}
    }
    // A function by name, or a record of one.
    let word = value.as_str().or_else(|| inner?.as_str()).or(class).unwrap_or_default();
    match word {
        "linear" => Ok(None),
        "relu" => Ok(Some(Nonlinearity::Relu)),
        "leaky_relu" => Ok(Some(Nonlinearity::LeakyRelu(0.2))),
        "sigmoid" => Ok(Some(Nonlinearity::Sigmoid)),
        "tanh" => Ok(Some(Nonlinearity::Tanh)),
        "softmax" => Ok(Some(Nonlinearity::Softmax)),
        _ => Err(settings.wrong("activation", "linear, relu, leaky_relu, sigmoid, tanh or softmax")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a layer of a class stands for as the activation of another layer, whose result is an image.
    fn as_activation(class: &str, config: Value) -> Result<Option<Nonlinearity>, String> {
        let value = json!({ "activation": { "module": "keras.layers", "class_name": class, "config": config } });
        activation(Settings(&value), 3)
    }

    #[test]
    fn a_layer_as_an_activation_has_its_settings() {
        let none = json!({ "max_value": null, "threshold": 0.0, "negative_slope": 0.0 });
        assert_eq!(as_activation("ReLU", none), Ok(Some(Nonlinearity::Relu)));
        let sloped = as_activation("ReLU", json!({ "negative_slope": 0.25 }));
        assert_eq!(sloped, Ok(Some(Nonlinearity::LeakyRelu(0.25))));
        let sloped = as_activation("LeakyReLU", json!({ "alpha": 0.5 }));
        assert_eq!(sloped, Ok(Some(Nonlinearity::LeakyRelu(0.5))));
        assert_eq!(as_activation("Softmax", json!({ "axis": -1 })), Ok(Some(Nonlinearity::Softmax)));
    }

    #[test]
    fn a_layer_as_an_activation_is_refused_where_the_layer_is() {
        for (class, config) in [
            ("ReLU", json!({ "max_value": 6.0 })),
            ("ReLU", json!({ "max_value": [6.0, 6.0] })),
            ("ReLU", json!({ "threshold": 1.0 })),
            ("ReLU", json!({ "negative_slope": 2.0 })),
            ("LeakyReLU", json!({ "negative_slope": -0.5 })),
            ("Softmax", json!({ "axis": 1 })),
        ] {
            assert!(as_activation(class, config.clone()).is_err(), "{class} {config}");
        }
    }

    #[test]
    fn a_function_as_an_activation_goes_by_its_name() {
        let record = json!({ "activation": { "class_name": "function", "config": "tanh" } });
        assert_eq!(activation(Settings(&record), 1), Ok(Some(Nonlinearity::Tanh)));
        assert_eq!(activation(Settings(&json!({ "activation": "linear" })), 1), Ok(None));
    }

    #[test]
    fn a_pool_that_pads_its_image_is_refused_whichever_side_it_pads() {
        let pool = |image: [usize; 3], window: usize, stride: usize| {
            let value = json!({ "pool_size": [window, window], "strides": [stride, stride], "padding": "same" });
            windows(image, Settings(&value))
        };
        assert_eq!((pool([4, 6, 1], 2, 2), pool([4, 3, 1], 1, 2)), (Ok((2, 2)), Ok((1, 2))));
        for (image, window, stride) in [([5, 4, 1], 2, 2), ([4, 5, 1], 2, 2), ([4, 4, 1], 3, 1), ([2, 2, 1], 3, 3)] {
            let error = pool(image, window, stride).unwrap_err();
            assert!(error.contains("expected padding \"valid\""), "{image:?}: {error}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_taken_for_the_default() {
        let three = json!([0.1, 0.2, 0.3]);
        let error = rescaling(Settings(&json!({ "scale": 1.0, "offset": three }))).unwrap_err();
        assert_eq!(error, "has offset [0.1,0.2,0.3]; expected a number");
        for key in ["threshold", "negative_slope"] {
            assert!(relu(Settings(&json!({ key: three }))).unwrap_err().contains(key));
        }
        for key in ["alpha", "negative_slope"] {
            assert!(leaky_relu(Settings(&json!({ key: three }))).unwrap_err().contains(key));
        }
        // No slope, and one that Keras wrote as an array.
        assert_eq!(leaky_relu(Settings(&json!({}))), Ok(Nonlinearity::LeakyRelu(0.3)));
        assert_eq!(leaky_relu(Settings(&json!({ "alpha": [0.5] }))), Ok(Nonlinearity::LeakyRelu(0.5)));
    }
}
