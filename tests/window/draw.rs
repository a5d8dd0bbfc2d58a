//! The window, driven by its accessible names: strokes go in, bars come out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{self, Key, Modifiers, PointerButton, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::app::canvas::RADIUS;
use inkgrad::app::{Panel, Remembered, Theme};
use inkgrad::graph::Store;
use inkgrad::models::{Architecture, ModelFile};

use super::harness::{FOUR, SEVEN, SIZE, THREE, Window};

#[test]
fn drawn_digits_are_read_right_with_over_ninety_percent() {
    let mut window = Window::open("best");
    for (strokes, digit) in [(SEVEN, "7"), (THREE, "3"), (FOUR, "4")] {
        window.draw(strokes);
        window.reads(digit);
        window.key(Key::Delete);
        window.until("the field is blank", |window| window.has("class 0: nothing drawn"));
    }
}

#[test]
fn the_keys_of_the_original_work() {
    let mut window = Window::open("fast");
    window.key(Key::Num1);
    assert!(window.has("no drawing is kept yet"));
    window.draw(SEVEN);
    let seven = window.ink();
    assert!(seven > 5_000);
    // Tab keeps the drawing, Caps Lock clears the field, 1 recalls it.
    window.key(Key::Tab);
    assert!(!window.has("no drawing is kept yet"));
    window.key(Key::CapsLock);
    assert_eq!(window.ink(), 0);
    window.key(Key::Num1);
    assert_eq!(window.ink(), seven);
    // 2 changes to the eraser and back.
    window.key(Key::Num2);
    window.draw(SEVEN);
    let erased = window.ink();
    assert!(erased < seven / 10, "{erased} of {seven}");
    window.key(Key::Num2);
    window.draw(THREE);
    assert!(window.ink() > erased);
    window.key(Key::Delete);
    assert_eq!(window.ink(), 0);
}

#[test]
fn undo_and_redo_go_stroke_by_stroke_and_the_right_button_erases() {
    let mut window = Window::open("fast");
    window.draw(FOUR);
    let four = window.ink();
    for (modifiers, key) in [(Modifiers::COMMAND, Key::Y), (Modifiers::COMMAND | Modifiers::SHIFT, Key::Z)] {
        window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        window.harness.step();
        let one_stroke = window.ink();
        assert!(0 < one_stroke && one_stroke < four);
        window.harness.key_press_modifiers(modifiers, key);
        window.harness.step();
        assert_eq!(window.ink(), four, "{key:?}");
    }
    window.stroke(FOUR[1], PointerButton::Secondary);
    assert!(window.ink() < four);
}

#[test]
fn a_digit_can_be_drawn_with_the_keys_alone() {
    let mut window = Window::open("best");
    // A one: up from the middle, then down with the pen.
    for _ in 0..16 {
        window.key(Key::ArrowUp);
    }
    window.key(Key::Space);
    for _ in 0..32 {
        window.key(Key::ArrowDown);
    }
    window.key(Key::Space);
    window.reads("1");
}

#[test]
fn from_where_the_keys_left_the_pen_no_line_leads_to_where_the_mouse_is_pressed() {
    let mut window = Window::open("fast");
    window.key(Key::Space);
    window.stroke(&[[0.1, 0.1], [0.1, 0.14]], PointerButton::Primary);
    let field = window.app().shared().field.pixels().clone();
    let ink = |[x, y]: [f32; 2]| field[(y * 448.0) as usize * 448 + (x * 448.0) as usize];
    assert_eq!([ink([0.5, 0.5]), ink([0.3, 0.3]), ink([0.1, 0.12])], [255, 0, 255]);
}

#[test]
fn space_that_is_held_down_puts_the_pen_down_once() {
    let mut window = Window::open("fast");
    let (key, modifiers) = (Key::Space, Modifiers::NONE);
    let held = egui::Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers };
    for _ in 0..2 {
        window.harness.event(held.clone());
        window.harness.step();
    }
    let dot = window.ink();
    for _ in 0..10 {
        window.key(Key::ArrowDown);
    }
    assert!(dot > 0 && window.ink() > 2 * dot, "the pen is still down");
}

