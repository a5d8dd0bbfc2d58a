//! A shader, run by naga's view of it: all invocations of a workgroup in step, one workgroup after another.
//!
//! Which of them comes first is never asked: [`Memory`] knows what no barrier orders. What WGSL leaves open is an error as
//! well: a write past the end of a buffer, a read of what nothing has written, a barrier or a word to the subgroup that
//! only some arrive at.

use std::rc::Rc;

use naga::valid::{
    Capabilities, FunctionInfo, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use naga::{
    AddressSpace, ArraySize, Barrier, Binding, Block, BuiltIn, CooperativeData, Expression, Function, GatherMode,
    Handle, Literal, Module, Scalar, Statement, StorageAccess, SwitchCase, SwitchValue, TypeInner,
};

use super::memory::{Actor, Memory, Space};
use super::values;

/// Where a pointer points to that was made with too large an index.
const OUTSIDE: u32 = u32::MAX;
/// What a read from there gives: a NaN that shows if anything is made of it.
const GARBAGE: u32 = 0x7fc0_dead;
/// Subgroups are numbered from here on where they act as one.
const SUBGROUPS: u32 = 1 << 16;

type Mask = Vec<bool>;

pub struct Shader {
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    pub fn new(text: &str) -> Result<Shader, String> {
        let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
        let info = validator.validate(&module).map_err(|e| e.emit_to_string(text))?;
        Ok(Shader { module, info })
    }

    /// Runs it on what is bound, scalar by scalar, and returns that. `subgroup`: invocations in one.
    pub fn run(&self, mut bound: Vec<Vec<u32>>, workgroups: [u32; 3], subgroup: usize) -> Result<Vec<Memory>, String> {
        let size = self.module.entry_points[0].workgroup_size;
        let width = size.iter().product::<u32>() as usize;
        let mut memories = Vec::new();
        for (_, variable) in self.module.global_variables.iter() {
            let name = variable.name.as_deref().unwrap_or("");
            memories.push(match (variable.space, variable.binding) {
                (AddressSpace::WorkGroup, _) => {
                    Memory::workgroup(name, self.cells(&self.module.types[variable.ty].inner))
                }
                (AddressSpace::Storage { access }, Some(binding)) => {
                    let cells = bound.get_mut(binding.binding as usize).ok_or(format!("{name} is not bound"))?;
                    Memory::storage(name, std::mem::take(cells), access.contains(StorageAccess::STORE))
                }
                (space, _) => return Err(format!("these tests do not know {space:?}")),
            });
        }
        let subgroup = subgroup.min(width);
        let mut run = Run { shader: self, memories, size, workgroups, subgroup, width, at: [0; 3], barriers: [0; 2] };
        run.all()?;
        let variables = self.module.global_variables.iter().zip(run.memories);
        let mut buffers: Vec<_> =
            variables.filter_map(|((_, variable), memory)| Some((variable.binding?.binding, memory))).collect();
        buffers.sort_by_key(|(binding, _)| *binding);
        Ok(buffers.into_iter().map(|(_, memory)| memory).collect())
    }

    /// Scalars in a value of a type; of an array as long as its buffer, in an element.
    fn cells(&self, ty: &TypeInner) -> usize {
        let of = |ty: &Handle<naga::Type>| self.cells(&self.module.types[*ty].inner);
        match ty {
            TypeInner::Vector { size, .. } => *size as usize,
            TypeInner::ValuePointer { size, .. } => size.map_or(1, |size| size as usize),
            TypeInner::CooperativeMatrix { columns, rows, .. } => *columns as usize * *rows as usize,
            TypeInner::Array { base, size: ArraySize::Constant(count), .. } => of(base) * count.get() as usize,
            TypeInner::Array { base, .. } => of(base),
            TypeInner::Struct { members, .. } => members.iter().map(|member| of(&member.ty)).sum(),
            _ => 1,
        }
    }
}

struct Pointer {
    /// The number of the memory.
    memory: usize,
    /// The first cell that each invocation points to.
    at: Vec<u32>,
}

#[derive(Clone)]
enum Value {
    Words(Rc<Vec<u32>>),
    Pointer(Rc<Pointer>),
}

impl Value {
    fn new(words: Vec<u32>) -> Value {
        Value::Words(Rc::new(words))
    }
}

/// A call of a function.
struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    arguments: Vec<Value>,
    /// The number of the first local variable's memory.
    locals: usize,
    known: Vec<Option<Value>>,
    result: Option<Vec<u32>>,
    /// Of each loop or switch around a statement, the invocations that have left its body.
    around: Vec<Left>,
}

