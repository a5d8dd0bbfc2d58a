//! Tells ink from paper in a picture.
//!
//! Paper is a plane fitted to the border, so it may be tinted and lit from one side. Ink is what differs from it by
//! more than the border's own noise.

use image::{ImageBuffer, Luma};

use super::prepare::Invert;

/// A number for each pixel.
pub(super) type Map = ImageBuffer<Luma<f32>, Vec<f32>>;

/// Differences below this, out of 255, are not ink: a compressed white page has some.
const FAINT: f32 = 8.0;
/// Nor are differences below this many standard deviations of the border.
const NOISE: f32 = 5.0;
/// The share of the ink's contrast from which a pixel belongs to the inked region.
const EDGE: f32 = 0.2;
/// Pieces with less than this share of the ink are dust.
const DUST: f32 = 0.02;
/// Initial room for pieces, and for the pixels of a piece that wait to be visited.
const FEW: usize = 128;
/// Strokes thinner than `THIN` at the network's size are made `THICK_ENOUGH`; those of MNIST are about 2.5 pixels wide.
const THIN: f64 = 0.8;
const THICK_ENOUGH: f64 = 1.8;
/// The side at which strokes are thickened: large enough to show them, and quick.
const WORKED_AT: u32 = 256;

pub(super) struct Ink {
    /// From 0, paper, to 1, ink.
    pub map: Map,
    /// Left, top, width and height of what is inked.
    pub region: [u32; 4],
    /// Whether it is darker than the paper.
    pub dark: bool,
}

impl Ink {
    /// The picture as it is, inverted if the ink is dark.
    pub fn without_contrast(self, gray: &Map) -> Ink {
        let mut map = gray.clone();
        for pixel in map.pixels_mut() {
            let value = (pixel.0[0] / 255.0).clamp(0.0, 1.0);
            pixel.0[0] = if self.dark { 1.0 - value } else { value };
        }
        Ink { map, ..self }
    }
}

/// Whether most of the outermost pixels are darker than middle grey.
pub(super) fn border_is_dark(gray: &Map) -> bool {
    median(&mut border(gray).iter().map(|(_, _, value)| *value).collect::<Vec<_>>()) < 128.0
}

/// Whether all pixels are nearly the same.
pub(super) fn is_even(gray: &Map) -> bool {
    // Side by side, so that they are vectors: one after another, each would wait for the one before.
    let (chunks, rest) = gray.as_chunks::<16>();
    let (mut least, mut most) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16]);
    let mut see = |i: usize, value: f32| {
        least[i] = if value < least[i] { value } else { least[i] };
        most[i] = if value > most[i] { value } else { most[i] };
    };
    for chunk in chunks {
        (0..16).for_each(|i| see(i, chunk[i]));
    }
    rest.iter().enumerate().for_each(|(i, value)| see(i, *value));
    most.into_iter().fold(f32::NEG_INFINITY, f32::max) - least.into_iter().fold(f32::INFINITY, f32::min) <= FAINT
}

/// The ink in a picture of 0 to 255; `None` if there is nothing but paper.
pub(super) fn find(gray: &Map, invert: Invert) -> Option<Ink> {
    let (paper, noise) = Plane::of_border(gray);
    let floor = FAINT.max(NOISE * noise);
    let mut map = gray.clone();
    let (mut darker, mut lighter) = (0.0f64, 0.0f64);
    for (x, y, pixel) in map.enumerate_pixels_mut() {
        pixel.0[0] -= paper.at(x, y);
        let beyond = f64::from((pixel.0[0].abs() - floor).max(0.0));
        if pixel.0[0] < 0.0 { darker += beyond } else { lighter += beyond }
    }
    let dark = match invert {
        Invert::Auto => darker > lighter,
        Invert::Always => true,
        Invert::Never => false,
    };
    let sign = if dark { -1.0 } else { 1.0 };
    map.pixels_mut().for_each(|pixel| pixel.0[0] = (pixel.0[0] * sign).max(0.0));
    let full = contrast(&map, floor)?;
    map.pixels_mut().for_each(|pixel| {
        let value = pixel.0[0];
        pixel.0[0] = if value < floor { 0.0 } else { (value / full).min(1.0) };
    });
    let region = region(&map, EDGE.max(floor / full))?;
    Some(Ink { map, region, dark })
}

