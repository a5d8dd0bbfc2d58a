//! Pictures in groups of one class, for a discriminator that sees several at a time.

use crate::data::{DataSet, ImageSet, LISTED, listed};
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

/// A warning of classes that have pictures, but too few for a single group.
pub fn left_out(data: &DataSet, pack: usize) -> Option<String> {
    let counts = data.train.counts();
    let few = data.class_names.iter().zip(&counts).filter(|(_, count)| (1..pack).contains(*count));
    let few: Vec<String> = few.map(|(name, _)| name.clone()).collect();
    let (classes, have) = match few.len() {
        0 => return None,
        1 => ("class", "has"),
        _ => ("classes", "have"),
    };
    Some(format!(
        "the {classes} {} {have} fewer pictures than --pack {pack}, so that none of them is trained with: add some, or \
         ask for a smaller --pack",
        listed(&few, LISTED)
    ))
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
    fn every_epoch_groups_the_pictures_of_a_class_anew_and_has_each_once() {
        let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
        // A pixel a picture, which tells its class.
        let images: Vec<u8> = (0..60).collect();
        let set = ImageSet { height: 1, width: 1, channels: 1, classes: 3, images: images.clone().into(), labels };
        let partners = |epoch: usize| {
            let groups = grouped(&set, 2, 7, epoch).unwrap();
            let mut pairs: Vec<[u8; 2]> = groups.images.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
            for ([a, b], label) in pairs.iter().zip(&groups.labels) {
                assert_eq!([u32::from(a % 3), u32::from(b % 3)], [*label; 2]);
            }
            pairs.iter_mut().for_each(|pair| pair.sort());
            pairs.sort();
            pairs
        };
        let epochs = [0, 1, 2].map(partners);
        for (i, pairs) in epochs.iter().enumerate() {
            let mut all = pairs.concat();
            all.sort();
            assert_eq!(all, images);
            assert!(!epochs[..i].contains(pairs), "epoch {i} is grouped as one before");
        }
    }

    #[test]
    fn classes_with_fewer_pictures_than_a_group_are_named_and_those_with_none_are_not() {
        let set = |labels: &[u32]| {
            let images = vec![0; labels.len()].into();
            ImageSet { height: 1, width: 1, channels: 1, classes: 4, images, labels: labels.to_vec() }
        };
        let data = |labels: &[u32]| {
            DataSet::new("data", set(labels), set(&[]), ["cat", "dog", "eel", "fox"].map(String::from).into())
        };
        let told = |labels: &[u32], pack| left_out(&data(labels), pack).unwrap();
        assert!(told(&[0, 0, 0, 1, 1, 2], 2).starts_with("the class eel has fewer pictures than --pack 2, so"));
        assert!(told(&[0, 0, 0, 1, 1, 2], 3).starts_with("the classes dog, eel have fewer pictures than --pack 3, so"));
        assert_eq!(left_out(&data(&[0, 0, 1, 1]), 2), None);
        assert_eq!(left_out(&data(&[0, 1, 2, 3]), 1), None);
    }

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
