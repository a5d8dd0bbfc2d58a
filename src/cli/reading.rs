//! Flags of how data are read, where they leave something open.

use crate::data::{ImageSize, Reading};

#[derive(clap::Args)]
#[command(next_help_heading = "Options of data")]
pub struct ReadingFlags {
    /// Images set aside to test with, where the data have no test set; 0 for none [default: a tenth]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count)]
    hold_out: Option<usize>,
    /// What pictures are brought to, and what a row of a table makes: height x width, or height x width x
    /// channels [default: their own size where they share one, else 28x28]
    #[arg(long, value_name = "HxW[xC]")]
    image_size: Option<ImageSize>,
    /// Prepare pictures of digits as MNIST was made, as `classify` does: dark ink on light paper turned
    /// round, cropped, centred
    #[arg(long)]
    prepare: bool,
}

impl ReadingFlags {
    pub fn reading(&self) -> Reading {
        Reading { hold_out: self.hold_out, image_size: self.image_size, prepare: self.prepare }
    }

    /// Whether any was given.
    pub fn given(&self) -> bool {
        !self.reading().is_default()
    }
}
