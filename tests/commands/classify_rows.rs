//! `inkgrad classify` of tables: their rows, their labels, and Kaggle's format.

use std::io::Write;

use crate::classify::{CLASSIFY, digit, ends_before_its_table, ends_with, pixels, rows, save};
use crate::common::Place;

#[test]
fn a_sheet_has_the_rows_of_a_csv_file_that_an_earlier_run_has_done() {
    let place = Place::new();
    place.write("digits.csv", (0..30).map(|i| pixels(i) + "\n").collect::<String>());
    let line = format!("{CLASSIFY} digits.csv --out table.csv");
    ends_before_its_table(&place, &line);
    let resumed = place.works(&format!("{line} --resume --sheet resumed.png"));
    assert!(!resumed.err.contains("no longer there"), "{resumed:#?}");
    place.works(&format!("{CLASSIFY} digits.csv --out whole.csv --sheet whole.png"));
    assert!(place.read("resumed.png") == place.read("whole.png"));
}

#[test]
fn kaggle_gets_a_row_for_each_image_and_labels_give_the_accuracy() {
    let place = Place::new();
    let header = (0..784).map(|i| format!("pixel{i}")).collect::<Vec<_>>().join(",");
    let test = (0..40).map(|i| format!("{}\n", pixels(i))).collect::<String>();
    let train = (0..40).map(|i| format!("{},{}\n", digit(i).1, pixels(i))).collect::<String>();
    place.write("test.csv", format!("{header}\n{test}"));
    place.write("train.csv", format!("label,{header}\n{train}"));
    place.works(&format!("{CLASSIFY} test.csv --format kaggle --out submission.csv"));
    let table = rows(&place.text("submission.csv"));
    assert_eq!((table.len(), &table[0]), (41, &vec!["ImageId".to_string(), "Label".to_string()]));
    for (i, row) in table[1..].iter().enumerate() {
        assert_eq!(*row, [(i + 1).to_string(), digit(i).1.to_string()]);
    }
    let said = place.works(&format!("{CLASSIFY} train.csv --out table.csv"));
    assert!(said.out.contains("accuracy 100.00 %"), "{said:#?}");
    place.write("bad.csv", format!("{header}\n{}1,2,3\n{}", pixels(0) + "\n", pixels(1)));
    let said = place.run(&format!("{CLASSIFY} bad.csv"));
    ends_with(&said, 3);
    assert!(said.err.contains("bad.csv#2: line 3: expected 784 columns"), "{said:#?}");
    let said = place.run(&format!("{CLASSIFY} bad.csv --format kaggle --out short.csv"));
    ends_with(&said, 3);
    for words in ["\n1 row could not be read", "short.csv lacks 1 of 3 rows; Kaggle refuses it"] {
        assert!(said.err.contains(words), "{said:#?}");
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&place.read("test.csv")).unwrap();
    place.write("test.csv.gz", packed.finish().unwrap());
    place.works(&format!("{CLASSIFY} test.csv.gz --format kaggle --out packed.csv"));
    assert_eq!(place.text("packed.csv"), place.text("submission.csv"));
    place.write("empty.csv", format!("{header}\n"));
    let said = place.run(&format!("{CLASSIFY} empty.csv"));
    ends_with(&said, 3);
    assert!(said.err.contains("empty.csv: is a table without rows"), "{said:#?}");
    place.refused(&format!("{CLASSIFY} test.csv --format kaggle --threshold 0.5"), &["leave out --threshold"]);
    place.refused(&format!("{CLASSIFY} data --format kaggle"), &["one CSV file"]);
}

#[test]
fn no_submission_is_made_of_a_table_that_has_no_rows_that_can_be_read() {
    let place = Place::new();
    let header = (0..784).map(|i| format!("pixel{i}")).collect::<Vec<_>>().join(",");
    place.write("empty.csv", format!("{header}\n"));
    place.write("short.csv", "1,2,3\n");
    place.write("bad.csv", format!("{header}\n1,2,3\n4,5,6\n"));
    for (table, words) in [
        ("empty.csv", "empty.csv: is a table without rows"),
        ("short.csv", "short.csv: "),
        ("bad.csv", "bad.csv#1: line 2: expected 784 columns"),
    ] {
        for to in ["", " --out new/submission.csv"] {
            place.refused(&format!("{CLASSIFY} {table} --format kaggle{to}"), &[words]);
        }
    }
}

