//! What tests against stored values share: reading `tests/goldens`, their number stream, comparing, finding a GPU.
#![allow(dead_code)]

use inkgrad::device::{self, Choice, gpu::Gpu};
use safetensors::SafeTensors;

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
    /// A tensor's elements; whole numbers become f32, which holds the few that there are exactly.
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

/// Element `i` of tensor number `t` in -1..1, as tests/goldens/README.md has it.
pub fn stream(i: u32, t: u32) -> f64 {
    let x = i.wrapping_mul(0x9E37_79B1).wrapping_add(t.wrapping_mul(0x85EB_CA77)).wrapping_add(0x2722_0A95);
    let x = (x ^ (x >> 16)).wrapping_mul(0x21F0_AAAD);
    let x = (x ^ (x >> 15)).wrapping_mul(0x735A_2D97);
    let h = x ^ (x >> 15);
    (f64::from(h >> 8) / 16_777_216.0 - 0.5) * 2.0
}

/// Each element within `tolerance` of the wanted one, relative to the largest.
pub fn assert_near(what: &str, got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (got - wanted).abs() / scale;
        assert!(error <= tolerance, "{what}: element {i} is {got}, should be {wanted} (scale {scale})");
    }
}

/// The GPU that tests run on: the one that INKGRAD_DEVICE names, else the first that there is, be it software.
/// Without any, says so, and fails where INKGRAD_REQUIRE_GPU is 1.
pub fn gpu(test: &str) -> Option<Gpu> {
    let named = std::env::var("INKGRAD_DEVICE").ok().map(|name| device::find(&name).unwrap());
    let choices = named.into_iter().chain(device::list().into_iter().map(|listed| listed.choice));
    let usable = |choice: Choice| match choice {
        Choice::Gpu(adapter) if adapter.info.problem.is_none() => Some(adapter),
        _ => None,
    };
    let found = choices.filter_map(usable).next().map(|adapter| Gpu::open(&adapter).unwrap());
    if found.is_none() {
        eprintln!("SKIPPED {test}: no GPU and no software adapter (lavapipe is one) was found");
        assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
    }
    found
}
