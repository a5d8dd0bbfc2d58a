//! Plans made ready and replayed: limits checked, bind groups made, dispatches recorded into submissions.

use wgpu::BindGroup;

use super::pace::{Pace, cost};
use super::pipelines::{Key, Pipeline, Pipelines, Source};
use super::{Class, Gpu, ROUND, layouts};
use crate::device::DeviceError;
use crate::faults::{self, Fault};
use crate::ops::Kernel;
use crate::ops::kernel::MOST_ROUNDS;
use crate::plan::{Buffer, Dispatch, Plan, View};
use crate::tensor::Kind;

/// A plan whose dispatches have only to be recorded.
pub struct Prepared {
    plan: Plan,
    /// For each dispatch.
    pipelines: Vec<usize>,
    workgroups: Vec<[u32; 3]>,
    costs: Vec<f64>,
    bind_groups: Vec<BindGroup>,
    /// The scratch buffers that the bind groups were made for; other plans may have grown some since.
    bound_to: Vec<wgpu::Buffer>,
    pub pace: Pace,
}

impl Prepared {
    pub fn dispatches(&self) -> usize {
        self.bind_groups.len()
    }

    /// How many dispatches from number `first` on fit a submission, at least one.
    pub fn fitting(&self, first: usize) -> usize {
        let mut left = self.pace.budget();
        let costs = self.costs[first..].iter();
        let fit = costs.take_while(|cost| {
            left -= *cost;
            left >= 0.0
        });
        fit.count().max(1)
    }

