//! Which images of a data set a model has learned from.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::is_one_place;
use super::reading::data_unremarked;
use crate::data::{DataSet, HoldOut, ImageSet, Reading, digest, mnist, to_train_with};
use crate::models::{Learned, ModelFile};
use crate::pictures::visible;

/// The images that a training of a model was given, compared with those of a data set to train with.
pub enum TrainedOn {
    /// The same.
    Same,
    /// These, of which the data set may have some.
    Images(ImageSet),
    /// What was read at the same place, which has changed since: images were added or removed, or are read in another
    /// way.
    Changed,
    /// Others.
    Others,
}

/// A model, and data that it may have learned from: in its own training, or in one before that.
pub struct Learner<'a> {
    file: &'a ModelFile,
    data: Option<&'a Path>,
    /// What identifies the images to train with that each hold-out leaves; `None` where there are none of the model's
    /// classes. Reading them takes long, and the file of a model may name one hold-out any number of times.
    digests: HashMap<Option<HoldOut>, Option<String>>,
}

impl<'a> Learner<'a> {
    pub fn new(file: &'a ModelFile, data: Option<&'a Path>) -> Learner<'a> {
        Learner { file, data, digests: HashMap::new() }
    }

    /// If no hold-out is asked for, and the model has learned from these data with one of `least` or more, the same
    /// data with that hold-out, which `reading` receives. Returns a note that says so.
    pub fn keep(&mut self, set: &mut DataSet, reading: &mut Reading, least: usize) -> Option<String> {
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
                let model = self.file.name.display();
                return Some(format!(
                    "note: {model} has learned from these images with --hold-out {count}, which is kept"
                ));
            }
        }
        None
    }

    /// Warnings where some of the test images are among those that the model has learned from, or may be. `set` was
    /// read as `reading` says.
    pub fn doubts(&mut self, set: &DataSet, reading: &Reading) -> Vec<String> {
        let mut doubts: Vec<String> = self.known_built_in(set).into_iter().collect();
        // Data with a test set of their own keep it apart; what of it is in both, `DataSet::repeats` tells.
        let is_of_all = set.held_out || set.train.is_empty();
        if !is_of_all {
            return doubts;
        }
        let own = self.digest(set, reading.hold_out);
        let mut others = self.file.learned();
        others.retain(|learned| learned.digest.is_none() || learned.digest != own);
        if !doubts.is_empty() {
            // Wherever they were read from, what is known of them has been counted.
            others.retain(|learned| !is_built_in(learned));
        }
        let mut compared = HashSet::new();
        for learned in others {
            if compared.contains(&(learned.hold_out, learned.digest.clone())) {
                continue;
            }
            match self.as_learned(reading, &learned) {
                Some(as_learned) => {
                    let by = match learned.hold_out {
                        Some(HoldOut::Count(count)) => format!("--hold-out {count}"),
                        _ => "a tenth was held out".into(),
                    };
                    doubts.extend(self.known(&set.test, &as_learned.train, &by));
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

    /// What a training of the model was given. `set` was read as `reading` says.
    pub fn trained_on(&mut self, set: &DataSet, reading: &Reading, learned: &Learned) -> TrainedOn {
        if learned.digest.is_some() && learned.digest == self.digest(set, reading.hold_out) {
            return TrainedOn::Same;
        }
        if is_built_in(learned) {
            return built_in_beside(&set.train).map_or(TrainedOn::Others, |built_in| TrainedOn::Images(built_in.train));
        }
        let under_its_classes = |set: DataSet| set.with_classes(self.file.class_names().ok()?).ok();
        match self.as_learned(reading, learned).and_then(under_its_classes) {
            Some(as_learned) => TrainedOn::Images(as_learned.train),
            None if self.is_of_its_place(learned) => TrainedOn::Changed,
            None => TrainedOn::Others,
        }
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
            let names = self.file.class_names().ok()?;
            Some(digest(&set.clone().with_classes(names).ok()?.train))
        };
        self.digests.entry(hold_out).or_insert_with(found).clone()
    }

    /// A warning where some of the test images are among those of the built-in MNIST that the model has learned from.
    /// Other data sets are made of them, like Kaggle's. Data without images of their size, and models that have not
    /// learned from them, cost nothing.
    fn known_built_in(&self, set: &DataSet) -> Option<String> {
        self.data?;
        if !self.file.learned().iter().any(is_built_in) {
            return None;
        }
        self.known(&set.test, &built_in_beside(&set.test)?.train, "the built-in MNIST")
    }

    /// A warning where some of the test images are among those that a training has learned from, and `by` what is known
    /// of it.
    fn known(&self, test: &ImageSet, train: &ImageSet, by: &str) -> Option<String> {
        let known: HashSet<&[u8]> = (0..train.len()).map(|i| train.image(i)).collect();
        let count = (0..test.len()).filter(|i| known.contains(test.image(*i))).count();
        (count > 0).then(|| {
            let (model, len) = (self.file.name.display(), test.len());
            format!(
                "warning: {model} has learned from {count} of these {len} test images ({by}), so this is no fair test"
            )
        })
    }

    /// A warning where a training has learned from what was read at the same place, and that has changed since, as
    /// images were added or removed or are read in another way: it cannot be told which of the test images the model
    /// knows.
    fn changed(&self, set: &DataSet, learned: &Learned) -> Option<String> {
        self.is_of_its_place(learned).then(|| {
            format!(
                "warning: {} has learned from {} as it was read then, and may know some of these {} test images: this \
                 is no fair test",
                self.file.name.display(),
                set.name,
                set.test.len()
            )
        })
    }

    /// Whether a training has learned from what was read at the place of these data.
    fn is_of_its_place(&self, learned: &Learned) -> bool {
        let places = learned.place.as_ref().zip(self.data);
        places.is_some_and(|(place, data)| is_one_place(Path::new(place), data))
    }
}

/// The built-in MNIST, if images are of its size: others cannot be among its own.
fn built_in_beside(images: &ImageSet) -> Option<DataSet> {
    let is_of_size = !images.is_empty() && [images.height, images.width, images.channels] == mnist::IMAGE;
    if is_of_size { mnist::embedded().ok() } else { None }
}

/// Whether a training has learned from the images of the built-in MNIST, wherever it read them.
fn is_built_in(learned: &Learned) -> bool {
    learned.digest.as_deref() == Some(mnist::DIGEST)
}

/// A note on a classifier that is asked about images at a place that it has learned from, or in the part of it that is to
/// train with: how many of its answers are right says little. `None` where it has learned elsewhere.
pub fn asked_of_its_own(file: &ModelFile, asked: &[PathBuf]) -> Option<String> {
    let is_asked = |learned: &Learned| {
        let Some(place) = learned.place.as_deref().map(Path::new) else { return false };
        let mut own = std::iter::once(place.to_path_buf()).chain(to_train_with(place));
        own.any(|own| asked.iter().any(|asked| is_one_place(&own, asked)))
    };
    let learned = file.learned().into_iter().find(is_asked)?;
    let advice = match learned.hold_out {
        Some(HoldOut::Count(0)) => "nothing was held out",
        _ => "`inkgrad evaluate` tests on what was held out",
    };
    let (model, place) = (file.name.display(), visible(learned.place.as_deref()?));
    Some(format!("note: {model} has learned from {place}, so this accuracy is no fair test: {advice}"))
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::models::DATA_DIGEST;

    /// Forty images, each of its own grey.
    pub fn table(folder: &Path) -> std::path::PathBuf {
        let rows: String = (0..40).map(|i| format!("{},{i},0,255,9\n", i % 2)).collect();
        let path = folder.join("a.csv");
        std::fs::write(&path, format!("label,a,b,c,d\n{rows}")).unwrap();
        path
    }

    pub fn asked(hold_out: Option<usize>) -> Reading {
        Reading { hold_out: hold_out.map(HoldOut::Count), ..Reading::default() }
    }

    pub fn read(path: &Path, hold_out: Option<usize>) -> DataSet {
        data_unremarked(Some(path), &asked(hold_out)).unwrap()
    }

    /// The file of a model that has learned from the images that a hold-out leaves.
    pub fn trained(path: &Path, hold_out: usize) -> ModelFile {
        let mut file = ModelFile::default();
        file.set("classes", 2);
        file.set(DATA_DIGEST, digest(&read(path, Some(hold_out)).train));
        file.set_hold_out(Some(HoldOut::Count(hold_out)));
        file
    }

    /// What is said of the data at a place, read with a hold-out, if they are tested with.
    pub fn doubts(file: &ModelFile, path: &Path, reading: &Reading) -> Vec<String> {
        let set = data_unremarked(Some(path), reading).unwrap();
        Learner::new(file, Some(path)).doubts(&set, reading)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;
    use crate::models::DATA_DIGEST;

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
            let mut learner = Learner::new(file, Some(&path));
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
        let mut learner = Learner::new(&file, Some(&path));
        std::fs::write(&path, [rows.as_slice(), b"1,77,0,255,9\n"].concat()).unwrap();
        assert!(learner.as_learned(&asked(None), &learned(&file)).is_none(), "other data");
        std::fs::write(&path, rows).unwrap();
        assert!(learner.as_learned(&asked(None), &learned(&file)).is_none(), "they are not read again");
        assert!(learner.as_learned(&asked(None), &learned(&trained(&path, 6))).is_some(), "another hold-out");
    }

    #[test]
    fn images_of_the_built_in_mnist_are_recognized_in_other_data_by_a_model_that_has_learned_from_them() {
        let place = Path::new("digits.csv");
        let built_in = mnist::embedded().unwrap();
        let first = |set: &ImageSet, count: usize| set.select(&(0..count).collect::<Vec<_>>());
        // Four images that the model knows, and seven that it does not.
        let mixed = ImageSet {
            images: [first(&built_in.train, 4).images.to_vec(), first(&built_in.test, 7).images.to_vec()]
                .concat()
                .into(),
            labels: vec![0; 11],
            ..first(&built_in.test, 11)
        };
        let mut file = ModelFile::default();
        file.set("classes", 10);
        file.set(DATA_DIGEST, mnist::DIGEST);
        let told = |file: &ModelFile, data: Option<&Path>, test: ImageSet| {
            let set = DataSet::new("digits", first(&built_in.test, 20), test, built_in.class_names.clone());
            Learner::new(file, data).doubts(&set, &Reading::default())
        };
        let warning = told(&file, Some(place), mixed.clone()).join("\n");
        assert!(warning.contains("from 4 of these 11 test images (the built-in MNIST)"), "{warning}");
        assert!(told(&file, Some(place), first(&built_in.test, 10)).is_empty(), "MNIST's own test images");
        assert!(told(&file, None, mixed.clone()).is_empty(), "the built-in MNIST itself");
        let flat = ImageSet { height: 14, width: 56, ..mixed.clone() };
        assert!(told(&file, Some(place), flat).is_empty(), "images of another size");
        let mut after = ModelFile::default();
        after.set_learned_before(&file.learned());
        assert_eq!(told(&after, Some(place), mixed.clone()).len(), 1, "before the model's own training");
        file.set(DATA_DIGEST, "1");
        assert!(told(&file, Some(place), mixed).is_empty(), "a model of other data");
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
}
