//! The training run in a thread of its own, on a device of its own. It works in slices so short that the user's wishes
//! take effect at once; while there is nothing to do it sleeps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eframe::egui;

use super::keep::{Spare, keep};
use super::news::{Began, News, Now, Phase, Watched};
use crate::app::post::Post;
use crate::data::{DataSet, ImageSet, mnist};
use crate::device::{Choice, DeviceError};
use crate::models::Architecture;
use crate::train::{Live, Settings, TrainError};

/// Images that are watched: none of them is trained on.
pub const WATCHED: usize = 500;
/// The shortest time between two pictures, and the time of a slice.
const FRAME: f64 = 1.0 / 30.0;
/// The longest between two pictures, and the shortest between two looks at the watched images.
const BEAT: f64 = 0.25;
/// Looks may take one part of the time in this many.
const SHARE: f64 = 4.0;
/// Number of looks in a run so short that it would otherwise be over before the second one.
const LOOKS: usize = 20;
/// Steps in a slice at most.
const SLICE: f64 = 1000.0;
/// The least time before what a run has learned is saved again without being asked for.
const SPARE: Duration = Duration::from_secs(180);

/// What is to be trained.
pub struct Plan {
    pub architecture: Architecture,
    /// How many images of the built-in MNIST to train on; all of them, if there are fewer.
    pub images: usize,
    pub settings: Settings,
    /// The folder for what the run has learned and nobody keeps; without a folder it is lost.
    pub spare_in: Option<PathBuf>,
}

/// How much happens between two pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// This many steps, and no more pictures than an eye can follow.
    Steps(usize),
    /// As much as possible.
    Full,
}

struct Mail {
    run: bool,
    singles: usize,
    pace: Pace,
    keep: Option<PathBuf>,
    over: bool,
    /// Whether what the run tells at its end is still seen.
    is_seen: bool,
    // And back:
    ended: bool,
    news: News,
    /// Whether the window has been woken for the news.
    unread: bool,
    /// Whether some of that is told in any panel.
    urgent: bool,
}

/// The post, and the window to wake.
struct Desk {
    post: Post<Mail>,
    ctx: egui::Context,
}

impl Desk {
    fn new(pace: Pace, ctx: egui::Context) -> Desk {
        let news = News::default();
        let mail = Mail {
            run: true,
            singles: 0,
            pace,
            keep: None,
            over: false,
            is_seen: false,
            ended: false,
            news,
            unread: false,
            urgent: false,
        };
        Desk { post: Post::new(mail), ctx }
    }

    /// Tells the window, which is woken once for all news that it has not read, so a hidden window is left alone.
    fn tell(&self, write: impl FnOnce(&mut News)) {
        let mut mail = self.post.mail();
        write(&mut mail.news);
        if !std::mem::replace(&mut mail.unread, true) {
            drop(mail);
            self.ctx.request_repaint();
        }
    }

    /// Tells what any panel tells: the window is woken, whatever else it has not read.
    fn announce(&self, write: impl FnOnce(&mut News)) {
        let mut mail = self.post.mail();
        write(&mut mail.news);
        (mail.unread, mail.urgent) = (true, true);
        drop(mail);
        self.ctx.request_repaint();
    }

    /// The thread's last word.
    fn end(&self) {
        self.post.send(|mail| mail.ended = true);
        self.ctx.request_repaint();
    }
}

/// Why a run could not write what it has to, as far as the window has been told; `None` where nothing is unwritten.
#[derive(Default)]
pub struct Unwritten {
    /// What the user asked to keep.
    pub kept: Option<String>,
    /// What is written without being asked for.
    pub spare: Option<String>,
}

impl Unwritten {
    pub fn problems(&self) -> impl Iterator<Item = &String> {
        self.kept.iter().chain(&self.spare)
    }
}

/// The window's handle to a run; dropping it ends the run.
pub struct Trainer {
    desk: Arc<Desk>,
    pub unwritten: Unwritten,
}

impl Trainer {
    /// Starts the thread, which opens the device and trains, and wakes `ctx` when there is news.
    ///
    /// # Errors
    /// A message, if the system has no thread left.
    pub fn start(choice: Choice, plan: Plan, pace: Pace, ctx: egui::Context) -> Result<Trainer, String> {
        let desk = Arc::new(Desk::new(pace, ctx));
        let theirs = Arc::clone(&desk);
        let work = move || {
            if let Err(error) = work(&theirs, &choice, plan) {
                theirs.announce(|news| {
                    news.phase = Phase::Failed;
                    news.lost = is_lost(&error) && choice.adapter().is_some();
                    news.failed = Some(in_words(&error, news.lost));
                });
            }
            theirs.end();
        };
        let started = std::thread::Builder::new().name("trainer".into()).spawn(work);
        started.map_err(|error| format!("no thread for training: {error}. Close other programs and start again"))?;
        Ok(Trainer { desk, unwritten: Unwritten::default() })
    }

