//! The field on the screen: pen strokes by mouse, finger, stylus or keys.

use eframe::egui::{
    self, ColorImage, Event, EventFilter, Id, Key, KeyboardShortcut, Modifiers, PointerButton, Pos2, Rect, Role, Sense,
    Stroke, WidgetInfo, vec2,
};

use super::field::{Field, Tool};
use super::paint::Picture;
use crate::infer::look::FIELD;

pub const UNDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Z);
/// Redoes, as does the undo key with Shift.
pub const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Y);

/// Radii of the brush, in pixels of the field.
pub const RADII: std::ops::RangeInclusive<f32> = 4.0..=40.0;
/// A stroke of MNIST's digits is about 2.5 of 28 pixels wide.
pub const RADIUS: f32 = 18.0;
/// Pixels by which an arrow key moves the pen.
const STEP: f32 = 8.0;

/// The pen, and the field's texture.
pub struct Canvas {
    pub tool: Tool,
    pub radius: f32,
    /// What the stroke being drawn does.
    stroke: Tool,
    /// Where the arrow keys have moved the pen, and whether it is down.
    keyboard: Option<([f32; 2], bool)>,
    shown: Option<std::sync::Arc<Vec<u8>>>,
    picture: Picture,
    focus_wanted: bool,
    /// Whether a menu was open when the frame began: a press on the field closes it, and draws nothing.
    pub is_below_menu: bool,
}

/// What a key asks for that the canvas does not do itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    Save,
    Recall,
}

impl Canvas {
    pub fn with_radius(radius: f32) -> Canvas {
        let (tool, picture) = (Tool::Brush, Picture::smooth());
        Canvas {
            tool,
            radius,
            stroke: tool,
            keyboard: None,
            shown: None,
            picture,
            focus_wanted: true,
            is_below_menu: false,
        }
    }

