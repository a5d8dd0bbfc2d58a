//! The window: draw a digit, and look inside the networks that read it.
//!
//! Each network runs in a thread of its own on a device of its own ([`worker`]). A frame shows the results that have
//! come and asks about what is new; between two changes nothing runs at all.

pub mod bars;
pub mod canvas;
mod draw;
mod dream;
mod dropped;
pub mod field;
mod guide;
mod inside;
mod kept;
pub mod menu;
pub mod paint;
mod post;
pub mod reader;
pub mod remember;
mod scripts;
mod shared;
mod stop;
mod theme;
mod train;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use eframe::egui::{self, Event, Key, Modifiers, RichText, Ui};

pub use remember::{Memory, Panel, Remembered, Theme};
pub use shared::Shared;

use crate::device::Choice;
use dropped::{Came, Source};

/// The classifier that is opened by default.
pub const MODEL: &str = "best";

/// How long a closing window waits for a file that is being written.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// What the window is opened with.
pub struct Options {
    pub choice: Choice,
    /// Used instead of the classifier, or the generator, that was open last time.
    pub model: Option<PathBuf>,
    /// The folder whose models are listed.
    pub models: PathBuf,
    pub memory: Memory,
}

/// The window's contents.
pub struct App {
    shared: Shared,
    title: String,
    /// Width of the controls at the top right in the last frame; 0 before the first.
    aside_width: f32,
    dropped: dropped::Dropped,
    draw: draw::Draw,
    inside: inside::Inside,
    dream: dream::Dream,
    /// Created when the panel is first shown.
    train: Option<train::Train>,
}

impl App {
    pub fn new(ctx: &egui::Context, options: Options) -> App {
        let remembered = options.memory.load();
        theme::apply(ctx, remembered.theme);
        let mut app = App {
            shared: Shared::new(ctx.clone(), options.choice, &options.models, options.memory, remembered),
            title: String::new(),
            aside_width: 0.0,
            dropped: dropped::Dropped::default(),
            draw: draw::Draw::default(),
            inside: inside::Inside::default(),
            dream: dream::Dream::default(),
            train: None,
        };
        if let Some(model) = &options.model {
            app.open_model(model, menu::is_generator(model));
        }
        app
    }

    /// The state that the panels share; for tests.
    pub fn shared(&mut self) -> &mut Shared {
        &mut self.shared
    }

    /// One frame.
    pub fn show(&mut self, ui: &mut Ui) {
        self.shared.poll();
        self.take_dropped(ui);
        for (key, panel) in
            [(Key::F1, Panel::Draw), (Key::F2, Panel::Inside), (Key::F3, Panel::Dream), (Key::F4, Panel::Train)]
        {
            if ui.input_mut(|input| input.consume_key(Modifiers::NONE, key)) {
                self.shared.remembered.panel = panel;
            }
        }
        if let Some(train) = &mut self.train {
            train.listen(&mut self.shared);
        }
        egui::Panel::top("top").show(ui, |ui| self.top(ui));
        egui::Panel::bottom("bottom").show(ui, |ui| self.bottom(ui));
        egui::CentralPanel::default_margins().show(ui, |ui| match self.shared.remembered.panel {
            Panel::Draw => self.draw.ui(ui, &mut self.shared),
            Panel::Inside => self.inside.ui(ui, &mut self.shared),
            Panel::Dream => self.dream.ui(ui, &mut self.shared),
            Panel::Train => self.train.get_or_insert_default().ui(ui, &mut self.shared),
        });
        self.shared.ask();
        self.shared.settle();
        self.entitle(ui.ctx());
    }

    /// Puts the answer into the window's title, for whoever cannot see the bars or has other windows in front.
    fn entitle(&mut self, ctx: &egui::Context) {
        let shared = &self.shared;
        let answer = shared.answer(&shared.reader).zip(shared.reader.about());
        let title = match answer {
            Some((answer, about)) => {
                format!("inkgrad: {}", bars::sentence(&answer.pass().probabilities, &about.class_names))
            }
            None => "inkgrad".into(),
        };
        if title != self.title {
            ctx.send_viewport_cmd(egui::ViewportCommand::Title(title.clone()));
            self.title = title;
        }
    }

