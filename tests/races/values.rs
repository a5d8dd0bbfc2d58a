//! Arithmetic for all invocations of a workgroup at once. A value's words are stored scalar by scalar: scalar `s` of
//! invocation `i` is at `s * width + i`. 16-bit floats are held as the 32-bit floats that they equal.

use std::cmp::Ordering;

use naga::{BinaryOperator, MathFunction, Scalar, ScalarKind, UnaryOperator};

/// What a 16-bit float keeps of a word, if `scalar` is one.
pub fn rounded(word: u32, scalar: Scalar) -> u32 {
    match scalar {
        Scalar { kind: ScalarKind::Float, width: 2 } => half::f16::from_f32(float(word)).to_f32().to_bits(),
        _ => word,
    }
}

fn float(word: u32) -> f32 {
    f32::from_bits(word)
}

fn int(word: u32) -> i32 {
    word as i32
}

/// Applies `f` word by word; a scalar stands for a vector of itself.
fn zip(a: &[u32], b: &[u32], f: impl Fn(u32, u32) -> u32 + Copy) -> Vec<u32> {
    let pairs = |a: &[u32], b: &[u32]| -> Vec<u32> { a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect() };
    match a.len().cmp(&b.len()) {
        Ordering::Equal => pairs(a, b),
        Ordering::Less => b.chunks(a.len()).flat_map(|b| pairs(a, b)).collect(),
        Ordering::Greater => a.chunks(b.len()).flat_map(|a| pairs(a, b)).collect(),
    }
}

pub fn unary(op: UnaryOperator, scalar: Scalar, a: &[u32]) -> Vec<u32> {
    let f = |word: u32| match (op, scalar.kind) {
        (UnaryOperator::Negate, ScalarKind::Float) => (-float(word)).to_bits(),
        (UnaryOperator::Negate, _) => word.wrapping_neg(),
        (UnaryOperator::LogicalNot, _) => u32::from(word == 0),
        (UnaryOperator::BitwiseNot, _) => !word,
    };
    a.iter().map(|word| f(*word)).collect()
}

/// `scalar` is that of the left side.
pub fn binary(op: BinaryOperator, scalar: Scalar, a: &[u32], b: &[u32]) -> Vec<u32> {
    use BinaryOperator as Op;
    // Macros, since a closure could take functions of one type only.
    macro_rules! floats {
        (|$a:ident, $b:ident| $result:expr) => {
            zip(a, b, |$a, $b| {
                let ($a, $b) = (float($a), float($b));
                rounded(($result).to_bits(), scalar)
            })
        };
    }
    macro_rules! choices {
        (|$a:ident, $b:ident| $result:expr) => {
            zip(a, b, |$a, $b| {
                let ($a, $b) = (float($a), float($b));
                u32::from($result)
            })
        };
    }
    match (scalar.kind, op) {
        (ScalarKind::Float, Op::Add) => floats!(|a, b| a + b),
        (ScalarKind::Float, Op::Subtract) => floats!(|a, b| a - b),
        (ScalarKind::Float, Op::Multiply) => floats!(|a, b| a * b),
        (ScalarKind::Float, Op::Divide) => floats!(|a, b| a / b),
        (ScalarKind::Float, Op::Modulo) => floats!(|a, b| a % b),
        (ScalarKind::Float, Op::Equal) => choices!(|a, b| a == b),
        (ScalarKind::Float, Op::NotEqual) => choices!(|a, b| a != b),
        (ScalarKind::Float, Op::Less) => choices!(|a, b| a < b),
        (ScalarKind::Float, Op::LessEqual) => choices!(|a, b| a <= b),
        (ScalarKind::Float, Op::Greater) => choices!(|a, b| a > b),
        (ScalarKind::Float, Op::GreaterEqual) => choices!(|a, b| a >= b),
        (_, Op::Add) => zip(a, b, u32::wrapping_add),
        (_, Op::Subtract) => zip(a, b, u32::wrapping_sub),
        (_, Op::Multiply) => zip(a, b, u32::wrapping_mul),
        // WGSL says that for division by zero the quotient is the dividend and the remainder is 0.
        (ScalarKind::Sint, Op::Divide) => zip(a, b, |a, b| int(a).checked_div(int(b)).unwrap_or(int(a)) as u32),
        (ScalarKind::Sint, Op::Modulo) => zip(a, b, |a, b| int(a).checked_rem(int(b)).unwrap_or(0) as u32),
        (_, Op::Divide) => zip(a, b, |a, b| a.checked_div(b).unwrap_or(a)),
        (_, Op::Modulo) => zip(a, b, |a, b| a.checked_rem(b).unwrap_or(0)),
        (_, Op::Equal) => zip(a, b, |a, b| u32::from(a == b)),
        (_, Op::NotEqual) => zip(a, b, |a, b| u32::from(a != b)),
        (ScalarKind::Sint, Op::Less) => zip(a, b, |a, b| u32::from(int(a) < int(b))),
        (ScalarKind::Sint, Op::LessEqual) => zip(a, b, |a, b| u32::from(int(a) <= int(b))),
        (ScalarKind::Sint, Op::Greater) => zip(a, b, |a, b| u32::from(int(a) > int(b))),
        (ScalarKind::Sint, Op::GreaterEqual) => zip(a, b, |a, b| u32::from(int(a) >= int(b))),
        (_, Op::Less) => zip(a, b, |a, b| u32::from(a < b)),
        (_, Op::LessEqual) => zip(a, b, |a, b| u32::from(a <= b)),
        (_, Op::Greater) => zip(a, b, |a, b| u32::from(a > b)),
        (_, Op::GreaterEqual) => zip(a, b, |a, b| u32::from(a >= b)),
        (_, Op::And | Op::LogicalAnd) => zip(a, b, |a, b| a & b),
        (_, Op::InclusiveOr | Op::LogicalOr) => zip(a, b, |a, b| a | b),
        (_, Op::ExclusiveOr) => zip(a, b, |a, b| a ^ b),
        (_, Op::ShiftLeft) => zip(a, b, u32::wrapping_shl),
        (ScalarKind::Sint, Op::ShiftRight) => zip(a, b, |a, b| int(a).wrapping_shr(b) as u32),
        (_, Op::ShiftRight) => zip(a, b, u32::wrapping_shr),
    }
}

