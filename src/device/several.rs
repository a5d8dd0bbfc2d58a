//! Several devices as one. Each holds all stored buffers. Each runs its own copy of a plan that shares places
//! ([`Plan::shared`]), on its part of the batch; then all get the mean of what they have in those places.
//!
//! The mean goes through the host, since adapters know nothing of each other. So a step also costs a read and a write
//! of the gradients, and sharing pays off only where it computes for longer than these take.
//!
//! Devices that round in the same way stay the same by themselves. Others get the first one's weights after every step,
//! so that their result does not depend on how many steps they are asked for at a time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Barrier, PoisonError, RwLock};
use std::time::Duration;

use super::{Device, DeviceError, Generation, Origin, PlanId};
use crate::graph::{BufferId, Place, Store};
use crate::plan::{Buffer, Plan};
use crate::tensor::Kind;

#[cfg(test)]
mod tests;

pub struct Several {
    /// At least two.
    devices: Vec<Box<dyn Device>>,
    plans: Vec<Prepared>,
    generation: Generation,
    /// Whether all compute the same bits from the same numbers.
    alike: bool,
}

struct Prepared {
    /// The plan on each device.
    own: Vec<PlanId>,
    shared: Vec<Place>,
    /// Stored buffers that the plan reads.
    read: Vec<BufferId>,
    /// Floats that the plan leaves in stored buffers other than the shared ones.
    left: Vec<Place>,
}

/// What the devices do until they meet.
struct Leg<'a> {
    /// The plan that each runs, if there is one.
    own: &'a [PlanId],
    /// The places that they then take the mean of; if there are none, they go on without meeting.
    places: &'a [Place],
    /// How many devices the mean is taken over, from the first on.
    of: usize,
}

impl Several {
    /// These devices as one; a single one stays as it is.
    pub fn join(mut devices: Vec<Box<dyn Device>>) -> Option<Box<dyn Device>> {
        match devices.len() {
            0 | 1 => devices.pop(),
            _ => {
                let alike = devices.windows(2).all(|two| two[0].origin() == two[1].origin());
                Some(Box::new(Several { devices, plans: Vec::new(), generation: Generation::default(), alike }))
            }
        }
    }

    fn on_each(&mut self, f: impl Fn(&mut dyn Device) -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        self.devices.iter_mut().try_for_each(|device| f(device.as_mut()))
    }
}

impl Device for Several {
    fn name(&self) -> String {
        self.devices.iter().map(|device| device.name()).collect::<Vec<_>>().join(" and ")
    }

    fn origin(&self) -> Origin {
        let origins: Vec<Origin> = self.devices.iter().map(|device| device.origin()).collect();
        let all = |of: fn(&Origin) -> &str| origins.iter().map(of).collect::<Vec<_>>().join(" and ");
        Origin { device: all(|origin| &origin.device), driver: all(|origin| &origin.driver) }
    }

    fn room(&self) -> u64 {
        self.devices.iter().map(|device| device.room()).min().unwrap_or(0)
    }

    fn parts(&mut self) -> Vec<&mut dyn Device> {
        self.devices.iter_mut().map(|device| device.as_mut() as &mut dyn Device).collect()
    }

    fn count(&self) -> usize {
        self.devices.len()
    }

    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.plans.clear();
        self.generation = Generation::default();
        self.on_each(|device| device.allocate(store))
    }

    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.on_each(|device| device.write(buffer, offset, words))
    }

    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        self.devices[0].read(buffer, offset, out)
    }

    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        let own = self.devices.iter_mut().map(|device| device.prepare(plan)).collect::<Result<_, _>>()?;
        let inputs = plan.dispatches.iter().flat_map(|dispatch| &dispatch.inputs);
        let read = inputs.filter_map(|view| match view.buffer {
            Buffer::Stored(buffer) => Some(buffer),
            Buffer::Scratch(_) => None,
        });
        let outputs = plan.dispatches.iter().flat_map(|dispatch| &dispatch.outputs);
        let is_shared = |buffer| plan.shared.iter().any(|place| place.buffer == buffer);
        let left = outputs.filter_map(|view| match view.buffer {
            Buffer::Stored(buffer) if view.tensor.kind == Kind::F32 && !is_shared(buffer) => {
                Some(Place { buffer, offset: view.offset, tensor: view.tensor.clone() })
            }
            _ => None,
        });
        let (read, left) = (read.collect(), left.collect());
        self.plans.push(Prepared { own, shared: plan.shared.clone(), read, left });
        Ok(self.generation.plan(self.plans.len() - 1))
    }

    /// If none of the plans shares anything, they run on the first device alone.
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        let plans = self.generation.indices(plans, || self.name())?;
        if times == 0 {
            return Ok(());
        }
        let Several { devices, plans: prepared, alike, .. } = self;
        let plans: Vec<&Prepared> = plans.into_iter().map(|plan| &prepared[plan]).collect();
        if plans.iter().all(|plan| plan.shared.is_empty()) {
            let own: Vec<PlanId> = plans.iter().map(|plan| plan.own[0]).collect();
            return devices[0].run(&own, times);
        }
        let of = devices.len();
        let mut legs: Vec<Leg> = plans.iter().map(|plan| Leg { own: &plan.own, places: &plan.shared, of }).collect();
        // Where devices differ, all get the first one's version of what was left and will be read: the weights.
        let left = plans.iter().flat_map(|plan| &plan.left).filter(|_| !*alike);
        let read = |place: &&Place| plans.iter().any(|plan| plan.read.contains(&place.buffer));
        let followed: Vec<Place> = left.filter(read).cloned().collect();
        legs.push(Leg { own: &[], places: &followed, of: 1 });
        let exchange = Exchange::between(of);
        std::thread::scope(|scope| {
            let (exchange, legs) = (&exchange, &legs[..]);
            let (mut started, mut gates) = (Vec::new(), Vec::new());
            for (i, device) in devices.iter_mut().enumerate() {
                let name = device.name();
                let thread = std::thread::Builder::new().name(name.clone());
                // If one thread could not be started, the others would wait for it for ever.
                let (gate, opened) = channel();
                gates.push(gate);
                let thread = thread.spawn_scoped(scope, move || match opened.recv() {
                    Ok(()) => exchange.take_part(i, device.as_mut(), legs, times).map_err(|stop| match stop {
                        Stop::Error(error) => error,
                        Stop::Panic(panic) => resume_unwind(panic),
                    }),
                    Err(_) => Ok(()),
                });
                started.push(thread.map_err(|error| DeviceError::Failed { device: name, reason: error.to_string() }));
            }
            if started.iter().all(Result::is_ok) {
                // None has gone yet: each waits for this.
                gates.iter().for_each(|gate| gate.send(()).unwrap_or_default());
            }
            drop(gates);
            let ended = started.into_iter().map(|thread| thread?.join().unwrap_or_else(|panic| resume_unwind(panic)));
            // All of them end before the first error is returned.
            ended.collect::<Vec<_>>().into_iter().collect()
        })
    }

    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        let plan = self.generation.index(plan, || self.name())?;
        self.devices[0].profile(self.plans[plan].own[0], times)
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        self.on_each(|device| device.wait())
    }
}

