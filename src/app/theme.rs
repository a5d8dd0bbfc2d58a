//! Light and dark.

use eframe::egui::{Color32, Context, Theme as Shade, ThemePreference, Visuals};

use super::Theme;
use super::paint::{ABOVE, BELOW};

/// A grey that is legible on each theme's background and weaker than its text: the toolkit's has a contrast below 3.
const WEAK: [(Shade, u8); 2] = [(Shade::Dark, 132), (Shade::Light, 110)];

/// Orange and blue that are legible on a light background.
const DARK_ORANGE: Color32 = Color32::from_rgb(168, 72, 0);
const DARK_BLUE: Color32 = Color32::from_rgb(0, 84, 166);
/// Red that is legible on a light background, and on a dark one.
const DARK_RED: Color32 = Color32::from_rgb(190, 0, 0);
const LIGHT_RED: Color32 = Color32::from_rgb(255, 90, 90);

pub fn name(theme: Theme) -> &'static str {
    match theme {
        Theme::System => "System",
        Theme::Light => "Light",
        Theme::Dark => "Dark",
    }
}

pub fn apply(ctx: &Context, theme: Theme) {
    for (shade, grey) in WEAK {
        ctx.style_mut_of(shade, |style| {
            let visuals = &mut style.visuals;
            visuals.weak_text_color = Some(Color32::from_gray(grey));
            visuals.error_fg_color = if visuals.dark_mode { LIGHT_RED } else { DARK_RED };
            if !visuals.dark_mode {
                visuals.warn_fg_color = DARK_ORANGE;
            }
        });
    }
    ctx.set_theme(match theme {
        Theme::System => ThemePreference::System,
        Theme::Light => ThemePreference::Light,
        Theme::Dark => ThemePreference::Dark,
    });
}

/// The colours of numbers above and below zero as text.
pub fn signs(visuals: &Visuals) -> [Color32; 2] {
    if visuals.dark_mode { [ABOVE, BELOW] } else { [DARK_ORANGE, DARK_BLUE] }
}

/// The colour of the winner's bar, which stands out from those of the others.
pub fn winner(visuals: &Visuals) -> Color32 {
    if visuals.dark_mode { Color32::from_rgb(90, 170, 250) } else { DARK_BLUE }
}

#[cfg(test)]
mod tests {
    use eframe::egui::Rgba;

    use super::*;

    /// The contrast of two colours, 1 to 21, as the Web Content Accessibility Guidelines define it.
    fn contrast(one: Color32, other: Color32) -> f32 {
        let luminance = |colour: Color32| {
            let colour = Rgba::from(colour);
            0.2126 * colour.r() + 0.7152 * colour.g() + 0.0722 * colour.b() + 0.05
        };
        let of = [one, other].map(luminance);
        of[0].max(of[1]) / of[0].min(of[1])
    }

    #[test]
    fn weak_and_coloured_text_can_be_read_in_both_themes() {
        let ctx = Context::default();
        apply(&ctx, Theme::System);
        for (shade, _) in WEAK {
            let style = ctx.style_of(shade);
            let visuals = &style.visuals;
            let [above, below] = signs(visuals);
            let texts = [visuals.weak_text_color(), visuals.warn_fg_color, visuals.error_fg_color, above, below];
            for text in texts {
                let contrast = contrast(text, visuals.panel_fill);
                assert!(contrast >= 4.5, "{shade:?}: {text:?} has {contrast}");
            }
        }
    }

    #[test]
    fn the_winners_bar_stands_out_from_the_others() {
        let ctx = Context::default();
        apply(&ctx, Theme::System);
        for (shade, _) in WEAK {
            let style = ctx.style_of(shade);
            let visuals = &style.visuals;
            let track = visuals.widgets.inactive.bg_fill;
            let [winner, other] = [winner(visuals), visuals.weak_text_color()].map(|bar| contrast(bar, track));
            assert!(winner > 1.3 * other, "{shade:?}: {winner}, {other}");
        }
    }
}
