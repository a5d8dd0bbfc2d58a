//! The panel where a generator draws: every number and every class that it is given has a slider, and the judge reads
//! the result.
//!
//! [`wish`] is what the user has set, [`engine`] the thread that draws and reads it; the other files show both.

mod atlas;
mod controls;
mod engine;
mod pictures;
mod save;
mod views;
mod way;
mod wish;

use std::path::{Path, PathBuf};
use std::time::Duration;

use eframe::egui::{self, Ui};

use super::shared::Shared;
use crate::models::lasting;
use atlas::Atlas;
use engine::Engine;
use save::Saver;
use way::Way;
use wish::Wish;

/// The generator that is opened by default.
const MODEL: &str = "gan";
/// Width of the sliders' side, in points.
const CONTROLS: std::ops::RangeInclusive<f32> = 330.0..=460.0;

pub struct Dream {
    engine: Option<Engine>,
    /// A generator that is to be opened once the panel is shown.
    chosen: Option<PathBuf>,
    /// Set once a generator is open.
    wish: Option<Wish>,
    asked: Option<Wish>,
    atlas: Atlas,
    way: Way,
    /// Eight numbers of a latent are shown at a time.
    page: usize,
    /// The scale of saved pictures.
    scale: u32,
    /// Where they are saved.
    folder: PathBuf,
    saver: Saver,
}

impl Default for Dream {
    fn default() -> Dream {
        Dream {
            engine: None,
            chosen: None,
            wish: None,
            asked: None,
            atlas: Atlas::default(),
            way: Way::default(),
            page: 0,
            scale: 4,
            folder: ".".into(),
            saver: Saver::default(),
        }
    }
}

impl Dream {
    pub fn ui(&mut self, ui: &mut Ui, shared: &mut Shared) {
        self.poll(shared);
        let (width, height) = (ui.available_width(), ui.available_height());
        let left = (width * 0.33).clamp(*CONTROLS.start(), *CONTROLS.end());
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(left);
                ui.set_max_height(height);
                egui::ScrollArea::vertical().id_salt("dream controls").auto_shrink([false, false]).show(ui, |ui| {
                    // Leaves room for the scroll bar.
                    ui.set_max_width(left - 14.0);
                    self.controls(ui, shared);
                });
            });
            ui.separator();
            ui.vertical(|ui| {
                ui.set_width((width - left - 24.0).max(200.0));
                self.view(ui, shared);
            });
        });
        self.ask();
    }

    /// Has another generator draw, once the panel is shown.
    pub fn open(&mut self, path: &Path) {
        self.chosen = Some(path.to_owned());
    }

    /// Takes in what the thread has done since the last frame; the first call starts the thread.
    fn poll(&mut self, shared: &mut Shared) {
        let engine = self.engine.get_or_insert_with(|| {
            shared.menu.look_for_generators();
            let ctx = shared.ctx.clone();
            let mut engine = Engine::start(shared.choice.clone(), move || ctx.request_repaint());
            engine.fall_back_on(shared.remembered.generator.as_deref(), MODEL);
            engine
        });
        if let Some(path) = self.chosen.take() {
            engine.open(&path);
        }
        let news = engine.poll();
        let mut problems = engine.take_problems();
        problems.extend(self.saver.poll());
        if let Some(about) = engine.about().filter(|_| news.opened) {
            let classes = about.class_names.len();
            self.wish.get_or_insert_with(|| Wish::new(about.numbers, classes)).fit(about.numbers, classes);
            (self.asked, self.page) = (None, 0);
            self.atlas.clear();
            shared.remembered.generator = Some(lasting(&about.path));
        }
        if let (Some(about), Some(answer)) = (engine.about(), engine.answer().filter(|_| news.answered)) {
            self.atlas.set(&shared.ctx, &answer.pictures, about.image);
        }
        if !problems.is_empty() {
            problems.into_iter().for_each(|problem| shared.say(problem));
            // Messages are shown in a part of the window that this frame has drawn already.
            shared.ctx.request_repaint();
        }
    }

    /// Called before the window closes: waits until a picture is saved, but no longer than `patience`. Returns why it
    /// was not.
    pub fn finish(&mut self, patience: Duration) -> Option<String> {
        self.saver.finish(patience)
    }

    fn ask(&mut self) {
        let (Some(engine), Some(wish)) = (&mut self.engine, &mut self.wish) else { return };
        wish.mend();
        if self.asked.as_ref() != Some(wish) {
            engine.ask(wish.clone());
            self.asked = Some(wish.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::models::ModelFile;

    /// The panel, which shows nothing yet.
    fn panel(dream: Dream, shared: Shared) -> Harness<'static, (Dream, Shared)> {
        let show = |ui: &mut Ui, (dream, shared): &mut (Dream, Shared)| dream.ui(ui, shared);
        Harness::builder().with_size(egui::vec2(1024.0, 700.0)).build_ui_state(show, (dream, shared))
    }

    /// Shows the panel until something holds, for a limited time.
    fn until(harness: &mut Harness<'_, (Dream, Shared)>, holds: impl Fn(&Dream) -> bool) {
        let began = Instant::now();
        while !holds(&harness.state().0) {
            assert!(began.elapsed() < Duration::from_secs(60), "waited in vain");
            std::thread::sleep(Duration::from_millis(5));
            harness.step();
        }
    }

    /// Whether there are pictures of that generator.
    fn has_drawn(dream: &Dream, path: &Path) -> bool {
        let engine = dream.engine.as_ref().filter(|engine| engine.answer().is_some());
        engine.and_then(Engine::about).is_some_and(|about| about.path == path)
    }

    #[test]
    fn another_generator_draws_at_once_and_its_view_is_saved_at_the_scale_that_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.safetensors");
        ModelFile::shipped("gan").unwrap().save(&other).unwrap();
        let dream = Dream { folder: folder.path().to_owned(), scale: 3, ..Dream::default() };
        let mut harness = panel(dream, Shared::plain(folder.path()));
        until(&mut harness, |dream| has_drawn(dream, Path::new(MODEL)));
        harness.state_mut().0.engine.as_mut().unwrap().open(&other);
        until(&mut harness, |dream| has_drawn(dream, &other));
        harness.get_by_label("Save as PNG").click();
        until(&mut harness, |dream| dream.saver.saved().is_some());
        let saved = image::image_dimensions(folder.path().join("dream-0001.png")).unwrap();
        assert_eq!(saved, (5 * 28 * 3, 5 * 28 * 3));
    }

    #[test]
    fn a_damaged_generator_that_is_chosen_before_the_panel_is_shown_leaves_the_remembered_one() {
        let folder = tempfile::tempdir().unwrap();
        let [damaged, mine] = ["damaged", "mine"].map(|name| folder.path().join(format!("{name}.safetensors")));
        let whole = ModelFile::shipped("gan").unwrap().to_bytes(&mine).unwrap();
        std::fs::write(&mine, &whole).unwrap();
        std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
        let (mut dream, mut shared) = (Dream::default(), Shared::plain(folder.path()));
        shared.remembered.generator = Some(mine.clone());
        dream.open(&damaged);
        let mut harness = panel(dream, shared);
        until(&mut harness, |dream| has_drawn(dream, &mine));
        let shared = &mut harness.state_mut().1;
        assert_eq!(shared.remembered.generator, Some(mine));
        assert!(shared.messages().iter().any(|message| message.contains("damaged.safetensors")));
    }
}
