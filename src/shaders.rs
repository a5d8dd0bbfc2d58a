//! From a file in `shaders/` to the WGSL text of one kernel: constants in front, lines chosen by them.
//!
//! The few directives stand on lines of their own: `#include NAME`, `#if NAME`, `#if NAME == N`, `#elif`, `#else`,
//! `#endif`, and `#unroll i N` to `#endunroll`, which repeats lines with `$i` replaced by 0 to N - 1 (N: a constant or
//! a number). `$(A*B+C)` is an integer computed from constants and numbers, `$(A*B+C / D)` the quotient of the whole
//! sum divided by D, and `$(A*B+C % D)` the remainder.
//!
//! Constants become `const` declarations rather than `override`s, since only the former may size an array in a
//! function, and every pipeline is compiled for its shapes anyway. The entry point is always called `main`;
//! `#if ENTRY_name` tests which of a file's kernels it is.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ops::kernel::{Constant, Kernel};

mod half;

pub use half::halved;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "act",
    "activation",
    "augment",
    "batch_norm",
    "bound",
    "concat",
    "conv2d",
    "conv2d_matrix",
    "conv2d_subgroup",
    "divided",
    "dot",
    "dropout",
    "elementwise",
    "epilogue",
    "flat",
    "kept",
    "lanes",
    "loss",
    "matmul",
    "matmul_subgroup",
    "noise",
    "one_hot",
    "optimizer",
    "pool",
    "random",
    "reduce",
    "sample",
    "slices",
    "softmax",
    "spectral",
    "transpose",
    "updates",
    "wide",
];

/// A mistake in a shader or in the op that asks for it. Users of the program never see one: `tests/` would meet it
/// first.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("shader {file}, line {line}: {problem}")]
pub struct ShaderError {
    file: String,
    line: usize,
    problem: String,
}

/// A number that changes when any shader does.
pub fn digest() -> u64 {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    hasher.finish()
}

/// The WGSL of a kernel.
pub fn text(kernel: &Kernel) -> Result<String, ShaderError> {
    let mut out = String::new();
    for (name, value) in &kernel.constants {
        out += &match value {
            Constant::U32(n) => format!("const {name}: u32 = {n}u;\n"),
            // The shortest digits that parse to the same number.
            Constant::F32(x) if x.is_finite() => format!("const {name}: f32 = {x:?}f;\n"),
            Constant::F32(x) => {
                let problem = format!("the constant {name} is {x}, which WGSL cannot express");
                return Err(ShaderError { file: kernel.file.into(), line: 1, problem });
            }
            Constant::Flag(b) => format!("const {name}: bool = {b};\n"),
        };
    }
    include(kernel, kernel.file, &mut out)?;
    Ok(enables_first(out))
}

/// WGSL requires `enable` directives to come before anything else.
fn enables_first(text: String) -> String {
    if !text.contains("\nenable ") {
        return text;
    }
    let (enables, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("enable "));
    [enables, rest].concat().join("\n") + "\n"
}

fn include(kernel: &Kernel, file: &str, out: &mut String) -> Result<(), ShaderError> {
    let error = |line: usize, problem: String| ShaderError { file: file.into(), line: line + 1, problem };
    let text = FILES.iter().find(|(name, _)| *name == file).map(|(_, text)| text);
    let text = text.ok_or_else(|| error(0, "no such file in the list of shaders".into()))?;
    let lines: Vec<(usize, String)> = text.lines().enumerate().map(|(n, line)| (n, line.to_string())).collect();
    expand(kernel, file, &lines, out)
}

