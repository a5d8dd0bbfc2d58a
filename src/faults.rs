//! Faults on purpose: the one place where a test makes a device, a disk or a number fail in the program as it is
//! shipped.
//!
//! `INKGRAD_FAULT=lose-device@40` loses the device at its 40th submission. It is always compiled in, as the tests are of
//! the same binary that people install (`cargo test --release`); where the variable is not set it costs a load and a
//! comparison, and whoever can set it could as well kill the program.
//!
//! | fault | happens at the n-th |
//! |---|---|
//! | `lose-device@n` | submission: the device is destroyed |
//! | `out-of-memory@n` | thing that a GPU is asked to make: buffers, pipelines, bind groups, uploads, reads |
//! | `no-pipeline@n` | pipeline: its text is no WGSL |
//! | `hang@n` | submission: it takes for ever, and patience with it is two seconds |
//! | `not-finite@n` | chunk of training steps: the first loss in it is NaN |
//! | `full-disk@name` | write to a file whose name ends so, every time |

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What can be made to fail, by the word for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    LoseDevice,
    OutOfMemory,
    NoPipeline,
    Hang,
    NotFinite,
    FullDisk,
}

const WORDS: [(&str, Fault); 6] = [
    ("lose-device", Fault::LoseDevice),
    ("out-of-memory", Fault::OutOfMemory),
    ("no-pipeline", Fault::NoPipeline),
    ("hang", Fault::Hang),
    ("not-finite", Fault::NotFinite),
    ("full-disk", Fault::FullDisk),
];

/// A fault and where it happens.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    fault: Fault,
    place: String,
}

impl Wanted {
    fn parse(text: &str) -> Option<Wanted> {
        let (word, place) = text.split_once('@')?;
        let (_, fault) = WORDS.iter().find(|(known, _)| *known == word)?;
        Some(Wanted { fault: *fault, place: place.to_owned() })
    }
}

fn wanted() -> Option<&'static Wanted> {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    WANTED.get_or_init(|| Wanted::parse(&std::env::var("INKGRAD_FAULT").ok()?)).as_ref()
}

/// Whether a fault is to happen in this run at all.
pub fn is_wanted(fault: Fault) -> bool {
    wanted().is_some_and(|wanted| wanted.fault == fault)
}

/// Whether the fault happens now: once, at the call whose number it names.
pub fn happens(fault: Fault) -> bool {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    is_wanted(fault)
        && wanted().and_then(|wanted| wanted.place.parse().ok()) == Some(CALLS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// What a full disk answers to a write of this file, where it is to be full.
///
/// # Errors
/// [`std::io::ErrorKind::StorageFull`].
pub fn disk_takes(path: &Path) -> std::io::Result<()> {
    let full = is_wanted(Fault::FullDisk)
        && wanted().is_some_and(|wanted| path.as_os_str().to_string_lossy().ends_with(&wanted.place));
    if full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_word_and_a_place() {
        let lost = Wanted { fault: Fault::LoseDevice, place: "40".into() };
        assert_eq!(Wanted::parse("lose-device@40"), Some(lost));
        for text in ["", "lose-device", "lose@40"] {
            assert_eq!(Wanted::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_fails_that_was_not_asked_to() {
        assert!(!happens(Fault::Hang));
        assert!(disk_takes(Path::new("last.safetensors")).is_ok());
    }
}
