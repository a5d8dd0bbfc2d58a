//! The judge: a frozen classifier, trained on real pictures, by which generated ones are measured.
//!
//! Measures by different judges cannot be compared, so one ships with the program; `models/judge.md` describes it.

use std::path::Path;

use super::{Evaluation, InferError};
use crate::data::{DataSet, ImageSet};
use crate::device::{Device, DeviceError};
use crate::graph::Store;
use crate::hash::mix;
use crate::models::{ModelFile, Normalization, Parameters, Values, by};

/// SHA-256 of the built-in judge's file; published measures cite it to say which judge they are by.
pub const BUILT_IN_SHA256: &str = "3e55881a469d3e0cdae7a2162c8982b17632cb2cca97d4f09dacaaa167482efd";

/// Images that are looked at in one go; a larger set takes several.
const CAPACITY: usize = 10_000;

/// A classifier whose buffers are declared in a store that other networks may share.
pub struct Judge {
    /// The file that was asked for, or `the built-in judge`.
    pub name: String,
    pub class_names: Vec<String>,
    /// Digest of its weights, by which a resumed run knows that it is still measured by the same judge.
    pub digest: String,
    input: [usize; 3],
    /// For each class of the pictures that it looks at, which of its own that is.
    order: Vec<usize>,
    parameters: Parameters,
    values: Values,
    evaluation: Evaluation,
}

/// What the judge saw in a set of images.
#[derive(Clone, PartialEq, Debug)]
pub struct Looked {
    /// `[images, classes]`, the classes in the order of the pictures' own ([`Judge::match_classes`]).
    pub logits: Vec<f32>,
    /// `[images, width]`: the input of the last dense layer.
    pub features: Vec<f32>,
    pub width: usize,
}

impl Judge {
    /// Adds the built-in judge, or a classifier of the user's own, to a store. The caller then allocates the store and
    /// calls [`Judge::upload`], once each.
    pub fn declare(store: &mut Store, file: Option<&Path>) -> Result<Judge, InferError> {
        let file = match file {
            Some(path) => ModelFile { name: path.into(), ..ModelFile::open(path)? },
            None => ModelFile { name: "the built-in judge".into(), ..ModelFile::shipped("judge")? },
        };
        let name = file.name.display().to_string();
        let class_names = file.class_names()?;
        let (network, parameters) = file.network(store, "judge")?;
        let values = file.values("", &parameters)?;
        let normalization = Normalization::read(&file)?;
        let numbers = [normalization.mean, normalization.std];
        let numbers = numbers.iter().chain(values.numbers());
        let digest = numbers.fold(0, |hash, number| mix(hash, u64::from(number.to_bits())));
        let evaluation = Evaluation::declare_with_features(store, &network, &parameters, CAPACITY, normalization)?;
        let input = network.image()?;
        let digest = format!("{digest:016x}");
        let order = (0..class_names.len()).collect();
        Ok(Judge { name, class_names, digest, input, order, parameters, values, evaluation })
    }

    /// Opens a judge on a device of its own, whose buffers are allocated afresh.
    pub fn open(device: &mut dyn Device, file: Option<&Path>) -> Result<Judge, InferError> {
        let mut store = Store::default();
        let mut judge = Judge::declare(&mut store, file)?;
        device.allocate(&store)?;
        judge.upload(device)?;
        Ok(judge)
    }

    /// Sends the weights to the device. Call it once, after the store is allocated.
    pub fn upload(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.parameters.send(device, &self.values)?;
        self.evaluation.prepare(device)
    }

    /// Refuses a set that it cannot judge; the error says what to do about it.
    pub fn check(&self, set: &ImageSet) -> Result<(), InferError> {
        let refuse = |problem| Err(InferError::Judge { judge: self.name.clone(), problem });
        let remedy =
            "Train a judge on such images, `inkgrad train --data DIR`, and give its best.safetensors with --judge";
        let found = [set.height, set.width, set.channels];
        if found != self.input {
            let sizes = format!("looks at images of {}, not of {}", by(&self.input), by(&found));
            return refuse(format!("{sizes}. {remedy}"));
        }
        if set.classes != self.class_names.len() {
            let classes = format!("knows {} classes, not {}", self.class_names.len(), set.classes);
            return refuse(format!("{classes}. {remedy}"));
        }
        match set.problem() {
            Some(problem) => refuse(format!("cannot look at a set that does not fit together: {problem}")),
            None => Ok(()),
        }
    }

