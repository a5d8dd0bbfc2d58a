//! Training and testing on data of one's own: tables as Kaggle has them, and pictures in folders.

use inkgrad::data::{ImageSet, mnist};
use inkgrad::models::ModelFile;

use crate::common::{Place, right};

/// The first images of a set as rows of `label,pixel0,..`.
fn table(set: &ImageSet, count: usize) -> String {
    let mut text = "label".to_owned();
    (0..set.image_len()).for_each(|i| text += &format!(",pixel{i}"));
    for i in 0..count {
        text += &format!("\n{}", set.labels[i]);
        set.image(i).iter().for_each(|pixel| text += &format!(",{pixel}"));
    }
    text + "\n"
}

/// The first images of a set as pictures in a folder for each class.
fn pictures(place: &Place, folder: &str, set: &ImageSet, count: usize) {
    for i in 0..count {
        let path = place.path(&format!("{folder}/{}/{i}.png", set.labels[i]));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (width, height) = (set.width as u32, set.height as u32);
        image::GrayImage::from_raw(width, height, set.image(i).to_vec()).unwrap().save(path).unwrap();
    }
}

#[test]
fn kaggles_table_trains_a_model_on_nine_tenths_and_is_tested_on_the_rest() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    place.write("train.csv", table(&mnist.train, 3000));
    let said = place.works("train dense --data train.csv --epochs 4 --device cpu");
    assert!(said.err.contains("300 of its 3000 are set aside"), "{said:#?}");
    let model = ModelFile::load(place.path("runs/0001-dense/best.safetensors")).unwrap();
    assert!(!model.metadata.contains_key("pictures"), "digits look as prepared pictures do");
    assert!(said.out.contains(" of 300 right") && right(&said.out) > 240, "{said:#?}");

    // Going on from a model of MNIST, as a second part of the data.
    let said = place.works("train --from judge --data train.csv --hold-out 500 --epochs 1 --device cpu");
    assert!(right(&said.out) > 485, "{said:#?}");
    let known = "judge has learned from 500 of these 500 test images (the built-in MNIST)";
    assert!(said.err.contains(known), "{said:#?}");
    // Training on all of it leaves nothing to test with.
    let said = place.works("train dense --data train.csv --hold-out 0 --epochs 1 --device cpu");
    assert!(said.err.contains("nothing will be tested") && !said.out.contains("right"), "{said:#?}");
    assert!(place.text("runs/0003-dense/result.toml").contains("test_images = 0"));
    // The model of the other run is tested on what that run was tested on.
    let said = place.works("evaluate runs/0001-dense --data train.csv --device cpu");
    assert!(said.out.contains(" of 300 right"), "{said:#?}");
}

#[test]
fn a_model_is_tested_on_what_its_own_training_set_aside_and_goes_on_with_the_rest() {
    let place = Place::new();
    place.write("train.csv", table(&mnist::embedded().unwrap().train, 300));
    let flags = "--data train.csv --epochs 1 --batch 32 --device cpu -q";
    place.works(&format!("train dense --hold-out 10 {flags}"));
    let model = ModelFile::load(place.path("runs/0001-dense/best.safetensors")).unwrap();
    assert_eq!(model.metadata["hold_out"], "10");
    let evaluate = "evaluate runs/0001-dense --data train.csv --device cpu";
    let said = place.works(evaluate);
    assert!(said.out.contains(" of 10 right") && said.err.contains("--hold-out 10, which is kept"), "{said:#?}");
    let said = place.works(&format!("{evaluate} --hold-out 60"));
    assert!(said.out.contains(" of 60 right") && !said.err.contains("is kept"), "{said:#?}");
    let learned = "has learned from 50 of these 60 test images (--hold-out 10)";
    assert!(said.err.contains(learned), "{said:#?}");
    let said = place.works(&format!("train --from runs/0001-dense {flags} --hold-out 60 --dry-run"));
    assert!(said.err.contains(learned), "{said:#?}");
    let validated_on =
        " of the 24 validation images were among those that runs/0001-dense/best.safetensors was trained on";
    assert!(said.err.contains(validated_on), "{said:#?}");
    let said = place.works(&format!("{evaluate} --hold-out 10"));
    assert!(!said.err.contains("has learned from"), "{said:#?}");
    let said = place.works(&format!("train --from runs/0001-dense {flags}"));
    assert!(said.out.contains(" of 10 right") && said.err.contains("--hold-out 10, which is kept"), "{said:#?}");
    assert!(place.text("runs/0002-dense/config.toml").contains("hold_out = 10"));

    // A model that has learned from all of them cannot be tested on any.
    place.works(&format!("train dense --hold-out 0 {flags}"));
    let said = place.works("evaluate runs/0003-dense --data train.csv --device cpu");
    assert!(said.out.contains(" of 30 right") && said.err.contains("is no fair test"), "{said:#?}");
    let said = place.works(&format!("train --from runs/0003-dense {flags}"));
    assert!(!said.out.contains("right") && said.err.contains("--hold-out 0, which is kept"), "{said:#?}");

    // With other data a tenth is set aside as usual.
    place.write("other.csv", table(&mnist::embedded().unwrap().test, 300));
    let said = place.works("evaluate runs/0003-dense --data other.csv --device cpu");
    assert!(said.out.contains(" of 30 right") && !said.err.contains("is no fair test"), "{said:#?}");
}

