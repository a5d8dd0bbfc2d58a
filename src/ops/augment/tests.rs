//! What the draws are like, and which way things move.

use super::*;
use crate::tensor::Shape;

fn augmented(op: &Augment, clock: random::Clock, shape: [usize; 4], images: &[f32]) -> Vec<f32> {
    let shape = Shape::from(shape);
    let mut out = vec![f32::NAN; images.len()];
    let clock = clock.map(f32::from_bits);
    let (pictures, now) = (In { data: images, shape: &shape }, In { data: &clock, shape: &Shape::from([2]) });
    op.cpu(&[pictures, now], &mut [Out { data: &mut out, shape: &shape }]);
    out
}

/// Where the light is: row and column.
fn centre(picture: &[f32], width: usize) -> [f32; 2] {
    let sum: f32 = picture.iter().sum();
    let along = |at: &dyn Fn(usize) -> usize| {
        picture.iter().enumerate().map(|(i, light)| at(i) as f32 * light).sum::<f32>() / sum
    };
    [along(&|i| i / width), along(&|i| i % width)]
}

/// 21 x 21 pixels, black but for a spot of 3 x 3 around a place.
fn spot(row: usize, column: usize) -> Vec<f32> {
    let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
    (0..441).map(|i| if near(i / 21, row) && near(i % 21, column) { 1.0 } else { 0.0 }).collect()
}

/// Where a spot at a place has gone in each of twenty pictures, each with its draw.
fn spots(op: Augment, row: usize, column: usize) -> Vec<(Draw, [f32; 2])> {
    let images = spot(row, column).repeat(20);
    let out = augmented(&op, [3, 1], [20, 21, 21, 1], &images);
    (0..20).map(|i| (op.draw([3, 1], i, [21, 21]), centre(&out[i * 441..][..441], 21))).collect()
}

fn assert_near(what: &str, got: [f32; 2], wanted: [f32; 2]) {
    let far = (got[0] - wanted[0]).abs().max((got[1] - wanted[1]).abs());
    assert!(far < 0.05, "{what}: at {got:?}, should be at {wanted:?}");
}

#[test]
fn with_nothing_asked_for_images_stay_as_they_are_to_the_bit() {
    let images: Vec<f32> = (0..2 * 5 * 4 * 3).map(|i| (i as f32).sin()).collect();
    assert_eq!(augmented(&Augment::NOTHING, [1, 2], [2, 5, 4, 3], &images), images);
    // Nor does resampling change what it does not move.
    let still = Augment { shift: f32::MIN_POSITIVE, ..Augment::NOTHING };
    assert_eq!(augmented(&still, [1, 2], [2, 5, 4, 3], &images), images);
}

#[test]
fn a_turn_by_a_positive_angle_is_counter_clockwise() {
    for (draw, at) in spots(Augment { rotate: 60.0, ..Augment::NOTHING }, 10, 16) {
        // It was six to the right of the middle.
        let (sin, cos) = draw.turn.sin_cos();
        assert_near("turned", at, [10.0 - 6.0 * sin, 10.0 + 6.0 * cos]);
    }
}

