//! Whole runs: what they leave behind, how they go on after a stop, and how they end.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use inkgrad::data::{DataSet, mnist};
use inkgrad::device::{Device, cpu::Cpu, several::Several};
use inkgrad::models::{Architecture, Augmentation, BUILTINS, ModelFile, OptimizerName, ScheduleName, Words};
use inkgrad::train::metrics::Metrics;
use inkgrad::train::{Event, Folder, Outcome, Run, Settings, TrainError};

use crate::golden::devices;

/// The first images of MNIST.
fn data(images: usize) -> DataSet {
    static MNIST: OnceLock<DataSet> = OnceLock::new();
    let all = MNIST.get_or_init(|| mnist::embedded().unwrap());
    let first = |n: usize| (0..n).collect::<Vec<_>>();
    DataSet::new(
        all.name.clone(),
        all.train.select(&first(images)),
        all.test.select(&first(300)),
        all.class_names.clone(),
    )
}

/// A built-in architecture; `avgcnn` with an eighth of its channels, so that a software adapter can train it.
fn architecture(model: &str) -> Architecture {
    let (_, text) = BUILTINS.iter().find(|(name, _)| *name == model).unwrap();
    let text =
        text.replace("conv = 32", "conv = 4").replace("conv = 64", "conv = 8").replace("dense = 128", "dense = 32");
    Architecture::parse(&text, model).unwrap()
}

/// Everything on: averaged weights, validation, a warm-up, decay.
fn settings(model: &str) -> Settings {
    Settings {
        seed: 7,
        epochs: 3,
        batch: 32,
        optimizer: OptimizerName::AdamW,
        learning_rate: 2e-3,
        warmup: 0.5,
        weight_decay: 0.01,
        label_smoothing: 0.05,
        average: 0.9,
        validation: 60,
        patience: 0,
        ..Settings::from_recipe(model, &architecture(model).recipe)
    }
}

/// Trains, or resumes, in a folder; stops after the first chunk that ends at step `until` or later.
fn train(
    device: &mut dyn Device,
    folder: &Folder,
    settings: &Settings,
    images: usize,
    until: Option<usize>,
) -> Result<Outcome, TrainError> {
    train_on(device, folder, settings, data(images), until)
}

