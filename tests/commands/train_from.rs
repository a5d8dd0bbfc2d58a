//! Training that goes on from a trained model, and several models that are joined.

use std::process::Stdio;

use inkgrad::data::mnist;
use inkgrad::device::cpu::Cpu;
use inkgrad::graph::Store;
use inkgrad::infer::evaluate::Evaluation;
use inkgrad::models::{ModelFile, builtin};

use crate::common::{Place, right};

const FAST: &str = "train dense --data data --epochs 2 --device cpu --quiet";

#[test]
fn a_model_that_is_trained_further_begins_where_it_was_and_keeps_its_normalization() {
    let place = Place::with_digits(2000, 200);
    place.digits("more", 4000, 200);
    place.works(FAST);
    // A learning rate of almost zero leaves the weights as they were, which shows that training begins from them.
    place.works(
        "train --from runs/0001-dense --data more --epochs 1 --learning-rate 1e-30 --optimizer sgd --validation 0 \
         --device cpu -q",
    );
    let load = |name: &str| ModelFile::load(place.path(name)).unwrap();
    let (was, now) = (load("runs/0001-dense/best.safetensors"), load("runs/0002-dense/best.safetensors"));
    assert_eq!(was.tensors, now.tensors);
    assert_eq!((&was.metadata["mean"], &was.metadata["std"]), (&now.metadata["mean"], &now.metadata["std"]));
    assert_ne!(was.metadata["data_digest"], now.metadata["data_digest"]);

    let config = place.text("runs/0002-dense/config.toml").replace('\\', "/");
    assert!(config.contains("from = ") && config.contains("runs/0001-dense"), "{config}");
    // If no rate is given, it is a tenth of the recipe's 0.004.
    let said = place.works("train --from runs/0001-dense --data more --dry-run --device cpu");
    assert!(said.out.contains("learning_rate = 0.0004\n"), "{said:#?}");
}

