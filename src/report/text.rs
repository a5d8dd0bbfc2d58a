//! Draws labels with the font in `assets/`, or where it lacks a character with the system's, and cuts text to the
//! available width.
//!
//! Sizes are the font's em in pixels; positions give the middle of the digits, so that
//! labels line up with what they label.

use std::borrow::Cow;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, PxScaleFont, ScaleFont, point};
use unicode_bidi::{BidiInfo, Level};

use crate::fonts;
use crate::report::canvas::{Canvas, Mask};
use crate::report::palette::Rgb;

static FONT: LazyLock<Option<FontRef<'static>>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/DejaVuSans-subset.ttf"))).ok()
});

/// Height of a digit as a share of the em, in this font.
const DIGIT: f32 = 0.729;
/// Stands for characters that no font has.
const UNKNOWN: char = '\u{25a1}';
/// Room left and right of the text in its mask, for strokes that reach past their advance.
const SIDE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Start,
    Middle,
    End,
}

/// How a label is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub size: f32,
    pub colour: Rgb,
    pub align: Align,
}

pub(crate) fn label(size: f32, colour: Rgb, align: Align) -> Label {
    Label { size, colour, align }
}

/// A face that stays loaded: the own font's, or one of the system's.
type Face = &'static FontRef<'static>;

/// A character's glyph in the face that draws it, at a size.
struct Glyph {
    id: GlyphId,
    font: PxScaleFont<Face>,
}

impl Glyph {
    fn advance(&self) -> f32 {
        self.font.h_advance(self.id)
    }
}

fn scaled(face: Face, size: f32) -> Option<PxScaleFont<Face>> {
    let em = face.units_per_em()?;
    Some(face.as_scaled(PxScale::from(size * face.height_unscaled() / em)))
}

fn glyph(c: char, size: f32) -> Option<Glyph> {
    let own = FONT.as_ref()?;
    let (face, c) = match c {
        _ if own.glyph_id(c) != GlyphId(0) => (own, c),
        _ => fonts::with_character(c).map_or((own, UNKNOWN), |font| (&font.face, c)),
    };
    Some(Glyph { id: face.glyph_id(c), font: scaled(face, size)? })
}

fn advance(c: char, size: f32) -> f32 {
    glyph(c, size).map_or(0.0, |glyph| glyph.advance())
}

/// Width of one line of text in pixels.
pub(crate) fn width(text: &str, size: f32) -> f32 {
    text.chars().map(|c| advance(c, size)).sum()
}

/// A name on one line like [`fit`], but cut in the middle: names that begin alike often end differently.
pub(crate) fn fit_name(name: &str, size: f32, room: f32) -> String {
    let advance = |c| advance(c, size);
    let name: Vec<char> = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = |part: &[char]| part.iter().collect::<String>();
    if name.iter().copied().map(advance).sum::<f32>() <= room {
        return text(&name);
    }
    let (mut start, mut end, mut used) = (0, name.len(), advance('…'));
    while start < end {
        // From both ends in turn.
        let at_start = start <= name.len() - end;
        used += advance(name[if at_start { start } else { end - 1 }]);
        if used > room {
            break;
        }
        if at_start { start += 1 } else { end -= 1 }
    }
    format!("{}…{}", text(&name[..start]).trim_end(), text(&name[end..]).trim_start())
}

/// `text` on one line: control characters become spaces, and what does not fit into
/// `room` pixels is cut and marked with an ellipsis.
pub(crate) fn fit(text: &str, size: f32, room: f32) -> String {
    let advance = |c| advance(c, size);
    let ellipsis = advance('…');
    let (mut kept, mut used, mut cut) = (String::new(), 0.0, 0);
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if used + ellipsis <= room {
            cut = kept.len();
        }
        used += advance(c);
        if used > room {
            kept.truncate(cut);
            kept.truncate(kept.trim_end().len());
            kept.push('…');
            return kept;
        }
        kept.push(c);
    }
    kept
}

