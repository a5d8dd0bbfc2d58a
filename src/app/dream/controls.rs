//! The sliders that set what the generator is given.

use std::path::PathBuf;

use eframe::egui::{self, Button, DragValue, RichText, Slider, SliderClamping, Ui};

use super::Dream;
use super::wish::{NUMBERS, Settings, TRUNCATION};
use crate::app::draw::{has_just_opened, menu};
use crate::app::shared::Shared;

/// How many numbers of a latent are shown at a time.
const PAGE: usize = 8;

impl Dream {
    pub(super) fn controls(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let Some(engine) = &mut self.engine else { return };
        let selected = match engine.about() {
            _ if engine.is_opening() => "opening ...".into(),
            Some(about) => shared.menu.name(&about.path),
            None => "none".into(),
        };
        if let Some(path) = generators(ui, shared, &selected) {
            engine.open(&path);
        }
        let (Some(about), Some(wish)) = (engine.about(), &mut self.wish) else { return };
        let settings = &mut wish.settings;
        ui.add_space(4.0);
        label(ui, settings, &about.class_names);
        ui.add_space(4.0);
        proportion(ui, settings);
        ui.add_space(4.0);
        noise(ui, settings);
        numbers(ui, settings, &mut self.page);
    }
}

/// The menu of generators; returns the one that was chosen.
fn generators(ui: &mut Ui, shared: &mut Shared, selected: &str) -> Option<PathBuf> {
    let mut chosen = None;
    let width = (ui.available_width() - 90.0).max(100.0);
    menu("Generator", selected, width).show_ui(ui, |ui| {
        if has_just_opened(ui) {
            shared.menu.look_for_generators();
        }
        let [shipped, found] = &shared.menu.generators;
        let folder = shared.menu.folder().display().to_string();
        for (title, entries) in [("Shipped with inkgrad", shipped), (folder.as_str(), found)] {
            ui.weak(title);
            for entry in entries {
                if ui.selectable_label(entry.name == selected, &entry.name).clicked() {
                    chosen = Some(entry.path.clone());
                }
            }
        }
        if let Some(problem) = &shared.menu.problem {
            ui.label(problem);
        } else if found.is_empty() {
            ui.weak("no generators here; `inkgrad train gan` makes one");
        }
        if ui.button("Look again").clicked() {
            shared.menu.look_for_generators();
        }
    });
    chosen
}

/// For each class, a slider and the value that the network gets.
fn label(ui: &mut Ui, settings: &mut Settings, names: &[String]) {
    let [_, factor] = settings.factors();
    ui.horizontal(|ui| {
        ui.strong("Label");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.weak("the network gets").on_hover_text("The slider's value times the label's factor, shown below");
        });
    });
    let name_width = if names.iter().all(|name| name.chars().count() < 4) { 40.0 } else { 110.0 };
    for (class, name) in names.iter().enumerate() {
        ui.horizontal(|ui| {
            ui.spacing_mut().slider_width = (ui.available_width() - name_width - 62.0).max(60.0);
            let alone = settings.label.iter().enumerate().all(|(i, weight)| *weight == f32::from(u8::from(i == class)));
            let button = ui.add_sized([name_width, 20.0], Button::new(name).selected(alone).truncate());
            if button.on_hover_text("This class alone").clicked() {
                settings.only(class);
            }
            let Some(weight) = settings.label.get_mut(class) else { return };
            let slider = ui.add(Slider::new(weight, 0.0..=1.0).show_value(false).trailing_fill(true));
            // A name of its own: with the button's name, two controls would be called the same.
            let said = f64::from(*weight);
            slider.widget_info(|| egui::WidgetInfo::slider(true, said, format!("How much of {name}")));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.monospace(format!("{:.2}", *weight * factor));
            });
        });
    }
    ui.horizontal(|ui| {
        if ui.button("Even").on_hover_text("The same share of each class").clicked() {
            settings.even();
        }
        let sum: f32 = settings.label.iter().sum();
        let normalise = ui.add_enabled(sum > 0.0, Button::new("Normalise"));
        if normalise.on_hover_text("The same mixture, scaled to add up to 1, as in training").clicked() {
            settings.normalise();
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.weak(format!("in all {:.2}", sum * factor));
        });
    });
}

