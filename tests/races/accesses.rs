//! Loads and stores: where invocations meet.

use naga::{CooperativeData, Expression, Handle, TypeInner};

use super::memory::Space;
use super::workgroup::{Frame, GARBAGE, OUTSIDE, Run};

impl<'a> Run<'a> {
    /// Number of barriers that the workgroup has passed and that order accesses to a memory.
    pub fn passed(&self, memory: usize) -> u32 {
        self.barriers[usize::from(self.memories[memory].space == Space::Storage)]
    }

    pub fn load(
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
        self.count(pointer.memory, &pointer.at, cells, mask);
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

    pub fn store(
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
        if !private {
            self.count(pointer.memory, &pointer.at, words.len() / holders, mask);
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

    /// Where a matrix is in memory: for each element memory, subgroup, cell, and its number, row by row.
    pub fn tile(
        &mut self,
        frame: &mut Frame<'a>,
        data: &CooperativeData,
        [rows, columns]: [usize; 2],
    ) -> Result<Vec<(usize, usize, usize, usize)>, String> {
        let (pointer, stride) = (self.pointer(frame, data.pointer)?, self.words(frame, data.stride)?);
        // Strides are in units of what is pointed to: mostly vectors.
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
