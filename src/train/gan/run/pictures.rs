//! The pictures of a GAN's run: those that are measured, a snapshot for each epoch, and all snapshots as an animation.

use super::Loop;
use crate::data::ImageSet;
use crate::files::Existing;
use crate::infer::sample::{Source, labelled, rows_by_class};
use crate::report::gif::GifWriter;
use crate::report::grid::Grid;
use crate::report::{self, Colours};
use crate::run_files::{ANIMATION, SNAPSHOTS};
use crate::train::TrainError;
use crate::train::folder::failed;

/// A snapshot has a row for each of this many latents, and a column for each class, 10 columns at most.
const SNAPSHOT: usize = 10;
/// The seed of the latents of snapshots: the same in every run, so that runs can be compared.
const SNAPSHOT_SEED: u32 = 1;
/// The seed of measurements: the same in every run, for the same reason.
pub const MEASURE_SEED: u32 = 0x4D45_4153;

impl Loop<'_> {
    /// Generates pictures to measure, with the labels of the real ones.
    pub(super) fn generated(&mut self, labels: &[u32]) -> Result<ImageSet, TrainError> {
        let (device, sampler) = (&mut *self.run.device, &mut self.sampler);
        let source = Source { seed: MEASURE_SEED, len: self.run.gan.noise, truncation: 1.0 };
        Ok(labelled(labels, self.classes, self.image, source, |x, y| sampler.draw(device, x, y))?)
    }

    /// Writes `snapshots/0003.png` or the like: the same latents (rows) and classes (columns) in every epoch.
    pub(super) fn snapshot(&mut self, epoch: usize) -> Result<(), TrainError> {
        // Measurements after this snapshot draw with the same statistics.
        self.steps.calibrate(self.run.device, self.run.settings.seed)?;
        let columns = self.classes.min(SNAPSHOT);
        let (latents, labels) = rows_by_class(SNAPSHOT_SEED, [SNAPSHOT, columns], self.run.gan.noise, self.classes);
        let pictures = self.sampler.draw(self.run.device, &latents, &labels)?;
        let folder = self.run.folder.path().join(SNAPSHOTS);
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let path = folder.join(format!("{epoch:04}.png"));
        let grid = snapshot_grid(self.image, columns);
        let mut png = report::png::PngGrid::create(&path, grid, Colours::default())?;
        for picture in pictures.chunks_exact(self.image.iter().product()) {
            png.push(Some(picture))?;
        }
        Ok(png.finish(Existing::Replace)?)
    }

    /// Writes `snapshots.gif`, made of all snapshots that exist, if any does.
    pub(super) fn animate(&self) -> Result<(), TrainError> {
        let columns = self.classes.min(SNAPSHOT);
        let grid = snapshot_grid(self.image, columns);
        let [width, height] = grid.size_within("GIF", report::gif::MAX_SIDE)?;
        let path = self.run.folder.path().join(ANIMATION);
        let mut gif = GifWriter::create(&path, [width, height], self.image[2], Colours::default(), 25)?;
        for epoch in 0..=self.run.settings.epochs {
            let path = self.run.folder.path().join(SNAPSHOTS).join(format!("{epoch:04}.png"));
            let Ok(picture) = image::open(&path) else { continue };
            let pixels = if self.image[2] == 1 { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() };
            if pixels.len() == width as usize * height as usize * self.image[2] {
                gif.push(&pixels)?;
            }
        }
        if gif.is_empty() { Ok(()) } else { Ok(gif.finish(Existing::Replace)?) }
    }
}

fn snapshot_grid(picture: [usize; 3], columns: usize) -> Grid {
    Grid { rows: SNAPSHOT as u64, columns: columns as u64, picture, scale: 2, gap: 2 }
}
