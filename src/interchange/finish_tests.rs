//! Drafts as they are finished: ends, merged layers, names.

use super::draft::{Draft, From};
use super::finish::{Imported, Wishes, image};
use crate::models::{Conv, Kind, Nonlinearity, Units};
use crate::ops::conv2d::Padding;

fn draft(channels_first: bool) -> Draft {
    Draft::new([2, 2, 2], channels_first)
}

fn dense(draft: &mut Draft, from: From, units: usize, label: Option<&str>) -> From {
    let c = draft.shape(from)[0];
    let weight = (0..c * units).map(|i| i as f32).collect();
    let kind = Kind::Dense { units: Units::Count(units), bias: false };
    draft.push(kind, &[from], label, vec![("weight", weight)]).unwrap()
}

fn flat(draft: &mut Draft) -> From {
    draft.push(Kind::Flatten, &[From::Input], None, Vec::new()).unwrap()
}

fn finish(draft: Draft, output: From) -> Result<Imported, String> {
    draft.finish(output, "test", "a test", &Wishes::default())
}

pub(super) fn tensor(imported: &Imported, name: &str) -> Vec<f32> {
    let found = imported.file.tensors.iter().find(|tensor| tensor.name == name);
    match &found.unwrap_or_else(|| panic!("no {name}")).words {
        crate::models::Words::F32(data) => data.clone(),
        crate::models::Words::U32(_) => panic!("{name} is no f32"),
    }
}

fn text(imported: &Imported) -> &str {
    &imported.file.metadata["architecture"]
}

#[test]
fn a_softmax_at_the_end_goes_and_activations_join_their_layers() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let hidden = dense(&mut d, from, 3, Some("hidden"));
    let hidden = d.activate(hidden, Some(Nonlinearity::Tanh)).unwrap();
    let out = dense(&mut d, hidden, 3, None);
    let out = d.activate(out, Some(Nonlinearity::Softmax)).unwrap();
    let imported = finish(d, out).unwrap();
    assert!(text(&imported).contains("{ dense = 3, bias = false, activation = \"tanh\", name = \"hidden\" }"));
    assert!(!text(&imported).contains("softmax"), "{}", text(&imported));
    assert!(!imported.notes.iter().any(|note| note.contains("logits")), "{:?}", imported.notes);
}

#[test]
fn an_end_without_softmax_is_taken_for_logits_and_said() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let out = dense(&mut d, from, 3, Some("last"));
    assert!(finish(d, out).unwrap().notes[0].contains("last: the network does not end in softmax"));
}

#[test]
fn a_softmax_before_the_end_is_not_taken_for_logits() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let out = dense(&mut d, from, 3, None);
    let out = d.activate(out, Some(Nonlinearity::Softmax)).unwrap();
    let out = d.push(Kind::Flatten, &[out], Some("after"), Vec::new()).unwrap();
    assert!(finish(d, out).unwrap_err().starts_with("after: comes after the softmax"));
}

#[test]
fn a_bare_result_that_another_layer_takes_stays_bare() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let bare = dense(&mut d, from, 3, Some("bare"));
    let relu = d.activate(bare, Some(Nonlinearity::Relu)).unwrap();
    let out = d.push(Kind::Add { from: Vec::new() }, &[bare, relu], None, Vec::new()).unwrap();
    let imported = finish(d, out).unwrap();
    assert!(text(&imported).contains("{ dense = 3, bias = false, name = \"bare\" }"), "{}", text(&imported));
    assert!(text(&imported).contains("{ add = [\"bare\", \"activation\"] }"), "{}", text(&imported));
}

#[test]
fn one_unit_under_a_sigmoid_becomes_two_classes() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let out = dense(&mut d, from, 1, Some("yes"));
    let out = d.activate(out, Some(Nonlinearity::Sigmoid)).unwrap();
    let imported = finish(d, out).unwrap();
    assert_eq!(tensor(&imported, "yes.weight")[..6], [0.0, 0.0, 0.0, 1.0, 0.0, 2.0]);

    let mut d = draft(false);
    let from = flat(&mut d);
    let out = dense(&mut d, from, 3, Some("many"));
    let out = d.activate(out, Some(Nonlinearity::Sigmoid)).unwrap();
    assert!(finish(d, out).unwrap_err().starts_with("many: "));
}