/// [`train`] on other images.
fn train_on(
    device: &mut dyn Device,
    folder: &Folder,
    settings: &Settings,
    data: DataSet,
    until: Option<usize>,
) -> Result<Outcome, TrainError> {
    let stop = AtomicBool::new(false);
    let architecture = architecture(&settings.model);
    folder.begin(architecture.text(), None, settings)?;
    let mut report = |event: Event| {
        if let (Event::Trained { step, .. }, Some(until)) = (event, until) {
            stop.store(step >= until, Ordering::Relaxed);
        }
    };
    let (settings, folder) = (settings.clone(), folder.clone());
    Run { settings, architecture, data, folder, device, stop: &stop, report: &mut report }.train()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Asserts that two folders hold the same bytes in each of these files, without printing pages of differences.
fn assert_same(what: &str, a: &Folder, b: &Folder) {
    for name in ["last.safetensors", "best.safetensors", "metrics.csv", "curves.png", "result.toml"] {
        let same = bytes(&a.path().join(name)) == bytes(&b.path().join(name));
        assert!(same, "{what}: {name} differs");
    }
}

#[test]
fn the_same_seed_on_the_same_device_gives_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    for (_, open) in devices("the_same_seed_on_the_same_device_gives_the_same_bytes") {
        for (model, images, epochs) in [("dense", 2000, 2), ("avgcnn", 500, 1)] {
            let run = |seed| {
                let mut device = open();
                let folder = Folder::create(parent.path(), model).unwrap();
                let settings = Settings { seed, epochs, ..settings(model) };
                assert!(matches!(
                    train(device.as_mut(), &folder, &settings, images, None),
                    Ok(Outcome::Finished { .. })
                ));
                (folder, device.name())
            };
            let ((first, name), (second, _)) = (run(7), run(7));
            assert_same(&format!("{model} on {name}"), &first, &second);
            if model == "dense" {
                let (other, _) = run(8);
                assert!(bytes(&first.best()) != bytes(&other.best()), "another seed gives other weights");
            }
        }
    }
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    for (_, open) in devices("a_run_that_was_stopped_and_resumed_ends_with_the_same_bytes") {
        // 580 images in batches of 32: 18.125 steps an epoch, so that batches straddle epochs. Dropout, batch norm.
        let (settings, images) = (settings("avgcnn"), 640);
        let [whole, stopped] = [(), ()].map(|()| Folder::create(parent.path(), "avgcnn").unwrap());
        assert!(matches!(train(open().as_mut(), &whole, &settings, images, None), Ok(Outcome::Finished { .. })));
        // Within the first epoch, at its end, within the second. Chunks begin at one step and at most double.
        for (until, within) in [(5, 5..19), (19, 19..20), (21, 21..37)] {
            match train(open().as_mut(), &stopped, &settings, images, Some(until)) {
                Ok(Outcome::Stopped { step }) => {
                    assert!(within.contains(&step), "stopped at {step}, not in {within:?}")
                }
                other => panic!("{other:?}"),
            }
        }
        let mut device = open();
        let resumed = train(device.as_mut(), &stopped, &settings, images, None).unwrap();
        assert!(matches!(resumed, Outcome::Finished { epochs: 3, .. }), "{resumed:?}");
        assert_same(&format!("resumed on {}", device.name()), &whole, &stopped);

        // When it is resumed once more, there is nothing left to train, and the test says the same.
        train(device.as_mut(), &stopped, &settings, images, None).unwrap();
        assert_same(&format!("resumed at the end on {}", device.name()), &whole, &stopped);
    }
}

#[test]
fn the_checkpoint_that_a_run_goes_on_from_takes_the_place_of_a_damaged_one() {
    let parent = tempfile::tempdir().unwrap();
    let [whole, halted] = [(), ()].map(|()| Folder::create(parent.path(), "dense").unwrap());
    let train = |folder: &Folder, until| train(&mut Cpu::new(), folder, &settings("dense"), 640, until).unwrap();
    train(&whole, None);
    // 18.125 steps an epoch: the checkpoint before the last is that of the first epoch's end.
    train(&halted, Some(21));
    let mut damaged = bytes(&halted.last());
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(halted.last(), damaged).unwrap();
    let stopped = train(&halted, Some(20));
    assert!(matches!(stopped, Outcome::Stopped { step: 20 }), "{stopped:?}");
    // Should this one be damaged in its turn, there is another again.
    let step = |path: &Path| ModelFile::load(path).unwrap().u32s("clock").unwrap()[0];
    assert_eq!((step(&halted.last()), step(&halted.path().join("previous.safetensors"))), (20, 19));
    train(&halted, None);
    assert_same("after a damaged checkpoint", &whole, &halted);
}

#[test]
fn a_run_from_a_model_begins_with_its_weights_and_statistics_and_the_background_of_its_own_images() {
    let parent = tempfile::tempdir().unwrap();
    let [first, further] = [(), ()].map(|()| Folder::create(parent.path(), "avgcnn").unwrap());
    let settings = Settings { epochs: 1, snapshots: 1, ..settings("avgcnn") };
    train(&mut Cpu::new(), &first, &settings, 300, None).unwrap();
    let origin = first.load_best().unwrap();
    further.begin(architecture("avgcnn").text(), Some(&origin), &settings).unwrap();
    let mut light = data(300);
    light.train.images.iter_mut().for_each(|byte| *byte = 255 - *byte);
    train_on(&mut Cpu::new(), &further, &settings, light, None).unwrap();
    let begun = ModelFile::load(further.path().join("snapshots/000000.safetensors")).unwrap();
    assert!(begun.tensors == origin.tensors, "other weights or statistics");
    for key in ["mean", "std"] {
        assert_eq!(begun.metadata[key], origin.metadata[key]);
    }
    assert!(!origin.metadata.contains_key("background"));
    assert_eq!(begun.metadata["background"], "255");
}

