//! A run that the user steers: it learns the same as one that is left alone; and what it shows on the way.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use inkgrad::data::{DataSet, mnist};
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::infer::{Evaluation, Scores};
use inkgrad::models::{Architecture, ModelFile, Words, builtin};
use inkgrad::train::metrics::{Metrics, Set};
use inkgrad::train::{Folder, Live, Outcome, Run, Settings, TrainError};

/// The first images of MNIST.
fn data(images: usize) -> DataSet {
    static MNIST: OnceLock<DataSet> = OnceLock::new();
    let all = MNIST.get_or_init(|| mnist::embedded().unwrap());
    let first = |n: usize| (0..n).collect::<Vec<_>>();
    let (train, test) = (all.train.select(&first(images)), all.test.select(&first(100)));
    DataSet::new(all.name.clone(), train, test, all.class_names.clone())
}

fn settings(model: &str) -> Settings {
    let recipe = builtin(model).unwrap().recipe;
    Settings { seed: 3, epochs: 1, batch: 32, validation: 0, average: 0.9, ..Settings::from_recipe(model, &recipe) }
}

fn start(
    device: Box<dyn Device>,
    model: &str,
    images: usize,
    settings: Settings,
    watch: usize,
) -> Result<Live, TrainError> {
    Live::start(device, &builtin(model).unwrap(), &data(images), settings, watch)
}

fn cpu() -> Box<dyn Device> {
    Box::new(Cpu::new())
}

/// A run's model as it would be in a file, whose tensors are in order of their names.
fn kept(live: &mut Live) -> ModelFile {
    let path = Path::new("kept.safetensors");
    ModelFile::from_bytes(&live.model().unwrap().to_bytes(path).unwrap(), path).unwrap()
}

/// The result of a run that is left alone, and its metrics.
fn run(model: &str, images: usize, settings: Settings) -> (ModelFile, Metrics) {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), model).unwrap();
    let (mut device, stop) = (Cpu::new(), AtomicBool::new(false));
    let run = Run {
        settings,
        architecture: builtin(model).unwrap(),
        data: data(images),
        folder: folder.clone(),
        device: &mut device,
        stop: &stop,
        report: &mut |_| {},
    };
    assert!(matches!(run.train().unwrap(), Outcome::Finished { .. }));
    let metrics = std::fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
    (folder.load_best().unwrap(), Metrics::parse(&metrics).unwrap())
}

#[test]
fn any_division_into_calls_comes_to_the_same_bits() {
    for (_, open) in crate::golden::devices("any_division_into_calls_comes_to_the_same_bits") {
        let mut runs = [(), ()].map(|()| start(open(), "dense", 640, settings("dense"), 40).unwrap());
        let whole = runs[0].steps(10).unwrap();
        let mut parts = runs[1].steps(1).unwrap();
        // Looking at it changes nothing.
        runs[1].look().unwrap();
        runs[1].filters().unwrap();
        runs[1].model().unwrap();
        assert!(runs[1].steps(0).unwrap().is_empty());
        parts.extend(runs[1].steps(9).unwrap());
        assert_eq!(whole, parts);
        let [a, b] = runs.each_mut().map(|run| run.model().unwrap());
        assert!(a == b, "other weights");
        assert_eq!(a.metadata["step"], "10");
    }
}

#[test]
fn it_learns_what_a_run_learns() {
    // Without images set aside and with them: 600 of 640 are trained on then. The last network has batch norm.
    for (model, validation, watch) in [("dense", 0, 0), ("dense", 40, 40), ("dense", 40, 10), ("fast", 0, 0)] {
        // 107 steps or 100: a row of the metrics for every two, and for the last of 107.
        let settings = Settings { validation, batch: 6, ..settings(model) };
        let (wanted, metrics) = run(model, 640, settings.clone());
        let mut live = start(cpu(), model, 640, settings, watch).unwrap();
        let losses = live.steps(usize::MAX).unwrap();
        assert_eq!((losses.len(), live.step()), (live.total(), live.total()));
        assert_eq!(live.watched().len(), watch);
        let found = kept(&mut live);
        assert!(found.tensors == wanted.tensors, "{model}, {validation} set aside, {watch} watched: other weights");
        for key in ["architecture", "mean", "std", "class_names", "data", "data_digest", "trained", "input"] {
            assert_eq!(found.metadata[key], wanted.metadata[key], "{key}");
        }
        assert!(live.steps(5).unwrap().is_empty(), "there is nothing after the end");
        let mut first = 0;
        for row in metrics.rows.iter().filter(|row| row.set == Set::Training) {
            let steps = &losses[first..row.step];
            let mean = |i: usize| steps.iter().map(|step| f64::from(step[i])).sum::<f64>() / steps.len() as f64;
            assert_eq!((row.loss, row.accuracy), (mean(0), mean(1)), "{model}, steps {first} to {}", row.step);
            first = row.step;
        }
        assert_eq!(first, losses.len());
    }
}

