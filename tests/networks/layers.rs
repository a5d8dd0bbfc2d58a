//! Pools, batch norm and losses against PyTorch, and derivatives that single ops cannot show: through a batch's
//! statistics, and by one of two inputs.

use inkgrad::device::{Device, cpu::Cpu};
use inkgrad::grad::{grad, grad_times};
use inkgrad::graph::{Graph, GraphError, Place, Store, Value};
use inkgrad::ops::activation::{Act, Activation};
use inkgrad::ops::batch_norm::{Apply, batch_norm, batch_norm_fixed, batch_norm_of_groups};
use inkgrad::ops::concat::Concat;
use inkgrad::ops::elementwise::Mul;
use inkgrad::ops::loss::{CrossEntropy, Pairwise};
use inkgrad::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use inkgrad::ops::reduce::Sum;
use inkgrad::ops::spectral::{PowerIteration, spectral_norm};
use inkgrad::plan::Plan;
use inkgrad::tensor::Tensor;

use crate::golden::{Golden, assert_near, gpu, stream};

/// Inputs with their words.
type Inputs = Vec<(Tensor, Vec<u32>)>;

fn floats(shape: &[usize], data: &[f32]) -> (Tensor, Vec<u32>) {
    (Tensor::f32(inkgrad::tensor::Shape::new(shape)), bytemuck::cast_slice(data).to_vec())
}

/// Builds a graph over the inputs, runs it and reads what it returns.
fn run(
    device: &mut dyn Device,
    inputs: &Inputs,
    build: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>, GraphError>,
) -> Vec<Vec<f32>> {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut stored = |tensor: &Tensor| store.place("", tensor.clone());
    let places: Vec<Place> = inputs.iter().map(|(tensor, _)| stored(tensor)).collect();
    let values: Vec<Value> = places.iter().map(|place| graph.read(place)).collect();
    let outputs = build(&mut graph, &values).unwrap();
    let outputs: Vec<Place> = outputs
        .into_iter()
        .map(|value| {
            let place = stored(graph.tensor(value));
            graph.assign(value, place.clone()).unwrap();
            place
        })
        .collect();
    device.allocate(&store).unwrap();
    for (place, (_, words)) in places.iter().zip(inputs) {
        device.write(place.buffer, 0, words).unwrap();
    }
    let plan = device.prepare(&Plan::new(&graph)).unwrap();
    device.run(&[plan], 1).unwrap();
    outputs
        .iter()
        .map(|place| {
            let mut words = vec![0; place.tensor.len()];
            device.read(place.buffer, 0, &mut words).unwrap();
            bytemuck::cast_vec(words)
        })
        .collect()
}

/// The sum of `out * weight`, and its derivatives with respect to some values.
fn weighted(graph: &mut Graph, out: Value, weight: Value, by: &[Value]) -> Result<Vec<Value>, GraphError> {
    let product = graph.apply(Mul, &[out, weight])?;
    let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product])?;
    grad(graph, loss, by)
}

fn devices(test: &str) -> Vec<Box<dyn Device>> {
    let mut devices: Vec<Box<dyn Device>> = vec![Box::new(Cpu::new())];
    devices.extend(gpu(test).map(|gpu| Box::new(gpu) as Box<dyn Device>));
    devices
}

#[test]
fn pools_and_batch_norm_are_those_of_pytorch() {
    let golden = Golden::open("ops");
    let tensor = |name: &str| floats(&golden.shape(name), &golden.get(name));
    for mut device in devices("pools_and_batch_norm_are_those_of_pytorch") {
        for (case, window, stride) in [
            ("average_pool_2_s3", 2, 3),
            ("average_pool_3_s2", 3, 2),
            ("average_pool_16_s16", 16, 16),
            ("max_pool_3_s2", 3, 2),
        ] {
            let inputs = vec![tensor(&format!("{case}.in")), tensor(&format!("{case}.d_out"))];
            let got = run(device.as_mut(), &inputs, |graph, v| {
                let out = match case.starts_with("max") {
                    true => graph.apply(MaxPool::new(window, stride), &v[..1])?,
                    false => graph.apply(AvgPool { window, stride }, &v[..1])?,
                };
                Ok([vec![out], weighted(graph, out, v[1], &v[..1])?].concat())
            });
            assert_near(case, &got[0], &golden.get(&format!("{case}.out")), 1e-6);
            assert_near(case, &got[1], &golden.get(&format!("{case}.d_in")), 1e-6);
        }
        let inputs = vec![tensor("batch_norm.in"), tensor("batch_norm.weight"), tensor("batch_norm.d_out")];
        let got = run(device.as_mut(), &inputs, |graph, v| {
            let (y, _) = batch_norm(graph, v[0], v[1], 1e-3)?;
            Ok([vec![y], weighted(graph, y, v[2], &v[..2])?].concat())
        });
        for (got, name) in got.iter().zip(["out", "d_in", "d_weight"]) {
            assert_near(name, got, &golden.get(&format!("batch_norm.{name}")), 5e-6);
        }
    }
}

