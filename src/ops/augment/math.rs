//! Sine, cosine and logarithm as polynomials, the same on both devices: WGSL asks so little of its own (an absolute
//! error of 2^-11 for a sine) that a picture turned by them would differ by fractions of a grey level. They also
//! vectorise, which the standard library's do not. The twin of these functions is in `shaders/augment.wgsl`.

/// Cosine and sine of an angle in -pi..=pi, each within 1e-6: Taylor's series of half the angle, doubled.
#[inline(always)]
pub fn cos_sin(angle: f32) -> (f32, f32) {
    let t = 0.5 * angle;
    let q = t * t;
    let sin = t
        * (1.0
            - q * (1.0 / 6.0)
                * (1.0
                    - q * (1.0 / 20.0)
                        * (1.0 - q * (1.0 / 42.0) * (1.0 - q * (1.0 / 72.0) * (1.0 - q * (1.0 / 110.0))))));
    let cos = 1.0
        - q * 0.5
            * (1.0
                - q * (1.0 / 12.0)
                    * (1.0
                        - q * (1.0 / 30.0)
                            * (1.0 - q * (1.0 / 56.0) * (1.0 - q * (1.0 / 90.0) * (1.0 - q * (1.0 / 132.0))))));
    (1.0 - 2.0 * sin * sin, 2.0 * sin * cos)
}

/// The natural logarithm of a normal number above 0, within 2e-7 of itself or of 1: ln 2 for each power of two, and the
/// series of artanh for the remaining factor, between the square roots of 1/2 and 2.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    let exponent = (bits - ROOT_OF_HALF) >> 23;
    let m = f32::from_bits((bits - (exponent << 23)) as u32);
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * s * series
}

/// The bits of sqrt(1/2).
const ROOT_OF_HALF: i32 = 0x3f35_04f3;

/// Two standard normal numbers from two draws in 0..1, by the Box-Muller transform.
#[inline(always)]
pub fn normal_pair(u: f32, v: f32) -> [f32; 2] {
    // 1 - u is in (0, 1], and exact.
    let radius = (-2.0 * ln(1.0 - u)).sqrt();
    let (cos, sin) = cos_sin(std::f32::consts::TAU * (v - 0.5));
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_agree_with_the_functions_in_f64() {
        for i in -100_000..=100_000 {
            let angle = i as f32 * 1e-5 * std::f32::consts::PI;
            let ((cos, sin), (s, c)) = (cos_sin(angle), f64::from(angle).sin_cos());
            let error = (f64::from(cos) - c).abs().max((f64::from(sin) - s).abs());
            assert!(error < 1e-6, "{angle}: {error}");
        }
        for i in 1..=100_000u32 {
            for x in [i as f32 * 1e-5, i as f32 / 16_777_216.0, 1.0 - i as f32 / 16_777_216.0] {
                let exact = f64::from(x).ln();
                let error = (f64::from(ln(x)) - exact).abs();
                assert!(error < 2e-7 * exact.abs().clamp(1e-3, 1.0).max(exact.abs()), "{x}: {error}");
            }
        }
        assert_eq!((cos_sin(0.0), ln(1.0)), ((1.0, 0.0), 0.0));
    }
}
