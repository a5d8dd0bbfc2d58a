//! `inkgrad devices`: what can compute here.

use std::process::ExitCode;

use super::say;
use crate::device::{self, gpu::AdapterInfo};

pub fn run() -> anyhow::Result<ExitCode> {
    let list = device::list();
    for (i, listed) in list.iter().enumerate() {
        let mark = if listed.auto.is_some() { "*" } else { " " };
        say(format_args!("{mark} {i}  {}", listed.choice.name()));
        if let Some(info) = listed.choice.adapter() {
            say(format_args!("       {}", details(info)));
        }
    }
    if let Some((i, why)) = list.iter().enumerate().find_map(|(i, listed)| Some((i, listed.auto?))) {
        say(format_args!("\n* `--device auto` takes {i}: {why}.\nName another by number or by part of its name."));
    }
    Ok(ExitCode::SUCCESS)
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
