//! The op table on every device: each op's twin against its f64 definition, each derivative against central
//! differences of that definition, each shader against its twin.

mod golden;

use std::sync::Arc;

use golden::gpu;
use inkgrad::check;
use inkgrad::device::cpu::Cpu;
use inkgrad::device::gpu::{Class, Gpu};
use inkgrad::device::{Device, DeviceError};
use inkgrad::graph::{BufferId, Graph, Place, Store};
use inkgrad::ops::activation::{Act, Activation};
use inkgrad::ops::case::Fill;
use inkgrad::ops::conv2d::{Padding, conv2d};
use inkgrad::ops::elementwise::{Fill as FillWith, Mul, Scale};
use inkgrad::ops::kernel::MAX_GROUPS;
use inkgrad::ops::loss::Pairwise;
use inkgrad::ops::matmul::{Layout, MatMul};
use inkgrad::ops::pool::MaxPool;
use inkgrad::ops::record::{RecordLoss, Told};
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::sample::{GatherImages, Order};
use inkgrad::ops::softmax::Softmax;
use inkgrad::ops::{Case, cases};
use inkgrad::plan::Plan;
use inkgrad::tensor::Tensor;

#[test]
fn every_cpu_twin_agrees_with_its_definition() {
    for case in cases() {
        check::against_definition(&case).unwrap_or_else(|fault| panic!("{fault}"));
    }
}

#[test]
fn every_derivative_agrees_with_central_differences() {
    for case in cases() {
        check::against_differences(&case).unwrap_or_else(|fault| panic!("{fault}"));
    }
}

#[test]
fn every_shader_agrees_with_its_twin() {
    let Some(mut adapter) = golden::adapter("every_shader_agrees_with_its_twin") else { return };
    // As the adapter has them, and as a discrete card does. `tests/races` runs those of all other hardware.
    let own = (adapter.info.class, adapter.info.subgroups);
    for (class, subgroups) in [own, (Class::Discrete, None)] {
        (adapter.info.class, adapter.info.subgroups) = (class, subgroups);
        let mut gpu = Gpu::open(&adapter).unwrap();
        for case in cases() {
            check::against_twin(&case, &mut gpu)
                .unwrap_or_else(|fault| panic!("{} as {class}, subgroups {subgroups:?}: {fault}", gpu.name()));
        }
    }
}

/// What would take `tests/races`, which runs every case of the table invocation by invocation, too long.
#[test]
fn shaders_agree_with_their_twins_where_workgroups_fill_two_rows_and_invocations_take_eight_rows_of_vectors() {
    let name =
        "shaders_agree_with_their_twins_where_workgroups_fill_two_rows_and_invocations_take_eight_rows_of_vectors";
    let Some(mut adapter) = golden::adapter(name) else { return };
    (adapter.info.class, adapter.info.subgroups) = (Class::Discrete, None);
    let mut gpu = Gpu::open(&adapter).unwrap();
    let product = |layout, a: [usize; 2], b: [usize; 2]| {
        let case = Case::new("728x364x8", Arc::new(MatMul::new(layout))).no_derivative();
        case.input(Tensor::f32(a), Fill::Uniform).input(Tensor::f32(b), Fill::Uniform)
    };
    let gathered = |images: usize| {
        let gather = GatherImages::new(10, images, [1, 1, 1], [0.13, 0.31], Order::Shuffled);
        let case = Case::new("in two rows of workgroups", Arc::new(gather)).no_derivative();
        case.input(Tensor::u32([3]), Fill::Below(u32::MAX)).input(Tensor::u32([2]), Fill::Words(&[0, 7]))
    };
    for case in [
        product(Layout::NN, [728, 8], [8, 364]),
        product(Layout::NT, [728, 8], [364, 8]),
        product(Layout::TN, [8, 728], [8, 364]),
        // An image is a workgroup: two whole rows, and two of which the last is one too many.
        gathered(MAX_GROUPS + 1),
        gathered(MAX_GROUPS + 2),
    ] {
        check::against_twin(&case, &mut gpu).unwrap_or_else(|fault| panic!("{fault}"));
    }
}

