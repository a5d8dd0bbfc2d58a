//! `inkgrad classify --resume`: what a stopped run has done, and what has become of its pictures since.

use std::path::Path;

use image::GrayImage;

use crate::classify::{CLASSIFY, digit, digits, ends_before_its_table, ends_with, pixels, rows, save};
use crate::common::{Place, said};

#[test]
fn a_run_that_was_to_replace_a_table_goes_on_and_replaces_it() {
    let place = Place::new();
    digits(&place, "in", 5);
    place.write("table.csv", "mine");
    let line = format!("{CLASSIFY} in --out table.csv");
    ends_before_its_table(&place, &format!("{line} --force"));
    assert_eq!(place.text("table.csv"), "mine");
    place.refused(&line, &["table.csv.partial was left by a run that was stopped", "--resume"]);
    let journal = place.read("table.csv.partial");
    place.works(&format!("{line} --resume"));
    let table = place.text("table.csv");
    assert_eq!(rows(&table).len(), 6);
    assert!(!place.path("table.csv.partial").exists());
    // What a kill leaves once the table has its name, but before the journal is removed.
    place.write("table.csv.partial", journal);
    place.works(&format!("{line} --resume"));
    assert_eq!(place.text("table.csv"), table);
    assert!(!place.path("table.csv.partial").exists());
    // No stopped run was going to replace this table.
    place.write("table.csv", "mine");
    place.refused(&format!("{line} --resume"), &["table.csv is already there, and is a different table", "--force"]);
    assert_eq!(place.text("table.csv"), "mine");
}

#[test]
fn a_table_that_another_run_is_writing_is_not_called_a_stopped_runs() {
    let place = Place::new();
    digits(&place, "in", 1);
    let line = format!("{CLASSIFY} in --out table.csv");
    place.write("table.csv.partial", "");
    let journal = std::fs::File::options().read(true).write(true).open(place.path("table.csv.partial")).unwrap();
    journal.lock().unwrap();
    for flags in ["", "--force", "--resume"] {
        place.refused(
            &format!("{line} {flags}"),
            &["table.csv.partial: another run is writing it", "name another --out"],
        );
    }
    drop(journal);
    place.refused(&line, &["table.csv.partial was left by a run that was stopped"]);
}

#[test]
fn what_a_stopped_run_was_begun_with_is_said_as_it_is_typed_and_other_journals_are_refused() {
    let place = Place::new();
    digits(&place, "in", 5);
    let line = format!("{CLASSIFY} in --out table.csv");
    ends_before_its_table(&place, &line);
    for (flags, words) in [
        ("--threshold 0.9", "was begun without --threshold, not with --threshold 0.9. Continue with the same, or"),
        ("--prepare never", "was begun with --prepare auto, not with --prepare never"),
        ("--sort-into sy --sort link", "was begun without --sort-into and --sort, not with --sort-into sy --sort link"),
        ("--model dense", "was begun with --model judge, not with --model dense"),
        ("--show-input seen", "was begun without --show-input, not with --show-input seen"),
        ("--probabilities", "was begun without --probabilities, not with --probabilities"),
        ("--views 4", "was begun with --views 1, not with --views 4"),
        ("more.png", "was begun without more.png, which is given now"),
    ] {
        place.refused(&format!("{line} --resume {flags}"), &[words]);
    }
    let journal = place.text("table.csv.partial");
    let (_, records) = journal.split_once('\n').unwrap();
    // A first line that does not say its form.
    place.write("table.csv.partial", format!("{{\"--top\":\"2\",\"--views\":\"1\"}}\n{records}"));
    let words = ["table.csv.partial: was begun by another version of this program", "start over with --force"];
    place.refused(&format!("{line} --resume"), &words);
    place.write("table.csv.partial", journal);
    // What is meant where nothing is said.
    place.works(&format!("{line} --resume --top 2 --views 1 --prepare auto --format csv --model judge"));
    assert_eq!(rows(&place.text("table.csv")).len(), 6);
}

