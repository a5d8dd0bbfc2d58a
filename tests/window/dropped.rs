//! Pictures that are dropped on the window or pasted into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{self, Key, PointerButton};
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::models::ModelFile;

use super::draw::of_light_pictures;
use super::harness::{SEVEN, SIZE, Window};

#[test]
fn a_picture_that_is_pasted_comes_into_the_field() {
    let mut window = Window::open("best");
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    let at = set.labels.iter().position(|label| *label == 5).unwrap();
    let image = egui::ColorImage::from_gray([28, 28], set.image(at));
    window.harness.event(egui::Event::PasteImage(std::sync::Arc::new(image)));
    window.harness.step();
    let digit = set.labels[at].to_string();
    window.until("it is read", |window| window.winner().is_some_and(|(class, _)| class == digit));
}

#[test]
fn a_digit_of_mnist_is_read_as_classify_reads_it() {
    let mut window = Window::open("dense");
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    // With more contrast, this network takes it for a six.
    let at = 4751;
    let path = window.folder.path().join("digit.png");
    image::GrayImage::from_raw(28, 28, set.image(at).to_vec()).unwrap().save(&path).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_inkgrad"));
    let command = command.args(["classify", "--model", "dense", "--device", "cpu", "--quiet", "--format", "jsonl"]);
    let said = command.arg(&path).output().unwrap();
    let line: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let wanted = line["label"].as_str().unwrap().to_owned();
    assert_eq!(wanted, set.labels[at].to_string());
    window.harness.input_mut().dropped_files = vec![Arc::new(Dropped(path))];
    window.until("it is read", |window| window.winner().is_some_and(|(class, _)| class == wanted));
    // As the picture is already what the network takes, both ways to look at it give the same.
    let of = |window: &Window, name: &str| {
        let node = window.harness.query_by_label_contains(name)?;
        node.accesskit_node().label()?.strip_prefix(name).map(String::from)
    };
    let both = ["As drawn: ", "As MNIST: "].map(|name| of(&window, name).unwrap());
    assert_eq!(both[0], both[1]);
    // Once something is drawn on it, it is prepared like any drawing.
    window.stroke(&[[0.02, 0.02], [0.02, 0.03]], PointerButton::Primary);
    window.until("it is prepared", |window| of(window, "As drawn: ") != of(window, "As MNIST: "));
}

#[test]
fn a_copied_file_is_pasted_as_its_picture_and_other_text_is_said_to_be_none() {
    let mut window = Window::open("best");
    let path = window.folder.path().join("five.png");
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    let at = set.labels.iter().position(|label| *label == 5).unwrap();
    image::GrayImage::from_raw(28, 28, set.image(at).to_vec()).unwrap().save(&path).unwrap();
    // Where text is typed, it is only text.
    window.key(Key::F4);
    window.harness.get_by_label("Seed").focus();
    window.harness.run_steps(2);
    window.harness.event(egui::Event::Paste("12".into()));
    window.harness.run_steps(2);
    let seed = window.harness.get_by_label("Seed").accesskit_node().value();
    assert!(seed.as_ref().is_some_and(|seed| seed.contains("12")), "{seed:?}");
    assert!(window.app().shared().messages().is_empty());
    window.key(Key::Escape);
    window.key(Key::F1);
    window.harness.event(egui::Event::Paste("some text".into()));
    window.until("it is said", |window| window.has("the clipboard holds text and no picture"));
    window.harness.event(egui::Event::Paste(path.display().to_string()));
    window.until("it is read", |window| window.winner().is_some_and(|(class, _)| class == "5"));
}

/// A file that is dropped on the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }
    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("the window reads it itself".into())
    }
}

#[test]
fn the_first_picture_of_what_is_dropped_comes_into_the_field_whatever_panel_is_open() {
    let mut window = Window::open("best");
    let [notes, picture] = ["notes.txt", "five.png"].map(|name| window.folder.path().join(name));
    std::fs::write(&notes, "no picture").unwrap();
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    let at = set.labels.iter().position(|label| *label == 5).unwrap();
    image::GrayImage::from_raw(28, 28, set.image(at).to_vec()).unwrap().save(&picture).unwrap();
    window.key(Key::F4);
    let dropped = |path: &PathBuf| -> egui::DroppedFileHandle { Arc::new(Dropped(path.clone())) };
    window.harness.input_mut().dropped_files = vec![dropped(&notes), dropped(&picture)];
    window.until("it is read", |window| window.winner().is_some_and(|(class, _)| class == "5"));
    assert!(window.app().shared().messages().is_empty());
    window.harness.input_mut().dropped_files = vec![dropped(&notes)];
    window.until("it is said", |window| window.has("notes.txt"));
}

