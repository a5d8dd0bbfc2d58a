//! The panel where a generator draws, used as a person would use it: by the names of its controls.

use std::path::{Path, PathBuf};
use std::time::Duration;

use eframe::egui::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::app::{App, Memory, Options, Panel, Remembered, Theme};
use inkgrad::device::Choice;
use inkgrad::models::ModelFile;
use tempfile::TempDir;

/// The window with the Dream panel open.
fn window(size: [f32; 2], theme: Theme) -> (Harness<'static>, TempDir) {
    let folder = TempDir::new().unwrap();
    let remembered = Remembered { panel: Panel::Dream, theme, ..Remembered::default() };
    (within(&folder, &remembered, None, size), folder)
}

/// The window in a folder, opened with a model.
fn within(folder: &TempDir, remembered: &Remembered, model: Option<PathBuf>, size: [f32; 2]) -> Harness<'static> {
    let memory = Memory { folder: Some(folder.path().to_owned()) };
    memory.save(remembered).unwrap();
    let models = folder.path().join("runs");
    let mut options = Some(Options { choice: Choice::Cpu, model, models, memory });
    let mut app = None;
    Harness::builder().with_size(size).build_ui(move |ui| {
        if let Some(options) = options.take() {
            app = Some(App::new(ui.ctx(), options));
        }
        if let Some(app) = &mut app {
            app.show(ui);
        }
    })
}

fn count(harness: &Harness, said: &str) -> usize {
    harness.query_all_by_label_contains(said).filter(|node| node.accesskit_node().role() == Role::Button).count()
}

/// Runs frames until it is so, for a limited time.
fn until(harness: &mut Harness, what: &str, mut is_so: impl FnMut(&Harness) -> bool) {
    for _ in 0..3000 {
        harness.step();
        if is_so(harness) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came to that: {what}");
}

fn press(harness: &mut Harness, name: &str) {
    harness.get_by_role_and_label(Role::Button, name).click();
    harness.step();
}

#[test]
fn a_class_that_is_chosen_is_drawn_and_the_judge_reads_it() {
    let (mut harness, _folder) = window([1024.0, 700.0], Theme::Dark);
    until(&mut harness, "a grid of zeros", |harness| count(harness, "Read as 0") >= 20);
    press(&mut harness, "7");
    until(&mut harness, "a grid of sevens", |harness| count(harness, "Read as 7") >= 20);
    assert_eq!(count(&harness, "Picture "), 25);
    assert!(harness.query_by_label_contains("of 25 read as asked").is_some());

    press(&mut harness, "Even");
    until(&mut harness, "no class is asked for", |harness| {
        harness.query_by_label_contains("none is asked for").is_some()
    });
    press(&mut harness, "3");
    press(&mut harness, "One");
    until(&mut harness, "one picture", |harness| harness.query_by_label_contains("The picture: Read as 3").is_some());
    press(&mut harness, "From A to B");
    until(&mut harness, "a way", |harness| count(harness, "Picture ") == 16);
    // Nothing is left to do.
    harness.run();
}

#[test]
fn a_generator_that_the_window_is_opened_with_draws_whatever_panel_was_open() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.safetensors");
    ModelFile::shipped("gan").unwrap().save(&path).unwrap();
    for (model, name) in [(path, "mine.safetensors"), ("gan".into(), "gan")] {
        let remembered = Remembered { panel: Panel::Draw, ..Remembered::default() };
        let mut harness = within(&folder, &remembered, Some(model), [1024.0, 700.0]);
        until(&mut harness, "a grid of zeros", |harness| count(harness, "Read as 0") >= 20);
        assert_eq!(harness.get_by_label("Generator").accesskit_node().value().as_deref(), Some(name));
    }
}