#[test]
fn a_sheet_and_a_list_of_errors_may_be_put_elsewhere_when_a_run_goes_on_but_not_left_out() {
    let place = Place::new();
    digits(&place, "in", 3);
    place.write("in/broken.png", "no picture");
    let line = format!("{CLASSIFY} in --out table.csv");
    let full = place.command(&format!("{line} --errors full.csv")).env("INKGRAD_FAULT", "full-disk@full.csv").output();
    let full = said(full.unwrap());
    ends_with(&full, 1);
    let kept = "that there is room. What is done is kept in table.csv.partial";
    assert!(full.err.contains("cannot write full.csv: ") && full.err.contains(kept), "{full:#?}");
    let words = "was begun with --errors full.csv, not without --errors";
    place.refused(&format!("{line} --resume"), &[words]);
    ends_with(&place.run(&format!("{line} --resume --errors room.csv --sheet sheet.png")), 3);
    assert!(place.text("room.csv").contains("broken.png") && place.path("sheet.png").exists());
    assert_eq!(rows(&place.text("table.csv")).len(), 4);
}

#[test]
fn a_run_that_goes_on_replaces_its_own_files_and_those_of_the_runs_before_it_but_no_others() {
    let place = Place::new();
    digits(&place, "in", 3);
    place.write("in/broken.png", "no picture");
    place.write("mine.csv", "mine");
    save(&place, "mine.png", GrayImage::new(3, 3));
    let line = format!("{CLASSIFY} in --out table.csv");
    let stops = |flags: &str| {
        let mut command = place.command(&format!("{line} {flags}"));
        ends_with(&said(command.env("INKGRAD_FAULT", "full-disk@table.csv").output().unwrap()), 1);
    };
    stops("--errors own.csv");
    for (flags, file) in [("--errors mine.csv", "mine.csv"), ("--errors own.csv --sheet mine.png", "mine.png")] {
        let words = format!("{file} is already there, and the table was not begun with it; name another place");
        place.refused(&format!("{line} --resume {flags}"), &[words.as_str()]);
    }
    // Put elsewhere by a run that is stopped in turn.
    stops("--resume --errors later.csv");
    for file in ["own.csv", "later.csv"] {
        assert!(place.text(file).contains("broken.png"));
        place.write(file, "of a run before");
    }
    stops("--resume --errors ./own.csv");
    ends_with(&place.run(&format!("{line} --resume --errors later.csv --sheet sheet.png")), 3);
    assert!(place.text("own.csv").contains("broken.png") && place.text("later.csv").contains("broken.png"));
    assert_eq!(rows(&place.text("table.csv")).len(), 4);
}

#[test]
fn a_file_in_the_way_is_refused_before_a_run_that_goes_on_moves_anything() {
    let place = Place::new();
    digits(&place, "in", 3);
    place.write("mine.csv", "mine");
    let line = format!("{CLASSIFY} in --out table.csv --sort-into sorted --sort move");
    ends_before_its_table(&place, &line);
    // What a kill leaves before a picture in the journal is moved.
    let (image, label) = digit(0);
    let left = format!("in/{label}/00000.png");
    save(&place, &left, image);
    place.refused(&format!("{line} --resume --errors mine.csv"), &["mine.csv is already there"]);
    assert!(place.path(&left).exists());
    place.works(&format!("{line} --resume"));
    assert!(!place.path(&left).exists() && rows(&place.text("table.csv")).len() == 4);
}

