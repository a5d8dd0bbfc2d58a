//! A training set's images as steps find them on a device: all of them or, if the set is too large for it, those of the
//! next steps, which the host puts there in the order in which they are used.
//!
//! Either way a step sees the same images: their order follows from step and seed alone.

use rayon::prelude::*;

use super::TrainError;
use crate::data::{ImageSet, Pixels, send_packed};
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Place, Store};
use crate::ops::sample::{Order, Staged};
use crate::tensor::Tensor;

/// The most bytes that are put on a device at once.
const STAGE: usize = 16 << 20;

/// What the devices of a step have to do: how much they may hold, and how many share a batch.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The most bytes that a set may have to be stored on a device as a whole.
    pub room: u64,
    /// Devices that share a batch.
    pub parts: usize,
}

impl Share {
    pub const WHOLE: Share = Share { room: u64::MAX, parts: 1 };

    /// The least room: images that are sent as steps need them take no more, unless a single batch does.
    pub const LEAST: u64 = STAGE as u64;

    pub fn of(device: &dyn Device) -> Share {
        Share { room: device.room(), parts: device.count() }
    }

    /// What to try after an error, where a set of so many bytes was to be stored on the device as a whole and memory
    /// did not suffice: nothing tells how much of it is free before it is asked for.
    pub fn after(self, error: &TrainError, bytes: u64) -> Option<Share> {
        let takes_less = bytes > Share::LEAST && bytes <= self.room;
        let is_full = matches!(error.device(), Some(DeviceError::OutOfMemory { .. }));
        (takes_less && is_full).then_some(Share { room: Share::LEAST, ..self })
    }
}

pub struct Supply {
    buffer: BufferId,
    words: usize,
    /// Images in the set, and bytes in one.
    count: usize,
    size: usize,
    /// How often each image occurs in an epoch.
    copies: usize,
    /// Images in a device's part of a batch, and how many such parts there are.
    batch: usize,
    parts: usize,
    stage: Option<Stage>,
}

/// Batches that are sent as steps need them.
struct Stage {
    steps: usize,
    set: Pixels,
    seed: u32,
    /// The steps whose images are on the device now, counted in multiples of `steps`.
    there: Option<usize>,
    /// What was sent last.
    words: Vec<u32>,
}

impl Supply {
    /// For batches of a set; each device takes `batch` images of a batch. Every image occurs `copies` times in an
    /// epoch.
    pub fn declare(store: &mut Store, set: &ImageSet, batch: usize, copies: usize, share: Share) -> Supply {
        let Share { room, parts } = share;
        let (count, size) = (set.len(), set.image_len());
        let all = set.images.len();
        let mut stage = None;
        let mut bytes = all;
        if all as u64 > room {
            let one = (batch * size).max(1);
            let steps = (STAGE.min(room as usize) / one).clamp(1, super::steps::RING);
            bytes = steps * one;
            stage = Some(Stage { steps, set: Pixels::default(), seed: 0, there: None, words: Vec::new() });
        }
        let words = bytes.div_ceil(4);
        Supply { buffer: store.add("images", words), words, count, size, copies, batch, parts, stage }
    }

    /// Where the images are, packed four bytes to a word.
    pub fn place(&self) -> Place {
        Place::whole(self.buffer, Tensor::u32([self.words]))
    }

    /// Which images are on the device, if not all are.
    pub fn staged(&self) -> Option<Staged> {
        self.stage.as_ref().map(|stage| Staged { steps: stage.steps, ticks: self.parts })
    }

    /// Sends the set, or keeps it to be sent as it is needed.
    pub fn upload(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<(), DeviceError> {
        match &mut self.stage {
            Some(stage) => stage.set = set.images.clone(),
            None => send_packed(device, self.buffer, &set.images)?,
        }
        Ok(())
    }

    /// Sets the seed of the shuffles to come.
    pub fn begin(&mut self, seed: u32) {
        if let Some(stage) = &mut self.stage {
            (stage.seed, stage.there) = (seed, None);
        }
    }

    /// Replays a step's plans `count` times, with the images of step `first` and the steps after it.
    ///
    /// # Errors
    /// Those of the device. Plans that it does not have are refused before any image is sent to the buffers that took
    /// the place of theirs.
    pub fn run(
        &mut self,
        device: &mut dyn Device,
        plans: &[PlanId],
        first: usize,
        count: usize,
    ) -> Result<(), DeviceError> {
        device.run(plans, 0)?;
        let mut done = 0;
        while done < count {
            let steps = self.provide(device, first + done)?.min(count - done);
            device.run(plans, steps)?;
            done += steps;
        }
        Ok(())
    }

    /// Makes sure that the images of `step` are on the device, and returns for how many steps, from this one on, images
    /// are there.
    fn provide(&mut self, device: &mut dyn Device, step: usize) -> Result<usize, DeviceError> {
        let Some(stage) = &mut self.stage else { return Ok(usize::MAX) };
        let there = step / stage.steps;
        let first = there * stage.steps;
        if stage.there != Some(there) {
            stage.words.resize(self.words, 0);
            let (batch, size, rows) = (self.batch, self.size, self.count * self.copies);
            for (part, device) in device.parts().into_iter().enumerate() {
                bytemuck::cast_slice_mut::<u32, u8>(&mut stage.words)[..stage.steps * batch * size]
                    .par_chunks_exact_mut(batch * size)
                    .enumerate()
                    .for_each(|(i, images)| {
                        let clock = [((first + i) * self.parts + part) as u32, stage.seed];
                        for (i, image) in images.chunks_exact_mut(size).enumerate() {
                            if let Some(row) = Order::Shuffled.row(clock, batch, i, rows) {
                                image.copy_from_slice(stage.set.image(row / self.copies, size));
                            }
                        }
                    });
                device.write(self.buffer, 0, &stage.words)?;
            }
            stage.there = Some(there);
        }
        Ok(first + stage.steps - step)
    }
}
