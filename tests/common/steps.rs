//! The plans of the built-in networks' training steps.

use inkgrad::data::mnist;
use inkgrad::graph::Store;
use inkgrad::models::{Normalization, builtin, builtin_gan};
use inkgrad::plan::Plan;
use inkgrad::train::gan::grouped;
use inkgrad::train::{ClassifierSteps, GanSettings, GanSteps, Settings, Share};

/// The plans of a built-in network's training step, or of both of a GAN's.
pub fn plans(network: &str) -> Vec<Plan> {
    let set = mnist::embedded().unwrap().train.select(&(0..640).collect::<Vec<_>>());
    let mut store = Store::default();
    if let Ok(gan) = builtin_gan(network) {
        let settings = GanSettings::from_recipe(network, &gan.recipe);
        let set = grouped(&set, settings.pack, 0, 0).unwrap();
        let steps = GanSteps::declare(&mut store, &gan, &settings, &set).unwrap();
        return steps.plans().into_iter().map(|(_, plan, _)| plan.clone()).collect();
    }
    let architecture = builtin(network).unwrap();
    let settings = Settings { batch: 128, ..Settings::from_recipe(network, &architecture.recipe) };
    let (built, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
    let normalization = Normalization::of(&set);
    let steps = ClassifierSteps::declare(&mut store, &built, parameters, &settings, &set, normalization, Share::WHOLE);
    vec![steps.unwrap().plan.clone()]
}
