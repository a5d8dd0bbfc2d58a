//! How the CPU twins use all cores and the widest vectors that the processor has.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::lines::Lines;
use team::Team;

// To lend its threads what lives only as long as an op.
#[allow(unsafe_code)]
mod team;

/// Below this many elements a second thread costs more than it gains: waking one takes some 5 us.
const WORTH_WAKING: usize = 1 << 15;
/// The same for a thread that is awake.
const WORTH_SHARING: usize = 1 << 13;

/// Runs `f` compiled for the processor at hand: loops inside it use AVX2, AVX-512 or NEON where available.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The instruction set that [`vectorized`] uses; each rounds in its own way.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        match pulp::Arch::new() {
            pulp::Arch::V4(_) => "x86_64, AVX-512",
            pulp::Arch::V3(_) => "x86_64, AVX2",
            _ => "x86_64",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
    /// The team that this thread leads.
    static TEAM: RefCell<Option<Arc<Team>>> = const { RefCell::new(None) };
}

/// The number of threads that share what runs on this thread.
pub fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}

/// Runs `f`, during which this thread shares its work with no other.
pub fn alone<R>(f: impl FnOnce() -> R) -> R {
    /// Restores what was set before, whether `f` finished or panicked.
    struct Alone(bool);
    impl Drop for Alone {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _until_the_end = Alone(ALONE.replace(true));
    f()
}

/// How many of `n` shared items a thread should take at a time: a few blocks per thread, so that a slower core does not
/// hold up the rest.
pub fn block(n: usize) -> usize {
    let blocks = if threads() == 1 { 1 } else { threads() * 4 };
    n.div_ceil(blocks).max(1)
}

/// `f(index, chunk)` for each chunk of `size` elements, on all threads.
pub fn parallel_chunks(out: &mut [f32], size: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    each(out.chunks_mut(size).enumerate(), |(i, out)| f(i, out));
}

/// The shares of each part of `out`: the part's number, where in the part the share begins, and the share.
pub fn shares_of_parts(out: &mut [f32], part: usize, share: usize) -> Vec<(usize, usize, &mut [f32])> {
    let parts = out.chunks_mut(part).enumerate();
    let shares = parts.flat_map(|(number, part)| {
        let shares = part.chunks_mut(share).enumerate();
        shares.map(move |(i, out)| (number, i * share, out))
    });
    shares.collect()
}

/// `f(item)` for each item, on all threads: neighbours on the same thread, and the same thread in every op of a run.
pub fn each<T: Send>(items: impl ExactSizeIterator<Item = T>, f: impl Fn(T) + Sync + Send) {
    if threads() == 1 || items.len() < 2 {
        return items.for_each(f);
    }
    let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
    let work = |i: usize| {
        // Each item is taken once, so no two threads ever lock the same one.
        let item = items[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        item.into_iter().for_each(|item| alone(|| f(item)));
    };
    let by_team = TEAM.with_borrow(|team| {
        let (Some(team), Some(leader)) = (team, rayon::current_thread_index()) else { return false };
        team.is_whole() && team.lead(leader, items.len(), &work)
    });
    if !by_team {
        (0..items.len()).into_par_iter().with_max_len(1).for_each(work);
    }
}

/// Runs `f`, whose calls of [`each`] are shared by threads that stay awake until its end: waking one takes longer than
/// a small op. If there is such a team already, for another call, `f` just runs.
pub fn awake<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    static AWAKE: AtomicBool = AtomicBool::new(false);
    /// Ends the team, whether `f` finished or panicked.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            TEAM.with_borrow_mut(|team| *team = None);
            self.0.store(true, Ordering::Release);
            AWAKE.store(false, Ordering::Release);
        }
    }
    if threads() == 1 || AWAKE.swap(true, Ordering::AcqRel) {
        return f();
    }
    let done = &AtomicBool::new(false);
    rayon::scope(|scope| {
        let _end = End(done);
        let (leader, team) = (rayon::current_thread_index(), Arc::new(Team::new(rayon::current_num_threads())));
        TEAM.with_borrow_mut(|own| *own = Some(Arc::clone(&team)));
        // A broadcast is queued with each thread separately, so that the leader cannot pick it up while it waits for
        // others.
        scope.spawn_broadcast(move |_, thread| {
            if Some(thread.index()) != leader {
                team.serve(thread.index(), done);
            }
        });
        f()
    })
}

/// Lends `f` so many words of memory that the thread keeps for such use; their contents are arbitrary. Memory that is
/// allocated anew in every op would go back to the system, and its pages would be zeroed again.
pub fn scratch<R>(words: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    f(Lent::new(words).f32s_mut())
}

/// Memory like that of [`scratch`], for as long as it is wanted.
pub struct Lent {
    lines: Lines,
    words: usize,
}

