//! Blocks of memory for stores and arenas: zeroed, aligned to a cache line, of a length fixed when they are made. A block
//! that cannot be had is an error, not an abort.

use crate::error::Error;
use dlc_plan::layout::ALIGN;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// An address that threads may share. Whoever dereferences it says why that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Ptr(pub *mut u8);

// SAFETY: an address alone does nothing; every use of it is an unsafe block with its own reason.
unsafe impl Send for Ptr {}
// SAFETY: as above.
unsafe impl Sync for Ptr {}

impl Ptr {
    /// The address that points nowhere.
    pub const NULL: Ptr = Ptr(std::ptr::null_mut());

    /// The address so many bytes further on.
    pub fn plus(self, bytes: usize) -> Ptr {
        Ptr(self.0.wrapping_add(bytes))
    }

    /// The address as that of numbers.
    pub fn of<T>(self) -> *mut T {
        self.0.cast()
    }
}

/// A block of zeroed memory.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block is plain memory that it owns.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives out addresses only.
unsafe impl Sync for Memory {}

impl Memory {
    /// A block of so many bytes, all of them zero.
    pub fn zeroed(bytes: u64) -> Result<Memory, Error> {
        let refused = || Error::Memory { bytes };
        let size = usize::try_from(bytes).map_err(|_| refused())?;
        let layout = Layout::from_size_align(size, ALIGN as usize).map_err(|_| refused())?;
        if size == 0 {
            return Ok(Memory { start: NonNull::without_provenance(Memory::aligned_nowhere()), bytes: 0 });
        }
        // SAFETY: the layout is not of size zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(Memory { start, bytes: size })
    }

    /// The address of an empty block: aligned, and of no memory.
    fn aligned_nowhere() -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::new(ALIGN as usize).expect("the alignment is not zero")
    }

    /// Its first byte's address.
    pub fn start(&self) -> Ptr {
        Ptr(self.start.as_ptr())
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The block as numbers.
    pub fn words<T: Word>(&self) -> &[T] {
        // SAFETY: the block is aligned, initialised, lives as long as the reference, and any bits are a `Word`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }

    /// The block as numbers, to be changed.
    pub fn words_mut<T: Word>(&mut self) -> &mut [T] {
        // SAFETY: as above, and the block is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let layout =
                Layout::from_size_align(self.bytes, ALIGN as usize).expect("the block was made with this layout");
            // SAFETY: the block came from the allocator with this layout and is freed once.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// A number of at most eight bytes of which any bits are one.
pub trait Word: Copy + sealed::Sealed {}
impl Word for f32 {}
impl Word for i32 {}
impl Word for i64 {}
impl Word for u8 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
    impl Sealed for u8 {}
}
