//! The CPU twins checked against the ops' definitions in f64: this needs no GPU.

use super::program::{Program, exact};
use super::{Finding, Reading};
use crate::device::cpu::Cpu;
use crate::ops::{Case, Exact};
use crate::tensor::{Kind, Tensor};

/// How many elements of an input the derivative is checked at; all of a small one.
const PROBES: usize = 40;
/// Far above the rounding of f64, far below where curvature matters.
const STEP: f64 = 1e-6;

/// Compares the CPU's result with the definition. Random ops and updates have none, and pass.
///
/// # Errors
/// [`Finding::Wrong`], and a case that does not fit its op.
pub fn against_definition(case: &Case) -> Result<(), Finding> {
    let mut program = Program::default();
    program.forward(case)?;
    for reading in program.run(&mut Cpu::new())? {
        if let Some(wanted) = definition(case, &inputs(case), &reading) {
            reading.hold_against(&wanted.data)?;
        }
    }
    Ok(())
}

/// Compares the CPU's derivatives with central differences of the definition, at some elements of each input. A case
/// that is not for derivatives passes.
///
/// # Errors
/// As [`against_definition`]; and [`Finding::Undefined`].
pub fn against_differences(case: &Case) -> Result<(), Finding> {
    if !case.derivative {
        return Ok(());
    }
    let mut forward = Program::default();
    forward.forward(case)?;
    let out = &forward.run(&mut Cpu::new())?[0];
    let mut program = Program::default();
    let weight = program.derivatives(case)?;
    let weight = exact(&weight, &Tensor { shape: out.values.shape.clone(), kind: Kind::F32 });
    let at = inputs(case);
    let loss = |inputs: &[Exact]| -> Result<f64, Finding> {
        let out = definition(case, inputs, out).ok_or_else(|| Finding::Undefined { what: case.name.clone() })?;
        Ok(out.data.iter().zip(&weight.data).map(|(x, w)| x * w).sum())
    };
    let floats = (0..at.len()).filter(|i| case.inputs[*i].0.kind == Kind::F32);
    for (input, reading) in floats.zip(program.run(&mut Cpu::new())?) {
        let probes = probes(at[input].data.len());
        let difference = |i: &usize| {
            let shifted = |by: f64| {
                let mut inputs = at.clone();
                inputs[input].data[*i] += by;
                loss(&inputs)
            };
            Ok((shifted(STEP)? - shifted(-STEP)?) / (2.0 * STEP))
        };
        let differences: Vec<f64> = probes.iter().map(difference).collect::<Result<_, Finding>>()?;
        let data = probes.iter().map(|i| reading.values.data[*i]).collect();
        let values = Exact { data, shape: [probes.len()].into() };
        Reading { values, ..reading }.hold_against(&differences)?;
    }
    Ok(())
}

fn probes(len: usize) -> Vec<usize> {
    if len <= PROBES { (0..len).collect() } else { (0..PROBES).map(|i| i * (len - 1) / (PROBES - 1)).collect() }
}

fn inputs(case: &Case) -> Vec<Exact> {
    case.words().iter().zip(case.tensors()).map(|(words, tensor)| exact(words, &tensor)).collect()
}

/// The definition's result, in the shape of the CPU's.
fn definition(case: &Case, inputs: &[Exact], like: &Reading) -> Option<Exact> {
    let shape = like.values.shape.clone();
    let mut out = Exact { data: vec![0.0; shape.len()], shape };
    case.op.reference(inputs, &mut out).then_some(out)
}
