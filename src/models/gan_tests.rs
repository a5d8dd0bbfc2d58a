//! GANs as text: what is read, what survives being written, and how each mistake is answered.

use proptest::prelude::*;

use super::*;
use crate::graph::Store;

/// A small GAN for 28x28x1 images; the tests below rely on its line numbers.
const TEXT: &str = r#"[generator]
noise = 4
noise_width = 3
label_width = 2
layers = [
  { dense = "noise_width", activation = "relu", name = "noise" },
  { dense = "label_width", from = "label", name = "class" },
  { concat = ["class", "noise"] },
  { dense = 784, activation = "sigmoid" },
  { reshape = [28, 28, 1] },
]
[discriminator]
layers = [
  "flatten",
  { dense = 1 },
]
"#;

/// Reads a GAN and declares both networks for 28x28x1 images of 10 classes.
fn whole(text: &str) -> Result<Gan, ModelError> {
    let gan = Gan::parse(text, "my.toml")?;
    let mut store = Store::default();
    gan.declare_generator([28, 28, 1], 10, &mut store)?;
    gan.declare_discriminator([28, 28, 1], 10, &mut store)?;
    Ok(gan)
}

#[test]
fn other_widths_change_nothing_else_and_survive_being_written() {
    let settings = "epochs = 3\nbatch = 32\nloss = \"hinge\"\ngenerator_rate = 2e-4\ndiscriminator_rate = 4e-4\n\
                    momentum = 0.5\nbeta2 = 0.9\nschedule = \"cosine\"\ndiscriminator_steps = 3\npack = 2\n\
                    label_noise = 0.05\nspectral_norm = true\naverage = 0.999\n";
    let told = format!("{TEXT}[recipe]\n{settings}");
    for (name, text) in BUILTIN_GANS.iter().copied().chain([("my", TEXT), ("told", told.as_str())]) {
        let gan = Gan::parse(text, name).unwrap();
        let wider = gan.with_widths(17, 19).unwrap();
        assert_eq!((wider.noise_width, wider.label_width), (17, 19), "{name}");
        let again = whole(wider.text()).unwrap();
        assert_eq!((again.noise, &again.recipe, &again.about), (gan.noise, &gan.recipe, &gan.about), "{name}");
        assert_eq!((again.noise_width, again.label_width), (17, 19), "{name}");
        // With its own widths again, and written once more, it has the same text.
        let back = again.with_widths(gan.noise_width, gan.label_width).unwrap();
        assert_eq!(back.text(), gan.with_widths(gan.noise_width, gan.label_width).unwrap().text(), "{name}");
    }
}

#[test]
fn every_mistake_is_answered_with_its_place_and_what_would_do() {
    whole(TEXT).unwrap();
    for (old, new, words) in [
        ("\"sigmoid\"", "\"relu\"", &["my.toml:9:", "\"sigmoid\" or \"tanh\""][..]),
        (", activation = \"sigmoid\"", "", &["my.toml:9:", "\"sigmoid\" or \"tanh\""]),
        ("[28, 28, 1]", "[14, 56, 1]", &["my.toml:10:", "14x56x1", "28x28x1"]),
        ("{ dense = 1 }", "{ dense = 2 }", &["my.toml:15:", "must end in one number"]),
        ("{ dense = 1 }", "{ dense = 1, activation = \"sigmoid\" }", &["my.toml:15:", "last activation"]),
        ("noise = 4\n", "", &["[generator]", "`noise`"]),
        ("noise_width = 3\n", "", &["[generator]", "`noise_width`"]),
        ("\"label_width\"", "2", &["[generator]", "`label_width`", "no layer asks"]),
        ("noise = 4", "noise = 0", &["my.toml:2:", "noise"]),
        ("noise = 4", "noise = 4\nnoises = 4", &["my.toml:3:", "noises"]),
        ("2\nlayers", "2\nlayrs", &["my.toml:5: [generator]: `layrs` is not known", "did you mean `layers`?"]),
        ("[discriminator]\nlayers", "[discriminator]\nlayrs", &["my.toml:13: [discriminator]: `layrs`", "`layers`"]),
        ("\"class\", \"noise\"", "\"class\", \"nose\"", &["my.toml:8:", "nose"]),
        ("[discriminator]", "[critic]", &["critic"]),
        ("\"flatten\",", "\"flatten\"; ", &["my.toml:14:"]),
    ] {
        assert!(TEXT.contains(old), "{old}");
        let text = TEXT.replacen(old, new, 1);
        let error = whole(&text).expect_err(&text).to_string();
        assert!(error.contains("my.toml"), "{error}");
        for word in words {
            assert!(error.contains(word), "{old} -> {new}: no {word:?} in {error}");
        }
    }
    let plain = TEXT.replace("\"noise_width\"", "3").replace("noise_width = 3\n", "");
    let error = Gan::parse(&plain, "my.toml").unwrap().with_widths(5, 5).unwrap_err().to_string();
    assert!(error.contains("noise_width") && error.contains("cannot be changed"), "{error}");
}

