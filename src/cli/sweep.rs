//! `inkgrad sweep`: trains GANs one after another that differ only in how much of the first joint layer comes from
//! noise and how much from the label. The result is a table, and a picture of the same latents and labels under each
//! ratio.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use super::numbers::positive;
use super::reading::{ReadingFlags, check_begun_with, check_measured, data_read};
use super::train_gan::first_of;
use super::{absolute, count, ensure_remembered, going_on, interrupt, note, say};
use crate::data::{DataSet, ImageSet, digest};
use crate::device::{Device, find};
use crate::files::{WriteError, write_whole};
use crate::graph::Store;
use crate::infer::sample::{Generator, Sampler, rows_by_class};
use crate::infer::{Judge, Measures};
use crate::models::{self, Gan, Model};
use crate::report::grid::class_columns;
use crate::report::{self, SheetItem};
use crate::run_files::{TEST, is_run};
use crate::train::gan::check_room;
use crate::train::{Folder, GanEvent, GanOutcome, GanRun, GanSettings, PLACES, difference};

const EXAMPLES: &str = "Examples:
  inkgrad sweep                                  five ratios for the built-in GAN, two epochs each
  inkgrad sweep gan-classic --width 250 --ratios 1:24,1:4,1:1,4:1 --epochs 1 -o classic

Each run has its own folder in --out. A sweep that was stopped continues where it was when started
again with the same --out. With other --ratios it adds to the runs that are already there.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A GAN whose layers use `noise_width` and `label_width`: gan, gan-classic or a TOML file
    #[arg(default_value = "gan")]
    model: String,
    /// Parts of noise to parts of label; one run for each ratio
    #[arg(long, value_name = "N:L,..", value_delimiter = ',', allow_hyphen_values = true, value_parser = ratio,
        default_values = ["1:127", "1:15", "1:1", "15:1", "127:1"])]
    ratios: Vec<(u32, u32)>,
    /// Width of the joint layer, which the ratios divide [default: what the GAN has]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    width: Option<usize>,
    /// Passes over the training images in each run
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true, value_parser = positive)]
    epochs: usize,
    /// IDX files, a table of pixels or pictures in folders, as for `train` [default: the built-in MNIST]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Continue on the CPU if a GPU fails: lost, out of memory, stuck
    #[arg(long)]
    fallback: bool,
    /// Random seed, the same in every run
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = super::seed)]
    seed: u32,
    /// Classifier to measure with, as made by `train` [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    judge: Option<PathBuf>,
    /// Folder for the runs, sweep.md, sweep.csv and sweep.png; finished runs that it already holds are included
    #[arg(long, short, value_name = "DIR", default_value = "sweep")]
    out: PathBuf,
    /// Print only the result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    reading: ReadingFlags,
}

fn ratio(text: &str) -> Result<(u32, u32), String> {
    let part = |text: &str| text.trim().parse::<u32>().ok().filter(|part| (1..=10_000).contains(part));
    let both = text.split_once(':').and_then(|(noise, label)| Some((part(noise)?, part(label)?)));
    both.ok_or_else(|| "expected a ratio of whole numbers like 1:3".into())
}

/// Refuses ratios that divide the width in the same way.
fn ensure_distinct(ratios: &[(u32, u32)], width: usize) -> anyhow::Result<()> {
    for (i, ratio) in ratios.iter().enumerate() {
        let (noise, label) = widths(*ratio, width);
        if let Some(same) = ratios[..i].iter().find(|same| widths(**same, width) == (noise, label)) {
            anyhow::bail!(
                "--ratios: {}:{} and {}:{} come to the same widths, {noise} + {label}, and would be the same run; leave \
                 one out",
                same.0,
                same.1,
                ratio.0,
                ratio.1
            );
        }
    }
    Ok(())
}