#[test]
fn centring_makes_a_small_digit_in_a_corner_readable_and_the_difference_is_shown() {
    let mut window = Window::open("best");
    window.app().shared().canvas.radius = 7.0;
    let small: Vec<[f32; 2]> = THREE[0].iter().map(|[x, y]| [x * 0.3 + 0.01, y * 0.3 + 0.68]).collect();
    window.draw(&[&small]);
    window.reads("3");
    window.harness.get_by_label("As drawn").click();
    window.harness.step();
    // The text below the picture then says what the bars show; as prepared, it is still a three.
    window.until("the picture as drawn counts", |window| {
        let said = window.harness.query_by_label_contains("As drawn: ").and_then(|node| node.accesskit_node().label());
        let counts = |(class, percent): (String, f32)| {
            let bars = format!("As drawn: {class}, {percent:.1} %");
            said.as_deref() == Some(bars.as_str()) && !(class == "3" && percent > 90.0)
        };
        window.winner().is_some_and(counts)
    });
    assert!(window.has("As MNIST: 3, "));
    window.harness.get_by_label("As MNIST").click();
    window.harness.step();
    window.reads("3");
}

#[test]
fn a_model_that_is_broken_or_of_another_size_is_a_message_and_the_window_goes_on() {
    let mut window = Window::open("fast");
    let models = window.folder.path().join("models");
    std::fs::write(models.join("broken.safetensors"), b"nothing of the kind").unwrap();
    let broken: PathBuf = models.join("broken.safetensors");
    window.app().shared().open(&broken);
    window.until("it is said", |window| window.has("broken.safetensors"));
    window.draw(SEVEN);
    window.reads("7");
    // Another model is chosen while a message is shown.
    window.app().shared().open(Path::new("best"));
    window.until_reading("best");
    window.reads("7");
    std::fs::remove_dir_all(&models).unwrap();
    window.app().shared().menu.refresh();
    window.harness.step();
    window.harness.get_by_label("Dismiss").click();
    window.harness.step();
    window.harness.step();
    assert!(!window.has("broken.safetensors"));
}

#[test]
fn two_models_read_the_same_drawing() {
    let mut window = Window::open("fast");
    window.app().shared().open_second(Some(Path::new("dense")));
    window.draw(SEVEN);
    window.until("both have read it as a seven", |window| {
        let winners: Vec<_> = window.harness.query_all_by_label_contains(", the winner").collect();
        let is_seven = |label: String| label.starts_with("class 7: ");
        winners.len() == 2 && winners.iter().all(|node| node.accesskit_node().label().is_some_and(is_seven))
    });
    let second = window.app().shared().second.as_ref().and_then(|second| second.about());
    assert_eq!(second.map(|about| about.path.as_path()), Some(Path::new("dense")));
    let menus = window.harness.query_all_by_role(egui::Role::ComboBox);
    assert!(menus.filter_map(|menu| menu.accesskit_node().value()).any(|chosen| chosen == "dense"));
    // What is drawn next is read by both, too.
    window.key(Key::Delete);
    window.until("both have seen it go", |window| !window.has(", the winner"));
    window.draw(SEVEN);
    window.reads_both("7");
    // So is it by another model in place of the second, which is open until then.
    window.app().shared().open_second(Some(Path::new("cnn")));
    window.harness.step();
    window.until("the other one is open", |window| window.has("cnn"));
    window.reads_both("7");
    window.harness.get_by_label("Close").click();
    window.harness.step();
    window.harness.step();
    assert_eq!(window.harness.query_all_by_label_contains(", the winner").count(), 1);
}

#[test]
fn a_long_name_of_a_model_takes_one_row() {
    let mut window = Window::sized("fast", vec2(720.0, 480.0));
    let field = window.field();
    let long = window.folder.path().join(format!("models/{}.safetensors", "long-".repeat(30)));
    ModelFile::shipped("fast").unwrap().save(&long).unwrap();
    window.app().shared().open(&long);
    window.until_reading(long.to_str().unwrap());
    window.app().shared().open_second(Some(Path::new("dense")));
    let bars = |window: &Window| -> Vec<f32> {
        window.harness.query_all_by_label_contains("class 0: ").map(|bar| bar.rect().top()).collect()
    };
    window.until("the second model is there", |window| bars(window).len() == 2);
    let tops = bars(&window);
    assert_eq!((window.field(), tops[0]), (field, tops[1]));
}

