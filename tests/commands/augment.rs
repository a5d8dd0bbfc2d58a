//! Augmentation as users meet it: training's flags, the 77-fold set, and the commands that look at data.

use inkgrad::data::load_folder;
use inkgrad::models::ModelFile;

use crate::common::{NAMES, Place, accuracy};

const DENSE: &str = "train dense --data data --device cpu --epochs 1 --validation 0";

fn picture(place: &Place, name: &str) -> image::RgbImage {
    image::load_from_memory(&place.read(name)).unwrap_or_else(|e| panic!("{name}: {e}")).to_rgb8()
}

/// Every tensor of a model file: name and bytes.
fn tensors(place: &Place, name: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = place.read(name);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    tensors.sort();
    tensors
}

// The 77-fold set.

#[test]
fn data_extend_writes_each_image_cropped_at_seven_times_eleven_places() {
    let place = Place::with_digits(6, 3);
    // The first five include a 9, so there are ten classes.
    let said = place.works("data extend --data data --out new/extended --limit 5");
    assert!(said.out.contains("385 training images") && said.out.contains("3 test images"), "{said:#?}");
    let mut names = NAMES.map(String::from);
    names.sort();
    assert_eq!(place.names("new/extended"), names);
    let (was, found) = (load_folder(place.path("data")).unwrap(), load_folder(place.path("new/extended")).unwrap());
    assert_eq!((found.train.len(), &found.test), (5 * 77, &was.test));
    for i in 0..5 {
        for (down, right) in (0..7).flat_map(|down| (0..11).map(move |right| (down, right))) {
            let at = i * 77 + down * 11 + right;
            assert_eq!(found.train.labels[at], was.train.labels[i]);
            let mut wanted = vec![0; 784];
            for (row, column) in (4..=25).flat_map(|row| (5..=22).map(move |column| (row, column))) {
                wanted[(row - 4 + down) * 28 + column - 5 + right] = was.train.image(i)[row * 28 + column];
            }
            assert!(found.train.image(at) == wanted, "image {i} moved down by {down} and right by {right}");
        }
    }
    place.works("data extend --data data --out both --test");
    assert_eq!(load_folder(place.path("both")).unwrap().test.len(), 3 * 77);
}

#[test]
fn training_with_extend_is_training_on_the_written_out_set_to_the_byte() {
    let place = Place::with_digits(60, 50);
    place.works("data extend --data data");
    place.works(&format!("{DENSE} --extend --out sampled"));
    place.works("train dense --data extended --device cpu --epochs 1 --validation 0 --out written");
    let [sampled, written] = ["sampled", "written"].map(|run| format!("{run}/0001-dense"));
    assert!(
        tensors(&place, &format!("{sampled}/best.safetensors"))
            == tensors(&place, &format!("{written}/best.safetensors"))
    );
    for file in ["metrics.csv", "result.toml"] {
        assert_eq!(place.text(&format!("{sampled}/{file}")), place.text(&format!("{written}/{file}")), "{file}");
    }
    // 4,620 images in steps of 128.
    assert!(place.text(&format!("{sampled}/metrics.csv")).contains("\n37,"));
    let with_mean = |run: &str| {
        let bytes = place.read(&format!("{run}/best.safetensors"));
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        ["mean", "std"].map(|key| header.metadata().as_ref().unwrap()[key].clone())
    };
    assert_eq!(with_mean(&sampled), with_mean(&written));
}

#[test]
fn data_extend_writes_no_files_for_images_that_there_are_none_of() {
    let place = Place::with_digits(8, 3);
    NAMES[2..].iter().for_each(|name| std::fs::remove_file(place.path("data").join(name)).unwrap());
    // A tenth of eight is none.
    let said = place.works("data extend --data data --out made");
    assert!(said.out.contains("616 training images") && said.out.contains("and 0 test images"), "{said:#?}");
    assert_eq!(place.names("made"), [NAMES[0], NAMES[1]]);
    assert_eq!(load_folder(place.path("made")).unwrap().train.len(), 8 * 77);
}

