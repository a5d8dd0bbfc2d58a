//! Tests of the IDX reader: what it gives, what it refuses, and that nothing makes it panic.

use crate::data::DataError;
use crate::data::idx::{IdxImages, MAX_BYTES, parse_images, parse_labels, read_images, read_or_map};
use crate::data::testing::{gzip, idx};
use proptest::prelude::*;
use std::path::Path;

fn images(bytes: &[u8]) -> Result<IdxImages, DataError> {
    parse_images(bytes, Path::new("some-images"))
}

fn labels(bytes: &[u8]) -> Result<Vec<u32>, DataError> {
    parse_labels(bytes, Path::new("some-labels"))
}

fn complaint(bytes: &[u8]) -> String {
    images(bytes).unwrap_err().to_string()
}

#[test]
fn three_dimensions_are_images_of_one_channel() {
    let got = images(&idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
    assert_eq!((got.count, got.height, got.width, got.channels), (2, 1, 3, 1));
    assert_eq!(*got.pixels, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_fourth_dimension_is_the_channels() {
    let got = images(&idx(&[1, 2, 1, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
    assert_eq!((got.count, got.height, got.width, got.channels), (1, 2, 1, 3));
}

#[test]
fn labels_become_numbers() {
    assert_eq!(labels(&idx(&[3], &[7, 0, 255])).unwrap(), [7, 0, 255]);
}

#[test]
fn several_gzip_members_are_read_as_one_file() {
    let whole = idx(&[2, 1, 2], &[1, 2, 3, 4]);
    let mut members = gzip(&whole[..9]);
    members.extend(gzip(&whole[9..]));
    assert_eq!(images(&members).unwrap(), images(&whole).unwrap());
}

#[test]
fn a_truncated_file_is_refused_with_both_lengths() {
    let whole = idx(&[2, 2, 2], &[0; 8]);
    let message = complaint(&whole[..20]);
    assert!(message.contains("some-images: truncated: expected 24 bytes"), "{message}");
    assert!(message.contains("found 20"), "{message}");
}

#[test]
fn an_empty_file_is_refused_as_truncated() {
    let error = images(&[]).unwrap_err();
    assert!(matches!(error, DataError::Truncated { expected: 4, found: 0, .. }));
}

#[test]
fn trailing_bytes_are_refused_with_both_lengths() {
    let mut bytes = idx(&[1, 1, 1], &[9]);
    bytes.extend([1, 2]);
    for bytes in [bytes.clone(), gzip(&bytes)] {
        let message = complaint(&bytes);
        assert!(message.contains("expected 17 bytes (uncompressed), found 19"), "{message}");
    }
}

#[test]
fn a_file_of_another_format_is_refused_with_its_first_bytes() {
    let message = complaint(b"\x89PNG\r\n");
    assert!(message.contains(r#"found [89, 50, 4e, 47] ("\x89PNG")"#), "{message}");
}

#[test]
fn floats_are_refused_by_name() {
    let mut bytes = idx(&[1, 1, 1], &[0; 4]);
    bytes[2] = 0x0d;
    let message = complaint(&bytes);
    assert!(message.contains("expected 0x08 (unsigned byte), found 0x0d (32-bit float)"), "{message}");
}

#[test]
fn image_and_label_files_cannot_change_places() {
    let rank = |error| match error {
        DataError::WrongRank { found, .. } => found,
        other => panic!("{other}"),
    };
    assert_eq!(rank(images(&idx(&[2], &[0, 1])).unwrap_err()), 1);
    assert_eq!(rank(labels(&idx(&[1, 1, 1], &[0])).unwrap_err()), 3);
}

#[test]
fn a_dimension_of_zero_is_refused_with_its_place() {
    for (dims, place) in [
        ([0, 2, 2, 1], "a number of images of at least 1 at byte 4"),
        ([1, 0, 2, 1], "a height of at least 1 at byte 8"),
        ([1, 2, 0, 1], "a width of at least 1 at byte 12"),
        ([1, 2, 2, 0], "a number of channels of at least 1 at byte 16"),
    ] {
        let message = complaint(&idx(&dims, &[]));
        assert!(message.contains(place), "{message}");
    }
    assert!(matches!(labels(&idx(&[0], &[])).unwrap_err(), DataError::Empty { .. }));
}

#[test]
fn five_channels_are_refused() {
    assert!(complaint(&idx(&[1, 1, 1, 5], &[0; 5])).contains("expected 1 to 4, found 5"));
}

#[test]
fn a_header_that_promises_more_than_the_limit_is_refused_without_reading_on() {
    for dims in
        [[u32::MAX; 3].as_slice(), &[u32::MAX, u32::MAX, u32::MAX, 4], &[(MAX_BYTES >> 20) as u32, 1 << 10, 1 << 10]]
    {
        assert!(matches!(images(&idx(dims, &[1])).unwrap_err(), DataError::TooLarge { .. }));
    }
}

#[test]
fn a_header_just_inside_the_limit_costs_no_memory_when_the_bytes_are_not_there() {
    let dims = [(MAX_BYTES >> 20) as u32 - 1, 1 << 10, 1 << 10];
    for bytes in [idx(&dims, &[1]), gzip(&idx(&dims, &[1]))] {
        assert!(matches!(images(&bytes).unwrap_err(), DataError::Truncated { found: 17, .. }));
    }
}

#[test]
fn a_gzip_stream_with_one_flipped_bit_is_refused() {
    let good = gzip(&idx(&[4, 2, 2], &[3; 16]));
    // The last eight bytes are the checksum and the length.
    for i in good.len() - 8..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        let error = images(&bad).unwrap_err();
        assert!(matches!(error, DataError::CorruptGzip { .. }), "{error}");
    }
}

#[test]
fn a_truncated_gzip_stream_is_refused_as_such() {
    let whole = gzip(&idx(&[4, 2, 2], &[3; 16]));
    let error = images(&whole[..whole.len() - 1]).unwrap_err();
    assert!(matches!(error, DataError::TruncatedGzip { decompressed: 32, .. }), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = read_images(Path::new("/nowhere/x")).unwrap_err().to_string();
    assert!(message.starts_with("cannot read /nowhere/x: "), "{message}");
}

#[test]
fn a_large_raw_file_is_mapped_and_the_same_is_said_of_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-images-idx3-ubyte");
    let whole = idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    std::fs::write(&path, &whole).unwrap();
    let parsed = parse_images(&whole, &path).unwrap();
    assert!(read_or_map(&path, 0).unwrap() == parsed);
    for wrong in [&whole[..27], &whole[..9], &[whole.clone(), vec![0]].concat(), &[1; 40]] {
        std::fs::write(&path, wrong).unwrap();
        let said = [read_or_map(&path, 0), read_or_map(&path, u64::MAX)].map(|read| read.unwrap_err().to_string());
        assert_eq!(said[0], said[1]);
    }
    std::fs::write(&path, gzip(&whole)).unwrap();
    assert!(read_or_map(&path, 0).unwrap() == parsed);
}

fn any_images() -> impl Strategy<Value = (Vec<u32>, Vec<u8>)> {
    (1u32..5, 1u32..6, 1u32..6, prop::option::of(1u32..5)).prop_flat_map(|(n, h, w, c)| {
        let dims: Vec<u32> = [n, h, w].into_iter().chain(c).collect();
        let len = dims.iter().product::<u32>() as usize;
        (Just(dims), prop::collection::vec(any::<u8>(), len))
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = images(&bytes);
        let _ = labels(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(
        dims in prop::collection::vec(any::<u32>(), 0..5),
        small in prop::collection::vec(0u32..4, 0..5),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for dims in [dims, small] {
            let file = idx(&dims, &bytes);
            let _ = (images(&file), labels(&file), images(&gzip(&file)));
        }
    }

    #[test]
    fn arbitrary_gzip_streams_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], bytes.as_slice()].concat();
        prop_assert!(images(&file).is_err());
    }

    #[test]
    fn valid_images_round_trip_raw_and_gzipped((dims, pixels) in any_images()) {
        let file = idx(&dims, &pixels);
        let raw = images(&file).unwrap();
        prop_assert_eq!(&images(&gzip(&file)).unwrap(), &raw);
        let shape = [raw.count, raw.height, raw.width, raw.channels].map(|d| d as u32);
        prop_assert_eq!(&shape[..dims.len()], &dims[..]);
        prop_assert_eq!(&*raw.pixels, pixels);
    }

    #[test]
    fn valid_labels_round_trip_raw_and_gzipped(
        bytes in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        let file = idx(&[bytes.len() as u32], &bytes);
        let raw = labels(&file).unwrap();
        prop_assert_eq!(&labels(&gzip(&file)).unwrap(), &raw);
        prop_assert_eq!(raw, bytes.into_iter().map(u32::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_valid_file_cut_anywhere_is_an_error((dims, pixels) in any_images()) {
        let file = idx(&dims, &pixels);
        for whole in [gzip(&file), file] {
            for end in 0..whole.len() {
                prop_assert!(images(&whole[..end]).is_err(), "cut at {}", end);
            }
        }
    }
}
