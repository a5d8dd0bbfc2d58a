//! A step needs nothing from the host: memory stays as it is, and steps go to a device in a few submissions.

mod golden;

use std::sync::Mutex;

use golden::gpu;
use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::graph::Store;
use inkgrad::infer::evaluate::Normalization;
use inkgrad::models::{Parameters, builtin};
use inkgrad::train::{Classifier, Settings};

/// One test at a time: they measure the process.
static ALONE: Mutex<()> = Mutex::new(());

/// `dense` in batches of 16, ready to run.
fn dense(device: &mut dyn Device) -> Classifier {
    let set: ImageSet = mnist::embedded().unwrap().train.select(&(0..640).collect::<Vec<_>>());
    let architecture = builtin("dense").unwrap();
    let settings = Settings { epochs: 50, batch: 16, ..Settings::from_recipe("dense", &architecture.recipe) };
    let mut store = Store::default();
    let mut parameters = Parameters::new(&mut store, "classifier");
    let network = architecture.declare([28, 28, 1], 10, &mut store, &mut parameters).unwrap();
    let normalization = Normalization::of(&set);
    let mut classifier = Classifier::declare(&mut store, &network, parameters, &settings, &set, normalization).unwrap();
    device.allocate(&store).unwrap();
    classifier.upload(device, &set).unwrap();
    classifier.load(device, &classifier.initial(0)).unwrap();
    classifier
}

/// Bytes of memory that the process holds, where the system tells.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    // Pages are of 4 KiB or more.
    statm.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

fn memory_stays(what: &str, device: &mut dyn Device) {
    let classifier = dense(device);
    let mut step = 0;
    let mut run_to = |end: usize| {
        while step < end {
            let losses = classifier.run(device, step, 100).unwrap();
            assert!(losses.iter().all(|[loss, _]| loss.is_finite()));
            step += 100;
        }
        resident()
    };
    let (Some(before), Some(after)) = (run_to(200), run_to(2000)) else {
        eprintln!("SKIPPED memory_stays_as_it_is on the {what}: /proc/self/statm is not there");
        return;
    };
    eprintln!("{what}: {} KiB after 200 steps, {} KiB after 2000", before / 1024, after / 1024);
    // A leak of the hidden layer, 16 x 64 floats a step, would be 7 MB.
    assert!(after < before + (4 << 20), "{what}: {before} bytes after 200 steps, {after} after 2000");
}

#[test]
fn memory_stays_as_it_is_over_two_thousand_steps() {
    let _alone = ALONE.lock();
    memory_stays("CPU", &mut Cpu::new());
    if let Some(mut gpu) = gpu("memory_stays_as_it_is_over_two_thousand_steps") {
        memory_stays("GPU", &mut gpu);
    }
}

#[test]
fn many_training_steps_are_few_submissions_and_one_read() {
    let _alone = ALONE.lock();
    let Some(mut gpu) = gpu("many_training_steps_are_few_submissions_and_one_read") else { return };
    let classifier = dense(&mut gpu);
    // The pace is learnt from the first submissions.
    classifier.run(&mut gpu, 0, 200).unwrap();
    let before = gpu.counters();
    let began = std::time::Instant::now();
    classifier.run(&mut gpu, 200, 200).unwrap();
    let after = gpu.counters();
    let submissions = after.submissions - before.submissions;
    eprintln!("200 steps: {submissions} submissions in {:?}", began.elapsed());
    assert_eq!(after.dispatches - before.dispatches, 200 * classifier.plan.dispatches.len() as u64);
    // The read of the ring, after all of them.
    assert_eq!(after.reads - before.reads, 1);
    // A submission is aimed at a tenth of a second; a slow adapter needs some.
    assert!(submissions <= 20, "200 steps took {submissions} submissions");
}
