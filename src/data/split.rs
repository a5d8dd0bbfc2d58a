//! Sets validation images aside: at random, the same ones for the same seed, and with every class in the same
//! proportion as in the whole set.

use crate::data::{DataError, ImageSet};
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl ImageSet {
    /// Splits into `(train, validation)`, with `validation` images in the second.
    ///
    /// Each class gives its proportional number of images, rounded by largest remainder (so less than one off the exact
    /// share); it gives its last one only where no other class has one to give; before that, others give more than
    /// their share. Both parts keep the order of the whole. The same set, number and seed give the same split on every
    /// machine.
    ///
    /// Errors when `validation >= len()`.
    pub fn split(&self, validation: usize, seed: u64) -> Result<(ImageSet, ImageSet), DataError> {
        let held_out = self.held_out(validation, seed)?;
        let (second, first): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|&i| held_out[i]);
        Ok((self.select(&first), self.select(&second)))
    }

    /// Whether [`ImageSet::split`] sets an image aside, for each image.
    pub(crate) fn held_out(&self, validation: usize, seed: u64) -> Result<Vec<bool>, DataError> {
        if validation >= self.len() {
            return Err(DataError::ValidationTooLarge { validation, len: self.len() });
        }
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, &label) in self.labels.iter().enumerate() {
            members.entry(label).or_default().push(i);
        }
        let counts: Vec<usize> = members.values().map(Vec::len).collect();
        let shares = shares(&counts, validation);

        let mut random = SplitMix64(seed);
        let mut held_out = vec![false; self.len()];
        for (mut class, share) in members.into_values().zip(shares) {
            random.shuffle(&mut class);
            for &i in class.iter().take(share) {
                held_out[i] = true;
            }
        }
        Ok(held_out)
    }

    /// The most images that [`ImageSet::split`] can set aside so that each class keeps one.
    pub(crate) fn spare(&self) -> usize {
        self.counts().into_iter().map(|count| count.saturating_sub(1)).sum()
    }

    /// The first class that has images here but none in `left`, the images that a split has left.
    pub(crate) fn emptied(&self, left: &ImageSet) -> Option<usize> {
        self.counts().into_iter().zip(left.counts()).position(|(before, left)| before > 0 && left == 0)
    }

    /// `count` images, those that [`ImageSet::split`] sets aside; all of them if there are no more.
    pub fn sample(&self, count: usize, seed: u64) -> ImageSet {
        self.split(count, seed).map_or_else(|_| self.clone(), |(_, drawn)| drawn)
    }
}

