use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::super::field::{Drawing, Field};
use super::*;
use crate::data::Pictures;
use crate::device::rigged::Rigged;
use crate::graph::Store;
use crate::models::Architecture;
use crate::pictures::fit;

/// A reader on a device that is lost after so many runs, with `fast` open.
fn reader(runs: usize) -> Reader {
    let left = Arc::new(AtomicUsize::new(runs));
    let opener: Opener = Box::new(move || Ok(Rigged::failing(&left)));
    let mut reader = Reader::start_on(opener, || {});
    open(&mut reader, "fast");
    reader
}

fn open(reader: &mut Reader, model: &str) {
    reader.open(Path::new(model));
    opened(reader);
}

/// A reader whose device opens only when it is let, and which tells when its thread has done something.
struct Slow {
    reader: Reader,
    lets: Sender<()>,
    told: Receiver<()>,
}

impl Slow {
    fn start() -> Slow {
        let ((lets, let_in), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let left = Arc::new(AtomicUsize::new(1000));
        let opener: Opener = Box::new(move || {
            // Nobody lets it any more once the test is over.
            let _ = let_in.recv();
            Ok(Rigged::failing(&left))
        });
        let wake = move || {
            let _ = tell.send(());
        };
        Slow { reader: Reader::start_on(opener, wake), lets, told }
    }

    fn open(&mut self, model: &Path) {
        self.reader.open(model);
        self.lets.send(()).unwrap();
        self.wait();
    }

    /// Waits until the thread has done the next thing, which is not taken in.
    fn wait(&self) {
        self.told.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

/// Waits until a model is open, or refused.
fn opened(reader: &mut Reader) {
    loop {
        let news = reader.poll();
        if news.opened || news.refused {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A drawing of a one.
fn one() -> Question {
    let pixels = (0..FIELD * FIELD).map(|i| {
        let (y, x) = (i / FIELD, i % FIELD);
        if (210..240).contains(&x) && (80..370).contains(&y) { 255 } else { 0 }
    });
    let field = Arc::new(pixels.collect());
    let (wanted, asked) = (Wanted::default(), Instant::now());
    Question { field, picture: None, prepared: true, wanted, asked, by_pen: true }
}

fn ask(reader: &mut Reader) -> usize {
    super::super::bars::ranked(&answer(reader, one()).probabilities)[0]
}

/// The pass that counts.
fn answer(reader: &mut Reader, question: Question) -> Pass {
    let asked = question.asked;
    reader.ask(question);
    let began = Instant::now();
    loop {
        reader.poll();
        if let Some(answer) = reader.answer().filter(|answer| answer.question.asked == asked) {
            return answer.pass().clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no answer");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_device_that_is_lost_is_said_and_the_model_goes_on_with_the_cpu() {
    let mut reader = reader(6);
    assert_eq!(reader.about().unwrap().device, "a GPU that fails");
    for _ in 0..6 {
        assert_eq!(ask(&mut reader), 1);
    }
    let said = reader.take_problems().join(" ");
    assert!(said.contains("unplugged") && said.contains("continues on CPU"), "{said}");
    assert!(reader.about().unwrap().device.starts_with("CPU"));
}

#[test]
fn what_cannot_be_opened_leaves_the_model_before_it_at_work() {
    let mut reader = reader(1000);
    open(&mut reader, "no/such/file.safetensors");
    assert!(reader.take_problems()[0].contains("no/such/file.safetensors"));
    assert_eq!(reader.about().unwrap().path, Path::new("fast"));
    assert_eq!(ask(&mut reader), 1);
}

#[test]
fn a_model_that_is_chosen_while_another_opens_is_still_opening_once_that_one_is_open_or_refused() {
    let mut slow = Slow::start();
    slow.reader.open(Path::new("no/such/file.safetensors"));
    slow.wait();
    slow.reader.open(Path::new("dense"));
    assert!(slow.reader.poll().refused && slow.reader.is_opening());
    slow.lets.send(()).unwrap();
    slow.wait();
    slow.reader.open(Path::new("fast"));
    assert!(slow.reader.poll().opened && slow.reader.is_opening());
    assert_eq!(slow.reader.about().unwrap().path, Path::new("dense"));
    slow.lets.send(()).unwrap();
    slow.wait();
    assert!(slow.reader.poll().opened && !slow.reader.is_opening());
    assert_eq!(slow.reader.about().unwrap().path, Path::new("fast"));
}

#[test]
fn an_answer_is_never_of_a_model_that_is_gone() {
    let mut reader = reader(1000);
    reader.ask(one());
    std::thread::sleep(Duration::from_millis(200));
    // The answer is there, but has not been taken in.
    reader.open(Path::new("dense"));
    opened(&mut reader);
    assert!(reader.answer().is_none());
    assert_eq!(ask(&mut reader), 1);
}

#[test]
fn a_question_that_cannot_be_answered_is_said_and_harms_no_model() {
    let mut reader = reader(1000);
    reader.ask(Question { wanted: Wanted { saliency: Some(99), ..Wanted::default() }, ..one() });
    let said = loop {
        reader.poll();
        match reader.take_problems().pop() {
            Some(said) => break said,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(said.contains("asked about class 99"), "{said}");
    assert_eq!(reader.about().unwrap().device, "a GPU that fails");
    assert_eq!(ask(&mut reader), 1);
}

/// A picture that is dropped on the window.
fn dropped(picture: &DynamicImage) -> Question {
    let mut field = Field::default();
    field.show(Drawing::of(picture.clone()));
    Question { field: Arc::clone(field.pixels()), picture: field.picture().cloned(), ..one() }
}

/// The bytes that a network is given of a picture that is dropped on the window.
fn seen(reader: &mut Reader, picture: &DynamicImage) -> Vec<u8> {
    let pass = answer(reader, dropped(picture));
    pass.picture.iter().map(|x| (x * 255.0 + 0.5) as u8).collect()
}

#[test]
fn digits_of_mnist_are_read_byte_for_byte_as_they_are() {
    let mut reader = reader(1000);
    let set = crate::data::mnist::embedded().unwrap().test;
    // That with number 4751 is another digit to `dense` if its contrast is changed.
    for i in (0..200).step_by(10).chain([4751]) {
        let digit = GrayImage::from_raw(28, 28, set.image(i).to_vec()).unwrap();
        assert_eq!(seen(&mut reader, &digit.into()), set.image(i), "{i}");
    }
}

/// A stroke of dark ink on paper that is not square.
fn scan() -> DynamicImage {
    let ink = |x: u32, y: u32| (40..140).contains(&y) && (60 + y / 4..75 + y / 4).contains(&x);
    GrayImage::from_fn(200, 150, |x, y| image::Luma([if ink(x, y) { 40 } else { 235 }])).into()
}

#[test]
fn a_scan_is_read_as_classify_reads_it() {
    let mut reader = reader(1000);
    let wanted = prepare(&scan(), [28, 28, 1], &Preparation::default());
    assert!(wanted.inverted && !wanted.as_is);
    assert_eq!(seen(&mut reader, &scan()), wanted.pixels);
}

#[test]
fn a_network_that_has_learned_from_dark_ink_on_light_paper_is_given_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("light.safetensors");
    of_three_classes(&path);
    let mut file = ModelFile::load(&path).unwrap();
    file.set_pictures(Some(Pictures::Fitted));
    file.set("mean", 0.9);
    file.save(&path).unwrap();
    let mut reader = reader(1000);
    open(&mut reader, path.to_str().unwrap());
    let about = reader.about().unwrap();
    assert!(about.takes_pictures_as_they_are && about.knows_light_pictures);
    assert_eq!(seen(&mut reader, &scan()), fit(&scan(), [28, 28, 1]));
    // A drawing is not prepared for it either, and what is wanted of it as prepared is found of it as it is.
    let pass = answer(&mut reader, Question { wanted: Wanted { activations: true, ..Wanted::default() }, ..one() });
    assert!(reader.answer().unwrap().prepared.is_none() && !pass.activations.is_empty());
}

#[test]
fn a_picture_without_ink_is_blank_to_networks_that_look_for_ink_and_read_by_those_that_take_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.safetensors");
    of_three_classes(&path);
    let mut file = ModelFile::load(&path).unwrap();
    file.set_pictures(Some(Pictures::Fitted));
    file.save(&path).unwrap();
    let mut reader = reader(1000);
    let grey = DynamicImage::from(GrayImage::from_pixel(60, 60, image::Luma([128])));
    for (model, is_ink_wanted) in [("fast", true), (path.to_str().unwrap(), false)] {
        open(&mut reader, model);
        let black = Question { field: Arc::new(vec![0; FIELD * FIELD]), ..one() };
        for (question, blank) in [(dropped(&grey), is_ink_wanted), (black, true), (one(), false)] {
            answer(&mut reader, question);
            assert_eq!(reader.answer().unwrap().blank, blank, "{model}");
        }
    }
}

/// A classifier of three classes in a file.
fn of_three_classes(path: &Path) {
    let architecture = Architecture::parse("layers = [\"flatten\", { dense = \"classes\" }]", "three.toml").unwrap();
    let mut store = Store::default();
    let (network, parameters) = architecture.declare([28, 28, 1], 3, &mut store, "classifier").unwrap();
    let mut file = ModelFile::new(&network, &parameters, &parameters.initial(0));
    file.set("mean", 0.0);
    file.set("std", 1.0);
    file.save(path).unwrap();
}

#[test]
fn what_the_model_before_was_asked_is_not_asked_of_one_with_fewer_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.safetensors");
    of_three_classes(&path);
    let mut reader = reader(1000);
    // Both requests are there before the thread gets to either.
    reader.send(Box::new(|_| {
        std::thread::sleep(Duration::from_millis(200));
        false
    }));
    reader.open(&path);
    reader.ask(Question { wanted: Wanted { saliency: Some(7), ..Wanted::default() }, ..one() });
    opened(&mut reader);
    ask(&mut reader);
    assert_eq!(reader.answer().unwrap().pass().probabilities.len(), 3);
    assert!(reader.take_problems().is_empty());
}

#[test]
fn what_is_asked_after_another_model_has_opened_and_before_that_is_known_is_not_asked_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.safetensors");
    of_three_classes(&path);
    let mut slow = Slow::start();
    for model in [Path::new("fast"), path.as_path()] {
        slow.open(model);
        slow.reader.ask(Question { wanted: Wanted { saliency: Some(7), ..Wanted::default() }, ..one() });
        slow.wait();
        let news = slow.reader.poll();
        assert!(news.opened && !news.answered);
        assert!(slow.reader.take_problems().is_empty());
    }
    ask(&mut slow.reader);
    assert_eq!(slow.reader.answer().unwrap().pass().probabilities.len(), 3);
}

#[test]
fn errands_are_done_one_after_another() {
    let mut reader = reader(1000);
    let done = Arc::new(Mutex::new(Vec::new()));
    for i in 0..5 {
        let done = Arc::clone(&done);
        let mut turns = 3;
        reader.send(Box::new(move |reading| {
            turns -= 1;
            done.lock().unwrap().push((i, reading.look.class_names().len()));
            turns > 0
        }));
    }
    while done.lock().unwrap().len() < 15 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let wanted: Vec<_> = (0..5).flat_map(|i| [(i, 10); 3]).collect();
    assert_eq!(*done.lock().unwrap(), wanted);
}

#[test]
fn the_window_is_woken_when_an_errand_is_done_and_not_between_its_turns() {
    let mut slow = Slow::start();
    slow.open(Path::new("fast"));
    let turns = Arc::new(AtomicUsize::new(0));
    let of_errand = Arc::clone(&turns);
    slow.reader.send(Box::new(move |_| of_errand.fetch_add(1, Ordering::Relaxed) < 2));
    slow.wait();
    assert_eq!(turns.load(Ordering::Relaxed), 3);
    assert!(slow.told.recv_timeout(Duration::from_millis(100)).is_err());
}

#[test]
fn a_question_is_answered_between_two_turns_of_an_errand() {
    let mut reader = reader(1000);
    let (turns, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (of_errand, is_over) = (Arc::clone(&turns), Arc::clone(&enough));
    reader.send(Box::new(move |_| {
        of_errand.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
        !is_over.load(Ordering::Relaxed)
    }));
    // The errand goes on after each answer.
    for _ in 0..2 {
        assert_eq!(ask(&mut reader), 1);
        let before = turns.load(Ordering::Relaxed);
        let began = Instant::now();
        while turns.load(Ordering::Relaxed) < before + 3 {
            assert!(began.elapsed() < Duration::from_secs(30), "the errand has no turn");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    enough.store(true, Ordering::Relaxed);
}