#[test]
fn a_network_without_layers_is_named_as_the_one_that_lacks_them() {
    let discriminator = TEXT.find("layers = [\n  \"flatten\"").unwrap();
    let error = Gan::parse(&TEXT[..discriminator], "my.toml").unwrap_err().to_string();
    assert!(error.contains(": [discriminator]: there is no `layers = [ ... ]`"), "{error}");
    let generator = TEXT.find("layers").unwrap()..TEXT.find("[discriminator]").unwrap();
    let error = Gan::parse(&TEXT.replace(&TEXT[generator], ""), "my.toml").unwrap_err().to_string();
    assert!(error.contains(": [generator]: there is no `layers = [ ... ]`"), "{error}");
}

#[test]
fn a_generator_says_of_what_size_its_images_are() {
    let image = |text: &str| Gan::parse(text, "my.toml").unwrap().image(10);
    assert_eq!(image(TEXT).unwrap(), [28, 28, 1]);
    assert_eq!(image(&TEXT.replace("[28, 28, 1]", "[4, 49, 4]")).unwrap(), [4, 49, 4]);
    let error = image(&TEXT.replace("  { reshape = [28, 28, 1] },\n", "")).unwrap_err().to_string();
    assert!(error.starts_with("my.toml:9:") && error.contains("gives 784, which is no image"), "{error}");
    for (name, text) in BUILTIN_GANS {
        assert_eq!(image(text).unwrap(), [28, 28, 1], "{name}");
    }
}

#[test]
fn a_network_that_takes_no_label_is_no_conditional_gans_and_is_told_how_to_take_it() {
    let refused = |text: &str| Gan::parse(text, "my.toml").unwrap().check_labels().unwrap_err().to_string();
    let flat = "layers = [\n  \"flatten\",\n";
    let labelled = TEXT.replacen(flat, "layers = [\n  { concat = [\"input\", \"label\"] },\n", 1);
    assert_ne!(labelled, TEXT);
    Gan::parse(&labelled, "my.toml").unwrap().check_labels().unwrap();
    let unasked = labelled.replacen("from = \"label\", ", "", 1);
    for (text, part) in [(TEXT, "[discriminator]"), (unasked.as_str(), "[generator]")] {
        let error = refused(text);
        assert!(error.starts_with(&format!("my.toml: {part}: no layer takes the label")), "{error}");
        assert!(error.contains("from = \"label\""), "{error}");
    }
    for (name, text) in BUILTIN_GANS {
        Gan::parse(text, name).unwrap().check_labels().unwrap();
    }
}

#[test]
fn either_network_makes_a_text_a_gans_and_the_other_is_asked_for() {
    let (generator, discriminator) = TEXT.split_at(TEXT.find("[discriminator]").unwrap());
    for (text, missing) in [(generator, "there is no [discriminator]"), (discriminator, "there is no [generator]")] {
        let error = Model::parse(text, "my.toml").unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
        let error = Architecture::parse(text, "my.toml").unwrap_err().to_string();
        assert!(error.contains("is a GAN"), "{error}");
    }
}

#[test]
fn a_classifier_has_no_label_to_take() {
    let text = "layers = [\n  \"flatten\",\n  { dense = \"classes\", from = \"label\" },\n]\n";
    let error = Architecture::parse(text, "my.toml").unwrap_err().to_string();
    assert!(error.contains("my.toml:3:") && error.contains("label"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Gan::parse(&text, "my.toml");
    }

    #[test]
    fn no_changed_gan_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0123456789-\"[]{},=abconvdense\n ".to_vec())), 1..6),
    ) {
        let mut bytes = TEXT.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(gan) = whole(&String::from_utf8(bytes).unwrap())
            && let Ok(wider) = gan.with_widths(5, 6)
        {
            prop_assert!(whole(wider.text()).is_ok(), "{}", wider.text());
        }
    }
}