/// The numbers of a model file's tensors whose names begin so.
fn numbers(file: &ModelFile, name: &str) -> Vec<f32> {
    let tensors = file.tensors.iter().filter(|tensor| tensor.name.starts_with(name));
    let words = tensors.flat_map(|tensor| match &tensor.words {
        Words::F32(words) => words,
        Words::U32(_) => panic!("{} holds whole numbers", tensor.name),
    });
    words.copied().collect()
}

#[test]
fn the_first_moment_of_adam_and_its_kin_decays_by_the_momentum_of_the_settings() {
    let parent = tempfile::tempdir().unwrap();
    for optimizer in [OptimizerName::Adam, OptimizerName::Nadam, OptimizerName::AdamW] {
        let folder = Folder::create(parent.path(), "dense").unwrap();
        // A single step.
        let settings = Settings { optimizer, momentum: 0.3, epochs: 1, batch: 40, validation: 0, ..settings("dense") };
        train(&mut Cpu::new(), &folder, &settings, 40, None).unwrap();
        let last = ModelFile::load(folder.last()).unwrap();
        let sum = |moment: &str, power: i32| -> f64 {
            numbers(&last, moment).iter().map(|x| f64::from(*x).powi(power)).sum()
        };
        // Of its gradients g, the moments are (1 - momentum) g and (1 - 0.999) g^2.
        let ratio = sum("moment0/", 2) / sum("moment1/", 1);
        assert!((ratio / (0.7 * 0.7 / 0.001) - 1.0).abs() < 1e-3, "{optimizer}: {ratio}");
    }
}

#[test]
fn smoothed_labels_are_what_is_learned() {
    let (parent, set) = (tempfile::tempdir().unwrap(), data(200));
    // One step of plain descent on the whole set.
    let biases = |label_smoothing: f32| {
        let folder = Folder::create(parent.path(), "dense").unwrap();
        let plain = Settings {
            optimizer: OptimizerName::Sgd,
            momentum: 0.0,
            learning_rate: 0.5,
            schedule: ScheduleName::Constant,
            warmup: 0.0,
            weight_decay: 0.0,
            average: 0.0,
            validation: 0,
            epochs: 1,
            batch: 200,
            ..settings("dense")
        };
        let settings = Settings { label_smoothing, ..plain };
        train_on(&mut Cpu::new(), &folder, &settings, set.clone(), None).unwrap();
        numbers(&ModelFile::load(folder.last()).unwrap(), "dense2.bias")
    };
    let (smoothed, plain) = (biases(0.4), biases(0.0));
    assert_eq!(plain.len(), 10);
    // A bias follows the mean of the label minus the probability, which is the same in both before the step.
    for (class, count) in set.train.counts().into_iter().enumerate() {
        let wanted = 0.5 * 0.4 * (0.1 - count as f32 / 200.0);
        let found = smoothed[class] - plain[class];
        assert!((found - wanted).abs() < 1e-6, "class {class}: {found}, not {wanted}");
    }
}

/// Every augmentation at once.
fn augmented() -> Augmentation {
    Augmentation {
        rotate: 15.0,
        shift: 0.1,
        zoom: 0.1,
        shear: 5.0,
        elastic: 1.4,
        erase: 0.3,
        noise: 0.05,
        quarter_turns: true,
        extend: true,
    }
}

