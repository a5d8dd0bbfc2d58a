//! The output files, which take the pictures one by one as they are drawn.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::target::{Names, Target};
use crate::cli::thousands;
use crate::data::write::{ALL_LABELS, IdxWriter, Part, SafetensorsWriter, idx_labels, idx_names, legend};
use crate::files::Existing;
use crate::infer::scene::{Cell, Scene};
use crate::report::Colours;
use crate::report::gif::GifWriter;
use crate::report::grid::{Cells, Grid};
use crate::report::png::{PngGrid, write_picture};

/// So many pixels in a sheet are probably a mistake: it takes hours, and hardly any program can show it.
const VAST: u64 = 4_000_000_000;

/// How pictures are shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub colours: Colours,
    pub scale: u32,
    pub gap: u32,
    /// Hundredths of a second.
    pub delay: u16,
}

/// What an output needs to know before the first picture.
pub struct Job<'a> {
    pub scene: &'a Scene,
    pub class_names: &'a [String],
    /// Height, width and channels.
    pub image: [usize; 3],
    pub look: Look,
    /// Pictures that become the test set of IDX files.
    pub test: u64,
    /// What a safetensors file says about itself.
    pub about: BTreeMap<String, String>,
    pub existing: Existing,
}

impl Job<'_> {
    fn grid(&self, [rows, columns]: [u64; 2]) -> Grid {
        Grid { rows, columns, picture: self.image, scale: self.look.scale, gap: self.look.gap }
    }

    /// A note on how large a sheet becomes, if that is worth a thought before it is drawn.
    pub fn doubt(&self, target: &Target) -> Option<String> {
        let [width, height] = match target {
            Target::Png(_) => self.grid(self.scene.sheet()).size(),
            _ => return None,
        };
        let pixels = width.saturating_mul(height);
        (pixels >= VAST).then(|| {
            format!(
                "note: the sheet has {} x {} pixels, {} million in all: that takes long, and few programs show such a \
                 picture. A smaller --scale or fewer digits make a smaller one",
                thousands(width),
                thousands(height),
                thousands(pixels / 1_000_000)
            )
        })
    }

    /// What the labels of a data set stand for, if classes are named otherwise.
    pub fn legend(&self, target: &Target) -> Option<String> {
        let (files, labels) = match target {
            Target::Idx(_) => ("IDX files hold numbers instead of class names", idx_labels(self.class_names)),
            // With the names in its metadata.
            Target::Safetensors(_) => ("labels count the classes", (0..self.class_names.len() as u32).collect()),
            _ => return None,
        };
        legend(self.class_names, labels, ALL_LABELS).map(|legend| format!("note: {files}: {legend}"))
    }
}

/// A cell, by number, and what was drawn for it; an empty cell has no picture.
pub struct Shown<'a> {
    pub number: u64,
    pub picture: Option<(&'a Cell, &'a [u8])>,
}

/// The result of writing some cells.
pub struct Taken {
    pub pictures: u64,
    /// Whether all of them were written, which they were not if a stop was requested.
    pub whole: bool,
}

pub enum Output {
    Png(PngGrid),
    Gif { gif: GifWriter, grid: Grid, frame: Cells<Vec<u8>>, left: u64 },
    Files { folder: PathBuf, names: Names, grid: Grid, look: Look, existing: Existing },
    Idx { folder: PathBuf, channels: usize, labels: Vec<u32>, parts: [Option<IdxWriter>; 2], left: u64 },
    Safetensors(SafetensorsWriter),
}

impl Output {
    pub fn create(target: &Target, job: &Job) -> anyhow::Result<Output> {
        let Job { scene, image, look, .. } = job;
        Ok(match target {
            Target::Png(path) => Output::Png(PngGrid::create(path, job.grid(scene.sheet()), look.colours)?),
            Target::Gif(path) => {
                let grid = job.grid([scene.rows.into(), scene.columns.into()]);
                let gif = GifWriter::create(
                    path,
                    grid.size_within("GIF", crate::report::gif::MAX_SIDE)?,
                    image[2],
                    look.colours,
                    look.delay,
                )?;
                Output::Gif { gif, grid, frame: Cells::new(grid, Vec::new())?, left: scene.cells() }
            }
            Target::Files(folder) => {
                create_folder(folder)?;
                let names = Names::new(scene, job.class_names);
                let (folder, grid) = (folder.clone(), job.grid([1, 1]));
                Output::Files { folder, names, grid, look: *look, existing: job.existing }
            }
            Target::Idx(folder) => {
                create_folder(folder)?;
                let left = scene.pictures() - job.test;
                let part = |part, count: u64| match u32::try_from(count) {
                    Ok(0) => Ok(None),
                    Ok(count) => Ok(Some(IdxWriter::create(folder, part, count, image.map(|n| n as u32))?)),
                    Err(_) => anyhow::bail!("an IDX file holds at most {} images, not {count}", u32::MAX),
                };
                let parts = [part(Part::Train, left)?, part(Part::Test, job.test)?];
                let labels = idx_labels(job.class_names);
                Output::Idx { folder: folder.clone(), channels: image[2], labels, parts, left }
            }
            Target::Safetensors(path) => {
                let labels = scene.all().filter_map(|(_, cell)| Some(cell?.label.from));
                let (image, count) = (image.map(|n| n as u32), scene.pictures());
                Output::Safetensors(SafetensorsWriter::create(path, &job.about, image, count, labels)?)
            }
        })
    }

