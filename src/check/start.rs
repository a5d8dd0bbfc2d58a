//! A short check of a GPU before it is used: a few cases of what training consists of, compared with their CPU twins.
//!
//! What passed is remembered in the cache folder, by adapter, driver and shaders, so that it costs nothing until one of
//! them changes.

use std::path::{Path, PathBuf};

use super::program::Program;
use super::{Finding, compare, convolutions, one_of_each, speed};
use crate::cache;
use crate::device::compared::Compared;
use crate::device::cpu::Cpu;
use crate::device::{Choice, Device, DeviceError, choose, gpu::AdapterInfo};
use crate::faults;
use crate::ops::{Case, cases};

/// The ops that are checked: those that a classifier's and a GAN's steps spend their time in, and the random bits.
const OPS: [&str; 12] = [
    "matmul.nn",
    "matmul.nt",
    "matmul.tn",
    "conv2d",
    "conv2d.grad_x",
    "conv2d.grad_w",
    "batch_norm.sums",
    "batch_norm.grad_x",
    "max_pool",
    "cross_entropy.grad",
    "optimizer",
    "dropout",
];

/// How many convolutions are quick to check: a common one and one with a stride, and the same transposed.
const QUICK: usize = 4;

/// Opens a device that [`choose::find`] has found for `wanted`; a GPU's results are checked first. If `auto` has taken
/// a GPU that cannot be used, `say` is told why, and the next one takes its place, which may be the same card through
/// another driver; in the end the CPU. Returns the device that was opened.
///
/// # Errors
/// [`DeviceError::Drifts`] for a GPU whose results are wrong, and those of opening it.
pub fn open(
    choice: Choice,
    wanted: &str,
    say: &mut dyn FnMut(String),
) -> Result<(Choice, Box<dyn Device>), DeviceError> {
    let mut error = match trusted(&choice) {
        Ok(device) if choose::is_auto(wanted) => return Ok(faster(choice, device, say)),
        Ok(device) => return Ok((choice, device)),
        Err(error) => error,
    };
    if !choose::is_auto(wanted) || choice.adapter().is_none() {
        return Err(error);
    }
    for other in choose::others(&choice).into_iter().chain([Choice::Cpu]) {
        say(match other.adapter() {
            Some(info) => format!("{error}. {info} is tried instead"),
            None => format!("{error}. The CPU computes instead"),
        });
        match trusted(&other) {
            Ok(device) => return Ok(faster(other, device, say)),
            Err(next) => error = next,
        }
    }
    Err(error)
}

/// The device, or the CPU instead of a GPU that was never compared with it and turns out to be slower.
fn faster(choice: Choice, mut device: Box<dyn Device>, say: &mut dyn FnMut(String)) -> (Choice, Box<dyn Device>) {
    /// Seconds for each of the two.
    const MEASURED: f64 = 0.2;
    let Some(info) = choice.adapter().filter(|info| Compared::is_open(info) && !faults::waits()) else {
        return (choice, device);
    };
    // Without a place to remember the result, it would be measured at every start.
    let Some(cache) = cache::folder() else { return (choice, device) };
    let mut cpu: Box<dyn Device> = Box::new(Cpu::new());
    if Compared::read(&cache, info, &cpu.name()).is_some() {
        // It is known not to be slower: otherwise `auto` would have taken the CPU.
        return (choice, device);
    }
    let speed = |device: &mut dyn Device| speed::convolution(device, MEASURED).ok();
    let Some(speeds) = speed(device.as_mut()).zip(speed(cpu.as_mut())) else { return (choice, device) };
    let compared = Compared::new(info, &cpu.name(), speeds.into());
    if let Err(error) = compared.keep(&cache) {
        log::warn!("{}: {error}", cache.display());
    }
    if !compared.prefers_cpu() {
        return (choice, device);
    }
    let Compared { gpu, cpu: faster, .. } = compared;
    say(format!(
        "{info} computes convolutions at {gpu:.0} GFLOP/s and the CPU at {faster:.0}, so `auto` takes the CPU from now on; \
         name the GPU with --device to use it"
    ));
    (Choice::Cpu, cpu)
}