/// Grey pictures in a folder for each class, ten of each.
fn folders(place: &Place, folder: &str, classes: &[&str]) {
    for i in 0..classes.len() * 10 {
        let path = place.path(&format!("{folder}/{}/{i}.png", classes[i / 10]));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_pixel(28, 28, image::Luma([i as u8])).save(path).unwrap();
    }
}

#[test]
fn data_extend_labels_images_with_the_numbers_that_their_folders_are_named_after_or_says_what_labels_are() {
    let place = Place::new();
    folders(&place, "odd", &["3", "5", "7"]);
    let said = place.works("data extend --data odd --out made");
    assert!(!said.err.contains("instead of class names"), "{said:#?}");
    let made = load_folder(place.path("made")).unwrap();
    let met = |set: &inkgrad::data::ImageSet| set.labels.iter().copied().collect::<std::collections::BTreeSet<_>>();
    assert_eq!((Vec::from_iter(met(&made.train)), Vec::from_iter(met(&made.test))), (vec![3, 5, 7], vec![3, 5, 7]));
    // A model of the folders is tested on these files by the names of its classes, and learns from them too.
    place.works("train dense --data odd --epochs 1 --batch 9 --device cpu -q");
    let said = place.works("evaluate runs/0001-dense --data made --device cpu");
    assert!(said.out.contains(" of 3 right") && !said.err.contains("matched in order"), "{said:#?}");
    let said = place.works("train dense --data made --epochs 1 --device cpu -q");
    assert!(said.err.contains("5 of the 8 classes, 0 to 7, have no image to train with: 0, 1, 2, 4, 6"), "{said:#?}");

    folders(&place, "named", &["cat", "dog"]);
    let said = place.works("data extend --data named --out numbered");
    assert!(said.err.contains("IDX files hold numbers instead of class names: 0 is cat, 1 is dog"), "{said:#?}");
    assert_eq!(load_folder(place.path("numbered")).unwrap().class_names, ["0", "1"]);
}

#[test]
fn data_extend_refuses_more_classes_than_a_label_can_tell_apart() {
    let place = Place::new();
    let header: String = (0..784).map(|i| format!(",pixel{i}")).collect();
    let row = |label: u32| format!("{label}{}\n", ",7".repeat(784));
    place.write("many.csv", format!("label{header}\n{}{}", row(0), row(300)));
    place.refused("data extend --data many.csv", &["many.csv has 301 classes", "256 are the most", "train --extend"]);
}

#[test]
fn data_extend_refuses_so_few_images_that_their_files_could_not_be_read() {
    let place = Place::new();
    folders(&place, "letters", &["a", "b", "c"]);
    let line = "data extend --data letters --hold-out 6";
    // Eight images of each class are left, one class after the other.
    place.refused(&format!("{line} --limit 9"), &["--limit 9", "is of class c", "--limit 17 or more"]);
    place.works(&format!("{line} --limit 17"));
    assert_eq!(load_folder(place.path("extended")).unwrap().train.classes, 3);
}

#[test]
fn data_extend_refuses_what_it_cannot_do_and_leaves_nothing() {
    let place = Place::with_digits(5, 3);
    place.bars("bars", [20, 12], 3, [9, 3]);
    place.refused("data extend --data bars", &["bars has images of 20 x 12", "only images of 28 x 28", "--shift"]);
    place.refused("data extend --data data --limit 0", &["--limit is 0"]);
    place.refused("data extend --data data --limit -1", &["--limit"]);
    place.refused("data extend --data data --out data", &["data", NAMES[0], "is already there; name another place"]);
    place.refused("data extend --data nowhere", &["cannot read nowhere"]);
    place.write("file", "");
    place.refused("data extend --data data --out file", &["--out file"]);
}

/// Digits in `data`, of which the first `light` of each file are ink on white paper.
fn with_light_digits(train: usize, test: usize, light: usize) -> Place {
    let place = Place::with_digits(train, test);
    for name in [NAMES[0], NAMES[2]] {
        let mut file = place.read(&format!("data/{name}"));
        file[16..].iter_mut().take(784 * light).for_each(|byte| *byte = 255 - *byte);
        place.write(&format!("data/{name}"), file);
    }
    place
}

