//! What a network looks for, and what it mistakes: pictures that change while it learns.

use std::sync::Arc;

use eframe::egui::{
    Align2, Color32, FontId, Key, Label, Rect, RichText, Role, ScrollArea, Sense, Stroke, StrokeKind, TextureId, Ui,
    Vec2, WidgetInfo, pos2, vec2,
};

use crate::app::bars::percent;
use crate::app::paint::{self, Picture, Tiles};
use crate::data::ImageSet;
use crate::models::Filters;
use crate::train::Mistake;

/// How many filters and mistakes are shown at most; the total is shown as a number.
const FILTERS: usize = 256;
const MISTAKES: usize = 60;
/// Heights of a mistake's picture, and of the lines below it.
const DIGIT: f32 = 56.0;
const CAPTION: f32 = 30.0;
/// Space between two rows of mistakes, and above the first.
const GAP: f32 = 4.0;
const HEADER: f32 = 24.0;

/// The height nearest to `height` at which all rows of mistakes are whole: one that is cut off has no captions.
pub fn whole_rows(height: f32) -> f32 {
    let row = DIGIT + CAPTION + GAP;
    let rows = ((height - HEADER + GAP) / row).round().max(1.0);
    HEADER + rows * row - GAP
}

#[derive(Default)]
pub struct Sights {
    filters: Filters,
    filters_picture: Pictures,
    filters_stale: bool,
    watched: Arc<ImageSet>,
    class_names: Vec<String>,
    mistakes: Option<Vec<Mistake>>,
    mistakes_picture: Pictures,
    mistakes_stale: bool,
}

/// Joins many small pictures of one size, given as pixels, into one whose sides are `most` at most.
fn joined(size: [usize; 2], pictures: &[Vec<f32>], most: usize) -> (Tiles, Vec<f32>) {
    let tiles = Tiles::new(pictures.len(), size, most);
    let pixel = |i: usize, [y, x]: [usize; 2]| {
        pictures.get(i).and_then(|picture| picture.get(y * size[1] + x)).copied().unwrap_or(0.0)
    };
    (tiles, tiles.lay_out(0.0, pixel))
}

/// Small pictures in one texture, and where each of them is.
#[derive(Default)]
struct Pictures {
    picture: Picture,
    tiles: Option<Tiles>,
}

impl Pictures {
    fn texture(&self) -> Option<(TextureId, Tiles)> {
        Some((self.picture.texture()?.id(), self.tiles?))
    }
}

impl Sights {
    pub fn begin(&mut self, watched: Arc<ImageSet>, class_names: Vec<String>) {
        *self = Sights { watched, class_names, ..Sights::default() };
    }
    pub fn set_filters(&mut self, filters: Filters) {
        (self.filters, self.filters_stale) = (filters, true);
    }
    pub fn set_mistakes(&mut self, mistakes: Vec<Mistake>) {
        (self.mistakes, self.mistakes_stale) = (Some(mistakes), true);
    }

