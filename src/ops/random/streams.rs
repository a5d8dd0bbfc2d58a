//! Who draws from which stream: all of them in one place, so that no two draw the same. They are part of what a seed
//! means, and must stay as they are.
//!
//! Layers have the upper half of all streams, and those named here the lower half. Weights before training are drawn at
//! step 0 from the stream that is the hash of the tensor's name, which may be any stream: any two coincide with a
//! chance of 1 in 2^32.

/// What a [`Shuffle`](super::Shuffle) draws from; `shaders/random.wgsl` has it too. Its rounds take the place of steps.
pub const SHUFFLE: u32 = 0x5EED;

/// How training images are changed.
pub const AUGMENT: u32 = 0x4155_474D;

/// How an image's other views differ from it.
pub const VIEWS: u32 = 0x5649_4557;

/// What a generator draws pictures from when it is asked for some; the pictures' numbers take the place of steps.
pub const LATENTS: u32 = 0x1A7E_4700;

/// What a generator in training draws pictures from; the next stream is for those that its statistics are taken from.
pub const NOISE: u32 = 0x6A41_0000;

/// Which of a discriminator's targets are flipped: for generated pictures, and in the next stream for real ones.
pub const FLIP: u32 = 0x6A42_0000;

/// Which pictures share a group. Not a stream but a round of a [`Shuffle`](super::Shuffle), to distinguish it from
/// those of the batches: an epoch's own is this `^` its number.
pub const GROUPS: u32 = 0x6A43_0000;

/// For the draws of one layer, from a hash of its name: in the upper half.
pub const fn of_layer(hash: u32) -> u32 {
    hash | 0x8000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draw_by_the_same_stream_and_none_by_a_layers() {
        let mut all = [SHUFFLE, AUGMENT, VIEWS, LATENTS, NOISE, NOISE + 1, FLIP, FLIP + 1, GROUPS];
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:x?}");
        let lowest_of_a_layer = of_layer(0);
        assert!(all.iter().all(|stream| *stream < lowest_of_a_layer), "{all:x?}");
        assert_eq!([0, 7, u32::MAX].map(of_layer), [1 << 31, (1 << 31) + 7, u32::MAX]);
    }
}