/// Characters from left to right, as Hebrew and Arabic are not written. The latter's letters are not joined. What stands left
/// and right of an arrow stays there.
fn from_left_to_right(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let reordered = |part: &str| {
        let directions = BidiInfo::new(part, Some(Level::ltr()));
        let mut line = String::new();
        for paragraph in &directions.paragraphs {
            let (levels, runs) = directions.visual_runs(paragraph, paragraph.range.clone());
            for run in runs {
                match levels[run.start].is_rtl() {
                    true => line.extend(part[run].chars().rev().map(turned_round)),
                    false => line.push_str(&part[run]),
                }
            }
        }
        line
    };
    text.split('→').map(reordered).collect::<Vec<_>>().join("→").into()
}

/// The bracket that faces the other way, or the character itself: what opens a bracket, read from right to left, closes it.
fn turned_round(c: char) -> char {
    const PAIRS: [(char, char); 6] = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>'), ('«', '»'), ('‹', '›')];
    let other = |(open, close): (char, char)| match c {
        _ if c == open => Some(close),
        _ if c == close => Some(open),
        _ => None,
    };
    PAIRS.into_iter().find_map(other).unwrap_or(c)
}

fn mask(text: &str, size: f32) -> Option<(Mask, i64)> {
    let own = scaled(FONT.as_ref()?, size)?;
    let ascent = own.ascent().ceil();
    let height = (ascent - own.descent()).ceil() as usize;
    let mut mask = Mask::new(width(text, size).ceil() as usize + 2 * SIDE, height);
    let mut x = SIDE as f32;
    for c in from_left_to_right(text).chars() {
        let Glyph { id, font } = glyph(c, size)?;
        let placed = id.with_scale_and_position(font.scale(), point(x, ascent));
        x += font.h_advance(id);
        if let Some(outline) = font.outline_glyph(placed) {
            let bounds = outline.px_bounds();
            outline.draw(|px, py, cover| {
                let at = |start: f32, offset: u32| start as i64 + i64::from(offset);
                mask.raise(at(bounds.min.x, px), at(bounds.min.y, py), cover);
            });
        }
    }
    let middle = ascent - (size * DIGIT / 2.0);
    Some((mask, middle.round() as i64))
}

/// Writes one line whose digits are centred on `y`, aligned at `x`.
pub(crate) fn write(canvas: &mut Canvas, (x, y): (i64, i64), text: &str, label: Label) {
    if let Some((mask, middle)) = mask(text, label.size) {
        let x = x - shift(label.align, mask.width());
        canvas.stamp(&mask, x, y - middle, label.colour, 1.0);
    }
}

/// Writes one line that reads upwards, its digits centred on `x`; aligned along `y`, where
/// `Align::Start` puts the first letter at `y` and `Align::End` the last.
pub(crate) fn write_upwards(canvas: &mut Canvas, (x, y): (i64, i64), text: &str, label: Label) {
    if let Some((mask, middle)) = mask(text, label.size) {
        let turned = mask.turned();
        let length = turned.height() as i64;
        let y = y - length + shift(label.align, turned.height());
        canvas.stamp(&turned, x - middle, y, label.colour, 1.0);
    }
}

