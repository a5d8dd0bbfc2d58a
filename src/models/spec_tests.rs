//! Architectures as text: what is read, and how each mistake is answered.

use proptest::prelude::*;

use super::layer::{Conv, Kind, Nonlinearity, Units};
use super::*;
use crate::graph::Store;
use crate::ops::conv2d::Padding;

fn parse(text: &str) -> Result<Architecture, ModelError> {
    Architecture::parse(text, "my.toml")
}

/// The message with which a text is refused, when read or when declared for 28x28x1 images of 10 classes.
fn refusal(text: &str) -> String {
    let mut store = Store::default();
    let declared = parse(text).and_then(|a| a.declare([28, 28, 1], 10, &mut store, "net"));
    declared.expect_err(text).to_string()
}

/// Its layers without their places in the text.
fn placeless(a: &Architecture) -> Vec<Layer> {
    a.layers.iter().map(|layer| Layer { at: At::default(), ..layer.clone() }).collect()
}

/// A text with one line in the middle of a list of layers: line 3.
fn with_layer(line: &str) -> String {
    format!("layers = [\n  \"flatten\",\n  {line},\n  {{ dense = \"classes\" }},\n]\n")
}

#[test]
fn every_kind_of_layer_is_read_with_its_options_and_defaults() {
    let text = r#"
        name = "all"
        layers = [
          { conv = 4, kernel = [2, 3], padding = "same", activation = "relu", name = "a" },
          { conv = 4, kernel = 1, stride = 2, padding = 1, bias = false },
          { conv_transposed = 4, kernel = 4, stride = 2, padding = "same" },
          { avg_pool = 2 },
          { max_pool = 3, stride = 2 },
          { upsample = 2 },
          { batch_norm = true, epsilon = 1e-5, momentum = 0.9, activation = "leaky_relu", slope = 0.1 },
          "tanh",
          { activation = "softmax", name = "b" },
          { concat = ["a", "b"] },
          { reshape = [4, 98] },
          "flatten",
          { dropout = 0.25 },
          { dense = 7, bias = false },
          { dense = "classes" },
        ]
        [input]
        height = 8
        width = 9
        [recipe]
        epochs = 3
        batch = 7
        learning_rate = 1
        optimizer = "adamw"
        schedule = "one-cycle"
        warmup = 0.5
        momentum = 0.8
        weight_decay = 0.01
        label_smoothing = 0.1
        average = 0.999
        validation = 0
    "#;
    let a = parse(text).unwrap();
    let kinds: Vec<&Kind> = a.layers.iter().map(|layer| &layer.kind).collect();
    let conv = Conv { channels: 4, kernel: [2, 3], stride: 1, padding: Padding::Same, bias: true };
    assert_eq!(*kinds[0], Kind::Conv(conv));
    assert_eq!(
        *kinds[1],
        Kind::Conv(Conv { kernel: [1, 1], stride: 2, padding: Padding::Explicit(1), bias: false, ..conv })
    );
    assert_eq!(*kinds[2], Kind::ConvTransposed(Conv { kernel: [4, 4], stride: 2, ..conv }));
    assert_eq!(*kinds[3], Kind::AvgPool { window: 2, stride: 2 });
    assert_eq!(*kinds[4], Kind::MaxPool { window: 3, stride: 2 });
    assert_eq!(*kinds[6], Kind::BatchNorm { epsilon: 1e-5, momentum: 0.9, scale: true });
    assert_eq!(a.layers[6].activation, Some(Nonlinearity::LeakyRelu(0.1)));
    assert_eq!(a.layers[7].activation, Some(Nonlinearity::Tanh));
    assert_eq!(*kinds[13], Kind::Dense { units: Units::Count(7), bias: false });
    assert_eq!(*kinds[14], Kind::Dense { units: Units::Classes, bias: true });
    assert_eq!(a.input, Some([8, 9, 1]));
    assert_eq!(a.recipe.optimizer, Some(OptimizerName::AdamW));
    assert_eq!(a.recipe.learning_rate, Some(1.0));
    assert_eq!((a.recipe.validation, a.recipe.patience), (Some(0), None));
    assert_eq!(a.layers[1].at.to_string(), "my.toml:5: layer 2 (conv)");
    assert_eq!(a.text(), text);

    // Behind another network all of it is written anew, but the size of images, which the front decides.
    let behind = a.with_front(&builtin("pool").unwrap()).unwrap();
    let again = parse(behind.text()).unwrap();
    assert_eq!(placeless(&again)[1..], placeless(&a)[..]);
    assert_eq!((again.recipe, behind.input, again.input), (a.recipe, None, None));
}

