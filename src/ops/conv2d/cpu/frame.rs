//! An image with room around it.

/// Words behind an image's copy, so that a tile may read past its end.
pub const SLACK: usize = 64;

/// `[height, width, channels]`; all that lies outside the source is zero.
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

    /// Copies `image [h, w, c]` into `out`, which is zero or holds another image of this size; rows and columns
    /// that the frame has no room for are dropped.
    pub fn fill(&self, image: &[f32], [h, w, c]: [usize; 3], out: &mut [f32]) {
        let columns = w.min(self.width.saturating_sub(self.left)) * c;
        for row in 0..h.min(self.height.saturating_sub(self.top)) {
            let to = ((row + self.top) * self.width + self.left) * c;
            out[to..to + columns].copy_from_slice(&image[row * w * c..][..columns]);
        }
    }
}
