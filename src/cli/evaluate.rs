//! `inkgrad evaluate`: what a trained model knows, and where it errs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::RgbImage;
use serde::Serialize;

use super::evaluate_shifts::{self, Shifts};
use super::given::Given;
use super::reading::{ReadingFlags, to_test, with_classes};
use super::{evaluate_gan, note, open_device, say_and_go_on, say_json, thousands};
use crate::data::{DataSet, HoldOut, ImageSet, mnist};
use crate::graph::Store;
use crate::infer::{Evaluation, Scores};
use crate::models::{ModelFile, by};
use crate::report::{self, ClassStats, Confusion, MAX_CLASSES, MAX_SIDE, MacroMeans, SheetItem, class_name};
use crate::run_files::{BEST, is_run};

/// The heading of flags that only classifiers have.
const HEADING: &str = "Classifier options";
/// Mistakes per row of the sheet.
const COLUMNS: usize = 8;

const JSON: &str = "What --json prints: model, kind, device, data and count; shares are from 0 to 1, and what is not
known is null. Of a classifier also views, right, unanswered, accuracy, standard_error, interval
(of 95 %), loss, mean (precision, recall, f1), classes (name, precision, recall, f1, count),
confusion (a row for each true class), shifts (most; accuracy in rows down, columns right;
by_distance: pixels, shifts, accuracy) and written, the pictures. Of a generator judge,
judge_sha256, seed, truncation, frechet, floor (that of real pictures), times_floor, recovered,
precision, recall, classes (name, recovered, diversity), collapsed and taught_accuracy.";

#[derive(clap::Args)]
#[command(after_help = JSON)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// A classifier or generator: a shipped model's name (`inkgrad models`), a model file, or a run's folder, for its
    /// best model
    model: PathBuf,
    /// Labelled images: a folder of IDX files, a table of pixels (.csv, .csv.gz), or a folder of pictures for each
    /// class; only the test images are used [default: the built-in MNIST]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// auto, cpu, a number or part of a name from `inkgrad devices`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print every number, unrounded, as one line of JSON
    #[arg(long)]
    json: bool,
    /// Folder for confusion.png and mistakes.png [default: the run's folder for its best model; not drawn for
    /// other models]
    #[arg(long, short, value_name = "DIR", help_heading = HEADING)]
    out: Option<PathBuf>,
    /// Number of mistakes on the sheet [default: 40]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count, help_heading = HEADING)]
    mistakes: Option<usize>,
    /// Average the outputs for N views of each image, slightly turned and shifted
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, help_heading = HEADING,
        value_parser = super::numbers::whole::<u8>(1..=255))]
    views: u8,
    /// Also test with all images shifted by up to this many pixels in each direction
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true, help_heading = HEADING,
        value_parser = super::count)]
    shifts: Option<usize>,
    #[command(flatten)]
    reading: ReadingFlags,
    #[command(flatten)]
    generator: evaluate_gan::Flags,
}

/// What `--json` prints of a classifier.
#[derive(Serialize)]
struct Results<'a> {
    model: String,
    kind: &'static str,
    device: String,
    data: &'a str,
    views: u8,
    /// Images.
    count: u64,
    right: u64,
    unanswered: usize,
    accuracy: Option<f64>,
    standard_error: Option<f64>,
    interval: Option<(f64, f64)>,
    loss: f64,
    /// This and the two below are not known of too many classes.
    mean: Option<MacroMeans>,
    classes: Option<Vec<Class<'a>>>,
    /// A row for each true class: how often it was taken for each class.
    confusion: Option<Vec<Vec<u64>>>,
    shifts: Option<Shifts>,
    written: &'a [String],
}

#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    /// Images of this class.
    count: u64,
}

