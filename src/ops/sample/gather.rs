//! What a step takes from the data set: its batch of images, and their labels.

use std::sync::Arc;

use super::{Order, exact_clock};
use crate::lines::ask_for;
use crate::ops::dropout::{clock, is_clock};
use crate::ops::kernel::WORKGROUP;
use crate::ops::{Exact, In, Kernel, Op, Out, Target, Window, expect, random};
use crate::parallel::{each, parallel_rows, rows_at_a_time, shares_of_parts, threads, vectorized};
use crate::tensor::{Kind, Shape, Tensor};

// Images are read as bytes here and as words by the shader.
const _: () = assert!(cfg!(target_endian = "little"), "bytes are packed into words lowest first");

/// How many images of a data set are prefetched ahead of the current one: they lie anywhere in memory.
const AHEAD: usize = 4;

/// A batch of images, `f32 [batch, h, w, c]`, each `(byte / 255 - mean) / std`. Inputs: all images as bytes packed
/// four to a word, lowest first, and the clock `u32 [step, seed]`.
#[derive(Clone, Debug)]
pub struct GatherImages {
    /// Images in the data set.
    pub count: usize,
    pub batch: usize,
    /// `[h, w, c]`
    pub image: Shape,
    pub mean: f32,
    pub std: f32,
    /// What is kept of each image, at each of its places in turn; `None` for the images as they are.
    pub window: Option<Window>,
    pub order: Order,
    /// Which images the input holds, where it does not hold the whole data set.
    pub staged: Option<Staged>,
    /// Parts that the pixels lie in, one after another, each with all images of the batch; more than 1 only on the CPU.
    pub(crate) parts: usize,
}

/// Only the images of the next steps, each batch in order; the batch of step `s` is at place `s % steps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staged {
    pub steps: usize,
    /// Ticks of the clock in a step.
    pub ticks: usize,
}

impl GatherImages {
    /// `batch` images at a time from a data set of `count`, each whole and of `[h, w, c]`.
    pub fn new(count: usize, batch: usize, image: [usize; 3], [mean, std]: [f32; 2], order: Order) -> GatherImages {
        GatherImages { count, batch, image: image.into(), mean, std, window: None, order, staged: None, parts: 1 }
    }

    fn dims(&self) -> Result<[usize; 3], String> {
        let dims = self.image.dims();
        dims.try_into().map_err(|_| format!("images are [h, w, c], not {}", self.image))
    }

    /// The normalisation as one product and one sum: divisions would take most of the time.
    fn scale_and_shift(&self) -> [f32; 2] {
        let (mean, std) = (f64::from(self.mean), f64::from(self.std));
        [(1.0 / (255.0 * std)) as f32, (-mean / std) as f32]
    }

    /// Which image of the input is at place `i` of the batch, where `row` is the row of the data set.
    #[inline(always)]
    fn given(&self, [clock, _]: random::Clock, i: usize, row: usize) -> usize {
        match self.staged {
            Some(Staged { steps, ticks }) => clock as usize / ticks % steps * self.batch + i,
            None => row / self.copies(),
        }
    }

    /// How often each image occurs, every time at another place.
    pub(super) fn copies(&self) -> usize {
        match (self.window, self.image.dims()) {
            (Some(window), [h, w, ..]) => window.places([*h, *w]),
            _ => 1,
        }
    }
}

