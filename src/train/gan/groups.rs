//! Pictures in groups of one class, for a discriminator that sees several at a time.

use crate::data::ImageSet;
use crate::ops::random::{self, streams};
use crate::train::TrainError;

/// The set in groups of `pack` pictures of one class, each group stored as one picture `pack` times as high; up to
/// `pack - 1` pictures of a class are left out. `seed` and `epoch` decide which pictures share a group. How many groups
/// a class has, and where they stand, is always the same.
///
/// # Errors
/// [`TrainError::Setting`] where no class has `pack` pictures.
pub fn grouped(set: &ImageSet, pack: usize, seed: u32, epoch: usize) -> Result<ImageSet, TrainError> {
    if pack == 1 {
        return Ok(set.clone());
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); set.classes];
    for (row, label) in set.labels.iter().enumerate() {
        rows[*label as usize].push(row);
    }
    for rows in &mut rows {
        let count = rows.len() as u32;
        let shuffle = random::Shuffle::new(count, seed, streams::GROUPS ^ epoch as u32);
        *rows = (0..count).map(|i| rows[shuffle.at(i) as usize]).collect();
    }
    let groups: Vec<&[usize]> = rows.iter().flat_map(|rows| rows.chunks_exact(pack)).collect();
    if groups.is_empty() {
        return Err(TrainError::setting("pack", pack, "at most the pictures of a class"));
    }
    let labels = groups.iter().map(|group| set.labels[group[0]]).collect();
    let images = set.select(&groups.concat()).images;
    Ok(ImageSet { height: set.height * pack, width: set.width, images, labels, ..*set })
}

/// Refuses a set that does not fit on a device as a whole, as that of a GAN must; `most` is the bytes that the device
/// takes as one tensor.
///
/// # Errors
/// [`TrainError::Setting`], with what would do.
pub fn check_room(set: &ImageSet, device: &str, most: u64) -> Result<(), TrainError> {
    let bytes = set.images.len() as u64;
    if bytes <= most {
        return Ok(());
    }
    let wanted = format!(
        "one that holds all {} MB of the training images at once; this one holds {} MB. Use `--device cpu`, or train \
         on fewer images (--hold-out N sets N aside if the data has no test images) or on smaller ones \
         (--image-size, for picture files)",
        bytes.div_ceil(1_000_000),
        most / 1_000_000
    );
    Err(TrainError::setting("device", device, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_a_device_does_not_take_at_once_is_refused_with_what_would_do() {
        let images = vec![0; 3_000_000].into();
        let set = ImageSet { height: 1000, width: 1000, channels: 1, classes: 1, images, labels: vec![0; 3] };
        assert!(check_room(&set, "a card", 3_000_000).is_ok());
        let refused = check_room(&set, "a card", 2_999_999).unwrap_err().to_string();
        for words in ["--device is a card", "all 3 MB", "holds 2 MB", "cpu", "--hold-out", "--image-size"] {
            assert!(refused.contains(words), "no {words:?} in {refused}");
        }
    }
}
