//! Memory for numbers in whole cache lines: no vector, even one as long as a line, straddles two of them.

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
struct Line([f32; LINE]);

/// Numbers in a line.
pub const LINE: usize = 16;

#[derive(Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// This many zeros, plus enough to fill the last line; `None` where the system does not have the memory.
    pub fn try_new(words: usize) -> Option<Lines> {
        let mut lines = Vec::new();
        lines.try_reserve_exact(words.div_ceil(LINE)).ok()?;
        lines.resize(words.div_ceil(LINE), Line([0.0; LINE]));
        Some(Lines(lines))
    }

    pub fn new(words: usize) -> Lines {
        Lines(vec![Line([0.0; LINE]); words.div_ceil(LINE)])
    }

    pub fn f32s(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn f32s_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Asks the processor to prefetch what will be read soon, without waiting for it.
#[inline(always)]
pub fn ask_for(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(4 * LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: this is a hint and reads nothing; every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