#[test]
fn a_table_that_is_whole_is_left_as_it_is_and_one_that_would_be_another_is_told() {
    let place = Place::new();
    digits(&place, "in", 30);
    digits(&place, "other", 3);
    place.write("in/3/empty.png", "");
    save(&place, "in/blank.png", GrayImage::new(28, 28));
    for (out, label, altered) in [("table.csv", ",0,", ",1,"), ("table.jsonl", r#""label":"0""#, r#""label":"1""#)] {
        let line = format!("--out {out} --errors {out}.errors");
        ends_with(&place.run(&format!("{CLASSIFY} in {line}")), 3);
        let again = place.run(&format!("{CLASSIFY} in {line} --resume"));
        ends_with(&again, 3);
        assert!(again.err.contains("is already complete: it has these pictures"), "{again:#?}");
        assert!(again.err.contains("1 picture could not be read"), "{again:#?}");
        for (given, words) in [
            ("other", "should be"),
            ("in other", "it lacks other/"),
            ("in --shard 1/3", "it has in/"),
            ("in/3/empty.png", "which does not belong there"),
            ("in --top 3", "its columns are not the ones that this command writes"),
            ("in --model dense", "its answer for in/"),
        ] {
            let refused = format!("{CLASSIFY} {given} {line} --resume");
            let another = format!("{out} is already there, and is a different table");
            place.refused(&refused, &[another.as_str(), words, "--force"]);
        }
        let whole = place.text(out);
        let wrong = whole.replacen(label, altered, 1);
        assert_ne!(whole, wrong);
        place.write(out, wrong);
        place.refused(&format!("{CLASSIFY} in {line} --resume"), &["its answer for in/0/"]);
        place.write(out, whole);
    }
    let line = format!("{CLASSIFY} in --out sure.csv --resume");
    ends_with(&place.run(&format!("{line} --threshold 0.5")), 3);
    ends_with(&place.run(&format!("{line} --threshold 0.5")), 3);
    place.refused(&format!("{line} --threshold 1"), &["its answer for in/"]);
    save(&place, "in/9/new.png", digit(40).0);
    place.refused(&format!("{CLASSIFY} in --out table.csv --resume"), &["in/9/new.png"]);
    place.works(&format!("{CLASSIFY} other --out table.parquet"));
    let again = place.works(&format!("{CLASSIFY} other --out table.parquet --resume"));
    assert!(again.err.contains("is already complete: its pictures"), "{again:#?}");
    place.write("test.csv", (0..30).map(|i| pixels(i) + "\n").collect::<String>());
    let line = format!("{CLASSIFY} test.csv --format kaggle --out kaggle.csv");
    place.works(&line);
    place.works(&format!("{line} --resume"));
    place.write("test.csv", (0..31).map(|i| pixels(i) + "\n").collect::<String>());
    place.refused(&format!("{line} --resume"), &["it lacks 31"]);
}

#[test]
fn files_that_a_complete_table_was_made_without_are_not_left_out_in_silence() {
    let place = Place::new();
    digits(&place, "in", 3);
    let line = format!("{CLASSIFY} in --out table.csv");
    place.works(&line);
    for (flag, path) in
        [("--sheet", "sheet.png"), ("--sort-into", "sorted"), ("--show-input", "seen"), ("--errors", "errors.csv")]
    {
        let words = format!("{flag} {path}: is not there, and table.csv is already complete");
        place.refused(&format!("{line} --resume {flag} {path}"), &[words.as_str(), "make all anew with --force"]);
    }
    let files = "--sheet sheet.png --sort-into sorted --show-input seen --errors errors.csv";
    place.works(&format!("{line} {files} --force"));
    let again = place.works(&format!("{line} {files} --resume"));
    assert!(again.err.contains("is already complete") && again.err.contains("--sheet sheet.png is left"), "{again:#?}");
}

#[test]
fn a_complete_table_without_rows_lacks_no_folder_for_pictures_and_all_other_files_that_are_not_there() {
    let place = Place::new();
    place.write("in/broken.png", "no picture");
    let line = format!("{CLASSIFY} in --out table.csv --sort-into sorted --show-input seen");
    ends_with(&place.run(&line), 3);
    assert!(!place.path("sorted").exists() && !place.path("seen").exists());
    let again = place.run(&format!("{line} --resume"));
    ends_with(&again, 3);
    assert!(again.err.contains("is already complete") && !again.err.contains("is left as it is"), "{again:#?}");
    place.refused(&format!("{line} --resume --errors errors.csv"), &["--errors errors.csv: is not there"]);
}

#[test]
fn a_label_that_is_no_class_is_no_truth_and_a_stopped_run_goes_on_after_it() {
    let place = Place::new();
    let labels = [digit(0).1, 77, digit(2).1];
    let text = labels.iter().enumerate().map(|(i, label)| format!("{label},{}\n", pixels(i))).collect::<String>();
    place.write("digits.csv", text);
    let line = format!("{CLASSIFY} digits.csv --out table.csv");
    ends_before_its_table(&place, &line);
    let said = place.works(&format!("{line} --resume"));
    for words in ["1 row has a label that is not a class of the network", "of those whose class is known, 2 of 3"] {
        assert!(said.out.contains(words), "{words:?} is not in {said:#?}");
    }
    let truths: Vec<String> = rows(&place.text("table.csv"))[1..].iter().map(|row| row[5].clone()).collect();
    assert_eq!(truths, [labels[0].to_string(), String::new(), labels[2].to_string()]);
}

/// What a run that was stopped after `count` pictures has left of a whole journal.
fn stopped_after(place: &Place, count: usize) {
    let journal = place.text("table.csv.partial");
    let lines: String = journal.split_inclusive('\n').take(1 + count).collect();
    place.write("table.csv.partial", lines);
}

#[test]
fn a_stopped_run_goes_on_with_the_pictures_that_it_was_begun_with_and_no_others() {
    let place = Place::new();
    for i in 0..6 {
        save(&place, &format!("in/{i}.png"), digit(i).0);
    }
    place.write("in/7.png", "no picture");
    let line = format!("{CLASSIFY} in --out table.csv");
    ends_with(&place.run(&format!("{CLASSIFY} in --out whole.csv")), 3);
    ends_before_its_table(&place, &line);
    stopped_after(&place, 4);
    let (journal, bytes) = (place.read("table.csv.partial"), place.read("in/1.png"));
    let refused = |words: &str| {
        let words = ["table.csv.partial: in/1.png ", words, "or start over with --force"];
        place.refused(&format!("{line} --resume"), &words);
        assert_eq!(place.read("table.csv.partial"), journal);
    };
    std::fs::remove_file(place.path("in/1.png")).unwrap();
    refused("has been classified and is no longer there");
    save(&place, "in/1.png", digit(9).0);
    refused("is not what it was when the stopped run looked at it");
    // The same picture in another file, with another time.
    place.write("in/1.png", bytes);
    ends_with(&place.run(&format!("{line} --resume")), 3);
    assert_eq!(place.text("table.csv"), place.text("whole.csv"));
}

#[test]
fn a_stopped_run_goes_on_with_the_rows_of_its_table_and_not_with_those_of_another() {
    let place = Place::new();
    let rows: Vec<String> = (0..8).map(|i| pixels(i) + "\n").collect();
    place.write("test.csv", rows.concat());
    let line = format!("{CLASSIFY} test.csv --format kaggle --out table.csv");
    ends_before_its_table(&place, &line);
    stopped_after(&place, 4);
    let reversed: Vec<String> = rows.iter().rev().cloned().collect();
    place.write("test.csv", reversed.concat());
    place.refused(&format!("{line} --resume"), &["table.csv.partial: test.csv#1 is not what it was", "--force"]);
    // The same rows with other ends of lines.
    place.write("test.csv", rows.concat().replace('\n', "\r\n"));
    place.works(&format!("{line} --resume"));
    let answers = (0..8).map(|i| format!("{},{}\n", i + 1, digit(i).1)).collect::<String>();
    assert_eq!(place.text("table.csv"), format!("ImageId,Label\n{answers}"));
}

#[test]
fn a_stopped_run_does_not_go_on_with_a_list_that_lacks_what_it_has_done() {
    let place = Place::new();
    for i in 0..3 {
        save(&place, &format!("{i}.png"), digit(i).0);
    }
    save(&place, "9.png", digit(9).0);
    place.write("test.csv", pixels(3) + "\n");
    let listed = |list: &str, flags: &str| {
        place.write("list", list);
        let mut command = place.command(&format!("{CLASSIFY} - --out table.csv {flags}"));
        command.stdin(std::fs::File::open(place.path("list")).unwrap());
        command
    };
    let says = |mut command: std::process::Command| said(command.output().unwrap());
    let all = "0.png\n1.png\ntest.csv\n2.png\n";
    let mut full = listed(all, "");
    full.env("INKGRAD_FAULT", "full-disk@table.csv");
    ends_with(&says(full), 1);
    stopped_after(&place, 3);
    let journal = place.read("table.csv.partial");
    let other = says(listed("0.png\ntest.csv\n9.png\n", "--resume"));
    ends_with(&other, 1);
    let words = "table.csv.partial: was begun with 1.png, which is not among the pictures now";
    assert!(other.err.contains(words) && !place.path("table.csv").exists(), "{other:#?}");
    assert_eq!(place.read("table.csv.partial"), journal, "what the wrong list added is taken back");
    ends_with(&says(listed(all, "--resume")), 0);
    let names: Vec<String> = rows(&place.text("table.csv"))[1..].iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["0.png", "1.png", "test.csv#1", "2.png"]);
}

