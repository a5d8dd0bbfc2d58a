//! A generator that draws, and the judge that reads what it has drawn, in a thread of their own, so that the window
//! never waits for them. Only the newest question counts: older ones that were not begun are dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::save::{self, Job};
use super::wish::Wish;
use crate::app::post::Post;
use crate::device::cpu::Cpu;
use crate::device::{Choice, Device, DeviceError};
use crate::infer::evaluate::{most_likely, softmax};
use crate::infer::{Classifier, Generator, InferError, Sampler, classify};
use crate::models::{ModelFile, by};

/// How many pictures are drawn, and read, at a time: few, so that a single one comes quickly.
const BATCH: usize = 32;

/// What is known of a generator once it is open.
#[derive(Clone, Debug)]
pub struct About {
    /// As it was asked for.
    pub path: PathBuf,
    pub class_names: Vec<String>,
    /// Height, width, channels.
    pub image: [usize; 3],
    /// Numbers in a latent.
    pub numbers: usize,
    pub judge: Judged,
    pub device: String,
}

/// Whether the judge reads what a generator draws.
#[derive(Clone, PartialEq, Debug)]
pub enum Judged {
    /// It does, under these class names.
    As(Vec<String>),
    /// It does not, for this reason.
    Not(String),
}

/// What the judge makes of a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// One of the judge's classes.
    pub class: usize,
    /// The judge's probability.
    pub share: f32,
    /// Whether it is the class that was asked for; `None` if none was.
    pub as_asked: Option<bool>,
}

/// The pictures of a wish.
pub struct Answer {
    pub wish: Wish,
    /// The current digit and those of the view, one after another, as bytes.
    pub pictures: Vec<u8>,
    /// One for each picture, or none at all.
    pub readings: Vec<Reading>,
    pub seconds: f64,
}

/// Opens the device that was chosen.
type Opener = Box<dyn Fn() -> Result<Box<dyn Device>, DeviceError> + Send>;

#[derive(Default)]
struct Mail {
    open: Option<PathBuf>,
    wish: Option<Wish>,
    save: Option<Job>,
    over: bool,
    // And back:
    opened: Option<Result<About, String>>,
    answer: Option<Result<Answer, String>>,
    saved: Option<Result<PathBuf, String>>,
    /// The same generator, opened anew after its device failed, and the message about it.
    moved: Option<(About, String)>,
}

pub struct Engine {
    post: Arc<Post<Mail>>,
    about: Option<About>,
    answer: Option<Answer>,
    problems: Vec<String>,
    saved: Option<PathBuf>,
    opening: bool,
    saving: bool,
}

/// What [`Engine::poll`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Another generator, which has not been asked anything yet.
    pub generator: bool,
    pub answer: bool,
}

impl Engine {
    /// Starts the thread; `wake` is called when it has done something.
    pub fn start(choice: Choice, wake: impl Fn() + Send + 'static) -> Engine {
        Engine::start_on(Box::new(move || choice.open()), wake)
    }

    fn start_on(opener: Opener, wake: impl Fn() + Send + 'static) -> Engine {
        let post = Arc::new(Post::<Mail>::default());
        let theirs = Arc::clone(&post);
        let started = std::thread::Builder::new().name("dream".into()).spawn(move || serve(&theirs, &opener, &wake));
        let problems = started.err().map(|error| format!("cannot start a drawing thread: {error}. Reopen the window"));
        let problems = problems.into_iter().collect();
        Engine { post, about: None, answer: None, problems, saved: None, opening: false, saving: false }
    }

    /// Opens another generator: the name of a shipped one, a file or a run's folder. Until then the previous one draws.
    pub fn open(&mut self, path: &Path) {
        self.opening = true;
        self.post.send(|mail| mail.open = Some(path.to_owned()));
    }

    pub fn ask(&mut self, wish: Wish) {
        self.post.send(|mail| mail.wish = Some(wish));
    }

    pub fn save(&mut self, job: Job) {
        self.saving = true;
        self.post.send(|mail| mail.save = Some(job));
    }

