//! Graphs as other exporters write them, or could: what is read, and what would come out wrong and is refused.

use prost::Message;

use super::export::export;
use super::import::import;
use super::proto::{
    AttributeProto, Dimension, DimensionProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::writer::{float, int, ints, text};
use crate::graph::Store;
use crate::interchange::finish::{Imported, Wishes};
use crate::interchange::finish_tests::tensor;
use crate::interchange::scale::Scale;
use crate::models::{Architecture, ModelFile};

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: vec![output.into()],
        op_type: op.into(),
        attribute,
        ..NodeProto::default()
    }
}

/// Numbers that all differ.
fn numbers(name: &str, dims: &[usize]) -> TensorProto {
    let data: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| i as f32).collect();
    TensorProto::floats(name, dims, &data)
}

/// The model of nodes from `x`, of `sizes` for each image, to `y`.
fn imported(
    sizes: &[usize],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    wishes: &Wishes,
) -> Result<Imported, String> {
    imported_as((17, FLOAT), sizes, nodes, constants, wishes)
}

/// The same by a version of the operators, from numbers of a type.
fn imported_as(
    (version, elem_type): (i64, i32),
    sizes: &[usize],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    wishes: &Wishes,
) -> Result<Imported, String> {
    let free = DimensionProto { value: None };
    let sizes = sizes.iter().map(|n| DimensionProto { value: Some(Dimension::Value(*n as i64)) });
    let shape = Some(TensorShapeProto { dim: std::iter::once(free).chain(sizes).collect() });
    let r#type = Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type, shape }) });
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![ValueInfoProto { name: "x".into(), r#type, ..ValueInfoProto::default() }],
        output: vec![ValueInfoProto { name: "y".into(), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version }];
    import(&ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec(), wishes)
}

/// The same for nodes that give an image `out`, which a dense layer of 2 units takes as a row of `n` numbers.
fn flattened(
    sizes: &[usize],
    mut nodes: Vec<NodeProto>,
    mut constants: Vec<TensorProto>,
    n: usize,
) -> Result<Imported, String> {
    nodes.extend(dense_of_out());
    constants.push(numbers("d.weight", &[n, 2]));
    imported(sizes, nodes, constants, &Wishes::default())
}

fn dense_of_out() -> [NodeProto; 2] {
    [node("Flatten", &["out"], "flat", vec![]), node("MatMul", &["flat", "d.weight"], "y", vec![])]
}

/// The same for nodes after a convolution `conv` of `x`, 1x2x2, to 2 channels, with a constant `b` and a second kernel.
fn behind_conv(nodes: Vec<NodeProto>, b: &[usize]) -> Result<Imported, String> {
    let mut all = vec![node("Conv", &["x", "c.weight"], "conv", vec![])];
    all.extend(nodes);
    let constants = vec![numbers("c.weight", &[2, 1, 1, 1]), numbers("second.weight", &[2, 2, 3, 3]), numbers("b", b)];
    flattened(&[1, 2, 2], all, constants, 8)
}

const NO_BIAS: &str = "arithmetic with constants other than a scaling of the image and a bias";

#[test]
fn an_image_becomes_another_only_where_its_numbers_keep_their_order() {
    let turned = |perm: &[usize], from: &str, to: &str| node("Transpose", &[from], to, vec![ints("perm", perm)]);
    let reshape = |from: &str, to: &str| node("Reshape", &[from, "sizes"], to, vec![]);
    let to = |sizes: &[i64]| vec![TensorProto::ints("sizes", sizes)];

    // 1x2x3 as 3x2x1 would be 3 channels of 2x1.
    let wrong = flattened(&[1, 2, 3], vec![reshape("x", "out")], to(&[-1, 3, 2, 1]), 6);
    assert!(wrong.unwrap_err().contains("makes 3x2x1 of 1x2x3; expected a row of numbers between"));
    // With its channel last, and not as 2 channels of 3x1.
    let nodes = vec![reshape("x", "last"), node("Conv", &["last", "c.weight"], "out", vec![])];
    let constants = [to(&[-1, 2, 3, 1]), vec![numbers("c.weight", &[1, 2, 1, 1])]].concat();
    let wrong = flattened(&[1, 2, 3], nodes, constants, 3);
    assert!(wrong.unwrap_err().contains("takes an image whose channels come last"));

    let nodes = vec![turned(&[0, 2, 3, 1], "x", "last"), reshape("last", "out")];
    let right = flattened(&[1, 2, 3], nodes, to(&[-1, 1, 2, 3]), 6).unwrap();
    assert_eq!(tensor(&right, "d.weight")[..4], [0.0, 1.0, 2.0, 3.0]);

    // With 2 pixels of 2 channels, row 1 in the file is the second pixel's first channel, which is row 2 here.
    let nodes = vec![reshape("x", "last"), turned(&[0, 3, 1, 2], "last", "out")];
    let right = flattened(&[1, 2, 2], nodes, to(&[-1, 2, 1, 2]), 4).unwrap();
    assert_eq!(tensor(&right, "d.weight"), [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
}

#[test]
fn what_is_refused_is_told_in_the_files_own_words() {
    let refused = |node: NodeProto, constants: Vec<TensorProto>, words: &str| {
        let problem = flattened(&[1, 2, 2], vec![node], constants, 16).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    };
    for (perm, words) in [(vec![ints("perm", &[0, 1, 3, 2])], "by [0, 1, 3, 2];"), (vec![], "by [3, 2, 1, 0];")] {
        refused(node("Transpose", &["x"], "out", perm), vec![], words);
    }
    let (corners, ceil) = (text("coordinate_transformation_mode", "align_corners"), text("nearest_mode", "ceil"));
    let scales = || vec![TensorProto::floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0])];
    for (modes, words) in [
        (vec![corners.clone(), ceil], r#"by "align_corners" and "ceil";"#),
        (vec![corners], r#"by "align_corners" and "round_prefer_floor";"#),
    ] {
        refused(node("Resize", &["x", "", "scales"], "out", modes), scales(), words);
    }
    let sizes = vec![TensorProto::ints("sizes", &[2, 2])];
    refused(node("Reshape", &["x", "sizes"], "out", vec![]), sizes, "is to 2x2;");
    let windows = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2])];
    refused(node("MaxPool", &["x"], "out", windows), vec![], "has strides [2];");
}

#[test]
fn padding_with_anything_but_zeros_is_refused() {
    let padded = |value: f32| {
        let attributes = vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]), float("value", value)];
        let nodes =
            vec![node("Pad", &["x"], "padded", attributes), node("Conv", &["padded", "c.weight"], "out", vec![])];
        flattened(&[1, 2, 2], nodes, vec![numbers("c.weight", &[2, 1, 3, 3])], 8)
    };
    padded(0.0).unwrap();
    assert!(padded(1.0).unwrap_err().contains("pads with another value than 0"));
}

