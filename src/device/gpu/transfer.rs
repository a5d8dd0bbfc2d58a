//! Words to and from stored buffers, in pieces, so that a data set need not be held twice.

use std::sync::mpsc;

use wgpu::{Buffer, BufferUsages, MapMode};

use super::Gpu;
use super::relay::{Relay, WORDS};
use crate::device::DeviceError;

/// Bytes moved at once: 32 MiB with the relay's word that comes with them.
const PIECE: usize = (32 << 20) - 4;

impl Gpu {
    pub(super) fn upload(&mut self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.health.check()?;
        for (i, piece) in words.chunks(PIECE / 4).enumerate() {
            if i > 0 {
                // Sends off the previous piece and waits for it, which frees its staging memory.
                let nothing = self.device.create_command_encoder(&Default::default());
                let sent = self.submit(nothing.finish())?;
                self.wait_for(Some(sent))?;
            }
            let at = (offset * 4 + i * PIECE) as u64;
            let bytes: &[u8] = bytemuck::cast_slice(piece);
            let write = || self.queue.write_buffer(buffer, at, bytes);
            self.health.scoped(&self.device, "an upload", bytes.len() as u64, write)?;
        }
        Ok(())
    }

    pub(super) fn download(&mut self, buffer: &Buffer, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        if out.is_empty() {
            return Ok(());
        }
        // First waits for what runs, one submission after the other, to learn from their times.
        while self.flights.oldest().is_some() {
            self.land_oldest()?;
        }
        let largest = (out.len() * 4).min(PIECE);
        let staging = self.staging(largest as u64 + 4)?;
        for (i, piece) in out.chunks_mut(PIECE / 4).enumerate() {
            let at = (offset * 4 + i * PIECE) as u64;
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(piece);
            self.download_piece(buffer, at, &staging, bytes)?;
        }
        Ok(())
    }

    fn download_piece(
        &mut self,
        buffer: &Buffer,
        at: u64,
        staging: &Buffer,
        out: &mut [u8],
    ) -> Result<(), DeviceError> {
        let size = out.len() as u64;
        let (relay, end) = self.relay()?.end();
        let (sender, receiver) = mpsc::channel();
        let commands = self.health.scoped(&self.device, "a read", size, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, at, staging, 0, size);
            encoder.copy_buffer_to_buffer(&relay, end, staging, size, 4);
            encoder.finish()
        })?;
        let submission = self.submit(commands)?;
        staging.map_async(MapMode::Read, 0..size + 4, move |result| {
            let _ = sender.send(result);
        });
        self.wait_for(Some(submission))?;
        match receiver.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.health.failed(format!("a read: {error}"))),
            Err(_) => return Err(self.health.failed("a read was not answered")),
        }
        let number = {
            let view = staging.get_mapped_range(0..size + 4).map_err(|e| self.health.failed(format!("a read: {e}")))?;
            let (words, number) = view.split_at(size as usize);
            out.copy_from_slice(words);
            bytemuck::pod_read_unaligned::<u32>(number)
        };
        staging.unmap();
        self.look_at(number)
    }

    /// The relay, begun if there is none.
    pub(super) fn relay(&mut self) -> Result<&mut Relay, DeviceError> {
        if self.relay.is_none() {
            let buffers = [self.buffer("relay", WORDS)?, self.buffer("relay", WORDS)?];
            self.begin(Relay::new(buffers))?;
        }
        self.relay.as_mut().ok_or_else(|| self.health.failed("has no relay"))
    }

    fn begin(&mut self, mut relay: Relay) -> Result<(), DeviceError> {
        let (buffer, number) = relay.start();
        self.relay = Some(relay);
        self.upload(&buffer, 0, &[number])
    }

    /// Compares the number at the relay's end with the one at its beginning.
    fn look_at(&mut self, number: u32) -> Result<(), DeviceError> {
        let Some(relay) = self.relay.take() else { return Ok(()) };
        let is_whole = relay.is_whole(number);
        if is_whole && !relay.has_begun() {
            self.relay = Some(relay);
            return Ok(());
        }
        self.begin(relay)?;
        let left_out = "silently left out work that took too long or too much memory; try a smaller batch or \
                        `--device cpu`";
        if is_whole { Ok(()) } else { Err(self.health.failed(left_out)) }
    }

    /// The buffer that reads go through, kept from one read to the next.
    fn staging(&mut self, bytes: u64) -> Result<Buffer, DeviceError> {
        if let Some(buffer) = self.staging.as_ref().filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer.clone());
        }
        let size = bytes.next_power_of_two().max(4096);
        let buffer = self.health.scoped(&self.device, "a read", size, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read back"),
                size,
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.staging = Some(buffer.clone());
        Ok(buffer)
    }
}