#[test]
fn an_augmented_run_that_was_stopped_and_resumed_ends_with_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    let mut devices = devices("an_augmented_run_that_was_stopped_and_resumed_ends_with_the_same_bytes");
    // Two that share every batch: each has its part of it, and draws of its own.
    devices.push(("two CPUs", || Several::join(vec![Box::new(Cpu::new()), Box::new(Cpu::new())]).unwrap()));
    for (_, open) in devices {
        // 40 images at 77 places, in batches of 32: 96.25 steps an epoch.
        let settings = Settings { augment: augmented(), epochs: 2, ..settings("dense") };
        let [whole, stopped] = [(), ()].map(|()| Folder::create(parent.path(), "dense").unwrap());
        assert!(matches!(train(open().as_mut(), &whole, &settings, 100, None), Ok(Outcome::Finished { .. })));
        match train(open().as_mut(), &stopped, &settings, 100, Some(10)) {
            Ok(Outcome::Stopped { step }) => assert!((10..193).contains(&step), "stopped at {step}"),
            other => panic!("{other:?}"),
        }
        let mut device = open();
        let resumed = train(device.as_mut(), &stopped, &settings, 100, None).unwrap();
        assert!(matches!(resumed, Outcome::Finished { epochs: 2, .. }), "{resumed:?}");
        assert_same(&format!("resumed on {}", device.name()), &whole, &stopped);
    }
}

#[test]
fn both_devices_draw_the_same_augmentations_and_have_the_same_losses() {
    let devices = devices("both_devices_draw_the_same_augmentations_and_have_the_same_losses");
    let parent = tempfile::tempdir().unwrap();
    let settings = Settings { augment: augmented(), epochs: 1, validation: 0, ..settings("dense") };
    let losses: Vec<Vec<f64>> = devices
        .iter()
        .map(|(_, open)| {
            let folder = Folder::create(parent.path(), "dense").unwrap();
            train(open().as_mut(), &folder, &settings, 40, None).unwrap();
            let text = fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
            Metrics::parse(&text).unwrap().rows.iter().take(20).map(|row| row.loss).collect()
        })
        .collect();
    assert!(losses[0].len() == 20);
    for other in &losses[1..] {
        for (step, (a, b)) in losses[0].iter().zip(other).enumerate() {
            // A pixel is taken from a place that is off by some 1e-5 of a pixel, and training goes on from there.
            assert!((a - b).abs() < 1e-3 * a, "row {step}: {a} and {b}");
        }
    }
}