#[test]
fn an_accuracy_on_images_that_a_model_has_learned_from_is_said_to_be_no_fair_test() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    place.write("train.csv", table(&mnist.train, 100));
    place.write("test.csv", table(&mnist.test, 20));
    place.works("train dense --data train.csv --epochs 1 --batch 32 --device cpu -q");
    pictures(&place, "parts/train", &mnist.train, 60);
    pictures(&place, "parts/test", &mnist.test, 20);
    place.works("train dense --data parts --epochs 1 --batch 32 --device cpu -q");
    let classify = |data: &str, run: &str| {
        let said = place.works(&format!("classify {data} --model runs/{run} --device cpu"));
        assert!(said.err.contains("accuracy"), "{said:#?}");
        said.err.contains("so this accuracy is no fair test")
    };
    assert!(classify("train.csv", "0001-dense") && classify("parts/train", "0002-dense"));
    assert!(!classify("test.csv", "0001-dense") && !classify("parts/test", "0002-dense"));
    // Without labels there is no accuracy.
    let unlabelled: String =
        table(&mnist.train, 100).lines().map(|row| row.split_once(',').unwrap().1.to_owned() + "\n").collect();
    place.write("train.csv", unlabelled);
    let said = place.works("classify train.csv --model runs/0001-dense --device cpu");
    assert!(!said.err.contains("fair test"), "{said:#?}");
}

#[test]
fn fewer_than_ten_images_are_tested_on_where_it_is_said_how_many() {
    let place = Place::new();
    // Six digits, of which two are ones.
    pictures(&place, "few", &mnist::embedded().unwrap().test, 6);
    let words = ["few has no test images", "a tenth of its 6 is less than one", "--hold-out N"];
    place.refused("evaluate judge --data few --device cpu --out here", &words);
    place.refused("evaluate gan --data few --device cpu", &words);
    place.refused("train gan --data few --device cpu", &[&words[..], &["--measure 0"]].concat());
    let refused = ["few has no test images", "--hold-out 0 holds out none of its 6"];
    place.refused("evaluate judge --data few --hold-out 0 --device cpu --out here", &refused);
    let said = place.works("evaluate judge --data few --hold-out 1 --device cpu --out here");
    assert!(said.out.contains(" of 1 right"), "{said:#?}");
}

