//! A model at work in a thread of its own, so that the window never waits for it. Only the newest question counts:
//! older ones that were not begun are dropped.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::post::Post;
use crate::device::cpu::Cpu;
use crate::device::{Choice, Device, DeviceError};
use crate::infer::InferError;
use crate::models::ModelFile;

/// Opens the device that was chosen.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Device>, DeviceError> + Send>;

/// A model that is open on a device, and answers questions there.
pub trait Model: Sized + 'static {
    /// What is known of it once it is open.
    type About: Clone + Send;
    type Question: Clone + Send;
    type Answer: Send;

    /// What messages call it.
    const KIND: &'static str;

    /// Reads the file that was chosen.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    fn load(chosen: &Path) -> Result<ModelFile, String>;

    /// # Errors
    /// Why it cannot be opened, in words.
    fn open(file: &File, opener: &Opener) -> Result<(Self, Self::About), String>;

    /// # Errors
    /// Errors of the device, and questions that cannot be answered.
    fn answer(&mut self, question: &Self::Question) -> Result<Self::Answer, InferError>;

    /// The name of its device.
    fn device(about: &Self::About) -> &str;
}

/// A model's file.
pub struct File {
    pub file: ModelFile,
    /// The path that the user chose, such as that of a run's folder.
    pub chosen: PathBuf,
}

/// Something the user asks for that takes longer than an answer. Errands are run one after another; those for a model
/// that is gone are dropped. An errand works in turns, since no question is answered during one, and returns whether it
/// is to have another.
pub type Errand<M> = Box<dyn FnMut(&mut M) -> bool + Send>;

struct Mail<M: Model> {
    open: Option<PathBuf>,
    /// With the number of the model that it is for.
    question: Option<(u64, M::Question)>,
    errands: VecDeque<Errand<M>>,
    over: bool,
    // And back:
    /// Whether a model is being opened that was taken from `open`.
    is_opening: bool,
    opened: Option<(u64, M::About)>,
    /// Why a model did not open.
    refused: Option<String>,
    answer: Option<Result<M::Answer, String>>,
    /// The same model, opened anew after its device failed, and the message about it.
    moved: Option<(M::About, String)>,
}

impl<M: Model> Default for Mail<M> {
    fn default() -> Mail<M> {
        Mail {
            open: None,
            question: None,
            errands: VecDeque::new(),
            over: false,
            is_opening: false,
            opened: None,
            refused: None,
            answer: None,
            moved: None,
        }
    }
}

/// The window's side of the thread.
pub struct Worker<M: Model> {
    post: Arc<Post<Mail<M>>>,
    about: Option<M::About>,
    answer: Option<M::Answer>,
    problems: Vec<String>,
    opening: bool,
    opened: u64,
    /// What is opened while no model is, the last of these first.
    fallbacks: Vec<PathBuf>,
}

/// What [`Worker::poll`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Another model, which has not been asked anything yet.
    pub opened: bool,
    /// A model did not open.
    pub refused: bool,
    pub answered: bool,
}

impl<M: Model> Worker<M> {
    /// Starts the thread; `wake` is called when it has done something.
    pub fn start(choice: Choice, wake: impl Fn() + Send + 'static) -> Worker<M> {
        Worker::start_on(Box::new(move || choice.open()), wake)
    }

    /// [`Worker::start`] with any device.
    pub fn start_on(opener: Opener, wake: impl Fn() + Send + 'static) -> Worker<M> {
        let post = Arc::new(Post::<Mail<M>>::default());
        let theirs = Arc::clone(&post);
        let started = std::thread::Builder::new().name(M::KIND.into()).spawn(move || serve(&theirs, &opener, &wake));
        let problem = started.err();
        let problem = problem.map(|error| format!("cannot start a thread for the {}: {error}", M::KIND));
        let problems = problem.into_iter().collect();
        Worker { post, about: None, answer: None, problems, opening: false, opened: 0, fallbacks: Vec::new() }
    }

    /// Opens the remembered model where no other is chosen, or the chosen one does not open, and the usual one where that
    /// fails too.
    pub fn fall_back_on(&mut self, remembered: Option<&Path>, usual: &str) {
        self.fallbacks = [Some(Path::new(usual)), remembered].into_iter().flatten().map(Path::to_owned).collect();
    }

    /// Opens another model: the name of a shipped one, a file or a run's folder. Until then the previous one answers.
    pub fn open(&mut self, path: &Path) {
        self.opening = true;
        self.post.send(|mail| mail.open = Some(path.to_owned()));
    }

    pub fn ask(&mut self, question: M::Question) {
        let of = self.opened;
        self.post.send(|mail| mail.question = Some((of, question)));
    }

    /// Waits briefly for the answer to the newest question: most networks are so fast that the frame that took the
    /// pen's movement can show it.
    pub fn wait(&self, patience: Duration) {
        self.post.wait_while(patience, |mail| mail.answer.is_none() && mail.opened.is_none() && mail.refused.is_none());
    }

    /// Gives the thread something else to do with the model, after what was asked before.
    pub fn send(&mut self, errand: Errand<M>) {
        self.post.send(|mail| mail.errands.push_back(errand));
    }