#[test]
fn a_stopped_run_goes_on_without_what_it_could_not_read() {
    let place = Place::new();
    digits(&place, "in", 4);
    place.write("in/a.png", "no picture");
    for (sort, table) in [("copy", "table.csv"), ("move", "moved.csv")] {
        let line = format!("{CLASSIFY} in --out {table} --sort-into {sort} --sort {sort}");
        ends_before_its_table(&place, &line);
        std::fs::remove_file(place.path("in/a.png")).unwrap();
        ends_with(&place.run(&format!("{line} --resume")), 3);
        assert_eq!(rows(&place.text(table)).len(), 5);
        place.write("in/a.png", "no picture");
    }
}

/// A folder of six pictures and their table, and what in/3.png held before it was broken.
fn six_pictures_of_which_one_breaks() -> (Place, Vec<u8>) {
    let place = Place::new();
    for i in 0..6 {
        save(&place, &format!("in/{i}.png"), digit(i).0);
    }
    place.works(&format!("{CLASSIFY} in --out whole.csv"));
    let whole = place.read("in/3.png");
    place.write("in/3.png", "no picture");
    (place, whole)
}

#[test]
fn a_stopped_run_goes_on_with_what_it_could_not_read_once_it_can_be() {
    let (place, mended) = six_pictures_of_which_one_breaks();
    let line = format!("{CLASSIFY} in --out table.csv");
    ends_before_its_table(&place, &line);
    ends_with(&place.run(&format!("{CLASSIFY} in --out lacking.csv")), 3);
    place.write("in/3.png", &mended);
    let said = place.works(&format!("{line} --resume"));
    assert!(said.out.contains("6 pictures, 1 of them now"), "{said:#?}");
    assert_eq!(place.text("table.csv"), place.text("whole.csv"), "it stands where it would have stood");
    let again = place.works(&format!("{line} --resume"));
    assert!(again.err.contains("is already complete"), "{again:#?}");
    // A whole table does not say what could not be read.
    let words = "it has in/4.png where in/3.png should be, which may have been added or mended since";
    place.refused(&format!("{CLASSIFY} in --out lacking.csv --resume"), &[words, "--force"]);
}