impl Op for GatherImages {
    fn name(&self) -> &'static str {
        "gather_images"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [images, clock] = expect::<2>(inputs)?;
        is_clock(clock)?;
        if self.count == 0 || self.batch == 0 || self.staged.is_some_and(|staged| staged.ticks == 0) {
            return Err(format!("takes at least one image at a time, not {} of {}", self.batch, self.count));
        }
        if !self.scale_and_shift().iter().all(|x| x.is_finite()) {
            let GatherImages { mean, std, .. } = self;
            return Err(format!("pixels cannot be normalised by a mean of {mean} and a deviation of {std}"));
        }
        let given = self.staged.map_or(self.count, |staged| staged.steps * self.batch);
        let words = (given * self.image.len()).div_ceil(4);
        if images.kind != Kind::U32 || images.len() < words || words == 0 {
            return Err(format!("takes {words} words for {given} images of {}", self.image));
        }
        if let Some(window) = self.window {
            let [h, w, _] = self.dims()?;
            if !window.is_within([h, w]) {
                return Err(format!("{window:?} is not within images of {}", self.image));
            }
        }
        Ok(Tensor::f32(Shape::new([&[self.batch], self.image.dims()].concat())))
    }
    fn bytes(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        // A byte in and a float out for each pixel of the batch.
        outputs[0].len() as u64 * 5
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (size, copies) = (self.image.len(), self.copies());
        let byte = |at: usize| (inputs[0].data[at / 4] as u32 >> (8 * (at % 4))) & 255;
        for (i, out) in out.data.iter_mut().enumerate() {
            let row = self.order.row(exact_clock(&inputs[1]), self.batch, i / size, self.count * copies);
            *out = row.map_or(0.0, |row| {
                let first = self.given(exact_clock(&inputs[1]), i / size, row) * size;
                let byte = match (self.window, self.image.dims()) {
                    (Some(window), &[h, w, c]) => {
                        let [top, left] = window.corner([h, w], row % copies);
                        let (y, x, channel) = (i % size / c / w, i % size / c % w, i % c);
                        let inside =
                            (top..top + window.height).contains(&y) && (left..left + window.width).contains(&x);
                        // At place (top, left) stands what was at the window's own corner.
                        let from = |y: usize, x: usize| (y * w + x) * c + channel;
                        let source = || from(y + window.top - top, x + window.left - left);
                        if inside { byte(first + source()) } else { 0 }
                    }
                    _ => byte(first + i % size),
                };
                (f64::from(byte) / 255.0 - f64::from(self.mean)) / f64::from(self.std)
            });
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let bytes: &[u8] = bytemuck::cast_slice(inputs[0].data);
        let (clock, size, [scale, shift]) = (clock(&inputs[1]), self.image.len(), self.scale_and_shift());
        let value = |byte: u8| f32::from(byte) * scale + shift;
        if let (Some(window), Ok(dims)) = (self.window, self.dims()) {
            let copies = self.copies();
            parallel_rows(
                outputs[0].data,
                size,
                size,
                #[inline(always)]
                |i, out| match self.order.row(clock, self.batch, i, self.count * copies) {
                    Some(row) => {
                        out.fill(value(0));
                        window.put(dims, row % copies, &bytes[self.given(clock, i, row) * size..][..size], out, value);
                    }
                    None => out.fill(0.0),
                },
            );
            return;
        }
        // A share of a part is for one thread, which finds those images in its cache again; without parts, a thread
        // that is done with its own share takes from others.
        let part = size / self.parts;
        let images = match self.parts {
            1 => rows_at_a_time(self.batch, size),
            parts => self.batch.div_ceil(threads().div_ceil(parts)),
        };
        let shares = shares_of_parts(outputs[0].data, self.batch * part, images * part);
        each(shares.into_iter(), |(number, at, out)| {
            let (begin, first) = (number * part, at / part);
            vectorized(
                #[inline(always)]
                || {
                    let mut rows = vec![None; out.len() / part];
                    self.order.rows(clock, self.batch, first, self.count, &mut rows);
                    let find = |i: usize| {
                        let row = (*rows.get(i)?)?;
                        let at = self.given(clock, first + i, row) * size + begin;
                        // What is ahead may be past the end of the input; then it is not read.
                        bytes.get(at..at + part).into_iter().for_each(ask_for);
                        Some(at)
                    };
                    let mut next: [Option<usize>; AHEAD] = std::array::from_fn(find);
                    for (i, out) in out.chunks_exact_mut(part).enumerate() {
                        match std::mem::replace(&mut next[i % AHEAD], find(i + AHEAD)) {
                            Some(at) => {
                                let image = &bytes[at..][..part];
                                out.iter_mut().zip(image).for_each(|(out, b)| *out = value(*b));
                            }
                            None => out.fill(0.0),
                        }
                    }
                },
            );
        });
    }
    fn giving_parts(&self, parts: usize) -> Option<Arc<dyn Op>> {
        let fits = self.window.is_none() && self.image.len().is_multiple_of(parts);
        fits.then(|| Arc::new(GatherImages { parts, ..self.clone() }) as Arc<dyn Op>)
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        assert_eq!(self.parts, 1, "only the CPU gives images in parts");
        // A window's rows may begin within a word.
        let by_four = self.window.is_none() && self.image.len().is_multiple_of(4);
        let size = self.image.len() / if by_four { 4 } else { 1 };
        // Sixteen elements an invocation; a digit is one workgroup.
        let chunk = 16 * WORKGROUP;
        let chunks = size.div_ceil(chunk);
        let [scale, shift] = self.scale_and_shift();
        let kernel = Kernel::groups("sample", "gather_images", self.batch * chunks);
        let kernel = self
            .order
            .constants(kernel, self.count * self.copies(), self.batch)
            .with("BY_FOUR", by_four)
            .with("STAGED", self.staged.is_some())
            .with("STEPS", self.staged.map_or(1, |staged| staged.steps))
            .with("TICKS", self.staged.map_or(1, |staged| staged.ticks))
            .with("SIZE", size)
            .with("CHUNK", chunk)
            .with("CHUNKS", chunks)
            .with("WORKGROUP", WORKGROUP)
            .with("SCALE", scale)
            .with("SHIFT", shift)
            .with("WINDOWED", self.window.is_some());
        match (self.window, self.image.dims()) {
            (Some(window), &[h, w, c]) => kernel
                .with("COPIES", self.copies())
                .with("ACROSS", window.offsets([h, w])[1])
                .with("TOP", window.top)
                .with("LEFT", window.left)
                .with("WINDOW_HEIGHT", window.height)
                .with("WINDOW_WIDTH", window.width)
                .with("WIDTH", w)
                .with("CHANNELS", c),
            _ => kernel,
        }
    }
}

