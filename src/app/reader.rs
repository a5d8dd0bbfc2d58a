//! A classifier that reads in a thread of its own, so that the window never waits for it. Only the newest question
//! counts: older ones that were not begun are dropped.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eframe::egui;
use image::{DynamicImage, GrayImage};

use super::post::Post;
use crate::device::cpu::Cpu;
use crate::device::{Choice, Device, DeviceError};
use crate::infer::InferError;
use crate::infer::look::{Anatomy, FIELD, Look, Pass, Wanted};
use crate::models::ModelFile;
use crate::pictures::prepare::{Invert, Mode, Preparation, prepare};

/// What is to be read.
#[derive(Clone)]
pub struct Question {
    /// `FIELD` x `FIELD` bytes.
    pub field: Arc<Vec<u8>>,
    /// Which of the two passes is looked into: the drawing as MNIST's makers would have prepared it, or as it is.
    pub prepared: bool,
    /// What is wanted of that pass besides the probabilities.
    pub wanted: Wanted,
    /// When the drawing changed.
    pub asked: Instant,
    /// Whether the pen changed it: then the time until the answer is measured.
    pub by_pen: bool,
}

impl Question {
    /// Whether the answer would be the same.
    pub fn is_like(&self, other: &Question) -> bool {
        Arc::ptr_eq(&self.field, &other.field) && self.prepared == other.prepared && self.wanted == other.wanted
    }
}

/// What the network makes of a drawing.
pub struct Answer {
    /// Average-pooled to the network's size.
    pub drawn: Pass,
    /// Cropped, scaled and centred as MNIST was; absent where that is the same for this network.
    pub prepared: Option<Pass>,
    pub question: Question,
}

impl Answer {
    /// The pass that counts.
    pub fn pass(&self) -> &Pass {
        match &self.prepared {
            Some(prepared) if self.question.prepared => prepared,
            _ => &self.drawn,
        }
    }
}

/// What is known of a classifier once it is open.
#[derive(Clone)]
pub struct About {
    pub path: PathBuf,
    pub class_names: Vec<String>,
    /// Height, width, channels.
    pub input: [usize; 3],
    /// Its layers and weights.
    pub anatomy: Arc<Anatomy>,
    pub device: String,
}

/// Something the user asks for that takes longer than a pass. Errands are run one after another, between two
/// questions; those for a model that is gone are dropped.
pub type Errand = Box<dyn FnOnce(&mut Look) + Send>;

/// Opens the device that was chosen.
type Opener = Box<dyn Fn() -> Result<Box<dyn Device>, DeviceError> + Send>;

#[derive(Default)]
struct Mail {
    open: Option<PathBuf>,
    /// With the number of the model that it is for.
    question: Option<(u64, Question)>,
    errands: VecDeque<Errand>,
    over: bool,
    // And back:
    opened: Option<(u64, About)>,
    /// Why the newest model did not open.
    refused: Option<String>,
    answer: Option<Result<Answer, String>>,
    /// The same model, opened anew after its device failed, and the message about it.
    moved: Option<(About, String)>,
}

pub struct Reader {
    post: Arc<Post<Mail>>,
    about: Option<About>,
    answer: Option<Answer>,
    problem: Option<String>,
    opening: bool,
    opened: u64,
}

impl Reader {
    /// Starts the thread, which wakes `ctx` when an answer is there.
    pub fn start(choice: Choice, ctx: egui::Context) -> Reader {
        Reader::start_on(Box::new(move || choice.open()), ctx)
    }

    fn start_on(opener: Opener, ctx: egui::Context) -> Reader {
        let post = Arc::new(Post::<Mail>::default());
        let theirs = Arc::clone(&post);
        let started = std::thread::Builder::new().name("reader".into()).spawn(move || serve(&theirs, &opener, &ctx));
        let problem = started.err().map(|error| format!("cannot start a thread to read drawings: {error}"));
        Reader { post, about: None, answer: None, problem, opening: false, opened: 0 }
    }

    /// Opens another model: the name of a shipped one, a file or a run's folder.
    pub fn open(&mut self, path: &Path) {
        self.opening = true;
        self.post.send(|mail| mail.open = Some(path.to_owned()));
    }

    pub fn ask(&mut self, question: Question) {
        let of = self.opened;
        self.post.send(|mail| mail.question = Some((of, question)));
    }

    /// Waits briefly for the answer to the newest question: most networks are so fast that the frame that took the
    /// pen's movement can show it.
    pub fn wait(&self, patience: Duration) {
        self.post.wait_while(patience, |mail| mail.answer.is_none() && mail.opened.is_none() && mail.refused.is_none());
    }

    /// Gives the thread something else to do with the network, after what was asked before.
    pub fn send(&mut self, errand: Errand) {
        self.post.send(|mail| mail.errands.push_back(errand));
    }

    /// Takes in what has come; true if a model has come, which has not been asked anything yet.
    pub fn poll(&mut self) -> bool {
        let (opened, refused, answer, moved) = {
            let mut mail = self.post.mail();
            (mail.opened.take(), mail.refused.take(), mail.answer.take(), mail.moved.take())
        };
        let is_new = opened.is_some() || refused.is_some();
        if let Some((number, about)) = opened {
            self.about = Some(about);
            self.opened = number;
            self.answer = None;
            self.problem = None;
            self.opening = false;
        }
        if let Some(problem) = refused {
            self.problem = Some(problem);
            self.opening = false;
        }
        if let Some((about, problem)) = moved {
            self.about = Some(about);
            self.problem = Some(problem);
        }
        match answer {
            Some(Ok(answer)) => self.answer = Some(answer),
            Some(Err(problem)) => self.problem = Some(problem),
            None => {}
        }
        is_new
    }

