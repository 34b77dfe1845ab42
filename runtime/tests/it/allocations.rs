//! An allocator that counts what the threads of a pool allocate while they are watched.

use dlc_runtime::pool::Pool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};

pub struct Counting;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}
static COUNT: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn count() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

/// How often the threads of a pool, the caller's among them, allocate during `f`.
pub fn during(pool: &Pool, f: impl FnOnce()) -> usize {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let watch = |on: bool| {
        let all = Barrier::new(pool.threads());
        pool.run(pool.threads(), &|_| {
            WATCHED.set(on);
            all.wait();
        });
    };
    watch(true);
    let before = COUNT.load(Ordering::SeqCst);
    f();
    let after = COUNT.load(Ordering::SeqCst);
    watch(false);
    after - before
}

#[test]
fn the_counter_counts() {
    let pool = Pool::new(2);
    assert_eq!(during(&pool, || {}), 0);
    assert_eq!(during(&pool, || drop(std::hint::black_box(Box::new(1)))), 1);
    let on_all = || pool.run(40, &|i| drop(std::hint::black_box(vec![0; i + 1])));
    assert_eq!(during(&pool, on_all), 40);
}
