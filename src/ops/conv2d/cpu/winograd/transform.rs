//! The transforms of Winograd's convolution, one side of a square at a time.
//!
//! Values of a polynomial product are found by evaluating at points, multiplying, and interpolating. Six values
//! take the points 0, +-3/4, +-3/2 and infinity, whichever the length of the kernel. The usual +-1 and +-2 make
//! rounding errors twice as large: their powers grow to 8, these to 3.4. All their squares and products are
//! exact in f32. For a kernel of 3 and 64 channels the error is 1.9 times that of the plain sum.
//!
//! A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; the points after B. Barabasz
//! et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2018.

use pulp::Simd;

/// Image values along one side of a tile.
pub const SIDE: usize = 6;
/// Products of a tile, for each pair of channels.
pub const PLANES: usize = SIDE * SIDE;
/// The longest kernel that still leaves a tile of more than one result.
pub const MOST_TAPS: usize = SIDE - 1;

const NEAR: f32 = 0.75;
const FAR: f32 = 1.5;
const NEAR_2: f32 = NEAR * NEAR;
const FAR_2: f32 = FAR * FAR;

/// Both sides of a square: `side` down each of its columns, and then across each row of what that makes. `load` and
/// `store` take a row and a column.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "a row takes a value of every column")]
pub fn square<S: Simd, const FROM: usize, const TO: usize>(
    simd: S,
    load: impl Fn(usize, usize) -> S::f32s,
    side: impl Fn([S::f32s; FROM]) -> [S::f32s; TO],
    mut store: impl FnMut(usize, usize, S::f32s),
) {
    // Written out, as zeros that a loop then writes over would be cleared for every square, by a call.
    let half: [[S::f32s; TO]; SIDE] = [
        column(simd, &load, &side, 0),
        column(simd, &load, &side, 1),
        column(simd, &load, &side, 2),
        column(simd, &load, &side, 3),
        column(simd, &load, &side, 4),
        column(simd, &load, &side, 5),
    ];
    for i in 0..TO {
        let mut x = [simd.splat_f32s(0.0); FROM];
        for j in 0..FROM {
            x[j] = half[j][i];
        }
        for (j, value) in side(x).into_iter().enumerate() {
            store(i, j, value);
        }
    }
}

/// Column `j` of a square, if it has so many.
#[inline(always)]
fn column<S: Simd, const FROM: usize, const TO: usize>(
    simd: S,
    load: &impl Fn(usize, usize) -> S::f32s,
    side: &impl Fn([S::f32s; FROM]) -> [S::f32s; TO],
    j: usize,
) -> [S::f32s; TO] {
    if j >= FROM {
        return [simd.splat_f32s(0.0); TO];
    }
    let mut x = [simd.splat_f32s(0.0); FROM];
    for (i, x) in x.iter_mut().enumerate() {
        *x = load(i, j);
    }
    side(x)
}

/// Powers of a point.
const fn powers(point: f32) -> [f32; MOST_TAPS] {
    let mut powers = [1.0; MOST_TAPS];
    let mut i = 1;
    while i < MOST_TAPS {
        powers[i] = powers[i - 1] * point;
        i += 1;
    }
    powers
}
const NEAR_TO: [f32; MOST_TAPS] = powers(NEAR);
const FAR_TO: [f32; MOST_TAPS] = powers(FAR);

/// What a kernel of `taps` is multiplied by: row `i` evaluates it at point `i`, with the interpolation's
/// denominator divided out.
pub fn kernel_side(taps: usize) -> [[f32; MOST_TAPS]; SIDE] {
    let points = [0.0, NEAR, -NEAR, FAR, -FAR];
    let mut side = [[0.0; MOST_TAPS]; SIDE];
    for (i, point) in points.into_iter().enumerate() {
        let others = points.iter().enumerate().filter(|(j, _)| *j != i);
        let denominator: f32 = others.map(|(_, other)| point - other).product();
        for (to, power) in side[i].iter_mut().zip(powers(point)).take(taps) {
            *to = power / denominator;
        }
    }
    side[SIDE - 1][taps - 1] = 1.0;
    side
}

