//! Runs that are refused, tried anew, warned about and resumed. Whole ones: `tests/networks/training.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::checkpoint::recorded;
use super::*;
use crate::device::DeviceError;
use crate::device::cpu::Cpu;
use crate::device::rigged::{Moment, Rigged};
use crate::models::{Augmentation, builtin};
use crate::run_files::METRICS;
use crate::train::keeping::BEST_EPOCH;

/// How often a run tries to allocate memory on a device that has none.
fn tries(images: usize, validation: usize) -> usize {
    let all = mnist::embedded().unwrap();
    let train = all.train.select(&(0..images).collect::<Vec<_>>());
    let data = DataSet::new(all.name, train, ImageSet::default(), all.class_names);
    let architecture = builtin("dense").unwrap();
    let settings = Settings { validation, ..Settings::from_recipe("dense", &architecture.recipe) };
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let mut full = Rigged::open("a full GPU", move |_, moment| {
        let Moment::Allocates(_) = moment else { return Ok(()) };
        counted.fetch_add(1, Ordering::Relaxed);
        Err(DeviceError::OutOfMemory { device: "a full GPU".into(), what: "images".into(), bytes: 0 })
    });
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    let (device, stop, report) = (full.as_mut(), &AtomicBool::new(false), &mut |_: Event| {});
    let error = Run { settings, architecture, data, folder, device, stop, report }.train().unwrap_err();
    assert!(matches!(error.device(), Some(DeviceError::OutOfMemory { .. })), "{error}");
    tries.load(Ordering::Relaxed)
}

/// Why a run that is set to start from a model, or whose data are changed, is refused.
fn refused(from: Option<PathBuf>, change: impl FnOnce(&mut DataSet)) -> String {
    let all = mnist::embedded().unwrap();
    let train = all.train.select(&(0..40).collect::<Vec<_>>());
    let mut data = DataSet::new("few", train, ImageSet::default(), all.class_names);
    change(&mut data);
    let architecture = builtin("dense").unwrap();
    let settings =
        Settings { epochs: 1, batch: 8, validation: 0, from, ..Settings::from_recipe("dense", &architecture.recipe) };
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    let (device, stop, report) = (&mut Cpu::new(), &AtomicBool::new(false), &mut |_: Event| {});
    Run { settings, architecture, data, folder, device, stop, report }.train().unwrap_err().to_string()
}

#[test]
fn a_run_whose_data_do_not_fit_together_is_refused_before_it_trains() {
    let nameless = refused(None, |data| data.class_names.truncate(9));
    assert_eq!(nameless, "few: 9 names were given for 10 classes; give one for each");
    let cut_off = refused(None, |data| data.train.images = vec![0; 784].into());
    assert!(cut_off.contains("784 bytes are not those of 40 images of 28x28x1"), "{cut_off}");
}

#[test]
fn a_run_that_is_to_start_from_a_model_without_its_copy_is_refused() {
    let refused = refused(Some("first.safetensors".into()), |_| {});
    assert!(refused.contains("has no copy of first.safetensors"), "{refused}");
}

#[test]
fn no_row_of_training_lies_behind_the_validation_of_its_epoch() {
    let all = mnist::embedded().unwrap();
    let train = all.train.select(&(0..164).collect::<Vec<_>>());
    let data = DataSet::new(all.name, train, ImageSet::default(), all.class_names);
    let architecture = builtin("dense").unwrap();
    let recipe = Settings::from_recipe("dense", &architecture.recipe);
    let settings = Settings { epochs: 3, batch: 128, validation: 10, patience: 0, ..recipe };
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    folder.begin(architecture.text(), None, &settings).unwrap();
    let mut told = Vec::new();
    let report = &mut |event: Event| {
        if let Event::Trained { epoch, .. } = event {
            told.push(epoch);
        }
    };
    let (device, stop) = (&mut Cpu::new(), &AtomicBool::new(false));
    Run { settings, architecture, data, folder: folder.clone(), device, stop, report }.train().unwrap();
    // 154 images in batches of 128: the second, third and fourth step end the epochs.
    let (metrics, _) = history(&folder, 4).unwrap();
    let rows: Vec<(usize, f64)> = metrics.rows.iter().map(|row| (row.step, row.epoch)).collect();
    assert_eq!(rows, [(1, 0.8312), (2, 1.0), (2, 1.0), (3, 2.0), (3, 2.0), (4, 3.0), (4, 3.0)]);
    assert_eq!(told.last(), Some(&3.0));
}

