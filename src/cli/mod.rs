//! The commands, one file each.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::pictures::{visible_json, visible_lines};

use crate::check;
use crate::device::{self, Choice, Device, DeviceError};
use crate::system;
use numbers::{count, seed};

#[cfg(feature = "app")]
mod app;
mod augment_flags;
mod bench;
mod classify;
mod curves;
mod dashed;
mod data;
mod devices;
mod doctor;
mod ensemble;
mod evaluate;
mod evaluate_gan;
mod evaluate_shifts;
mod export;
mod generate;
mod given;
mod going_on;
mod help;
mod import;
mod inspect;
mod interrupt;
mod learner;
mod models;
mod numbers;
mod outputs;
mod precision;
mod progress;
mod reading;
mod sweep;
mod terminal;
mod train;
mod train_gan;
mod training;
mod tune;
mod validating;

/// Small image networks, trained and run on any GPU.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads for the CPU device [default: all cores]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true,
        value_parser = numbers::whole::<u16>(1..=1024))]
    threads: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    /// Train a digit classifier, or a GAN that draws digits, and test it
    Train(Box<train::Args>),
    /// Test a trained model: a classifier's accuracy and mistakes, or a generator's quality
    Evaluate(evaluate::Args),
    /// Classify pictures from folders, files, lists or CSV files of pixels
    Classify(Box<classify::args::Args>),
    /// Join trained classifiers into one that averages their outputs
    Ensemble(ensemble::Args),
    /// Draw digits with a trained generator
    Generate(Box<generate::Args>),
    /// Train a GAN at several ratios of noise to label, and compare the results
    Sweep(sweep::Args),
    /// Open a window to draw digits and look inside the networks that read them
    #[cfg(feature = "app")]
    App(app::Args),
    /// Export a model for other programs, as ONNX or plain safetensors
    Export(export::Args),
    /// Import a model from Keras, ONNX or PyTorch
    Import(Box<import::Args>),
    /// Show a model layer by layer, and what a training step does on the device
    Inspect(inspect::Args),
    /// List the networks that can be trained and the trained models that come with the program
    Models(models::Args),
    /// Preview a data set as training sees it, summarize it, or write it out 77-fold
    #[command(subcommand)]
    Data(Box<data::Command>),
    /// List the compute devices, and which one `auto` takes
    Devices(devices::Args),
    /// Check that a device computes correctly, measure its speed, and suggest what to do if it fails
    Doctor(doctor::Args),
    /// Draw the training curves of one or more runs in one picture
    Curves(curves::Args),
    /// Measure training or inference speed in images per second
    Bench(bench::Args),
    /// Find the fastest layout of each op on a GPU, and remember it for later runs
    Tune(tune::Args),
    /// Print a shell script that completes commands and flags
    Completions(help::CompletionsArgs),
    /// Write the manual pages
    Man(help::ManArgs),
}

const EXAMPLES: &str = r#"Examples:
  inkgrad train                          one epoch on MNIST, on the best device available
  inkgrad train cnn --epochs 10          another network, trained for longer
  inkgrad train my-network.toml          a network of your own
  inkgrad train --resume runs/0001-fast  continue a run where it was stopped
  inkgrad evaluate runs/0001-fast        test what it learned
  inkgrad classify scans --out scans.csv classify the pictures in a folder
  inkgrad generate --text "555 0123"     draw digits
  inkgrad data preview --rotate 10       see what training would see
  inkgrad export runs/0001-fast it.onnx  export for other programs
  inkgrad import keras.h5 it.safetensors import from Keras, ONNX or PyTorch
  inkgrad inspect avgcnn --plan          layers, parameters, dispatches"#;

/// Flags that name an input. If one were given twice, one of the two inputs would be ignored silently.
const INPUTS: [&str; 7] = ["data", "from", "resume", "front", "judge", "model", "architecture"];

