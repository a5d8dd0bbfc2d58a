//! What Keras keeps in HDF5: texts and lists of texts in attributes, tensors in data sets.

use hdf5_reader::group::Group;
use hdf5_reader::{Datatype, Hdf5File, OpenOptions, StringSize, error};

use crate::models::MAX_SIZE;

/// The most bytes that all texts in a group's attributes may have together.
const MAX_TEXTS: u64 = 64 << 20;

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
        let found = bytes.len() as u64;
        let file = Hdf5File::from_vec_with_options(bytes, options).map_err(|problem| match problem {
            error::Error::UnexpectedEof { .. } => {
                format!("is cut short: it ends after {found} bytes, in the middle of its header. Copy or save it again")
            }
            problem => format!("cannot be read as HDF5: {problem}. Copy or save it again"),
        })?;
        // Otherwise what is missing would look as if it had never been there.
        let whole = file.superblock().eof_address;
        if whole > found {
            return Err(format!("is cut short: only {found} of its {whole} bytes are there. Copy or save it again"));
        }
        Ok(Hdf5 { file })
    }

    /// A text in an attribute of a group; the root's path is empty.
    pub fn text(&self, group: &str, name: &str) -> Option<String> {
        self.group(group)?.attribute(name).ok()?.read_string().ok()
    }

    /// A list of texts in an attribute, which Keras splits into `name0`, `name1` and so on if it is long.
    pub fn texts(&self, group: &str, name: &str) -> Option<Vec<String>> {
        let attributes = self.group(group)?.attributes().ok()?;
        let one = |name: &str| attributes.iter().find(|attribute| attribute.name == name)?.read_strings().ok();
        one(name).or_else(|| {
            let parts: Vec<Vec<String>> = (0..attributes.len()).map_while(|i| one(&format!("{name}{i}"))).collect();
            (!parts.is_empty()).then(|| parts.concat())
        })
    }

    /// A group whose attributes can be read without harm.
    fn group(&self, path: &str) -> Option<Group> {
        let group = if path.is_empty() { self.file.root_group().ok()? } else { self.file.group(path).ok()? };
        // A text is stored once, and each use of it is only its length and its place: few bytes may stand for many.
        let reference = 8 + usize::from(group.offset_size());
        let mut texts = 0u64;
        for attribute in group.raw_attributes().ok()? {
            let message = attribute.message();
            if let Datatype::VarLen { .. } | Datatype::String { size: StringSize::Variable, .. } = message.datatype {
                let lengths = message.raw_data.chunks_exact(reference).filter_map(<[u8]>::first_chunk::<4>);
                texts += lengths.map(|length| u64::from(u32::from_le_bytes(*length))).sum::<u64>();
            }
        }
        (texts <= MAX_TEXTS).then_some(group)
    }

    /// # Errors
    /// If there is none at this path, or it holds anything but 32-bit floating-point numbers that fit.
    pub fn tensor(&self, path: &str) -> Result<Stored, String> {
        let told = |error: error::Error| format!("{path} cannot be read: {error}");
        let dataset = self.file.dataset(path).map_err(told)?;
        if let Some(problem) = not_float32(dataset.dtype()) {
            return Err(format!("{path} {problem}"));
        }
        let array = dataset.read_array::<f32>().map_err(told)?;
        Ok(Stored { dims: array.shape().to_vec(), data: array.iter().copied().collect() })
    }

    pub fn has(&self, path: &str) -> bool {
        self.file.dataset(path).is_ok()
    }
}

/// What is wrong with numbers of a type that Keras stores besides float32.
fn not_float32(found: &Datatype) -> Option<String> {
    let policy = "build the model with the dtype policy \"float32\", load these weights into it, and save that";
    let (name, remedy) = match found {
        Datatype::FloatingPoint { size, .. } if *size != 4 => (format!("float{}", 8 * u32::from(*size)), policy),
        // HDF5 has no name for it: Keras stores its two bytes.
        Datatype::Opaque { size: 2, .. } => ("bfloat16".to_string(), policy),
        Datatype::FixedPoint { size, signed, .. } => {
            let sign = if *signed { "" } else { "u" };
            (format!("{sign}int{}", 8 * u32::from(*size)), "save the model as it was before it was quantized")
        }
        _ => return None,
    };
    Some(format!("is {name}; expected float32: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How HDF5 describes a little-endian float32.
    const FLOAT32: [u8; 20] = [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 0x20, 0, 0x17, 0x08, 0, 0x17, 0x7f, 0, 0, 0];

    #[test]
    fn a_tensor_of_another_type_is_called_by_that_types_name() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/travel/dense-keras2.h5");
        let bytes = std::fs::read(path).unwrap();
        let tensor = "model_weights/dense/dense/bias:0";
        assert_eq!(Hdf5::open(bytes.clone()).unwrap().tensor(tensor).unwrap().dims, [24]);
        // Descriptions of as many bytes or fewer, of which the rest is not read.
        let types: [(&[u8], &str); 5] = [
            (&[0x11, 0x20, 0x0f, 0, 2, 0, 0, 0, 0, 0, 0x10, 0, 0x0a, 0x05, 0, 0x0a, 0x0f, 0, 0, 0], "float16"),
            (&[0x11, 0x20, 0x3f, 0, 8, 0, 0, 0, 0, 0, 0x40, 0, 0x34, 0x0b, 0, 0x34, 0xff, 0x03, 0, 0], "float64"),
            (&[0x15, 0, 0, 0, 2, 0, 0, 0], "bfloat16"),
            (&[0x10, 0x08, 0, 0, 1, 0, 0, 0, 0, 0, 0x08, 0], "int8"),
            (&[0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x08, 0], "uint8"),
        ];
        for (other, name) in types {
            let mut bytes = bytes.clone();
            let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&FLOAT32)).collect();
            assert!(!places.is_empty());
            places.into_iter().for_each(|at| bytes[at..][..other.len()].copy_from_slice(other));
            let error = Hdf5::open(bytes).unwrap().tensor(tensor).unwrap_err();
            let words = format!("{tensor} is {name}; expected float32: ");
            assert!(error.starts_with(&words) && error.contains("save"), "{error}");
        }
    }
}
