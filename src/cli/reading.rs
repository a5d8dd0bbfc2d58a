//! Flags for how data are read, where the data leave it open; and data to train with, to test a model with, or to continue
//! with.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::learner::Learner;
use super::progress::Progress;
use super::{counted, note};
use crate::data::{
    self, DataError, DataSet, HoldOut, ImageSize, Kind, Pictures, Reading, are_dark, load, load_watched, mnist,
};
use crate::infer::measures::NEIGHBOUR;
use crate::models::{ModelFile, by};
use crate::train::Start;

#[derive(clap::Args)]
#[command(next_help_heading = "Data options")]
pub struct ReadingFlags {
    /// Images to set aside for testing if the data have no test set; 0 for none or, with `evaluate`, all for every
    /// image [default: a tenth, or the hold-out that the model was trained with on the same images]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = hold_out)]
    hold_out: Option<HoldOut>,
    /// Size to which pictures are converted, and that of a table row's image: height x width, or height x width x
    /// channels [default: what a trained model takes; without a model, their own size if they share one, else 28x28]
    #[arg(long, value_name = "HxW[xC]", allow_hyphen_values = true)]
    image_size: Option<ImageSize>,
    /// Prepare pictures of digits as MNIST was made, as `classify` does: inverted if dark on light, cropped, centred
    #[arg(long)]
    prepare: bool,
}

fn hold_out(text: &str) -> Result<HoldOut, String> {
    if text == "all" { Ok(HoldOut::All) } else { super::count(text).map(HoldOut::Count) }
}

impl ReadingFlags {
    pub fn reading(&self) -> Reading {
        Reading { hold_out: self.hold_out, image_size: self.image_size, prepare: self.prepare }
    }

    /// Whether any of the flags was given.
    pub fn given(&self) -> bool {
        !self.reading().is_default()
    }

    /// Refuses these flags without `--data`, and refuses to test on all images where some are needed for training.
    pub fn check(&self, data: Option<&Path>) -> anyhow::Result<()> {
        let leaves_some = self.hold_out != Some(HoldOut::All);
        anyhow::ensure!(leaves_some, "--hold-out all is for `evaluate` of a classifier: it leaves none to train with");
        self.check_data(data)
    }

    /// Refuses these flags without `--data`.
    pub fn check_data(&self, data: Option<&Path>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.given() || data.is_some(), "--hold-out, --image-size and --prepare are for --data");
        ensure_prepares(&self.reading(), "--image-size")
    }
}

/// Refuses `--prepare` for images in colour, which are not prepared. `asks` is what wants them so.
fn ensure_prepares(reading: &Reading, asks: &str) -> anyhow::Result<()> {
    let channels = reading.image_size.and_then(|size| size.channels).unwrap_or(1);
    anyhow::ensure!(
        !reading.prepare || channels == 1,
        "--prepare would change nothing: {asks} wants images of {channels} channels, which are not prepared. Leave it out"
    );
    Ok(())
}

/// The data set of `--data`, or the built-in MNIST. Prints what the user should know of how it was read, and unless
/// `quiet` how far it is where there are many pictures to decode.
pub fn data_read(path: Option<&Path>, reading: &Reading, quiet: bool) -> anyhow::Result<DataSet> {
    let set = data_waited_for(path, reading, quiet)?;
    remark_on(&set, path);
    Ok(set)
}

/// Like [`data_read`], where nothing is trained, tested or counted, and it does not matter which images repeat.
pub fn data_shown(path: Option<&Path>, reading: &Reading) -> anyhow::Result<DataSet> {
    let set = data_waited_for(path, reading, false)?;
    tell_remarks(&set.remarks);
    Ok(set)
}

/// Like [`data_read`], but prints nothing: it is not yet known whether these data will be used.
pub fn data_unremarked(path: Option<&Path>, reading: &Reading) -> anyhow::Result<DataSet> {
    Ok(match path {
        Some(path) => load(path, reading)?,
        None => mnist::embedded()?,
    })
}