#[test]
fn a_mended_picture_is_counted_once_though_the_run_that_mended_it_was_stopped_and_has_moved_it() {
    let (place, mended) = six_pictures_of_which_one_breaks();
    let line = format!("{CLASSIFY} in --out table.csv --sort-into sorted --sort move");
    ends_before_its_table(&place, &line);
    place.write("in/3.png", &mended);
    ends_before_its_table(&place, &format!("{line} --resume"));
    assert!(!place.path("in/3.png").exists());
    let said = place.works(&format!("{line} --resume"));
    assert!(said.out.contains("6 pictures, 0 of them now"), "{said:#?}");
    assert_eq!(place.text("table.csv"), place.text("whole.csv"));
}

#[test]
fn a_stopped_run_that_moves_pictures_does_not_miss_those_that_it_has_moved() {
    let place = Place::new();
    digits(&place, "in", 6);
    place.works(&format!("{CLASSIFY} in --out whole.csv"));
    let line = format!("{CLASSIFY} in --out table.csv --sort-into sorted --sort move");
    ends_before_its_table(&place, &line);
    // Killed before the last two were moved, one of which was not in the journal yet.
    let table = rows(&place.text("whole.csv"));
    for row in &table[5..] {
        let name = Path::new(&row[0]).file_name().unwrap().to_str().unwrap();
        std::fs::rename(place.path(&format!("sorted/{}/{name}", row[1])), place.path(&row[0])).unwrap();
    }
    stopped_after(&place, 5);
    place.works(&format!("{line} --resume"));
    assert_eq!(place.text("table.csv"), place.text("whole.csv"));
    assert!(table[1..].iter().all(|row| !place.path(&row[0]).exists()));
}