    /// A run that does nothing in its phase, and does not end.
    #[cfg(test)]
    pub fn stuck(phase: Phase) -> Trainer {
        let desk = Desk::new(Pace::Full, egui::Context::default());
        desk.tell(|news| news.phase = phase);
        Trainer { desk: Arc::new(desk), unwritten: Unwritten::default() }
    }

    /// How it is to go on.
    #[cfg(test)]
    pub fn pace(&self) -> Pace {
        self.desk.post.mail().pace
    }

    /// Tells the window what no thread has done.
    #[cfg(test)]
    pub fn tell(&self, write: impl FnOnce(&mut News)) {
        self.desk.tell(write);
    }

    /// The same of what any panel tells.
    #[cfg(test)]
    pub fn announce(&self, write: impl FnOnce(&mut News)) {
        self.desk.announce(write);
    }

    fn wish(&self, wish: impl FnOnce(&mut Mail)) {
        self.desk.post.send(wish);
    }
    pub fn pause(&self) {
        self.wish(|mail| mail.run = false);
    }
    pub fn go_on(&self) {
        self.wish(|mail| mail.run = true);
    }
    /// Makes one step, and then pauses.
    pub fn step(&self) {
        self.wish(|mail| {
            mail.run = false;
            mail.singles += 1;
        });
    }
    pub fn set_pace(&self, pace: Pace) {
        self.wish(|mail| mail.pace = pace);
    }
    /// Writes the model as it is into a folder.
    pub fn keep(&self, folder: &Path) {
        self.wish(|mail| mail.keep = Some(folder.to_owned()));
    }
    /// Ends the run, once it has written what it has to, and looks at what it has learned.
    pub fn stop(&self) {
        self.wish(|mail| (mail.over, mail.is_seen) = (true, true));
    }
    /// Ends a run that nobody sees any more, once it has written what it has to.
    pub fn end(&self) {
        self.wish(|mail| (mail.over, mail.is_seen) = (true, false));
    }
    /// Whether the run has ended: after that it adds nothing to its news.
    pub fn is_over(&self) -> bool {
        self.desk.post.mail().ended
    }
    /// Whether the run has learned nothing yet.
    pub fn is_opening(&self) -> bool {
        self.desk.post.mail().news.phase == Phase::Opening
    }
    /// Waits for the run's end, but no longer than `patience`.
    pub fn wait(&self, patience: Duration) {
        self.desk.post.wait_while(patience, |mail| !mail.ended);
    }
    /// Whether the run is to go on by itself.
    pub fn is_going(&self) -> bool {
        self.desk.post.mail().run
    }

    /// Whether there is news that any panel tells, or there will be no more.
    pub fn is_urgent(&self) -> bool {
        let mail = self.desk.post.mail();
        mail.urgent || mail.ended
    }

    /// What has happened since the last call.
    pub fn news(&self) -> News {
        let mut mail = self.desk.post.mail();
        (mail.unread, mail.urgent) = (false, false);
        let phase = mail.news.phase;
        std::mem::replace(&mut mail.news, News { phase, ..News::default() })
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.end();
    }
}

enum Order {
    Over,
    Keep(PathBuf),
    Single,
    Run(Pace),
    Look,
}

/// Waits for what is to be done next, and returns it. Pictures are `stale` if they are older than the weights.
fn next(desk: &Desk, is_done: bool, stale: bool) -> Order {
    let mut mail = desk.post.mail();
    loop {
        // This comes first, since whoever ends a run still wants what was to be kept of it.
        if let Some(folder) = mail.keep.take() {
            return Order::Keep(folder);
        }
        if mail.over {
            return Order::Over;
        }
        if is_done {
            (mail.run, mail.singles) = (false, 0);
        }
        let phase = match mail.run {
            _ if is_done => Phase::Done,
            true => Phase::Running,
            false => Phase::Paused,
        };
        if mail.news.phase != phase {
            drop(mail);
            let tell = |news: &mut News| news.phase = phase;
            // No other panel tells that a run goes on, or is paused.
            match is_done {
                true => desk.announce(tell),
                false => desk.tell(tell),
            }
            mail = desk.post.mail();
            continue;
        }
        if mail.singles > 0 {
            mail.singles -= 1;
            return Order::Single;
        }
        if mail.run {
            return Order::Run(mail.pace);
        }
        if stale {
            return Order::Look;
        }
        mail = desk.post.wait(mail);
    }
}

