//! The snapshots that a run keeps along the way: when they are taken, that they are the same whatever stops it, and
//! that every command can use them.

use std::time::{Duration, Instant};

use inkgrad::models::ModelFile;
use inkgrad::train::Folder;

use crate::common::{Place, right};

/// 20 steps per epoch.
const DENSE: &str = "train dense --data data --device cpu --validation 0 --batch 32 --average 0.9 -q";

fn steps(place: &Place, run: &str) -> Vec<usize> {
    Folder::snapshots(&place.path(run)).into_iter().map(|(step, _)| step).collect()
}

#[test]
fn so_many_of_every_epoch_are_kept_evenly_spaced_and_never_more_than_there_are_steps() {
    let place = Place::with_digits(640, 50);
    for (wanted, steps_wanted) in [
        (1, vec![0, 20, 40]),
        (3, vec![0, 6, 13, 20, 26, 33, 40]),
        (19, (0..=40).filter(|step| step % 20 != 19).collect()),
        (4_000_000_000u64, (0..=40).collect()),
    ] {
        place.works(&format!("{DENSE} --epochs 2 --snapshots {wanted} --out {wanted}"));
        assert_eq!(steps(&place, &format!("{wanted}/0001-dense")), steps_wanted);
        assert!(place.text(&format!("{wanted}/0001-dense/config.toml")).contains(&format!("snapshots = {wanted}\n")));
    }
    // A run that does not ask for them has none, and its settings are those of older runs.
    place.works(&format!("{DENSE} --epochs 2"));
    assert!(steps(&place, "runs/0001-dense").is_empty());
    assert!(!place.path("runs/0001-dense/snapshots").exists());
    assert!(!place.text("runs/0001-dense/config.toml").contains("snapshots"));
}

#[test]
fn training_is_the_same_with_snapshots_and_without() {
    // 200 steps per epoch, a row of the metrics for every four, and snapshots between them.
    let place = Place::with_digits(4000, 50);
    let line = DENSE.replace("--batch 32", "--batch 20 --epochs 2");
    place.works(&line);
    place.works(&format!("{line} --snapshots 7"));
    assert!(steps(&place, "runs/0002-dense").contains(&57));
    for name in ["metrics.csv", "result.toml"] {
        assert!(place.read(&format!("runs/0001-dense/{name}")) == place.read(&format!("runs/0002-dense/{name}")));
    }
    let load = |name: &str| ModelFile::load(place.path(name)).unwrap();
    let (without, with) = (load("runs/0001-dense/best.safetensors"), load("runs/0002-dense/best.safetensors"));
    assert!(without.tensors == with.tensors, "other weights");
}

#[test]
fn a_killed_and_resumed_run_has_the_snapshots_of_one_never_stopped() {
    let place = Place::with_digits(640, 50);
    let line = format!("{DENSE} --epochs 20 --snapshots 3");
    place.works(&format!("{line} --out whole"));
    let run = "runs/0001-dense";
    let (mut next, mut midway) = (line, 0);
    // Each time it is killed just after a snapshot within an epoch, ahead of the epoch's checkpoint.
    for step in [26, 126, 246, 353] {
        let mut child = place.start(&next);
        let (began, file) = (Instant::now(), place.path(&format!("{run}/snapshots/{step:06}.safetensors")));
        while !file.exists() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        midway += usize::from(!place.path(&format!("{run}/result.toml")).exists());
        next = format!("train --resume {run} -q");
    }
    assert!(midway > 0, "always too late to kill it");
    place.works(&next);
    let names = place.names("whole/0001-dense/snapshots");
    assert_eq!(names.len(), 61);
    assert_eq!(place.names(&format!("{run}/snapshots")), names, "something is missing or was left behind");
    for name in names.iter().map(|name| format!("snapshots/{name}")).chain(["best.safetensors".into()]) {
        let same = place.read(&format!("{run}/{name}")) == place.read(&format!("whole/0001-dense/{name}"));
        assert!(same, "{name} differs from that of a run never stopped");
    }
}

#[test]
fn a_snapshot_is_a_model_like_any_other() {
    let place = Place::with_digits(640, 500);
    let said = place.works(&format!("{DENSE} --epochs 3 --snapshots 2"));
    let run = "runs/0001-dense";
    let load = |name: &str| ModelFile::load(place.path(&format!("{run}/{name}"))).unwrap();
    let (best, last, half) =
        (load("best.safetensors"), load("snapshots/000060.safetensors"), load("snapshots/000010.safetensors"));
    assert!(best.tensors == last.tensors, "not the averaged weights, which the result has");
    assert_eq!((half.metadata["step"].as_str(), half.metadata["epoch"].as_str()), ("10", "0.5000"));
    assert_eq!(last.metadata["step"], "60");
    for key in ["mean", "std", "class_names", "data", "data_digest", "trained"] {
        assert_eq!(half.metadata[key], best.metadata[key], "{key}");
    }

    let evaluate = |step: &str| {
        let line = format!("evaluate {run}/snapshots/{step}.safetensors --data data --device cpu --out of-{step}");
        right(&place.works(&line).out)
    };
    let (first, end) = (evaluate("000000"), evaluate("000060"));
    assert_eq!(end, right(&said.out));
    assert!(first < 150 && end > 350, "{first} of 500 before the first step, {end} after the last");
    place.works(&format!("inspect {run}/snapshots/000010.safetensors"));
    place.works(&format!("train --from {run}/snapshots/000010.safetensors --data data --epochs 1 --device cpu -q"));
}

#[test]
fn what_else_lies_in_the_folder_is_no_snapshot() {
    let place = Place::with_digits(300, 50);
    let run = "runs/0001-dense";
    place.works(&format!("{DENSE} --epochs 1 --snapshots 1"));
    let wanted = steps(&place, run);
    assert_eq!(wanted.len(), 2);
    for stranger in ["0000.png", "7.safetensors", "000007.txt", "+00007.safetensors", ".inkgrad-1.tmp"] {
        place.write(&format!("{run}/snapshots/{stranger}"), "strange");
    }
    std::fs::create_dir(place.path(&format!("{run}/snapshots/000008.safetensors"))).unwrap();
    // Sorted as numbers: a step of seven digits comes after all those of six.
    place.write(&format!("{run}/snapshots/1000000.safetensors"), "late");
    assert_eq!(steps(&place, run), [wanted, vec![1_000_000]].concat());
    assert!(Folder::snapshots(&place.path("nowhere")).is_empty());
}

#[test]
fn members_of_an_ensemble_have_their_own_and_what_cannot_be_is_refused() {
    let place = Place::with_digits(300, 50);
    place.works(&format!("{DENSE} --epochs 1 --snapshots 1 --members 2"));
    for member in [1, 2] {
        assert_eq!(steps(&place, &format!("runs/0001-dense-ensemble/{member}")), [0, 10]);
    }
    place.refused("train gan --snapshots 3 --data data", &["--snapshots does not apply to a GAN"]);
    place.refused("train dense --snapshots -3 --data data", &["--snapshots", "-3"]);
    place.refused("train --resume runs/0001-dense-ensemble --snapshots 3", &["--snapshots", "--resume"]);
}
