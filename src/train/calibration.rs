//! The running statistics that go with averaged weights. Those that training keeps belong to the weights as they are at
//! each step. A network with averaged weights needs others, which are computed in passes of its own over some batches.

use super::TrainError;
use super::learner::Learner;
use crate::device::{Device, DeviceError, PlanId};
use crate::graph::{BufferId, Graph, Store, Value};
use crate::models::Forward;
use crate::ops::updates::Tick;
use crate::plan::Plan;
use crate::tensor::Tensor;

/// Images that the statistics are computed from, or all of a smaller set. Passing over them takes as long as training
/// on a third as many.
const IMAGES: usize = 4096;

/// The plan of such a pass.
pub struct Calibration {
    plan: Plan,
    clock: BufferId,
    running: BufferId,
    words: usize,
    passes: usize,
    ready: Option<PlanId>,
}

impl Calibration {
    /// `pass` adds the forward pass of training, with the weights of [`Learner::inference_parameters`], on the batch
    /// that the clock selects from a set of `images` images. The clock advances by `ticks` from one pass to the next.
    /// `None` where there are no averaged weights, or no statistics.
    ///
    /// # Errors
    /// Those of `pass`.
    pub fn declare(
        store: &mut Store,
        learner: &Learner,
        [images, batch]: [usize; 2],
        ticks: usize,
        pass: impl FnOnce(&mut Graph, Value) -> Result<Forward, TrainError>,
    ) -> Result<Option<Calibration>, TrainError> {
        let Some(running) = learner.calibrated() else { return Ok(None) };
        let passes = images.min(IMAGES).div_ceil(batch);
        let clock = store.place(format!("{}.calibration", learner.parameters.name), Tensor::u32([2]));
        let mut graph = Graph::new();
        let now = graph.read(&clock);
        let mut forward = pass(&mut graph, now)?;
        for update in &mut forward.running {
            (update.place.buffer, update.momentum) = (running, 1.0 - share(passes));
        }
        forward.update_running(&mut graph)?;
        graph.update(Tick(ticks as u32), &[], vec![clock.clone()])?;
        let words = learner.parameters.total_running();
        Ok(Some(Calibration { plan: Plan::new(&graph), clock: clock.buffer, running, words, passes, ready: None }))
    }

    /// Prepares the pass. Call it once, after the store was allocated.
    ///
    /// # Errors
    /// Those of the device.
    pub fn prepare(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.ready = Some(device.prepare(&self.plan)?);
        Ok(())
    }

    /// How many passes the statistics are computed from.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Computes the statistics anew, starting at `clock`, a tick and a seed. The same weights and clock give the same
    /// statistics. `run` runs the pass as often as it is told.
    ///
    /// # Errors
    /// Those of the device, which refuses before anything is written if its buffers are no longer those that the pass
    /// was prepared for, and of `run`.
    pub fn take(
        &self,
        device: &mut dyn Device,
        clock: [u32; 2],
        run: impl FnOnce(&mut dyn Device, PlanId, usize) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Some(ready) = self.ready else { return Ok(()) };
        device.run(&[ready], 0)?;
        device.write(self.clock, 0, &clock)?;
        device.write_f32(self.running, 0, &vec![0.0; self.words])?;
        run(device, ready, self.passes)?;
        // The statistics started at zero, which still has its share in them.
        let taken = 1.0 - f64::from(1.0 - share(self.passes)).powi(self.passes as i32);
        let mut running = device.read_f32(self.running, 0, self.words)?;
        running.iter_mut().for_each(|x| *x = (f64::from(*x) / taken) as f32);
        device.write_f32(self.running, 0, &running)
    }
}

