//! Light and dark.

use eframe::egui::{Color32, Context, Theme as Shade, ThemePreference};

use super::Theme;

/// A grey that is legible on each theme's background and weaker than its text: the toolkit's has a contrast below 3.
const WEAK: [(Shade, u8); 2] = [(Shade::Dark, 132), (Shade::Light, 110)];

pub fn name(theme: Theme) -> &'static str {
    match theme {
        Theme::System => "System",
        Theme::Light => "Light",
        Theme::Dark => "Dark",
    }
}

pub fn apply(ctx: &Context, theme: Theme) {
    for (shade, grey) in WEAK {
        ctx.style_mut_of(shade, |style| style.visuals.weak_text_color = Some(Color32::from_gray(grey)));
    }
    ctx.set_theme(match theme {
        Theme::System => ThemePreference::System,
        Theme::Light => ThemePreference::Light,
        Theme::Dark => ThemePreference::Dark,
    });
}

#[cfg(test)]
mod tests {
    use eframe::egui::Rgba;

    use super::*;

    #[test]
    fn weak_text_can_be_read_in_both_themes() {
        let ctx = Context::default();
        apply(&ctx, Theme::System);
        for (shade, _) in WEAK {
            let style = ctx.style_of(shade);
            let visuals = &style.visuals;
            // The luminance of a grey is that of any channel.
            let luminance = |colour: Color32| Rgba::from(colour).g() + 0.05;
            let of = [visuals.weak_text_color(), visuals.panel_fill].map(luminance);
            let contrast = of[0].max(of[1]) / of[0].min(of[1]);
            assert!(contrast >= 4.5, "{shade:?}: {contrast}");
        }
    }
}
