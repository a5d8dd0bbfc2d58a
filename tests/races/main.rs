//! Every kernel of every op, run invocation by invocation by the tests themselves: laid out for cards of every kind and
//! with the subgroups they have, on matrix units too, and without a GPU. Results agree with the CPU's, and nothing
//! depends on the order in which a driver happens to run things.

mod accesses;
mod device;
mod expressions;
mod memory;
mod shader;
mod statements;
mod traffic;
mod values;
mod workgroup;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;

use device::InStep;
use inkgrad::check::{self, Convolution, Finding};
use inkgrad::data::mnist;
use inkgrad::device::Device;
use inkgrad::graph::Store;
use inkgrad::models::{Normalization, builtin};
use inkgrad::ops::{Kernel, MatrixUnits, Target, cases};
use inkgrad::tensor::Tensor;
use inkgrad::train::{ClassifierSteps, Settings, Share};
use shader::Shader;

/// Cards, integrated GPUs, and drivers on the CPU, without and with subgroups that they make use of.
fn targets() -> Vec<Target> {
    let software = [4, 8, 16].map(|subgroup| Target { subgroup, ..Target::SOFTWARE });
    let between = [1 << 17, 1 << 13].map(|busy| Target { busy, ..Target::DISCRETE });
    let mut all = vec![Target::DISCRETE, Target::INTEGRATED, Target::SOFTWARE];
    all.extend(between);
    all.extend(software);
    all
}

/// What `find` finds wrong with each item, on all cores. It does not use rayon's threads: those would begin the next
/// item while the CPU device has them wait.
fn faults<T: Send>(work: Vec<T>, find: impl Fn(T) -> Option<String> + Sync) -> Vec<String> {
    let (left, found) = (Mutex::new(work), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let fault = find(item);
                    found.lock().unwrap().extend(fault);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
}

#[test]
fn no_kernel_races_reads_what_nothing_wrote_or_leaves_its_buffers() {
    none(&faults(cases(), |case| {
        let mut device = InStep::new(Target::DISCRETE);
        let find = |target| {
            device.target = target;
            check::against_twin(&case, &mut device).err()
        };
        let fault = targets().into_iter().find_map(find);
        // If results are in 16 bits on the way, their rounding is no fault.
        device.halves = true;
        let halved = || check::against_twin(&case, &mut device).err().filter(|f| matches!(f, Finding::Device(_)));
        fault.or_else(halved).map(|fault| fault.to_string())
    }));
}

/// Edges and subgroups of matrix units: those of cards, and those that Apple's and Intel's have.
const UNITS: [(usize, usize); 5] = [(16, 32), (16, 64), (16, 16), (8, 32), (8, 8)];

fn on_units((edge, subgroup): (usize, usize)) -> Target {
    Target { matrices: Some(MatrixUnits { edge, subgroup, memory: 32 << 10 }), ..Target::DISCRETE }
}

#[test]
fn convolutions_on_matrix_units_of_any_size_do_what_the_cpu_does() {
    let mut quick = check::convolutions();
    // The last two are the largest: once is enough.
    let largest = quick.split_off(quick.len() - 2);
    let of = |units, all: &[Convolution]| all.iter().map(move |c| (units, *c)).collect::<Vec<_>>();
    let mut work: Vec<_> = UNITS.into_iter().flat_map(|units| of(units, &quick)).collect();
    work.extend(of(UNITS[0], &largest));
    none(&faults(work, |(units, convolution)| {
        let fault = convolution.check(&mut InStep::new(on_units(units))).err()?;
        Some(format!("{units:?}: {fault}"))
    }));
}

/// A name for each barrier in a kernel, the same wherever it was unrolled: its file, entry, and the line that follows.
fn barriers(kernel: &Kernel, text: &str) -> Vec<(String, Range<usize>)> {
    let lines = ["workgroupBarrier();", "storageBarrier();"];
    let found = lines.iter().flat_map(|line| text.match_indices(line).map(|(at, line)| at..at + line.len()));
    let name = |at: &Range<usize>| {
        let next = text[at.end..].trim_start().lines().next().unwrap_or("");
        let plain: String = next.chars().filter(|c| !c.is_ascii_digit()).collect();
        format!("{} {}, before {plain}", kernel.file, kernel.entry)
    };
    found.map(|at| (name(&at), at)).collect()
}

/// Runs something on devices that each lack one barrier, for every barrier not yet shown to be needed.
fn without_barriers(
    target: Target,
    needed: &Mutex<BTreeMap<String, bool>>,
    run: impl Fn(&mut InStep) -> Result<(), Finding>,
) {
    let met = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&met);
    let look = move |kernel: &Kernel, text: String| {
        all.lock().unwrap().extend(barriers(kernel, &text).into_iter().map(|(name, at)| (name, at, text.clone())));
        text
    };
    run(&mut InStep::with(target, Arc::new(look))).unwrap();
    for (name, at, of) in met.lock().unwrap().drain(..) {
        if *needed.lock().unwrap().entry(name.clone()).or_default() {
            continue;
        }
        let leave_out = move |_: &Kernel, mut text: String| {
            if text == of {
                text.replace_range(at.clone(), "");
            }
            text
        };
        if let Err(fault) = run(&mut InStep::with(target, Arc::new(leave_out))) {
            let fault = fault.to_string();
            assert!(fault.contains("a race for") || fault.contains("but not written"), "{name}: {fault}");
            needed.lock().unwrap().insert(name, true);
        }
    }
}

