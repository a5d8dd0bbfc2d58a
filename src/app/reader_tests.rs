use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::device::{Origin, PlanId};
use crate::graph::{BufferId, Store};
use crate::plan::Plan;

/// A CPU that is lost after so many runs, for good.
struct Failing {
    cpu: Cpu,
    left: Arc<AtomicUsize>,
}

impl Device for Failing {
    fn name(&self) -> String {
        "a GPU that fails".into()
    }
    fn origin(&self) -> Origin {
        self.cpu.origin()
    }
    fn room(&self) -> u64 {
        self.cpu.room()
    }
    fn parts(&mut self) -> Vec<&mut dyn Device> {
        vec![self]
    }
    fn allocate(&mut self, store: &Store) -> Result<(), DeviceError> {
        self.cpu.allocate(store)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.cpu.write(buffer, offset, words)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, out: &mut [u32]) -> Result<(), DeviceError> {
        self.cpu.read(buffer, offset, out)
    }
    fn prepare(&mut self, plan: &Plan) -> Result<PlanId, DeviceError> {
        self.cpu.prepare(plan)
    }
    fn run(&mut self, plans: &[PlanId], times: usize) -> Result<(), DeviceError> {
        match self.left.load(Ordering::SeqCst) {
            0 => Err(DeviceError::Lost { device: self.name(), reason: "unplugged".into() }),
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                self.cpu.run(plans, times)
            }
        }
    }
    fn profile(&mut self, plan: PlanId, times: usize) -> Result<Vec<Duration>, DeviceError> {
        self.cpu.profile(plan, times)
    }
    fn wait(&mut self) -> Result<(), DeviceError> {
        self.cpu.wait()
    }
}

/// A reader on such a device, with `fast` open.
fn reader(runs: usize) -> Reader {
    let left = Arc::new(AtomicUsize::new(runs));
    let opener: Opener = Box::new(move || Ok(Box::new(Failing { cpu: Cpu::new(), left: Arc::clone(&left) })));
    let mut reader = Reader::start_on(opener, egui::Context::default());
    open(&mut reader, "fast");
    reader
}

fn open(reader: &mut Reader, model: &str) {
    reader.open(Path::new(model));
    while !reader.poll() {
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
    Question { field, prepared: true, wanted: Wanted::default(), asked: Instant::now() }
}

fn ask(reader: &mut Reader) -> usize {
    let question = one();
    let asked = question.asked;
    reader.ask(question);
    let began = Instant::now();
    loop {
        reader.poll();
        if let Some(answer) = reader.answer().filter(|answer| answer.question.asked == asked) {
            return super::super::bars::ranked(&answer.pass().probabilities)[0];
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
    let said = reader.take_problem().unwrap();
    assert!(said.contains("unplugged") && said.contains("goes on with CPU"), "{said}");
    assert!(reader.about().unwrap().device.starts_with("CPU"));
}

#[test]
fn what_cannot_be_opened_leaves_the_model_before_it_at_work() {
    let mut reader = reader(1000);
    open(&mut reader, "no/such/file.safetensors");
    assert!(reader.take_problem().unwrap().contains("no/such/file.safetensors"));
    assert_eq!(reader.about().unwrap().path, Path::new("fast"));
    assert_eq!(ask(&mut reader), 1);
}

#[test]
fn an_answer_is_never_of_a_model_that_is_gone() {
    let mut reader = reader(1000);
    reader.ask(one());
    std::thread::sleep(Duration::from_millis(200));
    // It is there, and was not taken in.
    reader.open(Path::new("dense"));
    while !reader.poll() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(reader.answer().is_none());
    assert_eq!(ask(&mut reader), 1);
}

#[test]
fn errands_are_done_one_after_another() {
    let mut reader = reader(1000);
    let done = Arc::new(Mutex::new(Vec::new()));
    for i in 0..5 {
        let done = Arc::clone(&done);
        reader.send(Box::new(move |look| done.lock().unwrap().push((i, look.class_names().len()))));
    }
    while done.lock().unwrap().len() < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(*done.lock().unwrap(), [(0, 10), (1, 10), (2, 10), (3, 10), (4, 10)]);
}
