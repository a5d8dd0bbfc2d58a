//! Every parser, given the seeds of the fuzz targets and thousands of mutations of each: nothing panics, and nothing
//! asks for much memory. `fuzz/run.sh` fuzzes the same functions for longer, guided by the code that inputs reach.
//!
//! `HOSTILE_SECONDS=60 cargo test --release --test hostile -- --nocapture` takes so long for each, and prints a table.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::path::Path;
use std::time::{Duration, Instant};

/// The time for each kind of file.
fn time() -> Duration {
    let wanted = std::env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(wanted.unwrap_or(1))
}

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Numbers that parsers tend to get wrong.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.below(256) as u8),
            2 => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
            3 => {
                // A piece of another seed.
                let from = random.below(other.len());
                let piece = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            4 => {
                let width = [1, 2, 4, 8][random.below(4)];
                let number = EXTREMES[random.below(EXTREMES.len())];
                let number = if random.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                for (byte, new) in bytes.iter_mut().skip(at).zip(&number[..width]) {
                    *byte = *new;
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// The most memory that the process has asked the system for, in bytes.
fn asked_for() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or("0 kB");
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn no_file_however_damaged_makes_anything_that_reads_it_panic_or_ask_for_much_memory() {
    let before = asked_for();
    for (name, entry) in entries::ENTRIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| entry(seed));
        let (mut random, began, mut executions) = (Random(1), Instant::now(), seeds.len());
        while began.elapsed() < time() {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            let other = &seeds[random.below(seeds.len())];
            mutate(&mut bytes, other, &mut random);
            entry(&bytes);
            executions += 1;
        }
        println!("| {name} | {} | {executions} |", seeds.len());
    }
    let asked = asked_for() - before;
    assert!(asked < 3 << 30, "asked for {} MB", asked >> 20);
}
