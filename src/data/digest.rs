//! A digest of training data, by which a resumed run knows that it is still learning from the same images.

use crate::data::ImageSet;
use crate::hash::mix;

/// The same for equal images, labels and sizes, on every machine; no protection against a deliberate collision.
pub fn digest(set: &ImageSet) -> String {
    let mut hash = [set.height, set.width, set.channels, set.len()].iter().fold(0, |hash, n| mix(hash, *n as u64));
    hash = set.labels.iter().fold(hash, |hash, label| mix(hash, u64::from(*label)));
    let (words, rest) = set.images.as_chunks();
    hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ImageSet {
        let images = (0..18).collect();
        ImageSet { height: 3, width: 3, channels: 1, classes: 2, images, labels: vec![0, 1] }
    }

    #[test]
    fn the_digest_stays_what_it_was_when_this_test_was_written() {
        assert_eq!(digest(&set()), "c99b2bb4b0b61803");
    }

    #[test]
    fn any_change_of_a_pixel_a_label_or_the_size_changes_the_digest() {
        let was = digest(&set());
        for i in 0..18 {
            let mut changed = set();
            changed.images[i] ^= 1;
            assert_ne!(digest(&changed), was, "pixel {i}");
        }
        assert_ne!(digest(&ImageSet { labels: vec![1, 0], ..set() }), was);
        assert_ne!(digest(&ImageSet { height: 9, width: 1, ..set() }), was);
    }
}
