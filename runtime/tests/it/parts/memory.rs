//! Blocks of memory.

use dlc_plan::layout::ALIGN;
use dlc_runtime::Error;
use dlc_runtime::memory::*;
#[test]
fn blocks_are_aligned_and_zero() {
    for bytes in [0, 4, 64, 1 << 20] {
        let mut block = Memory::zeroed(bytes).expect("there is that much memory");
        assert_eq!(block.start().0.addr() % ALIGN as usize, 0);
        assert_eq!(block.words::<f32>().len() as u64, bytes / 4);
        assert!(block.words::<i32>().iter().all(|&x| x == 0));
        block.words_mut::<f32>().fill(1.5);
        assert!(block.words::<f32>().iter().all(|&x| x == 1.5));
    }
}

#[test]
fn what_cannot_be_had_is_an_error() {
    for bytes in [u64::MAX, 1 << 62] {
        assert!(matches!(Memory::zeroed(bytes), Err(Error::Memory { .. })));
    }
}
