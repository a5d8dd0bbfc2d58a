//! What a run keeps in its folder, and in which order it is written: one that a killed run can be resumed from.

use std::time::{Duration, Instant};

use image::RgbImage;

use super::{Folder, TrainError};
use crate::models::ModelFile;
use crate::report::{self, ReportError};
use crate::run_files::CURVES;

/// Metadata: the epochs that a checkpoint or a best model has behind it.
pub(super) const EPOCH: &str = "epoch";
/// Metadata of a checkpoint: the epoch of the best model, 0 if there is none yet.
pub(super) const BEST_EPOCH: &str = "best_epoch";

/// The best epoch so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Best {
    /// 0 if there is none.
    pub epoch: usize,
    /// The higher, the better.
    pub score: f64,
}

impl Best {
    /// Whether this epoch is better than all before; if so, it becomes the best. With a score that is not finite it
    /// never is.
    pub fn take(&mut self, epoch: usize, score: f64) -> bool {
        let better = score.is_finite() && (self.epoch == 0 || score > self.score);
        if better {
            *self = Best { epoch, score };
        }
        better
    }

    /// The same, but the last epoch is also to be kept where there is no best: a run ends with a model.
    pub fn take_or_last(&mut self, epoch: usize, score: f64, is_last: bool) -> bool {
        self.take(epoch, score) || is_last && self.epoch == 0
    }
}

/// What of a run is in its folder, and what is still to be written.
pub(super) struct Keeping {
    /// The best model, until it is written.
    unsaved: Option<ModelFile>,
    /// The epoch of the best model that is written; 0 if there is none.
    written: usize,
    /// When the curves were drawn, and how long that took.
    drawn: Option<(Instant, Duration)>,
    /// Whether there may be more to draw than the curves show.
    is_stale: bool,
}

impl Keeping {
    /// Curves are drawn and written for at most one part in this many of a run's time: where epochs are short, that takes
    /// longer than the epochs.
    const SHARE: u32 = 20;

    /// For a folder whose best model is of epoch `written`; 0 if it has none. A run that `goes_on` may have ended before
    /// its curves were drawn.
    pub fn new(written: usize, goes_on: bool) -> Keeping {
        Keeping { unsaved: None, written, drawn: None, is_stale: goes_on }
    }

    /// Writes tables (each with its name), the best model if there is a new one, and a checkpoint; then curves, if it is
    /// time for them. The checkpoint is never ahead of tables and models, and the model gets ahead of it only where the
    /// checkpoint itself cannot be written. A best model that could not be written is written the next time.
    ///
    /// # Errors
    /// Those of drawing and writing.
    pub fn save(
        &mut self,
        folder: &Folder,
        tables: &[(&str, String)],
        best: Option<ModelFile>,
        mut checkpoint: ModelFile,
        curves: impl FnOnce() -> Result<RgbImage, ReportError>,
    ) -> Result<(), TrainError> {
        self.unsaved = best.or(self.unsaved.take());
        for (name, text) in tables {
            folder.write(name, text.as_bytes())?;
        }
        if let Some(best) = &self.unsaved {
            self.written = folder.save_best(best)?;
            self.unsaved = None;
        }
        checkpoint.set(BEST_EPOCH, self.written);
        folder.save_checkpoint(&checkpoint)?;
        self.is_stale = true;
        match self.drawn {
            Some((at, took)) if at.elapsed() < took * Self::SHARE => Ok(()),
            _ => self.draw(folder, curves),
        }
    }

    /// Draws the curves of a run that ends here, if [`Keeping::save`] has left that. Nobody waits for another program
    /// that has them open: the warning that is returned says so.
    ///
    /// # Errors
    /// Those of drawing and writing.
    pub fn finish(
        &mut self,
        folder: &Folder,
        curves: impl FnOnce() -> Result<RgbImage, ReportError>,
    ) -> Result<Option<String>, TrainError> {
        if self.is_stale {
            self.draw(folder, curves)?;
        }
        let held = || {
            let path = folder.path().join(CURVES);
            format!("{}: another program has it open, so that it lacks the run's last steps", path.display())
        };
        Ok(self.is_stale.then(held))
    }

