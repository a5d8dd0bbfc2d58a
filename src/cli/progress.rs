//! What a run shows while it goes: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::thousands;
use crate::train::Event;

/// Plain lines come at most this often.
const EVERY: Duration = Duration::from_secs(2);

pub enum Display {
    Bar(ProgressBar),
    Lines { steps: usize, last: Instant, began: Instant },
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
            Display::Lines { steps: 0, last: Instant::now(), began: Instant::now() }
        }
    }

    fn line(&self, text: String) {
        match self {
            Display::Bar(bar) => bar.println(text),
            Display::Lines { .. } => eprintln!("{text}"),
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
                    Display::Lines { steps: all, began, .. } => (*all, *began) = (steps, Instant::now()),
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
                        bar.set_position(step as u64);
                        bar.set_message(text);
                    }
                    Display::Lines { steps, last, began } if last.elapsed() > EVERY || step == *steps => {
                        *last = Instant::now();
                        let left = began.elapsed().as_secs_f64() / step.max(1) as f64 * (*steps - step) as f64;
                        eprintln!("step {step}/{steps}  {text}  {left:.0} s left");
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
