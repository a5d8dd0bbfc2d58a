//! The panel that looks inside, driven by its accessible names.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use eframe::egui::{Event, Key, PointerButton, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::models::ModelFile;
use tempfile::TempDir;

use super::harness::{SIZE, THREE, Window};

fn inside(model: &str, shown: &str) -> Window {
    let mut window = Window::open(model);
    window.draw(THREE);
    window.reads("3");
    window.key(Key::F2);
    window.until("the layers are there", |window| window.has(shown));
    window
}

#[test]
fn a_click_into_a_layer_shows_kernel_and_arithmetic() {
    let mut window = inside("cnn", "conv1 unit 3");
    window.harness.get_by_label("conv1 unit 3").click();
    window.until("it is taken apart", |window| window.has("How it came about"));
    assert!(window.has("its kernel, 2 x 2") && window.has("unit 3 at row"));
    assert!(window.harness.query_by_label("kernel").is_some());
    assert!(window.has("sum = "));
    window.harness.get_by_label("Close").click();
    window.harness.step();
    window.harness.step();
    assert!(!window.has("How it came about"));
}

#[test]
fn a_click_into_a_folded_row_of_numbers_takes_apart_the_number_under_the_pointer() {
    let mut window = inside("dense", "flatten1 numbers");
    // The picture's 784 pixels, folded at 64.
    let rect = window.harness.get_by_label_contains("flatten1 numbers").rect();
    let pos = rect.min + vec2(5.5, 2.5) * (rect.width() / 64.0);
    window.harness.event(Event::PointerMoved(pos));
    window.harness.step();
    for pressed in [true, false] {
        window.button(pos, PointerButton::Primary, pressed);
        window.harness.step();
    }
    let number = 2 * 64 + 5;
    window.until("it is taken apart", |window| window.has(&format!("number {number} chosen")));
}

#[test]
fn no_line_of_the_arithmetic_is_cut_or_wrapped() {
    let mut window = inside("cnn", "conv1 unit 3");
    window.harness.get_by_label_contains("dense1 numbers").click_accesskit();
    window.until("it is taken apart", |window| window.has("How it came about"));
    // In lines that are seen whole all characters are of one width.
    let width = |line: egui_kittest::Node<'_>| {
        let text = line.accesskit_node().value().unwrap();
        line.rect().width() / text.chars().count() as f32
    };
    let widths: Vec<f32> = window.harness.query_all_by_label_contains(" = ").map(width).collect();
    assert!(widths.len() > 10 && widths.iter().all(|width| (width - widths[0]).abs() < 0.1), "{widths:?}");
}

#[test]
fn a_small_window_has_room_for_the_layers_until_a_value_is_chosen() {
    let mut window = Window::sized("cnn", vec2(720.0, 480.0));
    window.draw(THREE);
    window.reads("3");
    window.key(Key::F2);
    window.until("the layers are there", |window| window.has("conv1 unit 3"));
    let tops = [0, 3].map(|unit| window.harness.get_by_label(&format!("conv1 unit {unit}")).rect().top());
    assert_eq!(tops[0], tops[1], "they stand beside each other");
    window.harness.get_by_label("conv1 unit 3").click();
    window.until("it is taken apart", |window| window.has("How it came about"));
}

/// Number of coloured pixels in what the network sees; `None` if no adapter paints.
fn coloured(window: &mut Window) -> Option<usize> {
    let rect = window.harness.get_by_label_contains("what the network sees").rect();
    let image = window.harness.render().ok()?;
    let within = |x: u32, y: u32| rect.contains(pos2(x as f32, y as f32));
    let pixels = image.enumerate_pixels().filter(|(x, y, _)| within(*x, *y));
    Some(pixels.filter(|(_, _, pixel)| pixel.0[0].abs_diff(pixel.0[2]) > 40).count())
}

#[test]
fn saliency_and_occlusion_are_asked_of_a_class() {
    let mut window = inside("cnn", "conv1 unit 3");
    let plain = coloured(&mut window);
    let mut before = 0;
    for (over, class) in [("Saliency", "5"), ("Occlusion", "3"), ("Occlusion", "1")] {
        window.harness.get_by_label(over).click();
        window.harness.step();
        window.until("it can be asked", |window| window.has("is asked about"));
        window.harness.get_by_label("is asked about").click();
        window.harness.run_steps(3);
        window.harness.get_by_label(class).click();
        window.harness.run_steps(3);
        let name = format!("what the network sees, {} of {class}", over.to_lowercase());
        window.until("it is laid over the picture", |window| window.has(&name));
        window.harness.step();
        if let (Some(plain), Some(coloured)) = (plain, coloured(&mut window)) {
            assert!(plain == 0 && coloured > 50, "{over}: {plain}, {coloured}");
            assert!(coloured != before, "{over} of {class} is that of the class before");
            before = coloured;
        }
    }
    window.harness.get_by_label("Nothing").click();
    window.until("it is gone", |window| !window.has("what the network sees,"));
    assert!(window.app().shared().messages().is_empty());
}

