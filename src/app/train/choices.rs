//! What is chosen before the start. Everything that can be typed is taken as typed: what will not do is reported when
//! the run is started, and not silently corrected.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use eframe::egui::{self, ComboBox, Grid, Response, RichText, TextEdit, Ui};

use super::engine::{Plan, WATCHED, in_words};
use crate::app::draw::has_just_opened;
use crate::cli::thousands;
use crate::graph::Store;
use crate::models::{self, Architecture, BUILTINS, OptimizerName, ScheduleName};
use crate::train::Settings;

/// Height, width and channels of MNIST's images.
const INPUT: [usize; 3] = [28, 28, 1];
const CLASSES: usize = 10;
/// All images but the watched ones.
const ALL: usize = 60_000 - WATCHED;
const IMAGES: [usize; 4] = [1_000, 5_000, 20_000, ALL];
/// How many files of a folder are listed at most.
const MOST: usize = 100;

pub struct Choices {
    built_in: Vec<String>,
    /// Architectures of the folder, and how many more there are.
    files: Vec<PathBuf>,
    more: usize,
    /// The name of a built-in network, or a file.
    network: String,
    chosen: Result<Box<Architecture>, String>,
    images: usize,
    epochs: String,
    batch: String,
    rate: String,
    optimizer: OptimizerName,
    schedule: ScheduleName,
    smoothing: String,
    seed: String,
}

impl Default for Choices {
    fn default() -> Choices {
        // A network without weights cannot learn: it is there to be put in front of others.
        let learns = |name: &str| models::builtin(name).is_ok_and(|network| trainable(&network) > 0);
        let built_in: Vec<String> = BUILTINS.iter().map(|(name, _)| (*name).to_owned()).filter(|n| learns(n)).collect();
        let mut choices = Choices {
            network: String::new(),
            chosen: Err("Choose a network.".into()),
            files: Vec::new(),
            more: 0,
            images: IMAGES[1],
            epochs: String::new(),
            batch: String::new(),
            rate: String::new(),
            optimizer: OptimizerName::Adam,
            schedule: ScheduleName::Constant,
            smoothing: String::new(),
            seed: "0".into(),
            built_in,
        };
        choices.choose("fast");
        choices
    }
}

/// A built-in network, or one from a file.
fn load(network: &str) -> Result<Box<Architecture>, String> {
    models::load(network).map(Box::new).map_err(|error| error.to_string())
}

/// Number of trainable parameters of a network that takes MNIST; 0 for one that does not.
fn trainable(network: &Architecture) -> u64 {
    let mut store = Store::default();
    let declared = network.declare(INPUT, CLASSES, &mut store, "count");
    declared.map_or(0, |(_, parameters)| parameters.count_trainable())
}

impl Choices {
    /// Chooses another network, with the settings of its recipe.
    fn choose(&mut self, network: &str) {
        self.network = network.into();
        self.chosen = load(network);
        if let Ok(architecture) = &self.chosen {
            let settings = Settings::from_recipe(&architecture.name, &architecture.recipe);
            self.epochs = settings.epochs.to_string();
            self.batch = settings.batch.to_string();
            self.rate = settings.learning_rate.to_string();
            self.optimizer = settings.optimizer;
            self.schedule = settings.schedule;
            self.smoothing = settings.label_smoothing.to_string();
        }
    }

    /// What is to be trained.
    ///
    /// # Errors
    /// A message, if something is not a number or will not do: before an existing run gives way to this one.
    pub fn plan(&mut self, device: String) -> Result<Plan, String> {
        // A file may have been edited since it was chosen; what was typed here stays.
        self.chosen = load(&self.network);
        let architecture = self.chosen.clone()?;
        let recipe = architecture.recipe.clone().with_optimizer(self.optimizer);
        let settings = Settings {
            device,
            epochs: number("Epochs", &self.epochs, "a whole number of at least 1, like 5")?,
            batch: number("Batch", &self.batch, "a whole number of at least 1, like 64")?,
            learning_rate: number("Learning rate", &self.rate, "a number above 0, like 0.001 or 1e-3")?,
            schedule: self.schedule,
            label_smoothing: number("Label smoothing", &self.smoothing, "a number from 0 to below 1, like 0.05")?,
            seed: number("Seed", &self.seed, "a whole number from 0 to 4294967295")?,
            // The watched images are set aside separately, and the user says when it is enough.
            validation: 0,
            patience: 0,
            ..Settings::from_recipe(&architecture.name, &recipe)
        };
        let checked = settings.check(self.images).and_then(|()| settings.check_image([INPUT[0], INPUT[1]]));
        checked.map_err(|error| in_words(&error, false))?;
        Ok(Plan { architecture: *architecture, images: self.images, settings, spare_in: None })
    }

