//! `inkgrad generate` as its users meet it, with the generator that ships with the program.

use std::collections::{BTreeSet, HashMap};
#[cfg(unix)]
use std::time::Duration;

use image::GrayImage;

use crate::common::{Place, Said, said};

/// The CPU device needs no driver, so only the program writes to standard error.
pub const CPU: &str = "--device cpu";

pub fn generate(place: &Place, flags: &str) -> Said {
    place.works(&format!("generate {CPU} {flags}"))
}

pub fn grey(place: &Place, name: &str) -> GrayImage {
    match image::open(place.path(name)).unwrap() {
        image::DynamicImage::ImageLuma8(picture) => picture,
        other => panic!("{name} is not grey but {:?}", other.color()),
    }
}

/// The digit in a cell of a sheet without gaps.
fn cell(sheet: &GrayImage, row: u32, column: u32) -> Vec<u8> {
    image::imageops::crop_imm(sheet, column * 28, row * 28, 28, 28).to_image().into_raw()
}

/// Equal, except that a value between two grey levels may be rounded to the other one: arithmetic in batches of other
/// sizes may round differently.
fn alike(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1)
}

/// What a data set of tensors says of itself.
fn about(bytes: &[u8]) -> HashMap<String, String> {
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    header.metadata().clone().unwrap()
}

fn sizes(place: &Place, name: &str) -> (u32, u32) {
    image::image_dimensions(place.path(name)).unwrap()
}

// Which pictures.

#[test]
fn without_a_flag_a_hundred_digits_are_drawn_and_the_file_is_named() {
    let place = Place::new();
    let said = generate(&place, "");
    assert!(said.out.starts_with("digits.png: 100 digits"), "{said:#?}");
    assert_eq!(said.err, "");
    assert_eq!(place.names("."), ["digits.png"]);
    let sheet = grey(&place, "digits.png");
    assert_eq!(sheet.dimensions(), (280, 280));
    let cells: BTreeSet<Vec<u8>> = (0..100).map(|i| cell(&sheet, i / 10, i % 10)).collect();
    assert!(cells.len() > 90, "only {} different pictures", cells.len());
    assert!(cells.iter().all(|cell| cell.iter().any(|value| *value > 100)), "a cell without ink");
    assert_eq!(generate(&place, "--quiet --out b.png").out, "b.png\n");
    let said = generate(&place, "--grid 1x1 --out c.png");
    assert!(said.out.starts_with("c.png: 1 digit in "), "{said:#?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let place = Place::new();
    for (name, seed) in [("a", 7), ("b", 7), ("c", 8)] {
        generate(&place, &format!("--grid 3x4 --seed {seed} --out {name}.png"));
    }
    assert!(place.read("a.png") == place.read("b.png"), "one seed, two pictures");
    assert!(place.read("a.png") != place.read("c.png"), "two seeds, one picture");
}

#[test]
fn a_picture_depends_on_its_seed_and_number_and_not_on_what_is_drawn_with_it() {
    let place = Place::new();
    generate(&place, "--grid 40x30 --out large.png");
    generate(&place, "--grid 2x10 --out small.png");
    generate(&place, "--each-class 2 --out-dir files");
    let (large, small) = (grey(&place, "large.png"), grey(&place, "small.png"));
    for i in 0..20 {
        let alone = grey(&place, &format!("files/{i:06}_{}.png", i % 10)).into_raw();
        let [large, small] = [cell(&large, i / 30, i % 30), cell(&small, i / 10, i % 10)];
        assert!(alike(&large, &small) && alike(&small, &alone), "picture {i}");
    }
}

#[test]
fn sheets_have_the_size_that_their_grid_scale_and_gap_say() {
    let place = Place::new();
    for (flags, size) in [
        ("--grid 3x7", (7 * 28, 3 * 28)),
        ("--grid 3x7 --scale 2 --gap 5", (7 * 56 + 6 * 5, 3 * 56 + 2 * 5)),
        ("--each-class 4", (280, 4 * 28)),
        ("--each-class 4 --digits 3,1", (2 * 28, 4 * 28)),
        ("--seeds 0-4 --digits 0-2", (3 * 28, 5 * 28)),
        ("--seeds 5", (280, 28)),
        ("--between-seeds 3,17 --frames 6", (280, 6 * 28)),
        ("--between-seeds 3,17,4 --frames 6 --digits 5", (11 * 28, 28)),
        ("--between-digits 3,8 --grid 2x2 --frames 3", (2 * 28, 6 * 28)),
        ("--between-digits 3,8 --grid 1x1", (16 * 28, 28)),
        ("--text 12-3 --seeds 0-1", (4 * 28, 2 * 28)),
    ] {
        generate(&place, &format!("{flags} --out a.png"));
        assert_eq!(sizes(&place, "a.png"), size, "{flags}");
    }
}

#[test]
fn a_text_is_written_with_empty_cells_for_all_that_is_no_digit() {
    let place = Place::new();
    let said = said(place.command("generate --device cpu --text").args(["(5) 55-1\n23"]).output().unwrap());
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.out.contains(" 6 digits"), "{said:#?}");
    let sheet = grey(&place, "digits.png");
    assert_eq!(sheet.dimensions(), (8 * 28, 2 * 28));
    for (row, line) in ["(5) 55-1", "23      "].into_iter().enumerate() {
        for (column, c) in line.chars().enumerate() {
            let ink = cell(&sheet, row as u32, column as u32).iter().any(|value| *value > 0);
            assert_eq!(ink, c.is_ascii_digit(), "{c:?}");
        }
    }
}

