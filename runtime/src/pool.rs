//! A fixed pool of threads. Takes a number of chunks and a function of the chunk's index; calls it once for each index,
//! on all threads of the pool, the caller's among them; gives control back when all calls have returned.
//!
//! A run allocates nothing. Workers spin briefly after a run, so that the steps of a plan follow each other without a
//! system call, and then park. While a pool is busy, a run that comes from inside it or from another thread does its work
//! inline, so runs may nest. Which thread takes a chunk is not fixed: results must not depend on it.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

/// The environment variable that sets the number of threads of the global pool.
pub const THREADS_VARIABLE: &str = "DLC_THREADS";

/// Turns of the spin loop before a worker parks, some tens of microseconds.
const SPINS_BEFORE_PARK: u32 = 2_000;
/// Turns of the spin loop before a caller that waits for the last chunk lets another thread have its core.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// `Shared::state`: workers in the job now | whether the job may be joined | the job's number.
const JOINED: u64 = 0x7FFF_FFFF;
const OPEN: u64 = 0x8000_0000;
const ONE_JOB: u64 = 0x1_0000_0000;

/// A number of threads that work on one thing at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: AtomicU64,
    /// The next chunk to hand out.
    next: AtomicUsize,
    /// Written by the thread that holds `busy`, while the state is closed and nobody is joined.
    job: UnsafeCell<Option<Job>>,
    busy: AtomicBool,
    stop: AtomicBool,
    /// What a chunk of the current job panicked with; the first one is kept.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    parked: AtomicUsize,
    park: Mutex<()>,
    wake: Condvar,
}

/// What is to be done: `f(slot, chunk)` for every chunk.
#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(usize, usize) + Sync),
    chunks: usize,
}

// SAFETY: `job` is the only field that is not Sync by itself. It is written only between taking `busy` and opening the
// state, and read only by threads that joined the open state; opening releases, joining acquires, and the writer waits
// until everybody has left before it lets go of `busy`. The pointer in it is to a Sync closure.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer may be used from any thread.
unsafe impl Send for Shared {}

/// Runs on the global pool: see [`Pool::run`].
pub fn run(chunks: usize, f: &(dyn Fn(usize) + Sync)) {
    Pool::global().run(chunks, f);
}

static GLOBAL: OnceLock<Pool> = OnceLock::new();

impl Pool {
    /// A pool of `threads` threads, the caller's included; at least one. Where the system refuses a thread, the pool has
    /// fewer.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            parked: AtomicUsize::new(0),
            park: Mutex::new(()),
            wake: Condvar::new(),
        });
        let worker = |slot: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("dlc-{slot}")).spawn(move || shared.work(slot))
        };
        let workers = (1..threads).map_while(|slot| worker(slot).ok()).collect();
        Pool { shared, workers }
    }

    /// The pool of the process, made at the first call: as many threads as `DLC_THREADS` says, or else as the process has
    /// cores. A value of `DLC_THREADS` that is not a number from 1 to 1024 counts as none.
    pub fn global() -> &'static Pool {
        GLOBAL.get_or_init(|| {
            let wanted = std::env::var(THREADS_VARIABLE).ok().and_then(|text| text.trim().parse().ok());
            let wanted = wanted.filter(|threads| (1..=1024).contains(threads));
            Pool::new(wanted.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)))
        })
    }

    /// Makes the global pool with this number of threads; false where it exists already and keeps its own number.
    pub fn init_global(threads: usize) -> bool {
        let mut made = false;
        GLOBAL.get_or_init(|| {
            made = true;
            Pool::new(threads)
        });
        made
    }

    /// The number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(chunk)` once for each `chunk` in `0..chunks`, on any thread and in any order, and returns when all calls
    /// have. A panic in `f` stops the handing out of chunks and goes on in the caller; the pool stays usable.
    pub fn run(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        self.run_in_slots(chunks, &|_slot, chunk| f(chunk));
    }

    /// As [`Pool::run`], with `f(slot, chunk)`: of the calls of this run that are under way no two have the same slot, and
    /// slots are below [`Pool::threads`]. A slot is where a thread keeps its scratch memory.
    pub fn run_in_slots(&self, chunks: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        let alone = chunks <= 1 || self.workers.is_empty();
        if alone || self.shared.busy.swap(true, Ordering::Acquire) {
            (0..chunks).for_each(|chunk| f(0, chunk));
            return;
        }
        let panicked = self.shared.lead(f, chunks);
        self.shared.busy.store(false, Ordering::Release);
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.locked_park());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // Chunks' panics are caught, so a worker ends by returning.
            worker.join().expect("a worker catches the panics of the chunks it runs");
        }
    }
}

