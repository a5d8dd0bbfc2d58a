//! The panel to train in: choose, start, and watch a network learn.

mod choices;
mod curve;
mod engine;
#[cfg(test)]
mod engine_tests;
mod keep;
mod news;
mod plot;
mod sheet;
mod sights;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eframe::egui::{self, Key, Modifiers, RichText, ScrollArea, Ui, vec2};

use super::remember::Panel;
use super::shared::Shared;
use crate::device::Choice;
use choices::Choices;
use engine::{Pace, Plan, Trainer, Unwritten};
use news::{News, Phase};
use sheet::Sheet;

/// Width of the form.
const FORM: f32 = 236.0;

/// Width of the pace slider with its label, which stay together.
const PACE: f32 = 300.0;

/// What messages in other panels begin with.
const TOLD: &str = "Train: ";

/// And what one says that is no problem.
const DONE: &str = "the run is done.";

pub struct Train {
    choices: Choices,
    sheet: Sheet,
    /// The run that the sheet shows; a stopped one, until it has written what it has to.
    run: Option<Trainer>,
    /// Runs that are no longer on the sheet, until they have written what they have to.
    leaving: Vec<Trainer>,
    /// Used instead of the chosen device, once that is lost.
    instead: Option<Choice>,
    steps: usize,
    full: bool,
    /// Why what is chosen cannot be trained.
    mistake: Option<String>,
    /// Why runs have failed, and why runs that are over could not write what they had to.
    problems: Vec<String>,
    kept: Option<PathBuf>,
    /// What was written without being asked for.
    spare: Option<PathBuf>,
}

impl Default for Train {
    fn default() -> Train {
        let (choices, sheet) = (Choices::default(), Sheet::default());
        Train {
            choices,
            sheet,
            run: None,
            leaving: Vec::new(),
            instead: None,
            steps: 5,
            full: true,
            mistake: None,
            problems: Vec::new(),
            kept: None,
            spare: None,
        }
    }
}

