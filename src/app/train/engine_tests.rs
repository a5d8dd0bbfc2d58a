//! The training thread, without a window.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eframe::egui;

use super::engine::{Pace, Plan, Trainer};
use super::news::{News, Phase};
use crate::device::Choice;
use crate::models::{self, ModelFile};
use crate::train::Settings;

/// A run and all its news.
struct Watch {
    run: Trainer,
    all: News,
}

impl Watch {
    fn start(images: usize, change: impl FnOnce(&mut Settings)) -> Watch {
        Watch::start_in(images, None, change)
    }

    /// What nobody keeps goes into `spare_in`.
    fn start_in(images: usize, spare_in: Option<PathBuf>, change: impl FnOnce(&mut Settings)) -> Watch {
        let plan = plan(images, spare_in, change);
        let run = Trainer::start(Choice::Cpu, plan, Pace::Full, egui::Context::default()).unwrap();
        Watch { run, all: News::default() }
    }

    fn poll(&mut self) {
        let news = self.run.news();
        self.all.phase = news.phase;
        self.all.began = self.all.began.take().or(news.began);
        self.all.now = news.now.or(self.all.now);
        self.all.steps.extend(news.steps);
        self.all.watched.extend(news.watched);
        self.all.mistakes = news.mistakes.or(self.all.mistakes.take());
        self.all.filters = news.filters.or(self.all.filters.take());
        self.all.kept = news.kept.or(self.all.kept.take());
        self.all.spare = news.spare.or(self.all.spare.take());
        self.all.failed = news.failed.or(self.all.failed.take());
    }

    fn until(&mut self, holds: impl Fn(&News) -> bool) {
        let began = Instant::now();
        while !holds(&self.all) {
            assert!(began.elapsed() < Duration::from_secs(60), "in vain: {:?}, {:?}", self.all.phase, self.all.failed);
            std::thread::sleep(Duration::from_millis(2));
            self.poll();
        }
    }
}

fn plan(images: usize, spare_in: Option<PathBuf>, change: impl FnOnce(&mut Settings)) -> Plan {
    let architecture = models::builtin("dense").unwrap();
    let mut settings = Settings { validation: 0, ..Settings::from_recipe("dense", &architecture.recipe) };
    change(&mut settings);
    Plan { architecture, images, settings, spare_in }
}

#[test]
fn a_window_that_does_not_read_the_steps_of_a_run_is_woken_for_its_end() {
    let (ctx, began) = (egui::Context::default(), Instant::now());
    let plan = plan(1000, None, |settings| settings.epochs = 10);
    let run = Trainer::start(Choice::Cpu, plan, Pace::Full, ctx.clone()).unwrap();
    // A frame comes only when it is asked for.
    while !run.is_urgent() || run.news().phase != Phase::Done {
        while !ctx.has_requested_repaint() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing wakes the window");
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = ctx.run_ui(egui::RawInput::default(), |_| {});
    }
}

#[test]
fn that_a_run_begins_is_news_for_its_own_panel_alone() {
    let plan = plan(20_000, None, |settings| settings.epochs = 1000);
    let run = Trainer::start(Choice::Cpu, plan, Pace::Full, egui::Context::default()).unwrap();
    let began = Instant::now();
    while run.is_opening() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!run.is_urgent());
}

#[test]
fn a_run_goes_to_its_end_and_every_step_is_told_once() {
    let mut watch = Watch::start(1000, |settings| settings.epochs = 10);
    watch.until(|all| all.phase == Phase::Done && all.watched.last().is_some_and(|look| look.step == 79));
    let all = &watch.all;
    let began = all.began.as_ref().unwrap();
    assert_eq!((began.total, all.steps.len(), began.watched.len()), (79, 79, 500));
    assert_eq!((began.network.as_str(), all.now.unwrap().step), ("dense", 79));
    let last = all.watched.last().unwrap();
    assert!(last.accuracy > 0.75 && last.loss < all.watched[0].loss, "{last:?}");
    assert_eq!(all.mistakes.as_ref().unwrap().len(), (500.0 * (1.0 - last.accuracy)).round() as usize);
    assert_eq!(all.filters.as_ref().unwrap().units.len(), 64);
    // The model can still be kept, and the run steps no further.
    let folder = tempfile::tempdir().unwrap();
    watch.run.step();
    watch.run.keep(folder.path());
    watch.until(|all| all.kept.is_some());
    let path = watch.all.kept.take().unwrap().unwrap();
    assert!(path.ends_with("live-dense-0001.safetensors") && ModelFile::load(&path).is_ok());
    assert_eq!(watch.all.steps.len(), 79);
}

#[test]
fn paused_it_stands_still_and_goes_single_steps() {
    let mut watch = Watch::start(20_000, |settings| settings.epochs = 1000);
    watch.until(|all| all.steps.len() > 3);
    watch.run.pause();
    watch
        .until(|all| all.phase == Phase::Paused && all.watched.last().map(|look| look.step) == all.now.map(|n| n.step));
    let steps = watch.all.steps.len();
    std::thread::sleep(Duration::from_millis(100));
    watch.poll();
    assert_eq!(watch.all.steps.len(), steps);
    watch.run.step();
    watch.run.step();
    watch.until(|all| all.watched.last().is_some_and(|look| look.step == steps + 2));
    assert_eq!(watch.all.steps.len(), steps + 2);
    watch.run.set_pace(Pace::Steps(3));
    watch.run.go_on();
    watch.until(|all| all.steps.len() > steps + 12 && all.phase == Phase::Running);
}

