use super::*;
use proptest::prelude::*;

fn scene(labels: Labels, seeds: Seeds) -> Scene {
    Scene { rows: 2, columns: 3, labels, seeds, one_hand: false }
}

fn path(keys: &[u32], frames: u32) -> Path {
    Path { keys: keys.to_vec(), frames }
}

#[test]
fn picture_i_of_a_plain_grid_has_latent_i_of_the_seed_and_the_labels_in_turn() {
    let scene = scene(Labels::InTurn(vec![3, 1, 4]), Seeds::One(9));
    assert_eq!((scene.stills(), scene.sheet(), scene.pictures()), (1, [2, 3], 6));
    for i in 0..6 {
        let cell = scene.cell(0, i).unwrap();
        assert_eq!(cell.latent(5, 1.0), latent(9, i, 5));
        let wanted = [3, 1, 4][i as usize % 3];
        assert_eq!(cell.label, Between::at(wanted));
        let weights = cell.weights(10);
        assert!(weights.iter().enumerate().all(|(j, w)| *w == f32::from(j == wanted as usize)));
    }
}

#[test]
fn each_of_several_seeds_has_a_still_in_one_hand() {
    let scene = Scene { one_hand: true, ..scene(Labels::InTurn(vec![0]), Seeds::Each(vec![5, 7])) };
    assert_eq!((scene.stills(), scene.sheet(), scene.pictures()), (2, [4, 3], 12));
    for i in 0..6 {
        assert_eq!(scene.cell(1, i).unwrap().latent(4, 1.0), latent(7, 0, 4));
    }
}

#[test]
fn cells_without_a_label_are_empty_and_keep_the_numbers_of_the_others() {
    let cells = vec![Some(1), None, Some(2), None, None, Some(3)];
    let scene = scene(Labels::Cells(cells), Seeds::One(0));
    assert_eq!(scene.pictures(), 3);
    assert_eq!(scene.cell(0, 1), None);
    assert_eq!(scene.cell(0, 5).unwrap().index, 5);
}

#[test]
fn a_way_over_several_seeds_passes_through_each() {
    let scene = scene(Labels::InTurn(vec![0]), Seeds::Path(path(&[3, 17, 4], 5)));
    assert_eq!(scene.stills(), 9);
    for (still, seed) in [(0, 3), (4, 17), (8, 4)] {
        assert_eq!(scene.cell(still, 2).unwrap().latent(6, 1.0), latent(seed, 2, 6));
    }
    let between = slerp(&latent(3, 2, 6), &latent(17, 2, 6), 0.25);
    assert_eq!(scene.cell(1, 2).unwrap().latent(6, 1.0), between, "nearer to the first");
    assert_eq!(scene.cell(6, 0).unwrap().seed, Between { from: 17, to: 4, share: 0.5 });
}

#[test]
fn a_way_between_labels_mixes_their_weights() {
    let scene = Scene { rows: 1, columns: 1, ..scene(Labels::Path(path(&[3, 8], 5)), Seeds::One(0)) };
    assert_eq!(scene.sheet(), [1, 5], "the steps of a single picture lie side by side");
    let weights = scene.cell(1, 0).unwrap().weights(10);
    assert_eq!((weights[3], weights[8]), (0.75, 0.25));
    assert_eq!(scene.cell(4, 0).unwrap().weights(10)[8], 1.0);
}

#[test]
fn truncation_scales_the_latent() {
    let scene = scene(Labels::InTurn(vec![0]), Seeds::One(1));
    let [whole, half] = [1.0, 0.5].map(|truncation| scene.cell(0, 0).unwrap().latent(8, truncation));
    assert!(whole.iter().zip(&half).all(|(whole, half)| whole * 0.5 == *half));
}

#[test]
fn a_way_between_opposite_or_vanishing_latents_is_straight() {
    assert_eq!(slerp(&[1.0, 0.0], &[-1.0, 0.0], 0.25), [0.5, 0.0]);
    assert_eq!(slerp(&[0.0, 0.0], &[2.0, 0.0], 0.5), [1.0, 0.0]);
}

proptest! {
    #[test]
    fn a_way_between_latents_begins_and_ends_at_them_and_keeps_their_length(
        a in prop::collection::vec(-3.0f32..3.0, 8), share in 0.0f64..1.0,
    ) {
        let b: Vec<f32> = a.iter().rev().map(|x| x + 0.5).collect();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        prop_assert!(near(&slerp(&a, &b, 0.0), &a) && near(&slerp(&a, &b, 1.0), &b));
        let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let unit = |v: &[f32]| v.iter().map(|x| x / length(v)).collect::<Vec<_>>();
        prop_assume!(length(&a) > 0.1 && length(&b) > 0.1);
        let middle = length(&slerp(&unit(&a), &unit(&b), share));
        prop_assert!((middle - 1.0).abs() < 1e-3, "length {middle}");
    }

    #[test]
    fn any_scene_has_a_cell_for_every_place_it_promises(
        keys in prop::collection::vec(any::<u32>(), 2..5), frames in 2u32..6, still in any::<u64>(), index in 0u32..6,
    ) {
        let scene = scene(Labels::Path(path(&keys, frames)), Seeds::One(0));
        let Between { share, .. } = scene.cell(still % scene.stills(), index).unwrap().label;
        prop_assert!((0.0..1.0).contains(&share));
    }
}
