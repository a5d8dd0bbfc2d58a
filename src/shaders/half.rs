//! A kernel's text with some of its buffers in 16-bit floats: what it loads from them becomes 32-bit at once, and what
//! it stores becomes 16-bit only then, so that every sum is as exact as before.
//!
//! Only text is changed, found by the names of declared bindings: `x[i]` becomes `f32(x[i])`, or a vector of `f32`, and
//! `out[i] = v;` becomes `out[i] = f16(v);`. Anything this overlooks is a type error, not a wrong result.

use super::{ShaderError, flag};
use crate::ops::Kernel;

/// A binding whose elements are 16-bit.
struct Halved {
    name: String,
    /// Its elements' type in the text: `f32`, `vec4<f32>`, or an alias of either.
    element: String,
}

impl Halved {
    /// The same type of 16-bit numbers.
    fn half(&self) -> String {
        match self.element.as_str() {
            "f32" => "f16".into(),
            vector if vector.ends_with("<f32>") => vector.replace("<f32>", "<f16>"),
            other => format!("Half{other}"),
        }
    }
}

/// The `text` of `kernel`, with the bindings of these numbers changed to 16-bit.
///
/// # Errors
/// A binding whose declaration or use is not written in the usual form.
pub fn halved(kernel: &Kernel, text: &str, bindings: &[usize]) -> Result<String, ShaderError> {
    let error = |line: usize, problem: String| ShaderError { file: kernel.file.into(), line: line + 1, problem };
    let mut found = Vec::new();
    let mut declared = String::from("enable f16;\n");
    for (n, line) in text.lines().enumerate() {
        let halved = binding(kernel, line).map_err(|problem| error(n, problem))?;
        match halved.filter(|(number, _)| bindings.contains(number)).map(|(_, halved)| halved) {
            Some(halved) => {
                let (with, without) = (format!("array<{}>", halved.element), format!("array<{}>", halved.half()));
                declared += &line.replacen(&with, &without, 1);
                found.push(halved);
            }
            None => {
                declared += line;
                // An alias of a type is followed by one for its 16-bit type.
                if let Some((name, of)) = line.strip_prefix("alias ").and_then(|rest| rest.split_once(" = ")) {
                    declared += &format!("\nalias Half{name} = {}", of.replace("f32", "f16"));
                }
            }
        }
        declared.push('\n');
    }
    if found.len() != bindings.len() {
        return Err(error(0, format!("{} of {} bindings are declared", found.len(), bindings.len())));
    }
    uses(&declared, &found).map_err(|problem| error(0, problem))
}

/// The number and the type of the binding that a line declares, if it declares one.
fn binding(kernel: &Kernel, line: &str) -> Result<Option<(usize, Halved)>, String> {
    let Some(rest) = line.strip_prefix("@group(0) @binding(") else { return Ok(None) };
    let (number, rest) = rest.split_once(") var<").ok_or("a binding without a variable")?;
    // A sum of numbers and of flags: `2 + u32(HAS_BIAS)`.
    let term = |term: &str| match term.strip_prefix("u32(").and_then(|term| term.strip_suffix(')')) {
        Some(name) => flag(kernel, name).map(usize::from),
        None => term.parse().map_err(|_| format!("{term} is no number")),
    };
    let number = number.split(" + ").map(term).sum::<Result<usize, String>>()?;
    let declaration = rest.split_once("> ").and_then(|(_, declaration)| declaration.split_once(": array<"));
    let (name, element) = declaration.ok_or("a binding that is no array")?;
    let element = element.strip_suffix(">;").ok_or("a binding of a size of its own")?;
    Ok(Some((number, Halved { name: name.into(), element: element.into() })))
}

/// The text with loads and stores of halved bindings converted.
fn uses(text: &str, halved: &[Halved]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_alphanumeric() || c == '_' || c == '/') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('/') {
            // A comment is left as it is.
            let end = if rest.starts_with("//") { rest.find('\n').unwrap_or(rest.len()) } else { 1 };
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A member of a structure may have the name of a binding.
        let binding = halved.iter().find(|halved| halved.name == word && !out.ends_with('.'));
        let Some(binding) = binding.filter(|_| after.starts_with('[')) else {
            out.push_str(word);
            rest = after;
            continue;
        };
        let close = closing(after).ok_or_else(|| format!("{word}[ without ]"))?;
        let index = uses(&after[1..close], halved)?;
        rest = &after[close + 1..];
        let stored = rest.strip_prefix(" = ");
        match stored {
            Some(stored) => {
                let end = stored.find(';').ok_or_else(|| format!("a store to {word} without an end"))?;
                let value = uses(&stored[..end], halved)?;
                out.push_str(&format!("{word}[{index}] = {}({value})", binding.half()));
                rest = &stored[end..];
            }
            None => out.push_str(&format!("{}({word}[{index}])", binding.element)),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The position where the bracket that the text begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(i),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_become_32_bit_and_stores_16_bit_and_nothing_else_changes() {
        let kernel = Kernel::groups("some", "main", 1).with("HAS_BIAS", true);
        let text = "alias Lanes = vec4<f32>;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<Lanes>;
@group(0) @binding(1 + u32(HAS_BIAS)) var<storage, read_write> out: array<vec4<f32>>;
// out[i] is x[i]
fn f(x: u32) -> u32 { return 2u * x; }
    let v = max(x[x1[i] + u32(x[0u])], p.x[3]).x;
    out[i] = vec4(v, out[i].yzw) / 2.0;
    if bias[i].x == v {}
";
        let wanted = "enable f16;
alias Lanes = vec4<f32>;
alias HalfLanes = vec4<f16>;
@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(1) var<storage, read> bias: array<Lanes>;
@group(0) @binding(1 + u32(HAS_BIAS)) var<storage, read_write> out: array<vec4<f16>>;
// out[i] is x[i]
fn f(x: u32) -> u32 { return 2u * x; }
    let v = max(f32(x[x1[i] + u32(f32(x[0u]))]), p.x[3]).x;
    out[i] = vec4<f16>(vec4(v, vec4<f32>(out[i]).yzw) / 2.0);
    if bias[i].x == v {}
";
        assert_eq!(halved(&kernel, text, &[0, 2]).unwrap(), wanted);
        assert!(halved(&kernel, text, &[1]).unwrap().contains("if Lanes(bias[i]).x == v {}"));
        assert!(halved(&kernel, text, &[1]).unwrap().contains("bias: array<HalfLanes>;"));
    }

    #[test]
    fn a_binding_that_there_is_not_and_one_of_another_form_are_errors() {
        let kernel = Kernel::groups("some", "main", 1);
        assert!(halved(&kernel, "@group(0) @binding(0) var<storage, read> x: array<f32>;", &[3]).is_err());
        assert!(halved(&kernel, "@group(0) @binding(0) var<storage, read> x: f32;", &[0]).is_err());
        let flagged = "@group(0) @binding(1 + u32(NONE)) var<storage, read> x: array<f32>;";
        assert!(halved(&kernel, flagged, &[1]).is_err());
    }
}
