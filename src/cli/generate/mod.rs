//! `inkgrad generate`: digits that nobody wrote, as sheets, animations, single files and data sets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rayon::prelude::*;

use super::numbers::whole;
use super::outputs::{NewFolders, is_there};
use super::progress::Progress;
use super::{counted, interrupt, note, say, thousands, trusted};
use crate::device::{Choice, Device, find};
use crate::files::Existing;
use crate::infer::InferError;
use crate::infer::lettering::lettering;
use crate::infer::sample::{BATCH, Generator, Sampler};
use crate::infer::scene::{Cell, Labels, Path, Scene, Seeds};
use crate::report::{Colour, Colours};
use list::{Classes, List, Size};
use output::{Job, Look, Output, Shown, Taken};
use target::{Format, Target};

mod list;
mod output;
mod target;

const EXAMPLES: &str = r##"Examples:
  inkgrad generate                                      a sheet of 100 digits
  inkgrad generate --grid 20x50 --digits 7              a thousand sevens
  inkgrad generate --text "555 0123" --scale 4          a number in handwriting
  inkgrad generate --seeds 0-31                         one row for each of 32 hands
  inkgrad generate --between-seeds 3,17,3 --out a.gif   one hand turning into another and back
  inkgrad generate --between-digits 3,8 --grid 1x1      a strip from a 3 to an 8
  inkgrad generate --each-class 50 --out-dir files      000000_0.png, 000001_1.png ...
  inkgrad generate --each-class 7000 --out-dir made --format idx
                                                        a data set for inkgrad train --data made
  inkgrad generate --ink navy --paper "#fffbe6"         other colours

Cell i, counted from 0 along the rows, has latent i of --seed and digit i of --digits, which start
over when they run out. The same seed draws the same pictures in every format."##;

/// Cells are counted in 32 bits, as each has a latent of its own.
const MOST_PICTURES: u64 = u32::MAX as u64;

const WHAT: &str = "Content";
const LOOK: &str = "Appearance";
const PLACE: &str = "Output";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("way").args(["between_seeds", "between_digits"])))]
pub struct Args {
    /// Rows and columns of a sheet [default: 10x10]
    #[arg(long, value_name = "ROWSxCOLUMNS", allow_hyphen_values = true, help_heading = WHAT,
        conflicts_with_all = ["text", "each_class"])]
    grid: Option<Size>,
    /// N rows with one of each of --digits; for ten digits, the same as --grid Nx10
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = WHAT,
        conflicts_with_all = ["text", "between_digits"], value_parser = whole::<u32>(1..=u32::MAX))]
    each_class: Option<u32>,
    /// Text to draw, such as a phone number, each digit in a hand of its own (with --seeds, all in one); spaces and
    /// punctuation become empty cells
    #[arg(long, help_heading = WHAT, allow_hyphen_values = true, conflicts_with_all = ["digits", "between_digits"])]
    text: Option<String>,
    /// Digits to draw, in turn: 3 or 1,4,7 or 0-4, or names of classes: cat,dog. Where no class of the model is called
    /// by a number, numbers are the places of its classes, counted from 0 [default: all]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = WHAT,
        conflicts_with = "between_digits")]
    digits: Option<Classes>,
    /// Random seed of the pictures [default: 0]
    #[arg(long, value_name = "N", help_heading = WHAT, allow_negative_numbers = true, value_parser = super::seed)]
    seed: Option<u32>,
    /// Draw a row for each of these seeds, all in the hand of the seed's first latent: 5 or 0-31
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = WHAT,
        conflicts_with_all = ["seed", "way", "grid", "each_class"])]
    seeds: Option<List>,
    /// Turn one hand into the next: 3,17 or 3,17,3
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = WHAT, conflicts_with = "seed",
        value_parser = list::way)]
    between_seeds: Option<List>,
    /// Turn one digit into the next: 3,8 or 0-9, as for --digits
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = WHAT)]
    between_digits: Option<Classes>,
    /// Pictures from one to the next, including both [default: 16]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = WHAT, requires = "way",
        value_parser = whole::<u32>(2..=1_000_000))]
    frames: Option<u32>,
    /// Factor by which latents are scaled: below 1, digits are plainer and more alike; above 1, bolder [default: 1, of
    /// --text 0.5]
    #[arg(long, value_name = "FACTOR", help_heading = WHAT, allow_negative_numbers = true, value_parser = factor)]
    truncation: Option<f32>,

    /// Draw each pixel of a digit as N x N pixels [default: 1]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = LOOK,
        value_parser = whole::<u32>(1..=1000))]
    scale: Option<u32>,
    /// Pixels between neighbouring digits [default: 0]
    #[arg(long, allow_negative_numbers = true, value_name = "PIXELS", help_heading = LOOK,
        value_parser = whole::<u32>(0..=10_000))]
    gap: Option<u32>,
    /// Colour of the digits: #rrggbb or a name [default: white]
    #[arg(long, value_name = "COLOUR", help_heading = LOOK)]
    ink: Option<Colour>,
    /// Colour of the background [default: black]
    #[arg(long, value_name = "COLOUR", help_heading = LOOK)]
    paper: Option<Colour>,
    /// Swap ink and paper
    #[arg(long, help_heading = LOOK)]
    invert: bool,
    /// Frames of a GIF per second; each is shown for the nearest whole number of hundredths of a second, at least two
    /// [default: 12]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = LOOK,
        value_parser = whole::<u16>(1..=50))]
    fps: Option<u16>,

    /// A .png, a .gif, or a .safetensors data set for other programs (for `train --data`, use --format idx); existing
    /// pictures are replaced [default: digits.png]
    #[arg(long, short, value_name = "FILE", help_heading = PLACE, conflicts_with = "out_dir")]
    out: Option<PathBuf>,
    /// Folder for single files, named by cell and digit, or for the files of --format idx
    #[arg(long, value_name = "DIR", help_heading = PLACE)]
    out_dir: Option<PathBuf>,
    /// Format to write, if the file's name does not say
    #[arg(long, help_heading = PLACE)]
    format: Option<Format>,
    /// For IDX files: how many of the last pictures form the test set [default: a tenth]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = PLACE,
        value_parser = whole::<u64>(0..=u32::MAX))]
    test: Option<u64>,
    /// Overwrite existing single files and data sets
    #[arg(long, help_heading = PLACE)]
    force: bool,

    /// A trained generator: a model file, or a run's folder [default: gan, the built-in one]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print only the path
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn factor(text: &str) -> Result<f32, String> {
    let factor = text.parse::<f32>().ok().filter(|factor| factor.is_finite() && *factor >= 0.0);
    factor.ok_or_else(|| "expected a number from 0 on, like 0.7".into())
}

