//! A device for tests of what is done when one is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::device::cpu::Cpu;
use crate::device::{Device, DeviceError, Origin, PlanId};
use crate::graph::{BufferId, Store};
use crate::plan::Plan;

/// A CPU that is lost after so many runs, for good.
pub struct Failing {
    cpu: Cpu,
    left: Arc<AtomicUsize>,
}

impl Failing {
    /// What is left of the runs is shared by all that are opened.
    pub fn open(left: &Arc<AtomicUsize>) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(Failing { cpu: Cpu::new(), left: Arc::clone(left) }))
    }
}

impl Device for Failing {
    fn name(&self) -> String {
        "a GPU that fails".into()
    }
    fn origin(&self) -> Origin {
        self.cpu.origin()
    }
    fn room(&self) -> u64 {
        self.cpu.room()
    }
    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.cpu.allocate(store)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.cpu.write(buffer, offset, words)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        self.cpu.read(buffer, offset, out)
    }
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        self.cpu.prepare(plan)
    }
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        match self.left.load(Ordering::SeqCst) {
            0 => Err(DeviceError::Lost { device: self.name(), reason: "unplugged".into() }),
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                self.cpu.run(plans, times)
            }
        }
    }
    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        self.cpu.profile(plan, times)
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.cpu.wait()
    }
}
