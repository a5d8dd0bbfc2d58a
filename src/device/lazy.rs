//! A plan that is made ready when it is first needed: compiling shaders takes a while, and many are never needed.

use super::{Device, DeviceError, PlanId};
use crate::graph::Graph;
use crate::plan::Plan;

pub struct Lazy {
    plan: Plan,
    ready: Option<PlanId>,
}

impl Lazy {
    pub fn new(graph: &Graph) -> Lazy {
        Lazy { plan: Plan::new(graph), ready: None }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes it ready now, for the buffers that the device holds.
    pub fn prepare(&mut self, device: &mut dyn Device) -> Result<PlanId, DeviceError> {
        Ok(*self.ready.insert(device.prepare(&self.plan)?))
    }

    /// Makes it ready, unless it already is. If it is ready for buffers that the device no longer holds, that is an
    /// error here already, before anything is written to whatever took their place.
    pub fn ready(&mut self, device: &mut dyn Device) -> Result<PlanId, DeviceError> {
        let Some(plan) = self.ready else { return self.prepare(device) };
        // Whether the device has the plan is all that a run of no steps finds out.
        device.run(&[plan], 0)?;
        Ok(plan)
    }
}
