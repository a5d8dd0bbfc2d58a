//! Data augmentation: images turned, shifted, zoomed, sheared, bent, with a part erased and noise added.

mod cpu;
mod draw;
mod math;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use draw::Draw;
use draw::{CELLS, POINTS, quartered};

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::elementwise::finite;
use super::kernel::WORKGROUP;
use super::{Exact, In, Kernel, Op, Out, Target, expect, random};
use crate::tensor::{Kind, Tensor};

/// `out = augmented x`, both `f32 [n, h, w, c]`; inputs `x` and the clock `u32 [step, seed]`. Each image has draws of
/// its own, determined by the clock, the stream and its place in the batch, unless all are changed `alike`. A change
/// that is 0 or false is left out, costs nothing, and affects no other draw; with all of them left out, images stay as
/// they are to the bit.
///
/// A pixel of the new picture is interpolated linearly between the four neighbours of the place that an affine map
/// sends it to ([`Draw::map`]), displaced elastically; everything outside the image is background. Then a rectangle is
/// made black, and then noise is added. The op stands in front of a network, so it has no derivative.
///
/// Elastic: control points have displacements drawn uniformly from `-r..r`, on a grid with four cells along the longer
/// side, with a uniform cubic B-spline between them. That smooths random numbers (Simard, Steinkraus and Platt 2003) as
/// a Gaussian of 1/sqrt(3) cells would, 4.04 pixels of 28; theirs, with sigma 4 and alpha 34, is a displacement of 34 /
/// sqrt(3) / (2 sqrt(pi) 4) = 1.4 pixels, root mean square. `elastic` is that root mean square, in each direction: the
/// spline's weights have mean squares of 151/315 along a side, so that `r = elastic sqrt(3) 315/151`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Augment {
    /// Degrees to either side, at most 180.
    pub rotate: f32,
    /// Fraction of each side, either way.
    pub shift: f32,
    /// Fraction of the size, either way; below 1.
    pub zoom: f32,
    /// Degrees by which upright lines lean to either side, below 90.
    pub shear: f32,
    /// Whether images, which must be square, are turned by 0, 90, 180 or 270 degrees.
    pub quarter_turns: bool,
    /// Pixels, root mean square.
    pub elastic: f32,
    /// Fraction of each side that an erased rectangle has at most.
    pub erase: f32,
    /// Standard deviation, in the units of `x`.
    pub noise: f32,
    /// What stands for black in `x`.
    pub black: f32,
    /// What lies outside the images, as `x` has it.
    pub background: f32,
    /// Tells draws apart from those of other ops.
    pub stream: u32,
    /// Whether every image of every batch takes the same draws, those of place 0 at step 0: what becomes of an image
    /// then depends on the clock's seed and on nothing beside or before it.
    pub alike: bool,
}

impl Augment {
    /// What leaves images as they are.
    pub const NOTHING: Augment = Augment {
        rotate: 0.0,
        shift: 0.0,
        zoom: 0.0,
        shear: 0.0,
        quarter_turns: false,
        elastic: 0.0,
        erase: 0.0,
        noise: 0.0,
        black: 0.0,
        background: 0.0,
        stream: 0,
        alike: false,
    };

    /// The draws of the image at place `i` of the batch, of `[height, width]`.
    pub fn draw(&self, clock: random::Clock, i: usize, image: [usize; 2]) -> Draw {
        Draw::of(self, self.key(clock), i, image)
    }

    /// The key of a batch's draws.
    fn key(&self, [step, seed]: random::Clock) -> u32 {
        random::key([if self.alike { 0 } else { step }, seed], self.stream)
    }

    /// Whether pixels are taken from elsewhere.
    fn moves(&self) -> bool {
        let Augment { rotate, shift, zoom, shear, elastic, .. } = *self;
        self.quarter_turns || [rotate, shift, zoom, shear, elastic].iter().any(|x| *x > 0.0)
    }

    /// The longest displacement of a control point, in pixels.
    fn reach(&self) -> f32 {
        self.elastic * (3f32.sqrt() * 315.0 / 151.0)
    }

    /// The most pixels that an erased rectangle spans along a side of the image.
    fn longest_hole(&self, side: usize) -> usize {
        ((self.erase * side as f32).round() as usize).min(side)
    }
}

