//! `inkgrad data extend`: the 77-fold training set as files, written image by image in constant memory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::outputs::already_there;
use crate::cli::progress::Progress;
use crate::cli::reading::{ReadingFlags, data_shown};
use crate::cli::{count, interrupt, note, say, thousands};
use crate::data::write::{ALL_LABELS, IdxWriter, Part, idx_labels, idx_names, legend};
use crate::data::{ImageSet, looks_prepared};
use crate::files::Existing;
use crate::ops::Window;
use crate::report::class_name;

/// Each image is cropped to its rows 4 to 25 and columns 5 to 22, counted from 0: 22 x 18 pixels. On a black ground
/// of 28 x 28 they fit at 28 - 22 + 1 = 7 heights and 28 - 18 + 1 = 11 widths, which makes 77 images of each, from top
/// to bottom and within a row from left to right; 4,620,000 of MNIST's 60,000, 3.6 GB.
///
/// Labels are the numbers that the classes are named after, or if the names are none, counted from 0 in their order.
///
/// `inkgrad train --extend` trains on the same images without any file.
#[derive(clap::Args)]
pub struct Args {
    /// IDX files, a table of pixels or pictures in folders, as for `train` [default: the built-in MNIST]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder for the IDX files, none of which may exist yet
    #[arg(long, short, value_name = "DIR", default_value = "extended")]
    out: PathBuf,
    /// Only the first N training images, each at all its places. They should include every class
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    limit: Option<usize>,
    /// Extend the test images too, instead of copying them
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    reading: ReadingFlags,
}

