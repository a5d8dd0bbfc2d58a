//! Data sets from folders of pictures: which folders are classes, what size pictures are given, and what is refused.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma, Rgb, RgbImage};

use super::*;
use crate::data::{HoldOut, load, to_train_with};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn gray(&self, name: &str, [width, height]: [u32; 2], value: u8) {
        GrayImage::from_pixel(width, height, Luma([value])).save(self.path(name)).unwrap();
    }

    fn load(&self, reading: Reading) -> Result<DataSet, DataError> {
        load(self.0.path(), &reading)
    }
}

/// Reads all pictures to learn from; none is held out.
fn all() -> Reading {
    Reading { hold_out: Some(HoldOut::Count(0)), ..Reading::default() }
}

#[test]
fn each_folder_is_a_class_in_the_order_of_their_numbers() {
    let place = Place::new();
    for class in ["10", "9", "2"] {
        place.gray(&format!("{class}/deep/a.png"), [4, 3], class.parse().unwrap());
        place.gray(&format!("{class}/b.bmp"), [4, 3], class.parse().unwrap());
    }
    std::fs::write(place.path("notes.txt"), "no class").unwrap();
    let set = place.load(all()).unwrap();
    assert_eq!(set.class_names, ["2", "9", "10"]);
    assert_eq!((set.train.height, set.train.width, set.train.channels), (3, 4, 1), "their own size");
    assert_eq!(set.train.labels, [0, 0, 1, 1, 2, 2]);
    assert_eq!(set.train.image(4), [10; 12]);
    assert_eq!(set.pictures, Some(Pictures::Fitted));
}

#[test]
fn pictures_of_one_class_can_be_tested_on_and_not_learned_from() {
    let place = Place::new();
    (0..3).for_each(|i| place.gray(&format!("7/{i}.png"), [4, 4], i));
    assert!(place.load(all()).unwrap_err().to_string().contains("pictures of one class only, 7"));
    let tested = || place.load(Reading { hold_out: Some(HoldOut::All), ..Reading::default() });
    let set = tested().unwrap();
    assert_eq!((set.train.len(), set.test.len(), &set.class_names[..]), (0, 3, &["7".to_string()][..]));
    // The folder may hold the classes.
    (0..2).for_each(|i| place.gray(&format!("7/{i}/a.png"), [4, 4], i));
    assert!(tested().unwrap_err().to_string().contains("did you mean"));
}

