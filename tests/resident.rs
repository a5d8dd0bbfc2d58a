//! A step needs nothing from the host: memory stays as it is, and steps go to a device in a few submissions. Only the
//! images of a set that is too large come from the host, which makes no difference. Nor does the number of devices that
//! share a batch.

mod golden;

use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use golden::gpu;
use inkgrad::data::{ImageSet, mnist};
use inkgrad::device::several::Several;
use inkgrad::device::{Device, DeviceError, Origin, PlanId, cpu::Cpu};
use inkgrad::graph::{BufferId, Store};
use inkgrad::models::{Architecture, Augmentation, Normalization, builtin};
use inkgrad::plan::Plan;
use inkgrad::train::{ClassifierSteps, Settings, Share};

/// One test at a time: they measure the process.
static ALONE: Mutex<()> = Mutex::new(());

/// `dense` in batches of 16, ready to run.
fn dense(device: &mut dyn Device) -> ClassifierSteps {
    begun(device, 640, Augmentation::default(), 16, Share::WHOLE)
}

/// `dense` on this many digits.
fn begun(device: &mut dyn Device, digits: usize, augment: Augmentation, batch: usize, share: Share) -> ClassifierSteps {
    let architecture = builtin("dense").unwrap();
    let recipe = Settings::from_recipe("dense", &architecture.recipe);
    let settings = Settings { epochs: 50, batch, augment, ..recipe };
    set_up(device, &architecture, &settings, digits, share)
}

fn set_up(
    device: &mut dyn Device,
    architecture: &Architecture,
    settings: &Settings,
    digits: usize,
    share: Share,
) -> ClassifierSteps {
    let set: ImageSet = mnist::embedded().unwrap().train.select(&(0..digits).collect::<Vec<_>>());
    let mut store = Store::default();
    let (network, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
    let normalization = Normalization::of(&set);
    let mut classifier =
        ClassifierSteps::declare(&mut store, &network, parameters, settings, &set, normalization, share).unwrap();
    device.allocate(&store).unwrap();
    classifier.upload(device, &set).unwrap();
    let first = classifier.initial(3);
    classifier.load(device, &first).unwrap();
    classifier
}

/// Bytes of memory that the process holds, if the system tells.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    // Pages are of 4 KiB or more.
    statm.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

fn memory_stays(what: &str, device: &mut dyn Device) {
    let mut classifier = dense(device);
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
fn a_step_of_buffers_that_another_run_has_replaced_is_refused_and_leaves_the_other_as_it_is() {
    let _alone = ALONE.lock();
    for mut device in one_of_each("a_step_of_buffers_that_another_run_has_replaced_is_refused") {
        let share = Share::of(device.as_ref());
        // With the images resident on the device, and sent as steps need them.
        for share in [share, Share { room: 3 * 16 * 784, ..share }] {
            let begin = |device: &mut dyn Device| begun(device, 640, Augmentation::default(), 16, share);
            let undisturbed = begin(device.as_mut()).run(device.as_mut(), 0, 3).unwrap();
            let (mut old, mut new) = (begin(device.as_mut()), begin(device.as_mut()));
            let mut losses = new.run(device.as_mut(), 0, 1).unwrap();
            let before = new.save(device.as_mut()).unwrap();
            // Of a step whose images are not those that the other's next steps need.
            let error = old.run(device.as_mut(), 30, 5).unwrap_err();
            assert!(matches!(error, DeviceError::Stale { .. }), "{error}");
            assert!(new.save(device.as_mut()).unwrap() == before, "{}", device.name());
            losses.extend(new.run(device.as_mut(), 1, 2).unwrap());
            assert!(losses == undisturbed, "{}: {losses:?}, not {undisturbed:?}", device.name());
        }
    }
}

fn by_and_by(what: &str, device: &mut dyn Device) {
    let extended = Augmentation { extend: true, ..Augmentation::default() };
    for (batch, augment) in [(16, Augmentation::default()), (15, extended)] {
        let mut trained = |room: u64, pieces: &[usize]| {
            let mut classifier = begun(device, 101, augment, batch, Share { room, parts: 1 });
            let mut losses = Vec::new();
            for piece in pieces {
                losses.extend(classifier.run(device, losses.len(), *piece).unwrap());
            }
            (losses, classifier.save(device).unwrap())
        };
        let whole = trained(u64::MAX, &[40]);
        // Room for three steps, and for less than one, in pieces whose ends are not those of such threes.
        assert!(trained(3 * 16 * 784, &[1, 4, 20, 15]) == whole, "{what}");
        assert!(trained(1, &[40]) == whole, "{what}");
    }
}

#[test]
fn a_set_whose_images_come_by_and_by_trains_as_one_that_lies_on_the_device() {
    let _alone = ALONE.lock();
    by_and_by("CPU", &mut Cpu::new());
    if let Some(mut gpu) = gpu("a_set_whose_images_come_by_and_by_trains_as_one_that_lies_on_the_device") {
        by_and_by("GPU", &mut gpu);
    }
}

/// A device that fails after so many runs, in a given way.
struct Failing(Cpu, usize, fn() -> DeviceError);

impl Device for Failing {
    fn name(&self) -> String {
        "a card that fails".into()
    }
    fn origin(&self) -> Origin {
        self.0.origin()
    }
    fn room(&self) -> u64 {
        self.0.room()
    }
    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.0.allocate(store)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.0.write(buffer, offset, words)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        self.0.read(buffer, offset, out)
    }
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        self.0.prepare(plan)
    }
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        // With 0 times it is not a run, but the question whether it has these plans.
        if times > 0 {
            self.1 = self.1.checked_sub(1).ok_or_else(self.2)?;
        }
        self.0.run(plans, times)
    }
    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        self.0.profile(plan, times)
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.0.wait()
    }
}