fn expand(kernel: &Kernel, file: &str, lines: &[(usize, String)], out: &mut String) -> Result<(), ShaderError> {
    let error = |line: usize, problem: String| ShaderError { file: file.into(), line: line + 1, problem };
    // One entry per open #if: is this branch taken, and has any of its branches been taken so far.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut at = 0;
    while let Some((n, line)) = lines.get(at) {
        let n = *n;
        at += 1;
        let mut words = line.trim_start().splitn(2, ' ');
        let (directive, rest) = (words.next().unwrap_or(""), words.next().unwrap_or("").trim());
        match directive {
            // Conditions are evaluated only where they matter: an op gives only the constants of its own entry.
            "#if" => {
                let reached = open.iter().all(|(taken, _)| *taken);
                let holds = reached && holds(kernel, rest).map_err(|p| error(n, p))?;
                open.push((holds, holds || !reached));
            }
            "#elif" | "#else" => {
                let last = open.last_mut().ok_or_else(|| error(n, format!("{directive} without #if")))?;
                let holds = !last.1 && (directive == "#else" || holds(kernel, rest).map_err(|p| error(n, p))?);
                *last = (holds, holds || last.1);
            }
            "#endif" => {
                open.pop().ok_or_else(|| error(n, "#endif without #if".into()))?;
            }
            _ if open.iter().any(|(taken, _)| !taken) => {}
            "#include" => include(kernel, rest, out)?,
            "#unroll" => {
                let (name, count) = repeats(kernel, rest).map_err(|p| error(n, p))?;
                let end = end_of_unroll(&lines[at..]).ok_or_else(|| error(n, "#unroll without #endunroll".into()))?;
                for i in 0..count {
                    let (from, to) = (format!("${name}"), i.to_string());
                    let body: Vec<_> =
                        lines[at..at + end].iter().map(|(n, line)| (*n, line.replace(&from, &to))).collect();
                    expand(kernel, file, &body, out)?;
                }
                at += end + 1;
            }
            "#endunroll" => return Err(error(n, "#endunroll without #unroll".into())),
            _ => {
                out.push_str(&worked_out(kernel, line).map_err(|p| error(n, p))?);
                out.push('\n');
            }
        }
    }
    let last = lines.last().map_or(0, |(n, _)| *n);
    if open.is_empty() { Ok(()) } else { Err(error(last, "#if without #endif".into())) }
}

/// The variable and the count of an `#unroll`.
fn repeats<'a>(kernel: &Kernel, rest: &'a str) -> Result<(&'a str, u32), String> {
    let (name, count) = rest.split_once(' ').ok_or("#unroll takes a name and a count")?;
    number(kernel, count.trim()).map(|count| (name, count))
}

/// A number, or a constant's value.
fn number(kernel: &Kernel, word: &str) -> Result<u32, String> {
    let constant = kernel.constants.iter().find(|(n, _)| *n == word).map(|(_, v)| *v);
    match (constant, word.parse()) {
        (Some(Constant::U32(n)), _) | (None, Ok(n)) => Ok(n),
        _ => Err(format!("needs a number or a constant, not {word:?}")),
    }
}

/// A constant that is true or false.
fn flag(kernel: &Kernel, word: &str) -> Result<bool, String> {
    match kernel.constants.iter().find(|(name, _)| *name == word) {
        Some((_, Constant::Flag(flag))) => Ok(*flag),
        _ => Err(format!("needs a constant that is true or false, not {word:?}")),
    }
}

/// The line with each `$(...)` replaced by its value.
fn worked_out(kernel: &Kernel, line: &str) -> Result<String, String> {
    let Some((before, rest)) = line.split_once("$(") else { return Ok(line.into()) };
    let (inside, after) = rest.split_once(')').ok_or("$( without )")?;
    let value = match (inside.split_once('/'), inside.split_once('%')) {
        (Some((a, b)), _) => sum(kernel, a)?.checked_div(sum(kernel, b)?),
        (None, Some((a, b))) => sum(kernel, a)?.checked_rem(sum(kernel, b)?),
        (None, None) => Some(sum(kernel, inside)?),
    };
    let value = value.ok_or_else(|| format!("divides by zero: {inside}"))?;
    Ok(format!("{before}{value}{}", worked_out(kernel, after)?))
}

/// A sum of products.
fn sum(kernel: &Kernel, text: &str) -> Result<u32, String> {
    let mut total = 0;
    for product in text.split('+') {
        let mut value = 1;
        for factor in product.split('*') {
            value *= number(kernel, factor.trim())?;
        }
        total += value;
    }
    Ok(total)
}

/// The position of the `#endunroll` that closes an `#unroll` just before these lines.
fn end_of_unroll(lines: &[(usize, String)]) -> Option<usize> {
    let mut depth = 0;
    lines.iter().position(|(_, line)| match line.trim_start().split(' ').next() {
        Some("#unroll") => {
            depth += 1;
            false
        }
        Some("#endunroll") if depth == 0 => true,
        Some("#endunroll") => {
            depth -= 1;
            false
        }
        _ => false,
    })
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
