//! The program as its users meet it: every command run as a process of its own, on small data sets.

use std::process::Stdio;
#[cfg(unix)]
use std::time::Duration;

use inkgrad::models::{ModelFile, Words};

use crate::common::{NAMES, Place, accuracy, idx, said};

/// The CPU device needs no driver, so only the program writes to standard error.
const DENSE: &str = "train dense --data data --device cpu --validation 100";

const FILES: [&str; 8] = [
    ".lock",
    "architecture.toml",
    "best.safetensors",
    "config.toml",
    "curves.png",
    "last.safetensors",
    "metrics.csv",
    "result.toml",
];

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82")
}

#[cfg(target_os = "linux")]
#[test]
fn answers_that_cannot_be_written_are_an_error_and_a_reader_that_has_left_is_none() {
    let place = Place::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let said = said(place.command("models").stdout(full).output().unwrap());
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("error: cannot write to standard output: "), "{said:#?}");
    let mut left = place.start("models");
    drop(left.stdout.take());
    assert!(left.wait().unwrap().success());
}

// A run and what comes of it.

#[test]
fn batches_of_one_image_train() {
    let place = Place::with_digits(60, 20);
    for (network, device) in
        [("dense", "cpu"), ("cnn", "cpu"), ("fast", "cpu"), ("dense", "llvmpipe"), ("fast", "llvmpipe")]
    {
        if device == "cpu" || place.has_software_gpu() {
            place.works(&format!("train {network} --batch 1 --epochs 1 --data data --device {device}"));
        }
    }
}

#[test]
fn the_batch_of_a_recipe_gives_way_where_validation_leaves_fewer_images() {
    let place = Place::with_digits(130, 20);
    let line = "train dense --data data --device cpu --dry-run";
    let said = place.works(line);
    assert!(said.out.contains("\nbatch = 117\n") && said.out.contains("\nvalidation = 13\n"), "{said:#?}");
    place.refused(&format!("{line} --batch 128"), &["--batch is 128", "from 1 to 117"]);
}

#[test]
fn a_run_leaves_its_folder_and_evaluate_finds_the_accuracy_that_train_found() {
    let place = Place::with_digits(1000, 200);
    let train = place.works(&format!("{DENSE} --epochs 3"));
    assert!(train.out.starts_with("test accuracy "), "{train:#?}");
    assert_eq!(place.names("runs"), ["0001-dense"]);
    assert_eq!(place.names("runs/0001-dense"), FILES);
    let result = place.text("runs/0001-dense/result.toml");
    assert!(result.contains("best_epoch = ") && result.contains("test_images = 200\n"), "{result}");
    let correct = result.lines().find_map(|line| line.strip_prefix("test_correct = ")).unwrap();
    assert!(train.out.contains(&format!(" {correct} of 200 right")), "{} / {result}", train.out);
    let share = correct.parse::<f64>().unwrap() / 200.0;
    assert!(result.contains(&format!("test_accuracy = {share:.5}\n")), "{result}");
    assert!(is_png(&place.read("runs/0001-dense/curves.png")));
    assert!(place.text("runs/0001-dense/config.toml").contains("epochs = 3\n"));

    let evaluate = place.works("evaluate runs/0001-dense --data data --device cpu");
    assert_eq!(accuracy(&evaluate.out), accuracy(&train.out));
    assert_eq!(evaluate.out.matches("accuracy").count(), 1, "{}", evaluate.out);
    for picture in ["confusion.png", "mistakes.png"] {
        assert!(is_png(&place.read(&format!("runs/0001-dense/{picture}"))), "{picture}");
        assert!(evaluate.out.contains(picture));
    }
    assert_eq!(place.names("runs/0001-dense").len(), FILES.len() + 2);
    let elsewhere =
        place.works("evaluate runs/0001-dense/best.safetensors --data data --device cpu --out new/pictures");
    assert_eq!(accuracy(&elsewhere.out), accuracy(&train.out));
    assert_eq!(place.names("new/pictures"), ["confusion.png", "mistakes.png"]);
}

