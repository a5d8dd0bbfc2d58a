//! Every layer's output as pictures: one for each channel of an image, cells for a row of numbers.

use std::time::Instant;

use eframe::egui::{self, Color32, ColorImage, Rect, Role, Sense, Stroke, Ui, Vec2, WidgetInfo, vec2};

use crate::app::paint::{self, Picture, Tiles};
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
/// Longest side of a layer's texture, in pixels: more would spend memory on what a tile has no room to show.
const SIDE: usize = 2048;

/// A value that the user has clicked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    pub layer: usize,
    /// Channel, or place in a row of numbers.
    pub unit: usize,
    /// Row and column; `[0, 0]` in a row of numbers.
    pub at: [usize; 2],
}

/// A layer's texture, and how its channels are laid out in it.
struct Drawn {
    picture: Picture,
    tiles: Tiles,
}

/// The textures of all layers, one each, made again for each new pass.
#[derive(Default)]
pub struct Layers {
    drawn: Vec<Drawn>,
    shown: Option<(u64, Instant)>,
}

impl Layers {
    /// Takes in a pass; `key` tells the model and the pass apart from others.
    pub fn set(&mut self, ctx: &egui::Context, layers: &[Layer], pass: &Pass, key: (u64, Instant)) {
        if self.shown == Some(key) || pass.activations.len() != layers.len() {
            return;
        }
        self.shown = Some(key);
        let most = paint::most(ctx).min(SIDE);
        let mut before = std::mem::take(&mut self.drawn).into_iter().map(|drawn| drawn.picture);
        for (layer, values) in layers.iter().zip(&pass.activations) {
            let (image, tiles) = picture(&layer.shape, values, most);
            // The texture of the previous pass is overwritten.
            let mut picture = before.next().unwrap_or_default();
            picture.set(ctx, &layer.name, image);
            self.drawn.push(Drawn { picture, tiles });
        }
    }

    /// Forgets the pictures of another model, whose layers have other names.
    pub fn keep_to(&mut self, opened: u64) {
        if self.shown.is_some_and(|(of, _)| of != opened) {
            *self = Layers::default();
        }
    }

    /// Shows one layer's pictures, as many side by side as fit; returns the value that was clicked.
    pub fn show(&self, ui: &mut Ui, layer: usize, about: &Layer, chosen: Option<Unit>) -> Option<Unit> {
        let drawn = self.drawn.get(layer);
        let chosen = chosen.filter(|chosen| chosen.layer == layer);
        match about.shape[..] {
            [h, w, c] => channels(ui, drawn, layer, about, [h, w, c], chosen),
            _ => numbers(ui, drawn, layer, about, chosen),
        }
    }
}

/// All channels in one picture; a row of numbers is folded. Colours are scaled to the layer's largest value. A side is
/// at most `most` long.
fn picture(shape: &[usize], values: &[f32], most: usize) -> (ColorImage, Tiles) {
    let value = |i: usize| values.get(i).copied().unwrap_or(0.0);
    let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let (tiles, pixels) = match *shape {
        [h, w, c] => {
            let tiles = Tiles::new(c.min(MOST_CHANNELS), [h, w], most);
            (tiles, tiles.lay_out(0.0, |channel, [y, x]| value((y * w + x) * c + channel)))
        }
        _ => {
            let shown = values.len().min(MOST_NUMBERS);
            let (rows, columns) = (shown.div_ceil(COLUMNS), COLUMNS.min(shown.max(1)));
            let tiles = Tiles::new(1, [rows, columns], most);
            let number = |_: usize, [y, x]: [usize; 2]| {
                let at = y * columns + x;
                if at < shown { value(at) } else { 0.0 }
            };
            (tiles, tiles.lay_out(0.0, number))
        }
    };
    (paint::signed(tiles.size(), pixels.into_iter(), largest), tiles)
}

