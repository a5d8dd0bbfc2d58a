//! Which part of the picture a value depends on.

use super::anatomy::{Anatomy, image};
use crate::models::{Built, Kind, Source};

/// Rows and columns `[top, left, bottom, right)`.
type Area = [usize; 4];

impl Anatomy {
    /// Rows and columns of the picture, `[top, left, bottom, right)`, that a layer's values at row and column `at`
    /// depend on, in any channel; `at` is ignored if the layer's output is a row of numbers. Empty, `[0; 4]`, if there
    /// is no such layer or place.
    ///
    /// It is the smallest rectangle that holds these pixels, as far as the layers tell which they are: whatever is
    /// flattened, reshaped or dense depends on everything before it.
    pub fn receptive_field(&self, layer: usize, at: [usize; 2]) -> [usize; 4] {
        let layers = &self.network.layers;
        let Some(built) = layers.get(layer) else { return [0; 4] };
        let [h, w, _] = image(&built.output);
        let [y, x] = if built.output.len() == 1 { [0, 0] } else { at };
        if y >= h || x >= w {
            return [0; 4];
        }
        // Sources precede their users, so each area is complete by the time it is passed on.
        let mut wanted: Vec<Option<Area>> = vec![None; layer + 1];
        wanted[layer] = Some([y, x, y + 1, x + 1]);
        let mut picture = None;
        for i in (0..=layer).rev() {
            let (Some(area), built) = (wanted[i], &layers[i]) else { continue };
            for source in &built.inputs {
                let below = before(built, area, self.shape(*source));
                match source {
                    Source::Layer(at) => wanted[*at] = union(wanted[*at], below),
                    Source::Input => picture = union(picture, below),
                    Source::Label => {}
                }
            }
        }
        picture.unwrap_or([0; 4])
    }
}

fn union(a: Option<Area>, b: Option<Area>) -> Option<Area> {
    match (a, b) {
        (Some(a), Some(b)) => Some([a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]),
        (a, b) => a.or(b),
    }
}

/// The part of an input of this shape from which a layer's output in `area` is computed.
fn before(layer: &Built, area: Area, shape: &[usize]) -> Option<Area> {
    let [h, w, _] = image(shape);
    let [top, left, bottom, right] = area;
    let both = |axis: &dyn Fn(usize, [usize; 2]) -> Option<[usize; 2]>| {
        let ([top, bottom], [left, right]) = (axis(0, [top, bottom])?, axis(1, [left, right])?);
        Some([top, left, bottom, right])
    };
    let size = [h, w];
    match &layer.spec.kind {
        Kind::Conv(c) => both(&|axis, range| {
            let (_, pad) = c.padding.resolve(size[axis], c.kernel[axis], c.stride)?;
            window(range, c.kernel[axis], c.stride, pad, size[axis])
        }),
        Kind::ConvTransposed(c) => both(&|axis, [first, end]| {
            let (_, cut) = c.padding.resolve_transposed(size[axis], c.kernel[axis], c.stride)?;
            // Row `y` is made of the rows `i` for which `y + cut - i * stride` is a row of the kernel.
            let first = (first + cut + 1).saturating_sub(c.kernel[axis]).div_ceil(c.stride);
            let end = ((end - 1 + cut) / c.stride + 1).min(size[axis]);
            (first < end).then_some([first, end])
        }),
        Kind::AvgPool { window: side, stride } | Kind::MaxPool { window: side, stride } => {
            both(&|axis, range| window(range, *side, *stride, 0, size[axis]))
        }
        Kind::Upsample { factor } => both(&|_, [first, end]| Some([first / factor, (end - 1) / factor + 1])),
        Kind::BatchNorm { .. } | Kind::Activation | Kind::Dropout { .. } | Kind::Concat { .. } | Kind::Add { .. } => {
            Some(area)
        }
        Kind::Dense { .. } | Kind::Flatten | Kind::Reshape { .. } | Kind::Dot { .. } => Some([0, 0, h, w]),
    }
}

/// The rows that a window reads to produce a range of rows, clipped to the image.
fn window([first, end]: [usize; 2], side: usize, stride: usize, pad: usize, size: usize) -> Option<[usize; 2]> {
    let start = (first * stride).saturating_sub(pad);
    let end = ((end - 1) * stride + side).saturating_sub(pad).min(size);
    (start < end).then_some([start, end])
}
