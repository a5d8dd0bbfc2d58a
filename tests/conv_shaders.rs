//! The convolution's shaders on a real adapter, against plain loops in f64.

use std::sync::Arc;

use inkgrad::device::{self, Choice, Device, gpu::Gpu};
use inkgrad::graph::{Graph, Place, Store};
use inkgrad::ops::activation::Act;
use inkgrad::ops::conv2d_kernels::{self as kernels, Geometry};
use inkgrad::ops::{Epilogue, In, Kernel, Op, Out, random};
use inkgrad::plan::Plan;
use inkgrad::tensor::Tensor;

/// A kernel as an op, without a twin.
#[derive(Clone, Debug)]
struct Bare {
    kernel: Kernel,
    out: Tensor,
    flops: u64,
}

impl Op for Bare {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn shape(&self, _: &[Tensor]) -> Result<Tensor, String> {
        Ok(self.out.clone())
    }
    fn cpu(&self, _: &[In], _: &mut [Out]) {
        unreachable!("runs on a GPU only")
    }
    fn gpu(&self, _: &[Tensor], _: &[Tensor]) -> Kernel {
        self.kernel.clone()
    }
    fn flops(&self, _: &[Tensor], _: &[Tensor]) -> u64 {
        self.flops
    }
}

fn geometry(
    n: usize,
    [h, w]: [usize; 2],
    [c, k]: [usize; 2],
    [r, s]: [usize; 2],
    stride: usize,
    same: bool,
) -> Geometry {
    let out = |size: usize, tap: usize| if same { size.div_ceil(stride) } else { (size - tap) / stride + 1 };
    let (p, q) = (out(h, r), out(w, s));
    let before = |size: usize, tap: usize, out: usize| ((out - 1) * stride + tap).saturating_sub(size) / 2;
    let (pad_top, pad_left) = if same { (before(h, r, p), before(w, s, q)) } else { (0, 0) };
    Geometry { n, h, w, c, k, r, s, p, q, stride, pad_top, pad_left }
}

/// Calls `f` with the flat indices of input, weight `[r, s, c, k]` and output of every product.
fn products(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    for n in 0..g.n {
        for (p, q) in (0..g.p).flat_map(|p| (0..g.q).map(move |q| (p, q))) {
            for (r, s) in (0..g.r).flat_map(|r| (0..g.s).map(move |s| (r, s))) {
                let (h, w) = ((p * g.stride + r).wrapping_sub(g.pad_top), (q * g.stride + s).wrapping_sub(g.pad_left));
                if h >= g.h || w >= g.w {
                    continue;
                }
                for (c, k) in (0..g.c).flat_map(|c| (0..g.k).map(move |k| (c, k))) {
                    let x = ((n * g.h + h) * g.w + w) * g.c + c;
                    let y = ((n * g.p + p) * g.q + q) * g.k + k;
                    f(x, ((r * g.s + s) * g.c + c) * g.k + k, y);
                }
            }
        }
    }
}

fn noise(n: usize, stream: u32) -> Vec<f32> {
    (0..n).map(|i| random::unit(random::bits([3, 0], stream, i as u32)) * 2.0 - 1.0).collect()
}

fn gpu() -> Option<Gpu> {
    let named = std::env::var("INKGRAD_DEVICE").ok().map(|name| device::find(&name).unwrap());
    let choices = named.into_iter().chain(device::list().into_iter().map(|listed| listed.choice));
    let adapter = choices.filter_map(|c| if let Choice::Gpu(a) = c { Some(a) } else { None }).next();
    if adapter.is_none() {
        eprintln!("SKIPPED: no GPU and no software adapter was found");
        assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
    }
    adapter.map(|adapter| Gpu::open(&adapter).unwrap())
}