#[test]
fn a_damaged_generator_that_the_window_is_opened_with_leaves_the_one_of_last_time() {
    let folder = TempDir::new().unwrap();
    let [damaged, mine] = ["damaged.safetensors", "mine.safetensors"].map(|name| folder.path().join(name));
    let whole = ModelFile::shipped("gan").unwrap().to_bytes(&mine).unwrap();
    std::fs::write(&mine, &whole).unwrap();
    std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    let remembered = Remembered { generator: Some(mine), ..Remembered::default() };
    let mut harness = within(&folder, &remembered, Some(damaged), [1024.0, 700.0]);
    until(&mut harness, "a grid of zeros", |harness| count(harness, "Read as 0") >= 20);
    assert_eq!(harness.get_by_label("Generator").accesskit_node().value().as_deref(), Some("mine.safetensors"));
    assert!(harness.query_by_label_contains("damaged.safetensors").is_some());
}

#[test]
fn a_generator_is_taken_on_the_command_line_and_one_that_is_cut_off_is_refused_there() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: there is always a display here");
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cut-off.safetensors");
    let whole = ModelFile::shipped("gan").unwrap().to_bytes(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    for (model, problem) in [(Path::new("gan"), "no window can be opened"), (&path, "cut-off.safetensors")] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_inkgrad"));
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
            command.env_remove(name);
        }
        let said = command.args(["app", "--device", "cpu"]).arg(model).output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(text.contains(problem) && said.status.code() == Some(1), "{text}");
    }
}

#[test]
fn a_picture_of_the_grid_becomes_the_current_one_and_goes_to_the_field() {
    let (mut harness, _folder) = window([1920.0, 1080.0], Theme::Light);
    until(&mut harness, "a grid", |harness| count(harness, "Picture ") == 25);
    // By way of a view of another size: until its pictures come, those of the previous view are shown.
    press(&mut harness, "From A to B");
    until(&mut harness, "a way", |harness| count(harness, "Picture ") == 16);
    press(&mut harness, "Around it");
    until(&mut harness, "small changes", |harness| count(harness, "Picture ") == 25);
    let ninth = harness.query_all_by_label_contains("Picture 9:").next().unwrap();
    let said = ninth.accesskit_node().label().unwrap();
    ninth.click();
    until(&mut harness, "it was chosen", |harness| harness.query_by_label("Back to the seed").is_some());
    // The judge says the same of it, to the tenth of a percent.
    let reading = said.strip_prefix("Picture 9: ").unwrap().to_owned();
    press(&mut harness, "One");
    let alone = format!("The picture: {reading}");
    until(&mut harness, "it is shown alone", |harness| harness.query_by_label(&alone).is_some());
    press(&mut harness, "To the field");
    until(&mut harness, "the field", |harness| harness.query_by_label("Field to draw on").is_some());
    let class = reading.strip_prefix("Read as ").and_then(|rest| rest.split(',').next()).unwrap().to_owned();
    until(&mut harness, "the picture is read", |harness| {
        let winners: Vec<String> = harness
            .query_all_by_label_contains(", the winner")
            .filter_map(|node| node.accesskit_node().label())
            .collect();
        winners.iter().any(|winner| winner.starts_with(&format!("class {class}: ")))
    });
}

#[test]
fn both_themes_are_drawn_at_small_and_large_sizes() {
    for (size, theme) in [([1024.0, 700.0], Theme::Dark), ([1920.0, 1080.0], Theme::Light)] {
        let (mut harness, _folder) = window(size, theme);
        until(&mut harness, "a grid", |harness| count(harness, "Read as ") >= 25);
        for view in ["Other seeds", "From A to B", "One"] {
            press(&mut harness, view);
            let is_there = |harness: &Harness| match view {
                "One" => {
                    harness.query_by_label_contains("The picture: Read as").is_some() && count(harness, "Picture ") == 0
                }
                "From A to B" => count(harness, "Picture ") == 16,
                _ => count(harness, "Picture ") == 25,
            };
            until(&mut harness, view, is_there);
            harness.step();
            let picture = harness.render().unwrap();
            assert_eq!(picture.dimensions(), (size[0] as u32, size[1] as u32));
            // Beside the buttons there is nothing but the theme's own colour.
            let [shade, ..] = picture.get_pixel(12, 20).0;
            let fits = if theme == Theme::Dark { shade < 80 } else { shade > 180 };
            assert!(fits, "{theme:?}: {shade}");
            // Saved to be looked at.
            let name = format!("dream-{theme:?}-{}.png", view.replace(' ', "-"));
            picture.save(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
        }
    }
}