/// Like [`data_unremarked`], and shows how far it is.
fn data_waited_for(path: Option<&Path>, reading: &Reading, quiet: bool) -> anyhow::Result<DataSet> {
    let Some(path) = path else { return data_unremarked(path, reading) };
    let progress = Mutex::new(Progress::new("images", None, quiet));
    let watch = |done: usize, all: usize| {
        // Whoever finds it busy leaves it to the next.
        let Ok(mut progress) = progress.try_lock() else { return };
        progress.of(all as u64);
        progress.at(done as u64);
    };
    let set = load_watched(path, reading, &watch);
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    Ok(set?)
}

/// Prints what the user should know of the data, which were read from `path`.
fn remark_on(set: &DataSet, path: Option<&Path>) {
    // The built-in MNIST has no image twice.
    let repeats = path.and_then(|_| set.repeats());
    tell_remarks(set.remarks.iter().chain(&repeats));
}

fn tell_remarks<'a>(remarks: impl IntoIterator<Item = &'a String>) {
    for remark in remarks {
        note(format_args!("note: {remark}"));
    }
}

/// Data to test a file's model with, which include test images. Pictures, and rows of a table, become what it takes. If
/// no hold-out is given, the model has learned from none of the test images; if it has learned from some all the same, or
/// may have, a warning says so.
pub fn to_test(data: Option<&Path>, reading: &Reading, file: &ModelFile) -> anyhow::Result<DataSet> {
    let kind = data.map(Kind::of).transpose()?;
    let mut reading = for_model(reading, kind.as_ref(), file);
    ensure_prepares(&reading, &file.name.to_string_lossy())?;
    let all = |error: anyhow::Error| match file.is_gan() {
        true => error,
        false => anyhow::anyhow!("{error}; --hold-out all tests on every one of them"),
    };
    let mut set = data_waited_for(data, &reading, false).map_err(|error| {
        // Too little to be divided, or of one class.
        let undivided = Reading { hold_out: Some(HoldOut::All), ..reading.clone() };
        if data_unremarked(data, &undivided).is_ok() { all(error) } else { error }
    })?;
    let mut learner = Learner::new(file, data);
    // With none set aside, there would be nothing to test on.
    let kept = learner.keep(&mut set, &mut reading, 1);
    check_test(&set, &reading).map_err(all)?;
    remark_on(&set, data);
    // The built-in MNIST is what it is; for a model of other images, other data are to be named.
    let dark_or_light = data.and_then(|_| as_they_are(&set, file));
    kept.into_iter().chain(learner.doubts(&set, &reading)).chain(dark_or_light).for_each(note);
    Ok(set)
}

/// Data to continue training a file's model with. `reading` receives how pictures, and rows of a table, become what the
/// model takes; and, if no hold-out is given and these are the images that it has learned from, the hold-out of that
/// training. If another hold-out is asked for, a warning says how many of the test images the model has learned from.
/// Unless `quiet`, it is shown how far the reading is.
pub fn to_go_on(data: Option<&Path>, reading: &mut Reading, file: &ModelFile, quiet: bool) -> anyhow::Result<DataSet> {
    let asked = reading.clone();
    let kind = data.map(Kind::of).transpose()?;
    *reading = for_model(&asked, kind.as_ref(), file);
    ensure_prepares(reading, &file.name.to_string_lossy())?;
    let are_fitted = kind == Some(Kind::Pictures) && *reading != asked;
    if let Some(size) = reading.image_size.filter(|_| are_fitted) {
        let prepared = if reading.prepare { ", prepared as MNIST was" } else { "" };
        note(format_args!("note: pictures are brought to {size}{prepared}, for {}", file.name.display()));
    }
    let mut set = data_waited_for(data, reading, quiet)?;
    let mut learner = Learner::new(file, data);
    let kept = learner.keep(&mut set, reading, 0);
    remark_on(&set, data);
    kept.into_iter().chain(learner.doubts(&set, reading)).chain(as_they_are(&set, file)).for_each(note);
    Ok(set)
}

