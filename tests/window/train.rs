//! The panel to train in, driven by its accessible names.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eframe::egui::{Key, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::models::ModelFile;

use super::harness::Window;

/// The window with the panel open, and settings for a short run.
fn open() -> Window {
    let mut window = Window::open("fast");
    window.key(Key::F4);
    window.harness.get_by_label("Images").click();
    window.harness.run_steps(3);
    window.harness.get_by_label("1,000").click();
    window.harness.run_steps(3);
    window
}

fn set(window: &mut Window, name: &str, value: &str) {
    window.harness.get_by_label(name).focus();
    window.harness.step();
    window.harness.key_press_modifiers(eframe::egui::Modifiers::COMMAND, Key::A);
    window.harness.step();
    window.harness.get_by_label(name).type_text(value);
    window.harness.step();
    window.harness.key_press(Key::Escape);
    window.harness.run_steps(2);
}

fn click(window: &mut Window, name: &str) {
    window.harness.get_by_label(name).click();
    window.harness.run_steps(2);
}

/// The window while a long run learns, with a file where its folder of models was.
fn open_with_nowhere_to_keep() -> (Window, PathBuf) {
    let mut window = open();
    set(&mut window, "Epochs", "1000");
    start(&mut window);
    let models = window.folder.path().join("models");
    std::fs::remove_dir_all(&models).unwrap();
    std::fs::write(&models, "a file in the way").unwrap();
    (window, models)
}

/// Starts a run, and waits for its first steps.
fn start(window: &mut Window) {
    click(window, "Start");
    window.until("it learns", |window| step(window) > 3);
}

fn until_shown(window: &mut Window, name: &str) {
    window.until(name, |window| window.harness.query_by_label(name).is_some());
}

fn said(window: &Window, part: &str) -> Option<String> {
    let node = window.harness.query_by_label_contains(part)?;
    // Plain text is a value and no label.
    node.accesskit_node().label().or_else(|| node.accesskit_node().value())
}

fn step(window: &Window) -> usize {
    let line = said(window, "step ").filter(|line| line.contains(" of "));
    line.and_then(|line| line.split(' ').nth(1)?.replace(',', "").parse().ok()).unwrap_or(0)
}

