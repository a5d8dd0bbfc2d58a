//! What a classifier's run saves to resume from, and how that is read back; and the model that it keeps.

use image::RgbImage;

use super::{Loop, Run};
use crate::models::{ModelFile, Values};
use crate::report::ReportError;
use crate::run_files::METRICS;
use crate::train::keeping::Best;
use crate::train::metrics::{Curves, Metrics, Set};
use crate::train::resume::{Checkpoint, Start};
use crate::train::steps::State;
use crate::train::{ClassifierSteps, Epochs, Event, Folder, Settings, TrainError};

/// What a checkpoint holds, fitted to a classifier.
pub(super) fn state_of(
    checkpoint: &Checkpoint,
    classifier: &ClassifierSteps,
    epochs: Epochs,
) -> Result<State, TrainError> {
    let [step, seed] = checkpoint.clock("step", epochs.total())?;
    Ok(State { step, seed, learned: classifier.learner.learned(&checkpoint.file, "")? })
}

/// All metrics that a folder has.
pub(super) fn recorded(folder: &Folder) -> Result<Metrics, TrainError> {
    let Some(text) = folder.read(METRICS)? else { return Ok(Metrics::default()) };
    Metrics::parse(&text).map_err(|reason| TrainError::Resume { path: folder.path().join(METRICS), reason })
}

/// The metrics up to a checkpoint's step, and the best epoch in them. Rows after the checkpoint belong to steps that are
/// done again.
///
/// # Errors
/// Metrics that are missing, or end before that step.
pub(super) fn history(folder: &Folder, step: usize) -> Result<(Metrics, Best), TrainError> {
    let mut metrics = recorded(folder)?;
    metrics.rows.retain(|row| row.step <= step);
    folder.check_reach(METRICS, "step", metrics.rows.last().map_or(0, |row| row.step), step)?;
    let mut best = Best::default();
    for row in metrics.rows.iter().filter(|row| row.set == Set::Validation) {
        best.take(row.epoch.round() as usize, row.accuracy);
    }
    Ok((metrics, best))
}

impl Run<'_> {
    /// Refuses a best model that does not belong to what the run starts from, and a folder without the checkpoint that
    /// it once had. `best` is the best epoch up to there. Returns the epoch of the best model.
    pub(super) fn check_kept(&self, start: &Start, best: Best) -> Result<usize, TrainError> {
        match start {
            Start::Over(model) => {
                self.folder.check_finished()?;
                model.epoch()
            }
            Start::From(checkpoint) => {
                let done = checkpoint.epoch()?;
                // Without validation the last model is the only one that is kept.
                let is_last = self.settings.validation == 0 && done == self.settings.epochs;
                let known = if is_last { done } else { best.epoch };
                self.folder.check_best(checkpoint, known, METRICS)
            }
            Start::Anew => {
                let metrics = recorded(&self.folder)?;
                self.folder.check_lost(metrics.rows.last().map_or(0.0, |row| row.epoch), 1)
            }
        }
    }
}

impl Loop<'_, '_> {
    /// A model file of given values, with the validation accuracy of the best.
    fn model_file(&self, values: &Values) -> ModelFile {
        let mut file = self.course.model_file(values);
        if self.best.epoch > 0 {
            file.set("validation_accuracy", format!("{:.5}", self.best.score));
        }
        file
    }

    pub(super) fn save_snapshot(&mut self) -> Result<(), TrainError> {
        let file = self.course.model_now(self.run.device)?;
        self.run.folder.save_snapshot(self.course.step, &file)
    }

    /// Writes metrics, the model if this is the best, a checkpoint, and curves if it is time for them.
    pub(super) fn save(&mut self, is_best: bool) -> Result<(), TrainError> {
        // Nothing is kept of a state that a run cannot resume from: the best stays that of the last checkpoint.
        let state = self.course.state(self.run.device)?;
        let mut file = self.model_file(&state.learned.values);
        file.add_u32("clock", &[state.step, state.seed]);
        self.course.classifier.learner.add_to(&mut file, "", &state.learned);
        let mut best = None;
        if is_best {
            let values = self.course.inference(self.run.device)?;
            best = Some(self.model_file(&values));
        }
        let (folder, settings, metrics) = (&self.run.folder, &self.run.settings, &self.metrics);
        let curves = || picture(settings, metrics);
        self.keeping.save(folder, &[(METRICS, metrics.csv())], best, file, curves)?;
        (self.run.report)(Event::Saved { step: self.course.step, path: folder.path() });
        Ok(())
    }

    /// Draws the curves that [`Loop::save`] has left; a run ends here.
    pub(super) fn finish_curves(&mut self) -> Result<(), TrainError> {
        let (settings, metrics) = (&self.run.settings, &self.metrics);
        let held = self.keeping.finish(&self.run.folder, || picture(settings, metrics))?;
        held.into_iter().for_each(|held| (self.run.report)(Event::Warning(held)));
        Ok(())
    }
}

fn picture(settings: &Settings, metrics: &Metrics) -> Result<RgbImage, ReportError> {
    let curves = Curves { name: &settings.model, metrics, label_smoothing: settings.label_smoothing };
    Metrics::picture(&settings.model, &[curves])
}
