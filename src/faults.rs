//! Faults on purpose: the one place where a test makes a device, a disk or a number fail in the program as it is
//! shipped.
//!
//! `INKGRAD_FAULT=lose-device@40` loses the device at its 40th submission. This is always compiled in, since the tests
//! run the same binary that people install (`cargo test --release`). Where the variable is not set it costs a load and
//! a comparison, and whoever can set it could just as well kill the program.
//!
//! | fault | happens at the n-th |
//! |---|---|
//! | `lose-device@n` | submission: the device is destroyed |
//! | `out-of-memory@n` | thing that a GPU is asked to make: buffers, pipelines, bind groups, uploads, reads |
//! | `no-pipeline@n` | pipeline: its text is not valid WGSL |
//! | `drop-work@n` | submission: the device skips it and reports that it is done |
//! | `hang@n` | submission: it takes for ever, and is waited for two seconds |
//! | `not-finite@n` | chunk of training steps: the first loss in it is NaN |
//! | `full-disk@name` | write to a file whose name ends in `name`, every time |
//! | `hold-file@n:name` | naming of a file to end in `name`, up to the n-th: another program has that file open |
//! | `wrong-shader@op:this=>that` | pipeline of the op, every time: `that` replaces `this`, as if miscompiled |
//! | `hardware@all` | look at an adapter, every time: a software adapter claims to be a card, so that `auto` takes it |
//! | `hardware@integrated` | the same, as an integrated GPU |
//!
//! One variable may hold several faults, separated by `;`; each counts its own calls.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    LoseDevice,
    OutOfMemory,
    NoPipeline,
    DropWork,
    Hang,
    NotFinite,
    FullDisk,
    HoldFile,
    WrongShader,
    Hardware,
}

const WORDS: [(&str, Fault); 10] = [
    ("lose-device", Fault::LoseDevice),
    ("out-of-memory", Fault::OutOfMemory),
    ("no-pipeline", Fault::NoPipeline),
    ("drop-work", Fault::DropWork),
    ("hang", Fault::Hang),
    ("not-finite", Fault::NotFinite),
    ("full-disk", Fault::FullDisk),
    ("hold-file", Fault::HoldFile),
    ("wrong-shader", Fault::WrongShader),
    ("hardware", Fault::Hardware),
];

/// A fault and where it happens.
#[derive(Debug)]
struct Wanted {
    fault: Fault,
    place: String,
    /// How often the program has asked whether it happens.
    calls: AtomicU64,
}

impl Wanted {
    fn parse(text: &str) -> Option<Wanted> {
        let (word, place) = text.split_once('@')?;
        let (_, fault) = WORDS.iter().find(|(known, _)| *known == word)?;
        Some(Wanted { fault: *fault, place: place.to_owned(), calls: AtomicU64::new(0) })
    }

    fn all(text: &str) -> Vec<Wanted> {
        text.split(';').filter_map(Wanted::parse).collect()
    }

    /// Whether this call is the one whose number the fault names.
    fn happens(&self) -> bool {
        self.place.parse() == Ok(self.calls.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn all_wanted() -> &'static [Wanted] {
    static WANTED: OnceLock<Vec<Wanted>> = OnceLock::new();
    WANTED.get_or_init(|| Wanted::all(&std::env::var("INKGRAD_FAULT").unwrap_or_default()))
}

/// The fault's entry, if it is to happen.
fn wanted(fault: Fault) -> Option<&'static Wanted> {
    all_wanted().iter().find(|wanted| wanted.fault == fault)
}

/// Where the fault is to happen, if it is to.
fn place(fault: Fault) -> Option<&'static str> {
    wanted(fault).map(|wanted| wanted.place.as_str())
}

/// Whether a fault is to happen in this run at all.
pub fn is_wanted(fault: Fault) -> bool {
    wanted(fault).is_some()
}

/// Whether a fault is to happen at this place.
pub fn is_at(fault: Fault, at: &str) -> bool {
    place(fault) == Some(at)
}

/// Whether any fault counts calls to its moment; a check of the device before its work would use that moment up.
pub fn waits() -> bool {
    let other = [Fault::FullDisk, Fault::HoldFile, Fault::WrongShader, Fault::Hardware];
    all_wanted().iter().any(|wanted| !other.contains(&wanted.fault))
}

/// Whether the fault happens now: once, at the call whose number the fault names.
pub fn happens(fault: Fault) -> bool {
    wanted(fault).is_some_and(Wanted::happens)
}

/// What a full disk answers to a write to this file, if the disk is to be full.
///
/// # Errors
/// [`std::io::ErrorKind::StorageFull`].
pub fn disk_takes(path: &Path) -> std::io::Result<()> {
    let full = place(Fault::FullDisk).is_some_and(|place| is_named(path, place));
    if full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// Whether a file's name ends in `end`.
fn is_named(path: &Path, end: &str) -> bool {
    path.as_os_str().to_string_lossy().ends_with(end)
}

/// What Windows answers where another program has the file of this name open, if one is to.
///
/// # Errors
/// [`std::io::ErrorKind::ResourceBusy`].
pub fn hold(path: &Path) -> std::io::Result<()> {
    let held = wanted(Fault::HoldFile).is_some_and(|wanted| {
        let Some((times, name)) = wanted.place.split_once(':') else { return false };
        is_named(path, name)
            && times.parse().is_ok_and(|times: u64| wanted.calls.fetch_add(1, Ordering::Relaxed) < times)
    });
    if held { Err(crate::files::held()) } else { Ok(()) }
}

/// The text of an op's shader, made wrong if it is to be.
pub fn shader(op: &str, text: String) -> String {
    let swap = place(Fault::WrongShader).and_then(|place| place.split_once(':'));
    match swap.filter(|(wanted, _)| *wanted == op).and_then(|(_, swap)| swap.split_once("=>")) {
        Some((this, that)) => text.replace(this, that),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_word_and_a_place() {
        let parsed = |text| Wanted::parse(text).map(|wanted| (wanted.fault, wanted.place));
        assert_eq!(parsed("lose-device@40"), Some((Fault::LoseDevice, "40".into())));
        let swapped = (Fault::WrongShader, "mul:a * b=>a + b".into());
        assert_eq!(parsed("wrong-shader@mul:a * b=>a + b"), Some(swapped));
        for text in ["", "lose-device", "lose@40"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn of_faults_that_stand_together_each_counts_its_own_calls() {
        let wanted = Wanted::all("lose-device@3;hang@2");
        let now: Vec<[bool; 2]> = (0..4).map(|_| [wanted[0].happens(), wanted[1].happens()]).collect();
        assert_eq!(now, [[false, false], [false, true], [true, false], [false, false]]);
    }

    #[test]
    fn nothing_fails_that_was_not_asked_to() {
        assert!(!happens(Fault::Hang));
        assert!(disk_takes(Path::new("last.safetensors")).is_ok());
        assert_eq!(shader("mul", "a * b".into()), "a * b");
    }
}
