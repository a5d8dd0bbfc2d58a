//! The progress of what takes long: a bar on a terminal, a line now and then elsewhere, nothing with `--quiet`.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{counted, note, thousands};
use crate::pictures::visible_lines;

/// What takes less than this is not worth a bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines come at most this often, and less often the longer it goes on.
const EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

pub struct Progress {
    /// What is counted: steps, pictures.
    what: &'static str,
    /// How many had been done before it began.
    first: u64,
    /// If it is known.
    all: Option<u64>,
    began: Instant,
    kind: Kind,
    /// Shows the bar before anything is done.
    wait: Option<Wait>,
}

enum Kind {
    /// With the bar, once it is shown.
    Bar(Bar),
    /// With the time of the last line.
    Lines(Instant),
    Quiet,
}

impl Kind {
    /// Whether something is shown that began `took` ago. A line comes with the last figures in any case.
    fn is_due(&self, took: Duration, is_last: bool) -> bool {
        match self {
            Kind::Bar(_) => took >= PATIENCE,
            Kind::Lines(last) => is_last || last.elapsed() > (took / 20).clamp(EVERY.0, EVERY.1),
            Kind::Quiet => false,
        }
    }
}

/// A bar that two threads may show.
#[derive(Clone, Default)]
struct Bar(Arc<Mutex<Option<ProgressBar>>>);

