//! The window, driven by its accessible names: strokes go in, bars come out.
#![cfg(feature = "app")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eframe::egui::{self, Key, Modifiers, PointerButton, Pos2, Rect, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::app::{App, Memory, Options};
use inkgrad::device::Choice;

/// Strokes as points of a unit square.
pub const SEVEN: &[&[[f32; 2]]] = &[&[[0.28, 0.25], [0.7, 0.25], [0.62, 0.45], [0.52, 0.62], [0.45, 0.8]]];
pub const THREE: &[&[[f32; 2]]] = &[&[
    [0.33, 0.25], [0.45, 0.18], [0.6, 0.2], [0.66, 0.3], [0.6, 0.42], [0.48, 0.48], [0.62, 0.53], [0.68, 0.65], [0.62, 0.77],
    [0.47, 0.82], [0.32, 0.76],
]];
pub const FOUR: &[&[[f32; 2]]] = &[
    &[[0.4, 0.18], [0.34, 0.35], [0.3, 0.52], [0.48, 0.53], [0.68, 0.5]],
    &[[0.63, 0.2], [0.61, 0.5], [0.59, 0.82]],
];

struct Window {
    harness: Harness<'static, App>,
    #[allow(dead_code)]
    folder: tempfile::TempDir,
}

impl Window {
    fn open(model: &str) -> Window {
        Window::sized(model, vec2(1024.0, 700.0))
    }

    fn sized(model: &str, size: egui::Vec2) -> Window {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory { folder: Some(folder.path().join("settings")) };
        let models = folder.path().join("models");
        std::fs::create_dir(&models).unwrap();
        Window::with(Options { choice: Choice::Cpu, model: Some(model.into()), models, memory }, size, folder)
    }

    fn with(options: Options, size: egui::Vec2, folder: tempfile::TempDir) -> Window {
        let mut options = Some(options);
        let mut app: Option<App> = None;
        let _ = &mut app;
        let ctx_app = move |ctx: &egui::Context| App::new(ctx, options.take().unwrap());
        let mut make = Some(ctx_app);
        let harness = Harness::builder().with_size(size).with_max_steps(50).build_eframe(move |cc| {
            let mut make = make.take().unwrap();
            make(&cc.egui_ctx)
        });
        let mut window = Window { harness, folder };
        window.until("the model is open", |window| window.has("class 0: nothing drawn"));
        window
    }

    fn has(&self, name: &str) -> bool {
        self.harness.query_by_label_contains(name).is_some()
    }