#[test]
fn losses_are_those_of_pytorch() {
    let golden = Golden::open("ops");
    let tensor = |name: &str| floats(&golden.shape(name), &golden.get(name));
    for mut device in devices("losses_are_those_of_pytorch") {
        let case = "softmax_cross_entropy_smooth";
        let labels: Vec<u32> = golden.get(&format!("{case}.target")).iter().map(|x| *x as u32).collect();
        let inputs = vec![tensor(&format!("{case}.in")), (Tensor::u32([labels.len()]), labels)];
        let got = run(device.as_mut(), &inputs, |graph, v| {
            let loss = graph.apply(CrossEntropy { smoothing: 0.1 }, v)?;
            Ok([vec![loss], grad(graph, loss, &v[..1])?].concat())
        });
        assert_near(case, &got[0], &golden.get(&format!("{case}.out")), 2e-6);
        assert_near(case, &got[1], &golden.get(&format!("{case}.d_in")), 2e-6);
        let case = "binary_cross_entropy_logits";
        let inputs = vec![tensor(&format!("{case}.in")), tensor(&format!("{case}.target"))];
        let got = run(device.as_mut(), &inputs, |graph, v| {
            let loss = graph.apply(Pairwise::Bce, v)?;
            Ok([vec![loss], grad(graph, loss, &v[..1])?].concat())
        });
        assert_near(case, &got[0], &golden.get(&format!("{case}.out")), 2e-6);
        assert_near(case, &got[1], &golden.get(&format!("{case}.d_in")), 2e-6);
    }
}

/// Central differences of `f` with respect to every element of `x`.
fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f32> {
    let step = 1e-6;
    let slope = |i: usize| {
        let mut x = x.to_vec();
        x[i] += step;
        let above = f(&x);
        x[i] -= 2.0 * step;
        ((above - f(&x)) / (2.0 * step)) as f32
    };
    (0..x.len()).map(slope).collect()
}

fn numbers(n: usize, t: u32) -> Vec<f32> {
    (0..n as u32).map(|i| stream(i, t) as f32).collect()
}

fn exact(data: &[f32]) -> Vec<f64> {
    data.iter().map(|x| f64::from(*x)).collect()
}

/// Batch norm by its definition; `stats` are means and variances, by default those of `x` itself.
fn normalized(x: &[f64], affine: &[f64], stats: Option<&[f64]>, eps: f64) -> Vec<f64> {
    let c = affine.len() / 2;
    let n = (x.len() / c) as f64;
    let column = |k: usize| x.iter().skip(k).step_by(c);
    let own: Vec<f64> = (0..c).map(|k| column(k).sum::<f64>() / n).collect();
    let spread = (0..c).map(|k| column(k).map(|x| (x - own[k]).powi(2)).sum::<f64>() / n).collect();
    let own = [own.clone(), spread].concat();
    let stats = stats.unwrap_or(&own);
    let y = |i: usize| {
        let k = i % c;
        (x[i] - stats[k]) / (stats[c + k] + eps).sqrt() * affine[k] + affine[c + k]
    };
    (0..x.len()).map(y).collect()
}

#[test]
fn the_derivative_of_batch_norm_goes_through_the_statistics() {
    // Rows that fill one part and several; one channel, few and many; groups with statistics of their own.
    let alone = [(vec![5], 1, 1), (vec![3, 2, 3], 4, 1), (vec![2, 67], 3, 1), (vec![7], 21, 1)];
    for (shape, c, groups) in alone.into_iter().chain([(vec![4, 5], 3, 2), (vec![6, 70], 2, 3)]) {
        let shape: Vec<usize> = [shape.as_slice(), &[c]].concat();
        let n = shape.iter().product();
        let (x, affine, weight) = (numbers(n, 1), numbers(2 * c, 2), numbers(n, 3));
        let stats = [numbers(c, 4), numbers(c, 5).iter().map(|v| v.abs() + 0.2).collect()].concat();
        for training in [true, false] {
            let inputs =
                vec![floats(&shape, &x), floats(&[2, c], &affine), floats(&shape, &weight), floats(&[2, c], &stats)];
            let got = run(&mut Cpu::new(), &inputs, |graph, v| {
                let y = match training {
                    true => batch_norm_of_groups(graph, v[0], v[1], 1e-3, groups)?.0,
                    false => batch_norm_fixed(graph, v[0], v[3], v[1], 1e-3)?,
                };
                weighted(graph, y, v[2], &v[..2])
            });
            let fixed = exact(&stats);
            let loss = |x: &[f64], affine: &[f64]| -> f64 {
                let stats = (!training).then_some(&fixed[..]);
                let groups = x.chunks(x.len() / groups);
                let y = groups.flat_map(|x| normalized(x, affine, stats, f64::from(1e-3f32)));
                y.zip(&weight).map(|(y, w)| y * f64::from(*w)).sum()
            };
            let (x, affine) = (exact(&x), exact(&affine));
            let what = format!("{shape:?} in {groups} groups, training {training}");
            assert_near(&format!("{what} by x"), &got[0], &differences(&x, |x| loss(x, &affine)), 2e-5);
            assert_near(&format!("{what} by affine"), &got[1], &differences(&affine, |a| loss(&x, a)), 2e-5);
        }
    }
}