    /// Writes the next cells with their pictures, some of them empty. They come in the order of [`Scene::all`]. Where
    /// pictures may be large, it stops within the batch once `stop` is set.
    pub fn push(&mut self, batch: &[Shown], stop: &AtomicBool) -> anyhow::Result<Taken> {
        let count = |cells: &[Shown]| cells.iter().filter(|shown| shown.picture.is_some()).count() as u64;
        match self {
            Output::Png(png) => {
                for (i, shown) in batch.iter().enumerate() {
                    if !png.push_until(shown.picture.map(|(_, bytes)| bytes), stop)? {
                        return Ok(Taken { pictures: count(&batch[..i]), whole: false });
                    }
                }
            }
            Output::Gif { gif, grid, frame, left } => {
                for (i, shown) in batch.iter().enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(Taken { pictures: count(&batch[..i]), whole: false });
                    }
                    frame.push(shown.picture.map(|(_, bytes)| bytes))?;
                    *left -= 1;
                    if *left == 0 {
                        let full = std::mem::replace(frame, Cells::new(*grid, Vec::new())?);
                        gif.push(&full.finish()?)?;
                        *left = grid.rows * grid.columns;
                    }
                }
            }
            // Each picture is a file of its own: on all cores.
            Output::Files { folder, names, grid, look, existing } => {
                let written = batch.par_iter().map(|shown| match shown.picture {
                    Some((cell, bytes)) => {
                        let path = folder.join(names.name(shown.number, cell));
                        write_picture(bytes, &path, *grid, look.colours, *existing, stop).map(u64::from)
                    }
                    None => Ok(0),
                });
                let pictures = written.try_reduce(|| 0, |some, more| Ok(some + more))?;
                return Ok(Taken { pictures, whole: pictures == count(batch) });
            }
            Output::Idx { labels, parts: [train, test], left, .. } => {
                for (cell, bytes) in batch.iter().filter_map(|shown| shown.picture) {
                    let part = if *left > 0 { &mut *train } else { &mut *test };
                    *left = left.saturating_sub(1);
                    if let Some(part) = part {
                        let class = cell.label.from;
                        part.push(bytes, labels.get(class as usize).copied().unwrap_or(class))?;
                    }
                }
            }
            Output::Safetensors(file) => {
                batch.iter().filter_map(|shown| shown.picture).try_for_each(|(_, bytes)| file.push(bytes))?;
            }
        }
        Ok(Taken { pictures: count(batch), whole: true })
    }

    pub fn finish(self, existing: Existing) -> anyhow::Result<()> {
        match self {
            Output::Png(png) => png.finish(existing)?,
            Output::Gif { gif, .. } => gif.finish(existing)?,
            Output::Files { .. } => {}
            Output::Idx { folder, channels, parts: [train, test], .. } => {
                if existing == Existing::Replace {
                    let parts = [(Part::Train, train.is_some()), (Part::Test, test.is_some())];
                    let written = parts.into_iter().filter(|(_, written)| *written);
                    let written: Vec<String> = written.flat_map(|(part, _)| idx_names(part, channels)).collect();
                    remove_others(&folder, &written)?;
                }
                [train, test].into_iter().flatten().try_for_each(|part| part.finish(existing))?
            }
            Output::Safetensors(file) => file.finish(existing)?,
        }
        Ok(())
    }
}

/// Removes an older set's files whose names the new set does not use: they would be read as part of it.
fn remove_others(folder: &Path, written: &[String]) -> anyhow::Result<()> {
    // Grey and coloured images have different file names.
    let parts = [(Part::Train, 1), (Part::Train, 3), (Part::Test, 1), (Part::Test, 3)];
    let names = parts.into_iter().flat_map(|(part, channels)| idx_names(part, channels));
    for path in names.filter(|name| !written.contains(name)).map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => anyhow::bail!(
                "cannot remove {}, which belongs to an older set: {error}; remove it, or name another folder",
                path.display()
            ),
            _ => {}
        }
    }
    Ok(())
}

fn create_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        anyhow::anyhow!("--out-dir {}: {error}. Expected a folder, or a name for a new one", folder.display())
    })
}