#[test]
fn validation_images_that_are_also_trained_on_are_told_once_a_run() {
    let all = mnist::embedded().unwrap();
    let train = all.train.select(&(0..80).map(|i| i / 2).collect::<Vec<_>>());
    let data = DataSet::new("twice", train, ImageSet::default(), all.class_names);
    let architecture = builtin("dense").unwrap();
    let recipe = Settings::from_recipe("dense", &architecture.recipe);
    let settings = Settings { epochs: 1, batch: 8, validation: 20, ..recipe };
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    folder.begin(architecture.text(), None, &settings).unwrap();
    let mut told = Vec::new();
    let report = &mut |event: Event| {
        if let Event::Warning(text) = event {
            told.push(text);
        }
    };
    let (device, stop) = (&mut Cpu::new(), &AtomicBool::new(false));
    Run { settings, architecture, data, folder, device, stop, report }.train().unwrap();
    let words = "of the 20 validation images are also among the training images: ";
    assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
}

#[test]
fn a_run_whose_best_epoch_is_not_the_best_again_when_it_is_repeated_elsewhere_is_still_resumed() {
    let all = mnist::embedded().unwrap();
    let train = all.train.select(&(0..80).collect::<Vec<_>>());
    let data = DataSet::new("few", train, ImageSet::default(), all.class_names);
    let architecture = builtin("dense").unwrap();
    let recipe = Settings::from_recipe("dense", &architecture.recipe);
    let settings = Settings { epochs: 4, batch: 20, validation: 20, patience: 0, ..recipe };
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    folder.begin(architecture.text(), None, &settings).unwrap();
    let until = |epoch: usize| {
        let stop = AtomicBool::new(false);
        let report = &mut |event: Event| {
            if matches!(event, Event::Validated { epoch: done, .. } if done == epoch) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let (settings, architecture) = (settings.clone(), architecture.clone());
        let (data, folder, device) = (data.clone(), folder.clone(), &mut Cpu::new());
        Run { settings, architecture, data, folder, device, stop: &stop, report }.train().unwrap()
    };
    until(2);
    // The third epoch was the best, and the run killed before it was in a checkpoint. Now nothing is better than the
    // second.
    let mut best = folder.load_best().unwrap();
    best.set(EPOCH, 3);
    folder.save_best(&best).unwrap();
    let mut metrics = recorded(&folder).unwrap();
    metrics.rows.iter_mut().filter(|row| row.epoch == 2.0).for_each(|row| row.accuracy = 1.0);
    folder.write(METRICS, metrics.csv().as_bytes()).unwrap();
    until(3);
    let last = ModelFile::load(folder.last()).unwrap();
    assert_eq!([EPOCH, BEST_EPOCH].map(|key| last.metadata[key].as_str()), ["3", "3"]);
    assert!(matches!(until(4), Outcome::Finished { best_epoch: 3, .. }));
}

#[test]
fn a_run_of_a_version_that_knew_no_paper_goes_on_as_it_began() {
    let all = mnist::embedded().unwrap();
    let mut train = all.train.select(&(0..60).collect::<Vec<_>>());
    train.images = train.images.iter().map(|byte| 255 - byte).collect::<Vec<u8>>().into();
    let data = DataSet::new("light", train, ImageSet::default(), all.class_names);
    let architecture = builtin("dense").unwrap();
    let recipe = Settings::from_recipe("dense", &architecture.recipe);
    let settings = Settings { epochs: 1, batch: 40, validation: 20, ..recipe };
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::create(parent.path(), "dense").unwrap();
    let train = |settings: &Settings| {
        let (settings, architecture) = (settings.clone(), architecture.clone());
        let (data, folder, device) = (data.clone(), folder.clone(), &mut Cpu::new());
        let (stop, report) = (&AtomicBool::new(false), &mut |_: Event| {});
        Run { settings, architecture, data, folder, device, stop, report }.train()
    };
    train(&settings).unwrap();
    let mut last = ModelFile::load(folder.last()).unwrap();
    assert_eq!(last.metadata.remove("background").as_deref(), Some("255"));
    last.save(folder.last()).unwrap();
    // A new run with such images would be refused.
    let augment = Augmentation { extend: true, ..Augmentation::default() };
    train(&Settings { augment, ..settings }).unwrap();
    assert!(!ModelFile::load(folder.last()).unwrap().metadata.contains_key("background"));
}

#[test]
fn a_run_is_tried_anew_where_the_images_that_it_trains_on_would_take_less_room_by_and_by() {
    // 17.2 MB, more than is sent at once where images are sent as steps need them.
    assert_eq!(tries(22_000, 0), 2);
    // The same set, of which 16.5 MB are trained on: sent as needed, they would take as much memory again.
    assert_eq!(tries(22_000, 1_000), 1);
}
