//! How far a long command is: a bar on a terminal, now and then a line elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::progress::{left, terminal};
use super::{note, thousands};

/// What takes less than this is not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

pub struct Counting {
    what: &'static str,
    /// Where it is known.
    all: Option<u64>,
    began: Instant,
    line: Instant,
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Counting {
    pub fn new(what: &'static str, all: u64, quiet: bool) -> Counting {
        Counting { all: Some(all), ..Counting::without_end(what, quiet) }
    }

    /// Of so many as there may be.
    pub fn without_end(what: &'static str, quiet: bool) -> Counting {
        Counting { what, all: None, began: Instant::now(), line: Instant::now(), quiet, bar: None }
    }

    pub fn at(&mut self, done: u64) {
        let took = self.began.elapsed();
        if self.quiet || took < PATIENCE {
            return;
        }
        let (what, all) = (self.what, self.all);
        let left = all.map(|all| left(took, done, all.saturating_sub(done)));
        if self.bar.is_none()
            && let Some(target) = terminal()
        {
            let template = match all {
                Some(_) => format!("{{bar:30}} {{human_pos}}/{{human_len}} {what}  {{msg}} left"),
                None => format!("{{spinner}} {{human_pos}} {what}  {{per_sec:.0}}  {{elapsed}}"),
            };
            let bar = ProgressBar::with_draw_target(all, target);
            // The template is a constant that parses.
            let style = ProgressStyle::with_template(&template);
            self.bar = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
        }
        if let Some(bar) = &self.bar {
            if let Some(left) = left {
                bar.set_message(format!("{:#}", HumanDuration(left)));
            }
            bar.set_position(done);
        } else if self.line.elapsed() > BETWEEN_LINES {
            self.line = Instant::now();
            match all.zip(left) {
                Some((all, left)) => {
                    let left = left.as_secs_f64();
                    note(format_args!("{} of {} {what}  {left:.0} s left", thousands(done), thousands(all)));
                }
                None => {
                    let rate = thousands((done as f64 / took.as_secs_f64()) as u64);
                    note(format_args!("{} {what}  {rate} a second", thousands(done)));
                }
            }
        }
    }

    /// A bar that stands there is taken away, so that lines can be printed.
    pub fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}
