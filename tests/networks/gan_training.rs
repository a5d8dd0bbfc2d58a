//! A GAN's whole runs: what they leave behind, how they go on after a stop, how they end, and what they warn of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use inkgrad::data::{DataSet, mnist};
use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::models::{Gan, ModelFile};
use inkgrad::train::{Folder, GanEvent, GanOutcome, GanRun, GanSettings, TrainError};

use crate::golden::{TINY_GAN, devices};

/// The first images of MNIST.
fn data() -> DataSet {
    static MNIST: OnceLock<DataSet> = OnceLock::new();
    let all = MNIST.get_or_init(|| mnist::embedded().unwrap());
    let first = |n: usize| (0..n).collect::<Vec<_>>();
    DataSet::new(all.name.clone(), all.train.select(&first(330)), all.test.select(&first(100)), all.class_names.clone())
}

/// Groups, averages and label noise; 20 rounds and a fraction per epoch, since some digits find no partner.
fn settings() -> GanSettings {
    let gan = Gan::parse(TINY_GAN, "tiny.toml").unwrap();
    let recipe = GanSettings::from_recipe("tiny", &gan.recipe);
    GanSettings { seed: 7, epochs: 3, batch: 16, pack: 2, average: 0.9, label_noise: 0.1, ..recipe }
}

/// Trains, or resumes, in a folder; stops after the first chunk that ends at round `until` or later.
fn train(
    device: &mut dyn Device,
    folder: &Folder,
    settings: &GanSettings,
    until: Option<usize>,
) -> (Result<GanOutcome, TrainError>, Vec<String>) {
    let (stop, mut warnings) = (AtomicBool::new(false), Vec::new());
    let gan = Gan::parse(TINY_GAN, "tiny.toml").unwrap();
    folder.begin(gan.text(), None, settings).unwrap();
    let mut report = |event: GanEvent| match event {
        GanEvent::Trained { round, .. } => stop.store(until.is_some_and(|until| round >= until), Ordering::Relaxed),
        GanEvent::Warning(text) => warnings.push(text),
        _ => {}
    };
    let (settings, folder) = (settings.clone(), folder.clone());
    let run = GanRun { settings, gan, data: data(), folder, device, stop: &stop, report: &mut report };
    (run.train(), warnings)
}

fn finishes(device: &mut dyn Device, folder: &Folder, settings: &GanSettings) -> Vec<String> {
    let (outcome, warnings) = train(device, folder, settings, None);
    assert!(matches!(outcome, Ok(GanOutcome::Finished { .. })), "{outcome:?}");
    warnings
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => {
                found.extend(files(&entry.path()).into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)))
            }
            false => drop(found.insert(name, fs::read(entry.path()).unwrap())),
        }
    }
    found
}

const FILES: [&str; 15] = [
    ".lock",
    "architecture.toml",
    "best.safetensors",
    "config.toml",
    "curves.png",
    "last.safetensors",
    "losses.csv",
    "measures.csv",
    "result.toml",
    "snapshots.gif",
    "snapshots/0000.png",
    "snapshots/0001.png",
    "snapshots/0002.png",
    "snapshots/0003.png",
    "test.csv",
];

/// Asserts that two folders hold the same bytes in every file, without printing differences that would fill pages.
fn assert_same(what: &str, a: &Folder, b: &Folder) {
    let [a, b] = [a, b].map(|folder| files(folder.path()));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{what}");
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{what}: {name} differs");
    }
}

#[test]
fn the_same_seed_on_the_same_device_gives_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    for (name, open) in devices("the_same_seed_on_the_same_device_gives_the_same_bytes") {
        let run = |seed| {
            let folder = Folder::create(parent.path(), "tiny").unwrap();
            finishes(open().as_mut(), &folder, &GanSettings { seed, epochs: 2, ..settings() });
            folder
        };
        let (first, second, other) = (run(7), run(7), run(8));
        assert_same(name, &first, &second);
        let differs = |name: &str| files(first.path())[name] != files(other.path())[name];
        assert!(differs("best.safetensors") && differs("snapshots/0000.png"), "another seed, another generator");
    }
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_same_bytes() {
    let parent = tempfile::tempdir().unwrap();
    for (name, open) in devices("a_run_that_was_stopped_and_resumed_ends_with_the_same_bytes") {
        let [whole, stopped] = [(), ()].map(|()| Folder::create(parent.path(), "tiny").unwrap());
        finishes(open().as_mut(), &whole, &settings());
        assert_eq!(files(whole.path()).keys().collect::<Vec<_>>(), FILES.iter().collect::<Vec<_>>());
        // Within the first epoch, at its end, within the second, at its end, in the third. Chunks at most double.
        for (until, within) in [(5, 5..21), (21, 21..22), (23, 23..41), (41, 41..42), (43, 43..62)] {
            match train(open().as_mut(), &stopped, &settings(), Some(until)).0 {
                Ok(GanOutcome::Stopped { round }) => {
                    assert!(within.contains(&round), "stopped at {round}, not in {within:?}");
                }
                other => panic!("{other:?}"),
            }
            // As after a kill between its files: these know of rounds that are done again.
            for name in ["losses.csv", "measures.csv"] {
                fs::copy(whole.path().join(name), stopped.path().join(name)).unwrap();
            }
        }
        finishes(open().as_mut(), &stopped, &settings());
        assert_same(&format!("resumed on the {name}"), &whole, &stopped);
        // When it is resumed once more, there is nothing left to train, and the test says the same.
        finishes(open().as_mut(), &stopped, &settings());
        assert_same(&format!("resumed at the end on the {name}"), &whole, &stopped);
    }
}

