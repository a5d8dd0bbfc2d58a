//! What a GAN's run saves to resume from, and how that is read back; and the generator that it keeps.

use super::{GanEvent, GanRun, Loop};
use crate::infer::judge::Judge;
use crate::infer::sample::PREFIX;
use crate::models::ModelFile;
use crate::run_files::{LOSSES, MEASURES};
use crate::train::gan::metrics::{GanMetrics, MeasureRow};
use crate::train::gan::steps::{GanState, GanSteps};
use crate::train::keeping::{Best, EPOCH};
use crate::train::resume::{Checkpoint, Start};
use crate::train::settings::text_of;
use crate::train::{Folder, TrainError};

/// What the names of the discriminator's tensors in a checkpoint begin with.
const CRITIC: &str = "discriminator/";
/// Metadata of a checkpoint and of a best generator.
const JUDGE_DIGEST: &str = "judge_digest";

/// Refuses to resume with a judge other than the one that chose the best so far. Files of older versions do not name it.
pub(super) fn same_judge(Checkpoint { file, .. }: &Checkpoint, judge: &Judge) -> Result<(), TrainError> {
    match file.metadata.get(JUDGE_DIGEST) {
        Some(was) if *was != judge.digest => {
            let reason = format!(
                "its judge, {}, is not the one it began with (digest {was}, now {}), and measures of different \
                 judges cannot be compared. Put the old one back, say with --judge where it is, or start a new run",
                judge.name, judge.digest
            );
            Err(TrainError::Resume { path: file.name.clone(), reason })
        }
        _ => Ok(()),
    }
}

/// What a checkpoint holds, fitted to the steps.
pub(super) fn state_of(checkpoint: &Checkpoint, steps: &GanSteps) -> Result<GanState, TrainError> {
    let [round, seed] = checkpoint.clock("round", steps.epochs.total())?;
    let generator = steps.generator.learned(&checkpoint.file, PREFIX)?;
    Ok(GanState { round, seed, generator, discriminator: steps.discriminator.learned(&checkpoint.file, CRITIC)? })
}

/// All metrics that a folder has.
fn recorded(folder: &Folder) -> Result<GanMetrics, TrainError> {
    let read = |name| Ok::<_, TrainError>(folder.read(name)?.unwrap_or_default());
    let parsed = GanMetrics::parse(&read(LOSSES)?, &read(MEASURES)?);
    parsed.map_err(|reason| TrainError::Resume { path: folder.path().into(), reason })
}

/// The metrics up to a round. Rows after the checkpoint belong to rounds that are done again.
///
/// # Errors
/// Losses that are missing, or end before that round.
pub(super) fn history(folder: &Folder, round: usize) -> Result<GanMetrics, TrainError> {
    let mut metrics = recorded(folder)?;
    metrics.losses.retain(|row| row.round <= round);
    metrics.measures.retain(|row| row.round <= round);
    folder.check_reach(LOSSES, "round", metrics.losses.last().map_or(0, |row| row.round), round)?;
    Ok(metrics)
}

/// The best epoch so far; none if the generator that is there, of epoch `kept`, has no finite distance: older versions
/// kept such a one against all later ones.
pub(super) fn best_of(measures: &[MeasureRow], kept: usize) -> Best {
    let mut best = Best::default();
    if measures.iter().any(|row| row.epoch == kept && !row.frechet.is_finite()) {
        return best;
    }
    for row in measures {
        best.take(row.epoch, -row.frechet);
    }
    best
}

/// The best epoch by the rule of versions whose checkpoints do not say it: the first, until one has a lesser distance.
/// None is less than one that is no number.
fn best_before(measures: &[MeasureRow]) -> usize {
    let lesser = measures.iter().reduce(|best, row| if row.frechet < best.frechet { row } else { best });
    lesser.map_or(0, |row| row.epoch)
}

impl GanRun<'_> {
    /// Refuses to resume a run with a judge other than its own. One that `is_given` in the place of that is refused, too,
    /// where the run does not say which its own was.
    ///
    /// # Errors
    /// [`TrainError::Resume`].
    pub fn check_judge(start: &Start, judge: &Judge, is_given: bool) -> Result<(), TrainError> {
        let Some(kept) = start.kept() else { return Ok(()) };
        if is_given && !kept.file.metadata.contains_key(JUDGE_DIGEST) {
            let reason = "it is of an older version, which does not say by which judge it was measured. Put the judge \
                          back where it was, and leave out --judge"
                .into();
            return Err(TrainError::Resume { path: kept.file.name.clone(), reason });
        }
        same_judge(kept, judge)
    }

    /// Refuses a best generator that does not belong to what the run starts from, and a folder without the checkpoint
    /// that it once had. `measures` are those up to there. Returns the epoch of the best generator.
    pub(super) fn check_kept(
        &self,
        start: &Start,
        measures: &[MeasureRow],
        steps: &GanSteps,
    ) -> Result<usize, TrainError> {
        match start {
            Start::Over(generator) => {
                self.folder.check_finished()?;
                generator.epoch()
            }
            Start::From(checkpoint) => {
                let done = checkpoint.epoch()?;
                // Without a judge the last generator is the only one that is kept.
                let is_last = self.settings.measure == 0 && done == self.settings.epochs;
                let known = if is_last { done } else { best_before(measures) };
                self.folder.check_best(checkpoint, known, MEASURES)
            }
            Start::Anew => {
                // A round may end several epochs.
                let first = steps.epochs.done(steps.epochs.start(1));
                let losses = recorded(&self.folder)?.losses;
                self.folder.check_lost(losses.last().map_or(0.0, |row| row.epoch), first)
            }
        }
    }
}