#[test]
fn a_model_that_is_there_is_tested_on_all_images_where_that_is_asked_for() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    pictures(&place, "digits", &mnist.test, 100);
    let said = place.works("evaluate judge --data digits --hold-out all --device cpu --out here");
    assert!(
        said.out.contains(" of 100 right") && said.err.contains("all 100 of its images are used for testing"),
        "{said:#?}"
    );
    for line in ["evaluate judge --data digits --hold-out 0", "evaluate judge --data digits --hold-out 100"] {
        place.refused(&format!("{line} --device cpu"), &["--hold-out all tests on every one of them"]);
    }
    for flag in ["--hold-out all", "--hold-out 7", "--image-size 14x14", "--prepare"] {
        let line = format!("evaluate judge {flag} --device cpu");
        place.refused(&line, &["--hold-out, --image-size and --prepare are for --data"]);
    }
    place.refused("evaluate gan --data digits --hold-out all --device cpu", &["--hold-out all is for classifiers"]);
    for line in ["train dense", "train gan", "data stats"] {
        place.refused(&format!("{line} --data digits --hold-out all"), &["--hold-out all is for `evaluate`"]);
    }
    // Images that it has learned from are no test.
    place.works("train dense --data digits --hold-out 10 --epochs 1 --batch 10 --device cpu -q");
    let evaluate = "evaluate runs/0001-dense --data digits --device cpu";
    let said = place.works(&format!("{evaluate} --hold-out all"));
    assert!(said.err.contains("has learned from 90 of these 100 test images (--hold-out 10)"), "{said:#?}");
    // Nor are images that it may know, now that added ones have changed their places.
    pictures(&place, "digits", &mnist.test, 120);
    for line in [evaluate, "train --from runs/0001-dense --data digits --epochs 1 --batch 10 --device cpu -q"] {
        let said = place.works(line);
        assert!(said.err.contains("as it was read then"), "{said:#?}");
    }
}

#[test]
fn the_runs_that_train_leaves_among_the_classes_are_none_of_them() {
    let place = Place::new();
    pictures(&place, ".", &mnist::embedded().unwrap().train, 200);
    for _ in 0..2 {
        place.works("train dense --data . --epochs 1 --batch 20 --device cpu -q");
    }
    let digests: Vec<String> = ["0001", "0002"]
        .map(|run| {
            let file = ModelFile::load(place.path(&format!("runs/{run}-dense/best.safetensors"))).unwrap();
            file.metadata["data_digest"].clone()
        })
        .into();
    assert_eq!(digests[0], digests[1]);
    let said = place.works("evaluate runs/0001-dense --data . --device cpu");
    assert!(said.out.contains(" of 20 right"), "{said:#?}");
    assert!(said.err.contains("whose pictures were made by runs are ignored: runs"), "{said:#?}");
}

#[test]
fn a_class_that_would_be_validated_as_a_whole_is_refused_and_a_recipe_leaves_it_alone() {
    let place = Place::new();
    place.bars("two", [28, 28], 10, [20, 10]);
    place.bars("one", [28, 28], 10, [10, 10]);
    let words = ["has no image left to train on when --validation sets 11 aside", "--validation 0 sets none"];
    place.refused("train dense --data two --validation 11 --device cpu", &words);
    place.works("train dense --data two --validation 10 --epochs 1 --device cpu -q");
    let said = place.works("train dense --data one --epochs 1 --device cpu --dry-run");
    assert!(said.out.contains("validation = 0"), "{said:#?}");
    // A run of an older version may have such a setting, which no flag changes.
    let one_more = |settings: &str| {
        assert!(settings.contains("validation = 10\n"), "{settings}");
        settings.replace("validation = 10\n", "validation = 11\n")
    };
    place.write("runs/0001-dense/config.toml", one_more(&place.text("runs/0001-dense/config.toml")));
    let last = place.path("runs/0001-dense/last.safetensors");
    let mut checkpoint = ModelFile::load(&last).unwrap();
    let trained = one_more(&checkpoint.metadata["trained"]);
    checkpoint.set("trained", trained);
    checkpoint.save(&last).unwrap();
    place.refused("train --resume runs/0001-dense", &["sets 11 images aside to validate", "Start a new one"]);
}

#[test]
fn pooling_by_16_says_what_it_makes_of_other_images_than_it_is_for() {
    let place = Place::new();
    place.bars("small", [28, 28], 2, [40, 10]);
    let said = place.works("train dense --front pool --data small --epochs 1 --device cpu --dry-run");
    let words = "is for images of 448x448: it makes 1x1 of images of 28x28, without 12 of their rows and 12 of their";
    assert!(said.err.contains(words), "{said:#?}");
}

