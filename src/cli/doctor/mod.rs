//! `inkgrad doctor`: is there a GPU, does it compute correctly, how fast is it, and what to do if not.

mod advice;
mod ops;
mod surroundings;

use std::path::PathBuf;
use std::process::ExitCode;

use super::outputs::ensure_writable;
use super::{say, say_and_go_on};
use crate::check::{Finding, speed};
use crate::device::gpu::{AdapterInfo, Class};
use crate::device::{self, Choice, Device, DeviceError};
use crate::files::{WriteError, write_whole};
use surroundings::Surroundings;

/// The exit code for a device that is not to be trusted.
const WRONG: u8 = 4;

#[derive(clap::Args)]
#[command(
    after_help = "Exit code: 0 if the device computes correctly, 4 if it does not or gives no answer, 1 if there is no \
                  such device."
)]
pub struct Args {
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Also write the report to a file, in Markdown, to attach to an issue
    #[arg(long, short, alias = "output", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only one case of each op, no large ones, and no memory test
    #[arg(long)]
    quick: bool,
}

/// What is printed, and kept for the file.
#[derive(Default)]
struct Report {
    text: String,
    /// Whether to go on when nobody reads the output any more, because a file is to be written.
    is_kept: bool,
}

impl Report {
    fn line(&mut self, line: impl std::fmt::Display) {
        let line = line.to_string();
        if self.is_kept {
            say_and_go_on(&line);
        } else {
            say(&line);
        }
        self.text += &line;
        self.text.push('\n');
    }
    fn section(&mut self, title: &str) {
        self.line(format_args!("\n## {title}\n"));
    }
    fn list(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.line(format_args!("- {line}")));
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Before measuring, which takes a while.
    let _new = args.out.as_deref().map(ensure_writable).transpose()?;
    let mut report = Report { is_kept: args.out.is_some(), ..Report::default() };
    let result = examine(&args, &mut report);
    if let Err(error) = &result {
        report.line(format_args!("\n**Verdict: {error:#}**"));
    }
    if let Some(path) = &args.out {
        write_whole(path, report.text.as_bytes()).map_err(WriteError::of(path))?;
    }
    result
}

fn examine(args: &Args, report: &mut Report) -> anyhow::Result<ExitCode> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    report.line(format_args!("# inkgrad doctor\n\ninkgrad {} on {os} {arch}", env!("CARGO_PKG_VERSION")));
    let list = device::list();
    report.section("Devices");
    for (i, listed) in list.iter().enumerate() {
        let auto = listed.auto.map_or(String::new(), |why| format!(" (taken by `auto`: {why})"));
        report.line(format_args!("{i}. {}{auto}", listed.choice.name()));
        if let Some(info) = listed.choice.adapter() {
            about(info).iter().for_each(|line| report.line(format_args!("   - {line}")));
        }
    }
    let around = Surroundings::look();
    let lines = around.lines();
    if !lines.is_empty() {
        report.section("System");
        report.list(&lines);
    }
    let found = device::find(&args.device);
    let adapters: Vec<AdapterInfo> = list.iter().filter_map(|listed| listed.choice.adapter().cloned()).collect();
    let advice = advice::advice(&around, &adapters, found.as_ref().ok().and_then(Choice::adapter));
    if !advice.is_empty() {
        report.section("What to do");
        report.list(&advice);
    }
    examine_device(&found?, args, report)
}

