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

    /// Makes it ready, unless it already is.
    pub fn ready(&mut self, device: &mut dyn Device) -> Result<PlanId, DeviceError> {
        match self.ready {
            Some(plan) => Ok(plan),
            None => self.prepare(device),
        }
    }
}
