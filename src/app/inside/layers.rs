//! Every layer's output as pictures: one for each channel of an image, cells for a row of numbers.

use std::time::Instant;

use eframe::egui::{
    self, Color32, ColorImage, Rect, Role, Sense, Stroke, TextureHandle, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use crate::app::paint::{self, SHARP};
use crate::infer::look::{Layer, Pass};

/// Side of a channel's picture, in points.
const TILE: f32 = 46.0;
/// A row of numbers is folded at this many.
const COLUMNS: usize = 64;
/// Side of a number's cell, in points.
const CELL: f32 = 10.0;
/// Channels and numbers beyond these are not drawn.
const MOST_CHANNELS: usize = 256;
const MOST_NUMBERS: usize = 2048;

/// A value that a person has clicked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    pub layer: usize,
    /// Channel, or place in a row of numbers.
    pub unit: usize,
    /// Row and column; `[0, 0]` in a row of numbers.
    pub at: [usize; 2],
}

/// The textures of all layers, one each, made again where a pass is new.
#[derive(Default)]
pub struct Layers {
    textures: Vec<Option<TextureHandle>>,
    shown: Option<(u64, Instant)>,
}

impl Layers {
    /// Takes in a pass; `key` tells the model and the pass apart from others.
    pub fn set(&mut self, ctx: &egui::Context, layers: &[Layer], pass: &Pass, key: (u64, Instant)) {
        if self.shown == Some(key) || pass.activations.len() != layers.len() {
            return;
        }
        self.shown = Some(key);
        self.textures.resize_with(layers.len(), || None);
        self.textures.truncate(layers.len());
        for ((layer, values), texture) in layers.iter().zip(&pass.activations).zip(&mut self.textures) {
            let image = picture(&layer.shape, values);
            match texture {
                Some(texture) => texture.set(image, SHARP),
                None => *texture = Some(ctx.load_texture(&layer.name, image, SHARP)),
            }
        }
    }

    /// One layer's pictures, as many beside each other as fit; the value that was clicked.
    pub fn show(&self, ui: &mut Ui, layer: usize, about: &Layer, chosen: Option<Unit>) -> Option<Unit> {
        let texture = self.textures.get(layer).and_then(Option::as_ref);
        let chosen = chosen.filter(|chosen| chosen.layer == layer);
        match about.shape[..] {
            [h, w, c] => channels(ui, texture, layer, about, [h, w, c], chosen),
            _ => numbers(ui, texture, layer, about, chosen),
        }
    }
}

/// Channels below each other in one picture; a row of numbers folded. Colours are scaled to the layer's largest value.
fn picture(shape: &[usize], values: &[f32]) -> ColorImage {
    let most = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    match *shape {
        [h, w, c] => {
            let shown = c.min(MOST_CHANNELS);
            let at = |i: usize| values[(i % (h * w)) * c + i / (h * w)];
            paint::signed([h * shown, w], (0..h * w * shown).map(at), most)
        }
        _ => {
            let shown = values.len().min(MOST_NUMBERS);
            let (rows, columns) = (shown.div_ceil(COLUMNS), COLUMNS.min(shown.max(1)));
            let at = |i: usize| values[..shown].get(i).copied().unwrap_or(0.0);
            paint::signed([rows, columns], (0..rows * columns).map(at), most)
        }
    }
}

fn channels(
    ui: &mut Ui,
    texture: Option<&TextureHandle>,
    layer: usize,
    about: &Layer,
    [h, w, c]: [usize; 3],
    chosen: Option<Unit>,
) -> Option<Unit> {
    let shown = c.min(MOST_CHANNELS);
    let tile = if h.max(w) > 28 { TILE * 2.0 } else { TILE };
    let size = vec2(tile * w as f32 / h.max(w) as f32, tile * h as f32 / h.max(w) as f32);
    let mut clicked = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(3.0, 3.0);
        for unit in 0..shown {
            let response = tile_of(ui, texture, size, [unit as f32 / shown as f32, (unit + 1) as f32 / shown as f32]);
            let name = format!("{} unit {unit}", about.name);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
            let is_chosen = chosen.is_some_and(|chosen| chosen.unit == unit);
            if is_chosen {
                frame(ui, response.rect, [h, w], chosen);
            }
            if response.clicked() {
                // By keys there is no place: the middle then.
                let at = response.interact_pointer_pos().unwrap_or(response.rect.center());
                clicked = Some(Unit { layer, unit, at: place(response.rect, at, [h, w]) });
            }
            response.on_hover_text(name);
        }
        if c > shown {
            ui.weak(format!("and {} more", c - shown));
        }
    });
    clicked
}

