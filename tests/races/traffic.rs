//! What kernels ask of a card's caches and shared memory, counted for 32 invocations that go together: not time, but
//! what takes it. `TRAFFIC=cnn cargo test --release --test races traffic -- --ignored --nocapture` prints a training
//! step's.

use std::collections::BTreeSet;

use super::memory::Space;
use super::workgroup::{OUTSIDE, Run};

/// Invocations that go together.
const WARP: usize = 32;
/// Words in a cache line, and banks of shared memory.
const LINE: u32 = 32;
/// How many workgroups of a dispatch are counted, spread evenly.
const SAMPLE: u32 = 6;

/// The traffic of some workgroups: what was asked for, and the least that the same words could take.
#[derive(Clone, Copy, Default, Debug)]
pub struct Traffic {
    pub workgroups: u32,
    /// Cache lines.
    pub lines: usize,
    pub least_lines: usize,
    /// Turns of shared memory, in which each bank gives one word.
    pub turns: usize,
    pub least_turns: usize,
}

impl Run<'_> {
    /// Whether a dispatch's traffic is counted, but not in this workgroup.
    pub fn is_passed_over(&self) -> bool {
        let [columns, rows, layers] = self.workgroups;
        let (all, [x, y, z]) = (columns * rows * layers, self.at);
        let stride = (all / SAMPLE).max(1);
        self.traffic.is_some() && ((z * rows + y) * columns + x) % stride != stride / 2
    }

    /// Counts an access of `words` words by each invocation of `mask`.
    pub fn count(&mut self, memory: usize, at: &[u32], words: usize, mask: &[bool]) {
        let Some(traffic) = &mut self.traffic else { return };
        for (warp, mask) in at.chunks(WARP).zip(mask.chunks(WARP)) {
            let firsts = warp.iter().zip(mask).filter(|(at, on)| **on && **at != OUTSIDE).map(|(at, _)| *at);
            let firsts: Vec<u32> = firsts.collect();
            let distinct: BTreeSet<u32> = firsts.iter().copied().collect();
            let least = (distinct.len() * words).div_ceil(LINE as usize);
            let all = |first: u32| first..first + words as u32;
            if self.memories[memory].space == Space::Storage {
                let lines: BTreeSet<u32> =
                    distinct.iter().flat_map(|first| all(*first)).map(|word| word / LINE).collect();
                traffic.lines += lines.len();
                traffic.least_lines += least;
                continue;
            }
            // With vectors of four, a quarter of the invocations go at a time.
            for together in firsts.chunks(WARP / words.next_power_of_two().min(4)) {
                let words: BTreeSet<u32> = together.iter().flat_map(|first| all(*first)).collect();
                let in_bank = |bank: u32| words.iter().filter(|word| *word % LINE == bank).count();
                traffic.turns += (0..LINE).map(in_bank).max().unwrap_or(0);
            }
            traffic.least_turns += least;
        }
    }
}
