//! What tests against stored values share: reading `tests/goldens`, their number stream, comparing, finding a GPU.
#![allow(dead_code)]

use inkgrad::device::{self, Choice, Device, cpu::Cpu, gpu::Adapter, gpu::Gpu};
use inkgrad::models::Parameter;
use safetensors::SafeTensors;

/// A GAN that a CPU trains in no time, with what GANs are made of: batch norm, dropout, labels in both networks.
pub const TINY_GAN: &str = r#"
[generator]
noise = 8
noise_width = 8
label_width = 8
layers = [
  { dense = "noise_width", activation = "relu", name = "noise" },
  { dense = "label_width", activation = "relu", from = "label", name = "class" },
  { concat = ["class", "noise"] },
  { dense = 196, bias = false },
  { batch_norm = true, activation = "relu", momentum = 0.9 },
  { reshape = [7, 7, 4] },
  { conv_transposed = 4, kernel = 4, stride = 2, padding = "same", activation = "relu" },
  { conv_transposed = 1, kernel = 4, stride = 2, padding = "same", activation = "tanh" },
]

[discriminator]
layers = [
  { conv = 4, kernel = 4, stride = 4, padding = "same", activation = "leaky_relu", slope = 0.2 },
  "flatten",
  { dropout = 0.3, name = "picture" },
  { dense = 12, from = "label", name = "class" },
  { concat = ["picture", "class"] },
  { dense = 16, activation = "leaky_relu", slope = 0.2 },
  { dense = 1 },
]
"#;

pub struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Golden {
    pub fn open(name: &'static str) -> Golden {
        let path = format!("{}/tests/goldens/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Golden { name, bytes: std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")) }
    }
    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
    pub fn names(&self) -> Vec<String> {
        self.tensors().names().into_iter().map(str::to_owned).collect()
    }
    pub fn has(&self, tensor: &str) -> bool {
        self.tensors().tensor(tensor).is_ok()
    }
    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        self.tensors().tensor(tensor).unwrap_or_else(|e| panic!("{}: {tensor}: {e}", self.name)).shape().to_vec()
    }
    /// A tensor's elements; integers become f32, which holds the few that there are exactly.
    pub fn get(&self, tensor: &str) -> Vec<f32> {
        let tensors = self.tensors();
        let view = tensors.tensor(tensor).unwrap_or_else(|e| panic!("{}: {tensor}: {e}", self.name));
        match view.dtype() {
            safetensors::Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
            safetensors::Dtype::I32 => {
                bytemuck::pod_collect_to_vec::<u8, i32>(view.data()).iter().map(|x| *x as f32).collect()
            }
            safetensors::Dtype::I64 => {
                bytemuck::pod_collect_to_vec::<u8, i64>(view.data()).iter().map(|x| *x as f32).collect()
            }
            other => panic!("{}: {tensor} is {other:?}", self.name),
        }
    }
}

/// Element `i` of tensor number `t` in -1..1, as tests/goldens/README.md defines it.
pub fn stream(i: u32, t: u32) -> f64 {
    let x = i.wrapping_mul(0x9E37_79B1).wrapping_add(t.wrapping_mul(0x85EB_CA77)).wrapping_add(0x2722_0A95);
    let x = (x ^ (x >> 16)).wrapping_mul(0x21F0_AAAD);
    let x = (x ^ (x >> 15)).wrapping_mul(0x735A_2D97);
    let h = x ^ (x >> 15);
    (f64::from(h >> 8) / 16_777_216.0 - 0.5) * 2.0
}

/// Asserts that each element is within `tolerance` of the wanted one, relative to the largest.
pub fn assert_near(what: &str, got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (got - wanted).abs() / scale;
        assert!(error <= tolerance, "{what}: element {i} is {got}, should be {wanted} (scale {scale})");
    }
}

/// The GPU that tests run on: the one that INKGRAD_DEVICE names, else the first there is, even a software one.
/// If there is none, says so, and fails if INKGRAD_REQUIRE_GPU is 1.
pub fn gpu(test: &str) -> Option<Gpu> {
    adapter(test).map(|adapter| Gpu::open(&adapter).unwrap())
}

