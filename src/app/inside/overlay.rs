//! What is laid over the picture: where the answer comes from, asked in three ways.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use eframe::egui::{self, Rect, Stroke, Ui, vec2};

use super::layers::Unit;
use crate::app::paint::{self, Picture};
use crate::app::post::lock;
use crate::app::reader::Reader;
use crate::infer::look::Anatomy;

/// Covered patches are 5 of 28 pixels wide and high, and one pixel apart.
const PATCH: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Over {
    #[default]
    Nothing,
    Saliency,
    Occlusion,
}

impl Over {
    pub const ALL: [Over; 3] = [Over::Nothing, Over::Saliency, Over::Occlusion];

    pub fn name(self) -> &'static str {
        match self {
            Over::Nothing => "Nothing",
            Over::Saliency => "Saliency",
            Over::Occlusion => "Occlusion",
        }
    }
    pub fn help(self) -> &'static str {
        match self {
            Over::Nothing => "The picture alone",
            Over::Saliency => {
                "The derivative of the class's logit by each pixel: a brighter pixel would speak for it \
                 (orange) or against it (blue)"
            }
            Over::Occlusion => {
                "How far the class's probability falls (orange) or rises (blue) when a patch there is covered"
            }
        }
    }
}

/// What a picture's overlay depends on: the model, the pass, the class.
type Key = (u64, Instant, usize);
type Found = Result<(Key, Vec<f32>), String>;

#[derive(Default)]
pub struct Overlay {
    pub picture: Picture,
    shown: Option<(Over, Key)>,
    asked: Option<Key>,
    occluded: Arc<Mutex<Option<Found>>>,
}

impl Overlay {
    /// Prepares the overlay of a pass, as far as it is known; returns what went wrong.
    pub fn update(
        &mut self,
        ctx: &egui::Context,
        reader: &mut Reader,
        over: Over,
        class: usize,
        asked: Instant,
    ) -> Option<String> {
        let key = (reader.opened(), asked, class);
        let side = reader.about()?.input[0];
        let asked_of = reader.answer()?.question.wanted.saliency;
        let pass = reader.answer()?.pass();
        match over {
            Over::Nothing => self.clear(),
            Over::Saliency => {
                // It comes with the pass once it is asked for; until then, one for another class would mislead.
                if pass.saliency.is_empty() || asked_of != Some(class) {
                    self.clear();
                } else if self.shown != Some((over, key)) {
                    self.picture.set(ctx, "overlay", paint::overlay([side, side], &pass.saliency));
                    self.shown = Some((over, key));
                }
            }
            Over::Occlusion => {
                if self.asked != Some(key) {
                    self.asked = Some(key);
                    let bytes: Vec<u8> = pass.picture.iter().map(|x| (x * 255.0 + 0.5) as u8).collect();
                    let occluded = Arc::clone(&self.occluded);
                    let patch = (side * PATCH / 28).max(1);
                    let stride = (side / 28).max(1);
                    reader.send(Box::new(move |reading| {
                        let falls = reading.look.occlusion(&bytes, class, patch, stride);
                        let falls = falls.map(|falls| (key, falls)).map_err(|error| error.to_string());
                        *lock(&occluded) = Some(falls);
                    }));
                }
                let found = lock(&self.occluded).take();
                match found {
                    Some(Ok((found, falls))) if found == key => {
                        self.picture.set(ctx, "overlay", paint::overlay([side, side], &falls));
                        self.shown = Some((over, key));
                    }
                    Some(Err(problem)) => return Some(problem),
                    // What is shown is of a drawing that has changed since.
                    _ if self.shown != Some((over, key)) => self.picture.clear(),
                    _ => {}
                }
            }
        }
        None
    }

    fn clear(&mut self) {
        self.picture.clear();
        self.shown = None;
        self.asked = None;
    }
}

/// Frames the part of the picture that a value depends on.
pub fn receptive(ui: &Ui, rect: Rect, anatomy: &Anatomy, chosen: Unit) {
    let [h, w, _] = anatomy.input();
    let [top, left, bottom, right] = anatomy.receptive_field(chosen.layer, chosen.at).map(|side| side as f32);
    let cell = vec2(rect.width() / w as f32, rect.height() / h as f32);
    let min = rect.min + vec2(left, top) * cell;
    let field = Rect::from_min_max(min, rect.min + vec2(right, bottom) * cell);
    let stroke = Stroke::new(2.0, egui::Color32::from_rgb(0x2e, 0xcc, 0x71));
    ui.painter().rect_stroke(field, 0.0, stroke, egui::StrokeKind::Inside);
}
