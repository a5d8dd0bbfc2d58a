//! A shader with everything that is needed to dispatch it: plain data, made by an op, executed by the GPU device.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A constant that is written into the shader's text as `const NAME: TYPE = VALUE;`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Constant {
    U32(u32),
    F32(f32),
    Flag(bool),
}

impl From<usize> for Constant {
    /// Sizes are checked against the device's limits, far below u32, before a kernel is compiled.
    fn from(value: usize) -> Constant {
        Constant::U32(u32::try_from(value).unwrap_or(u32::MAX))
    }
}
impl From<u32> for Constant {
    fn from(value: u32) -> Constant {
        Constant::U32(value)
    }
}
impl From<f32> for Constant {
    fn from(value: f32) -> Constant {
        Constant::F32(value)
    }
}
impl From<bool> for Constant {
    fn from(value: bool) -> Constant {
        Constant::Flag(value)
    }
}

/// One dispatch of one entry point. Bindings are in group 0: inputs in order, then outputs.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    /// The file in `shaders/`, without its ending.
    pub file: &'static str,
    pub entry: &'static str,
    pub constants: Vec<(Cow<'static, str>, Constant)>,
    pub workgroups: [u32; 3],
}

/// Invocations in a workgroup of the kernels that walk a flat range: `WORKGROUP` in their text.
pub const WORKGROUP: usize = 64;
/// Invocations in a workgroup that every adapter allows.
pub const MOST_INVOCATIONS: usize = 256;
/// Storage buffers bound at once that every adapter allows.
pub const MOST_BINDINGS: usize = 8;
/// Workgroups in one dimension that every adapter allows.
pub const MAX_GROUPS: usize = 65_535;

/// Units of a GPU that multiply matrices of 16-bit floats and add up in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct MatrixUnits {
    /// Rows and columns of a matrix, 8 or 16.
    pub edge: usize,
    /// Invocations that do it together.
    pub subgroup: usize,
    /// Bytes that a workgroup may share.
    pub memory: usize,
}

/// What a kernel is laid out for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Target {
    /// Invocations that keep it busy: where a result has fewer elements, several share one.
    pub busy: usize,
    /// Invocations in a subgroup, where that is a register of a CPU's and kernels may make use of it; else 0.
    pub subgroup: usize,
    /// For what is 16-bit already.
    pub matrices: Option<MatrixUnits>,
}

impl Target {
    /// A card of its own. Chosen on an NVIDIA H200.
    pub const DISCRETE: Target = Target { busy: 1 << 19, subgroup: 0, matrices: None };
    pub const INTEGRATED: Target = Target { busy: 1 << 15, subgroup: 0, matrices: None };
    /// A driver that runs on the CPU: any work keeps it busy, and what shares memory costs it switches.
    pub const SOFTWARE: Target = Target { busy: 1, subgroup: 0, matrices: None };

    pub fn is_software(self) -> bool {
        self.busy == Target::SOFTWARE.busy
    }
}

impl Kernel {
    /// A kernel over `count` invocations in a flat range, in groups of [`WORKGROUP`]: `COUNT` and `WORKGROUP` in the
    /// shader, which finds an invocation's index as `flat_index` of its `global_invocation_id` and must check it.
    pub fn flat(file: &'static str, entry: &'static str, count: usize) -> Kernel {
        let kernel = Kernel::laid_out(file, entry, count.div_ceil(WORKGROUP), WORKGROUP);
        kernel.with("COUNT", count).with("WORKGROUP", WORKGROUP)
    }

    /// A kernel over `count` workgroups in a flat range; the shader finds a workgroup's index as `flat_index` of its
    /// `workgroup_id` and must check it.
    pub fn groups(file: &'static str, entry: &'static str, count: usize) -> Kernel {
        Kernel::laid_out(file, entry, count, 1)
    }

    /// In two dimensions where one is too short. `flat_index` counts `size` in a workgroup, `IN_A_ROW` in a row.
    fn laid_out(file: &'static str, entry: &'static str, groups: usize, size: usize) -> Kernel {
        let rows = groups.div_ceil(MAX_GROUPS).max(1);
        let columns = groups.div_ceil(rows).max(1);
        let workgroups = [columns, rows, 1].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Kernel { file, entry, constants: Vec::new(), workgroups }.with("IN_A_ROW", columns * size)
    }

    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Constant>) -> Kernel {
        self.constants.push((name.into(), value.into()));
        self
    }
}
