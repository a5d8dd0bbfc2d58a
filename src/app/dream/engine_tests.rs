use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::app::dream::wish::View;
use crate::app::worker::News;
use crate::device::Choice;
use crate::device::cpu::Cpu;
use crate::device::rigged::Rigged;
use crate::infer::scene::{Labels, Scene, Seeds};

/// Waits for the thread, for a limited time.
fn until<T>(engine: &mut Engine, mut found: impl FnMut(&mut Engine, News) -> Option<T>) -> T {
    for _ in 0..6000 {
        let news = engine.poll();
        if let Some(found) = found(engine, news) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing came: {:?}", engine.take_problems());
}

fn opened(path: &Path) -> Engine {
    let mut engine = Engine::start(Choice::Cpu, || {});
    engine.open(path);
    until(&mut engine, |_, news| news.opened.then_some(()));
    engine
}

fn draw(engine: &mut Engine, wish: Wish) -> (Vec<u8>, Vec<Reading>) {
    engine.ask(wish.clone());
    until(engine, |engine, news| {
        let answer = engine.answer().filter(|answer| news.answered && answer.wish == wish)?;
        Some((answer.pictures.clone(), answer.readings.clone()))
    })
}

#[test]
fn the_grid_of_seeds_is_what_generate_draws_of_them_and_is_read_as_asked() {
    let mut engine = opened(Path::new("gan"));
    let about = engine.about().unwrap().clone();
    assert_eq!((about.class_names.len(), about.image), (10, [28, 28, 1]));
    let mut wish = Wish { view: View::Seeds, ..Wish::new(about.numbers, 10) };
    wish.settings.only(7);
    wish.settings.reseed(40);
    let (pictures, readings) = draw(&mut engine, wish);

    let seeds = Seeds::Each((40..65).collect());
    let scene = Scene { rows: 1, columns: 1, labels: Labels::InTurn(vec![7]), seeds, one_hand: true };
    let generator = Generator::builtin().unwrap();
    let mut cpu = Cpu::new();
    let mut sampler = Sampler::open(&generator, &mut cpu).unwrap();
    let cells: Vec<_> = scene.all().filter_map(|(_, cell)| cell).collect();
    let latents: Vec<f32> = cells.iter().flat_map(|cell| cell.latent(about.numbers, 1.0)).collect();
    let labels: Vec<f32> = cells.iter().flat_map(|cell| cell.weights(10)).collect();
    let wanted = sampler.draw(&mut cpu, &latents, &labels).unwrap();
    assert!(pictures[..784] == wanted[..784] && pictures[784..] == wanted[..], "the same pictures to the byte");
    assert_eq!(readings.len(), 26);
    let right = readings.iter().filter(|reading| reading.class == 7 && reading.as_asked == Some(true)).count();
    assert!(right >= 24, "{right} of 26");
}

#[test]
fn the_way_from_a_to_b_ends_at_the_pictures_of_both() {
    let mut engine = opened(Path::new("gan"));
    let mut wish = Wish { view: View::One, ..Wish::new(64, 10) };
    let mut alone = |class: usize, seed: u32| {
        wish.settings.only(class);
        wish.settings.reseed(seed);
        (wish.settings.digit(), draw(&mut engine, wish.clone()).0[..784].to_vec())
    };
    let ((a, picture_of_a), (b, picture_of_b)) = (alone(3, 5), alone(8, 6));
    let between = Wish { view: View::Between, steps: 40, ends: [a, b], ..Wish::new(64, 10) };
    let (pictures, readings) = draw(&mut engine, between);
    assert_eq!((pictures.len(), readings.len()), (41 * 784, 41));
    assert_eq!((&pictures[784..2 * 784], &pictures[40 * 784..]), (&picture_of_a[..], &picture_of_b[..]));
    let asked: Vec<usize> = (0..41).filter(|i| readings[*i].as_asked.is_some()).collect();
    assert_eq!(asked, [1, 40], "what lies between two digits is neither");
}

#[test]
fn the_newest_wish_wins_and_one_for_another_generator_is_none() {
    let mut engine = Engine::start(Choice::Cpu, || {});
    engine.ask(Wish::new(3, 2));
    engine.open(Path::new("gan"));
    until(&mut engine, |_, news| news.opened.then_some(()));
    for seed in 0..20 {
        let mut wish = Wish::new(64, 10);
        wish.settings.reseed(seed);
        engine.ask(wish);
    }
    let mut answers = 0;
    until(&mut engine, |engine, news| {
        answers += usize::from(news.answered);
        engine.answer().filter(|answer| answer.wish.settings.seed == 19).map(drop)
    });
    assert!(answers < 20 && engine.take_problems().is_empty(), "{answers}");
}

#[test]
fn what_is_no_generator_is_refused_in_words_and_the_old_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.safetensors");
    let whole = ModelFile::shipped("gan").unwrap().to_bytes(&broken).unwrap();
    std::fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let mut engine = opened(Path::new("gan"));
    for (path, word) in [
        (broken.as_path(), "broken.safetensors"),
        (Path::new("fast"), "choose a generator"),
        (Path::new("no/such.safetensors"), "no/such.safetensors"),
        (folder.path(), "expected a model file"),
    ] {
        engine.open(path);
        let problem = until(&mut engine, |engine, _| engine.take_problems().pop());
        assert!(problem.contains(word), "{problem}");
        assert!(!engine.is_opening());
        assert_eq!(engine.about().unwrap().path, Path::new("gan"));
        assert_eq!(draw(&mut engine, Wish::new(64, 10)).0.len(), 26 * 784);
    }
}

#[test]
fn a_mixed_label_asks_for_no_class() {
    let mut engine = opened(Path::new("gan"));
    let mut wish = Wish { view: View::One, ..Wish::new(64, 10) };
    wish.settings.even();
    let (_, readings) = draw(&mut engine, wish);
    assert!(readings.iter().all(|reading| reading.as_asked.is_none()));
}

#[test]
fn a_device_that_is_lost_is_said_and_the_generator_goes_on_with_the_cpu() {
    let left = Arc::new(AtomicUsize::new(12));
    let mut engine = Engine::start_on(Box::new(move || Ok(Rigged::failing(&left))), || {});
    engine.open(Path::new("gan"));
    until(&mut engine, |_, news| news.opened.then_some(()));
    assert_eq!(engine.about().unwrap().device, "a GPU that fails");
    let mut seed = 0;
    while engine.about().unwrap().device == "a GPU that fails" {
        let mut wish = Wish::new(64, 10);
        wish.settings.reseed(seed);
        assert_eq!(draw(&mut engine, wish).0.len(), 26 * 784);
        seed += 1;
    }
    let said = engine.take_problems().join(" ");
    assert!(said.contains("unplugged") && said.contains("continues on CPU"), "{said}");
}