fn work(desk: &Desk, choice: &Choice, plan: Plan) -> Result<(), TrainError> {
    let mut run = begin(desk, choice, plan)?;
    let ended = run.go();
    if let Err(error) = &ended
        && error.device().is_some_and(|error| !matches!(error, DeviceError::Hung { .. }))
    {
        // A device may refuse a step and still have the weights; if it is gone, there is nothing to save.
        let _ = run.spare();
    }
    ended
}

struct Running<'a> {
    live: Live,
    network: String,
    desk: &'a Desk,
    /// Seconds that a step takes, and seconds that a look takes.
    pace: [f64; 2],
    /// Steps since the last picture and since the last look, and when these two were.
    since: usize,
    since_look: usize,
    pictured: Instant,
    looked: Instant,
    stale: bool,
    spare_in: Option<PathBuf>,
    spare: Spare,
    /// The step of the model written last, and when a spare one was last tried.
    written: usize,
    spared: Instant,
    /// The best accuracy so far on the watched images.
    best: f64,
}

fn begin<'a>(desk: &'a Desk, choice: &Choice, plan: Plan) -> Result<Running<'a>, TrainError> {
    let mut all = mnist::embedded()?;
    let class_names = std::mem::take(&mut all.class_names);
    // The watched images come on top of those that are trained on.
    let first: Vec<usize> = (0..(plan.images.saturating_add(WATCHED)).min(all.train.len())).collect();
    let data = DataSet::new(all.name, all.train.select(&first), ImageSet::default(), class_names.clone());
    let network = plan.architecture.name.clone();
    let live = Live::start(choice.open()?, &plan.architecture, &data, plan.settings, WATCHED)?;
    let began = Began {
        network: network.clone(),
        device: live.device(),
        parameters: live.parameters(),
        total: live.total(),
        epochs: live.settings().epochs,
        rate: live.settings().learning_rate,
        label_smoothing: live.settings().label_smoothing,
        watched: Arc::new(live.watched().clone()),
        class_names,
    };
    desk.tell(|news| news.began = Some(began));
    let now = Instant::now();
    Ok(Running {
        live,
        network,
        desk,
        pace: [0.0; 2],
        since: 0,
        since_look: 0,
        pictured: now,
        looked: now,
        stale: true,
        spare_in: plan.spare_in,
        spare: Spare::default(),
        written: 0,
        spared: now,
        best: 0.0,
    })
}

