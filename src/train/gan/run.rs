//! A GAN's run: rounds, snapshots, measurements that choose the best, and how it resumes after a stop.
//!
//! As with a classifier, nothing that decides a run depends on wall-clock time. Measurements during training compare
//! with real pictures of the training set: the test set is touched once, at the end, with the generator that they
//! chose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::groups::{grouped, left_out};
use super::metrics::{GanMetrics, LossRow, MeasureRow};
use super::settings::GanSettings;
use super::steps::{GanSteps, RoundLoss};
use crate::data::{DataSet, ImageSet, digest};
use crate::device::Device;
use crate::faults::{self, Fault};
use crate::graph::Store;
use crate::infer::judge::Judge;
use crate::infer::sample::{BATCH, PREFIX};
use crate::infer::{Measures, Quality, Sampler};
use crate::models::{At, Gan, ModelError};
use crate::run_files::TEST;
use crate::train::keeping::{Best, EPOCH, Keeping};
use crate::train::metrics::as_written;
use crate::train::pacing::Pacing;
use crate::train::provenance::Provenance;
use crate::train::resume::Start;
use crate::train::{Folder, Precision, TrainError};

mod checkpoint;
mod pictures;

use checkpoint::{best_of, history, same_judge, state_of};
pub use pictures::MEASURE_SEED;

/// What a run reports while it trains.
#[derive(Clone, Debug)]
pub enum GanEvent<'a> {
    /// Before the first round.
    Started {
        /// Rounds of the whole run.
        rounds: usize,
        /// Rounds that were done before; above 0 if the run resumes from a checkpoint.
        first: usize,
        /// Real pictures in an epoch.
        images: usize,
        /// Classes, and how many of them, the first, snapshots show.
        classes: usize,
        shown: usize,
        /// Trainable numbers of each network.
        generator: u64,
        discriminator: u64,
    },
    /// After every chunk of rounds, what the newest row of the metrics says.
    Trained {
        /// Rounds done.
        round: usize,
        /// Epochs done, with their fraction.
        epoch: f64,
        /// Each network's loss, the mean over some rounds; the discriminator's is that of real and generated pictures.
        discriminator: f64,
        generator: f64,
        /// Real pictures, in this chunk.
        images_per_second: f64,
    },
    /// At the end of an epoch, where it is time to measure.
    Measured {
        /// Epochs done.
        epoch: usize,
        measures: &'a Measures,
        /// Whether the Fréchet distance is less than at every earlier measurement; or this is the last one, and none was
        /// a finite number.
        best: bool,
    },
    /// Something that a person should know about but that does not end the run.
    Warning(String),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum GanOutcome {
    /// Trained to the end. The measures are those of the best epoch's generator against the test set, where there is a
    /// judge.
    Finished { test: Option<Measures>, best_epoch: usize, epochs: usize, seconds: f64 },
    /// Stopped on request; the checkpoint is complete.
    Stopped { round: usize },
}

/// How long a chunk of rounds should take.
const CHUNK: Duration = Duration::from_millis(500);
/// The longest time between checkpoints, besides those at the end of every epoch.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// Rows of `losses.csv` per epoch.
const ROWS_PER_EPOCH: usize = 50;
/// A row takes no longer than about two seconds on a slow processor, since a run stops only between two rows.
const WINDOW_FLOPS: u64 = 200_000_000_000;

/// Pictures that a measurement looks at, generated and real.
pub const MEASURED: usize = 10_000;

/// What a run is made of.
pub struct GanRun<'a> {
    pub settings: GanSettings,
    pub gan: Gan,
    pub data: DataSet,
    pub folder: Folder,
    pub device: &'a mut dyn Device,
    /// Set from outside (Ctrl-C): the run saves and ends.
    pub stop: &'a AtomicBool,
    pub report: &'a mut dyn FnMut(GanEvent),
}

struct Loop<'a> {
    run: GanRun<'a>,
    provenance: Provenance,
    steps: GanSteps,
    sampler: Sampler,
    quality: Option<Quality>,
    /// The labels of the real pictures that measurements compare with.
    reference: Vec<u32>,
    digest: String,
    image: [usize; 3],
    classes: usize,
    /// Of snapshots, each with another class.
    columns: usize,
    metrics: GanMetrics,
    /// By Fréchet distance; its score is how far that lies below zero.
    best: Best,
    keeping: Keeping,
    round: usize,
    /// The epoch whose groups are on the device.
    grouped: usize,
}