#[test]
fn a_model_or_a_run_that_is_dropped_reads_what_is_drawn() {
    let mut window = Window::open("fast");
    window.draw(SEVEN);
    let [elsewhere, run] = ["elsewhere", "0001-dense"].map(|name| window.folder.path().join(name));
    let [file, best] = [elsewhere.join("mine.safetensors"), run.join("best.safetensors")];
    for path in [&file, &best] {
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        ModelFile::shipped("dense").unwrap().save(path).unwrap();
    }
    let keras = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/travel/conv-keras3.keras");
    for path in [file, run, keras] {
        window.harness.input_mut().dropped_files = vec![Arc::new(Dropped(path.clone()))];
        window.until_reading(path.to_str().unwrap());
        window.reads_at_all();
    }
    assert!(window.app().shared().messages().is_empty());
}

#[test]
fn a_copied_run_is_pasted_as_its_model() {
    let mut window = Window::open("fast");
    let run = window.folder.path().join("0001-dense");
    std::fs::create_dir(&run).unwrap();
    ModelFile::shipped("dense").unwrap().save(run.join("best.safetensors")).unwrap();
    window.harness.event(egui::Event::Paste(run.display().to_string()));
    window.until_reading(run.to_str().unwrap());
    assert!(window.app().shared().messages().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn the_window_does_not_wait_for_the_file_of_a_model_that_is_dropped() {
    let mut window = Window::open("fast");
    let pipe = window.folder.path().join("slow.safetensors");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Whoever opens the pipe waits until it is opened for writing.
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || {
            let in_time = is_done.recv_timeout(std::time::Duration::from_secs(30)).is_ok();
            drop(std::fs::OpenOptions::new().write(true).open(pipe));
            in_time
        })
    };
    window.harness.input_mut().dropped_files = vec![Arc::new(Dropped(pipe))];
    window.harness.run_steps(2);
    // What is dropped next is read meanwhile.
    let image = Arc::new(egui::ColorImage::from_gray([28, 28], &[128; 28 * 28]));
    window.harness.event(egui::Event::PasteImage(image));
    window.until("the picture is there", |window| window.has("No ink was found in the picture."));
    let _ = done.send(());
    assert!(writer.join().unwrap(), "the window has waited for the pipe");
}

#[test]
fn a_generator_that_is_chosen_as_the_windows_model_draws_in_dream_and_the_same_model_reads_on() {
    let mut window = Window::open("fast");
    let path = window.folder.path().join("models/mine.safetensors");
    ModelFile::shipped("gan").unwrap().save(&path).unwrap();
    for name in ["Model", "mine.safetensors"] {
        window.harness.get_by_label(name).click();
        window.harness.run_steps(3);
    }
    let name = Some("mine.safetensors".into());
    window.until("it draws", |window| chosen(window) == name && window.has("read as asked"));
    window.until_reading("fast");
    assert!(window.app().shared().messages().is_empty());
}

#[test]
fn a_generator_or_the_run_of_one_that_is_dropped_draws_in_dream_and_the_same_model_reads_on() {
    let mut window = Window::open("fast");
    let [file, run] = ["elsewhere/mine.safetensors", "0001-gan"].map(|name| window.folder.path().join(name));
    for path in [&file, &run.join("best.safetensors")] {
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        ModelFile::shipped("gan").unwrap().save(path).unwrap();
    }
    for path in [file, run] {
        window.key(Key::F1);
        window.harness.input_mut().dropped_files = vec![Arc::new(Dropped(path.clone()))];
        let name = path.file_name().unwrap().to_str().unwrap();
        window.until("it draws", |window| chosen(window).as_deref() == Some(name) && window.has("read as asked"));
        assert_eq!(window.app().shared().remembered.generator, Some(path));
    }
    assert!(window.app().shared().messages().is_empty());
    window.until_reading("fast");
}

