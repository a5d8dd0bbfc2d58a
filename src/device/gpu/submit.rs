//! Submissions, from a thread of their own: a driver whose queue is stuck may hold whoever brings it more (lavapipe does),
//! and whoever is held can give nothing up.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wgpu::{CommandBuffer, Queue, SubmissionIndex};

pub struct Submitter {
    /// None once it is to end.
    work: Option<Sender<CommandBuffer>>,
    done: Receiver<SubmissionIndex>,
    thread: Option<JoinHandle<()>>,
}

impl Submitter {
    pub fn start(queue: Queue) -> std::io::Result<Submitter> {
        let (work, commands) = channel();
        let (submitted, done) = channel();
        let submit = move || {
            for commands in commands {
                if submitted.send(queue.submit([commands])).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("submissions".into()).spawn(submit)?;
        Ok(Submitter { work: Some(work), done, thread: Some(thread) })
    }

    /// None where the driver has not taken it within `patience`; then nothing more may be submitted.
    pub fn submit(&mut self, commands: CommandBuffer, patience: Duration) -> Option<SubmissionIndex> {
        self.work.as_ref()?.send(commands).ok()?;
        let index = self.done.recv_timeout(patience).ok();
        if index.is_none() {
            // It is stuck inside of the driver: nobody waits for it again.
            self.thread = None;
            self.work = None;
        }
        index
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
