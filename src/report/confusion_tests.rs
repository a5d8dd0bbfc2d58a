//! Confusion counts checked against sums done by hand and published intervals.

use super::*;
use proptest::prelude::*;

/// 3 classes: two 0s right and one taken for 1, three 1s right, one 2 taken for 0.
fn small() -> Confusion {
    let pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (2, 0)];
    Confusion::from_pairs(3, pairs).unwrap()
}

fn near(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-12)
}

#[test]
fn precision_recall_and_f1_agree_with_sums_done_by_hand() {
    let stats = small().per_class();
    assert!(near(stats[0].precision, 2.0 / 3.0));
    assert!(near(stats[0].recall, 2.0 / 3.0));
    assert!(near(stats[0].f1, 2.0 / 3.0));
    assert!(near(stats[1].precision, 3.0 / 4.0));
    assert!(near(stats[1].recall, 1.0));
    assert!(near(stats[1].f1, 6.0 / 7.0));
    assert_eq!((stats[1].support, stats[1].predicted), (3, 4));
}

#[test]
fn a_class_never_predicted_has_no_precision_but_counts_as_zero_in_the_mean() {
    let confusion = small();
    let stats = &confusion.per_class()[2];
    assert_eq!(stats.precision, None);
    assert_eq!(stats.recall, Some(0.0));
    assert_eq!(stats.f1, Some(0.0));
    let means = confusion.macro_means();
    assert!(near(means.precision, (2.0 / 3.0 + 0.75 + 0.0) / 3.0));
    assert!(near(means.recall, (2.0 / 3.0 + 1.0 + 0.0) / 3.0));
    assert!(near(means.f1, (2.0 / 3.0 + 6.0 / 7.0) / 3.0));
}

#[test]
fn classes_that_do_not_occur_are_left_out_of_the_means() {
    let confusion = Confusion::from_pairs(5, [(0, 0), (1, 4)]).unwrap();
    assert!(near(confusion.macro_means().recall, 0.5));
}

#[test]
fn the_wilson_interval_matches_known_values() {
    // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29.
    let known = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)];
    for (right, of, low, high) in known {
        let pairs = (0..of).map(|i| (0, usize::from(i >= right)));
        let interval = Confusion::from_pairs(2, pairs).unwrap().accuracy_interval();
        let (found_low, found_high) = interval.unwrap();
        assert!((found_low - low).abs() < 6e-5, "{right}/{of}: {found_low}");
        assert!((found_high - high).abs() < 6e-5, "{right}/{of}: {found_high}");
    }
}

#[test]
fn the_standard_error_of_nine_in_ten_is_the_binomial_one() {
    let pairs = (0..100).map(|i| (0, usize::from(i < 10)));
    let confusion = Confusion::from_pairs(2, pairs).unwrap();
    assert!(near(confusion.accuracy(), 0.9));
    assert!(near(confusion.standard_error(), 0.03));
}

#[test]
fn without_examples_nothing_is_defined_and_nothing_panics() {
    for classes in [0, 1, 10] {
        let confusion = Confusion::new(classes).unwrap();
        assert_eq!((confusion.accuracy(), confusion.standard_error()), (None, None));
        assert_eq!(confusion.accuracy_interval(), None);
        assert_eq!(confusion.macro_means().f1, None);
        assert_eq!(confusion.per_class().len(), classes);
    }
}

#[test]
fn an_example_that_was_predicted_as_no_class_is_wrong_and_counts_for_its_own_class_only() {
    let pairs = [(0, Some(0)), (0, None), (1, None)];
    let confusion = Confusion::from_pairs(2, pairs).unwrap();
    assert_eq!((confusion.correct(), confusion.total()), (1, 3));
    assert!(confusion.most_confused(9).is_empty());
    let counts: Vec<_> = confusion.per_class().iter().map(|class| (class.support, class.predicted)).collect();
    assert_eq!(counts, [(2, 1), (1, 0)]);
    let accuracy = Confusion::right_or_wrong(pairs);
    assert_eq!((accuracy.correct(), accuracy.total()), (1, 3));
    assert!(Confusion::from_pairs(2, [(2, None)]).is_err());
}

#[test]
fn labels_that_do_not_exist_are_refused_and_not_counted() {
    let mut confusion = Confusion::new(3).unwrap();
    let message = confusion.add(1, 3).unwrap_err().to_string();
    assert_eq!(message, "truth 1, predicted 3: only classes below 3 exist");
    assert!(confusion.add(usize::MAX, 0).is_err());
    assert_eq!(confusion.total(), 0);
    assert!(Confusion::new(usize::MAX).is_err());
}

#[test]
fn mistakes_come_commonest_first_and_ties_by_class() {
    let pairs = [(2, 1), (4, 9), (4, 9), (0, 3), (5, 5)];
    let confusion = Confusion::from_pairs(10, pairs).unwrap();
    let found: Vec<_> = confusion.most_confused(9).iter().map(|m| (m.truth, m.predicted, m.count)).collect();
    assert_eq!(found, [(4, 9, 2), (0, 3, 1), (2, 1, 1)]);
    assert_eq!(confusion.most_confused(1).len(), 1);
}

proptest! {
    #[test]
    fn shares_stay_between_0_and_1_and_the_interval_holds_the_accuracy(
        pairs in prop::collection::vec((0usize..6, 0usize..6), 1..200),
    ) {
        let confusion = Confusion::from_pairs(6, pairs.clone()).unwrap();
        prop_assert_eq!(confusion.total(), pairs.len() as u64);
        let (low, high) = confusion.accuracy_interval().unwrap();
        let accuracy = confusion.accuracy().unwrap();
        prop_assert!(0.0 <= low && low <= accuracy + 1e-12);
        prop_assert!(accuracy - 1e-12 <= high && high <= 1.0);
        let support: u64 = confusion.per_class().iter().map(|c| c.support).sum();
        prop_assert_eq!(support, confusion.total());
        let mistakes: u64 = confusion.most_confused(36).iter().map(|m| m.count).sum();
        prop_assert_eq!(mistakes, confusion.total() - confusion.correct());
    }
}
