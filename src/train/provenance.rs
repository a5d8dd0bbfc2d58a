//! Where a model's numbers come from: the data, and what computed them, so that whoever has both can compute them again.

use super::Precision;
use crate::data::{DataSet, Reading};
use crate::device::{Device, Origin};
use crate::models::{DATA_DIGEST, ModelFile};

/// Keys of a model file's metadata.
const DEVICE: &str = "device";
const DRIVER: &str = "driver";
/// Joins a device that took over to those before it.
const THEN: &str = ", then ";

/// The seed and the precision of a run, its device, and those that it ran on before it was resumed elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Provenance {
    seed: u32,
    precision: Precision,
    devices: String,
    drivers: String,
}

impl Provenance {
    /// The provenance of a run that begins, or resumes from a checkpoint.
    pub fn new(device: &dyn Device, checkpoint: Option<&ModelFile>, seed: u32, precision: Precision) -> Provenance {
        let Origin { device, driver } = device.origin();
        let before = |key| checkpoint.and_then(|file| file.metadata.get(key));
        let last = |all: &str| all.rsplit(THEN).next().unwrap_or(all).to_owned();
        let (devices, drivers) = match (before(DEVICE), before(DRIVER)) {
            (Some(devices), Some(drivers)) if last(devices) == device && last(drivers) == driver => {
                (devices.clone(), drivers.clone())
            }
            (Some(devices), Some(drivers)) => (format!("{devices}{THEN}{device}"), format!("{drivers}{THEN}{driver}")),
            _ => (device, driver),
        };
        Provenance { seed, precision, devices, drivers }
    }

    /// Writes it into a file, with the data set that the run learns from, which needs no images: `digest` is that of all
    /// its training images, and `reading` says how it was read. The version is there already.
    pub fn describe(&self, file: &mut ModelFile, data: &DataSet, digest: &str, reading: &Reading) {
        file.set("data", &data.name);
        file.set(DATA_DIGEST, digest);
        file.set_pictures(data.pictures);
        file.set_hold_out(reading.hold_out);
        file.set("seed", self.seed);
        file.set(DEVICE, &self.devices);
        file.set(DRIVER, &self.drivers);
        file.set("precision", self.precision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ImageSet;
    use crate::device::cpu::Cpu;

    #[test]
    fn a_run_that_went_on_elsewhere_names_both_devices_and_one_that_did_not_names_it_once() {
        let mut file = ModelFile::default();
        let on_cpu = |before: Option<&ModelFile>| Provenance::new(&Cpu::new(), before, 7, Precision::F32);
        let data = DataSet::new("few", ImageSet::default(), ImageSet::default(), Vec::new());
        let describe = |run: Provenance, file: &mut ModelFile| run.describe(file, &data, "1", &Reading::default());
        describe(on_cpu(None), &mut file);
        let said = ["data", DATA_DIGEST, "seed", DEVICE, "precision"].map(|key| file.metadata[key].as_str());
        assert_eq!(said, ["few", "1", "7", "CPU", "f32"]);
        assert_eq!(on_cpu(Some(&file)), on_cpu(None));

        file.set("device", "llvmpipe (Vulkan)");
        file.set("driver", "llvmpipe Mesa 22.3.6");
        for _ in 0..2 {
            describe(on_cpu(Some(&file)), &mut file);
            assert_eq!(file.metadata["device"], "llvmpipe (Vulkan), then CPU");
            assert!(file.metadata["driver"].starts_with("llvmpipe Mesa 22.3.6, then "));
        }
    }
}