    /// Records dispatch `i` alone.
    pub fn record(&self, pipelines: &Pipelines, i: usize, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&pipelines.get(self.pipelines[i]).pipeline);
        pass.set_bind_group(0, &self.bind_groups[i], &[]);
        let [x, y, z] = self.workgroups[i];
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Gpu {
    pub(super) fn prepare_plan(&mut self, plan: &Plan) -> Result<Prepared, DeviceError> {
        let own = self.info.target();
        let laid_out = |dispatch: &Dispatch| {
            let kernel = layouts::kernel(dispatch, own);
            self.layouts.instead_of(&kernel).map_or(kernel, |target| layouts::kernel(dispatch, target))
        };
        let kernels: Vec<Kernel> = plan.dispatches.iter().map(laid_out).collect();
        self.prepare_kernels(plan, &kernels)
    }

    /// A plan with a kernel for each of its dispatches.
    pub(super) fn prepare_kernels(&mut self, plan: &Plan, kernels: &[Kernel]) -> Result<Prepared, DeviceError> {
        for (id, offset, words) in plan.stored() {
            self.holds(id, offset, words)?;
        }
        let mut sources = Vec::with_capacity(kernels.len());
        for (dispatch, kernel) in plan.dispatches.iter().zip(kernels) {
            let name = dispatch.op.name();
            self.check_limits(name, kernel, &dispatch.inputs, &dispatch.outputs)?;
            let views = || dispatch.inputs.iter().chain(&dispatch.outputs).enumerate();
            let halved: Vec<usize> =
                views().filter(|(_, view)| view.tensor.kind == Kind::F16).map(|(binding, _)| binding).collect();
            if !(self.info.f16 || halved.is_empty()) {
                return Err(self.health.failed("has no 16-bit floats; `--precision f32` does without them"));
            }
            let source = Source::new(name, kernel, dispatch.inputs.len(), dispatch.outputs.len(), &halved);
            sources.push(source.map_err(|e| self.health.failed(format!("{name}: {e}")))?);
        }
        let pipelines = self.pipelines.prepare(&self.device, &self.health, sources, self.info.backend != "GL")?;
        self.grow_scratch(&plan.scratch_needed())?;
        let mut prepared = Prepared {
            plan: plan.clone(),
            pipelines,
            workgroups: kernels.iter().map(|k| k.workgroups).collect(),
            costs: plan.dispatches.iter().map(|d| cost(d.flops(), d.bytes())).collect(),
            bind_groups: Vec::new(),
            bound_to: Vec::new(),
            pace: Pace::default(),
        };
        self.bind(&mut prepared)?;
        Ok(prepared)
    }

    fn check_limits(&self, name: &str, kernel: &Kernel, inputs: &[View], outputs: &[View]) -> Result<(), DeviceError> {
        let limits = &self.info.limits;
        if let Some(groups) = kernel.workgroups.iter().find(|n| **n > limits.groups) {
            return Err(self.limit(name, format!("{groups} workgroups in one dimension"), limits.groups));
        }
        if self.info.class == Class::Software && kernel.rounds > MOST_ROUNDS {
            return Err(self.limit(name, format!("{} rounds of a loop", kernel.rounds), MOST_ROUNDS));
        }
        let count = inputs.len() + outputs.len();
        if count > limits.bindings as usize {
            return Err(self.limit(name, format!("{count} storage buffers"), limits.bindings));
        }
        let allowed = limits.tensor();
        match inputs.iter().chain(outputs).map(binding_bytes).find(|bytes| *bytes > allowed) {
            Some(bytes) => Err(self.limit(name, format!("{bytes} bytes in one tensor"), allowed)),
            None => Ok(()),
        }
    }

    fn grow_scratch(&mut self, sizes: &[usize]) -> Result<(), DeviceError> {
        for (i, words) in sizes.iter().enumerate() {
            if self.scratch.get(i).is_none_or(|buffer| buffer.size() < *words as u64 * 4) {
                let buffer = self.buffer("a step's intermediate results", *words)?;
                if i < self.scratch.len() { self.scratch[i] = buffer } else { self.scratch.push(buffer) }
            }
        }
        Ok(())
    }

    fn bind(&self, prepared: &mut Prepared) -> Result<(), DeviceError> {
        let Prepared { plan, pipelines, bind_groups, bound_to, .. } = prepared;
        bind_groups.clear();
        for (dispatch, pipeline) in plan.dispatches.iter().zip(pipelines) {
            let views = dispatch.inputs.iter().chain(&dispatch.outputs);
            let entries: Vec<_> = views
                .enumerate()
                .map(|(i, view)| wgpu::BindGroupEntry {
                    binding: i as u32,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: self.holding(view),
                        offset: view.offset as u64 * 4,
                        size: std::num::NonZeroU64::new(binding_bytes(view)),
                    }),
                })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor {
                label: Some(dispatch.op.name()),
                layout: &self.pipelines.get(*pipeline).layout,
                entries: &entries,
            };
            let made = || self.device.create_bind_group(&descriptor);
            bind_groups.push(self.health.scoped(&self.device, dispatch.op.name(), 0, made)?);
        }
        *bound_to = self.scratch[..plan.scratch.len()].to_vec();
        Ok(())
    }

    /// The buffer that a view refers to.
    pub(super) fn holding(&self, view: &View) -> &wgpu::Buffer {
        match view.buffer {
            Buffer::Stored(id) => &self.stored[id.0],
            Buffer::Scratch(i) => &self.scratch[i],
        }
    }

    /// Makes a plan's bind groups again, if another plan has grown a scratch buffer since.
    pub(super) fn bind_again(&mut self, index: usize) -> Result<(), DeviceError> {
        if self.plans[index].bound_to[..] != self.scratch[..self.plans[index].plan.scratch.len()] {
            let mut prepared = self.plans.remove(index);
            let bound = self.bind(&mut prepared);
            self.plans.insert(index, prepared);
            bound?;
        }
        Ok(())
    }

    /// Records plans in turn, `times` times, in submissions that fit the pace of the first. A submission may begin and
    /// end within a step: the buffers keep what they hold.
    pub(super) fn replay(&mut self, plans: &[usize], times: usize) -> Result<(), DeviceError> {
        for plan in plans {
            self.bind_again(*plan)?;
        }
        let Some(&index) = plans.first() else { return Ok(()) };
        // Every dispatch of one round: which plan's, and its number there.
        let each = |plan: usize| (0..self.plans[plan].bind_groups.len()).map(move |i| (plan, i));
        let round: Vec<(usize, usize)> = plans.iter().flat_map(|plan| each(*plan)).collect();
        let count = round.len();
        let total = count * times;
        let mut next = 0;
        while next < total {
            if self.flights.is_full() {
                self.land_oldest()?;
            }
            if self.relay()?.is_over() {
                let (end, at) = self.relay()?.end();
                self.download(&end, (at / 4) as usize, &mut [0])?;
            }
            let budget = self.plans[index].pace.budget();
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let (first, mut cost) = (next, 0.0);
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let mut current = usize::MAX;
                while next < total {
                    let (plan, i) = round[next % count];
                    let prepared = &self.plans[plan];
                    if next > first && cost + prepared.costs[i] > budget {
                        break;
                    }
                    if prepared.pipelines[i] != current {
                        current = prepared.pipelines[i];
                        pass.set_pipeline(&self.pipelines.get(current).pipeline);
                    }
                    pass.set_bind_group(0, &prepared.bind_groups[i], &[]);
                    let [x, y, z] = prepared.workgroups[i];
                    pass.dispatch_workgroups(x, y, z);
                    cost += prepared.costs[i];
                    next += 1;
                }
            }
            self.relay()?.hand_on(&mut encoder);
            if faults::happens(Fault::DropWork) {
                encoder = self.device.create_command_encoder(&Default::default());
            }
            if faults::happens(Fault::LoseDevice) {
                self.device.destroy();
            }
            if faults::happens(Fault::Hang) {
                self.hang()?;
            }
            let submission = self.submit(encoder.finish())?;
            self.health.check()?;
            self.counters.submissions += 1;
            self.counters.dispatches += (next - first) as u64;
            self.flights.start(submission, index, cost);
        }
        Ok(())
    }
}

impl Gpu {
    /// Submits a dispatch that never ends, for [`Fault::Hang`].
    fn hang(&mut self) -> Result<(), DeviceError> {
        // An atomic operation, since compilers see through plain loads and remove a loop without an end.
        let text = "@group(0) @binding(0) var<storage, read_write> out: atomic<u32>;
@compute @workgroup_size(1) fn main() {
    while atomicAdd(&out, 0u) == 0u {}
}";
        let key = Key { text: text.into(), inputs: 0, outputs: 1 };
        let made = self.pipelines.prepare(&self.device, &self.health, vec![Source { key, name: "hang" }], false)?;
        let out = self.buffer("hang", 1)?;
        let Pipeline { pipeline, layout } = self.pipelines.get(made[0]);
        let entry = wgpu::BindGroupEntry { binding: 0, resource: out.as_entire_binding() };
        let bound =
            self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &[entry] });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bound, &[]);
            // lavapipe leaves any loop after 65,535 iterations: many workgroups make an hour of them.
            pass.dispatch_workgroups(65_535, 256, 1);
        }
        self.submit(encoder.finish()).map(drop)
    }
}

/// Bytes that a shader may touch: whole vectors of four.
fn binding_bytes(view: &View) -> u64 {
    view.tensor.bytes().max(1).checked_next_multiple_of(16).unwrap_or(u64::MAX)
}

const _: () = assert!(ROUND == crate::graph::ALIGNMENT as u64 * 4);
