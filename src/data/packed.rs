//! The bytes of images as a device stores them: four to a word.

use crate::device::{Device, DeviceError};
use crate::graph::BufferId;

/// Bytes that are packed at a time, so that there is no further copy of a whole set.
const SENT_AT_ONCE: usize = 4 << 20;

/// Packs bytes four to a word, little-endian, as the gathering kernels expect them.
pub fn pack(bytes: &[u8]) -> Vec<u32> {
    let (whole, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = whole.iter().map(|word| u32::from_le_bytes(*word));
    words.chain((!rest.is_empty()).then(|| u32::from_le_bytes(last))).collect()
}

/// Sends bytes to a buffer, four to a word.
///
/// # Errors
/// Those of the device.
pub fn send_packed(device: &mut dyn Device, buffer: BufferId, bytes: &[u8]) -> Result<(), DeviceError> {
    for (i, bytes) in bytes.chunks(SENT_AT_ONCE).enumerate() {
        device.write(buffer, i * SENT_AT_ONCE / 4, &pack(bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::graph::Store;

    #[test]
    fn bytes_are_packed_little_end_first_and_the_last_word_is_filled_with_zeros() {
        assert_eq!(pack(&[1, 2, 3, 4, 5]), [0x0403_0201, 5]);
    }

    #[test]
    fn bytes_that_are_sent_in_several_pieces_lie_on_the_device_in_their_order() {
        let bytes: Vec<u8> = (0..2 * SENT_AT_ONCE + 5).map(|i| (i + i / 1021) as u8).collect();
        let mut store = Store::default();
        let buffer = store.add("images", bytes.len().div_ceil(4));
        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        send_packed(device, buffer, &bytes).unwrap();
        let mut words = vec![0; store.words(buffer)];
        device.read(buffer, 0, &mut words).unwrap();
        assert!(words == pack(&bytes));
    }
}