fn proportion(ui: &mut Ui, settings: &mut Settings) {
    let slider = Slider::new(&mut settings.share, 0.0..=1.0)
        .custom_formatter(|share, _| format!("{:.0} %", share * 100.0))
        .custom_parser(|text| text.trim().trim_end_matches('%').trim().parse::<f64>().ok().map(|x| x / 100.0))
        .text("Label's share");
    slider_row(ui, slider, 110.0).on_hover_text(
        "The noise is multiplied by 2 (1 - share), the label by 2 share, 2 in total. At 50 % both are multiplied by 1, \
         as in training; at 0 % the network gets no label at all, at 100 % no noise.",
    );
    let [noise, label] = settings.factors();
    ui.horizontal(|ui| {
        ui.weak(format!("noise x {noise:.2}, label x {label:.2}"));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let trained = settings.share == 0.5 && settings.truncation == 1.0;
            let help = "Sets share to 50 % and truncation to 1";
            if ui.add_enabled(!trained, Button::new("As trained")).on_hover_text(help).clicked() {
                (settings.share, settings.truncation) = (0.5, 1.0);
            }
        });
    });
}

fn noise(ui: &mut Ui, settings: &mut Settings) {
    ui.strong("Noise");
    let slider = Slider::new(&mut settings.truncation, TRUNCATION).max_decimals(2).text("Truncation");
    slider_row(ui, slider, 110.0).on_hover_text(
        "Multiplies every number of the noise: below 1, digits are plainer and more alike; above 1, bolder",
    );
    ui.horizontal(|ui| {
        let name = ui.label("Seed");
        let mut seed = settings.seed;
        let help = "Uses the seed's first noise, as each row of `inkgrad generate --seeds` does";
        ui.add(DragValue::new(&mut seed).speed(0.1)).labelled_by(name.id).on_hover_text(help);
        if ui.button("New seed").on_hover_text("The next seed").clicked() {
            seed = seed.wrapping_add(1);
            settings.reseed(seed);
        }
        if seed != settings.seed {
            settings.reseed(seed);
        }
        if settings.is_picked() {
            let help = "The noise comes from a picture you chose, not from the seed";
            if ui.button("Back to the seed").on_hover_text(help).clicked() {
                settings.reseed(seed);
            }
        }
    });
}

/// A page of the latent's numbers.
fn numbers(ui: &mut Ui, settings: &mut Settings, page: &mut usize) {
    let all = settings.numbers();
    let pages = all.div_ceil(PAGE);
    *page = (*page).min(pages.saturating_sub(1));
    let mut shown = *page * PAGE..(*page * PAGE + PAGE).min(all);
    ui.horizontal(|ui| {
        ui.label(format!("Numbers {}-{} of {all}", shown.start + 1, shown.end));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.add_enabled(*page + 1 < pages, Button::new("Next")).clicked() {
                *page += 1;
            }
            if ui.add_enabled(*page > 0, Button::new("Previous")).clicked() {
                *page -= 1;
            }
        });
    });
    shown = *page * PAGE..(*page * PAGE + PAGE).min(all);
    let latent = settings.latent();
    for number in shown.clone() {
        let mut value = latent[number];
        let by_hand = settings.set_by_hand(number..number + 1) > 0;
        let text = RichText::new(format!("Number {}", number + 1));
        let text = if by_hand { text.strong() } else { text };
        // A number from the seed may be out of range, and stays there until it is moved.
        let slider = Slider::new(&mut value, NUMBERS).clamping(SliderClamping::Edits).fixed_decimals(2).text(text);
        if slider_row(ui, slider, 110.0).changed() {
            settings.set_number(number, value);
        }
    }
    ui.horizontal(|ui| {
        let by_hand = settings.set_by_hand(0..all);
        let here = settings.set_by_hand(shown.clone()) > 0;
        if ui.add_enabled(here, Button::new("Reset these")).clicked() {
            settings.reset(shown);
        }
        if ui.add_enabled(by_hand > 0, Button::new("Reset all")).clicked() {
            settings.reset(0..all);
        }
        ui.weak(format!("{by_hand} set by hand"));
    });
}

/// A slider as wide as there is room beside its value and its name.
fn slider_row(ui: &mut Ui, slider: Slider<'_>, name: f32) -> egui::Response {
    ui.scope(|ui| {
        // So wide that a minus sign shifts nothing.
        ui.spacing_mut().interact_size.x = 48.0;
        ui.spacing_mut().slider_width = (ui.available_width() - name - 74.0).max(60.0);
        ui.add(slider)
    })
    .inner
}
