//! Reads IDX, the file format of MNIST and its kin: a four-byte magic number, big-endian dimensions, then the elements.
//! Only unsigned bytes are supported; gzip is recognised by its magic number.
//!
//! Headers are not trusted: memory grows with the bytes that really arrive, not with what the
//! header promises.

use crate::data::{DataError, MAX_CHANNELS, Pixels};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

/// The most bytes that an IDX file may hold, uncompressed.
pub const MAX_BYTES: u64 = 8 << 30;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UNSIGNED_BYTE: u8 = 0x08;
const FIRST_STEP: u64 = 1 << 20;

/// Raw image files of at least this size are mapped into memory instead of read.
const MAPPED: u64 = 512 << 20;

/// The contents of an image file.
#[derive(Clone, PartialEq, Eq)]
pub struct IdxImages {
    /// Number of images, at least 1.
    pub count: usize,
    /// Rows of pixels in an image, at least 1.
    pub height: usize,
    /// Pixels in a row, at least 1.
    pub width: usize,
    /// Bytes in a pixel, 1 to 4; 1 where the file has only three dimensions.
    pub channels: usize,
    /// All pixels, shape `(count, height, width, channels)`, row-major.
    pub pixels: Pixels,
}

/// Parses an image file, raw or gzipped, of shape `(n, h, w)` or `(n, h, w, c)`.
///
/// `path` is only for messages. Errors when the file is not IDX, is not of unsigned bytes, has
/// another rank, a dimension of zero or more than 4 channels, or when its length is not exactly
/// what its header says.
pub fn parse_images(bytes: &[u8], path: &Path) -> Result<IdxImages, DataError> {
    images_from(bytes, path)
}

/// Parses a label file, raw or gzipped, of shape `(n)`.
///
/// `path` is only for messages. Errors as [`parse_images`] does.
pub fn parse_labels(bytes: &[u8], path: &Path) -> Result<Vec<u32>, DataError> {
    labels_from(bytes, path)
}

/// [`parse_images`] straight from the disk, without holding the whole file in memory twice; a large raw file is in
/// memory only as far as the system finds room for it.
pub fn read_images(path: &Path) -> Result<IdxImages, DataError> {
    read_or_map(path, MAPPED)
}

/// [`read_images`], where files of at least `mapped` bytes are mapped.
fn read_or_map(path: &Path, mapped: u64) -> Result<IdxImages, DataError> {
    let mut reader = open(path)?;
    let size = reader.get_ref().metadata().map_err(|reason| cannot_read(path, reason))?.len();
    let start = reader.fill_buf().map_err(|reason| cannot_read(path, reason))?;
    if size < mapped || start.starts_with(&GZIP_MAGIC) {
        return images_from(reader, path);
    }
    let Header { dims, bytes, total } = {
        let mut input = Input { reader: Box::new(start), gzip: false, path, position: 0 };
        input.header(IMAGE_RANKS, IMAGE_DIMS, &IMAGE_NAMES)?
    };
    if size < total {
        return Err(DataError::Truncated { path: path.into(), expected: total, found: size });
    }
    if size > total {
        return Err(DataError::TrailingBytes { path: path.into(), expected: total, found: size });
    }
    match Pixels::map(reader.get_ref(), bytes as usize) {
        Ok(pixels) => Ok(images(&dims, pixels)),
        // Not every file system can map files.
        Err(_) => images_from(open(path)?, path),
    }
}

/// [`parse_labels`] straight from the disk.
pub fn read_labels(path: &Path) -> Result<Vec<u32>, DataError> {
    labels_from(open(path)?, path)
}

fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    match File::open(path) {
        Ok(file) => Ok(BufReader::with_capacity(1 << 18, file)),
        Err(reason) => Err(cannot_read(path, reason)),
    }
}

fn images_from(reader: impl BufRead, path: &Path) -> Result<IdxImages, DataError> {
    let (dims, pixels) = read_idx(reader, path, IMAGE_RANKS, IMAGE_DIMS, &IMAGE_NAMES)?;
    Ok(images(&dims, pixels.into()))
}

const IMAGE_RANKS: RangeInclusive<u8> = 3..=4;
const IMAGE_DIMS: &str = "3 (images, height, width) or 4 (images, height, width, channels)";
const IMAGE_NAMES: [&str; 4] = ["a number of images", "a height", "a width", "a number of channels"];

fn images(dims: &[u32], pixels: Pixels) -> IdxImages {
    let dim = |i: usize| dims.get(i).map_or(1, |&d| d as usize);
    IdxImages { count: dim(0), height: dim(1), width: dim(2), channels: dim(3), pixels }
}

fn labels_from(reader: impl BufRead, path: &Path) -> Result<Vec<u32>, DataError> {
    let names = ["a number of labels"];
    let (_, labels) = read_idx(reader, path, 1..=1, "1 (labels)", &names)?;
    Ok(labels.into_iter().map(u32::from).collect())
}

fn read_idx(
    mut reader: impl BufRead,
    path: &Path,
    ranks: RangeInclusive<u8>,
    expected_rank: &'static str,
    names: &[&'static str],
) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let start = reader.fill_buf().map_err(|reason| cannot_read(path, reason))?;
    let gzip = start.starts_with(&GZIP_MAGIC);
    let mut input = Input {
        reader: if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) },
        gzip,
        path,
        position: 0,
    };

    let Header { dims, bytes, total } = input.header(ranks, expected_rank, names)?;
    let elements = input.read_up_to(total - bytes)?;
    if input.position < total {
        return Err(input.truncated(total));
    }
    // This also takes a gzip stream to its end, which is where its checksum is compared.
    input.skip_rest()?;
    if input.position > total {
        return Err(DataError::TrailingBytes { path: path.into(), expected: total, found: input.position });
    }
    Ok((dims, elements))
}

