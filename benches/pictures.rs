//! How much longer `classify` and `generate` take than the part that no device can do for them: decoding and preparing
//! pictures, and encoding them. Measured alternately, in this process and in the program's, on all cores.
//!
//!     cargo bench --bench pictures -- FOLDER [DEVICE [MODEL [ROUNDS]]]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use inkgrad::data::mnist;
use inkgrad::files::Existing;
use inkgrad::pictures::Preparation;
use inkgrad::pictures::source::Source;
use inkgrad::pictures::stream::{Work, stream};
use inkgrad::report::Colours;
use inkgrad::report::grid::Grid;
use inkgrad::report::png::PngGrid;

/// Digits on the sheet that is generated.
const ROWS: u64 = 100;
const COLUMNS: u64 = 400;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let Some(folder) = args.first() else {
        eprintln!("cargo bench --bench pictures -- FOLDER [DEVICE [MODEL [ROUNDS]]]");
        return ExitCode::from(2);
    };
    let or = |i: usize, default: &str| args.get(i).map_or(default, String::as_str).to_owned();
    let (device, model) = (or(1, "auto"), or(2, "judge"));
    let rounds: usize = or(3, "3").parse().expect("a number of rounds");
    let out = std::env::temp_dir().join(format!("inkgrad-pictures-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("a temporary folder");
    let table = out.join("table.csv").display().to_string();
    let sheet = out.join("sheet.png").display().to_string();

    let pictures = decoded(folder.as_ref()).0 as f64;
    compare(
        "classify",
        pictures,
        rounds,
        || decoded(folder.as_ref()).1,
        || {
            program(&[
                "classify", folder, "--model", &model, "--device", &device, "--out", &table, "--force", "--quiet",
            ])
        },
    );
    let grid = format!("{ROWS}x{COLUMNS}");
    compare(
        "generate",
        (ROWS * COLUMNS) as f64,
        rounds,
        || encoded(&out.join("alone.png")),
        || program(&["generate", "--grid", &grid, "--device", &device, "--out", &sheet, "--force", "--quiet"]),
    );
    let _ = std::fs::remove_dir_all(out);
    ExitCode::SUCCESS
}

/// Measures both alternately; prints the medians of both and of their ratio.
fn compare(what: &str, pictures: f64, rounds: usize, alone: impl Fn() -> f64, whole: impl Fn() -> f64) {
    let seconds: Vec<[f64; 2]> = (0..rounds).map(|_| [alone(), whole()]).collect();
    let median = |of: fn(&[f64; 2]) -> f64| {
        let mut all: Vec<f64> = seconds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let [alone, whole] = [median(|s| s[0]), median(|s| s[1])];
    let ratio = median(|s| s[1] / s[0]);
    println!(
        "{what}: {:.0} pictures/s, {:.0} without the network, {ratio:.2} times as long",
        pictures / whole,
        pictures / alone
    );
}

/// The number of pictures in a folder, and the seconds that it takes to find, decode and prepare them.
fn decoded(folder: &Path) -> (usize, f64) {
    let began = Instant::now();
    let source = Source { given: vec![PathBuf::from(folder)], ..Source::default() };
    let work = Work { input: [28, 28, 1], preparation: Preparation::default(), show: None };
    let batches = stream(source, work, Arc::new(AtomicBool::new(false)));
    let count = batches.into_iter().map(|batch| batch.expect("pictures").items.len()).sum();
    (count, began.elapsed().as_secs_f64())
}

/// Seconds that it takes to write a sheet of digits that need not be generated.
fn encoded(path: &Path) -> f64 {
    let set = mnist::embedded().expect("the built-in digits").test;
    let began = Instant::now();
    let grid = Grid { rows: ROWS, columns: COLUMNS, picture: [28, 28, 1], scale: 1, gap: 0 };
    let mut png = PngGrid::create(path, grid, Colours::default()).expect("a file");
    for i in 0..(ROWS * COLUMNS) as usize {
        png.push(Some(set.image(i % set.len()))).expect("a file");
    }
    png.finish(Existing::Replace).expect("a file");
    began.elapsed().as_secs_f64()
}

/// Seconds from the program's start to its end.
fn program(args: &[&str]) -> f64 {
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_inkgrad")).args(args).stdout(Stdio::null()).status();
    assert!(status.expect("the program").success(), "{args:?}");
    began.elapsed().as_secs_f64()
}
