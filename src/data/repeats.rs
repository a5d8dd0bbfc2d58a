//! Images that are tested on and learned from at once: what is measured on them says nothing about new ones.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{DataSet, ImageSet};

/// Sets of more bytes are not compared. A file that is larger than memory would be read from the disk once more, and
/// the digest of a run's data, which reads it anyway, does not tell one image from the next.
const MOST_COMPARED: usize = 1 << 31;

impl DataSet {
    /// A remark where test images are also among the training images. It looks at every pixel, so [`super::load`]
    /// leaves it to whoever shows remarks: data may be read several times until it is known with which hold-out.
    pub fn repeats(&self) -> Option<String> {
        self.test.repeats(&self.train, "test")
    }
}

impl ImageSet {
    /// A remark where these images, `called` test or validation images, are also among those to train with.
    pub(crate) fn repeats(&self, train: &ImageSet, called: &str) -> Option<String> {
        let is_large = self.images.len().saturating_add(train.images.len()) > MOST_COMPARED;
        if self.is_empty() || train.is_empty() || is_large {
            return None;
        }
        let [repeated, relabelled] = self.repeated_in(train);
        let are = if repeated == 1 { "is" } else { "are" };
        let other = match relabelled {
            0 => String::new(),
            count => format!(", {count} of them under another label"),
        };
        (repeated > 0).then(|| {
            // At most: all of these are right, and none would be if it were new. Rounded up.
            let points = (10_000 * repeated).div_ceil(self.len()) as f64 / 100.0;
            format!(
                "{repeated} of the {} {called} images {are} also among the training images{other}: for a model that has \
                 learned from these, accuracy may be up to {points:.2} points too high",
                self.len()
            )
        })
    }

    /// How many of these images are also in another set, and how many of those under another label, too.
    fn repeated_in(&self, other: &ImageSet) -> [usize; 2] {
        // For each different image: a label that it has in the other set, and whether it has several there.
        let mut labels: HashMap<&[u8], Option<(u32, bool)>> = (0..self.len()).map(|i| (self.image(i), None)).collect();
        let met: Vec<usize> =
            (0..other.len()).into_par_iter().filter(|i| labels.contains_key(other.image(*i))).collect();
        for i in met {
            let label = other.labels[i];
            if let Some(known) = labels.get_mut(other.image(i)) {
                *known = Some(known.map_or((label, false), |(first, several)| (first, several || first != label)));
            }
        }
        let found = (0..self.len()).filter_map(|i| {
            let (label, several) = (*labels.get(self.image(i))?)?;
            Some(several || label != self.labels[i])
        });
        found.fold([0, 0], |[all, relabelled], is_relabelled| [all + 1, relabelled + usize::from(is_relabelled)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of two pixels, the second of which is black.
    fn set(images: &[(u8, u32)]) -> ImageSet {
        ImageSet {
            height: 1,
            width: 2,
            channels: 1,
            classes: 3,
            images: images.iter().flat_map(|(grey, _)| [*grey, 0]).collect(),
            labels: images.iter().map(|(_, label)| *label).collect(),
        }
    }

    #[test]
    fn test_images_that_are_also_trained_on_are_counted_and_so_are_those_under_another_label() {
        let remark = |train: &[(u8, u32)], test: &[(u8, u32)]| {
            DataSet::new("set", set(train), set(test), ["a", "b", "c"].map(String::from).into()).repeats()
        };
        let train = [(1, 0), (2, 1), (2, 1), (3, 2), (4, 0), (4, 1)];
        assert_eq!(remark(&train, &[(5, 0), (6, 1)]), None);
        assert_eq!((remark(&train, &[]), remark(&[], &[(1, 0)])), (None, None));
        let told = remark(&train, &[(1, 0), (9, 0)]).unwrap();
        let words =
            "1 of the 2 test images is also among the training images: for a model that has learned from these, ";
        assert_eq!(told, format!("{words}accuracy may be up to 50.00 points too high"));
        // The last has both labels among the training images, so one of them is another.
        let told = remark(&train, &[(2, 1), (2, 1), (3, 0), (7, 0), (4, 1)]).unwrap();
        let words = "4 of the 5 test images are also among the training images, 2 of them under another label: ";
        assert!(told.starts_with(words) && told.ends_with("up to 80.00 points too high"), "{told}");
    }

    #[test]
    fn images_that_are_all_alike_are_compared_in_no_time() {
        let alike = ImageSet { labels: vec![0; 200_000], images: vec![0; 400_000].into(), ..set(&[]) };
        assert_eq!(alike.repeated_in(&alike), [200_000, 0]);
    }
}