fn examine_device(choice: &Choice, args: &Args, report: &mut Report) -> anyhow::Result<ExitCode> {
    let mut device = match choice.open() {
        Ok(device) => device,
        Err(error) => {
            report.line(format_args!("\n**Verdict: it cannot be opened: {error}**"));
            return Ok(ExitCode::from(WRONG));
        }
    };
    report.section(&format!("Ops on {}", device.name()));
    let mut ops = ops::examine(choice, &mut device, args.quick);
    report.list(&ops.lines());
    let mut hung = ops.hung.take().map(|(_, error)| error);
    if !ops.lost && hung.is_none() {
        report.section("Speed");
        match measured(device.as_mut(), if args.quick { 0.1 } else { 0.5 }) {
            Ok(lines) => report.list(&lines),
            Err(Finding::Device(error @ DeviceError::Hung { .. })) => hung = Some(error),
            Err(error) => report.line(format_args!("not measured: {error}")),
        }
    }
    if let (false, None, Some(info)) = (args.quick || ops.lost, &hung, choice.adapter()) {
        report.section("Memory");
        match memory(device.as_mut(), info) {
            Ok(line) => report.line(line),
            Err(error) => hung = Some(error),
        }
    }
    let failing = ops.failing();
    report.line(format_args!("\n**Verdict: {}**", verdict(choice, &device.name(), &failing, hung.as_ref())));
    Ok(if failing.is_empty() && hung.is_none() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

/// What is found of the device of this name: ops that it computes wrongly, and whether it gave no answer.
fn verdict(choice: &Choice, name: &str, failing: &[&str], hung: Option<&DeviceError>) -> String {
    let wrong = failing.join(", ");
    let remedy = match choice {
        Choice::Cpu => "This is a fault of inkgrad or of the processor: please report it, with this report",
        Choice::Gpu(_) => {
            "Do not use it: `--device cpu` computes without it. Update its driver and run this again; if that does not \
             help, please report it, with this report (--out FILE)"
        }
    };
    match hung {
        None if failing.is_empty() => format!("{name} computes what it should."),
        None => format!("{name} computes wrongly: {wrong}. {remedy}."),
        Some(hung) if failing.is_empty() => format!("{hung}."),
        Some(hung) => format!("{hung}. It also computes wrongly: {wrong}."),
    }
}

/// What an adapter is, and which of its features inkgrad uses.
fn about(info: &AdapterInfo) -> [String; 3] {
    let has = |there: bool| if there { "yes" } else { "no" };
    let limits = &info.limits;
    [
        match &info.problem {
            Some(problem) => format!("cannot be used: {problem}"),
            None => format!("{}, reached through {}, driver {}", info.class, info.backend, info.driver),
        },
        format!(
            "16-bit floats: {}, subgroups: {}, matrix units: {}, timestamps: {}",
            has(info.f16),
            has(info.subgroups.is_some()),
            has(info.matrix_units.is_some()),
            has(info.timestamps)
        ),
        format!(
            "a buffer: {} MiB, of it bound: {} MiB, buffers bound: {}, a workgroup: {} invocations and {} KiB, workgroups in \
             a dimension: {}",
            limits.buffer >> 20,
            limits.binding >> 20,
            limits.bindings,
            limits.invocations,
            limits.workgroup_bytes >> 10,
            limits.groups
        ),
    ]
}

fn measured(device: &mut dyn Device, seconds: f64) -> Result<Vec<String>, Finding> {
    let speed = speed::measure(device, seconds)?;
    Ok(vec![
        format!("matrix product, 1024 x 1024 x 1024: {:.1} GFLOP/s", speed.matmul),
        format!("convolution, 3x3, 32 to 64 channels, 64 images of 28x28: {:.1} GFLOP/s", speed.conv2d),
        format!("memory, 64 MiB read and 64 MiB written: {:.1} GB/s", speed.memory),
        format!("one submission and the wait for it: {:.1} us", speed.submission * 1e6),
        format!("each dispatch of a thousand: {:.2} us", speed.dispatch * 1e6),
    ])
}

/// How much memory the device gives, up to a limit: a desktop GPU is shared, and a software adapter takes the system's
/// own memory. An error if the device gives no answer.
fn memory(device: &mut dyn Device, info: &AdapterInfo) -> Result<String, DeviceError> {
    let most: u64 = if info.class == Class::Software { 512 << 20 } else { 4 << 30 };
    let (given, refused) = speed::capacity(device, most);
    let given = given >> 20;
    Ok(match refused {
        None => format!("- {given} MiB could be allocated, written and read; more was not tried"),
        Some(hung @ DeviceError::Hung { .. }) => return Err(hung),
        Some(error) => format!("- {given} MiB could be allocated; twice as much was refused: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_gives_no_answer_is_also_said_to_compute_wrongly_what_it_did_before() {
        let hung = DeviceError::Hung { device: "a card".into(), seconds: 300 };
        let said = |failing: &[&str], hung| verdict(&Choice::Cpu, "a card", failing, hung);
        assert_eq!(said(&[], None), "a card computes what it should.");
        assert!(said(&["add", "mul"], None).starts_with("a card computes wrongly: add, mul. This is a fault of "));
        assert_eq!(said(&[], Some(&hung)), format!("{hung}."));
        assert_eq!(said(&["add", "mul"], Some(&hung)), format!("{hung}. It also computes wrongly: add, mul."));
    }
}