#[test]
fn what_is_no_number_is_hidden_by_no_maximum_on_any_device() {
    // A run that has gone wrong would go on unnoticed, and a broken network would be right about some images.
    for (name, open) in golden::devices("what_is_no_number_is_hidden_by_no_maximum_on_any_device") {
        let (mut store, mut graph, mut device) = (Store::default(), Graph::new(), open());
        let mut stored = |tensor: Tensor| store.place("", tensor);
        let image = stored(Tensor::f32([1, 2, 2, 4]));
        let [logits, pairs] = [[4, 4], [16, 1]].map(|dims| Place { tensor: Tensor::f32(dims), ..image.clone() });
        let [labels, clock] = [4, 2].map(|len| stored(Tensor::u32([len])));
        let targets = stored(pairs.tensor.clone());
        let [rectified, pooled] = [[1, 2, 2, 4], [1, 1, 1, 4]].map(|dims| stored(Tensor::f32(dims)));
        let rings = [(); 2].map(|()| stored(Tensor::f32([1, 2])));

        let x = graph.read(&image);
        let made = graph.apply(Activation(Act::Relu), &[x]).unwrap();
        graph.assign(made, rectified.clone()).unwrap();
        let made = graph.apply(MaxPool::new(2, 2), &[x]).unwrap();
        graph.assign(made, pooled.clone()).unwrap();
        let told = [
            (Told::Classes { smoothing: 0.0 }, [&logits, &labels, &clock]),
            (Told::Halves(Pairwise::Hinge), [&pairs, &targets, &clock]),
        ];
        for ((told, inputs), ring) in told.into_iter().zip(&rings) {
            let inputs = inputs.map(|place| graph.read(place));
            graph.update(RecordLoss { slots: 1, told, ticks: false }, &inputs, vec![ring.clone()]).unwrap();
        }
        device.allocate(&store).unwrap();
        // One in each row, channel and window, each time at another place.
        let numbers: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { f32::NAN } else { -1.0 }).collect();
        device.write_f32(image.buffer, 0, &numbers).unwrap();
        device.write(labels.buffer, 0, &[0, 1, 2, 3]).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        let mut left = |place: &Place| device.read_f32(place.buffer, 0, place.tensor.len()).unwrap();
        let found = left(&rectified);
        let is_right = |(i, x): (usize, &f32)| if i % 5 == 0 { x.is_nan() } else { *x == 0.0 };
        assert!(found.iter().enumerate().all(is_right), "{name}: {found:?}");
        let found = [left(&pooled), left(&rings[1])].concat();
        assert!(found.iter().all(|x| x.is_nan()), "{name}: {found:?}");
        let found = left(&rings[0]);
        assert!(found[0].is_nan() && found[1] == 0.0, "{name}: {found:?}");
    }
}

#[test]
fn the_work_of_an_op_is_told_in_multiplications_and_additions_and_in_all_bytes_that_it_touches() {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut stored = |tensor: Tensor| store.place("", tensor);
    let [x, weight] = [[1, 4, 4, 1], [3, 3, 1, 2]].map(|dims| stored(Tensor::f32(dims)));
    let out = stored(Tensor::f32([1, 2, 2, 2]));
    let [x, weight] = [&x, &weight].map(|place| graph.read(place));
    let made = conv2d(&mut graph, x, weight, 1, Padding::Valid).unwrap();
    graph.assign(made, out).unwrap();
    let plan = Plan::new(&graph);
    // Each of eight results is a sum of nine products.
    assert_eq!((plan.flops(), plan.bytes()), (8 * 9 * 2, 4 * (16 + 18 + 8)));
}

