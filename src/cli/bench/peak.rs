//! A device's measured peak rates, which the times of single ops are compared with.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Simd, WithSimd};

use crate::device::Device;
use crate::graph::{Graph, Store, Value};
use crate::ops::elementwise::Copy;
use crate::ops::matmul::{Layout, MatMul};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Each per second.
pub struct Peak {
    pub flops: f64,
    pub bytes: f64,
}

impl Peak {
    /// The share of the peak that bounds this work more, arithmetic or memory.
    pub fn share(&self, flops: u64, bytes: u64, seconds: f64) -> f64 {
        (flops as f64 / self.flops).max(bytes as f64 / self.bytes) / seconds
    }
}

/// FLOP/s: for the CPU, multiply-adds that stay in registers; for a GPU, the fastest of matrix products up to one that
/// takes a few milliseconds. Bytes per second: a copy of 64 MB. What the device held is lost.
pub fn measure(device: &mut dyn Device, is_cpu: bool) -> anyhow::Result<Peak> {
    let words = 1 << 24;
    let copy = |graph: &mut Graph, store: &mut Store| {
        let tensor = Tensor::f32([words]);
        let from = store.place("peak", tensor.clone());
        let value = graph.read(&from);
        Ok((graph.apply(Copy, &[value])?, tensor))
    };
    let bytes = 2.0 * 4.0 * words as f64 / seconds(device, copy)?;
    if is_cpu {
        return Ok(Peak { flops: multiply_adds(), bytes });
    }
    let (mut size, mut flops) = (256, 0.0);
    loop {
        let product = |graph: &mut Graph, store: &mut Store| {
            let tensor = Tensor::f32([size, size]);
            let [a, b] = [(); 2].map(|()| store.place("peak", tensor.clone()));
            let [a, b] = [graph.read(&a), graph.read(&b)];
            Ok((graph.apply(MatMul::new(Layout::NN), &[a, b])?, tensor))
        };
        let seconds = seconds(device, product)?;
        flops = f64::max(flops, 2.0 * (size as f64).powi(3) / seconds);
        if seconds > 2e-3 || size >= 8192 {
            return Ok(Peak { flops, bytes });
        }
        size *= 2;
    }
}

/// The shortest of several times of a graph with one value.
fn seconds(
    device: &mut dyn Device,
    build: impl Fn(&mut Graph, &mut Store) -> anyhow::Result<(Value, Tensor)>,
) -> anyhow::Result<f64> {
    let (mut graph, mut store) = (Graph::new(), Store::default());
    let (value, tensor) = build(&mut graph, &mut store)?;
    let out = store.place("peak", tensor);
    graph.assign(value, out)?;
    device.allocate(&store)?;
    let plan = device.prepare(&Plan::new(&graph))?;
    let mut shortest = f64::MAX;
    for _ in 0..5 {
        let times = device.profile(plan, 1)?;
        shortest = times.iter().map(|time| time.as_secs_f64()).sum::<f64>().min(shortest);
    }
    Ok(shortest.max(1e-9))
}

/// The rate of multiply-adds, with enough independent sums to hide their latency; on all threads at once.
fn multiply_adds() -> f64 {
    const SUMS: usize = 12;
    const TIMES: usize = 1 << 21;
    struct Fma(f32);
    impl WithSimd for Fma {
        type Output = (usize, f32);
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> (usize, f32) {
            let x = simd.splat_f32s(self.0);
            let mut sums = [x; SUMS];
            for _ in 0..TIMES {
                for sum in &mut sums {
                    *sum = simd.mul_add_e_f32s(*sum, x, x);
                }
            }
            let total = sums.into_iter().fold(x, |a, b| simd.add_f32s(a, b));
            (S::F32_LANES, simd.reduce_sum_f32s(total))
        }
    }
    let mut fastest: f64 = 0.0;
    for _ in 0..5 {
        let began = Instant::now();
        let lanes: usize = rayon::broadcast(|_| {
            let (lanes, total) = pulp::Arch::new().dispatch(Fma(black_box(0.5)));
            black_box(total);
            lanes
        })
        .iter()
        .sum();
        fastest = fastest.max(2.0 * (lanes * SUMS * TIMES) as f64 / began.elapsed().as_secs_f64());
    }
    fastest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_the_peak_which_bounds_the_work_more() {
        let peak = Peak { flops: 100.0, bytes: 10.0 };
        assert_eq!((peak.share(50, 1, 1.0), peak.share(10, 5, 2.0)), (0.5, 0.25));
    }
}