    /// Waits until what is being saved is saved, but no longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        if self.saving {
            self.post.wait_while(patience, |mail| mail.saved.is_none());
        }
    }

    /// Takes in what has come.
    pub fn poll(&mut self) -> News {
        let (opened, answer, saved, moved) = {
            let mut mail = self.post.mail();
            (mail.opened.take(), mail.answer.take(), mail.saved.take(), mail.moved.take())
        };
        let mut news = News::default();
        match opened {
            Some(Ok(about)) => {
                (self.about, self.answer) = (Some(about), None);
                (self.opening, news.generator) = (false, true);
            }
            Some(Err(problem)) => {
                self.opening = false;
                self.problems.push(problem);
            }
            None => {}
        }
        if let Some((about, problem)) = moved {
            self.about = Some(about);
            self.problems.push(problem);
        }
        match answer {
            Some(Ok(answer)) => (self.answer, news.answer) = (Some(answer), true),
            Some(Err(problem)) => self.problems.push(problem),
            None => {}
        }
        self.saving &= saved.is_none();
        match saved {
            Some(Ok(path)) => self.saved = Some(path),
            Some(Err(problem)) => self.problems.push(problem),
            None => {}
        }
        news
    }

    /// The generator that draws: still the previous one while another is being opened, or if it could not be.
    pub fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }
    /// What went wrong since the last call.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }
    /// The file that was written last.
    pub fn saved(&self) -> Option<&Path> {
        self.saved.as_deref()
    }
    pub fn is_opening(&self) -> bool {
        self.opening
    }
    pub fn is_saving(&self) -> bool {
        self.saving
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.post.send(|mail| mail.over = true);
    }
}

/// The thread's loop: it opens generators first, then fulfils wishes, then saves pictures. What was to be saved is
/// saved even if the window closes.
fn serve(post: &Post<Mail>, opener: &Opener, wake: &impl Fn()) {
    let mut atelier: Option<Atelier> = None;
    loop {
        let mut mail = post.mail();
        while !mail.over && mail.open.is_none() && mail.wish.is_none() && mail.save.is_none() {
            mail = post.wait(mail);
        }
        if mail.over {
            let job = mail.save.take();
            drop(mail);
            if let Some(job) = job {
                write(post, &job);
            }
            return;
        }
        if let Some(path) = mail.open.take() {
            drop(mail);
            let opened = Atelier::open(opener, &path);
            let mut mail = post.mail();
            mail.opened = Some(opened.map(|opened| {
                // What the previous generator has drawn may be of another size, and is no longer an answer.
                (mail.answer, mail.moved) = (None, None);
                atelier.insert(opened).about.clone()
            }));
        } else if let Some(wish) = mail.wish.take() {
            drop(mail);
            if let Some(open) = atelier.as_mut().filter(|atelier| atelier.fits(&wish)) {
                let answer = match open.fulfil(&wish) {
                    Ok(answer) => Ok(answer),
                    // Only an error of the device is worth a try elsewhere.
                    Err(InferError::Device(error)) => elsewhere(post, &mut atelier, opener, &wish, &error),
                    Err(error) => Err(error.to_string()),
                };
                post.mail().answer = Some(answer);
            }
        } else if let Some(job) = mail.save.take() {
            drop(mail);
            write(post, &job);
        }
        wake();
    }
}

fn write(post: &Post<Mail>, job: &Job) {
    let saved = save::numbered(job);
    post.send(|mail| mail.saved = Some(saved));
}

/// After a failure of the device: opens the generator on it anew, or else on the CPU, and draws from there.
fn elsewhere(
    post: &Post<Mail>,
    atelier: &mut Option<Atelier>,
    opener: &Opener,
    wish: &Wish,
    error: &DeviceError,
) -> Result<Answer, String> {
    let failed = format!("the device failed ({error})");
    let Some(path) = atelier.take().map(|atelier| atelier.about.path) else { return Err(failed) };
    let cpu: Opener = Box::new(|| Ok(Box::new(Cpu::new()) as Box<dyn Device>));
    for opener in [opener, &cpu] {
        // The file may have changed by now.
        let Some(mut opened) = Atelier::open(opener, &path).ok().filter(|opened| opened.fits(wish)) else { continue };
        if let Ok(answer) = opened.fulfil(wish) {
            let about = atelier.insert(opened).about.clone();
            let problem = format!("{failed}; the generator continues on {}", about.device);
            post.mail().moved = Some((about, problem));
            return Ok(answer);
        }
    }
    Err(format!("{failed}, and the generator cannot be reopened; choose a generator to try again"))
}

