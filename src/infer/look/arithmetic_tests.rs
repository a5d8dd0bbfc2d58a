use super::anatomy::image;
use super::testing::{AVERAGES, EVERYTHING, digits, look, shipped, untrained};
use super::{Anatomy, How, Look, Pass, Wanted};
use crate::models::{ModelFile, builtin};

const ACTIVATIONS: Wanted = Wanted { activations: true, saliency: None };

/// Recomputes a few places of every layer and compares them with what the device found.
fn agrees(mut look: Look) {
    let (pass, anatomy) = (look.picture(&digits(1).images, ACTIVATIONS).unwrap(), look.anatomy());
    for (i, layer) in anatomy.layers().iter().enumerate() {
        let ([h, w, c], values) = (image(&layer.shape), &pass.activations[i]);
        let scale = values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for [y, x] in [[0, 0], [h - 1, w - 1], [h / 2, w / 3], [h / 3, w / 2], [h / 2, w - 1]] {
            for unit in [0, c / 2, c - 1] {
                let found = anatomy.arithmetic(&pass, i, unit, [y, x]).unwrap();
                let value = values[(y * w + x) * c + unit];
                let apart = (found.result - value).abs();
                let name = &layer.name;
                assert!(apart <= 1e-4 * value.abs() + 1e-6 * scale, "{name} {y} {x} {unit}: {value}, {found:?}");
                assert_eq!(found.activation, layer.activation);
                if let How::Weighted { terms, bias } = &found.how {
                    let sum: f32 = terms.iter().map(|term| term.product).sum::<f32>() + bias.unwrap_or(0.0);
                    let size: f32 = terms.iter().map(|term| term.product.abs()).sum::<f32>() + 1e-3;
                    assert!((sum - found.sum).abs() <= 1e-5 * size, "{name}: {sum} against {}", found.sum);
                    assert!(terms.windows(2).all(|pair| pair[0].product.abs() >= pair[1].product.abs()));
                }
            }
        }
    }
}

#[test]
fn the_arithmetic_of_every_kind_of_layer_comes_to_the_value_that_the_device_found() {
    agrees(look(&untrained(AVERAGES, 28, 1)));
    agrees(look(&untrained(EVERYTHING, 28, 2)));
    for name in ["best", "cnn", "dense", "fast"] {
        agrees(shipped(name));
    }
}

#[test]
fn an_ensemble_is_taken_apart_like_any_network() {
    let layers = |name: &str| {
        let text = builtin(name).unwrap().text().to_string();
        let (from, to) = (text.find("layers = [").unwrap() + 10, text.find("\n]").unwrap());
        text[from..to].to_string()
    };
    let member = |name: &str, seed| ModelFile { name: name.into(), ..untrained(&layers(name), 28, seed) };
    let members = [member("cnn", 1), member("dense", 2), member("fast", 3)];
    let mut ensemble = look(&ModelFile::ensemble(&members).unwrap());
    let digit = digits(1).images;
    let pass = ensemble.picture(&digit, ACTIVATIONS).unwrap();
    let alone: Vec<Pass> = members.iter().map(|file| look(file).picture(&digit, ACTIVATIONS).unwrap()).collect();
    let anatomy = ensemble.anatomy();
    let last = anatomy.layers().len() - 1;
    let found = anatomy.arithmetic(&pass, last, 4, [0, 0]).unwrap();
    let How::Added(seen) = found.how else { panic!("{found:?}") };
    for (seen, alone) in seen.iter().zip(&alone) {
        assert!((seen.value * 3.0 - alone.logits[4]).abs() < 1e-4);
        assert!(seen.layer.is_some_and(|layer| layer < last) && seen.channel == 4);
    }
    agrees(ensemble);
}

#[test]
fn terms_say_where_in_the_picture_their_values_stand() {
    let mut look = shipped("cnn");
    let (pass, anatomy) = (look.picture(&digits(1).images, ACTIVATIONS).unwrap(), look.anatomy());
    // The first convolution, whose kernel of 2 has its padding at the end.
    let How::Weighted { terms, .. } = anatomy.arithmetic(&pass, 0, 3, [10, 27]).unwrap().how else { panic!() };
    assert_eq!(terms.len(), 2, "the kernel's right half lies beyond the edge");
    let kernel = anatomy.kernel(0, 3).unwrap();
    for term in &terms {
        let ([y, x], [t, s]) = (term.seen.at, term.tap);
        assert_eq!(([y, x], term.seen.layer), ([10 + t, 27 + s], None));
        assert_eq!((term.seen.value, term.weight), (pass.input[y * 28 + x], kernel.weights[t * 2 + s]));
    }
    // For a dense layer after a flattened image, each value's row, column and channel in the image are known.
    let hidden = anatomy.layers().len() - 2;
    let How::Weighted { terms, .. } = anatomy.arithmetic(&pass, hidden, 5, [0, 0]).unwrap().how else { panic!() };
    let kernel = anatomy.kernel(hidden, 5).unwrap();
    assert_eq!(terms.len(), 7 * 7 * 64);
    for term in terms.iter().take(50) {
        let flat = (term.seen.at[0] * 7 + term.seen.at[1]) * 64 + term.seen.channel;
        assert_eq!((term.weight, term.seen.value), (kernel.weights[flat], pass.features_of(hidden, &anatomy)[flat]));
    }
}

impl Pass {
    /// What a layer was given.
    fn features_of(&self, layer: usize, anatomy: &Anatomy) -> &[f32] {
        anatomy.layers()[layer].inputs[0].map_or(&self.input[..], |at| &self.activations[at])
    }
}

#[test]
fn where_there_is_no_value_there_is_no_arithmetic() {
    let mut look = shipped("fast");
    let digit = digits(1).images;
    let (pass, anatomy) = (look.picture(&digit, ACTIVATIONS).unwrap(), look.anatomy());
    assert!(anatomy.arithmetic(&pass, 0, 0, [23, 23]).is_some());
    assert!(anatomy.arithmetic(&pass, 0, 0, [24, 0]).is_none());
    assert!(anatomy.arithmetic(&pass, 0, 32, [0, 0]).is_none());
    assert!(anatomy.arithmetic(&pass, 99, 0, [0, 0]).is_none());
    let without = look.picture(&digit, Wanted::default()).unwrap();
    assert!(anatomy.arithmetic(&without, 0, 0, [0, 0]).is_none());
    let other = shipped("cnn").picture(&digit, ACTIVATIONS).unwrap();
    assert!(anatomy.arithmetic(&other, 0, 0, [0, 0]).is_none());
}