/// The contrast of full ink: half of the clearly inked pixels exceed it, as in MNIST, whose strokes are white inside.
fn contrast(map: &Map, floor: f32) -> Option<f32> {
    let mut inked = Vec::with_capacity(map.len());
    inked.extend(map.pixels().map(|pixel| pixel.0[0]).filter(|value| *value > floor));
    // A stroke may have more blurred pixels beside it than pixels of its own.
    let half = quantile(&mut inked, 0.95)? / 2.0;
    inked.retain(|value| *value > half);
    quantile(&mut inked, 0.5)
}

/// The box around all pieces of ink that are not dust.
fn region(map: &Map, edge: f32) -> Option<[u32; 4]> {
    let pieces = pieces(map, edge);
    let all: f32 = pieces.iter().map(|piece| piece.ink).sum();
    let most = pieces.iter().map(|piece| piece.ink).fold(0.0, f32::max);
    let kept = pieces.iter().filter(|piece| piece.ink >= most.min(DUST * all));
    let [left, top, right, bottom] = kept.fold([u32::MAX, u32::MAX, 0, 0], |[l, t, r, b], piece| {
        let [left, top, right, bottom] = piece.bounds;
        [l.min(left), t.min(top), r.max(right), b.max(bottom)]
    });
    (left <= right).then(|| [left, top, right - left + 1, bottom - top + 1])
}

/// Pixels that touch, also diagonally.
struct Piece {
    ink: f32,
    /// Left, top, right and bottom, all inclusive.
    bounds: [u32; 4],
}

fn pieces(map: &Map, edge: f32) -> Vec<Piece> {
    let (width, height) = map.dimensions();
    let mut open: Vec<bool> = map.pixels().map(|pixel| pixel.0[0] >= edge).collect();
    let index = |x: u32, y: u32| y as usize * width as usize + x as usize;
    let (mut pieces, mut stack) = (Vec::with_capacity(FEW), Vec::with_capacity(FEW));
    for y in 0..height {
        for x in 0..width {
            if !open[index(x, y)] {
                continue;
            }
            let mut piece = Piece { ink: 0.0, bounds: [x, y, x, y] };
            open[index(x, y)] = false;
            stack.push((x, y));
            while let Some((x, y)) = stack.pop() {
                let [l, t, r, b] = piece.bounds;
                piece.bounds = [l.min(x), t.min(y), r.max(x), b.max(y)];
                piece.ink += map.get_pixel(x, y).0[0];
                for y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                    for x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                        if std::mem::take(&mut open[index(x, y)]) {
                            stack.push((x, y));
                        }
                    }
                }
            }
            pieces.push(piece);
        }
    }
    pieces
}

/// The map, with strokes widened where they would be thinner than `THIN` once scaled by `scale`. The result may be
/// smaller than the map.
pub(super) fn thickened(map: Map, scale: f64) -> Map {
    if stroke_width(&map) * scale >= THIN {
        return map;
    }
    // The maximum of a block, not its average: a hairline keeps its blackness.
    let block = map.width().max(map.height()).div_ceil(WORKED_AT);
    let (width, height) = (map.width().div_ceil(block), map.height().div_ceil(block));
    let most = |x: u32, y: u32, w: u32, h: u32, map: &Map| {
        let rows = y..(y + h).min(map.height());
        let pixels = rows.flat_map(|y| (x..(x + w).min(map.width())).map(move |x| (x, y)));
        Luma([pixels.fold(0.0f32, |most, (x, y)| most.max(map.get_pixel(x, y).0[0]))])
    };
    let map = Map::from_fn(width, height, |x, y| most(x * block, y * block, block, block, &map));
    let scale = scale * f64::from(block);
    let wider = (THICK_ENOUGH / scale - stroke_width(&map)).round().max(0.0) as u32;
    // Half of it on each side, and room for it there.
    let (w, h) = (width + wider, height + wider);
    let room = Map::from_fn(w + wider, h + wider, |x, y| {
        let inside = x.checked_sub(wider).zip(y.checked_sub(wider)).filter(|(x, y)| *x < width && *y < height);
        inside.map_or(Luma([0.0]), |(x, y)| *map.get_pixel(x, y))
    });
    let across = Map::from_fn(w, h + wider, |x, y| most(x, y, wider + 1, 1, &room));
    Map::from_fn(w, h, |x, y| most(x, y, 1, wider + 1, &across))
}

