//! What a run shows as it progresses: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{note, thousands};
use crate::pictures::visible_lines;

/// Plain lines come at most this often, and less often the longer a run has gone on.
const EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

pub struct Display {
    /// What a run counts: steps, rounds.
    unit: &'static str,
    first: usize,
    all: usize,
    began: Instant,
    kind: Kind,
}

enum Kind {
    Bar(ProgressBar),
    /// With the time of the last line.
    Lines(Instant),
    Quiet,
}

/// A terminal that can draw a bar, which one that calls itself dumb cannot.
pub fn terminal() -> Option<ProgressDrawTarget> {
    Some(ProgressDrawTarget::stderr()).filter(|target| !target.is_hidden())
}

/// How long `remaining` items will take, given that `done` took `took`.
pub fn left(took: Duration, done: u64, remaining: u64) -> Duration {
    let seconds = took.as_secs_f64() / done.max(1) as f64 * remaining as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// `90 s`, `12 min`, `29 h 40 min`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let minutes = (time.as_secs_f64() / 60.0).round() as u64;
    match (seconds, minutes) {
        (..120, _) => format!("{seconds} s"),
        (_, ..120) => format!("{minutes} min"),
        _ => format!("{} h {} min", thousands(minutes / 60), minutes % 60),
    }
}

impl Display {
    pub fn new(unit: &'static str, quiet: bool) -> Display {
        let now = Instant::now();
        let kind = match terminal() {
            _ if quiet => Kind::Quiet,
            Some(target) => Kind::Bar(ProgressBar::with_draw_target(None, target)),
            None => Kind::Lines(now),
        };
        Display { unit, first: 0, all: 0, began: now, kind }
    }

    /// A line that stays.
    pub fn line(&self, text: String) {
        match &self.kind {
            Kind::Bar(bar) if self.has_begun() => bar.println(visible_lines(&text)),
            Kind::Bar(_) | Kind::Lines(_) => note(text),
            Kind::Quiet => {}
        }
    }

    /// A line that `--quiet` does not suppress.
    pub fn warning(&self, text: &str) {
        match &self.kind {
            Kind::Bar(bar) if self.has_begun() => bar.println(visible_lines(&format!("warning: {text}"))),
            _ => note(format_args!("warning: {text}")),
        }
    }

    /// Whether a bar has a length: before that, it would be drawn empty.
    fn has_begun(&self) -> bool {
        self.all > 0
    }

    /// Starts a run of `all`, or continues one at `first`.
    pub fn begin(&mut self, first: usize, all: usize) {
        (self.first, self.all, self.began) = (first, all, Instant::now());
        if let Kind::Bar(bar) = &self.kind {
            // The bar takes the room that the rest leaves. The template is a constant that parses.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}") {
                bar.set_style(style);
            }
            bar.set_length(all as u64);
            bar.set_position(first as u64);
        }
    }

    /// How long the run took, and where it was resumed if it was: ` in 2.0 s since step 100`.
    pub fn took(&self, seconds: f64) -> String {
        let one = self.unit.trim_end_matches('s');
        let since = if self.first > 0 { format!(" since {one} {}", self.first) } else { String::new() };
        format!(" in {seconds:.1} s{since}")
    }

    /// Shows that `done` are done; `short` is for a bar, beside which lines of 80 columns have little room.
    pub fn at(&mut self, done: usize, text: String, short: String) {
        let (new, remaining) = (done.saturating_sub(self.first), self.all.saturating_sub(done));
        let took = self.began.elapsed();
        let left = left(took, new as u64, remaining as u64);
        match &mut self.kind {
            Kind::Bar(bar) => {
                bar.set_message(format!("{short}  {} left", span(left)));
                bar.set_position(done as u64);
            }
            Kind::Lines(last) if last.elapsed() > (took / 20).clamp(EVERY.0, EVERY.1) || done == self.all => {
                *last = Instant::now();
                let one = self.unit.trim_end_matches('s');
                note(format_args!("{one} {done}/{}  {text}  {} left", self.all, span(left)));
            }
            _ => {}
        }
    }

    pub fn finish(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
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
