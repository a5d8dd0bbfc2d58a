//! A device that runs every kernel as [`Shader`] does, and reports faults that lavapipe and cards let pass.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use inkgrad::device::cpu::Cpu;
use inkgrad::device::{Device, DeviceError, Origin, PlanId};
use inkgrad::graph::{ALIGNMENT, BufferId, Store};
use inkgrad::ops::{Kernel, Target};
use inkgrad::plan::{Buffer, Dispatch, Plan, View, tensors};
use inkgrad::shaders;
use inkgrad::tensor::Kind;

use super::shader::Shader;
use super::traffic::Traffic;

/// What a scratch buffer holds before a kernel writes to it: a NaN.
const BEFORE: u32 = 0x7fc0_beef;

/// Changes a kernel's text before it is run.
pub type Edit = Arc<dyn Fn(&Kernel, String) -> String + Send + Sync>;

pub struct InStep {
    pub target: Target,
    /// Whether everything that lives only within a step is in 16 bits.
    pub halves: bool,
    edit: Option<Edit>,
    /// If traffic is counted, that of each dispatch, with op, result and workgroups. No dispatch has a result then.
    pub traffic: Option<Vec<(String, u32, Traffic)>>,
    stored: Vec<Vec<u32>>,
    scratch: Vec<Vec<u32>>,
    shaders: HashMap<String, Arc<Shader>>,
    /// The outputs of dispatches, by a hash of what they were made from: targets lay most kernels out alike.
    made: HashMap<u64, Vec<Vec<u32>>>,
    plans: Vec<(PlanId, Plan)>,
    /// Only the library's devices can number plans.
    numbers: Cpu,
}

impl InStep {
    /// Lays kernels out for `target`.
    pub fn new(target: Target) -> InStep {
        InStep {
            target,
            halves: false,
            edit: None,
            traffic: None,
            stored: Vec::new(),
            scratch: Vec::new(),
            shaders: HashMap::new(),
            made: HashMap::new(),
            plans: Vec::new(),
            numbers: Cpu::new(),
        }
    }

    pub fn with(target: Target, edit: Edit) -> InStep {
        InStep { edit: Some(edit), ..InStep::new(target) }
    }

    /// Invocations in a subgroup.
    fn subgroup(&self) -> usize {
        let of_units = self.target.matrices.map_or(32, |units| units.subgroup);
        if self.target.subgroup > 0 { self.target.subgroup } else { of_units }
    }

    fn shader(&mut self, text: String) -> Result<Arc<Shader>, String> {
        if let Some(shader) = self.shaders.get(&text) {
            return Ok(Arc::clone(shader));
        }
        let shader = Arc::new(Shader::new(&text)?);
        self.shaders.insert(text, Arc::clone(&shader));
        Ok(shader)
    }

    fn failed(&self, reason: String) -> DeviceError {
        DeviceError::Failed { device: self.name(), reason }
    }

    fn buffer(&mut self, view: &View) -> &mut [u32] {
        // Whole vectors of four may be touched, and no more is bound.
        let words = (view.tensor.bytes().max(1).next_multiple_of(16) / 4) as usize;
        let buffer = match view.buffer {
            Buffer::Stored(id) => &mut self.stored[id.0],
            Buffer::Scratch(i) => &mut self.scratch[i],
        };
        &mut buffer[view.offset..][..words]
    }