impl Train {
    pub fn ui(&mut self, ui: &mut Ui, shared: &mut Shared) {
        // Taken before anything above has made the panel wider than the window.
        let right = ui.max_rect().right();
        self.take(shared);
        self.keys(ui);
        self.buttons(ui, shared);
        self.sheet.numbers(ui);
        self.messages(ui, shared);
        ui.add_space(2.0);
        let (height, can_start) = (ui.available_height(), self.can_start());
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(FORM);
                ScrollArea::vertical().id_salt("form").max_height(height).auto_shrink([false, true]).show(ui, |ui| {
                    if self.choices.ui(ui, shared.menu.folder(), can_start) && self.mistake.take().is_some() {
                        // The message is above, where this frame has drawn already.
                        ui.ctx().request_repaint();
                    }
                });
            });
            ui.separator();
            let room = vec2((right - ui.cursor().left()).max(FORM), height - 2.0);
            ui.vertical(|ui| {
                ui.set_max_width(room.x);
                // In a very small window the rest is seen by scrolling.
                ScrollArea::vertical().id_salt("sheet").max_height(room.y).auto_shrink([false, true]).show(ui, |ui| {
                    self.sheet.ui(ui, vec2(ui.available_width(), room.y));
                });
            });
        });
    }

    /// Called in every frame: tells in other panels of a run that is done, and of what went wrong. Other news waits: if it
    /// were read, the window would be woken for what it does not show.
    pub fn listen(&mut self, shared: &mut Shared) {
        if shared.remembered.panel == Panel::Train {
            // Here it is shown anyway.
            shared.messages().retain(|message| !message.starts_with(TOLD));
            return;
        }
        if !self.leaving.iter().chain(&self.run).any(Trainer::is_urgent) {
            return;
        }
        let (phase, known) = (self.phase(), self.problems());
        self.take(shared);
        let problems = self.problems();
        // What is mended is told no longer.
        let holds = |told: &str| told == DONE || problems.iter().any(|problem| problem == told);
        shared.messages().retain(|message| message.strip_prefix(TOLD).is_none_or(holds));
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            shared.say(format!("{TOLD}{problem}"));
        }
        if self.phase() == Some(Phase::Done) && phase != self.phase() {
            shared.say(format!("{TOLD}{DONE}"));
        }
    }

    /// Takes in what the runs have found since the last frame.
    fn take(&mut self, shared: &mut Shared) {
        // Asked first: once a run has ended, no more news can come.
        for run in std::mem::take(&mut self.leaving) {
            let is_over = run.is_over();
            let news = run.news();
            let run = self.take_words(run, is_over, news, shared);
            self.leaving.extend(run);
        }
        let Some(run) = self.run.take() else { return };
        let is_over = run.is_over();
        let mut news = run.news();
        self.sheet.take(&mut news);
        self.run = self.take_words(run, is_over || news.failed.is_some(), news, shared);
    }

    /// Takes in what a run has written, and what went wrong; returns the run, unless it is over.
    fn take_words(&mut self, mut run: Trainer, is_over: bool, news: News, shared: &mut Shared) -> Option<Trainer> {
        match news.kept {
            Some(Ok(path)) => {
                self.kept = Some(path);
                // That file also holds what a spare one would have held.
                run.unwritten = Unwritten::default();
                shared.menu.refresh();
            }
            Some(Err(problem)) => run.unwritten.kept = Some(problem),
            None => {}
        }
        match news.spare {
            Some(Ok(path)) => {
                self.spare = Some(path);
                run.unwritten.spare = None;
                shared.menu.refresh();
            }
            Some(Err(problem)) => run.unwritten.spare = Some(problem),
            None => {}
        }
        if let Some([from, to]) = news.moved {
            shared.follow(&from, &to);
        }
        if news.lost {
            self.instead = Some(Choice::Cpu);
        }
        self.problems.extend(news.failed);
        if is_over {
            self.problems.extend(run.unwritten.problems().cloned());
        }
        (!is_over).then_some(run)
    }

    /// What went wrong with any run, each message once.
    fn problems(&self) -> Vec<String> {
        let runs = self.leaving.iter().chain(&self.run);
        let mut said: Vec<String> = Vec::new();
        for problem in self.problems.iter().chain(runs.flat_map(|run| run.unwritten.problems())) {
            if !said.contains(problem) {
                said.push(problem.clone());
            }
        }
        said
    }

    /// Forgets what went wrong. A run that still has something to write says it anew if it cannot.
    fn forget_problems(&mut self) {
        self.problems.clear();
        self.leaving.iter_mut().chain(&mut self.run).for_each(|run| run.unwritten = Unwritten::default());
    }

    /// Ends the run, which by itself still writes what it has to, and tells of its last steps. One that was still being
    /// opened leaves nothing to be seen.
    fn stop(&mut self) {
        if self.sheet.phase() == Some(Phase::Opening) {
            self.leave();
            self.sheet = Sheet::default();
        } else if let Some(run) = &self.run {
            run.stop();
            self.sheet.stop();
        }
    }

    /// Ends the run, of which nothing more is to be seen.
    fn leave(&mut self) {
        if let Some(run) = self.run.take() {
            run.end();
            self.leaving.push(run);
        }
    }

    /// Called before the window closes: waits until what was learned is written, but no longer than `patience`, and
    /// takes in what the runs say of it. Returns what went wrong meanwhile, which no window shows any more.
    pub fn finish(&mut self, patience: Duration, shared: &mut Shared) -> Vec<String> {
        self.forget_problems();
        self.leave();
        let until = Instant::now() + patience;
        for run in &self.leaving {
            run.wait(until.saturating_duration_since(Instant::now()));
        }
        self.take(shared);
        let is_late = self.leaving.iter().any(|run| !run.is_opening());
        let late = is_late.then(|| {
            let seconds = patience.as_secs();
            format!(
                "what was learned may not be written: the run did not end within {seconds} seconds. Before you close \
                 the window, press Stop and wait for \"Saved as\""
            )
        });
        self.problems().into_iter().chain(late).collect()
    }

    /// Where the run stands; `None` without one, and once it is stopped.
    fn phase(&self) -> Option<Phase> {
        self.run.as_ref().and(self.sheet.phase())
    }

    /// Whether another run may take this one's place.
    fn can_start(&self) -> bool {
        matches!(self.phase(), None | Some(Phase::Done))
    }

    /// Whether the run goes on by itself, or is about to.
    fn is_going(&self) -> bool {
        let may = matches!(self.phase(), Some(Phase::Opening | Phase::Running | Phase::Paused));
        may && self.run.as_ref().is_some_and(Trainer::is_going)
    }

    /// Space pauses and resumes, S makes one step, except where these keys mean something else.
    fn keys(&mut self, ui: &Ui) {
        let can_step = matches!(self.phase(), Some(Phase::Running | Phase::Paused));
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        if can_step && ui.memory(|memory| memory.focused().is_none()) && pressed(Key::Space) {
            self.pause_or_go_on();
        }
        if can_step && !ui.ctx().text_edit_focused() && pressed(Key::S) {
            self.step();
        }
    }

    fn pause_or_go_on(&self) {
        let Some(run) = &self.run else { return };
        if run.is_going() { run.pause() } else { run.go_on() }
    }

    fn step(&self) {
        if let Some(run) = &self.run {
            run.step();
        }
    }

    fn pace(&self) -> Pace {
        if self.full { Pace::Full } else { Pace::Steps(self.steps) }
    }

    fn start(&mut self, shared: &Shared) {
        let choice = self.instead.as_ref().unwrap_or(&shared.choice).clone();
        let spare_in = Some(shared.menu.folder().to_owned());
        let plan = self.choices.plan(choice.name()).map(|plan| Plan { spare_in, ..plan });
        let run = plan.and_then(|plan| Trainer::start(choice, plan, self.pace(), shared.ctx.clone()));
        match run {
            Ok(run) => {
                self.leave();
                self.forget_problems();
                self.run = Some(run);
                self.sheet = Sheet::opening();
                (self.mistake, self.kept, self.spare) = (None, None, None);
            }
            Err(mistake) => self.mistake = Some(mistake),
        }
    }

    fn buttons(&mut self, ui: &mut Ui, shared: &mut Shared) {
        let phase = self.phase();
        let is_going = self.is_going();
        let is_on = matches!(phase, Some(Phase::Running | Phase::Paused));
        let is_open = is_on || phase == Some(Phase::Done);
        ui.horizontal_wrapped(|ui| {
            let button = |ui: &mut Ui, enabled, name: &str, help: &str| {
                ui.add_enabled(enabled, egui::Button::new(name).min_size(vec2(64.0, 0.0))).on_hover_text(help).clicked()
            };
            // Always the same buttons in the same places, so that the keyboard's focus stays.
            if button(ui, self.can_start(), "Start", "Trains a new network, as chosen below") {
                self.start(shared);
            }
            let (name, help) = if is_on && !is_going { ("Resume", "Space") } else { ("Pause", "Space") };
            if button(ui, is_on, name, help) {
                self.pause_or_go_on();
            }
            if button(ui, is_on, "One step", "S: one step, then pause") {
                self.step();
            }
            if button(ui, phase.is_some(), "Stop", "Ends the run, frees its device; curves and pictures stay") {
                self.stop();
            }
            if button(ui, is_open, "Keep", "Saves the model as it is now to the models folder")
                && let Some(run) = &self.run
            {
                run.keep(shared.menu.folder());
            }
            ui.separator();
            let before = self.pace();
            ui.checkbox(&mut self.full, "Full speed").on_hover_text("As many steps between pictures as time allows");
            // Wrapped as a whole: a slider by itself ignores where the row ends.
            let row = egui::Layout::left_to_right(egui::Align::Center);
            ui.allocate_ui_with_layout(vec2(PACE, ui.spacing().interact_size.y), row, |ui| {
                let slider = egui::Slider::new(&mut self.steps, 1..=200).logarithmic(true);
                ui.add_enabled(!self.full, slider.text("steps between pictures"))
                    .on_hover_text("Fewer: slower training, easier to watch");
            });
            if let Some(run) = self.run.as_ref().filter(|_| before != self.pace()) {
                run.set_pace(self.pace());
            }
        });
    }

    fn messages(&mut self, ui: &mut Ui, shared: &mut Shared) {
        for problem in self.mistake.iter().chain(&self.problems()) {
            ui.add(egui::Label::new(RichText::new(problem).color(ui.visuals().error_fg_color)).wrap());
        }
        if let Some(warning) = self.sheet.warning() {
            ui.add(egui::Label::new(RichText::new(warning).color(ui.visuals().warn_fg_color)).wrap());
        }
        if let Some(spare) = &self.spare {
            let path = spare.display();
            let text = format!("Saved as {path}; the next run of this network renames it, latest to before");
            written(ui, shared, spare, RichText::new(text).weak());
        }
        if let Some(kept) = &self.kept {
            written(ui, shared, kept, RichText::new(format!("Kept as {}", kept.display())));
        }
    }
}

