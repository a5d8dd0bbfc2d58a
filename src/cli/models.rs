//! `inkgrad models`: the networks that can be trained, and the trained models that travel with the program.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::say;
use super::terminal::wrapped;
use crate::models::{BUILTIN_GANS, BUILTINS, FRONT, ModelFile, SHIPPED, builtin, builtin_gan};

#[derive(clap::Args)]
pub struct Args {
    /// One line of JSON: networks, each with name, kind (classifier, gan, front) and about; and models, each with name,
    /// kind (classifier, generator), class_names, validation_accuracy (a share, or null) and bytes
    #[arg(long)]
    json: bool,
}

/// A network that can be trained, or stands in front of one.
struct Trainable {
    name: &'static str,
    kind: &'static str,
    about: String,
}

/// A trained model.
struct Shipped {
    name: &'static str,
    is_gan: bool,
    class_names: Vec<String>,
    /// Where it is known.
    validated: Option<f64>,
    bytes: usize,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (networks, models) = (networks()?, models()?);
    if args.json {
        say(as_json(&networks, &models));
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
    for Shipped { name, is_gan, class_names, validated, bytes } in &models {
        let what = if *is_gan { "draws" } else { "classifies" };
        let validated = validated.map_or(String::new(), |share| format!(", {:.2} % on validation", share * 100.0));
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
            is_gan: file.is_gan(),
            class_names: file.class_names(Path::new(name))?,
            validated: file.metadata.get("validation_accuracy").and_then(|text| text.parse().ok()),
            bytes: bytes.len(),
        });
    }
    Ok(models)
}

fn as_json(networks: &[Trainable], models: &[Shipped]) -> Value {
    let networks =
        networks.iter().map(|Trainable { name, kind, about }| json!({ "name": name, "kind": kind, "about": about }));
    let models = models.iter().map(|Shipped { name, is_gan, class_names, validated, bytes }| {
        let kind = if *is_gan { "generator" } else { "classifier" };
        json!({
            "name": name, "kind": kind, "class_names": class_names, "validation_accuracy": validated, "bytes": bytes,
        })
    });
    json!({ "networks": Value::from_iter(networks), "models": Value::from_iter(models) })
}