#[test]
fn every_command_that_reads_data_has_the_flags_that_its_errors_name() {
    let place = Place::new();
    place.write("train.csv", table(&mnist::embedded().unwrap().train, 40));
    let header: String = (0..600).map(|i| format!(",pixel{i}")).collect();
    let rows: String = (0..20).map(|i| format!("{}{}\n", i % 2, ",0,255,9".repeat(200))).collect();
    place.write("odd.csv", format!("label{header}\n{rows}"));
    let preview = "data preview --device cpu --rows 2 --columns 2 --data odd.csv";
    for line in ["data stats --data odd.csv", preview] {
        place.refused(line, &["600 pixels make no square image", "--image-size"]);
        place.works(&format!("{line} --image-size 20x30"));
    }
    let said = place.works("data extend --data train.csv --hold-out 5 --out made");
    assert!(said.out.contains("and 5 test images"), "{said:#?}");
    let again = "data extend --data train.csv --hold-out 5 --out made";
    place.refused(again, &["is already there; name another place, or move it away"]);
    place.refused("data extend --data odd.csv --image-size 20x30", &["odd.csv has images of 20 x 30"]);
    place.refused("sweep --data odd.csv --device cpu", &["--image-size"]);
    let none = "sweep --data train.csv --hold-out 0 --device cpu";
    place.refused(none, &["train.csv has no test images", "--hold-out 0 holds out none"]);
    for line in ["data stats", "data preview", "data extend", "sweep"] {
        place.refused(&format!("{line} --prepare"), &["--prepare are for --data"]);
    }
}

#[test]
fn pictures_in_folders_give_the_model_that_the_same_images_in_idx_give() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    let (train, test) = (mnist.train.select(&(0..1200).collect::<Vec<_>>()), &mnist.test);
    pictures(&place, "digits/train", &train, 1200);
    pictures(&place, "digits/test", test, 200);
    place.works("train dense --data digits --epochs 2 --device cpu");
    let model = ModelFile::load(place.path("runs/0001-dense/best.safetensors")).unwrap();
    assert_eq!((model.metadata["pictures"].as_str(), model.metadata["input"].as_str()), ("fitted", "28x28x1"));

    // The same images in the order of their classes, which decides the shuffle.
    let mut order: Vec<usize> = (0..1200).collect();
    order.sort_by_key(|i| (train.labels[*i], format!("{i}.png")));
    let folder = place.path("idx");
    let sorted = train.select(&order);
    std::fs::create_dir(&folder).unwrap();
    for (part, set) in [
        (inkgrad::data::write::Part::Train, &sorted),
        (inkgrad::data::write::Part::Test, &test.select(&(0..200).collect::<Vec<_>>())),
    ] {
        let count = set.len() as u32;
        let mut writer = inkgrad::data::write::IdxWriter::create(&folder, part, count, [28, 28, 1]).unwrap();
        (0..set.len()).for_each(|i| writer.push(set.image(i), set.labels[i]).unwrap());
        writer.finish(inkgrad::files::Existing::Keep).unwrap();
    }
    place.works("train dense --data idx --epochs 2 --device cpu");
    let from_idx = ModelFile::load(place.path("runs/0002-dense/best.safetensors")).unwrap();
    assert_eq!(model.tensors, from_idx.tensors);
    let said = place.works("evaluate runs/0001-dense --data digits --device cpu");
    assert!(said.out.contains(" of 200 right"), "{said:#?}");
}

#[test]
fn a_model_of_images_with_light_borders_gets_what_it_is_asked_as_it_is() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    let inverted = |set: &ImageSet, count: usize| {
        let mut set = set.select(&(0..count).collect::<Vec<_>>());
        set.images.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        set
    };
    let (train, test) = (inverted(&mnist.train, 2000), inverted(&mnist.test, 300));
    place.write("light/train.csv", table(&train, 2000));
    place.write("light/test.csv", table(&test, 300));
    place.works("train dense --data light --epochs 4 --device cpu -q");
    let model = ModelFile::load(place.path("runs/0001-dense/best.safetensors")).unwrap();
    assert_eq!(model.metadata["pictures"], "raw");
    let said = place.works("evaluate runs/0001-dense --data light --device cpu");
    let (known, turned) = (right(&said.out), "`classify` inverts them");
    assert!(known > 200 && !said.err.contains(turned), "{said:#?}");
    // A model that knows dark borders is not given any here, and a warning says so.
    for line in ["evaluate judge", "train --from dense --dry-run"] {
        let said = place.works(&format!("{line} --data light --device cpu"));
        assert!(said.err.contains("images of train.csv have a light border"), "{said:#?}");
        assert!(said.err.contains(turned), "{said:#?}");
    }

    let said = place.works("classify light/test.csv --model runs/0001-dense --device cpu --out answers.csv");
    assert_eq!(right(&said.out), known, "{said:#?}");
    for part in ["train", "test"] {
        pictures(&place, &format!("png/{part}"), &test, 300);
    }
    let said = place.works("evaluate runs/0001-dense --data png --device cpu");
    assert_eq!(right(&said.out), known, "{said:#?}");
    let said = place.works("classify png/test --model runs/0001-dense --device cpu --out pictures.csv");
    assert_eq!(right(&said.out), known, "{said:#?}");
}

