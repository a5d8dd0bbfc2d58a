//! `import` of bare tensors by an architecture: which layer takes which, and what only looks like a safetensors file.

use std::io::Cursor;

use inkgrad::models::ModelFile;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::common::Place;
use crate::import_export::path;

/// The bytes of a safetensors file with, for each name, a weight of that many outputs and inputs and a bias.
pub fn dense_layers(layers: &[(&str, [usize; 2])]) -> Vec<u8> {
    fn view(dims: Vec<usize>, data: &[u8]) -> TensorView<'_> {
        TensorView::new(Dtype::F32, dims, data).unwrap()
    }
    let numbers = |i: usize, count: usize| (0.001_f32 * (i + 1) as f32).to_le_bytes().repeat(count);
    let data: Vec<[Vec<u8>; 2]> =
        layers.iter().enumerate().map(|(i, (_, [k, c]))| [numbers(i, k * c), numbers(i, *k)]).collect();
    let views = layers.iter().zip(&data).flat_map(|((name, [k, c]), [weight, bias])| {
        [(format!("{name}.weight"), view(vec![*k, *c], weight)), (format!("{name}.bias"), view(vec![*k], bias))]
    });
    safetensors::serialize(views, None).unwrap()
}

/// The bytes of a safetensors file with its first numbers as `change` says, each under its name, and with `more` in its
/// metadata.
fn edited(bytes: &[u8], more: &[(&str, &str)], change: impl Fn(&str) -> Option<f32>) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap_or_default();
    metadata.extend(more.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    let file = SafeTensors::deserialize(bytes).unwrap();
    let data = file.tensors().into_iter().map(|(name, view)| {
        let mut data = view.data().to_vec();
        change(&name).into_iter().for_each(|x| data[..4].copy_from_slice(&x.to_le_bytes()));
        (name, view.shape().to_vec(), data)
    });
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = data.collect();
    let views =
        data.iter().map(|(name, dims, data)| (name.as_str(), TensorView::new(Dtype::F32, dims.clone(), data).unwrap()));
    safetensors::serialize(views, Some(metadata)).unwrap()
}

#[test]
fn tensors_that_would_change_what_a_layer_computes_are_refused_and_named() {
    let place = Place::new();
    let bytes = dense_layers(&[("fc1", [16, 784]), ("fc2", [10, 16])]);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = [0; 4 * 2 * 784];
    let with = |more: &[(&str, [usize; 2])]| {
        let more = more.iter().map(|(name, dims)| {
            let data = &numbers[..4 * dims[0] * dims[1]];
            (name.to_string(), TensorView::new(Dtype::F32, dims.to_vec(), data).unwrap())
        });
        safetensors::serialize(file.tensors().into_iter().chain(more), None).unwrap()
    };
    place.write("net.toml", "layers = [\"flatten\", { dense = 16 }, { dense = \"classes\" }]");
    place.write("lora.safetensors", with(&[("fc1.lora_A", [2, 784]), ("fc1.lora_B", [16, 2])]));
    place.write("scaled.safetensors", with(&[("fc2.scale", [10, 1])]));
    place.write("counted.safetensors", with(&[("fc1.num_batches_tracked", [1, 1])]));
    for (there, layer, words) in [
        ("lora.safetensors", "layer \"dense1\"", "fc1 has lora_A and lora_B besides weight and bias"),
        ("scaled.safetensors", "layer \"dense2\"", "fc2 has scale besides weight and bias"),
    ] {
        let line = format!("import {there} m.safetensors --architecture net.toml");
        place.refused(&line, &[there, layer, words, "before it is saved"]);
    }
    place.works("import counted.safetensors m.safetensors --architecture net.toml");
}

#[test]
fn a_header_whose_length_looks_like_a_pickle_does_not_hide_its_tensors() {
    let place = Place::new();
    let bytes = dense_layers(&[("fc1", [16, 784]), ("fc2", [10, 16])]);
    let noted = (0..640).map(|i| edited(&bytes, &[("note", "x".repeat(i).as_str())], |_| None));
    // A length of 640 is 80 02 in bytes, as a pickle of version 2 begins.
    let noted = noted.into_iter().find(|bytes| bytes.starts_with(b"\x80\x02")).unwrap();
    place.write("net.toml", "layers = [\"flatten\", { dense = 16 }, { dense = \"classes\" }]");
    place.write("state.safetensors", noted);
    place.works("import state.safetensors m.safetensors --architecture net.toml");
}

