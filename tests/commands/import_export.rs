//! `import` and `export` as commands: what they write, what they say, and what they refuse.

use std::io::{Cursor, Read, Write};

use inkgrad::models::ModelFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::common::{Place, said};
use crate::import_tensors::dense_layers;
use crate::travel::file;

/// The path of a file that another program has written.
pub fn path(name: &str) -> String {
    file(name).display().to_string()
}

#[test]
fn an_imported_model_is_one_that_every_command_takes() {
    let place = Place::with_digits(10, 200);
    let said = place.works(&format!("import {} keras.safetensors", path("conv-keras3.keras")));
    assert!(said.out.contains("keras.safetensors: 2,"), "{}", said.out);
    assert!(said.err.contains("assumed that the network takes pixels from 0 to 1"), "{}", said.err);
    let said = place.works("inspect keras.safetensors");
    assert!(said.out.contains("conv 4x4x6 same relu") && said.out.contains("a Keras model"), "{}", said.out);
    let said = place.works("evaluate keras.safetensors --data data --device cpu --out report");
    let accuracy: f64 = crate::common::accuracy(&said.out).split(' ').next().unwrap().parse().unwrap();
    assert!(accuracy > 70.0, "{}", said.out);

    place.works("export keras.safetensors there.onnx");
    place.works("import there.onnx back.safetensors --scale 0..1");
    let again = place.works("evaluate back.safetensors --data data --device cpu --out again");
    assert_eq!(crate::common::accuracy(&said.out), crate::common::accuracy(&again.out));
    place.works("export keras.safetensors plain.safetensors");
    place.works("export keras.safetensors it.bin --format onnx");
    assert_eq!(place.read("it.bin"), place.read("there.onnx"));
}

#[test]
fn a_trained_run_goes_out_and_comes_back_with_the_same_answers() {
    let place = Place::with_digits(600, 200);
    place.works("train fast --data data --device cpu --epochs 1 --quiet");
    place.works("export runs/0001-fast out.onnx");
    let said = place.works("import out.onnx back.safetensors");
    assert!(!said.err.contains("assumed"), "it says itself what it takes: {said:#?}");
    let [before, after] = ["runs/0001-fast", "back.safetensors"]
        .map(|model| place.works(&format!("evaluate {model} --data data --device cpu --out report")).out);
    let table = |text: &str| text.lines().skip(1).take_while(|line| !line.contains("png")).collect::<String>();
    assert_eq!(table(&before), table(&after));
    // Plain tensors do not normalize pixels themselves: how to do so is printed, and kept beside them.
    let said = place.works("export runs/0001-fast plain.safetensors");
    assert!(said.out.contains("pixel / 255 is normalized by (x - mean) / std"), "{}", said.out);
    assert!(said.out.contains("nn.BatchNorm2d(..., eps=0.001)"), "{}", said.out);
    let said = place.works("import plain.safetensors told.safetensors --architecture fast");
    assert!(said.err.contains("as the file's metadata say") && !said.err.contains("assumed"), "{}", said.err);
    let told = place.works("evaluate told.safetensors --data data --device cpu --out report").out;
    assert_eq!(table(&before), table(&told));
    let said = place.works("import plain.safetensors again.safetensors --architecture fast --mean 0.1 --std 0.3");
    assert!(!said.err.contains("metadata"), "{}", said.err);
}

#[test]
fn classes_keep_their_names() {
    let place = Place::new();
    let names = "zero,one,two,three,four,five,six,seven,eight,nine";
    place.works(&format!("import {} m.safetensors --class-names {names}", path("dense-keras2.h5")));
    place.works("export m.safetensors m.onnx");
    place.works("import m.onnx n.safetensors");
    assert!(place.works("inspect n.safetensors").out.contains("\"seven\""));
}

/// A model is exported as ONNX and as plain tensors of `dense`, and imported again.
const JOURNEYS: [(&str, &str); 2] = [("m.onnx", ""), ("plain.safetensors", "--architecture dense")];

