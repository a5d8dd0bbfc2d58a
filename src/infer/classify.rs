//! A trained classifier applied to images that arrive batch by batch, in any number.

use super::{Evaluation, InferError};
use crate::device::Device;
use crate::models::{ModelError, ModelFile};

/// A classifier that has a device to itself: opening it allocates the device's buffers afresh.
pub struct Classifier {
    class_names: Vec<String>,
    input: [usize; 3],
    /// Views of each image; the answer is the mean of their logits.
    views: usize,
    evaluation: Evaluation,
}

/// The classifier that ships with the program.
///
/// # Errors
/// Only if the program itself is damaged.
pub fn default_model() -> Result<ModelFile, ModelError> {
    Ok(ModelFile { name: "the built-in classifier".into(), ..ModelFile::shipped("judge")? })
}

impl Classifier {
    /// For batches of at most `capacity` images. Each image is looked at in `views` views, as in
    /// [`Evaluation::mean_logits`].
    ///
    /// # Errors
    /// [`InferError`] if the file does not hold a complete classifier, or the device refuses it.
    pub fn open(
        device: &mut dyn Device,
        file: &ModelFile,
        capacity: usize,
        views: usize,
    ) -> Result<Classifier, InferError> {
        // First, so that a generator is refused for what it is before its input size is read, which it does not have.
        file.architecture()?;
        let (class_names, input) = (file.class_names()?, file.input()?);
        let evaluation = Evaluation::open_for(file, (capacity, input), device)?;
        Ok(Classifier { class_names, input, views, evaluation })
    }

    /// Height, width and channels of the images it takes.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Logits `[n, classes]` of `n` images, given as bytes one after another; at most as many as there is room for.
    ///
    /// # Errors
    /// [`InferError::Images`] for more images than that or for a partial image, and device errors.
    pub fn logits(&mut self, device: &mut dyn Device, images: &[u8]) -> Result<Vec<f32>, InferError> {
        self.evaluation.send(device, images)?;
        let size = self.input.iter().product::<usize>().max(1);
        self.evaluation.mean_logits(device, images.len() / size, self.views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::device::cpu::Cpu;
    use crate::graph::Store;
    use crate::infer::Scores;
    use crate::models::{Architecture, Normalization};

    #[test]
    fn several_views_answer_with_their_mean_the_same_one_every_time() {
        let set = mnist::embedded().unwrap().test.select(&(0..400).collect::<Vec<_>>());
        let file = default_model().unwrap();
        let answers = |views| {
            let mut device = Cpu::new();
            let mut classifier = Classifier::open(&mut device, &file, 400, views).unwrap();
            classifier.logits(&mut device, &set.images).unwrap()
        };
        let (one, five) = (answers(1), answers(5));
        assert_ne!(one, five);
        assert_eq!(five, answers(5));
        assert!(Scores::new(&five, &set.labels).accuracy() > 0.98);
        let apart = one.iter().zip(&five).map(|(a, b)| (a - b).abs()).sum::<f32>() / one.len() as f32;
        assert!((0.01..2.0).contains(&apart), "views of an image are much alike: {apart}");
    }

    #[test]
    fn a_generator_is_refused_as_what_it_is() {
        let (file, mut device) = (ModelFile::shipped("gan").unwrap(), Cpu::new());
        let refused = Classifier::open(&mut device, &file, 1, 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("holds a generator and no classifier"), "{refused}");
    }

    #[test]
    fn a_classifier_of_no_image_at_once_is_refused() {
        let (file, mut device) = (default_model().unwrap(), Cpu::new());
        let refused = Classifier::open(&mut device, &file, 0, 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("at least one image"), "{refused}");
    }

    #[test]
    fn a_model_made_by_hand_is_opened_once_it_says_how_pixels_are_normalised() {
        let (mut device, mut store) = (Cpu::new(), Store::default());
        let architecture = Architecture::parse("layers = [\"flatten\", { dense = \"classes\" }]", "own.toml").unwrap();
        let (network, parameters) = architecture.declare([2, 3, 1], 4, &mut store, "own").unwrap();
        let mut file = ModelFile::new(&network, &parameters, &parameters.initial(1));
        let refused = Classifier::open(&mut device, &file, 1, 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("\"mean\""), "{refused}");
        Normalization { mean: 0.5, std: 0.25, background: 0 }.store(&mut file);
        let mut classifier = Classifier::open(&mut device, &file, 1, 1).unwrap();
        assert_eq!(classifier.logits(&mut device, &[0; 6]).unwrap().len(), 4);
    }

    #[test]
    fn a_part_of_an_image_and_more_images_than_there_is_room_for_are_refused() {
        let (file, mut device) = (default_model().unwrap(), Cpu::new());
        let mut classifier = Classifier::open(&mut device, &file, 2, 1).unwrap();
        assert_eq!(classifier.logits(&mut device, &[0; 2 * 784]).unwrap().len(), 20);
        for bytes in [1, 785, 3 * 784] {
            let refused = classifier.logits(&mut device, &vec![0; bytes]).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{bytes} bytes")) && refused.contains("784"), "{refused}");
        }
    }
}