#[test]
fn zeros_around_an_image_that_is_shifted_afterwards_are_refused() {
    let nodes = vec![
        node("Pad", &["x"], "padded", vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])]),
        node("Sub", &["padded", "k"], "shifted", vec![]),
        node("Conv", &["shifted", "c.weight"], "out", vec![]),
    ];
    let constants = vec![TensorProto::floats("k", &[], &[0.5]), numbers("c.weight", &[2, 1, 3, 3])];
    let error = flattened(&[1, 2, 2], nodes, constants, 8).unwrap_err();
    assert!(error.contains("scales something other than the network's input"), "{error}");
}

#[test]
fn a_constant_shifts_or_scales_an_image_as_its_operator_does() {
    for (op, mean, std) in [("Sub", "0.5", "1"), ("Add", "-0.5", "1"), ("Div", "0", "0.5"), ("Mul", "0", "2")] {
        let constants = vec![TensorProto::floats("k", &[], &[0.5])];
        let model = flattened(&[1, 2, 2], vec![node(op, &["x", "k"], "out", vec![])], constants, 4).unwrap().file;
        assert_eq!([&model.metadata["mean"], &model.metadata["std"]], [mean, std], "{op}");
    }
}

#[test]
fn a_dense_layer_with_factors_or_a_turned_input_is_refused() {
    let dense = |own: AttributeProto| {
        let constants = vec![numbers("d.weight", &[4, 2]), numbers("b", &[2])];
        let nodes = vec![node("Gemm", &["x", "d.weight", "b"], "y", vec![own])];
        imported(&[4], nodes, constants, &Wishes::default())
    };
    assert_eq!(tensor(&dense(float("beta", 1.0)).unwrap(), "d.bias"), [0.0, 1.0]);
    for own in [float("alpha", 0.5), float("beta", 0.5), int("transA", 1)] {
        assert!(dense(own).unwrap_err().contains("has transA, alpha or beta"));
    }
}