#[test]
fn the_nearest_training_digits_of_a_three_are_threes() {
    let mut window = inside("dense", "dense1 numbers");
    window.harness.get_by_label("Find them").click();
    let threes = |window: &Window| window.harness.query_all_by_label_contains(", a 3,").count();
    window.until("threes are found", |window| threes(window) >= 5);
}

#[test]
fn the_nearest_training_digits_are_those_of_the_drawing_as_it_is_looked_into() {
    let mut window = Window::open("dense");
    // Prepared, it is as if it were in the middle.
    let aside: Vec<[f32; 2]> = THREE[0].iter().map(|[x, y]| [x + 0.27, *y]).collect();
    window.draw(&[&aside]);
    window.reads_at_all();
    window.key(Key::F2);
    window.harness.get_by_label("Find them").click();
    let found = |window: &Window| -> Vec<String> {
        let nodes = window.harness.query_all_by_label_contains("training digit ");
        nodes.filter_map(|node| node.accesskit_node().label()).collect()
    };
    window.until("all are looked at", |window| !found(window).is_empty() && !window.has(" looked at"));
    // The answer of the last turn.
    std::thread::sleep(Duration::from_millis(200));
    window.harness.run_steps(3);
    let prepared = found(&window);
    window.harness.get_by_label("As MNIST").click();
    window.harness.step();
    window.until("it has others as drawn", |window| !found(window).is_empty() && found(window) != prepared);
    window.harness.get_by_label("As MNIST").click();
    window.harness.step();
    window.until("prepared, it has those it had", |window| found(window) == prepared);
}

/// The window with the focus on the slider of a run's snapshots.
fn at_the_slider(folder: TempDir, model: PathBuf) -> Window {
    let mut window = Window::within(folder, Some(model), SIZE);
    window.key(Key::F2);
    window.until("the slider is there", |window| window.has("Watch it learn"));
    window.harness.get_by_label("Watch it learn").focus();
    window.harness.run_steps(3);
    window
}

#[test]
fn a_run_that_ended_before_it_had_a_best_model_has_no_place_for_one_on_the_slider() {
    let folder = tempfile::tempdir().unwrap();
    let [first, last] =
        ["000000", "000148"].map(|step| folder.path().join(format!("models/0001-fast/snapshots/{step}.safetensors")));
    std::fs::create_dir_all(first.parent().unwrap()).unwrap();
    for path in [&first, &last] {
        ModelFile::shipped("fast").unwrap().save(path).unwrap();
    }
    let mut window = at_the_slider(folder, last);
    window.key(Key::ArrowRight);
    window.harness.run_steps(3);
    assert!(window.has("after 148 steps") && window.app().shared().messages().is_empty());
    window.key(Key::ArrowLeft);
    window.until_reading(first.to_str().unwrap());
}

#[test]
fn a_snapshot_that_cannot_be_opened_leaves_the_slider_at_the_model_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("models/0001-fast");
    std::fs::create_dir_all(run.join("snapshots")).unwrap();
    ModelFile::shipped("fast").unwrap().save(run.join("best.safetensors")).unwrap();
    std::fs::write(run.join("snapshots/000148.safetensors"), b"nothing of the kind").unwrap();
    let mut window = at_the_slider(folder, run);
    window.key(Key::ArrowLeft);
    window.until("it is said", |window| window.has("000148.safetensors"));
    window.harness.run_steps(3);
    assert!(window.has("the best model") && !window.has("after 148 steps"));
}

#[test]
fn a_slider_goes_through_the_snapshots_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let trained = Command::new(env!("CARGO_BIN_EXE_inkgrad"))
        .args(["train", "dense", "--epochs", "1", "--batch", "500", "--snapshots", "4", "--quiet", "--device", "cpu"])
        .arg("--out")
        .arg(folder.path().join("models"))
        .output()
        .unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let run = folder.path().join("models/0001-dense");
    let mut window = at_the_slider(folder, run.clone());
    window.until_reading(run.to_str().unwrap());
    let read = std::fs::read_dir(run.join("snapshots")).unwrap();
    let mut snapshots: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    snapshots.sort();
    assert!(snapshots.len() > 2, "{snapshots:?}");
    // The slider is at the run's best model, which is no snapshot, and goes back step by step.
    assert!(window.has("the best model, of epoch 1"));
    for snapshot in snapshots.iter().rev() {
        window.key(Key::ArrowLeft);
        window.until_reading(snapshot.to_str().unwrap());
        let step: usize = snapshot.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        window.until("the step is said", |window| window.has(&format!("after {step} steps")));
    }
    for path in snapshots[1..].iter().chain([&run]) {
        window.key(Key::ArrowRight);
        window.until_reading(path.to_str().unwrap());
    }
    assert!(window.has("the best model, of epoch 1"));
    // Next time, it is the run that is opened.
    assert_eq!(window.app().shared().remembered.model, Some(run));
    assert_eq!(snapshots[0].file_name().unwrap(), "000000.safetensors");
}
