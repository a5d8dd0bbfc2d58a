//! How fast a device is at what training needs, and how much it holds. Takes a second or two.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Finding;
use crate::device::{Device, DeviceError};
use crate::graph::{Graph, Store};
use crate::ops::conv2d::Conv2d;
use crate::ops::elementwise::Scale;
use crate::ops::matmul::{Layout, MatMul};
use crate::ops::{Epilogue, Op};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// What was measured; each value is the best within the time given for it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Speed {
    /// A matrix product of 1024 x 1024 x 1024, in 1e9 operations a second, a multiply-add counted as two.
    pub matmul: f64,
    /// A 3 x 3 convolution from 32 channels to 64, of 64 images of 28 x 28; in the same unit.
    pub conv2d: f64,
    /// A pass over 64 MiB, read and written, in 1e9 bytes a second.
    pub memory: f64,
    /// Seconds from submitting one small dispatch to knowing that it is done.
    pub submission: f64,
    /// Seconds that each of a thousand small dispatches takes.
    pub dispatch: f64,
}

/// Measures for about `seconds` for each of the five.
///
/// # Errors
/// Those of the device.
pub fn measure(device: &mut dyn Device, seconds: f64) -> Result<Speed, Finding> {
    let epilogue = Epilogue::NONE;
    let square = Tensor::f32([1024, 1024]);
    let product = Arc::new(MatMul { epilogue, ..MatMul::new(Layout::NN) });
    let matmul = throughput(device, product, &[square.clone(), square], seconds)?;
    let conv2d = convolution(device, seconds)?;
    let pass = |len: usize| -> (Arc<dyn Op>, [Tensor; 1]) {
        (Arc::new(Scale { factor: 0.5, offset: 1.0 }), [Tensor::f32([len])])
    };
    let (op, inputs) = pass(16 << 20);
    let memory = throughput(device, op, &inputs, seconds)?;
    let (op, inputs) = pass(64);
    let small = Work::prepare(device, op, &inputs)?;
    let submission = small.best(device, 1, seconds)?;
    let dispatch = small.best(device, 1000, seconds)? / 1000.0;
    Ok(Speed { matmul: matmul.flops, conv2d, memory: memory.bytes, submission, dispatch })
}

/// [`Speed::conv2d`] alone. What the device held is lost.
///
/// # Errors
/// Those of the device.
pub fn convolution(device: &mut dyn Device, seconds: f64) -> Result<f64, Finding> {
    let epilogue = Epilogue::NONE;
    let conv = Conv2d { stride: 1, pad_top: 1, pad_left: 1, out: [28; 2], transposed: false, epilogue };
    let inputs = [Tensor::f32([64, 28, 28, 32]), Tensor::f32([3, 3, 32, 64])];
    Ok(throughput(device, Arc::new(conv), &inputs, seconds)?.flops)
}

/// In 1e9 a second.
struct Throughput {
    flops: f64,
    bytes: f64,
}

fn throughput(
    device: &mut dyn Device,
    op: Arc<dyn Op>,
    inputs: &[Tensor],
    seconds: f64,
) -> Result<Throughput, Finding> {
    let work = Work::prepare(device, op, inputs)?;
    // As often as fills a tenth of the time: the wait at the end is then a negligible part of it.
    let once = work.best(device, 1, 0.0)?;
    let times = ((seconds / 10.0 / once) as usize).clamp(1, 10_000);
    let each = work.best(device, times, seconds)? / times as f64;
    Ok(Throughput { flops: work.plan.flops() as f64 / each / 1e9, bytes: work.plan.bytes() as f64 / each / 1e9 })
}

/// One op, ready to be run again and again.
struct Work {
    plan: Plan,
    ready: crate::device::PlanId,
}

impl Work {
    fn prepare(device: &mut dyn Device, op: Arc<dyn Op>, inputs: &[Tensor]) -> Result<Work, Finding> {
        let (mut store, mut graph) = (Store::default(), Graph::new());
        let mut stored = |tensor: Tensor| store.place("measured", tensor);
        let values: Vec<_> = inputs.iter().map(|tensor| graph.read(&stored(tensor.clone()))).collect();
        let out = graph.apply_arc(op, &values)?;
        let place = stored(graph.tensor(out).clone());
        graph.assign(out, place)?;
        device.allocate(&store)?;
        let plan = Plan::new(&graph);
        let ready = device.prepare(&plan)?;
        // What a driver does at first use does not count.
        device.run(&[ready], 1)?;
        device.wait()?;
        Ok(Work { plan, ready })
    }

    /// The shortest time that running it `times` times took, of tries over `seconds`.
    fn best(&self, device: &mut dyn Device, times: usize, seconds: f64) -> Result<f64, Finding> {
        let (began, mut best) = (Instant::now(), Duration::MAX);
        while best == Duration::MAX || began.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            device.run(&[self.ready], times)?;
            device.wait()?;
            best = best.min(start.elapsed());
        }
        Ok(best.as_secs_f64().max(1e-9))
    }
}

/// Bytes in a piece of [`capacity`].
const PIECE: u64 = 256 << 20;

/// How many bytes of at most `most` a device gives at once, in buffers of 256 MiB that are written to and read; and its
/// error for the first amount that it refused.
pub fn capacity(device: &mut dyn Device, most: u64) -> (u64, Option<DeviceError>) {
    let (mut given, mut pieces) = (0, 1);
    while pieces * PIECE <= most {
        if let Err(error) = hold(device, pieces as usize) {
            let _ = device.allocate(&Store::default());
            return (given, Some(error));
        }
        given = pieces * PIECE;
        pieces *= 2;
    }
    let _ = device.allocate(&Store::default());
    (given, None)
}

fn hold(device: &mut dyn Device, pieces: usize) -> Result<(), DeviceError> {
    let (mut store, words) = (Store::default(), (PIECE / 4) as usize);
    let buffers: Vec<_> = (0..pieces).map(|_| store.add("a trial of the memory", words)).collect();
    device.allocate(&store)?;
    for (i, buffer) in buffers.iter().enumerate() {
        device.write(*buffer, words - 1, &[i as u32 + 1])?;
    }
    for (i, buffer) in buffers.iter().enumerate() {
        let mut word = [0];
        device.read(*buffer, words - 1, &mut word)?;
        if word != [i as u32 + 1] {
            let reason = format!("a buffer of {PIECE} bytes did not keep what was written to it");
            return Err(DeviceError::Failed { device: device.name(), reason });
        }
    }
    Ok(())
}