/// The CPU, two CPUs as one device, and a GPU if there is one; if there is none, that is said in the name of `test`.
fn one_of_each(test: &str) -> Vec<Box<dyn Device>> {
    let mut devices = vec![Box::new(Cpu::new()) as Box<dyn Device>];
    devices.push(joined(vec![Box::new(Cpu::new()), Box::new(Cpu::new())]));
    devices.extend(gpu(test).map(|gpu| Box::new(gpu) as Box<dyn Device>));
    devices
}

fn joined(devices: Vec<Box<dyn Device>>) -> Box<dyn Device> {
    Several::join(devices).unwrap()
}

#[test]
fn devices_that_share_a_batch_learn_what_one_learns_from_all_of_it() {
    let _alone = ALONE.lock();
    let learned = |device: &mut dyn Device, share: Share| {
        let mut classifier = begun(device, 640, Augmentation::default(), 24, share);
        let losses = [(0, 25), (25, 15)].map(|(first, steps)| classifier.run(device, first, steps).unwrap()).concat();
        (losses, classifier.save(device).unwrap())
    };
    let (alone, state) = learned(&mut Cpu::new(), Share::WHOLE);
    let mut teams: Vec<Vec<Box<dyn Device>>> =
        vec![vec![Box::new(Cpu::new()), Box::new(Cpu::new())], (0..3).map(|_| Box::new(Cpu::new()) as _).collect()];
    if let Some(gpu) = gpu("devices_that_share_a_batch_learn_what_one_learns_from_all_of_it") {
        teams.push(vec![Box::new(gpu), Box::new(Cpu::new())]);
    }
    for team in teams {
        let mut device = joined(team);
        let share = Share::of(device.as_ref());
        // With the images resident on the devices, and sent as steps need them.
        for share in [share, Share { room: 20_000, ..share }] {
            let (losses, after) = learned(device.as_mut(), share);
            assert_eq!(after.step, state.step);
            for (i, (one, together)) in alone.iter().zip(&losses).enumerate() {
                let apart = (one[0] - together[0]).abs();
                assert!(
                    apart < 2e-4 && (one[1] - together[1]).abs() < 1e-6,
                    "{}, step {i}: {one:?} {together:?}",
                    device.name()
                );
            }
            let weights = state.learned.values.weights.iter().zip(&after.learned.values.weights);
            let apart = weights.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 2e-3, "{}: {apart}", device.name());
            // Once more: the same bits, in whatever order the threads met.
            assert!(learned(device.as_mut(), share) == (losses, after), "{}", device.name());
        }
    }
}

