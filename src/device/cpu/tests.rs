use super::schedule::{Chain, Stage};
use super::*;
use crate::data::mnist;
use crate::device::several::Several;
use crate::graph::{ALIGNMENT, Graph, Place};
use crate::infer::{self, InferError};
use crate::models::{self, Mode, Model, ModelFile, Normalization};
use crate::ops::Epilogue;
use crate::ops::conv2d::Conv2d;
use crate::ops::elementwise::Scale;
use crate::ops::pool::MaxPool;
use crate::tensor::Tensor;
use crate::train::{ClassifierSteps, GanSettings, GanSteps, Settings, Share, gan};

/// The plans of a step of a shipped network, on a device that is ready for the first step.
fn begin(network: &str, batch: usize, device: &mut Cpu) -> Vec<Plan> {
    let set = mnist::embedded().unwrap().train.select(&(0..500).collect::<Vec<_>>());
    let mut store = Store::default();
    match models::load_any(network).unwrap() {
        Model::Classifier(architecture) => {
            let settings = Settings { batch, ..Settings::from_recipe(network, &architecture.recipe) };
            let (declared, parameters) = architecture.declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
            let normalization = Normalization::of(&set);
            let share = Share::WHOLE;
            let mut classifier =
                ClassifierSteps::declare(&mut store, &declared, parameters, &settings, &set, normalization, share)
                    .unwrap();
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
            steps.plans().into_iter().map(|(_, plan, _)| plan.clone()).collect()
        }
    }
}

fn bits(device: &Cpu) -> Vec<Vec<u32>> {
    device.stored.iter().map(|lines| bytemuck::cast_slice(lines.f32s()).to_vec()).collect()
}

fn names(links: &[Link]) -> Vec<&'static str> {
    links.iter().map(|link| link.op.name()).collect()
}

/// The plan that makes a batch of pictures' logits, and the last layer's inputs, on a device that is ready for it.
fn begin_reading(network: &str, batch: usize, device: &mut dyn Device) -> Plan {
    let file = ModelFile::shipped(network).unwrap();
    let mut store = Store::default();
    let (declared, parameters) = file.network(&mut store, "classifier").unwrap();
    let [h, w, c] = declared.image().unwrap();
    let pictures = store.place("pictures", Tensor::f32([batch, h, w, c]));
    let mut graph = Graph::new();
    let x = graph.read(&pictures);
    let pass = declared.forward(&mut graph, &parameters, x, Mode::Infer).unwrap();
    for (name, value) in [("features", pass.penultimate), ("logits", pass.out)] {
        let place = store.place(name, graph.tensor(value).clone());
        graph.assign(value, place).unwrap();
    }
    device.allocate(&store).unwrap();
    parameters.send(device, &file.values("", &parameters).unwrap()).unwrap();
    let set = mnist::embedded().unwrap().test;
    let picture = |i: usize| (0..h * w).map(move |at| (i, at / w * set.height / h, at % w * set.width / w));
    let shown = (0..batch).flat_map(picture);
    let shown: Vec<f32> = shown.map(|(i, y, x)| f32::from(set.image(i)[y * set.width + x]) / 255.0).collect();
    device.write_f32(pictures.buffer, 0, &shown).unwrap();
    Plan::new(&graph)
}

#[test]
fn images_that_are_classified_several_ops_at_once_leave_the_same_bits_as_op_by_op() {
    // `best` has as many channels as the second batch has images.
    for (network, batch) in [("best", 21), ("best", 64), ("fast", 33), ("avgcnn", 6), ("cnn", 128)] {
        let (mut by_image, mut by_op) = (Cpu::new(), Cpu::new());
        let plan = begin_reading(network, batch, &mut by_image);
        begin_reading(network, batch, &mut by_op);
        let id = by_image.prepare(&plan).unwrap();
        by_image.run(&[id], 1).unwrap();
        let links = |stage: &Stage| if let Stage::Chain(Chain { links, .. }) = stage { names(links) } else { vec![] };
        let links: Vec<&str> = by_image.plans[id.index].1.stages.iter().flat_map(links).collect();
        assert!(!links.is_empty(), "{network}");
        // Tiles of `cnn`'s second convolution are five by five.
        let pooled = links.iter().filter(|name| **name == "conv2d.max_pool").count();
        assert_eq!(
            pooled,
            match network {
                "fast" => 2,
                "cnn" => 1,
                _ => 0,
            },
            "{network}: {links:?}"
        );
        let id = by_op.prepare(&plan).unwrap();
        by_op.profile(id, 1).unwrap();
        assert!(bits(&by_image) == bits(&by_op), "{network} in batches of {batch}");
        let logits = by_image.stored.last().unwrap().f32s();
        assert!(logits.iter().all(|logit| logit.is_finite()) && logits.iter().any(|logit| *logit > 1.0), "{network}");
    }
}

