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
    /// The file in `shaders/`, without its extension.
    pub file: &'static str,
    pub entry: &'static str,
    pub constants: Vec<(Cow<'static, str>, Constant)>,
    pub workgroups: [u32; 3],
    /// How often an invocation goes through its loops, all counted together; 0 where that is never much.
    pub rounds: usize,
}

/// Invocations in a workgroup of the kernels that cover a flat range: `WORKGROUP` in their text.
pub const WORKGROUP: usize = 64;
/// The most invocations in a workgroup that every adapter allows.
pub const MOST_INVOCATIONS: usize = 256;
/// The most storage buffers bound at once that every adapter allows.
pub const MOST_BINDINGS: usize = 8;
/// The most workgroups in one dimension that every adapter allows.
pub const MAX_GROUPS: usize = 65_535;
/// The most rounds of its loops that an invocation may take on a driver that runs on the CPU: lavapipe ends all loops
/// of an invocation after 65,535 rounds, and says nothing.
pub const MOST_ROUNDS: usize = 65_000;

/// GPU units that multiply matrices of 16-bit floats and accumulate in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct MatrixUnits {
    /// Rows and columns of a matrix, 8 or 16.
    pub edge: usize,
    /// Invocations that multiply together.
    pub subgroup: usize,
    /// Bytes of shared memory that a workgroup may have.
    pub memory: usize,
}

/// What a kernel is laid out for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Target {
    /// Invocations that keep the device busy: where a result has fewer elements, several share one.
    pub busy: usize,
    /// Numbers that an invocation keeps in registers: sums, weights and inputs. Its addresses are not counted.
    pub registers: usize,
    /// Invocations in a subgroup, where a subgroup is a CPU's vector register and kernels may use it; else 0.
    pub subgroup: usize,
    /// Matrix units, for data that is 16-bit already.
    pub matrices: Option<MatrixUnits>,
}

impl Target {
    /// As many as an invocation of NVIDIA's and AMD's GPUs has, addresses and all: what suits these was measured.
    pub const REGISTERS: usize = 255;
    /// Of the 128 that Intel's have where eight invocations run together, and of Apple's 128.
    pub const FEW_REGISTERS: usize = 96;

    /// A discrete card. The numbers were chosen on an NVIDIA H200.
    pub const DISCRETE: Target = Target { busy: 1 << 19, registers: Target::REGISTERS, subgroup: 0, matrices: None };
    /// A GPU beside the processor's cores, such as Intel's and Apple's.
    pub const INTEGRATED: Target =
        Target { busy: 1 << 15, registers: Target::FEW_REGISTERS, subgroup: 0, matrices: None };
    /// A driver that runs on the CPU: any work keeps it busy, and invocations that share memory cost it switches.
    pub const SOFTWARE: Target = Target { busy: 1, registers: Target::REGISTERS, subgroup: 0, matrices: None };

    pub fn is_software(self) -> bool {
        self.busy == Target::SOFTWARE.busy
    }
}

impl Kernel {
    /// A kernel over `count` invocations in a flat range, in groups of [`WORKGROUP`]: `COUNT` and `WORKGROUP` in the
    /// shader. The shader gets an invocation's index as `flat_index` of its `global_invocation_id` and must check its
    /// range.
    pub fn flat(file: &'static str, entry: &'static str, count: usize) -> Kernel {
        let kernel = Kernel::laid_out(file, entry, count.div_ceil(WORKGROUP), WORKGROUP);
        kernel.with("COUNT", count).with("WORKGROUP", WORKGROUP)
    }

    /// A kernel over `count` workgroups in a flat range; the shader gets a workgroup's index as `flat_index` of its
    /// `workgroup_id` and must check its range.
    pub fn groups(file: &'static str, entry: &'static str, count: usize) -> Kernel {
        Kernel::laid_out(file, entry, count, 1)
    }

    /// Uses two dimensions where one is too short. `flat_index` counts `size` per workgroup and `IN_A_ROW` per row.
    fn laid_out(file: &'static str, entry: &'static str, groups: usize, size: usize) -> Kernel {
        let rows = groups.div_ceil(MAX_GROUPS).max(1);
        let columns = groups.div_ceil(rows).max(1);
        let workgroups = [columns, rows, 1].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Kernel { file, entry, constants: Vec::new(), workgroups, rounds: 0 }.with("IN_A_ROW", columns * size)
    }

    /// With this many [`Kernel::rounds`].
    pub fn rounds(self, rounds: usize) -> Kernel {
        Kernel { rounds, ..self }
    }

    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Constant>) -> Kernel {
        self.constants.push((name.into(), value.into()));
        self
    }
}