#[test]
fn layers_may_be_an_array_of_tables_and_errors_still_name_their_lines() {
    let text = "[[layers]]\nflatten = true\n\n[[layers]]\ndense = \"classes\"\nunits = 3\n";
    assert_eq!(refusal(text).split(": `").next().unwrap(), "my.toml:6: layer 2 (dense)");
    let a = parse(&text.replace("units = 3\n", "")).unwrap();
    assert_eq!(a.layers[1].at.line, Some(4));
}

#[test]
fn a_misspelt_word_is_answered_with_the_nearest_one() {
    for (line, message) in [
        (
            "{ dense = 4, activaton = \"relu\" }",
            "my.toml:3: layer 2 (dense): `activaton` is not known here; did you mean `activation`?",
        ),
        ("{ dense = 4, zzz = 1 }", "there are `activation`, `bias`, `dense`, `from`, `name`"),
        ("{ dens = 4 }", "did you mean `dense`?"),
        ("{ conv2d = 16, kernel_size = 3, activation = \"relu\" }", "does not say what else it is: one of \"conv\""),
        (
            "{ activation = \"leaky_relu\", alpha = 0.1 }",
            "has `alpha`, which a mere activation has not (it has \"activation\",",
        ),
        ("{ conv2d = 16, kernel_size = 3, activation = \"relu\" }", "; did you mean `conv`?"),
        ("{ activation = \"leaky_relu\", slop = 0.1 }", "`slop` is not known here; did you mean `slope`?"),
        ("{ conv = 3, kernal = 5 }", "`kernel` is missing; did you mean it by `kernal`?"),
        ("{ dense = 4, activation = \"rleu\" }", "not \"rleu\"; did you mean \"relu\"?"),
        ("\"flaten\"", "did you mean \"flatten\"?"),
        ("\"conv\"", "{ conv = ... }"),
        ("{ dense = 4, slope = 0.1 }", "`slope` is not known here"),
    ] {
        let found = refusal(&with_layer(line));
        assert!(found.contains(message), "{line}: {found}");
        assert!(found.starts_with("my.toml:3: layer 2"), "{line}: {found}");
    }
    let found = refusal("layres = []");
    assert!(found.contains("my.toml:1: `layres` is not known here; did you mean `layers`?"), "{found}");
    let found = refusal("layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\nepoch = 3");
    assert!(found.contains("my.toml:3: [recipe]: `epoch` is not known here; did you mean `epochs`?"), "{found}");
}

#[test]
fn values_out_of_range_and_of_the_wrong_type_are_refused() {
    for line in [
        "{ dense = 0 }",
        "{ dense = -1 }",
        "{ dense = 99999999999999999999999 }",
        "{ dense = 1.5 }",
        "{ dense = \"many\" }",
        "{ dense = [3] }",
        "{ dropout = 1.0 }",
        "{ dropout = nan }",
        "{ dropout = -0.1 }",
        "{ dense = 4, bias = 1 }",
        "{ dense = 4, activation = true }",
        "{ dense = 4, name = \"a b\" }",
        "{ flatten = false }",
        "{ dense = 4, dropout = 0.1 }",
        "{ conv = 4 }",
        "{ conv = 4, kernel = [1, 2, 3] }",
        "{ concat = [\"input\"] }",
        "{ add = [1, 2] }",
        "{}",
        "7",
        "[]",
    ] {
        let found = refusal(&with_layer(line));
        assert!(found.starts_with("my.toml:3: layer 2"), "{line}: {found}");
    }
    for (line, found) in [
        ("{ concat = [\"a\"] }", "[\"a\", \"b\"], not [\"a\"]"),
        ("{ reshape = [0, 7, 16] }", "[7, 7, 16], not [0, 7, 16]"),
        ("{ reshape = [\n0,\n7] }", ", not [ 0, 7]"),
        ("{ conv = 4, kernel = [11111111111, 22222222222, 33333333333, 44444444444] }", ", not a list of 4"),
    ] {
        let refused = refusal(&with_layer(line));
        assert!(refused.ends_with(found), "{refused}");
    }
    for recipe in [
        "epochs = 0",
        "learning_rate = nan",
        "learning_rate = -1.0",
        "learning_rate = 0",
        "optimizer = \"adm\"",
        "momentum = 1",
        "batch = 1.5",
    ] {
        let found = refusal(&format!("{}[recipe]\n{recipe}", with_layer("{ dense = 3 }")));
        assert!(found.starts_with("my.toml:7: [recipe]: `"), "{recipe}: {found}");
    }
}