impl Shared {
    /// The caller's part of a run: opens the job, works, closes it, waits for the workers that joined.
    fn lead(&self, f: &(dyn Fn(usize, usize) + Sync), chunks: usize) -> Option<Box<dyn Any + Send>> {
        // SAFETY: the lifetime is taken off the pointer; nobody uses it after this function returns, since it waits until
        // all that joined have left, and joining ends when the state is closed.
        let f: *const (dyn Fn(usize, usize) + Sync + 'static) = unsafe { std::mem::transmute(f) };
        let job = Job { f, chunks };
        // SAFETY: this thread holds `busy`, and the state is closed with nobody joined, so nobody reads the job.
        unsafe { *self.job.get() = Some(job) };
        self.next.store(0, Ordering::Relaxed);
        let number = (self.state.load(Ordering::Relaxed) & !(OPEN | JOINED)).wrapping_add(ONE_JOB);
        self.state.store(number | OPEN, Ordering::SeqCst);
        self.wake_up_to(chunks - 1);

        self.take_chunks(0, job);

        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.state.load(Ordering::Acquire) & JOINED != 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD { spin_loop() } else { thread::yield_now() }
        }
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs chunks until none is left; a panic is kept for the caller and leaves no chunk to hand out.
    fn take_chunks(&self, slot: usize, job: Job) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let chunk = self.next.fetch_add(1, Ordering::Relaxed);
                if chunk >= job.chunks {
                    return;
                }
                // SAFETY: `lead` keeps the closure alive until all that joined have left.
                unsafe { (*job.f)(slot, chunk) };
            }
        }));
        if let Err(payload) = result {
            self.next.store(job.chunks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
    }

    /// A worker's life: join each job once, then wait for the next.
    fn work(&self, slot: usize) {
        let mut last = 0;
        while let Some(state) = self.next_job(last) {
            if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // Another worker joined or the job was closed: look again.
                continue;
            }
            last = state & !(OPEN | JOINED);
            // SAFETY: joined, so the job is set and stays until this thread leaves.
            let job = unsafe { *self.job.get() }.expect("a job is set before the state is opened");
            self.take_chunks(slot, job);
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until a job other than the one numbered `last` is open, and gives the state then; `None` when the pool ends.
    fn next_job(&self, last: u64) -> Option<u64> {
        let fresh = |state: u64| state & OPEN != 0 && state & !(OPEN | JOINED) != last;
        for _ in 0..SPINS_BEFORE_PARK {
            let state = self.state.load(Ordering::Relaxed);
            if fresh(state) {
                return Some(state);
            }
            spin_loop();
        }
        let mut guard = self.locked_park();
        // `wake_up_to` writes the state and then reads `parked`; here it is the other way round. In the single order of
        // SeqCst one of the two sees the other's write, so no job is slept through.
        self.parked.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            let state = self.state.load(Ordering::SeqCst);
            if fresh(state) {
                break Some(state);
            }
            if self.stop.load(Ordering::SeqCst) {
                break None;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.parked.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// Wakes parked workers, as many as there is work for.
    fn wake_up_to(&self, wanted: usize) {
        let parked = self.parked.load(Ordering::SeqCst);
        if parked == 0 {
            return;
        }
        drop(self.locked_park());
        if wanted >= parked {
            self.wake.notify_all();
        } else {
            (0..wanted).for_each(|_| self.wake.notify_one());
        }
    }

    fn locked_park(&self) -> MutexGuard<'_, ()> {
        self.park.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