/// What a step leaves if its ops run one after another, in the plan's order.
fn bits_op_by_op(network: &str, batch: usize) -> Vec<Vec<u32>> {
    let mut device = Cpu::new();
    for plan in begin(network, batch, &mut device) {
        let id = device.prepare(&plan).unwrap();
        device.profile(id, 1).unwrap();
    }
    bits(&device)
}

#[test]
fn weights_that_stay_with_a_thread_and_pictures_in_parts_leave_the_same_bits_as_op_by_op() {
    for (network, batch) in [("dense", 13), ("dense", 128), ("cnn", 128)] {
        let expected = bits_op_by_op(network, batch);
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (found, ops) = pool.install(|| {
                let mut device = Cpu::new();
                let plan = begin(network, batch, &mut device).remove(0);
                let id = device.prepare(&plan).unwrap();
                device.run(&[id], 1).unwrap();
                let op = |stage: &Stage| if let Stage::One(one) = stage { format!("{:?}", one.op) } else { "".into() };
                (bits(&device), device.plans[id.index].1.stages.iter().map(op).collect::<String>())
            });
            assert!(ops.contains("changing: true") && (network != "dense" || ops.contains("parts: 2")), "{ops}");
            assert!(found == expected, "{network} in batches of {batch} by {threads} threads");
        }
    }
}

#[test]
fn images_that_go_through_several_ops_at_once_leave_the_same_bits_as_op_by_op() {
    // Of 130 images, parts of one sum hold three and parts of another hold four.
    for (network, batch) in [("cnn", 13), ("cnn", 130), ("standard", 21), ("avgcnn", 6), ("best", 9), ("gan", 12)] {
        let mut by_image = Cpu::new();
        let plans = begin(network, batch, &mut by_image);
        let mut links = 0;
        for plan in &plans {
            let id = by_image.prepare(plan).unwrap();
            by_image.run(&[id], 1).unwrap();
            let chained = |stage: &Stage| if let Stage::Chain(Chain { links, .. }) = stage { links.len() } else { 0 };
            links += by_image.plans[id.index].1.stages.iter().map(chained).sum::<usize>();
        }
        assert!(links >= 5, "{network}: {links} dispatches are in chains");
        assert!(bits(&by_image) == bits_op_by_op(network, batch), "{network} in batches of {batch}");
    }
}

#[test]
fn no_dispatch_reads_what_it_writes_where_a_batch_is_one_picture() {
    // Sums over the rows of a batch are then mere reshapes; `gan` sees pairs.
    for (network, batch) in [("dense", 1), ("cnn", 1), ("avgcnn", 1), ("best", 1), ("gan", 2), ("gan-classic", 1)] {
        let mut device = Cpu::new();
        for plan in begin(network, batch, &mut device) {
            for Dispatch { op, inputs, outputs } in &plan.dispatches {
                let written = |view: &View| outputs.iter().any(|output| output.buffer == view.buffer);
                assert!(!inputs.iter().any(written), "{network}: {op:?}");
            }
            let id = device.prepare(&plan).unwrap();
            device.run(&[id], 1).unwrap();
        }
        assert!(bits(&device) == bits_op_by_op(network, batch), "{network} in batches of {batch}");
    }
}

/// What a plan leaves in stored buffers full of numbers, op by op and by the schedule.
fn by_op_and_scheduled(store: &Store, plan: &Plan) -> [Vec<Vec<u32>>; 2] {
    [true, false].map(|by_op| {
        let mut device = Cpu::new();
        device.allocate(store).unwrap();
        for words in &mut device.stored {
            words.f32s_mut().iter_mut().enumerate().for_each(|(i, x)| *x = (1.7 * i as f32).sin());
        }
        let id = device.prepare(plan).unwrap();
        let done = if by_op { device.profile(id, 1).map(drop) } else { device.run(&[id], 1) };
        done.unwrap();
        bits(&device)
    })
}

