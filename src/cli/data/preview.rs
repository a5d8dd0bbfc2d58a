//! `inkgrad data preview`: what training sees, drawn by the plan that training uses.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::augment_flags::{self, AugmentFlags};
use crate::cli::numbers::whole;
use crate::cli::outputs::{ensure_png, write_picture};
use crate::cli::reading::{ReadingFlags, data_shown};
use crate::cli::{note, open_device, say};
use crate::data::ImageSet;
use crate::graph::Store;
use crate::models::{self, Normalization};
use crate::ops::random;
use crate::report::{self, MAX_SIDE, SheetItem, class_name};
use crate::train::{Preview, TrainError};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in network, or an architecture in TOML, whose recipe says how images are augmented
    #[arg(default_value = "fast")]
    model: String,
    /// IDX files, a table of pixels or pictures in folders, as for `train` [default: the built-in MNIST]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of originals, from each class in turn
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true,
        value_parser = whole::<u16>(1..=200))]
    rows: u16,
    /// Number of augmented versions of each
    #[arg(long, value_name = "N", default_value_t = 12, allow_negative_numbers = true,
        value_parser = whole::<u16>(1..=200))]
    columns: u16,
    /// Seed that chooses the images and their changes
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = crate::cli::seed)]
    seed: u32,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Picture to write; an existing file is replaced
    #[arg(long, short, value_name = "FILE", default_value = "preview.png")]
    out: PathBuf,
    #[command(flatten)]
    reading: ReadingFlags,
    #[command(flatten)]
    augment: AugmentFlags,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure_png("--out", &args.out)?;
    args.reading.check(args.data.as_deref())?;
    let recipe = models::load(&args.model)?.recipe;
    let augment = args.augment.over(recipe.augment.unwrap_or_default());
    let set = data_shown(args.data.as_deref(), &args.reading.reading())?;
    let (train, class_names) = (&set.train, &set.class_names);
    let image = [train.height, train.width, train.channels];
    if let Some((setting, value, wanted)) = augment.problem_with(train) {
        return Err(TrainError::setting(setting, value, wanted).into());
    }
    augment_flags::warn(&augment, class_names);
    if augment.is_none() {
        note(format_args!("{} trains on images as they are; flags like --rotate 10 change that", args.model));
    }

    let mut originals = of_each_class(train, usize::from(args.rows), args.seed);
    let caption = |original: &usize| class_name(class_names, train.labels[*original] as usize);
    let mut captions: Vec<String> = originals.iter().map(caption).collect();
    let scale = (56 / train.height.max(train.width)).max(1);
    let room = report::sheet_room(captions.iter().map(String::as_str), (train.height, train.width), scale);
    // The originals are a column of their own.
    let columns = fitting("columns", args.columns.into(), (room.1 - 1).max(1));
    let rows = fitting("rows", originals.len(), room.0);
    originals.truncate(rows);
    captions.truncate(rows);

    let mut device = open_device(&args.device)?;
    let normalization = Normalization::of_extended(train, augment.window());
    let mut store = Store::default();
    let mut preview = Preview::declare(&mut store, image, columns, normalization, augment)?;
    device.allocate(&store)?;
    let mut drawn = Vec::with_capacity(originals.len());
    for (step, original) in originals.iter().enumerate() {
        drawn.push(preview.draw(device.as_mut(), train.image(*original), [step as u32, args.seed])?);
    }

    let mut items = Vec::new();
    for ((original, caption), drawn) in originals.iter().zip(captions).zip(&drawn) {
        items.push(SheetItem { pixels: train.image(*original), caption });
        let variations = drawn.chunks_exact(train.image_len());
        items.extend(variations.map(|pixels| SheetItem { pixels, caption: String::new() }));
    }
    let title = format!("{}: an image, and beside it what training sees of it", set.name);
    let sheet = report::titled_sheet(&title, &items, (image[0], image[1], image[2]), columns + 1, scale)?;
    write_picture(&sheet, &args.out)?;
    if !augment.is_none() {
        say(augment);
    }
    say(args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// As many as there is room for, with a note if that is fewer than were asked for.
fn fitting(what: &str, wanted: usize, room: usize) -> usize {
    if wanted > room {
        note(format_args!("note: {room} of {wanted} {what} fit: a picture has at most {MAX_SIDE} pixels a side"));
    }
    wanted.min(room)
}

/// Shuffled images, taken from each class in turn.
fn of_each_class(set: &ImageSet, rows: usize, seed: u32) -> Vec<usize> {
    let count = set.len() as u32;
    let mut by_class = vec![Vec::new(); set.classes];
    let shuffle = random::Shuffle::new(count, seed, 0);
    for i in (0..count).map(|i| shuffle.at(i) as usize) {
        by_class[set.labels[i] as usize].push(i);
    }
    let turns = 0..by_class.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = turns.flat_map(|turn| by_class.iter().filter_map(move |images| images.get(turn).copied()));
    in_turn.take(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn originals_are_of_each_class_in_turn_and_no_image_comes_twice() {
        let labels = vec![0, 0, 0, 2, 2, 0];
        let set = ImageSet { height: 1, width: 1, channels: 1, classes: 3, images: vec![0; 6].into(), labels };
        let chosen = of_each_class(&set, 5, 1);
        let labels: Vec<u32> = chosen.iter().map(|i| set.labels[*i]).collect();
        assert_eq!(labels, [0, 2, 0, 2, 0]);
        let mut all = of_each_class(&set, 100, 1);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    }
}
