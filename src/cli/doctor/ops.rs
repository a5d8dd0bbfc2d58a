//! The op table on one device: what agrees, and for each op that does not, its first failing case.

use std::collections::BTreeMap;

use crate::check::{self, Finding};
use crate::cli::progress::Progress;
use crate::device::{Choice, Device, DeviceError};
use crate::ops::{self, Case};

/// The results of one op's cases.
#[derive(Default)]
struct Row {
    cases: usize,
    failed: usize,
    /// Cases larger than the device allows, or than it has memory for.
    skipped: usize,
    first: Option<String>,
}

/// The results of all ops.
#[derive(Default)]
pub struct Ops {
    rows: BTreeMap<&'static str, Row>,
    /// What the device was compared with.
    against: &'static str,
    /// The device was lost and could not be opened again: ops that are not listed were not run.
    pub lost: bool,
    /// The case that the device gave no answer to, by its name: further cases were not run.
    pub hung: Option<(String, DeviceError)>,
}

/// Runs the table on a device; a GPU is compared with the CPU, the CPU with the definitions.
pub fn examine(choice: &Choice, device: &mut Box<dyn Device>, quick: bool) -> Ops {
    let gpu = choice.adapter().is_some();
    let mut cases = ops::cases();
    if quick {
        cases = check::one_of_each(cases);
    } else if gpu {
        cases.extend(check::large_cases());
    }
    let against = if gpu { "its twin on the CPU" } else { "its definition in f64" };
    let mut found = Ops { against, ..Ops::default() };
    let mut progress = Progress::new("cases", Some(cases.len() as u64), false);
    for (i, case) in cases.iter().enumerate() {
        progress.at(i as u64);
        let result = if gpu { check::against_twin(case, device.as_mut()) } else { check::against_definitions(case) };
        // Each later case would wait as long, even if the device could be opened again.
        if let Err(Finding::Device(hung @ DeviceError::Hung { .. })) = result {
            found.hung = Some((case.name.clone(), hung));
            break;
        }
        let row = found.rows.entry(case.op.name()).or_default();
        row.cases += 1;
        match result {
            Ok(()) => {}
            Err(Finding::Device(DeviceError::Limit { .. } | DeviceError::OutOfMemory { .. })) => row.skipped += 1,
            Err(finding) => {
                row.failed += 1;
                row.first.get_or_insert_with(|| explain(case, &finding, gpu));
                // On a lost device all later cases fail too, unless it is opened again.
                if let Finding::Device(_) = finding {
                    match choice.open() {
                        Ok(again) => *device = again,
                        Err(_) => {
                            found.lost = true;
                            break;
                        }
                    }
                }
            }
        }
    }
    progress.finish();
    found
}

/// The finding, and where the fault lies.
fn explain(case: &Case, finding: &Finding, gpu: bool) -> String {
    match check::against_definitions(case) {
        Err(own) if gpu && !matches!(finding, Finding::Device(_)) => {
            format!("{finding} (the CPU itself differs from the definition: {own})")
        }
        _ => finding.to_string(),
    }
}

impl Ops {
    pub fn failed(&self) -> usize {
        self.rows.values().map(|row| row.failed).sum()
    }

    pub fn failing(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|(_, row)| row.failed > 0).map(|(name, _)| *name).collect()
    }

    pub fn lines(&self) -> Vec<String> {
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let (cases, skipped) = (sum(|row| row.cases), sum(|row| row.skipped));
        let right = cases - self.failed() - skipped;
        let mut lines = Vec::new();
        if cases > 0 {
            let ops = self.rows.len();
            lines.push(format!("{right} of {cases} cases of {ops} ops: each agrees with {}", self.against));
        }
        if skipped > 0 {
            lines.push(format!("{skipped} larger cases do not fit on the device"));
        }
        for (name, row) in &self.rows {
            if let Some(first) = &row.first {
                lines.push(format!("WRONG: `{name}`, {} of {} cases; the first: {first}", row.failed, row.cases));
            }
        }
        if self.lost {
            lines.push("the device was lost and could not be opened again: further cases were not run".into());
        }
        if let Some((case, _)) = &self.hung {
            lines.push(format!("the device gave no answer to the case `{case}`: further cases were not run"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_is_never_answered_is_named_beside_what_was_found_before_it() {
        let hung = DeviceError::Hung { device: "a card".into(), seconds: 300 };
        let mut ops = Ops { against: "its twin", hung: Some(("mul 5".into(), hung)), ..Ops::default() };
        let last = "the device gave no answer to the case `mul 5`: further cases were not run";
        assert_eq!(ops.lines(), [last]);
        ops.rows.insert("add", Row { cases: 2, failed: 1, skipped: 0, first: Some("add 3 is off".into()) });
        let wrong = "WRONG: `add`, 1 of 2 cases; the first: add 3 is off";
        assert_eq!(ops.lines(), ["1 of 2 cases of 1 ops: each agrees with its twin", wrong, last]);
    }
}
