//! Each of ONNX's operators in this program's terms.

use super::import::{Axes, Reader, Value, foreign};
use super::proto::{NodeProto, is_float};
use super::tensor::Constant;
use crate::interchange::draft::{Flow, From};
use crate::models::{Kind, MAX_SIZE, Nonlinearity};

/// The operators that are read, for the error about one that is not.
const KNOWN: &str = "Conv, ConvTranspose, Gemm, MatMul, AveragePool, MaxPool, GlobalAveragePool, GlobalMaxPool, \
    ReduceMean, Resize, Pad, BatchNormalization, Relu, LeakyRelu, Sigmoid, Tanh, Softmax, Flatten, Reshape, Transpose, \
    Squeeze, Concat, Add, Sum, Sub, Mul, Div, ReduceSum, Dropout, Identity, Constant, Shape, Gather, Unsqueeze, Cast";

/// The version of the operators from which on a softmax is over one axis; before, it was over all from that one on.
const AXIS_ALONE: i64 = 13;

impl<'a> Reader<'a> {
    /// Reads one node; all of its inputs were read before.
    ///
    /// # Errors
    /// What this program cannot express, without the node's name.
    pub fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        let Some(out) = node.output.first() else { return Err("gives nothing".into()) };
        let domain = node.domain.as_str();
        if !matches!(domain, "" | "ai.onnx") {
            return Err(format!("is an operator of {domain:?}, which this program does not know"));
        }
        let value = match node.op_type.as_str() {
            "Constant" => Value::Constant(node.constant()?),
            "Identity" | "Dropout" => self.value(node, 0)?.clone(),
            "Cast" => self.cast(node)?,
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
                let (flow, axes) = self.unpadded(node)?;
                let rank = self.draft.shape(flow.from).len() as i64 + 1;
                if !matches!(node.int("axis").unwrap_or(1), axis if axis == 1 || axis == 1 - rank) {
                    return Err("flattens from another axis than 1".into());
                }
                let total = self.draft.shape(flow.from).iter().product();
                self.reshape_to(flow, axes, vec![total], out)?
            }
            "Reshape" => self.reshape(node)?,
            "Squeeze" => self.squeeze(node)?,
            "Unsqueeze" => self.unsqueeze(node)?,
            "Gather" => {
                return Err("takes parts of an image; this program reads it only of sizes that a graph computes".into());
            }
            "Transpose" => self.transpose(node)?,
            "Concat" => self.concat(node)?,
            other => {
                return Err(format!("this program has no layer for {other}; the ONNX operators it reads are {KNOWN}"));
            }
        };
        self.values.insert(out, value);
        Ok(())
    }

    pub(super) fn value(&self, node: &NodeProto, at: usize) -> Result<&Value, String> {
        let name = node.input.get(at).filter(|name| !name.is_empty()).ok_or_else(|| format!("lacks its input {at}"))?;
        self.values.get(name.as_str()).ok_or_else(|| format!("takes {name:?}, which no node above it gives"))
    }

    /// A constant among the inputs; `None` if that input is left out.
    pub(super) fn constant(&self, node: &NodeProto, at: usize) -> Result<Option<&Constant>, String> {
        match node.input.get(at).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => match self.value(node, at)? {
                Value::Constant(constant) => Ok(Some(constant)),
                _ => Err(format!("takes {name:?} for its input {at}; expected a constant")),
            },
        }
    }

    pub(super) fn floats(&self, node: &NodeProto, at: usize) -> Result<Option<Vec<f32>>, String> {
        let Some(constant) = self.constant(node, at)? else { return Ok(None) };
        constant.floats().map(|data| Some(data.to_vec())).ok_or_else(|| format!("its input {at} is not float32"))
    }

    pub(super) fn flow_of(&self, node: &NodeProto, at: usize) -> Result<(Flow, Axes), String> {
        match self.value(node, at)? {
            Value::Flow(flow, axes) => Ok((*flow, *axes)),
            _ => Err(format!(
                "takes a constant or a size for its input {at}; expected something computed from the image"
            )),
        }
    }

    /// An input that depends on the image, without padding around it.
    pub(super) fn settled(&mut self, node: &NodeProto, at: usize) -> Result<(From, Axes), String> {
        let (flow, axes) = self.flow_of(node, at)?;
        Ok((self.draft.settle(flow)?, axes))
    }

    /// The same for its first input, which nothing is done to yet.
    pub(super) fn unpadded(&self, node: &NodeProto) -> Result<(Flow, Axes), String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        self.draft.check_unpadded(flow)?;
        Ok((flow, axes))
    }

    pub(super) fn image(&mut self, node: &NodeProto) -> Result<(From, Axes), String> {
        let (from, axes) = self.settled(node, 0)?;
        self.draft.image(from)?;
        Ok((from, axes))
    }

    pub(super) fn flow(&self, from: From, axes: Axes) -> Value {
        Value::Flow(Flow::of(from), axes)
    }

    /// Whether a layer's output is used only once, under whatever names.
    pub(super) fn is_only_use(&self, from: From) -> bool {
        let same = self.values.iter().filter(|(_, value)| matches!(value, Value::Flow(flow, _) if flow.from == from));
        let (names, uses): (usize, usize) = same.fold((0, 0), |(names, uses), (name, _)| {
            (names + 1, uses + self.uses.get(name).copied().unwrap_or_default())
        });
        // Each name but the first is a use of another name, which leaves one use.
        uses == names
    }

    /// What the layer is called: after its weights' name, or after the node.
    pub(super) fn label(&self, node: &NodeProto) -> String {
        let weight = node.input.get(1).and_then(|name| name.strip_suffix(".weight"));
        let of_node = node.name.trim_start_matches('/').trim_end_matches(&format!("/{}", node.op_type));
        match weight {
            Some(name) => name.into(),
            None if !of_node.is_empty() => of_node.into(),
            None => node.op_type.to_lowercase(),
        }
    }

    pub(super) fn activate(&mut self, node: &NodeProto, activation: Nonlinearity) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let out = self.draft.activate(from, Some(activation))?;
        Ok(self.flow(out, axes))
    }

    pub(super) fn softmax(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.settled(node, 0)?;
        let sizes = foreign(self.draft.shape(from), axes);
        let rank = sizes.len() as i64;
        let channels = if rank == 3 && axes == Axes::ChannelsFirst { 1 } else { rank };
        let is_old = self.opset < AXIS_ALONE;
        let axis = node.int("axis").unwrap_or(if is_old { 1 } else { -1 });
        if axis != channels && axis != channels - rank - 1 {
            return Err(format!("is over axis {axis}; expected the channels', {channels}"));
        }
        if is_old && sizes[channels as usize..].iter().any(|size| *size != 1) {
            let version = self.opset;
            return Err(format!(
                "is over axis {axis} and all after it, as in version {version} of the operators; expected the channels \
                 of each pixel alone"
            ));
        }
        // At the end, the softmax of a log-softmax is that softmax again.
        let taken = |other: &NodeProto| other.input.iter().any(|name| node.output.first() == Some(name));
        if node.op_type == "LogSoftmax" && self.nodes.iter().any(taken) {
            return Err("comes before other nodes; this program has it only at the end".into());
        }
        let out = self.draft.activate(from, Some(Nonlinearity::Softmax))?;
        Ok(self.flow(out, axes))
    }

    pub(super) fn pool(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let [h, w, c] = self.draft.image(from)?;
        self.first(axes, c, c)?;
        let Some(&[r, s]) = node.ints("kernel_shape") else { return Err("has no kernel_shape of two sizes".into()) };
        let sizes = [r, s].map(|n| usize::try_from(n).ok().filter(|n| (1..=MAX_SIZE).contains(n)));
        let [Some(window), Some(other)] = sizes else { return Err(format!("has windows of {r}x{s}")) };
        if window != other {
            return Err(format!("has windows of {r}x{s}; expected squares"));
        }
        let (stride, pads) = self.window(node, [window, window], Flow::of(from))?;
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

    /// The axes that a node names: an attribute, and an input in later versions of the operators.
    pub(super) fn axes(&self, node: &NodeProto) -> Result<Vec<i64>, String> {
        Ok(match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => self.constant(node, 1)?.and_then(|c| c.ints().map(<[i64]>::to_vec)).unwrap_or_default(),
        })
    }

    /// A value in another type. Here the image's numbers are always floats.
    pub(super) fn cast(&self, node: &NodeProto) -> Result<Value, String> {
        let to = i32::try_from(node.int("to").unwrap_or(0)).unwrap_or(0);
        match self.value(node, 0)? {
            Value::Constant(constant) => constant.cast(to).map(Value::Constant),
            sizes @ Value::Sizes(_) => Ok(sizes.clone()),
            value if is_float(to) => Ok(value.clone()),
            _ => Err(format!("makes ONNX's type {to} of numbers that come from the image; expected float32 (1)")),
        }
    }

    pub(super) fn reduce(&mut self, node: &NodeProto) -> Result<Value, String> {
        let axes_given = self.axes(node)?;
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
}