/// What a convolution whose result is pooled into a stored place leaves, op by op and by the schedule. Either the place
/// is in its own buffer, and what was there is read between the two ops; or it is beside the pictures.
fn pooled_into_a_place(beside_pictures: bool) -> [Vec<Vec<u32>>; 2] {
    let mut store = Store::default();
    let buffers = ["pictures", "kernel", "maxima", "before"].map(|name| store.add(name, ALIGNMENT));
    let mut stored = |buffer: usize, tensor: Tensor| {
        let buffer = buffers[buffer];
        Place { buffer, offset: store.extend(buffer, tensor.len()), tensor }
    };
    let pictures = stored(0, Tensor::f32([2, 28, 28, 1]));
    let kernel = stored(1, Tensor::f32([3, 3, 1, 16]));
    let maxima = stored(if beside_pictures { 0 } else { 2 }, Tensor::f32([2, 14, 14, 16]));
    let before = stored(3, maxima.tensor.clone());

    let mut graph = Graph::new();
    let [x, weight, old] = [&pictures, &kernel, &maxima].map(|place| graph.read(place));
    let epilogue = Epilogue::NONE;
    let conv = Conv2d { stride: 1, pad_top: 1, pad_left: 1, out: [28; 2], transposed: false, epilogue };
    let whole = graph.apply(conv, &[x, weight]).unwrap();
    let twice = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[old]).unwrap();
    let pooled = graph.apply(MaxPool::new(2, 2), &[whole]).unwrap();
    let to = maxima.buffer;
    graph.assign(pooled, maxima).unwrap();
    if !beside_pictures {
        graph.assign(twice, before).unwrap();
    }
    let plan = Plan::new(&graph);
    let pools_there = |dispatch: &Dispatch| {
        dispatch.op.as_ref().downcast::<MaxPool>().is_some() && dispatch.outputs[0].buffer == Buffer::Stored(to)
    };
    assert!(plan.dispatches.iter().any(pools_there), "{plan:?}");

    by_op_and_scheduled(&store, &plan)
}

#[test]
fn maxima_that_are_made_on_the_way_go_to_no_place_before_others_have_read_what_was_there() {
    let [by_op, scheduled] = pooled_into_a_place(false);
    assert!(by_op == scheduled);
}

#[test]
fn maxima_are_not_made_on_the_way_into_the_buffer_that_the_convolution_reads() {
    let [by_op, scheduled] = pooled_into_a_place(true);
    assert!(by_op == scheduled);
}

/// What two convolutions leave in a stored place, op by op and by the schedule, and whether the second one is a link of
/// a chain. The place is in its own buffer, or beside the pictures; the words before and after it belong to another.
/// Then other pictures take the place of those that were read.
fn drawn_into_a_place(beside_pictures: bool) -> ([Vec<Vec<u32>>; 2], bool) {
    let mut store = Store::default();
    let buffers = ["pictures", "kernels", "drawn", "next"].map(|name| store.add(name, ALIGNMENT));
    let mut stored = |buffer: usize, tensor: Tensor| {
        let buffer = buffers[buffer];
        Place { buffer, offset: store.extend(buffer, tensor.len()), tensor }
    };
    let pictures = stored(0, Tensor::f32([37, 28, 28, 1]));
    let [to_many, to_one] = [[3, 3, 1, 16], [3, 3, 16, 1]].map(|dims| stored(1, Tensor::f32(dims)));
    let drawn = stored(if beside_pictures { 0 } else { 2 }, pictures.tensor.clone());
    stored(if beside_pictures { 0 } else { 2 }, Tensor::f32([5]));
    let next = stored(3, pictures.tensor.clone());

    let mut graph = Graph::new();
    let [x, to_many, to_one] = [&pictures, &to_many, &to_one].map(|place| graph.read(place));
    let epilogue = Epilogue::NONE;
    let conv = Conv2d { stride: 1, pad_top: 1, pad_left: 1, out: [28; 2], transposed: false, epilogue };
    let many = graph.apply(conv, &[x, to_many]).unwrap();
    let one = graph.apply(conv, &[many, to_one]).unwrap();
    let to = (drawn.buffer, drawn.offset);
    graph.assign(one, drawn).unwrap();
    let next = graph.read(&next);
    let next = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[next]).unwrap();
    graph.assign(next, pictures).unwrap();
    let plan = Plan::new(&graph);

    let is_drawn = |link: &Link| matches!(link.out, Sink::Stored(id, first) if (id, first) == to);
    let draws = |stage: &Stage| matches!(stage, Stage::Chain(Chain { links, .. }) if links.iter().any(is_drawn));
    (by_op_and_scheduled(&store, &plan), Schedule::new(&plan).stages.iter().any(draws))
}