#[test]
fn classes_of_long_names_are_read_with_both_percentages() {
    let mut window = Window::open("fast");
    let path = window.folder.path().join("models/long.safetensors");
    let mut file = ModelFile::shipped("fast").unwrap();
    let names: Vec<String> = (0..10).map(|digit| format!("{}{digit}", "a long name ".repeat(5))).collect();
    file.set_class_names(&names);
    file.save(&path).unwrap();
    window.app().shared().open(&path);
    window.until_reading(path.to_str().unwrap());
    window.draw(SEVEN);
    window.until("it is read", |window| window.has(" %; then "));
    let said = window.harness.get_by_label_contains(" %; then ").accesskit_node().value().unwrap();
    assert!(said.starts_with("a long") && said.contains("e 7, ") && said.ends_with(" %"), "{said}");
    assert!(said.matches('\u{2026}').count() == 2, "{said}");
    // The accessible text is whole even where what is seen of it is cut.
    let seen = window.harness.get_by_label_contains(" %; then ").rect().width();
    let font = egui::FontId::proportional(17.0);
    let laid_out = window.harness.ctx.fonts_mut(|fonts| fonts.layout_no_wrap(said.clone(), font, egui::Color32::WHITE));
    let whole = laid_out.size().x;
    assert!(whole <= seen + 1.0, "{said} needs {whole} and is seen at {seen}");
}

#[test]
fn the_hint_and_the_percentages_are_seen_whole_in_the_smallest_window_below_which_messages_are_shown() {
    let mut window = Window::sized("fast", vec2(720.0, 480.0));
    for message in ["one", "two", "three"] {
        window.app().shared().say(message);
    }
    window.harness.run_steps(3);
    let messages = window.harness.query_all_by_label("Dismiss").map(|button| button.rect().top());
    let bottom = messages.fold(480.0, f32::min);
    assert!(bottom < 420.0, "three messages are shown");
    let hint = window.harness.get_by_label_contains("Draw here, drop or paste").rect();
    assert!(hint.bottom() <= bottom, "{hint:?}, {bottom}");
    assert!(window.field().width() >= 160.0);
    window.draw(SEVEN);
    window.reads_at_all();
    let labelled = window.harness.query_all_by_label_contains("class ");
    let is_bar = |label: String| label.starts_with("class ") && label.contains('%');
    let bars = labelled.filter(|node| node.accesskit_node().label().is_some_and(is_bar));
    let ends: Vec<f32> = bars.map(|bar| bar.rect().right()).collect();
    assert!(ends.len() == 10 && ends.iter().all(|end| *end <= 720.0), "{ends:?}");
}

#[test]
fn a_stroke_that_closes_a_menu_draws_nothing() {
    let mut window = Window::open("fast");
    window.harness.get_by_label("Theme").click();
    window.harness.run_steps(3);
    assert!(window.harness.query_by_label("Dark").is_some(), "the menu is open");
    let beside = [[0.2, 0.8], [0.5, 0.8], [0.8, 0.8]];
    window.stroke(&beside, PointerButton::Primary);
    window.harness.run_steps(3);
    assert!(window.harness.query_by_label("Dark").is_none(), "the menu is closed");
    assert_eq!(window.ink(), 0);
    window.stroke(&beside, PointerButton::Primary);
    assert!(window.ink() > 0);
}

#[test]
fn nothing_at_the_top_lies_over_another_where_the_window_is_smaller_than_it_asks_for() {
    let mut window = Window::sized("fast", vec2(500.0, 480.0));
    window.harness.run_steps(3);
    let guide = window.harness.get_by_label("Guide").rect();
    let menus = window.harness.query_all_by_role(egui::Role::ComboBox).map(|menu| menu.rect());
    let mut shown: Vec<egui::Rect> = menus.filter(|menu| menu.top() < guide.bottom()).collect();
    assert_eq!(shown.len(), 2, "the model and the theme: {shown:?}");
    shown.push(guide);
    for (i, one) in shown.iter().enumerate() {
        assert!(shown[..i].iter().all(|other| !one.intersects(*other)), "{shown:?}");
    }
}

#[test]
fn the_time_from_pen_to_bars_is_that_of_the_pen_alone() {
    let mut window = Window::open("fast");
    let timed = |window: &Window| window.has("from pen to bars");
    assert!(!timed(&window), "nothing is drawn yet");
    let image = egui::ColorImage::from_gray([2, 2], &[0, 255, 255, 0]);
    window.harness.event(egui::Event::PasteImage(Arc::new(image)));
    window.reads_at_all();
    window.harness.get_by_label("As drawn").click();
    window.harness.run_steps(3);
    assert!(!timed(&window), "a picture came from elsewhere, and is looked at otherwise");
    window.draw(SEVEN);
    window.until("a stroke is timed", timed);
    window.key(Key::F3);
    assert!(!timed(&window), "there is no pen");
}

