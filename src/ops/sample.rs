//! What stays on the device between steps: the data set, from which each step gathers its batch, the clock, the
//! ring of recent losses, and results of a whole pass.
//!
//! Position `step * batch + i` counts through all epochs one after another, so batches may straddle two epochs
//! and every image comes exactly once in each. With a [`Window`] a set counts as many times as large: row
//! `v` of it is image `v / places` with the window at place `v % places`.

use std::sync::Arc;

use super::case::{Case, Fill};
use super::dropout::{clock, is_clock};
use super::kernel::WORKGROUP;
use super::{Exact, In, Kernel, Op, Out, Target, Window, expect, random};
use crate::lines::ask_for;
use crate::parallel::{each, parallel_rows, rows_at_a_time, shares_of_parts, threads, vectorized};
use crate::tensor::{Kind, Shape, Tensor};

// Images are read as bytes here and as words by the shader.
const _: () = assert!(cfg!(target_endian = "little"), "bytes are packed into words lowest first");

/// Images of a data set that the processor is asked for before the one at hand is done: they lie anywhere in memory.
const AHEAD: usize = 4;

/// In which order a data set is gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Each epoch in another shuffle, named by the seed. Positions must stay below 2^32.
    Shuffled,
    /// First to last, once; past the end there are images of zeros with labels that are no class.
    InTurn,
}

impl Order {
    /// The row at place `i` of the batch, if the data set has one there.
    #[inline(always)]
    pub fn row(self, [step, seed]: random::Clock, batch: usize, i: usize, count: usize) -> Option<usize> {
        match self {
            Order::Shuffled => {
                let (position, count) = (step.wrapping_mul(batch as u32).wrapping_add(i as u32), count as u32);
                Some(random::Shuffle::new(count, seed, position / count).at(position % count) as usize)
            }
            Order::InTurn => Some(step as usize * batch + i).filter(|row| *row < count),
        }
    }

    /// The rows at place `first` of the batch and those after it: what [`Order::row`] says, many side by side.
    #[inline(always)]
    fn rows(self, [step, seed]: random::Clock, batch: usize, first: usize, count: usize, out: &mut [Option<usize>]) {
        if self == Order::InTurn {
            return out.iter_mut().zip(first..).for_each(|(out, i)| *out = self.row([step, seed], batch, i, count));
        }
        let count = count as u32;
        let mut position = step.wrapping_mul(batch as u32).wrapping_add(first as u32);
        let mut found = [0; 64];
        let mut rest = out;
        while !rest.is_empty() {
            // Another epoch has another shuffle.
            let left = (count - position % count) as usize;
            let (out, after) = rest.split_at_mut(rest.len().min(left).min(found.len()));
            let found = &mut found[..out.len()];
            random::Shuffle::new(count, seed, position / count).from(position % count, found);
            out.iter_mut().zip(&*found).for_each(|(out, row)| *out = Some(*row as usize));
            position = position.wrapping_add(out.len() as u32);
            rest = after;
        }
    }

    fn constants(self, kernel: Kernel, count: usize, batch: usize) -> Kernel {
        kernel
            .with("FINDS_ROWS", true)
            .with("SHUFFLED", self == Order::Shuffled)
            .with("ROWS", count)
            .with("BATCH", batch)
            .with("HALF_BITS", random::half_bits(count.max(2) as u32))
            .with("WORKGROUP", WORKGROUP)
    }
}

/// A kernel that looks for no rows of the data set.
fn plain(entry: &'static str, count: usize) -> Kernel {
    let kernel = Kernel::flat("sample", entry, count).with("COUNT", count).with("WORKGROUP", WORKGROUP);
    kernel.with("FINDS_ROWS", false).with("SHUFFLED", false).with("BY_FOUR", false)
}

fn exact_clock(input: &Exact) -> random::Clock {
    [input.data[0] as u32, input.data[1] as u32]
}

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
    /// Which images are given, where not all of the data set are.
    pub staged: Option<Staged>,
    /// Parts that the pixels lie in, one after another, each of all images of the batch; only on the CPU more than 1.
    pub parts: usize,
}

/// Images of the next steps only, each batch as it comes, that of step `s` at place `s % steps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staged {
    pub steps: usize,
    /// Ticks of the clock in a step.
    pub ticks: usize,
}

impl GatherImages {
    fn dims(&self) -> Result<[usize; 3], String> {
        let dims = self.image.dims();
        dims.try_into().map_err(|_| format!("images are [h, w, c], not {}", self.image))
    }

