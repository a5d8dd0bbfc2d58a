//! What all panels have in common: the drawing, the networks that read it, the menu of models, messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eframe::egui;

use super::canvas::{Ask, Canvas};
use super::field::Field;
use super::kept::Kept;
use super::menu::{Menu, snapshot};
use super::reader::{Answer, Question, Reader};
use super::remember::{Memory, Remembered};
use crate::device::Choice;
use crate::infer::look::Wanted;
use crate::models::lasting;

/// How long a frame may wait for an answer: a part of the time that a 60 Hz display leaves.
const PATIENCE: Duration = Duration::from_millis(6);

/// How many messages are shown at once; older ones make room.
const MESSAGES: usize = 3;

/// How long it is said that a drawing is kept.
const SAID: Duration = Duration::from_secs(3);

const NONE_KEPT: &str = "no drawing is kept yet; Tab keeps the one in the field";

pub struct Shared {
    pub ctx: egui::Context,
    pub choice: Choice,
    pub menu: Menu,
    pub memory: Memory,
    pub remembered: Remembered,
    pub field: Field,
    pub canvas: Canvas,
    pub reader: Reader,
    /// The reader beside it, on the same drawing.
    pub second: Option<Reader>,
    /// What the open panel wants to know about the drawing besides the probabilities; set anew in every frame.
    pub wanted: Wanted,
    pub kept: Kept,
    /// When it was kept, in the window's time.
    kept_at: Option<f64>,
    messages: Vec<String>,
    asked: Option<Question>,
    second_asked: Option<Question>,
    frame_began: Instant,
    /// When the drawing changed whose answer this frame is the first to show.
    answered: Option<Instant>,
    /// Time from the frame that took the pen's last movement to the end of the one that showed its answer.
    pub latency: Option<Duration>,
}

impl Shared {
    pub fn new(ctx: egui::Context, choice: Choice, folder: &Path, memory: Memory, remembered: Remembered) -> Shared {
        let mut reader = reader(&choice, &ctx);
        reader.fall_back_on(remembered.model.as_deref(), super::MODEL);
        let woken = ctx.clone();
        let mut shared = Shared {
            canvas: Canvas::with_radius(remembered.radius),
            menu: Menu::of(folder),
            kept: Kept::start(memory.clone(), move || woken.request_repaint()),
            kept_at: None,
            field: Field::default(),
            second: None,
            wanted: Wanted::default(),
            messages: Vec::new(),
            asked: None,
            second_asked: None,
            frame_began: Instant::now(),
            answered: None,
            latency: None,
            ctx,
            choice,
            memory,
            remembered,
            reader,
        };
        if let Some(second) = shared.remembered.second.clone() {
            shared.open_second(Some(&second));
        }
        shared
    }

    /// Shows a message in the window until it is dismissed; one that is already shown is not repeated.
    pub fn say(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
        if self.messages.len() > MESSAGES {
            self.messages.remove(0);
        }
    }

    pub fn messages(&mut self) -> &mut Vec<String> {
        &mut self.messages
    }

    /// Opens another model in the first reader; it is remembered once it is open.
    pub fn open(&mut self, path: &Path) {
        self.reader.open(path);
    }

    /// Opens another model in the second reader, or closes that reader.
    pub fn open_second(&mut self, path: Option<&Path>) {
        self.second_asked = None;
        match path {
            None => {
                self.second = None;
                self.remembered.second = None;
            }
            Some(path) => {
                self.second.get_or_insert_with(|| reader(&self.choice, &self.ctx)).open(path);
            }
        }
    }

    /// A model's file was renamed, in place of another one there was: who reads with it is told, and whoever read with
    /// the other reads with this one from now on.
    pub fn follow(&mut self, from: &Path, to: &Path) {
        // The folder may be relative, and what is remembered is not.
        let [old, new] = [from, to].map(lasting);
        let mut is_replaced = false;
        for reader in [Some(&mut self.reader), self.second.as_mut()].into_iter().flatten() {
            let path = reader.about().map(|about| lasting(&about.path));
            is_replaced |= path.as_ref() == Some(&new);
            // One that is opening another model is about to leave this one.
            if !reader.is_opening() && path.is_some_and(|path| path == old || path == new) {
                reader.open(to);
            }
        }
        // For the next time, as the window may be closing.
        for path in [&mut self.remembered.model, &mut self.remembered.second].into_iter().flatten() {
            if *path == old {
                path.clone_from(&new);
            }
        }
        if is_replaced {
            let name = self.menu.name(to);
            self.say(format!("{name} has been replaced: it is now what {} was", self.menu.name(from)));
        }
    }

    /// Called at the beginning of a frame: takes in what the readers have found since the last one.
    pub fn poll(&mut self) {
        self.frame_began = Instant::now();
        self.wanted = Wanted::default();
        self.take_in();
        if let Some(problem) = self.kept.problem() {
            self.say(format!("the drawing is kept until the window closes, but not saved: {problem}"));
        }
        self.field.show_plainly(self.takes_drawings_as_they_are());
        self.canvas.is_below_menu = egui::Popup::is_any_open(&self.ctx);
    }

