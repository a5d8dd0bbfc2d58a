//! Processes killed at random moments, again and again: whatever they did goes on and ends as if nothing had happened,
//! and no file is ever half written.
//!
//! `KILLS=200 cargo test --release --test kills -- --nocapture` kills that often (8 times by default), and prints what
//! docs/faults.md says about it; another `SEED` gives other moments.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use common::{Place, TINY_GAN};
use inkgrad::models::ModelFile;

/// Numbers that look random, the same for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A command that is killed, how it is resumed, and the files that must result.
struct Work {
    name: &'static str,
    first: String,
    again: String,
    /// The file that exists as soon as `again` can be given.
    begun: &'static str,
    results: &'static [&'static str],
}

fn works() -> [Work; 4] {
    let run = &["best.safetensors", "last.safetensors", "metrics.csv", "curves.png", "result.toml"];
    let gan = &["best.safetensors", "last.safetensors", "losses.csv", "curves.png", "snapshots/0002.png"];
    let classify = "classify pictures --device cpu --quiet --out table.csv";
    let generate = "generate --grid 40x40 --device cpu --out sheet.png --force";
    [
        Work {
            name: "train",
            first: "train dense --data data --validation 100 --epochs 40 --device cpu --quiet".into(),
            again: "train --resume runs/0001-dense --quiet".into(),
            begun: "runs/0001-dense/config.toml",
            results: run,
        },
        Work {
            name: "train a GAN",
            first: "train tiny.toml --data data --epochs 5 --batch 50 --measure 0 --device cpu --quiet".into(),
            again: "train --resume runs/0001-tiny --quiet".into(),
            begun: "runs/0001-tiny/config.toml",
            results: gan,
        },
        Work {
            name: "classify",
            first: classify.into(),
            again: format!("{classify} --resume"),
            begun: "table.csv.partial",
            results: &["table.csv"],
        },
        Work {
            name: "generate",
            first: generate.into(),
            again: generate.into(),
            begun: "sheet.png",
            results: &["sheet.png"],
        },
    ]
}

fn place() -> Place {
    let place = Place::with_digits(1000, 200);
    place.write("tiny.toml", TINY_GAN);
    let digits = inkgrad::data::mnist::embedded().unwrap().test;
    for i in 0..600 {
        let pixels = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        std::fs::create_dir_all(place.path("pictures")).unwrap();
        pixels.save(place.path(&format!("pictures/{i:04}.png"))).unwrap();
    }
    place
}

/// Removes what a command has made.
fn clear(place: &Place) {
    let _ = std::fs::remove_dir_all(place.path("runs"));
    for name in ["table.csv", "table.csv.partial", "sheet.png"] {
        let _ = std::fs::remove_file(place.path(name));
    }
}

fn folder(work: &Work) -> &'static str {
    work.begun.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

fn results(place: &Place, work: &Work) -> BTreeMap<&'static str, Vec<u8>> {
    work.results.iter().map(|name| (*name, place.read(&format!("{}/{name}", folder(work))))).collect()
}

/// Checks that every file that has its final name is whole, whatever the moment.
fn check_whole(place: &Place) {
    let pictures = place.path("pictures");
    for path in place.contents().into_keys().filter(|path| !path.starts_with(&pictures)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap_or_default();
        match Path::new(&name).extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => drop(ModelFile::from_bytes(&bytes, &path).unwrap()),
            Some("png") => drop(image::load_from_memory(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
            Some("csv" | "toml") => assert!(bytes.ends_with(b"\n"), "{} is cut off", path.display()),
            _ => {}
        }
    }
}

/// Waits for the child, and kills it if it takes longer than `after`; returns whether it was killed.
fn killed(mut child: Child, after: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < after {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    // If it has ended by itself in the meantime, it was not killed.
    !child.wait().unwrap().success()
}

#[test]
fn whatever_is_killed_goes_on_and_no_file_is_half_written() {
    let (kills, mut random) = (number("KILLS", 8), Random(number("SEED", 1)));
    for work in works() {
        let work_place = place();
        let began = Instant::now();
        work_place.works(&work.first);
        let (took, expected) = (began.elapsed(), results(&work_place, &work));
        clear(&work_place);
        let (mut done, mut finished) = (0, 0);
        while done < kills / 4 {
            let begun = work_place.path(work.begun).exists();
            let child = work_place.start(if begun { &work.again } else { &work.first });
            // Some are killed at their start, some in the middle, and one with little left to do may end first.
            let after = Duration::from_micros(random.below((took.as_micros() as u64).max(1)));
            let was_killed = killed(child, after);
            check_whole(&work_place);
            if !begun && !work_place.path(work.begun).exists() {
                // Killed before there was anything to resume: a run's folder may be there, with nothing in it.
                let _ = std::fs::remove_dir_all(work_place.path("runs"));
            }
            if was_killed {
                done += 1;
            } else {
                finished += 1;
                assert!(results(&work_place, &work) == expected, "{}: other bytes than when never killed", work.name);
                clear(&work_place);
            }
        }
        let there = |name: &&str| work_place.path(&format!("{}/{name}", folder(&work))).exists();
        match (work_place.path(work.begun).exists(), work.results.iter().all(there)) {
            (true, _) => drop(work_place.works(&work.again)),
            (false, false) => drop(work_place.works(&work.first)),
            // The last one was killed when all was done but for its exit.
            (false, true) => {}
        }
        assert!(results(&work_place, &work) == expected, "{}: other bytes than when never killed", work.name);
        check_whole(&work_place);
        let left = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".tmp"));
        let left: Vec<_> = work_place.contents().into_keys().filter(|path| left(path)).collect();
        println!(
            "| {} | {done} | {} | {} |",
            work.name,
            finished + 1,
            if left.is_empty() { "none".into() } else { left.len().to_string() }
        );
    }
}