/// The most classes that IDX files can tell apart: a label is a byte.
const MOST_CLASSES: usize = 256;

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.reading.check(args.data.as_deref())?;
    let set = data_shown(args.data.as_deref(), &args.reading.reading())?;
    let (train, test) = (&set.train, &set.test);
    anyhow::ensure!(
        [train.height, train.width] == Window::DIGIT_IMAGE,
        "{} has images of {} x {}, but only images of 28 x 28 can be cropped to rows 4 to 25 and columns 5 to 22. \
         `inkgrad train --shift` moves images of any size",
        set.name,
        train.height,
        train.width
    );
    anyhow::ensure!(
        looks_prepared(train),
        "{} has images with a light border, and everything around the pixels that are kept becomes black. Invert them \
         first; `inkgrad train --shift` moves them as they are",
        set.name
    );
    anyhow::ensure!(args.limit != Some(0), "--limit is 0; it must be a number from 1 on");
    anyhow::ensure!(
        train.classes <= MOST_CLASSES,
        "{} has {} classes, and {MOST_CLASSES} are the most that IDX files can tell apart. `inkgrad train --extend` \
         trains on the same images without any file",
        set.name,
        train.classes
    );
    let channels = train.channels;
    let names = [Part::Train, Part::Test].into_iter().flat_map(|part| idx_names(part, channels));
    if let Some(path) = names.map(|name| args.out.join(name)).find(|path| path.exists()) {
        return Err(already_there(&path, "", "move it away"));
    }
    let places = Window::DIGIT.places(Window::DIGIT_IMAGE);
    let images = args.limit.unwrap_or(train.len()).min(train.len());
    let labels = idx_labels(&set.class_names);
    let [of_train, of_test] = [train, test].map(|set| labelled(set, &labels));
    if let Some(least) = least_to_read(&of_train, &of_test).filter(|least| images < *least) {
        anyhow::bail!(
            "--limit {images}: none of the first {images} training images is of class {}, and without it the files \
             could not be read as a data set; give --limit {least} or more, so that there are some of every class",
            class_name(&set.class_names, train.labels[least - 1] as usize)
        );
    }
    let tests = test.len() * if args.test { places } else { 1 };
    // The header of an IDX file counts in 32 bits.
    let fits = |n: usize| u32::try_from(n).map_err(|_| anyhow::anyhow!("{n} images do not fit an IDX file"));
    let (all, all_tests) = (fits(images * places)?, fits(tests)?);
    std::fs::create_dir_all(&args.out).map_err(|e| {
        anyhow::anyhow!("--out {}: {e}. Expected a folder, or a name for a new one", args.out.display())
    })?;

    let stop = interrupt::listen()?;
    let window = Some(Window::DIGIT);
    let mut halves = vec![Half { part: Part::Train, set: train, labels: of_train, images, window, count: all }];
    // Files without images would be taken for damaged ones.
    if all_tests > 0 {
        let (images, window) = (test.len(), args.test.then_some(Window::DIGIT));
        halves.push(Half { part: Part::Test, set: test, labels: of_test, images, window, count: all_tests });
    }
    let written = write(&args.out, &halves, &stop);
    if !matches!(written, Ok(true)) {
        // No file has its final name, so a folder that was made for them is empty.
        let _ = std::fs::remove_dir(&args.out);
    }
    if !written? {
        note(format_args!("stopped; nothing was written"));
        return Ok(ExitCode::from(130));
    }
    say(format_args!(
        "{} training images, {} of each of {}, and {} test images in {}",
        thousands(u64::from(all)),
        places,
        thousands(images as u64),
        thousands(u64::from(all_tests)),
        args.out.display()
    ));
    if let Some(legend) = legend(&set.class_names, labels, ALL_LABELS) {
        note(format_args!("note: IDX files hold numbers instead of class names: {legend}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The label in IDX files of each image, where classes have these `labels`.
fn labelled(set: &ImageSet, labels: &[u32]) -> Vec<u32> {
    set.labels.iter().map(|class| labels.get(*class as usize).copied().unwrap_or(*class)).collect()
}

/// How many of the training images, from the first on, IDX files need in order to be readable: IDX files identify a
/// class only by its number, so no test image may have a label above all of theirs, and there must be at least two
/// classes.
fn least_to_read(train: &[u32], test: &[u32]) -> Option<usize> {
    let largest = test.iter().max().copied().unwrap_or(0);
    let shown = train.iter().position(|label| *label >= largest)?;
    let second = train.iter().position(|label| Some(label) != train.first())?;
    Some(shown.max(second) + 1)
}

/// The contents of one pair of files.
struct Half<'a> {
    part: Part,
    set: &'a ImageSet,
    /// Those of the files, for all images of the set.
    labels: Vec<u32>,
    /// How many images of the set are used, from the first on.
    images: usize,
    /// The part of each image that is shown, at every place; `None` for the images as they are.
    window: Option<Window>,
    /// Images in the files.
    count: u32,
}

/// Returns whether everything was written, which it was not if a stop was requested.
fn write(folder: &Path, halves: &[Half], stop: &AtomicBool) -> anyhow::Result<bool> {
    let all = halves.iter().map(|half| u64::from(half.count)).sum();
    let mut progress = Progress::new("images", Some(all), false);
    let (mut done, mut writers) = (0, Vec::new());
    for Half { part, set, labels, images, window, count } in halves {
        // 28 x 28 pixels of at most four channels.
        let image = [set.height, set.width, set.channels].map(|n| n as u32);
        let mut writer = IdxWriter::create(folder, *part, *count, image)?;
        let mut placed = vec![0; set.image_len()];
        for (i, label) in labels.iter().enumerate().take(*images) {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let places = window.map_or(1, |window| window.places([set.height, set.width]));
            for place in 0..places {
                match window {
                    Some(window) => set.placed(i, *window, place, &mut placed),
                    None => placed.copy_from_slice(set.image(i)),
                }
                writer.push(&placed, *label)?;
            }
            done += places as u64;
            progress.at(done);
        }
        writers.push(writer);
    }
    progress.finish();
    writers.into_iter().try_for_each(|writer| writer.finish(Existing::Keep))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_be_read_have_a_training_image_of_the_last_class_tested_on_and_of_two_classes() {
        assert_eq!(least_to_read(&[0, 0, 1, 1, 2, 2], &[0, 1, 2]), Some(5));
        assert_eq!(least_to_read(&[0, 0, 1, 1, 2, 2], &[]), Some(3));
        assert_eq!(least_to_read(&[5, 0, 4, 1, 9], &[7, 2, 1]), Some(5));
        assert_eq!(least_to_read(&[3, 1], &[2]), Some(2));
        assert_eq!(least_to_read(&[1, 1], &[1]), None);
    }
}
