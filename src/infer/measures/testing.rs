//! Points for the tests of the measures.

use crate::ops::random;

/// Draws from the normal distribution, always the same for a seed.
pub fn normal(seed: u32, count: usize) -> Vec<f32> {
    let key = random::key([0, seed], 0);
    let unit = |i: usize| f64::from(random::unit(random::draw(key, i as u32)));
    let draw = |i: usize| (-2.0 * (1.0 - unit(2 * i)).ln()).sqrt() * (std::f64::consts::TAU * unit(2 * i + 1)).cos();
    (0..count).map(|i| draw(i) as f32).collect()
}
