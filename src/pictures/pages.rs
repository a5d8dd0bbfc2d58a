//! How many pages a TIFF file has: scanners and faxes put several into one file, of which only the first is decoded.

use std::collections::HashSet;

/// The most pages that are counted.
const MOST: usize = 9_999;
/// The tag that says what kind of page it is. It is the lowest tag, and so the first one of a page that has it.
const KIND: u64 = 254;
/// Its bits for a smaller version of another page, and for a mask of one.
const NO_PAGE: u64 = 0b101;

/// The number of pages in a TIFF file, as far as its bytes lead from one to the next; 0 if they are not such a file.
pub(super) fn pages(bytes: &[u8]) -> u32 {
    let tiff = Tiff { bytes, is_little: bytes.starts_with(b"II") };
    // The sizes in bytes of an entry count, an entry and an offset; and where the first page's offset is.
    let ([count, entry, offset], first) = match tiff.number(2, 2) {
        Some(42) => ([2, 12, 4], 4),
        // BigTIFF, for files beyond 4 GiB, though smaller ones may use it too.
        Some(43) => ([8, 20, 8], 8),
        _ => return 0,
    };
    let (mut pages, mut met) = (0, HashSet::new());
    let mut next = tiff.number(first, offset);
    // Pages that form a circle are counted once.
    while let Some(at) = next.filter(|at| *at != 0 && met.len() < MOST && met.insert(*at)) {
        let Some(entries) = tiff.number(at, count) else { break };
        let begin = at.saturating_add(count);
        let kind = match tiff.number(begin, 2) {
            // A value is at the end of its entry.
            Some(KIND) if entries > 0 => tiff.number(begin + entry - offset, 4).unwrap_or(0),
            _ => 0,
        };
        pages += u32::from(kind & NO_PAGE == 0);
        next = tiff.number(begin.saturating_add(entries.saturating_mul(entry)), offset);
    }
    pages
}

struct Tiff<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl Tiff<'_> {
    /// The number in the `size` bytes at `at`; `None` beyond the end.
    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let bytes = self.bytes.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(size)?).ok()?)?;
        let with = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        Some(if self.is_little { bytes.iter().rev().fold(0, with) } else { bytes.iter().fold(0, with) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages of one entry each, of these kinds, one after another; the last leads to `last`.
    fn file(kinds: &[u32], last: u32) -> Vec<u8> {
        let mut bytes = b"MM\0\x2a\0\0\0\x08".to_vec();
        for (i, kind) in kinds.iter().enumerate() {
            let next = if i + 1 < kinds.len() { bytes.len() as u32 + 18 } else { last };
            bytes.extend([0, 1, 0, 254, 0, 4, 0, 0, 0, 1]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(next.to_be_bytes());
        }
        bytes
    }

    /// The same as BigTIFF.
    fn big(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = [&b"MM\0\x2b\0\x08\0\0"[..], &16_u64.to_be_bytes()].concat();
        for (i, kind) in kinds.iter().enumerate() {
            let next = if i + 1 < kinds.len() { bytes.len() as u64 + 36 } else { 0 };
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 254, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(next.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn pages_are_counted_without_their_thumbnails_and_masks() {
        assert_eq!(pages(&file(&[0], 0)), 1);
        assert_eq!(pages(&file(&[0, 2, 2], 0)), 3);
        assert_eq!(pages(&file(&[0, 1, 0, 4], 0)), 2);
        assert_eq!(pages(&big(&[0, 1, 2, 4, 0])), 3);
    }

    #[test]
    fn pages_that_lead_back_or_out_of_the_file_end_the_count() {
        assert_eq!(pages(&file(&[0, 0], 8)), 2);
        assert_eq!(pages(&file(&[0, 0], u32::MAX)), 2);
        assert_eq!((pages(b""), pages(b"II*\0"), pages(b"\x89PNG")), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_counted(
            is_big in any::<bool>(),
            is_little in any::<bool>(),
            rest in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(8), Just(254), any::<u8>()], 0..200),
        ) {
            let version = if is_big { 43_u16 } else { 42 };
            let (order, version) =
                if is_little { (b"II", version.to_le_bytes()) } else { (b"MM", version.to_be_bytes()) };
            let bytes = [&order[..], &version, &rest].concat();
            prop_assert!(pages(&bytes) as usize <= bytes.len());
        }
    }
}
