//! `inkgrad classify` as its users meet it, on the built-in digits written as pictures.

use std::collections::BTreeSet;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage, imageops};
use inkgrad::data::mnist;
use inkgrad::models::ModelFile;

use crate::common::{Place, Said, accuracy, said};

pub const CLASSIFY: &str = "classify --device cpu";

pub fn digit(i: usize) -> (GrayImage, u32) {
    use std::sync::OnceLock;
    static TEST: OnceLock<inkgrad::data::ImageSet> = OnceLock::new();
    let set = TEST.get_or_init(|| mnist::embedded().unwrap().test);
    (GrayImage::from_raw(28, 28, set.image(i).to_vec()).unwrap(), set.labels[i])
}

/// The first test digits, each in the folder of its class.
pub fn digits(place: &Place, folder: &str, count: usize) {
    for i in 0..count {
        let (image, label) = digit(i);
        save(place, &format!("{folder}/{label}/{i:05}.png"), image);
    }
}

pub fn save(place: &Place, name: &str, image: impl Into<DynamicImage>) {
    let path = place.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let format = ImageFormat::from_path(&path).unwrap_or(ImageFormat::Png);
    image.into().save_with_format(path, format).unwrap();
}

/// A digit as somebody might draw it: blue on cream, large, not in the middle.
fn drawing(i: usize) -> RgbImage {
    let large = imageops::resize(&digit(i).0, 150, 150, imageops::FilterType::CatmullRom);
    let mut page = RgbImage::from_pixel(200, 300, Rgb([250, 240, 215]));
    for (x, y, pixel) in large.enumerate_pixels() {
        let share = f32::from(pixel.0[0]) / 255.0;
        let mix = |paper: f32, ink: f32| (paper + (ink - paper) * share) as u8;
        page.put_pixel(x + 5, y + 130, Rgb([mix(250.0, 30.0), mix(240.0, 40.0), mix(215.0, 120.0)]));
    }
    page
}

pub fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
}

/// A row of a CSV file.
pub fn pixels(i: usize) -> String {
    digit(i).0.into_raw().iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

pub fn ends_with(said: &Said, code: i32) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    assert!(!said.err.contains("panicked"), "{said:#?}");
}

/// A run that looks at everything and then ends as there is no room for its table, in CSV.
pub fn ends_before_its_table(place: &Place, line: &str) {
    let said = said(place.command(line).env("INKGRAD_FAULT", "full-disk@.csv").output().unwrap());
    ends_with(&said, 1);
    let words = "that you may write there, and that there is room. What is done is kept in";
    assert!(said.err.contains(words), "{said:#?}");
}

#[test]
fn digits_in_class_folders_are_told_as_evaluate_tells_them() {
    let place = Place::with_digits(10, 500);
    digits(&place, "png", 500);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/judge.safetensors");
    let evaluate = place.works(&format!("evaluate {model} --data data --device cpu --out pictures"));
    let classify = place.works(&format!("{CLASSIFY} png --model {model} --out table.csv"));
    assert_eq!(accuracy(&classify.out), accuracy(&evaluate.out));
    assert!(classify.out.contains("taken as they are 500, prepared 0"), "{classify:#?}");
    let table = rows(&place.text("table.csv"));
    assert_eq!(table.len(), 501);
    assert_eq!(table[0], ["path", "label", "confidence", "runner_up", "runner_up_confidence", "truth", "note"]);
    assert!(table[1][0].starts_with("png/0/") && table[1][5] == "0");
    // Without a model the table is the same: that model is the built-in one.
    place.works(&format!("{CLASSIFY} png --out same.csv"));
    assert_eq!(place.read("table.csv"), place.read("same.csv"));
}

#[test]
fn evaluate_its_shifts_and_classify_look_at_as_many_views_as_are_asked_for() {
    let place = Place::with_digits(10, 500);
    digits(&place, "png", 500);
    let evaluate = |views: usize| {
        let said = place.works(&format!("evaluate dense --data data --device cpu --views {views} --shifts 0"));
        let share = accuracy(&said.out).replacen(" %", "%", 1);
        let share = share.split_whitespace().next().unwrap();
        let unshifted = said.out.lines().any(|line| line.split_whitespace().eq(["0", share]));
        assert!(unshifted, "not {share} without a shift: {said:#?}");
        accuracy(&said.out).to_owned()
    };
    let [one, several] = [1, 4].map(evaluate);
    assert_ne!(one, several);
    let classify = place.works(&format!("{CLASSIFY} png --model dense --views 4"));
    assert_eq!(accuracy(&classify.err), several);
}

