//! The progress of a long command: a bar on a terminal, an occasional line elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::{left, span, terminal};
use super::{counted, note, thousands};

/// Anything that takes less than this is not worth reporting.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

pub struct Counting {
    what: &'static str,
    /// If it is known.
    all: Option<u64>,
    /// What had been done before it began.
    before: u64,
    began: Instant,
    line: Instant,
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Counting {
    pub fn new(what: &'static str, all: u64, quiet: bool) -> Counting {
        Counting { all: Some(all), ..Counting::without_end(what, 0, quiet) }
    }

    /// For an unknown number, of which an earlier run has done `before`.
    pub fn without_end(what: &'static str, before: u64, quiet: bool) -> Counting {
        Counting { what, all: None, before, began: Instant::now(), line: Instant::now(), quiet, bar: None }
    }

    /// Prints a line before the counting begins.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            note(text);
        }
    }

    pub fn at(&mut self, done: u64) {
        let took = self.began.elapsed();
        if self.quiet || took < PATIENCE {
            return;
        }
        let (what, all, before) = (self.what, self.all, self.before);
        let left = all.map(|all| left(took, done, all.saturating_sub(done)));
        let so_far = || so_far(what, done, before, took);
        if self.bar.is_none()
            && let Some(target) = terminal()
        {
            let template = match all {
                Some(_) => format!("{{bar:30}} {{human_pos}}/{{human_len}} {what}  {{msg}} left"),
                // Not the bar's own rate and time, which start with the bar.
                None => "{spinner} {msg}".to_owned(),
            };
            let bar = ProgressBar::with_draw_target(all, target);
            // The template is a constant that parses.
            let style = ProgressStyle::with_template(&template);
            self.bar = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
        }
        if let Some(bar) = &self.bar {
            bar.set_message(match left {
                Some(left) => span(left),
                None => format!("{}  {}", so_far(), span(took)),
            });
            bar.set_position(done);
        } else if self.line.elapsed() > BETWEEN_LINES {
            self.line = Instant::now();
            match all.zip(left) {
                Some((all, left)) => {
                    note(format_args!("{} of {} {what}  {} left", thousands(done), thousands(all), span(left)));
                }
                None => note(so_far()),
            }
        }
    }

    /// Removes the bar, if there is one, so that lines can be printed.
    pub fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}

/// How many are done, and how many per second since it began.
fn so_far(what: &str, done: u64, before: u64, took: Duration) -> String {
    let rate = done.saturating_sub(before) as f64 / took.as_secs_f64().max(1e-9);
    format!("{}  {} a second", counted(done, what.trim_end_matches('s')), thousands(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_what_was_done_since_the_beginning() {
        let two = Duration::from_secs(2);
        assert_eq!(so_far("pictures", 2816, 0, two), "2,816 pictures  1,408 a second");
        assert_eq!(so_far("pictures", 5001, 5000, two), "5,001 pictures  0 a second");
        assert_eq!(so_far("pictures", 1, 0, Duration::from_secs(1)), "1 picture  1 a second");
    }
}