impl Running<'_> {
    /// Does what is asked for, until the run is to end.
    fn go(&mut self) -> Result<(), TrainError> {
        self.look()?;
        loop {
            let is_done = self.live.step() == self.live.total();
            if is_done {
                self.spare()?;
            }
            match next(self.desk, is_done, self.stale) {
                Order::Over => return self.conclude(),
                Order::Keep(folder) => {
                    let model = self.live.model()?;
                    let kept = keep(&model, &folder, &self.network);
                    if kept.is_ok() {
                        self.written = self.live.step();
                    }
                    self.desk.announce(|news| news.kept = Some(kept));
                }
                Order::Single => self.steps(1).and_then(|()| self.look())?,
                Order::Look => self.look()?,
                Order::Run(pace) => self.slice(pace)?,
            }
        }
    }

    /// Writes what was learned, and then, if that is seen, looks at what was written: pictures and watched images are
    /// of that step, too.
    fn conclude(&mut self) -> Result<(), TrainError> {
        self.spare()?;
        // Asked only now: the window may have been closed meanwhile.
        let is_seen = self.desk.post.mail().is_seen;
        if is_seen && self.stale { self.look() } else { Ok(()) }
    }

    /// Writes the model, if it has changed since one was written last.
    fn spare(&mut self) -> Result<(), TrainError> {
        let Some(folder) = self.spare_in.as_deref().filter(|_| self.written != self.live.step()) else { return Ok(()) };
        let model = self.live.model()?;
        let written = self.spare.write(&model, folder, &self.network);
        if written.is_ok() {
            self.written = self.live.step();
        }
        // So that a full disk is not tried again at every look.
        self.spared = Instant::now();
        self.desk.announce(|news| {
            if let Ok((path, Some(before))) = &written {
                news.moved = Some([path.clone(), before.clone()]);
            }
            news.spare = Some(written.map(|(path, _)| path));
        });
        Ok(())
    }

    fn steps(&mut self, count: usize) -> Result<(), TrainError> {
        let began = Instant::now();
        let steps = self.live.steps(count)?;
        let seconds = began.elapsed().as_secs_f64() / steps.len().max(1) as f64;
        // The first steps are slower than the rest, so the old value loses half its weight each time.
        self.pace[0] = if self.pace[0] > 0.0 { (self.pace[0] + seconds) / 2.0 } else { seconds };
        self.since += steps.len();
        self.since_look += steps.len();
        self.stale = true;
        let now = self.now();
        self.desk.tell(|news| {
            news.steps.extend(steps);
            news.now = Some(now);
        });
        Ok(())
    }

    fn now(&self) -> Now {
        let live = &self.live;
        Now { step: live.step(), epoch: live.epoch(), images_per_second: live.images_per_second() }
    }

    /// Makes a few steps, and pictures when it is time for them.
    fn slice(&mut self, pace: Pace) -> Result<(), TrainError> {
        let wanted = match pace {
            Pace::Steps(wanted) => wanted.max(1),
            Pace::Full => usize::MAX,
        };
        let in_frame = (FRAME / self.pace[0].max(1e-9)).clamp(1.0, SLICE) as usize;
        // One step, if the run has not been timed yet.
        let in_frame = if self.pace[0] > 0.0 { in_frame } else { 1 };
        let part = self.live.total().div_ceil(LOOKS);
        self.steps(in_frame.min(part).min(wanted.saturating_sub(self.since)).max(1))?;
        let age = self.pictured.elapsed().as_secs_f64();
        let age_of_look = self.looked.elapsed().as_secs_f64();
        let look = age_of_look >= BEAT.max((SHARE - 1.0) * self.pace[1])
            || (self.since_look >= part && age_of_look >= self.pace[1]);
        if self.since >= wanted && age < FRAME {
            std::thread::sleep(Duration::from_secs_f64(FRAME - age));
        }
        match look {
            true => self.look(),
            false if self.since >= wanted || age >= BEAT => self.picture(),
            false => Ok(()),
        }
    }

    fn picture(&mut self) -> Result<(), TrainError> {
        let filters = self.live.filters()?;
        self.desk.tell(|news| news.filters = Some(filters));
        (self.since, self.pictured) = (0, Instant::now());
        Ok(())
    }

    /// Makes a picture, and looks at the watched images.
    fn look(&mut self) -> Result<(), TrainError> {
        self.picture()?;
        let began = Instant::now();
        let glance = self.live.look()?;
        (self.looked, self.since_look) = (Instant::now(), 0);
        self.pace[1] = (self.looked - began).as_secs_f64();
        self.stale = false;
        let now = self.now();
        let is_good = glance.accuracy >= self.best;
        self.best = self.best.max(glance.accuracy);
        self.desk.tell(|news| {
            news.watched.push(Watched { step: glance.step, loss: glance.loss, accuracy: glance.accuracy });
            news.mistakes = Some(glance.mistakes);
            news.now = Some(now);
        });
        if is_good && self.spared.elapsed() >= SPARE { self.spare() } else { Ok(()) }
    }
}

/// Whether the device is of no more use, rather than having been asked for too much.
fn is_lost(error: &TrainError) -> bool {
    use DeviceError::{Drifts, Failed, Hung, Lost};
    matches!(error.device(), Some(Lost { .. } | Hung { .. } | Failed { .. } | Drifts { .. }))
}

/// An error in the words of the window, which has no command-line flags; `lost` is as in the news.
pub fn in_words(error: &TrainError, lost: bool) -> String {
    match error {
        error if lost => format!("{error}. Press Start to train again, on the CPU."),
        TrainError::Setting { setting, value, wanted } => {
            // As the form calls it.
            let mut setting = setting.replace('-', " ");
            if let Some(first) = setting.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            // The only flag that a message about the form's settings names.
            format!("{setting} is {value}; it must be {}.", wanted.replace("--batch", "the batch"))
        }
        TrainError::NotFinite { step, epoch, rate, .. } => format!(
            "The loss stopped being a finite number at step {step} (epoch {epoch}). Choose a smaller learning rate \
             than {rate}, and start again."
        ),
        other => format!("{other}. Press Start to try again."),
    }
}