impl Bar {
    fn get(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that shows a bar if for a while nothing is done: until the first step, a GPU's driver may compile kernels for
/// many seconds. It ends when this is dropped.
struct Wait {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Wait {
    fn new(bar: &Bar, first: u64, all: Option<u64>, one: &str) -> Wait {
        let (end, ended) = channel();
        let (bar, text) = (bar.clone(), format!("preparing the first {one}"));
        // Without a thread there is no bar yet.
        let thread = thread::Builder::new().name("progress".into()).spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let mut shown = bar.get();
                if shown.is_none() {
                    let bar = shown.insert(new_bar(all));
                    bar.set_message(text);
                    bar.set_position(first);
                }
            }
        });
        Wait { end: Some(end), thread: thread.ok() }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end = None;
        // It must not show a bar where other lines are printed already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A terminal that can draw a bar, which one that calls itself dumb cannot.
fn terminal() -> Option<ProgressDrawTarget> {
    Some(ProgressDrawTarget::stderr()).filter(|target| !target.is_hidden())
}

/// How long `remaining` items will take, given that `done` took `took`.
fn left(took: Duration, done: u64, remaining: u64) -> Duration {
    let seconds = took.as_secs_f64() / done.max(1) as f64 * remaining as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// `90 s`, `12 min`, `29 h 40 min`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let minutes = (time.as_secs_f64() / 60.0).round() as u64;
    match (seconds, minutes) {
        (..120, _) => format!("{seconds} s"),
        (_, ..120) => format!("{minutes} min"),
        _ => format!("{} h {} min", thousands(minutes / 60), minutes % 60),
    }
}

impl Progress {
    pub fn new(what: &'static str, all: Option<u64>, quiet: bool) -> Progress {
        let began = Instant::now();
        let kind = match terminal() {
            _ if quiet => Kind::Quiet,
            Some(_) => Kind::Bar(Bar::default()),
            None => Kind::Lines(began),
        };
        let mut progress = Progress { what, first: 0, all, began, kind, wait: None };
        progress.begin(0, all);
        progress
    }

    /// Begins anew where `first` are done, of which an earlier run may have done them.
    pub fn begin(&mut self, first: u64, all: Option<u64>) {
        self.finish();
        (self.first, self.all, self.began) = (first, all, Instant::now());
        if let Kind::Bar(bar) = &self.kind {
            self.wait = Some(Wait::new(bar, first, all, self.one()));
        }
    }

    /// Says how many there are, which was not known when it began.
    pub fn of(&mut self, all: u64) {
        if self.all != Some(all) {
            self.begin(0, Some(all));
        }
    }

    /// A line that stays.
    pub fn line(&self, text: impl std::fmt::Display) {
        match &self.kind {
            Kind::Bar(bar) => match &*bar.get() {
                Some(bar) => bar.println(visible_lines(&text.to_string())),
                None => note(text),
            },
            Kind::Lines(_) => note(text),
            Kind::Quiet => {}
        }
    }

    /// A line that `--quiet` does not suppress.
    pub fn warning(&self, text: &str) {
        let text = format!("warning: {text}");
        if let Kind::Quiet = self.kind { note(text) } else { self.line(text) }
    }

    /// How long a run took, and where it was resumed if it was: ` in 2.0 s since step 100`.
    pub fn took(&self, seconds: f64) -> String {
        let since = if self.first > 0 { format!(" since {} {}", self.one(), self.first) } else { String::new() };
        format!(" in {seconds:.1} s{since}")
    }

    /// Shows that `done` are done.
    pub fn at(&mut self, done: u64) {
        self.show(done, None);
    }

    /// The same for steps that have figures: `text`, or `short` beside a bar, where lines of 80 columns have little room.
    pub fn at_figures(&mut self, done: u64, text: String, short: String) {
        self.show(done, Some([text, short]));
    }

    fn show(&mut self, done: u64, figures: Option<[String; 2]>) {
        let took = self.began.elapsed();
        // The last figures are those that a run ends with.
        let is_last = figures.is_some() && self.all == Some(done);
        if !self.kind.is_due(took, is_last) {
            return;
        }
        let [line, beside] = self.words(done, took, figures);
        match &mut self.kind {
            Kind::Bar(bar) => {
                let mut bar = bar.get();
                let bar = bar.get_or_insert_with(|| new_bar(self.all));
                bar.set_message(beside);
                bar.set_position(done);
            }
            Kind::Lines(last) => {
                *last = Instant::now();
                note(line);
            }
            Kind::Quiet => {}
        }
    }

    /// What a line says, and what stands beside a bar.
    fn words(&self, done: u64, took: Duration, figures: Option<[String; 2]>) -> [String; 2] {
        let new = done.saturating_sub(self.first);
        let Some(all) = self.all else {
            let rate = thousands((new as f64 / took.as_secs_f64().max(1e-9)) as u64);
            let so_far = format!("{}  {rate} a second", counted(done, self.one()));
            return [so_far.clone(), format!("{so_far}  {}", span(took))];
        };
        let left = span(left(took, new, all.saturating_sub(done)));
        let (done, all) = (thousands(done), thousands(all));
        let words = match figures {
            Some([text, short]) => [format!("{} {done}/{all}  {text}", self.one()), short],
            None => [format!("{done} of {all} {}", self.what), self.what.into()],
        };
        words.map(|words| format!("{words}  {left} left"))
    }

    fn one(&self) -> &'static str {
        self.what.trim_end_matches('s')
    }

    /// Removes the bar, if there is one, so that lines can be printed. Returns the time since it began.
    pub fn finish(&mut self) -> Duration {
        self.wait = None;
        if let Kind::Bar(bar) = &self.kind
            && let Some(bar) = bar.get().take()
        {
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}

fn new_bar(all: Option<u64>) -> ProgressBar {
    // The bar takes the room that the rest leaves.
    let template = match all {
        Some(_) => "{wide_bar} {human_pos}/{human_len}  {msg}",
        None => "{spinner} {msg}",
    };
    let bar = ProgressBar::with_draw_target(all, terminal().unwrap_or_else(ProgressDrawTarget::hidden));
    // The templates are constants that parse.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `, from step 100 on`, for a run of `all` that does not start at its beginning.
pub fn from(first: usize, all: usize, one: &str) -> String {
    match first {
        0 => String::new(),
        _ if first >= all => ", all of them already done".into(),
        _ => format!(", from {one} {first} on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_and_nothing_done_is_no_reason_to_panic() {
        let ten = Duration::from_secs(10);
        assert_eq!(left(ten, 5, 15), Duration::from_secs(30));
        assert_eq!(left(ten, 5, 0), Duration::ZERO);
        assert_eq!(left(Duration::MAX, 0, u64::MAX), Duration::MAX);
    }

    #[test]
    fn a_line_says_how_far_it_is_and_what_is_left_and_a_bar_has_only_the_rest_beside_it() {
        let words = |what, first, all, done, figures: Option<[&str; 2]>| {
            let kind = Kind::Quiet;
            let progress = Progress { what, first, all, began: Instant::now(), kind, wait: None };
            progress.words(done, Duration::from_secs(2), figures.map(|both| both.map(String::from)))
        };
        let figures = Some(["loss 0.1000  5 images/s", "loss 0.1000  5/s"]);
        assert_eq!(
            words("steps", 1000, Some(4000), 2000, figures),
            ["step 2,000/4,000  loss 0.1000  5 images/s  4 s left", "loss 0.1000  5/s  4 s left"]
        );
        assert_eq!(words("digits", 0, Some(3000), 1000, None), ["1,000 of 3,000 digits  4 s left", "digits  4 s left"]);
        // A rate is of what was done since the beginning.
        for (first, done, said) in [
            (0, 2816, "2,816 pictures  1,408 a second"),
            (5000, 5001, "5,001 pictures  0 a second"),
            (0, 1, "1 picture  0 a second"),
        ] {
            assert_eq!(words("pictures", first, None, done, None), [said.to_owned(), format!("{said}  2 s")]);
        }
    }

    #[test]
    fn lines_come_now_and_then_and_with_the_last_figures() {
        let mut progress = Progress::new("steps", Some(2), true);
        let mut is_shown = |ago: u64, done: u64, figures: bool| {
            let last = Instant::now().checked_sub(Duration::from_secs(ago))?;
            progress.kind = Kind::Lines(last);
            progress.show(done, figures.then(|| [String::new(), String::new()]));
            Some(matches!(progress.kind, Kind::Lines(now) if now > last))
        };
        for (ago, done, figures, wanted) in
            [(1, 1, true, false), (3, 1, true, true), (3, 1, false, true), (1, 2, true, true), (1, 2, false, false)]
        {
            assert!(is_shown(ago, done, figures).is_none_or(|shown| shown == wanted), "{ago} s, {done}, {figures}");
        }
    }

    #[test]
    fn a_bar_comes_after_a_second_and_nothing_is_shown_where_quiet_is_wanted() {
        let (early, late) = (PATIENCE - Duration::from_millis(1), PATIENCE);
        for is_last in [false, true] {
            let is_due = |kind: Kind, took| kind.is_due(took, is_last);
            assert!(!is_due(Kind::Bar(Bar::default()), early) && is_due(Kind::Bar(Bar::default()), late));
            assert!(!is_due(Kind::Quiet, late));
        }
    }

    #[test]
    fn a_bar_comes_by_itself_where_nothing_is_done_for_a_second_but_not_after_the_end() {
        let bar = Bar::default();
        let wait = Wait::new(&bar, 2, Some(9), "step");
        assert!(bar.get().is_none());
        let came = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(50));
            bar.get().is_some()
        });
        assert!(came);
        drop(wait);
        let (position, message) = bar.get().as_ref().map(|bar| (bar.position(), bar.message())).unwrap();
        assert_eq!((position, message.as_str()), (2, "preparing the first step"));
        let bar = Bar::default();
        drop(Wait::new(&bar, 0, None, "picture"));
        assert!(bar.get().is_none());
    }

    #[test]
    fn a_span_of_time_is_in_seconds_minutes_or_hours_as_it_is_long() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (119.4, "119 s"),
            (119.6, "2 min"),
            (754.0, "13 min"),
            (7169.0, "119 min"),
            (7199.0, "2 h 0 min"),
            (106_773.0, "29 h 40 min"),
            (3_600_000.0, "1,000 h 0 min"),
        ] {
            assert_eq!(span(Duration::from_secs_f64(seconds)), text, "{seconds} s");
        }
    }
}
