//! Model files: weights and everything that inference needs to know, as safetensors that no reader has to trust.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Model;
use super::build::{Network, RUNNING};
use super::container::{self, Metadata, SavedTensor, Words};
use super::error::ModelError;
use super::gan::Gan;
use super::layer::by;
use super::normalization::Normalization;
use super::parameters::{Parameter, Parameters, Values};
use super::spec::{Architecture, MAX_TEXT};
use crate::data::{MAX_CHANNELS, Pictures};
use crate::files::{WriteError, write_whole};
use crate::graph::Store;
use crate::tensor::Shape;
use crate::words::shell;

/// A larger file is not read. It has room for four values for each of the most parameters there may be, and some more.
const MAX_FILE: u64 = 5 << 30;

/// What a model file holds, and what it is called. Equal contents give equal bytes; files are equal if their contents are.
#[derive(Clone, Debug, Default)]
pub struct ModelFile {
    /// What messages call it: the path that it was read from, a shipped model's name, or the name of the network that it
    /// is made of.
    pub name: PathBuf,
    /// Texts by name: `architecture`, `version`, `input`, `classes`, `class_names`, and whatever else a writer adds.
    pub metadata: Metadata,
    pub tensors: Vec<SavedTensor>,
}

const ARCHITECTURE: &str = "architecture";
const INPUT: &str = "input";
const IMAGE: &str = "image";
const CLASSES: &str = "classes";
const CLASS_NAMES: &str = "class_names";
const VERSION: &str = "version";
/// Metadata: what identifies the images it was trained on.
pub const DATA_DIGEST: &str = "data_digest";

impl PartialEq for ModelFile {
    fn eq(&self, other: &ModelFile) -> bool {
        (&self.metadata, &self.tensors) == (&other.metadata, &other.tensors)
    }
}

impl ModelFile {
    /// A file of a network's weights and running statistics. To be a classifier that the program opens, it must also say
    /// how pixels become numbers ([`Normalization::store`](super::Normalization::store)); where it does not name the
    /// classes ([`ModelFile::set_class_names`]), they are called by their numbers.
    ///
    /// # Panics
    /// If values are shorter than their buffer, like indexing a slice.
    pub fn new(network: &Network, parameters: &Parameters, values: &Values) -> ModelFile {
        let mut file = ModelFile { name: (&network.architecture.name).into(), ..ModelFile::default() };
        file.set(VERSION, env!("CARGO_PKG_VERSION"));
        file.set(ARCHITECTURE, network.architecture.text());
        file.set(INPUT, by(&network.input));
        if let Some(classes) = network.classes {
            file.set(CLASSES, classes);
        }
        file.add_values("", parameters, values);
        file
    }

    /// A file for a GAN's generator, whose pictures have the size `image`; it has no tensors yet.
    pub fn of_gan(gan: &Gan, image: [usize; 3], class_names: &[String]) -> ModelFile {
        let mut file = ModelFile { name: (&gan.name).into(), ..ModelFile::default() };
        file.set(VERSION, env!("CARGO_PKG_VERSION"));
        file.set(ARCHITECTURE, gan.text());
        file.set(IMAGE, by(&image));
        file.set(CLASSES, class_names.len());
        file.set_class_names(class_names);
        file
    }

    /// Adds weights and running statistics, as tensors named `prefix` followed by their parameter's name.
    ///
    /// # Panics
    /// If values are shorter than their buffer, like indexing a slice.
    pub fn add_values(&mut self, prefix: &str, parameters: &Parameters, values: &Values) {
        self.add_flat(prefix, parameters.trainable(), &values.weights);
        self.add_flat(prefix, parameters.statistics(), &values.running);
    }

    /// Adds the tensors of a flat buffer, each named `prefix` followed by its parameter's name: `average/conv1.weight`.
    ///
    /// # Panics
    /// If `flat` is shorter than the buffer, like indexing a slice.
    pub(crate) fn add_flat(&mut self, prefix: &str, parameters: &[Parameter], flat: &[f32]) {
        for p in parameters {
            let words = Words::F32(flat[p.offset..][..p.shape.len()].to_vec());
            self.tensors.push(SavedTensor { name: format!("{prefix}{}", p.name), shape: p.shape.clone(), words });
        }
    }

