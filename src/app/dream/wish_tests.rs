use super::*;

fn wish(view: View) -> Wish {
    Wish { view, ..Wish::new(6, 3) }
}

#[test]
fn the_seeds_of_a_grid_follow_the_current_one_and_numbers_set_by_hand_stay() {
    let mut wish = wish(View::Seeds);
    wish.settings.reseed(u32::MAX);
    wish.settings.set_number(2, 1.5);
    let digits = wish.digits();
    assert_eq!(digits.len(), 26);
    assert_eq!(digits[0], digits[1], "the first of the grid is the current one");
    let mut next = latent(0, 0, 6);
    next[2] = 1.5;
    assert_eq!(digits[2].latent, next, "after the last seed comes the first");
    assert_eq!(wish.pick(1).digit(), digits[2]);
    wish.settings.reset(0..6);
    assert_eq!(wish.settings.latent(), latent(u32::MAX, 0, 6));
}

#[test]
fn choosing_a_picture_of_any_view_makes_it_the_current_one() {
    for view in [View::One, View::Seeds, View::Around, View::Between] {
        let mut wish = wish(view);
        wish.settings.set_number(0, -2.0);
        for index in 0..wish.count() {
            let chosen = Wish { settings: wish.pick(index), ..wish.clone() };
            assert_eq!(chosen.digits()[0], wish.digits()[index + 1], "{view:?} {index}");
        }
    }
    let mut settings = wish(View::Around).pick(3);
    assert!(settings.is_picked());
    settings.reseed(4);
    assert_eq!(settings.latent(), latent(4, 0, 6));
}

#[test]
fn around_a_picture_that_was_chosen_lie_others_than_around_the_one_before() {
    let before = Wish { strength: 1.0, ..wish(View::Around) };
    let after = Wish { settings: before.pick(3), ..before.clone() };
    let apart = |index: usize| {
        let [a, b] = [&before, &after].map(|wish| wish.pick(index).latent());
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    assert!((1..before.count()).all(|index| apart(index) > 0.1));
}

#[test]
fn pictures_around_the_current_one_lie_as_near_as_the_strength_says() {
    let far = |strength| {
        let digits = Wish { strength, ..wish(View::Around) }.digits();
        let apart = |d: &Digit| d.latent.iter().zip(&digits[0].latent).map(|(a, b)| (a - b).abs()).sum::<f32>();
        digits.iter().map(apart).sum::<f32>()
    };
    assert!(far(0.0) < 1e-3 && far(0.2) > 0.1 && far(0.5) > far(0.2));
}

#[test]
fn the_way_from_a_to_b_ends_at_both_and_mixes_labels_evenly() {
    let wish = Wish { steps: 5, ..wish(View::Between) };
    let digits = wish.digits();
    assert_eq!([&digits[1], &digits[5]], [&wish.ends[0], &wish.ends[1]]);
    assert_eq!(digits[2].label, [0.75, 0.25, 0.0]);
    assert_eq!(digits[3].latent, slerp(&wish.ends[0].latent, &wish.ends[1].latent, 0.5));
    assert_eq!((wish.layout(), Wish { steps: 20, ..wish.clone() }.layout()), ([1, 5], [3, 8]));
}

#[test]
fn a_half_and_a_half_is_what_was_trained_and_the_factors_are_always_two_together() {
    let mut wish = wish(View::One);
    let digits = [wish.settings.digit()];
    assert_eq!(wish.inputs(&digits), (digits[0].latent.clone(), digits[0].label.clone()), "bit for bit");
    wish.settings.share = 0.75;
    assert_eq!(wish.settings.factors(), [0.5, 1.5]);
    wish.settings.truncation = 0.5;
    let (latents, labels) = wish.inputs(&digits);
    assert_eq!(latents[3], digits[0].latent[3] * 0.25);
    assert_eq!(labels, [1.5, 0.0, 0.0]);
}

#[test]
fn labels_are_mixed_evened_and_normalised() {
    let mut settings = Settings::new(4, 4);
    settings.label = vec![1.0, 0.5, 0.0, 0.5];
    assert_eq!(dominant(&settings.label), None, "one half is not more than a half");
    settings.normalise();
    assert_eq!(settings.label, [0.5, 0.25, 0.0, 0.25]);
    settings.even();
    assert_eq!(settings.label, [0.25; 4]);
    settings.only(2);
    assert_eq!(dominant(&settings.label), Some(2));
    settings.label = vec![0.0; 4];
    settings.normalise();
    assert_eq!((settings.label.clone(), dominant(&settings.label)), (vec![0.0; 4], None));
}

#[test]
fn what_is_no_number_is_mended_and_another_generator_begins_anew_where_it_must() {
    let mut wish = wish(View::One);
    (wish.settings.share, wish.settings.truncation, wish.strength) = (f32::NAN, f32::INFINITY, f32::NAN);
    wish.settings.label[1] = f32::NAN;
    wish.settings.set_number(1, f32::NAN);
    wish.settings.set_number(99, 1.0);
    (wish.side, wish.steps) = (0, 100_000);
    wish.mend();
    assert_eq!(wish, wish.clone(), "no NaN is left");
    assert_eq!((wish.side, wish.steps, wish.settings.share), (2, 64, 0.5));
    wish.settings.seed = 9;
    wish.fit(6, 3);
    assert_eq!(wish.settings.seed, 9);
    wish.fit(7, 1);
    assert_eq!((wish.settings.seed, wish.side), (0, 2));
    assert!(wish.digits()[0].latent.len() == 7);
    wish.fit(0, 0);
    assert_eq!(wish.inputs(&wish.digits()).0.len(), 0);
}
