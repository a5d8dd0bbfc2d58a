//! The panel that looks inside the network: every layer's output while the user draws, and any value taken apart.

mod detail;
mod layers;
mod nearest;
mod overlay;

use std::path::{Path, PathBuf};

use eframe::egui::{self, RichText, Sense, Ui, vec2};

use self::detail::Detail;
use self::layers::{Layers, Unit};
use self::nearest::Nearest;
use self::overlay::{Over, Overlay};
use super::bars;
use super::draw::warn_of_light;
use super::menu::snapshot;
use super::paint::{self, Picture};
use super::shared::Shared;
use super::theme;
use crate::run_files::is_run;
use crate::train::Folder;

/// Width of the column with the drawing, in points.
const LEFT: f32 = 252.0;
/// Widths of the column that takes a value apart.
const RIGHT: std::ops::RangeInclusive<f32> = 344.0..=480.0;
/// Least width for the layers between the two while no value is chosen.
const MIDDLE: f32 = 280.0;

#[derive(Default)]
pub struct Inside {
    layers: Layers,
    detail: Detail,
    overlay: Overlay,
    nearest: Nearest,
    seen: Picture,
    seen_of: Option<std::time::Instant>,
    over: Over,
    /// The class that saliency and occlusion ask about; the winner, unless the user chose one.
    class: Option<usize>,
    chosen: Option<Unit>,
    opened: u64,
    snapshots: Snapshots,
}

/// The checkpoints of a run, and after them its model.
#[derive(Default)]
struct Snapshots {
    run: Option<PathBuf>,
    files: Vec<(usize, PathBuf)>,
    /// Whether there is a model after them.
    has_model: bool,
    /// What the model after them is called: the run's best one, or another of the run's files while that is open.
    model: String,
    /// Where the slider is, and where on it the model is that is open.
    at: usize,
    opened: usize,
}