thread_local! {
    static RETURNED: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

impl Lent {
    /// So many words, with arbitrary contents.
    pub fn new(words: usize) -> Lent {
        let returned = RETURNED.with_borrow_mut(|returned| {
            // The smallest that is large enough, or else the largest, which is then replaced by a larger one.
            let wanted = |lines: &Lines| (lines.f32s().len() < words, lines.f32s().len().abs_diff(words));
            let best = (0..returned.len()).min_by_key(|i| wanted(&returned[*i]));
            best.map(|best| returned.swap_remove(best))
        });
        let lines = returned.filter(|lines| lines.f32s().len() >= words).unwrap_or_else(|| Lines::new(words));
        Lent { lines, words }
    }

    pub fn f32s(&self) -> &[f32] {
        &self.lines.f32s()[..self.words]
    }

    pub fn f32s_mut(&mut self) -> &mut [f32] {
        &mut self.lines.f32s_mut()[..self.words]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that ends keeps nothing.
        let _ = RETURNED.try_with(|returned| returned.borrow_mut().push(lines));
    }
}

/// Whether threads should share work that touches so many elements.
pub fn is_worth_splitting(elements: usize) -> bool {
    let is_awake = || TEAM.with_borrow(|team| team.as_ref().is_some_and(|team| team.is_whole()));
    threads() > 1 && (elements >= WORTH_WAKING || elements >= WORTH_SHARING && is_awake())
}

/// The size of the parts that `n` elements are split into: whole cache lines, about one part per thread.
pub fn part(n: usize) -> usize {
    if is_worth_splitting(n) { n.div_ceil(threads()).next_multiple_of(16) } else { n.max(1) }
}

/// How many of so many rows, each of which touches about `work` elements, a thread should take at a time.
pub fn rows_at_a_time(rows: usize, work: usize) -> usize {
    if rows > 1 && is_worth_splitting(rows.saturating_mul(work)) { block(rows) } else { rows.max(1) }
}

/// `f(out, input)` over equal parts of both.
pub fn parallel_zip(out: &mut [f32], input: &[f32], f: impl Fn(&mut [f32], &[f32]) + Sync) {
    let part = part(out.len());
    let of_part = |(out, x): (&mut [f32], &[f32])| {
        vectorized(
            #[inline(always)]
            || f(out, x),
        )
    };
    each(out.chunks_mut(part).zip(input.chunks(part)), of_part);
}

/// `f(out, a, b)` over equal parts of all three.
pub fn parallel_zip2(out: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) {
    let part = part(out.len());
    let of_part = |((out, a), b): ((&mut [f32], &[f32]), &[f32])| {
        vectorized(
            #[inline(always)]
            || f(out, a, b),
        )
    };
    each(out.chunks_mut(part).zip(a.chunks(part)).zip(b.chunks(part)), of_part);
}

/// `f(index, row)` for each row of `width` elements; rows are handed out in blocks, one or more per thread.
/// `work` is about how many elements one row touches.
pub fn parallel_rows(out: &mut [f32], width: usize, work: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.is_empty() || width == 0 {
        return;
    }
    let rows = rows_at_a_time(out.len() / width, work.max(width));
    each(out.chunks_mut(rows * width).enumerate(), |(b, out)| {
        // Not `&f`: a call through a reference is a separate function, which is compiled for the oldest processor.
        rows_of(
            out,
            width,
            b * rows,
            #[inline(always)]
            |i, row| f(i, row),
        );
    });
}

/// Rows one after another, from row `first` on. A plain loop: a closure in between would be compiled separately, for
/// the oldest processor.
#[inline(always)]
fn rows_of(out: &mut [f32], width: usize, first: usize, f: impl Fn(usize, &mut [f32])) {
    vectorized(
        #[inline(always)]
        || {
            for (i, row) in out.chunks_mut(width).enumerate() {
                f(first + i, row);
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_instruction_set_is_told_by_the_widest_vectors_that_the_processor_has() {
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let widest = match (avx512, avx2) {
            (true, _) => ", AVX-512",
            (false, true) => ", AVX2",
            (false, false) => "",
        };
        assert_eq!(instructions(), format!("x86_64{widest}"));
    }

    #[test]
    fn two_runs_at_once_both_come_to_their_end() {
        let (ended, both) = mpsc::channel();
        for _ in 0..2 {
            let ended = ended.clone();
            std::thread::spawn(move || {
                for _ in 0..5_000 {
                    awake(|| each(0..32, |_| std::thread::yield_now()));
                }
                let _ = ended.send(());
            });
        }
        for _ in 0..2 {
            both.recv_timeout(Duration::from_secs(60)).expect("one waits for the other for ever");
        }
    }

    #[test]
    fn memory_that_was_given_back_is_lent_again_and_no_more_is_kept_than_was_held_at_once() {
        let place = |lent: &Lent| lent.f32s().as_ptr();
        let kept =
            || RETURNED.with_borrow(|returned| returned.iter().map(|lines| lines.f32s().len()).collect::<Vec<_>>());
        let (large, small) = (Lent::new(1600), Lent::new(160));
        let places = [place(&large), place(&small)];
        drop((large, small));
        let (small, large) = (Lent::new(100), Lent::new(1000));
        assert_eq!([place(&large), place(&small)], places);
        drop((large, small));
        let larger = Lent::new(3200);
        drop(larger);
        assert_eq!(kept().len(), 2, "{:?}", kept());
        assert!(kept().contains(&3200));
    }
}
