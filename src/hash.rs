//! The numbers by which texts and data are told apart: the same on every machine and in every program, and no protection
//! against a deliberate collision.

/// One-to-one in each argument, so that no single change goes unnoticed.
pub fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// The same for equal texts.
pub fn digest_of(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |hash, byte| mix(hash, byte.into()))
}

/// FNV-1a, which is the same everywhere and always.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_are_those_that_are_published_for_fnv_1a() {
        for (text, wanted) in [("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(super::hash(text.as_bytes()), wanted, "{text}");
        }
    }
}