/// Shows a model that a run has written.
fn written(ui: &mut Ui, shared: &mut Shared, path: &Path, text: RichText) {
    ui.horizontal_wrapped(|ui| {
        ui.label(text);
        if ui.button("Read with it").on_hover_text("Opens it in the Draw panel").clicked() {
            shared.open(path);
            shared.remembered.panel = Panel::Draw;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::news::Now;
    use super::*;
    use crate::device::gpu::adapters;

    fn shared() -> Shared {
        Shared::plain(Path::new("no/such/folder"))
    }

    #[test]
    fn what_a_stopped_run_tells_last_is_shown_until_another_run_is_started() {
        let mut shared = shared();
        let [first, second] = [(); 2].map(|()| Trainer::stuck(Phase::Running));
        let mut train = Train { run: Some(first), sheet: Sheet::opening(), ..Train::default() };
        train.take(&mut shared);
        assert_eq!(train.phase(), Some(Phase::Running));
        train.stop();
        let at = |step| Some(Now { step, ..Now::default() });
        train.run.as_ref().unwrap().tell(|news| news.now = at(2075));
        train.take(&mut shared);
        assert_eq!((train.phase(), train.sheet.step()), (None, 2075));
        assert!(train.can_start());
        // What it tells once another run is on the sheet is not of that run.
        train.leave();
        (train.run, train.sheet) = (Some(second), Sheet::opening());
        train.leaving[0].tell(|news| news.now = at(2076));
        train.take(&mut shared);
        assert_eq!((train.phase(), train.sheet.step()), (Some(Phase::Running), 0));
    }

    #[test]
    fn in_other_panels_the_end_of_a_run_is_told_once_and_its_steps_wait() {
        let mut shared = shared();
        let mut train =
            Train { run: Some(Trainer::stuck(Phase::Running)), sheet: Sheet::opening(), ..Train::default() };
        let run = train.run.as_ref().unwrap();
        run.tell(|news| news.now = Some(Now { step: 7, ..Now::default() }));
        train.listen(&mut shared);
        assert_eq!((train.sheet.step(), shared.messages().len()), (0, 0));
        train.run.as_ref().unwrap().announce(|news| news.phase = Phase::Done);
        train.listen(&mut shared);
        assert_eq!(*shared.messages(), ["Train: the run is done."]);
        assert_eq!((train.phase(), train.sheet.step()), (Some(Phase::Done), 7));
        shared.messages().clear();
        train.listen(&mut shared);
        assert!(shared.messages().is_empty());
        let run = train.run.as_ref().unwrap();
        run.announce(|news| (news.failed, news.lost) = (Some("the GPU was unplugged".into()), true));
        train.listen(&mut shared);
        assert_eq!(*shared.messages(), ["Train: the GPU was unplugged"]);
        // Its own panel shows it.
        shared.remembered.panel = Panel::Train;
        train.listen(&mut shared);
        assert!(shared.messages().is_empty() && train.instead.is_some());
        assert_eq!(train.problems(), ["the GPU was unplugged"]);
    }

    #[test]
    fn in_other_panels_a_problem_is_told_until_it_is_mended() {
        let mut shared = shared();
        let mut train = Train { run: Some(Trainer::stuck(Phase::Done)), sheet: Sheet::opening(), ..Train::default() };
        let (unwritten, written) = (Err("the disk is full".into()), Ok(PathBuf::from("live-fast-latest.safetensors")));
        let done = "Train: the run is done.";
        shared.say("of another panel");
        for (spare, told) in [(unwritten, vec!["Train: the disk is full", done]), (written, vec![done])] {
            train.run.as_ref().unwrap().announce(|news| news.spare = Some(spare));
            train.listen(&mut shared);
            assert_eq!(*shared.messages(), [vec!["of another panel"], told].concat());
        }
    }

    #[test]
    fn a_run_that_is_stopped_while_it_opens_leaves_an_empty_sheet() {
        let mut shared = shared();
        let (run, sheet) = (Some(Trainer::stuck(Phase::Opening)), Sheet::opening());
        let mut train = Train { run, sheet, ..Train::default() };
        train.take(&mut shared);
        train.stop();
        let now = Now { step: 1, ..Now::default() };
        train.leaving[0].tell(|news| (news.phase, news.now) = (Phase::Running, Some(now)));
        train.take(&mut shared);
        assert_eq!((train.phase(), train.sheet.phase(), train.sheet.step()), (None, None, 0));
        assert!(train.can_start());
    }

    #[test]
    fn a_run_that_does_not_end_in_time_as_the_window_closes_is_told_if_it_had_begun_to_learn() {
        let mut shared = shared();
        for (phase, is_told) in [(Phase::Running, true), (Phase::Paused, true), (Phase::Opening, false)] {
            let mut train = Train { run: Some(Trainer::stuck(phase)), ..Train::default() };
            let told = train.finish(Duration::ZERO, &mut shared);
            assert_eq!(told.iter().any(|told| told.contains("the run did not end")), is_told, "{phase:?}: {told:?}");
        }
    }

    #[test]
    fn what_a_run_writes_says_nothing_of_what_another_could_not_write_or_why_it_failed() {
        let mut shared = shared();
        let written = || Some(Ok(PathBuf::from("live-fast-latest.safetensors")));
        let unwritten = || Some(Err(String::from("the disk is full")));
        let [first, second] = [(); 2].map(|()| Trainer::stuck(Phase::Running));
        let mut train = Train { leaving: vec![first], run: Some(second), ..Train::default() };
        let tell = |train: &Train, of_first, of_second| {
            train.leaving[0].tell(|news| news.spare = of_first);
            train.run.as_ref().unwrap().tell(|news| news.spare = of_second);
        };
        tell(&train, unwritten(), written());
        train.take(&mut shared);
        assert_eq!(train.problems(), ["the disk is full"]);
        // Until it can; where both cannot, that is said once.
        for (of_first, of_second, count) in [(written(), unwritten(), 1), (unwritten(), None, 1), (written(), None, 1)]
        {
            tell(&train, of_first, of_second);
            train.take(&mut shared);
            assert_eq!(train.problems().len(), count);
        }
        train.run.as_ref().unwrap().tell(|news| news.failed = Some("choose a smaller learning rate".into()));
        train.take(&mut shared);
        train.leaving[0].tell(|news| news.spare = written());
        train.take(&mut shared);
        assert_eq!(train.problems(), ["choose a smaller learning rate", "the disk is full"]);
        // The window closes.
        train.run = Some(Trainer::stuck(Phase::Running));
        tell(&train, unwritten(), written());
        let told = train.finish(Duration::ZERO, &mut shared);
        assert!(told.len() == 2 && told[0] == "the disk is full" && told[1].contains("did not end"), "{told:?}");
    }

    #[test]
    fn a_spare_copy_does_not_hide_that_the_model_was_not_kept_and_a_model_that_is_kept_needs_no_copy() {
        type Written = Option<Result<PathBuf, String>>;
        let written = || -> Written { Some(Ok(PathBuf::from("live-fast.safetensors"))) };
        let unwritten = |why: &str| -> Written { Some(Err(why.into())) };
        let mut shared = shared();
        let mut train = Train { run: Some(Trainer::stuck(Phase::Running)), ..Train::default() };
        let mut told = |kept: Written, spare: Written| {
            train.run.as_ref().unwrap().tell(|news| (news.kept, news.spare) = (kept, spare));
            train.take(&mut shared);
            train.problems()
        };
        assert_eq!(told(unwritten("not allowed"), None), ["not allowed"]);
        assert_eq!(told(None, written()), ["not allowed"]);
        assert_eq!(told(None, unwritten("disk full")), ["not allowed", "disk full"]);
        assert!(told(written(), None).is_empty());
        assert_eq!(told(None, unwritten("disk full")), ["disk full"]);
        assert_eq!(told(unwritten("not allowed"), None), ["not allowed", "disk full"]);
        // Once the run is over, both stay said.
        train.run.as_ref().unwrap().tell(|news| news.failed = Some("the device is gone".into()));
        train.take(&mut shared);
        assert_eq!(train.problems(), ["the device is gone", "not allowed", "disk full"]);
    }

    #[test]
    fn a_run_is_started_at_the_pace_that_is_set_and_on_the_cpu_once_the_gpu_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut shared = Shared::plain(folder.path());
        match adapters().into_iter().find(|adapter| adapter.info.problem.is_none()) {
            Some(adapter) => shared.choice = Choice::Gpu(Box::new(adapter)),
            None => {
                eprintln!("SKIPPED in part: there is no adapter that could be lost");
                assert!(std::env::var("INKGRAD_REQUIRE_GPU").as_deref() != Ok("1"), "INKGRAD_REQUIRE_GPU is set");
            }
        }
        let lost = Trainer::stuck(Phase::Running);
        lost.tell(|news| (news.failed, news.lost) = (Some("the GPU was unplugged".into()), true));
        let mut train = Train { run: Some(lost), full: false, steps: 3, ..Train::default() };
        train.take(&mut shared);
        train.start(&shared);
        let run = train.run.as_ref().unwrap();
        assert_eq!(run.pace(), Pace::Steps(3));
        let asked = Instant::now();
        let began = loop {
            let news = run.news();
            assert!(news.failed.is_none() && asked.elapsed() < Duration::from_secs(60), "{:?}", news.failed);
            match news.began {
                Some(began) => break began,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        assert!(began.device.starts_with("CPU"), "{}", began.device);
        let told = train.finish(Duration::from_secs(60), &mut shared);
        assert!(told.is_empty(), "{told:?}");
    }
}