/// The ratios of earlier sweeps' runs in the folder `out`, which the table keeps, that with the least noise first. An
/// unfinished run has nothing for a table.
///
/// # Errors
/// If they are another GAN's, or one of them is a run of `ratios` under another name.
fn earlier(out: &Path, gan: &str, ratios: &[(u32, u32)], width: usize) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(out).into_iter().flatten().flatten() {
        let Some((of, kept)) = run_name(&entry.file_name().to_string_lossy()) else { continue };
        let path = entry.path();
        // It is tested when it is finished.
        if of == gan && ratios.contains(&kept) || !path.join(TEST).is_file() {
            continue;
        }
        let run = path.display();
        anyhow::ensure!(of == gan, "{run} is a run of {of}, but a table holds one GAN only; give another --out");
        let widths_kept = widths(kept, width);
        if let Some((a, b)) = ratios.iter().find(|ratio| widths(**ratio, width) == widths_kept) {
            let (noise, label) = widths_kept;
            anyhow::bail!(
                "--ratios: {a}:{b} comes to the widths {noise} + {label}, which {run} has already; leave it \
                 out, or give another --out"
            );
        }
        found.push(kept);
    }
    found.sort_by_key(|ratio| widths(*ratio, width));
    Ok(found)
}

/// The folder of a ratio's run.
fn folder_name(gan: &str, ratio: (u32, u32)) -> String {
    format!("{gan}-{}-{}", ratio.0, ratio.1)
}

/// The GAN and the ratio that a folder is named after.
fn run_name(name: &str) -> Option<(String, (u32, u32))> {
    let (rest, label) = name.rsplit_once('-')?;
    let (gan, noise) = rest.rsplit_once('-')?;
    let ratio = ratio(&format!("{noise}:{label}")).ok()?;
    (folder_name(gan, ratio) == name).then(|| (gan.to_string(), ratio))
}

/// The widths of a ratio: whole, at least 1 each, `width` together.
fn widths((noise, label): (u32, u32), width: usize) -> (usize, usize) {
    let share = f64::from(noise) / (f64::from(noise) + f64::from(label));
    let noise = ((share * width as f64).round() as usize).clamp(1, width - 1);
    (noise, width - noise)
}

