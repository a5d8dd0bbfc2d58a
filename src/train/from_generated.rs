//! What generated pictures teach: a classifier that has seen nothing else, tested on real ones. Ravuri and Vinyals 2019,
//! Classification Accuracy Score for Conditional Generative Models, arXiv 1905.10887.

use std::sync::atomic::AtomicBool;

use super::{Event, Folder, Outcome, Run, Settings, TrainError};
use crate::data::{DataSet, ImageSet};
use crate::device::Device;
use crate::infer::Scores;
use crate::models::builtin;

const NETWORK: &str = "fast";
/// Enough to learn ten thousand pictures.
const EPOCHS: usize = 3;

/// Trains `fast` for three epochs on generated pictures, labelled with the classes that were asked for, and tests it on
/// real ones. `None` where `stop` was set meanwhile.
///
/// The device's buffers are allocated anew: whatever else was on it is gone.
pub fn classifier_from_generated(
    generated: &ImageSet,
    test: &ImageSet,
    device: &mut dyn Device,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Event),
) -> Result<Option<Scores>, TrainError> {
    let architecture = builtin(NETWORK)?;
    let mut settings =
        Settings { epochs: EPOCHS, device: device.name(), ..Settings::from_recipe(NETWORK, &architecture.recipe) };
    settings.batch = settings.batch.min(generated.len());
    // A run keeps its checkpoints somewhere; nobody will want these.
    let place = tempfile::tempdir().map_err(|error| TrainError::Folder {
        path: std::env::temp_dir(),
        reason: format!("no temporary folder: {error}"),
    })?;
    let folder = Folder::create(place.path(), NETWORK)?;
    let class_names = (0..generated.classes).map(|class| class.to_string()).collect();
    let data = DataSet::new("generated pictures", generated.clone(), test.clone(), class_names);
    match (Run { settings, architecture, data, folder, device, stop, report }).train()? {
        Outcome::Finished { test, .. } => Ok(test),
        Outcome::Stopped { .. } => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::device::cpu::Cpu;

    fn score(labels: impl Fn(u32) -> u32, count: usize, stop: bool) -> Result<Option<Scores>, TrainError> {
        let data = mnist::embedded().unwrap();
        let mut pictures = data.train.select(&(0..count).collect::<Vec<_>>());
        pictures.labels.iter_mut().for_each(|label| *label = labels(*label));
        let test = data.test.select(&(0..500).collect::<Vec<_>>());
        classifier_from_generated(&pictures, &test, &mut Cpu::new(), &AtomicBool::new(stop), &mut |_| {})
    }

    #[test]
    fn pictures_that_are_what_they_are_labelled_teach_and_mislabelled_ones_teach_wrongly() {
        let good = score(|label| label, 2000, false).unwrap().unwrap().accuracy();
        assert!(good > 0.9, "{good}");
        let wrong = score(|label| 9 - label, 2000, false).unwrap().unwrap().accuracy();
        assert!(wrong < 0.1, "{wrong}");
    }

    #[test]
    fn a_few_pictures_are_enough_to_run_and_none_are_an_error() {
        assert!(score(|label| label, 10, false).unwrap().is_some());
        assert!(score(|label| label, 0, false).is_err());
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        assert!(score(|label| label, 100, true).unwrap().is_none());
    }
}
