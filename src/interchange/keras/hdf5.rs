//! What Keras keeps in HDF5: texts and lists of texts in attributes, tensors in data sets.

use hdf5_reader::group::Group;
use hdf5_reader::{Hdf5File, OpenOptions, error};

use crate::models::MAX_SIZE;

/// A tensor as it is stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub dims: Vec<usize>,
    pub data: Vec<f32>,
}

/// An open file.
pub struct Hdf5 {
    file: Hdf5File,
}

impl Hdf5 {
    /// # Errors
    /// What is wrong with the bytes.
    pub fn open(bytes: Vec<u8>) -> Result<Hdf5, String> {
        // What one read may allocate is bounded, whatever the file's headers say.
        let options = OpenOptions { max_read_bytes: MAX_SIZE * 4, ..OpenOptions::default() };
        let file = Hdf5File::from_vec_with_options(bytes, options)
            .map_err(|error| format!("cannot be read as HDF5: {error}. Copy or save it again"))?;
        Ok(Hdf5 { file })
    }

    pub fn group(&self, path: &str) -> Option<Group> {
        if path.is_empty() { self.file.root_group().ok() } else { self.file.group(path).ok() }
    }

    /// A text that stands in an attribute.
    pub fn text(&self, group: &str, name: &str) -> Option<String> {
        self.group(group)?.attribute(name).ok()?.read_string().ok()
    }

    /// A list of texts in an attribute, which Keras splits into `name0`, `name1` and so on where it is long.
    pub fn texts(&self, group: &str, name: &str) -> Option<Vec<String>> {
        let group = self.group(group)?;
        let one = |name: &str| group.attribute(name).ok()?.read_strings().ok();
        if let Some(list) = one(name) {
            return Some(list);
        }
        let parts: Vec<Vec<String>> = (0..1_000).map_while(|i| one(&format!("{name}{i}"))).collect();
        (!parts.is_empty()).then(|| parts.concat())
    }

    /// # Errors
    /// Where there is none at this path, or it holds anything but 32-bit floating-point numbers that fit.
    pub fn tensor(&self, path: &str) -> Result<Stored, String> {
        let told = |error: error::Error| format!("{path} cannot be read: {error}");
        let dataset = self.file.dataset(path).map_err(told)?;
        let array = dataset.read_array::<f32>().map_err(told)?;
        Ok(Stored { dims: array.shape().to_vec(), data: array.iter().copied().collect() })
    }

    pub fn has(&self, path: &str) -> bool {
        self.file.dataset(path).is_ok()
    }
}