/// A finished run.
struct Done {
    ratio: (u32, u32),
    widths: (usize, usize),
    measures: Measures,
    folder: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Model::Gan(gan) = models::load_any(&args.model)? else {
        anyhow::bail!("{} is a classifier; a sweep trains GANs, like gan or gan-classic", args.model);
    };
    // Where its layers ask for no widths there is nothing to divide, whatever --width says.
    gan.with_widths(1, 1)?;
    let width = args.width.unwrap_or(gan.noise_width + gan.label_width);
    anyhow::ensure!(width >= 2, "--width is {width}; the joint layer needs 2 or more to be divided");
    ensure_distinct(&args.ratios, width)?;
    ensure_remembered("--data", args.data.as_deref().map(absolute))?;
    ensure_remembered("--judge", args.judge.as_deref().map(models::lasting))?;
    let kept = earlier(&args.out, &gan.name, &args.ratios, width)?;
    args.reading.check(args.data.as_deref())?;
    let reading = args.reading.reading();
    let data = data_read(args.data.as_deref(), &reading, args.quiet)?;
    // Each run ends with a measurement against them.
    check_measured(&data, &reading)?;
    let settings = settings(&args, &gan, &data.train);
    // The kept ones come first.
    let ratios = [kept.as_slice(), &args.ratios].concat();
    // Runs of something else are refused before anything is trained.
    let digest = digest(&data.train);
    let judge = Judge::declare(&mut Store::default(), settings.judge.as_deref())?;
    for ratio in &ratios {
        let (noise, label) = widths(*ratio, width);
        check_begun(&args.out, &gan.with_widths(noise, label)?, *ratio, &settings, &data, &digest, &judge)?;
    }
    let choice = find(&args.device)?;
    check_room(&data.train, &choice.name(), choice.largest_tensor())?;
    let mut device = going_on::open(choice, &args.device, args.fallback)?;
    let stop = interrupt::listen()?;
    let mut done: Vec<Done> = Vec::new();
    let mut warned = HashSet::new();
    for (i, ratio) in ratios.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(stopped(&args.out));
        }
        let widths = widths(*ratio, width);
        let named = gan.with_widths(widths.0, widths.1)?;
        let folder = place(&args.out, &named, *ratio, &settings, &data.train)?;
        if !args.quiet {
            note(format_args!(
                "{} of {}: noise {} : label {} (ratio {}:{}){}",
                i + 1,
                ratios.len(),
                widths.0,
                widths.1,
                ratio.0,
                ratio.1,
                if i < kept.len() { ", which is there already" } else { "" }
            ));
        }
        let path = folder.path().to_owned();
        let trained = going_on::train(&mut device, args.fallback, &folder, |device| {
            let mut started = false;
            let mut report = |event: GanEvent| {
                started |= matches!(event, GanEvent::Started { .. });
                // Warnings about the data and the judge, before a run starts, are the same for every run.
                let again = matches!(&event, GanEvent::Warning(text) if !started && !warned.insert(text.clone()));
                if !again {
                    show(event, args.quiet);
                }
            };
            let run = GanRun {
                settings: settings.clone(),
                gan: named.clone(),
                data: data.clone(),
                folder: folder.clone(),
                device,
                stop: &stop,
                report: &mut report,
            };
            run.train()
        });
        let trained = trained.map_err(|error| match going_on::may_pass(&error) {
            true => again(error, &args.out),
            false => error.into(),
        });
        match trained? {
            GanOutcome::Finished { test: Some(measures), .. } => {
                done.push(Done { ratio: *ratio, widths, measures, folder: path });
            }
            GanOutcome::Finished { test: None, .. } => anyhow::bail!("{}: nothing was measured", path.display()),
            GanOutcome::Stopped { .. } => return Ok(stopped(&args.out)),
        }
    }
    done.rotate_left(kept.len());
    let table = table(&done);
    for (name, text) in [("sweep.md", &table), ("sweep.csv", &csv(&done, &data.class_names))] {
        let path = args.out.join(name);
        write_whole(&path, text.as_bytes()).map_err(|error| again(WriteError::of(&path)(error), &args.out))?;
    }
    let picture = args.out.join("sweep.png");
    let sheet = sheet(&args, &done, &data, device.as_mut())?;
    report::save_png(&sheet, &picture).map_err(|error| again(error, &args.out))?;
    say(&table);
    say(picture.display());
    Ok(ExitCode::SUCCESS)
}

fn stopped(out: &Path) -> ExitCode {
    note(format_args!("stopped; {}", goes_on(out)));
    ExitCode::from(130)
}

/// An error that may pass, as a full disk does, with how the sweep goes on then.
fn again(error: impl Display, out: &Path) -> anyhow::Error {
    anyhow::anyhow!("{error}\n{}", goes_on(out))
}

/// How a sweep that has ended early goes on.
fn goes_on(out: &Path) -> String {
    format!("run the same command again to continue from what is in {}", out.display())
}

/// The settings that all runs have.
fn settings(args: &Args, gan: &Gan, train: &ImageSet) -> GanSettings {
    let mut recipe = gan.recipe.clone();
    recipe.epochs = Some(args.epochs);
    let mut settings = GanSettings::from_recipe(&gan.name, &recipe);
    settings.fit_batch(train);
    settings.data = args.data.as_deref().map(absolute);
    settings.reading = args.reading.reading();
    (settings.device, settings.seed) = (args.device.clone(), args.seed);
    settings.judge = args.judge.as_deref().map(models::lasting);
    settings
}