/// The cell of the elastic grid that the middle of pixel `at` lies in, where the longer side of the image has `longer`
/// pixels, and the weights of the four control points from that index on.
fn spline(at: usize, longer: usize) -> (usize, [f64; 4]) {
    let place = (at as f64 + 0.5) * CELLS as f64 / longer as f64;
    let cell = (place as usize).min(CELLS - 1);
    let t = place - cell as f64;
    let (q, c) = (t * t, t * t * t);
    let weights = [(1.0 - t).powi(3), 3.0 * c - 6.0 * q + 4.0, 3.0 * (t + q - c) + 1.0, c];
    (cell, weights.map(|weight| weight / 6.0))
}

impl Op for Augment {
    fn name(&self) -> &'static str {
        "augment"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [x, clock] = expect::<2>(inputs)?;
        is_clock(clock)?;
        let &[_, h, w, _] = x.dims() else {
            return Err(format!("takes images [n, h, w, c], not {}", x.shape));
        };
        if x.kind != Kind::F32 || x.is_empty() {
            return Err("takes images of f32 that have pixels".into());
        }
        finite(&[self.black, self.background])?;
        let Augment { rotate, shift, zoom, shear, elastic, erase, noise, .. } = *self;
        let from_0 = [shift, elastic, noise].iter().all(|x| *x >= 0.0 && x.is_finite());
        let bounded = [(rotate, 180.0), (zoom, 0.99), (shear, 89.0), (erase, 1.0)];
        if !from_0 || !bounded.iter().all(|(x, most)| (0.0..=*most).contains(x)) {
            return Err(format!("{self:?} is out of bounds"));
        }
        if self.quarter_turns && h != w {
            return Err(format!("quarter turns take square images, not {h} x {w}"));
        }
        Ok(x.clone())
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let &[_, h, w, c] = inputs[0].dims() else { return false };
        let clock = [inputs[1].data[0] as u32, inputs[1].data[1] as u32];
        let [black, background] = [self.black, self.background].map(f64::from);
        for (i, (out, image)) in out.data.chunks_mut(h * w * c).zip(inputs[0].data.chunks(h * w * c)).enumerate() {
            let draw = self.draw(clock, i, [h, w]);
            let ((sin, cos), zoom) = (f64::from(draw.turn).sin_cos(), f64::from(draw.zoom));
            let lean = f64::from(draw.shear).tan();
            let map = [[(cos + lean * sin) / zoom, (lean * cos - sin) / zoom], [sin / zoom, cos / zoom]];
            let map = quartered(map, draw.quarters);
            let [middle_y, middle_x] = [h, w].map(|side| (side as f64 - 1.0) / 2.0);
            let pixel = |y: f64, x: f64, channel: usize| {
                let inside = (0.0..h as f64).contains(&y) && (0.0..w as f64).contains(&x);
                if inside { image[(y as usize * w + x as usize) * c + channel] } else { background }
            };
            for (e, out) in out.iter_mut().enumerate() {
                let (y, x, channel) = (e / c / w, e / c % w, e % c);
                let from_y = y as f64 - middle_y - f64::from(draw.shift[0]);
                let from_x = x as f64 - middle_x - f64::from(draw.shift[1]);
                let mut at_x = map[0][0] * from_x + map[0][1] * from_y + middle_x;
                let mut at_y = map[1][0] * from_x + map[1][1] * from_y + middle_y;
                let ((row, down), (column, across)) = (spline(y, h.max(w)), spline(x, h.max(w)));
                for (j, k) in (0..4).flat_map(|j| (0..4).map(move |k| (j, k))) {
                    let weight = down[j] * across[k];
                    at_y += weight * f64::from(draw.control(self, [row + j, column + k], 0));
                    at_x += weight * f64::from(draw.control(self, [row + j, column + k], 1));
                }
                let (up, left) = (at_y.floor(), at_x.floor());
                let between = |y: f64| {
                    let share = at_x - left;
                    (1.0 - share) * pixel(y, left, channel) + share * pixel(y, left + 1.0, channel)
                };
                let share = at_y - up;
                *out = (1.0 - share) * between(up) + share * between(up + 1.0);
                let [top, left, height, width] = draw.hole;
                if (top..top + height).contains(&y) && (left..left + width).contains(&x) {
                    *out = black;
                }
                let [u, v] = draw.noise(e as u32 / 2).map(f64::from);
                let (sin, cos) = (std::f64::consts::TAU * (v - 0.5)).sin_cos();
                let side = if e % 2 == 0 { cos } else { sin };
                *out += f64::from(self.noise) * (-2.0 * (1.0 - u).ln()).sqrt() * side;
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let &[_, h, w, c] = inputs[0].dims() else { return };
        cpu::augment(self, self.key(clock(&inputs[1])), [h, w, c], inputs[0].data, outputs[0].data);
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let &[n, h, w, c] = inputs[0].dims() else { return Kernel::groups("augment", "main", 0) };
        // Sixteen elements per invocation; a digit is one workgroup.
        let chunk = 16 * WORKGROUP;
        let chunks = (h * w * c).div_ceil(chunk);
        Kernel::groups("augment", "augment", n * chunks)
            .with("BATCH", n)
            .with("HEIGHT", h)
            .with("WIDTH", w)
            .with("CHANNELS", c)
            .with("CHUNK", chunk)
            .with("CHUNKS", chunks)
            .with("STREAM", self.stream)
            .with("ALIKE", self.alike)
            .with("BLACK", self.black)
            .with("BACKGROUND", self.background)
            .with("MOVES", self.moves())
            .with("TURN", self.rotate.to_radians())
            .with("SHIFT_Y", self.shift * h as f32)
            .with("SHIFT_X", self.shift * w as f32)
            .with("ZOOM", self.zoom)
            .with("SHEAR", self.shear.to_radians())
            .with("QUARTERS", self.quarter_turns)
            .with("ELASTIC", self.elastic > 0.0)
            .with("REACH", self.reach())
            .with("CELLS", CELLS)
            .with("CELL", h.max(w) as f32 / CELLS as f32)
            .with("POINTS", POINTS)
            .with("ERASES", self.erase > 0.0)
            .with("HOLE_HEIGHT", self.longest_hole(h))
            .with("HOLE_WIDTH", self.longest_hole(w))
            .with("NOISY", self.noise > 0.0)
            .with("NOISE", self.noise)
            .with("WORKGROUP", WORKGROUP)
    }
}

pub fn cases() -> Vec<Case> {
    let nothing = Augment { black: -0.4, background: 0.7, stream: 9, ..Augment::NOTHING };
    let everything = Augment {
        rotate: 15.0,
        shift: 0.1,
        zoom: 0.2,
        shear: 10.0,
        quarter_turns: true,
        elastic: 1.5,
        erase: 0.4,
        noise: 0.1,
        ..nothing
    };
    let named = [
        ("nothing", nothing),
        ("rotate", Augment { rotate: 180.0, ..nothing }),
        ("shift", Augment { shift: 1.5, ..nothing }),
        ("zoom", Augment { zoom: 0.9, ..nothing }),
        ("shear", Augment { shear: 45.0, ..nothing }),
        ("quarter turns", Augment { quarter_turns: true, ..nothing }),
        ("elastic", Augment { elastic: 1.4, ..nothing }),
        ("erase", Augment { erase: 1.0, ..nothing }),
        ("noise", Augment { noise: 0.3, ..nothing }),
        ("everything", everything),
        ("all but turns", Augment { quarter_turns: false, ..everything }),
        ("alike", Augment { quarter_turns: false, alike: true, ..everything }),
    ];
    let mut cases = Vec::new();
    for (name, op) in named {
        for shape in [[1, 1, 1, 1], [3, 5, 5, 3], [2, 7, 13, 1], [9, 28, 28, 1], [2, 36, 37, 3]] {
            if op.quarter_turns && shape[1] != shape[2] {
                continue;
            }
            // The place that a pixel is taken from is off by some 1e-5 of a pixel in f32, and neighbours may differ by
            // twice the largest value.
            let case = Case::new(format!("{name} {shape:?}"), Arc::new(op)).tolerance(1e-4).no_derivative();
            cases.push(case.input(Tensor::f32(shape), Fill::Uniform).input(Tensor::u32([2]), Fill::Words(&[41, 9])));
        }
    }
    cases
}
