//! Characters that the window's own fonts lack, drawn with the system's.

use std::iter;
use std::sync::{Arc, mpsc};
use std::thread;

use eframe::egui::epaint::text::VariationCoords;
use eframe::egui::{
    Context, FallbackRequest, FontData, FontFamily, FontInsert, FontPriority, FontProvider, FontTweak, InsertFontFamily,
};

use crate::fonts::{self, SystemFont};

/// Has a window look for characters among the system's fonts, on a thread of its own: that takes longer than a frame. They
/// are boxes until then, as they stay where no font has them.
pub fn fall_back(ctx: &Context) {
    let (want, wanted) = mpsc::channel();
    let provider: Arc<dyn FontProvider> = Arc::new(move |request: &FallbackRequest<'_>| {
        let c = request.cluster.chars().next()?;
        let Some(font) = fonts::known(c) else {
            // Without the thread there is nobody to ask.
            let _ = want.send(c);
            return None;
        };
        font.map(|font| insert(font, request.family))
    });
    ctx.add_font_provider(provider.clone());
    let ctx = ctx.clone();
    // Where no thread can be had, boxes are all that is lost.
    let _ = thread::Builder::new().name("fonts".into()).spawn(move || {
        while let Ok(first) = wanted.recv() {
            for c in iter::once(first).chain(wanted.try_iter()) {
                fonts::with_character(c);
            }
            // Set anew, it is asked again for what it did not know.
            ctx.set_font_providers(vec![provider.clone()]);
        }
    });
}

fn insert(font: &SystemFont, family: &FontFamily) -> FontInsert {
    let source = &font.source;
    let axes = source.synthesis.variation_settings().iter().map(|(axis, value)| (axis.to_be_bytes(), *value));
    let tweak = FontTweak { coords: VariationCoords::new(axes), ..FontTweak::default() };
    let (file, id) = source.blob.clone().into_raw_parts();
    let data = FontData::from_blob(file, source.index).tweak(tweak);
    let family = InsertFontFamily { family: family.clone(), priority: FontPriority::Lowest };
    FontInsert::new(&format!("system {id} {}", source.index), data, vec![family])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use eframe::egui::{FontId, RawInput};

    use super::*;

    /// Whether a window draws a character once it had the time to look for it.
    fn comes_to_draw(ctx: &Context, c: char, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            let mut drawn = false;
            let _ = ctx.run_ui(RawInput::default(), |ui| {
                drawn = ui.fonts_mut(|fonts| fonts.has_glyph(&FontId::proportional(14.0), c));
            });
            if drawn || began.elapsed() > patience {
                return drawn;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_window_looks_for_characters_that_its_own_fonts_lack_and_draws_those_that_the_system_has() {
        let ctx = Context::default();
        fall_back(&ctx);
        // Of a script that no other test writes in: nothing has looked for it.
        let c = 'ክ';
        assert!(fonts::known(c).is_none());
        let _ = comes_to_draw(&ctx, c, Duration::ZERO);
        let began = Instant::now();
        while fonts::known(c).is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody looked for it");
            thread::sleep(Duration::from_millis(10));
        }
        if fonts::known(c).flatten().is_none() {
            eprintln!("SKIPPED: the system has no font with {c}");
            return;
        }
        assert!(comes_to_draw(&ctx, c, Duration::from_secs(60)));
    }

    #[test]
    fn a_window_draws_a_systems_font_from_its_file_without_a_copy() {
        let Some(font) = ['数', 'あ', 'A'].into_iter().find_map(fonts::with_character) else {
            eprintln!("SKIPPED: the system has no fonts");
            return;
        };
        let inserted = insert(font, &FontFamily::Proportional);
        assert!(std::ptr::eq(inserted.data.bytes(), font.source.blob.as_ref()));
        assert_eq!(inserted.data.index, font.source.index);
    }
}