#[test]
fn a_model_of_light_images_that_gets_dark_ones_is_told_of() {
    let place = Place::with_digits(20, 20);
    let mut model = ModelFile::shipped("dense").unwrap();
    model.set("pictures", "raw");
    model.set("mean", 0.87);
    model.set("data", "paper");
    model.save(place.path("light.safetensors")).unwrap();
    let said = place.works("evaluate light.safetensors --data data --device cpu");
    let words = "images of data have a dark border, and light.safetensors has learned from light images";
    assert!(said.err.contains(words), "{said:#?}");
    // The built-in MNIST cannot be inverted.
    let said = place.works("evaluate light.safetensors --device cpu");
    assert!(said.err.contains("it was trained on paper") && !said.err.contains("dark border"), "{said:#?}");
    crate::classify::digits(&place, "in", 5);
    let classify = "classify in --model light.safetensors --device cpu";
    let said = place.works(classify);
    assert!(said.err.contains("note: 5 pictures have a dark border, and the model has learned"), "{said:#?}");
    // Where most are light, the dark ones may be of the kind that the model knows, too.
    for i in 0..6 {
        let mut picture = crate::classify::digit(i).0;
        image::imageops::invert(&mut picture);
        crate::classify::save(&place, &format!("light/{i}.png"), picture);
    }
    let said = place.works(&classify.replace(" in ", " in light "));
    assert!(said.err.contains("11 pictures") && !said.err.contains("dark border"), "{said:#?}");
    let said = place.works(&format!("{classify} --prepare always"));
    assert!(said.err.contains("light.safetensors has learned from light pictures, and --prepare"), "{said:#?}");
    assert!(!said.err.contains("dark border"), "{said:#?}");
}

#[test]
fn test_images_that_are_also_trained_on_are_told_once_by_commands_that_train_test_or_count() {
    let place = Place::new();
    let set = mnist::embedded().unwrap().test;
    let twice = set.select(&(0..100).map(|i| i / 2).collect::<Vec<_>>());
    place.write("twice.csv", table(&twice, 100));
    let words = "of the 10 test images are also among the training images: ";
    for line in [
        "data stats --data twice.csv",
        "evaluate dense --data twice.csv --device cpu",
        "train dense --data twice.csv --epochs 1 --device cpu --dry-run",
        "train --from dense --data twice.csv --epochs 1 --device cpu --dry-run",
    ] {
        let said = place.works(line);
        assert_eq!(said.err.matches(words).count(), 1, "{line}: {said:#?}");
    }
    place.write("once.csv", table(&set, 100));
    assert!(!place.works("data stats --data once.csv").err.contains("also among"));
    // Nothing is trained, tested or counted.
    for line in ["data preview --device cpu --rows 1 --columns 1", "data extend"] {
        let said = place.works(&format!("{line} --data twice.csv"));
        assert!(said.err.contains("are set aside as such") && !said.err.contains("also among"), "{line}: {said:#?}");
    }
}

#[test]
fn some_of_a_models_classes_are_known_by_their_names() {
    let place = Place::new();
    let test = mnist::embedded().unwrap().test;
    let threes_and_eights: Vec<usize> = (0..1000).filter(|i| matches!(test.labels[*i], 3 | 8)).collect();
    pictures(&place, "some", &test.select(&threes_and_eights), threes_and_eights.len());
    let said = place.works("evaluate judge --data some --hold-out 100 --device cpu --out here");
    assert!(right(&said.out) >= 98, "{said:#?}");
    place.works("train dense --data some --epochs 1 --batch 16 --device cpu -q");
    place.refused(
        "evaluate runs/0001-dense --device cpu",
        &["the data has the classes 0, 1, 2", "the model knows 3, 8"],
    );
}

