//! Operators that change an image's size, or the order of its axes.

use super::import::{Axes, Reader, Value, foreign, spelled};
use super::proto::NodeProto;
use super::tensor::{Constant, Data};
use crate::interchange::draft::Flow;
use crate::models::{Kind, MAX_SIZE, by};

impl Reader<'_> {
    pub(super) fn resize(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (from, axes) = self.image(node)?;
        let [h, w, c] = self.draft.image(from)?;
        self.first(axes, c, c)?;
        if !matches!(node.text("mode"), None | Some("nearest")) {
            return Err(format!("interpolates with {:?}; expected \"nearest\"", node.text("mode").unwrap_or_default()));
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
        // With a whole factor these modes agree on which pixel is nearest.
        let by = node.text("coordinate_transformation_mode").unwrap_or("half_pixel");
        let rounding = node.text("nearest_mode").unwrap_or("round_prefer_floor");
        let same = match by {
            "asymmetric" => rounding == "floor",
            "half_pixel" | "pytorch_half_pixel" => matches!(rounding, "round_prefer_floor" | "round_prefer_ceil"),
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

    pub(super) fn pad(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        self.draft.image(flow.from)?;
        if !matches!(node.text("mode"), None | Some("constant")) || self.constant(node, 3)?.is_some() {
            return Err("pads with something other than zeros on each side of the image".into());
        }
        // Before version 11 of the operators it was an attribute.
        let value = node.float("value").unwrap_or(0.0);
        if value != 0.0 || self.constant(node, 2)?.is_some_and(|value| value.scalar() != Some(0.0)) {
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

    pub(super) fn reshape(&mut self, node: &NodeProto) -> Result<Value, String> {
        let target: Vec<Option<i64>> = match self.value(node, 1)? {
            Value::Sizes(sizes) => sizes.clone(),
            Value::Constant(Constant { data: Data::Ints(ints), .. }) => ints.iter().map(|n| Some(*n)).collect(),
            _ => return Err("is to a shape that is neither constant nor made of sizes".into()),
        };
        let (flow, axes) = self.unpadded(node)?;
        let given = foreign(self.draft.shape(flow.from), axes);
        let total: usize = given.iter().product();
        let Some((batch, sizes)) = target.split_first() else { return Err("is to no shape".into()) };
        let is_batch = batch.is_none_or(|n| n == -1 || n == 0 || Some(n) == self.batch);
        let sizes: Option<Vec<i64>> = sizes.iter().copied().collect();
        let sizes = sizes.filter(|sizes| is_batch && (1..=4).contains(&sizes.len()));
        let wanted = || target.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect::<Vec<_>>().join("x");
        let sizes = sizes.ok_or_else(|| format!("is to {}; expected the images first, each for itself", wanted()))?;
        let size = |i: usize, n: i64| match n {
            0 => given.get(i).copied(),
            -1 => Some(0),
            n => usize::try_from(n).ok().filter(|n| *n <= MAX_SIZE),
        };
        let sizes: Option<Vec<usize>> = sizes.iter().enumerate().map(|(i, n)| size(i, *n)).collect();
        let mut sizes = sizes.ok_or_else(|| format!("is to {}", wanted()))?;
        let known = sizes.iter().filter(|n| **n > 0).try_fold(1usize, |all, n| all.checked_mul(*n)).unwrap_or(0);
        if let Some(open) = sizes.iter_mut().find(|n| **n == 0)
            && known > 0
        {
            *open = total / known;
        }
        if sizes.iter().try_fold(1usize, |all, n| all.checked_mul(*n)) != Some(total) {
            return Err(format!("cannot make {} of {}", by(&sizes), by(&given)));
        }
        self.reshape_to(flow, axes, sizes, &node.output[0])
    }

    /// The value `out` of the file, of sizes `sizes` for each image, in the order of axes that its consumer has.
    pub(super) fn reshape_to(&mut self, flow: Flow, axes: Axes, sizes: Vec<usize>, out: &str) -> Result<Value, String> {
        let shape = self.draft.shape(flow.from).to_vec();
        // An image that is transposed next had its channels last.
        let turned = self.nodes.iter().any(|node| {
            node.op_type == "Transpose"
                && node.ints("perm") == Some(&[0, 3, 1, 2])
                && node.input.iter().any(|x| x == out)
        });
        let to = if turned && sizes.len() > 1 { Axes::ChannelsLast } else { Axes::ChannelsFirst };
        // One channel of 7 x 7 pixels has the sizes of one row of 7 pixels with 7 channels.
        if foreign(&shape, axes) == sizes && (axes == to || !turned) {
            return Ok(Value::Flow(flow, axes));
        }
        let own = match (&sizes[..], to) {
            (&[c, h, w], Axes::ChannelsFirst) => vec![h, w, c],
            _ => sizes.clone(),
        };
        // From image to image no numbers can be moved: on both sides they must be in the same order as here.
        if shape.len() == 3 && own.len() == 3 && !(stands_alike(&shape, axes) && stands_alike(&own, to)) {
            // With one channel or one pixel, the same image with its channels at the other end.
            let other = axes.other();
            if foreign(&shape, other) == sizes && stands_alike(&shape, Axes::ChannelsFirst) {
                return Ok(Value::Flow(flow, other));
            }
            return Err(format!(
                "makes {} of {}; expected a row of numbers between",
                by(&sizes),
                spelled(&shape, axes)
            ));
        }
        let kind = if sizes.len() == 1 { Kind::Flatten } else { Kind::Reshape { shape: own.clone() } };
        // Which side's axes decide: those of the image that is flattened, or of the one that results.
        let (image, deciding) = if shape.len() == 3 { (&shape[..], axes) } else { (&own[..], to) };
        let before = self.draft.channels_first;
        self.draft.channels_first =
            deciding == Axes::ChannelsFirst && shape.len() != sizes.len() && !stands_alike(image, deciding);
        let pushed = self.draft.reshape(kind, flow, None);
        self.draft.channels_first = before;
        Ok(Value::Flow(pushed?, to))
    }

    pub(super) fn squeeze(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.unpadded(node)?;
        let shape = foreign(self.draft.shape(flow.from), axes);
        let rest: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
        if rest.len() > 1 {
            return Err(format!("leaves {} of {}; expected one size", by(&rest), by(&shape)));
        }
        self.reshape_to(flow, axes, vec![shape.iter().product()], &node.output[0])
    }

    pub(super) fn unsqueeze(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.unpadded(node)?;
        let given = foreign(self.draft.shape(flow.from), axes);
        let wanted = self.axes(node)?;
        let rank = (given.len() + wanted.len() + 1) as i64;
        let mut places: Vec<i64> = wanted.iter().map(|axis| if *axis < 0 { axis + rank } else { *axis }).collect();
        places.sort_unstable();
        places.dedup();
        let are_sizes = |place: &i64| (1..rank).contains(place);
        if places.len() != wanted.len() || !(2..=5).contains(&rank) || !places.iter().all(are_sizes) {
            return Err(format!("adds axes {wanted:?} to {}; expected them after the images'", by(&given)));
        }
        let mut given = given.into_iter();
        let size = |place: i64| if places.contains(&place) { Some(1) } else { given.next() };
        let sizes = (1..rank).filter_map(size).collect();
        self.reshape_to(flow, axes, sizes, &node.output[0])
    }

    pub(super) fn transpose(&mut self, node: &NodeProto) -> Result<Value, String> {
        let (flow, axes) = self.flow_of(node, 0)?;
        self.draft.image(flow.from)?;
        match (node.ints("perm"), axes) {
            (Some([0, 2, 3, 1]), Axes::ChannelsFirst) => Ok(Value::Flow(flow, Axes::ChannelsLast)),
            (Some([0, 3, 1, 2]), Axes::ChannelsLast) => Ok(Value::Flow(flow, Axes::ChannelsFirst)),
            (perm, _) => {
                // Without `perm`, it reverses all axes.
                let perm = perm.unwrap_or(&[3, 2, 1, 0]);
                Err(format!("turns axes around by {perm:?}; expected channels from first to last or back"))
            }
        }
    }

    pub(super) fn concat(&mut self, node: &NodeProto) -> Result<Value, String> {
        if node.input.is_empty() {
            return Err("takes nothing".into());
        }
        let (first, axes) = self.flow_of(node, 0)?;
        let rank = self.draft.shape(first.from).len() as i64;
        let channels = if rank == 3 && axes == Axes::ChannelsFirst { 1 } else { rank };
        let axis = node.int("axis").unwrap_or(1);
        if axis != channels && axis != channels - rank - 1 {
            return Err(format!("joins along axis {axis}; expected the channels', {channels}"));
        }
        if node.input.len() == 1 {
            return Ok(Value::Flow(first, axes));
        }
        let inputs = self.joined(node)?;
        let out = self.draft.push(Kind::Concat { from: Vec::new() }, &inputs, None, Vec::new())?;
        Ok(self.flow(out, axes))
    }
}

/// Whether the numbers of an image, `[h, w, c]` here, have the same order in the file.
fn stands_alike(shape: &[usize], axes: Axes) -> bool {
    match *shape {
        [h, w, c] => axes == Axes::ChannelsLast || c == 1 || h * w == 1,
        _ => false,
    }
}
