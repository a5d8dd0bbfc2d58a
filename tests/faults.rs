//! Faults that real processes meet: each is caused, and the run goes on or ends with the command that resumes it.
//!
//! `tests/faults/table.sh` makes the table in docs/faults.md from what these tests see.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Said, said};
use inkgrad::models::ModelFile;

const CPU: &str = "train dense --data data --validation 100 --epochs 40 --device cpu";
const GPU: &str = "train dense --data data --validation 100 --epochs 16 --device llvmpipe";
const RUN: &str = "runs/0001-dense";

/// Writes a row of the table, if one is asked for: the fault, how it was caused, what was seen, what was lost.
fn row(number: u32, fault: &str, cause: &str, saw: &Said, lost: &str) {
    let Some(folder) = std::env::var_os("INKGRAD_FAULT_TABLE") else { return };
    let seen = saw.err.lines().chain(saw.out.lines()).filter(|line| {
        ["error", "warning", "saved", "nothing", "stopped", "test accuracy"].iter().any(|word| line.starts_with(word))
    });
    let seen: Vec<String> = seen.map(|line| without_place(line).replace('|', "\\|")).collect();
    let text = format!("| {fault} | {cause} | {} | {lost} |\n", seen.join("<br>"));
    std::fs::write(Path::new(&folder).join(format!("{number:02}")), text).unwrap();
}

/// A line without the folder that the test works in.
fn without_place(line: &str) -> String {
    let word = |word: &str| match (word.find("/tmp"), word.find("/runs/")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &word[..from], &word[to + 1..]),
        (Some(from), _) => format!("{}{}", &word[..from], word.rsplit('/').next().unwrap_or_default()),
        _ => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn place() -> Place {
    Place::with_digits(1000, 200)
}

/// A place with the software GPU, or `None` if there is none and none is required.
fn with_gpu() -> Option<Place> {
    let place = place();
    place.has_software_gpu().then_some(place)
}

fn faulty(place: &Place, line: &str, fault: &str) -> Said {
    said(place.command(line).env("INKGRAD_FAULT", fault).output().unwrap())
}

/// An error that says what is kept and how to go on.
#[track_caller]
fn ended(said: &Said, words: &[&str]) -> String {
    assert_eq!(said.code, Some(1), "{said:#?}");
    for word in words.iter().chain(&["error: ", "continue "]) {
        assert!(said.err.contains(word), "no {word:?} in {said:#?}");
    }
    assert!(!said.err.contains("panicked"), "{said:#?}");
    let command = said.err.lines().find_map(|line| line.split_once(" with: inkgrad "));
    command.unwrap_or_else(|| panic!("no command in {said:#?}")).1.to_owned()
}

/// The step that a message says is saved.
fn saved(said: &Said) -> u32 {
    let after = said.err.split("saved up to step ").nth(1).unwrap_or_else(|| panic!("{said:#?}"));
    after.split(';').next().unwrap().parse().unwrap()
}

fn lost(said: &Said) -> String {
    match said.err.contains("nothing is saved yet") {
        true => "all steps, which were done again".into(),
        false => format!("the steps after step {}, which were done again", saved(said)),
    }
}

#[track_caller]
fn same_as_never_stopped(place: &Place, line: &str) {
    place.works(&format!("{line} --out whole"));
    for name in ["best.safetensors", "last.safetensors", "metrics.csv", "curves.png", "result.toml"] {
        let same = place.read(&format!("{RUN}/{name}")) == place.read(&format!("whole/0001-dense/{name}"));
        assert!(same, "{name} differs from that of a run never stopped");
    }
    assert_eq!(place.names(RUN), place.names("whole/0001-dense"));
}

// GPUs.

#[test]
fn a_lost_device_ends_the_run_with_the_command_that_goes_on_or_hands_over_to_the_cpu() {
    let Some(place) = with_gpu() else { return };
    let said = faulty(&place, GPU, "lose-device@3");
    let command = ended(&said, &["lost", "--device cpu"]);
    place.works(&command);
    row(1, "device lost", "`lose-device@3`: the device is destroyed before its 3rd submission", &said, &lost(&said));

    let said = faulty(&place, &format!("{GPU} --fallback"), "lose-device@3");
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains("Continuing on the CPU, from ") && said.out.contains("test accuracy"), "{said:#?}");
    row(2, "device lost, `--fallback`", "the same", &said, "the steps after that, which the CPU did again");
}