#[test]
fn both_devices_have_the_same_losses_over_the_first_steps() {
    let devices = devices("both_devices_have_the_same_losses_over_the_first_steps");
    let parent = tempfile::tempdir().unwrap();
    // Every step rounds differently, by about 1e-7, and later steps multiply the errors of earlier ones: a hundred
    // times that for a plain network, a thousand times for one whose batch norm divides by small deviations.
    for (model, distance) in [("dense", 1e-5), ("avgcnn", 1e-4)] {
        let losses: Vec<Vec<f64>> = devices
            .iter()
            .map(|(_, open)| {
                let folder = Folder::create(parent.path(), model).unwrap();
                let settings = Settings { epochs: 1, validation: 0, ..settings(model) };
                train(open().as_mut(), &folder, &settings, 640, None).unwrap();
                let metrics = Metrics::parse(&fs::read_to_string(folder.path().join("metrics.csv")).unwrap()).unwrap();
                metrics.rows.iter().map(|row| row.loss).collect()
            })
            .collect();
        assert!(losses.iter().all(|losses| losses.len() == 20), "a row for each of twenty steps");
        let [cpu, gpu] = &losses[..] else { continue };
        for (step, (a, b)) in cpu.iter().zip(gpu).enumerate() {
            assert!((a / b - 1.0).abs() <= distance, "{model}, step {step}: {a} on the CPU, {b} on the GPU");
        }
        let worst = cpu.iter().zip(gpu).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        eprintln!("{model}: the losses of twenty steps differ by {worst:.1e} at most");
        assert!(cpu[19] < cpu[0], "{model} learns: {cpu:?}");
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_good_checkpoint() {
    let parent = tempfile::tempdir().unwrap();
    for (_, open) in devices("a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_good_checkpoint") {
        let folder = Folder::create(parent.path(), "dense").unwrap();
        let good = settings("dense");
        let stopped = train(open().as_mut(), &folder, &good, 640, Some(25));
        assert!(matches!(stopped, Ok(Outcome::Stopped { .. })), "{stopped:?}");
        let before = [bytes(&folder.last()), bytes(&folder.best())];

        let absurd = Settings { learning_rate: 1e30, ..good };
        let error = train(open().as_mut(), &folder, &absurd, 640, None).unwrap_err();
        match &error {
            TrainError::NotFinite { step, epoch, rate, .. } => {
                assert!((25..57).contains(step) && [2, 3].contains(epoch) && *rate == 1e30, "{error}");
            }
            _ => panic!("{error}"),
        }
        assert!(error.to_string().contains("--learning-rate"), "{error}");
        assert!([bytes(&folder.last()), bytes(&folder.best())] == before, "the checkpoint was touched");
        // And it can be resumed with the rate it was made with.
        let resumed = train(open().as_mut(), &folder, &settings("dense"), 640, None);
        assert!(matches!(resumed, Ok(Outcome::Finished { .. })), "{resumed:?}");
    }
}

#[test]
fn a_weight_decay_that_no_weight_outlives_is_named_where_the_loss_is_no_number() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    let absurd = Settings { weight_decay: 1e30, ..settings("dense") };
    let error = train(&mut Cpu::new(), &folder, &absurd, 640, None).unwrap_err().to_string();
    let words = "try a smaller --weight-decay than 1e30, or a smaller --learning-rate than 0.002";
    assert!(error.contains(words), "{error}");
}

#[test]
fn weights_spoilt_by_the_last_step_of_an_epoch_are_never_saved() {
    let parent = tempfile::tempdir().unwrap();
    // One step an epoch: its loss is fine, the weights that it leaves are not.
    for validation in [0, 40] {
        let folder = Folder::create(parent.path(), "dense").unwrap();
        let rest = settings("dense");
        let absurd = Settings {
            learning_rate: 3e38,
            batch: 100,
            warmup: 0.0,
            average: 0.0,
            weight_decay: 100.0,
            validation,
            epochs: 1,
            ..rest
        };
        let error = train(&mut Cpu::new(), &folder, &absurd, 100 + validation, None).unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
        assert!(!folder.last().exists() && !folder.best().exists(), "validation {validation}: something was saved");
    }
}

#[test]
fn a_run_without_progress_stops_early_and_keeps_its_best_epoch() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    // So small a rate that no validation image changes sides.
    let still = Settings { learning_rate: 1e-12, epochs: 50, patience: 2, ..settings("dense") };
    for time in 0..3 {
        // The second time it is resumed after its end, and stays there; so it does without its checkpoint.
        if time == 2 {
            fs::remove_file(folder.last()).unwrap();
        }
        match train(&mut Cpu::new(), &folder, &still, 640, None) {
            Ok(Outcome::Finished { best_epoch, epochs, .. }) => assert_eq!((best_epoch, epochs), (1, 3)),
            other => panic!("{other:?}"),
        }
    }
    let result = fs::read_to_string(folder.path().join("result.toml")).unwrap();
    assert!(result.contains("best_epoch = 1\ntest_images = 300\n"), "{result}");
}

#[test]
fn a_run_is_not_called_by_a_path_to_its_model() {
    let parent = tempfile::tempdir().unwrap();
    for model in ["nets/mine", "nets/", "../mine"] {
        let refused = Folder::create(parent.path(), model).unwrap_err().to_string();
        assert!(refused.contains("give the model's name alone"), "{refused}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_run_is_numbered_after_all_that_are_there_even_where_one_was_removed() {
    let parent = tempfile::tempdir().unwrap();
    let [first, _, _] = ["a", "b", "c"].map(|model| Folder::create(parent.path(), model).unwrap());
    fs::remove_dir_all(first.path()).unwrap();
    let next = Folder::create(parent.path(), "d").unwrap();
    assert!(next.path().ends_with("0004-d"), "{}", next.path().display());
}