/// A file of a network that has learned from dark ink on light paper, not prepared.
pub fn of_light_pictures(path: &Path) {
    let mut file = ModelFile::shipped("fast").unwrap();
    file.set_pictures(Some(inkgrad::data::Pictures::Fitted));
    file.set("mean", 0.87);
    file.save(path).unwrap();
}

#[test]
fn a_network_of_unprepared_pictures_has_no_choice_of_preparation_and_one_of_light_ones_is_warned_of() {
    let mut window = Window::open("fast");
    window.draw(SEVEN);
    window.reads_at_all();
    assert!(window.has("As MNIST") && !window.has("has learned from light pictures"));
    let path = window.folder.path().join("models/light.safetensors");
    of_light_pictures(&path);
    window.app().shared().open(&path);
    window.until_reading(path.to_str().unwrap());
    window.reads_at_all();
    assert!(!window.has("As MNIST") && window.has("light.safetensors has learned from light pictures"));
    assert!(window.app().shared().remembered.prepared, "for other networks");
    // Where a second network prepares what it reads, there is a choice again.
    window.app().shared().open_second(Some(Path::new("dense")));
    window.until("there is a choice", |window| window.has("As MNIST"));
    // Inside shows what the first network reads, and the panel Draw what both do.
    let warned = |window: &Window| window.has("light.safetensors has learned from light pictures");
    window.key(Key::F2);
    assert!(warned(&window));
    window.app().shared().open(Path::new("fast"));
    window.until_reading("fast");
    window.app().shared().open_second(Some(&path));
    window.key(Key::F1);
    window.until("it is warned of the second network", warned);
    window.key(Key::F2);
    assert!(!warned(&window));
}

#[test]
fn an_empty_field_is_never_kept_and_tab_leaves_it() {
    let mut window = Window::open("fast");
    window.draw(SEVEN);
    let seven = window.ink();
    window.key(Key::Tab);
    assert!(window.has("Kept."));
    window.harness.run_steps(20);
    assert!(!window.has("Kept."), "that is said briefly");
    window.key(Key::Delete);
    window.until("the field is blank", |window| window.has("class 0: nothing drawn"));
    assert!(window.harness.get_by_label("Field to draw on").is_focused());
    window.key(Key::Tab);
    assert!(!window.harness.get_by_label("Field to draw on").is_focused());
    assert!(window.harness.get_by_label("Keep").accesskit_node().is_disabled());
    window.harness.get_by_label("Recall").click();
    window.harness.run_steps(3);
    assert_eq!(window.ink(), seven);
}

#[test]
fn a_tab_that_brings_the_focus_to_the_field_does_not_keep_what_is_drawn() {
    let mut window = Window::open("fast");
    window.draw(SEVEN);
    let seven = window.ink();
    window.key(Key::Tab);
    window.draw(THREE);
    assert!(window.ink() > seven);
    window.harness.get_by_label("Recall").focus();
    window.harness.run_steps(2);
    let is_focused = |window: &Window| window.harness.get_by_label("Field to draw on").is_focused();
    assert!(!is_focused(&window));
    window.key(Key::Tab);
    assert!(is_focused(&window));
    window.key(Key::Num1);
    assert_eq!(window.ink(), seven, "the kept drawing is the same");
}

#[test]
fn a_quick_click_gives_the_field_the_focus() {
    let mut window = Window::open("fast");
    window.key(Key::Escape);
    let is_focused = |window: &Window| window.harness.get_by_label("Field to draw on").is_focused();
    assert!(!is_focused(&window));
    let pos = window.at([0.5, 0.5]);
    window.harness.event(egui::Event::PointerMoved(pos));
    window.harness.step();
    // Both in one frame.
    for pressed in [true, false] {
        let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
        window.harness.input_mut().events.push(egui::Event::PointerButton { pos, button, pressed, modifiers });
    }
    window.harness.run_steps(2);
    assert!(window.ink() > 0 && is_focused(&window));
}