#[test]
fn a_model_that_is_trained_further_is_validated_on_the_images_that_it_was_validated_on() {
    let place = Place::with_digits(600, 50);
    place.digits("more", 700, 50);
    place.works("train dense --data data --epochs 20 --validation 100 --device cpu -q");
    // The weights stay as they were, so the same images give the same accuracy. Those that were learned from are known.
    let further = |run: &str, flags: &str| {
        let still = "--data data --epochs 1 --learning-rate 1e-30 --optimizer sgd --device cpu -q";
        let said = place.works(&format!("train --from runs/{run} {still} {flags}"));
        said.err.lines().filter(|line| line.contains("validation images")).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(further("0001-dense", "--validation 100 --seed 1"), [""; 0]);
    assert_eq!(further("0002-dense", "--validation 100 --seed 2"), [""; 0]);
    assert_eq!(further("0001-dense", "--validation 100 --seed 3 --members 2"), [""; 0]);
    let best = |run: &str| ModelFile::load(place.path(&format!("runs/{run}/best.safetensors"))).unwrap();
    let accuracy = |run: &str| best(run).metadata["validation_accuracy"].clone();
    for run in ["0002-dense", "0003-dense", "0004-dense-ensemble/1", "0004-dense-ensemble/2"] {
        assert_eq!(accuracy(run), accuracy("0001-dense"), "{run}");
        assert!(place.text(&format!("runs/{run}/config.toml")).contains("validation_seed = 0\n"));
    }
    assert!(!place.text("runs/0001-dense/config.toml").contains("validation_seed"));
    // As if it had been killed before its first checkpoint.
    let before = best("0002-dense");
    for file in place.names("runs/0002-dense") {
        if !["config.toml", "architecture.toml", "from.safetensors"].contains(&file.as_str()) {
            std::fs::remove_file(place.path(&format!("runs/0002-dense/{file}"))).unwrap();
        }
    }
    place.works("train --resume runs/0002-dense -q");
    assert!(best("0002-dense") == before);
    // Other images say nothing of these.
    let said = place.works("train --from runs/0001-dense --data more --validation 100 --device cpu --dry-run");
    assert!(!said.out.contains("validation_seed") && !said.err.contains("validation images"), "{said:#?}");
}

#[test]
fn validation_images_that_the_model_was_trained_on_are_counted_once_a_command() {
    let place = Place::with_digits(600, 50);
    let flags = "--data data --epochs 1 --batch 50 --device cpu -q";
    place.works(&format!("train dense --validation 100 {flags}"));
    place.works(&format!("train dense --validation 0 {flags}"));
    let told = |from: &str, more: &str| {
        let said = place.works(&format!("train --from runs/{from} {flags} {more}"));
        said.err.lines().filter(|line| line.contains("validation images")).map(String::from).collect::<Vec<_>>()
    };
    let of = |known: &str, run: &str| {
        format!(
            "warning: {known} validation images were among those that runs/{run}/best.safetensors was trained on, so \
             validation accuracy may be too high"
        )
    };
    let remedy = "; none would be with --validation 100";
    assert_eq!(told("0001-dense", "--validation 150 --members 2"), [of("50 of the 150", "0001-dense") + remedy]);
    assert_eq!(told("0002-dense", "--validation 90"), [of("90 of the 90", "0002-dense")]);
    assert_eq!(told("0002-dense", "--validation 0"), [""; 0]);
    // What was learned from before is not forgotten, and not said again where a run only goes on.
    assert_eq!(told("0004-dense", "--validation 90"), [of("90 of the 90", "0004-dense")]);
    let resumed = place.works("train --resume runs/0004-dense -q");
    assert!(!resumed.err.contains("validation images"), "{resumed:#?}");
}

#[test]
fn a_run_from_a_model_is_named_after_its_network_and_not_after_its_file() {
    let place = Place::with_digits(200, 50);
    place.write("my.toml", "layers = [\"flatten\", { dense = \"classes\" }]\n[recipe]\nepochs = 1\n");
    place.works("train my.toml --data data --device cpu -q");
    place.works("train --from runs/0001-my --data data --device cpu -q");
    assert!(place.text("runs/0002-my/config.toml").contains("model = \"my\"\n"));
    place.works("train --from runs/0002-my/last.safetensors --data data --device cpu -q");
    assert!(place.path("runs/0003-my/best.safetensors").exists());
}

#[test]
fn further_training_on_more_digits_knows_more_of_them() {
    let place = Place::with_digits(600, 1000);
    place.digits("more", 6000, 1000);
    let before = right(&place.works("train dense --data data --epochs 3 --validation 0 --device cpu -q").out);
    let after =
        right(&place.works("train --from runs/0001-dense --data more --epochs 3 --validation 0 --device cpu -q").out);
    assert!(after > before + 20, "{before} of 1,000 before, {after} after");
}

#[test]
fn what_cannot_be_gone_on_from_is_refused_with_the_reason() {
    let place = Place::with_digits(300, 50);
    place.bars("bars", [28, 28], 12, [240, 24]);
    place.bars("small", [9, 9], 10, [200, 20]);
    place.works(FAST);
    let words = ["the model knows 0, 1", "10, 11", "--from keeps a model's classes"];
    place.refused("train --from runs/0001-dense --data bars --device cpu", &words);
    place.refused("train --from runs/0001-dense --data small --device cpu", &["28x28x1", "9x9x1"]);
    place.refused("train cnn --from runs/0001-dense --data data", &["--from"]);
    place.refused("train --from gan --data data", &["generator"]);
    place.refused("train --from nowhere --data data", &["nowhere", "judge"]);
    place.refused("train gan --members 3 --data data", &["--members does not apply to a GAN"]);
    place.refused("train dense --members 0 --data data --device cpu", &["--members <N>", "from 1 to 100"]);
    place.refused("train dense --members -1 --data data --device cpu", &["a whole number from 1 to 100"]);
    place.refused("train dense --recipe slow", &["fast, standard, best, ensemble"]);
    let words = ["names its own networks", "inkgrad train --recipe ensemble", "inkgrad train dense --members N"];
    place.refused("train dense --recipe ensemble --data data --device cpu", &words);
    place.refused("train --from runs/0001-dense --recipe ensemble --data data --device cpu", &["Leave out --from"]);
    place.refused("train --recipe ensemble --members 2 --data data --device cpu", &["Leave out --members"]);
    place.refused("train dense --warmup 1 --data data --device cpu", &["--warmup does not apply to the one-cycle"]);
    // Networks that cannot be joined are refused before they are trained.
    place.write(
        "open.toml",
        "layers = [{ conv = 10, kernel = 28, padding = \"valid\" }, \"flatten\"]\n[recipe]\nepochs = 1",
    );
    place.works("train open.toml --data data --device cpu --dry-run");
    place.refused("train open.toml --members 2 --data data --device cpu", &["ends in `flatten`", "a dense layer"]);
    place.refused("train best --members 100 --data data --device cpu", &["layers; 1000 is the most"]);
}

#[test]
fn a_shipped_model_goes_by_its_name_wherever_a_model_is_asked_for() {
    let place = Place::with_digits(300, 500);
    let said = place.works("evaluate judge --data data --device cpu --out here");
    assert!(right(&said.out) > 490, "{said:#?}");
    assert!(place.works("inspect judge").out.contains("conv 5x5x32"));
    assert!(place.works("models").out.contains("judge        classifies 0 1 2 3 4 5 6 7 8 9"));
    place.works("train --from judge --data data --epochs 1 --device cpu -q");
    assert!(place.path("runs/0001-fast/best.safetensors").exists());
    let config = place.text("runs/0001-fast/config.toml");
    assert!(config.contains("from = \"judge\""), "{config}");
    place.works("train --resume runs/0001-fast -q");
}

#[test]
fn members_are_trained_by_a_seed_each_and_joined_into_one_model() {
    let place = Place::with_digits(2000, 500);
    let said = place.works(&format!("{FAST} --members 3 --seed 5"));
    assert_eq!(said.out.lines().filter(|line| line.contains("of 3: test")).count(), 3, "{said:#?}");
    let run = "runs/0001-dense-ensemble";
    for (member, seed) in [(1, 5), (2, 6), (3, 7)] {
        assert!(place.text(&format!("{run}/{member}/config.toml")).contains(&format!("seed = {seed}")));
    }
    let together = said.out.lines().find(|line| line.starts_with("all together")).unwrap();
    let evaluated = place.works(&format!("evaluate {run} --data data --device cpu"));
    assert_eq!(right(&evaluated.out), right(together));

    // Finished members are not joined with members trained on other images.
    place.digits("more", 2100, 500);
    place.refused(&format!("train --resume {run} --data more"), &["not those it began with"]);
    for member in 1..=3 {
        std::fs::remove_file(place.path(&format!("{run}/{member}/last.safetensors"))).unwrap();
    }
    let words = ["1/best.safetensors", "not those it began with"];
    place.refused(&format!("train --resume {run} --data more"), &words);

    // `ensemble`, the command for existing models, makes the same model of them.
    place.works(&format!("ensemble {run}/1 {run}/2 {run}/3 -o joined.safetensors"));
    let load = |name: &str| ModelFile::load(place.path(name)).unwrap().tensors;
    assert_eq!(load("joined.safetensors"), load(&format!("{run}/best.safetensors")));
    // If nobody reads its output any more, a run of several members still goes on to its end.
    let unread = place.command(&format!("{FAST} --members 3 --seed 5 --out unread")).stdout(Stdio::piped()).spawn();
    let mut unread = unread.unwrap();
    drop(unread.stdout.take());
    assert!(unread.wait().unwrap().success());
    // It is the same to the byte, in whatever folder: its members are called by their places in that.
    assert!(
        place.read("unread/0001-dense-ensemble/best.safetensors") == place.read(&format!("{run}/best.safetensors"))
    );
    let words = format!("is an ensemble already; name its members instead: {run}/1/best.safetensors {run}/2/best");
    place.refused(&format!("ensemble {run}/best.safetensors dense -o again.safetensors"), &[words.as_str()]);
    place.refused(&format!("ensemble {run}/1 {run}/2 -o joined.safetensors"), &["already there", "--force"]);
    place.refused(&format!("ensemble {run}/1 {run}/2 {run}/1 -o again.safetensors"), &["is the same model as"]);
    place.refused("ensemble best best -o again.safetensors", &["best is the same model as best"]);
    place.write("test.csv", "precious");
    for name in ["all.onnx", "test.csv --force"] {
        place.refused(&format!("ensemble best dense -o {name}"), &["model file of this program ends in .safetensors"]);
    }
    place.refused(&format!("curves {run}"), &["an ensemble's run", "inkgrad curves", "dense-ensemble/1", "ensemble/3"]);

    std::fs::rename(place.path("data"), place.path("moved")).unwrap();
    place.works(&format!("train --resume {run} --data moved --quiet"));
    place.works(&format!("train --resume {run} --quiet"));
    assert!(place.text(&format!("{run}/3/config.toml")).contains("moved"));
}

#[test]
fn an_ensembles_logits_are_the_mean_of_its_members_whatever_their_networks() {
    let member = |name: &str, seed| {
        let mut store = Store::default();
        let (network, parameters) = builtin(name).unwrap().declare([28, 28, 1], 10, &mut store, "classifier").unwrap();
        let mut file = ModelFile::new(&network, &parameters, &parameters.initial(seed));
        file.set("mean", 0.13);
        file.set("std", 0.31);
        ModelFile { name: name.into(), ..file }
    };
    let members = [member("fast", 1), member("dense", 2), member("cnn", 3)];
    let set = mnist::embedded().unwrap().test.select(&[0, 1, 2, 3, 4]);
    let answers = |file: &ModelFile| {
        let mut device = Cpu::new();
        Evaluation::open(file, &set, &mut device).unwrap().logits(&mut device).unwrap()
    };
    let each: Vec<Vec<f32>> = members.iter().map(answers).collect();
    let joined = answers(&ModelFile::ensemble(&members).unwrap());
    for (i, found) in joined.iter().enumerate() {
        let mean = each.iter().map(|logits| logits[i]).sum::<f32>() / 3.0;
        assert!((found - mean).abs() < 1e-5, "{found} against {mean}");
    }
}

#[test]
fn the_ensembles_recipe_joins_networks_of_several_kinds_each_with_a_recipe_of_its_own() {
    let place = Place::with_digits(128, 50);
    let train = "train --recipe ensemble --data data --device cpu --epochs 1 --batch 64 -q";
    let dry = place.works(&format!("{train} --dry-run"));
    assert!(dry.out.contains("members = 7") && dry.out.contains("maxpool by its own recipe"), "{dry:#?}");
    let said = place.works(train);
    assert!(said.out.contains("7 of 7: test") && said.out.contains("all together: test"), "{said:#?}");
    let run = "runs/0001-best-ensemble";
    for (member, model, seed) in
        [(1, "best", 0), (2, "best", 1), (3, "avgpool", 0), (4, "avgpool", 1), (5, "maxpool", 0), (7, "maxpool", 2)]
    {
        let config = place.text(&format!("{run}/{member}/config.toml"));
        assert!(
            config.contains(&format!("model = \"{model}\"")) && config.contains(&format!("seed = {seed}")),
            "{config}"
        );
    }
    place.works(&format!("evaluate {run} --data data --device cpu"));
}

#[test]
fn an_ensemble_that_was_cut_short_goes_on_to_the_same_bytes() {
    let place = Place::with_digits(2000, 100);
    place.works(&format!("{FAST} --members 2"));
    let (run, whole) = ("runs/0001-dense-ensemble", "runs/0001-dense-ensemble/best.safetensors");
    let wanted = place.read(whole);
    // As if it had been killed while the second was trained.
    std::fs::remove_file(place.path(whole)).unwrap();
    std::fs::remove_file(place.path(&format!("{run}/result.toml"))).unwrap();
    for file in place.names(&format!("{run}/2")).into_iter().filter(|name| !name.ends_with(".toml")) {
        std::fs::remove_file(place.path(&format!("{run}/2/{file}"))).unwrap();
    }
    std::fs::remove_file(place.path(&format!("{run}/2/result.toml"))).unwrap();
    place.refused(&format!("evaluate {run} --data data"), &["no best model yet", "train --resume"]);
    let first = place.read(&format!("{run}/1/last.safetensors"));
    place.works(&format!("train --resume {run} --quiet"));
    assert_eq!(place.read(&format!("{run}/1/last.safetensors")), first);
    assert_eq!(place.read(whole), wanted);
}

#[test]
fn an_ensemble_goes_on_with_its_own_settings_and_the_members_that_were_tested() {
    let place = Place::with_digits(300, 50);
    place.works("train dense --data data --device cpu --epochs 1 --validation 100 --members 2 --quiet");
    let (run, resume) = ("runs/0001-dense-ensemble", "train --resume runs/0001-dense-ensemble");
    let config = format!("{run}/config.toml");
    let settings = place.text(&config);
    for (was, is, words) in [
        ("epochs = 1\n", "epochs = 2\n", "the run was begun with epochs = 1, not with epochs = 2. Put back"),
        ("seed = 0\n", "seed = 1\n", "the run was begun with seed = 0, not with seed = 1. Put back"),
        ("members = 2\n", "", "the run was begun with more members than 1. Put back"),
    ] {
        assert!(settings.contains(was), "{settings}");
        place.write(&config, settings.replacen(was, is, 1));
        place.refused(resume, &["dense-ensemble/config.toml: cannot be resumed: ", words]);
    }
    place.write(&config, settings);
    // What is wrong with a later member is said before an earlier one is gone on with.
    let (tested, later) = (format!("{run}/1/result.toml"), format!("{run}/2/config.toml"));
    let [result, own] = [&tested, &later].map(|path| place.text(path));
    std::fs::remove_file(place.path(&tested)).unwrap();
    place.write(&later, own.replacen("seed = 1\n", "seed = 7\n", 1));
    place.refused(resume, &["2/config.toml: cannot be resumed: the run was begun with seed = 1, not with seed = 7."]);
    place.write(&later, own);
    place.write(&tested, result);

    let model = format!("{run}/2/best.safetensors");
    // As if the model were one from before the one that was tested.
    let result = format!("{run}/2/result.toml");
    let tested = place.text(&result);
    place.write(&result, tested.replacen("best_epoch = 1", "best_epoch = 2", 1));
    place.refused(resume, &["2/best.safetensors: cannot be resumed: it is of epoch 1, but the best epoch so far is 2"]);
    place.write(&result, tested);
    let mut file = ModelFile::load(place.path(&model)).unwrap();
    file.set("mean", "0.5");
    file.save(place.path(&model)).unwrap();
    place.refused(resume, &[run, "its members cannot be joined", "2/best.safetensors: its mean is 0.5"]);
}

/// How a small table is trained on.
const ON_ALL: &str = "--data all.csv --epochs 1 --validation 0 --device cpu -q";
/// What is said of a model that has learned from the images of the second run's test.
const KNOWS: &str = "has learned from 10 of these 10 test images (--hold-out 0)";

/// A first run on all of a table, and a second one that goes on from it and sets ten images aside. It keeps the
/// normalization, without which the two could not be joined.
fn trained_twice() -> Place {
    let place = Place::new();
    let rows: String = (0..40).map(|i| format!("{},{i},0,255,9\n", i % 2)).collect();
    place.write("all.csv", format!("label,a,b,c,d\n{rows}"));
    place.works(&format!("train dense --hold-out 0 {ON_ALL}"));
    place.works(&format!("train --from runs/0001-dense --hold-out 10 {ON_ALL}"));
    place
}

#[test]
fn a_model_that_goes_on_from_one_that_knows_the_test_images_is_said_to_know_them_too() {
    let place = trained_twice();
    // It goes on for longer, with the hold-out that it has.
    let said = place.works(&format!("train --from runs/0002-dense {ON_ALL}"));
    assert!(said.err.contains(KNOWS) && said.err.contains("--hold-out 10, which is kept"), "{said:#?}");
    for run in ["0002", "0003"] {
        let said = place.works(&format!("evaluate runs/{run}-dense --data all.csv --device cpu"));
        assert_eq!(said.err.matches("no fair test").count(), 1, "{said:#?}");
        assert!(said.err.contains(KNOWS), "{said:#?}");
    }
}

#[test]
fn an_ensemble_is_tested_on_its_members_data_with_a_warning_where_one_of_them_knows_the_images() {
    let place = trained_twice();
    for members in ["runs/0001-dense runs/0002-dense", "runs/0002-dense runs/0001-dense"] {
        let said = place.works(&format!("ensemble {members} -o both.safetensors --force"));
        assert!(said.out.contains("evaluate both.safetensors --data ") && said.out.contains("all.csv"), "{said:#?}");
        let said = place.works("evaluate both.safetensors --data all.csv --hold-out 10 --device cpu");
        assert!(said.err.contains(KNOWS), "{said:#?}");
    }
}
