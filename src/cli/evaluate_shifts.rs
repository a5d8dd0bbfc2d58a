//! `inkgrad evaluate --shifts`: how accurate a classifier is on shifted images.

use serde::Serialize;

use crate::data::ImageSet;
use crate::device::Device;
use crate::infer::{Evaluation, InferError, Scores};
use crate::report::{aligned, percent};

/// Accuracy with every image moved by so many pixels.
#[derive(PartialEq, Serialize, Debug)]
pub struct Shifts {
    /// Pixels in each direction, at most.
    most: usize,
    /// A row for every number of pixels down, and in it an accuracy for every number to the right, each from `-most` to
    /// `most`.
    accuracy: Vec<Vec<f64>>,
    by_distance: Vec<Distance>,
}

/// All shifts whose larger direction is of so many pixels.
#[derive(PartialEq, Serialize, Debug)]
struct Distance {
    pixels: usize,
    shifts: usize,
    /// The mean over them.
    accuracy: f64,
}

/// Refuses shifts that leave nothing of an image.
pub fn check(most: usize, set: &ImageSet) -> anyhow::Result<()> {
    let side = set.height.min(set.width);
    anyhow::ensure!(
        most < side,
        "--shifts is {most}; it must be a number from 0 to {}, as images are {} x {}",
        side - 1,
        set.height,
        set.width
    );
    Ok(())
}

/// Accuracy at every shift of up to `most` pixels, each image looked at `views` times. `evaluation` is for images of
/// this size; afterwards it holds those of the last shift. What moves in is the background of its model.
pub fn measure(
    evaluation: &mut Evaluation,
    device: &mut dyn Device,
    set: &ImageSet,
    most: usize,
    views: usize,
) -> Result<Shifts, InferError> {
    let reach = most as isize;
    let mut moved = set.clone();
    let mut accuracy = Vec::new();
    // Sum and number of the accuracies at each distance.
    let mut by_distance = vec![(0.0, 0); most + 1];
    for down in -reach..=reach {
        let mut row = Vec::new();
        for right in -reach..=reach {
            moved.images = shifted(set, down, right, evaluation.background()).into();
            evaluation.hold(device, &moved)?;
            let accuracy = Scores::new(&evaluation.mean_logits(device, set.len(), views)?, &set.labels).accuracy();
            let (sum, count) = &mut by_distance[down.abs().max(right.abs()) as usize];
            (*sum, *count) = (*sum + accuracy, *count + 1);
            row.push(accuracy);
        }
        accuracy.push(row);
    }
    let mean = |(pixels, (sum, shifts))| Distance { pixels, shifts, accuracy: sum / shifts as f64 };
    Ok(Shifts { most, accuracy, by_distance: by_distance.into_iter().enumerate().map(mean).collect() })
}

impl Shifts {
    /// A table of rows (down) and columns (right), and one line for each distance.
    pub fn fmt_table(&self) -> String {
        let most = self.most as isize;
        let mut rows = vec![vec!["down \\ right".to_string()]];
        rows[0].extend((-most..=most).map(signed));
        for (down, accuracy) in (-most..).zip(&self.accuracy) {
            let accuracy = accuracy.iter().map(|accuracy| percent(Some(*accuracy)));
            rows.push([signed(down)].into_iter().chain(accuracy).collect());
        }
        let mut lines = vec![["pixels".to_string(), "shifts".into(), "mean accuracy".into()]];
        for Distance { pixels, shifts, accuracy } in &self.by_distance {
            lines.push([pixels.to_string(), shifts.to_string(), percent(Some(*accuracy))]);
        }
        format!(
            "accuracy with every image moved, in pixels:\n{}\nby the larger of the two:\n{}",
            aligned(&rows),
            aligned(&lines)
        )
    }
}

fn signed(pixels: isize) -> String {
    if pixels == 0 { "0".into() } else { format!("{pixels:+}") }
}

/// All images moved `down` and `right` by so many pixels, both less than a side; what moves in is `background`.
fn shifted(set: &ImageSet, down: isize, right: isize, background: u8) -> Vec<u8> {
    let &ImageSet { height, width, channels, .. } = set;
    let mut moved = vec![background; set.images.len()];
    let columns = width - right.unsigned_abs();
    let (from, to) = ((-right).max(0) as usize, right.max(0) as usize);
    for (image, moved) in set.images.chunks(set.image_len()).zip(moved.chunks_mut(set.image_len())) {
        for row in 0..height {
            let Some(source) = row.checked_add_signed(-down).filter(|source| *source < height) else { continue };
            let source = &image[(source * width + from) * channels..][..columns * channels];
            moved[(row * width + to) * channels..][..columns * channels].copy_from_slice(source);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::device::cpu::Cpu;
    use crate::models::ModelFile;

    #[test]
    fn images_move_down_and_right_and_what_comes_in_is_background() {
        let images = vec![1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16];
        let set = ImageSet { height: 3, width: 2, channels: 1, classes: 2, images: images.into(), labels: vec![0, 1] };
        assert_eq!(shifted(&set, 0, 0, 9), *set.images);
        assert_eq!(shifted(&set, 1, 0, 0), [0, 0, 1, 2, 3, 4, 0, 0, 11, 12, 13, 14]);
        assert_eq!(shifted(&set, -2, 1, 9), [9, 5, 9, 9, 9, 9, 9, 15, 9, 9, 9, 9]);
        assert_eq!(shifted(&set, 0, -1, 9), [2, 9, 4, 9, 6, 9, 12, 9, 14, 9, 16, 9]);
        let wide = ImageSet { height: 1, width: 3, channels: 2, ..set };
        assert_eq!(shifted(&wide, 0, 1, 0), [0, 0, 1, 2, 3, 4, 0, 0, 11, 12, 13, 14]);
    }

    #[test]
    fn a_set_that_is_too_large_to_lie_on_a_device_is_as_accurate_in_pieces() {
        let set = mnist::embedded().unwrap().test.select(&(0..400).collect::<Vec<_>>());
        let (file, mut device) = (ModelFile::shipped("dense").unwrap(), Cpu::new());
        let [whole, pieces] = [400, 300].map(|room| {
            let images = (room, [28, 28, 1]);
            let mut evaluation = Evaluation::open_for(&file, images, &mut device).unwrap();
            // As where the set was tested before it was moved.
            evaluation.hold(&mut device, &set).unwrap();
            measure(&mut evaluation, &mut device, &set, 1, 1).unwrap()
        });
        assert_eq!(pieces, whole);
    }

    #[test]
    fn a_shift_that_leaves_nothing_is_refused() {
        let set = ImageSet { height: 3, width: 2, channels: 1, classes: 2, images: vec![0; 6].into(), labels: vec![0] };
        assert!(check(1, &set).is_ok());
        assert!(check(2, &set).unwrap_err().to_string().contains("from 0 to 1"));
    }
}
