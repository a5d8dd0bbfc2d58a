//! `inkgrad train` of a GAN as a process of its own: stopped, killed and resumed, and asked for the impossible.

#[cfg(unix)]
use std::time::Duration;

use inkgrad::models::ModelFile;

use crate::common::{NAMES, Place, idx, said};
use crate::golden::TINY_GAN;

/// Some digits and a small GAN.
fn place() -> Place {
    let place = Place::with_digits(330, 100);
    place.write("tiny.toml", TINY_GAN);
    place
}

const TINY: &str = "train tiny.toml --data data --device cpu --batch 16 --pack 2 --average 0.9 --seed 3";

#[test]
fn what_would_fail_after_training_is_refused_before_it() {
    let place = Place::with_digits(40, 3);
    place.write("tiny.toml", TINY_GAN);
    place.refused(&format!("{TINY} --epochs 1"), &["3 test images", "takes 4", "--measure 0"]);
    place.works(&format!("{TINY} --epochs 1 --measure 0"));
    let words = ["--epochs is 10000000", "at most", "8388608 steps", "--batch"];
    place.refused(&format!("{TINY} --epochs 10000000 --measure 0"), &words);
}

#[test]
fn the_batch_that_nobody_asked_for_gives_way_to_few_images_and_to_groups() {
    let place = Place::with_digits(40, 3);
    place.write("tiny.toml", TINY_GAN);
    let line = "train tiny.toml --data data --device cpu --measure 0 --epochs 1";
    for (flags, batch) in [("", "batch = 40"), ("--pack 3", "batch = 30"), ("--pack 3 --batch 12", "batch = 12")] {
        let said = place.works(&format!("{line} {flags} --dry-run"));
        assert!(said.out.lines().any(|line| line == batch), "{flags}: {said:#?}");
    }
    place.refused(&format!("{line} --batch 64"), &["--batch is 64", "from 1 to 40"]);
    place.works(&format!("{line} --pack 3"));
}

#[test]
fn every_flag_of_a_gan_is_what_it_is_trained_with() {
    let place = place();
    let flags = [
        ("--loss hinge", "loss = \"hinge\""),
        ("--generator-rate 0.003", "generator_rate = 0.003"),
        ("--discriminator-rate 0.004", "discriminator_rate = 0.004"),
        ("--beta2 0.9", "beta2 = 0.9"),
        ("--discriminator-steps 3", "discriminator_steps = 3"),
        ("--label-noise 0.1", "label_noise = 0.1"),
        ("--spectral-norm", "spectral_norm = true"),
        ("--measure 5", "measure = 5"),
    ];
    let settings = |flags: &str| place.works(&format!("{TINY} --dry-run {flags}")).out;
    let (usual, set) = (settings(""), settings(&flags.map(|(flag, _)| flag).join(" ")));
    for (flag, setting) in flags {
        let is_in = |settings: &str| settings.lines().any(|line| line == setting);
        assert!(is_in(&set) && !is_in(&usual), "{flag}: {set} where usual is {usual}");
    }
}

/// Every file of one run is in the other, with the same bytes.
fn assert_same_run(place: &Place, run: &str, reference: &str) {
    for folder in ["", "/snapshots"] {
        let names = place.names(&format!("{reference}{folder}"));
        assert_eq!(place.names(&format!("{run}{folder}")), names);
        for name in names.iter().filter(|name| *name != "snapshots") {
            let [ours, theirs] = [run, reference].map(|run| place.read(&format!("{run}{folder}/{name}")));
            assert!(ours == theirs, "{folder}/{name} differs from that of a run never stopped");
        }
    }
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_bytes_of_one_never_stopped() {
    let place = place();
    let line = format!("{TINY} --epochs 40");
    place.works(&format!("{line} --out whole"));
    let run = "runs/0001-tiny";
    place.ends_after_kills(&line, run, 100..500);
    assert_same_run(&place, run, "whole/0001-tiny");
}

#[test]
fn a_file_that_another_program_has_open_is_written_the_next_time() {
    let place = place();
    let line = format!("{TINY} --epochs 2");
    place.works(&format!("{line} --out whole"));
    let said = said(place.command(&line).env("INKGRAD_FAULT", "hold-file@3:losses.csv").output().unwrap());
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains("losses.csv: another program has it open; close it there"), "{said:#?}");
    assert_same_run(&place, "runs/0001-tiny", "whole/0001-tiny");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let place = place();
    let child = place.start(&format!("{TINY} --epochs 100000"));
    while !place.path("runs/0001-tiny/last.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    crate::common::interrupt(&child);
    let stopped = said(child.wait_with_output().unwrap());
    assert_eq!(stopped.code, Some(130), "{stopped:#?}");
    assert!(stopped.err.contains("saved. Continue with: inkgrad train --resume runs/0001-tiny"), "{stopped:#?}");
}

#[test]
fn a_loss_that_explodes_ends_the_run_with_the_rates_that_did_it() {
    let place = place();
    let said = place.run(&format!("{TINY} --epochs 2 --generator-rate 1e30 --discriminator-rate 1e30"));
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.err.contains("not a number") && said.err.contains("--discriminator-rate 1e30"), "{said:#?}");
}

