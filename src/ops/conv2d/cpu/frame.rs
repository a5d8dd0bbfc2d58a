//! An image with room around it.

use crate::ops::tile::lanes;

/// Words after an image's copy, so that a tile may read past its end.
pub const SLACK: usize = 64;

/// `[height, width, channels]`; everything outside the source is zero.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub height: usize,
    pub width: usize,
    pub top: usize,
    pub left: usize,
}

impl Frame {
    /// Words that the frame takes, [`SLACK`] included.
    pub fn len(&self, channels: usize) -> usize {
        self.height * self.width * channels + SLACK
    }

    /// Zeroes the border around an image of this size: [`Frame::fill`] writes the rest.
    pub fn clear(&self, [h, w, c]: [usize; 3], out: &mut [f32]) {
        let rows = self.top..self.height.min(self.top + h);
        let (from, to) = (self.left.min(self.width) * c, self.width.min(self.left + w) * c);
        for (i, row) in out[..self.height * self.width * c].chunks_exact_mut(self.width * c).enumerate() {
            if rows.contains(&i) {
                row[..from].fill(0.0);
                row[to..].fill(0.0);
            } else {
                row.fill(0.0);
            }
        }
        out[self.height * self.width * c..].fill(0.0);
    }

    /// Copies `image [h, w, c]` into `out`, whose border is zero; rows and columns that the frame has no room for are
    /// dropped.
    pub fn fill(&self, image: &[f32], [h, w, c]: [usize; 3], out: &mut [f32]) {
        let columns = w.min(self.width.saturating_sub(self.left)) * c;
        for row in 0..h.min(self.height.saturating_sub(self.top)) {
            let to = ((row + self.top) * self.width + self.left) * c;
            out[to..to + columns].copy_from_slice(&image[row * w * c..][..columns]);
        }
    }

    /// The reverse: what [`Frame::fill`] copies into the frame is copied out of it, and what it drops becomes zero.
    pub fn take(&self, frame: &[f32], [h, w, c]: [usize; 3], image: &mut [f32]) {
        let columns = w.min(self.width.saturating_sub(self.left)) * c;
        for (row, out) in image.chunks_exact_mut(w * c).take(h).enumerate() {
            let (out, dropped) = out.split_at_mut(if row + self.top < self.height { columns } else { 0 });
            let from = ((row + self.top) * self.width + self.left) * c;
            out.copy_from_slice(frame.get(from..from + out.len()).unwrap_or(&[]));
            dropped.fill(0.0);
        }
    }
}

/// Images in frames that are used in turn. Where an image fills its frame and its pixels are whole vectors, images are
/// read in place.
pub struct Frames {
    frame: Frame,
    image: [usize; 3],
    slots: usize,
    is_copied: bool,
}

impl Frames {
    /// For images `[h, w, c]`, `slots` of them at once.
    pub fn new(frame: Frame, image: [usize; 3], slots: usize) -> Frames {
        let [h, w, c] = image;
        let lie = [frame.height, frame.width, frame.top, frame.left] == [h, w, 0, 0] && c.is_multiple_of(lanes());
        Frames { frame, image, slots, is_copied: !lie }
    }

    /// Words from one image to the next.
    pub fn step(&self) -> usize {
        if self.is_copied { self.frame.len(self.image[2]) } else { self.image.iter().product() }
    }

    /// Words that the frames take.
    pub fn len(&self) -> usize {
        if self.is_copied { self.slots * self.step() } else { 0 }
    }

    /// Zeroes the borders around the images.
    pub fn clear(&self, frames: &mut [f32]) {
        frames.chunks_exact_mut(self.step()).for_each(|frame| self.frame.clear(self.image, frame));
    }

    /// Copies image `i` of `images` into its frame, whose border is zero.
    pub fn fill(&self, i: usize, images: &[f32], frames: &mut [f32]) {
        if self.is_copied {
            let image = self.image.iter().product::<usize>();
            let frame = &mut frames[i % self.slots * self.step()..][..self.step()];
            self.frame.fill(&images[i * image..][..image], self.image, frame);
        }
    }

    /// Where to read the images, `step` words apart.
    pub fn of<'a>(&self, images: &'a [f32], frames: &'a [f32]) -> &'a [f32] {
        if self.is_copied { frames } else { images }
    }
}