#[test]
fn several_devices_share_the_work_and_the_table_is_the_same() {
    let place = Place::new();
    digits(&place, "png", 1500);
    let one = place.works(&format!("{CLASSIFY} png"));
    let three = place.works("classify --device cpu,CPU,cpu png");
    assert_eq!(one.out, three.out);
    assert!(three.err.contains("threads) and CPU ("), "{three:#?}");
    let nobody = place.run("classify --device cpu,nobody png");
    assert!(nobody.err.contains("no device \"nobody\""), "{nobody:#?}");
    let alone = place.run("evaluate fast --device all");
    assert!(alone.err.contains("several devices can only share the work of `classify`, and of `train`"), "{alone:#?}");
}

#[test]
fn drawings_in_every_format_size_and_colour_are_known() {
    let place = Place::new();
    for (i, ending) in ["png", "jpg", "bmp", "tif", "webp", "gif", "ppm", "jpeg"].iter().enumerate() {
        save(&place, &format!("in/{i}.{ending}"), drawing(i));
    }
    save(&place, "in/8.pgm", DynamicImage::from(drawing(8)).to_luma8());
    let said = place.works(&format!("{CLASSIFY} in --show-input seen"));
    let labels: Vec<String> = rows(&said.out).into_iter().skip(1).map(|row| row[1].clone()).collect();
    assert_eq!(labels, (0..9).map(|i| digit(i).1.to_string()).collect::<Vec<_>>());
    assert!(said.err.contains("prepared 9 (inverted 9, cropped 9)"), "{said:#?}");
    let seen = image::open(place.path("seen/1.jpg.png")).unwrap().to_luma8();
    assert_eq!(seen.dimensions(), (28, 28));
    assert_eq!(place.names("seen").len(), 9);
}

#[test]
fn what_the_network_saw_of_one_input_is_kept_from_that_of_another() {
    let place = Place::new();
    for (i, folder) in ["a", "b", "x/a"].iter().enumerate() {
        save(&place, &format!("{folder}/1.png"), digit(i).0);
    }
    place.write("a.csv", pixels(3));
    place.write("c.csv", pixels(4));
    place.works(&format!("{CLASSIFY} a b x/a a.csv c.csv --show-input seen"));
    let names = ["a/1.png", "b/1.png", "a-2/1.png", "a-3/000001", "c/000001"];
    for (i, name) in names.iter().enumerate() {
        let seen = image::open(place.path(&format!("seen/{name}.png"))).unwrap().to_luma8();
        assert_eq!(seen, digit(i).0, "{name}");
    }
    // A single input has nothing to be told apart from.
    place.works(&format!("{CLASSIFY} c.csv --show-input alone"));
    assert_eq!(place.names("alone"), ["000001.png"]);
}

#[test]
fn pictures_of_what_was_seen_that_find_no_room_end_the_run_with_an_error() {
    let place = Place::new();
    digits(&place, "in", 20);
    let mut command = place.command(&format!("{CLASSIFY} in --show-input seen -q"));
    let full = said(command.env("INKGRAD_FAULT", "full-disk@.png.png").output().unwrap());
    ends_with(&full, 1);
    assert!(full.err.contains("--show-input: cannot write seen/"), "{full:#?}");
    let left: Vec<_> = place.contents().into_iter().filter(|(path, _)| path.starts_with(place.path("seen"))).collect();
    assert!(left.iter().all(|(_, length)| length.is_none()), "{left:?}");
}

