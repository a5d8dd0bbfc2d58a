//! The two colours that a grey picture is shown in, and the names that colours have.

use std::str::FromStr;

/// Red, green, blue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Colour(pub [u8; 3]);

const NAMES: [(&str, [u8; 3]); 17] = [
    ("black", [0, 0, 0]),
    ("white", [255, 255, 255]),
    ("grey", [128, 128, 128]),
    ("silver", [192, 192, 192]),
    ("red", [255, 0, 0]),
    ("maroon", [128, 0, 0]),
    ("orange", [255, 165, 0]),
    ("yellow", [255, 255, 0]),
    ("olive", [128, 128, 0]),
    ("lime", [0, 255, 0]),
    ("green", [0, 128, 0]),
    ("cyan", [0, 255, 255]),
    ("teal", [0, 128, 128]),
    ("blue", [0, 0, 255]),
    ("navy", [0, 0, 128]),
    ("magenta", [255, 0, 255]),
    ("purple", [128, 0, 128]),
];

impl FromStr for Colour {
    type Err = String;

    /// `#rrggbb`, `#rgb`, or one of a few names.
    fn from_str(text: &str) -> Result<Colour, String> {
        let text = text.trim().to_lowercase();
        let named = if text == "gray" { "grey" } else { &text };
        if let Some((_, colour)) = NAMES.iter().find(|(name, _)| *name == named) {
            return Ok(Colour(*colour));
        }
        let digits: Option<Vec<u8>> = text
            .strip_prefix('#')
            .and_then(|rest| rest.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect());
        match digits.as_deref() {
            Some([r, g, b]) => Ok(Colour([r, g, b].map(|digit| digit * 17))),
            Some([a, b, c, d, e, f]) => Ok(Colour([a * 16 + b, c * 16 + d, e * 16 + f])),
            _ => Err(format!(
                "expected #rrggbb or one of {}",
                NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            )),
        }
    }
}

/// The colours that stand for the brightest and for the darkest value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Colours {
    pub ink: Colour,
    pub paper: Colour,
}

impl Default for Colours {
    /// White on black, as MNIST is stored.
    fn default() -> Colours {
        Colours { ink: Colour([255; 3]), paper: Colour([0; 3]) }
    }
}

impl Colours {
    /// The colours of the values 0 to 255, three bytes each.
    pub fn palette(&self) -> Vec<u8> {
        let mix = |value: u32, i: usize| {
            let (ink, paper) = (u32::from(self.ink.0[i]), u32::from(self.paper.0[i]));
            ((ink * value + paper * (255 - value) + 127) / 255) as u8
        };
        (0..=255).flat_map(|value| [0, 1, 2].map(|i| mix(value, i))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_have_names_and_numbers_in_any_case() {
        for (text, wanted) in [
            ("white", [255; 3]),
            ("Navy", [0, 0, 128]),
            ("gray", [128; 3]),
            ("#1A2b3c", [26, 43, 60]),
            ("#f08", [255, 0, 136]),
        ] {
            assert_eq!(text.parse(), Ok(Colour(wanted)), "{text}");
        }
    }

    #[test]
    fn what_is_no_colour_is_answered_with_those_there_are() {
        for text in ["", "#", "#12", "#12345g", "#1234567", "whitish", "123456"] {
            let message = text.parse::<Colour>().unwrap_err();
            assert!(message.contains("#rrggbb") && message.contains("orange"), "{message}");
        }
    }

    #[test]
    fn a_palette_runs_from_paper_to_ink_and_white_on_black_is_plain_grey() {
        let grey: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        assert_eq!(Colours::default().palette(), grey);
        let palette = Colours { ink: Colour([10, 20, 30]), paper: Colour([200, 100, 0]) }.palette();
        assert_eq!((&palette[..3], &palette[765..]), (&[200, 100, 0][..], &[10, 20, 30][..]));
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(rgb in any::<[u8; 3]>()) {
            let [r, g, b] = rgb;
            prop_assert_eq!(format!("#{r:02x}{g:02x}{b:02x}").parse(), Ok(Colour(rgb)));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Colour>();
        }
    }
}