    /// Shows the field, `side` points wide and high.
    pub fn show(&mut self, ui: &mut egui::Ui, field: &mut Field, side: f32) -> egui::Response {
        let (rect, _) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
        let id = Id::unique("the field");
        let response = ui.interact(rect, id, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, "Field to draw on"));
        if std::mem::take(&mut self.focus_wanted) {
            response.request_focus();
        }
        self.pointer(ui, field, rect, &response);
        if response.has_focus() {
            // The key that has just given the field the focus was meant for another control.
            if !response.gained_focus() {
                self.arrows(ui, field);
            }
        } else if self.keyboard.take().is_some_and(|(_, down)| down) {
            field.lift();
        }
        // With the focus on the field, Tab keeps the drawing; after Escape, and where there is none, it moves between
        // controls.
        let tab = !field.is_blank();
        let filter = EventFilter { tab, horizontal_arrows: true, vertical_arrows: true, escape: false };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
        self.paint(ui, field, rect, &response);
        response
    }

    /// Follows every movement since the last frame, not only the newest, so that quick strokes stay round.
    fn pointer(&mut self, ui: &egui::Ui, field: &mut Field, rect: Rect, response: &egui::Response) {
        let scale = FIELD as f32 / rect.width();
        let place = |at: Pos2| [(at.x - rect.min.x) * scale, (at.y - rect.min.y) * scale];
        // Each press is taken by its place: in a frame in which a stroke ends and another begins, the response is neither
        // pressed nor hovered.
        let is_on_field =
            |at: Pos2| response.interact_rect.contains(at) && ui.ctx().layer_id_at(at) == Some(response.layer_id);
        // A stroke that is lifted within this frame is drawn to its end first.
        let mut down = field.is_drawing() && self.keyboard.is_none();
        let events = ui.input(|input| input.events.clone());
        for event in events {
            match event {
                Event::PointerButton { pos, button, pressed: true, .. } if is_on_field(pos) => {
                    if self.is_below_menu {
                        // By itself it is closed by a click alone, and not by a stroke.
                        egui::Popup::close_all(ui.ctx());
                        continue;
                    }
                    // Pressed and released within one frame, the button is not down on the field any more.
                    response.request_focus();
                    if self.keyboard.take().is_some_and(|(_, down)| down) {
                        // The stroke drawn with the keys ends here, so that no line leads from it to the pointer.
                        field.lift();
                    }
                    down = true;
                    self.stroke = if button == PointerButton::Secondary { Tool::Eraser } else { self.tool };
                    field.draw(place(pos), self.radius, self.stroke);
                }
                Event::PointerMoved(pos) if down && field.is_drawing() => {
                    field.draw(place(pos), self.radius, self.stroke)
                }
                Event::PointerButton { pressed: false, .. } | Event::PointerGone if self.keyboard.is_none() => {
                    field.lift();
                    down = false;
                }
                _ => {}
            }
        }
        if self.keyboard.is_none() && field.is_drawing() && !ui.input(|input| input.pointer.any_down()) {
            field.lift();
        }
    }

    /// Arrow keys move the pen, Space puts it down and lifts it.
    fn arrows(&mut self, ui: &egui::Ui, field: &mut Field) {
        let pressed = |key| ui.input_mut(|input| input.count_and_consume_key(Modifiers::NONE, key)) as f32;
        let right = pressed(Key::ArrowRight) - pressed(Key::ArrowLeft);
        let below = pressed(Key::ArrowDown) - pressed(Key::ArrowUp);
        // A key that is held down repeats its press.
        let anew = |event: &&Event| matches!(event, Event::Key { key: Key::Space, pressed: true, repeat: false, .. });
        let presses = ui.input(|input| input.events.iter().filter(anew).count());
        let toggles = pressed(Key::Space) > 0.0 && presses % 2 == 1;
        if right == 0.0 && below == 0.0 && !toggles {
            return;
        }
        let ([x, y], down) = self.keyboard.unwrap_or(([FIELD as f32 / 2.0; 2], false));
        let within = |at: f32| at.clamp(0.0, FIELD as f32);
        let (at, now_down) = ([within(x + right * STEP), within(y + below * STEP)], down != toggles);
        if down || now_down {
            field.draw(at, self.radius, self.tool);
        }
        if !now_down {
            field.lift();
        }
        self.keyboard = Some((at, now_down));
    }

    /// The keys of the original, and those common to drawing programs. None of them counts while text is typed. `shown`
    /// is what [`Canvas::show`] has returned.
    pub fn keys(&mut self, ui: &egui::Ui, field: &mut Field, shown: &egui::Response) -> Option<Ask> {
        let is_focused = shown.has_focus();
        if !is_focused && ui.ctx().egui_wants_keyboard_input() {
            return None;
        }
        let consume = |modifiers, key| ui.input_mut(|input| input.consume_key(modifiers, key));
        if consume(Modifiers::NONE, Key::Num2) {
            self.tool = if self.tool == Tool::Brush { Tool::Eraser } else { Tool::Brush };
        }
        for key in [Key::CapsLock, Key::Delete, Key::Backspace] {
            if consume(Modifiers::NONE, key) {
                field.clear();
            }
        }
        if consume(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z) || consume(REDO.modifiers, REDO.logical_key) {
            field.redo();
        }
        if consume(UNDO.modifiers, UNDO.logical_key) {
            field.undo();
        }
        let wider =
            consume(Modifiers::NONE, Key::CloseBracket) as i32 - consume(Modifiers::NONE, Key::OpenBracket) as i32;
        self.radius = (self.radius + 2.0 * wider as f32).clamp(*RADII.start(), *RADII.end());
        // A Tab that has just moved the focus here has done its work.
        let is_to_keep = is_focused && !shown.gained_focus() && !field.is_blank();
        if is_to_keep && consume(Modifiers::NONE, Key::Tab) {
            return Some(Ask::Save);
        }
        consume(Modifiers::NONE, Key::Num1).then_some(Ask::Recall)
    }

    fn paint(&mut self, ui: &egui::Ui, field: &Field, rect: Rect, response: &egui::Response) {
        if !self.shown.as_ref().is_some_and(|shown| std::sync::Arc::ptr_eq(shown, field.pixels())) {
            let image = ColorImage::from_gray([FIELD, FIELD], field.pixels());
            self.picture.set(ui.ctx(), "field", image);
            self.shown = Some(std::sync::Arc::clone(field.pixels()));
        }
        let painter = ui.painter_at(rect.expand(2.0));
        self.picture.paint(&painter, rect);
        let frame = if response.has_focus() { ui.visuals().selection.stroke } else { ui.visuals().window_stroke };
        painter.rect_stroke(rect, 0.0, frame, egui::StrokeKind::Outside);
        let scale = rect.width() / FIELD as f32;
        let pen = match self.keyboard {
            Some(([x, y], _)) => Some(rect.min + vec2(x, y) * scale),
            None => response.hover_pos(),
        };
        if let Some(pen) = pen {
            let colour = if self.tool == Tool::Eraser { super::paint::BELOW } else { super::paint::ABOVE };
            painter.with_clip_rect(rect).circle_stroke(pen, self.radius * scale, Stroke::new(1.5, colour));
            if response.hovered() {
                ui.ctx().set_cursor_icon(egui::CursorIcon::Crosshair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame that shows nothing but the field; returns where that is.
    fn frame(ctx: &egui::Context, canvas: &mut Canvas, field: &mut Field, events: Vec<Event>) -> Rect {
        let mut rect = Rect::NOTHING;
        let output = ctx.run_ui(egui::RawInput { events, ..egui::RawInput::default() }, |ui| {
            rect = canvas.show(ui, field, 100.0).rect;
        });
        output.drop_without_applying_deltas();
        rect
    }

    #[test]
    fn a_stroke_that_begins_in_the_frame_in_which_another_ends_is_drawn_from_its_beginning() {
        let ctx = egui::Context::default();
        let (mut canvas, mut field) = (Canvas::with_radius(RADIUS), Field::default());
        let rect = frame(&ctx, &mut canvas, &mut field, Vec::new());
        let at = |x: f32, y: f32| rect.min + vec2(x, y) * rect.width();
        let moved = |x, y| Event::PointerMoved(at(x, y));
        let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
        let pen = |x, y, pressed| Event::PointerButton { pos: at(x, y), button, pressed, modifiers };
        frame(&ctx, &mut canvas, &mut field, vec![moved(0.2, 0.2), pen(0.2, 0.2, true), moved(0.2, 0.8)]);
        let lifted_and_put_down = vec![pen(0.2, 0.8, false), moved(0.8, 0.2), pen(0.8, 0.2, true), moved(0.8, 0.8)];
        frame(&ctx, &mut canvas, &mut field, lifted_and_put_down);
        frame(&ctx, &mut canvas, &mut field, vec![pen(0.8, 0.8, false)]);
        let pixel = |share: f32| (share * FIELD as f32) as usize;
        let ink = |x: f32, y: f32| field.pixels()[pixel(y) * FIELD + pixel(x)];
        let first = [ink(0.2, 0.2), ink(0.2, 0.5), ink(0.2, 0.8)];
        let second = [ink(0.8, 0.2), ink(0.8, 0.5), ink(0.8, 0.8)];
        assert_eq!((first, second, ink(0.5, 0.5)), ([255; 3], [255; 3], 0));
    }

    #[test]
    fn the_key_that_brings_the_field_into_view_does_not_put_the_pen_down() {
        let ctx = egui::Context::default();
        let (mut canvas, mut field) = (Canvas::with_radius(RADIUS), Field::default());
        let mut press_space = || {
            let (key, modifiers) = (Key::Space, Modifiers::NONE);
            let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers };
            frame(&ctx, &mut canvas, &mut field, vec![event(true), event(false)]);
            field.is_blank()
        };
        assert!(press_space(), "it was meant for the button that shows the field");
        assert!(!press_space());
    }
}