pub fn select(condition: &[u32], accept: &[u32], reject: &[u32]) -> Vec<u32> {
    let choose = |(holds, (accept, reject)): (&u32, (&u32, &u32))| if *holds != 0 { *accept } else { *reject };
    condition.iter().cycle().zip(accept.iter().zip(reject)).map(choose).collect()
}

/// `width` is the number of invocations.
pub fn math(fun: MathFunction, scalar: Scalar, args: &[&[u32]], width: usize) -> Result<Vec<u32>, String> {
    use MathFunction as F;
    let a = args[0];
    let one = |f: fn(f32) -> f32| a.iter().map(|word| rounded(f(float(*word)).to_bits(), scalar)).collect();
    let floats = |f: fn(f32, f32) -> f32| zip(a, args[1], |a, b| f(float(a), float(b)).to_bits());
    Ok(match (fun, scalar.kind) {
        (F::Abs, ScalarKind::Float) => one(f32::abs),
        (F::Abs, ScalarKind::Sint) => a.iter().map(|word| int(*word).unsigned_abs()).collect(),
        (F::Min, ScalarKind::Float) => floats(f32::min),
        (F::Max, ScalarKind::Float) => floats(f32::max),
        (F::Min, ScalarKind::Sint) => zip(a, args[1], |a, b| int(a).min(int(b)) as u32),
        (F::Max, ScalarKind::Sint) => zip(a, args[1], |a, b| int(a).max(int(b)) as u32),
        (F::Min, _) => zip(a, args[1], u32::min),
        (F::Max, _) => zip(a, args[1], u32::max),
        (F::Clamp, _) => {
            let least = math(F::Max, scalar, &[a, args[1]], width)?;
            math(F::Min, scalar, &[&least, args[2]], width)?
        }
        (F::Dot, ScalarKind::Float) => {
            let products = binary(BinaryOperator::Multiply, scalar, a, args[1]);
            let sum = |sum: Vec<u32>, more: &[u32]| binary(BinaryOperator::Add, scalar, &sum, more);
            products.chunks(width).skip(1).fold(products[..width].to_vec(), sum)
        }
        (F::Fma, ScalarKind::Float) => {
            let product = zip(a, args[1], |a, b| (float(a) * float(b)).to_bits());
            binary(BinaryOperator::Add, scalar, &product, args[2])
        }
        (F::Cos, _) => one(f32::cos),
        (F::Sin, _) => one(f32::sin),
        (F::Tanh, _) => one(f32::tanh),
        (F::Exp, _) => one(f32::exp),
        (F::Log, _) => one(f32::ln),
        (F::Sqrt, _) => one(f32::sqrt),
        (F::InverseSqrt, _) => one(|x| 1.0 / x.sqrt()),
        (F::Floor, _) => one(f32::floor),
        (F::Round, _) => one(f32::round_ties_even),
        _ => return Err(format!("these tests do not know {fun:?} of {scalar:?}")),
    })
}

/// Another kind of number with the same value, or the nearest that there is.
pub fn converted(from: Scalar, to: Scalar, a: &[u32]) -> Vec<u32> {
    use ScalarKind::{Bool, Float, Sint};
    let f = |word: u32| match (from.kind, to.kind) {
        (Float, Float) => word,
        (Float, Sint) => float(word) as i32 as u32,
        (Float, Bool) => u32::from(float(word) != 0.0),
        (Float, _) => float(word) as u32,
        (Sint, Float) => (int(word) as f32).to_bits(),
        (_, Float) => (word as f32).to_bits(),
        (_, Bool) => u32::from(word != 0),
        _ => word,
    };
    a.iter().map(|word| rounded(f(*word), to)).collect()
}