#[test]
fn memory_that_runs_out_at_the_first_buffer_or_later_is_an_error_that_names_it() {
    let Some(place) = with_gpu() else { return };
    let said = faulty(&place, GPU, "out-of-memory@1");
    place.works(&ended(&said, &["out of memory for", "bytes", "smaller batch", "nothing is saved yet"]));
    row(3, "out of memory, on allocation", "`out-of-memory@1`: the driver refuses the first buffer", &said, "nothing");
    let said = faulty(&place, &format!("{GPU} --out later"), "out-of-memory@110");
    place.works(&ended(&said, &["out of memory for", "later/0001-dense"]));
    row(
        4,
        "out of memory, in the middle",
        "`out-of-memory@110`: the driver refuses the 110th thing that it is asked for",
        &said,
        &lost(&said),
    );
}

#[test]
fn images_that_a_device_has_no_memory_for_are_sent_as_steps_need_them_and_make_the_same_model() {
    // More images than are sent at once.
    let place = Place::with_digits(22_000, 200);
    if !place.has_software_gpu() {
        return;
    }
    let line = |out: &str| format!("{} --out {out}", GPU.replace("--epochs 16", "--epochs 1"));
    let plain = said(place.command(&line("plain")).output().unwrap());
    let sent = faulty(&place, &line("sent"), "out-of-memory@1");
    assert!(plain.code == Some(0) && sent.code == Some(0), "{plain:#?} {sent:#?}");
    for words in ["out of memory for", "sent as steps need them"] {
        assert!(sent.err.contains(words) && !plain.err.contains(words), "{plain:#?} {sent:#?}");
    }
    let model = |out: &str| std::fs::read(place.path(&format!("{out}/0001-dense/best.safetensors"))).unwrap();
    assert!(model("plain") == model("sent"));
}

#[test]
fn a_pipeline_that_does_not_compile_is_an_error_that_names_the_op() {
    let Some(place) = with_gpu() else { return };
    let said = faulty(&place, GPU, "no-pipeline@2");
    place.works(&ended(&said, &["llvmpipe", "Shader", "--device cpu"]));
    row(5, "a pipeline that does not compile", "`no-pipeline@2`: the second shader is no WGSL", &said, "nothing");
}

#[test]
fn a_dispatch_that_never_ends_is_given_up_after_a_while() {
    let Some(place) = with_gpu() else { return };
    let began = Instant::now();
    let said = faulty(&place, GPU, "hang@3");
    let command = ended(&said, &["gave no answer for 2 seconds", "stuck"]);
    assert!(began.elapsed() < Duration::from_secs(60), "took {:?}", began.elapsed());
    place.works(&command);
    let cause = "`hang@3`: a shader that loops for ever, and a patience of 2 seconds (300 otherwise)";
    row(6, "a hung dispatch", cause, &said, &lost(&said));
}

#[test]
fn work_that_a_device_has_left_out_and_says_is_done_ends_the_run_before_anything_is_made_of_it() {
    let Some(place) = with_gpu() else { return };
    let said = faulty(&place, GPU, "drop-work@3");
    let command = ended(&said, &["left out work", "smaller batch", "--device cpu"]);
    place.works(&command);
    row(
        19,
        "work left out",
        "`drop-work@3`: the device leaves out its 3rd submission and says that it is done",
        &said,
        &lost(&said),
    );
    let said = faulty(&place, "evaluate dense --data data --device llvmpipe", "drop-work@1");
    assert!(said.code == Some(1) && said.err.contains("left out work"), "{said:#?}");
}

