//! What is done to training images before a network sees them: the `augment` table of a recipe and of a run's settings.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ModelError;
use super::normalization::Normalization;
use super::reader::Fields;
use crate::data::{ImageSet, looks_prepared};
use crate::ops::Window;
use crate::ops::augment::Augment;

/// How much training images are changed at most. Each is changed in its own way, and differently in every epoch. 0 and
/// false mean no change. Validation and test images are never changed, and labels are kept.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Degrees to either side.
    pub rotate: f32,
    /// Share of each side, in either direction.
    pub shift: f32,
    /// Share of the size, larger or smaller.
    pub zoom: f32,
    /// Degrees by which upright lines lean to either side.
    pub shear: f32,
    /// Root mean square displacement of an elastic distortion, in pixels.
    pub elastic: f32,
    /// Longest sides of the rectangle that is made black, whatever the images' background, as a share of their sides.
    pub erase: f32,
    /// Standard deviation of normal noise, in grey levels of 0..1.
    pub noise: f32,
    /// Whether images are turned by 0, 90, 180 or 270 degrees.
    pub quarter_turns: bool,
    /// Whether the set counts as 77 times as large: rows 4..=25 and columns 5..=22 of each image are put at each of the
    /// 7 x 11 places where they fit ([`Window::DIGIT`]).
    pub extend: bool,
}

/// The numeric settings: name, largest value, and what is expected.
const NUMBERS: [(&str, f32, &str); 7] = [
    ("rotate", 180.0, "a number of degrees from 0 to 180, like 10"),
    ("shift", 1.0, "a share of the image's side from 0 to 1, like 0.1"),
    ("zoom", 0.9, "a share of the size from 0 to 0.9, like 0.1"),
    ("shear", 60.0, "a number of degrees from 0 to 60, like 5"),
    ("elastic", 100.0, "a number of pixels from 0 to 100, like 1.4"),
    ("erase", 1.0, "a share of the image's side from 0 to 1, like 0.3"),
    ("noise", 1.0, "a number of grey levels from 0 (none) to 1 (black to white), like 0.05"),
];

impl Augmentation {
    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Augmentation::default()
    }

    /// The window that extends the set, if there is one.
    pub fn window(&self) -> Option<Window> {
        self.extend.then_some(Window::DIGIT)
    }

    /// How often each image occurs in an epoch: once at each place of that window, which is only for images of
    /// [`Window::DIGIT_IMAGE`].
    pub fn copies(&self) -> usize {
        self.window().map_or(1, |window| window.places(Window::DIGIT_IMAGE))
    }

    /// The op for images that are seen like this, if there is anything for it to do; `stream` keeps its draws
    /// independent of others.
    pub fn op(&self, seen: Normalization, stream: u32) -> Option<Augment> {
        let Augmentation { rotate, shift, zoom, shear, elastic, erase, noise, quarter_turns, extend: _ } = *self;
        let op = Augment {
            rotate,
            shift,
            zoom,
            shear,
            quarter_turns,
            elastic,
            erase,
            noise: noise / seen.std,
            black: seen.of_byte(0),
            background: seen.of_byte(seen.background),
            stream,
            alike: false,
        };
        let only_extended = Augmentation { extend: self.extend, ..Augmentation::default() };
        (*self != only_extended).then_some(op)
    }

    /// The numbers, in the order of [`NUMBERS`].
    fn numbers(&self) -> [f32; 7] {
        [self.rotate, self.shift, self.zoom, self.shear, self.elastic, self.erase, self.noise]
    }

    fn numbers_mut(&mut self) -> [&mut f32; 7] {
        let Augmentation { rotate, shift, zoom, shear, elastic, erase, noise, .. } = self;
        [rotate, shift, zoom, shear, elastic, erase, noise]
    }

    /// The first invalid setting, for images of `[height, width]` if these are known: its name, its value, and what it
    /// must be.
    pub fn problem(&self, image: Option<[usize; 2]>) -> Option<(&'static str, String, String)> {
        for ((name, most, wanted), value) in NUMBERS.into_iter().zip(self.numbers()) {
            if !(0.0..=most).contains(&value) {
                return Some((name, value.to_string(), wanted.into()));
            }
        }
        let [height, width] = image?;
        if self.quarter_turns && height != width {
            let wanted = format!("off for images of {height} x {width}, which are not square");
            return Some(("quarter-turns", "on".into(), wanted));
        }
        if self.extend && [height, width] != Window::DIGIT_IMAGE {
            let wanted = format!(
                "off for images of {height} x {width}: its window, rows 4 to 25 and columns 5 to 22, only fits \
                 images of 28 x 28. --shift moves images of any size"
            );
            return Some(("extend", "on".into(), wanted));
        }
        None
    }

    /// The first setting that does not suit a set, likewise.
    pub fn problem_with(&self, set: &ImageSet) -> Option<(&'static str, String, String)> {
        let on_paper = || {
            let wanted = "off for images with a light border, as everything outside its window becomes black. Invert \
                          the images first, or use --shift, which fills in their paper";
            (self.extend && !looks_prepared(set)).then(|| ("extend", "on".into(), wanted.into()))
        };
        self.problem(Some([set.height, set.width])).or_else(on_paper)
    }

    pub(super) fn read(mut fields: Fields) -> Result<Augmentation, ModelError> {
        let mut read = Augmentation::default();
        for ((name, most, wanted), value) in NUMBERS.into_iter().zip(read.numbers_mut()) {
            *value = fields.number(name, wanted, |x| (0.0..=most).contains(&x))?.unwrap_or(0.0);
        }
        read.quarter_turns = fields.flag("quarter_turns")?.unwrap_or(false);
        read.extend = fields.flag("extend")?.unwrap_or(false);
        fields.finish()?;
        Ok(read)
    }
}

/// A one-line TOML table of the entries that are not 0 or false.
impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = NUMBERS.into_iter().zip(self.numbers()).filter(|(_, value)| *value != 0.0);
        let mut entries: Vec<String> = numbers.map(|((name, ..), value)| format!("{name} = {value}")).collect();
        let flags = [("quarter_turns", self.quarter_turns), ("extend", self.extend)];
        entries.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| format!("{name} = true")));
        if entries.is_empty() { f.write_str("{}") } else { write!(f, "{{ {} }}", entries.join(", ")) }
    }
}
