//! Whether a device has done all that it was sent.
//!
//! Metal reports a submission that failed, because it took too long or there was too little memory, in a field that
//! wgpu 30 does not read (`wgpu-hal`, `metal/mod.rs`: a command buffer with an error counts as done). Its work is then
//! missing, and old numbers are read as if they were new. So every submission of plans ends by handing a number on,
//! from one word to the next; if one is left out, a different number stands at the end when something is read.

use wgpu::{Buffer, CommandEncoder};

/// Words in each of the two buffers.
pub const WORDS: usize = 512;

pub struct Relay {
    /// Used in turn, since nothing is copied within a buffer.
    buffers: [Buffer; 2],
    /// How often the number has been handed on since it was written.
    handed: usize,
    number: u32,
}

impl Relay {
    /// `buffers` hold [`WORDS`] zeros each. The number has still to be written: [`Relay::start`].
    pub fn new(buffers: [Buffer; 2]) -> Relay {
        Relay { buffers, handed: 0, number: 0 }
    }

    /// A buffer, and the byte in it at which the number stands once everything is done.
    pub fn end(&self) -> (Buffer, u64) {
        (self.buffers[self.handed % 2].clone(), (self.handed / 2 * 4) as u64)
    }

    pub fn hand_on(&mut self, encoder: &mut CommandEncoder) {
        let (from, at) = self.end();
        self.handed += 1;
        let (to, there) = self.end();
        encoder.copy_buffer_to_buffer(&from, at, &to, there, 4);
    }

    /// Whether the number cannot be handed on again before it is read and written anew.
    pub fn is_over(&self) -> bool {
        self.handed + 1 == 2 * WORDS
    }

    /// Begins again with another number; returns it, and the buffer to whose beginning it is to be written.
    pub fn start(&mut self) -> (Buffer, u32) {
        self.number = self.number.wrapping_add(1).max(1);
        self.handed = 0;
        (self.buffers[0].clone(), self.number)
    }

    /// Whether the number read at the end is the one written at the beginning.
    pub fn is_whole(&self, read: u32) -> bool {
        read == self.number
    }

    /// Whether the number has been handed on since the beginning.
    pub fn has_begun(&self) -> bool {
        self.handed > 0
    }
}
