//! The GPU device: each dispatch is one WGSL dispatch. This is the only code that names wgpu, except the window,
//! which is drawn by the adapter that computes.
//!
//! Pipelines and bind groups are made once, when a plan is prepared; a step only records them, again and again,
//! into submissions bounded in time. Nothing is read back unless asked for.

mod adapter;
mod caught;
mod health;
mod layouts;
mod pace;
mod pipelines;
mod plans;
mod profile;
mod relay;
mod submit;
mod transfer;

use std::time::{Duration, Instant};

use wgpu::{Buffer, BufferUsages};

pub use adapter::{Adapter, AdapterInfo, Class, Limits, adapters};
use caught::caught;
use health::Health;
use layouts::Layouts;
pub use layouts::Tuned;
use pace::Flights;
use pipelines::Pipelines;
use plans::Prepared;
use relay::Relay;
use submit::{Refusal, Submitter};

use super::{Device, DeviceError, Generation, Origin, PlanId, check_words, stuck};
use crate::faults::{self, Fault};
use crate::graph::{BufferId, Store};
use crate::plan::Plan;

/// Buffers end on whole multiples of this, so that vectors of four may be read and written past a tensor's end.
const ROUND: u64 = 256;
/// A data set should leave some of a card's memory to the networks, and shaders count bytes in 32 bits.
const ROOM: u64 = 2 << 30;
/// After this long without an answer the driver is assumed to be stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the device has been asked to do so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Submissions of plans.
    pub submissions: u64,
    pub dispatches: u64,
    /// Times the host waited for data.
    pub reads: u64,
}

pub struct Gpu {
    info: AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    submitter: Submitter<wgpu::CommandBuffer, wgpu::SubmissionIndex>,
    health: Health,
    pipelines: Pipelines,
    layouts: Layouts,
    store: Store,
    stored: Vec<Buffer>,
    scratch: Vec<Buffer>,
    plans: Vec<Prepared>,
    generation: Generation,
    flights: Flights,
    staging: Option<Buffer>,
    relay: Option<Relay>,
    counters: Counters,
}

