//! How long each dispatch takes, by the GPU's own clock.

use std::time::Duration;

use wgpu::{BufferUsages, ComputePassTimestampWrites, QueryType};

use super::Gpu;
use crate::device::DeviceError;

/// Dispatches timed in one submission: two queries each, and WebGPU allows 4,096 in a set.
const TIMED: usize = 512;

impl Gpu {
    /// Each dispatch is in its own pass, between two timestamps, so that none overlaps with the next. Submissions are
    /// as short as for a plan that nothing is known about yet: what is timed may be far slower than what was run.
    pub(super) fn time_dispatches(&mut self, plan: usize, times: usize) -> Result<Vec<Duration>, DeviceError> {
        if !self.info.timestamps {
            return Err(self.health.failed("has no clock that shaders' times can be read from"));
        }
        self.bind_again(plan)?;
        let queries = self.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("dispatches"),
            ty: QueryType::Timestamp,
            count: 2 * TIMED as u32,
        });
        let bytes = 2 * 8 * TIMED as u64;
        let resolved = self.health.scoped(&self.device, "timestamps", bytes, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: bytes,
                usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        })?;
        let nanoseconds = f64::from(self.queue.get_timestamp_period());
        let mut shortest = vec![Duration::MAX; self.plans[plan].dispatches()];
        for _ in 0..times {
            let mut first = 0;
            while first < shortest.len() {
                let many = self.plans[plan].fitting(first).min(TIMED);
                let shortest = &mut shortest[first..first + many];
                let mut encoder = self.device.create_command_encoder(&Default::default());
                for i in 0..shortest.len() {
                    let writes = ComputePassTimestampWrites {
                        query_set: &queries,
                        beginning_of_pass_write_index: Some(2 * i as u32),
                        end_of_pass_write_index: Some(2 * i as u32 + 1),
                    };
                    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
                    let mut pass = encoder.begin_compute_pass(&descriptor);
                    self.plans[plan].record(&self.pipelines, first + i, &mut pass);
                }
                encoder.resolve_query_set(&queries, 0..2 * shortest.len() as u32, &resolved, 0);
                self.submit(encoder.finish())?;
                let mut words = vec![0u32; 4 * shortest.len()];
                self.download(&resolved, 0, &mut words)?;
                let stamps = words.chunks_exact(4).map(|w| {
                    let stamp = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
                    ticks(stamp(w[0], w[1]), stamp(w[2], w[3]))
                });
                for (shortest, ticks) in shortest.iter_mut().zip(stamps) {
                    let Some(ticks) = ticks else { continue };
                    *shortest = Duration::from_nanos((ticks as f64 * nanoseconds) as u64).min(*shortest);
                }
                first += many;
            }
        }
        if shortest.contains(&Duration::MAX) {
            return Err(self.health.failed("its clock stood still while shaders ran"));
        }
        Ok(shortest)
    }
}

/// The ticks from one time to another, if both are times: clocks of few bits wrap round, and what no clock has written
/// is 0 or, on Metal, all ones. At least one: a dispatch that took no time would beat whatever is tried beside it.
fn ticks(begin: u64, end: u64) -> Option<u64> {
    (0 < begin && begin <= end && end < u64::MAX).then(|| (end - begin).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_has_begun_again_or_was_not_written_tells_no_time() {
        let found =
            [(5, 9), (5, 5), (9, 5), (0, 0), (u64::MAX, 7), (7, u64::MAX)].map(|(begin, end)| ticks(begin, end));
        assert_eq!(found, [Some(4), Some(1), None, None, None, None]);
    }
}
