//! Submissions, from their own thread: a driver whose queue is stuck may block whoever submits more (lavapipe does),
//! and a blocked thread cannot give anything up.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::caught::caught;

/// Submits commands `C`, which then get an index `I`.
pub struct Submitter<C, I> {
    /// `None` once the thread is to end.
    work: Option<Sender<C>>,
    done: Receiver<Result<I, String>>,
    thread: Option<JoinHandle<()>>,
}

/// Why something was not submitted.
#[derive(PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The driver has not taken it, or what came before it, in time; nothing more may be submitted.
    Stuck,
    /// The message that the submission panicked with.
    Panicked(String),
}

impl<C: Send + 'static, I: Send + 'static> Submitter<C, I> {
    pub fn start(mut submit: impl FnMut(C) -> I + Send + 'static) -> std::io::Result<Submitter<C, I>> {
        let (work, commands) = channel();
        let (submitted, done) = channel();
        let submit_each = move || {
            for commands in commands {
                if submitted.send(caught(|| submit(commands))).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("submissions".into()).spawn(submit_each)?;
        Ok(Submitter { work: Some(work), done, thread: Some(thread) })
    }

    /// Waits until the driver has taken the commands, for at most `patience`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn submit(&mut self, commands: C, patience: Duration) -> Result<I, Refusal> {
        // A thread that has ended is detected by the missing answer.
        let _ = self.work.as_ref().ok_or(Refusal::Stuck)?.send(commands);
        match self.done.recv_timeout(patience) {
            Ok(answer) => answer.map_err(Refusal::Panicked),
            Err(RecvTimeoutError::Disconnected) => Err(Refusal::Panicked("its thread has ended".into())),
            Err(RecvTimeoutError::Timeout) => {
                // It is stuck inside the driver: nobody waits for it again.
                self.thread = None;
                self.work = None;
                Err(Refusal::Stuck)
            }
        }
    }
}

impl<C, I> Drop for Submitter<C, I> {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_that_panics_is_told_with_its_words_and_is_not_taken_for_one_that_is_stuck() {
        let (_never, held) = channel::<()>();
        let mut submitter = Submitter::start(move |number: u32| match number {
            0 => panic!("the device is gone"),
            1 => {
                let _ = held.recv();
                1
            }
            number => number,
        })
        .unwrap();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(60));
        assert_eq!(submitter.submit(7, long), Ok(7));
        assert_eq!(submitter.submit(0, long), Err(Refusal::Panicked("the device is gone".into())));
        assert_eq!(submitter.submit(8, long), Ok(8));
        assert_eq!(submitter.submit(1, short), Err(Refusal::Stuck));
        assert_eq!(submitter.submit(9, long), Err(Refusal::Stuck));
    }
}
