//! Constants of an ONNX graph.

use super::proto::{FLOAT, INT32, INT64, TensorProto, is_float};

/// A constant tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct Constant {
    pub dims: Vec<usize>,
    pub data: Data,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Constant {
    /// # Errors
    /// A type other than float32 and int64, data in another file, or more or fewer numbers than its sizes say.
    pub fn read(tensor: &TensorProto) -> Result<Constant, String> {
        let name = &tensor.name;
        if !tensor.external_data.is_empty() {
            let remedy = "save the model with its weights inside the file";
            return Err(format!("tensor {name:?} stands in another file, which is not read; {remedy}"));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|n| usize::try_from(*n).ok()).collect();
        let dims = dims.ok_or_else(|| format!("tensor {name:?} has sizes {:?}", tensor.dims))?;
        let data = match tensor.data_type {
            FLOAT if !tensor.float_data.is_empty() => Data::Floats(tensor.float_data.clone()),
            FLOAT => Data::Floats(words(&tensor.raw_data, f32::from_le_bytes)),
            INT64 if !tensor.int64_data.is_empty() => Data::Ints(tensor.int64_data.clone()),
            INT64 => Data::Ints(words(&tensor.raw_data, i64::from_le_bytes)),
            other => return Err(format!("tensor {name:?} has ONNX's type {other}; expected float32 (1) or int64 (7)")),
        };
        let found = match &data {
            Data::Floats(data) => data.len(),
            Data::Ints(data) => data.len(),
        };
        let wanted = dims.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        if wanted != Some(found) {
            return Err(format!("tensor {name:?} has {found} numbers, its sizes are {dims:?}"));
        }
        Ok(Constant { dims, data })
    }

    pub fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(data) => Some(data),
            Data::Ints(_) => None,
        }
    }

    pub fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(data) => Some(data),
            Data::Floats(_) => None,
        }
    }

    /// The same numbers in another of ONNX's types.
    ///
    /// # Errors
    /// A type of which constants are not read.
    pub fn cast(&self, to: i32) -> Result<Constant, String> {
        let data = match &self.data {
            Data::Ints(data) if is_float(to) => Data::Floats(data.iter().map(|n| *n as f32).collect()),
            Data::Floats(data) if matches!(to, INT32 | INT64) => Data::Ints(data.iter().map(|x| *x as i64).collect()),
            same if is_float(to) || matches!(to, INT32 | INT64) => same.clone(),
            _ => return Err(format!("makes ONNX's type {to} of a constant; expected float32 (1) or int64 (7)")),
        };
        Ok(Constant { dims: self.dims.clone(), data })
    }

    /// The one number of a tensor that has one.
    pub fn scalar(&self) -> Option<f32> {
        match self.floats()? {
            [x] => Some(*x),
            _ => None,
        }
    }
}

fn words<const N: usize, T>(bytes: &[u8], word: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| word(*bytes)).collect()
}
