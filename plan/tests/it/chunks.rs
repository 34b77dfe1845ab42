//! Rows in chunks.

use dlc_plan::chunks::*;
#[test]
fn chunks_cover_all_rows_once() {
    for rows in [0, 1, 2, 63, 64, 65, 1000, 100_000] {
        for work in [0, 1, 100, 10_000, u64::MAX] {
            for folds in [false, true] {
                let cut = Cut::new(rows, work, folds);
                assert!(cut.chunks <= if folds { FOLD_CHUNKS } else { CHUNKS });
                let mut next = 0;
                for c in 0..cut.chunks {
                    let (first, last) = cut.range(c);
                    assert!(first == next && last > first, "{cut:?}");
                    next = last;
                }
                assert_eq!(next, rows);
            }
        }
    }
}

#[test]
fn little_work_is_one_chunk() {
    assert_eq!(Cut::new(32, 40, true).chunks, 1);
    assert_eq!(Cut::new(0, 40, true).chunks, 0);
    assert!(Cut::new(4096, 400, true).chunks > 32);
}