#[test]
fn class_names_how_pictures_became_images_and_their_background_travel_with_a_model() {
    let place = Place::new();
    let mut model = ModelFile::shipped("dense").unwrap();
    model.set_class_names(&('a'..='j').map(String::from).collect::<Vec<_>>());
    model.set("background", 243);
    // Words that no data has are ignored.
    for (pictures, kept) in [("raw", true), ("fitted", true), ("prepared", true), ("painted", false)] {
        model.set("pictures", pictures);
        model.save(place.path("m.safetensors")).unwrap();
        for (there, flags) in JOURNEYS {
            place.works(&format!("export m.safetensors {there} --force"));
            place.works(&format!("import {there} back.safetensors --force {flags}"));
            let back = ModelFile::load(place.path("back.safetensors")).unwrap();
            let found = back.metadata.get("pictures").map(String::as_str);
            assert_eq!(found, kept.then_some(pictures), "{there}");
            for key in ["class_names", "background"] {
                assert_eq!(back.metadata[key], model.metadata[key], "{there}");
            }
        }
    }
}

#[test]
fn a_network_of_light_pictures_takes_pictures_as_they_are() {
    let place = Place::new();
    place.write("net.toml", "layers = [\"flatten\", { dense = 16 }, { dense = \"classes\" }]");
    place.write("state.safetensors", dense_layers(&[("fc1", [16, 784]), ("fc2", [10, 16])]));
    for (mean, pictures) in [("0.9", Some("raw")), ("0.5", None), ("0.13", None)] {
        let line = "import state.safetensors m.safetensors --architecture net.toml --force";
        place.works(&format!("{line} --mean {mean} --std 0.25"));
        let model = ModelFile::load(place.path("m.safetensors")).unwrap();
        assert_eq!(model.metadata.get("pictures").map(String::as_str), pictures, "{mean}");
    }
}

#[test]
fn what_pytorch_does_otherwise_by_default_is_told_on_both_ways() {
    let place = Place::new();
    let text = r#"layers = ["flatten", { dense = 16, activation = "leaky_relu" }, { dense = "classes" }]"#;
    place.write("net.toml", text);
    place.write("state.safetensors", dense_layers(&[("fc1", [16, 784]), ("fc2", [10, 16])]));
    let said = place.works("import state.safetensors m.safetensors --architecture net.toml");
    assert!(said.err.contains("expected in the PyTorch module: dense1: nn.LeakyReLU(0.2);"), "{}", said.err);
    let said = place.works("export m.safetensors plain.safetensors");
    assert!(said.out.contains("needed in the PyTorch module: dense1: nn.LeakyReLU(0.2);"), "{}", said.out);
}

#[test]
fn a_file_that_calls_two_classes_the_same_is_imported_with_other_names() {
    let place = Place::new();
    let mut model = ModelFile::shipped("dense").unwrap();
    model.set_class_names(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "0"].map(String::from));
    model.save(place.path("m.safetensors")).unwrap();
    for (there, flags) in JOURNEYS {
        place.works(&format!("export m.safetensors {there}"));
        let line = format!("import {there} back-{there}.safetensors {flags}");
        place.refused(&line, &[there, "\"0\" is given as the name of two classes", "--class-names"]);
        let unnamed = format!("{line} --class-names a,,c,d,e,f,g,h,i,j");
        place.refused(&unnamed, &["--class-names: name 2 is empty"]);
        place.works(&format!("{line} --class-names a,b,c,d,e,f,g,h,i,j"));
    }
}

