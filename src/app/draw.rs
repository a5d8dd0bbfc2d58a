//! The panel to draw on, and what one or two networks read.

use std::path::PathBuf;

use eframe::egui::{self, AtomExt, Color32, FontId, RichText, Sense, Ui, vec2};

use super::bars;
use super::canvas::{RADII, REDO, UNDO};
use super::field::Tool;
use super::paint::{self, Picture};
use super::reader::{Answer, Reader};
use super::shared::Shared;
use crate::infer::look::Pass;

/// Side of the small pictures of what a network sees, in points.
const SEEN: f32 = 112.0;

/// Width of the tools in one row and in two, in points.
const TOOLS: [f32; 2] = [550.0, 270.0];

/// Width that a menu of models needs beside the name, for its arrow and margins.
const ARROW: f32 = 40.0;

#[derive(Default)]
pub struct Draw {
    drawn: Picture,
    prepared: Picture,
    /// The answer whose pictures are shown.
    shown: Option<std::time::Instant>,
}

impl Draw {
    pub fn ui(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let side = side(ui.available_width(), ui.available_height());
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(side);
                ui.set_max_width(side);
                tools(ui, shared);
                let response = shared.canvas.show(ui, &mut shared.field, side);
                let ask = shared.canvas.keys(ui, &mut shared.field, &response);
                shared.fulfil(ask);
                shared.ask();
                hint(ui, shared, response.has_focus());
            });
            ui.add_space(8.0);
            ui.vertical(|ui| {
                // The tools may be wider than a small field.
                ui.set_width((ui.available_width() - 8.0).max(200.0));
                egui::ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| self.answers(ui, shared));
            });
        });
    }

    fn answers(&mut self, ui: &mut Ui, shared: &mut Shared) {
        self.pictures(ui, shared);
        ui.add_space(8.0);
        let width = ui.available_width();
        match &shared.second {
            None => {
                reading(ui, width.min(460.0), shared, &shared.reader);
            }
            Some(second) => {
                let half = (width - 20.0) / 2.0;
                ui.horizontal_top(|ui| {
                    ui.vertical(|ui| {
                        ui.set_width(half);
                        heading(ui, name_of(shared, &shared.reader));
                        reading(ui, half, shared, &shared.reader);
                    });
                    ui.add_space(12.0);
                    ui.vertical(|ui| {
                        ui.set_width(half);
                        heading(ui, name_of(shared, second));
                        reading(ui, half, shared, second);
                    });
                });
            }
        }
        ui.add_space(6.0);
        let (label, selected) = match &shared.second {
            Some(second) => ("Beside it", name_of(shared, second)),
            None => ("Compare with", "a second model".into()),
        };
        ui.horizontal_wrapped(|ui| {
            if let Some(path) = models(ui, shared, label, &selected, 170.0) {
                shared.open_second(Some(&path));
            }
            if shared.second.is_some() && ui.button("Close").on_hover_text("Closes the second model").clicked() {
                shared.open_second(None);
            }
        });
    }

    /// What the network sees of the drawing as it is and as prepared; the user chooses here which one counts.
    fn pictures(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let answer = shared.reader.answer();
        let newest = answer.map(|answer| answer.question.asked);
        if let (Some(answer), Some(about)) = (answer, shared.reader.about())
            && self.shown != newest
        {
            let [h, w, _] = about.input;
            self.drawn.set(ui.ctx(), "drawn", paint::gray([h, w], &answer.drawn.picture));
            match &answer.prepared {
                Some(pass) => self.prepared.set(ui.ctx(), "prepared", paint::gray([h, w], &pass.picture)),
                None => self.prepared.clear(),
            }
            self.shown = newest;
        }
        let names = shared.reader.about().map(|about| about.class_names.clone()).unwrap_or_default();
        let said = |pass: Option<&Pass>| match pass {
            Some(pass) => bars::winner(&pass.probabilities, &names),
            None => "-".into(),
        };
        let answer = shared.answer(&shared.reader);
        let [drawn, prepared] =
            [said(answer.map(|answer| &answer.drawn)), said(answer.and_then(|answer| answer.prepared.as_ref()))];
        // Then there is nothing to choose.
        let is_only_drawn = shared.takes_drawings_as_they_are();
        ui.label(RichText::new("What the network sees").strong());
        ui.horizontal(|ui| {
            let one = |ui: &mut Ui, picture: &Picture, name: &str, said: &str, chosen: bool| {
                ui.vertical(|ui| {
                    ui.set_width(SEEN + 16.0);
                    let response = picture.show(ui, vec2(SEEN, SEEN), &format!("{name}: {said}"), Sense::click());
                    let stroke = if chosen { ui.visuals().selection.stroke } else { ui.visuals().window_stroke };
                    let stroke = egui::Stroke::new(if chosen { 3.0 } else { 1.0 }, stroke.color);
                    ui.painter().rect_stroke(response.rect, 0.0, stroke, egui::StrokeKind::Outside);
                    let clicked = ui.radio(chosen, name).clicked() || response.clicked();
                    ui.label(said);
                    clicked
                })
                .inner
            };
            let is_prepared = shared.remembered.prepared && !is_only_drawn;
            if one(ui, &self.drawn, "As drawn", &drawn, !is_prepared) && !is_only_drawn {
                shared.remembered.prepared = false;
            }
            if !is_only_drawn && one(ui, &self.prepared, "As MNIST", &prepared, is_prepared) {
                shared.remembered.prepared = true;
            }
            ui.vertical(|ui| {
                ui.set_width(ui.available_width().clamp(80.0, 240.0));
                about_pictures(ui, shared);
            });
        });
    }
}

