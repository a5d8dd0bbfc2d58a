//! Numbers as pictures for the window: grey for brightness, two colours for what is above and below nought.

use eframe::egui::{self, Color32, ColorImage, TextureHandle, TextureOptions};

/// Pixels that stay pixels when they are enlarged.
pub const SHARP: TextureOptions = TextureOptions::NEAREST;

/// Colours of numbers above and below nought: told apart by most who do not see red and green as different.
pub const ABOVE: Color32 = Color32::from_rgb(0xe6, 0x7e, 0x22);
pub const BELOW: Color32 = Color32::from_rgb(0x2e, 0x86, 0xde);

/// Brightness from 0 to 1.
pub fn gray(size: [usize; 2], values: &[f32]) -> ColorImage {
    ColorImage::from_gray_iter([size[1], size[0]], values.iter().map(|x| (x * 255.0 + 0.5) as u8))
}

/// Numbers by their size against `most`: black for nought, orange above, blue below.
pub fn signed(size: [usize; 2], values: impl Iterator<Item = f32>, most: f32) -> ColorImage {
    let most = if most > 0.0 { most } else { 1.0 };
    let pixels = values.map(|x| {
        let share = (x / most).clamp(-1.0, 1.0);
        scaled(if share < 0.0 { BELOW } else { ABOVE }, share.abs())
    });
    ColorImage::new([size[1], size[0]], pixels.collect())
}

/// The same to be laid over a picture: what is nought lets it through.
pub fn overlay(size: [usize; 2], values: &[f32]) -> ColorImage {
    let most = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let most = if most > 0.0 { most } else { 1.0 };
    let pixels = values.iter().map(|x| {
        let share = (x / most).clamp(-1.0, 1.0);
        let colour = if share < 0.0 { BELOW } else { ABOVE };
        // What is faint would only grey the picture.
        let alpha = ((share.abs() - 0.05).max(0.0) * 230.0) as u8;
        Color32::from_rgba_unmultiplied(colour.r(), colour.g(), colour.b(), alpha)
    });
    ColorImage::new([size[1], size[0]], pixels.collect())
}

fn scaled(colour: Color32, share: f32) -> Color32 {
    let scale = |channel: u8| (f32::from(channel) * share) as u8;
    Color32::from_rgb(scale(colour.r()), scale(colour.g()), scale(colour.b()))
}

/// A texture that is made again only when its picture changes.
#[derive(Default)]
pub struct Picture {
    texture: Option<TextureHandle>,
    is_smooth: bool,
}

impl Picture {
    /// One whose pixels are too small to be seen singly.
    pub fn smooth() -> Picture {
        Picture { is_smooth: true, ..Picture::default() }
    }

    pub fn set(&mut self, ctx: &egui::Context, name: &str, image: ColorImage) {
        let options = if self.is_smooth { TextureOptions::LINEAR } else { SHARP };
        match &mut self.texture {
            Some(texture) => texture.set(image, options),
            none => *none = Some(ctx.load_texture(name, image, options)),
        }
    }
    pub fn clear(&mut self) {
        self.texture = None;
    }
    pub fn texture(&self) -> Option<&TextureHandle> {
        self.texture.as_ref()
    }

    /// Paints it into a rectangle; nothing where there is none.
    pub fn paint(&self, painter: &egui::Painter, rect: egui::Rect) {
        let uv = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
        if let Some(texture) = &self.texture {
            painter.image(texture.id(), rect, uv, Color32::WHITE);
        }
    }

    /// Shows it, or an empty frame of that size, under an accessible name.
    pub fn show(&self, ui: &mut egui::Ui, size: egui::Vec2, name: &str, sense: egui::Sense) -> egui::Response {
        let (rect, response) = ui.allocate_exact_size(size, sense);
        if self.texture.is_none() {
            ui.painter().rect_filled(rect, 2.0, ui.visuals().extreme_bg_color);
        }
        self.paint(ui.painter(), rect);
        let role = if sense.senses_click() { egui::Role::Button } else { egui::Role::Image };
        response.widget_info(|| egui::WidgetInfo::labeled(role, true, name));
        response
    }
}