#[test]
fn a_result_that_is_stored_ends_a_chain_and_goes_where_it_belongs() {
    let ([by_op, scheduled], is_link) = drawn_into_a_place(false);
    assert!(is_link && by_op == scheduled);
}

#[test]
fn a_result_that_is_stored_beside_what_a_chain_reads_is_none_of_its_links() {
    let ([by_op, scheduled], is_link) = drawn_into_a_place(true);
    assert!(!is_link && by_op == scheduled);
}

#[test]
fn a_plan_of_buffers_that_were_made_anew_since_or_of_another_device_is_refused() {
    let refused = |result: Result<(), DeviceError>| assert!(matches!(result, Err(DeviceError::Stale { .. })));
    let several = Several::join(vec![Box::new(Cpu::new()), Box::new(Cpu::new())]).unwrap();
    for mut device in [Box::new(Cpu::new()) as Box<dyn Device>, several] {
        let device = device.as_mut();
        let plan = begin_reading("dense", 2, device);
        let old = device.prepare(&plan).unwrap();
        device.run(&[old], 1).unwrap();
        begin_reading("dense", 2, device);
        let new = device.prepare(&plan).unwrap();
        refused(device.run(&[new, old], 1));
        refused(device.profile(old, 1).map(drop));
        refused(device.run(&[new, old], 0));
        device.run(&[new], 0).unwrap();
        device.run(&[new], 1).unwrap();
        device.profile(new, 1).unwrap();
    }
    let (mut one, mut other) = (Cpu::new(), Cpu::new());
    let plan = begin_reading("dense", 2, &mut one);
    begin_reading("dense", 2, &mut other);
    let of_one = one.prepare(&plan).unwrap();
    other.prepare(&plan).unwrap();
    refused(other.run(&[of_one], 1));
}

#[test]
fn a_plan_that_reads_past_the_end_of_a_buffer_or_one_that_there_is_not_is_refused() {
    let (mut store, mut device) = (Store::default(), Cpu::new());
    let [short, out, absent] = [4, 2 * ALIGNMENT, 4].map(|words| store.add("x", words));
    let mut held = Store::default();
    for words in [4, 2 * ALIGNMENT] {
        held.add("x", words);
    }
    device.allocate(&held).unwrap();
    let reading = |buffer, offset, len| {
        let place = |buffer, offset| Place { buffer, offset, tensor: Tensor::f32([len]) };
        let mut graph = Graph::new();
        let x = graph.read(&place(buffer, offset));
        let y = graph.apply(Scale { factor: 2.0, offset: 0.0 }, &[x]).unwrap();
        graph.assign(y, place(out, 0)).unwrap();
        Plan::new(&graph)
    };
    for (wrong, reaches) in [(reading(short, 0, 5), 5), (reading(short, ALIGNMENT, 1), ALIGNMENT + 1)] {
        let error = device.prepare(&wrong).unwrap_err();
        assert!(matches!(error, DeviceError::Outside { wanted, has: 4, .. } if wanted == reaches), "{error}");
    }
    assert!(matches!(device.prepare(&reading(absent, 0, 4)), Err(DeviceError::Stale { .. })));
    device.prepare(&reading(short, 0, 4)).unwrap();
}

#[test]
fn a_classifier_whose_device_another_has_taken_is_refused_and_has_not_the_others_answers() {
    let file = infer::classify::default_model().unwrap();
    let mut device = Cpu::new();
    let mut open = |capacity| infer::Classifier::open(&mut device, &file, capacity, 1).unwrap();
    let (mut first, mut second) = (open(4), open(2));
    // The second's buffers have no room for four images.
    for images in [1, 4] {
        let error = first.logits(&mut device, &vec![0; images * 28 * 28]).unwrap_err();
        assert!(matches!(error, InferError::Device(DeviceError::Stale { .. })), "{error}");
    }
    assert_eq!(second.logits(&mut device, &[0; 28 * 28]).unwrap().len(), 10);
}