// Disks.

/// A file system of its own, if the test may mount one as root.
struct Disk(PathBuf);

impl Disk {
    fn new(at: PathBuf, size: &str) -> Option<Disk> {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).stderr(Stdio::null());
        mount.status().ok().filter(|status| status.success()).map(|_| Disk(at))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_with_what_was_saved_before_and_the_run_goes_on_when_there_is_room() {
    let place = place();
    let disk = Disk::new(place.path("runs"), "1500k");
    let said = match &disk {
        Some(_) => place.run(CPU),
        None => faulty(&place, CPU, "full-disk@last.safetensors"),
    };
    let command = ended(&said, &["once it can be written again"]);
    // The system's words, or the hook's.
    assert!(["No space left", "no storage space"].iter().any(|words| said.err.contains(words)), "{said:#?}");
    let left_over = |name: &String| name.ends_with(".tmp");
    assert!(!place.names(RUN).iter().any(left_over), "{:?}", place.names(RUN));
    for name in place.names(RUN).iter().filter(|name| name.ends_with(".safetensors")) {
        ModelFile::load(place.path(RUN).join(name)).unwrap();
    }
    if let Some(disk) = &disk {
        disk.remount("size=100m");
    }
    place.works(&command);
    same_as_never_stopped(&place, CPU);
    let cause = if disk.is_some() { "`--out` on a tmpfs of 1,500 KB" } else { "`full-disk@last.safetensors`" };
    row(7, "a full disk", cause, &said, &lost(&said));
}

#[test]
fn a_file_that_another_program_has_open_is_written_the_next_time_and_the_run_goes_on() {
    // In the middle of a run and after its end: the metrics, or a file that is written after them.
    for (file, line) in [
        ("2:metrics.csv", CPU),
        ("3:best.safetensors", CPU),
        ("3:last.safetensors", &CPU.replace("--epochs 40", "--epochs 1")),
    ] {
        let place = place();
        let said = faulty(&place, line, &format!("hold-file@{file}"));
        assert_eq!(said.code, Some(0), "{file}: {said:#?}");
        let name = file.split(':').next_back().unwrap();
        let told =
            format!("{name}: another program has it open; close it there. Until then nothing more of the run is");
        assert_eq!(said.err.matches(&told).count(), 1, "{file}: {said:#?}");
        same_as_never_stopped(&place, line);
        if name == "metrics.csv" {
            row(
                20,
                "a file open elsewhere",
                "`hold-file@2:metrics.csv`: as Windows refuses to replace it",
                &said,
                "nothing",
            );
        }
    }
}

#[test]
fn nothing_of_a_run_waits_for_curves_that_another_program_has_open() {
    let told = "curves.png: another program has it open, so that it lacks the run's last steps";
    for (times, is_told) in [("1", false), ("1000000", true)] {
        let place = place();
        let said = faulty(&place, CPU, &format!("hold-file@{times}:curves.png"));
        assert_eq!((said.code, said.err.contains(told)), (Some(0), is_told), "{said:#?}");
        assert!(!said.err.contains("nothing more of the run is"), "{said:#?}");
        place.works(&format!("train --resume {RUN}"));
        same_as_never_stopped(&place, CPU);
    }
}

#[test]
fn a_run_that_ends_before_anything_of_it_could_be_saved_starts_over() {
    let place = place();
    let said = faulty(&place, CPU, "hold-file@1000000:metrics.csv;not-finite@7");
    assert!(said.code == Some(1) && said.err.contains("nothing more of the run is"), "{said:#?}");
    for name in ["best.safetensors", "last.safetensors", "metrics.csv"] {
        assert!(!place.path(RUN).join(name).exists(), "{name}: {said:#?}");
    }
    place.works(&format!("train --resume {RUN}"));
    same_as_never_stopped(&place, CPU);
}

#[test]
fn a_folder_that_may_not_be_written_is_named_before_anything_is_trained() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let disk = Disk::new(place.path("runs"), "10m");
    let cause = match &disk {
        Some(disk) => {
            disk.remount("ro");
            "`--out` on a file system mounted read-only"
        }
        None => {
            std::fs::set_permissions(place.path("runs"), PermissionsExt::from_mode(0o555)).unwrap();
            "`--out` in a folder of mode 555"
        }
    };
    let said = place.run(CPU);
    assert_eq!(said.code, Some(1), "{said:#?}");
    let reason = if disk.is_some() { "Read-only file system" } else { "Permission denied" };
    assert!(said.err.contains("error: --out runs") && said.err.contains(reason), "{said:#?}");
    assert!(!said.err.contains("Expected a folder"), "it is one: {said:#?}");
    row(8, "a read-only folder", cause, &said, "nothing: it does not begin");
    std::fs::set_permissions(place.path("runs"), PermissionsExt::from_mode(0o755)).ok();
}