#[test]
fn it_knows_digits_it_was_never_shown_after_two_hundred_steps_and_says_which_it_mistakes() {
    let settings = Settings { epochs: 4, batch: 64, average: 0.0, ..settings("fast") };
    let mut live = start(cpu(), "fast", 5000, settings, 1000).unwrap();
    assert_eq!((live.step(), live.total(), live.epoch(), live.images_per_second()), (0, 250, 0.0, 0.0));
    let before = live.look().unwrap();
    assert!(before.accuracy < 0.4 && before.step == 0, "{}", before.accuracy);
    let mut steps = Vec::new();
    while live.step() < 200 {
        steps.extend(live.steps(50).unwrap());
    }
    assert!((live.epoch() - 3.2).abs() < 1e-9 && live.images_per_second() > 1.0);
    assert!(steps[199][0] < steps[0][0] && steps[199][1] <= 1.0);
    let glance = live.look().unwrap();
    assert!(glance.accuracy > 0.9 && glance.loss < before.loss, "{}, {}", glance.accuracy, glance.loss);

    // The kept file says the same about the same images, on a device of its own.
    let (file, watched) = (kept(&mut live), live.watched().clone());
    let mut device = Cpu::new();
    let mut evaluation = Evaluation::open(&file, &watched, &mut device).unwrap();
    let scores = Scores::new(&evaluation.logits(&mut device).unwrap(), &watched.labels);
    assert_eq!((scores.accuracy(), scores.loss), (glance.accuracy, glance.loss));
    assert_eq!(glance.mistakes.len(), 1000 - scores.correct);
    for mistake in &glance.mistakes {
        assert_eq!(scores.predicted[mistake.index], Some((mistake.predicted, mistake.probability)));
        assert_eq!(watched.labels[mistake.index] as usize, mistake.label);
        assert_ne!(mistake.label, mistake.predicted);
    }
    assert!(glance.mistakes.is_sorted_by(|a, b| a.probability >= b.probability));

    let filters = live.filters().unwrap();
    assert_eq!((filters.rows, filters.columns, filters.channels, filters.units.len()), (5, 5, 1, 32));
    let flat = file.tensors.iter().find(|tensor| tensor.name == format!("{}.weight", filters.layer)).unwrap();
    let Words::F32(words) = &flat.words else { panic!("whole numbers") };
    assert_eq!(filters.units[7][9], words[9 * 32 + 7]);
}

