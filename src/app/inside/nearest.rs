//! The training digits of MNIST that the network takes to be most like the drawing.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use eframe::egui::{self, ColorImage, Sense, Ui, vec2};

use crate::app::paint::Picture;
use crate::app::post::lock;
use crate::app::reader::Reader;
use crate::data::{ImageSet, mnist};
use crate::infer::look::{Look, Neighbours};

/// How many are shown.
const SHOWN: usize = 8;
/// And how many side by side.
const ROW: usize = 4;
/// How long the thread takes turns at it before it tells how far it has come; questions are answered meanwhile.
const STRETCH: std::time::Duration = std::time::Duration::from_millis(80);

/// What the thread that knows the network has found out; never locked for long.
#[derive(Default)]
struct Known {
    set: Option<Arc<ImageSet>>,
    done: usize,
    total: usize,
    problem: Option<String>,
    /// The newest answer, and what it answers.
    nearest: Vec<(usize, f32)>,
    of: Option<Key>,
}

/// The pass, and how many images had been looked at by then.
type Key = (Instant, usize);

#[derive(Default)]
pub struct Nearest {
    known: Arc<Mutex<Known>>,
    /// Used only by that thread.
    index: Arc<Mutex<Option<Neighbours>>>,
    /// The model that it is about; `None` until the user asks.
    opened: Option<u64>,
    busy: Arc<Mutex<bool>>,
    asked: Option<Key>,
    pictures: [Picture; SHOWN],
    shown: Option<Key>,
}

impl Nearest {
    /// `unanswered` is said where the reader has no answer to the drawing.
    pub fn ui(&mut self, ui: &mut Ui, reader: &mut Reader, unanswered: Option<&'static str>) {
        ui.strong("Nearest MNIST digits");
        if self.opened.is_some_and(|opened| opened != reader.opened()) {
            self.forget();
        }
        let problem = lock(&self.known).problem.clone();
        if let Some(problem) = &problem {
            ui.label(problem);
        }
        if self.opened.is_none() || problem.is_some() {
            let of_digits = reader.about().is_none_or(|about| is_of_digits(&about.class_names));
            let help = "Runs this network once on MNIST's 60,000 training digits";
            let button = ui.add_enabled(of_digits, egui::Button::new("Find them")).on_hover_text(help);
            if !of_digits {
                ui.weak("Its classes are not the ten digits.");
            }
            if button.clicked() {
                self.forget();
                self.opened = Some(reader.opened());
            }
            return;
        }
        self.go_on(reader, unanswered.is_some());
        let known = lock(&self.known);
        let (done, total) = (known.done, known.total);
        if done < total || total == 0 {
            let share = done as f32 / total.max(1) as f32;
            ui.add(egui::ProgressBar::new(share).desired_width(220.0).text(format!("{done} of {total} looked at")));
        }
        if let Some(unanswered) = unanswered {
            ui.weak(unanswered);
            return;
        }
        let Some(set) = &known.set else { return };
        if self.shown != known.of {
            for ((index, _), picture) in known.nearest.iter().zip(&mut self.pictures) {
                picture.set(ui.ctx(), "nearest", ColorImage::from_gray([set.width, set.height], set.image(*index)));
            }
            self.shown = known.of;
        }
        let found: Vec<_> = known.nearest.iter().zip(&self.pictures).collect();
        for row in found.chunks(ROW) {
            ui.horizontal(|ui| {
                for ((index, distance), picture) in row {
                    ui.vertical(|ui| {
                        ui.set_width(46.0);
                        let label = set.labels[*index];
                        let name = format!("training digit {index}, a {label}, {distance:.2} away");
                        picture.show(ui, vec2(46.0, 46.0), &name, Sense::hover()).on_hover_text(name);
                        ui.label(format!("{label}"));
                    });
                }
            });
        }
    }

    /// Forgets all but the digits themselves, which are the same for every network.
    fn forget(&mut self) {
        let set = lock(&self.known).set.take();
        *self = Nearest { known: Arc::new(Mutex::new(Known { set, ..Known::default() })), ..Nearest::default() };
    }

    /// Gives the thread its next work: a stretch of looking at training digits, and the nearest ones for a new pass.
    fn go_on(&mut self, reader: &mut Reader, blank: bool) {
        let (done, complete) = {
            let known = lock(&self.known);
            (known.done, known.problem.is_some() || (known.total > 0 && known.done == known.total))
        };
        let answer = reader.answer().filter(|_| !blank);
        let (features, key) = match answer {
            Some(answer) => (answer.pass().features.clone(), Some((answer.question.asked, done))),
            None => (Vec::new(), None),
        };
        let is_new = key.is_some() && key != self.asked;
        if (complete && !is_new) || std::mem::replace(&mut *lock(&self.busy), true) {
            return;
        }
        self.asked = key;
        let (known, index, busy) = (Arc::clone(&self.known), Arc::clone(&self.index), Arc::clone(&self.busy));
        let mut began = None;
        reader.send(Box::new(move |reading| {
            let began = *began.get_or_insert_with(Instant::now);
            let mut index = lock(&index);
            if !complete {
                match advance(&known, &mut index, &mut reading.look) {
                    Ok(is_more) if is_more && began.elapsed() < STRETCH => return true,
                    Ok(_) => {}
                    Err(problem) => lock(&known).problem = Some(problem),
                }
            }
            if let (Some(index), Some(key)) = (&*index, key) {
                let nearest = index.nearest(&features, SHOWN);
                let mut known = lock(&known);
                known.nearest = nearest;
                known.of = Some(key);
            }
            *lock(&busy) = false;
            false
        }));
    }
}

/// Whether a network's classes are the digits, so that MNIST's are among what it knows.
fn is_of_digits(class_names: &[String]) -> bool {
    let mut names: Vec<&str> = class_names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
}

/// Looks at the next few digits; returns whether there are more.
fn advance(known: &Mutex<Known>, index: &mut Option<Neighbours>, look: &mut Look) -> Result<bool, String> {
    let index = match index {
        Some(index) => index,
        None => {
            let set = lock(known).set.clone();
            let set = match set {
                Some(set) => set,
                None => Arc::new(mnist::embedded().map_err(|error| error.to_string())?.train),
            };
            lock(known).set = Some(Arc::clone(&set));
            index.insert(Neighbours::begin(look, set).map_err(|error| error.to_string())?)
        }
    };
    let is_more = index.advance(look).map_err(|error| error.to_string())?;
    let mut known = lock(known);
    (known.done, known.total) = (index.done(), index.total());
    Ok(is_more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_do_not_know_digits_are_not_asked_about_them() {
        let names = |names: &str| names.chars().map(String::from).collect::<Vec<_>>();
        assert!(is_of_digits(&names("0123456789")) && is_of_digits(&names("9876543210")));
        assert!(!is_of_digits(&names("abcdefghij")) && !is_of_digits(&names("012")));
    }

    #[test]
    fn what_was_found_with_one_network_is_forgotten_and_the_digits_stay() {
        let mut nearest = Nearest { opened: Some(1), ..Nearest::default() };
        *lock(&nearest.known) = Known {
            set: Some(Arc::new(ImageSet::default())),
            done: 5,
            problem: Some("the device failed".into()),
            ..Known::default()
        };
        let index = Arc::downgrade(&nearest.index);
        nearest.forget();
        assert!(index.upgrade().is_none() && nearest.opened.is_none());
        let known = lock(&nearest.known);
        assert!(known.set.is_some() && known.problem.is_none() && known.done == 0);
    }
}