#[test]
fn a_pool_whose_windows_would_reach_over_an_edge_is_refused() {
    let pool = |[h, w]: [usize; 2], ceil: i64| {
        let own = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", ceil)];
        flattened(&[1, h, w], vec![node("MaxPool", &["x"], "out", own)], vec![], 4)
    };
    pool([4, 4], 1).unwrap();
    for sizes in [[5, 4], [4, 5]] {
        pool(sizes, 0).unwrap();
        assert!(pool(sizes, 1).unwrap_err().contains("has ceil_mode where its windows do not fit"));
    }
}

#[test]
fn a_row_of_numbers_is_said_to_be_read_channel_after_channel() {
    let notes = |channels: usize| {
        let wishes = Wishes { input: Some([2, 2, channels]), ..Wishes::default() };
        let nodes = vec![node("MatMul", &["x", "d.weight"], "y", vec![])];
        let n = 4 * channels;
        imported(&[n], nodes, vec![numbers("d.weight", &[n, 2])], &wishes).unwrap().notes
    };
    let said = |note: &String| note.contains("its 12 numbers are an image of 2x2x3, one channel after the other");
    assert!(notes(3).iter().any(said), "{:?}", notes(3));
    assert!(!notes(1).iter().any(|note| note.contains("one channel after the other")), "{:?}", notes(1));
}

#[test]
fn a_constant_for_each_channel_behind_a_convolution_is_its_bias() {
    for sizes in [&[2, 1, 1][..], &[1, 2, 1, 1]] {
        let model = behind_conv(vec![node("Add", &["conv", "b"], "out", vec![])], sizes).unwrap();
        assert_eq!(tensor(&model, "c.bias"), [0.0, 1.0]);
    }
    for sizes in [&[2][..], &[1, 1, 2], &[2, 1], &[1, 1, 2, 1, 1]] {
        let error = behind_conv(vec![node("Add", &["conv", "b"], "out", vec![])], sizes).unwrap_err();
        assert!(error.contains(NO_BIAS), "{sizes:?}: {error}");
    }
}

#[test]
fn with_channels_last_a_bias_has_them_last_too() {
    let nodes = || {
        vec![
            node("Transpose", &["conv"], "last", vec![ints("perm", &[0, 2, 3, 1])]),
            node("Add", &["b", "last"], "out", vec![]),
        ]
    };
    assert_eq!(tensor(&behind_conv(nodes(), &[2]).unwrap(), "c.bias"), [0.0, 1.0]);
    assert!(behind_conv(nodes(), &[2, 1, 1]).unwrap_err().contains(NO_BIAS));
}

#[test]
fn a_bias_behind_a_dense_layer_may_have_a_size_for_the_images() {
    for (b, fits) in [(&[2][..], true), (&[1, 2][..], true), (&[2, 1][..], false)] {
        let nodes =
            vec![node("MatMul", &["x", "d.weight"], "dense", vec![]), node("Add", &["dense", "b"], "y", vec![])];
        let constants = vec![numbers("d.weight", &[4, 2]), numbers("b", b)];
        assert_eq!(imported(&[4], nodes, constants, &Wishes::default()).is_ok(), fits, "{b:?}");
    }
}

