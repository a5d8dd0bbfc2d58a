//! `inkgrad models`: the networks that can be trained, and the trained models that come with the program.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::terminal::wrapped;
use super::{say, say_json};
use crate::models::{BUILTIN_GANS, BUILTINS, FRONT, ModelFile, SHIPPED, builtin, builtin_gan};

#[derive(clap::Args)]
pub struct Args {
    /// Print one line of JSON: networks, each with name, kind (classifier, gan, front) and about; and models, each with
    /// name, kind (classifier, generator), class_names, validation_accuracy (a share, or null) and bytes
    #[arg(long)]
    json: bool,
}

/// A network that can be trained, or stands in front of one.
#[derive(Serialize)]
struct Trainable {
    name: &'static str,
    kind: &'static str,
    about: String,
}

/// A trained model.
#[derive(Serialize)]
struct Shipped {
    name: &'static str,
    kind: &'static str,
    class_names: Vec<String>,
    /// Where it is known.
    validation_accuracy: Option<f64>,
    bytes: usize,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (networks, models) = (networks()?, models()?);
    if args.json {
        say_json(&json!({ "networks": networks, "models": models }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let entry = |name: &str, about: &str| say(wrapped(&format!("  {name:12} {about}"), 15));
    say("Networks, for `inkgrad train NAME`:\n");
    for network in networks.iter().filter(|network| network.name != FRONT) {
        entry(network.name, &network.about);
    }
    say("\nNo network by itself:\n");
    for network in networks.iter().filter(|network| network.name == FRONT) {
        entry(network.name, &network.about);
    }
    say("\nTrained models, wherever a MODEL is asked for:\n");
    for Shipped { name, kind, class_names, validation_accuracy, bytes } in &models {
        let what = if *kind == "generator" { "draws" } else { "classifies" };
        let validated =
            validation_accuracy.map_or(String::new(), |share| format!(", {:.2} % on validation", share * 100.0));
        entry(name, &format!("{what} {}{validated}, {} KiB", class_names.join(" "), bytes / 1024));
    }
    Ok(ExitCode::SUCCESS)
}

fn networks() -> anyhow::Result<Vec<Trainable>> {
    let mut networks = Vec::new();
    for &(name, _) in BUILTINS {
        let kind = if name == FRONT { "front" } else { "classifier" };
        networks.push(Trainable { name, kind, about: builtin(name)?.about });
    }
    for &(name, _) in BUILTIN_GANS {
        networks.push(Trainable { name, kind: "gan", about: builtin_gan(name)?.about });
    }
    Ok(networks)
}

fn models() -> anyhow::Result<Vec<Shipped>> {
    let mut models = Vec::new();
    for &(name, bytes) in SHIPPED {
        let file = ModelFile::shipped(name)?;
        models.push(Shipped {
            name,
            kind: if file.is_gan() { "generator" } else { "classifier" },
            class_names: file.class_names()?,
            validation_accuracy: file.metadata.get("validation_accuracy").and_then(|text| text.parse().ok()),
            bytes: bytes.len(),
        });
    }
    Ok(models)
}
