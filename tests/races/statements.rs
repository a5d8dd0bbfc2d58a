//! Statements: each returns the invocations that arrive at its end.

use naga::{Barrier, Block, Expression, GatherMode, Handle, Statement, SwitchCase, SwitchValue, TypeInner};

use super::workgroup::{Frame, Left, Mask, Run, SUBGROUPS, Value, both, either, none};

impl<'a> Run<'a> {
    /// Returns the invocations that arrive at its end.
    pub fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut mask: Mask) -> Result<Mask, String> {
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

    /// Checks that all invocations of the subgroups take part in what these do together.
    pub fn together(&self, mask: &[bool], what: &str) -> Result<(), String> {
        if mask.contains(&false) || !self.width.is_multiple_of(self.subgroup) {
            return Err(format!("{what} that some invocations of a subgroup do not arrive at"));
        }
        Ok(())
    }
}
