//! Networks: shapes, parameters, graphs, and the way to a file and back.

use std::path::Path;

use super::*;
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::grad::grad;
use crate::graph::{ALIGNMENT, Graph, Place, Store};
use crate::ops::reduce::Sum;
use crate::plan::Plan;
use crate::tensor::Tensor;

fn declare(architecture: &Architecture, input: [usize; 3], classes: Option<usize>) -> (Store, Parameters, Network) {
    let mut store = Store::default();
    let (network, parameters) = architecture.declare(input, classes, &mut store, "net").unwrap();
    (store, parameters, network)
}

fn of_builtin(name: &str) -> (Store, Parameters, Network) {
    declare(&builtin(name).unwrap(), [28, 28, 1], Some(10))
}

const TWO_BRANCHES: &str = r#"layers = [
  { conv = 3, kernel = 3, padding = "same", activation = "relu", name = "a" },
  { conv = 2, kernel = 2, stride = 2, padding = "same", bias = false, from = "input" },
  { batch_norm = true, activation = "leaky_relu" },
  { upsample = 2, name = "b" },
  { concat = ["a", "b"], name = "c" },
  { conv = 5, kernel = 1, activation = "tanh" },
  { add = ["c", "conv3"] },
  { max_pool = 2 },
  "flatten",
  { dropout = 0.5 },
  { dense = 4, activation = "sigmoid" },
  { dense = "classes" },
]"#;

fn two_branches() -> Architecture {
    let text = TWO_BRANCHES.replace("activation = \"tanh\" }", "activation = \"tanh\", name = \"conv3\" }");
    Architecture::parse(&text, "two.toml").unwrap()
}

#[test]
fn the_builtins_have_the_layers_and_parameters_of_their_descriptions() {
    for (name, trainable, shapes) in [
        ("dense", 784 * 64 + 64 + 64 * 10 + 10, vec![vec![784], vec![64], vec![10]]),
        ("cnn", 80 + 2080 + 8256 + 3136 * 64 + 64 + 650, vec![]),
        ("avgcnn", 288 + 64 + 9216 + 64 + 18432 + 128 + 36864 + 128 + 3136 * 128 + 128 + 1290, vec![]),
        (
            "fast",
            800 + 64 + 18_432 + 128 + 1600 * 128 + 128 + 1290,
            vec![
                vec![24, 24, 32],
                vec![12, 12, 32],
                vec![12, 12, 32],
                vec![10, 10, 64],
                vec![5, 5, 64],
                vec![5, 5, 64],
                vec![1600],
                vec![128],
                vec![10],
            ],
        ),
    ] {
        let (_, parameters, network) = of_builtin(name);
        let rows = network.layers();
        assert_eq!(parameters.count_trainable(), trainable, "{name}");
        assert_eq!(rows.iter().map(|row| row.parameters).sum::<u64>(), trainable, "{name}");
        if !shapes.is_empty() {
            assert_eq!(rows.iter().map(|row| row.shape.clone()).collect::<Vec<_>>(), shapes, "{name}");
        }
        assert_eq!(rows.iter().map(|row| row.flops).sum::<u64>(), network.flops());
    }
    let (_, _, fast) = of_builtin("fast");
    assert_eq!(fast.layers()[0].describe, "conv 5x5x32 valid");
    assert_eq!(fast.layers()[0].flops, 2 * 24 * 24 * 32 * 25);
    assert_eq!(fast.layers()[1].flops, 12 * 12 * 32 * 4);
    assert_eq!(fast.layers()[8].describe, "dense 10");
}

#[test]
fn names_count_each_kind_and_places_do_not_overlap() {
    let (store, parameters, _) = of_builtin("avgcnn");
    let names: Vec<&str> = parameters.trainable().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names[..4], ["conv1.weight", "bn1.affine", "conv2.weight", "bn2.affine"]);
    assert_eq!(names[8..], ["dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"]);
    assert_eq!(parameters.statistics()[3].name, "bn4.running");
    let mut end = 0;
    for p in parameters.trainable() {
        assert!(p.offset >= end && p.offset.is_multiple_of(ALIGNMENT));
        end = p.offset + p.shape.len();
    }
    assert!(parameters.total() >= end && parameters.total().is_multiple_of(ALIGNMENT));
    assert_eq!(store.words(parameters.weights), store.words(parameters.grads));
    assert_eq!(store.words(parameters.running), parameters.total_running());
}

