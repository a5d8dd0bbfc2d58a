//! What `evaluate --json` tells programs: the numbers that the tables show, unrounded.

use inkgrad::models::{ModelFile, Words};
use serde_json::Value;

use crate::common::Place;

/// What `evaluate` prints: a text's lines, each as its words, and an object, which is all that `--json` prints. Notes
/// and warnings are the same.
fn evaluated(place: &Place, line: &str) -> (Vec<Vec<String>>, Value) {
    let said = |flag: &str| {
        let output = place.command(&format!("evaluate {line} --device cpu {flag}")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        // As they are: a backslash may be one of JSON.
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let ([text, notes], [json, notes_of_json]) = (said(""), said("--json"));
    assert_eq!(notes_of_json, notes);
    let words = |line: &str| line.split_whitespace().map(String::from).collect();
    (text.lines().map(words).collect(), serde_json::from_str(&json).unwrap())
}

fn shows(lines: &[Vec<String>], words: &[&str]) {
    assert!(lines.iter().any(|line| line == words), "no {words:?} in {lines:#?}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// But for what reading a number may round.
fn are_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A share as tables show it.
fn percent(share: &Value) -> String {
    share.as_f64().map_or("-".into(), |share| format!("{:.2}%", share * 100.0))
}

fn hundredths(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |number| format!("{number:.2}"))
}

#[test]
fn a_classifiers_numbers_are_those_of_its_tables() {
    let place = Place::with_digits(10, 300);
    let mut model = ModelFile::shipped("dense").unwrap();
    // A terminal would write the rest of the line backwards.
    let names = ["zero", "one", "two", "three", "four", "five", "six", "se\u{202e}ven", "eight", "nine"];
    model.set_class_names(&names.map(String::from));
    model.save(place.path("mine.safetensors")).unwrap();
    let (lines, told) = evaluated(&place, "mine.safetensors --data data --views 3 --shifts 1 --out seen");
    let about = ["model", "kind", "data"].map(|key| text(&told[key]));
    assert_eq!(about, ["mine.safetensors", "classifier", "data"]);
    assert!(text(&told["device"]).starts_with("CPU (") && told["views"] == 3, "{told}");
    let written: Vec<&str> = list(&told["written"]).iter().map(text).collect();
    assert!(written[0].ends_with("confusion.png") && written[1].ends_with("mistakes.png"), "{told}");

    let [accuracy, error, loss] = ["accuracy", "standard_error", "loss"].map(|key| number(&told[key]));
    let [low, high] = [0, 1].map(|i| number(&told["interval"][i]));
    let [right, count] = ["right", "count"].map(|key| told[key].as_u64().unwrap());
    assert!(count == 300 && right < 300 && told["unanswered"] == 0, "{told}");
    assert!(are_near(accuracy, right as f64 / 300.0), "{told}");
    let line = format!(
        "accuracy {:.2} % ± {:.2} (95 % interval {:.2} to {:.2} %), {right} of {count} right",
        accuracy * 100.0,
        error * 100.0,
        low * 100.0,
        high * 100.0
    );
    shows(&lines, &line.split(' ').collect::<Vec<_>>());
    shows(&lines, &["loss", &format!("{loss:.4}")]);

    let [classes, confusion] = ["classes", "confusion"].map(|key| list(&told[key]));
    assert_eq!(classes.iter().map(|class| text(&class["name"])).collect::<Vec<_>>(), names);
    let [mut on_the_diagonal, mut in_all] = [0; 2];
    for (i, (class, row)) in classes.iter().zip(confusion).enumerate() {
        let name = text(&class["name"]).replace('\u{202e}', "\\u{202e}");
        let [precision, recall, f1] = ["precision", "recall", "f1"].map(|key| percent(&class[key]));
        shows(&lines, &[&name, &precision, &recall, &f1, &class["count"].to_string()]);
        let counts: Vec<u64> = list(row).iter().map(|count| count.as_u64().unwrap()).collect();
        assert_eq!(class["count"], counts.iter().sum::<u64>(), "{class}: {row}");
        assert!(are_near(number(&class["recall"]), counts[i] as f64 / number(&class["count"])), "{class}: {row}");
        let cells = counts.iter().map(|count| if *count == 0 { ".".into() } else { count.to_string() });
        let cells: Vec<String> = [name].into_iter().chain(cells).collect();
        assert!(lines.contains(&cells), "no {cells:?} in {lines:#?}");
        (on_the_diagonal, in_all) = (on_the_diagonal + counts[i], in_all + counts.iter().sum::<u64>());
    }
    assert_eq!((on_the_diagonal, in_all), (right, count));
    let [precision, recall, f1] = ["precision", "recall", "f1"].map(|key| percent(&told["mean"][key]));
    shows(&lines, &["mean", &precision, &recall, &f1, "300"]);

    let shifts = &told["shifts"];
    assert_eq!(number(&shifts["accuracy"][1][1]), accuracy, "nothing moves");
    for (down, row) in ["-1", "0", "+1"].into_iter().zip(list(&shifts["accuracy"])) {
        let [left, middle, right] = [0, 1, 2].map(|i| percent(&row[i]));
        shows(&lines, &[down, &left, &middle, &right]);
    }
    for (distance, shown) in list(&shifts["by_distance"]).iter().zip([["0", "1"], ["1", "8"]]) {
        assert_eq!([&distance["pixels"], &distance["shifts"]].map(Value::to_string), shown);
        shows(&lines, &[shown[0], shown[1], &percent(&distance["accuracy"])]);
    }
    assert_eq!((shifts["most"].as_u64(), list(&shifts["by_distance"]).len()), (Some(1), 2));
}

#[test]
fn the_numbers_are_printed_even_where_the_pictures_cannot_be_saved() {
    let place = Place::with_digits(10, 50);
    place.write("file", "no folder");
    let said = place.run("evaluate dense --data data --device cpu --out file/seen --json");
    assert!(said.code == Some(1) && said.err.contains("--out file/seen: "), "{said:#?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert!(told["count"] == 50 && list(&told["written"]).is_empty(), "{told}");
}

#[test]
fn the_picture_that_was_written_is_named_where_the_other_could_not_be() {
    let place = Place::with_digits(10, 50);
    // A folder cannot be replaced by a file.
    place.write("seen/mistakes.png/in the way", "");
    let evaluate = "evaluate dense --data data --device cpu --out seen";
    let said = place.run(&format!("{evaluate} --json"));
    assert!(said.code == Some(1) && said.err.contains("mistakes.png"), "{said:#?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let written: Vec<&str> = list(&told["written"]).iter().map(text).collect();
    assert!(matches!(written[..], [place] if place.ends_with("confusion.png")), "{told}");
    let said = place.run(evaluate);
    assert!(said.code == Some(1) && said.out.trim_end().ends_with("confusion.png"), "{said:#?}");
}

#[test]
fn what_is_no_number_is_null() {
    let place = Place::with_digits(10, 50);
    let mut model = ModelFile::shipped("dense").unwrap();
    let last = model.tensors.iter_mut().find(|tensor| tensor.name == "dense2.weight").unwrap();
    let Words::F32(weights) = &mut last.words else { panic!("whole numbers") };
    weights.fill(3e38);
    model.save(place.path("large.safetensors")).unwrap();
    let (_, told) = evaluated(&place, "large.safetensors --data data");
    assert_eq!((&told["unanswered"], &told["right"], number(&told["accuracy"])), (&50.into(), &0.into(), 0.0));
    assert!(["loss", "shifts"].iter().all(|key| told.get(key) == Some(&Value::Null)), "{told}");
    assert!(list(&told["written"]).is_empty() && told["classes"][3]["precision"].is_null(), "{told}");
}

#[test]
fn a_generators_measures_are_those_of_its_tables() {
    let place = Place::with_digits(400, 200);
    // Latents of nearly nothing: pictures of a class are nearly alike.
    let (lines, told) = evaluated(&place, "gan --data data --seed 7 --truncation 0.125 --teach");
    assert_eq!(
        ["model", "kind", "data", "judge"].map(|key| text(&told[key])),
        ["gan", "generator", "data", "the built-in judge"]
    );
    assert_eq!((&told["count"], &told["seed"], number(&told["truncation"])), (&200.into(), &7.into(), 0.125));
    let hash = text(&told["judge_sha256"]);
    assert!(hash.len() == 64 && lines[0].contains(&format!("({}),", &hash[..12])), "{lines:#?}");

    shows(&lines, &["Fréchet", "distance", &hundredths(&told["frechet"])]);
    shows(&lines, &["of", "real", "pictures", &hundredths(&told["floor"])]);
    let times = &told["times_floor"];
    assert!(are_near(number(times), number(&told["frechet"]) / number(&told["floor"])), "{told}");
    shows(&lines, &["Fréchet", "distance", "/", "that", "of", "real", "pictures:", &hundredths(times)]);
    shows(&lines, &["labels", "recovered", &percent(&told["recovered"])]);
    for measure in ["precision", "recall"] {
        shows(&lines, &[measure, &percent(&told[measure])]);
    }
    let classes = list(&told["classes"]);
    assert_eq!(classes.len(), 10);
    for class in classes {
        shows(&lines, &[text(&class["name"]), &percent(&class["recovered"]), &hundredths(&class["diversity"])]);
    }
    let collapsed: Vec<&str> = list(&told["collapsed"]).iter().map(text).collect();
    let alike = classes.iter().filter(|class| number(&class["diversity"]) < 0.3).map(|class| text(&class["name"]));
    assert!(!collapsed.is_empty() && collapsed == alike.collect::<Vec<_>>(), "{told}");
    let line = format!("hardly varied, below 0.3 of real: {}", collapsed.join(", "));
    shows(&lines, &line.split(' ').collect::<Vec<_>>());

    let taught = number(&told["taught_accuracy"]);
    let line = lines.iter().find(|line| line.starts_with(&["a".into(), "classifier".into()])).unwrap();
    assert!(line.contains(&format!("{:.2}", taught * 100.0)), "{taught}: {line:?}");
    assert!(are_near((taught * 200.0).round() / 200.0, taught), "{taught}");
}
