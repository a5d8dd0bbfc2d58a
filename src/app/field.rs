//! The field that the user draws on: light ink on black, a brush, an eraser, and an undo history.

use std::sync::Arc;

use image::{DynamicImage, GrayImage};

use crate::infer::look::FIELD;
use crate::pictures::prepare::{Invert, Mode, Preparation, prepare};
use crate::pictures::{fit, gray, is_prepared};

/// How many strokes can be undone.
const HISTORY: usize = 100;
/// And of how many of the newest the picture is kept: one may take 30 MB.
const PICTURES: usize = 8;

/// What a stroke does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tool {
    #[default]
    Brush,
    Eraser,
}

/// What is on the field.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// `FIELD` x `FIELD` bytes, 0 black, 255 ink.
    pixels: Arc<Vec<u8>>,
    /// Whether these began as a light picture: strokes on it are dark.
    is_light: bool,
    /// The picture that these show, until something is drawn on it.
    picture: Option<Shown>,
}

/// A picture that is shown.
#[derive(Clone, Debug)]
struct Shown {
    /// Networks read the picture itself, as `classify` does.
    picture: Arc<DynamicImage>,
    /// Its own pixels, only brought to the field's size: what networks see that take pictures as they are.
    plain: Arc<Vec<u8>>,
    has_ink: bool,
}

impl Drawing {
    /// `FIELD` x `FIELD` bytes, 0 black, 255 ink.
    pub fn of_pixels(pixels: Vec<u8>) -> Drawing {
        Drawing::on(Arc::new(pixels))
    }

    /// What is drawn on these pixels.
    fn on(pixels: Arc<Vec<u8>>) -> Drawing {
        Drawing { is_light: is_light(&pixels), pixels, picture: None }
    }

    fn blank() -> Drawing {
        Drawing::of_pixels(vec![0; FIELD * FIELD])
    }

    /// The ink of a picture, as large as fits, with its aspect ratio kept; the picture as it is, if there is no ink.
    pub fn of(picture: DynamicImage) -> Drawing {
        let plain = Arc::new(fit(&picture, [FIELD, FIELD, 1]));
        let ink = ink(&picture);
        let has_ink = ink.is_some();
        let pixels = ink.map_or_else(|| Arc::clone(&plain), Arc::new);
        let shown = Shown { picture: Arc::new(picture), plain, has_ink };
        Drawing { picture: Some(shown), ..Drawing::on(pixels) }
    }

    /// The picture that it is; `None` for what was drawn.
    pub fn picture(&self) -> Option<&Arc<DynamicImage>> {
        self.picture.as_ref().map(|shown| &shown.picture)
    }

    /// What the field shows; `plainly`, if pictures are shown as they are.
    fn shown(&self, plainly: bool) -> &Arc<Vec<u8>> {
        self.picture.as_ref().filter(|_| plainly).map_or(&self.pixels, |shown| &shown.plain)
    }

    /// What is shown, with no picture behind it.
    fn without_picture(&self, plainly: bool) -> Drawing {
        match self.picture {
            Some(_) => Drawing::on(Arc::clone(self.shown(plainly))),
            None => self.clone(),
        }
    }

    /// What a stroke begins on. To networks that look for ink a picture without any is nothing, as the black field is.
    fn ground(&self, plainly: bool) -> Drawing {
        match &self.picture {
            Some(shown) if !plainly && !shown.has_ink => Drawing::blank(),
            _ => self.without_picture(plainly),
        }
    }

    pub fn image(&self) -> GrayImage {
        let side = FIELD as u32;
        GrayImage::from_raw(side, side, self.pixels.to_vec()).unwrap_or_else(|| GrayImage::new(side, side))
    }
}

/// Whether pixels are light on the whole, as paper is.
fn is_light(pixels: &[u8]) -> bool {
    pixels.iter().map(|pixel| usize::from(*pixel)).sum::<usize>() > 127 * pixels.len()
}

