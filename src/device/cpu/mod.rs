//! The CPU device: calls the ops' CPU twins, for the whole batch or for a few images at a time. It is both the fallback
//! and the reference.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CPU, Device, DeviceError, Generation, Origin, PlanId, check_words};
use crate::graph::{BufferId, Store};
use crate::lines::Lines;
use crate::ops::{In, Out};
use crate::parallel::{awake, each, scratch, threads};
use crate::plan::{Buffer, Dispatch, Plan, View};
use schedule::{Chain, Link, Schedule, Sink, Source, Stage};

mod schedule;
#[cfg(test)]
mod tests;

/// A larger data set is mapped from its file, and there should be no second copy of it.
const ROOM: u64 = 512 << 20;

#[derive(Default)]
pub struct Cpu {
    store: Store,
    stored: Vec<Lines>,
    scratch: Vec<Lines>,
    plans: Vec<Arc<(Plan, Schedule)>>,
    generation: Generation,
}

impl Cpu {
    pub fn new() -> Cpu {
        Cpu::default()
    }

    /// These words of a stored buffer, if it has them.
    fn words(&mut self, buffer: BufferId, offset: usize, count: usize) -> Result<&mut [f32], DeviceError> {
        check_words(&self.store, buffer, offset, count, || CPU.into())?;
        Ok(&mut self.stored[buffer.0].f32s_mut()[offset..][..count])
    }

    fn buffer(&mut self, buffer: Buffer) -> &mut Lines {
        match buffer {
            Buffer::Stored(id) => &mut self.stored[id.0],
            Buffer::Scratch(i) => &mut self.scratch[i],
        }
    }

    fn input<'a>(&'a self, view: &'a View) -> In<'a> {
        let lines = match view.buffer {
            Buffer::Stored(id) => &self.stored[id.0],
            Buffer::Scratch(i) => &self.scratch[i],
        };
        In { data: &lines.f32s()[view.offset..view.offset + view.tensor.len()], shape: &view.tensor.shape }
    }

    fn dispatch(&mut self, dispatch: &Dispatch) {
        // Outputs are taken out while the op runs; a plan never reads and writes a buffer in one dispatch, and
        // two targets of one update are never in the same buffer.
        let mut taken: Vec<Lines> =
            dispatch.outputs.iter().map(|view| std::mem::take(self.buffer(view.buffer))).collect();
        {
            let inputs: Vec<In> = dispatch.inputs.iter().map(|view| self.input(view)).collect();
            let range = |view: &View| view.offset..view.offset + view.tensor.len();
            let mut outputs: Vec<Out> = taken
                .iter_mut()
                .zip(&dispatch.outputs)
                .map(|(lines, view)| Out { data: &mut lines.f32s_mut()[range(view)], shape: &view.tensor.shape })
                .collect();
            dispatch.op.cpu(&inputs, &mut outputs);
        }
        for (lines, view) in taken.into_iter().zip(&dispatch.outputs) {
            *self.buffer(view.buffer) = lines;
        }
    }

    /// Takes a few images at a time through all links of a chain.
    fn chain(&mut self, chain: &Chain) {
        let take = |link: &Link| match link.out {
            Sink::Memory(i) => std::mem::take(&mut self.scratch[i]),
            Sink::Stored(id, _) => std::mem::take(&mut self.stored[id.0]),
            Sink::Own => Lines::default(),
        };
        let mut taken: Vec<Lines> = chain.links.iter().map(take).collect();
        self.links(chain, &mut taken);
        for (lines, link) in taken.into_iter().zip(&chain.links) {
            match link.out {
                Sink::Memory(i) => self.scratch[i] = lines,
                Sink::Stored(id, _) => self.stored[id.0] = lines,
                Sink::Own => {}
            }
        }
    }

