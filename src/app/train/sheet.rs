//! All that has been seen of a run, and how it is laid out; it stays when the run is over.

use eframe::egui::{Color32, RichText, Ui, Vec2, vec2};

use super::curve::Curve;
use super::news::{Began, News, Now, Phase, Watched};
use super::plot::{self, Marks, Plot, Series};
use super::sights::{self, Sights};
use crate::app::paint::{ABOVE, BELOW};
use crate::cli::thousands;
use crate::train::metrics::smoothing;

/// Number of looks to remember: beyond twice as many, every other one is dropped.
const LOOKS: usize = 1024;

/// A network does not learn at a loss this many times that of guessing, and of the first step.
const FAR: f64 = 4.0;

#[derive(Default)]
pub struct Sheet {
    /// Where the run stands; `None` before it is started, and once it is stopped.
    phase: Option<Phase>,
    began: Option<Began>,
    now: Now,
    loss: Curve,
    accuracy: Curve,
    watched: Vec<Watched>,
    sights: Sights,
}

impl Sheet {
    /// The sheet of a run that begins.
    pub fn opening() -> Sheet {
        Sheet { phase: Some(Phase::Opening), ..Sheet::default() }
    }

    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// The run is stopped, and stays so, whatever it still has to tell.
    pub fn stop(&mut self) {
        self.phase = None;
    }

    /// The step that is shown.
    #[cfg(test)]
    pub fn step(&self) -> usize {
        self.now.step
    }

    pub fn take(&mut self, news: &mut News) {
        self.phase = self.phase.map(|_| news.phase);
        if let Some(began) = news.began.take() {
            (self.loss, self.accuracy) = (Curve::new(began.total), Curve::new(began.total));
            self.sights.begin(began.watched.clone(), began.class_names.clone());
            self.began = Some(began);
        }
        for [loss, accuracy] in news.steps.drain(..) {
            self.loss.push(f64::from(loss));
            self.accuracy.push(f64::from(accuracy));
        }
        self.watched.append(&mut news.watched);
        if self.watched.len() > 2 * LOOKS {
            let newest = self.watched.last().copied();
            let mut place = 0..;
            self.watched.retain(|_| place.next().is_some_and(|i: usize| i.is_multiple_of(2)));
            // The newest look is the one that counts.
            self.watched
                .extend(newest.filter(|newest| self.watched.last().is_some_and(|last| last.step != newest.step)));
        }
        self.now = news.now.take().unwrap_or(self.now);
        if let Some(mistakes) = news.mistakes.take() {
            self.sights.set_mistakes(mistakes);
        }
        if let Some(filters) = news.filters.take() {
            self.sights.set_filters(filters);
        }
    }

    /// What the user should know about a run that goes wrong without an error.
    pub fn warning(&self) -> Option<String> {
        let began = self.began.as_ref()?;
        let guessing = (began.class_names.len() as f64).ln();
        let highest = self.loss.highest_mean();
        let is_far = highest > FAR * guessing.max(self.loss.first().unwrap_or(0.0));
        let rate = began.rate;
        is_far.then(|| {
            format!(
                "The loss rose to {highest:.1}, and guessing gives {guessing:.1}: the steps are too large. Choose a \
                 smaller learning rate than {rate}, and start again."
            )
        })
    }

    /// Where the run stands, in one line.
    pub fn numbers(&self, ui: &mut Ui) {
        ui.horizontal_wrapped(|ui| {
            let state = match self.phase {
                None if self.began.is_some() => "Stopped",
                None => "Choose, and press Start.",
                Some(Phase::Opening) => "Opening ...",
                Some(Phase::Running) => "Training",
                Some(Phase::Paused) => "Paused",
                Some(Phase::Done) => "Done",
                Some(Phase::Failed) => "Ended",
            };
            ui.label(RichText::new(state).strong());
            let Some(began) = &self.began else { return };
            let now = &self.now;
            ui.separator();
            ui.label(format!("step {} of {}", thousands(now.step as u64), thousands(began.total as u64)));
            ui.separator();
            ui.label(format!("epoch {:.2} of {}", now.epoch.min(began.epochs as f64), began.epochs));
            if now.images_per_second > 0.0 {
                ui.separator();
                ui.label(format!("{} images/s", thousands(now.images_per_second.round() as u64)));
            }
            ui.separator();
            ui.label(format!("{}: {} parameters", began.network, thousands(began.parameters)));
            ui.separator();
            ui.label(format!("on {}", began.device));
        });
    }

    /// The curves above, the pictures below, in all the room there is.
    pub fn ui(&mut self, ui: &mut Ui, room: Vec2) {
        let gap = ui.spacing().item_spacing;
        let half = ((room.x - gap.x) / 2.0).floor();
        let between = gap.y + 4.0;
        let below = sights::whole_rows(room.y - between - (room.y * 0.5).clamp(150.0, 460.0));
        let above = (room.y - between - below).max(150.0).floor();
        ui.horizontal_top(|ui| self.curves(ui, vec2(half, above)));
        ui.add_space(4.0);
        ui.horizontal_top(|ui| {
            let cell = vec2(half, below);
            ui.allocate_ui(cell, |ui| {
                ui.vertical(|ui| {
                    ui.set_min_size(cell);
                    ui.set_max_width(half);
                    self.sights.filters(ui, cell);
                });
            });
            ui.allocate_ui(cell, |ui| {
                ui.vertical(|ui| {
                    ui.set_max_width(half);
                    self.sights.mistakes(ui, cell);
                });
            });
        });
    }

    fn curves(&self, ui: &mut Ui, size: Vec2) {
        let total = self.began.as_ref().map_or(100, |began| began.total) as f64;
        let newest = self.watched.last();
        let seen = |value: fn(&Watched) -> f64| self.watched.iter().map(|w| [w.step as f64, value(w)]).collect();
        let faint = ui.visuals().text_color().gamma_multiply(0.4);
        // The loss before the first step may be far above all that follows, and the latter is what there is to see.
        let later = self.watched.iter().filter(|w| w.step > 0).map(|w| w.loss);
        let highest = later.fold(self.loss.highest_mean(), f64::max);
        let most = if highest > 0.0 { highest * 1.1 } else { 2.5 };
        // The labels of the watched images are never smoothed, and accuracy does not depend on smoothing.
        let mean = format!("mean{}", smoothing(self.began.as_ref().map_or(0.0, |began| began.label_smoothing)));
        let loss = series(&mean, &self.loss, seen(|w| w.loss), newest.map(|w| w.loss), faint);
        let accuracy = series("mean", &self.accuracy, seen(|w| w.accuracy), newest.map(|w| w.accuracy), faint);
        let loss = Plot { title: "Loss", most: [total, most], percent: false, series: &loss };
        let accuracy = Plot { title: "Accuracy", most: [total, 1.0], percent: true, series: &accuracy };
        plot::show(ui, size, [&loss, &accuracy]);
    }
}

fn series(mean: &str, curve: &Curve, watched: Vec<[f64; 2]>, newest: Option<f64>, faint: Color32) -> [Series; 3] {
    [
        Series { name: "each step".into(), colour: faint, marks: Marks::Faint(curve.every()), newest: None },
        Series { name: mean.into(), colour: BELOW, marks: Marks::Line(curve.means()), newest: curve.mean() },
        Series { name: "watched".into(), colour: ABOVE, marks: Marks::Dots(watched), newest },
    ]
}