#[test]
fn the_same_table_comes_as_csv_json_lines_and_parquet_and_from_any_number_of_threads() {
    let place = Place::new();
    digits(&place, "png", 300);
    let csv = place.works(&format!("{CLASSIFY} png --top 3 --probabilities --quiet")).out;
    assert_eq!(csv, place.works(&format!("{CLASSIFY} png --top 3 --probabilities --quiet --threads 1")).out);
    let json = place.works(&format!("{CLASSIFY} png --top 3 --probabilities --quiet --format jsonl")).out;
    let table = rows(&csv);
    assert_eq!(table[0].len(), 9 + 10);
    for (row, line) in table[1..].iter().zip(json.lines()) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        for (name, cell) in table[0].iter().zip(row) {
            match &object[name] {
                serde_json::Value::Null => assert_eq!(cell, ""),
                serde_json::Value::String(text) => assert_eq!(cell, text),
                number => assert_eq!(cell.parse::<f64>().ok(), number.as_f64()),
            }
        }
    }
    place.works(&format!("{CLASSIFY} png --top 3 --out table.parquet"));
    let bytes = place.read("table.parquet");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[test]
fn what_cannot_be_read_is_listed_with_its_reason_and_all_else_is_classified() {
    let place = Place::new();
    digits(&place, "in", 5);
    let whole = std::fs::read(place.path("in/7/00000.png")).unwrap();
    place.write("in/cut.png", &whole[..whole.len() / 2]);
    place.write("in/empty.png", "");
    place.write("in/text.png", "no picture at all");
    place.write("in/huge.pgm", "P5\n100000 100000\n255\n");
    place.write("in/notes.txt", "passed over");
    save(&place, "in/drawing.png", drawing(0));
    // As strange a name as the system allows.
    let misnamed = if cfg!(windows) { "in/mis named .jpg" } else { "in/mis\u{1b}[2Jnamed\n.jpg" };
    std::fs::rename(place.path("in/drawing.png"), place.path(misnamed)).unwrap();
    let mut failing = vec!["in/cut.png", "in/empty.png", "in/huge.pgm", "in/text.png"];
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;
        symlink(place.path("in"), place.path("in/loop")).unwrap();
        symlink("self.png", place.path("in/self.png")).unwrap();
        symlink(place.path("in/7/00000.png"), place.path("in/link.png")).unwrap();
        symlink("nowhere", place.path("in/broken.png")).unwrap();
        std::fs::copy(place.path("in/7/00000.png"), place.path("in").join(std::ffi::OsStr::from_bytes(b"\xff a.png")))
            .unwrap();
        failing.extend(["in/broken.png", "in/self.png"]);
    }
    failing.sort();
    let said = place.run(&format!("{CLASSIFY} in --errors errors.csv"));
    ends_with(&said, 3);
    let table = rows(&said.out);
    let paths: Vec<&str> = table.iter().map(|row| row[0].as_str()).collect();
    assert!(paths.contains(&misnamed), "{paths:?}");
    assert!(!said.err.contains('\u{1b}'), "a name has got to the terminal: {said:#?}");
    if cfg!(unix) {
        assert!(paths.contains(&"in/\\xff a.png") && paths.contains(&"in/link.png"), "{paths:?}");
        assert!(said.err.contains("1 link to a folder was not followed"), "{said:#?}");
    }
    let errors = rows(&place.text("errors.csv"));
    assert_eq!(errors[1..].iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), failing);
    for word in ["is empty", "100000 x 100000 pixels", "is no picture", "another format", "1 file was skipped"] {
        assert!(said.err.contains(word), "{word:?} is not in {said:#?}");
    }
    assert!(said.err.contains(&format!("{} files could not be read", failing.len())), "{said:#?}");
}

#[test]
fn pictures_in_formats_that_are_not_read_are_counted_and_hidden_files_are_not() {
    let place = Place::new();
    for name in ["in/a.heic", "in/b.HEIC", "in/deep/c.dng", "in/.DS_Store", "in/.d.heic", "in/Thumbs.db"] {
        place.write(name, "of a kind that is not read");
    }
    let told = "1 .dng, 2 .heic files are not read: convert them to JPEG or PNG";
    place.refused(&format!("{CLASSIFY} in"), &["no pictures in in", told]);
    digits(&place, "in", 1);
    let said = place.works(&format!("{CLASSIFY} in"));
    assert!(said.err.contains(told) && !said.err.contains("skipped"), "{said:#?}");
}

