//! Who draws by which stream: all of them side by side, so that no two draw the same. They are part of what a seed
//! means, and stay as they are.
//!
//! Layers have the upper half of all streams, what is named here the lower one. Weights before training are drawn at
//! step 0 by the hash of a tensor's name, which may be any stream: for each two of them there is a chance of 1 in 2^32
//! that it is another's.

/// What a [`Shuffle`](super::Shuffle) is made by; `shaders/random.wgsl` has it too. Its rounds stand for steps.
pub const SHUFFLE: u32 = 0x5EED;

/// How training images are changed.
pub const AUGMENT: u32 = 0x4155_474D;

/// How an image's other views differ from it.
pub const VIEWS: u32 = 0x5649_4557;

/// What a generator draws pictures from when it is asked for some; their numbers stand for steps.
pub const LATENTS: u32 = 0x1A7E_4700;

/// What a generator in training draws pictures from, and one further those that its statistics are taken of.
pub const NOISE: u32 = 0x6A41_0000;

/// Which of a discriminator's targets are turned round: of generated pictures, and one further of real ones.
pub const FLIP: u32 = 0x6A42_0000;

/// Which pictures share a group. No stream but a round of a [`Shuffle`](super::Shuffle), to tell it from those of the
/// batches: an epoch's own is this `^` its number.
pub const GROUPS: u32 = 0x6A43_0000;

/// For the draws of one layer, by a hash of its name: in the upper half.
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