#[test]
fn each_barrier_is_needed_and_missed_where_it_is_left_out() {
    let needed = Mutex::new(BTreeMap::new());
    let mut all = cases();
    all.sort_by_key(|case| case.tensors().iter().map(Tensor::len).sum::<usize>());
    for case in all.iter().filter(|case| case.tensors().iter().all(|tensor| tensor.len() < 4000)) {
        for target in [Target::DISCRETE, Target::INTEGRATED, Target::SOFTWARE] {
            without_barriers(target, &needed, |device| check::against_twin(case, device));
        }
    }
    for convolution in &check::convolutions()[..8] {
        without_barriers(on_units(UNITS[0]), &needed, |device| convolution.check(device));
    }
    let needed = needed.into_inner().unwrap();
    assert!(needed.len() > 10, "{needed:?}");
    let idle: Vec<&String> = needed.iter().filter(|(_, needed)| !**needed).map(|(name, _)| name).collect();
    assert!(idle.is_empty(), "nothing misses {idle:#?}");
}

/// Runs a kernel of eight invocations, `groups` times, on a buffer of 16 zeros.
fn run(body: &str, groups: u32) -> Result<Vec<u32>, String> {
    let text = format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
        var<workgroup> kept: array<u32, 8>;
        @compute @workgroup_size(8)
        fn main(@builtin(local_invocation_index) i: u32, @builtin(global_invocation_id) id: vec3<u32>) {{ {body} }}"
    );
    let memories = Shader::new(&text)?.run(vec![vec![0; 16]], [groups, 1, 1], 8)?;
    Ok(memories[0].cells.clone())
}

#[test]
fn what_no_barrier_orders_is_found() {
    let turned = run("kept[i] = i; workgroupBarrier(); out[id.x] = kept[7u - i];", 2).unwrap();
    assert_eq!(turned, [7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0]);
    for (body, groups, fault) in [
        (
            "kept[i] = i; out[i] = kept[7u - i];",
            1,
            "a race for kept[7]: 7 of workgroup 0 writes, 0 of workgroup 0 reads",
        ),
        (
            "kept[i] = i; workgroupBarrier(); out[i] = kept[7u - i]; kept[i] = 0u;",
            1,
            "a race for kept[0]: 7 of workgroup 0 reads, 0",
        ),
        ("out[i / 2u] = 1u;", 1, "a race for out[0]: 0 of workgroup 0 writes, 1 of workgroup 0 writes"),
        ("out[i] = i;", 2, "a race for out[0]: 0 of workgroup 0 writes, 0 of workgroup 1 writes"),
        ("out[id.x] = out[0];", 2, "a race for out[0]"),
        // A workgroup barrier orders nothing in a buffer.
        ("out[i] = i; workgroupBarrier(); out[i + 8u] = out[7u - i];", 1, "a race for out[7]"),
        ("if i < 4u { workgroupBarrier(); } out[i] = i;", 1, "arrive"),
        ("for (var j = 0u; j < i; j++) { workgroupBarrier(); } out[i] = i;", 1, "arrive"),
        ("out[i] = kept[i];", 1, "kept[0] is read, but not written"),
        ("out[i + 9u] = i;", 1, "a write past the end of out"),
    ] {
        let found = run(body, groups).unwrap_err();
        assert!(found.contains(fault), "{body}: {found}");
    }
    run("out[i] = i; storageBarrier(); out[i + 8u] = out[7u - i];", 1).unwrap();
}

#[test]
fn loops_switches_and_returns_go_each_invocations_own_way() {
    let body = "var sum = 0u;
        for (var j = 0u; j < 10u; j++) {
            if j == i { continue; }
            if j > i + 3u { break; }
            switch j { case 1u, 2u: { sum += 100u; } default: { if j == 0u { break; } sum += j; } }
        }
        if i == 5u { return; }
        out[i] = sum;";
    let of =
        |i: u32| (0..10.min(i + 4)).filter(|j| *j != i).map(|j| if j == 1 || j == 2 { 100 } else { j }).sum::<u32>();
    let wanted: Vec<u32> = (0..8).map(|i| if i == 5 { 0 } else { of(i) }).collect();
    assert_eq!(run(body, 1).unwrap()[..8], wanted);
}

#[test]
#[ignore = "prints what a training step asks of a card's caches, and checks nothing"]
fn traffic_of_a_training_step() {
    let network = std::env::var("TRAFFIC").unwrap_or_else(|_| "cnn".into());
    let target = match std::env::var("TARGET").as_deref() {
        Ok("integrated") => Target::INTEGRATED,
        _ => Target::DISCRETE,
    };
    let architecture = builtin(&network).unwrap();
    let settings = Settings::from_recipe(&network, &architecture.recipe);
    let set = mnist::embedded().unwrap().train.select(&(0..640).collect::<Vec<_>>());
    let mut store = Store::default();
    let (built, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
    let normalization = Normalization::of(&set);
    let steps = ClassifierSteps::declare(&mut store, &built, parameters, &settings, &set, normalization, Share::WHOLE);
    let mut steps = steps.unwrap();
    let mut device = InStep::new(target);
    device.traffic = Some(Vec::new());
    device.allocate(&store).unwrap();
    steps.upload(&mut device, &set).unwrap();
    let first = steps.initial(3);
    steps.load(&mut device, &first).unwrap();
    steps.run(&mut device, 0, 1).unwrap();
    println!(
        "{:40} {:>10} {:>24} {:>24}",
        "op, result", "workgroups", "lines of each, of least", "turns of each, of least"
    );
    for (name, workgroups, traffic) in device.traffic.unwrap() {
        let each = |count: usize, least: usize| {
            let of_least = if least > 0 { format!("{:.2}", count as f64 / least as f64) } else { "-".into() };
            format!("{:.0}, {of_least}", count as f64 / f64::from(traffic.workgroups.max(1)))
        };
        let lines = each(traffic.lines, traffic.least_lines);
        println!("{name:40} {workgroups:>10} {lines:>24} {:>24}", each(traffic.turns, traffic.least_turns));
    }
}