#[test]
fn a_table_that_is_not_there_beside_other_inputs_is_said_to_need_out() {
    let place = Place::new();
    digits(&place, "in", 1);
    let words = ["cannot read answers.csv: it is not there", "to write it, use --out answers.csv"];
    place.refused(&format!("{CLASSIFY} in answers.csv"), &words);
    place.refused(&format!("{CLASSIFY} answers.parquet in"), &["use --out answers.parquet"]);
    ends_with(&place.run(&format!("{CLASSIFY} in answers.csv --out table.csv")), 3);
}

#[test]
fn pictures_of_which_none_could_be_read_have_no_rate() {
    let place = Place::new();
    place.write("in/a.png", "no picture");
    let said = place.run(&format!("{CLASSIFY} in"));
    assert!(said.code != Some(0) && said.err.contains("\n0 pictures in "), "{said:#?}");
    assert!(!said.err.contains(" a second") && !said.err.contains("mean confidence"), "{said:#?}");
}

#[test]
fn lists_and_patterns_are_read_as_folders_are() {
    let place = Place::new();
    digits(&place, "png", 20);
    let whole = rows(&place.works(&format!("{CLASSIFY} png --quiet")).out);
    let paths: Vec<String> = whole[1..].iter().map(|row| row[0].clone()).collect();
    // The third is how editors on Windows write it.
    for (flags, begin, end) in [("-", "", "\n"), ("-0 -", "", "\0"), ("-", "\u{feff}", "\r\n")] {
        let mut child = place.command(&format!("{CLASSIFY} --quiet {flags}"));
        let list = begin.to_owned() + &paths.iter().map(|path| format!("{path}{end}")).collect::<String>();
        place.write("list", list);
        child.stdin(std::fs::File::open(place.path("list")).unwrap());
        let listed = said(child.output().unwrap());
        ends_with(&listed, 0);
        let listed: Vec<Vec<String>> = rows(&listed.out);
        assert_eq!(
            listed.iter().map(|row| &row[..5]).collect::<Vec<_>>(),
            whole.iter().map(|row| &row[..5]).collect::<Vec<_>>()
        );
    }
    // Input that is no list of names, or a list of another kind, is answered with a readable line.
    place.write("rows", format!("label{}\n", ",pixel".repeat(400)));
    place.write("zeros", "a.png\0b.png\0");
    place.write("utf16", "\u{feff}a.png\r\nb.png\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    place.write("picture", place.read("png/7/00000.png"));
    for (list, words) in [
        ("rows", "label,pixel,"),
        ("zeros", "take --null-data (-0)"),
        ("utf16", "is UTF-16"),
        ("picture", "what comes on standard input is a picture"),
    ] {
        let mut child = place.command(&format!("{CLASSIFY} --quiet -"));
        child.stdin(std::fs::File::open(place.path(list)).unwrap());
        let said = said(child.output().unwrap());
        ends_with(&said, 3);
        let line = said.err.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{said:#?}"));
        assert!(line.chars().count() < 250, "{said:#?}");
    }
    place.write("empty", "");
    let mut child = place.command(&format!("{CLASSIFY} --quiet -"));
    let nothing = said(child.stdin(std::fs::File::open(place.path("empty")).unwrap()).output().unwrap());
    ends_with(&nothing, 1);
    assert!(nothing.err.contains("the list on standard input is empty"), "{nothing:#?}");
    let matched = place.works(&format!("{CLASSIFY} --quiet png/**/*[02468].png"));
    assert_eq!(rows(&matched.out).len(), 1 + 10);
    let all = rows(&place.works(&format!("{CLASSIFY} --quiet **/*.png")).out);
    assert_eq!(all[1..].iter().map(|row| row[0].clone()).collect::<Vec<_>>(), paths);
    place.refused(&format!("{CLASSIFY} png/*.gif"), &["no pictures in png/*.gif"]);
    place.refused(&format!("{CLASSIFY} -0 png"), &["-0 is for names on standard input"]);
}

#[cfg(unix)]
#[test]
fn names_on_a_pipe_that_stays_open_are_answered_and_one_interrupt_ends_the_wait_for_more() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    use std::time::Duration;
    let place = Place::new();
    digits(&place, "in", 2);
    let mut command = place.command(&format!("{CLASSIFY} --quiet -"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut names = child.stdin.take().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (told, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
    names.write_all(b"in/7/00000.png\nin/2/00001.png\n").unwrap();
    names.flush().unwrap();
    let answers: Vec<String> = (0..3).map_while(|_| lines.recv_timeout(Duration::from_secs(60)).ok()).collect();
    crate::common::interrupt(&child);
    let ended = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        child.try_wait().unwrap()
    });
    let _ = child.kill();
    child.wait().unwrap();
    drop(names);
    assert_eq!(answers.iter().filter(|line| line.starts_with("in/")).count(), 2, "{answers:?}");
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
}

#[test]
fn shards_together_hold_every_picture_once() {
    let place = Place::new();
    digits(&place, "png", 100);
    let mut all = BTreeSet::new();
    for shard in 1..=3 {
        place.works(&format!("{CLASSIFY} png --shard {shard}/3 --out part{shard}.csv"));
        for row in &rows(&place.text(&format!("part{shard}.csv")))[1..] {
            assert!(all.insert(row[0].clone()), "{row:?} twice");
        }
    }
    assert_eq!(all.len(), 100);
    for wrong in ["0/3", "4/3", "1", "a/b"] {
        place.refused(&format!("{CLASSIFY} png --shard {wrong}"), &["1/8 to 8/8"]);
    }
}

#[test]
fn pictures_are_sorted_by_class_and_nothing_is_overwritten() {
    let place = Place::new();
    digits(&place, "in", 30);
    save(&place, "in/blank.png", GrayImage::new(28, 28));
    for (how, there) in [("copy", true), ("link", true), ("move", false)] {
        let said = place.works(&format!("{CLASSIFY} in --threshold 0.5 --sort-into {how} --sort {how} --quiet"));
        let table = rows(&said.out);
        for row in &table[1..] {
            let name = Path::new(&row[0]).file_name().unwrap().to_str().unwrap();
            assert!(place.path(&format!("{how}/{}/{name}", row[1])).exists(), "{row:?}");
            assert_eq!(place.path(&row[0]).exists(), there, "{row:?}");
        }
        assert!(place.path(&format!("{how}/unsure/blank.png")).exists());
    }
    save(&place, "copy/unsure/blank.png", GrayImage::new(20, 20));
    for _ in 0..2 {
        place.works(&format!("{CLASSIFY} copy --sort-into move --quiet"));
        // A file that is already there is not put there again.
        let blank = place.names("move/unsure").into_iter().filter(|name| name.starts_with("blank"));
        assert_eq!(blank.collect::<Vec<_>>(), ["blank-2.png", "blank.png"]);
    }
    // Inside a folder that is searched, sorted files would be found again.
    let place = Place::new();
    digits(&place, "in", 1);
    for flag in ["--sort-into", "--show-input"] {
        place.refused(&format!("{CLASSIFY} in {flag} in/sorted"), &[flag, "would be found in in as well"]);
    }
}

#[test]
fn what_would_be_put_where_a_pattern_finds_it_is_refused() {
    let place = Place::new();
    digits(&place, "gs", 2);
    let refused =
        [("gs/**/*.png", "gs/z-sorted"), ("**/*.png", "sorted"), ("gs/*", "gs/z-sorted"), ("g?", "gs/z/sorted")];
    // Into the very folders that are read.
    let refused = refused.into_iter().chain([("gs/*/*.png", "gs"), ("gs/7/*.png", "gs"), ("*/*/*", "gs")]);
    for flag in ["--sort-into", "--show-input"] {
        for (pattern, folder) in refused.clone() {
            let found = format!("would be found in {pattern} as well");
            place.refused(&format!("{CLASSIFY} {pattern} {flag} {folder}"), &[flag, found.as_str()]);
        }
    }
    // Elsewhere a second run finds what the first one found.
    for line in [
        "gs/**/*.png --show-input gs/.seen",
        "gs/**/*.png --sort-into sorted",
        "gs/[0-9]/**/*.png --sort-into gs/sorted",
        "gs/*/*.png --sort-into gs/sorted",
        "gs/*/*.png --show-input gs/seen",
    ] {
        let [first, second] = [(), ()].map(|()| place.works(&format!("{CLASSIFY} --quiet {line}")).out);
        assert_eq!(rows(&first).len(), 1 + 2, "{line}");
        assert_eq!(first, second, "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_and_standard_output_by_its_name_get_the_table_as_it_comes() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    digits(&place, "in", 3);
    let table = place.works(&format!("{CLASSIFY} in")).out;
    assert_eq!(rows(&table).len(), 4);
    symlink("/dev/stdout", place.path("out.csv")).unwrap();
    for out in ["/dev/stdout", "out.csv"] {
        let said = place.works(&format!("{CLASSIFY} in --out {out}"));
        assert!(said.out == table && said.err.contains("3 pictures"), "{out}: {said:#?}");
    }
    let pipe = place.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    place.works(&format!("{CLASSIFY} in --out pipe"));
    assert_eq!(reader.join().unwrap(), table);
    assert_eq!(place.names("."), ["in", "out.csv", "pipe"]);
    let resumed = place.run(&format!("{CLASSIFY} in --out out.csv --resume"));
    ends_with(&resumed, 1);
    assert!(resumed.err.contains("--resume: out.csv is not a file") && resumed.out.is_empty(), "{resumed:#?}");
    #[cfg(target_os = "linux")]
    {
        let full = place.run(&format!("{CLASSIFY} in --out /dev/full"));
        ends_with(&full, 1);
        assert!(full.err.contains("cannot write to /dev/full"), "{full:#?}");
    }
}

#[test]
fn a_sheet_that_cannot_be_written_is_told_at_the_start_and_one_without_room_can_be_made_up_for() {
    let place = Place::new();
    digits(&place, "in", 5);
    let line = format!("{CLASSIFY} in --out table.csv");
    place.write("file", "no folder");
    place.refused(&format!("{line} --sheet file/sheet.png"), &["cannot write file/sheet.png: ", "you may write there"]);
    place.refused(&format!("{line} --sheet in"), &["--sheet in: is a folder"]);
    let line = format!("{line} --sheet sheet.png");
    let full = said(place.command(&line).env("INKGRAD_FAULT", "full-disk@sheet.png").output().unwrap());
    ends_with(&full, 1);
    let kept = "that there is room. What is done is kept in table.csv.partial";
    assert!(full.err.contains("cannot write sheet.png: ") && full.err.contains(kept), "{full:#?}");
    assert!(place.path("table.csv.partial").exists() && !place.path("sheet.png").exists(), "{full:#?}");
    place.works(&format!("{line} --resume"));
    assert!(place.path("sheet.png").exists() && !place.path("table.csv.partial").exists());
    assert_eq!(rows(&place.text("table.csv")).len(), 6);
}

#[test]
fn files_are_made_though_nobody_reads_the_table_and_nothing_unfinished_is_left() {
    let place = Place::new();
    digits(&place, "in", 300);
    place.write("in/0/broken.png", "no picture");
    let files = "--sort-into sorted --sheet sheet.png --errors errors.csv --show-input seen";
    let mut child = place.start(&format!("{CLASSIFY} in {files}"));
    drop(child.stdout.take());
    let unread = said(child.wait_with_output().unwrap());
    ends_with(&unread, 3);
    assert!(place.text("errors.csv").contains("broken.png") && place.path("sheet.png").exists());
    let count = |folder: &str| {
        let folders = place.names(folder);
        folders.iter().map(|class| place.names(&format!("{folder}/{class}")).len()).sum::<usize>()
    };
    assert_eq!((count("sorted"), count("seen")), (300, 300));
    assert!(place.names(".").iter().all(|name| !name.starts_with(".inkgrad-")), "{:?}", place.names("."));
}

#[test]
fn a_contact_sheet_shows_each_class() {
    let place = Place::new();
    digits(&place, "in", 60);
    let said = place.works(&format!("{CLASSIFY} in --sheet sheet.png --out table.jsonl"));
    assert!(said.out.contains("sheet.png") && said.out.contains("table.jsonl"));
    let sheet = image::open(place.path("sheet.png")).unwrap();
    assert!(sheet.width() > 300 && sheet.height() > 900, "{} x {}", sheet.width(), sheet.height());
}

#[test]
fn pictures_that_are_only_brought_to_the_networks_size_are_not_called_prepared() {
    let place = Place::new();
    digits(&place, "in", 3);
    save(&place, "in/drawing.png", drawing(0));
    let said = place.works(&format!("{CLASSIFY} in --prepare never"));
    assert!(said.err.contains("taken as they are 3, brought to the network's size 1"), "{said:#?}");
    assert!(!said.err.contains("prepared"), "{said:#?}");
}

#[test]
fn no_file_is_written_over_what_is_there_or_looked_at_and_no_two_into_one() {
    let place = Place::new();
    digits(&place, "in", 3);
    place.write("mine.csv", "mine");
    save(&place, "mine.png", GrayImage::new(3, 3));
    for (flags, words) in [
        ("in --errors mine.csv", "mine.csv is already there"),
        ("in --sheet mine.png", "mine.png is already there"),
        ("in --out new.csv --resume --errors mine.csv", "mine.csv is already there"),
        ("in --out new.csv --resume --sheet mine.png", "mine.png is already there"),
        ("in --errors in/7/00000.png --force", "--errors in/7/00000.png: is part of the input, in"),
        ("in/7/00000.png --errors in/7/00000.png --force", "is part of the input, in/7/00000.png"),
        ("in/*/*.png --errors in/7/00000.png --force", "is part of the input, in/*/*.png"),
        ("in --sheet in/sheet.png", "--sheet in/sheet.png: is part of the input"),
        ("mine.csv --out mine.csv --force", "--out mine.csv: is part of the input"),
        ("in --out a.csv --errors ./a.csv", "--out and --errors name the same file"),
        ("in --sheet a.png --errors in/../a.png", "--sheet and --errors name the same file"),
        ("in --errors in", "--errors in: is a folder"),
    ] {
        place.refused(&format!("{CLASSIFY} {flags}"), &[words, "name"]);
    }
    place.works(&format!("{CLASSIFY} in --errors mine.csv --sheet mine.png --force"));
    assert_eq!(place.text("mine.csv"), "path,reason\n");
    // Folders that are not there yet are made.
    place.works(&format!("{CLASSIFY} in --out new/below/table.csv --errors new/errors.csv"));
    assert_eq!(rows(&place.text("new/below/table.csv")).len(), 4);
    // And none is left behind where nothing came of it.
    std::fs::create_dir(place.path("empty")).unwrap();
    for (flags, words) in [
        ("empty --out z/below/table.csv --sheet z/sheet.png --errors z/errors.csv", "no pictures in empty"),
        ("in --out z/table.csv --errors mine.csv/errors.csv", "cannot write mine.csv/errors.csv: "),
    ] {
        place.refused(&format!("{CLASSIFY} {flags}"), &[words]);
    }
}

#[test]
fn a_file_of_several_pages_is_its_first_one_and_says_so() {
    let place = Place::new();
    save(&place, "in/a.tif", digit(0).0);
    let mut bytes = place.read("in/a.tif");
    assert!(bytes.starts_with(b"II"), "pages are linked in the order of bytes of most machines");
    // A second page with the pixels of the first.
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let page = number(&bytes, 4);
    let entries = usize::from(u16::from_le_bytes([bytes[page], bytes[page + 1]]));
    let next = page + 2 + 12 * entries;
    let second = bytes[page..next + 4].to_vec();
    let end = bytes.len() as u32;
    bytes[next..next + 4].copy_from_slice(&end.to_le_bytes());
    bytes.extend(second);
    place.write("in/a.tif", bytes);
    let said = place.works(&format!("{CLASSIFY} in"));
    assert_eq!(rows(&said.out)[1][6], "first of 2 pages");
    assert!(said.err.contains("1 picture is the first page of several"), "{said:#?}");
}

#[test]
fn tables_that_are_there_are_kept_and_flags_that_contradict_are_answered() {
    let place = Place::new();
    digits(&place, "in", 3);
    place.write("table.csv", "mine");
    place.refused(&format!("{CLASSIFY} in --out table.csv"), &["already there", "--force"]);
    place.works(&format!("{CLASSIFY} in --out table.csv --force"));
    assert!(place.text("table.csv").starts_with("path,"));
    place.refused(&format!("{CLASSIFY} nowhere"), &["cannot read nowhere"]);
    place.refused(&format!("{CLASSIFY} in --out table.txt"), &[".csv, .jsonl or .parquet"]);
    place.refused(&format!("{CLASSIFY} in --format parquet"), &["name a file with --out"]);
    place.refused(&format!("{CLASSIFY} in --out a.csv --format jsonl"), &["a.csv does not match --format"]);
    for flags in ["--out a.csv.gz --format csv", "--out a.parquet.zst", "--errors a.csv.GZ"] {
        place.refused(&format!("{CLASSIFY} in {flags}"), &["is the name of a packed file", "pack the file when"]);
    }
    place.refused(&format!("{CLASSIFY} in --threshold 1.5"), &["from 0 to 1"]);
    place.refused(&format!("{CLASSIFY} in --model in"), &["no best.safetensors"]);
}

#[test]
fn a_dash_is_standard_output_for_the_table_and_no_name_for_any_other_file() {
    let place = Place::new();
    digits(&place, "in", 3);
    let table = place.works(&format!("{CLASSIFY} in")).out;
    assert_eq!(place.works(&format!("{CLASSIFY} in --out -")).out, table);
    for (flags, words) in [
        ("--format parquet", "Parquet cannot go to standard output; name a file with --out"),
        ("--resume", "--resume: - is not a file"),
    ] {
        place.refused(&format!("{CLASSIFY} in --out - {flags}"), &[words]);
    }
    assert_eq!(place.names("."), ["in"]);
    let words = "this cannot go to standard output; name a file, or write ./- for one that is called -";
    for line in [
        format!("{CLASSIFY} in --errors -"),
        "export dense - --format onnx".into(),
        "generate --device cpu --grid 1x1 --format png --out -".into(),
        "generate --device cpu --grid 1x1 --format safetensors --out -".into(),
    ] {
        place.refused(&line, &[words]);
    }
    place.works("export dense ./- --format onnx");
    assert_eq!(place.names("."), ["-", "in"]);
}

#[test]
fn flags_for_a_preparation_that_does_not_take_place_are_refused() {
    let place = Place::new();
    digits(&place, "in", 1);
    let mut raw = ModelFile::shipped("dense").unwrap();
    raw.set("pictures", "raw");
    raw.save(place.path("raw.safetensors")).unwrap();
    for (flags, words) in [
        ("--prepare never --invert always", "--invert always would change nothing: --prepare never"),
        ("--prepare never --no-crop", "--no-crop would change nothing"),
        ("--model raw.safetensors --no-contrast", "--no-contrast would change nothing: this model takes"),
    ] {
        place.refused(&format!("{CLASSIFY} in {flags}"), &[words, "Leave it out"]);
    }
    for flags in ["", "--prepare never", "--prepare always --no-contrast", "--prepare auto --invert always"] {
        place.works(&format!("{CLASSIFY} in --model raw.safetensors {flags}"));
    }
}

#[test]
fn pictures_without_an_answer_are_not_mixed_up_with_a_class_called_unsure() {
    let place = Place::new();
    save(&place, "in/zero.png", digit(3).0);
    save(&place, "in/blank.png", GrayImage::new(28, 28));
    let mut model = ModelFile::shipped("judge").unwrap();
    model.set_class_names(&["unsure", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(String::from));
    model.save(place.path("odd.safetensors")).unwrap();
    let said = place.works(&format!("{CLASSIFY} in --model odd.safetensors --sort-into sorted"));
    let labels: Vec<String> = rows(&said.out).into_iter().skip(1).map(|row| row[1].clone()).collect();
    assert_eq!(labels, ["unsure-2", "unsure"]);
    assert!(said.err.contains("note: the model has a class called unsure, so"), "{said:#?}");
    assert!(place.path("sorted/unsure/zero.png").exists() && place.path("sorted/unsure-2/blank.png").exists());
}
