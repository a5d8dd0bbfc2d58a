//! The CPU device: each dispatch is one call of the op's twin, in order. Both the fallback and the reference.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Device, DeviceError, Origin, PlanId};
use crate::graph::{BufferId, Store};
use crate::ops::{In, Out};
use crate::plan::{Buffer, Dispatch, Plan, View};

/// Buffers are made of cache lines: vectors never straddle two, and a whole line past the end may be touched.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
struct Line([f32; 16]);

#[derive(Default)]
struct Words(Vec<Line>);

impl Words {
    fn try_new(words: usize) -> Option<Words> {
        let mut lines = Vec::new();
        lines.try_reserve_exact(words.div_ceil(16)).ok()?;
        lines.resize(words.div_ceil(16), Line([0.0; 16]));
        Some(Words(lines))
    }
    fn f32s(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
    fn f32s_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Of a set that is larger, which is mapped from its file, there should be no second copy.
const ROOM: u64 = 512 << 20;

#[derive(Default)]
pub struct Cpu {
    stored: Vec<Words>,
    scratch: Vec<Words>,
    plans: Vec<Arc<Plan>>,
}

impl Cpu {
    pub fn new() -> Cpu {
        Cpu::default()
    }

    fn buffer(&mut self, buffer: Buffer) -> &mut Words {
        match buffer {
            Buffer::Stored(id) => &mut self.stored[id.0],
            Buffer::Scratch(i) => &mut self.scratch[i],
        }
    }

    fn dispatch(&mut self, dispatch: &Dispatch) {
        // Outputs are taken out while the op runs; a plan never reads and writes a buffer in one dispatch, and
        // two targets of one update are never in the same buffer.
        let mut taken: Vec<Words> =
            dispatch.outputs.iter().map(|view| std::mem::take(self.buffer(view.buffer))).collect();
        let range = |view: &View| view.offset..view.offset + view.tensor.len();
        {
            let inputs: Vec<In> = dispatch
                .inputs
                .iter()
                .map(|view| {
                    let words = match view.buffer {
                        Buffer::Stored(id) => &self.stored[id.0],
                        Buffer::Scratch(i) => &self.scratch[i],
                    };
                    In { data: &words.f32s()[range(view)], shape: &view.tensor.shape }
                })
                .collect();
            let mut outputs: Vec<Out> = taken
                .iter_mut()
                .zip(&dispatch.outputs)
                .map(|(words, view)| Out { data: &mut words.f32s_mut()[range(view)], shape: &view.tensor.shape })
                .collect();
            dispatch.op.cpu(&inputs, &mut outputs);
        }
        for (words, view) in taken.into_iter().zip(&dispatch.outputs) {
            *self.buffer(view.buffer) = words;
        }
    }
}

/// Memory that the system refuses is an error, not an abort.
fn allocate(words: usize, what: &str) -> Result<Words, DeviceError> {
    Words::try_new(words).ok_or_else(|| DeviceError::OutOfMemory {
        device: "CPU".into(),
        what: what.into(),
        bytes: words as u64 * 4,
    })
}

impl Device for Cpu {
    fn name(&self) -> String {
        format!("CPU ({} threads)", crate::parallel::threads())
    }

    fn origin(&self) -> Origin {
        // Not how many threads there are: results do not depend on it.
        Origin { device: "CPU".into(), driver: crate::parallel::instructions().into() }
    }

    fn room(&self) -> u64 {
        ROOM
    }

    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }

    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        *self = Cpu::default();
        for (_, name, words) in store.buffers() {
            self.stored.push(allocate(words, name)?);
        }
        Ok(())
    }

    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        let target = &mut self.stored[buffer.0].f32s_mut()[offset..offset + words.len()];
        target.copy_from_slice(bytemuck::cast_slice(words));
        Ok(())
    }

    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        let source = &self.stored[buffer.0].f32s()[offset..offset + out.len()];
        out.copy_from_slice(bytemuck::cast_slice(source));
        Ok(())
    }

    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        for (i, words) in plan.scratch.iter().enumerate() {
            if self.scratch.len() <= i {
                self.scratch.push(Words::default());
            }
            if self.scratch[i].f32s().len() < *words {
                self.scratch[i] = allocate(*words, "a step's intermediate results")?;
            }
        }
        self.plans.push(Arc::new(plan.clone()));
        Ok(PlanId(self.plans.len() - 1))
    }

    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        let plans: Vec<Arc<Plan>> = plans.iter().map(|plan| Arc::clone(&self.plans[plan.0])).collect();
        crate::parallel::awake(|| {
            for _ in 0..times {
                for plan in &plans {
                    plan.dispatches.iter().for_each(|dispatch| self.dispatch(dispatch));
                }
            }
        });
        Ok(())
    }

    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        let plan = Arc::clone(&self.plans[plan.0]);
        let mut shortest = vec![Duration::MAX; plan.dispatches.len()];
        for _ in 0..times {
            for (dispatch, shortest) in plan.dispatches.iter().zip(&mut shortest) {
                let began = Instant::now();
                self.dispatch(dispatch);
                *shortest = began.elapsed().min(*shortest);
            }
        }
        Ok(shortest)
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
