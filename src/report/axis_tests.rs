//! Ranges and ticks for the shapes that training runs take, and for hostile values.

use super::*;
use proptest::prelude::*;

fn strong(ys: impl IntoIterator<Item = f64>) -> Series {
    let points = ys.into_iter().enumerate().map(|(x, y)| (x as f64, y));
    Series::new("a", Style::Strong, points.collect())
}

fn labels(axis: Axis) -> Vec<String> {
    axis.ticks(6).into_iter().map(|tick| tick.label).collect()
}

#[test]
fn accuracy_zooms_in_on_the_later_part_of_the_run() {
    let run = (0..1000).map(|i| 0.99 - 0.89 * (-f64::from(i) / 60.0).exp());
    let axis = Axis::upright(&[strong(run)], false).unwrap();
    assert!(axis.low > 0.85 && axis.low < 0.98, "{axis:?}");
    assert!(axis.place(0.99).unwrap() <= 1.0);
}

#[test]
fn a_few_outliers_do_not_stretch_the_axis() {
    let mut ys: Vec<f64> = (0..12).map(|i| 1.0 - 0.05 * f64::from(i)).collect();
    ys[6] = 1e6;
    let axis = Axis::upright(&[strong(ys)], false).unwrap();
    assert!(axis.high < 4.0, "{axis:?}");
}

#[test]
fn a_short_calm_run_is_shown_whole() {
    let ys = [0.93, 0.97, 0.98, 0.985, 0.987];
    let axis = Axis::upright(&[strong(ys)], false).unwrap();
    for y in ys {
        assert!((0.0..=1.0).contains(&axis.place(y).unwrap()), "{y}");
    }
}

#[test]
fn pale_raw_values_do_not_decide_the_range_of_the_strong_line() {
    let mut raw = strong((0..500).map(|i| if i % 10 == 0 { 50.0 } else { 0.5 }));
    raw.style = Style::Thin;
    let line = strong((0..500).map(|i| 0.4 + f64::from(i) * 0.0004));
    let axis = Axis::upright(&[raw, line], false).unwrap();
    assert!(axis.high < 1.0, "{axis:?}");
}

#[test]
fn ticks_sit_at_round_numbers_with_just_enough_digits() {
    let axis = Axis::upright(&[strong([0.90, 0.95, 1.0])], false).unwrap();
    assert_eq!(labels(axis), ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]);
    let steps = Series::new("a", Style::Strong, vec![(0.0, 1.0), (50_000.0, 1.0)]);
    let axis = Axis::across(&[steps]).unwrap();
    assert_eq!(labels(axis), ["0", "10k", "20k", "30k", "40k", "50k"]);
}

#[test]
fn epochs_get_whole_ticks() {
    let axis = Axis::across(&[strong([1.0, 2.0, 3.0])]).unwrap();
    assert_eq!(labels(axis), ["0", "1", "2"]);
}

#[test]
fn a_log_axis_has_ticks_at_decades_or_between() {
    let axis = Axis::upright(&[strong([0.001, 0.01, 0.1, 1.0])], true).unwrap();
    assert_eq!(labels(axis), ["0.001", "0.01", "0.1", "1"]);
    let axis = Axis::upright(&[strong([0.05, 0.1, 0.5])], true).unwrap();
    assert_eq!(labels(axis).first().map(String::as_str), Some("0.05"));
    let narrow = Axis::upright(&[strong([0.51, 0.52, 0.53])], true).unwrap();
    assert!(labels(narrow).len() > 1);
}

#[test]
fn without_points_there_is_no_axis() {
    assert_eq!(Axis::across(&[]), None);
    assert_eq!(Axis::upright(&[strong([f64::NAN])], false), None);
    assert_eq!(Axis::upright(&[strong([0.0, -1.0])], true), None);
}

proptest! {
    #[test]
    fn any_values_give_a_finite_axis_with_a_handful_of_ticks(
        ys in prop::collection::vec(any::<f64>(), 1..12),
        log in any::<bool>(),
    ) {
        let series = [strong(ys.clone())];
        if let Some(axis) = Axis::upright(&series, log) {
            prop_assert!(axis.low < axis.high && (axis.high - axis.low).is_finite());
            let ticks = axis.ticks(6);
            prop_assert!(ticks.len() <= 20, "{}", ticks.len());
            prop_assert!(ticks.iter().all(|tick| tick.at.is_finite()));
            for y in ys {
                prop_assert!(axis.place(y).is_none_or(f64::is_finite));
            }
        }
    }

    #[test]
    fn ordinary_values_get_at_least_two_ticks(low in -1e6f64..1e6, span in 1e-3f64..1e6) {
        let axis = Axis::upright(&[strong([low, low + span])], false).unwrap();
        prop_assert!(axis.ticks(6).len() >= 2);
    }
}
