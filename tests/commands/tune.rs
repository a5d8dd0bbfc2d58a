//! `inkgrad tune` on the real program: the fastest layout of each op on a device, remembered.

use inkgrad::device::Device;

use crate::common::{Place, said};

/// A software driver claims to be a card, whose layouts do not suit it, so that there is something to find.
const CARD: &str = "hardware@all";
const NETWORK: &str = "dense --batch 16";

/// The loss of the first step of a training.
fn first_loss(place: &Place, device: &str) -> f64 {
    let said = place.run_on(&format!("bench {NETWORK} --seconds 0 --json"), device, CARD);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let line: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    line["first_loss"].as_f64().unwrap()
}

#[test]
fn faster_layouts_are_found_remembered_and_forgotten_and_change_a_loss_by_its_rounding_alone() {
    let Some(gpu) = crate::golden::gpu("faster_layouts_are_found") else { return };
    let (gpu, place) = (gpu.name(), Place::new());
    let before = first_loss(&place, &gpu);
    let tuned = place.run_on(&format!("tune {NETWORK}"), &gpu, CARD);
    assert_eq!(tuned.code, Some(0), "{tuned:#?}");
    assert!(tuned.out.contains("dense, training, batch 16: ") && tuned.out.contains("times as fast"), "{tuned:#?}");
    assert!(tuned.out.contains(" found to be faster here: ") && !tuned.err.contains("wrong"), "{tuned:#?}");
    let after = first_loss(&place, &gpu);
    assert!((before - after).abs() < 1e-5, "{before} before, {after} after");

    let forgotten = place.run_on("tune --forget", &gpu, CARD);
    assert!(forgotten.out.contains(" forgotten") && !forgotten.out.contains(": 0 layouts"), "{forgotten:#?}");
    let again = place.run_on("tune --forget", &gpu, CARD);
    assert!(again.out.contains(": 0 layouts forgotten"), "{again:#?}");
    assert_eq!(first_loss(&place, &gpu), before);
}

#[test]
fn a_faster_layout_whose_results_are_wrong_is_named_and_not_taken() {
    let Some(gpu) = crate::golden::gpu("a_faster_layout_whose_results_are_wrong") else { return };
    let (gpu, place) = (gpu.name(), Place::new());
    let before = first_loss(&place, &gpu);
    // Undivided sums begin at a later term; a card's own layouts of these products are divided.
    let wrong = format!("{CARD};wrong-shader@matmul.nn:let slice = 0u=>let slice = 100u");
    let tuned = place.run_on(&format!("tune {NETWORK}"), &gpu, &wrong);
    assert_eq!(tuned.code, Some(0), "{tuned:#?}");
    for words in ["warning: wrong results on this device, so not used: ", " of matmul.nn [16, 64]\n"] {
        assert!(tuned.err.contains(words), "{words:?} is not in {tuned:#?}");
    }
    let after = first_loss(&place, &gpu);
    assert!((before - after).abs() < 1e-5, "{before} before, {after} after");
}

#[test]
fn what_cannot_be_remembered_is_said_with_its_place_before_anything_is_measured() {
    let Some(gpu) = crate::golden::gpu("what_cannot_be_remembered_is_said") else { return };
    let place = Place::new();
    place.write("file", "");
    for line in [format!("tune {NETWORK}"), "tune --forget".into()] {
        let mut tune = place.command(&line);
        tune.args(["--device", &gpu.name()]).env("INKGRAD_FAULT", CARD).env("INKGRAD_CACHE", place.path("file"));
        let said = said(tune.output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:#?}");
        // On Windows both separators occur in one path.
        let [told, named] = [said.err.clone(), place.path("file").display().to_string()].map(|t| t.replace('\\', "/"));
        assert!(told.contains(" in ") && told.contains(&named), "{said:#?}");
    }
}

#[test]
fn the_cpu_has_nothing_to_tune() {
    Place::new().refused("tune --device cpu", &["the CPU device has one layout of each op"]);
}
