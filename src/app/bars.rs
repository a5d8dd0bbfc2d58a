//! A network's answer: a bar for each class, with the winner marked and the runner-up named.

use std::sync::Arc;

use eframe::egui::text::{LayoutJob, TextWrapping};
use eframe::egui::{self, Align2, Color32, FontId, Galley, Role, Sense, WidgetInfo, vec2};

use super::theme;
use crate::report::clipped;

/// Of more classes than this only the most likely are shown.
const MOST: usize = 12;

/// Of names cut to fewer characters than this there is no telling which they are.
const SHORTEST: usize = 6;

/// Classes by their probability, the most likely first; among equals the lower number comes first.
pub fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    order
}

/// `3, 98.2 %; then 8, 1.1 %`
pub fn sentence(probabilities: &[f32], names: &[String]) -> String {
    said(probabilities, names, &first(probabilities, 2), usize::MAX)
}

/// `3, 98.2 %`
pub fn winner(probabilities: &[f32], names: &[String]) -> String {
    said(probabilities, names, &first(probabilities, 1), usize::MAX)
}

/// The sentence with its names cut as little as makes it fit; where little would be left of them, the winner alone.
pub fn fitted(probabilities: &[f32], names: &[String], fits: impl Fn(&str) -> bool) -> String {
    let two = first(probabilities, 2);
    let one = &two[..two.len().min(1)];
    let lengths = two.iter().filter_map(|class| names.get(*class)).map(|name| name.chars().count());
    let longest = lengths.max().unwrap_or(0);
    let cut_to = |classes: &[usize], least: usize| {
        let whole = said(probabilities, names, classes, longest);
        if fits(&whole) {
            return Some(whole);
        }
        // What is cut to more characters is wider.
        let lengths: Vec<usize> = (least..longest).collect();
        let fitting = lengths.partition_point(|most| fits(&said(probabilities, names, classes, *most)));
        fitting.checked_sub(1).map(|last| said(probabilities, names, classes, lengths[last]))
    };
    cut_to(&two, SHORTEST.min(longest)).or_else(|| cut_to(one, 1)).unwrap_or_else(|| said(probabilities, names, one, 1))
}

/// The `count` most likely classes.
fn first(probabilities: &[f32], count: usize) -> Vec<usize> {
    let mut order = ranked(probabilities);
    order.truncate(count);
    order
}

/// Classes with their percentages, each name cut to `most` characters.
fn said(probabilities: &[f32], names: &[String], classes: &[usize], most: usize) -> String {
    let one = |class: &usize| {
        let name = names.get(*class).map_or_else(|| class.to_string(), |name| clipped(name, most));
        format!("{name}, {}", percent(probabilities[*class]))
    };
    classes.iter().map(one).collect::<Vec<_>>().join("; then ")
}

/// `98.2 %`; never 100 % for a share below 1, nor 0 % for one above 0.
pub fn percent(share: f32) -> String {
    if share > 0.0 && share < 0.0005 {
        return "<0.1 %".into();
    }
    let tenths = (f64::from(share) * 1000.0).round() / 10.0;
    let tenths = if share < 1.0 { tenths.min(99.9) } else { tenths };
    format!("{tenths:.1} %")
}

/// Shows the bars, as wide as `width`; without probabilities all are empty, and their accessible names say why.
pub fn show(ui: &mut egui::Ui, width: f32, names: &[String], probabilities: Result<&[f32], &str>) {
    let (probabilities, why) = (probabilities.ok(), probabilities.err().unwrap_or_default());
    let order = probabilities.map(ranked).unwrap_or_default();
    let shown: Vec<usize> = match names.len() {
        few if few <= MOST => (0..few).collect(),
        _ if order.is_empty() => (0..MOST).collect(),
        _ => order[..MOST].to_vec(),
    };
    // Names take the width they need, up to half.
    let font = FontId::proportional(15.0);
    let name_width = |name: &String| {
        ui.fonts_mut(|fonts| fonts.layout_no_wrap(name.clone(), font.clone(), egui::Color32::WHITE).size().x)
    };
    let label = shown.iter().map(|class| name_width(&names[*class])).fold(14.0, f32::max).min(width / 2.0) + 8.0;
    for class in shown {
        let share = probabilities.and_then(|p| p.get(class)).copied().unwrap_or(0.0);
        let wins = order.first() == Some(&class);
        let (rect, response) = ui.allocate_exact_size(vec2(width, 22.0), Sense::hover());
        let said = if probabilities.is_some() { percent(share) } else { why.into() };
        let mark = if wins { ", the winner" } else { "" };
        response.widget_info(|| {
            WidgetInfo::labeled(Role::ProgressIndicator, true, format!("class {}: {said}{mark}", names[class]))
        });
        if !ui.is_rect_visible(rect) {
            continue;
        }
        let (visuals, painter) = (ui.visuals(), ui.painter().with_clip_rect(rect));
        let text = if wins { visuals.strong_text_color() } else { visuals.text_color() };
        let name = within(ui, &names[class], label - 4.0, &font, text);
        let place = Align2::LEFT_CENTER.anchor_size(rect.left_center(), name.size());
        let is_cut = name.elided;
        painter.galley(place.min, name, text);
        let mut track = rect.shrink2(vec2(0.0, 4.0));
        track.min.x += label;
        track.max.x -= 58.0;
        painter.rect_filled(track, 2.0, visuals.widgets.inactive.bg_fill);
        let mut bar = track;
        bar.max.x = bar.min.x + track.width() * share.clamp(0.0, 1.0);
        let colour = if wins { theme::winner(visuals) } else { visuals.weak_text_color() };
        painter.rect_filled(bar, 2.0, colour);
        if probabilities.is_some() {
            painter.text(rect.right_center(), Align2::RIGHT_CENTER, percent(share), FontId::monospace(13.0), text);
        }
        if is_cut {
            response.on_hover_text(&names[class]);
        }
    }
}

