//! `inkgrad doctor`, and the check of a GPU that every command makes before using it, on the real program: with a
//! device that is right, and with one whose shader is wrong.

use inkgrad::device::Device;

use crate::common::{Place, said};

/// The largest value of a window becomes the smallest.
const WRONG_POOL: &str = "wrong-shader@max_pool:(other > v)=>(other < v)";

/// The name of the GPU that tests run on, even if it is a software one.
fn gpu(test: &str) -> Option<String> {
    crate::golden::gpu(test).map(|gpu| gpu.name())
}

/// The number that follows these words.
fn number(text: &str, words: &str) -> f64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    rest.trim_start().split([' ', ',']).next().unwrap().parse().unwrap()
}

#[test]
fn doctor_holds_the_cpu_against_the_definitions_where_there_is_no_gpu() {
    let place = Place::new();
    let said = place.works("doctor --quick --device cpu --out report.md");
    for word in ["## Devices", "## Ops on CPU", "its definition in f64", "## Speed", "GFLOP/s", "GB/s", "Verdict: CPU"]
    {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    assert!(said.out.contains("computes what it should") && !said.out.contains("WRONG"), "{said:#?}");
    // A tenth of a microsecond, where nothing else runs.
    assert!(number(&said.out, "each dispatch of a thousand:") < 20.0, "{said:#?}");
    // The report to attach to an issue is what was printed, and does not tell whose machine it is.
    let report = place.text("report.md");
    assert_eq!(report, said.out);
    for path in [place.path("").to_string_lossy().into_owned(), std::env::var("HOME").unwrap_or("/home".into())] {
        assert!(!report.contains(path.trim_end_matches('/')) || path == "/", "{path} in {report}");
    }
}

#[test]
fn doctor_makes_the_folder_of_its_report_and_refuses_one_that_cannot_be_written_before_it_measures() {
    let place = Place::new();
    place.write("file", "");
    place.refused("doctor --device cpu --out file/report.md", &["cannot write file/report.md"]);
    std::fs::create_dir(place.path("folder")).unwrap();
    place.refused("doctor --device cpu --out folder", &["folder is a folder; name a file"]);
    let said = place.run("doctor --quick --device nonesuch --out new/below/report.md");
    assert_eq!(place.text("new/below/report.md"), said.out);
}

#[test]
fn doctor_answers_an_unknown_device_with_those_there_are() {
    let said = Place::new().run("doctor --quick --device nonesuch");
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.out.contains("## Devices") && said.err.contains("no device \"nonesuch\""), "{said:#?}");
}

#[test]
fn doctor_finds_a_gpu_right_and_a_shader_wrong() {
    let Some(gpu) = gpu("doctor_finds_a_gpu_right_and_a_shader_wrong") else { return };
    let place = Place::new();
    let right = place.run_on("doctor --quick", &gpu, "");
    assert_eq!(right.code, Some(0), "{right:#?}");
    assert!(right.out.contains(&format!("Verdict: {gpu} computes what it should")), "{right:#?}");
    assert!(right.out.contains("its twin on the CPU") && !right.out.contains("WRONG"), "{right:#?}");

    let wrong = place.run_on("doctor --quick", &gpu, WRONG_POOL);
    assert_eq!(wrong.code, Some(4), "{wrong:#?}");
    assert!(wrong.out.contains(&format!("Verdict: {gpu} computes wrongly: max_pool. ")), "{wrong:#?}");
    let found: Vec<_> = wrong.out.lines().filter(|line| line.contains("WRONG")).collect();
    assert!(found.len() == 1 && found[0].contains("`max_pool`") && found[0].contains("should be"), "{wrong:#?}");
}

#[test]
fn doctor_stops_at_the_first_case_that_a_gpu_never_answers_and_calls_wrong_only_what_was_before_it() {
    let Some(gpu) = gpu("doctor_stops_at_the_first_case_that_a_gpu_never_answers") else { return };
    let hung = |fault: &str| {
        let said = Place::new().run_on("doctor --quick", &gpu, fault);
        assert_eq!(said.code, Some(4), "{said:#?}");
        assert!(said.out.contains(&format!("Verdict: {gpu}: gave no answer for 2 seconds")), "{said:#?}");
        for word in ["the device gave no answer to the case `", "further cases were not run"] {
            assert!(said.out.contains(word), "no {word} in {said:#?}");
        }
        for word in ["## Speed", "## Memory"] {
            assert!(!said.out.contains(word), "{word} in {said:#?}");
        }
        said.out
    };
    let at_once = hung("hang@1");
    assert!(!at_once.contains("0 of 0 cases"), "{at_once}");
    let right = hung("hang@40");
    assert!(!right.contains("WRONG") && !right.contains("computes wrongly"), "{right}");
    // Ops are run in the order of their names.
    let wrong = hung("hang@40;wrong-shader@add:a[i] + b[i]=>a[i] - b[i]");
    assert!(wrong.contains("WRONG: `add`") && wrong.contains(". It also computes wrongly: "), "{wrong}");
}

