//! What the compilers of real GPUs make of the kernels, which needs no such GPU: AMD's driver for Mesa compiles for any
//! generation that `RADV_FORCE_FAMILY` names. It says how many registers a kernel takes, and in the assembly one can
//! count how many of a loop's instructions are multiply-adds.
//!
//!     KERNELS=avgcnn RADV_FORCE_FAMILY=navi21 cargo test --release --test compiled table -- --ignored --nocapture
//!
//! prints that of all kernels of a training step; with `RADV_DEBUG=shaders` also their assembly. Without that variable the
//! same is printed of an Intel GPU, which Mesa's `libintel_noop_drm_shim.so` stands in for (CONTRIBUTING.md).

mod assembly;
mod driver;
#[path = "../common/steps.rs"]
mod steps;

use std::collections::HashSet;

use assembly::{Loop, loops};
use driver::{Compiled, Driver, Maker};
use inkgrad::ops::{Kernel, Target};
use inkgrad::plan::{Dispatch, tensors};
use inkgrad::shaders;
use steps::plans;

fn kernel(dispatch: &Dispatch, target: Target) -> (Kernel, String) {
    let kernel = dispatch.op.gpu(&tensors(&dispatch.inputs), &tensors(&dispatch.outputs), target);
    let text = shaders::text(&kernel).unwrap();
    (kernel, text)
}

fn name(dispatch: &Dispatch) -> String {
    format!("{} {:?}", dispatch.op.name(), dispatch.outputs[0].tensor.shape)
}

/// The loop with the most multiply-adds.
fn main_loop(compiled: &Compiled) -> Option<Loop> {
    loops(&compiled.assembly).into_iter().max_by_key(|found| found.multiply_adds)
}

/// Compiles all kernels of these networks' steps; returns those that registers do not hold, and those whose loops have
/// less than this share of multiply-adds.
fn faults(driver: &Driver, target: Target, least: f64) -> Vec<String> {
    let (mut seen, mut faults) = (HashSet::new(), Vec::new());
    for dispatch in ["cnn", "avgcnn", "gan"].into_iter().flat_map(plans).flat_map(|plan| plan.dispatches) {
        let (kernel, text) = kernel(&dispatch, target);
        if !seen.insert(text.clone()) {
            continue;
        }
        let compiled = driver.compile(&text, dispatch.inputs.len() + dispatch.outputs.len());
        let name = format!("{} on {}", name(&dispatch), driver.name);
        if compiled.spilled() > 0 {
            faults.push(format!("{name}: registers do not hold it"));
        }
        // Where sums are short, or an invocation's row of pixels is, less is left.
        let is_heavy = ["conv2d", "matmul"].contains(&kernel.file) && dispatch.flops() > 150_000_000;
        match main_loop(&compiled).filter(|_| is_heavy) {
            Some(found) if found.share() < least => faults.push(format!("{name}: {found:?}")),
            _ => {}
        }
    }
    faults
}

#[test]
fn kernels_keep_their_sums_in_registers_and_their_loops_are_mostly_multiply_adds() {
    // Cards of 2020 and of 2017.
    for family in ["navi21", "vega10"] {
        // SAFETY: no other thread is there to read it: this is the only test that opens a driver and is not ignored.
        unsafe { std::env::set_var("RADV_FORCE_FAMILY", family) };
        match Driver::open(Maker::Amd) {
            Some(driver) => {
                let faults = faults(&driver, Maker::Amd.target(), 0.8);
                assert!(faults.is_empty(), "{}", faults.join("\n"));
            }
            None => {
                eprintln!("SKIPPED: AMD's Vulkan driver for Mesa is not installed: no kernel compiled for {family}")
            }
        }
    }
    match Driver::open(Maker::Intel) {
        Some(driver) => {
            // Half the registers, so smaller tiles.
            let faults = faults(&driver, Maker::Intel.target(), 0.6);
            assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
        None => eprintln!("SKIPPED: Intel's Vulkan driver for Mesa shows no GPU, so no kernel was compiled for one"),
    }
}

#[test]
#[ignore = "prints what a step's kernels are compiled to, and checks nothing"]
fn table() {
    let opened = [Maker::Amd, Maker::Intel].into_iter().find_map(|maker| Some((maker, Driver::open(maker)?)));
    let (maker, driver) = opened.expect("neither AMD's nor Intel's Vulkan driver for Mesa shows a GPU");
    let network = std::env::var("KERNELS").unwrap_or_else(|_| "cnn".into());
    println!("{network} on {}", driver.name);
    println!(
        "{:40} {:>9} {:>10} {:>7} {:>8} {:>5} {:>5} {:>13} {:>5} {:>5} {:>5} {:>9}",
        "op, result",
        "MFLOP",
        "workgroups",
        "spilled",
        "subgroup",
        "VGPRs",
        "waves",
        "multiply-adds",
        "other",
        "loads",
        "share",
        "cycles"
    );
    for dispatch in plans(&network).into_iter().flat_map(|plan| plan.dispatches) {
        let (kernel, text) = kernel(&dispatch, maker.target());
        let compiled = driver.compile(&text, dispatch.inputs.len() + dispatch.outputs.len());
        let found = main_loop(&compiled).unwrap_or_default();
        let count = |name: &str| compiled.count(name).map_or("-".into(), |count| count.to_string());
        println!(
            "{:40} {:>9.2} {:>10} {:>7} {:>8} {:>5} {:>5} {:>13} {:>5} {:>5} {:>4.0}% {:>9}",
            name(&dispatch),
            dispatch.flops() as f64 / 1e6,
            kernel.workgroups.iter().product::<u32>(),
            compiled.spilled(),
            compiled.subgroup,
            count("VGPRs"),
            count("Subgroups per SIMD"),
            found.multiply_adds,
            found.other,
            found.loads,
            100.0 * found.share(),
            count("Cycle Count"),
        );
    }
}