#[test]
fn many_steps_go_into_few_submissions_without_a_read() {
    let Some(mut gpu) = gpu("many_steps_go_into_few_submissions_without_a_read") else { return };
    // x = x + 1, five hundred times.
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let place = store.place("x", Tensor::f32([3]));
    let x = graph.read(&place);
    let more = graph.apply(Scale { factor: 1.0, offset: 1.0 }, &[x]).unwrap();
    graph.assign(more, place.clone()).unwrap();
    gpu.allocate(&store).unwrap();
    let plan = gpu.prepare(&Plan::new(&graph)).unwrap();
    gpu.run(&[plan], 500).unwrap();
    gpu.wait().unwrap();
    let counters = gpu.counters();
    assert!(counters.submissions <= 10 && counters.reads == 0, "{counters:?}");
    let device: &mut dyn Device = &mut gpu;
    assert_eq!(device.read_f32(place.buffer, 0, 3).unwrap(), [500.0; 3]);
}

#[test]
fn what_ends_a_step_records_its_loss_and_takes_the_clock_on() {
    let mut devices: Vec<Box<dyn Device>> = vec![Box::new(Cpu::new())];
    let gpu = gpu("what_ends_a_step_records_its_loss_and_takes_the_clock_on");
    devices.extend(gpu.map(|gpu| Box::new(gpu) as Box<dyn Device>));
    for mut device in devices {
        let mut store = Store::default();
        let [x, target] = ["x", "target"].map(|name| store.place(name, Tensor::f32([4, 1])));
        let ring = store.place("ring", Tensor::f32([2, 2]));
        let clock = store.place("clock", Tensor::u32([2]));
        let mut graph = Graph::new();
        let inputs = [&x, &target].map(|place| graph.read(place));
        let record = RecordLoss { slots: 2, told: Told::Halves(Pairwise::Mse), ticks: true };
        graph.update(record, &inputs, vec![ring.clone(), clock.clone()]).unwrap();
        device.allocate(&store).unwrap();
        device.write_f32(x.buffer, 0, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        device.write(clock.buffer, 0, &[6, 77]).unwrap();
        let plan = device.prepare(&Plan::new(&graph)).unwrap();
        device.run(&[plan], 1).unwrap();
        assert_eq!(device.read_f32(ring.buffer, 0, 4).unwrap(), [2.5, 12.5, 0.0, 0.0], "{}", device.name());
        device.run(&[plan], 2).unwrap();
        assert_eq!(device.read_f32(ring.buffer, 0, 4).unwrap(), [2.5, 12.5, 2.5, 12.5], "{}", device.name());
        let mut now = [0; 2];
        device.read(clock.buffer, 0, &mut now).unwrap();
        assert_eq!(now, [9, 77], "{}", device.name());
    }
}

#[test]
fn a_buffer_ends_where_its_store_says_on_every_device() {
    let mut devices: Vec<Box<dyn Device>> = vec![Box::new(Cpu::new())];
    devices
        .extend(gpu("a_buffer_ends_where_its_store_says_on_every_device").map(|gpu| Box::new(gpu) as Box<dyn Device>));
    for mut device in devices {
        let name = device.name();
        let mut store = Store::default();
        let five = store.add("five", 5);
        // Before anything is allocated.
        assert!(matches!(device.write(five, 0, &[0; 5]), Err(DeviceError::Stale { .. })), "{name}");
        device.allocate(&store).unwrap();
        device.write_f32(five, 0, &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        for (offset, words) in [(0, 6), (5, 1), (6, 0), (1 << 62, 1), (usize::MAX, 1)] {
            let errors = [
                device.write(five, offset, &[7, 7, 7, 7, 7, 7][..words]).unwrap_err(),
                device.read(five, offset, &mut [0; 6][..words]).unwrap_err(),
            ];
            for error in errors {
                let is_outside = matches!(&error, DeviceError::Outside { buffer, has: 5, .. } if buffer == "five");
                assert!(is_outside, "{name}, {words} words from {offset} on: {error}");
            }
        }
        let absent = BufferId(five.0 + 1);
        assert!(matches!(device.read(absent, 0, &mut [0]), Err(DeviceError::Stale { .. })), "{name}");
        device.write(five, 5, &[]).unwrap();
        assert_eq!(device.read_f32(five, 0, 5).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0], "{name}");
    }
}

#[test]
fn words_that_go_to_a_device_in_several_pieces_come_back_as_they_were_sent() {
    let Some(mut gpu) = gpu("words_that_go_to_a_device_in_several_pieces_come_back_as_they_were_sent") else { return };
    // A piece has up to 32 MiB.
    let words: Vec<u32> = (1..(32 << 20) / 4 + 1000).collect();
    let mut store = Store::default();
    let buffer = store.add("x", words.len() + 3);
    gpu.allocate(&store).unwrap();
    gpu.write(buffer, 3, &words).unwrap();
    let mut back = vec![0; words.len()];
    gpu.read(buffer, 3, &mut back).unwrap();
    assert!(back == words, "they differ from {:?} on", (0..words.len()).find(|i| back[*i] != words[*i]));
}

#[test]
fn a_plan_still_runs_after_another_one_asked_for_more_scratch() {
    let Some(mut gpu) = gpu("a_plan_still_runs_after_another_one_asked_for_more_scratch") else { return };
    let mut store = Store::default();
    let plans: Vec<(Plan, Place)> = [5, 5000]
        .map(|n| {
            let (x, out) = (store.place("x", Tensor::f32([n])), store.place("out", Tensor::f32([n])));
            let mut graph = Graph::new();
            let x = graph.read(&x);
            let twice = graph.apply(Scale { factor: 2.0, offset: 3.0 }, &[x]).unwrap();
            let sum = graph.apply(Mul, &[twice, twice]).unwrap();
            graph.assign(sum, out.clone()).unwrap();
            (Plan::new(&graph), out)
        })
        .into();
    gpu.allocate(&store).unwrap();
    let ids: Vec<_> = plans.iter().map(|(plan, _)| gpu.prepare(plan).unwrap()).collect();
    for (id, (_, out)) in ids.iter().zip(&plans) {
        gpu.run(&[*id], 1).unwrap();
        let n = out.tensor.len();
        let device: &mut dyn Device = &mut gpu;
        assert_eq!(device.read_f32(out.buffer, 0, n).unwrap(), vec![9.0; n]);
    }
}

#[test]
fn what_does_not_fit_a_device_is_an_error_that_names_the_op_or_the_buffer() {
    let Some(mut gpu) = gpu("what_does_not_fit_a_device_is_an_error_that_names_the_op_or_the_buffer") else { return };
    let mut store = Store::default();
    store.add("moments", usize::MAX / 8);
    let error = gpu.allocate(&store).unwrap_err().to_string();
    assert!(error.contains("moments"), "{error}");
    // The device still works.
    let mut graph = Graph::new();
    let mut store = Store::default();
    let n = (gpu.info().limits.binding / 4) as usize + 64;
    let place = store.place("x", Tensor::f32([4]));
    let wide = graph.apply(FillWith { shape: [n].into(), value: 1.0 }, &[]).unwrap();
    let sum = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[wide]).unwrap();
    graph.assign(sum, Place { tensor: Tensor::f32([1]), ..place }).unwrap();
    gpu.allocate(&store).unwrap();
    let error = gpu.prepare(&Plan::new(&graph)).unwrap_err().to_string();
    assert!(error.contains("fill") && error.contains("smaller batch"), "{error}");
    // A set is kept whole only if a shader may see all of it.
    assert!(gpu.room() <= gpu.info().limits.binding);
}

#[test]
fn a_loop_that_a_driver_on_the_cpu_would_leave_unfinished_is_refused() {
    let Some(mut adapter) = golden::adapter("a_loop_that_a_driver_on_the_cpu_would_leave_unfinished_is_refused") else {
        return;
    };
    for (class, refused) in [(Class::Software, true), (Class::Discrete, false)] {
        adapter.info.class = class;
        let mut gpu = Gpu::open(&adapter).unwrap();
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let [x, out] = [(); 2].map(|()| store.place("", Tensor::f32([1, 100_000])));
        let x = graph.read(&x);
        let shares = graph.apply(Softmax, &[x]).unwrap();
        graph.assign(shares, out).unwrap();
        gpu.allocate(&store).unwrap();
        let told = gpu.prepare(&Plan::new(&graph)).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(told.contains("softmax") && told.contains("rounds"), refused, "{class}: {told}");
    }
}