#[test]
fn of_a_model_in_no_run_folder_evaluate_leaves_pictures_only_where_it_is_told() {
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1"));
    place.write("mine.safetensors", place.read("runs/0001-dense/best.safetensors"));
    for model in ["mine.safetensors", "judge"] {
        let (line, before) = (format!("evaluate {model} --data data --device cpu"), place.contents());
        let said = place.works(&line);
        let words = "note: confusion.png and mistakes.png are not drawn: they go into a run's folder";
        assert!(said.err.contains(words) && said.err.contains("name a place with --out DIR"), "{said:#?}");
        assert_eq!(place.contents(), before);
        place.refused(&format!("{line} --mistakes 3"), &["--mistakes", "not a run's best model", "--out DIR"]);
    }
    place.works("evaluate mine.safetensors --data data --device cpu --mistakes 3 --out here");
    assert_eq!(place.names("here"), ["confusion.png", "mistakes.png"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_in_other_scripts_are_boxes_where_the_system_has_no_fonts() {
    let place = Place::with_digits(10, 50);
    let mut model = ModelFile::shipped("dense").unwrap();
    model.set_class_names(&["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"].map(String::from));
    model.save(place.path("named.safetensors")).unwrap();
    place.write("fonts.conf", "<fontconfig/>");
    let mut command = place.command("evaluate named.safetensors --data data --device cpu --out here");
    let said = said(command.env("FONTCONFIG_FILE", place.path("fonts.conf")).output().unwrap());
    assert!(said.code == Some(0) && !said.err.contains("panicked"), "{said:#?}");
    assert_eq!(place.names("here"), ["confusion.png", "mistakes.png"]);
}

#[test]
fn more_mistakes_than_a_picture_has_room_for_are_cut_to_those_that_fit_and_it_is_said() {
    let place = Place::with_digits(60, 1300);
    // At a learning rate of almost zero it learns nothing.
    let rate = "--optimizer sgd --learning-rate 1e-30";
    place.works(&format!("train dense --data data --device cpu --epochs 1 --validation 0 --batch 60 {rate}"));
    let said = place.works("evaluate runs/0001-dense --data data --device cpu --mistakes 9000");
    assert!(said.err.contains("note: 888 of ") && said.err.contains(" mistakes fit"), "{said:#?}");
    let sheet = image::load_from_memory(&place.read("runs/0001-dense/mistakes.png")).unwrap();
    assert!((16_000..=16_384).contains(&sheet.height()), "{}", sheet.height());
}

#[test]
fn answers_that_are_not_numbers_are_wrong_for_every_class_and_it_is_said() {
    let place = Place::with_digits(300, 50);
    let mut file = ModelFile::shipped("dense").unwrap();
    let last = file.tensors.iter_mut().find(|tensor| tensor.name == "dense2.weight").unwrap();
    let Words::F32(weights) = &mut last.words else { panic!("whole numbers") };
    // They are finite, but what they sum is not.
    weights.fill(3e38);
    file.save(place.path("large.safetensors")).unwrap();
    let said = place.works("evaluate large.safetensors --data data --device cpu --out here --shifts 0");
    assert!(said.out.contains("accuracy 0.00 %") && said.out.contains(", 0 of 50 right"), "{said:#?}");
    let shifted = said.out.lines().any(|line| line.split_whitespace().eq(["0", "0.00%"]));
    assert!(said.out.contains("loss NaN") && shifted, "{said:#?}");
    assert!(said.err.contains("warning: 50 of 50 answers of large.safetensors are not numbers"), "{said:#?}");
    assert_eq!(place.names("here"), ["confusion.png", "mistakes.png"]);
}

#[cfg(unix)]
#[test]
fn everything_in_a_run_folder_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with_digits(200, 50);
    place.works("train dense --data data --device cpu --epochs 1");
    place.write("plain", "");
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode();
    for name in FILES {
        assert_eq!(mode(&format!("runs/0001-dense/{name}")), mode("plain"), "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let place = Place::with_digits(1000, 200);
    for seed in [7, 7, 8] {
        place.works(&format!("{DENSE} --epochs 2 --seed {seed}"));
    }
    for name in ["best.safetensors", "last.safetensors", "metrics.csv"] {
        let read = |run: usize| place.read(&format!("runs/{run:04}-dense/{name}"));
        assert!(read(1) == read(2), "{name} differs between two runs with one seed");
        assert!(read(1) != read(3), "{name} is the same for two seeds");
    }
}

#[test]
fn on_a_software_gpu_a_run_is_repeated_to_the_byte_and_evaluated_alike() {
    let place = Place::with_digits(1000, 200);
    if !place.has_software_gpu() {
        return;
    }
    let line = "train dense --data data --validation 100 --epochs 2 --device llvmpipe";
    let said = place.works(line);
    assert!(said.err.contains("with llvmpipe"), "{said:#?}");
    place.works(line);
    for name in ["best.safetensors", "last.safetensors"] {
        let read = |run: usize| place.read(&format!("runs/{run:04}-dense/{name}"));
        assert!(read(1) == read(2), "{name} differs between two runs with one seed");
    }
    let evaluate = place.works("evaluate runs/0001-dense --data data --device llvmpipe");
    assert_eq!(accuracy(&evaluate.out), accuracy(&said.out));
}

// Stopping and going on.

fn assert_same_run(place: &Place, run: &str, reference: &str) {
    for name in ["best.safetensors", "last.safetensors", "metrics.csv", "curves.png", "result.toml"] {
        let same = place.read(&format!("{run}/{name}")) == place.read(&format!("{reference}/{name}"));
        assert!(same, "{name} differs from that of a run never stopped");
    }
    assert_eq!(place.names(run), FILES, "something is missing or was left behind");
}

#[cfg(unix)]
fn step(place: &Place, run: &str) -> u32 {
    let path = place.path(&format!("{run}/last.safetensors"));
    ModelFile::load(&path).unwrap().u32s("clock").unwrap()[0]
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_ends_with_the_bytes_of_one_never_stopped() {
    let place = Place::with_digits(20_000, 200);
    // Longer than the longest wait. Where a run stops depends on the machine: a fast one looks up only after each epoch if
    // epochs are short. One has 620 steps.
    let line = "train cnn --data data --device cpu --threads 1 --validation 160 --epochs 2 --batch 32";
    place.works(&format!("{line} --out whole"));
    for attempt in 1.. {
        let run = format!("runs/{attempt:04}-cnn");
        let child = place.start(line);
        let began = std::time::Instant::now();
        while !place.path(&run).join("config.toml").exists() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100 + 50 * attempt));
        crate::common::interrupt(&child);
        let stopped = said(child.wait_with_output().unwrap());
        assert_eq!(stopped.code, Some(130), "{stopped:#?}");
        assert!(stopped.err.contains(&format!("inkgrad train --resume {run}")), "{stopped:#?}");
        assert!(!place.names(&run).contains(&"result.toml".to_string()));
        let at = step(&place, &run);
        assert!(stopped.err.contains(&format!("stopped at step {at};")), "{stopped:#?}");
        if at.is_multiple_of(620) && attempt < 8 {
            continue;
        }
        assert_ne!(at % 620, 0, "never stopped in the middle of an epoch");
        let resumed = place.works(&format!("train --resume {run}"));
        assert!(resumed.err.contains(&format!("from step {at} on")), "{resumed:#?}");
        assert!(resumed.out.contains(&format!(" s since step {at}")), "{resumed:#?}");
        assert_same_run(&place, &run, "whole/0001-cnn");
        return;
    }
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_bytes_of_one_never_stopped() {
    let place = Place::with_digits(1000, 200);
    let line = format!("{DENSE} --epochs 60 --average 0.9");
    place.works(&format!("{line} --out whole"));
    let run = "runs/0001-dense";
    place.ends_after_kills(&line, run, 40..200);
    assert_same_run(&place, run, "whole/0001-dense");
}

#[test]
fn a_run_whose_best_model_could_not_be_written_goes_on_from_before_it() {
    let place = Place::with_digits(300, 50);
    let line = format!("{DENSE} --epochs 3");
    place.works(&format!("{line} --out whole"));
    let full = said(place.command(&line).env("INKGRAD_FAULT", "full-disk@best.safetensors").output().unwrap());
    assert!(full.code == Some(1) && full.err.contains("best.safetensors"), "{full:#?}");
    place.works("train --resume runs/0001-dense");
    assert_same_run(&place, "runs/0001-dense", "whole/0001-dense");
}

#[test]
fn a_finished_run_without_validation_can_be_resumed_and_changes_nothing() {
    let place = Place::with_digits(300, 50);
    place.works("train dense --data data --device cpu --validation 0 --epochs 2 --out whole");
    place.works("train dense --data data --device cpu --validation 0 --epochs 2");
    place.write("runs/0001-dense/.inkgrad-left-over.tmp", "half");
    let said = place.works("train --resume runs/0001-dense");
    assert!(said.out.contains("2 epochs, complete already; model: "), "{said:#?}");
    assert!(said.err.contains("all of them already done"), "{said:#?}");
    assert_same_run(&place, "runs/0001-dense", "whole/0001-dense");
    assert!(place.text("runs/0001-dense/result.toml").contains("best_epoch = 2\n"));
}

/// A process that does not outlive its test, however that ends.
#[cfg(unix)]
struct Killed(Option<std::process::Child>);

#[cfg(unix)]
impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(unix)]
#[test]
fn a_run_goes_on_through_the_signals_that_it_was_started_to_ignore() {
    // Whoever runs the tests may have had the first two ignored already, so only the third is sure to end a run.
    for ignored in [["HUP", "INT"], ["HUP", "TERM"]] {
        let place = Place::with_digits(400, 50);
        let first = format!("trap '' {}", ignored.join(" "));
        let mut command = after(&place, &first, &format!("{DENSE} --epochs 100000 --quiet"));
        let mut child = Killed(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()));
        let id = child.0.as_ref().unwrap().id().to_string();
        let signal = |name: &str| {
            let sent = std::process::Command::new("kill").args(["-s", name, id.as_str()]).status();
            assert!(sent.unwrap().success());
        };
        let reaches = |wanted: u32| {
            let began = std::time::Instant::now();
            let there = place.path("runs/0001-dense/last.safetensors");
            while !there.exists() || step(&place, "runs/0001-dense") < wanted {
                assert!(began.elapsed() < Duration::from_secs(60), "it does not reach step {wanted}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        reaches(1);
        ignored.into_iter().for_each(signal);
        // Either would stop it at the next of its epochs, which have three steps.
        reaches(step(&place, "runs/0001-dense") + 30);
        if ignored.contains(&"TERM") {
            continue;
        }
        signal("TERM");
        let stopped = said(child.0.take().unwrap().wait_with_output().unwrap());
        assert!(stopped.code == Some(130) && stopped.err.contains("; saved. Continue with: "), "{stopped:#?}");
    }
}

#[test]
fn a_finished_run_without_its_checkpoint_is_tested_again_and_an_unfinished_one_is_not_started_over() {
    let place = Place::with_digits(300, 50);
    let trained = place.works(&format!("{DENSE} --epochs 2"));
    let (run, resume) = ("runs/0001-dense", "train --resume runs/0001-dense");
    let remove = |names: &[&str]| {
        names.iter().for_each(|name| std::fs::remove_file(place.path(&format!("{run}/{name}"))).unwrap())
    };
    let kept = || ["best.safetensors", "metrics.csv", "result.toml"].map(|name| place.read(&format!("{run}/{name}")));
    let before = kept();
    remove(&["last.safetensors"]);
    let said = place.works(resume);
    assert!(said.out.contains("2 epochs, complete already, the best was epoch "), "{said:#?}");
    assert_eq!(accuracy(&said.out), accuracy(&trained.out));
    assert!(kept() == before && !place.path(&format!("{run}/last.safetensors")).exists(), "it was trained again");
    // As if the model were one from before the one that was tested.
    let result = format!("{run}/result.toml");
    let tested = place.text(&result);
    let (_, rest) = tested.split_once('\n').unwrap();
    place.write(&result, format!("best_epoch = 9\n{rest}"));
    place.refused(resume, &["best.safetensors: cannot be resumed: it is of epoch ", "the best epoch so far is 9"]);
    place.write(&result, tested);

    remove(&["result.toml"]);
    place.refused(resume, &["has results of 2 epochs, but no checkpoint", "Put last.safetensors back", "starts over"]);
    remove(&["best.safetensors", "metrics.csv"]);
    place.works(resume);
    assert!(kept() == before, "other bytes than the first time");
}

#[test]
fn files_of_a_run_that_do_not_belong_together_are_not_gone_on_with() {
    let place = Place::with_digits(400, 50);
    place.works(&format!("{DENSE} --epochs 3"));
    let (run, resume) = ("runs/0001-dense", "train --resume runs/0001-dense");
    let [metrics, model] = ["metrics.csv", "best.safetensors"].map(|name| format!("{run}/{name}"));
    let (rows, best) = (place.text(&metrics), place.read(&model));
    let first: Vec<&str> = rows.lines().take(3).collect();
    place.write(&metrics, first.join("\n") + "\n");
    place.refused(resume, &["metrics.csv: cannot be resumed: it ends at step 2, but the checkpoint is at step 8"]);
    std::fs::remove_file(place.path(&metrics)).unwrap();
    place.refused(resume, &["metrics.csv: cannot be resumed: it is missing, but the checkpoint is at step 8"]);
    place.write(&metrics, rows);

    let mut other = ModelFile::load(place.path(&model)).unwrap();
    let epoch = if other.metadata["epoch"] == "1" { "2" } else { "1" };
    other.set("epoch", epoch);
    other.save(place.path(&model)).unwrap();
    let words = format!("best.safetensors: cannot be resumed: it is of epoch {epoch}, but the best epoch so far is ");
    place.refused(resume, &[words.as_str(), "start a new run"]);
    std::fs::remove_file(place.path(&model)).unwrap();
    place.refused(resume, &["best.safetensors: cannot be resumed: it is missing, but the best epoch so far is "]);
    place.write(&model, best);
    place.works(resume);
}

#[test]
fn settings_and_layers_that_were_changed_since_a_run_began_are_refused_and_another_device_is_not() {
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1"));
    let resume = "train --resume runs/0001-dense";
    let change = |name: &str, [was, is]: [&str; 2]| {
        let (path, text) = (format!("runs/0001-dense/{name}"), place.text(&format!("runs/0001-dense/{name}")));
        assert!(text.contains(was), "no {was} in {text}");
        place.write(&path, text.replace(was, is));
    };
    for change_of in [
        ["seed = 0", "seed = 1"],
        ["validation = 100", "validation = 50"],
        ["epochs = 1", "epochs = 3"],
        ["optimizer = \"adam\"", "optimizer = \"sgd\""],
    ] {
        let [was, is] = change_of;
        change("config.toml", [was, is]);
        let words = format!("config.toml: cannot be resumed: the run was begun with {was}, not with {is}. Put back");
        place.refused(resume, &[words.as_str()]);
        change("config.toml", [is, was]);
    }
    change("architecture.toml", ["relu", "tanh"]);
    let words = "begun with layers.2.activation = \"relu\", not with layers.2.activation = \"tanh\"";
    place.refused(resume, &["architecture.toml: cannot be resumed", words]);
    change("architecture.toml", ["tanh", "relu"]);
    change("architecture.toml", ["layers", "# Two of them.\nlayers"]);
    change("config.toml", ["device = \"cpu\"", "device = \"auto\""]);
    place.works(&format!("{resume} --device cpu"));
}

#[test]
fn a_run_that_goes_on_with_its_data_moved_remembers_where_they_are() {
    let place = Place::with_digits(300, 50);
    let mut train = place.command(&format!("{DENSE} --epochs 3"));
    let ended = said(train.env("INKGRAD_FAULT", "not-finite@4").output().unwrap());
    assert!(ended.code == Some(1) && ended.err.contains("saved up to step "), "{ended:#?}");
    std::fs::rename(place.path("data"), place.path("moved")).unwrap();
    let (run, resume) = ("runs/0001-dense", "train --resume runs/0001-dense");
    place.refused(resume, &["if they are elsewhere now, say where with --data", "cannot read"]);
    place.works(&format!("{resume} --data moved"));
    let model = ModelFile::load(place.path(&format!("{run}/last.safetensors"))).unwrap();
    for settings in [place.text(&format!("{run}/config.toml")), model.metadata["trained"].clone()] {
        assert!(settings.lines().any(|line| line.starts_with("data = ") && line.contains("moved")), "{settings}");
    }
    place.works(resume);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_goes_on_with_data_at_a_place_that_it_cannot_remember() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1"));
    let config = place.text("runs/0001-dense/config.toml");
    let moved = OsStr::from_bytes(b"caf\xe9");
    std::fs::rename(place.path("data"), place.path(".").join(moved)).unwrap();
    let resumed = said(place.command("train --resume runs/0001-dense --data").arg(moved).output().unwrap());
    assert_eq!(resumed.code, Some(0), "{resumed:#?}");
    assert_eq!(place.text("runs/0001-dense/config.toml"), config);
}

#[test]
fn a_run_that_cannot_be_begun_leaves_nothing_and_says_what_to_do() {
    let place = Place::with_digits(300, 50);
    for line in [DENSE, "train gan --data data --device cpu --measure 0", &format!("{DENSE} --members 2")] {
        let full = said(place.command(line).env("INKGRAD_FAULT", "full-disk@config.toml").output().unwrap());
        let words = "the run has not begun; once it can be written, give the same command again";
        assert!(full.code == Some(1) && full.err.contains(words), "{full:#?}");
        assert_eq!(place.names("runs"), [""; 0], "{line}");
    }
}

#[test]
fn a_run_goes_on_with_its_data_moved_and_refuses_other_data() {
    let place = Place::with_digits(300, 50);
    place.works("train dense --data data --device cpu --epochs 1");
    std::fs::rename(place.path("data"), place.path("moved")).unwrap();
    place.refused("train --resume runs/0001-dense", &["cannot read", "data"]);
    place.works("train --resume runs/0001-dense --data moved");
    place.digits("data", 301, 50);
    place.refused(
        "train --resume runs/0001-dense --data data",
        &["last.safetensors", "cannot be resumed", "are not those it began with", "--data"],
    );
    let mut labels = place.read(&format!("moved/{}", NAMES[1]));
    labels[100] = (labels[100] + 1) % 10;
    place.write(&format!("moved/{}", NAMES[1]), labels);
    place.refused("train --resume runs/0001-dense --data moved", &["cannot be resumed", "digest"]);
}

#[test]
fn a_run_that_is_tested_again_on_other_images_says_so() {
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1"));
    place.works(&format!("{DENSE} --epochs 1 --members 2"));
    let [run, several] = ["runs/0001-dense", "runs/0002-dense-ensemble"];
    let told = |run: &str, counts: &str| {
        let said = place.works(&format!("train --resume {run} --quiet"));
        let words = format!("warning: the test images are not those that {run} was tested on before: {counts}\n");
        assert_eq!(said.err.matches("test images are not").count(), said.err.matches(&words).count(), "{said:#?}");
        said.err.matches(&words).count()
    };
    assert_eq!([run, several].map(|run| told(run, "")), [0, 0]);
    place.digits("data", 300, 40);
    assert_eq!([run, several].map(|run| told(run, "40 images, 50 then")), [1, 1]);
    assert_eq!([run, several].map(|run| told(run, "")), [0, 0]);
    // As many, of which one is another; the checkpoint is gone.
    let images = format!("data/{}", NAMES[2]);
    let mut changed = place.read(&images);
    changed[1000] ^= 1;
    place.write(&images, changed);
    std::fs::remove_file(place.path(&format!("{run}/last.safetensors"))).unwrap();
    assert_eq!(told(run, "40 images, 40 then"), 1);
    // Results of versions before this do not say what was tested on.
    let result = format!("{run}/result.toml");
    let lines: Vec<String> = place.text(&result).lines().map(|line| format!("{line}\n")).collect();
    place.write(&result, lines.iter().filter(|line| !line.starts_with("test_digest")).cloned().collect::<String>());
    place.digits("data", 300, 50);
    assert_eq!(told(run, ""), 0);
    assert!(place.text(&result).contains("test_images = 50\ntest_digest = "));
}

#[test]
fn a_run_whose_test_images_are_gone_is_refused_with_that_as_the_reason() {
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1"));
    for name in &NAMES[2..] {
        std::fs::remove_file(place.path(&format!("data/{name}"))).unwrap();
    }
    let reason = "it began with test images of their own, and data has none now, so that 30 images to train with would";
    place.refused("train --resume runs/0001-dense", &["not those it began with", reason, "put the test images back"]);
    // Other images to train with are another reason.
    place.digits("data", 310, 0);
    for name in &NAMES[2..] {
        std::fs::remove_file(place.path(&format!("data/{name}"))).unwrap();
    }
    let said = place.run("train --resume runs/0001-dense");
    assert!(said.code == Some(1) && !said.err.contains("of their own"), "{said:#?}");
}

// Mistakes, each answered with a clear error and nothing written.

#[test]
fn a_broken_data_file_is_named_with_what_is_wrong_in_it() {
    let place = Place::with_digits(300, 50);
    let break_it = |i: usize, change: &dyn Fn(Vec<u8>) -> Vec<u8>, words: &[&str]| {
        let name = format!("data/{}", NAMES[i]);
        let good = place.read(&name);
        place.write(&name, change(good.clone()));
        let words: Vec<&str> = words.iter().copied().chain([NAMES[i]]).collect();
        place.refused("train dense --data data --device cpu", &words);
        place.write(&name, good);
    };
    let cut = |by: usize| move |bytes: Vec<u8>| bytes[..bytes.len() - by].to_vec();
    break_it(0, &cut(1), &["truncated", "expected 235216 bytes", "again"]);
    break_it(3, &cut(10), &["truncated", "expected 58 bytes", "again"]);
    break_it(2, &|mut bytes| [bytes.split_off(0), vec![0]].concat(), &["trailing"]);
    break_it(0, &|_| b"\x89PNG\r\n\x1a\nand on".to_vec(), &["not an IDX file", "00 00 08", "Convert"]);
    break_it(1, &|_| Vec::new(), &["expected"]);
    break_it(0, &|bytes| [&[0, 0, 0x0d], &bytes[3..]].concat(), &["element type", "unsigned byte"]);
    break_it(3, &|bytes| [&bytes[..57], &[10]].concat(), &["label out of range", "below 10", "found 10"]);
    break_it(1, &|bytes| idx(&[299], &bytes[8..307]), &["differ in number", "300", "299", "belong together"]);
    place.works("train dense --data data --device cpu --epochs 1");
}

#[test]
fn missing_data_is_named_with_what_was_looked_for() {
    let place = Place::with_digits(300, 50);
    place.refused("train --device cpu --data nowhere", &["cannot read nowhere", "exists"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.refused(
        "train --device cpu --data empty",
        &["empty", "train-images-idx3-ubyte", "train.csv", "no folders with pictures"],
    );
    std::fs::remove_file(place.path("data").join(NAMES[3])).unwrap();
    place.refused("train --device cpu --data data", &["test labels", NAMES[3], "found t10k-images"]);
}

#[test]
fn a_setting_that_cannot_be_trained_with_is_named_with_what_would_do() {
    let place = Place::with_digits(300, 50);
    let train = "train dense --data data --device cpu";
    for (flags, words) in [
        ("--learning-rate nan", ["--learning-rate is NaN", "finite", "like 0.001"]),
        ("--learning-rate -0.5", ["--learning-rate is -0.5", "finite", "like 0.001"]),
        ("--learning-rate 0", ["--learning-rate is 0", "finite", "like 0.001"]),
        ("--learning-rate inf", ["--learning-rate is inf", "finite", "like 0.001"]),
        ("--learning-rate fast", ["--learning-rate", "fast", "expected a number"]),
        ("--epochs 0", ["--epochs", "0", "from 1"]),
        ("--epochs -3", ["--epochs", "-3", "whole number"]),
        ("--epochs 4000000000", ["--epochs", "at most", "270 images"]),
        ("--epochs 1000000 --batch 1", ["--epochs is 1000000", "at most 31068", "--batch is larger"]),
        ("--optimizer rmsprop --momentum 0.5", ["--momentum does not apply", "rmsprop", "sgd"]),
        ("--batch 0", ["--batch", "0", "from 1"]),
        ("--batch 271", ["--batch is 271", "from 1 to 270", "images"]),
        ("--batch 301 --validation 0", ["--batch is 301", "from 1 to 300", "images"]),
        ("--validation 300", ["300 images", "validation", "--validation"]),
        ("--validation 5000", ["5000 images", "validation", "--validation"]),
        ("--patience 2 --validation 0", ["--patience is 2", "--validation", "set some images aside"]),
        ("--momentum 1", ["--momentum is 1", "from 0", "below 1"]),
        ("--average nan", ["--average is NaN", "from 0", "below 1"]),
        ("--label-smoothing 1.5", ["--label-smoothing is 1.5", "from 0", "below 1"]),
        ("--weight-decay -1", ["--weight-decay is -1", "finite", "from 0"]),
        ("--device abacus", ["no device \"abacus\"", "CPU (", "inkgrad devices"]),
        ("--optimizer magic", ["--optimizer", "magic", "adamw"]),
        ("--schedule lunar", ["--schedule", "lunar", "one-cycle"]),
        ("--threads 0", ["--threads", "0", "from 1 to 1024"]),
        ("--threads -1", ["--threads", "-1", "from 1 to 1024"]),
        ("--threads abc", ["--threads", "abc", "from 1 to 1024"]),
        ("--image-size -1x3", ["--image-size", "-1x3", "from 1 to 4096"]),
        ("--image-size 100000x100000", ["--image-size", "100000x100000", "from 1 to 4096"]),
        ("--seed -1", ["--seed", "-1", "from 0 to 4294967295"]),
        ("--seed 18446744073709551615", ["--seed", "18446744073709551615", "from 0 to 4294967295"]),
        ("--frobnicate", ["--frobnicate", "unexpected", "--help"]),
    ] {
        place.refused(&format!("{train} {flags}"), &words);
    }
    place.refused(
        "train densest --data data --device cpu",
        &["no model \"densest\"", "fast, standard, best, dense", ".toml"],
    );
    place.refused("train no.toml --data data --device cpu", &["cannot read no.toml"]);
    place.refused("frobnicate", &["frobnicate", "--help"]);
}

#[test]
fn what_a_recipe_says_in_vain_is_refused_unless_something_else_is_asked_for() {
    let place = Place::with_digits(300, 50);
    let train = "train net.toml --data data --device cpu --dry-run";
    for (recipe, words, instead) in [
        ("optimizer = \"rmsprop\"\nmomentum = 0.8", ["momentum in the recipe of net", "rmsprop"], "--optimizer adam"),
        ("schedule = \"one-cycle\"\nwarmup = 1", ["warmup in the recipe of net", "one-cycle"], "--schedule cosine"),
    ] {
        place.write("net.toml", format!("layers = [\"flatten\", {{ dense = \"classes\" }}]\n[recipe]\n{recipe}\n"));
        place.refused(train, &words);
        place.works(&format!("{train} {instead}"));
    }
    // A recipe's momentum is meant for its own optimizer.
    place.write("net.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\nmomentum = 0.8\n");
    place.works(&format!("{train} --optimizer rmsprop"));
    let recipe = "optimizer = \"sgd\"\nmomentum = 0.0";
    place.write("net.toml", format!("layers = [\"flatten\", {{ dense = \"classes\" }}]\n[recipe]\n{recipe}\n"));
    for (flags, momentum) in [
        ("", "0.0"),
        ("--optimizer sgd", "0.0"),
        ("--optimizer adam", "0.9"),
        ("--optimizer adam --momentum 0.3", "0.3"),
    ] {
        let said = place.works(&format!("{train} {flags}"));
        assert!(said.out.contains(&format!("\nmomentum = {momentum}\n")), "{flags}: {said:#?}");
    }
}

#[test]
fn a_loss_that_explodes_ends_the_run_with_the_rate_that_did_it() {
    let place = Place::with_digits(300, 50);
    let said = place.run("train dense --data data --device cpu --learning-rate 1e30");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("not a number") && said.err.contains("smaller --learning-rate than 1e30"), "{said:#?}");
    let mut first = place.command(&format!("{DENSE} --epochs 1"));
    let first = crate::common::said(first.env("INKGRAD_FAULT", "not-finite@1").output().unwrap());
    assert!(first.err.contains("the loss is not a number from step 1 on (epoch 1)"), "{first:#?}");
}

#[test]
fn a_run_that_patience_has_ended_says_so() {
    let place = Place::with_digits(300, 50);
    let said = place.works(&format!("{DENSE} --epochs 50 --patience 2 --learning-rate 1e-12"));
    assert!(said.out.contains("3 of 50 epochs in ") && said.out.contains(", ended by --patience 2, "), "{said:#?}");
    let said = place.works(&format!("{DENSE} --epochs 2"));
    assert!(said.out.contains("\n2 epochs in ") && !said.out.contains("patience"), "{said:#?}");
}

#[test]
fn a_mistake_in_an_architecture_is_answered_with_its_line_and_the_shapes() {
    let place = Place::with_digits(300, 50);
    let refused = |layers: &str, words: &[&str]| {
        place.write("my.toml", format!("name = \"my\"\nlayers = [\n{layers}]\n"));
        place.refused("train my.toml --data data --device cpu", words);
        // Without classes it is a part of a network, which can be inspected.
        if layers.contains("classes") {
            place.refused("inspect my.toml", words);
        }
    };
    let good = "  \"flatten\",\n  { dense = \"classes\" },\n";
    refused(&format!("  {{ conv = 4, kernel = 31 }},\n{good}"), &["my.toml:3", "31", "28"]);
    refused(
        &format!("  {{ max_pool = 2 }},\n  {{ konv = 4 }},\n{good}"),
        &["my.toml:4", "does not say what it is", "did you mean `conv`"],
    );
    refused("  \"flatten\",\n  { dense = 12 },\n", &["my.toml:4", "12", "10 classes"]);
    refused("  { dense = \"classes\" },\n", &["my.toml:3", "28"]);
    refused("  \"flatten\"\n  oops\n", &["my.toml", "4"]);
    place.write("binary.toml", [0xff, 0xfe, 0]);
    place.refused("train binary.toml --data data --device cpu", &["binary.toml", "TOML"]);
}

#[test]
fn a_place_that_cannot_be_written_to_is_refused() {
    let place = Place::with_digits(300, 50);
    place.write("file", "text");
    for out in ["file", "file/below"] {
        let words = format!("error: --out {out}: ");
        place.refused(&format!("{DENSE} --out {out}"), &[words.as_str(), "Expected a folder, or a name for a new one"]);
    }
    #[cfg(target_os = "linux")]
    for model in ["dense", "gan"] {
        place.refused(&format!("train {model} --data data --device cpu --out /proc/runs"), &["--out /proc/runs: "]);
    }
    place.works("train dense --data data --device cpu --epochs 1");
    let model = "evaluate runs/0001-dense --data data --device cpu";
    let said = place.run(&format!("{model} --out file"));
    assert!(said.code == Some(1) && said.err.contains("--out file"), "{said:#?}");
    let said = place.run("curves runs/0001-dense --out file/curves.png");
    assert!(said.code == Some(1) && said.err.contains("file/curves.png"), "{said:#?}");
    // The reason is given once, and without a temporary file's name.
    assert!(said.err.matches("Not a directory").count() <= 1 && !said.err.contains(".tmp"), "{said:#?}");
}

/// The program, started by a shell after another command of that.
#[cfg(unix)]
fn after(place: &Place, first: &str, line: &str) -> std::process::Command {
    let program = place.command(line);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{first}; exec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args()).current_dir(program.get_current_dir().unwrap());
    command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command
}

/// The program with a limit on how large a file may become, in blocks of 512 bytes.
#[cfg(unix)]
fn limited(place: &Place, blocks: usize, line: &str) -> crate::common::Said {
    said(after(place, &format!("ulimit -f {blocks}"), line).output().unwrap())
}

#[cfg(unix)]
#[test]
fn a_file_beyond_a_limit_is_an_error_like_a_full_disk_and_what_is_kept_goes_on() {
    let place = Place::with_digits(400, 100);
    let says = |said: &crate::common::Said, words: &[&str]| {
        assert_eq!(said.code, Some(1), "{said:#?}");
        words.iter().for_each(|word| assert!(said.err.contains(word), "no {word:?} in {said:#?}"));
        let left = place.contents().into_keys().filter(|path| path.to_string_lossy().ends_with(".tmp"));
        assert_eq!(left.count(), 0, "{:?}", place.contents());
    };
    let export = limited(&place, 100, "export dense m.onnx");
    says(&export, &["cannot write m.onnx: ", "that there is room"]);

    // There is room for the model, but none for the optimizer's two moments as well.
    let train = limited(&place, 500, &format!("{DENSE} --epochs 1"));
    says(&train, &["nothing is saved yet but the best model so far, runs/0001-dense/best.safet", "--resume runs/0001"]);
    place.works("train --resume runs/0001-dense");

    let digits = inkgrad::data::mnist::embedded().unwrap().test;
    let row = |i| digits.image(i).iter().map(u8::to_string).collect::<Vec<_>>().join(",") + "\n";
    place.write("test.csv", (0..200).map(row).collect::<String>());
    let line = "classify test.csv --model dense --device cpu --out table.csv";
    let classify = limited(&place, 8, line);
    says(&classify, &["What is done is kept in table.csv.partial; the same command with --resume continues"]);
    place.works(&format!("{line} --resume"));
    assert_eq!(place.text("table.csv").lines().count(), 201);

    // Less than is kept in memory before it is written.
    place.write("grey.pgm", [b"P5 100 100 255\n".to_vec(), vec![7; 10_000]].concat());
    let sorted = limited(&place, 8, "classify grey.pgm --model dense --device cpu --out one.csv --sort-into sorted");
    says(&sorted, &["--sort-into: cannot put grey.pgm into "]);
    assert_eq!(place.contents().into_keys().filter(|path| path.ends_with("grey.pgm")).count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_written_to_an_open_file_comes_behind_what_that_holds() {
    let place = Place::new();
    place.write("log", "before\n");
    let line = "generate --device cpu --grid 1x1 --format png --out /dev/fd/3";
    let said = said(after(&place, "exec 3>>log", line).output().unwrap());
    assert_eq!(said.code, Some(0), "{said:#?}");
    let log = place.read("log");
    assert!(log.strip_prefix(b"before\n").is_some_and(is_png), "{:?}", String::from_utf8_lossy(&log));
}

#[test]
fn resuming_what_is_no_run_or_with_settings_of_its_own_is_refused() {
    let place = Place::with_digits(300, 50);
    place.refused("train --resume data", &["data/config.toml", "runs/0001-fast"]);
    place.refused("train --resume nowhere", &["nowhere/config.toml", "runs/0001-fast"]);
    place.refused("train --resume -run", &["as the value of '--resume', use --resume=-run\n"]);
    place.refused("train --resume -quiet", &["as the value of '--resume', use --resume=-quiet\n"]);
    place.refused("train --resume=-run", &["-run/config.toml", "runs/0001-fast"]);
    place.works("train dense --data data --device cpu --epochs 1");
    for flag in ["--epochs 3", "--seed 1", "--out elsewhere", "--learning-rate 0.1"] {
        let name = flag.split(' ').next().unwrap();
        place.refused(&format!("train --resume runs/0001-dense {flag}"), &["--resume", name, "cannot be used"]);
    }
    place.write("runs/0001-dense/config.toml", "model = \"dense\"\n");
    place.refused("train --resume runs/0001-dense", &["config.toml", "cannot be resumed", "missing field"]);
}

#[test]
fn a_file_that_is_no_model_or_fits_no_data_is_refused() {
    let place = Place::with_digits(300, 50);
    place.works("train dense --data data --device cpu --epochs 1");
    place.bars("other", [20, 12], 3, [60, 30]);
    let run = "runs/0001-dense";
    place.refused("evaluate nowhere --device cpu", &["nowhere"]);
    place.refused("evaluate data --device cpu", &["data", "no run's folder", "runs/0001-fast"]);
    place.refused(&format!("evaluate data/{} --device cpu", NAMES[1]), &[NAMES[1], "not a safetensors file"]);
    place.refused(&format!("evaluate {run} --data other --device cpu"), &["best.safetensors", "28x28x1", "20x12x1"]);
    let bytes = place.read(&format!("{run}/best.safetensors"));
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        place.write("cut.safetensors", &bytes[..length]);
        place.refused("evaluate cut.safetensors --data data --device cpu", &["cut.safetensors", "again"]);
    }
    std::fs::remove_file(place.path(&format!("{run}/best.safetensors"))).unwrap();
    place.refused(&format!("evaluate {run} --device cpu"), &["no best model yet", "--resume"]);
    place.refused("curves data", &["data/metrics.csv", "runs/0001-fast"]);
    place.write("garbage/metrics.csv", b"\xff\xfe no metrics");
    place.refused("curves garbage", &["garbage/metrics.csv: line 1", "step,epoch,set,loss,accuracy"]);
    place.refused("inspect data", &["data", "no run's folder"]);
    place.refused("inspect cnn --classes 0", &["--classes", "from 1 to 65536"]);
    place.refused("bench --seconds -1", &["--seconds", "-1", "from 0 to 3600"]);
}

#[test]
fn a_model_of_other_data_than_the_built_in_is_answered_with_how_to_name_them() {
    let place = Place::with_digits(300, 50);
    place.bars("bars", [28, 28], 3, [60, 30]);
    place.works("train dense --data bars --device cpu --epochs 1 -q");
    let words = ["the model knows 0, 1, 2", "it was trained on bars", "--data PATH"];
    place.refused("evaluate runs/0001-dense --device cpu", &words);
    place.works("train dense --data data --device cpu --epochs 1 -q");
    let said = place.works("evaluate runs/0002-dense --device cpu");
    assert!(said.err.contains("note: it was trained on data"), "{said:#?}");
    let said = place.works("evaluate runs/0002-dense --data data --device cpu");
    assert!(!said.err.contains("it was trained on"), "{said:#?}");
}

// How it talks.

#[test]
fn a_dry_run_writes_nothing_and_shows_every_setting() {
    let place = Place::with_digits(300, 50);
    let before = place.contents();
    let said = place.works("train dense --data data --device cpu --dry-run --epochs 7");
    assert!(said.out.contains("would train dense") && said.out.contains("epochs = 7\n"), "{said:#?}");
    // The recipe's 5,000 validation images are more than there are.
    assert!(said.out.contains("validation = 30\n"), "{said:#?}");
    assert_eq!(place.contents(), before);
}

#[test]
fn quiet_prints_the_result_only() {
    let place = Place::with_digits(300, 50);
    let said = place.works("train dense --data data --device cpu --epochs 2 --quiet");
    assert_eq!(said.err, "");
    assert_eq!(said.out.lines().count(), 2, "{said:#?}");
    assert!(said.out.starts_with("test accuracy "), "{said:#?}");
}

#[test]
fn without_a_terminal_progress_is_plain_lines_on_standard_error() {
    let place = Place::with_digits(1000, 50);
    let said = place.works(&format!("{DENSE} --epochs 2"));
    assert!(said.err.chars().chain(said.out.chars()).all(|c| c == '\n' || !c.is_control()), "{said:#?}");
    let started = "parameters, 10 classes, 900 images, 100 to validate";
    for words in ["in runs/0001-dense", started, "epoch 2: validation loss", "images/s", "left"] {
        assert!(said.err.contains(words), "no {words:?} in {said:#?}");
    }
    // The second batch straddles the end of the only epoch.
    let place = Place::with_digits(300, 50);
    let said = place.works("train dense --data data --device cpu --validation 0 --batch 256 --epochs 1");
    assert!(said.err.contains("step 2/2  epoch 1.00  "), "{said:#?}");
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic_or_to_stop_training() {
    let place = Place::with_digits(300, 50);
    let mut child = place.start("train dense --data data --device cpu --epochs 3");
    drop(child.stderr.take());
    let trained = said(child.wait_with_output().unwrap());
    assert_eq!(trained.code, Some(0), "{trained:#?}");
    assert_eq!(place.names("runs/0001-dense"), FILES);
    for line in ["evaluate runs/0001-dense --data data --device cpu --out told", "inspect dense --plan", "devices"] {
        let mut child = place.start(line);
        drop(child.stdout.take());
        let said = said(child.wait_with_output().unwrap());
        assert!(said.code == Some(0) && !said.err.contains("panicked"), "{line}: {said:#?}");
    }
    // The files that a command writes are there without a reader too.
    assert_eq!(place.names("told"), ["confusion.png", "mistakes.png"]);
    // Having nowhere to write to at all is no reason to stop either.
    let mut command = place.command("train dense --data data --device cpu --epochs 1");
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_setting_given_twice_counts_as_it_was_given_last_and_an_input_given_twice_is_refused() {
    let place = Place::with_digits(300, 50);
    let said = place
        .works("train dense --data data --device cpu --epochs 9 --epochs 2 -q -q --dry-run --threads 1 --threads 2");
    assert!(said.out.contains("epochs = 2\n"), "{said:#?}");
    for (line, flag) in [
        ("train dense --device cpu --data data --data data", "--data <PATH>"),
        ("evaluate dense --device cpu --data data --data data", "--data <PATH>"),
        ("data stats --data data --data data", "--data <DIR>"),
        ("train --from dense --from cnn --device cpu", "--from <MODEL>"),
        ("train --resume a --resume b", "--resume <RUN>"),
        ("train dense --front pool --front pool", "--front <MODEL>"),
        ("generate --model gan --model gan --device cpu", "--model <MODEL>"),
        ("import a b.safetensors --architecture dense --architecture cnn", "--architecture <MODEL>"),
    ] {
        place.refused(line, &[flag, "cannot be used multiple times"]);
    }
}

#[test]
fn every_command_that_writes_takes_the_short_word_for_where() {
    let place = Place::with_digits(300, 50);
    place.works("train dense --data data --device cpu --epochs 1 -q -o here");
    place.works("evaluate here/0001-dense --data data --device cpu -o pictures");
    assert_eq!(place.names("pictures"), ["confusion.png", "mistakes.png"]);
    place.refused("sweep dense -o there", &["is a classifier"]);
}

// Networks and data of one's own.

#[test]
fn an_architecture_of_ones_own_trains_on_images_of_any_size_and_number_of_classes() {
    let place = Place::new();
    place.bars("bars", [20, 12], 3, [120, 30]);
    place.write(
        "my-net.toml",
        "name = \"mine\"\nlayers = [\n  { conv = 4, kernel = 3, padding = \"same\", activation = \"relu\" },\n  \
         { max_pool = 2 },\n  \"flatten\",\n  { dense = \"classes\" },\n]\n\n[recipe]\nepochs = 8\nbatch = 20\n\
         learning_rate = 0.01\n",
    );
    let said = place.works("train my-net.toml --data bars --device cpu");
    assert!(said.out.starts_with("test accuracy 100.00 %"), "{said:#?}");
    // The run is complete without the file that it was made from.
    std::fs::remove_file(place.path("my-net.toml")).unwrap();
    place.works("evaluate runs/0001-mine --data bars --device cpu");
    let inspected = place.works("inspect runs/0001-mine");
    assert!(inspected.out.contains("20x12x4") && inspected.out.contains("data_digest"), "{}", inspected.out);
    place.works("train dense --data bars --device cpu --epochs 1");
    assert_eq!(place.names("runs"), ["0001-mine", "0002-dense"]);
}

#[test]
fn average_pooling_brings_448_down_to_28_in_front_of_any_network() {
    let place = Place::new();
    for line in ["train pool --device cpu", "bench pool --device cpu", "tune pool"] {
        place.refused(line, &["pool is not a network by itself", "train dense --front pool"]);
    }
    let said = place.works("inspect pool");
    assert!(said.out.contains("448x448x1") && said.out.contains("28x28x1"), "{}", said.out);
    assert_eq!(said.out, place.works("inspect pool --input 448x448x1").out);
    place.bars("large", [448, 448], 2, [40, 10]);
    let said = place.works("train dense --front pool --data large --device cpu --epochs 1");
    assert!(said.out.contains("of 10 right"), "{said:#?}");
    let run = &place.names("runs")[0];
    let inspected = place.works(&format!("inspect runs/{run}"));
    assert!(inspected.out.contains("28x28x1"), "{}", inspected.out);
    // This is refused before anything about the file is printed.
    place.refused(&format!("inspect runs/{run} --plan -b 1048576"), &["too large to plan"]);
    place.works(&format!("evaluate runs/{run} --data large --device cpu"));
}

// The other commands.

#[test]
fn inspect_shows_the_layers_and_the_step_of_every_built_in_network_in_straight_columns() {
    let place = Place::new();
    for (name, total) in [("fast", "225,642"), ("dense", "50,890"), ("cnn", "211,834"), ("avgcnn", "468,010")] {
        let said = place.works(&format!("inspect {name}"));
        let lines: Vec<&str> = said.out.lines().collect();
        assert!(lines.last().unwrap().contains(total), "{name}: {}", said.out);
        let width = lines[0].chars().count();
        assert!(lines[2..].iter().all(|line| line.chars().count() == width), "{}", said.out);
        let said = place.works(&format!("inspect {name} --plan"));
        for words in ["gather_images", "cross_entropy.grad", "optimizer", "dispatches,", "intermediate results:"] {
            assert!(said.out.contains(words), "{name}: no {words:?} in {}", said.out);
        }
    }
    place.refused("inspect dense --input 28by28", &["--input", "28by28", "28x28x1"]);
    let of = |size: &str| place.works(&format!("inspect pool --input {size}")).out;
    assert!(of("448x448") == of("448X448x1") && of("448x448") != of("448x448x3"));
    place.refused("inspect pool --input 100000x448", &["--input", "from 1 to 65536"]);
    place.refused("inspect dense -b 5", &["--plan"]);
    place.refused("inspect dense --plan -b 0", &["--batch", "from 1 to 1048576"]);
    place.write("huge.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\nbatch = 2000000\n");
    place.refused("inspect huge.toml --plan --input 2x2", &["--batch 2000000", "from 1 to 1,048,576"]);
    place.refused("inspect pool --plan --input 448x448x1", &["pool is not a classifier"]);
    place.refused("inspect judge --input 32x32x3", &["--input is for models that leave it open", "judge does not"]);
    place.refused("inspect judge --classes 5", &["--classes is for models that leave it open"]);
    place.refused("inspect pool --classes 5", &["--classes is for models that leave it open"]);
}

#[test]
fn devices_lists_the_cpu_and_says_which_one_is_taken() {
    let said = Place::new().works("devices");
    assert!(said.out.contains("CPU (") && said.out.contains("`--device auto` takes"), "{said:#?}");
    assert_eq!(said.out.lines().filter(|line| line.starts_with("* ") && !line.contains("auto")).count(), 1);
}

#[test]
fn devices_and_models_are_told_to_programs_as_json() {
    let place = Place::new();
    let told = |command: &str| -> serde_json::Value {
        serde_json::from_str(&place.works(&format!("{command} --json")).out).unwrap()
    };
    let devices = told("devices");
    let devices = devices.as_array().unwrap();
    assert_eq!(devices.iter().filter(|device| device["auto"] == true).count(), 1, "{devices:?}");
    let cpu = devices.iter().find(|device| device["kind"] == "cpu").unwrap();
    assert!(cpu["name"].as_str().unwrap().starts_with("CPU ("), "{devices:?}");
    assert!(devices.iter().enumerate().all(|(i, device)| device["number"] == i), "{devices:?}");
    if place.has_software_gpu() {
        let is_software = |device: &&serde_json::Value| device["name"].as_str().unwrap().contains("llvmpipe");
        let software = devices.iter().find(is_software).unwrap();
        assert!(software["subgroups"] == true && software["matrix_units"] == false, "{software}");
    }

    let told = told("models");
    let find = |list: &str, name: &str| {
        told[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{told}"))
    };
    let kinds = ["dense", "gan", "pool"].map(|name| find("networks", name)["kind"].as_str().unwrap());
    assert_eq!(kinds, ["classifier", "gan", "front"]);
    let judge = find("models", "judge");
    assert!(judge["kind"] == "classifier" && judge["class_names"][9] == "9", "{judge}");
    assert!(judge["validation_accuracy"].as_f64().unwrap() > 0.98 && judge["bytes"].as_u64().unwrap() > 0, "{judge}");
    assert!(find("models", "gan")["validation_accuracy"].is_null());
}

#[test]
fn where_there_is_no_desktop_drivers_do_not_complain_of_it() {
    let place = Place::new();
    let mut devices = place.command("devices");
    devices.env_remove("XDG_RUNTIME_DIR").env_remove("NODEVICE_SELECT");
    let said = said(devices.output().unwrap());
    assert!(said.code == Some(0) && !said.err.contains("XDG_RUNTIME_DIR"), "{said:#?}");
}

#[test]
fn more_threads_than_the_cores_can_use_are_not_started() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let said = Place::new().works("models --threads 1024");
    assert_eq!(said.err.contains("note: --threads 1024 is more than "), cores < 256, "{said:#?}");
    assert_eq!(Place::new().works("models --threads 8").err, "");
}

#[test]
fn help_explains_every_flag_of_every_command() {
    let place = Place::new();
    let said = place.works("--help");
    let commands = ["train", "evaluate", "inspect", "devices", "curves", "bench"];
    assert!(commands.iter().all(|command| said.out.contains(command)) && said.out.contains("Examples:"));
    let flags = |command: &str| match command {
        "train" => {
            "data device epochs batch learning-rate optimizer schedule warmup momentum weight-decay \
             label-smoothing average validation patience seed front out resume dry-run quiet threads"
        }
        "evaluate" => "data device json out mistakes",
        "inspect" => "input classes plan batch",
        "curves" => "out title",
        "bench" => "device batch seconds infer json ops",
        "devices" => "json threads",
        _ => "threads",
    };
    for command in commands {
        let help = place.works(&format!("{command} --help")).out;
        for flag in flags(command).split_whitespace() {
            let at = help.find(&format!("--{flag}")).unwrap_or_else(|| panic!("{command} --help: no --{flag}\n{help}"));
            // The explanation follows the flag or is on the next line.
            let words = help[at..].lines().take(2).flat_map(|line| line.split_whitespace()).count();
            assert!(words > 3, "{command} --help: --{flag} is not explained\n{help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(
            !help.contains("  -b, --batch <N>                \n") && !help.contains("<N>               \n"),
            "{help}"
        );
    }
    assert_eq!(place.run("").code, Some(2));
    assert!(place.works("--version").out.starts_with("inkgrad "));
}

/// What `bench` prints with `--json`.
fn benched(place: &Place, line: &str) -> serde_json::Value {
    serde_json::from_str(&place.works(&format!("bench {line} --device cpu --seconds 0 --json")).out).unwrap()
}

#[test]
fn bench_says_what_a_step_costs_and_that_it_learns() {
    let place = Place::new();
    let step = benched(&place, "dense");
    assert_eq!((&step["parameters"], &step["batch"], &step["steps"]), (&50_890.into(), &128.into(), &1.into()));
    let loss = step["first_loss"].as_f64().unwrap();
    assert!((1.5..6.0).contains(&loss), "{step}");
    assert!(step["images_per_second"].as_f64().unwrap() > 0.0, "{step}");

    // A step touches its batch, not the whole set.
    assert!(step["bytes_per_step"].as_u64().unwrap() < 60_000 * 784 / 4, "{step}");

    let ops = benched(&place, "dense --ops");
    assert_eq!(ops["device"], step["device"]);
    let sum = |key: &str| ops["ops"].as_array().unwrap().iter().map(|op| op[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(step["dispatches_per_step"], ops["ops"].as_array().unwrap().len());
    assert_eq!((&step["flops_per_step"], &step["bytes_per_step"]), (&sum("flops").into(), &sum("bytes").into()));
}

#[test]
fn bench_measures_inference_of_classifiers_and_of_generators() {
    let place = Place::new();
    let (train, infer) = (benched(&place, "dense -b 64"), benched(&place, "dense -b 64 --infer"));
    assert!(infer["images_per_second"].as_f64().unwrap() > 0.0, "{infer}");
    assert_eq!((&infer["batch"], &infer["parameters"]), (&64.into(), &50_890.into()));
    // Two multiplications with each weight, and far less than forward and back.
    let flops = |step: &serde_json::Value| step["flops_per_step"].as_u64().unwrap();
    assert!((64 * 2 * 50_000..flops(&train) / 2).contains(&flops(&infer)), "{infer}");
    assert!(infer.get("last_loss").is_none(), "{infer}");

    let drawn = benched(&place, "gan --infer -b 3");
    assert!(drawn["images_per_second"].as_f64().unwrap() > 0.0 && drawn["batch"] == 3, "{drawn}");
    place.refused("bench dense --infer --batch 60001", &["60001", "60000 images"]);
    place.refused("bench dense --batch 0", &["--batch", "from 1"]);
}

#[test]
fn shells_and_manual_pages_are_told_of_every_command() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = place.works(&format!("completions {shell}"));
        assert!(["train", "classify", "fallback"].iter().all(|word| said.out.contains(word)), "{shell}");
    }
    place.works("man pages");
    let pages = place.names("pages");
    assert!(
        ["inkgrad.1", "inkgrad-train.1", "inkgrad-data-stats.1"].iter().all(|page| pages.contains(&page.to_string())),
        "{pages:?}"
    );
    assert!(place.text("pages/inkgrad-train.1").contains("fallback"));
}

#[test]
fn curves_draws_two_runs_in_one_picture() {
    let place = Place::with_digits(300, 50);
    for epochs in [2, 3] {
        place.works(&format!("train dense --data data --device cpu --epochs {epochs}"));
    }
    let said = place.works("curves short=runs/0001-dense runs/0002-dense --out both.png --title Two");
    assert_eq!(said.out, "both.png\n");
    assert!(is_png(&place.read("both.png")));
    place.works("curves runs/0001-dense");
    assert!(is_png(&place.read("curves.png")));
    place.refused("curves =runs/0001-dense", &["=runs/0001-dense", "expected a name"]);
    place.works("curves runs/0001-dense --out new/below/c.png");
    assert!(is_png(&place.read("new/below/c.png")));
}

#[test]
fn a_picture_is_not_written_over_a_file_of_another_kind() {
    let place = Place::with_digits(300, 50);
    place.write("run/metrics.csv", "precious");
    let out = "run/metrics.csv";
    for line in ["data stats --data data -o", "data preview --data data -o", "curves run -o", "classify data --sheet"] {
        place.refused(&format!("{line} {out}"), &[out, "expected a name that ends in .png"]);
    }
}

#[test]
fn several_devices_train_a_classifier_together_and_nothing_else() {
    let place = Place::with_digits(200, 50);
    let train = "train dense --data data --epochs 2 --validation 0 --device";
    let said = place.works(&format!("{train} cpu,cpu --batch 20"));
    assert!(said.err.contains("names the CPU 2 times, which is no faster than once"), "{said:#?}");
    let said = place.works("inspect runs/0001-dense");
    assert!(said.out.contains("CPU and CPU"), "{}", said.out);
    place.works("evaluate runs/0001-dense --data data --device cpu");
    place.refused(&format!("{train} cpu,cpu --batch 25"), &["--batch", "multiple of 2"]);
    place.refused("train gan --data data --device cpu,cpu", &["several devices"]);
    place.refused(&format!("{train} cpu,nonesuch --batch 20"), &["nonesuch"]);
    assert_eq!(place.names("runs"), ["0001-dense"]);
}

#[cfg(unix)]
#[test]
fn a_path_that_a_run_could_not_remember_is_refused_before_there_is_a_run() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    for line in ["train dense --data", "train gan --device cpu --data", "train gan --judge", "train --from"] {
        let said = said(place.command(line).arg(OsStr::from_bytes(b"caf\xe9/data.csv")).output().unwrap());
        let flag = line.split(' ').next_back().unwrap();
        assert_eq!(said.code, Some(1), "{said:#?}");
        for word in ["error: ", flag, "caf", "UTF-8", "rename it"] {
            assert!(said.err.contains(word), "{line}: no {word:?} in {said:#?}");
        }
        assert!(!place.path("runs").exists(), "{line}");
    }
}