#[test]
fn light_images_are_not_extended_since_black_would_surround_them() {
    // All of them, and a tenth.
    for light in [200, 20] {
        let place = with_light_digits(200, 20, light);
        for line in ["train dense --extend", "data preview dense --extend"] {
            let line = format!("{line} --data data --device cpu");
            place.refused(&line, &["--extend is on", "light border", "Invert the images first, or use --shift"]);
        }
        place.refused("data extend --data data", &["data has images with a light border", "Invert", "train --shift"]);
    }
}

// Training.

#[test]
fn a_run_keeps_its_augmentation_and_flags_change_single_entries_of_a_recipe() {
    let place = Place::with_digits(200, 50);
    let recipe = "[recipe]\nepochs = 1\naugment = { rotate = 10, shift = 0.1, extend = true }\n";
    place.write("my.toml", format!("layers = [\"flatten\", {{ dense = \"classes\" }}]\n{recipe}"));
    let config = |flags: &str| {
        let said = place.works(&format!("train my.toml --data data --device cpu --dry-run {flags}"));
        said.out.split("[augment]").nth(1).unwrap_or("").to_string()
    };
    let has = |config: &str, lines: &[&str]| {
        for line in lines {
            assert!(
                config.contains(&format!("\n{line}\n")) || config.ends_with(&format!("\n{line}\n")),
                "{line}: {config}"
            );
        }
    };
    has(&config(""), &["rotate = 10.0", "shift = 0.1", "zoom = 0.0", "quarter_turns = false"]);
    has(&config("--rotate 5 --noise 0.2 --extend=false"), &["rotate = 5.0", "shift = 0.1", "noise = 0.2"]);
    assert!(config("--extend=false").contains("extend = false"));
    has(&config("--no-augment --erase 0.5"), &["rotate = 0.0", "shift = 0.0", "erase = 0.5"]);
    assert_eq!(config("--no-augment"), "", "nothing is left to keep");

    let said = place.works("train my.toml --data data --device cpu --validation 20 --zoom 0.1");
    assert!(said.err.contains("13,860 images, 20 to validate"), "{said:#?}");
    let kept = place.text("runs/0001-my/config.toml");
    assert!(kept.contains("zoom = 0.1") && kept.contains("rotate = 10.0") && kept.contains("extend = true"), "{kept}");
    // The test uses images as they are.
    let evaluate = place.works("evaluate runs/0001-my --data data --device cpu");
    assert_eq!(accuracy(&evaluate.out), accuracy(&said.out));
}

#[test]
fn each_augmentation_changes_what_is_learnt_and_the_same_one_repeats_it() {
    let place = Place::with_digits(300, 50);
    let flags = [
        "",
        "--rotate 15",
        "--shift 0.1",
        "--zoom 0.2",
        "--shear 10",
        "--elastic 1.4",
        "--erase 0.4",
        "--noise 0.1",
        "--quarter-turns",
        "--extend",
    ];
    let run = |flags: &str, out: &str| {
        place.works(&format!("{DENSE} {flags} --out {out}"));
        tensors(&place, &format!("{out}/0001-dense/best.safetensors"))
    };
    let learnt: Vec<_> = flags.iter().enumerate().map(|(i, flags)| run(flags, &format!("run{i}"))).collect();
    for (i, j) in (0..flags.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
        assert!(learnt[i] != learnt[j], "{:?} and {:?} learn the same", flags[i], flags[j]);
    }
    assert!(run("--elastic 1.4", "again") == learnt[5]);
}