/// A frame's delay in hundredths of a second, the unit of GIFs, that comes nearest to so many frames per second.
/// Viewers take less than two for a mistake, and show such frames slowly.
fn delay(fps: u16) -> u16 {
    ((100 + fps / 2) / fps.max(1)).max(2)
}

impl Args {
    fn scene(&self, class_names: &[String]) -> anyhow::Result<Scene> {
        let classes = class_names.len() as u32;
        let known = |flag: &str, classes: Result<Vec<u32>, String>| {
            classes.map_err(|problem| anyhow::anyhow!("{flag}: {problem}"))
        };
        let path = |keys: Vec<u32>| Path { keys, frames: self.frames.unwrap_or(16) };
        let seeds = match (&self.seeds, &self.between_seeds) {
            (Some(seeds), _) => Seeds::Each(seeds.0.clone()),
            (None, Some(keys)) => Seeds::Path(path(keys.0.clone())),
            (None, None) => Seeds::One(self.seed.unwrap_or(0)),
        };
        // In a grid, each cell has its own hand.
        let several = !matches!(seeds, Seeds::One(_));
        let one_hand = several && self.grid.is_none() && self.each_class.is_none();
        if let Some(text) = &self.text {
            let (rows, columns, cells) =
                lettering(text, class_names).map_err(|problem| anyhow::anyhow!("--text: {problem}"))?;
            return Ok(Scene { rows, columns, labels: Labels::Cells(cells), seeds, one_hand });
        }
        let (labels, count) = match (&self.digits, &self.between_digits) {
            (_, Some(keys)) => (Labels::Path(path(known("--between-digits", keys.way_among(class_names))?)), 10),
            (Some(digits), None) => {
                let digits = known("--digits", digits.among(class_names))?;
                let count = digits.len() as u32;
                (Labels::InTurn(digits), count)
            }
            (None, None) => (Labels::InTurn((0..classes).collect()), classes),
        };
        let one_row = several || self.between_digits.is_some();
        let Size { rows, columns } = match (self.grid, self.each_class) {
            (Some(grid), _) => grid,
            (None, Some(rows)) => Size { rows, columns: count },
            (None, None) if one_row => Size { rows: 1, columns: count },
            (None, None) => Size { rows: 10, columns: 10 },
        };
        Ok(Scene { rows, columns, labels, seeds, one_hand })
    }