#[test]
fn a_folder_without_pictures_is_no_class_and_that_is_said() {
    let place = Place::new();
    for name in ["train/x/1.png", "train/y/1.png", "test/x/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    std::fs::write(place.path("train/thirteen/1.heic"), "of a kind that is not read").unwrap();
    std::fs::write(place.path("train/.hidden/1.heic"), "").unwrap();
    for empty in ["train/三", "test/y"] {
        std::fs::create_dir(place.path(empty)).unwrap();
    }
    let set = place.load(Reading::default()).unwrap();
    assert_eq!(set.class_names, ["x", "y"]);
    let remark = |part: &str, names: &str| {
        format!("folders in {part} without a file that ends in .png, .jpg, .gif or the like are ignored: {names}")
    };
    assert_eq!(set.remarks, [remark("train", "thirteen, 三"), remark("test", "y")]);
}

#[test]
fn the_pictures_of_runs_are_no_class_and_that_is_said() {
    let place = Place::new();
    let of_runs = ["runs/0001-dense/curves.png", "runs/0002-gan/snapshots/7.png", "0003/curves.png", "sweep/sweep.png"];
    for name in [&["1/a.png", "2/a.png"][..], &of_runs].concat() {
        place.gray(name, [2, 2], 5);
    }
    for run in ["runs/0001-dense", "runs/0002-gan", "0003"] {
        std::fs::write(place.path(&format!("{run}/config.toml")), "").unwrap();
        std::fs::write(place.path(&format!("{run}/last.safetensors")), "").unwrap();
    }
    for table in ["sweep/sweep.csv", "sweep/sweep.md"] {
        std::fs::write(place.path(table), "").unwrap();
    }
    let set = place.load(all()).unwrap();
    assert_eq!((set.class_names.join(" ").as_str(), set.train.len()), ("1 2", 2));
    let name = place.0.path().file_name().unwrap().to_str().unwrap();
    let remark = format!("folders in {name} whose pictures were made by runs are ignored: 0003, runs, sweep");
    assert!(set.remarks.contains(&remark), "{:?}", set.remarks);
    // Pictures beside a run still count.
    place.gray("runs/b.png", [2, 2], 5);
    let set = place.load(all()).unwrap();
    assert_eq!((set.class_names.join(" ").as_str(), set.train.len()), ("1 2 runs", 3));
    assert!(!set.remarks.iter().any(|remark| remark.contains("of other kinds")), "{:?}", set.remarks);
}

#[test]
fn files_of_kinds_that_are_not_read_are_counted() {
    let place = Place::new();
    for name in ["a/1.png", "b/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    let counted = ["a/2.HEIC", "a/deep/3.heic", "b/2.heic", "b/notes.txt"];
    for name in [&counted[..], &["b/.hidden.heic", "b/Thumbs.db", "beside.heic"]].concat() {
        std::fs::write(place.path(name), "of a kind that is not read").unwrap();
    }
    let set = place.load(all()).unwrap();
    let told = "are left out: 3 .heic, 1 .txt. Convert pictures to JPEG or PNG";
    assert!(set.remarks.iter().any(|remark| remark.ends_with(told)), "{:?}", set.remarks);
    std::fs::remove_file(place.path("b/1.png")).unwrap();
    let refused = place.load(all()).unwrap_err().to_string();
    assert!(refused.contains("one class only, a, but files of kinds that are not read: 1 .heic, 1 .txt"), "{refused}");
    std::fs::remove_file(place.path("a/1.png")).unwrap();
    let refused = place.load(all()).unwrap_err().to_string();
    let words = "no train.csv, but files of kinds that are not read: 3 .heic, 1 .txt. Convert pictures to JPEG or PNG";
    assert!(refused.contains("no folders with pictures") && refused.contains(words), "{refused}");
}

#[test]
fn classes_that_lie_in_a_folder_of_their_own_are_pointed_to() {
    let place = Place::new();
    std::fs::write(place.path("__MACOSX/mydata/0/._1.png"), "what macOS adds to its archives").unwrap();
    for name in ["wrap/mydata/0/1.png", "wrap/mydata/1/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    let meant = place.0.path().join("wrap").join("mydata");
    for folder in [place.0.path().to_owned(), place.0.path().join("wrap")] {
        let refused = load(&folder, &all()).unwrap_err().to_string();
        assert!(refused.contains("one class only, ") && refused.contains(&meant.display().to_string()), "{refused}");
        assert!(refused.ends_with('?'), "{refused}");
    }
    assert_eq!(load(&meant, &all()).unwrap().train.len(), 2);
}

// Apple's file systems do not allow such names.
#[cfg(target_os = "linux")]
#[test]
fn a_class_whose_name_is_not_utf_8_has_its_pictures() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.gray("a/1.png", [2, 2], 5);
    let odd = |name: &[u8]| {
        let folder = place.0.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&folder).unwrap();
        GrayImage::from_pixel(2, 2, Luma([9])).save(folder.join("1.png")).unwrap();
    };
    odd(b"caf\xe9");
    let set = place.load(all()).unwrap();
    assert_eq!((set.class_names[1].as_str(), set.train.len(), set.train.image(1)), ("caf\u{fffd}", 2, &[9; 4][..]));
    odd(b"caf\xe8");
    let refused = place.load(all()).unwrap_err().to_string();
    assert!(refused.contains("two folders that are both caf\u{fffd}"), "{refused}");
}

#[test]
fn pictures_that_are_stretched_are_said_to_be() {
    let place = Place::new();
    for (name, size) in [("a/1.png", [40, 40]), ("a/2.png", [100, 99]), ("b/1.png", [32, 32])] {
        place.gray(name, size, 7);
    }
    let remarks = |size: Option<[usize; 3]>, prepare: bool| {
        let image_size = size.map(Into::into);
        place.load(Reading { image_size, prepare, ..all() }).unwrap().remarks
    };
    let says = |remarks: &[String]| remarks.iter().any(|remark| remark.contains("stretched"));
    assert!(!says(&remarks(None, false)) && !says(&remarks(Some([9, 9, 1]), false)), "all are square, or nearly so");
    assert!(remarks(Some([9, 18, 1]), false)[0].contains("than 9x18 are stretched to it: 3 of 3"));
    place.gray("b/2.png", [60, 30], 7);
    assert!(remarks(None, false)[0].contains("are brought to 28x28, stretched where they are not square"));
    assert!(remarks(Some([9, 9, 1]), false)[0].contains("than 9x9 are stretched to it: 1 of 4"));
    assert!(!says(&remarks(None, true)), "prepared ones keep their shape");
}

#[test]
fn stretched_pictures_to_test_with_are_counted_on_their_own() {
    let place = Place::new();
    for (name, size) in [
        ("train/a/1.png", [40, 40]),
        ("train/a/2.png", [60, 30]),
        ("train/b/1.png", [40, 40]),
        ("test/a/1.png", [20, 40]),
        ("test/b/1.png", [40, 20]),
    ] {
        place.gray(name, size, 7);
    }
    let remarks = |size: Option<[usize; 3]>| {
        let image_size = size.map(Into::into);
        place.load(Reading { image_size, ..all() }).unwrap().remarks
    };
    let counts = "than 9x9 are stretched to it: 1 of 3 to train with, 2 of 2 to test with";
    assert!(remarks(Some([9, 9, 1]))[0].contains(counts), "{:?}", remarks(Some([9, 9, 1])));
    assert!(remarks(None)[0].contains("pictures 20 to 40 pixels high and 20 to 60 wide"), "{:?}", remarks(None));
    // Where those to train with share a size, the others are brought to it.
    std::fs::remove_file(place.path("train/a/2.png")).unwrap();
    let counts = "than 40x40 are stretched to it: 0 of 2 to train with, 2 of 2 to test with";
    assert!(remarks(None)[0].contains(counts), "{:?}", remarks(None));
}

#[test]
fn pictures_of_several_sizes_are_brought_to_one_and_it_is_said() {
    let place = Place::new();
    place.gray("a/1.png", [40, 30], 7);
    place.gray("b/1.png", [64, 64], 9);
    let set = place.load(all()).unwrap();
    assert_eq!((set.train.height, set.train.width), (28, 28));
    assert!(set.remarks[0].contains("30 to 64 pixels high and 40 to 64 wide are brought to 28x28"));
    let set = place.load(Reading { image_size: Some([5, 6, 3].into()), ..all() }).unwrap();
    assert_eq!((set.train.height, set.train.width, set.train.channels), (5, 6, 3));
    assert!(set.train.image(0).iter().all(|value| *value == 7));
}

#[test]
fn colours_are_kept_where_there_are_any_and_greys_stored_as_colours_are_grey() {
    let place = Place::new();
    for (name, colour) in [("a/1.png", [9, 9, 9]), ("b/1.png", [80, 80, 80])] {
        RgbImage::from_pixel(2, 2, Rgb(colour)).save(place.path(name)).unwrap();
    }
    assert_eq!(place.load(all()).unwrap().train.channels, 1);
    RgbImage::from_pixel(2, 2, Rgb([200, 9, 9])).save(place.path("b/2.png")).unwrap();
    let set = place.load(all()).unwrap();
    assert_eq!(set.train.channels, 3);
    assert_eq!(set.train.image(2)[..3], [200, 9, 9]);
    // Also where only the last of many classes has any.
    let [grey, coloured] = ["a/1.png", "b/2.png"].map(|name| vec![place.path(name); SAMPLED]);
    assert!(is_coloured(&[grey, coloured].concat()));
}

#[test]
fn folders_named_train_and_test_are_the_two_parts() {
    let place = Place::new();
    for name in ["train/x/1.png", "train/x/2.png", "train/y/1.png", "test/y/1.png", "test/x/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    let set = place.load(Reading::default()).unwrap();
    assert_eq!((set.class_names.join(" ").as_str(), set.train.len(), set.test.len()), ("x y", 3, 2));
    assert_eq!((set.test.labels.as_slice(), set.remarks.len()), (&[0, 1][..], 0));
    place.gray("test/z/1.png", [2, 2], 5);
    let refused = place.load(Reading::default()).unwrap_err().to_string();
    assert!(refused.contains("z: there are no pictures of this class to train with"), "{refused}");
}

#[test]
fn the_two_parts_are_known_by_their_other_names_and_in_any_letter_case() {
    for [train, test] in
        [["training", "testing"], ["Train", "Test"], ["train", "val"], ["TRAINING", "Valid"], ["train", "validation"]]
    {
        let place = Place::new();
        for name in ["x/1.png", "x/2.png", "y/1.png"] {
            place.gray(&format!("{train}/{name}"), [2, 2], 5);
        }
        place.gray(&format!("{test}/y/1.png"), [2, 2], 5);
        let set = place.load(Reading::default()).unwrap();
        assert_eq!((set.class_names.join(" ").as_str(), set.train.len(), set.test.len()), ("x y", 3, 1), "{train}");
        assert_eq!(set.test.labels, [1], "that of y, though x has nothing to test with");
        assert!(set.remarks.is_empty(), "{train}: {:?}", set.remarks);
        assert!(to_train_with(place.0.path()).contains(&place.0.path().join(train)), "{train}");
        place.gray(&format!("{test}/z/1.png"), [2, 2], 5);
        let refused = place.load(Reading::default()).unwrap_err().to_string();
        let expected = place.0.path().join(train).display().to_string();
        assert!(refused.contains(&format!("Add some under {expected}, or")), "{refused}");
    }
}

#[test]
fn pictures_beside_the_two_parts_are_said_to_take_no_part() {
    let place = Place::new();
    for name in ["train/x/1.png", "train/y/1.png", "test/x/1.png", "val/x/1.png", "more/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    std::fs::create_dir(place.path("notes")).unwrap();
    let set = place.load(Reading::default()).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (2, 1));
    assert_eq!(set.remarks, ["pictures in more, val are ignored: train is used for training and test for testing"]);
    place.gray("training/x/1.png", [2, 2], 5);
    let refused = place.load(Reading::default()).unwrap_err().to_string();
    assert!(refused.contains("the folder to train with") && refused.contains("train, training"), "{refused}");
}

#[test]
fn a_folder_to_train_with_that_holds_one_class_is_refused_with_that_class() {
    let place = Place::new();
    place.gray("train/only/1.png", [2, 2], 5);
    let refused = place.load(all()).unwrap_err().to_string();
    let train = place.0.path().join("train").display().to_string();
    assert!(refused.starts_with(&train) && refused.contains("pictures of one class only, only"), "{refused}");
    std::fs::rename(place.path("train/only/1.png"), place.path("train/1.png")).unwrap();
    let refused = place.load(all()).unwrap_err().to_string();
    assert!(refused.contains("pictures of one class only, train"), "{refused}");
}

#[test]
fn a_folder_that_is_called_train_may_be_a_class_beside_others() {
    let place = Place::new();
    for name in ["train/1.png", "bus/1.png", "plane/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    assert_eq!(place.load(all()).unwrap().class_names, ["bus", "plane", "train"]);
}

#[test]
fn a_folder_of_classes_that_is_called_train_is_trained_with_where_none_is_called_test() {
    for train in ["train", "Training"] {
        let place = Place::new();
        for name in ["x/1.png", "y/1.png"] {
            place.gray(&format!("{train}/{name}"), [2, 2], 5);
        }
        let set = place.load(all()).unwrap();
        assert_eq!((set.class_names.join(" ").as_str(), set.train.len()), ("x y", 2), "with nothing beside it");
        place.gray("unlabelled/1.png", [2, 2], 5);
        place.gray("more/deep/1.png", [2, 2], 5);
        let set = place.load(all()).unwrap();
        assert_eq!((set.class_names.join(" ").as_str(), set.train.len(), set.test.len()), ("x y", 2, 0));
        let told = format!("pictures in more, unlabelled are ignored: {train} is used for training");
        assert!(set.remarks.contains(&told), "{:?}", set.remarks);
    }
}

#[test]
fn pictures_that_lie_in_no_folder_of_a_class_are_counted() {
    let place = Place::new();
    let loose = ["test/1.png", "test/2.png", "train/1.png", "1.png", "2.PNG", "3.jpg"];
    for name in [&["train/x/1.png", "train/y/1.png"][..], &loose].concat() {
        place.gray(name, [2, 2], 5);
    }
    std::fs::write(place.path("notes.txt"), "no picture").unwrap();
    place.gray(".hidden.png", [2, 2], 5);
    let told = |folder: &str, count: usize| {
        format!("pictures directly in {folder}, outside the classes' folders, are ignored: {count}")
    };
    let name = place.0.path().file_name().unwrap().to_str().unwrap();
    let remarks = place.load(all()).unwrap().remarks;
    assert_eq!(remarks[..3], [told(name, 3), told("train", 1), told("test", 2)]);
    // The same where the folder is not divided.
    let remarks = load(&place.0.path().join("train"), &all()).unwrap().remarks;
    assert_eq!(remarks[0], told("train", 1));
}

#[test]
fn a_class_that_is_called_unsure_is_said_to_be_one() {
    let place = Place::new();
    for name in ["3/1.png", "8/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    let is_told = |set: &DataSet| set.remarks.iter().any(|remark| remark.contains("unsure is taken as a class"));
    assert!(!is_told(&place.load(all()).unwrap()));
    place.gray("unsure/1.png", [2, 2], 5);
    let set = place.load(all()).unwrap();
    assert!(is_told(&set), "{:?}", set.remarks);
    assert_eq!(set.class_names, ["3", "8", "unsure"]);
}

#[test]
fn a_class_of_unreadable_pictures_is_refused_by_its_folder() {
    let place = Place::new();
    for i in 0..5 {
        place.gray(&format!("a/{i}.png"), [2, 2], 5);
    }
    std::fs::write(place.path("b/broken.png"), "no picture").unwrap();
    let refused = place.load(all()).unwrap_err().to_string();
    let folder = place.0.path().join("b").display().to_string();
    assert!(refused.starts_with(&folder) && refused.contains("none that can be read"), "{refused}");
}

#[test]
fn pictures_that_are_stored_on_their_side_count_as_they_stand() {
    // Quarter turns, two of them mirrored, and the corner that the first one becomes: of the upper two or the lower two.
    for (orientation, corner) in [(5, 0), (6, 1), (7, 3), (8, 2)] {
        let place = Place::new();
        // Little-endian, and one entry: the orientation.
        let before = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
        let exif = [&before[..], &[orientation], &[0; 7]].concat();
        let pixels: Vec<u8> = (0..800).map(|i| if i % 40 < 20 && i < 400 { 200 } else { 9 }).collect();
        for class in ["a", "b"] {
            place.gray(&format!("{class}/1.png"), [20, 40], 7);
            let file = std::fs::File::create(place.path(&format!("{class}/2.png"))).unwrap();
            let mut encoder = PngEncoder::new(file);
            encoder.set_exif_metadata(exif.clone()).unwrap();
            encoder.write_image(&pixels, 40, 20, ExtendedColorType::L8).unwrap();
        }
        let set = place.load(all()).unwrap();
        assert_eq!((set.train.height, set.train.width), (40, 20), "{orientation}");
        assert!(!set.remarks.iter().any(|remark| remark.contains("brought to")), "{:?}", set.remarks);
        let mut corners = [9; 4];
        corners[corner] = 200;
        assert_eq!([0, 19, 780, 799].map(|at| set.train.image(1)[at]), corners, "{orientation}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_with_a_pictures_name_is_left_out_and_not_waited_for() {
    let place = Place::new();
    for i in 0..3 {
        place.gray(&format!("a/{i}.png"), [2, 2], 5);
        place.gray(&format!("b/{i}.png"), [2, 2], 5);
    }
    let made = std::process::Command::new("mkfifo").arg(place.path("a/pipe.png")).status().unwrap();
    assert!(made.success());
    let (folder, (said, heard)) = (place.0.path().to_owned(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let _ = said.send(load(&folder, &all()).unwrap());
    });
    let set = heard.recv_timeout(std::time::Duration::from_secs(60)).expect("the answer, without waiting");
    assert_eq!(set.train.len(), 6);
    assert!(
        set.remarks.iter().any(|remark| remark.contains("pipe.png is a pipe or device, not a file")),
        "{:?}",
        set.remarks
    );
}

#[test]
fn a_picture_that_cannot_be_read_is_left_out_and_named() {
    let place = Place::new();
    for i in 0..5 {
        place.gray(&format!("a/{i}.png"), [2, 2], 5);
        place.gray(&format!("b/{i}.png"), [2, 2], 5);
    }
    std::fs::write(place.path("a/broken.png"), "no picture").unwrap();
    std::fs::write(place.path("a/empty.jpg"), "").unwrap();
    let set = place.load(all()).unwrap();
    assert_eq!(set.train.len(), 10);
    let remark = set.remarks.iter().find(|remark| remark.contains("left out")).unwrap();
    assert!(remark.contains("2 of 12") && remark.contains("broken.png is no picture"), "{remark}");
    for i in 0..12 {
        std::fs::write(place.path(&format!("b/bad{i}.png")), "no picture").unwrap();
    }
    assert!(place.load(all()).unwrap_err().to_string().contains("14 of 24 pictures are left out"));
}

// The system does not take a path of more than 4,096 bytes, which even root cannot read.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_read_is_left_out_and_named() {
    let place = Place::new();
    let long = ("x".repeat(200) + "/").repeat(12);
    let put_too_deep_in = |class: &str| {
        let (upper, lower) = (place.path(&format!("{class}/{long}")), place.path("lower"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(lower.join(&long)).unwrap();
        std::fs::rename(lower, upper.join("lower")).unwrap();
    };
    for name in ["a/1.png", "b/1.png"] {
        place.gray(name, [2, 2], 5);
    }
    let said = || place.load(all()).unwrap().remarks.into_iter().find(|remark| remark.contains(" left out"));
    assert_eq!(said(), None);
    put_too_deep_in("b");
    let inside = place.path("b").join("x").display().to_string();
    let said_of_b = said().unwrap();
    assert!(said_of_b.starts_with(&format!("1 folder is left out: {inside}")), "{said_of_b}");
    assert!(said_of_b.contains(" cannot be read: ") && !said_of_b.contains("and more"), "{said_of_b}");
    // One that may be a class is not said to have no pictures.
    put_too_deep_in("c");
    let said_of_both = said().unwrap();
    assert!(said_of_both.starts_with("2 folders are left out: ") && said_of_both.ends_with("lists them all"));
    assert!(!place.load(all()).unwrap().remarks.iter().any(|remark| remark.contains("are ignored")));
    std::fs::remove_dir_all(place.path("b")).unwrap();
    let refused = place.load(all()).unwrap_err().to_string();
    assert!(refused.contains("pictures of one class only, a; 1 folder is left out: "), "{refused}");
}

#[test]
fn a_picture_that_breaks_off_has_no_say_in_the_size_of_the_others() {
    let place = Place::new();
    for name in ["train/a/1.png", "train/a/2.png", "train/b/1.png", "test/a/1.png"] {
        place.gray(name, [40, 30], 7);
    }
    let cut = place.path("train/b/cut.png");
    GrayImage::from_fn(90, 90, |x, y| Luma([(x * y) as u8])).save(&cut).unwrap();
    let whole = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(head(&cut), Some((90, 90, false)), "its size is still to be seen");
    for (image_size, sides) in [(None, (30, 40)), (Some([15, 20, 1].into()), (15, 20))] {
        let set = place.load(Reading { image_size, ..all() }).unwrap();
        assert_eq!((set.train.height, set.train.width), sides);
        assert_eq!((&set.train.labels[..], &set.test.labels[..]), (&[0, 0, 1][..], &[0][..]));
        assert!([&set.train, &set.test].iter().all(|set| set.images.iter().all(|pixel| *pixel == 7)));
        assert!(set.remarks[0].starts_with("1 of 4 pictures is left out: "), "{:?}", set.remarks);
    }
}

#[test]
fn what_holds_no_classes_is_refused_with_what_there_is() {
    let place = Place::new();
    let refused = |words: &str| {
        let message = place.load(all()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused("no folders with pictures");
    place.gray("only/1.png", [2, 2], 5);
    refused("pictures of one class only, only");
}

#[test]
fn prepared_pictures_are_as_mnist_would_have_made_them() {
    let place = Place::new();
    for class in ["train/a", "train/b", "test/a"] {
        // A dark bar, off-centre on light paper.
        let picture = GrayImage::from_fn(90, 120, |x, y| {
            Luma([if (20..30).contains(&x) && (10..60).contains(&y) { 20 } else { 235 }])
        });
        picture.save(place.path(&format!("{class}/1.png"))).unwrap();
    }
    let set = place.load(Reading { prepare: true, ..all() }).unwrap();
    assert_eq!((set.train.height, set.train.channels, set.pictures), (28, 1, Some(Pictures::Prepared)));
    let at = |y: usize, x: usize| set.train.image(0)[y * 28 + x];
    assert!(at(14, 14) > 200 && at(14, 2) == 0 && at(1, 14) == 0, "light ink in the middle of dark paper");
    assert_eq!(set.test.image(0), set.train.image(0));
}

#[test]
fn who_waits_for_pictures_is_told_of_each_and_anew_where_they_are_decoded_again() {
    let place = Place::new();
    for i in 0..5 {
        place.gray(&format!("train/0/{i}.png"), [9, 9], 0);
        place.gray(&format!("train/1/{i}.png"), [9, 9], 0);
    }
    place.gray("test/0/a.png", [9, 9], 0);
    let told = |reading: &Reading| {
        let told = std::sync::Mutex::new(Vec::new());
        super::load(place.0.path(), reading, &|done, all| told.lock().unwrap().push((done, all))).unwrap();
        let mut told = told.into_inner().unwrap();
        told.sort();
        told
    };
    let once: Vec<(usize, usize)> = (1..=11).map(|done| (done, 11)).collect();
    assert_eq!(told(&Reading::default()), once);
    // The one that breaks off was all that spoke against the others' size.
    let mut broken = Vec::new();
    let image = GrayImage::new(20, 20);
    PngEncoder::new(&mut broken).write_image(&image, 20, 20, ExtendedColorType::L8).unwrap();
    broken.truncate(broken.len() - 20);
    std::fs::write(place.path("train/1/b.png"), broken).unwrap();
    let told = told(&Reading::default());
    assert_eq!(told.iter().filter(|(_, all)| *all == 12).count(), 12);
    assert_eq!(told.iter().filter(|(_, all)| *all == 11).count(), 11);
}
