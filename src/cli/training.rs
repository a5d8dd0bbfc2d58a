//! A classifier's run at the command line, or the several of an ensemble: its progress, its result, and how to
//! continue.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};

use super::evaluate::warn_of_unanswered;
use super::progress::{Progress, from};
use super::{counted, going_on, mention, note, say, thousands};
use crate::data::DataSet;
use crate::device::Device;
use crate::infer::{Evaluation, Scores};
use crate::models::{Architecture, Model, ModelFile};
use crate::report::Confusion;
use crate::run_files::BEST;
use crate::train::{Event, Folder, Outcome, Run, Settings};
use crate::words::shell;

/// What one run and several in a row have in common.
pub(super) struct Training<'a> {
    pub quiet: bool,
    pub data: DataSet,
    pub device: Box<dyn Device>,
    /// Whether the CPU may take over from a GPU that fails.
    pub fallback: bool,
    pub stop: &'a AtomicBool,
}

impl Training<'_> {
    /// Trains in `member`, which is `folder` or a folder within it. Returns how the run ended, and its progress.
    fn run(
        &mut self,
        architecture: &Architecture,
        settings: &Settings,
        member: &Folder,
        folder: &Folder,
    ) -> anyhow::Result<(Outcome, Progress)> {
        let mut progress = Progress::new("steps", None, self.quiet);
        let classes = self.data.class_names.len() as u64;
        let outcome = going_on::train(&mut self.device, self.fallback, member, |device| {
            let run = Run {
                settings: settings.clone(),
                architecture: architecture.clone(),
                data: self.data.clone(),
                folder: member.clone(),
                device,
                stop: self.stop,
                report: &mut |event| show(&mut progress, classes, event),
            };
            run.train()
        });
        progress.finish();
        let outcome = outcome.map_err(|error| going_on::ended(error, folder, member))?;
        Ok((outcome, progress))
    }

    pub fn one(
        mut self,
        architecture: &Architecture,
        settings: &Settings,
        folder: &Folder,
    ) -> anyhow::Result<ExitCode> {
        let validated = settings.validation > 0;
        let complete = folder.is_finished();
        let (outcome, progress) = self.run(architecture, settings, folder, folder)?;
        match outcome {
            Outcome::Finished { test, best_epoch, epochs, seconds } => {
                if let Some(test) = test {
                    say(result("test", &test, &self.data));
                    warn_of_unanswered(&test, &folder.best());
                }
                let (epochs, early) = match epochs < settings.epochs {
                    true => (
                        format!("{epochs} of {}", counted(settings.epochs as u64, "epoch")),
                        format!(", ended by --patience {}", settings.patience),
                    ),
                    false => (counted(epochs as u64, "epoch"), String::new()),
                };
                let best = if validated { format!(", the best was epoch {best_epoch}") } else { String::new() };
                let model = folder.best();
                let took = if complete { ", complete already".into() } else { progress.took(seconds) };
                say(format_args!("{epochs}{took}{early}{best}; model: {}", model.display()));
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Stopped { step } => Ok(stopped(step, folder)),
        }
    }

    /// Trains one run after another, each in a numbered folder within `folder` that holds its settings, and finally
    /// makes the model that joins them.
    pub fn ensemble(mut self, settings: &Settings, folder: &Folder) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let _lock = folder.lock()?;
        let moved = |was: Settings| Settings { data: settings.data.clone(), ..was };
        folder.change_settings(moved)?;
        let (mut members, mut before) = (Vec::new(), 0);
        for i in 0..settings.members {
            let member = Folder::open(&folder.member(i))?;
            if member.is_finished() {
                let _lock = member.lock()?;
                member.check_finished()?;
                member.change_settings(moved)?;
                before += 1;
            } else {
                let Model::Classifier(architecture) = member.load_model()? else { bail!("a GAN is no member") };
                // Devices change from run to run.
                let own = Settings { device: settings.device.clone(), ..moved(member.settings()?) };
                match self.run(&architecture, &own, &member, folder)?.0 {
                    Outcome::Finished { test: Some(test), .. } => {
                        mention(result(&format!("{} of {}: test", i + 1, settings.members), &test, &self.data));
                    }
                    Outcome::Finished { test: None, .. } => {}
                    Outcome::Stopped { step } => return Ok(stopped(step, folder)),
                }
            }
            // Called by its place in the ensemble's folder, wherever that is, and alike on every system.
            members.push(ModelFile { name: format!("{}/{BEST}", i + 1).into(), ..member.load_best()? });
        }
        let joined = ModelFile::ensemble(&members)
            .with_context(|| format!("{}: its members cannot be joined", folder.path().display()))?;
        let joined = ModelFile { name: folder.best(), ..joined };
        joined.save(&joined.name)?;
        let set = &self.data.test;
        if let Some(warning) = folder.tested_on_others(set) {
            note(format_args!("warning: {warning}"));
        }
        let test = match set.is_empty() {
            true => None,
            false => {
                let mut evaluation = Evaluation::open(&joined, set, self.device.as_mut())?;
                Some(Scores::new(&evaluation.logits(self.device.as_mut())?, &set.labels))
            }
        };
        folder.save_result(0, set, test.as_ref())?;
        if let Some(test) = test {
            say(result("all together: test", &test, &self.data));
            warn_of_unanswered(&test, &folder.best());
        }
        let seconds = began.elapsed().as_secs_f64();
        let count = counted(members.len() as u64, "member");
        let before = match before {
            0 => String::new(),
            1 => " without 1 that was there".into(),
            _ => format!(" without {before} that were there"),
        };
        say(format_args!("{count} in {seconds:.1} s{before}; model: {}", folder.best().display()));
        Ok(ExitCode::SUCCESS)
    }
}

fn stopped(step: usize, folder: &Folder) -> ExitCode {
    let path = shell(&folder.path().to_string_lossy());
    note(format_args!("stopped at step {step}; saved. Continue with: inkgrad train --resume {path}"));
    ExitCode::from(130)
}

fn result(of: &str, test: &Scores, data: &DataSet) -> String {
    format!("{of} {}", Confusion::right_or_wrong(test.answers(&data.test.labels)).fmt_accuracy())
}

fn show(progress: &mut Progress, classes: u64, event: Event) {
    match event {
        Event::Started { steps, first, images, validation, parameters } => {
            let set_aside =
                if validation > 0 { format!(", {} to validate", thousands(validation as u64)) } else { String::new() };
            progress.line(format!(
                "{}, {} classes, {}{set_aside}, {}{}",
                counted(parameters, "parameter"),
                thousands(classes),
                counted(images as u64, "image"),
                counted(steps as u64, "step"),
                from(first, steps, "step")
            ));
            progress.begin(first as u64, Some(steps as u64));
        }
        Event::Trained { step, epoch, loss, accuracy, images_per_second } => {
            let (percent, speed) = (accuracy * 100.0, thousands(images_per_second as u64));
            let text = format!("epoch {epoch:.2}  loss {loss:.4}  accuracy {percent:.2} %  {speed} images/s");
            let short = format!("epoch {epoch:.2}  loss {loss:.4}  {percent:.2} %  {speed}/s");
            progress.at_figures(step as u64, text, short);
        }
        Event::Validated { epoch, loss, accuracy, best } => {
            let mark = if best { "  (best so far)" } else { "" };
            let percent = accuracy * 100.0;
            progress.line(format!("epoch {epoch}: validation loss {loss:.4}, accuracy {percent:.2} %{mark}"));
        }
        Event::Warning(text) => progress.warning(&text),
        Event::Saved { .. } => {}
    }
}
