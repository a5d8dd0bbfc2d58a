//! What invocations read and write, cell by cell, and who did so last: a cell is one scalar.

/// Where a variable is kept, and so who may see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Each invocation has its own: cell `c` of invocation `i` is at `c * width + i`.
    Private,
    Workgroup,
    Storage,
}

/// An invocation, or a subgroup that acts as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Actor {
    pub workgroup: u32,
    pub number: u32,
}

/// Something that was done to a cell, and how many barriers for that memory its workgroup had passed.
#[derive(Clone, Copy, Debug)]
struct Act {
    by: Actor,
    barriers: u32,
}

impl Act {
    /// Whether nothing says which of the two comes first.
    fn races(self, other: Act) -> bool {
        self.by.workgroup != other.by.workgroup || (self.by != other.by && self.barriers == other.barriers)
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Past {
    written: Option<Act>,
    read: Option<Act>,
    /// Whether there are reads that race with a write by the last reader.
    read_by_more: bool,
}

#[derive(Debug)]
pub struct Memory {
    pub name: String,
    pub space: Space,
    pub cells: Vec<u32>,
    /// Empty for memory that is not shared, or not written.
    past: Vec<Past>,
}

impl Memory {
    pub fn private(name: &str, cells: Vec<u32>) -> Memory {
        Memory { name: name.into(), space: Space::Private, cells, past: Vec::new() }
    }
    /// Holds nothing to begin with.
    pub fn workgroup(name: &str, cells: usize) -> Memory {
        let past = vec![Past::default(); cells];
        Memory { name: name.into(), space: Space::Workgroup, cells: vec![0; cells], past }
    }
    pub fn storage(name: &str, cells: Vec<u32>, writable: bool) -> Memory {
        let past = if writable { vec![Past::default(); cells.len()] } else { Vec::new() };
        Memory { name: name.into(), space: Space::Storage, cells, past }
    }

    /// Prepares the memory for the next workgroup.
    pub fn forget(&mut self) {
        self.past.fill(Past::default());
    }

    /// The first cell, among the first `cells`, that nothing has written.
    pub fn unwritten(&self, cells: usize) -> Option<usize> {
        self.past[..cells].iter().position(|past| past.written.is_none())
    }

    pub fn read(&mut self, at: usize, by: Actor, barriers: u32) -> Result<u32, String> {
        if self.past.is_empty() {
            return Ok(self.cells[at]);
        }
        let now = Act { by, barriers };
        let past = &mut self.past[at];
        match past.written {
            Some(written) if written.races(now) => return Err(self.race(at, written, "writes", now, "reads")),
            None if self.space == Space::Workgroup => {
                return Err(format!("{}[{at}] is read, but not written", self.name));
            }
            _ => {}
        }
        match past.read {
            Some(read) if read.races(now) => past.read_by_more = true,
            Some(read) if read.by == by && read.barriers == barriers => {}
            _ => (past.read, past.read_by_more) = (Some(now), false),
        }
        Ok(self.cells[at])
    }

    pub fn write(&mut self, at: usize, value: u32, by: Actor, barriers: u32) -> Result<(), String> {
        if !self.past.is_empty() {
            let now = Act { by, barriers };
            let past = &mut self.past[at];
            if let Some(written) = past.written.filter(|written| written.races(now)) {
                return Err(self.race(at, written, "writes", now, "writes"));
            }
            // Of several readers, one is not this writer, and all read after the same barrier or in other workgroups.
            let raced = |read: &Act| read.races(now) || (past.read_by_more && read.barriers == barriers);
            if let Some(read) = past.read.filter(raced) {
                return Err(self.race(at, read, "reads", now, "writes"));
            }
            past.written = Some(now);
        }
        self.cells[at] = value;
        Ok(())
    }

    fn race(&self, at: usize, first: Act, does: &str, second: Act, does_too: &str) -> String {
        let Memory { name, .. } = self;
        let [a, b] = [first.by, second.by].map(|by| format!("{} of workgroup {}", by.number, by.workgroup));
        format!("a race for {name}[{at}]: {a} {does}, {b} {does_too}, and no barrier stands between them")
    }
}
