//! What a GAN's run saves to resume from, and how that is read back; and the generator that it keeps.

use super::{Best, GanRun, Loop};
use crate::infer::judge::Judge;
use crate::infer::sample::PREFIX;
use crate::models::{DATA_DIGEST, ModelFile};
use crate::report;
use crate::train::folder::{BEST_EPOCH, Checkpoint, Folder};
use crate::train::gan::metrics::{GanMetrics, LOSSES, MEASURES};
use crate::train::gan::steps::{GanState, GanSteps};
use crate::train::settings::text_of;
use crate::train::{Precision, TrainError};

/// What the names of the discriminator's tensors in a checkpoint begin with.
const CRITIC: &str = "discriminator/";
/// Metadata of a checkpoint and of a best generator.
const JUDGE_DIGEST: &str = "judge_digest";

/// Refuses to resume with a judge other than the one that chose the best so far. Files of older versions do not name it.
pub(super) fn same_judge(Checkpoint { file, path, .. }: &Checkpoint, judge: &Judge) -> Result<(), TrainError> {
    match file.metadata.get(JUDGE_DIGEST) {
        Some(was) if *was != judge.digest => {
            let reason = format!(
                "its judge, {}, is not the one it began with (digest {was}, now {}), and measures of different \
                 judges cannot be compared. Put the old one back, say with --judge where it is, or start a new run",
                judge.name, judge.digest
            );
            Err(TrainError::Resume { path: path.clone(), reason })
        }
        _ => Ok(()),
    }
}

/// What a checkpoint holds, fitted to the steps.
pub(super) fn state_of(checkpoint: &Checkpoint, steps: &GanSteps) -> Result<GanState, TrainError> {
    let [round, seed] = checkpoint.clock("round", steps.generator.steps())?;
    let Checkpoint { file, path, .. } = checkpoint;
    let generator = steps.generator.learned(file, PREFIX, path)?;
    Ok(GanState { round, seed, generator, discriminator: steps.discriminator.learned(file, CRITIC, path)? })
}

impl GanRun<'_> {
    /// Refuses to resume a run with a judge other than its own. One that `is_given` in the place of that is refused, too,
    /// where the run does not say which its own was.
    ///
    /// # Errors
    /// [`TrainError::Resume`], and those of reading what the run is resumed from.
    pub fn check_judge(folder: &Folder, judge: &Judge, is_given: bool) -> Result<(), TrainError> {
        let Some(kept) = folder.kept()? else { return Ok(()) };
        if is_given && !kept.file.metadata.contains_key(JUDGE_DIGEST) {
            let reason = "it is of an older version, which does not say by which judge it was measured. Put the judge \
                          back where it was, and leave out --judge"
                .into();
            return Err(TrainError::Resume { path: kept.path, reason });
        }
        same_judge(&kept, judge)
    }

    /// All metrics that the folder has.
    fn metrics(&self) -> Result<GanMetrics, TrainError> {
        let read = |name| Ok::<_, TrainError>(self.folder.read(name)?.unwrap_or_default());
        let parsed = GanMetrics::parse(&read(LOSSES)?, &read(MEASURES)?);
        parsed.map_err(|reason| TrainError::Resume { path: self.folder.path().into(), reason })
    }

    /// Refuses a best generator that does not belong to what the run goes on from, which is at `round`, and a folder
    /// without the checkpoint that it once had. Returns the epoch of the best generator.
    pub(super) fn check_kept(
        &self,
        kept: Option<&Checkpoint>,
        best: Best,
        steps: &GanSteps,
        round: usize,
    ) -> Result<usize, TrainError> {
        let settings = &self.settings;
        match kept {
            Some(generator) if generator.is_over => generator.epoch(),
            Some(checkpoint) => {
                let known = match settings.measure {
                    // Without a judge the last generator is the only one that is kept.
                    0 if round == steps.generator.steps() => checkpoint.epoch()?,
                    _ => best.epoch,
                };
                self.folder.check_best(checkpoint, known, MEASURES)
            }
            None => {
                // A round may end several epochs.
                let pictures = settings.rounds(1, steps.images) * settings.batch * settings.discriminator_steps;
                let first = (pictures / steps.images).min(settings.epochs);
                self.folder.check_lost(self.metrics()?.losses.last().map_or(0.0, |row| row.epoch), first)
            }
        }
    }

    /// The metrics up to a round, and the best epoch in them. Rows after the checkpoint belong to rounds that are done
    /// again.
    ///
    /// # Errors
    /// Losses that are missing, or end before that round.
    pub(super) fn history(&self, round: usize) -> Result<(GanMetrics, Best), TrainError> {
        let mut metrics = self.metrics()?;
        metrics.losses.retain(|row| row.round <= round);
        metrics.measures.retain(|row| row.round <= round);
        self.folder.check_reach(LOSSES, "round", metrics.losses.last().map_or(0, |row| row.round), round)?;
        let mut best = Best::default();
        for row in &metrics.measures {
            best.take(row.epoch, row.frechet);
        }
        Ok((metrics, best))
    }
}

impl Loop<'_> {
    /// A file with everything that a reader of the generator needs to know, without tensors yet.
    fn file(&self) -> ModelFile {
        let run = &self.run;
        let mut file = ModelFile::of_gan(&run.gan, self.image, &run.data.class_names);
        file.set("data", &run.data.name);
        file.set(DATA_DIGEST, &self.digest);
        file.set_pictures(run.data.pictures);
        file.set_hold_out(run.settings.reading.hold_out);
        file.set("trained", text_of(&run.settings));
        self.provenance.describe(&mut file, run.settings.seed, Precision::F32);
        file.set("epoch", self.epochs_done());
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
        let (weights, running) = self.steps.generator.inference(self.run.device)?;
        let parameters = &self.steps.generator.parameters;
        let mut file = self.file();
        file.add_flat(PREFIX, parameters.trainable(), &weights);
        file.add_flat(PREFIX, parameters.running(), &running);
        Ok(file)
    }

    /// Writes curves, metrics, the generator if this is the best, and a checkpoint. The checkpoint is never ahead of the
    /// others, and the generator gets ahead of it only where the checkpoint itself cannot be written.
    pub(super) fn save(&mut self, is_best: bool) -> Result<(), TrainError> {
        // Nothing is kept of a state that a run cannot resume from.
        let state = self.state()?;
        if is_best {
            self.unsaved = Some(self.best_file()?);
        }
        let folder = &self.run.folder;
        let picture = self.metrics.picture(&self.run.settings.model)?;
        report::save_png(&picture, folder.path().join("curves.png"))?;
        folder.write(MEASURES, self.metrics.measures_csv(&self.run.data.class_names).as_bytes())?;
        folder.write(LOSSES, self.metrics.losses_csv().as_bytes())?;
        if let Some(best) = &self.unsaved {
            self.written = folder.save_best(best)?;
            self.unsaved = None;
        }
        let mut file = self.file();
        file.set(BEST_EPOCH, self.written);
        file.add_u32("clock", &[state.round, state.seed]);
        for (learner, prefix, learned) in [
            (&self.steps.generator, PREFIX, &state.generator),
            (&self.steps.discriminator, CRITIC, &state.discriminator),
        ] {
            file.add_flat(prefix, learner.parameters.trainable(), &learned.weights);
            file.add_flat(prefix, learner.parameters.running(), &learned.running);
            learner.add_to(&mut file, prefix, learned);
        }
        folder.save_checkpoint(&file)
    }
}
