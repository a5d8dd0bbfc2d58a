//! What is drawn at random for one image, and the map that results.

use super::Augment;
use super::math::cos_sin;
use crate::ops::random;

/// The draws of an image are numbered: the motion's from 0, the hole's from 8, the control points' from 16, and last
/// the noise's, which are the most.
const HOLE: u32 = 8;
const CONTROL: u32 = 16;
pub(super) const NOISE: u32 = 128;

/// Cells of the elastic grid along the longer side of an image.
pub(super) const CELLS: usize = 4;
/// Control points along a side: four weigh on each place, so three more than cells.
pub(super) const POINTS: usize = CELLS + 3;

/// One image's draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Draw {
    key: u32,
    /// Radians, counter-clockwise as one looks at the picture.
    pub turn: f32,
    /// Pixels down and to the right.
    pub shift: [f32; 2],
    /// The scale of the picture, 1 for unchanged.
    pub zoom: f32,
    /// Radians by which upright lines lean to the right.
    pub shear: f32,
    /// Quarter turns counter-clockwise.
    pub quarters: u32,
    /// Top, left, height and width of what is erased; nothing where the height or the width is 0.
    pub hole: [usize; 4],
}

impl Draw {
    /// The draws for place `i` of a batch; `key` is the batch's.
    #[inline(always)]
    pub fn of(op: &Augment, key: u32, i: usize, [h, w]: [usize; 2]) -> Draw {
        let key = random::draw(key, if op.alike { 0 } else { i as u32 });
        let bits = |n: u32| random::draw(key, n);
        // Uniform in -1..1, exactly.
        let either_way = |n: u32| 2.0 * random::unit(bits(n)) - 1.0;
        let below = |n: u32, bound: usize| (bits(n) % bound as u32) as usize;
        let [hole_h, hole_w] = [(0, h), (1, w)].map(|(n, side)| below(HOLE + n, op.longest_hole(side) + 1));
        Draw {
            key,
            turn: op.rotate.to_radians() * either_way(0),
            shift: [op.shift * h as f32 * either_way(1), op.shift * w as f32 * either_way(2)],
            zoom: 1.0 + op.zoom * either_way(3),
            shear: op.shear.to_radians() * either_way(4),
            quarters: if op.quarter_turns { bits(5) % 4 } else { 0 },
            hole: [below(HOLE + 2, h - hole_h + 1), below(HOLE + 3, w - hole_w + 1), hole_h, hole_w],
        }
    }

    /// How many pixels the control point `j` down and `k` to the right displaces by: downwards (`axis` 0) or to the
    /// right (1).
    #[inline(always)]
    pub fn control(&self, op: &Augment, [j, k]: [usize; 2], axis: usize) -> f32 {
        let n = CONTROL + ((j * POINTS + k) * 2 + axis) as u32;
        op.reach() * (2.0 * random::unit(random::draw(self.key, n)) - 1.0)
    }

    /// The two draws, in 0..1, that elements `2 pair` and `2 pair + 1` get their noise from.
    #[inline(always)]
    pub fn noise(&self, pair: u32) -> [f32; 2] {
        [0, 1].map(|n| random::unit(random::draw(self.key, NOISE.wrapping_add(2 * pair + n))))
    }

    /// `[[a, b], [d, e]]` of the map from a place in the new picture to the one it is taken from, both as offsets
    /// `(x, y)` from the middle: `x = a x' + b y'`, `y = d x' + e y'`. The picture was turned by quarters, zoomed,
    /// sheared and turned, in this order.
    #[inline(always)]
    pub fn map(&self) -> [[f32; 2]; 2] {
        let (cos, sin) = cos_sin(self.turn);
        let (shear_cos, shear_sin) = cos_sin(self.shear);
        let lean = shear_sin / shear_cos;
        let x = [(cos + lean * sin) / self.zoom, (lean * cos - sin) / self.zoom];
        let y = [sin / self.zoom, cos / self.zoom];
        quartered([x, y], self.quarters)
    }
}

/// The map for a picture that was first turned by quarters.
#[inline(always)]
pub(super) fn quartered<T: Copy + std::ops::Neg<Output = T>>([x, y]: [[T; 2]; 2], quarters: u32) -> [[T; 2]; 2] {
    match quarters {
        0 => [x, y],
        1 => [y.map(|v| -v), x],
        2 => [x.map(|v| -v), y.map(|v| -v)],
        _ => [y, x.map(|v| -v)],
    }
}