#[test]
fn a_run_with_several_steps_of_the_discriminator_goes_on_with_the_pictures_that_are_next() {
    let parent = tempfile::tempdir().unwrap();
    let [whole, stopped] = [(), ()].map(|()| Folder::create(parent.path(), "tiny").unwrap());
    let settings = GanSettings { discriminator_steps: 2, epochs: 2, measure: 0, ..settings() };
    finishes(&mut Cpu::new(), &whole, &settings);
    let half = train(&mut Cpu::new(), &stopped, &settings, Some(5)).0;
    assert!(matches!(half, Ok(GanOutcome::Stopped { round: 5..10 })), "{half:?}");
    finishes(&mut Cpu::new(), &stopped, &settings);
    assert_same("resumed", &whole, &stopped);
}

#[test]
fn a_run_that_goes_on_elsewhere_names_the_device_that_it_was_on_before() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    let settings = GanSettings { epochs: 1, measure: 0, ..settings() };
    let half = train(&mut Cpu::new(), &folder, &settings, Some(5)).0;
    assert!(matches!(half, Ok(GanOutcome::Stopped { .. })), "{half:?}");
    let mut last = ModelFile::load(folder.last()).unwrap();
    last.set("device", "a card");
    last.set("driver", "its driver");
    last.save(folder.last()).unwrap();
    finishes(&mut Cpu::new(), &folder, &settings);
    let metadata = folder.load_best().unwrap().metadata;
    assert_eq!(metadata["device"], "a card, then CPU");
    assert!(metadata["driver"].starts_with("its driver, then "), "{}", metadata["driver"]);
}

/// The epoch of a run's best generator.
fn best_epoch(folder: &Folder) -> String {
    ModelFile::load(folder.best()).unwrap().metadata["epoch"].clone()
}

/// Writes other distances into the rows of `measures.csv`.
fn set_distances(folder: &Folder, distances: &[&str]) {
    let path = folder.path().join("measures.csv");
    let text = fs::read_to_string(&path).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    assert_eq!(rows.lines().count(), distances.len());
    let changed = |(row, distance): (&str, &&str)| {
        let fields: Vec<&str> = row.split(',').collect();
        format!("{},{},{distance},{}\n", fields[0], fields[1], fields[3..].join(","))
    };
    let rows: String = rows.lines().zip(distances).map(changed).collect();
    fs::write(&path, format!("{header}\n{rows}")).unwrap();
}

#[test]
fn an_epoch_whose_distance_is_no_number_is_not_the_best_and_its_run_is_still_resumed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    // To the end of the first epoch, which is then the best.
    let stopped = train(&mut Cpu::new(), &folder, &settings(), Some(21)).0;
    assert!(matches!(stopped, Ok(GanOutcome::Stopped { round: 21 })), "{stopped:?}");
    assert_eq!(best_epoch(&folder), "1");
    set_distances(&folder, &["NaN"]);
    finishes(&mut Cpu::new(), &folder, &settings());
    assert_ne!(best_epoch(&folder), "1");
    // Where none is a number, the model that is there is tested once more.
    set_distances(&folder, &["NaN"; 3]);
    finishes(&mut Cpu::new(), &folder, &settings());
}

#[test]
fn what_an_older_version_kept_of_a_first_epoch_without_a_distance_gives_way_to_the_next_that_has_one() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    let stops = |until: usize| {
        let stopped = train(&mut Cpu::new(), &folder, &settings(), Some(until)).0;
        assert!(matches!(stopped, Ok(GanOutcome::Stopped { round }) if round == until), "{stopped:?}");
    };
    stops(21);
    let first = fs::read(folder.best()).unwrap();
    stops(41);
    // No distance was less than that of the first, and no checkpoint said which epoch was the best.
    set_distances(&folder, &["NaN", "0"]);
    fs::write(folder.best(), first).unwrap();
    let mut last = ModelFile::load(folder.last()).unwrap();
    last.metadata.remove("best_epoch").unwrap();
    last.save(folder.last()).unwrap();
    assert_eq!(best_epoch(&folder), "1");
    finishes(&mut Cpu::new(), &folder, &settings());
    // The generator of the second was not kept.
    assert_eq!(best_epoch(&folder), "3");
}

