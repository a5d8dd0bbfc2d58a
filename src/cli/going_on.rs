//! What to do after a run has failed: continue on another device at once, if the user agreed to that, or tell the
//! command that continues with what is kept.

use std::path::Path;

use toml::{Table, Value};

use super::{note, trusted};
use crate::device::several::Several;
use crate::device::{Choice, Device, DeviceError};
use crate::models::{Model, ModelError, Recipe};
use crate::train::{Folder, Settings, TrainError};
use crate::words::shell;

/// Opens the device of `--device wanted`; with `fallback`, the CPU's if that one cannot be opened or computes wrongly.
pub fn open(choice: Choice, wanted: &str, fallback: bool) -> Result<Box<dyn Device>, DeviceError> {
    open_all(vec![choice], wanted, fallback)
}

/// Like [`open`], for several devices, which become one. With `fallback`, if one cannot be opened, the CPU's replaces
/// them all.
pub fn open_all(choices: Vec<Choice>, wanted: &str, fallback: bool) -> Result<Box<dyn Device>, DeviceError> {
    let opened = choices.into_iter().map(|choice| trusted(choice, wanted).map(|(_, device)| device)).collect();
    match opened {
        Ok(devices) => Several::join(devices).map_or_else(|| Choice::Cpu.open(), Ok),
        Err(error) if fallback => {
            note(format_args!("warning: {error}; continuing on the CPU"));
            Choice::Cpu.open()
        }
        Err(error) => Err(error),
    }
}

/// Trains; if a GPU fails and `fallback` is given, continues on the CPU from what was saved.
pub fn train<T>(
    device: &mut Box<dyn Device>,
    fallback: bool,
    folder: &Folder,
    mut run: impl FnMut(&mut dyn Device) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let error = match run(device.as_mut()) {
        Err(error) if fallback => error,
        ended => return ended,
    };
    let cpu = Choice::Cpu.open()?;
    match error.device() {
        Some(reason) if device.name() != cpu.name() => {
            let from = folder.saved_step().map_or("the beginning".into(), |step| format!("step {step}"));
            note(format_args!("warning: {reason}. Continuing on the CPU, from {from}"));
        }
        _ => return Err(error),
    }
    *device = cpu;
    run(device.as_mut())
}

/// A tenth of a learning rate, computed from its decimal digits, so that a tenth of 0.004 is 0.0004.
pub fn tenth(rate: f32) -> f32 {
    (rate.to_string().parse::<f64>().unwrap_or_default() / 10.0) as f32
}

/// An error that ended a run, with what is kept of the run and the command that continues it. `folder` is what
/// `--resume` takes; `member` is the folder within it that was being trained in, which for a single run is the same.
pub fn ended(error: TrainError, folder: &Folder, member: &Folder) -> anyhow::Error {
    let run = shell(&folder.path().to_string_lossy());
    let saved = member.saved_step();
    let kept = match saved {
        Some(step) => format!("saved up to step {step}"),
        None if member.best().exists() => {
            format!("nothing is saved yet but the best model so far, {}", member.best().display())
        }
        None => "nothing is saved yet".into(),
    };
    let advice = match &error {
        TrainError::NotFinite { rate, weight_decay: None, .. } if saved.is_some() => {
            let last = shell(&member.last().to_string_lossy());
            let (tenth, flags) = (tenth(*rate), flags(folder, member));
            format!("continue from there with: inkgrad train --from {last} --learning-rate {tenth}{flags}")
        }
        // A run keeps its batch.
        _ if saved.is_none() && error.device().is_some_and(DeviceError::is_full_cpu) => {
            "--resume would take as much memory: start a new run, with a smaller --batch".into()
        }
        TrainError::Device(_) | TrainError::Infer(_) if error.device().is_some() => {
            format!("continue with: inkgrad train --resume {run} --device cpu")
        }
        _ if is_of_writing(&error) => {
            format!("once it can be written again, continue with: inkgrad train --resume {run}")
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}\n{kept}; {advice}")
}

/// Whether a file could not be written.
fn is_of_writing(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::Folder { .. }
            | TrainError::Held { .. }
            | TrainError::Report(_)
            | TrainError::Model(ModelError::Write(_))
    )
}

/// Whether the same training may succeed another time, when its disk has room or its device is free.
pub fn may_pass(error: &TrainError) -> bool {
    error.device().is_some() || is_of_writing(error)
}

/// Further flags that ask for a run like that of `member`: its data, and its settings where they differ from its
/// network's recipe.
fn flags(folder: &Folder, member: &Folder) -> String {
    let mut flags = String::new();
    let (Ok(settings), Ok(Model::Classifier(architecture))) = (member.settings::<Settings>(), member.load_model())
    else {
        return flags;
    };
    let recipe = usual(&settings, &architecture.recipe);
    let [own, usual] = [&settings, &recipe].map(|settings| settings.text().parse::<Table>().unwrap_or_default());
    add_flags(&own, &usual, &mut flags);
    if settings.augment.is_none() && !recipe.augment.is_none() {
        flags += " --no-augment";
    }
    match folder.path().parent() {
        Some(runs) if runs != Path::new("runs") => flags + " --out " + &shell(&runs.to_string_lossy()),
        _ => flags,
    }
}