    /// Frames until something holds; what the thread behind the window finds comes when it comes.
    fn until(&mut self, what: &str, holds: impl Fn(&Window) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(2));
            self.harness.step();
        }
    }

    fn field(&self) -> Rect {
        self.harness.get_by_label("Field to draw on").rect()
    }

    fn at(&self, [x, y]: [f32; 2]) -> Pos2 {
        let field = self.field();
        pos2(field.min.x + x * field.width(), field.min.y + y * field.height())
    }

    fn button(&mut self, pos: Pos2, button: PointerButton, pressed: bool) {
        self.harness.event(egui::Event::PointerButton { pos, button, pressed, modifiers: Modifiers::NONE });
    }

    fn draw(&mut self, strokes: &[&[[f32; 2]]]) {
        for stroke in strokes {
            self.stroke(stroke, PointerButton::Primary);
        }
        self.harness.step();
    }

    fn stroke(&mut self, stroke: &[[f32; 2]], button: PointerButton) {
        let first = self.at(stroke[0]);
        self.harness.event(egui::Event::PointerMoved(first));
        self.harness.step();
        self.button(first, button, true);
        self.harness.step();
        for point in &stroke[1..] {
            let to = self.at(*point);
            self.harness.event(egui::Event::PointerMoved(to));
            self.harness.step();
        }
        let last = self.at(stroke[stroke.len() - 1]);
        self.button(last, button, false);
        self.harness.step();
    }

    fn key(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.step();
        self.harness.step();
    }

    /// The class whose bar is marked, with its percents.
    fn winner(&self) -> Option<(String, f32)> {
        let node = self.harness.query_by_label_contains(", the winner")?;
        let label = node.accesskit_node().label()?;
        let (class, rest) = label.strip_prefix("class ")?.split_once(": ")?;
        Some((class.to_owned(), rest.split(' ').next()?.parse().ok()?))
    }

    fn ink(&mut self) -> usize {
        self.harness.state_mut().shared().field.pixels().iter().filter(|pixel| **pixel > 0).count()
    }

    fn reads(&mut self, wanted: &str) {
        let holds = |window: &Window| window.winner().is_some_and(|(class, percent)| class == wanted && percent > 90.0);
        self.until(&format!("it reads {wanted}"), holds);
    }
}

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
    window.draw(SEVEN);
    let seven = window.ink();
    assert!(seven > 5_000);
    // Tab keeps the drawing, Caps Lock clears the field, 1 recalls it.
    window.key(Key::Tab);
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
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.harness.step();
    let one_stroke = window.ink();
    assert!(0 < one_stroke && one_stroke < four);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Y);
    window.harness.step();
    assert_eq!(window.ink(), four);
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
fn centring_makes_a_small_digit_in_a_corner_readable_and_the_difference_is_shown() {
    let mut window = Window::open("fast");
    let small: Vec<[f32; 2]> = THREE[0].iter().map(|[x, y]| [x * 0.3 + 0.01, y * 0.3 + 0.68]).collect();
    window.draw(&[&small]);
    window.reads("3");
    window.harness.get_by_label("As drawn").click();
    window.harness.step();
    window.until("the picture as drawn counts", |window| !window.winner().is_some_and(|(class, percent)| class == "3" && percent > 90.0));
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
    window.harness.state_mut().shared().open(&broken);
    window.until("it is said", |window| window.has("broken.safetensors"));
    window.draw(SEVEN);
    window.reads("7");
    // Another one is chosen while a message stands.
    window.harness.state_mut().shared().open(std::path::Path::new("best"));
    window.until("best is open", |window| window.harness.query_all_by_label("best").next().is_some());
    window.reads("7");
    std::fs::remove_dir_all(&models).unwrap();
    window.harness.state_mut().shared().menu.refresh();
    window.harness.step();
    window.harness.get_by_label("Dismiss").click();
    window.harness.step();
    assert!(!window.has("broken.safetensors"));
}

#[test]
fn two_models_read_the_same_drawing() {
    let mut window = Window::open("fast");
    window.harness.state_mut().shared().open_second(Some(std::path::Path::new("dense")));
    window.draw(SEVEN);
    window.until("both have read it", |window| window.harness.query_all_by_label_contains(", the winner").count() == 2);
    window.harness.get_by_label("Close").click();
    window.harness.step();
    window.harness.step();
    assert_eq!(window.harness.query_all_by_label_contains(", the winner").count(), 1);
}

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
fn what_was_kept_and_chosen_is_there_when_the_window_opens_again() {
    let mut window = Window::open("dense");
    window.draw(SEVEN);
    let ink = window.ink();
    window.key(Key::Tab);
    window.harness.get_by_label("As drawn").click();
    window.harness.step();
    window.harness.state_mut().remember();
    let Window { harness, folder } = window;
    drop(harness);
    let memory = Memory { folder: Some(folder.path().join("settings")) };
    let options = Options { choice: Choice::Cpu, model: None, models: folder.path().join("models"), memory };
    let mut window = Window::with(options, vec2(1024.0, 700.0), folder);
    assert!(window.harness.query_all_by_label("dense").next().is_some());
    window.key(Key::Num1);
    assert_eq!(window.ink(), ink);
    assert!(!window.harness.state_mut().shared().remembered.prepared);
}