impl GanRun<'_> {
    /// Refuses what cannot be trained, before anything is written.
    ///
    /// # Errors
    /// As [`GanRun::train`].
    pub fn check(gan: &Gan, settings: &GanSettings, train: &ImageSet) -> Result<(), TrainError> {
        settings.check(train.len())?;
        gan.check_labels()?;
        // Snapshots could not be written.
        if !matches!(train.channels, 1 | 3) {
            let &ImageSet { height, width, channels, .. } = train;
            let problem = format!(
                "a GAN draws pictures of 1 channel (grey) or 3 (colour), but these images have {channels} channels. \
                 Convert them to 1 or 3; for picture files, --image-size {height}x{width}x3 does it"
            );
            return Err(ModelError::Architecture { at: At { file: gan.name.clone(), ..At::default() }, problem }.into());
        }
        let mut store = Store::default();
        GanSteps::declare(&mut store, gan, settings, &grouped(train, settings.pack, 0, 0)?)?;
        if settings.measure > 0 {
            Judge::declare(&mut store, settings.judge.as_deref())?.check(train)?;
        }
        Ok(())
    }

    /// Trains, from the folder's checkpoint if it has one, and measures against the test set at the end. A finished run
    /// whose checkpoint was removed is only measured again.
    ///
    /// # Errors
    /// Data that [`DataSet::check`] refuses, whatever does not fit, files of the folder that do not belong together,
    /// errors of the device or the disk, and losses that are not finite.
    pub fn train(self) -> Result<GanOutcome, TrainError> {
        self.data.check()?;
        let started = Instant::now();
        let _lock = self.folder.lock()?;
        self.folder.clean();
        let train = &self.data.train;
        let (digest, classes) = (digest(train), train.classes);
        let image = [train.height, train.width, train.channels];
        self.settings.check(train.len())?;
        let set = grouped(train, self.settings.pack, self.settings.seed, 0)?;
        if let Some(warning) = left_out(&self.data, self.settings.pack) {
            (self.report)(GanEvent::Warning(warning));
        }

        let mut store = Store::default();
        let mut steps = GanSteps::declare(&mut store, &self.gan, &self.settings, &set)?;
        let parameters = steps.generator.inference_parameters();
        let range = self.gan.range()?;
        let batch = steps.generator_network.images_at_once(BATCH);
        let sampler = Sampler::declare(batch, &mut store, &steps.generator_network, &parameters, range)?;
        let judge = match self.settings.measure {
            0 => None,
            _ => Some(Judge::declare(&mut store, self.settings.judge.as_deref())?),
        };
        let start = self.folder.start()?;
        start.check_data(&digest, &self.data.class_names)?;
        if let (Some(kept), Some(judge)) = (start.kept(), &judge) {
            same_judge(kept, judge)?;
        }
        if let Some(warning) = self.folder.mend(&start)? {
            (self.report)(GanEvent::Warning(warning));
        }
        let state = match &start {
            Start::From(checkpoint) => state_of(checkpoint, &steps)?,
            Start::Anew | Start::Over(_) => steps.initial(self.settings.seed),
        };
        let metrics = history(&self.folder, state.round as usize)?;
        let written = self.check_kept(&start, &metrics.measures, &steps)?;
        let best = best_of(&metrics.measures, written);
        let (data, judge_place) = (self.settings.data.clone(), self.settings.judge.clone());
        self.folder.change_settings(|was: GanSettings| GanSettings { data, judge: judge_place, ..was })?;

        self.device.allocate(&store)?;
        steps.upload(self.device, &set)?;
        steps.load(self.device, &state)?;
        drop(set);
        let reference = train.sample(MEASURED, 1);
        let quality = match judge {
            Some(mut judge) => {
                judge.check(train)?;
                if let Some(matched) = judge.match_classes(&self.data) {
                    (self.report)(GanEvent::Warning(matched));
                }
                judge.upload(self.device)?;
                let quality = Quality::new(judge, self.device, &reference)?;
                if let Some(doubt) = quality.doubt() {
                    (self.report)(GanEvent::Warning(doubt));
                }
                Some(quality)
            }
            None => None,
        };

        let round = state.round as usize;
        let columns = pictures::columns(&self.folder, image, classes);
        let mut this = Loop {
            provenance: Provenance::new(self.device, start.checkpoint(), self.settings.seed, Precision::F32),
            run: self,
            steps,
            sampler,
            quality,
            reference: reference.labels,
            digest,
            image,
            classes,
            columns,
            metrics,
            best,
            keeping: Keeping::new(written, start.checkpoint().is_some()),
            round,
            grouped: 0,
        };
        let is_over = start.is_over();
        drop(start);
        if !is_over && let Some(round) = this.rounds()? {
            return Ok(GanOutcome::Stopped { round });
        }
        let epochs = this.run.settings.epochs;
        let test = this.test()?;
        this.animate()?;
        this.run.folder.forget_previous();
        let best_epoch = this.run.folder.load_best()?.number(EPOCH)?;
        Ok(GanOutcome::Finished { test, best_epoch, epochs, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Loop<'_> {
    /// Runs all remaining rounds; `Some` with the round where it was asked to stop.
    fn rounds(&mut self) -> Result<Option<usize>, TrainError> {
        let epochs = self.steps.epochs;
        let total = epochs.total();
        (self.run.report)(GanEvent::Started {
            rounds: total,
            first: self.round,
            images: epochs.images,
            classes: self.classes,
            shown: self.columns,
            generator: self.steps.generator.parameters.count_trainable(),
            discriminator: self.steps.discriminator.parameters.count_trainable(),
        });
        let most = self.steps.most_rounds();
        let flops = self.steps.flops().max(1);
        let quick = usize::try_from(WINDOW_FLOPS / flops).unwrap_or(most);
        let mut pacing = Pacing::new((epochs.start(1) / ROWS_PER_EPOCH).min(quick), most, CHUNK, CHECKPOINT);
        pacing.saved_at = (self.round > 0).then_some(self.round);
        if self.round == 0 {
            self.snapshot(0)?;
        }
        while self.round < total {
            if self.run.stop.load(Ordering::Relaxed) {
                self.save_rest(&mut pacing)?;
                return Ok(Some(self.round));
            }
            let began = Instant::now();
            let epoch = self.epochs_done();
            self.regroup(epoch)?;
            let (from, to) = epochs.bounds(epoch);
            let count = pacing.until(self.round, from, to) - self.round;
            self.run_rounds(count, pacing.window)?;
            self.tell(count, began);
            pacing.took(began.elapsed());

            let ends = self.round == to;
            let is_best = ends && self.end_of_epoch(epoch)?;
            if pacing.is_due(ends) {
                self.try_to_save(&mut pacing, is_best)?;
            }
        }
        self.save_rest(&mut pacing)?;
        Ok(None)
    }

    /// Saves what is not saved yet; a run ends here.
    fn save_rest(&mut self, pacing: &mut Pacing) -> Result<(), TrainError> {
        while pacing.saved_at != Some(self.round) {
            self.try_to_save(pacing, false)?;
        }
        self.finish_curves()
    }

    /// Saves, unless another program has a file of the run open.
    fn try_to_save(&mut self, pacing: &mut Pacing, is_best: bool) -> Result<(), TrainError> {
        let saving = self.save(is_best);
        pacing.saved(self.round, saving, |held| (self.run.report)(GanEvent::Warning(held)))
    }

    /// Different pictures share a group in every epoch, so that the discriminator cannot memorise groups.
    fn regroup(&mut self, epoch: usize) -> Result<(), TrainError> {
        if self.run.settings.pack > 1 && self.grouped != epoch {
            let settings = &self.run.settings;
            let set = grouped(&self.run.data.train, settings.pack, settings.seed, epoch)?;
            self.steps.send(self.run.device, &set)?;
            self.grouped = epoch;
        }
        Ok(())
    }

    /// Whole epochs done at the current round.
    fn epochs_done(&self) -> usize {
        self.steps.epochs.done(self.round)
    }

    /// Runs rounds and records a row for each window in them; windows are counted from the epoch's first round.
    fn run_rounds(&mut self, count: usize, window: usize) -> Result<(), TrainError> {
        let mut rounds = self.steps.run(self.run.device, self.round, count)?;
        if faults::happens(Fault::NotFinite) {
            rounds[0].real = f32::NAN;
        }
        for (i, loss) in rounds.iter().enumerate() {
            let wrong = if !(loss.real.is_finite() && loss.fake.is_finite()) {
                "discriminator"
            } else if !loss.generator.is_finite() {
                "generator"
            } else {
                continue;
            };
            return Err(self.not_finite(wrong, self.round + i));
        }
        for rows in rounds.chunks(window) {
            self.round += rows.len();
            let mean = |value: fn(&RoundLoss) -> f32| {
                rows.iter().map(|row| f64::from(value(row))).sum::<f64>() / rows.len() as f64
            };
            self.metrics.losses.push(LossRow {
                round: self.round,
                epoch: as_written(self.steps.epochs.at(self.round), 4),
                real: mean(|r| r.real),
                fake: mean(|r| r.fake),
                generator: mean(|r| r.generator),
                answer: mean(|r| r.answer),
            });
        }
        Ok(())
    }

    fn tell(&mut self, rounds: usize, began: Instant) {
        let Some(last) = self.metrics.losses.last() else { return };
        let images = (rounds * self.steps.epochs.batch) as f64;
        (self.run.report)(GanEvent::Trained {
            round: last.round,
            epoch: last.epoch,
            discriminator: (last.real + last.fake) / 2.0,
            generator: last.generator,
            images_per_second: images / began.elapsed().as_secs_f64().max(1e-9),
        });
    }

    /// Makes a snapshot and, when it is due, a measurement. Returns whether this is the best epoch; without a judge, or
    /// where no distance is a finite number, the last is. `before` is how many epochs were done at the previous end: a
    /// round that takes more pictures than an epoch has can end several at once.
    fn end_of_epoch(&mut self, before: usize) -> Result<bool, TrainError> {
        let epoch = self.epochs_done();
        self.snapshot(epoch)?;
        let last = epoch == self.run.settings.epochs;
        let measure = self.run.settings.measure;
        let due = measure > 0 && (epoch / measure > before / measure || last);
        if !due || self.quality.is_none() {
            return Ok(self.quality.is_none() && last);
        }
        let generated = self.generated(&self.reference.clone())?;
        let Some(quality) = &mut self.quality else { return Ok(last) };
        let measures = quality.measure(self.run.device, &generated)?;
        let row = MeasureRow::new(self.round, epoch, &measures);
        let best = self.best.take_or_last(epoch, -row.frechet, last);
        let doubt = self.metrics.measured(row);
        (self.run.report)(GanEvent::Measured { epoch, measures: &measures, best });
        if let Some(doubt) = doubt {
            (self.run.report)(GanEvent::Warning(doubt));
        }
        self.warn(epoch, &measures);
        Ok(best)
    }

    /// Warns about what looks like a GAN that has gone wrong.
    fn warn(&mut self, epoch: usize, measures: &Measures) {
        let names = &self.run.data.class_names;
        let collapsed: Vec<&str> =
            measures.collapsed().iter().filter_map(|class| names.get(*class)).map(String::as_str).collect();
        if !collapsed.is_empty() {
            (self.run.report)(GanEvent::Warning(format!(
                "epoch {epoch}: collapse: the pictures of {} are nearly all alike",
                collapsed.join(", ")
            )));
        }
        let Some(last) = self.metrics.losses.last() else { return };
        if last.real + last.fake < 1e-3 {
            (self.run.report)(GanEvent::Warning(format!(
                "epoch {epoch}: the discriminator tells everything apart (loss {:.1e}), so that the generator learns \
                 little; try --label-noise 0.05 or a smaller --discriminator-rate",
                (last.real + last.fake) / 2.0
            )));
        }
    }

    /// The test set is touched here, once, with the generator that measurements chose.
    fn test(&mut self) -> Result<Option<Measures>, TrainError> {
        let Some(quality) = self.quality.take() else { return Ok(None) };
        if let Some(warning) = self.run.folder.tested_on_others(&self.run.data.test) {
            (self.run.report)(GanEvent::Warning(warning));
        }
        let best = self.run.folder.load_best()?;
        let parameters = self.steps.generator.inference_parameters();
        parameters.send(self.run.device, &best.values(PREFIX, &parameters)?)?;
        let labels = self.run.data.test.labels.clone();
        let generated = self.generated(&labels)?;
        let data = &self.run.data;
        let mut quality = Quality::new(quality.judge, self.run.device, &data.test)?;
        quality.find_floor(self.run.device, &data.train)?;
        let measures = quality.measure(self.run.device, &generated)?;
        let text = format!("{}\n{}\n", Measures::csv_header(&data.class_names), measures.csv());
        self.run.folder.write(TEST, text.as_bytes())?;
        self.run.folder.save_result(best.number(EPOCH)?, &self.run.data.test, None)?;
        Ok(Some(measures))
    }

    /// The error where a network's loss is not finite after `good` good rounds.
    fn not_finite(&self, network: &'static str, good: usize) -> TrainError {
        let GanSettings { generator_rate, discriminator_rate, .. } = self.run.settings;
        let epoch = self.steps.epochs.next(good);
        TrainError::GanNotFinite { network, round: good + 1, epoch, generator_rate, discriminator_rate }
    }
}
