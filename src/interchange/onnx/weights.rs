//! Operators with weights: convolutions, dense layers, batch norm.

use super::import::{Axes, Reader, Value, spelled};
use super::proto::NodeProto;
use crate::interchange::draft::Flow;
use crate::interchange::fit::{self, Axis};
use crate::interchange::layout::{kernel_from_torch, permute, transposed_from_torch};
use crate::models::{Conv, Kind, MAX_SIZE, Units, by};

impl Reader<'_> {
    /// Stride and padding of a node, besides the padding that its image already has; the kernel is `[r, s]`.
    pub(super) fn window(
        &self,
        node: &NodeProto,
        kernel: [usize; 2],
        flow: Flow,
    ) -> Result<(usize, [[usize; 2]; 2]), String> {
        let sizes = |name: &str, count: usize, default: i64| -> Result<Vec<usize>, String> {
            let default = vec![default; count];
            let given = node.ints(name).filter(|list| !list.is_empty()).unwrap_or(&default);
            let list: Option<Vec<usize>> =
                given.iter().map(|n| usize::try_from(*n).ok().filter(|n| *n <= MAX_SIZE)).collect();
            let list = list.filter(|list| list.len() == count);
            list.ok_or_else(|| format!("has {name} {given:?}; expected {count} whole numbers"))
        };
        if sizes("dilations", 2, 1)? != [1, 1] {
            return Err("has dilations; expected none".into());
        }
        let strides = sizes("strides", 2, 1)?;
        if strides[0] != strides[1] || strides[0] == 0 {
            return Err(format!("has strides {strides:?}; expected the same for rows and columns"));
        }
        let stride = strides[0];
        let [h, w, _] = self.draft.image(flow.from)?;
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
                let [rows, columns] = flow.pad.map(|[before, after]| before + after);
                [side(h + rows, kernel[0]), side(w + columns, kernel[1])]
            }
            Some(word) => return Err(format!("has auto_pad {word:?}; expected pads in numbers")),
        };
        Ok((stride, pads))
    }

    pub(super) fn kernel(&self, node: &NodeProto) -> Result<(Vec<f32>, [usize; 4]), String> {
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

    pub(super) fn conv(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        let from = self.draft.settle_padded(flow)?;
        let (data, [k, c, r, s]) = self.kernel(node)?;
        self.first(axes, self.draft.image(from)?[2], c)?;
        let (stride, pads) = self.window(node, [r, s], flow)?;
        let [h, w, _] = self.draft.image(from)?;
        let axis = |size: usize, kernel: usize, own: [usize; 2], more: [usize; 2]| {
            let whole = size + own[0] + own[1] + more[0] + more[1];
            let room =
                whole.checked_sub(kernel).ok_or_else(|| format!("its kernel of {r}x{s} does not fit {h}x{w}"))?;
            Ok::<Axis, String>(Axis { size, kernel, before: own[0] + more[0], out: room / stride + 1 })
        };
        let both = [axis(h, r, pads[0], flow.pad[0])?, axis(w, s, pads[1], flow.pad[1])?];
        let (padding, growth) = fit::conv(both, stride).ok_or("has more padding than this program can express")?;
        let conv = Conv { channels: k, kernel: [r, s], stride, padding, bias: false };
        let tensors = [Some(kernel_from_torch(&data, [k, c, r, s])), self.floats(node, 2)?];
        let label = self.label(node);
        let out = self.draft.push_conv(false, conv, growth, from, Some(&label), tensors)?;
        Ok(self.flow(out, axes))
    }

    pub(super) fn conv_transposed(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let (data, [c, k, r, s]) = self.kernel(node)?;
        self.first(axes, self.draft.image(from)?[2], c)?;
        if node.ints("output_shape").is_some_and(|sizes| !sizes.is_empty()) {
            return Err("has an output_shape; expected pads in numbers".into());
        }
        let (stride, pads) = self.window(node, [r, s], Flow::of(from))?;
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
        let (padding, growth) =
            fit::transposed(both, stride).ok_or("has a padding that this program cannot express")?;
        let conv = Conv { channels: k, kernel: [r, s], stride, padding, bias: false };
        let tensors = [Some(transposed_from_torch(&data, [c, k, r, s])), self.floats(node, 2)?];
        let label = self.label(node);
        let out = self.draft.push_conv(true, conv, growth, from, Some(&label), tensors)?;
        Ok(self.flow(out, axes))
    }

    /// Succeeds if an image has its channels first, and as many as the weights are for.
    pub(super) fn first(&self, axes: Axes, found: usize, wanted: usize) -> Result<(), String> {
        if axes == Axes::ChannelsLast {
            return Err("takes an image whose channels come last; ONNX has them first".into());
        }
        if found != wanted {
            return Err(format!("has weights for {wanted} channels, the image has {found}"));
        }
        Ok(())
    }

    pub(super) fn dense(&mut self, node: &NodeProto) -> Result<Value, String> {
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

    pub(super) fn batch_norm(&mut self, node: &NodeProto) -> Result<Value, String> {
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
}
