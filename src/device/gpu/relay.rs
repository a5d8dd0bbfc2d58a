//! Whether a device has done all that it was sent.
//!
//! Metal tells of a submission that failed, for it took too long or there was too little memory, in a field that wgpu 30
//! does not read (`wgpu-hal`, `metal/mod.rs`: a command buffer with an error counts as done). Its work is missing then, and
//! numbers from before are read as if they were new. So every submission of plans ends with handing a number on, from one
//! word to the next; where one is left out, another number stands at the end when something is read.

use wgpu::{Buffer, CommandEncoder};

/// Words in each of the two buffers.
pub const WORDS: usize = 512;

pub struct Relay {
    /// By turns, as nothing is copied within a buffer.
    buffers: [Buffer; 2],
    /// How often the number was handed on since it was written.
    handed: usize,
    number: u32,
}

impl Relay {
    /// `buffers`: of [`WORDS`] zeros each. The number has still to be written: [`Relay::start`].
    pub fn new(buffers: [Buffer; 2]) -> Relay {
        Relay { buffers, handed: 0, number: 0 }
    }

    /// A buffer, and where in it in bytes the number stands once everything is done.
    pub fn end(&self) -> (Buffer, u64) {
        (self.buffers[self.handed % 2].clone(), (self.handed / 2 * 4) as u64)
    }

    pub fn hand_on(&mut self, encoder: &mut CommandEncoder) {
        let (from, at) = self.end();
        self.handed += 1;
        let (to, there) = self.end();
        encoder.copy_buffer_to_buffer(&from, at, &to, there, 4);
    }

    /// Whether it can not be handed on again, before it was read and written anew.
    pub fn is_over(&self) -> bool {
        self.handed + 1 == 2 * WORDS
    }

    /// Begins again with another number; returns it, and the buffer that it is to be written to the beginning of.
    pub fn start(&mut self) -> (Buffer, u32) {
        self.number = self.number.wrapping_add(1).max(1);
        self.handed = 0;
        (self.buffers[0].clone(), self.number)
    }

    /// Whether what was read at the end is what was written at the beginning.
    pub fn is_whole(&self, read: u32) -> bool {
        read == self.number
    }

    /// Whether something was handed on since the beginning.
    pub fn has_begun(&self) -> bool {
        self.handed > 0
    }
}