#[test]
fn an_augmentation_is_read_written_and_read_again() {
    let text =
        "layers = [\"flatten\", { dense = 3 }]\n[recipe]\naugment = { rotate = 10, noise = 0.05, extend = true }\n";
    let read = parse(text).unwrap().recipe;
    let wanted = Augmentation { rotate: 10.0, noise: 0.05, extend: true, ..Augmentation::default() };
    assert_eq!(read.augment, Some(wanted));
    assert_eq!(read.to_string(), "augment = { rotate = 10, noise = 0.05, extend = true }\n");
    let none = format!("layers = [{{ dense = 3 }}]\n[recipe]\naugment = {}", Augmentation::default());
    assert_eq!(parse(&none).unwrap().recipe.augment, Some(Augmentation::default()));
    for entry in ["rotate = 181", "zoom = 1", "shift = -0.1", "extend = 3", "elastic = nan", "blur = 1"] {
        let found = refusal(&format!("{}[recipe]\naugment = {{ {entry} }}", with_layer("{ dense = 3 }")));
        assert!(found.starts_with("my.toml:7: [recipe], augment: `"), "{entry}: {found}");
    }
}

#[test]
fn noise_is_given_in_grey_levels_whatever_the_network_sees_of_them() {
    let seen = Normalization { mean: 0.5, std: 0.25, background: 0 };
    let noise = Augmentation { noise: 0.05, ..Augmentation::default() };
    assert_eq!(noise.op(seen, 0).unwrap().noise, 0.2);
}

#[test]
fn another_optimizer_than_the_recipes_own_keeps_neither_its_rate_nor_its_momentum() {
    let optimizer = Some(OptimizerName::Sgd);
    let (learning_rate, momentum) = (Some(0.1), Some(0.95));
    let recipe = Recipe { epochs: Some(3), optimizer, learning_rate, momentum, ..Recipe::default() };
    assert_eq!(recipe.clone().with_optimizer(OptimizerName::Sgd), recipe);
    let bare = Recipe { epochs: Some(3), optimizer: Some(OptimizerName::Adam), ..Recipe::default() };
    assert_eq!(recipe.with_optimizer(OptimizerName::Adam), bare);
}

#[test]
fn what_is_no_toml_or_has_no_layers_is_refused() {
    assert!(refusal("layers = [\n  oops\n]").starts_with("my.toml:2: not TOML: "));
    assert!(refusal("").contains("there is no `layers"));
    assert!(refusal("layers = []").contains("1 to 1000 layers, not 0"));
    assert!(refusal("layers = 3").contains("must be a list"));
    assert!(refusal(&format!("layers = [{}]", "\"relu\",".repeat(1001))).contains("not 1001"));
    // A caller may have read only so much of a longer file.
    let long = "is too long for an architecture, which has at most 1048576 bytes";
    assert!(refusal(&" ".repeat(MAX_TEXT + 1)).ends_with(long));
    assert!(refusal("layers = [\"flatten\"]\ninput = 3").contains("must be a table"));
    assert!(refusal("layers = [\"flatten\"]\n[input]\nheight = 3").contains("my.toml:2: [input]: needs"));
}

#[test]
fn names_must_be_known_free_and_used() {
    for (line, message) in [
        ("{ dense = 4, from = \"x\" }", "takes \"x\", but no layer above has that name; there are \"input\""),
        ("{ dense = 4, from = \"a\" }, { dense = 4, name = \"a\" }", "it stands below; move it up"),
        ("{ dense = 4, name = \"a\", from = \"a\" }", "takes \"a\", which is the layer itself; a layer takes what"),
        ("{ dense = 4, name = \"a\" }, { dense = 4, name = \"a\" }", "is taken by my.toml:3: layer 2 (dense)"),
        ("{ dense = 4, name = \"input\" }", "choose another name"),
        ("{ dense = 4 }, { flatten = true, from = \"input\" }", "nothing uses its output; name it and use it below"),
        (
            "{ dense = 4, name = \"a\" }, { flatten = true, from = \"input\" }",
            "nothing uses its output; use it below, or",
        ),
    ] {
        let found = refusal(&with_layer(line));
        assert!(found.starts_with("my.toml:3: layer ") && found.contains(message), "{line}: {found}");
    }
}