#[test]
fn what_is_kept_is_written_though_the_run_is_ended_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(20_000, |settings| settings.epochs = 1000);
    watch.until(|all| all.steps.len() > 3);
    watch.run.keep(folder.path());
    watch.run.end();
    watch.run.wait(Duration::from_secs(60));
    assert!(watch.run.is_over());
    watch.poll();
    assert!(ModelFile::load(watch.all.kept.take().unwrap().unwrap()).is_ok());
    assert!(watch.all.failed.is_none());
}

#[test]
fn what_was_learned_outlasts_the_run_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [spare, before] =
        ["latest", "before"].map(|name| folder.path().join(format!("models/live-dense-{name}.safetensors")));
    let spare_in = || spare.parent().map(PathBuf::from);
    // A run that is ended, and one that reaches its end.
    let mut watch = Watch::start_in(20_000, spare_in(), |settings| settings.epochs = 1000);
    watch.until(|all| all.steps.len() > 3);
    watch.run.end();
    watch.until(|all| all.spare.is_some());
    assert_eq!(watch.all.spare.take().unwrap().unwrap(), spare);
    let first = std::fs::read(&spare).unwrap();
    let mut watch = Watch::start_in(1000, spare_in(), |settings| settings.epochs = 1);
    watch.until(|all| all.phase == Phase::Done);
    watch.until(|all| all.spare.is_some());
    assert!(ModelFile::load(&spare).is_ok());
    assert!(std::fs::read(&spare).unwrap() != first);
    // Another run is not always a better one.
    assert!(std::fs::read(before).unwrap() == first);
    // What is kept needs no second file.
    std::fs::remove_file(&spare).unwrap();
    watch.run.end();
    watch.run.wait(Duration::from_secs(60));
    assert!(!spare.exists());
}

#[test]
fn a_run_that_is_stopped_has_looked_at_the_watched_images_after_its_last_step() {
    let mut watch = Watch::start(20_000, |settings| settings.epochs = 1000);
    watch.until(|all| all.steps.len() > 3);
    watch.run.stop();
    watch.run.wait(Duration::from_secs(60));
    watch.poll();
    let all = &watch.all;
    let step = all.now.unwrap().step;
    let look = all.watched.last().unwrap();
    assert_eq!((all.steps.len(), look.step), (step, step));
    assert_eq!(all.mistakes.as_ref().unwrap().len(), (500.0 * (1.0 - look.accuracy)).round() as usize);
}

#[test]
fn a_run_that_nobody_sees_any_more_writes_what_it_has_learned_without_another_look() {
    // A run on a busy machine may come to its end right after a look.
    let looked_last = |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::start_in(20_000, Some(folder.path().into()), |settings| settings.epochs = 1000);
        watch.until(|all| all.steps.len() > 3);
        watch.run.stop();
        watch.run.end();
        watch.run.wait(Duration::from_secs(60));
        watch.poll();
        assert!(ModelFile::load(watch.all.spare.take().unwrap().unwrap()).is_ok());
        watch.all.watched.last().unwrap().step == watch.all.steps.len()
    };
    assert!(!(0..3).all(looked_last));
}

#[test]
fn what_could_not_be_kept_is_still_written_when_the_run_ends() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("models");
    std::fs::write(&folder, "a file in the way").unwrap();
    let mut watch = Watch::start_in(20_000, Some(folder.clone()), |settings| settings.epochs = 1000);
    watch.until(|all| all.steps.len() > 3);
    watch.run.pause();
    watch.until(|all| all.phase == Phase::Paused);
    watch.run.keep(&folder);
    watch.until(|all| all.kept.is_some());
    assert!(watch.all.kept.take().unwrap().is_err());
    std::fs::remove_file(&folder).unwrap();
    watch.run.end();
    watch.until(|all| all.spare.is_some());
    assert!(ModelFile::load(watch.all.spare.take().unwrap().unwrap()).is_ok());
}

#[test]
fn what_could_not_be_written_once_a_run_is_done_is_written_when_it_is_stopped() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("models");
    std::fs::write(&folder, "a file in the way").unwrap();
    let mut watch = Watch::start_in(1000, Some(folder.clone()), |settings| settings.epochs = 1);
    watch.until(|all| all.phase == Phase::Done && all.spare.is_some());
    assert!(watch.all.spare.take().unwrap().is_err());
    std::fs::remove_file(&folder).unwrap();
    watch.run.stop();
    watch.until(|all| all.spare.as_ref().is_some_and(Result::is_ok));
    assert!(ModelFile::load(watch.all.spare.take().unwrap().unwrap()).is_ok());
}

#[test]
fn settings_that_will_not_do_are_said_without_flags() {
    for (change, wanted) in [
        ((|settings| settings.batch = 5000) as fn(&mut Settings), "Batch is 5000; it must be a number from 1 to 1000"),
        (|settings| settings.learning_rate = -1.0, "Learning rate is -1"),
        (|settings| settings.epochs = 0, "Epochs is 0"),
        (|settings| settings.learning_rate = 1e30, "Choose a smaller learning rate than"),
    ] {
        let mut watch = Watch::start(1000, change);
        watch.until(|all| all.failed.is_some());
        let problem = watch.all.failed.unwrap();
        assert!(problem.contains(wanted) && !problem.contains("--"), "{problem}");
        assert_eq!(watch.all.phase, Phase::Failed);
    }
}