    /// Runs the links of a chain; `kept` holds the memory of each link whose result is kept.
    fn links<'a>(&'a self, chain: &'a Chain, kept: &mut [Lines]) {
        let Chain { links, images, block, own } = chain;
        let whole = |link: &'a Link| -> Vec<In<'a>> {
            let inputs = link.inputs.iter().map(|source| match source {
                Source::Memory(view) => self.input(view),
                Source::Link(_, tensor) => In { data: &[], shape: &tensor.shape },
            });
            inputs.collect()
        };
        let all: Vec<Vec<In>> = links.iter().map(whole).collect();
        let twins: Vec<_> = links.iter().zip(&all).map(|(link, inputs)| link.op.twin(inputs)).collect();
        // Each block's part of the kept results.
        let first_word = |link: &Link| if let Sink::Stored(_, first) = link.out { first } else { 0 };
        let kept = kept.iter_mut().zip(links);
        let mut rest: Vec<&mut [f32]> = kept.map(|(kept, link)| &mut kept.f32s_mut()[first_word(link)..]).collect();
        let mut blocks = Vec::new();
        for first in (0..*images).step_by(*block) {
            let count = (*images - first).min(*block);
            let parts = rest.iter_mut().zip(links).map(|(rest, link)| match link.out {
                Sink::Memory(_) | Sink::Stored(..) => {
                    let (part, after) = std::mem::take(rest).split_at_mut(link.words(count));
                    *rest = after;
                    part
                }
                Sink::Own => &mut [][..],
            });
            blocks.push((first, count, parts.collect::<Vec<_>>()));
        }
        let shapes = |count| links.iter().map(|link| link.shapes(count)).collect::<Vec<_>>();
        let (of_block, of_last) = (shapes(*block), shapes(images % block));
        let run = |(first, count, mut kept): (usize, usize, Vec<&mut [f32]>)| {
            let shapes = if count == *block { &of_block } else { &of_last };
            scratch(*own, |mut memory| {
                let mut results: Vec<&mut [f32]> = Vec::with_capacity(links.len());
                for (kept, link) in kept.iter_mut().zip(links) {
                    results.push(match link.out {
                        Sink::Memory(_) | Sink::Stored(..) => kept,
                        Sink::Own => {
                            let (own, after) = memory.split_at_mut(link.own_words(*block));
                            memory = after;
                            &mut own[..link.words(count)]
                        }
                    });
                }
                for (i, (link, twin)) in links.iter().zip(&twins).enumerate() {
                    let (before, now) = results.split_at_mut(i);
                    let (of_inputs, of_result) = &shapes[i];
                    let inputs = link.inputs.iter().zip(of_inputs).enumerate().map(|(j, (source, shape))| {
                        let data = match source {
                            Source::Link(maker, _) => &*before[*maker],
                            Source::Memory(_) if link.by_image.cut[j] => {
                                let image = all[i][j].data.len() / images;
                                &all[i][j].data[first * image..(first + count) * image]
                            }
                            Source::Memory(_) => all[i][j].data,
                        };
                        In { data, shape }
                    });
                    let inputs: Vec<In> = inputs.collect();
                    twin(first, &inputs, &mut [Out { data: &mut *now[0], shape: of_result }]);
                }
            });
        };
        each(blocks.into_iter(), run);
    }

    /// Makes sure that there is this much scratch memory.
    fn grow(&mut self, sizes: &[usize]) -> Result<(), DeviceError> {
        for (i, words) in sizes.iter().enumerate() {
            if self.scratch.len() <= i {
                self.scratch.push(Lines::default());
            }
            if self.scratch[i].f32s().len() < *words {
                self.scratch[i] = allocate(*words, "a step's intermediate results")?;
            }
        }
        Ok(())
    }
}

/// Memory that the system refuses is an error, not an abort.
fn allocate(words: usize, what: &str) -> Result<Lines, DeviceError> {
    Lines::try_new(words).ok_or_else(|| DeviceError::OutOfMemory {
        device: "CPU".into(),
        what: what.into(),
        bytes: words as u64 * 4,
    })
}

impl Device for Cpu {
    fn name(&self) -> String {
        match threads() {
            1 => "CPU (1 thread)".into(),
            threads => format!("CPU ({threads} threads)"),
        }
    }

    fn origin(&self) -> Origin {
        // The number of threads is left out: results do not depend on it.
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
        self.store = store.clone();
        Ok(())
    }

    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.words(buffer, offset, words.len())?.copy_from_slice(bytemuck::cast_slice(words));
        Ok(())
    }

    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        out.copy_from_slice(bytemuck::cast_slice(self.words(buffer, offset, out.len())?));
        Ok(())
    }

    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        for (id, offset, words) in plan.stored() {
            self.words(id, offset, words)?;
        }
        let schedule = Schedule::new(plan);
        self.grow(&schedule.scratch)?;
        self.plans.push(Arc::new((plan.clone(), schedule)));
        Ok(self.generation.plan(self.plans.len() - 1))
    }

    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        let plans = self.generation.indices(plans, || self.name())?;
        if times == 0 {
            return Ok(());
        }
        let plans: Vec<_> = plans.into_iter().map(|plan| Arc::clone(&self.plans[plan])).collect();
        awake(|| {
            for _ in 0..times {
                for stage in plans.iter().flat_map(|plan| &plan.1.stages) {
                    match stage {
                        Stage::One(dispatch) => self.dispatch(dispatch),
                        Stage::Chain(chain) => self.chain(chain),
                    }
                }
            }
        });
        Ok(())
    }

    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        // Dispatch by dispatch, in the plan's order.
        let plan = Arc::clone(&self.plans[self.generation.index(plan, || self.name())?]);
        let plan = &plan.0;
        self.grow(&plan.scratch)?;
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