impl Gpu {
    /// Opens an adapter, with all the limits it allows.
    pub fn open(adapter: &Adapter) -> Result<Gpu, DeviceError> {
        let name = adapter.info.to_string();
        let failed = |reason: String| DeviceError::Failed { device: name.clone(), reason };
        if let Some(problem) = &adapter.info.problem {
            return Err(failed(problem.clone()));
        }
        let mut features = adapter.inner.features() & adapter::FEATURES;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if adapter.info.target().matrices.is_some() {
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: experimental features may have bugs; one shader uses them, and tests compare it with its twin.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("inkgrad"),
            required_features: features,
            required_limits: adapter.inner.limits(),
            experimental_features,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) =
            pollster::block_on(adapter.inner.request_device(&descriptor)).map_err(|e| failed(e.to_string()))?;
        let to = queue.clone();
        let submitter = Submitter::start(move |commands| to.submit([commands])).map_err(|e| failed(e.to_string()))?;
        let health = Health::watch(&device, name);
        Ok(Gpu {
            info: adapter.info.clone(),
            device,
            queue,
            submitter,
            health,
            pipelines: Pipelines::default(),
            layouts: Layouts::of(&adapter.info),
            store: Store::default(),
            stored: Vec::new(),
            scratch: Vec::new(),
            plans: Vec::new(),
            generation: Generation::default(),
            flights: Flights::default(),
            staging: None,
            relay: None,
            counters: Counters::default(),
        })
    }

    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }
    pub fn counters(&self) -> Counters {
        self.counters
    }
    /// The number of distinct kernels compiled so far.
    pub fn pipelines(&self) -> usize {
        self.pipelines.len()
    }

    /// The stored buffer, if it has so many words from `offset` on.
    fn holds(&self, buffer: BufferId, offset: usize, words: usize) -> Result<Buffer, DeviceError> {
        check_words(&self.store, buffer, offset, words, || self.name())?;
        Ok(self.stored[buffer.0].clone())
    }

    /// Adds a prepared plan.
    fn add(&mut self, prepared: Prepared) -> PlanId {
        self.plans.push(prepared);
        self.generation.plan(self.plans.len() - 1)
    }

    /// A zeroed buffer of at least `words`.
    fn buffer(&self, what: &str, words: usize) -> Result<Buffer, DeviceError> {
        let bytes = (words as u64).saturating_mul(4).max(1).checked_next_multiple_of(ROUND).unwrap_or(u64::MAX);
        if bytes > self.info.limits.buffer {
            return Err(self.limit(what, format!("{bytes} bytes in one buffer"), self.info.limits.buffer));
        }
        self.health.scoped(&self.device, what, bytes, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size: bytes,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }

    fn limit(&self, op: &str, needed: String, allowed: impl ToString) -> DeviceError {
        DeviceError::Limit { device: self.info.to_string(), op: op.into(), needed, allowed: allowed.to_string() }
    }

    /// How long the device may take to answer.
    fn patience(&self) -> Duration {
        if faults::is_wanted(Fault::Hang) { Duration::from_secs(2) } else { PATIENCE }
    }

    fn submit(&mut self, commands: wgpu::CommandBuffer) -> Result<wgpu::SubmissionIndex, DeviceError> {
        let patience = self.patience();
        self.submitter.submit(commands, patience).map_err(|refusal| match refusal {
            Refusal::Stuck => self.give_up(patience),
            Refusal::Panicked(problem) => self.health.failed(format!("a submission: {problem}")),
        })
    }

    /// Notes that the device does not answer any more.
    fn give_up(&self, patience: Duration) -> DeviceError {
        // Dropping a device waits for it, and waiting for this one would never end.
        std::mem::forget((self.device.clone(), self.queue.clone()));
        stuck::give_up();
        let hung = DeviceError::Hung { device: self.info.to_string(), seconds: patience.as_secs() };
        self.health.check().err().unwrap_or(hung)
    }

    /// Waits for a submission, or for all of them.
    fn wait_for(&self, index: Option<wgpu::SubmissionIndex>) -> Result<(), DeviceError> {
        let patience = self.patience();
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait = wgpu::PollType::Wait { submission_index: index.clone(), timeout: Some(left) };
            return match self.poll(wait)? {
                Ok(_) => self.health.check(),
                // GL waits for at most two seconds, whatever it is asked.
                Err(wgpu::PollError::Timeout) if Instant::now() < until => continue,
                Err(wgpu::PollError::Timeout) => Err(self.give_up(patience)),
                Err(error) => {
                    // A lost device is reported only when it is polled once more.
                    let _ = self.poll(wgpu::PollType::Poll)?;
                    Err(self.health.failed(error.to_string()))
                }
            };
        }
    }

    fn poll(&self, what: wgpu::PollType) -> Result<Result<wgpu::PollStatus, wgpu::PollError>, DeviceError> {
        caught(|| self.device.poll(what)).map_err(|problem| self.health.failed(problem))
    }

    /// Waits for the oldest submission and learns from the time it took.
    fn land_oldest(&mut self) -> Result<(), DeviceError> {
        let Some(flight) = self.flights.oldest() else { return Ok(()) };
        let from = Instant::now();
        let result = self.wait_for(Some(flight.index.clone()));
        if let Some(landing) = self.flights.landed(from)
            && let Some(plan) = self.plans.get_mut(landing.plan)
        {
            landing.teach(&mut plan.pace);
        }
        result
    }
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.info.to_string()
    }

    fn origin(&self) -> Origin {
        let mut driver = self.info.driver.clone();
        if let Some(digest) = self.layouts.digest() {
            driver += &format!(", tuned {digest:016x}");
        }
        Origin { device: self.info.to_string(), driver }
    }

    fn room(&self) -> u64 {
        self.info.limits.buffer.min(self.info.limits.binding).min(ROOM)
    }

    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }

    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.wait()?;
        self.plans.clear();
        self.generation = Generation::default();
        self.scratch.clear();
        self.store = Store::default();
        self.stored.clear();
        // What was dropped is freed only when the device is polled.
        let _ = self.poll(wgpu::PollType::Poll)?;
        for (_, name, words) in store.buffers() {
            self.stored.push(self.buffer(name, words)?);
        }
        self.store = store.clone();
        Ok(())
    }

    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        let buffer = self.holds(buffer, offset, words.len())?;
        self.upload(&buffer, offset, words)
    }

    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        let buffer = self.holds(buffer, offset, out.len())?;
        self.counters.reads += 1;
        self.download(&buffer, offset, out)
    }

    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        self.health.check()?;
        let prepared = self.prepare_plan(plan)?;
        Ok(self.add(prepared))
    }

    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        self.health.check()?;
        let plans = self.generation.indices(plans, || self.name())?;
        if times == 0 { Ok(()) } else { self.replay(&plans, times) }
    }

    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        self.health.check()?;
        let plan = self.generation.index(plan, || self.name())?;
        self.time_dispatches(plan, times)
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        while self.flights.oldest().is_some() {
            if let Err(error) = self.land_oldest() {
                self.flights.clear();
                return Err(error);
            }
        }
        self.wait_for(None)
    }
}