#[test]
fn dense_rows_follow_the_pixels_where_channels_came_first() {
    for channels_first in [false, true] {
        let mut d = draft(channels_first);
        let from = flat(&mut d);
        let out = dense(&mut d, from, 2, Some("d"));
        let weight = tensor(&finish(d, out).unwrap(), "d.weight");
        // In the other program, row 4 is the second channel of the first pixel; here that is row 1.
        assert_eq!(weight[2..4], if channels_first { [8.0, 9.0] } else { [2.0, 3.0] });
    }
}

#[test]
fn names_become_plain_and_are_given_once() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let a = dense(&mut d, from, 3, Some("model/dense:0"));
    let b = dense(&mut d, a, 3, Some("model.dense.0"));
    let c = dense(&mut d, b, 3, Some("input"));
    let out = dense(&mut d, c, 3, Some(""));
    let imported = finish(d, out).unwrap();
    for name in ["model_dense_0", "model_dense_0_2", "input_2", "layer"] {
        tensor(&imported, &format!("{name}.weight"));
    }
}

#[test]
fn layers_that_the_output_does_not_need_are_left_out() {
    let mut d = draft(false);
    let from = flat(&mut d);
    let out = dense(&mut d, from, 3, Some("kept"));
    dense(&mut d, out, 7, Some("left"));
    assert!(!text(&finish(d, out).unwrap()).contains("left"));
}

#[test]
fn each_class_has_a_name_of_its_own() {
    let named = |names: &[&str]| {
        let mut d = draft(false);
        let from = flat(&mut d);
        let out = dense(&mut d, from, 3, None);
        let class_names = Some(names.iter().map(|name| name.to_string()).collect());
        d.finish(out, "test", "a test", &Wishes { class_names, ..Wishes::default() })
    };
    assert_eq!(named(&["a", "b", "c"]).unwrap().file.metadata["class_names"], r#"["a","b","c"]"#);
    for (names, problem) in [
        (&["a", "b", "a"][..], "\"a\" is given as the name of two classes"),
        (&["a", "b"][..], "2 names are given for its 3 classes"),
    ] {
        let error = named(names).unwrap_err();
        assert!(error.starts_with(problem) && error.ends_with("--class-names"), "{error}");
    }
}

#[test]
fn a_variance_below_0_is_refused_and_a_mean_is_not() {
    let normed = |mean: f32, variance: f32| {
        let mut d = draft(false);
        let rows = [None, None, Some(vec![mean; 2]), Some(vec![variance; 2])];
        let normed = d.push_batch_norm(1e-3, 0.99, From::Input, Some("bn"), rows).unwrap();
        let from = d.push(Kind::Flatten, &[normed], None, Vec::new()).unwrap();
        let out = dense(&mut d, from, 3, None);
        finish(d, out)
    };
    assert_eq!(tensor(&normed(-0.5, 0.5).unwrap(), "bn.running"), [-0.5, -0.5, 0.5, 0.5]);
    let error = normed(0.5, -0.5).unwrap_err();
    assert!(error.starts_with("bn.running: holds a variance of -0.5"), "{error}");
}

#[test]
fn what_is_no_classifier_is_refused() {
    let d = draft(false);
    assert!(finish(d, From::Input).unwrap_err().contains("no layer"));
    let mut d = draft(false);
    let conv = Conv { channels: 1, kernel: [1, 1], stride: 1, padding: Padding::Valid, bias: false };
    let out = d.push_conv(false, conv, [[0; 2]; 2], From::Input, Some("c"), [Some(vec![1.0, 2.0]), None]).unwrap();
    assert!(finish(d, out).unwrap_err().contains("gives [2, 2, 1]"));
    let mut d = draft(false);
    let from = flat(&mut d);
    let out = d.push(
        Kind::Dense { units: Units::Count(2), bias: false },
        &[from],
        Some("bad"),
        vec![("weight", vec![f32::NAN; 16])],
    );
    assert!(finish(d, out.unwrap()).unwrap_err().contains("bad.weight: holds NaN"));
}

#[test]
fn images_have_as_many_channels_as_pictures_can_have() {
    for c in 1..=4 {
        assert_eq!(image(&[Some(8), Some(9), Some(c)], None), Ok([8, 9, c]));
    }
    let (told, open) = (vec![Some(12), Some(12), Some(8)], vec![None; 3]);
    for (input, wish) in [(&told, None), (&open, Some([12, 12, 8])), (&vec![Some(1152)], Some([12, 12, 8]))] {
        let error = image(input, wish).unwrap_err();
        assert_eq!(error, "takes images of 12x12x8, with 8 channels; pictures have 1 to 4");
    }
}
