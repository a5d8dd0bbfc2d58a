//! Augmentation of training images, as flags: each changes one entry of the recipe's `augment` table.

use super::note;
use super::numbers::number;
use crate::models::Augmentation;

/// The heading of these flags.
pub const HEADING: &str = "Augmentation (of training images only; labels are kept)";

#[derive(clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct AugmentFlags {
    /// Rotate by up to this many degrees either way
    #[arg(long, value_name = "DEG", allow_negative_numbers = true, value_parser = number)]
    rotate: Option<f32>,
    /// Shift by up to this share of the side, in each direction
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    shift: Option<f32>,
    /// Enlarge or shrink by up to this share
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    zoom: Option<f32>,
    /// Slant by up to this many degrees either way
    #[arg(long, value_name = "DEG", allow_negative_numbers = true, value_parser = number)]
    shear: Option<f32>,
    /// Distort elastically, displacing pixels by this many (root mean square)
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true, value_parser = number)]
    elastic: Option<f32>,
    /// Blacken a rectangle of up to this share of each side, also on light images
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    erase: Option<f32>,
    /// Add normal noise of this standard deviation, in grey levels from 0 to 1
    #[arg(long, value_name = "STD", allow_negative_numbers = true, value_parser = number)]
    noise: Option<f32>,
    /// Rotate by 0, 90, 180 or 270 degrees
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quarter_turns: Option<bool>,
    /// Train on 77 times as many images: the inner 22 x 18 pixels of each, at all 7 x 11 places where they fit, on
    /// black. An epoch is 77 times as long
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    extend: Option<bool>,
    /// Ignore the augmentation of the network's recipe; other flags here still apply
    #[arg(long)]
    no_augment: bool,
}

impl AugmentFlags {
    /// A recipe's augmentation, overridden by the flags that were given.
    pub fn over(&self, recipe: Augmentation) -> Augmentation {
        let mut augment = if self.no_augment { Augmentation::default() } else { recipe };
        macro_rules! take {
            ($($flag:ident),*) => { $(augment.$flag = self.$flag.unwrap_or(augment.$flag);)* };
        }
        take!(rotate, shift, zoom, shear, elastic, erase, noise, quarter_turns, extend);
        augment
    }
}

/// Warns of what rotation does to digits: half a turn makes a 6 into a 9.
pub fn warn(augment: &Augmentation, class_names: &[String]) {
    let both = ["6", "9"].iter().all(|digit| class_names.iter().any(|name| name == digit));
    if both && (augment.quarter_turns || augment.rotate > 90.0) {
        let flag = if augment.quarter_turns { "--quarter-turns" } else { "--rotate" };
        note(format_args!(
            "warning: {flag} turns a 6 into a 9 and keeps its label: the two can no longer be told apart"
        ));
    }
}