#[test]
fn a_value_that_is_added_twice_gets_both_derivatives_each_times_the_losss_factor() {
    use inkgrad::ops::elementwise::Add;
    let weight = numbers(5, 13);
    let inputs = vec![floats(&[5], &numbers(5, 14)), floats(&[5], &numbers(5, 15)), floats(&[5], &weight)];
    let got = run(&mut Cpu::new(), &inputs, |graph, v| {
        let sum = graph.apply(Add, &v[..2])?;
        let sum = graph.apply(Add, &[sum, v[0]])?;
        let product = graph.apply(Mul, &[sum, v[2]])?;
        let loss = graph.apply(Sum { width: 1, rows: Sum::ALL, factor: 1.0 }, &[product])?;
        grad_times(graph, loss, 8.0, &v[..2])
    });
    assert_eq!(got, [16.0f32, 8.0].map(|factor| weight.iter().map(|w| factor * w).collect::<Vec<f32>>()));
}

#[test]
fn of_tensors_side_by_side_each_gets_the_derivative_of_its_own_columns() {
    let weight = numbers(12, 16);
    let sides = [1, 2, 3].map(|width| floats(&[2, width], &numbers(2 * width, 17)));
    let inputs: Inputs = sides.into_iter().chain([floats(&[2, 6], &weight)]).collect();
    // The first is data, and has none.
    let got = run(&mut Cpu::new(), &inputs, |graph, v| {
        let out = graph.apply(Concat, &v[..3])?;
        weighted(graph, out, v[3], &v[1..3])
    });
    let columns = |from: usize, to: usize| [&weight[from..to], &weight[6 + from..6 + to]].concat();
    assert_eq!(got, [columns(1, 3), columns(3, 6)]);
}

#[test]
fn variances_survive_large_means() {
    let (rows, c) = (2000, 5);
    let x: Vec<f32> = numbers(rows * c, 6).iter().enumerate().map(|(i, x)| x + 1000.0 * (i % c) as f32).collect();
    for mut device in devices("variances_survive_large_means") {
        let got =
            run(device.as_mut(), &vec![floats(&[rows, c], &x), floats(&[2, c], &numbers(2 * c, 7))], |graph, v| {
                Ok(vec![batch_norm(graph, v[0], v[1], 1e-3)?.1])
            });
        for k in 0..c {
            let column: Vec<f64> = x.iter().skip(k).step_by(c).map(|x| f64::from(*x)).collect();
            let mean = column.iter().sum::<f64>() / rows as f64;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
            assert!((f64::from(got[0][k]) - mean).abs() <= 1e-7 * mean.abs() + 1e-6, "mean {} of {mean}", got[0][k]);
            // The squares of E[x^2] - E[x]^2 would be off by 4096^2 * 6e-8, three times the variance.
            let error = (f64::from(got[0][c + k]) / variance - 1.0).abs();
            assert!(error < 1e-5, "channel {k}: variance {} should be {variance}", got[0][c + k]);
        }
    }
}

#[test]
fn losses_of_two_tensors_have_the_slope_of_their_definition() {
    // Beyond 1 on either side, where the hinge is flat.
    let x: Vec<f32> = numbers(35, 8).iter().map(|x| 3.0 * x).collect();
    let target: Vec<f32> = numbers(35, 9).iter().map(|t| t.abs()).collect();
    let inputs = vec![floats(&[5, 7], &x), floats(&[5, 7], &target)];
    let mean = |x: &[f64], f: &dyn Fn(f64, f64) -> f64| {
        x.iter().zip(&target).map(|(x, t)| f(*x, f64::from(*t))).sum::<f64>() / x.len() as f64
    };
    let log = |x: f64| (1.0 / (1.0 + (-x).exp())).ln();
    for loss in Pairwise::ALL {
        let got = run(&mut Cpu::new(), &inputs, |graph, v| {
            let loss = graph.apply(loss, v)?;
            grad(graph, loss, &v[..1])
        });
        let of_one = |x: f64, t: f64| match loss {
            Pairwise::Mse => (x - t) * (x - t),
            Pairwise::Bce => -t * log(x) - (1.0 - t) * log(-x),
            Pairwise::Hinge => (1.0 - (2.0 * t - 1.0) * x).max(0.0),
        };
        let wanted = differences(&exact(&x), |x| mean(x, &of_one));
        assert_near(&format!("{loss:?}"), &got[0], &wanted, 1e-5);
    }
}