/// Digits in folders that are named by words, whose alphabetical order is another one.
fn words(place: &Place, folder: &str, count: usize) {
    const WORDS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    pictures(place, folder, &mnist::embedded().unwrap().test, count);
    for (digit, word) in WORDS.iter().enumerate() {
        std::fs::rename(place.path(&format!("{folder}/{digit}")), place.path(&format!("{folder}/{word}"))).unwrap();
    }
}

#[test]
fn classes_that_are_matched_by_their_order_alone_are_warned_of() {
    let place = Place::new();
    words(&place, "w", 100);
    let warning = "warning: the model's classes are numbers and those of w are names: matched in order, 0=eight, 1=fi";
    for line in ["evaluate fast --out here", "train --from fast --dry-run"] {
        let said = place.works(&format!("{line} --data w --device cpu"));
        assert_eq!(said.err.matches(warning).count(), 1, "{said:#?}");
    }
    // The other way round.
    place.works("train dense --data w --epochs 1 --batch 32 --device cpu -q");
    place.digits("digits", 50, 50);
    let warning = "warning: the classes of digits are numbers and the model's are names: matched in order, 0=eight, 1";
    for line in ["evaluate runs/0001-dense", "train --from runs/0001-dense --dry-run"] {
        let said = place.works(&format!("{line} --data digits --device cpu"));
        assert_eq!(said.err.matches(warning).count(), 1, "{said:#?}");
        let said = place.works(&format!("{line} --data w --device cpu"));
        assert!(!said.err.contains("matched in order"), "{said:#?}");
    }
}

#[test]
fn classes_of_a_generator_are_matched_by_their_order_only_where_there_are_as_many() {
    let place = Place::new();
    let test = mnist::embedded().unwrap().test;
    let some: Vec<usize> = (0..100).filter(|i| test.labels[*i] < 2).collect();
    pictures(&place, "two", &test.select(&some), some.len());
    for (digit, word) in [("0", "no"), ("1", "yes")] {
        std::fs::rename(place.path(&format!("two/{digit}")), place.path(&format!("two/{word}"))).unwrap();
    }
    let said = place.run("evaluate gan --data two --device cpu");
    assert!(said.code == Some(1) && said.err.contains("10 classes, two has 2"), "{said:#?}");
    assert!(!said.err.contains("matched in order"), "{said:#?}");
}

#[test]
fn classes_that_are_numbers_on_both_sides_are_not_matched_by_their_order() {
    let place = Place::new();
    let test = mnist::embedded().unwrap().test;
    for (folder, digits) in [("odd", [3, 5, 7]), ("even", [0, 2, 4])] {
        let some: Vec<usize> = (0..300).filter(|i| digits.contains(&test.labels[*i])).collect();
        pictures(&place, folder, &test.select(&some), some.len());
    }
    place.works("train dense --data odd --epochs 1 --batch 16 --device cpu -q");
    let words = ["the data has the classes 0, 2, 4, but the model knows 3, 5, 7"];
    place.refused("evaluate runs/0001-dense --data even --device cpu", &words);
    place.refused("train --from runs/0001-dense --data even --device cpu", &words);
    // Tables and IDX files number their classes from 0 on.
    let two = ImageSet { labels: test.labels.iter().map(|label| label % 2).collect(), ..test };
    place.write("two.csv", table(&two, 40));
    let words = ["the data has the classes 0, 1, but the model knows 3, 5, 7"];
    place.refused("evaluate runs/0001-dense --data two.csv --device cpu", &words);
}

#[test]
fn a_table_without_a_header_is_trained_with_as_images_of_the_size_that_is_asked_for() {
    let place = Place::new();
    let rows: String = (0..40).map(|i| format!("{}{}\n", i % 2, format!(",{i}").repeat(48))).collect();
    place.write("plain.csv", rows);
    let train = "train dense --data plain.csv --epochs 1 --batch 8 --validation 0 --device cpu -q";
    place.refused(train, &["expected a column named `label`", "or one of --image-size"]);
    place.works(&format!("{train} --image-size 6x8"));
    // Without the flag, the model says which size that is.
    let said = place.works("evaluate runs/0001-dense --data plain.csv --device cpu");
    assert!(said.out.contains(" of 4 right"), "{said:#?}");
    let said = place.works("train --from runs/0001-dense --data plain.csv --batch 8 --dry-run --device cpu");
    assert!(!said.err.contains("pictures are brought to"), "{said:#?}");
    // 49 columns would make a square image without a label.
    let said = place.works("classify plain.csv --model runs/0001-dense --device cpu");
    let truths: Vec<String> = crate::classify::rows(&said.out)[1..4].iter().map(|row| row[5].clone()).collect();
    assert_eq!(truths, ["0", "1", "0"], "{said:#?}");
}