#[test]
fn weights_begin_within_their_limit_and_depend_on_the_seed_alone() {
    let (_, parameters, _) = of_builtin("avgcnn");
    let Values { weights, running } = parameters.initial(3);
    assert_eq!(weights, of_builtin("avgcnn").1.initial(3).weights);
    assert_ne!(weights, parameters.initial(4).weights);
    let mut before = vec![0.0f32; 8];
    for (i, p) in parameters.trainable().iter().enumerate() {
        let values = &weights[p.offset..][..p.shape.len()];
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        match p.init {
            Init::Uniform { limit } => {
                let variance = values.iter().map(|x| x * x).sum::<f32>() / n;
                assert!(values.iter().all(|x| x.abs() <= limit), "{}", p.name);
                // Four standard errors of each.
                assert!(mean.abs() < 4.0 * limit / (3.0 * n).sqrt(), "{}: mean {mean}", p.name);
                let ratio = variance / (limit * limit / 3.0);
                assert!((ratio - 1.0).abs() < 4.0 * (0.8 / n).sqrt(), "{}: variance {ratio}", p.name);
                let draws: Vec<f32> = values[..8].iter().map(|x| x / limit).collect();
                assert!(draws.iter().zip(&before).any(|(a, b)| (a - b).abs() > 0.1), "{}: as before", p.name);
                before = draws;
                assert!(p.decays);
            }
            Init::Rows { .. } => {
                let (gamma, beta) = values.split_at(values.len() / 2);
                assert!(gamma.iter().all(|x| *x == 1.0) && beta.iter().all(|x| *x == 0.0));
            }
            Init::Zero => assert!(values.iter().all(|x| *x == 0.0)),
        }
        // The last block may be filled in part.
        let first = parameters.place(i).offset / ALIGNMENT;
        for block in &parameters.decay_mask()[first..][..values.len().div_ceil(ALIGNMENT)] {
            assert_eq!(*block == 1.0, p.decays && p.name.ends_with(".weight"), "{}", p.name);
        }
    }
    // conv1 is followed by a batch normalisation with relu: He; the last layer has no rectifier: Glorot.
    let init = |i: usize| parameters.trainable()[i].init;
    assert_eq!(init(0), Init::he(9));
    assert_eq!(init(10), Init::glorot(128, 10));
    // The second layer's is leaky, which is a rectifier too.
    let branches = declare(&two_branches(), [6, 8, 1], Some(10)).1;
    assert_eq!((branches.trainable()[2].name.as_str(), branches.trainable()[2].init), ("conv1.weight", Init::he(4)));
    assert_eq!([0, 31, 32, 63].map(|i| running[i]), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn branches_join_and_every_layer_says_its_shape() {
    let (_, parameters, network) = declare(&two_branches(), [6, 8, 1], Some(10));
    let shapes: Vec<Vec<usize>> = network.layers().into_iter().map(|row| row.shape).collect();
    assert_eq!(
        shapes[..7],
        [vec![6, 8, 3], vec![3, 4, 2], vec![3, 4, 2], vec![6, 8, 2], vec![6, 8, 5], vec![6, 8, 5], vec![6, 8, 5]]
    );
    assert_eq!(parameters.trainable()[0].name, "a.weight");
    assert_eq!(network.layers()[4].describe, "concat a, b");
}

#[test]
fn a_forward_pass_reads_each_weight_once_and_its_derivatives_reach_all() {
    for (architecture, input) in [
        (two_branches(), [6, 8, 1]),
        (builtin("dense").unwrap(), [28, 28, 1]),
        (builtin("fast").unwrap(), [28, 28, 1]),
        (builtin("avgcnn").unwrap(), [28, 28, 1]),
        (builtin("cnn").unwrap().with_front(&builtin("pool").unwrap()).unwrap(), [448, 448, 1]),
    ] {
        let (mut store, parameters, network) = declare(&architecture, input, Some(10));
        let clock = store.place("clock", Tensor::u32([2]));
        let images = store.place("images", Tensor::f32([3, input[0], input[1], input[2]]));
        let mut graph = Graph::new();
        let [clock, x] = [&clock, &images].map(|place| graph.read(place));
        let forward = network.forward(&mut graph, &parameters, x, Mode::Train { clock, pass: 0, passes: 1 }).unwrap();
        assert_eq!(graph.dims(forward.out), [3, 10]);
        assert_eq!(forward.weights.len(), parameters.trainable().len());
        assert_eq!(forward.running.len(), parameters.statistics().len());
        let loss = Sum::mean(&mut graph, forward.out).unwrap();
        let grads = grad(&mut graph, loss, &forward.weights).unwrap();
        for (i, (grad, p)) in grads.iter().zip(parameters.trainable()).enumerate() {
            assert_eq!(graph.shape(*grad).len(), p.shape.len(), "{}", p.name);
            graph.assign(*grad, parameters.grad_place(i)).unwrap();
        }
        forward.update_running(&mut graph).unwrap();
        assert!(!Plan::new(&graph).dispatches.is_empty());

        let mut infer = Graph::new();
        let mut read = |dims| infer.read(&Place::whole(images.buffer, Tensor::f32(dims)));
        let [x, wrong] = [input.iter().product(), 5].map(|numbers| read([3, numbers]));
        let forward = network.forward(&mut infer, &parameters, x, Mode::Infer).unwrap();
        assert!(forward.running.is_empty());
        assert_eq!(infer.dims(forward.penultimate).len(), 2);
        assert!(network.forward(&mut infer, &parameters, wrong, Mode::Infer).is_err());
    }
}

#[test]
fn as_many_layers_stand_side_by_side_as_a_network_wants() {
    let text = r#"layers = [
      { conv = 1, kernel = 1, bias = false, name = "a" },
      { concat = ["input", "a", "input", "input", "input", "input", "a", "input", "input", "input", "input", "a", "a"] },
    ]"#;
    let (mut store, parameters, network) = declare(&Architecture::parse(text, "wide.toml").unwrap(), [1, 2, 1], None);
    let image = store.place("image", Tensor::f32([1, 1, 2, 1]));
    let out = store.place("out", Tensor::f32([1, 1, 2, 13]));
    let mut graph = Graph::new();
    let x = graph.read(&image);
    let forward = network.forward(&mut graph, &parameters, x, Mode::Infer).unwrap();
    graph.assign(forward.out, out.clone()).unwrap();
    let device: &mut dyn Device = &mut Cpu::new();
    device.allocate(&store).unwrap();
    device.write_f32(parameters.weights, 0, &[10.0]).unwrap();
    device.write_f32(image.buffer, 0, &[1.0, 2.0]).unwrap();
    let plan = device.prepare(&Plan::new(&graph)).unwrap();
    device.run(&[plan], 1).unwrap();
    let pixel = [1.0, 10.0, 1.0, 1.0, 1.0, 1.0, 10.0, 1.0, 1.0, 1.0, 1.0, 10.0, 10.0];
    let wanted: Vec<f32> = pixel.into_iter().chain(pixel.map(|x| 2.0 * x)).collect();
    assert_eq!(device.read_f32(out.buffer, 0, 26).unwrap(), wanted);
}

#[test]
fn each_batch_norm_moves_its_statistics_by_its_own_momentum() {
    let text = r#"layers = [
      { batch_norm = true, momentum = 0.5, name = "quick" },
      { batch_norm = true, momentum = 0.75, from = "input", name = "slow" },
      { add = ["quick", "slow"] },
    ]"#;
    let (mut store, parameters, network) = declare(&Architecture::parse(text, "net.toml").unwrap(), [1, 2, 1], None);
    let clock = store.place("clock", Tensor::u32([2]));
    let images = store.place("images", Tensor::f32([2, 1, 2, 1]));
    let mut graph = Graph::new();
    let (clock, x) = (graph.read(&clock), graph.read(&images));
    let forward = network.forward(&mut graph, &parameters, x, Mode::Train { clock, pass: 0, passes: 1 }).unwrap();
    forward.update_running(&mut graph).unwrap();
    let device: &mut dyn Device = &mut Cpu::new();
    device.allocate(&store).unwrap();
    parameters.send(device, &parameters.initial(1)).unwrap();
    // Their mean is 4, their variance 5.
    device.write_f32(images.buffer, 0, &[1.0, 3.0, 5.0, 7.0]).unwrap();
    let plan = device.prepare(&Plan::new(&graph)).unwrap();
    device.run(&[plan], 1).unwrap();
    let running = device.read_f32(parameters.running, 0, parameters.total_running()).unwrap();
    for (norm, wanted) in parameters.statistics().iter().zip([[2.0f32, 3.0], [1.0, 2.0]]) {
        let found = &running[norm.offset..][..2];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {found:?}", norm.name);
    }
}