/// The settings of a recipe, except for those that a run's optimizer sets by itself.
fn usual(settings: &Settings, recipe: &Recipe) -> Settings {
    let mut usual = Settings::from_recipe(&settings.model, &recipe.clone().with_optimizer(settings.optimizer));
    usual.optimizer = recipe.optimizer.unwrap_or_default();
    if !settings.optimizer.has_momentum() {
        // Its flag would be refused.
        usual.momentum = settings.momentum;
    }
    usual
}

/// Settings that have no flag, or that are given anyway.
const OTHERS: [&str; 5] = ["model", "from", "members", "learning_rate", "validation_seed"];

fn add_flags(own: &Table, usual: &Table, flags: &mut String) {
    for (key, value) in own.iter().filter(|(key, _)| !OTHERS.contains(&key.as_str())) {
        let (flag, usual) = (key.replace('_', "-"), usual.get(key));
        match value {
            _ if usual == Some(value) => {}
            Value::Table(own) => add_flags(own, usual.and_then(Value::as_table).unwrap_or(&Table::new()), flags),
            Value::Boolean(false) | Value::Float(0.0) if usual.is_none() => {}
            Value::Boolean(true) => *flags += &format!(" --{flag}"),
            Value::Boolean(false) => *flags += &format!(" --{flag}=false"),
            Value::String(word) => *flags += &format!(" --{flag} {}", shell(word)),
            number => *flags += &format!(" --{flag} {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Augmentation, OptimizerName, builtin};

    #[test]
    fn a_run_that_the_cpu_has_no_memory_for_is_not_to_be_gone_on_with_on_the_cpu() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(parent.path(), "net").unwrap();
        let said = |device: &str| {
            let (device, what) = (device.into(), "images".into());
            let full = TrainError::Device(DeviceError::OutOfMemory { device, what, bytes: 1 << 40 });
            ended(full, &folder, &folder).to_string()
        };
        let cpu = said("CPU");
        assert!(cpu.contains("(1024.0 GiB); try a smaller batch\nnothing is saved yet; --resume would"), "{cpu}");
        assert!(!cpu.contains("continue with"), "{cpu}");
        let gpu = said("a GPU");
        assert!(gpu.contains("nothing is saved yet; continue with: inkgrad train --resume "), "{gpu}");
    }

    #[test]
    fn a_tenth_of_a_rate_has_its_digits() {
        for (rate, wanted) in [(0.004, "0.0004"), (0.003, "0.0003"), (0.05, "0.005"), (1.0, "0.1"), (7e-4, "0.00007")] {
            assert_eq!(tenth(rate).to_string(), wanted);
        }
    }

    #[test]
    fn an_optimizer_is_asked_for_without_what_it_brings_along() {
        let sgd = Recipe { optimizer: Some(OptimizerName::Sgd), momentum: Some(0.5), ..Recipe::default() };
        let flags = |own: &Settings| {
            let [own, usual] = [own, &usual(own, &sgd)].map(|settings| settings.text().parse::<Table>().unwrap());
            let mut flags = String::new();
            add_flags(&own, &usual, &mut flags);
            flags
        };
        let by = |optimizer| Settings::from_recipe("net", &sgd.clone().with_optimizer(optimizer));
        assert_eq!(flags(&by(OptimizerName::Sgd)), "");
        // Which images are validated on is known from the model that it goes on from.
        assert_eq!(flags(&Settings { validation_seed: Some(3), ..by(OptimizerName::Sgd) }), "");
        assert_eq!(flags(&by(OptimizerName::AdamW)), " --optimizer adamw");
        assert_eq!(flags(&Settings { momentum: 0.5, ..by(OptimizerName::Adam) }), " --momentum 0.5 --optimizer adam");
        // Runs of older versions have the recipe's momentum.
        assert_eq!(flags(&Settings { momentum: 0.5, ..by(OptimizerName::RmsProp) }), " --optimizer rmsprop");
    }

    #[test]
    fn a_run_without_its_recipes_augmentation_is_gone_on_with_without_it() {
        let parent = tempfile::tempdir().unwrap();
        let network = builtin("standard").unwrap();
        let flags = |settings: &Settings| {
            let folder = Folder::create(parent.path(), "standard").unwrap();
            folder.begin(network.text(), None, settings).unwrap();
            flags(&folder, &folder)
        };
        let usual = Settings::from_recipe("standard", &network.recipe);
        let plain = Settings { augment: Augmentation::default(), ..usual.clone() };
        let [usual, plain] = [&usual, &plain].map(flags);
        assert!(usual.starts_with(" --out "), "{usual}");
        assert!(plain.starts_with(" --no-augment --out "), "{plain}");
    }
}