#[test]
fn a_way_begins_and_ends_with_what_it_leads_between() {
    let place = Place::new();
    generate(&place, "--seeds 3,17 --out seeds.png");
    generate(&place, "--between-seeds 3,17 --frames 5 --out way.png");
    let (seeds, way) = (grey(&place, "seeds.png"), grey(&place, "way.png"));
    for column in 0..10 {
        for (seed, step) in [(0, 0), (1, 4)] {
            assert!(alike(&cell(&seeds, seed, column), &cell(&way, step, column)), "step {step}, digit {column}");
        }
        assert_ne!(cell(&way, 2, column), cell(&way, 0, column));
    }
    // Of several rows each is written by another hand.
    generate(&place, "--between-seeds 3,17 --frames 2 --each-class 2 --out rows.png");
    let rows = grey(&place, "rows.png");
    assert!((0..10).all(|column| !alike(&cell(&rows, 0, column), &cell(&rows, 1, column))));
}

#[test]
fn truncation_to_nothing_draws_one_picture_of_each_digit() {
    let place = Place::new();
    generate(&place, "--each-class 2 --truncation 0");
    let sheet = grey(&place, "digits.png");
    (0..10).for_each(|digit| assert!(alike(&cell(&sheet, 0, digit), &cell(&sheet, 1, digit)), "digit {digit}"));
}

#[test]
fn a_text_is_written_plainly_unless_another_truncation_is_asked_for() {
    let place = Place::new();
    generate(&place, "--text 52 --out text.png");
    generate(&place, "--text 52 --truncation 0.5 --out half.png");
    generate(&place, "--text 52 --truncation 1 --out whole.png");
    let [text, half, whole] = ["text.png", "half.png", "whole.png"].map(|name| grey(&place, name));
    assert_eq!(text, half);
    assert_ne!(text, whole);
    generate(&place, "--text 52 --out text.safetensors");
    assert_eq!(about(&place.read("text.safetensors"))["truncation"], "0.5", "a set says how it was drawn");
}

