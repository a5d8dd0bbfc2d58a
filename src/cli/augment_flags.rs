//! What is done to training images, as flags: each changes one entry of the recipe's `augment` table.

use super::note;
use super::numbers::number;
use crate::models::Augmentation;

#[derive(clap::Args)]
#[command(next_help_heading = "Augmentation (of training images only; labels are kept)")]
pub struct AugmentFlags {
    /// Turn by up to so many degrees either way
    #[arg(long, value_name = "DEG", allow_negative_numbers = true, value_parser = number)]
    rotate: Option<f32>,
    /// Move by up to so large a share of the side, in each direction
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    shift: Option<f32>,
    /// Make larger or smaller by up to so large a share
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    zoom: Option<f32>,
    /// Lean by up to so many degrees either way
    #[arg(long, value_name = "DEG", allow_negative_numbers = true, value_parser = number)]
    shear: Option<f32>,
    /// Bend: pixels are displaced by so many, root mean square
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true, value_parser = number)]
    elastic: Option<f32>,
    /// Make a rectangle black, of up to so large a share of each side
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    erase: Option<f32>,
    /// Add normal noise of this standard deviation, in grey levels of 0 to 1
    #[arg(long, value_name = "STD", allow_negative_numbers = true, value_parser = number)]
    noise: Option<f32>,
    /// Turn by 0, 90, 180 or 270 degrees
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quarter_turns: Option<bool>,
    /// Train on 77 times as many images: the inner 22 x 18 pixels of each at all 7 x 11 places where they
    /// fit. An epoch is 77 times as long
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    extend: Option<bool>,
    /// None of what the network's recipe says; other flags here still count
    #[arg(long)]
    no_augment: bool,
}

impl AugmentFlags {
    /// Those that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let given = [
            ("--rotate", self.rotate.is_some()),
            ("--shift", self.shift.is_some()),
            ("--zoom", self.zoom.is_some()),
            ("--shear", self.shear.is_some()),
            ("--elastic", self.elastic.is_some()),
            ("--erase", self.erase.is_some()),
            ("--noise", self.noise.is_some()),
            ("--quarter-turns", self.quarter_turns.is_some()),
            ("--extend", self.extend.is_some()),
            ("--no-augment", self.no_augment),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// What a recipe says, with these flags in its place where they were given.
    pub fn over(&self, recipe: Augmentation) -> Augmentation {
        let mut augment = if self.no_augment { Augmentation::default() } else { recipe };
        macro_rules! take {
            ($($flag:ident),*) => { $(augment.$flag = self.$flag.unwrap_or(augment.$flag);)* };
        }
        take!(rotate, shift, zoom, shear, elastic, erase, noise, quarter_turns, extend);
        augment
    }
}

/// Says what a quarter turn does to digits: half of one makes a 9 of a 6.
pub fn warn(augment: &Augmentation, class_names: &[String]) {
    let both = ["6", "9"].iter().all(|digit| class_names.iter().any(|name| name == digit));
    if both && (augment.quarter_turns || augment.rotate > 90.0) {
        let flag = if augment.quarter_turns { "--quarter-turns" } else { "--rotate" };
        note(format_args!(
            "warning: {flag} turns a 6 into a 9 and keeps its label: the two can no longer be told apart"
        ));
    }
}
