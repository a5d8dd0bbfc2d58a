//! A device for tests: the CPU, plus whatever else is to happen when it is asked for something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::cpu::Cpu;
use super::{Device, DeviceError, Origin, PlanId};
use crate::graph::{BufferId, Store};
use crate::plan::Plan;

/// When something else may happen.
pub enum Moment<'a> {
    /// Before it makes the buffers of a store.
    Allocates(&'a Store),
    /// Before so many words go to it or come from it.
    Moves(usize),
    /// Before it runs plans, and after.
    Runs,
    HasRun,
}

type Rig = Box<dyn FnMut(&mut Cpu, Moment<'_>) -> Result<(), DeviceError> + Send>;

pub struct Rigged {
    origin: Origin,
    room: u64,
    cpu: Cpu,
    rig: Rig,
}

impl Rigged {
    /// An error of `rig` becomes the device's error.
    pub fn open(
        name: &str,
        rig: impl FnMut(&mut Cpu, Moment<'_>) -> Result<(), DeviceError> + Send + 'static,
    ) -> Box<dyn Device> {
        Rigged::driven(name, &Cpu::new().origin().driver, rig)
    }

    /// One with this driver.
    pub fn driven(
        name: &str,
        driver: &str,
        rig: impl FnMut(&mut Cpu, Moment<'_>) -> Result<(), DeviceError> + Send + 'static,
    ) -> Box<dyn Device> {
        let (cpu, origin) = (Cpu::new(), Origin { device: name.into(), driver: driver.into() });
        Box::new(Rigged { origin, room: cpu.room(), cpu, rig: Box::new(rig) })
    }

    /// One that has room for a set of so many bytes.
    pub fn roomy(room: u64) -> Box<dyn Device> {
        let origin = Origin { device: "a card".into(), driver: String::new() };
        Box::new(Rigged { origin, room, cpu: Cpu::new(), rig: Box::new(|_, _| Ok(())) })
    }

    /// A GPU that is lost for good after so many runs. All that are opened with one `left` share the runs left.
    pub fn failing(left: &Arc<AtomicUsize>) -> Box<dyn Device> {
        const NAME: &str = "a GPU that fails";
        let left = Arc::clone(left);
        Rigged::open(NAME, move |_, moment| match (moment, left.load(Ordering::SeqCst)) {
            (Moment::Runs, 0) => Err(DeviceError::Lost { device: NAME.into(), reason: "unplugged".into() }),
            (Moment::Runs, runs) => {
                left.store(runs - 1, Ordering::SeqCst);
                Ok(())
            }
            _ => Ok(()),
        })
    }
}

impl Device for Rigged {
    fn name(&self) -> String {
        self.origin.device.clone()
    }
    fn origin(&self) -> Origin {
        self.origin.clone()
    }
    fn room(&self) -> u64 {
        self.room
    }
    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        (self.rig)(&mut self.cpu, Moment::Allocates(store))?;
        self.cpu.allocate(store)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        (self.rig)(&mut self.cpu, Moment::Moves(words.len()))?;
        self.cpu.write(buffer, offset, words)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        (self.rig)(&mut self.cpu, Moment::Moves(out.len()))?;
        self.cpu.read(buffer, offset, out)
    }
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        self.cpu.prepare(plan)
    }
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        // Not a run, but the question whether it has these plans.
        if times == 0 {
            return self.cpu.run(plans, 0);
        }
        (self.rig)(&mut self.cpu, Moment::Runs)?;
        self.cpu.run(plans, times)?;
        (self.rig)(&mut self.cpu, Moment::HasRun)
    }
    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        self.cpu.profile(plan, times)
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.cpu.wait()
    }
}
