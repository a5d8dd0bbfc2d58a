//! A run from its first step to its test: the loop around the steps, and how it resumes after a stop.
//!
//! Everything that decides a run is in its settings, its checkpoint and the data, and nowhere else: wall-clock time
//! only decides when to report and save. So a run that was stopped and resumed ends with the same bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::course::{Before, Course};
use super::keeping::{Best, EPOCH, Keeping};
use super::metrics::{Metrics, Row, Set, as_written};
use super::pacing::Pacing;
use super::resume::Start;
use super::steps::RING;
use super::{Folder, Settings, Share, TrainError};
use crate::data::{DataSet, ImageSet, mnist};
use crate::device::Device;
use crate::graph::Store;
use crate::infer::{Evaluation, Scores};
use crate::models::{Architecture, ModelFile};

mod checkpoint;

use checkpoint::{history, state_of};

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

struct Loop<'a, 'b> {
    run: &'a mut Run<'b>,
    course: Course,
    validation: Option<(Evaluation, ImageSet)>,
    metrics: Metrics,
    /// By validation accuracy.
    best: Best,
    keeping: Keeping,
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
    fn origin(&self) -> Result<Option<ModelFile>, TrainError> {
        match (self.folder.origin()?, &self.settings.from) {
            (None, Some(from)) => {
                let reason =
                    format!("has no copy of {}, which its run starts from; begin it with that", from.display());
                Err(TrainError::Folder { path: self.folder.path().into(), reason })
            }
            (origin, _) => Ok(origin),
        }
    }