/// Refuses a run that was begun for this ratio with something else. Wherever data and a judge are now, they must be
/// those that it has learned from and was measured by; `digest` identifies the training images.
fn check_begun(
    out: &Path,
    gan: &Gan,
    ratio: (u32, u32),
    settings: &GanSettings,
    data: &DataSet,
    digest: &str,
    judge: &Judge,
) -> anyhow::Result<()> {
    let path = out.join(folder_name(&gan.name, ratio));
    if !is_run(&path) {
        return Ok(());
    }
    let folder = Folder::open(&path)?;
    let was: GanSettings = folder.settings()?;
    let Model::Gan(own) = folder.load_model()? else { anyhow::bail!("{}: is a classifier's run", path.display()) };
    if let Some(difference) = of_gans(&own, gan).or_else(|| difference(&was, settings, &PLACES)) {
        anyhow::bail!("{}: was begun {difference}; give the same, or another --out", path.display());
    }
    let start = folder.start()?;
    check_begun_with(&start, data, digest, settings.data.as_deref(), &settings.reading)?;
    folder.check_settings::<GanSettings>(&start)?;
    Ok(GanRun::check_judge(&start, judge, was.judge != settings.judge)?)
}

/// The folder of one ratio's run, which may have been begun or finished before.
fn place(out: &Path, gan: &Gan, ratio: (u32, u32), settings: &GanSettings, train: &ImageSet) -> anyhow::Result<Folder> {
    let path = out.join(folder_name(&gan.name, ratio));
    if is_run(&path) {
        return Ok(Folder::open(&path)?);
    }
    GanRun::check(gan, settings, train)?;
    let begun = Folder::create_at(&path).and_then(|folder| {
        folder.begin(gan.text(), None, settings)?;
        Ok(folder)
    });
    begun.map_err(|error| again(error, out))
}

/// How the GAN that a run was begun with differs from the one that it is to train, worded to follow "was begun".
fn of_gans(was: &Gan, is: &Gan) -> Option<String> {
    let [before, now] = [was, is].map(|gan| gan.noise_width + gan.label_width);
    if before != now {
        return Some(format!("with --width {before}, not with --width {now}"));
    }
    (was.text() != is.text()).then(|| format!("when {} had other layers or another recipe", is.name))
}

fn show(event: GanEvent, quiet: bool) {
    match event {
        GanEvent::Measured { epoch, measures, .. } if !quiet => note(format_args!(
            "  epoch {epoch}: Fréchet distance {:.2}, label recovered {:.2} %",
            measures.frechet,
            measures.recovered * 100.0
        )),
        GanEvent::Warning(text) => note(format_args!("  warning: {text}")),
        _ => {}
    }
}

fn table(done: &[Done]) -> String {
    let mut text = String::from(
        "| noise : label | widths | label recovered | diversity, mean | diversity, least | precision | recall | \
         Fréchet distance |\n|---|---|---|---|---|---|---|---|\n",
    );
    for Done { ratio, widths, measures, .. } in done {
        text += &format!(
            "| {}:{} | {} + {} | {:.2} % | {:.2} | {:.2} | {:.1} % | {:.1} % | {:.2} |\n",
            ratio.0,
            ratio.1,
            widths.0,
            widths.1,
            measures.recovered * 100.0,
            measures.mean_diversity(),
            measures.least_diversity(),
            measures.precision * 100.0,
            measures.recall * 100.0,
            measures.frechet
        );
    }
    text
}

fn csv(done: &[Done], class_names: &[String]) -> String {
    let mut text = format!("noise_part,label_part,noise_width,label_width,{}\n", Measures::csv_header(class_names));
    for Done { ratio, widths, measures, .. } in done {
        text += &format!("{},{},{},{},{}\n", ratio.0, ratio.1, widths.0, widths.1, measures.csv());
    }
    text
}

/// Latents in the picture, each a row with every class that there is room for.
const ROWS: usize = 4;
/// Pixels of the picture that a pixel becomes, along each side.
const SCALE: usize = 2;