#[test]
fn ink_and_paper_colour_every_pixel_and_change_places_when_asked() {
    let place = Place::new();
    generate(&place, "--grid 1x2 --gap 3 --out plain.png");
    generate(&place, "--grid 1x2 --gap 3 --ink #0000ff --paper yellow --out coloured.png");
    generate(&place, "--grid 1x2 --gap 3 --invert --out inverted.png");
    let plain = grey(&place, "plain.png");
    let [coloured, inverted] =
        ["coloured.png", "inverted.png"].map(|name| image::open(place.path(name)).unwrap().to_rgb8());
    for ((x, y, value), [colour, inverted]) in
        plain.enumerate_pixels().zip(coloured.pixels().zip(inverted.pixels()).map(|(a, b)| [a, b]))
    {
        let value = value.0[0];
        assert_eq!(colour.0, [255 - value, 255 - value, value], "at {x}, {y}");
        assert_eq!(inverted.0, [255 - value; 3], "at {x}, {y}");
    }
}

#[test]
fn an_animation_has_a_frame_for_each_step() {
    let place = Place::new();
    generate(&place, "--between-digits 3,8,3 --grid 2x3 --frames 4 --scale 2 --fps 20 --out a.gif");
    let mut decoder = gif::DecodeOptions::new().read_info(std::fs::File::open(place.path("a.gif")).unwrap()).unwrap();
    assert_eq!((decoder.width(), decoder.height()), (3 * 56, 2 * 56));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert_eq!(frame.delay, 5);
        frames.push(frame.buffer.to_vec());
    }
    assert_eq!(frames.len(), 7);
    assert_ne!(frames[0], frames[3]);
    assert!(alike(&frames[0], &frames[6]), "the way back ends where it began");
}

#[test]
fn frames_in_a_second_become_the_nearest_delay_that_a_gif_can_say() {
    let place = Place::new();
    for (fps, delay) in [(35, 3), (45, 2), (50, 2)] {
        generate(&place, &format!("--between-digits 3,8 --grid 1x1 --frames 2 --fps {fps} --out a.gif"));
        let file = std::fs::File::open(place.path("a.gif")).unwrap();
        let mut decoder = gif::DecodeOptions::new().read_info(file).unwrap();
        assert_eq!(decoder.read_next_frame().unwrap().unwrap().delay, delay, "{fps} frames in a second");
    }
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_the_picture_goes_where_it_leads() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    std::fs::create_dir(place.path("far")).unwrap();
    symlink("far/a.png", place.path("near.png")).unwrap();
    for grid in ["1x3", "1x2"] {
        generate(&place, &format!("--grid {grid} --out near.png"));
        assert!(place.path("near.png").is_symlink());
    }
    assert_eq!(sizes(&place, "far/a.png"), (56, 28));
    // A target that is not a regular file receives the bytes.
    symlink("/dev/stdout", place.path("out.png")).unwrap();
    let output = place.command(&format!("generate {CPU} --grid 1x2 --quiet --out out.png")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.path("out.png").is_symlink());
    assert!(output.stdout == [&place.read("far/a.png")[..], b"out.png\n"].concat(), "other bytes");
}

// Data sets.

#[test]
fn idx_files_are_a_data_set_to_train_with() {
    let place = Place::new();
    let said = generate(&place, "--each-class 20 --out-dir made --format idx");
    assert!(said.out.contains("200 digits (180 to train, 20 to test)"), "{said:#?}");
    assert_eq!(place.names("made").len(), 4);
    let data = inkgrad::data::load_folder(place.path("made")).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.classes), (180, 20, 10));
    assert!(data.train.labels.iter().chain(&data.test.labels).enumerate().all(|(i, label)| *label as usize == i % 10));
    generate(&place, "--each-class 20");
    assert_eq!(data.test.image(19), cell(&grey(&place, "digits.png"), 19, 9));
    place.works("train dense --dry-run --data made --device cpu");
    for (pictures, parts) in [(4, "(3 to train, 1 to test)"), (25, "(22 to train, 3 to test)")] {
        let said = generate(&place, &format!("--grid 1x{pictures} --out-dir {pictures} --format idx"));
        assert!(said.out.contains(parts), "{said:#?}");
    }
    generate(&place, "--each-class 2 --out-dir none --format idx --test 0");
    assert_eq!(place.names("none"), ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]);
}

