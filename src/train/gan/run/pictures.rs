//! The pictures of a GAN's run: those that are measured, a snapshot for each epoch, and all snapshots as an animation.

use super::Loop;
use crate::data::ImageSet;
use crate::files::Existing;
use crate::infer::sample::{Source, labelled, rows_by_class};
use crate::report::gif::GifWriter;
use crate::report::grid::{Grid, class_columns};
use crate::report::{self, Colours};
use crate::run_files::{ANIMATION, SNAPSHOTS};
use crate::train::folder::failed;
use crate::train::{Folder, TrainError};

/// A snapshot has a row for each of this many latents, and a column for each class, as far as there is room.
const ROWS: usize = 10;
/// Older versions drew no more classes.
const COLUMNS_BEFORE: usize = 10;
/// The seed of the latents of snapshots: the same in every run, so that runs can be compared.
const SNAPSHOT_SEED: u32 = 1;
/// The seed of measurements: the same in every run, for the same reason.
pub const MEASURE_SEED: u32 = 0x4D45_4153;

/// How many classes the snapshots of a run show. A run that an older version began goes on with as many as that has
/// drawn, since all pictures of an animation have one size.
pub(super) fn columns(folder: &Folder, picture: [usize; 3], classes: usize) -> usize {
    let most = class_columns(classes, snapshot_grid(picture, 1).size()[0] as usize);
    let before = most.min(COLUMNS_BEFORE);
    match image::image_dimensions(folder.path().join(SNAPSHOTS).join(snapshot_name(0))) {
        Ok((width, height)) if [width, height].map(u64::from) == snapshot_grid(picture, before).size() => before,
        _ => most,
    }
}

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
        let (latents, labels) = rows_by_class(SNAPSHOT_SEED, [ROWS, self.columns], self.run.gan.noise, self.classes);
        let pictures = self.sampler.draw(self.run.device, &latents, &labels)?;
        let folder = self.run.folder.path().join(SNAPSHOTS);
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let path = folder.join(snapshot_name(epoch));
        let grid = snapshot_grid(self.image, self.columns);
        let mut png = report::png::PngGrid::create(&path, grid, Colours::default())?;
        for picture in pictures.chunks_exact(self.image.iter().product()) {
            png.push(Some(picture))?;
        }
        Ok(png.finish(Existing::Replace)?)
    }

    /// Writes `snapshots.gif`, made of all snapshots that exist, if any does.
    pub(super) fn animate(&self) -> Result<(), TrainError> {
        let grid = snapshot_grid(self.image, self.columns);
        let [width, height] = grid.size_within("GIF", report::gif::MAX_SIDE)?;
        let path = self.run.folder.path().join(ANIMATION);
        let mut gif = GifWriter::create(&path, [width, height], self.image[2], Colours::default(), 25)?;
        for epoch in 0..=self.run.settings.epochs {
            let path = self.run.folder.path().join(SNAPSHOTS).join(snapshot_name(epoch));
            let Ok(picture) = image::open(&path) else { continue };
            let pixels = if self.image[2] == 1 { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() };
            if pixels.len() == width as usize * height as usize * self.image[2] {
                gif.push(&pixels)?;
            }
        }
        if gif.is_empty() { Ok(()) } else { Ok(gif.finish(Existing::Replace)?) }
    }
}

fn snapshot_name(epoch: usize) -> String {
    format!("{epoch:04}.png")
}

fn snapshot_grid(picture: [usize; 3], columns: usize) -> Grid {
    Grid { rows: ROWS as u64, columns: columns as u64, picture, scale: 2, gap: 2 }
}
