//! Where a model's numbers come from: what computed them, so that whoever has the file can compute them again.

use super::Precision;
use crate::device::{Device, Origin};
use crate::models::ModelFile;

/// Keys of a model file's metadata.
const DEVICE: &str = "device";
const DRIVER: &str = "driver";
/// Joins a device that took over to those before it.
const THEN: &str = ", then ";

/// The device of a run, and those that it ran on before it was resumed elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Provenance {
    devices: String,
    drivers: String,
}

impl Provenance {
    /// The provenance of a run that begins, or resumes from a checkpoint.
    pub fn new(device: &dyn Device, checkpoint: Option<&ModelFile>) -> Provenance {
        let Origin { device, driver } = device.origin();
        let before = |key| checkpoint.and_then(|file| file.metadata.get(key));
        let (Some(devices), Some(drivers)) = (before(DEVICE), before(DRIVER)) else {
            return Provenance { devices: device, drivers: driver };
        };
        let last = |all: &str| all.rsplit(THEN).next().unwrap_or(all).to_owned();
        if last(devices) == device && last(drivers) == driver {
            return Provenance { devices: devices.clone(), drivers: drivers.clone() };
        }
        Provenance { devices: format!("{devices}{THEN}{device}"), drivers: format!("{drivers}{THEN}{driver}") }
    }

    /// Writes it into a file, with the seed and the precision; the version is there already.
    pub fn describe(&self, file: &mut ModelFile, seed: u32, precision: Precision) {
        file.set("seed", seed);
        file.set(DEVICE, &self.devices);
        file.set(DRIVER, &self.drivers);
        file.set("precision", precision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;

    #[test]
    fn a_run_that_went_on_elsewhere_names_both_devices_and_one_that_did_not_names_it_once() {
        let mut file = ModelFile::default();
        Provenance::new(&Cpu::new(), None).describe(&mut file, 7, Precision::F32);
        assert_eq!((file.metadata["seed"].as_str(), file.metadata["device"].as_str()), ("7", "CPU"));
        assert_eq!(Provenance::new(&Cpu::new(), Some(&file)), Provenance::new(&Cpu::new(), None));

        file.set("device", "llvmpipe (Vulkan)");
        file.set("driver", "llvmpipe Mesa 22.3.6");
        for _ in 0..2 {
            Provenance::new(&Cpu::new(), Some(&file)).describe(&mut file, 7, Precision::F32);
            assert_eq!(file.metadata["device"], "llvmpipe (Vulkan), then CPU");
            assert!(file.metadata["driver"].starts_with("llvmpipe Mesa 22.3.6, then "));
        }
    }
}