/// A strip of pictures for each ratio, the same latents and labels in all.
fn sheet(args: &Args, done: &[Done], data: &DataSet, device: &mut dyn Device) -> anyhow::Result<image::RgbImage> {
    let classes = class_columns(data.train.classes, SCALE * data.train.width);
    let mut strips = Vec::new();
    for one in done {
        let pictures = strip(&Folder::best_of(&one.folder), classes, args.seed, device)?;
        let ((noise, label), found) = (one.ratio, one.measures.recovered * 100.0);
        let caption = format!(
            "noise {noise} : label {label}\n{found:.1}\u{a0}% as asked, variety\u{a0}{:.2}",
            one.measures.mean_diversity()
        );
        strips.push((pictures, caption));
    }
    let (h, w, c) = (data.train.height * ROWS, data.train.width * classes, data.train.channels);
    let items: Vec<SheetItem> =
        strips.iter().map(|(pixels, caption)| SheetItem { pixels, caption: caption.clone() }).collect();
    let part = first_of(classes, data.train.classes).map_or(String::new(), |part| format!(": {part}"));
    let title = format!("The same latents (rows) and labels (columns) under each ratio{part}");
    Ok(report::titled_sheet(&title, &items, (h, w, c), 2, SCALE)?)
}

/// [`ROWS`] latents under each class, as one picture.
fn strip(path: &Path, classes: usize, seed: u32, device: &mut dyn Device) -> anyhow::Result<Vec<u8>> {
    let generator = Generator::load(path)?;
    let mut sampler = Sampler::open(&generator, device)?;
    let (latents, labels) = rows_by_class(seed, [ROWS, classes], generator.latent(), generator.classes());
    let pictures = sampler.draw(device, &latents, &labels)?;
    let [h, w, c] = generator.image();
    let mut out = Vec::with_capacity(pictures.len());
    for row in pictures.chunks(classes * h * w * c) {
        for y in 0..h {
            for picture in row.chunks(h * w * c) {
                out.extend_from_slice(&picture[y * w * c..][..w * c]);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_divides_the_width_and_leaves_both_something() {
        assert_eq!(widths((1, 3), 128), (32, 96));
        assert_eq!(widths((1, 1), 5), (3, 2));
        assert_eq!(widths((1, 10_000), 128), (1, 127));
        assert_eq!(widths((10_000, 1), 2), (1, 1));
    }

    #[test]
    fn ratios_that_come_to_the_same_widths_are_refused_however_they_are_written() {
        for (ratios, width, words) in [
            (&[(1, 3), (3, 1), (2, 6), (3, 1)][..], 128, "1:3 and 2:6 come to the same widths, 32 + 96"),
            (&[(1, 1), (1, 1)], 16, "1:1 and 1:1 come to the same widths, 8 + 8"),
            (&[(1, 127), (1, 15)], 3, "1:127 and 1:15 come to the same widths, 1 + 2"),
        ] {
            let refused = ensure_distinct(ratios, width).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
        assert!(ensure_distinct(&[(1, 127), (1, 15), (1, 1), (15, 1), (127, 1)], 128).is_ok());
    }

    #[test]
    fn a_folder_says_of_which_gan_and_ratio_its_run_is() {
        for (gan, ratio) in [("gan", (1, 127)), ("gan-classic", (24, 1)), ("a-1-2", (3, 4))] {
            assert_eq!(run_name(&folder_name(gan, ratio)), Some((gan.to_string(), ratio)));
        }
        for other in ["0001-fast", "gan-1", "sweep.csv", "gan-0-1", "gan-01-1", "gan-a-b"] {
            assert_eq!(run_name(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_ratio_is_refused() {
        assert_eq!(ratio("4:1"), Ok((4, 1)));
        for text in ["", "1", "1:0", "0:1", "1:2:3", "a:b", "-1:2"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
