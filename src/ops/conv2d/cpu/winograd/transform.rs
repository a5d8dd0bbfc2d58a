//! The transforms of Winograd's convolution, one side of a square at a time.
//!
//! Values of a polynomial product are found by evaluating at points, multiplying, and interpolating. Six values use the
//! points 0, +-3/4, +-3/2 and infinity, whatever the length of the kernel, and five use the points +-1/2, +-3/2 and
//! infinity. The usual 0, +-1, +-2 would make rounding errors twice as large: their powers grow to 8, those of these
//! points to 3.4. All squares and products of these points are exact in f32. For 64 channels, the error is 1.9 times
//! that of the plain sum with six values and a kernel of 3, 3 times with a kernel of 2, and 1.7 times with five values
//! and a kernel of 2.
//!
//! A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; the points after B. Barabasz
//! et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2018.

use pulp::Simd;

/// The longest side of a tile.
pub const MOST_VALUES: usize = 6;
/// The longest kernel that still leaves a tile of more than one result.
pub const MOST_TAPS: usize = MOST_VALUES - 1;

/// A tile's shape.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Image values along one side.
    pub side: usize,
    /// Length of its kernel.
    pub taps: usize,
}

impl Tile {
    /// All tiles that have transforms.
    pub const ALL: [Tile; 5] = [
        Tile { side: 6, taps: 2 },
        Tile { side: 6, taps: 3 },
        Tile { side: 6, taps: 4 },
        Tile { side: 6, taps: 5 },
        Tile { side: 5, taps: 2 },
    ];

    /// Results along one side.
    pub fn results(self) -> usize {
        self.side + 1 - self.taps
    }
    /// Products, for each pair of channels.
    pub fn planes(self) -> usize {
        self.side * self.side
    }
}

/// The points `+-near` and `+-far`, in addition to infinity, and to 0 where there are six.
const fn points(side: usize) -> [f32; 2] {
    if side == 6 { [0.75, 1.5] } else { [0.5, 1.5] }
}

/// A square with one side done: more vectors than there are registers, in whole cache lines. Made once for many
/// squares, since it would otherwise be cleared for each.
#[repr(align(64))]
pub struct Half<S: Simd>([[S::f32s; MOST_VALUES]; MOST_VALUES]);

impl<S: Simd> Half<S> {
    #[inline(always)]
    pub fn new(simd: S) -> Half<S> {
        Half([[simd.splat_f32s(0.0); MOST_VALUES]; MOST_VALUES])
    }
}

/// Transforms both sides of a square: `side` down each of its columns, and then across each row of the result. `load`
/// and `store` take a row and a column.
#[inline(always)]
pub fn square<S: Simd, const FROM: usize, const TO: usize>(
    half: &mut Half<S>,
    load: impl Fn(usize, usize) -> S::f32s,
    side: impl Fn([S::f32s; FROM]) -> [S::f32s; TO],
    mut store: impl FnMut(usize, usize, S::f32s),
) {
    for (j, half) in half.0[..FROM].iter_mut().enumerate() {
        let mut x = [load(0, j); FROM];
        for (i, x) in x.iter_mut().enumerate() {
            *x = load(i, j);
        }
        half[..TO].copy_from_slice(&side(x));
    }
    for i in 0..TO {
        let mut x = [half.0[0][i]; FROM];
        for (x, half) in x.iter_mut().zip(&half.0) {
            *x = half[i];
        }
        for (j, value) in side(x).into_iter().enumerate() {
            store(i, j, value);
        }
    }
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

/// The matrix that a kernel is multiplied by: row `i` evaluates it at point `i`, with the interpolation's denominator
/// divided out.
pub fn kernel_side(tile: Tile) -> Vec<[f32; MOST_TAPS]> {
    let [near, far] = points(tile.side);
    let points = &[0.0, near, -near, far, -far][MOST_VALUES - tile.side..];
    let mut side = vec![[0.0; MOST_TAPS]; tile.side];
    for (i, point) in points.iter().enumerate() {
        let others = points.iter().enumerate().filter(|(j, _)| *j != i);
        let denominator: f32 = others.map(|(_, other)| point - other).product();
        for (to, power) in side[i].iter_mut().zip(powers(*point)).take(tile.taps) {
            *to = power / denominator;
        }
    }
    side[tile.side - 1][tile.taps - 1] = 1.0;
    side
}

/// Image values to the factors of the products.
#[inline(always)]
pub fn image_side<S: Simd, const SIDE: usize>(simd: S, x: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let [near, far] = const { points(SIDE) };
    let (near_2, far_2) = (near * near, far * far);
    let [both, sum] = [simd.splat_f32s(near_2 * far_2), simd.splat_f32s(-near_2 - far_2)];
    let [less_near_2, less_far_2] = [simd.splat_f32s(-near_2), simd.splat_f32s(-far_2)];
    let mut f = x;
    // The point 0 comes first, where it is one of the points.
    let at = const { SIDE + 1 - MOST_VALUES };
    if at == 1 {
        f[0] = simd.mul_add_e_f32s(both, x[0], simd.mul_add_e_f32s(sum, x[2], x[4]));
    }
    let of_point = [(near, less_far_2), (far, less_near_2)];
    for i in 0..2 {
        let (point, other) = of_point[i];
        let (one, two) =
            (simd.mul_add_e_f32s(other, x[at + 1], x[at + 3]), simd.mul_add_e_f32s(other, x[at], x[at + 2]));
        f[at + 2 * i] = simd.mul_add_e_f32s(simd.splat_f32s(point), two, one);
        f[at + 2 * i + 1] = simd.mul_add_e_f32s(simd.splat_f32s(-point), two, one);
    }
    f[SIDE - 1] = simd.mul_add_e_f32s(both, x[at], simd.mul_add_e_f32s(sum, x[at + 2], x[at + 4]));
    f
}

/// The transpose of [`image_side`]: from derivatives with respect to factors to those with respect to image values.
#[inline(always)]
pub fn image_side_back<S: Simd, const SIDE: usize>(simd: S, f: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let [near, far] = const { points(SIDE) };
    let (near_2, far_2) = (near * near, far * far);
    let [both, sum] = [simd.splat_f32s(near_2 * far_2), simd.splat_f32s(-near_2 - far_2)];
    let at = const { SIDE + 1 - MOST_VALUES };
    let odd = [simd.sub_f32s(f[at], f[at + 1]), simd.sub_f32s(f[at + 2], f[at + 3])];
    let even = [simd.add_f32s(f[at], f[at + 1]), simd.add_f32s(f[at + 2], f[at + 3])];
    let last = f[SIDE - 1];
    let mut x = f;
    x[at] = add_two(simd, [-near * far_2, -far * near_2], odd, simd.mul_f32s(both, last));
    x[at + 2] = add_two(simd, [near, far], odd, simd.mul_f32s(sum, last));
    x[at + 3] = simd.add_f32s(even[0], even[1]);
    if at == 1 {
        x[0] = simd.mul_f32s(both, f[0]);
        x[at + 1] = add_two(simd, [-far_2, -near_2], even, simd.mul_f32s(sum, f[0]));
        x[at + 3] = simd.add_f32s(f[0], x[at + 3]);
    } else {
        let of_far = simd.mul_f32s(simd.splat_f32s(-near_2), even[1]);
        x[at + 1] = simd.mul_add_e_f32s(simd.splat_f32s(-far_2), even[0], of_far);
    }
    x
}

/// `rest` plus two products.
#[inline(always)]
fn add_two<S: Simd>(simd: S, [a, b]: [f32; 2], [x, y]: [S::f32s; 2], rest: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(a), x, simd.mul_add_e_f32s(simd.splat_f32s(b), y, rest))
}