    /// The form; during a run it shows what the run was started with. Returns whether anything was chosen or typed.
    pub fn ui(&mut self, ui: &mut Ui, folder: &Path, enabled: bool) -> bool {
        let mut is_changed = false;
        ui.add_enabled_ui(enabled, |ui| {
            Grid::new("choices").num_columns(2).spacing([8.0, 6.0]).show(ui, |ui| {
                if let Some(network) = self.networks(ui, folder) {
                    self.choose(&network);
                    is_changed = true;
                }
                let images = combo(ui, "Images", &self.images, said, IMAGES.iter().copied());
                is_changed |= images.is_some();
                self.images = images.unwrap_or(self.images);
                is_changed |= text(ui, "Epochs", &mut self.epochs);
                is_changed |= text(ui, "Batch", &mut self.batch);
                is_changed |= text(ui, "Learning rate", &mut self.rate);
                let optimizers = OptimizerName::ALL.iter().map(|(_, one)| *one);
                let optimizer = combo(ui, "Optimizer", &self.optimizer, |one| one.word().into(), optimizers);
                is_changed |= optimizer.is_some();
                self.optimizer = optimizer.unwrap_or(self.optimizer);
                let schedules = ScheduleName::ALL.iter().map(|(_, one)| *one);
                let schedule = combo(ui, "Schedule", &self.schedule, |one| one.word().into(), schedules);
                is_changed |= schedule.is_some();
                self.schedule = schedule.unwrap_or(self.schedule);
                is_changed |= text(ui, "Label smoothing", &mut self.smoothing);
                is_changed |= text(ui, "Seed", &mut self.seed);
            });
        });
        ui.add_space(4.0);
        self.about(ui);
        is_changed
    }

    fn networks(&mut self, ui: &mut Ui, folder: &Path) -> Option<String> {
        let shown = |network: &str| match Path::new(network).file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => network.to_owned(),
        };
        let mut chosen = None;
        let label = ui.label("Network");
        let opened = ComboBox::from_id_salt("Network")
            .width(WIDTH)
            .height(420.0)
            .selected_text(shown(&self.network))
            .truncate()
            .show_ui(ui, |ui| {
                if has_just_opened(ui) {
                    (self.files, self.more) = architectures(folder);
                }
                let mut one = |ui: &mut Ui, network: &str| {
                    if ui.selectable_label(network == self.network, shown(network)).clicked() {
                        chosen = Some(network.to_owned());
                    }
                };
                for name in &self.built_in {
                    one(ui, name);
                }
                ui.separator();
                ui.weak(format!("*.toml in {}", folder.display()));
                for file in &self.files {
                    one(ui, &file.to_string_lossy());
                }
                if self.files.is_empty() {
                    ui.weak("none");
                }
                if self.more > 0 {
                    ui.weak(format!("and {} more", self.more));
                }
            });
        named(&opened.response, &label);
        ui.end_row();
        chosen
    }

    /// Shows what cannot be chosen here because it is the network's own.
    fn about(&self, ui: &mut Ui) {
        let line = |ui: &mut Ui, text: String| {
            ui.add(egui::Label::new(RichText::new(text).weak().size(12.0)).wrap());
        };
        match &self.chosen {
            Err(problem) => {
                ui.add(egui::Label::new(RichText::new(problem).color(ui.visuals().error_fg_color)).wrap());
            }
            Ok(network) => {
                if !network.about.is_empty() {
                    line(ui, format!("{}: {}", network.name, network.about));
                }
                let recipe = Settings::from_recipe(&network.name, &network.recipe);
                let mut own = Vec::new();
                if recipe.average > 0.0 {
                    own.push(format!("averages the weights ({})", recipe.average));
                }
                if !recipe.augment.is_none() {
                    own.push(format!("augments the images {}", recipe.augment));
                }
                if !own.is_empty() {
                    line(ui, format!("Its recipe also {}.", own.join(" and ")));
                }
                line(ui, format!("{WATCHED} more images are watched: it never learns from them."));
            }
        }
    }
}

const WIDTH: f32 = 110.0;

fn said(images: &usize) -> String {
    match *images {
        ALL => "all of MNIST".into(),
        images => thousands(images as u64),
    }
}

/// Gives a widget the label before it as its accessible name.
fn named(widget: &Response, label: &Response) {
    widget.clone().labelled_by(label.id);
}

/// A line to type in; returns whether it was changed.
fn text(ui: &mut Ui, name: &str, value: &mut String) -> bool {
    let label = ui.label(name);
    let field = ui.add(TextEdit::singleline(value).desired_width(WIDTH - 8.0).char_limit(40));
    named(&field, &label);
    ui.end_row();
    field.changed()
}

/// A menu of a few things; returns the one that was chosen just now.
fn combo<T: PartialEq>(
    ui: &mut Ui,
    name: &str,
    value: &T,
    said: impl Fn(&T) -> String,
    all: impl Iterator<Item = T>,
) -> Option<T> {
    let mut chosen = None;
    let label = ui.label(name);
    let opened = ComboBox::from_id_salt(name).width(WIDTH).selected_text(said(value)).show_ui(ui, |ui| {
        for one in all {
            if ui.selectable_label(one == *value, said(&one)).clicked() {
                chosen = Some(one);
            }
        }
    });
    named(&opened.response, &label);
    ui.end_row();
    chosen
}