#[test]
fn what_a_killed_run_left_half_written_is_removed_wherever_it_lies() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    fs::create_dir(folder.path().join("snapshots")).unwrap();
    for name in [".inkgrad-1.tmp", "snapshots/.inkgrad-2.tmp"] {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    finishes(&mut Cpu::new(), &folder, &GanSettings { epochs: 1, ..settings() });
    assert!(files(folder.path()).keys().all(|name| !name.contains("tmp")), "{:?}", files(folder.path()).keys());
}

#[test]
fn absurd_rates_end_the_run_with_the_network_the_round_and_a_remedy_and_spoil_nothing() {
    let parent = tempfile::tempdir().unwrap();
    for (_, open) in devices("absurd_rates_end_the_run_with_the_network_the_round_and_a_remedy_and_spoil_nothing") {
        let folder = Folder::create(parent.path(), "tiny").unwrap();
        let stopped = train(open().as_mut(), &folder, &settings(), Some(25)).0;
        assert!(matches!(stopped, Ok(GanOutcome::Stopped { .. })), "{stopped:?}");
        let before = [fs::read(folder.last()).unwrap(), fs::read(folder.best()).unwrap()];
        for absurd in [
            GanSettings { generator_rate: 1e30, ..settings() },
            GanSettings { discriminator_rate: 1e30, ..settings() },
            GanSettings { generator_rate: 1e18, discriminator_rate: 1e18, ..settings() },
        ] {
            let error = train(open().as_mut(), &folder, &absurd, None).0.unwrap_err();
            match &error {
                TrainError::GanNotFinite { round, epoch, .. } => {
                    assert!((25..=62).contains(round) && [2, 3].contains(epoch), "{error}");
                }
                _ => panic!("{error}"),
            }
            let text = error.to_string();
            let words = ["not a number from round", "--generator-rate", "--discriminator-rate", "smaller"];
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            let after = [fs::read(folder.last()).unwrap(), fs::read(folder.best()).unwrap()];
            assert!(before == after, "the checkpoint was touched");
        }
        // And it can be resumed with the rates it was made with.
        finishes(open().as_mut(), &folder, &settings());
    }
}

#[test]
fn no_checkpoint_is_ever_saved_that_cannot_be_resumed() {
    let parent = tempfile::tempdir().unwrap();
    for rate in [1e-1, 1e1, 1e4, 1e8, 1e15, 1e25, 3e38] {
        let folder = Folder::create(parent.path(), "tiny").unwrap();
        let wild = GanSettings { generator_rate: rate, discriminator_rate: rate, measure: 0, ..settings() };
        let (outcome, _) = train(&mut Cpu::new(), &folder, &wild, None);
        match outcome {
            Ok(_) => {}
            Err(TrainError::GanNotFinite { .. }) => {}
            Err(other) => panic!("rate {rate:e}: {other}"),
        }
        if folder.last().exists() {
            let again = train(&mut Cpu::new(), &folder, &wild, None).0;
            assert!(matches!(again, Ok(_) | Err(TrainError::GanNotFinite { .. })), "rate {rate:e}: {again:?}");
        }
        if folder.best().exists() {
            ModelFile::load(folder.best()).unwrap();
        }
    }
}

#[test]
fn a_generator_that_draws_the_same_picture_again_and_again_is_noticed_and_named() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    // It learns nothing, and a generator's first pictures are all alike to whoever looks for digits.
    let still = GanSettings { generator_rate: 1e-20, epochs: 1, ..settings() };
    let warnings = finishes(&mut Cpu::new(), &folder, &still);
    let collapse = warnings.iter().find(|text| text.contains("epoch 1: collapse")).expect("a warning");
    assert!(collapse.contains("nearly all alike") && collapse.contains('7'), "{warnings:?}");
}

#[test]
fn a_discriminator_that_tells_everything_apart_is_noticed_with_a_remedy() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    let unequal = GanSettings {
        generator_rate: 1e-20,
        discriminator_rate: 2e-2,
        label_noise: 0.0,
        discriminator_steps: 1,
        loss: inkgrad::models::GanLoss::Hinge,
        epochs: 10,
        ..settings()
    };
    let warnings = finishes(&mut Cpu::new(), &folder, &unequal);
    assert!(
        warnings.iter().any(|text| text.contains("tells everything apart") && text.contains("--label-noise")),
        "{warnings:?}"
    );
}

#[test]
fn a_run_whose_data_do_not_fit_together_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "tiny").unwrap();
    let mut data = data();
    data.class_names.truncate(9);
    let (settings, gan) = (settings(), Gan::parse(TINY_GAN, "tiny.toml").unwrap());
    let (device, stop, report) = (&mut Cpu::new(), &AtomicBool::new(false), &mut |_: GanEvent| {});
    let refused = GanRun { settings, gan, data, folder, device, stop, report }.train().unwrap_err().to_string();
    assert!(refused.ends_with("9 names were given for 10 classes; give one for each"), "{refused}");
}