#[test]
fn a_quarter_turn_is_counter_clockwise_and_moves_whole_pixels() {
    let op = Augment { quarter_turns: true, ..Augment::NOTHING };
    let mut seen = [0; 4];
    for (draw, at) in spots(op, 10, 16) {
        assert_eq!(at, [[10.0, 16.0], [4.0, 10.0], [10.0, 4.0], [16.0, 10.0]][draw.quarters as usize]);
        seen[draw.quarters as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    let images: Vec<f32> = (0..49 * 8).map(|i| (i as f32).sin()).collect();
    let out = augmented(&op, [3, 1], [8, 7, 7, 1], &images);
    let sorted = |values: &[f32]| {
        let mut bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        bits.sort_unstable();
        bits
    };
    for (image, turned) in images.chunks(49).zip(out.chunks(49)) {
        assert_eq!(sorted(image), sorted(turned));
    }
}

#[test]
fn shifts_go_down_and_right_zoom_goes_outwards_and_shear_leans_to_the_right() {
    for (draw, at) in spots(Augment { shift: 0.2, ..Augment::NOTHING }, 9, 12) {
        assert_near("shifted", at, [9.0 + draw.shift[0], 12.0 + draw.shift[1]]);
    }
    for (draw, at) in spots(Augment { zoom: 0.3, ..Augment::NOTHING }, 6, 15) {
        // A larger spot is resampled at other places: its middle is known less well.
        let wanted = [10.0 - 4.0 * draw.zoom, 10.0 + 5.0 * draw.zoom];
        assert!((at[0] - wanted[0]).abs() < 0.2 && (at[1] - wanted[1]).abs() < 0.2, "{at:?} {wanted:?}");
    }
    for (draw, at) in spots(Augment { shear: 30.0, ..Augment::NOTHING }, 6, 10) {
        assert_near("sheared", at, [6.0, 10.0 + 4.0 * draw.shear.tan()]);
    }
}

#[test]
fn draws_fill_their_ranges_evenly_and_change_with_step_seed_and_image() {
    let op = Augment {
        rotate: 30.0,
        shift: 0.1,
        zoom: 0.2,
        shear: 10.0,
        quarter_turns: true,
        erase: 0.5,
        ..Augment::NOTHING
    };
    let draws: Vec<Draw> = (0..40u32)
        .flat_map(|step| (0..100).map(move |i| (step, i)))
        .map(|(step, i)| op.draw([step, 5], i, [28, 28]))
        .collect();
    type Part = fn(&Draw) -> f32;
    let ranges: [(&str, f32, Part); 5] = [
        ("turn", 30f32.to_radians(), |d| d.turn),
        ("shift down", 2.8, |d| d.shift[0]),
        ("shift right", 2.8, |d| d.shift[1]),
        ("zoom", 0.2, |d| d.zoom - 1.0),
        ("shear", 10f32.to_radians(), |d| d.shear),
    ];
    let n = draws.len() as f64;
    for (i, (name, most, of)) in ranges.into_iter().enumerate() {
        let shares: Vec<f64> = draws.iter().map(|d| f64::from(of(d) / most)).collect();
        let (mean, square) = (shares.iter().sum::<f64>() / n, shares.iter().map(|x| x * x).sum::<f64>() / n);
        // Four standard errors: of a uniform number in -1..1 the deviation is 1/sqrt(3), of its square sqrt(4/45).
        assert!(mean.abs() < 4.0 * (1.0 / 3.0 / n).sqrt(), "{name}: mean {mean}");
        assert!((square - 1.0 / 3.0).abs() < 4.0 * (4.0 / 45.0 / n).sqrt(), "{name}: mean square {square}");
        assert!(shares.iter().all(|x| (-1.0001..1.0001).contains(x)), "{name}");
        for (other, most, of) in &ranges[..i] {
            let product = shares.iter().zip(&draws).map(|(x, d)| x * f64::from(of(d) / most)).sum::<f64>() / n;
            assert!(product.abs() < 4.0 / 3.0 / n.sqrt(), "{name} with {other}: {product}");
        }
    }
    let quarters: Vec<usize> = (0..4).map(|q| draws.iter().filter(|d| d.quarters == q).count()).collect();
    assert!(quarters.iter().all(|count| (880..1120).contains(count)), "{quarters:?}");
    for Draw { hole: [top, left, height, width], .. } in &draws {
        assert!(*height <= 14 && *width <= 14 && top + height <= 28 && left + width <= 28);
    }
    // A tenth of 28 is nearer to 3 pixels than to 2.
    let sides = (0..100).map(|i| Augment { erase: 0.1, ..op }.draw([0, 5], i, [28, 28]).hole[2]);
    assert_eq!(sides.max(), Some(3));
    let one = op.draw([7, 5], 3, [28, 28]);
    for other in [op.draw([8, 5], 3, [28, 28]), op.draw([7, 6], 3, [28, 28]), op.draw([7, 5], 4, [28, 28])] {
        assert_ne!(one.turn, other.turn);
    }
    // What is left out changes no other draw.
    assert_eq!(Augment { shift: 0.0, erase: 0.0, ..op }.draw([7, 5], 3, [28, 28]).turn, one.turn);
}

#[test]
fn images_that_are_changed_alike_share_the_draws_of_a_seed_whatever_their_place_and_step() {
    let op = Augment { rotate: 30.0, elastic: 1.0, noise: 0.1, alike: true, ..Augment::NOTHING };
    let first = Augment { alike: false, ..op }.draw([0, 5], 0, [5, 4]);
    for (step, i) in [(0, 0), (0, 3), (7, 0), (7, 3)] {
        assert_eq!(op.draw([step, 5], i, [5, 4]), first);
        assert_ne!(op.draw([step, 6], i, [5, 4]), first);
    }
    let image: Vec<f32> = (0..20).map(|i| (i as f32).sin()).collect();
    let alone = augmented(&op, [0, 5], [1, 5, 4, 1], &image);
    assert_eq!(augmented(&op, [7, 5], [3, 5, 4, 1], &image.repeat(3)), alone.repeat(3));
}

#[test]
fn elastic_displacements_have_the_root_mean_square_that_was_asked_for() {
    let op = Augment { elastic: 1.5, ..Augment::NOTHING };
    let (mut square, n) = (0.0, 2000);
    for i in 0..n {
        let draw = op.draw([0, 0], i, [28, 28]);
        let (y, x) = (i * 5 % 28, i * 11 % 28);
        let ((row, down), (column, across)) = (spline(y, 28), spline(x, 28));
        let pairs = (0..4).flat_map(|j| (0..4).map(move |k| (j, k)));
        let moved = pairs.map(|(j, k)| down[j] * across[k] * f64::from(draw.control(&op, [row + j, column + k], 1)));
        square += moved.sum::<f64>().powi(2);
    }
    let found = (square / n as f64).sqrt();
    assert!((found - 1.5).abs() < 0.1, "{found}");
}

#[test]
fn the_weights_of_control_points_are_a_smooth_partition_of_one() {
    for longer in [1, 2, 3, 28, 37, 448] {
        for at in 0..longer {
            let (cell, weights) = spline(at, longer);
            assert!(cell + 3 < POINTS && weights.iter().all(|w| *w >= 0.0), "{at} of {longer}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{at} of {longer}");
        }
    }
}

#[test]
fn what_comes_in_from_outside_is_background_and_what_is_erased_is_black() {
    let paper = vec![0.25; 20 * 12 * 12];
    let moved = Augment { rotate: 90.0, shift: 0.5, background: 0.25, black: -1.0, ..Augment::NOTHING };
    assert_eq!(augmented(&moved, [6, 2], [20, 12, 12, 1], &paper), paper);
    let erased = augmented(&Augment { erase: 0.5, ..moved }, [6, 2], [20, 12, 12, 1], &paper);
    assert!(erased.iter().all(|x| [0.25, -1.0].contains(x)) && erased.contains(&-1.0));
}

#[test]
fn erasing_makes_one_black_rectangle_and_noise_has_its_deviation() {
    let images = vec![1.0; 50 * 400];
    let op = Augment { erase: 0.5, black: -0.5, ..Augment::NOTHING };
    let out = augmented(&op, [4, 4], [50, 20, 20, 1], &images);
    for (i, picture) in out.chunks(400).enumerate() {
        let [top, left, height, width] = op.draw([4, 4], i, [20, 20]).hole;
        for (at, value) in picture.iter().enumerate() {
            let inside = (top..top + height).contains(&(at / 20)) && (left..left + width).contains(&(at % 20));
            assert_eq!(*value, if inside { -0.5 } else { 1.0 });
        }
    }
    let op = Augment { noise: 0.2, ..Augment::NOTHING };
    let noise: Vec<f64> =
        augmented(&op, [4, 4], [50, 20, 20, 1], &images).iter().map(|x| f64::from(*x) - 1.0).collect();
    let moment = |p: i32| noise.iter().map(|x| (x / 0.2).powi(p)).sum::<f64>() / noise.len() as f64;
    // Four standard errors of 20,000: sqrt of 1, 2, 96 over n.
    for (p, wanted, spread) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (4, 3.0, 96.0)] {
        let error = (moment(p) - wanted).abs();
        assert!(error < 4.0 * (spread / noise.len() as f64).sqrt(), "moment {p} is {}", moment(p));
    }
}

#[test]
fn what_is_out_of_bounds_is_refused_with_the_shape_or_the_value() {
    let check = |op: Augment, shape: [usize; 4]| op.shape(&[Tensor::f32(shape), Tensor::u32([2])]).map(drop);
    let square = [2, 5, 5, 1];
    assert!(check(Augment { zoom: 1.0, ..Augment::NOTHING }, square).is_err());
    assert!(check(Augment { shift: f32::NAN, ..Augment::NOTHING }, square).is_err());
    assert!(check(Augment { shear: 90.0, ..Augment::NOTHING }, square).is_err());
    let turned = Augment { quarter_turns: true, ..Augment::NOTHING };
    assert!(check(turned, square).is_ok());
    assert!(check(turned, [2, 5, 6, 1]).unwrap_err().contains("5 x 6"));
    assert!(Augment::NOTHING.shape(&[Tensor::f32([4, 4]), Tensor::u32([2])]).is_err());
}
