//! A small interactive training run: a few steps at a time, looked at whenever one likes. It keeps no folder; what is
//! worth keeping is a model file.

use std::time::Instant;

use super::course::{Before, Course};
use super::{Settings, Share, TrainError};
use crate::data::{DataSet, ImageSet};
use crate::device::Device;
use crate::graph::Store;
use crate::infer::{Evaluation, Scores};
use crate::models::{Architecture, Filters, ModelFile, Values};

/// Seconds after which an earlier measurement of speed counts half: the speed should be steady, yet follow what the
/// machine can do.
const MEMORY: f64 = 1.0;

/// A run with its device. It can be sent to another thread, which is where a window wants it.
pub struct Live {
    device: Box<dyn Device>,
    course: Course,
    watched: ImageSet,
    /// `None` where no image is watched.
    evaluation: Option<Evaluation>,
    speed: Speed,
}

/// Images and seconds of the newest steps.
#[derive(Default)]
struct Speed {
    images: f64,
    seconds: f64,
}

impl Speed {
    fn add(&mut self, images: usize, seconds: f64) {
        let keep = 0.5f64.powf(seconds / MEMORY);
        self.images = self.images * keep + images as f64;
        self.seconds = self.seconds * keep + seconds;
    }

    /// 0 before the first step.
    fn images_per_second(&self) -> f64 {
        if self.images > 0.0 { self.images / self.seconds.max(1e-9) } else { 0.0 }
    }
}

/// How a model does on the watched images.
#[derive(Clone, PartialEq, Debug)]
pub struct Glance {
    /// The step after which it was taken.
    pub step: usize,
    /// Mean cross-entropy; NaN where no image is watched, like `accuracy`.
    pub loss: f64,
    /// From 0 to 1.
    pub accuracy: f64,
    /// Images that the model took for another class, the most confident mistakes first.
    pub mistakes: Vec<Mistake>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mistake {
    /// Index among the watched images.
    pub index: usize,
    pub label: usize,
    pub predicted: usize,
    /// Probability of the class that was predicted.
    pub probability: f64,
}

impl Live {
    /// Declares a run as its settings say and sends it to the device, whose buffers are allocated anew.
    ///
    /// As many images as the settings set aside for validation are kept from training, but at least `watch`; `watch` of
    /// them are the watched ones. So it learns what a [`Run`](super::Run) learns that sets as many aside. A person
    /// decides how long it trains: patience and snapshots are ignored. If the device turns out to have no memory for
    /// the images, they are sent as steps need them.
    ///
    /// # Errors
    /// Data that [`DataSet::check`] refuses, settings that cannot be trained with, more images set aside than there
    /// are, a network that does not fit the images, and those of the device.
    pub fn start(
        mut device: Box<dyn Device>,
        architecture: &Architecture,
        data: &DataSet,
        settings: Settings,
        watch: usize,
    ) -> Result<Live, TrainError> {
        data.check()?;
        if settings.members != 1 {
            let wanted = "1 where training is watched; train an ensemble with `inkgrad train`";
            return Err(TrainError::setting("members", settings.members, wanted));
        }
        if let Some(from) = &settings.from {
            let wanted =
                "left out where training is watched, which starts over; continue from a model with `inkgrad train`";
            return Err(TrainError::setting("from", from.display(), wanted));
        }
        let aside = settings.validation.max(watch);
        let settings = Settings { validation: aside, patience: 0, snapshots: 0, ..settings };
        let (train, aside) = settings.split(&data.train)?;
        let watched = aside.sample(watch, settings.drawn_by());

        let share = Share::of(device.as_ref());
        let mut begin = |share: Share| {
            let mut store = Store::default();
            let (settings, before) = (settings.clone(), Before::default());
            let mut course = Course::declare(&mut store, architecture, data, &train, settings, before, share)?;
            let mut evaluation = match watched.is_empty() {
                true => None,
                false => Some(course.evaluation(&mut store, &watched)?),
            };
            device.allocate(&store)?;
            let state = course.classifier.initial(course.settings.seed);
            course.begin(device.as_mut(), &train, &state, None)?;
            if let Some(evaluation) = &mut evaluation {
                evaluation.upload(device.as_mut(), &watched)?;
            }
            Ok::<_, TrainError>((course, evaluation))
        };
        let begun = begin(share).or_else(|error| match share.after(&error, train.images.len() as u64) {
            Some(share) => begin(share),
            None => Err(error),
        });
        let (course, evaluation) = begun?;
        Ok(Live { device, course, watched, evaluation, speed: Speed::default() })
    }

    /// Runs `count` steps, or as many as are left, and returns each one's loss and accuracy. Any division into calls
    /// gives the same weights.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], after which going on is useless; and those of the device.
    pub fn steps(&mut self, count: usize) -> Result<Vec<[f32; 2]>, TrainError> {
        let count = count.min(self.total() - self.step());
        let began = Instant::now();
        let mut steps = Vec::with_capacity(count);
        while steps.len() < count {
            steps.extend(self.course.run(self.device.as_mut(), count - steps.len())?);
        }
        if count > 0 {
            self.speed.add(count * self.course.settings.batch, began.elapsed().as_secs_f64());
        }
        Ok(steps)
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.course.step
    }

    /// Steps until the schedule's end.
    pub fn total(&self) -> usize {
        self.course.epochs.total()
    }

    /// Epochs done, with their fraction.
    pub fn epoch(&self) -> f64 {
        self.course.epochs.at(self.course.step)
    }

