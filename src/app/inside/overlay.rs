//! What is laid over the picture: where the answer comes from, asked in three ways.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use eframe::egui::{self, Rect, Stroke, Ui, vec2};

use super::layers::Unit;
use crate::app::paint::{self, Picture};
use crate::app::post::lock;
use crate::app::reader::{Reader, Reading};
use crate::app::worker::Errand;
use crate::infer::InferError;
use crate::infer::look::{Anatomy, Look, Occlusion};

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
    /// What is to be covered; a pass over anything else is given up.
    covered: Arc<Mutex<Option<Key>>>,
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
                if lock(&self.covered).replace(key) != Some(key) {
                    let picture = pass.picture.iter().map(|x| (x * 255.0 + 0.5) as u8).collect();
                    reader.send(self.covering(key, picture, side));
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

    /// Covers a picture part by part, unless something else is to be covered meanwhile.
    fn covering(&self, key: Key, picture: Vec<u8>, side: usize) -> Errand<Reading> {
        let (covered, occluded) = (Arc::clone(&self.covered), Arc::clone(&self.occluded));
        let (patch, stride) = ((side * PATCH / 28).max(1), (side / 28).max(1));
        let mut pass = None;
        let mut advance = move |look: &mut Look| -> Result<Option<Vec<f32>>, InferError> {
            let pass = match &mut pass {
                Some(pass) => pass,
                None => pass.insert(Occlusion::begin(look, &picture, key.2, patch, stride)?),
            };
            Ok(if pass.advance(look)? { None } else { Some(pass.falls()) })
        };
        Box::new(move |reading| {
            if *lock(&covered) != Some(key) {
                return false;
            }
            let found = match advance(&mut reading.look) {
                Ok(None) => return true,
                Ok(Some(falls)) => Ok((key, falls)),
                Err(error) => Err(error.to_string()),
            };
            *lock(&occluded) = Some(found);
            false
        })
    }

    fn clear(&mut self) {
        self.picture.clear();
        self.shown = None;
        *lock(&self.covered) = None;
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use eframe::egui::{Color32, Context, ImageData};

    use super::*;
    use crate::app::reader::Question;
    use crate::device::Choice;
    use crate::device::cpu::Cpu;
    use crate::infer::look::{FIELD, Wanted};
    use crate::models::ModelFile;

    fn until(mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A bar of that width, with a question about a class.
    fn bar(width: usize, class: usize, asked: Instant) -> Question {
        let pixels = (0..FIELD * FIELD).map(|i| if (200..200 + width).contains(&(i % FIELD)) { 255 } else { 0 });
        let (field, wanted) = (Arc::new(pixels.collect()), Wanted { activations: false, saliency: Some(class) });
        Question { field, picture: None, prepared: false, wanted, asked, by_pen: false }
    }

    /// Lets a model read.
    fn read(reader: &mut Reader, model: &str, question: &Question) {
        if reader.about().is_none_or(|about| about.path != Path::new(model)) {
            reader.open(Path::new(model));
            until(|| reader.poll().opened);
        }
        reader.ask(question.clone());
        until(|| reader.poll().answered);
    }

    /// The overlay once it is there; `None` if that is the one that was there before.
    fn shown(
        ctx: &Context,
        overlay: &mut Overlay,
        reader: &mut Reader,
        over: Over,
        class: usize,
        asked: Instant,
    ) -> Option<Vec<Color32>> {
        until(|| {
            assert_eq!(overlay.update(ctx, reader, over, class, asked), None);
            overlay.picture.texture().is_some()
        });
        let texture = overlay.picture.texture()?.id();
        let mut painted = ctx.tex_manager().write().take_delta();
        let pixels = painted.set.get(&texture).and_then(|images| images.last()).map(|newest| {
            let ImageData::Color(image) = &newest.image;
            image.pixels.clone()
        });
        painted.clear();
        pixels
    }

    /// The overlay as it has to be.
    fn wanted(over: Over, model: &str, question: &Question, class: usize) -> Vec<Color32> {
        let mut look = Look::open(Box::new(Cpu::new()), &ModelFile::shipped(model).unwrap()).unwrap();
        let pass = look.field(&question.field, question.wanted).unwrap();
        let picture: Vec<u8> = pass.picture.iter().map(|x| (x * 255.0 + 0.5) as u8).collect();
        let values = match over {
            Over::Occlusion => look.occlusion(&picture, class, PATCH, 1).unwrap(),
            _ => pass.saliency,
        };
        paint::overlay([28, 28], &values).pixels
    }

    #[test]
    fn an_overlay_is_that_of_the_class_the_drawing_the_model_and_the_question_that_are_chosen() {
        let (ctx, first) = (Context::default(), Instant::now());
        let later = first + Duration::from_secs(1);
        let (mut reader, mut overlay) = (Reader::start(Choice::Cpu, || {}), Overlay::default());
        // Forth and back, each differs from the one before in one thing only.
        let cases = [("dense", 40, 3, first), ("dense", 40, 5, first), ("dense", 90, 5, later), ("fast", 90, 5, later)];
        let forth = cases.map(|case| (Over::Occlusion, case));
        let back = cases.into_iter().rev().map(|case| (Over::Saliency, case));
        let mut before = Vec::new();
        for (over, (model, width, class, asked)) in forth.into_iter().chain(back).chain([forth[0]]) {
            let question = bar(width, class, asked);
            read(&mut reader, model, &question);
            let shown = shown(&ctx, &mut overlay, &mut reader, over, class, asked);
            let wanted = wanted(over, model, &question, class);
            let case = format!("{over:?} with {model}, a bar of {width}, class {class}");
            assert!(wanted != before, "{case} is like the one before");
            assert!(shown.as_ref() == Some(&wanted), "{case}");
            before = wanted;
        }
    }

    #[test]
    fn what_is_found_once_another_class_is_asked_about_is_not_shown() {
        let (ctx, asked) = (Context::default(), Instant::now());
        let (mut reader, mut overlay) = (Reader::start(Choice::Cpu, || {}), Overlay::default());
        let question = bar(40, 3, asked);
        read(&mut reader, "dense", &question);
        assert_eq!(overlay.update(&ctx, &mut reader, Over::Occlusion, 3, asked), None);
        until(|| lock(&overlay.occluded).is_some());
        let shown = shown(&ctx, &mut overlay, &mut reader, Over::Occlusion, 5, asked);
        assert!(shown == Some(wanted(Over::Occlusion, "dense", &question, 5)));
    }

    #[test]
    fn a_pass_over_what_is_asked_about_no_longer_is_given_up() {
        let (ctx, asked) = (Context::default(), Instant::now());
        let (mut reader, mut overlay) = (Reader::start(Choice::Cpu, || {}), Overlay::default());
        read(&mut reader, "fast", &bar(40, 3, asked));
        // The thread gets to neither before both are asked for.
        let gate = Arc::new(Mutex::new(()));
        let closed = lock(&gate);
        let theirs = Arc::clone(&gate);
        reader.send(Box::new(move |_| {
            drop(lock(&theirs));
            false
        }));
        for class in [3, 5] {
            assert_eq!(overlay.update(&ctx, &mut reader, Over::Occlusion, class, asked), None);
        }
        drop(closed);
        until(|| lock(&overlay.occluded).is_some());
        let found = lock(&overlay.occluded).take();
        assert!(matches!(found, Some(Ok(((_, _, 5), _)))));
    }
}