#[test]
fn class_names_may_have_blanks_around_them_and_what_is_suggested_can_be_pasted() {
    let place = Place::new();
    let ran = |line: &str, more: &[&str]| {
        let said = said(place.command(line).args(more).output().unwrap());
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.out
    };
    place.works("export dense there.onnx");
    let out = ran("import there.onnx --class-names", &["a, b ,c,d,e,f,g,h,i, j", "my model.safetensors"]);
    let quote = if cfg!(windows) { '"' } else { '\'' };
    assert!(out.contains(&format!("`inkgrad inspect {quote}my model.safetensors{quote}`")), "{out}");
    let path = place.path("my model.safetensors");
    let names = ModelFile::load(&path).unwrap().class_names().unwrap();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let out = ran("ensemble dense cnn -o", &["two models.safetensors"]);
    assert!(out.contains(&format!("inkgrad evaluate {quote}two models.safetensors{quote}")), "{out}");
}

#[test]
fn a_model_of_this_program_is_said_to_need_no_import() {
    let place = Place::new();
    let mut model = ModelFile::shipped("dense").unwrap();
    model.save(place.path("own.safetensors")).unwrap();
    model.add_u32("clock", &[7, 0]);
    model.save(place.path("last.safetensors")).unwrap();
    place.write("runs/0001-dense/last.safetensors", place.read("last.safetensors"));
    place.write("runs/0001-dense/config.toml", "");
    for (line, words) in [
        ("own.safetensors m.safetensors", ["is a model of this program already", "`inkgrad inspect own.safetensors`"]),
        ("own.safetensors m.safetensors --architecture dense", ["is a model of this program", "used as it is"]),
        ("last.safetensors m.safetensors", ["is a checkpoint of this program", "`inkgrad inspect last.safetensors`"]),
        (
            "runs/0001-dense/last.safetensors m.safetensors --architecture dense",
            ["is a checkpoint of this program already", "`inkgrad train --resume runs/0001-dense` resumes its run"],
        ),
    ] {
        place.refused(&format!("import {line}"), &words);
    }
    place.works("inspect last.safetensors");
    place.write("runs/0001-dense/architecture.toml", "");
    let words = ["a run's folder", "its own is runs/0001-dense/architecture.toml", "`inkgrad train --from "];
    place.refused("bench runs/0001-dense", &words);
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_remedy() {
    let place = Place::new();
    place.write("there.safetensors", "mine");
    place.write("page.h5", "<!DOCTYPE html>");
    place.write("dense.toml", "layers = [\"flatten\", { dense = 10 }, { dense = \"classes\" }]");
    let mut saved = ZipWriter::new(Cursor::new(Vec::new()));
    saved.start_file("saved/data.pkl", SimpleFileOptions::default()).unwrap();
    place.write("saved.pt", saved.finish().unwrap().into_inner());
    place.write("old.pt", b"\x80\x02\x8a\nl\xfc");
    place.works("export dense plain.safetensors");
    let submission = "ImageId,Label\n1,3\n2,1\n";
    for ending in ["h5", "keras", "onnx", "safetensors"] {
        place.write(&format!("answers.{ending}"), submission);
    }
    place.write("none.onnx", "");
    let two = dense_layers(&[("in", [64, 784]), ("out", [10, 64])]);
    place.write("cut.safetensors", &two[..1_000]);
    place.write("narrow.toml", "layers = [\"flatten\", { dense = 64, bias = false }, { dense = \"classes\" }]");
    place.write("two.safetensors", two);
    let (dense, torch, onnx) = (path("dense-keras2.h5"), path("torch.safetensors"), path("torch.onnx"));
    for (line, words) in [
        ("import none.h5 m.safetensors".into(), vec!["none.h5", "Check that the path exists"]),
        ("import page.h5 m.safetensors".into(), vec!["page.h5", "expected a model of Keras"]),
        ("import answers.h5 m.safetensors".into(), vec!["is no HDF5 file though its name says so", "\"ImageId,Label"]),
        ("import answers.keras m.safetensors".into(), vec!["is no .keras file", "\"ImageId,Label"]),
        ("import answers.onnx m.safetensors".into(), vec!["is no ONNX model", "\"ImageId,Label"]),
        (
            "import answers.safetensors m.safetensors --architecture dense".into(),
            vec!["is no safetensors file", "\"ImageId,Label"],
        ),
        ("import none.onnx m.safetensors".into(), vec!["none.onnx: is empty"]),
        ("import cut.safetensors m.safetensors --architecture dense".into(), vec!["is cut short or damaged"]),
        (
            "import two.safetensors m.safetensors --architecture narrow.toml".into(),
            vec!["a weight of [64, 784] and no bias, which in has"],
        ),
        (format!("import {dense} m.h5"), vec!["m.h5", ".safetensors"]),
        (format!("import {dense} there.safetensors"), vec!["there.safetensors", "--force"]),
        (format!("import {dense} m.safetensors --architecture dense"), vec!["--architecture is for safetensors"]),
        (format!("import {dense} m.safetensors --class-names a,b"), vec!["2 names", "10 classes"]),
        (format!("import {dense} m.safetensors --class-names a,b,c,d,e,f,g,h,i,a"), vec!["\"a\"", "two classes"]),
        (format!("import {dense} m.safetensors --scale 0..7"), vec!["0..255"]),
        (format!("import {dense} m.safetensors --mean 0.5"), vec!["--std"]),
        (format!("import {dense} m.safetensors --mean 0.5 --std 0"), vec!["standard deviation 0"]),
        (
            format!("import {dense} m.safetensors --mean 0.485,0.456,0.406 --std 0.2"),
            vec!["expected one number", "all channels have the same mean"],
        ),
        (format!("import {dense} m.safetensors --input 27x28x1"), vec!["takes 28x28", "27x28x1"]),
        (format!("import {torch} m.safetensors"), vec!["--architecture"]),
        (
            format!("import {torch} m.safetensors --architecture dense.toml"),
            vec!["dense1", "[10, 784]", "conv2", "images of 28x28x1 (others: --input HxWxC)"],
        ),
        (format!("import {onnx} m.safetensors --architecture dense.toml"), vec!["--architecture is for safetensors"]),
        (format!("import {onnx} m.safetensors --architecture none"), vec!["no model \"none\""]),
        ("import saved.pt m.safetensors".into(), vec!["saved.pt", "torch.save", "save_file", "--architecture"]),
        ("import old.pt m.safetensors --architecture dense".into(), vec!["torch.save", "save_file"]),
        (
            "import plain.safetensors m.safetensors --architecture dense --class-names a,b".into(),
            vec!["2 names", "10 classes"],
        ),
    ] {
        place.refused(&line, &words);
    }
    place.works(&format!("import {dense} there.safetensors --force"));
    assert_ne!(place.read("there.safetensors"), b"mine");
}

#[test]
fn a_model_of_another_program_is_answered_with_the_command_that_takes_it_over() {
    let place = Place::with_digits(10, 10);
    let (onnx, keras, zip) = (path("torch.onnx"), path("dense-keras2.h5"), path("conv-keras3.keras"));
    std::fs::copy(&onnx, place.path("renamed")).unwrap();
    for model in [onnx.as_str(), "renamed", &keras, &zip] {
        place.refused(&format!("evaluate {model} --data data --device cpu"), &["use `inkgrad import` first"]);
        place.refused(&format!("classify data --model {model}"), &["use `inkgrad import` first"]);
    }
    std::fs::copy(&keras, place.path("no-ending")).unwrap();
    for model in [onnx.as_str(), "renamed", "no-ending", &keras, &zip] {
        place.refused(&format!("inspect {model}"), &["use `inkgrad import` first"]);
    }
}

#[test]
fn layers_that_change_images_only_while_a_network_is_trained_are_left_out() {
    let place = Place::new();
    for class in
        ["RandomRotation", "RandomFlip", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness"]
    {
        let to = format!("\"class_name\": \"{class}\"");
        place.write("changed.keras", changed("\"class_name\": \"Dropout\"", &to, ""));
        let said = place.works("import changed.keras m.safetensors --force");
        let words = format!("dropout_2: left out; a {class} does nothing once training is over");
        assert!(said.err.contains(&words), "{}", said.err);
    }
}

#[test]
fn what_cannot_be_exported_is_refused_with_the_remedy() {
    let place = Place::new();
    place.works(&format!("import {} m.safetensors", path("dense-keras2.h5")));
    let gan = format!("{}/models/gan.safetensors", env!("CARGO_MANIFEST_DIR"));
    for (line, words) in [
        ("export none.safetensors m.onnx".into(), vec!["none.safetensors"]),
        ("export m.safetensors m.tflite".into(), vec!["m.tflite", ".onnx"]),
        ("export m.safetensors m.onnx --format safetensors".into(), vec!["m.onnx", "does not match --format"]),
        ("export m.safetensors it.SAFETENSORS --format onnx".into(), vec!["it.SAFETENSORS", "does not match"]),
        ("export m.safetensors m.safetensors --force".into(), vec!["is the model itself"]),
        (format!("export {gan} gan.safetensors"), vec!["is a generator", ".onnx"]),
    ] {
        place.refused(&line, &words);
    }
    place.works(&format!("export {gan} gan.onnx"));
}

#[test]
fn what_is_imported_and_exported_goes_into_folders_that_are_made_for_it() {
    let place = Place::new();
    place.works(&format!("import {} new/below/m.safetensors", path("dense-keras2.h5")));
    place.works("export new/below/m.safetensors other/m.onnx");
    assert_eq!([place.names("new/below"), place.names("other")], [["m.safetensors"], ["m.onnx"]]);
}

#[test]
fn an_export_replaces_a_file_only_where_it_is_told_to() {
    let place = Place::new();
    place.write("run/best.safetensors", "mine");
    let line = "export dense run/best.safetensors";
    place.refused(line, &["run/best.safetensors is already there", "--force"]);
    assert_eq!(place.read("run/best.safetensors"), b"mine");
    place.works(&format!("{line} --force"));
    assert_ne!(place.read("run/best.safetensors"), b"mine");
}

/// A `.keras` file whose configuration has `to` in the place of `from`, without the member called `without`.
fn changed(from: &str, to: &str, without: &str) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(std::fs::read(file("branches-keras3.keras")).unwrap())).unwrap();
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let name = member.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        if name == "config.json" {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{from}");
            bytes = text.replace(from, to).into_bytes();
        }
        if name != without {
            // Compressed, as other writers of zip archives do it.
            let packed = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
            out.start_file(name, packed).unwrap();
            out.write_all(&bytes).unwrap();
        }
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn a_layer_that_is_not_had_here_is_named() {
    let place = Place::new();
    let same = "\"class_name\": \"Functional\"";
    for (from, to, words) in [
        ("\"class_name\": \"LeakyReLU\"", "\"class_name\": \"PReLU\"", vec!["leaky_re_lu", "PReLU", "no such layer"]),
        ("\"interpolation\": \"nearest\"", "\"interpolation\": \"bilinear\"", vec!["up_sampling2d", "bilinear"]),
        ("\"dilation_rate\": [1, 1]", "\"dilation_rate\": [2, 2]", vec!["Conv2D", "dilation_rate [2,2]"]),
        ("\"data_format\": \"channels_last\"", "\"data_format\": \"channels_first\"", vec!["channels first"]),
        ("\"axes\": 1", "\"axes\": 2", vec!["\"dot", "axes 2"]),
        ("\"normalize\": false", "\"normalize\": true", vec!["\"dot", "normalizes its inputs"]),
        ("\"class_name\": \"Add\"", "\"class_name\": \"Average\"", vec!["Average", "no such layer"]),
        ("\"class_name\": \"Add\"", "\"class_name\": \"Dense\"", vec!["Dense", "takes 2 inputs; expected one"]),
        ("\"activation\": \"tanh\"", "\"activation\": \"gelu\"", vec!["Dense", "gelu", "leaky_relu"]),
        ("\"activation\": \"softmax\"", "\"activation\": \"sigmoid\"", vec!["ends in sigmoid"]),
        ("\"units\": 10", "\"units\": 11", vec!["its kernel is [13, 10]", "[13, 11]"]),
        ("\"pool_size\": [3, 3]", "\"pool_size\": [3, 2]", vec!["MaxPooling2D", "expected squares"]),
        (
            "\"output_layers\": [\"activation_1\", 0, 0]",
            "\"output_layers\": [[\"activation_1\", 0, 0], [\"dot\", 0, 0]]",
            vec!["2 outputs"],
        ),
        (same, "\"class_name\": \"MyModel\"", vec!["\"MyModel\"", "Functional"]),
        ("{", "", vec!["no JSON"]),
    ] {
        place.write("changed.keras", changed(from, to, ""));
        place.refused("import changed.keras m.safetensors", &[&["changed.keras"][..], &words].concat());
    }
    place.write("changed.keras", changed(same, same, "model.weights.h5"));
    place.refused("import changed.keras m.safetensors", &["no model.weights.h5"]);
    place.write("changed.keras", changed(same, same, ""));
    place.works("import changed.keras m.safetensors");
}

#[test]
fn a_keras_model_with_its_channels_first_is_refused_as_one() {
    let place = Place::new();
    let shape = |sizes: &str| format!("\"batch_shape\": [null, {sizes}]");
    for (sizes, words) in [
        ("1, 28, 28", vec!["28 channels; pictures have 1 to 4", "channels first", "Input((28, 28, 1))"]),
        ("28, 28, 5", vec!["5 channels; pictures have 1 to 4"]),
    ] {
        place.write("changed.keras", changed(&shape("28, 28, 1"), &shape(sizes), ""));
        place.refused("import changed.keras m.safetensors", &words);
    }
}

#[test]
fn a_keras_model_may_scale_its_input_behind_layers_that_leave_its_numbers_as_they_are() {
    let place = Place::new();
    place.works(&format!("import {} plain.safetensors", path("branches-keras3.keras")));
    let plain = ModelFile::load(place.path("plain.safetensors")).unwrap();
    // What takes the image, a Rescaling, takes a layer between instead.
    let between = |layer: &str| {
        let end = "}}], \"kwargs\": {}}]}";
        let taken = |name: &str| format!("\"keras_history\": [\"{name}\", 0, 0]{end}");
        let layer = format!("{layer}, \"inbound_nodes\": [[[\"image\", 0, 0, {{}}]]]}}");
        changed(&taken("image"), &format!("{}, {layer}", taken("between")), "")
    };
    let layers = [("Activation", "\"activation\": \"linear\""), ("Reshape", "\"target_shape\": [28, 28, 1]")];
    for (class, setting) in layers {
        let layer = format!("{{\"class_name\": \"{class}\", \"config\": {{\"name\": \"between\", {setting}}}");
        place.write("changed.keras", between(&layer));
        place.works("import changed.keras m.safetensors --force");
        let model = ModelFile::load(place.path("m.safetensors")).unwrap();
        assert_eq!(model.tensors, plain.tensors, "{class}");
        for key in ["mean", "std"] {
            assert_eq!(model.metadata[key], plain.metadata[key], "{class}: {key}");
        }
    }
    let layer = "{\"class_name\": \"Dropout\", \"config\": {\"name\": \"between\", \"rate\": 0.5}";
    place.write("changed.keras", between(layer));
    let words = ["rescaling", "something other than the network's input", "expected scaling before all other layers"];
    place.refused("import changed.keras none.safetensors", &words);
}