/// Divides `wanted` among classes in proportion to `counts`, by largest remainder; of equal remainders the earlier
/// class wins. Before a class gives its last image, others give more, round after round, as long as one has two. No
/// share exceeds its count as long as `wanted` does not exceed their sum.
fn shares(counts: &[usize], wanted: usize) -> Vec<usize> {
    let total = counts.iter().sum::<usize>() as u128;
    let exact = |count: usize| wanted as u128 * count as u128;
    let mut shares: Vec<usize> = counts.iter().map(|&count| (exact(count) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| Reverse(exact(counts[class]) % total));
    let mut missing = wanted - shares.iter().sum::<usize>();
    let mut rich = by_remainder.clone();
    while missing > 0 {
        rich.retain(|&class| shares[class] + 1 < counts[class]);
        if rich.is_empty() {
            break;
        }
        for &class in rich.iter().take(missing) {
            shares[class] += 1;
        }
        missing -= missing.min(rich.len());
    }
    let last = by_remainder.into_iter().filter(|&class| shares[class] < counts[class]).take(missing);
    for class in last.collect::<Vec<_>>() {
        shares[class] += 1;
    }
    shares
}

// Our own generator, since a split has to stay the same when a dependency changes.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            // The high half of the product: uniform below last + 1 but for a bias of about 2^-64.
            let other = (u128::from(self.next()) * (last as u128 + 1)) >> 64;
            items.swap(last, other as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SplitMix64, shares};
    use crate::data::testing::image_set;
    use proptest::prelude::*;

    #[test]
    fn the_generator_gives_the_published_splitmix64_sequence() {
        let mut random = SplitMix64(1234567);
        let got = [random.next(), random.next(), random.next()];
        let published = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!(got, published);
    }

    #[test]
    fn the_same_seed_gives_the_same_split_and_another_seed_another() {
        let labels: Vec<u32> = (0..100).map(|i| i % 5).collect();
        let set = image_set(1, 1, 1, &labels);
        assert_eq!(set.split(20, 1).unwrap(), set.split(20, 1).unwrap());
        assert_ne!(set.split(20, 1).unwrap(), set.split(20, 2).unwrap());
    }

    #[test]
    fn a_split_stays_what_it_was_when_this_test_was_written() {
        let set = image_set(1, 1, 1, &[0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        let (_, validation) = set.split(5, 42).unwrap();
        assert_eq!(*validation.images, [2, 3, 5, 7, 8]);
    }

    #[test]
    fn largest_remainders_get_the_images_left_over() {
        assert_eq!(shares(&[5, 3, 2], 5), [3, 1, 1]);
        assert_eq!(shares(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(shares(&[99, 1], 10), [10, 0]);
    }

    #[test]
    fn a_class_gives_its_last_image_only_where_no_other_has_one_to_give() {
        assert_eq!(shares(&[1, 9], 6), [0, 6]);
        assert_eq!(shares(&[1, 1, 1, 27], 21), [0, 0, 0, 21], "the last class gives more than its share");
        // A class whose share is exact, without a remainder, still gives more before another gives its only image.
        assert_eq!(shares(&[[40; 2].as_slice(), &[1; 10]].concat(), 9), [[5, 4].as_slice(), &[0; 10]].concat());
        assert_eq!(shares(&[1, 1, 4], 4), [1, 0, 3], "none has two any more");
        let labels = [vec![0u32], vec![1; 9]].concat();
        let (train, validation) = image_set(1, 1, 1, &labels).split(6, 0).unwrap();
        assert_eq!((train.labels[0], validation.labels), (0, vec![1; 6]));
    }

    #[test]
    fn so_many_can_be_spared_and_one_more_empties_a_class() {
        let set = image_set(1, 1, 1, &[0, 0, 0, 1, 2, 2, 4]);
        assert_eq!(set.spare(), 3);
        let emptied = |count| set.emptied(&set.split(count, 5).unwrap().0);
        assert_eq!((emptied(3), emptied(4).is_some()), (None, true), "there was nothing of class 3 before");
    }

    #[test]
    fn no_validation_images_leave_the_set_as_it_is() {
        let set = image_set(2, 2, 1, &[0, 1, 1]);
        let (train, validation) = set.split(0, 7).unwrap();
        assert_eq!(train, set);
        assert!(validation.is_empty());
        assert_eq!(validation.classes, set.classes);
    }

    #[test]
    fn a_split_that_leaves_nothing_to_train_on_is_refused() {
        let set = image_set(1, 1, 1, &[0, 1]);
        for validation in [2, 3, usize::MAX] {
            let message = set.split(validation, 0).unwrap_err().to_string();
            assert!(message.contains("there are only 2"), "{message}");
        }
        assert!(image_set(1, 1, 1, &[]).split(0, 0).is_err());
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_with_every_class_within_one_of_its_share_as_long_as_all_keep_one(
            labels in prop::collection::vec(0u32..6, 1..200),
            fraction in 0.0..1.0f64,
            seed in any::<u64>(),
        ) {
            let set = image_set(1, 1, 1, &labels);
            let wanted = (fraction * labels.len() as f64) as usize;
            let (train, validation) = set.split(wanted, seed).unwrap();
            prop_assert_eq!(validation.len(), wanted);
            // Pixels of one byte that count up, fewer than 256 of them: each identifies its image.
            let mut seen: Vec<u8> = [&*train.images, &*validation.images].concat();
            seen.sort_unstable();
            prop_assert_eq!(&*seen, &*set.images);
            for part in [&train, &validation] {
                prop_assert!(part.images.is_sorted());
                for (&pixel, &label) in part.images.iter().zip(&part.labels) {
                    prop_assert_eq!(labels[usize::from(pixel)], label);
                }
            }
            let emptied = set.emptied(&train);
            prop_assert_eq!(emptied.is_some(), wanted > set.spare());
            let count = |labels: &[u32], class: usize| labels.iter().filter(|&&l| l as usize == class).count();
            let all = [0, 1, 2, 3, 4, 5].map(|class| count(&labels, class));
            let share = |class: usize| all[class] as f64 * wanted as f64 / labels.len() as f64;
            // Where a class would give its last image, others give more than their share.
            let is_plain = (0..6).all(|class| all[class] == 0 || share(class).ceil() < all[class] as f64);
            for class in (0..6).filter(|_| is_plain) {
                prop_assert!((count(&validation.labels, class) as f64 - share(class)).abs() < 1.0);
            }
        }
    }
}
