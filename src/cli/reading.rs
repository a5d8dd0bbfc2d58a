//! Flags for how data are read, where the data leave it open; and data for a model that has learned from some of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::{counted, data_unremarked, is_one_place, note, remark_on};
use crate::data::{DataError, DataSet, HoldOut, ImageSize, Kind, Pictures, Reading, digest};
use crate::infer::measures::NEIGHBOUR;
use crate::models::{Learned, ModelFile, by};

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
        Ok(())
    }
}

/// Data to test the model of the file at `model` with, which include test images. Pictures, and rows of a table, become
/// what it takes. If no hold-out is given, the model has learned from none of the test images; if it has learned from
/// some all the same, or may have, a warning says so.
pub fn to_test(data: Option<&Path>, reading: &Reading, file: &ModelFile, model: &Path) -> anyhow::Result<DataSet> {
    let kind = data.map(Kind::of).transpose()?;
    let mut reading = for_model(reading, kind.as_ref(), file, model);
    let all = |error: anyhow::Error| match file.is_gan() {
        true => error,
        false => anyhow::anyhow!("{error}; --hold-out all tests on every one of them"),
    };
    let mut set = data_unremarked(data, &reading).map_err(|error| {
        let refused = error.downcast_ref::<DataError>();
        let is_hold_out = matches!(refused, Some(DataError::HoldOut { .. } | DataError::ClassSetAside { .. }));
        if is_hold_out { all(error) } else { error }
    })?;
    let mut learner = Learner::new(file, model, data);
    // With none set aside, there would be nothing to test on.
    let kept = learner.keep(&mut set, &mut reading, 1);
    check_test(&set, &reading).map_err(all)?;
    remark_on(&set);
    kept.into_iter().chain(learner.doubts(&set, &reading)).chain(as_they_are(&set, file, model)).for_each(note);
    Ok(set)
}

/// Data to continue training a file's model with. `reading` receives how pictures, and rows of a table, become what the
/// model takes; and, if no hold-out is given and these are the images that it has learned from, the hold-out of that
/// training. If another hold-out is asked for, a warning says how many of the test images the model has learned from.
pub fn to_go_on(data: Option<&Path>, reading: &mut Reading, file: &ModelFile, model: &Path) -> anyhow::Result<DataSet> {
    let asked = reading.clone();
    let kind = data.map(Kind::of).transpose()?;
    *reading = for_model(&asked, kind.as_ref(), file, model);
    let are_fitted = kind == Some(Kind::Pictures) && *reading != asked;
    if let Some(size) = reading.image_size.filter(|_| are_fitted) {
        let prepared = if reading.prepare { ", prepared as MNIST was" } else { "" };
        note(format_args!("note: pictures are brought to {size}{prepared}, for {}", model.display()));
    }
    let mut set = data_unremarked(data, reading)?;
    let mut learner = Learner::new(file, model, data);
    let kept = learner.keep(&mut set, reading, 0);
    remark_on(&set);
    kept.into_iter().chain(learner.doubts(&set, reading)).chain(as_they_are(&set, file, model)).for_each(note);
    Ok(set)
}

/// The same data with a model's classes, and a warning where these are matched with the data's by their order alone.
pub fn with_classes(set: DataSet, names: Vec<String>) -> Result<DataSet, DataError> {
    if let Some(matched) = set.matched_in_order(&names) {
        note(format_args!("warning: {matched}"));
    }
    set.with_classes(names)
}

/// A warning where classes of a generator, which are those of the data in their order, have other names.
pub fn warn_of_order(set: &DataSet, names: &[String]) {
    if let Some(matched) = set.in_order(names) {
        note(format_args!("warning: {matched}"));
    }
}

