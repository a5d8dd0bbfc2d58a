//! A GAN from the command line: trained, measured, compared and inspected.

use std::sync::LazyLock;

use inkgrad::models::ModelFile;

use crate::common::{NAMES, Place, TINY_GAN, said};

/// [`TINY_GAN`] with a recipe that takes a second.
static TINY: LazyLock<String> =
    LazyLock::new(|| format!("{TINY_GAN}\n[recipe]\nepochs = 2\nbatch = 16\naverage = 0.9\n"));

fn place() -> Place {
    let place = Place::with_digits(400, 200);
    place.write("tiny.toml", TINY.as_str());
    place
}

#[test]
fn a_trained_gan_leaves_its_generator_its_losses_its_measures_and_its_pictures() {
    let place = place();
    let said = place.works("train tiny.toml --data data --device cpu");
    for word in ["Fréchet distance", "labels recovered", "precision", "recall", "diversity", "best.safetensors"] {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    let run = "runs/0001-tiny";
    let files = [
        ".lock",
        "architecture.toml",
        "best.safetensors",
        "config.toml",
        "curves.png",
        "last.safetensors",
        "losses.csv",
        "measures.csv",
        "result.toml",
        "snapshots",
        "snapshots.gif",
        "test.csv",
    ];
    assert_eq!(place.names(run), files);
    assert_eq!(place.names(&format!("{run}/snapshots")), ["0000.png", "0001.png", "0002.png"]);
    assert_eq!(place.text(&format!("{run}/measures.csv")).lines().count(), 3);
    let animation = std::fs::File::open(place.path(&format!("{run}/snapshots.gif"))).unwrap();
    let mut animation = gif::DecodeOptions::new().read_info(animation).unwrap();
    let frames = std::iter::from_fn(|| animation.read_next_frame().unwrap().map(|frame| frame.buffer.len()));
    assert_eq!(frames.count(), 3, "a frame for each snapshot");
    let snapshot = image::open(place.path(&format!("{run}/snapshots/0002.png"))).unwrap();
    assert_eq!((snapshot.width(), snapshot.height()), (10 * 56 + 9 * 2, 10 * 56 + 9 * 2));

    // `evaluate` finds the same measures with the seed that the run prints.
    let measures = |out: &str| -> Vec<String> {
        let of = ["Fréchet distance ", "labels recovered ", "precision ", "recall "];
        let lines = out.lines().filter(|line| of.iter().any(|of| line.starts_with(*of)) && !line.contains('/'));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let (_, seed) = said.out.split_once("`evaluate --seed ").unwrap();
    let seed = seed.split('`').next().unwrap();
    let again = place.works(&format!("evaluate runs/0001-tiny --data data --device cpu --seed {seed}"));
    assert_eq!((measures(&again.out), measures(&said.out).len()), (measures(&said.out), 4));

    // The run's folder stands for its generator wherever one is asked for.
    let said = place.works("evaluate runs/0001-tiny --data data --device cpu --teach");
    let ratio = "Fréchet distance / that of real pictures: ";
    for word in ["200 generated pictures", "  of real pictures", ratio, "of the real test images"] {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    let number = |name: &str| -> f64 {
        let text = said.out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        text.trim().parse().unwrap()
    };
    let (of_drawn, of_real) = (number("Fréchet distance "), number("  of real pictures "));
    assert!((number(ratio) * of_real / of_drawn - 1.0).abs() < 0.02, "{said:#?}");
    let alike = place.works("evaluate runs/0001-tiny --data data --device cpu --truncation 0");
    assert!(alike.out.contains("hardly varied, below 0.3 of real: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"), "{alike:#?}");
    assert_ne!(measures(&alike.out), measures(&said.out));
    place.works("generate --model runs/0001-tiny --device cpu --grid 2x3 --out six.png");
    assert_eq!(image::image_dimensions(place.path("six.png")).unwrap(), (84, 56));
    let said = place.works("inspect runs/0001-tiny");
    assert!(said.out.contains("generator:") && said.out.contains("dense 8 relu"), "{said:#?}");
}

#[test]
fn a_gan_that_is_finished_is_said_to_be_and_one_that_was_killed_in_its_last_measurement_is_not() {
    let place = place();
    place.works("train tiny.toml --data data --device cpu --quiet");
    let (run, resume) = ("runs/0001-tiny", "train --resume runs/0001-tiny");
    let is_complete = || place.works(resume).out.contains("2 epochs, complete already");
    assert!(is_complete());
    let measures = format!("{run}/measures.csv");
    let rows = place.text(&measures);
    std::fs::remove_file(place.path(&measures)).unwrap();
    place
        .refused(resume, &["measures.csv: cannot be resumed: it has no best epoch, but best.safetensors is of epoch "]);
    place.write(&measures, rows);
    std::fs::remove_file(place.path(&format!("{run}/snapshots.gif"))).unwrap();
    // The file that a classifier's run writes last says nothing of it.
    place.write(&format!("{run}/result.toml"), "");
    assert!(!is_complete());

    // Without its checkpoint it is measured again, and an unfinished one is not started over.
    let kept = || ["best.safetensors", "losses.csv", "measures.csv"].map(|name| place.read(&format!("{run}/{name}")));
    let before = kept();
    std::fs::remove_file(place.path(&format!("{run}/last.safetensors"))).unwrap();
    assert!(is_complete() && kept() == before);
    std::fs::remove_file(place.path(&format!("{run}/snapshots.gif"))).unwrap();
    place.refused(resume, &["has results of 2 epochs, but no checkpoint", "starts over"]);
}

#[test]
fn a_gan_goes_on_with_its_own_losses_and_settings_wherever_its_data_are() {
    let place = place();
    place.works("train tiny.toml --data data --device cpu --epochs 1 --measure 0 --quiet");
    let (run, resume) = ("runs/0001-tiny", "train --resume runs/0001-tiny");
    let [losses, config] = ["losses.csv", "config.toml"].map(|name| format!("{run}/{name}"));
    let (rows, settings) = (place.text(&losses), place.text(&config));
    std::fs::remove_file(place.path(&losses)).unwrap();
    place.refused(resume, &["losses.csv: cannot be resumed: it is missing, but the checkpoint is at round "]);
    place.write(&losses, rows);
    place.write(&config, settings.replace("batch = 16", "batch = 8"));
    place.refused(resume, &["config.toml: cannot be resumed: the run was begun with batch = 16, not with batch = 8"]);
    place.write(&config, settings);
    std::fs::rename(place.path("data"), place.path("moved")).unwrap();
    place.refused(resume, &["if they are elsewhere now, say where with --data"]);
    place.works(&format!("{resume} --data moved"));
    place.works(resume);
}

#[test]
fn a_gan_that_is_measured_again_by_other_test_images_says_so() {
    let place = place();
    place.works("train tiny.toml --data data --device cpu --epochs 1 --quiet");
    let (resume, result) = ("train --resume runs/0001-tiny --quiet", "runs/0001-tiny/result.toml");
    assert!(place.text(result).starts_with("best_epoch = 1\ntest_images = 200\ntest_digest = "));
    place.digits("data", 400, 150);
    let told = || place.works(resume).err.matches("runs/0001-tiny was tested on before: 150 images, 200 then").count();
    assert_eq!([told(), told()], [1, 0]);
    for name in &NAMES[2..] {
        std::fs::remove_file(place.path(&format!("data/{name}"))).unwrap();
    }
    place.refused(resume, &["not those it began with", "it began with test images of their own"]);
}

#[test]
fn a_sweep_whose_disk_is_full_says_how_to_go_on() {
    let place = place();
    for file in ["config.toml", "losses.csv", "sweep.md", "sweep.png"] {
        let mut sweep = place.command("sweep tiny.toml --ratios 1:3 --epochs 1 --data data --device cpu");
        let full = said(sweep.env("INKGRAD_FAULT", format!("full-disk@{file}")).output().unwrap());
        let words = "run the same command again to continue from what is in sweep";
        assert!(full.code == Some(1) && full.err.contains(words), "{file}: {full:#?}");
    }
}

#[test]
fn a_round_of_more_pictures_than_an_epoch_has_ends_several_and_the_last_one_is_kept() {
    let place = Place::with_digits(90, 40);
    place.write("tiny.toml", TINY.as_str());
    // Rounds of 128 and of 192 pictures.
    for (steps, epochs, measure, ends, measured) in [
        (2, 4, 0, "0000.png 0001.png 0002.png 0004.png", ""),
        (2, 4, 1, "0000.png 0001.png 0002.png 0004.png", "1 2 4"),
        (2, 4, 2, "0000.png 0001.png 0002.png 0004.png", "2 4"),
        (2, 4, 3, "0000.png 0001.png 0002.png 0004.png", "4"),
        (3, 6, 3, "0000.png 0002.png 0004.png 0006.png", "4 6"),
    ] {
        let flags = format!("--batch 64 --discriminator-steps {steps} --epochs {epochs} --measure {measure}");
        let out = format!("{steps}-{measure}");
        place.works(&format!("train tiny.toml --data data --device cpu --quiet {flags} --out {out}"));
        let run = format!("{out}/0001-tiny");
        assert!(place.path(&format!("{run}/best.safetensors")).exists(), "{flags}");
        assert_eq!(place.names(&format!("{run}/snapshots")).join(" "), ends, "{flags}");
        let text = place.text(&format!("{run}/measures.csv"));
        let found: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
        assert_eq!(found.join(" "), measured, "{flags}");
        let losses = place.text(&format!("{run}/losses.csv"));
        let end = losses.lines().last().and_then(|line| line.split(',').nth(1));
        assert_eq!(end, Some(format!("{epochs}.0000").as_str()), "{flags}");
    }
}

#[test]
fn a_judge_that_does_not_know_the_real_pictures_is_doubted_once_with_a_remedy() {
    let place = place();
    place.bars("bars", [28, 28], 10, [400, 200]);
    let doubts = |line: &str| place.works(line).err.matches("warning: the built-in judge knows only").count();
    assert_eq!(doubts("train tiny.toml --data bars --device cpu --quiet"), 1);
    assert_eq!(doubts("train tiny.toml --data data --device cpu --quiet"), 0);
    assert_eq!(doubts("sweep tiny.toml --ratios 1:3,3:1 --epochs 1 --data bars --device cpu"), 1, "of both runs");
    let evaluate = "evaluate runs/0001-tiny --data bars --device cpu";
    assert_eq!(doubts(evaluate), 1);
    assert!(place.works(evaluate).err.contains("--judge FILE"));
    place.works("train dense --data bars --device cpu --epochs 3 --quiet");
    let said = place.works(&format!("{evaluate} --judge runs/0003-dense"));
    assert!(!said.err.contains("knows only"), "{said:#?}");
    let sweep = "sweep tiny.toml --ratios 1:3 --epochs 1 --data bars --device cpu --out judged";
    assert_eq!(doubts(&format!("{sweep} --judge runs/0003-dense")), 0);
    let other = "its judge, the built-in judge, is not the one it began with";
    place.refused(sweep, &["judged/tiny-1-3/last.safetensors: ", other]);
    std::fs::remove_file(place.path("judged/tiny-1-3/last.safetensors")).unwrap();
    place.refused(sweep, &["judged/tiny-1-3/best.safetensors: ", other]);
}

#[test]
fn classes_of_a_judge_and_of_the_data_are_found_by_their_names_in_whatever_order_they_are() {
    let place = place();
    // A zero is a 9 now, a one an 8, and so on.
    for name in [NAMES[1], NAMES[3]] {
        let path = format!("data/{name}");
        let mut bytes = place.read(&path);
        bytes[8..].iter_mut().for_each(|label| *label = 9 - *label);
        place.write(&path, bytes);
    }
    for name in ["gan", "judge"] {
        let shipped = format!("{}/models/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let mut model = ModelFile::load(shipped).unwrap();
        model.set_class_names(&["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"].map(String::from));
        model.save(place.path(&format!("{name}.safetensors"))).unwrap();
    }
    let evaluated = place.works("evaluate gan.safetensors --judge judge.safetensors --data data --device cpu");
    let recovered = evaluated.out.lines().find_map(|line| line.strip_prefix("labels recovered")).unwrap();
    let recovered: f64 = recovered.trim().trim_end_matches('%').parse().unwrap();
    assert!(recovered > 80.0, "{evaluated:#?}");
    let trained = place.works("train tiny.toml --judge judge.safetensors --data data --device cpu --epochs 1 --quiet");
    for said in [evaluated, trained] {
        assert!(!said.err.contains("matched in order") && !said.err.contains("knows only"), "{said:#?}");
    }
}

#[test]
fn a_generator_of_other_data_than_the_built_in_is_answered_with_how_to_name_them() {
    let place = place();
    place.bars("bars", [28, 28], 3, [60, 30]);
    let train = |data: &str| format!("train tiny.toml --data {data} --device cpu --epochs 1 --measure 0 --quiet");
    place.works(&train("bars"));
    let words = ["draws 3 classes, MNIST has 10", "it was trained on bars", "--data PATH"];
    place.refused("evaluate runs/0001-tiny --device cpu", &words);
    place.works(&train("data"));
    // It ends with what is noticed after the note.
    let said = place.run("evaluate runs/0002-tiny --device cpu --judge nowhere.safetensors");
    assert!(said.err.contains("note: it was trained on data"), "{said:#?}");
}

#[test]
fn a_gan_of_images_of_any_size_is_inspected_and_measured_without_images() {
    let place = Place::new();
    let small = TINY_GAN.replace("dense = 784", "dense = 144").replace("[28, 28, 1]", "[12, 12, 1]");
    place.write("small.toml", format!("{small}\n[recipe]\npack = 2\n"));
    let said = place.works("inspect small.toml --plan");
    assert!(said.out.contains("12x12x1") && said.out.contains("12x12x2"), "{said:#?}");
    for flags in ["", "--infer"] {
        place.works(&format!("bench small.toml --device cpu --seconds 0 {flags}"));
    }
    place.refused("inspect small.toml --input 28x28", &["gives 12x12x1 but the images are 28x28x1"]);
    let odd = place.run("inspect small.toml --plan -b 63");
    assert!(odd.err.contains("--batch is 63; it must be a multiple of --pack 2"), "{odd:#?}");
    assert!(!odd.err.contains("images to train on"), "{odd:#?}");
}

#[test]
fn a_gans_run_or_generator_is_not_said_to_be_trained_further() {
    let place = Place::new();
    place.write("runs/0001-tiny/config.toml", "");
    place.write("runs/0001-tiny/architecture.toml", TINY_GAN);
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/gan.safetensors"), place.path("g.safetensors")).unwrap();
    for command in ["train", "sweep", "bench --device cpu"] {
        for (model, words) in [
            ("runs/0001-tiny", ["is a run's folder", "architecture.toml", "--resume runs/0001-tiny"]),
            ("g.safetensors", ["is a trained model", "no architecture", "generate --model g.safetensors"]),
        ] {
            let line = format!("{command} {model}");
            place.refused(&line, &words);
            assert!(!place.run(&line).err.contains("--from"), "{line}");
        }
    }
}

#[test]
fn what_is_a_gan_and_what_a_classifier_is_not_taken_for_the_other() {
    let place = place();
    place.works("train tiny.toml --data data --device cpu --epochs 1 --measure 0 --quiet");
    place.works("train dense --data data --device cpu --epochs 1 --quiet");
    let (gan, classifier) = ("runs/0001-tiny/best.safetensors", "runs/0002-dense/best.safetensors");
    place.refused(&format!("generate --device cpu --model {classifier}"), &["holds a classifier", "train gan"]);
    place.refused(&format!("evaluate --device cpu {classifier} --teach --data data"), &["--teach is for generators"]);
    place.refused(&format!("evaluate --device cpu {gan} --judge {gan} --data data"), &["holds a generator"]);
    for (flag, value) in [("--shifts", "1"), ("--views", "1"), ("--out", "here"), ("--mistakes", "3")] {
        let words = format!("{flag} is for classifiers");
        let line = format!("evaluate --device cpu {gan} --data data {flag} {value}");
        place.refused(&line, &[words.as_str(), "is a generator"]);
    }
    place.refused("train dense --front tiny.toml --device cpu", &["is a GAN"]);
    place.refused("sweep dense", &["is a classifier"]);
}

#[test]
fn a_sweep_answers_with_a_table_and_a_picture_and_goes_on_where_it_was() {
    let place = place();
    let line = "sweep tiny.toml --ratios 1:3,3:1 --epochs 1 --data data --device cpu";
    let said = place.works(line);
    assert!(said.out.contains("| 1:3 | 4 + 12 |") && said.out.contains("| 3:1 | 12 + 4 |"), "{said:#?}");
    assert_eq!(place.names("sweep"), ["sweep.csv", "sweep.md", "sweep.png", "tiny-1-3", "tiny-3-1"]);
    let csv = place.text("sweep/sweep.csv");
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows.len() == 3 && rows[1].starts_with("1,3,4,12,") && rows[2].starts_with("3,1,12,4,"), "{rows:?}");
    for row in said.out.lines().skip(2).take(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [mean, least] = [cells[4], cells[5]].map(|diversity| diversity.parse::<f64>().unwrap());
        assert!(mean > least, "{row}");
    }
    let (table, weights) = (place.text("sweep/sweep.md"), place.read("sweep/tiny-1-3/last.safetensors"));
    place.works(line);
    assert_eq!(place.text("sweep/sweep.md"), table, "a sweep that is done gives the same answer again");
    assert_eq!(place.read("sweep/tiny-1-3/last.safetensors"), weights);
    place.refused(&format!("{line} --seed 1"), &["was begun with seed = 0, not with seed = 1; give the same, or"]);
    let wider = place.run(&line.replace("1:3,3:1", "1:1 --width 20"));
    assert!(wider.err.contains("was begun with --width 16, not with --width 20"), "{wider:#?}");
    assert!(wider.code == Some(1) && !wider.err.contains("which is there already"), "{wider:#?}");
    place.refused("sweep tiny.toml --ratios 1:0 --data data --device cpu", &["1:3"]);
    place.refused("sweep tiny.toml --width 1 --data data --device cpu", &["2 or more"]);
    for (ratios, words) in [
        ("1:1,3:1,2:2", "1:1 and 2:2 come to the same widths, 8 + 8"),
        ("1:127,1:15 --width 3", "1:127 and 1:15 come to the same widths, 1 + 2"),
    ] {
        place.refused(&format!("sweep tiny.toml --ratios {ratios} --data data --device cpu"), &[words]);
    }
    let fixed = TINY.replace("\"noise_width\"", "8").replace("noise_width = 8\n", "");
    place.write("fixed.toml", fixed);
    for flags in ["", "--width 16"] {
        let words = ["[generator]", "no layer has `dense = \"noise_width\"`"];
        place.refused(&format!("sweep fixed.toml {flags} --data data --device cpu"), &words);
    }
}

#[test]
fn a_sweep_of_other_ratios_keeps_the_rows_of_the_runs_that_are_there() {
    let place = place();
    let sweep = |flags: &str| format!("sweep tiny.toml --epochs 1 --data data --device cpu {flags}");
    place.works(&sweep("--ratios 3:1"));
    let kept = place.text("sweep/sweep.md").lines().last().unwrap().to_string();
    let said = place.works(&sweep("--ratios 1:3"));
    assert!(said.err.contains("1 of 2: noise 12 : label 4 (ratio 3:1), which is there already"), "{said:#?}");
    let rows: Vec<String> = place.text("sweep/sweep.md").lines().skip(2).map(String::from).collect();
    assert!(rows.len() == 2 && rows[0].starts_with("| 1:3 |") && rows[1] == kept, "{rows:#?}");
    assert_eq!(place.text("sweep/sweep.csv").lines().count(), 3);

    place.refused(&sweep("--ratios 6:2"), &["6:2 comes to the widths 12 + 4", "sweep/tiny-3-1", "--out"]);
    place.refused(&sweep("--ratios 1:1 --seed 1"), &["was begun with seed = 0, not with seed = 1", "--out"]);
    place.write("other.toml", TINY.replace("\"tiny\"", "\"other\""));
    let words = ["is a run of tiny, but a table holds one GAN only", "--out"];
    place.refused(&sweep("--ratios 1:3").replace("tiny.toml", "other.toml"), &words);
}

#[test]
fn a_sweep_goes_on_wherever_its_data_and_its_judge_are_but_with_no_others() {
    let place = place();
    let judge = format!("{}/models/judge.safetensors", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(judge, place.path("judge.safetensors")).unwrap();
    let sweep = |flags: &str| format!("sweep tiny.toml --epochs 1 --device cpu {flags}");
    place.works(&sweep("--ratios 3:1 --data data --judge judge.safetensors"));
    for (from, to) in [("data", "moved"), ("judge.safetensors", "other.safetensors")] {
        std::fs::rename(place.path(from), place.path(to)).unwrap();
    }
    let moved = sweep("--ratios 3:1,1:3 --data moved/ --judge other.safetensors");
    place.works(&moved);
    assert_eq!(place.text("sweep/sweep.md").lines().count(), 4);
    let config = place.text("sweep/tiny-3-1/config.toml");
    assert!(config.contains("moved") && config.contains("other.safetensors"), "{config}");

    // They are compared even where a finished run has lost its checkpoint, before a new run is begun.
    std::fs::remove_file(place.path("sweep/tiny-3-1/last.safetensors")).unwrap();
    place.works(&moved);
    place.digits("less", 300, 200);
    let words = ["sweep/tiny-3-1/best.safetensors: ", "the training images or labels are not those it began with"];
    place.refused(&sweep("--ratios 1:1,3:1,1:3 --data less"), &words);
    place.refused(&sweep("--ratios 1:1 --data less"), &["the training images or labels are not those it began with"]);
    for name in &NAMES[2..] {
        std::fs::remove_file(place.path(&format!("moved/{name}"))).unwrap();
    }
    place.refused(&moved, &["not those it began with", "it began with test images of their own", "has none now"]);
}

#[test]
fn a_sweep_does_not_go_on_with_a_run_whose_settings_were_edited_since() {
    let place = place();
    let sweep = "sweep tiny.toml --ratios 1:3 --epochs 1 --data data --device cpu";
    place.works(sweep);
    let config = place.text("sweep/tiny-1-3/config.toml");
    place.write("sweep/tiny-1-3/config.toml", config.replace("seed = 0", "seed = 1"));
    let words = ["sweep/tiny-1-3/config.toml: ", "the run was begun with seed = 0, not with seed = 1"];
    place.refused(&format!("{sweep} --seed 1"), &words);
}

#[test]
fn pictures_of_many_classes_show_as_many_as_there_is_room_for_and_say_so() {
    let place = Place::new();
    place.write("tiny.toml", TINY.as_str());
    place.bars("bars", [28, 28], 30, [120, 60]);
    let said = place.works("train tiny.toml --data bars --device cpu --epochs 1 --measure 0");
    assert!(said.err.contains("\nsnapshots show the first 26 of 30 classes\n"), "{said:#?}");
    let [snapshots, animation] = ["snapshots", "snapshots.gif"].map(|name| place.path("runs/0001-tiny").join(name));
    let frames = || {
        let file = std::fs::File::open(&animation).unwrap();
        let mut animation = gif::DecodeOptions::new().read_info(file).unwrap();
        let frames = std::iter::from_fn(|| animation.read_next_frame().unwrap().map(|frame| frame.width));
        frames.collect::<Vec<_>>()
    };
    let width = |columns: u16| columns * 58 - 2;
    assert_eq!(frames(), [width(26); 2]);

    // A run of a version that showed ten goes on with ten: an animation has frames of one size.
    for name in ["0000.png", "0001.png"].map(|name| snapshots.join(name)) {
        let height = u32::from(width(10));
        image::open(&name).unwrap().crop_imm(0, 0, height, height).save(&name).unwrap();
    }
    std::fs::remove_file(&animation).unwrap();
    place.works("train --resume runs/0001-tiny");
    assert_eq!(frames(), [width(10); 2]);

    place.works("train dense --data bars --device cpu --epochs 1 --quiet");
    place.works("sweep tiny.toml --ratios 1:3 --epochs 1 --data bars --judge runs/0002-dense --device cpu");
    assert_eq!(image::image_dimensions(place.path("sweep/sweep.png")).unwrap().0, 26 * 56 + 2 * 24);
}

#[test]
fn a_gan_of_which_a_network_takes_no_label_is_refused_with_what_to_write() {
    let place = place();
    let unasked = TINY.replace("from = \"label\", ", "");
    place.write("unasked.toml", &unasked);
    let unheeded = TINY.replace("  { concat = [\"pixels\", \"label\"] },\n", "");
    place.write("unheeded.toml", &unheeded);
    place.write("half.toml", &TINY[TINY.find("[discriminator]").unwrap()..]);
    assert!(unasked != *TINY && unheeded != *TINY);
    for command in ["train", "sweep --ratios 1:1"] {
        let line = |file: &str| format!("{command} {file} --data data --device cpu");
        for (file, part) in [("unasked.toml", "[generator]"), ("unheeded.toml", "[discriminator]")] {
            place.refused(&line(file), &[file, part, "no layer takes the label", "from = \"label\""]);
        }
        place.refused(&line("half.toml"), &["half.toml", "there is no [generator]"]);
    }
}

#[test]
fn a_sweep_whose_gpu_is_lost_goes_on_with_the_cpu_at_once_or_in_the_next() {
    let place = place();
    if !place.has_software_gpu() {
        return;
    }
    let line = "sweep tiny.toml --ratios 1:3,3:1 --epochs 1 --data data";
    let lost = |flags: &str| {
        let mut sweep = place.command(&format!("{line} --device llvmpipe {flags}"));
        said(sweep.env("INKGRAD_FAULT", "lose-device@3").output().unwrap())
    };
    let gone_on = lost("--fallback");
    assert_eq!(gone_on.code, Some(0), "{gone_on:#?}");
    assert!(gone_on.err.contains("Continuing on the CPU, from ") && gone_on.out.contains("| 3:1 |"), "{gone_on:#?}");
    let ended = lost("--out other");
    assert!(ended.code == Some(1) && ended.err.contains("lost"), "{ended:#?}");
    place.works(&format!("{line} --device cpu --out other"));
}