    fn take_in(&mut self) {
        let news = self.reader.poll();
        if news.opened {
            self.asked = None;
            self.latency = None;
            // A snapshot is only for looking at; its run is what is remembered.
            let path = self.reader.about().map(|about| lasting(&about.path));
            let run = |path: PathBuf| snapshot(&path).map(|(run, _)| run.to_owned()).unwrap_or(path);
            self.remembered.model = path.map(run);
        }
        self.reader.take_problems().into_iter().for_each(|problem| self.say(problem));
        if let Some(answer) = self.reader.answer().filter(|answer| news.answered && answer.question.by_pen) {
            self.answered = Some(answer.question.asked);
        }
        let Some(second) = &mut self.second else { return };
        let news = second.poll();
        let problems = second.take_problems();
        if news.opened {
            self.second_asked = None;
            self.remembered.second = second.about().map(|about| lasting(&about.path));
        }
        // No model was open before it, so there is nothing to show.
        if news.refused && second.about().is_none() && !second.is_opening() {
            self.open_second(None);
        }
        problems.into_iter().for_each(|problem| self.say(problem));
    }

    /// Asks, if there is anything new to ask; called once the drawing has taken the pen's movements, and before the
    /// answers are shown. An answer that comes within a few milliseconds is shown in the same frame.
    pub fn ask(&mut self) {
        let asked = self.frame_began;
        let (prepared, wanted, field) = (self.remembered.prepared, self.wanted, Arc::clone(self.field.pixels()));
        let is_other = self.asked.as_ref().is_some_and(|old| !Arc::ptr_eq(&old.field, &field));
        let (picture, by_pen) = (self.field.picture().cloned(), is_other && self.field.is_by_pen());
        let question = Question { field, picture, prepared, wanted, asked, by_pen };
        let is_old = |old: &Option<Question>, new: &Question| old.as_ref().is_some_and(|old| old.is_like(new));
        let plain = Question { wanted: Wanted::default(), ..question.clone() };
        if let Some(second) = self.second.as_mut().filter(|second| second.about().is_some())
            && !is_old(&self.second_asked, &plain)
        {
            second.ask(plain.clone());
            self.second_asked = Some(plain);
        }
        if self.reader.about().is_some() && !is_old(&self.asked, &question) {
            self.reader.ask(question.clone());
            self.asked = Some(question);
            self.reader.wait(PATIENCE);
            self.take_in();
        }
    }

    /// A reader's answer, if it is to be shown: there is none to a blank field, neither to the one there is now nor to
    /// one that was there when it was asked.
    pub fn answer<'a>(&self, reader: &'a Reader) -> Option<&'a Answer> {
        reader.answer().filter(|answer| !answer.blank && !self.field.is_blank())
    }

    /// What is said in place of an answer.
    pub fn unanswered(&self, reader: &Reader) -> &'static str {
        let finds_nothing = |answer: &Answer| answer.blank && answer.question.picture.is_some();
        match !self.field.is_blank() && reader.answer().is_some_and(finds_nothing) {
            true => "No ink was found in the picture.",
            false => "Draw a digit.",
        }
    }

    /// Whether what is shown is the answer to the newest question.
    pub fn is_answered(&self) -> bool {
        let answers = |reader: &Reader, asked: &Option<Question>| {
            let answer = reader.answer().map(|answer| &answer.question);
            asked.as_ref().zip(answer).is_some_and(|(asked, answer)| asked.is_like(answer))
        };
        answers(&self.reader, &self.asked)
            && self.second.as_ref().is_none_or(|second| answers(second, &self.second_asked))
    }

    /// Called at the end of a frame: measures how long the answer to the pen's newest movement took to be shown, and
    /// remembers the pen's size, which keys change in any panel with a field.
    pub fn settle(&mut self) {
        self.remembered.radius = self.canvas.radius;
        if let Some(answered) = self.answered.take() {
            let latency = answered.elapsed();
            log::debug!("from pen to bars {:.2} ms", latency.as_secs_f64() * 1e3);
            self.latency = Some(latency);
        }
    }

    /// Whether no open network prepares what it reads, so that there is one picture of a drawing for all of them.
    pub fn takes_drawings_as_they_are(&self) -> bool {
        let as_they_are = |reader: &Reader| reader.about().is_some_and(|about| about.takes_pictures_as_they_are);
        as_they_are(&self.reader) && self.second.as_ref().is_none_or(as_they_are)
    }

    /// Whether a drawing was kept a moment ago.
    pub fn has_just_kept(&self) -> bool {
        let now = self.ctx.input(|input| input.time);
        self.kept_at.is_some_and(|at| now < at + SAID.as_secs_f64())
    }

    /// Keeps the drawing, or brings the kept one back. A blank field is never kept: it would take a drawing's place.
    pub fn fulfil(&mut self, ask: Option<Ask>) {
        match ask {
            Some(Ask::Save) if self.field.is_blank() => {}
            Some(Ask::Save) => {
                self.kept_at = Some(self.ctx.input(|input| input.time));
                self.ctx.request_repaint_after(SAID);
                self.kept.keep(self.field.drawing().clone());
                self.messages.retain(|message| message != NONE_KEPT);
            }
            Some(Ask::Recall) => match self.kept.recall() {
                Some(kept) => self.field.show(kept),
                None => self.say(NONE_KEPT),
            },
            None => {}
        }
    }
}

#[cfg(test)]
impl Shared {
    /// On the CPU, with nothing remembered.
    pub fn plain(folder: &Path) -> Shared {
        Shared::new(egui::Context::default(), Choice::Cpu, folder, Memory::default(), Remembered::default())
    }
}

/// A reader that wakes the window when it has done something.
fn reader(choice: &Choice, ctx: &egui::Context) -> Reader {
    let ctx = ctx.clone();
    Reader::start(choice.clone(), move || ctx.request_repaint())
}