#[test]
fn a_gpu_whose_results_are_wrong_is_refused_by_name_and_left_by_auto() {
    let Some(gpu) = gpu("a_gpu_whose_results_are_wrong_is_refused") else { return };
    let place = Place::with_digits(200, 20);
    let before = place.contents();
    for line in ["train cnn --data data --epochs 1", "classify data", "evaluate dense --data data", "generate"] {
        let said = place.run_on(line, &gpu, WRONG_POOL);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{line}: {said:#?}");
        for word in ["error: ", gpu.as_str(), "max_pool", "should be", "`inkgrad doctor`", "`--device cpu`"] {
            assert!(said.err.contains(word), "{line}: no {word:?} in {said:#?}");
        }
        assert_eq!(place.contents(), before, "{line} left something behind");
    }

    let said = place.run_on("train dense --data data --epochs 1", "auto", &format!("hardware@all;{WRONG_POOL}"));
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.contains("max_pool") && said.err.contains("The CPU computes instead"), "{said:#?}");
    assert!(said.err.contains("with CPU ("), "{said:#?}");
}

/// lavapipe, which is slower than the CPU device, plays the part of an integrated GPU.
#[test]
fn auto_leaves_an_integrated_gpu_that_is_slower_than_the_cpu_and_measures_it_once() {
    let Some(adapter) = crate::golden::adapter("auto_leaves_an_integrated_gpu_that_is_slower") else { return };
    let gpu = adapter.info.to_string();
    let place = Place::with_digits(200, 20);
    let run = |line: &str, device: &str| {
        let said = place.run_on(line, device, "hardware@integrated");
        assert_eq!(said.code, Some(0), "{said:#?}");
        said
    };
    let line = "train dense --data data --epochs 1";
    // A GPU that is asked for by name is used and not measured; so is one that is taken for its 16-bit floats.
    let halved = format!("{line} --precision f16");
    for (line, device) in [(line, gpu.as_str()), (&halved, "auto")] {
        if line == halved && !adapter.info.f16 {
            eprintln!("auto_leaves_an_integrated_gpu_that_is_slower: SKIPPED --precision f16, {gpu} has none");
            continue;
        }
        let named = run(line, device);
        assert!(named.err.contains(&gpu) && !named.err.contains("GFLOP/s"), "{named:#?}");
    }
    let first = run(line, "auto");
    for word in ["warning: ", gpu.as_str(), "GFLOP/s", "`auto` takes the CPU from now on", "with CPU ("] {
        assert!(first.err.contains(word), "no {word:?} in {first:#?}");
    }
    let [gpu_speed, cpu_speed] = ["computes convolutions at", "and the CPU at"].map(|words| number(&first.err, words));
    assert!(gpu_speed < cpu_speed, "{first:#?}");
    let again = run(line, "auto");
    assert!(again.err.contains("with CPU (") && !again.err.contains("GFLOP/s"), "{again:#?}");
    let mut devices = place.command("devices");
    let listed = said(devices.env("INKGRAD_FAULT", "hardware@integrated").output().unwrap()).out;
    assert!(listed.contains("it was measured to be faster than the GPU"), "{listed}");
}

#[test]
fn a_gpu_that_was_found_right_is_not_looked_at_again() {
    let Some(gpu) = gpu("a_gpu_that_was_found_right_is_not_looked_at_again") else { return };
    let place = Place::with_digits(200, 20);
    let line = "train dense --data data --epochs 1";
    assert_eq!(place.run_on(line, &gpu, "").code, Some(0));
    // `dense` has no pooling: only a second look would meet it.
    let again = place.run_on(line, &gpu, WRONG_POOL);
    assert_eq!(again.code, Some(0), "{again:#?}");
    let about = place.works("inspect runs/0001-dense").out;
    for (key, value) in [("device", gpu.as_str()), ("seed", "0"), ("precision", "f32"), ("version", "")] {
        let line = about.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key} in {about}"));
        assert!(line.contains(value), "{line}");
    }
    assert!(about.lines().any(|line| line.starts_with("driver")), "{about}");
}
