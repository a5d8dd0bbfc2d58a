//! From a file in `shaders/` to the WGSL text of one kernel: constants in front, lines chosen by them.
//!
//! The directives are few: `#include NAME`, `#if NAME`, `#if NAME == N`, `#elif`, `#else`, `#endif`, on lines
//! of their own. Constants become `const` declarations and not `override`s, since only those may size an array
//! in a function, and every pipeline is compiled for its shapes anyway. `ENTRY` is the entry point's name.

use crate::ops::kernel::{Constant, Kernel};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "activation",
    "average",
    "batch_norm",
    "concat",
    "dropout",
    "elementwise",
    "epilogue",
    "lanes",
    "loss",
    "noise",
    "optimizer",
    "pool",
    "random",
    "reduce",
    "sample",
    "softmax",
    "transpose",
];

/// A mistake in a shader or in the op that asks for it; users never see one, `tests/` meets them all.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("shader {file}, line {line}: {problem}")]
pub struct ShaderError {
    file: String,
    line: usize,
    problem: String,
}

/// The WGSL of a kernel.
pub fn text(kernel: &Kernel) -> Result<String, ShaderError> {
    let mut out = String::new();
    for (name, value) in &kernel.constants {
        out += &match value {
            Constant::U32(n) => format!("const {name}: u32 = {n}u;\n"),
            // The bits, so that no digit is lost; WGSL has no NaN or infinity literals, and no op asks for one.
            Constant::F32(x) => format!("const {name}: f32 = {x:?}f;\n"),
            Constant::Flag(b) => format!("const {name}: bool = {b};\n"),
        };
    }
    include(kernel, kernel.file, &mut out)?;
    Ok(out.replace("ENTRY", kernel.entry))
}

fn include(kernel: &Kernel, file: &str, out: &mut String) -> Result<(), ShaderError> {
    let error = |line: usize, problem: String| ShaderError { file: file.into(), line: line + 1, problem };
    let text = FILES.iter().find(|(name, _)| *name == file).map(|(_, text)| text);
    let text = text.ok_or_else(|| error(0, "no such file in the list of shaders".into()))?;
    // One entry per open #if: is this branch taken, and was one of its branches taken before.
    let mut open: Vec<(bool, bool)> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let mut words = line.trim_start().splitn(2, ' ');
        let (directive, rest) = (words.next().unwrap_or(""), words.next().unwrap_or("").trim());
        match directive {
            "#if" => {
                let holds = holds(kernel, rest).map_err(|p| error(n, p))?;
                open.push((holds, holds));
            }
            "#elif" | "#else" => {
                let holds = directive == "#else" || holds(kernel, rest).map_err(|p| error(n, p))?;
                let last = open.last_mut().ok_or_else(|| error(n, format!("{directive} without #if")))?;
                *last = (holds && !last.1, holds || last.1);
            }
            "#endif" => {
                open.pop().ok_or_else(|| error(n, "#endif without #if".into()))?;
            }
            _ if open.iter().any(|(taken, _)| !taken) => {}
            "#include" => include(kernel, rest, out)?,
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(error(text.lines().count(), "#if without #endif".into())) }
}

fn holds(kernel: &Kernel, condition: &str) -> Result<bool, String> {
    if let Some(entry) = condition.strip_prefix("ENTRY_") {
        return Ok(kernel.entry == entry);
    }
    let (name, wanted) = condition.split_once("==").map_or((condition, None), |(a, b)| (a.trim(), Some(b.trim())));
    let value = kernel.constants.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    match (value, wanted) {
        (Some(Constant::Flag(b)), None) => Ok(b),
        (Some(Constant::U32(n)), Some(wanted)) => Ok(wanted.parse() == Ok(n)),
        _ => Err(format!("the condition {condition:?} needs a constant of its kind")),
    }
}