/// The generator that the panel shows.
fn chosen(window: &Window) -> Option<String> {
    window.harness.query_by_label("Generator")?.accesskit_node().value()
}

#[test]
fn a_picture_that_is_kept_comes_back_as_the_picture_that_it_was() {
    let mut window = Window::open("dense");
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    // With more contrast, this network takes it for a six.
    let at = 4751;
    let image = egui::ColorImage::from_gray([28, 28], set.image(at));
    window.harness.event(egui::Event::PasteImage(Arc::new(image)));
    let digit = set.labels[at].to_string();
    let is_read = |window: &Window| window.winner().is_some_and(|(class, _)| class == digit);
    window.until("it is read", is_read);
    window.harness.get_by_label("Keep").click();
    window.harness.run_steps(2);
    window.harness.get_by_label("Clear").click();
    window.until("the field is blank", |window| window.has("class 0: nothing drawn"));
    window.harness.get_by_label("Recall").click();
    window.harness.run_steps(2);
    assert!(window.app().shared().field.picture().is_some());
    window.until("it is read again", is_read);
}

#[test]
fn beside_a_picture_without_ink_no_nearest_digits_are_shown_and_it_is_said_why() {
    let mut window = Window::open("dense");
    let image = Arc::new(egui::ColorImage::from_gray([28, 28], &[128; 28 * 28]));
    window.harness.event(egui::Event::PasteImage(image));
    let said = |window: &Window| window.harness.query_all_by_label_contains("No ink was found in the picture.").count();
    window.until("it is said", |window| said(window) > 0);
    window.key(Key::F2);
    window.harness.run_steps(3);
    let before = said(&window);
    window.harness.get_by_label("Find them").click();
    window.until("it is said there too", |window| said(window) > before);
}

/// Opens a network that takes pictures as they are.
fn open_plain(window: &mut Window) -> PathBuf {
    let path = window.folder.path().join("models/light.safetensors");
    of_light_pictures(&path);
    window.app().shared().open(&path);
    window.until_reading(path.to_str().unwrap());
    path
}

#[test]
fn a_picture_without_ink_is_shown_and_read_where_pictures_are_taken_as_they_are_and_said_to_have_none_elsewhere() {
    let mut window = Window::open("fast");
    let image = Arc::new(egui::ColorImage::from_gray([28, 28], &[128; 28 * 28]));
    window.harness.event(egui::Event::PasteImage(image));
    window.until("it is said", |window| window.has("No ink was found in the picture."));
    assert!(window.winner().is_none());
    assert!(window.app().shared().field.pixels().iter().all(|pixel| (127..=129).contains(pixel)), "it is shown");
    assert!(window.has("class 0: no answer"));
    open_plain(&mut window);
    window.reads_at_all();
    for name in ["Keep", "Clear"] {
        assert!(!window.harness.get_by_label(name).accesskit_node().is_disabled(), "{name}");
    }
    window.harness.get_by_label("Clear").click();
    window.until("the field is blank", |window| window.has("class 0: nothing drawn") && window.has("Draw a digit."));
}

#[test]
fn a_picture_that_is_kept_is_the_same_picture_when_the_window_opens_again() {
    let mut window = Window::open("fast");
    let path = open_plain(&mut window);
    let set = inkgrad::data::mnist::embedded().unwrap().test;
    // Dark ink on light paper, which a drawing never is.
    let picture: Vec<u8> = set.image(0).iter().map(|pixel| 255 - pixel).collect();
    window.harness.event(egui::Event::PasteImage(Arc::new(egui::ColorImage::from_gray([28, 28], &picture))));
    window.reads_at_all();
    let said = window.winner();
    window.harness.get_by_label("Keep").click();
    window.harness.run_steps(2);
    assert!(window.app().finish().is_empty());
    window.app().remember().unwrap();
    let Window { harness, folder } = window;
    drop(harness);
    let mut window = Window::within(folder, None, SIZE);
    window.until_reading(path.to_str().unwrap());
    window.key(Key::Num1);
    let recalled = window.app().shared().field.picture().map(|picture| picture.to_luma8().into_raw());
    assert!(recalled.is_some_and(|recalled| recalled == picture));
    window.until("it is read as before", |window| window.winner().is_some() && window.winner() == said);
}
