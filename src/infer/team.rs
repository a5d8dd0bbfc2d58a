//! Work that comes piece by piece, given to whichever of several workers is free, and taken back in order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `take` with what the workers make of `items`, in the order of the items, until it breaks off. Each worker has
/// a thread of its own and a second piece waiting, so that it works on while answers are taken.
///
/// # Errors
/// The first of `take`.
pub fn in_order<T: Send, R: Send, E>(
    items: impl IntoIterator<Item = T>,
    workers: Vec<impl FnMut(T) -> R + Send>,
    mut take: impl FnMut(R) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    // At most twice as many pieces as workers are on their way, so that sending one never waits.
    let most = 2 * workers.len();
    let (jobs, queue) = sync_channel(most);
    let (answers, answered) = channel();
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for mut worker in workers {
            let (queue, answers) = (&queue, answers.clone());
            scope.spawn(move || {
                while let Some((place, item)) = next(queue) {
                    if answers.send((place, worker(item))).is_err() {
                        break;
                    }
                }
            });
        }
        // Each side ends with the other: the workers when this is dropped, and this when the last of them has gone.
        let jobs = jobs;
        drop(answers);
        let (mut items, mut early) = (items.into_iter().enumerate().fuse(), BTreeMap::new());
        let (mut sent, mut taken) = (0, 0);
        loop {
            while sent - taken < most
                && let Some(item) = items.next()
            {
                if jobs.send(item).is_err() {
                    break;
                }
                sent += 1;
            }
            if sent == taken {
                return Ok(());
            }
            let Ok((place, answer)) = answered.recv() else { return Ok(()) };
            early.insert(place, answer);
            while let Some(answer) = early.remove(&taken) {
                taken += 1;
                if take(answer)?.is_break() {
                    return Ok(());
                }
            }
        }
    })
}

fn next<T>(queue: &Mutex<Receiver<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn answers_come_in_order_however_long_each_takes() {
        for workers in [1, 2, 5] {
            let slow_now_and_then = |i: u64| {
                thread::sleep(Duration::from_millis(i * 7 % 5));
                i * i
            };
            let mut taken = Vec::new();
            let ended: Result<(), ()> = in_order(0..40, vec![slow_now_and_then; workers], |answer| {
                taken.push(answer);
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!(ended, Ok(()));
            assert_eq!(taken, (0..40).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_more_is_worked_on_than_is_taken_soon() {
        let mut begun = 0;
        let mut taken = 0;
        let items = (0..1000).inspect(|_| begun += 1);
        let ended = in_order(items, vec![|i| i, |i| i], |_| {
            taken += 1;
            match taken {
                7 => Ok(ControlFlow::Break(())),
                _ => Ok(ControlFlow::Continue(())),
            }
        });
        assert_eq!(ended, Ok::<(), ()>(()));
        assert!(taken == 7 && begun <= 11, "{begun} begun");
        assert_eq!(
            in_order(0..9, vec![|i| i], |i| if i == 3 { Err(i) } else { Ok(ControlFlow::Continue(())) }),
            Err(3)
        );
    }
}