    /// The model that answers: still the previous one while another is being opened, or if it could not be.
    pub fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }
    /// The number of the model that answers; it tells the results of different models apart.
    pub fn opened(&self) -> u64 {
        self.opened
    }
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }
    /// What went wrong since the last call.
    pub fn take_problem(&mut self) -> Option<String> {
        self.problem.take()
    }
    pub fn is_opening(&self) -> bool {
        self.opening
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.post.send(|mail| mail.over = true);
    }
}

/// The thread's loop: it opens models first, then answers questions, then runs errands.
fn serve(post: &Post<Mail>, opener: &Opener, ctx: &egui::Context) {
    let mut open: Option<Open> = None;
    let mut number = 0;
    loop {
        let mut mail = post.mail();
        while !mail.over && mail.open.is_none() && mail.question.is_none() && mail.errands.is_empty() {
            mail = post.wait(mail);
        }
        if mail.over {
            return;
        }
        if let Some(wanted) = mail.open.take() {
            drop(mail);
            let opened = Model::load(wanted).and_then(|model| model.on(opener()));
            post.send(|mail| match opened {
                Ok((opened, about)) => {
                    // What was asked of the previous model, and its answer, do not apply to this one.
                    (mail.question, mail.answer, mail.moved) = (None, None, None);
                    mail.errands.clear();
                    open = Some(opened);
                    number += 1;
                    mail.opened = Some((number, about));
                }
                Err(problem) => mail.refused = Some(problem),
            });
        } else if let Some((of, question)) = mail.question.take() {
            drop(mail);
            // A question for the previous model may refer to other classes; whoever asked it asks again.
            if let Some(Open { look, .. }) = open.as_mut().filter(|_| of == number) {
                let answer = match read(look, question.clone()) {
                    Ok(answer) => Ok(answer),
                    // Only an error of the device is worth a try elsewhere.
                    Err(InferError::Device(error)) => elsewhere(post, &mut open, opener, question, &error),
                    Err(error) => Err(error.to_string()),
                };
                post.send(|mail| mail.answer = Some(answer));
            }
        } else if let Some(errand) = mail.errands.pop_front() {
            drop(mail);
            if let Some(Open { look, .. }) = &mut open {
                errand(look);
            }
        }
        ctx.request_repaint();
    }
}

/// A model, and the network made from it.
struct Open {
    model: Model,
    look: Look,
}

#[derive(Clone)]
struct Model {
    file: ModelFile,
    /// The path that error messages name,
    path: PathBuf,
    /// and the one that the user chose.
    wanted: PathBuf,
}

impl Model {
    fn load(wanted: PathBuf) -> Result<Model, String> {
        let (file, path) = super::menu::load(&wanted)?;
        Ok(Model { file, path, wanted })
    }

    fn on(self, device: Result<Box<dyn Device>, DeviceError>) -> Result<(Open, About), String> {
        let device = device.map_err(|error| error.to_string())?;
        let look = Look::open(device, &self.file, &self.path).map_err(|error| error.to_string())?;
        let about = About {
            path: self.wanted.clone(),
            class_names: look.class_names().to_vec(),
            input: look.input(),
            anatomy: look.anatomy(),
            device: look.device_name(),
        };
        Ok((Open { model: self, look }, about))
    }
}

/// After a failure of the device: opens the model on it anew, or else on the CPU, and answers from there.
fn elsewhere(
    post: &Post<Mail>,
    open: &mut Option<Open>,
    opener: &Opener,
    question: Question,
    error: &DeviceError,
) -> Result<Answer, String> {
    let failed = format!("the device failed ({error})");
    let Some(Open { model, .. }) = open.take() else { return Err(failed) };
    for device in [opener(), Ok(Box::new(Cpu::new()) as Box<dyn Device>)] {
        let Ok((mut opened, about)) = model.clone().on(device) else { continue };
        if let Ok(answer) = read(&mut opened.look, question.clone()) {
            *open = Some(opened);
            let on = about.device.clone();
            post.mail().moved = Some((about, format!("{failed}; the model continues on {on}")));
            return Ok(answer);
        }
    }
    Err(format!("{failed}, and the model cannot be reopened; choose a model to try again"))
}

fn read(look: &mut Look, question: Question) -> Result<Answer, InferError> {
    let none = Wanted::default();
    let prepared = prepared(&question.field, look.input());
    let into_prepared = question.prepared && prepared.is_some();
    let [of_drawn, of_prepared] = if into_prepared { [none, question.wanted] } else { [question.wanted, none] };
    let drawn = look.field(&question.field, of_drawn)?;
    let prepared = prepared.map(|picture| look.picture(&picture, of_prepared)).transpose()?;
    Ok(Answer { drawn, prepared, question })
}

/// A drawing as MNIST's makers would have prepared it, as bytes of the network's size; `None` for a blank one.
fn prepared(field: &[u8], input: [usize; 3]) -> Option<Vec<u8>> {
    let side = FIELD as u32;
    let field = DynamicImage::ImageLuma8(GrayImage::from_raw(side, side, field.to_vec())?);
    let how = Preparation { mode: Mode::Always, invert: Invert::Never, ..Preparation::default() };
    let prepared = prepare(&field, input, &how);
    (!prepared.blank && input[2] == 1).then_some(prepared.pixels)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
