//! How products are laid out on a driver that runs on the CPU, where an invocation is a lane of a register: what
//! `shaders/conv2d_subgroup.wgsl` and `shaders/matmul_subgroup.wgsl` have in common.

use super::Kernel;

// Both were chosen on lavapipe with registers of eight numbers, using the ops of `avgcnn`.

/// Columns of a result that a lane holds.
const COLUMNS: usize = 8;
/// Products in the body of the innermost loop. More share more loads, and take longer to compile.
pub const PRODUCTS: usize = 700;

/// Which columns of a result, or channels of an image, the lanes hold.
pub struct Channels {
    /// How many are side by side in a vector.
    wide: usize,
    vectors: usize,
    /// Workgroups that hold all of them.
    groups: usize,
    lanes: usize,
}

impl Channels {
    /// `None` where they are too few for a subgroup of this many lanes, or there is no subgroup.
    pub fn of(outer: usize, lanes: usize) -> Option<Channels> {
        if lanes == 0 || outer < lanes {
            return None;
        }
        // The widest that leaves no lane without work.
        let wide = [4, 2, 1].into_iter().find(|wide| outer.is_multiple_of(wide * lanes)).unwrap_or(1);
        Some(Channels::by(wide, outer, lanes))
    }
    /// In vectors of `wide`.
    pub fn by(wide: usize, outer: usize, lanes: usize) -> Channels {
        let all = outer.div_ceil(wide * lanes);
        let vectors = share(all, COLUMNS / wide);
        Channels { wide, vectors, groups: all.div_ceil(vectors), lanes }
    }
    /// How many a lane holds.
    pub fn held(&self) -> usize {
        self.wide * self.vectors
    }
    /// A kernel over `units` tiles that are as wide as the result.
    pub fn kernel(&self, file: &'static str, entry: &'static str, units: usize) -> Kernel {
        Kernel::groups(file, entry, units * self.groups)
            .with("LANES", self.lanes)
            .with("WIDE", self.wide)
            .with("CHANNELS", self.vectors)
            .with("CHANNEL_GROUPS", self.groups)
    }
}

/// How many of `count` pieces of work one invocation takes, at most `most`: more of them share more, as long as few are
/// left over.
pub fn share(count: usize, most: usize) -> usize {
    (1..=most).rev().min_by_key(|share| count.div_ceil(*share) * (share + 2)).unwrap_or(1)
}