/// The labels of a batch, `u32 [batch]`, for the images that [`GatherImages`] takes. Inputs: all labels `u32 [count]`
/// and the clock `u32 [step, seed]`. Past the end, with [`Order::InTurn`], they are `u32::MAX`.
#[derive(Clone, Copy, Debug)]
pub struct GatherLabels {
    /// Labels in the data set.
    pub count: usize,
    /// How often each image occurs: the places of its window, or 1.
    pub copies: usize,
    pub batch: usize,
    pub order: Order,
}

impl Op for GatherLabels {
    fn name(&self) -> &'static str {
        "gather_labels"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [labels, clock] = expect::<2>(inputs)?;
        is_clock(clock)?;
        if [self.count, self.copies, self.batch].contains(&0) {
            return Err(format!("takes at least one label at a time, not {} of {}", self.batch, self.count));
        }
        if labels.kind != Kind::U32 || labels.len() != self.count {
            return Err(format!("takes {} labels", self.count));
        }
        Ok(Tensor::u32([self.batch]))
    }
    fn bytes(&self, _: &[Tensor], outputs: &[Tensor]) -> u64 {
        outputs[0].len() as u64 * 8
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        for (i, out) in out.data.iter_mut().enumerate() {
            let row = self.order.row(exact_clock(&inputs[1]), self.batch, i, self.count * self.copies);
            *out = row.map_or(f64::from(u32::MAX), |row| inputs[0].data[row / self.copies]);
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (labels, clock) = (inputs[0].u32s(), clock(&inputs[1]));
        let together = rows_at_a_time(self.batch, 10);
        each(outputs[0].u32s().chunks_mut(together).enumerate(), |(share, out)| {
            vectorized(
                #[inline(always)]
                || {
                    let mut rows = vec![None; out.len()];
                    self.order.rows(clock, self.batch, share * together, self.count * self.copies, &mut rows);
                    for (out, row) in out.iter_mut().zip(rows) {
                        *out = row.map_or(u32::MAX, |row| labels[row / self.copies]);
                    }
                },
            );
        });
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let kernel = Kernel::flat("sample", "gather_labels", self.batch).with("COPIES", self.copies);
        self.order.constants(kernel, self.count * self.copies, self.batch)
    }
}
