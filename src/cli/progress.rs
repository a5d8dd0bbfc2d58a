//! What a run shows while it goes: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::note;
use crate::pictures::visible_lines;

/// Plain lines come at most this often, and less often the longer a run has gone on.
const EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

pub struct Display {
    /// What a run counts: steps, rounds.
    unit: &'static str,
    kind: Kind,
}

enum Kind {
    Bar(ProgressBar),
    Lines { first: usize, all: usize, last: Instant, began: Instant },
    Quiet,
}

impl Display {
    pub fn new(unit: &'static str, quiet: bool) -> Display {
        use std::io::IsTerminal;
        let kind = if quiet {
            Kind::Quiet
        } else if std::io::stderr().is_terminal() {
            Kind::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Kind::Lines { first: 0, all: 0, last: Instant::now(), began: Instant::now() }
        };
        Display { unit, kind }
    }

    /// A line that stays.
    pub fn line(&self, text: String) {
        match &self.kind {
            Kind::Bar(bar) => bar.println(visible_lines(&text)),
            Kind::Lines { .. } => note(text),
            Kind::Quiet => {}
        }
    }

    /// A line that `--quiet` does not keep back.
    pub fn warning(&self, text: &str) {
        match &self.kind {
            Kind::Bar(bar) => bar.println(visible_lines(&format!("warning: {text}"))),
            _ => note(format_args!("warning: {text}")),
        }
    }

    /// A run of `all` begins, or goes on at `first`.
    pub fn begin(&mut self, first: usize, all: usize) {
        match &mut self.kind {
            Kind::Bar(bar) => {
                bar.set_length(all as u64);
                bar.reset_eta();
                let template = format!("{{bar:30}} {{pos}}/{{len}} {}  {{msg}}  {{eta}} left", self.unit);
                // The template is a constant that parses.
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    bar.set_style(style);
                }
                bar.set_position(first as u64);
            }
            Kind::Lines { first: from, all: total, began, .. } => {
                (*from, *total, *began) = (first, all, Instant::now())
            }
            Kind::Quiet => {}
        }
    }

    /// So many are done.
    pub fn at(&mut self, done: usize, text: String) {
        match &mut self.kind {
            Kind::Bar(bar) => {
                bar.set_message(text);
                bar.set_position(done as u64);
            }
            Kind::Lines { first, all, last, began }
                if last.elapsed() > (began.elapsed() / 20).clamp(EVERY.0, EVERY.1) || done == *all =>
            {
                *last = Instant::now();
                let new = done.saturating_sub(*first).max(1);
                let left = began.elapsed().as_secs_f64() / new as f64 * (*all - done) as f64;
                let one = self.unit.trim_end_matches('s');
                note(format_args!("{one} {done}/{all}  {text}  {left:.0} s left"));
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

/// `, from step 100 on`, where a run does not begin at its beginning.
pub fn from(first: usize, one: &str) -> String {
    if first > 0 { format!(", from {one} {first} on") } else { String::new() }
}