/// Percentage of the watched digits that are read right.
fn watched(window: &Window) -> f64 {
    let line = said(window, "Accuracy: ").unwrap_or_default();
    line.split("watched ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[test]
fn a_small_run_learns_pauses_steps_and_is_kept() {
    let mut window = open();
    set(&mut window, "Epochs", "100");
    click(&mut window, "Start");
    window.until("it reads four of five", |window| watched(window) > 80.0);
    click(&mut window, "Pause");
    until_shown(&mut window, "Paused");
    let before = step(&window);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        window.harness.step();
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(step(&window), before);
    }
    click(&mut window, "One step");
    window.until("it has stepped", |window| step(window) == before + 1);
    // The keys do the same.
    window.key(Key::S);
    window.until("it has stepped again", |window| step(window) == before + 2);
    window.key(Key::Space);
    window.until("it goes on", |window| step(window) > before + 2);
    window.key(Key::Space);
    until_shown(&mut window, "Paused");
    assert!(said(&window, "Loss: ").is_some_and(|loss| loss.contains("mean (label smoothing 0.05) ")));
    assert!(said(&window, "Accuracy: ").is_some_and(|accuracy| accuracy.contains("mean ")));
    assert!(window.has("filters of conv1: 32 pictures of 5 by 5"));
    assert!(window.harness.query_all_by_label_contains("mistake: a ").next().is_some());

    click(&mut window, "Keep");
    window.until("it is kept", |window| window.has("Kept as "));
    let path = window.folder.path().join("models/live-fast-0001.safetensors");
    ModelFile::load(&path).unwrap();
    assert!(window.app().shared().menu.found.iter().any(|entry| entry.path == path));
    click(&mut window, "Read with it");
    until_shown(&mut window, "Field to draw on");
    window.until_reading(path.to_str().unwrap());
    window.key(Key::F4);
    click(&mut window, "Stop");
    until_shown(&mut window, "Stopped");
}

#[test]
fn what_is_kept_and_what_was_learned_outlast_the_run() {
    let mut window = open();
    set(&mut window, "Epochs", "1000");
    let models = window.folder.path().join("models");
    let [kept, saved] = ["0001", "latest"].map(|name| models.join(format!("live-fast-{name}.safetensors")));
    start(&mut window);
    click(&mut window, "Stop");
    window.until("it is saved", |window| window.has("Saved as "));
    let step_saved = ModelFile::load(&saved).unwrap().metadata["step"].clone();
    assert_eq!(step(&window).to_string(), step_saved, "what is seen is of the model that is saved");
    assert!(window.app().shared().menu.found.iter().any(|entry| entry.path == saved));
    click(&mut window, "Read with it");
    window.until_reading(saved.to_str().unwrap());
    window.key(Key::F4);
    // A run that is stopped before it has been kept is kept all the same.
    start(&mut window);
    window.harness.get_by_label("Keep").click();
    window.harness.step();
    window.harness.get_by_label("Stop").click();
    window.until("it is kept", |window| window.has("Kept as "));
    ModelFile::load(&kept).unwrap();
    // A window that closes waits for what it has learned to be written.
    window.app().finish();
    std::fs::remove_file(&saved).unwrap();
    start(&mut window);
    window.app().finish();
    ModelFile::load(&saved).unwrap();
}

#[test]
fn a_model_that_makes_way_for_another_runs_is_read_on_under_its_new_name() {
    let mut window = open();
    set(&mut window, "Epochs", "1000");
    let models = window.folder.path().join("models");
    let [latest, before] = ["latest", "before"].map(|name| models.join(format!("live-fast-{name}.safetensors")));
    let run = |window: &mut Window| {
        window.key(Key::F4);
        start(window);
        click(window, "Stop");
        window.until("it is saved", |window| window.has("Saved as "));
    };
    run(&mut window);
    click(&mut window, "Read with it");
    window.until_reading(latest.to_str().unwrap());
    let first = std::fs::read(&latest).unwrap();
    run(&mut window);
    window.until_reading(before.to_str().unwrap());
    assert!(std::fs::read(&before).unwrap() == first);
    assert!(window.app().shared().messages().is_empty());
    // Now the file is replaced, and that is said.
    run(&mut window);
    window.until("it is said", |window| window.has("live-fast-before.safetensors has been replaced"));
    window.until_reading(before.to_str().unwrap());
}

#[test]
fn a_window_that_closes_remembers_the_new_name_of_the_model_that_it_reads_with() {
    let mut window = open();
    set(&mut window, "Epochs", "1000");
    let models = window.folder.path().join("models");
    let [latest, before] = ["latest", "before"].map(|name| models.join(format!("live-fast-{name}.safetensors")));
    start(&mut window);
    click(&mut window, "Stop");
    window.until("it is saved", |window| window.has("Saved as "));
    click(&mut window, "Read with it");
    window.until_reading(latest.to_str().unwrap());
    window.key(Key::F4);
    start(&mut window);
    assert_eq!(window.app().shared().remembered.model, Some(latest));
    window.app().finish();
    assert_eq!(window.app().shared().remembered.model, Some(before));
}

#[test]
fn a_model_is_followed_by_its_path_from_this_folder_where_it_was_opened_by_its_whole_path() {
    let mut window = Window::open("fast");
    let [from, to] = ["models/dense.safetensors", "models/fast.safetensors"].map(Path::new);
    let [old, new] = [from, to].map(|path| std::path::absolute(path).unwrap());
    window.app().shared().open(&old);
    window.until_reading(old.to_str().unwrap());
    window.app().shared().follow(from, to);
    window.until_reading(to.to_str().unwrap());
    assert_eq!(window.app().shared().remembered.model, Some(new));
}

#[test]
fn a_model_that_was_just_chosen_opens_though_the_one_before_it_is_renamed_meanwhile() {
    let mut window = Window::open("fast");
    let shared = window.app().shared();
    shared.open(Path::new("dense"));
    shared.follow(Path::new("fast"), Path::new("cnn"));
    window.until_reading("dense");
    assert_eq!(window.app().shared().remembered.model.as_deref(), Some(Path::new("dense")));
}

#[test]
fn what_could_not_be_kept_is_said_until_it_is() {
    let (mut window, models) = open_with_nowhere_to_keep();
    click(&mut window, "Keep");
    window.until("it is said", |window| window.has("the model is not kept"));
    std::fs::remove_file(&models).unwrap();
    click(&mut window, "Keep");
    window.until("it is kept", |window| window.has("Kept as "));
    assert!(!window.has("the model is not kept"));
}

#[test]
fn a_window_that_cannot_write_what_was_learned_says_so_when_it_closes() {
    let (mut window, _) = open_with_nowhere_to_keep();
    let problems = window.app().finish();
    assert!(problems.len() == 1 && problems[0].contains("the model is not kept"), "{problems:?}");
    // That run has ended, so nothing more is lost.
    assert!(window.app().finish().is_empty());
}

#[test]
fn all_that_is_seen_of_a_run_fits_into_the_smallest_window() {
    let mut window = Window::sized("fast", vec2(720.0, 480.0));
    window.key(Key::F4);
    click(&mut window, "Start");
    window.until("there are mistakes", |window| window.has("mistake: a "));
    for part in ["Accuracy: ", "mistake: a "] {
        for node in window.harness.query_all_by_label_contains(part) {
            assert!(node.rect().right() <= 720.0, "{part}{:?}", node.rect());
        }
    }
}

#[test]
fn what_will_not_do_is_a_message_and_it_can_be_started_again() {
    let mut window = open();
    for (name, value, problem) in [
        ("Learning rate", "fast", "Learning rate is \"fast\"; it must be a number above 0"),
        ("Learning rate", "1e30", "Choose a smaller learning rate than"),
        ("Batch", "4000", "Batch is 4000; it must be a number from 1 to 1000"),
    ] {
        let right = if name == "Batch" { "64" } else { "0.01" };
        set(&mut window, name, value);
        click(&mut window, "Start");
        window.until(problem, |window| window.has(problem));
        set(&mut window, name, right);
        // A mistake in the form is no longer said once it is mended.
        assert!(!window.has("it must be"), "{name}");
    }
    // A network with batch norm survives much without learning anything.
    set(&mut window, "Learning rate", "10");
    click(&mut window, "Start");
    window.until("it is warned of", |window| window.has("smaller learning rate than 10, and start again"));
    until_shown(&mut window, "Done");
    set(&mut window, "Learning rate", "0.01");
    click(&mut window, "Start");
    window.until("it is done", |window| {
        window.harness.query_by_label("Done").is_some() && !window.has("smaller learning rate")
    });
    assert_eq!(step(&window), 16);
    assert!(!window.has("it must be"));
    // What was learned outlasts a mistake in the next run's settings.
    set(&mut window, "Batch", "0");
    click(&mut window, "Start");
    window.until("it is said", |window| window.has("Batch is 0"));
    assert!(window.harness.query_by_label("Done").is_some() && step(&window) == 16);
    click(&mut window, "Keep");
    window.until("it is kept", |window| window.has("Kept as "));
}

#[test]
fn that_a_run_is_done_or_has_failed_is_told_in_any_panel_and_shown_in_its_own() {
    let mut window = open();
    for (rate, told, shown) in
        [("0.01", "Train: the run is done", "Done"), ("1e30", "Train: The loss stopped being a finite number", "Ended")]
    {
        set(&mut window, "Learning rate", rate);
        click(&mut window, "Start");
        window.key(Key::F1);
        window.until("it is told", |window| window.has(told));
        window.key(Key::F4);
        until_shown(&mut window, shown);
        assert!(!window.has(told));
    }
}

#[test]
fn nothing_is_repainted_while_nothing_happens() {
    let mut window = open();
    click(&mut window, "Start");
    until_shown(&mut window, "Done");
    // The harness gives up if a frame is still asked for after fifty of them.
    assert!(window.harness.try_run().is_ok());
}