/// What ends a device's part early.
enum Stop {
    Error(DeviceError),
    Panic(Box<dyn Any + Send>),
}

/// A panic is returned, to be resumed later: otherwise the others would wait for ever for that thread at the next
/// meeting.
fn caught(f: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), Stop> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Stop::Panic)?.map_err(Stop::Error)
}

/// Where the threads of the devices meet.
struct Exchange {
    /// What each device read from the places of one plan.
    found: Vec<RwLock<Vec<f32>>>,
    meeting: Barrier,
    failed: AtomicBool,
}

impl Exchange {
    fn between(devices: usize) -> Exchange {
        Exchange {
            found: (0..devices).map(|_| RwLock::default()).collect(),
            meeting: Barrier::new(devices),
            failed: AtomicBool::new(false),
        }
    }

    /// Replays the plans on device `i`. If any device fails, all end at the next meeting.
    fn take_part(&self, i: usize, device: &mut dyn Device, legs: &[Leg], times: usize) -> Result<(), Stop> {
        let mut waiting: Vec<PlanId> = Vec::new();
        let mut mean = Vec::new();
        let mut result = Ok(());
        for leg in (0..times).flat_map(|_| legs) {
            // A plan that need not be waited for is sent to the device together with what comes after it.
            waiting.extend(leg.own.get(i));
            if leg.places.is_empty() {
                continue;
            }
            let mut found = self.found[i].write().unwrap_or_else(PoisonError::into_inner);
            result = result.and_then(|()| caught(|| device.run(&waiting, 1)));
            if i < leg.of {
                result = result.and_then(|()| caught(|| read(device, leg.places, &mut found)));
            }
            drop(found);
            waiting.clear();
            if result.is_err() {
                self.failed.store(true, Ordering::SeqCst);
            }
            self.meeting.wait();
            if self.failed.load(Ordering::SeqCst) {
                return result;
            }
            // The first device already has what comes from it alone.
            let takes = leg.of > 1 || i > 0;
            if takes {
                self.mean(leg.of, &mut mean);
            }
            // No device reads on until all have the mean.
            self.meeting.wait();
            if takes {
                result = caught(|| write(device, leg.places, &mean));
            }
        }
        result.and_then(|()| if waiting.is_empty() { Ok(()) } else { caught(|| device.run(&waiting, 1)) })
    }

    /// The mean over the first `of` devices, summed in their order, so that each computes the same bits.
    fn mean(&self, of: usize, mean: &mut Vec<f32>) {
        mean.clear();
        for found in &self.found[..of] {
            let found = found.read().unwrap_or_else(PoisonError::into_inner);
            match mean.is_empty() {
                true => mean.extend_from_slice(&found),
                false => mean.iter_mut().zip(found.iter()).for_each(|(sum, x)| *sum += x),
            }
        }
        let share = 1.0 / of as f32;
        mean.iter_mut().for_each(|x| *x *= share);
    }
}

fn read(device: &mut dyn Device, places: &[Place], words: &mut Vec<f32>) -> Result<(), DeviceError> {
    words.resize(places.iter().map(|place| place.tensor.len()).sum(), 0.0);
    let mut at = 0;
    for place in places {
        let part = &mut words[at..][..place.tensor.len()];
        device.read(place.buffer, place.offset, bytemuck::cast_slice_mut(part))?;
        at += part.len();
    }
    Ok(())
}

fn write(device: &mut dyn Device, places: &[Place], words: &[f32]) -> Result<(), DeviceError> {
    let mut at = 0;
    for place in places {
        device.write_f32(place.buffer, place.offset, &words[at..][..place.tensor.len()])?;
        at += place.tensor.len();
    }
    Ok(())
}
