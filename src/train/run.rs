//! A run from its first step to its test: the loop, what it saves, and how it resumes after a stop.
//!
//! Everything that decides a run is in its settings, its checkpoint and the data, and nowhere else: wall-clock time
//! only decides when to report and save. So a run that was stopped and resumed ends with the same bytes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::course::{Before, Course};
use super::folder::{BEST_EPOCH, Checkpoint, EPOCH, Folder, METRICS};
use super::metrics::{Metrics, Row, Set, as_written};
use super::pacing::Pacing;
use super::steps::RING;
use super::{Settings, Share, TrainError};
use crate::data::{DataSet, ImageSet, mnist};
use crate::device::Device;
use crate::graph::Store;
use crate::infer::evaluate::{Evaluation, Scores};
use crate::models::{Architecture, ModelFile};

/// What a run reports while it trains.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Before the first step.
    Started {
        /// Steps of the whole run.
        steps: usize,
        /// Steps that were done before; above 0 if the run resumes from a checkpoint.
        first: usize,
        /// Images in an epoch, each counted as often as it occurs.
        images: usize,
        /// Images set aside for validation.
        validation: usize,
        /// Trainable numbers.
        parameters: u64,
    },
    /// After every chunk of steps, what the newest row of the metrics says.
    Trained {
        /// Steps done.
        step: usize,
        /// Epochs done, with their fraction.
        epoch: f64,
        /// Mean over some batches, with smoothed labels if the settings smooth them.
        loss: f64,
        /// From 0 to 1, over the same batches.
        accuracy: f64,
        /// Speed in this chunk.
        images_per_second: f64,
    },
    /// At the end of every epoch, where images are set aside for it.
    Validated {
        /// Epochs done.
        epoch: usize,
        /// Mean cross-entropy, with labels as they are.
        loss: f64,
        /// From 0 to 1.
        accuracy: f64,
        /// Whether the accuracy is higher than after every earlier epoch.
        best: bool,
    },
    /// Something that a person should know about but that does not end the run.
    Warning(String),
    /// A checkpoint was written.
    Saved {
        /// Steps done.
        step: usize,
        /// The run's folder.
        path: &'a std::path::Path,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Trained to the end and tested, once.
    /// `test` is absent where there are no test images.
    Finished { test: Option<Scores>, best_epoch: usize, epochs: usize, seconds: f64 },
    /// Stopped on request; the checkpoint is complete.
    Stopped { step: usize },
}

/// How long a chunk of steps should take: short enough for a lively display and a prompt stop.
const CHUNK: Duration = Duration::from_millis(250);
/// The longest time between checkpoints, besides those at the end of every epoch.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// Rows of `metrics.csv` per epoch.
const ROWS_PER_EPOCH: usize = 50;

/// What a run is made of: one model, which it trains once.
pub struct Run<'a> {
    /// Recorded in its model files as they are, although some are for those who make runs to act on: [`Settings`] says
    /// which.
    pub settings: Settings,
    pub architecture: Architecture,
    pub data: DataSet,
    /// What it is resumed from; by the program too, if [`Folder::begin`] has written what that needs. The model that it
    /// starts from, if any, is the one that was written there.
    pub folder: Folder,
    pub device: &'a mut dyn Device,
    /// Set from outside (Ctrl-C): the run saves and ends.
    pub stop: &'a AtomicBool,
    pub report: &'a mut dyn FnMut(Event),
}

/// The best epoch so far, by validation accuracy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Best {
    pub epoch: usize,
    pub accuracy: f64,
}

struct Loop<'a, 'b> {
    run: &'a mut Run<'b>,
    course: Course,
    validation: Option<(Evaluation, ImageSet)>,
    metrics: Metrics,
    best: Best,
    /// The best model, until it is written.
    unsaved: Option<ModelFile>,
    /// The epoch of the best model that is written; 0 if there is none.
    written: usize,
}