#[test]
fn what_was_kept_and_chosen_is_there_when_the_window_opens_again() {
    let mut window = Window::open("dense");
    window.draw(SEVEN);
    let ink = window.ink();
    window.key(Key::Tab);
    window.harness.get_by_label("As drawn").click();
    window.harness.step();
    window.key(Key::F2);
    window.key(Key::CloseBracket);
    let radius = window.app().shared().canvas.radius;
    assert!(radius > RADIUS);
    // A window is open once this panel is shown.
    window.app().shared().remembered.panel = Panel::Draw;
    assert!(window.app().finish().is_empty());
    window.app().remember().unwrap();
    let Window { harness, folder } = window;
    drop(harness);
    let mut window = Window::within(folder, None, SIZE);
    window.until_reading("dense");
    window.key(Key::Num1);
    assert_eq!(window.ink(), ink);
    assert_eq!(window.app().shared().canvas.radius, radius);
    assert!(!window.app().shared().remembered.prepared);
}

#[test]
fn a_remembered_model_that_is_gone_is_said_and_the_usual_one_reads() {
    let gone = |folder: &Path| Some(folder.join("gone.safetensors"));
    let mut window = Window::remembering(|folder| Remembered { model: gone(folder), ..Remembered::default() });
    assert!(window.has("gone.safetensors"));
    window.until_reading("best");
    assert_eq!(window.app().shared().remembered.model.as_deref(), Some(Path::new("best")));
}

#[test]
fn a_window_that_is_opened_with_a_model_that_will_not_do_reads_with_the_one_of_last_time() {
    let mut window = Window::open("dense");
    window.app().remember().unwrap();
    let Window { harness, folder } = window;
    drop(harness);
    let gone = folder.path().join("gone.safetensors");
    let mut window = Window::within(folder, Some(gone), SIZE);
    assert!(window.has("gone.safetensors"));
    window.until_reading("dense");
    assert_eq!(window.app().shared().remembered.model.as_deref(), Some(Path::new("dense")));
}

#[test]
fn what_a_network_sees_of_an_empty_field_is_black_in_the_light_theme_too() {
    let mut window = Window::remembering(|_| Remembered { theme: Theme::Light, ..Remembered::default() });
    let at = window.harness.get_by_label_contains("As MNIST: ").rect().center();
    match window.harness.render() {
        Ok(image) => assert_eq!(image.get_pixel(at.x as u32, at.y as u32).0[..3], [0, 0, 0]),
        Err(problem) => eprintln!("skipped: nothing paints here: {problem}"),
    }
}

#[test]
fn a_remembered_second_model_that_is_gone_is_said_and_forgotten() {
    let gone = |folder: &Path| Some(folder.join("gone.safetensors"));
    let mut window = Window::remembering(|folder| Remembered { second: gone(folder), ..Remembered::default() });
    window.until("it is said", |window| window.has("gone.safetensors"));
    let shared = window.app().shared();
    assert!(shared.second.is_none() && shared.remembered.second.is_none());
    window.draw(SEVEN);
    window.reads("7");
}

#[test]
fn without_a_display_it_says_so_and_names_the_ways_of_the_command_line() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: there is always a display here");
        return;
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_inkgrad"));
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(name);
    }
    let said = command.args(["app", "--device", "cpu"]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("no window can be opened") && text.contains("inkgrad classify"), "{text}");
    assert!(
        text.contains("neither DISPLAY nor WAYLAND_DISPLAY is set. These work without") && !text.contains(".rs:"),
        "{text}"
    );
    let said = command.arg("no-such-model").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("no-such-model") && said.status.code() == Some(1), "{text}");
}

#[test]
fn files_of_keras_read_a_drawing_as_they_are() {
    let mut window = Window::open("fast");
    window.draw(SEVEN);
    window.reads_at_all();
    for name in ["conv-keras3.keras", "dense-keras2.h5", "large-keras2.h5"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/travel").join(name);
        window.app().shared().open(&path);
        window.until_reading(path.to_str().unwrap());
        window.reads_at_all();
        assert!(window.app().shared().messages().is_empty(), "{name}");
    }
}

#[test]
fn a_model_for_images_of_another_size_is_refused_in_the_window_and_the_one_before_goes_on() {
    let mut window = Window::open("fast");
    let path = window.folder.path().join("models/thirty.safetensors");
    let mut store = Store::default();
    let architecture = Architecture::parse("layers = [\"flatten\", { dense = \"classes\" }]", "thirty.toml").unwrap();
    let (network, parameters) = architecture.declare([30, 30, 1], 10, &mut store, "classifier").unwrap();
    let mut file = ModelFile::new(&network, &parameters, &parameters.zeros());
    file.set("mean", 0.0);
    file.set("std", 1.0);
    file.save(&path).unwrap();
    window.app().shared().open(&path);
    window.until("it is said", |window| window.has("30x30"));
    window.draw(SEVEN);
    window.reads("7");
}
