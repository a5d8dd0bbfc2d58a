//! The pictures, and what can be done with them.

use std::time::Duration;

use eframe::egui::{self, Button, DragValue, Label, RichText, ScrollArea, Slider, Ui, vec2};
use image::{DynamicImage, GrayImage, RgbImage};

use super::Dream;
use super::engine::{About, Answer, Judged};
use super::pictures::{self, Show};
use super::save::Job;
use super::wish::{SIDES, STEPS, View};
use crate::app::field::Drawing;
use crate::app::remember::Panel;
use crate::app::shared::Shared;

/// Sides of pictures in a grid, in points.
const CELL: std::ops::RangeInclusive<f32> = 46.0..=220.0;
const GAP: f32 = 6.0;
/// How many pixels wide and high a digit's pixel is saved.
const SCALES: std::ops::RangeInclusive<u32> = 1..=32;

impl Dream {
    pub(super) fn view(&mut self, ui: &mut Ui, shared: &mut Shared) {
        self.toolbar(ui, shared);
        self.tools_of_view(ui);
        ui.separator();
        let Some(engine) = &self.engine else { return };
        let (Some(about), Some(answer)) = (engine.about(), engine.answer()) else {
            let text = if engine.is_opening() || engine.about().is_some() {
                "Opening the generator ..."
            } else {
                "No generator is open; choose one on the left."
            };
            ui.label(text);
            return;
        };
        status(ui, about, answer);
        let show = Show { atlas: &self.atlas, answer, about };
        let chosen = match answer.wish.view {
            View::One => {
                let side = (ui.available_height() - 30.0).min(ui.available_width()).clamp(120.0, 1400.0);
                show.large(ui, 0, side.floor());
                None
            }
            View::Seeds | View::Around => {
                let available = ui.available_size();
                let side = answer.wish.side as f32;
                let cell = ((available.x - 12.0) / side).min(available.y / side - pictures::CAPTION) - GAP;
                grid(ui, &show, cell, None)
            }
            View::Between => between(ui, &show, &mut self.way),
        };
        if let Some(index) = chosen {
            let settings = answer.wish.pick(index);
            if answer.wish.view == View::Between {
                self.way.go(index);
            }
            if let Some(wish) = &mut self.wish {
                wish.settings = settings;
            }
        }
    }

    /// The choice of the view, and what can be done with the current digit.
    fn toolbar(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let Some(wish) = &mut self.wish else { return };
        ui.horizontal_wrapped(|ui| {
            for (view, name, help) in [
                (View::One, "One", "The current digit, large"),
                (View::Seeds, "Other seeds", "The same label with the next seeds"),
                (View::Around, "Around it", "Small changes to the current digit"),
                (View::Between, "From A to B", "One digit turns into another"),
            ] {
                ui.selectable_value(&mut wish.view, view, name).on_hover_text(help);
            }
            ui.separator();
            for (end, name) in wish.ends.iter_mut().zip(["Keep as A", "Keep as B"]) {
                let help = "Keeps the current digit as one end of From A to B";
                if ui.button(name).on_hover_text(help).clicked() {
                    *end = wish.settings.digit();
                }
            }
        });
        ui.horizontal_wrapped(|ui| {
            let Some(engine) = &self.engine else { return };
            let drawn = engine.about().zip(engine.answer());
            let picture = drawn.and_then(|(about, answer)| picture(about, answer));
            let help = "Puts the current digit into the Draw panel, for any network to read";
            if ui.add_enabled(picture.is_some(), Button::new("To the field")).on_hover_text(help).clicked()
                && let Some(picture) = picture
            {
                shared.field.show(Drawing::of(picture));
                shared.remembered.panel = Panel::Draw;
                ui.ctx().request_repaint();
            }
            ui.separator();
            let job = drawn.and_then(|(about, answer)| {
                Job::of(&answer.wish, &answer.pictures, about.image, self.scale, &self.folder)
            });
            let button = ui.add_enabled(job.is_some() && !self.saver.is_saving(), Button::new("Save as PNG"));
            if button.on_hover_text("Saves this view to the folder in which inkgrad was started").clicked()
                && let Some(job) = job
            {
                let ctx = ui.ctx().clone();
                self.saver.save(job, move || ctx.request_repaint());
            }
            let name = ui.label("Scale");
            ui.add(DragValue::new(&mut self.scale).range(SCALES).speed(0.1)).labelled_by(name.id);
            if self.saver.is_saving() {
                ui.weak("saving ...");
            } else if let Some(path) = self.saver.saved() {
                let path = path.display().to_string();
                ui.add(Label::new(RichText::new(format!("Saved: {path}")).weak()).truncate()).on_hover_text(path);
            }
        });
    }

