//! Each of ONNX's operators in this program's terms.

use super::import::{Axes, Reader, Value, foreign, spelled};
use super::proto::NodeProto;
use super::tensor::{Constant, Data};
use crate::interchange::draft::{Flow, From};
use crate::interchange::fit::{self, Axis};
use crate::interchange::layout::{kernel_from_torch, permute, transposed_from_torch};
use crate::interchange::scale::Scale;
use crate::models::{Conv, Kind, MAX_SIZE, Nonlinearity, Units, by};

/// What is read, for the error of an operator that is not.
const KNOWN: &str = "Conv, ConvTranspose, Gemm, MatMul, AveragePool, MaxPool, GlobalAveragePool, GlobalMaxPool, \
    ReduceMean, Resize, Pad, BatchNormalization, Relu, LeakyRelu, Sigmoid, Tanh, Softmax, Flatten, Reshape, Transpose, \
    Squeeze, Concat, Add, Sum, Sub, Mul, Div, ReduceSum, Dropout, Identity, Constant, Shape, Gather, Unsqueeze, Cast";

impl<'a> Reader<'a> {
    /// Reads one node, all of whose inputs were read before.
    ///
    /// # Errors
    /// What this program cannot say, without the node's name.
    pub fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        let Some(out) = node.output.first() else { return Err("gives nothing".into()) };
        let domain = node.domain.as_str();
        if !matches!(domain, "" | "ai.onnx") {
            return Err(format!("is an operator of {domain:?}, which this program does not know"));
        }
        let value = match node.op_type.as_str() {
            "Constant" => Value::Constant(node.constant()?),
            "Identity" | "Dropout" | "Cast" => self.value(node, 0)?.clone(),
            "Shape" | "Gather" | "Unsqueeze" | "Squeeze" | "Concat" if self.is_sizes(node) => self.sizes(node)?,
            "Sub" | "Add" | "Mul" | "Div" => self.arithmetic(node)?,
            "Sum" => self.sum(node)?,
            "Conv" => self.conv(node)?,
            "ConvTranspose" => self.conv_transposed(node)?,
            "Gemm" | "MatMul" => self.dense(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "Relu" => self.activate(node, Nonlinearity::Relu)?,
            "LeakyRelu" => {
                let slope = node.float("alpha").unwrap_or(0.01);
                if !(0.0..=1.0).contains(&slope) {
                    return Err(format!("has a slope of {slope} below zero; expected one from 0 to 1"));
                }
                self.activate(node, Nonlinearity::LeakyRelu(slope))?
            }
            "Sigmoid" => self.activate(node, Nonlinearity::Sigmoid)?,
            "Tanh" => self.activate(node, Nonlinearity::Tanh)?,
            "Softmax" | "LogSoftmax" => self.softmax(node)?,
            "MaxPool" | "AveragePool" => self.pool(node)?,
            "GlobalAveragePool" | "GlobalMaxPool" => {
                let (from, axes) = self.image(node)?;
                if axes == Axes::ChannelsLast {
                    return Err("takes an image whose channels come last".into());
                }
                let average = node.op_type == "GlobalAveragePool";
                let out = self.draft.push_global_pool(average, true, from, None)?;
                self.flow(out, axes)
            }
            "ReduceMean" | "ReduceSum" => self.reduce(node)?,
            "Resize" | "Upsample" => self.resize(node)?,
            "Pad" => self.pad(node)?,
            "Flatten" => {
                let (from, axes) = self.settled(node, 0)?;
                let rank = self.draft.shape(from).len() as i64 + 1;
                if !matches!(node.int("axis").unwrap_or(1), axis if axis == 1 || axis == 1 - rank) {
                    return Err("flattens from another axis than 1".into());
                }
                let total = self.draft.shape(from).iter().product();
                self.reshape_to(from, axes, vec![total], out)?
            }
            "Reshape" => self.reshape(node)?,
            "Squeeze" => self.squeeze(node)?,
            "Transpose" => self.transpose(node)?,
            "Concat" => self.concat(node)?,
            other => {
                return Err(format!("this program has no layer for {other}; of ONNX's operators it reads {KNOWN}"));
            }
        };
        self.values.insert(out, value);
        Ok(())
    }

