//! Operators on sizes that a graph computes itself, and arithmetic on images and rows of numbers.

use super::import::{Axes, Reader, Value, foreign};
use super::proto::NodeProto;
use super::tensor::{Constant, Data};
use crate::interchange::draft::{From, Step};
use crate::interchange::scale::Scale;
use crate::models::{Conv, Kind};

/// The most sizes in one value: few nodes could join them to any number.
const MOST_SIZES: usize = 64;

impl Reader<'_> {
    pub(super) fn is_sizes(&self, node: &NodeProto) -> bool {
        let sizes = |name: &String| matches!(self.values.get(name.as_str()), Some(Value::Sizes(_)));
        node.op_type == "Shape" || node.input.iter().any(sizes)
    }

    pub(super) fn sizes(&self, node: &NodeProto) -> Result<Value, String> {
        let of = |at: usize| match self.value(node, at)? {
            Value::Sizes(sizes) => Ok(sizes.clone()),
            Value::Constant(Constant { data: Data::Ints(ints), .. }) => Ok(ints.iter().map(|n| Some(*n)).collect()),
            _ => Err(format!("takes something other than sizes for its input {at}")),
        };
        let sizes: Vec<Option<i64>> = match node.op_type.as_str() {
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
                found.ok_or("gathers sizes that do not exist")?
            }
            "Concat" => {
                let mut all = Vec::new();
                for at in 0..node.input.len() {
                    all.extend(of(at)?);
                    if all.len() > MOST_SIZES {
                        break;
                    }
                }
                all
            }
            _ => of(0)?,
        };
        if sizes.len() > MOST_SIZES {
            return Err(format!("gives more than {MOST_SIZES} sizes, which no image has"));
        }
        Ok(Value::Sizes(sizes))
    }

    pub(super) fn arithmetic(&mut self, node: &NodeProto) -> Result<Value, String> {
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
            && self.draft.is_entry(flow.from)
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
        // A bias that is a node of its own.
        if op == "Add"
            && flow.pad == [[0; 2]; 2]
            && let From::Step(step) = flow.from
            && lacks_bias(&self.draft.steps[step])
            && let Some(constant) = self.constant(node, at)?
            && is_for_channels(&constant.dims, self.draft.shape(flow.from), axes)
            && let Some(data) = self.floats(node, at)?
            && self.is_only_use(flow.from)
        {
            let step = &mut self.draft.steps[step];
            if let Kind::Dense { bias, .. } | Kind::Conv(Conv { bias, .. }) | Kind::ConvTransposed(Conv { bias, .. }) =
                &mut step.kind
            {
                *bias = true;
            }
            step.tensors.push(("bias", data));
            return Ok(Value::Flow(flow, axes));
        }
        Err("is arithmetic with constants other than a scaling of the image and a bias".into())
    }

    pub(super) fn sum(&mut self, node: &NodeProto) -> Result<Value, String> {
        if node.input.is_empty() {
            return Err("takes nothing".into());
        }
        let (first, axes) = self.flow_of(node, 0)?;
        if node.input.len() == 1 {
            return Ok(Value::Flow(first, axes));
        }
        let inputs = self.joined(node)?;
        let out = self.draft.push(Kind::Add { from: Vec::new() }, &inputs, None, Vec::new())?;
        Ok(self.flow(out, axes))
    }

    /// All inputs of a node. If they are images, these have one order of axes.
    pub(super) fn joined(&mut self, node: &NodeProto) -> Result<Vec<From>, String> {
        let all: Vec<(From, Axes)> =
            (0..node.input.len()).map(|at| self.settled(node, at)).collect::<Result<_, String>>()?;
        let mut images = all.iter().filter(|(from, _)| self.draft.shape(*from).len() == 3);
        if let Some((_, first)) = images.next()
            && images.any(|(_, axes)| axes != first)
        {
            return Err("takes images with different orders of axes".into());
        }
        Ok(all.into_iter().map(|(from, _)| from).collect())
    }
}

/// Whether a step may have a bias and has none.
fn lacks_bias(step: &Step) -> bool {
    step.activation.is_none()
        && matches!(
            step.kind,
            Kind::Dense { bias: false, .. }
                | Kind::Conv(Conv { bias: false, .. })
                | Kind::ConvTransposed(Conv { bias: false, .. })
        )
}

/// Whether a constant of sizes `dims` is one number for each channel of a value, the same everywhere else.
fn is_for_channels(dims: &[usize], shape: &[usize], axes: Axes) -> bool {
    let c = shape.last().copied().unwrap_or(1);
    // ONNX aligns sizes at their ends; the number of images comes before the value's own sizes.
    let channels = if shape.len() == 3 && axes == Axes::ChannelsFirst { 2 } else { 0 };
    let fits = |(i, n): (usize, &usize)| *n == if i == channels { c } else { 1 };
    dims.len() <= shape.len() + 1 && dims.iter().rev().enumerate().all(fits) && dims.iter().product::<usize>() == c
}
