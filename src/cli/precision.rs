//! `--precision`: what it requires of a device.

use super::note;
use crate::device::Choice;
use crate::train::Precision;

/// Prepares a device to be opened for a precision.
///
/// # Errors
/// What the device lacks for it, and what to do instead.
pub fn fit(choice: Choice, precision: Precision) -> anyhow::Result<Choice> {
    let Some(info) = choice.adapter() else {
        anyhow::ensure!(
            !precision.is_halved(),
            "the CPU device computes in 32 bits; name a GPU with --device, or leave --precision {precision} out"
        );
        return Ok(choice);
    };
    anyhow::ensure!(
        info.f16 || !precision.is_halved(),
        "{info} has no 16-bit floats; leave --precision {precision} out"
    );
    if precision != Precision::Mixed {
        return Ok(choice);
    }
    anyhow::ensure!(
        info.matrix_units.is_some(),
        "{info} has no units that multiply matrices, or its driver does not offer them; --precision f16 needs none"
    );
    Ok(choice.with_matrix_units())
}

/// What was asked for, `device`, once devices were found for a precision: a GPU that `auto` has taken for its 16-bit
/// floats counts as named, since no other device may replace it.
pub fn asked_for(device: &str, precision: Precision, found: &[Choice]) -> String {
    match precision.is_halved() {
        true => found.iter().map(Choice::name).collect::<Vec<_>>().join(","),
        false => device.to_owned(),
    }
}

/// Like [`fit`], for a run that was begun elsewhere: it continues with what the device has.
pub fn fit_if_it_can(choice: Choice, precision: Precision) -> Choice {
    match fit(choice.clone(), precision) {
        Ok(choice) => choice,
        Err(_) => {
            let instead =
                if choice.adapter().is_some_and(|info| info.f16) { "without matrix units" } else { "in 32 bits" };
            note(format_args!("the run was begun with --precision {precision}; {} continues {instead}", choice.name()));
            choice
        }
    }
}