/// Sums of products to results.
#[inline(always)]
pub fn result_side<S: Simd, const SIDE: usize, const RESULTS: usize>(
    simd: S,
    m: [S::f32s; SIDE],
) -> [S::f32s; RESULTS] {
    let [near_to, far_to] = const { [powers(points(SIDE)[0]), powers(points(SIDE)[1])] };
    let at = const { SIDE + 1 - MOST_VALUES };
    let (near_even, near_odd) = (simd.add_f32s(m[at], m[at + 1]), simd.sub_f32s(m[at], m[at + 1]));
    let (far_even, far_odd) = (simd.add_f32s(m[at + 2], m[at + 3]), simd.sub_f32s(m[at + 2], m[at + 3]));
    let first = simd.add_f32s(near_even, far_even);
    let mut y = [first; RESULTS];
    if at == 1 {
        y[0] = simd.add_f32s(m[0], first);
    }
    for i in 1..RESULTS {
        let (near, far) = if i % 2 == 0 { (near_even, far_even) } else { (near_odd, far_odd) };
        let near_to = simd.splat_f32s(near_to[i]);
        let near = match i == RESULTS - 1 {
            true => simd.mul_add_e_f32s(near_to, near, m[SIDE - 1]),
            false => simd.mul_f32s(near_to, near),
        };
        y[i] = simd.mul_add_e_f32s(simd.splat_f32s(far_to[i]), far, near);
    }
    y
}

/// The transpose of [`result_side`]: from derivatives with respect to results to those with respect to sums.
#[inline(always)]
pub fn result_side_back<S: Simd, const SIDE: usize, const RESULTS: usize>(
    simd: S,
    y: [S::f32s; RESULTS],
) -> [S::f32s; SIDE] {
    let [near_to, far_to] = const { [powers(points(SIDE)[0]), powers(points(SIDE)[1])] };
    let at = const { SIDE + 1 - MOST_VALUES };
    let zero = simd.splat_f32s(0.0);
    let (mut near, mut far) = ([y[0], zero], [y[0], zero]);
    for i in 1..RESULTS {
        near[i % 2] = simd.mul_add_e_f32s(simd.splat_f32s(near_to[i]), y[i], near[i % 2]);
        far[i % 2] = simd.mul_add_e_f32s(simd.splat_f32s(far_to[i]), y[i], far[i % 2]);
    }
    let mut m = [y[0]; SIDE];
    m[at] = simd.add_f32s(near[0], near[1]);
    m[at + 1] = simd.sub_f32s(near[0], near[1]);
    m[at + 2] = simd.add_f32s(far[0], far[1]);
    m[at + 3] = simd.sub_f32s(far[0], far[1]);
    m[SIDE - 1] = y[RESULTS - 1];
    m
}
