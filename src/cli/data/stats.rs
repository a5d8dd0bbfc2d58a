//! `inkgrad data stats`: what is in a data set.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::outputs::{ensure_png, write_picture};
use crate::cli::reading::{ReadingFlags, data_read};
// The picture is written whether or not anyone still reads the tables.
use crate::cli::say_and_go_on as say;
use crate::cli::thousands;
use crate::data::statistics::Statistics;
use crate::data::{DataSet, ImageSet};
use crate::ops::Window;
use crate::report::{self, SheetItem, aligned, class_name};

#[derive(clap::Args)]
pub struct Args {
    /// IDX files, a table of pixels or pictures in folders, as for `train` [default: the built-in MNIST]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Picture to write: the mean of each class's training images, and of all; an existing file is replaced
    #[arg(long, short, value_name = "FILE", default_value = "stats.png")]
    out: PathBuf,
    #[command(flatten)]
    reading: ReadingFlags,
}

/// Most classes that get a line and a picture.
const MOST_CLASSES: usize = 100;

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure_png("--out", &args.out)?;
    args.reading.check(args.data.as_deref())?;
    let reading = args.reading.reading();
    let DataSet { name, train, test, class_names, .. } = data_read(args.data.as_deref(), &reading, false)?;
    let [of_train, of_test] = [&train, &test].map(Statistics::of);
    let plural = if train.channels == 1 { "" } else { "s" };
    say(format_args!(
        "{name}: images of {} x {} pixels with {} channel{plural}\n",
        train.height, train.width, train.channels
    ));
    say(counts(&class_names, &of_train, &of_test));
    let [[mean, deviation], [test_mean, test_deviation]] = [&train, &test].map(mean_std);
    say(aligned(&[
        ["", "training", "test"].map(String::from),
        ["mean of the pixels, 0 to 1".into(), mean, test_mean],
        ["their standard deviation".into(), deviation, test_deviation],
    ]));
    say(match train.background() {
        0 => ink(&train, &of_train),
        paper => format!("the images are light: outside them there is paper of {paper} (of 255), for augmentation\n"),
    });

    let shown = of_train.means.iter().enumerate().take(MOST_CLASSES);
    let mut items: Vec<SheetItem> =
        shown.map(|(class, pixels)| SheetItem { pixels, caption: class_name(&class_names, class) }).collect();
    items.push(SheetItem { pixels: &of_train.mean, caption: "all".into() });
    let title = format!("{name}: the mean of each class's training images");
    let scale = (112 / train.height.max(train.width)).max(1);
    let columns = if items.len() <= 12 { items.len().div_ceil(2) } else { 10 };
    let sheet = report::titled_sheet(&title, &items, (train.height, train.width, train.channels), columns, scale)?;
    write_picture(&sheet, &args.out)?;
    say(args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The mean of a set's pixels and their standard deviation, which a set without images does not have.
fn mean_std(set: &ImageSet) -> [String; 2] {
    let (mean, deviation) = set.mean_std();
    [mean, deviation].map(|value| if set.is_empty() { "-".into() } else { format!("{value:.4}") })
}

fn counts(class_names: &[String], train: &Statistics, test: &Statistics) -> String {
    let row = |name: String, a: usize, b: usize| [name, thousands(a as u64), thousands(b as u64)];
    let mut rows = vec![["class", "training", "test"].map(String::from)];
    let classes = train.counts.iter().zip(&test.counts).enumerate();
    rows.extend(classes.take(MOST_CLASSES).map(|(class, (a, b))| row(class_name(class_names, class), *a, *b)));
    let [a, b] = [train, test].map(|set| set.counts.iter().sum());
    let left_out = train.counts.len().saturating_sub(MOST_CLASSES);
    let all = if left_out > 0 { format!("all, {left_out} classes more") } else { "all".into() };
    rows.push(row(all, a, b));
    aligned(&rows)
}

/// Where the ink of the training images is, and for digits, how much of it the window of the 77-fold extension keeps.
fn ink(train: &ImageSet, found: &Statistics) -> String {
    let (Some(extent), Some(medians)) = (found.extent(), found.medians()) else {
        return "no training image has any ink\n".into();
    };
    let row = |name: &str, sides: [String; 4]| [vec![name.to_string()], sides.into()].concat();
    let smallest = |side: usize| found.boxes.iter().map(|inked| inked[side]).min().unwrap_or(0);
    let largest = |side: usize| found.boxes.iter().map(|inked| inked[side]).max().unwrap_or(0);
    let mut text = String::from("where an image's ink begins and ends, counted from 0 (training images):\n");
    text += &aligned(&[
        row("", ["first row", "last row", "first column", "last column"].map(String::from)),
        row("least", [0, 1, 2, 3].map(|side| smallest(side).to_string())),
        row("median", medians.map(|side| side.to_string())),
        row("most", [0, 1, 2, 3].map(|side| largest(side).to_string())),
    ]);
    let [top, bottom, left, right] = extent;
    text += &format!("all ink is in rows {top} to {bottom} and columns {left} to {right}\n");
    let without = train.len() - found.boxes.len();
    if without > 0 {
        text += &format!("{} images have none\n", thousands(without as u64));
    }
    if [train.height, train.width] == Window::DIGIT_IMAGE {
        let Window { top, left, height, width } = Window::DIGIT;
        let (bottom, right) = (top + height - 1, left + width - 1);
        let share = |sums: &[u64], first: usize, last: usize| {
            100.0 * sums[first..=last].iter().sum::<u64>() as f64 / sums.iter().sum::<u64>().max(1) as f64
        };
        text += &format!(
            "of it {:.2} % is in rows {top} to {bottom} and {:.2} % in columns {left} to {right}, which --extend keeps; \
             {:.1} % of the images have all theirs there\n",
            share(&found.rows, top, bottom),
            share(&found.columns, left, right),
            100.0 * found.within([top, bottom, left, right].map(|side| side as u32))
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ink_that_the_window_keeps_includes_that_in_its_last_row_and_column() {
        let mut image = vec![0u8; 28 * 28];
        for (row, column, ink) in [(4, 5, 10), (25, 22, 50), (26, 23, 40)] {
            image[row * 28 + column] = ink;
        }
        let images = image.into();
        let set = ImageSet { height: 28, width: 28, channels: 1, classes: 1, images, labels: vec![0] };
        let text = ink(&set, &Statistics::of(&set));
        assert!(text.contains("of it 60.00 % is in rows 4 to 25 and 60.00 % in columns 5 to 22"), "{text}");
    }
}