    /// The same as one product and one sum: divisions would take most of the time.
    fn scale_and_shift(&self) -> [f32; 2] {
        let (mean, std) = (f64::from(self.mean), f64::from(self.std));
        [(1.0 / (255.0 * std)) as f32, (-mean / std) as f32]
    }

    /// Which of the given images is at place `i` of the batch, where the row of the data set is `row`.
    #[inline(always)]
    fn given(&self, [clock, _]: random::Clock, i: usize, row: usize) -> usize {
        match self.staged {
            Some(Staged { steps, ticks }) => clock as usize / ticks % steps * self.batch + i,
            None => row / self.copies(),
        }
    }

    /// How often each image comes, every time at another place.
    fn copies(&self) -> usize {
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
        // A byte in and a number out for each pixel of the batch.
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
        // A share of a part is for one thread, which finds those images in its cache again; else whoever is through with
        // its own share takes from others.
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
                        // What is ahead may be past the end of what is given; it is not read then.
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

/// The labels of a batch, `u32 [batch]`, of the images that [`GatherImages`] takes. Inputs: all labels `u32
/// [count]` and the clock `u32 [step, seed]`. Past the end in turn they are `u32::MAX`.
#[derive(Clone, Copy, Debug)]
pub struct GatherLabels {
    /// Labels in the data set.
    pub count: usize,
    /// How often each image comes: the places of its window, or 1.
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
        if labels.kind != Kind::U32 || labels.len() != self.count || self.count == 0 || self.copies == 0 {
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
        let kernel = Kernel::flat("sample", "gather_labels", self.batch).with("BY_FOUR", false);
        self.order
            .constants(kernel, self.count * self.copies, self.batch)
            .with("COUNT", self.batch)
            .with("COPIES", self.copies)
    }
}

/// An update: the clock `u32 [step, seed]` goes so many steps on.
#[derive(Clone, Copy, Debug)]
pub struct Tick(pub u32);

impl Op for Tick {
    fn name(&self) -> &'static str {
        "tick"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        expect::<0>(inputs).map(|_| Tensor::u32([2]))
    }
    fn reference(&self, _: &[Exact], out: &mut Exact) -> bool {
        out.data[0] += f64::from(self.0);
        true
    }
    fn cpu(&self, _: &[In], outputs: &mut [Out]) {
        let step = &mut outputs[0].u32s()[0];
        *step = step.wrapping_add(self.0);
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        plain("tick", 1).with("BY", self.0 as usize)
    }
}

/// An update: `ring [slots, 2]` gets the loss and the correct answers of this step in the slot `step % slots`.
/// Inputs: the clock, the loss `[1]` and the count `[1]`.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub slots: usize,
}

impl Op for Record {
    fn name(&self) -> &'static str {
        "record"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [clock, loss, correct] = expect::<3>(inputs)?;
        is_clock(clock)?;
        if loss.len() != 1 || correct.len() != 1 || self.slots == 0 {
            return Err("takes a loss and a count of one element each, and at least one slot".into());
        }
        Ok(Tensor::f32([self.slots, 2]))
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let slot = inputs[0].data[0] as usize % self.slots;
        out.data[2 * slot] = inputs[1].data[0];
        out.data[2 * slot + 1] = inputs[2].data[0];
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let slot = clock(&inputs[0])[0] as usize % self.slots;
        outputs[0].data[2 * slot] = inputs[1].data[0];
        outputs[0].data[2 * slot + 1] = inputs[2].data[0];
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        plain("record", 1).with("SLOTS", self.slots)
    }
}

/// An update: rows of a batch go to their places among all, row `step * batch + i` of `[count, width]`; those past
/// the end are dropped. Inputs: the clock and `x [batch, ..]`.
#[derive(Clone, Copy, Debug)]
pub struct StoreRows {
    pub count: usize,
}

/// Batch and width of a tensor whose outermost size is the batch.
fn batch_and_width(dims: &[usize]) -> (usize, usize) {
    dims.split_first().map_or((1, 1), |(batch, rest)| (*batch, rest.iter().product()))
}

