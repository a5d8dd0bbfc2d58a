//! How fast a GPU is compared with the CPU device, where its kind does not tell: an integrated one may be slower than
//! the cores that it shares a chip with.
//!
//! Measured when `auto` would first take such a GPU ([`crate::check::start`]), and remembered in the cache folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gpu::{AdapterInfo, Class};
use crate::cache;

/// How much faster the CPU must be: less is noise, and a GPU leaves the cores free for other work.
const CLEARLY: f64 = 1.25;

/// Speeds of one convolution, in 1e9 operations a second.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// The adapter, its driver, these shaders, and the CPU device's threads: if any differs, it is measured anew.
    about: String,
    pub gpu: f64,
    pub cpu: f64,
}

impl Compared {
    /// What was measured on `info`'s adapter and on the CPU device of this name.
    pub fn new(info: &AdapterInfo, cpu_name: &str, [gpu, cpu]: [f64; 2]) -> Compared {
        Compared { about: about(info, cpu_name), gpu, cpu }
    }

    /// Whether it has to be measured: a discrete GPU is faster, and a software adapter is not.
    pub fn is_open(info: &AdapterInfo) -> bool {
        matches!(info.class, Class::Integrated | Class::Other)
    }

    /// What the cache folder remembers, if anything.
    pub fn read(cache: &Path, info: &AdapterInfo, cpu_name: &str) -> Option<Compared> {
        let about = about(info, cpu_name);
        let bytes = std::fs::read(file(cache, &about)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|read: &Compared| read.about == about)
    }

    /// # Errors
    /// What the system says.
    pub fn keep(&self, cache: &Path) -> std::io::Result<()> {
        cache::write(&file(cache, &self.about), &serde_json::to_vec_pretty(self)?)
    }

    /// Whether `auto` should take the CPU device instead.
    pub fn prefers_cpu(&self) -> bool {
        self.cpu > CLEARLY * self.gpu
    }
}

fn about(info: &AdapterInfo, cpu_name: &str) -> String {
    format!("{}beside {cpu_name}", info.identity())
}

fn file(cache: &Path, about: &str) -> PathBuf {
    cache::entry(cache, "speeds", about, "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_preferred_only_where_it_is_clearly_faster() {
        let info = AdapterInfo::plain("Iris", Class::Integrated, 0x8086);
        let prefers = |cpu| Compared::new(&info, "CPU (8 threads)", [100.0, cpu]).prefers_cpu();
        assert!(prefers(130.0));
        assert_eq!([120.0, 100.0, 90.0].map(prefers), [false; 3]);
    }

    #[test]
    fn speeds_are_remembered_for_the_driver_and_the_number_of_threads_that_they_were_measured_with() {
        let cache = tempfile::tempdir().unwrap();
        let info = AdapterInfo::plain("Iris", Class::Integrated, 0x8086);
        let read = |info: &AdapterInfo, cpu: &str| Compared::read(cache.path(), info, cpu);
        let speeds = Compared::new(&info, "CPU (8 threads)", [100.0, 130.0]);
        speeds.keep(cache.path()).unwrap();
        assert_eq!(read(&info, "CPU (8 threads)"), Some(speeds));
        assert_eq!(read(&info, "CPU (1 thread)"), None);
        assert_eq!(read(&AdapterInfo { driver: "31".into(), ..info }, "CPU (8 threads)"), None);
    }
}