    /// The first layer's weights, in an area of `size`.
    pub fn filters(&mut self, ui: &mut Ui, size: Vec2) {
        let Filters { layer, rows, columns, channels, units } = &self.filters;
        let (rows, columns, channels, shown) = (*rows, *columns, *channels, units.len().min(FILTERS));
        let said = match units.len() {
            0 => String::new(),
            all if all > shown => format!("of {layer}: {shown} of {all}, {rows} x {columns}"),
            all => format!("of {layer}: {all}, {rows} x {columns}"),
        };
        heading(ui, "Filters", said);
        if shown == 0 {
            ui.weak("What the first layer looks for, once a network learns.");
            return;
        }
        if std::mem::take(&mut self.filters_stale) {
            // A unit that sees several channels is shown by their mean.
            let mean = |unit: &Vec<f32>| -> Vec<f32> {
                unit.chunks_exact(channels.max(1)).map(|c| c.iter().sum::<f32>() / channels.max(1) as f32).collect()
            };
            let pictures: Vec<Vec<f32>> = units[..shown].iter().map(mean).collect();
            let most = pictures.iter().flatten().fold(0.0f32, |most, weight| most.max(weight.abs()));
            let (tiles, pixels) = joined([rows, columns], &pictures, paint::most(ui.ctx()));
            let image = paint::signed(tiles.size(), pixels.into_iter(), most);
            self.filters_picture.picture.set(ui.ctx(), "filters", image);
            self.filters_picture.tiles = Some(tiles);
        }
        let Some((texture, tiles)) = self.filters_picture.texture() else { return };
        let room = vec2(size.x - 14.0, size.y - 46.0);
        let edge = Stroke::new(1.0, ui.visuals().weak_text_color());
        let tile = tile(room, shown, rows as f32 / columns.max(1) as f32);
        ScrollArea::vertical().id_salt("filters").max_height(room.y).auto_shrink([false, true]).show(ui, |ui| {
            let across = ((room.x / (tile.x + 3.0)) as usize).max(1);
            let field = vec2(room.x, shown.div_ceil(across) as f32 * (tile.y + 3.0));
            let (rect, response) = ui.allocate_exact_size(field, Sense::hover());
            let name = format!("filters of {layer}: {shown} pictures of {rows} by {columns}");
            response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
            for i in 0..shown {
                let at = vec2((i % across) as f32 * (tile.x + 3.0), (i / across) as f32 * (tile.y + 3.0));
                let tile = Rect::from_min_size(rect.min + at, tile);
                if ui.is_rect_visible(tile) {
                    ui.painter().image(texture, tile, tiles.part(i), Color32::WHITE);
                    ui.painter().rect_stroke(tile, 0.0, edge, StrokeKind::Outside);
                }
            }
            page(ui, room.y);
        });
        ui.horizontal(|ui| {
            for (colour, name) in [(paint::ABOVE, "above 0"), (paint::BELOW, "below 0")] {
                let (rect, _) = ui.allocate_exact_size(vec2(11.0, 11.0), Sense::hover());
                ui.painter().rect_filled(rect, 2.0, colour);
                ui.label(RichText::new(name).size(12.0));
            }
        });
    }

    /// Watched digits that are read wrong, in an area of `size`.
    pub fn mistakes(&mut self, ui: &mut Ui, size: Vec2) {
        let shown: Vec<Mistake> = self.mistakes.iter().flatten().take(MISTAKES).copied().collect();
        let said = match self.mistakes.as_ref().map(Vec::len) {
            None => String::new(),
            Some(count) if count > shown.len() => {
                format!("{count} of {} watched; the {} most confident", self.watched.len(), shown.len())
            }
            Some(0) => format!("0 of {} watched", self.watched.len()),
            Some(count) => format!("{count} of {} watched, the most confident first", self.watched.len()),
        };
        heading(ui, "Mistakes", said);
        if self.mistakes.is_none() {
            ui.weak("Watched digits that it reads wrong, once a network learns.");
            return;
        }
        let ImageSet { height, width, channels, .. } = *self.watched;
        if std::mem::take(&mut self.mistakes_stale) {
            let gray = |mistake: &Mistake| -> Vec<f32> {
                let image = self.watched.image(mistake.index);
                image.chunks_exact(channels.max(1)).map(|pixel| f32::from(pixel[0]) / 255.0).collect()
            };
            let pictures: Vec<Vec<f32>> = shown.iter().map(gray).collect();
            let (tiles, pixels) = joined([height, width], &pictures, paint::most(ui.ctx()));
            self.mistakes_picture.picture.set(ui.ctx(), "mistakes", paint::gray(tiles.size(), &pixels));
            self.mistakes_picture.tiles = Some(tiles);
        }
        let Some((texture, tiles)) = self.mistakes_picture.texture() else { return };
        let room = size.y - HEADER;
        ScrollArea::vertical().id_salt("mistakes").max_height(room).auto_shrink([false, true]).show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                ui.spacing_mut().item_spacing = vec2(6.0, GAP);
                for (i, mistake) in shown.iter().enumerate() {
                    self.mistake(ui, mistake, texture, tiles.part(i));
                }
            });
            page(ui, room);
        });
    }

    fn mistake(&self, ui: &mut Ui, mistake: &Mistake, texture: TextureId, part: Rect) {
        let name = |class: usize| self.class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let (label, reading) = (name(mistake.label), name(mistake.predicted));
        let sure = percent(mistake.probability as f32);
        let (rect, response) = ui.allocate_exact_size(vec2(DIGIT + 8.0, DIGIT + CAPTION), Sense::hover());
        let said = format!("mistake: a {label} read as {reading}, {sure}");
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
        if !ui.is_rect_visible(rect) {
            return;
        }
        let (painter, visuals) = (ui.painter().with_clip_rect(rect), ui.visuals());
        let picture = Rect::from_min_size(rect.min + vec2(4.0, 0.0), vec2(DIGIT, DIGIT));
        painter.image(texture, picture, part, Color32::WHITE);
        let line = |y: f32, text: String, colour| {
            let at = pos2(rect.center().x, rect.top() + DIGIT + y);
            painter.text(at, Align2::CENTER_TOP, text, FontId::proportional(12.0), colour);
        };
        line(1.0, format!("{label} read {reading}"), visuals.strong_text_color());
        line(14.0, sure, visuals.text_color());
        response.on_hover_text(said);
    }
}

