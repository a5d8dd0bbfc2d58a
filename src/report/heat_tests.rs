//! Heat maps: colours of known cells, sizes from 0 to many classes.

use super::*;
use proptest::prelude::*;

const NONE: [&str; 0] = [];

fn digits() -> Confusion {
    let mut pairs = vec![(0, 0); 900];
    pairs.extend([(4, 9); 12]);
    pairs.push((7, 1));
    Confusion::from_pairs(10, pairs).unwrap()
}

/// Colour near the corner of a cell, away from its count.
fn cell(confusion: &Confusion, truth: i64, predicted: i64) -> Rgb {
    let names = (0..confusion.classes()).map(|i| i.to_string()).collect();
    let heat = Heat::new(confusion, names);
    let image = heat.draw().unwrap();
    let x = heat.area.x + predicted * heat.cell + 2;
    let y = heat.area.y + truth * heat.cell + 2;
    image.get_pixel(x as u32, y as u32).0
}

#[test]
fn right_answers_are_blue_mistakes_orange_and_empty_cells_white() {
    let confusion = digits();
    assert_eq!(cell(&confusion, 0, 0), BLUE);
    assert_eq!(cell(&confusion, 4, 9), ORANGE);
    assert_eq!(cell(&confusion, 9, 4), PAPER);
}

#[test]
fn a_single_mistake_is_visible_but_paler_than_the_commonest() {
    let [r, g, b] = cell(&digits(), 7, 1);
    assert!(b < 225 && r > g && g > b, "{r} {g} {b}");
    assert!(b > ORANGE[2] + 100);
}

#[test]
fn a_lone_kind_of_mistake_is_drawn_in_full_colour() {
    let confusion = Confusion::from_pairs(2, [(0, 1)]).unwrap();
    assert_eq!(cell(&confusion, 0, 1), ORANGE);
}

#[test]
fn a_name_stands_beside_its_class_where_others_are_left_out() {
    let confusion = Confusion::new(100).unwrap();
    let mut names = vec![String::new(); 100];
    names[30] = "x".into();
    let heat = Heat::new(&confusion, names);
    assert_eq!((heat.every, heat.names_upwards), (2, true));
    let image = heat.draw().unwrap();
    let has_ink = |left: i64, top: i64| {
        let (x, y) = (left as u32, top as u32);
        let mut places = (x..x + 16).flat_map(|x| (y..y + 16).map(move |y| (x, y)));
        places.any(|(x, y)| image.get_pixel(x, y).0 != PAPER)
    };
    let (Area { x, y, h, .. }, middle) = (heat.area, 30 * heat.cell + heat.cell / 2);
    assert!(has_ink(x - 26, y + middle - 8), "beside its row");
    assert!(has_ink(x + middle - 8, y + h + 8), "below its column");
}

#[test]
fn pictures_keep_a_sensible_size_from_no_class_to_many() {
    for classes in [0, 1, 2, 10, 47, 100, 1000, 4096] {
        let confusion = Confusion::new(classes).unwrap();
        let image = confusion_picture(&confusion, &NONE).unwrap();
        let (w, h) = image.dimensions();
        let most = 1400.max(classes as u32 + 400);
        assert!((200..=most).contains(&w), "{classes}: {w}");
        assert!((200..=most).contains(&h), "{classes}: {h}");
    }
}

#[test]
fn the_margins_stay_white_even_with_long_names() {
    let names = ["a very long class name that has to be cut off"; 10];
    let image = confusion_picture(&digits(), &names).unwrap();
    let (w, h) = image.dimensions();
    for (x, y, pixel) in image.enumerate_pixels() {
        if x < 20 || y < 20 || x + 20 > w || y + 20 > h {
            assert_eq!(pixel.0, PAPER, "{x},{y}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_counts_and_names_give_a_picture(
        pairs in prop::collection::vec((0usize..7, 0usize..7), 0..40),
        names in prop::collection::vec(any::<String>(), 0..9),
    ) {
        let confusion = Confusion::from_pairs(7, pairs).unwrap();
        prop_assert!(confusion_picture(&confusion, &names).is_ok());
    }
}
