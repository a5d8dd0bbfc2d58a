//! Flags of how data are read, where they leave something open.

use crate::data::Reading;

#[derive(clap::Args)]
#[command(next_help_heading = "Options of data")]
pub struct ReadingFlags {
    /// Images set aside to test with, where the data have no test set; 0 for none [default: a tenth]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count)]
    hold_out: Option<usize>,
    /// What pictures are brought to, and what a row of a table makes: height x width, or height x width x
    /// channels [default: their own size where they share one, else 28x28]
    #[arg(long, value_name = "HxW[xC]", value_parser = size)]
    image_size: Option<(usize, usize, Option<usize>)>,
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

fn size(text: &str) -> Result<(usize, usize, Option<usize>), String> {
    let sizes: Option<Vec<usize>> =
        text.split('x').map(|n| n.parse().ok().filter(|n| (1..=4096).contains(n))).collect();
    match sizes.as_deref() {
        Some(&[height, width]) => Ok((height, width, None)),
        Some(&[height, width, channels]) if channels <= 4 => Ok((height, width, Some(channels))),
        _ => Err("expected height x width, like 28x28, or with 1 to 4 channels, like 32x32x3".into()),
    }
}