fn run(gpu: &mut Gpu, op: Bare, inputs: &[&[f32]], times: usize) -> (Vec<f32>, f64) {
    let (mut store, mut graph) = (Store::default(), Graph::new());
    let mut place = |tensor: Tensor| Place { buffer: store.add("", tensor.len() + 64), offset: 0, tensor };
    let places: Vec<Place> = inputs.iter().map(|x| place(Tensor::f32([x.len()]))).collect();
    let target = place(op.out.clone());
    let values: Vec<_> = places.iter().map(|place| graph.read(place)).collect();
    let out = graph.apply_arc(Arc::new(op), &values).unwrap();
    graph.assign(out, target.clone());
    gpu.allocate(&store).unwrap();
    for (place, x) in places.iter().zip(inputs) {
        gpu.write(place.buffer, 0, bytemuck::cast_slice(x)).unwrap();
    }
    let plan = gpu.prepare(&Plan::new(&graph)).unwrap();
    gpu.run(plan, 1).unwrap();
    gpu.wait().unwrap();
    let mut best = f64::MAX;
    for _ in 1..times {
        let start = std::time::Instant::now();
        gpu.run(plan, 1).unwrap();
        gpu.wait().unwrap();
        best = best.min(start.elapsed().as_secs_f64());
    }
    let n = target.tensor.len();
    let device: &mut dyn Device = gpu;
    let mut out = device.read_f32(target.buffer, 0, n + 64).unwrap();
    assert!(out[n..].iter().all(|x| *x == 0.0), "wrote past its output");
    out.truncate(n);
    (out, best)
}

fn assert_close(what: &str, got: &[f32], wanted: &[f64]) {
    let scale = wanted.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        // Sums of some thousand products in f32.
        assert!((f64::from(*got) - wanted).abs() <= 2e-5 * scale, "{what}: element {i} is {got}, should be {wanted}");
    }
}

/// `[r, s, c, k]` to `[r, s, k, c]`.
fn transposed(weight: &[f32], g: &Geometry) -> Vec<f32> {
    let mut out = vec![0.0; weight.len()];
    for (i, w) in weight.iter().enumerate() {
        let (tap, c, k) = (i / (g.c * g.k), i / g.k % g.c, i % g.k);
        out[(tap * g.k + k) * g.c + c] = *w;
    }
    out
}