/// The weight of the newest of so many passes in the statistics; the first has a third of that.
fn share(passes: usize) -> f32 {
    1.0 / passes as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::models::{Architecture, Mode, ScheduleName};
    use crate::ops::optimizer::Optimizer;
    use crate::train::learner::Method;
    use crate::train::schedule::Schedule;

    const BATCH: usize = 64;

    /// A learner for batches of images of two pixels, where these are stored, and its calibration.
    struct Calibrated {
        store: Store,
        learner: Learner,
        images: BufferId,
        calibration: Calibration,
    }

    fn declared(average: f32) -> Option<Calibrated> {
        const NORMALISED: &str = r#"layers = ["flatten", { batch_norm = true }, { dense = "classes" }]"#;
        let mut store = Store::default();
        let architecture = Architecture::parse(NORMALISED, "normalised.toml").unwrap();
        let (network, parameters) = architecture.declare([1, 1, 2], 2, &mut store, "classifier").unwrap();
        let schedule = Schedule { name: ScheduleName::Constant, peak: 0.1, steps: 1, warmup: 0 };
        let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let method = Method { optimizer, schedule, weight_decay: 0.0, average, loss_scale: 1.0 };
        let learner = Learner::declare(&mut store, parameters, method);
        let images = store.place("images", Tensor::f32([BATCH, 1, 1, 2]));
        let calibration = Calibration::declare(&mut store, &learner, [usize::MAX, BATCH], 1, |graph, now| {
            let x = graph.read(&images);
            let mode = Mode::Train { clock: now, pass: 0, passes: 1 };
            Ok(network.forward(graph, &learner.inference_parameters(), x, mode)?)
        });
        let calibration = calibration.unwrap()?;
        Some(Calibrated { store, learner, images: images.buffer, calibration })
    }

    /// The statistics where every batch is the same 64 images.
    fn taken(average: f32) -> Option<Vec<f32>> {
        let Calibrated { store, learner, images, mut calibration } = declared(average)?;
        assert_eq!(calibration.passes(), IMAGES / BATCH);

        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        learner.load(device, &learner.initial(1)).unwrap();
        let pixels: Vec<f32> = (0..BATCH).map(|i| i as f32).flat_map(|i| [i, 5.0 - 2.0 * i]).collect();
        device.write_f32(images, 0, &pixels).unwrap();
        calibration.prepare(device).unwrap();
        let mut take = || {
            calibration.take(device, [0, 1], |device, pass, times| device.run(&[pass], times)).unwrap();
            learner.inference(device).unwrap().running
        };
        let first = take();
        assert_eq!(first, take(), "what was there before has no say");
        // The statistics of training are left alone.
        let saved = learner.save(device).unwrap();
        assert_eq!(saved.values.running, learner.parameters.initial(1).running);
        Some(first)
    }

    #[test]
    fn statistics_that_all_batches_agree_on_are_found_without_a_trace_of_the_start() {
        let found = taken(0.9).unwrap();
        // Means, and variances: (64^2 - 1) / 12 of the numbers 0 to 63.
        let wanted = [31.5, -58.0, 341.25, 1365.0];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found / wanted - 1.0).abs() < 1e-5, "{found} instead of {wanted}");
        }
    }

    #[test]
    fn statistics_in_buffers_that_were_made_anew_since_are_refused_and_nothing_is_written_there() {
        let Calibrated { store, mut calibration, .. } = declared(0.9).unwrap();
        let device: &mut dyn Device = &mut Cpu::new();
        device.allocate(&store).unwrap();
        calibration.prepare(device).unwrap();
        device.allocate(&store).unwrap();
        let taken = calibration.take(device, [5, 1], |device, pass, times| device.run(&[pass], times));
        assert!(matches!(taken, Err(DeviceError::Stale { .. })), "{taken:?}");
        let mut clock = [7; 2];
        device.read(calibration.clock, 0, &mut clock).unwrap();
        assert_eq!(clock, [0; 2]);
    }

    #[test]
    fn nothing_is_taken_where_weights_are_not_averaged() {
        assert!(taken(0.0).is_none());
    }
}
