//! Everything that parses files from elsewhere, as a function of bytes: what the fuzz targets call, and what
//! `tests/hostile.rs` calls with the seeds and mutations of them. A function returns whatever the bytes are; it must not
//! panic.

use std::io::{Cursor, Write};
use std::path::Path;

use inkgrad::data::{cache, csv::PixelRows, idx};
use inkgrad::graph::Store;
use inkgrad::interchange::{Wishes, keras, onnx, pytorch};
use inkgrad::models::{Model, ModelFile, builtin};
use inkgrad::pictures::{Preparation, decode, fit, prepare};
use inkgrad::train::gan::metrics::GanMetrics;
use inkgrad::train::metrics::{Curves, Metrics};

/// A target's name, which is that of its folder of seeds, and its function.
pub type Entry = (&'static str, fn(&[u8]));

pub const ENTRIES: &[Entry] = &[
    ("architecture", architecture),
    ("cache", picture_cache),
    ("csv", csv),
    ("gan_metrics", gan_metrics),
    ("hdf5", hdf5),
    ("idx", idx_file),
    ("keras_config", keras_config),
    ("keras_zip", keras_zip),
    ("metrics", metrics),
    ("model", model),
    ("onnx", onnx_file),
    ("picture", picture),
    ("pytorch", pytorch_file),
];

fn here() -> &'static Path {
    Path::new("file")
}

pub fn idx_file(bytes: &[u8]) {
    let _ = idx::parse_images(bytes, here());
    let _ = idx::parse_labels(bytes, here());
}

pub fn csv(bytes: &[u8]) {
    if let Ok(rows) = PixelRows::new(bytes, here()) {
        rows.for_each(drop);
    }
}

pub fn architecture(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut store = Store::default();
    match Model::parse(text, "file") {
        Ok(Model::Classifier(architecture)) => {
            let _ = architecture.declare([28, 28, 1], 10, &mut store, "classifier");
        }
        Ok(Model::Gan(gan)) => {
            let _ = gan.declare_generator([28, 28, 1], 10, &mut store);
            let _ = gan.declare_discriminator([28, 28, 1], 10, &mut store);
            let _ = gan.range();
        }
        Err(_) => {}
    }
}

pub fn model(bytes: &[u8]) {
    let Ok(file) = ModelFile::from_bytes(bytes, here()) else { return };
    let _ = (file.class_names(), file.image(), file.gan(), file.u32s("clock"));
    let mut store = Store::default();
    if let Ok((_, parameters)) = file.network(&mut store, "classifier") {
        let _ = file.values("", &parameters);
    }
}

pub fn hdf5(bytes: &[u8]) {
    let _ = keras::import(bytes.to_vec(), &Wishes::default());
}

pub fn keras_zip(bytes: &[u8]) {
    if bytes.starts_with(b"PK") {
        let _ = keras::import(bytes.to_vec(), &Wishes::default());
    }
}

/// The configuration in a whole archive: chance never mends a zip file's checksums.
pub fn keras_config(bytes: &[u8]) {
    let weights = include_bytes!("seeds/hdf5/vector-keras2.h5");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let plain = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, contents) in [("config.json", bytes), ("model.weights.h5", weights)] {
        if zip.start_file(name, plain).is_err() || zip.write_all(contents).is_err() {
            return;
        }
    }
    if let Ok(archive) = zip.finish() {
        let _ = keras::import(archive.into_inner(), &Wishes::default());
    }
}

pub fn onnx_file(bytes: &[u8]) {
    let _ = onnx::import(bytes, &Wishes::default());
}

pub fn pytorch_file(bytes: &[u8]) {
    if let Ok(architecture) = builtin("dense") {
        let _ = pytorch::import(bytes, &architecture, &Wishes::default());
    }
}

pub fn picture(bytes: &[u8]) {
    let Ok(picture) = decode(bytes) else { return };
    let _ = prepare(&picture.image, [28, 28, 1], &Preparation::default());
    let _ = fit(&picture.image, [28, 28, 3]);
}

pub fn picture_cache(bytes: &[u8]) {
    let _ = cache::decode(bytes, "listed");
}

pub fn metrics(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(metrics) = Metrics::parse(text)
        && metrics.rows.len() < 1000
    {
        let _ = Metrics::picture("file", &[Curves { name: "file", metrics: &metrics, label_smoothing: 0.1 }]);
    }
}

/// Losses and, after an empty line, measures: two files of a run.
pub fn gan_metrics(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some((losses, measures)) = text.split_once("\n\n")
        && let Ok(metrics) = GanMetrics::parse(losses, measures)
        && metrics.losses.len() + metrics.measures.len() < 1000
    {
        let _ = metrics.picture("file");
    }
}
