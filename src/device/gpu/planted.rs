//! Faults of drivers on purpose, so that tests can see them found: `INKGRAD_FAULT=wrong-shader@max_pool:max(=>min(`
//! makes the GPU's `max_pool` a wrong one, as a driver's compiler might. `hardware@` before it, and a `;` between, makes a
//! software adapter claim to be a GPU.

use std::sync::OnceLock;

/// The part of the variable that begins with `word@`, without it.
fn planted(word: &str) -> Option<&'static str> {
    static PLANTED: OnceLock<String> = OnceLock::new();
    let all = PLANTED.get_or_init(|| std::env::var("INKGRAD_FAULT").unwrap_or_default());
    all.split(';').find_map(|one| one.strip_prefix(word)?.strip_prefix('@'))
}

/// The text of an op's shader, wrong where it is to be.
pub fn shader(op: &str, text: String) -> String {
    let swap = planted("wrong-shader").and_then(|place| place.split_once(':'));
    match swap.filter(|(wanted, _)| *wanted == op).and_then(|(_, swap)| swap.split_once("=>")) {
        Some((from, to)) => text.replace(from, to),
        None => text,
    }
}

/// Whether a software adapter is to claim that it is none.
pub fn claims_hardware() -> bool {
    planted("hardware").is_some()
}