/// The mean width of strokes in pixels: their area over half the length of their outline.
fn stroke_width(map: &Map) -> f64 {
    let (width, height) = map.dimensions();
    let inked = |x: u32, y: u32| x < width && y < height && map.get_pixel(x, y).0[0] > 0.5;
    let (mut area, mut outline) = (0u64, 0u64);
    for y in 0..height {
        for x in 0..width {
            if inked(x, y) {
                area += 1;
                let beside = [inked(x + 1, y), inked(x, y + 1), x > 0 && inked(x - 1, y), y > 0 && inked(x, y - 1)];
                outline += beside.iter().filter(|inked| !**inked).count() as u64;
            }
        }
    }
    // Counted along the grid, an outline that runs in all directions comes out longer by a factor of 4 / pi.
    let outline = outline as f64 * std::f64::consts::FRAC_PI_4;
    if outline > 0.0 { 2.0 * area as f64 / outline } else { f64::INFINITY }
}

/// `c + a x + b y`.
#[derive(Clone, Copy)]
struct Plane {
    a: f32,
    b: f32,
    c: f32,
}

impl Plane {
    fn at(&self, x: u32, y: u32) -> f32 {
        self.c + self.a * x as f32 + self.b * y as f32
    }

    /// The plane that fits the border, and the standard deviation of the border around it. Ink that touches the border
    /// is left out.
    fn of_border(gray: &Map) -> (Plane, f32) {
        let points = border(gray);
        let mut plane = Plane { a: 0.0, b: 0.0, c: median(&mut points.iter().map(|p| p.2).collect::<Vec<_>>()) };
        let spread = |plane: &Plane| {
            let mut beside: Vec<f32> = points.iter().map(|(x, y, value)| (value - plane.at(*x, *y)).abs()).collect();
            1.4826 * median(&mut beside)
        };
        for _ in 0..3 {
            let near = (3.0 * spread(&plane)).max(FAINT);
            let kept = points.iter().filter(|(x, y, value)| (value - plane.at(*x, *y)).abs() <= near);
            let Some(better) = Plane::least_squares(kept) else { break };
            plane = better;
        }
        (plane, spread(&plane))
    }

    fn least_squares<'a>(points: impl Iterator<Item = &'a (u32, u32, f32)>) -> Option<Plane> {
        let (mut normal, mut right) = (nalgebra::Matrix3::<f64>::zeros(), nalgebra::Vector3::<f64>::zeros());
        for (x, y, value) in points {
            let row = nalgebra::Vector3::new(f64::from(*x), f64::from(*y), 1.0);
            normal += row * row.transpose();
            right += row * f64::from(*value);
        }
        let solved = normal.cholesky()?.solve(&right);
        let [a, b, c] = [solved[0] as f32, solved[1] as f32, solved[2] as f32];
        [a, b, c].iter().all(|value| value.is_finite()).then_some(Plane { a, b, c })
    }
}

/// The outermost pixels and their places. The vector never has to grow: threads that grew into memory that another had
/// used would wait for each other at every step.
fn border(gray: &Map) -> Vec<(u32, u32, f32)> {
    let (width, height) = gray.dimensions();
    let mut border = Vec::with_capacity(2 * (width as usize + height as usize));
    for y in 0..height {
        let whole = y == 0 || y + 1 == height;
        let step = if whole { 1 } else { (width - 1).max(1) };
        border.extend((0..width).step_by(step as usize).map(|x| (x, y, gray.get_pixel(x, y).0[0])));
    }
    border
}

fn median(values: &mut [f32]) -> f32 {
    quantile(values, 0.5).unwrap_or(0.0)
}

fn quantile(values: &mut [f32], share: f64) -> Option<f32> {
    let at = (values.len().checked_sub(1)? as f64 * share) as usize;
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}