/// A generator and the judge, each on a device of its own.
struct Atelier {
    about: About,
    device: Box<dyn Device>,
    sampler: Sampler,
    judge: Option<(Classifier, Box<dyn Device>)>,
}

impl Atelier {
    fn open(opener: &Opener, wanted: &Path) -> Result<Atelier, String> {
        let (file, path) = ModelFile::open(wanted).map_err(|error| error.to_string())?;
        if !file.is_gan() {
            let name = path.display();
            return Err(format!("{name} holds a classifier, which cannot draw; choose a generator, such as gan"));
        }
        let generator = Generator::new(file, &path).map_err(|error| error.to_string())?;
        let mut device = opener().map_err(|error| error.to_string())?;
        let sampler = Sampler::open_for(BATCH, &generator, device.as_mut()).map_err(|error| error.to_string())?;
        let judge = judge(opener, &generator);
        let about = About {
            path: wanted.to_owned(),
            class_names: generator.class_names().to_vec(),
            image: generator.image(),
            numbers: generator.latent(),
            judge: match &judge {
                Ok((judge, _)) => Judged::As(judge.class_names().to_vec()),
                Err(problem) => Judged::Not(problem.clone()),
            },
            device: device.name(),
        };
        Ok(Atelier { about, device, sampler, judge: judge.ok() })
    }

    /// Whether the wish fits this generator.
    fn fits(&self, wish: &Wish) -> bool {
        wish.settings.fits(self.about.numbers, self.about.class_names.len())
    }

    fn fulfil(&mut self, wish: &Wish) -> Result<Answer, InferError> {
        let begun = Instant::now();
        let digits = wish.digits();
        let (latents, labels) = wish.inputs(&digits);
        let pictures = self.sampler.draw(self.device.as_mut(), &latents, &labels)?;
        let mut readings = Vec::with_capacity(digits.len());
        if let Some((judge, device)) = &mut self.judge {
            let size: usize = self.about.image.iter().product();
            let names = judge.class_names().to_vec();
            for (pictures, digits) in pictures.chunks(BATCH * size).zip(digits.chunks(BATCH)) {
                let logits = judge.logits(device.as_mut(), pictures)?;
                for (row, digit) in logits.chunks_exact(names.len()).zip(digits) {
                    let asked = wish.asked(readings.len(), digit);
                    let asked = asked.and_then(|class| self.about.class_names.get(class));
                    let (class, share) = answer(row);
                    readings.push(Reading {
                        class,
                        share,
                        as_asked: asked.map(|asked| names.get(class) == Some(asked)),
                    });
                }
            }
        }
        Ok(Answer { wish: wish.clone(), pictures, readings, seconds: begun.elapsed().as_secs_f64() })
    }
}

fn answer(logits: &[f32]) -> (usize, f32) {
    let best = most_likely(logits);
    (best, softmax(logits).get(best).copied().unwrap_or(0.0) as f32)
}

/// The judge shipped with the program, if it can read this generator's pictures at all; otherwise why not.
fn judge(opener: &Opener, generator: &Generator) -> Result<(Classifier, Box<dyn Device>), String> {
    let (file, path) = classify::default_model().map_err(|error| error.to_string())?;
    let names = file.class_names(&path).map_err(|error| error.to_string())?;
    let reads = file.input(&path).map_err(|error| error.to_string())?;
    if reads != generator.image() {
        let (reads, drawn) = (by(&reads), by(&generator.image()));
        return Err(format!("the judge reads {reads} pictures, and these are {drawn}"));
    }
    if let Some(foreign) = generator.class_names().iter().find(|name| !names.contains(name)) {
        return Err(format!("the judge knows only digits, not the class {foreign:?}"));
    }
    let mut device = opener().map_err(|error| error.to_string())?;
    let judge = Classifier::open(device.as_mut(), &file, &path, BATCH, 1).map_err(|error| error.to_string())?;
    Ok((judge, device))
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
