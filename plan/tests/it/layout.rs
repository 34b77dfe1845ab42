//! Layouts of arenas.

use dlc_plan::kernel::Elem;
use dlc_plan::layout::*;
use dlc_plan::plan::{Buffer, Entry, Place};
use dlc_plan::{Size, random};

fn entry(lives: &[(u32, u32)]) -> Entry {
    let buffers = lives.iter().map(|&(first, last)| Buffer {
        elem: Elem::U8,
        len: Size::zero(),
        place: Place::Arena { first, last },
        note: String::new(),
    });
    Entry { buffers: buffers.collect(), ..Entry::default() }
}

/// Draws by hand: no crate for it is needed here.
fn draw(case: u32, n: u32, below: u32) -> u32 {
    random::bits([1, 2], case, 0, n / 16, n % 16) % below
}

#[test]
fn buffers_alive_at_once_never_overlap() {
    for case in 0..300 {
        let n = draw(case, 0, 40) as usize;
        let steps = 1 + draw(case, 1, 30);
        let life = |i: u32| {
            let (a, b) = (draw(case, 10 + 3 * i, steps), draw(case, 11 + 3 * i, steps));
            (a.min(b), a.max(b))
        };
        let lives: Vec<(u32, u32)> = (0..n as u32).map(life).collect();
        let bytes: Vec<u64> = (0..n as u32).map(|i| u64::from(draw(case, 12 + 3 * i, 1000))).collect();
        let layout = Layout::new(&entry(&lives), &bytes);
        for i in 0..n {
            assert_eq!(layout.offset(i) % ALIGN, 0);
            assert!(layout.offset(i) + bytes[i] <= layout.bytes(), "case {case}");
            for j in 0..i {
                let together = (0..steps).any(|t| {
                    let alive = |(first, last): (u32, u32)| first <= t && t <= last;
                    alive(lives[i]) && alive(lives[j])
                });
                let (a, b) = (layout.offset(i), layout.offset(j));
                let shared = (a..a + bytes[i]).any(|byte| (b..b + bytes[j]).contains(&byte));
                assert!(!(together && shared), "case {case}: buffers {i} and {j} overlap");
            }
        }
    }
}

#[test]
fn memory_is_used_again_and_gaps_are_filled() {
    // Two large ones after each other share one place; a small one goes into the gap that is left.
    let lives = [(0, 1), (2, 3), (0, 3), (3, 4)];
    let layout = Layout::new(&entry(&lives), &[1024, 1000, 64, 512]);
    assert_eq!(layout.offset(0), layout.offset(1));
    assert_eq!(layout.bytes(), 1024 + 512 + 64);
}

#[test]
fn a_layout_serves_smaller_sizes_and_a_widened_one_both() {
    let e = entry(&[(0, 2), (1, 3)]);
    let one = Layout::new(&e, &[100, 50]);
    assert!(one.serves(&[100, 50]) && one.serves(&[0, 49]) && !one.serves(&[10, 51]));
    let both = one.widened(&e, &[10, 51]);
    assert!(both.serves(&[100, 50]) && both.serves(&[10, 51]));
}

#[test]
fn sizes_beyond_counting_are_told_not_wrapped() {
    let layout = Layout::new(&entry(&[(0, 0), (0, 0)]), &[u64::MAX - 3, 64]);
    assert_eq!(layout.bytes(), u64::MAX);
}