/// The bytes that a file with these dimensions must have, its header included.
fn check_dims(dims: &[u32], header: u64, path: &Path, names: &[&'static str]) -> Result<u64, DataError> {
    let shape = || {
        let sizes: Vec<String> = dims.iter().map(u32::to_string).collect();
        sizes.join(" x ")
    };
    for ((i, &dim), &dimension) in (0u64..).zip(dims).zip(names) {
        if dim == 0 {
            return Err(DataError::Empty { path: path.into(), dimension, offset: 4 + 4 * i, shape: shape() });
        }
    }
    if let Some(&found) = dims.get(3)
        && found as usize > MAX_CHANNELS
    {
        return Err(DataError::WrongChannels { path: path.into(), found });
    }
    dims.iter()
        .try_fold(1u64, |product, &dim| product.checked_mul(u64::from(dim)))
        .and_then(|elements| elements.checked_add(header))
        // On a 32-bit machine the limit is what a usize can count.
        .filter(|&total| total <= MAX_BYTES && usize::try_from(total).is_ok())
        .ok_or_else(|| DataError::TooLarge {
            path: path.into(),
            shape: shape(),
            limit: MAX_BYTES.min(usize::MAX as u64),
        })
}

struct Input<'a> {
    reader: Box<dyn Read + 'a>,
    gzip: bool,
    path: &'a Path,
    /// Uncompressed bytes read so far.
    position: u64,
}

/// The header of an IDX file.
struct Header {
    dims: Vec<u32>,
    /// Bytes of the header, and of the whole file according to it.
    bytes: u64,
    total: u64,
}

impl Input<'_> {
    /// Reads what comes before the elements.
    fn header(
        &mut self,
        ranks: RangeInclusive<u8>,
        expected_rank: &'static str,
        names: &[&'static str],
    ) -> Result<Header, DataError> {
        let magic = self.read_up_to(4)?;
        let &[zero0, zero1, element, rank] = magic.as_slice() else {
            return Err(self.truncated(4));
        };
        if (zero0, zero1) != (0, 0) {
            return Err(DataError::NotIdx {
                path: self.path.into(),
                found: format!("{magic:02x?} (\"{}\")", magic.escape_ascii()),
            });
        }
        if element != UNSIGNED_BYTE {
            return Err(DataError::WrongElementType {
                path: self.path.into(),
                found: element,
                name: element_name(element),
            });
        }
        if !ranks.contains(&rank) {
            return Err(DataError::WrongRank { path: self.path.into(), expected: expected_rank, found: rank });
        }

        let header = 4 + 4 * u64::from(rank);
        let sizes = self.read_up_to(header - 4)?;
        if self.position < header {
            return Err(self.truncated(header));
        }
        let dims: Vec<u32> = sizes.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size)).collect();
        let total = check_dims(&dims, header, self.path, names)?;
        Ok(Header { dims, bytes: header, total })
    }

    /// The next `wanted` bytes, or fewer if the input ends earlier.
    fn read_up_to(&mut self, wanted: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        loop {
            let have = bytes.len() as u64;
            // Doubling, so that never more than twice what has really arrived is reserved.
            let step = (wanted - have).min(have.max(FIRST_STEP));
            if step == 0 {
                return Ok(bytes);
            }
            if bytes.try_reserve_exact(step as usize).is_err() {
                return Err(DataError::OutOfMemory { path: self.path.into(), expected: wanted, found: have });
            }
            let result = self.reader.by_ref().take(step).read_to_end(&mut bytes);
            let got = bytes.len() as u64 - have;
            self.position += got;
            result.map_err(|reason| self.failed(reason))?;
            if got < step {
                return Ok(bytes);
            }
        }
    }

    fn skip_rest(&mut self) -> Result<(), DataError> {
        let mut rest = self.reader.by_ref().take(MAX_BYTES);
        match io::copy(&mut rest, &mut io::sink()) {
            Ok(skipped) => self.position += skipped,
            Err(reason) => return Err(self.failed(reason)),
        }
        Ok(())
    }

    fn truncated(&self, expected: u64) -> DataError {
        DataError::Truncated { path: self.path.into(), expected, found: self.position }
    }

    fn failed(&self, reason: io::Error) -> DataError {
        let path = self.path.into();
        let decompressed = self.position;
        match reason.kind() {
            io::ErrorKind::UnexpectedEof if self.gzip => DataError::TruncatedGzip { path, decompressed },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.gzip => {
                DataError::CorruptGzip { path, decompressed, reason }
            }
            _ => DataError::CannotRead { path, reason },
        }
    }
}

fn cannot_read(path: &Path, reason: io::Error) -> DataError {
    DataError::CannotRead { path: path.into(), reason }
}

fn element_name(code: u8) -> &'static str {
    match code {
        0x08 => "unsigned byte",
        0x09 => "signed byte",
        0x0b => "16-bit integer",
        0x0c => "32-bit integer",
        0x0d => "32-bit float",
        0x0e => "64-bit float",
        _ => "no type that IDX knows",
    }
}

impl std::fmt::Debug for IdxImages {
    // Derived, it would print every pixel when a test fails.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdxImages")
            .field("count", &self.count)
            .field("height", &self.height)
            .field("width", &self.width)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