#[test]
fn what_does_not_fit_the_image_is_answered_with_the_shapes() {
    for (layers, message) in [
        ("{ dense = \"classes\" }", "layer 1 (dense): is given an image, 28x28x1; put \"flatten\" before it"),
        ("{ conv = 4, kernel = 29 }", "its window of 29 does not fit the image's 28"),
        ("{ max_pool = 2 }, { avg_pool = 15 }", "layer 2 (avg_pool): its window of 15 does not fit the image's 14"),
        ("\"flatten\", { max_pool = 2 }", "works on images, but is given 784"),
        ("{ reshape = [27, 28] }", "cannot make 27x28 of 28x28x1: 756 numbers against 784"),
        ("{ max_pool = 2, name = \"a\" }, { add = [\"input\", \"a\"] }", "28x28x1, 14x14x1"),
        ("{ max_pool = 2, name = \"a\" }, { concat = [\"input\", \"a\"] }", "28x28x1, 14x14x1"),
        ("\"flatten\", { dense = 12 }", "gives [n, 12] but the data has 10 classes"),
        ("{ conv = 10, kernel = 28 }", "gives [n, 1, 1, 10] but the data has 10 classes"),
        ("\"flatten\", { dense = \"classes\", activation = \"softmax\" }", "the loss applies softmax itself"),
        (
            "\"flatten\", { dense = \"classes\", activation = \"softmax\" }, \"flatten\"",
            "the loss applies softmax itself",
        ),
        ("\"flatten\", { dense = \"classes\" }, \"softmax\", { dropout = 0.5 }", "the loss applies softmax itself"),
        ("{ upsample = 100000 }", "numbers for one image"),
        ("\"flatten\", { dense = 1000000 }", "its weight 784x1000000 has 784000000 numbers"),
        ("{ conv = 4, kernel = 3, padding = 3 }", "pads by 3"),
        ("{ conv_transposed = 4, kernel = 3, padding = 3 }", "leaves no image"),
        ("{ conv = 1, kernel = 268435456, padding = \"same\" }", "numbers; 268435456 is the most"),
    ] {
        let found = refusal(&format!("layers = [{layers}]"));
        assert!(found.starts_with("my.toml:1: layer ") && found.contains(message), "{layers}: {found}");
    }
    let found = refusal(&format!("{}[input]\nheight = 32\nwidth = 32\nchannels = 3", with_layer("{ dense = 3 }")));
    assert!(found.starts_with("my.toml:6: [input]: is for images of 32x32x3, but the data has 28x28x1"), "{found}");
}

#[test]
fn many_layers_that_fit_one_by_one_may_not_be_too_many_parameters_together() {
    let found = refusal(&with_layer(&"{ dense = 16000 },".repeat(3)).replace("},,", "},"));
    assert!(found.contains("up to here there are"), "{found}");
}

#[test]
fn a_built_in_network_that_does_not_fit_is_called_by_its_name_and_cannot_be_mended() {
    let refusal = |name: &str| {
        let declared = builtin(name).unwrap().declare([8, 8, 1], 10, &mut Store::default(), "net");
        declared.unwrap_err().to_string()
    };
    for name in ["best", "maxpool"] {
        let found = refusal(name);
        let mends = [".toml", "make it smaller", "padding"].iter().any(|words| found.contains(words));
        assert!(found.starts_with(&format!("{name}: layer ")) && found.contains("--image-size") && !mends, "{found}");
    }
    let gan = crate::models::builtin_gan("gan").unwrap();
    let found = gan.declare_generator([8, 8, 1], 10, &mut Store::default()).unwrap_err().to_string();
    assert!(found.starts_with("gan: layer ") && found.contains("--image-size 28x28x1"), "{found}");
}

