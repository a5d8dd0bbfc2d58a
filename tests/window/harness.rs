//! The window without a screen, driven as a person would drive it: by pointer, keys and accessible names.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eframe::egui::{self, Key, Modifiers, PointerButton, Pos2, Rect, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use inkgrad::app::{App, Memory, Options, Remembered};
use inkgrad::device::Choice;

/// Strokes as points of a unit square.
pub const SEVEN: &[&[[f32; 2]]] = &[&[[0.28, 0.25], [0.7, 0.25], [0.62, 0.45], [0.52, 0.62], [0.45, 0.8]]];
pub const THREE: &[&[[f32; 2]]] = &[&[
    [0.33, 0.25],
    [0.45, 0.18],
    [0.6, 0.2],
    [0.66, 0.3],
    [0.6, 0.42],
    [0.48, 0.48],
    [0.62, 0.53],
    [0.68, 0.65],
    [0.62, 0.77],
    [0.47, 0.82],
    [0.32, 0.76],
]];
pub const FOUR: &[&[[f32; 2]]] =
    &[&[[0.4, 0.18], [0.34, 0.35], [0.3, 0.52], [0.48, 0.53], [0.68, 0.5]], &[[0.63, 0.2], [0.61, 0.5], [0.59, 0.82]]];

/// How long a thread behind the window may take; test machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The window under test, with a folder for its settings and models.
pub struct Window {
    pub harness: Harness<'static, Held>,
    pub folder: tempfile::TempDir,
}

/// A window's size where none is asked for, in points.
pub const SIZE: egui::Vec2 = vec2(1024.0, 700.0);

fn memory(folder: &tempfile::TempDir) -> Memory {
    Memory { folder: Some(folder.path().join("settings")) }
}

/// The app, made in the first frame.
pub struct Held {
    app: Option<App>,
    options: Option<Options>,
}

impl Window {
    pub fn open(model: &str) -> Window {
        Window::sized(model, SIZE)
    }

    pub fn sized(model: &str, size: egui::Vec2) -> Window {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("models")).unwrap();
        Window::within(folder, Some(model.into()), size)
    }

    /// A window that has been open before, and remembers what `remembered` returns for its folder.
    pub fn remembering(remembered: impl FnOnce(&Path) -> Remembered) -> Window {
        let folder = tempfile::tempdir().unwrap();
        memory(&folder).save(&remembered(folder.path())).unwrap();
        Window::within(folder, None, SIZE)
    }

    /// A window in a folder that may have `models` and `settings` already.
    pub fn within(folder: tempfile::TempDir, model: Option<PathBuf>, size: egui::Vec2) -> Window {
        let models = folder.path().join("models");
        let options = Options { choice: Choice::Cpu, model, models, memory: memory(&folder) };
        let held = Held { app: None, options: Some(options) };
        let show = |ui: &mut egui::Ui, held: &mut Held| {
            if let Some(options) = held.options.take() {
                held.app = Some(App::new(ui.ctx(), options));
            }
            held.app.as_mut().unwrap().show(ui);
        };
        let harness = Harness::builder().with_size(size).with_max_steps(50).build_ui_state(show, held);
        let mut window = Window { harness, folder };
        window.until("the model is open", |window| window.has("class 0: nothing drawn"));
        window
    }

    pub fn app(&mut self) -> &mut App {
        self.harness.state_mut().app.as_mut().unwrap()
    }

    /// Waits until a model is the one that reads.
    pub fn until_reading(&mut self, model: &str) {
        let began = Instant::now();
        while self.app().shared().reader.about().is_none_or(|about| about.path != Path::new(model)) {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {model} is open");
            std::thread::sleep(Duration::from_millis(2));
            self.harness.step();
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.harness.query_all_by_label_contains(name).next().is_some()
    }

    /// Runs frames until something holds; the results of the thread behind the window may come at any time.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Window) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            if began.elapsed() > PATIENCE {
                let shot = std::env::temp_dir().join("inkgrad-window-failed.png");
                let seen = self.harness.render().ok().and_then(|image| image.save(&shot).ok());
                let seen = seen.map_or("no picture of it".into(), |()| format!("see {}", shot.display()));
                panic!("waited in vain until {what}; {seen}");
            }
            std::thread::sleep(Duration::from_millis(2));
            self.harness.step();
        }
    }

    pub fn field(&self) -> Rect {
        self.harness.get_by_label("Field to draw on").rect()
    }

    pub fn at(&self, [x, y]: [f32; 2]) -> Pos2 {
        let field = self.field();
        pos2(field.min.x + x * field.width(), field.min.y + y * field.height())
    }

    pub fn button(&mut self, pos: Pos2, button: PointerButton, pressed: bool) {
        self.harness.event(egui::Event::PointerButton { pos, button, pressed, modifiers: Modifiers::NONE });
    }

    pub fn draw(&mut self, strokes: &[&[[f32; 2]]]) {
        for stroke in strokes {
            self.stroke(stroke, PointerButton::Primary);
        }
        self.harness.step();
    }

    pub fn stroke(&mut self, stroke: &[[f32; 2]], button: PointerButton) {
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

    pub fn key(&mut self, key: Key) {
        self.harness.key_press(key);
        self.harness.step();
        self.harness.step();
    }

    /// The class whose bar is marked, with its percentage.
    pub fn winner(&self) -> Option<(String, f32)> {
        let node = self.harness.query_by_label_contains(", the winner")?;
        let label = node.accesskit_node().label()?;
        let (class, rest) = label.strip_prefix("class ")?.split_once(": ")?;
        Some((class.to_owned(), rest.split(' ').next()?.parse().ok()?))
    }

    pub fn ink(&mut self) -> usize {
        self.app().shared().field.pixels().iter().filter(|pixel| **pixel > 0).count()
    }

    /// Waits until two models have read the drawing, the first one as `wanted`.
    pub fn reads_both(&mut self, wanted: &str) {
        let first = format!("class {wanted}: ");
        self.until("both have read it", |window| {
            let winners: Vec<_> = window.harness.query_all_by_label_contains(", the winner").collect();
            winners.len() == 2 && winners[0].accesskit_node().label().is_some_and(|label| label.starts_with(&first))
        });
    }

    /// Waits until anything is read.
    pub fn reads_at_all(&mut self) {
        self.until("it is read", |window| window.winner().is_some());
    }

    pub fn reads(&mut self, wanted: &str) {
        let holds = |window: &Window| window.winner().is_some_and(|(class, percent)| class == wanted && percent > 90.0);
        self.until(&format!("it reads {wanted}"), holds);
    }

    /// Compares what the window shows with `tests/snapshots/NAME.png`; `UPDATE_SNAPSHOTS=true` writes it anew. The lower
    /// bar, which names the processor and its times, is covered.
    pub fn snapshot(&mut self, name: &str) {
        self.harness.remove_cursor();
        // Frames in which animations end, and the answer to what these frames ask.
        for _ in 0..30 {
            self.harness.step();
        }
        let began = Instant::now();
        while !self.app().shared().is_answered() {
            assert!(began.elapsed() < PATIENCE, "waited in vain for the answer that {name} shows");
            std::thread::sleep(Duration::from_millis(2));
            self.harness.step();
        }
        self.harness.step();
        let rect = self.harness.ctx.content_rect();
        let bar = Rect::from_min_max(pos2(rect.min.x, rect.max.y - 34.0), rect.max);
        self.harness.mask(bar);
        // Processors round differently: the digit for tenths of a percent may differ.
        let options = egui_kittest::SnapshotOptions::new().max_failed_pixels(150);
        self.harness.snapshot_options(name, &options);
    }
}