/// The title of an area, and as much of what is `said` about it as there is room for.
fn heading(ui: &mut Ui, title: &str, said: String) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).strong());
        ui.add(Label::new(RichText::new(said).weak()).truncate());
    });
}

/// Without a mouse wheel, the page keys scroll what is too long.
fn page(ui: &Ui, room: f32) {
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    let pages = f32::from(u8::from(pressed(Key::PageUp))) - f32::from(u8::from(pressed(Key::PageDown)));
    if pages != 0.0 {
        ui.scroll_with_delta(vec2(0.0, pages * room * 0.9));
    }
}

/// The largest size at which `count` tiles fit into `room`, neither tiny nor huge.
fn tile(room: Vec2, count: usize, tall: f32) -> Vec2 {
    let tall = tall.clamp(0.05, 20.0);
    let fits = |width: f32| {
        let across = (room.x / (width + 3.0)).floor().max(1.0);
        (count as f32 / across).ceil() * (width * tall + 3.0) <= room.y
    };
    let width = (6..=20).rev().map(|i| i as f32 * 4.0).find(|width| fits(*width)).unwrap_or(24.0).min(room.x.max(8.0));
    vec2(width, width * tall)
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;

    #[test]
    fn a_mistake_says_what_the_digit_is_and_then_what_it_was_read_as() {
        let (images, labels) = (vec![0u8; 4].into(), vec![3]);
        let watched = ImageSet { height: 2, width: 2, channels: 1, classes: 10, images, labels };
        let mut sights = Sights::default();
        sights.begin(Arc::new(watched), (0..10).map(|class| class.to_string()).collect());
        sights.set_mistakes(vec![Mistake { index: 0, label: 3, predicted: 5, probability: 0.75 }]);
        let harness = Harness::new_ui(|ui| sights.mistakes(ui, vec2(300.0, 200.0)));
        assert!(harness.query_by_label("mistake: a 3 read as 5, 75.0 %").is_some());
    }

    #[test]
    fn pictures_are_joined_whole_and_a_long_row_fits_into_a_texture() {
        let pictures: Vec<Vec<f32>> = (0..18).map(|i| vec![i as f32; 6]).collect();
        let (tiles, pixels) = joined([2, 3], &pictures, 4096);
        let [height, width] = tiles.size();
        for i in 0..18 {
            let at = tiles.part(i).center();
            let (x, y) = ((at.x * width as f32) as usize, (at.y * height as f32) as usize);
            assert_eq!(pixels[y * width + x], i as f32);
        }
        // What a dense layer sees of a row of numbers.
        let (tiles, _) = joined([1, 784], &vec![vec![0.5; 784]; 16], 8192);
        assert_eq!(tiles.size(), [16, 784]);
        assert_eq!(joined([2, 3], &[], 8192).0.size(), [2, 3]);
    }

    #[test]
    fn a_field_has_room_for_whole_rows_of_mistakes_captions_included() {
        for (height, rows) in [(-50.0, 1.0), (150.0, 1.0), (268.0, 3.0), (463.0, 5.0)] {
            let room = whole_rows(height) - HEADER;
            assert_eq!(room, rows * (DIGIT + CAPTION) + (rows - 1.0) * GAP, "{height}");
        }
    }

    #[test]
    fn tiles_fill_the_room_and_never_vanish() {
        assert_eq!(tile(vec2(340.0, 160.0), 32, 1.0), vec2(36.0, 36.0));
        for (count, tall) in [(1, 1.0), (256, 1.0), (64, 0.01), (5, 100.0)] {
            let tile = tile(vec2(100.0, 50.0), count, tall);
            assert!(tile.x >= 8.0 && tile.y > 0.0, "{tile:?}");
        }
    }
}