fn shift(align: Align, length: usize) -> i64 {
    match align {
        Align::Start => SIDE as i64,
        Align::Middle => length as i64 / 2,
        Align::End => (length - SIDE.min(length)) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::palette::{INK, PAPER};
    use proptest::prelude::*;

    fn inked(text: &str, align: Align, upwards: bool) -> (u32, u32, u32, u32) {
        let mut canvas = Canvas::new("test", 200, 200).unwrap();
        let label = Label { size: 20.0, colour: INK, align };
        if upwards {
            write_upwards(&mut canvas, (100, 100), text, label);
        } else {
            write(&mut canvas, (100, 100), text, label);
        }
        let image = canvas.into_image();
        let mut found = (u32::MAX, u32::MAX, 0, 0);
        for (x, y, pixel) in image.enumerate_pixels() {
            if pixel.0 != PAPER {
                found = (found.0.min(x), found.1.min(y), found.2.max(x), found.3.max(y));
            }
        }
        found
    }

    #[test]
    fn digits_are_centred_on_the_line_they_are_given() {
        let (left, top, right, bottom) = inked("8008", Align::Middle, false);
        assert!((left + right).abs_diff(200) <= 2, "{left} {right}");
        assert!((top + bottom).abs_diff(200) <= 2, "{top} {bottom}");
        assert!((13..=17).contains(&(bottom - top)));
    }

    #[test]
    fn aligned_text_starts_or_ends_at_its_place() {
        assert!(inked("8008", Align::Start, false).0.abs_diff(100) <= 2);
        assert!(inked("8008", Align::End, false).2.abs_diff(100) <= 2);
        assert!(inked("8008", Align::Start, true).3.abs_diff(100) <= 2);
        assert!(inked("8008", Align::End, true).1.abs_diff(100) <= 2);
    }

    #[test]
    fn text_that_reads_upwards_is_centred_too() {
        let (left, top, right, bottom) = inked("8008", Align::Middle, true);
        assert!((left + right).abs_diff(200) <= 2, "{left} {right}");
        assert!((top + bottom).abs_diff(200) <= 2, "{top} {bottom}");
    }

    #[test]
    fn short_text_is_kept_and_long_text_ends_in_an_ellipsis() {
        assert_eq!(fit("shirt\n", 16.0, 100.0), "shirt");
        assert_eq!(fit("a\tb", 16.0, 100.0), "a b");
        let cut = fit("a very long class name", 16.0, 100.0);
        assert!(cut.starts_with("a very") && cut.ends_with('…'), "{cut}");
    }

    #[test]
    fn a_long_name_keeps_its_start_and_its_end() {
        assert_eq!(fit_name("shirt\n", 16.0, 100.0), "shirt");
        let cut = [1, 2].map(|i| fit_name(&format!("a really rather long class {i}"), 16.0, 150.0));
        assert!(cut[0].starts_with("a really") && cut[0].ends_with("class 1") && cut[0].contains('…'), "{cut:?}");
        assert!(cut[1].ends_with("class 2"), "{cut:?}");
    }

    #[test]
    fn characters_that_no_font_has_are_seen_and_take_their_room() {
        // The last of those that mean nothing.
        let (unknown, text) = (UNKNOWN.to_string(), "\u{10fffd}");
        assert_eq!(inked(text, Align::Middle, false), inked(&unknown, Align::Middle, false));
        assert_eq!(width(text, 16.0), width(&unknown, 16.0));
        assert!(inked(&unknown, Align::Middle, false).0 < 100, "there is something to see");
    }

    #[test]
    fn hebrew_is_drawn_from_right_to_left_also_within_other_text() {
        assert_eq!(from_left_to_right("שלום"), "םולש");
        assert_eq!(from_left_to_right("a שלום b"), "a םולש b");
        assert_eq!(from_left_to_right("שלום → עולם"), "םולש → םלוע");
        assert_eq!(from_left_to_right("שלום → a"), "םולש → a");
        assert_eq!(from_left_to_right("שלום (עולם)"), "(םלוע) םולש");
        assert_eq!(from_left_to_right("a (שלום) [b]"), "a (םולש) [b]");
        assert_eq!(from_left_to_right("chemise à fleurs"), "chemise à fleurs");
    }

    #[test]
    fn characters_that_the_own_font_lacks_are_drawn_with_the_systems() {
        for text in ["数", "あ", "한", "ก"] {
            let c = text.chars().next().unwrap();
            assert_eq!(FONT.as_ref().unwrap().glyph_id(c), GlyphId(0), "{text} needs no other font");
            if fonts::with_character(c).is_none() {
                eprintln!("SKIPPED: the system has no font with {text}");
                continue;
            }
            let unknown = UNKNOWN.to_string();
            assert_ne!(inked(text, Align::Middle, false), inked(&unknown, Align::Middle, false), "{text}");
            let (left, _, right, _) = inked(text, Align::Middle, false);
            assert!(right - left < width(text, 20.0) as u32 + 2, "{text}: {left} to {right}");
            assert_eq!(fit(&text.repeat(2), 16.0, 2.0 * width(text, 16.0)), text.repeat(2));
            assert!(fit(&text.repeat(8), 16.0, 60.0).ends_with('…'), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_fits_the_room_it_is_cut_to(text in any::<String>(), room in 20.0f32..300.0) {
            let kept = fit(&text, 16.0, room);
            prop_assert!(width(&kept, 16.0) <= room + 0.01);
            prop_assert!(mask(&kept, 16.0).is_some());
            prop_assert!(width(&fit_name(&text, 16.0, room), 16.0) <= room + 0.01);
        }
    }
}