#[test]
fn statistics_of_averaged_weights_are_the_same_however_the_images_come_and_leave_training_as_it_is() {
    const NORMALISED: &str = r#"
        layers = ["flatten", { dense = 8 }, { batch_norm = true, activation = "relu" }, { dense = "classes" }]
    "#;
    let _alone = ALONE.lock();
    let architecture = Architecture::parse(NORMALISED, "normalised.toml").unwrap();
    let recipe = Settings::from_recipe("normalised", &architecture.recipe);
    let settings = Settings { epochs: 9, batch: 16, average: 0.9, ..recipe };
    for mut device in one_of_each("statistics_of_averaged_weights_are_the_same_however_the_images_come") {
        let share = Share::of(device.as_ref());
        let mut learned = |room: u64, calibrated: &[usize]| {
            let mut classifier = set_up(device.as_mut(), &architecture, &settings, 101, Share { room, ..share });
            for step in 0..20 {
                classifier.run(device.as_mut(), step, 1).unwrap();
                if calibrated.contains(&step) {
                    classifier.calibrate(device.as_mut()).unwrap();
                }
            }
            (classifier.learner.inference(device.as_mut()).unwrap(), classifier.save(device.as_mut()).unwrap())
        };
        let whole = learned(u64::MAX, &[19]);
        let [averaged, raw] = [&whole.0, &whole.1.learned.values];
        assert!(averaged.weights != raw.weights && averaged.running != raw.running, "of the weights as they train");
        // Room for three steps, and calibrated more often, in the middle of three.
        assert!(learned(3 * 16 * 784, &[3, 4, 11, 19]) == whole, "by and by");
    }
}

#[test]
fn where_one_of_several_devices_fails_all_end_with_its_error() {
    let _alone = ALONE.lock();
    for failing in [0, 1] {
        let mut team: Vec<Box<dyn Device>> = vec![Box::new(Cpu::new()), Box::new(Cpu::new())];
        let lost = || DeviceError::Lost { device: "a card that fails".into(), reason: "unplugged".into() };
        team[failing] = Box::new(Failing(Cpu::new(), 7, lost));
        let mut device = joined(team);
        let share = Share::of(device.as_ref());
        let mut classifier = begun(device.as_mut(), 64, Augmentation::default(), 16, share);
        let error = classifier.run(device.as_mut(), 0, 20).unwrap_err();
        assert!(matches!(error, DeviceError::Lost { .. }), "{error}");
    }
}

#[test]
fn where_one_of_several_devices_panics_all_end_and_the_panic_goes_on() {
    let _alone = ALONE.lock();
    for failing in [0, 1] {
        let (works, ended) = channel::<()>();
        let run = std::thread::spawn(move || {
            // Dropped when this thread ends, in whatever way.
            let _works = works;
            let mut team: Vec<Box<dyn Device>> = vec![Box::new(Cpu::new()), Box::new(Cpu::new())];
            team[failing] = Box::new(Failing(Cpu::new(), 7, || panic!("unplugged")));
            let mut device = joined(team);
            let share = Share::of(device.as_ref());
            let mut classifier = begun(device.as_mut(), 64, Augmentation::default(), 16, share);
            classifier.run(device.as_mut(), 0, 20)
        });
        let patience = Duration::from_secs(60);
        assert_eq!(ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected), "one waits for the other");
        assert_eq!(run.join().unwrap_err().downcast_ref(), Some(&"unplugged"));
    }
}

#[test]
fn many_training_steps_are_few_submissions_and_one_read() {
    let _alone = ALONE.lock();
    let Some(mut gpu) = gpu("many_training_steps_are_few_submissions_and_one_read") else { return };
    let mut classifier = dense(&mut gpu);
    // The pace is learnt from the first submissions.
    classifier.run(&mut gpu, 0, 200).unwrap();
    let before = gpu.counters();
    let began = std::time::Instant::now();
    classifier.run(&mut gpu, 200, 200).unwrap();
    let after = gpu.counters();
    let submissions = after.submissions - before.submissions;
    eprintln!("200 steps: {submissions} submissions in {:?}", began.elapsed());
    assert_eq!(after.dispatches - before.dispatches, 200 * classifier.plan.dispatches.len() as u64);
    // The one read of the ring, after all steps.
    assert_eq!(after.reads - before.reads, 1);
    // A submission is aimed at a tenth of a second; a slow adapter needs some.
    assert!(submissions <= 20, "200 steps took {submissions} submissions");
}
