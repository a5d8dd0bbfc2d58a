//! Foreign files that are cut off or have changed bytes: whatever they hold, they are imported or refused.

mod travel;

use inkgrad::interchange::{self, Wishes};
use inkgrad::models::builtin;
use tempfile::TempDir;

use travel::file;

const FILES: [&str; 6] = [
    "vector-keras2.h5",
    "conv-keras3.h5",
    "large-keras3.keras",
    "torch.onnx",
    "torch-traced.onnx",
    "torch.safetensors",
];

/// The most memory that the process has asked the system for, in bytes.
fn asked_for() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or("0 kB");
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Different numbers, the same in each run.
fn numbers() -> impl Iterator<Item = usize> {
    let step = |x: &u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), step).map(|x| (x >> 33) as usize)
}

#[test]
fn a_damaged_file_never_panics_and_never_asks_for_much_memory() {
    let folder = TempDir::new().unwrap();
    let before = asked_for();
    let mut read = 0;
    for name in FILES {
        let whole = std::fs::read(file(name)).unwrap();
        let path = folder.path().join(name);
        let architecture = name.ends_with(".safetensors").then(|| builtin("dense").unwrap());
        let mut import = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match interchange::import(&path, architecture.as_ref(), &Wishes::default()) {
                Ok(_) => read += 1,
                Err(error) => assert!(error.to_string().contains(name), "{error}"),
            }
        };
        for at in (0..64).chain(numbers().take(60).map(|i| i % whole.len())) {
            import(&whole[..at.min(whole.len())]);
        }
        // Headers are at the beginning; the rest is hit by chance.
        for at in (0..400).chain(numbers().take(400).map(|i| i % whole.len())) {
            for bits in [0xff, 1 << (at % 8)] {
                let mut bytes = whole.clone();
                bytes[at] ^= bits;
                import(&bytes);
            }
        }
        // Huge sizes, which would need a lot of memory.
        for at in numbers().take(200).map(|i| i % (whole.len() - 8)) {
            let mut bytes = whole.clone();
            bytes[at..at + 8].fill(0x7f);
            import(&bytes);
        }
    }
    assert!(read > 0, "most changes are to weights, with which a file is still one");
    assert!(asked_for() - before < 1 << 30, "asked for {} MB", (asked_for() - before) >> 20);
}

#[test]
fn a_keras_file_that_is_cut_short_is_said_to_be() {
    let folder = TempDir::new().unwrap();
    for name in ["dense-keras2.h5", "conv-keras3.h5", "conv-keras3.keras"] {
        let whole = std::fs::read(file(name)).unwrap();
        let path = folder.path().join(name);
        for length in [12, 50, 100, 2_000, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = interchange::import(&path, None, &Wishes::default()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("is cut short"), "{length} bytes: {error}");
        }
    }
}

#[test]
fn bytes_that_are_nothing_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nothing");
    for bytes in [&b""[..], b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"<!DOCTYPE html>", b"PK\x05\x06", &[0x0a; 100]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(interchange::import(&path, None, &Wishes::default()).is_err(), "{bytes:?}");
    }
}