#[test]
fn every_convolution_shader_agrees_with_plain_loops() {
    let Some(mut gpu) = gpu() else { return };
    let geometries = [
        geometry(2, [28, 28], [1, 24], [5, 5], 1, false),
        geometry(2, [28, 28], [32, 32], [3, 3], 1, true),
        geometry(3, [9, 14], [8, 16], [2, 2], 1, true),
        geometry(2, [12, 10], [4, 20], [4, 4], 2, true),
        geometry(3, [11, 13], [3, 5], [3, 3], 1, true),
        geometry(2, [7, 9], [3, 50], [3, 2], 3, false),
        geometry(1, [9, 9], [50, 3], [4, 4], 2, true),
        geometry(2, [7, 7], [12, 1], [7, 7], 1, true),
        geometry(1, [5, 6], [6, 70], [1, 1], 1, false),
        geometry(2, [6, 6], [16, 100], [3, 3], 2, false),
        geometry(1, [1, 1], [1, 1], [1, 1], 1, false),
        geometry(3, [4, 3], [2, 4], [1, 1], 2, false),
    ];
    for g in geometries {
        let (inputs, weights, outputs) = (g.n * g.h * g.w * g.c, g.r * g.s * g.c * g.k, g.n * g.p * g.q * g.k);
        let (x, w, d) = (noise(inputs, 0), noise(weights, 1), noise(outputs, 2));
        let (bias, activated) = (noise(g.k, 3), noise(inputs, 4));

        let mut wanted = vec![0.0f64; outputs];
        products(&g, |i, j, o| wanted[o] += f64::from(x[i]) * f64::from(w[j]));
        let bare = |kernel, out: usize| Bare { kernel, out: Tensor::f32([out]), flops: 0 };
        let (got, _) = run(&mut gpu, bare(kernels::forward(&g, Epilogue::NONE), outputs), &[&x, &w], 1);
        assert_close(&format!("forward {g:?}"), &got, &wanted);
        wanted.iter_mut().enumerate().for_each(|(i, v)| *v = (*v + f64::from(bias[i % g.k])).max(0.0));
        let relu = Epilogue { bias: true, act: Some(Act::Relu), act_grad: None };
        let (got, _) = run(&mut gpu, bare(kernels::forward(&g, relu), outputs), &[&x, &w, &bias], 1);
        assert_close(&format!("forward, relu {g:?}"), &got, &wanted);

        let mut wanted = vec![0.0f64; inputs];
        products(&g, |i, j, o| wanted[i] += f64::from(d[o]) * f64::from(w[j]));
        let t = transposed(&w, &g);
        let (got, _) = run(&mut gpu, bare(kernels::grad_x(&g, Epilogue::NONE), inputs), &[&d, &t], 1);
        assert_close(&format!("grad_x {g:?}"), &got, &wanted);
        let masked = Epilogue { act_grad: Some(Act::Relu), ..Epilogue::NONE };
        wanted.iter_mut().zip(&activated).for_each(|(v, y)| *v = if *y > 0.0 { *v } else { 0.0 });
        let (got, _) = run(&mut gpu, bare(kernels::grad_x(&g, masked), inputs), &[&d, &t, &activated], 1);
        assert_close(&format!("grad_x, relu {g:?}"), &got, &wanted);

        let mut wanted = vec![0.0f64; weights];
        products(&g, |i, j, o| wanted[j] += f64::from(x[i]) * f64::from(d[o]));
        for per_part in [1, 2, g.n] {
            let parts = g.n.div_ceil(per_part);
            let (got, _) = run(&mut gpu, bare(kernels::grad_w(&g, per_part), parts * weights), &[&x, &d], 1);
            let sum: Vec<f32> = (0..weights).map(|i| (0..parts).map(|j| got[j * weights + i]).sum()).collect();
            assert_close(&format!("grad_w {per_part} {g:?}"), &sum, &wanted);
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn how_fast_the_convolution_shaders_are() {
    let Some(mut gpu) = gpu() else { return };
    for g in [
        geometry(128, [28, 28], [32, 32], [3, 3], 1, true),
        geometry(128, [28, 28], [32, 32], [3, 3], 1, false),
        geometry(128, [28, 28], [1, 24], [5, 5], 1, false),
        geometry(128, [14, 14], [64, 64], [4, 4], 2, true),
    ] {
        let (inputs, weights, outputs) = (g.n * g.h * g.w * g.c, g.r * g.s * g.c * g.k, g.n * g.p * g.q * g.k);
        let (x, w, d) = (noise(inputs, 0), noise(weights, 1), noise(outputs, 2));
        let flops = (2 * outputs * g.r * g.s * g.c) as u64;
        let per_part = kernels::images_per_part(&g);
        let works: [(&str, Kernel, &[f32], &[f32], usize); 3] = [
            ("forward", kernels::forward(&g, Epilogue::NONE), &x, &w, outputs),
            ("grad_x", kernels::grad_x(&g, Epilogue::NONE), &d, &w, inputs),
            ("grad_w", kernels::grad_w(&g, per_part), &x, &d, weights * g.n.div_ceil(per_part)),
        ];
        for (name, kernel, a, b, out) in works {
            let op = Bare { kernel, out: Tensor::f32([out]), flops };
            let (_, seconds) = run(&mut gpu, op, &[a, b], 4);
            println!(
                "{name} {}x{} {}->{} {} same {}: {:.1} GFLOP/s",
                g.r,
                g.s,
                g.c,
                g.k,
                g.h,
                g.pad_top,
                flops as f64 / seconds / 1e9
            );
        }
    }
}