    /// Adds a tensor of whole numbers: a step, a seed.
    pub fn add_u32(&mut self, name: &str, data: &[u32]) {
        let (shape, words) = (Shape::new([data.len()]), Words::U32(data.to_vec()));
        self.tensors.push(SavedTensor { name: name.into(), shape, words });
    }

    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.metadata.insert(key.into(), value.to_string());
    }

    /// Stores the names of the classes, in label order.
    pub fn set_class_names(&mut self, names: &[String]) {
        self.set(CLASS_NAMES, serde_json::Value::from(names));
    }

    /// Stores how the images of its data came about, if the data says so.
    pub fn set_pictures(&mut self, pictures: Option<Pictures>) {
        if let Some(pictures) = pictures {
            self.set(Pictures::KEY, pictures);
        }
    }

    /// What [`ModelFile::set_pictures`] has stored. An unknown word counts as nothing stored.
    pub fn pictures(&self) -> Option<Pictures> {
        self.metadata.get(Pictures::KEY)?.parse().ok()
    }

    /// The file's bytes; `path` is where they go.
    ///
    /// # Errors
    /// [`ModelError::File`], naming `path`, if two tensors share a name or one does not fill its shape.
    pub fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, ModelError> {
        container::encode(&self.metadata, &self.tensors).map_err(|problem| refuse(path, problem))
    }

    /// Writes under a temporary name in the same folder, syncs, renames: readers see the old file or the whole
    /// new one.
    ///
    /// # Errors
    /// Those of [`ModelFile::to_bytes`], and [`ModelError::Write`] where the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let bytes = self.to_bytes(path)?;
        Ok(write_whole(path, &bytes).map_err(WriteError::of(path))?)
    }

    /// Reads a model file and checks its form; [`ModelFile::network`] and [`ModelFile::values`] interpret its contents.
    ///
    /// # Errors
    /// [`ModelError::Read`] where the system refuses, [`ModelError::File`] for anything but a safetensors file of
    /// ours: cut off, another format, other types than F32 and U32, no architecture, too large.
    pub fn load(path: impl AsRef<Path>) -> Result<ModelFile, ModelError> {
        let path = path.as_ref();
        let failed = |reason| ModelError::Read { path: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(refuse(path, format!("larger than {MAX_FILE} bytes, the most a model may have")));
        }
        ModelFile::from_bytes(&bytes, path)
    }

    /// Whether a file claims to hold a generator. This reads only its first bytes, and does not promise that the rest
    /// is intact.
    pub fn promises_gan(file: impl std::io::Read) -> bool {
        container::peek(file).is_some_and(|metadata| ModelFile { metadata, ..ModelFile::default() }.is_gan())
    }

    /// [`ModelFile::load`] for bytes in memory, which are called `path`.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<ModelFile, ModelError> {
        let (metadata, tensors) = container::decode(bytes).map_err(|problem| {
            if is_foreign(bytes, path) {
                let remedy = "use `inkgrad import` first, and then the file that it writes";
                return refuse(path, format!("looks like a model of ONNX or Keras; {remedy}"));
            }
            if is_architecture(bytes, path) {
                let remedy = format!("`inkgrad train {}` makes a model of it", shell(&path.to_string_lossy()));
                return refuse(path, format!("is an architecture, which has no weights yet; {remedy}"));
            }
            refuse(
                path,
                format!("{problem}. Expected a model.safetensors that `train` has written; train or copy it again"),
            )
        })?;
        let file = ModelFile { name: path.to_owned(), metadata, tensors };
        if !file.metadata.contains_key(ARCHITECTURE) {
            let own = shell(&path.to_string_lossy());
            let remedy = format!("`inkgrad import {own} NEW.safetensors --architecture NET.toml`");
            return Err(file.refuse(format!("{}. To make a model of bare tensors: {remedy}", file.lacks(ARCHITECTURE))));
        }
        Ok(file)
    }

    /// The error that something is wrong with this file.
    pub(crate) fn refuse(&self, problem: impl Into<String>) -> ModelError {
        refuse(&self.name, problem)
    }

    /// A text from the metadata.
    pub fn get(&self, key: &str) -> Result<&str, ModelError> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| self.refuse(self.lacks(key)))
    }

    /// The message that the metadata has no such text.
    fn lacks(&self, key: &str) -> String {
        let found: Vec<&str> = self.metadata.keys().map(String::as_str).collect();
        let found = if found.is_empty() { "none".into() } else { found.join(", ") };
        format!("its metadata has no {key:?} (it has: {found}). Models that `train` writes have it")
    }

    /// A number from the metadata.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<T, ModelError> {
        let text = self.get(key)?;
        text.parse().map_err(|_| self.refuse(format!("its metadata's {key:?} should be a number, not {text:?}")))
    }

    /// The names of the classes, in label order; their numbers if the file has no names.
    pub fn class_names(&self) -> Result<Vec<String>, ModelError> {
        let classes: usize = self.number(CLASSES)?;
        if classes > crate::data::MAX_CLASSES {
            return Err(self.refuse(format!("{classes} classes are more than {}", crate::data::MAX_CLASSES)));
        }
        let Some(text) = self.metadata.get(CLASS_NAMES) else {
            return Ok((0..classes).map(|i| i.to_string()).collect());
        };
        let names: Option<Vec<String>> = serde_json::from_str(text).ok();
        names.filter(|names| names.len() == classes).ok_or_else(|| {
            self.refuse(format!("its metadata's {CLASS_NAMES:?} should be a JSON list of {classes} names"))
        })
    }

    /// The classifier's architecture.
    ///
    /// # Errors
    /// A file that holds a generator, and a text that [`Architecture::parse`] refuses.
    pub fn architecture(&self) -> Result<Architecture, ModelError> {
        let text = self.get(ARCHITECTURE)?;
        if Gan::is_meant(text) {
            let remedy = "`inkgrad generate --model` draws with it, `inkgrad evaluate` measures it";
            return Err(self.refuse(format!("holds a generator and no classifier; {remedy}")));
        }
        // A run's files are called the same whatever network they hold.
        let name = self.setting("model").unwrap_or_else(|| self.name.to_string_lossy().into_owned());
        Architecture::parse_named(text, &format!("{} (its architecture)", self.name.display()), &name)
    }

    /// The network that the file describes, declared in `store` under `name`.
    pub fn network(&self, store: &mut Store, name: &str) -> Result<(Network, Parameters), ModelError> {
        let architecture = self.architecture()?;
        let input = self.sizes(INPUT)?;
        let classes = if self.metadata.contains_key(CLASSES) { Some(self.number(CLASSES)?) } else { None };
        architecture.declare(input, classes, store, name)
    }

    /// The GAN whose generator the file holds.
    pub fn gan(&self) -> Result<Gan, ModelError> {
        let text = self.get(ARCHITECTURE)?;
        if !Gan::is_meant(text) {
            let remedy = "`inkgrad train gan` makes one";
            return Err(self.refuse(format!("holds a classifier, where a generator is asked for; {remedy}")));
        }
        Gan::parse(text, &format!("{} (its architecture)", self.name.display()))
    }

    /// Height, width and channels of the pictures that a generator draws.
    pub fn image(&self) -> Result<[usize; 3], ModelError> {
        self.sizes(IMAGE)
    }

    /// Height, width and channels of the images that a classifier takes.
    pub fn input(&self) -> Result<[usize; 3], ModelError> {
        self.sizes(INPUT)
    }

    /// Whether it holds a generator.
    pub fn is_gan(&self) -> bool {
        self.metadata.get(ARCHITECTURE).is_some_and(|text| Gan::is_meant(text))
    }

    /// Whether it was trained on images that were not prepared: pictures merely brought to their size, or images that
    /// do not look like prepared pictures. Images that it is to classify are then not prepared either.
    pub fn takes_pictures_as_they_are(&self) -> bool {
        matches!(self.pictures(), Some(Pictures::Fitted | Pictures::Raw))
    }

    /// Whether it has learned from pictures that are light, as ink on paper is, and gets others as they are.
    pub fn knows_light_pictures(&self) -> bool {
        let is_light = |normalization: Normalization| normalization.is_of_light_pictures();
        self.takes_pictures_as_they_are() && Normalization::read(self).is_ok_and(is_light)
    }

    fn sizes(&self, key: &str) -> Result<[usize; 3], ModelError> {
        let text = self.get(key)?;
        let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
        let sizes: [usize; 3] = sizes
            .and_then(|sizes| sizes.try_into().ok())
            .ok_or_else(|| self.refuse(format!("its metadata's {key:?} should be like 28x28x1, not {text:?}")))?;
        if sizes[2] > MAX_CHANNELS {
            let problem = format!("has images of {} channels; pictures have 1 to {MAX_CHANNELS}", sizes[2]);
            return Err(self.refuse(problem));
        }
        Ok(sizes)
    }

    /// The weights and running statistics of `parameters`: the inverse of [`ModelFile::add_values`]. Every tensor of these
    /// must be there, finite and of the right shape. Tensors that no parameter asks for are left to other readers.
    pub fn values(&self, prefix: &str, parameters: &Parameters) -> Result<Values, ModelError> {
        let weights = self.flat(prefix, parameters.trainable(), parameters.total())?;
        Ok(Values { weights, running: self.flat(prefix, parameters.statistics(), parameters.total_running())? })
    }

    /// The tensors of one flat buffer of `total` words: the inverse of [`ModelFile::add_flat`].
    pub(crate) fn flat(&self, prefix: &str, parameters: &[Parameter], total: usize) -> Result<Vec<f32>, ModelError> {
        let mut flat = vec![0.0; total];
        for p in parameters {
            let name = format!("{prefix}{}", p.name);
            let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else {
                return Err(
                    self.refuse(format!("tensor {name:?} {} is missing; its architecture asks for it", p.shape))
                );
            };
            let data = match &tensor.words {
                Words::F32(data) if tensor.shape == p.shape => data,
                Words::F32(_) => {
                    let problem = format!("tensor {name:?} is {}, its architecture asks for {}", tensor.shape, p.shape);
                    return Err(self.refuse(problem));
                }
                Words::U32(_) => return Err(self.refuse(format!("tensor {name:?} has type U32, expected F32"))),
            };
            let wrong = data.iter().filter(|x| !x.is_finite()).count();
            if wrong > 0 {
                let problem = format!("{wrong} of the {} values of tensor {name:?} are NaN or infinite", data.len());
                let remedy =
                    "The run that wrote it went wrong; take an earlier checkpoint, or train with a lower learning rate";
                return Err(self.refuse(format!("{problem}. {remedy}")));
            }
            // The two rows are batch normalisation's mean and variance.
            if p.name.ends_with(RUNNING) && data[data.len() / 2..].iter().any(|x| *x < 0.0) {
                return Err(self.refuse(format!("tensor {name:?} has a negative variance")));
            }
            flat[p.offset..][..data.len()].copy_from_slice(data);
        }
        Ok(flat)
    }

    /// A tensor of whole numbers.
    pub fn u32s(&self, name: &str) -> Result<&[u32], ModelError> {
        match self.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| &tensor.words) {
            Some(Words::U32(data)) => Ok(data),
            Some(Words::F32(_)) => Err(self.refuse(format!("tensor {name:?} has type F32, expected U32"))),
            None => Err(self.refuse(format!("tensor {name:?} is missing"))),
        }
    }
}

/// Whether bytes that are not a model are the text of an architecture, or have a name like one.
fn is_architecture(bytes: &[u8], path: &Path) -> bool {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT && text.contains("layers"));
    let is_called = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    text.is_some_and(|text| is_called || Model::parse(text, "").is_ok())
}

/// File name extensions of other programs' models, which `inkgrad import` converts.
const FOREIGN: [&str; 4] = ["onnx", "h5", "hdf5", "keras"];

/// Whether a file has the name of another program's model.
pub fn is_foreign_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| FOREIGN.iter().any(|foreign| ending.eq_ignore_ascii_case(foreign)))
}

/// Whether a file has such a name, or first bytes like HDF5, a zip archive, or ONNX (its version and its producer's
/// name).
fn is_foreign(bytes: &[u8], path: &Path) -> bool {
    let is_onnx = matches!(bytes, [0x08, 1..=0x7f, 0x12, 1..=0x7f, ..]);
    is_onnx || bytes.starts_with(b"\x89HDF\r\n\x1a\n") || bytes.starts_with(b"PK\x03\x04") || is_foreign_name(path)
}

pub(super) fn refuse(path: &Path, problem: impl Into<String>) -> ModelError {
    ModelError::File { path: path.to_owned(), problem: problem.into() }
}