#[test]
fn another_epsilon_than_the_files_is_refused_with_both() {
    let place = Place::new();
    place.works("export fast plain.safetensors");
    let bytes = place.read("plain.safetensors");
    place.write("other.safetensors", edited(&bytes, &[("bn1.eps", "0.3")], |_| None));
    let words =
        ["layer \"bn1\": has an epsilon of 0.001", "bn1.eps in the file's metadata is 0.3", "write epsilon = 0.3"];
    place.refused("import other.safetensors m.safetensors --architecture fast", &words);
    place.write("same.safetensors", edited(&bytes, &[("bn1.eps", "1e-3")], |_| None));
    place.works("import same.safetensors m.safetensors --architecture fast");
}

#[test]
fn what_no_other_command_would_read_is_not_imported() {
    let place = Place::new();
    let dense = path("dense-keras2.h5");
    let words = ["takes pixels as (byte / 255 - 0.5) / -0.25", "divide by a number above 0", "divide by 0.25"];
    place.refused(&format!("import {dense} m.safetensors --mean 0.5 --std -0.25"), &words);
    place.works("export fast plain.safetensors");
    let bytes = place.read("plain.safetensors");
    let line = "import told.safetensors m.safetensors --architecture fast";
    place.write("told.safetensors", edited(&bytes, &[("mean", "0.5"), ("std", "-0.25")], |_| None));
    place.refused(line, &words);
    let negative = |name: &str| (name == "bn2.running_var").then_some(-1.0);
    place.write("told.safetensors", edited(&bytes, &[], negative));
    place.refused(line, &["layer \"bn2\": bn2.running_var holds -1; no variance is below 0"]);
    assert!(!place.path("m.safetensors").exists());
}

#[test]
fn what_only_python_reads_is_called_what_it_is_with_and_without_an_architecture() {
    let place = Place::new();
    // What torch.save wrote before it wrote zip archives, at two versions of pickle, and pickle.dump.
    place.write("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.");
    place.write("newer.pt", b"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\x0al\xfc");
    place.write("any.pkl", b"\x80\x05}.");
    let mut program = ZipWriter::new(Cursor::new(Vec::new()));
    program.start_file("e/models/model.json", SimpleFileOptions::default()).unwrap();
    place.write("e.pt2", program.finish().unwrap().into_inner());
    place.write("page.html", "<!DOCTYPE html>");
    for (there, words) in [
        ("old.pt", ["is a pickle, as torch.save writes it", "save_file(model.state_dict()"]),
        ("newer.pt", ["is a pickle, as torch.save writes it", "save_file(model.state_dict()"]),
        ("any.pkl", ["is a pickle, as torch.save writes it", "save_file(model.state_dict()"]),
        ("e.pt2", ["is a program of torch.export", "torch.export.load(\"model.pt2\").state_dict"]),
        ("page.html", ["cannot be read as ONNX", "safetensors with --architecture"]),
    ] {
        place.refused(&format!("import {there} m.safetensors"), &words);
        place.refused(&format!("import {there} m.safetensors --architecture dense"), &words);
    }
}

#[test]
fn layers_of_the_same_sizes_are_told_apart_by_their_names_and_not_by_the_alphabet() {
    let place = Place::new();
    let layers = |up, mix| dense_layers(&[("embed", [64, 784]), (up, [64, 64]), (mix, [64, 64]), ("vote", [10, 64])]);
    place.write("state.safetensors", layers("up", "mix"));
    place.write("counted.safetensors", layers("body.2", "body.10"));
    let network = |second: &str, third: &str| {
        let names = format!("{{ dense = 64{second} }}, {{ dense = 64{third} }}");
        format!("layers = [\"flatten\", {{ dense = 64 }}, {names}, {{ dense = \"classes\" }}]")
    };
    place.write("net.toml", network("", ""));
    place.write("named.toml", network(", name = \"up\"", ", name = \"mix\""));
    let words = [
        "state.safetensors: does not say which of its tensors of the same sizes come first",
        "mix and up (weight [64, 64], bias [64]) fit the layers dense2 and dense3",
        "name = \"mix\"",
    ];
    place.refused("import state.safetensors m.safetensors --architecture net.toml", &words);

    let said = place.works("import state.safetensors named.safetensors --architecture named.toml");
    for line in ["dense1 takes embed", "up takes up", "mix takes mix", "dense2 takes vote"] {
        assert!(said.err.contains(line), "{line}: {}", said.err);
    }
    place.works("import counted.safetensors numbered.safetensors --architecture net.toml");
    let weight = |file: &str, name: &str| {
        let tensors = ModelFile::load(place.path(file)).unwrap().tensors;
        tensors.into_iter().find(|tensor| tensor.name == name).unwrap().words
    };
    for (named, numbered) in [("up.weight", "dense2.weight"), ("mix.weight", "dense3.weight")] {
        assert_eq!(weight("named.safetensors", named), weight("numbered.safetensors", numbered), "{named}");
    }
    assert_ne!(weight("named.safetensors", "up.weight"), weight("named.safetensors", "mix.weight"));
}