#[test]
fn digits_that_are_turned_upside_down_come_with_a_warning() {
    let place = Place::with_digits(100, 20);
    place.bars("bars", [12, 12], 3, [30, 9]);
    let said = place.works(&format!("{DENSE} --quarter-turns --dry-run"));
    assert!(said.err.contains("warning: --quarter-turns turns a 6 into a 9"), "{said:#?}");
    let said = place.works(&format!("{DENSE} --rotate 120 --dry-run"));
    assert!(said.err.contains("warning: --rotate turns a 6 into a 9"), "{said:#?}");
    let said = place.works(&format!("{DENSE} --rotate 20 --dry-run"));
    assert_eq!(said.err, "");
    let said = place.works("train dense --data bars --device cpu --quarter-turns --dry-run");
    assert!(!said.err.contains("--quarter-turns"), "there is no 6 and no 9: {said:#?}");
}

#[test]
fn augmentation_out_of_bounds_or_not_for_these_images_is_refused() {
    let place = Place::with_digits(200, 50);
    place.bars("bars", [20, 12], 3, [60, 30]);
    place.works("train dense --data data --device cpu --epochs 1");
    for (flag, words) in [
        ("--rotate 181", ["--rotate is 181", "from 0 to 180"]),
        ("--rotate -1", ["--rotate is -1", "from 0 to 180"]),
        ("--rotate nan", ["--rotate is NaN", "from 0 to 180"]),
        ("--shift 1.5", ["--shift is 1.5", "from 0 to 1"]),
        ("--zoom 1", ["--zoom is 1", "from 0 to 0.9"]),
        ("--shear 61", ["--shear is 61", "from 0 to 60"]),
        ("--elastic inf", ["--elastic is inf", "from 0 to 100"]),
        ("--erase 2", ["--erase is 2", "from 0 to 1"]),
        ("--noise -0.1", ["--noise is -0.1", "from 0 (none) to 1"]),
        ("--noise much", ["--noise", "much"]),
        ("--quarter-turns=perhaps", ["--quarter-turns", "perhaps"]),
    ] {
        place.refused(&format!("{DENSE} {flag}"), &words);
        place.refused(&format!("data preview --data data --device cpu {flag}"), &words);
    }
    let bars = "train dense --data bars --device cpu --validation 0";
    place.refused(&format!("{bars} --extend"), &["--extend is on", "20 x 12", "--shift"]);
    place.refused(&format!("{bars} --quarter-turns"), &["--quarter-turns is on", "20 x 12", "not square"]);
    place.refused("train dense --data data --device cpu --extend --epochs 400000", &["--epochs", "at most"]);
    place.refused("train gan --data data --device cpu --rotate 5", &["--rotate", "a GAN"]);
    place.refused("train --resume runs/0001-dense --rotate 5", &["--resume", "cannot be used"]);
    place.write("bad.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\naugment = { rotat = 5 }\n");
    place.refused("train bad.toml --data data --device cpu", &["bad.toml:3", "augment", "`rotat`", "`rotate`"]);
    place.write("bad.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\naugment = { zoom = 2 }\n");
    place.refused("train bad.toml --data data --device cpu", &["bad.toml:3", "`zoom`", "from 0 to 0.9", "not 2"]);
    place.write("bad.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\naugment = 5\n");
    place.refused("train bad.toml --data data --device cpu", &["bad.toml:3", "`augment` must be a table"]);
}

// Looking at data.

