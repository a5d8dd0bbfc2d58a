//! One picture with what the judge reads in it: in a grid, or large.

use eframe::egui::{self, Align2, Color32, FontId, Id, Rect, Response, RichText, Role, Sense, Stroke, StrokeKind, Ui};
use eframe::egui::{WidgetInfo, pos2, vec2};

use super::atlas::Atlas;
use super::engine::{About, Answer, Judged, Reading};
use crate::app::bars::percent;

/// Height of the line below a picture, in points.
pub const CAPTION: f32 = 18.0;

/// What is shown.
pub struct Show<'a> {
    pub atlas: &'a Atlas,
    pub answer: &'a Answer,
    pub about: &'a About,
}

impl Show<'_> {
    fn reading(&self, index: usize) -> Option<(&str, Reading)> {
        let Judged::As(names) = &self.about.judge else { return None };
        let reading = *self.answer.readings.get(index)?;
        Some((names.get(reading.class)?, reading))
    }

    fn paint(&self, ui: &Ui, rect: Rect, index: usize) {
        match self.atlas.get(index) {
            Some((texture, uv)) => {
                ui.painter().image(texture.id(), rect, uv, Color32::WHITE);
            }
            None => {
                ui.painter().rect_filled(rect, 0.0, ui.visuals().extreme_bg_color);
            }
        }
    }

    /// Picture `index` of the answer as a cell to choose; one not read as asked has a frame and an exclamation mark.
    pub fn cell(&self, ui: &mut Ui, rect: Rect, index: usize, marked: bool) -> Response {
        let whole = Rect::from_min_max(rect.min, pos2(rect.max.x, rect.max.y + CAPTION));
        let response = ui.interact(whole, Id::unique(("dream", index)), Sense::click());
        let reading = self.reading(index);
        response.widget_info(|| {
            let said = reading.map_or("not read".into(), |(name, reading)| said(name, reading));
            WidgetInfo::labeled(Role::Button, true, format!("Picture {index}: {said}"))
        });
        if !ui.is_rect_visible(whole) {
            return response;
        }
        self.paint(ui, rect, index);
        let wrong = reading.is_some_and(|(_, reading)| reading.as_asked == Some(false));
        let visuals = ui.visuals();
        let frame = match () {
            () if response.has_focus() || response.hovered() => Stroke::new(2.0, visuals.strong_text_color()),
            () if marked => Stroke::new(3.0, visuals.selection.bg_fill),
            () if wrong => Stroke::new(2.0, visuals.warn_fg_color),
            () => Stroke::new(1.0, visuals.window_stroke.color),
        };
        ui.painter().rect_stroke(rect, 0.0, frame, StrokeKind::Outside);
        if let Some((name, reading)) = reading {
            let size = if rect.width() < 60.0 { 11.0 } else { 13.0 };
            let colour = if wrong { visuals.warn_fg_color } else { visuals.text_color() };
            let text = format!("{}{name} {}", if wrong { "! " } else { "" }, short(reading.share, rect.width()));
            let painter = ui.painter().with_clip_rect(whole.intersect(ui.clip_rect()));
            let middle = rect.center_bottom() + vec2(0.0, 2.0);
            painter.text(middle, Align2::CENTER_TOP, text, FontId::proportional(size), colour);
        }
        response
    }

    /// Picture `index` of the answer, large, with a sentence below.
    pub fn large(&self, ui: &mut Ui, index: usize, side: f32) {
        let [height, width, _] = self.about.image.map(|n| n as f32);
        let scale = side / height.max(width).max(1.0);
        let (rect, response) = ui.allocate_exact_size(vec2(width, height) * scale, Sense::hover());
        let text = self.reading(index).map_or("Not read".into(), |(name, reading)| said(name, reading));
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("The picture: {text}")));
        self.paint(ui, rect, index);
        ui.painter().rect_stroke(rect, 0.0, ui.visuals().window_stroke, StrokeKind::Inside);
        let wrong = self.reading(index).is_some_and(|(_, reading)| reading.as_asked == Some(false));
        let colour = if wrong { ui.visuals().warn_fg_color } else { ui.visuals().strong_text_color() };
        ui.add(egui::Label::new(RichText::new(text).size(16.0).color(colour)).truncate());
    }

    pub fn thumb(&self, ui: &mut Ui, name: &str, index: usize, side: f32) {
        let (rect, response) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("Digit {name}")));
        self.paint(ui, rect, index);
    }
}

fn said(name: &str, reading: Reading) -> String {
    let agreed = match reading.as_asked {
        Some(true) => ", as asked",
        Some(false) => ", not as asked",
        None => "",
    };
    format!("Read as {name}, {}{agreed}", percent(reading.share))
}

/// A probability, in whole percent where there is no room for more; never 100 for a share below 1.
fn short(share: f32, width: f32) -> String {
    match width {
        narrow if narrow < 80.0 => {
            let whole = (share * 100.0).round();
            format!("{:.0}%", if share < 1.0 { whole.min(99.0) } else { whole })
        }
        _ => percent(share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_asked_is_said_and_nothing_uncertain_is_certain() {
        let reading = |as_asked| Reading { class: 9, share: 0.9996, as_asked };
        assert_eq!(said("9", reading(Some(false))), "Read as 9, 99.9 %, not as asked");
        assert_eq!(said("9", reading(None)), "Read as 9, 99.9 %");
        assert_eq!([short(0.9996, 50.0), short(1.0, 50.0), short(0.614, 100.0)], ["99%", "100%", "61.4 %"]);
    }
}
