//! `inkgrad devices`: the devices that can compute here.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::terminal::wrapped;
use super::{say, say_json};
use crate::device::{self, Listed, gpu::AdapterInfo};

#[derive(clap::Args)]
pub struct Args {
    /// Print one line of JSON: a list of objects with number, name, kind (cpu, discrete, integrated, other, software)
    /// and auto, whether `auto` takes it; for a GPU also backend, driver, f16, subgroups, matrix_units, timestamps,
    /// binding_bytes and problem
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let list = device::list();
    if args.json {
        say_json(&Value::from_iter(list.iter().enumerate().map(|(i, listed)| as_json(i, listed))))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (i, listed) in list.iter().enumerate() {
        let mark = if listed.auto.is_some() { "*" } else { " " };
        say(wrapped(&format!("{mark} {i}  {}", listed.choice.name()), 5));
        if let Some(info) = listed.choice.adapter() {
            say(wrapped(&format!("       {}", details(info)), 7));
        }
    }
    if let Some((i, why)) = list.iter().enumerate().find_map(|(i, listed)| Some((i, listed.auto?))) {
        say(format_args!("\n{}", wrapped(&format!("* `--device auto` takes {i}: {why}."), 2)));
        say("Name another by number or by part of its name.");
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(number: usize, listed: &Listed) -> Value {
    let adapter = listed.choice.adapter();
    let kind = adapter.map_or("cpu".into(), |info| info.class.to_string());
    let mut device =
        json!({ "number": number, "name": listed.choice.name(), "kind": kind, "auto": listed.auto.is_some() });
    if let Some(info) = adapter {
        device["backend"] = json!(info.backend);
        device["driver"] = json!(info.driver);
        device["f16"] = json!(info.f16);
        device["subgroups"] = json!(info.subgroups.is_some());
        device["matrix_units"] = json!(info.matrix_units.is_some());
        device["timestamps"] = json!(info.timestamps);
        device["binding_bytes"] = json!(info.limits.binding);
        device["problem"] = json!(info.problem);
    }
    device
}

fn details(info: &AdapterInfo) -> String {
    if let Some(problem) = &info.problem {
        return format!("cannot be used: {problem}");
    }
    let features = [
        ("f16", info.f16),
        ("subgroups", info.subgroups.is_some()),
        ("matrix units", info.matrix_units.is_some()),
        ("timestamps", info.timestamps),
    ];
    let features: Vec<&str> = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { String::new() } else { format!(", {}", features.join(", ")) };
    let limit = info.limits.binding >> 20;
    format!("{}, driver {}, {limit} MiB a binding{features}", info.class, info.driver)
}
