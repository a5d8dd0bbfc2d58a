//! `inkgrad models`: the networks that can be trained, and the trained models that travel with the program.

use std::path::Path;
use std::process::ExitCode;

use super::say;
use crate::models::{BUILTIN_GANS, BUILTINS, FRONT, ModelFile, SHIPPED, builtin, builtin_gan};

pub fn run() -> anyhow::Result<ExitCode> {
    say("Networks, for `inkgrad train NAME`:\n");
    for (name, _) in BUILTINS.iter().filter(|(name, _)| *name != FRONT) {
        say(format_args!("  {name:12} {}", builtin(name)?.about));
    }
    for (name, _) in BUILTIN_GANS {
        say(format_args!("  {name:12} {}", builtin_gan(name)?.about));
    }
    say("\nNo network by itself:\n");
    say(format_args!("  {FRONT:12} {}", builtin(FRONT)?.about));
    say("\nTrained models, wherever a MODEL is asked for:\n");
    for (name, bytes) in SHIPPED {
        let (file, path) = (ModelFile::shipped(name)?, Path::new(name));
        let what = match file.is_gan() {
            true => format!("draws {}", file.class_names(path)?.join(" ")),
            false => format!("classifies {}", file.class_names(path)?.join(" ")),
        };
        let validated = file.metadata.get("validation_accuracy").and_then(|text| text.parse::<f64>().ok());
        let validated = validated.map_or(String::new(), |share| format!(", {:.2} % on validation", share * 100.0));
        say(format_args!("  {name:12} {what}{validated}, {} KiB", bytes.len() / 1024));
    }
    Ok(ExitCode::SUCCESS)
}