/// Whether nothing is drawn.
pub fn is_black(pixels: &[u8]) -> bool {
    // Row by row: a loop that may end at any pixel is slow, and this is asked several times in each frame.
    pixels.chunks(FIELD).all(|row| row.iter().fold(0, |all, pixel| all | pixel) == 0)
}

/// The ink of a picture as a field's pixels, if any is found. Those of a square one with a dark border are only scaled;
/// otherwise paper, light or not, becomes the black that is added beside the picture, and ink becomes light.
fn ink(picture: &DynamicImage) -> Option<Vec<u8>> {
    let gray = gray(picture);
    let [height, width] = [gray.height() as usize, gray.width() as usize];
    let is_as_drawn = height == width && is_prepared(gray.as_raw(), [height, width]);
    // What the network will see of it is decided later, as for a drawing.
    let whole = Preparation {
        mode: Mode::Always,
        invert: if is_as_drawn { Invert::Never } else { Invert::Auto },
        contrast: !is_as_drawn,
        thicken: false,
        crop: false,
        margin: false,
        center: false,
    };
    let found = prepare(picture, [FIELD, FIELD, 1], &whole);
    (!found.blank).then_some(found.pixels)
}

/// The drawing, and those before it. Positions are in pixels, from the upper left corner.
#[derive(Clone, Debug)]
pub struct Field {
    drawing: Drawing,
    /// Whether pictures are shown as they are.
    plainly: bool,
    before: Vec<Drawing>,
    undone: Vec<Drawing>,
    /// Where the pen is while it is down.
    pen: Option<[f32; 2]>,
    by_pen: bool,
}

impl Default for Field {
    fn default() -> Field {
        let drawing = Drawing::blank();
        Field { drawing, plainly: false, before: Vec::new(), undone: Vec::new(), pen: None, by_pen: false }
    }
}

impl Field {
    /// What is shown.
    pub fn pixels(&self) -> &Arc<Vec<u8>> {
        self.drawing.shown(self.plainly)
    }

    /// Shows pictures as they are, for networks that take them so, or else as ink on black.
    pub fn show_plainly(&mut self, plainly: bool) {
        self.plainly = plainly;
    }

    pub fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    /// The picture that the field shows; `None` for a drawing, and for a picture that was drawn on.
    pub fn picture(&self) -> Option<&Arc<DynamicImage>> {
        self.drawing.picture()
    }

    /// Whether there is neither ink nor a picture.
    pub fn is_blank(&self) -> bool {
        self.picture().is_none() && is_black(self.pixels())
    }

    /// Whether what is drawn lies on black.
    pub fn is_on_black(&self) -> bool {
        self.picture().is_none() && !self.drawing.is_light
    }

    /// Whether the pen is down.
    pub fn is_drawing(&self) -> bool {
        self.pen.is_some()
    }

    /// Whether the pen made the last change.
    pub fn is_by_pen(&self) -> bool {
        self.by_pen
    }

    /// Puts the pen down at `to`: the first call begins a stroke, later ones continue it. `radius` is in pixels.
    pub fn draw(&mut self, to: [f32; 2], radius: f32, tool: Tool) {
        let from = match self.pen {
            Some(from) => from,
            None => {
                self.remember();
                self.drawing = self.drawing.ground(self.plainly);
                to
            }
        };
        (self.pen, self.by_pen) = (Some(to), true);
        self.segment(from, to, radius, tool);
    }

    /// Lifts the pen.
    pub fn lift(&mut self) {
        self.pen = None;
    }

