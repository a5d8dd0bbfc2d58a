//! Files that Keras wrote (tests/travel/README.md), and whether their models answer here what they answered there.
//!
//! `INKGRAD_MARGINS=1 cargo test --test networks keras -- --nocapture` prints how far each is off.

use crate::golden::{check, devices};
use crate::travel::{answers, apart, digits, imported, probabilities};

/// Sums in another order; f32 rounds a probability of 1 by 6e-8.
const TOLERANCE: f64 = 1e-5;

const FILES: &[(&str, &str)] = &[
    ("dense-keras2", ".h5"),
    ("vector-keras2", ".h5"),
    ("conv-keras2", ".h5"),
    ("branches-keras2", ".h5"),
    ("dense-keras3", ".keras"),
    ("vector-keras3", ".keras"),
    ("conv-keras3", ".keras"),
    ("conv-keras3", ".h5"),
    ("branches-keras3", ".keras"),
    ("branches-keras3", ".h5"),
    ("uneven-keras3", ".keras"),
];

#[test]
fn a_keras_model_has_the_same_probabilities_here() {
    for (device, open) in devices("a_keras_model_has_the_same_probabilities_here") {
        for (name, ending) in FILES {
            let wanted = answers("keras", name);
            let model = imported(&format!("{name}{ending}")).file;
            let got = probabilities(open().as_mut(), &model, &digits(wanted.len() / 10, 1));
            check(&format!("{name}{ending} on the {device}"), apart(&got, &wanted), TOLERANCE);
        }
    }
}

#[test]
fn average_pooling_from_448_to_28_is_the_same_here() {
    for (device, open) in devices("average_pooling_from_448_to_28_is_the_same_here") {
        for name in ["large-keras2.h5", "large-keras3.keras"] {
            let wanted = answers("keras", name.split('.').next().unwrap());
            let got = probabilities(open().as_mut(), &imported(name).file, &digits(wanted.len() / 10, 16));
            check(&format!("{name} on the {device}"), apart(&got, &wanted), TOLERANCE);
        }
    }
}