#[test]
fn a_preview_has_originals_in_the_first_column_and_draws_beside_them() {
    let place = Place::with_digits(60, 20);
    let line = "data preview --data data --device cpu --rows 3 --columns 4";
    let said = place.works(&format!("{line} --rotate 20 --noise 0.1"));
    assert_eq!(said.out, "{ rotate = 20, noise = 0.1 }\npreview.png\n");
    let sheet = picture(&place, "preview.png");
    // Five columns and three rows of 56 pixels, with gaps.
    assert!(sheet.width() >= 5 * 56 + 4 * 16 && sheet.height() >= 3 * 56, "{:?}", sheet.dimensions());

    // With nothing asked for, what training sees is the image itself.
    let said = place.works(&format!("{line} --out plain.png"));
    assert!(said.err.contains("images as they are") && said.out == "plain.png\n", "{said:#?}");
    let plain = picture(&place, "plain.png");
    assert_eq!(plain.dimensions(), sheet.dimensions());
    let cell = |sheet: &image::RgbImage, column: u32| -> Vec<u8> {
        let (left, top) = (24 + column * (56 + 16), 24 + 46);
        let pixels = (0..28).flat_map(|y| (0..28).map(move |x| (left + 2 * x, top + 2 * y)));
        pixels.map(|(x, y)| sheet.get_pixel(x, y).0[0]).collect()
    };
    let train = load_folder(place.path("data")).unwrap().train;
    let original = cell(&plain, 0);
    assert!((0..train.len()).any(|i| train.labels[i] == 0 && train.image(i) == original), "no 0 of the set");
    for column in 1..5 {
        assert!(cell(&plain, column) == original, "column {column}");
        assert!(cell(&sheet, column) != original, "column {column}");
    }
    assert!(cell(&sheet, 0) == original && cell(&sheet, 1) != cell(&sheet, 2));

    place.works(&format!("{line} --rotate 20 --noise 0.1 --out again.png"));
    assert!(place.read("again.png") == place.read("preview.png"), "the same seed draws the same");
    place.works(&format!("{line} --rotate 20 --noise 0.1 --seed 1 --out other.png"));
    assert!(place.read("other.png") != place.read("preview.png"));
}

#[test]
fn a_preview_of_more_rows_than_a_picture_has_room_for_shows_those_that_fit_and_says_so() {
    let place = Place::with_digits(200, 20);
    let said = place.works("data preview --data data --device cpu --rows 170 --columns 1");
    assert!(said.err.contains("note: 166 of 170 rows fit"), "{said:#?}");
    let height = picture(&place, "preview.png").height();
    assert!((16_000..=16_384).contains(&height), "{height}");
    // The same with pictures that are large themselves.
    place.bars("large", [200, 1500], 2, [4, 2]);
    let said = place.works("data preview --data large --device cpu --rows 2 --columns 12 --out large.png");
    assert!(said.err.contains("note: 9 of 12 columns fit"), "{said:#?}");
    assert!(!said.err.contains("rows fit"), "{said:#?}");
}

#[test]
fn a_preview_is_the_same_on_a_software_gpu() {
    let place = Place::with_digits(60, 20);
    if !place.has_software_gpu() {
        return;
    }
    for (name, flags) in [
        ("affine", "--rotate 30 --shift 0.2 --zoom 0.3 --shear 20 --quarter-turns"),
        ("rest", "--elastic 2 --erase 0.5 --noise 0.1 --extend"),
    ] {
        let sheets = ["cpu", "llvmpipe"].map(|device| {
            place.works(&format!("data preview --data data --device {device} {flags} --out {name}-{device}.png"));
            picture(&place, &format!("{name}-{device}.png"))
        });
        // Values that lie between two bytes may be rounded either way.
        let pairs = sheets[0].as_raw().iter().zip(sheets[1].as_raw());
        let far = pairs.map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(1), "{flags}: {far:?}");
    }
}

#[test]
fn stats_count_images_and_ink_and_draw_the_means() {
    let place = Place::with_digits(1000, 200);
    place.bars("bars", [20, 12], 3, [9, 3]);
    let said = place.works("data stats --data data");
    let row = |name: &str| -> Vec<String> {
        let row = said.out.lines().find(|line| line.split_whitespace().next() == Some(name));
        row.unwrap_or_else(|| panic!("{name}: {said:#?}")).split_whitespace().skip(1).map(String::from).collect()
    };
    let labels = load_folder(place.path("data")).unwrap().train.labels;
    assert_eq!(row("3")[0], labels.iter().filter(|label| **label == 3).count().to_string());
    assert_eq!(row("all"), ["1,000", "200"]);
    assert_eq!(row("median").len(), 4);
    for words in
        ["images of 28 x 28 pixels", "standard deviation", "all ink is in rows", "in rows 4 to 25", "stats.png"]
    {
        assert!(said.out.contains(words), "no {words:?} in {said:#?}");
    }
    assert!(picture(&place, "stats.png").width() > 6 * 112);

    // Bars are at rows 0 to 3, 6 to 9 and 13 to 16, over the whole width.
    let said = place.works("data stats --data bars --out new/bars.png");
    assert!(said.out.contains("all ink is in rows 0 to 16 and columns 0 to 11\n"), "{said:#?}");
    assert!(!said.out.contains("--extend"), "{said:#?}");
    place.refused("data stats --data nowhere", &["cannot read nowhere"]);
}