fn channels(
    ui: &mut Ui,
    drawn: Option<&Drawn>,
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
            let response = tile_of(ui, drawn, size, unit);
            let name = format!("{} unit {unit}", about.name);
            response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
            let is_chosen = chosen.is_some_and(|chosen| chosen.unit == unit);
            if is_chosen {
                frame(ui, response.rect, [h, w], chosen);
            }
            if response.clicked() {
                // A click by key has no place: take the middle.
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

/// Marks a picture, and the chosen pixel in it.
fn frame(ui: &Ui, rect: Rect, [h, w]: [usize; 2], chosen: Option<Unit>) {
    let stroke = Stroke::new(2.0, ui.visuals().selection.stroke.color);
    ui.painter().rect_stroke(rect, 0.0, stroke, egui::StrokeKind::Outside);
    if let Some(Unit { at: [y, x], .. }) = chosen {
        let cell = vec2(rect.width() / w as f32, rect.height() / h as f32);
        let pixel = Rect::from_min_size(rect.min + vec2(x as f32 * cell.x, y as f32 * cell.y), cell);
        ui.painter().rect_stroke(pixel, 0.0, Stroke::new(1.0, Color32::WHITE), egui::StrokeKind::Outside);
    }
}

fn tile_of(ui: &mut Ui, drawn: Option<&Drawn>, size: Vec2, unit: usize) -> egui::Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    if ui.is_rect_visible(rect) {
        match drawn.and_then(|drawn| Some((drawn.picture.texture()?, drawn.tiles.part(unit)))) {
            Some((texture, part)) => {
                ui.painter().image(texture.id(), rect, part, Color32::WHITE);
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

/// A row of numbers is one control: a click chooses the cell under the pointer.
fn numbers(ui: &mut Ui, drawn: Option<&Drawn>, layer: usize, about: &Layer, chosen: Option<Unit>) -> Option<Unit> {
    let count = about.shape.iter().product::<usize>();
    let shown = count.min(MOST_NUMBERS);
    let (rows, columns) = (shown.div_ceil(COLUMNS), COLUMNS.min(shown.max(1)));
    let cell = (ui.available_width() / columns as f32).clamp(4.0, if shown <= 16 { 2.2 * CELL } else { CELL });
    let size = vec2(cell * columns as f32, cell * rows as f32);
    let response = tile_of(ui, drawn, size, 0);
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
    use eframe::egui::pos2;

    use super::*;
    use crate::models::Kind;

    #[test]
    fn the_place_under_the_pointer_is_inside_the_picture_whatever_the_pointer_does() {
        let rect = Rect::from_min_size(pos2(10.0, 20.0), vec2(28.0, 56.0));
        assert_eq!(place(rect, pos2(10.0, 20.0), [28, 28]), [0, 0]);
        assert_eq!(place(rect, pos2(24.5, 49.0), [28, 28]), [14, 14]);
        assert_eq!(place(rect, pos2(999.0, -3.0), [28, 28]), [0, 27]);
    }

    #[test]
    fn channels_stand_beside_and_below_each_other_in_the_layers_picture() {
        let values: Vec<f32> = (0..2 * 2 * 3).map(|i| if i % 3 == 1 { 1.0 } else { 0.0 }).collect();
        let (image, _) = picture(&[2, 2, 3], &values, SIDE);
        assert_eq!(image.size, [4, 4]);
        let lit: Vec<usize> = (0..16).filter(|i| image.pixels[*i] != Color32::BLACK).collect();
        assert_eq!(lit, [2, 3, 6, 7], "the second channel");
        assert_eq!(picture(&[130], &[0.5; 130], SIDE).0.size, [64, 3]);
    }

    /// A layer of that shape, and a pass in which all of it is 1.
    fn passed(shape: &[usize]) -> ([Layer; 1], Pass) {
        let layer = Layer {
            name: "conv1".into(),
            describe: String::new(),
            shape: shape.to_vec(),
            inputs: vec![None],
            kind: Kind::Activation,
            activation: None,
            parameters: 0,
            flops: 0,
        };
        ([layer], Pass { activations: vec![vec![1.0; shape.iter().product()]], ..Pass::default() })
    }

    #[test]
    fn many_large_channels_fit_into_a_texture() {
        let (ctx, mut layers) = (egui::Context::default(), Layers::default());
        let (about, pass) = passed(&[112, 112, 96]);
        layers.set(&ctx, &about, &pass, (1, Instant::now()));
        let size = layers.drawn[0].picture.texture().unwrap().size();
        assert!(size.iter().all(|side| *side <= SIDE), "{size:?}");
    }

    #[test]
    fn pictures_of_another_model_are_forgotten() {
        let (ctx, mut layers) = (egui::Context::default(), Layers::default());
        let (about, pass) = passed(&[2, 2, 1]);
        layers.set(&ctx, &about, &pass, (1, Instant::now()));
        layers.keep_to(1);
        assert_eq!(layers.drawn.len(), 1);
        layers.keep_to(2);
        assert!(layers.drawn.is_empty());
    }
}