    /// How fast the newest steps were; 0 before the first.
    pub fn images_per_second(&self) -> f64 {
        self.speed.images_per_second()
    }

    /// The device's name.
    pub fn device(&self) -> String {
        self.device.name()
    }

    /// Trainable numbers.
    pub fn parameters(&self) -> u64 {
        self.course.classifier.learner.parameters.count_trainable()
    }

    /// The settings it trains with.
    pub fn settings(&self) -> &Settings {
        &self.course.settings
    }

    /// The images that [`Live::look`] looks at; none of them is trained on.
    pub fn watched(&self) -> &ImageSet {
        &self.watched
    }

    /// How the model does on the watched images, with the weights that would be kept now.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] where the newest step went wrong, and those of the device.
    pub fn look(&mut self) -> Result<Glance, TrainError> {
        let step = self.step();
        let Some(evaluation) = &mut self.evaluation else {
            return Ok(Glance { step, loss: f64::NAN, accuracy: f64::NAN, mistakes: Vec::new() });
        };
        self.course.calibrate(self.device.as_mut())?;
        let scores = Scores::new(&evaluation.logits(self.device.as_mut())?, &self.watched.labels);
        if !scores.loss.is_finite() {
            return Err(self.course.not_finite(step));
        }
        let answers = self.watched.labels.iter().zip(&scores.predicted).enumerate();
        let mut mistakes: Vec<Mistake> = answers
            .filter_map(|(index, (label, predicted))| {
                // The loss is finite, so every answer is a number.
                let ((predicted, probability), label) = ((*predicted)?, *label as usize);
                (predicted != label).then_some(Mistake { index, label, predicted, probability })
            })
            .collect();
        // Stable: equally confident ones stay in the set's order.
        mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        Ok(Glance { step, loss: scores.loss, accuracy: scores.accuracy(), mistakes })
    }

    /// What the first layer with weights looks for, as pictures.
    ///
    /// # Errors
    /// As [`Live::look`].
    pub fn filters(&mut self) -> Result<Filters, TrainError> {
        let Values { weights, .. } = self.course.inference(self.device.as_mut())?;
        Ok(self.course.network.filters(&self.course.classifier.learner.parameters, &weights))
    }

    /// The model as it is now, as a file that every command takes.
    ///
    /// # Errors
    /// As [`Live::look`].
    pub fn model(&mut self) -> Result<ModelFile, TrainError> {
        self.course.model_now(self.device.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::device::DeviceError;
    use crate::device::cpu::Cpu;
    use crate::device::rigged::{Moment, Rigged};
    use crate::models::builtin;

    #[test]
    fn the_speed_follows_the_newest_steps_and_a_second_later_earlier_ones_count_half() {
        let mut speed = Speed::default();
        assert_eq!(speed.images_per_second(), 0.0);
        speed.add(100, 2.0);
        assert_eq!(speed.images_per_second(), 50.0);
        speed.add(350, 1.0);
        assert_eq!(speed.images_per_second(), (100.0 / 2.0 + 350.0) / (2.0 / 2.0 + 1.0));
        speed.add(1, 1000.0);
        assert!((speed.images_per_second() - 0.001).abs() < 1e-9);
        // Quicker than a clock can tell.
        let mut quick = Speed::default();
        quick.add(1, 0.0);
        assert!(quick.images_per_second().is_finite());
    }

    #[test]
    fn data_that_do_not_fit_together_are_refused() {
        let all = mnist::embedded().unwrap();
        let mut train = all.train.select(&[0, 1, 2, 3]);
        train.labels[2] = 10;
        let data = DataSet::new(all.name, train, ImageSet::default(), all.class_names);
        let architecture = builtin("dense").unwrap();
        let settings = Settings::from_recipe("dense", &architecture.recipe);
        let refused = Live::start(Box::new(Cpu::new()), &architecture, &data, settings, 1).err().unwrap().to_string();
        assert!(refused.contains("label 2 is 10; expected one below 10"), "{refused}");
    }

    #[test]
    fn images_that_a_device_has_no_memory_for_are_sent_as_steps_need_them_and_teach_the_same() {
        // More than is sent at once where images are sent as steps need them.
        let all = mnist::embedded().unwrap();
        let train = all.train.select(&(0..22_000).collect::<Vec<_>>());
        let data = DataSet::new(all.name, train, ImageSet::default(), all.class_names);
        let architecture = builtin("dense").unwrap();
        let settings = Settings { validation: 0, ..Settings::from_recipe("dense", &architecture.recipe) };
        let full = |what: &str, bytes: u64| {
            let (device, what) = ("a small GPU".into(), what.into());
            Err(DeviceError::OutOfMemory { device, what, bytes })
        };
        let small = Rigged::open("a small GPU", move |_, moment| {
            let Moment::Allocates(store) = moment else { return Ok(()) };
            let sizes = store.buffers().map(|(_, name, words)| (name, 4 * words as u64));
            sizes.filter(|(_, bytes)| *bytes > Share::LEAST).try_for_each(|(name, bytes)| full(name, bytes))
        });
        let [plain, sent] = [Box::new(Cpu::new()) as Box<dyn Device>, small].map(|device| {
            let mut live = Live::start(device, &architecture, &data, settings.clone(), 100).unwrap();
            (live.steps(10).unwrap(), live.model().unwrap().tensors)
        });
        assert!(plain == sent);
    }
}