#[test]
fn a_set_that_replaces_another_leaves_none_of_its_files() {
    let place = Place::new();
    let made = "--each-class 2 --out-dir made --format idx";
    let mut names = crate::common::NAMES;
    names.sort();
    generate(&place, made);
    assert_eq!(place.names("made"), names);
    place.write("made/train-images-idx4-ubyte", "of a set in colours");
    place.write("made/notes.txt", "mine");
    generate(&place, &format!("{made} --test 0 --force"));
    assert_eq!(place.names("made"), [&["notes.txt"][..], &names[2..]].concat());
    generate(&place, &format!("{made} --test 20 --force"));
    assert_eq!(place.names("made"), [&["notes.txt"][..], &names[..2]].concat());
}

#[test]
fn a_safetensors_file_holds_the_same_images_as_a_sheet_and_says_how_they_were_made() {
    let place = Place::new();
    generate(&place, "--grid 3x10 --seed 4 --truncation 0.5 --out a.safetensors");
    generate(&place, "--grid 3x10 --seed 4 --truncation 0.5 --out a.png");
    let (bytes, sheet) = (place.read("a.safetensors"), grey(&place, "a.png"));
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (images, labels) = (tensors.tensor("images").unwrap(), tensors.tensor("labels").unwrap());
    assert_eq!((images.shape(), labels.shape()), (&[30, 28, 28, 1][..], &[30][..]));
    for (i, image) in images.data().chunks(784).enumerate() {
        assert!(image == cell(&sheet, i as u32 / 10, i as u32 % 10), "picture {i}");
        assert_eq!(labels.data()[i * 4..][..4], (i as u32 % 10).to_le_bytes());
    }
    let about = about(&bytes);
    assert_eq!((about["seed"].as_str(), about["truncation"].as_str()), ("4", "0.5"));
}

#[test]
fn single_files_are_named_by_cell_and_digit() {
    let place = Place::new();
    let said = generate(&place, "--grid 1x3 --digits 7,2 --out-dir new/folder --scale 2");
    assert!(said.out.starts_with("new/folder: 3 digits"), "{said:#?}");
    assert_eq!(place.names("new/folder"), ["000000_7.png", "000001_2.png", "000002_7.png"]);
    assert_eq!(sizes(&place, "new/folder/000001_2.png"), (56, 56));
}

#[test]
fn the_folder_of_a_file_is_made() {
    let place = Place::new();
    for out in ["new/below/a.png", "new/a.gif", "other/a.safetensors"] {
        generate(&place, &format!("--grid 1x1 --out {out}"));
        assert!(!place.read(out).is_empty(), "{out}");
    }
}

// What is refused, and what is left alone.

#[test]
fn nothing_that_is_there_is_overwritten_unless_it_is_forced_but_pictures_to_look_at() {
    let place = Place::new();
    for (what, name) in [
        ("--out-dir a", "a/000099_9.png"),
        ("--out-dir a --format idx", "a/t10k-labels-idx1-ubyte"),
        ("--out a/b.safetensors", "a/b.safetensors"),
    ] {
        place.write(name, "precious");
        place.refused(&format!("generate {CPU} {what}"), &[name, "already there", "--force"]);
        generate(&place, &format!("{what} --force"));
        assert_ne!(place.read(name), b"precious");
    }
    place.write("a.png", "old");
    generate(&place, "--out a.png");
    assert_eq!(sizes(&place, "a.png"), (280, 280));
}