    fn tools_of_view(&mut self, ui: &mut Ui) {
        let Some(wish) = &mut self.wish else { return };
        ui.horizontal_wrapped(|ui| {
            if matches!(wish.view, View::Seeds | View::Around) {
                ui.add(Slider::new(&mut wish.side, SIDES).text("Rows"));
            }
            match wish.view {
                View::One => {
                    ui.weak("What the sliders make, and what the judge reads.");
                }
                View::Seeds => {}
                View::Around => {
                    let help = "0: no change; 1: as different as any other digit of this label";
                    ui.add(Slider::new(&mut wish.strength, 0.0..=1.0).max_decimals(2).text("Strength"))
                        .on_hover_text(help);
                }
                View::Between => {
                    ui.add(Slider::new(&mut wish.steps, STEPS).text("Pictures"));
                }
            }
            if matches!(wish.view, View::Seeds | View::Around) {
                ui.weak("Choose one to go on with it.");
            }
        });
    }
}

/// Says how many pictures of the view were read as asked.
fn status(ui: &mut Ui, about: &About, answer: &Answer) {
    let count = answer.wish.count();
    let readings = answer.readings.get(1..).unwrap_or_default();
    let text = match &about.judge {
        Judged::Not(why) => format!("Not read: {why}."),
        Judged::As(_) => {
            let asked = readings.iter().filter_map(|reading| reading.as_asked);
            match asked.clone().count() {
                0 => "No class makes up more than half of the label, so none is asked for.".into(),
                asked_for => format!("{} of {asked_for} read as asked", asked.filter(|right| *right).count()),
            }
        }
    };
    let is_read = matches!(about.judge, Judged::As(_));
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(text).strong());
        ui.weak(format!("{} in {:.0} ms with {}", done(count, is_read), answer.seconds * 1e3, about.device));
    });
}

/// `25 pictures drawn and read`
fn done(count: usize, is_read: bool) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} picture{s} drawn{}", if is_read { " and read" } else { "" })
}

/// The pictures of a view in rows; returns the one that was chosen.
fn grid(ui: &mut Ui, show: &Show, cell: f32, marked: Option<usize>) -> Option<usize> {
    let cell = cell.clamp(*CELL.start(), *CELL.end()).floor();
    let [rows, columns] = show.answer.wish.layout();
    let step = vec2(cell + GAP, cell + GAP + pictures::CAPTION);
    let mut chosen = None;
    ScrollArea::both().id_salt("dream grid").auto_shrink([false, true]).show(ui, |ui| {
        let size = vec2(columns as f32 * step.x, rows as f32 * step.y);
        let (area, _) = ui.allocate_exact_size(size, egui::Sense::hover());
        for index in 0..show.answer.wish.count() {
            let corner = area.min + vec2((index % columns) as f32 * step.x, (index / columns) as f32 * step.y);
            let place = egui::Rect::from_min_size(corner + vec2(2.0, 2.0), vec2(cell, cell));
            if show.cell(ui, place, index + 1, marked == Some(index)).clicked() {
                chosen = Some(index);
            }
        }
    });
    chosen
}

fn between(ui: &mut Ui, show: &Show, way: &mut super::Way) -> Option<usize> {
    let steps = show.answer.wish.steps;
    let now = ui.input(|input| input.time);
    let mut step = way.step(now, steps);
    ui.horizontal(|ui| {
        let name = if way.plays() { "Stop" } else { "Animate" };
        if ui.add_sized([64.0, 20.0], Button::new(name)).on_hover_text("From A to B and back").clicked() {
            if way.plays() { way.stop() } else { way.play(now) }
        }
        ui.spacing_mut().slider_width = (ui.available_width() - 170.0).clamp(80.0, 500.0);
        let slider = Slider::new(&mut step, 0..=steps.saturating_sub(1)).text("From A to B");
        if ui.add(slider).changed() {
            way.go(step);
        }
    });
    if way.plays() {
        ui.ctx().request_repaint_after(Duration::from_secs_f64(way.pause()));
    }
    let height = ui.available_height();
    let cell = ((ui.available_width() - 12.0) / 8.0 - GAP).min(height * 0.16).clamp(46.0, 150.0);
    let rows = show.answer.wish.layout()[0].min(3) as f32;
    let below = rows * (cell + GAP + pictures::CAPTION);
    let side = (height - below - 56.0).clamp(120.0, 700.0).floor();
    ui.horizontal_top(|ui| {
        let thumb = ((side - 3.0 * 38.0) / 3.0).clamp(28.0, 110.0);
        ui.vertical(|ui| {
            ui.set_width(thumb.max(54.0));
            for (name, index) in [("A", 1), ("B", steps), ("Current", 0)] {
                ui.label(name);
                show.thumb(ui, name, index, thumb);
            }
        });
        ui.vertical(|ui| show.large(ui, step + 1, side));
    });
    ui.add_space(4.0);
    grid(ui, show, cell, Some(step))
}

/// The current digit, for the field.
fn picture(about: &About, answer: &Answer) -> Option<DynamicImage> {
    let [height, width, channels] = about.image;
    let bytes = answer.pictures.get(..height * width * channels)?;
    let (w, h) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    match channels {
        0 => None,
        3 => RgbImage::from_raw(w, h, bytes.to_vec()).map(DynamicImage::ImageRgb8),
        _ => GrayImage::from_raw(w, h, bytes.iter().step_by(channels).copied().collect()).map(DynamicImage::ImageLuma8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_nothing_reads_are_not_said_to_be_read() {
        assert_eq!(done(25, true), "25 pictures drawn and read");
        assert_eq!(done(1, false), "1 picture drawn");
    }
}