#[test]
fn dense_gives_what_its_formula_says() {
    let (mut store, parameters, network) = declare(&builtin("dense").unwrap(), [2, 2, 1], Some(3));
    let images = store.place("images", Tensor::f32([1, 4]));
    let out = store.place("out", Tensor::f32([1, 3]));
    let mut graph = Graph::new();
    let x = graph.read(&images);
    let forward = network.forward(&mut graph, &parameters, x, Mode::Infer).unwrap();
    graph.assign(forward.out, out.clone()).unwrap();
    let mut device: Box<dyn Device> = Box::new(Cpu::new());
    device.allocate(&store).unwrap();
    let Values { weights, .. } = parameters.initial(1);
    device.write_f32(parameters.weights, 0, &weights).unwrap();
    let image = [0.1, -0.7, 0.4, 1.0];
    device.write_f32(images.buffer, 0, &image).unwrap();
    let plan = device.prepare(&Plan::new(&graph)).unwrap();
    device.run(&[plan], 1).unwrap();
    let found = device.read_f32(out.buffer, 0, 3).unwrap();

    let at = |i: usize| &weights[parameters.trainable()[i].offset..];
    let hidden: Vec<f32> =
        (0..64).map(|j| (0..4).map(|i| image[i] * at(0)[i * 64 + j]).sum::<f32>().max(0.0)).collect();
    for (k, found) in found.iter().enumerate() {
        let wanted: f32 = (0..64).map(|j| hidden[j] * at(2)[j * 3 + k]).sum();
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
}

#[test]
fn a_model_file_comes_back_as_the_same_network_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (_, parameters, network) = of_builtin("avgcnn");
    let values = parameters.initial(5);
    let mut file = ModelFile::new(&network, &parameters, &values);
    file.set("mean", 0.1307f32);
    file.set_class_names(&(0..10).map(|i| format!("\"{i}\"")).collect::<Vec<_>>());
    file.add_u32("step", &[7, 9]);
    file.save(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let loaded = ModelFile::load(&path).unwrap();
    assert_eq!(loaded.to_bytes(&path).unwrap(), std::fs::read(&path).unwrap());
    let mut store = Store::default();
    let (network, again) = loaded.network(&mut store, "net").unwrap();
    assert_eq!((network.input, network.classes), (vec![28, 28, 1], Some(10)));
    assert_eq!(again.trainable(), parameters.trainable());
    assert_eq!(loaded.values("", &again).unwrap(), values);
    assert_eq!(loaded.class_names().unwrap()[3], "\"3\"");
    assert_eq!(loaded.number::<f32>("mean").unwrap(), 0.1307);
    assert_eq!(loaded.u32s("step").unwrap(), [7, 9]);
}

#[test]
fn a_models_architecture_is_for_images_of_the_models_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (_, parameters, network) = declare(&builtin("dense").unwrap(), [14, 12, 1], Some(10));
    ModelFile::new(&network, &parameters, &parameters.initial(5)).save(&path).unwrap();
    assert_eq!(load_with_models(path.to_str().unwrap()).unwrap().input, Some([14, 12, 1]));
}