/// The adapter of [`gpu`].
pub fn adapter(test: &str) -> Option<Adapter> {
    let named = std::env::var("INKGRAD_DEVICE").ok().map(|name| device::find(&name).unwrap());
    let choices = named.into_iter().chain(device::list().into_iter().map(|listed| listed.choice));
    let usable = |choice: Choice| match choice {
        Choice::Gpu(adapter) if adapter.info.problem.is_none() => Some(adapter),
        _ => None,
    };
    let found = choices.filter_map(usable).next().map(|adapter| *adapter);
    if found.is_none() {
        eprintln!("SKIPPED {test}: no GPU and no software adapter (lavapipe is one) was found");
        assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
    }
    found
}

/// Fails unless `error` is within `tolerance`; NaN is not.
pub fn check(what: &str, error: f64, tolerance: f64) {
    if std::env::var_os("INKGRAD_MARGINS").is_some() {
        eprintln!("{what}: off by {error:.1e} of {tolerance:.0e}");
    }
    assert!(error <= tolerance, "{what}: off by {error:e}, more than {tolerance:e}");
}

/// Checks the largest difference, relative to the largest wanted element.
pub fn check_near(what: &str, got: &[f32], wanted: &[f32], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0f64, |m, x| m.max(f64::from(x.abs())));
    assert!(largest > 0.0, "{what}: a golden of zeros shows nothing");
    let worst = got.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / largest);
    // `max` would drop NaN.
    check(what, worst.fold(0.0, |m, x| if x <= m { m } else { x }), tolerance);
}

pub type Open = fn() -> Box<dyn Device>;

/// The CPU, and the GPU if there is one.
pub fn devices(test: &str) -> Vec<(&'static str, Open)> {
    let mut devices: Vec<(&'static str, Open)> = vec![("CPU", || Box::new(Cpu::new()))];
    if gpu(test).is_some() {
        devices.push(("GPU", || Box::new(gpu("").unwrap())));
    }
    devices
}

/// A parameter before training, as the goldens have it; `t` is its number.
pub fn initial(parameter: &Parameter, t: u32) -> Vec<f32> {
    let dims = parameter.shape.dims();
    let value = |i: usize| match parameter.name.rsplit('.').next() {
        Some("weight") => stream(i as u32, t) * (6.0 / parameter.shape.rows() as f64).sqrt(),
        Some("bias") => stream(i as u32, t) * 0.1,
        Some("affine") => stream(i as u32, t) * 0.2 + if i < dims[1] { 1.0 } else { 0.0 },
        Some("shift") => stream(i as u32, t) * 0.2,
        other => panic!("{other:?} is no kind of parameter"),
    };
    (0..parameter.shape.len()).map(|i| value(i) as f32).collect()
}

/// Checks a gradient against `name`; for a large one, its first elements, the sum and the sum of squares.
pub fn check_gradient(what: &str, gradient: &[f32], dims: &[usize], golden: &Golden, name: &str, tolerance: f64) {
    let wanted = golden.get(name);
    if !golden.has(&format!("{name}.sum")) {
        assert_eq!(golden.shape(name), dims, "{what}");
        return check_near(what, gradient, &wanted, tolerance);
    }
    check_near(what, &gradient[..wanted.len()], &wanted, tolerance);
    let [sum, squares] = ["sum", "sumsq"].map(|of| f64::from(golden.get(&format!("{name}.{of}"))[0]));
    let exact = || gradient.iter().map(|x| f64::from(*x));
    check(&format!("{what}, squares"), (exact().map(|x| x * x).sum::<f64>() / squares - 1.0).abs(), tolerance);
    // Positive and negative elements cancel, so the sum's error is relative to what they could sum to.
    let most = (squares * gradient.len() as f64).sqrt();
    check(&format!("{what}, sum"), (exact().sum::<f64>() - sum).abs() / most, tolerance);
}
