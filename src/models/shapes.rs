//! Each layer's output shape from its input shapes, for one image; every mistake is described in words.

use super::layer::{Conv, Kind, Layer, Units, by};
use super::reader::MAX_SIZE;
use crate::ops::conv2d::Padding;

/// The layer's output for one image: `[h, w, c]` for an image, `[k]` for a row of numbers.
pub fn output(layer: &Layer, inputs: &[&[usize]], classes: Option<usize>) -> Result<Vec<usize>, String> {
    let [first, ..] = inputs else { return Err("has no input".into()) };
    let remedy = if layer.at.is_built_in() { OTHER } else { SMALLER };
    let shape = match &layer.kind {
        Kind::Conv(c) => {
            let [h, w, _] = image(first)?;
            vec![conv(h, c.kernel[0], c, remedy)?, conv(w, c.kernel[1], c, remedy)?, c.channels]
        }
        Kind::ConvTransposed(c) => {
            let [h, w, _] = image(first)?;
            vec![transposed(h, c.kernel[0], c)?, transposed(w, c.kernel[1], c)?, c.channels]
        }
        Kind::Dense { units, .. } => {
            let [_] = first else {
                return Err(format!("is given an image, {}; put \"flatten\" before it", by(first)));
            };
            match (units, classes) {
                (Units::Count(n), _) => vec![*n],
                (Units::Classes, Some(n)) => vec![n],
                (Units::Classes, None) => {
                    return Err("asks for as many units as classes, but there are none here".into());
                }
                (Units::Width(width), _) => {
                    let problem = "which is a setting of a GAN's [generator]; give a number";
                    return Err(format!("asks for \"{}\", {problem}", width.word()));
                }
            }
        }
        Kind::AvgPool { window, stride } | Kind::MaxPool { window, stride } => {
            let [h, w, c] = image(first)?;
            vec![slide(h, *window, *stride, remedy)?, slide(w, *window, *stride, remedy)?, c]
        }
        Kind::Upsample { factor } => {
            let [h, w, c] = image(first)?;
            vec![h.saturating_mul(*factor), w.saturating_mul(*factor), c]
        }
        Kind::BatchNorm { .. } | Kind::Activation | Kind::Dropout { .. } => first.to_vec(),
        Kind::Flatten => vec![first.iter().product()],
        Kind::Reshape { shape } => {
            if count(shape) != count(first) {
                let problem = format!("cannot make {} of {}: {} numbers", by(shape), by(first), count(shape));
                return Err(format!("{problem} against {}", count(first)));
            }
            shape.clone()
        }
        Kind::Concat { .. } => {
            let head = |shape: &[usize]| shape.split_last().map(|(_, head)| head.to_vec());
            if inputs.iter().any(|shape| head(shape) != head(first)) {
                return Err(format!("joins channels, so all else must be equal, but it is given {}", all(inputs)));
            }
            let mut shape = first.to_vec();
            if let Some(last) = shape.last_mut() {
                *last = inputs.iter().filter_map(|shape| shape.last()).fold(0, |sum, c| sum.saturating_add(*c));
            }
            shape
        }
        Kind::Add { .. } => {
            if inputs.iter().any(|shape| shape != first) {
                return Err(format!("adds inputs of equal shape, but it is given {}", all(inputs)));
            }
            first.to_vec()
        }
        Kind::Dot { .. } => match inputs {
            [[a], [b]] if a == b => vec![1],
            _ => return Err(format!("multiplies two vectors of one length, but it is given {}", all(inputs))),
        },
    };
    if count(&shape) > MAX_SIZE as u128 {
        return Err(format!("gives {}, more than {MAX_SIZE} numbers for one image", by(&shape)));
    }
    Ok(shape)
}

/// Floating-point operations for one image, a multiply-add counted as two; activations are not counted.
pub fn flops(layer: &Layer, inputs: &[&[usize]], output: &[usize]) -> u64 {
    let out = saturate(count(output));
    let each = |n: &[usize]| saturate(count(n));
    let input = inputs.first().map_or(0, |shape| each(shape));
    match &layer.kind {
        Kind::Conv(c) => {
            let channels = inputs.first().and_then(|shape| shape.last()).copied().unwrap_or(1);
            out.saturating_mul(2).saturating_mul(each(&[c.kernel[0], c.kernel[1], channels]))
        }
        Kind::ConvTransposed(c) => {
            input.saturating_mul(2).saturating_mul(each(&[c.kernel[0], c.kernel[1], c.channels]))
        }
        Kind::Dense { .. } => out.saturating_mul(2).saturating_mul(input),
        Kind::AvgPool { window, .. } | Kind::MaxPool { window, .. } => out.saturating_mul(each(&[*window, *window])),
        Kind::BatchNorm { .. } => out.saturating_mul(2),
        Kind::Dot { .. } => input.saturating_mul(2),
        Kind::Add { .. } => out.saturating_mul(inputs.len().saturating_sub(1) as u64),
        _ => 0,
    }
}

/// The number of elements. No four sizes that a text may give can make it overflow.
pub fn count(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |product: u128, size| product.saturating_mul(*size as u128))
}

fn saturate(count: u128) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}

fn image(shape: &[usize]) -> Result<[usize; 3], String> {
    let remedy = "put { reshape = [height, width, channels] } before it, or move it above \"flatten\"";
    shape.try_into().map_err(|_| format!("works on images, but is given {}; {remedy}", by(shape)))
}

fn all(shapes: &[&[usize]]) -> String {
    shapes.iter().map(|shape| by(shape)).collect::<Vec<_>>().join(", ")
}

/// What to do if a window is larger than what it slides over: in a user's own text, and in a built-in one.
const SMALLER: &str = "make it smaller, or pool less before";
const OTHER: &str = "give larger images (--image-size resizes pictures), or take another network";

fn slide(size: usize, window: usize, stride: usize, remedy: &str) -> Result<usize, String> {
    match size.checked_sub(window) {
        Some(room) => Ok(room / stride + 1),
        None => Err(too_large(window, size, remedy)),
    }
}

fn too_large(window: usize, size: usize, remedy: &str) -> String {
    format!("its window of {window} does not fit the image's {size}; {remedy}")
}

fn conv(size: usize, kernel: usize, c: &Conv, remedy: &str) -> Result<usize, String> {
    let (padded, more) = match c.padding {
        Padding::Explicit(n) if n >= kernel => {
            return Err(format!("pads by {n}; expected less than its kernel of {kernel}"));
        }
        Padding::Explicit(n) => (size.saturating_add(2 * n), ""),
        Padding::Valid if remedy == SMALLER => (size, "; or take padding = \"same\""),
        Padding::Valid | Padding::Same => (size, ""),
    };
    match c.padding.resolve(size, kernel, c.stride) {
        Some((rows, _)) => Ok(rows),
        None => Err(format!("{}{more}", too_large(kernel, padded, remedy))),
    }
}

fn transposed(size: usize, kernel: usize, c: &Conv) -> Result<usize, String> {
    let fits = !matches!(c.padding, Padding::Explicit(n) if n >= kernel);
    let resolved = c.padding.resolve_transposed(size, kernel, c.stride).filter(|_| fits);
    resolved.map(|(rows, _)| rows).ok_or_else(|| "its padding leaves no image".into())
}