#[test]
fn the_derivative_of_spectral_norm_goes_through_the_singular_value_but_not_through_its_vectors() {
    for [m, k] in [[1, 1], [7, 5], [3, 40]] {
        let (w, vectors, weight) = (numbers(m * k, 10), numbers(m + k, 11), numbers(m * k, 12));
        let inputs = vec![floats(&[m, k], &w), floats(&[m + k], &vectors), floats(&[m, k], &weight)];
        let got = run(&mut Cpu::new(), &inputs, |graph, v| {
            let vectors = graph.apply(PowerIteration, &v[..2])?;
            let out = spectral_norm(graph, v[0], vectors)?;
            Ok([vec![vectors], weighted(graph, out, v[2], &v[..1])?].concat())
        });
        let vectors = exact(&got[0]);
        let (left, right) = vectors.split_at(m);
        let loss = |w: &[f64]| -> f64 {
            let sigma: f64 = w.iter().enumerate().map(|(i, w)| left[i / k] * w * right[i % k]).sum();
            w.iter().zip(&weight).map(|(w, weight)| w / sigma * f64::from(*weight)).sum()
        };
        assert_near(&format!("{m}x{k}"), &got[1], &differences(&exact(&w), loss), 1e-5);
    }
}

#[test]
fn activations_fold_into_the_ops_before_them() {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut stored = |tensor: Tensor| store.place("", tensor);
    let x = graph.read(&stored(Tensor::f32([2, 6, 6, 3])));
    let affine_place = stored(Tensor::f32([2, 3]));
    let affine = graph.read(&affine_place);
    let (y, _) = batch_norm(&mut graph, x, affine, 1e-3).unwrap();
    let y = graph.apply(Activation(Act::Relu), &[y]).unwrap();
    let average = graph.apply(AvgPool { window: 2, stride: 2 }, &[y]).unwrap();
    let z = graph.apply(Activation(Act::Relu), &[average]).unwrap();
    let z = graph.apply(MaxPool::new(2, 1), &[z]).unwrap();
    let loss = Sum::mean(&mut graph, z).unwrap();
    let d_affine = grad(&mut graph, loss, &[affine]).unwrap()[0];
    graph.assign(d_affine, affine_place).unwrap();
    let plan = Plan::new(&graph);
    let has = |text: &str| plan.dispatches.iter().any(|d| format!("{:?}", d.op).contains(text));
    assert!(has(&format!("{:?}", Apply { epilogue: relu(false), ..Apply::new(1e-3, true) })), "relu after batch norm");
    assert!(has(&format!(
        "{:?}",
        AvgPoolGrad { pool: AvgPool { window: 2, stride: 2 }, image: [6, 6], epilogue: relu(true) }
    )));
    assert!(has(&format!("{:?}", MaxPoolGrad { pool: MaxPool::new(2, 1), epilogue: relu(true) })));
    let left = plan.dispatches.iter().filter(|d| d.op.name().starts_with("activation")).count();
    assert_eq!(left, 1, "of four only the relu after the average pool stands alone");
}

#[test]
fn a_window_is_held_against_both_sides_of_an_image() {
    use inkgrad::ops::Op;
    for [h, w, fits] in [[6, 3, 0], [3, 6, 0], [5, 6, 1]] {
        let shape = MaxPool::new(5, 5).shape(&[Tensor::f32([1, h, w, 2])]);
        assert_eq!(shape.is_ok(), fits == 1, "{h}x{w}: {shape:?}");
    }
}

fn relu(derivative: bool) -> inkgrad::ops::Epilogue {
    let none = inkgrad::ops::Epilogue::NONE;
    match derivative {
        true => inkgrad::ops::Epilogue { act_grad: Some(Act::Relu), ..none },
        false => inkgrad::ops::Epilogue { act: Some(Act::Relu), ..none },
    }
}

#[test]
fn a_window_that_does_not_fit_is_named() {
    let mut graph = Graph::new();
    let mut store = Store::default();
    let x = graph.read(&store.place("", Tensor::f32([1, 3, 3, 2])));
    let error = graph.apply(MaxPool::new(5, 5), &[x]).unwrap_err();
    assert_eq!(error.problem, "a window of 5 does not fit an image of 3x3");
}
