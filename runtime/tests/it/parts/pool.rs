//! The pool of threads.

use dlc_runtime::pool::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
/// Runs `chunks` chunks and tells how often each was called.
fn counts(pool: &Pool, chunks: usize) -> Vec<usize> {
    let seen: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(chunks, &|chunk| {
        seen[chunk].fetch_add(1, Ordering::Relaxed);
    });
    seen.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_chunk_runs_once() {
    for threads in [0, 1, 2, 3, 8] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for chunks in [0, 1, 2, 3, 64, 1000] {
            assert_eq!(counts(&pool, chunks), vec![1; chunks], "{threads} threads, {chunks} chunks");
        }
    }
}

#[test]
fn many_short_runs_and_runs_after_parking() {
    let pool = Pool::new(3);
    for round in 0..5_000 {
        assert_eq!(counts(&pool, 5), vec![1; 5], "round {round}");
    }
    for _ in 0..3 {
        thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(counts(&pool, 7), vec![1; 7]);
    }
}

#[test]
fn slots_are_exclusive() {
    let pool = Pool::new(3);
    let taken: Vec<AtomicBool> = (0..pool.threads()).map(|_| AtomicBool::new(false)).collect();
    pool.run_in_slots(300, &|slot, _| {
        assert!(!taken[slot].swap(true, Ordering::SeqCst), "slot {slot} is used twice at once");
        thread::yield_now();
        taken[slot].store(false, Ordering::SeqCst);
    });
}

#[test]
fn two_threads_share_a_run() {
    let pool = Pool::new(2);
    let both = std::sync::Barrier::new(2);
    // Each chunk waits for the other, so this returns only if they run at the same time.
    pool.run(2, &|_| {
        both.wait();
    });
}

#[test]
fn a_nested_run_is_done_inline() {
    let pool = Pool::new(2);
    let total = AtomicUsize::new(0);
    pool.run(4, &|_| {
        let here = thread::current().id();
        pool.run(5, &|_| {
            assert_eq!(thread::current().id(), here);
            total.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(total.into_inner(), 20);
}

#[test]
fn a_pool_serves_many_threads() {
    let pool = Pool::new(2);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(counts(&pool, 9), vec![1; 9]);
                }
            });
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    for threads in [1, 3] {
        let pool = Pool::new(threads);
        for bad in [0, 17, 39] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(40, &|chunk| {
                    if chunk == bad {
                        resume_unwind(Box::new(chunk));
                    }
                });
            }));
            let payload = result.expect_err("the chunk panics");
            assert_eq!(payload.downcast_ref::<usize>(), Some(&bad));
            assert_eq!(counts(&pool, 40), vec![1; 40]);
        }
    }
}

#[test]
fn the_global_pool_is_made_once() {
    let first = Pool::global();
    assert!(!Pool::init_global(first.threads() + 1));
    assert!(std::ptr::eq(first, Pool::global()));
    let sum = AtomicUsize::new(0);
    run(10, &|chunk| {
        sum.fetch_add(chunk, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 45);
}
