//! Devices that replay plans: a GPU through WGSL, or the CPU through each op's twin. No code above knows which.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::graph::{BufferId, Store};
use crate::plan::Plan;

pub mod choose;
pub mod compared;
pub mod cpu;
pub mod gpu;
mod lazy;
#[cfg(test)]
pub mod rigged;
pub mod several;
pub mod stuck;

pub use choose::{Choice, Listed, find, find_all, list};
pub(crate) use lazy::Lazy;

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("no device {wanted:?}; there are: {found}. `inkgrad devices` lists them, `--device cpu` always works")]
    Unknown { wanted: String, found: String },
    #[error(
        "several devices can only share the work of `classify`, and of `train` on a classifier; name one of `inkgrad devices`"
    )]
    OneOnly,
    #[error("{device}: {op} needs {needed}, the device allows {allowed}; try {}", less(device))]
    Limit { device: String, op: String, needed: String, allowed: String },
    #[error("{device}: out of memory for {what}{}; try {}", sized(*bytes), less(device))]
    OutOfMemory { device: String, what: String, bytes: u64 },
    #[error(
        "{device}: lost ({reason}); try a smaller batch, which takes less time and memory at once, or `--device cpu`"
    )]
    Lost { device: String, reason: String },
    #[error("{device}: its results are wrong ({fault}). `inkgrad doctor` tells more, `--device cpu` avoids it")]
    Drifts { device: String, fault: String },
    #[error(
        "{device}: gave no answer for {seconds} seconds; its driver or the device is stuck. `--device cpu` avoids it"
    )]
    Hung { device: String, seconds: u64 },
    #[error(
        "{device}: does not hold the buffers that this was made ready for: they were allocated anew since, never, or \
         on another device; open it again"
    )]
    Stale { device: String },
    #[error("{device}: the buffer {buffer:?} has {has} words, which is fewer than the {wanted} that this reaches to")]
    Outside { device: String, buffer: String, wanted: usize, has: usize },
    #[error("{device}: {reason}")]
    Failed { device: String, reason: String },
}

/// What the CPU is called in errors.
const CPU: &str = "CPU";

/// The size of something that found no room; empty for 0 bytes, as drivers do not always say how large it is.
fn sized(bytes: u64) -> String {
    let of = |power| bytes as f64 / 1024f64.powi(power);
    match bytes {
        0 => String::new(),
        1..0x10_0000 => format!(" ({bytes} bytes)"),
        0x10_0000..0x4000_0000 => format!(" ({:.1} MiB)", of(2)),
        _ => format!(" ({:.1} GiB)", of(3)),
    }
}

/// What to try: something that takes less of this device, or another device.
fn less(device: &str) -> &'static str {
    if device == CPU { "a smaller batch" } else { "a smaller batch or `--device cpu`" }
}

impl DeviceError {
    /// Whether it is the CPU that lacks the memory for what it was asked for.
    pub fn is_full_cpu(&self) -> bool {
        matches!(self, DeviceError::OutOfMemory { device, .. } if device == CPU)
    }
}

/// A plan that a device has made ready, for the buffers that it held at the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanId {
    index: usize,
    generation: Generation,
}

/// Identifies a device's buffers: the number changes whenever the device allocates them anew, and no two devices have
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Generation(u64);