/// How data are read for a file's model: pictures become what it takes, and rows of a table are images of the size that
/// it takes, unless something else was asked for.
fn for_model(reading: &Reading, kind: Option<&Kind>, file: &ModelFile, model: &Path) -> Reading {
    let mut reading = reading.clone();
    if kind == Some(&Kind::Pictures) {
        reading.prepare |= match file.is_gan() {
            true => file.pictures() == Some(Pictures::Prepared),
            false => !file.takes_pictures_as_they_are(),
        };
    }
    if matches!(kind, Some(Kind::Pictures | Kind::Table(_))) {
        reading.image_size = reading.image_size.or(taken(file, model));
    }
    reading
}

/// The size of the images that a file's model takes, or draws, if images may have that size.
fn taken(file: &ModelFile, model: &Path) -> Option<ImageSize> {
    let image = if file.is_gan() { file.image(model) } else { file.input(model) };
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

/// A model, and data that it may have learned from: in its own training, or in one before that.
struct Learner<'a> {
    file: &'a ModelFile,
    model: &'a Path,
    data: Option<&'a Path>,
    /// What identifies the images to train with that each hold-out leaves; `None` where there are none of the model's
    /// classes. Reading them takes long, and the file of a model may name one hold-out any number of times.
    digests: HashMap<Option<HoldOut>, Option<String>>,
}

