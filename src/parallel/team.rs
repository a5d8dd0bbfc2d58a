//! Threads that share one op after another, and stay awake in between.
//!
//! A step of a small network has dozens of ops that take a few microseconds each. To share one of them, a work-stealing
//! pool passes about ten cache lines from core to core, 50 to 500 ns each; a team passes three: which round it is, how
//! many are inside, and how much of each share is taken. Every piece of work is assigned to a thread, the same in each
//! op: what a thread has computed for its images is in its own cache when the next op needs it. A thread that has
//! finished its share takes from those of others, so that a slower core does not hold up the rest.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a member looks for a round, some nanoseconds each, before it yields its core at each further look.
const PATIENCE: usize = 1 << 12;
/// How often a member looks for a round between two looks at what the pool has to do.
const ELSEWHERE: usize = 64;
/// A member without work for this long goes back to the pool.
const LONG: Duration = Duration::from_millis(20);

/// A number that has its cache lines to itself; processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Padded(AtomicUsize);

type Work<'a> = dyn Fn(usize) + Sync + 'a;

struct Job {
    work: *const Work<'static>,
    pieces: usize,
}

/// One leader and some members.
pub struct Team {
    /// Odd while a round is open.
    round: Padded,
    /// The number of members that look at the open round's job.
    inside: Padded,
    /// The number of members that wait for rounds.
    present: Padded,
    /// The number of pieces taken of each thread's share.
    taken: Box<[Padded]>,
    job: UnsafeCell<Option<Job>>,
    /// Set while a round is being led; two at once would mean two leaders.
    led: AtomicBool,
}

// SAFETY: only `job` is not `Sync`. The leader writes it while no round is open and nobody is inside; members read it
// only inside an open round, as `Team::join` and `Close` ensure. The work that it points to is `Sync`.
unsafe impl Sync for Team {}
// SAFETY: as above; nothing in it belongs to a particular thread.
unsafe impl Send for Team {}

/// Ends a round, after its work or a panic in it: closes it and waits for all members that are inside.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let Team { round, inside, led, .. } = self.0;
        round.0.fetch_add(1, Ordering::SeqCst);
        let mut looks = 0;
        while inside.0.load(Ordering::SeqCst) > 0 {
            looks += 1;
            if looks > PATIENCE { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        led.store(false, Ordering::Release);
    }
}

/// Counts down again, whatever happens in between.
struct Leave<'a>(&'a AtomicUsize);