    /// Gives logits in the order of the data's classes from now on, which it finds among its own by their names. A
    /// warning says where they are matched in their order alone.
    pub fn match_classes(&mut self, data: &DataSet) -> Option<String> {
        match data.order_among(&self.class_names) {
            Ok(order) => self.order = order,
            Err(matched) => return Some(format!("{}: {matched}", self.name)),
        }
        None
    }

    /// Logits and features of a set of any length.
    pub fn look(&mut self, device: &mut dyn Device, set: &ImageSet) -> Result<Looked, InferError> {
        self.check(set)?;
        let mut looked = Looked { logits: Vec::new(), features: Vec::new(), width: self.evaluation.feature_width() };
        for images in set.images.chunks(self.evaluation.room() * set.image_len()) {
            let count = images.len() / set.image_len();
            self.evaluation.send(device, images)?;
            let logits = self.evaluation.first_logits(device, count)?;
            let rows = logits.chunks_exact(self.order.len());
            looked.logits.extend(rows.flat_map(|row| self.order.iter().map(move |class| row[*class])));
            looked.features.extend(self.evaluation.features(device, count)?);
        }
        Ok(looked)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::data::mnist;
    use crate::device::cpu::Cpu;
    use crate::infer::Scores;
    use crate::infer::classify::default_model;
    use crate::models::{SHIPPED, Words};

    fn file() -> &'static [u8] {
        SHIPPED.iter().find(|(name, _)| *name == "judge").unwrap().1
    }

    fn first(set: &ImageSet, count: usize) -> ImageSet {
        set.select(&(0..count).collect::<Vec<_>>())
    }

    #[test]
    fn the_built_in_judge_is_the_one_whose_hash_is_recorded() {
        let found: String = Sha256::digest(file()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, BUILT_IN_SHA256);
    }