    fn value(&self, node: &NodeProto, at: usize) -> Result<&Value, String> {
        let name = node.input.get(at).map(String::as_str).unwrap_or_default();
        self.values.get(name).ok_or_else(|| format!("takes {name:?}, which no node above it gives"))
    }

    /// A constant among the inputs; `None` where that input is left out.
    fn constant(&self, node: &NodeProto, at: usize) -> Result<Option<&Constant>, String> {
        match node.input.get(at).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => match self.value(node, at)? {
                Value::Constant(constant) => Ok(Some(constant)),
                _ => Err(format!("takes {name:?} for its input {at}; expected a constant")),
            },
        }
    }

    fn floats(&self, node: &NodeProto, at: usize) -> Result<Option<Vec<f32>>, String> {
        let Some(constant) = self.constant(node, at)? else { return Ok(None) };
        constant.floats().map(|data| Some(data.to_vec())).ok_or_else(|| format!("its input {at} is not float32"))
    }

    fn flow_of(&self, node: &NodeProto, at: usize) -> Result<(Flow, Axes), String> {
        match self.value(node, at)? {
            Value::Flow(flow, axes) => Ok((*flow, *axes)),
            _ => Err(format!("takes a constant or a size for its input {at}; expected what comes of the image")),
        }
    }

    /// An input that comes of the image, without padding around it.
    fn settled(&mut self, node: &NodeProto, at: usize) -> Result<(From, Axes), String> {
        let (flow, axes) = self.flow_of(node, at)?;
        Ok((self.draft.settle(flow)?, axes))
    }

    fn image(&mut self, node: &NodeProto) -> Result<(From, Axes), String> {
        let (from, axes) = self.settled(node, 0)?;
        self.draft.image(from)?;
        Ok((from, axes))
    }

    fn flow(&self, from: From, axes: Axes) -> Value {
        Value::Flow(Flow::of(from), axes)
    }

    fn is_last_use(&self, name: &str) -> bool {
        self.uses.get(name) == Some(&1)
    }

    /// What the layer is called: what its weights are named by, or the node.
    fn label(&self, node: &NodeProto) -> String {
        let weight = node.input.get(1).and_then(|name| name.strip_suffix(".weight"));
        let of_node = node.name.trim_start_matches('/').trim_end_matches(&format!("/{}", node.op_type));
        match weight {
            Some(name) => name.into(),
            None if !of_node.is_empty() => of_node.into(),
            None => node.op_type.to_lowercase(),
        }
    }

    // --- sizes that the graph works out for itself -----------------------------------

    fn is_sizes(&self, node: &NodeProto) -> bool {
        let sizes = |name: &String| matches!(self.values.get(name.as_str()), Some(Value::Sizes(_)));
        node.op_type == "Shape" || node.input.iter().any(sizes)
    }

    fn sizes(&self, node: &NodeProto) -> Result<Value, String> {
        let of = |at: usize| match self.value(node, at)? {
            Value::Sizes(sizes) => Ok(sizes.clone()),
            Value::Constant(Constant { data: Data::Ints(ints), .. }) => Ok(ints.iter().map(|n| Some(*n)).collect()),
            _ => Err(format!("takes something else than sizes for its input {at}")),
        };
        Ok(Value::Sizes(match node.op_type.as_str() {
            "Shape" => {
                let (flow, axes) = self.flow_of(node, 0)?;
                let sizes = foreign(self.draft.shape(flow.from), axes).into_iter().map(|n| Some(n as i64));
                std::iter::once(None).chain(sizes).collect()
            }
            "Gather" => {
                let all = of(0)?;
                let index = self.constant(node, 1)?.and_then(|c| c.ints().map(<[i64]>::to_vec)).unwrap_or_default();
                let len = all.len() as i64;
                let one = |i: &i64| all.get(usize::try_from(if *i < 0 { i + len } else { *i }).ok()?).copied();
                let found: Option<Vec<Option<i64>>> = index.iter().map(one).collect();
                found.ok_or("gathers sizes that are not there")?
            }
            "Concat" => {
                let mut all = Vec::new();
                for at in 0..node.input.len().min(64) {
                    all.extend(of(at)?);
                }
                all
            }
            _ => of(0)?,
        }))
    }

    // --- arithmetic -----------------------------------------------------------------

    fn arithmetic(&mut self, node: &NodeProto) -> Result<Value, String> {
        let op = node.op_type.as_str();
        let constant_at = |reader: &Self, at: usize| {
            matches!(node.input.get(at).and_then(|name| reader.values.get(name.as_str())), Some(Value::Constant(_)))
        };
        let at = match (constant_at(self, 0), constant_at(self, 1)) {
            (false, false) if op == "Add" => return self.sum(node),
            (false, false) if op == "Mul" => {
                let (a, b) = (self.settled(node, 0)?.0, self.settled(node, 1)?.0);
                if self.draft.shape(a).len() != 1 || self.draft.shape(a) != self.draft.shape(b) {
                    return Err("multiplies two images, which this program has no layer for".into());
                }
                return Ok(Value::Product(a, b));
            }
            (false, true) => 1,
            (true, false) if matches!(op, "Add" | "Mul") => 0,
            _ => return Err("is arithmetic that this program has no layer for".into()),
        };
        let (flow, axes) = self.flow_of(node, 1 - at)?;
        if let Some(x) = self.constant(node, at)?.and_then(Constant::scalar)
            && flow.from == self.draft.entry
        {
            let x = f64::from(x);
            let by = match op {
                "Sub" => Scale { mean: x, std: 1.0 },
                "Add" => Scale { mean: -x, std: 1.0 },
                "Div" => Scale { mean: 0.0, std: x },
                _ => Scale { mean: 0.0, std: 1.0 / x },
            };
            return Ok(Value::Flow(self.draft.rescale(flow, by)?, axes));
        }
        // A bias that stands as a node of its own.
        if op == "Add"
            && let From::Step(step) = flow.from
            && self.is_last_use(&node.input[1 - at])
            && let Some(data) = self.floats(node, at)?
        {
            let step = &mut self.draft.steps[step];
            let c = step.shape.last().copied().unwrap_or(1);
            let free = step.activation.is_none() && step.tensor("bias").is_none();
            let bias = match &mut step.kind {
                Kind::Dense { bias, .. } => Some(bias),
                Kind::Conv(conv) | Kind::ConvTransposed(conv) => Some(&mut conv.bias),
                _ => None,
            };
            if let Some(bias) = bias
                && free
                && data.len() == c
            {
                *bias = true;
                step.tensors.push(("bias", data));
                return Ok(Value::Flow(flow, axes));
            }
        }
        Err("is arithmetic with constants other than a scaling of the image and a bias".into())
    }

    fn sum(&mut self, node: &NodeProto) -> Result<Value, String> {
        let all: Vec<(From, Axes)> =
            (0..node.input.len()).map(|at| self.settled(node, at)).collect::<Result<_, String>>()?;
        let (inputs, axes): (Vec<From>, Vec<Axes>) = all.into_iter().unzip();
        self.same_axes(&inputs, &axes)?;
        match inputs[..] {
            [] => Err("takes nothing".into()),
            [only] => Ok(self.flow(only, axes[0])),
            _ => {
                let out = self.draft.push(Kind::Add { from: Vec::new() }, &inputs, None, Vec::new())?;
                Ok(self.flow(out, axes[0]))
            }
        }
    }

    fn same_axes(&self, inputs: &[From], axes: &[Axes]) -> Result<(), String> {
        let images = inputs.iter().zip(axes).filter(|(from, _)| self.draft.shape(**from).len() == 3);
        let found: Vec<Axes> = images.map(|(_, axes)| *axes).collect();
        if found.iter().any(|axes| *axes != found[0]) {
            return Err("takes images with different orders of axes".into());
        }
        Ok(())
    }

    // --- layers with weights ----------------------------------------------------------

    /// Kernel size, stride and padding of a node; the kernel is `[r, s]`.
    fn window(&self, node: &NodeProto, kernel: [usize; 2], from: From) -> Result<(usize, [[usize; 2]; 2]), String> {
        let sizes = |name: &str, count: usize, default: i64| -> Result<Vec<usize>, String> {
            let default = vec![default; count];
            let list = node.ints(name).filter(|list| !list.is_empty()).unwrap_or(&default);
            let list: Option<Vec<usize>> =
                list.iter().map(|n| usize::try_from(*n).ok().filter(|n| *n <= MAX_SIZE)).collect();
            let list = list.filter(|list| list.len() == count);
            list.ok_or_else(|| format!("has {name} {:?}; expected {count} whole numbers", node.ints(name)))
        };
        if sizes("dilations", 2, 1)? != [1, 1] {
            return Err("has dilations; expected none".into());
        }
        let strides = sizes("strides", 2, 1)?;
        if strides[0] != strides[1] || strides[0] == 0 {
            return Err(format!("has strides {strides:?}; expected the same for rows and columns"));
        }
        let stride = strides[0];
        let [h, w, _] = self.draft.image(from)?;
        let pads = match node.text("auto_pad") {
            None | Some("" | "NOTSET") => {
                let pads = sizes("pads", 4, 0)?;
                [[pads[0], pads[2]], [pads[1], pads[3]]]
            }
            Some("VALID") => [[0; 2]; 2],
            Some(word @ ("SAME_UPPER" | "SAME_LOWER")) if node.op_type != "ConvTranspose" => {
                let side = |size: usize, r: usize| {
                    let total = ((size.div_ceil(stride) - 1) * stride + r).saturating_sub(size);
                    let [less, more] = [total / 2, total - total / 2];
                    if word == "SAME_UPPER" { [less, more] } else { [more, less] }
                };
                [side(h, kernel[0]), side(w, kernel[1])]
            }
            Some(word) => return Err(format!("has auto_pad {word:?}; expected pads in numbers")),
        };
        Ok((stride, pads))
    }

    fn kernel(&self, node: &NodeProto) -> Result<(Vec<f32>, [usize; 4]), String> {
        if node.int("group").is_some_and(|group| group != 1) {
            return Err("has groups; expected one".into());
        }
        let constant = self.constant(node, 1)?.ok_or("has no weights")?;
        let dims: [usize; 4] = constant.dims[..]
            .try_into()
            .map_err(|_| format!("has weights of {:?}; expected four sizes, for images", constant.dims))?;
        if dims.contains(&0) {
            return Err(format!("has weights of {dims:?}"));
        }
        Ok((constant.floats().ok_or("its weights are not float32")?.to_vec(), dims))
    }

    fn conv(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        let from = self.draft.settle_padded(flow)?;
        let (data, [k, c, r, s]) = self.kernel(node)?;
        self.first(axes, self.draft.image(from)?[2], c)?;
        let (stride, pads) = self.window(node, [r, s], from)?;
        let [h, w, _] = self.draft.image(from)?;
        let axis = |size: usize, kernel: usize, own: [usize; 2], more: [usize; 2]| {
            let whole = size + own[0] + own[1] + more[0] + more[1];
            let room =
                whole.checked_sub(kernel).ok_or_else(|| format!("its kernel of {r}x{s} does not fit {h}x{w}"))?;
            Ok::<Axis, String>(Axis { size, kernel, before: own[0] + more[0], out: room / stride + 1 })
        };
        let both = [axis(h, r, pads[0], flow.pad[0])?, axis(w, s, pads[1], flow.pad[1])?];
        let (padding, growth) = fit::conv(both, stride).ok_or("has more padding than this program can say")?;
        let conv = Conv { channels: k, kernel: [r, s], stride, padding, bias: false };
        let tensors = [Some(kernel_from_torch(&data, [k, c, r, s])), self.floats(node, 2)?];
        let label = self.label(node);
        let out = self.draft.push_conv(false, conv, growth, from, Some(&label), tensors)?;
        Ok(self.flow(out, axes))
    }

    fn conv_transposed(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let (data, [c, k, r, s]) = self.kernel(node)?;
        self.first(axes, self.draft.image(from)?[2], c)?;
        if node.ints("output_shape").is_some_and(|sizes| !sizes.is_empty()) {
            return Err("has an output_shape; expected pads in numbers".into());
        }
        let (stride, pads) = self.window(node, [r, s], from)?;
        let more = match node.ints("output_padding") {
            None | Some([]) => [0, 0],
            Some(&[a, b]) if (0..stride as i64).contains(&a) && (0..stride as i64).contains(&b) => {
                [a as usize, b as usize]
            }
            Some(other) => return Err(format!("has an output_padding of {other:?}")),
        };
        let [h, w, _] = self.draft.image(from)?;
        let axis = |size: usize, kernel: usize, pad: [usize; 2], more: usize| {
            let out = ((size - 1) * stride + kernel + more).checked_sub(pad[0] + pad[1]).filter(|out| *out > 0);
            let out = out.ok_or("its padding leaves no image")?;
            Ok::<Axis, String>(Axis { size, kernel, before: pad[0], out })
        };
        let both = [axis(h, r, pads[0], more[0])?, axis(w, s, pads[1], more[1])?];
        let (padding, growth) = fit::transposed(both, stride).ok_or("has a padding that this program cannot say")?;
        let conv = Conv { channels: k, kernel: [r, s], stride, padding, bias: false };
        let tensors = [Some(transposed_from_torch(&data, [c, k, r, s])), self.floats(node, 2)?];
        let label = self.label(node);
        let out = self.draft.push_conv(true, conv, growth, from, Some(&label), tensors)?;
        Ok(self.flow(out, axes))
    }

    /// Nothing, for an image with its channels first and as many as the weights are for.
    fn first(&self, axes: Axes, found: usize, wanted: usize) -> Result<(), String> {
        if axes == Axes::ChannelsLast {
            return Err("takes an image whose channels come last; ONNX has them first".into());
        }
        if found != wanted {
            return Err(format!("has weights for {wanted} channels, the image has {found}"));
        }
        Ok(())
    }

    fn dense(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let &[c] = self.draft.shape(from) else {
            let shape = spelled(self.draft.shape(from), axes);
            return Err(format!("is given {shape}; expected a row of numbers for each image"));
        };
        let constant = self.constant(node, 1)?.ok_or("has no weights")?;
        let &[rows, columns] = &constant.dims[..] else {
            return Err(format!("has weights of {:?}; expected two sizes", constant.dims));
        };
        let data = constant.floats().ok_or("its weights are not float32")?;
        let is_one = |name: &str| node.float(name).is_none_or(|x| x == 1.0);
        if node.int("transA").unwrap_or(0) != 0 || !is_one("alpha") || !is_one("beta") {
            return Err("has transA, alpha or beta; expected 0, 1 and 1".into());
        }
        let transposed = node.int("transB").unwrap_or(0) != 0;
        let (inputs, units) = if transposed { (columns, rows) } else { (rows, columns) };
        if inputs != c {
            return Err(format!("has weights for {inputs} numbers, but is given {c}"));
        }
        let weight = if transposed { permute(data, [rows, columns], [1, 0]) } else { data.to_vec() };
        let bias = if node.op_type == "Gemm" { self.floats(node, 2)? } else { None };
        let kind = Kind::Dense { units: Units::Count(units), bias: bias.is_some() };
        let mut tensors = vec![("weight", weight)];
        tensors.extend(bias.map(|bias| ("bias", bias)));
        let label = self.label(node);
        let out = self.draft.push(kind, &[from], Some(&label), tensors)?;
        Ok(self.flow(out, Axes::ChannelsFirst))
    }

    fn batch_norm(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        if node.int("training_mode").unwrap_or(0) != 0 {
            return Err("takes the batch's statistics; export the model in evaluation mode".into());
        }
        let shape = self.draft.shape(from).to_vec();
        match shape.len() {
            1 => {}
            3 => self.first(axes, shape[2], shape[2])?,
            _ => return Err(format!("normalizes {}; expected an image or a row of numbers", by(&shape))),
        }
        let tensors = [self.floats(node, 1)?, self.floats(node, 2)?, self.floats(node, 3)?, self.floats(node, 4)?];
        let (epsilon, momentum) = (node.float("epsilon").unwrap_or(1e-5), node.float("momentum").unwrap_or(0.9));
        let label = self.label(node);
        let out = self.draft.push_batch_norm(epsilon, momentum, from, Some(&label), tensors)?;
        Ok(self.flow(out, axes))
    }

    // --- activations and pools ----------------------------------------------------------

    fn activate(&mut self, node: &NodeProto, activation: Nonlinearity) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let out = self.draft.activate(from, Some(activation))?;
        Ok(self.flow(out, axes))
    }

    fn softmax(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let rank = self.draft.shape(from).len() as i64;
        let channels = if rank == 3 && axes == Axes::ChannelsFirst { 1 } else { rank };
        let axis = node.int("axis").unwrap_or(if rank == 1 { 1 } else { -1 });
        if axis != channels && axis + rank + 1 != channels {
            return Err(format!("is over axis {axis}; expected the channels', {channels}"));
        }
        // At the end, the softmax of a logarithm of a softmax is that softmax again.
        let taken = |other: &NodeProto| other.input.iter().any(|name| node.output.first() == Some(name));
        if node.op_type == "LogSoftmax" && self.nodes.iter().any(taken) {
            return Err("stands before other nodes; this program has it only at the end".into());
        }
        let out = self.draft.activate(from, Some(Nonlinearity::Softmax))?;
        Ok(self.flow(out, axes))
    }

    fn pool(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let [h, w, c] = self.draft.image(from)?;
        self.first(axes, c, c)?;
        let Some(&[r, s]) = node.ints("kernel_shape") else { return Err("has no kernel_shape of two sizes".into()) };
        let sizes = [r, s].map(|n| usize::try_from(n).ok().filter(|n| (1..=MAX_SIZE).contains(n)));
        let [Some(window), Some(other)] = sizes else { return Err(format!("has windows of {r}x{s}")) };
        if window != other {
            return Err(format!("has windows of {r}x{s}; expected squares"));
        }
        let (stride, pads) = self.window(node, [window, window], from)?;
        if pads != [[0; 2]; 2] {
            return Err("pads its image; expected no padding, or a pool that fits".into());
        }
        let fits = |size: usize| size >= window && (size - window).is_multiple_of(stride);
        if node.int("ceil_mode").unwrap_or(0) != 0 && !(fits(h) && fits(w)) {
            return Err("has ceil_mode where its windows do not fit; expected 0".into());
        }
        let kind = match node.op_type.as_str() {
            "MaxPool" => Kind::MaxPool { window, stride },
            _ => Kind::AvgPool { window, stride },
        };
        let out = self.draft.push(kind, &[from], None, Vec::new())?;
        Ok(self.flow(out, axes))
    }

    fn reduce(&mut self, node: &NodeProto) -> Result<Value, String> {
        let axes_given = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => self.constant(node, 1)?.and_then(|c| c.ints().map(<[i64]>::to_vec)).unwrap_or_default(),
        };
        let keep = node.int("keepdims").unwrap_or(1) != 0;
        if let Value::Product(a, b) = *self.value(node, 0)? {
            if node.op_type != "ReduceSum" || !matches!(axes_given[..], [1 | -1]) || !keep {
                return Err("is of a product, which this program has only as an inner product with keepdims".into());
            }
            let out = self.draft.push(Kind::Dot { from: Vec::new() }, &[a, b], None, Vec::new())?;
            return Ok(self.flow(out, Axes::ChannelsFirst));
        }
        let (from, axes) = self.image(node)?;
        let mut over: Vec<i64> = axes_given.iter().map(|axis| if *axis < 0 { axis + 4 } else { *axis }).collect();
        over.sort_unstable();
        let wanted = if axes == Axes::ChannelsFirst { [2, 3] } else { [1, 2] };
        if node.op_type != "ReduceMean" || over != wanted {
            return Err(format!("is over axes {axes_given:?}; expected the mean over an image's rows and columns"));
        }
        let out = self.draft.push_global_pool(true, keep, from, None)?;
        Ok(self.flow(out, axes))
    }

    // --- sizes and axes ---------------------------------------------------------------

    fn resize(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let [h, w, c] = self.draft.image(from)?;
        self.first(axes, c, c)?;
        if !matches!(node.text("mode"), None | Some("nearest")) {
            return Err(format!("interpolates by {:?}; expected \"nearest\"", node.text("mode").unwrap_or_default()));
        }
        let last = node.input.len() - 1;
        let sizes = self.constant(node, last)?.ok_or("has neither scales nor sizes")?;
        let scales: Vec<f64> = match &sizes.data {
            Data::Floats(scales) => scales.iter().map(|x| f64::from(*x)).collect(),
            Data::Ints(sizes) => match sizes[..] {
                [_, channels, rows, columns] => {
                    vec![1.0, channels as f64 / c as f64, rows as f64 / h as f64, columns as f64 / w as f64]
                }
                _ => vec![],
            },
        };
        let &[n, channels, rows, columns] = &scales[..] else { return Err(format!("scales by {scales:?}")) };
        let factor = rows as usize;
        if n != 1.0 || channels != 1.0 || rows != columns || rows < 1.0 || factor as f64 != rows || factor > MAX_SIZE {
            return Err(format!("scales by {scales:?}; expected one whole factor for rows and columns"));
        }
        // With a whole factor these agree on which pixel is nearest.
        let (by, rounding) = (node.text("coordinate_transformation_mode"), node.text("nearest_mode"));
        let same = match by {
            Some("asymmetric") => matches!(rounding, Some("floor")),
            None | Some("half_pixel" | "pytorch_half_pixel") => {
                matches!(rounding, None | Some("round_prefer_floor" | "round_prefer_ceil"))
            }
            _ => false,
        };
        if !same && node.op_type == "Resize" {
            return Err(format!(
                "takes the nearest pixel by {by:?} and {rounding:?}; expected \"asymmetric\" and \"floor\""
            ));
        }
        let out = self.draft.push(Kind::Upsample { factor }, &[from], None, Vec::new())?;
        Ok(self.flow(out, axes))
    }

    fn pad(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        self.draft.image(flow.from)?;
        if !matches!(node.text("mode"), None | Some("constant")) || self.constant(node, 3)?.is_some() {
            return Err("pads by other than zeros on each side of the image".into());
        }
        if self.constant(node, 2)?.is_some_and(|value| value.scalar() != Some(0.0)) {
            return Err("pads with another value than 0".into());
        }
        let pads = match node.ints("pads") {
            Some(pads) => pads.to_vec(),
            None => self.constant(node, 1)?.and_then(|c| c.ints().map(<[i64]>::to_vec)).unwrap_or_default(),
        };
        let sizes: Vec<usize> =
            pads.iter().filter_map(|n| usize::try_from(*n).ok().filter(|n| *n <= 1 << 10)).collect();
        let spatial = if axes == Axes::ChannelsFirst { [2, 3] } else { [1, 2] };
        let is_spatial = |i: usize| spatial.contains(&(i % 4));
        if sizes.len() != 8 || (0..8).any(|i| !is_spatial(i) && sizes[i] != 0) {
            return Err(format!("pads by {pads:?}; expected rows and columns of zeros"));
        }
        let sum = |axis: usize| {
            let at = spatial[axis];
            [flow.pad[axis][0] + sizes[at], flow.pad[axis][1] + sizes[at + 4]]
        };
        Ok(Value::Flow(Flow { pad: [sum(0), sum(1)], ..flow }, axes))
    }

    fn reshape(&mut self, node: &NodeProto) -> Result<Value, String> {
        let target: Vec<Option<i64>> = match self.value(node, 1)? {
            Value::Sizes(sizes) => sizes.clone(),
            Value::Constant(Constant { data: Data::Ints(ints), .. }) => ints.iter().map(|n| Some(*n)).collect(),
            _ => return Err("is to a shape that is neither constant nor made of sizes".into()),
        };
        let (from, axes) = self.settled(node, 0)?;
        let given = foreign(self.draft.shape(from), axes);
        let total: usize = given.iter().product();
        let Some((batch, sizes)) = target.split_first() else { return Err("is to no shape".into()) };
        let is_batch = batch.is_none_or(|n| n == -1 || n == 0 || Some(n) == self.batch);
        let sizes: Option<Vec<i64>> = sizes.iter().copied().collect();
        let sizes = sizes.filter(|sizes| is_batch && (1..=4).contains(&sizes.len()));
        let sizes = sizes.ok_or_else(|| format!("is to {target:?}; expected the images first, each for itself"))?;
        let size = |i: usize, n: i64| match n {
            0 => given.get(i).copied(),
            -1 => Some(0),
            n => usize::try_from(n).ok().filter(|n| *n <= MAX_SIZE),
        };
        let sizes: Option<Vec<usize>> = sizes.iter().enumerate().map(|(i, n)| size(i, *n)).collect();
        let mut sizes = sizes.ok_or_else(|| format!("is to {target:?}"))?;
        let known = sizes.iter().filter(|n| **n > 0).try_fold(1usize, |all, n| all.checked_mul(*n)).unwrap_or(0);
        if let Some(open) = sizes.iter_mut().find(|n| **n == 0)
            && known > 0
        {
            *open = total / known;
        }
        if sizes.iter().try_fold(1usize, |all, n| all.checked_mul(*n)) != Some(total) {
            return Err(format!("cannot make {} of {}", by(&sizes), by(&given)));
        }
        self.reshape_to(from, axes, sizes, &node.output[0])
    }

    /// What is `out` there, of sizes `sizes` for each image, in the order of axes that whoever takes it has.
    fn reshape_to(&mut self, from: From, axes: Axes, sizes: Vec<usize>, out: &str) -> Result<Value, String> {
        let shape = self.draft.shape(from).to_vec();
        if foreign(&shape, axes) == sizes {
            return Ok(self.flow(from, axes));
        }
        // An image that is turned around next had its channels last.
        let turned = self.nodes.iter().any(|node| {
            node.op_type == "Transpose"
                && node.ints("perm") == Some(&[0, 3, 1, 2])
                && node.input.iter().any(|x| x == out)
        });
        let to = if turned { Axes::ChannelsLast } else { Axes::ChannelsFirst };
        let (kind, to) = match (&sizes[..], to) {
            ([_], _) => (Kind::Flatten, Axes::ChannelsFirst),
            (&[h, w, c], Axes::ChannelsLast) => (Kind::Reshape { shape: vec![h, w, c] }, to),
            (&[c, h, w], Axes::ChannelsFirst) => (Kind::Reshape { shape: vec![h, w, c] }, to),
            _ => (Kind::Reshape { shape: sizes.clone() }, to),
        };
        // Which end's axes decide: the image that is flattened, or the one that comes of it.
        let deciding = if shape.len() == 3 { axes } else { to };
        let before = self.draft.channels_first;
        self.draft.channels_first = deciding == Axes::ChannelsFirst && shape.len() != sizes.len();
        let pushed = self.draft.push(kind, &[from], None, Vec::new());
        self.draft.channels_first = before;
        if shape.len() == 3 && sizes.len() == 3 && (shape[2] != 1 || sizes.iter().filter(|n| **n == 1).count() == 0) {
            return Err(format!(
                "makes {} of {}; expected a row of numbers between",
                by(&sizes),
                spelled(&shape, axes)
            ));
        }
        Ok(self.flow(pushed?, to))
    }

    fn squeeze(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let shape = foreign(self.draft.shape(from), axes);
        let rest: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
        if rest.len() > 1 {
            return Err(format!("leaves {} of {}; expected one size", by(&rest), by(&shape)));
        }
        self.reshape_to(from, axes, vec![shape.iter().product()], &node.output[0])
    }

    fn transpose(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        self.draft.image(flow.from)?;
        match (node.ints("perm"), axes) {
            (Some([0, 2, 3, 1]), Axes::ChannelsFirst) => Ok(Value::Flow(flow, Axes::ChannelsLast)),
            (Some([0, 3, 1, 2]), Axes::ChannelsLast) => Ok(Value::Flow(flow, Axes::ChannelsFirst)),
            (perm, _) => Err(format!("turns axes around by {perm:?}; expected channels from first to last or back")),
        }
    }

    fn concat(&mut self, node: &NodeProto) -> Result<Value, String> {
        let all: Vec<(From, Axes)> =
            (0..node.input.len()).map(|at| self.settled(node, at)).collect::<Result<_, String>>()?;
        let (inputs, axes): (Vec<From>, Vec<Axes>) = all.into_iter().unzip();
        self.same_axes(&inputs, &axes)?;
        let Some(first) = inputs.first() else { return Err("takes nothing".into()) };
        let rank = self.draft.shape(*first).len() as i64;
        let channels = if rank == 3 && axes[0] == Axes::ChannelsFirst { 1 } else { rank };
        let axis = node.int("axis").unwrap_or(1);
        if axis != channels && axis + rank + 1 != channels {
            return Err(format!("joins along axis {axis}; expected the channels', {channels}"));
        }
        if inputs.len() == 1 {
            return Ok(self.flow(inputs[0], axes[0]));
        }
        let out = self.draft.push(Kind::Concat { from: Vec::new() }, &inputs, None, Vec::new())?;
        Ok(self.flow(out, axes[0]))
    }
}
