//! What went wrong outside any call that could have returned it: a lost device, an error that nobody waited for.

use std::sync::{Arc, Mutex};

use crate::device::DeviceError;
use crate::faults;

#[derive(Clone, Debug)]
enum Trouble {
    Lost(String),
    OutOfMemory,
    Failed(String),
}

/// Shared with the device's callbacks. The first trouble is kept: what follows is its consequence.
#[derive(Clone, Debug)]
pub struct Health {
    device: String,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl Health {
    /// Listens to a device's errors from now on.
    pub fn watch(device: &wgpu::Device, name: String) -> Health {
        let health = Health { device: name, trouble: Arc::default() };
        let (lost, uncaptured) = (health.clone(), health.clone());
        device.set_device_lost_callback(move |reason, message| {
            lost.note(Trouble::Lost(if message.is_empty() { format!("{reason:?}") } else { message }));
        });
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.note(Trouble::from(error))));
        health
    }

    /// The error, if there has been one at any time.
    pub fn check(&self) -> Result<(), DeviceError> {
        let trouble = self.trouble.lock().unwrap_or_else(|e| e.into_inner()).clone();
        trouble.map_or(Ok(()), |trouble| Err(self.error(trouble, "what was running", 0)))
    }

    /// The error of something that just failed: a lost device explains it better than its own message.
    pub fn failed(&self, reason: impl Into<String>) -> DeviceError {
        match self.check() {
            Err(error) => error,
            Ok(()) => DeviceError::Failed { device: self.device.clone(), reason: reason.into() },
        }
    }

    /// Runs `f` and returns its result, or the error that the device raises.
    pub fn scoped<T>(
        &self,
        device: &wgpu::Device,
        what: &str,
        bytes: u64,
        f: impl FnOnce() -> T,
    ) -> Result<T, DeviceError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [OutOfMemory, Internal, Validation].map(|filter| device.push_error_scope(filter));
        let result = f();
        let mut error = None;
        for scope in scopes.into_iter().rev() {
            error = pollster::block_on(scope.pop()).or(error);
        }
        self.check()?;
        if faults::happens(faults::Fault::OutOfMemory) {
            return Err(self.error(Trouble::OutOfMemory, what, bytes));
        }
        match error {
            None => Ok(result),
            Some(error) => Err(self.error(Trouble::from(error), what, bytes)),
        }
    }

    fn note(&self, trouble: Trouble) {
        log::error!("{}: {trouble:?}", self.device);
        self.trouble.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(trouble);
    }

    fn error(&self, trouble: Trouble, what: &str, bytes: u64) -> DeviceError {
        let device = self.device.clone();
        match trouble {
            Trouble::Lost(reason) => DeviceError::Lost { device, reason },
            Trouble::OutOfMemory => DeviceError::OutOfMemory { device, what: what.into(), bytes },
            Trouble::Failed(reason) => DeviceError::Failed { device, reason: format!("{what}: {reason}") },
        }
    }
}

impl From<wgpu::Error> for Trouble {
    fn from(error: wgpu::Error) -> Trouble {
        match error {
            wgpu::Error::OutOfMemory { .. } => Trouble::OutOfMemory,
            // Only the description says which shader it is and where.
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Trouble::Failed(description.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }
}