#[test]
fn answers_are_kept_before_the_first_of_their_pictures_is_moved() {
    let place = Place::new();
    digits(&place, "in", 6);
    place.works(&format!("{CLASSIFY} in --out whole.csv"));
    // Where the fourth picture should go there is no folder.
    place.write("sorted/2", "a file");
    let line = format!("{CLASSIFY} in --out table.csv --sort-into sorted --sort move");
    let said = place.run(&line);
    ends_with(&said, 1);
    assert!(said.err.contains("--sort-into: cannot put in/2/00001.png into sorted/2"), "{said:#?}");
    std::fs::remove_file(place.path("sorted/2")).unwrap();
    let said = place.works(&format!("{line} --resume"));
    assert!(said.out.contains("6 pictures, 0 of them now"), "{said:#?}");
    assert_eq!(place.text("table.csv"), place.text("whole.csv"));
    assert!(place.path("sorted/2/00001.png").exists() && !place.path("in/2/00001.png").exists());
}

#[test]
fn a_stopped_run_goes_on_and_ends_with_the_bytes_of_one_never_stopped() {
    let place = Place::new();
    digits(&place, "in", 700);
    place.write("in/3/empty.png", "");
    for format in ["csv", "jsonl", "parquet"] {
        let line = format!("{CLASSIFY} in --probabilities");
        ends_with(&place.run(&format!("{line} --out whole.{format}")), 3);
        ends_with(&place.run(&format!("{line} --out part.{format}")), 3);
        assert_eq!(place.read(&format!("part.{format}")), place.read(&format!("whole.{format}")));
    }
    #[cfg(unix)]
    for attempt in 1.. {
        let line = format!("{CLASSIFY} in --probabilities --out stopped.csv");
        place.write("stopped.csv", "replaced where the run goes on");
        let child = place.start(&format!("{line} --force"));
        let partial = place.path("stopped.csv.partial");
        while !partial.exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(3 * attempt));
        crate::common::interrupt(&child);
        let stopped = said(child.wait_with_output().unwrap());
        if stopped.code == Some(130) {
            let goes_on = stopped.err.contains("the same command with --resume instead of --force continues");
            assert!(goes_on && partial.exists(), "{stopped:#?}");
            place.refused(&line, &["--resume", "--force"]);
            place.refused(&format!("{CLASSIFY} in --top 5 --probabilities --out stopped.csv --resume"), &["--top"]);
            // A run that was killed leaves a journal that ends anywhere.
            let kept = std::fs::read(&partial).unwrap();
            std::fs::write(&partial, &kept[..kept.len() - 7]).unwrap();
            let resumed = place.run(&format!("{line} --resume"));
            ends_with(&resumed, 3);
            assert!(resumed.err.contains("1 file could not be read"), "{resumed:#?}");
            assert!(resumed.out.contains("700 pictures"), "{resumed:#?}");
            assert_eq!(place.read("stopped.csv"), place.read("whole.csv"));
            assert!(!partial.exists());
            let again = place.run(&format!("{line} --resume"));
            ends_with(&again, 3);
            assert!(again.err.contains("is already complete"), "{again:#?}");
            return;
        }
        assert!(attempt < 20, "it was never stopped in time: {stopped:#?}");
    }
}