impl<'a> Leave<'a> {
    fn enter(count: &'a AtomicUsize) -> Leave<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Leave(count)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Team {
    /// A team of so many threads, including the leader.
    pub fn new(threads: usize) -> Team {
        Team {
            round: Padded::default(),
            inside: Padded::default(),
            present: Padded::default(),
            taken: (0..threads).map(|_| Padded::default()).collect(),
            job: UnsafeCell::new(None),
            led: AtomicBool::new(false),
        }
    }

    /// Whether all members wait for rounds.
    pub fn is_whole(&self) -> bool {
        self.present.0.load(Ordering::Relaxed) + 1 == self.taken.len()
    }

    /// Runs `work(piece)` once for each of so many pieces, on the leader, which is thread number `leader`, and on all
    /// members that are there. Returns when all are done; false, with nothing done, if the team is in a round already.
    pub fn lead(&self, leader: usize, pieces: usize, work: &Work) -> bool {
        if self.led.swap(true, Ordering::Acquire) {
            return false;
        }
        let work: *const Work = work;
        // SAFETY: only its lifetime differs. Nobody uses it after `Close` has been dropped, before this returns.
        let work = unsafe { std::mem::transmute::<*const Work, *const Work<'static>>(work) };
        // SAFETY: the previous round was closed, and its `Close` saw that nobody was inside any more.
        unsafe { *self.job.get() = Some(Job { work, pieces }) };
        self.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
        self.round.0.fetch_add(1, Ordering::SeqCst);
        let _close = Close(self);
        self.work(leader);
        true
    }

    /// Takes pieces of the open round until all are taken, those of its own share first.
    ///
    /// Called by the leader, or by a member that is inside an open round.
    fn work(&self, thread: usize) {
        // SAFETY: the leader wrote it before opening the round, and writes it again only when nobody is inside.
        let Some(Job { work, pieces }) = (unsafe { &*self.job.get() }) else { return };
        // SAFETY: it lives until `lead` returns, which waits for all that are inside.
        let work = unsafe { &**work };
        let threads = self.taken.len();
        for other in 0..threads {
            let share = (thread + other) % threads;
            let (first, end) = (share * pieces / threads, (share + 1) * pieces / threads);
            let Padded(taken) = &self.taken[share];
            // A thread that only loads does not take exclusive ownership of the cache line.
            while first + taken.load(Ordering::Relaxed) < end {
                let piece = first + taken.fetch_add(1, Ordering::Relaxed);
                if piece < end {
                    work(piece);
                }
            }
        }
    }

    /// Takes part in the open round, if there is one that the member has not taken part in yet.
    fn join(&self, member: usize, seen: &mut usize) -> bool {
        let round = self.round.0.load(Ordering::Acquire);
        if round.is_multiple_of(2) || round == *seen {
            return false;
        }
        let _leave = Leave::enter(&self.inside.0);
        // The leader closes a round before it checks who is inside; a member is inside before it checks again whether
        // the round is open: one of the two sees the other.
        if self.round.0.load(Ordering::SeqCst) != round {
            return false;
        }
        *seen = round;
        self.work(member);
        true
    }

    /// What a member does until `done`: takes part in rounds, and checks now and then whether the pool has other work.
    pub fn serve(&self, member: usize, done: &AtomicBool) {
        let _leave = Leave::enter(&self.present.0);
        let (mut seen, mut idle, mut since) = (0, 0, None);
        while !done.load(Ordering::Acquire) {
            let elsewhere = || idle % ELSEWHERE == 0 && rayon::yield_now() == Some(rayon::Yield::Executed);
            if self.join(member, &mut seen) || elsewhere() {
                (idle, since) = (1, None);
                continue;
            }
            idle += 1;
            if idle < PATIENCE {
                std::hint::spin_loop();
                continue;
            }
            // A thread may have come here in the middle of other work, where it waits for another piece of that.
            if since.get_or_insert_with(Instant::now).elapsed() > LONG {
                break;
            }
            // Another thread that shares the core may have it.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `f` with a team of so many threads.
    fn with_team(threads: usize, f: impl FnOnce(&Team)) {
        let (team, done) = (&Team::new(threads), &AtomicBool::new(false));
        std::thread::scope(|scope| {
            (1..threads).for_each(|member| drop(scope.spawn(move || team.serve(member, done))));
            f(team);
            done.store(true, Ordering::Release);
        });
    }

    #[test]
    fn every_piece_is_done_once_in_each_round() {
        for threads in [1, 2, 3, 5] {
            with_team(threads, |team| {
                for pieces in (0..200).chain([10_000]) {
                    let done: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                    assert!(team.lead(0, pieces, &|piece| {
                        done[piece].fetch_add(1, Ordering::Relaxed);
                    }));
                    assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{pieces} by {threads}");
                }
            });
        }
    }

    #[test]
    fn a_round_within_a_round_is_refused() {
        with_team(2, |team| {
            let refused = AtomicUsize::new(0);
            team.lead(0, 4, &|_| {
                refused.fetch_add(usize::from(!team.lead(0, 1, &|_| ())), Ordering::Relaxed);
            });
            assert_eq!(refused.into_inner(), 4);
        });
    }

    #[test]
    fn a_panic_in_a_piece_of_the_leader_ends_the_round_and_the_next_one_runs() {
        with_team(2, |team| {
            let leader = std::thread::current().id();
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                team.lead(0, 64, &|_| {
                    std::thread::sleep(Duration::from_millis(1));
                    assert_ne!(std::thread::current().id(), leader, "meant to");
                })
            }));
            assert!(failed.is_err());
            let sum = AtomicUsize::new(0);
            assert!(team.lead(0, 10, &|piece| {
                sum.fetch_add(piece, Ordering::Relaxed);
            }));
            assert_eq!(sum.into_inner(), 45);
        });
    }
}
