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
        let array = dataset.read_array::<f32>().map_err(told)?;
        Ok(Stored { dims: array.shape().to_vec(), data: array.iter().copied().collect() })
    }

    pub fn has(&self, path: &str) -> bool {
        self.file.dataset(path).is_ok()
    }
}