/// The side of the field: it leaves room for the answers beside it, and for the tools above and the hint below, which
/// take more rows where it is narrow.
fn side(width: f32, height: f32) -> f32 {
    let most = (height - 74.0).min(width * 0.6);
    let rooms = TOOLS.into_iter().zip([100.0, 140.0]);
    let side = rooms.fold(most, |side, (tools, room)| if side < tools { side.min(height - room) } else { side });
    side.clamp(160.0, 1600.0).floor()
}

/// Says what pictures the networks have learned from.
fn about_pictures(ui: &mut Ui, shared: &Shared) {
    let text = match shared.reader.about() {
        Some(about) if about.takes_pictures_as_they_are => {
            "This network has learned from pictures as they were. What you draw, drop or paste is only brought to its \
             size."
        }
        _ => {
            "MNIST's digits were cropped, scaled and centred by their centre of mass. A network that has seen only \
             such digits fails on others."
        }
    };
    ui.label(RichText::new(text).weak());
    for reader in [Some(&shared.reader), shared.second.as_ref()].into_iter().flatten() {
        warn_of_light(ui, shared, reader);
    }
}

/// Warns of a network that has learned from light pictures, and is given a drawing on black.
pub fn warn_of_light(ui: &mut Ui, shared: &Shared, reader: &Reader) {
    if shared.field.is_on_black() && reader.about().is_some_and(|about| about.knows_light_pictures) {
        let name = name_of(shared, reader);
        let text = format!(
            "{name} has learned from light pictures, and the field is black: it may misread drawings. Dropped and \
             pasted pictures stay light."
        );
        ui.colored_label(ui.visuals().warn_fg_color, text);
    }
}

fn name_of(shared: &Shared, reader: &Reader) -> String {
    reader.about().map_or("...".into(), |about| shared.menu.name(&about.path))
}

/// A heading in one row, however long the name, so that the bars of both readers line up.
fn heading(ui: &mut Ui, name: String) {
    ui.add(egui::Label::new(RichText::new(name).strong()).truncate());
}

/// A reader's bars, and its answer as a sentence in one row: bars that jump while one draws are hard to follow.
fn reading(ui: &mut Ui, width: f32, shared: &Shared, reader: &Reader) {
    let Some(about) = reader.about() else {
        ui.label(if reader.is_opening() { "Opening the model ..." } else { "No model is open; choose one above." });
        return;
    };
    let pass = shared.answer(reader).map(Answer::pass);
    let size = if width < 300.0 { 14.0 } else { 17.0 };
    let fits = |said: &str| {
        let (font, colour) = (FontId::proportional(size), Color32::PLACEHOLDER);
        ui.fonts_mut(|fonts| fonts.layout_no_wrap(said.into(), font, colour)).size().x <= width
    };
    let said = match pass {
        Some(pass) => bars::fitted(&pass.probabilities, &about.class_names, fits),
        None => shared.unanswered(reader).into(),
    };
    ui.add(egui::Label::new(RichText::new(said).size(size).strong()).truncate());
    let why = if shared.field.is_blank() { "nothing drawn" } else { "no answer" };
    bars::show(ui, width, &about.class_names, pass.map(|pass| &pass.probabilities[..]).ok_or(why));
}

/// A menu of models, to be filled by the caller. A long name leaves room for the arrow.
pub fn menu<'a>(label: &'a str, selected: &'a str, width: f32) -> egui::ComboBox<'a> {
    let shown = selected.atom_max_width(width - ARROW);
    egui::ComboBox::from_label(label).selected_text(shown).width(width).height(420.0)
}