impl Run<'_> {
    /// Trains, from the folder's checkpoint if it has one, and tests at the end. A finished run whose checkpoint was
    /// removed is only tested again. If the device turns out to have no memory for the images, they are sent as steps
    /// need them; the weights are the same, to the bit.
    ///
    /// # Errors
    /// Data that [`DataSet::check`] refuses, settings and an architecture that do not fit them, files of the folder that
    /// do not belong together, a loss that is not finite, and those of the device and the disk.
    pub fn train(mut self) -> Result<Outcome, TrainError> {
        self.data.check()?;
        let share = Share::of(self.device);
        let error = match self.train_with(share) {
            Err(error) => error,
            ended => return ended,
        };
        // Images set aside for validation are not stored with the others.
        let images = self.data.train.len().saturating_sub(self.settings.validation);
        let bytes = (images * self.data.train.image_len()) as u64;
        let Some(share) = share.after(&error, bytes) else { return Err(error) };
        (self.report)(Event::Warning(format!("{error}. Continuing with images sent as steps need them")));
        self.train_with(share)
    }

    /// The model that the run starts from, if any. Without it, a run that was to start from one would start over.
    fn origin(&self) -> Result<Option<(ModelFile, PathBuf)>, TrainError> {
        match (self.folder.origin()?, &self.settings.from) {
            (None, Some(from)) => {
                let reason =
                    format!("has no copy of {}, which its run starts from; begin it with that", from.display());
                Err(TrainError::Folder { path: self.folder.path().into(), reason })
            }
            (origin, _) => Ok(origin),
        }
    }

    /// Refuses a best model that does not belong to what the run goes on from, which may be the checkpoint of the last
    /// step, and a folder without the checkpoint that it once had. Returns the epoch of the best model.
    fn check_kept(&self, kept: Option<&Checkpoint>, best: Best, is_last: bool) -> Result<usize, TrainError> {
        match kept {
            Some(model) if model.is_over => {
                self.folder.check_finished()?;
                model.epoch()
            }
            Some(checkpoint) => {
                let known = match self.settings.validation {
                    // Without validation the last model is the only one that is kept.
                    0 if is_last => checkpoint.epoch()?,
                    _ => best.epoch,
                };
                self.folder.check_best(checkpoint, known, METRICS)
            }
            None => {
                let metrics = self.folder.metrics()?;
                self.folder.check_lost(metrics.rows.last().map_or(0.0, |row| row.epoch), 1)
            }
        }
    }

    fn train_with(&mut self, share: Share) -> Result<Outcome, TrainError> {
        let started = Instant::now();
        let _lock = self.folder.lock()?;
        self.folder.clean();
        let settings = self.settings.clone();
        let (train, validation) = self.data.train.split(settings.validation, u64::from(settings.seed))?;
        let origin = self.origin()?;
        let mut store = Store::default();
        let (architecture, data) = (&self.architecture, &self.data);
        let kept = self.folder.kept()?;
        let before = Before { origin: origin.as_ref(), kept: kept.as_ref() };
        let mut course = Course::declare(&mut store, architecture, data, &train, settings, before, share)?;
        let mut evaluation = |set: &ImageSet| match set.is_empty() {
            true => Ok(None),
            false => course.evaluation(&mut store, set).map(Some),
        };
        let mut validation = evaluation(&validation)?.map(|evaluation| (evaluation, validation));
        let mut test = evaluation(&self.data.test)?;

        let learner = &course.classifier.learner;
        if let Some(kept) = &kept {
            kept.same_data(&course.digest, &self.data.class_names)?;
            if let Some(warning) = self.folder.mend(kept)? {
                (self.report)(Event::Warning(warning));
            }
        }
        let checkpoint = kept.as_ref().filter(|kept| !kept.is_over);
        let is_over = kept.is_some() && checkpoint.is_none();
        let state = match checkpoint {
            Some(checkpoint) => checkpoint.state(&course.classifier)?,
            None => {
                let mut first = course.classifier.initial(self.settings.seed);
                if let Some((file, path)) = &origin {
                    let (weights, running) = file.values(&learner.parameters, path)?;
                    first.learned = learner.starting_from(weights, running);
                }
                first
            }
        };
        let (metrics, best) = self.folder.history(state.step as usize)?;
        let written = self.check_kept(kept.as_ref(), best, state.step as usize == course.total())?;
        let place = self.settings.data.clone();
        self.folder.change_settings(|was: Settings| Settings { data: place, ..was })?;
        self.device.allocate(&store)?;
        // Once a run. The built-in MNIST has no image twice.
        let is_built_in = self.settings.data.is_none() && self.data.name == mnist::NAME;
        if let (Some((_, set)), None, false) = (&validation, &checkpoint, is_built_in)
            && let Some(repeats) = set.repeats(&train, "validation")
        {
            (self.report)(Event::Warning(repeats));
        }
        course.begin(self.device, &train, &state, checkpoint.map(|checkpoint| &checkpoint.file))?;
        if let Some((evaluation, set)) = &mut validation {
            evaluation.upload(self.device, set)?;
        }
        drop((train, kept));
        let mut this = Loop { run: self, course, validation, metrics, best, unsaved: None, written };
        if !is_over && let Some(step) = this.steps()? {
            return Ok(Outcome::Stopped { step });
        }

        // The test set is touched here, once, with the weights that validation chose.
        let Loop { run, course, .. } = this;
        let (best, path) = (run.folder.load_best()?, run.folder.best());
        // Its own word: a run that goes on elsewhere after it was killed may have a newer model than its metrics know.
        let best_epoch: usize = best.number(EPOCH, &path)?;
        let epochs = match run.settings.patience {
            _ if !is_over => course.epochs_done(),
            0 => run.settings.epochs,
            patience => run.settings.epochs.min(best_epoch + patience),
        };
        let parameters = course.classifier.learner.inference_parameters();
        let (weights, running) = best.values(&parameters, &path)?;
        parameters.send(run.device, &weights, &running)?;
        let set = &run.data.test;
        let test = match &mut test {
            Some(test) => {
                test.upload(run.device, set)?;
                Some(Scores::new(&test.logits(run.device)?, &set.labels))
            }
            None => None,
        };
        run.folder.save_result(test.as_ref(), best_epoch)?;
        run.folder.forget_previous();
        Ok(Outcome::Finished { test, best_epoch, epochs, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Loop<'_, '_> {
    /// Runs all remaining steps; `Some` with the step where it was asked to stop.
    fn steps(&mut self) -> Result<Option<usize>, TrainError> {
        let total = self.course.total();
        (self.run.report)(Event::Started {
            steps: total,
            first: self.course.step,
            images: self.course.images,
            validation: self.validation.as_ref().map_or(0, |(_, set)| set.len()),
            parameters: self.course.classifier.learner.parameters.count_trainable(),
        });
        if self.course.step == 0 && self.run.settings.snapshots > 0 {
            self.save_snapshot()?;
        }
        let mut pacing = Pacing::new(self.course.epoch_start(1) / ROWS_PER_EPOCH, RING, CHUNK, CHECKPOINT);
        while self.course.step < total && !self.out_of_patience() {
            if self.run.stop.load(Ordering::Relaxed) {
                // A second Ctrl-C ends the program, and with it the wait for a file that another program has open.
                while !self.is_saved(&mut pacing, false)? {}
                return Ok(Some(self.course.step));
            }
            let began = Instant::now();
            let epoch = self.course.epochs_done();
            let (from, to) = (self.course.epoch_start(epoch), self.course.epoch_start(epoch + 1).min(total));
            let count = pacing.until(self.course.step, from, to) - self.course.step;
            self.run_steps(count, pacing.window, from)?;
            self.tell(count, began);
            pacing.took(began.elapsed());

            let ends = self.course.step == to;
            let is_best = ends && self.end_of_epoch(epoch + 1)?;
            if pacing.is_due(ends) {
                self.is_saved(&mut pacing, is_best)?;
            }
        }
        while pacing.is_held && !self.is_saved(&mut pacing, false)? {}
        Ok(None)
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.run.settings.patience;
        let epoch = self.course.epochs_done();
        patience > 0
            && self.validation.is_some()
            && self.course.step == self.course.epoch_start(epoch)
            && epoch >= self.best.epoch + patience
    }

    /// Runs steps and records a row for each window in them; windows are counted from the epoch's first step. It pauses
    /// wherever a snapshot is due, but no window ends there: rows are the same with and without snapshots.
    fn run_steps(&mut self, count: usize, window: usize, epoch_start: usize) -> Result<(), TrainError> {
        let first = self.course.step;
        debug_assert!((first - epoch_start).is_multiple_of(window));
        let mut steps = Vec::with_capacity(count);
        while steps.len() < count {
            let left = count - steps.len();
            let due = self.course.next_snapshot();
            let until_due = due.map_or(left, |due| left.min(due - self.course.step));
            steps.extend(self.course.run(self.run.device, until_due)?);
            if due == Some(self.course.step) {
                self.save_snapshot()?;
            }
        }
        let mut step = first;
        for rows in steps.chunks(window) {
            step += rows.len();
            let mean = |i: usize| rows.iter().map(|row| f64::from(row[i])).sum::<f64>() / rows.len() as f64;
            let epoch = as_written(self.course.epoch_at(step), 4);
            self.metrics.rows.push(Row { step, epoch, set: Set::Training, loss: mean(0), accuracy: mean(1) });
        }
        Ok(())
    }

    fn tell(&mut self, steps: usize, began: Instant) {
        let Some(last) = self.metrics.rows.iter().rev().find(|row| row.set == Set::Training) else { return };
        let images = (steps * self.run.settings.batch) as f64;
        (self.run.report)(Event::Trained {
            step: last.step,
            epoch: last.epoch,
            loss: last.loss,
            accuracy: last.accuracy,
            images_per_second: images / began.elapsed().as_secs_f64().max(1e-9),
        });
    }

    /// Validates, and returns whether this is the best epoch; without a validation set, the last is.
    fn end_of_epoch(&mut self, epoch: usize) -> Result<bool, TrainError> {
        let Some((evaluation, set)) = &mut self.validation else {
            let is_last = self.course.step == self.course.total();
            if is_last {
                self.course.calibrate(self.run.device)?;
                self.best = Best { epoch, accuracy: f64::NAN };
            }
            return Ok(is_last);
        };
        self.course.calibrate(self.run.device)?;
        let scores = Scores::new(&evaluation.logits(self.run.device)?, &set.labels);
        if !scores.loss.is_finite() {
            return Err(self.course.not_finite(self.course.step));
        }
        let better = self.best.epoch == 0 || scores.accuracy() > self.best.accuracy;
        let row = Row {
            step: self.course.step,
            epoch: epoch as f64,
            set: Set::Validation,
            loss: scores.loss,
            accuracy: scores.accuracy(),
        };
        (self.run.report)(Event::Validated { epoch, loss: row.loss, accuracy: row.accuracy, best: better });
        self.metrics.rows.push(row);
        if better {
            self.best = Best { epoch, accuracy: scores.accuracy() };
        }
        Ok(better)
    }

    /// A model file of given weights, with the validation accuracy of the best.
    fn model_file(&self, weights: &[f32], running: &[f32]) -> ModelFile {
        let mut file = self.course.model_file(weights, running);
        if let (Some(_), true) = (&self.validation, self.best.epoch > 0) {
            file.set("validation_accuracy", format!("{:.5}", self.best.accuracy));
        }
        file
    }

    fn save_snapshot(&mut self) -> Result<(), TrainError> {
        let file = self.course.model_now(self.run.device)?;
        self.run.folder.save_snapshot(self.course.step, &file)
    }

    /// Saves, and returns whether that was possible.
    fn is_saved(&mut self, pacing: &mut Pacing, is_best: bool) -> Result<bool, TrainError> {
        let saving = self.save(is_best);
        pacing.saved(saving, |held| (self.run.report)(Event::Warning(held)))
    }

    /// Writes curves, metrics, the model if this is the best, and a checkpoint.
    fn save(&mut self, is_best: bool) -> Result<(), TrainError> {
        // Nothing is kept of a state that a run cannot resume from: the best stays that of the last checkpoint.
        let state = self.course.state(self.run.device)?;
        let mut file = self.model_file(&state.learned.weights, &state.learned.running);
        file.add_u32("clock", &[state.step, state.seed]);
        self.course.classifier.learner.add_to(&mut file, "", &state.learned);
        if is_best {
            let (weights, running) = self.course.inference(self.run.device)?;
            self.unsaved = Some(self.model_file(&weights, &running));
        }
        let folder = &self.run.folder;
        folder.save_metrics(&self.metrics, &self.run.settings)?;
        if let Some(best) = &self.unsaved {
            self.written = folder.save_best(best)?;
            self.unsaved = None;
        }
        file.set(BEST_EPOCH, self.written);
        folder.save_checkpoint(&file)?;
        (self.run.report)(Event::Saved { step: self.course.step, path: self.run.folder.path() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::device::DeviceError;
    use crate::device::cpu::Cpu;
    use crate::device::rigged::{Moment, Rigged};
    use crate::models::{Augmentation, builtin};

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
        let settings = Settings {
            epochs: 1,
            batch: 8,
            validation: 0,
            from,
            ..Settings::from_recipe("dense", &architecture.recipe)
        };
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
        let (metrics, _) = folder.history(4).unwrap();
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
        let mut metrics = folder.metrics().unwrap();
        metrics.rows.iter_mut().filter(|row| row.epoch == 2.0).for_each(|row| row.accuracy = 1.0);
        folder.write(METRICS, metrics.csv().as_bytes()).unwrap();
        until(3);
        let checkpoint = folder.checkpoint().unwrap().unwrap().file;
        assert_eq!([EPOCH, BEST_EPOCH].map(|key| checkpoint.metadata[key].clone()), ["3", "3"]);
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
}