#[test]
fn a_run_that_another_process_trains_is_left_alone() {
    let place = place();
    let mut first = place.start(&CPU.replace("--epochs 40", "--epochs 100000"));
    let began = Instant::now();
    while !place.path(RUN).join("last.safetensors").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let settings = place.text(&format!("{RUN}/config.toml"));
    place.digits("moved", 1000, 200);
    let said = place.run(&format!("train --resume {RUN} --data moved"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert_eq!(place.text(&format!("{RUN}/config.toml")), settings, "it was changed beneath the first");
    assert!(said.err.contains("another process is training in it"), "{said:#?}");
    row(9, "a run folder in use", "`train --resume` while its run goes on", &said, "nothing: the first goes on");
}

// Signals.

/// Starts a run, and sends it a signal in the middle.
fn signalled(place: &Place, signal: &str) -> Said {
    let child = place.start(CPU);
    let began = Instant::now();
    while !place.path(RUN).join("last.safetensors").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    said(child.wait_with_output().unwrap())
}

#[test]
fn interrupted_terminated_and_killed_runs_go_on_and_lose_no_more_than_they_must() {
    for (number, signal, fault) in [(10, "-INT", "SIGINT"), (11, "-TERM", "SIGTERM"), (12, "-KILL", "SIGKILL")] {
        let place = place();
        let said = signalled(&place, signal);
        let what_was_lost = if signal == "-KILL" {
            assert_eq!(said.code, None, "{said:#?}");
            "the steps since the last checkpoint, which were done again"
        } else {
            assert_eq!(said.code, Some(130), "{said:#?}");
            assert!(said.err.contains(&format!("Continue with: inkgrad train --resume {RUN}")), "{said:#?}");
            "nothing"
        };
        place.works(&format!("train --resume {RUN}"));
        same_as_never_stopped(&place, CPU);
        row(number, fault, &format!("`kill {signal}` in the middle"), &said, what_was_lost);
    }
}

#[test]
fn signals_that_come_together_stop_and_save_as_one_does() {
    let place = place();
    let child = place.start("train dense --data data --validation 100 --epochs 100000 --device cpu");
    let began = Instant::now();
    while !place.path(RUN).join("last.safetensors").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // `timeout` sends one signal to the child and one to its group. The system may merge two that are alike.
    let id = child.id();
    let both = format!("kill -INT {id}; kill -TERM {id}");
    assert!(Command::new("sh").args(["-c", &both]).status().unwrap().success());
    let stopped = said(child.wait_with_output().unwrap());
    assert_eq!(stopped.code, Some(130), "{stopped:#?}");
    let saved = stopped.err.contains("; saved. Continue with: inkgrad train --resume runs/0001-dense");
    assert!(saved, "{stopped:#?}");
}

// Clocks.

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let place = place();
    let library = place.path("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/clock.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    if !built.is_ok_and(|status| status.success()) || !cfg!(target_os = "linux") {
        eprintln!("\n*** SKIPPED: no C compiler, or no Linux; clocks that jump were not tested ***\n");
        return;
    }
    let said = said(place.command(CPU).env("LD_PRELOAD", &library).output().unwrap());
    assert_eq!(said.code, Some(0), "{said:#?}");
    same_as_never_stopped(&place, CPU);
    let cause =
        "`tests/faults/clock.c`: the time of day goes back and forth by years, and hours pass between two looks";
    row(13, "a clock that jumps", cause, &said, "nothing");
}

// Numbers.

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_a_command_that_goes_on_from_before() {
    let place = place();
    let said = faulty(&place, CPU, "not-finite@25");
    let command = ended(&said, &["the loss is not a number from step", "continue from there", "--learning-rate"]);
    place.works(&command);
    let settings = |run: &str| std::fs::read_to_string(place.path(run).join("config.toml")).unwrap();
    let (was, is) = (settings(RUN), settings("runs/0002-dense"));
    for line in was.lines().filter(|line| !line.starts_with("learning_rate")) {
        assert!(is.contains(line), "{line} is not in {is}");
    }
    row(14, "NaN in the loss", "`not-finite@25`: in the 25th chunk of steps", &said, &lost(&said));
    let said = place.run("train dense --data data --device cpu --learning-rate 1e30 --out high");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("smaller --learning-rate than 1e30"), "{said:#?}");
    row(15, "infinite weights", "`--learning-rate 1e30`", &said, "all steps: there was none that was good");
}