    /// Draws and writes the curves, unless another program has them open.
    fn draw(
        &mut self,
        folder: &Folder,
        curves: impl FnOnce() -> Result<RgbImage, ReportError>,
    ) -> Result<(), TrainError> {
        let began = Instant::now();
        let written = report::save_png(&curves()?, folder.path().join(CURVES)).map_err(TrainError::from);
        self.drawn = Some((Instant::now(), began.elapsed()));
        match written {
            Err(TrainError::Held { .. }) => Ok(()),
            written => {
                self.is_stale = written.is_err();
                written
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_files::METRICS;

    #[test]
    fn the_best_epoch_is_the_first_of_the_highest_score_and_never_one_without_a_finite_score() {
        let mut best = Best::default();
        let scores = [f64::NAN, f64::INFINITY, -3.0, -3.0, f64::NAN, -2.0, f64::NEG_INFINITY];
        let taken: Vec<bool> = scores.iter().enumerate().map(|(i, score)| best.take(i + 1, *score)).collect();
        assert_eq!(taken, [false, false, true, false, false, true, false]);
        assert_eq!((best.epoch, best.score), (6, -2.0));
    }

    #[test]
    fn the_last_epoch_is_kept_if_it_is_the_best_or_there_is_none() {
        let nan = f64::NAN;
        for (scores, kept) in [
            ([nan, nan], [false, true]),
            ([nan, -2.0], [false, true]),
            ([-2.0, nan], [true, false]),
            ([-2.0, -3.0], [true, false]),
        ] {
            let mut best = Best::default();
            let taken =
                [(1, false), (2, true)].map(|(epoch, is_last)| best.take_or_last(epoch, scores[epoch - 1], is_last));
            assert_eq!(taken, kept, "{scores:?}");
        }
    }

    #[test]
    fn a_best_model_that_cannot_be_written_is_written_the_next_time_and_no_checkpoint_names_it_before() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(parent.path(), "net").unwrap();
        let file = |epoch: usize| {
            let mut file = ModelFile::default();
            file.set("architecture", "none");
            file.set(EPOCH, epoch);
            file
        };
        let mut keeping = Keeping::new(0, false);
        let curves = || Ok(RgbImage::new(1, 1));
        let mut save = |best: Option<ModelFile>, epoch| {
            keeping.save(&folder, &[(METRICS, String::new())], best, file(epoch), curves)
        };
        // A folder cannot be replaced by a file.
        std::fs::create_dir(folder.best()).unwrap();
        std::fs::write(folder.best().join("in the way"), "").unwrap();
        assert!(save(Some(file(1)), 1).is_err());
        assert!(folder.path().join(METRICS).exists());
        assert!(!folder.last().exists(), "the checkpoint comes last");

        std::fs::remove_dir_all(folder.best()).unwrap();
        save(None, 2).unwrap();
        assert_eq!(ModelFile::load(folder.best()).unwrap().metadata[EPOCH], "1");
        assert_eq!(ModelFile::load(folder.last()).unwrap().metadata[BEST_EPOCH], "1");
    }

    #[test]
    fn curves_that_take_longer_than_an_epoch_are_drawn_now_and_then_and_once_more_at_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(parent.path(), "net").unwrap();
        let mut keeping = Keeping::new(0, false);
        let mut file = ModelFile::default();
        file.set("architecture", "none");
        let drawn = std::cell::Cell::new(0);
        let curves = || {
            drawn.set(drawn.get() + 1);
            std::thread::sleep(Duration::from_millis(20));
            Ok(RgbImage::new(1, 1))
        };
        let save = |keeping: &mut Keeping| keeping.save(&folder, &[], None, file.clone(), curves).unwrap();
        let finish = |keeping: &mut Keeping| assert_eq!(keeping.finish(&folder, curves).unwrap(), None);
        finish(&mut keeping);
        assert_eq!(drawn.get(), 0, "there is nothing to draw");
        save(&mut keeping);
        assert_eq!(drawn.get(), 1);
        save(&mut keeping);
        assert_eq!(drawn.get(), 1);
        keeping.drawn = keeping.drawn.map(|(at, took)| (at.checked_sub(took * Keeping::SHARE).unwrap(), took));
        save(&mut keeping);
        assert_eq!(drawn.get(), 2);
        finish(&mut keeping);
        assert_eq!(drawn.get(), 2, "they show everything");
        save(&mut keeping);
        finish(&mut keeping);
        assert_eq!(drawn.get(), 3);
        finish(&mut Keeping::new(3, true));
        assert_eq!(drawn.get(), 4, "a run that was killed before its end");
    }
}