    /// Takes in what has come.
    pub fn poll(&mut self) -> News {
        let (opened, refused, answer, moved) = {
            let mut mail = self.post.mail();
            // What has come may be of a model that was chosen before another one.
            self.opening = mail.is_opening || mail.open.is_some();
            (mail.opened.take(), mail.refused.take(), mail.answer.take(), mail.moved.take())
        };
        let mut news = News { opened: opened.is_some(), refused: refused.is_some(), answered: false };
        if let Some((number, about)) = opened {
            (self.about, self.answer, self.opened) = (Some(about), None, number);
        }
        self.problems.extend(refused);
        if let Some((about, problem)) = moved {
            self.about = Some(about);
            self.problems.push(problem);
        }
        match answer {
            Some(Ok(answer)) => (self.answer, news.answered) = (Some(answer), true),
            Some(Err(problem)) => self.problems.push(problem),
            None => {}
        }
        if self.about.is_none()
            && !self.opening
            && let Some(path) = self.fallbacks.pop()
        {
            self.open(&path);
        }
        news
    }

    /// The model that answers: still the previous one while another is being opened, or if it could not be.
    pub fn about(&self) -> Option<&M::About> {
        self.about.as_ref()
    }
    /// The number of the model that answers; it tells the results of different models apart.
    pub fn opened(&self) -> u64 {
        self.opened
    }
    pub fn answer(&self) -> Option<&M::Answer> {
        self.answer.as_ref()
    }
    /// What went wrong since the last call.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }
    pub fn is_opening(&self) -> bool {
        self.opening
    }
}

impl<M: Model> Drop for Worker<M> {
    fn drop(&mut self) {
        self.post.send(|mail| mail.over = true);
    }
}

/// What the thread has open.
struct Open<M> {
    file: File,
    model: M,
}

/// The thread's loop: it opens models first, then answers questions, then gives the first errand a turn.
fn serve<M: Model>(post: &Post<Mail<M>>, opener: &Opener, wake: &impl Fn()) {
    let mut open: Option<Open<M>> = None;
    let mut number = 0;
    loop {
        let mut mail = post.mail();
        while !mail.over && mail.open.is_none() && mail.question.is_none() && mail.errands.is_empty() {
            mail = post.wait(mail);
        }
        if mail.over {
            return;
        }
        if let Some(chosen) = mail.open.take() {
            mail.is_opening = true;
            drop(mail);
            let opened = load::<M>(chosen).and_then(|file| on(opener, file));
            post.send(|mail| {
                mail.is_opening = false;
                match opened {
                    Ok((opened, about)) => {
                        // What was asked of the previous model, and its answer, do not apply to this one.
                        (mail.question, mail.answer, mail.moved) = (None, None, None);
                        mail.errands.clear();
                        open = Some(opened);
                        number += 1;
                        mail.opened = Some((number, about));
                    }
                    Err(problem) => mail.refused = Some(problem),
                }
            });
        } else if let Some((of, question)) = mail.question.take() {
            drop(mail);
            // A question for the previous model may refer to other classes; whoever asked it asks again.
            if let Some(Open { model, .. }) = open.as_mut().filter(|_| of == number) {
                let answer = match model.answer(&question) {
                    Ok(answer) => Ok(answer),
                    // Only an error of the device is worth a try elsewhere.
                    Err(InferError::Device(error)) => elsewhere(post, &mut open, opener, &question, &error),
                    Err(error) => Err(error.to_string()),
                };
                post.send(|mail| mail.answer = Some(answer));
            }
        } else if let Some(mut errand) = mail.errands.pop_front() {
            drop(mail);
            if open.as_mut().is_some_and(|Open { model, .. }| errand(model)) {
                // It has nothing to show yet.
                post.mail().errands.push_front(errand);
                continue;
            }
        }
        wake();
    }
}

fn load<M: Model>(chosen: PathBuf) -> Result<File, String> {
    Ok(File { file: M::load(&chosen)?, chosen })
}

fn on<M: Model>(opener: &Opener, file: File) -> Result<(Open<M>, M::About), String> {
    let (model, about) = M::open(&file, opener)?;
    Ok((Open { file, model }, about))
}

/// After a failure of the device: opens the model on it anew, or else on the CPU, and answers from there.
fn elsewhere<M: Model>(
    post: &Post<Mail<M>>,
    open: &mut Option<Open<M>>,
    opener: &Opener,
    question: &M::Question,
    error: &DeviceError,
) -> Result<M::Answer, String> {
    let (failed, kind) = (format!("the device failed ({error})"), M::KIND);
    // What is left of the failed device is given back first.
    let Some(Open { file, .. }) = open.take() else { return Err(failed) };
    let cpu: Opener = Box::new(|| Ok(Box::new(Cpu::new()) as Box<dyn Device>));
    for opener in [opener, &cpu] {
        let Ok((mut model, about)) = M::open(&file, opener) else { continue };
        if let Ok(answer) = model.answer(question) {
            *open = Some(Open { file, model });
            let message = format!("{failed}; the {kind} continues on {}", M::device(&about));
            post.mail().moved = Some((about, message));
            return Ok(answer);
        }
    }
    Err(format!("{failed}, and the {kind} cannot be reopened; choose a {kind} to try again"))
}