/// Refuses data, read from `path`, that are not those that a run began with; `digest` identifies their training images.
/// Where the data had test images of their own then, and have none now, the error says so.
pub fn check_begun_with(
    start: &Start,
    set: &DataSet,
    digest: &str,
    path: Option<&Path>,
    reading: &Reading,
) -> anyhow::Result<()> {
    let Err(error) = start.check_data(digest, &set.class_names) else { return Ok(()) };
    let undivided = || {
        let reading = Reading { hold_out: Some(HoldOut::Count(0)), ..reading.clone() };
        let all = data_unremarked(path, &reading).ok()?.with_classes(set.class_names.clone()).ok()?;
        start.check_data(&data::digest(&all.train), &set.class_names).ok()
    };
    anyhow::ensure!(
        !set.held_out || undivided().is_none(),
        "{error}\nit began with test images of their own, and {} has none now, so that {} to train with would be tested \
         on instead: put the test images back",
        set.name,
        counted(set.test.len() as u64, "image")
    );
    Err(error.into())
}

/// The same data with a model's classes, and a warning where these are matched with the data's by their order alone.
pub fn with_classes(set: DataSet, names: Vec<String>) -> Result<DataSet, DataError> {
    if let Some(matched) = set.matched_in_order(&names) {
        note(format_args!("warning: {matched}"));
    }
    set.with_classes(names)
}

/// How data are read for a file's model: pictures become what it takes, and rows of a table are images of the size that
/// it takes, unless something else was asked for. Those in colour have no ink and no paper, and are not prepared.
fn for_model(reading: &Reading, kind: Option<&Kind>, file: &ModelFile) -> Reading {
    let mut reading = reading.clone();
    let taken = taken(file);
    if matches!(kind, Some(Kind::Pictures | Kind::Table(_))) {
        reading.image_size = reading.image_size.or(taken);
    }
    let in_colour = [taken, reading.image_size].into_iter().flatten().any(|size| size.channels.is_some_and(|c| c != 1));
    if kind == Some(&Kind::Pictures) && !in_colour {
        reading.prepare |= match file.is_gan() {
            true => file.pictures() == Some(Pictures::Prepared),
            false => !file.takes_pictures_as_they_are(),
        };
    }
    reading
}

/// The size of the images that a file's model takes, or draws, if images may have that size.
fn taken(file: &ModelFile) -> Option<ImageSize> {
    let image = if file.is_gan() { file.image() } else { file.input() };
    by(&image.ok()?).parse().ok()
}

/// Refuses data without test images, and says how to get some.
pub fn check_test(set: &DataSet, reading: &Reading) -> anyhow::Result<()> {
    let (name, images) = (&set.name, set.train.len());
    let why = match reading.hold_out {
        None if images < 10 => format!("a tenth of its {images} is less than one: hold some out with --hold-out N"),
        None => format!("none of its {images} can be held out, as each class keeps one: add some"),
        Some(_) => format!("--hold-out 0 holds out none of its {images}: give a larger number"),
    };
    anyhow::ensure!(!set.test.is_empty(), "{name} has no test images, and {why}");
    Ok(())
}

/// Refuses data without test images, or with too few to measure generated pictures by, since measuring comes last.
pub fn check_measured(set: &DataSet, reading: &Reading) -> anyhow::Result<()> {
    check_test(set, reading)?;
    let (found, wanted) = (set.test.len(), NEIGHBOUR + 1);
    anyhow::ensure!(
        found >= wanted,
        "{} has {}, but measuring takes {wanted}",
        set.name,
        counted(found as u64, "test image")
    );
    Ok(())
}

