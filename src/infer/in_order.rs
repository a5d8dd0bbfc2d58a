//! Work that arrives piece by piece: each piece goes to whichever worker is free, and results are taken in order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `take` with the workers' results for `items`, in the order of the items, until `take` breaks off. Each worker
/// has its own thread and a second item waiting, so that it keeps working while results are taken.
///
/// While the next item is slow to arrive, the results before it wait, unless `items` yields a `None` now and then.
///
/// # Errors
/// The first error of `take`.
///
/// # Panics
/// If a worker does, or if there is none.
pub fn in_order<T: Send, R: Send, E>(
    items: impl IntoIterator<Item = Option<T>>,
    workers: Vec<impl FnMut(T) -> R + Send>,
    mut take: impl FnMut(R) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    assert!(!workers.is_empty(), "there is no worker for the items");
    // At most twice as many items as workers are in flight, so that sending one never blocks.
    let most = 2 * workers.len();
    let (jobs, queue) = sync_channel(most);
    let (answers, answered) = channel();
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for mut worker in workers {
            let (queue, answers) = (&queue, answers.clone());
            scope.spawn(move || {
                while let Some((place, item)) = next(queue) {
                    // A panic is sent on too: the taker waits for this result, and other workers keep the channel open.
                    let answer = catch_unwind(AssertUnwindSafe(|| worker(item)));
                    if answers.send((place, answer)).is_err() {
                        break;
                    }
                }
            });
        }
        // Each side ends with the other: the workers when `jobs` is dropped, this loop when the last worker is gone.
        let jobs = jobs;
        drop(answers);
        let (mut items, mut early) = (items.into_iter(), BTreeMap::new());
        let (mut sent, mut taken, mut more) = (0, 0, true);
        loop {
            let ready = if more && sent - taken < most {
                answered.try_recv().ok()
            } else if sent > taken {
                let Ok(ready) = answered.recv() else { return Ok(()) };
                Some(ready)
            } else {
                return Ok(());
            };
            let Some((place, answer)) = ready else {
                match items.next() {
                    Some(Some(item)) => match jobs.send((sent, item)) {
                        Ok(()) => sent += 1,
                        Err(_) => more = false,
                    },
                    Some(None) => {}
                    None => more = false,
                }
                continue;
            };
            early.insert(place, answer.unwrap_or_else(|panic| resume_unwind(panic)));
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
            let ended: Result<(), ()> = in_order((0..40).map(Some), vec![slow_now_and_then; workers], |answer| {
                taken.push(answer);
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!(ended, Ok(()));
            assert_eq!(taken, (0..40).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_worker_that_panics_ends_it_and_no_other_waits_for_it() {
        let breaks_at = |wrong: u64| move |i: u64| if i == wrong { panic!("{i}") } else { i };
        for wrong in [0, 7, 19] {
            let run =
                || in_order((0..20).map(Some), vec![breaks_at(wrong); 2], |_| Ok::<_, ()>(ControlFlow::Continue(())));
            let panic = catch_unwind(run).expect_err("an answer was missing");
            assert_eq!(panic.downcast_ref::<String>(), Some(&wrong.to_string()));
        }
    }

    #[test]
    #[should_panic(expected = "there is no worker")]
    fn items_that_nobody_would_work_on_are_not_dropped_in_silence() {
        let nobody: Vec<fn(u64) -> u64> = Vec::new();
        let _ = in_order((0..3).map(Some), nobody, |_| Ok::<_, ()>(ControlFlow::Continue(())));
    }

    #[test]
    fn nothing_more_is_worked_on_than_is_taken_soon() {
        let mut begun = 0;
        let mut taken = 0;
        let items = (0..1000).inspect(|_| begun += 1).map(Some);
        let ended = in_order(items, vec![|i| i, |i| i], |_| {
            taken += 1;
            match taken {
                7 => Ok(ControlFlow::Break(())),
                _ => Ok(ControlFlow::Continue(())),
            }
        });
        assert_eq!(ended, Ok::<(), ()>(()));
        assert!(taken == 7 && begun <= 11, "{begun} begun");
        let items = (0..9).map(Some);
        assert_eq!(
            in_order(items, vec![|i| i], |i| if i == 3 { Err(i) } else { Ok(ControlFlow::Continue(())) }),
            Err(3)
        );
    }

    #[test]
    fn an_answer_does_not_wait_for_an_item_that_is_long_in_coming() {
        let taken = std::cell::Cell::new(0);
        let mut waits = 0;
        let items = std::iter::from_fn(|| match taken.get() {
            0 if waits == 0 => {
                waits += 1;
                Some(Some(7))
            }
            // Nothing else comes before the result of the first item is taken.
            0 => {
                waits += 1;
                assert!(waits < 60_000, "no answer was taken");
                thread::sleep(Duration::from_millis(1));
                Some(None)
            }
            _ => None,
        });
        let ended = in_order(items, vec![|i| i], |answer| {
            taken.set(answer);
            Ok::<_, ()>(ControlFlow::Continue(()))
        });
        assert_eq!((ended, taken.get()), (Ok(()), 7));
    }
}