    fn top(&mut self, ui: &mut Ui) {
        let is_beside = ui.horizontal_wrapped(|ui| {
            let shared = &mut self.shared;
            ui.add_space(2.0);
            for (panel, name, help) in [
                (Panel::Draw, "Draw", "F1: draw a digit and see it read"),
                (Panel::Inside, "Inside", "F2: every layer, live"),
                (Panel::Dream, "Dream", "F3: digits that a generator draws"),
                (Panel::Train, "Train", "F4: watch a network learn"),
            ] {
                let text = RichText::new(name).size(16.0);
                if ui.selectable_label(shared.remembered.panel == panel, text).on_hover_text(help).clicked() {
                    shared.remembered.panel = panel;
                }
            }
            ui.separator();
            let selected = match shared.reader.about() {
                _ if shared.reader.is_opening() => "opening ...".into(),
                Some(about) => shared.menu.name(&about.path),
                None => "none".into(),
            };
            if let Some(path) = draw::models(ui, shared, "Model", &selected, 150.0) {
                self.open_model(&path, menu::is_generator(&path));
            }
            let is_beside = ui.available_size_before_wrap().x >= self.aside_width;
            if is_beside {
                self.aside(ui);
            }
            is_beside
        });
        if !is_beside.inner {
            ui.horizontal(|ui| self.aside(ui));
        }
    }

    /// The controls at the top right, in a row of their own where there is no room beside the rest.
    fn aside(&mut self, ui: &mut Ui) {
        let shared = &mut self.shared;
        let width = ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let help = "Opens the guide's page on what this panel shows, in the browser";
            if ui.button("Guide").on_hover_text(help).clicked() {
                open_guide(shared);
            }
            let mut theme = shared.remembered.theme;
            egui::ComboBox::from_label("Theme").selected_text(theme::name(theme)).width(80.0).show_ui(ui, |ui| {
                for one in [Theme::System, Theme::Light, Theme::Dark] {
                    ui.selectable_value(&mut theme, one, theme::name(one));
                }
            });
            if theme != shared.remembered.theme {
                shared.remembered.theme = theme;
                theme::apply(ui.ctx(), theme);
            }
            ui.min_rect().width()
        });
        if (width.inner - self.aside_width).abs() > 0.5 {
            self.aside_width = width.inner;
            ui.ctx().request_repaint();
        }
    }

    /// Messages, and the line that says what computes and how fast.
    fn bottom(&mut self, ui: &mut Ui) {
        let mut gone = None;
        for (i, message) in self.shared.messages().iter().enumerate() {
            ui.horizontal(|ui| {
                if ui.small_button("Dismiss").clicked() {
                    gone = Some(i);
                }
                ui.add(egui::Label::new(RichText::new(message).color(ui.visuals().warn_fg_color)).wrap());
            });
        }
        if let Some(i) = gone {
            self.shared.messages().remove(i);
        }
        ui.horizontal(|ui| {
            let shared = &self.shared;
            let device = shared.reader.about().map_or_else(|| shared.choice.name(), |about| about.device.clone());
            ui.label(device);
            if let Some(answer) = shared.reader.answer() {
                ui.separator();
                ui.label(format!("a pass takes {:.1} ms", answer.pass().seconds * 1e3));
            }
            // Only these panels have a pen.
            let is_drawn = matches!(shared.remembered.panel, Panel::Draw | Panel::Inside);
            if let Some(latency) = shared.latency.filter(|_| is_drawn) {
                ui.separator();
                ui.label(format!("from pen to bars {:.1} ms", latency.as_secs_f64() * 1e3));
            }
        });
    }

    /// Opens dropped or pasted models; puts dropped or pasted pictures into the field, and shows the field.
    fn take_dropped(&mut self, ui: &Ui) {
        // Then a text is meant for where it is typed.
        let is_typing = ui.ctx().text_edit_focused();
        let (dropped, pasted) = ui.input(|input| {
            let pasted = input.events.iter().find_map(|event| match event {
                Event::PasteImage(image) => Some(Source::Picture(image.clone())),
                Event::Paste(text) if !is_typing => Some(Source::Text(text.clone())),
                _ => None,
            });
            let files: Vec<PathBuf> = input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect();
            ((!files.is_empty()).then_some(Source::Files(files)), pasted)
        });
        if let Some(source) = dropped.or(pasted)
            && let Err(problem) = self.dropped.read(source, ui.ctx().clone())
        {
            self.shared.say(problem);
        }
        match self.dropped.take() {
            Some(Ok(Came::Model { path, draws })) => self.open_model(&path, draws),
            Some(Ok(Came::Drawing(drawing))) => {
                self.shared.field.show(drawing);
                // Inside shows the field too.
                if self.shared.remembered.panel != Panel::Inside {
                    self.shared.remembered.panel = Panel::Draw;
                }
            }
            Some(Err(problem)) => self.shared.say(problem),
            None => {}
        }
    }

    /// Begins to open a model: one that `draws` has a panel of its own, and all others read.
    fn open_model(&mut self, path: &Path, draws: bool) {
        if draws {
            self.shared.remembered.panel = Panel::Dream;
            self.dream.open(path);
        } else {
            self.shared.open(path);
        }
    }

    /// Lets the threads finish writing what they were asked to; called at the end, and by tests. Returns why something
    /// was not written.
    pub fn finish(&mut self) -> Vec<String> {
        let train = self.train.as_mut().map(|train| train.finish(LAST_WORDS, &mut self.shared)).unwrap_or_default();
        train.into_iter().chain(self.dream.finish(LAST_WORDS)).chain(self.shared.kept.finish(LAST_WORDS)).collect()
    }

    /// Saves what is to be remembered; called at the end, and by tests.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn remember(&self) -> Result<(), String> {
        self.shared.memory.save(&self.shared.remembered)
    }
}

