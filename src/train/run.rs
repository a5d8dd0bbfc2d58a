//! A run from its first step to its test: the loop, what it saves, and how it goes on after a stop.
//!
//! Everything that decides a run is in its settings, its checkpoint and the data, and nothing else is asked: the
//! clock on the wall only says when to look. So a run that was stopped and resumed ends with the same bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::classifier::{RING, State};
use super::folder::{DATA_DIGEST, Folder};
use super::metrics::{Metrics, Row, Set};
use super::{Classifier, Settings, TrainError};
use crate::data::digest;
use crate::data::{DataSet, ImageSet};
use crate::device::Device;
use crate::graph::Store;
use crate::infer::evaluate::{Evaluation, Normalization, Scores};
use crate::models::{Architecture, ModelFile, Network, Parameters};

/// What a run tells while it goes.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Started {
        steps: usize,
        first: usize,
        images: usize,
        validation: usize,
        parameters: u64,
    },
    /// After every chunk of steps.
    Trained {
        step: usize,
        epoch: f64,
        loss: f64,
        accuracy: f64,
        images_per_second: f64,
    },
    Validated {
        epoch: usize,
        loss: f64,
        accuracy: f64,
        best: bool,
    },
    Saved {
        step: usize,
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

/// What a run is made of.
pub struct Run<'a> {
    pub settings: Settings,
    pub architecture: Architecture,
    pub data: DataSet,
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

struct Loop<'a> {
    run: Run<'a>,
    classifier: Classifier,
    network: Network,
    normalization: Normalization,
    /// Of the training data, validation included.
    digest: String,
    validation: Option<(Evaluation, ImageSet)>,
    /// In an epoch.
    images: usize,
    metrics: Metrics,
    best: Best,
    step: usize,
}