#[test]
fn what_cannot_be_drawn_is_answered_with_what_can() {
    let place = Place::new();
    for (flags, words) in [
        ("--grid 10", &["--grid", "rows x columns", "10x20"][..]),
        ("--grid 0x5", &["--grid", "at least 1"]),
        ("--grid 65536x65536", &["--grid", "more than"]),
        ("--grid 1x10000000", &["10000000 pictures", "fewer columns, at most 1369568,"]),
        ("--grid 4000000000x1", &["at most 2147483647 a side", "fewer", "at most 76695844 x 76695844"]),
        ("--grid 1500x1500 --out a.gif", &["a frame takes 1764000000 bytes", "fewer pictures"]),
        ("--each-class 4294967295", &["42,949,672,950 digits are asked for", "4,294,967,295 are the most"]),
        ("--between-seeds 0-9999 --frames 1000000 --grid 60000x60000 --out a.safetensors", &["are the most"]),
        ("--digits 12", &["--digits", "12", "0 to 9"]),
        ("--digits 3-", &["--digits", "1,4,7"]),
        ("--between-digits 3,10", &["--between-digits", "10", "0 to 9"]),
        ("--between-digits 3", &["--between-digits", "at least two"]),
        ("--seeds -1", &["--seeds", "1,4,7"]),
        ("--seed -1", &["--seed", "-1"]),
        ("--text 5apples", &["--text", "'a'", "0 1 2"]),
        ("--text --", &["--text", "nothing to write"]),
        ("--text 5 --grid 2x2", &["--text", "--grid", "cannot be used with"]),
        ("--text 5 --digits 5", &["--text", "--digits", "cannot be used with"]),
        ("--seeds 1,2 --seed 3", &["--seeds", "--seed", "cannot be used with"]),
        ("--each-class 5 --grid 2x2", &["--each-class", "--grid", "cannot be used with"]),
        ("--between-seeds 1,2 --between-digits 1,2", &["--between-seeds", "--between-digits", "cannot be used with"]),
        ("--frames 5", &["--between-seeds", "--between-digits", "required"]),
        ("--between-seeds 1,2 --frames 1", &["--frames", "1"]),
        ("--truncation -1", &["--truncation", "like 0.7"]),
        ("--truncation nan", &["--truncation", "like 0.7"]),
        ("--scale 0", &["--scale", "0"]),
        ("--scale -2", &["--scale", "-2"]),
        ("--ink plaid", &["--ink", "#rrggbb", "white"]),
        ("--ink black", &["--ink", "--paper", "--invert"]),
        ("--paper white", &["--ink", "--paper", "--invert"]),
        ("--ink black --invert", &["--ink", "--paper", "--invert alone"]),
        ("--out a.jpg", &["a.jpg", ".png, .gif or .safetensors"]),
        ("--out a.png --format gif", &["a.png", "--format"]),
        ("--out a.png --out-dir b", &["--out", "--out-dir", "cannot be used with"]),
        ("--format idx", &["IDX", "--out-dir"]),
        ("--format gif --out-dir a", &["GIF", "--out"]),
        ("--format idx --out-dir a --scale 2", &["--scale", "data set"]),
        ("--out a.safetensors --invert", &["--invert", "data set"]),
        ("--out a.safetensors --between-digits 3,8", &["--between-digits", "label"]),
        ("--fps 5", &["--fps", "GIF"]),
        ("--test 5", &["--test", "IDX"]),
        ("--format idx --out-dir a --test 101", &["--test 101", "100 digits"]),
        ("--grid 1x3000 --out a.gif", &["GIF", "at most 65535 a side"]),
        // The folder that was made for it is removed again.
        ("--grid 1x3000 --out new/below/a.gif", &["GIF", "at most 65535 a side"]),
        ("--fps abc --out a.gif", &["--fps", "abc", "from 1 to 50"]),
        ("--model nowhere.safetensors", &["nowhere.safetensors"]),
        ("--model .", &["no run's folder"]),
        ("--device abacus", &["no device \"abacus\"", "inkgrad devices"]),
    ] {
        place.refused(&format!("generate {CPU} {flags}"), words);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_sheet_or_data_set_leaves_nothing_and_says_so() {
    for flags in ["", "--format idx --out-dir made"] {
        let place = Place::new();
        let child = place.start(&format!("generate {CPU} --grid 100000x1000 {flags}"));
        while place.names(".").is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        crate::common::interrupt(&child);
        let stopped = said(child.wait_with_output().unwrap());
        assert_eq!(stopped.code, Some(130), "{stopped:#?}");
        assert!(stopped.err.contains("of 100,000,000 digits; nothing was written"), "{stopped:#?}");
        assert_eq!(place.names("."), [""; 0], "{flags}");
    }
}

#[cfg(unix)]
#[test]
fn a_sheet_of_billions_of_pixels_is_said_to_be_one_and_left_off_in_the_middle_of_a_row_of_digits() {
    let place = Place::new();
    let child = place.start(&format!("generate {CPU} --grid 30x30 --scale 1000 --out vast.png"));
    while place.names(".").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(500));
    let asked = std::time::Instant::now();
    crate::common::interrupt(&child);
    let stopped = said(child.wait_with_output().unwrap());
    // A row of digits is 23 gigabytes.
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    assert_eq!(stopped.code, Some(130), "{stopped:#?}");
    assert!(stopped.err.contains("note: the sheet has 840,000 x 840,000 pixels, 705,600 million"), "{stopped:#?}");
    assert!(stopped.err.contains("of 900 digits; nothing was written"), "{stopped:#?}");
    assert_eq!(place.names("."), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_the_program_at_once_and_leaves_no_half_of_a_file() {
    let place = Place::new();
    std::fs::create_dir(place.path("temporary")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    // Nobody reads the pipe, so writing to it waits.
    let mut command = place.command(&format!("generate {CPU} --grid 1x1 --format png --out pipe"));
    command.env("TMPDIR", place.path("temporary"));
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while place.names("temporary").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
    crate::common::interrupt(&child);
    std::thread::sleep(Duration::from_millis(1200));
    crate::common::interrupt(&child);
    assert_eq!(said(child.wait_with_output().unwrap()).code, Some(130));
    assert_eq!(place.names("temporary"), [""; 0]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_data_set_leaves_a_folder_that_was_there() {
    let place = Place::new();
    std::fs::create_dir(place.path("mine")).unwrap();
    let child = place.start(&format!("generate {CPU} --grid 100000x1000 --format idx --out-dir mine"));
    while place.names("mine").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    crate::common::interrupt(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(place.names(".") == ["mine"] && place.names("mine").is_empty());
}

// Size and speed.

/// The peak memory of a process in MiB, watched until it ends.
#[cfg(target_os = "linux")]
fn peak(child: &mut std::process::Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.unwrap_or_default().lines().find(|line| line.starts_with("VmHWM:")).map(str::to_owned);
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

#[cfg(all(target_os = "linux", not(debug_assertions)))]
#[test]
fn a_hundred_thousand_digits_take_little_memory_however_they_are_written() {
    let place = Place::new();
    for flags in ["--grid 250x400 --out a.png", "--grid 10x10000 --out a.safetensors"] {
        let mut child = place.start(&format!("generate {CPU} {flags}"));
        let peak = peak(&mut child);
        assert!(child.wait().unwrap().success());
        assert!((1..300).contains(&peak), "generate {flags}: {peak} MiB");
    }
    assert_eq!(sizes(&place, "a.png"), (11_200, 7_000));
}

// Another device.

#[test]
fn pictures_that_a_device_has_no_room_for_at_once_are_drawn_in_smaller_batches() {
    let place = Place::new();
    if !place.has_software_gpu() {
        return;
    }
    place.works("generate --grid 10x60 --out roomy.png --device llvmpipe");
    let said = place.run_on("generate --grid 10x60 --out tight.png", "llvmpipe", "out-of-memory@1");
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(alike(&grey(&place, "roomy.png").into_raw(), &grey(&place, "tight.png").into_raw()));
}

#[test]
fn a_software_gpu_draws_the_pictures_that_the_cpu_draws() {
    let place = Place::new();
    if !place.has_software_gpu() {
        return;
    }
    generate(&place, "--grid 4x10 --out cpu.png");
    place.works("generate --grid 4x10 --out gpu.png --device llvmpipe");
    let (cpu, gpu) = (grey(&place, "cpu.png"), grey(&place, "gpu.png"));
    assert_eq!(cpu.dimensions(), gpu.dimensions());
    // Devices add in different orders, and a value between two grey levels may be rounded to either; the second level
    // allows for errors that build up over the layers.
    let apart = cpu.iter().zip(gpu.iter()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(2), "{apart:?} grey levels apart");
}