impl Loop<'_> {
    /// A file with everything that a reader of the generator needs to know, without tensors yet.
    fn file(&self) -> ModelFile {
        let run = &self.run;
        let mut file = ModelFile::of_gan(&run.gan, self.image, &run.data.class_names);
        self.provenance.describe(&mut file, &run.data, &self.digest, &run.settings.reading);
        file.set("trained", text_of(&run.settings));
        file.set(EPOCH, self.epochs_done());
        if let Some(quality) = &self.quality {
            file.set(JUDGE_DIGEST, &quality.judge.digest);
        }
        file
    }

    /// The state on the device, if it is worth keeping.
    fn state(&mut self) -> Result<GanState, TrainError> {
        let state = self.steps.save(self.run.device)?;
        for (name, learned) in [("discriminator", &state.discriminator), ("generator", &state.generator)] {
            if !learned.is_finite() {
                return Err(self.not_finite(name, self.round));
            }
        }
        Ok(state)
    }

    /// The generator alone, as it is sampled from: averaged weights and their statistics.
    fn best_file(&mut self) -> Result<ModelFile, TrainError> {
        let values = self.steps.generator.inference(self.run.device)?;
        let mut file = self.file();
        file.add_values(PREFIX, &self.steps.generator.parameters, &values);
        Ok(file)
    }

    /// Writes metrics, the generator if this is the best, a checkpoint, and curves if it is time for them.
    pub(super) fn save(&mut self, is_best: bool) -> Result<(), TrainError> {
        // Nothing is kept of a state that a run cannot resume from.
        let state = self.state()?;
        let best = if is_best { Some(self.best_file()?) } else { None };
        let mut file = self.file();
        file.add_u32("clock", &[state.round, state.seed]);
        for (learner, prefix, learned) in [
            (&self.steps.generator, PREFIX, &state.generator),
            (&self.steps.discriminator, CRITIC, &state.discriminator),
        ] {
            file.add_values(prefix, &learner.parameters, &learned.values);
            learner.add_to(&mut file, prefix, learned);
        }
        let curves = || self.metrics.picture(&self.run.settings.model);
        let measures = self.metrics.measures_csv(&self.run.data.class_names);
        let tables = [(MEASURES, measures), (LOSSES, self.metrics.losses_csv())];
        self.keeping.save(&self.run.folder, &tables, best, file, curves)
    }

    /// Draws the curves that [`Loop::save`] has left; a run ends here.
    pub(super) fn finish_curves(&mut self) -> Result<(), TrainError> {
        let held = self.keeping.finish(&self.run.folder, || self.metrics.picture(&self.run.settings.model))?;
        held.into_iter().for_each(|held| (self.run.report)(GanEvent::Warning(held)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements of the first epochs, with these distances.
    fn measured(distances: &[f64]) -> Vec<MeasureRow> {
        let row = |(i, frechet): (usize, &f64)| {
            let (round, fields) = (20 * (i + 1), String::new());
            MeasureRow { round, epoch: i + 1, frechet: *frechet, recovered: 1.0, precision: 1.0, recall: 1.0, fields }
        };
        distances.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_resumed_run_knows_its_best_epoch_unless_it_has_a_generator_whose_distance_is_no_number() {
        let best = |distances: &[f64], kept: usize| best_of(&measured(distances), kept).epoch;
        assert_eq!(best(&[3.0, 1.0, 2.0], 2), 2);
        // It was killed after it had kept the third, which on another device is done again and is no better.
        assert_eq!([best(&[3.0, 1.0], 3), best(&[3.0, 1.0, 2.0], 3)], [2, 2]);
        // What an older version kept gives way to the next that is measured.
        assert_eq!(best(&[f64::NAN, 1.0], 1), 0);
        assert_eq!(best(&[f64::NAN, f64::INFINITY], 0), 0);
    }

    #[test]
    fn older_versions_kept_the_first_epoch_if_its_distance_was_no_number() {
        let best = |distances: &[f64]| best_before(&measured(distances));
        assert_eq!(best(&[f64::NAN, 1.0]), 1);
        assert_eq!(best(&[2.0, f64::NAN, 1.0, 1.0]), 3);
        assert_eq!(best(&[f64::INFINITY, 1.0]), 2);
        assert_eq!(best(&[f64::INFINITY, f64::NAN]), 1);
        assert_eq!(best(&[]), 0);
    }
}