impl Inside {
    pub fn ui(&mut self, ui: &mut Ui, shared: &mut Shared) {
        shared.wanted.activations = true;
        if self.over == Over::Saliency {
            shared.wanted.saliency = Some(self.class(shared));
        }
        if self.opened != shared.reader.opened() {
            self.opened = shared.reader.opened();
            // Another step of the same run has the same units.
            let run = shared.reader.about().and_then(|about| run_of(&about.path));
            if run.is_none() || run != self.snapshots.run {
                self.chosen = None;
                self.class = None;
            }
            self.snapshots.follow(run, shared.reader.about().map(|about| about.path.clone()));
        } else if !shared.reader.is_opening() && !ui.input(|input| input.pointer.any_down()) {
            // A snapshot that could not be opened is not what is shown. A slider that is held there would ask again.
            self.snapshots.at = self.snapshots.opened;
        }
        let right = right_of(ui.available_width());
        let has_right = self.chosen.is_some() || ui.available_width() >= LEFT + MIDDLE + right;
        egui::Panel::left("drawing").exact_size(LEFT).resizable(false).show(ui, |ui| {
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| self.left(ui, shared));
        });
        if has_right {
            egui::Panel::right("detail").exact_size(right).resizable(false).show(ui, |ui| {
                egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| self.right(ui, shared));
            });
        }
        egui::CentralPanel::default_margins().show(ui, |ui| {
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                if !has_right {
                    invite(ui);
                    ui.separator();
                }
                self.middle(ui, shared);
            });
        });
    }

    /// The class that is asked about.
    fn class(&self, shared: &Shared) -> usize {
        let reader = &shared.reader;
        let classes = reader.about().map_or(1, |about| about.class_names.len());
        let winner = reader.answer().and_then(|answer| bars::ranked(&answer.pass().probabilities).first().copied());
        self.class.or(winner).unwrap_or(0).min(classes.saturating_sub(1))
    }

    fn left(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let side = LEFT - 32.0;
        let response = shared.canvas.show(ui, &mut shared.field, side);
        let ask = shared.canvas.keys(ui, &mut shared.field, &response);
        shared.fulfil(ask);
        shared.ask();
        if let (Some(answer), Some(chosen), Some(about)) = (shared.reader.answer(), self.chosen, shared.reader.about())
            && answer.is_of_field(about)
        {
            overlay::receptive(ui, response.rect, &about.anatomy, chosen);
        }
        ui.horizontal(|ui| {
            if ui.add_enabled(!shared.field.is_blank(), egui::Button::new("Clear")).clicked() {
                shared.field.clear();
            }
            let is_only_drawn = shared.takes_drawings_as_they_are();
            let mut prepared = shared.remembered.prepared && !is_only_drawn;
            let checkbox = ui.add_enabled(!is_only_drawn, egui::Checkbox::new(&mut prepared, "As MNIST"));
            if checkbox.on_hover_text("Cropped, scaled and centred").changed() {
                shared.remembered.prepared = prepared;
            }
        });
        let names = shared.reader.about().map(|about| about.class_names.clone()).unwrap_or_default();
        let said = match shared.answer(&shared.reader) {
            Some(answer) => bars::sentence(&answer.pass().probabilities, &names),
            None => shared.unanswered(&shared.reader).into(),
        };
        ui.strong(said);
        warn_of_light(ui, shared, &shared.reader);
        ui.separator();
        self.picture(ui, shared, &names, side);
        ui.separator();
        let unanswered = shared.answer(&shared.reader).is_none().then(|| shared.unanswered(&shared.reader));
        self.nearest.ui(ui, &mut shared.reader, unanswered);
    }

    /// What the network sees, with what speaks for a class.
    fn picture(&mut self, ui: &mut Ui, shared: &mut Shared, names: &[String], side: f32) {
        ui.strong("What the network sees");
        let class = self.class(shared);
        ui.horizontal_wrapped(|ui| {
            for over in Over::ALL {
                if ui.selectable_label(self.over == over, over.name()).on_hover_text(over.help()).clicked() {
                    self.over = over;
                }
            }
        });
        let asked = shared.reader.answer().map(|answer| answer.question.asked);
        if let (Some(answer), Some(about)) = (shared.reader.answer(), shared.reader.about())
            && self.seen_of != asked
        {
            let [h, w, _] = about.input;
            self.seen.set(ui.ctx(), "seen", paint::gray([h, w], &answer.pass().picture));
            self.seen_of = asked;
        }
        let mut name = String::from("what the network sees");
        if let Some(asked) = asked {
            let problem = self.overlay.update(ui.ctx(), &mut shared.reader, self.over, class, asked);
            if let Some(problem) = problem {
                shared.say(problem);
                self.over = Over::Nothing;
            }
            if self.over != Over::Nothing && self.overlay.picture.texture().is_some() {
                let of = names.get(class).map_or_else(|| class.to_string(), Clone::clone);
                name = format!("{name}, {} of {of}", self.over.name().to_lowercase());
            }
        }
        let response = self.seen.show(ui, vec2(side, side), &name, Sense::hover());
        if asked.is_some() && self.over != Over::Nothing {
            self.overlay.picture.paint(ui.painter(), response.rect);
        }
        if let (Some(chosen), Some(about)) = (self.chosen, shared.reader.about()) {
            overlay::receptive(ui, response.rect, &about.anatomy, chosen);
        }
        if self.over != Over::Nothing && !names.is_empty() {
            let said = self.class.and_then(|class| names.get(class)).map_or("the winner".into(), Clone::clone);
            egui::ComboBox::from_label("is asked about").selected_text(said).width(90.0).show_ui(ui, |ui| {
                ui.selectable_value(&mut self.class, None, "the winner");
                for (class, name) in names.iter().enumerate() {
                    ui.selectable_value(&mut self.class, Some(class), name);
                }
            });
            ui.horizontal(|ui| {
                let [above, below] = theme::signs(ui.visuals());
                ui.colored_label(above, "for it");
                ui.colored_label(below, "against it");
            });
        }
    }

    fn middle(&mut self, ui: &mut Ui, shared: &mut Shared) {
        self.snapshots.ui(ui, shared);
        let Some(about) = shared.reader.about() else {
            ui.label("No model is open.");
            return;
        };
        let anatomy = about.anatomy.clone();
        let opened = shared.reader.opened();
        self.layers.keep_to(opened);
        if let Some(answer) = shared.reader.answer() {
            self.layers.set(ui.ctx(), anatomy.layers(), answer.pass(), (opened, answer.question.asked));
        }
        for (i, layer) in anatomy.layers().iter().enumerate() {
            let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
            ui.horizontal_wrapped(|ui| {
                ui.strong(&layer.name);
                if layer.describe != layer.name {
                    ui.label(&layer.describe);
                }
                let numbers =
                    if layer.parameters > 0 { format!(", {} weights", layer.parameters) } else { String::new() };
                ui.weak(format!("gives {}{numbers}", shape.join(" x ")));
            });
            if let Some(clicked) = self.layers.show(ui, i, layer, self.chosen) {
                self.chosen = Some(clicked);
            }
            ui.add_space(6.0);
        }
    }

    fn right(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let answer = shared.reader.answer().filter(|answer| !answer.pass().activations.is_empty());
        match (self.chosen, answer, shared.reader.about()) {
            (Some(chosen), Some(answer), Some(about)) => {
                let anatomy = about.anatomy.clone();
                self.detail.ui(ui, &anatomy, shared.reader.opened(), answer.pass(), chosen);
                if ui.button("Close").clicked() {
                    self.chosen = None;
                }
            }
            _ => invite(ui),
        }
    }
}