    #[test]
    fn a_judge_that_differs_in_any_number_has_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.safetensors");
        let own = ModelFile::shipped("judge").unwrap();
        let digest = |file: &ModelFile| {
            file.save(&path).unwrap();
            Judge::declare(&mut Store::default(), Some(&path)).unwrap().digest
        };
        assert_eq!(digest(&own), Judge::declare(&mut Store::default(), None).unwrap().digest);
        let mut others = vec![own.clone()];
        others[0].set("mean", 0.2);
        for name in ["conv1.weight", "bn1.running"] {
            let mut other = own.clone();
            let tensor = other.tensors.iter_mut().find(|tensor| tensor.name == name);
            let Words::F32(numbers) = &mut tensor.unwrap().words else { panic!("{name}") };
            numbers[0] += 1.0;
            others.push(other);
        }
        assert!(others.iter().all(|other| digest(other) != digest(&own)));
    }

    #[test]
    fn the_judge_knows_the_test_digits_and_tells_them_by_128_features_from_nought_on() {
        let (mut device, set) = (Cpu::new(), first(&mnist::embedded().unwrap().test, 1000));
        let mut judge = Judge::open(&mut device, None).unwrap();
        let looked = judge.look(&mut device, &set).unwrap();
        assert!(Scores::new(&looked.logits, &set.labels).accuracy() > 0.99);
        assert_eq!((looked.width, looked.features.len()), (128, 128 * 1000));
        assert!(looked.features.iter().all(|x| *x >= 0.0) && looked.features.iter().any(|x| *x > 0.0));
    }

    #[test]
    fn what_the_judge_sees_depends_on_no_other_set_before_or_beside_it() {
        let (mut device, all) = (Cpu::new(), mnist::embedded().unwrap().test);
        let mut judge = Judge::open(&mut device, None).unwrap();
        // More than fit at once, then a few of them, which do not fill whole batches.
        let many: Vec<usize> = (0..CAPACITY + 300).map(|i| i % 400).collect();
        let whole = judge.look(&mut device, &all.select(&many)).unwrap();
        let few = judge.look(&mut device, &first(&all, 299)).unwrap();
        assert_eq!((whole.logits.len(), few.logits.len()), ((CAPACITY + 300) * 10, 2990));
        assert_eq!(whole.logits[..2990], few.logits[..]);
        assert_eq!(whole.features[..299 * 128], few.features[..]);
        assert_eq!(whole.logits[CAPACITY * 10..], whole.logits[..3000]);
        let none = judge.look(&mut device, &first(&all, 0)).unwrap();
        assert_eq!((none.logits.len(), none.features.len()), (0, 0));
    }

    #[test]
    fn a_judge_answers_in_the_order_of_the_datas_classes_and_warns_where_their_names_do_not_say_it() {
        let (mut device, mut set) = (Cpu::new(), first(&mnist::embedded().unwrap().test, 300));
        let mut judge = Judge::open(&mut device, None).unwrap();
        let own = judge.look(&mut device, &set).unwrap();
        let data = |set: &ImageSet, names: [&str; 10]| {
            DataSet::new("data", set.clone(), first(set, 0), names.map(String::from).into())
        };
        // A class without a name that the judge knows.
        let named = data(&set, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "IX"]);
        assert!(judge.match_classes(&named).unwrap().starts_with("the built-in judge: the classes of data are not"));
        assert_eq!(judge.look(&mut device, &set).unwrap(), own);

        set.labels.iter_mut().for_each(|label| *label = (*label + 7) % 10);
        let turned = data(&set, ["3", "4", "5", "6", "7", "8", "9", "0", "1", "2"]);
        assert_eq!(judge.match_classes(&turned), None);
        let looked = judge.look(&mut device, &set).unwrap();
        assert!(Scores::new(&looked.logits, &set.labels).accuracy() > 0.98);
        assert_eq!((looked.logits[0], looked.features), (own.logits[3], own.features));
    }

    #[test]
    fn images_of_another_size_and_other_classes_are_refused_with_the_remedy() {
        let mut device = Cpu::new();
        let mut judge = Judge::open(&mut device, None).unwrap();
        let set =
            ImageSet { height: 4, width: 4, channels: 1, classes: 10, images: vec![0; 32].into(), labels: vec![0, 1] };
        let error = judge.look(&mut device, &set).unwrap_err().to_string();
        assert!(error.contains("28x28x1, not of 4x4x1") && error.contains("--judge"), "{error}");
        let set = ImageSet { classes: 3, ..first(&mnist::embedded().unwrap().test, 0) };
        let error = judge.look(&mut device, &set).unwrap_err().to_string();
        assert!(error.contains("knows 10 classes, not 3"), "{error}");
    }

    #[test]
    fn a_set_without_the_pixels_of_its_images_or_with_a_label_that_is_no_class_is_refused() {
        let (mut device, set) = (Cpu::new(), first(&mnist::embedded().unwrap().test, 3));
        let mut judge = Judge::open(&mut device, None).unwrap();
        let cut_off = ImageSet { images: vec![0; 1000].into(), ..set.clone() };
        let mislabelled = ImageSet { labels: vec![0, 10, 1], ..set };
        for (wrong, said) in [(cut_off, "1000 bytes are not those of 3 images"), (mislabelled, "label 1 is 10")] {
            let error = judge.look(&mut device, &wrong).unwrap_err().to_string();
            assert!(error.starts_with("the built-in judge cannot look at") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_judge_whose_device_another_has_taken_is_refused_and_changes_nothing_of_the_others() {
        let (mut device, set) = (Cpu::new(), first(&mnist::embedded().unwrap().test, 40));
        let mut judge = Judge::open(&mut device, None).unwrap();
        let file = default_model().unwrap();
        let mut evaluation = Evaluation::open(&file, &set, &mut device).unwrap();
        let before = evaluation.logits(&mut device).unwrap();
        let inverted = ImageSet { images: set.images.iter().map(|pixel| 255 - pixel).collect(), ..set };
        assert!(matches!(judge.look(&mut device, &inverted), Err(InferError::Device(_))));
        assert_eq!(evaluation.logits(&mut device).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_no_classifier_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.safetensors");
        for bytes in [&b"no tensors"[..], &file()[..file().len() / 2]] {
            std::fs::write(&path, bytes).unwrap();
            let error = Judge::open(&mut Cpu::new(), Some(&path)).map(|judge| judge.name).unwrap_err().to_string();
            assert!(error.contains("judge.safetensors"), "{error}");
        }
    }
}