/// Row and column of a point in a picture of `[h, w]`.
pub fn place(rect: Rect, at: egui::Pos2, [h, w]: [usize; 2]) -> [usize; 2] {
    let share = (at - rect.min) / rect.size();
    let cell = |share: f32, count: usize| ((share * count as f32) as usize).min(count.saturating_sub(1));
    [cell(share.y, h), cell(share.x, w)]
}

/// Marks a picture, and the pixel in it that is looked at.
fn frame(ui: &Ui, rect: Rect, [h, w]: [usize; 2], chosen: Option<Unit>) {
    let stroke = Stroke::new(2.0, ui.visuals().selection.stroke.color);
    ui.painter().rect_stroke(rect, 0.0, stroke, egui::StrokeKind::Outside);
    if let Some(Unit { at: [y, x], .. }) = chosen {
        let cell = vec2(rect.width() / w as f32, rect.height() / h as f32);
        let pixel = Rect::from_min_size(rect.min + vec2(x as f32 * cell.x, y as f32 * cell.y), cell);
        ui.painter().rect_stroke(pixel, 0.0, Stroke::new(1.0, Color32::WHITE), egui::StrokeKind::Outside);
    }
}

fn tile_of(ui: &mut Ui, texture: Option<&TextureHandle>, size: Vec2, [top, bottom]: [f32; 2]) -> egui::Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    if ui.is_rect_visible(rect) {
        match texture {
            Some(texture) => {
                let uv = Rect::from_min_max(pos2(0.0, top), pos2(1.0, bottom));
                ui.painter().image(texture.id(), rect, uv, Color32::WHITE);
            }
            None => {
                ui.painter().rect_filled(rect, 0.0, ui.visuals().extreme_bg_color);
            }
        }
        if response.hovered() || response.has_focus() {
            let stroke = Stroke::new(1.0, ui.visuals().strong_text_color());
            ui.painter().rect_stroke(rect, 0.0, stroke, egui::StrokeKind::Outside);
        }
    }
    response
}

/// A row of numbers is one control: a click takes the cell below it.
fn numbers(
    ui: &mut Ui,
    texture: Option<&TextureHandle>,
    layer: usize,
    about: &Layer,
    chosen: Option<Unit>,
) -> Option<Unit> {
    let count = about.shape.iter().product::<usize>();
    let shown = count.min(MOST_NUMBERS);
    let (rows, columns) = (shown.div_ceil(COLUMNS), COLUMNS.min(shown.max(1)));
    let cell = (ui.available_width() / columns as f32).clamp(4.0, if shown <= 16 { 2.2 * CELL } else { CELL });
    let size = vec2(cell * columns as f32, cell * rows as f32);
    let response = tile_of(ui, texture, size, [0.0, 1.0]);
    let said = chosen.map_or("none chosen".into(), |chosen| format!("number {} chosen", chosen.unit));
    let name = format!("{} numbers, {said}", about.name);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    let mut unit = None;
    if response.clicked() {
        let at = response.interact_pointer_pos();
        let [row, column] = at.map_or([0, 0], |at| place(response.rect, at, [rows, columns]));
        unit = Some(row * columns + column);
    }
    if let Some(chosen) = chosen {
        let [row, column] = [chosen.unit / columns, chosen.unit % columns];
        let at = response.rect.min + vec2(column as f32 * cell, row as f32 * cell);
        let stroke = Stroke::new(2.0, ui.visuals().selection.stroke.color);
        let rect = Rect::from_min_size(at, vec2(cell, cell));
        ui.painter().rect_stroke(rect, 0.0, stroke, egui::StrokeKind::Outside);
    }
    if count > shown {
        ui.weak(format!("and {} more", count - shown));
    }
    unit.filter(|unit| *unit < shown).map(|unit| Unit { layer, unit, at: [0, 0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_under_the_pointer_is_inside_the_picture_whatever_the_pointer_does() {
        let rect = Rect::from_min_size(pos2(10.0, 20.0), vec2(28.0, 56.0));
        assert_eq!(place(rect, pos2(10.0, 20.0), [28, 28]), [0, 0]);
        assert_eq!(place(rect, pos2(24.5, 49.0), [28, 28]), [14, 14]);
        assert_eq!(place(rect, pos2(999.0, -3.0), [28, 28]), [0, 27]);
    }

    #[test]
    fn channels_stand_below_each_other_in_the_layers_picture() {
        let values: Vec<f32> = (0..2 * 2 * 3).map(|i| if i % 3 == 1 { 1.0 } else { 0.0 }).collect();
        let image = picture(&[2, 2, 3], &values);
        assert_eq!(image.size, [2, 6]);
        let lit: Vec<usize> = (0..12).filter(|i| image.pixels[*i] != Color32::BLACK).collect();
        assert_eq!(lit, [4, 5, 6, 7], "the second channel");
        assert_eq!(picture(&[130], &[0.5; 130]).size, [64, 3]);
    }
}
