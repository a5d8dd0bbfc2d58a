//! Does a device compute what it should? Cases of the op table are run and compared with the ops' CPU twins, and the
//! twins with the ops' definitions.
//!
//! The tests, `inkgrad doctor` and the check of a GPU before it is used ([`start`]) all use this.

mod definition;
mod halved;
mod large;
mod program;
pub mod speed;
pub mod start;

pub use definition::{against_definition, against_differences};
pub use halved::{Convolution, convolutions};
pub use large::cases as large_cases;
use program::Program;

use std::collections::BTreeMap;

use crate::device::{self, Device, DeviceError, cpu::Cpu};
use crate::graph::GraphError;
use crate::ops::{Case, Exact};

/// What is wrong with a device, or with an op.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    #[error(
        "{what}: {wrong} of {of} elements are wrong; element {index} is {got}, should be {wanted}, and may be off by \
         {allowed:.1e}"
    )]
    Wrong { what: String, wrong: usize, of: usize, index: usize, got: f64, wanted: f64, allowed: f64 },
    #[error("{what}: wrote outside of its output")]
    Outside { what: String },
    #[error("{what}: has a derivative, but no definition to hold it against")]
    Undefined { what: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// An output of a program as a device computed it.
pub struct Reading {
    /// The case's name, and which derivative it is.
    what: String,
    values: Exact,
    tolerance: f64,
}

impl Reading {
    /// Each element must be within the tolerance of the wanted one, as a fraction of the largest; NaN never is.
    fn hold_against(&self, wanted: &[f64]) -> Result<(), Finding> {
        let got = &self.values.data;
        let scale = wanted.iter().fold(0.0f64, |most, x| most.max(x.abs())).max(1e-3);
        let allowed = self.tolerance * scale;
        let close = |i: usize| (got[i] - wanted[i]).abs() <= allowed;
        let of = wanted.len();
        let wrong = (0..of).filter(|i| *i >= got.len() || !close(*i)).count();
        match (0..of).find(|i| *i >= got.len() || !close(*i)) {
            None if got.len() == of => Ok(()),
            found => {
                let index = found.unwrap_or(of);
                let at = |values: &[f64]| values.get(index).copied().unwrap_or(f64::NAN);
                let (got, wanted) = (at(got), at(wanted));
                Err(Finding::Wrong { what: self.what.clone(), wrong, of, index, got, wanted, allowed })
            }
        }
    }
}

/// Opens the device that [`device::find`] finds, as every command does: a GPU's results are checked first, by
/// [`start::open`]. If `auto` has taken one that cannot be used, another takes its place, in the end the CPU, and a
/// warning is logged.
///
/// # Errors
/// [`DeviceError::Unknown`] where there is no such device, and those of [`start::open`].
pub fn open(wanted: &str) -> Result<Box<dyn Device>, DeviceError> {
    let (_, device) = start::open(device::find(wanted)?, wanted, &mut |problem| log::warn!("{problem}"))?;
    Ok(device)
}

/// Compares a device's result of a case, and its derivatives where the case is for them, with the CPU device's.
///
/// # Errors
/// The first output that is off, or whose kernel wrote where it must not; and the device's own errors.
pub fn against_twin(case: &Case, device: &mut dyn Device) -> Result<(), Finding> {
    let mut forward = Program::default();
    forward.forward(case)?;
    compare(&forward, device)?;
    if case.derivative {
        let mut derivatives = Program::default();
        derivatives.derivatives(case)?;
        compare(&derivatives, device)?;
    }
    Ok(())
}

/// Compares the CPU's result of a case and its derivatives with the op's definition.
///
/// # Errors
/// The first that is off.
pub fn against_definitions(case: &Case) -> Result<(), Finding> {
    against_definition(case)?;
    against_differences(case)
}

/// The largest case of each op that is still quick: its inputs have a few thousand elements at most.
pub fn one_of_each(cases: Vec<Case>) -> Vec<Case> {
    const MOST: usize = 8000;
    let size = |case: &Case| case.inputs.iter().map(|(tensor, _)| tensor.len()).max().unwrap_or(0);
    let mut largest: BTreeMap<&'static str, Case> = BTreeMap::new();
    for case in cases.into_iter().filter(|case| size(case) <= MOST) {
        let kept = largest.entry(case.op.name()).or_insert_with(|| case.clone());
        if size(&case) > size(kept) {
            *kept = case;
        }
    }
    largest.into_values().collect()
}

fn compare(program: &Program, device: &mut dyn Device) -> Result<(), Finding> {
    let wanted = program.run(&mut Cpu::new())?;
    let got = program.run(device)?;
    got.iter().zip(&wanted).try_for_each(|(got, wanted)| got.hold_against(&wanted.values.data))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::rigged::{Moment, Rigged};
    use crate::graph::ALIGNMENT;
    use crate::ops::case::Fill;
    use crate::ops::elementwise::Copy;
    use crate::tensor::Tensor;

    fn reading(values: &[f64]) -> Reading {
        let values = Exact { data: values.to_vec(), shape: [values.len()].into() };
        Reading { what: "x".into(), values, tolerance: 1e-5 }
    }

    #[test]
    fn an_element_that_is_off_missing_or_no_number_is_found() {
        let wanted = [1.0, 2.0, 100.0];
        assert!(reading(&[1.0009, 2.0, 100.0]).hold_against(&wanted).is_ok());
        for (got, at) in [
            (vec![1.0, 2.0, 100.1], 2),
            (vec![f64::NAN, 2.0, 100.0], 0),
            (vec![1.0, f64::INFINITY, 100.0], 1),
            (vec![1.0, 2.0], 2),
            (vec![1.0, 2.0, 100.0, 0.0], 3),
        ] {
            let found = reading(&got).hold_against(&wanted);
            assert!(matches!(found, Err(Finding::Wrong { index, .. }) if index == at), "{got:?}: {found:?}");
        }
        // Where the twin itself gives NaN, nothing is close to it.
        assert!(reading(&[f64::NAN]).hold_against(&[f64::NAN]).is_err());
        // Small numbers, such as derivatives, are held against their own size.
        assert!(reading(&[0.001_000_005]).hold_against(&[0.001]).is_ok());
        assert!(reading(&[0.001_005]).hold_against(&[0.001]).is_err());
    }

    fn copy(n: usize) -> Case {
        Case::new(n.to_string(), Arc::new(Copy)).input(Tensor::f32([n]), Fill::Uniform)
    }

    /// What is found about a card that spoils one word of the buffer of its last result in that run.
    fn found(run: usize, word: fn(usize) -> usize) -> Result<(), Finding> {
        let (mut result, mut runs) = (None, 0);
        let mut card = Rigged::open("a card", move |cpu, moment| {
            match moment {
                Moment::Allocates(store) => result = store.buffers().map(|(id, _, words)| (id, words)).last(),
                Moment::HasRun => {
                    runs += 1;
                    if let Some((id, words)) = result.filter(|_| runs == run) {
                        cpu.write(id, word(words), &[7f32.to_bits()])?;
                    }
                }
                _ => {}
            }
            Ok(())
        });
        against_twin(&copy(5), card.as_mut())
    }

    #[test]
    fn a_card_that_gets_a_derivative_wrong_or_writes_beside_a_result_is_found() {
        // A result lies behind that many words.
        let first: fn(usize) -> usize = |_| ALIGNMENT;
        assert!(matches!(found(1, first), Err(Finding::Wrong { .. })));
        assert!(matches!(found(2, first), Err(Finding::Wrong { .. })));
        assert!(found(3, first).is_ok());
        assert!(matches!(found(1, |_| ALIGNMENT - 1), Err(Finding::Outside { .. })));
        assert!(matches!(found(1, |words| words - 1), Err(Finding::Outside { .. })));
    }

    #[test]
    fn the_quick_case_of_an_op_is_its_largest_that_is_quick() {
        let kept = one_of_each([3, 8000, 70, 8001].map(copy).into());
        assert_eq!(kept.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["copy 8000"]);
    }
}