#[test]
fn a_table_is_classified_by_the_numbers_of_its_columns_wherever_they_stand() {
    let place = Place::new();
    let set = mnist::embedded().unwrap().test;
    let plain = table(&set, 100);
    // In the order of the alphabet: pixel0, pixel1, pixel10, pixel100.
    let header: Vec<&str> = plain.lines().next().unwrap().split(',').collect();
    let mut order: Vec<usize> = (0..header.len()).collect();
    order.sort_by_key(|column| header[*column]);
    let moved = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        order.iter().map(|column| cells[*column]).collect::<Vec<_>>().join(",") + "\n"
    };
    place.write("moved.csv", plain.lines().map(moved).collect::<String>());
    place.write("plain.csv", plain);
    let [plain, moved] = ["plain", "moved"].map(|name| {
        let said = place.works(&format!("classify {name}.csv --model fast --device cpu --out {name}-answers.csv"));
        let tested = place.works(&format!("evaluate fast --data {name}.csv --hold-out all --device cpu --out {name}"));
        (right(&said.out), right(&tested.out))
    });
    assert_eq!(moved, plain);
    assert!(plain.0 > 95, "{plain:?}");
}

#[test]
fn what_sorting_was_not_sure_of_is_said_to_be_a_class_when_one_learns_from_it() {
    let place = Place::new();
    pictures(&place, "digits", &mnist::embedded().unwrap().test, 60);
    place.works("classify digits --model dense --threshold 0.999 --device cpu --sort-into sorted --out answers.csv");
    assert!(place.names("sorted").contains(&"unsure".into()), "{:?}", place.names("sorted"));
    let said = place.works("data stats --data sorted");
    assert!(
        said.err.contains("the folder unsure is taken as a class, though `classify --sort-into` puts pictures there"),
        "{said:#?}"
    );
}

#[test]
fn a_run_on_pictures_goes_on_with_the_pictures_it_began_with() {
    let place = Place::new();
    let mnist = mnist::embedded().unwrap();
    pictures(&place, "digits", &mnist.train, 300);
    let line = "train dense --data digits --hold-out 30 --image-size 14x14 --epochs 2 --batch 32 --device cpu -q";
    place.works(line);
    let config = place.text("runs/0001-dense/config.toml");
    assert!(config.contains("hold_out = 30") && config.contains("image_size = \"14x14\""), "{config}");
    place.works("train --resume runs/0001-dense -q");
    place.refused("train --resume runs/0001-dense --hold-out 20", &["cannot be changed in a resumed run"]);
    place.refused("train dense --prepare", &["are for --data"]);
    let colour = "--prepare would change nothing: --image-size wants images of 3 channels";
    place.refused("train dense --data scans --prepare --image-size 28x28x3", &[colour]);
    std::fs::remove_file(place.path("digits/5/0.png")).unwrap();
    place.refused("train --resume runs/0001-dense", &["not those it began with"]);
}

#[test]
fn a_model_goes_on_with_pictures_as_it_is_tested_on_them() {
    let place = Place::new();
    let digits = mnist::embedded().unwrap().test.select(&(0..300).collect::<Vec<_>>());
    // Dark ink on larger sheets of light paper.
    let (height, width) = (60, 50);
    let mut images = vec![240u8; 300 * height * width];
    for (i, sheet) in images.chunks_mut(height * width).enumerate() {
        for (y, row) in digits.image(i).chunks(28).enumerate() {
            sheet[(y + 12) * width + 8..][..28].iter_mut().zip(row).for_each(|(paper, ink)| *paper -= ink / 16 * 15);
        }
    }
    let scans = ImageSet { height, width, images: images.into(), ..digits };
    pictures(&place, "scans", &scans, 300);
    let known = right(&place.works("evaluate dense --data scans --device cpu").out);
    assert!(known >= 25, "{known} of 30");
    let said = place.works("train --from dense --data scans --epochs 1 --batch 32 --device cpu -q");
    assert!(right(&said.out) >= 25, "{said:#?}");
    assert!(said.err.contains("brought to 28x28x1, prepared as MNIST was, for dense"), "{said:#?}");
    let config = place.text("runs/0001-dense/config.toml");
    assert!(config.contains("image_size = \"28x28x1\"") && config.contains("prepare = true"), "{config}");
    place.works("train --resume runs/0001-dense -q");
}

