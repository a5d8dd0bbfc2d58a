//! Contact sheets: exact pixels and sizes, captions, refused input.

use super::*;
use proptest::prelude::*;

fn item<'a>(pixels: &'a [u8], caption: &str) -> SheetItem<'a> {
    SheetItem { pixels, caption: caption.to_owned() }
}

#[test]
fn each_pixel_becomes_a_square_of_its_colour() {
    let pixels: Vec<u8> = (0..50 * 2).map(|i| i * 2).collect();
    let image = titled_sheet("", &[item(&pixels, "")], (2, 50, 1), 1, 4).unwrap();
    assert_eq!(image.dimensions(), (200 + 48, 40 + 48));
    for (x, y) in [(0, 0), (49, 0), (0, 1), (31, 1)] {
        for corner in [0, 3] {
            let pixel = image.get_pixel(24 + x * 4 + corner, 24 + y * 4 + corner);
            assert_eq!(pixel.0, [((y * 50 + x) * 2) as u8; 3]);
        }
    }
    assert_eq!(image.get_pixel(23, 24).0, FRAME);
    assert_eq!(image.get_pixel(22, 24).0, PAPER);
}

#[test]
fn colour_and_transparency_are_kept() {
    assert_eq!(colour(&[10, 20, 30]), [10, 20, 30]);
    assert_eq!(colour(&[10, 20, 30, 255]), [10, 20, 30]);
    assert_eq!(colour(&[10, 20, 30, 0]), PAPER);
    assert_eq!(colour(&[7]), [7, 7, 7]);
    assert_eq!(colour(&[7, 0]), PAPER);
}

#[test]
fn the_sheet_grows_by_rows_and_columns() {
    let pixels = [0; 28 * 28];
    let items = vec![item(&pixels, "4 → 9\n98 %"); 10];
    let image = titled_sheet("Worst", &items, (28, 28, 1), 4, 3).unwrap();
    let (cell_w, cell_h) = (28 * 3, 28 * 3 + 2 * 20 + 6);
    assert_eq!(image.width(), 4 * cell_w + 3 * 16 + 48);
    assert_eq!(image.height(), 46 + 3 * cell_h + 2 * 16 + 48);
    let captioned = |x: u32| {
        let rows = 24 + 46 + 84 + 6..24 + 46 + 84 + 46;
        rows.into_iter().any(|y| (x..x + 84).any(|x| image.get_pixel(x, y).0 != PAPER))
    };
    assert!(captioned(24) && captioned(24 + 100));
}

#[test]
fn a_narrow_sheet_is_as_wide_as_the_sentence_above_it() {
    let title = "MNIST: an image, and beside it what training sees of it";
    let image = titled_sheet(title, &[item(&[0; 4], "")], (2, 2, 1), 1, 1).unwrap();
    assert_eq!(u64::from(image.width()), text::width(title, TITLE).ceil() as u64 + 2 * MARGIN);
}

#[test]
fn a_long_caption_is_broken_at_a_space_and_then_cut() {
    let room = 84.0;
    assert_eq!(caption_lines("4 -> 9", room), ["4 -> 9"]);
    assert_eq!(caption_lines("4 -> 9  98.2 %", room), ["4 -> 9", "98.2 %"]);
    assert_eq!(caption_lines("a\nb\nc", room), ["a", "b"]);
    assert!(caption_lines("unbreakablylong", room)[0].contains('…'));
    // A cell grows to hold text that must not be broken.
    let whole = "100.0\u{a0}%";
    assert_eq!(caption_lines(whole, needed(whole, 20) as f32), [whole]);
    assert!(caption_lines("", room).is_empty());
}

#[test]
fn a_long_line_among_two_is_broken_so_that_no_word_is_lost() {
    let caption = "noise 1 : label 127\n97.8\u{a0}% as asked, variety\u{a0}0.93";
    assert!(needed(caption, 36) > WIDEST_CAPTION);
    let lines = caption_lines(caption, WIDEST_CAPTION as f32);
    assert_eq!(lines, ["noise 1 : label 127", "97.8\u{a0}% as asked,", "variety\u{a0}0.93"]);
    let narrow = titled_sheet("", &[item(&[0; 4], caption)], (2, 2, 1), 1, 1).unwrap();
    assert_eq!(u64::from(narrow.height()), 2 * MARGIN + 2 + 6 + 3 * CAPTION_ROW);
}