/// Lets a setting be given more than once, so that a script can append to a command line: the last one counts.
fn lenient(command: clap::Command) -> clap::Command {
    let again = |arg: Arg| {
        let is_input = arg.get_action().takes_values() && INPUTS.contains(&arg.get_id().as_str());
        let is_list = arg.is_positional() || matches!(arg.get_action(), ArgAction::Append);
        let id = arg.get_id().clone();
        if is_input || is_list { arg } else { arg.overrides_with(id) }
    };
    command.mut_args(again).mut_subcommands(lenient)
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let is_clicked = cfg!(feature = "app") && std::env::args_os().len() == 1 && system::has_own_console();
    let command = lenient(Cli::command());
    // A double click, which gives no arguments.
    let words: Vec<OsString> =
        if is_clicked { ["inkgrad", "app"].map(OsString::from).into() } else { std::env::args_os().collect() };
    let matches = command.clone().try_get_matches_from(&words);
    let matches = matches.unwrap_or_else(|error| dashed::advised(error, &command, &words).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(wanted) = cli.threads.map(usize::from) {
        // Threads that share a core wait for each other: hundreds of them for minutes.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = wanted.min((4 * cores).max(8));
        if threads < wanted {
            let cores = counted(cores as u64, "core");
            note(format_args!("note: --threads {wanted} is more than {cores} can use; {threads} are started"));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        if let Err(error) = pool {
            note(format_args!("error: --threads {threads}: {error}"));
            return ExitCode::from(2);
        }
    }
    let result = match cli.command {
        Command::Train(args) => train::run(*args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Classify(args) => classify::run(*args),
        Command::Ensemble(args) => ensemble::run(args),
        Command::Generate(args) => generate::run(*args),
        Command::Sweep(args) => sweep::run(args),
        #[cfg(feature = "app")]
        Command::App(args) => app::run(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(*args),
        Command::Inspect(args) => inspect::run(args),
        Command::Models(args) => models::run(args),
        Command::Data(command) => data::run(*command),
        Command::Devices(args) => devices::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Curves(args) => curves::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Completions(args) => Ok(help::completions(args, Cli::command())),
        Command::Man(args) => help::man(args, Cli::command()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            note(format_args!("error: {}", told_once(&error)));
            if is_clicked {
                note("press Enter to close");
                let _ = std::io::stdin().read_line(&mut String::new());
            }
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, one after the other; many errors already include their cause.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

/// Prints a line to standard output, as the last thing that a command does or close to it. If the reader has gone away,
/// the program ends quietly, as `head` expects; if the disk is full, it ends with an error.
pub(crate) fn say(text: impl std::fmt::Display) {
    if !is_read(text) {
        std::process::exit(0);
    }
}

/// Like [`say`], for a command that produces files: it writes them whether or not anyone still reads its output.
pub(crate) fn say_and_go_on(text: impl std::fmt::Display) {
    is_read(text);
}

/// Like [`say`], for programs: a value as one line of JSON, where a number that is not finite is null.
pub(crate) fn say_json(value: &impl serde::Serialize) -> serde_json::Result<()> {
    say(visible_json(&serde_json::to_string(value)?));
    Ok(())
}

/// Prints a line, and returns whether anyone is there to read it.
fn is_read(text: impl std::fmt::Display) -> bool {
    match print(text) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => false,
        Err(error) => {
            note(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Like [`say`] in the middle of a run, which goes on whether or not anyone still reads.
pub(crate) fn mention(text: impl std::fmt::Display) {
    let _ = print(text);
}

fn print(text: impl std::fmt::Display) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{}", visible_lines(&text.to_string()))
}

/// Prints a line to standard error, whether or not anyone still listens: a run goes on without its reader.
pub(crate) fn note(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", visible_lines(&text.to_string()));
}

/// Opens the device of `--device`, after checking that it computes correctly.
fn open_device(wanted: &str) -> Result<Box<dyn Device>, DeviceError> {
    trusted(device::find(wanted)?, wanted).map(|(_, device)| device)
}

/// Like [`open_device`], for all devices that `--device` names.
fn open_devices(wanted: &str) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    device::find_all(wanted)?.into_iter().map(|choice| trusted(choice, wanted).map(|(_, device)| device)).collect()
}

/// Like [`open_device`], for a device that was found. Also returns the choice that was opened: another one, where
/// `auto` has met a GPU that computes wrongly.
fn trusted(choice: Choice, wanted: &str) -> Result<(Choice, Box<dyn Device>), DeviceError> {
    check::start::open(choice, wanted, &mut |text| note(format_args!("warning: {text}")))
}

/// A path to keep in settings: a run may be resumed from another folder.
fn absolute(path: &std::path::Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Refuses a path that a run's settings cannot hold.
fn ensure_remembered(flag: &str, path: Option<std::path::PathBuf>) -> anyhow::Result<()> {
    let Some(path) = path.filter(|path| path.to_str().is_none()) else { return Ok(()) };
    let path = path.display();
    anyhow::bail!("{flag} {path}: a run remembers this path as UTF-8 text, but it is not UTF-8; rename it")
}

/// Whether two paths lead to one place, however they are spelt: through links, or up and down again.
fn is_one_place(one: &std::path::Path, other: &std::path::Path) -> bool {
    let [one, other] = [one, other].map(|path| path.canonicalize().unwrap_or_else(|_| absolute(path)));
    one == other
}

/// Height and width of the images that the front `pool` is for.
const POOLED: [usize; 2] = [448, 448];

/// Refuses the front where a complete network is wanted.
fn ensure_network(model: &str) -> anyhow::Result<()> {
    let front = crate::models::FRONT;
    let remedy = format!("stands in front of another: `inkgrad train dense --front {front}`");
    anyhow::ensure!(model != front, "{front} is not a network by itself; it {remedy}");
    Ok(())
}

/// `1 step`, `1,234 steps`.
fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `12345678` as `12,345,678`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