#[test]
fn tables_of_another_kind_are_told_what_to_do_about_them_once() {
    let place = Place::new();
    let digits = table(&mnist::embedded().unwrap().test, 100);
    let numbered = |(i, line): (usize, &str)| if i == 0 { format!("id,{line}\n") } else { format!("{i},{line}\n") };
    place.write("id.csv", digits.lines().enumerate().map(numbered).collect::<String>());
    place.write("wide.csv", digits.chars().flat_map(|c| [c, '\0']).collect::<String>());
    place.write("mac.csv", digits.replace('\n', "\r"));
    place.write("named.csv", digits.replacen("label", "digit", 1));
    // As OpenML writes it.
    let last = |(i, line): (usize, &str)| {
        let (label, pixels) = line.split_once(',').unwrap();
        format!("{pixels},{}\n", if i == 0 { "class" } else { label })
    };
    place.write("openml.csv", digits.lines().enumerate().map(last).collect::<String>());
    place.write("sample_submission.csv", "ImageId,Label\n1,0\n2,0\n");
    place.write("zipped.csv", b"PK\x03\x04\x14\0\0\0\x08\0 and on");
    place.write("train.csv.zip", b"PK\x03\x04\x14\0\0\0\x08\0 and on");
    for (data, words) in [
        ("id.csv", "the column \"id\" counts as a pixel. Remove"),
        ("named.csv", "the first column is named \"digit\": if it holds the labels, name it `label`"),
        ("openml.csv", "the last column is named \"class\": if it holds the labels, name it `label`"),
        ("sample_submission.csv", "looks like a submission"),
        ("wide.csv", "as UTF-16 has them. Save it as UTF-8"),
        ("mac.csv", "carriage returns alone"),
        ("zipped.csv", "a zip archive. Unpack it first"),
        ("train.csv.zip", "a zip archive. Unpack it first"),
    ] {
        place.refused(&format!("train dense --data {data} --device cpu"), &[words]);
        let said = place.run(&format!("classify {data} --device cpu"));
        assert!(said.code == Some(3) && said.err.matches(words).count() == 1, "{said:#?}");
        assert!(said.err.contains("\n1 file could not be read"), "{said:#?}");
    }
}

#[test]
fn a_table_of_black_and_white_as_0_and_1_is_told_what_white_is() {
    let place = Place::new();
    let mut set = mnist::embedded().unwrap().test.select(&(0..100).collect::<Vec<_>>());
    set.images.iter_mut().for_each(|pixel| *pixel /= 128);
    place.write("bits.csv", table(&set, 100));
    let said = place.works("evaluate judge --data bits.csv --device cpu");
    assert!(said.err.contains("no pixel of bits.csv is above 1, and 255 is white"), "{said:#?}");
    let said = place.works("classify bits.csv --device cpu");
    assert!(said.err.contains("so unsure\nall of them are: if pixels are from 0 to 1"), "{said:#?}");
}

#[test]
fn what_no_data_are_read_from_is_refused_with_what_would_do() {
    let place = Place::new();
    place.write("empty/notes.txt", "nothing");
    place.write("text.txt", "nothing");
    place.write("broken.csv", "label,pixel0\n1,300\n");
    place.write("digits.tar.gz", "packed");
    place.digits("idx", 20, 20);
    let one = format!("idx/{}", crate::common::NAMES[0]);
    for (data, words) in [
        ("empty", "no folders with pictures"),
        ("text.txt", "a file of another kind"),
        ("digits.tar.gz", "an archive. Unpack it first"),
        (one.as_str(), "a single IDX file. Give the folder"),
        ("broken.csv", "line 2: column 2: expected a pixel"),
        ("nowhere", "nowhere"),
    ] {
        place.refused(&format!("train dense --data {data} --device cpu"), &[words]);
    }
    place.refused("train dense --data empty --image-size 0x3", &["expected height x width"]);
}