impl Default for Generation {
    fn default() -> Generation {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Generation(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Generation {
    fn plan(self, index: usize) -> PlanId {
        PlanId { index, generation: self }
    }

    /// A plan's index on the device, unless it was made ready for other buffers.
    fn index(self, plan: PlanId, device: impl FnOnce() -> String) -> Result<usize, DeviceError> {
        if plan.generation == self { Ok(plan.index) } else { Err(DeviceError::Stale { device: device() }) }
    }

    fn indices(self, plans: &[PlanId], device: impl Fn() -> String) -> Result<Vec<usize>, DeviceError> {
        plans.iter().map(|plan| self.index(*plan, &device)).collect()
    }
}

/// Refuses words that a stored buffer does not have. A device rounds the memory of its buffers up; what that adds
/// belongs to nobody.
fn check_words(
    store: &Store,
    buffer: BufferId,
    offset: usize,
    words: usize,
    device: impl FnOnce() -> String,
) -> Result<(), DeviceError> {
    let Some((name, has)) = store.get(buffer) else { return Err(DeviceError::Stale { device: device() }) };
    let wanted = offset.saturating_add(words);
    match wanted <= has {
        true => Ok(()),
        false => Err(DeviceError::Outside { device: device(), buffer: name.into(), wanted, has }),
    }
}

/// What decides a device's results to the last bit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The adapter and how it is reached, or `CPU`.
    pub device: String,
    /// The driver and its version, or the processor's instructions.
    pub driver: String,
}

/// Holds the stored buffers and replays plans on them. Elsewhere it can only be implemented around one of these
/// devices: nothing else makes a [`PlanId`].
pub trait Device: Send {
    /// The device's name as the driver gives it, and how it is reached: `NVIDIA H100 (Vulkan)`.
    fn name(&self) -> String;

    fn origin(&self) -> Origin;

    /// The most bytes that a data set may have to be kept on the device as a whole. A larger one is sent piece by
    /// piece.
    fn room(&self) -> u64;

    /// The devices that each take a part of a batch: just itself, if it is a single one.
    fn parts(&mut self) -> Vec<&mut dyn Device>;

    /// How many devices [`Device::parts`] gives.
    fn count(&self) -> usize {
        1
    }

    /// Allocates every buffer of the store, zeroed. Buffers allocated before are dropped, and with them their plans,
    /// which are refused from then on with [`DeviceError::Stale`].
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError>;

    /// Overwrites words of a buffer from `offset` on. Happens before plans that are run later. Which store a buffer
    /// belongs to is not checked, only whether the device holds such a buffer, else the error is
    /// [`DeviceError::Stale`], and whether it has these words, else it is [`DeviceError::Outside`].
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError>;

    /// Waits for everything that was started and reads `out.len()` words from `offset` on; refuses what
    /// [`Device::write`] refuses.
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError>;

    /// Makes a plan ready: pipelines, bind groups, scratch buffers. Scratch is shared between plans. Refuses a plan of
    /// words that [`Device::write`] refuses.
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError>;

    /// Replays the plans one after another, and the whole sequence `times` times, in as few submissions as the device
    /// tolerates; may return before they are done. With 0 times it only checks that the plans are its own.
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError>;

    /// Replays a prepared plan `times` times, and returns the shortest time that each of its dispatches took by itself.
    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError>;

    /// Waits until everything that was started is done.
    fn wait(&mut self) -> Result<(), DeviceError>;
}

impl dyn Device + '_ {
    pub fn write_f32(&mut self, buffer: BufferId, offset: usize, data: &[f32]) -> Result<(), DeviceError> {
        self.write(buffer, offset, bytemuck::cast_slice(data))
    }
    pub fn read_f32(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f32>, DeviceError> {
        let mut out = vec![0.0f32; len];
        self.read(buffer, offset, bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_units_that_can_be_read_and_the_cpu_is_not_advised_to_itself() {
        let said = |device: &str, bytes| {
            let (device, what) = (device.into(), "images".into());
            DeviceError::OutOfMemory { device, what, bytes }.to_string()
        };
        assert_eq!(said("CPU", 100_352_000_000), "CPU: out of memory for images (93.5 GiB); try a smaller batch");
        let gpu = "a GPU: out of memory for images";
        let advice = "try a smaller batch or `--device cpu`";
        assert_eq!(said("a GPU", 203_776), format!("{gpu} (203776 bytes); {advice}"));
        assert_eq!(said("a GPU", 17_200_000), format!("{gpu} (16.4 MiB); {advice}"));
        assert_eq!(said("a GPU", 0), format!("{gpu}; {advice}"));
    }
}