#[test]
fn averaged_weights_come_with_the_statistics_of_their_own_passes() {
    const NORMALISED: &str = r#"
        layers = ["flatten", { dense = 8 }, { batch_norm = true, activation = "relu" }, { dense = "classes" }]
    "#;
    let architecture = Architecture::parse(NORMALISED, "normalised.toml").unwrap();
    for (_, open) in crate::golden::devices("averaged_weights_come_with_the_statistics_of_their_own_passes") {
        // A run so short that the training statistics have hardly left their start, and so fast that weights move.
        let settings = Settings { learning_rate: 0.05, epochs: 3, ..settings("dense") };
        let mut live = Live::start(open(), &architecture, &data(640), settings, 0).unwrap();
        live.steps(30).unwrap();
        let file = kept(&mut live);
        let tensor = |name: &str| {
            let tensor = file.tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no {name}"));
            let Words::F32(words) = &tensor.words else { panic!("whole numbers") };
            words
        };
        let number = |key: &str| file.metadata[key].parse::<f32>().unwrap();
        let (weights, bias, running) = (tensor("dense1.weight"), tensor("dense1.bias"), tensor("bn1.running"));

        // What the dense layer of the file makes of the images that were trained on.
        let images = data(640).train.images;
        let outputs: Vec<Vec<f32>> = (0..640)
            .map(|i| {
                let pixels =
                    images.image(i, 784).iter().map(|x| (f32::from(*x) / 255.0 - number("mean")) / number("std"));
                let pixels: Vec<f32> = pixels.collect();
                let unit = |j: usize| pixels.iter().enumerate().map(|(k, x)| x * weights[k * 8 + j]).sum::<f32>();
                (0..8).map(|j| unit(j) + bias[j]).collect()
            })
            .collect();
        for j in 0..8 {
            let mean = outputs.iter().map(|row| row[j]).sum::<f32>() / 640.0;
            let variance = outputs.iter().map(|row| (row[j] - mean).powi(2)).sum::<f32>() / 640.0;
            let (found, spread) = ([running[j], running[8 + j]], variance.sqrt());
            assert!(spread > 1.5, "{spread}: no other than at the start");
            assert!((found[0] - mean).abs() < 0.1 * spread, "unit {j}: mean {} for {mean}, {spread}", found[0]);
            assert!((found[1] / variance - 1.0).abs() < 0.2, "unit {j}: variance {} for {variance}", found[1]);
        }
    }
}

#[test]
fn it_can_be_given_to_a_thread_and_need_not_watch_anything() {
    let mut live = start(cpu(), "dense", 200, settings("dense"), 0).unwrap();
    let (glance, filters) = std::thread::spawn(move || {
        live.steps(3).unwrap();
        (live.look().unwrap(), live.filters().unwrap())
    })
    .join()
    .unwrap();
    assert!(glance.accuracy.is_nan() && glance.loss.is_nan() && glance.mistakes.is_empty());
    assert_eq!((filters.rows, filters.columns), (28, 28), "a dense layer on pixels has pictures of their size");
}

#[test]
fn what_cannot_be_trained_with_is_refused_and_says_what_would_do() {
    let refused = |settings: Settings, images: usize, watch: usize, words: &[&str]| {
        let error = start(cpu(), "dense", images, settings, watch).err().expect("an error").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let good = settings("dense");
    refused(Settings { batch: 0, ..good.clone() }, 100, 10, &["--batch is 0", "1 to 90"]);
    refused(Settings { batch: 91, ..good.clone() }, 100, 10, &["--batch is 91", "1 to 90"]);
    refused(Settings { epochs: 0, ..good.clone() }, 100, 10, &["--epochs"]);
    refused(Settings { learning_rate: f32::NAN, ..good.clone() }, 100, 10, &["--learning-rate"]);
    refused(Settings { members: 5, ..good.clone() }, 100, 10, &["--members is 5", "1"]);
    refused(Settings { from: Some("x.safetensors".into()), ..good.clone() }, 100, 10, &["--from is x.safetensors"]);
    refused(good.clone(), 100, 100, &["100"]);
    refused(good.clone(), 0, 0, &["no images to train on"]);
    // Settings that the user's control makes needless are no reason to refuse.
    assert!(start(cpu(), "dense", 100, Settings { patience: 3, snapshots: 5, ..good }, 10).is_ok());
}

#[test]
fn weights_that_are_spoilt_are_neither_shown_nor_kept() {
    let absurd = Settings { learning_rate: 1e30, warmup: 0.0, ..settings("dense") };
    let mut live = start(cpu(), "dense", 640, absurd, 40).unwrap();
    // The first time and whenever it is tried again.
    for _ in 0..2 {
        let error = live.steps(10).unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
        assert!(error.to_string().contains("--learning-rate"), "{error}");
    }
    assert!(matches!(live.model(), Err(TrainError::NotFinite { .. })));
    assert!(matches!(live.look(), Err(TrainError::NotFinite { .. })));
    assert!(matches!(live.filters(), Err(TrainError::NotFinite { .. })));
}