#[test]
fn a_model_file_that_disagrees_with_itself_is_refused_with_the_reason() {
    let path = Path::new("m.safetensors");
    let (_, parameters, network) = of_builtin("dense");
    let file = ModelFile::new(&network, &parameters, &parameters.initial(1));
    let values = |change: &dyn Fn(&mut ModelFile)| {
        let mut file = file.clone();
        change(&mut file);
        let bytes = file.to_bytes(path).unwrap();
        let file = ModelFile::from_bytes(&bytes, path)?;
        file.class_names()?;
        let mut store = Store::default();
        let (_, parameters) = file.network(&mut store, "net")?;
        file.values("", &parameters)
    };
    assert!(values(&|_| {}).is_ok());
    let nan = |file: &mut ModelFile| {
        if let Words::F32(data) = &mut file.tensors[1].words {
            data[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, 0.0]);
        }
    };
    let as_u32 = |file: &mut ModelFile| file.tensors[1].words = Words::U32(vec![0; 64]);
    type Change<'a> = &'a dyn Fn(&mut ModelFile);
    let cases: [(Change, &str); 12] = [
        (&|file| _ = file.metadata.remove("architecture"), "has no \"architecture\" (it has: classes, input, version)"),
        (&|file| _ = file.metadata.remove("input"), "has no \"input\""),
        (&|file| file.set("architecture", "layers = [\n7\n]"), "m.safetensors (its architecture):2: layer 1"),
        (&|file| file.set("input", "28x28"), "should be like 28x28x1"),
        (&|file| file.set("input", "28x28x5"), "has images of 5 channels; pictures have 1 to 4"),
        (&|file| file.set("input", "0x0x0"), "cannot be learned from"),
        (
            &|file| file.set("input", "14x14x1"),
            "tensor \"dense1.weight\" is [784, 64], its architecture asks for [196, 64]",
        ),
        (&|file| file.set("classes", "ten"), "should be a number, not \"ten\""),
        (&|file| file.set("class_names", "[\"a\"]"), "JSON list of 10 names"),
        (&|file| _ = file.tensors.remove(0), "tensor \"dense1.weight\" [784, 64] is missing"),
        (&nan, "2 of the 64 values of tensor \"dense1.bias\" are NaN or infinite"),
        (&as_u32, "tensor \"dense1.bias\" has type U32, expected F32"),
    ];
    for (change, reason) in cases {
        let message = values(change).unwrap_err().to_string();
        assert!(message.starts_with("m.safetensors") && message.contains(reason), "{message}");
    }
}

