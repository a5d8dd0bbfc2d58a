//! The invocations of a workgroup, all in step, one workgroup after another.
//!
//! Which of them comes first never matters: [`Memory`] knows what no barrier orders. What WGSL leaves open is an error
//! as well: a write past the end of a buffer, a read of what nothing has written, a barrier or a subgroup operation
//! that only some arrive at.

use std::rc::Rc;

use naga::valid::FunctionInfo;
use naga::{Binding, BuiltIn, Function, TypeInner};

use super::memory::{Actor, Memory, Space};
use super::shader::Shader;
use super::traffic::Traffic;

/// Where a pointer that was made with too large an index points to.
pub const OUTSIDE: u32 = u32::MAX;
/// What a read from there gives: a NaN that shows if anything is computed from it.
pub const GARBAGE: u32 = 0x7fc0_dead;
/// Subgroups are numbered from here on where they act as one.
pub const SUBGROUPS: u32 = 1 << 16;

pub type Mask = Vec<bool>;

pub struct Pointer {
    /// The number of the memory.
    pub memory: usize,
    /// The first cell that each invocation points to.
    pub at: Vec<u32>,
}

#[derive(Clone)]
pub enum Value {
    Words(Rc<Vec<u32>>),
    Pointer(Rc<Pointer>),
}

impl Value {
    pub fn new(words: Vec<u32>) -> Value {
        Value::Words(Rc::new(words))
    }
}

/// A call of a function.
pub struct Frame<'a> {
    pub function: &'a Function,
    pub info: &'a FunctionInfo,
    pub arguments: Vec<Value>,
    /// The number of the first local variable's memory.
    pub locals: usize,
    pub known: Vec<Option<Value>>,
    pub result: Option<Vec<u32>>,
    /// For each loop or switch around a statement, the invocations that have left its body.
    pub around: Vec<Left>,
}

pub struct Left {
    pub is_loop: bool,
    pub broken: Mask,
    pub continued: Mask,
}

pub struct Run<'a> {
    pub shader: &'a Shader,
    /// First the module's, then those of the calls in progress.
    pub memories: Vec<Memory>,
    pub size: [u32; 3],
    pub workgroups: [u32; 3],
    pub width: usize,
    pub subgroup: usize,
    /// The current workgroup.
    pub at: [u32; 3],
    /// Numbers of barriers that the workgroup has passed: for its shared memory, and for buffers.
    pub barriers: [u32; 2],
    /// Set if traffic is counted.
    pub traffic: Option<Traffic>,
}

pub fn both(a: &[bool], b: &[bool]) -> Mask {
    a.iter().zip(b).map(|(a, b)| *a && *b).collect()
}

pub fn either(a: &[bool], b: &[bool]) -> Mask {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

pub fn none(mask: &[bool]) -> bool {
    !mask.contains(&true)
}

impl<'a> Run<'a> {
    pub fn all(&mut self) -> Result<(), String> {
        let entry = &self.shader.module.entry_points[0];
        let [columns, rows, layers] = self.workgroups;
        for z in 0..layers {
            for y in 0..rows {
                for x in 0..columns {
                    self.at = [x, y, z];
                    if self.is_passed_over() {
                        continue;
                    }
                    if let Some(traffic) = &mut self.traffic {
                        traffic.workgroups += 1;
                    }
                    self.barriers = [0; 2];
                    self.memories.iter_mut().filter(|memory| memory.space == Space::Workgroup).for_each(Memory::forget);
                    let builtins = entry.function.arguments.iter().map(|argument| match argument.binding {
                        Some(Binding::BuiltIn(builtin)) => self.builtin(builtin),
                        _ => Err("an argument that is not built in".into()),
                    });
                    let arguments = builtins.collect::<Result<_, _>>()?;
                    self.call(
                        &entry.function,
                        self.shader.info.get_entry_point(0),
                        arguments,
                        &vec![true; self.width],
                    )?;
                }
            }
        }
        Ok(())
    }

    fn builtin(&self, builtin: BuiltIn) -> Result<Value, String> {
        let [sx, sy, _] = self.size;
        let local = |i: u32| [i % sx, i / sx % sy, i / (sx * sy)];
        let vector = |of: &dyn Fn(u32) -> [u32; 3]| -> Vec<u32> {
            (0..3).flat_map(|c| (0..self.width as u32).map(move |i| of(i)[c])).collect()
        };
        let scalar = |of: &dyn Fn(u32) -> u32| -> Vec<u32> { (0..self.width as u32).map(of).collect() };
        let subgroup = self.subgroup as u32;
        Ok(Value::new(match builtin {
            BuiltIn::WorkGroupId => vector(&|_| self.at),
            BuiltIn::NumWorkGroups => vector(&|_| self.workgroups),
            BuiltIn::LocalInvocationId => vector(&local),
            BuiltIn::GlobalInvocationId => {
                vector(&|i| std::array::from_fn(|c| self.at[c] * self.size[c] + local(i)[c]))
            }
            BuiltIn::LocalInvocationIndex => scalar(&|i| i),
            BuiltIn::SubgroupInvocationId => scalar(&|i| i % subgroup),
            _ => return Err(format!("these tests do not know {builtin:?}")),
        }))
    }

    /// `number` is that of an invocation, or of a subgroup from [`SUBGROUPS`] on.
    pub fn actor(&self, number: u32) -> Actor {
        let [x, y, z] = self.at;
        let [columns, rows, _] = self.workgroups;
        Actor { workgroup: (z * rows + y) * columns + x, number }
    }

    pub fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
        mask: &[bool],
    ) -> Result<Option<Value>, String> {
        let locals = self.memories.len();
        let known = vec![None; function.expressions.len()];
        let mut frame = Frame { function, info, arguments, locals, known, result: None, around: Vec::new() };
        for (_, variable) in function.local_variables.iter() {
            let cells = match variable.init {
                Some(init) => self.words(&mut frame, init)?.to_vec(),
                None => self.zeros(&self.shader.module.types[variable.ty].inner),
            };
            self.memories.push(Memory::private(variable.name.as_deref().unwrap_or(""), cells));
        }
        self.block(&mut frame, &function.body, mask.to_vec())?;
        self.memories.truncate(locals);
        Ok(frame.result.map(Value::new))
    }

    /// Number of invocations that hold a value of a type; for a matrix, of subgroups, each of which holds it together.
    pub fn holders(&self, ty: &TypeInner) -> usize {
        match ty {
            TypeInner::CooperativeMatrix { .. } => self.width / self.subgroup,
            _ => self.width,
        }
    }

    pub fn zeros(&self, ty: &TypeInner) -> Vec<u32> {
        vec![0; self.shader.cells(ty) * self.holders(ty)]
    }
}
