//! Pictures of one class in groups, as a discriminator that sees several at a time takes them.

use crate::data::ImageSet;
use crate::ops::random;
use crate::train::TrainError;

/// Rounds of the shuffle that makes groups, beside those of the batches.
const GROUPS: u32 = 0x6A43_0000;

/// The set in groups of `pack` pictures of one class, each as one picture `pack` times as high; up to `pack - 1` of
/// a class are left out. Which pictures share a group is decided by `seed` and `epoch`; how many groups there are of
/// a class, and where they stand, is always the same.
///
/// # Errors
/// [`TrainError::Setting`] where no class has as many.
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
        let shuffle = random::Shuffle::new(count, seed, GROUPS ^ epoch as u32);
        *rows = (0..count).map(|i| rows[shuffle.at(i) as usize]).collect();
    }
    let groups: Vec<&[usize]> = rows.iter().flat_map(|rows| rows.chunks_exact(pack)).collect();
    if groups.is_empty() {
        return Err(TrainError::Setting {
            setting: "pack".into(),
            value: pack.to_string(),
            wanted: "at most the pictures of a class".into(),
        });
    }
    let labels = groups.iter().map(|group| set.labels[group[0]]).collect();
    let images = set.select(&groups.concat()).images;
    Ok(ImageSet { height: set.height * pack, width: set.width, images, labels, ..*set })
}