#[test]
fn a_bias_goes_to_no_one_else_who_takes_the_same_by_another_name() {
    let alias = |from: &str| node("Identity", &[from], "alias", vec![]);
    let add = |from: &str, to: &str| node("Add", &[from, "b"], to, vec![]);
    behind_conv(vec![alias("conv"), add("alias", "out")], &[2, 1, 1]).unwrap();

    let both = |a: &str, b: &str| node("Add", &[a, b], "out", vec![]);
    for (taken, other) in [("alias", "conv"), ("conv", "alias")] {
        let relu = node("Relu", &[other], "relu", vec![]);
        let nodes = vec![alias("conv"), relu, add(taken, "sum"), both("relu", "sum")];
        let error = behind_conv(nodes, &[2, 1, 1]).unwrap_err();
        assert!(error.contains(NO_BIAS), "{taken}: {error}");
    }
}

#[test]
fn a_constant_behind_padding_is_no_bias() {
    let nodes = vec![
        node("Pad", &["conv"], "padded", vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])]),
        node("Add", &["padded", "b"], "sum", vec![]),
        node("Conv", &["sum", "second.weight"], "out", vec![]),
    ];
    assert!(behind_conv(nodes, &[2, 1, 1]).unwrap_err().contains(NO_BIAS));
}

