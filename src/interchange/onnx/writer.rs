//! Layers as nodes of an ONNX graph.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute};
use crate::interchange::layout::{kernel_to_torch, transposed_to_torch};
use crate::models::{Built, Conv, Kind, ModelError, ModelFile, Network, Nonlinearity, Parameters, Source, Values, by};

/// A graph that is being written. A layer's output is called by the layer's name and `.out`.
pub struct Writer<'a> {
    pub parameters: &'a Parameters,
    pub values: &'a Values,
    pub graph: GraphProto,
}

impl Writer<'_> {
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|name| name.to_string()).collect(),
            output: vec![output.into()],
            name: output.into(),
            op_type: op.into(),
            attribute,
            domain: String::new(),
        });
    }

    pub fn floats(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        self.graph.initializer.push(TensorProto::floats(name, dims, data));
        name.into()
    }
    pub fn float(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }
    pub fn ints(&mut self, name: &str, data: &[i64]) -> String {
        self.graph.initializer.push(TensorProto::ints(name, data));
        name.into()
    }

    /// Renames the value `from`, which nothing takes yet.
    pub fn rename(&mut self, from: &str, to: &str) {
        match self.graph.node.last_mut() {
            Some(node) if node.output[0] == from => node.output[0] = to.into(),
            _ => self.node("Identity", &[from], to, vec![]),
        }
    }

    /// Writes all layers of a model, starting from `input`; returns the name of the last one's output.
    pub fn network(
        &mut self,
        network: &Network,
        model: &ModelFile,
        input: &str,
        label: &str,
    ) -> Result<String, ModelError> {
        let mut outputs: Vec<String> = Vec::new();
        let classes = [network.classes.unwrap_or(0)];
        let whole = |source: &Source| match source {
            Source::Input => &network.input[..],
            Source::Label => &classes[..],
            Source::Layer(at) => &network.layers[*at].output,
        };
        for layer in &network.layers {
            let names: Vec<String> = layer
                .inputs
                .iter()
                .map(|source| match source {
                    Source::Input => input.to_string(),
                    Source::Label => label.to_string(),
                    Source::Layer(at) => outputs[*at].clone(),
                })
                .collect();
            let from = layer.inputs.first().map_or(&network.input[..], whole);
            let refused = |problem| model.refuse(format!("layer {:?}: {problem}", layer.name));
            let out = self.layer(layer, from, &names).map_err(refused)?;
            outputs.push(out);
        }
        Ok(outputs.pop().unwrap_or_else(|| input.to_string()))
    }

    fn layer(&mut self, layer: &Built, from: &[usize], inputs: &[String]) -> Result<String, String> {
        let taken: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let activation = layer.spec.activation;
        // Layers' names have no dots: with one added, they cannot clash with the graph's own values.
        let word = if activation.is_some() { "bare" } else { "out" };
        let bare = format!("{}.{word}", layer.name);
        let x = taken[0];
        match &layer.spec.kind {
            Kind::Conv(conv) => {
                let rows = conv.padding.resolve(from[0], conv.kernel[0], conv.stride);
                let columns = conv.padding.resolve(from[1], conv.kernel[1], conv.stride);
                let (Some(rows), Some(columns)) = (rows, columns) else { return Err("has no size".into()) };
                // How far the last window reaches beyond the end; if it falls short, the rest of the image is left out.
                let after = |(p, before): (usize, usize), size: usize, r: usize| {
                    ((p - 1) * conv.stride + r).saturating_sub(size + before)
                };
                let pads =
                    [rows.1, columns.1, after(rows, from[0], conv.kernel[0]), after(columns, from[1], conv.kernel[1])];
                let weight =
                    kernel_to_torch(self.weight(layer), [conv.kernel[0], conv.kernel[1], from[2], conv.channels]);
                let dims = [conv.channels, from[2], conv.kernel[0], conv.kernel[1]];
                self.conv(layer, "Conv", x, &bare, (&dims, &weight), conv, pads, vec![]);
            }
            Kind::ConvTransposed(conv) => {
                let rows = conv.padding.resolve_transposed(from[0], conv.kernel[0], conv.stride);
                let columns = conv.padding.resolve_transposed(from[1], conv.kernel[1], conv.stride);
                let (Some(rows), Some(columns)) = (rows, columns) else { return Err("has no size".into()) };
                // (p - 1) * stride + r - before - after + more = out
                let rest = |(out, before): (usize, usize), p: usize, r: usize| {
                    let full = (p - 1) * conv.stride + r;
                    (full.saturating_sub(out + before), (out + before).saturating_sub(full))
                };
                let (down, along) = (rest(rows, from[0], conv.kernel[0]), rest(columns, from[1], conv.kernel[1]));
                let pads = [rows.1, columns.1, down.0, along.0];
                let weight =
                    transposed_to_torch(self.weight(layer), [conv.kernel[0], conv.kernel[1], from[2], conv.channels]);
                let dims = [from[2], conv.channels, conv.kernel[0], conv.kernel[1]];
                let more = vec![ints("output_padding", &[down.1, along.1])];
                self.conv(layer, "ConvTranspose", x, &bare, (&dims, &weight), conv, pads, more);
            }
            Kind::Dense { .. } => {
                let name = format!("{}.weight", layer.name);
                let dims = [from[0], layer.output[0]];
                let weight = self.weight(layer).to_vec();
                self.floats(&name, &dims, &weight);
                let bias = self.bias(layer);
                let mut all = vec![x, &name];
                all.extend(bias.as_deref());
                self.node("Gemm", &all, &bare, vec![]);
            }
            Kind::AvgPool { window, stride } | Kind::MaxPool { window, stride } => {
                let op = if matches!(layer.spec.kind, Kind::AvgPool { .. }) { "AveragePool" } else { "MaxPool" };
                let sizes = vec![ints("kernel_shape", &[*window; 2]), ints("strides", &[*stride; 2])];
                self.node(op, &[x], &bare, sizes);
            }
            Kind::Upsample { factor } => {
                let factor = *factor as f32;
                let scales = self.floats(&format!("{}.scales", layer.name), &[4], &[1.0, 1.0, factor, factor]);
                let nearest = vec![
                    text("mode", "nearest"),
                    text("coordinate_transformation_mode", "asymmetric"),
                    text("nearest_mode", "floor"),
                ];
                self.node("Resize", &[x, "", &scales], &bare, nearest);
            }
            Kind::BatchNorm { epsilon, scale, .. } => self.batch_norm(layer, x, &bare, *epsilon, *scale)?,
            Kind::Activation => return Ok(self.activate(layer, x)),
            // Nothing is dropped once training is over.
            Kind::Dropout { .. } => match activation {
                None => return Ok(x.into()),
                Some(_) => return Ok(self.activate(layer, x)),
            },
            Kind::Flatten | Kind::Reshape { .. } => self.reshape(layer, from, x, &bare)?,
            Kind::Concat { .. } => self.node("Concat", &taken, &bare, vec![int("axis", axis(&layer.output))]),
            Kind::Add { .. } => {
                let mut sum = x.to_string();
                for (i, more) in taken[1..].iter().enumerate() {
                    let out = if i + 2 == taken.len() { bare.clone() } else { format!("{}.sum{i}", layer.name) };
                    self.node("Add", &[&sum, more], &out, vec![]);
                    sum = out;
                }
            }
            Kind::Dot { .. } => {
                let product = format!("{}.product", layer.name);
                let axes = self.ints(&format!("{}.axes", layer.name), &[1]);
                self.node("Mul", &taken, &product, vec![]);
                self.node("ReduceSum", &[&product, &axes], &bare, vec![int("keepdims", 1)]);
            }
        }
        Ok(if activation.is_some() { self.activate(layer, &bare) } else { bare })
    }

    #[allow(clippy::too_many_arguments)]
    fn conv(
        &mut self,
        layer: &Built,
        op: &str,
        x: &str,
        out: &str,
        (dims, weight): (&[usize; 4], &[f32]),
        conv: &Conv,
        pads: [usize; 4],
        mut attributes: Vec<AttributeProto>,
    ) {
        let name = self.floats(&format!("{}.weight", layer.name), dims, weight);
        let bias = self.bias(layer);
        let mut all = vec![x, &name];
        all.extend(bias.as_deref());
        attributes.push(ints("kernel_shape", &conv.kernel));
        attributes.push(ints("strides", &[conv.stride; 2]));
        attributes.push(ints("pads", &pads));
        self.node(op, &all, out, attributes);
    }

    fn batch_norm(&mut self, layer: &Built, x: &str, out: &str, epsilon: f32, scale: bool) -> Result<(), String> {
        if layer.output.len() == 2 || layer.output.len() > 3 {
            let c = layer.output.last().copied().unwrap_or(1);
            let pixels = layer.output.iter().product::<usize>() / c;
            return Err(format!(
                "ONNX normalizes images and rows of numbers, not {}: make an image of it first, with {{ reshape = [1, \
                 {pixels}, {c}] }} before it in the architecture",
                by(&layer.output)
            ));
        }
        let weight = self.weight(layer).to_vec();
        let running = layer.running.map(|at| &self.parameters.statistics()[at]);
        let running = running.map_or(&[][..], |p| &self.values.running[p.offset..][..p.shape.len()]).to_vec();
        let c = running.len() / 2;
        let (gamma, beta) = if scale { weight.split_at(c) } else { (&[][..], &weight[..]) };
        let gamma = if scale { gamma.to_vec() } else { vec![1.0; c] };
        let mut all = vec![x.to_string()];
        for (suffix, data) in
            [("weight", &gamma[..]), ("bias", beta), ("running_mean", &running[..c]), ("running_var", &running[c..])]
        {
            all.push(self.floats(&format!("{}.{suffix}", layer.name), &[c], data));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.node("BatchNormalization", &all, out, vec![float("epsilon", epsilon)]);
        Ok(())
    }

    /// Between an image, whose channels come first in ONNX and last here, and a row of numbers, the axes have to be
    /// transposed, so that the numbers keep this program's order.
    fn reshape(&mut self, layer: &Built, from: &[usize], x: &str, out: &str) -> Result<(), String> {
        let to = &layer.output;
        let (last_in, last_out) = (format!("{}.pixels", layer.name), format!("{}.turned", layer.name));
        let matters = |shape: &[usize]| shape.len() == 3 && shape[2] > 1 && shape[0] * shape[1] > 1;
        let mut x = x.to_string();
        if matters(from) {
            self.node("Transpose", &[&x], &last_in, vec![ints("perm", &[0, 2, 3, 1])]);
            x = last_in;
        }
        let turns = matters(to);
        // Where transposing changes nothing, the sizes are written as they will be.
        let sizes: Vec<usize> = match (turns, &to[..]) {
            (false, &[h, w, c]) => vec![c, h, w],
            _ => to.clone(),
        };
        let mut sizes: Vec<i64> = sizes.iter().map(|n| *n as i64).collect();
        sizes.insert(0, -1);
        let shape = self.ints(&format!("{}.shape", layer.name), &sizes);
        self.node("Reshape", &[&x, &shape], if turns { &last_out } else { out }, vec![]);
        if turns {
            self.node("Transpose", &[&last_out], out, vec![ints("perm", &[0, 3, 1, 2])]);
        }
        Ok(())
    }

    fn activate(&mut self, layer: &Built, x: &str) -> String {
        let (op, attributes) = match layer.spec.activation {
            None => return x.into(),
            Some(Nonlinearity::Relu) => ("Relu", vec![]),
            Some(Nonlinearity::LeakyRelu(slope)) => ("LeakyRelu", vec![float("alpha", slope)]),
            Some(Nonlinearity::Sigmoid) => ("Sigmoid", vec![]),
            Some(Nonlinearity::Tanh) => ("Tanh", vec![]),
            Some(Nonlinearity::Softmax) => ("Softmax", vec![int("axis", axis(&layer.output))]),
        };
        let out = format!("{}.out", layer.name);
        self.node(op, &[x], &out, attributes);
        out
    }

    fn weight(&self, layer: &Built) -> &[f32] {
        let p = layer.weight.map(|at| &self.parameters.trainable()[at]);
        p.map_or(&[], |p| &self.values.weights[p.offset..][..p.shape.len()])
    }

    /// Writes a layer's bias, if it has one.
    fn bias(&mut self, layer: &Built) -> Option<String> {
        let p = &self.parameters.trainable()[layer.bias?];
        let data = self.values.weights[p.offset..][..p.shape.len()].to_vec();
        Some(self.floats(&format!("{}.bias", layer.name), &[data.len()], &data))
    }
}

/// The axis of the channels of a value of this shape, counting the batch's.
fn axis(shape: &[usize]) -> i64 {
    if shape.len() == 3 { 1 } else { shape.len() as i64 }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: attribute::INT, ..AttributeProto::default() }
}
pub fn ints(name: &str, sizes: &[usize]) -> AttributeProto {
    let ints = sizes.iter().map(|n| *n as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: attribute::INTS, ..AttributeProto::default() }
}
pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, r#type: attribute::FLOAT, ..AttributeProto::default() }
}
pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: s.into(), r#type: attribute::STRING, ..AttributeProto::default() }
}