#[test]
fn the_number_of_classes_is_that_of_the_last_layer_whatever_it_is_called() {
    let place = Place::new();
    place.works("export fast plain.safetensors");
    let bytes = place.read("plain.safetensors");
    let names = [("bn1", "norm1"), ("bn2", "norm2"), ("dense1", "hidden"), ("dense2", "head")];
    let renamed = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(|(full, view)| {
        let (layer, suffix) = full.rsplit_once('.').unwrap();
        let new = names.iter().find(|(old, _)| *old == layer).map_or(layer, |(_, new)| *new);
        (format!("{new}.{suffix}"), view)
    });
    place.write("named.safetensors", safetensors::serialize(renamed, None).unwrap());
    place.works("import plain.safetensors a.safetensors --architecture fast");
    let said = place.works("import named.safetensors b.safetensors --architecture fast");
    assert!(said.err.contains("dense1 takes hidden") && said.err.contains("dense2 takes head"), "{}", said.err);
    let [a, b] = ["a.safetensors", "b.safetensors"].map(|name| ModelFile::load(place.path(name)).unwrap());
    assert_eq!(a.tensors, b.tensors);
    assert_eq!(b.metadata["classes"], "10");
}

#[test]
fn tensors_come_back_to_a_network_of_which_the_layers_fit_the_true_number_of_classes_alone() {
    let place = Place::with_digits(60, 30);
    let heads = "{ dense = \"classes\", from = \"row\", name = \"a\" }, { dense = 16, from = \"row\", name = \"wide\" }, \
                 { dense = \"classes\", name = \"b\" }, { add = [\"a\", \"b\"] }";
    place.write("net.toml", format!("layers = [{{ flatten = true, name = \"row\" }}, {heads}]"));
    place.works("train ./net.toml --data data --device cpu --epochs 1 --validation 0 -b 20 --quiet");
    place.works("export runs/0001-net plain.safetensors");
    place.works("import plain.safetensors back.safetensors --architecture runs/0001-net");
    let [run, back] = ["runs/0001-net/best.safetensors", "back.safetensors"]
        .map(|name| ModelFile::load(place.path(name)).unwrap().tensors);
    assert_eq!(run, back);
}

#[test]
fn tensors_of_reshaped_images_are_refused_with_the_format_that_can_have_them() {
    let place = Place::with_digits(60, 30);
    place.write("net.toml", "layers = [{ reshape = [14, 14, 4] }, \"flatten\", { dense = \"classes\" }]");
    place.works("train ./net.toml --data data --device cpu --epochs 1 --validation 0 -b 20 --quiet");
    place.refused("export runs/0001-net plain.safetensors", &["makes 14x14x4 of 28x28x1", "only ONNX says where"]);
    place.works("export runs/0001-net it.onnx");
}

#[test]
fn an_ensemble_comes_back_from_plain_tensors_by_its_own_architecture() {
    let place = Place::new();
    place.works("ensemble dense cnn -o joined.safetensors");
    place.works("export joined.safetensors plain.safetensors");
    let joined = ModelFile::load(place.path("joined.safetensors")).unwrap();
    place.write("runs/0001-ensemble/best.safetensors", place.read("joined.safetensors"));
    std::fs::copy(place.path("joined.safetensors"), place.path("no-ending")).unwrap();
    for model in ["joined.safetensors", "runs/0001-ensemble", "no-ending"] {
        place.works(&format!("import plain.safetensors back.safetensors --force --architecture {model}"));
        let back = ModelFile::load(place.path("back.safetensors")).unwrap();
        assert_eq!(back.tensors, joined.tensors, "{model}");
        for key in ["architecture", "input", "classes", "class_names", "mean", "std"] {
            assert_eq!(back.metadata[key], joined.metadata[key], "{model}: {key}");
        }
    }
    let line = "import plain.safetensors m.safetensors --architecture";
    place.refused(&format!("{line} plain.safetensors"), &["plain.safetensors", "has no \"architecture\""]);
    place.refused(&format!("{line} runs"), &["no run's folder", "did you mean runs/0001-ensemble?"]);
    place.refused(&format!("{line} gan"), &["is a GAN, where a classifier is expected"]);
}