impl Args {
    /// Refuses the flags under this heading for a model to which they do not apply.
    fn refuse(&self, heading: &str, whose: &str, model: &str) -> anyhow::Result<()> {
        match self.given.under::<Args>(&[heading]).first() {
            Some(flag) => anyhow::bail!("{flag} is for {whose}, and {model}"),
            None => Ok(()),
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = ModelFile::open(&args.model)?;
    let name = file.name.display().to_string();
    args.reading.check_data(args.data.as_deref())?;
    if file.is_gan() {
        let generator = format!("{name} is a generator");
        args.refuse(HEADING, "classifiers", &generator)?;
        // Other numbers to hold out are for both.
        let reading = args.reading.reading();
        let leaves_some = reading.hold_out != Some(HoldOut::All);
        anyhow::ensure!(leaves_some, "--hold-out all is for classifiers, and {generator}");
        return evaluate_gan::run(file, &args.device, args.data.as_deref(), reading, args.json, &args.generator);
    }
    args.refuse(evaluate_gan::HEADING, "generators", &format!("{name} is a classifier"))?;
    classifier(&args, &file)
}

fn classifier(args: &Args, file: &ModelFile) -> anyhow::Result<ExitCode> {
    let path = &file.name;
    let folder = args.out.clone().or_else(|| of_run(path));
    anyhow::ensure!(
        folder.is_some() || args.mistakes.is_none(),
        "--mistakes: the sheet goes into a run's folder, and {} is not a run's best model; name a place with --out DIR",
        path.display()
    );
    let mut store = Store::default();
    let (network, _) = file.network(&mut store, "classifier")?;
    let class_names = file.class_names()?;

    let DataSet { name, test, .. } = test_data(args, file, &class_names, &network.input)?;
    if let Some(most) = args.shifts {
        evaluate_shifts::check(most, &test)?;
    }
    let mut device = open_device(&args.device)?;
    let mut evaluation = Evaluation::open(file, &test, device.as_mut())?;
    let scores = Scores::new(&evaluation.mean_logits(device.as_mut(), test.len(), args.views.into())?, &test.labels);

    // The pictures are written whether or not anyone still reads the tables.
    let tell = |text: String| {
        if !args.json {
            say_and_go_on(text);
        }
    };
    let count = thousands(test.len() as u64);
    tell(format!("{} on the {count} test images of {name} with {}\n", path.display(), device.name()));
    warn_of_unanswered(&scores, path);
    let has_table = class_names.len() <= MAX_CLASSES;
    let confusion = match has_table {
        true => Confusion::from_pairs(class_names.len(), scores.answers(&test.labels))?,
        false => Confusion::right_or_wrong(scores.answers(&test.labels)),
    };
    if has_table {
        // The table ends with the accuracy.
        tell(format!("{}loss {:.4}\n", confusion.fmt_table(&class_names), scores.loss));
        tell(confusion.fmt_matrix(&class_names));
    } else {
        tell(format!("{}\nloss {:.4}\n", confusion.fmt_accuracy(), scores.loss));
        note(format_args!("no table of classes and no confusion.png: they show at most {MAX_CLASSES} classes"));
    }
    let shifts = |most| evaluate_shifts::measure(&mut evaluation, device.as_mut(), &test, most, args.views.into());
    let shifts = args.shifts.map(shifts).transpose()?;
    if let Some(shifts) = &shifts {
        tell(shifts.fmt_table());
    }

    let by_class = has_table.then_some(&confusion);
    let mut written = Vec::new();
    let drawn = if let Some(folder) = folder {
        draw(&folder, by_class, &scores, &test, &class_names, args.mistakes.unwrap_or(40), &mut written)
    } else {
        note(format_args!(
            "note: confusion.png and mistakes.png are not drawn: they go into a run's folder, and {} is not a \
             run's best model; name a place with --out DIR",
            path.display()
        ));
        Ok(())
    };
    // The numbers are printed even where the pictures could not be drawn.
    if args.json {
        say_json(&Results {
            model: path.display().to_string(),
            kind: "classifier",
            device: device.name(),
            data: &name,
            views: args.views,
            count: confusion.total(),
            right: confusion.correct(),
            unanswered: scores.unanswered(),
            accuracy: confusion.accuracy(),
            standard_error: confusion.standard_error(),
            interval: confusion.accuracy_interval(),
            loss: scores.loss,
            mean: by_class.map(Confusion::macro_means),
            classes: by_class.map(|confusion| classes(confusion, &class_names)),
            confusion: by_class.map(Confusion::rows),
            shifts,
            written: &written,
        })?;
    }
    written.into_iter().for_each(tell);
    drawn?;
    Ok(ExitCode::SUCCESS)
}

/// Data with test images for a file's classifier, which has these classes and takes images of this size.
fn test_data(args: &Args, file: &ModelFile, class_names: &[String], input: &[usize]) -> anyhow::Result<DataSet> {
    let (data, path) = (args.data.as_deref(), file.name.display());
    let elsewhere = trained_elsewhere(file, data);
    let advice = elsewhere.as_ref().map_or(String::new(), |advice| format!("; {advice}"));
    let set = to_test(data, &args.reading.reading(), file)?;
    let set = with_classes(set, class_names.to_vec()).map_err(|error| anyhow::anyhow!("{path}: {error}{advice}"))?;
    let (takes, has) = (by(input), by(&[set.test.height, set.test.width, set.test.channels]));
    anyhow::ensure!(takes == has, "{path} takes images of {takes}, but {} has {has}{advice}", set.name);
    if let Some(advice) = elsewhere {
        note(format_args!("note: {advice}"));
    }
    Ok(set)
}

fn classes<'a>(confusion: &Confusion, names: &'a [String]) -> Vec<Class<'a>> {
    let class = |(name, of): (&'a String, ClassStats)| Class {
        name,
        precision: of.precision,
        recall: of.recall,
        f1: of.f1,
        count: of.support,
    };
    names.iter().zip(confusion.per_class()).map(class).collect()
}

