//! Colours that stay apart for colour-blind readers and on a grey printout.

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

pub(crate) const PAPER: Rgb = [255, 255, 255];
pub(crate) const INK: Rgb = [34, 34, 34];
pub(crate) const QUIET: Rgb = [110, 110, 110];
pub(crate) const FRAME: Rgb = [150, 150, 150];
pub(crate) const GRID: Rgb = [226, 226, 226];
pub(crate) const BLUE: Rgb = [0, 92, 160];
pub(crate) const ORANGE: Rgb = [205, 84, 0];

/// Okabe and Ito's colours; their yellow, too pale for a line on white, is darkened to olive.
const LINES: [Rgb; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
    [60, 60, 60],
    [140, 128, 20],
];

/// Colour of the `index`-th line, and whether to dash it because the colours start over.
pub(crate) fn line(index: usize) -> (Rgb, bool) {
    (LINES[index % LINES.len()], (index / LINES.len()) % 2 == 1)
}

/// `share` of `a` over the rest of `b`; `share` is held between 0 and 1.
pub(crate) fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    std::array::from_fn(|i| (f32::from(a[i]) * share + f32::from(b[i]) * (1.0 - share)).round() as u8)
}

/// Dark or white ink, whichever reads better on `ground`.
pub(crate) fn ink_on(ground: Rgb) -> Rgb {
    let [r, g, b] = ground.map(f32::from);
    if 0.299 * r + 0.587 * g + 0.114 * b > 140.0 { INK } else { PAPER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_runs_from_one_colour_to_the_other() {
        assert_eq!(mix(BLUE, PAPER, 0.0), PAPER);
        assert_eq!(mix(BLUE, PAPER, 1.0), BLUE);
        assert_eq!(mix([0, 0, 0], [100, 100, 100], 0.5), [50, 50, 50]);
        assert_eq!(mix(BLUE, PAPER, f32::NAN), PAPER);
    }

    #[test]
    fn ink_contrasts_with_its_ground() {
        assert_eq!(ink_on(PAPER), INK);
        assert_eq!(ink_on(BLUE), PAPER);
    }

    #[test]
    fn the_ninth_line_repeats_the_first_colour_but_dashed() {
        assert_eq!(line(0).0, line(8).0);
        assert_eq!((line(0).1, line(8).1), (false, true));
    }
}
