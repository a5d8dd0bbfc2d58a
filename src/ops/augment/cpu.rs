//! The CPU implementation: an image at a time, its rows in vectors.

use super::draw::{Draw, POINTS};
use super::math::normal_pair;
use super::{Augment, spline};
use crate::parallel::parallel_rows;

/// What all images of a batch share.
struct Batch {
    op: Augment,
    h: usize,
    w: usize,
    c: usize,
    /// How much each control point weighs on each row and column: `[POINTS][h]` and `[POINTS][w]`.
    rows: Vec<f32>,
    columns: Vec<f32>,
}

pub(super) fn augment(op: &Augment, key: u32, [h, w, c]: [usize; 3], images: &[f32], out: &mut [f32]) {
    let (rows, columns) =
        if op.elastic > 0.0 { (weights(h, h.max(w)), weights(w, h.max(w))) } else { (Vec::new(), Vec::new()) };
    let batch = Batch { op: *op, h, w, c, rows, columns };
    let size = h * w * c;
    // An element costs some ten additions to resample, and some twenty more with noise.
    let work = size * (1 + 10 * usize::from(op.moves()) + 20 * usize::from(op.noise > 0.0));
    parallel_rows(
        out,
        size,
        work,
        #[inline(always)]
        |i, out| batch.image(&Draw::of(op, key, i, [h, w]), &images[i * size..][..size], out),
    );
}

fn weights(side: usize, longer: usize) -> Vec<f32> {
    let mut weights = vec![0.0; POINTS * side];
    for at in 0..side {
        let (cell, four) = spline(at, longer);
        four.iter().enumerate().for_each(|(k, weight)| weights[(cell + k) * side + at] = *weight as f32);
    }
    weights
}

impl Batch {
    #[inline(always)]
    fn image(&self, draw: &Draw, image: &[f32], out: &mut [f32]) {
        if self.op.moves() {
            self.resample(draw, image, out);
        } else {
            out.copy_from_slice(image);
        }
        let [top, left, height, width] = draw.hole;
        if height * width > 0 {
            for row in out.chunks_mut(self.w * self.c).skip(top).take(height) {
                row[left * self.c..][..width * self.c].fill(self.op.black);
            }
        }
        if self.op.noise > 0.0 {
            let noise = self.op.noise;
            let (pairs, last) = out.as_chunks_mut::<2>();
            for (pair, out) in pairs.iter_mut().enumerate() {
                let [u, v] = draw.noise(pair as u32);
                let [a, b] = normal_pair(u, v);
                *out = [out[0] + noise * a, out[1] + noise * b];
            }
            let [u, v] = draw.noise(pairs.len() as u32);
            last.iter_mut().for_each(|out| *out += noise * normal_pair(u, v)[0]);
        }
    }

    #[inline(always)]
    fn resample(&self, draw: &Draw, image: &[f32], out: &mut [f32]) {
        let &Batch { h, w, c, .. } = self;
        let (line, stride) = (w * c, (w + 3) * c);
        // A border of background, one pixel above and to the left and two below and to the right: every place that is
        // asked for, clamped to it, has its four neighbours.
        let mut padded = vec![self.op.background; (h + 3) * stride];
        for (padded, image) in padded[stride..].chunks_mut(stride).zip(image.chunks(line)) {
            padded[c..][..line].copy_from_slice(image);
        }
        let controls = self.controls(draw);
        let [[a, b], [d, e]] = draw.map();
        let [middle_y, middle_x] = [h, w].map(|side| (side - 1) as f32 / 2.0);
        let (right, bottom) = (w as f32, h as f32);
        let [mut moved_y, mut moved_x] = [vec![0.0; w], vec![0.0; w]];
        let mut first = vec![0u32; w];
        for (y, out) in out.chunks_mut(line).enumerate() {
            if self.op.elastic > 0.0 {
                self.displacements(&controls, y, [&mut moved_y, &mut moved_x]);
            }
            let from_middle = y as f32 - (middle_y + draw.shift[0]);
            let (x0, y0) = (b * from_middle + middle_x, e * from_middle + middle_y);
            // Where each pixel comes from: its upper left neighbour, and how far it is beyond that.
            for (x, ((moved_y, moved_x), first)) in moved_y.iter_mut().zip(&mut moved_x).zip(&mut first).enumerate() {
                let from_middle = x as f32 - (middle_x + draw.shift[1]);
                let elastic = if self.op.elastic > 0.0 { [*moved_y, *moved_x] } else { [0.0; 2] };
                let at_x = (a * from_middle + x0 + elastic[1]).max(-1.0).min(right) + 1.0;
                let at_y = (d * from_middle + y0 + elastic[0]).max(-1.0).min(bottom) + 1.0;
                let (column, row) = (at_x as i32, at_y as i32);
                *first = (row * (w as i32 + 3) + column) as u32;
                (*moved_y, *moved_x) = (at_y - row as f32, at_x - column as f32);
            }
            let places = first.iter().zip(moved_y.iter().zip(&moved_x));
            if c == 1 {
                for (out, (first, (down, right))) in out.iter_mut().zip(places) {
                    let first = *first as usize;
                    let (above, below) = (&padded[first..first + 2], &padded[first + stride..first + stride + 2]);
                    *out = between([above[0], above[1]], [below[0], below[1]], *down, *right);
                }
                continue;
            }
            for (out, (first, (down, right))) in out.chunks_exact_mut(c).zip(places) {
                let above = &padded[*first as usize * c..][..stride + 2 * c];
                for (channel, out) in out.iter_mut().enumerate() {
                    let two = |at: usize| [above[at], above[at + c]];
                    *out = between(two(channel), two(channel + stride), *down, *right);
                }
            }
        }
    }

    /// `[down or right][column of points][row of points]`
    #[inline(always)]
    fn controls(&self, draw: &Draw) -> [[[f32; POINTS]; POINTS]; 2] {
        if self.op.elastic == 0.0 {
            return [[[0.0; POINTS]; POINTS]; 2];
        }
        [0, 1].map(|axis| std::array::from_fn(|k| std::array::from_fn(|j| draw.control(&self.op, [j, k], axis))))
    }

    /// How far each pixel of row `y` is displaced, downwards and to the right.
    #[inline(always)]
    fn displacements(&self, controls: &[[[f32; POINTS]; POINTS]; 2], y: usize, out: [&mut [f32]; 2]) {
        for (controls, out) in controls.iter().zip(out) {
            out.fill(0.0);
            for (column, weights) in controls.iter().zip(self.columns.chunks(self.w)) {
                let rows = self.rows[y..].iter().step_by(self.h);
                let control: f32 = column.iter().zip(rows).map(|(control, weight)| weight * control).sum();
                out.iter_mut().zip(weights).for_each(|(out, weight)| *out += weight * control);
            }
        }
    }
}

/// Interpolates between four neighbours, this far down and to the right.
#[inline(always)]
fn between(above: [f32; 2], below: [f32; 2], down: f32, right: f32) -> f32 {
    let [top, bottom] = [above, below].map(|[left, to_the_right]| left + right * (to_the_right - left));
    top + down * (bottom - top)
}
