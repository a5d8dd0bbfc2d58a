//! `inkgrad generate` with models of other classes than the digits from 0 to 9.

use crate::common::Place;
use crate::generate::{CPU, generate, grey};

/// The generator that ships with the program, with other names for its ten classes.
fn renamed(place: &Place, name: &str, class_names: [&str; 10]) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/models/gan.safetensors");
    let mut model = inkgrad::models::ModelFile::load(shipped).unwrap();
    model.set_class_names(&class_names.map(String::from));
    model.save(place.path(name)).unwrap();
}

const ODD: [&str; 10] = ["1", "3", "5", "7", "9", "11", "13", "15", "17", "19"];
const LETTERS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

#[test]
fn a_class_is_given_by_its_name_and_only_where_no_class_is_a_number_by_its_place() {
    let place = Place::new();
    renamed(&place, "odd.safetensors", ODD);
    renamed(&place, "letters.safetensors", LETTERS);
    generate(&place, "--model odd.safetensors --digits 3,9,13 --grid 1x3 --out-dir odds");
    assert_eq!(place.names("odds"), ["000000_3.png", "000001_9.png", "000002_13.png"]);
    generate(&place, "--model odd.safetensors --between-digits 3,9 --frames 2 --grid 1x1 --out-dir way");
    assert_eq!(place.names("way"), ["000000_3.png", "000001_9.png"]);
    generate(&place, "--model odd.safetensors --text 39 --truncation 1 --out text.png");
    generate(&place, "--model odd.safetensors --digits 3,9 --grid 1x2 --out digits.png");
    assert_eq!(grey(&place, "text.png"), grey(&place, "digits.png"));
    for flags in ["--digits 1-3", "--between-digits 3,2"] {
        let known = "2 is not one of the model's 10 classes, which are 1, 3, 5, 7, 9, 11, 13, 15, 17, 19";
        place.refused(&format!("generate {CPU} --model odd.safetensors {flags}"), &[known]);
    }
    generate(&place, "--model letters.safetensors --digits 2,0 --grid 1x2 --out-dir letter");
    assert_eq!(place.names("letter"), ["000000_c.png", "000001_a.png"]);
    generate(&place, "--model letters.safetensors --digits c,0-1,a --grid 1x4 --out-dir named");
    assert_eq!(place.names("named"), ["000000_c.png", "000001_a.png", "000002_b.png", "000003_a.png"]);
    generate(&place, "--model letters.safetensors --between-digits c,a --frames 2 --grid 1x1 --out-dir names");
    assert_eq!(place.names("names"), ["000000_c.png", "000001_a.png"]);
    let words = ["--digits: \"z\" is not one of the model's 10 classes, which are a, b, c", "1,4,7 or 0-4"];
    place.refused(&format!("generate {CPU} --model letters.safetensors --digits z"), &words);
    let known = "which are counted from 0: 0 is a, 1 is b";
    place.refused(&format!("generate {CPU} --model letters.safetensors --digits 10"), &["--digits: 10 is not", known]);
}

#[test]
fn a_class_that_is_called_like_a_range_of_numbers_is_drawn_when_it_is_asked_for() {
    let place = Place::new();
    let ages = ["0-1", "0-2", "1-2", "3-4", "5-9", "10-19", "20-29", "30-39", "40-49", "50-59"];
    renamed(&place, "ages.safetensors", ages);
    let ages = "--model ages.safetensors";
    generate(&place, &format!("{ages} --digits 1-2,0-1,10-19 --grid 1x3 --out-dir some"));
    assert_eq!(place.names("some"), ["000000_1-2.png", "000001_0-1.png", "000002_10-19.png"]);
    generate(&place, &format!("{ages} --between-digits 0-2,5-9 --frames 2 --grid 1x1 --out-dir way"));
    assert_eq!(place.names("way"), ["000000_0-2.png", "000001_5-9.png"]);
    place.refused(&format!("generate {CPU} {ages} --between-digits 0-2"), &["--between-digits", "at least two"]);
    // No class is called so: places.
    generate(&place, &format!("{ages} --digits 1-0 --grid 1x2 --out-dir places"));
    assert_eq!(place.names("places"), ["000000_0-2.png", "000001_0-1.png"]);
}

#[test]
fn labels_of_a_data_set_are_the_numbers_that_classes_are_named_after_or_are_told() {
    let place = Place::new();
    renamed(&place, "odd.safetensors", ODD);
    renamed(&place, "letters.safetensors", LETTERS);
    let made = "--grid 1x20 --format idx";
    let said = generate(&place, &format!("--model odd.safetensors {made} --out-dir odds"));
    assert_eq!(said.err, "");
    let set = inkgrad::data::load_folder(place.path("odds")).unwrap();
    let labels: Vec<u32> = set.train.labels.iter().chain(&set.test.labels).copied().collect();
    assert!(labels.iter().enumerate().all(|(i, label)| label.to_string() == ODD[i % 10]), "{labels:?}");
    let said = generate(&place, &format!("--model letters.safetensors {made} --out-dir letter"));
    assert!(said.err.contains("IDX files hold numbers instead of class names: 0 is a, 1 is b"), "{said:#?}");
    let set = inkgrad::data::load_folder(place.path("letter")).unwrap();
    assert_eq!(set.train.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    // Here labels are those of the names in the metadata.
    let said = generate(&place, "--model odd.safetensors --grid 1x2 --out a.safetensors");
    assert!(said.err.contains("labels count the classes: 0 is 1, 1 is 3"), "{said:#?}");
    assert_eq!(generate(&place, "--grid 1x2 --out b.safetensors").err, "");
}