/// Six image values to the six factors of the products.
#[inline(always)]
pub fn image_side<S: Simd>(simd: S, x: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let [both, sum] = [simd.splat_f32s(NEAR_2 * FAR_2), simd.splat_f32s(-NEAR_2 - FAR_2)];
    let [near, far] = [simd.splat_f32s(NEAR), simd.splat_f32s(FAR)];
    let [less_near, less_far] = [simd.splat_f32s(-NEAR), simd.splat_f32s(-FAR)];
    let [less_near_2, less_far_2] = [simd.splat_f32s(-NEAR_2), simd.splat_f32s(-FAR_2)];
    let (even_near, odd_near) =
        (simd.mul_add_e_f32s(less_far_2, x[2], x[4]), simd.mul_add_e_f32s(less_far_2, x[1], x[3]));
    let (even_far, odd_far) =
        (simd.mul_add_e_f32s(less_near_2, x[2], x[4]), simd.mul_add_e_f32s(less_near_2, x[1], x[3]));
    [
        simd.mul_add_e_f32s(both, x[0], simd.mul_add_e_f32s(sum, x[2], x[4])),
        simd.mul_add_e_f32s(near, odd_near, even_near),
        simd.mul_add_e_f32s(less_near, odd_near, even_near),
        simd.mul_add_e_f32s(far, odd_far, even_far),
        simd.mul_add_e_f32s(less_far, odd_far, even_far),
        simd.mul_add_e_f32s(both, x[1], simd.mul_add_e_f32s(sum, x[3], x[5])),
    ]
}

/// [`image_side`] the other way round, its transpose: what six factors owe to each of the image values.
#[inline(always)]
pub fn image_side_back<S: Simd>(simd: S, f: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let [both, sum] = [simd.splat_f32s(NEAR_2 * FAR_2), simd.splat_f32s(-NEAR_2 - FAR_2)];
    let (near, far) = (simd.sub_f32s(f[1], f[2]), simd.sub_f32s(f[3], f[4]));
    let (both_near, both_far) = (simd.add_f32s(f[1], f[2]), simd.add_f32s(f[3], f[4]));
    [
        simd.mul_f32s(both, f[0]),
        add_two(simd, [-NEAR * FAR_2, -FAR * NEAR_2], [near, far], simd.mul_f32s(both, f[5])),
        add_two(simd, [-FAR_2, -NEAR_2], [both_near, both_far], simd.mul_f32s(sum, f[0])),
        add_two(simd, [NEAR, FAR], [near, far], simd.mul_f32s(sum, f[5])),
        simd.add_f32s(f[0], simd.add_f32s(both_near, both_far)),
        f[5],
    ]
}

/// `rest` and two products.
#[inline(always)]
fn add_two<S: Simd>(simd: S, [a, b]: [f32; 2], [x, y]: [S::f32s; 2], rest: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(a), x, simd.mul_add_e_f32s(simd.splat_f32s(b), y, rest))
}

/// Six sums of products to `RESULTS` results.
#[inline(always)]
pub fn result_side<S: Simd, const RESULTS: usize>(simd: S, m: [S::f32s; SIDE]) -> [S::f32s; RESULTS] {
    let (near_even, near_odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (far_even, far_odd) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    let mut y = [m[0]; RESULTS];
    y[0] = simd.add_f32s(m[0], simd.add_f32s(near_even, far_even));
    for i in 1..RESULTS {
        let (near, far) = if i % 2 == 0 { (near_even, far_even) } else { (near_odd, far_odd) };
        let near_to = simd.splat_f32s(NEAR_TO[i]);
        let near = match i == RESULTS - 1 {
            true => simd.mul_add_e_f32s(near_to, near, m[SIDE - 1]),
            false => simd.mul_f32s(near_to, near),
        };
        y[i] = simd.mul_add_e_f32s(simd.splat_f32s(FAR_TO[i]), far, near);
    }
    y
}

/// [`result_side`] the other way round, its transpose: what results owe to each of the six sums.
#[inline(always)]
pub fn result_side_back<S: Simd, const RESULTS: usize>(simd: S, y: [S::f32s; RESULTS]) -> [S::f32s; SIDE] {
    let zero = simd.splat_f32s(0.0);
    let (mut near, mut far) = ([y[0], zero], [y[0], zero]);
    for i in 1..RESULTS {
        near[i % 2] = simd.mul_add_e_f32s(simd.splat_f32s(NEAR_TO[i]), y[i], near[i % 2]);
        far[i % 2] = simd.mul_add_e_f32s(simd.splat_f32s(FAR_TO[i]), y[i], far[i % 2]);
    }
    [
        y[0],
        simd.add_f32s(near[0], near[1]),
        simd.sub_f32s(near[0], near[1]),
        simd.add_f32s(far[0], far[1]),
        simd.sub_f32s(far[0], far[1]),
        y[RESULTS - 1],
    ]
}