fn trusted(choice: &Choice) -> Result<Box<dyn Device>, DeviceError> {
    let mut device = choice.open()?;
    let Some(info) = choice.adapter() else { return Ok(device) };
    let record = cache::folder().map(|folder| Record::of(&folder, info));
    if !faults::waits() && !record.as_ref().is_some_and(Record::is_kept) {
        let units = info.target().matrices.is_some();
        look_at(device.as_mut(), units).map_err(|finding| match finding {
            Finding::Device(error) => error,
            finding => DeviceError::Drifts { device: info.to_string(), fault: finding.to_string() },
        })?;
        if let Some(record) = record {
            record.keep();
        }
    }
    Ok(device)
}

/// Runs the cases in one step, and convolutions on matrix-multiply units where these are in use.
///
/// # Errors
/// The first that is wrong.
fn look_at(device: &mut dyn Device, matrix_units: bool) -> Result<(), Finding> {
    let mut program = Program::default();
    for case in &representatives() {
        program.forward(case)?;
    }
    compare(&program, device)?;
    let convolutions = if matrix_units { convolutions() } else { Vec::new() };
    convolutions.iter().take(QUICK).try_for_each(|convolution| convolution.check(device))
}

/// A case of each of [`OPS`].
fn representatives() -> Vec<Case> {
    let mut cases = one_of_each(cases());
    cases.retain(|case| OPS.contains(&case.op.name()));
    cases
}

/// Raised when the check looks at more: what passed until then is checked anew.
const LOOK: u32 = 2;

/// A file in the cache folder that records what was found to be right.
struct Record {
    path: PathBuf,
    text: String,
}

impl Record {
    fn of(cache: &Path, info: &AdapterInfo) -> Record {
        let text = format!("{}look {LOOK}\n", info.identity());
        Record { path: cache::entry(cache, "devices", &text, "txt"), text }
    }

    fn is_kept(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|bytes| bytes == self.text.as_bytes())
    }

    /// What cannot be kept is checked again the next time.
    fn keep(&self) {
        if let Err(error) = cache::write(&self.path, self.text.as_bytes()) {
            log::warn!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::{Class, Limits};
    use crate::device::rigged::{Moment, Rigged};

    #[test]
    fn every_op_of_the_short_look_has_a_case() {
        let cases = representatives();
        assert!(OPS.iter().all(|op| cases.iter().any(|case| case.op.name() == *op)) && cases.len() == OPS.len());
    }

    #[test]
    fn what_was_right_is_known_again_until_the_driver_changes() {
        let cache = tempfile::tempdir().unwrap();
        let limits =
            Limits { buffer: 0, binding: 0, bindings: 8, groups: 65_535, invocations: 256, workgroup_bytes: 16_384 };
        let info = AdapterInfo {
            name: "GeForce".into(),
            backend: "Vulkan",
            class: Class::Discrete,
            vendor: 0x10de,
            driver: "NVIDIA 580.95".into(),
            limits,
            f16: true,
            subgroups: Some([32, 32]),
            matrix_units: None,
            uses_matrix_units: false,
            timestamps: true,
            problem: None,
        };
        assert!(!Record::of(cache.path(), &info).is_kept());
        Record::of(cache.path(), &info).keep();
        assert!(Record::of(cache.path(), &info).is_kept());
        let updated = AdapterInfo { driver: "NVIDIA 590.10".into(), ..info };
        assert!(!Record::of(cache.path(), &updated).is_kept());
    }

    #[test]
    fn a_device_passes_the_short_look_unless_one_number_of_it_is_wrong() {
        look_at(&mut Cpu::new(), true).unwrap();
        let mut result = None;
        let mut wrong = Rigged::open("a GPU that drifts", move |cpu, moment| match (moment, result) {
            (Moment::Allocates(store), _) => {
                result = store.buffers().map(|(id, ..)| id).last();
                Ok(())
            }
            (Moment::HasRun, Some(result)) => cpu.write(result, 0, &[1e9f32.to_bits()]),
            _ => Ok(()),
        });
        let finding = look_at(wrong.as_mut(), true).unwrap_err();
        assert!(!matches!(finding, Finding::Device(_)), "{finding}");
    }
}