#[test]
fn what_stands_in_the_place_of_a_model_or_an_architecture_is_told_apart_with_what_takes_it() {
    let read = |bytes: &[u8], path: &str| ModelFile::from_bytes(bytes, Path::new(path)).unwrap_err().to_string();
    let text = "layers = [\"flatten\", { dense = \"classes\" }]";
    for (text, path) in [(text, "net.toml"), (text, "net"), ("layers = [7]", "net.toml")] {
        let refused = read(text.as_bytes(), path);
        let remedy = format!("which has no weights yet; `inkgrad train {path}` makes a model of it");
        assert!(refused.contains("is an architecture, ") && refused.ends_with(&remedy), "{refused}");
    }
    assert!(read(b"layers of text", "notes.txt").contains("not a safetensors file"));
    let tensors = ModelFile::default().to_bytes(Path::new("t.safetensors")).unwrap();
    let refused = read(&tensors, "t.safetensors");
    assert!(refused.contains("(it has: none)") && refused.contains("`inkgrad import t.safetensors "), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| {
        let path = folder.path().join(name).display().to_string();
        super::load_any(&path).unwrap_err().to_string()
    };
    assert!(refused("").contains("is a folder, where an architecture is expected"));
    std::fs::write(folder.path().join("config.toml"), "").unwrap();
    let found = refused("");
    assert!(found.contains("inkgrad train --resume ") && found.contains("inkgrad train --from "), "{found}");
    let (_, parameters, network) = of_builtin("dense");
    let model = ModelFile::new(&network, &parameters, &parameters.initial(1));
    for name in ["digits.safetensors", "digits"] {
        model.save(folder.path().join(name)).unwrap();
        let found = refused(name);
        assert!(found.contains("is a trained model and no architecture; `inkgrad train --from "), "{found}");
    }
}

#[test]
fn a_variance_below_nought_is_refused_and_a_mean_is_not() {
    let (_, parameters, network) = of_builtin("standard");
    let values = |at: fn(usize) -> usize| {
        let mut values = parameters.initial(1);
        let norm = &parameters.statistics()[0];
        values.running[norm.offset + at(norm.shape.len())] = -0.5;
        ModelFile::new(&network, &parameters, &values).values("", &parameters)
    };
    assert!(values(|_| 0).is_ok());
    let message = values(|words| words / 2).unwrap_err().to_string();
    assert!(message.contains("\"bn1.running\" has a negative variance"), "{message}");
}

#[test]
fn a_folder_that_is_not_there_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere").join("m.safetensors");
    let message = ModelFile::default().save(&missing).unwrap_err().to_string();
    assert!(message.contains("cannot write") && message.contains("nowhere"), "{message}");
    assert!(ModelFile::load(&missing).unwrap_err().to_string().contains("cannot read"));
    assert!(ModelFile::default().save(folder.path()).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn fewer_images_go_through_a_network_at_once_where_its_layers_are_large() {
    let of = |side: usize, channels: usize| {
        let text = format!("layers = [{{ conv = {channels}, kernel = 1 }}, \"flatten\", {{ dense = \"classes\" }}]");
        declare(&Architecture::parse(&text, "net.toml").unwrap(), [side, side, 1], Some(10)).2
    };
    for name in ["dense", "cnn", "avgcnn", "fast", "standard", "best"] {
        assert_eq!(of_builtin(name).2.images_at_once(256), 256, "{name}");
    }
    let large = of(64, 64);
    assert_eq!((large.images_at_once(256), large.images_at_once(3)), (64, 3));
    assert_eq!(of(256, 64).images_at_once(256), 4);
    // No layer has as many numbers as the images.
    let pooled = builtin("cnn").unwrap().with_front(&builtin("pool").unwrap()).unwrap();
    assert_eq!(declare(&pooled, [448, 448, 1], Some(10)).2.images_at_once(256), 83);
    // What the last dense layer takes, and therefore what a judge keeps of an image.
    assert_eq!((large.features(), of_builtin("dense").2.features()), (64 * 64 * 64, 64));
}