    fn train_with(&mut self, share: Share) -> Result<Outcome, TrainError> {
        let started = Instant::now();
        let _lock = self.folder.lock()?;
        self.folder.clean();
        let settings = self.settings.clone();
        let (train, validation) = settings.split(&self.data.train)?;
        let origin = self.origin()?;
        let mut store = Store::default();
        let (architecture, data) = (&self.architecture, &self.data);
        let start = self.folder.start()?;
        let before = Before { origin: origin.as_ref(), kept: start.kept() };
        let mut course = Course::declare(&mut store, architecture, data, &train, settings, before, share)?;
        let mut evaluation = |set: &ImageSet| match set.is_empty() {
            true => Ok(None),
            false => course.evaluation(&mut store, set).map(Some),
        };
        let mut validation = evaluation(&validation)?.map(|evaluation| (evaluation, validation));
        let mut test = evaluation(&self.data.test)?;

        start.check_data(&course.digest, &self.data.class_names)?;
        if let Some(warning) = self.folder.mend(&start)? {
            (self.report)(Event::Warning(warning));
        }
        let state = match &start {
            Start::From(checkpoint) => state_of(checkpoint, &course.classifier, course.epochs)?,
            Start::Anew | Start::Over(_) => {
                let mut first = course.classifier.initial(self.settings.seed);
                if let Some(file) = &origin {
                    let learner = &course.classifier.learner;
                    first.learned = learner.starting_from(file.values("", &learner.parameters)?);
                }
                first
            }
        };
        let (metrics, best) = history(&self.folder, state.step as usize)?;
        let written = self.check_kept(&start, best)?;
        let place = self.settings.data.clone();
        self.folder.change_settings(|was: Settings| Settings { data: place, ..was })?;
        self.device.allocate(&store)?;
        // Once a run. The built-in MNIST has no image twice.
        let is_built_in = self.settings.data.is_none() && self.data.name == mnist::NAME;
        if let (Some((_, set)), None, false) = (&validation, start.checkpoint(), is_built_in)
            && let Some(repeats) = set.repeats(&train, "validation")
        {
            (self.report)(Event::Warning(repeats));
        }
        course.begin(self.device, &train, &state, start.checkpoint())?;
        if let Some((evaluation, set)) = &mut validation {
            evaluation.upload(self.device, set)?;
        }
        let (is_over, goes_on) = (start.is_over(), start.checkpoint().is_some());
        drop((train, start));
        let mut this = Loop { run: self, course, validation, metrics, best, keeping: Keeping::new(written, goes_on) };
        if !is_over && let Some(step) = this.steps()? {
            return Ok(Outcome::Stopped { step });
        }

        // The test set is touched here, once, with the weights that validation chose.
        let Loop { run, course, .. } = this;
        let best = run.folder.load_best()?;
        // Its own word: a run that goes on elsewhere after it was killed may have a newer model than its metrics know.
        let best_epoch: usize = best.number(EPOCH)?;
        let epochs = match run.settings.patience {
            _ if !is_over => course.epochs_done(),
            0 => run.settings.epochs,
            patience => run.settings.epochs.min(best_epoch + patience),
        };
        let parameters = course.classifier.learner.inference_parameters();
        parameters.send(run.device, &best.values("", &parameters)?)?;
        let set = &run.data.test;
        if let Some(warning) = run.folder.tested_on_others(set) {
            (run.report)(Event::Warning(warning));
        }
        let test = match &mut test {
            Some(test) => {
                test.upload(run.device, set)?;
                Some(Scores::new(&test.logits(run.device)?, &set.labels))
            }
            None => None,
        };
        run.folder.save_result(best_epoch, set, test.as_ref())?;
        run.folder.forget_previous();
        Ok(Outcome::Finished { test, best_epoch, epochs, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Loop<'_, '_> {
    /// Runs all remaining steps; `Some` with the step where it was asked to stop.
    fn steps(&mut self) -> Result<Option<usize>, TrainError> {
        let epochs = self.course.epochs;
        let total = epochs.total();
        (self.run.report)(Event::Started {
            steps: total,
            first: self.course.step,
            images: epochs.images,
            validation: self.validation.as_ref().map_or(0, |(_, set)| set.len()),
            parameters: self.course.classifier.learner.parameters.count_trainable(),
        });
        if self.course.step == 0 && self.run.settings.snapshots > 0 {
            self.save_snapshot()?;
        }
        let mut pacing = Pacing::new(epochs.start(1) / ROWS_PER_EPOCH, RING, CHUNK, CHECKPOINT);
        pacing.saved_at = (self.course.step > 0).then_some(self.course.step);
        while self.course.step < total && !self.out_of_patience() {
            if self.run.stop.load(Ordering::Relaxed) {
                self.save_rest(&mut pacing)?;
                return Ok(Some(self.course.step));
            }
            let began = Instant::now();
            let epoch = self.course.epochs_done();
            let (from, to) = epochs.bounds(epoch);
            let count = pacing.until(self.course.step, from, to) - self.course.step;
            self.run_steps(count, pacing.window, from)?;
            self.tell(count, began);
            pacing.took(began.elapsed());

            let ends = self.course.step == to;
            let is_best = ends && self.end_of_epoch(epoch + 1)?;
            if pacing.is_due(ends) {
                self.try_to_save(&mut pacing, is_best)?;
            }
        }
        self.save_rest(&mut pacing)?;
        Ok(None)
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.run.settings.patience;
        let epoch = self.course.epochs_done();
        patience > 0
            && self.validation.is_some()
            && self.course.step == self.course.epochs.start(epoch)
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
            let epoch = as_written(self.course.epochs.at(step), 4);
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
            let is_last = self.course.step == self.course.epochs.total();
            if is_last {
                self.course.calibrate(self.run.device)?;
            }
            return Ok(is_last);
        };
        self.course.calibrate(self.run.device)?;
        let scores = Scores::new(&evaluation.logits(self.run.device)?, &set.labels);
        if !scores.loss.is_finite() {
            return Err(self.course.not_finite(self.course.step));
        }
        let best = self.best.take(epoch, scores.accuracy());
        let row = Row {
            step: self.course.step,
            epoch: epoch as f64,
            set: Set::Validation,
            loss: scores.loss,
            accuracy: scores.accuracy(),
        };
        (self.run.report)(Event::Validated { epoch, loss: row.loss, accuracy: row.accuracy, best });
        self.metrics.rows.push(row);
        Ok(best)
    }

    /// Saves what is not saved yet; a run ends here.
    fn save_rest(&mut self, pacing: &mut Pacing) -> Result<(), TrainError> {
        while pacing.saved_at != Some(self.course.step) {
            self.try_to_save(pacing, false)?;
        }
        self.finish_curves()
    }

    /// Saves, unless another program has a file of the run open.
    fn try_to_save(&mut self, pacing: &mut Pacing, is_best: bool) -> Result<(), TrainError> {
        let saving = self.save(is_best);
        pacing.saved(self.course.step, saving, |held| (self.run.report)(Event::Warning(held)))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