    fn look(&self, channels: usize) -> anyhow::Result<Look> {
        let coloured = self.ink.is_some() || self.paper.is_some() || self.invert;
        anyhow::ensure!(
            channels == 1 || !coloured,
            "--ink, --paper and --invert are for grey pictures; this model draws {channels} channels"
        );
        let Colours { ink, paper } = Colours::default();
        let mut colours = Colours { ink: self.ink.unwrap_or(ink), paper: self.paper.unwrap_or(paper) };
        if self.invert {
            std::mem::swap(&mut colours.ink, &mut colours.paper);
        }
        anyhow::ensure!(
            colours.ink != colours.paper,
            "ink and paper have the same colour, so no digit can be seen; give another --ink or --paper, or --invert \
             alone for black digits on white"
        );
        let delay = delay(self.fps.unwrap_or(12));
        Ok(Look { colours, scale: self.scale.unwrap_or(1), gap: self.gap.unwrap_or(0), delay })
    }

    /// A text is there to be read.
    fn truncation(&self) -> f32 {
        self.truncation.unwrap_or(if self.text.is_some() { 0.5 } else { 1.0 })
    }

    /// What a data set records about itself.
    fn about(&self, generator: &Generator) -> BTreeMap<String, String> {
        let model = self.model.as_ref().map_or("built-in".into(), |model| model.display().to_string());
        let mut about = BTreeMap::from([
            ("made_by".to_string(), format!("inkgrad {}", env!("CARGO_PKG_VERSION"))),
            ("model".to_string(), model),
            ("truncation".to_string(), self.truncation().to_string()),
        ]);
        if let Ok(names) = serde_json::to_string(generator.class_names()) {
            about.insert("class_names".to_string(), names);
        }
        if self.seeds.is_none() && self.between_seeds.is_none() {
            about.insert("seed".to_string(), self.seed.unwrap_or(0).to_string());
        }
        about
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = Target::of(&args)?;
    let generator = match &args.model {
        Some(path) => Generator::load(path)?,
        None => Generator::builtin()?,
    };
    let (class_names, image) = (generator.class_names(), generator.image());
    let scene = args.scene(class_names)?;
    let pictures = scene.pictures();
    anyhow::ensure!(
        pictures <= MOST_PICTURES,
        "{} digits are asked for, but {} are the most: use fewer rows and columns, seeds or --frames",
        thousands(pictures),
        thousands(MOST_PICTURES)
    );
    let test = args.test.unwrap_or(pictures.div_ceil(10).min(pictures / 2));
    anyhow::ensure!(test <= pictures, "--test {test} is more than {}", counted(pictures, "digit"));
    let existing = if args.force || !target.keeps() { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep
        && let Some(path) = target.in_the_way(&scene, class_names, image[2])
    {
        return Err(is_there(&path));
    }
    let job = Job {
        scene: &scene,
        class_names,
        image,
        look: args.look(image[2])?,
        test,
        about: args.about(&generator),
        existing,
    };

    let (choice, mut device) = trusted(find(&args.device)?, &args.device)?;
    let batch = match choice {
        // A small batch keeps its cores busy, and fits their caches.
        Choice::Cpu => BATCH,
        Choice::Gpu(_) => generator.batch(pictures)?,
    };
    let mut sampler = Sampler::open_for(batch, &generator, device.as_mut())?;
    let stop = interrupt::listen()?;
    let mut progress = Progress::new("digits", Some(pictures), args.quiet);
    let _new = NewFolders::of(target.path())?;
    let is_new = !target.path().exists();
    let drawing = Drawing { generator: &generator, sampler: &mut sampler, device: device.as_mut() };
    let written = drawing.write(&target, &job, args.truncation(), &mut progress, &stop);
    if is_new && !matches!(written, Ok(Taken { whole: true, .. })) {
        // A folder that was made for files, none of which got its final name, is empty.
        let _ = std::fs::remove_dir(target.path());
    }
    let Taken { pictures: drawn, whole } = written?;
    if !whole {
        progress.finish();
        let kept = match &target {
            Target::Files(_) if drawn > 0 => "the files written so far are whole",
            _ => "nothing was written",
        };
        note(format_args!("stopped after {} of {} digits; {kept}", thousands(drawn), thousands(pictures)));
        return Ok(ExitCode::from(130));
    }
    let seconds = progress.finish().as_secs_f64();
    let path = target.path().display();
    if args.quiet {
        say(path);
    } else {
        let split = match target {
            Target::Idx(_) => format!(" ({} to train, {} to test)", thousands(pictures - test), thousands(test)),
            _ => String::new(),
        };
        let each = if matches!(target, Target::Files(_)) { ", a file each" } else { "" };
        let digits = counted(pictures, "digit");
        say(format_args!("{path}: {digits}{each}{split} in {seconds:.1} s with {}", device.name()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Cells of a scene, by number, and the pictures of those that have one.
struct Drawn {
    cells: Vec<(u64, Option<Cell>)>,
    pixels: Vec<u8>,
}

struct Drawing<'a> {
    generator: &'a Generator,
    sampler: &'a mut Sampler,
    device: &'a mut dyn Device,
}

impl Drawing<'_> {
    /// Draws every picture of a job into the files of a target, which get their final names once that is done.
    fn write(
        self,
        target: &Target,
        job: &Job,
        truncation: f32,
        progress: &mut Progress,
        stop: &AtomicBool,
    ) -> anyhow::Result<Taken> {
        let mut output = Output::create(target, job)?;
        for line in [job.doubt(target), job.legend(target)].into_iter().flatten() {
            progress.line(line);
        }
        let drawn = self.draw(job.scene, truncation, &mut output, progress, stop)?;
        if drawn.whole {
            output.finish(job.existing)?;
        }
        Ok(drawn)
    }

    /// Draws every picture of a scene, batch by batch, until `stop` is set. The device draws a batch while the previous
    /// one is written.
    fn draw(
        self,
        scene: &Scene,
        truncation: f32,
        output: &mut Output,
        progress: &mut Progress,
        stop: &AtomicBool,
    ) -> anyhow::Result<Taken> {
        let bytes: usize = self.generator.image().iter().product();
        let (finished, batches) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || self.batches(scene, truncation, &finished));
            let mut drawn = Taken { pictures: 0, whole: true };
            for batch in batches {
                let Drawn { cells, pixels } = batch?;
                let mut pictures = pixels.chunks_exact(bytes);
                let mut batch = Vec::with_capacity(cells.len());
                for (number, cell) in &cells {
                    let picture = cell.as_ref().and_then(|cell| Some((cell, pictures.next()?)));
                    batch.push(Shown { number: *number, picture });
                }
                if stop.load(Ordering::Relaxed) {
                    drawn.whole = false;
                    break;
                }
                let taken = output.push(&batch, stop)?;
                drawn = Taken { pictures: drawn.pictures + taken.pictures, whole: taken.whole };
                if !drawn.whole {
                    break;
                }
                progress.at(drawn.pictures);
            }
            Ok(drawn)
        })
    }

    /// Sends batch after batch, until there are no more or nobody takes them.
    fn batches(self, scene: &Scene, truncation: f32, finished: &SyncSender<Result<Drawn, InferError>>) {
        let mut cells = scene.all().peekable();
        while cells.peek().is_some() {
            let batch: Vec<_> = cells.by_ref().take(self.sampler.batch()).collect();
            let wanted: Vec<&Cell> = batch.iter().filter_map(|(_, cell)| cell.as_ref()).collect();
            // On all cores: a GPU draws a picture faster than one core draws its 64 normal numbers.
            let latents = wanted.par_iter().flat_map_iter(|cell| cell.latent(self.generator.latent(), truncation));
            let latents: Vec<f32> = latents.collect();
            let labels: Vec<f32> = wanted.iter().flat_map(|cell| cell.weights(self.generator.classes())).collect();
            // Between the lines of a text there may be nothing for a while.
            let drawn = match latents.is_empty() {
                true => Ok(Vec::new()),
                false => self.sampler.draw(self.device, &latents, &labels),
            };
            let failed = drawn.is_err();
            if finished.send(drawn.map(|pixels| Drawn { cells: batch, pixels })).is_err() || failed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_shown_for_the_nearest_hundredths_of_a_second_and_for_two_at_least() {
        for (fps, hundredths) in [(1, 100), (12, 8), (16, 6), (30, 3), (35, 3), (36, 3), (45, 2), (50, 2), (80, 2)] {
            assert_eq!(delay(fps), hundredths, "{fps} frames in a second");
        }
    }
}