fn number<T: FromStr>(name: &str, text: &str, wanted: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name} is {:?}; it must be {wanted}.", text.trim()))
}

/// The architectures of a folder, if there is one, and how many more there are.
fn architectures(folder: &Path) -> (Vec<PathBuf>, usize) {
    let Ok(listed) = std::fs::read_dir(folder) else { return (Vec::new(), 0) };
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "toml") && path.is_file();
    let mut found: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).filter(is_toml).collect();
    found.sort();
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    (found, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_recipes_and_what_cannot_learn_is_not_offered() {
        let mut choices = Choices::default();
        assert!(choices.built_in.contains(&"best".into()) && !choices.built_in.contains(&"pool".into()));
        let plan = choices.plan("cpu".into()).unwrap();
        let recipe = &models::builtin("fast").unwrap().recipe;
        assert_eq!(plan.settings, Settings { device: "cpu".into(), ..Settings::from_recipe("fast", recipe) });
        assert_eq!(plan.images, 5_000);
        choices.choose("dense");
        let plan = choices.plan(String::new()).unwrap();
        assert_eq!((plan.settings.epochs, plan.settings.validation, choices.rate.as_str()), (20, 0, "0.004"));
    }

    #[test]
    fn what_is_typed_is_what_is_trained_with() {
        let [epochs, batch, rate, smoothing, seed] = ["3", "50", "0.25", "0.125", "4294967295"].map(String::from);
        let mut choices = Choices { images: 1_000, epochs, batch, rate, smoothing, seed, ..Choices::default() };
        let Plan { images, settings, .. } = choices.plan(String::new()).unwrap();
        assert_eq!((images, settings.epochs, settings.batch, settings.seed), (1_000, 3, 50, u32::MAX));
        assert_eq!((settings.learning_rate, settings.label_smoothing), (0.25, 0.125));
    }

    #[test]
    fn what_is_no_number_is_said_with_what_would_do() {
        let mut choices = Choices { epochs: "many".into(), ..Choices::default() };
        let problem = choices.plan(String::new()).err().unwrap();
        assert_eq!(problem, "Epochs is \"many\"; it must be a whole number of at least 1, like 5.");
        (choices.epochs, choices.seed) = (" 3 ".into(), "-1".into());
        assert!(choices.plan(String::new()).err().unwrap().contains("Seed is \"-1\""));
        (choices.seed, choices.batch) = ("0".into(), "0".into());
        let problem = choices.plan(String::new()).err().unwrap();
        assert_eq!(problem, "Batch is 0; it must be a number from 1 to 5000, the images to train on.");
        (choices.epochs, choices.batch) = ("200000".into(), "64".into());
        let problem = choices.plan(String::new()).err().unwrap();
        let wanted = "at most 107374, which is 8388608 steps of 64 images, unless the batch is larger";
        assert_eq!(problem, format!("Epochs is 200000; it must be {wanted}."));
    }

    #[test]
    fn networks_of_the_folder_are_listed_and_a_broken_one_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("mine.toml"), "layers = [\"flatten\", { dense = \"classes\" }]").unwrap();
        std::fs::write(at("broken.toml"), "layers = 3").unwrap();
        std::fs::write(at("other.txt"), "").unwrap();
        let (files, more) = architectures(folder.path());
        assert_eq!((&files[..], more), (&[at("broken.toml"), at("mine.toml")][..], 0));
        let mut choices = Choices::default();
        choices.choose(&files[0].to_string_lossy());
        assert!(choices.plan(String::new()).err().unwrap().contains("broken.toml"));
        choices.choose(&files[1].to_string_lossy());
        assert_eq!(choices.plan(String::new()).unwrap().architecture.name, "mine");
        // A file that is edited after it was chosen is trained as it is now, with the settings that were typed.
        choices.epochs = "7".into();
        let text = "layers = [\"flatten\", { dense = 5 }, { dense = \"classes\" }]";
        std::fs::write(at("mine.toml"), text).unwrap();
        let plan = choices.plan(String::new()).unwrap();
        assert_eq!((plan.architecture.layers.len(), plan.settings.epochs), (3, 7));
        assert!(architectures(&at("nowhere")).0.is_empty());
    }

    #[test]
    fn another_optimizer_than_the_recipes_has_its_own_momentum() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        let text = "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\noptimizer = \"sgd\"\nmomentum = 0.0\n";
        std::fs::write(&file, text).unwrap();
        let mut choices = Choices::default();
        choices.choose(&file.to_string_lossy());
        assert_eq!(choices.plan(String::new()).unwrap().settings.momentum, 0.0);
        choices.optimizer = OptimizerName::Adam;
        let settings = choices.plan(String::new()).unwrap().settings;
        assert_eq!((settings.optimizer, settings.momentum), (OptimizerName::Adam, 0.9));
    }
}