/// A note on images that a classifier gets as they are, where their border is light and it expects a dark one, or where
/// they are dark and it has learned from light images.
fn as_they_are(set: &DataSet, file: &ModelFile) -> Option<String> {
    if file.is_gan() {
        return None;
    }
    let (name, model_name) = (&set.name, file.name.display());
    if set.pictures == Some(Pictures::Raw) && !file.takes_pictures_as_they_are() {
        return Some(format!(
            "note: images of {name} have a light border, and {model_name} expects a dark one: here it gets them as \
             they are, while `classify` inverts them"
        ));
    }
    let images = if set.test.is_empty() { &set.train } else { &set.test };
    (file.knows_light_pictures() && are_dark(images)).then(|| {
        format!(
            "note: images of {name} have a dark border, and {model_name} has learned from light images: it gets them \
             as they are. Invert them first"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::learner::testing::*;
    use super::*;
    use crate::data::ImageSet;
    use crate::models::Normalization;

    #[test]
    fn a_model_is_tested_on_what_was_set_aside_when_it_learned_and_goes_on_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let file = trained(&path, 10);
        let mut reading = Reading::default();
        let as_trained = read(&path, Some(10));
        assert_eq!(to_test(Some(&path), &reading, &file).unwrap(), as_trained);
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, true).unwrap(), as_trained);
        assert_eq!(reading, asked(Some(10)));
        // An explicit hold-out counts.
        let mut other = asked(Some(6));
        assert_eq!(to_test(Some(&path), &other, &file).unwrap(), read(&path, Some(6)));
        assert_eq!(to_go_on(Some(&path), &mut other, &file, true).unwrap(), read(&path, Some(6)));
        assert_eq!(other, asked(Some(6)));
        // The model's hold-out does not apply to other images.
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "1,77,0,255,9\n").unwrap();
        let mut reading = Reading::default();
        assert_eq!(to_test(Some(&path), &reading, &file).unwrap(), read(&path, None));
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, true).unwrap(), read(&path, None));
        assert_eq!(reading, asked(None));
    }

    #[test]
    fn a_model_that_has_learned_from_all_images_is_tested_on_some_and_goes_on_with_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let file = trained(&path, 0);
        let mut reading = Reading::default();
        assert_eq!(to_test(Some(&path), &reading, &file).unwrap(), read(&path, None));
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, true).unwrap(), read(&path, Some(0)));
        assert_eq!(reading, asked(Some(0)));
    }

    #[test]
    fn a_model_that_is_tested_on_all_images_is_said_to_know_those_that_it_has_learned_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let reading = Reading { hold_out: Some(HoldOut::All), ..Reading::default() };
        let set = data_unremarked(Some(&path), &reading).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (0, 40));
        let mut a_tenth = trained(&path, 4);
        a_tenth.metadata.remove("hold_out");
        for (file, known) in [(trained(&path, 10), 30), (trained(&path, 0), 40), (a_tenth, 36)] {
            let told = doubts(&file, &path, &reading);
            assert!(told[0].contains(&format!("from {known} of these 40 test images")), "{told:?}");
            assert_eq!(to_test(Some(&path), &reading, &file).unwrap(), set);
        }
        assert!(doubts(&ModelFile::default(), &path, &reading).is_empty());
    }

    #[test]
    fn pictures_become_what_a_model_takes_and_rows_have_its_size_where_nothing_else_is_said() {
        let mut file = ModelFile::default();
        file.set("input", "32x32x1");
        let read = |file: &ModelFile, kind: &Kind, asked: &Reading| for_model(asked, Some(kind), file);
        let asked = Reading::default();
        let read_so = Reading { image_size: Some([32, 32, 1].into()), prepare: true, ..Reading::default() };
        assert_eq!(read(&file, &Kind::Pictures, &asked), read_so);
        assert_eq!(read(&file, &Kind::Idx, &asked), asked);
        let table = Kind::Table("a.csv".into());
        assert_eq!(read(&file, &table, &asked), Reading { prepare: false, ..read_so });
        let size = Reading { image_size: Some([9, 9, 1].into()), ..read_so };
        assert_eq!(read(&file, &Kind::Pictures, &size), size);
        assert_eq!(read(&file, &table, &size), size);
        file.set_pictures(Some(Pictures::Fitted));
        assert_eq!(read(&file, &Kind::Pictures, &asked), Reading { prepare: false, ..read_so });
        // An unknown word has no effect.
        file.set(Pictures::KEY, "painted");
        assert_eq!(read(&file, &Kind::Pictures, &asked), read_so);
        file.set_pictures(Some(Pictures::Fitted));
        // A size that no image can have is ignored.
        file.set("input", "99999999999x99999999999x1");
        assert_eq!(read(&file, &Kind::Pictures, &asked), asked);
    }

    #[test]
    fn pictures_in_colour_are_not_prepared_and_asking_for_it_is_refused() {
        let mut file = ModelFile::default();
        file.set("input", "32x32x3");
        let read = |asked: &Reading| for_model(asked, Some(&Kind::Pictures), &file);
        let size = Some([32, 32, 3].into());
        assert_eq!(read(&Reading::default()), Reading { image_size: size, ..Reading::default() });
        let prepared = Reading { prepare: true, ..Reading::default() };
        let refused = ensure_prepares(&read(&prepared), "model").unwrap_err().to_string();
        assert!(refused.contains("--prepare would change nothing: model wants images of 3 channels"), "{refused}");
        file.set("input", "32x32x1");
        let grey = for_model(&prepared, Some(&Kind::Pictures), &file);
        assert!(ensure_prepares(&grey, "model").is_ok());
    }

    #[test]
    fn a_model_of_light_images_that_is_to_look_at_dark_ones_is_noted() {
        let told_by = |pictures: Option<Pictures>, [mean, background]: [u8; 2], image: [u8; 9]| {
            let (images, labels) = ([image, image].concat().into(), vec![0, 1]);
            let images = ImageSet { height: 3, width: 3, channels: 1, classes: 2, images, labels };
            let set = DataSet::new("set", images.clone(), images, ["0", "1"].map(String::from).into());
            let mut file = ModelFile { name: "model".into(), ..ModelFile::default() };
            file.set_pictures(pictures);
            Normalization { mean: f32::from(mean) / 255.0, std: 1.0, background }.store(&mut file);
            as_they_are(&set, &file)
        };
        let told = |pictures, mean, grey| told_by(pictures, [mean, 0], [grey; 9]);
        for pictures in [Pictures::Raw, Pictures::Fitted] {
            let note = told(Some(pictures), 230, 0).unwrap();
            assert!(note.contains("images of set have a dark border, and model has learned from light"), "{note}");
            assert_eq!(told(Some(pictures), 230, 255), None);
            assert_eq!(told(Some(pictures), 25, 0), None);
        }
        assert_eq!(told(None, 230, 0), None, "it takes prepared pictures");
        // It has learned from dark and light ones.
        assert_eq!(told_by(Some(Pictures::Raw), [140, 255], [0; 9]), None);
        // Most of the border is dark, and the picture is light all the same: of its own kind.
        let light = [120, 255, 120, 255, 255, 255, 120, 120, 120];
        assert_eq!(told_by(Some(Pictures::Fitted), [140, 0], light), None);
    }

    #[test]
    fn data_with_nothing_to_test_with_are_refused_with_what_would_give_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("few.csv");
        std::fs::write(&path, "label,a\n0,1\n1,2\n0,3\n1,4\n").unwrap();
        let test = |hold_out| to_test(Some(&path), &asked(hold_out), &ModelFile::default());
        for (hold_out, words) in [
            (
                None,
                "few.csv has no test images, and a tenth of its 4 is less than one: hold some out with --hold-out N",
            ),
            (Some(0), "few.csv has no test images, and --hold-out 0 holds out none of its 4: give a larger number"),
            (Some(3), "has no image left to train on when --hold-out sets 3 aside"),
            (Some(4), "--hold-out is 4; it must be below 4"),
        ] {
            let refused = test(hold_out).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.ends_with("all tests on every one of them"), "{refused}");
        }
        assert_eq!(test(Some(2)).unwrap().test.len(), 2);
        std::fs::write(&path, "label,a\n1,1\n1,2\n").unwrap();
        let refused = test(None).unwrap_err().to_string();
        assert!(refused.contains("1 in every row") && refused.ends_with("all tests on every one of them"), "{refused}");
    }
}