impl Run<'_> {
    /// Trains, from the folder's checkpoint if it has one, and tests at the end.
    pub fn train(self) -> Result<Outcome, TrainError> {
        let started = Instant::now();
        self.folder.clean();
        let digest = digest(&self.data.train);
        let (train, validation) = self.data.train.split(self.settings.validation, u64::from(self.settings.seed))?;
        self.settings.check(train.len())?;
        self.settings.check_image([train.height, train.width])?;
        let origin = self.folder.origin()?;
        // Of all training images, those to validate by too: members of an ensemble have it in common.
        let normalization = match &origin {
            Some((file, path)) => Normalization::read(file, path)?,
            None => Normalization::of_extended(&self.data.train, self.settings.augment.window()),
        };
        let mut store = Store::default();
        let mut parameters = Parameters::new(&mut store, "classifier");
        let input = [train.height, train.width, train.channels];
        let network = self.architecture.declare(input, train.classes, &mut store, &mut parameters)?;
        let mut classifier =
            Classifier::declare(&mut store, &network, parameters, &self.settings, &train, normalization)?;
        let mut evaluation = |set: &ImageSet| {
            let weights = classifier.learner.inference_weights();
            Evaluation::declare(&mut store, &network, &classifier.learner.parameters, weights, set, normalization)
        };
        let mut validation = if validation.is_empty() { None } else { Some((evaluation(&validation)?, validation)) };
        let mut test = if self.data.test.is_empty() { None } else { Some(evaluation(&self.data.test)?) };

        let state = match self.folder.checkpoint()? {
            Some(file) => {
                self.folder.same_data(&file, &digest)?;
                self.folder.state(&file, &classifier)?
            }
            None => {
                let mut first = classifier.initial(self.settings.seed);
                if let Some((file, path)) = &origin {
                    let (weights, running) = file.values(&classifier.learner.parameters, path)?;
                    first.learned = classifier.learner.starting_from(weights, running);
                }
                first
            }
        };
        let (metrics, best) = self.folder.history(state.step as usize)?;
        self.device.allocate(&store)?;
        classifier.upload(self.device, &train)?;
        if let Some((evaluation, set)) = &mut validation {
            evaluation.upload(self.device, set)?;
        }
        classifier.load(self.device, &state)?;

        let images = self.settings.epoch(train.len());
        drop(train);
        let step = state.step as usize;
        let run = self;
        let mut this =
            Loop { run, classifier, network, normalization, digest, validation, images, metrics, best, step };
        if let Some(step) = this.steps()? {
            return Ok(Outcome::Stopped { step });
        }
        if this.validation.is_none() {
            this.best.epoch = this.epochs_done();
        }

        // The test set is touched here, once, with the weights that validation chose.
        let best = this.run.folder.load_best()?;
        let (weights, running) = best.values(&this.classifier.learner.parameters, &this.run.folder.best())?;
        this.run.device.write_f32(this.classifier.learner.inference_weights(), 0, &weights)?;
        this.run.device.write_f32(this.classifier.learner.parameters.state, 0, &running)?;
        let set = &this.run.data.test;
        let test = match &mut test {
            Some(test) => {
                test.upload(this.run.device, set)?;
                Some(Scores::new(&test.logits(this.run.device)?, &set.labels))
            }
            None => None,
        };
        this.run.folder.save_result(test.as_ref(), this.best.epoch)?;
        let (best_epoch, epochs) = (this.best.epoch, this.epochs_done());
        Ok(Outcome::Finished { test, best_epoch, epochs, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Loop<'_> {
    /// All remaining steps; `Some` with the step where it was asked to stop.
    fn steps(&mut self) -> Result<Option<usize>, TrainError> {
        let total = self.classifier.learner.steps();
        (self.run.report)(Event::Started {
            steps: total,
            first: self.step,
            images: self.images,
            validation: self.validation.as_ref().map_or(0, |(_, set)| set.len()),
            parameters: self.classifier.learner.parameters.count_trainable(),
        });
        let window = (self.run.settings.steps(1, self.images) / ROWS_PER_EPOCH).clamp(1, RING);
        let (mut chunk, mut saved) = (1, Instant::now());
        while self.step < total && !self.out_of_patience() {
            if self.run.stop.load(Ordering::Relaxed) {
                self.save()?;
                return Ok(Some(self.step));
            }
            let began = Instant::now();
            let epoch = self.epochs_done();
            let (from, to) = (self.epoch_start(epoch), self.epoch_start(epoch + 1).min(total));
            // A chunk is whole windows, so that no row of the metrics depends on where a run was stopped.
            let windows_done = (self.step - from) / window;
            let end = (from + (windows_done + chunk) * window).min(to);
            let count = end - self.step;
            self.run_steps(count, window, from)?;
            self.tell(count, began);
            let aim = CHUNK.as_secs_f64() / began.elapsed().as_secs_f64().max(1e-6);
            chunk = ((chunk as f64 * aim.clamp(0.5, 2.0)) as usize).clamp(1, RING / window);

            if self.step == to {
                self.end_of_epoch(epoch + 1)?;
            }
            if self.step == to || saved.elapsed() > CHECKPOINT {
                self.save()?;
                saved = Instant::now();
            }
        }
        Ok(None)
    }

    fn epoch_start(&self, epoch: usize) -> usize {
        self.run.settings.steps(epoch, self.images)
    }

    /// Whole epochs behind the current step.
    fn epochs_done(&self) -> usize {
        let mut epoch = self.step * self.run.settings.batch / self.images;
        // A batch may straddle epochs: the division can be one off either way.
        while self.epoch_start(epoch) > self.step {
            epoch -= 1;
        }
        while self.epoch_start(epoch + 1) <= self.step {
            epoch += 1;
        }
        epoch
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.run.settings.patience;
        let epoch = self.epochs_done();
        patience > 0
            && self.validation.is_some()
            && self.step == self.epoch_start(epoch)
            && epoch >= self.best.epoch + patience
    }

    /// Runs steps and records a row for each window in them; windows are counted from the epoch's first step.
    fn run_steps(&mut self, count: usize, window: usize, epoch_start: usize) -> Result<(), TrainError> {
        let steps = self.classifier.run(self.run.device, self.step, count)?;
        for (i, [loss, _]) in steps.iter().enumerate() {
            if !loss.is_finite() {
                return Err(self.not_finite(self.step + i));
            }
        }
        debug_assert!((self.step - epoch_start).is_multiple_of(window));
        for rows in steps.chunks(window) {
            self.step += rows.len();
            let mean = |i: usize| rows.iter().map(|row| f64::from(row[i])).sum::<f64>() / rows.len() as f64;
            let epoch = self.step as f64 * self.run.settings.batch as f64 / self.images as f64;
            self.metrics.rows.push(Row {
                step: self.step,
                epoch,
                set: Set::Training,
                loss: mean(0),
                accuracy: mean(1),
            });
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

    /// Validates and keeps the best; without a validation set the newest is the best.
    fn end_of_epoch(&mut self, epoch: usize) -> Result<(), TrainError> {
        let Some((evaluation, set)) = &mut self.validation else {
            if self.step == self.classifier.learner.steps() {
                self.best = Best { epoch, accuracy: f64::NAN };
                self.save_best()?;
            }
            return Ok(());
        };
        let scores = Scores::new(&evaluation.logits(self.run.device)?, &set.labels);
        if !scores.loss.is_finite() {
            return Err(self.not_finite(self.step));
        }
        let better = self.best.epoch == 0 || scores.accuracy() > self.best.accuracy;
        let row = Row {
            step: self.step,
            epoch: epoch as f64,
            set: Set::Validation,
            loss: scores.loss,
            accuracy: scores.accuracy(),
        };
        (self.run.report)(Event::Validated { epoch, loss: row.loss, accuracy: row.accuracy, best: better });
        self.metrics.rows.push(row);
        if better {
            self.best = Best { epoch, accuracy: scores.accuracy() };
            self.save_best()?;
        }
        Ok(())
    }

    /// A model file of given weights, with all that inference and a reader want to know.
    fn model_file(&self, weights: &[f32], running: &[f32]) -> ModelFile {
        let mut file = ModelFile::new(&self.network, &self.classifier.learner.parameters, weights, running);
        file.set_class_names(&self.run.data.class_names);
        file.set("mean", self.normalization.mean);
        file.set("std", self.normalization.std);
        file.set("data", &self.run.data.name);
        file.set(DATA_DIGEST, &self.digest);
        if let Some(pictures) = &self.run.data.pictures {
            file.set("pictures", pictures);
        }
        file.set("trained", self.run.folder.settings_text(&self.run.settings));
        file.set("epoch", self.epochs_done());
        if let (Some(_), true) = (&self.validation, self.best.epoch > 0) {
            file.set("validation_accuracy", format!("{:.5}", self.best.accuracy));
        }
        file
    }

    fn not_finite(&self, step: usize) -> TrainError {
        // After the last step there is no further epoch.
        let epoch = (step * self.run.settings.batch / self.images + 1).min(self.run.settings.epochs);
        TrainError::NotFinite { step, epoch, rate: self.run.settings.learning_rate }
    }

    /// What is on the device, if it is worth keeping: the newest update may have gone wrong, and the loss that
    /// would show it is the next step's.
    fn state(&mut self) -> Result<State, TrainError> {
        let state = self.classifier.save(self.run.device)?;
        if state.learned.is_finite() { Ok(state) } else { Err(self.not_finite(self.step)) }
    }

    fn save_best(&mut self) -> Result<(), TrainError> {
        let learned = self.state()?.learned;
        let file = self.model_file(learned.inference_weights(), &learned.running);
        Ok(file.save(self.run.folder.best())?)
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let state = self.state()?;
        let mut file = self.model_file(&state.learned.weights, &state.learned.running);
        file.add_u32("clock", &[state.step, state.seed]);
        self.classifier.learner.add_to(&mut file, "", &state.learned);
        self.run.folder.save(&file, &self.metrics, &self.run.settings)?;
        (self.run.report)(Event::Saved { step: self.step, path: self.run.folder.path() });
        Ok(())
    }
}