struct Left {
    is_loop: bool,
    broken: Mask,
    continued: Mask,
}

struct Run<'a> {
    shader: &'a Shader,
    /// First the module's, then those of the calls that are under way.
    memories: Vec<Memory>,
    size: [u32; 3],
    workgroups: [u32; 3],
    width: usize,
    subgroup: usize,
    /// The workgroup.
    at: [u32; 3],
    /// Passed by the workgroup: for what it shares, and for buffers.
    barriers: [u32; 2],
}

fn both(a: &[bool], b: &[bool]) -> Mask {
    a.iter().zip(b).map(|(a, b)| *a && *b).collect()
}

fn either(a: &[bool], b: &[bool]) -> Mask {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

fn none(mask: &[bool]) -> bool {
    !mask.contains(&true)
}

impl<'a> Run<'a> {
    fn all(&mut self) -> Result<(), String> {
        let entry = &self.shader.module.entry_points[0];
        let [columns, rows, layers] = self.workgroups;
        for z in 0..layers {
            for y in 0..rows {
                for x in 0..columns {
                    self.at = [x, y, z];
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

    /// `number`: of an invocation, or of a subgroup from [`SUBGROUPS`] on.
    fn actor(&self, number: u32) -> Actor {
        let [x, y, z] = self.at;
        let [columns, rows, _] = self.workgroups;
        Actor { workgroup: (z * rows + y) * columns + x, number }
    }

    fn call(
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

    /// Invocations that hold a value of a type, or subgroups, of a matrix that these hold together.
    fn holders(&self, ty: &TypeInner) -> usize {
        match ty {
            TypeInner::CooperativeMatrix { .. } => self.width / self.subgroup,
            _ => self.width,
        }
    }

    fn zeros(&self, ty: &TypeInner) -> Vec<u32> {
        vec![0; self.shader.cells(ty) * self.holders(ty)]
    }

    /// Returns the invocations that arrive at its end.
    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut mask: Mask) -> Result<Mask, String> {
        for statement in block.iter() {
            if none(&mask) {
                break;
            }
            mask = self.statement(frame, statement, mask)?;
        }
        Ok(mask)
    }

    fn statement(&mut self, frame: &mut Frame<'a>, statement: &'a Statement, mask: Mask) -> Result<Mask, String> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    let value = self.evaluate(frame, handle, &mask)?;
                    frame.known[handle.index()] = Some(value);
                }
            }
            Statement::Block(block) => return self.block(frame, block, mask),
            Statement::If { condition, accept, reject } => {
                let condition: Mask = self.words(frame, *condition)?.iter().map(|word| *word != 0).collect();
                let otherwise: Mask = condition.iter().map(|holds| !holds).collect();
                let accepted = self.block(frame, accept, both(&mask, &condition))?;
                let rejected = self.block(frame, reject, both(&mask, &otherwise))?;
                return Ok(either(&accepted, &rejected));
            }
            Statement::Loop { body, continuing, break_if } => {
                return self.repeat(frame, body, continuing, *break_if, mask);
            }
            Statement::Switch { selector, cases } => return self.switch(frame, *selector, cases, mask),
            Statement::Break => {
                let around = frame.around.last_mut().ok_or("break outside of a loop")?;
                around.broken = either(&around.broken, &mask);
                return Ok(vec![false; self.width]);
            }
            Statement::Continue => {
                let around =
                    frame.around.iter_mut().rev().find(|left| left.is_loop).ok_or("continue outside of a loop")?;
                around.continued = either(&around.continued, &mask);
                return Ok(vec![false; self.width]);
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let words = self.words(frame, *value)?;
                    let result = frame.result.get_or_insert_with(|| vec![0; words.len()]);
                    let taken = (0..words.len()).filter(|i| mask[i % self.width]);
                    taken.for_each(|i| result[i] = words[i]);
                }
                return Ok(vec![false; self.width]);
            }
            Statement::ControlBarrier(barrier) => {
                if mask.contains(&false) {
                    return Err("a barrier that some invocations do not arrive at".into());
                }
                self.barriers[0] += u32::from(barrier.contains(Barrier::WORK_GROUP));
                self.barriers[1] += u32::from(barrier.contains(Barrier::STORAGE));
            }
            Statement::Store { pointer, value } => self.store(frame, *pointer, *value, &mask)?,
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|a| self.value(frame, *a)).collect::<Result<_, _>>()?;
                let info = &self.shader.info[*function];
                let made = self.call(&self.shader.module.functions[*function], info, arguments, &mask)?;
                if let Some(result) = result {
                    frame.known[result.index()] = made;
                }
            }
            Statement::SubgroupGather { mode: GatherMode::Broadcast(from), argument, result } => {
                let (from, words) = (self.words(frame, *from)?, self.words(frame, *argument)?);
                self.together(&mask, "a broadcast")?;
                let word = |i: usize| {
                    let lane = i % self.width;
                    let first = lane - lane % self.subgroup;
                    words[i - lane + first + from[first] as usize % self.subgroup]
                };
                frame.known[result.index()] = Some(Value::new((0..words.len()).map(word).collect()));
            }
            Statement::CooperativeStore { target, data } => {
                let words = self.words(frame, *target)?;
                let TypeInner::CooperativeMatrix { columns, rows, .. } = *self.type_of(frame, *target) else {
                    return Err("a store of no matrix".into());
                };
                let size = [rows as usize, columns as usize];
                let subgroups = self.width / self.subgroup;
                self.together(&mask, "a store of a matrix")?;
                for (memory, subgroup, at, element) in self.tile(frame, data, size)? {
                    let (by, barriers) = (self.actor(SUBGROUPS + subgroup as u32), self.passed(memory));
                    self.memories[memory].write(at, words[element * subgroups + subgroup], by, barriers)?;
                }
            }
            other => return Err(format!("these tests do not know {other:?}")),
        }
        Ok(mask)
    }

    fn repeat(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        mut mask: Mask,
    ) -> Result<Mask, String> {
        let nobody = vec![false; self.width];
        let mut left = nobody.clone();
        while !none(&mask) {
            frame.around.push(Left { is_loop: true, broken: nobody.clone(), continued: nobody.clone() });
            let through = self.block(frame, body, mask)?;
            let Left { broken, continued, .. } = frame.around.pop().ok_or("a loop that was left twice")?;
            left = either(&left, &broken);
            mask = self.block(frame, continuing, either(&through, &continued))?;
            if let Some(condition) = break_if.filter(|_| !none(&mask)) {
                let words = self.words(frame, condition)?;
                let ends = |i: usize| words[i] != 0;
                left = (0..self.width).map(|i| left[i] || (mask[i] && ends(i))).collect();
                mask = (0..self.width).map(|i| mask[i] && !ends(i)).collect();
            }
        }
        Ok(left)
    }

    fn switch(
        &mut self,
        frame: &mut Frame<'a>,
        selector: Handle<Expression>,
        cases: &'a [SwitchCase],
        mask: Mask,
    ) -> Result<Mask, String> {
        let words = self.words(frame, selector)?;
        let is = |case: &SwitchCase, word: u32| match case.value {
            SwitchValue::I32(n) => n as u32 == word,
            SwitchValue::U32(n) => n == word,
            SwitchValue::Default => false,
        };
        let nobody = vec![false; self.width];
        frame.around.push(Left { is_loop: false, broken: nobody.clone(), continued: nobody.clone() });
        let (mut ends, mut falls) = (nobody.clone(), nobody);
        for case in cases {
            let enters = |i: usize| match case.value {
                SwitchValue::Default => !cases.iter().any(|case| is(case, words[i])),
                _ => is(case, words[i]),
            };
            let enter = (0..self.width).map(|i| falls[i] || (mask[i] && enters(i))).collect();
            let through = self.block(frame, &case.body, enter)?;
            match case.fall_through {
                true => falls = through,
                false => {
                    ends = either(&ends, &through);
                    falls.fill(false);
                }
            }
        }
        let Left { broken, .. } = frame.around.pop().ok_or("a switch that was left twice")?;
        Ok(either(&ends, &broken))
    }

    /// What subgroups do together, all of their invocations do.
    fn together(&self, mask: &[bool], what: &str) -> Result<(), String> {
        if mask.contains(&false) || !self.width.is_multiple_of(self.subgroup) {
            return Err(format!("{what} that some invocations of a subgroup do not arrive at"));
        }
        Ok(())
    }

    fn type_of(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        frame.info[handle].ty.inner_with(&self.shader.module.types)
    }

    fn scalar_of(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Result<Scalar, String> {
        self.type_of(frame, handle)
            .scalar()
            .ok_or_else(|| format!("{:?} is not of scalars", frame.function.expressions[handle]))
    }

    /// What an expression was when it was last evaluated.
    fn value(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Value, String> {
        if let Some(value) = &frame.known[handle.index()] {
            return Ok(value.clone());
        }
        // Those that hold everywhere are not emitted.
        let value = self.evaluate(frame, handle, &[])?;
        frame.known[handle.index()] = Some(value.clone());
        Ok(value)
    }

    fn words(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Rc<Vec<u32>>, String> {
        match self.value(frame, handle)? {
            Value::Words(words) => Ok(words),
            Value::Pointer(_) => Err("a pointer in the place of a value".into()),
        }
    }

    fn pointer(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Rc<Pointer>, String> {
        match self.value(frame, handle)? {
            Value::Pointer(pointer) => Ok(pointer),
            Value::Words(_) => Err("a value in the place of a pointer".into()),
        }
    }

    fn evaluate(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, mask: &[bool]) -> Result<Value, String> {
        let expression = &frame.function.expressions[handle];
        let width = self.width;
        Ok(Value::new(match *expression {
            Expression::Literal(_) | Expression::Constant(_) => {
                let words = self.constant(expression)?;
                words.iter().flat_map(|word| std::iter::repeat_n(*word, width)).collect()
            }
            Expression::ZeroValue(ty) => self.zeros(&self.shader.module.types[ty].inner),
            Expression::FunctionArgument(i) => return Ok(frame.arguments[i as usize].clone()),
            Expression::GlobalVariable(variable) => return Ok(self.start_of(variable.index())),
            Expression::LocalVariable(variable) => return Ok(self.start_of(frame.locals + variable.index())),
            Expression::Compose { ref components, .. } => {
                let mut all = Vec::new();
                for component in components {
                    all.extend_from_slice(&self.words(frame, *component)?);
                }
                all
            }
            Expression::Splat { size, value } => self.words(frame, value)?.repeat(size as usize),
            Expression::Swizzle { size, vector, pattern } => {
                let words = self.words(frame, vector)?;
                let parts = pattern[..size as usize].iter().map(|part| &words[*part as usize * width..][..width]);
                parts.flatten().copied().collect()
            }
            Expression::Access { base, index } => {
                let index = self.words(frame, index)?;
                return self.part(frame, base, &|i| index[i]);
            }
            Expression::AccessIndex { base, index } => return self.part(frame, base, &|_| index),
            Expression::Load { pointer } => self.load(frame, pointer, self.type_of(frame, handle), mask)?,
            Expression::Unary { op, expr } => {
                let scalar = self.scalar_of(frame, expr)?;
                values::unary(op, scalar, &self.words(frame, expr)?)
            }
            Expression::Binary { op, left, right } => {
                let scalar = self.scalar_of(frame, left)?;
                let (left, right) = (self.words(frame, left)?, self.words(frame, right)?);
                values::binary(op, scalar, &left, &right)
            }
            Expression::Select { condition, accept, reject } => {
                let condition = self.words(frame, condition)?;
                let (accept, reject) = (self.words(frame, accept)?, self.words(frame, reject)?);
                values::select(&condition, &accept, &reject)
            }
            Expression::Math { fun, arg, arg1, arg2, arg3: None } => {
                let scalar = self.scalar_of(frame, arg)?;
                let args = [Some(arg), arg1, arg2].into_iter().flatten();
                let args = args.map(|arg| self.words(frame, arg)).collect::<Result<Vec<_>, _>>()?;
                let args: Vec<&[u32]> = args.iter().map(|words| words.as_slice()).collect();
                values::math(fun, scalar, &args, width)?
            }
            Expression::As { expr, kind, convert: Some(bytes) } => {
                let (from, to) = (self.scalar_of(frame, expr)?, Scalar { kind, width: bytes });
                values::converted(from, to, &self.words(frame, expr)?)
            }
            Expression::As { expr, convert: None, .. } if self.scalar_of(frame, expr)?.width == 4 => {
                return self.value(frame, expr);
            }
            Expression::CooperativeLoad { columns, rows, ref data, .. } => {
                let size = [rows as usize, columns as usize];
                let subgroups = width / self.subgroup;
                self.together(mask, "a load of a matrix")?;
                let mut words = vec![0; size[0] * size[1] * subgroups];
                for (memory, subgroup, at, element) in self.tile(frame, data, size)? {
                    let (by, barriers) = (self.actor(SUBGROUPS + subgroup as u32), self.passed(memory));
                    words[element * subgroups + subgroup] = self.memories[memory].read(at, by, barriers)?;
                }
                words
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                let TypeInner::CooperativeMatrix { columns: inner, .. } = *self.type_of(frame, a) else {
                    return Err("a product of no matrix".into());
                };
                let TypeInner::CooperativeMatrix { columns, .. } = *self.type_of(frame, b) else {
                    return Err("a product of no matrix".into());
                };
                let (a, b, mut sums) = (self.words(frame, a)?, self.words(frame, b)?, self.words(frame, c)?.to_vec());
                let (inner, columns, subgroups) = (inner as usize, columns as usize, width / self.subgroup);
                for (element, sums) in sums.chunks_mut(subgroups).enumerate() {
                    let (row, column) = (element / columns, element % columns);
                    for i in 0..inner {
                        let a = &a[(row * inner + i) * subgroups..][..subgroups];
                        let b = &b[(i * columns + column) * subgroups..][..subgroups];
                        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                            let product = f32::from_bits(*a) * f32::from_bits(*b);
                            *sum = (f32::from_bits(*sum) + product).to_bits();
                        }
                    }
                }
                sums
            }
            ref other => return Err(format!("these tests do not know {other:?}")),
        }))
    }

    /// The scalars of what is known before anything runs.
    fn constant(&self, expression: &Expression) -> Result<Vec<u32>, String> {
        let module = &self.shader.module;
        let of = |handle: &Handle<Expression>| self.constant(&module.global_expressions[*handle]);
        Ok(match expression {
            Expression::Literal(literal) => vec![match *literal {
                Literal::F32(x) => x.to_bits(),
                Literal::F16(x) => x.to_f32().to_bits(),
                Literal::U32(n) => n,
                Literal::I32(n) => n as u32,
                Literal::Bool(holds) => u32::from(holds),
                other => return Err(format!("these tests do not know {other:?}")),
            }],
            Expression::Constant(constant) => of(&module.constants[*constant].init)?,
            Expression::ZeroValue(ty) => vec![0; self.shader.cells(&module.types[*ty].inner)],
            Expression::Splat { size, value } => of(value)?.repeat(*size as usize),
            Expression::Compose { components, .. } => {
                let parts = components.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                parts.concat()
            }
            other => return Err(format!("these tests do not know {other:?} as a constant")),
        })
    }

    fn start_of(&self, memory: usize) -> Value {
        Value::Pointer(Rc::new(Pointer { memory, at: vec![0; self.width] }))
    }

    /// An element or a member of a value, or a pointer to one, each invocation its own.
    fn part(
        &mut self,
        frame: &mut Frame<'a>,
        base: Handle<Expression>,
        index: &dyn Fn(usize) -> u32,
    ) -> Result<Value, String> {
        let types = &self.shader.module.types;
        let whole = match *self.type_of(frame, base) {
            TypeInner::Pointer { base, .. } => &types[base].inner,
            ref other => other,
        };
        let value = self.value(frame, base)?;
        // Cells from the start of `whole` to part i, and of the part.
        let (before, cells): (Box<dyn Fn(u32) -> Option<u32>>, usize) = match whole {
            TypeInner::Struct { members, .. } => {
                let cells = |member: &naga::StructMember| self.shader.cells(&types[member.ty].inner);
                let member = index(0) as usize;
                let before = members[..member].iter().map(cells).sum::<usize>() as u32;
                (Box::new(move |_| Some(before)), cells(&members[member]))
            }
            TypeInner::Array { base, size, .. } => {
                let cells = self.shader.cells(&types[*base].inner);
                let count = match (size, &value) {
                    (ArraySize::Constant(count), _) => count.get(),
                    (_, Value::Pointer(pointer)) => (self.memories[pointer.memory].cells.len() / cells) as u32,
                    _ => return Err("an array of no known length".into()),
                };
                (Box::new(move |i| (i < count).then(|| i * cells as u32)), cells)
            }
            vector => {
                let count = self.shader.cells(vector) as u32;
                (Box::new(move |i| (i < count).then_some(i)), 1)
            }
        };
        Ok(match value {
            Value::Pointer(pointer) => {
                let at = |i: usize| match (pointer.at[i], before(index(i))) {
                    (OUTSIDE, _) | (_, None) => OUTSIDE,
                    (at, Some(before)) => at + before,
                };
                Value::Pointer(Rc::new(Pointer { memory: pointer.memory, at: (0..self.width).map(at).collect() }))
            }
            Value::Words(words) => {
                let word =
                    |c: usize, i: usize| before(index(i)).map_or(GARBAGE, |b| words[(b as usize + c) * self.width + i]);
                Value::new(
                    (0..cells).flat_map(|c| (0..self.width).map(move |i| (c, i))).map(|(c, i)| word(c, i)).collect(),
                )
            }
        })
    }

    /// Barriers that the workgroup has passed which order what is done to a memory.
    fn passed(&self, memory: usize) -> u32 {
        self.barriers[usize::from(self.memories[memory].space == Space::Storage)]
    }

    fn load(
        &mut self,
        frame: &mut Frame<'a>,
        pointer: Handle<Expression>,
        ty: &TypeInner,
        mask: &[bool],
    ) -> Result<Vec<u32>, String> {
        let pointer = self.pointer(frame, pointer)?;
        let (cells, holders) = (self.shader.cells(ty), self.holders(ty));
        let mut words = vec![0; cells * holders];
        let barriers = self.passed(pointer.memory);
        if self.memories[pointer.memory].space == Space::Private {
            for (n, word) in words.iter_mut().enumerate() {
                let (c, i) = (n / holders, n % holders);
                *word = match pointer.at[i] {
                    OUTSIDE => GARBAGE,
                    at => self.memories[pointer.memory].cells[(at as usize + c) * holders + i],
                };
            }
            return Ok(words);
        }
        for i in (0..self.width).filter(|i| mask[*i]) {
            let by = self.actor(i as u32);
            for c in 0..cells {
                words[c * holders + i] = match pointer.at[i] {
                    OUTSIDE => GARBAGE,
                    at => self.memories[pointer.memory].read(at as usize + c, by, barriers)?,
                };
            }
        }
        Ok(words)
    }

    fn store(
        &mut self,
        frame: &mut Frame<'a>,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        mask: &[bool],
    ) -> Result<(), String> {
        let holders = self.holders(self.type_of(frame, value));
        let (pointer, words) = (self.pointer(frame, pointer)?, self.words(frame, value)?);
        let barriers = self.passed(pointer.memory);
        let private = self.memories[pointer.memory].space == Space::Private;
        if holders < self.width {
            self.together(mask, "a store of a matrix")?;
        }
        for i in (0..holders).filter(|i| mask[i * self.width / holders]) {
            let by = self.actor(i as u32);
            let memory = &mut self.memories[pointer.memory];
            let at = match pointer.at[i] {
                OUTSIDE => {
                    return Err(format!(
                        "a write past the end of {}, which has {} cells",
                        memory.name,
                        memory.cells.len()
                    ));
                }
                at => at as usize,
            };
            for c in 0..words.len() / holders {
                let word = words[c * holders + i];
                match private {
                    true => memory.cells[(at + c) * holders + i] = word,
                    false => memory.write(at + c, word, by, barriers)?,
                }
            }
        }
        Ok(())
    }

    /// Where a matrix lies in memory: memory, subgroup, cell, and number of the element, row by row.
    fn tile(
        &mut self,
        frame: &mut Frame<'a>,
        data: &CooperativeData,
        [rows, columns]: [usize; 2],
    ) -> Result<Vec<(usize, usize, usize, usize)>, String> {
        let (pointer, stride) = (self.pointer(frame, data.pointer)?, self.words(frame, data.stride)?);
        // Strides count what is pointed to: vectors, mostly.
        let each = match *self.type_of(frame, data.pointer) {
            TypeInner::Pointer { base, .. } => self.shader.cells(&self.shader.module.types[base].inner),
            ref other => self.shader.cells(other),
        };
        let mut all = Vec::with_capacity(self.width / self.subgroup * rows * columns);
        for subgroup in 0..self.width / self.subgroup {
            let lanes = subgroup * self.subgroup..(subgroup + 1) * self.subgroup;
            let (start, stride_of) = (pointer.at[lanes.start], stride[lanes.start]);
            if lanes.clone().any(|i| pointer.at[i] != start || stride[i] != stride_of) {
                return Err("a matrix that lies elsewhere for some invocations of a subgroup".into());
            }
            for row in 0..rows {
                for column in 0..columns {
                    let (line, along) = if data.row_major { (row, column) } else { (column, row) };
                    let at = start as usize + line * stride_of as usize * each + along;
                    if start == OUTSIDE || at >= self.memories[pointer.memory].cells.len() {
                        return Err(format!("a matrix past the end of {}", self.memories[pointer.memory].name));
                    }
                    all.push((pointer.memory, subgroup, at, row * columns + column));
                }
            }
        }
        Ok(all)
    }
}
