//! Helpers for the tests of this module: an IDX writer, gzip, and image sets to try things on.

use crate::data::ImageSet;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// An IDX file of unsigned bytes; `dims` and `elements` need not agree.
pub fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    file.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    file.extend(elements);
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A set whose pixels count up, so that any mix-up of images shows.
pub fn image_set(height: usize, width: usize, channels: usize, labels: &[u32]) -> ImageSet {
    ImageSet {
        height,
        width,
        channels,
        classes: labels.iter().max().map_or(2, |&max| max as usize + 1),
        images: (0..labels.len() * height * width * channels).map(|i| i as u8).collect(),
        labels: labels.to_vec(),
    }
}