/// Whether a list that is shown now was not in the last frame: then it is time to look again, before its size is known.
pub fn has_just_opened(ui: &Ui) -> bool {
    let (id, frame) = (ui.scope_id().with("listed"), ui.ctx().cumulative_frame_nr());
    let last = ui.data_mut(|data| data.get_temp_mut_or_default::<Option<u64>>(id).replace(frame));
    last.is_none_or(|last| frame > last + 1)
}

/// A menu of models; returns the one that was chosen.
pub fn models(ui: &mut Ui, shared: &mut Shared, label: &str, selected: &str, width: f32) -> Option<PathBuf> {
    let mut chosen = None;
    menu(label, selected, width).show_ui(ui, |ui| {
        if has_just_opened(ui) {
            shared.menu.refresh();
        }
        ui.weak("Shipped with inkgrad");
        for entry in &shared.menu.shipped {
            if ui.selectable_label(entry.name == selected, &entry.name).clicked() {
                chosen = Some(entry.path.clone());
            }
        }
        ui.separator();
        ui.weak(shared.menu.folder().display().to_string());
        for entry in &shared.menu.found {
            if ui.selectable_label(entry.name == selected, &entry.name).clicked() {
                chosen = Some(entry.path.clone());
            }
        }
        if shared.menu.more > 0 {
            ui.weak(format!("and {} more, earlier by name", shared.menu.more));
        }
        if let Some(problem) = &shared.menu.problem {
            ui.label(problem);
        } else if shared.menu.found.is_empty() {
            ui.weak("no models yet: train one in the Train panel and press Keep");
        }
        if ui.button("Look again").clicked() {
            shared.menu.refresh();
        }
    });
    chosen
}

fn tools(ui: &mut Ui, shared: &mut Shared) {
    ui.horizontal_wrapped(|ui| {
        let erasing = shared.canvas.tool == Tool::Eraser;
        if ui.selectable_label(!erasing, "Brush").on_hover_text("Key 2 switches between brush and eraser").clicked() {
            shared.canvas.tool = Tool::Brush;
        }
        if ui.selectable_label(erasing, "Eraser").on_hover_text("Key 2, or the right mouse button").clicked() {
            shared.canvas.tool = Tool::Eraser;
        }
        let size = egui::Slider::new(&mut shared.canvas.radius, RADII).show_value(false).text("Size");
        ui.add(size).on_hover_text("Keys [ and ]");
        ui.separator();
        let button = |ui: &mut Ui, enabled, name: &str, help: &str| {
            ui.add_enabled(enabled, egui::Button::new(name)).on_hover_text(help).clicked()
        };
        let [undo, redo] = [UNDO, REDO].map(|keys| ui.ctx().format_shortcut(&keys));
        if button(ui, shared.field.can_undo(), "Undo", &undo) {
            shared.field.undo();
        }
        if button(ui, shared.field.can_redo(), "Redo", &redo) {
            shared.field.redo();
        }
        if button(ui, !shared.field.is_blank(), "Clear", "Caps Lock or Delete") {
            shared.field.clear();
        }
        if button(ui, !shared.field.is_blank(), "Keep", "Tab, in the field") {
            shared.fulfil(Some(super::canvas::Ask::Save));
        }
        if button(ui, shared.kept.drawing().is_some(), "Recall", "Key 1") {
            shared.fulfil(Some(super::canvas::Ask::Recall));
        }
    });
}

fn hint(ui: &mut Ui, shared: &Shared, is_focused: bool) {
    let text = match is_focused && !shared.field.is_blank() {
        _ if shared.has_just_kept() => "Kept. Key 1 brings the drawing back.",
        true => "Tab keeps the drawing, 1 recalls it, 2 erases, Delete clears. Esc, then Tab: other controls.",
        false => "Draw here, drop or paste a picture. With the keys: arrows move the pen, Space puts it down.",
    };
    ui.add(egui::Label::new(RichText::new(text).weak()).wrap());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_looks_again_in_the_first_frame_that_shows_it() {
        let ctx = egui::Context::default();
        let frame = |shown: &[&str]| {
            let mut opened = Vec::new();
            let list = |ui: &mut Ui, name: &str| ui.push_id(name, |ui| has_just_opened(ui)).inner;
            let output = ctx.run_ui(egui::RawInput::default(), |ui| {
                opened = shown.iter().map(|name| list(ui, name)).collect();
            });
            output.drop_without_applying_deltas();
            opened
        };
        assert_eq!(frame(&["models"]), [true]);
        // Shown twice in one frame, as while its size is being found out.
        assert_eq!(frame(&["models", "models"]), [false, false]);
        assert_eq!(frame(&["networks"]), [true], "another list is looked at by itself");
        assert_eq!(frame(&["models", "networks"]), [true, false]);
        assert!(frame(&[]).is_empty());
        assert_eq!(frame(&["models"]), [true]);
    }
}
