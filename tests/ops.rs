//! The op table on every device: each op's twin against its f64 definition, each derivative against central
//! differences of that definition, each shader against its twin.

mod golden;

use golden::gpu;
use inkgrad::check;
use inkgrad::device::cpu::Cpu;
use inkgrad::device::gpu::{Class, Gpu};
use inkgrad::device::{Device, DeviceError};
use inkgrad::graph::{BufferId, Graph, Place, Store};
use inkgrad::ops::cases;
use inkgrad::ops::elementwise::{Fill as FillWith, Mul, Scale};
use inkgrad::ops::loss::Pairwise;
use inkgrad::ops::record::{RecordLoss, Told};
use inkgrad::ops::reduce::Sum;
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
}
