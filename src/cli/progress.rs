//! What a run shows while it goes: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{note, thousands};
use crate::train::Event;

/// Plain lines come at most this often, and less often the longer a run has gone on.
const EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

pub enum Display {
    Bar(ProgressBar),
    Lines { first: usize, steps: usize, last: Instant, began: Instant },
    Quiet,
}

impl Display {
    pub fn new(quiet: bool) -> Display {
        use std::io::IsTerminal;
        if quiet {
            Display::Quiet
        } else if std::io::stderr().is_terminal() {
            Display::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Display::Lines { first: 0, steps: 0, last: Instant::now(), began: Instant::now() }
        }
    }

    fn line(&self, text: String) {
        match self {
            Display::Bar(bar) => bar.println(text),
            Display::Lines { .. } => note(text),
            Display::Quiet => {}
        }
    }

    pub fn show(&mut self, event: Event) {
        match event {
            Event::Started { steps, first, images, validation, parameters } => {
                let set_aside = if validation > 0 {
                    format!(", {} to validate", thousands(validation as u64))
                } else {
                    String::new()
                };
                let from = if first > 0 { format!(", from step {first} on") } else { String::new() };
                self.line(format!(
                    "{} parameters, {} images{set_aside}, {} steps{from}",
                    thousands(parameters),
                    thousands(images as u64),
                    thousands(steps as u64)
                ));
                match self {
                    Display::Bar(bar) => {
                        bar.set_length(steps as u64);
                        bar.reset_eta();
                        // The template is a constant that parses.
                        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left")
                        {
                            bar.set_style(style);
                        }
                        bar.set_position(first as u64);
                    }
                    Display::Lines { first: from, steps: all, began, .. } => {
                        (*from, *all, *began) = (first, steps, Instant::now());
                    }
                    Display::Quiet => {}
                }
            }
            Event::Trained { step, epoch, loss, accuracy, images_per_second } => {
                let text = format!(
                    "epoch {epoch:.2}  loss {loss:.4}  accuracy {:.2} %  {} images/s",
                    accuracy * 100.0,
                    thousands(images_per_second as u64)
                );
                match self {
                    Display::Bar(bar) => {
                        bar.set_message(text);
                        bar.set_position(step as u64);
                    }
                    Display::Lines { first, steps, last, began }
                        if last.elapsed() > (began.elapsed() / 20).clamp(EVERY.0, EVERY.1) || step == *steps =>
                    {
                        *last = Instant::now();
                        let done = step.saturating_sub(*first).max(1);
                        let left = began.elapsed().as_secs_f64() / done as f64 * (*steps - step) as f64;
                        note(format_args!("step {step}/{steps}  {text}  {left:.0} s left"));
                    }
                    _ => {}
                }
            }
            Event::Validated { epoch, loss, accuracy, best } => {
                let mark = if best { "  (best so far)" } else { "" };
                self.line(format!(
                    "epoch {epoch}: validation loss {loss:.4}, accuracy {:.2} %{mark}",
                    accuracy * 100.0
                ));
            }
            Event::Saved { .. } => {}
        }
    }

    pub fn finish(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