/// What went wrong as the window was closed, which it cannot show any more.
#[derive(Default)]
pub struct Closed {
    /// Why something was not written.
    pub lost: Vec<String>,
    /// Why the settings were not saved.
    pub settings: Option<String>,
}

/// The contents on a screen.
struct OnScreen {
    app: App,
    closed: Sender<Closed>,
}

impl eframe::App for OnScreen {
    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        if let Some(rect) = ui.input(|input| input.viewport().inner_rect) {
            self.app.shared.remembered.size = unzoomed(rect.size(), ui.ctx().zoom_factor());
        }
        self.app.show(ui);
    }

    fn on_exit(&mut self) {
        // Twice: finishing may be cut short, and may rename what is remembered.
        let _ = self.app.remember();
        let lost = self.app.finish();
        let settings = self.app.remember().err();
        // Whoever opened the window listens until it is closed.
        let _ = self.closed.send(Closed { lost, settings });
    }
}

/// A size in the points of a window that is not zoomed, as the next one is when it opens.
fn unzoomed(size: egui::Vec2, zoom: f32) -> [f32; 2] {
    (size * zoom).into()
}

/// The guide's page for the panel, in the browser.
fn open_guide(shared: &mut Shared) {
    let folder = crate::cache::folder().unwrap_or_else(std::env::temp_dir).join("docs");
    match guide::write(&folder, guide::page(shared.remembered.panel)) {
        Ok(page) => {
            shared.ctx.open_url(egui::OpenUrl::new_tab(guide::url(&page)));
            // Nothing tells whether there is a browser.
            shared.say(format!("If no browser opens, the guide is in {}.", folder.join("guide").display()));
        }
        Err(problem) => shared.say(problem),
    }
}

/// Opens the window and returns when it is closed, by the user or because `stop` is set.
///
/// # Errors
/// A message, if there is no display, or nothing that can draw on it.
pub fn run(options: Options, stop: Arc<AtomicBool>) -> Result<Closed, String> {
    use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};

    let remembered = options.memory.load();
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    // If a GPU computes, it draws the window too.
    if let Some(info) = options.choice.adapter().cloned() {
        setup.native_adapter_selector = Some(Arc::new(move |adapters, surface| {
            let fits =
                |adapter: &&eframe::wgpu::Adapter| surface.is_none_or(|surface| adapter.is_surface_supported(surface));
            let same = |adapter: &&eframe::wgpu::Adapter| adapter.get_info().name == info.name;
            let found = adapters.iter().filter(fits).find(same).or_else(|| adapters.iter().find(fits));
            found.cloned().ok_or_else(|| "no adapter can draw on this display".into())
        }));
    }
    let viewport = egui::ViewportBuilder::default()
        .with_title("inkgrad")
        .with_app_id("inkgrad")
        .with_inner_size(remembered.size)
        .with_min_inner_size(remember::SMALLEST)
        .with_drag_and_drop(true);
    let native = eframe::NativeOptions {
        viewport,
        renderer: eframe::Renderer::Wgpu,
        // `scripts` looks for what it lacks: the toolkit's own way ends the program where a system has no fonts.
        system_font_fallback: false,
        wgpu_options: WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..Default::default() },
        ..Default::default()
    };
    let (closed, told) = mpsc::channel();
    let start: eframe::AppCreator<'_> = Box::new(|cc| {
        stop::close_once_set(stop, cc.egui_ctx.clone())?;
        scripts::fall_back(&cc.egui_ctx);
        Ok(Box::new(OnScreen { app: App::new(&cc.egui_ctx, options), closed }))
    });
    eframe::run_native("inkgrad", native, start).map_err(|error| error.to_string())?;
    Ok(told.try_recv().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zoomed_window_is_remembered_as_large_as_it_is_on_the_screen() {
        let ctx = egui::Context::default();
        let size = egui::vec2(1200.0, 800.0);
        assert_eq!(unzoomed(size, ctx.zoom_factor()), [1200.0, 800.0]);
        // Zoomed to twice the size, half as many points fit in.
        assert_eq!(unzoomed(size / 2.0, 2.0), [1200.0, 800.0]);
    }
}