    fn dispatch(&mut self, dispatch: &Dispatch) -> Result<(), String> {
        let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), self.target);
        let mut text = shaders::text(&kernel).map_err(|e| e.to_string())?;
        let views: Vec<&View> = dispatch.inputs.iter().chain(&dispatch.outputs).collect();
        let halved: Vec<usize> = (0..views.len()).filter(|i| views[*i].tensor.kind == Kind::F16).collect();
        if !halved.is_empty() {
            text = shaders::halved(&kernel, &text, &halved).map_err(|e| e.to_string())?;
        }
        if let Some(edit) = &self.edit {
            text = edit(&kernel, text);
        }
        let fresh = |view: &View| matches!(view.buffer, Buffer::Scratch(_));
        for view in dispatch.outputs.iter().filter(|view| fresh(view)) {
            self.buffer(view).fill(BEFORE);
        }
        let held: Vec<Vec<u32>> = views.iter().map(|view| self.buffer(view).to_vec()).collect();
        // Most kernels do not use subgroups.
        let subgroup = if text.contains("subgroup") || text.contains("coop") { self.subgroup() } else { 32 };
        let bound = || views.iter().zip(&held).map(|(view, words)| cells(words, view.tensor.kind)).collect();
        if self.traffic.is_some() {
            let traffic = self.shader(text)?.traffic(bound(), kernel.workgroups, subgroup)?;
            let name = format!("{} {:?}", dispatch.op.name(), dispatch.outputs[0].tensor.shape);
            self.traffic.get_or_insert_default().push((name, kernel.workgroups.iter().product(), traffic));
            return Ok(());
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((&text, kernel.workgroups, subgroup, &held));
        let made = match self.made.get(&hash) {
            Some(made) => made.clone(),
            None => {
                let memories = self.shader(text)?.run(bound(), kernel.workgroups, subgroup)?;
                let mut made = Vec::new();
                for (view, memory) in dispatch.outputs.iter().zip(&memories[dispatch.inputs.len()..]) {
                    if let Some(cell) = memory.unwritten(view.tensor.len()).filter(|_| fresh(view)) {
                        return Err(format!("{}[{cell}] of {:?} is not written", memory.name, view.tensor));
                    }
                    made.push(words(&memory.cells, view.tensor.kind));
                }
                self.made.insert(hash, made.clone());
                made
            }
        };
        for (view, words) in dispatch.outputs.iter().zip(made) {
            self.buffer(view).copy_from_slice(&words);
        }
        Ok(())
    }
}

/// The scalars in words.
fn cells(words: &[u32], kind: Kind) -> Vec<u32> {
    let half = |bits: u32| half::f16::from_bits(bits as u16).to_f32().to_bits();
    match kind {
        Kind::F16 => words.iter().flat_map(|word| [half(*word), half(*word >> 16)]).collect(),
        Kind::F32 | Kind::U32 => words.to_vec(),
    }
}

fn words(cells: &[u32], kind: Kind) -> Vec<u32> {
    let half = |cell: u32| u32::from(half::f16::from_f32(f32::from_bits(cell)).to_bits());
    match kind {
        Kind::F16 => cells.chunks(2).map(|pair| half(pair[0]) | half(pair[1]) << 16).collect(),
        Kind::F32 | Kind::U32 => cells.to_vec(),
    }
}

impl Device for InStep {
    fn name(&self) -> String {
        format!("invocations in step, {:?}", self.target)
    }
    fn origin(&self) -> Origin {
        Origin { device: self.name(), driver: String::new() }
    }
    fn room(&self) -> u64 {
        u64::MAX
    }
    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.stored = store.buffers().map(|(_, _, words)| vec![0; words.next_multiple_of(ALIGNMENT)]).collect();
        self.plans.clear();
        self.numbers.allocate(store)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.stored[buffer.0][offset..][..words.len()].copy_from_slice(words);
        Ok(())
    }
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        out.copy_from_slice(&self.stored[buffer.0][offset..][..out.len()]);
        Ok(())
    }
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        let id = self.numbers.prepare(plan)?;
        let mut plan = plan.clone();
        let views = plan.dispatches.iter_mut().flat_map(|d| d.inputs.iter_mut().chain(&mut d.outputs));
        let floats = |view: &&mut View| matches!(view.buffer, Buffer::Scratch(_)) && view.tensor.kind == Kind::F32;
        views.filter(|view| self.halves && floats(view)).for_each(|view| view.tensor.kind = Kind::F16);
        self.plans.push((id, plan));
        Ok(id)
    }
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        for id in (0..times).flat_map(|_| plans) {
            let plan = self.plans.iter().find(|(of, _)| of == id).map(|(_, plan)| plan.clone());
            let plan = plan.ok_or_else(|| DeviceError::Stale { device: self.name() })?;
            self.scratch = plan.scratch_needed().iter().map(|words| vec![BEFORE; *words]).collect();
            for dispatch in &plan.dispatches {
                let done = self.dispatch(dispatch);
                done.map_err(|reason| self.failed(format!("{}: {reason}", dispatch.op.name())))?;
            }
        }
        Ok(())
    }
    fn profile(&mut self, plan: PlanId, _: usize) -> Result<Vec<Duration>, DeviceError> {
        self.run(&[plan], 1).map(|()| Vec::new())
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
