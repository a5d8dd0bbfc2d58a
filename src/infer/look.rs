use super::InferError;
use crate::device::Device;
use crate::models::ModelFile;
use std::path::Path;
pub const FIELD: usize = 448;
#[derive(Clone)]
pub struct Layer {
    pub name: String,
}
#[derive(Default)]
pub struct Pass {
    pub picture: Vec<f32>,
    pub probabilities: Vec<f32>,
    pub seconds: f64,
}
#[derive(Clone, Copy, PartialEq, Default)]
pub struct Wanted {
    pub activations: bool,
    pub saliency: Option<usize>,
}
pub struct Look;
impl Look {
    pub fn open(_d: Box<dyn Device>, _f: &ModelFile, _p: &Path) -> Result<Look, InferError> {
        todo!()
    }
    pub fn device_name(&self) -> String {
        todo!()
    }
    pub fn input(&self) -> [usize; 3] {
        todo!()
    }
    pub fn class_names(&self) -> &[String] {
        todo!()
    }
    pub fn layers(&self) -> &[Layer] {
        todo!()
    }
    pub fn field(&mut self, _f: &[u8], _w: Wanted) -> Result<Pass, InferError> {
        todo!()
    }
    pub fn picture(&mut self, _f: &[u8], _w: Wanted) -> Result<Pass, InferError> {
        todo!()
    }
}