// Checkpoints.

/// A run that ended in the middle, with two checkpoints.
fn halted() -> Place {
    let place = place();
    let said = faulty(&place, CPU, "not-finite@30");
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(place.path(RUN).join("previous.safetensors").exists(), "{:?}", place.names(RUN));
    place
}

fn damage(place: &Place, name: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = place.read(&format!("{RUN}/{name}"));
    change(&mut bytes);
    place.write(&format!("{RUN}/{name}"), bytes);
}

#[test]
fn of_a_damaged_checkpoint_the_one_before_is_used_and_it_is_said() {
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let alter = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    type Damage<'a> = (u32, &'a str, &'a str, &'a dyn Fn(&mut Vec<u8>), &'a str);
    let cases: [Damage; 2] = [
        (16, "a checkpoint cut off", "`last.safetensors` cut in half", &cut, "cut off"),
        (17, "a checkpoint altered", "a bit of `last.safetensors` turned over", &alter, "altered since it was written"),
    ];
    for (number, fault, cause, change, word) in cases {
        let place = halted();
        damage(&place, "last.safetensors", change);
        let said = place.works(&format!("train --resume {RUN}"));
        let told = said.err.lines().any(|line| {
            line.starts_with("warning: ") && line.contains(word) && line.contains("the checkpoint before it")
        });
        assert!(told, "{said:#?}");
        same_as_never_stopped(&place, CPU);
        row(number, fault, cause, &said, "the steps between the two checkpoints, which were done again");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_not_taken_for_damaged() {
    let place = halted();
    let last = place.path(RUN).join("last.safetensors");
    std::fs::rename(&last, place.path("aside")).unwrap();
    std::fs::create_dir(&last).unwrap();
    place.refused(&format!("train --resume {RUN}"), &["cannot read", "last.safetensors"]);
    assert!(place.path(RUN).join("previous.safetensors").exists(), "{:?}", place.names(RUN));
}

#[test]
fn where_no_checkpoint_is_whole_the_run_says_so_and_touches_nothing() {
    let place = halted();
    for name in ["last.safetensors", "previous.safetensors"] {
        damage(&place, name, |bytes| bytes.truncate(100));
    }
    place.refused(&format!("train --resume {RUN}"), &["cut off", "There is no other checkpoint"]);
}
