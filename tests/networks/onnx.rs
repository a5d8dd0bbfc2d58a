//! Exported models in the real onnxruntime, and files that PyTorch wrote (tests/travel/README.md).
//!
//! `INKGRAD_MARGINS=1 cargo test --test networks onnx -- --nocapture` prints how far each is off.

use std::path::Path;

use inkgrad::device::cpu::Cpu;
use inkgrad::infer::sample::{self, Generator, Sampler};
use inkgrad::interchange::{self, Imported, Wishes, onnx, pytorch};
use inkgrad::models::{Architecture, ModelFile};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use crate::golden::{check, devices};
use crate::travel::{answers, apart, digits, file, imported, probabilities, python, read, script, untrained};

/// Sums in another order; f32 rounds a probability of 1 by 6e-8.
const TOLERANCE: f64 = 1e-5;
/// What another program's own kernels may add to that.
const IN_ONNXRUNTIME: f64 = 1e-4;

const BUILTINS: [&str; 4] = ["dense", "cnn", "avgcnn", "fast"];

fn judge() -> ModelFile {
    ModelFile::load(format!("{}/models/judge.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn from_bytes(folder: &TempDir, name: &str, bytes: &[u8], architecture: Option<&Architecture>) -> Imported {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    interchange::import(&path, architecture, &Wishes::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Pixels from 0 to 1 of the first test digits, channels first.
fn pixels(count: usize) -> Vec<u8> {
    let set = digits(count, 1);
    set.images.iter().flat_map(|byte| (f32::from(*byte) / 255.0).to_le_bytes()).collect()
}

#[test]
fn exported_models_have_the_same_probabilities_in_onnxruntime() {
    let Some(python) = python("exported_models_have_the_same_probabilities_in_onnxruntime") else { return };
    let folder = TempDir::new().unwrap();
    let [model, inputs, outputs] = ["model.onnx", "in.safetensors", "out.safetensors"].map(|n| folder.path().join(n));
    let (count, bytes) = (1_000, pixels(1_000));
    let view = TensorView::new(Dtype::F32, vec![count, 1, 28, 28], &bytes).unwrap();
    std::fs::write(&inputs, safetensors::serialize([("image", view)], None).unwrap()).unwrap();
    let models = BUILTINS.iter().map(|name| (*name, untrained(name))).chain([("judge", judge())]);
    for (name, file) in models {
        std::fs::write(&model, onnx::export(&file).unwrap()).unwrap();
        script(&python, "run_onnx.py", &[&model, &inputs, &outputs]);
        let own = probabilities(&mut Cpu::new(), &file, &digits(count, 1));
        assert!(own.iter().any(|p| *p > 0.2), "{name}: probabilities that are all alike show nothing");
        for (key, rows) in [("probabilities", count), ("probabilities.alone", 10)] {
            let theirs = read(&outputs, key);
            check(&format!("{name}, {key}"), apart(&theirs, &own[..rows * 10]), IN_ONNXRUNTIME);
        }
    }
}

#[test]
fn every_imported_layer_goes_out_to_onnxruntime_too() {
    let Some(python) = python("every_imported_layer_goes_out_to_onnxruntime_too") else { return };
    let folder = TempDir::new().unwrap();
    let [model, inputs, outputs] = ["model.onnx", "in.safetensors", "out.safetensors"].map(|n| folder.path().join(n));
    let bytes = pixels(100);
    let view = TensorView::new(Dtype::F32, vec![100, 1, 28, 28], &bytes).unwrap();
    std::fs::write(&inputs, safetensors::serialize([("image", view)], None).unwrap()).unwrap();
    for name in ["branches-keras3.keras", "conv-keras2.h5", "vector-keras2.h5", "torch-branches.onnx"] {
        std::fs::write(&model, onnx::export(&imported(name).file).unwrap()).unwrap();
        script(&python, "run_onnx.py", &[&model, &inputs, &outputs]);
        let own = probabilities(&mut Cpu::new(), &imported(name).file, &digits(100, 1));
        check(name, apart(&read(&outputs, "probabilities"), &own), IN_ONNXRUNTIME);
    }
}

#[test]
fn an_exported_generator_draws_the_same_pictures_in_onnxruntime() {
    let Some(python) = python("an_exported_generator_draws_the_same_pictures_in_onnxruntime") else { return };
    let folder = TempDir::new().unwrap();
    let [model, inputs, outputs] = ["model.onnx", "in.safetensors", "out.safetensors"].map(|n| folder.path().join(n));
    let path = format!("{}/models/gan.safetensors", env!("CARGO_MANIFEST_DIR"));
    let file = ModelFile::load(&path).unwrap();
    std::fs::write(&model, onnx::export(&file).unwrap()).unwrap();

    let generator = Generator::load(Path::new(&path)).unwrap();
    let latents: Vec<f32> = (0..30).flat_map(|i| sample::latent(0, i, generator.latent())).collect();
    let labels: Vec<u32> = (0..30).map(|i| i % 10).collect();
    let mut cpu = Cpu::new();
    let mut sampler = Sampler::open(&generator, &mut cpu).unwrap();
    let pixels = sampler.draw(&mut cpu, &latents, &sample::one_hot(&labels, 10)).unwrap();
    let floats: Vec<u8> = latents.iter().flat_map(|x| x.to_le_bytes()).collect();
    let whole: Vec<u8> = labels.iter().flat_map(|x| i64::from(*x).to_le_bytes()).collect();
    let noise = TensorView::new(Dtype::F32, vec![30, latents.len() / 30], &floats).unwrap();
    let label = TensorView::new(Dtype::I64, vec![30], &whole).unwrap();
    std::fs::write(&inputs, safetensors::serialize([("noise", noise), ("label", label)], None).unwrap()).unwrap();
    script(&python, "run_onnx.py", &[&model, &inputs, &outputs]);
    // Our own pictures are bytes: rounding alone puts them off by half of one.
    let theirs: Vec<f32> = read(&outputs, "image").iter().map(|x| x * 255.0).collect();
    let own: Vec<f32> = pixels.iter().map(|byte| f32::from(*byte)).collect();
    check("pictures", apart(&theirs, &own), 0.51);
}

#[test]
fn a_model_that_went_out_comes_back_with_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    for (name, file) in BUILTINS.iter().map(|name| (*name, untrained(name))).chain([("judge", judge())]) {
        let bytes = onnx::export(&file).unwrap();
        assert_eq!(bytes, onnx::export(&file).unwrap(), "{name}: equal models give equal bytes");
        let back = from_bytes(&folder, "there.onnx", &bytes, None).file;
        let sorted = |file: &ModelFile| {
            let mut tensors = file.tensors.clone();
            tensors.sort_by(|a, b| a.name.cmp(&b.name));
            tensors
        };
        // `judge` has tensors besides its network's.
        let own: Vec<_> = sorted(&file).into_iter().filter(|t| back.tensors.iter().any(|b| b.name == t.name)).collect();
        assert_eq!(own, sorted(&back), "{name}");
        for key in ["mean", "std", "input", "classes"] {
            assert_eq!(file.metadata.get(key), back.metadata.get(key), "{name}: {key}");
        }
        let set = digits(200, 1);
        let [before, after] = [&file, &back].map(|file| probabilities(&mut Cpu::new(), file, &set));
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn plain_tensors_come_back_with_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    for name in BUILTINS {
        let file = untrained(name);
        let bytes = pytorch::export(&file).unwrap();
        assert_eq!(bytes, pytorch::export(&file).unwrap(), "{name}: equal models give equal bytes");
        let architecture = inkgrad::models::builtin(name).unwrap();
        let back = from_bytes(&folder, "there.safetensors", &bytes, Some(&architecture)).file;
        assert_eq!(file.tensors, back.tensors, "{name}");
        // No tensor says this, and PyTorch's own layer has another value.
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let epsilon = header.metadata().as_ref().and_then(|metadata| metadata.get("bn1.eps").cloned());
        assert_eq!(epsilon.as_deref(), ["avgcnn", "fast"].contains(&name).then_some("0.001"), "{name}");
    }
}

#[test]
fn plain_tensors_are_read_by_their_own_library() {
    let Some(python) = python("plain_tensors_are_read_by_their_own_library") else { return };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plain.safetensors");
    std::fs::write(&path, pytorch::export(&untrained("fast")).unwrap()).unwrap();
    let said = script(&python, "read_tensors.py", &[&path]);
    for line in ["bn1.running_var float32 32", "conv2.weight float32 64 32 3 3", "dense1.weight float32 128 1600"] {
        assert!(said.lines().any(|found| found == line), "no {line:?} in\n{said}");
    }
}

#[test]
fn what_pytorch_exported_has_the_same_probabilities_here() {
    for (device, open) in devices("what_pytorch_exported_has_the_same_probabilities_here") {
        for (name, key) in
            [("torch.onnx", "torch"), ("torch-traced.onnx", "torch"), ("torch-branches.onnx", "torch-branches")]
        {
            let wanted = answers("torch-answers", key);
            let got = probabilities(open().as_mut(), &imported(name).file, &digits(wanted.len() / 10, 1));
            check(&format!("{name} on the {device}"), apart(&got, &wanted), TOLERANCE);
        }
    }
}

/// The layers of `Plain` in make_torch.py, with PyTorch's names or without.
fn plain(named: bool) -> Architecture {
    let name = |name: &str| if named { format!(", name = \"{name}\"") } else { String::new() };
    let text = format!(
        r#"layers = [
          {{ conv = 6, kernel = 5, bias = false{} }},
          {{ batch_norm = true, epsilon = 1e-5, activation = "relu"{} }},
          {{ max_pool = 2 }},
          {{ conv = 8, kernel = 3, stride = 2, padding = 1, activation = "leaky_relu", slope = 0.1{} }},
          "flatten",
          {{ dense = 20{} }},
          {{ batch_norm = true, epsilon = 1e-5, activation = "relu"{} }},
          {{ dense = "classes"{} }},
        ]"#,
        name("conv1"),
        name("bn1"),
        name("conv2"),
        name("fc1"),
        name("bn2"),
        name("fc2"),
    );
    Architecture::parse(&text, "plain.toml").unwrap()
}

#[test]
fn a_state_dict_has_the_same_probabilities_here_by_name_and_by_order() {
    let wanted = answers("torch-answers", "torch");
    for named in [true, false] {
        let model = interchange::import(&file("torch.safetensors"), Some(&plain(named)), &Wishes::default()).unwrap();
        let got = probabilities(&mut Cpu::new(), &model.file, &digits(wanted.len() / 10, 1));
        check(if named { "by name" } else { "by order" }, apart(&got, &wanted), TOLERANCE);
        let name = if named { "fc1" } else { "dense1" };
        assert!(model.notes.contains(&format!("{name} takes fc1")), "{:?}", model.notes);
        let two = Wishes { class_names: Some(vec!["a".into(), "b".into()]), ..Wishes::default() };
        let error = interchange::import(&file("torch.safetensors"), Some(&plain(named)), &two).unwrap_err().to_string();
        assert!(error.contains("2 names are given for its 10 classes"), "{error}");
    }
}
