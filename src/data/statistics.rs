//! What is in a set of images: how many of each class, where their ink is, and what they look like on average.

use super::ImageSet;

/// Counted over all images of a set; a pixel is ink if it is above 0 in any channel.
#[derive(Clone, PartialEq, Debug)]
pub struct Statistics {
    /// Images of each class.
    pub counts: Vec<usize>,
    /// The mean picture of each class, bytes `[height, width, channels]`; black for a class without images.
    pub means: Vec<Vec<u8>>,
    /// The mean picture of all images.
    pub mean: Vec<u8>,
    /// The sum of the bytes in each row and each column of pixels.
    pub rows: Vec<u64>,
    pub columns: Vec<u64>,
    /// For each image with ink: its first and last row with ink, and its first and last column.
    pub boxes: Vec<[u32; 4]>,
}

impl Statistics {
    /// # Panics
    /// When images have no pixels, bytes are missing, or a label is not below `classes`, like indexing a slice.
    pub fn of(set: &ImageSet) -> Statistics {
        let (line, size) = (set.width * set.channels, set.image_len());
        let mut sums = vec![vec![0u64; size]; set.classes];
        let mut counts = vec![0; set.classes];
        let mut boxes = Vec::with_capacity(set.len());
        for (i, label) in set.labels.iter().enumerate() {
            let image = set.image(i);
            counts[*label as usize] += 1;
            sums[*label as usize].iter_mut().zip(image).for_each(|(sum, byte)| *sum += u64::from(*byte));
            boxes.extend(inked(image, line, set.channels));
        }
        let all = sums.iter().fold(vec![0u64; size], |mut all, sums| {
            all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
            all
        });
        let (mut rows, mut columns) = (vec![0; set.height], vec![0; set.width]);
        for (at, sum) in all.iter().enumerate() {
            rows[at / line] += sum;
            columns[at % line / set.channels] += sum;
        }
        let means = sums.iter().zip(&counts).map(|(sums, count)| mean(sums, *count)).collect();
        Statistics { counts, means, mean: mean(&all, set.len()), rows, columns, boxes }
    }

    /// The first and the last row and column that any image has ink in.
    pub fn extent(&self) -> Option<[u32; 4]> {
        let join = |a: [u32; 4], b: [u32; 4]| [a[0].min(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].max(b[3])];
        self.boxes.iter().copied().reduce(join)
    }

    /// The median over the images with ink of the first row, the last row, the first column and the last column.
    pub fn medians(&self) -> Option<[u32; 4]> {
        let median = |side: usize| {
            let mut sides: Vec<u32> = self.boxes.iter().map(|inked| inked[side]).collect();
            sides.sort_unstable();
            sides.get(sides.len() / 2).copied()
        };
        Some([median(0)?, median(1)?, median(2)?, median(3)?])
    }

    /// Of the images with ink, the share that have none outside of rows and columns `[first, last, first, last]`.
    pub fn within(&self, [top, bottom, left, right]: [u32; 4]) -> f64 {
        let inside = |b: &&[u32; 4]| b[0] >= top && b[1] <= bottom && b[2] >= left && b[3] <= right;
        self.boxes.iter().filter(inside).count() as f64 / self.boxes.len().max(1) as f64
    }
}

/// The first and the last row and column with ink.
fn inked(image: &[u8], line: usize, channels: usize) -> Option<[u32; 4]> {
    let mut found: Option<[u32; 4]> = None;
    for (row, pixels) in image.chunks(line).enumerate() {
        let Some(first) = pixels.iter().position(|byte| *byte > 0) else { continue };
        let last = pixels.iter().rposition(|byte| *byte > 0).unwrap_or(first);
        let (row, first, last) = (row as u32, (first / channels) as u32, (last / channels) as u32);
        found = Some(match found {
            None => [row, row, first, last],
            Some([top, _, left, right]) => [top, row, left.min(first), right.max(last)],
        });
    }
    found
}

fn mean(sums: &[u64], count: usize) -> Vec<u8> {
    let count = count.max(1) as u64;
    // Rounded; a mean of bytes is a byte.
    sums.iter().map(|sum| ((sum + count / 2) / count) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_means_and_boxes_agree_with_those_by_hand() {
        // 2 x 3 pixels; the third image has no ink.
        let images = vec![0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 0, 0, 0, 0, 0, 0];
        let set =
            ImageSet { height: 2, width: 3, channels: 1, classes: 3, images: images.into(), labels: vec![0, 2, 2] };
        let found = Statistics::of(&set);
        assert_eq!(found.counts, [1, 0, 2]);
        assert_eq!(found.means, [vec![0, 9, 0, 0, 0, 0], vec![0; 6], vec![0, 0, 0, 0, 5, 10]]);
        assert_eq!(found.mean, [0, 3, 0, 0, 3, 7]);
        assert_eq!((found.rows.as_slice(), found.columns.as_slice()), (&[9, 30][..], &[0, 19, 20][..]));
        assert_eq!(found.boxes, [[0, 0, 1, 1], [1, 1, 1, 2]]);
        assert_eq!((found.extent(), found.medians()), (Some([0, 1, 1, 2]), Some([1, 1, 1, 2])));
        assert_eq!((found.within([0, 0, 0, 2]), found.within([0, 1, 0, 2])), (0.5, 1.0));
    }

    #[test]
    fn a_pixel_is_inked_in_whichever_channel() {
        let images = vec![0, 0, 0, 7, 0, 0];
        let set = ImageSet { height: 1, width: 3, channels: 2, classes: 2, images: images.into(), labels: vec![1] };
        let found = Statistics::of(&set);
        assert_eq!((found.boxes, found.columns), (vec![[0, 0, 1, 1]], vec![0, 7, 0]));
    }
}