impl<'a> Learner<'a> {
    fn new(file: &'a ModelFile, model: &'a Path, data: Option<&'a Path>) -> Learner<'a> {
        Learner { file, model, data, digests: HashMap::new() }
    }

    /// If no hold-out is asked for, and the model has learned from these data with one of `least` or more, the same
    /// data with that hold-out, which `reading` receives. Returns a note that says so.
    fn keep(&mut self, set: &mut DataSet, reading: &mut Reading, least: usize) -> Option<String> {
        let has_tests = !set.held_out && !set.test.is_empty();
        if reading.hold_out.is_some() || has_tests {
            return None;
        }
        let own = self.digest(set, reading.hold_out);
        // The newest training that set aside at least `least` of these data counts; later ones with fewer are left to
        // `doubts`.
        for learned in self.file.learned() {
            if learned.digest.is_some() && learned.digest == own {
                return None;
            }
            let Some(HoldOut::Count(count)) = learned.hold_out else { continue };
            if count >= least
                && let Some(as_learned) = self.as_learned(reading, &learned)
            {
                (*set, reading.hold_out) = (as_learned, learned.hold_out);
                let model = self.model.display();
                return Some(format!(
                    "note: {model} has learned from these images with --hold-out {count}, which is kept"
                ));
            }
        }
        None
    }

    /// Warnings where some of the test images are among those that the model has learned from, or may be. `set` was
    /// read as `reading` says.
    fn doubts(&mut self, set: &DataSet, reading: &Reading) -> Vec<String> {
        // Data with a test set of their own keep it apart.
        let is_of_all = set.held_out || set.train.is_empty();
        if !is_of_all {
            return Vec::new();
        }
        let own = self.digest(set, reading.hold_out);
        let mut others = self.file.learned();
        others.retain(|learned| learned.digest.is_none() || learned.digest != own);
        let mut doubts: Vec<String> = Vec::new();
        let mut compared = HashSet::new();
        for learned in others {
            if compared.contains(&(learned.hold_out, learned.digest.clone())) {
                continue;
            }
            match self.as_learned(reading, &learned) {
                Some(as_learned) => {
                    doubts.extend(self.known(set, &as_learned, &learned));
                    compared.insert((learned.hold_out, learned.digest));
                }
                None => doubts.extend(self.changed(set, &learned)),
            }
        }
        // Several trainings may give rise to the same one.
        doubts.sort();
        doubts.dedup();
        doubts
    }

    /// The same data as they were read in a training of the model, if that was with another hold-out than `reading`
    /// has.
    fn as_learned(&mut self, reading: &Reading, learned: &Learned) -> Option<DataSet> {
        let hold_out = learned.hold_out;
        let is_known_to_differ = self.digests.get(&hold_out).is_some_and(|digest| *digest != learned.digest);
        if hold_out == reading.hold_out || learned.digest.is_none() || is_known_to_differ {
            return None;
        }
        let reading = Reading { hold_out, ..reading.clone() };
        let Ok(set) = data_unremarked(Some(self.data?), &reading) else {
            // Data that cannot be read this way are other data.
            self.digests.insert(hold_out, None);
            return None;
        };
        (self.digest(&set, hold_out) == learned.digest).then_some(set)
    }

    /// What identifies the images to train with, read with a hold-out, under the model's classes; `None` if they have
    /// others.
    fn digest(&mut self, set: &DataSet, hold_out: Option<HoldOut>) -> Option<String> {
        let found = || {
            let names = self.file.class_names(self.model).ok()?;
            Some(digest(&set.clone().with_classes(names).ok()?.train))
        };
        self.digests.entry(hold_out).or_insert_with(found).clone()
    }

    /// A warning where some of the test images are among those that a training has learned from.
    fn known(&self, set: &DataSet, as_learned: &DataSet, learned: &Learned) -> Option<String> {
        let (test, train) = (&set.test, &as_learned.train);
        let known: HashSet<&[u8]> = (0..train.len()).map(|i| train.image(i)).collect();
        let count = (0..test.len()).filter(|i| known.contains(test.image(*i))).count();
        let by = match learned.hold_out {
            Some(HoldOut::Count(count)) => format!("--hold-out {count}"),
            _ => "a tenth was held out".into(),
        };
        (count > 0).then(|| {
            let (model, len) = (self.model.display(), test.len());
            format!(
                "warning: {model} has learned from {count} of these {len} test images ({by}), so this is no fair test"
            )
        })
    }

    /// A warning where a training has learned from what was read at the same place, and that has changed since, as
    /// images were added or removed or are read in another way: it cannot be told which of the test images the model
    /// knows.
    fn changed(&self, set: &DataSet, learned: &Learned) -> Option<String> {
        let is_same = is_one_place(Path::new(learned.place.as_ref()?), self.data?);
        is_same.then(|| {
            format!(
                "warning: {} has learned from {} as it was read then, and may know some of these {} test images: this \
                 is no fair test",
                self.model.display(),
                set.name,
                set.test.len()
            )
        })
    }
}

/// A note on images that `classify` would prepare for a model, and that the model gets as they are in a data set.
fn as_they_are(set: &DataSet, file: &ModelFile, model: &Path) -> Option<String> {
    let is_raw = set.pictures == Some(Pictures::Raw) && !file.is_gan() && !file.takes_pictures_as_they_are();
    is_raw.then(|| {
        format!(
            "note: images of {} have a light border, and {} expects a dark one: here it gets them as they are, while \
             `classify` inverts them",
            set.name,
            model.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::DATA_DIGEST;

    /// Forty images, each of its own grey.
    fn table(folder: &Path) -> std::path::PathBuf {
        let rows: String = (0..40).map(|i| format!("{},{i},0,255,9\n", i % 2)).collect();
        let path = folder.join("a.csv");
        std::fs::write(&path, format!("label,a,b,c,d\n{rows}")).unwrap();
        path
    }

    fn asked(hold_out: Option<usize>) -> Reading {
        Reading { hold_out: hold_out.map(HoldOut::Count), ..Reading::default() }
    }

    fn read(path: &Path, hold_out: Option<usize>) -> DataSet {
        data_unremarked(Some(path), &asked(hold_out)).unwrap()
    }

    /// The file of a model that has learned from the images that a hold-out leaves.
    fn trained(path: &Path, hold_out: usize) -> ModelFile {
        let mut file = ModelFile::default();
        file.set("classes", 2);
        file.set(DATA_DIGEST, digest(&read(path, Some(hold_out)).train));
        file.set_hold_out(Some(HoldOut::Count(hold_out)));
        file
    }

    #[test]
    fn a_model_is_tested_on_what_was_set_aside_when_it_learned_and_goes_on_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (path, model) = (table(folder.path()), Path::new("model"));
        let file = trained(&path, 10);
        let mut reading = Reading::default();
        let as_trained = read(&path, Some(10));
        assert_eq!(to_test(Some(&path), &reading, &file, model).unwrap(), as_trained);
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, model).unwrap(), as_trained);
        assert_eq!(reading, asked(Some(10)));
        // An explicit hold-out counts.
        let mut other = asked(Some(6));
        assert_eq!(to_test(Some(&path), &other, &file, model).unwrap(), read(&path, Some(6)));
        assert_eq!(to_go_on(Some(&path), &mut other, &file, model).unwrap(), read(&path, Some(6)));
        assert_eq!(other, asked(Some(6)));
        // The model's hold-out does not apply to other images.
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "1,77,0,255,9\n").unwrap();
        let mut reading = Reading::default();
        assert_eq!(to_test(Some(&path), &reading, &file, model).unwrap(), read(&path, None));
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, model).unwrap(), read(&path, None));
        assert_eq!(reading, asked(None));
    }

    #[test]
    fn a_model_that_has_learned_from_all_images_is_tested_on_some_and_goes_on_with_all() {
        let folder = tempfile::tempdir().unwrap();
        let (path, model) = (table(folder.path()), Path::new("model"));
        let file = trained(&path, 0);
        let mut reading = Reading::default();
        assert_eq!(to_test(Some(&path), &reading, &file, model).unwrap(), read(&path, None));
        assert_eq!(to_go_on(Some(&path), &mut reading, &file, model).unwrap(), read(&path, Some(0)));
        assert_eq!(reading, asked(Some(0)));
    }

    /// What is said of the data at a place, read with a hold-out, if they are tested with.
    fn doubts(file: &ModelFile, path: &Path, reading: &Reading) -> Vec<String> {
        let set = data_unremarked(Some(path), reading).unwrap();
        Learner::new(file, Path::new("model"), Some(path)).doubts(&set, reading)
    }

    #[test]
    fn test_images_that_a_model_has_learned_from_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let says = |file: &ModelFile, hold_out: Option<usize>, words: &str| {
            let told = doubts(file, &path, &asked(hold_out));
            assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
        };
        says(&trained(&path, 10), Some(30), "from 20 of these 30 test images (--hold-out 10)");
        says(&trained(&path, 0), Some(6), "from 6 of these 6 test images (--hold-out 0)");
        // A tenth, which no file tells.
        let mut file = trained(&path, 4);
        file.metadata.remove("hold_out");
        says(&file, Some(20), "from 16 of these 20 test images (a tenth");
        for (file, hold_out) in [(&file, Some(4)), (&file, None), (&trained(&path, 10), Some(2))] {
            assert!(doubts(file, &path, &asked(hold_out)).is_empty());
        }
    }

    #[test]
    fn a_model_knows_the_test_images_that_those_before_it_have_learned_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let after = |before: &ModelFile, hold_out: usize| {
            let mut file = trained(&path, hold_out);
            file.set_learned_before(&before.learned());
            file
        };
        let second = after(&trained(&path, 0), 10);
        for file in [&second, &after(&second, 10)] {
            let (mut set, mut reading) = (read(&path, None), Reading::default());
            let mut learner = Learner::new(file, Path::new("model"), Some(&path));
            let kept = learner.keep(&mut set, &mut reading, 1).unwrap();
            assert!(kept.contains("with --hold-out 10, which is kept") && reading == asked(Some(10)), "{kept}");
            let told = learner.doubts(&set, &reading);
            assert!(told.len() == 1 && told[0].contains("from 10 of these 10 test images (--hold-out 0)"), "{told:?}");
        }
        // The same images have been set aside all along.
        assert!(doubts(&after(&trained(&path, 10), 10), &path, &asked(Some(10))).is_empty());
    }

    #[test]
    fn data_that_are_not_what_a_model_has_learned_from_are_read_once_for_each_hold_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let file = trained(&path, 10);
        let rows = std::fs::read(&path).unwrap();
        let learned = |file: &ModelFile| file.learned().remove(0);
        let mut learner = Learner::new(&file, Path::new("model"), Some(&path));
        std::fs::write(&path, [rows.as_slice(), b"1,77,0,255,9\n"].concat()).unwrap();
        assert!(learner.as_learned(&asked(None), &learned(&file)).is_none(), "other data");
        std::fs::write(&path, rows).unwrap();
        assert!(learner.as_learned(&asked(None), &learned(&file)).is_none(), "they are not read again");
        assert!(learner.as_learned(&asked(None), &learned(&trained(&path, 6))).is_some(), "another hold-out");
    }

    #[test]
    fn a_model_that_is_tested_on_all_images_is_said_to_know_those_that_it_has_learned_from() {
        let folder = tempfile::tempdir().unwrap();
        let (path, model) = (table(folder.path()), Path::new("model"));
        let reading = Reading { hold_out: Some(HoldOut::All), ..Reading::default() };
        let set = data_unremarked(Some(&path), &reading).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (0, 40));
        let mut a_tenth = trained(&path, 4);
        a_tenth.metadata.remove("hold_out");
        for (file, known) in [(trained(&path, 10), 30), (trained(&path, 0), 40), (a_tenth, 36)] {
            let told = doubts(&file, &path, &reading);
            assert!(told[0].contains(&format!("from {known} of these 40 test images")), "{told:?}");
            assert_eq!(to_test(Some(&path), &reading, &file, model).unwrap(), set);
        }
        assert!(doubts(&ModelFile::default(), &path, &reading).is_empty());
    }

    #[test]
    fn a_model_may_know_test_images_of_a_place_that_has_changed_since_it_learned_or_is_read_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = table(folder.path());
        let mut file = trained(&path, 10);
        file.set("trained", format!("data = {}", toml::Value::from(path.display().to_string())));
        let told = |path: &Path, hold_out: usize| doubts(&file, path, &asked(Some(hold_out)));
        assert!(told(&path, 10).is_empty(), "nothing has changed");
        let otherwise = Reading { image_size: Some([4, 1, 1].into()), ..asked(Some(10)) };
        assert_eq!(doubts(&file, &path, &otherwise).len(), 1);
        let rows = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{rows}1,77,0,255,9\n")).unwrap();
        let warning = told(&path, 10).join("\n");
        assert!(warning.contains("as it was read then") && warning.contains("10 test images"), "{warning}");
        assert!(told(&path, 0).is_empty(), "nothing is tested");
        let roundabout = folder.path().join(".").join("..").join(folder.path().file_name().unwrap()).join("a.csv");
        assert!(!told(&roundabout, 10).is_empty(), "the same place, spelt otherwise");
        #[cfg(unix)]
        {
            let link = folder.path().join("link.csv");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(!told(&link, 10).is_empty(), "a link to it");
        }
        let elsewhere = folder.path().join("b.csv");
        std::fs::copy(&path, &elsewhere).unwrap();
        assert!(told(&elsewhere, 10).is_empty(), "other images");
    }

    #[test]
    fn pictures_become_what_a_model_takes_and_rows_have_its_size_where_nothing_else_is_said() {
        let mut file = ModelFile::default();
        file.set("input", "32x32x3");
        let read =
            |file: &ModelFile, kind: &Kind, asked: &Reading| for_model(asked, Some(kind), file, Path::new("model"));
        let asked = Reading::default();
        let read_so = Reading { image_size: Some([32, 32, 3].into()), prepare: true, ..Reading::default() };
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
    fn data_with_nothing_to_test_with_are_refused_with_what_would_give_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("few.csv");
        std::fs::write(&path, "label,a\n0,1\n1,2\n0,3\n1,4\n").unwrap();
        let test = |hold_out| to_test(Some(&path), &asked(hold_out), &ModelFile::default(), Path::new("model"));
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
    }
}