    /// Covers all pixels within `radius` of the segment; the edge is one pixel wide, so that it is smooth.
    fn segment(&mut self, from: [f32; 2], to: [f32; 2], radius: f32, tool: Tool) {
        // On light pictures ink is dark, and what the eraser leaves is light.
        let is_dark = (tool == Tool::Eraser) != self.drawing.is_light;
        let pixels = Arc::make_mut(&mut self.drawing.pixels);
        // The brush leaves a faint edge one pixel wide, which the same stroke of the eraser should remove too.
        let radius = if tool == Tool::Eraser { radius + 1.5 } else { radius };
        let reach = radius + 1.0;
        let range = |axis: usize| {
            let (low, high) = (from[axis].min(to[axis]) - reach, from[axis].max(to[axis]) + reach);
            // `as` clamps values outside its range.
            (low.floor() as usize).min(FIELD)..(high.ceil().max(0.0) as usize).min(FIELD)
        };
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        for y in range(1) {
            for x in range(0) {
                let off = [x as f32 + 0.5 - from[0], y as f32 + 0.5 - from[1]];
                let at = if length > 0.0 { (off[0] * along[0] + off[1] * along[1]) / length } else { 0.0 };
                let at = at.clamp(0.0, 1.0);
                let distance = (off[0] - at * along[0]).hypot(off[1] - at * along[1]);
                let cover = ((radius - distance + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
                let pixel = &mut pixels[y * FIELD + x];
                *pixel = if is_dark { (*pixel).min(255 - cover) } else { (*pixel).max(cover) };
            }
        }
    }

    pub fn clear(&mut self) {
        if !self.is_blank() {
            self.show(Drawing::blank());
        }
    }

    /// Replaces the drawing with another, which can be undone.
    pub fn show(&mut self, drawing: Drawing) {
        self.lift();
        self.by_pen = false;
        self.remember();
        self.drawing = drawing;
    }

    fn remember(&mut self) {
        if self.before.len() == HISTORY {
            self.before.remove(0);
        }
        self.before.push(self.drawing.clone());
        if let Some(old) = self.before.len().checked_sub(PICTURES + 1) {
            self.before[old] = self.before[old].without_picture(self.plainly);
        }
        self.undone.clear();
    }

    pub fn can_undo(&self) -> bool {
        !self.before.is_empty()
    }
    pub fn can_redo(&self) -> bool {
        !self.undone.is_empty()
    }

    pub fn undo(&mut self) {
        self.lift();
        self.by_pen = false;
        if let Some(before) = self.before.pop() {
            self.undone.push(std::mem::replace(&mut self.drawing, before));
        }
    }

    pub fn redo(&mut self) {
        self.lift();
        self.by_pen = false;
        if let Some(undone) = self.undone.pop() {
            self.before.push(std::mem::replace(&mut self.drawing, undone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(field: &Field, x: usize, y: usize) -> u8 {
        field.pixels()[y * FIELD + x]
    }

    #[test]
    fn a_stroke_is_inked_along_its_whole_length_with_a_smooth_edge() {
        let mut field = Field::default();
        field.draw([100.0, 200.0], 10.0, Tool::Brush);
        field.draw([300.0, 200.0], 10.0, Tool::Brush);
        assert!((100..300).all(|x| ink(&field, x, 200) == 255));
        assert_eq!((ink(&field, 200, 215), ink(&field, 95, 200), ink(&field, 80, 200)), (0, 255, 0));
        let edge = (185..195).filter(|y| (1..255).contains(&ink(&field, 200, *y))).count();
        assert!((0..3).contains(&edge), "{edge}");
        let slant = {
            let mut field = Field::default();
            field.draw([100.0, 100.0], 10.0, Tool::Brush);
            field.draw([200.0, 233.0], 10.0, Tool::Brush);
            field
        };
        assert!(slant.pixels().iter().any(|pixel| (1..255).contains(pixel)));
    }

    #[test]
    fn strokes_beyond_the_edge_and_numbers_that_are_none_do_no_harm() {
        let mut field = Field::default();
        for to in [[-1e9, -50.0], [1e9, 1e9], [f32::NAN, 3.0], [447.9, 447.9], [f32::INFINITY, 0.0]] {
            field.draw(to, 12.0, Tool::Brush);
        }
        field.lift();
        field.draw([-5.0, 100.0], 10.0, Tool::Brush);
        assert_eq!(ink(&field, 2, 100), 255);
    }

    #[test]
    fn the_eraser_takes_ink_away_and_undo_brings_it_back_stroke_by_stroke() {
        let mut field = Field::default();
        field.draw([224.0, 224.0], 20.0, Tool::Brush);
        field.lift();
        field.draw([224.0, 224.0], 30.0, Tool::Eraser);
        field.lift();
        assert!(field.is_blank());
        field.undo();
        assert_eq!(ink(&field, 224, 224), 255);
        field.undo();
        assert!(field.is_blank() && !field.can_undo());
        field.redo();
        assert_eq!(ink(&field, 224, 224), 255);
        field.clear();
        assert!(field.is_blank() && !field.can_redo());
        field.undo();
        assert_eq!(ink(&field, 224, 224), 255);
    }

    #[test]
    fn a_picture_of_dark_ink_on_paper_becomes_light_ink_on_black() {
        let mut picture = GrayImage::from_pixel(200, 100, image::Luma([240]));
        for y in 40..60 {
            for x in 20..180 {
                picture.put_pixel(x, y, image::Luma([10]));
            }
        }
        let mut field = Field::default();
        field.show(Drawing::of(DynamicImage::ImageLuma8(picture)));
        assert!(ink(&field, 224, 224) > 200, "ink");
        assert!(ink(&field, 224, 130) < 40 && ink(&field, 224, 20) == 0, "paper, and what the picture leaves free");
    }

    #[test]
    fn a_picture_without_ink_is_shown_as_it_is_until_the_field_is_cleared() {
        let mut field = Field::default();
        let grey = DynamicImage::from(GrayImage::from_pixel(60, 40, image::Luma([128])));
        field.show(Drawing::of(grey.clone()));
        assert_eq!(**field.pixels(), fit(&grey, [FIELD, FIELD, 1]));
        assert!(!field.is_blank());
        field.show(Drawing::of(GrayImage::new(60, 40).into()));
        assert!(!field.is_blank(), "a black picture is one too");
        field.clear();
        assert!(field.is_blank() && field.picture().is_none());
        field.undo();
        assert!(field.picture().is_some());
    }

    #[test]
    fn where_pictures_are_taken_as_they_are_the_field_shows_them_so_and_strokes_lie_on_them() {
        let mut picture = GrayImage::from_pixel(200, 100, image::Luma([240]));
        (20..180).for_each(|x| picture.put_pixel(x, 50, image::Luma([10])));
        let mut field = Field::default();
        field.show(Drawing::of(picture.clone().into()));
        assert_eq!(ink(&field, 400, 20), 0, "paper as black");
        field.show_plainly(true);
        let plain = fit(&picture.into(), [FIELD, FIELD, 1]);
        assert!(**field.pixels() == plain && plain[20 * FIELD + 400] > 200, "and as paper");
        field.draw([50.0, 50.0], 10.0, Tool::Brush);
        field.lift();
        assert_eq!([ink(&field, 50, 50), ink(&field, 400, 20)], [0, plain[20 * FIELD + 400]]);
        let drawn = field.pixels().clone();
        field.show_plainly(false);
        assert!(*field.pixels() == drawn, "what was drawn on stays as it is");
    }

    #[test]
    fn strokes_on_light_pictures_are_dark_and_what_is_erased_there_is_light() {
        let mut field = Field::default();
        field.show_plainly(true);
        assert!(field.is_on_black());
        field.show(Drawing::of(GrayImage::from_pixel(60, 60, image::Luma([240])).into()));
        let paper = ink(&field, 20, 20);
        assert!(paper > 200);
        for (tool, wanted) in [(Tool::Brush, 0), (Tool::Eraser, 255), (Tool::Brush, 0)] {
            field.draw([224.0, 224.0], 20.0, tool);
            field.lift();
            assert_eq!([ink(&field, 224, 224), ink(&field, 20, 20)], [wanted, paper]);
        }
        assert!(!field.is_on_black());
        field.clear();
        field.draw([224.0, 224.0], 20.0, Tool::Brush);
        assert_eq!(ink(&field, 224, 224), 255, "the field is black again");
    }

    #[test]
    fn a_black_field_stays_one_however_much_of_it_is_ink() {
        let mut field = Field::default();
        field.draw([224.0, 224.0], 300.0, Tool::Brush);
        field.lift();
        assert!(is_light(field.pixels()));
        field.draw([224.0, 224.0], 10.0, Tool::Brush);
        assert_eq!(ink(&field, 224, 224), 255);
    }

    #[test]
    fn where_ink_is_looked_for_a_stroke_on_a_picture_without_ink_begins_on_black() {
        let mut field = Field::default();
        field.show(Drawing::of(GrayImage::from_pixel(60, 60, image::Luma([255])).into()));
        assert!(ink(&field, 20, 20) > 250, "the sheet is shown as it is");
        field.draw([224.0, 224.0], 20.0, Tool::Brush);
        field.draw([300.0, 224.0], 20.0, Tool::Brush);
        field.lift();
        assert_eq!([ink(&field, 224, 224), ink(&field, 300, 224), ink(&field, 20, 20)], [255, 255, 0]);
        field.undo();
        assert!(field.picture().is_some());
    }

    /// A faint grey digit of the test set's kind, `side` pixels wide and high.
    fn faint(side: u32) -> DynamicImage {
        DynamicImage::ImageLuma8(GrayImage::from_fn(side, side, |x, y| {
            image::Luma([if x > side / 3 && x < side / 2 { (40 + x + 2 * y) as u8 } else { 3 }])
        }))
    }

    #[test]
    fn a_square_picture_on_black_keeps_its_grey_levels_pixel_by_pixel() {
        let picture = faint(28);
        let mut field = Field::default();
        field.show(Drawing::of(picture.clone()));
        let bytes = picture.to_luma8();
        let pixel = |x: usize, y: usize| bytes.get_pixel(x as u32 / 16, y as u32 / 16).0[0];
        assert!((0..FIELD * FIELD).all(|i| field.pixels()[i] == pixel(i % FIELD, i / FIELD)));
    }

    #[test]
    fn a_field_shows_a_picture_until_something_is_drawn_on_it_and_again_once_that_is_undone() {
        let mut field = Field::default();
        // The pen is down as it comes: what the pen does next is another stroke.
        field.draw([400.0, 400.0], 8.0, Tool::Brush);
        field.show(Drawing::of(faint(30)));
        assert_eq!(field.picture().map(|picture| picture.width()), Some(30));
        field.draw([10.0, 10.0], 8.0, Tool::Brush);
        field.lift();
        assert!(field.picture().is_none());
        field.undo();
        assert!(field.picture().is_some());
        field.redo();
        assert!(field.picture().is_none());
        field.undo();
        field.clear();
        assert!(field.picture().is_none());
        // Pictures long gone do not fill the memory.
        (0..20).for_each(|_| field.show(Drawing::of(faint(30))));
        assert_eq!(field.before.iter().filter(|drawing| drawing.picture.is_some()).count(), PICTURES);
    }

    #[test]
    fn a_picture_that_is_forgotten_is_saved_as_it_was_shown() {
        let mut picture = GrayImage::from_pixel(200, 100, image::Luma([240]));
        (20..180).for_each(|x| picture.put_pixel(x, 50, image::Luma([10])));
        let mut field = Field::default();
        field.show_plainly(true);
        field.show(Drawing::of(picture.into()));
        let shown = Arc::clone(field.pixels());
        (0..=PICTURES).for_each(|_| field.show(Drawing::blank()));
        (0..=PICTURES).for_each(|_| field.undo());
        assert!(field.picture().is_none() && *field.pixels() == shown);
        assert!(*field.drawing().image().as_raw() == *shown);
    }
}