#[test]
fn stats_of_a_set_without_test_images_have_no_mean_for_them() {
    let place = Place::new();
    folders(&place, "two", &["a", "b"]);
    let said = place.works("data stats --data two --hold-out 0");
    for name in ["mean of the pixels, 0 to 1", "their standard deviation"] {
        let row = said.out.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{said:#?}"));
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert!(matches!(cells[..], [training, "-"] if training.starts_with("0.0")), "{said:#?}");
    }
}

#[test]
fn the_picture_of_stats_is_drawn_whether_or_not_anyone_still_reads_the_tables() {
    let place = Place::with_digits(100, 20);
    let mut child = place.start("data stats --data data");
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(picture(&place, "stats.png").width() > 6 * 112);
}

#[test]
fn a_preview_goes_into_a_folder_that_is_made_for_it() {
    let place = Place::with_digits(20, 10);
    place.works("data preview --data data --device cpu --rows 1 --columns 1 --out new/below/preview.png");
    assert!(picture(&place, "new/below/preview.png").width() > 2 * 56);
}

#[test]
fn a_model_of_light_images_knows_what_moves_in_when_they_are_shifted() {
    let place = with_light_digits(1000, 200, 1000);
    place.works(&format!("{DENSE} --epochs 2"));
    let mut model = ModelFile::load(place.path("runs/0001-dense/best.safetensors")).unwrap();
    assert_eq!(model.metadata["background"], "255");
    assert!(
        place.works("data stats --data data").out.contains("the images are light: outside them there is paper of 255")
    );
    model.metadata.remove("background");
    model.save(place.path("black.safetensors")).unwrap();
    let [paper, black] = ["runs/0001-dense", "black.safetensors"].map(|model| {
        let said = place.works(&format!("evaluate {model} --data data --device cpu --shifts 2"));
        let mut lines = said.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = lines.find(|words| words.len() == 3 && words[..2] == ["2", "16"]);
        let accuracy = row.unwrap_or_else(|| panic!("{said:#?}"))[2].trim_end_matches('%').parse::<f64>();
        accuracy.unwrap()
    });
    assert!(paper > black, "{paper} % on paper, {black} % on black");
}

#[test]
fn accuracy_by_shift_is_the_plain_accuracy_where_nothing_moves() {
    let place = Place::with_digits(1000, 200);
    place.works(&format!("{DENSE} --epochs 3"));
    let said = place.works("evaluate runs/0001-dense --data data --device cpu --shifts 2");
    let plain = accuracy(&said.out).split(" %").next().unwrap().to_string();
    let row = said.out.lines().find(|line| line.starts_with("0  ") && line.matches('%').count() == 5);
    let cells: Vec<&str> = row.unwrap_or_else(|| panic!("{said:#?}")).split_whitespace().collect();
    assert_eq!(cells[3], format!("{plain}%"));
    let line = |start: [&str; 2]| {
        let lines = said.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.into_iter().find(|words| words.len() == 3 && words[..2] == start).unwrap_or_else(|| panic!("{said:#?}"))
    };
    assert_eq!(line(["0", "1"])[2], format!("{plain}%"));
    assert!(line(["2", "16"])[2].ends_with('%'));
    place.refused("evaluate runs/0001-dense --data data --device cpu --shifts 28", &["--shifts is 28", "0 to 27"]);
    place.refused("evaluate runs/0001-dense --data data --device cpu --shifts -1", &["--shifts"]);
}
