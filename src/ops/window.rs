//! A window of an image, put at every place where it fits: how a set of images becomes one many times as large.

/// What is kept of an image, in pixels; everything else becomes black. The window of a set has `places` offsets, and
/// "place" counts them from top to bottom and, within a row of places, from left to right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first row and column that are kept.
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl Window {
    /// The window of the 77-fold MNIST: of 28 x 28 pixels, rows 4..=25 (22 of them) and columns 5..=22 (18). It fits at
    /// 28 - 22 + 1 = 7 heights and 28 - 18 + 1 = 11 widths: 7 x 11 = 77 places.
    pub const DIGIT: Window = Window { top: 4, left: 5, height: 22, width: 18 };
    /// Height and width of the images that [`Window::DIGIT`] is for.
    pub const DIGIT_IMAGE: [usize; 2] = [28, 28];

    /// Whether it lies within an image of these sizes and holds anything.
    pub fn is_within(self, [height, width]: [usize; 2]) -> bool {
        let fits = |first: usize, size: usize, side| size > 0 && first.checked_add(size).is_some_and(|end| end <= side);
        fits(self.top, self.height, height) && fits(self.left, self.width, width)
    }

    /// Offsets down and across at which it fits into an image of these sizes.
    pub fn offsets(self, [height, width]: [usize; 2]) -> [usize; 2] {
        [height - self.height + 1, width - self.width + 1]
    }

    /// How many images one image becomes.
    pub fn places(self, image: [usize; 2]) -> usize {
        let [down, across] = self.offsets(image);
        down * across
    }

    /// The row and the column of the window's corner at a place.
    #[inline(always)]
    pub fn corner(self, image: [usize; 2], place: usize) -> [usize; 2] {
        let across = self.offsets(image)[1];
        [place / across, place % across]
    }

    /// Writes the window of an image `[height, width, channels]` at `place` into `out`, which is all background;
    /// `value` converts each element.
    #[inline(always)]
    pub fn put<T>(
        self,
        [height, width, channels]: [usize; 3],
        place: usize,
        image: &[u8],
        out: &mut [T],
        value: impl Fn(u8) -> T,
    ) {
        let [top, left] = self.corner([height, width], place);
        let run = self.width * channels;
        for row in 0..self.height {
            let from = ((self.top + row) * width + self.left) * channels;
            let to = ((top + row) * width + left) * channels;
            out[to..][..run].iter_mut().zip(&image[from..][..run]).for_each(|(out, byte)| *out = value(*byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_digits_fits_at_seven_times_eleven_places() {
        assert!(Window::DIGIT.is_within(Window::DIGIT_IMAGE));
        assert_eq!(Window::DIGIT.offsets(Window::DIGIT_IMAGE), [7, 11]);
        assert_eq!(Window::DIGIT.places(Window::DIGIT_IMAGE), 77);
        let corners = [0, 1, 10, 11, 49, 76].map(|place| Window::DIGIT.corner(Window::DIGIT_IMAGE, place));
        assert_eq!(corners, [[0, 0], [0, 1], [0, 10], [1, 0], [4, 5], [6, 10]]);
    }

    #[test]
    fn a_window_outside_the_image_or_without_pixels_is_not_within_it() {
        for (top, left, height, width) in [(4, 5, 22, 24), (7, 0, 22, 18), (0, 0, 0, 3), (usize::MAX, 0, 2, 2)] {
            assert!(!Window { top, left, height, width }.is_within([28, 28]));
        }
    }

    #[test]
    fn at_its_own_corner_the_window_leaves_the_image_as_it_was_but_for_the_border() {
        let image: Vec<u8> = (1..=24).collect();
        let window = Window { top: 1, left: 0, height: 2, width: 1 };
        // 4 x 3 pixels of two channels; two rows and one column are kept, and fit at 3 x 3 places.
        let mut out = [0; 24];
        window.put([4, 3, 2], 3, &image, &mut out, |byte| byte);
        assert_eq!(out[6..14], [7, 8, 0, 0, 0, 0, 13, 14]);
        assert_eq!(out.iter().filter(|byte| **byte > 0).count(), 4);
        let mut out = [0; 24];
        window.put([4, 3, 2], 8, &image, &mut out, |byte| byte);
        assert_eq!(out[16..], [7, 8, 0, 0, 0, 0, 13, 14]);
    }
}