#[test]
fn a_collapse_is_said_once_an_epoch_even_to_those_who_want_it_quiet() {
    let place = place();
    let said = place.works(&format!("{TINY} --epochs 2 --generator-rate 1e-20 --quiet"));
    assert_eq!(said.err.matches("collapse: the pictures of").count(), 2, "{said:#?}");
}

#[test]
fn pictures_of_channels_that_no_gan_draws_are_refused_before_a_folder_is_made() {
    let place = Place::new();
    for channels in [2, 4] {
        let draws = TINY_GAN.replace("conv_transposed = 1,", &format!("conv_transposed = {channels},"));
        place.write(&format!("{channels}.toml"), draws);
        for part in NAMES.chunks(2) {
            let images = idx(&[20, 28, 28, channels], &vec![7u8; 20 * 28 * 28 * channels]);
            place.write(&format!("data{channels}/{}", part[0]), images);
            place.write(&format!("data{channels}/{}", part[1]), idx(&[20], &[0u8, 1].repeat(10)));
        }
        let line = format!("train {channels}.toml --data data{channels} --device cpu --batch 4 --measure 0");
        let found = format!("these images have {channels} channels");
        place.refused(&line, &[found.as_str(), "1 channel (grey)", "28x28x3"]);
    }
}

#[test]
fn a_run_is_not_resumed_with_another_judge_in_the_place_of_its_own() {
    let place = place();
    let judge = |seed: u32| {
        place.works(&format!("train dense --data data --device cpu --epochs 1 --quiet --seed {seed}"));
        place.read(&format!("runs/{:04}-dense/best.safetensors", seed + 1))
    };
    let [own, other] = [0, 1].map(judge);
    place.write("judge.safetensors", own);
    place.works(&format!("{TINY} --epochs 1 --judge judge.safetensors"));
    place.works("train --resume runs/0003-tiny");
    place.write("judge.safetensors", other);
    place.refused("train --resume runs/0003-tiny", &["judge.safetensors", "is not the one it began with", "new run"]);
}

#[test]
fn a_run_whose_judge_was_moved_is_resumed_with_where_it_is_now() {
    let place = place();
    place.works("train dense --data data --device cpu --epochs 1 --quiet");
    std::fs::create_dir(place.path("judges")).unwrap();
    std::fs::rename(place.path("runs/0001-dense/best.safetensors"), place.path("judges/own.safetensors")).unwrap();
    place.works(&format!("{TINY} --epochs 1 --judge judges/own.safetensors"));
    std::fs::rename(place.path("judges"), place.path("moved")).unwrap();
    let (resume, own) = ("train --resume runs/0002-tiny", "judges/own.safetensors");
    place.refused(resume, &["the judge of this run", own, "--judge FILE", "cannot read"]);
    place.works(&format!("{resume} --judge moved/own.safetensors"));
    let other = "is not the one it began with";
    place.refused(&format!("{resume} --judge fast"), &["its judge, fast,", other, "say with --judge where it is"]);
    place.works(&format!("{TINY} --epochs 1 --measure 0"));
    place.refused("train --resume runs/0003-tiny --judge fast", &["--judge is for measuring", "--measure 0"]);

    // Where the checkpoint is gone, the generator says which judge it was, unless it is of an older version.
    std::fs::remove_file(place.path("runs/0002-tiny/last.safetensors")).unwrap();
    place.refused(
        &format!("{resume} --judge fast"),
        &["best.safetensors: cannot be resumed", "its judge, fast,", other],
    );
    let best = place.path("runs/0002-tiny/best.safetensors");
    let mut old = ModelFile::load(&best).unwrap();
    old.metadata.remove("judge_digest").unwrap();
    old.save(&best).unwrap();
    let words = ["does not say by which judge it was measured", "leave out --judge"];
    place.refused(&format!("{resume} --judge moved/own.safetensors"), &words);
    place.works(resume);
}