/// A name that is laid out in one row, with an ellipsis where it is too long.
fn within(ui: &egui::Ui, name: &str, width: f32, font: &FontId, colour: Color32) -> Arc<Galley> {
    let mut job = LayoutJob::simple_singleline(name.into(), font.clone(), colour);
    job.wrap = TextWrapping::truncate_at_width(width);
    ui.fonts_mut(|fonts| fonts.layout_job(job))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_long_name_ends_in_an_ellipsis_before_the_bar() {
        let output = egui::Context::default().run_ui(egui::RawInput::default(), |ui| {
            let font = FontId::proportional(15.0);
            let long = within(ui, &"long ".repeat(40), 100.0, &font, Color32::WHITE);
            assert!(long.elided && long.size().x <= 100.0 && long.rows.len() == 1, "{:?}", long.size());
            assert!(!within(ui, "7", 100.0, &font, Color32::WHITE).elided);
        });
        output.drop_without_applying_deltas();
    }

    #[test]
    fn long_names_are_cut_and_percentages_are_not() {
        let names = ["a very long name of a cat", "another long name of a dog", "fox"].map(String::from);
        let within = |most: usize| fitted(&[0.75, 0.24, 0.01], &names, |text| text.chars().count() <= most);
        assert_eq!(within(80), "a very long name of a cat, 75.0 %; then another long name of a dog, 24.0 %");
        assert_eq!(within(46), "a ver\u{2026}a cat, 75.0 %; then anoth\u{2026}a dog, 24.0 %");
        // Two names would be too short.
        assert_eq!(within(30), "a very long\u{2026}e of a cat, 75.0 %");
        assert_eq!(within(0), "\u{2026}, 75.0 %");
        let digits: Vec<String> = (0..3).map(|i| i.to_string()).collect();
        let within = |most: usize| fitted(&[0.75, 0.24, 0.01], &digits, |text| text.chars().count() <= most);
        assert_eq!([within(25), within(24)], ["0, 75.0 %; then 1, 24.0 %", "0, 75.0 %"]);
        assert_eq!(fitted(&[], &[], |_| true), "");
    }

    #[test]
    fn names_of_any_length_are_cut_to_fit_in_few_attempts() {
        let names = ["a long name ".repeat(500), "another name ".repeat(400)];
        for (most, wanted) in [(10_000, 9_999), (101, 101), (40, 39), (28, 28)] {
            let attempts = Cell::new(0);
            let text = fitted(&[0.75, 0.25], &names, |text| {
                attempts.set(attempts.get() + 1);
                text.chars().count() <= most
            });
            assert_eq!(text.chars().count(), wanted);
            assert!(attempts.get() < 40, "{}", attempts.get());
        }
    }

    #[test]
    fn the_winner_and_the_runner_up_are_named_and_nothing_uncertain_is_called_certain() {
        let names: Vec<String> = (0..3).map(|i| i.to_string()).collect();
        assert_eq!(sentence(&[0.011, 0.982, 0.007], &names), "1, 98.2 %; then 0, 1.1 %");
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(1.0), "100.0 %");
        assert_eq!((percent(0.0), percent(0.0004)), ("0.0 %".into(), "<0.1 %".into()));
        assert_eq!(ranked(&[0.5, 0.5]), [0, 1]);
        assert_eq!(sentence(&[], &[]), "");
        let names = ["cat; tame", "dog"].map(String::from);
        assert_eq!(winner(&[0.75, 0.25], &names), "cat; tame, 75.0 %");
        assert_eq!(winner(&[], &[]), "");
    }
}
