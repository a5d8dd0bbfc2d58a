use super::schedule::{Chain, Stage};
use super::*;
use crate::data::mnist;
use crate::infer::evaluate::Normalization;
use crate::models::{self, Model, Parameters};
use crate::train::{Classifier, GanSettings, GanSteps, Settings, Share, gan};

/// The plans of a step of a shipped network, on a device that is ready for its first.
fn begin(network: &str, batch: usize, device: &mut Cpu) -> Vec<Plan> {
    let set = mnist::embedded().unwrap().train.select(&(0..500).collect::<Vec<_>>());
    let mut store = Store::default();
    match models::load_any(network).unwrap() {
        Model::Classifier(architecture) => {
            let settings = Settings { batch, ..Settings::from_recipe(network, &architecture.recipe) };
            let mut parameters = Parameters::new(&mut store, "classifier");
            let declared = architecture.declare([28, 28, 1], 10, &mut store, &mut parameters).unwrap();
            let normalization = Normalization::of(&set);
            let share = Share::WHOLE;
            let mut classifier =
                Classifier::declare(&mut store, &declared, parameters, &settings, &set, normalization, share).unwrap();
            device.allocate(&store).unwrap();
            classifier.upload(device, &set).unwrap();
            let first = classifier.initial(5);
            classifier.load(device, &first).unwrap();
            vec![classifier.plan]
        }
        Model::Gan(gan) => {
            let settings = GanSettings { batch, ..GanSettings::from_recipe(network, &gan.recipe) };
            let set = gan::grouped(&set, settings.pack, 0, 0).unwrap();
            let mut steps = GanSteps::declare(&mut store, &gan, &settings, &set).unwrap();
            device.allocate(&store).unwrap();
            steps.upload(device, &set).unwrap();
            let first = steps.initial(5);
            steps.load(device, &first).unwrap();
            vec![steps.discriminator_plan, steps.generator_plan]
        }
    }
}

fn bits(device: &Cpu) -> Vec<Vec<u32>> {
    device.stored.iter().map(|lines| bytemuck::cast_slice(lines.f32s()).to_vec()).collect()
}

#[test]
fn images_that_go_through_several_ops_at_once_leave_the_same_bits_as_op_by_op() {
    for (network, batch) in [("cnn", 13), ("cnn", 128), ("standard", 21), ("avgcnn", 6), ("best", 9), ("gan", 12)] {
        let (mut by_image, mut by_op) = (Cpu::new(), Cpu::new());
        let plans = begin(network, batch, &mut by_image);
        begin(network, batch, &mut by_op);
        let mut links = 0;
        for plan in &plans {
            let id = by_image.prepare(plan).unwrap();
            by_image.run(&[id], 1).unwrap();
            let chained = |stage: &Stage| if let Stage::Chain(Chain { links, .. }) = stage { links.len() } else { 0 };
            links += by_image.plans[id.0].1.stages.iter().map(chained).sum::<usize>();
            let id = by_op.prepare(plan).unwrap();
            by_op.profile(id, 1).unwrap();
        }
        assert!(links >= 5, "{network}: {links} dispatches are in chains");
        assert!(bits(&by_image) == bits(&by_op), "{network} in batches of {batch}");
    }
}