impl Op for StoreRows {
    fn name(&self) -> &'static str {
        "store_rows"
    }
    fn shape(&self, inputs: &[Tensor]) -> Result<Tensor, String> {
        let [clock, x] = expect::<2>(inputs)?;
        is_clock(clock)?;
        if x.is_empty() || x.kind != Kind::F32 {
            return Err("takes rows of f32".into());
        }
        Ok(Tensor::f32([self.count, batch_and_width(x.dims()).1]))
    }
    fn bytes(&self, inputs: &[Tensor], _: &[Tensor]) -> u64 {
        inputs[1].len() as u64 * 8
    }
    fn reference(&self, inputs: &[Exact], out: &mut Exact) -> bool {
        let (batch, width) = batch_and_width(inputs[1].dims());
        for (i, row) in inputs[1].data.chunks(width).enumerate() {
            let at = inputs[0].data[0] as usize * batch + i;
            if at < self.count {
                out.data[at * width..][..width].copy_from_slice(row);
            }
        }
        true
    }
    fn cpu(&self, inputs: &[In], outputs: &mut [Out]) {
        let (batch, width) = batch_and_width(inputs[1].dims());
        let first = clock(&inputs[0])[0] as usize * batch;
        let rows = batch.min(self.count.saturating_sub(first));
        if rows > 0 {
            outputs[0].data[first * width..][..rows * width].copy_from_slice(&inputs[1].data[..rows * width]);
        }
    }
    fn gpu(&self, inputs: &[Tensor], _: &[Tensor], _: Target) -> Kernel {
        let (batch, width) = batch_and_width(inputs[1].dims());
        plain("store_rows", batch * width).with("BATCH", batch).with("WIDTH", width).with("ROWS", self.count)
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Steps in the first epoch, across two, and past the end.
    for (count, batch, image, step) in [
        (1, 1, [1, 1, 1], &[0, 1]),
        (10, 4, [3, 3, 1], &[2, 5]),
        (37, 16, [4, 4, 1], &[2, 6]),
        (7, 3, [36, 37, 3], &[9, 7]),
    ] {
        for order in [Order::Shuffled, Order::InTurn] {
            let name = format!("{batch} of {count} {image:?} {order:?}");
            let clock = |case: Case| case.input(Tensor::u32([2]), Fill::Words(step)).no_derivative();
            let image = Shape::from(image);
            let words = Tensor::u32([(count * image.len()).div_ceil(4)]);
            // The whole image: one place. Nothing else fits the smallest.
            let window = Window { top: 0, left: 0, height: image.dims()[0], width: image.dims()[1] };
            let inner = Window { top: 1, height: window.height / 2, width: window.width / 2, ..window };
            let fits = inner.is_within([window.height, window.width]);
            for window in [None, Some(if fits { inner } else { window })] {
                let staged = None;
                let op = GatherImages {
                    count,
                    batch,
                    image: image.clone(),
                    mean: 0.13,
                    std: 0.31,
                    window,
                    order,
                    staged,
                    parts: 1,
                };
                let (copies, name) = (op.copies(), format!("{name}{}", if window.is_some() { " windows" } else { "" }));
                let case = Case::new(name.clone(), Arc::new(op.clone()));
                cases.push(clock(case.input(words.clone(), Fill::Below(u32::MAX))));
                let words = Tensor::u32([(2 * batch * image.len()).div_ceil(4)]);
                let case = Case::new(
                    format!("{name} staged"),
                    Arc::new(GatherImages { staged: Some(Staged { steps: 2, ticks: 3 }), ..op }),
                );
                cases.push(clock(case.input(words, Fill::Below(u32::MAX))));
                let op = GatherLabels { count, copies, batch, order };
                cases.push(clock(Case::new(name, Arc::new(op)).input(Tensor::u32([count]), Fill::Below(10))));
            }
        }
    }
    // An update's case starts from a target of zeros.
    cases.extend([1, 3].map(|by| Case::new(format!("by {by}"), Arc::new(Tick(by))).no_derivative()));
    for (slots, step) in [(1, &[9, 0]), (7, &[9, 0])] {
        let case = Case::new(format!("{slots} slots"), Arc::new(Record { slots })).no_derivative();
        let case = case.input(Tensor::u32([2]), Fill::Words(step)).input(Tensor::f32([1]), Fill::Positive);
        cases.push(case.input(Tensor::f32([1]), Fill::Uniform));
    }
    for (count, step) in [(37, &[1, 0]), (18, &[1, 0]), (5, &[1, 0])] {
        let case = Case::new(format!("13 of {count}"), Arc::new(StoreRows { count })).no_derivative();
        cases.push(case.input(Tensor::u32([2]), Fill::Words(step)).input(Tensor::f32([13, 7]), Fill::Uniform));
    }
    cases
}