/// Width of the column that takes a value apart, in a panel of that width: where there is room, the layers have as much.
fn right_of(width: f32) -> f32 {
    ((width - LEFT) / 2.0).floor().clamp(*RIGHT.start(), *RIGHT.end())
}

/// Says what can be done while no value is chosen.
fn invite(ui: &mut Ui) {
    ui.strong("One value");
    ui.label(
        "Click into a layer's picture: its kernel, the part of the drawing it depends on (green), and the arithmetic \
         that gave the value are shown here.",
    );
    ui.add_space(6.0);
    ui.label(RichText::new("Colours are scaled to each layer's largest value:").weak());
    ui.horizontal(|ui| {
        let [above, below] = theme::signs(ui.visuals());
        ui.colored_label(above, "above nought");
        ui.colored_label(below, "below");
    });
}

/// The run that a model belongs to: its folder, or that of the snapshots.
fn run_of(model: &Path) -> Option<PathBuf> {
    if model.is_dir() {
        return Some(model.to_owned());
    }
    if let Some((run, _)) = snapshot(model) {
        return Some(run.to_owned());
    }
    let folder = model.parent().filter(|folder| folder.file_name().is_some())?;
    is_run(folder).then(|| folder.to_owned())
}

impl Snapshots {
    /// The snapshots of a run, if it kept any.
    fn follow(&mut self, run: Option<PathBuf>, model: Option<PathBuf>) {
        self.files = run.as_deref().map(Folder::snapshots).unwrap_or_default();
        let at = self.files.iter().position(|(_, path)| Some(path) == model.as_ref());
        self.opened = at.unwrap_or(self.files.len());
        self.at = self.opened;
        let best = run.as_deref().map(Folder::best_of);
        self.has_model = at.is_none() || best.as_ref().is_some_and(|best| best.is_file());
        let other = model.filter(|model| at.is_none() && Some(model) != best.as_ref() && Some(model) != run.as_ref());
        self.model = match (other, run.as_deref().and_then(Folder::best_epoch)) {
            (Some(other), _) => other.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            (None, Some(epoch)) => format!("the best model, of epoch {epoch}"),
            (None, None) => "the best model".into(),
        };
        self.run = run;
    }

    /// What the slider's position is called, and what opens it.
    fn place(&self, at: usize) -> (String, Option<&Path>) {
        match self.files.get(at) {
            Some((step, path)) => (format!("after {step} steps"), Some(path)),
            None => (self.model.clone(), self.run.as_deref()),
        }
    }

    fn ui(&mut self, ui: &mut Ui, shared: &mut Shared) {
        if self.files.is_empty() {
            return;
        }
        let mut at = self.at;
        ui.horizontal(|ui| {
            let last = if self.has_model { self.files.len() } else { self.files.len() - 1 };
            ui.add(egui::Slider::new(&mut at, 0..=last).show_value(false).text("Watch it learn"));
            ui.label(self.place(at).0);
        });
        if at != self.at {
            self.at = at;
            if let (_, Some(path)) = self.place(at) {
                shared.open(path);
            }
        }
        ui.separator();
    }
}