#[test]
fn every_builtin_is_read_and_says_what_it_is() {
    for (name, text) in BUILTINS {
        let a = builtin(name).unwrap();
        assert_eq!((a.name.as_str(), a.text()), (*name, *text));
        assert!(!a.about.is_empty());
        assert_eq!(a.is_classifier(), *name != "pool");
    }
    let message = load("dens").unwrap_err().to_string();
    assert!(
        message.contains("fast, standard, best, dense, cnn, avgcnn, avgpool, maxpool, pool")
            && message.contains(".toml"),
        "{message}"
    );
    assert!(load("nowhere/x.toml").unwrap_err().to_string().contains("cannot read nowhere/x.toml"));
}

#[test]
fn a_file_of_ones_own_is_loaded_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small net.toml");
    std::fs::write(&path, with_layer("{ dense = 3 }")).unwrap();
    assert_eq!(load(path.to_str().unwrap()).unwrap().name, "smallnet");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(load(path.to_str().unwrap()).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn behind_a_front_the_layers_follow_and_the_text_says_the_same() {
    let pooled = builtin("cnn").unwrap().with_front(&builtin("pool").unwrap()).unwrap();
    assert_eq!(pooled.layers.len(), 10);
    assert_eq!(pooled.recipe, builtin("cnn").unwrap().recipe);
    let again = parse(pooled.text()).unwrap();
    assert_eq!((placeless(&again), &again.recipe, &again.name), (placeless(&pooled), &pooled.recipe, &pooled.name));

    let mut store = Store::default();
    let (_, parameters) = pooled.declare([448, 448, 1], 10, &mut store, "net").unwrap();
    let (_, plain) = builtin("cnn").unwrap().declare([28, 28, 1], 10, &mut store, "plain").unwrap();
    assert_eq!(parameters.trainable(), plain.trainable());
}

#[test]
fn behind_a_front_the_input_is_what_the_front_gives() {
    let skip =
        parse("layers = [{ conv = 1, kernel = 3, padding = \"same\", name = \"a\" }, { add = [\"a\", \"input\"] }]");
    let both = skip.unwrap().with_front(&builtin("pool").unwrap()).unwrap();
    let again = parse(both.text()).unwrap();
    assert_eq!(again.layers[2].sources(), ["a", "front0"]);
    let mut store = Store::default();
    let (network, _) = again.declare([32, 32, 1], None, &mut store, "net").unwrap();
    assert_eq!(network.output(), [2, 2, 1]);
}

#[test]
fn the_name_that_a_fronts_last_layer_is_given_is_one_that_no_layer_has() {
    let front = parse("layers = [{ dense = 9, name = \"front0\" }, { dense = 9 }]").unwrap();
    let rest = parse("layers = [{ dense = 9, name = \"front1\" }, { add = [\"front1\", \"input\"] }]").unwrap();
    let both = rest.with_front(&front).unwrap();
    assert_eq!(both.layers[1].name.as_deref(), Some("front2"));
    assert_eq!(both.layers[3].sources(), ["front1", "front2"]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_likely_text_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "layers", "=", "[", "]", "{", "}", ",", "\n", "conv", "dense", "kernel", "\"classes\"", "3", "0", "-1",
            "0x10", "1e400", "\"flatten\"", "from", "name", "\"a\"", "[input]", "[[layers]]", "height", "true", "'''", "\"",
            "1979-05-27", "add", "concat", "reshape", "padding", "\"same\"", "stride", "268435456", ".",
        ]), 0..60),
    ) {
        let mut store = Store::default();
        if let Ok(a) = parse(&words.join(" ")) {
            let _ = a.declare([28, 28, 1], 10, &mut store, "net");
        }
    }

    #[test]
    fn no_changed_builtin_makes_it_panic(
        which in 0..BUILTINS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0123456789-\"[]{},=abconvdense\n ".to_vec())), 1..6),
        input in prop::array::uniform3(0usize..40),
        number in (1..f32::INFINITY.to_bits()).prop_map(f32::from_bits),
    ) {
        let recipe = format!("[recipe]\nwarmup = {number:e}\n");
        let mut text = BUILTINS[which].1.replace("[recipe]\n", &recipe).into_bytes();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut store = Store::default();
        if let Ok(a) = parse(&String::from_utf8_lossy(&text)) {
            if let Ok(b) = a.with_front(&a) {
                let again = parse(b.text()).expect("what we write, we read");
                prop_assert_eq!((placeless(&again), again.recipe), (placeless(&b), b.recipe));
            }
            let _ = a.declare(input, 10, &mut store, "net");
        }
    }
}
