//! `--precision f16`: half the memory for what a step computes from its images, on the real program.

use inkgrad::models::ModelFile;
use inkgrad::train::metrics::Metrics;

use crate::common::{Place, said};

/// One layer of every kind that is halved.
const NETWORK: &str = r#"layers = [
  { conv = 8, kernel = 3, padding = "same", activation = "relu" },
  { max_pool = 2 },
  { conv = 16, kernel = 3, stride = 2, padding = "same" },
  { batch_norm = true, activation = "relu" },
  { dropout = 0.2 },
  { conv = 16, kernel = 2, padding = "same", activation = "leaky_relu" },
  "flatten",
  { dense = 32, activation = "relu" },
  { dense = "classes" },
]

[recipe]
epochs = 3
batch = 16
learning_rate = 0.003
augment = { rotate = 10, shift = 0.1, elastic = 1.0, erase = 0.2, noise = 0.02 }
"#;

#[test]
fn sixteen_bits_train_to_nearly_the_same_losses_as_thirty_two() {
    let Some(adapter) = crate::golden::adapter("sixteen_bits_train_to_nearly_the_same_losses") else { return };
    if !adapter.info.f16 {
        eprintln!("sixteen_bits_train_to_nearly_the_same_losses: SKIPPED, {} has no 16-bit floats", adapter.info);
        return;
    }
    let place = Place::with_digits(400, 100);
    place.write("net.toml", NETWORK);
    let losses = |precision: &str| -> Vec<f64> {
        let line = format!("train net.toml --data data --seed 3 --validation 0 --quiet --precision {precision}");
        let mut command = place.command(&line);
        let said = said(command.args(["--out", precision, "--device", &adapter.info.to_string()]).output().unwrap());
        assert_eq!(said.code, Some(0), "{said:#?}");
        let run = format!("{precision}/{}", place.names(precision)[0]);
        let model = ModelFile::open(&place.path(&run)).unwrap();
        assert_eq!(model.metadata["precision"], precision);
        let metrics = Metrics::parse(&place.text(&format!("{run}/metrics.csv"))).unwrap();
        metrics.rows.iter().map(|row| row.loss).collect()
    };
    let (exact, halved) = (losses("f32"), losses("f16"));
    let nearly = |halved: &[f64]| {
        assert!(exact.len() > 3 && exact.len() == halved.len(), "{exact:?} {halved:?}");
        assert_ne!(exact, halved, "nothing was halved");
        let near =
            |a: f64, b: f64, share: f64| assert!((a - b).abs() < share * a, "{exact:?} in 32 bits, {halved:?} in 16");
        // Only rounding to 11 bits, before differences in one step carry over to the next.
        exact.iter().zip(halved).take(4).for_each(|(a, b)| near(*a, *b, 2e-3));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        near(mean(&exact), mean(halved), 0.03);
    };
    nearly(&halved);
    if adapter.info.matrix_units.is_none() {
        eprintln!(
            "sixteen_bits_train_to_nearly_the_same_losses: SKIPPED --precision mixed, {} has no matrix units",
            adapter.info
        );
        return;
    }
    let mixed = losses("mixed");
    assert_ne!(mixed, halved, "nothing was done by matrix units");
    nearly(&mixed);
}

#[test]
fn where_there_are_no_16_bits_they_are_refused_before_anything_is_written() {
    let place = Place::with_digits(100, 20);
    let line = "train dense --data data --precision f16 --device cpu";
    place.refused(line, &["the CPU device computes in 32 bits", "--precision f16"]);
    place.refused("train gan --data data --precision f16 --device cpu", &["--precision does not apply to"]);
    place.refused("bench cnn --infer --precision f16 --device cpu", &["--precision f16 is for training"]);
    place.refused("train dense --data data --precision f8", &["f8", "f16"]);
    let line = "train dense --data data --precision mixed --device cpu";
    place.refused(line, &["the CPU device computes in 32 bits", "--precision mixed"]);
}