#[test]
fn same_is_for_the_size_with_the_zeros_around() {
    let strided = |own: AttributeProto| {
        let nodes = vec![
            node("Pad", &["x"], "padded", vec![ints("pads", &[0, 0, 1, 1, 0, 0, 0, 0])]),
            node("Conv", &["padded", "c.weight"], "out", vec![ints("strides", &[2, 2]), own]),
        ];
        flattened(&[1, 3, 3], nodes, vec![numbers("c.weight", &[2, 1, 3, 3])], 8).unwrap().file
    };
    // 3 and 1 make 4 rows, of which windows of 3 at strides of 2 lack one row, at the end or at the beginning.
    for (word, pads) in [("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0])] {
        let [same, told] = [text("auto_pad", word), ints("pads", &pads)].map(strided);
        assert_eq!(same.metadata["architecture"], told.metadata["architecture"], "{word}");
        assert_eq!(same.tensors, told.tensors, "{word}");
    }
}

#[test]
fn an_input_that_is_not_there_is_said_to_be_missing() {
    for (nodes, missing) in [
        // An empty name is none, whichever node outputs it.
        (vec![node("Identity", &["x"], "", vec![]), node("Resize", &[], "out", vec![])], 0),
        (vec![node("Identity", &["x"], "", vec![]), node("Relu", &[""], "out", vec![])], 0),
        (vec![node("Add", &["b"], "out", vec![])], 1),
        (vec![node("Reshape", &["x"], "out", vec![])], 1),
    ] {
        let error = flattened(&[1, 2, 2], nodes, vec![numbers("b", &[])], 4).unwrap_err();
        assert!(error.ends_with(&format!("lacks its input {missing}")), "{error}");
    }
}

#[test]
fn an_image_of_one_channel_may_be_said_to_have_it_last() {
    let reshaped = |channels: usize, sizes: &[usize]| {
        let to = node("Constant", &[], "to", vec![ints("value_ints", sizes)]);
        let nodes = vec![to, node("Reshape", &["x", "to"], "out", vec![])];
        flattened(&[channels, 3, 2], nodes, vec![], channels * 6)
    };
    let turned = node("Transpose", &["x"], "out", vec![ints("perm", &[0, 2, 3, 1])]);
    let turned = flattened(&[1, 3, 2], vec![turned], vec![], 6).unwrap().file;
    let plain = flattened(&[1, 3, 2], vec![node("Identity", &["x"], "out", vec![])], vec![], 6).unwrap().file;
    for last in [turned, reshaped(1, &[0, 3, 2, 1]).unwrap().file] {
        assert_eq!(last.metadata["architecture"], plain.metadata["architecture"]);
        assert_eq!(last.tensors, plain.tensors);
    }
    // With two channels the numbers would have to move.
    let error = reshaped(2, &[0, 3, 2, 2]).unwrap_err();
    assert!(error.contains("expected a row of numbers between"), "{error}");
}

#[test]
fn numbers_beyond_all_bounds_are_refused() {
    let refused = |sizes: &[usize], nodes: Vec<NodeProto>, words: &str| {
        let constants = vec![numbers("nothing", &[4, 0])];
        let error = imported(sizes, nodes, constants, &Wishes::default()).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    for axis in [i64::MIN, i64::MAX] {
        for op in ["Softmax", "Concat", "Flatten"] {
            refused(&[4], vec![node(op, &["x"], "y", vec![int("axis", axis)])], "axis");
        }
    }
    refused(&[1 << 28; 3], vec![node("Flatten", &["x"], "y", vec![])], "expected 1 to 268435456 numbers");
    refused(&[4], vec![node("MatMul", &["x", "nothing"], "y", vec![])], "which is nothing");
    let many = vec![node("Shape", &["x"], "sizes", vec![]), node("Concat", &["sizes"; 33], "y", vec![])];
    refused(&[4], many, "more than 64 sizes");
}

#[test]
fn before_version_13_a_softmax_is_over_all_axes_from_its_own_on() {
    let softmax = |version: i64, sizes: [usize; 2], before: Option<&[usize]>, axis: Option<i64>| {
        let from = if before.is_some() { "turned" } else { "conv" };
        let mut nodes = vec![node("Conv", &["x", "c.weight"], "conv", vec![])];
        nodes.extend(before.map(|perm| node("Transpose", &["conv"], "turned", vec![ints("perm", perm)])));
        nodes.push(node("Softmax", &[from], "out", axis.map(|axis| int("axis", axis)).into_iter().collect()));
        nodes.extend(dense_of_out());
        let [h, w] = sizes;
        let constants = vec![numbers("c.weight", &[2, 1, 1, 1]), numbers("d.weight", &[2 * h * w, 2])];
        imported_as((version, FLOAT), &[1, h, w], nodes, constants, &Wishes::default()).map(drop)
    };
    let last: Option<&[usize]> = Some(&[0, 2, 3, 1]);
    softmax(13, [2, 2], None, Some(1)).unwrap();
    softmax(13, [2, 2], last, None).unwrap();
    for axis in [Some(1), None] {
        let error = softmax(11, [2, 2], None, axis).unwrap_err();
        assert!(error.contains("is over axis 1 and all after it, as in version 11 of the operators"), "{error}");
        softmax(11, [1, 1], None, axis).unwrap();
    }
    softmax(11, [2, 2], last, Some(3)).unwrap();
    // The default is another one too.
    assert!(softmax(12, [2, 2], last, None).unwrap_err().contains("is over axis 1;"));
    assert!(softmax(13, [2, 2], None, None).unwrap_err().contains("is over axis -1;"));
}

#[test]
fn numbers_that_come_from_the_image_are_cast_to_floats_only() {
    // float32, float16, float64, bfloat16; int32, int64, bool.
    for (to, fits) in [(1, true), (10, true), (11, true), (16, true), (6, false), (7, false), (9, false)] {
        let cast = node("Cast", &["x"], "out", vec![int("to", to)]);
        match flattened(&[1, 2, 2], vec![cast], vec![], 4) {
            Ok(_) => assert!(fits, "{to}"),
            Err(error) => assert!(!fits && error.contains(&format!("makes ONNX's type {to} of numbers")), "{error}"),
        }
    }
}

#[test]
fn a_constant_that_is_cast_is_rounded_as_the_type_asks() {
    let scaled = |constant: TensorProto, types: &[i64]| {
        let mut nodes = Vec::new();
        for (i, to) in types.iter().enumerate() {
            nodes.push(node("Cast", &[&format!("k{i}")], &format!("k{}", i + 1), vec![int("to", *to)]));
        }
        nodes.push(node("Div", &["x", &format!("k{}", types.len())], "out", vec![]));
        flattened(&[1, 2, 2], nodes, vec![constant], 4).map(|model| model.file.metadata["std"].clone())
    };
    assert_eq!(scaled(TensorProto::floats("k0", &[], &[2.5]), &[7, 1]).unwrap(), "2");
    assert_eq!(scaled(TensorProto::ints("k0", &[2]), &[1]).unwrap(), "2");
    assert!(scaled(TensorProto::floats("k0", &[], &[2.5]), &[9]).unwrap_err().contains("makes ONNX's type 9"));
}

#[test]
fn an_input_of_bytes_is_taken_for_bytes_and_other_whole_numbers_are_refused() {
    let model = |elem_type: i32, divided: bool, wishes: &Wishes| {
        let mut nodes = vec![node("Cast", &["x"], "cast", vec![int("to", 1)])];
        let k = if divided { 255.0 } else { 1.0 };
        nodes.push(node("Div", &["cast", "k"], "out", vec![]));
        nodes.extend(dense_of_out());
        let constants = vec![TensorProto::floats("k", &[], &[k]), numbers("d.weight", &[4, 2])];
        imported_as((17, elem_type), &[1, 2, 2], nodes, constants, wishes)
    };
    let std = |model: &Imported| model.file.metadata["std"].parse::<f32>().unwrap();
    let (bytes, divided) = (model(2, false, &Wishes::default()).unwrap(), model(2, true, &Wishes::default()).unwrap());
    assert!((std(&bytes) * 255.0 - 1.0).abs() < 1e-6 && (std(&divided) - 1.0).abs() < 1e-6);
    assert!(bytes.notes.iter().any(|note| note.contains("its input is uint8")), "{:?}", bytes.notes);
    assert!(!bytes.notes.iter().any(|note| note.contains("assumed")), "{:?}", bytes.notes);
    let unit = Wishes { scale: Some(Scale::UNIT), ..Wishes::default() };
    assert_eq!(std(&model(2, false, &unit).unwrap()), 1.0, "what the person says counts");
    for other in [3, 6, 7, 9] {
        let error = model(other, true, &Wishes::default()).unwrap_err();
        assert!(error.contains(&format!("its input \"x\" has ONNX's type {other}")), "{error}");
    }
}

#[test]
fn a_step_that_changes_nothing_keeps_the_scaling_before_it() {
    let constants = || vec![TensorProto::floats("k", &[], &[2.0]), TensorProto::ints("sizes", &[-1, 1, 2, 2])];
    let model = |step: NodeProto| {
        let halved = |from: &str, to: &str| node("Div", &[from, "k"], to, vec![]);
        flattened(&[1, 2, 2], vec![halved("x", "half"), step, halved("same", "out")], constants(), 4).unwrap().file
    };
    let plain = model(node("Identity", &["half"], "same", vec![]));
    assert_eq!(plain.metadata["std"], "4");
    for step in [
        node("Reshape", &["half", "sizes"], "same", vec![]),
        node("Concat", &["half"], "same", vec![int("axis", 1)]),
        node("Sum", &["half"], "same", vec![]),
    ] {
        let op = step.op_type.clone();
        assert_eq!(model(step), plain, "{op}");
    }
}

/// A model of images of 4 x 4 pixels in two classes, with its first weights.
fn untrained(layers: &str) -> ModelFile {
    let architecture = Architecture::parse(&format!("layers = [{layers}]"), "net").unwrap();
    let (network, parameters) = architecture.declare([4, 4, 1], 2, &mut Store::default(), "classifier").unwrap();
    let mut file = ModelFile::new(&network, &parameters, &parameters.initial(7));
    file.set("mean", 0.25);
    file.set("std", 0.5);
    file
}

#[test]
fn a_network_that_begins_with_a_reshape_goes_out_and_comes_back() {
    // To the same shape, and to one whose channels were the pixels of a row.
    for (shape, padding) in [("4, 4, 1", "valid"), ("1, 4, 4", "same")] {
        let conv =
            format!("{{ conv = 2, kernel = 3, padding = \"{padding}\", activation = \"leaky_relu\", slope = 0.3 }}");
        let file = untrained(&format!("{{ reshape = [{shape}] }}, {conv}, \"flatten\", {{ dense = \"classes\" }}"));
        let back = import(&export(&file).unwrap(), &Wishes::default()).unwrap().file;
        assert_eq!([&back.metadata["mean"], &back.metadata["std"]], ["0.25", "0.5"]);
        assert!(back.metadata["architecture"].contains("activation = \"leaky_relu\", slope = 0.3"), "{shape}");
        assert_eq!(back.tensors.len(), file.tensors.len());
        assert!(file.tensors.iter().all(|tensor| back.tensors.contains(tensor)), "{shape}");
    }
}

#[test]
fn what_onnx_does_not_normalize_is_refused_with_a_shape_that_it_does() {
    let exported = |shape: &str| {
        let rest = "{ batch_norm = true }, \"flatten\", { dense = \"classes\" }";
        export(&untrained(&format!("{{ reshape = [{shape}] }}, {rest}"))).map_err(|error| error.to_string())
    };
    let refused = exported("4, 4").unwrap_err();
    assert!(
        refused.contains("not 4x4: make an image of it first, with { reshape = [1, 4, 4] } before it"),
        "{refused}"
    );
    assert!(exported("1, 4, 4").is_ok());
}

#[test]
fn an_image_may_be_scaled_in_another_shape_and_everyone_takes_it_at_the_same_scale() {
    let constants = || {
        let sizes = TensorProto::ints("sizes", &[-1, 1, 2, 2]);
        vec![TensorProto::floats("k", &[], &[2.0]), sizes, numbers("d.weight", &[4, 2])]
    };
    let dense = |from: &str, to: &str| node("MatMul", &[from, "d.weight"], to, vec![]);
    let halved = |from: &str| node("Div", &[from, "k"], "half", vec![]);
    let flat = || node("Flatten", &["x"], "row", vec![]);
    let row = vec![flat(), halved("row"), dense("half", "y")];
    let row = imported(&[1, 2, 2], row, constants(), &Wishes::default()).unwrap().file;
    assert_eq!(row.metadata["std"], "2");

    let image = vec![node("Reshape", &["x", "sizes"], "image", vec![]), halved("image")];
    let image = [image, vec![node("Flatten", &["half"], "row", vec![]), dense("row", "y")]].concat();
    let image = imported(&[4], image, constants(), &Wishes::default()).unwrap().file;
    assert_eq!((&image.metadata["std"], &image.tensors), (&row.metadata["std"], &row.tensors));

    let sum = node("Add", &["a", "b"], "y", vec![]);
    let both = vec![flat(), halved("row"), dense("row", "a"), dense("half", "b"), sum];
    let error = imported(&[1, 2, 2], both, constants(), &Wishes::default()).unwrap_err();
    assert!(error.contains("takes the image at a different scale"), "{error}");
    let late = node("Div", &["b", "k"], "y", vec![]);
    let late = vec![flat(), dense("row", "a"), node("Relu", &["a"], "b", vec![]), late];
    assert!(imported(&[1, 2, 2], late, constants(), &Wishes::default()).is_err());
}

#[test]
fn an_axis_for_the_one_channel_may_be_added() {
    let conv = || node("Conv", &["image", "c.weight"], "out", vec![]);
    let constants = |axis: i64| vec![numbers("c.weight", &[2, 1, 1, 1]), TensorProto::ints("axes", &[axis])];
    let plain = vec![node("Identity", &["x"], "image", vec![]), conv()];
    let plain = flattened(&[1, 2, 3], plain, constants(0), 12).unwrap().file;
    let named = |axis: usize| node("Unsqueeze", &["x"], "image", vec![ints("axes", &[axis])]);
    let given = || node("Unsqueeze", &["x", "axes"], "image", vec![]);
    for (step, axis) in [(named(1), 0), (given(), 1), (given(), -3)] {
        let model = flattened(&[2, 3], vec![step, conv()], constants(axis), 12).unwrap().file;
        assert_eq!((&model.metadata["input"], &model.tensors), (&plain.metadata["input"], &plain.tensors), "{axis}");
    }
    for axis in [0, -4, 4, i64::MIN, i64::MAX] {
        let error = flattened(&[2, 3], vec![given(), conv()], constants(axis), 12).unwrap_err();
        assert!(error.contains(&format!("adds axes [{axis}] to 2x3")), "{error}");
    }
}

#[test]
fn an_operator_that_is_read_of_sizes_only_is_not_said_to_be_unknown() {
    let gather = node("Gather", &["x", "at"], "out", vec![]);
    let error = flattened(&[1, 2, 2], vec![gather], vec![TensorProto::ints("at", &[0])], 4).unwrap_err();
    assert!(error.contains("reads it only of sizes") && !error.contains("has no layer"), "{error}");
}
