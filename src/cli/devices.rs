//! `inkgrad devices`: what can compute here.

use std::process::ExitCode;

use super::say;
use crate::device;

pub fn run() -> anyhow::Result<ExitCode> {
    let list = device::list();
    for (i, listed) in list.iter().enumerate() {
        let mark = if listed.auto.is_some() { "*" } else { " " };
        say(format_args!("{mark} {i}  {}", listed.choice.name()));
        if let Some(info) = listed.choice.adapter() {
            say(format_args!("       {}", info.details()));
        }
    }
    if let Some((i, why)) = list.iter().enumerate().find_map(|(i, listed)| Some((i, listed.auto?))) {
        say(format_args!("\n* `--device auto` takes {i}: {why}. Name another by number or by part of its name."));
    }
    Ok(ExitCode::SUCCESS)
}