/// Draws the table of classes, if there is one, and the mistakes, into a folder. `written` receives where they are.
fn draw(
    folder: &Path,
    by_class: Option<&Confusion>,
    scores: &Scores,
    test: &ImageSet,
    class_names: &[String],
    most: usize,
    written: &mut Vec<String>,
) -> anyhow::Result<()> {
    let confusion = by_class.map(|confusion| report::confusion_picture(confusion, class_names)).transpose()?;
    save(folder, confusion, mistakes(scores, test, class_names, most)?, written)
}

/// Saves the pictures in a folder, which it makes if it is missing. `written` receives where they are, as far as they
/// could be saved.
fn save(
    folder: &Path,
    confusion: Option<RgbImage>,
    mistakes: RgbImage,
    written: &mut Vec<String>,
) -> anyhow::Result<()> {
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(folder).map_err(|e| {
            anyhow::anyhow!("--out {}: {e}. Expected a folder, or a name for a new one", folder.display())
        })?;
    }
    for (name, picture) in [("confusion.png", confusion), ("mistakes.png", Some(mistakes))] {
        let Some(picture) = picture else { continue };
        let place = folder.join(name);
        report::save_png(&picture, &place)?;
        written.push(place.display().to_string());
    }
    Ok(())
}

/// The folder of the run whose best model a file is. Pictures belong there; nothing is written anywhere else unasked.
fn of_run(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|_| path.ends_with(BEST))?;
    is_run(folder).then(|| folder.to_owned())
}

/// Advice where no data were given, which means MNIST, and the model was trained on other data.
pub(super) fn trained_elsewhere(file: &ModelFile, data: Option<&Path>) -> Option<String> {
    let trained = file.metadata.get("data").filter(|trained| data.is_none() && *trained != mnist::NAME)?;
    let built_in = mnist::NAME;
    Some(format!("it was trained on {trained}, not on the built-in {built_in}: test it on that with --data PATH"))
}

/// Warns of answers that are not numbers. A file with a weight that is none is refused, so the weights are finite and
/// their sums overflow.
pub(super) fn warn_of_unanswered(scores: &Scores, model: &Path) {
    let (unanswered, all) = (scores.unanswered() as u64, scores.predicted.len() as u64);
    if unanswered > 0 {
        note(format_args!(
            "warning: {} of {} answers of {} are not numbers and count as wrong: its weights are too large. Train it \
             again with a lower learning rate",
            thousands(unanswered),
            thousands(all),
            model.display()
        ));
    }
}

/// The misclassified images whose label was given the lowest probability, worst first.
fn mistakes(
    scores: &Scores,
    set: &ImageSet,
    class_names: &[String],
    most: usize,
) -> Result<RgbImage, report::ReportError> {
    let answers = scores.answers(&set.labels).enumerate();
    let mut wrong: Vec<usize> =
        answers.filter(|(_, (label, answer))| *answer != Some(*label)).map(|(i, _)| i).collect();
    wrong.sort_by(|a, b| scores.truth[*a].total_cmp(&scores.truth[*b]));
    let name = |class: usize| class_name(class_names, class);
    let mut items: Vec<SheetItem> = wrong
        .iter()
        .take(most)
        .map(|i| {
            let truth = name(set.labels[*i] as usize);
            let caption = match scores.predicted[*i] {
                Some((predicted, probability)) => {
                    format!("{}\n{:.1} %", report::mistake_caption(&truth, &name(predicted)), probability * 100.0)
                }
                None => report::mistake_caption(&truth, "no answer"),
            };
            SheetItem { pixels: set.image(*i), caption }
        })
        .collect();
    // About 84 pixels per image, whatever its size.
    let scale = (84 / set.height.max(set.width).max(1)).max(1);
    let captions = items.iter().map(|item| item.caption.as_str());
    let (rows, columns) = report::sheet_room(captions, (set.height, set.width), scale);
    let columns = columns.min(COLUMNS);
    let (wanted, shown) = (items.len(), items.len().min(rows * columns));
    if shown < wanted {
        note(format_args!("note: {shown} of {wanted} mistakes fit: a picture has at most {MAX_SIDE} pixels a side"));
        items.truncate(shown);
    }
    let title = format!("The {shown} worst of {} mistakes in {}: truth \u{2192} answer", wrong.len(), set.len());
    report::titled_sheet(&title, &items, (set.height, set.width, set.channels), columns, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_not_all_mistakes_are_asked_for_the_worst_are_shown() {
        // The first is known, the second is almost, and the third is not.
        let colours: [[u8; 3]; 3] = [[0, 255, 0], [255, 0, 0], [0, 0, 255]];
        let (images, labels) = (colours.concat().into(), vec![0, 0, 0]);
        let set = ImageSet { height: 1, width: 1, channels: 3, classes: 2, images, labels };
        let scores = Scores::new(&[9.0, 0.0, 0.0, 1.0, 0.0, 5.0], &set.labels);
        let sheet = mistakes(&scores, &set, &["a", "b"].map(String::from), 1).unwrap();
        let is_shown = |colour: [u8; 3]| sheet.pixels().any(|pixel| pixel.0 == colour);
        assert_eq!(colours.map(is_shown), [false, false, true]);
    }
}
