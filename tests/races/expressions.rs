//! Expressions, for all invocations at once.

use std::rc::Rc;

use naga::{ArraySize, Expression, Handle, Literal, Scalar, TypeInner};

use super::values;
use super::workgroup::{Frame, GARBAGE, OUTSIDE, Pointer, Run, SUBGROUPS, Value};

impl<'a> Run<'a> {
    pub fn type_of(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        frame.info[handle].ty.inner_with(&self.shader.module.types)
    }

    fn scalar_of(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Result<Scalar, String> {
        self.type_of(frame, handle)
            .scalar()
            .ok_or_else(|| format!("{:?} is not of scalars", frame.function.expressions[handle]))
    }

    /// An expression's value when it was last evaluated.
    pub fn value(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Value, String> {
        if let Some(value) = &frame.known[handle.index()] {
            return Ok(value.clone());
        }
        // Expressions that hold everywhere are not emitted.
        let value = self.evaluate(frame, handle, &[])?;
        frame.known[handle.index()] = Some(value.clone());
        Ok(value)
    }

    pub fn words(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Rc<Vec<u32>>, String> {
        match self.value(frame, handle)? {
            Value::Words(words) => Ok(words),
            Value::Pointer(_) => Err("a pointer in the place of a value".into()),
        }
    }

    pub fn pointer(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Result<Rc<Pointer>, String> {
        match self.value(frame, handle)? {
            Value::Pointer(pointer) => Ok(pointer),
            Value::Words(_) => Err("a value in the place of a pointer".into()),
        }
    }

    pub fn evaluate(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
        mask: &[bool],
    ) -> Result<Value, String> {
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

    /// An element or a member of a value, or a pointer to one, for each invocation its own.
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
        // Cells from the start of `whole` to part i, and cells of the part.
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
}