#[test]
fn a_mistake_between_long_names_shows_the_start_and_the_end_of_both() {
    assert_eq!(mistake_caption("4", "9"), "4 → 9");
    let [one, two] = [1, 2].map(|i| format!("a really rather long class {i}"));
    let caption = mistake_caption(&one, &two);
    let (truth, answer) = caption.split_once(" → ").unwrap();
    assert!(truth.starts_with("a r") && truth.ends_with("s 1") && truth.contains('…'), "{caption}");
    assert!(answer.starts_with("a r") && answer.ends_with("s 2"), "{caption}");
    assert!(needed(&format!("{caption}\n9 %"), 20) <= WIDEST_CAPTION, "{caption}");
    // Beside a short name there is more room.
    assert!(mistake_caption("4", &two).len() > answer.len() + 5, "{caption}");
}

#[test]
fn images_that_do_not_match_their_shape_are_refused() {
    let short = titled_sheet("", &[item(&[0; 4], ""), item(&[0; 3], "")], (2, 2, 1), 1, 1);
    assert_eq!(short.unwrap_err().to_string(), "image 1 has 3 bytes where height x width x channels asks for 4");
    let channels = titled_sheet("", &[], (2, 2, 5), 1, 1).unwrap_err();
    assert!(matches!(channels, ReportError::WrongChannels(5)));
}

#[test]
fn enormous_sheets_are_refused_and_empty_ones_drawn() {
    let huge = titled_sheet("", &[item(&[0; 4], "")], (2, 2, 1), 1, usize::MAX);
    assert!(matches!(huge, Err(ReportError::TooLarge { .. })));
    let empty = titled_sheet("No mistakes", &[], (28, 28, 1), 0, 0).unwrap();
    assert!(empty.pixels().any(|pixel| pixel.0 == QUIET));
    let flat = titled_sheet("", &[item(&[], "x")], (0, usize::MAX, 1), usize::MAX, 2);
    assert!(matches!(flat, Err(ReportError::TooLarge { .. })));
    assert!(titled_sheet("", &[item(&[], "x")], (5, 0, 3), 2, 2).is_ok());
}

#[test]
fn a_sheet_has_room_for_so_many_rows_and_columns_and_for_no_more() {
    for (side, scale, caption) in [(28, 20, ""), (400, 1, "a caption of more words than a line has room for")] {
        let pixels = vec![0; side * side];
        let (rows, columns) = sheet_room([caption].into_iter(), (side, side), scale);
        let drawn = |rows: usize, columns: usize| {
            titled_sheet("title", &vec![item(&pixels, caption); rows * columns], (side, side, 1), columns, scale)
        };
        assert!(rows > 1 && columns > 1, "{rows} x {columns}");
        assert!(drawn(rows, 1).is_ok() && drawn(1, columns).is_ok(), "{rows} x {columns}");
        assert!(matches!(drawn(rows + 1, 1), Err(ReportError::TooLarge { .. })), "{rows} x {columns}");
        assert!(matches!(drawn(1, columns + 1), Err(ReportError::TooLarge { .. })), "{rows} x {columns}");
    }
    assert_eq!(sheet_room(std::iter::empty(), (20_000, 20_000), 1), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_captions_and_layouts_give_a_sheet(
        captions in prop::collection::vec(any::<String>(), 0..9),
        title in any::<String>(),
        columns in 0usize..12,
        scale in 0usize..4,
    ) {
        let pixels = [128; 6 * 5 * 3];
        let items: Vec<_> = captions.iter().map(|caption| item(&pixels, caption)).collect();
        prop_assert!(titled_sheet(&title, &items, (6, 5, 3), columns, scale).is_ok());
    }
}