#[test]
fn classes_with_fewer_pictures_than_the_discriminator_sees_at_a_time_are_named() {
    let place = place();
    // Of the classes 0 and 1 there are two pictures, of the others one.
    place.bars("bars", [28, 28], 5, [7, 5]);
    let line = "train tiny.toml --data bars --device cpu --batch 2 --pack 2 --epochs 1 --measure 0 --quiet";
    let warning = "warning: the classes 2, 3, 4 have fewer pictures than --pack 2";
    let said = place.works(line);
    assert_eq!(said.err.matches(warning).count(), 1, "{said:#?}");
    let said = place.works(&line.replace("--pack 2", "--pack 1"));
    assert!(!said.err.contains("fewer pictures"), "{said:#?}");
}

#[test]
fn a_judge_that_travels_with_the_program_goes_by_its_name() {
    let said = place().works(&format!("{TINY} --epochs 1 --judge best --dry-run"));
    assert!(said.out.contains("judge = \"best\""), "{said:#?}");
}

#[test]
fn a_flag_that_cannot_be_followed_is_named_with_what_would_do() {
    let place = place();
    for (flags, words) in [
        ("--learning-rate 1", ["--learning-rate", "--generator-rate", "--discriminator-rate"]),
        ("--optimizer adam", ["--optimizer", "a GAN", "--help"]),
        ("--validation 10", ["--validation", "a GAN", "--help"]),
        ("--pack 0", ["--pack is 0", "from 1 to 6", ""]),
        ("--pack 1.5", ["--pack", "1.5", "whole number"]),
        ("--pack 3", ["--batch is 16", "--pack 3", "multiple"]),
        ("--pack 8", ["--pack is 8", "from 1 to 6", ""]),
        ("--label-noise 0.7", ["--label-noise is 0.7", "below 0.5", "reversed"]),
        ("--label-noise -1", ["--label-noise is -1", "from 0", ""]),
        ("--generator-rate 0", ["--generator-rate is 0", "above 0", "0.0002"]),
        ("--discriminator-rate nan", ["--discriminator-rate is NaN", "finite", ""]),
        ("--discriminator-steps 0", ["--discriminator-steps is 0", "1 to 64", ""]),
        ("--epochs 0", ["--epochs", "from 1", ""]),
        ("--batch 400", ["--batch is 400", "330", "multiple"]),
        ("--loss magic", ["--loss", "magic", "hinge"]),
        ("--noise-width 0", ["--noise-width is 0", "from 1", ""]),
        ("--spectral-norm=perhaps", ["--spectral-norm", "perhaps", "true"]),
        ("--judge nowhere.safetensors", ["nowhere.safetensors", "cannot", ""]),
        ("--judge nowhere.safetensors --measure 0", ["--judge", "--measure 0", "leave it out"]),
    ] {
        let (name, _) = flags.split_once([' ', '=']).unwrap();
        // If a flag is given twice, the last one counts.
        let others = if name == "--pack" { TINY.replace(" --pack 2", "") } else { TINY.into() };
        place.refused(&format!("{others} {flags}"), &words);
    }
    let train = "train dense --data data --device cpu";
    place.refused(&format!("{train} --pack 2"), &["--pack", "a classifier", "--help"]);
    place.refused(&format!("{train} --generator-rate 1"), &["--generator-rate", "a classifier", "--learning-rate"]);
    place.refused(&format!("{train} --judge x"), &["--judge", "a classifier"]);

    place.works(&format!("{TINY} --epochs 1"));
    let resume = "train --resume runs/0001-tiny";
    for flags in ["--pack 2", "--loss bce", "--generator-rate 1", "--measure 2", "--spectral-norm", "--seed 1"] {
        let (name, _) = flags.split_once(' ').unwrap_or((flags, ""));
        place.refused(&format!("{resume} {flags}"), &["--resume", name]);
    }
    place.refused(&format!("{resume} --learning-rate 1"), &["--resume", "--learning-rate"]);
}
