//! How the CPU twins use all cores and the widest vectors that the processor has.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::lines::Lines;

/// Below this many elements a second thread costs more than it brings (waking one takes some 5 us).
const WORTH_SPLITTING: usize = 1 << 15;
/// Looks for work, some tens of nanoseconds each, before a thread offers its core to others at each further one.
const PATIENCE: usize = 1 << 10;
/// Without work for so long a thread may sleep in the middle of a run.
const LONG: Duration = Duration::from_millis(20);

/// Runs `f` compiled for the processor at hand: loops inside it use AVX2, AVX-512 or NEON where there is one.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The instructions that [`vectorized`] uses, which round in their own way.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            "x86_64, AVX-512"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            "x86_64, AVX2"
        } else {
            "x86_64"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Threads that what runs here is shared by.
pub fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}

/// Runs `f`, in which this thread shares its work with no other.
pub fn alone<R>(f: impl FnOnce() -> R) -> R {
    let before = ALONE.replace(true);
    let result = f();
    ALONE.set(before);
    result
}

/// Of `n` things that are shared, how many a thread should take at a time: a few blocks each, so that a slower core
/// does not hold up the rest.
pub fn block(n: usize) -> usize {
    let blocks = if threads() == 1 { 1 } else { threads() * 4 };
    n.div_ceil(blocks).max(1)
}

/// `f(index, chunk)` for each chunk of `size` elements, by all threads.
pub fn parallel_chunks(out: &mut [f32], size: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if threads() == 1 {
        out.chunks_mut(size).enumerate().for_each(|(i, out)| f(i, out));
    } else {
        out.par_chunks_mut(size).enumerate().for_each(|(i, out)| f(i, out));
    }
}

/// Runs `f` while the other threads of the pool look for work without falling asleep: waking one takes longer than a
/// small op. Where they are awake already, by another call, it just runs.
pub fn awake<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    static AWAKE: AtomicBool = AtomicBool::new(false);
    /// Lets them sleep, whether `f` came to its end or not.
    struct Sleep<'a>(&'a AtomicBool);
    impl Drop for Sleep<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            AWAKE.store(false, Ordering::Release);
        }
    }
    if threads() == 1 || AWAKE.swap(true, Ordering::AcqRel) {
        return f();
    }
    let done = &AtomicBool::new(false);
    rayon::scope(|scope| {
        let _sleep = Sleep(done);
        let caller = rayon::current_thread_index();
        // A broadcast lies with each thread of its own, so that the caller cannot meet it while it waits for others.
        scope.spawn_broadcast(move |_, thread| {
            let (mut idle, mut since) = (0, Instant::now());
            while Some(thread.index()) != caller && !done.load(Ordering::Acquire) {
                if rayon::yield_now() == Some(rayon::Yield::Executed) {
                    (idle, since) = (0, Instant::now());
                } else {
                    idle += 1;
                }
                if idle > PATIENCE {
                    // A thread may meet this in the middle of a piece of `f` that it has taken, where it waits for
                    // another piece; then `f` cannot end before this does.
                    if since.elapsed() > LONG {
                        break;
                    }
                    // Whoever shares the core may have it.
                    std::thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
        });
        f()
    })
}

/// Lends `f` so many words of memory that the thread keeps for such use; they hold anything. Memory that is asked for
/// anew in every op is handed back to the system and its pages zeroed again.
pub fn scratch<R>(words: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        // One for each use within another.
        static MEMORY: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
    }
    let mut memory = MEMORY.with_borrow_mut(Vec::pop).unwrap_or_default();
    if memory.f32s().len() < words {
        memory = Lines::new(words);
    }
    let result = f(&mut memory.f32s_mut()[..words]);
    MEMORY.with_borrow_mut(|kept| kept.push(memory));
    result
}

/// The size of the parts that `n` elements are split into: whole cache lines, about one part a thread.
pub fn part(n: usize) -> usize {
    if n < WORTH_SPLITTING { n.max(1) } else { n.div_ceil(threads()).next_multiple_of(16) }
}

/// `f(out, input)` over equal parts of both.
pub fn parallel_zip(out: &mut [f32], input: &[f32], f: impl Fn(&mut [f32], &[f32]) + Sync) {
    let part = part(out.len());
    let each = |(out, x): (&mut [f32], &[f32])| {
        vectorized(
            #[inline(always)]
            || f(out, x),
        )
    };
    if part >= out.len() {
        each((out, input));
    } else {
        out.par_chunks_mut(part).zip(input.par_chunks(part)).for_each(each);
    }
}

/// `f(out, a, b)` over equal parts of all three.
pub fn parallel_zip2(out: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) {
    let part = part(out.len());
    let each = |((out, a), b): ((&mut [f32], &[f32]), &[f32])| {
        vectorized(
            #[inline(always)]
            || f(out, a, b),
        )
    };
    if part >= out.len() {
        each(((out, a), b));
    } else {
        out.par_chunks_mut(part).zip(a.par_chunks(part)).zip(b.par_chunks(part)).for_each(each);
    }
}

/// `f(index, row)` for each row of `width` elements; rows are handed out in blocks, one or more a thread.
/// `work` is about how many elements one row touches.
pub fn parallel_rows(out: &mut [f32], width: usize, work: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.is_empty() || width == 0 {
        return;
    }
    let rows = out.len() / width;
    if rows.saturating_mul(work.max(width)) < WORTH_SPLITTING || rows < 2 || threads() == 1 {
        rows_of(out, width, 0, f);
        return;
    }
    let block = block(rows);
    out.par_chunks_mut(block * width).enumerate().for_each(|(b, rows)| {
        // Not `&f`: a call through a reference is a function of its own, which is compiled for the oldest processor.
        rows_of(
            rows,
            width,
            b * block,
            #[inline(always)]
            |i, row| f(i, row),
        );
    });
}

/// Rows one after another, from row `first` on. A plain loop: a closure in between would be compiled on its own,
/// for the oldest processor.
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

    use super::*;

    #[test]
    fn two_runs_at_once_both_come_to_their_end() {
        let (ended, both) = mpsc::channel();
        for _ in 0..2 {
            let ended = ended.clone();
            std::thread::spawn(move || {
                for _ in 0..5_000 {
                    awake(|| (0..32).into_par_iter().with_max_len(1).for_each(|_| std::thread::yield_now()));
                }
                let _ = ended.send(());
            });
        }
        for _ in 0..2 {
            both.recv_timeout(Duration::from_secs(60)).expect("one waits for the other for ever");
        }
    }
}
