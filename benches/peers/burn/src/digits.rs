//! MNIST from its gzipped IDX files.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

pub struct Digits {
    pub images: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Digits {
    /// `part` is `train` or `t10k`.
    pub fn read(folder: &Path, part: &str) -> anyhow::Result<Digits> {
        let read = |name: &str, header: usize| {
            let path = folder.join(format!("{part}-{name}-ubyte.gz"));
            let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
            anyhow::Ok(bytes.split_off(header))
        };
        Ok(Digits { images: read("images-idx3", 16)?, labels: read("labels-idx1", 8)? })
    }
    /// Keeps the first `count`.
    pub fn shorten(&mut self, count: usize) {
        self.images.truncate(self.images.len() / self.labels.len() * count);
        self.labels.truncate(count);
    }
    pub fn len(&self) -> usize {
        self.labels.len()
    }
}