#[test]
fn a_table_that_breaks_off_is_said_to_lack_everything_after_that_row() {
    let place = Place::new();
    let packed = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let rows: Vec<String> = (0..40).map(|i| pixels(i) + "\n").collect();
    let bytes = packed(&rows.concat());
    place.write("cut.csv.gz", &bytes[..bytes.len() / 2]);
    let line = format!("{CLASSIFY} cut.csv.gz --format kaggle");
    let said = place.run(&format!("{line} --out part.csv"));
    ends_with(&said, 3);
    let row = place.text("part.csv").lines().count();
    assert!((10..30).contains(&row), "{row}");
    let words = format!("\n1 row could not be read, nor anything after row {row} of cut.csv.gz\n");
    assert!(said.err.contains(&words), "{said:#?}");
    let words = format!("part.csv lacks everything from row {row} on, where cut.csv.gz breaks off; Kaggle refuses it");
    assert!(said.err.contains(&words), "{said:#?}");
    // A row before it is wrong as well.
    let bytes = packed(&[&rows[..2], &["1,2\n".to_owned()], &rows[2..]].concat().concat());
    place.write("cut.csv.gz", &bytes[..bytes.len() / 2]);
    let said = place.run(&format!("{line} --out less.csv"));
    // The header's line makes up for that of the wrong row.
    let before = place.text("less.csv").lines().count();
    let lacks = format!("less.csv lacks 1 of {before} rows, and everything from row {} on", before + 1);
    for words in ["\n2 rows could not be read, nor anything after row ", lacks.as_str()] {
        assert!(said.err.contains(words), "{words:?} is not in {said:#?}");
    }
}

#[test]
fn kaggle_gets_the_names_of_classes_that_are_numbers() {
    let place = Place::new();
    for i in 0..100 {
        let (image, label) = digit(i);
        if [3, 8].contains(&label) {
            save(&place, &format!("in/{label}/{i:05}.png"), image);
        }
    }
    place.works("train dense --data in --hold-out 0 --epochs 2 --batch 8 --device cpu --quiet");
    place.write("test.csv", (0..20).map(|i| pixels(i) + "\n").collect::<String>());
    let line = format!("{CLASSIFY} test.csv --model runs/0001-dense --quiet");
    let table = rows(&place.works(&line).out);
    let submission = rows(&place.works(&format!("{line} --format kaggle")).out);
    assert_eq!(submission.len(), 21);
    for (submitted, row) in submission[1..].iter().zip(&table[1..]) {
        assert!(["3", "8"].contains(&submitted[1].as_str()), "{submitted:?}");
        assert_eq!(submitted[1], row[1]);
    }
    // Labels are such names too, and not the indices of the classes.
    let known: Vec<usize> = (0..100).filter(|i| [3, 8].contains(&digit(*i).1)).collect();
    let labelled = known.iter().map(|i| format!("{},{}\n", digit(*i).1, pixels(*i)));
    place.write("labelled.csv", labelled.collect::<String>());
    let table = rows(&place.works(&format!("{CLASSIFY} labelled.csv --model runs/0001-dense --quiet")).out);
    assert_eq!(table.len(), 1 + known.len());
    for (row, i) in table[1..].iter().zip(&known) {
        assert_eq!(row[5], digit(*i).1.to_string());
    }
}

#[test]
fn kaggle_gets_numbers_for_classes_with_names_and_the_person_is_told_which() {
    let place = Place::new();
    let mut model =
        inkgrad::models::ModelFile::load(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dense.safetensors")).unwrap();
    model.set_class_names(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(String::from));
    model.save(place.path("named.safetensors")).unwrap();
    place.write("test.csv", pixels(0) + "\n");
    let line = format!("{CLASSIFY} test.csv --model named.safetensors");
    let said = place.works(&format!("{line} --format kaggle"));
    assert!(said.err.contains("0 is a, 1 is b, 2 is c"), "{said:#?}");
    assert_eq!(said.out, "ImageId,Label\n1,7\n");
    assert!(!place.works(&line).err.contains("Kaggle"));
}

#[test]
fn labels_that_are_taken_for_places_are_told_of() {
    let place = Place::new();
    let mut model = inkgrad::models::ModelFile::shipped("dense").unwrap();
    model.set_class_names(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(String::from));
    model.save(place.path("named.safetensors")).unwrap();
    place.write("labelled.csv", format!("7,{}\n", pixels(0)));
    place.write("plain.csv", pixels(0) + "\n");
    let words = "note: no class is called by a number, so labels are taken for places: 0 is a, 1 is b";
    let said = place.works(&format!("{CLASSIFY} labelled.csv --model named.safetensors --quiet"));
    assert!(rows(&said.out)[1][5] == "h" && said.err.contains(words), "{said:#?}");
    for line in ["plain.csv --model named.safetensors", "labelled.csv"] {
        let said = place.works(&format!("{CLASSIFY} {line}"));
        assert!(!said.err.contains("taken for places"), "{said:#?}");
    }
}

#[test]
fn columns_that_may_stand_in_another_order_are_told_of() {
    let place = Place::new();
    let header = |name: fn(usize, usize) -> String| {
        let names: Vec<String> = (0..784).map(|i| name(i % 28 + 1, i / 28 + 1)).collect();
        names.join(",")
    };
    let row = pixels(0);
    place.write("columns.csv", format!("{}\n{row}\n", header(|row, column| format!("{row}x{column}"))));
    place.write("rows.csv", format!("{}\n{row}\n", header(|column, row| format!("{row}x{column}"))));
    let said = place.works(&format!("{CLASSIFY} rows.csv columns.csv"));
    assert!(said.err.contains("note: columns.csv: the columns are taken as they stand"), "{said:#?}");
    assert!(!said.err.contains("note: rows.csv"), "{said:#?}");
}
