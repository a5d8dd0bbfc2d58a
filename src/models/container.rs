//! The safetensors format, written so that equal contents give equal bytes, read so that no file can do harm.
//!
//! A file holds eight bytes of length, a JSON header and the tensors' bytes
//! (<https://github.com/huggingface/safetensors>). The crate of that name keeps the metadata in a map whose order
//! changes from run to run, and adds up sizes that a hostile header can make overflow; the tests check this module
//! against it.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::layer::by;
use crate::hash::mix;
use crate::tensor::Shape;

pub type Metadata = BTreeMap<String, String>;

const METADATA: &str = "__metadata__";
/// The key of a file's checksum. It is in files only: the metadata that is read does not have it.
const CHECKSUM: &str = "checksum";
/// The longest header that the reference implementation allows.
const MAX_HEADER: usize = 100_000_000;

/// The elements of a stored tensor.
#[derive(Clone, PartialEq, Debug)]
pub enum Words {
    F32(Vec<f32>),
    U32(Vec<u32>),
}

impl Words {
    pub fn len(&self) -> usize {
        match self {
            Words::F32(data) => data.len(),
            Words::U32(data) => data.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn dtype(&self) -> &'static str {
        if matches!(self, Words::F32(_)) { "F32" } else { "U32" }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct SavedTensor {
    pub name: String,
    pub shape: Shape,
    pub words: Words,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Metadata(&'a Metadata),
    Tensor { dtype: &'a str, shape: &'a [usize], data_offsets: [usize; 2] },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// A longer header is not read for its metadata alone.
const MAX_PEEK: u64 = 4 << 20;

/// Reads the metadata alone, without the tensors. `None` if the file does not begin as this format does.
pub fn peek(mut file: impl Read) -> Option<Metadata> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: Metadata,
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    if length > MAX_PEEK || file.take(length).read_to_end(&mut header).is_err() {
        return None;
    }
    serde_json::from_slice::<Header>(&header).ok().map(|header| header.metadata)
}

/// The file's bytes: metadata and tensors in the order of their names, little-endian.
///
/// Fails if two tensors share a name, or if one does not have as many elements as its shape.
pub fn encode(metadata: &Metadata, tensors: &[SavedTensor]) -> Result<Vec<u8>, String> {
    let mut sorted: Vec<&SavedTensor> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut metadata = metadata.clone();
    metadata.insert(CHECKSUM.into(), checksum(&metadata, &sorted));
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    entries.insert(METADATA, Entry::Metadata(&metadata));
    let mut end = 0;
    for tensor in &sorted {
        let (dtype, shape) = (tensor.words.dtype(), tensor.shape.dims());
        if tensor.shape.len() != tensor.words.len() {
            return Err(format!("{}: {} elements do not make {}", tensor.name, tensor.words.len(), tensor.shape));
        }
        let start = end;
        end += tensor.words.len() * 4;
        let entry = Entry::Tensor { dtype, shape, data_offsets: [start, end] };
        if entries.insert(&tensor.name, entry).is_some() {
            return Err(format!("two tensors are named {:?}", tensor.name));
        }
    }
    let mut header = serde_json::to_vec(&entries).map_err(|error| error.to_string())?;
    // So that the tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER {
        return Err(format!("a header of {} bytes; {MAX_HEADER} is the most", header.len()));
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for tensor in sorted {
        match &tensor.words {
            Words::F32(data) => data.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Words::U32(data) => data.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
        }
    }
    Ok(bytes)
}

/// Reads metadata and tensors (in the order of their names) from a file's bytes, or says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<(Metadata, Vec<SavedTensor>), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("not a safetensors file: {} bytes are too few", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER as u64 {
        return Err("not a safetensors file: it begins with no sensible length".into());
    }
    let Some((header, data)) = rest.split_at_checked(length as usize) else {
        return Err(format!("cut off: its header has {length} bytes, the file only {} more", rest.len()));
    };
    let entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)
        .map_err(|error| format!("not a safetensors file: its header is no JSON ({error})"))?;
    let mut metadata = Metadata::new();
    let mut found = Vec::new();
    for (name, value) in entries {
        if name == METADATA {
            metadata =
                serde_json::from_value(value).map_err(|_| "its metadata is not a map of names to texts".to_string())?;
        } else {
            let entry: Found = serde_json::from_value(value).map_err(|error| format!("tensor {name:?}: {error}"))?;
            found.push((name, entry));
        }
    }
    // There must be no gaps, overlaps or leftovers: otherwise a file could hide things, or name the same bytes many
    // times.
    let mut by_place: Vec<&(String, Found)> = found.iter().collect();
    by_place.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    for (name, entry) in by_place {
        if entry.data_offsets[0] != end || entry.data_offsets[1] < end {
            return Err(format!("tensor {name:?}: stands at {:?}, expected it at {end}", entry.data_offsets));
        }
        end = entry.data_offsets[1];
    }
    if end > data.len() as u64 {
        return Err(format!("cut off: its tensors have {end} bytes, the file holds {}", data.len()));
    }
    if end < data.len() as u64 {
        return Err(format!("{} bytes follow its last tensor", data.len() as u64 - end));
    }
    let tensors: Result<Vec<_>, String> = found.into_iter().map(|(name, entry)| tensor(name, &entry, data)).collect();
    let tensors = tensors?;
    // Files of older versions and of other programs have no checksum.
    if let Some(written) = metadata.remove(CHECKSUM) {
        let found = checksum(&metadata, &tensors.iter().collect::<Vec<_>>());
        if written != found {
            return Err(format!(
                "altered since it was written: the checksum of its contents is {found}, not {written}"
            ));
        }
    }
    Ok((metadata, tensors))
}

/// The checksum of metadata and tensors, in the order of their names. It detects damage, but is no defence against
/// someone who changes the checksum as well.
fn checksum(metadata: &Metadata, sorted: &[&SavedTensor]) -> String {
    let bytes = |hash, bytes: &[u8]| {
        let (words, rest) = bytes.as_chunks();
        let hash = words.iter().fold(mix(hash, bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
    };
    let mut hash = 0;
    for (key, value) in metadata.iter().filter(|(key, _)| *key != CHECKSUM) {
        hash = bytes(bytes(hash, key.as_bytes()), value.as_bytes());
    }
    for tensor in sorted {
        hash = bytes(bytes(hash, tensor.name.as_bytes()), tensor.words.dtype().as_bytes());
        hash = tensor.shape.dims().iter().fold(hash, |hash, n| mix(hash, *n as u64));
        hash = match &tensor.words {
            Words::F32(data) => data.iter().fold(hash, |hash, x| mix(hash, u64::from(x.to_bits()))),
            Words::U32(data) => data.iter().fold(hash, |hash, x| mix(hash, u64::from(*x))),
        };
    }
    format!("{hash:016x}")
}

fn tensor(name: String, entry: &Found, data: &[u8]) -> Result<SavedTensor, String> {
    let shape: Option<Vec<usize>> = entry.shape.iter().map(|n| usize::try_from(*n).ok()).collect();
    let shape =
        shape.filter(|shape| shape.len() <= 8).ok_or_else(|| format!("tensor {name:?}: no shape we can hold"))?;
    let [start, end] = entry.data_offsets.map(|at| at as usize);
    let bytes = data.get(start..end).ok_or_else(|| format!("tensor {name:?}: lies outside the file"))?;
    let elements = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
    if elements.and_then(|n| n.checked_mul(4)) != Some(bytes.len()) {
        return Err(format!("tensor {name:?}: {} bytes do not make {} of 32 bits each", bytes.len(), by(&shape)));
    }
    let (words, _) = bytes.as_chunks::<4>();
    let words = match entry.dtype.as_str() {
        "F32" => Words::F32(words.iter().map(|w| f32::from_le_bytes(*w)).collect()),
        "U32" => Words::U32(words.iter().map(|w| u32::from_le_bytes(*w)).collect()),
        other => return Err(format!("tensor {name:?}: has type {other}, expected F32 or U32")),
    };
    Ok(SavedTensor { name, shape: Shape::new(shape), words })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> (Metadata, Vec<SavedTensor>) {
        let metadata = (0..20).map(|i| (format!("key {i}"), format!("\"value\" {i}\n"))).collect();
        let f32s = |name: &str, shape: &[usize]| SavedTensor {
            name: name.into(),
            shape: Shape::new(shape),
            words: Words::F32((0..shape.iter().product()).map(|i: usize| i as f32 - 0.5).collect()),
        };
        let clock = SavedTensor { name: "clock".into(), shape: [2].into(), words: Words::U32(vec![7, u32::MAX]) };
        (metadata, vec![clock, f32s("b.weight", &[3, 5]), f32s("a.bias", &[5]), f32s("none", &[0, 3])])
    }

    #[test]
    fn what_is_written_reads_back_and_the_reference_implementation_reads_the_same() {
        let (metadata, mut tensors) = some();
        let bytes = encode(&metadata, &tensors).unwrap();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(decode(&bytes).unwrap(), (metadata.clone(), tensors.clone()));

        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.len(), tensors.len());
        let weight = theirs.tensor("b.weight").unwrap();
        assert_eq!((weight.dtype(), weight.shape()), (safetensors::Dtype::F32, &[3, 5][..]));
        assert_eq!(weight.data()[..4], (-0.5f32).to_le_bytes());
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["key 3"], metadata["key 3"]);
    }

    #[test]
    fn a_file_of_the_reference_implementation_is_read() {
        let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 1], &data).unwrap();
        let bytes = safetensors::serialize([("x", view)], None).unwrap();
        let (metadata, tensors) = decode(&bytes).unwrap();
        assert!(metadata.is_empty());
        assert_eq!(tensors[0].words, Words::F32(vec![1.5, -2.0]));
    }

    #[test]
    fn the_order_of_tensors_does_not_change_the_bytes() {
        let (metadata, mut tensors) = some();
        let bytes = encode(&metadata, &tensors).unwrap();
        tensors.reverse();
        assert_eq!(encode(&metadata, &tensors).unwrap(), bytes);
    }

    #[test]
    fn a_name_used_twice_and_a_wrong_size_are_not_written() {
        let (metadata, mut tensors) = some();
        tensors[0].shape = [3].into();
        assert!(encode(&metadata, &tensors).unwrap_err().contains("clock: 2 elements"));
        tensors[0] = tensors[1].clone();
        assert!(encode(&metadata, &tensors).unwrap_err().contains("two tensors"));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let (metadata, tensors) = some();
        let bytes = encode(&metadata, &tensors).unwrap();
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_file_with_any_bit_turned_over_is_refused_or_holds_what_it_held() {
        let (metadata, tensors) = some();
        let bytes = encode(&metadata, &tensors).unwrap();
        let was = decode(&bytes).unwrap();
        // Under another name it is not a checksum, and a file may have none.
        let name = bytes.windows(CHECKSUM.len()).position(|word| word == CHECKSUM.as_bytes()).unwrap();
        let name = name..name + CHECKSUM.len();
        for at in (0..bytes.len()).filter(|at| !name.contains(at)) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(decode(&bytes).is_err() || decode(&bytes).unwrap() == was, "byte {at}");
        }
    }

    #[test]
    fn a_file_without_a_checksum_is_read() {
        let bytes = with_header(r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8);
        assert_eq!(decode(&bytes).unwrap().1[0].words, Words::F32(vec![0.0; 2]));
    }

    fn with_header(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn hostile_headers_are_refused_with_the_reason() {
        let entry = |shape: &str, at: &str, dtype: &str| {
            format!("{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{at}}}}}")
        };
        for (header, reason) in [
            ("{".into(), "no JSON"),
            ("[]".into(), "no JSON"),
            ("{\"__metadata__\":{\"a\":1}}".into(), "metadata"),
            ("{}".into(), "8 bytes follow"),
            (entry("[2]", "[0,8]", "F16"), "type F16"),
            (entry("[3]", "[0,8]", "F32"), "8 bytes do not make 3"),
            (entry("[2]", "[4,12]", "F32"), "expected it at 0"),
            (entry("[2]", "[0,16]", "F32"), "cut off"),
            (entry("[4611686018427387904,4]", "[0,8]", "F32"), "do not make"),
            (entry("[2]", "[0,18446744073709551615]", "F32"), "cut off"),
            (entry("[2]", "[8,0]", "F32"), "expected it at 0"),
            (entry("[-2]", "[0,8]", "F32"), "invalid value"),
            (entry("[1,1,1,1,1,1,1,1,2]", "[0,8]", "F32"), "no shape"),
        ] {
            let message = decode(&with_header(&header, 8)).unwrap_err();
            assert!(message.contains(reason), "{header}: {message}");
        }
        assert!(decode(b"<!DOCTYPE html><html>").unwrap_err().contains("no sensible length"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_changed_byte_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let (metadata, tensors) = some();
            let mut bytes = encode(&metadata, &tensors).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
