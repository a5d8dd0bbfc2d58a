//! Curve pictures: where the colours are, what the notes say, hostile input.

use super::*;
use crate::report::Series;
use crate::report::palette::PAPER;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn panel(series: Vec<Series>) -> Panel {
    Panel { title: "Loss".to_owned(), x_label: "step".to_owned(), y_label: "loss".to_owned(), log_y: false, series }
}

fn line(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series::new(name, Style::Strong, points)
}

fn has(image: &RgbImage, colour: Rgb, columns: std::ops::Range<u32>) -> bool {
    let mut pixels = image.enumerate_pixels();
    pixels.any(|(x, _, pixel)| columns.contains(&x) && pixel.0 == colour)
}

#[test]
fn one_name_has_one_colour_in_both_panels() {
    let loss = panel(vec![line("a", vec![(0.0, 1.0), (9.0, 0.1)]), line("b", vec![(0.0, 1.0), (9.0, 0.3)])]);
    let accuracy = panel(vec![line("b", vec![(0.0, 0.1), (9.0, 0.9)])]);
    let image = curves_picture("Run", &[loss, accuracy]).unwrap();
    let (a, b) = (palette::line(0).0, palette::line(1).0);
    assert!(has(&image, a, 0..800) && has(&image, b, 0..800));
    assert!(!has(&image, a, 828..1656) && has(&image, b, 828..1656));
}

#[test]
fn a_rising_line_runs_from_bottom_left_to_top_right_of_its_plot() {
    let image = curves_picture("", &[panel(vec![line("", vec![(0.0, 0.0), (1.0, 1.0)])])]).unwrap();
    let colour = palette::line(0).0;
    let hits = image.enumerate_pixels().filter(|(_, _, p)| p.0 == colour);
    let (mut left, mut right) = ((u32::MAX, 0), (0, 0));
    for (x, y, _) in hits {
        left = left.min((x, y));
        right = right.max((x, y));
    }
    assert!(left.1 > right.1 + 350, "{left:?} {right:?}");
    assert!(right.0 > left.0 + 600, "{left:?} {right:?}");
}

#[test]
fn a_dot_at_a_value_that_is_labelled_lies_on_that_labels_line() {
    let ys = [0.0, 0.2, 0.4, 0.6, 0.75];
    let points = ys.into_iter().enumerate().map(|(x, y)| (x as f64, y)).collect();
    let panel = panel(vec![Series::new("", Style::Dots, points)]);
    let labels: Vec<String> = y_axis(&panel).unwrap().ticks(6).into_iter().map(|tick| tick.label).collect();
    assert_eq!(labels, ["0", "0.2", "0.4", "0.6"]);
    let image = curves_picture("", &[panel]).unwrap();
    let count = |y: u32, colour: Rgb| (0..image.width()).filter(|x| image.get_pixel(*x, y).0 == colour).count();
    let dotted: Vec<u32> = (0..image.height()).filter(|y| count(*y, palette::line(0).0) > 0).collect();
    let dots = dotted.chunk_by(|a, b| a + 1 == *b).map(|rows| (rows[0] + rows[rows.len() - 1]) / 2);
    let on_lines: Vec<bool> = dots.map(|dot| (dot - 1..=dot + 1).any(|y| count(y, GRID) > 500)).collect();
    // The uppermost comes first.
    assert_eq!(on_lines, [false, true, true, true, true]);
}

#[test]
fn the_margins_stay_white() {
    let series = (0..8).map(|i| line(&format!("run number {i}"), vec![(0.0, 1.0), (5.0, 2.0)]));
    let panel = panel(series.collect());
    let image = curves_picture("A title", &[panel.clone(), panel]).unwrap();
    let (w, h) = image.dimensions();
    for (x, y, pixel) in image.enumerate_pixels() {
        if x < 20 || y < 20 || x + 20 > w || y + 20 > h {
            assert_eq!(pixel.0, PAPER, "{x},{y}");
        }
    }
}

#[test]
fn points_that_are_not_shown_are_counted_in_the_note() {
    let mut points: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i), 0.5)).collect();
    points[7].1 = f64::NAN;
    points[20].1 = f64::INFINITY;
    points[30].1 = 1e9;
    let panel = panel(vec![line("a", points)]);
    let expected = "2 points not finite, 1 point outside the range shown";
    assert_eq!(note(&panel), expected);
    let calm = vec![line("a", vec![(0.0, 1.0), (1.0, 0.5)])];
    assert_eq!(note(&self::panel(calm)), "");
}

#[test]
fn a_single_point_is_visible_and_an_empty_panel_says_so() {
    let lone = panel(vec![line("a", vec![(3.0, 0.2)]), line("b", vec![])]);
    let image = curves_picture("", &[lone]).unwrap();
    let colour = palette::line(0).0;
    let big = image.enumerate_pixels().filter(|(_, y, p)| *y > 150 && p.0 == colour);
    assert!(big.count() > 8);
    for panels in [vec![], vec![panel(vec![])]] {
        assert!(has(&curves_picture("", &panels).unwrap(), QUIET, 300..600));
    }
}

#[test]
fn a_hundred_thousand_points_are_drawn_quickly() {
    let noisy = |i: i32| (f64::from(i), f64::from(i * 7919 % 1000) / 1000.0);
    let many = |name: &str, style| Series::new(name, style, (0..100_000).map(noisy).collect());
    let styles = [Style::Thin, Style::Strong, Style::Dots];
    let panel = panel(styles.map(|style| many("a", style)).to_vec());
    let start = Instant::now();
    curves_picture("", &[panel]).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn too_many_panels_are_refused_and_too_many_names_are_summed_up() {
    let many = vec![panel(vec![]); 21];
    let error = curves_picture("", &many).unwrap_err();
    assert!(matches!(error, ReportError::TooLarge { width: 16856, .. }));
    let names = (0..40).map(|i| line(&format!("run {i}"), vec![(0.0, 1.0)]));
    let panel = panel(names.collect());
    let legend = legend(&panel, &names_in_order(std::slice::from_ref(&panel)), 700);
    assert_eq!(legend.entries.len(), LEGEND_MOST);
    assert_eq!(legend.entries[LEGEND_MOST - 1].name, "and 17 more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_points_and_names_give_a_picture(
        points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..30),
        name in any::<String>(),
        log_y in any::<bool>(),
        style in prop::sample::select(vec![Style::Thin, Style::Strong, Style::Dots]),
    ) {
        let panel = Panel {
            title: name.clone(),
            x_label: name.clone(),
            y_label: name.clone(),
            log_y,
            series: vec![Series::new(name.clone(), style, points)],
        };
        prop_assert!(curves_picture(&name, &[panel]).is_ok());
    }
}
